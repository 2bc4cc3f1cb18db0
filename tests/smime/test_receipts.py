"""Signed receipts: who sends one, to whom, and what makes one a receipt for the message sent."""

from __future__ import annotations

import contextlib
import random
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smime_graph import examine, oids, seal, sign, unseal, verify
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info, read_content_info
from smime_graph.authority.issue import CA
from smime_graph.cms import attributes, ess, signed_data
from smime_graph.cms.ess import Expansion, Receipt
from smime_graph.cms.receipt_request import ReceiptRequest, write_request
from smime_graph.errors import (
    CertificateRejected,
    MalformedMessage,
    PolicyRefusal,
    SignatureInvalid,
    SmimeGraphError,
    UsageError,
)
from smime_graph.findings import codes
from smime_graph.pki.identity import Contact, Identity
from smime_graph.pki.trust import TrustStore
from smime_graph.policy import EXCHANGE
from smime_graph.smime.entity import Entity
from smime_graph.smime.outgoing import Outgoing
from smime_graph.smime.receipts import (
    ReceiptReport,
    examine_receipt,
    receipt,
    receipt_recipients,
    verify_receipt,
)
from smime_graph.smime.report import Opened
from smime_graph.smime.sealing import encrypted_entity
from smime_graph.smime.wrap import SIGNED_RECEIPT, pkcs7_mime, signed_entity
from tests.ess import expansion_history
from tests.properties.fuzz import elements, octets

REQUEST = ReceiptRequest(("alice@contoso.com",))
LIST = ber.octet_string(b"the list's key identifier")


@pytest.fixture
def asking(alice: Identity, message: bytes, now: datetime) -> bytes:
    """A message from Alice that asks everybody for a receipt."""
    return sign(message, signer=alice, receipt_request=REQUEST, at=now)


Open = Callable[[bytes], Opened]


@pytest.fixture
def opened(trust: TrustStore, bob: Identity, now: datetime) -> Open:
    return lambda raw: unseal(raw, identities=[bob], trust=trust, at=now)


def made(opened: Opened, signer: Identity, now: datetime) -> bytes:
    raw = receipt(opened, signer=signer, at=now)
    assert raw is not None
    return raw


# --- sent ---------------------------------------------------------------------------------


def test_a_receipt_goes_where_it_is_asked_to_and_is_a_receipt(
    asking: bytes, opened: Open, bob: Identity, trust: TrustStore, now: datetime
) -> None:
    raw = made(opened(asking), bob, now)
    entity = Entity(raw)
    assert {name: entity.all(name)[0].value.strip() for name in ("From", "To", "In-Reply-To")} == {
        "From": "bob@contoso.com",
        "To": "alice@contoso.com",
        "In-Reply-To": "<1@contoso.com>",
    }
    assert entity.all("Auto-Submitted")[0].value.strip() == "auto-replied"
    assert entity.content_type.value == "application/pkcs7-mime"
    assert entity.content_type.parameters["smime-type"] == "signed-receipt"
    # RFC 2634 2.4 steps 5 to 9: the Receipt itself is the content, of its own type, not in MIME
    signed = signed_data.read(entity.decoded_body())
    assert (signed.version, signed.content_type) == (3, oids.RECEIPT)
    assert signed.content is not None
    assert ess.read_receipt(signed.content).content_type == oids.DATA
    attrs = signed.signers[0].signed_attributes
    assert attrs is not None
    kind = attrs.single(oids.CONTENT_TYPE)
    assert kind is not None
    assert kind.as_oid() == oids.RECEIPT
    assert attrs.single(oids.MESSAGE_SIGNATURE_DIGEST) is not None
    assert attrs.single(oids.SIGNING_TIME) is not None
    assert oids.RECEIPT_REQUEST not in attrs

    report = verify_receipt(raw, original=asking, trust=trust, at=now)
    assert report.verdict == "accepted"
    assert report.findings == ()
    assert report.signer is not None
    assert report.signer.email == "bob@contoso.com"
    assert report.original is not None
    assert report.original.email == "alice@contoso.com"
    assert [layer.type for layer in report.message.layers] == ["signed-receipt"]


