"""What a peer is: another implementation of CMS that makes and reads in a process of its own.

Most are driven by `smime_graph.harness.peers`, as in the harness. A driver raises `Refused` where
the peer says no. What it has no operation for at all is not tried: `lacks` tells so. What it tries
and fails at stands in `known`, with the words that it says then; it is tried all the same, so that
a newer version is noticed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

from smime_graph.harness.peers import drive
from smime_graph.harness.peers.peer import is_between

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import PASSWORD, SHARED_KEY, People, Person


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
    before: str = ""  # the first version that does not fail so
    since: str = ""  # the first that does

    def covers(self, direction: Direction, row: str) -> bool:
        return self.direction == direction and re.fullmatch(self.row, row) is not None

    def holds_of(self, label: str) -> bool:
        """Whether the peer with this name and version is one that fails so."""
        version = re.search(r"(?<= )[0-9.]+", label)
        return is_between(version[0] if version else "", since=self.since, before=self.before)


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


def newer(name: str) -> tuple[str | None, str | None]:
    """Path and version of this peer, the newest, in the folder NEWER_PEERS of `scripts/peers`."""
    folder = os.environ.get("NEWER_PEERS")
    if not folder:
        return None, None
    found = [one.read_text().split() for one in Path(folder, "apt", "made").glob(f"{name}-*")]
    if not found:
        return None, None
    version, path = max(found, key=lambda one: [int(part) for part in one[0].split(".")])
    return str(Path(folder, path)), version


def reader_of(reader: Reader) -> drive.Reader:
    """As the drivers know it."""
    if isinstance(reader, str):
        return PASSWORD if reader == "password" else SHARED_KEY
    return reader
