"""cert request: a key that is its owner's alone, and a request that openssl reads."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as ser

from smime_graph import CA
from smime_graph.pki.identity import Identity
from smime_graph.pki.keyfiles.read import armour

from .conftest import MESSAGE, Run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, but for a password."""
    monkeypatch.chdir(tmp_path)
    Path("password").write_text("correct horse\n")
    return tmp_path


ASKED = ("cert", "request", "alice@contoso.com", "--password-file", "password")


def test_a_key_and_its_request(call: Run) -> None:
    done = call(*ASKED, "--key", "p256", "-o", "mine")
    assert done.status == 0
    assert done.out == b"mine/alice@contoso.com.key\nmine/alice@contoso.com.csr\n"
    key = Path("mine/alice@contoso.com.key")
    assert key.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in key.read_bytes()
    private = ser.load_pem_private_key(key.read_bytes(), b"correct horse")
    csr = x509.load_pem_x509_csr(Path("mine/alice@contoso.com.csr").read_bytes())
    assert csr.is_signature_valid
    assert csr.public_key() == private.public_key()
    for word in ("rfc822Name", "emailProtection", "825 days", "cert check", "keep alice@"):
        assert word in done.err, word
    assert "correct horse" not in done.err


def test_what_comes_back_goes_beside_the_key_as_it_is_said(call: Run) -> None:
    assert call(*ASKED, "--key", "p256").status == 0
    csr = x509.load_pem_x509_csr(Path("alice@contoso.com.csr").read_bytes())
    ca = CA(key="p256")
    key = ser.load_pem_private_key(Path("alice@contoso.com.key").read_bytes(), b"correct horse")
    assert key.public_key() == csr.public_key()
    made = ca.issue("alice@contoso.com", key=key)
    Path("alice@contoso.com.pem").write_bytes(armour(made.certificate))
    Path("roots.pem").write_bytes(ca.trust_pem)
    Path("m.eml").write_bytes(MESSAGE)
    signer = ("--signer", "alice@contoso.com.key", "--password-file", "password")
    assert call("sign", "m.eml", *signer, "-o", "s.eml").status == 0
    assert call("verify", "s.eml", "--trust", "roots.pem").status == 0
    assert Identity.load("alice@contoso.com.key", password="correct horse").emails


def test_nothing_is_overwritten_and_nothing_left_without_a_password(
    call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = ("cert", "request", "alice@contoso.com", "--key", "p256")
    refused = call(*bare)
    assert (refused.status, "needs a password" in refused.err) == (2, True)
    assert [one.name for one in Path().iterdir()] == ["password"]
    monkeypatch.setenv("SMIME_GRAPH_PASSWORD", "from here")
    assert call(*bare).status == 0
    before = Path("alice@contoso.com.key").read_bytes()
    ser.load_pem_private_key(before, b"from here")
    again = call(*bare)
    assert (again.status, "is there already" in again.err) == (2, True)
    assert Path("alice@contoso.com.key").read_bytes() == before


def test_json_and_a_key_that_only_signs(call: Run) -> None:
    done = call(*ASKED, "--key", "ed25519", "--json")
    shown = json.loads(done.out)
    assert shown["files"] == ["alice@contoso.com.key", "alice@contoso.com.csr"]
    assert any("it only signs" in one for one in shown["look_for"])
    assert done.err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody",), "is no address"),
        (("a@contoso.com", "--key", "x25519"), "cannot sign"),
        (("a@contoso.com", "--key", "nonsense"), "not known"),
        (("a@contoso.com", "--key", "ed25519", "--use", "encrypt"), "cannot encrypt"),
        (("a@contoso.com", "--key", "p256", "-o", "/dev/null/x"), "cannot be written"),
        ((), "ADDRESS"),
    ],
)
def test_what_cannot_be_asked_for(call: Run, arguments: tuple[str, ...], said: str) -> None:
    refused = call("cert", "request", *arguments, "--password-file", "password")
    assert refused.status == 2
    assert said in refused.err
    assert [one.name for one in Path().iterdir()] == ["password"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_the_request(call: Run) -> None:
    assert call(*ASKED, "--key", "rsa-2048").status == 0
    done = subprocess.run(
        ["openssl", "req", "-verify", "-noout", "-in", "alice@contoso.com.csr"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "verify OK" in done.stderr
