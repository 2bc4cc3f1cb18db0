"""What a piece of work costs, in calls of functions: a number that no machine and no load moves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def calls_of(work: Callable[[], object], *, of: tuple[str, ...] = ("call", "c_call")) -> int:
    """How many functions are called, of Python and of C, the second time."""
    work()
    with counted(of) as calls:
        work()
    return calls[0]


@contextmanager
def counted(of: tuple[str, ...] = ("call", "c_call")) -> Iterator[list[int]]:
    """How many functions are called in this thread meanwhile, as the one item of a list."""
    calls = [0]

    def counting(_: Any, event: str, __: Any) -> None:
        calls[0] += event in of

    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        yield calls
    finally:
        sys.setprofile(before)
