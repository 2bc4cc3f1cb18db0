"""Just enough of RFC 5322 and MIME to be a mail server: recipients, a summary, and fields taken
away.

Not the standard library's `email` package, because what arrives here is hostile: its header
parser takes quadratic time on some input, its multipart parser recurses as deep as the sender
likes, and it would re-serialise what it read. Everything below is one pass over the bytes,
with limits, and edits by offset.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from html import unescape
from itertools import islice
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

HEADER_LIMIT = 256 * 1024
BODY_LIMIT = 64 * 1024  # of the text shown in JSON; the message itself is stored whole
PREVIEW_LIMIT = 255  # bodyPreview, as Graph documents it
DEPTH_LIMIT = 8
PART_LIMIT = 200


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


@dataclass(frozen=True, slots=True)
class Summary:
    """What Graph shows of a message. `authors` is None when there is no From field at all."""

    message_id: str
    subject: str
    authors: tuple[Person, ...] | None
    sender: tuple[Person, ...]
    reply_to: tuple[Person, ...]
    to: tuple[Person, ...]
    cc: tuple[Person, ...]
    bcc: tuple[Person, ...]
    date: float | None
    thread: str
    importance: str
    wants_read_receipt: bool
    body: str
    body_type: str
    preview: str
    has_attachments: bool


# RFC 5322 2.2 wants CRLF. A lone LF and a lone CR end a line here as well: a reader of the
# delivered copy may take them so, and a Bcc field that only that reader sees would be a Bcc field
# that was not removed.
_LINE = re.compile(rb"[^\r\n]*(\r\n|\r|\n|\Z)")
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
                value = _text(value.encode("latin-1"))
            fields.append(Field(name.lower(), value.strip(), *found.span()))
    empty = _LINE.match(raw, end)
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
    newline = next((m[1] for m in _LINE.finditer(raw, start, end) if m[1]), b"\r\n")
    added = b"".join(f"{name}: {value}".encode() + newline for name, value in fields)
    return raw[:start] + added + raw[start:]


def summarise(raw: bytes) -> Summary:
    """Read what Graph shows of a message; raises `UnusableMime` without any header field."""
    fields, start = header_fields(raw)
    if not fields:
        raise UnusableMime("there is no header field")

    values: dict[str, list[str]] = {}
    for field in fields:
        values.setdefault(field.name, []).append(field.value)

    def first(name: str) -> str:
        return values.get(name, [""])[0]

    def people(name: str) -> tuple[Person, ...]:
        return tuple(person for value in values.get(name, ()) for person in addresses(value))

    body, body_type, preview, has_attachments = _content(raw, part_of(raw, fields, start))
    references = (first("references").split() or first("in-reply-to").split())[:1]
    return Summary(
        message_id=first("message-id")[:998],
        subject=decode_words(first("subject")[:4096]),
        authors=people("from") if "from" in values else None,
        sender=people("sender"),
        reply_to=people("reply-to"),
        to=people("to"),
        cc=people("cc"),
        bcc=people("bcc"),
        date=_date(first("date")[:100]),
        thread=references[0][:998] if references else "",
        importance=_importance(first("importance"), first("x-priority")),
        wants_read_receipt=bool(first("disposition-notification-to")),
        body=body,
        body_type=body_type,
        preview=preview,
        has_attachments=has_attachments,
    )


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
        out.append(_decode(data, match[1].partition("*")[0]))
    out.append(text[position:])
    return "".join(out)


def _decode(data: bytes, charset: str) -> str:
    if not _CHARSETS.fullmatch(charset.lower()):
        return _text(data)
    try:
        return data.decode(charset, "replace")
    except LookupError:
        return _text(data)


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


@lru_cache(maxsize=16)  # many messages are written in the same second
def _date(value: str) -> float | None:
    try:
        when = parsedate_to_datetime(value)
        return (when.replace(tzinfo=UTC) if when.tzinfo is None else when).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _importance(importance: str, priority: str) -> str:
    if importance.lower() in ("low", "high"):
        return importance.lower()
    return {"1": "high", "2": "high", "4": "low", "5": "low"}.get(priority[:1], "normal")


@dataclass(frozen=True, slots=True)
class Part:
    """An entity: what its header says of it, and its body as it stands there."""

    type: str
    parameters: dict[str, str]
    disposition: str
    encoding: str
    body: bytes
    fields: Mapping[str, str]  # by name in lower case; of several of one name the first
    entity: bytes  # header and body

    @property
    def file_name(self) -> str:
        """The name that the part has as a file, or nothing."""
        given = self.parameters_of("content-disposition").get("filename")
        return decode_words(given or self.parameters.get("name", ""))

    def parameters_of(self, name: str) -> dict[str, str]:
        return _parameters(self.fields.get(name, ""))

    @property
    def is_smime(self) -> bool:
        """Whether Exchange takes it for one thing that is not to be taken apart ([MS-OXOSMIME])."""
        return self.is_opaque or self.type in ("multipart/signed", "multipart/encrypted")

    @property
    def is_opaque(self) -> bool:
        return self.type in ("application/pkcs7-mime", "application/x-pkcs7-mime") or (
            self.type == "application/octet-stream" and self.file_name.lower().endswith(".p7m")
        )

    def content(self) -> bytes:
        """The body without its transfer encoding; what is broken is left out."""
        if self.encoding == "base64":
            return _from_base64(self.body)
        return binascii.a2b_qp(self.body) if self.encoding == "quoted-printable" else self.body


_PARAMETER = re.compile(r';\s*([\w*.-]{1,60})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]*))', re.ASCII)


def part_of(raw: bytes, fields: list[Field], start: int) -> Part:
    values = {f.name: f.value[:2000] for f in reversed(fields)}
    content_type = values.get("content-type", "text/plain")
    return Part(
        type=content_type.partition(";")[0].strip().lower(),
        parameters=_parameters(content_type),
        disposition=values.get("content-disposition", "").partition(";")[0].strip().lower(),
        encoding=values.get("content-transfer-encoding", "").strip().lower(),
        body=raw[start:],
        fields=values,
        entity=raw,
    )


def _parameters(value: str) -> dict[str, str]:
    found = {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare
        for name, quoted, bare in _PARAMETER.findall(value)
    }
    for name in [name for name in found if name.endswith("*")]:  # RFC 2231 4; 3: in pieces
        plain, _, number = name[:-1].partition("*")
        if number in ("", "0") and plain not in found:
            found[plain] = _extended(found, plain, first=name)
    for name in [name for name in found if name.endswith("*0")]:
        found.setdefault(name[:-2], _extended(found, name[:-2], first=name))
    return found


def _extended(found: Mapping[str, str], name: str, *, first: str) -> str:
    pieces = [found[first]]
    for number in range(1, 100):
        piece = found.get(f"{name}*{number}*", found.get(f"{name}*{number}"))
        if piece is None:
            break
        pieces.append(piece)
    text = "".join(pieces)
    if not first.endswith("*"):
        return text
    charset, _, rest = text.partition("'")
    return _decode(unquote_to_bytes(rest.partition("'")[2]), charset)


def children(part: Part) -> Iterator[bytes]:
    boundary = part.parameters.get("boundary", "").encode("utf-8", "replace")
    delimiter = re.compile(
        rb"(?:\A|\r\n|\r|\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r|\n|\Z)"
    )
    start: int | None = None
    for match in delimiter.finditer(part.body):
        if start is not None:
            yield part.body[start : match.start()]
        if match[1]:
            return
        line_end = _LINE.match(part.body, match.end())
        start = line_end.end() if line_end else match.end()
    if start is not None:
        yield part.body[start:]  # RFC 2046 5.1.2: a truncated multipart ends where the data does


def leaves(raw: bytes) -> Iterator[Part]:
    pending = [(raw, 0)]
    seen = 0
    while pending and seen < PART_LIMIT:
        entity, depth = pending.pop()
        seen += 1
        try:
            part = part_of(entity, *header_fields(entity))
        except UnusableMime:
            continue
        if (
            part.type.startswith("multipart/")
            and depth < DEPTH_LIMIT
            and part.parameters.get("boundary")
        ):
            inner = [(child, depth + 1) for child in islice(children(part), PART_LIMIT)]
            pending += reversed(inner)
        else:
            yield part


def parts_of(raw: bytes) -> tuple[Part | None, Part | None, list[Part]]:
    """The text, the HTML and what is attached, of a message that is no S/MIME."""
    plain = html = None
    others = []
    for part in leaves(raw):
        is_text = part.disposition != "attachment" and not part.file_name
        if is_text and part.type == "text/plain" and plain is None:
            plain = part
        elif is_text and part.type == "text/html" and html is None:
            html = part
        else:
            others.append(part)
    return plain, html, others


def _content(raw: bytes, top: Part) -> tuple[str, str, str, bool]:
    """Body, its type, preview and hasAttachments, as Exchange stores S/MIME ([MS-OXOSMIME])."""
    if top.is_opaque:
        return "", "text", "", True
    plain, html, others = parts_of(raw)
    attached = top.is_smime or any(part.disposition != "inline" for part in others)
    text = None if plain is None else _body_text(plain)
    shown = None if html is None else _body_text(html)
    readable = text if text is not None else _without_tags(shown or "")
    preview = " ".join(readable.split())[:PREVIEW_LIMIT]
    if shown is not None:
        return shown, "html", preview, attached
    return text or "", "text", preview, attached


def _without_tags(html: str) -> str:
    return re.sub(r"<[^<>]*>", " ", html)


def text_of(html: str) -> str:
    """The text of HTML, by a rough reading: lines where blocks end, and no tags."""
    lines = re.sub(r"(?i)<br[^<>]{0,100}>|</(?:p|div|tr|li|h[1-6])\s{0,10}>", "\n", html)
    return unescape(_without_tags(lines)).strip()


def _body_text(part: Part) -> str:
    data = part.body[: BODY_LIMIT * 2]
    if part.encoding == "base64":
        data = _from_base64(data)
    elif part.encoding == "quoted-printable":
        data = binascii.a2b_qp(data)
    return _decode(data[:BODY_LIMIT], part.parameters.get("charset", "utf-8")).strip("\r\n")


def _from_base64(data: bytes) -> bytes:
    # It may have been cut off anywhere: padding is made up, a lone last character dropped.
    data = re.sub(rb"[^A-Za-z0-9+/]", b"", data)
    data = data[:-1] if len(data) % 4 == 1 else data
    return binascii.a2b_base64(data + b"=" * (-len(data) % 4))
