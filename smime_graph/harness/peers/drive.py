"""How another implementation is driven: its processes, who signs and reads, in which form."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ...authority.family import PASSWORD
from ...cms.recipients.shared_secret import Password, SharedKey
from ...x509.certificate import Certificate

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