@pytest.mark.parametrize("key", ["rsa-2048", "p384", "ed25519"])
@pytest.mark.parametrize("detached", [True, False])
def test_every_kind_of_signature_can_be_confirmed(
    ca: CA,
    message: bytes,
    opened: Open,
    bob: Identity,
    trust: TrustStore,
    now: datetime,
    key: str,
    detached: bool,
) -> None:
    alice = ca.issue("alice@contoso.com", key=key, at=now)
    raw = sign(message, signer=alice, receipt_request=REQUEST, detached=detached, at=now)
    sent = made(opened(raw), bob, now)
    assert verify_receipt(sent, original=raw, trust=trust, at=now).accepted


def test_an_encrypted_receipt_says_outside_what_it_is(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    message: bytes,
    opened: Open,
    trust: TrustStore,
    now: datetime,
) -> None:
    sealed = seal(message, signer=alice, recipients=[to_bob], receipt_request=REQUEST, at=now)
    raw = receipt(
        opened(sealed), signer=bob, recipients=[Contact(alice.certificate)], trust=trust, at=now
    )
    assert raw is not None
    report = verify_receipt(raw, original=sealed, identities=[alice], trust=trust, at=now)
    assert report.accepted
    assert [layer.type for layer in report.message.layers] == [
        "signed-data",
        "enveloped-data",
        "signed-receipt",
    ]
    # RFC 2634 2.4 step 11
    hints = report.message.signers[0].services.content_hints
    assert hints is not None
    assert hints.content_type == oids.RECEIPT
    with pytest.raises(PolicyRefusal, match="no certificate is given for alice"):
        receipt(opened(sealed), signer=bob, recipients=[to_bob], at=now)


def test_nobody_who_is_not_asked_sends_a_receipt(
    alice: Identity, bob: Identity, message: bytes, opened: Open, now: datetime
) -> None:
    plain = opened(sign(message, signer=alice, at=now))
    assert receipt_recipients(plain, signer=bob) == ()
    assert receipt(plain, signer=bob, at=now) is None


@pytest.mark.parametrize(
    ("from_", "is_asked"),
    [
        ("all", True),
        ("first-tier", True),
        (("carol@contoso.com", "BOB@contoso.com"), True),
        (("carol@contoso.com",), False),
    ],
)
def test_a_list_of_those_asked_is_kept_to(
    alice: Identity,
    bob: Identity,
    message: bytes,
    opened: Open,
    now: datetime,
    from_: Any,
    is_asked: bool,
) -> None:
    request = replace(REQUEST, from_=from_)
    got = opened(sign(message, signer=alice, receipt_request=request, at=now))
    assert receipt_recipients(got, signer=bob) == (("alice@contoso.com",) if is_asked else ())
    assert (receipt(got, signer=bob, at=now) is not None) is is_asked


def test_somebody_may_be_asked_by_directory_name(
    alice: Identity, bob: Identity, mallory: Identity, message: bytes, opened: Open, now: datetime
) -> None:
    request = replace(REQUEST, from_=(), from_names=(bob.certificate.subject,))
    got = opened(sign(message, signer=alice, receipt_request=request, at=now))
    assert receipt_recipients(got, signer=bob) == REQUEST.to
    assert receipt_recipients(got, signer=mallory) == ()


def test_an_address_that_is_none_does_not_become_a_line_of_the_header(
    alice: Identity, bob: Identity, message: bytes, opened: Open, now: datetime
) -> None:
    def parties(*addresses: bytes) -> bytes:
        return ber.sequence(*(ber.sequence(ber.tlv(0x81, one)) for one in addresses))

    def ask(*addresses: bytes) -> Opened:
        value = ber.sequence(ber.octet_string(b"id"), ber.tlv(0x80, b"\0"), parties(*addresses))
        outgoing = Outgoing.of(message, EXCHANGE, now)
        request = attributes.attribute(oids.RECEIPT_REQUEST, value)
        entity = bytes(outgoing.entity(clear=True))
        made_ = signed_entity(entity, [alice], outgoing, further=(request,))
        return opened(outgoing.assemble(made_))

    hostile = (b"a@x.com\r\nBcc: eve@x.com", b"a@x.com, eve@x.com", b"Eve <eve@x.com>", b"nobody")
    assert receipt_recipients(ask(*hostile), signer=bob) == ()
    assert receipt(ask(*hostile), signer=bob, at=now) is None
    some = ask(b"a@x.com", *hostile, b"b@x.com", b"a@x.com")
    assert receipt_recipients(some, signer=bob) == ("a@x.com", "b@x.com")


