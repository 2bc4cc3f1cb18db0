"""The program and its verbs: which there are, and how their options are found.

An option comes from the command line, else from the environment (SMIME_GRAPH_<OPTION>), else from
the configuration file, else it has its default.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import click

from .. import __version__
from ..errors import UsageError
from . import config, terminal

# verb: module of this package, what it does. `program --help` reads only this.
VERBS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Messages": {
        "sign": ("make", "Sign a message."),
        "encrypt": ("make", "Encrypt a message, without a signature."),
        "seal": ("make", "Sign a message, then encrypt it."),
        "compress": ("make", "Make a message smaller, without protection."),
        "certs-only": ("make", "Write certificates as a part that others can import."),
        "verify": ("open", "Check the signature and write the signed content."),
        "decrypt": ("open", "Write what is encrypted, whoever wrote it."),
        "decompress": ("open", "Write what a compressed message holds."),
        "unseal": ("open", "Take every layer off and check every signature."),
        "examine": ("open", "Say everything there is to say about a message."),
        "inspect": ("open", "Show layers, algorithms and recipients; no key needed."),
        "receipt": ("receipts", "Write the signed receipt that a message asks for."),
        "verify-receipt": ("receipts", "Check a signed receipt against the original."),
    },
    "Graph": {
        "send": ("send", "Send a message."),
        "reply": ("send", "Reply to the sender of a message."),
        "reply-all": ("send", "Reply to everyone of a message."),
        "forward": ("send", "Forward a message."),
        "draft": ("draft", "Put a message into Drafts."),
        "draft-update": ("draft", "Replace the content of a draft."),
        "draft-send": ("draft", "Send a draft."),
        "fetch": ("fetch", "Write a message of the mailbox."),
        "list": ("fetch", "List the newest messages."),
        "delete": ("fetch", "Delete a message: a draft, a copy in Sent Items."),
        "check": ("check", "Say what would go wrong on sending; no request is made."),
        "round-trip": ("check", "Send to oneself, fetch the copy, verify it."),
        "emulate": ("emulate", "Serve an emulated Graph on this machine."),
        "sendmail": ("sendmail", "Take a message as /usr/sbin/sendmail does."),
    },
    "Certificates": {
        "ca": ("ca", "A test authority: init, issue."),
    },
}
_MODULE_OF = {verb: entry for verbs in VERBS.values() for verb, entry in verbs.items()}


@dataclass(slots=True)
class Run:
    """What `main` must know if the verb fails: `known` is what `--json` shows beside the error, and
    `done` what has become of a message for good ("sent"), whatever fails behind that.
    """

    json: bool = False
    debug: bool = False
    config: str | None = None
    verb: str | None = None
    known: dict[str, object] = field(default_factory=dict)
    done: str | None = None


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

    statuses: Callable[[BaseException], int] = staticmethod(terminal.status_of)
    status_text = terminal.STATUS_TEXT

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        attributes.setdefault("context_settings", {})
        attributes["context_settings"].setdefault("help_option_names", ["-h", "--help"])
        super().__init__(*arguments, **attributes)
        self.params += _common_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        run_of(ctx).verb = " ".join(verb_path(ctx))
        return super().parse_args(ctx, args)

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

    @staticmethod
    def status_for(verb: str | None, error: BaseException) -> int:
        """The exit status of this error in this verb."""
        if verb == "sendmail":
            from .sendmail import sysexit_of

            return sysexit_of(error)
        return terminal.status_of(error)


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


class Program(click.Group):
    """The verbs of `VERBS`, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_MODULE_OF)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return load(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _MODULE_OF and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], _MODULE_OF, n=1)
            guess = f", did you mean {near[0]}" if near else ""
            raise click.UsageError(f"there is no verb {args[0]!r}{guess}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, verbs in VERBS.items():
            with formatter.section(title):
                formatter.write_dl([(verb, text) for verb, (_, text) in verbs.items()])


def load(verb: str) -> click.Command | None:
    """The command of a verb, None if there is no such verb."""
    if verb not in _MODULE_OF:
        return None
    module = import_module(f".{_MODULE_OF[verb][0]}", __package__)
    command: click.Command = module.COMMANDS[verb]
    return command


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"smime-graph {__version__}")
        ctx.exit()


def _remember_config(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    run_of(ctx).config = value


def _remember_debug(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    run_of(ctx).debug |= value


PROGRAM = Program(
    "smime-graph",
    params=[
        Option(
            ["--config"],
            metavar="FILE",
            expose_value=False,
            callback=_remember_config,
            help="Configuration (TOML) instead of the user's own.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_remember_debug,
            help="Show where an error comes from.",
        ),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="Show the version and exit.",
        ),
    ],
    help="Sign and encrypt mail (S/MIME 4.0) and submit it through Microsoft Graph.\n\n"
    "MESSAGE is a file, or standard input where it is '-' or not given.",
    epilog=terminal.STATUS_TEXT,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
