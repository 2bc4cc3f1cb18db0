"""gateway."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import smtplib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from smime_graph.gateway.users import Users
from tests.tls import make

from .conftest import Run, start

CONFIG = """
[gateway]
listen = "127.0.0.1:0"
outbox = "o.db"
signer = "keys"
contacts = "book.db"
emulator-data = "box.db"
"""


@pytest.fixture
def settled(here: Path, call: Run) -> Path:
    """A folder with Alice's key and a book with Bob's certificate."""
    (here / "keys").mkdir()
    shutil.copy("alice.key", "keys")
    shutil.copy("alice.pem", "keys")
    shutil.copy("alice.p12", "keys")  # no password is given, so it is passed over
    shutil.copy("bob.pem", "keys")  # no key, so it is nobody's
    assert call("contacts", "add", "bob.pem", "--contacts", "book.db").status == 0
    (here / "c.toml").write_text(CONFIG)
    return here


def send(port: int, to: str = "bob@contoso.com") -> None:
    text = f"From: alice@contoso.com\nTo: {to}\nSubject: x\n\nthe figures\n"
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail("alice@contoso.com", [to], text)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_runs_by_its_configuration_until_it_is_told(
    settled: Path, call: Run, number: signal.Signals, status: int
) -> None:
    process = start("gateway", "--config", "c.toml", stdout=subprocess.PIPE, cwd=settled)
    try:
        assert process.stdout is not None
        host, port = process.stdout.readline().decode().removeprefix("listening: ").split(":")
        assert host == "127.0.0.1"
        send(int(port))
        with pytest.raises(smtplib.SMTPDataError, match=r"no certificate for dave@contoso\.com"):
            send(int(port), "dave@contoso.com")
    finally:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (status, b""), err
    assert b"alice.p12" in err
    assert b"passed over" in err
    assert b"the figures" not in err
    # what was answered 250 is there, sent or not
    assert call("outbox", "run", "o.db", "--emulator-data", "box.db").status == 0
    asked = ("--emulator-data", "box.db", "--user", "bob@contoso.com", "--folder", "inbox")
    (copy,) = json.loads(call("list", *asked, "--json").out)["messages"]
    opened = call(
        *("fetch", copy["id"], "--emulator-data", "box.db", "--unseal"),
        *("--identity", "bob.key", "--trust", "roots.pem"),
    )
    assert opened.out.replace(b"\r\n", b"\n").endswith(b"\n\nthe figures\n")


def test_on_a_full_disk_nothing_is_answered_250_that_is_not_there(settled: Path, call: Run) -> None:
    asked = (
        "--graph-url",
        "http://127.0.0.1:9/v1.0",
        "--token-file",
        "token",
        "--config",
        "c.toml",
    )
    (settled / "c.toml").write_text(CONFIG.replace('emulator-data = "box.db"\n', ""))
    process = subprocess.Popen(
        [sys.executable, "-m", "smime_graph", "gateway", *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=settled,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
    )
    answered, refused = 0, ""
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(b":")[2])
        while not refused and answered < 200:
            try:
                send(port)
                answered += 1
            except smtplib.SMTPDataError as error:
                refused = f"{error.smtp_code} {error.smtp_error!r}"
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"a message of alice@contoso.com to bob@contoso.com was not taken: " in err
    assert refused == "451 b'4.3.0 it could not be stored, try again later'"
    assert answered > 2
    assert len(json.loads(call("outbox", "list", "o.db", "--json").out)["messages"]) == answered


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--outbox", ""), 2, "outbox"),
        (("--listen", "127.0.0.1"), 2, "no address with a port"),
        (("--listen", "127.0.0.1:70000"), 2, "no address with a port"),
        (("--listen", "0.0.0.0:0"), 2, "can be reached from other machines"),
        (("--listen", "0.0.0.0:0", "--auth-file", "users"), 2, "--tls-certificate is not given"),
        (("--listen", "192.0.2.1:0", "--auth-file", "users", "--tls-certificate", "tls"), 2, "192"),
        (("--held", "x"), 2, "nothing is held"),
        (("--outbox", "postgresql://x/y", "--without-certificate", "hold"), 2, "are held"),
        (("--held", "m.eml", "--without-certificate", "hold"), 2, "cannot hold messages"),
        (("--auth-file", "m.eml"), 2, "m.eml, line 1"),
        (("--auth-file", "not-there"), 2, "not-there"),
        (("--tls-certificate", "m.eml"), 2, "no certificate and its key"),
        (("--tls-certificate", "not-there"), 2, "not-there"),
        (("--signer", "not-there"), 2, "not-there"),
        (("--signer", "empty-folder"), 2, "holds no key"),
        (("--contacts", "not-there"), 2, "no address book"),
        (("--outbox", "m.eml"), 2, "m.eml"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_taken(
    settled: Path, call: Run, words: tuple[str, ...], status: int, said: str
) -> None:
    (settled / "empty-folder").mkdir()
    certificate, key = make(settled)
    (settled / "tls").write_bytes(certificate.read_bytes() + key.read_bytes())
    (settled / "users").write_text(f"printer:{'0' * 32}:{'0' * 128}\n")
    result = call("gateway", "--config", "c.toml", *words)
    assert (result.status, result.out) == (status, b""), result.err
    assert said in result.err
    assert "hint: " in result.err


def test_what_is_held_lies_beside_the_outbox(settled: Path, call: Run) -> None:
    asked = ("--config", "c.toml", "--without-certificate", "hold")
    process = start("gateway", *asked, stdout=subprocess.PIPE, cwd=settled)
    try:
        assert process.stdout is not None
        send(int(process.stdout.readline().rpartition(b":")[2]), "dave@contoso.com")
    finally:
        process.terminate()
        _, err = process.communicate(timeout=60)
    (file,) = (settled / "o.db.held").iterdir()
    said = f" of alice@contoso.com is held as {file.name}: no certificate for dave@contoso.com"
    assert b"message <" in err
    assert said.encode() in err
    assert b"the figures" not in file.read_bytes()


def test_without_a_key_there_is_none(settled: Path, call: Run) -> None:
    (settled / "c.toml").write_text(CONFIG.replace('signer = "keys"\n', ""))
    result = call("gateway", "--config", "c.toml")
    assert result.status == 2
    assert "nobody to sign with: the configuration is c.toml" in result.err


def test_without_aiosmtpd_it_says_what_to_install(
    settled: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [one for one in sys.modules if one.startswith("smime_graph.gateway.se")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aiosmtpd.smtp", None)
    monkeypatch.setitem(sys.modules, "aiosmtpd", None)
    result = call("gateway", "--config", "c.toml")
    assert result.status == 2
    assert "pip install 'smime-graph[smtp]'" in result.err


def test_the_line_that_help_shows_makes_a_user(call: Run) -> None:
    text = call("gateway", "--help").out.decode()
    found = re.search(r"python3 -c '(import getpass.*?)'", text, re.DOTALL)
    assert found is not None
    program = re.sub(r"\n +", "\n", found[1])
    done: Any = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        input=b"correct horse\n",
        capture_output=True,
        start_new_session=True,
        check=True,
    )
    users = Users(done.stdout.decode(), name="users")
    assert users.verify(b"NAME", b"correct horse") is not None
