"""send, reply, reply-all, forward."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ..errors import (
    GraphError,
    GraphRefused,
    PolicyRefusal,
    SmimeGraphError,
    UsageError,
)
from . import files, graph_client, options, terminal
from .context import run_of
from .graph_client import Place
from .make import prepare, read_to_protect, sealed_copies
from .options import (
    FILE,
    F,
    Keys,
    Protection,
    Reading,
    combine,
    message,
    option,
    take,
    verb,
)
from .outbox import check, mark_of, outbox_option, submit, submit_answer, submit_copies
from .smtp import SmtpPlace, smtp_options

if TYPE_CHECKING:
    from ..graph import GraphClient
    from ..graph.models import MessageRef
    from ..smime.answer import Kind
    from ..smime.bcc import SealedCopy
    from ..smime.report import Opened

save = option(
    "--save-to-sent-items/--no-save-to-sent-items",
    default=True,
    help="Keep a copy (default). Only --wire mime-content has a place for 'no'.",
)


def check_save(save_to_sent_items: bool, place: Place) -> None:
    """In the words of the command line what GraphClient would say in its own."""
    if not save_to_sent_items and place.wire == "text-plain":
        raise UsageError(
            "--no-save-to-sent-items cannot be told to Graph: its text/plain form has no place for"
            " it, and the live service has no mimeContent form that would",
            hint="delete the copy in Sent Items afterwards (list --folder sentitems, delete ID), or"
            " use --wire mime-content where the service has the design document's form",
        )


def sending(*ways: str) -> Callable[[F], F]:
    """What is said of a send, and of what check says about one."""
    smtp = " smtp: not through Graph; takes what is too large for it (extra: smtp)."
    return combine(
        graph_client.submission_options,
        save,
        option(
            "--via",
            type=click.Choice(ways),
            default="auto",
            show_default=True,
            help="sendmail: one request. draft: two, and the id of the sent message."
            + smtp * ("smtp" in ways),
        ),
        option(
            "--split-bcc",
            is_flag=True,
            help="Send a message of its own to each person in Bcc, whom nobody else sees.",
        ),
    )


@verb("send")
@message
@sending("auto", "sendmail", "draft", "smtp")
@smtp_options
@outbox_option
def send(
    message: str,
    save_to_sent_items: bool,
    split_bcc: bool,
    via: Literal["auto", "sendmail", "draft", "smtp"],
    outbox: str | None,
    **given: Any,
) -> None:
    """Send a message to its To, Cc and Bcc; with --signer and --recipient it is sealed first.

    Without them it goes as it is, with a Message-ID and a Date if it has none. A send whose answer
    is lost is never repeated. check says what would be refused. With --split-bcc one message goes
    to To and Cc and one to each person in Bcc; if one fails it is said who got theirs. With
    --outbox it is stored first: 0 says that it is, and is sent now or by 'outbox run', once; 1 that
    another message of its Message-ID is there, or one of which nobody can tell whether it is it.

    \b
    smime-graph send sealed.eml --token-file token
    smime-graph send mail.eml --signer alice.p12 --recipient bob.pem --emulator --json
    """
    how, place = Protection.of(given), Place.of(given)
    if via == "smtp":
        smtp = take(SmtpPlace, given, place=place)
        smtp.check(save_to_sent_items=save_to_sent_items, outbox=outbox)
        _send_by_smtp(smtp, message, how, split_bcc=split_bcc)
        return
    options.refuse_idle(["smtp_host", "smtp_token_file"], without="--via smtp")
    if outbox is not None:
        check(outbox, place, save_to_sent_items=save_to_sent_items)
        raw = read_to_protect(message, how, place)
        if split_bcc:
            submit_copies(sealed_copies(raw, how), outbox, place, via=via, mark=mark_of(raw, how))
            return
        submit(prepare(raw, how), outbox, place, via=via, mark=mark_of(raw, how))
        return
    check_save(save_to_sent_items, place)
    if split_bcc:
        copies = sealed_copies(read_to_protect(message, how, place), how)
        _check_copies(copies, place, save_to_sent_items=save_to_sent_items, via=via)
        with graph_client.client(place) as graph:

            def send_one(raw: bytes) -> MessageRef:
                ref: MessageRef = graph.send(raw, save_to_sent_items=save_to_sent_items, via=via)
                return ref

            _send_copies(copies, send_one)
        return
    raw = prepare(read_to_protect(message, how, place), how)
    with graph_client.client(place) as graph:
        with graph_client.report_interruption():
            ref = graph.send(raw, save_to_sent_items=save_to_sent_items, via=via)
        graph_client.print_outcome(ref)


def _check_copies(copies: Sequence[SealedCopy], place: Place, **how: Any) -> None:
    """Refuse what a client would refuse of the last of them before the first has gone."""
    from ..submission.preflight import refusals

    box = place.mailbox()
    for one in copies:
        for error in refusals(box, one.message, **how):
            raise error


def _send_by_smtp(smtp: SmtpPlace, message: str, how: Protection, *, split_bcc: bool) -> None:
    data = read_to_protect(message, how, smtp.unlimited())
    if split_bcc:
        _send_copies(sealed_copies(data, how), smtp.send)
        return
    raw = prepare(data, how)
    with graph_client.report_interruption():
        ref = smtp.send(raw)
    graph_client.print_outcome(ref)


def _send_copies(copies: Sequence[SealedCopy], send_one: Callable[[bytes], MessageRef]) -> None:
    """Send each copy once, and say who got theirs.

    Where the first does not go nothing goes. Behind it a copy that Graph refuses keeps back no
    other, and any other failure all that are left.
    """
    went: list[MessageRef] = []
    failed: dict[int, GraphError] = {}
    done = False
    try:
        with graph_client.report_interruption():
            for number, one in enumerate(copies):
                try:
                    went.append(send_one(one.message))
                except GraphError as error:
                    failed[number] = error
                    if not went or not isinstance(error, GraphRefused):
                        break
            if failed:
                raise next(iter(failed.values()))
        done = True
    finally:
        outcomes = _outcomes(copies, went, failed)
        if not done and len(copies) > 1:
            run_of(click.get_current_context()).known = {"copies": outcomes}
            _say_who_got_theirs(outcomes, failed)
    for ref in went[1:]:
        graph_client.warn_if_unanswered(ref)
    graph_client.print_outcome(went[0], further={"copies": outcomes})


def _outcomes(
    copies: Sequence[SealedCopy], went: Sequence[MessageRef], failed: Mapping[int, GraphError]
) -> list[dict[str, Any]]:
    refs = iter(went)
    found: list[dict[str, Any]] = []
    for number, one in enumerate(copies):
        of_whom = {"recipients": list(one.recipients), "bcc": one.is_bcc}
        if (error := failed.get(number)) is not None:
            known = {"status": error.disposition, "internetMessageId": error.message_id}
        elif (ref := next(refs, None)) is not None:
            known = graph_client.ref_json(ref)
        else:
            known = {"status": "not-sent", "internetMessageId": None}
        found.append(of_whom | known)
    return found


def _say_who_got_theirs(
    outcomes: Sequence[Mapping[str, Any]], failed: Mapping[int, GraphError]
) -> None:
    texts = {"not-sent": "not sent to", "refused": "refused for", "unknown": "perhaps sent to"}
    for number, one in enumerate(outcomes):
        who = ", ".join(one["recipients"])
        said = texts.get(one["status"], "sent to")
        why = f": {failed[number]}" if number in failed else ""
        terminal.complain("note" if said == "sent to" else "warning", f"{said} {who}{why}")
    if any(one["status"] not in ("not-sent", "refused") for one in outcomes):
        for error in failed.values():
            error.hint = (
                "do not repeat all of it: write to those alone who did not get it, in a copy"
                " without the others, or use seal --split-bcc and send each file"
            )


# --- answers --------------------------------------------------------------------------------------

_building = combine(
    option(
        "--body",
        type=FILE,
        metavar="FILE",
        help="Build the answer from the original, with this text above it.",
    ),
    option("--attach", type=FILE, multiple=True, metavar="FILE", help="A file to send along."),
    option(
        "--from", "sender_address", metavar="ADDRESS", help="Who answers (default: the signer)."
    ),
    options.identity,
    options.judging_alone,
)


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer: the message that it is about, what it is built of, and how it is protected."""

    kind: Kind
    message_id: str
    how: Protection
    reading: Reading
    body: str | None = None
    attach: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    sender_address: str | None = None

    @property
    def is_built(self) -> bool:
        return self.body is not None or bool(self.attach or self.to)


