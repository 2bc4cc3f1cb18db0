"""The verdict and its reasons agree, whatever the message is.

Nothing is rejected without an error among the findings, nothing with one is accepted, and what
`unseal`, `verify` and `examine` say is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smime_graph import (
    ARCHIVE,
    CA,
    EXCHANGE,
    Contact,
    Identity,
    SmimeGraphError,
    TrustStore,
    VerificationFailed,
    examine,
    oids,
    unseal,
    verify,
)
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info
from smime_graph.cli import terminal
from smime_graph.cms import compressed_data, enveloped_data, signed_data
from smime_graph.cms.labels import SecurityLabel, security_label
from smime_graph.cms.recipients import kinds as recipients
from smime_graph.smime.canonical import encode_base64
from smime_graph.smime.report import MessageReport
from smime_graph.smime.wrap import pkcs7_mime

AT = datetime(2026, 11, 22, tzinfo=UTC)
INNER = b"Content-Type: text/plain\r\n\r\nhello\r\n"
CARELESS = EXCHANGE.but("careless", sender_must_match=False, accept_unsigned=True)


@pytest.fixture(scope="module")
def crowd() -> dict[str, Identity]:
    ca = CA("Root", key="p256", at=AT)
    return {
        "alice": ca.issue("alice@contoso.com", key="p256", at=AT),
        "mallory": ca.issue("mallory@contoso.com", key="p256", at=AT),
        "stranger": CA("Nobody", key="p256", at=AT).issue("alice@contoso.com", key="p256", at=AT),
        "root": Identity(ca.private_key, ca.certificate),
    }


def _clear(entity: bytes, der: bytes) -> bytes:
    return (
        b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";'
        b" micalg=sha-256; boundary=b\r\n\r\n--b\r\n"
        + entity
        + b"\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + encode_base64(der) + b"\r\n--b--\r\n"
    )


_LABEL = security_label(SecurityLabel("1.2.3", classification=1))
_SHA256 = ber.sequence(ber.oid(oids.SHA256))
# of the same length, so that what is around them stays right
_UNKNOWN_DIGEST = _SHA256[:-1] + b"\x7f"
_ECDSA = ber.sequence(ber.oid(oids.ECDSA_WITH_SHA256))
_UNKNOWN_SCHEME = _ECDSA[:-1] + b"\x7f"

_HURTS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda der: der,
    "nothing at all": lambda der: der,
    "unknown digest": lambda der: der.replace(_SHA256, _UNKNOWN_DIGEST),
    "unknown scheme": lambda der: der.replace(_ECDSA + b"\x04", _UNKNOWN_SCHEME + b"\x04"),
    "a bit": lambda der: der[:-1] + bytes([der[-1] ^ 1]),
    "cut": lambda der: der[: len(der) // 2],
}

_LAYERS = st.one_of(
    st.tuples(
        st.just("sign"),
        st.lists(st.sampled_from(["alice", "mallory", "stranger"]), max_size=3),
        st.booleans(),
        st.sampled_from([*_HURTS]),
        st.booleans(),
    ),
    st.sampled_from(["encrypt", "encrypt for another", "compress", "mixed", "change"]).map(
        lambda name: (name,)
    ),
)
_HEADERS = st.sampled_from(
    [
        b"From: alice@contoso.com\r\n",
        b"From: Alice <alice@contoso.com>\r\nSubject: x\r\n",
        b"From: mallory@contoso.com\r\nSender: alice@contoso.com\r\n",
        b"Subject: x\r\n",
        b"From\xa0: alice@contoso.com\r\n",
        b"",
    ]
)


def _build(crowd: dict[str, Identity], layers: list[Any]) -> bytes:
    entity = INNER
    for name, *rest in layers:
        if name == "sign":
            who, detached, hurt, labelled = rest
            signers = [crowd[one] for one in who]
            der, _ = signed_data.sign(
                entity,
                signers or [crowd["alice"]],
                detached=detached,
                policy=EXCHANGE,
                at=AT,
                further=[_LABEL] if labelled else [],
            )
            if not signers:  # everything of the signature but the signers
                content = [] if detached else [ber.context(0, ber.octet_string(entity))]
                der = content_info(
                    oids.SIGNED_DATA,
                    [
                        ber.integer(1),
                        ber.set_of(),
                        ber.sequence(ber.oid(oids.DATA), *content),
                        ber.set_of(),
                    ],
                )
            der = _HURTS[hurt](der)
            entity = _clear(entity, der) if detached else pkcs7_mime("signed-data", der)
        elif name.startswith("encrypt"):
            to = [Contact(crowd["mallory" if "another" in name else "alice"].certificate)]
            cipher = recipients.choose_cipher(to, EXCHANGE)
            der = enveloped_data.encrypt(entity, to, cipher=cipher, policy=EXCHANGE)
            entity = pkcs7_mime("enveloped-data", der)
        elif name == "compress":
            entity = pkcs7_mime("compressed-data", compressed_data.compress(entity))
        elif name == "mixed":
            entity = (
                b"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n"
                + entity
                + b"\r\n--m\r\n\r\nfooter\r\n--m--\r\n"
            )
        else:
            entity = entity.replace(b"hello", b"hullo")
    return entity


_ROUND_ENCRYPTED = [("encrypt",), ("sign", ["alice"], True, "nothing", False)]
_UNKNOWN = [("sign", ["alice"], True, "unknown digest", False)]


@given(
    st.lists(_LAYERS, max_size=4),
    _HEADERS,
    st.sampled_from([EXCHANGE, ARCHIVE, CARELESS]),
    st.sampled_from([None, "alice@contoso.com", "bob@contoso.com"]),
    st.sampled_from([None, True, False]),
)
@example(_ROUND_ENCRYPTED, b"From: alice@contoso.com\r\n", EXCHANGE, None, None)
@example(_ROUND_ENCRYPTED, b"From: alice@contoso.com\r\n", CARELESS, None, None)
@example(_UNKNOWN, b"From: alice@contoso.com\r\n", EXCHANGE, None, None)
@example(_UNKNOWN, b"From: alice@contoso.com\r\n", CARELESS, None, None)
@example([("encrypt for another",)], b"From: alice@contoso.com\r\n", CARELESS, None, None)
@example([("sign", [], True, "nothing", False)], b"", CARELESS, None, None)
def test_nothing_is_rejected_without_a_reason(
    crowd: dict[str, Identity],
    layers: list[Any],
    header: bytes,
    policy: Any,
    sender: str | None,
    cleared: bool | None,
) -> None:
    raw = header + _build(crowd, layers)
    arguments: dict[str, Any] = {
        "trust": TrustStore((crowd["root"].certificate,)),
        "sender": sender,
        "policy": policy,
        "at": AT,
        "clearance": None if cleared is None else lambda _label: cleared,
    }
    keys = [crowd["alice"]]
    report = examine(raw, identities=keys, **arguments)
    _agrees(report)
    failed = _failure_of(lambda: unseal(raw, identities=keys, **arguments))
    assert (failed is None) == report.accepted
    if isinstance(failed, VerificationFailed):
        assert failed.report.findings == report.findings
        told = terminal._lines(failed)
        assert all(any(one.text in line for line in told) for one in report.errors)
        assert report.errors[0].text in str(failed)
    elif failed is not None:
        assert str(failed) == str(report.error)
        assert terminal._lines(failed) == [str(failed)]
        assert [one.text for one in report.errors if one.code == "smime.unreadable"] == [
            str(failed)
        ]
    failed = _failure_of(lambda: verify(raw, **arguments))
    if isinstance(failed, VerificationFailed):
        assert isinstance(failed.report, MessageReport)
        _agrees(failed.report)
        assert not failed.report.accepted


def _agrees(report: MessageReport) -> None:
    assert report.accepted == report.ok == (report.verdict == "accepted") == (not report.errors)
    if report.accepted:
        assert report.error is None
        assert not any(s.intact is False or s.valid is False for s in report.signers)


def _failure_of(action: Callable[[], object]) -> SmimeGraphError | None:
    try:
        action()
    except SmimeGraphError as error:
        return error
    return None
