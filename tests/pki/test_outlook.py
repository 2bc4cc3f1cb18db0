"""The certificates of Outlook's contacts, in each form that a value has."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import EXCHANGE, Certificate, Identity
from smime_graph.authority.issue import CA
from smime_graph.cms import signed_data
from smime_graph.errors import MalformedMessage
from smime_graph.pki.outlook import (
    CHAIN_CERTIFICATE,
    KEY_EXCHANGE_CERTIFICATE,
    SIGN_CERTIFICATE,
    read_contact_certificates,
)


def setting(tag: int, data: bytes) -> bytes:
    return tag.to_bytes(2, "little") + (len(data) + 4).to_bytes(2, "little") + data


@pytest.fixture(scope="module")
def issuing(now: datetime) -> CA:
    return CA("Root", key="p256", at=now).create_intermediate("Issuing", key="p256", at=now)


def test_a_certificate(alice: Identity) -> None:
    found = read_contact_certificates(alice.certificate.der)
    assert (found.certificates, found.chain, found.signed) == ((alice.certificate,), (), None)


def test_a_signed_data_with_and_without_signers(alice: Identity, ca: CA, now: datetime) -> None:
    carried = signed_data.carry([alice.certificate, ca.certificate])
    signed, _ = signed_data.sign(b"Empty Body", [alice], detached=False, policy=EXCHANGE, at=now)
    for value, wanted in (
        (carried, {alice.certificate, ca.certificate}),
        (signed, {alice.certificate}),
    ):
        found = read_contact_certificates(value)
        assert set(found.certificates) == wanted
        assert found.signed == value


def test_settings(alice: Identity, bob: Identity, issuing: CA) -> None:
    value = (
        setting(0x0001, b"\1\0\0\0")
        + setting(SIGN_CERTIFICATE, bob.certificate.der)
        + setting(KEY_EXCHANGE_CERTIFICATE, alice.certificate.der)
        + setting(CHAIN_CERTIFICATE, issuing.certificate.der)
        + setting(CHAIN_CERTIFICATE, issuing.root.der)
        + setting(0x7777, b"")  # MUST be ignored
    )
    found = read_contact_certificates(value)
    assert found.certificates == (alice.certificate,)
    assert found.chain == (issuing.certificate, issuing.root)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x30",
        b"\x30\x00",
        b"\x30\x82\xff\xff",
        b"\x30" * 100,
        b"\0",
        b"\1\0\3\0",  # a setting that is shorter than itself
        b"\1\0\0\0" * 1000,  # ... and has no end
        setting(0x0001, b"\1\0\0\0"),
        setting(SIGN_CERTIFICATE, b"\x30\x00"),
        setting(KEY_EXCHANGE_CERTIFICATE, b""),
        setting(KEY_EXCHANGE_CERTIFICATE, b"\x30\x00")[:-1],
        setting(0x0101, b"") * 1000,
        b"\0" * (2 << 20),
    ],
)
def test_what_holds_no_certificate(value: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read_contact_certificates(value)


def test_many_certificates_are_bounded(alice: Identity) -> None:
    one = setting(KEY_EXCHANGE_CERTIFICATE, alice.certificate.der)
    assert len(read_contact_certificates(one * 100).certificates) == 100
    with pytest.raises(MalformedMessage, match="more than 100"):
        read_contact_certificates(one * 101)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), start=st.integers(0, 2))
def test_any_octets_give_a_value_or_an_error_of_ours(
    alice: Identity, data: st.DataObject, start: int
) -> None:
    good = (
        alice.certificate.der,
        setting(1, b"x") + setting(KEY_EXCHANGE_CERTIFICATE, alice.certificate.der),
        signed_data.carry([alice.certificate]),
    )[start]
    value = bytearray(good)
    for _ in range(data.draw(st.integers(0, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    octets = bytes(value[: data.draw(st.integers(0, len(value)))]) + data.draw(
        st.binary(max_size=20)
    )
    try:
        found = read_contact_certificates(octets)
    except MalformedMessage:
        return
    assert all(isinstance(one, Certificate) for one in (*found.certificates, *found.chain))