def _answer_options(function: Any) -> Any:
    return combine(
        click.argument("message_id", metavar="ID"),
        click.argument("message", required=False, metavar="[MESSAGE]"),
        _building,
        graph_client.submission_options,
        outbox_option,
    )(function)


@verb("reply")
@_answer_options
def reply(message_id: str, message: str | None, outbox: str | None, **given: Any) -> None:
    """Reply to the sender of the message with this id.

    MESSAGE is the finished reply. With --body it is built: Subject, In-Reply-To, References,
    recipient and quoted text come from the original, which is opened with --identity and --trust
    if it was sealed. Graph sends a reply to From of the original, whatever To says: one that is
    encrypted for others is refused, and it must be encrypted for Reply-To as well.

    \b
    smime-graph reply ID --body text.txt --signer bob.p12 --recipient alice.pem \\
        --identity bob.p12 --trust roots.pem
    """
    _answer("reply", message_id, message, outbox, given)


@verb("reply-all")
@_answer_options
def reply_all(message_id: str, message: str | None, outbox: str | None, **given: Any) -> None:
    """Reply to the sender and all recipients of the message with this id; see reply.

    \b
    smime-graph reply-all ID reply.eml --token-file token
    """
    _answer("reply-all", message_id, message, outbox, given)


@verb("forward")
@_answer_options
@option("--to", multiple=True, metavar="ADDRESS", help="Whom to forward to.")
def forward(message_id: str, message: str | None, outbox: str | None, **given: Any) -> None:
    """Forward the message with this id.

    MESSAGE is the finished forward, original included. With --to it is built; see reply.

    \b
    smime-graph forward ID --to carol@contoso.com --signer bob.p12 --recipient carol.pem \\
        --identity bob.p12 --trust roots.pem
    """
    _answer("forward", message_id, message, outbox, given)


