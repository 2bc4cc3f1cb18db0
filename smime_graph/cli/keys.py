"""Key files, certificates and passwords that are named on the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..arguments import file_name
from ..buffers import Data
from ..errors import MalformedMessage, SmimeGraphError, UsageError, VerificationFailed
from ..pki.address import Mailbox, addresses, is_address, mailbox, mailboxes, parse_header_addresses
from ..pki.identity import (
    Contact,
    Identity,
    WrongPassword,
    allows_encryption,
    is_authority,
    load_identities,
    read_certificates,
)
from ..pki.keyfiles.read import files_of, is_folder, read_key_file
from ..pki.pkcs11.uri import TokenUri, is_uri
from ..pki.trust import TrustStore
from ..policy import EXCHANGE, Policy
from ..smime.entity import Entity
from . import files, terminal
from .context import contacts_file

if TYPE_CHECKING:
    from ..cms.recipients.kinds import AnyKey, AnyRecipient
    from ..cms.recipients.shared_secret import Password
    from ..x509.certificate import Certificate

T = TypeVar("T")

_LARGEST_CERTIFICATE_FILE = 1 << 20
_MOST_FILES = 10_000
_MOST_ISSUERS = 100  # of a signed message: a path has 8


class KeyRing:
    """The key files of a verb, opened with the passwords that belong to them.

    Their order, for the passwords, is: the signers, then the identities.
    """

    def __init__(
        self,
        *,
        signers: Sequence[str],
        identities: Sequence[str],
        password_files: Sequence[str],
        recipient_password_files: Sequence[str],
    ) -> None:
        self._signers = signers
        self._identities = identities
        self._password_files = password_files
        self._passwords = recipient_passwords(recipient_password_files)
        self._entered: dict[str, str] = {}
        self._opened: list[Identity] | None = None
        count = len(self._signers) + len(self._identities)
        if len(self._password_files) > 1 and len(self._password_files) != count:
            raise UsageError(
                f"{len(self._password_files)} password files are given for {count} key files",
                hint="give one for each key file, in their order, or one for all",
            )

    def signers(self) -> list[Identity]:
        if self._opened is None:
            self._opened = self._open_signers()
        return self._opened

    def senders(self) -> list[Identity]:
        """Those of the signers' files, and all of a folder's: one of them signs."""
        found: list[Identity] = []
        for number, path in enumerate(self._signers):
            if is_uri(path):
                found.append(self._open_token(path, number))
            else:
                found += self._open(path, number, _load_folder if is_folder(path) else _load_alone)
        return found

    def _open_signers(self) -> list[Identity]:
        return [
            self._open_token(path, number) if is_uri(path) else self._open(path, number, _load_one)
            for number, path in enumerate(self._signers)
        ]

    def identities(self) -> list[AnyKey]:
        """Every key of every file, the encryption keys of people with two among them."""
        found: list[AnyKey] = list(self._passwords)
        for number, path in enumerate(self._identities, len(self._signers)):
            if is_uri(path):
                found.append(self._open_token(path, number))
                continue
            opened = self._open(path, number, _load_all)
            found += [one for identity in opened for one in identity.identities]
        return found

    def certificates(self) -> list[tuple[Certificate, ...]]:
        """The certificates in each key file, and on each token, of the identities."""
        found: list[tuple[Certificate, ...]] = []
        for number, path in enumerate(self._identities, len(self._signers)):
            if is_uri(path):
                identity = self._open_token(path, number)
                found.append((identity.certificate, *identity.chain))
            else:
                found.append(self._open(path, number, _load_certificates))
        return found

    def _open_token(self, uri: str, number: int) -> Identity:
        """The PIN comes from where passwords come from, or from the source that the URI names."""
        from ..pki.pkcs11 import keys as pkcs11  # few have a token

        known = self._known(uri, number)
        pin = known[0] if known else None
        if pin is None and TokenUri.parse(uri).pin() is None:
            pin = _from_keyring(uri) or _from_terminal(uri)
        if pin is not None:
            self._entered[uri] = pin
        return pkcs11.load(uri, pin=pin, pin_in_uri=False)

    def _open(self, path: str, number: int, load: Callable[[str, Sequence[str]], T]) -> T:
        known = self._known(path, number)
        try:
            return load(path, known)
        except WrongPassword:
            if known:
                raise
        for source in (_from_keyring, _from_terminal):
            password = source(path)
            if password is not None:
                opened = load(path, [password])
                self._entered[path] = password
                return opened
        return load(path, ())  # to say once more that it needs one

    def _known(self, path: str, number: int) -> list[str]:
        if path in self._entered:
            return [self._entered[path]]
        if len(self._password_files) == 1:
            return [files.read_secret(self._password_files[0], what="password")]
        if self._password_files:
            return [files.read_secret(self._password_files[number], what="password")]
        password = os.environ.get("SMIME_GRAPH_PASSWORD")
        return [password] if password else []


def _load_certificates(path: str, passwords: Sequence[str]) -> tuple[Certificate, ...]:
    return read_key_file(path, passwords=passwords).certificates


def _load_one(path: str, passwords: Sequence[str]) -> Identity:
    return Identity.load(path, password=next(iter(passwords), None))


def _load_alone(path: str, passwords: Sequence[str]) -> list[Identity]:
    return [_load_one(path, passwords)]


def _load_folder(path: str, passwords: Sequence[str]) -> list[Identity]:
    """Of each file with a key; a folder holds certificates as well."""
    found, closed = [], []
    for file in files_of(path):
        try:
            found.append(_load_one(str(file), passwords))
        except WrongPassword as error:
            closed.append(error)
        except UsageError:
            continue
    if not found:
        raise closed[0] if closed else UsageError(f"{file_name(path)} holds no key to sign with")
    for one in closed:
        _warn_of_closed(one)
    return found


def _load_all(path: str, passwords: Sequence[str]) -> Sequence[Identity]:
    return load_identities(path, passwords=passwords, passed_over=_warn_of_closed)


def _warn_of_closed(error: UsageError) -> None:
    terminal.complain("warning", f"{error}: passed over")
    if error.hint is not None:
        terminal.hint(terminal.hint_of(error, verb=None) or error.hint)


def _from_keyring(path: str) -> str | None:
    """From the desktop's keyring; `program.places` says under which name."""
    try:
        import keyring
    except ImportError:
        return None
    try:
        name = path if is_uri(path) else str(Path(path).resolve())
        password: Any = keyring.get_password("smime-graph", name)
    except Exception:  # noqa: BLE001 - its back ends raise what they like; then it knows nothing
        return None
    return password if isinstance(password, str) and password else None


