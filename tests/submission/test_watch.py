"""Watching a folder: each message at least once, and nothing that one message does stops it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from smime_graph import (
    Arrival,
    AsyncGraphClient,
    CertificateRejected,
    Evidence,
    GraphError,
    GraphRefused,
    GraphThrottled,
    GraphUnreachable,
    MalformedMessage,
    Revocation,
    UsageError,
    WatchRun,
    watch,
    watch_async,
)
from smime_graph.authority.issue import CA
from smime_graph.smime import examine
from smime_graph.submission import watch as module

from .conftest import Watching, mail
from .kills import holds, prove


def test_what_comes_in_is_opened_and_handed_on_once(watching: Watching) -> None:
    watching.put(1, 2)
    assert watching.run() == WatchRun(handed=2, rejected=0, failed=0, gone=0, waiting=0)
    first, second = watching.taken
    assert first.accepted
    assert first.opened is not None
    assert first.opened.message.get_content() == "the figures\r\n"
    assert (first.handed_before, first.attempt, first.error) == ("no", 1, None)
    assert first.sender == "alice@contoso.com"
    assert first.raw == watching.box.messages()[0].raw
    found = json.loads(second.to_json())
    assert (found["verdict"], found["internetMessageId"]) == ("accepted", "<2@contoso.com>")
    assert (found["handed_before"], found["from"]) == ("no", "alice@contoso.com")
    first.write_to(watching.folder / "raw.eml")
    assert (watching.folder / "raw.eml").read_bytes() == first.raw
    watching.names()
    watching.put(3)
    assert watching.run().handed == 1
    assert watching.names() == ["<3@contoso.com>"]
    assert watching.run().handed == 0


def test_what_is_not_accepted_goes_where_it_is_told(
    watching: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    sealed = watching.sealed(1)
    for raw in (
        mail(2),  # unsigned
        sealed.replace(b"<1@", b"<3@").replace(b"pkcs7-mime", b"pkcs7-mime; x", 1)[:-400],
        b"From: a@b.c\r\nContent-Type: application/pkcs7-mime\r\n\r\nMIIB",
        b"X: " + b"\x00" * 2000,
        b"Subject: nothing else\r\n\r\n",
    ):
        watching.box.put(raw)
    watching.box.put(sealed)
    found = watching.run()
    assert (found.handed, found.rejected, found.waiting) == (1, 5, 0)
    assert watching.names() == ["<1@contoso.com>"]
    assert [one.accepted for one in watching.put_away] == [False] * 5
    assert all(one.error is not None and one.opened is None for one in watching.put_away)
    shown = json.loads(watching.put_away[0].to_json())
    assert (shown["verdict"], shown["error"]["type"]) == ("rejected", "SignatureInvalid")
    assert "smime.unsigned" in {one["code"] for one in shown["findings"]}
    watching.box.put(mail(4))
    assert watching.run(rejected=None).rejected == 1
    assert "message <4@contoso.com> is not accepted: " in caplog.text
    assert watching.run().rejected == 0


def test_whoever_is_not_believed_is_rejected_with_the_report(watching: Watching) -> None:
    watching.put(1)
    other = CA("Other Root", key="p256", at=watching.now)
    assert watching.run(trust=other.trust).rejected == 1
    (one,) = watching.put_away
    assert isinstance(one.error, CertificateRejected)
    assert one.report.signers


def test_what_fails_gets_it_again_later_and_later_while_others_go_on(
    watching: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    watching.put(1, 2, 3)

    def deliver(arrival: Arrival) -> None:
        watching.taken.append(arrival)
        if arrival.internet_message_id == "<2@contoso.com>":
            raise ValueError("no room\x1b[2J for <2>")

    found = watching.run(deliver=deliver)
    assert found == WatchRun(2, 0, 1, 0, waiting=1)
    assert found.due_at == watching.now + timedelta(seconds=10)
    assert found.error is not None
    assert found.error.startswith("ValueError: no room")
    assert watching.names() == ["<1@contoso.com>", "<2@contoso.com>", "<3@contoso.com>"]
    assert "<2@contoso.com> was not handed over, and is tried again in 10 s" in caplog.text
    assert "ValueError: no room\ufffd[2J" in caplog.text
    waits = []
    for attempt in range(2, 14):
        assert watching.run(deliver=deliver).waiting == 1
        assert watching.names() == []  # not yet
        for step in (10, 10, 20, 40, 80, 160, 320, 640, 1280, 1040):
            watching.later(step)
            watching.run(deliver=deliver)
            if watching.taken:
                break
        (one,) = watching.taken
        assert (one.handed_before, one.attempt) == ("failed", attempt)
        watching.names()
        waits.append(caplog.text.rpartition("is tried again in ")[2].partition(" s")[0])
    assert waits[:3] == ["20", "40", "80"]
    assert set(waits[-3:]) == {"3600"}
    watching.later(3600)
    assert watching.run() == WatchRun(1, 0, 0, 0, waiting=0)


class Killed(BaseException):
    """What ends a process in the middle of a call."""


def test_who_is_ended_while_handing_over_does_not_know_and_says_so(watching: Watching) -> None:
    watching.put(1, 2)

    def deliver(arrival: Arrival) -> None:
        watching.taken.append(arrival)
        raise Killed

    for expected in ("no", "unknown"):
        with pytest.raises(Killed):
            watching.run(deliver=deliver)
        (one,) = watching.taken
        assert (one.internet_message_id, one.handed_before) == ("<1@contoso.com>", expected)
        watching.names()
    # twice in the middle of the same: others come first
    assert watching.run() == WatchRun(1, 0, 0, 0, waiting=1)
    assert watching.names() == ["<2@contoso.com>"]
    watching.later(10)
    assert watching.run().handed == 1
    (one,) = watching.taken
    assert (one.handed_before, one.attempt) == ("unknown", 3)


def test_who_is_ended_before_handing_over_knows_that_it_was_not(watching: Watching) -> None:
    watching.put(1)

    def end(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("$value"):
            raise Killed
        return None

    watching.before = end
    with pytest.raises(Killed):
        watching.run()
    watching.before = lambda _: None
    watching.run()
    (one,) = watching.taken
    assert (one.handed_before, one.attempt) == ("no", 1)


def test_a_message_that_ends_whoever_opens_it_comes_last_and_then_is_not_opened(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching.put(1, 2)

    real: Any = examine.unseal

    def unseal(raw: Any, **given: Any) -> Any:
        if b"<1@" in bytes(raw.data):
            raise Killed
        return real(raw, **given)

    monkeypatch.setattr(module, "unseal", unseal)
    for wait, others in ((0, []), (0, []), (10, ["<2@contoso.com>"])):
        watching.later(wait)
        with pytest.raises(Killed):
            watching.run()
        assert watching.names() == others
    watching.later(20)
    assert watching.run().rejected == 1
    (one,) = watching.put_away
    assert "3 times the program ended" in str(one.error)
    assert one.raw == watching.box.messages()[0].raw


def test_a_bug_of_ours_in_opening_a_message_rejects_it_and_stops_nothing(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching.put(1, 2)
    real: Any = examine.unseal

    def unseal(raw: Any, **given: Any) -> Any:
        if b"<1@" in bytes(raw.data):
            raise RecursionError("in the secret text")
        return real(raw, **given)

    monkeypatch.setattr(module, "unseal", unseal)
    assert watching.run() == WatchRun(1, 1, 0, 0, 0)
    assert isinstance(watching.put_away[0].error, MalformedMessage)
    assert "RecursionError" in str(watching.put_away[0].error)
    assert "secret" not in watching.put_away[0].to_json()


def test_no_room_for_a_temporary_file_is_no_reason_to_reject(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching.put(1)

    def unseal(raw: Any, **_: Any) -> None:
        raise UsageError("no temporary file can be written")

    with monkeypatch.context() as patch:
        patch.setattr(module, "unseal", unseal)
        assert watching.run() == WatchRun(0, 0, 1, 0, waiting=1)
    watching.later(10)
    watching.run()
    (one,) = watching.taken
    assert one.handed_before == "no"


class Services:
    """Revocation services, which are away until there is a CRL."""

    def __init__(self) -> None:
        self.crl: bytes | None = None

    def inquire(self) -> Services:
        return self

    def evidence(self, *_: Any, **__: Any) -> Iterator[Evidence]:
        yield Evidence(fault="no answer") if self.crl is None else Evidence(crls=(self.crl,))

    def issuers(self, *_: Any, **__: Any) -> Evidence:
        return Evidence()


def test_while_a_revocation_service_is_away_nothing_is_rejected(
    watching: Watching, ca: CA, caplog: pytest.LogCaptureFixture
) -> None:
    services = Services()
    hard = Revocation(mode="hard", fetch=services)
    watching.put(1)
    assert watching.run(revocation=hard) == WatchRun(0, 0, 1, 0, waiting=1)
    assert "was not handed over" in caplog.text
    services.crl = ca.crl(at=watching.now)
    watching.later(10)
    assert watching.run(revocation=hard).handed == 1
    # but not for ever; nor where nobody is asked
    services.crl = None
    watching.put(2)
    for _ in range(20):
        watching.later(3600)
        watching.run(revocation=hard)
    (one,) = watching.put_away
    assert one.attempt == 11
    watching.put(3)
    assert watching.run(revocation=Revocation(mode="hard")).rejected == 1


# --- the folder -----------------------------------------------------------------------------------


def test_what_is_gone_before_it_was_seen_is_counted(watching: Watching) -> None:
    gone, _ = watching.put(1, 2)

    def before(request: httpx.Request) -> httpx.Response | None:
        if gone in request.url.path:
            error = {"code": "ErrorItemNotFound", "message": "x"}
            return httpx.Response(404, json={"error": error})
        return None

    watching.before = before
    assert watching.run() == WatchRun(1, 0, 0, 1, 0)


def test_a_draft_has_not_come_in(watching: Watching) -> None:
    watching.box.put(watching.sealed(1), folder="drafts")
    assert watching.run(folder="drafts") == WatchRun(0, 0, 0, 0, 0)


def test_what_graph_has_forgotten_is_read_anew_and_nothing_handed_on_again(
    watching: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    watching.put(1, 2)
    watching.run()
    watching.names()
    watching.put(3)
    asked: list[str] = []

    def before(request: httpx.Request) -> httpx.Response | None:
        if "token" in str(request.url.query):
            asked.append(str(request.url))
            if len(asked) == 1:
                error = {"code": "SyncStateNotFound", "message": "x"}
                return httpx.Response(410, json={"error": error})
        return None

    watching.before = before
    assert watching.run().handed == 1
    assert watching.names() == ["<3@contoso.com>"]
    assert "Graph has forgotten" in caplog.text

    def always(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(410, json={"error": {"code": "x", "message": "x"}})

    watching.before = always
    with pytest.raises(GraphRefused, match="410"):
        watching.run()


def test_a_link_to_another_host_gets_no_token_and_loses_nothing(watching: Watching) -> None:
    watching.put(1)
    answer = {"value": [], "@odata.deltaLink": "https://evil.example/v1.0/me"}
    watching.before = lambda _: httpx.Response(200, json=answer)
    with pytest.raises(GraphError, match="the next page is not on"):
        watching.run()
    assert {one.url.host for one in watching.requests} == {"graph.microsoft.com"}
    watching.before = lambda _: None
    assert watching.run().handed == 1


def test_many_pages_are_read_and_each_is_handed_on_before_the_next(watching: Watching) -> None:
    watching.put(*range(120))
    order: list[str] = []
    watching.before = lambda request: order.append(request.url.path.rpartition("/")[2])
    assert watching.run().handed == 120
    assert len(watching.names()) == 120
    looks = [place for place, one in enumerate(order) if one == "delta"]
    assert looks == [0, 51, 102]


def test_pages_that_bring_nothing_come_to_an_end(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IDLE_PAGES", 5)
    pages: list[int] = []

    def before(request: httpx.Request) -> httpx.Response:
        pages.append(1)
        link = f"https://graph.microsoft.com/v1.0/me/delta?$skiptoken={len(pages)}"
        return httpx.Response(200, json={"value": [], "@odata.nextLink": link})

    watching.before = before
    assert watching.run().handed == 0
    assert len(pages) == 5


# --- Graph is away --------------------------------------------------------------------------------


def test_one_message_that_cannot_be_fetched_stops_no_other(watching: Watching) -> None:
    bad, _, _ = watching.put(1, 2, 3)

    def before(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(500) if bad in request.url.path else None

    watching.before = before
    assert watching.run() == WatchRun(2, 0, 1, 0, waiting=1)
    watching.before = lambda _: None
    watching.later(10)
    watching.run()
    assert watching.taken[-1].handed_before == "no"


def answer_values(answer: httpx.Response, request: httpx.Request) -> httpx.Response | None:
    return answer if request.url.path.endswith("$value") else None


def test_where_none_can_be_fetched_it_is_graph(watching: Watching) -> None:
    watching.put(1, 2, 3, 4)

    def before(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(502) if request.url.path.endswith("$value") else None

    watching.before = before
    with pytest.raises(GraphRefused, match="502"):
        watching.run()
    fetched = [one for one in watching.requests if one.url.path.endswith("$value")]
    assert len({one.url.path for one in fetched}) == 3
    for status, code in ((401, "InvalidAuthenticationToken"), (403, "ErrorAccessDenied")):
        answer = httpx.Response(status, json={"error": {"code": code, "message": "x"}})
        watching.before = partial(answer_values, answer)
        with pytest.raises(GraphRefused, match=code):
            watching.run()
    watching.later(10)
    watching.before = lambda _: None
    assert watching.run().handed == 4
    assert all(one.handed_before == "no" for one in watching.taken)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_run_that_goes_on_waits_for_graph_and_ends_when_it_is_told(
    watching: Watching, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watching.put(1, 2)
    answers: list[httpx.Response | Exception] = [
        httpx.Response(503),
        httpx.Response(429, headers={"Retry-After": "999"}),
        httpx.ConnectError("x"),
    ]
    waits: list[float] = []

    def before(request: httpx.Request) -> httpx.Response | None:
        if not answers:
            return None
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    watching.before = before
    done: list[Arrival] = []
    stop = Event()

    def deliver(arrival: Arrival) -> None:
        done.append(arrival)
        if len(done) == 2:
            stop.set()

    kept = module._Watcher.wait_after

    def after(watcher: Any, error: GraphError) -> float:
        waits.append(kept(watcher, error))
        return 0.01

    monkeypatch.setattr(module._Watcher, "wait_after", after)
    given: dict[str, Any] = {
        "state": watching.folder / "watch.db",
        "deliver": deliver,
        "trust": watching.trust,
        "identities": [watching.bob],
        "at": watching.now,
        "stop": stop,
        "every": timedelta(seconds=1),
    }
    settings: dict[str, Any] = {
        "user": "bob@contoso.com",
        "retries": 0,
        "clock": lambda: watching.now.timestamp(),
    }
    if kind == "sync":
        with watching.client(retries=0) as graph:
            found = watch(graph, **given)
    else:

        async def run() -> WatchRun:
            async with AsyncGraphClient("token", transport=Async(watching), **settings) as graph:
                return await watch_async(graph, **given)

        found = asyncio.run(run())
    assert found == WatchRun(2, 0, 0, 0, 0)
    assert waits == [10.0, 300.0, 40.0]
    assert caplog.text.count("Graph cannot be asked") == 3


class Async(httpx.AsyncBaseTransport):
    """What `Watching` answers."""

    def __init__(self, watching: Watching) -> None:
        self._watching, self._inner = watching, watching.emulator.async_transport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As its counterpart."""
        return self._watching.before(request) or await self._inner.handle_async_request(request)


