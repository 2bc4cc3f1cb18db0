"""The demonstration does what README says of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


def test_the_demonstration_runs_to_its_end_and_leaves_its_folder_alone(tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "scripts", copy / "scripts")
    done = subprocess.run(
        [copy / "scripts" / "demo"],
        env={**os.environ, "VENV": str(Path(sys.executable).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "\x1b" in done.stdout) == (0, False), done.stderr
    assert "accepted: signed-and-encrypted, authenticated" in done.stdout
    assert "> Dear Bob, the figures are in: 42." in done.stdout
    if shutil.which("openssl"):
        assert "CMS Verification successful" in done.stderr + done.stdout
    assert done.stdout.splitlines()[-2].startswith("Done in ")
    assert {entry.name for entry in copy.iterdir()} == {"scripts", ".demo"}
