"""The canonical form of a message that is too large to be copied.

The rules are those of `canonical`, and it is asked for them: about the message with the long runs
of lines in the bodies of its parts cut out, and a mark in place of each. What comes back says what
becomes of everything else. Where the marks are in it as they were, the runs would be too, if
nothing in them has to be changed: they are put back, as slices of the file. Where that does not
work out `canonical` gets the whole, in memory.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from itertools import pairwise

from ..buffers import CHUNK, LARGE, Data, Octets, Rope, chunks, let_go_of, rope
from ..errors import MalformedMessage
from .canonical import MAX_PIECES, canonical_entity, is_safe
from .entity import MESSAGES, Entity
from .lines import MAX_LINE

_HEADERS = 1 << 16  # octets in which the header of a part, and of messages in it, is looked for
_WORTH_IT = 1 << 13  # octets: fewer are not cut out
_PLAIN = bytes(range(0x21, 0x7F))


def canonical_large(header: bytes, body: Data, *, clear: bool) -> bytes | Rope:
    """As `canonical_entity` of the header, with its blank line, and the body."""
    view = memoryview(body)
    end = b"\r\n" if header.endswith(b"\r\n") else b"\n"
    cuts = _cuts(header, view, end)
    parts = None if cuts is None else _with_slices(header, view, cuts, end, clear)
    if parts is not None:
        return rope(parts)
    return canonical_entity(header + bytes(view), clear=clear)


def _with_slices(
    header: bytes, body: memoryview, cuts: list[slice], end: bytes, clear: bool
) -> list[Octets] | None:
    # what encodes the run anew, or changes its line ends, changes this
    line = secrets.token_hex(16).encode() + b"=41"
    mark = line + end + line
    pieces = [header]
    position = 0
    for cut in cuts:
        pieces += [bytes(body[position : cut.start]), mark]
        position = cut.stop
    whole = canonical_entity(b"".join([*pieces, bytes(body[position:])]), clear=clear)
    kept = whole.split(line + b"\r\n" + line)
    if len(kept) != len(cuts) + 1:
        return None
    parts: list[Octets] = [kept[0]]
    for cut, after in zip(cuts, kept[1:], strict=True):
        run = body[cut]
        lines = _count_lines(run, end, clear)
        if lines is None:
            return None
        parts += [run if end == b"\r\n" else _with_crlf(run, lines), after]
    return parts


def _with_crlf(run: memoryview, lines: int) -> Rope:
    return Rope(len(run) + lines, lambda: (bytes(c).replace(b"\n", b"\r\n") for c in chunks(run)))


def _cuts(header: bytes, body: memoryview, end: bytes) -> list[slice] | None:
    """Runs of whole lines in which no part begins or ends; None where too much is left between."""
    delimiters = _delimiters(body)
    if delimiters is None:
        return None
    cuts = []
    left = len(body)
    for start, stop in pairwise([0, *delimiters, len(body)]):
        begin = _end_of_headers(header, body, start)
        stop = stop if stop == len(body) else stop - len(end)
        if begin is None or stop - begin < _WORTH_IT:
            continue
        if stop < len(body) and bytes(body[stop : stop + len(end)]) != end:
            return None
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


def _end_of_headers(header: bytes, body: memoryview, start: int) -> int | None:
    """Where the content begins in what begins at `start`, behind the header of the part, and of
    the message if it is one. None where that is not to be seen.
    """
    head = bytes(body[start : start + _HEADERS])
    is_first = start == 0 and not head.startswith(b"--")
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
    """How many line ends are in a run of lines; None where one of them is not `end`, or a line
    holds what has to be changed.
    """
    count = 0
    for piece in _whole_lines(run):
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
    return count


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
