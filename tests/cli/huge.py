"""Half a gigabyte there and back, damaged at ten places, and onto a full disk: scripts/prove large.

Each step is a process of its own, with the memory that it took; signing and sealing also beside
what OpenSSL needs for it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pybase64

_HEAD = (
    b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
)
_MOST = 48 << 10  # KB
_RUN = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss, used.ru_utime + used.ru_stime)
sys.exit(status)
"""
_SIGNER = ("--signer", "ca/alice@contoso.com.key")
_TO = ("--recipient", "ca/bob@contoso.com.pem")
_TRUST = ("--trust", "ca/ca.pem")
_KEY = ("--identity", "ca/bob@contoso.com.key")
MAKE = {
    "sign": ("sign", "in.eml", *_SIGNER),
    "encrypt": ("encrypt", "in.eml", *_TO),
    "seal": ("seal", "in.eml", *_SIGNER, *_TO),
    "seal gcm": ("seal", "in.eml", *_SIGNER, *_TO, "--cipher", "aes256-gcm"),
}
OPEN = {
    "sign": ("verify", *_TRUST),
    "encrypt": ("decrypt", *_KEY),
    "seal": ("unseal", *_TRUST, *_KEY),
    "seal gcm": ("unseal", *_TRUST, *_KEY),
}
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
OURS = str(Path(sys.executable).with_name("smime-graph"))


# --- damage -----------------------------------------------------------------------------------


def places(path: Path) -> dict[str, int]:
    """Ten octets of a message, from its header to its last sign of base64."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(1 << 16)
        start = head.index(b"\r\n\r\n") + 4
        file.seek(size - 200)
        tail = file.read()
        if b"\r\n--" in tail:  # of a multipart/signed: the signature, not the delimiter behind it
            tail = tail[: tail.rindex(b"\r\n--")]
        end = size - 200 + len(tail.rstrip(b"\r\n="))
    length = size - start
    return {
        "header": head.index(b"/", head.index(b"Content-Type:")) + 1,
        "first octet": start,
        "first layer": start + 20,  # the type of the content
        "a twentieth": start + length // 20,
        "a quarter": start + length // 4,
        "middle": start + length // 2,
        "three quarters": start + length * 3 // 4,
        "near the end": start + length * 19 // 20,
        "tag": end - 10,
        "padding": end - 1,
    }


@contextmanager
def changed(path: Path, at: int) -> Iterator[None]:
    """With another letter at this place, or the next that is one."""
    with path.open("r+b") as file:
        file.seek(at)
        while (was := file.read(1)) not in _LETTERS:
            at += 1
        file.seek(at)
        # half the alphabet away: the first bit is one that counts, also in the last letter
        other = (_LETTERS.index(was) + 32) % 64
        file.write(_LETTERS[other : other + 1])
        file.flush()
        try:
            yield
        finally:
            file.seek(at)
            file.write(was)


def refusal(folder: Path, *words: str, limit: int | None = None) -> str:
    """How smime-graph refuses this: its status and its error. AssertionError unless it does, and
    nothing is at the destination `out`, or beside it, that was not there before.
    """
    (folder / "out").write_bytes(b"before")
    before = sorted(folder.iterdir())
    shell = "" if limit is None else f"ulimit -f {limit}; "
    done = subprocess.run(
        ["/bin/sh", "-c", f'{shell}exec "$@"', "sh", OURS, *words, "-o", "out"],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        check=False,
    )
    lines = [line for line in done.stderr.decode().splitlines() if ": error: " in line]
    assert done.returncode in (1, 2), done
    assert lines, done
    assert (folder / "out").read_bytes() == b"before", words
    assert sorted(folder.iterdir()) == before, words
    return f"status {done.returncode}, {lines[0].partition(': error: ')[2]}"


_ON_A_DISK = """
mount -t tmpfs -o size=$1 none disk && printf before > disk/out && shift || exit 99
"$@" -o disk/out
status=$?
[ "$(ls -A disk)" = out ] && [ "$(cat disk/out)" = before ] || exit 98
exit $status
"""


def can_mount() -> bool:
    """Whether a file system of one's own can be had."""
    words = ("unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt")
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def refusal_on_disk(folder: Path, *words: str, size: int) -> str:
    """As `refusal`, where `out` and what is temporary are on a disk of so many octets."""
    (folder / "disk").mkdir(exist_ok=True)
    done = subprocess.run(
        ["unshare", "-rm", "/bin/sh", "-c", _ON_A_DISK, "sh", str(size), OURS, *words],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "disk")},
        capture_output=True,
        check=False,
    )
    lines = [line for line in done.stderr.decode().splitlines() if ": error: " in line]
    assert done.returncode == 2, done
    assert lines, done
    return f"status {done.returncode}, {lines[0].partition(': error: ')[2]}"


