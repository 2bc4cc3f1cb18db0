"""Half a gigabyte there and back, with the memory that each step took: scripts/prove large."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
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
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def _peak(folder: Path, *words: str) -> int:
    """Runs smime-graph; the most memory it had at once, in KB."""
    ours = str(Path(sys.executable).with_name("smime-graph"))
    said = subprocess.check_output([sys.executable, "-c", _RUN, ours, *words], cwd=folder)
    return int(said.split()[-1])


def _body(path: Path) -> str:
    """The digest of what follows the header."""
    state = sha256()
    with path.open("rb") as file:
        while file.readline().strip():
            continue
        while piece := file.read(1 << 20):
            state.update(piece)
    return state.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/prove large")
    parser.add_argument("--megabytes", type=int, default=500)
    size = parser.parse_args().megabytes
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        lines = pybase64.encodebytes(os.urandom(57 * 10_000)).replace(b"\n", b"\r\n")
        with (folder / "in.eml").open("wb") as file:
            file.write(_HEAD)
            for _ in range((size << 20) // len(lines)):
                file.write(lines)
        _peak(folder, "ca", "init", "ca")
        for who in ("alice", "bob"):
            _peak(folder, "ca", "issue", "ca", f"{who}@contoso.com")
        return _there_and_back(folder)


def _there_and_back(folder: Path) -> int:
    signer = ("--signer", "ca/alice@contoso.com.key")
    to, identity = ("--recipient", "ca/bob@contoso.com.pem"), "ca/bob@contoso.com.key"
    trust = ("--trust", "ca/ca.pem")
    reading = (*trust, "--identity", identity)
    high = False
    for label, words in {
        "sign": ("sign", "in.eml", *signer, "-o", "signed"),
        "verify": ("verify", "signed", *trust, "-o", "verified"),
        "seal": ("seal", "in.eml", *signer, *to, "-o", "sealed"),
        "unseal": ("unseal", "sealed", *reading, "-o", "unsealed"),
    }.items():
        peak = _peak(folder, *words)
        high |= peak > _MOST
        print(f"{label}: {peak / 1024:.1f} MB at the most")
    same = _body(folder / "in.eml") == _body(folder / "unsealed")
    print("what came back is what was sent" if same else "what came back is NOT what was sent")
    return int(high or not same)


if __name__ == "__main__":
    sys.exit(main())
