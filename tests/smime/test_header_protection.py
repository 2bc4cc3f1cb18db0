"""Header protection as it is read (RFC 9788 4), and the two older forms of it."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path

import pytest

from smime_graph import (
    Contact,
    Identity,
    TrustStore,
    decrypt,
    examine,
    unseal,
    verify,
)
from smime_graph.cms import enveloped_data, signed_data
from smime_graph.cms.recipients import kinds
from smime_graph.errors import SmimeGraphError
from smime_graph.findings import Severity, codes
from smime_graph.policy import EXCHANGE
from smime_graph.smime.entity import Entity
from smime_graph.smime.wrap import pkcs7_mime

FROM = b"From: Alice <alice@contoso.com>\r\n"
TO = b"To: bob@contoso.com\r\n"
DATE = b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
ID = b"Message-ID: <1@contoso.com>\r\n"
SUBJECT = b"Subject: the figures\r\n"
FIELDS = FROM + TO + SUBJECT + DATE + ID
OBSCURED = FIELDS.replace(b"the figures", b"[...]")
HP_OUTER = b"".join(b"HP-Outer: %s\r\n" % line for line in OBSCURED.splitlines())
TEXT = b'Content-Type: text/plain; charset="us-ascii"%s\r\n\r\nhello\r\n'
NAMES = ("From", "To", "Subject", "Date", "Message-ID")
LAX = EXCHANGE.but("lax", accept_unsigned=True)


def payload(hp: bytes = b'; hp="clear"', fields: bytes = FIELDS) -> bytes:
    return fields + TEXT % hp


def signed(content: bytes, signer: Identity, now: datetime, fields: bytes = FIELDS) -> bytes:
    der, _ = signed_data.sign(content, [signer], detached=False, policy=EXCHANGE, at=now)
    return fields + pkcs7_mime("signed-data", der)


def clear(content: bytes, signer: Identity, now: datetime, fields: bytes = FIELDS) -> bytes:
    der, _ = signed_data.sign(content, [signer], detached=True, policy=EXCHANGE, at=now)
    return (
        fields + b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";'
        b' micalg=sha-256; boundary="b"\r\n\r\n--b\r\n' + content + b"\r\n--b\r\n"
        b'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\n"
        + pkcs7_mime("signed-data", der).partition(b"\r\n\r\n")[2]
        + b"\r\n--b--\r\n"
    )


def encrypted(content: bytes, to_bob: Contact, fields: bytes = OBSCURED) -> bytes:
    cipher = kinds.choose_cipher([to_bob], EXCHANGE)
    der = enveloped_data.encrypt(content, [to_bob], cipher=cipher, policy=EXCHANGE, rid="issuer")
    return fields + pkcs7_mime("enveloped-data", der)


def sealed(
    content: bytes, signer: Identity, to_bob: Contact, now: datetime, fields: bytes = OBSCURED
) -> bytes:
    return encrypted(signed(content, signer, now, b""), to_bob, fields)


CIPHER = payload(b'; hp="cipher"', FIELDS + HP_OUTER)


def test_a_signed_header_is_the_one_that_is_shown(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    for make in (signed, clear):
        opened = unseal(make(payload(), alice, now), trust=trust, at=now)
        report = opened.report
        assert (report.header_protection, report.outer_headers_differ) == ("clear", ())
        assert opened.signer is not None
        assert opened.signer.covers_headers == NAMES
        assert opened.signer.compared_header == "protected"
        assert {one.name: one.state for one in report.header_fields} == dict.fromkeys(
            NAMES, "signed-only"
        )
        assert report.findings == ()
        assert opened.raw == FIELDS + b"MIME-Version: 1.0\r\n" + TEXT % b""
        assert opened.content == payload()


def test_what_an_encrypted_message_hides_is_known_by_hp_outer(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime
) -> None:
    raw = sealed(CIPHER, alice, to_bob, now)
    opened = unseal(raw, identities=[bob], trust=trust, at=now)
    report = opened.report
    assert (report.header_protection, report.outer_headers_differ) == ("cipher", ("Subject",))
    assert report.findings == ()
    states = {one.name: one.state for one in report.header_fields}
    assert states.pop("Subject") == "signed-and-encrypted"
    assert set(states.values()) == {"signed-only"}
    assert opened.raw == FIELDS + b"MIME-Version: 1.0\r\n" + TEXT % b""


def test_without_a_signature_a_field_is_encrypted_only_or_unprotected(
    bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime
) -> None:
    raw = encrypted(CIPHER, to_bob)
    for opened in (
        decrypt(raw, identities=[bob]),
        unseal(raw, identities=[bob], trust=trust, at=now, policy=LAX),
    ):
        states = {one.name: one.state for one in opened.report.header_fields}
        assert states.pop("Subject") == "encrypted-only"
        assert set(states.values()) == {"unprotected"}
        assert opened.message["Subject"] == "the figures"
        assert opened.report.header_protection == "cipher"
    # encryption that was added on the way hides nothing, whatever it is that stands outside
    report = decrypt(encrypted(payload(), to_bob), identities=[bob]).report
    assert report.header_protection == "clear"
    assert {one.state for one in report.header_fields} == {"unprotected"}
    assert "smime.outer-header" in codes(report.findings)


def test_a_layer_of_encryption_between_is_no_payload(
    alice: Identity, bob: Identity, to_bob: Contact, now: datetime
) -> None:
    report = decrypt(sealed(CIPHER, alice, to_bob, now), identities=[bob]).report
    assert (report.header_protection, report.header_fields) == (None, ())


CHANGES = {
    "Subject": (SUBJECT, b"Subject: other figures\r\n"),
    "To": (TO, b"To: carol@contoso.com\r\n"),
    "Date": (DATE, b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n"),
    "Message-ID": (ID, b"Message-ID: <2@contoso.com>\r\n"),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("how", ["changed", "removed", "doubled"])
def test_what_was_changed_outside_is_named_and_not_shown(
    alice: Identity, trust: TrustStore, now: datetime, name: str, how: str
) -> None:
    old, new = CHANGES[name]
    new = {"changed": new, "removed": b"", "doubled": old + new}[how]
    raw = signed(payload(), alice, now, FIELDS.replace(old, new))
    opened = unseal(raw, trust=trust, at=now)
    assert opened.report.outer_headers_differ == (name,)
    shown = opened.raw.partition(b"MIME-Version")[0]
    assert sorted(shown.splitlines()) == sorted(FIELDS.splitlines())
    if how == "removed":  # nobody is shown another one
        assert opened.findings == ()
        return
    (found,) = opened.findings
    assert (found.code, found.severity) == ("smime.outer-header", Severity.WARNING)
    assert name in found.text


@pytest.mark.parametrize("name", ["Subject", "To"])
def test_what_was_changed_outside_an_encrypted_message_is_told_from_what_its_sender_hid(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime, name: str
) -> None:
    old, new = CHANGES[name]
    if name == "Subject":
        old, new = b"[...]", b"[urgent]"
    raw = sealed(CIPHER, alice, to_bob, now, OBSCURED.replace(old, new))
    report = unseal(raw, identities=[bob], trust=trust, at=now).report
    assert set(report.outer_headers_differ) == {name, "Subject"}
    (found,) = report.findings
    assert found.code == "smime.outer-header"
    assert f"another {name} than" in found.text


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        (b"Date: Sun, 22 Nov 2026 13:00:00 +0100\r\n", DATE),
        (b"To: Bob <bob@contoso.com>\r\n", TO),
        (b"To: bob@contoso.com\r\n", b"To: =?utf-8?q?B=C3=B6b?= <BOB@Contoso.com>\r\n"),
        (b"Subject: =?utf-8?q?J=C3=BCrgen?=\r\n", b"Subject: =?iso-8859-1?q?J=FCrgen?=\r\n"),
        (b"Subject: a\r\n  b\r\n", b"Subject: a b\r\n"),
        (b"X-Note: x\r\n", b"x-note: x\r\n"),
    ],
)
def test_what_relays_write_anew_is_no_difference(
    alice: Identity, trust: TrustStore, now: datetime, inside: bytes, outside: bytes
) -> None:
    content = payload(fields=FROM + inside)
    opened = unseal(signed(content, alice, now, FROM + outside), trust=trust, at=now)
    assert opened.report.outer_headers_differ == ()
    assert opened.findings == ()
    assert opened.header == FROM + inside


def test_what_was_added_outside_is_shown_only_where_no_sender_could_have_known_it(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    transit = b"Received: from a by b\r\nList-Id: <x>\r\nX-Spam: no\r\n"
    added = b"Cc: mallory@contoso.com\r\nReply-To: mallory@contoso.com\r\nOrganization: evil\r\n"
    opened = unseal(signed(payload(), alice, now, transit + FIELDS + added), trust=trust, at=now)
    assert opened.report.outer_headers_differ == ("Cc", "Reply-To")
    assert opened.header == transit + FIELDS
    assert codes(opened.findings) == ["smime.outer-header"]


# --- From (RFC 9788 4.4) --------------------------------------------------------------------------


def test_a_from_outside_that_differs_is_found_and_the_protected_one_is_shown(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    """Most readers show the one outside, and so does Graph: both have to be the signer's."""
    outside = FIELDS.replace(FROM, b"From: Alice via list <list@example.org>\r\n")
    raw = signed(payload(), alice, now, outside)
    report = examine(raw, trust=trust, at=now)
    (error,) = report.errors
    assert error.code == "pki.address.mismatch"
    assert "alice@contoso.com" in error.text
    assert "list@example.org" in error.text
    assert report.outer_headers_differ == ("From",)
    (signer,) = report.signers
    assert (signer.compared, signer.compared_header) == ("alice@contoso.com", "protected")
    careless = EXCHANGE.but("careless", sender_must_match=False)
    by_name = unseal(raw, trust=trust, at=now, sender="alice@contoso.com")
    for opened in (by_name, unseal(raw, trust=trust, at=now, policy=careless)):
        assert opened.message["From"] == "Alice <alice@contoso.com>"
        assert {one.severity for one in opened.findings} == {Severity.WARNING}
        assert "smime.outer-header" in codes(opened.findings)


