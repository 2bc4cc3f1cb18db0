"""What goes wrong on the way, on request."""

from __future__ import annotations

import base64
import email
import email.policy
import time
from collections.abc import Callable

import anyio
import httpx
import pytest

from smime_graph.emulator import Emulator, Fault
from smime_graph.emulator.faults import NAMED
from smime_graph.errors import UsageError

from .conftest import Clock, Post

Mail = Callable[..., bytes]
Connect = Callable[..., httpx.Client]


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


# --- by name --------------------------------------------------------------------------------------

AUTH_ENVELOPED = (
    "application/pkcs7-mime; name=smime.p7m;\r\n smime-type=authEnveloped-data",
    "MIAGCyqGSIb3DQEJEAEX\r\n",
)


def test_a_request_asks_for_its_own_fault(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    def ask(fault: str) -> httpx.Response:
        return post(client, "/me/sendMail", mail(), **{"x-emulator-fault": fault})

    emulator.faults.script(Fault.expired_token())
    throttled = ask("throttled=7")
    assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "7")
    assert ask("gateway-timeout").status_code == 504
    with pytest.raises(httpx.RemoteProtocolError):
        ask("cut-after")
    assert received(emulator) == 2
    for wrong in ("", "rain", "throttled=x", "throttled:2", "slow=9999"):
        refused = ask(wrong)
        assert refused.status_code == 400
        assert "x-emulator-fault" in refused.json()["error"]["message"]
    assert received(emulator) == 2
    assert post(client, "/me/sendMail", mail()).status_code == 401, "the script was not touched"


def test_who_has_no_token_asks_for_no_fault(emulator: Emulator, connect: Connect) -> None:
    answer = connect(emulator, token=None).get("/me", headers={"x-emulator-fault": "slow=3600"})
    assert answer.status_code == 401
    assert emulator.log[-1].fault is None


def test_a_fault_can_be_switched_on_by_name(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    faults = emulator.faults
    for text in ("unavailable=3:2", "throttled:all"):
        faults.switch_on(text)
    assert [(one.fault.name, one.times) for one in faults.coming] == [
        ("unavailable", 2),
        ("throttled", None),
    ]
    answers = [post(client, "/me/sendMail", mail()) for _ in range(5)]
    assert [one.status_code for one in answers] == [503, 503, 429, 429, 429]
    assert answers[0].headers["Retry-After"] == "3"
    assert faults.pending == 1, "until it is cleared"
    faults.clear()
    assert faults.coming == ()
    assert post(client, "/me/sendMail", mail()).status_code == 202
    for wrong in ("", "rain", "slow:0", "slow:-1", "slow:x", "slow=x", "slow=4000", "slow:1:2"):
        with pytest.raises(UsageError, match=r"fault|seconds"):
            faults.switch_on(wrong)
    assert faults.coming == ()


@pytest.mark.parametrize("name", NAMED)
def test_every_named_fault_is_of_its_name(name: str) -> None:
    assert Fault.named(name).name == name
    assert Fault.named(f"{name}=2").name == name
    assert NAMED[name].what


def test_what_is_too_large_may_seem_to_be_accepted(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    emulator.faults.switch_on("oversized-accepted")
    assert post(client, "/me/sendMail", mail()).status_code == 202
    large = mail("x" * emulator.request_limit)
    assert post(client, "/me/sendMail", large).status_code == 200
    assert post(client, "/me/sendMail", large).status_code == 413
    assert received(emulator) == 1


def test_only_a_send_is_late_in_sent_items(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail, clock: Clock
) -> None:
    emulator.faults.switch_on("sent-items-late=60")
    assert client.get("/me/messages").status_code == 200
    assert post(client, "/me/messages", mail()).status_code == 201
    assert post(client, "/me/sendMail", mail()).status_code == 202
    assert emulator.faults.pending == 0
    assert emulator.mailbox("alice@contoso.com").messages("sentitems") == ()
    clock.now += 61
    assert len(emulator.mailbox("alice@contoso.com").messages("sentitems")) == 1


def test_auth_enveloped_data_may_arrive_as_an_attachment(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    kind, body = AUTH_ENVELOPED
    sealed = mail(
        body,
        mime_version="1.0",
        content_type=kind,
        content_transfer_encoding="base64",
        bcc="carol@contoso.com",
    )
    fault = {"x-emulator-fault": "auth-enveloped-broken"}
    assert post(client, "/me/sendMail", sealed, **fault).status_code == 202
    assert post(client, "/me/sendMail", mail(), **fault).status_code == 202
    assert post(client, "/me/sendMail", sealed).status_code == 202
    broken, plain, kept = emulator.mailbox("bob@contoso.com").messages()
    assert b"multipart" not in plain.raw
    assert b"authEnveloped-data" in kept.raw.partition(b"\r\n\r\n")[0]
    read = email.message_from_bytes(broken.raw, policy=email.policy.default)
    assert (read.get_content_type(), read["Subject"], read["Bcc"]) == (
        "multipart/mixed",
        "greetings",
        None,
    )
    text, attached = read.iter_parts()
    assert text.get_content().strip() == ""
    assert attached["Content-Type"].params["smime-type"] == "authEnveloped-data"
    assert attached.get_payload(decode=True) == base64.b64decode(body)
    assert len(emulator.mailbox("carol@contoso.com").messages()) == 2
    (sent, _, _) = emulator.mailbox("alice@contoso.com").messages("sentitems")
    assert sent.bcc == ("carol@contoso.com",)


def test_it_may_break_for_everyone(make: Callable[..., Emulator], connect: Connect) -> None:
    emulator = make(auth_enveloped="broken", open_mailboxes=True)
    kind, body = AUTH_ENVELOPED
    head = f"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nContent-Type: {kind}\r\n\r\n{body}"
    sent = connect(emulator).post(
        "/me/sendMail",
        content=base64.b64encode(head.encode()),
        headers={"Content-Type": "text/plain"},
    )
    assert sent.status_code == 202
    (message,) = emulator.mailbox("bob@contoso.com").messages()
    assert b"multipart/mixed" in message.raw
    with pytest.raises(UsageError, match="auth_enveloped"):
        make(auth_enveloped="odd")


def test_what_is_no_fault_and_no_list_is_said_at_once(emulator: Emulator) -> None:
    for give in (emulator.faults.add, emulator.faults.script):
        for wrong in ("slow", Fault):
            with pytest.raises(UsageError, match="wanted a Fault") as caught:
                give(wrong)  # type: ignore[arg-type]
            assert "switch_on" in str(caught.value.hint)
    assert emulator.faults.coming == ()
    with pytest.raises(UsageError, match="mailboxes is a list, not str"):
        Emulator(mailboxes="alice@contoso.com")
