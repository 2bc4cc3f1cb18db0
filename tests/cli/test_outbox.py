"""send --outbox, sendmail --outbox, and outbox list, run, retry, drop."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from smime_graph.emulator import Emulator, Fault
from smime_graph.graph import Outbox

from ..graph.postgres import running
from .conftest import Run, start

BOX = ("--emulator-data", "box.db")


@pytest.fixture
def away() -> Any:
    """The address of a Graph that is not there."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield "--graph-url", f"http://127.0.0.1:{one.getsockname()[1]}/v1.0"


@pytest.fixture
def listed(call: Run) -> Any:
    def messages(file: str = "o.db") -> list[dict[str, Any]]:
        result = call("outbox", "list", file, "--json")
        assert result.status == 0, result.err
        found: list[dict[str, Any]] = json.loads(result.out)["messages"]
        return found

    return messages


def in_sent_items(call: Run) -> list[str]:
    asked = ("--user", "alice@contoso.com", "--folder", "sentitems", "--json")
    found = json.loads(call("list", *BOX, *asked).out)["messages"]
    return sorted(one["internetMessageId"] for one in found)


def test_what_can_be_sent_at_once_is(here: Path, call: Run, listed: Any) -> None:
    result = call("send", "m.eml", *BOX, "--outbox", "o.db", "--json")
    assert (result.status, result.err) == (0, "")
    said = json.loads(result.out)
    assert said["status"] == "accepted"
    assert said["internetMessageId"] == "<1@contoso.com>"
    assert said["outbox"] == 1
    (row,) = listed()
    assert (row["state"], row["attempts"], row["error"]) == ("sent", 1, None)
    assert row["requests"][0]["clientRequestId"]
    assert row["requests"][0]["outcome"] == "sent"
    assert in_sent_items(call) == ["<1@contoso.com>"]
    # twice is once
    again = call("send", "m.eml", *BOX, "--outbox", "o.db", "--json")
    assert json.loads(again.out) == said
    assert "note: message 1 of the outbox o.db is this one, and was put in before" in again.err
    assert in_sent_items(call) == ["<1@contoso.com>"]


def test_another_message_of_a_message_id_that_was_used_is_not_lost_in_silence(
    here: Path, call: Run, listed: Any
) -> None:
    call("send", "m.eml", *BOX, "--outbox", "o.db")
    other = (here / "m.eml").read_bytes() + b"and this\r\n"
    (here / "other.eml").write_bytes(other)
    sealing = ("--signer", "alice.p12", "--password-file", "password", "--recipient", "bob.pem")
    for verb, words in (
        (("send", "other.eml"), ()),
        (("send", "m.eml"), ("--recipient", "bob.pem")),
        (("send", "m.eml"), sealing),
        (("sendmail", "bob@contoso.com"), sealing),
    ):
        result = call(*verb, *BOX, "--outbox", "o.db", *words, stdin=other)
        assert result.status == (65 if verb[0] == "sendmail" else 1)
        assert "message with the Message-ID <1@contoso.com> is in the outbox, as 1" in result.err
        assert " give it a Message-ID of its own" in result.err or "hint: give each" in result.err
    assert len(listed()) == 1


@pytest.mark.parametrize("key", [(), ("--split-bcc",)])
def test_what_is_sealed_anew_each_time_is_known_again(
    here: Path, call: Run, listed: Any, key: tuple[str, ...]
) -> None:
    sealing = ("--signer", "alice.p12", "--password-file", "password", "--recipient", "bob.pem")
    words = ("send", "m.eml", *BOX, "--outbox", "o.db", *sealing, *key)
    for number in range(3):
        result = call(*words)
        assert result.status == 0, result.err
        assert ("message 1 of the outbox o.db is this one" in result.err) == (number > 0)
    raw = (here / "m.eml").read_bytes()
    (here / "m.eml").write_bytes(raw.replace(b"Subject: ", b"Subject: other "))
    result = call(*words)
    assert result.status == 1
    assert "another message with the Message-ID <1@contoso.com> is in the outbox" in result.err
    assert len(listed()) == 1


