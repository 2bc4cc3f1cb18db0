"""A peer of one's own: any program that reads and writes JSON, a line for each question.

It begins with one line about itself, and then answers each line with one line:

    {"peer": "mailer", "version": "2.1", "operations": ["validate-sign", "verify"]}

    {"operation": "verify", "variant": "expired", "address": "alice@contoso.com",
     "at": "2026-11-27T12:00:00+00:00", "certificate": "...", "chain": ["..."], "key": "...",
     "pkcs12": "...", "trust": ["..."], "crls": ["..."], "content": "...", "message": "..."}

    {"verdict": "yes"}    {"verdict": "no", "detail": "it has expired"}    {"verdict": "-"}

Octets are base64: certificates, CRLs and messages in DER, `key` is PKCS#8, the password of `pkcs12`
"test". `message` is what "verify" (a detached SignedData over `content`) and "decrypt" (which has
to give `content`) are about; "sign" and "encrypt" make one of `content`, and answer with it as
"made". What is not among its operations it is not asked. Where it differs from the standards, and
it is known why, its first line may have "quirks", each an object with the fields of a `Quirk`:

    {"operations": "sign", "variants": "*", "observed": "yes", "reason": "it asks for no purpose"}
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from threading import Lock
from typing import Any, ClassVar

from ..cases import CONTENT, Case, Stand
from .drive import PATIENCE, Missing, Refused, exchange
from .peer import OPERATIONS, Operation, Quirk, Untried, Words

_LONGEST = 1 << 20  # octets of one answer


@dataclass
class PluginPeer:
    """The program, started once, asked one question at a time."""

    process: subprocess.Popen[bytes]
    stand: Stand
    name: str = ""
    version: str = ""
    operations: Collection[str] = ()
    lock: Lock = field(default_factory=Lock)
    quirks: Sequence[Quirk] = ()
    words: ClassVar[Sequence[Words]] = ()

    @classmethod
    def start(cls, stand: Stand, folder: Path, command: str) -> PluginPeer:
        """`command` is the program with its arguments. Raises Missing."""
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise Missing(f"{command!r:.60} is no command: {error}") from None
        if not words:
            raise Missing("no program is named")
        try:
            process = subprocess.Popen(  # noqa: S603 - no shell; whoever names it wants it run
                [str(Path(words[0]).absolute()), *words[1:]],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # so that what it starts is ended with it
            )
        except OSError as error:
            raise Missing(f"{words[0]} does not run: {error.strerror}") from None
        peer = cls(process, stand)
        try:
            about = peer._read()
            peer.name, peer.version = (_word(about, name) for name in ("peer", "version"))
            peer.operations = [one for one in OPERATIONS if one in about.get("operations", ())]
            peer.quirks = [_quirk(one) for one in about.get("quirks", ())]
        except (Refused, TypeError) as error:
            peer.close()
            raise Missing(f"{words[0]} does not say what it is: {error}") from None
        return peer

    def ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        if operation not in self.operations:
            raise Untried(f"{self.name} has no such operation")
        question = {
            "operation": operation,
            "variant": case.id,
            "address": case.email,
            "at": self.stand.at.isoformat(),
            "certificate": _text(case.certificate.der),
            "chain": [_text(one.der) for one in case.identity.chain],
            "key": _text(case.pkcs8),
            "pkcs12": _text(case.pkcs12_file.read_bytes()),
            "trust": [_text(one.der) for one in self.stand.family.trust.anchors],
            "crls": [_text(one) for one in case.crls],
            "content": _text(CONTENT),
            "message": _text(message),
        }
        with self.lock:
            answer = self._read(json.dumps(question).encode() + b"\n")
        verdict, detail = answer.get("verdict"), str(answer.get("detail", ""))
        if verdict == "-":
            raise Untried(detail)
        if verdict != "yes":
            raise Refused(detail if verdict == "no" else f"it answers with verdict {verdict!r:.40}")
        made = answer.get("made", "")
        try:
            return b64decode(made, validate=True)
        except (ValueError, TypeError):
            raise Refused("what it made is not base64") from None

    def _read(self, question: bytes = b"") -> dict[str, Any]:
        """The line that answers the question, if that is one. Whoever says more than it was asked
        for is ended: what it says next would be taken for the answer to something else.
        """
        try:
            line, more = exchange(self.process, question, longest=_LONGEST)
        except OSError:
            raise Refused("it has ended") from None
        if more or len(line) > _LONGEST:
            self._end()
            raise Refused("it says more than one line, or a very long one, so it was ended")
        if not line.endswith(b"\n"):
            self._end()
            raise Refused(f"it has ended, or was ended after {PATIENCE} s")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise Refused("it answers with something else than a JSON object in a line")
        return answer

    def _end(self) -> None:
        """It, and whatever it has started."""
        try:
            os.killpg(self.process.pid, SIGKILL)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self._end()
            self.process.wait()


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _quirk(row: dict[str, Any]) -> Quirk:
    """Raises Refused, and TypeError for fields that a Quirk does not have."""
    found = Quirk(**row)
    if not all(isinstance(value, str) for value in row.values()):
        raise Refused("a quirk has a field that is no text")
    try:
        re.compile(found.says)
    except re.error as error:
        raise Refused(f"{found.says!r:.40} is no expression: {error}") from None
    return found


def _word(about: dict[str, Any], name: str) -> str:
    value = about.get(name)
    if (
        not isinstance(value, str)
        or not value
        or " " in value
        or "/" in value
        or not value.isprintable()
    ):
        raise Refused(f"{name} is {value!r:.40}, wanted a word")
    return value