def test_who_signed_as_the_protected_sender_is_accepted(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    boss = FIELDS.replace(b"Alice <alice@", b"Boss <boss@") + b"Sender: alice@contoso.com\r\n"
    opened = unseal(signed(payload(fields=boss), alice, now, boss), trust=trust, at=now)
    assert opened.signer is not None
    assert opened.signer.compared == "boss@contoso.com, alice@contoso.com"
    without = signed(payload(fields=boss), alice, now, FIELDS.replace(b"alice@", b"boss@"))
    assert codes(examine(without, trust=trust, at=now).errors) == ["pki.address.mismatch"]


@pytest.mark.parametrize("outside", [b"alice@contoso.com", b"mallory@contoso.com"])
def test_a_protected_from_of_another_than_the_signer_is_rejected(
    mallory: Identity, trust: TrustStore, now: datetime, outside: bytes
) -> None:
    fields = FIELDS.replace(b"alice@contoso.com", outside)
    report = examine(signed(payload(), mallory, now, fields), trust=trust, at=now)
    assert codes(report.errors) == ["pki.address.mismatch"]
    assert report.signers[0].compared == "alice@contoso.com"
    assert "protected" in report.errors[0].text


def test_a_from_that_nobody_vouches_for_is_shown_as_the_transport_saw_it(
    bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime
) -> None:
    raw = encrypted(CIPHER, to_bob, OBSCURED.replace(b"alice@", b"mallory@"))
    for opened in (
        decrypt(raw, identities=[bob]),
        unseal(raw, identities=[bob], trust=trust, at=now, policy=LAX),
    ):
        assert opened.message["From"] == "Alice <mallory@contoso.com>"
        assert opened.message["Subject"] == "the figures"
        assert opened.raw.count(b"From:") == 1
        text = next(one.text for one in opened.findings if one.code == "smime.outer-header")
        assert "alice@contoso.com" in text
        assert "mallory@contoso.com" in text


@pytest.mark.parametrize("outside", [b"", b"From:\r\n", b"From: alice\r\n", FROM + FROM])
def test_a_header_outside_whose_from_nobody_can_read_is_rejected(
    alice: Identity, trust: TrustStore, now: datetime, outside: bytes
) -> None:
    raw = signed(payload(), alice, now, outside + SUBJECT)
    assert codes(examine(raw, trust=trust, at=now).errors) == ["pki.address.mismatch"]


@pytest.mark.parametrize("kind", [b"text/rfc822-headers", b"text/plain", b"Text/RFC822-Headers"])
@pytest.mark.parametrize("root", [b"", b'; protected-headers="v1"'])
def test_a_from_in_the_fields_that_a_part_repeats_must_be_the_signers(
    alice: Identity, trust: TrustStore, now: datetime, kind: bytes, root: bytes
) -> None:
    def repeated(address: bytes) -> bytes:
        return (
            b"Content-Type: multipart/mixed; boundary=x" + root + b"\r\n\r\n--x\r\n"
            b"Content-Type: " + kind + b'; Protected-Headers="v1"\r\n\r\nFrom: ' + address
            + b"\r\n\r\n--x\r\n" + TEXT % b"" + b"--x--\r\n"
        )  # fmt: skip

    good = signed(repeated(b"alice@contoso.com"), alice, now)
    assert verify(good, trust=trust, at=now).signer is not None
    bad = signed(repeated(b"ceo@contoso.com"), alice, now)
    assert codes(examine(bad, trust=trust, at=now).errors) == ["pki.address.mismatch"]


# --- claims that count for nothing ----------------------------------------------------------------


@pytest.mark.parametrize(
    "hp",
    [
        b"; hp=CLEAR",
        b"; hp=signed",
        b'; hp=""',
        b"; hp=clear; hp=cipher",
        b"; hp=clear; HP=clear",
    ],
)
def test_an_odd_hp_protects_nothing_and_is_said_to_be_odd(
    alice: Identity, trust: TrustStore, now: datetime, hp: bytes
) -> None:
    raw = signed(payload(hp), alice, now, FIELDS.replace(b"the figures", b"others"))
    opened = unseal(raw, trust=trust, at=now)
    report = opened.report
    assert (report.header_protection, report.header_fields) == (None, ())
    assert report.signers[0].covers_headers == ()
    assert report.signers[0].compared_header == "outer"
    assert codes(report.findings) == ["smime.header-protection"]
    assert opened.header == FIELDS.replace(b"the figures", b"others")
    # and what stands inside may still be shown by others
    raw = signed(payload(hp), alice, now, FIELDS.replace(b"alice@", b"list@"))
    assert codes(examine(raw, trust=trust, at=now).errors) == ["pki.address.mismatch"]


def test_two_content_types_protect_nothing(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    content = FIELDS + b"Content-Type: text/plain; hp=clear\r\n" + TEXT % b""
    report = unseal(signed(content, alice, now), trust=trust, at=now).report
    assert (report.header_protection, codes(report.findings)) == (None, ["smime.header-protection"])


def test_hp_means_nothing_without_a_layer_or_further_in(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    report = examine(payload(), trust=trust, at=now)
    assert (report.header_protection, report.header_fields) == (None, ())
    assert codes(report.errors) == ["smime.unsigned"]
    part = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n%b\r\n--x--\r\n"
    attached = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type:"
    attached += b" message/rfc822\r\n\r\n%b\r\n--x--\r\n"
    for around in (part, attached):
        opened = unseal(signed(around % payload(), alice, now), trust=trust, at=now)
        assert opened.report.header_protection is None
        assert opened.signer is not None
        assert opened.signer.covers_headers == ()


def test_hp_of_an_errant_layer_speaks_for_that_part_alone(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    """A mailing list put its footer behind the signed message, and its name into the Subject."""
    outside = FIELDS.replace(b"Subject: ", b"Subject: [list] ")
    raw = (
        outside + b"Content-Type: multipart/mixed; boundary=l\r\n\r\n--l\r\n"
        + clear(payload(), alice, now, b"") + b"\r\n--l\r\n" + TEXT % b"" + b"\r\n--l--\r\n"
    )  # fmt: skip
    report = examine(raw, trust=trust, at=now)
    assert (report.summary, report.header_protection, report.accepted) == (
        "unprotected",
        None,
        False,
    )
    opened = unseal(raw, trust=trust, at=now, part="1.1")
    assert opened.message["Subject"] == "the figures"
    assert opened.report.outer_headers_differ == ("Subject",)
    assert "smime.errant-layer" in codes(opened.findings)


def test_hp_that_claims_encryption_is_not_taken_for_it(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    report = unseal(signed(CIPHER, alice, now), trust=trust, at=now).report
    assert (report.summary, report.header_protection) == ("signed", "clear")
    assert {one.state for one in report.header_fields} == {"signed-only"}
    assert codes(report.findings) == ["smime.header-protection"]


def test_a_signature_that_is_not_good_protects_nothing(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    raw = clear(payload(), alice, now).replace(b"hello", b"hullo")
    report = examine(raw, trust=trust, at=now)
    assert not report.accepted
    assert {one.state for one in report.header_fields} == {"unprotected"}
    nobody = examine(clear(payload(), alice, now), trust=TrustStore(()), at=now)
    assert {one.state for one in nobody.header_fields} == {"unprotected"}


def test_hp_outer_that_is_wrong_or_missing_is_said(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime
) -> None:
    for outer in (b"", HP_OUTER.replace(b"[...]", b"..."), b"HP-Outer: nonsense\r\n"):
        content = payload(b'; hp="cipher"', FIELDS + outer)
        raw = sealed(content, alice, to_bob, now)
        opened = unseal(raw, identities=[bob], trust=trust, at=now)
        assert opened.report.header_protection == "cipher"
        assert codes(opened.findings) == ["smime.outer-header"]
        assert opened.header == FIELDS
        hidden = {o.name for o in opened.report.header_fields if o.state != "signed-only"}
        # what the sender did not say that it stands outside is confidential (RFC 9788 2.2)
        assert hidden == ({"Subject"} if outer[:20] == HP_OUTER[:20] else set(NAMES))


def test_hp_outer_outside_or_in_a_signed_message_is_ignored(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    content = payload(fields=FIELDS + HP_OUTER)
    opened = unseal(signed(content, alice, now, FIELDS + HP_OUTER), trust=trust, at=now)
    assert opened.header == FIELDS
    assert opened.signer is not None
    assert opened.signer.covers_headers == NAMES
    assert {one.state for one in opened.report.header_fields} == {"signed-only"}
    assert opened.findings == ()


def test_fields_of_which_there_should_be_one_are_shown_as_they_were_signed(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    more = b"Subject: another\r\nCC: a@contoso.com\r\nX-A: 1\r\nX-A: 2\r\n"
    content = payload(fields=FIELDS + more)
    opened = unseal(signed(content, alice, now), trust=trust, at=now)
    assert opened.header == FIELDS + more
    (odd,) = [one for one in opened.findings if one.code == "smime.header-protection"]
    assert "subject" in odd.text
    two = payload(fields=FIELDS + FROM)
    assert codes(examine(signed(two, alice, now), trust=trust, at=now).errors) == [
        "pki.address.mismatch"
    ]


@pytest.mark.parametrize(
    ("bad", "is_accepted"),
    [
        (b"\rBcc: x@y", True),
        (b"\0", True),
        (b"\xff\xfe", True),
        (b"\x0bFrom: x@y", False),
        (b"\r\n\rFrom: x@y", False),
    ],
)
def test_a_protected_value_cannot_become_another_field(
    alice: Identity, trust: TrustStore, now: datetime, bad: bytes, is_accepted: bool
) -> None:
    content = payload(fields=FROM + b"Subject: a" + bad + b"\r\n")
    raw = signed(content, alice, now, FROM)
    report = examine(raw, trust=trust, at=now)
    assert report.accepted is is_accepted
    if is_accepted:
        keys = unseal(raw, trust=trust, at=now).message.keys()
        assert keys == ["From", "Subject", "MIME-Version", "Content-Type"]
    else:
        assert codes(report.errors) == ["pki.address.mismatch"]


def test_many_fields_take_no_time(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime
) -> None:
    many = b"".join(b"HP-Outer: X-%d: a\r\nX-%d: a\r\n" % (n, n) for n in range(9_900))
    alike = b"".join(b"To: b%d@contoso.com\r\n" % n for n in range(9_000))
    for fields in (many, alike):
        content = payload(b'; hp="cipher"', FIELDS + fields)
        raw = sealed(content, alice, to_bob, now)
        start = time.process_time()
        report = examine(raw, identities=[bob], trust=trust, at=now)
        report.to_json()
        assert time.process_time() - start < 3
        assert report.header_protection == "cipher"


# --- the older forms ------------------------------------------------------------------------------


WRAPPED = b"Content-Type: message/rfc822%s\r\n\r\n"


@pytest.mark.parametrize("label", [b"", b"; forwarded=no"])
def test_a_message_that_is_the_whole_content_is_the_message(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    now: datetime,
    label: bytes,
) -> None:
    content = WRAPPED % label + FIELDS + TEXT % b""
    opened = unseal(signed(content, alice, now), trust=trust, at=now)
    assert opened.report.header_protection == "clear"
    assert opened.raw == FIELDS + b"MIME-Version: 1.0\r\n" + TEXT % b""
    assert opened.content == content
    assert opened.attachments == ()
    raw = sealed(content, alice, to_bob, now)
    opened = unseal(raw, identities=[bob], trust=trust, at=now)
    assert opened.report.outer_headers_differ == ("Subject",)
    assert opened.report.header_protection == "cipher"
    states = {one.name: one.state for one in opened.report.header_fields}
    assert (states["Subject"], states["To"]) == ("signed-and-encrypted", "signed-only")
    assert opened.findings == ()
    assert opened.message["Subject"] == "the figures"


@pytest.mark.parametrize(
    "content",
    [
        WRAPPED % b"; forwarded=yes" + FIELDS + TEXT % b"",
        WRAPPED % b"" + payload(),
        WRAPPED % b"" + b"Subject: no From\r\n" + TEXT % b"",
        WRAPPED % b"" + FIELDS + pkcs7_mime("enveloped-data", b"0"),
    ],
)
def test_a_message_inside_that_is_no_protected_one_is_an_attachment(
    alice: Identity, trust: TrustStore, now: datetime, content: bytes
) -> None:
    report = examine(signed(content, alice, now), trust=trust, at=now)
    assert (report.header_protection, report.header_fields) == (None, ())


def test_the_older_forms_do_not_make_a_from_outside_count_less(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    outside = FIELDS.replace(b"alice@", b"ceo@")
    for content in (WRAPPED % b"" + FIELDS + TEXT % b"", payload(b"; protected-headers=v1")):
        report = examine(signed(content, alice, now, outside), trust=trust, at=now)
        assert codes(report.errors) == ["pki.address.mismatch"]


def test_protected_headers_v1_is_read_and_its_repetition_left_out(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime
) -> None:
    content = (
        FIELDS + b'Content-Type: multipart/mixed; boundary="x"; protected-headers="v1"\r\n\r\n'
        b'--x\r\ncontent-type: text/plain; protected-headers="v1"\r\nContent-Disposition: inline'
        b"\r\n\r\nSubject: the figures\r\n\r\n--x\r\n" + TEXT % b"" + b"\r\n--x--\r\n"
    )
    raw = sealed(content, alice, to_bob, now, FIELDS.replace(b"the figures", b"..."))
    opened = unseal(raw, identities=[bob], trust=trust, at=now)
    assert opened.report.header_protection == "cipher"
    assert opened.report.outer_headers_differ == ("Subject",)
    body = b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\n' + TEXT % b""
    assert opened.raw == FIELDS + b"MIME-Version: 1.0\r\n" + body + b"\r\n--x--\r\n"


# --- as JSON --------------------------------------------------------------------------------------


def test_the_json_says_what_is_protected_and_holds_no_value(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime
) -> None:
    raw = sealed(CIPHER, alice, to_bob, now)
    text = unseal(raw, identities=[bob], trust=trust, at=now).report.to_json()
    found = json.loads(text)
    assert found["header_protection"] == "cipher"
    assert found["outer_headers_differ"] == ["Subject"]
    assert {"name": "Subject", "state": "signed-and-encrypted"} in found["headers"]
    (signer,) = found["signers"]
    assert signer["covers"] == {"body": True, "headers": list(NAMES)}
    assert signer["sender"] == {"compared": "alice@contoso.com", "matches": True}
    assert signer["compared_header"] == "protected"
    assert "figures" not in text


def test_an_error_holds_no_protected_value(
    alice: Identity, bob: Identity, to_bob: Contact, now: datetime
) -> None:
    raw = sealed(CIPHER, alice, to_bob, now)
    with pytest.raises(SmimeGraphError) as caught:
        unseal(raw, identities=[bob], trust=TrustStore(()), at=now)
    report = caught.value.report  # type: ignore[attr-defined]
    assert "figures" not in f"{caught.value}{report!r}{report.to_json()}"


def test_a_large_message_is_shown_alike(
    alice: Identity, trust: TrustStore, now: datetime, tmp_path: Path
) -> None:
    content = payload() + b"a line of text\r\n" * 100_000
    raw = signed(content, alice, now)
    opened = unseal(raw, trust=trust, at=now)
    unseal(raw, trust=trust, at=now, out=tmp_path / "out")
    wanted = FIELDS + b"MIME-Version: 1.0\r\n" + TEXT % b"" + b"a line of text\r\n" * 100_000
    assert opened.raw == wanted
    assert (tmp_path / "out").read_bytes() == wanted
    assert Entity(opened.raw).all("From")