def test_what_is_encrypted_now_is_not_what_went_in_the_clear(
    here: Path, call: Run, listed: Any
) -> None:
    words = ["send", "m.eml", *BOX, "--outbox", "o.db", "--signer", "alice.p12"]
    words += ["--password-file", "password"]
    assert call(*words).status == 0
    result = call(*words, "--recipient", "bob.pem")
    assert result.status == 1
    assert "another message with the Message-ID <1@contoso.com> is in the outbox" in result.err
    assert len(listed()) == 1


def test_what_graph_refuses_is_said_once(here: Path, program: Run) -> None:
    """By whoever carries it, and in no other words than ours."""
    eve = (*BOX, "--user", "eve@contoso.com")
    sent = program("send", "m.eml", *eve, "--outbox", "o.db")
    assert (sent.status, sent.err.count("ErrorSendAsDenied")) == (3, 1)
    program("outbox", "retry", "o.db", "1")
    ran = program("outbox", "run", "o.db", *eve)
    assert (ran.status, ran.err.count("ErrorSendAsDenied")) == (1, 1)
    assert ran.err.startswith("smime-graph: warning: message 1 of the outbox is failed: ")


def test_mail_survives_that_graph_is_away(here: Path, call: Run, listed: Any, away: Any) -> None:
    result = call("send", "m.eml", *away, "--token-file", "token", "--outbox", "o.db", "--json")
    assert result.status == 0
    assert json.loads(result.out)["status"] == "queued"
    assert "waits: no answer from 127.0.0.1: could not connect" in result.err
    assert "hint: outbox run o.db sends it" in result.err
    (row,) = listed()
    assert (row["state"], row["recipients"]) == ("queued", ["bob@contoso.com"])
    text = call("outbox", "list", "o.db").out.decode().split("\t")
    assert (text[0], text[1], text[3]) == ("1", "queued", "bob@contoso.com")
    done = call("outbox", "run", "o.db", *BOX, "--json")
    assert (done.status, json.loads(done.out)) == (
        0,
        {"sent": 1, "failed": 0, "queued": 0, "unknown": 0},
    )
    assert in_sent_items(call) == ["<1@contoso.com>"]


def test_a_run_that_leaves_something_says_what_to_do_next(here: Path, call: Run, away: Any) -> None:
    call("send", "m.eml", *away, "--token-file", "token", "--outbox", "o.db")
    with sqlite3.connect("o.db") as rows:
        rows.execute("UPDATE messages SET due = due + 3600")
    rows.close()
    done = call("outbox", "run", "o.db", *BOX)
    assert done.status == 3
    assert "0 sent, 0 failed, 1 queued, 0 unknown" in done.err
    assert re.search(r"note: nothing more is to be done before 20\S+Z\n", done.err)
    assert "hint: outbox list shows why; what waits, outbox retry makes due at once" in done.err
    assert call("outbox", "retry", "o.db", "1").status == 0
    done = call("outbox", "run", "o.db", *BOX)
    assert done.status == 0
    assert "hint" not in done.err


def test_without_a_token_it_is_stored_and_said(here: Path, call: Run, listed: Any) -> None:
    result = call("send", "m.eml", "--outbox", "o.db")
    assert (result.status, result.out) == (0, b"")
    assert "not tried now: no access token is given\nhint: use --token-file FILE" in result.err
    assert "waits\nhint: outbox run o.db sends it" in result.err
    assert listed()[0]["state"] == "queued"


def test_of_a_token_that_is_refused_it_is_said_how_to_go_on(
    here: Path, call: Run, listed: Any
) -> None:
    """And who does so is through at once, though the mailbox is left alone for a minute."""
    with Emulator(me="alice@contoso.com", open_mailboxes=True, token="good") as emulator:
        server = emulator.serve()
        at = ("--graph-url", server.url, "--token-file", "token")
        stored = call("send", "m.eml", *at, "--outbox", "o.db")
        assert stored.status == 0
        refused = "the token was refused: it is expired, or for another service; get one for"
        assert f"hint: {refused} https://127.0.0.1/.default" in stored.err
        assert "--token-file FILE or in SMIME_GRAPH_TOKEN; then outbox retry o.db 1" in stored.err
        assert "makes it due, and outbox run o.db sends it" in stored.err
        assert call("outbox", "retry", "o.db", "1").status == 0
        again = call("outbox", "run", "o.db", *at)
        assert again.status == 3
        assert refused in again.err
        (here / "token").write_text("good")
        assert call("outbox", "retry", "o.db", "1").status == 0
        assert call("outbox", "run", "o.db", *at).status == 0
        server.close()
    assert listed()[0]["state"] == "sent"


