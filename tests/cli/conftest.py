"""A folder of people, and two ways to run the program: in this process, and as it is run."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from smime_graph import CA, Contact, Identity, seal, sign
from smime_graph.asn1 import ber
from smime_graph.authority.issue import write_identity
from smime_graph.cli import main

PASSWORD = "correct horse battery"
TOKEN = "eyJ0b2tlbi1vZi1hbGljZSI6MX0"
MESSAGE = (
    b"From: Alice <alice@contoso.com>\nTo: Bob <bob@contoso.com>\nSubject: Figures\n"
    b"Message-ID: <1@contoso.com>\nDate: Sun, 22 Nov 2026 12:00:00 +0000\n\nthe figures\n"
)
FAULTY = {
    "truncated": b"From: alice@contoso.com\nContent-Type: application/pkcs7-mime\n"
    b"Content-Transfer-Encoding: base64\n\nMIIBAgYJKoZIhvcNAQcC\n",
    "one-part": b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";'
    b" boundary=b\n\n--b\n\nx\n--b--\n",
    "text": b"just some text\n",
    "empty": b"",
    "two-froms.eml": b"From: alice@contoso.com\nFrom: eve@contoso.com\nTo: bob@contoso.com\n\nx\n",
    "nobody.eml": b"From: alice@contoso.com\nMessage-ID: <1@x.y>\n\nx\n",
    "no-from.eml": b"To: bob@contoso.com\nMessage-ID: <1@x.y>\n\nx\n",
    "two-ids.eml": b"From: alice@contoso.com\nTo: bob@contoso.com\nMessage-ID: <1@x.y>\n"
    b"Message-ID: <2@x.y>\n\nx\n",
}


@dataclass(frozen=True)
class Result:
    status: int
    out: bytes
    err: str


Run = Callable[..., Result]


@pytest.fixture(scope="session", autouse=True)
def _signals_end_a_program() -> Iterator[None]:
    """Under nohup, or behind the & of a script, programs inherit that they ignore these."""
    ignored = [
        number
        for number in (signal.SIGHUP, signal.SIGINT)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    for number in ignored:
        # Ctrl-C is an exception of Python's, in the process of the tests as well
        own = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, own)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key files, certificates, roots and messages; nobody writes into it."""
    folder = tmp_path_factory.mktemp("people")
    ca = CA("Test Root", key="p256")
    (folder / "roots.pem").write_bytes(ca.trust_pem)
    made: dict[str, dict[str, Any]] = {
        "alice": {"key": "rsa-2048"},
        "bob": {},
        "carol": {},
        "signs-only": {"use": "sign"},
        "encrypts-only": {"use": "encrypt"},
        "old-cipher": {"capabilities": [ber.sequence(ber.oid("1.2.840.113549.3.7"))]},
        "expired": {
            "not_before": datetime(2020, 1, 1, tzinfo=UTC),
            "not_after": datetime(2021, 1, 1, tzinfo=UTC),
        },
    }
    for name, options in made.items():
        email = {"alice": "alice", "carol": "carol", "encrypts-only": "alice"}.get(name, "bob")
        person = ca.issue(f"{email}@contoso.com", **{"key": "p256", **options})
        password = PASSWORD if name in ("alice", "bob") else None
        write_identity(person, folder, name=name, password=password)
    alice_expired = ca.issue(
        "alice@contoso.com",
        key="p256",
        not_before=datetime.now(UTC) - timedelta(days=20),
        not_after=datetime.now(UTC) - timedelta(days=10),
    )
    write_identity(alice_expired, folder, name="alice-expired")
    mixed = (folder / "alice.key").read_bytes() + (folder / "bob.pem").read_bytes()
    (folder / "mixed.pem").write_bytes(mixed)
    (folder / "password").write_text(f"{PASSWORD}\n")
    (folder / "wrong-password").write_text("wrong\n")
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "m.eml").write_bytes(MESSAGE)
    alice, bob = (
        Identity.load(folder / f"{one}.p12", password=PASSWORD) for one in ("alice", "bob")
    )
    certificate = bob.encryption_certificate
    assert certificate is not None
    signed = sign(MESSAGE, signer=alice)
    (folder / "signed.eml").write_bytes(signed)
    (folder / "changed.eml").write_bytes(signed.replace(b"the figures", b"the fingers"))
    sealed = seal(MESSAGE, signer=alice, recipients=[Contact(certificate)])
    (folder / "sealed.eml").write_bytes(sealed)
    for name, content in FAULTY.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def here(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with the people's files in it; the current one, and the home."""
    for path in people.iterdir():
        # a copy: a test that writes over one changes nobody else's
        shutil.copy(path, tmp_path)
    for name in list(os.environ):
        if name.startswith("SMIME_GRAPH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(
    here: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """The program in this process: quick."""

    def run(
        *arguments: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> Any:
        capfdbinary.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            status = main([str(one) for one in arguments])
        out, err = capfdbinary.readouterr()
        text = err.decode()
        assert "Traceback" not in text
        assert status != 70, text
        return Result(int(status), out, text)

    return run


@pytest.fixture
def program(here: Path) -> Run:
    """The program as a process of its own: statuses, pipes and signals are real."""

    def run(
        *arguments: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "smime_graph", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            env={**os.environ, **(env or {})},
            cwd=here,
            start_new_session=True,
            timeout=60,
            check=False,
        )
        assert b"Traceback" not in done.stderr
        return Result(done.returncode, done.stdout, done.stderr.decode())

    return run


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    """The program, running."""
    return subprocess.Popen(
        [sys.executable, "-m", "smime_graph", *map(str, arguments)],
        stderr=subprocess.PIPE,
        start_new_session=True,
        # a shell that starts it in the background may have had SIGINT ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


def state(folder: Path) -> dict[str, str]:
    """Everything in a folder, by its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