def _answer(
    kind: Kind, message_id: str, message: str | None, outbox: str | None, given: Mapping[str, Any]
) -> None:
    reading, place = Reading.of(given), Place.of(given)
    if outbox is not None:
        check(outbox, place)
    how = Protection.of(given, reading.keys)
    wanted = take(_Answer, given, kind=kind, message_id=message_id, how=how, reading=reading)
    if wanted.is_built and message is not None:
        raise UsageError(
            "a finished MESSAGE and parts of one are both given",
            hint="leave out MESSAGE, or --body, --attach and --to",
        )
    finished = None if wanted.is_built else read_to_protect(message or "-", how, place)
    if finished == b"" and message is None:
        build = "--to ADDRESS" if kind == "forward" else "--body FILE"
        raise UsageError(
            f"no MESSAGE is given to {kind} with, and standard input is empty",
            hint=f"name a finished one, or have it built of the original: {build}",
        )
    with graph_client.client(place) as graph:
        if finished is None:
            raw = _build(graph, wanted, place.user)
        else:
            raw = prepare_answer(graph, kind, message_id, finished, how, reading)
        if outbox is None:
            methods = {"reply": graph.reply, "reply-all": graph.reply_all, "forward": graph.forward}
            with graph_client.report_interruption():
                ref = methods[kind](message_id, raw)
            graph_client.print_outcome(ref)
            return
    known = None if finished is None else mark_of(finished, how)
    submit_answer(kind, message_id, raw, outbox, place, mark=known)


