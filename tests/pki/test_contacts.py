"""An address book of certificates: what it holds, which one it gives, and what it withstands."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smime_graph import (
    EXCHANGE,
    Certificate,
    Contacts,
    PolicyRefusal,
    Revocation,
    UsageError,
    oids,
)
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA
from smime_graph.pki import contacts as module
from smime_graph.pki.contacts import ContactChoice, look_up

BOB = "bob@contoso.com"
CBC = ber.sequence(ber.oid(oids.AES256_CBC))
GCM = ber.sequence(ber.oid(oids.AES256_GCM))


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Contacts]:
    with Contacts(tmp_path / "book") as opened:
        yield opened


def certificate(
    ca: CA, now: datetime, *emails: str, days: int = 0, **options: object
) -> Certificate:
    at = now + timedelta(days=days)
    options = {"key": "p256", **options}
    return ca.issue(*(emails or (BOB,)), at=at, **options).certificate  # type: ignore[arg-type]


def revoking(ca: CA, now: datetime, certificate: Certificate) -> bytes:
    entry = (
        x509.RevokedCertificateBuilder()
        .serial_number(certificate.serial_number)
        .revocation_date(now - timedelta(hours=2))
        .build()
    )
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.x509.subject)
        .last_update(now - timedelta(hours=1))
        .next_update(now + timedelta(days=1))
        .add_revoked_certificate(entry)
        .sign(ca.private_key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.DER)


def codes_of(choice: ContactChoice) -> list[str]:
    return [one.code for one in choice.dropped]


# --- the file -------------------------------------------------------------------------------------


def test_a_new_book_is_its_owners_alone_and_keeps_what_it_is_given(
    tmp_path: Path, ca: CA, now: datetime
) -> None:
    path = tmp_path / "book"
    bob = certificate(ca, now)
    with Contacts(path) as book:
        (entered,) = book.add([bob], origin="file bob.pem", believed=True, at=now)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Contacts(path) as book:
        assert book.entries() == (entered,)
    assert (entered.email, entered.certificate) == (BOB, bob)
    assert (entered.origin, entered.believed) == ("file bob.pem", True)
    assert entered.first_seen == entered.last_seen == now


@pytest.mark.parametrize("content", [b"no database", b"-----BEGIN CERTIFICATE-----\n" * 100, b"\0"])
def test_a_file_that_is_no_database_is_refused_and_untouched(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "book"
    path.write_bytes(content)
    path.chmod(0o640)
    with pytest.raises(UsageError, match="is no address book"):
        Contacts(path)
    assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["book"]


def test_a_database_of_something_else_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "book"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE things (one)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="something else"):
        Contacts(path)
    assert path.read_bytes() == before


def test_a_book_of_a_newer_version_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "book"
    Contacts(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="version 99"):
        Contacts(path)
    assert path.read_bytes() == before


def test_an_older_book_is_brought_up_step_by_step(
    tmp_path: Path, ca: CA, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "book"
    with Contacts(path) as book:
        book.add([certificate(ca, now)], at=now)
        before = book.entries()
    more = ("CREATE TABLE second (one); INSERT INTO second VALUES (2)", "DROP TABLE second")
    monkeypatch.setattr(module, "_STEPS", (*module._STEPS, *more[:1]))
    with Contacts(path) as book:
        assert book.entries() == before
        assert book._db.execute("SELECT one FROM second").fetchall() == [(2,)]
    monkeypatch.setattr(module, "_STEPS", (*module._STEPS, more[1]))
    with Contacts(path) as book:
        assert book.entries() == before
        assert book._version() == len(module._STEPS)


def test_a_step_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "book"
    Contacts(path).close()
    before = path.read_bytes()
    monkeypatch.setattr(
        module, "_STEPS", (*module._STEPS, "CREATE TABLE second (one); no statement")
    )
    with pytest.raises(UsageError):
        Contacts(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["", "missing/book", "."])
def test_a_place_where_no_file_can_be_is_an_error_of_ours(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        Contacts(tmp_path / name if name != "." else tmp_path)


def test_a_closed_book_says_so(tmp_path: Path) -> None:
    book = Contacts(tmp_path / "book")
    book.close()
    with pytest.raises(UsageError, match="closed"):
        book.entries()


@settings(max_examples=80, deadline=None)
@given(places=st.lists(st.integers(0, 100_000), max_size=40), octet=st.integers(0, 255))
@example(places=[3360], octet=128)  # in the text of the schema
def test_a_damaged_book_gives_a_value_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, ca: CA, now: datetime, places: list[int], octet: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "book"
    with Contacts(path) as book:
        book.add([certificate(ca, now)], at=now)
        book.announce(BOB, signer=certificate(ca, now), signed_at=now, capabilities=[CBC], at=now)
    content = bytearray(path.read_bytes())
    for place in places:
        content[place % len(content)] = octet
    path.write_bytes(content)
    try:
        with Contacts(path) as book:
            book.entries()
            book.find(BOB, at=now, trust=ca.trust)
            book.announcement(BOB)
            book.add([certificate(ca, now)], at=now)
            book.forget(BOB)
    except UsageError:
        pass


def _write(path: Path, certificates: list[bytes], started: object) -> None:
    started.wait()  # type: ignore[attr-defined]
    for one in certificates:
        with Contacts(path) as book:
            book.add([Certificate(one)])


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path, ca: CA, now: datetime) -> None:
    """Three of them, on a book that none has made yet."""
    path = tmp_path / "book"
    context = multiprocessing.get_context("spawn")
    started = context.Barrier(3)
    shares = [
        [certificate(ca, now, f"{who}-{number}@contoso.com").der for number in range(15)]
        for who in ("a", "b", "c")
    ]
    processes = [context.Process(target=_write, args=(path, one, started)) for one in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with Contacts(path) as book:
        assert {one.certificate.der for one in book.entries()} == set().union(*shares)


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        ("Bob@Contoso.COM", "bob@contoso.com"),
        ("bob@xn--bcher-kva.example", "bob@B\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example"),
        ("bob@contoso.com", '"bob"@contoso.com'),
    ],
)
def test_addresses_are_compared_as_everywhere(
    book: Contacts, ca: CA, now: datetime, held: str, asked: str
) -> None:
    bob = certificate(ca, now, held)
    book.add([bob], at=now)
    found = book.find(asked, at=now)
    assert found.contact is not None
    assert found.contact.certificate == bob
    assert book.find("bob@contoso.example", at=now).contact is None
    assert book.forget(asked) == 1
    assert book.entries() == ()


def test_what_is_no_address_is_refused(book: Contacts) -> None:
    for text in ("bob", "", "a@b@c", "bob@contoso.com, carol@contoso.com", "bob@contoso.com\n"):
        with pytest.raises(UsageError, match="no address"):
            book.find(text)


def test_a_certificate_is_entered_for_its_own_addresses_alone(
    book: Contacts, ca: CA, now: datetime
) -> None:
    both = certificate(ca, now, BOB, "robert@contoso.com")
    with pytest.raises(UsageError, match="no certificate of a person"):
        book.add([both], emails=["carol@contoso.com"], at=now)
    assert book.entries() == ()
    book.add([both], emails=[BOB], at=now)
    assert book.find("robert@contoso.com", at=now).contact is None
    book.add([both], at=now)
    assert [one.email for one in book.entries()] == [BOB, "robert@contoso.com"]
    assert book.forget(BOB) == 1
    assert [one.email for one in book.entries()] == ["robert@contoso.com"]


def test_authorities_and_the_nameless_are_not_entered(
    book: Contacts, ca: CA, now: datetime
) -> None:
    with pytest.raises(UsageError, match="no certificate of a person"):
        book.add([ca.certificate], at=now)
    book.add([ca.certificate, certificate(ca, now)], at=now)
    assert [one.email for one in book.entries()] == [BOB]


# --- the choice -----------------------------------------------------------------------------------


def test_each_certificate_that_is_not_used_is_explained(
    book: Contacts, ca: CA, now: datetime
) -> None:
    best = certificate(ca, now, days=-10)
    older = certificate(ca, now, days=-20)
    expired = certificate(ca, now, days=-4000)
    not_yet = certificate(ca, now, days=30)
    only_signs = certificate(ca, now, use="sign")
    book.add([expired, best, not_yet, only_signs, older], at=now)
    found = book.find(BOB, at=now)
    assert found.contact is not None
    assert found.contact.certificate == best
    why = {one.certificate: one for one in found.dropped}
    assert {key: one.code for key, one in why.items()} == {
        expired: "pki.path.expired",
        not_yet: "pki.path.not-yet-valid",
        only_signs: "pki.usage.key-usage",
        older: "older",
    }
    assert all(one.text for one in found.dropped)
    assert f"{best.not_before:%Y-%m-%d}" in why[older].text


def test_what_is_believed_goes_before_what_is_newer(book: Contacts, ca: CA, now: datetime) -> None:
    believed = certificate(ca, now, days=-20)
    stranger = certificate(CA("Somebody", key="p256", at=now), now, days=-1)
    book.add([believed], believed=True, at=now)
    book.add([stranger], at=now)
    found = book.find(BOB, at=now)
    assert found.contact is not None
    assert found.contact.certificate == believed
    assert codes_of(found) == ["not-believed"]
    assert found.believed
    book.add([believed], believed=False, at=now)  # what is believed stays so
    assert book.find(BOB, at=now).believed
    assert not book.find(BOB, at=now - timedelta(days=5000)).contact


def test_with_roots_what_does_not_validate_is_dropped(
    book: Contacts, ca: CA, now: datetime
) -> None:
    stranger = certificate(CA("Somebody", key="p256", at=now), now)
    book.add([stranger], believed=True, at=now)
    assert book.find(BOB, at=now).contact is not None
    found = book.find(BOB, at=now, trust=ca.trust)
    assert found.contact is None
    assert codes_of(found) == ["pki.path.none"]


def test_a_revoked_one_is_dropped_when_that_is_known(book: Contacts, ca: CA, now: datetime) -> None:
    revoked, good = certificate(ca, now, days=-1), certificate(ca, now, days=-2)
    book.add([revoked, good], at=now)
    known = Revocation(crls=(revoking(ca, now, revoked),))
    found = book.find(BOB, at=now, trust=ca.trust, revocation=known)
    assert found.contact is not None
    assert found.contact.certificate == good
    assert codes_of(found) == ["pki.revocation.revoked"]


def test_that_one_is_revoked_is_remembered(
    book: Contacts, tmp_path: Path, ca: CA, now: datetime
) -> None:
    bob = certificate(ca, now, days=-1)
    book.add([bob], believed=True, at=now)
    known = Revocation(crls=(revoking(ca, now, bob),))
    # what nobody was asked, or without roots, is not found
    assert book.find(BOB, at=now, revocation=known).contact is not None
    assert book.find(BOB, at=now, trust=ca.trust).contact is not None
    assert book.find(BOB, at=now, trust=ca.trust, revocation=known).contact is None
    for trust in (None, ca.trust):
        found = book.find(BOB, at=now + timedelta(hours=1), trust=trust)
        assert found.contact is None
        assert codes_of(found) == ["pki.revocation.revoked"]
        assert f"{now:%Y-%m-%d}" in found.dropped[0].text
    [entry] = book.entries()
    assert entry.revoked == now
    with Contacts(tmp_path / "book") as again:  # also by whoever opens the file next
        assert again.find(BOB, at=now).contact is None
    with pytest.raises(PolicyRefusal, match="was found to be revoked"):
        look_up(BOB, tmp_path / "book", policy=EXCHANGE, at=now)
    # it is not believed because it came once more, but it is another thing once it was forgotten
    book.add([bob], believed=True, at=now)
    assert book.find(BOB, at=now).contact is None
    assert book.forget(BOB) == 1
    book.add([bob], believed=True, at=now)
    assert book.find(BOB, at=now).contact is not None


def test_one_that_is_on_hold_no_longer_is_used_again(book: Contacts, ca: CA, now: datetime) -> None:
    """RFC 5280 5.3.1: certificateHold ends with a list on which it does not stand."""
    bob, other = certificate(ca, now, days=-1), certificate(ca, now, days=-900)
    book.add([bob], at=now)
    hold = Revocation(crls=(revoking(ca, now, bob),))
    assert book.find(BOB, at=now, trust=ca.trust, revocation=hold).contact is None
    # who knows nothing, or nothing certain, does not end it
    for nothing in (Revocation(mode="soft"), Revocation(mode="hard"), Revocation(mode="none")):
        assert book.find(BOB, at=now, trust=ca.trust, revocation=nothing).contact is None
    assert book.find(BOB, at=now, trust=ca.trust).contact is None
    ended = Revocation(crls=(revoking(ca, now, other),))
    assert book.find(BOB, at=now, trust=ca.trust, revocation=ended).contact is not None
    assert book.find(BOB, at=now).contact is not None


def test_a_book_that_cannot_be_written_is_asked_all_the_same(
    book: Contacts, ca: CA, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = certificate(ca, now, days=-1)
    book.add([bob], at=now)
    known = Revocation(crls=(revoking(ca, now, bob),))
    book._db.execute("PRAGMA query_only = ON")
    for _ in range(2):
        assert book.find(BOB, at=now, trust=ca.trust, revocation=known).contact is None
    assert book.find(BOB, at=now, trust=ca.trust).contact is not None


def test_issuers_that_came_along_build_paths_and_are_not_believed(
    book: Contacts, now: datetime
) -> None:
    root = CA("Root", key="p256", at=now)
    issuing = root.create_intermediate("Issuing", key="p256", at=now)
    bob = certificate(issuing, now)
    book.add([bob], at=now)
    assert book.find(BOB, at=now, trust=root.trust).contact is None
    book.add([bob, issuing.certificate], at=now)
    found = book.find(BOB, at=now, trust=root.trust)
    assert found.contact is not None
    assert issuing.certificate in found.issuers
    assert book.issuers() == (issuing.certificate,)
    other = CA("Other", key="p256", at=now)
    assert book.find(BOB, at=now, trust=other.trust).contact is None
    assert len(book.entries()) == 1


def test_issuers_are_bounded(book: Contacts, now: datetime) -> None:
    root = CA("Root", key="p256", at=now)
    bob = certificate(root, now)
    base, serial = root.certificate.der, root.certificate.serial
    at = base.index(serial) + len(serial) - 4
    many = [Certificate(base[:at] + number.to_bytes(4) + base[at + 4 :]) for number in range(500)]
    for start in (0, 250):
        book.add([bob, *many[start : start + 250]], at=now)
    assert len(book.issuers()) == 200


def test_its_owner_prefers_one_while_it_is_fit(book: Contacts, ca: CA, now: datetime) -> None:
    preferred, newer = certificate(ca, now, days=-20), certificate(ca, now, days=-1)
    book.add([preferred, newer], at=now)
    assert book.announce(BOB, signer=newer, signed_at=now, preferred=preferred, at=now)
    found = book.find(BOB, at=now)
    assert found.contact is not None
    assert found.contact.certificate == preferred
    assert codes_of(found) == ["not-preferred"]
    later = book.find(BOB, at=preferred.not_after + timedelta(days=1))
    assert later.contact is not None
    assert later.contact.certificate == newer
    assert codes_of(later) == ["pki.path.expired"]


def test_nobody_known_is_an_empty_choice(book: Contacts, now: datetime) -> None:
    found = book.find(BOB, at=now)
    assert (found.contact, found.known, found.dropped) == (None, None, ())


def test_a_thousand_certificates_of_one_address_are_bounded(
    book: Contacts, ca: CA, now: datetime
) -> None:
    base = certificate(ca, now).der
    serial = Certificate(base).serial
    at = base.index(serial) + len(serial) - 4
    many = [Certificate(base[:at] + number.to_bytes(4) + base[at + 4 :]) for number in range(1000)]
    book.add(many, at=now)
    assert len(book.entries()) == 1000
    found = book.find(BOB, at=now)
    assert len(found.dropped) + 1 == 200


# --- what was announced ---------------------------------------------------------------------------


def test_what_was_signed_later_counts(book: Contacts, ca: CA, now: datetime) -> None:
    bob = certificate(ca, now)
    book.add([bob], at=now)

    def announce(capability: bytes, days: int | None) -> bool:
        signed = None if days is None else now + timedelta(days=days)
        return book.announce(BOB, signer=bob, signed_at=signed, capabilities=[capability], at=now)

    def known() -> tuple[bytes, ...] | None:
        found = book.find(BOB, at=now)
        assert found.contact is not None
        return found.contact.capabilities

    assert known() is None
    assert announce(GCM, None)
    assert known() == (GCM,)
    assert announce(CBC, -5)
    assert known() == (CBC,)
    assert not announce(GCM, -6)  # an old message that is played again
    assert not announce(GCM, -5)
    assert not announce(GCM, 1)  # RFC 8551 2.7.1: far in the future
    assert not announce(GCM, None)
    assert known() == (CBC,)
    assert announce(GCM, -1)
    assert known() == (GCM,)
    announced = book.announcement(BOB)
    assert announced is not None
    assert announced.signed_at == now - timedelta(days=1)
    assert announced.signer == bob.sha256
    book.forget(BOB)
    assert book.announcement(BOB) is None


def test_an_announcement_without_end_is_not_kept(book: Contacts, ca: CA, now: datetime) -> None:
    bob = certificate(ca, now)
    assert not book.announce(BOB, signer=bob, signed_at=now, capabilities=[CBC] * 5000, at=now)
    assert book.announcement(BOB) is None


# --- renewal and expiry ---------------------------------------------------------------------------


def test_expiring_are_those_that_were_not_renewed(book: Contacts, ca: CA, now: datetime) -> None:
    def until(days: int, email: str, **options: Any) -> Certificate:
        end = now + timedelta(days=days)
        return certificate(ca, now, email, days=-400, not_after=end, **options)

    book.add(
        [
            until(10, "soon@contoso.com"),
            until(10, "renewed@contoso.com"),
            until(300, "renewed@contoso.com"),
            until(-10, "over@contoso.com"),
            until(10, "other-use@contoso.com"),
            until(300, "other-use@contoso.com", use="sign"),
            until(300, "fine@contoso.com"),
        ],
        at=now,
    )
    found = book.expiring(timedelta(days=30), at=now)
    assert sorted(one.email for one in found) == [
        "other-use@contoso.com",
        "over@contoso.com",
        "soon@contoso.com",
    ]
    assert [one.email for one in book.expiring(timedelta(days=5), at=now)] == ["over@contoso.com"]


def test_a_certificate_for_every_purpose_is_used_only_where_the_policy_takes_it(
    book: Contacts, ca: CA, now: datetime
) -> None:
    """Or sealing would refuse the one that was chosen, though another one is fit."""
    older = certificate(ca, now, days=-20)
    newer = certificate(ca, now, days=-10, eku=(oids.ANY_EXTENDED_KEY_USAGE,))
    book.add([older, newer], at=now)
    for accepted, chosen in ((True, newer), (False, older)):
        choice = book.find(BOB, at=now, accept_any_purpose=accepted)
        assert choice.contact is not None
        assert choice.contact.certificate == chosen
    assert codes_of(choice) == ["pki.usage.extended-key-usage"]
