"""An outbox whose senders and whose Graph are killed again and again, under faults of all kinds.

`python -m tests.graph.kills`: on the draft road every Message-ID stands in Sent Items once, on that
of sendMail at most once, and once or it is listed as unknown.
"""

from __future__ import annotations

import argparse
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from smime_graph.emulator import Emulator, Fault
from smime_graph.emulator.faults import Faults
from smime_graph.graph import GraphClient, GraphLimits, Outbox

from .postgres import running

TOKEN = "token"
LIMITS = GraphLimits(messages_a_minute=None)
WINDOW = timedelta(seconds=8)  # so long a message is looked for; some show later
USERS = [f"user{number}@contoso.com" for number in range(6)]

FAULTS: dict[str, Callable[[random.Random], Fault]] = {
    "throttled": lambda _: Fault.throttled(retry_after=1),
    "429 without a time": lambda _: Fault.throttled(retry_after=None),
    "429 of a gateway": lambda r: Fault.gateway(429, retry_after=1, carried_out=r.random() < 0.5),
    "503": lambda r: Fault.unavailable(carried_out=r.random() < 0.5),
    "503 with a time": lambda r: Fault.unavailable(retry_after=1, carried_out=r.random() < 0.5),
    "504": lambda r: Fault.gateway_timeout(carried_out=r.random() < 0.7),
    "a page": lambda r: Fault.gateway(r.choice([200, 202, 502]), carried_out=r.random() < 0.5),
    "cut before": lambda _: Fault.cut_before(),
    "cut after": lambda _: Fault.cut_after(),
    "slow": lambda r: Fault.slow(r.uniform(0.1, 2.5)),
    "late": lambda r: _late(Fault.slow(0.0), r),
    "504 and late": lambda r: _late(Fault.gateway_timeout(), r),
    "cut after and late": lambda r: _late(Fault.cut_after(), r),
    "token": lambda _: Fault.expired_token(),
    "500": lambda r: Fault.answer(500, carried_out=r.random() < 0.5),
}


def _late(fault: Fault, chance: random.Random) -> Fault:
    """The fault, and a copy in Sent Items that is seen within the window, or long behind it."""
    late = chance.choice([chance.uniform(0.5, WINDOW.total_seconds()), 1800.0])
    return replace(fault, sent_items_delay=late)


class Weather(Faults):
    """A fault for each request with that probability; `counted` is written where it is read."""

    def __init__(self, seed: int, rate: float, counted: Path) -> None:
        super().__init__()
        self._random, self._rate, self._counted = random.Random(seed), rate, counted

    def take(self, method: str, path: str, *, oversized: bool = False) -> Fault | None:
        """The fault for this request, if there is one."""
        if self._random.random() >= self._rate:
            return None
        name = self._random.choice(sorted(FAULTS))
        if name == "token":  # of a mailbox that is then left alone for a minute
            name = "504" if self._random.random() < 0.95 else name
        with self._counted.open("a") as file:
            file.write(f"{name}\n")
        fault = FAULTS[name](self._random)
        if path.endswith("/send"):  # it is a draft until then, and the outbox asks for as long
            most = 2 * WINDOW.total_seconds()
            return replace(fault, sent_items_delay=min(fault.sent_items_delay or 0.0, most))
        return fault


