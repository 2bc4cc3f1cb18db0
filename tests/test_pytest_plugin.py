"""The fixtures for other people's tests, in a folder of somebody else's."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from smime_graph import pytest_plugin

EXAMPLE = textwrap.dedent(str(pytest_plugin.__doc__).partition("\n\n")[2].rpartition("\n\nWhat")[0])


def run(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_mail.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "smime_graph.pytest_plugin", *options],
        cwd=folder,
        # whether this checkout was installed since the plugin came is not what is asked
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_example_in_its_documentation_runs_as_it_stands(tmp_path: Path) -> None:
    assert "def test_mail(smime_ca, graph_emulator):" in EXAMPLE
    done = run(tmp_path, EXAMPLE, "-W", "error")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    # and it can fail
    done = run(tmp_path, EXAMPLE.replace('email == "alice@', 'email == "carol@'))
    assert "1 failed" in done.stdout


def test_an_authority_and_a_family_are_made_once_and_a_graph_for_each_test(tmp_path: Path) -> None:
    text = """
        seen = []

        def test_first(smime_ca, smime_family, graph_emulator):
            seen.extend([smime_ca, smime_family, graph_emulator])
            graph_emulator.mailbox("alice@contoso.com").put(b"From: a@b.example\\r\\n\\r\\nx")
            expired = smime_family["expired"].identity.certificate
            assert expired.not_after < smime_family.at
            assert len(smime_family) > 100

        def test_second(smime_ca, smime_family, graph_emulator):
            assert seen[:2] == [smime_ca, smime_family]
            assert seen[2] is not graph_emulator
            assert graph_emulator.mailbox("alice@contoso.com").messages() == ()

        def test_files(smime_ca):
            alice = smime_ca.issue("alice@contoso.com", key="p256")
            with alice.tempfile() as key, smime_ca.tempfile() as roots:
                assert type(alice).load(key).certificate == alice.certificate
                assert type(smime_ca.trust).load(roots).anchors == smime_ca.trust.anchors
                assert key.stat().st_mode & 0o77 == 0
            assert not key.exists() and not roots.exists()
    """
    done = run(tmp_path, textwrap.dedent(text), "-W", "error")
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_a_test_that_asks_for_nothing_pays_nothing(tmp_path: Path) -> None:
    heavy = ("cryptography", "asn1crypto", "httpx", "sqlite3", "click", "smime_graph.pki")
    text = f"""
        import sys

        def test_nothing():
            assert "smime_graph.pytest_plugin" in sys.modules
            assert [name for name in {heavy!r} if name in sys.modules] == []
    """
    done = run(tmp_path, textwrap.dedent(text))
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_fixtures_are_told_of(tmp_path: Path) -> None:
    done = run(tmp_path, "", "--fixtures")
    for name in pytest_plugin.__all__:
        assert name in done.stdout
    assert {name for name in vars(pytest_plugin) if _is_fixture(name)} == set(pytest_plugin.__all__)


def _is_fixture(name: str) -> bool:
    return isinstance(getattr(pytest_plugin, name), type(pytest.fixture(lambda: None)))
