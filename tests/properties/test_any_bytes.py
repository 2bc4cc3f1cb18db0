"""Any bytes to any reading function: a value or one of our errors, never anything else."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pybase64
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smime_graph import (
    ARCHIVE,
    EXCHANGE,
    RFC_8551,
    Contact,
    Identity,
    SmimeGraphError,
    TrustStore,
    decrypt,
    encrypt,
    examine,
    inspect,
    oids,
    seal,
    sign,
    unseal,
    verify,
)
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info
from smime_graph.cms import attributes, enveloped_data, signature_check, signed_data
from smime_graph.pki.address import addresses, parse_header_addresses
from smime_graph.pki.identity import read_certificates
from smime_graph.pki.validate import validate
from smime_graph.smime.canonical import canonical_entity
from smime_graph.smime.entity import ContentType, Entity, split_multipart
from smime_graph.smime.transfer import decode_base64
from smime_graph.x509 import deviations
from smime_graph.x509.certificate import Certificate
from tests.der import is_der

AT = datetime(2026, 1, 1, tzinfo=UTC)
MESSAGE = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: x\r\n\r\nhello\r\n"


def attempt(*actions: Callable[[], object]) -> None:
    """Do each; anything but our errors gets out, and those say something without a secret."""
    for action in actions:
        with suppress(SmimeGraphError):
            try:
                action()
            except SmimeGraphError as error:
                text = f"{error} {error.hint or ''}"
                assert len(text) > 10 and "secret" not in text  # noqa: PT018
                raise


def read_all(raw: bytes, people: Any, policy: Any = ARCHIVE) -> None:
    """Every function that reads a message or a CMS; anything but our errors gets out."""
    keys = people.everyone
    attempt(
        lambda: inspect(raw),
        lambda: verify(raw, trust=people.trust, policy=policy),
        lambda: verify(raw, trust=people.trust, policy=policy, content=b"x", sender="a@b"),
        lambda: decrypt(raw, identities=keys, policy=policy),
        lambda: unseal(raw, identities=keys, trust=people.trust, policy=policy).message,
        lambda: verify(raw, trust=people.trust, policy=policy, part="1.1"),
        lambda: unseal(raw, identities=keys, trust=people.trust, policy=policy, part="1.2.1"),
        lambda: _read_signed(raw, policy),
        lambda: enveloped_data.decrypt(enveloped_data.read(raw), keys, policy=policy),
    )
    # says everything, raises nothing that it can report
    report = examine(raw, identities=keys, trust=people.trust, policy=policy)
    assert all(str(finding) for finding in report.findings)
    assert repr(report)


def _read_signed(raw: bytes, policy: Any) -> None:
    signed = signed_data.read(raw)
    for signer in signed.signers:
        signature_check.check(signed, signer, signed.content or b"", policy=policy)
        assert signer.identifier


# --- bytes --------------------------------------------------------------------------------


@given(st.binary(max_size=400))
def test_any_bytes(people: Any, raw: bytes) -> None:
    read_all(raw, people)


@pytest.mark.parametrize("label", [b"CMS", b"PKCS7"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_cms_in_pem_is_read(people: Any, label: bytes, line_end: bytes) -> None:
    der, _ = signed_data.sign(
        b"Content-Type: text/plain\r\n\r\nhello\r\n",
        [people.alice],
        detached=False,
        policy=EXCHANGE,
        at=datetime.now(UTC),
    )
    lines = (b"-----BEGIN %s-----" % label, pybase64.b64encode(der), b"-----END %s-----" % label)
    armoured = line_end.join([*lines, b""])
    assert inspect(armoured) == inspect(der)
    assert verify(armoured, trust=people.trust).content.endswith(b"hello\r\n")


_FIELD_NAMES = st.sampled_from(
    [
        b"From",
        b"Sender",
        b"To",
        b"Content-Type",
        b"Content-Transfer-Encoding",
        b"Content-Disposition",
        b"Subject",
        b"X",
        b"From\x0b",
        b"\xef\xbb\xbfFrom",
    ]
)
_VALUES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b'multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary=b',
            b"multipart/signed; boundary=b",
            b"multipart/mixed; boundary=b",
            b"multipart/mixed; boundary*=utf-8''b; boundary*0=x",
            b"multipart/mixed; boundary*=utf-8''%ff%",
            b"application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m",
            b"application/x-pkcs7-mime",
            b"application/octet-stream; name=smime.p7m",
            b"application/pkcs7-signature; name=smime.p7s",
            b"message/rfc822",
            b"multipart/signed (a (b;) c); boundary=b (d)",
            b"base64",
            b"quoted-printable",
            b"binary",
            b"x-unknown",
            b"alice@contoso.com",
            b'"Alice" <alice@contoso.com>, bob@contoso.com',
            b"=?utf-8?q?a=40b?= <alice@contoso.com>",
            b"\xc3\xa4 <alice@contoso.com>",
        ]
    ),
)
_LINE_ENDS = st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\t"])
_BODIES = st.one_of(
    st.binary(max_size=80),
    st.lists(
        st.sampled_from(
            [b"--b", b"--b--", b"\r\n", b"\n", b"MIAG", b"Content-Type: multipart/mixed", b" ", b""]
        ),
        max_size=12,
    ).map(b"".join),
)


@st.composite
def mail(draw: Callable[..., Any]) -> bytes:
    """Something that looks like a message."""
    lines = draw(st.lists(st.tuples(_FIELD_NAMES, _VALUES, _LINE_ENDS), max_size=5))
    header = b"".join(name + b": " + value + end for name, value, end in lines)
    return header + bytes(draw(_LINE_ENDS)) + bytes(draw(_BODIES))


@given(mail())
def test_anything_that_looks_like_mail(people: Any, raw: bytes) -> None:
    read_all(raw, people)


@given(mail(), st.booleans())
@example(b'Content-Type: multipart/mixed; boundary=""\n\n----', True)
@example(b"Content-Type: message/rfc822\nContent-Transfer-Encoding: binary\n\n\xff\r", True)
def test_any_mail_is_written_or_refused(people: Any, raw: bytes, detached: bool) -> None:
    quiet = EXCHANGE.but("quiet", sender_must_match=False, every_recipient_must_read=False)
    attempt(
        lambda: sign(raw, signer=people.alice, detached=detached, policy=quiet, at=AT),
        lambda: encrypt(raw, recipients=people.readers, policy=quiet),
        lambda: sign(raw, signer=people.alice),
    )


@given(st.one_of(mail(), st.binary(max_size=200)), st.text(max_size=80), st.booleans())
def test_the_functions_of_mime_take_anything(raw: bytes, text: str, clear: bool) -> None:
    attempt(
        lambda: canonical_entity(raw, clear=clear),
        lambda: Entity(raw).decoded_body(),
        lambda: (Entity(raw).content_type, Entity(raw).filename),
        lambda: ContentType.read(text),
        lambda: split_multipart(raw, text),
        lambda: decode_base64(raw),
        lambda: parse_header_addresses(text),
    )


# --- ASN.1 --------------------------------------------------------------------------------

_TAGS = st.sampled_from([0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x17, 0x18, 0x80, 0x81, 0x1F])
_LEAVES = st.one_of(
    st.builds(lambda tag, body: ber.tlv(tag, body), _TAGS, st.binary(max_size=12)),
    st.sampled_from(
        [
            ber.oid(value)
            for name, value in vars(oids).items()
            if name.isupper() and isinstance(value, str)
        ]
    ),
    st.integers(-300, 300).map(ber.integer),
)


def _constructed(children: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    tags = st.sampled_from([0x30, 0x31, 0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0x24])
    elements = st.lists(children, max_size=5).map(b"".join)
    return st.one_of(
        st.builds(lambda tag, body: ber.tlv(tag, body), tags, elements),
        st.builds(lambda tag, body: bytes((tag, 0x80)) + body + b"\0\0", tags, elements),
    )


ASN1 = st.recursive(_LEAVES, _constructed, max_leaves=25)


@given(
    st.sampled_from([oids.SIGNED_DATA, oids.ENVELOPED_DATA, oids.AUTH_ENVELOPED_DATA]),
    st.lists(ASN1, max_size=7),
)
def test_any_asn1_as_cms(people: Any, kind: str, elements: list[bytes]) -> None:
    read_all(content_info(kind, elements), people)


@given(ASN1)
def test_any_asn1_as_anything(people: Any, der: bytes) -> None:
    attempt(
        lambda: Certificate(der).description,
        lambda: attributes.Attributes(ber.read(der, "attributes", tag=der[0])),
        lambda: is_der(ber.read(der, "x", tag=der[0])),
        lambda: attributes.looks_like_signed_attributes(der),
        lambda: signed_data.describe_issuer_and_serial(der),
    )


# --- what was valid, changed ---------------------------------------------------------------


@pytest.fixture(scope="session")
def valid(people: Any) -> list[bytes]:
    """Messages of every shape that is made."""
    quiet = EXCHANGE.but("quiet", sender_must_match=False, every_recipient_must_read=False)
    gcm = RFC_8551.but("gcm", sender_must_match=False, every_recipient_must_read=False)
    everyone = [people.alice, people.bob, people.carol]
    at = datetime.now(UTC)
    made = [
        sign(MESSAGE, signer=everyone, policy=quiet, at=at),
        sign(MESSAGE, signer=people.bob, detached=False, policy=quiet, at=at, sid="ski"),
        seal(MESSAGE, signer=people.alice, recipients=people.readers, policy=quiet, at=at),
        encrypt(MESSAGE, recipients=people.readers, policy=gcm, rid="ski"),
    ]
    made += [bytes(Entity(one).decoded_body()) for one in made[1:]]
    return made


def _mutate(raw: bytes, random: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(random.randint(1, 3)):
        position = random.randrange(len(changed))
        size = random.choice([1, 1, 2, 8])
        match random.randrange(5):
            case 0:
                changed[position] ^= 1 << random.randrange(8)
            case 1:
                changed[position] = random.choice([0, 0x30, 0x31, 0x80, 0xA0, 0xFF, 0x0A, 0x0D])
            case 2:
                del changed[position : position + size]
            case 3:
                changed[position:position] = changed[position : position + size]
            case _:
                other = random.randrange(len(changed))
                changed[position : position + size] = changed[other : other + size]
        if not changed:
            break
    return bytes(changed)


@given(st.data(), st.randoms(use_true_random=False))
def test_a_changed_message(
    people: Any, valid: list[bytes], data: Any, random: random.Random
) -> None:
    raw = data.draw(st.sampled_from(range(len(valid))))
    read_all(_mutate(valid[raw], random), people)


@given(st.data())
def test_a_message_that_is_cut_off(people: Any, valid: list[bytes], data: Any) -> None:
    raw = valid[data.draw(st.integers(0, len(valid) - 1))]
    read_all(raw[: data.draw(st.integers(0, len(raw) - 1))], people)


@given(st.randoms(use_true_random=False))
def test_a_changed_certificate(people: Any, random: random.Random) -> None:
    der = _mutate(random.choice(people.everyone).certificate.der, random)
    try:
        certificate = Certificate(der)
    except SmimeGraphError:
        return
    attempt(
        lambda: certificate.description,
        lambda: certificate.issuer_text,
        lambda: certificate.public_key,
        lambda: certificate.extensions,
        lambda: certificate.not_after,
        lambda: certificate.subject_key_identifier,
    )
    for use in ("sign", "encrypt"):
        validate(certificate, use=use, trust=people.trust, at=AT)
    assert isinstance(addresses(certificate), tuple)
    holder = TrustStore((certificate,))
    validate(people.alice.certificate, use="sign", trust=holder, at=AT)
    attempt(lambda: encrypt(MESSAGE, recipients=[Contact(certificate)]))


@given(st.one_of(ASN1, st.binary(max_size=100)))
@example(b"\x30\0")
@example(ber.sequence(ber.sequence(ber.context(3, ber.sequence(ber.sequence(ber.oid("1.2.3")))))))
@example(ber.sequence(ber.sequence(b"\x3f\x1f\x05\x30\x03\x13\x01@")))
def test_slips_are_put_right_in_anything_or_in_nothing(der: bytes) -> None:
    copy = deviations.put_right(der)
    assert copy is None or (copy != der and ber.read(copy, "copy"))


@given(st.one_of(st.binary(max_size=300), st.randoms(use_true_random=False)))
def test_any_key_file(people: Any, tmp_path_factory: Any, given: Any) -> None:
    raw = given if isinstance(given, bytes) else _mutate(people.alice.to_pem(), given)
    path = Path(tmp_path_factory.getbasetemp()) / "any.pem"
    path.write_bytes(raw)
    attempt(
        lambda: Identity.load(path, password="secret"),
        lambda: Contact.load(path),
        lambda: TrustStore.from_pem(path),
        lambda: read_certificates(path),
    )
