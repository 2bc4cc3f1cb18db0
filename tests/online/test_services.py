"""Services by another hand: `openssl ocsp`, and CRLs that `openssl ca` made, over real HTTP."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from smime_graph import (
    CA,
    EXCHANGE,
    Evidence,
    Fetcher,
    Identity,
    MessageReport,
    Revocation,
    TrustStore,
    examine,
    sign,
)
from smime_graph.pki.keyfiles.read import armour
from smime_graph.smime.context import VerificationContext
from smime_graph.x509.certificate import Certificate

from .conftest import DAY, HOUR, MESSAGE, Service, asking

CODES = ("revoked", "unknown", "stale", "invalid", "not-fetched")


def run(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@dataclass
class Responder:
    """An authority below a root, kept as OpenSSL keeps one, and its responder at `port`."""

    folder: Path
    port: int
    root: CA
    issuing: CA
    people: dict[str, Identity]

    def write(self) -> None:
        key = self.issuing.private_key
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "ca.key").write_bytes(pem)
        (self.folder / "ca.pem").write_bytes(armour(self.issuing.certificate))
        (self.folder / "number").write_text("01\n")
        (self.folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\n"
            "default_crl_days=30\n"
        )

    def database(self, **status: str) -> None:
        """Who is "V" (valid) or "R,time" (revoked then); others nobody knows."""
        lines = []
        for name, said in status.items():
            certificate = self.people[name].certificate
            state, _, moment = said.partition(",")
            until = certificate.not_after.strftime("%y%m%d%H%M%SZ")
            serial = f"{certificate.serial_number:x}"
            serial = serial if len(serial) % 2 == 0 else f"0{serial}"
            lines.append(f"{state}\t{until}\t{moment}\t{serial.upper()}\tunknown\t/CN={name}\n")
        (self.folder / "index.txt").write_text("".join(lines))

    @contextmanager
    def serving(self, *options: str, signer: str = "ca") -> Iterator[None]:
        command = ["openssl", "ocsp", "-port", str(self.port), "-index", "index.txt", "-CA"]
        command += ["ca.pem", "-rsigner", f"{signer}.pem", "-rkey", f"{signer}.key", *options]
        log = (self.folder / "log").open("wb")
        server = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and server.poll() is None:
                if b"ACCEPT" in (self.folder / "log").read_bytes():
                    break
                time.sleep(0.02)
            yield
        finally:
            server.kill()
            server.wait()
            log.close()

    def ask(self, who: str = "alice", **changes: Any) -> MessageReport:
        now = datetime.now(UTC)
        raw = sign(
            MESSAGE.replace(b"alice", who.encode()), signer=self.people[who], at=now - 3 * DAY
        )
        arguments: dict[str, Any] = {
            "trust": self.root.trust,
            "revocation": Revocation(
                mode=changes.pop("mode", "hard"),
                fetch=changes.pop("fetch", None) or Fetcher(allow_local=True),
            ),
        }
        return examine(raw, **arguments | changes)


def said(report: MessageReport) -> list[str]:
    """The codes of what was said of revocation, and that the message is accepted."""
    found = [f.code.removeprefix("pki.revocation.") for f in report.findings]
    return [one for one in found if one in CODES] + (["accepted"] if report.accepted else [])


@pytest.fixture
def responder(tmp_path: Path, service: Service) -> Responder:
    now = datetime.now(UTC)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = CA("Root", key="p256", at=now - 30 * DAY)
    above = asking(crl=service.url("/root.crl"))
    issuing = root.create_intermediate("Issuing", key="p256", at=now - 30 * DAY, extensions=above)
    place = asking(ocsp=f"http://127.0.0.1:{port}/")
    people = {
        name: issuing.issue(f"{name}@contoso.com", key="p256", at=now - 20 * DAY, extensions=place)
        for name in ("alice", "bob")
    }
    made = Responder(tmp_path, port, root, issuing, people)
    made.write()
    service.answers["/root.crl"] = _list_of(root, tmp_path)
    return made


def _list_of(ca: CA, folder: Path) -> bytes:
    """An empty list, by `openssl ca`."""
    folder = folder / "root"
    folder.mkdir()
    pem = ca.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "ca.key").write_bytes(pem)
    (folder / "ca.pem").write_bytes(armour(ca.certificate))
    (folder / "index.txt").write_text("")
    (folder / "number").write_text("01\n")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\n"
        "default_crl_days=30\n"
    )
    making = ("-gencrl", "-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.pem")
    run(folder, "ca", *making, "-out", "crl.pem")
    run(folder, "crl", "-in", "crl.pem", "-outform", "DER", "-out", "crl.der")
    return (folder / "crl.der").read_bytes()


def ago(delta: timedelta) -> str:
    return (datetime.now(UTC) - delta).strftime("%y%m%d%H%M%SZ")


def test_good_revoked_and_unknown(responder: Responder) -> None:
    responder.database(alice="V")
    with responder.serving("-nmin", "60"):
        assert said(responder.ask()) == ["accepted"]
        assert said(responder.ask("bob")) == ["unknown"]
    responder.database(alice=f"R,{ago(DAY)},keyCompromise", bob=f"R,{ago(9 * DAY)}")
    with responder.serving("-nmin", "60"):
        report = responder.ask()
        assert said(report) == ["revoked"]
        (text,) = [f.text for f in report.errors]
        assert text.startswith("is valid, but was revoked yesterday, at ")
        assert "(key compromise), after the time it says it signed at" in text
        (text,) = [f.text for f in responder.ask("bob").errors]
        assert text.startswith("is valid, but was revoked 9 days ago, at ")
        assert text.endswith("before the time it says it signed at")


def test_expired(responder: Responder) -> None:
    responder.database(alice="V")
    with responder.serving("-nmin", "1"):
        later = datetime.now(UTC) + HOUR
        assert said(responder.ask(at=later)) == ["stale"]
        assert said(responder.ask(at=later, mode="soft")) == ["stale", "accepted"]


def test_forged(responder: Responder) -> None:
    """By a key of a certificate that says that it is the authority's, and is not."""
    responder.database(alice="V")
    other = CA("Issuing", key="p256")
    pem = other.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (responder.folder / "other.key").write_bytes(pem)
    (responder.folder / "other.pem").write_bytes(armour(other.certificate))
    with responder.serving("-nmin", "60", signer="other"):
        assert said(responder.ask()) == ["invalid"]
        assert said(responder.ask(mode="soft")) == ["invalid", "accepted"]


