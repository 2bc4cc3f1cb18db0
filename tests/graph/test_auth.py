"""Tokens: from five kinds of credential, kept, renewed once after a 401, and shown to nobody."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from smime_graph.errors import GraphError, GraphRefused, GraphUnreachable, UsageError
from smime_graph.graph import TokenSource
from smime_graph.graph._wire import NeedToken, Request

from .conftest import Driver

NOW = 1_800_000_000.0
SCOPE = "https://graph.microsoft.com/.default"


class Credential:
    """Gives tokens one, two, ... each good for an hour of the test's clock."""

    def __init__(self, lifetime: Any = 3600.0) -> None:
        self.scopes: list[Any] = []
        self.lifetime = lifetime
        self.now: Callable[[], float] = lambda: NOW
        self.thread: threading.Thread | None = None

    def get_token(self, *scopes: Any, **kwargs: Any) -> Any:
        self.scopes.append(scopes)
        self.thread = threading.current_thread()
        return SimpleNamespace(
            token=f"secret-{len(self.scopes)}", expires_on=self.now() + self.lifetime
        )


class AsyncCredential(Credential):
    async def get_token(self, *scopes: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return Credential.get_token(self, *scopes, **kwargs)


def seen(call: Driver, credential: Any, times: Any = 1, **settings: Any) -> Any:
    """The Authorization headers of some requests through one client, and of no other."""
    headers = []

    def handler(request: httpx.Request) -> httpx.Response:
        headers.append(request.headers["authorization"])
        return httpx.Response(200, json={"value": [], "@odata.nextLink": str(request.url)})

    call(handler, "list", credential=credential, settings=settings)
    return headers[:times]


def test_each_kind_of_credential_gives_its_token(call: Driver) -> None:
    assert seen(call, "plain") == ["Bearer plain"]
    assert seen(call, " plain\n") == ["Bearer plain"]
    assert seen(call, lambda: "called") == ["Bearer called"]
    assert seen(call, Credential()) == ["Bearer secret-1"]

    async def coroutine() -> Any:
        return "awaited"

    for credential, token in ((coroutine, "awaited"), (AsyncCredential(), "secret-1")):
        if call.kind == "async":
            assert seen(call, credential) == [f"Bearer {token}"]
        else:
            with pytest.raises(UsageError, match="asynchronous") as caught:
                seen(call, credential)
            assert "AsyncGraphClient" in caught.value.hint


def test_the_scope_is_that_of_the_host(call: Driver) -> None:
    for settings, host in (
        ({}, "graph.microsoft.com"),
        ({"cloud": "china"}, "microsoftgraph.chinacloudapi.cn"),
        ({"url": "http://localhost:8025/v1.0"}, "localhost"),
    ):
        credential = Credential()
        seen(call, credential, **settings)
        assert credential.scopes == [(f"https://{host}/.default",)]


def test_a_token_is_kept_until_shortly_before_it_expires(call: Driver) -> None:
    credential = Credential()
    assert set(seen(call, credential, times=200)) == {"Bearer secret-1"}

    clock = [NOW]
    source = TokenSource(credential, scope=SCOPE, clock=lambda: clock[0])
    first = source.token()
    clock[0] = NOW + 3600 - 301
    assert source.token() == first
    clock[0] = NOW + 3600 - 299
    assert source.token() != first


def test_a_function_that_gives_strings_is_asked_every_time(call: Driver) -> None:
    numbers = iter(range(1000))
    headers = seen(call, lambda: f"t{next(numbers)}", times=3)
    assert headers == ["Bearer t0", "Bearer t1", "Bearer t2"]


def test_a_function_may_give_a_token_with_its_expiry(call: Driver) -> None:
    credential = Credential()
    assert set(seen(call, credential.get_token, times=5)) == {"Bearer secret-1"}


def renewing(*good: Any) -> Any:
    requests = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request.headers["authorization"].removeprefix("Bearer "))
        return httpx.Response(202 if requests[-1] in good else 401)

    return handler, requests


def test_a_401_gets_one_new_token_and_one_more_try(call: Driver, raw: bytes) -> None:
    handler, requests = renewing("secret-2")
    assert call(handler, "send", raw, credential=Credential()).status == "accepted"
    assert requests == ["secret-1", "secret-2"]

    handler, requests = renewing()
    with pytest.raises(GraphRefused) as caught:
        call(handler, "send", raw, credential=Credential())
    assert caught.value.status == 401
    assert requests == ["secret-1", "secret-2"]


