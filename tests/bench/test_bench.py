"""That scripts/bench measures, and says what it measured; never how long anything takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from . import chart
from .__main__ import run
from .measure import Contestant, Cost, Row, Spread, measured


def costing(*seconds: float, peak: int = 0) -> tuple[Contestant, Callable[[], list[int]]]:
    """A contestant that costs so much for one piece of work, in turn; and how often it was asked
    for how many."""
    asked: list[int] = []

    def work(count: int) -> Cost:
        asked.append(count)
        return Cost(count * seconds[min(len(asked) - 1, len(seconds) - 1)], peak)

    return work, lambda: asked


def test_rounds_alternate_and_the_median_is_that_of_one_piece_of_work() -> None:
    order: list[str] = []
    fast, asked_fast = costing(9.0, 0.01, 0.03, 0.01, 0.02, peak=7)
    slow, asked_slow = costing(1.0)

    def noted(name: str, work: Contestant) -> Contestant:
        def noting(count: int) -> Cost:
            order.append(name)
            return work(count)

        return noting

    row = Row({"ours": noted("ours", fast), "primitives": noted("primitives", slow)})
    found = measured(row, rounds=3, seconds=0.1, enough=8)
    # the first is for what is made once, the second says how many make a round
    assert asked_fast() == [1, 1, 10, 10, 10]
    assert asked_slow() == [1, 1, 1, 1, 1]
    assert order[4:] == ["ours", "primitives"] * 3
    assert found["ours"].median == pytest.approx(0.02)
    assert found["ours"].low < found["ours"].median < found["ours"].high
    assert found["ours"].peak == 7
    assert found["primitives"] == Spread(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, None),
        ({"ratio": 3.0}, True),
        ({"ratio": 2.9}, False),
        ({"own": 2e6}, True),
        ({"own": 1.9e6}, False),
        ({"ratio": 3.0, "peak": 48}, True),
        ({"ratio": 3.0, "peak": 47}, False),
    ],
)
def test_a_row_meets_its_bounds_or_does_not(
    bounds: dict[str, float], expected: bool | None
) -> None:
    row = Row({}, **bounds)  # type: ignore[arg-type]
    spreads = {"ours": Spread(3, 3, 3, 48_000_000), "primitives": Spread(1, 1, 1)}
    found = chart.facts("work", row, spreads)
    assert (found["ratio"], found["own_us"]) == (3.0, 2e6)
    assert chart.meets(found) is expected
    assert (" !" in chart.table([found])) is (expected is False)


def test_one_row_from_the_message_to_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "clear-sign 10 KB, p256"
    words = ["--quick", "--without-peers", "--only", name, "--out", str(tmp_path)]
    assert run(words) == 0
    written = json.loads((tmp_path / "bench.json").read_text())
    (row,) = written["rows"]
    assert row["name"] == name
    assert set(row["contestants"]) == {"ours", "primitives", "pyca"}
    for one in row["contestants"].values():
        low, high = one["quartiles_us"]
        assert 0 < low <= one["median_us"] <= high
    assert row["wanted"] == {"ratio": 2.8, "own_us": 60.0, "peak_mb": None}
    assert written["machine"]["cores"]
    assert written["machine"]["cpu"]
    picture = ElementTree.fromstring((tmp_path / "bench.svg").read_text())
    assert any(text.text == name for text in picture.iter("{http://www.w3.org/2000/svg}text"))
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("name", ["clear-sign 10 KB, p256", "sign 1 KB"])
def test_where_the_time_of_a_row_goes_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Of what this process does, and of one that it starts."""
    assert run(["--quick", "--profile", "--only", name, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert name in said
    assert "tottime" in said
    assert ("{method 'sign' of" in said) or ("load_der_private_key" in said) or ("loads" in said)
    assert list(tmp_path.iterdir()) == []
