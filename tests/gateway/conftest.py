"""A gateway in a thread, with people whose mail it seals."""

from __future__ import annotations

import queue
import shutil
import smtplib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from smime_graph import CA, EXCHANGE, Contacts, Identity, Opened, Outbox, TrustStore, unseal
from smime_graph.authority.issue import write_identity
from smime_graph.emulator import Emulator
from smime_graph.gateway.holding import Holding
from smime_graph.gateway.sealing import Sealer
from smime_graph.gateway.server import Gateway, Listening, Submitting
from smime_graph.graph import GraphClient


def mail(to: str = "bob@contoso.com", *, sender: str = "alice@contoso.com", more: str = "") -> str:
    return (
        f"From: {sender}\r\nTo: {to}\r\nSubject: Figures\r\n"
        f"Message-ID: <1@contoso.com>\r\n{more}\r\nthe figures\r\n"
    )


@dataclass
class People:
    folder: Path
    ca: CA
    alice: Identity
    dora: Identity
    bob: Identity
    carol: Identity


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> People:
    """Alice and Dora send; certificates of Bob and Carol are in the book."""
    folder = tmp_path_factory.mktemp("people")
    ca = CA("Test Root", key="p256")
    found = {one: ca.issue(f"{one}@contoso.com", key="p256") for one in ("alice", "bob", "carol")}
    found["dora"] = ca.issue("dora@contoso.com", key="p256", use="sign")
    (folder / "keys").mkdir()
    for name, identity in found.items():
        at = folder / "keys" if name in ("alice", "dora") else folder
        write_identity(identity, at, name=name)
    (folder / "roots.pem").write_bytes(ca.trust_pem)
    with Contacts(folder / "book.db") as book:
        book.add([found["bob"].certificate, found["carol"].certificate])
    return People(folder, ca, found["alice"], found["dora"], found["bob"], found["carol"])


@pytest.fixture
def people(made: People, tmp_path: Path) -> People:
    """A copy of the folder, to write into."""
    folder = tmp_path / "people"
    shutil.copytree(made.folder, folder)
    return People(folder, made.ca, made.alice, made.dora, made.bob, made.carol)


@dataclass
class Running:
    """A gateway that runs; `emulator` is None where Graph is away."""

    people: People
    gateway: Gateway
    outbox: Outbox
    port: int
    emulator: Emulator | None

    def connect(self, **options: Any) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.port, timeout=20, **options)

    def send(self, raw: str | bytes, *to: str, sender: str = "alice@contoso.com") -> str:
        """The answer to the message: 250, or raises what smtplib raises."""
        with self.connect() as client:
            client.ehlo("test")
            client.mail(sender)
            for one in to or ("bob@contoso.com",):
                client.rcpt(one)
            code, text = client.data(raw)
        return f"{code} {text.decode()}"

    def stored(self) -> list[bytes]:
        """What lies in the outbox, the oldest first."""
        rows = self.outbox._queue.rows()
        return [self.outbox._queue.content(row) for row, _ in rows]

    def opened(self, raw: bytes, whose: Identity) -> Opened:
        trust = TrustStore.from_pem(self.people.ca.trust_pem)
        return unseal(raw, identities=[whose], trust=trust)


Start = Callable[..., Running]


@pytest.fixture
def start(people: People, tmp_path: Path) -> Iterator[Start]:
    """Starts a gateway. Graph is away unless `graph` is true."""
    with ExitStack() as stack:

        def run(
            *,
            graph: bool = False,
            rule: Any = "refuse",
            held: Path | None = None,
            size_limit: int = 4 * 1024 * 1024,
            user: str | None = None,
            port: int = 0,
            **listening: Any,
        ) -> Running:
            emulator = stack.enter_context(Emulator(open_mailboxes=True)) if graph else None
            where: Any = (
                {"transport": emulator.transport()}
                if emulator
                else {"url": "http://127.0.0.1:9/v1.0", "timeout": 1.0}
            )
            client = stack.enter_context(GraphClient("token", **where))
            outbox = stack.enter_context(Outbox(tmp_path / "outbox.db"))
            gateway = Gateway(
                Sealer(
                    [people.alice, people.dora],
                    book=str(people.folder / "book.db"),
                    trust=None,
                    policy=EXCHANGE,
                ),
                outbox,
                client,
                listening=Listening("127.0.0.1", port, **listening),
                submitting=Submitting(user, "text-plain", size_limit, rule),
                holding=None if held is None else Holding(str(held)),
            )
            told: queue.Queue[int | BaseException] = queue.Queue()

            def serve() -> None:
                try:
                    gateway.run(lambda _host, number: told.put(number))
                except BaseException as error:  # noqa: BLE001 - raised where it is started
                    told.put(error)

            thread = threading.Thread(target=serve)
            thread.start()

            def end() -> None:
                gateway.stop()
                thread.join(60)
                assert not thread.is_alive()

            stack.callback(end)
            got = told.get(timeout=30)
            if isinstance(got, BaseException):
                raise got
            return Running(people, gateway, outbox, got, emulator)

        yield run
