"""cert request: a key of one's own, and what a CA is sent for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

import click

from ..algorithms import KeyKind, rows
from ..arguments import file_name
from ..errors import UsageError
from . import files, terminal
from .context import run_of
from .options import FILE, option, verb

_KINDS = [one.name for kind in rows(KeyKind) if kind.signs for one in kind.parameter_sets]
_SHOWN = ", ".join(name for name in _KINDS if name != "rsa-1024")


@verb("request")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@option("--key", metavar="KIND", default="rsa-3072", show_default=True, help=f"{_SHOWN}.")
@option("--name", metavar="TEXT", help="The common name, else the first ADDRESS.")
@option(
    "--use",
    type=click.Choice(["both", "sign", "encrypt"]),
    default="both",
    show_default=True,
    help="What the certificate is to be for.",
)
@option(
    "--password-file",
    "new_password",
    type=FILE,
    metavar="FILE",
    help="Its first line becomes the password of the key; else SMIME_GRAPH_PASSWORD, else asked.",
)
@option(
    "-o",
    "--into",
    type=FILE,
    metavar="DIR",
    default=".",
    show_default=True,
    help="Write into this folder.",
)
def request(
    addresses: tuple[str, ...],
    key: str,
    name: str | None,
    use: Literal["both", "sign", "encrypt"],
    new_password: str | None,
    into: str,
) -> None:
    """Make a private key and the request (CSR) that a CA for mail makes a certificate of.

    Writes ADDRESS.key (encrypted with the password, for its owner alone) and ADDRESS.csr, prints
    where they are, and says what to look for in what comes back.

    \b
    smime-graph cert request alice@contoso.com -o mail-key
    """
    from cryptography.hazmat.primitives import serialization as ser

    from ..authority.issue import file_stem
    from ..authority.profile import key_of
    from ..authority.request import certificate_request
    from ..files import write
    from ..pki.address import header_addresses
    from ..pki.keyfiles.read import export

    for address in addresses:
        if header_addresses(address) != (address,):
            raise UsageError(f"{address!r} is no address", hint="wanted one like alice@contoso.com")
    private_key, kind = key_of(key, signs=True)
    csr = certificate_request(private_key, *addresses, name=name, use=use)
    folder = Path(into)
    stem = file_stem(addresses[0])
    places = [folder / f"{stem}.{suffix}" for suffix in ("key", "csr")]
    taken = next((one for one in places if one.exists()), None)
    if taken is not None:
        raise UsageError(
            f"{file_name(taken)} is there already",
            hint="choose another folder: what was encrypted to a key cannot be read without it",
        )
    password = _new_password(new_password, str(places[0]))
    protection = ser.BestAvailableEncryption(password.encode())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        octets = export(private_key, ser.Encoding.PEM, protection)
        write(places[0], octets, mode=0o600, replace=False)
        write(places[1], csr, replace=False)
    except OSError as error:
        raise UsageError(f"{file_name(folder)} cannot be written: {error.strerror}") from error
    named = [str(one) for one in places]
    advice = _advice(addresses, places, use if kind.encrypts else "sign")
    if run_of(click.get_current_context()).json:
        files.write_json({"files": named, "look_for": advice})
        return
    files.write_lines(named)
    for line in advice:
        terminal.complain("note", line)


def _advice(
    addresses: tuple[str, ...],
    places: list[Path],
    use: Literal["both", "sign", "encrypt"],
) -> list[str]:
    """What somebody does next, and what the certificate has to have (RFC 8550, S/MIME BR)."""
    bits = {
        "both": "digitalSignature and keyEncipherment (RSA) or keyAgreement",
        "sign": "digitalSignature",
        "encrypt": "keyEncipherment (RSA) or keyAgreement",
    }[use]
    certificate = places[0].with_suffix(".pem")
    found = [
        f"send {places[1].name} to a CA whose root the programs of those who write to you believe,"
        " and ask for an S/MIME certificate",
        f"keep {places[0].name} and its password: nothing else reads what is encrypted to it",
        f"the certificate must have each address ({', '.join(addresses)}) as rfc822Name in its"
        " subject alternative name: in the subject alone many programs do not see it",
        f"its key usage: {bits}; its extended key usage: emailProtection",
        "it is valid for 825 days at most, and its CRL and OCSP responder can be reached from"
        " outside",
        f"put it, and the CA's intermediate certificates behind it, into {certificate.name} beside"
        " the key",
        f"then: smime-graph cert check {certificate} --address {addresses[0]}",
    ]
    if use == "sign":
        found.insert(3, "it only signs: to be written to, ask for a second one, for encryption")
    return found


def _new_password(path: str | None, key: str) -> str:
    """From the file, the environment, or a person who types it twice."""
    if path is not None:
        return files.read_secret(path, what="password")
    if given := os.environ.get("SMIME_GRAPH_PASSWORD"):
        return given
    if sys.stdin is not None and sys.stdin.isatty():
        import getpass

        try:
            typed = getpass.getpass(f"new password of {terminal.printable(key)}: ")
            again = getpass.getpass("once more: ") if typed else ""
        except EOFError:
            typed = again = ""
        if typed and typed == again:
            return typed
        if typed:
            raise UsageError("the two passwords are not the same", hint="type them once more")
    raise UsageError(
        "a key of one's own needs a password", hint="give --password-file FILE, or type one"
    )
