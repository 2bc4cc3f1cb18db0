"""check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import click

from ..errors import UsageError
from . import files, options, terminal
from .context import run_of
from .graph_client import Place
from .make import complete, protect, read_to_protect, sealed_copies
from .options import FILE, Protection, Reading, message, option, verb
from .outbox import check_place, looked_into, mark_of, outbox_option, say_known
from .send import answers_original, check_save, hiding, sending

if TYPE_CHECKING:
    from ..graph._outgoing import Via
    from ..smime.answer import Kind
    from ..submission.preflight import SubmissionAction, SubmissionReport

# what is said on standard error, as it is on sending
_SAID = ("smime.bcc", "graph.recipients.unreadable")


@verb("check")
@message
@sending("auto", "sendmail", "draft")
@outbox_option
@option(
    "--as",
    "action",
    type=click.Choice(["send", "reply", "reply-all", "forward", "draft"]),
    default="send",
    show_default=True,
    help="What is to be done with it.",
)
@option(
    "--original",
    type=FILE,
    metavar="FILE",
    help="The message that it answers (fetch ID -o FILE): Graph sends a reply to those of it.",
)
@options.identity
@options.judging_alone
@click.pass_context
def check(
    ctx: click.Context,
    /,
    message: str,
    action: SubmissionAction,
    original: str | None,
    outbox: str | None,
    save_to_sent_items: bool,
    split_bcc: bool,
    via: Via,
    **given: Any,
) -> None:
    """Say what would go wrong on sending; no request is made.

    What send would refuse before its first request, in its words and with its exit status, since
    its code is what is run: size against the limit (Graph counts the request, in base64),
    recipients without a certificate, and with --outbox, into which nothing is put, a Message-ID
    that another message has there. And what is no reason not to send: header fields that Graph is
    known to drop or change, authEnveloped-data, Bcc, certificates that run out within 30 days; each
    with its source.

    \b
    smime-graph check mail.eml --signer alice.p12 --recipient bob.pem
    smime-graph check answer.eml --as reply --original original.eml --recipient alice.pem
    """
    from ..graph import _mailbox
    from ..submission.preflight import Plan

    reading, place = Reading.of(given), Place.of(given)
    how = Protection.of(given, reading.keys)
    if outbox is None:
        check_save(save_to_sent_items, place)
    else:
        check_place(place, save_to_sent_items=save_to_sent_items)
    is_answer = action in ("reply", "reply-all", "forward")
    if original is None and action in ("reply", "reply-all"):
        raise UsageError(
            "a reply goes to those of the message that it answers, which is not given",
            hint="--original FILE names it; fetch ID -o FILE writes it",
        )
    if (original is not None and not is_answer) or (split_bcc and action != "send"):
        raise UsageError(
            f"--original and --split-bcc make no sense with --as {action}",
            hint="--original is for answers, --split-bcc for what is sent",
        )
    if outbox is not None and action != "send":
        raise UsageError(
            f"--outbox makes no sense with --as {action}",
            hint="--outbox is for what is sent: what is stored there of an answer, nobody can tell"
            " without the mailbox",
        )
    stored = None if outbox is None else ctx.with_resource(looked_into(outbox))
    raw = read_to_protect(message, how, place)
    answered = None if original is None else files.read(original, what="original")

    def prepared() -> Sequence[bytes]:
        if split_bcc:
            return [one.message for one in sealed_copies(raw, how)]
        chosen = how
        if answered is not None and answers_original(action, reading):
            chosen = hiding(cast("Kind", action), answered, raw, how, reading)
        return [complete(protect(raw, chosen), how.at)]

    report = Plan(
        raw,
        prepare=prepared,
        as_it_is=lambda: complete(raw, how.at),
        place=place.mailbox,
        usual=_mailbox.mailbox(wire=place.wire, size_limit=place.size_limit),
        recipients=lambda: how.keys.recipients(raw, at=how.at, policy=how.policy),
        is_encrypting=bool(how.keys.recipient),
        signers=how.keys.ring.signers(),
        policy=how.policy,
        at=how.at,
        action=action,
        original=answered,
        via=via,
        save_to_sent_items=save_to_sent_items,
        store=None
        if stored is None
        else lambda made: say_known(made, stored, place, via=via, mark=mark_of(raw, how)),
    ).check()
    for one in report.findings:
        if one.code == "graph.recipients.unreadable":
            terminal.complain("warning", one.text)
    if run_of(ctx).json:
        files.write_json(_as_json(report))
    else:
        files.write_lines(_lines(report))
    if report.problems:
        ctx.exit(terminal.status_of(report.problems[0]))


def _as_json(report: SubmissionReport) -> dict[str, Any]:
    from ..smime.report import finding_json

    size = report.size
    assert size is not None  # noqa: S101 - a plan that was checked has one
    where: dict[str, list[str]] = {}
    for one in report.findings:
        where.setdefault(one.code, []).append(one.where)
    return {
        "verdict": "accepted" if report.ok else "rejected",
        "size": {
            "message": size.message,
            "protected": size.protected,
            "request": size.request,
            "limit": size.limit,
            "base64": {
                "attachments": size.base64_of_attachments,
                "cms": size.base64_of_cms,
                "request": size.base64_of_request,
            },
        },
        "recipients": [
            {"address": one.address, "certificate": one.has_certificate}
            | ({} if one.is_addressed else {"addressed": False})
            for one in report.recipients
        ],
        "headers": {
            "dropped": where.get("graph.header.dropped", []),
            "uncertain": where.get("graph.header.first-lost", []),
        },
        "problems": [str(one) for one in report.problems],
        "hints": [terminal.hint_of(one, verb="check") for one in report.problems],
        "findings": [finding_json(one) for one in report.findings],
    }


def _lines(report: SubmissionReport) -> list[str]:
    size = report.size
    assert size is not None  # noqa: S101 - as above
    verdict = "accepted" if report.ok else "rejected"
    lines = [
        f"{verdict}: {size.message} bytes, {size.protected} as it would be sent, {size.request} as"
        f" a request (limit {size.limit})",
        f"of them base64 adds {size.base64_of_attachments} to attachments, {size.base64_of_cms}"
        f" around what is signed or encrypted, and {size.base64_of_request} in the request",
    ]
    for one in report.problems:
        advice = terminal.hint_of(one, verb="check")
        lines += [f"problem: {one}", *([f"  {advice}"] if advice else [])]
    away = [one.address for one in report.recipients if not one.is_addressed]
    lines += [f"recipient: {one} is named, and Graph does not send it there" for one in away]
    lines += [f"{one.severity}: {one}" for one in report.findings if one.code not in _SAID]
    return lines


COMMANDS = {"check": check}
