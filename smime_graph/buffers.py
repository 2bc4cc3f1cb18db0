"""Octets that may be too many to hold: mapped files, and ropes that are made as they are read.

Up to `LARGE` octets everything is bytes. Beyond that input is a file that is mapped, read-only, as
a memoryview; a result that is needed more than once is one too, of a temporary file that has no
name (so that nothing stays behind, however the process ends) and that nobody else may read. What is
put together of these is a `Rope`. Whoever works through any of them takes `chunks`, which lets go
of the pages behind it.

Somebody else may write to a file while it is mapped. What is to be vouched for is therefore copied
first (`own`): what was checked is what is given. What is only read, to be signed, encrypted or
decrypted, is not: changed meanwhile it becomes a message that nobody accepts. Where it is cut off
the system ends the process that reads behind its end (SIGBUS, which Python cannot turn into an
error), and nothing of the result is there. Whoever cannot keep others from a file gives a pipe.
"""

from __future__ import annotations

import errno
import io
import mmap
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar, overload

from .arguments import file_name
from .errors import UsageError
from .files import write_beside

LARGE = 1 << 20  # octets: what is longer is no longer copied
CHUNK = 1 << 18  # octets: with what is made of it, it stays in the caches of a processor

Data = bytes | memoryview
# What is inside bytes is bytes
D = TypeVar("D", bytes, bytes | memoryview)


class Readable(Protocol):
    """A file that is open for reading in binary."""

    def read(self, size: int = -1, /) -> bytes: ...


class Writable(Protocol):
    """A file that is open for writing in binary."""

    def write(self, data: bytes | memoryview, /) -> int | None: ...


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
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
# What is made of bytes is bytes
B = TypeVar("B", bound=bytes | Rope)


@overload
def joined(parts: Sequence[Data]) -> bytes: ...
@overload
def joined(parts: Sequence[Octets]) -> bytes | Rope: ...
def joined(parts: Sequence[Octets]) -> bytes | Rope:
    """The parts one behind the other: bytes, unless one of them is a rope."""
    if Rope in map(type, parts):
        return rope(parts)
    return b"".join(parts)  # type: ignore[arg-type]


def rope(parts: Sequence[Octets]) -> Rope:
    return Rope(sum(map(len, parts)), lambda: (chunk for part in parts for chunk in chunks(part)))


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
    from hashlib import sha256  # only here: the command line does without it as long as it can

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


class _Input(mmap.mmap):
    """A file that was given to be read, and that others may have."""


def own(octets: Data) -> Data:
    """The octets where nobody else can change them: those of an input file are copied."""
    is_theirs = isinstance(octets, memoryview) and isinstance(octets.obj, _Input)
    return gather(chunks(octets)) if is_theirs else octets


def let_go_of(octets: Data) -> None:
    """Let the system take back the pages of what is mapped; they are read again when needed."""
    mapped = octets.obj if isinstance(octets, memoryview) else None
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # Windows has none
        mapped.madvise(mmap.MADV_DONTNEED)


def gather(pieces: Iterable[Data]) -> Data:
    """The pieces one behind the other, as a `Spool` has them."""
    with Spool() as spool:
        for piece in pieces:
            spool.write(piece)
        return spool.data()


class Spool:
    """Pieces one behind the other: bytes, or a mapped temporary file where that is `LARGE`.

    UsageError if the file cannot be written, as on a full disk. Closed by `close` or by `with`;
    what `data` gave stays.
    """

    __slots__ = ("_file", "_held", "_length")

    def __init__(self) -> None:
        self._held: list[Data] = []
        self._length = 0
        self._file: BinaryIO | None = None

    def __len__(self) -> int:
        return self._length

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._held.clear()
        if self._file is not None:
            self._file.close()

    def write(self, piece: Data) -> None:
        self._length += len(piece)
        if self._file is not None:
            _write(self._file, piece)
            return
        self._held.append(piece)
        if self._length > LARGE:
            self._file = _temporary_file()
            for one in self._held:
                _write(self._file, one)
            self._held.clear()

    def data(self) -> Data:
        """All of it; nothing is written afterwards."""
        if self._file is None:
            return b"".join(self._held)
        with _naming_the_folder():
            return memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))


def _temporary_file() -> BinaryIO:
    import tempfile  # only here: small messages need none

    with _naming_the_folder():
        return tempfile.TemporaryFile(buffering=0, dir=_folder())


