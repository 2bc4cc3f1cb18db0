"""The manual pages, made of what the verbs say of themselves: scripts/man [FOLDER]."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from smime_graph import __version__
from smime_graph.cli import terminal
from smime_graph.cli.command import Verb
from smime_graph.cli.program import PROGRAM, places
from smime_graph.cli.verbs import VERBS

_SHORT = {verb: text for verbs in VERBS.values() for verb, (_, text) in verbs.items()}


def pages() -> dict[str, str]:
    """Each page by the name of its file: one of the program, one of each verb."""
    found = dict(_pages(PROGRAM, None, "smime-graph"))
    home = str(Path.home())
    files = [text.replace(home, "~") for text in places()]
    found["smime-graph.1"] += "".join(_verbs()) + _section("FILES", *files)
    return found


def _pages(
    command: click.Command, parent: click.Context | None, name: str
) -> Iterator[tuple[str, str]]:
    ctx = click.Context(command, parent=parent, info_name=name, **command.context_settings)
    title = ctx.command_path.replace(" ", "-")
    yield f"{title}.1", _page(ctx, title)
    if isinstance(command, click.Group):
        for verb in command.list_commands(ctx):
            if (found := command.get_command(ctx, verb)) is not None:
                yield from _pages(found, ctx, verb)


def _page(ctx: click.Context, title: str) -> str:
    command = ctx.command
    text = (command.help or "").strip()
    first = _SHORT.get(ctx.info_name or "", text.split("\n\n")[0].replace("\n", " "))
    options = [
        f".TP\n\\fB{_plain(names)}\\fR\n{_plain(what)}\n"
        for one in command.get_params(ctx)
        if (record := one.get_help_record(ctx)) is not None
        for names, what in [record]
    ]
    usage = " ".join(command.collect_usage_pieces(ctx))
    status = command.status_text if isinstance(command, Verb) else terminal.STATUS_TEXT
    return "".join(
        (
            f'.TH "{title.upper()}" 1 "" "smime-graph {__version__}" "smime-graph"\n',
            _section("NAME", f"{title} - {first.removesuffix('.')}"),
            f".SH SYNOPSIS\n\\fB{_plain(ctx.command_path)}\\fR {_plain(usage)}\n",
            ".SH DESCRIPTION\n",
            "".join(_paragraphs(text)),
            ".SH OPTIONS\n",
            *options,
            _section("EXIT STATUS", status.removeprefix("Exit status: ")),
        )
    )


def _paragraphs(text: str) -> Iterator[str]:
    """click's \\b stands before a paragraph whose lines stay as they are."""
    for paragraph in text.split("\n\n"):
        kept, mark, lines = paragraph.rpartition("\b\n")
        if mark:
            yield f".PP\n.nf\n{_plain(lines)}\n.fi\n"
        else:
            yield f".PP\n{_plain(kept + lines)}\n"


def _verbs() -> Iterator[str]:
    for title, verbs in VERBS.items():
        yield f".SH {_plain(title.upper())}\n"
        for verb, (_, text) in verbs.items():
            yield f".TP\n\\fBsmime-graph-{_plain(verb)}\\fR(1)\n{_plain(text)}\n"


def _section(title: str, *paragraphs: str) -> str:
    return f".SH {title}\n" + "".join(f".PP\n{_plain(one)}\n" for one in paragraphs)


def _plain(text: str) -> str:
    """Text in which nothing is an instruction to roff, and a dash can be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti")
    escaped = escaped.replace("^", "\\(ha").replace("`", "\\(ga").replace("'", "\\(aq")
    lines = (line.strip() for line in escaped.split("\n"))
    return "\n".join(f"\\&{line}" if line.startswith(".") else line for line in lines)


def main() -> None:
    folder = Path(sys.argv[1] if sys.argv[1:] else "build/man/man1")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)
    print(f"{len(pages())} pages in {folder}")


if __name__ == "__main__":
    main()