def test_the_original_message_id_is_copied_only_if_it_is_one(
    alice: Identity, bob: Identity, message: bytes, opened: Open, now: datetime
) -> None:
    raw = message.replace(b"<1@contoso.com>", b"<1@contoso.com> <2\xff@x>")
    got = opened(sign(raw, signer=alice, receipt_request=REQUEST, at=now))
    assert Entity(made(got, bob, now)).all("In-Reply-To") == []


def test_nobody_sends_a_receipt_in_another_name(
    asking: bytes, opened: Open, bob: Identity, ca: CA, now: datetime
) -> None:
    with pytest.raises(PolicyRefusal):
        receipt(opened(asking), signer=bob, sender="carol@contoso.com", at=now)
    with pytest.raises(UsageError, match="no address"):
        receipt(opened(asking), signer=bob, sender="bob@contoso.com\r\nBcc: x@y.de", at=now)
    nameless = ca.issue(name="A Machine", key="p256", at=now)
    with pytest.raises(UsageError, match="names none"):
        receipt(opened(asking), signer=nameless, at=now)


def test_signers_who_ask_for_different_receipts_get_none(
    alice: Identity, bob: Identity, alice_rsa: Identity, message: bytes, opened: Open, now: datetime
) -> None:
    one = write_request(replace(REQUEST, identifier=b"id"))
    other = write_request(ReceiptRequest(("eve@x.com",), identifier=b"id"))
    agreed = opened(_signed_by(message, [(alice, one), (alice_rsa, one)], now))
    assert receipt_recipients(agreed, signer=bob) == REQUEST.to
    silent = opened(_signed_by(message, [(alice, b""), (alice_rsa, one)], now))
    assert receipt_recipients(silent, signer=bob) == REQUEST.to
    for pair in ((one, other), (other, one)):
        got = opened(_signed_by(message, list(zip((alice, alice_rsa), pair, strict=True)), now))
        assert "cms.ess.inconsistent" in codes(got.findings)
        assert receipt_recipients(got, signer=bob) == ()


def _signed_by(
    message: bytes,
    signers: Sequence[tuple[Identity, bytes]],
    now: datetime,
    *,
    contents: Sequence[bytes] = (),
    kind: str = oids.DATA,
) -> bytes:
    """An opaque message whose signers sign different attributes, or even contents of their own."""
    outgoing = Outgoing.of(message, EXCHANGE, now)
    contents = contents or [bytes(outgoing.entity(clear=False))] * len(signers)
    infos, certificates, heads = [], [], []
    for (who, further), content in zip(signers, contents, strict=True):
        der, _ = signed_data.sign(
            content,
            [who],
            detached=False,
            policy=EXCHANGE,
            at=now,
            content_type=kind,
            further=(further,) if further else (),
        )
        _, node = read_content_info(der)
        *head, certs, info = list(node)
        heads.append(head)
        infos += [one.raw for one in info]
        certificates += [one.raw for one in certs]
    parts = [one.raw for one in heads[0]]
    parts += [ber.tlv(0xA0, *certificates), ber.set_of(*infos)]
    der = content_info(oids.SIGNED_DATA, parts)
    return outgoing.assemble(pkcs7_mime("signed-data", der))


def test_a_signer_who_is_not_believed_cannot_ask(
    alice: Identity, bob: Identity, message: bytes, opened: Open, now: datetime
) -> None:
    stranger = CA("Elsewhere", key="p256", at=now).issue("eve@x.com", key="p256", at=now)
    asks = write_request(ReceiptRequest(("eve@x.com",), identifier=b"id"))
    got = opened(_signed_by(message, [(alice, b""), (stranger, asks)], now))
    assert any(one.services.receipt_request for one in got.signers)
    assert receipt_recipients(got, signer=bob) == ()


def test_a_message_that_is_not_accepted_cannot_be_confirmed(
    asking: bytes, opened: Open, trust: TrustStore, now: datetime
) -> None:
    # there is no `Opened` of it, so there is nothing to hand to `receipt`
    with pytest.raises(SignatureInvalid):
        opened(asking.replace(b"the figures", b"two figures"))
    report = examine(asking.replace(b"the figures", b"two figures"), trust=trust, at=now)
    assert report.signers[0].services.receipt_request is None


# --- mailing lists ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def lister(ca: CA, now: datetime) -> Identity:
    return ca.issue("list@contoso.com", key="p256", at=now)


