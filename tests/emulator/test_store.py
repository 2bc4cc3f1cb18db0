"""The mailboxes: files, threads, processes."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import smime_graph
from smime_graph.emulator import Emulator, Request
from smime_graph.emulator.schema import STEPS
from smime_graph.emulator.store import Store
from smime_graph.errors import UsageError

from .conftest import Post

Mail = Callable[..., bytes]
Make = Callable[..., Emulator]
TOKEN = (("Authorization", "Bearer x"),)


def send(emulator: Emulator, raw: bytes) -> int:
    headers = (*TOKEN, ("Content-Type", "text/plain"))
    body = base64.b64encode(raw)
    return emulator.handle(Request("POST", "/v1.0/me/sendMail", headers, body)).status


def test_a_file_keeps_the_mailboxes(tmp_path: Path, make: Make, mail: Mail) -> None:
    data = tmp_path / "mail.db"
    with Emulator(data=data, mailboxes=["bob@contoso.com"], me="alice@contoso.com") as first:
        assert send(first, mail(to="bob@contoso.com, x@fabrikam.com")) == 202
        before = first.mailbox("bob@contoso.com").messages()
    second = make(data=data)
    assert second.mailbox("BOB@contoso.com").messages() == before
    assert [o.recipient for o in second.outbound] == ["x@fabrikam.com"]
    with pytest.raises(UsageError):
        second.mailbox("carol@contoso.com")


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("these are notes, and a database they are not\n" * 50)
    other = tmp_path / "other.db"
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE things (name)")
    database.commit()
    database.close()
    for path in (text, other, tmp_path, tmp_path / "no" / "such" / "folder.db"):
        content = path.read_bytes() if path.is_file() else None
        with pytest.raises(UsageError, match="mailbox file"):
            Emulator(data=path)
        assert content is None or path.read_bytes() == content


def test_settings_that_make_no_sense_are_refused() -> None:
    for settings in (
        {"profile": "dead"},
        {"reply_goes_to": "all"},
        {"reply_headers": "some"},
        {"token": ""},
        {"token": ["good", ""]},
        {"me": "alice"},
        {"mailboxes": ["a b@contoso.com"]},
    ):
        with pytest.raises(UsageError):
            Emulator(**settings)


def test_a_closed_emulator_says_so(mail: Mail) -> None:
    emulator = Emulator()
    emulator.close()
    emulator.close()
    with pytest.raises(UsageError, match="closed"):
        send(emulator, mail())


def test_many_threads_send_and_nothing_is_lost(make: Make, mail: Mail) -> None:
    emulator = make()

    def work(number: int) -> int:
        return send(
            emulator,
            mail(to="bob@contoso.com, carol@contoso.com", message_id=f"<{number}@contoso.com>"),
        )

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(80))) == {202}
    wanted = {f"<{n}@contoso.com>" for n in range(80)}
    for who, folder in (("alice", "sentitems"), ("bob", "inbox"), ("carol", "inbox")):
        found = emulator.mailbox(f"{who}@contoso.com").messages(folder)
        assert len(found) == 80
        assert {m.internet_message_id for m in found} == wanted


def test_a_draft_that_many_threads_send_is_sent_once(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    draft = post(client, "/me/messages", mail()).json()["id"]
    with ThreadPoolExecutor(8) as pool:
        paths = [f"/me/messages/{draft}/send"] * 16
        statuses = list(pool.map(lambda path: client.post(path).status_code, paths))
    assert sorted(statuses) == [202] + [404] * 15
    assert len(emulator.mailbox("bob@contoso.com").messages()) == 1


def test_a_send_that_fails_half_way_leaves_nothing(
    emulator: Emulator, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Store, "add_outbound", full)
    assert send(emulator, mail(to="bob@contoso.com, carol@contoso.com, x@fabrikam.com")) == 503
    monkeypatch.undo()
    for who in ("alice", "bob", "carol"):
        assert emulator.mailbox(f"{who}@contoso.com").messages(None) == ()
    assert send(emulator, mail()) == 202


def test_a_full_disk_is_said_to_be_full_and_is_not_waited_for(
    emulator: Emulator, mail: Mail
) -> None:
    headers = (*TOKEN, ("Content-Type", "text/plain"))
    body = base64.b64encode(mail("x" * 100_000, to="bob@contoso.com, carol@contoso.com"))
    database = emulator._store._db
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages + 30}")  # the first copy has room
    answer = emulator.handle(Request("POST", "/v1.0/me/sendMail", headers, body))
    assert answer.status == 507
    error = json.loads(answer.body)["error"]
    assert (error["code"], error["message"]) == (
        "ErrorQuotaExceeded",
        "The disk of the mailboxes is full.",
    )
    database.execute("PRAGMA max_page_count = 1000000")
    for who in ("alice", "bob", "carol"):
        assert emulator.mailbox(f"{who}@contoso.com").messages(None) == ()
    assert send(emulator, mail()) == 202


def test_a_file_that_cannot_grow_is_not_called_something_else(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys\n"
        "from smime_graph.emulator import Emulator\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "Emulator(data=sys.argv[1])\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "mail.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "cannot be used as a mailbox file" in done.stderr, done.stderr
    assert "not a mailbox file" not in done.stderr


PROCESS = """
import base64, sys
from smime_graph.emulator import Emulator, Request
name, data = sys.argv[1:]
headers = (("Authorization", "Bearer x"), ("Content-Type", "text/plain"))
with Emulator(data=data) as emulator:
    for number in range(15):
        fields = "From: alice@contoso.com", "To: bob@contoso.com", f"Message-ID: <{name}{number}@x>"
        raw = "\\r\\n".join((*fields, "", ""))
        body = base64.b64encode(raw.encode())
        answer = emulator.handle(Request("POST", "/v1.0/me/sendMail", headers, body))
        assert answer.status == 202, answer
