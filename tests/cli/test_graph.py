"""The verbs of Graph, on the emulator in this process and on the one that is served."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from smime_graph import GraphClient
from smime_graph.cli import files, graph_client, main
from smime_graph.emulator import Emulator, Fault
from smime_graph.emulator.faults import NAMED
from smime_graph.errors import GraphRefused

from .conftest import MESSAGE, Run, start

DATA = ("--emulator-data", "box.db")
BOB = ("--user", "bob@contoso.com")
OPEN_BOB = ("--identity", "bob.key", "--trust", "roots.pem")


def inbox(call: Run, address: str, folder: str = "inbox") -> list[dict[str, str]]:
    result = call("list", *DATA, "--user", address, "--folder", folder, "--json")
    assert result.status == 0, result.err
    found: list[dict[str, str]] = json.loads(result.out)["messages"]
    return found


def parsed(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw.replace(b"\r\n", b"\n"), policy=policy.default)


@pytest.fixture
def received(call: Run) -> str:
    """The id of a sealed message that Alice sent to Bob."""
    seal = ("--signer", "alice.key", "--recipient", "bob.pem")
    sent = call("send", "m.eml", *seal, *DATA, "--json")
    assert sent.status == 0, sent.err
    assert set(json.loads(sent.out)) == {"id", "internetMessageId", "status", "requestId"}
    (message,) = inbox(call, "bob@contoso.com")
    return message["id"]


def test_what_is_sent_is_received_and_opened(call: Run, received: str) -> None:
    sealed = call("fetch", received, *DATA)
    assert message_from_bytes(sealed.out).get_content_type() == "application/pkcs7-mime"
    opened = call("fetch", received, *DATA, "--unseal", *OPEN_BOB)
    assert opened.status == 0, opened.err
    assert parsed(opened.out).get_content() == "the figures\n"
    report = json.loads(call("fetch", received, *DATA, "--unseal", *OPEN_BOB, "--json").out)
    assert (report["id"], report["verdict"]) == (received, "accepted")
    refused = call("fetch", received, *DATA, "--unseal", "--identity", "bob.key")
    assert (refused.status, refused.out) == (1, b"")


def test_a_finished_message_goes_as_it_is(here: Path, call: Run) -> None:
    sealed = call("seal", "m.eml", "--signer", "alice.key", "--recipient", "bob.pem").out
    result = call("send", *DATA, stdin=sealed)
    assert (result.status, result.out, result.err) == (0, b"", "")
    (message,) = inbox(call, "bob@contoso.com")
    body = call("fetch", message["id"], *DATA).out.partition(b"\r\n\r\n")[2]
    assert body == sealed.partition(b"\r\n\r\n")[2]


def test_sending_as_a_draft_tells_the_id(call: Run) -> None:
    found = json.loads(call("send", "m.eml", *DATA, "--via", "draft", "--json").out)
    sent = inbox(call, "alice@contoso.com", "sentitems")
    assert [one["id"] for one in sent] == [found["id"]]


def test_a_copy_may_be_refused_in_the_form_that_has_a_place_for_it(call: Run) -> None:
    asked = ("send", "m.eml", *DATA, "--no-save-to-sent-items", "--wire", "mime-content")
    assert call(*asked).status == 0
    assert inbox(call, "alice@contoso.com", "sentitems") == []
    assert len(inbox(call, "bob@contoso.com")) == 1


def test_a_draft_is_made_replaced_and_sent(here: Path, call: Run) -> None:
    wire = (*DATA, "--wire", "mime-content")
    made = call("draft", "m.eml", *wire)
    draft = made.out.decode().strip()
    assert made.status == 0
    assert inbox(call, "bob@contoso.com") == []
    (here / "new.eml").write_bytes(MESSAGE.replace(b"Figures", b"Better figures"))
    assert call("draft-update", draft, "new.eml", *wire).status == 0
    assert call("draft-send", draft, *wire).status == 0
    (message,) = inbox(call, "bob@contoso.com")
    assert message["subject"] == "Better figures"
    live = call("draft", "m.eml", *DATA).out.decode().strip()
    refused = call("draft-update", live, "m.eml", *DATA)
    assert refused.status == 3
    assert "405" in refused.err


@pytest.mark.parametrize("option", ["--reply-to", "--reply-all-to", "--forward-of"])
def test_a_draft_may_answer_a_message(here: Path, call: Run, received: str, option: str) -> None:
    answer = MESSAGE.replace(b"<1@", b"<2@").replace(b"Alice <alice@", b"Bob <bob@")
    made = call("draft", *DATA, option, received, "--json", stdin=answer)
    assert made.status == 0, made.err
    assert json.loads(made.out)["status"] == "draft"


def test_a_reply_is_built_from_the_original_and_sealed(
    here: Path, call: Run, received: str
) -> None:
    (here / "text").unlink()
    (here / "text").write_text("thank you\n")
    (here / "plan.pdf").write_bytes(b"%PDF-1.4\x00\xff")
    asked = ("reply", received, *DATA, "--body", "text", "--attach", "plan.pdf", *OPEN_BOB)
    result = call(*asked, "--signer", "bob.key", "--recipient", "alice.pem")
    assert result.status == 0, result.err
    (reply,) = inbox(call, "alice@contoso.com")
    opened = call("fetch", reply["id"], *DATA, "--unseal", "--identity", "alice.key")
    assert opened.status == 1  # no roots
    opened = call(
        "fetch", reply["id"], *DATA, "--unseal", "--identity", "alice.key", "--trust", "roots.pem"
    )
    message = parsed(opened.out)
    assert message["From"] == "bob@contoso.com"
    assert message["To"] == "alice@contoso.com"
    assert message["Subject"] == "Re: Figures"
    assert message["In-Reply-To"] == message["References"] == "<1@contoso.com>"
    body = message.get_body()
    assert body is not None
    assert body.get_content().startswith("thank you\n\nOn Sun, 22 Nov 2026")
    assert body.get_content().endswith("> the figures\n")
    (attached,) = message.iter_attachments()
    assert attached.get_filename() == "plan.pdf"
    assert attached.get_content() == b"%PDF-1.4\x00\xff"


@pytest.mark.parametrize("signer", [(), ("--signer", "bob.key")], ids=["encrypted", "sealed"])
def test_a_reply_does_not_show_a_subject_that_was_hidden(
    here: Path, call: Run, signer: tuple[str, ...]
) -> None:
    seal = ("--signer", "alice.key", "--recipient", "bob.pem")
    hidden = ("--header-confidentiality", "baseline")
    sent = call("send", "m.eml", *seal, *hidden, *DATA)
    assert sent.status == 0, sent.err
    (message,) = inbox(call, "bob@contoso.com")
    asked = ("reply", message["id"], *DATA, "--body", "text", *OPEN_BOB, "--recipient", "alice.pem")
    result = call(*asked, *signer, "--from", "bob@contoso.com")
    assert result.status == 0, result.err
    (reply,) = inbox(call, "alice@contoso.com")
    raw = call("fetch", reply["id"], *DATA).out
    assert parsed(raw)["Subject"] == "Re: [...]"
    assert b"Figures" not in raw
    opened = call("decrypt", "--identity", "alice.key", "--json", stdin=raw)
    assert opened.status == 0, opened.err
    if signer:
        fetched = ("fetch", reply["id"], *DATA, "--unseal", "--trust", "roots.pem")
        assert parsed(call(*fetched, "--identity", "alice.key").out)["Subject"] == "Re: Figures"
    else:
        states = {one["name"]: one["state"] for one in json.loads(opened.out)["headers"]}
        assert states["Subject"] == "encrypted-only"
    bare = call(*asked, *signer, "--from", "bob@contoso.com", "--no-header-protection")
    assert bare.status == 2
    assert "so none can be hidden" in bare.err


def test_decrypted_text_is_not_quoted_in_the_clear(call: Run, received: str) -> None:
    for signer in ((), ("--signer", "bob.key")):
        asked = ("reply", received, *DATA, "--body", "m.eml", *OPEN_BOB, *signer)
        result = call(*asked, "--from", "bob@contoso.com")
        assert result.status == 1
        assert "encrypted" in result.err
    assert inbox(call, "alice@contoso.com") == []
    without_key = call("reply", received, *DATA, "--body", "m.eml", "--signer", "bob.key")
    assert without_key.status == 2
    assert "--identity" in without_key.err


def test_a_sealed_original_that_is_not_accepted_is_not_quoted(call: Run, received: str) -> None:
    asked = ("reply", received, *DATA, "--body", "m.eml", "--identity", "bob.key")
    result = call(*asked, "--signer", "bob.key", "--recipient", "alice.pem")
    assert result.status == 1
    assert "no-anchors" in result.err


@pytest.mark.parametrize("trust", [(), ("--trust", "roots.pem")], ids=["unchecked", "checked"])
def test_a_header_with_bare_crs_moves_nothing_into_the_body(
    here: Path, call: Run, monkeypatch: pytest.MonkeyPatch, trust: tuple[str, ...]
) -> None:
    html = MESSAGE.replace(b"\n\nthe", b"\nContent-Type: text/html\n\nthe")
    signed = call("sign", "--signer", "alice.key", stdin=html).out
    assert call("send", *DATA, stdin=signed).status == 0
    (message,) = inbox(call, "bob@contoso.com")
    # our client sends no such header: another one did
    note = b"X-Note: see below\r\rpay 666\r\nX-Name : a\r\r"
    raw = signed.replace(b"Subject: ", note + b"\r\nSubject: ", 1)
    monkeypatch.setattr(graph_client, "original", lambda _graph, _id: raw)
    asked = ("forward", message["id"], *DATA, "--to", "carol@contoso.com", *trust)
    result = call(*asked, "--from", "bob@contoso.com")
    assert result.status == 0, result.err
    (sent,) = inbox(call, "carol@contoso.com")
    (attached,) = parsed(call("fetch", sent["id"], *DATA).out).iter_attachments()
    inner = attached.get_content()
    assert inner["Subject"] == "Figures"
    assert inner.get_content() == "the figures\n"


def test_a_reply_to_all_leaves_oneself_out(here: Path, call: Run) -> None:
    raw = MESSAGE.replace(b"Subject", b"Cc: carol@contoso.com\nSubject")
    assert call("send", *DATA, stdin=raw).status == 0
    (message,) = inbox(call, "bob@contoso.com")
    asked = ("reply-all", message["id"], *DATA, "--body", "m.eml", "--from", "bob@contoso.com")
    assert call(*asked).status == 0
    (reply,) = inbox(call, "carol@contoso.com")[:1]
    seen = parsed(call("fetch", reply["id"], *DATA).out)
    assert (seen["To"], seen["Cc"]) == ("alice@contoso.com", "carol@contoso.com")


def test_a_forward_carries_the_original(call: Run, received: str) -> None:
    asked = ("forward", received, *DATA, "--to", "carol@contoso.com", *OPEN_BOB)
    result = call(*asked, "--signer", "bob.key", "--recipient", "carol.pem")
    assert result.status == 0, result.err
    (message,) = inbox(call, "carol@contoso.com")
    opened = call(
        "fetch", message["id"], *DATA, "--unseal", "--identity", "carol.key", "--trust", "roots.pem"
    )
    assert parsed(opened.out)["Subject"] == "Fwd: Figures"
    assert "the figures" in parsed(opened.out).get_content()


def test_who_forgets_what_an_answer_is_made_of_is_told_the_option(call: Run, received: str) -> None:
    result = call(
        "forward",
        received,
        *DATA,
        "--body",
        "m.eml",
        *OPEN_BOB,
        "--signer",
        "bob.key",
        "--recipient",
        "carol.pem",
    )
    assert result.status == 2
    assert "hint: name whom: --to ADDRESS\n" in result.err
    for verb, option in (("forward", "--to ADDRESS"), ("reply", "--body FILE")):
        result = call(verb, received, *DATA)
        assert result.status == 2
        assert f"no MESSAGE is given to {verb} with, and standard input is empty" in result.err
        assert f"have it built of the original: {option}\n" in result.err


def test_a_finished_answer_is_sent_as_it_is(call: Run, received: str) -> None:
    answer = MESSAGE.replace(b"<1@", b"<2@").replace(b"Alice <alice@", b"Bob <bob@")
    for verb in ("reply", "reply-all"):
        assert call(verb, received, *DATA, stdin=answer).status == 0
    assert call("forward", received, "-", *DATA, stdin=answer).status == 0


# --- whom Graph sends an answer to ----------------------------------------------------------------

ORIGINAL = (
    b"From: Alice <alice@contoso.com>\nTo: bob@contoso.com\nCc: carol@contoso.com\n"
    b"Subject: figures\nMessage-ID: <o@contoso.com>\n\nx\n"
)


def answer_to(to: str, *further: str) -> bytes:
    fields = [f"From: bob@contoso.com\nTo: {to}\nSubject: Re: figures\n", *further]
    return ("".join(fields) + "Message-ID: <a@contoso.com>\n\nprivate\n").encode()


ALICE, CAROL = ("--recipient", "alice.pem"), ("--recipient", "carol.pem")
ANSWERS = {
    "reply": ("reply", "ID"),
    "reply-all": ("reply-all", "ID"),
    "draft-reply": ("draft", "--reply-to", "ID"),
    "draft-reply-all": ("draft", "--reply-all-to", "ID"),
    "forward": ("forward", "ID", "-"),
    "draft-forward": ("draft", "--forward-of", "ID"),
}
REFUSED, FINE = "refused", ""


@pytest.mark.parametrize("verb", ANSWERS)
@pytest.mark.parametrize("sealed_before", [False, True], ids=["sealed-on-the-way", "sealed-before"])
@pytest.mark.parametrize(
    ("to", "certificates", "reply", "reply_all"),
    [
        ("carol@contoso.com", CAROL, REFUSED, REFUSED),
        ("alice@contoso.com", ALICE, FINE, "carol"),
        (
            "Alice <ALICE@Contoso.com>, bob@contoso.com",
            (*ALICE, "--recipient", "bob.pem"),
            FINE,
            "carol",
        ),
        ("alice@contoso.com, carol@contoso.com", (*ALICE, *CAROL), REFUSED, FINE),
        ("bob@contoso.com", ("--recipient", "bob.pem"), REFUSED, REFUSED),
    ],
)
def test_an_answer_is_encrypted_for_those_whom_graph_addresses(
    call: Run,
    verb: str,
    sealed_before: bool,
    to: str,
    certificates: tuple[str, ...],
    reply: str,
    reply_all: str,
) -> None:
    assert call("send", *DATA, stdin=ORIGINAL).status == 0
    (message,) = inbox(call, "bob@contoso.com")
    words = [message["id"] if word == "ID" else word for word in ANSWERS[verb]]
    raw = answer_to(to)
    options: tuple[str, ...] = ("--signer", "bob.key", *certificates)
    if sealed_before:
        raw, options = call("seal", *options, stdin=raw).out, ()
    result = call(*words, *options, *DATA, stdin=raw)
    wanted = {"reply": reply, "draft-reply": reply, "forward": FINE, "draft-forward": FINE}.get(
        verb, reply_all
    )
    before = sent_to(call, "alice@contoso.com"), sent_to(call, "carol@contoso.com")
    if wanted == REFUSED:
        assert result.status == 1
        assert "alice@contoso.com" in result.err
        assert "hint: " in result.err
        assert before == (0, 1)  # carol has the original
    else:
        assert result.status == 0, result.err
        assert bool(result.err) is bool(wanted)
        assert wanted in result.err


def sent_to(call: Run, address: str) -> int:
    return len(inbox(call, address))


@pytest.mark.parametrize("verb", ["reply", "draft-reply"])
@pytest.mark.parametrize("signer", [(), ("--signer", "bob.key")], ids=["plain", "signed"])
def test_an_answer_in_the_clear_to_others_than_graph_addresses_is_told(
    call: Run, verb: str, signer: tuple[str, ...]
) -> None:
    assert call("send", *DATA, stdin=ORIGINAL).status == 0
    (message,) = inbox(call, "bob@contoso.com")
    words = [message["id"] if word == "ID" else word for word in ANSWERS[verb]]
    result = call(*words, *signer, *DATA, stdin=answer_to("carol@contoso.com"))
    assert result.status == 0
    assert "Graph sends it to alice@contoso.com, not to carol@contoso.com" in result.err


REPLY_TO = ORIGINAL.replace(b"Subject", b"Reply-To: carol@contoso.com\nSubject")


@pytest.mark.parametrize(
    ("certificates", "status"), [(ALICE, 1), (CAROL, 1), ((*ALICE, *CAROL), 0)]
)
@pytest.mark.parametrize("built", [True, False])
def test_an_answer_is_encrypted_for_from_and_for_reply_to(
    here: Path, call: Run, certificates: tuple[str, ...], status: int, built: bool
) -> None:
    (here / "text").unlink()
    (here / "text").write_text("private\n")
    assert call("send", *DATA, stdin=REPLY_TO).status == 0
    (message,) = inbox(call, "bob@contoso.com")
    options = ("--signer", "bob.key", *certificates, *DATA)
    if built:
        result = call("reply", message["id"], "--body", "text", *options)
    else:
        to = ", ".join(one.removesuffix(".pem") + "@contoso.com" for one in certificates[1::2])
        result = call("reply", message["id"], *options, stdin=answer_to(to))
    assert result.status == status, result.err
    assert sent_to(call, "alice@contoso.com") == 1 - status
    if status:
        missing = "carol" if certificates == ALICE else "alice"
        assert f"no certificate is given for {missing}@contoso.com" in result.err
    else:
        assert result.err == ""


def test_whom_graph_addresses_is_read_from_the_message_in_the_mailbox(
    call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_right(_graph: object, _id: str) -> bytes:
        raise GraphRefused(403, "ErrorAccessDenied", "Access is denied.")

    assert call("send", *DATA, stdin=ORIGINAL).status == 0
    (message,) = inbox(call, "bob@contoso.com")
    monkeypatch.setattr(graph_client, "original", no_right)
    raw = answer_to("alice@contoso.com")
    plain = call("reply", message["id"], *DATA, stdin=raw)
    assert (plain.status, "is not checked" in plain.err) == (0, True)
    sealed = call("seal", "--signer", "bob.key", *ALICE, stdin=raw).out
    for options, given in ((("--signer", "bob.key", *ALICE), raw), ((), sealed)):
        refused = call("reply", message["id"], *options, *DATA, stdin=given)
        assert (refused.status, "ErrorAccessDenied" in refused.err) == (3, True)


def test_a_reply_to_that_was_added_outside_is_not_answered(here: Path, call: Run) -> None:
    sealed = call("seal", "m.eml", "--signer", "alice.key", "--recipient", "bob.pem").out
    raw = sealed.replace(b"Subject: ", b"Reply-To: carol@contoso.com\r\nSubject: ", 1)
    with Emulator(data="box.db", open_mailboxes=True) as emulator:
        there = emulator.mailbox("bob@contoso.com").put(raw)
    asked = ("reply", there.id, *DATA, "--body", "m.eml", *OPEN_BOB, "--signer", "bob.key")
    result = call(*asked, "--recipient", "alice.pem", "--recipient", "carol.pem")
    assert result.status == 1
    assert "[answer.outer-differs]" in result.err
    assert "carol@contoso.com" in result.err
    assert inbox(call, "alice@contoso.com") == inbox(call, "carol@contoso.com") == []


def test_a_list_is_a_line_for_each_message_whatever_its_subject(call: Run) -> None:
    evil = MESSAGE.replace(b"Figures", b"=?utf-8?q?a=09b=1B[2J=0Ac?=")
    assert call("send", *DATA, stdin=evil).status == 0
    result = call("list", *DATA, *BOB)
    (line,) = result.out.decode().splitlines()
    columns = line.split("\t")
    assert len(columns) == 4
    assert columns[2] == "alice@contoso.com"
    assert all(c.isprintable() for column in columns for c in column)
    found = call("list", *DATA, *BOB, "--message-id", "1@contoso.com", "--json")
    assert len(json.loads(found.out)["messages"]) == 1
    nothing = call("list", *DATA, *BOB, "--message-id", "<2@contoso.com>", "--json")
    assert json.loads(nothing.out) == {"messages": [], "more": False}


def test_all_of_a_folder_are_listed_through_every_page(here: Path, call: Run) -> None:
    with (
        Emulator(data="box.db", open_mailboxes=True) as emulator,
        GraphClient("x", user="alice@contoso.com", transport=emulator.transport()) as graph,
    ):
        for number in range(230):
            graph.send(MESSAGE.replace(b"<1@", f"<{number}@".encode()))
    listed = call("list", *DATA, *BOB, "--folder", "inbox", "--all", "--json")
    assert listed.status == 0, listed.err
    found = json.loads(listed.out)
    assert len({one["internetMessageId"] for one in found["messages"]}) == 230
    assert found["more"] is False
    few = json.loads(call("list", *DATA, *BOB, "--folder", "inbox", "--json").out)
    assert (len(few["messages"]), few["more"]) == (20, True)


def test_a_list_is_a_table_with_a_header_on_a_terminal(here: Path, call: Run) -> None:
    assert call("send", "m.eml", *DATA).status == 0
    own, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "smime_graph", "list", *DATA, *BOB, "--folder", "inbox"],
        stdout=theirs,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(theirs)
    shown = os.read(own, 65536).decode().splitlines()
    os.close(own)
    assert done.returncode == 0
    assert [line.split() for line in shown[:1]] == [["ID", "RECEIVED", "FROM", "SUBJECT"]]
    assert len(shown) == 2
    assert shown[0].index("FROM") == shown[1].index("alice@contoso.com")
    assert shown[1].endswith("  Figures")
    assert b"ID" not in call("list", *DATA, *BOB, "--folder", "inbox").out.split(b"\t")[0]


def test_without_data_the_emulator_forgets(here: Path, call: Run) -> None:
    assert call("send", "m.eml", "--emulator").status == 0
    assert call("list", "--emulator", *BOB, "--json").status == 0
    assert not list(here.glob("*.db"))


def test_check_says_what_would_go_wrong(call: Run) -> None:
    good = call("check", "m.eml", "--signer", "alice.key", "--recipient", "bob.pem", "--json")
    found = json.loads(good.out)
    assert good.status == 0
    assert found["recipients"] == [{"address": "bob@contoso.com", "certificate": True}]
    assert found["size"]["request"] > found["size"]["protected"] > found["size"]["message"]
    raw = MESSAGE.replace(b"Subject", b"X-Job: 1\nAuto-Submitted: yes\nSubject")
    bad = call("check", "--recipient", "carol.pem", "--size-limit", "10", "--json", stdin=raw)
    found = json.loads(bad.out)
    assert (bad.status, found["verdict"]) == (1, "rejected")
    assert found["headers"] == {"dropped": ["Auto-Submitted"], "uncertain": ["X-Job"]}
    assert len(found["problems"]) == 2


def test_a_round_trip_verifies_what_came_back(call: Run) -> None:
    asked = ("round-trip", "--signer", "alice.key", "--trust", "roots.pem", "--emulator", "--json")
    result = call(*asked)
    assert result.status == 0, result.err
    found = json.loads(result.out)
    assert (found["verdict"], found["unchanged"]) == ("accepted", True)
    assert all(one["part"] == "header" for one in found["differences"])
    shown = call(*asked[:-1])
    assert shown.out.startswith(b"accepted: <")


def test_a_round_trip_that_is_not_accepted_still_says_what_differs(
    call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(graph: GraphClient, message_id: str) -> bytes:
        raw: bytes = original(graph, message_id)
        return raw.replace(b"application/pkcs7-mime", b"text/plain", 1).replace(b"To:", b"X:", 1)

    original: Any = GraphClient.fetch
    monkeypatch.setattr(GraphClient, "fetch", fetch)
    asked = ("round-trip", "--signer", "alice.key", "--trust", "roots.pem", "--emulator")
    result = call(*asked, "--json")
    assert result.status == 1
    found = json.loads(result.out)
    assert found["verdict"] == "rejected"
    told = {(one["part"], one["name"], one["change"]) for one in found["differences"]}
    assert {("header", "To", "dropped"), ("layers", "types", "changed")} <= told
    assert "smime.unsigned" in {one["code"] for one in found["findings"]}
    assert "note: header: To dropped" in call(*asked).err


# --- emulate --------------------------------------------------------------------------------------


class Served:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        assert process.stdout is not None
        first, second = (process.stdout.readline().decode() for _ in range(2))
        url = re.fullmatch(r"URL: (http://127\.0\.0\.1:\d+/v1\.0)\n", first)
        token = re.fullmatch(r"token: (\S{20,})\n", second)
        assert url is not None
        assert token is not None
        self.url, self.token = url[1], token[1]


@pytest.fixture
def served(here: Path) -> Iterator[Served]:
    process = start("emulate", "--port", "0", "--data", "box.db", stdout=subprocess.PIPE, cwd=here)
    try:
        yield Served(process)
    finally:
        process.kill()
        process.communicate()


def test_the_served_emulator_writes_its_token_where_it_is_told(here: Path, call: Run) -> None:
    (here / "its-token").write_text("that of before")
    words = ("emulate", "--port", "0", "--write-token", "its-token")
    process = start(*words, stdout=subprocess.PIPE, cwd=here)
    try:
        served = Served(process)
        assert (here / "its-token").read_text() == f"{served.token}\n"
        assert (here / "its-token").stat().st_mode & 0o077 == 0
        at = ("--graph-url", served.url, "--token-file", "its-token")
        assert call("send", "m.eml", *at).status == 0
    finally:
        process.kill()
        process.communicate()
    refused = call("emulate", "--port", "0", "--write-token", "alice.key")
    assert refused.status == 2
    assert "private key" in refused.err


def test_what_is_random_can_be_fixed_and_it_serves_https(here: Path, call: Run) -> None:
    words = ("--token", "fixed", "--me", "bob@contoso.com", "--tls", "--write-ca", "ca.pem")
    (here / "fixed").write_text("fixed\n")
    authorities = set()
    for more in ((), ("--public-url", "https://graph.test")):
        process = start("emulate", "--port", "0", "--json", *words, *more, stdout=-1, cwd=here)
        try:
            known = json.loads(b"".join(iter(process.stdout.readline, b"}\n")) + b"}")
            assert (known["token"], known["ca"]) == ("fixed", "ca.pem")
            authorities.add((here / "ca.pem").read_bytes())
            if more:
                assert known["url"] == "https://graph.test/v1.0"
                continue
            at = ("--graph-url", known["url"], "--token-file", "fixed")
            believing = {"SSL_CERT_FILE": str(here / "ca.pem")}
            refused = call("send", "m.eml", *at, env=believing)  # alice's, and /me is bob
            assert (refused.status, "ErrorSendAsDenied" in refused.err) == (3, True)
            assert call("list", *at, env=believing).status == 0
            assert call("list", *at).status == 3
        finally:
            process.kill()
            process.communicate()
    assert len(authorities) == 1  # who believes it still does
    assert (here / "ca.pem.key").stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in (here / "ca.pem").read_bytes()
    kept = (here / "ca.pem.key").read_bytes()
    (here / "ca.pem.key").write_text("something else\n")
    refused = call("emulate", "--port", "0", *words)
    assert refused.status == 2
    assert "ca.pem.key holds no authority" in refused.err
    assert "hint: delete it and ca.pem, and a new authority is made" in refused.err
    before = (here / "roots.pem").read_bytes()
    refused = call("emulate", "--port", "0", *words[:-1], "roots.pem")
    assert refused.status == 2
    assert "roots.pem is there without roots.pem.key" in refused.err
    assert (here / "roots.pem").read_bytes() == before
    (here / "roots.pem.key").write_bytes(kept)
    refused = call("emulate", "--port", "0", *words[:-1], "roots.pem")
    assert refused.status == 2
    assert "roots.pem is not the certificate of roots.pem.key" in refused.err
    assert (here / "roots.pem").read_bytes() == before


def test_a_certificate_that_nobody_named_a_place_for_is_gone_at_the_end(here: Path) -> None:
    process = start("emulate", "--port", "0", "--tls", stdout=subprocess.PIPE, cwd=here)
    try:
        lines = [process.stdout.readline().decode() for _ in range(4)]
        assert re.fullmatch(r"inbox: https://127\.0\.0\.1:\d+/\n", lines[2])
        place = Path(lines[3].removeprefix("CA: ").rstrip("\n"))
        assert place.read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
        process.terminate()
        assert process.wait(20) == 0
        assert not place.parent.exists()
    finally:
        process.kill()
        process.communicate()


def test_faults_are_switched_on_in_the_served_emulator(here: Path, call: Run) -> None:
    faults = ("--fault", "expired-token:2", "--fault", "throttled=9:all")
    process = start("emulate", "--port", "0", *faults, stdout=subprocess.PIPE, cwd=here)
    try:
        served = Served(process)
        asked = [
            httpx.get(
                f"{served.url}/me/messages",
                headers={"Authorization": f"Bearer {served.token}"},
                trust_env=False,
            )
            for _ in range(4)
        ]
        assert [one.status_code for one in asked] == [401, 401, 429, 429]
        assert asked[-1].headers["Retry-After"] == "9"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("throttles", [True, False])
def test_the_served_emulator_throttles_where_it_is_told_to(here: Path, throttles: bool) -> None:
    words = ("emulate", "--port", "0", *(["--throttles"] if throttles else []))
    process = start(*words, stdout=subprocess.PIPE, cwd=here)
    try:
        served = Served(process)
        headers = {"Authorization": f"Bearer {served.token}", "Content-Type": "text/plain"}
        with httpx.Client(headers=headers, trust_env=False) as client:
            for _ in range(38):  # 150 MB and more
                last = client.post(f"{served.url}/me/messages", content=b"-" * (4 << 20))
        assert last.status_code == (429 if throttles else 400)
    finally:
        process.kill()
        process.communicate()


def test_the_help_names_every_fault(call: Run) -> None:
    shown = " ".join(call("emulate", "--help").out.decode().split()).replace("- ", "-")
    assert f"or all: {', '.join(NAMED)}. A request" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--token", ""), "token"),
        (("--token", "a b"), "token"),
        (("--me", "nobody"), "nobody"),
        (("--write-ca", "ca.pem"), "--tls"),
        (("--public-url", "graph.test"), "public URL"),
        (("--fault", "rain"), "throttled"),
        (("--fault", "slow:never"), "never"),
        (("--public-url", "http://[", "--tls"), "public URL"),
    ],
)
def test_what_cannot_be_served_is_said(call: Run, words: tuple[str, ...], said: str) -> None:
    refused = call("emulate", "--port", "0", *words)
    assert refused.status == 2
    assert said in refused.err


def test_the_served_emulator_takes_mail_by_its_token(here: Path, call: Run, served: Served) -> None:
    (here / "its-token").write_text(served.token)
    at = ("--graph-url", served.url)
    assert call("send", "m.eml", *at, "--token-file", "its-token").status == 0
    bare = served.url.removesuffix("/v1.0")
    env = {"SMIME_GRAPH_TOKEN": served.token}
    listed = call("list", "--graph-url", bare, *BOB, "--json", env=env)
    assert len(json.loads(listed.out)["messages"]) == 1
    refused = call("send", "m.eml", *at, "--token-file", "token", "--json")
    error = json.loads(refused.out)["error"]
    assert refused.status == 3
    assert (error["type"], error["status"]) == ("GraphRefused", 401)
    assert served.token not in refused.err + refused.out.decode()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_served_emulator_stops_when_it_is_told_to(
    served: Served, number: int, status: int
) -> None:
    served.process.send_signal(number)
    _, err = served.process.communicate(timeout=30)
    assert (served.process.returncode, err) == (status, b"")


def test_an_error_of_a_send_says_in_json_what_became_of_the_message(here: Path, call: Run) -> None:
    with Emulator(me="alice@contoso.com", mailboxes=["bob@contoso.com"]) as emulator:
        server = emulator.serve()
        asked = ("--graph-url", server.url, "--token-file", "token", "--json")
        try:
            emulator.faults.add(Fault.answer(403, code="ErrorSendAsDenied"), on="POST */send")
            by_draft = call("send", "m.eml", "--via", "draft", *asked)
            emulator.faults.add(Fault.throttled(retry_after=600))
            throttled = call("send", "m.eml", *asked)
        finally:
            server.close()
        (draft,) = emulator.mailbox("alice@contoso.com").messages("drafts")
        log = emulator.log
    error = json.loads(by_draft.out)["error"]
    assert by_draft.status == throttled.status == 3
    assert (error["disposition"], error["draftId"]) == ("refused", draft.immutable_id)
    assert (error["messageId"], error["code"]) == ("<1@contoso.com>", "ErrorSendAsDenied")
    assert "Graph refused" in by_draft.err
    assert f"draft-send {draft.immutable_id} sends it" in by_draft.err
    error = json.loads(throttled.out)["error"]
    assert (error["disposition"], error["messageId"]) == ("not-sent", "<1@contoso.com>")
    assert error["retryAfter"] == 600
    assert error["clientRequestId"]
    assert len(log) == 3


def test_a_page_is_not_written_as_a_message(here: Path, call: Run) -> None:
    with Emulator(me="alice@contoso.com") as emulator:
        item = emulator.mailbox("alice@contoso.com").put(MESSAGE).id
        server = emulator.serve()
        asked = ("fetch", item, "--graph-url", server.url, "--token-file", "token", "-o", "got.eml")
        try:
            emulator.faults.script(Fault.gateway(200))
            page = call(*asked)
            assert not (here / "got.eml").exists()
            assert call(*asked).status == 0
        finally:
            server.close()
    assert page.status == 3
    assert "text/html, wanted text/plain" in page.err
    assert (here / "got.eml").read_bytes() == MESSAGE


VERBS = {
    "send": (("send", "m.eml"), "POST */sendMail", "<1@contoso.com> may have been sent"),
    "sendmail": (("sendmail", "-t", "--config", "empty.toml"), "POST */sendMail", "may have been"),
    "through a draft": (("send", "m.eml", "--via", "draft"), "POST */send", "may have been sent"),
    "while the draft is made": (
        ("send", "m.eml", "--via", "draft"),
        "POST */messages",
        "<1@contoso.com> was not sent",
    ),
    "reply": (("reply", "original", "m.eml"), "POST */reply", "may have been sent"),
    "draft-send": (("draft-send", "unsent"), "POST */send", "may have been sent"),
    "draft": (("draft", "m.eml"), "POST */messages", "may have been put into Drafts"),
}


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("verb", VERBS)
def test_who_ends_a_send_is_told_that_it_may_have_gone(
    here: Path, verb: str, number: int, status: int
) -> None:
    words, where, said = VERBS[verb]
    (here / "empty.toml").write_text("[sendmail]\nunsigned = true\n")
    with Emulator(me="alice@contoso.com", mailboxes=["bob@contoso.com"]) as emulator:
        alice = emulator.mailbox("alice@contoso.com")
        from_bob = MESSAGE.replace(b"<1@", b"<0@").replace(b"From: Alice <alice@", b"From: <bob@")
        alice.put(from_bob, item_id="original")
        alice.put(MESSAGE, folder="drafts", item_id="unsent")
        emulator.faults.add(Fault.slow(60), on=where)
        server = emulator.serve()
        try:
            at = ("--graph-url", server.url, "--token-file", "token")
            process = start(*words, *at, stdin=subprocess.PIPE, cwd=here)
            assert process.stdin is not None
            process.stdin.write(MESSAGE)
            process.stdin.close()
            process.stdin = None
            end = time.monotonic() + 50
            while not any(entry.fault for entry in emulator.log):
                assert time.monotonic() < end
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.02)
            process.send_signal(number)
            _, err = process.communicate(timeout=30)
        finally:
            server.close()
    assert process.returncode == status
    warning, hint = err.decode().splitlines()
    assert warning.startswith("smime-graph: warning: interrupted: ")
    assert said in warning
    assert hint.startswith("hint: ")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize(
    ("verb", "done"), [("send", "sent"), ("sendmail", "sent"), ("draft", "put into Drafts")]
)
def test_who_ends_the_program_behind_a_send_is_told_that_it_was_sent(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    verb: str,
    done: str,
    number: int,
    status: int,
) -> None:
    """For example where whoever reads the JSON does not."""

    def blocked(_value: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr(files, "write_json", blocked)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(MESSAGE)))
    words = [verb, "--emulator", "--json"]
    words += ["-t", "--unsigned"] if verb == "sendmail" else []
    try:
        ended = int(main(words))
    except SystemExit as stopped:
        ended = int(stopped.code or 0)
    assert ended == status
    assert capfd.readouterr().err.splitlines() == [
        f"smime-graph: warning: interrupted: the message was {done}",
        "hint: do not repeat it",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("words", "is_sent"),
    [
        (("send", "m.eml", "--emulator"), True),
        (("sendmail", "-t", "--unsigned", "--emulator"), True),
        (("draft", "m.eml", "--emulator"), True),
        (("check", "m.eml"), False),
    ],
)
def test_a_signal_while_python_ends_does_not_make_a_sent_message_look_unsent(
    here: Path, words: tuple[str, ...], is_sent: bool, number: int
) -> None:
    late = (
        "import atexit, os, sys\n"
        f"atexit.register(os.kill, os.getpid(), {int(number)})\n"
        "from smime_graph.cli import main\n"
        f"sys.argv = ['smime-graph', *{words!r}]\n"
        "sys.exit(main())"
    )
    command = [sys.executable, "-c", late]
    done = subprocess.run(
        command, cwd=here, input=MESSAGE, capture_output=True, check=False, timeout=60
    )
    if is_sent:
        assert (done.returncode, done.stderr) == (0, b"")
    elif number != signal.SIGINT:  # which is an exception in atexit, and printed
        assert done.returncode == -number


def test_every_emulator_has_a_token_of_its_own(here: Path, served: Served) -> None:
    process = start("emulate", "--port", "0", stdout=subprocess.PIPE, cwd=here)
    try:
        assert Served(process).token != served.token
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "fields",
    [
        "From: bob@contoso.com\r\nTo: undisclosed-recipients\r\n",
        "From: bob@contoso.com\r\nTo: alice@contoso.com\r\nReply-To: bob at contoso\r\n",
        "From: bob@contoso.com\r\nTo: alice@contoso.com\r\nCc: <bob\r\n",
    ],
)
@pytest.mark.parametrize("verb", ["reply-all", "draft"])
def test_an_original_whose_addresses_cannot_be_read_can_be_answered_in_the_clear_alone(
    here: Path, call: Run, fields: str, verb: str
) -> None:
    with Emulator(data="box.db", mailboxes=["alice@contoso.com"]) as emulator:
        raw = f"{fields}Message-ID: <0@contoso.com>\r\n\r\nhello\r\n".encode()
        emulator.mailbox("alice@contoso.com").put(raw, item_id="odd")
    words = ("draft", "--reply-all-to", "odd", "-") if verb == "draft" else (verb, "odd", "-")
    asked = (*words, *DATA, "--user", "alice@contoso.com")
    plain = call(*asked, stdin=MESSAGE)
    assert plain.status == 0
    assert "warning: whom Graph sends the answer to is not checked: " in plain.err
    for options, message in (
        (("--signer", "alice.key", "--recipient", "bob.pem"), MESSAGE),
        (("--recipient", "bob.pem"), MESSAGE),
        ((), (here / "sealed.eml").read_bytes()),
    ):
        refused = call(*asked, *options, stdin=message)
        assert refused.status == 1
        assert "of the original: address field" in refused.err
        assert "send it as a message of its own" in refused.err


# --- ca -------------------------------------------------------------------------------------------


def test_an_authority_issues_files_that_can_be_used_at_once(here: Path, call: Run) -> None:
    made = call("ca", "init", "authority", "--key", "p256")
    assert made.out.decode() == "authority/ca.pem\n"
    for name in ("alice", "bob"):
        asked = ("ca", "issue", "authority", f"{name}@contoso.com", "--key", "ed25519")
        issued = call(*asked, "--p12-password-file", "password", "--into", "new")
        assert issued.status == 0, issued.err
        assert issued.out.decode().splitlines() == [
            f"new/{name}@contoso.com.{end}" for end in ("key", "pem", "p12")
        ]
    again = call("ca", "init", "authority")
    assert again.status == 2


def test_the_authority_s_people_can_write_to_each_other(here: Path, call: Run) -> None:
    assert call("ca", "init", "authority", "--key", "p256").status == 0
    for name in ("alice", "bob"):
        asked: tuple[str, ...] = ("ca", "issue", "authority", f"{name}@contoso.com")
        asked += ("--key", "p256")
        found = json.loads(call(*asked, "--p12-password-file", "password", "--json").out)
        assert len(found["files"]) == 3
        assert found["certificate"]["subject"] == f"CN={name}@contoso.com"
    people = "authority/{}@contoso.com.{}".format
    sealed = call(
        "seal", "m.eml", "--signer", people("alice", "key"), "--recipient", people("bob", "pem")
    )
    assert sealed.status == 0, sealed.err
    asked = ("unseal", "--identity", people("bob", "p12"), "--password-file", "password")
    assert call(*asked, "--trust", "authority/ca.pem", stdin=sealed.out).status == 0


# --- deleting, and how long a call may take -------------------------------------------------------


def test_a_message_is_deleted_by_its_id(call: Run) -> None:
    at = ("--emulator-data", "box.db")
    draft = call("draft", "m.eml", *at).out.decode().strip()
    done = call("delete", draft, *at, "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out) == {"id": draft, "status": "deleted"}
    asked = ("--user", "alice@contoso.com", "--json", "--folder")
    for folder, count in (("drafts", 0), ("deleteditems", 1)):
        found = json.loads(call("list", *at, *asked, folder).out)
        assert len(found["messages"]) == count
    last = call("delete", draft, *at)
    assert (last.status, last.out, last.err) == (0, b"", "")
    gone = call("delete", draft, *at)
    assert gone.status == 3
    assert "404" in gone.err


@pytest.mark.parametrize("verb", [("list",), ("send", "m.eml"), ("fetch", "ID"), ("delete", "ID")])
def test_a_service_that_never_ends_its_answer_is_left_at_the_deadline(
    call: Run, verb: tuple[str, ...]
) -> None:
    over = threading.Event()
    served = socket.create_server(("127.0.0.1", 0))
    served.settimeout(0.05)

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not over.wait(0.05):
                connection.sendall(b"x")

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                threads.append(threading.Thread(target=drip, args=(served.accept()[0],)))
                threads[-1].start()

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    try:
        at = ("--graph-url", f"http://127.0.0.1:{served.getsockname()[1]}", "--token-file", "token")
        began = time.monotonic()
        result = call(*verb, *at, "--deadline", "0.5", "--json")
        assert time.monotonic() - began < 5
    finally:
        over.set()
        for thread in threads:
            thread.join(10)
        served.close()
    assert result.status == 3
    assert "deadline" in json.loads(result.out)["error"]["text"]
    assert "hint: " in result.err


# --- what the original hid (RFC 9788 6.1) ---------------------------------------------------------

ASKED = MESSAGE.replace(b"Figures", b"the takeover")
RETURN = (
    b"From: Bob <bob@contoso.com>\nTo: alice@contoso.com\nSubject: Re: the takeover\n"
    b"Message-ID: <r@contoso.com>\n\nyes\n"
)


@pytest.fixture
def hidden(call: Run) -> str:
    """A message whose Subject is hidden, in Bob's mailbox."""
    sealing = ("--signer", "alice.key", "--recipient", "bob.pem")
    made = call("seal", *sealing, "--header-confidentiality", "baseline", stdin=ASKED).out
    assert call("send", *DATA, stdin=made).status == 0
    (message,) = inbox(call, "bob@contoso.com")
    return str(message["id"])


