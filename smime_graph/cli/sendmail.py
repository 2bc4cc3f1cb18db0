"""sendmail: take a message as /usr/sbin/sendmail does, and send it through Graph.

Two differences from a mail server, both because Graph has no envelope beside the header and no
queue: everyone in To, Cc and Bcc gets the message, so a header that names somebody whom the
arguments do not is refused without -t; and a message is sent now or not at all, unless there is an
outbox.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ..errors import MalformedMessage, UsageError
from . import config, graph_client, sysexits
from .command import Verb
from .graph_client import Place
from .make import prepare, read_to_protect, sealed_copies
from .options import Keys, Protection, option, take, verb
from .outbox import check, mark_of, outbox_option, run_queue, submit, submit_copies
from .send import check_save, save

if TYPE_CHECKING:
    from ..smime.entity import HeaderField

_NOT_HERE = {
    "a": "ARPANET mode", "d": "a daemon", "D": "a daemon", "h": "host status", "H": "host status",
    "i": "the alias table", "I": "the alias table", "l": "a daemon", "p": "a queue",
    "s": "SMTP on standard input", "t": "a test mode", "v": "verifying addresses",
    "z": "a frozen configuration",
}  # fmt: skip
_WITH_VALUE = frozenset("ABCFLNORVXbefhopr")
_WITHOUT = frozenset("GIUcimnstvx")
_VALUE_ATTACHED_OR_NONE = frozenset("dDq")


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the arguments of sendmail(8) say."""

    recipients: tuple[str, ...] = ()
    from_header: bool = False  # -t
    dots_are_text: bool = False  # -i, -oi
    envelope_sender: str | None = None  # -f, -r
    full_name: str | None = None  # -F
    is_queue_run: bool = False  # -q


def read_arguments(words: list[str]) -> Invocation:
    """Read them as getopt does: letters may share a dash, values may be attached."""
    recipients: list[str] = []
    flags: set[str] = set()
    values: dict[str, str] = {}
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            recipients += words[position:]
            break
        if not word.startswith("-") or word == "-":
            recipients.append(word)
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in _VALUE_ATTACHED_OR_NONE:
                flags.add(letter)
                break
            if letter in _WITHOUT:
                flags.add(letter)
                continue
            if letter not in _WITH_VALUE:
                raise UsageError(f"-{letter} is no option of sendmail")
            if letters:
                value = letters
            elif position < len(words):
                value = words[position]
                position += 1
            else:
                raise UsageError(f"-{letter} needs a value")
            _take(letter, value, flags, values)
            break
    return Invocation(
        recipients=tuple(recipients),
        from_header="t" in flags,
        dots_are_text="i" in flags,
        envelope_sender=values.get("f"),
        full_name=values.get("F"),
        is_queue_run="q" in flags,
    )


def _take(letter: str, value: str, flags: set[str], values: dict[str, str]) -> None:
    if letter == "b" and value != "m":
        what = _NOT_HERE.get(value[:1], "that mode")
        raise UsageError(
            f"-b{value}: {what} is not part of this program", hint="-bm, the default, sends mail"
        )
    ignores_dots = re.fullmatch(r"(?i)IgnoreDots(=(t|true|y|yes|1)?)?", value)
    if (letter == "o" and value.startswith("i")) or (letter == "O" and ignores_dots):
        flags.add("i")
    elif letter in ("f", "r"):
        values["f"] = value
    elif letter == "F":
        values["F"] = value
    # the rest (-odX, -oem, -B8BITMIME, -L tag, -N dsn, -R hdrs, -V envid, ...) says how a mail
    # server should go about it


class SendmailVerb(Verb):
    """Long options are ours and click's, everything else is sendmail's."""

    status_of = staticmethod(sysexits.status_of)
    status_text = sysexits.STATUS_TEXT

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ours, theirs = self._apart(args)
        ctx.meta[__name__] = theirs
        return super().parse_args(ctx, ours)

    def _apart(self, args: list[str]) -> tuple[list[str], list[str]]:
        takes_value = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and not parameter.is_flag
            for name in parameter.opts
        }
        ours: list[str] = []
        theirs: list[str] = []
        waiting = iter(args)
        for word in waiting:
            if word == "--":
                theirs += [word, *waiting]
            elif word.startswith("--"):
                ours.append(word)
                if word in takes_value:
                    ours += [value for value in [next(waiting, None)] if value is not None]
            else:
                theirs.append(word)
                alone = len(word) > 1 and word[0] == "-" and word[-1] in _WITH_VALUE
                if alone and all(letter in _WITHOUT for letter in word[1:-1]):
                    # its value may look like anything
                    theirs += [value for value in [next(waiting, None)] if value is not None]
        return ours, theirs


