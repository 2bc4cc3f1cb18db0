"""What was revoked, in CRLs: full, delta and indirect, as our own engine and openssl take them."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from smime_graph import CA, Identity, Revocation, RevocationReason
from smime_graph.errors import UsageError
from smime_graph.pki.keyfiles.read import armour
from smime_graph.pki.revocation import revocation_findings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)

openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture
def ca() -> CA:
    return CA("Root", key="p256", at=NOW - 30 * DAY)


def person(ca: CA, name: str = "alice", **how: Any) -> Identity:
    return ca.issue(f"{name}@contoso.com", key="p256", at=NOW - 20 * DAY, **how)


def judged(ca: CA, one: Identity, *crls: bytes, at: datetime = NOW) -> list[str]:
    found = revocation_findings(
        (one.certificate, ca.certificate),
        revocation=Revocation(mode="hard", crls=crls),
        at=at,
        certificates=[ca.certificate],
    )
    return [f.code.removeprefix("pki.revocation.") for f in found]


def reasons(crl: bytes) -> dict[int, str | None]:
    found = {}
    for entry in x509.load_der_x509_crl(crl):
        held = [e.value for e in entry.extensions if isinstance(e.value, x509.CRLReason)]
        found[entry.serial_number] = held[0].reason.value if held else None
    return found


# --- full ----------------------------------------------------------------------------------------


def test_a_crl_says_what_is_revoked_at_its_time(ca: CA) -> None:
    alice, bob = person(ca), person(ca, "bob")
    ca.revoke(alice.certificate, reason="keyCompromise", at=NOW - DAY)
    crl = ca.crl(at=NOW)
    assert judged(ca, alice, crl) == ["revoked"]
    assert judged(ca, bob, crl) == []
    assert reasons(crl) == {alice.certificate.serial_number: "keyCompromise"}
    assert reasons(ca.crl(at=NOW - 2 * DAY)) == {}
    assert judged(ca, alice, ca.crl(at=NOW), at=NOW + 8 * DAY) == ["revoked"]
    assert judged(ca, bob, crl, at=NOW + 8 * DAY) == ["stale"]


def test_without_a_reason_there_is_no_reason_code(ca: CA) -> None:
    alice = person(ca)
    ca.revoke(alice.certificate, at=NOW)
    assert reasons(ca.crl(at=NOW)) == {alice.certificate.serial_number: None}  # RFC 5280 5.3.1


def test_a_hold_is_lifted_or_made_final(ca: CA) -> None:
    alice, bob = person(ca), person(ca, "bob")
    for one in (alice, bob):
        ca.revoke(one.certificate, reason="certificateHold", at=NOW - 3 * DAY)
    ca.revoke(alice.certificate, reason="removeFromCRL", at=NOW - DAY)
    ca.revoke(bob.certificate, reason="superseded", at=NOW - DAY)
    held = ca.crl(at=NOW - 2 * DAY)
    assert set(reasons(held).values()) == {"certificateHold"}
    assert reasons(ca.crl(at=NOW)) == {bob.certificate.serial_number: "superseded"}
    assert judged(ca, alice, held, at=NOW - 2 * DAY) == ["revoked"]
    assert judged(ca, alice, ca.crl(at=NOW)) == []
    ca.revoke(alice.certificate, at=NOW - HOUR)  # what was released can be revoked again
    assert judged(ca, alice, ca.crl(at=NOW)) == ["revoked"]


def test_what_cannot_be_revoked(ca: CA) -> None:
    alice = person(ca)
    other = CA("Root", key="p256", at=NOW - 30 * DAY)  # of the same name
    with pytest.raises(UsageError, match="was not issued by"):
        other.revoke(alice.certificate)
    with pytest.raises(UsageError, match="not on hold"):
        ca.revoke(alice.certificate, reason="removeFromCRL", at=NOW)
    ca.revoke(alice.certificate, at=NOW)
    again: tuple[RevocationReason, ...] = ("keyCompromise", "certificateHold", "removeFromCRL")
    for reason in again:
        with pytest.raises(UsageError, match=r"revoked already, at 2026-11-22T12:00:00"):
            ca.revoke(alice.certificate, reason=reason, at=NOW + DAY)
    held = person(ca, "bob").certificate
    ca.revoke(held, reason="certificateHold", at=NOW)
    with pytest.raises(UsageError, match="before the last change"):
        ca.revoke(held, at=NOW - DAY)
    with pytest.raises(UsageError, match="reason"):
        ca.revoke(held, reason="lost")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="time zone"):
        ca.crl(at=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(UsageError, match="cannot be put into a CRL"):
        ca.crl(at=NOW, lifetime=-DAY)


@pytest.mark.parametrize("key", ["rsa-2048", "p384", "ed25519", "ed448", "ml-dsa-65"])
def test_whatever_the_authoritys_kind_of_key(key: str) -> None:
    ca = CA(key=key, at=NOW - DAY)
    alice = ca.issue("alice@contoso.com", key="p256")
    assert judged(ca, alice, ca.crl(at=NOW)) == []
    ca.revoke(alice.certificate, at=NOW - HOUR)
    assert judged(ca, alice, ca.crl(at=NOW)) == ["revoked"]


def test_numbers_grow_with_time_and_with_what_is_revoked(ca: CA) -> None:
    def number(at: datetime) -> int:
        crl = x509.load_der_x509_crl(ca.crl(at=at))
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    first = number(NOW)
    ca.revoke(person(ca).certificate, at=NOW)
    assert first < number(NOW) < number(NOW + timedelta(seconds=1))


def test_what_was_revoked_in_this_very_second_is_revoked(ca: CA) -> None:
    """By a CRL as by an OCSP response: the validator takes only what came before for that."""
    alice = person(ca)
    ca.revoke(alice.certificate, at=NOW)
    assert judged(ca, alice, ca.crl(at=NOW)) == ["revoked"]
    second = timedelta(seconds=1)
    assert judged(ca, alice, ca.crl(at=NOW), at=NOW - second) == []
    assert judged(ca, alice, ca.crl(at=NOW), at=NOW + second) == ["revoked"]


# --- delta and indirect --------------------------------------------------------------------------


def test_a_delta_says_what_has_changed(ca: CA) -> None:
    alice, bob, carol, dana = (person(ca, name) for name in ("alice", "bob", "carol", "dana"))
    ca.revoke(alice.certificate, at=NOW - 5 * DAY)
    for one in (bob, carol):
        ca.revoke(one.certificate, reason="certificateHold", at=NOW - 5 * DAY)
    base = ca.crl(at=NOW - DAY, freshest="http://127.0.0.1/delta")
    ca.revoke(bob.certificate, reason="removeFromCRL", at=NOW - HOUR)
    ca.revoke(carol.certificate, reason="superseded", at=NOW - HOUR)
    ca.revoke(dana.certificate, at=NOW - HOUR)
    delta = ca.crl(at=NOW, base=base)
    assert reasons(delta) == {
        bob.certificate.serial_number: "removeFromCRL",
        carol.certificate.serial_number: "superseded",
        dana.certificate.serial_number: None,
    }
    assert judged(ca, dana, ca.crl(at=NOW - DAY)) == []
    assert judged(ca, dana, base, delta) == ["revoked"]
    assert judged(ca, alice, base, delta) == ["revoked"]
    assert judged(ca, bob, base) == ["revoked"]
    assert judged(ca, bob, base, delta) == []
    indicator = x509.load_der_x509_crl(delta).extensions.get_extension_for_class(
        x509.DeltaCRLIndicator
    )
    assert indicator.critical


def test_what_is_no_base_is_refused(ca: CA) -> None:
    other = CA("Root", key="p256", at=NOW - 30 * DAY)
    base = ca.crl(at=NOW)
    wrong = {
        b"": "no CRL",
        base[:-1]: "no CRL",
        other.crl(at=NOW): "not a CRL of this authority",
        ca.crl(at=NOW, base=base): "for everything",
    }
    for octets, said in wrong.items():
        with pytest.raises(UsageError, match=said):
            ca.crl(at=NOW, base=octets)
    with pytest.raises(UsageError, match="indirect"):
        ca.crl(at=NOW, base=base, others=[other])


def test_an_indirect_crl_speaks_for_others(ca: CA) -> None:
    issuing = ca.create_intermediate(key="p256", at=NOW - 29 * DAY)
    point = x509.DistributionPoint(
        [x509.UniformResourceIdentifier("http://127.0.0.1/root.crl")],
        None,
        None,
        [x509.DirectoryName(ca.certificate.x509.subject)],
    )
    points = x509.CRLDistributionPoints([point])
    how: Any = {"extensions": [x509.Extension(points.oid, False, points)]}
    alice, bob = person(issuing, **how), person(issuing, "bob", **how)
    issuing.revoke(alice.certificate, at=NOW - DAY)
    crl = ca.crl(at=NOW, others=[issuing])

    def found(one: Identity) -> list[str]:
        chain = (one.certificate, issuing.certificate, ca.certificate)
        known = Revocation(mode="hard", crls=(crl,))
        found = revocation_findings(chain, revocation=known, at=NOW, certificates=chain)
        return [f.code for f in found if one.certificate.description in f.where]

    assert found(alice) == ["pki.revocation.revoked"]
    assert found(bob) == []


# --- openssl -------------------------------------------------------------------------------------


def run(*command: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def pem(crl: bytes) -> bytes:
    return x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM)


@openssl
@pytest.mark.parametrize("key", ["rsa-2048", "p256", "ed25519"])
def test_openssl_takes_crl_and_delta(tmp_path: Path, key: str) -> None:
    ca = CA(key=key, at=NOW - 30 * DAY)
    alice, bob = person(ca), person(ca, "bob")
    ca.revoke(alice.certificate, reason="keyCompromise", at=NOW - DAY)
    base = ca.crl(at=NOW - HOUR, freshest="http://127.0.0.1/delta")
    ca.revoke(bob.certificate, reason="superseded", at=NOW - HOUR)
    delta = ca.crl(at=NOW, base=base)
    (tmp_path / "ca.pem").write_bytes(ca.trust_pem)
    (tmp_path / "base.pem").write_bytes(pem(base))
    (tmp_path / "both.pem").write_bytes(pem(base) + pem(delta))
    shown = run(
        *("openssl", "crl", "-in", tmp_path / "base.pem", "-noout", "-text"),
        *("-CAfile", tmp_path / "ca.pem"),
    )
    assert "verify OK" in shown.stderr
    assert "Key Compromise" in shown.stdout

    def verify(one: Identity, crls: str, *options: str) -> str:
        leaf = tmp_path / "leaf.pem"
        leaf.write_bytes(armour(one.certificate))
        done = run(
            *("openssl", "verify", "-CAfile", tmp_path / "ca.pem", "-crl_check"),
            *("-CRLfile", tmp_path / crls, "-attime", str(int(NOW.timestamp())), *options, leaf),
        )
        return done.stdout + done.stderr

    assert "certificate revoked" in verify(alice, "base.pem")
    assert ": OK" in verify(bob, "base.pem")
    deltas = ("-extended_crl", "-use_deltas")
    assert "certificate revoked" in verify(bob, "both.pem", *deltas)
    assert "certificate revoked" in verify(alice, "both.pem", *deltas)
