"""Content-Transfer-Encoding undone (RFC 2045 6): strict, but for what is seen in the field.

A large text (see `buffers`) is decoded in pieces, into a temporary file.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections.abc import Iterator

import pybase64

from ..buffers import CHUNK, Data, chunks, find, gather, let_go_of, part
from ..errors import MalformedMessage, UsageError

_BLANKS = b"\r\n \t"
_PADDED_BASE64 = re.compile(rb"[A-Za-z0-9+/]++={1,2}")
_PADDING = re.compile(rb"=*+")
_EQUALS_SIGN = re.compile(rb"=")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\r\n \t]")
_MAX_LINE = 1000


def decode_quoted_printable(body: Data) -> Data:
    return gather(map(a2b_qp, whole_lines(body)))


def whole_lines(text: Data) -> Iterator[Data]:
    """The text in pieces that end where a line does; a small one in one."""
    if isinstance(text, bytes):
        yield text
        return
    held: list[bytes] = []
    for chunk in (bytes(c[n : n + _FEW]) for c in chunks(text) for n in range(0, len(c), _FEW)):
        if end := chunk.rfind(b"\n") + 1:
            yield b"".join((*held, chunk[:end]))
            held = []
        held.append(chunk[end:])
    yield b"".join(held)


_FEW = 1 << 16  # octets: of what is worked through line by line, each line is an object


def decode_base64(text: Data) -> Data:
    """Base64 with its line breaks and blanks; any other character is an error.

    What a forwarder put behind it is left out, as `split_base64` does.
    """
    return split_base64(text)[0]


def split_base64(text: Data) -> tuple[Data, int]:
    """What base64 holds, and how many octets behind its end are left out."""
    data = strict_base64(text)
    if data is not None:
        return data, 0
    end = _base64_end(text)
    data = strict_base64(part(text, 0, end)) if end < len(text) else None
    if data is None:
        raise MalformedMessage("the body is not base64")
    return data, len(text) - end


def strict_base64(text: Data) -> Data | None:
    """What base64 and nothing else holds; None where it is something else."""
    try:
        return _decoded(text) if isinstance(text, bytes) else gather(_decoded_pieces(text))
    except UsageError:
        raise  # there is no room for it
    except ValueError:
        return None


def _decoded(text: bytes) -> bytes:
    packed = text.translate(None, _BLANKS)
    if len(packed) % 4:
        packed = packed.rstrip(b"=")
        packed += b"=" * (-len(packed) % 4)  # some senders leave the padding out
    return pybase64.b64decode(packed, validate=True)


def _decoded_pieces(text: memoryview) -> Iterator[bytes]:
    """What `_decoded` makes of a large text; ValueError as there."""
    line = find(part(text, 0, _MAX_LINE), b"\n") + 1
    size = max(CHUNK // line, 1) * line if line else CHUNK
    kept = b""
    for start in range(0, len(text), size):
        piece = text[start : start + size]
        decoded = None if kept else _decoded_lines(piece, line)
        if decoded is None:
            packed = kept + bytes(piece).translate(None, _BLANKS)
            if b"=" in packed:
                yield _decoded(packed + _packed_end(text[start + size :]))
                return
            whole = len(packed) // 4 * 4
            decoded, kept = pybase64.b64decode(packed[:whole], validate=True), packed[whole:]
        yield decoded
        let_go_of(text)
    yield _decoded(kept)


def _decoded_lines(piece: memoryview, line: int) -> bytes | None:
    """Lines of one length, as nearly every sender writes them; None where it is anything else.

    Four times as quick as taking the blanks out first: the decoder leaves out what is no base64,
    and what was left out beside the line ends is missing in the result, as is all padding.
    """
    count, odd = divmod(len(piece), max(line, 1))
    if odd or line < 3 or bytes(piece[line - 1 :: line]) != b"\n" * count:
        return None
    width = line - (2 if piece[line - 2] == 0x0D else 1)
    if width == line - 2 and bytes(piece[width::line]) != b"\r" * count:
        return None
    try:
        decoded = pybase64.b64decode(piece, validate=False)
    except ValueError:
        return None
    return decoded if 4 * len(decoded) == 3 * width * count else None


def _packed_end(text: memoryview) -> bytes:
    """What stands behind padding, without blanks: no more of it than shows that it is not base64.

    More padding is as good as less, if only in the length of four signs more or less.
    """
    found = b""
    for chunk in chunks(text):
        found += bytes(chunk).translate(None, _BLANKS)
        if found.strip(b"="):
            raise ValueError
        found = found[: 8 + len(found) % 4]
    return found


def _base64_end(text: Data) -> int:
    """Where base64 ends and a forwarder's text begins; the length of `text` if nothing follows.

    It ends with the line that ends with its padding (RFC 4648 3.2). Where it needs none, at the
    last blank line, or else the last line end, before the first character that is not base64.
    """
    padding = _first(_EQUALS_SIGN, text)
    other = _first(_NOT_BASE64, text)
    if padding < 0 or 0 <= other < padding:
        if other < 0:
            return len(text)
        blank_line = max(_last(text, b"\n\n", other), _last(text, b"\n\r\n", other))
        end = (blank_line if blank_line > 0 else _last(text, b"\n", other)) + 1
        count = _count(text[:end])
        return end if count > 0 and count % 4 == 0 else len(text)
    missing = -_count(text[:padding]) % 4
    padded = re.compile(rb"(?:[\r\n \t]*=){%d}(?=[ \t]*\r?\n)" % missing).match(text, padding)
    if padded is None or missing not in (1, 2):
        return len(text)
    rest = gather(bytes(chunk).translate(None, _BLANKS) for chunk in chunks(text[padded.end() :]))
    if _PADDING.fullmatch(rest) or _PADDED_BASE64.fullmatch(rest):
        return len(text)  # nothing more, or base64 once more, which some decoders go on with
    return padded.end()


def _count(text: Data) -> int:
    """How many octets are no blanks."""
    return sum(len(bytes(chunk).translate(None, _BLANKS)) for chunk in chunks(text))


def _first(octet: re.Pattern[bytes], text: Data) -> int:
    """Where the first octet is that the pattern, of a single one, matches; -1 if there is none."""
    passed = 0
    for chunk in chunks(text):
        if (match := octet.search(chunk)) is not None:
            return passed + match.start()
        passed += len(chunk)
    return -1


def _last(text: Data, mark: bytes, stop: int) -> int:
    """Where the last `mark` before `stop` begins, or -1."""
    while stop >= len(mark):
        start = max(stop - CHUNK, 0)
        found = bytes(text[start:stop]).rfind(mark)
        if found >= 0:
            return start + found
        if start == 0:
            break
        stop = start + len(mark) - 1
        let_go_of(text)
    return -1
