"""What a batch has done, on disk: so that it goes on where it was stopped, however that was."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from ..arguments import path_of
from ..errors import UsageError
from ..files import write_beside
from .jobs import Job, Outcome

try:
    import fcntl
except ImportError:  # Windows: nobody keeps a second run from the same folder there
    fcntl = None  # type: ignore[assignment]


_BEGINNING = b'{"key": "'  # of each line


class Journal:
    """The folder with what a batch made: a message for each job, and one line for each outcome.

    A line is written after its message is on the disk, so a run that was killed leaves no line
    without a message; a half-written last line is as good as none. One process at a time holds it.
    Raises UsageError if the folder or the file of results cannot be used.
    """

    def __init__(self, folder: str | Path, *, results: str | Path | None = None) -> None:
        self._folder = path_of(folder)
        self._results = path_of(results) if results is not None else self._folder / "results.jsonl"
        self._done: dict[bytes, bytes] = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._results, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise UsageError(
                f"{error.filename or self._results} cannot be used: {error.strerror}",
                hint="name a folder for what the batch makes",
            ) from error
        self._file: IO[bytes] = os.fdopen(handle, "r+b", buffering=0)
        try:
            self._hold()
            self._read()
            for left in self._folder.glob(".*.eml.*"):  # a run that was killed was writing it
                left.unlink(missing_ok=True)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError:
            pass  # a pipe: there is nothing to keep
        self._file.close()

    def _hold(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # no worker inherits it
        except OSError as error:
            raise UsageError(
                f"{self._results} is in use by another run", hint="wait for it, or stop it"
            ) from error

    def _read(self) -> None:
        whole = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n") and line.startswith(_BEGINNING[: len(line)]):
                break  # it was being written when the run was killed
            whole += len(line)
            try:
                found = json.loads(line)
                key, mark = _mark(found["key"]), bytes.fromhex(found["digest"])
                status = found["status"]
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                raise UsageError(
                    f"{self._results}: line {number} is no outcome of a batch",
                    hint="name another file of results, or another folder",
                ) from None
            if status == "done":
                self._done[key] = mark
        self._file.truncate(whole)

    def still_to_do(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """The jobs that are not done yet. UsageError for a key that was another job's."""
        for job in jobs:
            known = self._done.get(_mark(job.key))
            if known is None:
                yield job
            elif known.hex() != job.digest:
                raise UsageError(
                    f"the key {job.key!r:.80} was another job's, which is done",
                    hint="give the new job a key of its own, or name another folder",
                )

    @property
    def done(self) -> int:
        """How many jobs are done."""
        return len(self._done)

    def keep(self, outcome: Outcome) -> Path | None:
        """Write what was made, then its line; the file, or None where nothing was made."""
        path = None
        if outcome.raw is not None:
            path = self._folder / file_name(outcome.key)
            try:
                write_beside(path, outcome.raw, mode=0o600).replace(path)
            except OSError as error:
                raise UsageError(f"{path} cannot be written: {error.strerror}") from error
        found = outcome.to_json()
        if path is not None:
            found["file"] = str(path)
        try:
            self._file.write(json.dumps(found).encode() + b"\n")
        except OSError as error:
            raise UsageError(f"{self._results} cannot be written: {error.strerror}") from error
        if outcome.status == "done":
            self._done[_mark(outcome.key)] = bytes.fromhex(outcome.digest)
        return path


def _mark(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:16]


_IS_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,99}")
# as other keys are called; and devices of Windows, whatever follows a dot
_IS_NO_NAME = re.compile(
    r"[0-9a-f]{32}\Z|(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|\Z)", re.IGNORECASE
)


def file_name(key: str) -> str:
    """A file name for what a job made: its key, where that is one on every system, and none that
    another key's may be.
    """
    if _IS_NAME.fullmatch(key) and not key.endswith(".") and not _IS_NO_NAME.match(key):
        return f"{key}.eml"
    return f"{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.eml"
