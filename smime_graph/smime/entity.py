"""MIME entities as exact bytes: header, body, parts (RFC 2045, 2046, 5322). Read, never written.

What is made of them for signing is the business of `canonical`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from email.utils import collapse_rfc2231_value, decode_params, unquote
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import Generic, NamedTuple

from ..buffers import D, Data, find, part
from ..errors import MalformedMessage
from ..pki.address import after_comment
from ..text import printable
from .transfer import decode_base64, decode_quoted_printable

MAX_DEPTH = 40  # of nested multiparts
MAX_PARTS = 10_000
MAX_HEADER = 1 << 20  # octets of one header block; Exchange allows 128 KB
_USUAL_HEADER = 1 << 16
MAX_HEADER_LINES = 20_000  # of one header block: some 10,000 recipients on a line each
_MAX_PARAMETERS = 4096  # characters of one Content-Type that are looked at
MESSAGES = ("message/rfc822", "message/global")  # what carries a message
PKCS7_MIME = ("application/pkcs7-mime", "application/x-pkcs7-mime")
PKCS7_SIGNATURE = ("application/pkcs7-signature", "application/x-pkcs7-signature")
# a field, or a line that is none, in either case with what is folded under it; and its name
_FIELD = re.compile(rb"((?:([!-9;-~]++)[ \t]*+:)?+[^\n]*+\n(?:[ \t][^\n]*+\n)*+)")
_UNPRINTABLE = re.compile(rb"[^\t -~]")
_COMMENT_OR_STRING = re.compile(r'\(|"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_IN_TOKEN = re.compile(r'[^\s;=/"()]')
_FOLDING = re.compile(r"\r?\n(?=[ \t])")
_BLANK_LINE = re.compile(rb"\n(\r?\n)")  # but for one that a text begins with
_AFTER_DELIMITER = re.compile(rb"(--)?[ \t]*(?:\r?\n|\Z)")
# possessive, and a name begins behind a separator only: linear whatever the text is
_PARAMETER = re.compile(
    r'(?<![^\s;="])([^\s;="]++)\s*+=\s*+("(?:[^"\\]|\\.)*+"?|[^;\s]*+)', re.DOTALL
)


class HeaderField(NamedTuple):
    """One header field as it stands, folding and line ends included.

    `name` is "" for a line that is no field, and for everything behind a name that holds more than
    printable ASCII (RFC 5322 2.2): readers that trim it see another field there than we do, so
    nobody can say what the rest of the header is.
    """

    name: str
    raw: bytes

    @property
    def value(self) -> str:
        """The value unfolded, as UTF-8 (U+FFFD for what is not), encoded-words as they are."""
        text = self.raw.partition(b":")[2].decode("utf-8", "replace").strip()
        return _FOLDING.sub("", text) if "\n" in text else text


def has_unprintable_name(raw: bytes) -> bool:
    """Whether the name of this field holds more than printable ASCII, folding included."""
    name, colon, _ = raw.partition(b":")
    return bool(colon) and _UNPRINTABLE.search(name) is not None


def without_comments(text: str) -> str:
    """The value of a structured field with a blank for every comment (RFC 5322 3.2.2).

    Comments nest, and may hold any character. One that does not end is none, nor is one in the
    middle of a word, as in "name=scan(1).pdf", which should be quoted and often is not.
    """
    if "(" not in text:
        return text
    kept: list[str] = []
    position = 0
    while (match := _COMMENT_OR_STRING.search(text, position)) is not None:
        start = end = match.end()
        if match[0] == "(":
            try:
                end = after_comment(text, match.start())
            except MalformedMessage:
                break
            in_word = _IN_TOKEN.match(text[match.start() - 1 : match.start()])
            start = end if in_word and _IN_TOKEN.match(text, end) else match.start()
        kept += [text[position:start], " " if start < end else ""]
        position = end
    return "".join([*kept, text[position:]])


class ContentType(NamedTuple):
    """A Content-Type or Content-Disposition: `value` and the names of parameters in lower case."""

    value: str
    parameters: Mapping[str, str]

    @classmethod
    def read(cls, text: str) -> ContentType:
        return _lately(text) if len(text) <= _MAX_KEPT else cls._read(text)

    @classmethod
    def _read(cls, text: str) -> ContentType:
        value, _, rest = without_comments(text[:_MAX_PARAMETERS]).partition(";")
        value = printable("".join(value.split()).lower())  # errors name it
        plain: dict[str, str] = {}
        extended: list[tuple[str, str]] = []
        for name, quoted in _PARAMETER.findall(rest):
            text = quoted
            if text.startswith('"'):
                text = text.strip('"')
                if "\\" in text:
                    text = re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
            if "*" in name:
                extended.append((name.lower(), text))
            else:
                plain.setdefault(name.lower(), text)  # the first wins, as in every mail client
        if extended:
            try:
                decoded = decode_params([("", ""), *extended])[1:]
            except (ValueError, IndexError, TypeError):
                decoded = []
            for name, item in decoded:
                if isinstance(item, tuple):
                    item = (*item[:2], unquote(item[2]))  # `decode_params` has quoted it
                try:
                    plain.setdefault(name, collapse_rfc2231_value(item))
                except ValueError:  # of a charset whose name, or whose octets, are none
                    plain.setdefault(name, item[2])
        return cls(value, MappingProxyType(plain))

    @property
    def is_multipart(self) -> bool:
        return self.value.startswith("multipart/")

    @property
    def default_inside(self) -> str:
        """The type of a part that names none: a digest is one of messages (RFC 2046 5.1.5)."""
        return "message/rfc822" if self.value == "multipart/digest" else "text/plain"


_MAX_KEPT = 250  # characters: most are the same in all messages
_lately = lru_cache(maxsize=128)(ContentType._read)


# by name, those that describe the body, and the others
_Sorted = tuple[dict[str, list[HeaderField]], Sequence[HeaderField], Sequence[HeaderField]]


class Entity(Generic[D]):
    """A MIME entity, or a whole message: exactly these octets, with the header parsed.

    Of a large one (see `buffers`) the body is a view of the same octets. `default` is its type
    where it names none, the `ContentType.default_inside` of what it is a part of.

    Raises MalformedMessage if the header block is longer than `MAX_HEADER`, or has more than
    `MAX_HEADER_LINES`.
    """

    __slots__ = (
        "_body_start",
        "_content_type",
        "_default",
        "_encoding",
        "_sorted",
        "fields",
        "has_blank_line",
        "raw",
    )

    raw: D

    def __init__(self, raw: D, *, default: str = "text/plain") -> None:
        self.raw = raw
        self._default = default
        self._sorted: _Sorted | None = None  # these when first asked for
        self._content_type: ContentType | None = None
        self._encoding: str | None = None
        start = raw if isinstance(raw, bytes) else _beginning(raw)
        self.fields, self._body_start, self.has_blank_line = _read_header(start)

    @property
    def header(self) -> bytes:
        """The header block as it stands, the blank line included."""
        return bytes(self.raw[: self._body_start])

    @property
    def body(self) -> D:
        return part(self.raw, self._body_start, len(self.raw))

    def without_body(self) -> Entity[D]:
        """The header alone: what is kept of a layer, whose body would be the message once more."""
        alone: Entity[D] = Entity.__new__(Entity)
        alone.raw, alone._body_start = self.header, self._body_start
        alone.fields, alone.has_blank_line = self.fields, self.has_blank_line
        alone._sorted, alone._content_type = self._sorted, self._content_type
        alone._default, alone._encoding = self._default, self._encoding
        return alone

    def narrowed(
        self, fields: Sequence[HeaderField], end: bytes, body: bytes, *, above: bytes = b""
    ) -> Entity[bytes]:
        """Only these fields of it, all with a name and all of its MIME fields among them, and a
        blank line in front of its body: what would come of it if that were read again. `above` are
        fields that are no MIME fields, which stand above them.
        """
        made: Entity[bytes] = Entity.__new__(Entity)
        header = b"".join([above, *[field.raw for field in fields], end])
        made.raw, made._body_start = header + body, len(header)
        made.fields, made.has_blank_line = tuple(fields), True
        made._sorted, made._content_type = None, self.content_type
        made._default, made._encoding = self._default, self.transfer_encoding
        return made

    def _sort(self) -> _Sorted:
        by_name: dict[str, list[HeaderField]] = {}
        mime: list[HeaderField] = []
        others: list[HeaderField] = []
        for field in self.fields:
            name = field.name.lower()
            if name in by_name:
                by_name[name].append(field)
            else:
                by_name[name] = [field]
            if name.startswith("content-") or name == "mime-version":
                mime.append(field)
            elif name:
                others.append(field)
        self._sorted = found = by_name, mime, others
        return found

    def all(self, name: str) -> list[HeaderField]:
        """The fields of this name; of "", the lines that are no fields."""
        return (self._sorted or self._sort())[0].get(name.lower(), [])

    @property
    def mime_fields(self) -> Sequence[HeaderField]:
        """The fields that describe the body, and so go inside with it (RFC 8551 3.1)."""
        return (self._sorted or self._sort())[1]

    @property
    def other_fields(self) -> Sequence[HeaderField]:
        """The fields that do not."""
        return (self._sorted or self._sort())[2]

    def get(self, name: str) -> str | None:
        """The value of the first field of this name."""
        found = self.all(name)
        return found[0].value if found else None

    @property
    def content_type(self) -> ContentType:
        if self._content_type is None:
            given = self.get("Content-Type")
            parsed = ContentType(self._default, {}) if given is None else ContentType.read(given)
            if "/" not in parsed.value:
                parsed = ContentType("text/plain", {})  # RFC 2045 5.2
            self._content_type = parsed
        return self._content_type

    @property
    def transfer_encoding(self) -> str:
        if self._encoding is None:
            given = self.get("Content-Transfer-Encoding") or "7bit"
            if given not in ("7bit", "base64", "quoted-printable"):
                text = without_comments(given[:_MAX_PARAMETERS])
                given = printable(text.strip().strip('"').lower() or "7bit")
            self._encoding = given
        return self._encoding

    @property
    def filename(self) -> str:
        disposition = ContentType.read(self.get("Content-Disposition") or "")
        name = disposition.parameters.get("filename")
        return name or self.content_type.parameters.get("name", "")

    def decoded_body(self) -> Data:
        """The body without its transfer encoding; MalformedMessage if that is unknown or broken."""
        encoding = self.transfer_encoding
        if encoding == "base64":
            return decode_base64(self.body)
        if encoding in ("7bit", "8bit", "binary"):
            return self.body
        if encoding == "quoted-printable":
            return decode_quoted_printable(self.body)
        raise MalformedMessage(
            "the transfer encoding is not known"
        )  # it may be of what was encrypted


def claims_to_be_cms(entity: Entity[Data]) -> bool:
    """Whether the header says that this is S/MIME, or a multipart/signed of any kind."""
    kind = entity.content_type.value
    if kind == "application/octet-stream":
        suffix = entity.filename.lower().rpartition(".")[2]
        return suffix in ("p7m", "p7c", "p7z", "p7s")
    return kind in (*PKCS7_MIME, *PKCS7_SIGNATURE, "multipart/signed")


def _beginning(raw: memoryview) -> bytes:
    """As much of a large entity as holds its header: of nearly every one a few KB."""
    start = bytes(raw[:_USUAL_HEADER])
    return start if _blank_line(start) is not None else bytes(raw[: MAX_HEADER + 1])


def _blank_line(raw: bytes) -> tuple[int, int] | None:
    """Where the line that ends the header begins and ends."""
    if raw.startswith((b"\n", b"\r\n")):
        return 0, raw.index(b"\n") + 1
    found = _BLANK_LINE.search(raw, 0, MAX_HEADER)
    return None if found is None else found.span(1)


def _read_header(raw: bytes) -> tuple[tuple[HeaderField, ...], int, bool]:
    end = _blank_line(raw)
    if end is None and len(raw) > MAX_HEADER:
        raise MalformedMessage(f"the header is longer than {MAX_HEADER} octets")
    stop = len(raw) if end is None else end[0]
    if raw.count(b"\n", 0, stop) > MAX_HEADER_LINES:
        raise MalformedMessage(f"the header has more than {MAX_HEADER_LINES} lines")
    header = raw[:stop]
    fields = (_fields_lately if stop <= _MAX_PART else _fields)(header)
    return fields, stop if end is None else end[1], end is not None


def _fields(header: bytes) -> tuple[HeaderField, ...]:
    if header and header[-1:] != b"\n":
        header += b"\n"
    make = tuple.__new__  # a third of the time of `HeaderField(...)`, for what every message has
    fields = [make(HeaderField, (name.decode(), raw)) for raw, name in _FIELD.findall(header)]
    if "" in map(_NAME_OF, fields):
        broken = (
            n for n, one in enumerate(fields) if not one.name and has_unprintable_name(one.raw)
        )
        first = next(broken, len(fields))
        fields[first:] = [HeaderField("", one.raw) for one in fields[first:]]
    return tuple(fields)


_MAX_PART = 200  # octets: the header of a signature or a text, which is the same in all messages
_fields_lately = lru_cache(maxsize=128)(_fields)
_NAME_OF = itemgetter(0)


class Multipart(NamedTuple, Generic[D]):
    """The pieces of a multipart body (RFC 2046 5.1.1); a delimiter takes the line end before it.

    A part is None where two delimiters share a line end: some readers see an empty part there,
    others none. `spans` are the offsets of each part.
    """

    preamble: D | None
    parts: tuple[D | None, ...]
    spans: tuple[tuple[int, int], ...]
    epilogue: D
    is_closed: bool


def split_multipart(body: D, boundary: str) -> Multipart[D]:
    """Split at the delimiter lines. MalformedMessage for more than `MAX_PARTS` parts or none."""
    delimiter = b"--" + boundary.encode("utf-8", "replace")
    parts: list[D | None] = []
    spans: list[tuple[int, int]] = []
    preamble: D | None = None
    start = -1  # of the part that is open
    position = 0
    while (position := _line_beginning(body, delimiter, position)) >= 0:
        match = _AFTER_DELIMITER.match(body, position + len(delimiter))
        if match is None:
            position += 1
            continue
        end = position - (1 if body[position - 1 : position] == b"\n" else 0)
        end -= 1 if body[end - 1 : end] == b"\r" and end < position else 0
        if start >= 0:
            parts.append(part(body, start, end) if start <= end else None)
            spans.append((start, max(start, end)))
        elif position > 0:
            preamble = part(body, 0, end)
        if len(parts) > MAX_PARTS:
            raise MalformedMessage(f"a multipart has more than {MAX_PARTS} parts")
        if match.group(1):
            epilogue = part(body, match.end(1), len(body))
            return Multipart(preamble, tuple(parts), tuple(spans), epilogue, True)
        start = position = match.end()
    if start < 0:
        raise MalformedMessage(f"boundary {boundary[:70]!r} of a multipart does not occur in it")
    parts.append(part(body, start, len(body)))
    spans.append((start, len(body)))
    return Multipart(preamble, tuple(parts), tuple(spans), b"", False)


def _line_beginning(body: Data, text: bytes, position: int) -> int:
    """Where the next line begins that begins with `text`, or -1; linear whatever the text is."""
    if position == 0 and body[: len(text)] == text:
        return 0
    return find(body, b"\n" + text, max(position - 1, 0)) + 1 or -1
