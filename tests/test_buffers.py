"""Octets that may be too many to hold."""

from __future__ import annotations

import gzip
import io
import mmap
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smime_graph import buffers
from smime_graph.buffers import (
    CHUNK,
    LARGE,
    Rope,
    chunks,
    gather,
    joined,
    read_file,
    spooling_beside,
)
from smime_graph.errors import UsageError

LONG = os.urandom(LARGE + 1234)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def pieces(data: bytes, size: int = 70_000) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("length", [0, 1, LARGE])
def test_what_is_small_is_bytes(length: int) -> None:
    assert gather(pieces(LONG[:length])) == LONG[:length]
    assert isinstance(gather(pieces(LONG[:length])), bytes)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what this process has open")
def test_what_is_large_is_a_file_without_a_name(folder: Path) -> None:
    spool = gather(pieces(LONG))
    assert isinstance(spool, memoryview)
    assert isinstance(spool.obj, mmap.mmap)
    assert spool == LONG
    assert spool.readonly
    assert list(folder.iterdir()) == []
    assert "(deleted)" in Path("/proc/self/maps").read_text()


def test_a_temporary_file_is_its_owners_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    really = mmap.mmap

    def seen(handle: int, *rest: Any, **more: Any) -> mmap.mmap:
        modes.append(os.fstat(handle).st_mode & 0o777)
        return really(handle, *rest, **more)

    monkeypatch.setattr(mmap, "mmap", seen)
    gather(pieces(LONG))
    assert modes == [0o600]


def test_a_rope_is_read_more_than_once_in_chunks() -> None:
    rope = buffers.rope([b"head", LONG, memoryview(LONG)[1:], b"tail"])
    whole = b"head" + LONG + LONG[1:] + b"tail"
    assert len(rope) == len(whole)
    assert bytes(rope) == whole
    assert b"".join(chunks(rope)) == whole
    assert max(map(len, chunks(rope))) == CHUNK
    longer = joined([rope, b"more"])
    assert isinstance(longer, Rope)
    assert bytes(longer) == whole + b"more"


def test_what_is_joined_of_bytes_is_bytes() -> None:
    assert joined([b"a", memoryview(b"b"), LONG]) == b"ab" + LONG


@pytest.mark.parametrize("length", [0, 1, CHUNK, CHUNK + 1, LARGE + 1234])
def test_chunks_are_the_whole(length: int) -> None:
    given = list(chunks(LONG[:length]))
    assert b"".join(given) == LONG[:length]
    assert all(len(one) <= CHUNK for one in given)


def test_temporary_files_stand_beside_the_destination_unless_tmpdir_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    really = tempfile.TemporaryFile

    def seen(**options: Any) -> object:
        asked.append(options["dir"])
        return really(**options)

    monkeypatch.setattr(tempfile, "TemporaryFile", seen)
    with spooling_beside(tmp_path / "out"):
        gather(pieces(LONG))
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        gather(pieces(LONG))
    monkeypatch.delenv("TMPDIR")
    gather(pieces(LONG))
    assert asked == [tmp_path, None, None]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE, before[1]))
    try:
        with (
            spooling_beside(tmp_path / "out"),
            pytest.raises(UsageError, match=f"no temporary file .* in {tmp_path}: ") as caught,
        ):
            gather(pieces(LONG))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "make room" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with (
        spooling_beside(tmp_path / "no" / "out"),
        pytest.raises(UsageError, match="No such file or directory"),
    ):
        gather(pieces(LONG))


def test_an_error_of_who_makes_the_pieces_is_theirs() -> None:
    def broken() -> Iterator[bytes]:
        yield LONG
        raise OSError(5, "theirs")

    with pytest.raises(OSError, match="theirs"):
        gather(broken())


def test_a_large_file_is_mapped_from_where_it_was_read_to(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"read already" + LONG)
    with path.open("rb") as file:
        file.read(12)
        data = read_file(file)
        assert file.read() == b""
    assert isinstance(data, memoryview)
    assert data == LONG
    assert data.readonly


def test_a_small_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(LONG[:LARGE])
    with path.open("rb") as file:
        assert read_file(file) == LONG[:LARGE]


def test_what_is_no_file_of_the_system_is_read() -> None:
    assert read_file(io.BytesIO(b"abc")) == b"abc"
    data = read_file(io.BytesIO(LONG))
    assert isinstance(data, memoryview)
    assert data == LONG


def test_of_a_packed_file_what_is_in_it_is_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "in", "wb") as file:
        file.write(LONG)
    assert (tmp_path / "in").stat().st_size > LARGE
    with gzip.open(tmp_path / "in") as packed:
        assert read_file(packed) == LONG


def test_a_pipe_is_read_to_its_end() -> None:
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb") as file:
            file.write(LONG)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(read_end, "rb") as file:
        assert read_file(file) == LONG
    thread.join()


_PEAK = """
import resource, sys
from smime_graph import buffers
from smime_graph.buffers import chunks, gather, read_file
with open(sys.argv[1], "rb") as file:
    data = read_file(file)
spool = gather(chunks(data))
assert sum(map(sum, (chunk[:1] for chunk in chunks(spool)))) > 0
assert len(spool) == len(data)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="KB are the unit of Linux")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(megabytes: int) -> int:
        path = tmp_path / f"{megabytes}"
        with path.open("wb") as file:
            for _ in range(megabytes):
                file.write(b"x" * (1 << 20))
        done = subprocess.run(  # by a shell: the peak of who forks would be inherited
            ["/bin/sh", "-c", '"$@"; true', "sh", sys.executable, "-c", _PEAK, str(path)],
            capture_output=True,
            check=True,
        )
        return int(done.stdout)

    assert abs(peak(40) - peak(8)) < 4 * 1024


def test_what_cannot_be_mapped_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").write_bytes(LONG)
    really = mmap.mmap
    tried: list[int] = []

    def refuses(handle: int, *rest: Any, **more: Any) -> mmap.mmap:
        tried.append(handle)
        if len(tried) == 1:
            raise OSError(19, "No such device")
        return really(handle, *rest, **more)

    monkeypatch.setattr(mmap, "mmap", refuses)
    with (tmp_path / "in").open("rb") as file:
        assert read_file(file) == LONG
