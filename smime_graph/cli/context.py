"""What is known while a verb runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import click

from . import terminal


@dataclass(slots=True)
class Run:
    """What `main` must know if the verb fails: `known` is what `--json` shows beside the error, and
    `done` what has become of a message for good ("sent"), whatever fails behind that.
    """

    json: bool = False
    debug: bool = False
    config: str | None = None
    verb: str | None = None
    status_of: Callable[[BaseException], int] = terminal.status_of
    known: dict[str, object] = field(default_factory=dict)
    done: str | None = None


def verb_path(ctx: click.Context) -> list[str]:
    """The words that name the verb: ["ca", "issue"]."""
    names: list[str] = []
    here: click.Context | None = ctx
    while here is not None and here.parent is not None:
        names.insert(0, here.info_name or "")
        here = here.parent
    return names


def run_of(ctx: click.Context) -> Run:
    run = ctx.find_object(Run)
    if run is None:  # a verb called from elsewhere, as a test may
        run = ctx.obj = Run()
    return run
