"""Files are there whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from smime_graph.files import write, write_beside


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_stands_beside_is_complete_and_the_old_file_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    beside = write_beside(path, b"new", mode=0o666)
    assert (path.read_bytes(), beside.read_bytes()) == (b"old", b"new")
    assert beside.parent == path.parent
    assert beside.name.startswith(".out.")


def test_two_that_write_one_name_do_not_meet(tmp_path: Path) -> None:
    first, second = (write_beside(tmp_path / "out", b"x", mode=0o666) for _ in range(2))
    assert first != second


def test_a_name_as_long_as_can_be_has_room_beside_it(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("asked", "before", "wanted"),
    [
        (0o666, None, 0o644),
        (0o600, None, 0o600),
        (0o7777, 0o640, 0o640),
        (0o7777, 0o666, 0o666),  # what the user gave it stays, whatever the umask
        (0o600, 0o644, 0o600),
        (0o600, 0o400, 0o400),
    ],
)
def test_permissions(tmp_path: Path, asked: int, before: int | None, wanted: int) -> None:
    found = None
    if before is not None:
        (tmp_path / "out").touch()
        (tmp_path / "out").chmod(before)
        found = (tmp_path / "out").stat()
    assert mode(write_beside(tmp_path / "out", b"", mode=asked, instead_of=found)) == wanted


@pytest.mark.parametrize("what", ["fsync", "fchmod"])
def test_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, what, fail)
    with pytest.raises(OSError, match="No space left"):
        write_beside(path, b"new", mode=0o666, instead_of=path.stat())
    assert [one.name for one in tmp_path.iterdir()] == ["out"]
    assert path.read_bytes() == b"old"


def test_a_file_that_is_there_is_replaced_only_where_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write(path, b"first", replace=False)
    with pytest.raises(FileExistsError):
        write(path, b"second", replace=False)
    assert path.read_bytes() == b"first"
    write(path, b"third")
    assert path.read_bytes() == b"third"
    assert [one.name for one in tmp_path.iterdir()] == ["key"]