def test_a_401_is_not_repeated_with_the_same_token(call: Driver, raw: bytes) -> None:
    for credential in ("only", lambda: "only"):
        handler, requests = renewing()
        with pytest.raises(GraphRefused):
            call(handler, "send", raw, credential=credential)
        assert requests == ["only"]


def test_many_threads_fetch_one_token_and_renew_it_once() -> None:
    class Slow(Credential):
        def get_token(self, *scopes: Any, **kwargs: Any) -> Any:
            time.sleep(0.02)
            return super().get_token(*scopes, **kwargs)

    credential = Slow()
    source = TokenSource(credential, scope=SCOPE, clock=lambda: NOW)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: source.token(), range(50))) == {"secret-1"}
        assert set(pool.map(lambda _: source.token("secret-1"), range(50))) == {"secret-2"}
    assert len(credential.scopes) == 2


def test_many_tasks_fetch_one_token_and_renew_it_once() -> None:
    credential = AsyncCredential()
    source = TokenSource(credential, scope=SCOPE, clock=lambda: NOW)

    async def ask(rejected: str | None) -> set[str]:
        return set(await asyncio.gather(*(source.token_async(rejected) for _ in range(50))))

    assert asyncio.run(ask(None)) == {"secret-1"}
    assert asyncio.run(ask("secret-1")) == {"secret-2"}  # and in another loop
    assert len(credential.scopes) == 2


def test_a_blocking_credential_does_not_block_the_event_loop() -> None:
    credential = Credential()
    source = TokenSource(credential, scope=SCOPE, clock=lambda: NOW)
    assert asyncio.run(source.token_async()) == "secret-1"
    assert credential.thread is not threading.main_thread()


@pytest.mark.parametrize("bad", ["", "  ", "Bearer abc", "a\r\nX-Evil: 1", "tökén", None, 5, b"x"])
def test_what_is_no_token_is_refused_unseen(call: Driver, bad: Any) -> None:
    for credential in (bad, lambda: bad, lambda: SimpleNamespace(token=bad, expires_on=NOW)):
        with pytest.raises(UsageError) as caught:
            seen(call, credential)
        assert "X-Evil" not in str(caught.value)
        assert "abc" not in str(caught.value)


@pytest.mark.parametrize("until", [None, "soon", float("nan"), float("inf"), 10**400])
def test_a_token_without_a_usable_expiry_is_refused(call: Driver, until: Any) -> None:
    with pytest.raises(UsageError, match="expires_on"):
        seen(call, lambda: SimpleNamespace(token="secret", expires_on=until))


def test_a_credential_that_fails_is_our_error_and_keeps_its_words_to_itself(
    call: Driver, raw: bytes
) -> None:
    def broken() -> None:
        raise RuntimeError("password=hunter2")

    def nothing(request: httpx.Request) -> httpx.Response:
        raise AssertionError("a request was made")

    with pytest.raises(GraphError, match="RuntimeError") as caught:
        call(nothing, "send", raw, credential=broken)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    assert not isinstance(caught.value, GraphUnreachable)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_token_shows_in_no_repr(raw: bytes) -> None:
    from smime_graph.graph import GraphClient

    source = TokenSource("hush-hush", scope=SCOPE)
    kept = TokenSource(Credential(), scope=SCOPE, clock=lambda: NOW)
    kept.token()
    with GraphClient("hush-hush") as client:
        shown = [
            repr(client),
            repr(source),
            repr(kept),
            repr(vars(kept)),
            repr(Request("GET", "https://x", token="hush-hush", body=b"hush-hush")),
            repr(NeedToken(rejected="hush-hush")),
        ]
    for text in shown:
        assert "hush" not in text
        assert "secret-1" not in text


ECHOED = "eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJodHRwczovL2dyYXBoIn0.c2lnbmF0dXJl_-c2lnbmF0dXJl"
QUOTES = {
    "the header": f"bad header Authorization: Bearer {ECHOED}",
    "the token alone": ECHOED,
    "in upper case": f"AUTHORIZATION: BEARER {ECHOED.upper()}",
    "cut at its end": f"got 'Bearer {ECHOED[:50]}'...",
    "cut at its beginning": f"...{ECHOED[-40:]}",
    "wrapped": "\r\n ".join(ECHOED[n : n + 20] for n in range(0, 90, 20)),
    "escaped": f"Authorization%3A%20Bearer%20{ECHOED}",
    "twice, far apart": ECHOED + "x" * 380 + ECHOED,
    "many times": f"{ECHOED} " * 200,
}


