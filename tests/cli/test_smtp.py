"""send --via smtp."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from smime_graph import Identity, TrustStore, unseal
from smime_graph.cli import graph_client
from tests.smtp import TOKEN, Service, serving

from .conftest import MESSAGE, Run, start

SEALING = ("--signer", "alice.key", "--recipient", "bob.pem")


@pytest.fixture
def service(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("smtp")) as found:
        monkeypatch.setenv("SSL_CERT_FILE", str(found.root))
        monkeypatch.setenv("SMIME_GRAPH_SMTP_HOST", found.host)
        (here / "smtp-token").write_text(f"{TOKEN}\n")
        yield found


TOKEN_FILE = ("--smtp-token-file", "smtp-token")


def test_what_is_too_large_for_graph_is_sealed_and_goes_by_smtp(
    here: Path, call: Run, service: Service
) -> None:
    text = MESSAGE + b"all the figures, once more\n" * 150_000
    (here / "large.eml").write_bytes(text)
    refused = call("send", "large.eml", *SEALING, "--emulator")
    assert refused.status == 2
    assert "(send --via smtp)" in refused.err
    result = call("send", "large.eml", *SEALING, "--via", "smtp", *TOKEN_FILE, "--json")
    assert result.status == 0, result.err
    assert json.loads(result.out) == {
        "id": None,
        "internetMessageId": "<1@contoso.com>",
        "status": "accepted",
        "requestId": None,
    }
    ((sender, people, raw),) = service.messages
    assert (sender, people) == ("alice@contoso.com", ["bob@contoso.com"])
    assert len(raw) > 4 * 1024 * 1024
    roots = TrustStore.from_pem((here / "roots.pem").read_bytes())
    bob = Identity.load(here / "bob.key")
    opened = unseal(raw, identities=[bob], trust=roots)
    assert opened.content.count(b"all the figures, once more") == 150_000


def test_a_token_comes_from_the_environment_too(call: Run, service: Service) -> None:
    env = {"SMIME_GRAPH_SMTP_TOKEN": TOKEN, "SMIME_GRAPH_USER": "shared@contoso.com"}
    assert call("send", "m.eml", "--via", "smtp", env=env).status == 0
    assert service.users == ["shared@contoso.com"]


def test_a_credential_is_asked_for_a_token_of_its_own(
    call: Run, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Credential:
        def get_token(self, *scopes: str, **_: object) -> object:
            asked.extend(scopes)
            return SimpleNamespace(token=TOKEN, expires_on=4e9)

    monkeypatch.setattr(graph_client, "azure", Credential)
    result = call("send", "m.eml", "--via", "smtp", "--auth", "azure", "--token-file", "token")
    assert result.status == 0, result.err
    assert asked == ["https://outlook.office365.com/.default"]


def test_each_person_in_bcc_gets_a_message_of_their_own(
    here: Path, call: Run, service: Service
) -> None:
    (here / "bcc.eml").write_bytes(MESSAGE.replace(b"Subject", b"Bcc: carol@contoso.com\nSubject"))
    asked = ("--recipient", "carol.pem", "--split-bcc", "--via", "smtp", *TOKEN_FILE, "--json")
    result = call("send", "bcc.eml", *SEALING, *asked)
    assert result.status == 0, result.err
    assert [people for _, people, _ in service.messages] == [
        ["bob@contoso.com"],
        ["carol@contoso.com"],
    ]
    assert [one["status"] for one in json.loads(result.out)["copies"]] == ["accepted"] * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no access token for SMTP is given"),
        (("--smtp-token-file", "not-there"), "not-there"),
        ((*TOKEN_FILE, "--outbox", "o.db"), "--outbox and --via smtp"),
        ((*TOKEN_FILE, "--emulator"), "--emulator and --via smtp"),
        ((*TOKEN_FILE, "--no-save-to-sent-items"), "--no-save-to-sent-items"),
        ((*TOKEN_FILE, "--smtp-host", "a b"), "NAME:PORT"),
    ],
)
def test_what_makes_no_sense_is_said(
    call: Run, service: Service, words: tuple[str, ...], said: str
) -> None:
    result = call("send", "m.eml", "--via", "smtp", *words)
    assert result.status == 2
    assert said in result.err
    assert "hint: " in result.err
    assert service.lines == []


def test_without_aiosmtplib_it_says_what_to_install(
    call: Run, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiosmtplib", None)
    result = call("send", "m.eml", "--via", "smtp", *TOKEN_FILE)
    assert result.status == 2
    assert "pip install 'smime-graph[smtp]'" in result.err


def test_what_the_server_refuses_is_told(here: Path, call: Run, service: Service) -> None:
    service.answers = {"RCPT": "550 5.1.10 RecipientNotFound"}
    result = call("send", "m.eml", "--via", "smtp", *TOKEN_FILE, "--json")
    assert result.status == 3
    error = json.loads(result.out)["error"]
    assert error["disposition"] == "refused"
    assert "550 5.1.10 RecipientNotFound" in error["text"]


def test_a_lost_answer_is_told_and_nothing_is_repeated(call: Run, service: Service) -> None:
    service.answers = {"lost": "hang up"}
    result = call("send", "m.eml", "--via", "smtp", *TOKEN_FILE, "--json")
    assert result.status == 3
    error = json.loads(result.out)["error"]
    assert (error["disposition"], error["maybeSent"]) == ("unknown", True)
    assert "may have been sent" in result.err
    assert "do not send it again unasked" in result.err
    assert sum(line.startswith(b"MAIL") for line in service.lines) == 1


def test_ctrl_c_says_what_it_means(here: Path, service: Service) -> None:
    service.answers = {"lost": "silence"}
    process = start("send", "m.eml", "--via", "smtp", *TOKEN_FILE, cwd=here)
    end = time.monotonic() + 30
    while not any(line.startswith(b"MAIL") for line in service.lines):
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"interrupted: <1@contoso.com> may have been sent" in err
    assert b"Traceback" not in err
