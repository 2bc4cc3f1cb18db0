"""What is made can be read again: what could not be is refused first, and before it is all read."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from smime_graph.cli import files, main

from .conftest import MESSAGE, Run

SIGNER, RECIPIENT = ("--signer", "alice.key"), ("--recipient", "bob.pem")
OPEN = {
    "seal": ("unseal", "--identity", "bob.key", "--trust", "roots.pem"),
    "encrypt": ("decrypt", "--identity", "bob.key"),
    "opaque": ("verify", "--trust", "roots.pem"),
    "sign": ("verify", "--trust", "roots.pem"),
}
MAKE = {
    "seal": ("seal", *SIGNER, *RECIPIENT),
    "encrypt": ("encrypt", *RECIPIENT),
    "opaque": ("sign", "--opaque", *SIGNER),
    "sign": ("sign", *SIGNER),
}
LIMIT = 200_000


def of_size(size: int, line: bytes = b"x" * 70 + b"\r\n") -> bytes:
    head = MESSAGE.replace(b"\n", b"\r\n")
    return (head + line * (size // len(line) + 1))[:size]


@pytest.mark.parametrize("verb", MAKE)
@pytest.mark.parametrize("line", [b"x" * 70 + b"\r\n", b"\n", "ü".encode() * 30 + b"\r\n"])
def test_whatever_is_made_is_read_again(
    here: Path, call: Run, monkeypatch: pytest.MonkeyPatch, verb: str, line: bytes
) -> None:
    monkeypatch.setattr(files, "MESSAGE_LIMIT", LIMIT)
    made = 0
    for size in range(LIMIT // 8, LIMIT, LIMIT // 8):
        (here / "large.eml").write_bytes(of_size(size, line))
        result = call(*MAKE[verb], "large.eml", "-o", "made.eml")
        if result.status == 0:
            made += 1
            assert (here / "made.eml").stat().st_size <= LIMIT
            assert call(*OPEN[verb], "made.eml", "-o", os.devnull).status == 0
            (here / "made.eml").unlink()
        else:
            assert result.status == 2
            assert f"{LIMIT}" in result.err or f"{LIMIT * 57 // 78}" in result.err
            assert "hint: " in result.err
            assert not (here / "made.eml").exists()
    assert 0 < made < 8 or verb == "sign"


class Endless(io.RawIOBase):
    """A message that never ends, and how much was read of it."""

    def __init__(self) -> None:
        self.asked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        size = len(buffer)  # type: ignore[arg-type]
        self.asked += size
        buffer[:] = (b"x" * size)[:size]  # type: ignore[index]
        return size


@pytest.mark.parametrize("verb", ["seal", "encrypt", "opaque"])
def test_no_more_is_read_of_standard_input_than_could_be_sealed(
    here: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(files, "MESSAGE_LIMIT", LIMIT)
    endless = Endless()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(endless)))
    assert main([*MAKE[verb]]) == 2
    assert LIMIT * 57 // 78 < endless.asked < LIMIT


@pytest.mark.parametrize("verb", [*MAKE, "compress", "send", "draft", "verify"])
def test_a_file_that_is_too_large_is_not_read_at_all(
    here: Path, call: Run, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    read: list[str] = []
    monkeypatch.setattr(files, "_read", lambda _file, name, _limit: read.append(name))
    with (here / "huge.eml").open("wb") as file:
        file.truncate(files.MESSAGE_LIMIT + 1)
    words = MAKE.get(verb, (verb,))
    where = ("--emulator",) if verb in ("send", "draft") else ()
    result = call(*words, *where, "huge.eml")
    assert result.status == 2
    assert "huge.eml is larger than" in result.err
    assert read == []
