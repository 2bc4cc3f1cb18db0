"""What a piece of work costs, in calls of functions: a number that no machine and no load moves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def calls_of(work: Callable[[], object], *, of: tuple[str, ...] = ("call", "c_call")) -> int:
    """How many functions are called, of Python and of C, the second time."""
    work()
    count = 0

    def counting(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event in of

    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count
