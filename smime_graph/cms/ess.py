"""Enhanced security services: the attributes of RFC 2634 and the Receipt, written and read.

A ReceiptRequest is written in `receipt_request`, security labels are in `labels`, signing
certificates in `attributes`.

    Receipt          ::= SEQUENCE { version 1, contentType, signedContentIdentifier OCTET STRING,
                                    originatorSignatureValue OCTET STRING }
    ContentReference ::= SEQUENCE { contentType, signedContentIdentifier, originatorSignatureValue }
    ContentHints     ::= SEQUENCE { contentDescription UTF8String OPTIONAL, contentType }
    MLExpansionHistory ::= SEQUENCE SIZE (1..64) OF MLData
    MLData           ::= SEQUENCE { IssuerAndSerialNumber or SubjectKeyIdentifier, GeneralizedTime,
                                    MLReceiptPolicy OPTIONAL }
    MLReceiptPolicy  ::= [0] NULL or [1] or [2] IMPLICIT SEQUENCE OF GeneralNames

The module has IMPLICIT tags; a tag on a CHOICE or ANY is EXPLICIT all the same (X.680 31.2.7).
Nothing read here may be acted upon before the signature over it is verified (RFC 2634 2.3, 3.1.2,
4.1): `read` is for signatures that were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from .. import oids
from ..algorithms import Digest
from ..asn1 import ber
from ..asn1.ber import Fields, Node
from ..errors import MalformedMessage
from ..findings import Finding, Severity, finding
from .attributes import Attributes, attribute
from .labels import SecurityLabel, read_equivalents, read_label, read_text
from .receipt_request import MAX_RECEIPTS_TO, ReceiptRequest

_MAX_EXPANSIONS = 64  # RFC 2634 4.4: ub-ml-expansion-history
_MAX_PARTIES = 10_000  # a limit of our own for those asked, where the RFC has none

ListPolicy = Literal["none", "instead-of", "in-addition-to"]


# --- values -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Receipt:
    """The content of a signed receipt: which signature it confirms (RFC 2634 2.8)."""

    content_type: str
    identifier: bytes
    signature: bytes

    @property
    def der(self) -> bytes:
        return ber.sequence(
            ber.integer(1),
            ber.oid(self.content_type),
            ber.octet_string(self.identifier),
            ber.octet_string(self.signature),
        )


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a receipt for one signature must hold: its content, and the value of msgSigDigest."""

    receipt: Receipt
    message_signature_digest: bytes


@dataclass(frozen=True, slots=True)
class ContentReference:
    """A link to another signed message, by its contentIdentifier and signature (RFC 2634 2.11)."""

    content_type: str
    identifier: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class ContentHints:
    """What the innermost content is, said by an outer signature (RFC 2634 2.9)."""

    content_type: str
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Expansion:
    """One mailing list that passed the message on (RFC 2634 4.4).

    `list_id` is the EntityIdentifier as DER. `receipts` is the list's policy, None where it has
    none of its own; `to` are the addresses that go with it.
    """

    list_id: bytes
    time: datetime
    receipts: ListPolicy | None = None
    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Services:
    """What the attributes of one signer ask for and say; None or empty where they are silent.

    `confirmation` is there with `receipt_request`. Equivalent labels are shown, never acted upon:
    nobody told us whom to believe as a translator (RFC 2634 3.4.2).
    """

    receipt_request: ReceiptRequest | None = None
    confirmation: Confirmation | None = None
    content_identifier: bytes | None = None
    content_reference: ContentReference | None = None
    content_hints: ContentHints | None = None
    label: SecurityLabel | None = None
    equivalent_labels: tuple[SecurityLabel, ...] = ()
    expansions: tuple[Expansion, ...] = ()
    message_signature_digest: bytes | None = None


NO_SERVICES = Services()


# --- written ------------------------------------------------------------------------------


def content_hints(value: ContentHints) -> bytes:
    fields = [ber.oid(value.content_type)]
    if value.description:
        fields.insert(0, ber.tlv(ber.UTF8_STRING, value.description.encode()))
    return attribute(oids.CONTENT_HINTS, ber.sequence(*fields))


def message_signature_digest(digest: bytes) -> bytes:
    return attribute(oids.MESSAGE_SIGNATURE_DIGEST, ber.octet_string(digest))


