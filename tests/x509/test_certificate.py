"""A certificate: its own octets, what they name, and what is said of one that is broken."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from smime_graph import CA, Identity, MalformedMessage, UnsupportedAlgorithm, UsageError, oids
from smime_graph.asn1 import ber
from smime_graph.x509.certificate import Certificate, interned, text_of_serial


def rebuilt(der: bytes, change: Callable[[list[bytes]], None]) -> Certificate:
    """The same certificate with other fields; nobody signed it so."""
    tbs, *outer = ber.read(der, "Certificate").children()
    fields = [one.raw for one in tbs.children()]
    change(fields)
    return Certificate(ber.sequence(ber.sequence(*fields), *(one.raw for one in outer)))


VERSION, SERIAL, SIGNATURE, ISSUER, VALIDITY, SUBJECT, KEY, EXTENSIONS = range(8)


def test_its_slices_are_what_another_reader_sees(alice: Identity) -> None:
    ours = alice.certificate
    theirs = x509.load_der_x509_certificate(ours.der)
    assert ours.issuer == theirs.issuer.public_bytes()
    assert ours.subject == theirs.subject.public_bytes()
    assert ours.serial_number == theirs.serial_number
    assert ours.serial == ber.integer(theirs.serial_number)
    assert ours.public_key == theirs.public_key()
    assert (ours.not_before, ours.not_after) == (
        theirs.not_valid_before_utc,
        theirs.not_valid_after_utc,
    )
    assert ours.sha256 == hashlib.sha256(ours.der).hexdigest()
    assert ours.issuer_and_serial == ber.sequence(ours.issuer, ours.serial)
    assert (
        ours.subject_key_identifier
        == theirs.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    )


def test_one_of_the_same_octets_is_the_same(alice: Identity, bob: Identity) -> None:
    again = Certificate(bytes(bytearray(alice.certificate.der)))
    assert again == alice.certificate
    assert hash(again) == hash(alice.certificate)
    assert again != bob.certificate
    assert again != alice.certificate.der


def test_what_is_asked_for_twice_is_read_once(alice: Identity) -> None:
    assert interned(alice.certificate.der) is interned(bytes(bytearray(alice.certificate.der)))
    large = rebuilt(
        alice.certificate.der,
        lambda fields: (
            fields.__setitem__(SUBJECT, ber.sequence() + b"")
            or fields.__setitem__(SERIAL, ber.tlv(ber.INTEGER, b"\x01" * 9000))
        ),
    )
    assert interned(large.der) is not interned(large.der)


@pytest.mark.parametrize("wrong", ["cut", "behind", "empty", "text", "set", "no key"])
def test_what_is_not_shaped_like_one_is_none(alice: Identity, wrong: str) -> None:
    der = alice.certificate.der
    data = {
        "cut": der[:-1],
        "behind": der + b"\0",
        "empty": b"",
        "text": b"-----BEGIN CERTIFICATE-----",
        "set": b"\x31" + der[1:],
        "no key": ber.sequence(ber.sequence(*[ber.integer(1)] * 6), ber.null(), ber.null()),
    }[wrong]
    with pytest.raises(MalformedMessage, match="Certificate"):
        Certificate(data)


@given(st.binary(max_size=60))
def test_any_octets_are_a_certificate_or_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        Certificate(data)


def test_a_certificate_is_made_of_octets_alone(alice: Identity) -> None:
    with pytest.raises(UsageError, match="der is str, wanted bytes"):
        Certificate(alice.certificate.sha256)  # type: ignore[arg-type]
    theirs = x509.load_der_x509_certificate(alice.certificate.der)
    assert Certificate.from_argument(theirs) == alice.certificate
    assert Certificate.from_argument(theirs.public_bytes(Encoding.DER)) is None


def test_an_issuer_and_a_number_name_one_however_the_name_is_written(alice: Identity) -> None:
    """RFC 5280 7.1: case and blanks are no matter; the number is."""
    one = alice.certificate
    spelled = one.issuer.replace(b"Test Root", b"TEST ROOT")
    assert spelled != one.issuer
    assert one.is_named(spelled, one.serial_number)
    assert not one.is_named(one.issuer, one.serial_number + 1)
    assert not one.is_named(one.issuer.replace(b"Test Root", b"Test Toor"), one.serial_number)


def test_who_issued_itself_has_one_name_twice(ca: CA, alice: Identity) -> None:
    assert ca.certificate.is_self_issued
    assert not alice.certificate.is_self_issued


def test_a_key_of_no_kind_is_told_and_the_rest_is_read(alice: Identity) -> None:
    def change(fields: list[bytes]) -> None:
        fields[KEY] = ber.sequence(ber.sequence(ber.oid("1.2.3.4")), ber.bit_string(b"key"))

    odd = rebuilt(alice.certificate.der, change)
    assert odd.key_algorithm == "1.2.3.4"
    with pytest.raises(UnsupportedAlgorithm) as caught:
        _ = odd.public_key
    assert caught.value.oid == "1.2.3.4"
    assert odd.subject_text == alice.certificate.subject_text
    assert odd.subject_key_identifier == alice.certificate.subject_key_identifier


def test_a_key_whose_octets_are_broken_is_malformed(alice: Identity) -> None:
    def change(fields: list[bytes]) -> None:
        fields[KEY] = ber.sequence(
            ber.sequence(ber.oid(oids.EC_PUBLIC_KEY), ber.oid(oids.SECP256R1)),
            ber.bit_string(b"\x04" + bytes(64)),
        )

    with pytest.raises(MalformedMessage, match="public key of CN=alice"):
        _ = rebuilt(alice.certificate.der, change).public_key


def test_an_extension_that_stands_twice_is_malformed_and_its_identifier_none(
    alice: Identity,
) -> None:
    identifier = ber.sequence(
        ber.oid(oids.SUBJECT_KEY_IDENTIFIER),
        ber.octet_string(ber.octet_string(b"another")),
    )

    def change(fields: list[bytes]) -> None:
        held = ber.read(fields[EXTENSIONS], "it", tag=0xA3).only("it").children()
        fields[EXTENSIONS] = ber.context(0 + 3, ber.sequence(*(e.raw for e in held), identifier))

    twice = rebuilt(alice.certificate.der, change)
    assert twice.subject_key_identifier is None
    with pytest.raises(MalformedMessage, match="extensions of CN=alice"):
        _ = twice.extensions
    with pytest.raises(MalformedMessage, match="extensions of CN=alice"):
        _ = twice.extensions  # it is found out once, and said each time


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0x0"), (255, "0xff"), (-1, "-0x1"), (2**320 - 1, "0x" + "f" * 80)],
)
def test_a_serial_number_is_shown_in_hexadecimal(number: int, text: str) -> None:
    assert text_of_serial(number) == text


def test_a_serial_number_longer_than_any_is_not_shown_whole() -> None:
    shown = text_of_serial(1 << 8 * 99_999)
    assert shown == f"0x1{'0' * 78}... (100000 octets)"
