"""Other implementations as peers: people they all know, a way to run them, and the matrix."""

from __future__ import annotations

import shutil
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from smime_graph import CA, Identity, TrustStore

MATRIX = pytest.StashKey[dict[tuple[str, str, str], str]]()

Record = Callable[[str, str, str], None]
Run = Callable[..., bytes]

# what is signed and encrypted: canonical, with what must come out to the octet
ENTITY = (
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 7bit\r\n"
    b"\r\n"
    b"First line\r\n"
    b"\r\n"
    b"--not a delimiter\r\n"
    b"last line\r\n"
)


class Refused(Exception):
    """The peer ended with an error; the text is what it said."""


class People:
    """Certificates and keys of the test authority, in memory and as PEM files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ca = CA("interop root")
        self.root = ca.root
        self.trust = TrustStore.from_pem(ca.trust_pem)
        self._write("root.pem", ca.trust_pem)
        self.everyone: dict[str, Identity] = {}
        for kind in ("rsa-2048", "p256", "p384", "p521"):
            for person in ("alice", "bob"):
                name = f"{person}-{kind.removesuffix('-2048')}"
                identity = ca.issue(f"{person}@contoso.com", key=kind, name=name)
                self.everyone[name] = identity
                self._write(f"{name}.pem", identity.to_pem())

    def _write(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)

    def __getitem__(self, name: str) -> Identity:
        return self.everyone[name]


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="session")
def entity() -> bytes:
    return ENTITY


@pytest.fixture(scope="session")
def refused() -> type[Exception]:
    return Refused


@pytest.fixture(scope="session")
def run(people: People) -> Run:
    """Run a program in the folder of the PEM files; gives standard output, or raises `Refused`."""

    def run(*command: str | Path, data: bytes = b"") -> bytes:
        done = subprocess.run(
            [str(word) for word in command],
            input=data,
            cwd=people.folder,
            capture_output=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise Refused((done.stderr or done.stdout).decode("utf-8", "replace"))
        return done.stdout

    return run


@pytest.fixture(scope="session")
def need(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Skip where one of these programs is not installed; the matrix says so."""

    def need(*programs: str) -> None:
        missing = [program for program in programs if shutil.which(program) is None]
        if missing:
            _matrix(request.config)[missing[0], "everything", "-"] = "not installed"
            pytest.skip(f"{', '.join(missing)} is not installed")

    return need


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """`record(peer, row, way)` notes a success; `way` is "read" or "made", seen from here.

    The rows are counted at the end of the run, and listed with `-vv`.
    """

    def record(peer: str, row: str, way: str) -> None:
        _matrix(request.config)[peer, row, way] = "ok"

    return record


def _matrix(config: pytest.Config) -> dict[tuple[str, str, str], str]:
    return config.stash.setdefault(MATRIX, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    matrix = _matrix(terminalreporter.config)
    if not matrix:
        return
    terminalreporter.section("interop")
    for peer in dict.fromkeys(peer for peer, _, _ in sorted(matrix)):
        for way, verb in (("read", "read of"), ("made", "made for"), ("-", "skipped")):
            rows = sorted(
                row if outcome == "ok" else f"{row}: {outcome}"
                for (who, row, how), outcome in matrix.items()
                if (who, how) == (peer, way)
            )
            if rows:
                listed = terminalreporter.verbosity > 0 or way == "-"
                text = f"{verb} {peer}: {', '.join(rows) if listed else f'{len(rows)} rows'}"
                for line in textwrap.wrap(text, 98, subsequent_indent="    "):
                    terminalreporter.write_line(line)
