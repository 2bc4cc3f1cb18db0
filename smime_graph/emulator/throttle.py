"""How much an application may ask of a mailbox ("Throttling limits", Outlook service limits)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .refusal import Refusal

AT_ONCE = 4
REQUESTS, REQUESTS_IN = 10_000, 600.0
UPLOADED, UPLOADED_IN = 150 * 1024 * 1024, 300.0
_KEYS = 1000  # of whom it is remembered what they asked


@dataclass(slots=True)
class _Use:
    running: int = 0
    requests: int = 0
    requests_since: float = 0.0
    uploaded: int = 0
    uploaded_since: float = 0.0


class Throttle:
    """Counts what is asked, by whom. Any thread may use it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._uses: dict[object, _Use] = {}

    @contextmanager
    def admitted(self, who: object, size: int) -> Iterator[None]:
        """Let a request of `size` octets run; raises `Refusal` where there are too many.

        What is refused counts as well, as on Graph.
        """
        with self._lock:
            use = self._use_of(who)
            self._count(use, size)
            if use.running >= AT_ONCE:
                raise _refusal("MailboxConcurrency", 1)
            use.running += 1
        try:
            yield
        finally:
            with self._lock:
                use.running -= 1

    def running(self, who: object) -> int:
        """How many requests run at this moment."""
        with self._lock:
            return self._uses[who].running if who in self._uses else 0

    def _use_of(self, who: object) -> _Use:
        if who not in self._uses and len(self._uses) >= _KEYS:
            idle = next((key for key, use in self._uses.items() if not use.running), None)
            if idle is not None:
                del self._uses[idle]
        return self._uses.setdefault(who, _Use())

    def _count(self, use: _Use, size: int) -> None:
        now = self._clock()
        if now - use.requests_since >= REQUESTS_IN:
            use.requests, use.requests_since = 0, now
        if now - use.uploaded_since >= UPLOADED_IN:
            use.uploaded, use.uploaded_since = 0, now
        use.requests += 1
        use.uploaded += size
        # the names of these two limits are ours
        if use.requests > REQUESTS:
            raise _refusal("MailboxRequests", use.requests_since + REQUESTS_IN - now)
        if use.uploaded > UPLOADED:
            raise _refusal("MailboxUpload", use.uploaded_since + UPLOADED_IN - now)


def _refusal(limit: str, seconds: float) -> Refusal:
    return Refusal(
        429,
        "ApplicationThrottled",
        f"Application is over its {limit} limit.",
        headers=(("Retry-After", str(max(1, round(seconds)))),),
    )
