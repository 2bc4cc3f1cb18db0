"""What a rule on certificates is, for whom it counts, and the certificate as the rules see it.

The rules themselves are data, `FitnessRule` objects: `rules_fields`, `rules_extensions` and
`rules_names` (S/MIME BR on certificates of people), `rules_mail` (RFC 5280, RFC 8550),
`rules_clients` (what mail programs do) and `rules_authority` (authorities, CRLs, OCSP responses).
Ids are those of the catalogue of variants: SBR-, 8550-, 5280- with a section; CLIENT- is what no
document says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar

from cryptography import x509

from .. import oids
from ..algorithms import KeyKind, find
from ..asn1 import ber
from ..asn1.ber import Node
from ..errors import MalformedMessage, SmimeGraphError
from ..findings import Severity
from ..pki.address import Mailbox, address_of, mailbox
from ..pki.usage import Use
from ..text import printable
from ..x509 import names
from ..x509.certificate import Certificate
from .profiles import PROFILES, SBR, FitnessProfile

About = Literal["certificate", "authority", "crl", "ocsp"]
Weights = dict[FitnessProfile, Severity]

ERROR, WARNING, NOTICE = Severity.ERROR, Severity.WARNING, Severity.NOTICE


def weigh(
    *groups: Iterable[FitnessProfile] | FitnessProfile,
    but: Iterable[FitnessProfile] = (),
    **others: Severity,
) -> Weights:
    """An ERROR for the profiles named, less those of `but`; others as said, `_` for `-`."""
    named = [p for group in groups for p in ([group] if isinstance(group, str) else group)]
    weights: dict[Any, Severity] = {p: ERROR for p in named if p not in set(but)}
    weights |= {name.replace("_", "-"): severity for name, severity in others.items()}
    return weights


EVERYBODY = weigh(PROFILES)
BR = weigh(SBR)
STRICT: tuple[FitnessProfile, ...] = ("sbr-strict",)
NOT_LEGACY: tuple[FitnessProfile, ...] = ("sbr-strict", "sbr-multipurpose")

BOTH: tuple[About, ...] = ("certificate", "authority")

SIGNING_KINDS = (oids.ED25519, oids.ED448, oids.ML_DSA_44, oids.ML_DSA_65, oids.ML_DSA_87)
KEM_KINDS = (oids.ML_KEM_512, oids.ML_KEM_768, oids.ML_KEM_1024)
SHA1 = (oids.SHA1_WITH_RSA, oids.ECDSA_WITH_SHA1, oids.DSA_WITH_SHA1)


def shown(values: Iterable[object]) -> str:
    return printable(", ".join(map(str, list(values)[:10])))


class Fault(NamedTuple):
    """What one rule found: the field, and what it holds.

    `should` is for what the document says SHOULD of, a warning at most; `use` what it is bad for,
    None for any; `only` the profiles that the finding is for, and `weights` theirs where they are
    not the rule's.
    """

    place: str
    text: str
    should: bool = False
    use: Use | None = None
    only: tuple[FitnessProfile, ...] | None = None
    weights: Weights | None = None


Check = Callable[[Any], Iterator[Fault]]  # of a Subject, a RevocationList or a Response


@dataclass(frozen=True, slots=True)
class FitnessRule:
    """One rule: what it wants (`title`), who says so, and what the CA is to be asked for.

    `weights` says for which profiles it counts, and how much. It counts from the date `since` on.
    `codes` are those of pkilint's findings that say the same. The check yields what is against it.
    """

    id: str
    title: str
    source: str
    remedy: str
    weights: Mapping[FitnessProfile, Severity] = field(hash=False)
    since: date | None
    codes: tuple[str, ...] = field(repr=False)
    about: tuple[str, ...]
    check: Callable[[Any], Iterator[Any]] = field(repr=False)


def weights_of(one: FitnessRule, fault: Fault) -> Weights:
    """Whom what a rule found concerns, and how much."""
    found = one.weights if fault.weights is None else fault.weights
    return {
        profile: min(severity, WARNING) if fault.should else severity
        for profile, severity in found.items()
        if fault.only is None or profile in fault.only
    }


def rule(
    id_: str,
    title: str,
    source: str,
    remedy: str,
    weights: Weights,
    *,
    since: date | None = None,
    codes: tuple[str, ...] = (),
    about: tuple[About, ...] = ("certificate",),
) -> Callable[[Check], FitnessRule]:
    """Makes a FitnessRule of its check."""

    def make(check: Check) -> FitnessRule:
        return FitnessRule(id_, title, source, remedy, weights, since, codes, about, check)

    return make


# --- the certificate as the rules see it ----------------------------------------------------------

_V = TypeVar("_V", bound=x509.ExtensionType)

# reserved policies (S/MIME BR 7.1.6.1): how the subject was validated, and the profile
RESERVED: Mapping[str, tuple[str, FitnessProfile]] = {
    oids.MAILBOX_LEGACY: ("mailbox", "sbr-legacy"),
    oids.MAILBOX_MULTIPURPOSE: ("mailbox", "sbr-multipurpose"),
    oids.MAILBOX_STRICT: ("mailbox", "sbr-strict"),
    oids.ORGANIZATION_LEGACY: ("organization", "sbr-legacy"),
    oids.ORGANIZATION_MULTIPURPOSE: ("organization", "sbr-multipurpose"),
    oids.ORGANIZATION_STRICT: ("organization", "sbr-strict"),
    oids.SPONSOR_LEGACY: ("sponsor", "sbr-legacy"),
    oids.SPONSOR_MULTIPURPOSE: ("sponsor", "sbr-multipurpose"),
    oids.SPONSOR_STRICT: ("sponsor", "sbr-strict"),
    oids.INDIVIDUAL_LEGACY: ("individual", "sbr-legacy"),
    oids.INDIVIDUAL_MULTIPURPOSE: ("individual", "sbr-multipurpose"),
    oids.INDIVIDUAL_STRICT: ("individual", "sbr-strict"),
}


@dataclass(frozen=True)
class Subject:
    """A certificate with what its rules ask about. `issuer` is known where it came along.

    `chain` is the certificate and the authorities above it, as far as they are known; `ends` says
    whether the last of it is an anchor.
    """

    certificate: Certificate
    as_of: datetime
    issuer: Certificate | None = None
    chain: tuple[Certificate, ...] = ()
    ends: bool = False
    address: str | None = None

    @cached_property
    def fault(self) -> str | None:
        """Why its extensions cannot be read; None where they can. Then nothing is said missing."""
        try:
            _ = self.certificate.extensions
        except MalformedMessage as error:
            return str(error)
        return None

    def find(self, kind: type[_V]) -> x509.Extension[_V] | None:
        if self.fault is not None:
            return None
        try:
            return self.certificate.extensions.get_extension_for_class(kind)
        except x509.ExtensionNotFound:
            return None

    def value(self, kind: type[_V]) -> _V | None:
        found = self.find(kind)
        return None if found is None else found.value

    def named(self, dotted: str) -> x509.Extension[Any] | None:
        """An extension by its identifier: one that `cryptography` may not know."""
        if self.fault is not None:
            return None
        found = (e for e in self.certificate.extensions if e.oid.dotted_string == dotted)
        return next(found, None)

    @property
    def can_miss(self) -> bool:
        """Whether what is not found is not there."""
        return self.fault is None

    @cached_property
    def _parts(self) -> tuple[list[Node], list[Node]]:
        """The fields of the TBSCertificate, and what stands behind it; none where they cannot be
        read, which `fault` says.
        """
        try:
            tbs, *outer = ber.read(self.certificate.der, "Certificate").children()
            return tbs.children(), outer
        except MalformedMessage:
            return [], []

    @cached_property
    def version(self) -> int:
        """The version, 0 where it cannot be read."""
        tbs, _ = self._parts
        try:
            has_version = tbs[0].tag == 0xA0
            return tbs[0].only("version").as_integer("version") + 1 if has_version else 1
        except (MalformedMessage, IndexError):
            return 0

    @cached_property
    def signature_algorithm(self) -> bytes:
        """The AlgorithmIdentifier within the to-be-signed, DER; empty where it cannot be read."""
        tbs, _ = self._parts
        algorithms = tbs[2:3] if tbs and tbs[0].tag == 0xA0 else tbs[1:2]
        return algorithms[0].raw if algorithms else b""

    @cached_property
    def signature_oid(self) -> str:
        return _algorithm(self.signature_algorithm)

    @cached_property
    def outer_algorithm(self) -> bytes:
        _, outer = self._parts
        return outer[0].raw if outer else b""

    @cached_property
    def key_identifier(self) -> bytes:
        """The AlgorithmIdentifier of the subject's key, DER; empty where it cannot be read."""
        try:
            info = ber.read(self.certificate.public_key_info, "SubjectPublicKeyInfo").children()
        except MalformedMessage:
            return b""
        return info[0].raw if info else b""

    @cached_property
    def curve(self) -> str | None:
        """The named curve of an EC key, dotted."""
        if self.key_algorithm != oids.EC_PUBLIC_KEY:
            return None
        try:
            return ber.read(self.key_identifier, "algorithm").children()[1].as_oid("curve")
        except (MalformedMessage, IndexError):
            return None

    @cached_property
    def key_algorithm(self) -> str:
        try:
            return self.certificate.key_algorithm
        except MalformedMessage:
            return ""

    @property
    def key_title(self) -> str:
        """The kind of key for people: its name, or its identifier where it has none here."""
        kind = find(KeyKind, self.key_algorithm)
        return self.key_algorithm if kind is None else kind.title

    @cached_property
    def key(self) -> Any:
        """The public key; None where it cannot be read, which is a finding of one rule."""
        try:
            return self.certificate.public_key
        except SmimeGraphError:
            return None

    @cached_property
    def validity(self) -> tuple[datetime, datetime] | None:
        try:
            return self.certificate.not_before, self.certificate.not_after
        except (MalformedMessage, ValueError):
            return None

    def issued_since(self, day: date) -> bool:
        return self.validity is not None and self.validity[0].date() >= day

    @cached_property
    def usage(self) -> frozenset[str] | None:
        """The bits of keyUsage by the names of RFC 5280; None where there is no such extension."""
        found = self.value(x509.KeyUsage)
        if found is None:
            return None
        agrees = found.key_agreement
        bits = {
            "digitalSignature": found.digital_signature,
            "nonRepudiation": found.content_commitment,
            "keyEncipherment": found.key_encipherment,
            "dataEncipherment": found.data_encipherment,
            "keyAgreement": agrees,
            "keyCertSign": found.key_cert_sign,
            "cRLSign": found.crl_sign,
            "encipherOnly": agrees and found.encipher_only,
            "decipherOnly": agrees and found.decipher_only,
        }
        return frozenset(name for name, is_set in bits.items() if is_set)

    @cached_property
    def purposes(self) -> frozenset[str] | None:
        """The extended key usage, dotted; None where there is none."""
        found = self.value(x509.ExtendedKeyUsage)
        return None if found is None else frozenset(one.dotted_string for one in found)

    @cached_property
    def policies(self) -> tuple[str, ...]:
        found = self.value(x509.CertificatePolicies)
        return tuple(one.policy_identifier.dotted_string for one in found or ())

    @cached_property
    def reserved(self) -> tuple[tuple[str, FitnessProfile], ...]:
        """Which types of the BR it states, and in which profile."""
        return tuple(RESERVED[one] for one in dict.fromkeys(self.policies) if one in RESERVED)

    @property
    def kind(self) -> str | None:
        """How its subject was validated, where it states that once."""
        return self.reserved[0][0] if len({one[0] for one in self.reserved}) == 1 else None

    @cached_property
    def subject(self) -> tuple[tuple[str, str | None], ...]:
        """The attributes of the subject: dotted, text."""
        return names.attributes(self.certificate.subject)

    def attribute(self, dotted: str) -> tuple[str, ...]:
        return tuple(text for kind, text in self.subject if kind == dotted and text is not None)

    @cached_property
    def san(self) -> tuple[x509.GeneralName, ...]:
        return tuple(self.value(x509.SubjectAlternativeName) or ())

    @cached_property
    def san_mailboxes(self) -> frozenset[Mailbox]:
        """The mailboxes of the subjectAltName, as they are compared."""
        return frozenset(
            key
            for name in self.san
            if (text := address_of(name)) is not None and (key := mailbox(text)) is not None
        )

    @property
    def is_authority(self) -> bool:
        """Whether it is made for issuing: CA:TRUE, and its key usage does not say otherwise."""
        constraints = self.value(x509.BasicConstraints)
        return bool(constraints and constraints.ca) and (
            self.usage is None or "keyCertSign" in self.usage
        )


def _algorithm(identifier: bytes) -> str:
    try:
        return ber.read(identifier, "AlgorithmIdentifier").children()[0].as_oid("algorithm")
    except (MalformedMessage, IndexError):
        return ""
