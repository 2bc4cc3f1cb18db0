"""check, round-trip."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from ..errors import GraphError, MalformedMessage, SmimeGraphError, UsageError
from . import files, graph_client, options, terminal
from .context import run_of
from .graph_client import Place
from .make import complete, prepare, read_to_protect
from .open import report_to_show
from .options import Protection, Reading, message, option, verb

if TYPE_CHECKING:
    from ..graph import GraphClient

# What arrives. Users of Graph miss other fields at the recipient's (microsoft-graph-docs-contrib
# #1093, msgraph-sdk-dotnet#2209); X-* ones until the mailbox has met the name (#424).
_KEPT = frozenset(
    {"from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id"}
    | {"in-reply-to", "references", "mime-version", "thread-topic", "thread-index"}
    | {"importance", "priority", "sensitivity"}
)


@verb("check")
@message
@graph_client.submission_options
def check(message: str, **given: Any) -> None:
    """Say what would go wrong on sending; no request is made.

    What send would refuse before its first request, in its words and with its exit status: size
    against the limit (Graph counts the request, in base64), recipients without a certificate. And
    header fields that Graph is known to drop, which are no reason not to send.

    \b
    smime-graph check mail.eml --signer alice.p12 --recipient bob.pem
    """
    how, place = Protection.of(given), Place.of(given)
    raw = read_to_protect(message, how, place)
    made, problems = _refusals(raw, how, place)
    texts = list(dict.fromkeys(str(one) for one in problems))
    facts: dict[str, Any] = {
        "verdict": "rejected" if problems else "accepted",
        "size": {
            "message": len(raw),
            "protected": len(made),
            "request": (len(made) + 2) // 3 * 4,
            "limit": place.size_limit,
        },
        "recipients": _recipients(raw, how),
        "headers": _headers(raw),
        "problems": texts,
    }
    if run_of(click.get_current_context()).json:
        files.write_json(facts)
    else:
        size, headers = facts["size"], facts["headers"]
        lines = [
            f"{facts['verdict']}: {size['message']} bytes, {size['protected']} as it would be"
            f" sent, {size['request']} as a request (limit {place.size_limit})"
        ]
        lines += [f"problem: {one}" for one in texts]
        lines += [
            f"header: {one} is not delivered, as users of Graph report"
            for one in headers["dropped"]
        ]
        lines += [
            f"header: {one} may be lost on its first delivery" for one in headers["uncertain"]
        ]
        files.write_lines(lines)
    if problems:
        click.get_current_context().exit(terminal.status_of(problems[0]))


def _refusals(raw: bytes, how: Protection, place: Place) -> tuple[bytes, list[SmimeGraphError]]:
    """What send would submit, and what it would refuse first; then what else it would refuse.

    Raises what makes no sense whatever the message is: key files that are not there, and the like.
    """
    from ..graph import _mailbox, _outgoing

    problems: list[SmimeGraphError] = []
    made = raw
    for protect in (True, False):
        try:
            made = prepare(raw, how) if protect else complete(raw, how.at)
            break
        except UsageError:
            raise
        except SmimeGraphError as error:
            problems.append(error)
    box = _mailbox.mailbox(wire=place.wire, size_limit=place.size_limit)
    for check_one in (
        place.is_emulated,
        lambda: _mailbox.mailbox(user=place.user, url=place.url, cloud=place.cloud),
        lambda: _outgoing.check_to_send(_outgoing.header_fields(made), recipients=True),
        lambda: _outgoing.body_of_action(box, made, save=True),
    ):
        try:
            check_one()
        except SmimeGraphError as error:
            problems.append(error)
    return made, problems


def _headers(raw: bytes) -> dict[str, list[str]]:
    from ..smime.entity import Entity

    try:
        names = [field.name for field in Entity(raw).fields if field.name]
    except MalformedMessage:
        names = []  # a problem that is told as one
    names = [
        name
        for name in names
        if name.lower() not in _KEPT and not name.lower().startswith("content-")
    ]
    doubtful = [name for name in names if name.lower().startswith("x-")]
    return {"dropped": [name for name in names if name not in doubtful], "uncertain": doubtful}


def _recipients(raw: bytes, how: Protection) -> list[dict[str, Any]]:
    """Who gets it, and for whom a certificate is there: those of the signers count, too."""
    from ..smime import outgoing, wrap
    from . import keys

    try:
        to = keys.message_addresses(raw)
        everyone = how.keys.recipients(raw, at=how.at, policy=how.policy)
    except MalformedMessage:
        return []  # which of the problems it is, is said there
    everyone = wrap.with_signers(everyone, how.keys.ring.signers(), how.policy)
    without = frozenset(outgoing.without_certificate(to, everyone))
    return [{"address": one, "certificate": bool(everyone) and one not in without} for one in to]


@verb("round-trip")
@options.protection_options()
@options.identity
@options.judging
@graph_client.mailbox_options
@option(
    "--wait",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to look for the copy.",
)
def round_trip(wait: float, **given: Any) -> None:
    """Send a sealed message to oneself, find the copy in the inbox, open and verify it.

    It is written and encrypted by --signer for --signer; --identity opens it (default: the
    signer's own key).

    \b
    smime-graph round-trip --signer alice.p12 --trust roots.pem --token-file token
    """
    from ..pki.identity import Contact
    from ..smime import wrap
    from ..smime.examine import unseal
    from .open import judgement, keep_report_on_error

    reading = Reading.of(given)
    how = Protection.of(given, reading.keys)
    ring = how.keys.ring
    signers = ring.signers()
    if not signers or not how.keys.trust:
        raise UsageError(
            "a round trip needs a key and the roots to believe", hint="give --signer and --trust"
        )
    own = next((one.encryption_certificate for one in signers if one.encryption_certificate), None)
    if own is None or not signers[0].emails:
        raise UsageError(
            "the signer's certificate names no address or is not for encryption",
            hint="use the key file of somebody who can be written to",
        )
    raw = wrap.seal(
        _greeting(signers[0].emails[0]),
        signer=signers,
        recipients=[Contact(own)],
        policy=how.policy,
        at=how.at,
        sid=how.sid,
        rid=how.rid,
    )
    identities = ring.identities() or [one for signer in signers for one in signer.identities]
    arguments = {"identities": identities, **judgement(reading)}
    with graph_client.client(Place.of(given)) as graph:
        with graph_client.report_interruption():
            ref = graph.send(raw)
        copy_id = _find(graph, ref.internet_message_id or "", wait)
        with terminal.progress("fetching the copy"):
            back: bytes = graph.fetch(copy_id)
    with keep_report_on_error(back, **arguments):
        opened = unseal(back, **arguments)
    facts = report_to_show(opened.report)
    if facts is not None:
        same = {"unchanged": _body(back) == _body(raw)}
        files.write_json({**graph_client.ref_json(ref), "id": copy_id, **facts, **same})
    else:
        files.write_lines([f"accepted: {ref.internet_message_id} came back as {copy_id}"])


def _greeting(address: str) -> bytes:
    return (
        f"From: {address}\r\nTo: {address}\r\nSubject: smime-graph round trip\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\nThis message tests itself.\r\n"
    ).encode()


def _body(raw: bytes) -> bytes:
    from ..smime.entity import Entity

    return Entity(raw).body


def _find(graph: GraphClient, message_id: str, patience: float) -> str:
    """The id of the copy that came in; GraphError if it does not within `patience` seconds."""
    end = time.monotonic() + patience
    pause = 0.5
    with terminal.progress("waiting for the copy"):
        while True:
            page = graph.list("inbox", top=10, internet_message_id=message_id)
            for ref in page:
                if ref.id is not None and ref.internet_message_id == message_id:
                    return ref.id
            if time.monotonic() + pause > end:
                raise GraphError(
                    f"{message_id} was sent, but no copy came in within {patience:g} s",
                    hint="look into the inbox and the junk folder, or give it more --wait",
                )
            time.sleep(pause)
            pause = min(pause * 2, 8.0)


COMMANDS = {"check": check, "round-trip": round_trip}
