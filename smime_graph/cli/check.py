"""check."""

from __future__ import annotations

from typing import Any

import click

from ..errors import MalformedMessage, SmimeGraphError, UsageError
from . import files, graph_client, terminal
from .context import run_of
from .graph_client import Place
from .make import complete, prepare, read_to_protect
from .options import Protection, message, verb

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


COMMANDS = {"check": check}
