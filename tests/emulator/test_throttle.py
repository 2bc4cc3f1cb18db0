"""Who asks for too much has to wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from smime_graph.emulator import Emulator, Request
from smime_graph.emulator.refusal import Refusal
from smime_graph.emulator.throttle import AT_ONCE, REQUESTS, UPLOADED, Throttle

from .conftest import Clock

TOKEN = (("Authorization", "Bearer x"),)


def ask(throttle: Throttle, who: str = "a", size: int = 0) -> tuple[int, str] | None:
    try:
        with throttle.admitted(who, size):
            return None
    except Refusal as refusal:
        return refusal.status, dict(refusal.headers)["Retry-After"]


def test_requests_are_counted_for_ten_minutes(clock: Clock) -> None:
    throttle = Throttle(clock)
    assert {ask(throttle) for _ in range(REQUESTS)} == {None}
    clock.now += 500
    assert ask(throttle) == (429, "100")
    assert ask(throttle, "b") is None
    clock.now += 100
    assert ask(throttle) is None


def test_octets_are_counted_for_five_minutes(clock: Clock) -> None:
    throttle = Throttle(clock)
    assert ask(throttle, size=UPLOADED) is None
    assert ask(throttle, size=1) == (429, "300")
    clock.now += 300
    assert ask(throttle, size=1) is None


def test_it_is_not_remembered_without_end_what_was_asked(clock: Clock) -> None:
    throttle = Throttle(clock)
    assert {ask(throttle, str(n)) for n in range(3000)} == {None}
    assert len(throttle._uses) <= 1000


def test_four_requests_run_at_once(make: Callable[..., Emulator]) -> None:
    emulator = make(throttles=True)
    throttle = emulator._rules.throttle
    assert throttle is not None
    request = Request("GET", "/v1.0/me/messages", TOKEN)
    statuses: list[int] = []
    asking = [
        threading.Thread(target=lambda: statuses.append(emulator.handle(request).status))
        for _ in range(AT_ONCE)
    ]
    (who,) = _asks(emulator, request)
    with emulator._store.transaction(write=True):  # they wait for it
        for one in asking:
            one.start()
        until = time.monotonic() + 30
        while throttle.running(who) < AT_ONCE:
            assert time.monotonic() < until
            time.sleep(0.001)
        refused = emulator.handle(request)
        other = emulator.handle(Request("GET", "/v1.0/me/messages", (("Authorization", "x"),)))
    for one in asking:
        one.join()
    assert statuses == [200] * AT_ONCE
    assert (refused.status, refused.header("Retry-After")) == (429, "1")
    assert b"Application is over its MailboxConcurrency limit." in refused.body
    assert other.status == 401, "that comes first"
    assert emulator.handle(request).status == 200


def _asks(emulator: Emulator, request: Request) -> list[object]:
    assert emulator.handle(request).status == 200
    throttle = emulator._rules.throttle
    return list(throttle._uses) if throttle else []
