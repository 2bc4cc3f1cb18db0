"""Several certificates of one address: which is used, which Outlook would take, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from smime_graph import (
    CA,
    AddressAudit,
    Contacts,
    Identity,
    NoMatchingIdentity,
    OutlookChoice,
    Revocation,
    UsageError,
    audit_contacts,
    decrypt,
    inspect,
    seal,
    sign,
    unseal,
)
from smime_graph.authority.family import family
from smime_graph.authority.pool import pool_key
from smime_graph.authority.recipes import Leaf
from smime_graph.authority.variants import Variant
from smime_graph.smime.harvest import harvest
from tests.conftest import NOW

DAY = timedelta(days=1)
BOB = "bob@contoso.com"
MAIL = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: x\r\n\r\nthe figures\r\n"


def issue(ca: CA, *, starts: int = -30, lasts: int = 365, email: str = BOB, **how: Any) -> Identity:
    begin = NOW + starts * DAY
    how = {"key": "p256", **how}
    return ca.issue(email, not_before=begin, not_after=begin + lasts * DAY, **how)


@pytest.fixture
def book() -> Iterator[Contacts]:
    with Contacts(":memory:") as made:
        yield made


def outlook(found: AddressAudit) -> OutlookChoice:
    assert found.outlook is not None
    return found.outlook


def audited(book: Contacts, **given: Any) -> AddressAudit:
    (found,) = audit_contacts(book, at=NOW, **given).addresses
    return found


# --- which one is used ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def old(ca: CA) -> Identity:
    """Expired yesterday."""
    return issue(ca, starts=-366)


@pytest.fixture(scope="module")
def present(ca: CA) -> Identity:
    return issue(ca, starts=-200)


@pytest.fixture(scope="module")
def renewed(ca: CA) -> Identity:
    """The newest that is valid."""
    return issue(ca, starts=-1, key="rsa-2048")


@pytest.fixture(scope="module")
def coming(ca: CA) -> Identity:
    return issue(ca, starts=5)


@pytest.fixture(scope="module")
def signs(ca: CA) -> Identity:
    return issue(ca, starts=0, use="sign")


@pytest.fixture(scope="module")
def encrypts(ca: CA) -> Identity:
    return issue(ca, starts=-3, use="encrypt")


NAMES = ("old", "present", "renewed", "coming", "signs", "encrypts")


@pytest.mark.parametrize(
    ("held", "used", "why"),
    [
        ("old present", "present", {"old": "pki.path.expired"}),
        ("present renewed", "renewed", {"present": "older"}),
        ("present coming", "present", {"coming": "pki.path.not-yet-valid"}),
        ("present signs", "present", {"signs": "pki.usage.key-usage"}),
        ("signs encrypts", "encrypts", {"signs": "pki.usage.key-usage"}),
        ("present encrypts", "encrypts", {"present": "older"}),
        ("old signs", None, {"old": "pki.path.expired", "signs": "pki.usage.key-usage"}),
        (
            "old present renewed coming signs encrypts",
            "renewed",
            {
                "old": "pki.path.expired",
                "present": "older",
                "coming": "pki.path.not-yet-valid",
                "signs": "pki.usage.key-usage",
                "encrypts": "older",
            },
        ),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_of_several_certificates_one_is_used_and_each_other_has_a_reason(
    request: pytest.FixtureRequest,
    book: Contacts,
    ca: CA,
    held: str,
    used: str | None,
    why: dict[str, str],
    reverse: bool,
) -> None:
    """In whatever order they came into the store."""
    known = {name: request.getfixturevalue(name).certificate for name in NAMES}
    for name in sorted(held.split(), reverse=reverse):
        book.add([known[name]], believed=True, at=NOW)
    for trust in (None, ca.trust):
        found = audited(book, trust=trust)
        choice = found.choice
        chosen = None if choice.contact is None else choice.contact.certificate
        assert chosen == (None if used is None else known[used])
        assert {one.certificate: one.code for one in choice.dropped} == {
            known[name]: code for name, code in why.items()
        }
        assert found.state == ("unusable" if used is None else "good")


def test_one_that_was_revoked_is_not_used(book: Contacts) -> None:
    leaf = Leaf(addresses=(BOB,), starts=-200 * DAY)
    new = Leaf(addresses=(BOB,), starts=-1 * DAY, revoked="keyCompromise", number=40)
    rows = [Variant("kept", "x", "", "-", leaf), Variant("gone", "x", "", "-", new)]
    made = family(when=NOW, variants=rows)
    for name in ("kept", "gone"):
        book.add([made[name].identity.certificate, *made[name].identity.chain], at=NOW)
    known = Revocation(crls=tuple(made.crls.values()))
    before = audited(book, trust=made.trust).choice
    assert before.contact is not None
    assert before.contact.certificate == made["gone"].identity.certificate
    found = audited(book, trust=made.trust, revocation=known)
    assert found.choice.contact is not None
    assert found.choice.contact.certificate == made["kept"].identity.certificate
    assert [one.code for one in found.choice.dropped] == ["pki.revocation.revoked"]
    # Outlook takes the newest of the store, and does not look for another
    assert not outlook(found).works
    assert "revoked" in found.to_do[0]


def test_what_its_owner_prefers_comes_before_what_is_newer(
    book: Contacts, present: Identity, renewed: Identity, signs: Identity
) -> None:
    for one in (present, renewed, signs):
        book.add([one.certificate], believed=True, at=NOW)
    book.announce(
        BOB, signer=signs.certificate, signed_at=NOW, preferred=present.certificate, at=NOW
    )
    choice = audited(book).choice
    assert choice.known is not None
    assert choice.known.certificate == present.certificate
    codes = {one.certificate: one.code for one in choice.dropped}
    assert codes[renewed.certificate] == "not-preferred"


# --- until when, and what to do -------------------------------------------------------------------


def test_it_ends_with_the_last_that_is_fit_or_with_its_issuer(ca: CA, book: Contacts) -> None:
    soon = issue(ca, starts=-300, lasts=310)
    book.add([soon.certificate], believed=True, at=NOW)
    found = audited(book)
    assert (found.state, found.until) == ("expiring", soon.certificate.not_after)
    assert found.to_do == (f"ask for a new certificate: this one ends on {found.until:%Y-%m-%d}",)
    assert audited(book, expiring=5 * DAY).state == "good"
    # its owner still prefers it, and there is another one already
    later = issue(ca, starts=-2)
    book.add([later.certificate], believed=True, at=NOW)
    book.announce(BOB, signer=soon.certificate, signed_at=NOW, preferred=soon.certificate, at=NOW)
    found = audited(book)
    assert found.choice.known is not None
    assert found.choice.known.certificate == soon.certificate
    assert (found.state, found.until) == ("good", later.certificate.not_after)


def test_an_issuer_that_ends_soon_ends_its_certificates(book: Contacts) -> None:
    root = CA("Root", key="p256", at=NOW - 900 * DAY)
    between = root.create_intermediate(key="p256", lifetime=910 * DAY)
    leaf = between.issue(BOB, key="p256", at=NOW - 20 * DAY, not_after=NOW + 300 * DAY)
    book.add([leaf.certificate, *leaf.chain], at=NOW)
    assert audited(book).state == "good"  # nobody said which issuer it has to have
    found = audited(book, trust=root.trust)
    assert (found.state, found.until) == ("expiring", between.certificate.not_after)
    # and it is found where it stands elsewhere
    with Contacts(":memory:") as alone:
        alone.add([leaf.certificate], at=NOW)
        assert audited(alone, trust=root.trust).state == "unusable"
        given = audited(alone, trust=root.trust, certificates=[between.certificate])
        assert given.state == "expiring"


def test_who_can_only_sign_is_told_from_whose_certificate_has_ended(
    book: Contacts, old: Identity, signs: Identity
) -> None:
    book.add([signs.certificate], believed=True, at=NOW)
    (to_do,) = audited(book).to_do
    assert to_do.startswith("ask for a certificate to encrypt to: ")
    assert audited(book).outlook is None
    assert audited(book).to_json()["outlook"] is None
    book.forget(BOB)
    book.add([old.certificate], believed=True, at=NOW)
    (to_do,) = audited(book).to_do
    assert to_do.startswith("ask for another certificate: ")
    assert "expired" in to_do


def test_every_address_is_looked_at_once(ca: CA, book: Contacts) -> None:
    both = ca.issue(BOB, "carol@contoso.com", key="p256", at=NOW)
    again = ca.issue("BOB@CONTOSO.COM", key="p256", at=NOW)
    book.add([both.certificate, again.certificate], believed=True, at=NOW)
    found = audit_contacts(book, at=NOW)
    assert [one.email.lower() for one in found.addresses] == [BOB, "carol@contoso.com"]
    told = found.to_json()
    assert told["counts"] == {"good": 2, "expiring": 0, "unusable": 0}
    assert [len(one["not_used"]) for one in told["addresses"]] == [1, 0]
    assert found.to_do == ()


def test_what_makes_no_sense_is_refused(book: Contacts) -> None:
    with pytest.raises(UsageError, match="no time zone"):
        audit_contacts(book, at=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(UsageError, match="is no time"):
        audit_contacts(book, expiring=timedelta.max)
    assert audit_contacts(book, at=NOW).addresses == ()
    book.close()
    with pytest.raises(UsageError, match="closed"):
        audit_contacts(book)


# --- Outlook --------------------------------------------------------------------------------------


def test_outlook_takes_what_is_of_the_mail_before_the_contact_and_also_what_has_expired(
    book: Contacts, old: Identity, present: Identity, renewed: Identity
) -> None:
    """KB 2840546, KB 884738: it does not ask whether there is a better one."""
    book.add([present.certificate], origin="Outlook contact", believed=True, at=NOW)
    assert outlook(audited(book)).known.certificate == present.certificate
    book.add([renewed.certificate], origin="file bob.pem", believed=True, at=NOW)
    assert outlook(audited(book)).known.certificate == present.certificate
    assert audited(book).to_do == ()
    book.add([old.certificate], origin="signed mail", believed=True, at=NOW - 40 * DAY)
    found = audited(book)
    assert outlook(found).known.certificate == old.certificate
    assert (outlook(found).works, found.state) == (False, "good")
    assert "expired" in outlook(found).text
    assert found.to_do == (
        f"Outlook would take another one, which it cannot use: {outlook(found).text}",
    )
    told = found.to_json()
    assert told["outlook"]["sha256"] == old.certificate.sha256
    assert told["certificate"]["sha256"] == renewed.certificate.sha256


def test_outlook_answers_with_the_certificate_of_the_latest_mail(ca: CA) -> None:
    """In whatever order the mail is read, and whichever certificate is newer."""
    first, second = issue(ca, starts=-300), issue(ca, starts=-20)
    letters = [by_bob(second, NOW - 10 * DAY), by_bob(first, NOW - 5 * DAY)]
    for order in (letters, letters[::-1]):
        with Contacts(":memory:") as book:
            for raw in order:
                harvest(raw, contacts=book, trust=ca.trust, at=NOW)
            found = audited(book, trust=ca.trust)
            assert outlook(found).known.certificate == first.certificate
            assert outlook(found).works
            assert found.choice.known is not None
            assert found.choice.known.certificate == second.certificate


def by_bob(signer: Identity, moment: datetime) -> bytes:
    header = b"From: bob@contoso.com\r\nSubject: x\r\n\r\n"
    return sign(header + b"hello\r\n", signer=signer, at=moment)


# --- keys that were rotated -----------------------------------------------------------------------


def test_old_mail_still_opens_and_new_mail_goes_to_the_new_key(
    ca: CA, alice: Identity, book: Contacts
) -> None:
    """nextcloud/mail 13479: after a renewal what was written before must stay readable."""
    first = issue(ca, starts=-380, key="rsa-2048")  # expired by now
    second = issue(ca, starts=-40, key="p256")
    third = issue(ca, starts=-1, key="rsa-2048")
    then = NOW - 100 * DAY
    before = seal(MAIL, signer=alice_at(ca, then), recipients=[first.contact], at=then)
    for one in (first, second, third):
        book.add([one.certificate], believed=True, at=NOW)
    contact = book.find(BOB, at=NOW).contact
    assert contact is not None
    assert contact.certificate == third.certificate
    after = seal(MAIL, signer=alice, recipients=[contact], at=NOW)
    (layer,) = [one for one in inspect(after) if one.type == "enveloped-data"]
    serials = " ".join(one.id for one in layer.recipients)
    assert f"{third.certificate.serial_number:x}" in serials
    assert f"{second.certificate.serial_number:x}" not in serials
    ring = [third, second, first]
    for raw, moment in ((before, then), (after, NOW)):
        for identities in (ring, ring[::-1]):
            opened = unseal(raw, identities=identities, trust=ca.trust, at=moment)
            assert opened.content.endswith(b"the figures\r\n")
    with pytest.raises(NoMatchingIdentity):
        decrypt(before, identities=[third, second])
    with pytest.raises(NoMatchingIdentity):
        decrypt(after, identities=[second, first])


def alice_at(ca: CA, moment: datetime) -> Identity:
    return ca.issue("alice@contoso.com", key="p256", at=moment)


def test_one_certificate_renewed_for_the_same_key_opens_both(ca: CA, alice: Identity) -> None:
    """The key is the same, and who encrypted names the certificate of then."""
    key = pool_key("rsa-2048", 45)
    first, second = (issue(ca, starts=start, key=key) for start in (-300, -1))
    for written in (first, second):
        raw = seal(MAIL, signer=alice, recipients=[written.contact], at=NOW)
        assert unseal(raw, identities=[first, second], trust=ca.trust, at=NOW).content
        other = second if written is first else first
        with pytest.raises(NoMatchingIdentity):
            decrypt(raw, identities=[other])


def test_who_signs_with_a_new_key_is_written_to_with_it(ca: CA) -> None:
    """A signed mail by the renewed key replaces what the store had."""
    first, second = issue(ca, starts=-300), issue(ca, starts=-1)
    with Contacts(":memory:") as book:
        for who, moment in ((first, NOW - 200 * DAY), (second, NOW)):
            raw = by_bob(who, moment)
            harvest(raw, contacts=book, trust=ca.trust, at=NOW)
        found = audited(book, trust=ca.trust)
        assert found.choice.known is not None
        assert found.choice.known.certificate == second.certificate
        assert outlook(found).works
