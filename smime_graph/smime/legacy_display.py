"""The text for those who do not read protected fields: taken out where they are read.

A Legacy Display Element repeats in the body what is hidden outside (RFC 9788 4.5.3, 5.2.2, 5.2.3).
"""

from __future__ import annotations

import re

from ..buffers import Data, part
from ..errors import MalformedMessage
from .canonical import WIDE_CHARSETS, encode_base64, quoted_printable
from .entity import Entity, HeaderField, is_mime_field, split_multipart
from .header_protection import ProtectedHeader, legacy_part
from .lines import crlf

_MAX_DEPTH = 10  # of multiparts in one another
_MAX_PARTS = 300


def shown_entity(content: Data, protected: ProtectedHeader) -> list[Data]:
    """The content as it is shown: its MIME fields, then the body without what is there only for
    those who do not read protected fields (RFC 9788 4.5.3). In pieces.
    """
    root = Entity(content)
    if protected.form == "message/rfc822":
        root = Entity(root.decoded_body())
    fields = [field for field in root.fields if field.name and is_mime_field(field)]
    pieces: list[Data] = []
    if protected.form == "hp" and protected.is_encrypted:
        pieces += _body_without_display(root.body, root, 0)
    elif protected.form == "protected-headers":
        pieces += _body_without_part(root)
    else:
        pieces.append(root.body)
    header = [_without_parameters(field) for field in fields]
    return [b"".join([*header, b"\r\n"]), *pieces]


def _without_parameters(field: HeaderField) -> bytes:
    """A Content-Type without what header protection put there: that was said of the message as it
    was protected.
    """
    if field.name.lower() != "content-type":
        return field.raw
    return _PARAMETER.sub(lambda match: b"" if match[0][:1] == b";" else match[0], field.raw)


# possessive, and a quoted string is passed over as a whole
_PARAMETER = re.compile(
    rb'"(?:[^"\\]|\\.)*+"?'
    rb'|;\s*+(?:hp|hp-legacy-display|protected-headers)\s*+=\s*+(?:"[^"\\]*+"|[^;\s"]*+)(?=\s*+(?:;|\Z))',
    re.IGNORECASE | re.DOTALL,
)


def _body_without_part(root: Entity[Data]) -> list[Data]:
    body = root.body
    if legacy_part(root) is None:
        return [body]
    pieces = split_multipart(body, root.content_type.parameters.get("boundary", ""))
    if len(pieces.spans) < 2:
        return [body]
    # from behind its delimiter to behind the next one
    return [part(body, 0, pieces.spans[0][0]), part(body, pieces.spans[1][0], len(body))]


def _body_without_display(body: Data, entity: Entity[Data], depth: int) -> list[Data]:
    """The body of a part of the payload, without the Legacy Display Elements in it."""
    kind = entity.content_type
    if kind.is_multipart and kind.value != "multipart/signed" and depth < _MAX_DEPTH:
        try:
            pieces = split_multipart(body, kind.parameters.get("boundary", ""))
        except MalformedMessage:
            return [body]
        found: list[Data] = []
        position = 0
        for start, stop in pieces.spans[:_MAX_PARTS]:
            try:
                inner = Entity(part(body, start, stop))
            except MalformedMessage:
                continue
            replaced = _part_without_display(inner, depth + 1)
            if replaced is not None:
                found += [part(body, position, start), *replaced]
                position = stop
        return [*found, part(body, position, len(body))]
    if kind.parameters.get("hp-legacy-display") != "1":
        return [body]
    try:
        data = bytes(entity.decoded_body())
    except MalformedMessage:
        return [body]
    cut = data
    if kind.value == "text/plain":
        cut = _text_without_display(data, kind.parameters.get("charset", "us-ascii"))
    elif kind.value == "text/html":
        cut = _html_without_display(data)
    if cut == data:
        return [body]
    encoding = entity.transfer_encoding
    if encoding == "base64":
        return [encode_base64(cut)]
    return [quoted_printable(crlf(cut)) if encoding == "quoted-printable" else cut]


def _part_without_display(entity: Entity[Data], depth: int) -> list[Data] | None:
    """The part, its header included; None where it stays as it is."""
    kind = entity.content_type
    if not kind.is_multipart and "hp-legacy-display" not in kind.parameters:
        return None
    if not entity.has_blank_line:
        return None
    end = b"\r\n" if entity.header.endswith(b"\r\n") else b"\n"
    header = b"".join([*map(_without_parameters, entity.fields), end])
    return [header, *_body_without_display(entity.body, entity, depth)]


def _text_without_display(data: bytes, charset: str) -> bytes:
    """RFC 9788 4.5.3.2: all up to the first blank line. Where there is none, nothing is hidden."""
    if charset.lower().startswith(WIDE_CHARSETS):
        try:
            text = data.decode(charset)
            blank = _BLANK.search(text)
            return data if blank is None else text[blank.end() :].encode(charset)
        except (LookupError, ValueError):
            return data
    found = _BLANK_LINE.search(data)
    return data if found is None else data[found.end() :]


_BLANK_LINE = re.compile(rb"(?:\A|(?<=\n))\r?\n")
_BLANK = re.compile(r"(?:\A|(?<=\n))\r?\n")


def _html_without_display(data: bytes) -> bytes:
    """RFC 9788 4.5.3.3: every div of the class; one that does not end stays."""
    found: list[bytes] = []
    position = depth = start = 0
    for match in _DIV.finditer(data):
        if match[0].startswith(b"<!--"):
            continue
        is_end = match[0].startswith(b"</")
        if depth:
            depth += -1 if is_end else 1
            if depth == 0:
                found.append(data[position:start])
                position = match.end()
        elif not is_end and _is_display(match[0]):
            start, depth = match.start(), 1
    return b"".join([*found, data[position:]])


_DIV = re.compile(
    rb"<!--.*?(?:-->|\Z)|<div(?=[\s>/])[^<>]*+>|</div\s*+>", re.IGNORECASE | re.DOTALL
)
_CLASS = re.compile(rb"""\sclass\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++))""", re.IGNORECASE)


def _is_display(tag: bytes) -> bool:
    match = _CLASS.search(tag)
    if match is None:
        return False
    return b"header-protection-legacy-display" in b"".join(filter(None, match.groups())).split()