# --- read ---------------------------------------------------------------------------------


def read_receipt(der: bytes | memoryview) -> Receipt:
    """The Receipt that fills `der`. MalformedMessage if it is none, or not version 1."""
    fields = Fields(ber.read(bytes(der), "Receipt"), "Receipt")
    version = fields.any("version").as_integer("Receipt version")
    if version != 1:
        raise MalformedMessage(f"Receipt: version is {version} instead of 1")
    found = Receipt(
        fields.any("contentType").as_oid("Receipt contentType"),
        bytes(fields.any("signedContentIdentifier").as_octets("signedContentIdentifier")),
        bytes(fields.any("originatorSignatureValue").as_octets("originatorSignatureValue")),
    )
    fields.end()
    return found


def read(
    signed: Attributes, signature: bytes, digest: Digest, where: str
) -> tuple[Services, list[Finding]]:
    """What the signed attributes of one signer ask for and say, and what is wrong with them.

    Call it for a signature that was verified only. `digest` is the signer's digestAlgorithm. Raises
    nothing: what cannot be read is a finding and not a value, an error where it was to restrict who
    may see or answer the message.
    """
    if not signed.has_any_of(_READERS):
        return NO_SERVICES, []  # as in most messages
    values: dict[str, Any] = {}
    found: list[Finding] = []
    for oid, (name, reader) in _READERS.items():
        if (node := signed.single(oid)) is None:
            continue
        try:
            values[name] = reader(node)
        except MalformedMessage as error:
            restricts = oid in (oids.SECURITY_LABEL, oids.ML_EXPANSION_HISTORY)
            severity = Severity.ERROR if restricts else None
            found.append(finding("cms.ess.malformed", where, str(error), severity=severity))
    equivalents = values.get("equivalent_labels", ())
    policies = [label.policy for label in (*equivalents, values.get("label")) if label is not None]
    if equivalents and len(set(policies)) != len(policies):
        # RFC 2634 3.4.1: nobody could say which of them holds
        del values["equivalent_labels"]
        text = "two equivalent labels are of one security policy, so they are ignored"
        found.append(finding("cms.ess.inconsistent", where, text))
    kind = signed.single(oids.CONTENT_TYPE)
    if (request := values.get("receipt_request")) is not None and kind is not None:
        # RFC 2634 2.4: step 1.2 for msgSigDigest, step 2 for the content
        attributes = ber.set_of(*signed.raws)
        receipt = Receipt(kind.as_oid("contentType"), request.identifier, signature)
        values["confirmation"] = Confirmation(receipt, digest.compute(attributes))
    return Services(**values), found


def _read_request(node: Node) -> ReceiptRequest:
    fields = Fields(node.expect(ber.SEQUENCE, "ReceiptRequest"), "ReceiptRequest")
    identifier = bytes(fields.any("signedContentIdentifier").as_octets("signedContentIdentifier"))
    asked = fields.any("receiptsFrom")
    from_: Literal["all", "first-tier"] | tuple[str, ...]
    names: tuple[bytes, ...] = ()
    if asked.tag == 0x80:
        number = asked.as_integer("allOrFirstTier", tag=0x80)
        if number not in (0, 1):
            raise asked.fault(f"allOrFirstTier is {number}, neither 0 nor 1")
        from_ = "first-tier" if number else "all"
    else:
        parties = _read_parties(asked.expect(0xA1, "receiptsFrom"), "receiptList", _MAX_PARTIES)
        from_ = tuple(address for party in parties for address in party[0])
        names = tuple(name for party in parties for name in party[1])
    to = _read_parties(fields.take(ber.SEQUENCE, "receiptsTo"), "receiptsTo", MAX_RECEIPTS_TO)
    if not to:
        raise node.fault("receiptsTo is empty")
    fields.end()
    return ReceiptRequest(
        _first_addresses(to), from_=from_, identifier=identifier, from_names=names
    )


_Party = tuple[tuple[str, ...], tuple[bytes, ...]]


def _first_addresses(parties: Sequence[_Party]) -> tuple[str, ...]:
    """One address for each: several names of a GeneralNames are one entity (RFC 2634 2.2)."""
    return tuple(party[0][0] for party in parties if party[0])


