"""What a peer is: another implementation of CMS that makes and reads in a process of its own.

A driver raises `Refused` where the peer says no. What it has no operation for at all is not tried:
`lacks` tells so. What it tries and fails at stands in `known`, with the words that it says then;
it is tried all the same, so that a newer version is noticed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import People, Person

PATIENCE = 60  # seconds for one answer of a peer; most take a hundredth of one


class Refused(Exception):
    """The peer says no."""


class Missing(Exception):
    """The peer is not installed; the text says what to install."""


@dataclass(frozen=True)
class Known:
    """Attempts at which the peer fails, by one defect: its refusal in these words is forgiven.

    Nothing else is: no error of ours, no other words, no wrong content, and where the attempt
    succeeds the excuse is stale and the test fails.
    """

    direction: Direction
    row: str  # a regular expression that the whole name of the case matches
    says: str  # what stands in the refusal, to the letter
    reason: str  # with the section that the peer does not implement

    def covers(self, direction: Direction, row: str) -> bool:
        return self.direction == direction and re.fullmatch(self.row, row) is not None


class Peer(Protocol):
    """One implementation, ready to work; `label` is its name and version."""

    label: str
    known: ClassVar[Sequence[Known]]

    @classmethod
    def start(cls, people: People, folder: Path) -> Self:
        """Raises Missing."""

    @staticmethod
    def lacks(direction: Direction, case: SigningCase | EncryptionCase) -> str | None:
        """Why the peer, or its driver, never does this; None where it is to be tried."""

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes: ...

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        """The content that every signer signed: `content` where the signature is detached."""

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes: ...

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes: ...

    def close(self) -> None: ...


def need(program: str, package: str) -> str:
    """The program's path. Raises Missing, naming the package to install."""
    found = shutil.which(program)
    if found is None:
        raise Missing(f"{program} is not installed: apt-get install {package}")
    return found


def run(
    *command: str | Path,
    folder: Path,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """The command's result, whatever its exit status. Raises Refused if it does not end in time."""
    try:
        return subprocess.run(
            [str(word) for word in command],
            cwd=folder,
            input=stdin,
            capture_output=True,
            timeout=PATIENCE,
            env=None if environment is None else dict(environment),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"{command[0]} did not end within {PATIENCE} s") from None


def checked(done: subprocess.CompletedProcess[bytes]) -> bytes:
    """Standard output of a command that went well. Raises Refused with its last words."""
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
        raise Refused(said.splitlines()[-1] if said else f"exit status {done.returncode}")
    return done.stdout


def word(value: bytes) -> str:
    return "=" + b64encode(value).decode()


@dataclass
class Resident:
    """A process that answers one line with one line; starting it is what costs."""

    process: subprocess.Popen[bytes]
    version: str

    @classmethod
    def start(cls, command: Sequence[str | Path], folder: Path) -> Resident:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        resident = cls(process, "")
        try:
            resident.version = resident._answer().decode()
        except Refused as error:
            resident.close()
            raise Missing(f"{command[0]} did not start: {error}") from None
        return resident

    def ask(self, *words: str) -> bytes:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(" ".join(words).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Refused("the peer has ended") from None
        return self._answer()

    def _answer(self) -> bytes:
        # a hanging peer is ended by the time limit of the test
        assert self.process.stdout is not None
        state, _, rest = self.process.stdout.readline().decode().rstrip("\n").partition(" ")
        if state != "ok":
            raise Refused(rest or "the peer has ended")
        return b64decode(rest[1:])

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
