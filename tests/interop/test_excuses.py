"""What is forgiven: each excuse by one section and one refusal, for attempts that are made."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from smime_graph.errors import MalformedMessage
from smime_graph.harness.peers.drive import Refused

from .cases import Rejected
from .conftest import PEERS, attempting, tried
from .matrix import DIRECTIONS, Direction, Matrix, Outcome
from .peers.peer import Known

KNOWN = [
    pytest.param(name, known, id=f"{name}-{known.direction}-{known.row}")
    for name, peer in PEERS.items()
    for known in peer.known
]


@pytest.mark.parametrize(("name", "known"), KNOWN)
def test_an_excuse_is_for_something_that_is_tried_and_names_a_section(
    name: str, known: Known
) -> None:
    assert any(known.covers(known.direction, row) for row in tried(name, known.direction))
    assert re.search(r"RFC \d{4} \d+(\.\d+)*\b", known.reason)
    assert len(known.says) > 5


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", PEERS)
def test_no_attempt_has_two_excuses(name: str, direction: Direction) -> None:
    excuses = PEERS[name].known
    versions = {"0"} | {limit for one in excuses for limit in (one.before, one.since) if limit}
    for row in tried(name, direction):
        covering = [one for one in excuses if one.covers(direction, row)]
        for version in versions:
            fit = [one for one in covering if one.holds_of(f"Peer {version}")]
            assert len(fit) <= 1, (row, version, fit)


PEER: Any = SimpleNamespace(
    label="Peer 1.0", known=(Known("made", "row", "no such curve", "no curves (RFC 5753 7.1.2)"),)
)


def outcome(error: Exception | None, measured: tuple[str, ...] = ("Peer 1.0",)) -> Outcome:
    matrix = Matrix(("row",))
    with attempting(PEER, matrix, measured, "made", "row"):
        if error is not None:
            raise error
    assert bool(matrix.newer) == (error is None)
    return matrix.outcomes["row", "Peer 1.0", "made"]


def test_a_refusal_in_the_words_that_are_known_is_forgiven() -> None:
    assert outcome(Refused("error: no such curve")).state == "fails"


@pytest.mark.parametrize(
    "error",
    [
        Rejected("no such curve"),
        MalformedMessage("no such curve"),
        Refused("segmentation fault"),
        AssertionError("no such curve"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_nothing_else_is_forgiven(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        outcome(error)


def test_a_stale_excuse_fails() -> None:
    with pytest.raises(AssertionError, match=r"made row: no longer so: no curves"):
        outcome(None)


def test_another_version_may_do_better_and_may_fail_in_other_words_where_one_failed() -> None:
    assert outcome(None, measured=()).state == "ok"
    with pytest.raises(pytest.skip.Exception, match="refuses, as another version did"):
        outcome(Refused("unknown curve"), measured=())
    with pytest.raises(Rejected):
        outcome(Rejected("unknown curve"), measured=())
