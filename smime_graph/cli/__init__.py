"""The command line: `smime-graph VERB [MESSAGE] [options]`.

The rules of this package:

- What a program reads goes to standard output and nothing else does; people's text goes to standard
  error (`terminal`). Nothing that came from outside reaches either with a control character in it.
- A verb returns what it has to say as a value and calls `files.deliver` once, at its end: a file is
  replaced whole or not at all, and nothing is written before the verb has succeeded.
- Statuses are those of `terminal.Status`, by the class of the error, in one place.
- A secret is never the value of an option, so that it is in no process list and in no history.
- Nothing but click is imported until a verb runs: `--help` and `--version` are instant.

The module of a verb is named in `verbs.VERBS` and imported when the verb is called.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext

import click

from . import terminal
from .context import Run
from .program import PROGRAM
from .terminal import Status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the answer is its exit status. Raises nothing but what ends a process."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "_SMIME_GRAPH_COMPLETE" in os.environ:  # the shell asks for completions
        PROGRAM.main(words, prog_name="smime-graph", complete_var="_SMIME_GRAPH_COMPLETE")
    run = Run(json="--json" in words, debug="--debug" in words)

    def is_done() -> bool:
        return arguments is None and run.done is not None  # None: the process is ours

    try:
        with warnings.catch_warnings(), terminal.termination_raises(is_done):
            if not sys.warnoptions:
                # a strange certificate makes libraries warn: that is no text of ours
                warnings.simplefilter("ignore")
            with (
                terminal.show_log() if run.debug else nullcontext(),
                PROGRAM.make_context("smime-graph", words, obj=run) as context,
            ):
                PROGRAM.invoke(context)
            return Status.YES
    except click.exceptions.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, click.Abort):
        _report_interruption(run)
        return Status.INTERRUPTED
    except SystemExit:  # SIGTERM, SIGHUP
        _report_interruption(run)
        raise
    except terminal.ClosedPipe:
        return Status.YES
    except Exception as error:  # noqa: BLE001 - the last one to see it: a traceback helps nobody
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            terminal.abandon_stdout()
            return Status.YES
        return _report_failure(error, run)


def _report_interruption(run: Run) -> None:
    """Who ends the program behind a send must not take it for one that failed."""
    if run.done is not None:
        terminal.complain("warning", f"interrupted: the message was {run.done}")
        terminal.hint("do not repeat it")


def _report_failure(error: Exception, run: Run) -> int:
    if run.debug:
        import traceback

        traceback.print_exception(error)
    known: dict[str, object] = run.known
    try:
        terminal.explain(error, verb=run.verb)
        if run.json:
            from . import files

            shown = terminal.as_json(error, verb=run.verb)
            files.write_json({**known, "verdict": "rejected", "error": shown})
    except terminal.ClosedPipe:
        pass  # the status still says no
    except Exception as worse:  # noqa: BLE001 - standard output is full: the status is what is left
        terminal.complain("error", str(worse))
    return run.status_of(error)