def test_what_is_stored_is_sealed(here: Path, call: Run) -> None:
    sealing = ("--signer", "alice.key", "--recipient", "bob.pem")
    result = call("send", "m.eml", *sealing, "--outbox", "o.db")
    assert result.status == 0, result.err
    held = b"".join(one.read_bytes() for one in here.glob("o.db*"))
    assert b"pkcs7-mime" in held
    assert b"the figures" not in held
    assert {one.stat().st_mode & 0o777 for one in here.glob("o.db*")} == {0o600}
    assert call("outbox", "run", "o.db", *BOX).status == 0
    asked = ("--user", "bob@contoso.com", "--folder", "inbox", "--json")
    (copy,) = json.loads(call("list", *BOX, *asked).out)["messages"]
    opened = call(
        *("fetch", copy["id"], *BOX, "--unseal"),
        *("--identity", "bob.key", "--trust", "roots.pem"),
    )
    assert opened.out.replace(b"\r\n", b"\n").endswith(b"\n\nthe figures\n")


def test_debug_tells_what_is_asked_of_graph_and_no_secret(here: Path, call: Run) -> None:
    (here / "t").write_text("eyJ-a-secret-token")
    with Emulator(me="alice@contoso.com", open_mailboxes=True) as emulator:
        emulator.faults.add(Fault.throttled(retry_after=0), on="POST *")
        server = emulator.serve()
        at = ("--graph-url", server.url, "--token-file", "t", "--outbox", "o.db", "--debug")
        key = ("--signer", "alice.p12", "--password-file", "password")
        first = call("send", "m.eml", *at, *key)
        assert call("outbox", "retry", "o.db", "1").status == 0
        emulator.faults.add(Fault.answer(403, code="ErrorSendAsDenied"), on="POST *")
        second = call("outbox", "run", "o.db", *at[:4], "--debug")
        server.close()
    assert (first.status, second.status) == (0, 1)
    assert "smime-graph: debug: POST /v1.0/me/messages: 429 ApplicationThrottled" in first.err
    assert "message 1 of the outbox (<1@contoso.com>) is failed" in second.err
    assert re.search("client-request-id [0-9a-f-]{36}", second.err)
    secret = (here / "password").read_text().split("\n")[0]
    for text in (first.err, second.err):
        assert "eyJ-a-secret" not in text
        assert secret not in text


def test_what_graph_refuses_is_told_and_kept(here: Path, call: Run, listed: Any) -> None:
    with Emulator(me="eve@contoso.com", open_mailboxes=True) as emulator:
        server = emulator.serve()
        at = ("--graph-url", server.url, "--token-file", "token", "--user", "eve@contoso.com")
        result = call("send", "m.eml", *at, "--outbox", "o.db", "--json")
        assert result.status == 3
        assert "ErrorSendAsDenied" in result.err
        error = json.loads(result.out)["error"]
        assert error["disposition"] == "refused"
        (row,) = listed()
        assert (row["state"], row["user"]) == ("failed", "eve@contoso.com")
        assert call("outbox", "run", "o.db", *at).status == 0  # nothing is to be done
        assert call("outbox", "retry", "o.db", "1").status == 0
        assert call("outbox", "run", "o.db", *at).status == 1
        dropped = call("outbox", "drop", "o.db", "1", "--json")
        assert json.loads(dropped.out) == {"dropped": [1]}
        assert "may lie in Drafts" in dropped.err
        server.close()
    assert listed() == []


