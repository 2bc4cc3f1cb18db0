"""Messages that wait until their recipients have certificates: in a folder, for their sender alone
to read.

Each is a file: the message, signed and encrypted by and to its sender. Whoever can write into the
folder can have nothing signed that its sender did not hand in.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pybase64

from ..arguments import file_name
from ..errors import MalformedMessage, PolicyRefusal, SmimeGraphError, UsageError
from ..files import write_beside
from ..pki.address import mailbox, mailboxes
from ..pki.identity import Contact
from ..pki.trust import TrustStore
from ..policy import EXCHANGE
from ..smime.entity import Entity
from ..smime.examine import unseal
from ..smime.sealing import seal
from .sealing import Sealer, Submission

_LARGEST = 256 << 20  # octets of a file
_SUBJECT = "held by smime-graph gateway"


class Holding:
    """The folder at `path`, made (0700) where it is not there; UsageError where it cannot be."""

    def __init__(self, path: str) -> None:
        self._folder = Path(path)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK | os.X_OK):
                raise PermissionError(0, "not writable")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no file name"
            raise UsageError(
                f"{file_name(path)} cannot hold messages: {reason}", hint="name a folder"
            ) from error

    def keep(self, message: Submission, sealer: Sealer) -> Path:
        """The message is on disk when this returns, in that file; OSError where it is not.

        MalformedMessage where another one of its Message-ID is held for these people.
        """
        own = message.identity.encryption_certificate
        if own is None:
            raise PolicyRefusal(
                f"a message of {message.sender} cannot be held: it is encrypted meanwhile, and"
                " their certificate is not for that",
                rule="gateway.hold",
                policy=EXCHANGE.name,
            )
        sealed = seal(
            b"".join(
                [
                    f"From: {message.sender}\r\nTo: {message.sender}\r\n".encode(),
                    f"Subject: {_SUBJECT}\r\nMIME-Version: 1.0\r\n".encode(),
                    b"Content-Type: application/octet-stream\r\n",
                    b"Content-Transfer-Encoding: base64\r\n\r\n",
                    pybase64.encodebytes(message.raw),
                ]
            ),
            signer=message.identity,
            recipients=[Contact(own)],
        )
        path = self._folder / f"{_key(message)}.eml"
        if path.exists() and self._holds_another(path, message, sealer):
            raise MalformedMessage(
                "another message with the same Message-ID and recipients is held",
                hint="give each message a Message-ID of its own",
            )
        write_durably(path, sealed)
        return path

    def _holds_another(self, path: Path, message: Submission, sealer: Sealer) -> bool:
        try:
            found = self.open(path, sealer)
        except SmimeGraphError:
            return False  # it is none of ours
        return found.raw != message.raw

    def held(self) -> Iterator[Path]:
        """The files, those that came first in front."""
        try:
            found = [(one.stat().st_mtime, one) for one in self._folder.glob("*.eml")]
        except OSError:
            return
        yield from (one for _, one in sorted(found))

    def open(self, path: Path, sealer: Sealer) -> Submission:
        """Raises SmimeGraphError for what its sender has not signed, OSError."""
        facts = path.stat()
        came = datetime.fromtimestamp(facts.st_mtime, UTC)
        if facts.st_size > _LARGEST:
            raise MalformedMessage("it is too large to be one of ours")
        opened = unseal(
            path.read_bytes(),
            identities=[key for one in sealer.identities for key in one.identities],
            trust=TrustStore(tuple(one.certificate for one in sealer.identities)),
            at=came,
        )
        found = sealer.of(bytes(Entity(opened.content).decoded_body()), came)
        signer = opened.signer
        if (
            signer is None
            or mailbox(found.sender) not in mailboxes(signer.emails)
            or opened.message["Subject"] != _SUBJECT  # it is protected by the signature, too
        ):
            raise MalformedMessage("its sender has not handed it in here")
        return found

    def drop(self, path: Path) -> None:
        path.unlink(missing_ok=True)


def _key(message: Submission) -> str:
    message_id = Entity(message.raw).get("Message-ID")
    text = repr((message.sender.lower(), message_id, sorted(message.recipients)))
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def write_durably(path: Path, data: bytes) -> None:
    """A file that is there whole, name and all, even if the machine stops now."""
    beside = write_beside(path, data, mode=0o600)
    try:
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
