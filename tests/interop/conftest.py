"""Peers started once a run, and the matrix of what they did, shown at its end.

What a peer never does is not collected. What it is known to fail at is tried: the test passes where
it refuses in the words that are known, and fails where we refuse, where the words are others, and
where it does not fail any more. All that holds of the versions in MATRIX.md; what another version
refuses that is known of those is skipped, and what it does better is said at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import pytest

from smime_graph.harness.peers.drive import Missing, Refused

from .cases import COMPRESSION, MADE, OUR_NO, READ, ROWS
from .matrix import DIRECTIONS, FILE, Direction, Matrix, Outcome, as_text, from_markdown
from .peers.bouncycastle import BouncyCastle
from .peers.gnutls import GnuTls
from .peers.gpgsm import Gpgsm
from .peers.node import Node
from .peers.nss import Nss
from .peers.openssl import OpenSsl
from .peers.peer import Peer
from .peers.pkijs import PkiJs
from .peers.pyhanko import PyHanko
from .people import People

PEERS: dict[str, type[Peer]] = {
    "openssl": OpenSsl,
    "bouncycastle": BouncyCastle,
    "gpgsm": Gpgsm,
    "nss": Nss,
    "gnutls": GnuTls,
    "pyhanko": PyHanko,
    "pkijs": PkiJs,
    "node": Node,
}
COMPRESSORS = ("bouncycastle",)


def tried(name: str, direction: Direction) -> list[str]:
    """The rows that this peer is tried with."""
    cases = MADE if direction == "made" else READ
    rows = [case.name for case in cases if PEERS[name].lacks(direction, case) is None]
    return [*rows, COMPRESSION] if name in COMPRESSORS else rows


def attempts(direction: Direction, kind: type) -> pytest.MarkDecorator:
    """Parametrises a test by peer and case: whatever the peer does at all."""
    cases = [case for case in (MADE if direction == "made" else READ) if isinstance(case, kind)]
    pairs = [
        pytest.param(name, case, id=f"{name}-{case.name}")
        for name, peer in PEERS.items()
        for case in cases
        if peer.lacks(direction, case) is None
    ]
    return pytest.mark.parametrize(("peer", "case"), pairs, indirect=["peer"])


Try = Callable[[Direction, str], AbstractContextManager[None]]
_MATRIX = pytest.StashKey[Matrix]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_MATRIX] = Matrix(ROWS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """MATRIX.md is compared with what ran, so after all of it."""
    items.sort(key=lambda item: item.path.name == "test_matrix.py")


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
    for label, reason, rows in matrix.reasons():
        terminalreporter.write_line(f"{label}: {reason} ({_few(rows)})")
    for name in matrix.names.values():
        for direction in DIRECTIONS:
            for reason, rows in lacking(name, direction).items():
                terminalreporter.write_line(f"{name} is not tried: {reason} ({_few(rows)})")
    for line in matrix.newer:
        terminalreporter.write_line(line)
    for name, reason in matrix.missing.items():
        terminalreporter.write_line(f"{name}: {reason}")


def lacking(name: str, direction: Direction) -> dict[str, list[str]]:
    """What this peer is not tried with, by the reason."""
    reasons: dict[str, list[str]] = {}
    for case in MADE if direction == "made" else READ:
        reason = PEERS[name].lacks(direction, case)
        if reason is not None:
            reasons.setdefault(reason, []).append(f"{direction} {case.name}")
    return reasons


def _few(attempts: list[str]) -> str:
    return ", ".join(attempts[:3]) + (f" and {len(attempts) - 3} more" * (len(attempts) > 3))


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
            found: Peer | Missing = PEERS[name].start(people, tmp_path_factory.mktemp(name))
        except Missing as error:
            found = error
            matrix.missing[name] = str(error)
        else:
            matrix.names[found.label] = name
        started[name] = found
    found = started[name]
    if isinstance(found, Missing):
        pytest.skip(f"{name} is not installed: {found}")
    return found


@pytest.fixture(scope="session")
def measured() -> frozenset[str]:
    """The peers, with their versions, that the excuses hold for."""
    return frozenset(from_markdown(FILE.read_text("utf-8")))


@contextmanager
def attempting(
    peer: Peer, matrix: Matrix, measured: Container[str], direction: Direction, row: str
) -> Iterator[None]:
    def record(outcome: Outcome) -> None:
        matrix.record(row, peer.label, direction, outcome)

    excuses = (one for one in peer.known if one.holds_of(peer.label))
    known = next((one for one in excuses if one.covers(direction, row)), None)
    record(Outcome("failed", "the test ended"))
    try:
        yield
    except Refused as error:
        if known is not None and known.says in str(error):
            record(Outcome("fails", known.reason))
            return
        record(Outcome("failed", str(error)))
        if known is not None and peer.label not in measured:
            pytest.skip(f"{peer.label} refuses, as another version did: {known.reason}")
        raise
    except OUR_NO as error:
        record(Outcome("failed", str(error)))
        raise
    record(Outcome("ok"))
    if known is not None:
        stale = f"{peer.label}, {direction} {row}: no longer so: {known.reason}"
        assert peer.label not in measured, stale
        matrix.newer.append(stale)


@pytest.fixture
def attempt(peer: Peer, matrix: Matrix, measured: frozenset[str]) -> Try:
    """Records what comes of an attempt; one that the peer is known to fail at has to fail so."""
    return partial(attempting, peer, matrix, measured)


def flipped(data: bytes, part: bytes | memoryview) -> bytes:
    """`data` with one bit changed in the middle of `part`, which stands in it once or first."""
    at = data.index(bytes(part))
    middle = at + len(part) // 2
    return data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :]