def test_a_lost_answer_is_settled_by_a_run(here: Path, call: Run, listed: Any) -> None:
    with Emulator(me="alice@contoso.com", open_mailboxes=True) as emulator:
        emulator.faults.add(Fault.gateway_timeout(), on="POST */send*")
        server = emulator.serve()
        at = ("--graph-url", server.url, "--token-file", "token")
        result = call("send", "m.eml", *at, "--outbox", "o.db", "--json", "--via", "sendmail")
        assert (result.status, json.loads(result.out)["status"]) == (0, "unknown")
        assert "warning: it is not known yet whether message 1 of the outbox o.db" in result.err
        assert listed()[0]["state"] == "unknown"
        done = call("outbox", "run", "o.db", *at, "--json")
        server.close()
        assert len(emulator.mailbox("alice@contoso.com").messages("sentitems")) == 1
    assert (done.status, json.loads(done.out)["unknown"]) == (0, 0)
    (row,) = listed()
    assert row["state"] == "sent"
    assert "504" in row["requests"][0]["outcome"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("send", "m.eml", "--outbox", "o.db", "--no-save-to-sent-items"), "both given"),
        (("send", "m.eml", "--outbox", "o.db", "--split-bcc"), "signed and encrypted"),
        (("reply", "ID", "m.eml", "--outbox", "m.eml", *BOX), "is no outbox"),
        (("draft-send", "..", "--outbox", "o.db", *BOX), "names no message_id"),
        (("outbox", "run", "o.db", "--keep", "soon"), "is no span of time"),
        (("send", "m.eml", "--outbox", "postgresql://u:hunter@x@y"), "address of the outbox"),
        (("send", "m.eml", "--outbox", "m.eml"), "is no outbox"),
        (("send", "nobody.eml", "--outbox", "o.db"), "no recipient"),
        (("send", "m.eml", "--outbox", "o.db", "--size-limit", "9"), "the limit is 9"),
        (("send", "m.eml", "--outbox", "o.db", "--emulator", "--cloud", "dod"), "both given"),
        (("outbox",), "list, run, retry or drop"),
        (("outbox", "list", "o.db"), "is not there"),
        (("outbox", "run", "o.db", *BOX), "is not there"),
        (("outbox", "retry", "o.db", "1"), "is not there"),
        (("outbox", "drop", "o.db", "x"), "'x' is no whole number"),
    ],
)
def test_what_makes_no_sense_stores_nothing(
    here: Path, call: Run, words: tuple[str, ...], said: str
) -> None:
    if words[1:2] == ("nobody.eml",):
        (here / "nobody.eml").write_bytes(b"From: alice@contoso.com\nMessage-ID: <1@x.y>\n\nx\n")
    result = call(*words)
    assert result.status in (1, 2), result.err
    assert said in result.err
    assert "hunter" not in result.err
    if (here / "o.db").exists():
        assert json.loads(call("outbox", "list", "o.db", "--json").out)["messages"] == []


CONFIG = """
[sendmail]
signer = "alice.key"
recipient = ["bob.pem"]
from = "alice@contoso.com"
outbox = "o.db"
token-file = "token"
"""


def test_sendmail_stores_mail_while_graph_is_away(
    here: Path, call: Run, listed: Any, away: Any
) -> None:
    (here / "c.toml").write_text(CONFIG)
    env = {"SMIME_GRAPH_CONFIG": "c.toml"}
    result = call("sendmail", "-t", *away, stdin=b"To: bob@contoso.com\n\nx\n", env=env)
    assert (result.status, result.out) == (0, b"")
    assert listed()[0]["state"] == "queued"
    refused = call("sendmail", "-t", *away, stdin=b"To: dave@contoso.com\n\nx\n", env=env)
    assert refused.status == 65
    nobody = {"SMIME_GRAPH_OUTBOX": "o.db", "SMIME_GRAPH_TOKEN": "x"}
    unsigned = call("sendmail", "-t", stdin=b"To: bob@contoso.com\n\nx\n", env=nobody)
    assert unsigned.status == 78
    assert len(listed()) == 1
    assert call("sendmail", "-q", *BOX, env=env).status == 0
    assert listed()[0]["state"] == "sent"
    assert len(in_sent_items(call)) == 1


