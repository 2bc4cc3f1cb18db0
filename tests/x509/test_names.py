"""Names are the same name in every encoding that RFC 5280 7.1 lets them have, wherever compared."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from hypothesis import given
from hypothesis import strategies as st

from smime_graph import examine, oids, sign, verify
from smime_graph.algorithms import SHA256, ContentCipher, KeyAgreement, KeyWrap, by_name
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info
from smime_graph.authority.issue import CA
from smime_graph.cms import attributes, enveloped_data, parameters, signed_data
from smime_graph.cms.receipt_request import ReceiptRequest
from smime_graph.cms.recipients import kinds as recipients
from smime_graph.cms.recipients.recipient_info import Opening
from smime_graph.errors import NoMatchingIdentity
from smime_graph.harness.forgeries.craft import add_unsigned
from smime_graph.pki.identity import Contact, Identity, issuers
from smime_graph.pki.path import build_path
from smime_graph.pki.trust import TrustStore
from smime_graph.policy import EXCHANGE
from smime_graph.smime.receipts import receipt_recipients
from smime_graph.x509 import names
from smime_graph.x509.certificate import Certificate

CONTENT = b"Content-Type: text/plain\r\n\r\nhello\r\n"
Spelling = Callable[[bytes], bytes]


def respell(tag: int, encoding: str, change: Callable[[str], str]) -> Spelling:
    """Every value of a Name in another kind of string, and changed."""

    def spell(name: bytes) -> bytes:
        found = []
        for rdn in ber.read(name, "Name"):
            pairs = []
            for pair in rdn:
                kind, value = pair.children()
                text = change(value.contents.decode())
                pairs.append(ber.sequence(kind.raw, ber.tlv(tag, text.encode(encoding))))
            found.append(ber.set_of(*pairs))
        return ber.sequence(*found)

    return spell


def unchanged(text: str) -> str:
    return text


SPELLINGS: dict[str, Spelling] = {
    "as received": lambda name: name,
    "printable": respell(0x13, "latin-1", unchanged),
    "utf8": respell(0x0C, "utf-8", unchanged),
    "teletex": respell(0x14, "latin-1", unchanged),
    "ia5": respell(0x16, "latin-1", unchanged),
    "bmp": respell(0x1E, "utf-16-be", unchanged),
    "universal": respell(0x1C, "utf-32-be", unchanged),
    "upper case": respell(0x0C, "utf-8", str.upper),
    "blanks": respell(0x13, "latin-1", lambda text: f"  {text.replace(' ', '   ')} "),
    "all of it": respell(0x1E, "utf-16-be", lambda text: f" {text.replace(' ', '  ').upper()}"),
    "long lengths": lambda name: b"\x30\x82" + (len(name) - 2).to_bytes(2, "big") + name[2:],
    "indefinite": lambda name: b"\x30\x80" + name[2:] + b"\0\0",
}
NO_DER = ("long lengths", "indefinite")
OTHERS: dict[str, Spelling] = {
    "another text": respell(0x0C, "utf-8", lambda text: text + "x"),
    "no blank": respell(0x0C, "utf-8", lambda text: text.replace(" ", "")),
    "empty": lambda _: ber.sequence(),
    "one part less": lambda name: ber.sequence(*(r.raw for r in ber.read(name, "").children()[1:])),
    "another order": lambda name: ber.sequence(
        *(r.raw for r in reversed(ber.read(name, "").children()))
    ),
    "one RDN": lambda name: ber.sequence(
        ber.set_of(*(pair.raw for rdn in ber.read(name, "") for pair in rdn))
    ),
    "no name": lambda _: ber.sequence(ber.integer(5)),
}

spellings = pytest.mark.parametrize("spell", SPELLINGS.values(), ids=list(SPELLINGS))
others = pytest.mark.parametrize("spell", OTHERS.values(), ids=list(OTHERS))


def named(certificate: Certificate, spell: Spelling) -> bytes:
    return ber.sequence(spell(certificate.issuer), certificate.serial)


# --- the comparison


@spellings
def test_one_name_in_another_spelling(spell: Spelling, ca: CA) -> None:
    name = ca.certificate.subject
    assert names.same(name, spell(name))
    assert names.same(spell(name), name)


@others
def test_another_name(spell: Spelling, ca: CA) -> None:
    name = ca.certificate.subject
    assert not names.same(name, spell(name))


def test_what_is_the_same_beyond_case_and_blanks() -> None:
    def name(text: str, tag: int = 0x0C, encoding: str = "utf-8") -> bytes:
        pair = ber.sequence(ber.oid("2.5.4.3"), ber.tlv(tag, text.encode(encoding)))
        return ber.sequence(ber.set_of(pair))

    assert names.same(name("Müller"), name("MÜLLER", 0x14, "latin-1"))
    assert names.same(name("Müller"), name("Mu\u0308ller"))  # composed or not
    assert names.same(name("a b"), name("a\u00a0b"))
    assert not names.same(name("Müller"), name("Muller"))
    # what is no text is compared as it is
    assert not names.same(name("a", 0x04), name("A", 0x04))
    assert names.same(name("\xff", 0x0C, "latin-1"), name("\xff", 0x0C, "latin-1"))
    assert not names.same(name("\xff", 0x0C, "latin-1"), name("\xfe", 0x0C, "latin-1"))


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_octets_are_the_same_as_themselves_alone(one: bytes, other: bytes) -> None:
    one, other = ber.sequence(one), ber.sequence(other)
    assert names.same(one, one)
    assert names.same(one, other) == names.same(other, one)
    assert names.canonical(names.canonical(one)) == names.canonical(one)


def test_long_names_are_compared_and_few_are_remembered() -> None:
    pair = ber.sequence(ber.oid("2.5.4.3"), ber.tlv(0x13, b"x" * 50))
    name = ber.sequence(*([ber.set_of(pair)] * 250))
    before = names._remembered.cache_info().currsize
    assert names.same(name, SPELLINGS["upper case"](name))
    assert names._remembered.cache_info().currsize == before
    assert names._lately.cache_info().maxsize == 4


# --- who signed


def signer_info(
    who: Identity, spell: Spelling, content: bytes, *kinds: bytes, at: datetime
) -> bytes:
    """A SignerInfo whose sid and ESSCertIDv2 name the issuer in this spelling."""
    certificate = who.certificate
    identifier = ber.sequence(
        ber.octet_string(SHA256.compute(certificate.der)),
        ber.sequence(ber.sequence(ber.context(4, spell(certificate.issuer))), certificate.serial),
    )
    scheme, digest = signed_data.choose_scheme(certificate, EXCHANGE)
    assert scheme.sign is not None
    signed = ber.set_of(
        *kinds,
        attributes.signing_time(at),
        attributes.message_digest(digest.compute(content)),
        attributes.attribute(oids.SIGNING_CERTIFICATE_V2, ber.sequence(ber.sequence(identifier))),
    )
    return ber.sequence(
        ber.integer(1),
        named(certificate, spell),
        parameters.write_digest(digest),
        b"\xa0" + signed[1:],
        parameters.write_signature(scheme, digest),
        ber.octet_string(scheme.sign(who.private_key, signed, digest)),
    )


def signed_by(who: Identity, spell: Spelling, at: datetime) -> bytes:
    return content_info(
        oids.SIGNED_DATA,
        [
            ber.integer(1),
            ber.set_of(parameters.write_digest(SHA256)),
            ber.sequence(ber.oid(oids.DATA), ber.context(0, ber.octet_string(CONTENT))),
            ber.tlv(0xA0, who.certificate.der),
            ber.set_of(signer_info(who, spell, CONTENT, attributes.content_type(oids.DATA), at=at)),
        ],
    )


@spellings
def test_a_signer_is_found_by_name(
    spell: Spelling, alice: Identity, trust: TrustStore, now: datetime
) -> None:
    """Both the sid and the issuerSerial of the signingCertificate (RFC 5035 5)."""
    der = signed_by(alice, spell, now)
    opened = verify(der, trust=trust, sender="alice@contoso.com", at=now)
    assert opened.signer.certificate == alice.certificate
    assert opened.findings == ()


@others
def test_a_signer_of_another_name_is_not(
    spell: Spelling, alice: Identity, trust: TrustStore, now: datetime
) -> None:
    report = examine(signed_by(alice, spell, now), trust=trust, sender="alice@contoso.com", at=now)
    assert not report.accepted
    assert [signer.valid for signer in report.signers] != [True]


def test_the_serial_number_decides_as_well(alice: Identity) -> None:
    certificate = alice.certificate
    assert certificate.is_named(certificate.issuer, certificate.serial_number)
    assert not certificate.is_named(certificate.issuer, certificate.serial_number + 1)
    assert not certificate.is_named(certificate.subject, certificate.serial_number)


@spellings
def test_a_countersigner_is_found_by_name(
    spell: Spelling, alice: Identity, bob: Identity, trust: TrustStore, now: datetime
) -> None:
    der, _ = signed_data.sign(CONTENT, [alice], detached=False, policy=EXCHANGE, at=now)
    over = signed_data.read(der).signers[0].signature
    value = signer_info(bob, spell, over, at=now)
    der = add_unsigned(der, oids.COUNTERSIGNATURE, value, certificates=[bob.certificate])
    opened = verify(der, trust=trust, sender="alice@contoso.com", at=now)
    (found,) = opened.signer.countersigners
    assert (found.certificate, found.valid, found.trusted) == (bob.certificate, True, True)
    assert opened.findings == ()


# --- for whom


def substitute(node: ber.Node, old: bytes, new: bytes) -> bytes:
    """The element with every element `old` in it replaced."""
    if node.raw == old:
        return new
    if not node.tag & ber.CONSTRUCTED:
        return node.raw
    return ber.tlv(node.tag, *(substitute(one, old, new) for one in node))


@spellings
@pytest.mark.parametrize("kind", ["p256", "rsa-2048", "ml-kem-768"])
def test_a_recipient_is_found_by_name(spell: Spelling, kind: str, ca: CA, now: datetime) -> None:
    use: Literal["encrypt", "both"] = "encrypt" if kind == "ml-kem-768" else "both"
    bob, other = (
        ca.issue(f"{name}@contoso.com", key=kind, use=use, at=now) for name in ("bob", "other")
    )
    der = enveloped_data.encrypt(
        CONTENT,
        [Contact(bob.certificate)],
        cipher=by_name(ContentCipher, "aes256-cbc"),
        policy=EXCHANGE,
    )
    der = substitute(
        ber.read(der, ""), bob.certificate.issuer_and_serial, named(bob.certificate, spell)
    )
    enveloped = enveloped_data.read(der)
    assert enveloped_data.decrypt(enveloped, [other, bob], policy=EXCHANGE) == CONTENT
    with pytest.raises(NoMatchingIdentity):
        enveloped_data.decrypt(enveloped, [other], policy=EXCHANGE)


@spellings
def test_an_originator_is_found_by_name(spell: Spelling, alice: Identity, bob: Identity) -> None:
    cek, wrap = bytes(range(32)), by_name(KeyWrap, "aes256-wrap")
    agreement = by_name(KeyAgreement, "dhsinglepass-stddh-sha256kdf")
    shared = ber.sequence(
        parameters.write_wrap(wrap), ber.context(2, ber.octet_string((256).to_bytes(4, "big")))
    )
    secret = alice.private_key.exchange(ec.ECDH(), bob.certificate.public_key)
    info = ber.context(
        1,
        ber.integer(3),
        ber.context(0, named(alice.certificate, spell)),
        ber.sequence(ber.oid(agreement.oid), parameters.write_wrap(wrap)),
        ber.sequence(
            ber.sequence(
                named(bob.certificate, spell),
                ber.octet_string(aes_key_wrap(agreement.derive(secret, 32, shared, None), cek)),
            )
        ),
    )
    (recipient,) = recipients.read(ber.read(ber.set_of(info), "", tag=ber.SET))
    ((kind, _, key),) = recipients.pairs([recipient], [alice, bob])
    assert key is bob
    opening = Opening(32, EXCHANGE, (bob.certificate, alice.certificate))
    assert kind.unwrap(recipient, bob, opening) == cek


@spellings
def test_somebody_is_asked_for_a_receipt_by_name(
    spell: Spelling,
    alice: Identity,
    bob: Identity,
    mallory: Identity,
    message: bytes,
    trust: TrustStore,
    now: datetime,
) -> None:
    asked = ReceiptRequest(
        ("alice@contoso.com",), from_=(), from_names=(spell(bob.certificate.subject),)
    )
    raw = sign(message, signer=alice, receipt_request=asked, at=now)
    opened = verify(raw, trust=trust, at=now)
    assert receipt_recipients(opened, signer=bob) == ("alice@contoso.com",)
    assert receipt_recipients(opened, signer=mallory) == ()


# --- chains


@pytest.mark.parametrize("how", [how for how in SPELLINGS if how not in NO_DER])
def test_an_issuer_is_found_by_name(how: str, ca: CA, now: datetime) -> None:
    spell = SPELLINGS[how]
    below = ca.create_intermediate("Below the Root", key="p256", at=now)
    who = below.issue("alice@contoso.com", key="p256")
    tbs = list(ber.read(ber.read(who.certificate.der, "").children()[0].raw, ""))
    body = ber.sequence(*(one.raw for one in tbs[:3]), spell(tbs[3].raw), *(o.raw for o in tbs[4:]))
    signature = below.private_key.sign(body, ec.ECDSA(hashes.SHA256()))
    respelt = Certificate(ber.sequence(body, tbs[2].raw, ber.bit_string(signature)))
    assert issuers(respelt, [ca.certificate, below.certificate]) == (below.certificate,)
    trust = TrustStore((ca.certificate,))
    report = build_path(respelt, trust=trust, certificates=[below.certificate], at=now)
    assert report.chain == (respelt, below.certificate, ca.certificate)


def test_a_name_that_nobody_has_is_neither_compared_nor_shown_part_by_part() -> None:
    def name(count: int, case: str) -> bytes:
        pair = ber.sequence(ber.oid("2.5.4.3"), ber.tlv(ber.UTF8_STRING, case.encode()))
        return ber.sequence(*([ber.set_of(pair)] * count))

    assert names.same(name(1000, "x"), name(1000, "X"))
    assert names.text(name(1000, "x")).startswith("CN=x,CN=x")
    assert names.same(name(2000, "x"), name(2000, "x"))
    assert not names.same(name(2000, "x"), name(2000, "X"))
    assert names.text(name(2000, "x")) == f"(a name of {len(name(2000, 'x'))} octets)"
    assert names.values(name(2000, "x"), "2.5.4.3") == []
