"""X.501 names: compared (RFC 5280 7.1), and as text for people (RFC 4514), which is never compared.

Name ::= SEQUENCE OF RelativeDistinguishedName ::= SET OF SEQUENCE { type OBJECT IDENTIFIER,
value ANY }
"""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from functools import lru_cache

from .. import oids
from ..asn1 import ber
from ..asn1.ber import Fields, Node
from ..errors import MalformedMessage

# RFC 4514 3, and the attributes that mail certificates have beside them
_SHORT_NAMES = {
    oids.COMMON_NAME: "CN",
    oids.SURNAME: "SN",
    oids.SERIAL_NUMBER: "serialNumber",
    oids.COUNTRY_NAME: "C",
    oids.LOCALITY_NAME: "L",
    oids.STATE_OR_PROVINCE_NAME: "ST",
    oids.ORGANIZATION_NAME: "O",
    oids.ORGANIZATIONAL_UNIT_NAME: "OU",
    oids.GIVEN_NAME: "GN",
    oids.ORGANIZATION_IDENTIFIER: "organizationIdentifier",
    oids.USER_ID: "UID",
    oids.DOMAIN_COMPONENT: "DC",
    oids.EMAIL_ADDRESS: "emailAddress",
}
# UTF8String, NumericString, PrintableString, TeletexString (in practice Latin-1), IA5String,
# VisibleString, UniversalString, BMPString
_ENCODINGS = {
    ber.UTF8_STRING: "utf-8",
    0x12: "latin-1",
    0x13: "latin-1",
    0x14: "latin-1",
    0x16: "latin-1",
    0x1A: "latin-1",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}
_MAX_REMEMBERED = 1024  # octets; an issuer's name has 100
_MAX_NAME = 16_384  # octets; a longer one nobody has, and it is compared as it is


# --- compared -----------------------------------------------------------------------------


def same(one: bytes, other: bytes) -> bool:
    """Whether two DER Names are the same name by RFC 5280 7.1. Never raises."""
    return one == other or canonical(one) == canonical(other)


def canonical(name: bytes) -> bytes:
    """A form that all encodings of one DER Name have in common, for comparing alone; never raises.

    RFC 5280 7.1 compares without regard to the kind of string, to case, and to blanks at the ends
    and repeated ones, the parts of an RDN in any order. A value that is no text is left as it is,
    and so is what is no Name, or a longer one than anybody has.
    """
    if len(name) > _MAX_NAME:
        return name
    return _remembered(name) if len(name) <= _MAX_REMEMBERED else _lately(name)


def _canonical(name: bytes) -> bytes:
    try:
        relative = ber.read(name, "Name")
        return ber.sequence(*(ber.set_of(*map(_comparable, rdn)) for rdn in relative))
    except MalformedMessage:
        return name


_remembered = lru_cache(maxsize=512)(_canonical)
_lately = lru_cache(maxsize=4)(_canonical)  # of a long name that is compared with many


def attributes(name: bytes) -> tuple[tuple[str, str | None], ...]:
    """The attributes of a DER Name in their order: the dotted kind, and the text, None for what is
    no text of a kind we know. Never raises: what cannot be read has none.
    """
    found: list[tuple[str, str | None]] = []
    if len(name) > _MAX_NAME:
        return ()
    try:
        for rdn in ber.read(name, "Name"):
            for pair in rdn:
                fields = Fields(pair, "AttributeTypeAndValue")
                kind, value, text = fields.any("type").as_oid(), fields.any("value"), None
                if value.tag in _ENCODINGS:
                    with suppress(UnicodeDecodeError):
                        text = value.contents.decode(_ENCODINGS[value.tag])
                found.append((kind, text))
    except MalformedMessage:
        return ()
    return tuple(found)


def values(name: bytes, oid: str) -> list[str]:
    """The values of one kind in a DER Name that are text of a kind we know; never raises."""
    return [text for kind, text in attributes(name) if kind == oid and text is not None]


def _comparable(pair: Node) -> bytes:
    fields = Fields(pair, "AttributeTypeAndValue")
    kind, value = fields.any("type"), fields.any("value")
    fields.end()
    if (encoding := _ENCODINGS.get(value.tag)) is None:
        return pair.raw
    try:
        text = value.contents.decode(encoding)
    except UnicodeDecodeError:
        return pair.raw
    # RFC 4518 2, as far as names differ in practice
    prepared = " ".join(unicodedata.normalize("NFKC", text.casefold()).split())
    return ber.sequence(kind.raw, ber.tlv(ber.UTF8_STRING, prepared.encode()))


# --- shown --------------------------------------------------------------------------------


def text(name: bytes) -> str:
    """A DER Name, the most specific part first: `CN=Alice,O=Contoso`. Never raises."""
    if len(name) > _MAX_NAME:
        return f"(a name of {len(name)} octets)"
    return _text_lately(name) if len(name) <= _MAX_REMEMBERED else _text(name)


def _text(name: bytes) -> str:
    try:
        relative = [pair for rdn in ber.read(name, "Name") for pair in rdn]
        return ",".join(_pair(pair) for pair in reversed(relative))
    except (MalformedMessage, UnicodeDecodeError):
        return "(unreadable name)"


_text_lately = lru_cache(maxsize=512)(_text)


def _pair(node: Node) -> str:
    fields = Fields(node, "AttributeTypeAndValue")
    oid = fields.any("type").as_oid("attribute type")
    value = fields.any("value")
    if (encoding := _ENCODINGS.get(value.tag)) is None:
        return f"{_SHORT_NAMES.get(oid, oid)}=#{value.raw.hex()}"
    shown = "".join(_shown(character) for character in value.contents.decode(encoding))
    return f"{_SHORT_NAMES.get(oid, oid)}={shown}"


def _shown(character: str) -> str:
    if character in ',+"\\<>;':
        return f"\\{character}"
    # a name is somebody else's text: nothing in it may steer a terminal
    return character if character.isprintable() else "\ufffd"
