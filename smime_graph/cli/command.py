"""A verb and its options, as click has them.

An option comes from the command line, else from the environment (SMIME_GRAPH_<OPTION>), else from
the configuration file, else it has its default.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..arguments import file_name
from ..errors import UsageError
from . import config, terminal
from .context import run_of, verb_path


class Option(click.Option):
    """An option that is also read from SMIME_GRAPH_<OPTION>."""

    def __init__(self, declarations: Sequence[str] | None = None, **attributes: Any) -> None:
        super().__init__(declarations, **attributes)
        if self.envvar is None:
            name = max(self.opts, key=len).lstrip("-").replace("-", "_").upper()
            self.envvar = f"SMIME_GRAPH_{name}"

    def value_from_envvar(self, ctx: click.Context) -> Any:
        if not self.multiple:
            return super().value_from_envvar(ctx)
        text = self.resolve_envvar_value(ctx)
        parts = [one for one in (text or "").split(os.pathsep) if one]
        if not parts and self.name in ("signer", "recipient") and str(self.envvar) in os.environ:
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
        _check_outputs(self, ctx.params)
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


_OUTPUTS = ("output", "save_certificates")
_PROTECTED = (b"PRIVATE KEY-----", b"PuTTY-User-Key-File")
# what these read is the only copy that can be judged again
_READS_PROTECTION = ("verify", "decrypt", "unseal", "decompress", "examine", "inspect")


def _check_outputs(verb: Verb, given: Mapping[str, Any]) -> None:
    """UsageError where a result would take the place of a file that this very call reads, or of a
    private key.
    """
    outputs = {n: given[n] for n in _OUTPUTS if given.get(n) not in (None, "-")}
    for name, output in outputs.items():
        try:
            target = Path(output).stat()
        except (OSError, ValueError):
            continue  # nothing is there, or it is said when it is written
        if not stat.S_ISREG(target.st_mode):
            continue
        option = "-o" if name == "output" else f"--{name.replace('_', '-')}"
        if (reader := _reader_of(verb, given, target)) is not None:
            raise UsageError(
                f"{option} {file_name(output)} would replace what {reader} reads",
                hint="name another file for the result",
            )
        if _holds_key(Path(output)):
            raise UsageError(
                f"{option} {file_name(output)} holds a private key, which nothing replaces",
                hint="name another file for the result; a key that is not wanted is to be deleted",
            )


def _reader_of(verb: Verb, given: Mapping[str, Any], target: os.stat_result) -> str | None:
    """The option or argument that names the file; None if none does."""
    for parameter in verb.params:
        name = parameter.name or ""
        is_message = isinstance(parameter, click.Argument)
        if name in _OUTPUTS or (is_message and verb.name not in _READS_PROTECTION):
            continue
        if not is_message and not getattr(parameter.type, "is_path", False):
            continue
        value = given.get(name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, str) and _is_same(one, target, is_message):
                return "the message" if is_message else max(parameter.opts, key=len)
    return None


def _is_same(path: str, target: os.stat_result, is_message: bool) -> bool:
    try:
        found = os.fstat(0) if is_message and path == "-" else Path(path).stat()
    except (OSError, ValueError):
        return False
    return os.path.samestat(found, target)


def _holds_key(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(1 << 16)
    except OSError:
        return False
    is_container = path.suffix.lower() in (".p12", ".pfx") and start[:1] == b"\x30"
    return is_container or any(mark in start for mark in _PROTECTED)


def _common_options() -> list[click.Parameter]:
    def configure(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if not ctx.resilient_parsing:
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
            help="Show where an error comes from.",
        ),
    ]