def answers_with(quote: str, status: int) -> Iterator[Any]:
    """Every place of an answer that a text of ours may be made from."""
    error = {"code": "x", "message": "y"}
    plain = quote.replace("\r\n", "")
    for body in (
        {"error": {**error, "message": quote}},
        {"error": {**error, "code": quote}},
        {"error": {**error, "innerError": {"request-id": quote}}},
        {"error": {**error, "innererror": {"request-id": quote}}},
    ):
        yield httpx.Response(status, json=body)
    for name in ("request-id", "content-type", "location", "retry-after", "www-authenticate"):
        yield httpx.Response(status, headers={name: plain}, content=b"x")
    yield httpx.Response(status, html=f"<pre>{quote}</pre>")


@pytest.mark.parametrize("quote", QUOTES.values(), ids=QUOTES)
@pytest.mark.parametrize("status", [200, 201, 202, 302, 400, 401, 403, 404, 429, 500, 503])
def test_an_answer_that_quotes_our_token_puts_it_into_no_text(
    call: Driver, raw: bytes, caplog: pytest.LogCaptureFixture, quote: str, status: int
) -> None:
    assert len(ECHOED) > 60
    caplog.set_level("DEBUG", logger="smime_graph")
    shown = []
    calls = [("list", ()), ("fetch", ("id",)), ("send", (raw,)), ("draft", (raw,))]
    for answer in answers_with(quote, status):

        def handler(request: httpx.Request, answer: httpx.Response = answer) -> httpx.Response:
            return httpx.Response(
                answer.status_code, headers=answer.headers, content=answer.content
            )

        for method, args in calls:
            try:
                result = call(
                    handler,
                    method,
                    *args,
                    credential=ECHOED,
                    settings={"retries": 0},
                )
            except GraphError as error:
                shown.append("".join(traceback.format_exception(error)))
                shown.append(f"{error!r} {error.hint} {vars(error)}")
            else:
                if method != "fetch":  # whose bytes are those of the message, whatever they are
                    shown.append(repr(result))
    assert len(shown) > 15
    for text in (*shown, caplog.text):
        for start in range(len(ECHOED) - 12):
            assert ECHOED[start : start + 12].lower() not in text.lower()


def test_what_surrounds_the_token_in_a_quotation_stays(call: Driver) -> None:
    message = f"bad Authorization: Bearer {ECHOED}, wanted another"

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": {"code": "Bad", "message": message}})

    with pytest.raises(GraphRefused) as caught:
        call(handler, "list", credential=ECHOED)
    assert caught.value.message == "bad Authorization: Bearer ***, wanted another"
    assert (caught.value.code, caught.value.status) == ("Bad", 400)


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b'{"error": {"message": ""}}'])
def test_a_refused_token_is_said_to_be_one(call: Driver, raw: bytes, body: Any) -> None:
    for method, args in (("list", ()), ("send", (raw,)), ("draft", (raw,)), ("send_draft", ("i",))):
        with pytest.raises(GraphRefused, match="the token was refused") as caught:
            call(lambda request: httpx.Response(401, content=body), method, *args)
        assert caught.value.status == 401
        assert "https://graph.microsoft.com/.default" in str(caught.value.hint)


def test_a_token_that_is_refused_while_a_send_is_looked_up_is_said_to_be(
    call: Driver, raw: bytes
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(504 if request.method == "POST" else 401)

    with pytest.raises(GraphUnreachable, match="the token was refused") as caught:
        call(handler, "send", raw)
    assert caught.value.maybe_sent


def test_a_source_that_has_another_token_is_asked_once_for_it(call: Driver, raw: bytes) -> None:
    """Whatever the second answer is: a service that refuses them all is not asked on and on."""
    for method, args in (("list", ()), ("send", (raw,)), ("draft", (raw,))):
        tokens = iter(f"token-number-{n}" for n in range(100))
        handler, requests = renewing()
        with pytest.raises(GraphRefused):
            call(handler, method, *args, credential=lambda tokens=tokens: next(tokens))
        assert requests == ["token-number-0", "token-number-1"]


def test_azure_cores_own_types_fit(call: Driver) -> None:
    core = pytest.importorskip(
        "azure.core.credentials", reason="azure-core (extra test) is not installed"
    )

    class Azure:
        def get_token(
            self,
            *scopes: Any,
            claims: Any = None,
            tenant_id: Any = None,
            enable_cae: Any = False,
            **kwargs: Any,
        ) -> Any:
            return core.AccessToken("from-azure", int(NOW) + 3600)

    assert seen(call, Azure()) == ["Bearer from-azure"]