def test_sendmail_asks_to_be_called_again_where_the_outbox_is_away(
    here: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg", reason="psycopg (extra postgres) is not installed")
    (here / "c.toml").write_text(CONFIG.replace("o.db", "postgresql://u:hunter@127.0.0.1:1/x"))
    mail = b"To: bob@contoso.com\n\nx\n"
    result = call("sendmail", "-t", stdin=mail, env={"SMIME_GRAPH_CONFIG": "c.toml"})
    assert (result.status, "hunter" in result.err) == (75, False)
    # a file that another program holds
    Outbox(here / "o.db").close()
    (here / "c.toml").write_text(CONFIG)
    monkeypatch.setattr("smime_graph.database.BUSY_SECONDS", 0.01)
    other = sqlite3.connect(here / "o.db")
    other.execute("BEGIN IMMEDIATE")
    result = call("sendmail", "-t", stdin=mail, env={"SMIME_GRAPH_CONFIG": "c.toml"})
    other.close()
    assert result.status == 75
    assert "locked" in result.err


def test_sendmail_says_that_graph_refused_it(here: Path, call: Run, listed: Any) -> None:
    (here / "c.toml").write_text(CONFIG)
    with Emulator(me="eve@contoso.com", open_mailboxes=True) as emulator:
        server = emulator.serve()
        at = ("--graph-url", server.url, "--user", "eve@contoso.com")
        env = {"SMIME_GRAPH_CONFIG": "c.toml"}
        result = call("sendmail", "-t", *at, stdin=b"To: bob@contoso.com\n\nx\n", env=env)
        server.close()
    assert result.status == 65
    assert listed()[0]["state"] == "failed"


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGKILL, -9), (signal.SIGINT, 130)],
)
def test_who_is_ended_in_the_middle_loses_and_doubles_nothing(
    here: Path, listed: Any, number: int, status: int
) -> None:
    with Emulator(me="alice@contoso.com", mailboxes=["bob@contoso.com"]) as emulator:
        emulator.faults.add(Fault.slow(20), on="POST */send")
        server = emulator.serve()
        at = ("--graph-url", server.url, "--token-file", "token")
        process = start("send", "m.eml", *at, "--outbox", "o.db", cwd=here)
        end = time.monotonic() + 50
        while not any(entry.fault for entry in emulator.log):
            assert time.monotonic() < end
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate()
        assert process.returncode == status
        assert (b"interrupted: message 1 of the outbox o.db is stored" in said) == (status == 130)
        assert listed()[0]["state"] == "unknown"  # whoever had the lease is gone
        done = start("outbox", "run", "o.db", *at, "--json", cwd=here, stdout=subprocess.PIPE)
        out, _ = done.communicate(timeout=60)
        server.close()
        assert json.loads(out) == {"sent": 1, "failed": 0, "queued": 0, "unknown": 0}
        assert len(emulator.mailbox("alice@contoso.com").messages("sentitems")) == 1


def test_a_run_for_ever_sends_what_comes_in_and_ends_when_told(here: Path, listed: Any) -> None:
    with Emulator(me="alice@contoso.com", open_mailboxes=True) as emulator:
        server = emulator.serve()
        at = ("--graph-url", server.url, "--token-file", "token")
        process = start("outbox", "run", "o.db", *at, "--forever", cwd=here)
        end = time.monotonic() + 50
        while not (here / "o.db").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        stored = start("send", "m.eml", "--outbox", "o.db", cwd=here)
        assert stored.communicate(timeout=50)
        assert stored.returncode == 0
        while [one["state"] for one in listed()] != ["sent"]:
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        server.close()
    assert process.returncode == 143


