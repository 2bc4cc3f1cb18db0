"""Header fields as they are written: in 7 bits, and folded (RFC 5322 2.2.3, 2047, 2231, 6532)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pybase64

from ..errors import MalformedMessage
from .entity import HeaderField
from .lines import MAX_LINE, crlf, has_crlf_only, has_long_line

_MAX_DECODED = 2000  # characters of a value that are searched for encoded-words
_MAX_DATE = 200  # characters: the parser takes time that grows with the square of them


def decode_words(value: str) -> str:
    """The value with its encoded-words decoded, wherever they stand: RFC 2047 5 forbids them in
    quoted strings, comments and parameters, and readers decode them there all the same.

    A word that nobody can decode stays as it is. Only the beginning of a long value is looked at.
    """
    start, rest = value[:_MAX_DECODED], value[_MAX_DECODED:]
    if "=?" not in start:
        return value
    if (whole := _decoded(start)) is None:
        pieces, position = list[str](), 0
        for word in _WORD.finditer(start):
            if _decoded(word[0]) is None:
                pieces += [_decoded(start[position : word.start()]) or "", word[0]]
                position = word.end()
        whole = " ".join([*pieces, _decoded(start[position:]) or start[position:]]).lstrip()
    return whole + rest


_WORD = re.compile(r"=\?[^?]*+\?[bq]\?[^?]*+\?=", re.IGNORECASE)


def _decoded(text: str) -> str | None:
    """The text with its encoded-words decoded; None where one of them cannot be."""
    from email.errors import MessageError
    from email.header import Header, decode_header

    decoded = Header()
    try:
        for octets, charset in decode_header(text):
            # RFC 2231 5: the charset may have a language behind it
            decoded.append(octets, charset and charset.partition("*")[0], errors="replace")
        return str(decoded)
    except (ValueError, LookupError, IndexError, MessageError):
        return None


_PREFIXES = re.compile(r"(?:\s*+(?:re|fwd?|aw|wg|sv|vs|tr)\s*+(?:\[\d++\])?:)*+", re.IGNORECASE)
_OBSCURED = ("[...]", "...", "encrypted message")  # RFC 9788 3.2.1; others before it


def base_subject(value: str) -> str:
    """What a Subject is about: decoded, in lower case, without the marks of answers."""
    return " ".join(_PREFIXES.sub("", decode_words(value), count=1).split()).lower()


def is_obscured(subject: str) -> bool:
    """Whether this Subject says that the right one is hidden."""
    return base_subject(subject) in _OBSCURED


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# what nearly every Date is; the long way comes to the same
_DATE = re.compile(
    rf"(?:[A-Z][a-z]{{2}}, )?(\d{{1,2}}) ({'|'.join(_MONTHS)}) ([1-9]\d{{3}})"
    r" (\d\d:\d\d:\d\d) ([+-][01]\d)([0-5]\d)",
    re.ASCII,
)


def moment_of(date: str) -> datetime | None:
    """When the value of a Date is, in UTC; None where it says nothing that can be read."""
    try:
        if (found := _DATE.fullmatch(date)) is not None:
            day, month, year, time, hours, minutes = found.groups()
            number = _MONTHS.index(month) + 1
            text = f"{year}-{number:02}-{day:0>2}T{time}{hours}:{minutes}"
            return datetime.fromisoformat(text).astimezone(UTC)
        moment = parsedate_to_datetime(date[:_MAX_DATE])
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def is_unreadable(field: HeaderField) -> bool:
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
    is_long = has_long_line(raw)
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


def folded_fields(fields: Sequence[HeaderField]) -> bytes:
    """The fields as they are, with CRLF and no line over 998 octets; MalformedMessage if that
    cannot be.
    """
    whole = b"".join([field.raw for field in fields])
    if has_crlf_only(whole) and not has_long_line(whole):
        return whole  # as most are
    return b"".join(map(folded_field, fields))


def folded_field(field: HeaderField) -> bytes:
    """One field so."""
    raw = crlf(field.raw)
    made = _folded(raw if raw.endswith(b"\r\n") else raw + b"\r\n")
    if has_long_line(made):
        raise unfoldable(field)
    return made


def _folded(raw: bytes) -> bytes:
    """Lines over 998 octets broken before blanks (RFC 5322 2.2.3), if there are enough of them."""
    if not has_long_line(raw):
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


def unfoldable(field: HeaderField) -> MalformedMessage:
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
