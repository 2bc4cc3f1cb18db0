"""The test certificates of certs/, and the script that makes them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smime_graph.authority.issue import CA
from smime_graph.pki.identity import Contact, Identity

ROOT = Path(__file__).parents[2]
CERTS = ROOT / "certs"
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
    assert [name for name in PEOPLE if f"`{name}`" not in text] == []
    assert "password `test`" in text


def test_the_authoritys_key_is_that_of_its_certificate() -> None:
    identity = Identity.from_pem(CERTS / "ca.key", certificates=CERTS / "ca.pem")
    ca = CA.from_key(identity.private_key, identity.certificate)
    assert ca.root == ca.certificate


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
    assert len(stable) == 10
    assert {n: made[n] for n in stable} == {n: there[n] for n in stable}
    assert made["alice-rsa.key"] != there["alice-rsa.key"]
