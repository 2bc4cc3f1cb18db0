"""What people see: text on standard error, exit statuses, and progress where it takes long."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from ..errors import Remedy

_LIMIT = 2000  # characters of one line: a message must not be able to flood the terminal


class Status(IntEnum):
    """Exit statuses of every verb but sendmail, which has those of sysexits.h."""

    YES = 0
    NO = 1  # the message, a certificate or the policy says no
    USAGE = 2  # the call makes no sense, or its result cannot be written
    GRAPH = 3  # Graph refused, or could not be reached
    BUG = 70
    INTERRUPTED = 130  # 129 and 143 by SIGHUP and SIGTERM: 128 and the number of the signal


STATUS_TEXT = (
    "Exit status: 0 yes; 1 the message, a certificate or the policy says no; 2 the call makes no"
    " sense (a bad option, a missing file, a wrong password) or its result cannot be written;"
    " 3 Graph refused or could not be reached; 70 a bug of ours; 130 interrupted."
)


class ClosedPipe(Exception):
    """Nobody reads our standard output any more."""


def abandon_stdout() -> None:
    """Throw away what is still buffered, or Python would try it again, and complain, at its end."""
    try:
        handle = os.open(os.devnull, os.O_WRONLY)
        os.dup2(handle, sys.stdout.fileno())
        os.close(handle)
    except (OSError, ValueError, AttributeError):
        return  # no file behind it: a test, or an embedding program


def status_of(error: BaseException) -> int:
    """The exit status by whose turn it is to act: see `errors`."""
    from ..errors import GraphError, SmimeGraphError, UsageError

    if isinstance(error, (UsageError, click.ClickException, OSError)):
        return Status.USAGE
    if isinstance(error, GraphError):
        return Status.GRAPH
    if isinstance(error, SmimeGraphError):
        return Status.NO
    return Status.BUG


def printable(text: str) -> str:
    """One line without control, formatting (bidirectional) or unassigned characters."""
    short = text if len(text) <= _LIMIT else text[:_LIMIT] + "..."
    short = re.sub(r"[\r\n\t]+ *", " ", short)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in short)


def complain(kind: Literal["error", "warning", "note", "debug"], text: str) -> None:
    """A line on standard error, `smime-graph: error: ...`."""
    _say(f"smime-graph: {kind}: {printable(text)}")


def hint(text: str) -> None:
    _say(f"hint: {printable(text)}")


def _say(line: str) -> None:
    stream = sys.stderr
    if stream is None:
        return  # closed by the caller (2>&-): the status has to do
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
        stream.flush()
    except (OSError, ValueError):
        return  # a full disk or a closed pipe behind it: there is nobody left to tell


TOO_LARGE = (
    "base64 is paid up to three times: for attachments inside the message, for the CMS around them,"
    " and for the whole in the request; make it smaller before it is signed (--compress), send it"
    " by SMTP (send --via smtp), or raise --size-limit where the tenant is known to take more"
)

# What the library says in its own words, in the words of the command line
_HINTS: dict[Remedy, str] = {
    "at": "say when to judge it: --at TIME",
    "contacts": (
        "add one with contacts add FILE, or contacts harvest; or name a file: --recipient FILE"
    ),
    "root": "if you believe its root, name it: --trust FILE; another may have the same name",
    "trust": "name the roots that you believe: --trust FILE",
    "size": TOO_LARGE,
    "smtp-host": "name the host, and the port, of a service that has it: --smtp-host HOST:PORT",
    "to": "name whom: --to ADDRESS",
    "token": (
        "get one for https://{0}/.default (an emulator prints its own), and give it with"
        " --token-file FILE or in SMIME_GRAPH_TOKEN"
    ),
    "sender": "if the signer is right, say so: --sender ADDRESS",
    "unseal": "use unseal --identity FILE",
    "wire": "check that --wire is the form that this service takes",
    "wait": "look into the inbox and the junk folder, or give it more --wait",
    "unseal-others": "verify reads signed messages, unseal every kind",
    "identities": "give the key file of one of these recipients: --identity FILE",
    "content": "give the content that this detached signature is over: --content FILE",
    "use": "give --use encrypt, or a --key that signs: its companion that encrypts comes with it",
    "load-each": "use a file for each of them",
    "verify-receipt": "check it with verify-receipt",
    "password": (
        "give its password: --password-file FILE, or SMIME_GRAPH_PASSWORD in the environment"
    ),
    "policy": "choose a policy that sends, for example --policy exchange",
    "recipients": (
        "give a certificate for each recipient with --recipient FILE, or send to these separately"
    ),
    "send-draft": "it stays unsent in Drafts, and draft-send {0} sends it",
    "get-draft": "list --folder drafts shows it if it was not sent",
    "part": "a part of it is {0}: give --part {1} to open it alone",
    "part-without-footer": (
        "text was added to {0}, as mailing lists do: give --part {1} to open it alone"
    ),
}


# What to do about a finding
_HINTS_BY_CODE = {
    "smime.bcc": (
        "--split-bcc of seal and send, and sendmail with --outbox, give each of them a message of"
        " their own"
    ),
    "smime.unsigned": "inspect shows what it is; decrypt opens what is encrypted and not signed",
    "smime.signature-outside": "ask the sender to sign before encrypting, as seal does",
    "cms.signer.unchecked": "ask the sender for another algorithm",
    "cms.digest.mismatch": "the content was changed on its way: ask for the message again",
    "cms.signature.invalid": "the signature was changed or made up: ask the sender",
}

# For errors that bring no advice of their own, by their class
_HINTS_BY_CLASS = {
    "MalformedMessage": "it is damaged, or not what it claims to be: ask for it again",
    "UnsupportedAlgorithm": "ask the sender for another algorithm",
    "DecryptionFailed": "it was damaged on its way, or is not for this key",
    "PolicyRefusal": "another --policy may allow it",
    "SignatureInvalid": "examine shows everything that was found",
    "CertificateRejected": "examine shows everything that was found",
    "GraphRefused": "the code is Graph's own: its documentation says what it means",
    "GraphUnreachable": "check the network and the address, and try again",
}


def explain(error: BaseException, *, verb: str | None) -> None:
    """Everything that people are told about an error."""
    for line in _lines(error):
        complain("error", line)
    if (advice := hint_of(error, verb=verb)) is not None:
        hint(advice)


def _lines(error: BaseException) -> list[str]:
    from ..errors import PolicyRefusal, VerificationFailed

    if isinstance(error, VerificationFailed) and error.report.errors:
        found = dict.fromkeys(f"{f.where}: {f.text} [{f.code}]" for f in error.report.errors)
        more = [f"and {len(found) - 20} more: examine shows them all"] if len(found) > 20 else []
        return [*list(found)[:20], *more]
    if isinstance(error, PolicyRefusal):
        return [f"{text_of(error)} [{error.rule}]"]
    return [text_of(error)]


def text_of(error: BaseException) -> str:
    from ..errors import SmimeGraphError

    if isinstance(error, click.ClickException):
        text = error.format_message().strip()
        text = re.sub(r"\s*\n\s*", " ", text)
        text = re.sub(r"\.? \(?Did you mean (.*?)\?\)?$", r", did you mean \1", text)
        text = text.removesuffix(".")
        # click's names of its types
        text = re.sub(r"is not a valid integer( range)?$", "is no whole number", text)
        text = re.sub(r"is not a valid float( range)?$", "is no number", text)
        return text[:1].lower() + text[1:]
    if isinstance(error, SmimeGraphError):
        return str(error)
    if isinstance(error, OSError):
        name = "input or output" if error.filename is None else str(error.filename)
        return f"{name}: {error.strerror or type(error).__name__}"
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, ModuleNotFoundError):
        return f"the Python package {error.name} is not installed"
    # its text may quote what it was given, and that may be a secret
    return f"internal error: {type(error).__name__}"


def hint_of(error: BaseException, *, verb: str | None) -> str | None:
    from ..errors import Hint, SmimeGraphError, UsageError

    if isinstance(error, SmimeGraphError) and error.hint is not None:
        said = error.hint
        if not isinstance(said, Hint) or said.remedy is None:
            return said
        return f"{said.before}{_HINTS[said.remedy].format(*said.about)}{said.after}"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{error.ctx.command_path} --help shows what it takes"
    if isinstance(error, (click.ClickException, UsageError)):
        return f"smime-graph {verb + ' ' if verb else ''}--help shows what it takes"
    if isinstance(error, SmimeGraphError):
        codes = [f.code for f in error.report.errors] if hasattr(error, "report") else []
        known = next((_HINTS_BY_CODE[code] for code in codes if code in _HINTS_BY_CODE), None)
        return known or _HINTS_BY_CLASS.get(type(error).__name__)
    if isinstance(error, OSError):
        return "check the disk and the permissions"
    if isinstance(error, MemoryError):
        return "give it less, or more memory"
    if isinstance(error, ModuleNotFoundError):
        return "install smime-graph with what it needs: pip install smime-graph"
    return "this is a bug of smime-graph: run it with --debug, and report what it shows"


def as_json(error: BaseException, *, verb: str | None) -> dict[str, Any]:
    """The error as `--json` shows it; Graph's own words beside ours."""
    from ..errors import (
        GraphRefused,
        GraphThrottled,
        GraphUnreachable,
        PolicyRefusal,
        SmimeGraphError,
    )

    kind = "UsageError" if isinstance(error, click.ClickException) else type(error).__name__
    found: dict[str, Any] = {
        "type": kind,
        "text": text_of(error),
        "hint": hint_of(error, verb=verb),
    }
    if isinstance(error, PolicyRefusal):
        found |= {"rule": error.rule, "policy": error.policy}
    if isinstance(error, GraphRefused):
        found |= {"status": error.status, "code": error.code, "requestId": error.request_id}
    if isinstance(error, GraphThrottled):
        found["retryAfter"] = error.retry_after
    if isinstance(error, GraphUnreachable):
        found["maybeSent"] = error.maybe_sent
    if isinstance(error, SmimeGraphError):
        known = {
            "disposition": error.disposition,
            "messageId": error.message_id,
            "draftId": error.draft_id,
            "clientRequestId": error.client_request_id,
        }
        found |= {name: value for name, value in known.items() if value is not None}
    return found


