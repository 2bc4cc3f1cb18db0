"""ca init, ca issue: the test authority."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import click

from ..algorithms import KeyKind, rows
from ..errors import UsageError
from . import files
from .context import run_of
from .options import FILE, F, Time, option, verb

_KINDS = [(one.name, kind.signs) for kind in rows(KeyKind) for one in kind.parameter_sets]
# of a size that nobody should have but a test of what refuses it
_SHOWN = [(name, signs) for name, signs in _KINDS if name != "rsa-1024"]
_SIGNING = ", ".join(name for name, signs in _SHOWN if signs)
_ENCRYPTING = ", ".join(name for name, signs in _SHOWN if not signs)


def _key(kinds: str) -> Callable[[F], F]:
    return option("--key", metavar="KIND", default="rsa-2048", show_default=True, help=kinds)


_name = option("--name", metavar="TEXT", help="The common name.")
_at = option("--at", type=Time(), metavar="TIME", help="When it becomes valid (RFC 3339).")


@verb("init")
@click.argument("directory", metavar="DIR")
@_key(f"{_SIGNING}.")
@_name
@_at
def init(directory: str, key: str, name: str | None, at: datetime | None) -> None:
    """Make a test authority in DIR: ca.pem (what to trust), ca.key, index.json.

    Its key is not encrypted: never let anything but tests trust it.

    \b
    smime-graph ca init test-ca
    """
    from ..authority.issue import CA

    ca = CA(name, key=key, at=at) if name else CA(key=key, at=at)
    ca.save(directory)
    _print_files([f"{directory.rstrip('/')}/ca.pem"], ca.certificate)


@verb("issue")
@click.argument("directory", metavar="DIR")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@_key(f"{_SIGNING}; with --use encrypt also {_ENCRYPTING}.")
@option(
    "--use",
    type=click.Choice(["both", "sign", "encrypt"]),
    default="both",
    show_default=True,
    help="What the certificate is for.",
)
@_name
@option(
    "--p12-password-file",
    type=FILE,
    metavar="FILE",
    help="Also write a PKCS#12 file with this password.",
)
@option("--into", type=FILE, metavar="DIR", help="Write here instead of into the authority's DIR.")
@_at
def issue(
    directory: str,
    addresses: tuple[str, ...],
    key: str,
    use: Literal["both", "sign", "encrypt"],
    name: str | None,
    p12_password_file: str | None,
    into: str | None,
    at: datetime | None,
) -> None:
    """Issue a certificate for one person with these addresses, and print the files that it is in.

    ADDRESS.key holds the key (not encrypted), ADDRESS.pem the certificates, ADDRESS.p12 both. A
    kind of key that cannot encrypt gets a companion that can.

    \b
    smime-graph ca issue test-ca alice@contoso.com --p12-password-file password
    """
    from ..authority.issue import CA, write_identity
    from ..pki.address import header_addresses

    for address in addresses:
        if header_addresses(address) != (address,):
            raise UsageError(f"{address!r} is no address", hint="wanted one like alice@contoso.com")
    password = None
    if p12_password_file is not None:
        password = files.read_secret(p12_password_file, what="password")
    ca = CA.load(directory, at=at)
    identity = ca.issue(*addresses, key=key, use=use, name=name)
    written = write_identity(identity, into or directory, password=password)
    _print_files([str(path) for path in written], identity.certificate)


def _print_files(paths: list[str], certificate: Any) -> None:
    from ..smime.report import certificate_json

    if run_of(click.get_current_context()).json:
        files.write_json({"files": paths, "certificate": certificate_json(certificate)})
    else:
        files.write_lines(paths)


@click.group(
    "ca",
    invoke_without_command=True,  # click would print its help as an error
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.pass_context
def ca(ctx: click.Context) -> None:
    """A test authority: certificates for people who do not exist."""
    if ctx.invoked_subcommand is None:
        raise UsageError(
            f"ca is followed by {' or '.join(COMMANDS['ca'].commands)}",
            hint="smime-graph ca --help shows what each does",
        )


ca.add_command(init)
ca.add_command(issue)

COMMANDS = {"ca": ca}
