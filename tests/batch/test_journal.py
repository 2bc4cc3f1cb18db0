"""The folder of a batch: resumed after any end, each message once."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smime_graph.batch.jobs import Job, Outcome
from smime_graph.batch.journal import Journal, file_name
from smime_graph.errors import UsageError

JobFile = Callable[[list[dict[str, Any]]], Path]


def outcome(job: Job, raw: bytes = b"x") -> Outcome:
    return Outcome(key=job.key, digest=job.digest, status="done", raw=raw)


def test_what_is_done_is_not_done_again(letter: Callable[..., Job], tmp_path: Path) -> None:
    jobs = [letter(f"{n}") for n in range(3)]
    with Journal(tmp_path) as journal:
        assert journal.keep(outcome(jobs[1])) == tmp_path / "1.eml"
        assert [job.key for job in journal.still_to_do(jobs)] == ["0", "2"]
    with Journal(tmp_path) as journal:
        assert [job.key for job in journal.still_to_do(jobs)] == ["0", "2"]
    assert (tmp_path / "1.eml").stat().st_mode & 0o777 == 0o600


def test_what_failed_is_tried_again(letter: Callable[..., Job], tmp_path: Path) -> None:
    job = letter("1")
    with Journal(tmp_path) as journal:
        journal.keep(Outcome(key="1", digest=job.digest, status="failed", error={"text": "no"}))
    with Journal(tmp_path) as journal:
        assert list(journal.still_to_do([job])) == [job]


def test_a_key_of_another_job_is_refused(letter: Callable[..., Job], tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.keep(outcome(letter("1")))
        with pytest.raises(UsageError, match="'1' was another job's"):
            list(journal.still_to_do([letter("1", subject="other")]))


def test_a_half_written_line_is_as_good_as_none(letter: Callable[..., Job], tmp_path: Path) -> None:
    jobs = [letter("1"), letter("2")]
    with Journal(tmp_path) as journal:
        for job in jobs:
            journal.keep(outcome(job))
    results = tmp_path / "results.jsonl"
    whole = results.read_bytes()
    for cut in range(1, len(whole.splitlines()[1])):
        results.write_bytes(whole[:-cut])
        with Journal(tmp_path) as journal:
            assert [job.key for job in journal.still_to_do(jobs)] == ["2"]
            journal.keep(outcome(jobs[1]))
        assert results.read_bytes() == whole


@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize(
    "line",
    [
        *("x", "[]", '{"key": 1, "digest": "zz"}', '{"key": 1, "digest": "", "status": "done"}'),
        *('{"verb": "sign"}', "[" * 99999),
    ],
)
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, line: str, end: str) -> None:
    line += end
    results = tmp_path / "results.jsonl"
    results.write_text(line)
    with pytest.raises(UsageError, match="line 1 is no outcome"):
        Journal(tmp_path)
    assert results.read_text() == line


@pytest.mark.parametrize("key", ["../x", "a/b", ".", "..", "", "a" * 101, "é", "x\0y", "con.", "-"])
def test_no_key_leaves_the_folder(key: str) -> None:
    name = file_name(key)
    assert "/" not in name
    assert len(name) == 36


def test_no_key_is_called_as_another_one() -> None:
    """A key that looks like the name of what another job made, and its name in turn."""
    keys = ["a/b", "", "\u00e9", "x" * 200, "con", "NUL.txt", "."]
    for _ in range(3):
        keys += [file_name(key).removesuffix(".eml") for key in keys]
        keys += [key.upper() for key in keys]
    keys = list(dict.fromkeys(keys))
    assert len(keys) > 20
    assert len({file_name(key).lower() for key in keys}) == len(keys)
    assert file_name("0123456789abcdef" * 2) != f"{'0123456789abcdef' * 2}.eml"
    assert file_name("0123456789abcdef" * 2 + "0") == f"{'0123456789abcdef' * 2}0.eml"


@pytest.mark.parametrize("key", ["con", "CON", "nul.eml", "com1", "Lpt9.x.y", "aux."])
def test_no_key_is_a_device(key: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}\.eml", file_name(key))
    assert file_name(f"x{key}x") == f"x{key}x.eml"


def test_two_runs_do_not_share_a_folder(job_file: JobFile, tmp_path: Path) -> None:
    with Journal(tmp_path / "out"):
        done = command(job_file([{"key": "1"}]), tmp_path / "out")
    assert done.returncode == 2
    assert b"in use by another run" in done.stderr


# --- the command --------------------------------------------------------------------------------


def arguments(path: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "smime_graph", "batch", str(path), "-o", str(out)]


def command(path: Path, out: Path, *more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*arguments(path, out), *more], capture_output=True, timeout=120, check=False
    )


def test_the_command_tells_what_it_did(job_file: JobFile, tmp_path: Path) -> None:
    path = job_file([{"key": "1"}, {"key": "2", "to": "dave@contoso.com"}])
    done = command(path, tmp_path / "out", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"done": 1, "failed": 1, "doneBefore": 0}
    assert b"2: no certificate is given for dave@contoso.com" in done.stderr
    again = command(job_file([{"key": "1"}]), tmp_path / "out")
    assert (again.returncode, again.stdout) == (0, b"")
    assert b"0 done, 0 failed, 1 done before" in again.stderr


@pytest.mark.parametrize(
    "more", [["--identity", "x"], ["--trust", "x"], ["--unseal", "--encrypt-anew"]]
)
def test_options_that_do_not_go_together(
    job_file: JobFile, tmp_path: Path, more: list[str]
) -> None:
    done = command(job_file([{"key": "1"}]), tmp_path / "out", *more)
    assert done.returncode == 2
    assert not list((tmp_path / "out").glob("*.eml"))


@pytest.mark.parametrize("kills", [3])
def test_a_run_that_is_killed_again_and_again_makes_each_message_once(
    job_file: JobFile, tmp_path: Path, kills: int
) -> None:
    path, out = job_file([{"key": f"{n}"} for n in range(200)]), tmp_path / "out"
    results = out / "results.jsonl"
    made = 0
    for _ in range(kills):
        run = subprocess.Popen([*arguments(path, out), "--chunk", "5"], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while run.poll() is None and time.monotonic() < end:
            now = results.read_bytes().count(b"\n") if results.exists() else 0
            if now > made + 20:
                made = now
                run.send_signal(signal.SIGKILL)
                break
            time.sleep(0.01)
        run.wait()
    assert made > 20
    assert command(path, out).returncode == 0
    lines = [json.loads(line) for line in results.read_bytes().splitlines()]
    assert Counter(one["key"] for one in lines) == Counter(f"{n}" for n in range(200))
    assert {one["status"] for one in lines} == {"done"}
    assert len(list(out.glob("*.eml"))) == 200
    assert not list(out.glob(".*"))  # what a killed run was writing is gone