@contextmanager
def termination_raises(is_done: Callable[[], bool]) -> Iterator[None]:
    """SIGTERM and SIGHUP end the program by an exception: no half-written file stays behind, and
    who ends a send is told what that means.

    Behind a message that was sent (`is_done`) nothing ends it any more, nor does Ctrl-C: Python
    takes a while to end, and who sees it die of a signal sends again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before: dict[signal.Signals, Any] = {}
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        # nohup ignores SIGHUP on purpose
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        if is_done():
            before = dict.fromkeys([*before, signal.SIGINT], signal.SIG_IGN)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """The first Ctrl-C, SIGTERM or SIGHUP is noted, so that what is at hand is done first; the
    program ends with its status. A second one ends it as ever.
    """
    noted: list[int] = []
    told = threading.Event()
    before: dict[int, Any] = {}

    def note(number: int, _frame: object) -> None:
        noted.append(number)
        told.set()
        put_back()

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, note)
    try:
        yield told
    finally:
        put_back()
    if noted:
        raise click.exceptions.Exit(128 + noted[0])


@contextmanager
def show_log() -> Iterator[None]:
    """What the library tells its logger beside warnings, for whoever looks for an error."""
    import logging

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno < logging.WARNING:
                complain("debug", record.getMessage())

    handler, logger = Lines(), logging.getLogger("smime_graph")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


@contextmanager
def show_warnings() -> Iterator[None]:
    """What the library says to its logger, said as we say it."""
    import logging

    class Complaints(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            complain("warning", text)
            code = text.rpartition(" [")[2].removesuffix("]")
            if code in _HINTS_BY_CODE:
                hint(_HINTS_BY_CODE[code])

    handler = Complaints(logging.WARNING)
    logger = logging.getLogger("smime_graph")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """As progress, with a count of what is done: what it gives takes how many, and of how many."""
    counted = [""]

    def count(done: int, total: int) -> None:
        counted[0] = f" {done} of {total}"

    with progress(what, lambda: counted[0]):
        yield count


@contextmanager
def progress(what: str, more: Callable[[], str] = str) -> Iterator[None]:
    """Says what is going on if it takes more than a second and somebody is watching."""
    stream = sys.stderr
    if stream is None or not stream.isatty():
        yield
        return
    done = threading.Event()
    began = time.monotonic()

    def show() -> None:
        shown = False
        while not done.wait(1.0):
            stream.write(f"\r{what}{more()} ... {time.monotonic() - began:.0f} s")
            stream.flush()
            shown = True
        if shown:
            stream.write("\r\x1b[K")
            stream.flush()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(1.0)
