"""The program: its verbs, each found when it is called, and the options that stand before them."""

from __future__ import annotations

import click

from .. import __version__
from . import terminal
from .command import Option
from .context import contacts_file, run_of, user_file
from .verbs import MODULE_OF, VERBS, load


class Program(click.Group):
    """The verbs of `VERBS`, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(MODULE_OF)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return load(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in MODULE_OF and not args[0].startswith("-"):
            import difflib  # only here: most people know what they type

            near = _deeper(args[0]) or difflib.get_close_matches(args[0], MODULE_OF, n=1)
            guess = f", did you mean {near[0]}" if near else ""
            raise click.UsageError(f"there is no verb {args[0]!r}{guess}", ctx)
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        for text in places():
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(text)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, verbs in VERBS.items():
            with formatter.section(title):
                formatter.write_dl([(verb, text) for verb, (_, text) in verbs.items()])


def _deeper(name: str) -> list[str]:
    """Where a verb of this name stands behind another one: `harvest` is `contacts harvest`."""
    groups = (one for verb in MODULE_OF if isinstance(one := load(verb), click.Group))
    return [f"{one.name} {name}" for one in groups if name in one.commands]


def places() -> tuple[str, ...]:
    """Where a configuration, passwords and completions are looked for."""
    return (
        f"Configuration: {user_file() or 'no file, the home folder is unknown'}, with tables"
        " [defaults] and [VERB] of options.",
        f"Contacts: {contacts_file() or 'no file, the home folder is unknown'}, unless --contacts"
        " names another address book.",
        "Keyring: the password of a key file is that of service smime-graph, user name the file's"
        " absolute path (where that is a link, its target's); of a token, its URI. To store one:"
        " keyring set smime-graph PATH",
        'Completion: eval "$(_SMIME_GRAPH_COMPLETE=bash_source smime-graph)" in ~/.bashrc;'
        " zsh_source in ~/.zshrc; in fish, _SMIME_GRAPH_COMPLETE=fish_source smime-graph | source",
    )


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
            help="Show where an error comes from, and each request to Graph.",
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
