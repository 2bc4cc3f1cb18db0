"""A command that gets what came in: what it is given, and what its end means."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from smime_graph import Arrival, UsageError
from smime_graph.submission import command
from smime_graph.submission.command import Command, CommandFailed

from .conftest import Watching, mail


@pytest.fixture
def arrival(watching: Watching) -> Arrival:
    watching.put(1)
    watching.run()
    return watching.taken[0]


def test_it_gets_the_message_and_a_file_with_the_report(
    arrival: Arrival, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ("SMIME_GRAPH_TOKEN", "SMIME_GRAPH_PASSWORD", "SMIME_GRAPH_SMTP_TOKEN")
    others = ("AZURE_CLIENT_SECRET", "AZURE_PASSWORD", "IDENTITY_HEADER", "PGPASSWORD")
    for name in (*secrets, *others, "SMIME_GRAPH_USER", "AZURE_CLIENT_ID"):
        monkeypatch.setenv(name, "hush")
    script = tmp_path / "take it"
    script.write_text(
        "#!/bin/sh\n"
        'cat > "$1/message"; cp "$SMIME_GRAPH_REPORT" "$1/report"; env > "$1/env"\n'
        'echo "$SMIME_GRAPH_REPORT" > "$1/name"; stat -c %a "$SMIME_GRAPH_REPORT" > "$1/mode"\n'
    )
    script.chmod(0o700)
    Command(f"'{script}' {tmp_path}")(arrival)
    assert arrival.opened is not None
    assert (tmp_path / "message").read_bytes() == arrival.opened.raw
    found = json.loads((tmp_path / "report").read_text())
    assert (found["verdict"], found["handed_before"]) == ("accepted", "no")
    assert found["internetMessageId"] == "<1@contoso.com>"
    environment = (tmp_path / "env").read_text()
    told = {line.partition("=")[0] for line in environment.splitlines() if line.endswith("=hush")}
    assert told == {"SMIME_GRAPH_USER", "AZURE_CLIENT_ID"}
    assert (tmp_path / "mode").read_text() == "600\n"
    assert not Path((tmp_path / "name").read_text().strip()).exists()


@pytest.mark.parametrize(
    ("outbox", "is_told"),
    [
        ("outbox.db", True),
        ("postgresql://alice@db/mail", True),
        ("postgresql://alice:hush@db/mail", False),
        ("postgresql://db/mail?user=alice&password=hush", False),
    ],
)
def test_it_gets_an_outbox_whose_address_holds_no_password(
    arrival: Arrival,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    outbox: str,
    is_told: bool,
) -> None:
    monkeypatch.setenv("SMIME_GRAPH_OUTBOX", outbox)
    Command("env")(arrival)
    assert (f"SMIME_GRAPH_OUTBOX={outbox}\n" in capfd.readouterr().err) is is_told


def test_what_it_writes_goes_to_standard_error(
    arrival: Arrival, capfd: pytest.CaptureFixture[str]
) -> None:
    Command("echo one '*' $HOME; echo two")(arrival)
    assert capfd.readouterr() == ("", "one * $HOME; echo two\n")


def test_any_other_end_is_a_failure(arrival: Arrival) -> None:
    for text, said in (
        ("false", "false did not take the message: exit status 1"),
        ("sh -c 'kill -9 $$'", "sh did not take the message: signal 9"),
    ):
        with pytest.raises(CommandFailed, match=said):
            Command(text)(arrival)
    for text in ("/nowhere/at/all x", "/etc/passwd"):
        with pytest.raises(UsageError, match="cannot be run"):
            Command(text)(arrival)
    for text in ("", "  ", "'x", "x\0y"):
        with pytest.raises(UsageError):
            Command(text)
    Command("true")(arrival)  # which reads nothing of it


def test_one_that_hangs_is_ended_with_what_it_started(
    arrival: Arrival, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_LONGEST", 1.0)
    monkeypatch.setattr(command, "_GRACE", 0.3)
    script = f"trap '' TERM; sleep 100 & echo $! > {tmp_path}/pid; wait; sleep 100"
    with pytest.raises(CommandFailed, match="did not end within 1 s"):
        Command(f'sh -c "{script}"')(arrival)
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            break
        time.sleep(0.05)
    else:
        os.kill(pid, 9)
        pytest.fail("what it started still runs")


def test_what_is_not_accepted_is_handed_to_none(watching: Watching) -> None:
    watching.box.put(mail(1))
    watching.run()
    with pytest.raises(UsageError, match="not accepted"):
        Command("true")(watching.put_away[0])
