"""Files that are there whole or not at all: written beside their name, then renamed to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Beside:
    """A new file in the folder of `path`: written, finished, and then renamed by the caller.

    `mode` are its permissions, less the umask. In place of another file (`instead_of`) it has those
    of that file, as far as `mode` goes, and its owner where that can be given away. Every method
    raises OSError; whoever does not get to `finish` calls `discard`, which leaves nothing.
    """

    __slots__ = ("_file", "_has_name", "_instead_of", "_mode", "path")

    def __init__(self, path: Path, *, mode: int, instead_of: os.stat_result | None = None) -> None:
        self.path = path.with_name(f".{path.name[:200]}.{os.urandom(8).hex()}")
        self._mode = mode
        self._instead_of = instead_of
        first = mode if instead_of is None else 0o600
        self._has_name = False
        handle = _without_a_name(path.parent, first)
        if handle is None:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, first)
            self._has_name = True
        self._file = os.fdopen(handle, "wb")

    def write(self, data: bytes | memoryview) -> int:
        return self._file.write(data)

    def finish(self) -> Path:
        """Where it is, safe on the disk."""
        with self._file as file:
            file.flush()
            if self._instead_of is not None and hasattr(os, "fchmod"):
                try:
                    os.fchown(file.fileno(), self._instead_of.st_uid, self._instead_of.st_gid)
                except PermissionError:
                    pass  # somebody else's file in a folder of ours becomes ours
                os.fchmod(file.fileno(), stat.S_IMODE(self._instead_of.st_mode) & self._mode)
            os.fsync(file.fileno())
            if not self._has_name:
                # with a folder, or Python does not follow the link
                os.link(_own(file.fileno()), self.path, src_dir_fd=file.fileno())
        return self.path

    def discard(self) -> None:
        try:
            self._file.close()
        except OSError:
            pass  # what is buffered has no room: it is not wanted
        self.path.unlink(missing_ok=True)


def _without_a_name(folder: Path, mode: int) -> int | None:
    """A new file that is gone however the process ends; None where the system has none."""
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        handle = os.open(folder, os.O_WRONLY | os.O_TMPFILE, mode)
    except OSError:
        return None  # not in this file system, or not in this folder: who writes it will say
    if Path(_own(handle)).exists():
        return handle
    os.close(handle)  # /proc is not there, and so no way to give it a name
    return None


def _own(handle: int) -> str:
    return f"/proc/self/fd/{handle}"


def write_beside(
    path: Path,
    data: bytes | Iterable[bytes | memoryview],
    *,
    mode: int,
    instead_of: os.stat_result | None = None,
) -> Path:
    """A `Beside` with `data`, whole or in pieces, finished. Raises OSError, and leaves nothing."""
    beside = Beside(path, mode=mode, instead_of=instead_of)
    try:
        for piece in (data,) if isinstance(data, bytes) else data:
            beside.write(piece)
        return beside.finish()
    except BaseException:
        beside.discard()
        raise


def is_pipe(path: str | os.PathLike[str]) -> bool:
    """Whether whoever opens it, SQLite for example, would wait for another to write."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)  # noqa: PTH116
    except (OSError, ValueError):
        return False


def make_private(path: str | os.PathLike[str]) -> None:
    """Make a file that is its owner's alone, for whoever opens it next; one that is there stays.

    SQLite makes a new file for everybody to read, and gives its journal the file's mode. Why a file
    cannot be made is for whoever opens it to say.
    """
    if str(path) in ("", ":memory:"):
        return
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except (OSError, ValueError):
        return


@contextmanager
def temporary(data: bytes, *, suffix: str) -> Iterator[Path]:
    """A file with `data` that is its owner's alone, and gone afterwards. Raises OSError."""
    import tempfile  # with random and shutil: ten times this module

    handle, name = tempfile.mkstemp(prefix="smime-graph-", suffix=suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def write(path: Path, data: bytes, *, mode: int = 0o644, replace: bool = True) -> None:
    """Write a file; without `replace`, FileExistsError where it is there already."""
    beside = write_beside(path, data, mode=mode)
    try:
        if replace:
            beside.replace(path)
        else:
            path.hardlink_to(beside)
    finally:
        beside.unlink(missing_ok=True)
