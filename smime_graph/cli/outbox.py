"""outbox list, run, retry, drop; and what send and sendmail do with an outbox."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from ..arguments import file_name
from ..errors import GraphError, UsageError
from . import files, graph_client, terminal
from .contacts import Span
from .context import run_of
from .graph_client import Place
from .options import OutboxPlace, option, verb

if TYPE_CHECKING:
    from ..graph import Outbox, OutboxMessage, OutboxRun
    from ..graph._outgoing import Via
    from ..smime.answer import Kind
    from ..smime.bcc import SealedCopy
    from .options import Protection

outbox_option = option(
    "--outbox",
    type=OutboxPlace(),
    metavar="FILE|URL",
    help="Store it there first; what cannot be sent now is sent by 'outbox run'.",
)

_file = click.argument("file", metavar="FILE|URL")
_ids = click.argument("ids", nargs=-1, required=True, type=click.IntRange(min=1), metavar="ID...")

# what send says of a message, by its state in the outbox
_STATUS = {"sent": "accepted", "trying": "queued"}


# --- send and sendmail ----------------------------------------------------------------------------


def check(path: str, place: Place, *, save_to_sent_items: bool = True) -> None:
    """UsageError for what makes no sense, before anything is read or stored."""
    check_place(place, save_to_sent_items=save_to_sent_items)
    _open(path, must_exist=False).close()


def check_place(place: Place, *, save_to_sent_items: bool) -> None:
    """As `check`; the outbox is not looked at."""
    place.is_emulated()
    if not save_to_sent_items:
        raise UsageError(
            "--outbox and --no-save-to-sent-items are both given",
            hint="leave one of them out: the copy in Sent Items is what proves that a message of"
            " the outbox went out; delete it afterwards",
        )


@contextmanager
def looked_into(path: str) -> Iterator[Outbox]:
    """An outbox, of which a file is not made: where it would be, an empty one."""
    from ..graph.outbox import is_server

    place = Path(path)
    with TemporaryDirectory(prefix="smime-graph-") as folder:
        if not is_server(path) and not place.exists() and place.parent.is_dir():
            path = str(Path(folder, "outbox.db"))
        with _open(path, must_exist=False) as outbox:
            yield outbox


def say_known(
    messages: Sequence[bytes], outbox: Outbox, place: Place, *, via: Via, mark: bytes | None
) -> None:
    """Raises what storing them would; of those that are there it is said."""
    for one in outbox.find(messages, via=via, mark=mark, **_as_sent(place)):
        _say_repeated(outbox, one)


def _say_repeated(outbox: Outbox, one: OutboxMessage) -> None:
    text = f"message {one.id} of the outbox {outbox.name} is this one, and was put in before"
    terminal.complain("note", text)


def mark_of(message: bytes, how: Protection) -> bytes | None:
    """What a message that is protected so is known again by; see `submission.repetition`."""
    from ..submission.repetition import mark

    signer = next(iter(how.keys.ring.signers()), None)
    is_encrypted = how.keys.has_recipient
    # what went in the clear before is not what is to be encrypted now
    return mark(b"%d" % is_encrypted + message, signer=signer, is_encrypted=is_encrypted)


def submit(raw: bytes, path: str, place: Place, *, via: Via, mark: bytes | None) -> None:
    """Store a message, try once to send it, and say how far it is: from here on it is safe."""
    with _open(path, must_exist=False) as outbox:
        _submit(outbox, [outbox.add(raw, via=via, mark=mark, **_as_sent(place))], place)


def submit_answer(
    kind: Kind, message_id: str, raw: bytes, path: str, place: Place, *, mark: bytes | None
) -> None:
    """As `submit`, for an answer or a forward of a message in the mailbox."""
    with _open(path, must_exist=False) as outbox:
        stored = outbox.add_answer(message_id, raw, action=kind, mark=mark, **_as_sent(place))
        _submit(outbox, [stored], place)


def submit_draft(message_id: str, path: str, place: Place) -> None:
    """As `submit`, for a draft in the mailbox."""
    with _open(path, must_exist=False) as outbox:
        _submit(outbox, [outbox.add_draft(message_id, user=place.user)], place)


def submit_copies(
    copies: Sequence[SealedCopy], path: str, place: Place, *, via: Via, mark: bytes | None
) -> None:
    """As `submit`, for the copies of a message: all of them are stored, or none."""
    with _open(path, must_exist=False) as outbox:
        raws = [one.message for one in copies]
        stored = outbox.add_all(raws, via=via, mark=mark, **_as_sent(place))
        _submit(outbox, stored, place, copies)


def _as_sent(place: Place) -> dict[str, Any]:
    return {"user": place.user, "wire": place.wire, "size_limit": place.size_limit}


def _submit(
    outbox: Outbox,
    stored: Sequence[OutboxMessage],
    place: Place,
    copies: Sequence[SealedCopy] = (),
) -> None:
    run = run_of(click.get_current_context())
    names = [f"message {one.id} of the outbox {outbox.name}" for one in stored]
    for one in stored:
        if one.is_repeated:
            _say_repeated(outbox, one)
    try:
        stored = _try(outbox, stored, place)
    except (KeyboardInterrupt, SystemExit):
        stands = "is" if len(names) == 1 else "are"
        terminal.complain("warning", f"interrupted: {' and '.join(names)} {stands} stored")
        terminal.hint("outbox run sends it, or finds out whether it was sent")
        raise
    for one in stored:
        _say(one, outbox.name)
    run.done = "stored"
    found = _status_json(stored[0])
    if copies:
        found["copies"] = [
            {"recipients": list(copy.recipients), "bcc": copy.is_bcc} | _status_json(one)
            for copy, one in zip(copies, stored, strict=True)
        ]
    for one, named in zip(stored, names, strict=True):
        if one.state == "failed":
            run.known = found
            error = GraphError(
                one.error or f"{named} failed",
                hint=f"{named} is kept as failed: put it right and send it with another"
                " Message-ID, or use outbox retry; outbox drop forgets it",
            )
            error.disposition, error.message_id = "refused", one.message_id or None
            raise error
    if run.json:
        files.write_json(found)


def _try(outbox: Outbox, stored: Sequence[OutboxMessage], place: Place) -> Sequence[OutboxMessage]:
    try:
        with graph_client.client(place) as graph, terminal.progress("talking to Graph"):
            return [outbox.send_now(graph, id=one.id) for one in stored]
    except UsageError as error:  # no token: whoever runs the outbox has one
        terminal.complain("note", f"not tried now: {error}")
        terminal.hint(terminal.hint_of(error, verb="send") or "")
    try:
        now = {one.id: one for one in outbox.messages()}
    except UsageError:  # it is away now, and they are stored
        return stored
    return [now.get(one.id, one) for one in stored]


def _say(stored: OutboxMessage, name: str) -> None:
    named = f"message {stored.id} of the outbox {name}"
    why = f": {stored.error}" if stored.error else ""
    if stored.state == "queued":
        terminal.complain("note", f"{named} waits{why}")
        run = f"outbox run {name} sends it"
        if stored.trouble is None:
            terminal.hint(run)
            return
        advice = terminal.hint_of(stored.trouble, verb=None)
        terminal.hint(f"{advice}; then outbox retry {name} {stored.id} makes it due, and {run}")
    elif stored.state == "trying":
        terminal.complain("note", f"{named} is being sent by somebody else")
    elif stored.state == "unknown":
        terminal.complain("warning", f"it is not known yet whether {named} was sent{why}")
        terminal.hint("outbox run looks it up; do not send it again")


def _status_json(stored: OutboxMessage) -> dict[str, Any]:
    latest = stored.attempts[-1] if stored.attempts else None
    return {
        "id": stored.draft_id,
        "internetMessageId": stored.message_id or None,
        "status": _STATUS.get(stored.state, stored.state),
        "requestId": None if latest is None else latest.request_id,
        "outbox": stored.id,
    }


def run_queue(path: str, place: Place, *, forever: bool = False, **times: Any) -> OutboxRun:
    """Send what is queued, and look up what is unknown; `times`: see `Outbox`."""
    with (
        _open(path, must_exist=not forever, **times) as outbox,
        graph_client.client(place) as graph,
        terminal.progress("sending"),
        terminal.show_warnings(),
    ):
        return outbox.run(graph, forever=forever)


def _open(path: str, *, must_exist: bool = True, **times: Any) -> Outbox:
    from ..graph import Outbox
    from ..graph.outbox import is_server

    if must_exist and not is_server(path) and not Path(path).exists():
        raise UsageError(
            f"{file_name(path)} is not there", hint="name the file that send --outbox has made"
        )
    return Outbox(path, **times)


# --- the verbs ------------------------------------------------------------------------------------


@verb("list")
@_file
def list_messages(file: str) -> None:
    """Show what is in an outbox: id, state, when it came, recipients, the last error, with tabs.

    queued: it waits. trying: it is being sent. sent: kept for a week, so that it is known when it
    is put in again. unknown: nobody knows whether it was sent; outbox run looks it up for a day,
    and retry sends it again. failed: Graph refused it. How long, outbox run may be told.

    \b
    smime-graph outbox list outbox.db
    """
    with _open(file) as outbox:
        found = outbox.messages()
    if run_of(click.get_current_context()).json:
        files.write_json({"messages": [_message_json(one) for one in found]})
        return
    from ..smime.report import time_text

    files.write_rows(
        [
            (str(one.id), one.state, time_text(one.created_at) or "")
            + (", ".join(one.recipients), one.error or "")
            for one in found
        ]
    )


def _message_json(one: OutboxMessage) -> Mapping[str, Any]:
    from ..smime.report import time_text

    return {
        "id": one.id,
        "state": one.state,
        "user": one.user,
        "action": one.action,
        "original": one.original,
        "internetMessageId": one.message_id or None,
        "recipients": list(one.recipients),
        "via": one.via,
        "size": one.size,
        "created": time_text(one.created_at),
        "due": time_text(one.due_at),
        "attempts": one.tried,
        "draftId": one.draft_id,
        "error": one.error,
        "requests": [
            {
                "attempt": attempt.number,
                "began": time_text(attempt.began_at),
                "clientRequestId": attempt.client_request_id,
                "requestId": attempt.request_id,
                "outcome": attempt.outcome,
            }
            for attempt in one.attempts
        ],
    }


@verb("run")
@_file
@graph_client.mailbox_options
@option("--forever", is_flag=True, help="Go on until Ctrl-C or SIGTERM, for what comes in later.")
@option(
    "--window",
    type=Span(),
    metavar="SPAN",
    default="24h",
    show_default=True,
    help="How long it is looked for whether one was sent of which nobody knows: 12h, 3d.",
)
@option(
    "--keep",
    type=Span(),
    metavar="SPAN",
    default="7d",
    show_default=True,
    help="How long one that was sent stays, to be known when it is put in again.",
)
def run(file: str, forever: bool, window: timedelta, keep: timedelta, **given: Any) -> None:
    """Send what is queued, and look up what is unknown, until nothing is due within half a minute.

    Each message goes from the mailbox that it was stored for. Several may run at once, and one
    that is killed loses and doubles nothing. 3 where something is left that waits for Graph or for
    a person, 1 where Graph refused a message.

    \b
    smime-graph outbox run outbox.db --token-file token
    """
    done = run_queue(file, Place.of(given), forever=forever, window=window, keep=keep)
    counts = {"sent": done.sent, "failed": done.failed, "queued": done.queued}
    counts["unknown"] = done.unknown
    if run_of(click.get_current_context()).json:
        files.write_json(counts)
    else:
        text = ", ".join(f"{count} {name}" for name, count in counts.items())
        terminal.complain("note", text)
        if done.due_at is not None:
            from ..smime.report import time_text

            when = time_text(done.due_at)
            terminal.complain("note", f"nothing more is to be done before {when}")
            terminal.hint("outbox list shows why; what waits, outbox retry makes due at once")
    if done.trouble is not None:
        terminal.complain("warning", str(done.trouble))
        if done.trouble.hint:
            terminal.hint(done.trouble.hint)
    if done.failed:
        click.get_current_context().exit(terminal.Status.NO)
    if done.queued or done.unknown:
        click.get_current_context().exit(terminal.Status.GRAPH)


@verb("retry")
@_file
@_ids
def retry(file: str, ids: tuple[int, ...]) -> None:
    """Queue messages again that failed, or of which nobody knows whether they were sent.

    Of the latter that is to say: send it, even if it is there twice then. It is looked up once more
    before. One that waits is due at once.

    \b
    smime-graph outbox retry outbox.db 3
    """
    with _open(file) as outbox:
        outbox.retry(ids)
    if run_of(click.get_current_context()).json:
        files.write_json({"queued": list(ids)})


@verb("drop")
@_file
@_ids
def drop(file: str, ids: tuple[int, ...]) -> None:
    """Take messages out of an outbox, whatever has become of them; a draft stays in Drafts.

    \b
    smime-graph outbox drop outbox.db 3 4
    """
    with _open(file) as outbox:
        dropped = outbox.drop(ids)
    for one in dropped:
        if one.draft_id is not None and one.state != "sent":
            terminal.complain(
                "note", f"the draft of message {one.id} may lie in Drafts: {one.draft_id}"
            )
    if run_of(click.get_current_context()).json:
        files.write_json({"dropped": list(ids)})


@click.group(
    "outbox",
    invoke_without_command=True,  # click would print its help as an error
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.pass_context
def outbox(ctx: click.Context) -> None:
    """Messages that are stored before they are sent: what is there, and what became of it.

    An outbox is a file; or, for workers on several machines, postgresql://USER@HOST/DATABASE (extra
    postgres). Its password is best left to ~/.pgpass or PGPASSWORD: others see a command line.
    """
    if ctx.invoked_subcommand is None:
        raise UsageError(
            "outbox is followed by list, run, retry or drop",
            hint="smime-graph outbox --help shows what each does",
        )


for _command in (list_messages, run, retry, drop):
    outbox.add_command(_command)

COMMANDS = {"outbox": outbox}