def damage(folder: Path, name: str, kind: str) -> dict[str, str]:
    """The refusal at each place of what was made."""
    found = {}
    for place, at in places(folder / name).items():
        with changed(folder / name, at):
            found[place] = refusal(folder, *OPEN[kind], name)
    return found


# --- there and back ---------------------------------------------------------------------------


def people(folder: Path) -> None:
    _run(folder, OURS, "ca", "init", "ca")
    for who in ("alice", "bob"):
        _run(folder, OURS, "ca", "issue", "ca", f"{who}@contoso.com")


def _run(folder: Path, *words: str) -> tuple[int, float]:
    """The most memory that it had at once, in KB, and its seconds of CPU."""
    said = subprocess.check_output([sys.executable, "-c", _RUN, *words], cwd=folder)
    peak, cpu = said.split()[-2:]
    return int(peak), float(cpu)


def _body(path: Path) -> str:
    """The digest of what follows the header."""
    state = sha256()
    with path.open("rb") as file:
        while file.readline().strip():
            continue
        while piece := file.read(1 << 20):
            state.update(piece)
    return state.hexdigest()


def write_message(path: Path, size: int) -> None:
    """A message with an attachment of so many octets, as it is in base64."""
    lines = pybase64.encodebytes(os.urandom(57 * 10_000)).replace(b"\n", b"\r\n")
    with path.open("wb") as file:
        file.write(_HEAD)
        for _ in range(size // len(lines)):
            file.write(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/prove large")
    parser.add_argument("--megabytes", type=int, default=500)
    size = parser.parse_args().megabytes
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        write_message(folder / "in.eml", size << 20)
        people(folder)
        failed = _there_and_back(folder)
        for kind in ("sign", "seal", "seal gcm"):
            for place, said in damage(folder, kind, kind).items():
                print(f"{kind}, changed in {place}: {said}", flush=True)
        half = size << 10  # in blocks of 512 octets
        for kind in MAKE:
            print(f"{kind}, no room: {refusal(folder, *MAKE[kind], limit=half)}", flush=True)
            said = refusal(folder, *OPEN[kind], kind, limit=half)
            print(f"{OPEN[kind][0]} of {kind}, no room: {said}", flush=True)
            for words in (MAKE[kind], (*OPEN[kind], kind)) if can_mount() else ():
                said = refusal_on_disk(folder, *words, size=size << 19)
                print(f"{words[0]} of {kind}, disk full: {said}", flush=True)
        return failed


def _there_and_back(folder: Path) -> int:
    high = False
    cpu = {}
    for kind in MAKE:
        peaks = []
        for words, out in ((MAKE[kind], kind), ((*OPEN[kind], kind), "opened")):
            peak, cpu[words[0], kind] = _run(folder, OURS, *words, "-o", out)
            high |= peak > _MOST
            peaks.append(f"{words[0]} {peak / 1024:.1f} MB, {cpu[words[0], kind]:.2f} s of CPU")
        print(f"{kind}: {'; '.join(peaks)}", flush=True)
        same = _body(folder / "in.eml") == _body(folder / "opened")
        print("what came back is what was sent" if same else "what came back is NOT what was sent")
        high |= not same
    if shutil.which("openssl") is not None:
        signing = "openssl cms -sign -stream -signer ca/alice@contoso.com.pem"
        signing += " -inkey ca/alice@contoso.com.key -in in.eml"
        sealing = f"{signing} | openssl cms -encrypt -stream -aes256 ca/bob@contoso.com.pem"
        for kind, theirs in (("sign", signing), ("seal", sealing)):
            _, other = _run(folder, "/bin/sh", "-c", f"{theirs} > theirs")
            mine = cpu[kind, kind]
            print(f"{kind}: openssl {other:.2f} s of CPU, ours {mine / other:.2f} times that")
        (folder / "theirs").unlink()
    return int(high)


if __name__ == "__main__":
    sys.exit(main())