def test_a_task_that_is_cancelled_ends_what_it_has_begun(watching: Watching) -> None:
    watching.put(1, 2)
    begun = Event()

    def deliver(arrival: Arrival) -> None:
        begun.set()
        time.sleep(0.2)
        watching.taken.append(arrival)

    async def run() -> None:
        transport = Async(watching)
        async with AsyncGraphClient("t", user="bob@contoso.com", transport=transport) as graph:
            task = asyncio.create_task(
                watch_async(
                    graph,
                    state=watching.folder / "watch.db",
                    deliver=deliver,
                    trust=watching.trust,
                    identities=[watching.bob],
                    at=watching.now,
                )
            )
            await asyncio.to_thread(begun.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    assert watching.names() == ["<1@contoso.com>"]
    watching.later(60)
    assert watching.run().handed == 1
    assert [one.handed_before for one in watching.taken] == ["no"]
    assert watching.names() == ["<2@contoso.com>"]


def test_a_page_of_a_proxy_is_waited_out_and_a_refusal_is_not(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Event, "wait", lambda *_: None)
    watching.put(1)
    stop = Event()
    pages = [httpx.Response(200, text="<html>log in</html>")] * 5

    def before(_: httpx.Request) -> httpx.Response | None:
        return pages.pop() if pages else None

    watching.before = before
    assert watching.run(once=False, stop=stop, deliver=lambda _: stop.set()).handed == 1
    watching.before = lambda _: httpx.Response(200, text="<html>log in</html>")
    watching.requests.clear()
    watching.later(60)
    with pytest.raises(GraphError, match="Graph's answer"):
        watching.run(once=False)
    assert len(watching.requests) == 13
    watching.before = lambda _: httpx.Response(403)
    with pytest.raises(GraphRefused, match="403"):
        watching.run(once=False)


def test_once_says_at_once_that_graph_is_away(watching: Watching) -> None:
    watching.before = lambda _: httpx.Response(503)
    with pytest.raises(GraphRefused, match="503"):
        watching.run(settings={"retries": 0})
    watching.before = lambda _: httpx.Response(429, headers={"Retry-After": "999"})
    with pytest.raises(GraphThrottled):
        watching.run()

    def lost(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("x")

    watching.before = lost
    with pytest.raises(GraphUnreachable):
        watching.run()


def test_a_large_message_is_handed_on_and_never_in_memory(watching: Watching) -> None:
    watching.box.put(watching.sealed(1, "x" * 60 + "\r\n" + "line\r\n" * 500_000))
    kinds: list[type] = []

    def deliver(arrival: Arrival) -> None:
        assert arrival.opened is not None
        kinds.extend((type(arrival.octets), type(arrival.opened.inside)))
        arrival.opened.write_to(watching.folder / "large.eml")

    assert watching.run(deliver=deliver).handed == 1
    assert kinds == [memoryview, memoryview]
    assert (watching.folder / "large.eml").stat().st_size > 3_000_000


def test_settings_that_make_no_sense_are_refused(watching: Watching) -> None:
    for given in ({"every": timedelta(0)}, {"state": ":memory:"}, {"folder": "."}):
        with pytest.raises(UsageError):
            watching.run(**given)


@pytest.mark.slow
@pytest.mark.parametrize(("by", "messages", "kills"), [("exec", 60, 6), ("maildir", 21, 3)])
def test_who_is_killed_again_and_again_loses_nothing_and_says_what_comes_twice(
    tmp_path: Path, by: str, messages: int, kills: int
) -> None:
    """`scripts/prove watch` is the long form."""
    found = prove(tmp_path, messages=messages, kills=kills, by=by)
    print(found)
    assert holds(found), found
    assert found["killed"] == kills
    if by == "maildir":
        assert found["more than once"] == 0
