"""Where a watch puts what came in: a Maildir, or a folder of what was not accepted.

A message has one name, made of what it is, so that one that is handed over a second time takes its
own place. Every file is its owner's alone to read, and on the disk when its call returns.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from ..arguments import file_name, path_of
from ..buffers import Data, cannot_write, chunks
from ..errors import UsageError
from ..files import write_beside
from ..smime.report import whole
from .watch import Arrival


class Maildir:
    """A Maildir, made where it is not there; a call puts an accepted message into its `new`.

    What is put there is the message without its layers. One that was perhaps put there before, and
    still is, in `new` or in `cur`, is not put there again. Raises UsageError where it cannot be
    written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path_of(path)
        for name in ("", "tmp", "new", "cur"):
            _make(self._path / name)

    def __call__(self, arrival: Arrival) -> None:
        if arrival.opened is None:
            raise UsageError("a message that is not accepted is not put into a Maildir")
        seconds = 0 if arrival.received_at is None else int(arrival.received_at.timestamp())
        name = f"{seconds}.{_key(arrival)}.smime-graph"
        if arrival.handed_before != "no" and self._has(name):
            return
        octets = chunks(whole(arrival.opened))
        _put(octets, self._path / "tmp" / name, self._path / "new" / name)

    def _has(self, name: str) -> bool:
        if (self._path / "new" / name).exists():
            return True
        try:
            with os.scandir(self._path / "cur") as entries:
                return any(one.name.partition(":")[0] == name for one in entries)
        except OSError:
            return False  # it is said when it is written


class RejectedFolder:
    """A folder of messages that were not accepted, as they lie in the mailbox (`.eml`), each with
    what was found (`.json`). It is made where it is not there. Raises UsageError where it cannot be
    written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path_of(path)
        _make(self._path)

    def __call__(self, arrival: Arrival) -> None:
        when = arrival.received_at
        name = f"{when:%Y%m%dT%H%M%SZ}-{_key(arrival)}" if when else _key(arrival)
        target = self._path / f"{name}.json"
        _put([arrival.to_json().encode() + b"\n"], target, target)
        target = self._path / f"{name}.eml"
        _put(chunks(arrival.octets), target, target)


def _key(arrival: Arrival) -> str:
    return hashlib.sha256(arrival.id.encode("utf-8", "replace")).hexdigest()[:24]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the folder {file_name(folder)} cannot be made: {error.strerror}",
            hint="name a folder that can be written to",
        ) from error


def _put(octets: Iterable[Data], beside: Path, target: Path) -> None:
    """Write a file, whole or not at all, that is first beside another one; and its folder."""
    try:
        write_beside(beside, octets, mode=0o600).replace(target)
        if hasattr(os, "O_DIRECTORY"):  # Windows does not open folders
            handle = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise cannot_write(file_name(target), error) from error
