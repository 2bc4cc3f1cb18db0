"""Good signatures by certificates that are not to be believed: expired, revoked, for other uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from .case import Case
from .craft import People

# a variant of the catalogue of certificates, what is expected of its signature
_SIGNERS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("expired", "it has expired", "RFC 5280 6.1.3", ("pki.path.expired",)),
    ("not-yet-valid", "it is valid from tomorrow", "RFC 5280 6.1.3", ("pki.path.not-yet-valid",)),
    ("revoked", "it was revoked", "RFC 5280 6.3", ("pki.revocation.revoked",)),
    ("issuer-revoked", "its issuer was revoked", "RFC 5280 6.3", ("pki.revocation.revoked",)),
    ("untrusted-root", "its root is not believed", "RFC 5280 6.1", ("pki.path.none",)),
    ("self-signed", "it has signed itself", "RFC 5280 6.1", ("pki.path.none",)),
    ("missing-intermediate", "its issuer does not come along", "RFC 8550 2.3", ("pki.path.none",)),
    ("issuer-not-ca", "its issuer is no authority", "RFC 5280 6.1.4", ("pki.path.invalid",)),
    ("names-elsewhere", "its issuer has another one", "RFC 5280 4.2.1.10", ("pki.path.invalid",)),
    ("bad-signature", "its issuer has not signed it", "RFC 5280 6.1.3", ("pki.path.invalid",)),
    ("eku-server", "it is a web server's", "RFC 8550 4.4.4", ("pki.usage.extended-key-usage",)),
    ("rsa-encrypt", "it is for encryption only", "RFC 8550 4.4.2", ("pki.usage.key-usage",)),
    ("rsa-1024", "its key is shorter than 2048 bits", "RFC 8551 4.3", ("alg.key.weak",)),
    ("sha1", "it is signed with SHA-1", "RFC 8550 4.3", ("pki.path.weak-algorithm",)),
    ("address-other", "it is another person's", "RFC 8550 3", ("pki.address.mismatch",)),
    ("address-none", "it names no address", "RFC 8550 3", ("pki.address.none",)),
)  # fmt: skip
VARIANTS = tuple(variant for variant, *_ in _SIGNERS)


def _by(variant: str) -> Callable[[People], bytes]:
    return lambda p: p.opaque(p.signed(who=p.signers[variant]))


def _without_certificate(p: People) -> bytes:
    return p.opaque(p.signed(certificates=()))


def _later(p: People) -> bytes:
    later = replace(p, at=p.at + timedelta(days=300))
    return p.opaque(later.signed())


CASES = (
    *(
        Case(
            f"signer-{variant}", f"the signer's certificate: {wrong}", source, _by(variant), errors
        )
        for variant, wrong, source, errors in _SIGNERS
    ),
    Case(
        "signer-without-certificate",
        "no certificate comes along, so that nobody can check the signature",
        "RFC 8550 2.3, RFC 5652 5.6",
        _without_certificate,
        ("cms.signer.certificate-missing",),
    ),
    Case(
        "signing-time-future",
        "the signer claims to have signed in ten months",
        "RFC 8551 2.5.1",
        _later,
        warnings=("smime.signing-time",),
    ),
)
