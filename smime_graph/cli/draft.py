"""draft, draft-update, draft-send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from . import graph_client
from .graph_client import Place
from .make import prepare, protect, read_to_protect
from .options import Protection, message, option, verb
from .outbox import check, outbox_option, submit_draft
from .send import prepare_answer

if TYPE_CHECKING:
    from ..smime.answer import Kind


@verb("draft")
@message
@graph_client.submission_options
@option("--reply-to", "reply_to", metavar="ID", help="As the reply to this message.")
@option("--reply-all-to", "reply_all_to", metavar="ID", help="As the reply to all of it.")
@option("--forward-of", "forward_of", metavar="ID", help="As the forward of it.")
def draft(
    message: str,
    reply_to: str | None,
    reply_all_to: str | None,
    forward_of: str | None,
    **given: Any,
) -> None:
    """Put a message into Drafts and print its id; with --signer and --recipient it is sealed first.

    As a reply it is held against whom Graph addresses; see reply.

    \b
    smime-graph draft sealed.eml --token-file token
    """
    kinds: dict[Kind, str | None] = {
        "reply": reply_to,
        "reply-all": reply_all_to,
        "forward": forward_of,
    }
    asked = [(kind, answered) for kind, answered in kinds.items() if answered]
    if len(asked) > 1:
        raise UsageError(
            "a draft answers one message in one way",
            hint="give one of --reply-to, --reply-all-to and --forward-of",
        )
    how, place = Protection.of(given), Place.of(given)
    raw = read_to_protect(message, how, place)
    if not asked:
        raw = prepare(raw, how)
    with graph_client.client(place) as graph:
        for kind, answered in asked:
            raw = prepare_answer(graph, kind, answered, raw, how)
        with graph_client.report_interruption(done="put into Drafts"):
            if not asked:
                ref = graph.draft(raw)
            else:
                methods = {
                    "reply": graph.create_reply,
                    "reply-all": graph.create_reply_all,
                    "forward": graph.create_forward,
                }
                kind, answered = asked[0]
                ref = methods[kind](answered, raw)
        graph_client.print_outcome(ref, print_id=True, done="put into Drafts")


@verb("draft-update")
@click.argument("message_id", metavar="ID")
@message
@graph_client.submission_options
def draft_update(message_id: str, message: str, **given: Any) -> None:
    """Replace the whole content of a draft.

    Graph v1.0 has no such request and refuses it (exit status 3); services with the design
    document's form have it: --wire mime-content.

    \b
    smime-graph draft-update ID sealed.eml --wire mime-content --graph-url http://127.0.0.1:8025
    """
    how, place = Protection.of(given), Place.of(given)
    raw = protect(read_to_protect(message, how, place), how)
    with graph_client.client(place) as graph:
        with graph_client.report_interruption(done="stored"):
            ref = graph.update_draft(message_id, raw)
        graph_client.print_outcome(ref, done="stored")


@verb("draft-send")
@click.argument("message_id", metavar="ID")
@graph_client.mailbox_options
@outbox_option
def draft_send(message_id: str, outbox: str | None, **given: Any) -> None:
    """Send a draft.

    With --outbox it is written down first: 0 says that it is, and the draft is sent now or by
    'outbox run', once.

    \b
    smime-graph draft-send ID --token-file token
    """
    place = Place.of(given)
    if outbox is not None:
        check(outbox, place)
        submit_draft(message_id, outbox, place)
        return
    with graph_client.client(place) as graph:
        with graph_client.report_interruption():
            ref = graph.send_draft(message_id)
        graph_client.print_outcome(ref)


COMMANDS = {"draft": draft, "draft-update": draft_update, "draft-send": draft_send}
