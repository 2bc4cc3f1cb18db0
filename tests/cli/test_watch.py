"""watch, as it is run: what it says, its statuses, and how it ends."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from smime_graph.emulator import Emulator

from .conftest import Result, Run, start

DATA = ("--emulator-data", "box.db", "--user", "bob@contoso.com")
OPEN = ("--identity", "bob.key", "--trust", "roots.pem")
STATE = ("--state", "watch.db")
ONCE = ("watch", *DATA, *OPEN, *STATE, "--once")
SEAL = ("--signer", "alice.key", "--recipient", "bob.pem")


@pytest.fixture
def mailbox(here: Path, call: Run) -> Path:
    """Bob has one sealed message, and one that nobody signed."""
    assert call("send", "m.eml", *SEAL, "--emulator-data", "box.db").status == 0
    plain = (here / "m.eml").read_bytes().replace(b"<1@", b"<2@")
    assert call("send", "--emulator-data", "box.db", stdin=plain).status == 0
    return here


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.out.splitlines()]


def test_what_is_accepted_is_in_the_maildir_and_the_rest_where_it_is_told(
    mailbox: Path, call: Run
) -> None:
    result = call(*ONCE, "--maildir", "m", "--rejected", "no", "--json")
    assert result.status == 0, result.err
    first, second = lines(result)
    assert (first["status"], first["verdict"]) == ("handed", "accepted")
    assert (first["internetMessageId"], first["handed_before"]) == ("<1@contoso.com>", "no")
    assert (second["status"], second["verdict"]) == ("rejected", "rejected")
    assert second["error"]["type"] == "SignatureInvalid"
    (message,) = (mailbox / "m" / "new").iterdir()
    assert b"the figures" in message.read_bytes()
    assert len(list((mailbox / "no").iterdir())) == 2
    again = call(*ONCE, "--maildir", "m", "--rejected", "no", "--json")
    assert (again.status, again.out) == (0, b"")


def test_without_a_place_for_what_is_rejected_the_status_says_so(mailbox: Path, call: Run) -> None:
    result = call(*ONCE, "--maildir", "m", "--unseal")
    assert result.status == 1
    rows = [line.split("\t") for line in result.out.decode().splitlines()]
    assert [(row[0], row[3]) for row in rows] == [
        ("handed", "<1@contoso.com>"),
        ("rejected", "<2@contoso.com>"),
    ]
    assert "nobody signed" in rows[1][4]


def test_without_a_key_it_is_said_that_nothing_encrypted_is_accepted(
    mailbox: Path, call: Run
) -> None:
    asked = ("watch", *DATA, *OPEN[2:], "--maildir", "m", "--once", "--state")
    result = call(*asked, "first.db")
    assert "warning: no key is given, so what is encrypted is not accepted" in result.err
    assert (
        "hint: name it: --identity FILE; with another --state all is looked at anew" in result.err
    )
    again = call(*asked, "first.db", *OPEN[:2])
    assert again.out == b""
    again = call(*asked, "second.db", *OPEN[:2])
    assert again.out.startswith(b"handed\t")
    assert "no key is given" not in again.err


def test_a_command_that_fails_gets_it_again(mailbox: Path, call: Run) -> None:
    take = ("--rejected", "no", "--exec")
    result = call(*ONCE, *take, "sh -c 'echo to whom; exit 3'", "--json")
    assert result.status == 1
    failed, _ = lines(result)
    assert failed["status"] == "failed"
    assert failed["failure"] == "sh did not take the message: exit status 3"
    assert "to whom\n" in result.err
    assert "is tried again in 10 s" in result.err
    early = call(*ONCE, *take, "true")
    assert (early.status, early.out) == (1, b"")
    said = r"note: 1 message waits, and is tried at 20\S+Z: .*sh did not take the message: exit"
    assert re.search(said, early.err)
    assert "hint: run it again then; without --once it waits for that" in early.err
    db = sqlite3.connect(mailbox / "watch.db")
    db.execute("UPDATE messages SET due = 0 WHERE due IS NOT NULL")
    db.commit()
    db.close()
    result = call(*ONCE, *take, 'sh -c "cat > got; cp $SMIME_GRAPH_REPORT got.json"')
    assert result.status == 0, result.err
    assert b"the figures" in (mailbox / "got").read_bytes()
    found = json.loads((mailbox / "got.json").read_text())
    assert (found["handed_before"], found["attempt"]) == ("failed", 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((*OPEN, *STATE), "not said where"),
        ((*OPEN, *STATE, "--maildir", "m", "--exec", "true"), "are both given"),
        ((*OPEN[:2], *STATE, "--maildir", "m"), "nobody is believed"),
        ((*OPEN, "--maildir", "m"), "--state"),
        ((*OPEN, *STATE, "--exec", "'x"), "cannot be split"),
        ((*OPEN, *STATE, "--maildir", "m.eml"), "cannot be made"),
        ((*OPEN, "--state", "m.eml", "--maildir", "m"), "is no watch state"),
        ((*OPEN, *STATE, "--maildir", "m", "--every", "0"), "--every"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(
    here: Path, call: Run, given: tuple[str, ...], said: str
) -> None:
    result = call("watch", *DATA, "--once", *given)
    assert (result.status, result.out) == (2, b"")
    assert said in result.err


def test_graph_that_refuses_is_the_status_three(here: Path, call: Run) -> None:
    asked = ("watch", *DATA, *OPEN, *STATE, "--maildir", "m", "--once")
    assert call(*asked, "--folder", "nowhere").status == 3
    assert (here / "watch.db").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_ends_when_it_is_told_and_what_is_at_hand_is_done_first(
    mailbox: Path, number: signal.Signals, status: int
) -> None:
    command = "sh -c 'echo begun >&2; sleep 1; cat > got'"
    asked = ("watch", *DATA, *OPEN, *STATE, "--exec", command, "--json")
    process = start(*asked, stdout=subprocess.PIPE, cwd=mailbox)
    assert process.stderr is not None
    try:
        assert process.stderr.readline() == b"begun\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == status, err
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["handed"]
    assert b"the figures" in (mailbox / "got").read_bytes()
    assert b"Traceback" not in err


def test_a_second_signal_ends_it_at_once(mailbox: Path, call: Run) -> None:
    asked = ("watch", *DATA, *OPEN, *STATE, "--exec")
    process = start(*asked, "sh -c 'echo begun >&2; sleep 300'", cwd=mailbox)
    assert process.stderr is not None
    try:
        assert process.stderr.readline() == b"begun\n"
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143, err
    result = call(*ONCE, "--rejected", "no", "--exec", "true", "--json")
    assert result.status == 0, result.err
    told = {one["internetMessageId"]: one["handed_before"] for one in lines(result)}
    assert told == {"<1@contoso.com>": "unknown", "<2@contoso.com>": "no"}


def test_what_comes_in_later_is_handed_on_and_a_closed_pipe_ends_it(
    mailbox: Path, call: Run
) -> None:
    asked = ("watch", *DATA, *OPEN, *STATE, "--maildir", "m", "--every", "1", "--json")
    process = start(*asked, stdout=subprocess.PIPE, cwd=mailbox)
    assert process.stdout is not None
    try:
        statuses = [json.loads(process.stdout.readline())["status"] for _ in range(2)]
        assert sorted(statuses) == ["handed", "rejected"]
        with Emulator(data=mailbox / "box.db") as emulator:
            sealed = (mailbox / "sealed.eml").read_bytes().replace(b"\r\n", b"\n")
            box = emulator.mailbox("bob@contoso.com")
            box.put(sealed.replace(b"\n", b"\r\n"))
            assert select.select([process.stdout], [], [], 60)[0]
            assert json.loads(process.stdout.readline())["status"] == "handed"
            process.stdout.close()
            process.stdout = None
            box.put(sealed.replace(b"\n", b"\r\n"))
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
    assert len(list((mailbox / "m" / "new").iterdir())) == 3


def test_a_token_file_is_read_when_a_token_is_needed(mailbox: Path) -> None:
    with Emulator(data=mailbox / "box.db", token="second") as emulator, emulator.serve() as server:
        (mailbox / "token").write_text("first\n")
        asked = ("--graph-url", server.url, "--user", "bob@contoso.com", "--token-file", "token")
        process = start(
            *("watch", *asked, *OPEN, *STATE, "--exec", "true", "--once"),
            stdout=subprocess.PIPE,
            cwd=mailbox,
        )
        _, err = process.communicate(timeout=60)
        assert process.returncode == 3, err
        (mailbox / "token").write_text("second\n")
        process = start(
            *("watch", *asked, *OPEN, *STATE, "--exec", "cp other token", "--every", "1"),
            stdout=subprocess.PIPE,
            cwd=mailbox,
        )
        (mailbox / "other").write_text("third\n")
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith(b"handed\t")
            _, err = process.communicate(timeout=60)  # "third" is refused
            assert process.returncode == 3, err
        finally:
            process.kill()


PEAK = (
    "import sys; from smime_graph.cli import main; status = main(sys.argv[1:]);"
    "print(open('/proc/self/status').read(), file=sys.stderr); sys.exit(status)"
)


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_mail(here: Path, call: Run) -> None:
    head = (here / "m.eml").read_bytes().replace(b"\n", b"\r\n")
    ways = (("--maildir", "m"), ("--exec", "sh -c 'cat > got'"))
    peaks: dict[str, list[int]] = {"--maildir": [], "--exec": []}
    for count in (10, 300_000):
        (here / "large.eml").write_bytes(head + b"a line of the text\r\n" * count)
        assert call("seal", "large.eml", *SEAL, "-o", "sealed").status == 0
        with Emulator(token="t", open_mailboxes=True, message_limit=1 << 28) as emulator:
            emulator.mailbox("bob@contoso.com").put((here / "sealed").read_bytes())
            with emulator.serve() as server:
                for way in ways:
                    asked = ("--graph-url", server.url, "--user", "bob@contoso.com", *OPEN, *way)
                    words = ("watch", *asked, "--state", f"{way[0][2:]}.db", "--once")
                    done = subprocess.run(
                        [sys.executable, "-c", PEAK, *words],
                        env={**os.environ, "SMIME_GRAPH_TOKEN": "t"},
                        capture_output=True,
                        check=False,
                        timeout=120,
                    )
                    assert done.returncode == 0, done.stderr
                    assert done.stdout.startswith(b"handed")
                    (peak,) = [x for x in done.stderr.splitlines() if x.startswith(b"VmHWM")]
                    peaks[way[0]].append(int(peak.split()[1]))
    for small, large in peaks.values():
        assert large - small < 4000  # KB, of 6 MB
