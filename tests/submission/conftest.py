"""A mailbox that is watched: the emulator, with a clock that is set, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from smime_graph import (
    Arrival,
    Contact,
    GraphClient,
    Identity,
    TrustStore,
    WatchRun,
    seal,
    watch,
)
from smime_graph.emulator import Emulator


def mail(number: int, body: str = "the figures") -> bytes:
    return (
        f"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: {number}\r\n"
        f"Message-ID: <{number}@contoso.com>\r\nContent-Type: text/plain\r\n\r\n{body}\r\n"
    ).encode()


@dataclass
class Watching(httpx.BaseTransport):
    """Bob's mailbox, and a run of `watch` on it. `before` is asked what to answer instead of the
    emulator, which answers where it says nothing.
    """

    emulator: Emulator
    folder: Path
    alice: Identity
    bob: Identity
    trust: TrustStore
    now: datetime
    before: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
    taken: list[Arrival] = field(default_factory=list)
    put_away: list[Arrival] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._inner = self.emulator.transport()
        self.box = self.emulator.mailbox("bob@contoso.com")

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As the emulator, unless `before` knows better."""
        self.requests.append(request)
        answer = self.before(request)
        return self._inner.handle_request(request) if answer is None else answer

    def sealed(self, number: int, body: str = "the figures") -> bytes:
        recipients = [Contact(self.bob.certificate)]
        return seal(mail(number, body), signer=self.alice, recipients=recipients, at=self.now)

    def put(self, *numbers: int) -> list[str]:
        """Sealed messages in Bob's inbox; their ids."""
        return [self.box.put(self.sealed(one)).immutable_id for one in numbers]

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def client(self, **settings: Any) -> GraphClient:
        return GraphClient(
            "token",
            user="bob@contoso.com",
            transport=self,
            clock=lambda: self.now.timestamp(),
            sleep=lambda _: None,
            **settings,
        )

    def run(self, **given: Any) -> WatchRun:
        """One run of all that is due; what is taken and put away is noted."""
        arguments: dict[str, Any] = {
            "state": self.folder / "watch.db",
            "deliver": self.taken.append,
            "rejected": self.put_away.append,
            "trust": self.trust,
            "identities": [self.bob],
            "once": True,
            "at": self.now,
        }
        settings = given.pop("settings", {})
        with self.client(**settings) as graph:
            return watch(graph, **(arguments | given))

    def names(self) -> list[str | None]:
        """The Message-IDs of what was taken, since this was last asked."""
        found = [one.internet_message_id for one in self.taken]
        self.taken.clear()
        return found


@pytest.fixture
def watching(
    tmp_path: Path, alice: Identity, bob: Identity, trust: TrustStore, now: datetime
) -> Iterator[Watching]:
    clock = [now.timestamp()]
    with Emulator(open_mailboxes=True, clock=lambda: clock[0]) as emulator:
        made = Watching(emulator, tmp_path, alice, bob, trust, now)
        yield made
