"""Clients of Graph by other hands, unmodified, with the emulator that is served."""

from __future__ import annotations

import email
import email.policy
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smime_graph import CA, TrustStore, seal, unseal
from smime_graph.authority.tls import server_context
from smime_graph.emulator import Emulator, Fault
from smime_graph.pki.keyfiles.read import armour

TOKEN = "the-token"
MODULES = Path(__file__).parents[1] / "interop" / "node_modules"
MESSAGE = (
    b"From: Alice <alice@contoso.com>\r\nTo: Bob <bob@contoso.com>\r\nSubject: sealed\r\n"
    b"Message-ID: <sealed@contoso.com>\r\n\r\nthe figures\r\n"
)
BOB, ALICE = "bob@contoso.com", "alice@contoso.com"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(token=TOKEN, me=ALICE, mailboxes=[BOB]) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def sealed() -> tuple[bytes, Any]:
    """A message, and what it is when Bob has opened it."""
    ca = CA(key="p256")
    alice, bob = (ca.issue(one, key="p256") for one in (ALICE, BOB))
    trust = TrustStore.from_pem(ca.trust_pem)
    raw = seal(MESSAGE, signer=alice, recipients=[bob.contact])
    return raw, lambda got: unseal(got, identities=[bob], trust=trust).content


def subjects(emulator: Emulator, address: str, folder: str = "inbox") -> list[str]:
    return [one.subject for one in emulator.mailbox(address).messages(folder)]


@pytest.mark.slow
def test_microsoft_graph_client_for_javascript(
    emulator: Emulator, sealed: tuple[bytes, Any], tmp_path: Path
) -> None:
    if shutil.which("node") is None or not (MODULES / "@microsoft").is_dir():
        pytest.skip("microsoft-graph-client is not there: npm install --prefix tests/interop")
    raw, opened = sealed
    emulator.mailbox(BOB).put(MESSAGE.replace(b"sealed", b"planted"))
    tls, authority = server_context()
    (tmp_path / "ca.pem").write_bytes(armour(authority))
    with emulator.serve(tls=tls) as server:
        emulator.faults.add(Fault.throttled(retry_after=1), on="GET */mailfolders/drafts")
        done = subprocess.run(
            [
                "node",
                Path(__file__).with_name("graph_client.mjs"),
                MODULES,
                f"{server.url}/",
                TOKEN,
            ],
            input=raw,
            env={**os.environ, "NODE_EXTRA_CA_CERTS": str(tmp_path / "ca.pem")},
            capture_output=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == {
        "draft": "<sealed@contoso.com>",
        "uploaded": True,
        "subjects": ["written", "sealed", "planted"],
        "same": True,
        "error": [404, "ErrorItemNotFound", True],
        "folder": "Drafts",
    }
    got = {one.subject: one.raw for one in emulator.mailbox(BOB).messages()}
    written = email.message_from_bytes(got["written"], policy=email.policy.default)
    (attached,) = written.iter_attachments()
    assert attached.get_content().startswith(b"large large")
    assert opened(got["sealed"]).endswith(b"the figures\r\n")
    (draft,) = emulator.mailbox(ALICE).messages("drafts")
    assert draft.raw == raw
    throttled = [one.status for one in emulator.log if one.target.endswith("mailFolders/drafts")]
    assert throttled == [429, 200], "it waits, and asks again"
    assert TOKEN not in "".join(one.target for one in emulator.log)


@pytest.fixture
def account(emulator: Emulator) -> Iterator[Any]:
    client = pytest.importorskip("O365", reason="O365 is in the extra test")
    from O365.utils import BaseTokenBackend

    class Known(BaseTokenBackend):  # type: ignore[misc]
        """The place of its tokens: one is there."""

        def load_token(self) -> bool:
            return True

        def get_access_token(self, *, username: str | None = None) -> dict[str, str]:
            return {"secret": TOKEN}

    with emulator.serve() as server:

        class Emulated(client.MSGraphProtocol):  # type: ignore[misc,name-defined]
            _protocol_url = f"{server.url}/"

        account = client.Account(
            ("a-client", "a-secret"), protocol=Emulated(timezone="UTC"), token_backend=Known()
        )
        yield account
        account.con.session.close()


@pytest.mark.slow
def test_o365(emulator: Emulator, account: Any, sealed: tuple[bytes, Any], tmp_path: Path) -> None:
    raw, opened = sealed
    for message in (raw, MESSAGE.replace(b"sealed", b"planted")):
        emulator.mailbox(ALICE).put(message)
    box = account.mailbox()
    assert [one.subject for one in box.inbox_folder().get_messages()] == ["planted", "sealed"]
    query = box.new_query().equals("subject", "sealed")
    (message,) = box.get_messages(query=query)
    assert message.get_mime_content() == raw
    assert opened(message.get_mime_content()).endswith(b"the figures\r\n")
    assert message.mark_as_read()

    draft = box.new_message()
    draft.to.add(BOB)
    draft.subject, draft.body = "written", "<p>by the client</p>"
    assert draft.save_draft()
    assert subjects(emulator, ALICE, "drafts") == ["written"]
    assert draft.send()
    (tmp_path / "a.txt").write_text("attached")
    quick = box.new_message()
    quick.to.add(BOB)
    quick.subject = "quick"
    quick.attachments.add(str(tmp_path / "a.txt"))
    assert quick.send()
    reply = message.reply(to_all=False)
    reply.body = "by the client as well"
    assert reply.send()

    assert subjects(emulator, BOB) == ["written", "quick"]
    assert subjects(emulator, ALICE, "sentitems") == ["written", "quick", "RE: sealed"]
    assert b"a.txt" in emulator.mailbox(BOB).messages()[1].raw
    read = {one.subject: one.is_read for one in emulator.mailbox(ALICE).messages()}
    assert read == {"sealed": True, "planted": False, "RE: sealed": False}
