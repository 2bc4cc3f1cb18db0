"""compress, decompress, certs-only, passwords, receipts, labels, policies, keys on a token."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import MESSAGE, Run

MAIL = b"From: alice@contoso.com\nTo: bob@contoso.com\nSubject: Figures\n\nthe figures\n"


def run(*words: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "smime_graph", *words],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        check=False,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    assert run("ca", "init", "ca", cwd=folder).returncode == 0
    for kind, into in (("p256", "ca"), ("ml-dsa-65", "new")):
        (folder / into).mkdir(exist_ok=True)
        for who in ("alice", "bob"):
            words = ("ca", "issue", "ca", f"{who}@contoso.com", "--key", kind, "--into", into)
            assert run(*words, cwd=folder).returncode == 0
    (folder / "mail.eml").write_bytes(MAIL)
    (folder / "secret").write_text("correct horse\n")
    (folder / "wrong").write_text("battery staple\n")
    return folder


SIGN = ("--signer", "ca/alice@contoso.com.key")
TO_BOB = ("--recipient", "ca/bob@contoso.com.pem")
AS_BOB = ("--identity", "ca/bob@contoso.com.key", "--trust", "ca/ca.pem")


def test_compress_and_decompress(made: Path) -> None:
    small = run("compress", "mail.eml", cwd=made)
    assert (small.returncode, small.stderr) == (0, b"")
    assert b"smime-type=compressed-data" in small.stdout
    back = run("decompress", cwd=made, stdin=small.stdout)
    assert back.returncode == 0
    assert back.stdout.endswith(b"the figures\r\n")
    refused = run("decompress", "mail.eml", cwd=made)
    assert (refused.returncode, refused.stdout) == (1, b"")


def test_certificates_alone(made: Path) -> None:
    part = run("certs-only", "ca/ca.pem", "ca/alice@contoso.com.pem", cwd=made)
    assert part.returncode == 0
    shown = run("inspect", "--json", cwd=made, stdin=part.stdout)
    [layer] = json.loads(shown.stdout)["layers"]
    assert (layer["type"], len(layer["certificates"])) == ("certs-only", 2)
    assert run("certs-only", "mail.eml", cwd=made).returncode == 2
    assert run("certs-only", cwd=made).returncode == 2


def test_a_password_instead_of_a_certificate(made: Path) -> None:
    words = ("encrypt", "mail.eml", "--recipient-password-file", "secret")
    encrypted = run(*words, cwd=made)
    assert encrypted.returncode == 0
    read = ("decrypt", "--recipient-password-file")
    opened = run(*read, "secret", cwd=made, stdin=encrypted.stdout)
    assert opened.stdout.endswith(b"the figures\r\n")
    refused = run(*read, "wrong", cwd=made, stdin=encrypted.stdout)
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"horse" not in refused.stderr + opened.stderr
    assert run("encrypt", "mail.eml", cwd=made).returncode == 2


def test_a_sealed_message_may_be_compressed(made: Path) -> None:
    sealed = run("seal", "mail.eml", "--compress", *SIGN, *TO_BOB, cwd=made)
    report = run("examine", *AS_BOB, "--json", cwd=made, stdin=sealed.stdout)
    shown = json.loads(report.stdout)
    assert [one["type"] for one in shown["layers"]] == [
        "enveloped-data",
        "compressed-data",
        "signed-data",
    ]
    assert shown["verdict"] == "accepted"


def test_a_receipt_is_asked_for_made_and_checked(made: Path, tmp_path: Path) -> None:
    sealed, receipt = str(tmp_path / "sealed.eml"), str(tmp_path / "receipt.eml")
    asked = ("--receipt-to", "alice@contoso.com", "--label", "1.2.3.4:3:for the board")
    done = run("seal", "mail.eml", *asked, *SIGN, *TO_BOB, "-o", sealed, cwd=made)
    assert done.returncode == 0
    shown = json.loads(run("examine", sealed, *AS_BOB, "--json", cwd=made).stdout)
    assert shown["signers"][0]["receipt_to"] == ["alice@contoso.com"]
    assert "for the board" in shown["signers"][0]["label"]
    words = ("receipt", sealed, "--signer", "ca/bob@contoso.com.key", *AS_BOB, "-o", receipt)
    assert run(*words, cwd=made).returncode == 0
    as_json = run(*words[:-2], "--json", cwd=made)
    assert as_json.returncode == 0
    assert set(json.loads(as_json.stdout)) == {"size", "message"}
    as_alice = ("--identity", "ca/alice@contoso.com.key", "--trust", "ca/ca.pem")
    checked = run("verify-receipt", receipt, "--original", sealed, *as_alice, cwd=made)
    assert (checked.returncode, checked.stdout) == (
        0,
        b"accepted: confirmed by bob@contoso.com\n",
    )
    other = str(tmp_path / "other.eml")
    assert run("seal", "mail.eml", *asked, *SIGN, *TO_BOB, "-o", other, cwd=made).returncode == 0
    refused = run("verify-receipt", receipt, "--original", other, *as_alice, cwd=made)
    assert (refused.returncode, refused.stdout) == (1, b"")
    plain = str(tmp_path / "plain.eml")
    assert run("seal", "mail.eml", *SIGN, *TO_BOB, "-o", plain, cwd=made).returncode == 0
    nothing = run("receipt", plain, "--signer", "ca/bob@contoso.com.key", *AS_BOB, cwd=made)
    assert (nothing.returncode, nothing.stdout) == (1, b"")
    assert run("sign", "mail.eml", *SIGN, "--label", "1.2.3:x", cwd=made).returncode == 2


def test_the_post_quantum_policy(made: Path) -> None:
    words = ("seal", "mail.eml", "--policy", "post-quantum")
    new = ("--signer", "new/alice@contoso.com.key", "--recipient", "new/bob@contoso.com.pem")
    sealed = run(*words, *new, cwd=made)
    assert sealed.returncode == 0, sealed.stderr
    shown = json.loads(run("inspect", "--json", cwd=made, stdin=sealed.stdout).stdout)
    assert {one["algorithm"] for one in shown["layers"][0]["recipients"]} == {"ml-kem-768"}
    opened = run(
        *("unseal", "--identity", "new/bob@contoso.com.key", "--trust", "ca/ca.pem"),
        cwd=made,
        stdin=sealed.stdout,
    )
    assert opened.stdout.endswith(b"the figures\r\n")
    refused = run(*words, *SIGN, *TO_BOB, cwd=made)
    assert refused.returncode == 1
    assert b"hint: " in refused.stderr


def test_a_token_that_is_not_there(made: Path) -> None:
    refused = run("sign", "mail.eml", "--signer", "pkcs11:token=none;object=none", cwd=made)
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert b"hint: " in refused.stderr
    secret = run(*("sign", "mail.eml", "--signer", "pkcs11:token=none?pin-value=1234"), cwd=made)
    assert secret.returncode == 2
    assert b"1234" not in secret.stderr


@pytest.mark.skipif(
    shutil.which("softhsm2-util") is None or shutil.which("pkcs11-tool") is None,
    reason="softhsm2 and opensc are not installed (apt install softhsm2 opensc)",
)
def test_a_key_on_a_token_signs(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed (extra hsm)")
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    conf = tmp_path / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {tokens}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(conf))
    module = next(Path("/usr/lib").rglob("libsofthsm2.so"))
    for command in (
        ("softhsm2-util", "--init-token", "--free", "--label", "t", "--so-pin", "1234")
        + ("--pin", "9876"),
        ("softhsm2-util", "--import", "ca/alice@contoso.com.key", "--token", "t", "--label", "a")
        + ("--id", "01", "--pin", "9876"),
        ("pkcs11-tool", "--module", str(module), "--token-label", "t", "--login", "--pin", "9876")
        + ("--write-object", str(tmp_path / "a.der"), "--type", "cert", "--id", "01"),
    ):
        if command[0] == "pkcs11-tool":
            from smime_graph.pki.identity import read_certificates

            [certificate] = read_certificates(made / "ca/alice@contoso.com.pem")[:1]
            (tmp_path / "a.der").write_bytes(certificate.der)
        done = subprocess.run(command, cwd=made, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    (tmp_path / "pin").write_text("9876\n")
    uri = f"pkcs11:token=t;object=a?module-path={module}"
    signed = run(
        *("sign", "mail.eml", "--signer", uri, "--password-file", str(tmp_path / "pin")), cwd=made
    )
    assert signed.returncode == 0, signed.stderr
    verified = run("verify", "--trust", "ca/ca.pem", cwd=made, stdin=signed.stdout)
    assert verified.stdout.endswith(b"the figures\r\n")
    checked = run(
        *("cert", "check", uri, "--password-file", str(tmp_path / "pin"), "--json"), cwd=made
    )
    [report] = json.loads(checked.stdout)["reports"]
    assert report["sha256"] == certificate.sha256


def test_a_layer_of_a_part_is_shown_and_opened_alone(made: Path) -> None:
    """RFC 9787 6.2: beside a list's footer nothing is signed or encrypted, but its part is."""
    sealed = run("seal", "mail.eml", *SIGN, *TO_BOB, "--trust", "ca/ca.pem", cwd=made).stdout
    header, _, part = sealed.partition(b"MIME-Version")
    raw = (
        header.replace(b"\r\n", b"\n")
        + b"Content-Type: multipart/mixed; boundary=m\n\n--m\n\nfooter\n--m\nMIME-Version"
        + part.replace(b"\r\n", b"\n")
        + b"\n--m--\n"
    )
    shown = run("inspect", "--json", cwd=made, stdin=raw)
    [layer] = json.loads(shown.stdout)["layers"]
    assert (layer["type"], layer["path"], layer["errant"]) == ("enveloped-data", "1.2", True)
    assert b"1.2 enveloped-data" in run("inspect", cwd=made, stdin=raw).stdout
    told = json.loads(run("examine", *AS_BOB, "--json", cwd=made, stdin=raw).stdout)
    assert (told["verdict"], told["summary"]) == ("rejected", "unprotected")
    assert [one["path"] for one in told["layers"]] == ["1.2"]
    for words in (("decrypt", *AS_BOB[:2]), ("unseal", *AS_BOB)):
        refused = run(*words, cwd=made, stdin=raw)
        assert (refused.returncode, refused.stdout) == (1, b"")
        assert b"--part 1.2" in refused.stderr
        opened = run(*words, "--part", "1.2", cwd=made, stdin=raw)
        assert opened.returncode == 0
        assert b"smime.errant-layer" in opened.stderr
        assert b"footer" not in opened.stdout
    assert opened.stdout.endswith(b"the figures\r\n")
    alone = run("examine", *AS_BOB, "--part", "1.2", "--json", cwd=made, stdin=raw)
    told = json.loads(alone.stdout)
    assert (told["verdict"], told["summary"]) == ("accepted", "signed-and-encrypted")
    assert [one["path"] for one in told["layers"]] == ["1.2", "1.2.1"]
    assert told["signers"][0]["sender"]["compared"] == "alice@contoso.com"
    for verb in ("verify", "unseal", "examine", "decrypt"):
        words = (verb, *(AS_BOB[2:] if verb == "verify" else AS_BOB))
        words = words[:3] if verb == "decrypt" else words
        assert run(*words, "--part", "1.7", cwd=made, stdin=raw).returncode == 2


