"""The manual pages: all of them, all that --help says, and nothing that roff takes otherwise."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from smime_graph.cli.program import PROGRAM
from smime_graph.cli.verbs import VERBS, load

from .man import _plain, pages

NAMES = [verb for verbs in VERBS.values() for verb in verbs]


def shown(text: str) -> str:
    """What a reader sees of a page, in one line."""
    text = re.sub(r"^\.[A-Za-z]+", "", text, flags=re.MULTILINE)
    for there, seen in (
        (r"\&", ""),
        (r"\fB", ""),
        (r"\fR", ""),
        (r"\(ti", "~"),
        (r"\(ha", "^"),
        (r"\(ga", "`"),
        (r"\(aq", "'"),
        (r"\-", "-"),
        (r"\e", "\\"),
    ):
        text = text.replace(there, seen)
    return " ".join(text.split())


def test_every_verb_has_a_page_and_the_program_lists_them() -> None:
    made = pages()
    assert made.keys() >= {"smime-graph.1", *(f"smime-graph-{verb}.1" for verb in NAMES)}
    assert {"smime-graph-ca-init.1", "smime-graph-ca-issue.1"} <= made.keys()
    whole = shown(made["smime-graph.1"])
    assert all(f"smime-graph-{verb}(1)" in whole for verb in NAMES)


@pytest.mark.parametrize("verb", NAMES)
def test_a_page_says_all_that_help_says(verb: str) -> None:
    command = load(verb)
    assert command is not None
    page = shown(pages()[f"smime-graph-{verb}.1"])
    settings = command.context_settings
    ctx = click.Context(command, parent=click.Context(PROGRAM), info_name=verb, **settings)
    assert f"smime-graph-{verb} - " in page
    for sentence in (command.help or "").replace("\b", "").split("\n\n"):
        assert " ".join(sentence.split()) in page
    options = [one.get_help_record(ctx) for one in command.get_params(ctx)]
    assert any(options)
    for record in options:
        if record is not None:
            assert " ".join(record[0].split()) + " " + " ".join(record[1].split()) in page


def test_text_is_never_an_instruction() -> None:
    assert _plain(".TH\n'so /etc/passwd\na\\fB-b") == "\\&.TH\n\\(aqso /etc/passwd\na\\efB\\-b"


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_has_nothing_to_complain_of(tmp_path: Path) -> None:
    for name, text in pages().items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", *sorted(tmp_path.iterdir())],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == b""


def test_the_script_writes_them(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "scripts" / "man"
    subprocess.run([script, tmp_path / "man1"], check=True, timeout=60, capture_output=True)
    written = {path.name: path.read_text() for path in (tmp_path / "man1").iterdir()}
    assert written == pages()
