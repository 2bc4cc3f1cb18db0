"""MIME entities as exact bytes (RFC 2045, 2046, 5322), and their canonical form for signing.

The one place that canonicalises. Before signing, `canonical_entity` makes of an entity what can
pass any relay unchanged (RFC 8551 3.1, RFC 1847 2.1):

- line ends become CRLF where they are line ends (RFC 8551 3.1.1): in text, in headers and in what
  multiparts and messages are made of. In every other part they are octets as others are, whatever
  the part's label says, and in a text that is labelled binary;
- a part that holds 8-bit or NUL octets, bare CRs or LFs, or lines over 998 octets becomes
  quoted-printable (text) or base64 (everything else); with `clear` also one that has "From " at the
  start of a line or blanks at its end. Lines of base64 or quoted-printable, and of a header, that
  are over 998 octets are broken again;
- a nested multipart/signed is left as it is, because its signature covers it.

The content of every part stays what it was; what cannot stay so is refused. After that nothing is
written again.
"""

from __future__ import annotations

import re
from binascii import a2b_qp, b2a_qp
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import collapse_rfc2231_value, decode_params, unquote
from itertools import islice

import pybase64

from ..errors import MalformedMessage
from ..pki.address import after_comment

MAX_DEPTH = 40  # of nested multiparts
MAX_PARTS = 10_000
_MAX_PIECES = 60_000  # header fields, delimiters and bodies of a message that is made canonical
MAX_HEADER = 1 << 20  # octets of one header block; Exchange allows 128 KB
MAX_HEADER_LINES = 20_000  # of one header block: some 10,000 recipients on a line each
MAX_LINE = 998  # RFC 5322 2.1.1
_MAX_PARAMETERS = 4096  # characters of one Content-Type that are looked at

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_UNPRINTABLE = re.compile(rb"[^\t -~]")
_COMMENT_OR_STRING = re.compile(r'\(|"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_IN_TOKEN = re.compile(r'[^\s;=/"()]')
_BLANK_LINE = re.compile(rb"(?:\A|(?<=\n))\r?\n")
_AFTER_DELIMITER = re.compile(rb"(--)?[ \t]*(?:\r?\n|\Z)")
_BLANKS = b"\r\n \t"
_PADDED_BASE64 = re.compile(rb"[A-Za-z0-9+/]++={1,2}")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\r\n \t]")
_BARE_CR = re.compile(rb"\r(?!\n)")
_BARE_LF = re.compile(rb"(?<!\r)\n")
# possessive, and a name begins behind a separator only: linear whatever the text is
_PARAMETER = re.compile(
    r'(?<![^\s;="])([^\s;="]++)\s*+=\s*+("(?:[^"\\]|\\.)*+"?|[^;\s]*+)', re.DOTALL
)


# --- reading ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HeaderField:
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
        _, _, value = self.raw.partition(b":")
        return re.sub(r"\r?\n(?=[ \t])", "", value.decode("utf-8", "replace")).strip()


def has_unprintable_name(raw: bytes) -> bool:
    """Whether the name of this field holds more than printable ASCII, folding included."""
    name, colon, _ = raw.partition(b":")
    return bool(colon) and _UNPRINTABLE.search(name) is not None


def is_mime_field(field: HeaderField) -> bool:
    """Whether the field describes the body, and so goes inside with it (RFC 8551 3.1)."""
    name = field.name.lower()
    return name.startswith("content-") or name == "mime-version"


def without_comments(text: str) -> str:
    """The value of a structured field with a blank for every comment (RFC 5322 3.2.2).

    Comments nest, and may hold any character. One that does not end is none, nor is one in the
    middle of a word, as in "name=scan(1).pdf", which should be quoted and often is not.
    """
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


@dataclass(frozen=True, slots=True)
class ContentType:
    """A Content-Type or Content-Disposition: `value` and the names of parameters in lower case."""

    value: str
    parameters: dict[str, str]

    @classmethod
    def read(cls, text: str) -> ContentType:
        value, _, rest = without_comments(text[:_MAX_PARAMETERS]).partition(";")
        value = re.sub(r"\s", "", value).lower()
        plain: dict[str, str] = {}
        extended: list[tuple[str, str]] = []
        for name, quoted in _PARAMETER.findall(rest):
            text = quoted
            if text.startswith('"'):
                text = re.sub(r"\\(.)", r"\1", text.strip('"'), flags=re.DOTALL)
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
                plain.setdefault(name, collapse_rfc2231_value(item))
        return cls(value, plain)

    @property
    def is_multipart(self) -> bool:
        return self.value.startswith("multipart/")


class Entity:
    """A MIME entity, or a whole message: exactly these bytes, with the header parsed.

    Raises MalformedMessage if the header block is longer than `MAX_HEADER`, or has more than
    `MAX_HEADER_LINES`.
    """

    __slots__ = ("_body_start", "fields", "has_blank_line", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.fields, self._body_start, self.has_blank_line = _read_header(raw)

    @property
    def header(self) -> bytes:
        """The header block as it stands, the blank line included."""
        return self.raw[: self._body_start]

    @property
    def body(self) -> bytes:
        return self.raw[self._body_start :]

    def all(self, name: str) -> list[HeaderField]:
        lowered = name.lower()
        return [field for field in self.fields if field.name.lower() == lowered]

    def get(self, name: str) -> str | None:
        """The value of the first field of this name."""
        found = self.all(name)
        return found[0].value if found else None

    @property
    def content_type(self) -> ContentType:
        text = self.get("Content-Type")
        parsed = ContentType.read(text) if text else None
        if parsed is None or "/" not in parsed.value:
            return ContentType("text/plain", {})  # RFC 2045 5.2
        return parsed

    @property
    def transfer_encoding(self) -> str:
        text = without_comments((self.get("Content-Transfer-Encoding") or "7bit")[:_MAX_PARAMETERS])
        return text.strip().strip('"').lower() or "7bit"

    @property
    def filename(self) -> str:
        disposition = ContentType.read(self.get("Content-Disposition") or "")
        name = disposition.parameters.get("filename")
        return name or self.content_type.parameters.get("name", "")

    def decoded_body(self) -> bytes:
        """The body without its transfer encoding; MalformedMessage if that is unknown or broken."""
        encoding = self.transfer_encoding
        if encoding == "base64":
            return decode_base64(self.body)
        if encoding in ("7bit", "8bit", "binary"):
            return self.body
        if encoding == "quoted-printable":
            return a2b_qp(self.body)
        raise MalformedMessage(f"transfer encoding {encoding[:40]!r} is not known")


def _read_header(raw: bytes) -> tuple[tuple[HeaderField, ...], int, bool]:
    end = _BLANK_LINE.search(raw, 0, MAX_HEADER)
    if end is None and len(raw) > MAX_HEADER:
        raise MalformedMessage(f"the header is longer than {MAX_HEADER} octets")
    stop = len(raw) if end is None else end.start()
    if raw.count(b"\n", 0, stop) > MAX_HEADER_LINES:
        raise MalformedMessage(f"the header has more than {MAX_HEADER_LINES} lines")
    fields: list[HeaderField] = []
    lines: list[bytes] = []
    is_readable = True

    def finish() -> None:
        nonlocal is_readable
        if lines:
            field = b"".join(lines)
            match = _FIELD.match(field)
            if match is None and has_unprintable_name(field):
                is_readable = False
            name = match.group(1).decode() if match and is_readable else ""
            fields.append(HeaderField(name, field))
            lines.clear()

    for line in raw[:stop].split(b"\n"):
        if not line:
            continue
        if line[:1] not in (b" ", b"\t") or not (lines or fields):
            finish()
        lines.append(line + b"\n")
    finish()
    return tuple(fields), stop if end is None else end.end(), end is not None


def decode_base64(text: bytes) -> bytes:
    """Base64 with its line breaks and blanks; any other character is an error.

    What a forwarder put behind it is left out, as `split_base64` does.
    """
    return split_base64(text)[0]


def split_base64(text: bytes) -> tuple[bytes, int]:
    """What base64 holds, and how many octets behind its end are left out."""
    data = _strict_base64(text)
    if data is not None:
        return data, 0
    end = _base64_end(text)
    data = _strict_base64(text[:end]) if end < len(text) else None
    if data is None:
        raise MalformedMessage("the body is not base64")
    return data, len(text) - end


def _strict_base64(text: bytes) -> bytes | None:
    packed = text.translate(None, _BLANKS)
    if len(packed) % 4:
        packed = packed.rstrip(b"=")
        packed += b"=" * (-len(packed) % 4)  # some senders leave the padding out
    try:
        return pybase64.b64decode(packed, validate=True)
    except ValueError:
        return None


def _base64_end(text: bytes) -> int:
    """Where base64 ends and a forwarder's text begins; the length of `text` if nothing follows.

    It ends with the line that ends with its padding (RFC 4648 3.2). Where it needs none, at the
    last blank line, or else the last line end, before the first character that is not base64.
    """
    padding = text.find(b"=")
    other = _NOT_BASE64.search(text)
    if padding < 0 or (other is not None and other.start() < padding):
        if other is None:
            return len(text)
        before = text[: other.start()]
        blank_line = max(before.rfind(b"\n\n"), before.rfind(b"\n\r\n"))
        end = (blank_line if blank_line > 0 else before.rfind(b"\n")) + 1
        is_whole = bool(text[:end].strip(_BLANKS)) and _octets_missing(text[:end]) == 0
        return end if is_whole else len(text)
    missing = _octets_missing(text[:padding])
    padded = re.compile(rb"(?:[\r\n \t]*=){%d}(?=[ \t]*\r?\n)" % missing).match(text, padding)
    if padded is None or missing not in (1, 2):
        return len(text)
    rest = text[padded.end() :].translate(None, _BLANKS)
    if not rest.strip(b"=") or _PADDED_BASE64.fullmatch(rest):
        return len(text)  # nothing more, or base64 once more, which some decoders go on with
    return padded.end()


def _octets_missing(text: bytes) -> int:
    return -len(text.translate(None, _BLANKS)) % 4


# --- multiparts ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Multipart:
    """The pieces of a multipart body (RFC 2046 5.1.1); a delimiter takes the line end before it.

    A part is None where two delimiters share a line end: some readers see an empty part there,
    others none.
    """

    preamble: bytes | None
    parts: tuple[bytes | None, ...]
    epilogue: bytes
    is_closed: bool


def split_multipart(body: bytes, boundary: str) -> Multipart:
    """Split at the delimiter lines. MalformedMessage for more than `MAX_PARTS` parts or none."""
    delimiter = b"--" + boundary.encode("utf-8", "replace")
    parts: list[bytes | None] = []
    preamble: bytes | None = None
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
            parts.append(body[start:end] if start <= end else None)
        elif position > 0:
            preamble = body[:end]
        if len(parts) > MAX_PARTS:
            raise MalformedMessage(f"a multipart has more than {MAX_PARTS} parts")
        if match.group(1):
            return Multipart(preamble, tuple(parts), body[match.end(1) :], True)
        start = position = match.end()
    if start < 0:
        raise MalformedMessage(f"boundary {boundary[:70]!r} of a multipart does not occur in it")
    parts.append(body[start:])
    return Multipart(preamble, tuple(parts), b"", False)


def _line_beginning(body: bytes, text: bytes, position: int) -> int:
    """Where the next line begins that begins with `text`, or -1; linear whatever the text is."""
    if position == 0 and body.startswith(text):
        return 0
    return body.find(b"\n" + text, max(position - 1, 0)) + 1 or -1


# --- the canonical form -------------------------------------------------------------------


def crlf(data: bytes) -> bytes:
    """All line ends as CRLF; a bare CR stays."""
    stripped = data.translate(None, b"\r")
    if len(data) - len(stripped) == data.count(b"\r\n"):
        fixed = stripped.replace(b"\n", b"\r\n")
        return data if fixed == data else fixed
    return _BARE_LF.sub(b"\r\n", data)


def canonical_entity(raw: bytes, *, clear: bool) -> bytes:
    """The canonical form of the entity in `raw`, as the module's docstring says.

    `clear` for multipart/signed, whose text relays can see. Raises MalformedMessage for what cannot
    be made so without a change to the content of a part, or to what a signature inside covers.
    """
    pieces = list(islice(_canonical(raw, clear, 0), _MAX_PIECES + 1))
    if len(pieces) > _MAX_PIECES:
        raise MalformedMessage(
            f"the message has more than {_MAX_PIECES} header fields and parts, all counted"
        )
    return b"".join(pieces)


_UNENCODED = ("7bit", "8bit", "binary")
_UUENCODED = ("x-uuencode", "uuencode", "x-uue", "uue")
_ENCODED = ("base64", "quoted-printable", *_UUENCODED)
_MESSAGES = ("message/rfc822", "message/global")
# of which a code unit may look like a line end
_WIDE_CHARSETS = ("utf-16", "utf-32", "utf16", "utf32", "ucs-2", "ucs-4", "iso-10646-ucs")
_NO_WAY_BACK = "which cannot be signed again without breaking its signature"


def _canonical(raw: bytes, clear: bool, depth: int, default: str = "text/plain") -> Iterator[bytes]:
    if depth > MAX_DEPTH:
        raise MalformedMessage(f"multiparts are nested deeper than {MAX_DEPTH}")
    entity = Entity(raw)
    kind = _kind_of(entity, default)
    boundary = kind.parameters.get("boundary", "")
    encoding = entity.transfer_encoding
    if not entity.has_blank_line and _is_safe(whole := crlf(raw), False):
        _check_header(entity, kind)
        yield whole  # a part that is all header, or none of it is
    elif kind.value == "multipart/signed":
        yield _signed_already(entity, clear, depth)
    elif kind.is_multipart and encoding not in _ENCODED:
        try:
            if not boundary:
                raise MalformedMessage(f"a {kind.value} has no boundary")
            pieces = split_multipart(entity.body, boundary)
        except MalformedMessage:
            # a message that is so is the sender's to mend, a part of it is what somebody sent them:
            # where it stands as it is, no reader can find another content in it
            if (depth == 0 and boundary) or not _is_safe(entity.body, False):
                raise
            yield from _header(entity, None, clear)
            yield entity.body
            return
        yield from _header(entity, None if encoding == "7bit" else b"7bit", clear)
        yield from _canonical_multipart(pieces, boundary, clear, depth, _default_inside(kind))
    elif kind.value in _MESSAGES and encoding not in _ENCODED:
        # in base64 or quoted-printable it may not be (RFC 2046 5.2.1)
        yield from _header(entity, None if encoding == "7bit" else b"7bit", clear)
        yield from _canonical(entity.body, clear, depth + 1)
    else:
        _check_header(entity, kind)
        yield from _canonical_leaf(entity, kind, clear)


def _kind_of(entity: Entity, default: str) -> ContentType:
    """Its content type; without one that of where it stands: a digest holds messages (RFC 2046
    5.1.5).
    """
    return entity.content_type if entity.all("Content-Type") else ContentType(default, {})


def _check_header(entity: Entity, kind: ContentType) -> None:
    """Where a line is no field some readers begin the body: whose line ends would those be?"""
    fields = entity.fields[1:] if entity.raw.startswith((b"From ", b">From ")) else entity.fields
    if _has_lines(kind, entity.transfer_encoding, b"") or all(field.name for field in fields):
        return
    if not _is_safe(entity.raw, False):
        raise MalformedMessage(
            f"the header of a part that is {kind.value[:60]} has a line that is no field",
            hint="mend the part, or attach it anew",
        )


def _signed_already(entity: Entity, clear: bool, depth: int) -> bytes:
    """A multipart/signed as it is, or with the CRLF that it was signed with (RFC 8551 3.1.1)."""
    body = entity.body
    whole = crlf(entity.raw)
    if crlf(body) != body and (b"\r" in body or has_data_lines(entity.raw, depth)):
        raise MalformedMessage(
            f"a multipart/signed inside the message has line ends other than CRLF, {_NO_WAY_BACK}",
            hint="give it as it was received, with CRLF",
        )
    if clear and not whole.isascii():
        raise MalformedMessage(
            f"a multipart/signed inside the message has 8-bit content, {_NO_WAY_BACK}",
            hint="sign opaque, or seal",
        )
    if clear and not _is_safe(whole, False):
        raise MalformedMessage(
            "a multipart/signed inside the message has lines over 998 octets, bare CRs or NULs,"
            f" {_NO_WAY_BACK}",
            hint="sign opaque, or seal",
        )
    return whole


def check_finished(raw: bytes) -> None:
    """MalformedMessage for a finished multipart/signed whose lines no relay leaves as they are."""
    entity = Entity(raw)
    if entity.content_type.value == "multipart/signed" and _has_long_line(entity.body):
        raise MalformedMessage(
            f"the signed content has lines over {MAX_LINE} octets, which a relay breaks, and with"
            " them the signature",
            hint="have the message as it was before it was signed signed anew",
        )


def has_data_lines(
    raw: bytes,
    depth: int = 0,
    *,
    rewrite: Callable[[bytes], bytes] = crlf,
    default: str = "text/plain",
) -> bool:
    """Whether `rewrite`, which makes all line ends CRLF, would change the content of the entity, or
    of a part of it: of one that is no text.
    """
    if depth > MAX_DEPTH:
        raise MalformedMessage(f"multiparts are nested deeper than {MAX_DEPTH}")
    entity = Entity(raw)
    kind = _kind_of(entity, default)
    encoding = entity.transfer_encoding
    if kind.is_multipart:
        inner = _default_inside(kind)
        try:
            parts = split_multipart(entity.body, kind.parameters.get("boundary", "")).parts
        except MalformedMessage:
            return rewrite(entity.body) != entity.body
        given = (part for part in parts if part is not None)
        return any(has_data_lines(p, depth + 1, rewrite=rewrite, default=inner) for p in given)
    if kind.value in _MESSAGES and encoding not in _ENCODED:
        return has_data_lines(entity.body, depth + 1, rewrite=rewrite)
    if encoding in ("base64", *_UUENCODED) or kind.value == "application/pgp-signature":
        return False  # lines of text (RFC 3156 2)
    decode = a2b_qp if encoding == "quoted-printable" else bytes
    data = decode(entity.body)
    return not _has_lines(kind, encoding, data) and data != decode(rewrite(entity.body))


def _default_inside(kind: ContentType) -> str:
    return "message/rfc822" if kind.value == "multipart/digest" else "text/plain"


def _has_lines(kind: ContentType, encoding: str, data: bytes) -> bool:
    """Whether a line end in a part is the end of a line, which others may write otherwise."""
    if kind.value.startswith("message/"):
        return True  # fields, as in a delivery status: RFC 3464 2.1, RFC 8098 3.1
    return (
        kind.value.startswith("text/")
        and encoding != "binary"
        and not _is_wide(kind)
        and b"\0" not in data
    )


def _is_wide(kind: ContentType) -> bool:
    return kind.parameters.get("charset", "").lower().startswith(_WIDE_CHARSETS)


def _canonical_multipart(
    pieces: Multipart, boundary: str, clear: bool, depth: int, default: str
) -> Iterator[bytes]:
    line = b"--" + boundary.encode("utf-8", "replace")
    if pieces.preamble is not None and _is_safe(preamble := crlf(pieces.preamble), clear):
        yield preamble + b"\r\n"  # text that nobody is shown; one that is not 7-bit is left out
    before = b""
    for part in pieces.parts:
        yield before + line + b"\r\n"
        before = b""
        if part is not None:
            yield from _canonical(part, clear, depth + 1, default)
            before = b"\r\n"
    if pieces.is_closed:
        yield before + line + b"--"
        epilogue = crlf(pieces.epilogue)
        yield epilogue if _is_safe(epilogue, clear) else b"\r\n"


def _canonical_leaf(entity: Entity, kind: ContentType, clear: bool) -> Iterator[bytes]:
    encoding = entity.transfer_encoding
    if encoding == "quoted-printable":
        yield from _canonical_quoted(entity, kind, clear)
    elif encoding not in _UNENCODED:
        yield from _header(entity, None, clear)
        yield _canonical_text(entity, kind, clear)
    else:
        body = crlf(entity.body) if _has_lines(kind, encoding, entity.body) else entity.body
        if _is_safe(body, clear):
            yield from _header(entity, b"7bit" if encoding != "7bit" else None, clear)
            yield body
        elif kind.value.startswith(("text/", "message/")) and not _is_wide(kind):
            yield from _header(entity, b"quoted-printable", clear)
            yield _quoted_printable(body)
        else:
            yield from _header(entity, b"base64", clear)
            yield encode_base64(body)


def _canonical_quoted(entity: Entity, kind: ContentType, clear: bool) -> Iterator[bytes]:
    body = _BARE_CR.sub(b"\r\n", crlf(entity.body))
    data = a2b_qp(entity.body)
    if not _has_lines(kind, "quoted-printable", data) and a2b_qp(body) != data:
        # RFC 2045 6.7 (4) has line breaks for text only, but some write all line ends so
        yield from _header(entity, b"base64", clear)
        yield encode_base64(data)
        return
    if not body.isascii() or b"\0" in body or _has_long_line(body):
        body = _quoted_printable(a2b_qp(body))
    elif clear and _changes_on_the_way(body):
        # blanks at the end of a line are not data (RFC 2045 6.7, rule 3)
        body = _guarded(re.sub(rb"[ \t]++(?=\r\n|\Z)", b"", body))
    yield from _header(entity, None, clear)
    yield body


def _canonical_text(entity: Entity, kind: ContentType, clear: bool) -> bytes:
    """The body of a part in base64, in uuencode, or in an encoding that we do not know."""
    encoding = entity.transfer_encoding
    body = _BARE_CR.sub(b"\r\n", crlf(entity.body))
    if encoding not in _ENCODED and body != entity.body and not _has_lines(kind, encoding, body):
        raise MalformedMessage(
            f"a part that is {kind.value[:60]} has the transfer encoding {encoding[:40]!r}, which"
            " is not known, and line ends that may be data",
            hint="attach the file anew: in base64 nothing of it changes",
        )
    is_long = _has_long_line(body)
    if is_long and encoding == "base64":
        body = _LONG_BASE64.sub(_in_lines_of_76, body)
        is_long = _has_long_line(body)
    if encoding == "base64" and clear and (b" " in body or b"\t" in body):
        body = re.sub(rb"[ \t]++(?=\r\n|\Z)", b"", body)
    if clear and not body.isascii():
        raise MalformedMessage(f"a part in {encoding[:40]} has 8-bit content")
    if clear and (is_long or b"\0" in body):
        raise MalformedMessage(
            f"a part in {encoding[:40]} has NULs, or lines over {MAX_LINE} octets, which a relay"
            " breaks, and with them the signature",
            hint="attach the file anew, or seal the message",
        )
    return body


_LONG_BASE64 = re.compile(rb"(?<![^\n])[A-Za-z0-9+/= \t]{999,}+(?=\r\n|\Z)")


def _in_lines_of_76(match: re.Match[bytes]) -> bytes:
    packed = match.group().translate(None, b" \t")
    return b"\r\n".join(packed[start : start + 76] for start in range(0, len(packed), 76))


def _is_safe(body: bytes, clear: bool) -> bool:
    return (
        body.isascii()
        and b"\0" not in body
        and body.count(b"\r") == body.count(b"\n") == body.count(b"\r\n")
        and not _has_long_line(body)
        and not (clear and _changes_on_the_way(body))
    )


def _changes_on_the_way(body: bytes) -> bool:
    """RFC 8551 3.1.4: mailbox files quote "From ", gateways cut blanks off the ends of lines."""
    return (
        body.startswith(b"From ")
        or b"\nFrom " in body
        or b" \r\n" in body
        or b"\t\r\n" in body
        or body.endswith((b" ", b"\t"))
    )


def _has_long_line(body: bytes) -> bool:
    start = 0
    while len(body) - start > MAX_LINE:
        end = body.rfind(b"\n", start, start + MAX_LINE + 2)
        if end < 0:
            return True
        start = end + 1
    return False


def _quoted_printable(body: bytes) -> bytes:
    # line by line: over a whole text `b2a_qp` lets bare CRs through
    lines = (b2a_qp(line, istext=False) for line in body.split(b"\r\n"))
    encoded = b"\r\n".join(line.replace(b"=\n", b"=\r\n") for line in lines)
    return _guarded(encoded)


def _guarded(encoded: bytes) -> bytes:
    """Quoted-printable without "From " at the start of a line, and without what could be taken for
    the delimiter of a multipart around it.
    """
    return _RISKY_LINE.sub(_with_its_start_encoded, encoded)


_RISKY_LINE = re.compile(rb"(?<![^\n])(?:From |--)[^\r\n]*+")


def _with_its_start_encoded(match: re.Match[bytes]) -> bytes:
    line = match.group()
    start = b"=%02X" % line[0]
    if len(line) + 2 > 76:  # RFC 2045 6.7 (5)
        start += b"=\r\n"
    return start + line[1:]


def encode_base64(data: bytes) -> bytes:
    """Base64 in lines of 76 characters that end in CRLF (RFC 2045 6.8)."""
    return pybase64.encodebytes(data).replace(b"\n", b"\r\n")


def _header(entity: Entity, encoding: bytes | None, clear: bool) -> Iterator[bytes]:
    """The header in 7 bits and its blank line; `encoding` replaces the transfer encoding."""
    if encoding is not None and any(has_unprintable_name(f.raw) for f in entity.fields):
        # a field that is added would stand behind it, where nobody reads it
        raise MalformedMessage("a part has a header field whose name is not printable ASCII")
    for field in entity.fields:
        if encoding is not None and field.name.lower() == "content-transfer-encoding":
            continue
        made = canonical_field(field)
        if clear and _has_long_line(made):
            raise _unfoldable(field)
        if clear and (_is_unreadable(field) or b"\0" in made or _BARE_CR.search(made)):
            raise MalformedMessage(
                "the header of a part holds 8-bit octets in a line that is no field, bare CRs or"
                " NULs, which a relay changes, and with them the signature",
                hint="mend the part, or seal the message",
            )
        yield made
    if encoding is not None:
        yield b"Content-Transfer-Encoding: " + encoding + b"\r\n"
    yield b"\r\n"


def _is_unreadable(field: HeaderField) -> bool:
    return not field.name and not field.raw.isascii()


def canonical_field(field: HeaderField) -> bytes:
    """The field with CRLF; 8-bit text becomes encoded-words or RFC 2231 parameters.

    Where neither is allowed (an identifier, the address itself) the UTF-8 stays (RFC 6532). Lines
    over 998 octets are folded where that can be. Not by `email`: its parser is quadratic, and
    raises what it likes on odd values.
    """
    raw = crlf(field.raw)
    if not raw.endswith(b"\r\n"):
        raw += b"\r\n"
    name = field.name.lower()
    is_long = _has_long_line(raw)
    if not name or (raw.isascii() and not is_long):
        return raw
    value = re.sub(rb"\r\n(?=[ \t])", b"", raw.partition(b":")[2]).strip()
    if name in _WITH_PARAMETERS:
        replacement = _short_parameter if is_long else _extended_parameter
        value = _EIGHT_BIT_PARAMETER.sub(replacement, value)
    elif raw.isascii() or name in _IDENTIFIERS:
        return _folded(raw)
    elif name.removeprefix("resent-") in _WITH_ADDRESSES:
        value = _PHRASE.sub(_encoded_phrase, value)
    else:
        value = _encoded_words(value)
    return _folded(field.name.encode() + b": " + value + b"\r\n")


def folded_field(field: HeaderField) -> bytes:
    """The field as it is, with CRLF and no line over 998 octets; MalformedMessage if that cannot
    be.
    """
    raw = crlf(field.raw)
    made = _folded(raw if raw.endswith(b"\r\n") else raw + b"\r\n")
    if _has_long_line(made):
        raise _unfoldable(field)
    return made


def _folded(raw: bytes) -> bytes:
    """Lines over 998 octets broken before blanks (RFC 5322 2.2.3), if there are enough of them."""
    if not _has_long_line(raw):
        return raw
    pieces: list[bytes] = []
    for line in raw.split(b"\r\n"):
        start = 0
        while len(line) - start > MAX_LINE:
            end = start + MAX_LINE
            cut = max(line.rfind(b" ", start + 1, end), line.rfind(b"\t", start + 1, end))
            while cut > start and line[cut - 1 : cut] in (b" ", b"\t"):
                cut -= 1
            if cut <= start:
                return raw
            pieces.append(line[start:cut])
            start = cut
        pieces.append(line[start:])
    return b"\r\n".join(pieces)


def _unfoldable(field: HeaderField) -> MalformedMessage:
    return MalformedMessage(
        f"header field {field.name[:60] or 'without a name'} has a line of over {MAX_LINE} octets"
        " that cannot be folded, and a relay breaks it somewhere",
        hint="shorten it",
    )


_IDENTIFIERS = frozenset(
    ("message-id", "in-reply-to", "references", "content-id", "content-location", "date")
    + ("content-transfer-encoding", "mime-version", "resent-date", "resent-message-id")
)
_WITH_PARAMETERS = frozenset({"content-type", "content-disposition"})
_WITH_ADDRESSES = frozenset({"from", "sender", "reply-to", "to", "cc", "bcc"})
_EIGHT_BIT_PARAMETER = re.compile(
    rb';[ \t]*+([^\s;=*"]++)[ \t]*+=[ \t]*+("(?:[^"\\]|\\.)*+"?|[^;"]*+)', re.DOTALL
)
# a display name, quoted or not; an address and a comment are passed over
_PHRASE = re.compile(
    rb'<[^>]*+>?|\((?:[^()\\]|\\.)*+\)?|"(?:[^"\\]|\\.)*+"?|[^<("@,:;]*+@[^\s,;:]*+|[^<("@,:;]++',
    re.DOTALL,
)
_ENCODED_OCTETS = 40  # of one encoded-word or parameter section, so that no line is over 120 long


def _extended_parameter(match: re.Match[bytes]) -> bytes:
    name, value = match.groups()
    return match.group() if value.isascii() else _in_sections(name, value)


def _in_sections(name: bytes, value: bytes) -> bytes:
    pieces = [b"".join(b"%%%02X" % octet for octet in piece) for piece in _pieces(_unquoted(value))]
    pieces[0] = _charset_of(value) + b"''" + pieces[0]
    if len(pieces) == 1:
        return b";\r\n " + name + b"*=" + pieces[0]
    return b"".join(b";\r\n %s*%d*=%s" % (name, i, piece) for i, piece in enumerate(pieces))


def _short_parameter(match: re.Match[bytes]) -> bytes:
    """A parameter on a line of its own; in sections where that would be too long."""
    name, value = match.groups()
    if value.isascii() and (len(value) < MAX_LINE // 2 or name.lower() == b"boundary"):
        return b";\r\n " + name + b"=" + value
    return _in_sections(name, value)


def _encoded_phrase(match: re.Match[bytes]) -> bytes:
    phrase = match.group()
    is_local_part = match.string[match.end() : match.end() + 1] == b"@"
    if phrase.isascii() or phrase[:1] in (b"<", b"(") or b"@" in phrase or is_local_part:
        return phrase
    before = phrase[: len(phrase) - len(phrase.lstrip())]
    return before + _encoded_words(_unquoted(phrase.strip())) + phrase[len(phrase.rstrip()) :]


def _unquoted(value: bytes) -> bytes:
    if value[:1] != b'"':
        return value.strip()
    inner = value[1:-1] if value.endswith(b'"') and len(value) > 1 else value[1:]
    return re.sub(rb"\\(.)", rb"\1", inner, flags=re.DOTALL)


def _encoded_words(value: bytes) -> bytes:
    """RFC 2047; what is no UTF-8 gets the charset of RFC 1428, as from every gateway."""
    before = b"=?" + _charset_of(value) + b"?b?"
    return b"\r\n ".join(before + pybase64.b64encode(p) + b"?=" for p in _pieces(value))


def _charset_of(value: bytes) -> bytes:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return b"unknown-8bit"
    return b"utf-8"


def _pieces(value: bytes) -> list[bytes]:
    """The octets in pieces; of UTF-8 each is whole characters (RFC 2047 5)."""
    whole = _charset_of(value) == b"utf-8"
    pieces, start = [], 0
    while start < len(value):
        end = start + _ENCODED_OCTETS
        while whole and value[end : end + 1] and value[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(value[start:end])
        start = end
    return pieces
