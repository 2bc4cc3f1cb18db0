"""The file of an outbox: its owner's alone, marked as ours, of a version, and never believed."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from smime_graph import Contacts
from smime_graph.errors import UsageError
from smime_graph.graph import Outbox, _queue_sqlite

from .test_outbox import message

# of mailbox, Message-ID and recipients, as the first version made it
KEY_OF_THE_FIRST_VERSION = hashlib.sha256(
    json.dumps(["me", "<m1@contoso.com>", '["bob@contoso.com"]']).encode()
).digest()


def test_the_file_is_its_owners_alone_and_says_what_it_is(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "outbox.db"
    with Outbox(path) as outbox:
        outbox.add(raw)
        made = {one.name: stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()}
        assert set(made.values()) == {0o600}
        assert {"outbox.db", "outbox.db-wal"} <= made.keys()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (0x534D474F,)
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("text", b"hello, this is a text\n", "is no outbox"),
        ("short", b"SQLite", "is no outbox"),
        ("contacts", None, "a database of something else"),
        ("broken", b"SQLite format 3\0" + bytes(84), "is no outbox, or damaged"),
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    path = tmp_path / name
    if content is None:
        Contacts(path).close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=said):
        Outbox(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_file_of_an_older_version_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "o.db"
    monkeypatch.setattr(_queue_sqlite, "_STEPS", _queue_sqlite._STEPS[:1])
    with Outbox(path) as outbox:
        outbox._queue._execute(
            "INSERT INTO messages (key, mailbox, message_id, recipients, via, size, state, created,"
            " changed, due) VALUES (:key, 'me', '<m1@contoso.com>', :people, 'auto', 9, 'queued',"
            " 1.0, 1.0, 1.0)",
            key=KEY_OF_THE_FIRST_VERSION,
            people='["bob@contoso.com"]',
        )
        outbox._queue._execute("INSERT INTO contents VALUES (1, :raw)", raw=message(1))
    monkeypatch.undo()
    with Outbox(path) as outbox:
        (found,) = outbox.messages()
        assert (found.action, found.original, found.state) == ("send", None, "queued")
        assert outbox.add(message(1)).id == found.id  # its key is what it was


def test_a_file_of_a_newer_version_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    Outbox(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 4")
    db.close()
    with pytest.raises(UsageError, match="version 4; this program knows 3"):
        Outbox(path)


@pytest.mark.parametrize("name", ["", ":memory:", "postgresql://x/y", "a\0b", "no/such/folder/o"])
def test_what_is_no_file_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        Outbox(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        *("recipients = 'x'", "recipients = '5'", "recipients = '[[1]]'", "recipients = '[1]'"),
        *("recipients = x'ff'", "created = 9e99", "created = 'abc'", "due = -9e99", "via = 5"),
        *("state = 'weird'", "mailbox = x'ff00'", "lease_until = 'z'", "error = x'00'"),
    ],
)
def test_a_row_that_no_outbox_wrote_is_said_to_be_damaged(tmp_path: Path, damage: str) -> None:
    with Outbox(tmp_path / "outbox.db") as outbox:
        outbox.add(message(1))
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        db.execute(f"UPDATE messages SET {damage}")
    db.close()
    with Outbox(tmp_path / "outbox.db") as outbox:
        for use in (outbox.messages, lambda: outbox.retry([1]), lambda: outbox.add(message(1))):
            with pytest.raises(UsageError, match="no outbox, or damaged"):
                use()


def test_a_damaged_attempt_is_said_to_be_one(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.db") as outbox:
        outbox.add(message(1))
        with sqlite3.connect(tmp_path / "outbox.db") as db:
            db.execute("INSERT INTO attempts VALUES (1, 1, 9e99, '', '', '')")
        db.close()
        with pytest.raises(UsageError, match="no outbox, or damaged"):
            outbox.messages()


@pytest.mark.parametrize("kind", [Outbox, Contacts])
def test_a_pipe_is_not_waited_for(tmp_path: Path, kind: Any) -> None:
    os.mkfifo(tmp_path / "pipe")
    raised: list[BaseException] = []

    def use() -> None:
        try:
            kind(tmp_path / "pipe")
        except UsageError as error:
            raised.append(error)

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(5)
    assert "is a pipe" in str(raised)
