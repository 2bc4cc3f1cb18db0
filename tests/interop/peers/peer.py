"""What a peer is: another implementation of CMS that makes and reads in a process of its own.

Most are driven by `smime_graph.harness.peers`, as in the harness. A driver raises `Refused` where
the peer says no. What it has no operation for at all is not tried: `lacks` tells so. What it tries
and fails at stands in `known`, with the words that it says then; it is tried all the same, so that
a newer version is noticed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

from smime_graph.harness.peers import drive

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


def reader_of(reader: Reader) -> drive.Reader:
    """As the drivers know it."""
    if isinstance(reader, str):
        return PASSWORD if reader == "password" else SHARED_KEY
    return reader
