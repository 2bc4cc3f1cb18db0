"""A batch whose workers, and then itself, are killed in the middle: python -m tests.batch.kills."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from smime_graph.authority.issue import CA, write_identity


def children(pid: int) -> list[int]:
    """The processes that a process has made, now."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):  # a thread each
        try:
            found += map(int, task.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def main() -> int:
    """Make the messages, kill, resume, count; 0 if each message is there once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=2, help="workers killed in the middle")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        return _prove(Path(name), given.messages, given.kills)


def _prove(folder: Path, messages: int, kills: int) -> int:
    ca = CA("Batch Root", key="p256")
    for name in ("alice", "bob"):
        write_identity(ca.issue(f"{name}@contoso.com", key="rsa-2048"), folder, name=name)
    shared = {"from": "alice@contoso.com", "to": "bob@contoso.com", "subject": "Hello"}
    shared |= {"body": "text\n" * 200, "signer": "alice.key", "recipient": "bob.pem"}
    lines = [{"defaults": shared}, *({"key": f"{n}"} for n in range(messages))]
    (folder / "job.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    command = [sys.executable, "-m", "smime_graph", "batch", str(folder / "job.jsonl")]
    command += ["-o", str(folder / "out"), "--workers", "2"]
    results = folder / "out" / "results.jsonl"

    def wait_for(count: int, run: subprocess.Popen[bytes]) -> None:
        while run.poll() is None:
            if results.exists() and results.read_bytes().count(b"\n") >= count:
                return
            time.sleep(0.01)

    killed = 0
    run = subprocess.Popen(command)
    for number in range(kills):
        wait_for(messages * (number + 1) // (kills + 3), run)
        for victim in children(run.pid)[:1]:
            os.kill(victim, signal.SIGKILL)
            killed += 1
    wait_for(messages * (kills + 1) // (kills + 3), run)
    stopped = run.poll() is None
    run.kill()
    run.wait()
    before = results.read_bytes().count(b"\n")
    status = subprocess.run(command, check=False).returncode
    keys = Counter(json.loads(line)["key"] for line in results.read_bytes().splitlines())
    files = len(list((folder / "out").glob("*.eml")))
    once = keys == Counter(f"{n}" for n in range(messages)) and files == messages
    print(
        f"{messages} messages: {killed} workers killed, the run itself killed: {stopped},"
        f" {before} outcomes by then; resumed with status {status}:"
        f" {len(keys)} keys, the most outcomes of one {max(keys.values())}, {files} files"
    )
    return 0 if once and status == 0 and killed == kills and stopped else 1


if __name__ == "__main__":
    sys.exit(main())
