"""What nobody has published about Graph, asked of the emulator on loopback and of a real mailbox.

Of the emulator the answers are known, so that every conversation is known to run. Of real Graph
they are written down (README.md): what is asserted is only what must hold whatever it answers.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from smime_graph import CA, EXCHANGE, Identity, TrustStore
from smime_graph.emulator import Emulator
from smime_graph.smime.entity import Entity
from smime_graph.submission.round_trip import round_trip

from .conftest import (
    EMULATED_LIMIT,
    MAILBOX,
    MISSING,
    RECORD,
    TAGS,
    TOKEN,
    URL,
    Target,
    tagged,
    targets,
)

KIB = 1024
TEXT = {"Content-Type": "text/plain"}
GCM = EXCHANGE.but("gcm", ciphers=("aes256-gcm",))


def test_real_graph_is_asked_as_well() -> None:
    """The one skip of this folder: without a token the same conversations are held here alone."""
    if targets() == ("emulator",):
        pytest.skip(MISSING)
    assert targets() == ("emulator", "graph")


# --- PUT $value -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["base64", "raw"])
def test_whether_put_replaces_the_mime_of_a_draft(target: Target, form: str) -> None:
    """The design document has it, today's documentation does not (msgraph-sdk-python offers it)."""
    _, before = target.message("before\r\n")
    draft = target.graph.draft(before)
    after = before.replace(b"before", b"behind")
    body = base64.b64encode(after) if form == "base64" else after
    answer = target.request("PUT", f"messages/{draft.id}/$value", content=body, headers=TEXT)
    text = target.graph.fetch(draft.id)
    target.graph.delete(draft.id)
    replaced = b"behind" in text
    assert (b"before" in text) is not replaced  # one of the two, whole
    target.answered(f"PUT $value, {form}", [answer.status_code, replaced], emulated=[405, False])


# --- size -----------------------------------------------------------------------------------------


