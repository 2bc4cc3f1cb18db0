"""--crl, --ocsp, --revocation, --fetch-revocation and --allow-local-fetch."""

from __future__ import annotations

import json
import shutil
import signal
import smtplib
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from smime_graph import CA, Contact, Identity, sign
from smime_graph.authority.issue import write_identity
from tests.online.conftest import HOUR, Service, World
from tests.online.conftest import service as service

from .conftest import Run, start

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
    for wrong in (message, trust, str(folder / "absent")):
        done = call("verify", message, "--trust", trust, option, wrong, "-o", str(folder / "out"))
        assert done.status == 2
        assert Path(wrong).name in done.err
        assert not (folder / "out").exists()


def test_a_folder_of_crls(folder: Path, call: Run) -> None:
    common = ("verify", str(folder / "signed.eml"), "--trust", str(folder / "ca.pem"))
    (folder / "bad.crl").rename(folder.parent / "bad.crl")
    assert call(*common, "--crl", str(folder), "--revocation", "hard").status == 0
    (folder.parent / "bad.crl").rename(folder / "bad.crl")
    assert call(*common, "--crl", str(folder)).status == 1


# --- fetched --------------------------------------------------------------------------------------


@pytest.fixture
def world(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A signed message and its root, whose services of revocation are on loopback."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    world = World.of(service)
    world.responds()
    (tmp_path / "online.eml").write_bytes(world.signed())
    (tmp_path / "online.pem").write_bytes(world.root.trust_pem)
    return world


def asked(call: Run, folder: Path, *options: str, verb: str = "verify") -> tuple[int, list[str]]:
    """The exit status, and the findings about revocation."""
    files = [str(folder / "online.eml"), "--trust", str(folder / "online.pem"), "--json"]
    done = call(verb, *files, *options)
    found = json.loads(done.out).get("findings", [])
    return done.status, [one["code"] for one in found if one["code"].startswith("pki.rev")]


FETCH = ("--fetch-revocation", "--allow-local-fetch", "--revocation", "hard")


@pytest.mark.parametrize("verb", ["verify", "unseal", "examine"])
def test_what_is_missing_is_fetched(world: World, call: Run, tmp_path: Path, verb: str) -> None:
    assert asked(call, tmp_path, *FETCH, verb=verb) == (0, [])
    assert world.service.log == ["POST /ocsp", "GET /root.crl"]


def test_nothing_is_fetched_unasked(world: World, call: Run, tmp_path: Path) -> None:
    assert asked(call, tmp_path, "--revocation", "soft")[1] == ["pki.revocation.unknown"] * 2
    assert asked(call, tmp_path, *FETCH[:2], "--revocation", "none") == (0, [])
    assert asked(call, tmp_path, "--allow-local-fetch") == (0, [])
    assert world.service.log == []


def test_a_local_service_must_be_allowed(world: World, call: Run, tmp_path: Path) -> None:
    status, found = asked(call, tmp_path, "--fetch-revocation")
    assert status == 0
    assert found == ["pki.revocation.unknown", "pki.revocation.not-fetched"] * 2
    assert asked(call, tmp_path, "--fetch-revocation", "--revocation", "hard")[0] == 1
    assert world.service.log == []


def test_answers_are_kept_in_the_cache_folder(world: World, call: Run, tmp_path: Path) -> None:
    place = tmp_path / "cache" / "smime-graph" / "revocation.sqlite"
    for _ in range(2):
        assert asked(call, tmp_path, *FETCH) == (0, [])
    assert len(world.service.log) == 2
    assert place.stat().st_mode & 0o777 == 0o600
    later = (world.now + 3 * HOUR).isoformat()
    world.responds(until=world.now + 9 * HOUR)
    assert asked(call, tmp_path, *FETCH, "--at", later) == (0, [])
    assert world.service.log[2:] == ["POST /ocsp"]


def test_a_cache_that_cannot_be_used_is_done_without(
    world: World, call: Run, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_bytes(b"no folder")
    files = [str(tmp_path / "online.eml"), "--trust", str(tmp_path / "online.pem")]
    done = call("verify", *files, *FETCH)
    assert done.status == 0
    assert "warning: the cache" in done.err


def test_they_can_stand_in_the_configuration_and_the_environment(
    world: World, call: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[verify]\nfetch-revocation = true\nallow-local-fetch = true\n")
    assert asked(call, tmp_path, "--config", str(config)) == (0, [])
    assert len(world.service.log) == 2
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("SMIME_GRAPH_FETCH_REVOCATION", "1")
    monkeypatch.setenv("SMIME_GRAPH_ALLOW_LOCAL_FETCH", "1")
    assert asked(call, tmp_path) == (0, [])
    assert len(world.service.log) == 4


@pytest.fixture
def revoked(folder: Path) -> Path:
    """Bob, a signer and a message to Bob; a CRL that names Bob, and one that names nobody."""
    now = datetime.now(UTC)
    ca = CA("Authority", key="p256", at=now - 9 * DAY)
    for name in ("alice", "bob"):
        write_identity(
            ca.issue(f"{name}@contoso.com", key="p256", at=now - 9 * DAY), folder, name=name
        )
    (folder / "roots.pem").write_bytes(ca.trust_pem)
    (folder / "good.crl").write_bytes(ca.crl(at=now, lifetime=DAY))
    bob = Contact.load(folder / "bob.pem").certificate
    ca.revoke(bob, reason="keyCompromise", at=now - DAY)
    (folder / "bad.crl").write_bytes(ca.crl(at=now, lifetime=DAY))
    (folder / "m.eml").write_bytes(
        b"From: alice@contoso.com\nTo: bob@contoso.com\nMessage-ID: <1@x.y>\n\ntext\n"
    )
    return folder


@pytest.mark.parametrize("verb", ["encrypt", "seal", "seal --split-bcc", "send", "check", "doctor"])
def test_a_revoked_recipient_is_refused(
    revoked: Path, call: Run, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(revoked)
    words = [*verb.split(), *(["copies"] if "split" in verb else [])]
    words += ["m.eml"] if verb != "doctor" else []
    words += ["--recipient", "bob.pem", "--trust", "roots.pem"]
    words += [] if verb == "encrypt" else ["--signer", "alice.key"]
    words += ["--emulator"] if verb in ("send", "check", "doctor") else []
    assert call(*words, "--crl", "good.crl", "--revocation", "hard").status == 0
    shutil.rmtree("copies", ignore_errors=True)
    bad = call(*words, "--crl", "bad.crl")
    assert bad.status == 1, bad.out
    assert "revoked" in bad.err + bad.out.decode()
    assert not (revoked / "copies").exists()
    unknown = call(*words, "--revocation", "hard")
    assert unknown.status == 1
    assert call(*words, "--revocation", "none", "--crl", "bad.crl").status == 0


def test_what_is_not_known_of_a_recipient_is_a_warning(
    revoked: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(revoked)
    to_bob = ("--recipient", "bob.pem", "--trust", "roots.pem", "--revocation", "soft")
    result = call("encrypt", "m.eml", *to_bob)
    assert result.status == 0
    assert "[pki.revocation.unknown]" in result.err


def test_revocation_of_recipients_is_judged_below_a_root_alone(
    revoked: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(revoked)
    result = call("encrypt", "m.eml", "--recipient", "bob.pem", "--crl", "bad.crl")
    assert result.status == 2
    assert "--trust" in result.err


@pytest.mark.parametrize("crl", ["good", "bad"])
def test_a_batch_refuses_them_as_well(
    revoked: Path, call: Run, crl: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(revoked)
    job = {"key": "1", "message": "m.eml", "signer": "alice.key", "recipients": ["bob.pem"]}
    job |= {"crl": f"{crl}.crl", "revocation": "hard"}
    for verb in ("seal", "encrypt"):
        jobs = revoked / f"{verb}.jsonl"
        jobs.write_text(json.dumps(job | {"trust": ["roots.pem"], "verb": verb}))
        done = call("batch", jobs, "-o", f"made-{verb}", "--workers", "1")
        assert (done.status, "revoked" in done.err) == (crl == "bad", crl == "bad")
    jobs.write_text(json.dumps(job))
    assert "crl, ocsp and revocation need trust" in call("batch", jobs, "-o", "made").err

    (revoked / "sealed").mkdir()
    sealed = ("--recipient", "bob.pem", "--signer", "alice.key", "-o", "sealed/1.eml")
    assert call("seal", "m.eml", *sealed).status == 0
    judged = ("--trust", "roots.pem", "--crl", f"{crl}.crl", "--workers", "1")
    anew = ("--encrypt-anew", "--identity", "bob.key", "--recipient", "bob.pem")
    assert call("batch", "sealed", *anew, *judged, "-o", "anew").status == (crl == "bad")
    read = ("--unseal", "--identity", "bob.key")
    assert call("batch", "sealed", *read, *judged, "-o", "read").status == 0  # Alice is not
    assert call("batch", jobs, *judged, "-o", "made").status == 2


def test_a_gateway_refuses_them_by_the_crl_that_is_there_now(
    revoked: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(revoked)
    assert call("contacts", "add", "bob.pem", "--contacts", "book.db").status == 0
    shutil.copy("good.crl", "now.crl")
    words = ["gateway", "--listen", "127.0.0.1:0", "--outbox", "o.db", "--emulator"]
    words += ["--signer", "alice.key", "--contacts", "book.db", "--crl", "now.crl"]
    words += ["--without-certificate", "sign"]  # which is not for one who is revoked
    refused = call(*words)
    assert (refused.status, "need --trust" in refused.err) == (2, True)
    process = start(*words, "--trust", "roots.pem", stdout=subprocess.PIPE, cwd=revoked)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(b":")[2])
        raw = (revoked / "m.eml").read_text()
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
            client.sendmail("alice@contoso.com", ["bob@contoso.com"], raw)
            shutil.copy("bad.crl", "now.crl")
            with pytest.raises(smtplib.SMTPDataError, match=r"550, .*revoked"):
                client.sendmail("alice@contoso.com", ["bob@contoso.com"], raw.replace("<1", "<2"))
            (revoked / "now.crl").unlink()  # it is being written anew
            with pytest.raises(smtplib.SMTPDataError, match="451, "):
                client.sendmail("alice@contoso.com", ["bob@contoso.com"], raw.replace("<1", "<3"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_what_is_missing_of_a_recipient_is_fetched(
    world: World, call: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = b"From: bob@contoso.com\nTo: alice@contoso.com\n\ntext\n"
    (tmp_path / "to-alice.eml").write_bytes(raw)
    (tmp_path / "to.pem").write_bytes(world.alice.to_pem())
    pem = world.issuing.certificate.x509.public_bytes(serialization.Encoding.PEM)
    (tmp_path / "issuing.pem").write_bytes(pem)
    words = ("to-alice.eml", "--recipient", "to.pem", "--trust", "issuing.pem")
    assert call("encrypt", *words, "--revocation", "hard").status == 1
    assert world.service.log == []
    done = call("encrypt", *words, *FETCH)
    assert done.status == 0, done.err
    assert call("check", *words, *FETCH).status == 0
    assert world.service.log == ["POST /ocsp"]  # its answer is kept