def test_answers_and_drafts_go_through_it_as_well(here: Path, call: Run, listed: Any) -> None:
    assert call("send", "m.eml", *BOX).status == 0
    bob = ("--user", "bob@contoso.com")
    (original,) = json.loads(call("list", *BOX, *bob, "--folder", "inbox", "--json").out)[
        "messages"
    ]
    answer = b"From: bob@contoso.com\nTo: %s\nMessage-ID: <%d@contoso.com>\n\nx\n"
    for number, (verb, to) in enumerate([("reply", b"alice"), ("reply-all", b"alice")]):
        raw = answer % (to + b"@contoso.com", number)
        result = call(verb, original["id"], *BOX, "--outbox", "o.db", "--json", stdin=raw)
        assert result.status == 0, result.err
        assert json.loads(result.out)["status"] == "accepted"
    forward = answer % (b"carol@contoso.com", 7)
    assert call("forward", original["id"], *BOX, "--outbox", "o.db", stdin=forward).status == 0
    draft = call("draft", *BOX, stdin=answer % (b"dave@contoso.com", 8)).out.decode().strip()
    for _ in range(2):  # twice is once
        result = call("draft-send", draft, *BOX, *bob, "--outbox", "o.db", "--json")
        assert result.status == 0, result.err
        said = json.loads(result.out)
        assert (said["status"], said["internetMessageId"]) == ("accepted", "<8@contoso.com>")
    rows = listed()
    assert [(one["action"], one["state"]) for one in rows] == [
        *(("reply", "sent"), ("reply-all", "sent"), ("forward", "sent"), ("draft", "sent")),
    ]
    assert [one["original"] for one in rows] == [original["id"]] * 3 + [None]
    sent = ("list", *BOX, *bob, "--folder", "sentitems", "--json")
    found = json.loads(call(*sent).out)["messages"]
    ids = sorted(one["internetMessageId"] for one in found)
    assert ids == [f"<{number}@contoso.com>" for number in (0, 1, 7, 8)]


def test_a_draft_survives_that_graph_is_away(here: Path, call: Run, listed: Any, away: Any) -> None:
    draft = call("draft", "m.eml", *BOX).out.decode().strip()
    token = ("--token-file", "token")
    result = call("draft-send", draft, *away, *token, "--outbox", "o.db", "--json")
    assert (result.status, json.loads(result.out)["status"]) == (0, "queued")
    assert json.loads(result.out)["internetMessageId"] is None
    alice = ("--user", "alice@contoso.com")
    assert call("outbox", "drop", "o.db", "1").status == 0
    assert call("draft-send", draft, *alice, "--outbox", "o.db").status == 0  # without a token
    assert call("outbox", "run", "o.db", *BOX).status == 0
    assert [(one["state"], one["internetMessageId"]) for one in listed()] == [
        ("sent", "<1@contoso.com>")
    ]
    gone = call("draft-send", draft, *BOX, *alice, "--outbox", "other.db", "--json")
    assert gone.status == 3
    assert "it is no draft" in gone.err
    assert in_sent_items(call) == ["<1@contoso.com>"]


def test_what_was_sent_is_kept_as_long_as_one_says(here: Path, call: Run, listed: Any) -> None:
    assert call("send", "m.eml", *BOX, "--outbox", "o.db").status == 0
    assert call("outbox", "run", "o.db", *BOX, "--keep", "1h", "--window", "2h").status == 0
    assert len(listed()) == 1
    assert call("outbox", "run", "o.db", *BOX, "--keep", "0h").status == 0
    assert listed() == []


@pytest.mark.slow
def test_an_outbox_on_a_server_is_used_as_a_file_is(here: Path, call: Run, listed: Any) -> None:
    with running() as server:
        (here / "c.toml").write_text(f'[defaults]\noutbox = "{server.url_with_password}"')
        stored = call("send", "m.eml", "--config", "c.toml", "--json")
        name = f"postgresql://127.0.0.1:{server.port}/postgres"
        assert stored.status == 0, stored.err
        assert f"message 1 of the outbox {name} waits" in stored.err
        assert call("outbox", "run", server.url, *BOX).status == 0
        assert [one["state"] for one in listed(server.url)] == ["sent"]
        with Outbox(server.url_with_password) as outbox:
            assert outbox.name == name
        assert "pass-word" not in stored.err
    gone = call("outbox", "list", server.url_with_password)
    assert gone.status == 2
    assert f"the outbox {name} cannot be used" in gone.err
    assert "pass-word" not in gone.err
    assert in_sent_items(call) == ["<1@contoso.com>"]


def test_help_and_a_verb_without_its_verb(call: Run) -> None:
    shown = call("outbox", "--help")
    assert shown.status == 0
    assert re.search(rb"list .*\n  *retry .*\n  *run ", shown.out)
