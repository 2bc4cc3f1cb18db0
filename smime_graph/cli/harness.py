"""harness issue, messages, run: what is good and odd, and what mail software makes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from . import files, terminal
from .audit import audit
from .context import run_of
from .options import FILE, Time, option, verb

if TYPE_CHECKING:
    from ..harness.matrix import Cell, Matrix, Pair


@verb("issue")
@click.argument("directory", metavar="DIR")
@option("--family", "name", metavar="NAME", default="corp", show_default=True, help="Its name.")
@option("--variant", metavar="GLOB", default="*", help="Only those whose id fits, as 'eku-*'.")
@option("--seed", type=int, metavar="N", help="The same octets each time; fixes the time as well.")
@option("--at", type=Time(), metavar="TIME", help="When it is for (RFC 3339), not now.")
@option(
    "--token",
    metavar="URI",
    help="Also put keys and certificates onto this PKCS#11 token (RSA and EC), each by its id:"
    " 'pkcs11:token=test?module-path=...&pin-source=file:...'.",
)
def issue(
    directory: str,
    name: str,
    variant: str,
    seed: int | None,
    at: datetime | None,
    token: str | None,
) -> None:
    """Write a family of certificates, good and odd, into DIR (new or empty).

    Of each variant a PEM, DER, PKCS#7 and two PKCS#12 files (password "test"; the .3des one for
    old readers) and its key, of no worth; trust.pem is what to trust, authorities/ holds issuers
    and CRLs. index.json says of each what is wrong, by which rule, and what is to be expected.

    \b
    smime-graph harness issue certificates --seed 1
    """
    from ..authority.family import family

    made = family(name, when=at, seed=seed, only=variant)
    paths = made.write(directory)
    shown: dict[str, object] = {"variants": len(made), "index": str(paths[-1])}
    if token is not None:
        from ..authority.token import fill_token

        shown["token"] = list(fill_token(made, token, pin=os.environ.get("SMIME_GRAPH_PASSWORD")))
    if run_of(click.get_current_context()).json:
        files.write_json(shown)
    else:
        files.write_lines([str(paths[-1])])


@verb("run")
@option(
    "--peer",
    multiple=True,
    metavar="NAME[@VERSION:PATH]",
    help="One to ask, as openssl; of a version at a path: openssl@3.6:/opt/openssl/bin/openssl; or"
    " a program of yours, ./mailer, that answers in lines of JSON. Otherwise all that are there.",
)
@option("--variant", metavar="GLOB", default="*", help="Only those whose id fits, as 'eku-*'.")
@option("--threads", type=click.IntRange(1), metavar="N", help="So many at once; the processors.")
@option("--require-peers", is_flag=True, help="A peer that is missing is an error.")
@option("--all", "everything", is_flag=True, help="Every cell, and not only the differences.")
@option("--record", type=FILE, metavar="DIR", help="Write what each peer does into tables in DIR.")
@option(
    *("-o", "--html", "output"),
    type=FILE,
    metavar="FILE",
    help="Write a report for a browser: one file.",
)
@option("--junit", type=FILE, metavar="FILE", help="Write what is unexplained as JUnit has it.")
def run(
    peer: tuple[str, ...],
    variant: str,
    threads: int | None,
    require_peers: bool,
    everything: bool,
    record: str | None,
    output: str | None,
    junit: str | None,
) -> None:
    """Ask mail software about every variant: import, validate, sign, verify, encrypt, decrypt.

    Each answer is held against what the standards say. Where they differ a reason is known, or the
    answer is unexplained; that it also is where this version of a peer did otherwise before. What
    one makes of the good variants the others have to read. How a program of yours is asked stands
    in pydoc smime_graph.harness.peers.plugin.

    \b
    smime-graph harness run --peer openssl --variant 'eku-*'
    smime-graph harness run --html report.html
    """
    from ..authority.family import family
    from ..harness import matrix
    from ..harness.cases import Stand
    from ..harness.peers import find

    wanted = [find.Named.parse(text) for text in peer]
    made = family(when=datetime.now(UTC), only=variant)
    # NSS waits for the disk after every change, eight times as long as it works
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    with TemporaryDirectory(prefix="smime-graph-", dir=memory) as place:
        stand = Stand.of(made, Path(place))
        with (
            find.started(wanted, stand, required=require_peers) as (peers, skipped),
            terminal.counting("asking") as count,
        ):
            found = matrix.run(
                stand,
                peers,
                skipped=skipped,
                threads=threads or os.cpu_count() or 1,
                progress=count,
            )
    if output is not None:
        from ..harness.page import page

        held = {one.variant.id: one.identity.certificate for one in made}
        files.deliver(page(found, held).encode(), output=output)
    if junit is not None:
        files.deliver(matrix.junit(found).encode(), output=junit)
    if record is not None:
        matrix.record(found, Path(record))
    if run_of(click.get_current_context()).json:
        files.write_json(found.to_json())
    else:
        files.write_lines(list(_lines(found, everything)))
    if found.unexplained:
        click.get_current_context().exit(1)


def _lines(found: Matrix, everything: bool) -> Iterator[str]:
    """By peer the differences, those of one reason together; or every cell."""
    if everything:
        yield from _grid(found)
    for peer in found.peers:
        cells = [one for one in found.cells if one.peer == peer]
        differ = [one for one in cells if one.is_difference]
        asked = sum(one.observed != "-" for one in cells)
        yield f"{peer}: {asked} asked, {asked - len(differ)} as the standards have it"
        pairs = [one for one in found.pairs if one.reader == peer and one.is_difference]
        yield from _reasons([*differ, *pairs])
    for name, why in found.skipped.items():
        yield f"{name}: skipped: {why}"
    good = sum(not one.is_difference and one.observed == "yes" for one in found.pairs)
    tried = sum(one.observed != "-" for one in found.pairs)
    yield f"{good} of {tried} messages of one peer were read by another"
    different, open_ = len(found.differences), len(found.unexplained)
    yield f"{len(found.variants)} variants: {different} differences, {open_} unexplained"


def _reasons(differ: list[Cell | Pair]) -> Iterator[str]:
    grouped: dict[tuple[str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for one in differ:
        why = one.reason
        if one.is_unexplained:
            before = getattr(one, "recorded", "")
            was = f" (before: {before})" if before not in ("", one.observed) else ""
            why = f"UNEXPLAINED{was}: {one.detail or 'without a word'}"
        by = f" what {one.maker} made" if hasattr(one, "maker") else ""
        key = why, f"{one.observed}, not {one.expected}"
        operations, variants = grouped.setdefault(key, ({}, {}))
        operations[f"{one.operation}{by}"] = None
        variants[one.variant] = None
    for (why, what), (operations, variants) in grouped.items():
        few = list(variants)[:6]
        more = f" and {len(variants) - 6} more" if len(variants) > 6 else ""
        yield f"  {', '.join(operations)}: {what}: {why}: {', '.join(few)}{more}"


def _grid(found: Matrix) -> Iterator[str]:
    """A line for each variant, of each peer the verdicts in the order of the operations."""
    from ..harness.peers.peer import OPERATIONS

    marks = {"yes": "y", "no": "n", "-": "-"}
    known = {(one.variant, one.peer, one.operation): one for one in found.cells}
    width = max(len(one.id) for one in found.variants)
    yield f"in this order: {', '.join(OPERATIONS)}; where it is marked ! unexplained"
    yield "  ".join([" " * width, *found.peers])
    for variant in found.variants:
        line = [variant.id.ljust(width)]
        for peer in found.peers:
            cells = [known[variant.id, peer, operation] for operation in OPERATIONS]
            text = "".join(marks[one.observed] + "!" * one.is_unexplained for one in cells)
            line.append(text.ljust(len(peer)))
        yield "  ".join(line).rstrip()


@verb("messages")
@click.argument("directory", metavar="DIR")
@option("--message", metavar="GLOB", default="*", help="Only those whose id fits, as 'from-*'.")
@option("--seed", type=int, metavar="N", help="The same certificates each time; fixes the time.")
@option("--at", type=Time(), metavar="TIME", help="When they are sent (RFC 3339), not now.")
def messages(directory: str, message: str, seed: int | None, at: datetime | None) -> None:
    """Write deliberately wrong messages, and good ones, into DIR (new or empty).

    All are to Bob: bob.p12 (password "test") opens what is encrypted, trust.pem is what to trust,
    crls/ says what was revoked. index.json says of each ID.eml what is wrong, where that is
    written, and what a mail program is to make of it.

    \b
    smime-graph harness messages mail
    """
    from ..harness.messages import write_messages

    paths = write_messages(directory, when=at, seed=seed, only=message)
    if run_of(click.get_current_context()).json:
        written = sum(path.suffix == ".eml" for path in paths)
        files.write_json({"messages": written, "index": str(paths[-1])})
    else:
        files.write_lines([str(paths[-1])])


@click.group(
    "harness",
    invoke_without_command=True,  # click would print its help as an error
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.pass_context
def harness(ctx: click.Context) -> None:
    """Test certificates, and what mail software makes of them."""
    if ctx.invoked_subcommand is None:
        raise UsageError(
            f"harness is followed by one of {', '.join(COMMANDS['harness'].commands)}",
            hint="smime-graph harness --help shows what each does",
        )


harness.add_command(audit)
harness.add_command(issue)
harness.add_command(run)
harness.add_command(messages)

COMMANDS = {"harness": harness}
