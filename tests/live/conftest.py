"""The mailbox that is asked: the emulator's on loopback, and a real one if the environment has it.

Both are spoken to by the same code, over a socket. README.md says how to name a real one.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from smime_graph import GraphClient, StoredMessage
from smime_graph.emulator import Emulator

TOKEN, MAILBOX = "SMIME_GRAPH_LIVE_TOKEN_FILE", "SMIME_GRAPH_LIVE_MAILBOX"
USER, URL, RECORD = (f"SMIME_GRAPH_LIVE_{one}" for one in ("USER", "URL", "RECORD"))
TAGS = ("", "reply-to", "named", "blind", "cc")
EMULATED_LIMIT = 512 * 1024  # of a request: the emulator's own would make the test a long one
MISSING = (
    f"no mailbox of real Graph is named: {TOKEN} and {MAILBOX} are not set (tests/live/README.md)"
)


def targets() -> tuple[str, ...]:
    """What is asked: real Graph only if both the token and the mailbox are named."""
    return (
        ("emulator", "graph")
        if os.environ.get(TOKEN) and os.environ.get(MAILBOX)
        else ("emulator",)
    )


def tagged(mailbox: str, tag: str) -> str:
    """An address of the same mailbox: Exchange Online delivers alice+tag@ to alice@."""
    local, _, domain = mailbox.partition("@")
    return f"{local}+{tag}@{domain}" if tag else mailbox


@dataclass
class Target:
    """A mailbox, and what it answered to the questions of the tests."""

    name: str
    mailbox: str
    graph: GraphClient
    http: httpx.Client
    patience: float
    largest: int  # octets of a request that is tried at most
    emulator: Emulator | None = None
    answers: dict[str, Any] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def address(self, tag: str = "") -> str:
        assert tag in TAGS
        return tagged(self.mailbox, tag)

    def message(self, body: str = "x\r\n", **fields: str) -> tuple[str, bytes]:
        """A message to oneself with a Message-ID of its own, that is taken away afterwards."""
        message_id = f"<live-{uuid.uuid4()}@{self.mailbox.partition('@')[2]}>"
        self.made.append(message_id)
        header = {
            "From": self.mailbox,
            "To": self.mailbox,
            "Subject": "smime-graph asks",
            "Message-ID": message_id,
            **{name.replace("_", "-"): value for name, value in fields.items()},
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in header.items())
        return message_id, f"{lines}\r\n{body}".encode()

    def answered(self, question: str, answer: Any, *, emulated: Any) -> None:
        """Note an answer. The emulator's is known: a conversation that is never held here would
        not be known to run.
        """
        self.answers[question] = answer
        if self.emulator is not None:
            assert answer == emulated, question

    def request(self, method: str, path: str, **how: Any) -> httpx.Response:
        """One request as it is, below the mailbox."""
        return self.http.request(method, path, **how)

    def copy(self, message_id: str, folder: str) -> StoredMessage:
        """The copy in a folder, as soon as it is there."""
        end = time.monotonic() + self.patience
        while True:
            for one in self.graph.list(folder, internet_message_id=message_id):
                return one
            assert time.monotonic() < end, f"no copy of {message_id} in {folder}"
            time.sleep(min(1.0, self.patience / 10))

    def recipients(self, message_id: str) -> dict[str, list[str]]:
        """Whom the copy in Sent Items went to, by the field."""
        sent = self.copy(message_id, "sentitems")
        names = ("toRecipients", "ccRecipients", "bccRecipients")
        shown = self.request("GET", f"messages/{sent.id}", params={"$select": ",".join(names)})
        assert shown.status_code == 200, shown.text
        return {
            name: sorted(one["emailAddress"]["address"].lower() for one in shown.json()[name])
            for name in names
        }

    def clear(self) -> None:
        """Take away what the tests have made, and nothing else."""
        for message_id in self.made:
            for one in self.graph.list(top=20, internet_message_id=message_id):
                self.graph.delete(one.id)


def _client(url: str, user: str, token: str) -> httpx.Client:
    whose = "me" if user == "me" else f"users/{user}"
    headers = {"Authorization": f"Bearer {token}", "Prefer": 'IdType="ImmutableId"'}
    return httpx.Client(base_url=f"{url}/{whose}/", headers=headers, timeout=120.0)


@pytest.fixture(scope="session")
def emulated() -> Iterator[Target]:
    mailbox = "alice@contoso.com"
    people = [tagged(mailbox, one) for one in TAGS]
    made = Emulator(mailboxes=people, me=mailbox, token="token", request_limit=EMULATED_LIMIT)
    with made as emulator, emulator.serve() as server:
        url = f"{server.url}/v1.0"
        with (
            GraphClient("token", url=url, size_limit=None) as graph,
            _client(url, "me", "token") as http,
        ):
            target = Target("emulator", mailbox, graph, http, 5.0, 1 << 20, emulator)
            yield target
            target.clear()
            # nobody but this mailbox got anything
            assert emulator.outbound == ()


@pytest.fixture(scope="session")
def real() -> Iterator[Target]:
    """Tokens last an hour; they are read from a file, so that none is in a list of processes."""
    mailbox, user = os.environ[MAILBOX], os.environ.get(USER, "me")
    token = Path(os.environ[TOKEN]).read_text().strip()
    url = os.environ.get(URL, "https://graph.microsoft.com/v1.0").rstrip("/")
    with (
        GraphClient(token, user=user, url=url, size_limit=None) as graph,
        _client(url, user, token) as http,
    ):
        target = Target("graph", mailbox, graph, http, 120.0, 48 << 20)
        try:
            yield target
        finally:
            target.clear()
            text = json.dumps({"url": url, "answers": target.answers}, indent=2, sort_keys=True)
            print(f"\n{text}")
            if os.environ.get(RECORD):
                Path(os.environ[RECORD]).write_text(text + "\n")


@pytest.fixture(params=targets())
def target(request: pytest.FixtureRequest) -> Target:
    found: Target = request.getfixturevalue("real" if request.param == "graph" else "emulated")
    return found