def through_list(
    raw: bytes, lister: Identity, now: datetime, *expansions: Expansion, further: bytes = b""
) -> bytes:
    """The message as a mailing list sends it on, in a signature of its own (RFC 2634 4.2)."""
    outgoing = Outgoing.of(raw, EXCHANGE, now)
    extra = (expansion_history(expansions),) if expansions else ()
    entity = bytes(outgoing.entity(clear=True))
    more = (*extra, further) if further else extra
    return outgoing.assemble(
        signed_entity(entity, [lister], outgoing, detached=False, further=more)
    )


@pytest.mark.parametrize(
    ("expansions", "from_", "to"),
    [
        ([], "first-tier", ("alice@contoso.com",)),
        ([(None, ())], "all", ("alice@contoso.com",)),
        ([(None, ())], "first-tier", ()),
        ([("none", ())], "all", ()),
        ([("none", ()), (None, ())], "all", ("alice@contoso.com",)),  # the last one counts
        ([("instead-of", ("l@x.com",))], "all", ("l@x.com",)),
        ([("instead-of", ("l@x.com",))], "first-tier", ()),
        ([("instead-of", ("l@x.com",))], ("carol@contoso.com",), ()),
        ([("in-addition-to", ("l@x.com",))], "all", ("alice@contoso.com", "l@x.com")),
    ],
)
def test_a_mailing_list_decides_about_receipts(
    alice: Identity,
    bob: Identity,
    lister: Identity,
    message: bytes,
    opened: Open,
    now: datetime,
    expansions: list[tuple[str | None, tuple[str, ...]]],
    from_: Any,
    to: tuple[str, ...],
) -> None:
    inner = sign(message, signer=alice, receipt_request=replace(REQUEST, from_=from_), at=now)
    history = [Expansion(LIST, now, *one) for one in expansions]  # type: ignore[arg-type]
    got = opened(through_list(inner, lister, now, *history))
    assert receipt_recipients(got, signer=bob) == to


def test_a_mailing_list_that_is_not_believed_gets_no_receipts_and_nobody_else_does(
    asking: bytes, bob: Identity, opened: Open, now: datetime
) -> None:
    # RFC 2634 6: the attack that adds a signature with a receipt policy of its own
    stranger = CA("Elsewhere", key="p256", at=now).issue("eve@x.com", key="p256", at=now)
    wanted = Expansion(LIST, now, "in-addition-to", ("eve@x.com",))
    got = opened(through_list(asking, stranger, now, wanted))
    assert got.signer is not None
    assert got.signer.email == "alice@contoso.com"
    assert receipt_recipients(got, signer=bob) == ()


def test_histories_that_differ_stop_the_message(
    alice: Identity, lister: Identity, mallory: Identity, asking: bytes, opened: Open, now: datetime
) -> None:
    pairs = [
        (lister, expansion_history([Expansion(LIST, now, "none")])),
        (mallory, expansion_history([Expansion(LIST, now)])),
    ]
    with pytest.raises((SignatureInvalid, CertificateRejected), match="histories"):
        opened(_signed_by(asking, pairs, now))
    same = [(lister, pairs[0][1]), (mallory, pairs[0][1])]
    assert opened(_signed_by(asking, same, now)).signer is not None


def test_a_request_outside_the_innermost_signature_is_not_answered(
    alice: Identity, bob: Identity, message: bytes, opened: Open, trust: TrustStore, now: datetime
) -> None:
    inner = sign(message, signer=alice, detached=False, at=now)
    further = write_request(replace(REQUEST, identifier=b"id"))
    raw = through_list(inner, alice, now, further=further)
    got = opened(raw)
    assert "cms.ess.misplaced" in codes(got.findings)
    assert receipt_recipients(got, signer=bob) == ()
    # `verify` takes one layer off, and cannot know that from the report
    assert receipt_recipients(verify(raw, trust=trust, at=now), signer=bob) == ()


def test_a_receipt_is_never_asked_for_a_receipt(
    asking: bytes, opened: Open, alice: Identity, bob: Identity, trust: TrustStore, now: datetime
) -> None:
    confirmation = _confirmation(opened(asking))
    raw = hand_made(
        replace(confirmation.receipt, identifier=b"").der,  # short, so nothing like CMS itself
        bob,
        now,
        ess.message_signature_digest(confirmation.message_signature_digest),
        write_request(ReceiptRequest(("bob@contoso.com",), identifier=b"id")),
    )
    got = verify(raw, trust=trust, at=now)
    assert "cms.ess.misplaced" in codes(got.findings)
    assert receipt_recipients(got, signer=alice) == ()
    assert receipt(got, signer=alice, at=now) is None


