"""Security labels: how sensitive a content is, in the words of a security policy (RFC 2634 3).

    ESSSecurityLabel ::= SET { OBJECT IDENTIFIER, INTEGER (0..256) OPTIONAL, PrintableString or
                               UTF8String OPTIONAL, SET SIZE (1..64) OF SecurityCategory OPTIONAL }
    SecurityCategory ::= SEQUENCE { [0] IMPLICIT OBJECT IDENTIFIER, [1] EXPLICIT ANY }
    EquivalentLabels ::= SEQUENCE OF ESSSecurityLabel

The module has IMPLICIT tags; a tag on ANY is EXPLICIT all the same (X.680 31.2.7).
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from typing import Any

from .. import oids
from ..arguments import check_fields
from ..asn1 import ber
from ..asn1.ber import Fields, Node
from ..errors import MalformedMessage, UsageError
from ..text import printable
from .attributes import attribute

_MAX_CLASSIFICATION = 256  # RFC 2634 3.2: ub-integer-options
_MAX_CATEGORIES = 64
# Limits of our own, where the RFC has none: texts that people are shown, lists that are searched.
_MAX_TEXT = 4096
_MAX_EQUIVALENTS = 64
_MAX_OID = 100  # characters: the reader takes 64 octets, some 19 decimal digits to nine of them
_OID = re.compile(r"(?:[01]\.[1-3]?[0-9]|2\.(?:0|[1-9][0-9]*))(?:\.(?:0|[1-9][0-9]*))+", re.ASCII)

CLASSIFICATIONS = ("unmarked", "unclassified", "restricted", "confidential", "secret", "top-secret")
"""The basic hierarchy of X.411; a security policy may define further numbers (RFC 2634 3.3.2)."""


@dataclass(frozen=True, slots=True)
class SecurityCategory:
    """A further mark of a label: `type` is an object identifier, `value` the DER it defines."""

    type: str
    _: KW_ONLY
    value: bytes

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class SecurityLabel:
    """How sensitive a content is, in the words of the security policy named by `policy` (an OID).

    `classification` is a number of that policy, 0 to 5 being those of X.411 (`CLASSIFICATIONS`);
    which number is the more sensitive is the policy's to say. `privacy_mark` is text for people and
    decides nothing (RFC 2634 3.3.3).
    """

    policy: str
    _: KW_ONLY
    classification: int | None = None
    privacy_mark: str | None = None
    categories: tuple[SecurityCategory, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)

    def __str__(self) -> str:
        parts = [f"policy {self.policy}"]
        number = self.classification
        if number is not None:
            named = number < len(CLASSIFICATIONS)
            parts.append(f"classification {CLASSIFICATIONS[number] if named else number}")
        if self.privacy_mark is not None:
            parts.append(f"mark {printable(self.privacy_mark)!r}")
        if self.categories:
            parts.append(f"{len(self.categories)} categories")
        return ", ".join(parts)


# --- written --------------------------------------------------------------------------


def security_label(value: SecurityLabel) -> bytes:
    """The attribute. UsageError for a label outside the limits of RFC 2634 3.2."""
    return attribute(oids.SECURITY_LABEL, _write_label(value))


def _write_label(value: SecurityLabel) -> bytes:
    fields = [_write_oid(value.policy, "security policy")]
    if value.classification is not None:
        if not 0 <= value.classification <= _MAX_CLASSIFICATION:
            raise UsageError(
                f"security classification {value.classification} is not in 0 to "
                f"{_MAX_CLASSIFICATION}"
            )
        fields.append(ber.integer(value.classification))
    if value.privacy_mark is not None:
        if not value.privacy_mark:
            raise UsageError("the privacy mark is empty", hint="leave it out")
        # always UTF8String: its tag, unlike PrintableString's, sorts the same by octet and by
        # number
        fields.append(ber.tlv(ber.UTF8_STRING, value.privacy_mark.encode()))
    if len(value.categories) > _MAX_CATEGORIES:
        raise UsageError(f"a label has at most {_MAX_CATEGORIES} categories")
    if value.categories:
        fields.append(
            ber.set_of(
                *(
                    ber.sequence(
                        ber.tlv(0x80, _write_oid(category.type, "security category")[2:]),
                        ber.context(1, _element(category.value)),
                    )
                    for category in value.categories
                )
            )
        )
    return ber.set_of(*fields)


def _element(der: bytes) -> bytes:
    try:
        return ber.read(der, "value of a security category", tag=der[0] if der else 0).raw
    except MalformedMessage as error:
        raise UsageError(str(error), hint="give the DER of one value") from None


def _write_oid(dotted: str, name: str) -> bytes:
    if len(dotted) <= _MAX_OID and _OID.fullmatch(dotted):
        return ber.oid(dotted)
    raise UsageError(
        f"{name} {dotted[:100]!r} is not an object identifier", hint="for example 1.3.6.1.4.1.1"
    )


# --- read -----------------------------------------------------------------------------


def read_label(node: Node) -> SecurityLabel:
    node.expect(ber.SET, "ESSSecurityLabel")
    found: dict[str, Any] = {}
    value: Any
    for element in node:
        if element.tag == ber.OBJECT_IDENTIFIER:
            name, value = "policy", element.as_oid("security policy")
        elif element.tag == ber.INTEGER:
            name, value = "classification", element.as_integer("security classification")
            if not 0 <= value <= _MAX_CLASSIFICATION:
                raise element.fault(f"security classification is not in 0 to {_MAX_CLASSIFICATION}")
        elif element.tag in (0x13, ber.UTF8_STRING):
            encoding = "ascii" if element.tag == 0x13 else "utf-8"
            name, value = "privacy_mark", read_text(element, encoding, "privacy mark")
        elif element.tag == ber.SET:
            name, value = "categories", _read_categories(element)
        else:
            raise element.fault(f"ESSSecurityLabel has an element of tag 0x{element.tag:02x}")
        if name in found:
            raise element.fault(f"ESSSecurityLabel has two values for {name}")
        found[name] = value
    if "policy" not in found:
        raise node.fault("ESSSecurityLabel names no security policy")
    return SecurityLabel(**found)


def _read_categories(node: Node) -> tuple[SecurityCategory, ...]:
    found: list[SecurityCategory] = []
    for element in node:
        if len(found) >= _MAX_CATEGORIES:
            raise element.fault(f"a label has more than {_MAX_CATEGORIES} categories")
        fields = Fields(element.expect(ber.SEQUENCE, "SecurityCategory"), "SecurityCategory")
        kind = fields.take(0x80, "type").contents
        oid = ber.read(ber.tlv(ber.OBJECT_IDENTIFIER, kind), "type", tag=ber.OBJECT_IDENTIFIER)
        value = fields.take(0xA1, "value").only("value").raw
        fields.end()
        found.append(SecurityCategory(oid.as_oid("SecurityCategory type"), value=value))
    if not found:
        raise node.fault("security categories are empty")
    return tuple(found)


def read_equivalents(node: Node) -> tuple[SecurityLabel, ...]:
    found: list[SecurityLabel] = []
    for element in node.expect(ber.SEQUENCE, "EquivalentLabels"):
        if len(found) >= _MAX_EQUIVALENTS:
            raise element.fault(f"more than {_MAX_EQUIVALENTS} equivalent labels")
        found.append(read_label(element))
    if not found:
        raise node.fault("EquivalentLabels is empty")
    return tuple(found)


def read_text(node: Node, encoding: str, name: str) -> str:
    octets = node.contents
    if not 1 <= len(octets) <= _MAX_TEXT:
        raise node.fault(f"{name} has {len(octets)} octets, 1 to {_MAX_TEXT} are read")
    try:
        return octets.decode(encoding)
    except UnicodeDecodeError:
        raise node.fault(f"{name} is not {encoding}") from None
