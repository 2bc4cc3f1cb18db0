"""What is kept of one message for the next is what would be made anew, whatever changes between."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import EXCHANGE, RFC_8551, Contact, Policy, UsageError, algorithms, oids
from smime_graph.algorithms import KeyTransport
from smime_graph.asn1 import ber
from smime_graph.asn1.algorithm_identifier import AlgorithmIdentifier
from smime_graph.authority.issue import CA
from smime_graph.cms import attributes, signed_data
from smime_graph.cms.parameters import read_transport, write_transport
from smime_graph.cms.recipients import key_transport
from smime_graph.cms.recipients.recipient_info import write_identifier
from smime_graph.errors import PolicyRefusal
from smime_graph.x509.certificate import Certificate

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
POLICIES = (
    EXCHANGE,
    RFC_8551,
    EXCHANGE.but("exchange", digest="sha512"),
    EXCHANGE.but("exchange", announce=("aes128-cbc",)),
    EXCHANGE.but("exchange", encrypt_to_self=False),
)


@dataclass(frozen=True)
class Signer:
    """An Identity without its checks: another certificate for the same key, another chain."""

    private_key: Any
    certificate: Certificate
    chain: tuple[Certificate, ...] = ()
    encryption_certificate: Certificate | None = None


@functools.cache
def signers() -> tuple[Signer, ...]:
    """Keys whose signatures are the same each time; of one there are two certificates."""
    ca = CA("Root", key="p256", at=NOW - timedelta(days=9))
    middle = ca.create_intermediate("Issuing", key="p256", at=NOW - timedelta(days=9))
    ed, rsa_key = ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)
    found = [
        Signer(key, issuer.issue("alice@contoso.com", key=key, at=NOW).certificate)
        for key in (ed, rsa_key)
        for issuer in (ca, middle)
    ]
    other = found[-1].certificate
    found += [replace(one, chain=(middle.certificate,)) for one in found[:2]]
    found += [replace(one, encryption_certificate=other) for one in found[:2]]
    return tuple(found)


CHOSEN = st.lists(st.sampled_from(range(8)), min_size=1, max_size=3)


@settings(deadline=None, max_examples=150)
@given(
    chosen=CHOSEN,
    policy=st.sampled_from(POLICIES),
    sid=st.sampled_from(("issuer", "ski")),
    content_type=st.sampled_from((oids.DATA, oids.SIGNED_DATA)),
    content=st.sampled_from((b"", b"one", b"another")),
    later=st.integers(0, 3),
    detached=st.booleans(),
)
def test_signed_data_is_what_it_is_when_nothing_is_remembered(
    chosen: list[int],
    policy: Policy,
    sid: Literal["issuer", "ski"],
    content_type: str,
    content: bytes,
    later: int,
    detached: bool,
) -> None:
    def made() -> bytes:
        return signed_data.sign(
            content,
            [signers()[number] for number in chosen],
            detached=detached,
            policy=policy,
            at=NOW + timedelta(days=9000 * later),
            sid=sid,
            content_type=content_type,
        )[0]

    first = made()  # with what examples before this one have left
    signed_data._frame.cache_clear()
    assert made() == first
    assert made() == first


def test_a_signer_that_one_policy_lets_sign_is_refused_by_another_afterwards() -> None:
    one = signers()[0]
    options: dict[str, Any] = {"detached": True, "at": NOW}
    signed_data.sign(b"x", [one], policy=EXCHANGE, **options)
    strict = EXCHANGE.but("exchange", keys=frozenset({"rsa"}))
    with pytest.raises(PolicyRefusal):
        signed_data.sign(b"x", [one], policy=strict, **options)


def test_a_signer_is_named_as_was_asked_for_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Signer(signers()[0].private_key, Certificate(signers()[0].certificate.der))
    monkeypatch.setitem(vars(one.certificate), "subject_key_identifier", None)
    options: dict[str, Any] = {"detached": True, "policy": EXCHANGE, "at": NOW}
    signed_data._frame.cache_clear()
    signed_data.sign(b"x", [one], **options)
    with pytest.raises(UsageError, match="no subjectKeyIdentifier"):
        signed_data.sign(b"x", [one], sid="ski", **options)


def test_a_private_key_lives_no_longer_than_its_owner_keeps_it() -> None:
    import gc
    import weakref

    class Key:
        operations = ("sign",)

        def sign(self, *_: Any) -> bytes:
            return b"a signature"

    key = Key()
    signer = Signer(key, signers()[0].certificate)
    signed_data.sign(b"x", [signer], detached=True, policy=EXCHANGE, at=NOW)
    gone = weakref.ref(key)
    del key, signer
    gc.collect()
    assert gone() is None


def test_the_hour_that_is_there_twice_is_no_one_hour() -> None:
    zone = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 10, 25, 2, 30, tzinfo=zone)
    second = first.replace(fold=1)
    assert first == second
    assert b"261025003000Z" in attributes.signing_time(first)
    assert b"261025013000Z" in attributes.signing_time(second)


@pytest.mark.parametrize("size", [1, 20, 32, 64, 127, 128, 300])
def test_a_digest_of_any_size_is_written(size: int) -> None:
    digest = bytes(range(256)) * 2
    whole = attributes.attribute(oids.MESSAGE_DIGEST, ber.octet_string(digest[:size]))
    assert attributes.message_digest(digest[:size]) == whole


def test_large_chains_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    one = signers()[4]
    monkeypatch.setattr(signed_data, "_MAX_FRAME", len(one.certificate.der))
    signed_data._frame.cache_clear()
    signed_data.sign(b"x", [one], detached=True, policy=EXCHANGE, at=NOW)
    assert signed_data._frame.cache_info().currsize == 0


@functools.cache
def readers() -> tuple[Contact, ...]:
    """Two certificates for one key; of each one who announced OAEP, and one who did not."""
    key = rsa.generate_private_key(65537, 2048)
    found = [
        CA(name, key="p256", at=NOW - timedelta(days=9)).issue("bob@contoso.com", key=key, at=NOW)
        for name in ("Root", "Other")
    ]
    announced = (ber.sequence(ber.oid(oids.RSAES_OAEP)),)
    return tuple(
        Contact(one.certificate, capabilities=said) for one in found for said in (None, announced)
    )


RIDS: tuple[Literal["issuer", "ski"], ...] = ("issuer", "ski")
KEY_TRANSPORTS = (EXCHANGE, EXCHANGE.but("exchange", key_transports=("rsaes-oaep",)))


@settings(deadline=None)
@given(
    number=st.sampled_from(range(4)),
    rid=st.sampled_from(RIDS),
    policy=st.sampled_from(KEY_TRANSPORTS),
)
def test_a_recipient_is_named_as_when_nothing_is_remembered(
    number: int, rid: Literal["issuer", "ski"], policy: Policy
) -> None:
    to = readers()[number]
    der, version = key_transport.wrap(to, bytes(32), policy, rid)
    read = ber.read(der, "KeyTransRecipientInfo").children()
    is_oaep = to.capabilities is not None or policy is not EXCHANGE
    transport = algorithms.by_name(KeyTransport, "rsaes-oaep" if is_oaep else "rsaes-pkcs1v15")
    oaep = read_transport(AlgorithmIdentifier.read(read[2], "algorithm"), "recipient")[1]
    assert version == (2 if rid == "ski" else 0)
    assert read[0].raw == ber.integer(version)
    assert read[1].raw == write_identifier(to.certificate, rid)
    assert read[2].raw == write_transport(transport, oaep)


def test_of_a_recipient_who_comes_again_nothing_is_written_but_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    to = CA("Again", key="p256").issue("bob@contoso.com", key="rsa-2048").contact
    written: list[Certificate] = []

    def counting(certificate: Certificate, rid: Literal["issuer", "ski"]) -> bytes:
        written.append(certificate)
        return write_identifier(certificate, rid)

    monkeypatch.setattr(key_transport, "write_identifier", counting)
    made = [key_transport.wrap(to, bytes(32), EXCHANGE, "issuer")[0] for _ in range(5)]
    assert len(set(made)) == 5  # another encrypted key each time
    assert written == [to.certificate]