def test_a_history_in_a_receipt_and_a_receipts_digest_elsewhere_are_noticed(
    asking: bytes, opened: Open, alice: Identity, bob: Identity, trust: TrustStore, now: datetime
) -> None:
    confirmation = _confirmation(opened(asking))
    digest = ess.message_signature_digest(confirmation.message_signature_digest)
    history = expansion_history([Expansion(LIST, now)])
    raw = hand_made(confirmation.receipt.der, bob, now, digest, history)
    report = examine_receipt(raw, original=asking, trust=trust, at=now)
    assert codes(report.findings) == ["cms.ess.misplaced"]
    plain = _signed_by(asking, [(alice, digest)], now)
    assert "cms.ess.misplaced" in codes(examine(plain, trust=trust, at=now).findings)


# --- checked ------------------------------------------------------------------------------


def _confirmation(opened: Opened) -> ess.Confirmation:
    found = opened.signers[0].services.confirmation
    assert found is not None
    return found


def hand_made(
    content: bytes, who: Identity, now: datetime, *further: bytes, kind: str = oids.RECEIPT
) -> bytes:
    """A receipt message by hand, correctly signed, so that each rule can be broken alone."""
    header = f"From: {who.emails[0]}\r\nTo: alice@contoso.com\r\n\r\n".encode()
    outgoing = Outgoing.of(header, EXCHANGE, now)
    der, _ = signed_data.sign(
        content, [who], detached=False, policy=EXCHANGE, at=now, content_type=kind, further=further
    )
    return outgoing.assemble(pkcs7_mime(SIGNED_RECEIPT, der))


@pytest.fixture
def judged(
    asking: bytes, opened: Open, bob: Identity, trust: TrustStore, now: datetime
) -> Callable[..., ReceiptReport]:
    """The report on a hand-made receipt of Bob's; as it is, it is right."""
    right = _confirmation(opened(asking))

    def judged(**changes: object) -> ReceiptReport:
        content = changes.pop("content", None)
        digest = changes.pop("digest", right.message_signature_digest)
        who = changes.pop("who", bob)
        kind = changes.pop("kind", oids.RECEIPT)
        if content is None:
            content = replace(right.receipt, **changes).der  # type: ignore[arg-type]
        further = () if digest is None else (ess.message_signature_digest(digest),)  # type: ignore[arg-type]
        raw = hand_made(content, who, now, *further, kind=kind)  # type: ignore[arg-type]
        return examine_receipt(raw, original=asking, trust=trust, at=now)

    return judged


def test_a_receipt_made_by_hand_is_right(judged: Callable[..., ReceiptReport]) -> None:
    report = judged()
    assert report.accepted
    assert report.findings == ()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"signature": b"another"}, "another signature"),
        ({"identifier": b"another"}, "another signed content identifier"),
        ({"content_type": oids.ENVELOPED_DATA}, "content of type"),
        ({"digest": b"\0" * 32}, "msgSigDigest"),
        ({"digest": None}, "msgSigDigest"),
    ],
)
def test_a_receipt_for_something_else_is_rejected(
    judged: Callable[..., ReceiptReport], changes: dict[str, object], text: str
) -> None:
    report = judged(**changes)
    assert report.message.accepted  # as a message it is all right
    assert (report.accepted, report.signer, report.original) == (False, None, None)
    assert codes(report.errors) == ["smime.receipt.mismatch"]
    assert text in report.errors[0].text


def test_a_receipt_that_is_not_der_is_rejected(
    asking: bytes, opened: Open, judged: Callable[..., ReceiptReport]
) -> None:
    der = _confirmation(opened(asking)).receipt.der
    inside = b"".join(node.raw for node in ber.read(der, "Receipt"))
    report = judged(content=b"\x30\x80" + inside + b"\0\0")
    assert codes(report.errors) == ["smime.receipt.mismatch"]
    assert "not DER" in report.errors[0].text


def test_what_is_no_receipt_is_not_one(
    asking: bytes, judged: Callable[..., ReceiptReport], trust: TrustStore, now: datetime
) -> None:
    assert codes(judged(content=b"hello").errors) == ["smime.receipt.none"]
    # right in every octet, but called data: the type is under the signature, too
    data = judged(kind=oids.DATA)
    assert not data.accepted
    report = examine_receipt(asking, original=asking, trust=trust, at=now)
    assert codes(report.errors) == ["smime.receipt.none"]
    with pytest.raises(SignatureInvalid, match="no signed receipt"):
        verify_receipt(asking, original=asking, trust=trust, at=now)
    with pytest.raises(MalformedMessage):
        verify_receipt(b"\x30\x82\x01\x00\x00", original=asking, trust=trust, at=now)


