"""harness issue: families of good and odd certificates, for whoever tests mail software."""

from __future__ import annotations

from datetime import datetime

import click

from ..errors import UsageError
from . import files
from .context import run_of
from .options import Time, option, verb


@verb("issue")
@click.argument("directory", metavar="DIR")
@option("--family", "name", metavar="NAME", default="corp", show_default=True, help="Its name.")
@option("--variant", metavar="GLOB", default="*", help="Only those whose id fits, as 'eku-*'.")
@option("--seed", type=int, metavar="N", help="The same octets each time; fixes the time as well.")
@option("--at", type=Time(), metavar="TIME", help="When it is for (RFC 3339), not now.")
def issue(directory: str, name: str, variant: str, seed: int | None, at: datetime | None) -> None:
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
    if run_of(click.get_current_context()).json:
        files.write_json({"variants": len(made), "index": str(paths[-1])})
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
            f"harness is followed by {' or '.join(COMMANDS['harness'].commands)}",
            hint="smime-graph harness --help shows what each does",
        )


harness.add_command(issue)

COMMANDS = {"harness": harness}
