"""Where results go, and what stays as it was."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes
from pathlib import Path

import pytest

from smime_graph import (
    EXCHANGE,
    Identity,
    MessageReport,
    ReceiptRequest,
    TrustStore,
    VerificationFailed,
    decrypt,
    examine,
    examine_receipt,
    load_identities,
    oids,
    receipt,
    sign,
    verify,
)
from smime_graph.cli import files
from smime_graph.cms import ess, signed_data
from smime_graph.errors import UsageError
from smime_graph.smime.wrap import pkcs7_mime

from .conftest import MESSAGE, Run, start, state

SIGN = ("sign", "m.eml", "--signer", "alice.key")


def test_the_program_runs(program: Run) -> None:
    result = program("sign", "--signer", "alice.key", stdin=MESSAGE)
    assert result.status == 0
    assert result.err == ""
    assert message_from_bytes(result.out).get_content_type() == "multipart/signed"
    checked = program("verify", "-", "--trust", "roots.pem", stdin=result.out)
    assert (checked.status, checked.err) == (0, "")
    fields = MESSAGE.partition(b"\n\n")[0].replace(b"\n", b"\r\n") + b"\r\n"
    kind = b'Content-Type: text/plain; hp="clear"; charset=us-ascii\r\n\r\n'
    assert checked.out == fields + kind + b"the figures\r\n"


def test_what_is_sealed_comes_back(call: Run) -> None:
    sealed = call("seal", "m.eml", "--signer", "alice.key", "--recipient", "bob.pem")
    for reader in ("bob.key", "alice.key"):
        opened = call("unseal", "--identity", reader, "--trust", "roots.pem", stdin=sealed.out)
        assert opened.status == 0
        message = message_from_bytes(opened.out)
        assert message["Subject"] == "Figures"
        assert message.get_payload() == "the figures\r\n"
    blind = ("seal", "m.eml", "--signer", "alice.key", "--recipient", "bob.pem")
    sealed = call(*blind, "--no-encrypt-to-self")
    assert call("decrypt", "--identity", "alice.key", stdin=sealed.out).status == 1
    assert call("decrypt", "--identity", "bob.key", stdin=sealed.out).status == 0


def test_decrypting_warns_where_nothing_was_authenticated(call: Run) -> None:
    cbc = call("encrypt", "m.eml", "--recipient", "bob.pem")
    result = call("decrypt", "--identity", "bob.key", stdin=cbc.out)
    assert result.status == 0
    assert "warning" in result.err
    assert "cms.unauthenticated" in result.err
    gcm = call("encrypt", "m.eml", "--recipient", "bob.pem", "--cipher", "aes256-gcm")
    assert gcm.status == 0, gcm.err
    assert call("decrypt", "--identity", "bob.key", stdin=gcm.out).err == ""


def test_options_of_signing_reach_the_message(call: Run) -> None:
    opaque = call(*SIGN, "--opaque", "--digest", "sha512", "--sid", "ski")
    assert message_from_bytes(opaque.out).get_content_type() == "application/pkcs7-mime"
    shown = json.loads(call("inspect", "--json", stdin=opaque.out).out)
    assert list(shown) == ["layers"]
    (signer,) = shown["layers"][0]["signers"]
    assert signer["digest"] == "sha512"
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    east = moment.astimezone(timezone(timedelta(hours=5, minutes=30)))
    dated = call(*SIGN, "--at", east.isoformat())
    seen = json.loads(call("examine", "--json", stdin=dated.out).out)
    assert seen["signers"][0]["signing_time"] == moment.isoformat().replace("+00:00", "Z")


def test_the_report_has_the_keys_of_the_contract(call: Run) -> None:
    sealed = call("seal", "m.eml", "--signer", "alice.key", "--recipient", "bob.pem").out
    asked = ("unseal", "--identity", "bob.key", "--trust", "roots.pem", "--json")
    result = call(*asked, stdin=sealed)
    found = json.loads(result.out)
    assert result.status == 0
    assert found["verdict"] == "accepted"
    assert found["summary"] == "signed-and-encrypted"
    assert found["authenticated"] is True
    outer, inner = found["layers"]
    assert (outer["type"], outer["path"], outer["cipher"]) == ("enveloped-data", "1", "aes256-cbc")
    assert set(outer["recipients"][0]) == {"kind", "id", "algorithm"}
    assert (inner["type"], inner["path"]) == ("signed-data", "1.1")
    assert (inner["detached"], inner["micalg"]) == (True, "sha-256")
    (signer,) = found["signers"]
    assert signer["email"] == ["alice@contoso.com"]
    for key in ("intact", "valid", "trusted", "trusted_at_signing", "accepted"):
        assert signer[key] is True
    assert signer["sender"] == {"compared": "alice@contoso.com", "matches": True}
    names = ["From", "To", "Subject", "Message-ID", "Date"]
    assert signer["covers"] == {"body": True, "headers": names}
    assert signer["compared_header"] == "protected"
    assert (found["header_protection"], found["outer_headers_differ"]) == ("cipher", [])
    assert found["headers"] == [{"name": one, "state": "signed-only"} for one in names]
    assert set(signer) >= {"subject", "issuer", "serial", "sha256", "scheme", "digest"}
    assert signer["serial"].startswith("0x")
    assert all(set(f) == {"code", "severity", "where", "text", "source"} for f in found["findings"])


def test_what_is_hidden_of_the_header_and_what_is_protected_are_options(call: Run) -> None:
    seal = ("seal", "m.eml", "--signer", "alice.key", "--recipient", "bob.pem")
    asked = ("--identity", "bob.key", "--trust", "roots.pem")
    for name, outside in (("none", "Figures"), ("baseline", "[...]"), ("shy", "[...]")):
        sealed = call(*seal, "--header-confidentiality", name)
        assert sealed.status == 0, sealed.err
        assert message_from_bytes(sealed.out)["Subject"] == outside
        opened = call("unseal", *asked, stdin=sealed.out)
        message = message_from_bytes(opened.out)
        assert (message.get_all("Subject"), message.get_payload()) == (
            ["Figures"],
            "the figures\r\n",
        )
        assert message["From"] == "Alice <alice@contoso.com>"
        found = json.loads(call("unseal", "--json", *asked, stdin=sealed.out).out)
        assert found["outer_headers_differ"] == ([] if name == "none" else ["Subject"])
        text = call("examine", *asked, stdin=sealed.out).out.decode()
        state = "signed-only" if name == "none" else "signed-and-encrypted"
        assert f"  Subject: {state}" in text
    bare = call("sign", "m.eml", "--signer", "alice.key", "--no-header-protection").out
    assert bare.count(b"Figures") == 1
    found = json.loads(call("verify", "--json", "--trust", "roots.pem", stdin=bare).out)
    assert (found["header_protection"], found["headers"]) == (None, [])
    assert found["signers"][0]["covers"] == {"body": True, "headers": []}
    both = call(*seal, "--no-header-protection", "--header-confidentiality", "shy")
    assert both.status == 2
    assert "hides header fields, and protects none" in both.err


def test_a_header_that_was_changed_on_the_way_is_named(call: Run) -> None:
    sealed = call("seal", "m.eml", "--signer", "alice.key", "--recipient", "bob.pem").out
    asked = ("unseal", "--identity", "bob.key", "--trust", "roots.pem")
    other = sealed.replace(b"Subject: Figures", b"Subject: Pay now")
    result = call(*asked, stdin=other)
    assert result.status == 0
    assert message_from_bytes(result.out)["Subject"] == "Figures"
    assert "another Subject than its sender wrote [smime.outer-header]" in result.err
    assert json.loads(call(*asked, "--json", stdin=other).out)["outer_headers_differ"] == [
        "Subject"
    ]


def test_examine_judges_and_yet_succeeds(call: Run) -> None:
    signed = call(*SIGN).out
    result = call("examine", "--json", stdin=signed)
    found = json.loads(result.out)
    assert result.status == 0
    assert found["verdict"] == "rejected"
    assert "error" not in found
    text = call("examine", stdin=signed)
    assert text.status == 0
    assert text.out.startswith(b"rejected: signed")


def test_json_beside_a_file(here: Path, call: Run) -> None:
    result = call(*SIGN, "--json", "-o", "out.eml")
    assert json.loads(result.out) == {"size": (here / "out.eml").stat().st_size}
    checked = call("verify", "out.eml", "--trust", "roots.pem", "--json", "-o", "content")
    assert json.loads(checked.out)["verdict"] == "accepted"
    assert (here / "content").read_bytes().endswith(b"the figures\r\n")


def test_a_signed_message_in_json_is_not_lost(call: Run) -> None:
    import base64

    found = json.loads(call(*SIGN, "--json").out)
    signed = base64.b64decode(found["message"])
    assert call("verify", "--trust", "roots.pem", stdin=signed).status == 0


def test_certificates_that_came_along_are_saved(here: Path, call: Run) -> None:
    signed = call(*SIGN).out
    asked = ("verify", "--trust", "roots.pem", "--save-certificates", "came.pem")
    assert call(*asked, stdin=signed).status == 0
    assert (here / "came.pem").read_bytes() == (here / "alice.pem").read_bytes()
    (here / "came.pem").unlink()
    broken = signed.replace(b"figures\r\n\r\n", b"fingers\r\n\r\n")
    assert broken != signed
    assert call(*asked, stdin=broken).status == 1
    assert not (here / "came.pem").exists()


def test_a_detached_signature_with_its_content(here: Path, call: Run) -> None:
    from smime_graph.smime.entity import Entity, split_multipart

    signed = Entity(call(*SIGN).out)
    boundary = signed.content_type.parameters["boundary"]
    content, signature = split_multipart(signed.body, boundary).parts
    assert content is not None
    assert signature is not None
    (here / "content").write_bytes(content)
    (here / "smime.p7s").write_bytes(Entity(signature).decoded_body())
    asked = ("verify", "smime.p7s", "--trust", "roots.pem")
    assert call(*asked, "--content", "content", "--sender", "alice@contoso.com").status == 0
    without = call(*asked)
    assert without.status == 1
    assert "--content FILE" in without.err


# --- files ----------------------------------------------------------------------------------------


def test_a_file_is_replaced_and_keeps_its_permissions(here: Path, call: Run) -> None:
    out = here / "out.eml"
    out.write_bytes(b"old" * 100_000)
    out.chmod(0o640)
    inode = out.stat().st_ino
    assert call(*SIGN, "-o", "out.eml").status == 0
    assert out.read_bytes().startswith(b"From: Alice")
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    assert out.stat().st_ino != inode  # renamed over it, so that nobody saw half of it
    assert [p.name for p in here.iterdir() if p.name.startswith(".out")] == []


def test_a_new_file_follows_the_umask(here: Path, call: Run) -> None:
    before = os.umask(0o027)
    try:
        assert call(*SIGN, "-o", "out.eml").status == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((here / "out.eml").stat().st_mode) == 0o640


@pytest.mark.parametrize("before", [None, 0o644, 0o666, 0o640, 0o755, 0o400])
@pytest.mark.parametrize("verb", ["decrypt", "unseal", "verify", "decompress", "fetch"])
def test_what_comes_out_of_a_message_is_its_owner_s_alone(
    here: Path, call: Run, verb: str, before: int | None
) -> None:
    """Whatever the umask, and whatever the file that is replaced let others read."""
    bob = ("--identity", "bob.key")
    if verb == "decompress":
        assert call("compress", "m.eml", "-o", "small.eml").status == 0
    if verb == "fetch":
        data = ("--emulator-data", "box.db", "--user", "bob@contoso.com")
        assert call("draft", "sealed.eml", *data).status == 0
        listed = json.loads(call("list", *data, "--folder", "drafts", "--json").out)
        fetched = ("fetch", listed["messages"][0]["id"], *data)
    asked: dict[str, list[tuple[str, ...]]] = {
        "decrypt": [("decrypt", "sealed.eml", *bob)],
        "unseal": [("unseal", "sealed.eml", *bob, "--trust", "roots.pem")],
        "verify": [("verify", "signed.eml", "--trust", "roots.pem")],
        "decompress": [("decompress", "small.eml")],
    }
    if verb == "fetch":
        asked["fetch"] = [fetched, (*fetched, "--unseal", *bob, "--trust", "roots.pem")]
    mask = os.umask(0)
    try:
        for words in asked[verb]:
            out = here / "out.eml"
            out.unlink(missing_ok=True)
            if before is not None:
                out.write_bytes(b"old")
                out.chmod(before)
            result = call(*words, "-o", "out.eml")
            assert result.status == 0, result.err
            assert out.stat().st_size > 10
            wanted = 0o600 if before is None else before & 0o600
            assert stat.S_IMODE(out.stat().st_mode) == wanted
    finally:
        os.umask(mask)


@pytest.mark.parametrize("words", [("--key", "p256"), ("--p12-password-file", "password")])
def test_keys_that_are_written_are_their_owner_s_alone(
    here: Path, call: Run, words: tuple[str, ...]
) -> None:
    mask = os.umask(0)
    try:
        assert call("ca", "init", "authority").status == 0
        assert call("ca", "issue", "authority", "dora@contoso.com", *words).status == 0
    finally:
        os.umask(mask)
    kept = [p for p in (here / "authority").iterdir() if p.suffix in (".key", ".p12")]
    assert len(kept) == (2 if "p256" in words else 3)
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


def test_a_symbolic_link_stays_one(here: Path, call: Run) -> None:
    (here / "real").write_bytes(b"old")
    (here / "link").symlink_to("real")
    (here / "dangling").symlink_to("new")
    for name, target in (("link", "real"), ("dangling", "new")):
        assert call(*SIGN, "-o", name).status == 0
        assert (here / name).is_symlink()
        assert (here / target).read_bytes().startswith(b"From: Alice")


def test_what_is_no_regular_file_is_written_directly(here: Path, program: Run) -> None:
    assert program(*SIGN, "-o", "/dev/null").status == 0
    direct = program(*SIGN, "-o", "/dev/stdout")
    assert direct.status == 0
    assert direct.out.startswith(b"From: Alice")
    os.mkfifo(here / "fifo")
    reader = subprocess.Popen(["cat", here / "fifo"], stdout=subprocess.PIPE)
    assert program(*SIGN, "-o", "fifo").status == 0
    assert reader.communicate(timeout=20)[0].startswith(b"From: Alice")
    assert stat.S_ISFIFO((here / "fifo").stat().st_mode)


def test_standard_output_that_is_a_file_is_appended_to_not_replaced(here: Path) -> None:
    log = here / "log"
    log.write_bytes(b"kept\n")
    with log.open("ab") as file:
        process = start(*SIGN, "-o", "/dev/stdout", stdout=file, cwd=here)
        assert process.wait(60) == 0
    assert log.read_bytes().startswith(b"kept\nFrom: Alice")
    process.communicate()


def test_a_disk_that_fills_up_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").write_bytes(b"old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = state(tmp_path)
    with pytest.raises(UsageError, match="No space left") as caught:
        files.deliver(b"new", output=str(tmp_path / "out"))
    assert caught.value.hint
    assert state(tmp_path) == before


def test_a_full_standard_output_is_an_error_and_no_file_is_written(here: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start(*SIGN, stdout=full, cwd=here)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert b"No space left" in err
        assert b"hint: " in err
        before = state(here)
        process = start(*SIGN, "--json", "-o", "out.eml", stdout=full, cwd=here)
        process.communicate(timeout=60)
        assert process.returncode == 2
        assert state(here) == before


def test_a_message_that_was_sent_is_not_reported_as_failed_to_send(here: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        asked = ("send", "m.eml", "--emulator-data", "box.db", "--json")
        process = start(*asked, stdout=full, cwd=here)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert b"the message was sent" in err
    assert b"do not repeat" in err


def test_a_closed_pipe_ends_quietly(here: Path) -> None:
    (here / "big.eml").write_bytes(MESSAGE + b"x" * 70 + b"\n" * 500_000)
    for words in (("sign", "big.eml", "--signer", "alice.key"), ("--help",), ("inspect", "m.eml")):
        read, write = os.pipe()
        os.close(read)
        process = start(*words, stdout=write, cwd=here)
        os.close(write)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, b"")


def test_closed_standard_streams_are_no_crash(here: Path) -> None:
    command = f"{sys.executable} -m smime_graph"
    for shell, status in (
        (f"{command} sign m.eml --signer alice.key >&-", 2),
        (f"{command} sign --signer alice.key <&-", 2),
        (f"{command} sign none.eml 2>&-", 2),
    ):
        done = subprocess.run(["bash", "-c", shell], cwd=here, capture_output=True, check=False)
        assert done.returncode == status
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interruption_leaves_no_partial_file(here: Path, number: int, status: int) -> None:
    os.mkfifo(here / "slow")
    before = set(here.iterdir())
    process = start("sign", "slow", "--signer", "alice.key", "-o", "out.eml", cwd=here)
    with (here / "slow").open("wb") as writer:  # returns when the program has opened it
        writer.write(MESSAGE)
        writer.flush()
        time.sleep(0.1)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert err == b""
    assert set(here.iterdir()) == before


def test_standard_error_that_cannot_spell_a_name_still_says_it(
    call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    from smime_graph.cli import terminal

    terminal.complain("error", "größe")
    stream.seek(0)
    assert stream.read() == "smime-graph: error: gr??e\n"


def test_json_is_what_the_report_of_the_library_says_of_itself(call: Run, here: Path) -> None:
    """Accepted, rejected, not judged at all, and receipts: one text, whoever asks for it."""
    at = datetime.now(UTC).replace(microsecond=0)
    when = ("--at", at.isoformat(), "--json")
    trust = TrustStore.load("roots.pem")
    bob = load_identities("bob.key", passwords=[(here / "password").read_text().strip()])
    keys = ("--identity", "bob.key", "--password-file", "password")
    sealed, changed = (Path(name).read_bytes() for name in ("sealed.eml", "changed.eml"))

    examined = examine(sealed, identities=bob, trust=trust, at=at)
    assert examined.accepted
    done = call("examine", "sealed.eml", *keys, "--trust", "roots.pem", *when)
    assert done.out == examined.to_json().encode() + b"\n"

    broken = examine(changed, trust=trust, at=at)
    assert broken.verdict == "rejected"
    done = call("examine", "changed.eml", "--trust", "roots.pem", *when)
    assert done.out == broken.to_json().encode() + b"\n"
    with pytest.raises(VerificationFailed) as caught:
        verify(changed, trust=trust, at=at)
    shown = json.loads(call("verify", "changed.eml", "--trust", "roots.pem", *when).out)
    assert isinstance(caught.value.report, MessageReport)
    assert {name: shown[name] for name in shown if name != "error"} == json.loads(
        caught.value.report.to_json()
    )

    opened = decrypt(sealed, identities=bob)
    assert opened.report.verdict == "not judged"
    assert "verdict" not in json.loads(opened.report.to_json())
    done = call("decrypt", "sealed.eml", *keys, "--json", "-o", "content")
    assert done.out == opened.report.to_json().encode() + b"\n"


def test_json_of_a_receipt_has_the_verdict_about_the_receipt(call: Run, here: Path) -> None:
    password = (here / "password").read_text().strip()
    alice, bob = (Identity.load(f"{one}.p12", password=password) for one in ("alice", "bob"))
    trust = TrustStore.load("roots.pem")
    asked = ReceiptRequest(("alice@contoso.com",))
    first, second = (sign(MESSAGE, signer=alice, receipt_request=asked) for _ in range(2))
    made = receipt(verify(first, trust=trust), signer=bob)
    assert made is not None
    for name, octets in (("first", first), ("second", second), ("receipt", made)):
        Path(name).write_bytes(octets)
    for original, verdict, by in (
        (first, "accepted", "bob@contoso.com"),
        (second, "rejected", "nobody"),
    ):
        at = datetime.now(UTC).replace(microsecond=0)
        report = examine_receipt(made, original=original, trust=trust, at=at)
        name = "first" if original is first else "second"
        words = ("verify-receipt", "receipt", "--original", name, "--trust", "roots.pem")
        done = call(*words, "--at", at.isoformat(), "--json")
        shown = json.loads(done.out)
        assert shown.pop("error", {}).get("type") == (
            "SignatureInvalid" if verdict == "rejected" else None
        )
        assert shown == json.loads(report.to_json())
        assert (shown["verdict"], shown["confirmed_by"]) == (verdict, by)
        codes = [one["code"] for one in shown["findings"]]
        assert ("smime.receipt.mismatch" in codes) == (verdict == "rejected")


def test_a_receipt_of_somebody_who_was_not_asked_is_a_warning(call: Run, here: Path) -> None:
    """What the report says of the receipt itself is shown, not only what it says of the message."""
    password = (here / "password").read_text().strip()
    alice, bob = (Identity.load(f"{one}.p12", password=password) for one in ("alice", "bob"))
    trust = TrustStore.load("roots.pem")
    asked = ReceiptRequest(("alice@contoso.com",), from_=("carol@contoso.com",))
    sent = sign(MESSAGE, signer=alice, receipt_request=asked)
    confirmation = verify(sent, trust=trust).signers[0].services.confirmation
    assert confirmation is not None
    digest = ess.message_signature_digest(confirmation.message_signature_digest)
    der, _ = signed_data.sign(
        confirmation.receipt.der,
        [bob],
        detached=False,
        policy=EXCHANGE,
        at=datetime.now(UTC),
        content_type=oids.RECEIPT,
        further=(digest,),
    )
    head = b"From: bob@contoso.com\r\nTo: alice@contoso.com\r\nMIME-Version: 1.0\r\n"
    Path("sent").write_bytes(sent)
    Path("receipt").write_bytes(head + pkcs7_mime("signed-receipt", der))
    words = ("verify-receipt", "receipt", "--original", "sent", "--trust", "roots.pem")
    done = call(*words, "--json")
    assert done.status == 0
    assert [one["code"] for one in json.loads(done.out)["findings"]] == ["smime.receipt.unexpected"]
    assert "smime-graph: warning: " in done.err
    assert "was not asked for a receipt" in done.err


def test_a_header_that_nothing_protects_is_not_said_to_be_protected(call: Run, here: Path) -> None:
    words = ("examine", "signed.eml")
    assert b"\nheader fields are protected (clear):\n" in call(*words, "--trust", "roots.pem").out
    out = call(*words).out
    assert b"\nheader fields stand inside as well (clear), and no signature that is accepted" in out
    assert b"fields are protected" not in out