def test_a_receipt_of_a_stranger_inside_an_accepted_signature_is_rejected_with_a_reason(
    asking: bytes, opened: Open, bob: Identity, trust: TrustStore, now: datetime
) -> None:
    stranger = CA("Elsewhere", key="p256", at=now).issue("bob@contoso.com", key="p256", at=now)
    raw = sign(made(opened(asking), stranger, now), signer=bob, at=now)
    report = examine_receipt(raw, original=asking, trust=trust, at=now)
    assert report.message.accepted
    assert not report.accepted
    assert codes(report.errors) == ["smime.receipt.mismatch"]
    with pytest.raises(SignatureInvalid, match="nobody who is accepted signed the receipt"):
        verify_receipt(raw, original=asking, trust=trust, at=now)


def test_a_receipt_is_trusted_as_any_message_is(
    asking: bytes,
    opened: Open,
    bob: Identity,
    judged: Callable[..., ReceiptReport],
    trust: TrustStore,
    now: datetime,
) -> None:
    stranger = CA("Elsewhere", key="p256", at=now).issue("bob@contoso.com", key="p256", at=now)
    report = judged(who=stranger)
    assert not report.accepted
    assert "pki.path.none" in codes(report.errors)
    raw = made(opened(asking), stranger, now)
    with pytest.raises(CertificateRejected):
        verify_receipt(raw, original=asking, trust=trust, at=now)
    with pytest.raises(CertificateRejected, match="carol"):
        verify_receipt(
            made(opened(asking), bob, now),
            original=asking,
            trust=trust,
            sender="carol@contoso.com",
            at=now,
        )


def test_a_receipt_needs_the_digest_from_a_signer_who_is_believed(
    asking: bytes, opened: Open, bob: Identity, mallory: Identity, trust: TrustStore, now: datetime
) -> None:
    stranger = CA("Elsewhere", key="p256", at=now).issue("eve@x.com", key="p256", at=now)
    right = _confirmation(opened(asking))
    der = right.receipt.der
    digest = ess.message_signature_digest(right.message_signature_digest)
    header = b"From: bob@contoso.com\r\nTo: alice@contoso.com\r\n\r\n"

    def report(*signers: tuple[Identity, bytes], contents: Sequence[bytes]) -> ReceiptReport:
        raw = _signed_by(header, signers, now, contents=contents, kind=oids.RECEIPT)
        return examine_receipt(raw, original=asking, trust=trust, at=now)

    assert report((bob, digest), (mallory, digest), contents=[der, der]).accepted
    other = report((bob, b""), (stranger, digest), contents=[der, der])
    assert other.message.accepted
    assert codes(other.errors) == ["smime.receipt.mismatch"]
    # a second signature that is broken spoils a receipt as it spoils a message
    broken = report((bob, digest), (mallory, digest), contents=[der, b"else"])
    assert "cms.digest.mismatch" in codes(broken.errors)
    assert (broken.accepted, broken.signer) == (False, None)


def test_a_receipt_for_another_message_is_refused(
    alice: Identity,
    asking: bytes,
    opened: Open,
    bob: Identity,
    message: bytes,
    to_bob: Contact,
    trust: TrustStore,
    now: datetime,
) -> None:
    raw = made(opened(asking), bob, now)
    originals = {
        "another signature": sign(message, signer=alice, receipt_request=REQUEST, at=now),
        "asks for a receipt": sign(message, signer=alice, at=now),
        "no good signature": asking.replace(b"the figures", b"two figures"),
        "cannot be read": seal(
            message, signer=alice, recipients=[to_bob], receipt_request=REQUEST, at=now
        ),
    }
    for text, original in originals.items():
        with pytest.raises(SignatureInvalid, match=text) as caught:
            verify_receipt(raw, original=original, trust=trust, at=now)
        assert isinstance(caught.value.report, ReceiptReport)
        assert caught.value.hint is not None


