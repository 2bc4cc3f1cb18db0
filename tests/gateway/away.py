"""A gateway whose Graph is away half of the time, and that is killed in the middle.

`python -m tests.gateway.away`: real SMTP clients hand messages in until each is answered 250; all
of them arrive, sealed, once.
"""

from __future__ import annotations

import argparse
import queue
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from smime_graph import CA, Contacts, Identity, Outbox, TrustStore, unseal
from smime_graph.authority.issue import write_identity
from smime_graph.cli import main as run_program
from smime_graph.emulator import Emulator
from smime_graph.graph import _courier
from smime_graph.graph import outbox as outbox_module
from tests.graph import postgres
from tests.graph.kills import TOKEN, free_port
from tests.graph.kills import start as start_graph

CLIENTS = 4
SWAKS_EACH = 5  # one message in so many; msmtp has the others


def gateway(words: list[str]) -> int:
    """The program, with seconds for what takes it minutes: until what was not sent is sent again,
    and until a mailbox is tried again whose Graph was away.
    """
    outbox_module._DRAFT_WINDOW = timedelta(seconds=4)
    _courier._LONGEST_HOLD = 2.0
    return run_program(["gateway", *words])


@dataclass
class Setting:
    """People, ports and processes."""

    folder: Path
    outbox: Path | str
    alice: Identity
    bob: Identity
    carol: Identity
    trust: TrustStore
    graph_port: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)

    @classmethod
    def make(cls, folder: Path, outbox: Path | str) -> Setting:
        ca = CA("Test Root", key="p256")
        alice, bob, carol = (
            ca.issue(f"{n}@contoso.com", key="p256") for n in ("alice", "bob", "carol")
        )
        (folder / "keys").mkdir()
        write_identity(alice, folder / "keys", name="alice")
        with Contacts(folder / "book.db") as book:
            book.add([bob.certificate, carol.certificate])
        (folder / "token").write_text(TOKEN)
        return cls(folder, outbox, alice, bob, carol, ca.trust)

    @property
    def data(self) -> Path:
        return self.folder / "graph.db"

    def start_gateway(self) -> subprocess.Popen[bytes]:
        words = {
            "--listen": f"127.0.0.1:{self.port}",
            "--outbox": self.outbox,
            "--signer": self.folder / "keys",
            "--contacts": self.folder / "book.db",
            "--token-file": self.folder / "token",
            "--graph-url": f"http://127.0.0.1:{self.graph_port}/v1.0",
            "--timeout": 2,
            "--deadline": 4,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.gateway.away", "gateway"]
            + [str(one) for pair in words.items() for one in pair],
            stdout=subprocess.DEVNULL,
        )
        self.wait_for_port(process)
        return process

    def wait_for_port(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the gateway does not listen")

    def hand_in(self, number: int) -> bool:
        """Whether a client was answered 250."""
        to = ["bob@contoso.com"] + ["carol@contoso.com"] * (number % 4 == 0)  # carol is Bcc
        header = {"From": "alice@contoso.com", "To": "bob@contoso.com", "Subject": f"n{number}"}
        header["Message-ID"] = f"<{number}@contoso.com>"
        # msmtp would make up a new one each time: a message that differs in it is another one
        header["Date"] = "Fri, 27 Nov 2026 12:00:00 +0000"
        text = "".join(f"{name}: {value}\n" for name, value in header.items())
        raw = f"{text}\nsecret text of {number}\n"
        if number % SWAKS_EACH == 0:
            words = ["swaks", "--server", f"127.0.0.1:{self.port}", "--data", "-"]
            words += ["--from", "alice@contoso.com", "--to", ",".join(to), "--timeout", "20"]
        else:
            words = ["msmtp", "--host=127.0.0.1", f"--port={self.port}", "--timeout=20"]
            words += ["--from=alice@contoso.com", "--", *to]
        done = subprocess.run(words, input=raw.encode(), capture_output=True, check=False)
        return done.returncode == 0


# --- the proof ------------------------------------------------------------------------------------


def prove(
    folder: Path,
    place: Path | str,
    *,
    messages: int,
    kills: int,
    crash: Callable[[], None] | None = None,
    period: float = 3.0,
    seed: int = 1,
    limit: float = 1500.0,
) -> dict[str, Any]:
    """Hand them all in, killing, and count what arrives. `crash`: of the outbox's server."""
    chance = random.Random(seed)
    setting = Setting.make(folder, place)
    began = time.monotonic()
    running = [setting.start_gateway()]
    answered: list[int] = []
    handed = 0
    killed = 0
    try:
        with _coming_and_going(setting, period) as share:
            work: queue.Queue[int] = queue.Queue()
            for number in range(messages):
                work.put(number)
            attempts: list[int] = []

            def client() -> None:
                while True:
                    try:
                        number = work.get_nowait()
                    except queue.Empty:
                        return
                    while time.monotonic() - began < limit:
                        attempts.append(number)
                        if setting.hand_in(number):
                            answered.append(number)
                            break
                        time.sleep(0.1)

            clients = [threading.Thread(target=client, daemon=True) for _ in range(CLIENTS)]
            for one in clients:
                one.start()
            moments = sorted(chance.uniform(0.1, 0.9) for _ in range(kills))
            while any(one.is_alive() for one in clients):
                time.sleep(chance.uniform(0.0, 0.1))
                if killed < kills and len(answered) >= moments[killed] * messages:
                    _kill(running[0])
                    killed += 1
                    if crash is not None:
                        crash()
                    running[0] = setting.start_gateway()
            for one in clients:
                one.join()
            handed = len(attempts)
            with Outbox(place) as outbox:
                while time.monotonic() - began < limit:
                    if all(one.state == "sent" for one in outbox.messages()):
                        break
                    time.sleep(0.2)
                states = Counter(one.state for one in outbox.messages())
    finally:
        _kill(running[0])
    return _counted(setting, messages) | {
        "messages": messages,
        "answered 250": len(answered),
        "times handed in": handed,
        "gateways killed": killed,
        "in the outbox": dict(states),
        "Graph away, share of the time": round(share[0], 2),
        "seconds": round(time.monotonic() - began, 1),
    }


@contextmanager
def _coming_and_going(setting: Setting, period: float) -> Iterator[list[float]]:
    """Graph, killed and started again; which share of the time it was away."""
    stop = threading.Event()
    share = [0.0]

    def run() -> None:
        away = there = 0.0
        while not stop.is_set():
            began = time.monotonic()
            stop.wait(period)
            away += time.monotonic() - began
            process = start_graph("emulate", setting.data, setting.graph_port, 1, 0.0)
            while _is_away(setting.graph_port) and not stop.is_set():
                if process.poll() is not None:
                    print(f"the emulator ended: {process.returncode}", flush=True)
                    process = start_graph("emulate", setting.data, setting.graph_port, 1, 0.0)
                time.sleep(0.05)
            began = time.monotonic()
            stop.wait(period)
            there += time.monotonic() - began
            _kill(process)
            share[0] = away / (away + there)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield share
    finally:
        stop.set()
        thread.join()


def _is_away(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def _counted(setting: Setting, messages: int) -> dict[str, Any]:
    """What lies in the inboxes, unsealed."""
    found: dict[str, Any] = {}
    with Emulator(data=setting.data) as emulator:
        for name, whose in (("bob", setting.bob), ("carol", setting.carol)):
            wanted = range(0, messages, 4 if name == "carol" else 1)
            arrived: Counter[int] = Counter()
            for one in emulator.mailbox(f"{name}@contoso.com").messages("inbox"):
                opened = unseal(one.raw, identities=[whose], trust=setting.trust)
                number = int(str(opened.message["Subject"]).removeprefix("n"))
                assert opened.signer is not None
                assert opened.signer.email == "alice@contoso.com"
                assert f"secret text of {number}".encode() in opened.content
                assert b"secret text" not in one.raw
                arrived[number] += 1
            found[name] = {
                "wanted": len(wanted),
                "arrived once, sealed": sum(arrived[number] == 1 for number in wanted),
                "lost": sum(arrived[number] == 0 for number in wanted),
                "doubled": sum(count > 1 for count in arrived.values()),
            }
    return found


def holds(found: dict[str, Any]) -> bool:
    """Nothing lost, nothing doubled."""
    return found["answered 250"] == found["messages"] and all(
        found[name]["arrived once, sealed"] == found[name]["wanted"] and not found[name]["doubled"]
        for name in ("bob", "carol")
    )


def main() -> int:
    """The gateway, or the proof; 0 if it holds."""
    if sys.argv[1:2] == ["gateway"]:
        return gateway(sys.argv[2:])
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20, help="of the gateway")
    parser.add_argument("--period", type=float, default=3.0, help="seconds there, seconds away")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="on a server, which crashes too")
    given = vars(parser.parse_args())
    is_served = given.pop("postgres")
    server_or_none = postgres.running(safe=True) if is_served else nullcontext()
    with tempfile.TemporaryDirectory() as name, server_or_none as server:
        place = Path(name, "outbox.db") if server is None else server.url
        crash = None if server is None else partial(server.restart, signal.SIGQUIT)
        found = prove(Path(name), place, crash=crash, **given)
    for key, value in found.items():
        print(f"{key}: {value}")
    good = holds(found) and found["gateways killed"] >= given["kills"]
    print("nothing lost, nothing doubled" if good else "IT DOES NOT HOLD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
