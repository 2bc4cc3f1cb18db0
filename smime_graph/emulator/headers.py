"""Header fields as a mail server needs them (RFC 5322): read, taken away, added; addresses and
encoded words in them.

Not the standard library's `email` package, because what arrives here is hostile: its header
parser takes quadratic time on some input, its multipart parser recurses as deep as the sender
likes, and it would re-serialise what it read. Everything here and in `mime` is one pass over the
bytes, with limits, and edits by offset.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

HEADER_LIMIT = 256 * 1024


class UnusableMime(ValueError):
    """The bytes have no header block that can be used."""


@dataclass(frozen=True, slots=True)
class Person:
    """A mailbox as a header field names it; `name` may be empty."""

    name: str
    address: str

    @property
    def key(self) -> str:
        """What two spellings of one address have in common: Exchange ignores case throughout."""
        return self.address.lower()


class Field(NamedTuple):
    """One header field: `name` in lower case, `value` unfolded, and where its lines are."""

    name: str
    value: str
    start: int
    end: int


# RFC 5322 2.2 wants CRLF. A lone LF and a lone CR end a line here as well: a reader of the
# delivered copy may take them so, and a Bcc field that only that reader sees would be a Bcc field
# that was not removed.
LINE = re.compile(rb"[^\r\n]*(\r\n|\r|\n|\Z)")
_HEADER = re.compile(rb"(?:[^\r\n]++(?:\r\n|\r|\n|\Z))*+")
# A field with what is folded under it, or a line that is none. RFC 5322 2.2: a name is printable
# ASCII without the colon; 4.5: obsolete syntax lets white space precede the colon.
_FIELD = re.compile(
    r"(?:([!-9;-~]++)[ \t]*+:)?+([^\r\n]*+(?:(?:\r\n|\r|\n)[ \t][^\r\n]*+)*+)(?:\r\n|\r|\n|\Z)"
)
_NAME = re.compile(rb"([!-9;-~]++)[ \t]*+:")


def header_fields(raw: bytes) -> tuple[list[Field], int]:
    """Read the header block: its fields, and the offset where the body starts.

    Lines that are neither a field nor a continuation are passed over.
    Raises `UnusableMime` where the block is longer than `HEADER_LIMIT`.
    """
    end = _header_end(raw)
    if end > HEADER_LIMIT:
        raise UnusableMime("the header block is too long")
    block = raw[:end].decode("latin-1")  # a character for each octet
    is_text = block.isascii()
    fields = []
    for found in _FIELD.finditer(block):
        name, value = found.groups()
        if name is not None:
            value = value.replace("\r", "").replace("\n", "")
            if not is_text:
                value = decode_octets(value.encode("latin-1"))
            fields.append(Field(name.lower(), value.strip(), *found.span()))
    empty = LINE.match(raw, end)
    return fields, empty.end() if empty else end


def field_names(raw: bytes) -> set[str]:
    """The names of the header's fields, in lower case, as `header_fields` has them."""
    found = map(_NAME.match, raw[: _header_end(raw)].splitlines())
    return {one[1].decode("ascii").lower() for one in found if one}


def _header_end(raw: bytes) -> int:
    block = _HEADER.match(raw, 0, HEADER_LIMIT + 1)
    return block.end() if block else 0  # it is always there: the pattern matches the empty string


def remove_fields(raw: bytes, names: Collection[str]) -> bytes:
    """Take the named fields (lower case) away, folded lines and all; every other byte stays."""
    fields = [field for field in header_fields(raw)[0] if field.name in names]
    kept: list[bytes] = []
    position = 0
    for field in fields:
        kept.append(raw[position : field.start])
        position = field.end
        if raw[field.start - 1 : field.start] == b"\r" and raw[position : position + 1] == b"\n":
            kept.append(b"\n")  # or the lone CR and the empty line would become one line end
    kept.append(raw[position:])
    return b"".join(kept)


def add_fields(raw: bytes, fields: Collection[tuple[str, str]]) -> bytes:
    """Put fields before the first one, with the line ends that the message has already."""
    present, end = header_fields(raw)
    # Not before the first byte: a continuation line may stand there, and would continue what is
    # added.
    start = present[0].start if present else 0
    newline = next((m[1] for m in LINE.finditer(raw, start, end) if m[1]), b"\r\n")
    added = b"".join(f"{name}: {value}".encode() + newline for name, value in fields)
    return raw[:start] + added + raw[start:]