def message(number: int) -> tuple[bytes, str, str]:
    """A message, whose it is, and the road that it goes."""
    user, via = USERS[number % len(USERS)], ("draft", "sendmail")[number // len(USERS) % 2]
    raw = (
        f"From: {user}\r\nTo: bob@contoso.com\r\nMessage-ID: <{number}@contoso.com>\r\n"
        f"Subject: {number}\r\n\r\ntext\r\n"
    )
    return raw.encode(), user, via


# --- the processes --------------------------------------------------------------------------------


def emulate(data: str, port: int, seed: int, rate: float) -> None:
    emulator = Emulator(data=data, open_mailboxes=True, token=TOKEN)
    emulator.faults = Weather(seed, rate, Path(f"{data}.faults"))
    emulator.serve(port).wait()


def send(path: str, port: int) -> None:
    url = f"http://127.0.0.1:{port}/v1.0"
    with (
        Outbox(path, window=WINDOW) as outbox,
        GraphClient(TOKEN, url=url, timeout=1.0, deadline=2.0, limits=LIMITS) as graph,
    ):
        outbox.run(graph, workers=6, forever=True)


def start(*words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.graph.kills", *map(str, words)])


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


# --- the proof ------------------------------------------------------------------------------------


def prove(
    folder: Path,
    place: Path | str,
    *,
    messages: int,
    kills: int,
    emulator_kills: int,
    crash: Callable[[], object] | None = None,
    rate: float = 0.15,
    seed: int = 1,
    limit: float = 1800.0,
) -> dict[str, Any]:
    """Send them all, killing, and count what came of it; `crash` is done to the server of the
    outbox as often as to Graph.
    """
    chance = random.Random(seed)
    data, port = folder / "graph.db", free_port()
    began = time.monotonic()
    with Outbox(place, window=WINDOW) as outbox:
        for number in range(messages):
            raw, user, via = message(number)
            outbox.add(raw, user=user, via=via)  # type: ignore[arg-type]
        stored = time.monotonic() - began
        served = start("emulate", data, port, chance.random() * 1e9 // 1, rate)
        senders = [start("send", place, port) for _ in range(2)]
        killed = graph_killed = ended = 0
        moments = sorted(chance.uniform(0.1, 0.9) for _ in range(emulator_kills))
        try:
            while time.monotonic() - began < limit:
                time.sleep(chance.uniform(0.3, 1.5))
                left = _left(outbox)
                if not left and killed >= kills and graph_killed >= emulator_kills:
                    break
                for which, one in enumerate(senders):
                    if (
                        one.poll() is not None
                    ):  # the server of the outbox was not there when it began
                        senders[which] = start("send", place, port)
                        ended += 1
                done = 1 - left / messages
                if killed < kills and done >= killed / (kills + 1) * 0.9:
                    which = chance.randrange(len(senders))
                    _kill(senders[which])
                    killed += 1
                    senders[which] = start("send", place, port)
                if graph_killed < emulator_kills and done >= moments[graph_killed]:
                    _kill(served)
                    if crash is not None:
                        crash()
                    graph_killed += 1
                    served = start("emulate", data, port, chance.random() * 1e9 // 1, rate)
        finally:
            for one in (*senders, served):
                _kill(one)
        took = time.monotonic() - began
        states = {row.message_id: row.state for row in outbox.messages()}
    return _counted(data, states, messages) | {
        "messages": messages,
        "senders killed": killed,
        "senders that ended themselves": ended,
        "emulators killed": graph_killed,
        "left": sum(state not in ("sent", "unknown") for state in states.values()),
        "seconds to store": round(stored, 1),
        "seconds": round(took, 1),
    }


def _left(outbox: Outbox) -> int:
    return sum(
        one.state != "sent" and not (one.state == "unknown" and one.due_at is None)
        for one in outbox.messages()
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def _counted(data: Path, states: Mapping[str, str], messages: int) -> dict[str, Any]:
    """What lies in the mailboxes, also what would show later, against what the outbox says."""
    with Emulator(data=data, clock=lambda: time.time() + 3600) as emulator:
        boxes = [emulator.mailbox(user) for user in USERS]
        sent = Counter(
            one.internet_message_id for box in boxes for one in box.messages("sentitems")
        )
        inbox = emulator.mailbox("bob@contoso.com").messages("inbox")
        received = Counter(one.internet_message_id for one in inbox)
        drafts = sum(len(box.messages("drafts")) for box in boxes)
    found: dict[str, Any] = {}
    for road in ("draft", "sendmail"):
        names = [f"<{n}@contoso.com>" for n in range(messages) if message(n)[2] == road]
        found[road] = {
            "messages": len(names),
            "once in Sent Items": sum(sent[name] == 1 for name in names),
            "more than once": sum(max(sent[name], received[name]) > 1 for name in names),
            "unknown": sum(states[name] == "unknown" for name in names),
            "unknown, and went out": sum(
                states[name] == "unknown" and sent[name] == 1 for name in names
            ),
            "said to be sent, and not": sum(
                states[name] == "sent" and (sent[name] != 1 or received[name] != 1)
                for name in names
            ),
            "neither sent nor unknown": sum(
                states[name] != "unknown" and sent[name] != 1 for name in names
            ),
        }
    found["stray drafts"] = drafts
    faults = Path(f"{data}.faults")
    found["faults"] = dict(Counter(faults.read_text().split("\n")[:-1])) if faults.exists() else {}
    return found


def holds(found: dict[str, Any]) -> bool:
    """Nothing lost, nothing doubled."""
    draft, sendmail = found["draft"], found["sendmail"]
    wrong = ("more than once", "said to be sent, and not", "neither sent nor unknown")
    return (
        draft["once in Sent Items"] == draft["messages"]
        and not any(road[name] for road in (draft, sendmail) for name in wrong)
        and not found["left"]
    )


def main() -> int:
    """One of the processes, or the proof; 0 if it holds."""
    match sys.argv[1:]:
        case ["emulate", data, port, seed, rate]:
            emulate(data, int(port), int(float(seed)), float(rate))
            return 0
        case ["send", path, port]:
            send(path, int(port))
            return 0
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=50, help="of a sender")
    parser.add_argument("--emulator-kills", type=int, default=10)
    parser.add_argument("--rate", type=float, default=0.15, help="of requests that meet a fault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="on a server, which crashes too")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(running(safe=True)) if given.postgres else None
        found = prove(
            folder,
            folder / "outbox.db" if server is None else server.url,
            crash=None if server is None else partial(server.restart, signal.SIGQUIT),
            messages=given.messages,
            kills=given.kills,
            emulator_kills=given.emulator_kills,
            rate=given.rate,
            seed=given.seed,
        )
    for key, value in found.items():
        print(f"{key}: {value}")
    good = holds(found) and found["senders killed"] >= given.kills
    good = good and found["emulators killed"] >= given.emulator_kills
    print("nothing lost, nothing doubled" if good else "IT DOES NOT HOLD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
