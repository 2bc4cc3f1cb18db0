"""Peers started once a run, and the matrix of what they did, shown at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from .cases import ENCRYPTION, OUR_NO, SIGNING, EncryptionCase, SigningCase
from .matrix import Direction, Matrix, Outcome, as_text
from .peers.bouncycastle import BouncyCastle
from .peers.gnutls import GnuTls
from .peers.gpgsm import Gpgsm
from .peers.node import Node
from .peers.nss import Nss
from .peers.openssl import OpenSsl
from .peers.peer import Cannot, Missing, Peer, Refused
from .peers.pkijs import PkiJs
from .peers.pyhanko import PyHanko
from .people import People

PEERS: dict[str, Callable[[People, Path], Peer]] = {
    "openssl": OpenSsl.start,
    "bouncycastle": BouncyCastle.start,
    "gpgsm": Gpgsm.start,
    "nss": Nss.start,
    "gnutls": GnuTls.start,
    "pyhanko": PyHanko.start,
    "pkijs": PkiJs.start,
    "node": Node.start,
}
COMPRESSION = "zlib"  # the one row of compressed data
ROWS = (*(case.name for case in SIGNING), *(case.name for case in ENCRYPTION), COMPRESSION)

Try = Callable[[Direction, str], AbstractContextManager[None]]
_MATRIX = pytest.StashKey[Matrix]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_MATRIX] = Matrix(ROWS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """README is compared with what ran, so after all of it."""
    items.sort(key=lambda item: item.path.name == "test_readme.py")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    matrix = config.stash.get(_MATRIX, Matrix())
    if not matrix.outcomes and not matrix.missing:
        return
    terminalreporter.section("algorithms and peers")
    for line in as_text(matrix.columns(), matrix.rows):
        terminalreporter.write_line(line)
    terminalreporter.write_line("→ ours was read by the peer, ← the peer's was read by us, ↔ both")
    for label, reason, attempts in matrix.reasons():
        few = ", ".join(attempts[:3]) + (f" and {len(attempts) - 3} more" * (len(attempts) > 3))
        terminalreporter.write_line(f"{label}: {reason} ({few})")
    for name, reason in matrix.missing.items():
        terminalreporter.write_line(f"{name}: {reason}")


@pytest.fixture(scope="session")
def matrix(request: pytest.FixtureRequest) -> Matrix:
    return request.config.stash[_MATRIX]


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="session")
def started(
    people: People, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Peer | Missing]]:
    """The peers that were asked for so far, or why they cannot be had."""
    known: dict[str, Peer | Missing] = {}
    yield known
    for peer in known.values():
        if not isinstance(peer, Missing):
            peer.close()


@pytest.fixture
def peer(
    request: pytest.FixtureRequest,
    started: dict[str, Peer | Missing],
    people: People,
    matrix: Matrix,
    tmp_path_factory: pytest.TempPathFactory,
) -> Peer:
    """The peer that the parameter names; where it is missing, skipped with what to install."""
    name: str = request.param
    if name not in started:
        try:
            started[name] = PEERS[name](people, tmp_path_factory.mktemp(name))
        except Missing as error:
            started[name] = error
            matrix.missing[name] = str(error)
    found = started[name]
    if isinstance(found, Missing):
        pytest.skip(str(found))
    return found


@pytest.fixture
def attempt(peer: Peer, matrix: Matrix) -> Try:
    """Records what comes of an attempt; one that the peer is known to fail at may fail."""

    @contextmanager
    def attempting(direction: Direction, row: str) -> Iterator[None]:
        def record(outcome: Outcome) -> None:
            matrix.record(row, peer.label, direction, outcome)

        record(Outcome("failed", "the test ended"))
        try:
            yield
        except Cannot as error:
            record(Outcome("lacks", str(error)))
            pytest.skip(f"{peer.label}: {error}")
        except (Refused, *OUR_NO) as error:
            reason = next((one.reason for one in peer.known if one.covers(direction, row)), None)
            if reason is None:
                record(Outcome("failed", str(error)))
                raise
            record(Outcome("fails", reason))
            # no xfail: hundreds of lines at the end of the run, where skips are counted by reason
            pytest.skip(f"{peer.label}: {reason}")
        record(Outcome("ok"))

    return attempting


def flipped(data: bytes, part: bytes | memoryview) -> bytes:
    """`data` with one bit changed in the middle of `part`, which stands in it once or first."""
    at = data.index(bytes(part))
    middle = at + len(part) // 2
    return data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :]


def names(case: SigningCase | EncryptionCase) -> str:
    return case.name
