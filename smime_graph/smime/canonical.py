"""The canonical form of an entity, for signing.

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
from itertools import islice
from struct import unpack
from typing import overload

import pybase64

from ..buffers import Data, Octets, Rope
from ..errors import MalformedMessage
from .entity import (
    MAX_DEPTH,
    MAX_HEADER,
    MESSAGES,
    ContentType,
    Entity,
    Multipart,
    has_unprintable_name,
    split_multipart,
)
from .fields import canonical_field, is_unreadable, unfoldable
from .lines import MAX_LINE, crlf, has_crlf_only, has_long_line

MAX_PIECES = 60_000  # header fields, delimiters and bodies of a message that is made canonical
_BARE_CR = re.compile(rb"\r(?!\n)")


def canonical_entity(raw: bytes | Entity[bytes], *, clear: bool) -> bytes:
    """The canonical form of an entity, read or yet to be read, as the module's docstring says.

    `clear` for multipart/signed, whose text relays can see. Raises MalformedMessage for what cannot
    be made so without a change to the content of a part, or to what a signature inside covers.
    """
    entity = raw if isinstance(raw, Entity) else Entity(raw)
    raw = entity.raw
    if _is_canonical(entity, clear):
        return raw
    pieces = list(islice(_canonical(raw, clear, 0), MAX_PIECES + 1))
    if len(pieces) > MAX_PIECES:
        raise MalformedMessage(
            f"the message has more than {MAX_PIECES} header fields and parts, all counted"
        )
    return b"".join(pieces)


def _is_canonical(entity: Entity[bytes], clear: bool) -> bool:
    """Whether `_canonical` leaves all of it as it is: a look at the text as a whole may tell.

    What holds of all lines holds of those of every part. What is left: labels that would change
    and the blanks of a delimiter, or the line end that it lacks; and what is refused for its
    boundary, or for its size.
    """
    raw = entity.raw
    if not is_safe(raw, clear):
        return False
    kind = entity.content_type
    if entity.transfer_encoding not in _LEFT_AS_THEY_ARE:
        return False
    if not kind.is_multipart and kind.value not in MESSAGES:
        return True
    if len(raw) > _MAX_WHOLE or raw.count(b"\n") > MAX_PIECES // 6 or _changes_on_the_way(raw):
        return False
    if _NOTHING_BEHIND.search(raw):
        return False
    lowered = raw.lower()
    if lowered.count(b"content-type") > MAX_DEPTH // 3:
        return False
    if lowered.count(b"content-transfer-encoding") != len(_PLAIN_ENCODING.findall(lowered)):
        return False
    return not kind.is_multipart or _shows_parts(entity.body, kind.parameters.get("boundary", ""))


_MAX_WHOLE = MAX_HEADER  # so none in it has a header that is longer
_LEFT_AS_THEY_ARE = ("7bit", "base64", "quoted-printable")
# a delimiter that opens a part and ends where that of a multipart around it begins, or the text
_NOTHING_BEHIND = re.compile(rb"\n--[^\n]*+(?:\n--|\Z)")
_PLAIN_ENCODING = re.compile(
    rb"content-transfer-encoding: ?(?:7bit|base64|quoted-printable)\r\n(?![ \t])"
)
_UNENCODED = ("7bit", "8bit", "binary")
_UUENCODED = ("x-uuencode", "uuencode", "x-uue", "uue")
_ENCODED = ("base64", "quoted-printable", *_UUENCODED)
# of which a code unit may look like a line end
WIDE_CHARSETS = ("utf-16", "utf-32", "utf16", "utf32", "ucs-2", "ucs-4", "iso-10646-ucs")
_NO_WAY_BACK = "which cannot be signed again without breaking its signature"


def _canonical(raw: bytes, clear: bool, depth: int, default: str = "text/plain") -> Iterator[bytes]:
    if depth > MAX_DEPTH:
        raise MalformedMessage(f"multiparts are nested deeper than {MAX_DEPTH}")
    entity = Entity(raw, default=default)
    kind = entity.content_type
    boundary = kind.parameters.get("boundary", "")
    encoding = entity.transfer_encoding
    if not entity.has_blank_line and is_safe(whole := crlf(raw), False):
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
            if (depth == 0 and boundary) or not is_safe(entity.body, False):
                raise
            yield from _header(entity, None, clear)
            yield entity.body
            return
        yield from _header(entity, None if encoding == "7bit" else b"7bit", clear)
        yield from _canonical_multipart(pieces, boundary, clear, depth, kind.default_inside)
    elif kind.is_multipart and _shows_parts(entity.body, boundary):
        _check_header(entity, kind)
        yield from _header(entity, None, clear)
        yield _of_two_readings(entity, kind, clear, depth)
    elif kind.value in MESSAGES and encoding not in _ENCODED:
        # in base64 or quoted-printable it may not be (RFC 2046 5.2.1)
        yield from _header(entity, None if encoding == "7bit" else b"7bit", clear)
        yield from _canonical(entity.body, clear, depth + 1)
    else:
        _check_header(entity, kind)
        yield from _canonical_leaf(entity, kind, clear)


def _shows_parts(body: bytes, boundary: str) -> bool:
    try:
        return bool(boundary and split_multipart(body, boundary))
    except MalformedMessage:
        return False


def _of_two_readings(entity: Entity[bytes], kind: ContentType, clear: bool, depth: int) -> bytes:
    """The body of a multipart that says that it is encoded, which none may be (RFC 2045 6.4), and
    shows its parts: most readers take those, others decode it first. It stays as it is.
    """
    body = crlf(entity.body)
    if not is_safe(body, clear) or has_data_lines(entity.raw, depth):
        raise MalformedMessage(
            f"a {kind.value[:60]} has the transfer encoding {entity.transfer_encoding}, which a"
            " multipart may not have, and its parts cannot stay as they are",
            hint="take that field out of its header, or attach the parts anew",
        )
    return body


def _check_header(entity: Entity[bytes], kind: ContentType) -> None:
    """Where a line is no field some readers begin the body: whose line ends would those be?"""
    fields = entity.fields[1:] if entity.raw.startswith((b"From ", b">From ")) else entity.fields
    if _has_lines(kind, entity.transfer_encoding, b"") or all(field.name for field in fields):
        return
    if not is_safe(entity.raw, False):
        raise MalformedMessage(
            f"the header of a part that is {kind.value[:60]} has a line that is no field",
            hint="mend the part, or attach it anew",
        )


def _signed_already(entity: Entity[bytes], clear: bool, depth: int) -> bytes:
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
    if clear and not is_safe(whole, False):
        raise MalformedMessage(
            "a multipart/signed inside the message has lines over 998 octets, bare CRs or NULs,"
            f" {_NO_WAY_BACK}",
            hint="sign opaque, or seal",
        )
    return whole


def check_finished(raw: bytes) -> None:
    """MalformedMessage for a finished multipart/signed whose lines no relay leaves as they are."""
    entity = Entity(raw)
    if entity.content_type.value == "multipart/signed" and has_long_line(entity.body):
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
    entity = Entity(raw, default=default)
    kind = entity.content_type
    encoding = entity.transfer_encoding
    if kind.is_multipart:
        inner = kind.default_inside
        try:
            parts = split_multipart(entity.body, kind.parameters.get("boundary", "")).parts
        except MalformedMessage:
            return rewrite(entity.body) != entity.body
        given = (part for part in parts if part is not None)
        return any(has_data_lines(p, depth + 1, rewrite=rewrite, default=inner) for p in given)
    if kind.value in MESSAGES and encoding not in _ENCODED:
        return has_data_lines(entity.body, depth + 1, rewrite=rewrite)
    if encoding in ("base64", *_UUENCODED) or kind.value == "application/pgp-signature":
        return False  # lines of text (RFC 3156 2)
    decode = a2b_qp if encoding == "quoted-printable" else bytes
    data = decode(entity.body)
    return not _has_lines(kind, encoding, data) and data != decode(rewrite(entity.body))


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
    return kind.parameters.get("charset", "").lower().startswith(WIDE_CHARSETS)


def _canonical_multipart(
    pieces: Multipart[bytes], boundary: str, clear: bool, depth: int, default: str
) -> Iterator[bytes]:
    line = b"--" + boundary.encode("utf-8", "replace")
    if pieces.preamble is not None and is_safe(preamble := crlf(pieces.preamble), clear):
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
        yield epilogue if is_safe(epilogue, clear) else b"\r\n"


def _canonical_leaf(entity: Entity[bytes], kind: ContentType, clear: bool) -> Iterator[bytes]:
    encoding = entity.transfer_encoding
    if encoding == "quoted-printable":
        yield from _canonical_quoted(entity, kind, clear)
    elif encoding not in _UNENCODED:
        yield from _header(entity, None, clear)
        yield _canonical_text(entity, kind, clear)
    else:
        body = crlf(entity.body) if _has_lines(kind, encoding, entity.body) else entity.body
        if is_safe(body, clear):
            yield from _header(entity, b"7bit" if encoding != "7bit" else None, clear)
            yield body
        elif kind.value.startswith(("text/", "message/")) and not _is_wide(kind):
            yield from _header(entity, b"quoted-printable", clear)
            yield quoted_printable(body)
        else:
            yield from _header(entity, b"base64", clear)
            yield encode_base64(body)


def _canonical_quoted(entity: Entity[bytes], kind: ContentType, clear: bool) -> Iterator[bytes]:
    body = _BARE_CR.sub(b"\r\n", crlf(entity.body))
    data = a2b_qp(entity.body)
    if not _has_lines(kind, "quoted-printable", data) and a2b_qp(body) != data:
        # RFC 2045 6.7 (4) has line breaks for text only, but some write all line ends so
        yield from _header(entity, b"base64", clear)
        yield encode_base64(data)
        return
    if not body.isascii() or b"\0" in body or has_long_line(body):
        body = quoted_printable(a2b_qp(body))
    elif clear and _changes_on_the_way(body):
        # blanks at the end of a line are not data (RFC 2045 6.7, rule 3)
        body = _guarded(re.sub(rb"[ \t]++(?=\r\n|\Z)", b"", body))
    yield from _header(entity, None, clear)
    yield body


def _canonical_text(entity: Entity[bytes], kind: ContentType, clear: bool) -> bytes:
    """The body of a part in base64, in uuencode, or in an encoding that we do not know."""
    encoding = entity.transfer_encoding
    body = _BARE_CR.sub(b"\r\n", crlf(entity.body))
    if encoding not in _ENCODED and body != entity.body and not _has_lines(kind, encoding, body):
        raise MalformedMessage(
            f"a part that is {kind.value[:60]} has the transfer encoding {encoding[:40]!r}, which"
            " is not known, and line ends that may be data",
            hint="attach the file anew: in base64 nothing of it changes",
        )
    is_long = has_long_line(body)
    if is_long and encoding == "base64":
        body = _LONG_BASE64.sub(_in_lines_of_76, body)
        is_long = has_long_line(body)
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


def is_safe(body: bytes, clear: bool) -> bool:
    return (
        body.isascii()
        and b"\0" not in body
        and has_crlf_only(body)
        and not has_long_line(body)
        and not (clear and _changes_on_the_way(body))
    )


def _changes_on_the_way(body: bytes) -> bool:
    """Of lines that end in CRLF. RFC 8551 3.1.4: mailbox files quote "From ", gateways cut blanks
    off the ends of lines.
    """
    return (
        body.startswith(b"From ")
        or body.endswith((b" ", b"\t"))
        # `rfind` takes half the time of `in`: it looks for the first octet, not the last
        or body.rfind(b"\r\nFrom ") >= 0
        or body.rfind(b" \r\n") >= 0
        or (b"\t" in body and body.rfind(b"\t\r\n") >= 0)
    )


def quoted_printable(body: bytes) -> bytes:
    """What has CRLF line ends as quoted-printable (RFC 2045 6.7)."""
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


@overload
def encode_base64(data: Data) -> bytes: ...
@overload
def encode_base64(data: Octets) -> bytes | Rope: ...
def encode_base64(data: Octets) -> bytes | Rope:
    """Base64 in lines of 76 characters that end in CRLF (RFC 2045 6.8)."""
    if isinstance(data, Rope):
        rope = data
        size = 4 * -(-len(rope) // 3) + 2 * -(-len(rope) // _IN_A_LINE)
        return Rope(size, lambda: map(encode_base64, _for_whole_lines(rope)))
    if len(data) <= _PIECE:
        return _in_lines(pybase64.b64encode(data))
    view = memoryview(data)
    pieces = [view[start : start + _PIECE] for start in range(0, len(view), _PIECE)]
    return b"".join([_in_lines(pybase64.b64encode(piece)) for piece in pieces])


def _in_lines(encoded: bytes) -> bytes:
    """Lines of 76 characters: cut by one call, for each takes longer than to encode all of them."""
    whole, rest = divmod(len(encoded), 76)
    layout = "76s" * whole + (f"{rest}s0s" if rest else "0s")
    return b"\r\n".join(unpack(layout, encoded))


_IN_A_LINE = 57  # octets that are 76 characters
_PIECE = 256 * _IN_A_LINE  # what is made of so many octets stays in the caches of a processor


def _for_whole_lines(rope: Rope) -> Iterator[Data]:
    """The octets in pieces of a multiple of 57, but for the last."""
    rest = b""
    for chunk in rope.chunks():
        view = memoryview(chunk)
        if rest:
            wanted = _IN_A_LINE - len(rest)
            rest += view[:wanted]
            view = view[wanted:]
            if len(rest) < _IN_A_LINE:
                continue
            yield rest
        end = len(view) - len(view) % _IN_A_LINE
        yield view[:end]
        rest = bytes(view[end:])
    yield rest


def _header(entity: Entity[bytes], encoding: bytes | None, clear: bool) -> Iterator[bytes]:
    """The header in 7 bits and its blank line; `encoding` replaces the transfer encoding."""
    if encoding is not None and any(has_unprintable_name(f.raw) for f in entity.fields):
        # a field that is added would stand behind it, where nobody reads it
        raise MalformedMessage("a part has a header field whose name is not printable ASCII")
    for field in entity.fields:
        if encoding is not None and field.name.lower() == "content-transfer-encoding":
            continue
        made = canonical_field(field)
        if clear and has_long_line(made):
            raise unfoldable(field)
        if clear and (is_unreadable(field) or b"\0" in made or _BARE_CR.search(made)):
            raise MalformedMessage(
                "the header of a part holds 8-bit octets in a line that is no field, bare CRs or"
                " NULs, which a relay changes, and with them the signature",
                hint="mend the part, or seal the message",
            )
        yield made
    if encoding is not None:
        yield b"Content-Transfer-Encoding: " + encoding + b"\r\n"
    yield b"\r\n"
