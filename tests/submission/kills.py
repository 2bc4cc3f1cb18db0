"""A watch that is killed again and again: each message is handed on, and who gets it twice is told.

`python -m tests.submission.kills`: messages come in while the watch is killed (SIGKILL) at any
moment. Each goes to a command that notes it, or into a Maildir; the half of them are nobody's and
go where they are told.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from smime_graph import CA, Contact, Identity, seal
from smime_graph.emulator import Emulator, Fault
from smime_graph.emulator.faults import Faults

BOB = "bob@contoso.com"
# notes what it got in one write, so that a line is there whole or not at all; and takes its time,
# in which it has the message and nobody knows
NOTE = """
import json, os, sys, time
report = json.load(open(os.environ["SMIME_GRAPH_REPORT"]))
line = json.dumps([report["internetMessageId"], report["handed_before"], len(sys.stdin.read())])
os.write(os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), f"{line}\\n".encode())
time.sleep(0.05)
"""


class Weather(Faults):
    """A fault for each request with that probability."""

    def __init__(self, seed: int, rate: float) -> None:
        super().__init__()
        self._random, self._rate = random.Random(seed), rate
        self.counted: Counter[str] = Counter()

    def take(self, method: str, path: str, *, oversized: bool = False) -> Fault | None:
        """The fault for this request, if there is one."""
        if self._random.random() >= self._rate:
            return None
        name, fault = self._random.choice(
            [
                ("throttled", Fault.throttled(retry_after=1)),
                ("503", Fault.unavailable()),
                ("503 with a time", Fault.unavailable(retry_after=1)),
                ("504", Fault.gateway_timeout()),
                ("a page", Fault.gateway(200)),
                ("cut", Fault.cut_before()),
                ("slow", Fault.slow(self._random.uniform(0.1, 1.0))),
                ("500", Fault.answer(500)),
            ]
        )
        self.counted[name] += 1
        return fault


def message(number: int, alice: Identity, bob: Identity) -> bytes:
    """A message to Bob; every third is signed by nobody."""
    raw = (
        f"From: alice@contoso.com\r\nTo: {BOB}\r\nMessage-ID: <{number}@contoso.com>\r\n"
        f"Subject: {number}\r\n\r\n{'text ' * number}\r\n"
    ).encode()
    if number % 3 == 0:
        return raw
    return seal(raw, signer=alice, recipients=[Contact(bob.certificate)])


def prove(
    folder: Path,
    *,
    messages: int,
    kills: int,
    by: str,
    rate: float = 0.0,
    seed: int = 1,
    limit: float = 600.0,
) -> dict[str, Any]:
    """Put them in, killing, and count what came of it."""
    chance = random.Random(seed)
    ca = CA("Test Root", key="p256")
    alice, bob = (ca.issue(f"{name}@contoso.com", key="p256") for name in ("alice", "bob"))
    (folder / "roots.pem").write_bytes(ca.trust_pem)
    (folder / "bob.key").write_bytes(bob.to_pem())
    (folder / "note.py").write_text(NOTE)
    began, killed = time.monotonic(), 0
    with (
        Emulator(data=folder / "graph.db", open_mailboxes=True, token="t") as emulator,
        emulator.serve() as server,
    ):
        emulator.faults = weather = Weather(seed, rate)
        box = emulator.mailbox(BOB)
        (folder / "token").write_text("t\n")
        way: list[Any] = ["--maildir", folder / "m"]
        if by == "exec":
            way = ["--exec", f"{sys.executable} {folder}/note.py {folder}/notes"]
        words: list[Any] = [
            "watch",
            "--graph-url",
            server.url,
            "--user",
            BOB,
            "--token-file",
            "token",
        ]
        words += ["--identity", "bob.key", "--trust", "roots.pem", "--state", "watch.db", *way]
        words += ["--rejected", folder / "no", "--every", "1"]
        left = list(range(messages))
        process = start(words, folder)
        try:
            while time.monotonic() - began < limit:
                for number in left[: messages // max(kills, 1) + 1]:
                    box.put(message(number, alice, bob))
                    left.remove(number)
                if killed < kills and chance.random() < 0.8:
                    _wait_for_work(folder, by)  # and then in the middle of it
                    time.sleep(chance.uniform(0.0, 0.4))
                else:
                    time.sleep(chance.uniform(0.2, 1.5))
                if killed < kills:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    killed += 1
                    process = start(words, folder)
                elif not left and _done(folder, by) >= messages:
                    break
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    return _counted(folder, by, messages) | {
        "killed": killed,
        "faults": dict(weather.counted),
        "ended with": process.returncode,
        "seconds": round(time.monotonic() - began, 1),
    }


def _wait_for_work(folder: Path, by: str) -> None:
    """Until something more is handed on."""
    before, end = len(_handed(folder, by)), time.monotonic() + 15
    while len(_handed(folder, by)) <= before and time.monotonic() < end:
        time.sleep(0.02)


def start(words: list[Any], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "smime_graph", *map(str, words)],
            stdout=said,
            stderr=said,
            cwd=folder,
            start_new_session=True,
        )


def _handed(folder: Path, by: str) -> list[tuple[str, str]]:
    """Message-ID, and what was said of it, of each that was handed on."""
    if by == "exec":
        notes = folder / "notes"
        lines = notes.read_text().splitlines() if notes.exists() else []
        return [(one[0], one[1]) for one in map(json.loads, lines)]
    found = []
    for path in sorted((folder / "m").glob("new/*")):
        text = path.read_bytes().decode()
        found.append((text.partition("Message-ID: ")[2].partition("\r\n")[0], "no"))
    return found


def _rejected(folder: Path) -> list[str]:
    return [
        json.loads(one.with_suffix(".json").read_text())["internetMessageId"]
        for one in (folder / "no").glob("*.eml")
    ]


def _done(folder: Path, by: str) -> int:
    return len({one for one, _ in _handed(folder, by)} | set(_rejected(folder)))


def _counted(folder: Path, by: str, messages: int) -> dict[str, Any]:
    wanted = {f"<{n}@contoso.com>" for n in range(messages) if n % 3}
    handed, rejected = _handed(folder, by), _rejected(folder)
    times = Counter(one for one, _ in handed)
    first: set[str] = set()
    untold = 0  # handed on again, and nobody was told
    for name, before in handed:
        untold += name in first and before == "no"
        first.add(name)
    said = (folder / "said").read_text()
    return {
        "messages": messages,
        "handed on": len(times),
        "lost": len(wanted - times.keys()),
        "more than once": sum(one > 1 for one in times.values()),
        "more than once, and nobody told": untold,
        "rejected": len(rejected),
        "in the wrong place": len(times.keys() - wanted) + len(set(rejected) & wanted),
        "rejected and lost": messages - len(wanted) - len(set(rejected)),
        "tracebacks": said.count("Traceback"),
    }


def holds(found: dict[str, Any]) -> bool:
    """Nothing lost, nothing doubled in silence."""
    wrong = ("lost", "more than once, and nobody told", "in the wrong place", "rejected and lost")
    return not any(found[one] for one in (*wrong, "tracebacks")) and found["ended with"] == 143


def main() -> int:
    """The proof by both ways; 0 if it holds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=300)
    parser.add_argument("--kills", type=int, default=60, help="of the watch, each way")
    parser.add_argument("--rate", type=float, default=0.1, help="of requests that meet a fault")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    good = True
    for by in ("exec", "maildir"):
        with tempfile.TemporaryDirectory() as name:
            found = prove(
                Path(name),
                messages=given.messages,
                kills=given.kills,
                by=by,
                rate=given.rate,
                seed=given.seed,
            )
        print(f"handed to: {by}")
        for key, value in found.items():
            print(f"  {key}: {value}")
        good = good and holds(found) and found["killed"] >= given.kills
    print("nothing lost, nothing doubled in silence" if good else "IT DOES NOT HOLD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
