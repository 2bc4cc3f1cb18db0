"""The test certificates of certs/, and the script that makes them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smime_graph.authority.issue import CA
from smime_graph.authority.variants import VARIANTS
from smime_graph.findings import Severity
from smime_graph.pki.identity import Contact, Identity
from smime_graph.pki.revocation import Revocation, revocation_findings
from smime_graph.pki.trust import TrustStore
from smime_graph.pki.validate import validate

ROOT = Path(__file__).parents[2]
CERTS = ROOT / "certs"
NOW = datetime(2030, 5, 1, tzinfo=UTC)
ODD = {path.stem.removeprefix("odd-") for path in CERTS.glob("odd-*.pem")}
PEOPLE = [f"{person}-{key}" for person in ("alice", "bob") for key in ("rsa", "p256", "ed25519")]


@pytest.mark.parametrize("name", PEOPLE)
def test_the_three_files_of_a_person_hold_the_same(name: str) -> None:
    p12 = Identity.load(CERTS / f"{name}.p12", password="test")
    pem = Identity.from_pem(CERTS / f"{name}.key", certificates=CERTS / f"{name}.pem")
    assert p12.to_pem() == pem.to_pem()
    assert p12.emails == (f"{name.partition('-')[0]}@contoso.com",)
    assert p12.encryption_certificate == Contact.load(CERTS / f"{name}.pem").certificate
    for identity in p12.identities:
        assert identity.certificate.not_before <= datetime(2026, 1, 1, tzinfo=UTC)
        assert identity.certificate.not_after >= datetime(2045, 12, 31, tzinfo=UTC)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("name", PEOPLE)
def test_openssl_verifies_each_against_the_authority(tmp_path: Path, name: str) -> None:
    pem = (CERTS / f"{name}.pem").read_text()
    end = "-----END CERTIFICATE-----\n"
    blocks = [block + end for block in pem.split(end) if block]
    assert len(blocks) == (2 if "ed25519" in name else 1)
    for number, block in enumerate(blocks):
        leaf = tmp_path / f"{number}.pem"
        leaf.write_text(block)
        purpose = ["-purpose", "smimesign"] if number == 0 else []
        done = subprocess.run(
            [
                *("openssl", "verify", "-x509_strict", *purpose),
                *("-CAfile", str(CERTS / "ca.pem"), str(leaf)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_the_readme_names_every_person() -> None:
    text = (CERTS / "README.md").read_text()
    everybody = [*PEOPLE, *(f"odd-{name}" for name in ODD)]
    assert [name for name in everybody if f"`{name}`" not in text] == []
    assert len(ODD) == 11
    assert "password `test`" in text


def test_the_authoritys_key_is_that_of_its_certificate() -> None:
    identity = Identity.from_pem(CERTS / "ca.key", certificates=CERTS / "ca.pem")
    ca = CA.from_key(identity.private_key, identity.certificate)
    assert ca.root == ca.certificate


@pytest.mark.parametrize("name", sorted(ODD))
def test_an_odd_one_is_as_odd_as_the_catalogue_says(name: str) -> None:
    (variant,) = [one for one in VARIANTS if one.id == name]
    identity = Identity.load(CERTS / f"odd-{name}.p12", password="test")
    assert identity.to_pem() == Identity.load(CERTS / f"odd-{name}.key").to_pem()
    trust = TrustStore.from_pem(CERTS / "ca.pem")
    for use, wanted in (("sign", variant.sign), ("encrypt", variant.encrypt)):
        report = validate(
            identity.certificate,
            use=use,  # type: ignore[arg-type]
            trust=trust,
            at=NOW,
            address="alice@contoso.com",
        )
        found = {one.code for one in report.findings if one.severity == Severity.ERROR}
        assert found == set(wanted)
    known = Revocation.load(mode="hard", crls=[CERTS / "ca.crl"])
    chain = (identity.certificate, *trust.anchors)
    revoked = revocation_findings(chain, revocation=known, at=NOW, certificates=trust.anchors)
    assert ("pki.revocation.revoked" in [one.code for one in revoked]) is (name == "revoked")


def test_nobody_has_the_key_of_another() -> None:
    files = [path for path in CERTS.glob("*.key") if path.stem != "ca"]
    keys = [Identity.load(path).certificate for path in files]
    assert len({one.public_key_info for one in keys}) == len(keys) == len(PEOPLE) + len(ODD)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("expired", "certificate has expired"),
        ("not-yet-valid", "certificate is not yet valid"),
        ("revoked", "certificate revoked"),
        ("eku-server", "unsuitable certificate purpose"),
        ("self-signed", "self-signed certificate"),
        ("bad-signature", "certificate signature failure"),
        ("critical-unknown", "unhandled critical extension"),
    ],
)
def test_openssl_refuses_the_odd_ones(name: str, text: str) -> None:
    done = subprocess.run(
        [
            *("openssl", "verify", "-purpose", "smimesign", "-crl_check"),
            *("-CRLfile", str(CERTS / "ca.crl"), "-attime", str(int(NOW.timestamp()))),
            *("-CAfile", str(CERTS / "ca.pem"), str(CERTS / f"odd-{name}.pem")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert text in done.stderr + done.stdout


def run_script(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "certs"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_making_the_certificates_again_changes_nothing(tmp_path: Path) -> None:
    shutil.copytree(CERTS, tmp_path / "certs")
    run_script(tmp_path / "certs")
    assert contents(tmp_path / "certs") == contents(CERTS)


def test_making_the_certificates_anew_gives_the_same_files_but_for_rsa(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("kept")
    run_script(tmp_path)
    made, there = contents(tmp_path), contents(CERTS)
    assert made.pop("other") == b"kept"
    del there["README.md"]
    assert set(made) <= set(there)
    stable = {n for n in made if "rsa" not in n and not n.endswith(".p12")}
    assert len(stable) == 11 + 2 * (len(ODD) - 1)  # "odd-rsa-1024" is left out by its name
    assert {n: made[n] for n in stable} == {n: there[n] for n in stable}
    assert made["alice-rsa.key"] != there["alice-rsa.key"]
