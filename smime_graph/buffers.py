"""Octets that may be too many to hold: mapped files, and ropes that are made as they are read.

Up to `LARGE` octets everything is bytes. Beyond that input is a file that is mapped, read-only, as
a memoryview; a result that is needed more than once is one too, of a temporary file that has no
name (so that nothing stays behind, however the process ends) and that nobody else may read. What is
put together of these is a `Rope`. Whoever works through any of them takes `chunks`, which lets go
of the pages behind it.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, TypeVar

from .arguments import file_name
from .errors import UsageError

LARGE = 4 << 20  # octets: what is longer is no longer copied
CHUNK = 1 << 19  # octets: with what is made of it, it stays in the caches of a processor

Data = bytes | memoryview
# What is inside bytes is bytes
D = TypeVar("D", bytes, bytes | memoryview)

_FOLDER: ContextVar[Path | None] = ContextVar("folder", default=None)


class Rope:
    """Octets that are known by their number, and made anew in chunks each time they are read."""

    __slots__ = ("_length", "_make")

    def __init__(self, length: int, make: Callable[[], Iterator[Data]]) -> None:
        self._length = length
        self._make = make

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        return b"".join(self._make())

    def chunks(self) -> Iterator[Data]:
        return self._make()


Octets = bytes | memoryview | Rope


def joined(parts: Sequence[Octets]) -> bytes | Rope:
    """The parts one behind the other: as bytes where that is not `LARGE`."""
    length = sum(map(len, parts))
    if length <= LARGE:
        return b"".join(part if not isinstance(part, Rope) else bytes(part) for part in parts)
    return Rope(length, lambda: (chunk for part in parts for chunk in chunks(part)))


def chunks(octets: Octets) -> Iterator[Data]:
    """The octets in pieces of at most `CHUNK` (those of a rope as they come).

    Of a mapped file only the pages of the piece that was given last stay in memory.
    """
    if isinstance(octets, Rope):
        yield from octets.chunks()
        return
    if len(octets) <= CHUNK:
        yield octets
        return
    view = memoryview(octets)
    for start in range(0, len(view), CHUNK):
        yield view[start : start + CHUNK]
        let_go_of(view)


def same(one: Octets, other: Octets) -> bool:
    """Whether both are the same octets; what is large is compared by its digest."""
    if len(one) != len(other) or len(one) <= LARGE:
        return len(one) == len(other) and bytes(one) == bytes(other)
    return _digest(one) == _digest(other)


def _digest(octets: Octets) -> bytes:
    state = sha256()
    for chunk in chunks(octets):
        state.update(chunk)
    return state.digest()


def held(octets: Data) -> Data:
    """What is small as bytes, so that nothing keeps what it is a part of."""
    return octets if len(octets) > LARGE or isinstance(octets, bytes) else bytes(octets)


def part(octets: D, start: int, stop: int) -> D:
    """The octets between two offsets: a view of what is mapped, of which few are copied."""
    piece = octets[start:stop]
    return piece if len(piece) > LARGE or isinstance(piece, bytes) else bytes(piece)


def find(octets: Data, text: bytes, start: int = 0) -> int:
    """Where `text` stands first from `start` on, or -1: `bytes.find` for all data."""
    if isinstance(octets, bytes):
        return octets.find(text, start)
    size = 4096  # what is looked for may be near, again and again
    while len(octets) - start >= len(text):
        found = bytes(octets[start : start + size + len(text) - 1]).find(text)
        if found >= 0:
            return start + found
        start += size
        size = min(2 * size, CHUNK)
        let_go_of(octets)
    return -1


def let_go_of(octets: Data) -> None:
    """Let the system take back the pages of what is mapped; they are read again when needed."""
    mapped = octets.obj if isinstance(octets, memoryview) else None
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # Windows has none
        mapped.madvise(mmap.MADV_DONTNEED)


def gather(pieces: Iterable[Data]) -> Data:
    """The pieces one behind the other: bytes, or a mapped temporary file where that is `LARGE`.

    UsageError if the file cannot be written, as on a full disk.
    """
    held: list[Data] = []
    length = 0
    rest = iter(pieces)
    for piece in rest:
        held.append(piece)
        length += len(piece)
        if length > LARGE:
            return _spooled(held, rest)
    return b"".join(held)


def _spooled(held: list[Data], rest: Iterator[Data]) -> memoryview:
    with _temporary_file() as file:
        for piece in held:
            _write(file, piece)
        held.clear()
        for piece in rest:
            _write(file, piece)
        with _naming_the_folder():
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _temporary_file() -> BinaryIO:
    import tempfile  # only here: small messages need none

    with _naming_the_folder():
        return tempfile.TemporaryFile(buffering=0, dir=_folder())


def _write(file: BinaryIO, piece: Data) -> None:
    view = memoryview(piece)
    with _naming_the_folder():
        while view:
            view = view[file.write(view) :]


@contextmanager
def _naming_the_folder() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = _folder()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise UsageError(
            "no temporary file can be written in"
            f" {'the usual folder' if folder is None else file_name(folder)}:"
            f" {error.strerror or type(error).__name__}",
            hint=f"{'make room there' if full else 'see to it'}, or name another folder in the"
            " environment: TMPDIR",
        ) from error


def _folder() -> Path | None:
    """Where temporary files are made; None is the usual place."""
    return None if os.environ.get("TMPDIR") else _FOLDER.get()


@contextmanager
def spooling_beside(path: Path) -> Iterator[None]:
    """Make temporary files in the folder of the destination, unless TMPDIR names another.

    The usual place is often in memory, and there is no room for them where there is none for the
    result.
    """
    token = _FOLDER.set(path.parent)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def read_file(file: BinaryIO) -> Data:
    """The rest of an open file: bytes, or the file itself, mapped, where that is `LARGE`.

    A large file must stay as it is until the work is done. A FIFO or a pipe is read to its end, as
    is what is no file of the system. Raises OSError.
    """
    try:
        found = os.fstat(file.fileno())
        position = file.tell() if stat.S_ISREG(found.st_mode) else found.st_size
        if found.st_size - position > LARGE:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            file.seek(0, os.SEEK_END)
            return memoryview(mapped)[position:]
    except (AttributeError, OSError, ValueError):
        pass  # nothing that can be mapped: it is read
    return gather(iter(lambda: file.read(CHUNK), b""))
