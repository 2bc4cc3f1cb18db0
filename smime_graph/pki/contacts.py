"""Contacts: whose certificates are known, what their owners can read, and which one is used.

A book is a file of SQLite. Addresses are compared as everywhere (`address.mailbox`: domains as
A-labels, an ASCII local part without regard to case). Nothing is verified here: `smime.harvest`
takes from mail what its signature vouches for.

Several processes may use a book at once: each change is one `BEGIN IMMEDIATE` transaction, and
whoever comes second waits. The rollback journal is kept (no WAL), because turning WAL on is the one
step for which SQLite does not wait when two processes make a new file at the same moment.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from os import PathLike
from typing import Any

from ..arguments import checked, file_name
from ..asn1 import ber
from ..database import Database
from ..errors import Hint, MalformedMessage, PolicyRefusal, UsageError
from ..policy import Policy
from ..text import printable
from ..x509.certificate import Certificate
from .address import Mailbox, addresses, mailbox
from .identity import Contact, allows_encryption, is_authority, read_capabilities
from .path import PathReport, SignatureChecks
from .revocation import Revocation, with_revocation
from .trust import TrustStore
from .usage import MINIMUM_RSA_BITS
from .validate import validate

_APPLICATION = 0x534D4743  # "SMGC": marks the file as one of ours
_LARGEST_ANNOUNCEMENT = 16 * 1024  # octets; a long one has 500
_MOST_ISSUERS = 200  # authorities that stand between people and roots, the latest seen
_MOST_CANDIDATES = 200  # of one address, the latest seen; a person has a few
# Clocks differ; what claims to be from later is not believed (RFC 8551 2.7.1)
_CLOCK_SKEW = timedelta(hours=1)

_OF_REVOCATION = tuple(
    f"pki.revocation.{one}" for one in ("revoked", "unknown", "stale", "invalid", "not-fetched")
)

# Step n makes a book of version n one of version n + 1. Books are out there: never change a step.
_STEPS: tuple[str, ...] = (
    """
    CREATE TABLE certificates (
        sha256 BLOB PRIMARY KEY, der BLOB NOT NULL, believed INTEGER NOT NULL, origin TEXT NOT NULL,
        first_seen REAL NOT NULL, last_seen REAL NOT NULL);
    CREATE TABLE addresses (
        local TEXT NOT NULL, domain TEXT NOT NULL, address TEXT NOT NULL,
        sha256 BLOB NOT NULL REFERENCES certificates ON DELETE CASCADE,
        PRIMARY KEY (local, domain, sha256));
    CREATE INDEX addresses_certificate ON addresses (sha256);
    CREATE TABLE capabilities (
        local TEXT NOT NULL, domain TEXT NOT NULL, octets BLOB NOT NULL, signer BLOB NOT NULL,
        signed_at REAL, seen REAL NOT NULL, PRIMARY KEY (local, domain));
    CREATE TABLE preferences (
        local TEXT NOT NULL, domain TEXT NOT NULL, sha256 BLOB NOT NULL, signer BLOB NOT NULL,
        signed_at REAL, seen REAL NOT NULL, PRIMARY KEY (local, domain))
    """,
    """
    CREATE TABLE issuers (sha256 BLOB PRIMARY KEY, der BLOB NOT NULL, last_seen REAL NOT NULL)
    """,
    """
    CREATE TABLE revoked (
        sha256 BLOB PRIMARY KEY REFERENCES certificates ON DELETE CASCADE, seen REAL NOT NULL)
    """,
)

_KNOWN = (
    "address, der, origin, believed, first_seen, last_seen,"
    " (SELECT seen FROM revoked WHERE revoked.sha256 = certificates.sha256)"
    " FROM addresses JOIN certificates"
)


@dataclass(frozen=True, slots=True)
class KnownCertificate:
    """A certificate of an address, and how it came into the book.

    `believed`: its owner was vouched for, by roots that it validated under or by the user.
    `revoked` is when it was found to be revoked, None where it was not.
    """

    email: str
    certificate: Certificate
    origin: str
    believed: bool
    first_seen: datetime
    last_seen: datetime
    revoked: datetime | None = None


@dataclass(frozen=True, slots=True)
class Announcement:
    """What somebody said, under a signature, that they can read.

    `capabilities` are SMIMECapability elements in DER. `signed_at` is the time that the signer
    claims, None where he claims none; `signer` the SHA-256 of his certificate, in hexadecimal.
    """

    capabilities: tuple[bytes, ...]
    signed_at: datetime | None
    seen: datetime
    signer: str


@dataclass(frozen=True, slots=True)
class DroppedCertificate:
    """A certificate of the address that is not used. `code` is that of a finding, or one of
    "not-believed", "not-preferred", "older".
    """

    certificate: Certificate
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class ContactChoice:
    """The certificate to encrypt to for an address, and why no other one is it.

    `contact` is None where none is fit; `known` says where its certificate came from, and
    `announced` what its owner can read, None where they never said so. `believed`: the certificate
    validates under the roots given, or was believed when it came into the book. `issuers` are those
    on its path where it validates: not believed, only to build it with.
    """

    email: str
    contact: Contact | None
    known: KnownCertificate | None
    announced: Announcement | None
    believed: bool
    dropped: tuple[DroppedCertificate, ...]
    issuers: tuple[Certificate, ...] = ()


class Contacts(Database):
    """An address book of certificates, in a file; closed by `close` or by `with`.

    The file is made where it is not there, for its owner alone to read; ":memory:" is none. Any
    thread and several processes may use one book. Raises UsageError where the file cannot be used,
    is no address book (then it is left as it is), or was written by a newer version.
    """

    @checked
    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(path, what="address book", application=_APPLICATION, steps=_STEPS)

    def __repr__(self) -> str:
        return f"Contacts({self._name!r})"

    def __enter__(self) -> Contacts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what comes in ----------------------------------------------------------------------------

    @checked
    def add(
        self,
        certificates: Sequence[Certificate],
        *,
        origin: str = "",
        believed: bool = False,
        emails: Sequence[str] | None = None,
        at: datetime | None = None,
    ) -> tuple[KnownCertificate, ...]:
        """Put the certificates of people into the book, under the addresses that they bind.

        `certificates` is a list of Certificate. Those of authorities are kept to build paths with,
        and those that bind no address are passed over. `emails` narrows the addresses to these:
        only what a certificate binds is ever entered. `believed`: you vouch for them; what is
        believed stays so. `origin` says in a few words where they come from, `at` is when they were
        seen, a datetime (now).

        What was entered, each a KnownCertificate; raises UsageError where that is nothing.
        """
        moment = _moment(at)
        wanted = None if emails is None else {mailbox(one) for one in emails}
        entered: list[tuple[Mailbox, str, Certificate]] = []
        issuers: list[Certificate] = []
        for one in dict.fromkeys(certificates):
            if is_authority(one):
                issuers.append(one)
                continue
            for email in addresses(one):
                key = mailbox(email)
                if key is not None and (wanted is None or key in wanted):
                    entered.append((key, email, one))
        if not entered:
            raise UsageError(
                "no certificate of a person with a mail address is there",
                hint="give one that names the address of its owner",
            )
        seen = moment.timestamp()
        with self._changing():
            self._keep_issuers(issuers[:_MOST_ISSUERS], seen)
            for one in dict.fromkeys(certificate for _, _, certificate in entered):
                self._db.execute(
                    "INSERT INTO certificates VALUES (:digest, :der, :believed, :origin, :seen,"
                    " :seen) ON CONFLICT DO UPDATE SET believed = max(believed, excluded.believed),"
                    " last_seen = max(last_seen, excluded.last_seen),"
                    " origin = iif(excluded.believed > believed, excluded.origin, origin)",
                    {
                        "digest": _digest(one),
                        "der": one.der,
                        "believed": believed,
                        "origin": printable(origin)[:200],
                        "seen": seen,
                    },
                )
            for (local, domain), email, one in entered:
                self._db.execute(
                    "INSERT INTO addresses VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (local, domain, email, _digest(one)),
                )
            rows = [
                self._db.execute(
                    f"SELECT {_KNOWN} USING (sha256) WHERE local = ? AND domain = ? AND sha256 = ?",
                    (local, domain, _digest(one)),
                ).fetchone()
                for (local, domain), _, one in entered
            ]
        return tuple(_known(row) for row in rows if row is not None)  # None: of a damaged index

    def _keep_issuers(self, issuers: Sequence[Certificate], seen: float) -> None:
        self._db.executemany(
            "INSERT INTO issuers VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
            " last_seen = max(last_seen, excluded.last_seen)",
            [(_digest(one), one.der, seen) for one in issuers],
        )
        self._db.execute(
            "DELETE FROM issuers WHERE sha256 NOT IN"
            " (SELECT sha256 FROM issuers ORDER BY last_seen DESC LIMIT ?)",
            (_MOST_ISSUERS,),
        )

    @checked
    def announce(
        self,
        email: str,
        *,
        signer: Certificate,
        signed_at: datetime | None,
        capabilities: Sequence[bytes] | None = None,
        preferred: Certificate | None = None,
        at: datetime | None = None,
    ) -> bool:
        """Remember what the owner of an address said under a signature that was verified.

        `capabilities` are SMIMECapability elements in DER, `preferred` is the Certificate to
        encrypt to, `signer` the Certificate that signed, at the datetime `signed_at` as he claims.
        What was signed later replaces what was signed before, never the other way, and what claims
        to be signed more than an hour after `at`, a datetime (now), is not taken (RFC 8551 2.7.1).
        True where anything was.
        """
        moment, key = _moment(at), _key(email)
        if signed_at is not None and signed_at > moment + _CLOCK_SKEW:
            return False
        common = (_digest(signer), None if signed_at is None else signed_at.timestamp())
        taken = False
        octets = None if capabilities is None else ber.sequence(*capabilities)
        with self._changing():
            if octets is not None and len(octets) <= _LARGEST_ANNOUNCEMENT:
                taken |= self._keep("capabilities", "octets", (*key, octets, *common), moment)
            if preferred is not None:
                values = (*key, _digest(preferred), *common)
                taken |= self._keep("preferences", "sha256", values, moment)
        return taken

    def _keep(self, table: str, column: str, values: tuple[Any, ...], moment: datetime) -> bool:
        done = self._db.execute(
            f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"  # noqa: S608 - constants by the caller
            f" {column} = excluded.{column}, signer = excluded.signer,"
            " signed_at = excluded.signed_at, seen = excluded.seen"
            f" WHERE {table}.signed_at IS NULL OR excluded.signed_at > {table}.signed_at",
            (*values, moment.timestamp()),
        )
        return done.rowcount > 0

    @checked
    def revoke(self, certificate: Certificate, *, at: datetime | None = None) -> bool:
        """Remember that a Certificate was found to be revoked, at `at`, a datetime (now): `find`
        drops it until evidence says otherwise. False where it is not in the book.
        """
        with self._changing():
            return self._remember(certificate, _moment(at))

    def _remember(self, certificate: Certificate, revoked: datetime | None) -> bool:
        name = _digest(certificate)
        self._db.execute("DELETE FROM revoked WHERE sha256 = ?", (name,))
        if revoked is None:
            return False
        done = self._db.execute(
            "INSERT INTO revoked SELECT sha256, ? FROM certificates WHERE sha256 = ?",
            (revoked.timestamp(), name),
        )
        return done.rowcount > 0

    @checked
    def forget(self, email: str) -> int:
        """Take an address out of the book, with what its owner said; how many certificates it had.

        A certificate that another address has as well stays there.
        """
        key = _key(email)
        with self._changing():
            gone = self._db.execute("DELETE FROM addresses WHERE local = ? AND domain = ?", key)
            for table in ("capabilities", "preferences"):
                self._db.execute(
                    f"DELETE FROM {table} WHERE local = ? AND domain = ?",  # noqa: S608 - the two names above
                    key,
                )
            self._db.execute(
                "DELETE FROM certificates WHERE sha256 NOT IN (SELECT sha256 FROM addresses)"
            )
        return gone.rowcount

    # --- what is known ----------------------------------------------------------------------------

    def entries(self) -> tuple[KnownCertificate, ...]:
        """Every certificate of every address, in the order of the addresses."""
        with self._reading():
            rows = self._db.execute(
                f"SELECT {_KNOWN} USING (sha256) ORDER BY domain, local, first_seen, sha256"
            ).fetchall()
        return tuple(_known(row) for row in rows)

    @checked
    def certificates(self, email: str) -> tuple[KnownCertificate, ...]:
        """The certificates of an address, the latest seen first; no more than 200."""
        with self._reading():
            rows = self._db.execute(
                f"SELECT {_KNOWN} USING (sha256)"
                f" WHERE local = ? AND domain = ? ORDER BY last_seen DESC LIMIT {_MOST_CANDIDATES}",
                _key(email),
            ).fetchall()
        return tuple(_known(row) for row in rows)

    def issuers(self) -> tuple[Certificate, ...]:
        """Certificates of authorities that came along: not believed, only to build paths with."""
        with self._reading():
            rows = self._db.execute("SELECT der FROM issuers ORDER BY last_seen DESC").fetchall()
        return tuple(_certificate(der, "an authority") for (der,) in rows)

    @checked
    def announcement(self, email: str) -> Announcement | None:
        """What the owner of an address can read; None where they never said so."""
        with self._reading():
            row = self._db.execute(
                "SELECT octets, signed_at, seen, signer FROM capabilities"
                " WHERE local = ? AND domain = ?",
                _key(email),
            ).fetchone()
        if row is None:
            return None
        octets, signed_at, seen, signer = row
        try:
            elements = read_capabilities(bytes(octets))
        except (MalformedMessage, TypeError):
            return None
        signed = None if signed_at is None else _time(signed_at)
        return Announcement(elements, signed, _time(seen), bytes(signer).hex())

    @checked
    def find(
        self,
        email: str,
        *,
        at: datetime | None = None,
        trust: TrustStore | None = None,
        certificates: Sequence[Certificate] = (),
        revocation: Revocation | None = None,
        minimum_rsa_bits: int = MINIMUM_RSA_BITS,
        accept_any_purpose: bool = True,
    ) -> ContactChoice:
        """The certificate to encrypt to for an address: a ContactChoice, which says why.

        Dropped is what is expired, not yet valid, not for encryption or too weak at `at`, a
        datetime (now), and with `trust`, a TrustStore, what does not validate; `certificates`, each
        a Certificate, may stand in between, and `revocation`, a Revocation, tells what is revoked.
        What was found to be revoked is remembered, and dropped until evidence says otherwise. Of
        what is left comes first what is believed, then what its owner prefers (RFC 8551
        2.5.3.1), then the newest. The last two are those of a policy.
        """
        moment = _moment(at)
        with self._lock:
            held = self.certificates(email)
            announced = self.announcement(email)
            preferred, said_at = self._preferred(email)
        if trust is not None:
            certificates = (*certificates, *self.issuers())
        checks = SignatureChecks()
        fit: list[KnownCertificate] = []
        chains: dict[Certificate, tuple[Certificate, ...]] = {}
        dropped: list[DroppedCertificate] = []
        for one in held:
            report = validate(
                one.certificate,
                use="encrypt",
                trust=trust,
                certificates=certificates,
                at=moment,
                minimum_rsa_bits=minimum_rsa_bits,
                accept_any_purpose=accept_any_purpose,
                checks=checks,
            )
            if report.ok and trust is not None and revocation is not None:
                report = with_revocation(report, revocation, at=moment, certificates=certificates)
                told = {item.code for item in report.findings if item.code in _OF_REVOCATION}
                if one.revoked is None and "pki.revocation.revoked" in told:
                    self._note(one.certificate, moment)
                elif one.revoked is not None and not told and revocation.mode != "none":
                    # it was on hold (RFC 5280 5.3.1)
                    self._note(one.certificate, None)
                    one = replace(one, revoked=None)
            if report.ok and one.revoked is not None:
                text = f"was found to be revoked on {one.revoked:%Y-%m-%d}"
                dropped.append(DroppedCertificate(one.certificate, "pki.revocation.revoked", text))
            elif report.ok:
                fit.append(one)
                chains[one.certificate] = report.chain[1:]
            else:
                dropped.append(_against(one.certificate, report))
        if not fit:
            return ContactChoice(email, None, None, announced, False, tuple(dropped))

        def rank(one: KnownCertificate) -> tuple[Any, ...]:
            certificate = one.certificate
            return (
                trust is not None or one.believed,
                _digest(certificate) == preferred,
                certificate.not_before,
                certificate.not_after,
                certificate.der,
            )

        fit.sort(key=rank, reverse=True)
        best = fit[0]
        dropped += [_behind(one, best, trust is not None, preferred, said_at) for one in fit[1:]]
        contact = Contact(
            best.certificate,
            capabilities=None if announced is None else announced.capabilities,
            email=best.email,
        )
        believed = trust is not None or best.believed
        return ContactChoice(
            email,
            contact,
            best,
            announced,
            believed,
            tuple(dropped),
            chains[best.certificate],
        )

    def _note(self, certificate: Certificate, revoked: datetime | None) -> None:
        """As `_remember`; in a book that cannot be written it is found again."""
        try:
            with self._changing():
                self._remember(certificate, revoked)
        except UsageError:
            return

    def _preferred(self, email: str) -> tuple[bytes | None, datetime | None]:
        with self._reading():
            row = self._db.execute(
                "SELECT sha256, signed_at FROM preferences WHERE local = ? AND domain = ?",
                _key(email),
            ).fetchone()
        if row is None:
            return None, None
        return bytes(row[0]), None if row[1] is None else _time(row[1])

    @checked
    def expiring(
        self, within: timedelta, *, at: datetime | None = None
    ) -> tuple[KnownCertificate, ...]:
        """For each address that cannot be encrypted to any more after `at` (a datetime, now) and
        `within`, a timedelta: the certificate that lasts longest, also where that is over already.

        An address whose certificate was renewed is not among them.
        """
        end = _moment(at) + within
        latest: dict[Mailbox | None, KnownCertificate] = {}
        for one in self.entries():
            if not _is_for_encryption(one.certificate):
                continue
            key = mailbox(one.email)
            known = latest.get(key)
            if known is None or one.certificate.not_after > known.certificate.not_after:
                latest[key] = one
        return tuple(one for one in latest.values() if one.certificate.not_after < end)


@checked
def look_up(
    email: str,
    book: str | PathLike[str] | None,
    *,
    policy: Policy,
    at: datetime | None = None,
    trust: TrustStore | None = None,
) -> ContactChoice:
    """As `Contacts.find`, in the book of a file that need not be there; the choice has a contact.

    UsageError where nothing is known of the address (None is no book at all), PolicyRefusal where
    no certificate of it can be used, which says why.
    """
    where = "in no address book" if book is None else f"in {file_name(book)}"
    hint = Hint("add their certificate to the address book, or give it as a file", "contacts")
    dropped: tuple[DroppedCertificate, ...] = ()
    if book is not None and os.path.exists(book):  # noqa: PTH110 - Path raises for a long name
        with Contacts(book) as opened:
            choice = opened.find(
                email,
                at=at,
                trust=trust,
                minimum_rsa_bits=policy.minimum_rsa_bits,
                accept_any_purpose=policy.accept_any_purpose,
            )
        if choice.contact is not None:
            return choice
        dropped = choice.dropped
    if not dropped:
        raise UsageError(f"no certificate of {email} is known: none {where}", hint=hint)
    why = "; ".join(f"{one.certificate.description}: {one.text}" for one in dropped[:_MOST_TOLD])
    raise PolicyRefusal(
        printable(f"no certificate of {email} {where} can be used: {why}"),
        rule=dropped[0].code,
        policy=policy.name,
        hint=hint,
    )


_MOST_TOLD = 5  # certificates of which an error says why they are not used


def _is_for_encryption(certificate: Certificate) -> bool:
    try:
        return allows_encryption(certificate) and certificate.not_after is not None
    except MalformedMessage:
        return False


def _against(certificate: Certificate, report: PathReport) -> DroppedCertificate:
    first = report.errors[0]
    texts = dict.fromkeys(finding.text for finding in report.errors[:3])
    return DroppedCertificate(certificate, first.code, "; ".join(texts))


def _behind(
    one: KnownCertificate,
    best: KnownCertificate,
    is_judged: bool,
    preferred: bytes | None,
    said_at: datetime | None,
) -> DroppedCertificate:
    """Why a certificate that is fit is not the one."""
    certificate = one.certificate
    if best.believed and not (one.believed or is_judged):
        text = "nobody vouched for it, and for another one somebody did"
        return DroppedCertificate(certificate, "not-believed", text)
    if _digest(best.certificate) == preferred:
        when = "" if said_at is None else f", as signed on {said_at:%Y-%m-%d}"
        text = f"its owner prefers another one{when}"
        return DroppedCertificate(certificate, "not-preferred", text)
    text = f"another one is newer: valid from {best.certificate.not_before:%Y-%m-%d}"
    return DroppedCertificate(certificate, "older", text)


def _digest(certificate: Certificate) -> bytes:
    return bytes.fromhex(certificate.sha256)


def _key(email: str) -> Mailbox:
    key = mailbox(email)
    if key is None:
        raise UsageError(
            f"{printable(email)[:100]!r} is no address", hint="wanted one like bob@contoso.com"
        )
    return key


def _moment(at: datetime | None) -> datetime:
    return datetime.now(UTC) if at is None else at.astimezone(UTC)


def _time(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError, TypeError):
        raise UsageError("the address book is damaged: a time in it is none") from None


def _known(row: tuple[Any, ...]) -> KnownCertificate:
    email, der, origin, believed, first_seen, last_seen, revoked = row
    certificate = _certificate(der, str(email))
    first, last = _time(first_seen), _time(last_seen)
    found = None if revoked is None else _time(revoked)
    return KnownCertificate(
        str(email), certificate, str(origin), bool(believed), first, last, found
    )


def _certificate(der: Any, whose: str) -> Certificate:
    try:
        return Certificate(bytes(der))
    except (MalformedMessage, TypeError):
        raise UsageError(
            f"the address book is damaged: what it has for {printable(whose)[:100]} is no"
            " certificate",
            hint="forget the address, and add its certificate again",
        ) from None