_PLAIN = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,250}")


def addresses(value: str) -> tuple[Person, ...]:
    """Read an address list (RFC 5322 3.4): names, comments, groups, routes; what is none is left
    out.
    """
    if _PLAIN.fullmatch(value):
        return (Person("", value),)
    found: list[Person] = []
    outer: list[str] = []  # outside angle brackets, quotes kept
    inner: list[str] = []  # inside them
    comment: list[str] = []
    depth = 0
    quoted = escaped = literal = angle = had_angle = False

    def finish() -> None:
        address = _address("".join(inner if had_angle else outer))
        if address:
            name = "".join(outer if had_angle else comment)
            found.append(Person(_display(name), address))
        outer.clear()
        inner.clear()
        comment.clear()

    for char in value:
        target = inner if angle else outer
        if escaped:
            (comment if depth else target).append(char)
            escaped = False
        elif char == "\\" and (quoted or depth):
            escaped = True
            if quoted:
                target.append(char)
        elif quoted:
            quoted = char != '"'
            target.append(char)
        elif depth:
            depth += (char == "(") - (char == ")")
            comment.append(char if depth else " ")
        elif char == "(":
            depth = 1
        elif char == '"':
            quoted = True
            target.append(char)
        elif literal or char == "[":
            literal = char != "]"
            target.append(char)
        elif char == "<" and not had_angle:
            angle = had_angle = True
        elif char == ">":
            angle = False
        elif angle:
            inner.append(char)
        elif char in ",;":
            finish()
            had_angle = False
        elif char == ":":
            outer.clear()  # it was the name of a group: `undisclosed-recipients:;`
        elif not had_angle:
            outer.append(char)
    finish()
    return tuple(found)


def is_address(text: str) -> bool:
    """Whether the text is one bare address that this reader takes as it stands."""
    return _address(text) == text != ""


def _address(text: str) -> str:
    text = " ".join(text.split())
    for mark in "@.":
        text = text.replace(f" {mark}", mark).replace(f"{mark} ", mark)
    if text.startswith("@"):
        text = text.rpartition(":")[2]  # RFC 5322 4.4: a source route, to be ignored
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain or len(text) > 320:
        return ""
    literal = domain.startswith("[") and domain.endswith("]")
    if any(c <= " " or c in '<>(),;"\\\x7f' or (c == ":" and not literal) for c in domain):
        return ""
    if local.startswith('"') and local.endswith('"') and len(local) > 1:
        return "" if any(c < " " or c == "\x7f" for c in local) else text
    if any(c <= " " or c in '<>()[],;:"\\@\x7f' for c in local):
        return ""
    return text


def _display(text: str) -> str:
    text = " ".join(decode_words(text).split())
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    return text[:998]


# RFC 2047 2. Every repetition is bounded, so that a field of half-open words takes linear time.
_WORD = re.compile(r"=\?([\w.:*+-]{1,60})\?([bBqQ])\?([^?\s]{0,600})\?=", re.ASCII)
# Only character sets of mail: Python knows codecs (unicode_escape, punycode...) with surprises of
# their own.
_CHARSETS = re.compile(
    r"utf-?8|(us-)?ascii|iso-?8859-\d{1,2}|(windows-|cp)125\d|gb2312|gbk|gb18030|big5|iso-2022-jp"
    r"|shift_jis|euc-(jp|kr)|koi8-[ru]"
)


def decode_words(text: str) -> str:
    """Decode the encoded words (RFC 2047) in a field's value; what is broken stays as it is."""
    out: list[str] = []
    position = 0
    for match in _WORD.finditer(text):
        gap = text[position : match.start()]
        if not (position and gap.isspace()):  # RFC 2047 6.2: space between two words is not shown
            out.append(gap)
        position = match.end()
        try:
            encoded = match[3].encode("ascii", "replace")
            if match[2] in "bB":
                data = binascii.a2b_base64(encoded)
            else:
                data = binascii.a2b_qp(encoded, header=True)
        except binascii.Error:
            out.append(match[0])
            continue
        out.append(decode_text(data, match[1].partition("*")[0]))
    out.append(text[position:])
    return "".join(out)


def decode_text(data: bytes, charset: str) -> str:
    if not _CHARSETS.fullmatch(charset.lower()):
        return decode_octets(data)
    try:
        return data.decode(charset, "replace")
    except LookupError:
        return decode_octets(data)


def decode_octets(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
