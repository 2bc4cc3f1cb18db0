"""The file of a watch: one process at a time, nothing passed over, nothing of others touched."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smime_graph import UsageError
from smime_graph.graph.models import DeltaPage, StoredMessage
from smime_graph.submission import watched
from smime_graph.submission.watched import Watched, delay

URL = "https://graph.microsoft.com/v1.0"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(path: Path, clock: Clock, folder: str = "inbox") -> Watched:
    return Watched(path, url=URL, user="Me", folder=folder, clock=clock)


def page(*ids: str, removed: tuple[str, ...] = (), link: str = "link") -> DeltaPage:
    messages = tuple(
        StoredMessage(one, f"<{one}@x.y>", "stored", sender="a@b.c", received_at=datetime.now(UTC))
        for one in ids
    )
    return DeltaPage(messages, removed, link, False)


def test_it_is_its_owner_s_alone_and_remembers_the_link(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "state"
    with_link = opened(path, clock)
    assert with_link.link() is None
    assert with_link.enter(page("1", "2")) == 2
    with_link.close()
    assert {stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()} == {0o600}
    again = opened(path, clock)
    assert again.link() == "link"
    assert again.enter(page("2", "3")) == 1
    assert again.waiting() == 3
    again.begin_anew()
    assert again.link() is None
    again.close()
    other = opened(path, clock, folder="sentitems")
    assert (other.link(), other.waiting()) == (None, 0)
    other.close()


def test_who_comes_second_is_told_that_another_has_it(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    first = opened(path, clock)
    text = (
        "import sys; from smime_graph.submission.watched import Watched\n"
        "Watched(sys.argv[1], url='u', user='me', folder='inbox', clock=lambda: 0.0)"
    )
    asked = [sys.executable, "-c", text, str(path)]
    done = subprocess.run(asked, capture_output=True, check=False, timeout=60)
    assert done.returncode == 1
    assert b": the watch state " in done.stderr
    assert b"locked" in done.stderr
    monkeypatch.setattr(watched, "_PATIENCE", 10)
    with pytest.raises(UsageError, match="locked") as caught:
        opened(path, clock)
    assert "whether another program holds it" in str(caught.value.hint)
    first.close()
    assert subprocess.run(asked, check=False, timeout=60).returncode == 0
    opened(path, clock).close()


def test_what_is_none_of_ours_stays_as_it_is(tmp_path: Path, clock: Clock) -> None:
    text, other = tmp_path / "text", tmp_path / "other"
    text.write_bytes(b"x" * 5000)
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE t (x)")
    db.commit()
    db.close()
    kept = {path: path.read_bytes() for path in (text, other)}
    for path, said in ((text, "is no watch state"), (other, "not a watch state")):
        with pytest.raises(UsageError, match=said):
            opened(path, clock)
    assert {path: path.read_bytes() for path in (text, other)} == kept
    assert {one.name for one in tmp_path.iterdir()} == {"text", "other"}


def test_what_left_the_folder_is_known_for_a_month(tmp_path: Path, clock: Clock) -> None:
    state = opened(tmp_path / "state", clock)
    state.enter(page("1", "2"))
    for _ in range(2):
        row = state.begin()
        assert row is not None
        state.end(row, "handed")
    assert state.begin() is None
    state.enter(page(removed=("1", "9")))
    clock.now += 29 * 86_400
    assert state.enter(page("2")) == 0
    clock.now += 2 * 86_400
    state.enter(page())
    assert state.enter(page("1", "2")) == 1  # nobody knows of it any more
    state.close()


def test_what_was_gone_and_is_back_is_looked_at_again(tmp_path: Path, clock: Clock) -> None:
    state = opened(tmp_path / "state", clock)
    state.enter(page("1"))
    row = state.begin()
    assert row is not None
    state.end(row, "gone")
    assert state.begin() is None
    state.enter(page("1"))
    row = state.begin()
    assert row is not None
    assert (row.id, row.message_id, row.attempts) == ("1", "<1@x.y>", 2)
    state.close()


def test_a_clock_that_was_wrong_keeps_nothing_from_being_tried(
    tmp_path: Path, clock: Clock
) -> None:
    state = opened(tmp_path / "state", clock)
    clock.now += 10 * 86_400
    state.enter(page("1"))
    clock.now -= 10 * 86_400
    assert state.begin() is not None
    state.close()


def test_the_delays_are_bounded() -> None:
    assert [delay(one) for one in (1, 2, 3, 9, 10, 10_000)] == [10, 20, 40, 2560, 3600, 3600]


def test_ids_of_folders_differ_in_case_alone_and_names_do_not(tmp_path: Path, clock: Clock) -> None:
    """The second folder would be asked for by the link of the first, and never looked at."""
    found = {}
    for folder in ("AAMkAGEMAAA=", "AAMkAGEmAAA=", "Inbox", "inbox"):
        state = opened(tmp_path / "state", clock, folder=folder)
        found[folder] = state.link()
        state.enter(page(link=f"of {folder}"))
        state.close()
    assert found == dict.fromkeys(("AAMkAGEMAAA=", "AAMkAGEmAAA=", "Inbox")) | {"inbox": "of Inbox"}


def test_the_last_moment_of_all_years_is_kept_as_one_that_can_be_read(
    tmp_path: Path, clock: Clock
) -> None:
    state = opened(tmp_path / "state", clock)
    last = datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)
    message = StoredMessage("1", "<1@x.y>", "stored", sender="a@b.c", received_at=last)
    state.enter(DeltaPage((message,), (), "link", False))
    row = state.begin()
    assert row is not None
    assert row.received is not None
    assert datetime.fromtimestamp(row.received, UTC).year == 9999
    state.close()
