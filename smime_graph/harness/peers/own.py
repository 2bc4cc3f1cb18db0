"""This package itself, asked as the others are: by what it offers to programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_bytes
from importlib import metadata
from typing import ClassVar

from ...errors import SmimeGraphError
from ...findings import Severity
from ...pki.identity import Contact, Identity
from ...pki.revocation import Revocation, with_revocation
from ...pki.trust import TrustStore
from ...pki.validate import validate
from ...policy import EXCHANGE
from ...smime import examine, sealing, wrap
from ..cases import CONTENT, Case, Stand, enveloped_mail, header, signed_mail
from .drive import PKCS12_PASSWORD, Refused, Use
from .peer import Operation, Quirk, Words

# the content alone is signed: what other peers verify and encrypt is the same
_POLICY = EXCHANGE.but("harness", header_protection=False)


_NO_ADDRESS = "address-none address-cn-only address-dns-name names-cn-only version-1"
QUIRKS = (
    Quirk(
        "sign",
        _NO_ADDRESS,
        "no",
        "it does not sign for a From that no address of the certificate is (RFC 8550 3: should be)",
        "From is",
    ),
    Quirk(
        "verify",
        _NO_ADDRESS,
        "no",
        "a certificate without any address ties nobody to the From (RFC 8550 3 leaves that open)",
        "names no mail address",
    ),
    Quirk(
        "encrypt",
        _NO_ADDRESS,
        "no",
        "a recipient whose certificate has no address is named by whoever gives it",
        "no certificate is given",
    ),
    Quirk("import", "duplicate-extension", "yes", "extensions are read where they are used"),
)


@dataclass(frozen=True)
class OwnPeer:
    """`Identity`, `validate`, `sign`, `verify`, `encrypt`, `decrypt`, with the CRLs given."""

    stand: Stand
    version: str
    name: ClassVar[str] = "own"
    quirks: ClassVar[Sequence[Quirk]] = QUIRKS
    words: ClassVar[Sequence[Words]] = ()

    @classmethod
    def start(cls, stand: Stand, *_: object) -> OwnPeer:
        return cls(stand, metadata.version("smime-graph"))

    def ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        try:
            return self._ask(operation, case, message)
        except SmimeGraphError as error:
            raise Refused(str(error)) from None

    def _ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        at, trust = self.stand.at, self.stand.family.trust
        known = Revocation(mode="hard", crls=case.crls)
        match operation:
            case "import":
                Identity.from_pkcs12(case.pkcs12_file, password=PKCS12_PASSWORD)
            case "validate-sign":
                self._validate(case, "sign", known)
            case "validate-encrypt":
                self._validate(case, "encrypt", known)
            case "sign":
                made = wrap.sign(header() + CONTENT, signer=case.identity, policy=_POLICY, at=at)
                return _attached(made)
            case "verify":
                mail = signed_mail(message, case.signing.digest)
                examine.verify(mail, trust=trust, at=at, revocation=known)
            case "encrypt":
                made = sealing.encrypt(
                    header() + CONTENT,
                    recipients=[Contact(case.certificate)],
                    trust=TrustStore(trust.anchors, certificates=case.identity.chain),
                    policy=_POLICY,
                    at=at,
                )
                return _attached(made)
            case "decrypt":
                opened = examine.decrypt(enveloped_mail(message), identities=[case.identity])
                if opened.content != CONTENT:
                    raise Refused("another content came out")
        return b""

    def _validate(self, case: Case, use: Use, known: Revocation) -> None:
        at, chain = self.stand.at, case.identity.chain
        report = with_revocation(
            validate(
                case.certificate,
                use=use,
                trust=self.stand.family.trust,
                certificates=chain,
                at=at,
            ),
            known,
            at=at,
            certificates=chain,
        )
        errors = [one for one in report.findings if one.severity == Severity.ERROR]
        if errors:
            raise Refused("; ".join(dict.fromkeys(one.text for one in errors)))

    def close(self) -> None:
        pass


def _attached(raw: bytes) -> bytes:
    """The CMS of a message: the second part of multipart/signed, or its only one."""
    message = message_from_bytes(raw)
    part = message.get_payload(1) if message.is_multipart() else message
    made = part.get_payload(decode=True)  # type: ignore[union-attr]
    assert isinstance(made, bytes)  # noqa: S101 - it is one part, in base64
    return made
