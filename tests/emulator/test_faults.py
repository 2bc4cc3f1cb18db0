"""What goes wrong on the way, on request."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
import httpx
import pytest

from smime_graph.emulator import Emulator, Fault
from smime_graph.errors import UsageError

from .conftest import Clock, Post

Mail = Callable[..., bytes]


def received(emulator: Emulator) -> int:
    return len(emulator.mailbox("bob@contoso.com").messages())


def test_throttling_says_when_to_come_back(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    emulator.faults.add(Fault.throttled(retry_after=7), on="POST */sendMail", times=2)
    for _ in range(2):
        response = post(client, "/me/sendMail", mail())
        assert response.status_code == 429
        assert response.headers["Retry-After"] == "7"
        assert response.json()["error"]["code"] == "ApplicationThrottled"
        assert (
            response.json()["error"]["innerError"]["request-id"] == response.headers["request-id"]
        )
    assert received(emulator) == 0
    assert post(client, "/me/sendMail", mail()).status_code == 202
    assert received(emulator) == 1
    assert emulator.faults.pending == 0


@pytest.mark.parametrize(
    ("fault", "status", "carried_out"),
    [
        (Fault.unavailable(), 503, False),
        (Fault.unavailable(retry_after=3), 503, False),
        (Fault.unavailable(carried_out=True), 503, True),
        (Fault.gateway(), 503, True),
        (Fault.gateway(503, carried_out=False), 503, False),
        (Fault.gateway(429, retry_after=1), 429, True),
        (Fault.gateway(200, carried_out=False), 200, False),
        (Fault.gateway_timeout(), 504, True),
        (Fault.gateway_timeout(carried_out=False), 504, False),
        (Fault.expired_token(), 401, False),
        (Fault.answer(500, code="InternalServerError"), 500, False),
        (Fault.answer(200), 200, False),
    ],
)
def test_an_answer_can_be_wrong_about_what_happened(
    emulator: Emulator,
    client: httpx.Client,
    post: Post,
    mail: Mail,
    fault: Fault,
    status: int,
    carried_out: bool,
) -> None:
    emulator.faults.script(fault)
    response = post(client, "/me/sendMail", mail())
    assert response.status_code == status
    assert received(emulator) == carried_out
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
    assert ("<html>" in response.text) == (fault.name == "gateway")
    assert response.headers["Date"].startswith("Wed, 18 Nov 2026 11:06:40")
    assert post(client, "/me/sendMail", mail()).status_code == 202


@pytest.mark.parametrize(
    ("fault", "error", "carried_out"),
    [
        (Fault.connection_refused(), httpx.ConnectError, False),
        (Fault.cut_before(), httpx.RemoteProtocolError, False),
        (Fault.cut_after(), httpx.RemoteProtocolError, True),
    ],
)
def test_a_connection_can_break(
    emulator: Emulator,
    client: httpx.Client,
    post: Post,
    mail: Mail,
    fault: Fault,
    error: type[Exception],
    carried_out: bool,
) -> None:
    emulator.faults.add(fault)
    with pytest.raises(error):
        post(client, "/me/sendMail", mail())
    assert received(emulator) == carried_out
    (entry,) = emulator.log
    assert (entry.status, entry.fault) == (None, fault.name)


def test_a_slow_answer_is_late_and_the_request_carried_out(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    emulator.faults.script(Fault.slow(0.05), Fault.slow(3600))
    begin = time.monotonic()
    assert post(client, "/me/sendMail", mail()).status_code == 202
    assert time.monotonic() - begin >= 0.05
    client.timeout = httpx.Timeout(0.05)
    with pytest.raises(httpx.ReadTimeout):
        post(client, "/me/sendMail", mail())
    assert received(emulator) == 2
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_slow_answer_does_not_block_the_loop(
    emulator: Emulator, anyio_backend: str
) -> None:
    emulator.faults.script(Fault.slow(0.3))
    done = []
    async with httpx.AsyncClient(
        transport=emulator.async_transport(),
        base_url="https://graph.microsoft.com/v1.0",
        headers={"Authorization": "Bearer x"},
    ) as client:

        async def get(name: str) -> None:
            response = await client.get("/me/messages")
            done.append((name, response.status_code))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, "slow")
            while not emulator.log:
                await anyio.sleep(0.001)
            await get("quick")
    assert done == [("quick", 200), ("slow", 200)]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_asynchronous_transport_breaks_in_the_same_ways(
    emulator: Emulator, anyio_backend: str
) -> None:
    emulator.faults.script(Fault.connection_refused(), Fault.cut_after(), Fault.slow(60))
    async with httpx.AsyncClient(
        transport=emulator.async_transport(), headers={"Authorization": "Bearer x"}, timeout=0.05
    ) as client:
        for error in (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadTimeout):
            with pytest.raises(error):
                await client.get("https://graph.microsoft.com/v1.0/me/messages")


def test_one_send_can_be_late_in_sent_items(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail, clock: Clock
) -> None:
    emulator.faults.add(Fault.sent_items_late(5))
    for _ in range(2):
        assert post(client, "/me/sendMail", mail()).status_code == 202
    alice = emulator.mailbox("alice@contoso.com")
    assert len(alice.messages("sentitems")) == 1
    clock.now += 5
    assert len(alice.messages("sentitems")) == 2


def test_a_fault_strikes_where_and_when_it_was_told_to(
    emulator: Emulator, client: httpx.Client
) -> None:
    emulator.faults.add(Fault.answer(500), on="get /ME/mailfolders/*", after=1, times=2)
    statuses = [client.get(f"/me/mailFolders/{f}").status_code for f in ["inbox"] * 4]
    assert statuses == [200, 500, 500, 200]
    emulator.faults.script(None, Fault.answer(502), None)
    emulator.faults.add(Fault.answer(503), on="GET /me/messages")
    assert emulator.faults.pending == 2
    statuses = [client.get("/me/messages").status_code for _ in range(5)]
    assert statuses == [200, 502, 200, 503, 200]
    emulator.faults.add(Fault.throttled(), times=3)
    emulator.faults.clear()
    assert emulator.faults.pending == 0
    assert client.get("/me/messages").status_code == 200


def test_a_copy_is_made_by_the_clock_of_the_server_whatever_its_date_says(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail, clock: Clock
) -> None:
    raw = mail(date="Thu, 01 Jan 1998 00:00:00 +0000")
    draft = post(client, "/me/messages", raw, Prefer='IdType="ImmutableId"').json()["id"]
    clock.now += 10
    assert post(client, "/me/sendMail", raw).status_code == 202
    clock.now += 10
    assert client.post(f"/me/messages/{draft}/send").status_code == 202
    emulator.mailbox("alice@contoso.com").put(raw)  # as a stranger may send it in
    answer = client.get(
        "/me/mailFolders/sentitems/messages",
        params={
            "$filter": "internetMessageId eq '<1@contoso.com>'",
            "$select": "createdDateTime,sentDateTime,toRecipients,isDraft",
        },
    )
    assert answer.headers["Date"] == "Wed, 18 Nov 2026 11:07:00 GMT"
    found = sorted(answer.json()["value"], key=lambda item: item["createdDateTime"])
    assert [item["createdDateTime"] for item in found] == [
        "2026-11-18T11:06:40Z",  # the draft was made first and sent last
        "2026-11-18T11:06:50Z",
    ]
    assert {item["sentDateTime"] for item in found} == {"1998-01-01T00:00:00Z"}


def test_faults_that_make_no_sense_are_refused(emulator: Emulator) -> None:
    for wrong in (
        lambda: Fault.slow(-1),
        lambda: Fault.slow(float("nan")),
        lambda: Fault.sent_items_late(1e9),
        lambda: Fault.answer(99),
        lambda: Fault.gateway(600),
        lambda: emulator.faults.add(Fault.cut_after(), times=0),
        lambda: emulator.faults.add(Fault.cut_after(), after=-1),
    ):
        with pytest.raises(UsageError):
            wrong()
