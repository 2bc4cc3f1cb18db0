"""How many small messages a second an outbox sends: python -m tests.graph.speed."""

from __future__ import annotations

import argparse
import asyncio
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smime_graph.graph import AsyncGraphClient, Outbox

from .kills import TOKEN, free_port, start


def message(number: int) -> bytes:
    return (
        b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nMessage-ID: <%d@contoso.com>\r\n"
        b"Subject: small\r\n\r\n" % number
    ) + b"text of a small message\r\n" * 20


def memory() -> float:
    """MB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


@contextmanager
def served(data: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    process = start("emulate", data, port, 1, 0.0)
    try:
        while True:
            with socket.socket() as one:
                if not one.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.05)
        yield process, f"http://127.0.0.1:{port}/v1.0"
    finally:
        process.kill()
        process.wait()


def spent(pid: int) -> float:
    """CPU seconds of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def send(path: Path, url: str, via: str, count: int) -> list[float]:
    """Send `count` messages, and give the memory after each tenth of them."""
    held: list[float] = []
    with Outbox(path) as outbox:
        async with AsyncGraphClient(TOKEN, url=url) as graph:
            task = asyncio.ensure_future(outbox.run_async(graph))
            while not task.done():
                await asyncio.sleep(0.5)
                sent = count - sum(
                    number for state, number in outbox._queue.counts().items() if state != "sent"
                )
                if sent * 10 >= count * (len(held) + 1):
                    held.append(memory())
            done = await task
    assert (done.sent, done.queued, done.unknown) == (count, 0, 0), done
    return held


def main() -> int:
    """Print the figures; 0 if the memory stays flat."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=10_000)
    count = parser.parse_args().messages
    flat = True
    for via in ("sendmail", "draft"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            began = time.monotonic()
            with Outbox(folder / "outbox.db") as outbox:
                for number in range(count):
                    outbox.add(message(number), via=via)
            stored = time.monotonic() - began
            with served(":memory:") as (process, url):
                began, cpu = time.monotonic(), time.process_time()
                held = asyncio.run(send(folder / "outbox.db", url, via, count))
                took, cpu = time.monotonic() - began, time.process_time() - cpu
                theirs = spent(process.pid)
        flat = flat and max(held) < 1.2 * held[0] + 5
        print(
            f"{via}: {count / stored:.0f} stored a second, {count / took:.0f} sent a second;"
            f" of {took:.1f} s this process computed {cpu:.1f} s, the emulator {theirs:.1f} s;"
            f" memory {held[0]:.0f} to {held[-1]:.0f} MB"
        )
    print("memory is flat" if flat else "MEMORY GROWS")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
