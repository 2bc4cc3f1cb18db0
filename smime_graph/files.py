"""Files that are there whole or not at all: written beside their name, then renamed to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path


def write_beside(
    path: Path,
    data: bytes | Iterable[bytes | memoryview],
    *,
    mode: int,
    instead_of: os.stat_result | None = None,
) -> Path:
    """A new file with `data`, whole or in pieces, in the folder of `path`, safe on the disk; the
    caller renames it.

    `mode` are its permissions, less the umask. In place of another file (`instead_of`) it has those
    of that file, as far as `mode` goes, and its owner where that can be given away. Raises OSError,
    and leaves nothing.
    """
    beside = path.with_name(f".{path.name[:200]}.{os.urandom(8).hex()}")
    first = mode if instead_of is None else 0o600
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, first)
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in (data,) if isinstance(data, bytes) else data:
                file.write(piece)
            file.flush()
            if instead_of is not None and hasattr(os, "fchmod"):
                try:
                    os.fchown(file.fileno(), instead_of.st_uid, instead_of.st_gid)
                except PermissionError:
                    pass  # somebody else's file in a folder of ours becomes ours
                os.fchmod(file.fileno(), stat.S_IMODE(instead_of.st_mode) & mode)
            os.fsync(file.fileno())
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return beside


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
