"""What is sent, and what a sender is kept from."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest

from smime_graph import (
    Password,
    certs_only,
    compress,
    decompress,
    decrypt,
    encrypt,
    inspect,
    seal,
    sign,
    unseal,
)
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA
from smime_graph.errors import (
    DecryptionFailed,
    MalformedMessage,
    NoMatchingIdentity,
    PolicyRefusal,
    UsageError,
)
from smime_graph.pki.identity import Contact, Identity
from smime_graph.pki.trust import TrustStore
from smime_graph.policy import ARCHIVE, EXCHANGE, POST_QUANTUM, RFC_8551
from smime_graph.smime.entity import Entity, split_multipart
from tests.conftest import signed_content


def test_a_clear_signature_has_the_shape_of_rfc_8551(
    alice: Identity, message: bytes, now: datetime
) -> None:
    signed = Entity(sign(message, signer=alice, at=now))
    kind = signed.content_type
    assert kind.value == "multipart/signed"
    assert kind.parameters["protocol"] == "application/pkcs7-signature"
    assert b'protocol="application/pkcs7-signature"' in signed.raw
    assert kind.parameters["micalg"] == "sha-256"
    pieces = split_multipart(signed.body, kind.parameters["boundary"])
    content, signature = pieces.parts
    assert content == signed_content(message)
    assert signature is not None
    last = Entity(signature)
    assert last.content_type.value == "application/pkcs7-signature"
    assert last.filename == "smime.p7s"
    assert [f.name for f in signed.fields] == [
        "From",
        "To",
        "Subject",
        "Message-ID",
        "Date",
        "MIME-Version",
        "Content-Type",
    ]


@pytest.mark.parametrize("detached", [True, False])
def test_message_id_and_date_are_fixed_before_signing(
    alice: Identity, now: datetime, detached: bool
) -> None:
    raw = b"From: alice@contoso.com\n\nhello\n"
    entity = Entity(sign(raw, signer=alice, detached=detached, at=now))
    assert entity.get("Date") == "Sun, 22 Nov 2026 12:00:00 +0000"
    identifier = entity.get("Message-ID")
    assert identifier is not None
    assert identifier.endswith("@contoso.com>")
    kept = Entity(sign(b"Message-ID: <a@b>\nDate: then\n" + raw, signer=alice, at=now))
    assert (kept.get("Message-ID"), kept.get("Date")) == ("<a@b>", "then")
    assert len(kept.all("Message-ID")) == len(kept.all("Date")) == 1


def test_several_signers_name_all_their_digests(
    alice: Identity, alice_rsa: Identity, ca: CA, message: bytes, now: datetime
) -> None:
    second = ca.issue("alice@contoso.com", key="ed25519", use="sign", at=now)
    signed = Entity(sign(message, signer=[alice, alice_rsa, second], at=now))
    assert signed.content_type.parameters["micalg"] == "sha-256,sha-512"


def test_an_email_message_is_what_its_bytes_are(
    alice: Identity, bob: Identity, to_bob: Contact, now: datetime
) -> None:
    message = EmailMessage()
    message["From"] = "Älice <alice@contoso.com>"
    message["To"] = "bob@contoso.com"
    message["Subject"] = "Grüße " * 20
    message.set_content("schöne Grüße\n")
    message.add_attachment(b"\0\1\2", maintype="application", subtype="x-data", filename="ä.bin")
    before = message.as_bytes()
    sealed = seal(message, signer=alice, recipients=[to_bob], at=now)
    assert message.as_bytes() == before
    assert sealed.isascii()
    opened = decrypt(sealed, identities=[bob])
    assert opened.message["Subject"] == message["Subject"]
    assert opened.message["From"] == message["From"]


def test_the_same_message_in_any_line_ends_is_signed_alike(
    alice: Identity, message: bytes, now: datetime
) -> None:
    lf = message.replace(b"\r\n", b"\n")
    mixed = lf.replace(b"\n", b"\r\n", 3)
    mbox = b"From alice Sun Nov 22\n" + lf
    mac = message.replace(b"\r\n", b"\r")
    expected = inspect(sign(message, signer=alice, at=now, detached=False))
    bodies = set()
    for raw in (message, lf, mixed, mbox, mac):
        signed = sign(raw, signer=alice, at=now)
        entity = Entity(signed)
        pieces = split_multipart(entity.body, entity.content_type.parameters["boundary"])
        bodies.add(pieces.parts[0])
        assert entity.fields[0].name == "From"
    assert len(bodies) == 1
    assert expected[0].detached is False


def test_bcc_stays_outside(
    alice: Identity, bob: Identity, to_bob: Contact, message: bytes, now: datetime
) -> None:
    raw = b"Bcc: bob@contoso.com\r\n" + message
    sealed = seal(raw, signer=alice, recipients=[to_bob], at=now)
    assert Entity(sealed).get("Bcc") == "bob@contoso.com"
    assert b"Bcc" not in decrypt(sealed, identities=[bob]).content


def test_bcc_recipients_in_the_envelope_are_told_to_the_logger(
    alice: Identity,
    to_bob: Contact,
    message: bytes,
    now: datetime,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hidden = b"Bcc: bob@contoso.com\r\n" + message
    password = Password("a shared secret", iterations=1000)
    for raw in (message, b"Bcc:\r\n" + message):
        seal(raw, signer=alice, recipients=[to_bob], at=now)
    sign(hidden, signer=alice, at=now)
    compress(hidden)
    encrypt(hidden, recipients=[password], at=now)  # which names nobody
    assert caplog.records == []
    for field in (b"Bcc", b"BCC"):
        raw = hidden.replace(b"Bcc", field)
        seal(raw, signer=alice, recipients=[to_bob], at=now)
        encrypt(raw, recipients=[to_bob, password], at=now)
    assert {(one.name, one.levelname) for one in caplog.records} == {("smime_graph", "WARNING")}
    assert len(caplog.records) == 4
    assert "Bcc" in caplog.text
    assert "bob" not in caplog.text


def test_the_sender_can_read_the_sent_mail_unless_the_policy_says_no(
    alice: Identity, to_bob: Contact, message: bytes, now: datetime
) -> None:
    sealed = seal(message, signer=alice, recipients=[to_bob], at=now)
    assert len(inspect(sealed)[0].recipients) == 2
    assert decrypt(sealed, identities=[alice]).content
    policy = EXCHANGE.but("mine", encrypt_to_self=False)
    alone = seal(message, signer=alice, recipients=[to_bob], at=now, policy=policy)
    assert len(inspect(alone)[0].recipients) == 1


def test_the_policy_chooses_the_content_type(
    alice: Identity, to_bob: Contact, message: bytes, now: datetime
) -> None:
    for policy, smime_type, layer in (
        (EXCHANGE, "enveloped-data", "enveloped-data"),
        (RFC_8551, "authEnveloped-data", "auth-enveloped-data"),
    ):
        sealed = seal(message, signer=alice, recipients=[to_bob], at=now, policy=policy)
        kind = Entity(sealed).content_type
        assert (kind.value, kind.parameters["smime-type"]) == (
            "application/pkcs7-mime",
            smime_type,
        )
        assert kind.parameters["name"] == "smime.p7m"
        assert inspect(sealed)[0].type == layer


def test_a_compressed_message_is_smaller_and_comes_back(message: bytes, now: datetime) -> None:
    raw = message + b"the figures again\r\n" * 1000
    made = compress(raw, at=now)
    assert len(made) < len(raw) / 10
    kind = Entity(made).content_type
    assert kind.parameters == {"smime-type": "compressed-data", "name": "smime.p7z"}
    assert decompress(made).message.get_content().count("the figures again") == 1000
    with pytest.raises(MalformedMessage, match="not compressed") as caught:
        decompress(message)
    assert caught.value.hint == "inspect shows what the message is"


def test_what_is_signed_may_be_compressed_before_it_is_encrypted(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    message: bytes,
    now: datetime,
) -> None:
    raw = message + b"the figures again\r\n" * 1000
    policy = EXCHANGE.but("small", compress=True)
    small = seal(raw, signer=alice, recipients=[to_bob], at=now, policy=policy)
    assert len(small) < len(seal(raw, signer=alice, recipients=[to_bob], at=now)) / 4
    opened = unseal(small, identities=[bob], trust=trust, at=now)
    assert [layer.type for layer in opened.layers] == [
        "enveloped-data",
        "compressed-data",
        "signed-data",
    ]
    assert opened.report.summary == "signed-and-encrypted"


def test_certificates_are_carried_by_nobodys_signature(alice: Identity, bob: Identity) -> None:
    entity = certs_only([alice.certificate, bob.certificate, alice.certificate])
    kind = Entity(entity).content_type
    assert kind.parameters == {"smime-type": "certs-only", "name": "smime.p7c"}
    carried = sorted((alice.certificate, bob.certificate), key=lambda one: one.der)  # X.690 11.6
    assert inspect(entity)[0].certificates == tuple(carried)
    with pytest.raises(UsageError):
        certs_only([])


def test_who_knows_the_password_can_read(alice: Identity, message: bytes, now: datetime) -> None:
    secret = Password("correct horse", iterations=1000)
    made = encrypt(message, recipients=[secret], at=now)
    assert decrypt(made, identities=[Password("correct horse")]).content
    with pytest.raises(DecryptionFailed):
        decrypt(made, identities=[Password("battery staple")])
    with pytest.raises(NoMatchingIdentity, match="encrypted to a password"):
        decrypt(made, identities=[alice])
    assert "correct" not in repr(secret)


def test_the_post_quantum_policy_does_not_mix(
    ca: CA, alice: Identity, to_bob: Contact, message: bytes, now: datetime, trust: TrustStore
) -> None:
    new_alice = ca.issue("alice@contoso.com", key="ml-dsa-65", at=now)
    new_bob = ca.issue("bob@contoso.com", key="ml-dsa-65", at=now)
    certificate = new_bob.encryption_certificate
    assert certificate is not None
    to_new_bob = Contact(certificate)
    sealed = seal(message, signer=new_alice, recipients=[to_new_bob], at=now, policy=POST_QUANTUM)
    opened = unseal(sealed, identities=[new_bob], trust=trust, at=now, policy=POST_QUANTUM)
    assert opened.findings == ()
    assert opened.layers[0].recipients[0].algorithm == "ml-kem-768"
    with refused("encrypt.kind-of-key"):
        seal(
            message, signer=new_alice, recipients=[to_new_bob, to_bob], at=now, policy=POST_QUANTUM
        )
    with refused("sign.kind-of-key"):
        seal(message, signer=alice, recipients=[to_new_bob], at=now, policy=POST_QUANTUM)
    with refused("encrypt.kind-of-key"):
        encrypt(message, recipients=[Password("secret")], at=now, policy=POST_QUANTUM)


# --- what a sender is kept from -----------------------------------------------------------


def refused(rule: str) -> pytest.RaisesExc[PolicyRefusal]:
    return pytest.RaisesExc(
        PolicyRefusal, check=lambda error: error.rule == rule and error.hint is not None
    )


def test_signing_for_somebody_else(
    alice: Identity, mallory: Identity, message: bytes, now: datetime
) -> None:
    with pytest.raises(PolicyRefusal, match=r"From is alice@contoso\.com, but the signer is mall"):
        sign(message, signer=mallory, at=now)
    as_sender = message.replace(b"Subject:", b"Sender: mallory@contoso.com\r\nSubject:")
    assert sign(as_sender, signer=mallory, at=now)
    policy = EXCHANGE.but("agent", sender_must_match=False)
    assert sign(message, signer=mallory, at=now, policy=policy)


def test_a_message_without_a_from(alice: Identity, now: datetime) -> None:
    with pytest.raises(MalformedMessage, match="has no From"):
        sign(b"To: bob@contoso.com\n\nhello\n", signer=alice, at=now)


@pytest.mark.parametrize(
    "second", [b"From: mallory@contoso.com\n", b"from : Boss <b@contoso.com>\n"]
)
@pytest.mark.parametrize("first", [True, False])
def test_a_message_with_two_froms_is_not_signed(
    alice: Identity, to_bob: Contact, message: bytes, now: datetime, second: bytes, first: bool
) -> None:
    own = b"From: alice@contoso.com\n"
    fields = own + second if first else second + own
    raw = fields + b"To: bob@contoso.com\n\nhello\n"
    made: tuple[Callable[[], bytes], ...] = (
        lambda: sign(raw, signer=alice, at=now),
        lambda: seal(raw, signer=alice, recipients=[to_bob], at=now),
    )
    for make in made:
        with pytest.raises(MalformedMessage, match="has 2 From fields") as caught:
            make()
        assert caught.value.hint


def test_a_recipient_that_is_no_contact_is_told_how_to_become_one(
    alice: Identity, bob: Identity, message: bytes, now: datetime
) -> None:
    wrong: list[Any] = [bob, bob.certificate, "bob.pem"]
    for one in wrong:
        with pytest.raises(UsageError, match=f"not {type(one).__name__}") as caught:
            seal(message, signer=alice, recipients=[one], at=now)
        for way in ("Contact.load(path)", "identity.contact", "contacts.find(address).contact"):
            assert way in (caught.value.hint or "")
        with pytest.raises(UsageError, match=f"not {type(one).__name__}"):
            encrypt(message, recipients=[one], at=now)


@pytest.mark.parametrize("field", ["To", "Cc", "Bcc"])
def test_a_recipient_who_could_not_read_it(
    alice: Identity, to_bob: Contact, message: bytes, now: datetime, field: str
) -> None:
    raw = f"{field}: Carol <carol@contoso.com>, BOB@Contoso.com\r\n".encode() + message
    with pytest.raises(
        PolicyRefusal, match=r"no certificate is given for carol@contoso\.com$"
    ) as caught:
        seal(raw, signer=alice, recipients=[to_bob], at=now)
    assert caught.value.rule == "encrypt.recipient-without-certificate"
    known = Contact(to_bob.certificate, email="carol@contoso.com")
    assert seal(raw, signer=alice, recipients=[to_bob, known], at=now)
    policy = EXCHANGE.but("some", every_recipient_must_read=False)
    assert seal(raw, signer=alice, recipients=[to_bob], at=now, policy=policy)


def test_what_cannot_be_compared_is_nobody_s_address(to_bob: Contact, now: datetime) -> None:
    raw = "From: alice@contoso.com\nTo: x@\u212aontoso.com\n\nhello\n".encode()
    recipient = Contact(to_bob.certificate, email="no address")
    with refused("encrypt.recipient-without-certificate"):
        encrypt(raw, recipients=[recipient], at=now)


def test_recipients_that_cannot_be_read_are_not_guessed(
    alice: Identity, to_bob: Contact, now: datetime
) -> None:
    raw = b"From: alice@contoso.com\nTo: bob@contoso.com <eve@x.org\n\nhi\n"
    with pytest.raises(MalformedMessage, match=r"^To: "):
        seal(raw, signer=alice, recipients=[to_bob], at=now)


def test_unfit_certificates(ca: CA, alice: Identity, message: bytes, now: datetime) -> None:
    day = timedelta(days=1)
    expired = ca.issue("bob@contoso.com", key="p256", not_before=now - 9 * day, not_after=now - day)
    early = ca.issue("bob@contoso.com", key="p256", not_before=now + day, not_after=now + 9 * day)
    signing = ca.issue("bob@contoso.com", key="p256", use="sign", at=now)
    server = ca.issue("bob@contoso.com", key="p256", eku=["1.3.6.1.5.5.7.3.1"], at=now)
    for person, rule in (
        (expired, "pki.path.expired"),
        (early, "pki.path.not-yet-valid"),
        (signing, "pki.usage.key-usage"),
        (server, "pki.usage.extended-key-usage"),
    ):
        with refused(rule):
            encrypt(message, recipients=[Contact(person.certificate)], at=now)
    old_alice = ca.issue(
        "alice@contoso.com", key="p256", not_before=now - 9 * day, not_after=now - day
    )
    with refused("pki.path.expired"):
        sign(message, signer=old_alice, at=now)
    reader = ca.issue("alice@contoso.com", key="p256", use="encrypt", at=now)
    with refused("pki.usage.key-usage"):
        sign(message, signer=reader, at=now)


def test_with_trust_a_recipient_must_validate(
    alice: Identity, to_bob: Contact, trust: TrustStore, message: bytes, now: datetime
) -> None:
    assert encrypt(message, recipients=[to_bob], trust=trust, at=now)
    other = CA("Other Root", key="p256", at=now)
    with refused("pki.path.none"):
        encrypt(message, recipients=[to_bob], trust=TrustStore((other.certificate,)), at=now)


def test_no_common_cipher(alice: Identity, to_bob: Contact, message: bytes, now: datetime) -> None:
    only_3des = Contact(
        to_bob.certificate, capabilities=(ber.sequence(ber.oid("1.2.840.113549.3.7")),)
    )
    with refused("encrypt.no-common-cipher"):
        seal(message, signer=alice, recipients=[only_3des], at=now)


def test_the_archive_policy_sends_nothing(
    alice: Identity, to_bob: Contact, message: bytes, now: datetime
) -> None:
    with refused("policy.sends"):
        sign(message, signer=alice, policy=ARCHIVE, at=now)
    with refused("policy.sends"):
        encrypt(message, recipients=[to_bob], policy=ARCHIVE, at=now)


def test_calls_that_make_no_sense(
    alice: Identity, to_bob: Contact, message: bytes, now: datetime
) -> None:
    with pytest.raises(UsageError, match="nobody to encrypt to"):
        seal(message, signer=alice, recipients=[], at=now)
    with pytest.raises(UsageError, match="recipients is a list, not Contact"):
        seal(message, signer=alice, recipients=to_bob, at=now)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="recipients is a list, not Contact"):
        encrypt(message, recipients=to_bob, at=now)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="identities is a list, not Identity"):
        decrypt(message, identities=alice)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="nobody to sign with"):
        sign(message, signer=[], at=now)
    with pytest.raises(UsageError, match="no time zone"):
        sign(message, signer=alice, at=now.replace(tzinfo=None))
    with pytest.raises(UsageError, match="a message is bytes"):
        sign("From: alice@contoso.com", signer=alice, at=now)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "no header"),
        (b"\n\nbody", "no header"),
        (b"just some text\n", "header line 1 is no header field"),
        (b"From: alice@contoso.com\nnonsense\nTo: x\n\n", "header line 2 is no header field"),
        (b"A: " + b"x" * 2_000_000, "longer than"),
        (
            b"From: alice@contoso.com\nContent-Type: multipart/mixed; boundary=b\n\nno parts\n",
            "boundary 'b' of a multipart does not occur",
        ),
    ],
)
def test_what_is_no_message(alice: Identity, now: datetime, raw: bytes, text: str) -> None:
    with pytest.raises(MalformedMessage, match=text):
        sign(raw, signer=alice, at=now)


# --- what is made can be read -------------------------------------------------------------


@pytest.mark.parametrize("size", [100_000, 20_000_000, 60_000_000])
def test_what_is_compressed_is_decompressed_or_refused(message: bytes, size: int) -> None:
    line = b"x" * 900 + b"\r\n"
    raw = message + line * (size // len(line))
    if size > 24 << 20:  # what little may grow to
        with pytest.raises(MalformedMessage, match="more than are ever decompressed"):
            compress(raw)
    else:
        assert decompress(compress(raw)).content.endswith(line)


def test_more_passwords_and_certificates_than_are_read_are_not_written(
    alice: Identity, to_bob: Contact, message: bytes, now: datetime
) -> None:
    words = [Password(f"password number {n}", iterations=1000) for n in range(5)]
    for wanted in words[:4]:
        made = encrypt(message, recipients=words[:4], at=now)
        assert decrypt(made, identities=[wanted]).content.endswith(b"the figures\r\n")
    with pytest.raises(UsageError, match="5 recipients' passwords, at most 4 are read"):
        encrypt(message, recipients=words, at=now)
    with pytest.raises(UsageError, match="101 signers, at most 100 are read"):
        sign(message, signer=[alice] * 101, at=now)


@pytest.mark.parametrize("kind", ["message/rfc822", "message/global"])
def test_a_message_that_is_the_whole_content_is_from_the_signer(
    alice: Identity, now: datetime, kind: str
) -> None:
    """What reading refuses (RFC 8551 3.1 has it shown as the message) is not made."""

    def wrapped(author: str) -> bytes:
        head = f"From: alice@contoso.com\nContent-Type: {kind}\n\nFrom: {author}\n\nwords\n"
        return head.encode()

    sign(wrapped("alice@contoso.com"), signer=alice, at=now)
    with pytest.raises(PolicyRefusal, match="a message from eve@contoso") as caught:
        sign(wrapped("Alice <eve@contoso.com>"), signer=alice, at=now)
    assert caught.value.rule == "pki.address.mismatch"
    assert "attach it" in (caught.value.hint or "")
    with pytest.raises(MalformedMessage, match="From of the message inside"):
        sign(wrapped("a@@b"), signer=alice, at=now)