def _read_parties(node: Node, name: str, limit: int) -> list[_Party]:
    """SEQUENCE OF GeneralNames: the mail addresses and directory names of each."""
    found: list[_Party] = []
    for element in node:
        if len(found) >= limit:
            raise element.fault(f"{name} has more than {limit} entries")
        addresses: list[str] = []
        names: list[bytes] = []
        for general in element.expect(ber.SEQUENCE, "GeneralNames"):
            if general.tag == 0x81:
                addresses.append(read_text(general, "ascii", "rfc822Name"))
            elif general.tag == 0xA4:
                names.append(general.only("directoryName").raw)
            elif general.tag == 0xA0:
                other = Fields(general, "otherName")
                if other.any("type-id").as_oid("type-id") == oids.SMTP_UTF8_MAILBOX:
                    value = other.take(0xA0, "value").only("SmtpUTF8Mailbox")
                    value.expect(ber.UTF8_STRING, "SmtpUTF8Mailbox")
                    addresses.append(read_text(value, "utf-8", "SmtpUTF8Mailbox"))
        found.append((tuple(addresses), tuple(names)))
    return found


def _read_expansions(node: Node) -> tuple[Expansion, ...]:
    found: list[Expansion] = []
    for element in node.expect(ber.SEQUENCE, "MLExpansionHistory"):
        if len(found) >= _MAX_EXPANSIONS:
            raise element.fault(f"more than {_MAX_EXPANSIONS} mailing lists")
        found.append(_read_expansion(element))
    if not found:
        raise node.fault("MLExpansionHistory is empty")
    return tuple(found)


def _read_expansion(node: Node) -> Expansion:
    fields = Fields(node.expect(ber.SEQUENCE, "MLData"), "MLData")
    entity = fields.any("mailListIdentifier")
    if entity.tag not in (ber.SEQUENCE, ber.OCTET_STRING):
        raise entity.fault("mailListIdentifier is of an unknown kind")
    time = fields.take(ber.GENERALIZED_TIME, "expansionTime").as_time("expansionTime")
    policy: ListPolicy | None = None
    to: tuple[str, ...] = ()
    if (chosen := fields.optional(0x80, 0xA1, 0xA2)) is not None:
        policy = _LIST_POLICIES[chosen.tag]
        if policy != "none":
            to = _first_addresses(_read_parties(chosen, "mlReceiptPolicy", MAX_RECEIPTS_TO))
    fields.end()
    return Expansion(entity.raw, time, policy, to)


_LIST_POLICIES: dict[int, ListPolicy] = {
    0x80: "none",
    0xA1: "instead-of",
    0xA2: "in-addition-to",
}


def _read_reference(node: Node) -> ContentReference:
    fields = Fields(node.expect(ber.SEQUENCE, "ContentReference"), "ContentReference")
    found = ContentReference(
        fields.any("contentType").as_oid("ContentReference contentType"),
        bytes(fields.any("signedContentIdentifier").as_octets("signedContentIdentifier")),
        bytes(fields.any("originatorSignatureValue").as_octets("originatorSignatureValue")),
    )
    fields.end()
    return found


def _read_hints(node: Node) -> ContentHints:
    fields = Fields(node.expect(ber.SEQUENCE, "ContentHints"), "ContentHints")
    description = fields.optional(ber.UTF8_STRING)
    kind = fields.any("contentType").as_oid("ContentHints contentType")
    fields.end()
    return ContentHints(
        kind, None if description is None else read_text(description, "utf-8", "contentDescription")
    )


def _read_octets(node: Node) -> bytes:
    return bytes(node.as_octets())


_READERS: dict[str, tuple[str, Callable[[Node], Any]]] = {
    oids.RECEIPT_REQUEST: ("receipt_request", _read_request),
    oids.CONTENT_IDENTIFIER: ("content_identifier", _read_octets),
    oids.CONTENT_REFERENCE: ("content_reference", _read_reference),
    oids.CONTENT_HINTS: ("content_hints", _read_hints),
    oids.SECURITY_LABEL: ("label", read_label),
    oids.EQUIVALENT_LABELS: ("equivalent_labels", read_equivalents),
    oids.ML_EXPANSION_HISTORY: ("expansions", _read_expansions),
    oids.MESSAGE_SIGNATURE_DIGEST: ("message_signature_digest", _read_octets),
}
