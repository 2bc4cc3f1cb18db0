"""How much is asked of a mailbox at once and in a time: what Exchange allows, kept unasked. No I/O.

Exchange answers what is above with 429, and counts that as well ("Throttling limits").
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import unquote

from ..errors import UsageError
from ._wire import SENDS, Request

log = logging.getLogger("smime_graph")

_MAILBOX = re.compile(r"[^?]*?/(?:me|users(?:/[^/?]+|\([^)?]*\)))(?=[/?]|\Z)")
_PIECES = 100  # of a window: what was asked for within one of them leaves it together
_MINUTE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphLimits:
    """What a client asks of one mailbox at most. None: as much as there is.

    `at_once` requests at the same time; `requests` within `request_window`, and `upload` bytes of
    their bodies within `upload_window`: what would be more waits for its turn. Those are what
    Exchange allows to an app for a mailbox. `messages_a_minute`: more than so many is a warning to
    the logger and nothing else; Exchange delivers what is above 30 later.
    """

    at_once: int = 4
    requests: int | None = 10_000
    request_window: timedelta = timedelta(minutes=10)
    upload: int | None = 150_000_000
    upload_window: timedelta = timedelta(minutes=5)
    messages_a_minute: int | None = 30

    def __post_init__(self) -> None:
        for name in ("at_once", "requests", "upload", "messages_a_minute"):
            value = getattr(self, name)
            if value is None and name != "at_once":
                continue
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} is {value!r}, wanted a number above 0")
        for name in ("request_window", "upload_window"):
            window = getattr(self, name)
            if not isinstance(window, timedelta) or window <= timedelta(0):
                raise UsageError(f"{name} is {window!r}, wanted a time above 0")


EXCHANGE = GraphLimits()


class _Window:
    """How much was taken within the latest seconds: not less than it was."""

    def __init__(self, limit: int | None, window: timedelta) -> None:
        self._limit, self._seconds = limit, window.total_seconds()
        self._taken: deque[tuple[float, float, int]] = deque()  # of a piece: begin, end, how much
        self._sum = 0

    def take(self, now: float, amount: int) -> float:
        """0 where there is room for so much, and it is taken; otherwise the seconds until there is.
        What is too much alone has room where nothing else is.
        """
        if self._limit is None or not amount:
            return 0.0
        while self._taken and self._taken[0][1] + self._seconds <= now:
            self._sum -= self._taken.popleft()[2]
        if self._taken and self._sum + amount > self._limit:
            return self._until(amount) - now
        begin, before = now, 0
        if self._taken and now - self._taken[-1][0] < self._seconds / _PIECES:
            begin, _, before = self._taken.pop()
        self._taken.append((begin, now, before + amount))
        self._sum += amount
        return 0.0

    def _until(self, amount: int) -> float:
        left, until = self._sum, 0.0
        for _, end, one in self._taken:
            left, until = left - one, end + self._seconds
            if left + amount <= (self._limit or 0):
                break
        return until


class _Box:
    def __init__(self, limits: GraphLimits) -> None:
        self.requests = _Window(limits.requests, limits.request_window)
        self.upload = _Window(limits.upload, limits.upload_window)
        self.messages = _Window(limits.messages_a_minute, timedelta(seconds=60))
        self.warned: float | None = None


class Pace:
    """Counts what is asked of each mailbox; for any thread. `ticks` gives seconds of a clock that
    nobody sets.
    """

    def __init__(self, limits: GraphLimits, ticks: Callable[[], float]) -> None:
        self._limits, self._ticks = limits, ticks
        self._lock = threading.Lock()
        self._boxes: dict[str, _Box] = {}

    def wait(self, place: str, request: Request) -> float:
        """Seconds until the request to that mailbox may be made; 0: now, and then it is counted."""
        now, size = self._ticks(), len(request.body)
        with self._lock:
            box = self._boxes.get(place) or self._boxes.setdefault(place, _Box(self._limits))
            # what waits for the second is counted by the first once more: rather too much
            wait = box.requests.take(now, 1) or box.upload.take(now, size)
            sends = not wait and request.url.rpartition("/")[2] in SENDS
            if sends and box.messages.take(now, 1):
                self._warn(box, now, place)
        return wait

    def _warn(self, box: _Box, now: float, place: str) -> None:
        if box.warned is None or now - box.warned >= _MINUTE:
            box.warned = now
            log.warning(
                "more than %s messages within a minute from %s: Exchange delivers what is above 30"
                " later",
                self._limits.messages_a_minute,
                unquote(place.rpartition("/")[2]),
            )


def mailbox_of(request: Request) -> str:
    """The part of its address that names the mailbox."""
    found = _MAILBOX.match(request.url)
    return found[0] if found else request.url.partition("?")[0]
