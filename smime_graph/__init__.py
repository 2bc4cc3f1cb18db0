"""Sign and encrypt mail (S/MIME 4.0) and submit it through Microsoft Graph.

    from smime_graph import Contact, GraphClient, Identity, TrustStore, seal, unseal

    alice = Identity.from_pkcs12("alice.p12", password)
    sealed = seal(message, signer=alice, recipients=[Contact.from_pem("bob.pem")])
    with GraphClient(token) as graph:
        graph.send(sealed)

    opened = unseal(graph.fetch(message_id), identities=[bob],
    trust=TrustStore.from_pem("roots.pem"))

Every name below is loaded when it is first used (PEP 562), so that importing the package costs
nothing and a program that only signs never imports an HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .cms.shared_secret import Password, SharedKey
    from .errors import (
        CertificateRejected,
        DecryptionFailed,
        GraphError,
        GraphRefused,
        GraphThrottled,
        GraphUnreachable,
        MalformedMessage,
        NoMatchingIdentity,
        PolicyRefusal,
        SignatureInvalid,
        SmimeGraphError,
        UnsupportedAlgorithm,
        UsageError,
        VerificationFailed,
    )
    from .findings import Finding, Severity
    from .graph import AsyncGraphClient, GraphClient, MessageRef
    from .pki.identity import Contact, Identity
    from .pki.issue import CA
    from .pki.trust import TrustStore
    from .policy import ARCHIVE, EXCHANGE, POST_QUANTUM, RFC_8551, Policy
    from .smime.examine import decompress, decrypt, examine, inspect, unseal, verify
    from .smime.report import Layer, MessageReport, Opened, Signer
    from .smime.wrap import certs_only, compress, encrypt, seal, sign

_HOME = {
    ".cms.shared_secret": ("Password", "SharedKey"),
    ".errors": (
        "CertificateRejected",
        "DecryptionFailed",
        "GraphError",
        "GraphRefused",
        "GraphThrottled",
        "GraphUnreachable",
        "MalformedMessage",
        "NoMatchingIdentity",
        "PolicyRefusal",
        "SignatureInvalid",
        "SmimeGraphError",
        "UnsupportedAlgorithm",
        "UsageError",
        "VerificationFailed",
    ),
    ".findings": ("Finding", "Severity"),
    ".graph": ("AsyncGraphClient", "GraphClient", "MessageRef"),
    ".pki.identity": ("Contact", "Identity"),
    ".pki.issue": ("CA",),
    ".pki.trust": ("TrustStore",),
    ".policy": ("ARCHIVE", "EXCHANGE", "POST_QUANTUM", "RFC_8551", "Policy"),
    ".smime.examine": ("decompress", "decrypt", "examine", "inspect", "unseal", "verify"),
    ".smime.report": ("Layer", "MessageReport", "Opened", "Signer"),
    ".smime.wrap": ("certs_only", "compress", "encrypt", "seal", "sign"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [  # computed, so that it cannot drift
    "__version__",
    *sorted(_MODULE_OF),
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(module, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
