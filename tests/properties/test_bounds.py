"""Hostile input costs bounded time, and ends in a value or one of our errors.

Each limit is several times what the case takes here, and far below what the trap cost before it was
closed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from smime_graph import (
    ARCHIVE,
    EXCHANGE,
    MalformedMessage,
    SmimeGraphError,
    UnsupportedAlgorithm,
    VerificationFailed,
    decrypt,
    examine,
    inspect,
    oids,
    sign,
    unseal,
    verify,
)
from smime_graph.asn1 import ber
from smime_graph.asn1.algorithm_identifier import AlgorithmIdentifier
from smime_graph.asn1.content_info import content_info
from smime_graph.authority.issue import forged
from smime_graph.cms import enveloped_data, parameters, signed_data
from smime_graph.smime.canonical import canonical_entity
from smime_graph.smime.entity import ContentType, Entity, split_multipart
from smime_graph.smime.wrap import SIGNED, pkcs7_mime
from smime_graph.x509.certificate import Certificate

SECOND = 1.0
Within = Callable[[float], Any]

_HUGE = ber.tlv(ber.INTEGER, b"\x7f" + b"\xff" * 4000)  # has more digits than Python will write
_AGREEMENT = ber.sequence(ber.oid(oids.STD_DH_SHA256_KDF), ber.sequence(ber.oid(oids.AES128_WRAP)))
_FROM = b"From: alice@contoso.com\n"


def _identifier(oid: str, *content: bytes) -> AlgorithmIdentifier:
    node = ber.read(ber.sequence(ber.oid(oid), *content), "AlgorithmIdentifier")
    return AlgorithmIdentifier.read(node, "algorithm")


def _enveloped(recipient_info: bytes) -> bytes:
    cipher = ber.sequence(ber.oid(oids.AES128_CBC), ber.octet_string(bytes(16)))
    encrypted = ber.sequence(ber.oid(oids.DATA), cipher, ber.tlv(0x80, bytes(32)))
    return content_info(
        oids.ENVELOPED_DATA, [ber.integer(0), ber.set_of(recipient_info), encrypted]
    )


# --- numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reading",
    [
        lambda: parameters.read_pss(
            _identifier(oids.RSASSA_PSS, ber.sequence(ber.context(2, _HUGE))), "x"
        ),
        lambda: parameters.read_cipher(
            _identifier(oids.AES128_GCM, ber.sequence(ber.octet_string(bytes(12)), _HUGE)), "x"
        ),
    ],
    ids=["pss-salt", "gcm-tag"],
)
def test_an_integer_with_more_digits_than_python_writes_is_malformed(
    reading: Callable[[], object],
) -> None:
    with pytest.raises(MalformedMessage):
        reading()


def test_a_signer_version_of_thousands_of_digits_is_an_error_of_ours(people: Any) -> None:
    der, _ = signed_data.sign(
        b"content", [people.alice], detached=False, policy=EXCHANGE, at=datetime.now(UTC)
    )
    signer_info = signed_data.read(der).signers[0]
    assert signer_info.issuer_and_serial is not None
    start = der.rindex(signer_info.issuer_and_serial) - 3
    assert der[start : start + 3] == ber.integer(1)
    outer = ber.Fields(ber.read(der, "ContentInfo"), "ContentInfo")
    outer.any("contentType")
    signed = list(outer.any("content").only("content"))
    info = next(iter(signed[-1]))
    changed = ber.sequence(_HUGE, der[start + 3 : info.end])
    rebuilt = content_info(
        oids.SIGNED_DATA, [*(node.raw for node in signed[:-1]), ber.tlv(ber.SET, changed)]
    )
    with pytest.raises(SmimeGraphError):
        verify(rebuilt, trust=people.trust)
    report = examine(rebuilt, trust=people.trust)
    assert not report.accepted


# --- keys ---------------------------------------------------------------------------------


def test_oaep_with_a_digest_that_no_primitive_takes_is_unsupported(people: Any) -> None:
    md5 = ber.sequence(ber.oid(oids.MD5))
    oaep = ber.sequence(
        ber.oid(oids.RSAES_OAEP),
        ber.sequence(ber.context(0, md5), ber.context(1, ber.sequence(ber.oid(oids.MGF1), md5))),
    )
    certificate = people.alice.certificate
    info = ber.sequence(
        ber.integer(0), certificate.issuer_and_serial, oaep, ber.octet_string(bytes(256))
    )
    with pytest.raises(UnsupportedAlgorithm, match=oids.RSAES_OAEP.replace(".", r"\.")):
        decrypt(_enveloped(info), identities=[people.alice], policy=ARCHIVE)


@pytest.mark.parametrize("named", [oids.EC_PUBLIC_KEY, "1.3.101.110"])
def test_an_x25519_key_faced_with_a_nist_agreement_says_so(people: Any, named: str) -> None:
    key = x25519.X25519PrivateKey.generate()
    originator = ber.context(1, ber.sequence(ber.oid(named)), ber.bit_string(bytes(32)))
    kari = ber.context(
        1,
        ber.integer(3),
        ber.context(0, originator),
        _AGREEMENT,
        ber.sequence(
            ber.sequence(people.bob.certificate.issuer_and_serial, ber.octet_string(bytes(24)))
        ),
    )
    holder: Any = SimpleNamespace(private_key=key, certificate=None)
    with pytest.raises(SmimeGraphError):
        decrypt(_enveloped(kari), identities=[holder])


def test_a_point_of_another_curve_is_no_crash(people: Any) -> None:
    stranger = ec.generate_private_key(ec.SECP384R1()).public_key()
    point = stranger.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    originator = ber.context(1, ber.sequence(ber.oid(oids.EC_PUBLIC_KEY)), ber.bit_string(point))
    kari = ber.context(
        1,
        ber.integer(3),
        ber.context(0, originator),
        _AGREEMENT,
        ber.sequence(
            ber.sequence(people.bob.certificate.issuer_and_serial, ber.octet_string(bytes(24)))
        ),
    )
    with pytest.raises(SmimeGraphError):
        decrypt(_enveloped(kari), identities=[people.bob])


# --- ASN.1 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x30\x80" * 500_000,
        reduce(lambda inner, _: ber.tlv(0x30, inner), range(3000), b""),
        b"\x30\x80" + ber.oid(oids.SIGNED_DATA) + b"\xa0\x80" * 500_000,
        ber.sequence(
            ber.oid(oids.SIGNED_DATA),
            ber.context(0, ber.sequence(ber.integer(1), ber.tlv(ber.SET, b"\x30\x00" * 1_000_000))),
        ),
        ber.sequence(
            ber.oid(oids.ENVELOPED_DATA),
            ber.context(0, ber.sequence(ber.integer(0), ber.tlv(ber.SET, b"\xa3\x00" * 1_000_000))),
        ),
        ber.tlv(0x30, ber.oid("1.2.3.4"), ber.context(0, ber.tlv(2, b"\x01" * 10_000_000))),
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x88" + b"\x7f" + b"\xff" * 7,
        b"\x3f" + b"\xff" * 1_000_000,
    ],
    ids=[
        "indefinite",
        "definite",
        "indefinite-content",
        "empty-digest-algorithms",
        "empty-recipients",
        "long-integer",
        "length-4-octets",
        "length-8-octets",
        "endless-tag",
    ],
)
def test_an_asn1_bomb_ends_quickly_in_an_error(bomb: bytes, within: Within) -> None:
    with within(SECOND):
        for read in (signed_data.read, enveloped_data.read):
            with pytest.raises(SmimeGraphError):
                read(bomb)
        with suppress(SmimeGraphError):  # what is not recognised as CMS is a message without layers
            inspect(bomb)


def test_a_million_zero_length_octet_strings_end_in_an_error(within: Within) -> None:
    bomb = (
        b"\x30\x80" + ber.oid(oids.SIGNED_DATA) + b"\xa0\x80\x30\x80" + ber.integer(1) + b"\x31\x00"
        b"\x30\x80" + ber.oid(oids.DATA) + b"\xa0\x80\x24\x80" + b"\x04\x00" * 1_000_000 + bytes(12)
    )
    # one pass finds the ends of the indefinite lengths, element by element
    with within(5 * SECOND), pytest.raises(MalformedMessage, match="more than 1000000"):
        signed_data.read(bomb)


# --- MIME ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "text/plain;" + " " * 4000 + "x",
        "text/plain;" + " ;" * 2000 + "x",
        "text/plain;" + 'a="' * 1300,
        "text/plain;" + "a" * 1_000_000,
        "text/plain;" + "a=" * 1_000_000,
        "text/plain; a=" + "\\" * 4000,
        "text/plain;" + ";".join(f"a*{i}*=x" for i in range(600)),
        "(" * 1_000_000,
        "(a" * 500_000 + ")" * 500_000,
        " " * 1_000_000,
    ],
    ids=lambda text: text[:16].replace(" ", "_"),
)
def test_a_content_type_is_read_in_linear_time(text: str, within: Within) -> None:
    with within(SECOND):
        ContentType.read(text)
        assert Entity(b"Content-Type: " + text.encode()[:900_000] + b"\n\n").content_type.value


@pytest.mark.parametrize(
    ("body", "boundary"),
    [
        (b"\n" + b"-" * 1_000_000, "-" * 2000),
        (b"--a\n" + b"-" * 1_000_000, ""),
        (b"\n--" * 300_000, "b"),
        (b"\n--b" * 300_000 + b"x", "b"),
        (b"\n--b" + b" " * 1_000_000 + b"x", "b"),
        (b"\n--bb" * 300_000, "b"),
        (b"\r" * 1_000_000 + b"\n--b", "b"),
    ],
    ids=["dashes", "no-boundary", "half", "many", "blanks", "prefix", "carriage-returns"],
)
def test_a_multipart_is_split_in_linear_time(body: bytes, boundary: str, within: Within) -> None:
    with within(SECOND), suppress(MalformedMessage):
        split_multipart(body, boundary)


def _nested(depth: int, line: Callable[[int], bytes]) -> bytes:
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=%s\n\n--%s\n" % (line(i), line(i))
        for i in range(depth)
    )


@pytest.mark.parametrize(
    "entity",
    [
        _nested(20_000, lambda i: b"b%d" % i),
        _nested(20_000, lambda i: b"b"),
        _nested(39, lambda i: b"b" + b"x" * i) + b"\n--b" * 300_000,
        b"Content-Type: message/rfc822\n\n" * 20_000,
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 1_000_000,
        b"A: b\n" * 400_000 + b"\n",
        b" \n" * 400_000,
        b"\n" * 2_000_000,
        b"Content-Description: " + b"\xc3\xa4 " * 100_000 + b"\n\nx",
        b"Content-Type: text/plain; name=" + b"\xc3\xa4" * 100_000 + b"\n\nx",
        b'Content-Disposition: a; filename="' + b"\xff" * 200_000 + b'"\n\nx',
        b"Content-Type: text/plain; " + b"\xc3\xa4=a; " * 20_000 + b"\n\nx",
    ],
    ids=[
        "nested",
        "nested-alike",
        "nested-prefixes",
        "messages-in-messages",
        "parts",
        "fields",
        "folding",
        "empty-lines",
        "8-bit-words",
        "8-bit-name",
        "8-bit-filename",
        "8-bit-parameters",
    ],
)
def test_a_hostile_entity_is_made_canonical_or_refused_quickly(
    entity: bytes, people: Any, within: Within
) -> None:
    with within(2 * SECOND):
        for clear in (False, True):
            with suppress(MalformedMessage):
                canonical_entity(entity, clear=clear)
        with suppress(SmimeGraphError):
            sign(_FROM + entity, signer=people.alice)
        examine(_FROM + entity, trust=people.trust)


# --- certificates -------------------------------------------------------------------------


def test_forty_forged_certificates_of_the_roots_name_end_in_a_finding_within_a_second(
    people: Any, within: Within
) -> None:
    stranger = type(people.ca)("somebody else").issue("alice@contoso.com")
    root = people.ca.root
    # a leaf in the root's name, so that every forged authority could be its issuer
    victim = people.ca.issue("alice@contoso.com")
    chain = forged(root, count=40)
    signers = [replace(victim, chain=chain), replace(stranger, chain=chain)]
    for signer in signers:
        raw = sign(_FROM + b"To: bob@contoso.com\n\nhello\n", signer=signer, detached=False)
        with within(SECOND):
            report = examine(raw, trust=people.trust)
        assert report.accepted is (signer is signers[0])
    assert any(finding.code.startswith("pki.path.") for finding in report.findings)
    with pytest.raises(VerificationFailed), within(SECOND):
        unseal(raw, trust=people.trust)


def test_forged_signer_certificates_do_not_multiply_signature_checks(
    people: Any, within: Within
) -> None:
    # a hundred signers and a thousand certificates that all claim the same identifier would be a
    # hundred thousand signature checks
    serial = 1 << 158
    signer = people.ca.issue("alice@contoso.com", serial=serial)
    der, _ = signed_data.sign(
        b"Content-Type: text/plain\r\n\r\nhello\r\n",
        [signer],
        detached=False,
        policy=EXCHANGE,
        at=datetime.now(UTC),
        sid="ski",
    )
    outer = ber.Fields(ber.read(der, "ContentInfo"), "ContentInfo")
    outer.any("contentType")
    signed = [node.raw for node in outer.any("content").only("content")]
    own = signer.certificate
    twins = [
        own.der.replace(ber.integer(serial), ber.integer(serial + number), 1)
        for number in range(1, 900)
    ]
    broken = bytearray(next(iter(ber.read(signed[4], "signerInfos", tag=ber.SET))).raw)
    broken[-1] ^= 1
    signed[3] = ber.tlv(0xA0, *twins)
    signed[4] = ber.tlv(ber.SET, bytes(broken) * 100)
    bomb = content_info(oids.SIGNED_DATA, signed)
    assert Certificate(twins[0]).subject_key_identifier == own.subject_key_identifier
    with within(3 * SECOND):
        report = examine(_FROM + pkcs7_mime(SIGNED, bomb), trust=people.trust)
    assert not report.accepted
    assert report.has("cms.signature.invalid")