@verb(
    "sendmail",
    cls=SendmailVerb,
    context_settings={"help_option_names": ["--help"]},
    options_metavar="[-t] [-i] [-f ADDRESS] [-F NAME] [-bm] [OPTIONS]",
)
@graph_client.submission_options
@save
@outbox_option
@option("--from", "sender_address", metavar="ADDRESS", help="From where the message has none.")
@option("--unsigned", is_flag=True, help="Send without a signature if there is no --signer.")
@option("--domain", metavar="NAME", help="Completes names without a domain, as root in cron mail.")
@click.pass_context
def sendmail(
    ctx: click.Context,
    /,
    save_to_sent_items: bool,
    unsigned: bool,
    outbox: str | None,
    **given: Any,
) -> None:
    """Take a message from standard input and send it: [ADDRESS...] are its recipients.

    With -t they are those of To, Cc and Bcc, together with the arguments (as Postfix has it; Exim
    takes them away). Arguments that stand in no header become Bcc. Without -t a header that names
    others is refused, because Graph would send it to them. -i, -oi: a line with a dot does not end
    the message. -f, -F: address and name where From is missing. -q: runs the outbox, if one is
    named. Other options of sendmail are ignored; -bs and other modes are refused. With an outbox
    mail survives that Graph is away: 0 says that it is stored, 65 that another message of its
    Message-ID is there, or one of which nobody can tell whether it is it; and when it is encrypted,
    each person in Bcc gets a message that names nobody else.

    What signs and seals it is named in [sendmail] of the configuration, or by the options below;
    without a signer nothing is sent, unless unsigned = true stands there:

    \b
    [sendmail]
    signer = "alice.p12"
    password-file = "alice.password"
    recipient = ["certificates"]
    token-file = "token"
    """
    invocation = read_arguments(ctx.meta[__name__])
    how, place = Protection.of(given), Place.of(given)
    if invocation.is_queue_run and not invocation.from_header and not invocation.recipients:
        if outbox is not None:
            run_queue(outbox, place)
        return  # "process the queue": cron jobs that ask for it where there is none are not wrong
    if outbox is not None:
        check(outbox, place, save_to_sent_items=save_to_sent_items)
    check_save(save_to_sent_items, place)
    if not invocation.from_header and not invocation.recipients:
        raise UsageError(
            "no recipients are named", hint="name them as arguments, or use -t for those of To, Cc"
        )
    if not how.keys.signer and not unsigned:
        # a configuration that was not found must not turn signed mail into mail in the clear
        raise config.ConfigurationError(
            f"nobody to sign with: {config.source(ctx)}",
            hint="name the signer in [sendmail] of the configuration, or, for mail that nobody"
            " signs, unsigned = true",
        )
    from ..smime.lines import crlf

    author = take(_Author, given, keys=how.keys)
    data = read_to_protect("-", how, place)
    if outbox is not None:
        made = complete(data, invocation, author)
        known = mark_of(made, how)
        if _is_split(made, how):
            submit_copies(sealed_copies(made, how), outbox, place, via="auto", mark=known)
            return
        raw = prepare(made if how.is_asked_for else crlf(made), how)
        submit(raw, outbox, place, via="auto", mark=known)
        return
    with graph_client.client(place) as graph:
        made = complete(data, invocation, author)
        raw = prepare(made if how.is_asked_for else crlf(made), how)
        with graph_client.report_interruption():
            ref = graph.send(raw, save_to_sent_items=save_to_sent_items, via="auto")
        graph_client.print_outcome(ref)


def _is_split(message: bytes, how: Protection) -> bool:
    """Whether each person in Bcc gets a message of their own: whoever reads one that is encrypted
    sees for whom it is. An outbox takes all of them or none, so that nobody has to ask who got it.
    """
    from ..smime.entity import Entity

    is_sealed = bool(how.keys.signer) and how.keys.has_recipient
    return is_sealed and any(field.value for field in Entity(message).all("Bcc"))


# --- the message ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Author:
    """Who writes where the message does not say: who was named, else the signer."""

    keys: Keys
    sender_address: str | None
    domain: str | None

    @property
    def address(self) -> str | None:
        if self.sender_address or not self.keys.signer:
            return self.sender_address
        held = [one for signer in self.keys.ring.signers() for one in signer.emails]
        return held[0] if held else None


def complete(data: bytes, invocation: Invocation, author: _Author) -> bytes:
    """The message as a mail server would complete it: its recipients and its From."""
    header, body = _split(data if invocation.dots_are_text else _until_dot(data))
    fields = [_qualify(field, author.domain) for field in header]
    sender = _From(invocation, author)
    fields = [sender.replace(field) for field in fields]
    if not any(field.name.lower() == "from" for field in fields):
        fields.append(sender.field(invocation.full_name))
    fields += _make_bcc(fields, invocation, author.domain)
    return b"".join([*(field.raw for field in fields), b"\r\n", body])


def _until_dot(data: bytes) -> bytes:
    found = re.search(rb"^\.\r?(?:\n|\Z)", data, re.MULTILINE)
    return data if found is None else data[: found.start()]