def _draft_of(target: Target, size: int) -> tuple[int, str]:
    """Make a draft by a request of so many octets: the status, and the code of an error."""
    _, raw = target.message("")
    room = size // 4 * 3 - len(raw)
    line = b"x" * 70 + b"\r\n"
    raw += (line * (room // len(line) + 1))[:room]
    body = base64.b64encode(raw)
    assert 0 <= size - len(body) < 4
    answer = target.request("POST", "messages", content=body, headers=TEXT)
    data: Any = answer.json() if answer.content else {}
    if answer.status_code == 201:
        target.graph.delete(data["id"])
        return 201, ""
    return answer.status_code, str(data.get("error", {}).get("code", ""))


def test_the_largest_request_that_is_taken(target: Target) -> None:
    """Documented as 4 MB once, and taken at 100 MB by some: halved until it is known to 16 KiB."""
    low, high = 64 * KIB, target.largest
    assert _draft_of(target, low)[0] == 201
    refusal = _draft_of(target, high)
    if refusal[0] == 201:
        target.answered("largest request", f"more than {high}", emulated=None)
        return
    while high - low > 16 * KIB:
        middle = (low + high) // 2 // KIB * KIB
        status = _draft_of(target, middle)
        if status[0] == 201:
            low = middle
        else:
            refusal, high = status, middle
    assert low < high
    target.answered("refusal of one that is larger", [*refusal], emulated=[413, "BadRequest"])
    exact = "taken" if low <= EMULATED_LIMIT < high else f"taken at {low}, refused at {high}"
    target.answered("largest request", exact, emulated="taken")


# --- S/MIME ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA("smime-graph live tests", key="p256")


@pytest.mark.parametrize("policy", [EXCHANGE, GCM], ids=["cbc", "gcm"])
def test_what_comes_back_of_a_sealed_message(target: Target, ca: CA, policy: Any) -> None:
    """authEnveloped-data is reported to arrive broken (msgraph-sdk-java#2544)."""
    signer: Identity = ca.issue(target.mailbox, key="p256")
    found = round_trip(
        target.graph,
        signer=signer,
        trust=TrustStore((ca.certificate,)),
        policy=policy,
        wait=timedelta(seconds=target.patience),
    )
    target.made.append(found.ref.internet_message_id or "")
    assert found.accepted or found.error is not None
    kind = Entity(found.received).content_type.value
    name = "enveloped-data" if policy is EXCHANGE else "authEnveloped-data"
    answer = {
        "accepted": found.accepted,
        "type": kind,
        "body": "as it was"
        if Entity(found.received).body == Entity(found.sent).body
        else "changed",
    }
    well = {"accepted": True, "type": "application/pkcs7-mime", "body": "as it was"}
    target.answered(f"{name} that came back", answer, emulated=well)
    names = sorted({f"{one.part} {one.name} {one.change}" for one in found.differences})
    target.answered(f"what changed on {name}", names, emulated=names)


def _body(raw: bytes) -> bytes:
    return Entity(raw).body


# --- recipients -----------------------------------------------------------------------------------


def test_whom_a_reply_in_mime_reaches(target: Target) -> None:
    """ "Uses the sender of the original message": whether its header counts, and Reply-To, is
    documented nowhere.
    """
    original_id, original = target.message(Reply_To=target.address("reply-to"))
    target.graph.send(original)
    received = target.copy(original_id, "inbox")
    reply_id, reply = target.message(To=target.address("named"), Cc=target.address("cc"))
    target.graph.reply(received.id, reply)
    reached = target.recipients(reply_id)
    everybody = {one for some in reached.values() for one in some}
    assert everybody  # it went to somebody, and
    assert everybody <= {target.address(tag) for tag in ("", "reply-to", "named", "cc")}
    answer = {tag or "From": target.address(tag) in everybody for tag in ("", "reply-to", "named")}
    target.answered(
        "whom a reply reaches",
        answer | {"Cc": target.address("cc") in everybody},
        emulated={"From": True, "reply-to": False, "named": True, "Cc": True},
    )


def test_whether_bcc_is_in_what_is_delivered(target: Target) -> None:
    message_id, raw = target.message(Bcc=target.address("blind"))
    target.graph.send(raw)
    delivered = target.graph.fetch(target.copy(message_id, "inbox").id)
    kept = target.graph.fetch(target.copy(message_id, "sentitems").id)
    shown = [bool(Entity(one).all("Bcc")) for one in (delivered, kept)]
    target.answered("Bcc in the delivered copy", shown[0], emulated=False)
    target.answered("Bcc in the copy in Sent Items", shown[1], emulated=True)
    in_sent = target.recipients(message_id)["bccRecipients"]
    target.answered(
        "Bcc is a recipient in Sent Items", in_sent == [target.address("blind")], emulated=True
    )


# --- how it is run --------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def stand_in() -> Iterator[str]:
    """Another emulator that is named as if it were the real one."""
    people = [tagged("tests@contoso.com", tag) for tag in TAGS]
    with Emulator(mailboxes=people, me=people[0], token="secret-of-the-token") as emulator:
        with emulator.serve() as server:
            yield f"{server.url}/v1.0"
        assert emulator.outbound == ()
        left = [one for who in people for one in emulator.mailbox(who).messages("sentitems")]
        assert left == []


def run(tmp_path: Path, url: str, token: str, words: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "token").write_text(f"{token}\n")
    named = {
        TOKEN: str(tmp_path / "token"),
        MAILBOX: "tests@contoso.com",
        URL: url,
        RECORD: str(tmp_path / "answers.json"),
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__, "-k", words],
        cwd=ROOT,
        env={**os.environ, **named},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_a_mailbox_that_is_named_is_asked_and_its_answers_are_kept(
    stand_in: str, tmp_path: Path
) -> None:
    done = run(tmp_path, stand_in, "secret-of-the-token", "graph and not stand_in and not named")
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
    found = json.loads((tmp_path / "answers.json").read_text())
    answers = found["answers"]
    assert found["url"] == stand_in
    assert answers["PUT $value, raw"] == [405, False]
    assert answers["Bcc in the delivered copy"] is False
    assert re.fullmatch(r"taken at \d+, refused at \d+", answers["largest request"])
    assert len(answers) == 12
    assert "secret-of-the-token" not in done.stdout + done.stderr + json.dumps(found)


def test_a_token_that_is_refused_fails_and_is_not_shown(stand_in: str, tmp_path: Path) -> None:
    done = run(tmp_path, stand_in, "token-of-nobody", "put and graph and raw")
    assert done.returncode == 1
    assert "InvalidAuthenticationToken" in done.stdout
    assert "token-of-nobody" not in done.stdout + done.stderr
