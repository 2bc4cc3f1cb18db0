"""contacts add, list, find, forget, harvest: the address book of certificates."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import (
    GraphError,
    GraphRefused,
    GraphThrottled,
    GraphUnreachable,
    SmimeGraphError,
    UsageError,
)
from . import files, graph_client, options, terminal
from .context import contacts_file, run_of
from .graph_client import Place
from .options import Reading, option, verb

if TYPE_CHECKING:
    from ..graph import GraphClient
    from ..pki.contacts import Contacts, KnownCertificate
    from ..pki.trust import TrustStore

_USER_CERTIFICATE = 0x3A70  # PidTagUserX509Certificate
# the largest message that is looked at: what signs whom is in the first few octets of most
_LARGEST_MESSAGE = 36 * 1024 * 1024
_MOST_CONTACTS = 10_000
_MINE = "\0"  # --trust without a file


class Span(click.ParamType):  # type: ignore[type-arg]
    """A number of days, weeks or hours: 30d, 4w, 12h."""

    name = "span"
    _UNITS: Mapping[str, str] = {"h": "hours", "d": "days", "w": "weeks"}

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([0-9]{1,5})([hdw])", str(value), re.ASCII)
        if match is None:
            self.fail(f"{value!r} is no span of time, wanted one like 30d, 4w or 12h", param, ctx)
        return timedelta(**{self._UNITS[match[2]]: int(match[1])})


_address = click.argument("address", metavar="ADDRESS")


@verb("add")
@click.argument("file", nargs=-1, metavar="FILE...")
@option(
    "--trust",
    type=options.FILE,
    multiple=True,
    is_flag=False,
    flag_value=_MINE,
    metavar="[FILE]",
    help="Believe what is added because you say so; with FILE, roots (PEM, DER, .p7b) or a folder"
    " of them, believe what validates under these.",
)
@options.contacts
@options.at
def add(
    file: tuple[str, ...],
    trust: tuple[str, ...],
    contacts: str | None,
    at: datetime | None,
) -> None:
    """Put people's certificates into the address book: PEM, DER, PKCS#7, or messages they signed.

    What they announced in a signed message that they can read is remembered. Certificates that are
    not believed serve where there is no other one.

    \b
    smime-graph contacts add bob.pem carol.p7b --trust
    smime-graph contacts add signed.eml --trust roots.pem
    """
    if not file:
        raise UsageError(
            "no FILE is given",
            hint="put --trust behind the files, or a '--' between: contacts add FILE --trust",
        )
    mine = _MINE in trust
    roots = _trust_store([one for one in trust if one != _MINE])
    added: list[KnownCertificate] = []
    with address_book(contacts, create=True) as book:
        for name in file:
            added += _add_file(book, name, mine, roots, at)
    _print_entries("added", added)


def _add_file(
    book: Contacts, name: str, mine: bool, roots: TrustStore | None, at: datetime | None
) -> Sequence[KnownCertificate]:
    from ..pki.identity import is_authority, read_certificates
    from ..pki.validate import validate
    from ..smime.harvest import harvest

    data = files.read(name, what="certificate or signed message", limit=files.MESSAGE_LIMIT)
    moment = at or datetime.now(UTC)
    origin = f"file {Path(name).name}"
    if is_signed(data):
        if roots is not None:
            contact = harvest(data, contacts=book, trust=roots, at=moment, origin=origin)
            return [
                one
                for one in book.certificates(contact.email or "")
                if one.certificate == contact.certificate
            ]
        return add_signer(book, name, data, mine, moment, origin)
    found = read_certificates(data, name=files.named(name))
    if roots is None:
        return book.add(found, origin=origin, believed=mine, at=moment)
    entered: list[KnownCertificate] = []
    authorities = [one for one in found if is_authority(one)]
    for one in found:
        if one in authorities:
            continue
        report = validate(one, use="encrypt", trust=roots, certificates=found, at=moment)
        believed = report.ok or mine
        if not believed:
            why = "; ".join(dict.fromkeys(error.text for error in report.errors[:3]))
            terminal.complain("warning", f"{name}: {one.description} is not believed: {why}")
        entered += book.add([one, *authorities], origin=origin, believed=believed, at=moment)
    if not entered:
        raise UsageError(
            f"{name} holds no certificate of a person", hint="give one with a mail address"
        )
    return entered


def is_signed(data: bytes) -> bool:
    """Whether this is a message with a signature around all of it."""
    from ..smime.examine import inspect

    try:
        return any(
            layer.type == "signed-data" and layer.signers and not layer.errant
            for layer in inspect(data)
        )
    except SmimeGraphError:
        return False


def add_signer(
    book: Contacts, name: str, data: bytes, mine: bool, at: datetime, origin: str
) -> Sequence[KnownCertificate]:
    """Whoever holds the key has signed: the signature is checked, and no more is known."""
    from ..pki.trust import TrustStore
    from ..smime.examine import examine
    from ..smime.harvest import capabilities_of

    report = examine(data, trust=TrustStore(()), at=at)
    sound = [one for one in report.signers if one.intact and one.valid and one.matches]
    if len(sound) != 1 or sound[0].certificate is None:
        raise UsageError(
            f"{name}: nobody is taken from this signed message: it does not have one good signature"
            " of the one that it is from",
            hint="examine says what is wrong with it",
        )
    (signer,) = sound
    certificate = sound[0].certificate
    added = book.add([certificate], origin=origin, believed=mine, emails=signer.emails, at=at)
    for one in added:
        book.announce(
            one.email,
            signer=certificate,
            signed_at=signer.signing_time,
            capabilities=capabilities_of(signer, at),
            at=at,
        )
    return added


@verb("list")
@option(
    "--expiring",
    type=Span(),
    metavar="SPAN",
    help="Only those who cannot be encrypted to any more after this time: 30d, 4w, 12h.",
)
@options.contacts
@options.at
def list_contacts(expiring: timedelta | None, contacts: str | None, at: datetime | None) -> None:
    """List the address book: address, end of validity, whether it is believed, where it came from.

    With --expiring it is the certificate that lasts longest of each, also where that is over.

    \b
    smime-graph contacts list --expiring 30d
    """
    entries: Sequence[KnownCertificate] = ()
    with address_book(contacts) as book:
        if book is not None:
            entries = book.entries() if expiring is None else book.expiring(expiring, at=at)
    _print_entries("contacts", entries)


@verb("find")
@_address
@options.trust
@options.crl
@options.ocsp
@options.contacts
@options.at
def find(
    address: str,
    trust: tuple[str, ...],
    crl: tuple[str, ...],
    ocsp: tuple[str, ...],
    contacts: str | None,
    at: datetime | None,
) -> None:
    """Say which certificate is used for an address, and why no other one is; status 1 if none is.

    With --trust, what does not validate is not used; --crl and --ocsp tell what is revoked, which
    is remembered.

    \b
    smime-graph contacts find bob@contoso.com --json
    """
    from ..pki.contacts import ContactChoice
    from ..pki.revocation import Revocation

    if (crl or ocsp) and not trust:
        raise UsageError(
            "--crl and --ocsp need --trust", hint="name the roots that you believe: --trust FILE"
        )
    known = Revocation.load(crls=crl, ocsp=ocsp) if crl or ocsp else None
    with address_book(contacts) as book:
        choice = ContactChoice(address, None, None, None, False, ())
        if book is not None:
            choice = book.find(address, at=at, trust=_trust_store(trust), revocation=known)
    _print_choice(choice)
    if choice.contact is None:
        terminal.complain("error", f"no certificate of {address} can be used")
        terminal.hint("add one with contacts add FILE, or contacts harvest")
        raise click.exceptions.Exit(1)


def _print_choice(choice: Any) -> None:
    from ..smime.report import certificate_json, time_text

    announced = choice.announced
    if run_of(click.get_current_context()).json:
        capabilities = None
        if choice.contact is not None and choice.contact.capabilities is not None:
            capabilities = _names_of(choice.contact)
        files.write_json(
            {
                "email": choice.email,
                "contact": None if choice.known is None else _entry_json(choice.known),
                "believed": choice.believed,
                "capabilities": capabilities,
                "announced": None if announced is None else time_text(announced.signed_at),
                "dropped": [
                    {**certificate_json(one.certificate), "code": one.code, "text": one.text}
                    for one in choice.dropped
                ],
            }
        )
        return
    if choice.known is not None:
        files.write_rows([_row(choice.known, believed=choice.believed)])
    for one in choice.dropped:
        terminal.complain("note", f"not used: {one.certificate.description}: {one.text}")


def _names_of(contact: Any) -> list[str]:
    """The capabilities by the names of the table, and by identifier where there is none."""
    from ..algorithms import TABLE
    from ..cms.capabilities import Capabilities

    names = {oid: row.name for row in TABLE for oid in row.oids}
    found = Capabilities.of(contact)
    return [] if found is None else [names.get(oid, oid) for oid, _ in found.entries]


@verb("forget")
@_address
@options.contacts
def forget(address: str, contacts: str | None) -> None:
    """Take an address out of the book, with all that is known of it; status 1 if nothing was.

    \b
    smime-graph contacts forget bob@contoso.com
    """
    with address_book(contacts) as book:
        count = 0 if book is None else book.forget(address)
    if run_of(click.get_current_context()).json:
        files.write_json({"email": address, "forgotten": count})
    if not count:
        terminal.complain("error", f"nothing is known of {address}")
        raise click.exceptions.Exit(1)


@verb("harvest")
@graph_client.mailbox_options
@option("--folder", metavar="NAME", default="inbox", show_default=True, help="Or an id.")
@option(
    "--top",
    type=click.IntRange(1, 10_000),
    default=200,
    show_default=True,
    help="How many messages, from the newest on.",
)
@option(
    "--outlook-contacts",
    is_flag=True,
    help="The certificates of Outlook's contacts as well (needs the right Contacts.Read).",
)
@options.opening
@options.contacts
def harvest(
    folder: str, top: int, outlook_contacts: bool, contacts: str | None, **given: Any
) -> None:
    """Read the messages of a folder, and remember who signed them.

    Only what validates under --trust and is from its signer is taken, with what the signer
    announced. With --identity, encrypted mail is looked into as well. Needs the right Mail.Read.

    \b
    smime-graph contacts harvest --folder inbox --trust roots.pem --token-file token
    """
    how = Reading.of(given)
    if not how.keys.trust:
        raise UsageError(
            "nobody is believed, so nobody can be taken from mail",
            hint="name the roots that you believe: --trust FILE",
        )
    place = Place.of(given)
    with address_book(contacts, create=True) as book, graph_client.client(place) as graph:
        work = Harvest(book, how)
        with terminal.progress("reading"):
            work.read_folder(graph, folder, top)
            if outlook_contacts:
                work.read_contacts(graph)
    work.show()


class Harvest:
    """What is taken from a mailbox, and why the rest is not."""

    def __init__(self, book: Contacts, how: Reading) -> None:
        self._book = book
        self._judging: dict[str, Any] = {
            "contacts": book,
            "trust": _trust_store(how.keys.trust),
            "policy": how.policy,
            "at": how.at or datetime.now(UTC),
            "revocation": how.known_revocation(),
        }
        self._identities = how.keys.ring.identities() if how.keys.identity else []
        self._sender = how.sender
        self.read = self.closed = 0
        self.more = False
        self.taken: dict[tuple[str, str], KnownCertificate] = {}
        self.skipped: list[dict[str, Any]] = []

    def read_folder(self, graph: GraphClient, folder: str, top: int) -> None:
        page = graph.list(folder, top=top)
        self.more = page.more
        for ref in page:
            try:
                raw: bytes = graph.fetch(ref.id, limit=_LARGEST_MESSAGE)
            except GraphError as error:
                gone = isinstance(error, GraphRefused) and error.status == 404
                lost = isinstance(error, (GraphRefused, GraphThrottled, GraphUnreachable))
                if lost and not gone:
                    raise  # so would the next be
                self._skip(ref.id, str(error))
                continue
            self.read += 1
            self._take(ref.id, raw)

    def _take(self, message_id: str, raw: bytes) -> None:
        from ..smime.harvest import harvest

        if not self._is_of_interest(raw):
            return
        try:
            contact = harvest(
                raw, identities=self._identities, sender=self._sender, **self._judging
            )
        except UsageError:
            raise  # the address book
        except SmimeGraphError as error:
            self._skip(message_id, str(error))
            return
        known = self._book.certificates(contact.email or "")
        self._keep([one for one in known if one.certificate == contact.certificate])

    def _is_of_interest(self, raw: bytes) -> bool:
        """Whether it is signed, or may be once it is opened."""
        from ..smime.examine import inspect
        from ..smime.report import ENCRYPTED

        try:
            layers = [layer for layer in inspect(raw) if not layer.errant]
        except SmimeGraphError:
            return False
        if any(layer.type in ENCRYPTED for layer in layers):
            self.closed += not self._identities
            return bool(self._identities)
        return any(layer.type == "signed-data" for layer in layers)

    def read_contacts(self, graph: GraphClient) -> None:
        from ..smime.harvest import harvest_outlook

        people = graph.contacts(top=_MOST_CONTACTS, binary_property=_USER_CERTIFICATE)
        for person in people:
            for value in person.values:
                entered, findings = harvest_outlook(
                    value, emails=list(person.emails), **self._judging
                )
                self._keep(entered)
                for one in findings:
                    self._skip(person.id, f"{person.name}: {one.where}: {one.text}", one.code)

    def _keep(self, entered: Sequence[KnownCertificate]) -> None:
        for one in entered:
            self.taken[(one.email, one.certificate.sha256)] = one

    def _skip(self, item_id: str, text: str, code: str | None = None) -> None:
        terminal.complain("note", f"not taken: {text}")
        self.skipped.append({"id": item_id, "code": code, "text": text})

    def show(self) -> None:
        if self.more:
            terminal.complain("note", f"the folder has more messages than the {self.read} read")
        if self.closed:
            what = "message is" if self.closed == 1 else "messages are"
            terminal.complain("note", f"{self.closed} {what} encrypted, and no key is given")
            terminal.hint("--identity FILE opens them")
        elif not self.taken:
            terminal.complain("note", f"nobody was taken from what was read: {self.read} messages")
        more = {"read": self.read, "more": self.more, "skipped": self.skipped}
        _print_entries("harvested", list(self.taken.values()), more)


# --- what all of them do --------------------------------------------------------------------------


@contextmanager
def address_book(named: str | None, *, create: bool = False) -> Iterator[Any]:
    """The address book; None where the user's own is not there yet, unless it is made."""
    from ..pki.contacts import Contacts
    from .keys import contacts_path

    path = named or contacts_file() if create else contacts_path(named)
    if path is None:
        raise UsageError(
            "nobody knows where the user's address book is", hint="name one: --contacts FILE"
        )
    if not os.path.exists(path):  # noqa: PTH110 - Path raises for a long name
        if not create:
            yield None
            return
        if named is None:
            try:
                Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(
                    f"the folder of {path} cannot be made: {error.strerror}",
                    hint="name an address book: --contacts FILE",
                ) from error
    with Contacts(path) as book:
        yield book