def _split(data: bytes) -> tuple[list[HeaderField], bytes]:
    """The header with CRLF, and the body. A line that is no field begins the body, as ever."""
    from ..smime.entity import Entity, HeaderField
    from ..smime.lines import crlf

    data = re.sub(rb"\AFrom [^\r\n]*\r?\n", b"", data, count=1)  # the mark of a mailbox file
    entity = Entity(data)
    found: list[HeaderField] = []
    position = 0
    for field in entity.fields:
        if not field.name:
            return found, data[position:]
        position += len(field.raw)
        raw = crlf(field.raw)
        raw = raw if raw.endswith(b"\r\n") else raw.rstrip(b"\r\n") + b"\r\n"
        found.append(HeaderField(field.name, raw))
    return found, entity.body


def _field(name: str, value: str) -> HeaderField:
    from ..smime.entity import HeaderField

    return HeaderField(name, f"{name}: {value}\r\n".encode())


# a name without a domain, as local mail has it: root, root (Cron Daemon), Cron <root>
_LOCAL = re.compile(
    r"(?P<name>[\w.+-]+)(?:\s+\((?P<comment>[^()]*)\))?"
    r"|(?P<display>[^<>@\"]*)<(?P<inside>[\w.+-]+)>"
)


# what a display name or a comment holds is no list
_BETWEEN_COMMAS = re.compile(r'(?:"(?:[^"\\]|\\.)*+"?|\([^()]*+\)?|[^,"(])++', re.DOTALL)


def _local(text: str) -> tuple[str, str] | None:
    """Local part and display name of one local address, None if it is none."""
    match = _LOCAL.fullmatch(text.strip())
    if match is None:
        return None
    return match["name"] or match["inside"], (match["comment"] or match["display"] or "").strip()


def _qualify(field: HeaderField, domain: str | None) -> HeaderField:
    """To, Cc and Bcc with a domain behind every local name; From is a matter of its own."""
    if field.name.lower() not in ("to", "cc", "bcc"):
        return field
    pieces = _BETWEEN_COMMAS.findall(field.value)
    if not any(piece.strip() and _local(piece) for piece in pieces):
        return field
    completed = [_complete(piece.strip(), domain, field.name) for piece in pieces if piece.strip()]
    return _field(field.name, ",\r\n ".join(completed))


def _complete(text: str, domain: str | None, what: str) -> str:
    found = _local(text)
    if found is None:
        return text
    if not domain:
        raise MalformedMessage(
            f"{what} names {found[0]}, which has no domain",
            hint="set domain in [sendmail] of the configuration, or --domain",
        )
    return f"{found[0]}@{domain}"


class _From:
    """The From: what -f says, else the author."""

    def __init__(self, invocation: Invocation, author: _Author) -> None:
        self._domain = author.domain
        asked = (invocation.envelope_sender or "").strip().removeprefix("<").removesuffix(">")
        self.address = asked if "@" in asked else author.address
        if not self.address and asked and self._domain:
            self.address = f"{asked}@{self._domain}"

    def replace(self, field: HeaderField) -> HeaderField:
        """A From without a domain, as cron writes it, becomes one that can be answered."""
        found = _local(field.value) if field.name.lower() == "from" else None
        if found is None:
            return field
        if self.address is None and self._domain:
            self.address = f"{found[0]}@{self._domain}"
        return self.field(found[1] or None)

    def field(self, name: str | None) -> HeaderField:
        if not self.address:
            raise MalformedMessage(
                "the message has no From with a domain",
                hint="give -f ADDRESS, or set from in [sendmail] of the configuration",
            )
        from ..pki.address import parse_header_addresses

        parse_header_addresses(self.address)
        clean = "".join(c if c.isprintable() else " " for c in name or "").strip()
        if not clean:
            return _field("From", self.address)
        from email.utils import formataddr

        if not self.address.isascii():
            escaped = clean.replace("\\", "\\\\").replace('"', '\\"')
            return _field("From", f'"{escaped}" <{self.address}>')
        return _field("From", formataddr((clean, self.address)))


def _make_bcc(
    fields: list[HeaderField], invocation: Invocation, domain: str | None
) -> list[HeaderField]:
    """A Bcc for the arguments that stand in no header."""
    from ..pki.address import parse_header_addresses
    from ..submission.envelope import bcc_field, compare, resent

    if invocation.from_header and (name := resent(fields)) is not None:
        raise MalformedMessage(
            f"the message was sent before, and {name} names who gets it now: Graph would send"
            " it to those of To, Cc and Bcc once more",
            hint="forward it as a message of its own",
        )
    asked: list[str] = []
    for argument in invocation.recipients:
        for piece in argument.split(","):
            if piece.strip():
                asked += parse_header_addresses(_complete(piece, domain, "the command line"))
    found = compare(fields, asked)
    if found.others and not invocation.from_header:
        raise UsageError(
            f"the header names {', '.join(found.others[:10])}, whom the arguments do not: Graph"
            " would send it to them as well",
            hint="use -t, or name everyone",
        )
    if not found.named and not asked:
        raise MalformedMessage(
            "the message names no recipient in To, Cc or Bcc", hint="name one, there or as argument"
        )
    return [bcc_field(found.unseen)] if found.unseen else []


COMMANDS = {"sendmail": sendmail}