def prepare_answer(
    graph: GraphClient,
    kind: Kind,
    message_id: str,
    message: bytes,
    how: Protection,
    reading: Reading | None = None,
) -> bytes:
    """What is submitted as an answer, held against whom Graph will send it to, and against what
    the original hid.
    """
    if answers_original(kind, reading):
        try:
            original = graph_client.original(graph, message_id)
        except GraphRefused as error:
            if error.status != 403 or how.keys.recipient or _is_encrypted(message):
                raise  # nobody could say for whom it has to be encrypted
            text = f"whom Graph sends the answer to is not checked: {error}"
            terminal.complain("warning", text)
        else:
            _check(kind, original, message, how)
            how = hiding(kind, original, message, how, reading)
    return prepare(message, how)


def answers_original(kind: str, reading: Reading | None) -> bool:
    """Whether a finished answer is held against the original: a forward only if it is opened."""
    return kind in ("reply", "reply-all") or (
        kind == "forward" and reading is not None and bool(reading.keys.identity)
    )


def hiding(
    kind: Kind, original: bytes, message: bytes, how: Protection, reading: Reading | None
) -> Protection:
    """How a finished answer is protected, so that nothing stands outside that the original hid
    (RFC 9788 6.1). What is encrypted on the way is made so; of the rest it is said.
    """
    from ..pki.address import header_addresses
    from ..smime.answer import reference_hcp, tells_what_was_hidden, unopened_hcp
    from ..smime.entity import Entity
    from ..smime.examine import inspect
    from .keys import message_addresses

    can_hide = how.keys.has_recipient and not inspect(message)
    can_open = reading is not None and bool(reading.keys.identity)
    opened = _opened_or_none(original, reading) if reading is not None and can_open else None
    if opened is None:
        hidden = unopened_hcp(original, kind=kind, policy=how.policy)
    else:
        to = message_addresses(message) if kind == "forward" else []
        sender = next(iter(header_addresses(Entity(message).get("From") or "")), "nobody@localhost")
        hidden = reference_hcp(opened, kind=kind, sender=sender, to=to, policy=how.policy)
        if not can_hide and tells_what_was_hidden(opened, message):
            raise PolicyRefusal(
                "the Subject of the original was encrypted, and the answer has it in the clear",
                rule="answer.decrypted-in-clear",
                policy=how.policy.name,
                hint="name the certificates of its recipients with --recipient, so that it is"
                " encrypted again, or write another Subject",
            )
    if hidden is None:
        return how
    if can_hide:
        return replace(how, confidentiality=hidden)
    subject = Entity(message).get("Subject") or ""
    if hidden("Subject", subject) != subject:
        terminal.complain(
            "warning",
            "the Subject of the original is hidden, and that of the answer stands in the clear:"
            " it must not tell what was hidden",
        )
    return how


def _opened_or_none(original: bytes, reading: Reading) -> Opened | None:
    """The original; what cannot be opened, or is not accepted, still can be answered."""
    try:
        return _open_original(original, reading)[0]
    except UsageError:
        raise
    except SmimeGraphError as error:
        terminal.complain("note", f"what the original hid is not known: {error}")
        return None


def _is_encrypted(message: bytes) -> bool:
    from ..smime.examine import inspect
    from ..smime.report import ENCRYPTED

    return any(layer.type in ENCRYPTED for layer in inspect(message))


def _check(kind: Kind, original: bytes, message: bytes, how: Protection) -> None:
    from ..submission.preflight import check_answer

    found = check_answer(
        kind,
        original,
        message,
        recipients=lambda: how.keys.recipients(message, at=how.at, policy=how.policy),
        is_encrypting=bool(how.keys.recipient),
        policy=how.policy,
    )
    for one in found:
        terminal.complain("warning", one.text)


