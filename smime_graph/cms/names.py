"""X.501 names as text for people (RFC 4514). Names are compared by octets, never by this text.

Name ::= SEQUENCE OF RelativeDistinguishedName ::= SET OF SEQUENCE { type OBJECT IDENTIFIER,
value ANY }
"""

from __future__ import annotations

from .. import oids
from ..errors import MalformedMessage
from . import ber
from .ber import Fields, Node

# RFC 4514 3, and the attributes that mail certificates have beside them
_SHORT_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.42": "GN",
    "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    oids.EMAIL_ADDRESS: "emailAddress",
}
# UTF8String, PrintableString, TeletexString (in practice Latin-1), IA5String, UniversalString,
# BMPString
_ENCODINGS = {
    0x0C: "utf-8",
    0x13: "latin-1",
    0x14: "latin-1",
    0x16: "latin-1",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}


def text(name: bytes) -> str:
    """A DER Name, the most specific part first: `CN=Alice,O=Contoso`. Never raises."""
    try:
        relative = [pair for rdn in ber.read(name, "Name") for pair in rdn]
        return ",".join(_pair(pair) for pair in reversed(relative))
    except (MalformedMessage, UnicodeDecodeError):
        return "(unreadable name)"


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
