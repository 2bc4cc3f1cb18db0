"""fetch, list, delete."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import click

from ..buffers import Held, Octets
from ..smime.report import time_text, whole
from . import files, graph_client, options, terminal
from .context import run_of
from .graph_client import Place
from .open import report_to_show, unseal_message
from .options import Keys, Reading, option, verb

if TYPE_CHECKING:
    from ..graph import GraphClient, StoredMessage


@verb("fetch")
@click.argument("message_id", metavar="ID")
@graph_client.mailbox_options
@option("--unseal", is_flag=True, help="Take every layer off and check every signature.")
@options.opening
@options.output
def fetch(message_id: str, unseal: bool, output: str | None, **given: Any) -> None:
    """Write the message with this id, byte for byte; with --unseal its content, as unseal does.

    With --json and no -o the message is in the JSON, in base64.

    \b
    smime-graph fetch ID --token-file token -o sealed.eml
    smime-graph fetch ID --unseal --identity bob.p12 --trust roots.pem
    """
    if not unseal:
        names = {*Reading.__annotations__, *Keys.__annotations__} - {"keys"}
        options.refuse_idle(names, without="--unseal")
    with files.spooling(output):
        with graph_client.client(Place.of(given)) as graph, terminal.progress("fetching"):
            raw = graph._fetch_spooled(message_id)
        data: Octets = raw
        report = None
        if unseal:
            opened = unseal_message(Held(raw), Reading.of(given))
            data, report = whole(opened), report_to_show(opened.report)
    json: dict[str, Any] | None = None
    if run_of(click.get_current_context()).json:
        json = {"id": message_id, **(report or {})}
        if output is None:
            json["message"] = base64.b64encode(bytes(data)).decode()
    files.deliver(data, output=output, json=json, private=True)


@verb("list")
@graph_client.mailbox_options
@option("--folder", metavar="NAME", help="inbox, sentitems, drafts, ..., or an id.")
@option("--top", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@option("--all", "everything", is_flag=True, help="Every one, through every page.")
@option("--message-id", metavar="<ID>", help="The copies of the message with this Message-ID.")
def list_messages(
    folder: str | None, top: int, everything: bool, message_id: str | None, **given: Any
) -> None:
    """List the newest messages: id, time, sender and subject.

    On a terminal that is a table; elsewhere a line for each, with tabs between them. With --all a
    mailbox of any size is listed, a page at a time, each within --deadline.

    \b
    smime-graph list --folder inbox --top 5 --token-file token
    smime-graph list --message-id '<abc@contoso.com>' --json
    """
    wanted = message_id
    if wanted is not None and not wanted.startswith("<"):
        wanted = f"<{wanted}>"  # the brackets are part of the value, and shells dislike them
    with graph_client.client(Place.of(given)) as graph, terminal.progress("listing"):
        if everything:
            found, more = _all_pages(graph, folder, wanted), False
        else:
            page = graph.list(folder, top=top, internet_message_id=wanted)
            found, more = list(page), page.more
    if run_of(click.get_current_context()).json:
        messages = [
            {
                **graph_client.ref_json(ref),
                "subject": ref.subject,
                "from": ref.sender,
                "sentDateTime": time_text(ref.sent_at),
                "receivedDateTime": time_text(ref.received_at),
            }
            for ref in found
        ]
        files.write_json({"messages": messages, "more": more})
        return
    rows = [
        (ref.id, time_text(ref.received_at or ref.sent_at) or "", ref.sender or "")
        + (ref.subject or "",)
        for ref in found
    ]
    files.write_rows(rows, header=("ID", "RECEIVED", "FROM", "SUBJECT"))


def _all_pages(
    graph: GraphClient, folder: str | None, message_id: str | None
) -> list[StoredMessage]:
    found: list[StoredMessage] = []
    link: str | None = None
    while True:
        page, link = graph._list_page(folder, internet_message_id=message_id, link=link)
        found += page
        if link is None:
            return found


@verb("delete")
@click.argument("message_id", metavar="ID")
@graph_client.mailbox_options
def delete(message_id: str, **given: Any) -> None:
    """Delete the message with this id: it goes to Deleted Items, and from there for good.

    A draft that is not wanted, or the copy of a message in Sent Items: list --folder shows the ids.
    A deletion whose answer is lost is not repeated.

    \b
    smime-graph delete ID --token-file token
    """
    with graph_client.client(Place.of(given)) as graph, terminal.progress("deleting"):
        graph.delete(message_id)
    if run_of(click.get_current_context()).json:
        files.write_json({"id": message_id, "status": "deleted"})


COMMANDS = {"fetch": fetch, "list": list_messages, "delete": delete}
