"""OCSP responses: what they say, whose they are, and what openssl makes of them."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import CA, Identity, Revocation
from smime_graph.asn1 import ber
from smime_graph.authority.ocsp import read_request
from smime_graph.errors import MalformedMessage
from smime_graph.pki.keyfiles.read import armour
from smime_graph.pki.revocation import revocation_findings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA("Root", key="p256", at=NOW - 30 * DAY)


def asked(one: Identity, ca: CA, *, digest: Any = None, nonce: bytes | None = b"n" * 32) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        one.certificate.x509, ca.certificate.x509, digest or hashes.SHA1()
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def judged(ca: CA, one: Identity, response: bytes, *, at: datetime = NOW) -> list[str]:
    found = revocation_findings(
        (one.certificate, ca.certificate),
        revocation=Revocation(mode="hard", ocsp=(response,)),
        at=at,
        certificates=[ca.certificate],
    )
    return [f.code.removeprefix("pki.revocation.") for f in found]


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()])
def test_good_revoked_and_unknown(ca: CA, digest: Any) -> None:
    alice, bob = (ca.issue(f"{name}@contoso.com", key="p256") for name in ("alice", "bob"))
    ca.revoke(bob.certificate, reason="keyCompromise", at=NOW - DAY)
    stranger = CA.from_key(ca.private_key, ca.certificate).issue("eve@contoso.com", key="p256")
    good = ca.ocsp(asked(alice, ca, digest=digest), at=NOW)
    read = ocsp.load_der_ocsp_response(good)
    assert read.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert (read.this_update_utc, read.next_update_utc) == (NOW, NOW + DAY)
    assert read.produced_at_utc == NOW
    assert [e.value.nonce for e in read.extensions] == [b"n" * 32]
    assert judged(ca, alice, good) == []
    assert judged(ca, alice, good, at=NOW + 2 * DAY) == ["stale"]
    revoked = ca.ocsp(asked(bob, ca, digest=digest), at=NOW)
    read = ocsp.load_der_ocsp_response(revoked)
    assert read.revocation_time_utc == NOW - DAY
    assert read.revocation_reason is x509.ReasonFlags.key_compromise
    assert judged(ca, bob, revoked) == ["revoked"]
    early = ca.ocsp(asked(bob, ca, digest=digest), at=NOW - 2 * DAY)
    assert judged(ca, bob, early, at=NOW - 2 * DAY) == []
    unknown = ca.ocsp(asked(stranger, ca, digest=digest, nonce=None), at=NOW)
    read = ocsp.load_der_ocsp_response(unknown)
    assert read.certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    assert list(read.extensions) == []
    assert judged(ca, stranger, unknown) == ["unknown"]


def test_another_authoritys_certificate_is_unknown(ca: CA) -> None:
    other = CA("Root", key="p256", at=NOW - 30 * DAY)
    request = asked(other.issue("a@contoso.com", key="p256"), other)
    response = ocsp.load_der_ocsp_response(ca.ocsp(request, at=NOW))
    assert response.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


@pytest.mark.parametrize("key", ["rsa-2048", "p384", "ed25519", "ed448", "ml-dsa-65"])
def test_whatever_the_authoritys_kind_of_key(key: str) -> None:
    ca = CA(key=key, at=NOW - DAY)
    alice = ca.issue("alice@contoso.com", key="p256")
    assert judged(ca, alice, ca.ocsp(asked(alice, ca), at=NOW)) == []
    ca.revoke(alice.certificate, at=NOW - timedelta(hours=1))
    assert judged(ca, alice, ca.ocsp(asked(alice, ca), at=NOW)) == ["revoked"]


def test_the_responder_is_delegated_and_need_not_be_asked_about(ca: CA) -> None:
    made = ca.responder(at=NOW)
    extensions = made.certificate.extensions
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert extensions.get_extension_for_class(x509.OCSPNoCheck)
    assert ca.responder(at=NOW + DAY) is made
    later = ca.responder(at=NOW + 90 * DAY)
    assert later.certificate.not_before < NOW + 90 * DAY < later.certificate.not_after
    assert ca.has_issued(made.certificate)


def test_several_certificates_in_one_request(ca: CA) -> None:
    alice, bob = (ca.issue(f"{name}@contoso.com", key="p256") for name in ("alice", "bob"))
    ca.revoke(bob.certificate, at=NOW)
    questions = [read_request(asked(one, ca)).questions[0].cert_id for one in (alice, bob)]
    both = ber.sequence(ber.sequence(ber.sequence(*(ber.sequence(q) for q in questions))))
    answers = list(ocsp.load_der_ocsp_response(ca.ocsp(both, at=NOW)).responses)
    assert [one.certificate_status.name for one in answers] == ["GOOD", "REVOKED"]


def test_a_certificate_with_a_negative_serial_number_can_be_asked_about(ca: CA) -> None:
    cert_id = read_request(asked(ca.issue("a@contoso.com", key="p256"), ca)).questions[0].cert_id
    fields = [bytes(one.raw) for one in ber.read(cert_id, "CertID").children()]
    odd = ber.sequence(*fields[:3], ber.integer(-5))
    request = ber.sequence(ber.sequence(ber.sequence(ber.sequence(odd))))
    assert read_request(request).questions[0].serial == -5
    assert odd in ca.ocsp(request, at=NOW)


@given(st.binary(max_size=80) | st.tuples(st.integers(0, 200), st.integers(1, 255)))
@settings(max_examples=200, deadline=None)
def test_any_octets_get_an_answer(change: bytes | tuple[int, int]) -> None:
    good = asked(_ALICE, _CA)
    if isinstance(change, tuple):
        place = change[0] % len(good)
        request = good[:place] + bytes((good[place] ^ change[1],)) + good[place + 1 :]
    else:
        request = change
    try:
        read_request(request)
        wanted = ocsp.OCSPResponseStatus.SUCCESSFUL
    except MalformedMessage:
        wanted = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    assert ocsp.load_der_ocsp_response(_CA.ocsp(request)).response_status is wanted


_CA = CA(key="p256")
_ALICE = _CA.issue("alice@contoso.com", key="p256")


@pytest.mark.parametrize("count", [0, 101])
def test_none_and_too_many_are_refused(ca: CA, count: int) -> None:
    question = read_request(asked(ca.issue("a@contoso.com", key="p256"), ca)).questions[0].cert_id
    request = ber.sequence(ber.sequence(ber.sequence(*[ber.sequence(question)] * count)))
    read = ocsp.load_der_ocsp_response(ca.ocsp(request))
    assert read.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("key", ["rsa-2048", "p256"])
def test_openssl_asks_and_believes_the_answer(tmp_path: Path, key: str) -> None:
    ca = CA(key=key)
    alice, bob = (ca.issue(f"{name}@contoso.com", key="p256") for name in ("alice", "bob"))
    ca.revoke(bob.certificate, reason="superseded")
    (tmp_path / "ca.pem").write_bytes(ca.trust_pem)
    names = []
    for name, one in (("alice", alice), ("bob", bob)):
        (tmp_path / f"{name}.pem").write_bytes(armour(one.certificate))
        names += ["-cert", str(tmp_path / f"{name}.pem")]

    def run(*options: str | Path) -> str:
        command = ["openssl", "ocsp", "-no_nonce", "-issuer", tmp_path / "ca.pem", *names, *options]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    run("-reqout", tmp_path / "request")
    response = ca.ocsp((tmp_path / "request").read_bytes())
    (tmp_path / "response").write_bytes(response)
    said = run("-respin", tmp_path / "response", "-CAfile", tmp_path / "ca.pem")
    assert "Response verify OK" in said
    assert "alice.pem: good" in said
    assert "bob.pem: revoked" in said
    assert "Reason: superseded" in said