def _from_terminal(path: str) -> str | None:
    """Ask, if somebody is there to answer; standard input may be the message."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    try:
        os.close(os.open(os.ctermid(), os.O_RDWR))
    except (OSError, AttributeError):
        if sys.stdin is None or not sys.stdin.isatty():
            return None
    import getpass

    try:
        return getpass.getpass(f"password of {terminal.printable(path)}: ") or None
    except EOFError:
        return None


# --- what is believed -----------------------------------------------------------------------------


def trust_store(paths: Sequence[str]) -> TrustStore | None:
    """The store of `--trust`; None where it was not given. `system` is no file (`./system` is)."""
    if "system" not in paths:
        return TrustStore.load(*paths) if paths else None
    store = TrustStore.system()
    count = len(store.anchors)
    terminal.complain("note", f"believing {count} roots of {store.origin}")
    if named := [one for one in paths if one != "system"]:
        own = TrustStore.load(*named).anchors
        store = TrustStore(tuple(dict.fromkeys((*own, *store.anchors))), origin=store.origin)
    return store


def certificates(paths: Sequence[str]) -> list[Certificate]:
    return [one for path in paths for one in read_certificates(path)]


# --- recipients -----------------------------------------------------------------------------------


def recipient_passwords(paths: Sequence[str]) -> list[Password]:
    """Of `--recipient-password-file`: what sender and recipients both know."""
    if not paths:
        return []
    from ..cms.recipients.shared_secret import Password

    return [Password(files.read_secret(path, what="recipients' password")) for path in paths]


class RecipientFinder:
    """Those of `--recipient`: files, addresses, and of a folder those that the message is for."""

    def __init__(
        self,
        recipients: Sequence[str],
        *,
        passwords: Sequence[str],
        contacts: str | None,
        trust: Sequence[str],
    ) -> None:
        self._recipients = recipients
        self._passwords = passwords
        self._contacts = contacts
        self._trust = trust
        self._found: dict[str, Contact] = {}
        self._issuers: list[Certificate] = []

    def trust_store(self) -> TrustStore | None:
        """That of `--trust`, with what came along with those who were found to build paths with."""
        store = trust_store(self._trust)
        if store is None or not self._issuers:
            return store
        return TrustStore(store.anchors, certificates=(*store.certificates, *self._issuers))

    def find(
        self, raw: Data, *, at: datetime | None, policy: Policy | None = None
    ) -> list[AnyRecipient]:
        """For one message, with those who know a password. PolicyRefusal for an address that
        nobody is known by, UsageError for a file that holds nobody.
        """
        found: dict[Certificate, Contact] = {}
        for name in self._recipients:
            if is_folder(name):
                chosen = _from_folder(name, raw, at)
            else:
                if name not in self._found:
                    self._found[name] = self._one(name, at, policy or EXCHANGE)
                chosen = [self._found[name]]
            for contact in chosen:
                found.setdefault(contact.certificate, contact)
        return [*found.values(), *recipient_passwords(self._passwords)]

    def _one(self, name: str, at: datetime | None, policy: Policy) -> Contact:
        trust = trust_store(self._trust)
        if is_address(name):
            return self._from_contacts(name, at, policy, trust)
        data = files.read(name, what="certificate", limit=files.MESSAGE_LIMIT)
        moment = at or datetime.now(UTC)
        contact = _from_signed_message(name, data, moment, policy, trust, self._issuers)
        return contact or Contact.load(name)

    def _from_contacts(
        self, email: str, at: datetime | None, policy: Policy, trust: TrustStore | None
    ) -> Contact:
        from ..pki.contacts import look_up

        book = contacts_path(self._contacts)
        choice = look_up(email, book, policy=policy, at=at, trust=trust)
        contact = choice.contact
        assert contact is not None  # noqa: S101 - or nothing is returned
        self._issuers += choice.issuers
        if not choice.believed:
            terminal.complain(
                "warning", f"nobody vouched for the certificate of {email} in the contacts"
            )
            terminal.hint("contacts add FILE --trust says that it is hers or his")
        _say_what_is_used(email, contact)
        return contact


def contacts_path(named: str | None) -> str | None:
    """The address book that is meant; UsageError where one is named that is not there."""
    if named is not None and not os.path.exists(named):  # noqa: PTH110 - Path raises for a long name
        raise UsageError(
            f"{file_name(named)} is not there: no address book",
            hint="contacts add makes one; without --contacts the user's own is used",
        )
    return named or contacts_file()


def _say_what_is_used(name: str, contact: Contact) -> None:
    if contact.capabilities is None:
        text = f"{name} announced no capabilities: what is encrypted with is the policy's choice"
        terminal.complain("note", text)


def _from_signed_message(
    path: str,
    data: bytes,
    at: datetime,
    policy: Policy,
    trust: TrustStore | None,
    issuers: list[Certificate],
) -> Contact | None:
    """The one who signed a message, None if this is no signed message; what came along with the
    signature is put to the `issuers`.

    Who holds the key has signed, so the signature is checked, and what was announced under it
    counts; whether the certificate is believed is for `--trust` to say. Where it does, another
    certificate that the signer prefers may be the one.
    """
    from ..smime.examine import examine
    from ..smime.harvest import capabilities_of, signer_contact

    try:
        report = examine(data, trust=trust or TrustStore(()), policy=policy, at=at)
    except SmimeGraphError:
        return None
    if not any(layer.type == "signed-data" for layer in report.whole):
        return None
    sent = [one for layer in report.whole for one in layer.certificates if is_authority(one)]
    issuers += sent[:_MOST_ISSUERS]
    contact: Contact | None = None
    if report.accepted and trust is not None:
        try:
            contact = signer_contact(report, trust=trust, policy=policy, at=at)
        except VerificationFailed:
            contact = None  # no certificate in it is for encryption, as is said below
    sound = {s.certificate: s for s in report.signers if s.intact and s.valid and s.certificate}
    fit = [one for one in sound if allows_encryption(one)]
    if contact is None and len(fit) == 1:
        contact = Contact(fit[0], capabilities=capabilities_of(sound[fit[0]], at))
    if contact is not None:
        _say_what_is_used(path, contact)
        return contact
    if not sound:
        why = "no signature of it is valid"
    elif not fit:
        why = "its signer's certificate is not for encryption"
    else:
        why = f"it has {len(fit)} signers"
    raise UsageError(
        f"{path}: no certificate is taken from this signed message: {why}",
        hint="give the certificate itself, in PEM or DER",
    )


def _from_folder(path: str, raw: Data, at: datetime | None) -> list[Contact]:
    """For each address of the message the certificate in the folder that is good for longest."""
    now = at or datetime.now(UTC)
    held: dict[Mailbox, list[Certificate]] = {}
    for name in files_of(path)[:_MOST_FILES]:
        for one in _certificates_in(name):
            for whose in mailboxes(addresses(one)) if _is_usable(one, now) else ():
                held.setdefault(whose, []).append(one)
    fit = [
        held[w] for one in message_addresses(raw) if (w := mailbox(one)) is not None and w in held
    ]
    return [Contact(max(one, key=lambda certificate: certificate.not_after)) for one in fit]


def _certificates_in(path: Path) -> Iterable[Certificate]:
    try:
        if path.stat().st_size > _LARGEST_CERTIFICATE_FILE:
            return ()
        return read_certificates(path)
    except (OSError, UsageError):
        return ()  # a folder may hold other things; who is without a certificate is told by name


def _is_usable(certificate: Certificate, now: datetime) -> bool:
    try:
        return (
            allows_encryption(certificate)
            and certificate.not_before <= now <= certificate.not_after
        )
    except MalformedMessage:
        return False


def message_addresses(raw: Data) -> list[str]:
    """Every address of To, Cc and Bcc, once. MalformedMessage if one cannot be read."""
    entity = Entity(raw)
    found: list[str] = []
    for name in ("To", "Cc", "Bcc"):
        for field in entity.all(name):
            found += parse_header_addresses(field.value)
    return list(dict.fromkeys(found))
