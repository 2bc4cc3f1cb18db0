"""How another implementation is driven: its processes, who signs and reads, in which form."""

from __future__ import annotations

import os
import shutil
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from select import select
from time import monotonic
from typing import Literal, Protocol

from ...authority.family import PASSWORD
from ...cms.recipients.shared_secret import Password, SharedKey
from ...x509.certificate import Certificate

_LONGEST = 1 << 28  # octets of an answer: of a large message
PATIENCE = 60  # seconds for one answer of a peer; most take a hundredth of one

Use = Literal["sign", "encrypt"]


class Refused(Exception):
    """The peer says no."""


class Missing(Exception):
    """The peer is not installed; the text says what to install."""


# --- what is asked --------------------------------------------------------------------------------


class Oaep(Protocol):
    """The parameters of RSAES-OAEP, by the digests' names."""

    @property
    def digest(self) -> str: ...
    @property
    def mgf_digest(self) -> str: ...
    @property
    def label(self) -> bytes: ...


class SigningForm(Protocol):
    """With which digest and scheme, in which form."""

    @property
    def digest(self) -> str: ...
    @property
    def pss(self) -> bool: ...
    @property
    def opaque(self) -> bool: ...
    @property
    def ski(self) -> bool: ...


class EncryptionForm(Protocol):
    """With which cipher, and how the key is brought to the recipient."""

    @property
    def cipher(self) -> str: ...
    @property
    def oaep(self) -> Oaep | None: ...
    @property
    def agreement(self) -> str: ...
    @property
    def wrap(self) -> str: ...
    @property
    def ski(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Signing:
    """The form in which the harness has a certificate's key sign."""

    digest: str = "sha256"
    pss: bool = False
    opaque: bool = False
    ski: bool = False


@dataclass(frozen=True, slots=True)
class Encryption:
    """The form in which the harness has something encrypted."""

    cipher: str = "aes256-cbc"
    oaep: None = None
    agreement: str = "dhsinglepass-stddh-sha256kdf"
    wrap: str = "aes256-wrap"
    ski: bool = False


class Holder(Protocol):
    """Somebody with a key and a certificate, and the files of both."""

    @property
    def kind(self) -> str:
        """The kind of key, as `algorithms.keys` names its parameter set."""

    @property
    def email(self) -> str: ...
    @property
    def private_key(self) -> object: ...
    @property
    def certificate(self) -> Certificate: ...
    @property
    def certificate_file(self) -> Path:
        """PEM."""

    @property
    def key_file(self) -> Path:
        """PEM, PKCS#8, not encrypted."""

    @property
    def pkcs12_file(self) -> Path:
        """The password is "test"."""

    @property
    def pkcs8(self) -> bytes: ...


PKCS12_PASSWORD = PASSWORD

Reader = Holder | Password | SharedKey


# --- processes ------------------------------------------------------------------------------------


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
        return subprocess.run(  # noqa: S603 - no shell; the programs are those that were asked for
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


def exchange(
    process: subprocess.Popen[bytes], question: bytes, *, longest: int
) -> tuple[bytes, bytes]:
    """What it says until its first line is over, and what it says behind that. The line has no end
    where it has ended, did not answer in time, or says more than `longest` octets. Its pipes are
    not buffered. Raises OSError where it reads no more.
    """
    assert process.stdin is not None  # noqa: S101 - both were opened as pipes
    assert process.stdout is not None  # noqa: S101
    source, sink = process.stdout.fileno(), process.stdin.fileno()
    os.set_blocking(sink, False)
    said, left, end = bytearray(), memoryview(question), monotonic() + PATIENCE
    while b"\n" not in said[-65536:] and len(said) <= longest and (rest := end - monotonic()) > 0:
        ready, able, _ = select([source], [sink] if left else [], [], rest)
        if ready:
            if not (part := os.read(source, 65536)):
                break
            said += part
        if able:
            left = left[os.write(sink, left) :]
    line, newline, more = bytes(said).partition(b"\n")
    # what was there before it had read the question is no answer to that
    return line + newline, more or (bytes(left) if newline else b"")


@dataclass
class Resident:
    """A process that answers one line with one line; starting it is what costs."""

    process: subprocess.Popen[bytes]
    version: str

    @classmethod
    def start(cls, command: Sequence[str | Path], folder: Path) -> Resident:
        process = subprocess.Popen(  # noqa: S603 - no shell
            [str(part) for part in command],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        resident = cls(process, "")
        try:
            resident.version = resident._answer().decode()
        except Refused as error:
            resident.close()
            raise Missing(f"{command[0]} did not start: {error}") from None
        return resident

    def ask(self, *words: str) -> bytes:
        return self._answer(" ".join(words).encode() + b"\n")

    def _answer(self, question: bytes = b"") -> bytes:
        try:
            line, _ = exchange(self.process, question, longest=_LONGEST)
        except OSError:
            raise Refused("the peer has ended") from None
        if not line.endswith(b"\n"):
            self.process.kill()  # what it says next would be taken for another answer
            raise Refused(f"the peer has ended, or was ended after {PATIENCE} s")
        state, _, rest = line.decode().rstrip("\n").partition(" ")
        if state != "ok":
            raise Refused(rest)
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