def test_broken(responder: Responder) -> None:
    """`-badsig`: the signature of an answer that is right otherwise."""
    responder.database(alice="V")
    with responder.serving("-nmin", "60", "-badsig"):
        assert said(responder.ask()) == ["invalid"]


def test_missing(responder: Responder) -> None:
    report = responder.ask()
    assert said(report) == ["unknown", "not-fetched"]
    (text,) = [f.text for f in report.errors]
    assert text.endswith("connection refused")
    assert said(responder.ask(mode="soft")) == ["unknown", "not-fetched", "accepted"]


@pytest.mark.parametrize("is_one", [True, False])
def test_delegated(responder: Responder, is_one: bool) -> None:
    responder.database(alice="V")
    eku = ("1.3.6.1.5.5.7.3.9",) if is_one else ("1.3.6.1.5.5.7.3.4",)
    helper = responder.issuing.issue("ocsp@contoso.com", key="p256", eku=eku)
    pem = helper.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (responder.folder / "helper.key").write_bytes(pem)
    (responder.folder / "helper.pem").write_bytes(armour(helper.certificate))
    with responder.serving("-nmin", "60", signer="helper"):
        assert said(responder.ask()) == (["accepted"] if is_one else ["invalid"])


def test_what_was_remembered_is_refused_once_revoked(responder: Responder, tmp_path: Path) -> None:
    fetch = Fetcher(allow_local=True, cache=tmp_path / "kept" / "cache.sqlite")
    responder.database(alice="V")
    with responder.serving("-nmin", "30"):
        assert said(responder.ask(fetch=fetch)) == ["accepted"]
    # nobody answers, and nobody is asked
    assert said(responder.ask(fetch=fetch)) == ["accepted"]
    later = datetime.now(UTC) + HOUR
    assert said(responder.ask(fetch=fetch, at=later)) == ["unknown", "not-fetched"]
    responder.database(alice=f"R,{ago(HOUR)}")
    with responder.serving("-nmin", "120"):
        assert said(responder.ask(fetch=fetch, at=later)) == ["revoked"]
    assert said(responder.ask(fetch=fetch, at=later)) == ["revoked"]


def test_without_next_update(responder: Responder, tmp_path: Path) -> None:
    """Newer information is there at any time (RFC 6960 4.2.2.1): good for now, and not kept."""
    fetch = Fetcher(allow_local=True, cache=tmp_path / "kept" / "cache.sqlite")
    responder.database(alice="V")
    with responder.serving():
        assert said(responder.ask(fetch=fetch)) == ["accepted"]
    assert said(responder.ask(fetch=fetch)) == ["unknown", "not-fetched"]
    responder.database(alice=f"R,{ago(DAY)}")
    with responder.serving():
        assert said(responder.ask(fetch=fetch)) == ["revoked"]


def test_with_fetched_issuers_the_time_that_was_asked_about_is_judged() -> None:
    """Not the time of the judgement: an authority that was renewed since was none before."""
    now = datetime.now(UTC)
    root = CA("Root", key="p256", at=now - 30 * DAY)
    issuing = root.create_intermediate("Issuing", key="p256", at=now - 5 * DAY)
    alice = issuing.issue("alice@contoso.com", key="p256", use="sign", at=now - 20 * DAY)

    class Bringing:
        def evidence(self, *_: object, at: datetime) -> Iterator[Evidence]:
            return iter(())

        def issuers(self, certificate: Certificate, *, at: datetime) -> Evidence:
            return Evidence(certificates=(issuing.certificate,))

    context = VerificationContext.of(
        0, trust=TrustStore((root.certificate,)), policy=EXCHANGE, at=now
    )._replace(inquiry=Bringing())
    judged = {
        days: context.validate(alice.certificate, now - days * DAY, may_ask=True)
        for days in (0, 10)
    }
    assert judged[0].ok
    assert [one.code for one in judged[10].errors] == ["pki.path.not-yet-valid"]