def _write(file: BinaryIO, piece: Data) -> None:
    with _naming_the_folder():
        _write_all(file, piece)


def _write_all(file: Writable, piece: Data) -> None:
    view = memoryview(piece)
    while view:
        written = file.write(view)  # without a buffer it may be a part
        view = view[len(view) if written is None else written :]


@contextmanager
def _naming_the_folder() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = _folder()
        raise UsageError(
            "no temporary file can be written in"
            f" {'the usual folder' if folder is None else file_name(folder)}:"
            f" {error.strerror or type(error).__name__}",
            hint=f"{'make room there' if error.errno in _FULL else 'see to it'}, or name another"
            " folder in the environment: TMPDIR",
        ) from error


def _folder() -> Path | None:
    """Where temporary files are made; None is the usual place."""
    return None if os.environ.get("TMPDIR") else _FOLDER.get()


def spooling_beside(out: Path | Writable | None) -> AbstractContextManager[None]:
    """Make temporary files in the folder of the destination, unless TMPDIR names another.

    The usual place is often in memory, and there is no room for them where there is none for the
    result. What is open has no folder.
    """
    return _spooling_in(out.parent) if isinstance(out, Path) else nullcontext()


@contextmanager
def _spooling_in(folder: Path) -> Iterator[None]:
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def write_to(out: Path | Writable, octets: Octets, *, private: bool = False) -> None:
    """Write a file, whole or not at all, or what is open. UsageError if that cannot be.

    A file that is there is replaced, and keeps its permissions; where the path is a symbolic link
    its target is. What is no file (a device, a FIFO) is written as it is. A `private` file is its
    owner's alone to read and write, also where the one that is replaced was not.
    """
    try:
        if not isinstance(out, Path):
            for chunk in chunks(octets):
                _write_all(out, chunk)
            return
        found = out.stat() if out.exists() else None
        if found is not None and not stat.S_ISREG(found.st_mode):
            with out.open("wb") as file:
                for chunk in chunks(octets):
                    file.write(chunk)
            return
        target = Path(os.path.realpath(out))
        mode = 0o600 if private else 0o666 if found is None else 0o7777
        write_beside(target, chunks(octets), mode=mode, instead_of=found).replace(target)
    except OSError as error:
        raise cannot_write(file_name(out) if isinstance(out, Path) else "it", error) from error


def cannot_write(name: str, error: OSError) -> UsageError:
    return UsageError(
        f"{name} cannot be written: {error.strerror or type(error).__name__}",
        hint="make room and run it again"
        if error.errno in _FULL
        else "name a file that can be written",
    )


def read_message(message: bytes | Path | Readable) -> Data:
    """The message: of a file as `read_file` has it, and a view of bytes that are `LARGE`.

    UsageError if it cannot be read.
    """
    if isinstance(message, bytes):
        return message if len(message) <= LARGE else memoryview(message)
    try:
        if not isinstance(message, Path):
            return read_file(message)
        with message.open("rb") as file:
            return read_file(file)
    except OSError as error:
        name = file_name(message) if isinstance(message, Path) else "the message"
        raise UsageError(
            f"{name} cannot be read: {error.strerror or type(error).__name__}",
            hint="name a file with the message",
        ) from error


class Held:
    """Octets that were read already, for who takes a file: it gets them as they are."""

    __slots__ = ("_position", "data")

    def __init__(self, data: Data) -> None:
        self.data = data
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        start = self._position
        self._position = len(self.data) if size < 0 else start + size
        return bytes(self.data[start : self._position])


def read_file(file: Readable) -> Data:
    """The rest of an open file: bytes, or the file itself, mapped, where that is `LARGE`.

    A large file must stay as it is until the work is done: see this module. A FIFO or a pipe is
    read to its end, as is what is no file of the system. Raises OSError.
    """
    if isinstance(file, Held):
        return file.data
    # and not what unpacks one
    if isinstance(file, io.FileIO) or (
        isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO)
    ):
        found = os.fstat(file.fileno())
        position = file.tell() if stat.S_ISREG(found.st_mode) else found.st_size
        if found.st_size - position > LARGE:
            try:
                mapped = _Input(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError):
                pass  # it stands where nothing can be mapped
            else:
                file.seek(0, os.SEEK_END)
                return memoryview(mapped)[position:]
    return gather(iter(lambda: file.read(CHUNK), b""))
