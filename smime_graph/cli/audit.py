"""harness audit: who can be encrypted to, until when, and what is to be done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from ..errors import SmimeGraphError
from . import files, graph_client, options, terminal
from .contacts import Harvest, Span, add_signer, address_book, is_signed
from .context import run_of
from .graph_client import Place
from .options import Reading, option, verb

if TYPE_CHECKING:
    from ..harness.audit import StoreAudit
    from ..pki.contacts import Contacts
    from ..x509.certificate import Certificate


@verb("audit")
@click.argument("store", metavar="[STORE]", required=False)
@option(
    "--expiring",
    type=Span(),
    metavar="SPAN",
    default="30d",
    show_default=True,
    help="What counts as soon: 30d, 4w, 12h.",
)
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
def audit(
    store: str | None,
    expiring: timedelta,
    folder: str,
    top: int,
    outlook_contacts: bool,
    **given: Any,
) -> None:
    """Say of every address in STORE who can be encrypted to, until when, and what is to be done.

    STORE is a folder of certificates (PEM, DER, PKCS#7) and signed messages, or an address book.
    Without one it is a mailbox on Graph: who signed the messages of its folder. With --trust, what
    does not validate is of no use; a mailbox needs it. Status 1 where something is to be done.

    A line has the address, its state (good, expiring or unusable), the end of what can be used, and
    what is to be done; among that is where Outlook would take another certificate, which fails.

    \b
    smime-graph harness audit certificates --trust roots.pem
    """
    from ..harness.audit import audit_contacts
    from .keys import trust_store

    how = Reading.of(given)
    moment = how.at or datetime.now(UTC)
    with _store(store, how, moment) as (book, authorities):
        if store is None:
            with graph_client.client(Place.of(given)) as graph:
                work = Harvest(book, how)
                with terminal.progress("reading"):
                    work.read_folder(graph, folder, top)
                    if outlook_contacts:
                        work.read_contacts(graph)
        trust, known = trust_store(how.keys.trust), how.known_revocation()
        with terminal.progress("judging"):
            found = audit_contacts(
                book,
                at=moment,
                expiring=expiring,
                trust=trust,
                certificates=authorities,
                revocation=known,
            )
    _print(found)
    if found.to_do:
        raise click.exceptions.Exit(1)


@contextmanager
def _store(
    store: str | None, how: Reading, at: datetime
) -> Iterator[tuple[Contacts, Sequence[Certificate]]]:
    """An address book with what the store holds, and the authorities beside it."""
    from ..errors import UsageError
    from ..pki.contacts import Contacts
    from ..pki.keyfiles.read import is_folder

    if store is None and not how.keys.trust:
        raise UsageError(
            "no folder is named, and nobody is believed, so nobody can be taken from mail",
            hint="name the folder; or, for a mailbox, the roots that you believe: --trust FILE",
        )
    if store is not None and not is_folder(store):
        with address_book(store) as book:
            yield book, ()
        return
    with Contacts(":memory:") as book:
        yield book, () if store is None else _read_folder(book, store, how, at)


def _read_folder(book: Contacts, folder: str, how: Reading, at: datetime) -> Sequence[Certificate]:
    """Put everybody of the folder's files into the book; the authorities among them."""
    from ..pki.identity import is_authority, read_certificates
    from ..pki.keyfiles.read import files_of
    from ..smime.harvest import harvest
    from .keys import trust_store

    trust = trust_store(how.keys.trust)
    authorities: dict[Certificate, None] = {}
    for path in files_of(folder):
        origin = f"signed mail {path.name}"
        try:
            data = files.read(str(path), what="certificate or signed message")
            if is_signed(data) and trust is not None:
                harvest(data, contacts=book, trust=trust, at=at, origin=origin)
            elif is_signed(data):
                add_signer(book, str(path), data, True, at, origin)
            else:
                found = read_certificates(data)
                authorities.update(dict.fromkeys(one for one in found if is_authority(one)))
                people = [one for one in found if one not in authorities]
                if people:
                    book.add(people, origin=f"file {path.name}", believed=True, at=at)
        except SmimeGraphError as error:
            terminal.complain("note", f"{path.name} is left out: {error}")
    return tuple(authorities)


def _print(found: StoreAudit) -> None:
    if run_of(click.get_current_context()).json:
        files.write_json(found.to_json())
        return
    rows = [
        (
            one.email,
            one.state,
            "-" if one.until is None else f"{one.until:%Y-%m-%d}",
            "; ".join(one.to_do),
        )
        for one in found.addresses
    ]
    files.write_rows(rows)
    terminal.complain(
        "note", f"{len(found.addresses)} addresses, {len(found.to_do)} with something to do"
    )
