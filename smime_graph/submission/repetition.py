"""How an outbox knows again what was submitted before, though sealing it makes other octets.

Beside a message it keeps a mark of what was submitted. Whoever has the outbox, but cannot decrypt,
must not be able to try guesses on it ("the code is 1234"). A digest would let them, a slow or a
salted one as well, and so would a key that lies in the outbox. So the key of the mark is derived
from the private key that signs: every process that submits has it, on any machine, whether it can
decrypt or not; the outbox never does. Whoever steals that key, too, may try guesses on what is not
purged yet. A signature could not stand for it: whoever has the certificate tests one.

All of it counts, and what is in doubt is another message, which is refused and so not lost. A
Message-ID is that of one version of one message (RFC 5322 3.6.4): a device that numbers its alarms
from 1 whenever it is switched on tells two of them apart by Date alone.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption

from ..cms.keys import SigningKey
from ..errors import UsageError
from ..pki.keyfiles.read import export

_PURPOSE = b"smime_graph outbox, repetition"


def mark(raw: bytes, *, signer: SigningKey | None, is_encrypted: bool) -> bytes | None:
    """The same for the same octets, submitted by the same signer; None where nobody could tell.

    That is so of what is encrypted, and signed by nobody or by a key that cannot leave its device.
    """
    secret = None if is_encrypted else b""  # what the outbox has in the clear needs no key
    if signer is not None:
        try:
            secret = export(signer.private_key, Encoding.DER, NoEncryption())
        except UsageError:
            pass
    if secret is None:
        return None
    return hmac.digest(hmac.digest(secret, _PURPOSE, "sha256"), raw, "sha256")