def test_why_a_message_is_rejected_is_printed(made: Path) -> None:
    encrypted = run("encrypt", "mail.eml", *TO_BOB, cwd=made).stdout
    outside = run("sign", *SIGN, cwd=made, stdin=encrypted).stdout
    refused = run("unseal", *AS_BOB, cwd=made, stdin=outside)
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"what was signed is encrypted" in refused.stderr
    assert b"[smime.signature-outside]" in refused.stderr
    told = json.loads(run("examine", *AS_BOB, "--json", cwd=made, stdin=outside).stdout)
    assert [one["code"] for one in told["findings"] if one["severity"] == "error"] == [
        "smime.signature-outside"
    ]


@pytest.mark.parametrize("verb", ["seal", "encrypt", "send", "draft", "check", "sendmail"])
def test_that_bcc_recipients_can_be_seen_is_said_once(call: Run, verb: str) -> None:
    signer = () if verb == "encrypt" else ("--signer", "alice.key")
    where = () if verb in ("seal", "encrypt") else ("--emulator",)
    words = (verb, "-t", "-i") if verb == "sendmail" else (verb,)
    asked = (*words, *signer, "--recipient", "bob.pem", "--recipient", "carol.pem", *where)
    hidden = MESSAGE.replace(b"Subject", b"Bcc: carol@contoso.com\nSubject")
    result = call(*asked, stdin=hidden)
    assert result.status == 0
    line, hint = result.err.splitlines()
    assert line.startswith("smime-graph: warning: the message has Bcc recipients")
    assert hint.startswith("hint: --split-bcc of seal and send")
    assert call(*asked, stdin=MESSAGE).err == ""


def test_the_system_s_roots_are_believed_where_they_are_named_and_it_is_said(
    here: Path, call: Run
) -> None:
    asked = ("verify", "signed.eml", "--json")
    told = call(*asked, "--trust", "system")
    assert told.status == 1
    assert "note: believing" in told.err
    assert "certifi" in told.err
    assert "pki.path.none" in told.err
    both = call(*asked, "--trust", "system", "--trust", "roots.pem")
    assert json.loads(both.out)["verdict"] == "accepted"
    # from a configuration, too; a file of that name is ./system
    (here / "c.toml").write_text('[defaults]\ntrust = ["system", "roots.pem"]\n')
    assert call("--config", "c.toml", *asked).status == 0
    (here / "system").write_bytes((here / "roots.pem").read_bytes())
    alone = call(*asked, "--trust", "./system")
    assert (alone.status, alone.err) == (0, "")
