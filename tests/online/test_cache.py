"""The cache: what it keeps, for whom, and what it makes of a file that is not right."""

from __future__ import annotations

import os
import sqlite3
import stat
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph.errors import UsageError
from smime_graph.online import cache as module
from smime_graph.online.cache import VERSION, Cache

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "made" / "cache.sqlite"


def test_what_is_kept_is_there_until_it_runs_out(place: Path) -> None:
    Cache(place).put("a", b"octets", NOW + HOUR)
    other = Cache(place)
    assert other.get("a", NOW) == b"octets"
    assert other.get("a", NOW + HOUR) is None
    assert other.get("b", NOW) is None
    other.put("a", b"newer", NOW + 2 * HOUR)
    assert Cache(place).get("a", NOW + HOUR) == b"newer"


def test_what_has_run_out_is_not_kept(place: Path) -> None:
    cache = Cache(place)
    cache.put("a", b"octets", NOW - HOUR)
    assert cache.get("a", NOW - 2 * HOUR) is None


def test_only_the_user_may_read_and_write_it(place: Path) -> None:
    Cache(place)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o622, 0o606 | 0o002, 0o660])
def test_a_file_that_others_may_write_is_refused(place: Path, mode: int) -> None:
    cache = Cache(place)
    cache.put("a", b"octets", NOW + HOUR)
    place.chmod(mode)
    with pytest.raises(UsageError, match="may be written by others"):
        Cache(place)
    assert cache.get("a", NOW) is None


def test_a_folder_that_others_may_write_is_refused(place: Path) -> None:
    Cache(place)
    place.parent.chmod(0o777)
    with pytest.raises(UsageError, match="open to others"):
        Cache(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(place: Path) -> None:
    Cache(place)
    os.chown(place, 12345, 12345)
    with pytest.raises(UsageError, match="may be written by others"):
        Cache(place)


def test_a_link_is_not_followed(place: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    place.parent.mkdir()
    place.symlink_to(victim)
    with pytest.raises(UsageError, match="cannot be used"):
        Cache(place)
    assert victim.read_bytes() == b"precious"


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for wrong in (tmp_path, tmp_path / "file" / "below", tmp_path / "x\0y"):
        with pytest.raises(UsageError, match="cache"):
            Cache(wrong)


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_a_broken_file_is_made_anew(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    place = tmp_path_factory.mktemp("broken") / "cache.sqlite"
    place.write_bytes(data)
    place.chmod(0o600)
    cache = Cache(place)
    cache.put("a", b"octets", NOW + HOUR)
    assert cache.get("a", NOW) == b"octets"


def test_a_file_that_breaks_later_is_as_if_nothing_were_there(place: Path) -> None:
    cache = Cache(place)
    for number in range(50):
        cache.put(str(number), bytes(5000), NOW + HOUR)
    raw = bytearray(place.read_bytes())
    raw[4096:] = os.urandom(len(raw) - 4096)
    place.write_bytes(raw)
    for number in range(50):
        assert cache.get(str(number), NOW) in (None, bytes(5000))
    cache.put("a", b"octets", NOW + HOUR)  # no error, whatever comes of it
    place.write_bytes(b"nothing")
    assert cache.get("a", NOW) is None
    place.unlink()
    assert cache.get("a", NOW) is None


def test_an_older_version_is_migrated_and_a_newer_one_refused(place: Path) -> None:
    Cache(place)
    with closing(sqlite3.connect(place)) as db:
        db.execute("DROP TABLE kept")
        db.execute("CREATE TABLE kept (something TEXT)")
        db.execute("PRAGMA user_version = 0")
        db.commit()
    cache = Cache(place)
    cache.put("a", b"octets", NOW + HOUR)
    assert cache.get("a", NOW) == b"octets"
    with closing(sqlite3.connect(place)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(UsageError, match=f"has version {VERSION + 1}"):
        Cache(place)


def test_a_table_of_another_shape_is_no_foreign_error(place: Path) -> None:
    Cache(place)
    with closing(sqlite3.connect(place)) as db:
        db.execute("DROP TABLE kept")
        db.execute("CREATE TABLE kept (key TEXT, value TEXT, until TEXT)")
        db.execute("INSERT INTO kept VALUES ('a', 'text', 'zzz')")
        db.commit()
    assert Cache(place).get("a", NOW) is None


def test_it_does_not_grow_without_end(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OCTETS", 10_000)
    cache = Cache(place)
    for number in range(20):
        cache.put(str(number), bytes(1000), NOW + (number + 1) * HOUR)
    held = [number for number in range(20) if cache.get(str(number), NOW)]
    assert held == list(range(10, 20))  # those that run out last
    cache.put("large", bytes(10_001), NOW + HOUR)
    assert cache.get("large", NOW) is None


def write(place: str, worker: int) -> int:
    cache = Cache(Path(place))
    for number in range(20):
        cache.put(f"{worker} {number}", bytes([worker]) * 100, NOW + HOUR)
    return sum(cache.get(f"{worker} {n}", NOW) == bytes([worker]) * 100 for n in range(20))


def test_threads_and_processes_share_it(place: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(write, [str(place)] * 4, range(4)))
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as processes:
        found += processes.map(write, [str(place)] * 3, range(4, 7))
    assert found == [20] * 7
    cache = Cache(place)
    assert cache.get("0 0", NOW) == bytes([0]) * 100
    assert cache.get("6 19", NOW) == bytes([6]) * 100
