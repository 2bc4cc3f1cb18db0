"""round-trip."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from ..errors import UsageError
from . import files, graph_client, options, terminal
from .context import run_of
from .graph_client import Place
from .options import Protection, Reading, option, verb


@verb("round-trip")
@options.protection_options()
@options.identity
@options.judging_alone
@graph_client.mailbox_options
@option(
    "--wait",
    type=click.FloatRange(min=0, max=86_400),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to look for the copy.",
)
def round_trip(wait: float, **given: Any) -> None:
    """Send a sealed message to oneself, find the copy in the inbox, open and verify it.

    It is written and encrypted by --signer for --signer; --identity opens it (default: the
    signer's own key). Whatever came back otherwise than it was sent is named: header fields that
    were dropped, changed, folded anew or added, octets of the body, layers. That is no failure as
    long as the copy is accepted.

    \b
    smime-graph round-trip --signer alice.p12 --trust roots.pem --token-file token
    """
    from ..smime.report import report_json
    from ..submission.round_trip import round_trip
    from .open import judgement

    reading = Reading.of(given)
    how = Protection.of(given, reading.keys, encrypts=True)
    ring = how.keys.ring
    signers = ring.signers()
    if not signers or not how.keys.trust:
        raise UsageError(
            "a round trip needs a key and the roots to believe", hint="give --signer and --trust"
        )
    with graph_client.client(Place.of(given)) as graph, graph_client.report_interruption():
        found = round_trip(
            graph,
            signer=signers,
            identities=ring.identities(),
            wait=timedelta(seconds=wait),
            sid=how.sid,
            rid=how.rid,
            **(judgement(reading) | {"policy": how.policy}),
        )
    differences = [
        {
            "part": one.part,
            "name": one.name,
            "change": one.change,
            "sent": one.sent,
            "received": one.received,
        }
        for one in found.differences
    ]
    known = {
        **graph_client.ref_json(found.ref),
        "id": found.copy.id,
        **report_json(found.report),
        "unchanged": not any(one.part == "body" for one in found.differences),
        "differences": differences,
    }
    run = run_of(click.get_current_context())
    lines = [str(one) for one in found.differences]
    if found.error is not None:
        run.known = known
        for line in lines:
            terminal.complain("note", line)
        raise found.error
    if run.json:
        files.write_json(known)
        return
    first = f"accepted: {found.ref.internet_message_id} came back as {found.copy.id}"
    files.write_lines([first, *lines])


COMMANDS = {"round-trip": round_trip}
