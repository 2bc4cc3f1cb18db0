"""A command that gets what came in: the message on its standard input, the verdict in a file."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tempfile
from pathlib import Path

from ..buffers import chunks
from ..errors import SmimeGraphError, UsageError
from ..files import temporary
from ..smime.report import whole
from .watch import Arrival

REPORT = "SMIME_GRAPH_REPORT"  # names the file
_SECRETS = re.compile(
    r"(SMIME_GRAPH|AZURE)_\w*(TOKEN|PASSWORD|SECRET)=.*"  # what azure-identity reads, too
    r"|(IDENTITY_HEADER|MSI_SECRET)=.*"  # of a managed identity
    r"|PGPASSWORD=.*|SMIME_GRAPH_OUTBOX=\w+://([^/]*:[^/]*@|.*password=).*",  # of an outbox
    re.DOTALL,
)
_LONGEST = 600.0  # seconds, after which it is ended
_GRACE = 5.0  # seconds, after which it is killed


class CommandFailed(SmimeGraphError):
    """The command did not take the message."""


class Command:
    """A command with its words, as a shell splits them; no shell runs it. A call hands it an
    accepted message.

    It gets the message without its layers on standard input, and the name of a file with the
    report's JSON in SMIME_GRAPH_REPORT; no token, password or secret of this program is in its
    environment. What it writes goes to our standard error. With the exit status 0 it has taken the
    message; CommandFailed for any other, for a signal, and for more than ten minutes, after which
    it is ended with what it started. UsageError where it cannot be run.
    """

    def __init__(self, command: str) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise UsageError(
                f"the command cannot be split into words: {error}", hint="close what is quoted"
            ) from None
        if not self._words or "\0" in command:
            raise UsageError("the command is empty", hint="name a program, and its arguments")

    def __call__(self, arrival: Arrival) -> None:
        if arrival.opened is None:
            raise UsageError("a message that is not accepted is handed to no command")
        report = arrival.to_json().encode() + b"\n"
        try:
            with tempfile.TemporaryFile() as message, temporary(report, suffix=".json") as path:
                for chunk in chunks(whole(arrival.opened)):
                    message.write(chunk)
                message.seek(0)
                self._run(message.fileno(), path)
        except OSError as error:
            raise UsageError(
                f"{self._words[0]} cannot be run: {error.strerror or type(error).__name__}",
                hint="name a program that is there and may be run, with its path",
            ) from error

    def _run(self, message: int, report: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if not _SECRETS.fullmatch(f"{k}={v}")}
        process = subprocess.Popen(  # noqa: S603 - the user named it
            self._words,
            stdin=message,
            stdout=2,
            env={**environment, REPORT: str(report)},
            start_new_session=True,  # Ctrl-C is for us, and it is ended with what it started
        )
        try:
            status = process.wait(_LONGEST)
        except subprocess.TimeoutExpired:
            raise CommandFailed(
                f"{self._words[0]} did not end within {_LONGEST:.0f} s, and was ended"
            ) from None
        finally:
            _end(process)
        if status != 0:
            how = f"exit status {status}" if status > 0 else f"signal {-status}"
            raise CommandFailed(f"{self._words[0]} did not take the message: {how}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what still runs of it."""
    if process.poll() is not None:
        return
    if not hasattr(os, "killpg"):  # Windows
        process.kill()
        process.wait()
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_GRACE)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
        break
