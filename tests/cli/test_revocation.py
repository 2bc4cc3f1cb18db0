"""--crl, --ocsp and --revocation."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from smime_graph import CA, Identity, sign

from .conftest import Run

DAY = timedelta(days=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A signed message, its root, a CRL that names the signer and one that does not."""
    folder = tmp_path / "revocation"
    folder.mkdir()
    now = datetime.now(UTC)
    ca = CA("Revoking Root", key="p256", at=now - 9 * DAY)
    alice: Identity = ca.issue("alice@contoso.com", key="p256", at=now - 9 * DAY)
    raw = b"From: alice@contoso.com\nSubject: s\n\ntext\n"
    (folder / "signed.eml").write_bytes(sign(raw, signer=alice, at=now - DAY))
    (folder / "ca.pem").write_bytes(ca.trust_pem)
    for name, serials in (("good", []), ("bad", [alice.certificate.x509.serial_number])):
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(ca.certificate.x509.subject)
            .last_update(now - DAY)
            .next_update(now + DAY)
        )
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(serial)
                .revocation_date(now - 2 * DAY)
                .build()
            )
        made = builder.sign(ca.private_key, hashes.SHA256())
        (folder / f"{name}.crl").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder


@pytest.mark.parametrize("verb", ["verify", "unseal", "examine"])
def test_a_revoked_signer(folder: Path, call: Run, verb: str) -> None:
    common = [verb, str(folder / "signed.eml"), "--trust", str(folder / "ca.pem"), "--json"]
    good = call(*common, "--crl", str(folder / "good.crl"), "--revocation", "hard")
    assert good.status == 0
    assert json.loads(good.out)["verdict"] == "accepted"
    bad = call(*common, "--crl", str(folder / "bad.crl"))
    assert bad.status == (0 if verb == "examine" else 1)
    shown = json.loads(bad.out)
    assert shown["verdict"] == "rejected"
    assert "pki.revocation.revoked" in [one["code"] for one in shown["findings"]]


@pytest.mark.parametrize(
    ("mode", "status", "said"),
    [("none", 0, None), ("soft", 0, "warning"), ("hard", 1, "error"), (None, 0, None)],
)
def test_nothing_is_known(
    folder: Path, call: Run, mode: str | None, status: int, said: str | None
) -> None:
    asked = [] if mode is None else ["--revocation", mode]
    trust = ["--trust", str(folder / "ca.pem")]
    done = call("verify", str(folder / "signed.eml"), *trust, *asked, "--json")
    assert done.status == status
    found = [
        one["severity"]
        for one in json.loads(done.out)["findings"]
        if one["code"] == "pki.revocation.unknown"
    ]
    assert found == ([] if said is None else [said])


@pytest.mark.parametrize("option", ["--crl", "--ocsp"])
def test_a_file_that_is_something_else(folder: Path, call: Run, option: str) -> None:
    message, trust = str(folder / "signed.eml"), str(folder / "ca.pem")
    for wrong in (message, str(folder / "absent")):
        done = call("verify", message, "--trust", trust, option, wrong, "-o", str(folder / "out"))
        assert done.status == 2
        assert Path(wrong).name in done.err
        assert not (folder / "out").exists()
