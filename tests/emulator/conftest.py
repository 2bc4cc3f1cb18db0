"""Emulators and plain httpx clients for them; everything is closed at the end of a test."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from smime_graph.emulator import Emulator

Post = Callable[..., httpx.Response]


class Clock:
    """Unix seconds that stand still until a test moves them."""

    def __init__(self) -> None:
        self.now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Iterator[Callable[..., Emulator]]:
    with ExitStack() as stack:

        def make(**settings: Any) -> Emulator:
            return stack.enter_context(Emulator(**{"clock": clock, **settings}))

        yield make


@pytest.fixture
def emulator(make: Callable[..., Emulator]) -> Emulator:
    return make(me="alice@contoso.com", mailboxes=["bob@contoso.com", "carol@contoso.com"])


@pytest.fixture
def connect() -> Iterator[Callable[..., httpx.Client]]:
    with ExitStack() as stack:

        def connect(emulator: Emulator, *, token: str | None = "a-token") -> httpx.Client:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            client = httpx.Client(
                transport=emulator.transport(),
                base_url="https://graph.microsoft.com/v1.0",
                headers=headers,
            )
            return stack.enter_context(client)

        yield connect


@pytest.fixture
def client(emulator: Emulator, connect: Callable[..., httpx.Client]) -> httpx.Client:
    return connect(emulator)


@pytest.fixture
def post() -> Post:
    """Submit a message the way live Graph wants it: base64 in text/plain."""

    def post(client: httpx.Client, path: str, message: bytes, **headers: str) -> httpx.Response:
        return client.post(
            path,
            content=base64.b64encode(message),
            headers={"Content-Type": "text/plain", **headers},
        )

    return post


@pytest.fixture
def mail() -> Callable[..., bytes]:
    """Write a small message; every keyword is a header field."""

    def mail(body: str = "hello\r\n", *, newline: str = "\r\n", **fields: str) -> bytes:
        fields = {
            "from_": "Alice <alice@contoso.com>",
            "to": "bob@contoso.com",
            "subject": "greetings",
            "message_id": "<1@contoso.com>",
            **fields,
        }
        lines = [
            f"{name.strip('_').replace('_', '-').title()}: {value}"
            for name, value in fields.items()
            if value
        ]
        return (newline.join(lines) + newline * 2 + body).encode()

    return mail
