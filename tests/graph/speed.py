"""How many small messages a second go through an outbox, in how much memory, and what limits it.

`python -m tests.graph.speed`. AsyncGraphClient and the outbox are in this process, the emulator is
in one of its own; both the outbox and the mailboxes are files. There are several mailboxes, because
of one Exchange takes 10,000 requests in ten minutes, and a client asks for no more.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from smime_graph.graph import AsyncGraphClient, GraphLimits, Outbox

from .kills import TOKEN, USERS, free_port, start

VIAS = ("sendmail", "draft")
_PROFILED = 300  # messages apart from those that are counted: who is profiled is slower

# one mailbox gets more than Exchange would let it have
AS_MANY = GraphLimits(requests=None, upload=None, messages_a_minute=None)


def fill(outbox: Outbox, via: Any, count: int) -> None:
    """Put so many messages in."""
    for number in range(count):
        user = USERS[number % len(USERS)]
        text = (
            f"From: {user}\r\nTo: bob@contoso.com\r\nMessage-ID: <{number}@contoso.com>\r\n"
            "Subject: small\r\n\r\n" + "text of a small message\r\n" * 20
        )
        outbox.add(text.encode(), user=user, via=via)


def memory(process: int | str = "self") -> float:
    """MB that a process holds now."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def spent(process: int | str = "self") -> float:
    """CPU seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def served(data: Path) -> Iterator[tuple[int, str]]:
    """An emulator in a process of its own: that, and its address."""
    port = free_port()
    process: subprocess.Popen[bytes] = start("emulate", data, port, 1, 0.0)
    try:
        while True:
            with socket.socket() as one:
                if not one.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.05)
        yield process.pid, f"http://127.0.0.1:{port}/v1.0"
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True, slots=True)
class Figures:
    """What sending took, in seconds, and the MB held by each of the two after each tenth."""

    stored: float
    took: float
    ours: float
    theirs: float
    held: tuple[tuple[float, float], ...]

    def flat(self) -> bool:
        """Whether neither grows: the first tenth makes what is made once."""
        return all(max(one[1:]) < 1.15 * one[0] + 3 for one in zip(*self.held, strict=True))


async def send(outbox: Outbox, url: str, count: int, process: int) -> list[tuple[float, float]]:
    """Send all that is in it."""
    held: list[tuple[float, float]] = []
    async with AsyncGraphClient(TOKEN, url=url, limits=AS_MANY) as graph:
        task = asyncio.ensure_future(outbox.run_async(graph))
        while not task.done():
            await asyncio.sleep(0.05)
            sent = outbox._queue.counts().get("sent", 0)
            if sent * 10 >= count * (len(held) + 1):
                held.append((memory(), memory(process)))
        done = await task
    assert (done.sent, done.queued, done.unknown) == (count, 0, 0), done
    return held or [(memory(), memory(process))]


def measured(folder: Path, via: Any, count: int) -> Figures:
    with served(folder / f"{via}.graph") as (process, url), Outbox(folder / f"{via}.db") as outbox:
        began = time.monotonic()
        fill(outbox, via, count)
        stored = time.monotonic() - began
        began, ours, theirs = time.monotonic(), spent(), spent(process)
        held = asyncio.run(send(outbox, url, count, process))
        took = time.monotonic() - began
        return Figures(stored, took, spent() - ours, spent(process) - theirs, tuple(held))


_HTTP = ("httpx", "httpcore", "anyio", "h11", "sniffio", "asyncio", "selectors.py", "contextlib.py")


def a_write(folder: Path) -> float:
    """Seconds until the disk has a page: an outbox waits for that once for each message."""
    took = []
    with (folder / "page").open("wb") as file:
        for _ in range(50):
            began = time.monotonic()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            took.append(time.monotonic() - began)
    return median(took)


def shares(folder: Path, via: Any, count: int = _PROFILED) -> dict[str, float]:
    """Of the time that the sender's event loop computes: whose it is."""
    with served(folder / "profiled.graph") as (process, url), Outbox(folder / "profiled.db") as box:
        fill(box, via, count)
        profile = cProfile.Profile(time.thread_time)
        profile.enable()
        asyncio.run(send(box, url, count, process))
        profile.disable()
    found: Counter[str] = Counter()
    stats: Any = pstats.Stats(profile)
    for (file, _, _), (_, _, own, _, _) in stats.stats.items():
        parts = Path(file).parts
        known = "smime_graph" if "smime_graph" in parts else next(filter(parts.count, _HTTP), "")
        whose = known or ("C code, sockets" if file == "~" else "other Python")
        found["HTTP client and event loop" if known in _HTTP else whose] += own
    return {name: own / found.total() for name, own in found.most_common()}


def told(via: str, count: int, found: Figures, whose: dict[str, float], write: float) -> str:
    """The figures in words, and what limits it."""
    held = found.held[0], found.held[len(found.held) // 2], found.held[-1]
    lines = [f"{via}: {count / found.stored:.0f} stored a second, {count / found.took:.0f} sent"]
    for place, who in enumerate(("sender", "emulator")):
        three = ", ".join(f"{one[place]:.0f}" for one in held)
        lines.append(f"  MB held by the {who}, at the start, in the middle, at the end: {three}")
    share = found.ours / found.took
    if share > 0.6:
        limit = "that is what limits it"
    else:
        limit = (
            f"it waits, for the disk (for a page {write * 1000:.1f} ms) and for whoever computes"
        )
    lines += [
        f"  of {found.took:.1f} s the sender computes {found.ours:.1f} s, the emulator"
        f" {found.theirs:.1f} s: {limit}",
        "  of what the sender's event loop computes: "
        + ", ".join(f"{name} {share:.0%}" for name, share in whose.items()),
    ]
    return "\n".join(lines)


def main() -> int:
    """Print the figures; 0 if the memory stays flat."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=10_000)
    count = parser.parse_args().messages
    flat = True
    for via in VIAS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            found = measured(folder, via, count)
            print(told(via, count, found, shares(folder, via), a_write(folder)), flush=True)
        flat = flat and found.flat()
    print("memory is flat" if flat else "MEMORY GROWS")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
