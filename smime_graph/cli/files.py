"""Reading what is named on the command line, and writing results whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ..arguments import file_name
from ..buffers import cannot_write
from ..errors import UsageError
from ..files import write_beside
from ..text import json_text
from .terminal import ClosedPipe, abandon_stdout

MESSAGE_LIMIT = 256 * 1024 * 1024  # the largest message that an Exchange mailbox can be set to: 150
_SMALL_LIMIT = 64 * 1024


# --- reading --------------------------------------------------------------------------------------


def read_message(path: str, *, limit: int = MESSAGE_LIMIT) -> bytes:
    """The message in a file, or on standard input for "-". UsageError if it cannot be read, or is
    larger than `limit`: of that no more is read than shows it.
    """
    return read(path, what="message", limit=limit)


def read(path: str, *, what: str, limit: int = MESSAGE_LIMIT) -> bytes:
    """The octets of a file, or of standard input for "-"; UsageError names `what` and the file."""
    name = "standard input" if path == "-" else file_name(path)
    is_larger = False
    if path == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed", hint=f"name a file with the {what}")
        if sys.stdin.isatty():
            from . import terminal

            terminal.complain("note", f"reading the {what} from the terminal; Ctrl-D ends it")
        data = _read(sys.stdin.buffer, name, limit)
    else:
        try:
            with Path(path).open("rb") as file:
                # of a FIFO the size is 0, and nobody knows
                is_larger = os.fstat(file.fileno()).st_size > limit
                data = b"" if is_larger else _read(file, name, limit)
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "no file name"
            # anew: the original repeats what may be a secret in place of a path
            cause = OSError(error.errno, reason) if isinstance(error, OSError) else None
            raise UsageError(
                f"{name} cannot be read: {reason}", hint=f"name a file with the {what}"
            ) from cause
    if is_larger or len(data) > limit:
        raise UsageError(
            f"{name} is larger than {limit} octets: not read as a {what}",
            hint=f"give a smaller {what}: nothing larger is read, or could be read again",
        )
    return data


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
    opened and written by `write_directly`. Raises UsageError if that cannot be.

    `private` is for what was encrypted, and for keys: the owner's alone to read and write, also
    where the file that is replaced was not.
    """

    def __init__(self, path: str, data: bytes, *, private: bool = False) -> None:
        self._path = path
        self._data = data
        self._beside: Path | None = None
        try:
            found = _stat(path)
            if found is not None and not stat.S_ISREG(found.st_mode):
                if stat.S_ISDIR(found.st_mode):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                return
            if found is not None and _is_ours(found):
                return  # -o /dev/stdout >> log: replacing the log would lose what it holds
            self._target = Path(os.path.realpath(path))
            # 0666 less the umask for a new one, as every program makes files
            usual = 0o666 if found is None else 0o7777
            self._beside = write_beside(
                self._target, data, mode=0o600 if private else usual, instead_of=found
            )
        except OSError as error:
            raise cannot_write(path, error) from error

    def write_directly(self) -> None:
        """Write what is no regular file; nothing where `commit` will rename."""
        if self._beside is not None:
            return
        try:
            found = _stat(self._path)
            if found is not None and _is_ours(found):
                write_stdout(self._data)
                return
            with Path(self._path).open("wb") as file:
                file.write(self._data)
        except BrokenPipeError:
            raise ClosedPipe from None
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def commit(self) -> None:
        if self._beside is None:
            return
        try:
            self._beside.replace(self._target)
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self._beside = None

    def discard(self) -> None:
        if self._beside is not None:
            self._beside.unlink(missing_ok=True)
            self._beside = None


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


def write_stdout(data: bytes) -> None:
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


def write_lines(lines: Sequence[str]) -> None:
    """Text for people on standard output, made printable line by line."""
    from .terminal import printable

    text = "".join(f"{printable(line)}\n" for line in lines)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    write_stdout(text.encode(encoding, "replace"))


def deliver(
    data: bytes,
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
    wanted = dict(further or {})
    to_file = output is not None and output != "-"
    if to_file and output is not None:
        wanted[output] = data
    staged: list[Staged] = []
    try:
        for path, octets in wanted.items():
            staged.append(Staged(path, octets, private=private and path == output))
        for one in staged:
            one.write_directly()  # what cannot be taken back comes first: it may fail
        closed = None
        try:
            if json is not None:
                write_json(json)
            elif not to_file:
                write_stdout(data)
        except ClosedPipe as pipe:
            closed = pipe  # who read it has seen enough; the files are wanted all the same
        for one in staged:
            one.commit()
        if closed is not None:
            raise closed
    finally:
        for one in staged:
            one.discard()


def write_rows(rows: Sequence[Sequence[str]]) -> None:
    """As `write_lines`, with tabs between the columns, which are the only control characters."""
    from .terminal import printable

    text = "".join("\t".join(map(printable, row)) + "\n" for row in rows)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    write_stdout(text.encode(encoding, "replace"))