def _build(graph: GraphClient, wanted: _Answer, user: str) -> bytes:
    from ..smime.answer import answer, reference_hcp

    text = ""
    if wanted.body is not None:
        text = files.read_text(wanted.body, what="text of the answer")
    attachments = [_attachment(path) for path in wanted.attach]
    original = graph_client.original(graph, wanted.message_id)
    opened, was_encrypted = _open_original(original, wanted.reading)
    how = wanted.how
    if was_encrypted and not how.keys.recipient:
        raise PolicyRefusal(
            "the original was encrypted, and an answer that quotes it would not be",
            rule="answer.decrypted-in-clear",
            policy=how.policy.name,
            hint="name the certificates of its recipients with --recipient, or give a finished"
            " MESSAGE that quotes nothing",
        )
    sender = wanted.sender_address or _sender(opened.raw, how.keys, user)
    made = answer(
        opened,
        kind=wanted.kind,
        sender=sender,
        text=text,
        attachments=attachments,
        to=wanted.to,
        at=how.at,
    ).as_bytes()
    _check(wanted.kind, original, made, how)
    hidden = reference_hcp(opened, kind=wanted.kind, sender=sender, to=wanted.to, policy=how.policy)
    return prepare(made, replace(how, confidentiality=hidden))


def _attachment(path: str) -> Any:
    from ..smime.attachments import Attachment

    kind, encoding = mimetypes.guess_type(path)
    usable = (
        kind is not None and encoding is None and not kind.startswith(("message/", "multipart/"))
    )
    return Attachment(
        Path(path).name,
        data=files.read(path, what="file to attach"),
        content_type=kind if usable and kind is not None else "application/octet-stream",
    )


def _open_original(raw: bytes, how: Reading) -> tuple[Opened, bool]:
    """The original in the clear, and whether it was encrypted."""
    from ..policy import ARCHIVE
    from ..smime.context import VerificationContext
    from ..smime.examine import inspect
    from ..smime.header_protection import read_protected_header
    from ..smime.layers import parse_layers
    from ..smime.report import ENCRYPTED, MessageReport, Opened
    from ..smime.verification import header_of, outer_header
    from .open import unseal_message

    layers = [layer for layer in inspect(raw) if not layer.errant]
    if not layers:
        return Opened(raw, b"", MessageReport()), False
    encrypted = any(layer.type in ENCRYPTED for layer in layers)
    if encrypted and not how.keys.identity:
        raise UsageError(
            "the original is encrypted, so its text cannot be quoted without the key",
            hint="name the key with --identity FILE and the roots with --trust FILE, or give a"
            " finished MESSAGE",
        )
    if encrypted or how.keys.trust:
        # an answer that quotes what nobody checked is an oracle for whoever changed it on its way
        opened = unseal_message(raw, how)
        return opened, any(layer.type in ENCRYPTED for layer in opened.report.whole)
    terminal.complain(
        "warning", "the signature of the original is not checked: no --trust is given"
    )
    parsed = parse_layers(raw, VerificationContext.of(len(raw), policy=ARCHIVE))
    if parsed.error is not None:
        raise parsed.error
    protected, _ = read_protected_header(parsed.payload, parsed.outer, is_encrypted=False)
    # whom an answer goes to is read from protected fields alone (RFC 9788 4.4.4, 6.2)
    header, differ, _ = header_of(parsed, protected, is_signed=True)
    outside = outer_header(parsed.outer) if differ else header
    return Opened(parsed.content, header, MessageReport(), protected, outside), False


def _sender(opened: bytes, named: Keys, user: str) -> str:
    """Who answers: the signer's address that the original was sent to."""
    if named.signer:
        from ..pki.address import mailbox, mailboxes
        from . import keys

        held = [one for signer in named.ring.signers() for one in signer.emails]
        asked = mailboxes(tuple(keys.message_addresses(opened)))
        fit = [one for one in held if mailbox(one) in asked]
        if fit or held:
            return (fit or held)[0]
    if user != "me" and "@" in user:
        return user
    raise UsageError("nobody knows who answers", hint="name your address: --from ADDRESS")


COMMANDS = {"send": send, "reply": reply, "reply-all": reply_all, "forward": forward}
