"""Countersignatures and other unsigned attributes: a signature over a signature (RFC 5652 11.4).

    Countersignature ::= SignerInfo    -- over the octets of the other's signature value

They are added after the fact, without touching a byte that was signed, and anybody can add or
remove them: a bad one says nothing about the signature that it stands beside.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from .. import oids
from ..asn1 import ber
from ..asn1.ber import Fields, Node
from ..asn1.content_info import content_info, read_content_info
from ..budget import Budget
from ..errors import MalformedMessage, UsageError
from ..findings import Severity
from ..policy import Policy
from ..x509.certificate import Certificate
from ..x509.certificate_set import certificate_set
from . import attributes, signature_check, signed_data
from .keys import SigningKey
from .signature_check import Check
from .signed_data import SignerIdentifier, SignerInfo

_MAX_DEPTH = 4  # a notary of a notary is rare, a chain of hundreds an attack


@dataclass(slots=True)
class Further:
    """How many further signatures (over signatures, in timestamps) one message may have checked.

    Anybody can add them, so that they are few keeps the rest of the message's budget for those that
    decide.
    """

    budget: Budget
    left: int = 16

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


@dataclass(frozen=True, slots=True)
class Countersignature:
    """One countersignature, checked; `faults` says what is wrong with it, `over` who signed it."""

    check: Check
    faults: tuple[str, ...]
    over: tuple[Countersignature, ...]


# --- made ---------------------------------------------------------------------------------


def countersign(
    der: bytes,
    *,
    signer: SigningKey,
    policy: Policy,
    at: datetime,
    index: int = 0,
    sid: SignerIdentifier = "issuer",
) -> bytes:
    """The SignedData (a ContentInfo) with a countersignature of signer number `index`.

    `at` becomes its signingTime. Nothing is verified first: that is for whoever countersigns to do.
    The countersigner's certificates are added. Raises MalformedMessage, UsageError for an `index`
    that is not there, and what `signed_data.choose_scheme` raises.
    """
    info = _signer(der, index)
    scheme, digest = signed_data.choose_scheme(signer.certificate, policy)
    # RFC 2634 1.3.4: no other attributes than these, and none that names a content type
    signed = [
        attributes.message_digest(digest.compute(info.signature)),
        attributes.signing_time(at),
        attributes.signing_certificate_v2(signer.certificate),
    ]
    value = signed_data.write_signer(signer, scheme, digest, signed, sid)
    return add_unsigned(
        der,
        oids.COUNTERSIGNATURE,
        value,
        index=index,
        certificates=(signer.certificate, *signer.chain),
    )


def add_unsigned(
    der: bytes,
    oid: str,
    value: bytes,
    *,
    index: int = 0,
    certificates: Iterable[Certificate] = (),
) -> bytes:
    """The SignedData with one more value of an unsigned attribute beside signature `index`.

    For a timestamp token (`oids.TIMESTAMP_TOKEN`) or a countersignature made elsewhere. Everything
    that was received stays as it was, to the byte; only lengths around it change.
    """
    _signer(der, index)
    _, node = read_content_info(der, oids.SIGNED_DATA)
    elements = list(node)
    infos = list(elements[-1])
    infos_der = [
        _with_attribute(info, oid, value) if number == index else info.raw
        for number, info in enumerate(infos)
    ]
    # version, digestAlgorithms, encapContentInfo
    parts: list[bytes | memoryview] = [element.raw for element in elements[:3]]
    known: list[bytes] = []
    for element in elements[3:-1]:
        if element.tag == 0xA0:
            known = [one.raw for one in element]
        else:
            parts.append(element.raw)
    added = [one.der for one in dict.fromkeys(certificates) if one.der not in known]
    if known or added:
        # as they came, where none is added
        parts.insert(3, certificate_set((*known, *added)) if added else ber.tlv(0xA0, *known))
    parts.append(ber.set_of(*infos_der))
    return content_info(oids.SIGNED_DATA, parts)


def _signer(der: bytes, index: int) -> SignerInfo:
    signers = signed_data.read(der).signers
    if not 0 <= index < len(signers):
        raise UsageError(f"there is no signer {index}, the message has {len(signers)}")
    if (fault := signers[index].fault) is not None:
        raise MalformedMessage(fault)
    return signers[index]


def _with_attribute(info: Node, oid: str, value: bytes) -> bytes:
    elements = list(info)
    others: list[bytes] = []
    values = [value]
    if elements[-1].tag == 0xA1:
        for element in elements.pop():
            fields = Fields(element, "Attribute")
            if fields.any("attrType").as_oid("attrType") == oid:
                values += [one.raw for one in fields.take(ber.SET, "attrValues")]
            else:
                others.append(element.raw)
    unsigned = ber.set_of(*others, attributes.attribute(oid, *values))
    return ber.sequence(*(element.raw for element in elements), b"\xa1" + unsigned[1:])


# --- read and checked ---------------------------------------------------------------------


def check(
    info: SignerInfo,
    *,
    certificates: Iterable[Certificate],
    policy: Policy,
    further: Further,
    depth: int = 1,
) -> tuple[tuple[Countersignature, ...], list[str]]:
    """The countersignatures beside one signature, checked, and what could not be read of them.

    `certificates` are those that may be a countersigner's. Raises nothing.
    """
    if info.unsigned_attributes is None:
        return (), []
    found: list[Countersignature] = []
    faults: list[str] = []
    known = tuple(certificates)
    for value in info.unsigned_attributes.values(oids.COUNTERSIGNATURE):
        if depth > _MAX_DEPTH or not further.take():
            faults.append("there are more countersignatures than are checked")
            break
        try:
            one = signed_data.read_signer(value, len(found))
        except MalformedMessage as error:
            faults.append(str(error))
            continue
        result = signature_check.check(
            None, one, info.signature, policy=policy, certificates=known, budget=further.budget
        )
        over, deeper = check(
            one, certificates=known, policy=policy, further=further, depth=depth + 1
        )
        faults += deeper
        wrong = [item.text for item in result.findings if item.severity is Severity.ERROR]
        if result.valid is None and not wrong:
            wrong = [item.text for item in result.findings]
        found.append(Countersignature(result, tuple(wrong), over))
    return tuple(found), faults