def _trust_store(paths: Sequence[str]) -> TrustStore | None:
    from .keys import trust_store

    return trust_store(paths)


def _entry_json(one: KnownCertificate) -> dict[str, Any]:
    from ..smime.report import certificate_json, time_text

    return {
        "email": one.email,
        **certificate_json(one.certificate),
        "not_before": time_text(one.certificate.not_before),
        "not_after": time_text(one.certificate.not_after),
        "believed": one.believed,
        "origin": one.origin,
        "first_seen": time_text(one.first_seen),
        "last_seen": time_text(one.last_seen),
        "revoked": time_text(one.revoked),
    }


def _row(one: KnownCertificate, *, believed: bool | None = None) -> tuple[str, ...]:
    """A line of the book; `believed` where more is known now than when it was added."""
    from ..smime.report import time_text

    until = time_text(one.certificate.not_after) or ""
    is_believed = one.believed if believed is None else believed
    word = "revoked" if one.revoked else "believed" if is_believed else "not believed"
    return one.email, until, word, one.origin, one.certificate.sha256


def _print_entries(
    name: str, entries: Sequence[KnownCertificate], more: Mapping[str, Any] | None = None
) -> None:
    if run_of(click.get_current_context()).json:
        files.write_json({name: [_entry_json(one) for one in entries], **(more or {})})
    else:
        files.write_rows([_row(one) for one in entries])


@click.group(
    "contacts",
    invoke_without_command=True,  # click would print its help as an error
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.pass_context
def contacts(ctx: click.Context) -> None:
    """An address book of certificates, and of what their owners can read."""
    if ctx.invoked_subcommand is None:
        raise UsageError(
            f"contacts is followed by one of {', '.join(contacts.commands)}",
            hint="smime-graph contacts --help shows what each does",
        )


for _command in (add, list_contacts, find, forget, harvest):
    contacts.add_command(_command)

COMMANDS = {"contacts": contacts}
