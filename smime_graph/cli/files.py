"""Reading what is named on the command line, and writing results whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from ..arguments import file_name
from ..buffers import Data, Octets, cannot_write, chunks, read_file, spooling_beside
from ..errors import UsageError
from ..files import Beside
from ..text import json_text
from .terminal import ClosedPipe, abandon_stdout

# the largest message that is held in memory: a mailbox can be set to take 150 MB
MESSAGE_LIMIT = 256 * 1024 * 1024
_SMALL_LIMIT = 64 * 1024


# --- reading --------------------------------------------------------------------------------------


def open_message(path: str, *, what: str = "message") -> Data:
    """The message in a file, or on standard input for "-"; a large one is not held in memory.

    UsageError if it cannot be read.
    """
    with _open_file(path, what) as file:
        return read_file(file)


def read(path: str, *, what: str, limit: int = MESSAGE_LIMIT, hint: str | None = None) -> bytes:
    """The octets of a file, or of standard input for "-"; UsageError names `what` and the file.

    UsageError as well, with the hint, if they are more than `limit`: of a file nothing is read
    then, and of a pipe no more than shows it.
    """
    with _open_file(path, what) as file:
        is_larger = _rest_of(file) > limit
        data = b"" if is_larger else _read(file, named(path), limit)
    if is_larger or len(data) > limit:
        raise UsageError(
            f"{named(path)} is larger than {limit} octets: not read as a {what}",
            hint=hint or f"give a smaller {what}: nothing larger is read, or could be read again",
        )
    return data


def _rest_of(file: BinaryIO) -> int:
    """How many octets of a file are left to read; of a FIFO, of which nobody knows, 0."""
    try:
        found = os.fstat(file.fileno())
    except OSError:
        return 0  # standard input that somebody replaced
    return found.st_size - file.tell() if stat.S_ISREG(found.st_mode) else 0


def named(path: str) -> str:
    return "standard input" if path == "-" else file_name(path)


@contextmanager
def _open_file(path: str, what: str) -> Iterator[BinaryIO]:
    if path == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed", hint=f"name a file with the {what}")
        if sys.stdin.isatty():
            from . import terminal

            terminal.complain("note", f"reading the {what} from the terminal; Ctrl-D ends it")
        yield sys.stdin.buffer
        return
    try:
        with Path(path).open("rb") as file:
            yield file
    except (OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        reason = (error.strerror if isinstance(error, OSError) else None) or "no file name"
        # anew: the original repeats what may be a secret in place of a path
        cause = OSError(error.errno, reason) if isinstance(error, OSError) else None
        raise UsageError(
            f"{file_name(path)} cannot be read: {reason}", hint=f"name a file with the {what}"
        ) from cause


def _read(file: BinaryIO, name: str, limit: int) -> bytes:
    try:
        return file.read(limit + 1)
    except MemoryError:
        raise UsageError(f"{name} does not fit into memory") from None


def read_secret(path: str, *, what: str) -> str:
    """The first line of a file. UsageError if that is empty or no text; it is in no message."""
    data = read(path, what=what, limit=_SMALL_LIMIT)
    try:
        line = data.decode("utf-8-sig").split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError(f"{file_name(path)}: the {what} is not UTF-8") from None
    if not line:
        raise UsageError(f"{file_name(path)} holds no {what} on its first line")
    return line


def read_text(path: str, *, what: str) -> str:
    try:
        return read(path, what=what).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: the {what} is not UTF-8 (octet {error.start})", hint="convert it to UTF-8"
        ) from None


# --- writing --------------------------------------------------------------------------------------


class Staged:
    """Octets on their way to a path: beside it until `commit` renames them.

    Only a regular file, or one that is not there yet, is replaced; its permissions stay, and where
    the path is a symbolic link its target is what is replaced. Anything else (a device, a FIFO) is
    written as it is: it `is_direct`. Every method raises UsageError if that cannot be.

    `private` is for what was encrypted, and for keys: the owner's alone to read and write, also
    where the file that is replaced was not.
    """

    def __init__(self, path: str, *, private: bool = False) -> None:
        self._path = path
        self._beside: Beside | None = None
        self._direct: BinaryIO | None = None
        self.size = 0
        try:
            found = _stat(path)
            if found is not None and stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            # -o /dev/stdout >> log: replacing the log would lose what it holds
            self._is_ours = found is not None and _is_ours(found)
            self.is_direct = self._is_ours or (
                found is not None and not stat.S_ISREG(found.st_mode)
            )
            if self.is_direct:
                return
            self._target = Path(os.path.realpath(path))
            # 0666 less the umask for a new one, as every program makes files
            usual = 0o666 if found is None else 0o7777
            mode = 0o600 if private else usual
            self._beside = Beside(self._target, mode=mode, instead_of=found)
        except OSError as error:
            raise cannot_write(path, error) from error

    def write(self, data: Data) -> int:
        self.size += len(data)
        if self._is_ours:
            write_stdout(data)
            return len(data)
        try:
            if self._beside is not None:
                return self._beside.write(data)
            if self._direct is None:
                self._direct = Path(self._path).open("wb")  # noqa: SIM115
            return self._direct.write(data)
        except BrokenPipeError:
            raise ClosedPipe from None
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def write_all(self, octets: Octets) -> None:
        for chunk in chunks(octets):
            self.write(chunk)

    def finish(self) -> None:
        """All of it is on the disk, or where it is written to."""
        try:
            if self._direct is not None:
                self._direct.close()
            if self._beside is not None:
                self._beside.finish()
        except BrokenPipeError:
            raise ClosedPipe from None
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def commit(self) -> None:
        if self._beside is None:
            return
        try:
            self._beside.path.replace(self._target)
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self._beside = None

    def discard(self) -> None:
        if self._beside is not None:
            self._beside.discard()
            self._beside = None


def spooling(output: str | None) -> AbstractContextManager[None]:
    """Where temporary files are made while this result is: see `buffers.spooling_beside`."""
    try:
        found = None if output is None or output == "-" else _stat(output)
    except OSError:
        return nullcontext()
    if output is None or output == "-" or (found is not None and not stat.S_ISREG(found.st_mode)):
        return nullcontext()
    return spooling_beside(Path(os.path.realpath(output)))


def _stat(path: str) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise OSError(errno.EINVAL, "no file name") from error


def _is_ours(found: os.stat_result) -> bool:
    """Whether this is the very thing that our standard output is."""
    try:
        return os.path.samestat(found, os.fstat(1))
    except OSError:
        return False


def write_stdout(data: Data) -> None:
    """Write and flush. ClosedPipe if nobody reads; UsageError if it cannot be written."""
    if sys.stdout is None:
        raise UsageError("standard output is closed", hint="write to a file: -o FILE")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        abandon_stdout()
        raise ClosedPipe from None
    except OSError as error:
        abandon_stdout()
        raise cannot_write("standard output", error) from error


def write_json(value: Mapping[str, Any]) -> None:
    write_stdout(json_text(value).encode() + b"\n")


def write_json_line(value: Mapping[str, Any]) -> None:
    """One of many values, each on a line of its own."""
    write_stdout(json_text(value, indent=None).encode() + b"\n")


def write_lines(lines: Sequence[str]) -> None:
    """Text for people on standard output, made printable line by line."""
    from .terminal import printable

    text = "".join(f"{printable(line)}\n" for line in lines)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    write_stdout(text.encode(encoding, "replace"))


def deliver(
    data: Octets,
    *,
    output: str | None,
    json: Mapping[str, Any] | None = None,
    further: Mapping[str, bytes] | None = None,
    private: bool = False,
) -> None:
    """Write a verb's result: all of it, or nothing where that can be.

    `data` goes to the file `output`, or to standard output if there is neither a file nor `json`;
    `json` goes to standard output; `further` are other files that the verb makes. `private` data
    makes a file that is its owner's alone to read.
    """
    wanted: dict[str, Octets] = dict(further or {})
    to_file = output is not None and output != "-"
    if to_file and output is not None:
        wanted[output] = data
    staged: list[Staged] = []
    try:
        staged.extend(Staged(path, private=private and path == output) for path in wanted)
        # what cannot be taken back comes last, and before the rest is there: it may fail
        for is_direct in (False, True):
            for one, octets in zip(staged, wanted.values(), strict=True):
                if one.is_direct is is_direct:
                    one.write_all(octets)

        def say() -> None:
            if json is not None:
                write_json(json)
            elif not to_file:
                for chunk in chunks(data):
                    write_stdout(chunk)

        commit(staged, say)
    finally:
        for one in staged:
            one.discard()


def commit(staged: Sequence[Staged], say: Callable[[], None]) -> None:
    """Say what there is to say, and have the files appear."""
    for one in staged:
        one.finish()
    closed = None
    try:
        say()
    except ClosedPipe as pipe:
        closed = pipe  # who read it has seen enough; the files are wanted all the same
    for one in staged:
        one.commit()
    if closed is not None:
        raise closed


class Stdout:
    """Standard output, for who writes to a file."""

    def write(self, data: Data) -> int:
        write_stdout(data)
        return len(data)


def write_rows(rows: Sequence[Sequence[str]], *, header: Sequence[str] = ()) -> None:
    """As `write_lines`, with tabs between the columns, which are the only control characters.

    On a terminal with blanks, under the header, which only people read.
    """
    from .terminal import printable

    shown = [[printable(one) for one in row] for row in rows]
    between = "\t"
    if header and sys.stdout is not None and sys.stdout.isatty():
        between = "  "
        shown.insert(0, list(header))
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        shown = [
            [one.ljust(width) for one, width in zip(row, [*widths[:-1], 0], strict=True)]
            for row in shown
        ]
    text = "".join(between.join(row) + "\n" for row in shown)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    write_stdout(text.encode(encoding, "replace"))