def test_a_receipt_of_somebody_who_was_not_asked_is_flagged(
    alice: Identity, bob: Identity, message: bytes, opened: Open, trust: TrustStore, now: datetime
) -> None:
    request = replace(REQUEST, from_=("carol@contoso.com",))
    original = sign(message, signer=alice, receipt_request=request, at=now)
    confirmation = _confirmation(opened(original))
    digest = ess.message_signature_digest(confirmation.message_signature_digest)
    raw = hand_made(confirmation.receipt.der, bob, now, digest)
    report = verify_receipt(raw, original=original, trust=trust, at=now)
    assert report.accepted
    assert codes(report.findings) == ["smime.receipt.unexpected"]


def test_an_encrypted_receipt_without_its_key_is_not_read(
    alice: Identity, bob: Identity, asking: bytes, opened: Open, trust: TrustStore, now: datetime
) -> None:
    raw = receipt(opened(asking), signer=bob, recipients=[Contact(alice.certificate)], at=now)
    assert raw is not None
    report = examine_receipt(raw, original=asking, trust=trust, at=now)
    assert report.message.error is not None
    assert not report.accepted


def test_a_receipt_moved_under_another_encryption_is_still_the_signers(
    alice: Identity, bob: Identity, asking: bytes, opened: Open, trust: TrustStore, now: datetime
) -> None:
    """Without the outer signature, too, which an older sender may leave out."""
    outgoing = Outgoing.of(made(opened(asking), bob, now), EXCHANGE, now)
    entity = bytes(outgoing.entity(clear=False))
    readers = [Contact(alice.certificate)]
    raw = outgoing.assemble(encrypted_entity(entity, readers, EXCHANGE, "issuer"))
    report = verify_receipt(raw, original=asking, identities=[alice], trust=trust, at=now)
    assert report.accepted


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=60).map(ber.sequence),
        st.builds(
            Receipt,
            st.sampled_from([oids.DATA, oids.RECEIPT]),
            st.binary(max_size=20),
            st.binary(max_size=200),
        ).map(lambda one: one.der),
    )
)
def test_any_octets_as_a_receipt_are_reported_and_never_accepted(
    judged: Callable[..., ReceiptReport], content: bytes
) -> None:
    report = judged(content=content)
    assert not report.accepted
    assert report.errors


# --- with OpenSSL -------------------------------------------------------------------------

needs_openssl = pytest.mark.skipif(which("openssl") is None, reason="openssl is not installed")


@dataclass(frozen=True)
class Today:
    """People whose certificates are new by the clock, which OpenSSL signs and judges by."""

    trust: TrustStore
    alice: Identity
    bob: Identity


@pytest.fixture(scope="module")
def today() -> Today:
    ca = CA("Today", key="p256")
    return Today(
        TrustStore((ca.certificate,)),
        ca.issue("alice@contoso.com"),
        ca.issue("bob@contoso.com", key="p256"),
    )


OpenSsl = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def openssl(tmp_path: Path, today: Today) -> OpenSsl:
    """Run `openssl cms` in a folder that holds alice.*, bob.* and ca.crt."""
    for name, who in (("alice", today.alice), ("bob", today.bob)):
        certificate = who.certificate.x509.public_bytes(Encoding.PEM)
        key = who.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{name}.crt").write_bytes(certificate)
        (tmp_path / f"{name}.key").write_bytes(key)
    root = today.trust.anchors[0].x509.public_bytes(Encoding.PEM)
    (tmp_path / "ca.crt").write_bytes(root)

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["openssl", "cms", *arguments],
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=False,
        )

    return run


@needs_openssl
def test_openssl_accepts_our_receipt_and_refuses_it_for_another_message(
    message: bytes, today: Today, tmp_path: Path, openssl: OpenSsl
) -> None:
    request = ReceiptRequest(("alice@contoso.com",), from_=("bob@contoso.com",))
    for name in ("one", "other"):
        raw = sign(message, signer=today.alice, receipt_request=request)
        (tmp_path / f"{name}.eml").write_bytes(raw)
    opened = unseal((tmp_path / "one.eml").read_bytes(), trust=today.trust)
    ours = receipt(opened, signer=today.bob)
    assert ours is not None
    (tmp_path / "receipt.eml").write_bytes(ours)
    shown = openssl("-verify", "-in", "one.eml", "-CAfile", "ca.crt", "-receipt_request_print")
    assert shown.returncode == 0, shown.stderr
    assert b"email:bob@contoso.com" in shown.stdout + shown.stderr
    good = openssl("-verify_receipt", "receipt.eml", "-in", "one.eml", "-CAfile", "ca.crt")
    assert good.returncode == 0, good.stderr
    bad = openssl("-verify_receipt", "receipt.eml", "-in", "other.eml", "-CAfile", "ca.crt")
    assert bad.returncode != 0


