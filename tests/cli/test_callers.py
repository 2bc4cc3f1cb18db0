"""The real programs that call sendmail: mutt, s-nail and cron (git is in test_sendmail)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Run
from .test_sendmail import CONFIG, WRAPPER, received, send

__all__ = ["received", "send"]  # fixtures

MUTT = """
set sendmail="{sendmail} -oem -oi"
set from="alice@contoso.com" realname="Alice" use_envelope_from=yes copy=no
"""
CRON = """
set -e
mount --bind {folder}/sbin /usr/sbin
mount --bind {folder}/tabs /var/spool/cron/crontabs
mount --bind {folder}/crontab /etc/crontab
mount --bind {folder}/cron.d /etc/cron.d
mount -t tmpfs none /run
exec /usr/sbin/cron -f
"""


def _sendmail(here: Path) -> Path:
    """The wrapper, with the configuration of the test; it leaves its status behind."""
    path = here / "sbin" / "sendmail"
    path.parent.mkdir()
    path.write_text(
        f"#!/bin/sh\nexport SMIME_GRAPH_CONFIG={here}/c.toml HOME={here}/home\n"
        f'{WRAPPER} "$@" 2>{here}/said; status=$?\necho $status > {here}/status.new\n'
        f"mv {here}/status.new {here}/status\nexit $status\n"
    )
    path.chmod(0o755)
    return path


def mutt(here: Path) -> None:
    (here / "muttrc").write_text(MUTT.format(sendmail=_sendmail(here)))
    words = ["mutt", "-n", "-F", "muttrc", "-s", "Report", "-b", "carol@contoso.com"]
    subprocess.run([*words, "bob@contoso.com"], input=b"all is well\n", cwd=here, check=True)


def s_nail(here: Path) -> None:
    words = ["s-nail", "-n", "-S", "v15-compat", "-S", f"mta={_sendmail(here)}", "-S", "sendwait"]
    words += ["-S", "from=alice@contoso.com", "-s", "Report", "-b", "carol@contoso.com"]
    subprocess.run([*words, "bob@contoso.com"], input=b"all is well\n", cwd=here, check=True)


def cron(here: Path) -> None:
    """In a place of its own (mount namespace), where a job of root's runs when cron begins."""
    _sendmail(here)
    shutil.copy("/usr/sbin/cron", here / "sbin")
    for name in ("tabs", "cron.d"):
        (here / name).mkdir()
    (here / "crontab").write_text("")
    (here / "text").write_text("all is well\n")
    (here / "tabs" / "root").write_text(f"MAILTO=bob\n@reboot cat {here}/text\n")
    (here / "tabs" / "root").chmod(0o600)
    (here / "run").write_text(CRON.format(folder=here))
    process = subprocess.Popen(["unshare", "-m", "sh", "run"], cwd=here)
    try:
        end = time.monotonic() + 60
        while not (here / "status").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()


def _has_namespaces() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = "mount -t tmpfs none /run && mount --bind /usr/sbin /usr/sbin"
    done = subprocess.run(["unshare", "-m", "sh", "-c", tried], capture_output=True, check=False)
    return done.returncode == 0


def _needs(program: str) -> pytest.MarkDecorator:
    is_missing = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None
    return pytest.mark.skipif(is_missing, reason=f"{program} is not installed")


PROGRAMS = [
    pytest.param(mutt, marks=_needs("mutt"), id="mutt"),
    pytest.param(s_nail, marks=_needs("s-nail"), id="s-nail"),
    pytest.param(
        cron,
        marks=[
            _needs("cron"),
            pytest.mark.skipif(
                not _has_namespaces(), reason="cron is run in a mount namespace, by root"
            ),
        ],
        id="cron",
    ),
]


@pytest.fixture
def sealed_by(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes the configuration, with what it has beside the signer."""
    (here / "home").mkdir(exist_ok=True)
    (here / "bin").mkdir()
    (here / "bin" / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (here / "bin" / "python3").chmod(0o755)
    # a checkout without .venv takes the python3 of the PATH
    monkeypatch.setenv("PATH", f"{here / 'bin'}:{os.environ['PATH']}")

    def write(more: str) -> None:
        text = CONFIG.replace('emulator-data = "box.db"\n', "")
        (here / "c.toml").write_text(f"{text}{more}\n")

    return write


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_program_writes_is_sealed(
    here: Path,
    received: Run,
    sealed_by: Callable[[str], None],
    program: Callable[[Path], None],
) -> None:
    sealed_by('emulator-data = "box.db"')
    program(here)
    assert (here / "status").read_text() == "0\n"
    said = (here / "said").read_text()
    text = str(received("bob"))
    assert text.endswith("\n\nall is well\n")
    if program is cron:
        assert "From: Cron Daemon <alice@contoso.com>\n" in text
        assert "To: bob@contoso.com\n" in text
        assert said == ""
        return
    assert said.startswith("smime-graph: warning: the message has Bcc recipients")
    assert "Subject: Report\n" in text
    assert "carol" not in text  # who is Bcc
    assert str(received("carol")).endswith("\n\nall is well\n")


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_survives_that_graph_is_away(
    here: Path,
    call: Run,
    received: Run,
    sealed_by: Callable[[str], None],
    program: Callable[[Path], None],
) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{one.getsockname()[1]}/v1.0"
        sealed_by(f'outbox = "o.db"\ntoken-file = "token"\ngraph-url = "{away}"')
        program(here)
    assert (here / "status").read_text() == "0\n"
    assert "message 1 of the outbox" in (here / "said").read_text()
    assert b"all is well" not in (here / "o.db").read_bytes()
    done = call("outbox", "run", "o.db", "--emulator-data", "box.db", "--json")
    assert done.status == 0, done.err
    assert str(received("bob")).endswith("\n\nall is well\n")
    if program is not cron:
        assert str(received("carol")).endswith("\n\nall is well\n")
        listed = json.loads(call("outbox", "list", "o.db", "--json").out)["messages"]
        # nobody sees for whom else it is encrypted
        assert [one["recipients"] for one in listed] == [["bob@contoso.com"], ["carol@contoso.com"]]
        assert "has Bcc recipients" not in (here / "said").read_text()
