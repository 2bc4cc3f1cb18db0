"""A verb and its options, as click has them.

An option comes from the command line, else from the environment (SMIME_GRAPH_<OPTION>), else from
the configuration file, else it has its default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import click

from . import terminal
from .context import run_of, verb_path


class Option(click.Option):
    """An option that is also read from SMIME_GRAPH_<OPTION>."""

    def __init__(self, declarations: Sequence[str] | None = None, **attributes: Any) -> None:
        super().__init__(declarations, **attributes)
        if self.envvar is None:
            name = max(self.opts, key=len).lstrip("-").replace("-", "_").upper()
            self.envvar = f"SMIME_GRAPH_{name}"

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None or not self.multiple:
            return record
        return record[0], f"{record[1]}  [may be repeated]"

    def value_from_envvar(self, ctx: click.Context) -> Any:
        if not self.multiple:
            return super().value_from_envvar(ctx)
        text = self.resolve_envvar_value(ctx)
        parts = [one for one in (text or "").split(os.pathsep) if one]
        if not parts and self.name in ("signer", "recipient") and str(self.envvar) in os.environ:
            from ..errors import UsageError

            # "$BOB" where BOB is not set must not turn sealed mail into mail in the clear
            raise UsageError(
                f"{self.envvar} is set, and names nothing",
                hint="name a file in it, or unset it: without it nothing is signed or encrypted",
            )
        if not parts:
            return None
        for number in range(len(parts) - 1, 0, -1):
            if parts[number - 1].lower() == "pkcs11":  # a URI has a colon of its own
                parts[number - 1 : number + 1] = [f"{parts[number - 1]}:{parts[number]}"]
        return parts


class Verb(click.Command):
    """A verb: its common options, the configuration file, and its statuses in `--help`."""

    status_of: Callable[[BaseException], int] = staticmethod(terminal.status_of)
    status_text = terminal.STATUS_TEXT

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        attributes.setdefault("context_settings", {})
        attributes["context_settings"].setdefault("help_option_names", ["-h", "--help"])
        super().__init__(*arguments, **attributes)
        self.params += _common_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        run = run_of(ctx)
        run.verb, run.status_of = " ".join(verb_path(ctx)), self.status_of
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        from . import outputs

        outputs.check(self, ctx.params)
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text(self.status_text)
        formatter.write_paragraph()
        formatter.write_text(
            "Options also come from the environment (SMIME_GRAPH_<OPTION>; several values are"
            f" separated by '{os.pathsep}') and from the configuration file, tables [defaults] and"
            f" [{'.'.join(verb_path(ctx))}]."
        )


def _common_options() -> list[click.Parameter]:
    def configure(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if not ctx.resilient_parsing:
            from . import config

            config.apply(ctx, value or run_of(ctx).config, verb_path(ctx))

    def note(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
        def callback(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
            setattr(run_of(ctx), name, value or getattr(run_of(ctx), name))

        return callback

    return [
        # first: what it sets are the defaults of the others
        Option(
            ["--config"],
            metavar="FILE",
            is_eager=True,
            expose_value=False,
            callback=configure,
            help="Configuration (TOML) instead of the user's own.",
        ),
        Option(
            ["--json"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=note("json"),
            help="One JSON object on standard output.",
        ),
        Option(
            ["--debug"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=note("debug"),
            help="Show where an error comes from, and each request to Graph.",
        ),
    ]
