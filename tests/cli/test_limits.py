"""How much is read, and how much is held: files of any size, where that can be."""

from __future__ import annotations

import base64
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from smime_graph.buffers import LARGE
from smime_graph.cli import files

from . import huge
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


def of_size(size: int, line: bytes = b"x" * 70 + b"\r\n") -> bytes:
    head = MESSAGE.replace(b"\n", b"\r\n")
    return (head + line * (size // len(line) + 1))[:size]


@pytest.mark.parametrize("verb", MAKE)
@pytest.mark.parametrize("line", [b"x" * 70 + b"\r\n", b"\n", "ü".encode() * 30 + b"\r\n"])
def test_whatever_is_made_is_read_again(here: Path, call: Run, verb: str, line: bytes) -> None:
    for size in (100, LARGE - 1000, LARGE + 1000, 2 * LARGE):
        (here / "large.eml").write_bytes(of_size(size, line))
        assert call(*MAKE[verb], "large.eml", "-o", "made.eml").status == 0
        assert call(*OPEN[verb], "made.eml", "-o", os.devnull).status == 0


def started(*words: str, limit: int | None = None, **more: Any) -> subprocess.Popen[bytes]:
    """A process of its own, in which no file has more than so many KB."""
    limits = "" if limit is None else f"ulimit -f {limit}; "
    shell = f'{limits}exec "$@"'
    program = [sys.executable, "-m", "smime_graph", *words]
    return subprocess.Popen(["/bin/sh", "-c", shell, "sh", *program], **more)


@pytest.mark.parametrize("verb", ["seal", "encrypt", "opaque", "sign"])
def test_standard_input_without_an_end_fills_the_disk_and_leaves_nothing(
    here: Path, verb: str
) -> None:
    before = sorted(here.iterdir())
    with Path("/dev/zero").open("rb") as endless:
        process = started(
            *MAKE[verb], "-o", "out", limit=20_000, stdin=endless, stderr=subprocess.PIPE, cwd=here
        )
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert b"no temporary file can be written in " in err
    assert b"hint: make room there" in err
    assert sorted(here.iterdir()) == before


SENDING = {
    "send": ("send", "--emulator"),
    "send sealed": ("send", "--emulator", *SIGNER, *RECIPIENT),
    "reply": ("reply", "id", "--emulator"),
    "draft": ("draft", "--emulator"),
    "draft-update": ("draft-update", "id", "--emulator"),
    "check": ("check",),
    "check sealed": ("check", *SIGNER, *RECIPIENT),
}


@pytest.mark.parametrize("size", [16 << 20, files.MESSAGE_LIMIT + 1])
@pytest.mark.parametrize("verb", SENDING)
def test_what_is_too_large_to_be_sent_is_not_read_at_all(
    here: Path, call: Run, monkeypatch: pytest.MonkeyPatch, verb: str, size: int
) -> None:
    read: list[str] = []
    monkeypatch.setattr(files, "_read", lambda _file, name, _limit: read.append(name))
    with (here / "huge.eml").open("wb") as file:
        file.truncate(size)
    result = call(*SENDING[verb], "huge.eml")
    assert result.status == 2
    assert "huge.eml is larger than" in result.err
    assert "the largest request has 4194304 octets" in result.err
    assert read == []


def test_of_a_file_that_is_standard_input_nothing_is_read_either(here: Path) -> None:
    with (here / "huge.eml").open("w+b") as file:
        file.truncate(16 << 20)
        process = started("check", stdin=file, stderr=subprocess.PIPE, cwd=here)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert b"standard input is larger than" in err
        assert file.tell() == os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0


def test_whoever_takes_larger_requests_gets_larger_messages(here: Path, call: Run) -> None:
    (here / "mail.eml").write_bytes(of_size(9 << 20))
    refused = call("send", "mail.eml", "--emulator", "--json")
    assert refused.status == 2
    assert "is larger than 6291456 octets" in refused.err
    more = ("--size-limit", str(13 << 20))
    assert call("send", "mail.eml", "--emulator", *more).status == 0
    # it may fit once it is packed, and it does
    packed = ("--compress", *SIGNER, *RECIPIENT)
    assert call("send", "mail.eml", "--emulator", *packed).status == 0


# --- files of any size ------------------------------------------------------------------------


def large(path: Path, megabytes: int, form: str = "base64") -> None:
    """A message with an attachment in base64, or with text that has to be encoded."""
    lines = base64.encodebytes(random.Random(1).randbytes(1 << 20)).replace(b"\n", b"\r\n")
    kind, encoding = b"a/b", b"base64"
    if form != "base64":
        kind, encoding = (b"a/b", b"binary") if form == "octets" else (b"text/plain", b"8bit")
        lines = lines[: 1 << 19] + "für Käthe\n".encode() * 70_000
    head = MESSAGE.replace(b"\n", b"\r\n").partition(b"\r\n\r\n")[0]
    head += b"\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n" % (kind, encoding)
    with path.open("wb") as file:
        file.write(head)
        for _ in range(megabytes):
            file.write(lines)


_PEAK = """
import resource, sys
from smime_graph.cli import main
status = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(status)
"""
WRITE = {**MAKE, "gcm": (*MAKE["seal"], "--cipher", "aes256-gcm"), "compress": ("compress",)}


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read as Linux says it")
@pytest.mark.parametrize(
    ("verb", "source", "form"),
    [
        *((verb, source, "base64") for verb in WRITE for source in ("file", "pipe")),
        ("sign", "file", "8-bit text with CRLF and LF"),
        ("seal", "file", "8-bit text with CRLF and LF"),
        ("seal", "file", "octets"),
    ],
)
def test_memory_does_not_grow_with_the_message(
    here: Path, verb: str, source: str, form: str
) -> None:
    def peak(megabytes: int) -> int:
        large(here / "large.eml", megabytes, form)
        words = [*WRITE[verb], "large.eml" if source == "file" else "-", "-o", "out"]
        with (here / "large.eml").open("rb") as file:
            copy = ["cat"] if source == "pipe" else ["true"]
            with subprocess.Popen(copy, stdin=file, stdout=subprocess.PIPE) as cat:
                # by a shell: the peak of who forks is inherited
                shell = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", _PEAK]
                said = subprocess.check_output([*shell, *words], stdin=cat.stdout, cwd=here)
        assert (here / "out").stat().st_size > 100_000
        return int(said)

    low, high = peak(8), peak(48)
    assert high < 48 * 1024
    assert high - low < 1.5 * 1024


READ = {
    "unseal": (*OPEN["seal"], "seal.eml"),
    "decrypt": (*OPEN["encrypt"], "encrypt.eml"),
    "verify": (*OPEN["sign"], "sign.eml"),
    "verify opaque": (*OPEN["sign"], "opaque.eml"),
}
LOOK = {
    "decompress": ("decompress", "compress.eml"),
    "examine": ("examine", *OPEN["seal"][1:], "seal.eml"),
    "inspect": ("inspect", "sign.eml"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read as Linux says it")
@pytest.mark.parametrize("source", ["file", "pipe"])
@pytest.mark.parametrize("verb", [*READ, *LOOK])
def test_memory_does_not_grow_with_what_is_opened(
    here: Path, call: Run, verb: str, source: str
) -> None:
    *words, name = {**READ, **LOOK}[verb]

    def peak(megabytes: int) -> int:
        large(here / "large.eml", megabytes)
        made = WRITE[name.removesuffix(".eml")]
        assert call(*made, "large.eml", "-o", name).status == 0
        given = [*words, name if source == "file" else "-", "-o", "out"]
        with (here / name).open("rb") as file:
            copy = ["cat"] if source == "pipe" else ["true"]
            with subprocess.Popen(copy, stdin=file, stdout=subprocess.PIPE) as cat:
                shell = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", _PEAK]
                said = subprocess.check_output([*shell, *given], stdin=cat.stdout, cwd=here)
        assert (here / "out").stat().st_size > (100 if verb in ("examine", "inspect") else 100_000)
        return int(said)

    low, high = peak(4), peak(24)
    assert high < 64 * 1024
    assert high - low < 4 * 1024


@pytest.mark.parametrize("verb", [*READ, "decompress"])
@pytest.mark.parametrize("room", [4_000, 15_000])
def test_where_the_disk_is_full_what_is_opened_leaves_what_is_there(
    here: Path, call: Run, verb: str, room: int
) -> None:
    *words, name = {**READ, **LOOK}[verb]
    large(here / "large.eml", 24)
    assert call(*WRITE[name.removesuffix(".eml")], "large.eml", "-o", name).status == 0
    (here / "out").write_bytes(b"before")
    before = sorted(here.iterdir())
    process = started(*words, name, "-o", "out", limit=room, stderr=subprocess.PIPE, cwd=here)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert b": File too large" in err
    assert sorted(here.iterdir()) == before
    assert (here / "out").read_bytes() == b"before"


_CHANGED = "changed after signing"
_NOT_DECRYPTED = "the message could not be decrypted"
# what is said of damage from a twentieth to nearly the end, and of what is behind that
SAID = {
    "sign": (_CHANGED, "the signature is not valid"),
    "opaque": (_CHANGED, "the signature is not valid"),
    "seal": (_CHANGED, _NOT_DECRYPTED),
    "gcm": (_NOT_DECRYPTED, _NOT_DECRYPTED),
}


@pytest.mark.parametrize("form", SAID)
def test_an_octet_changed_at_ten_places_is_the_same_refusal_and_leaves_what_is_there(
    here: Path, call: Run, form: str
) -> None:
    """The short form of scripts/prove large."""
    words = OPEN["seal" if form == "gcm" else form]
    large(here / "large.eml", 3)
    assert call(*WRITE[form], "large.eml", "-o", "made.eml").status == 0
    (here / "out").write_bytes(b"before")
    before = sorted(here.iterdir())
    refused = {}
    for place, at in huge.places(here / "made.eml").items():
        with huge.changed(here / "made.eml", at):
            result = call(*words, "made.eml", "-o", "out", "--json")
        assert result.status == 1, place
        assert (here / "out").read_bytes() == b"before"
        assert sorted(here.iterdir()) == before
        refused[place] = result.err
    assert len(refused) == 10
    inside, behind = SAID[form]
    for place in ("a twentieth", "a quarter", "middle", "three quarters", "near the end"):
        assert inside in refused[place]
    assert behind in refused["tag"]
    assert behind in refused["padding"]
    assert call(*words, "made.eml", "-o", "out").status == 0  # nothing of it stayed


def test_in_cbc_an_octet_is_what_nobody_vouches_for(here: Path, call: Run) -> None:
    large(here / "large.eml", 3)
    assert call(*MAKE["encrypt"], "large.eml", "-o", "made.eml").status == 0
    for place in ("a quarter", "near the end"):
        with huge.changed(here / "made.eml", huge.places(here / "made.eml")[place]):
            result = call(*OPEN["encrypt"], "made.eml", "-o", "out", "--json")
        assert result.status == 0
        assert "cms.unauthenticated" in result.err


@pytest.mark.parametrize("verb", MAKE)
def test_a_disk_that_is_full_half_way_leaves_what_is_there(here: Path, verb: str) -> None:
    large(here / "large.eml", 12)
    (here / "out").write_bytes(b"before")
    before = sorted(here.iterdir())
    process = started(
        *MAKE[verb], "large.eml", "-o", "out", limit=10_000, stderr=subprocess.PIPE, cwd=here
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert b"out cannot be written: File too large" in err
    assert sorted(here.iterdir()) == before
    assert (here / "out").read_bytes() == b"before"


@pytest.mark.skipif(not huge.can_mount(), reason="no file system of one's own can be mounted here")
@pytest.mark.parametrize("verb", ["seal", "sign"])
def test_on_a_disk_that_has_no_room_left_what_is_there_stays(
    here: Path, call: Run, verb: str
) -> None:
    """A disk that is really full, of a few megabytes: for what is written, and what is read."""
    large(here / "large.eml", 12)
    assert call(*MAKE[verb], "large.eml", "-o", "made.eml").status == 0
    for words in ((*MAKE[verb], "large.eml"), (*OPEN[verb], "made.eml")):
        for size in (64 << 10, 5 << 20, 11 << 20):
            said = huge.refusal_on_disk(here, *words, size=size)
            assert "No space left on device" in said


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="a file without a name is Linux's")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_who_is_killed_half_way_leaves_nothing(here: Path, number: int) -> None:
    """At any time: it is killed once what it writes is seen to grow."""
    large(here / "large.eml", 60)
    (here / "out").write_bytes(b"before")
    before = sorted(here.iterdir())
    process = started(*MAKE["seal"], "large.eml", "-o", "out", cwd=here)
    while not is_writing(process.pid):
        assert process.poll() is None
    process.send_signal(number)
    assert process.wait(60) != 0
    assert sorted(here.iterdir()) == before
    assert (here / "out").read_bytes() == b"before"


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="a file without a name is Linux's")
@pytest.mark.parametrize("verb", ["seal", "unseal"])
def test_an_input_that_is_cut_off_meanwhile_leaves_what_is_there(
    here: Path, call: Run, verb: str
) -> None:
    """By an error or by the system, as `buffers` says."""
    large(here / "large.eml", 60)
    words = (*MAKE["seal"], "large.eml")
    if verb == "unseal":
        assert call(*words, "-o", "seal.eml").status == 0
        words = READ[verb]
    (here / "out").write_bytes(b"before")
    before = sorted(here.iterdir())
    process = started(*words, "-o", "out", cwd=here, stderr=subprocess.DEVNULL)
    while not is_writing(process.pid):
        assert process.poll() is None
    os.truncate(here / words[-1], 100_000)
    assert process.wait(60) in (-signal.SIGBUS, 1, 2)
    assert sorted(here.iterdir()) == before
    assert (here / "out").read_bytes() == b"before"


def is_writing(process: int) -> bool:
    """Whether it has a file without a name, with something in it."""
    for handle in Path(f"/proc/{process}/fd").iterdir():
        try:
            if "(deleted)" in str(handle.readlink()) and handle.stat().st_size > 0:
                return True
        except OSError:
            continue  # closed meanwhile
    return False
