"""Processes that work, each at the end of two pipes of its own.

Not `concurrent.futures.ProcessPoolExecutor`: its processes share one pipe for their results, and
one that is killed while it writes leaves the others, and whoever waits for them, waiting for ever
(seen with CPython 3.11). Here a process that dies takes nothing with it but what it had in hand.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ..errors import UsageError

P = ParamSpec("P")
T = TypeVar("T")


class WorkerLost(Exception):
    """The process that had this in hand died."""


class Processes(Executor):
    """`count` processes, each started when it is first needed and started anew when it died.

    What is submitted is sent by pickle, so it is a function that can be imported. A future whose
    process died raises WorkerLost.
    """

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count)
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._open: set[subprocess.Popen[bytes]] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As `Executor.submit`."""
        return self._threads.submit(self._hand_over, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `Executor.shutdown`; with `cancel_futures` what is in hand is dropped as well."""
        if cancel_futures:
            self._close()
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        if wait:
            self._close()

    def _close(self) -> None:
        with self._lock:
            for process in self._open:
                _end(process)
            self._open.clear()

    @property
    def pids(self) -> Sequence[int]:
        """The processes that there are now."""
        with self._lock:
            return [process.pid for process in self._open if process.poll() is None]

    def _hand_over(self, fn: Callable[..., T], args: Any, kwargs: Any) -> T:
        process: subprocess.Popen[bytes] | None = getattr(self._mine, "process", None)
        if process is None or process.poll() is not None:
            process = self._mine.process = self._start()
        if process.stdin is None or process.stdout is None:
            raise WorkerLost("the process has no pipes")
        try:
            pickle.dump((fn, args, kwargs), process.stdin)
            process.stdin.flush()
            is_error, result = pickle.load(process.stdout)  # noqa: S301 - from a process of ours
        except (EOFError, OSError, pickle.UnpicklingError, ValueError):
            with self._lock:
                self._open.discard(process)
            _end(process)
            raise WorkerLost(f"process {process.pid} died") from None
        if is_error:
            raise result
        found: T = result
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        home = str(Path(__file__).parents[2])  # where this package is, however it was found
        path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        try:
            process = subprocess.Popen(  # noqa: S603 - this Python, this package
                [sys.executable, "-m", f"{__package__}.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for us to act on
            )
        except OSError as error:
            raise UsageError(f"no process can be started: {error.strerror}") from error
        with self._lock:
            self._open.add(process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:
            continue  # what it held was for a process that is no more
