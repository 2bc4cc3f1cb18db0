"""The text for those who do not read protected fields: taken out where they are, and put in.

A Legacy Display Element repeats in the body what is hidden outside (RFC 9788 4.5.3, 5.2.2, 5.2.3).
"""

from __future__ import annotations

import re
from html import escape

from ..buffers import LARGE, Data, part
from ..errors import MalformedMessage
from .canonical import WIDE_CHARSETS, encode_base64, quoted_printable
from .entity import Entity, split_multipart
from .header_confidentiality import with_parameter
from .header_protection import ProtectedHeader, legacy_part, without_hp
from .lines import crlf

_MAX_DEPTH = 10  # of multiparts in one another
_MAX_PARTS = 300
_CLASS_NAME = "header-protection-legacy-display"  # RFC 9788 5.2.3


def shown_entity(content: Data, protected: ProtectedHeader) -> list[Data]:
    """The content as it is shown: its MIME fields, then the body without what is there only for
    those who do not read protected fields (RFC 9788 4.5.3). In pieces.
    """
    root = Entity(content)
    if protected.form == "message/rfc822":
        root = Entity(root.decoded_body())
    pieces: list[Data] = []
    if protected.form == "hp" and protected.is_encrypted:
        pieces += _body_without_display(root.body, root, 0)
    elif protected.form == "protected-headers":
        pieces += _body_without_part(root)
    else:
        pieces.append(root.body)
    # an rfc822 in LF, as those of RFC 9788 C.2.5: the fields before these have CRLF
    header = [crlf(without_hp(field).raw) for field in root.mime_fields]
    return [b"".join([*header, b"\r\n"]), *pieces]


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
    header = b"".join([*[without_hp(field).raw for field in entity.fields], end])
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
    return _CLASS_NAME.encode() in b"".join(filter(None, match.groups())).split()


# --- made ---------------------------------------------------------------------------------------


def add_display(raw: bytes, text: str, depth: int = 0) -> bytes:
    """The entity with a Legacy Display Element in every Main Body Part that is text: `text` are its
    lines (RFC 9788 5.2.2 to 5.2.4).
    """
    entity = Entity(raw)
    kind = entity.content_type
    disposition = (entity.get("Content-Disposition") or "").strip().lower()
    if disposition.startswith("attachment") or not entity.has_blank_line:
        return raw
    if kind.value in ("text/plain", "text/html"):
        return _with_element(entity, text)
    if kind.value not in ("multipart/alternative", "multipart/mixed", "multipart/related"):
        return raw
    body = entity.body
    try:
        spans = split_multipart(body, kind.parameters.get("boundary", "")).spans
    except MalformedMessage:
        return raw
    found: list[bytes] = []
    position = 0
    chosen = spans[:_MAX_PARTS] if kind.value == "multipart/alternative" else spans[:1]
    for start, stop in chosen if depth < _MAX_DEPTH else ():
        found += [body[position:start], add_display(body[start:stop], text, depth + 1)]
        position = stop
    return b"".join([entity.header, *found, body[position:]])


def display_above(header: bytes, body: Data, text: str) -> tuple[bytes, Data]:
    """As `add_display` for what is too large to be copied: what its body begins with, up to where a
    part begins that stays as it is, and the rest. Only where the first part, which is the Main Body
    Part, is small.
    """
    kind = Entity(header).content_type
    if kind.value not in ("multipart/mixed", "multipart/related"):
        return b"", body
    try:
        start, stop = split_multipart(body, kind.parameters.get("boundary", "")).spans[0]
    except MalformedMessage:
        return b"", body
    if stop > LARGE:
        return b"", body
    changed = add_display(bytes(body[start:stop]), text, 1)
    rest = stop + (2 if body[stop : stop + 2] == b"\r\n" else 1)
    return b"".join([body[:start], changed, body[stop:rest]]), part(body, rest, len(body))


def _with_element(entity: Entity[bytes], text: str) -> bytes:
    """A text part with the element at its beginning, and with the mark that it has one."""
    kind = entity.content_type
    given = next(iter(entity.all("Content-Type")), None)
    if given is None:
        return entity.raw
    end = "\r\n" if entity.header.endswith(b"\r\n") else "\n"
    charset = kind.parameters.get("charset", "us-ascii").lower()
    changed = with_parameter(given, b'hp-legacy-display="1"')
    if charset in ("us-ascii", "ascii") and not text.isascii():
        charset = "utf-8"  # of which ASCII is a part
        changed = changed._replace(raw=_CHARSET.sub(b"", changed.raw))
        changed = with_parameter(changed, b'hp-legacy-display="1"; charset="utf-8"')
    try:
        data = bytes(entity.decoded_body())
        if kind.value == "text/html":
            made = _html_with_element(data, text, charset, end)
        else:
            made = _text_with_element(data, text.replace("\n", end) + 2 * end, charset)
    except (MalformedMessage, LookupError, ValueError):
        return entity.raw  # of a charset, or an encoding, that nobody can write
    encoding = entity.transfer_encoding
    if encoding == "base64":
        made = encode_base64(made)
    elif encoding == "quoted-printable":
        made = quoted_printable(crlf(made))
    header = [changed.raw if field is given else field.raw for field in entity.fields]
    return b"".join([*header, end.encode(), made])


_CHARSET = re.compile(rb';\s*+charset\s*+=\s*+(?:"[^"\\]*+"|[^;\s"]*+)', re.IGNORECASE)


def _text_with_element(data: bytes, element: str, charset: str) -> bytes:
    if charset.startswith(WIDE_CHARSETS):
        return (element + data.decode(charset)).encode(charset)
    return element.encode(charset, "replace") + data


def _html_with_element(data: bytes, text: str, charset: str, end: str) -> bytes:
    """RFC 9788 5.2.3.1: the first child of the body; where no body begins, before all else."""
    if charset.startswith(WIDE_CHARSETS):
        raise ValueError("the tags of a wide charset are not looked for")
    at = next((match.end() for match in _BODY.finditer(data) if match[0][:2] != b"<!"), 0)
    element = f'<div class="{_CLASS_NAME}">\n<pre>{escape(text)}</pre></div>'
    octets = element.replace("\n", end).encode(charset, "xmlcharrefreplace")
    return data[:at] + octets + data[at:]


_BODY = re.compile(rb"<!--.*?(?:-->|\Z)|<body(?=[\s>])[^<>]*+>", re.IGNORECASE | re.DOTALL)
