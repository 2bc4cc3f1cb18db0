"""Files of our own in SQLite: made, migrated, refused; `Contacts` and the outbox have theirs."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from smime_graph import UsageError
from smime_graph.database import Database

FIRST = "CREATE TABLE things (name TEXT NOT NULL)"
SECOND = "ALTER TABLE things ADD COLUMN size INTEGER; CREATE INDEX sizes ON things (size)"


def opened(path: Path, steps: Sequence[str] = (FIRST,)) -> Database:
    return Database(path, what="inventory", application=7, steps=steps)


def columns(path: Path) -> list[str]:
    db = sqlite3.connect(path)
    try:
        return [row[1] for row in db.execute("PRAGMA table_info(things)")]
    finally:
        db.close()


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new"
    opened(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert columns(path) == ["name"]


def test_an_older_one_is_migrated_and_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "old"
    old = opened(path)
    with old._changing():
        old._db.execute("INSERT INTO things VALUES ('cup')")
    old.close()
    new = opened(path, (FIRST, SECOND))
    with new._reading():
        assert new._db.execute("SELECT name, size FROM things").fetchall() == [("cup", None)]
    new.close()
    with pytest.raises(UsageError, match="is an inventory of version 2; this program knows 1"):
        opened(path)
    assert columns(path) == ["name", "size"]


def test_a_folder_that_is_not_there_is_no_name_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be used: unable to open"):
        opened(tmp_path / "missing" / "new")


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "old"
    opened(path).close()
    with pytest.raises(UsageError, match="cannot be used"):
        opened(path, (FIRST, f"{SECOND}; CREATE TABLE things (x)"))
    assert columns(path) == ["name"]
    opened(path).close()


def test_many_at_once_make_one(tmp_path: Path) -> None:
    path, faults = tmp_path / "new", []

    def open_it() -> None:
        try:
            opened(path, (FIRST, SECOND)).close()
        except UsageError as error:
            faults.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not faults
    assert columns(path) == ["name", "size"]


def another_s(path: Path) -> None:
    db = sqlite3.connect(path)
    db.executescript("CREATE TABLE theirs (x); PRAGMA application_id = 8")
    db.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (another_s, "a database of something else"),
        (lambda path: path.write_bytes(b"a letter to the bank"), "is no inventory"),
        (lambda path: path.write_bytes(b"x"), "is no inventory"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(4000)), "damaged"),
    ],
)
def test_what_is_none_of_ours_is_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "theirs"
    make(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=said):
        opened(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "no" / "folder", Path("a\0b")):
        with pytest.raises(UsageError):
            opened(path)


def test_a_change_that_fails_is_none(tmp_path: Path) -> None:
    db = opened(tmp_path / "new")

    def change() -> None:
        with db._changing():
            db._db.execute("INSERT INTO things VALUES ('cup')")
            raise KeyError

    with pytest.raises(KeyError):
        change()
    with db._reading():
        assert db._db.execute("SELECT * FROM things").fetchall() == []
    db.close()
    with pytest.raises(UsageError, match="closed"), db._reading():
        pass