@needs_openssl
@pytest.mark.parametrize(
    ("option", "from_"),
    [
        (("-receipt_request_all",), "all"),
        (("-receipt_request_first",), "first-tier"),
        (("-receipt_request_from", "bob@contoso.com"), ("bob@contoso.com",)),
    ],
)
def test_we_answer_the_requests_of_openssl_and_check_its_receipts(
    today: Today, tmp_path: Path, openssl: OpenSsl, option: tuple[str, ...], from_: str
) -> None:
    (tmp_path / "in.txt").write_bytes(b"Content-Type: text/plain\r\n\r\nhello\r\n")
    asked = openssl(
        *("-sign", "-in", "in.txt", "-signer", "alice.crt", "-inkey", "alice.key"),
        *("-from", "alice@contoso.com", "-to", "bob@contoso.com", "-subject", "x"),
        *("-out", "asking.eml", "-receipt_request_to", "alice@contoso.com", *option),
    )
    assert asked.returncode == 0, asked.stderr
    original = (tmp_path / "asking.eml").read_bytes()
    got = unseal(original, trust=today.trust)
    request = got.signers[0].services.receipt_request
    assert request is not None
    assert (request.to, request.from_) == (("alice@contoso.com",), from_)
    ours = receipt(got, signer=today.bob)
    assert ours is not None
    (tmp_path / "ours.eml").write_bytes(ours)
    good = openssl("-verify_receipt", "ours.eml", "-in", "asking.eml", "-CAfile", "ca.crt")
    assert good.returncode == 0, good.stderr

    signed = openssl(
        *("-sign_receipt", "-in", "asking.eml", "-signer", "bob.crt", "-inkey", "bob.key"),
        *("-out", "theirs.eml"),
    )
    assert signed.returncode == 0, signed.stderr
    theirs = (tmp_path / "theirs.eml").read_bytes()
    report = verify_receipt(theirs, original=original, trust=today.trust, sender="bob@contoso.com")
    assert report.accepted
    assert report.signer is not None
    assert report.signer.email == "bob@contoso.com"


def test_whatever_a_signer_puts_into_a_receipt_is_no_other_one(
    asking: bytes, opened: Open, alice: Identity, bob: Identity, trust: TrustStore, now: datetime
) -> None:
    """Under good signatures: what is changed is the Receipt, msgSigDigest, or the request."""
    [signer] = opened(asking).signers
    confirmation = signer.services.confirmation
    assert confirmation is not None
    good = confirmation.receipt.der
    digest = ess.message_signature_digest(confirmation.message_signature_digest)
    asked = write_request(ReceiptRequest(("alice@contoso.com", "x@y.z"), identifier=b"id"))
    rng = random.Random(9)

    def changed(der: bytes) -> bytes:
        for _ in range(rng.randint(0, 3)):
            der = (elements if rng.random() < 0.8 else octets)(der, rng)
        return der

    def signed_by(who: Identity, content: bytes, kind: str, attribute: bytes) -> bytes:
        der, _ = signed_data.sign(
            content,
            [who],
            detached=False,
            policy=EXCHANGE,
            at=now,
            content_type=kind,
            further=(attribute,),
        )
        return der

    accepted = 0
    for _ in range(150):
        with contextlib.suppress(SmimeGraphError):  # of attributes that cannot be signed
            der, claimed = changed(good), changed(digest)
            cms = signed_by(bob, der, oids.RECEIPT, claimed)
            raw = b"From: bob@contoso.com\r\n" + pkcs7_mime(SIGNED_RECEIPT, cms)
            report = examine_receipt(raw, original=asking, trust=trust, at=now)
            assert report.accepted or (der, claimed) != (good, digest)
            if report.signer is not None:
                assert der == good  # of msgSigDigest another form of BER says the same
                held = report.signer.services.message_signature_digest
                assert held == confirmation.message_signature_digest
            accepted += report.accepted
        with contextlib.suppress(SmimeGraphError):
            cms = signed_by(alice, b"Content-Type: text/plain\r\n\r\nx", oids.DATA, changed(asked))
            found = opened(b"From: alice@contoso.com\r\n" + pkcs7_mime("signed-data", cms))
            answer = receipt(found, signer=bob, at=now)
            if answer is not None:
                assert Entity(answer).all("Bcc") == []
                assert len(Entity(answer).all("To")) == 1
    assert 0 < accepted < 150
