"""What is known while a verb runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click

from . import terminal


class Run:
    """What `main` must know if the verb fails: `known` is what `--json` shows beside the error, and
    `done` what has become of a message for good ("sent"), whatever fails behind that.
    """

    def __init__(self, *, json: bool = False, debug: bool = False) -> None:
        self.json = json
        self.debug = debug
        self.config: str | None = None
        self.verb: str | None = None
        self.status_of: Callable[[BaseException], int] = terminal.status_of
        self.known: dict[str, object] = {}
        self.done: str | None = None


def user_file() -> str | None:
    """Where the user's own configuration is looked for; None where there is no such place."""
    folder = click.get_app_dir("smime-graph")
    # "All paths must be absolute" (XDG base directory specification); a relative one would be in
    # the current folder
    return os.path.join(folder, "config.toml") if os.path.isabs(folder) else None  # noqa: PTH118, PTH117


def cache_file(name: str) -> str | None:
    """Where what can be made again is kept for the user; None where there is no such place."""
    if sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        folder = os.path.expanduser("~/Library/Caches")  # noqa: PTH111
    else:
        folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return os.path.join(folder, "smime-graph", name) if os.path.isabs(folder) else None  # noqa: PTH118, PTH117


def contacts_file() -> str | None:
    """Where the user's address book is, unless another one is named; None where there is no such
    place.
    """
    if sys.platform in ("win32", "darwin"):
        folder = click.get_app_dir("smime-graph", roaming=False)
    else:
        # as for the configuration: a relative path is to be ignored
        named = os.environ.get("XDG_DATA_HOME", "")
        base = named if os.path.isabs(named) else "~/.local/share"  # noqa: PTH117
        folder = os.path.join(os.path.expanduser(base), "smime-graph")  # noqa: PTH111, PTH118
    return os.path.join(folder, "contacts.sqlite") if os.path.isabs(folder) else None  # noqa: PTH117, PTH118


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
