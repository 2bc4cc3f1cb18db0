"""Evidence of revocation and missing issuers, fetched over HTTP where somebody asks for it.

    Revocation(mode="hard", fetch=Fetcher())

What is fetched is believed no more than what comes along in a message: `pki` holds it against its
issuer. Where to ask stands in certificates, so it is the text of strangers: only http and https, no
address of this machine or of its network, bounded in number, size and time for each message, and
nothing is asked before a signature and everything else about its chain is good. Whoever is asked
sees that somebody reads mail of this signer, which is why nobody is asked by default.

Rules: no failure leaves this package but as text of a `pki.revocation.Evidence`. No proxy, cookie,
credential or setting of the environment is used: httpcore is driven directly, which knows none.
"""

from .fetcher import Fetcher

__all__ = ["Fetcher"]