@pytest.mark.parametrize("opening", [(), OPEN_BOB], ids=["unopened", "opened"])
@pytest.mark.parametrize("verb", ["reply", "reply-all", "draft"])
def test_a_finished_answer_is_sealed_without_what_was_hidden(
    call: Run, hidden: str, verb: str, opening: tuple[str, ...]
) -> None:
    sealing = ("--signer", "bob.key", "--recipient", "alice.pem")
    if verb == "draft":
        result = call("draft", "--reply-to", hidden, *sealing, *DATA, stdin=RETURN)
        message_id = result.out.decode().strip()
    else:
        result = call(verb, hidden, *sealing, *opening, *DATA, stdin=RETURN)
        (message,) = inbox(call, "alice@contoso.com")
        message_id = message["id"]
    assert result.status == 0, result.err
    raw = call("fetch", message_id, *DATA).out
    assert parsed(raw)["Subject"] == "Re: [...]"
    assert b"takeover" not in raw
    opened = call("unseal", "--identity", "alice.key", "--trust", "roots.pem", stdin=raw)
    assert parsed(opened.out)["Subject"] == "Re: the takeover"


@pytest.mark.parametrize(
    "opening",
    [
        ("--identity", "bob.key"),  # without roots it is not accepted
        ("--identity", "carol.key", "--trust", "roots.pem"),  # not for her
    ],
)
def test_an_original_that_cannot_be_opened_can_be_answered(
    call: Run, hidden: str, opening: tuple[str, ...]
) -> None:
    sealing = ("--signer", "bob.key", "--recipient", "alice.pem")
    result = call("reply", hidden, *sealing, *opening, *DATA, stdin=RETURN)
    assert result.status == 0, result.err
    assert "what the original hid is not known" in result.err
    (message,) = inbox(call, "alice@contoso.com")
    raw = call("fetch", message["id"], *DATA).out
    assert parsed(raw)["Subject"] == "Re: [...]"
    assert b"takeover" not in raw


@pytest.mark.parametrize("verb", ["reply", "forward"])
@pytest.mark.parametrize("form", ["plain", "signed", "sealed"])
def test_a_finished_answer_that_tells_what_was_hidden_is_refused_or_told(
    call: Run, hidden: str, form: str, verb: str
) -> None:
    raw = RETURN
    if form == "signed":
        raw = call("sign", "--signer", "bob.key", stdin=raw).out
    elif form == "sealed":
        raw = call("seal", "--signer", "bob.key", "--recipient", "alice.pem", stdin=raw).out
    refused = call(verb, hidden, "-", *OPEN_BOB, *DATA, stdin=raw)
    assert refused.status == 1
    assert "was encrypted, and the answer has it in the clear" in refused.err
    assert "takeover" not in refused.err
    assert inbox(call, "alice@contoso.com") == []
    if verb == "reply":
        told = call(verb, hidden, "-", *DATA, stdin=raw)
        assert told.status == 0
        assert "must not tell what was hidden" in told.err
    other = raw.replace(b"the takeover", b"your letter", 1)
    if form == "plain":
        fine = call(verb, hidden, "-", *OPEN_BOB, *DATA, stdin=other)
        assert fine.status == 0, fine.err
