"""Certificates with slips of their issuers that leave no doubt about what is meant.

`cryptography` refuses a certificate with a character too many in a PrintableString, or with a
DEFAULT that is written out; both are common (smimesign#19, swift-certificates#214), other software
reads them, and nothing in them can be read in two ways. So such a certificate is parsed from a copy
that has them put right. The copy is for reading alone: whatever is hashed, compared or verified are
the octets as received.
"""

from __future__ import annotations

import re

from .. import oids
from ..asn1 import ber
from ..asn1.ber import Node
from ..errors import MalformedMessage

_PRINTABLE, _TELETEX, _UNIVERSAL, _BMP = 0x13, 0x14, 0x1C, 0x1E
_NOT_PRINTABLE = re.compile(rb"[^A-Za-z0-9 '()+,\-./:=?]")  # X.680 41.4
_FALSE = ber.tlv(ber.BOOLEAN, b"\0")
_VERSION_1 = ber.context(0, ber.integer(0))
_EXTENSIONS = 0xA3
_MAX_ELEMENTS = 1000  # a certificate has some 150


def put_right(der: bytes) -> bytes | None:
    """A copy of the certificate without such slips; None where it has none, or is no certificate,
    or so much of one that it is none that an issuer made by mistake.

    A string that its type forbids becomes one of a type that has no alphabet; what stands at its
    DEFAULT is left out (X.690 11.5).
    """
    left = [_MAX_ELEMENTS]
    try:
        whole = ber.read(der, "Certificate")
        tbs, *outer = whole.children() or [whole]
        parts = []
        for field in tbs.children():
            if field.tag == _EXTENSIONS:
                found = (_extension(one, left) for one in field.only("extensions"))
                parts.append(ber.context(3, ber.sequence(*found)))
            elif field.raw != _VERSION_1:
                parts.append(_strings(field, left))
        copy = ber.sequence(ber.sequence(*parts), *(one.raw for one in outer))
    except MalformedMessage:
        return None
    return None if copy == der else copy


def _extension(node: Node, left: list[int]) -> bytes:
    elements = node.children()
    if len(elements) < 2:
        raise node.fault(f"Extension has {len(elements)} elements, at least 2 were wanted")
    kind, *criticality, value = elements
    critical = b"".join(one.raw for one in criticality if one.raw != _FALSE)
    octets = bytes(value.as_octets("extnValue"))
    if octets[:1] == b"\x30":
        inner = ber.read(octets, "extnValue")
        if kind.as_oid("extnID") == oids.BASIC_CONSTRAINTS:
            octets = ber.sequence(*(one.raw for one in inner if one.raw != _FALSE))
        else:
            octets = _strings(inner, left)
    return ber.sequence(kind.raw, critical, ber.octet_string(octets))


def _strings(node: Node, left: list[int], depth: int = 0) -> bytes:
    left[0] -= 1
    if depth > ber.MAX_DEPTH or left[0] < 0:
        raise node.fault("more than is put right")
    if node.tag > 0xFF:
        return node.raw  # a tag number that nothing in a certificate has
    if node.tag & ber.CONSTRUCTED:
        inside = [_strings(one, left, depth + 1) for one in node]
        return node.raw if b"".join(inside) == node.contents else ber.tlv(node.tag, *inside)
    if (
        (node.tag == _PRINTABLE and _NOT_PRINTABLE.search(node.contents))
        or (node.tag == _BMP and not _is_text(node.contents, "utf-16-be"))
        or (node.tag == _UNIVERSAL and not _is_text(node.contents, "utf-32-be"))
    ):
        kind = ber.UTF8_STRING if _is_text(node.contents, "utf-8") else _TELETEX
        return ber.tlv(kind, node.contents)
    return node.raw


def _is_text(octets: bytes, encoding: str) -> bool:
    try:
        octets.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
