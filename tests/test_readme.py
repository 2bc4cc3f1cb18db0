"""README shows what really happens: its programs and its commands are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def blocks(kind: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    return [text for language, text in fences if language == kind]


def test_the_first_two_commands_are_there() -> None:
    first = blocks("")[0].splitlines()
    commands = [line.split()[0] for line in first]
    assert commands == ["scripts/demo", "scripts/test"]
    for command in commands:
        assert os.access(ROOT / command, os.X_OK)


# A database left open is a ResourceWarning only from Python 3.13 on: here it is an error everywhere
WATCHED = """
import functools, sqlite3
databases = []
class Watched(sqlite3.Connection):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        databases.append(self)
sqlite3.connect = functools.partial(sqlite3.connect, factory=Watched)
"""
CLOSED = """
assert databases
for database in databases:
    try:
        database.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        continue
    raise ResourceWarning("a database was left open")
"""


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_its_programs_run(number: int, tmp_path: Path) -> None:
    program = blocks("python")[number]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WATCHED + program + CLOSED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    if number == 0:
        assert done.stdout.strip() == blocks("")[1].strip()


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_its_programs_pass_a_strict_type_checker(number: int, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(blocks("python")[number])
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_commands_print_what_it_shows(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(tmp_path / "none"),
    }
    shown = "".join(blocks("console"))
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", shown, re.MULTILINE)
    assert len(steps) > 5
    for command, expected in steps:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = done.stdout.replace("\r\n", "\n") + done.stderr
        if done.returncode:
            printed += f"[{done.returncode}]\n"
        pattern = re.escape(expected).replace(r"\.\.\.", ".*")
        assert re.fullmatch(pattern, printed), f"$ {command}\n{printed}"
