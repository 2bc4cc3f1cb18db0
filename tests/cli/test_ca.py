"""ca: the test authority from the shell, and openssl beside it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from cryptography import x509

from smime_graph import CA
from smime_graph.authority.records import RevocationReason
from smime_graph.authority.service import FAULTS
from smime_graph.cli.ca import _REASONS
from smime_graph.cli.verbs import load
from smime_graph.pki.identity import Identity

from .conftest import MESSAGE, Run

pytestmark = pytest.mark.usefixtures("here")

openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def authority(call: Run, here: Path) -> None:
    assert call("ca", "init", "ca", "--key", "p256").status == 0
    assert call("ca", "issue", "ca", "alice@contoso.com", "--key", "ed25519").status == 0
    assert call("ca", "issue", "ca", "bob@contoso.com", "--key", "p256").status == 0


def listed(crl: bytes) -> dict[int, str | None]:
    found = {}
    for entry in x509.load_der_x509_crl(crl):
        reasons = [e.value for e in entry.extensions if isinstance(e.value, x509.CRLReason)]
        found[entry.serial_number] = reasons[0].reason.value if reasons else None
    return found


def serials(name: str) -> set[int]:
    identity = Identity.load(f"ca/{name}@contoso.com.key")
    return {one.certificate.serial_number for one in identity.identities}


# --- revoke, crl ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("authority")
def test_a_persons_certificates_are_revoked_and_listed(call: Run) -> None:
    done = call("ca", "revoke", "ca", "ca/alice@contoso.com.pem", "--reason", "keyCompromise")
    assert done.status == 0
    assert done.out.count(b"alice@contoso.com") == 2  # one signs, the other encrypts
    written = call("ca", "crl", "ca", "-o", "ca.crl")
    assert (written.status, written.out) == (0, b"")
    assert listed(Path("ca.crl").read_bytes()) == dict.fromkeys(serials("alice"), "keyCompromise")
    assert listed(call("ca", "crl", "ca").out).keys() == serials("alice")
    again = call("ca", "revoke", "ca", "ca/alice@contoso.com.pem")
    assert again.status == 2
    assert "was revoked already, at " in again.err


@pytest.mark.usefixtures("authority")
def test_a_hold_a_time_and_a_delta(call: Run) -> None:
    day = timedelta(days=1)
    times = [(datetime.now(UTC) + n * day).isoformat(timespec="seconds") for n in range(4)]
    bob = "ca/bob@contoso.com.pem"
    hold = ("ca", "revoke", "ca", bob, "--reason", "certificateHold", "--at", times[1], "--json")
    shown = json.loads(call(*hold).out)
    assert shown["reason"] == "certificateHold"
    assert shown["revoked"][0]["subject"] == "CN=bob@contoso.com"
    assert listed(call("ca", "crl", "ca").out) == {}
    assert call("ca", "crl", "ca", "--at", times[2], "-o", "base.crl").status == 0
    assert listed(Path("base.crl").read_bytes()).keys() == serials("bob")
    assert (
        call("ca", "revoke", "ca", bob, "--reason", "removeFromCRL", "--at", times[3]).status == 0
    )
    delta = call("ca", "crl", "ca", "--delta", "base.crl", "--at", times[3])
    assert listed(delta.out) == dict.fromkeys(serials("bob"), "removeFromCRL")
    wrong = call("ca", "crl", "ca", "--delta", bob, "-o", "x.crl")
    assert wrong.status == 2
    assert not Path("x.crl").exists()
    assert call("ca", "crl", "ca", "--delta", "base.crl", "-o", "base.crl").status == 2


@pytest.mark.usefixtures("authority")
def test_only_its_own_are_revoked(call: Run) -> None:
    assert call("ca", "init", "other", "--key", "p256").status == 0
    refused = call("ca", "revoke", "other", "ca/bob@contoso.com.pem")
    assert refused.status == 2
    assert "was not issued by" in refused.err
    for wrong in ("ca/index.json", "missing.pem"):
        assert call("ca", "revoke", "ca", wrong).status == 2
    assert listed(call("ca", "crl", "ca").out) == {}


def test_the_reasons_of_the_help_are_those_of_the_library() -> None:
    known = set(RevocationReason.__args__)  # type: ignore[attr-defined]
    assert known - set(_REASONS) == {"cACompromise", "aACompromise"}  # not of a person's
    assert set(_REASONS) <= known


@openssl
@pytest.mark.usefixtures("authority")
def test_openssl_takes_the_crl(call: Run) -> None:
    call("ca", "revoke", "ca", "ca/bob@contoso.com.pem")
    call("ca", "crl", "ca", "-o", "ca.crl")
    said = {}
    for name in ("alice", "bob"):
        leaf = Path(f"{name}.pem")
        text = Path(f"ca/{name}@contoso.com.pem").read_text()
        leaf.write_text(text[: text.index("-----END CERTIFICATE-----") + 26])
        done = subprocess.run(
            ["openssl", "verify", "-CAfile", "ca/ca.pem", "-crl_check", "-CRLfile", "ca.crl", leaf],
            capture_output=True,
            text=True,
            check=False,
        )
        said[name] = done.stdout + done.stderr
    assert "OK" in said["alice"]
    assert "certificate revoked" in said["bob"]


# --- issue ---------------------------------------------------------------------------------------


def extension(name: str, kind: type) -> Any:
    certificate = Identity.load(f"ca/{name}@contoso.com.key").certificate
    return certificate.extensions.get_extension_for_class(kind).value


def test_purposes_usage_and_end_are_chosen(call: Run, here: Path) -> None:
    assert call("ca", "init", "ca", "--key", "p256").status == 0
    end = "2027-03-04T05:06:07Z"
    options = ("--eku", "serverAuth,1.2.3.4", "--key-usage", "digitalSignature,nonRepudiation")
    done = call("ca", "issue", "ca", "a@contoso.com", "--key", "p256", *options, "--not-after", end)
    assert done.status == 0
    purposes = [one.dotted_string for one in extension("a", x509.ExtendedKeyUsage)]
    assert purposes == ["1.3.6.1.5.5.7.3.1", "1.2.3.4"]
    usage = extension("a", x509.KeyUsage)
    assert (usage.digital_signature, usage.content_commitment) == (True, True)
    assert not usage.key_agreement
    certificate = Identity.load("ca/a@contoso.com.key").certificate
    assert certificate.not_after == datetime.fromisoformat(end)
    none = ("--eku", "none", "--key-usage", "none")
    assert call("ca", "issue", "ca", "b@contoso.com", "--key", "p256", *none).status == 0
    kinds = {e.oid for e in Identity.load("ca/b@contoso.com.key").certificate.extensions}
    assert not kinds & {x509.ExtendedKeyUsage.oid, x509.KeyUsage.oid}
    for wrong in (("--eku", "email"), ("--key-usage", "1.2.3"), ("--eku", "1.2.x"), ("--eku", "")):
        refused = call("ca", "issue", "ca", "c@contoso.com", *wrong)
        assert refused.status == 2
        assert "wanted some of" in refused.err


def test_by_an_authority_below(call: Run, here: Path) -> None:
    assert call("ca", "init", "ca", "--key", "p256").status == 0
    asked = ("ca", "issue", "ca", "--intermediate")
    alone = call(*asked, "--key", "p256", "--name", "Issuing")
    assert (alone.status, alone.out) == (0, b"ca/intermediate/ca.pem\n")
    assert call(*asked).status == 2  # one is there
    assert call(*asked, "a@contoso.com", "--key", "p256").status == 0
    (below,) = Identity.load("ca/a@contoso.com.key").chain
    assert below.subject_text.startswith("CN=Issuing")
    assert below == CA.load("ca/intermediate").certificate
    assert [one["emails"] for one in CA.load("ca/intermediate").issued] == [["a@contoso.com"]]
    assert call("ca", "revoke", "ca", "ca/a@contoso.com.pem").status == 0
    assert listed(call("ca", "crl", "ca/intermediate").out).keys() == serials("a")
    assert call("ca", "revoke", "ca", "ca/intermediate/ca.pem").status == 0
    assert listed(call("ca", "crl", "ca").out).keys() == {below.serial_number}
    assert call("ca", "init", "other", "--key", "p256").status == 0
    assert (
        call("ca", "issue", "other", "b@contoso.com", "--intermediate", "--key", "p256").status == 0
    )
    assert Path("other/intermediate/ca.key").stat().st_mode & 0o777 == 0o600
    missing = call("ca", "issue", "ca")
    assert (missing.status, "ADDRESS is missing" in missing.err) == (2, True)


def test_variants_from_the_shell(call: Run, here: Path) -> None:
    assert call("ca", "init", "ca", "--key", "p256").status == 0
    asked = ("ca", "issue", "ca", "a@contoso.com", "--key", "p256", "--variant")
    assert call(*asked, "expired", "--variant", "eku-server", "--name", "Alice").status == 0
    certificate = Identity.load("ca/a@contoso.com.key").certificate
    assert certificate.subject_text == "CN=Alice"
    Path("m.eml").write_bytes(MESSAGE.replace(b"alice@", b"a@"))
    refused = call("sign", "m.eml", "--signer", "ca/a@contoso.com.key")
    assert refused.status == 1
    assert "expired" in refused.err
    assert [one["emails"] for one in CA.load("ca").issued] == [["a@contoso.com"]]
    wrong = call(*asked, "expird")
    assert (wrong.status, "hint: use expired" in wrong.err) == (2, True)


# --- serve ---------------------------------------------------------------------------------------


@contextmanager
def serving(*options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The URL that it prints, and the process."""
    command = [sys.executable, "-m", "smime_graph", "ca", "serve", "ca", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("URL: http://127.0.0.1:"), line
            yield line.removeprefix("URL: ").strip(), process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_what_is_served_is_fetched_and_a_revocation_is_seen(call: Run) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    assert call("ca", "init", "ca", "--key", "p256", "--services", url).status == 0
    assert call("ca", "issue", "ca", "alice@contoso.com", "--key", "p256").status == 0
    Path("m.eml").write_bytes(MESSAGE)
    assert (
        call("sign", "m.eml", "--signer", "ca/alice@contoso.com.key", "-o", "signed.eml").status
        == 0
    )
    verify = ("verify", "signed.eml", "--trust", "ca/ca.pem", "--revocation", "hard")
    fetch = ("--fetch-revocation", "--allow-local-fetch", "--json")

    def codes() -> list[str]:
        done = call(*verify, *fetch)
        shutil.rmtree("cache", ignore_errors=True)  # what was fetched is kept for a day
        found = json.loads(done.out)["findings"]
        return [one["code"] for one in found if one["code"].startswith("pki.revocation")]

    with serving() as (served, process):
        assert served == url
        assert codes() == []
        assert call("ca", "revoke", "ca", "ca/alice@contoso.com.pem").status == 0
        # what was revoked in this very second is judged in the next
        late = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
        assert "pki.revocation.revoked" in [
            one["code"] for one in json.loads(call(*verify, *fetch, "--at", late).out)["findings"]
        ]
        process.send_signal(signal.SIGTERM)
        assert "smime-graph: note: POST /ocsp 200" in process.communicate(timeout=10)[1]
    assert process.returncode == 0


@openssl
@pytest.mark.usefixtures("authority")
def test_openssl_asks_what_is_served_and_sees_the_fault() -> None:
    ask = ["openssl", "ocsp", "-issuer", "ca/ca.pem", "-cert", "ca/bob@contoso.com.pem"]

    def said(url: str) -> str:
        done = subprocess.run(
            [*ask, "-CAfile", "ca/ca.pem", "-url", f"{url}/ocsp"],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    with serving("--port", "0") as (url, _):
        assert "bob@contoso.com.pem: good" in said(url)
    with serving("--port", "0", "--fault", "ocsp:try-later", "--at", "2030-01-01T00:00:00Z") as (
        url,
        _,
    ):
        assert "trylater" in said(url)


@pytest.mark.usefixtures("authority")
def test_what_cannot_be_served(call: Run) -> None:
    for options, text in (
        (("--fault", "nonsense"), "fault 'nonsense' is not known"),
        (("--port", "70000"), "70000"),
    ):
        refused = call("ca", "serve", "ca", *options)
        assert refused.status == 2
        assert text in refused.err
    assert call("ca", "serve", "nowhere").status == 2
    for url in ("x", "ftp://contoso.com", "http://b\u00fccher.example"):
        assert call("ca", "init", "new", "--services", url).status == 2, url
        assert not Path("new").exists()


def test_the_help_names_every_fault() -> None:
    group: Any = load("ca")
    assert isinstance(group, click.Group)
    (option,) = [one for one in group.commands["serve"].params if one.name == "faults"]
    named = str(option.help).partition("issuer): ")[2].rstrip(".").split(", ")
    assert named == [one.name for one in FAULTS]


def test_an_authority_without_services_names_none(call: Run) -> None:
    assert call("ca", "init", "ca", "--key", "p256").status == 0
    call("ca", "issue", "ca", "a@contoso.com", "--key", "p256")
    kinds = {e.oid for e in Identity.load("ca/a@contoso.com.key").certificate.extensions}
    assert x509.AuthorityInformationAccess.oid not in kinds
    assert CA.load("ca").services is None


# --- mirror --------------------------------------------------------------------------------------


def test_a_twin_of_somebodys_certificate(call: Run, here: Path) -> None:
    for name in ("ca", "theirs"):
        assert call("ca", "init", name, "--key", "p256").status == 0
    assert (
        call("ca", "issue", "theirs", "eve@fabrikam.com", "--key", "p384", "--intermediate").status
        == 0
    )
    made = call("ca", "mirror", "ca", "theirs/eve@fabrikam.com.pem")
    assert made.out == b"ca/person1@test1.example.key\nca/person1@test1.example.pem\n"
    twin = Identity.load("ca/person1@test1.example.key")
    original = Identity.load("theirs/eve@fabrikam.com.key")
    assert len(twin.chain) == len(original.chain) == 1
    assert twin.certificate.not_after == original.certificate.not_after
    assert twin.certificate.public_key_info != original.certificate.public_key_info
    Path("m.eml").write_bytes(MESSAGE.replace(b"alice@contoso.com", b"person1@test1.example"))
    signed = call("sign", "m.eml", "--signer", "ca/person1@test1.example.key", "-o", "s.eml")
    assert signed.status == 0
    assert call("verify", "s.eml", "--trust", "ca/ca.pem").status == 0
    assert call("ca", "mirror", "ca", "ca/index.json").status == 2
    Path("password").write_text("secret")
    asked = ("ca", "mirror", "ca", "theirs/eve@fabrikam.com.pem", "--into", "twins")
    assert b"twins/person1@test1.example.p12" in call(*asked, "--p12-password-file", "password").out
