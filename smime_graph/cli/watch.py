"""watch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import click

from ..errors import SmimeGraphError, UsageError
from . import files, graph_client, options, terminal
from .context import run_of
from .graph_client import Place
from .options import FILE, Reading, option, verb

if TYPE_CHECKING:
    from threading import Event

    from ..submission.watch import Arrival

    Handler = Callable[[Arrival], object]


@verb("watch")
@graph_client.mailbox_options
@option("--folder", metavar="NAME", default="inbox", show_default=True, help="Or an id.")
@option(
    "--unseal", is_flag=True, help="As fetch has it. It is done anyway: every message is unsealed."
)
@options.opening
@option("--maildir", type=FILE, metavar="DIR", help="Put what is accepted into this Maildir.")
@option(
    "--exec",
    "command",
    metavar="COMMAND",
    help="Run this for each message that is accepted, with the message on standard input and the"
    " name of a file with the report's JSON in SMIME_GRAPH_REPORT.",
)
@option(
    "--rejected",
    type=FILE,
    metavar="DIR",
    help="Put what is not accepted here: the message (.eml), and what was found (.json).",
)
@option(
    "--state",
    type=FILE,
    metavar="FILE",
    required=True,
    help="Where it is remembered what came in; made where it is not there.",
)
@option("--once", is_flag=True, help="End when all that is there was tried.")
@option(
    "--every",
    type=click.FloatRange(min=1, max=86_400),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
def watch(
    folder: str,
    unseal: bool,  # noqa: ARG001 - it is done anyway
    maildir: str | None,
    command: str | None,
    rejected: str | None,
    state: str,
    once: bool,
    every: float,
    **given: Any,
) -> None:
    """Follow a folder: unseal and verify what comes in, and hand it on to a Maildir or a command.

    Each message is handed on at least once, the first time all that lies in the folder. Where the
    program was ended in the middle it is again, and handed_before in the JSON says so: no, failed,
    or unknown. The command is split into words as in a shell, and run without one; what it writes
    goes to standard error. Exit status 0: it has taken the message. Otherwise, and after ten
    minutes, it gets it again: 10 seconds later, then 20, up to an hour, while others go on.

    What is not accepted is handed to neither: without --rejected it is told and stays in the
    mailbox, where nothing is ever changed. A line for each message goes to standard output, with
    --json its report. Ctrl-C and SIGTERM end it when the message at hand is done, a second one at
    once. With --once the status is 1 if something was not handed on or put where it was told. Keys
    and roots are read at the start, a token file whenever a token is needed.

    \b
    smime-graph watch --identity bob.p12 --trust roots.pem --maildir ~/Maildir \\
        --rejected rejected --state watch.db --token-file token
    smime-graph watch --identity bob.p12 --trust roots.pem --exec 'import-ticket --queue 3' \\
        --state watch.db --once --token-file token
    """
    from ..submission.command import Command
    from ..submission.folders import Maildir, RejectedFolder
    from ..submission.watch import watch
    from .open import judgement

    reading, place = Reading.of(given), Place.of(given)
    if not reading.keys.trust:
        raise UsageError(
            "nobody is believed, so nothing could be accepted",
            hint="name the roots that you believe: --trust FILE",
        )
    if (maildir is None) == (command is None):
        raise UsageError(
            "--maildir and --exec are both given"
            if maildir is not None
            else "it is not said where messages go",
            hint="give one of --maildir DIR and --exec COMMAND",
        )
    if not (reading.keys.identity or reading.keys.recipient_password_file):
        terminal.complain("warning", "no key is given, so what is encrypted is not accepted")
        terminal.hint("name it: --identity FILE; with another --state all is looked at anew")
    opening = {"identities": reading.keys.ring.identities(), **judgement(reading)}
    taker: Handler = Maildir(maildir) if maildir is not None else Command(command or "")
    heap: Handler = RejectedFolder(rejected) if rejected is not None else lambda _: None
    with (
        graph_client.client(place) as graph,
        terminal.show_warnings(),
        terminal.stopping() as stop,
    ):
        told = _Told(stop)
        found = watch(
            graph,
            state=state,
            deliver=told.of(taker, "handed"),
            rejected=told.of(heap, "rejected"),
            folder=folder,
            once=once,
            every=timedelta(seconds=every),
            stop=stop,
            **opening,
        )
        if told.trouble is not None:
            raise told.trouble
    if found.waiting and once:
        from ..smime.report import time_text

        are = "message waits, and is" if found.waiting == 1 else "messages wait, and the next is"
        why = f": {found.error}" if found.error else ""
        terminal.complain("note", f"{found.waiting} {are} tried at {time_text(found.due_at)}{why}")
        terminal.hint("run it again then; without --once it waits for that")
    if found.waiting or (found.rejected and rejected is None):
        raise click.exceptions.Exit(terminal.Status.NO)


class _Told:
    """Says of each message what became of it; `trouble` is why that could not be said, and why
    nothing more is done.
    """

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self.trouble: Exception | None = None
        self._json = run_of(click.get_current_context()).json

    def of(self, handler: Handler, status: Literal["handed", "rejected"]) -> Handler:
        def hand(arrival: Arrival) -> None:
            try:
                handler(arrival)
            except Exception as error:
                self._say(arrival, "failed", error)
                raise
            self._say(arrival, status, arrival.error)

        return hand

    def _say(self, arrival: Arrival, status: str, why: Exception | None) -> None:
        from ..smime.report import time_text
        from ..submission.watch import arrival_json

        text = str(why) if isinstance(why, SmimeGraphError) else type(why).__name__ if why else ""
        try:
            if self._json:
                failure = {"failure": text} if status == "failed" else {}
                files.write_json_line({"status": status, **arrival_json(arrival), **failure})
                return
            when = time_text(arrival.received_at) or ""
            shown = (arrival.sender or "", arrival.internet_message_id or arrival.id, text)
            files.write_rows([(status, when, *shown)])
        except Exception as error:  # noqa: BLE001 - the message was handed on all the same
            self.trouble = error
            self._stop.set()


COMMANDS = {"watch": watch}
