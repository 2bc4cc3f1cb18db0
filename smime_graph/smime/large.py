"""The canonical form of a message that is too large to be copied.

The rules are those of `canonical`, and it is asked for them: about the message with the long runs
of lines in the bodies of its parts cut out, and a mark in place of each, in which there is a line
of every kind in the run that may have to be changed. What comes back says what becomes of
everything else, and of the marks: the runs are put back, as slices of the file where they stay as
they are, encoded or with other line ends where the marks are. Where a mark is not found again
`canonical` gets the whole, in memory: what was encoded before and has to be encoded anew, say.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from itertools import pairwise

from ..buffers import CHUNK, LARGE, Data, Octets, Rope, chunks, gather, let_go_of, rope
from ..errors import MalformedMessage
from .canonical import MAX_PIECES, canonical_entity, encode_base64, is_safe, quoted_printable
from .entity import MESSAGES, Entity
from .lines import MAX_LINE, crlf, has_long_line
from .transfer import whole_lines

_HEADERS = 1 << 16  # octets in which the header of a part, and of messages in it, is looked for
_WORTH_IT = 1 << 13  # octets: fewer are not cut out
_PLAIN = bytes(range(0x21, 0x7F))
_ENCODED_NUL = b"=00"  # in quoted-printable, which then is no text


def canonical_large(header: bytes, body: Data, *, clear: bool) -> bytes | Rope:
    """As `canonical_entity` of the header, with its blank line, and the body."""
    view = memoryview(body)
    end = b"\r\n" if header.endswith(b"\r\n") else b"\n"
    cuts = _cuts(header, view)
    parts = None if cuts is None else _with_slices(header, view, cuts, end, clear)
    if parts is not None:
        return rope(parts)
    return canonical_entity(header + bytes(view), clear=clear)


def _with_slices(
    header: bytes, body: memoryview, cuts: list[slice], end: bytes, clear: bool
) -> list[Octets] | None:
    pieces = [header]
    marks: list[tuple[bytes, int | None]] = []
    position = 0
    for cut in cuts:
        run = body[cut]
        lines = _count_lines(run, end, clear)
        line_end, samples = (end, []) if lines is not None else _samples(run, clear)
        # what is encoded anew, or has other line ends, is seen in these
        edge = secrets.token_hex(16).encode() + b"=41"
        tail = bytes(run[-MAX_LINE:])
        tail = tail[len(tail.rstrip(b"\r\n")) :]
        marks.append((line_end.join([edge, *samples, edge]) + tail, lines))
        pieces += [bytes(body[position : cut.start]), marks[-1][0]]
        position = cut.stop
    whole = canonical_entity(b"".join([*pieces, bytes(body[position:])]), clear=clear)
    parts: list[Octets] = []
    position = 0
    for cut, (mark, lines) in zip(cuts, marks, strict=True):
        for rewrite in (_crlf, _quoted_printable, _base64):
            form = bytes(rewrite(mark, None))
            found = whole.find(form, position)
            if found >= 0 and (rewrite is not _base64 or _is_a_body(whole, found, form)):
                parts += [whole[position:found], rewrite(body[cut], lines)]
                position = found + len(form)
                break
        else:
            return None
    return [*parts, whole[position:]]


def _is_a_body(whole: bytes, start: int, form: bytes) -> bool:
    """Whether it is all of one: else base64 would go on in the middle of what follows."""
    behind = whole[start + len(form) :][:4]
    return whole[:start].endswith(b"\r\n\r\n") and behind in (b"", b"\r\n--")


# what `canonical` does to a body; `lines` is how many end in LF, where all do that have an end
def _crlf(data: Data, lines: int | None) -> Octets:
    if isinstance(data, memoryview) and lines is not None:
        return _with_crlf(data, lines) if lines else data
    return crlf(data)


def _quoted_printable(data: Data, _: int | None) -> Octets:
    return gather(quoted_printable(bytes(crlf(bytes(piece)))) for piece in whole_lines(data))


def _base64(data: Data, _: int | None) -> Octets:
    return encode_base64(rope([data]))


def _with_crlf(run: memoryview, lines: int) -> Rope:
    return Rope(len(run) + lines, lambda: (bytes(c).replace(b"\n", b"\r\n") for c in chunks(run)))


def _samples(run: memoryview, clear: bool) -> tuple[bytes, list[bytes]]:
    """A line end of the run, and a line of each kind in it that a rule of `canonical` asks for."""
    found: dict[bytes, None] = {}
    for piece in _whole_lines(run):
        ends = piece.count(b"\r\n")
        text = crlf(piece)
        for is_there, sample in (
            (ends, b"\r\n"),
            (piece.count(b"\n") > ends, b"\n"),
            (piece.count(b"\r") > ends, b"a\ra"),
            (not piece.isascii(), b"\xe4"),
            (b"\0" in piece, b"\0"),
            (_ENCODED_NUL in piece, _ENCODED_NUL),
            (has_long_line(text), b"x" * (MAX_LINE + 1)),
            (clear and (text.startswith(b"From ") or b"\nFrom " in text), b"From a"),
            (clear and _BLANK_AT_END.search(text), b"a "),
        ):
            if is_there:
                found[sample] = None
    line_end = next((one for one in (b"\r\n", b"\n") if one in found), b"\r\n")
    return line_end, [one for one in found if one != line_end]


_BLANK_AT_END = re.compile(rb"[ \t](?=\r\n|\Z)")


def _cuts(header: bytes, body: memoryview) -> list[slice] | None:
    """Runs of whole lines in which no part begins or ends; None where too much is left between."""
    delimiters = _delimiters(body)
    if delimiters is None:
        return None
    cuts = []
    left = len(body)
    for start, stop in pairwise([0, *delimiters, len(body)]):
        if stop - start < _WORTH_IT:
            continue
        if stop < len(body):  # the line end before a delimiter is a part of it
            stop -= 2 if bytes(body[stop - 2 : stop]) == b"\r\n" else 1
        begin = _end_of_headers(header, body, start, stop)
        if begin is None or stop - begin < _WORTH_IT:
            continue
        cuts.append(slice(begin, stop))
        left -= stop - begin
    return cuts if left <= LARGE else None


def _delimiters(body: memoryview) -> list[int] | None:
    """Where the lines begin that begin with "--"; None where they are more than could be parts."""
    found = [0] if bytes(body[:2]) == b"--" else []
    for start in range(0, len(body), CHUNK):
        piece = bytes(body[start : start + CHUNK + 2])
        at = piece.find(b"\n--") if b"-" in piece else -1
        while at >= 0:
            found.append(start + at + 1)
            if len(found) > MAX_PIECES:
                return None
            at = piece.find(b"\n--", at + 1)
        let_go_of(body)
    return found


def _end_of_headers(header: bytes, body: memoryview, start: int, stop: int) -> int | None:
    """Where the content begins in what is between the two, behind the header of the part, and of
    the message if it is one. None where that is not to be seen.
    """
    head = bytes(body[start : min(start + _HEADERS, stop)])
    is_first = start == 0 and not head.startswith(b"--")
    if not is_first and b"\n\r\n" not in head and b"\n\n" not in head:
        return None
    try:
        entity = Entity(header + head if is_first else head[head.find(b"\n") + 1 :])
        if entity.has_blank_line and not entity.all("Content-Type"):
            inner = Entity(entity.body)  # in a digest it is a message
            entity = inner if inner.has_blank_line else entity
        while entity.has_blank_line and entity.content_type.value in MESSAGES:
            entity = Entity(entity.body)
    except MalformedMessage:
        return None
    return start + len(head) - len(entity.body) if entity.has_blank_line else None


def _count_lines(run: memoryview, end: bytes, clear: bool) -> int | None:
    """How many line ends have to become CRLF in a run of lines; None where one of them is not
    `end`, or a line holds what has to be changed.
    """
    count = 0
    for piece in _whole_lines(run):
        if end == b"\n" and _ENCODED_NUL in piece:
            return None
        lines = _count_equal_lines(piece, end)
        if lines == 0:
            lines = piece.count(b"\n")
            if end == b"\n":
                if b"\r" in piece:
                    return None
                piece = piece.replace(b"\n", b"\r\n")
            if not is_safe(piece, clear):
                return None
        count += lines
    return count if end == b"\n" else 0


def _count_equal_lines(piece: bytes, end: bytes) -> int:
    """How many lines there are, if all are of one width and without blanks, as those of base64
    are, which is seen in a fourth of the time; 0 otherwise.
    """
    width = piece.find(b"\n") + 1
    if not len(end) <= width <= MAX_LINE:
        return 0
    rest = piece.translate(None, _PLAIN)
    lines = rest.count(b"\n")
    return (
        lines
        if rest == end * lines
        and len(piece) - lines * width < width
        and piece[width - 1 :: width] == b"\n" * lines
        and (end == b"\n" or piece[width - 2 :: width] == b"\r" * lines)
        else 0
    )


def _whole_lines(run: memoryview) -> Iterator[bytes]:
    """The run in pieces that end behind a line; one without line ends as it is."""
    start = 0
    while start < len(run):
        stop = start + CHUNK
        if stop < len(run):
            stop -= (MAX_LINE + 2) - (bytes(run[stop - MAX_LINE - 2 : stop]).rfind(b"\n") + 1)
        yield bytes(run[start:stop])
        start = stop
        let_go_of(run)
