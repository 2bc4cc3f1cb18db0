"""What one piece of work costs several contestants: CPU time, in rounds that alternate.

A machine is noisy and machines differ. So all contestants of a row work in turn, several rounds of
them, and what counts is the ratio of their medians in one run.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import quantiles
from time import process_time


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of CPU, and where it is known the most memory in octets."""

    cpu: float
    peak: int = 0


Contestant = Callable[[int], Cost]
"""Does the work as often as it is told, and says what all of that cost."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    `beside` names the contestant that "ours" is measured against. `ratio`, `own` (microseconds that
    we may need more than it) and `peak` (MB) are the bounds of the project, None where there is
    none.
    """

    contestants: Mapping[str, Contestant]
    beside: str = "primitives"
    ratio: float | None = None
    own: float | None = None
    peak: float | None = None


Rows = Iterator[tuple[str, Callable[[], Row]]]
"""The name of each row, and how to make it: nothing is made before it is asked for."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds of CPU for one piece of work: the median of the rounds, and the quartiles."""

    median: float
    low: float
    high: float
    peak: int = 0


def in_process(function: Callable[[], object]) -> Contestant:
    """Work that this process does."""

    def work(count: int) -> Cost:
        start = process_time()
        for _ in range(count):
            function()
        return Cost(process_time() - start)

    return work


def in_children(
    function: Callable[[], object], besides: Callable[[], float] = lambda: 0.0
) -> Contestant:
    """Work that is done by processes which `function` starts and waits for.

    `besides` tells the seconds of CPU of one that stays.
    """

    def work(count: int) -> Cost:
        start = _children() + besides()
        for _ in range(count):
            function()
        return Cost(_children() + besides() - start)

    return work


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(row: Row, *, rounds: int, seconds: float, enough: float) -> dict[str, Spread]:
    """Each contestant's cost; a round of one takes about `seconds`, or one piece of work.

    After `enough` seconds of CPU, those of the children that ended among them, three rounds have to
    do.
    """
    start = process_time() + _children()
    counts: dict[str, int] = {}
    for name, work in row.contestants.items():
        before = process_time() + _children()
        cost = work(1).cpu  # what is made once is made now
        if process_time() + _children() - before < enough / 10:
            cost = work(1).cpu
        counts[name] = max(1, round(seconds / max(cost, 1e-6)))
    costs: dict[str, list[Cost]] = {name: [] for name in row.contestants}
    for done in range(rounds):
        if done >= 3 and process_time() + _children() - start > enough:
            break
        for name, work in row.contestants.items():
            costs[name].append(work(counts[name]))
    return {name: _spread(found, counts[name]) for name, found in costs.items()}


def _spread(costs: list[Cost], count: int) -> Spread:
    each = sorted(cost.cpu / count for cost in costs)
    low, median, high = quantiles(each, n=4, method="inclusive") if each[1:] else each * 3
    return Spread(median, low, high, max(cost.peak for cost in costs))