"""


def test_two_processes_share_a_file(tmp_path: Path) -> None:
    data = tmp_path / "mail.db"
    root = Path(smime_graph.__file__).parent.parent
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, name, str(data)], cwd=root, stderr=subprocess.PIPE
        )
        for name in ("a", "b")
    ]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    with Emulator(data=data) as emulator:
        for who, folder in (("alice", "sentitems"), ("bob", "inbox")):
            found = emulator.mailbox(f"{who}@contoso.com").messages(folder)
            assert {m.internet_message_id for m in found} == {
                f"<{name}{n}@x>" for name in "ab" for n in range(15)
            }
            assert len(found) == 30
    database = sqlite3.connect(data)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_the_same_bytes_are_kept_once_and_no_longer_than_needed(tmp_path: Path, mail: Mail) -> None:
    data = tmp_path / "mail.db"
    crowd = ", ".join(f"p{n}@contoso.com" for n in range(30))
    with Emulator(data=data, open_mailboxes=True, me="alice@contoso.com") as emulator:
        assert send(emulator, mail(to=crowd, body="x" * 200_000)) == 202
        assert data.stat().st_size < 1_000_000
        for number in range(30):
            box = emulator.mailbox(f"p{number}@contoso.com")
            assert len(box.messages()) == 1
            for _ in range(2):  # into Deleted Items, and away
                (message,) = box.messages(None)
                path = f"/v1.0/users/{box.address}/messages/{message.id}"
                assert emulator.handle(Request("DELETE", path, TOKEN)).status == 204
        (sent,) = emulator.mailbox("alice@contoso.com").messages("sentitems")
        assert sent.raw.endswith(b"x" * 200_000)
        assert kept_in(data) == 2, "the bytes, and what is shown of them"
        for _ in range(2):
            (sent,) = emulator.mailbox("alice@contoso.com").messages(None)
            path = f"/v1.0/me/messages/{sent.id}"
            assert emulator.handle(Request("DELETE", path, TOKEN)).status == 204
        assert kept_in(data) == 0


def kept_in(data: Path) -> int:
    database = sqlite3.connect(data)
    (count,) = database.execute("SELECT count(*) FROM contents").fetchone()
    database.close()
    return int(count)


def test_a_planted_message_is_there(emulator: Emulator, mail: Mail) -> None:
    box = emulator.mailbox("alice@contoso.com")
    planted = box.put(mail(), folder="Drafts", item_id="AAMkCertain=")
    assert (planted.id, planted.folder, planted.is_draft) == ("AAMkCertain=", "drafts", True)
    for wrong in (
        lambda: box.put(mail(), item_id="AAMkCertain="),
        lambda: box.put(b"no header field"),
        lambda: box.put(mail(), folder="nowhere"),
        lambda: box.messages("nowhere"),
    ):
        with pytest.raises(UsageError):
            wrong()


def test_the_package_needs_no_httpx_until_a_transport_is_made() -> None:
    code = (
        "import sys; from smime_graph.emulator import Emulator; e = Emulator(); e.close(); "
        "loaded = {'httpx', 'anyio', 'http.server'} & set(sys.modules); "
        "ours = {m for m in sys.modules if m.startswith('smime_graph.')}; "
        "assert not loaded, loaded; "
        "assert not [m for m in ours if m.split('.')[1] in ('graph', 'pki', 'smime', 'cms')], ours"
    )
    root = Path(smime_graph.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=60)


def test_a_change_of_a_file_is_one_write_that_is_not_waited_for(tmp_path: Path) -> None:
    """That the disk has it: the process may end however it likes, and only the power must not."""
    with Emulator(data=tmp_path / "mail.db") as emulator:
        db = emulator._store._db
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (1,)  # NORMAL


def test_what_was_accepted_outlives_whoever_accepted_it(tmp_path: Path) -> None:
    code = (
        "import os, sys; from smime_graph.emulator import Emulator\n"
        "box = Emulator(data=sys.argv[1]).mailbox('alice@contoso.com')\n"
        "for number in range(20): box.put(b'From: a@b.c\\r\\n\\r\\n%d' % number)\n"
        "os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "mail.db"
    subprocess.run([sys.executable, "-c", code, path], check=False, timeout=60)
    with Emulator(data=path) as emulator:
        kept = emulator.mailbox("alice@contoso.com").messages()
    assert [one.raw[-2:].strip() for one in kept] == [b"%d" % number for number in range(20)]


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_a_new_mailbox_file_is_its_owners_alone(tmp_path: Path, mail: Callable[..., bytes]) -> None:
    before = os.umask(0)
    try:
        (tmp_path / "link").symlink_to(tmp_path / "behind")
        for name in ("new", "link"):
            with Emulator(data=tmp_path / name) as emulator:
                emulator.mailbox("alice@contoso.com").put(mail())
        (tmp_path / "shared").touch(0o640)  # as its owner made it
        with Emulator(data=tmp_path / "shared") as emulator:
            emulator.mailbox("alice@contoso.com").put(mail())
    finally:
        os.umask(before)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("new", "link", "shared")}
    assert modes == {"new": 0o600, "link": 0o600, "shared": 0o640}


def test_a_name_that_no_file_can_have_is_our_error() -> None:
    with pytest.raises(UsageError, match="mailbox file"):
        Emulator(data="a\0b")


@pytest.mark.parametrize(
    ("name", "said"), [("absent/x.db", "No such file"), (".", "Is a directory")]
)
def test_why_a_mailbox_file_cannot_be_opened(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        Store(tmp_path / name)
    assert "folder that you can write to" in (caught.value.hint or "")


@pytest.mark.parametrize("version", range(1, len(STEPS)))
def test_a_file_of_an_older_version_is_brought_up(tmp_path: Path, version: int) -> None:
    with Emulator() as emulator:
        emulator.mailbox("alice@contoso.com").put(b"From: a@b.c\r\n\r\nx\r\n")
        for name in ("one", "two"):
            emulator._store.folders.add(1, "msgfolderroot", name)
        tables = ("mailboxes", "contents", "messages", *(["folders"] if version > 3 else []))
        dump = {
            table: emulator._store._db.execute(f"SELECT * FROM {table}").fetchall()
            for table in tables
        }
    path = tmp_path / "mail.db"
    with sqlite3.connect(path) as db:
        for statement in (s for step in STEPS[:version] for s in step):
            db.execute(statement)
        for table, rows in dump.items():
            columns = len(db.execute(f"SELECT * FROM {table}").description)
            marks = ", ".join("?" * columns)
            db.executemany(f"INSERT INTO {table} VALUES ({marks})", [r[:columns] for r in rows])
        db.execute(f"PRAGMA application_id = {0x534D4745}")
        db.execute(f"PRAGMA user_version = {version}")
    db.close()
    with Emulator(data=path) as emulator:
        box = emulator.mailbox("alice@contoso.com")
        (message,) = box.messages()
        assert box.put_contact("Bob", "bob@contoso.com")
        headers = (("Authorization", "Bearer x"),)
        target = "/v1.0/users/alice@contoso.com/mailFolders/inbox/messages/delta"
        changed = json.loads(emulator.handle(Request("GET", target, headers)).body)["value"]
        assert [one["id"] for one in changed] == [message.id]
        target = "/v1.0/users/alice@contoso.com/mailFolders/delta"
        changed = json.loads(emulator.handle(Request("GET", target, headers)).body)["value"]
        made = ["one", "two"] if version > 3 else []
        assert [one["displayName"] for one in changed[7:]] == made
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
        db.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    db.close()
    with pytest.raises(UsageError):
        Emulator(data=path)


def test_an_open_mailbox_is_made_when_it_is_first_asked_for() -> None:
    """Before a request as well: to plant what the program under test shall find."""
    with Emulator(open_mailboxes=True) as emulator:
        assert emulator.mailbox("new@contoso.com").messages() == ()
        emulator.mailbox("new@contoso.com").put(b"From: a@b.example\r\n\r\nx\r\n")
        assert len(emulator.mailbox("new@contoso.com").messages()) == 1
        with pytest.raises(UsageError, match="there is none"):
            emulator.mailbox("no address")
    with Emulator(mailboxes=["alice@contoso.com"]) as emulator, pytest.raises(UsageError):
        emulator.mailbox("new@contoso.com")
