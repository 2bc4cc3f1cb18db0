"""No result takes the place of a file that the same call reads, or of a private key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import Run


@pytest.fixture
def files(here: Path, call: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own: what lies in `here` is shared by all tests."""
    own = here / "own"
    own.mkdir()
    monkeypatch.chdir(own)
    assert call("ca", "init", "ca").status == 0
    for name in ("alice", "bob"):
        assert call("ca", "issue", "ca", f"{name}@contoso.com", "--key", "p256").status == 0
    (own / "mail.eml").write_bytes(
        b"From: alice@contoso.com\nTo: bob@contoso.com\nSubject: s\n\ntext\n"
    )
    done = call("sign", "mail.eml", "--signer", "ca/alice@contoso.com.key", "-o", "signed-1.eml")
    assert done.status == 0, done.err
    return own


def before(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


SEAL = ["seal", "mail.eml", "--signer", "ca/alice@contoso.com.key"]
SEAL += ["--recipient", "ca/bob@contoso.com.pem"]
VERIFY = ["verify", "signed-1.eml", "--trust", "ca/ca.pem"]


@pytest.mark.parametrize(
    ("arguments", "target", "said"),
    [
        (SEAL, "ca/alice@contoso.com.key", "--signer"),
        (SEAL, "ca/bob@contoso.com.pem", "--recipient"),
        ([*SEAL, "--trust", "ca/ca.pem"], "ca/ca.pem", "--trust"),
        (VERIFY, "ca/ca.pem", "--trust"),
        (VERIFY, "signed-1.eml", "the message"),
        ([*VERIFY, "--certificate", "ca/bob@contoso.com.pem"], "ca/bob@contoso.com.pem", "--cert"),
        (SEAL, "ca/bob@contoso.com.key", "holds a private key"),
        (["compress", "mail.eml"], "ca/ca.key", "holds a private key"),
    ],
)
@pytest.mark.parametrize("way", ["itself", "another spelling", "symbolic link", "hard link"])
def test_a_file_that_is_read_is_not_replaced(
    files: Path, call: Run, arguments: list[str], target: str, said: str, way: str
) -> None:
    output = files / target
    if way == "another spelling":
        output = files / "ca" / ".." / target
    elif way == "symbolic link":
        output = files / "link"
        output.symlink_to(files / target)
    elif way == "hard link":
        output = files / "link"
        os.link(files / target, output)
    held = before(files)
    done = call(*arguments, "-o", str(output))
    assert done.status == 2
    assert said in done.err
    assert "name another file" in done.err
    assert before(files) == held


def test_the_certificates_that_are_saved_replace_nothing_that_is_read(
    files: Path, call: Run
) -> None:
    held = before(files)
    done = call(*VERIFY, "-o", "new.eml", "--save-certificates", "ca/ca.pem")
    assert done.status == 2
    assert "--save-certificates" in done.err
    assert before(files) == held


def test_what_is_read_from_standard_input_is_not_replaced(files: Path) -> None:
    import subprocess
    import sys

    held = before(files)
    with (files / "signed-1.eml").open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "smime_graph", "verify", "-", "--trust", "ca/ca.pem"]
            + ["-o", "signed-1.eml"],
            cwd=files,
            stdin=file,
            capture_output=True,
            check=False,
        )
    assert done.returncode == 2
    assert before(files) == held


def test_a_message_may_take_the_place_of_itself_where_it_is_protected(
    files: Path, call: Run
) -> None:
    assert call(*SEAL, "-o", "mail.eml").status == 0
    assert b"pkcs7-mime" in (files / "mail.eml").read_bytes()


def test_a_result_of_before_is_replaced(files: Path, call: Run) -> None:
    for _ in range(2):
        assert call(*SEAL, "-o", "sealed.eml").status == 0
        assert call(*VERIFY, "-o", "c.eml", "--save-certificates", "c.pem").status == 0
