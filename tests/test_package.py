"""The package from outside: its names, what importing it costs, its wheel elsewhere."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import smime_graph

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_is_exactly_the_public_names() -> None:
    for name in smime_graph.__all__:
        assert getattr(smime_graph, name) is not None, name
    text = (ROOT / "smime_graph" / "__init__.py").read_text()
    typed = text[text.index("if TYPE_CHECKING") : text.index("_HOME")]
    for_type_checkers = set(re.findall(r"import (\w+) as \1$", typed, re.MULTILINE))
    assert set(smime_graph.__all__) - {"__version__"} == for_type_checkers
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        smime_graph.nonsense  # noqa: B018


HEAVY = ("httpx", "asn1crypto", "pyhanko_certvalidator", "click", "sqlite3", "asyncio")
# of who encrypts, reads or is warned
OF_OTHERS = (
    *("smime_graph.cms.recipients.kinds", "smime_graph.cms.enveloped_data", "smime_graph.cms.ess"),
    *("smime_graph.cms.compressed_data", "smime_graph.smime.report", "logging"),
)


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import smime_graph", (*HEAVY, "cryptography", "email")),
        ("from smime_graph import sign, seal, verify, unseal, inspect", HEAVY),
        ("from smime_graph import Identity, sign", (*HEAVY, *OF_OTHERS)),
        ("from smime_graph.cli import keys, make; from smime_graph import sign", OF_OTHERS),
        # httpx imports click for a command line of its own
        ("from smime_graph import GraphClient", ("pyhanko_certvalidator", "asn1crypto", "sqlite3")),
        ("import smime_graph.pytest_plugin", (*HEAVY, "cryptography")),
        ("import smime_graph.cli", ("httpx", "pyhanko_certvalidator", "sqlite3", "asyncio")),
    ],
)
def test_imports_cost_nothing_until_used(code: str, absent: tuple[str, ...]) -> None:
    script = f"{code}; import sys; print([m for m in {absent!r} if m in sys.modules])"
    done = run(sys.executable, "-c", script, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing but the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    wheels = folder / "wheels"
    built = run(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, ROOT),
        cwd=folder,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    [wheel] = wheels.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    done = run(python, "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "venv" / "bin"


@pytest.mark.slow
def test_the_wheel_works_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    tool = installed / "smime-graph"
    env = {"XDG_CONFIG_HOME": str(tmp_path / "none")}
    for command in (
        ("ca", "init", "ca"),
        ("ca", "issue", "ca", "alice@contoso.com", "--key", "p256"),
        ("ca", "issue", "ca", "bob@contoso.com", "--key", "p256"),
    ):
        assert run(tool, *command, cwd=tmp_path, **env).returncode == 0
    (tmp_path / "mail.eml").write_bytes(
        b"From: alice@contoso.com\nTo: bob@contoso.com\nSubject: x\n\nhello\n"
    )
    sealed = run(
        *(tool, "seal", "mail.eml", "--signer", "ca/alice@contoso.com.key"),
        *("--recipient", "ca/bob@contoso.com.pem", "-o", "sealed.eml"),
        cwd=tmp_path,
        **env,
    )
    assert (sealed.returncode, sealed.stderr) == (0, "")
    opened = run(
        *(tool, "unseal", "sealed.eml", "--identity", "ca/bob@contoso.com.key"),
        *("--trust", "ca/ca.pem"),
        cwd=tmp_path,
        **env,
    )
    assert (opened.returncode, opened.stderr) == (0, "")
    assert opened.stdout.endswith("hello\n")


@pytest.mark.slow
def test_somebody_elses_tests_have_people_and_a_graph(installed: Path, tmp_path: Path) -> None:
    """A file of a test of three lines, the wheel and pytest: that is all."""
    names = run(installed / "python", "-m", "pip", "list", cwd=tmp_path).stdout.split()
    assert "smime-graph" in names
    assert "pytest" not in names
    done = run(*(installed / "python", "-m", "pip", "install", "--quiet", "pytest"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "test_mail.py").write_text(
        "def test_mail(smime_ca, graph_emulator):\n"
        '    alice, bob = (smime_ca.issue(f"{name}@contoso.com") for name in ("alice", "bob"))\n'
        "    assert bob.contact and graph_emulator.mailbox(alice.emails[0]).messages() == ()\n"
    )
    done = run(installed / "python", "-m", "pytest", "-q", "-W", "error", cwd=tmp_path)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_serves_the_emulator(installed: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [installed / "smime-graph", "emulate", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        printed = process.stdout.readline() + process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+\S*", printed)
        assert url is not None, printed
        script = (
            "import sys, urllib.request, urllib.error\n"
            "try: urllib.request.urlopen(sys.argv[1] + '/me/messages', timeout=10)\n"
            "except urllib.error.HTTPError as error: print(error.code)\n"
            "for one in '', 'inbox/inbox.css', 'inbox/inbox.js':\n"
            "    page = sys.argv[1].removesuffix('v1.0') + one\n"
            "    print(urllib.request.urlopen(page, timeout=10).status)\n"
        )
        done = run(installed / "python", "-c", script, url.group(0), cwd=tmp_path)
        assert (done.stdout, done.stderr) == ("401\n200\n200\n200\n", "")
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert errors == ""
