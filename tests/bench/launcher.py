"""Starts processes and says what they cost. It is a process of its own, and a small one.

For the kernel counts what the parent held among the most memory of a child: `ru_maxrss` outlives
exec.

A request is a line, the stages of a pipe as JSON: [[argument, ...], ...]. The answer is a line with
the status of the last one that failed, seconds of CPU, and the octets of the largest.
"""

from __future__ import annotations

import json
import os
import sys


def run(stages: list[list[str]]) -> tuple[int, float, int]:
    started: list[int] = []
    silent = os.open(os.devnull, os.O_WRONLY)
    source = os.open(os.devnull, os.O_RDONLY)
    for number, words in enumerate(stages, 1):
        last = number == len(stages)
        reading, sink = (-1, os.open(os.devnull, os.O_WRONLY)) if last else os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, source, 0), (os.POSIX_SPAWN_DUP2, sink, 1)]
        actions.append((os.POSIX_SPAWN_DUP2, silent, 2))
        started.append(os.posix_spawnp(words[0], words, os.environ, file_actions=actions))
        os.close(source)
        os.close(sink)
        source = reading
    os.close(silent)
    status, cpu, peak = 0, 0.0, 0
    for process in started:
        _, ended, used = os.wait4(process, 0)
        status = os.waitstatus_to_exitcode(ended) or status
        cpu += used.ru_utime + used.ru_stime
        peak = max(peak, used.ru_maxrss * 1024)
    return status, cpu, peak


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
