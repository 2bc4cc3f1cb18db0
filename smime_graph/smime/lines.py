"""Lines as mail has them: they end in CRLF, and are at most 998 octets long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import overload

from ..buffers import Data, Octets, Rope, chunks

MAX_LINE = 998  # RFC 5322 2.1.1
_BARE_CR = re.compile(rb"\r(?!\n)")
_BLOCK = 1 << 16  # octets that stay in the cache of a processor
_BARE_LF = re.compile(rb"(?<!\r)\n")


@overload
def crlf(data: bytes) -> bytes: ...
@overload
def crlf(data: Data) -> Octets: ...
def crlf(data: Data) -> Octets:
    """All line ends as CRLF; a bare CR stays. The same object where nothing is to be done."""
    if not isinstance(data, bytes):
        return _crlf_of_large(data)
    if has_crlf_only(data):
        return data
    ends = data.count(b"\r\n")
    if data.count(b"\n") == ends:
        return data
    stripped = data.replace(b"\r", b"")  # `translate` makes holes in memory, a little for each call
    if len(data) - len(stripped) == ends:
        return stripped.replace(b"\n", b"\r\n")
    return _BARE_LF.sub(b"\r\n", data)


def _crlf_of_large(data: memoryview) -> Octets:
    bare = sum(chunk.count(b"\n") - chunk.count(b"\r\n") for chunk in _whole_ends(data))
    if bare == 0:
        return data
    return Rope(len(data) + bare, lambda: map(crlf, _whole_ends(data)))


def _whole_ends(data: Octets) -> Iterator[bytes]:
    """The data in pieces, none of which ends between CR and LF."""
    kept = b""
    for chunk in chunks(data):
        piece = kept + chunk
        kept = piece[-1:] if piece.endswith(b"\r") else b""
        yield piece[: len(piece) - len(kept)]
    yield kept


def has_crlf_only(data: bytes) -> bool:
    """Whether every CR and every LF is of a CRLF."""
    if len(data) <= _BLOCK + 1:
        # a search for one octet, as `replace` has it, is by far quicker than `count` of two
        return data.replace(b"\r", b"").replace(b"\n", b"\r\n") == data
    start = 0
    while start < len(data):
        end = start + _BLOCK
        piece = data[start : end + (data[end - 1 : end] == b"\r")]
        if not has_crlf_only(piece):
            return False
        start += len(piece)
    return True


def has_bare_cr(data: Octets) -> bool:
    """Whether there is a CR that ends no line."""
    if isinstance(data, bytes) and has_crlf_only(data):
        return False  # as in most mail
    return any(_BARE_CR.search(piece) for piece in _whole_ends(data))


def has_long_line(body: bytes) -> bool:
    start, last, rfind = 0, len(body) - MAX_LINE, body.rfind
    while start < last:
        start = rfind(b"\n", start, start + _WITH_ITS_END) + 1
        if not start:
            return True
    return False


_WITH_ITS_END = MAX_LINE + 2
