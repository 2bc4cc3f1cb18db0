"""ca init, issue, revoke, crl, serve, mirror: the test authority."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import click

from .. import oids
from ..algorithms import KeyKind, rows
from ..arguments import file_name
from ..errors import UsageError
from . import files, terminal
from .context import run_of
from .options import FILE, F, Time, option, output, verb

if TYPE_CHECKING:
    from ..authority.issue import CA
    from ..authority.records import RevocationReason
    from ..authority.service import Served
    from ..x509.certificate import Certificate

_KINDS = [(one.name, kind.signs) for kind in rows(KeyKind) for one in kind.parameter_sets]
# of a size that nobody should have but a test of what refuses it
_SHOWN = [(name, signs) for name, signs in _KINDS if name != "rsa-1024"]
_SIGNS = {name for name, signs in _KINDS if signs}
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
@option(
    "--services",
    metavar="URL",
    help="Where its CRL, OCSP responder and certificate are, as what it issues says: that of"
    " 'ca serve', http://127.0.0.1:8880 for example.",
)
@_at
def init(
    directory: str, key: str, name: str | None, services: str | None, at: datetime | None
) -> None:
    """Make a test authority in DIR: ca.pem (what to trust), ca.key, index.json.

    Its key is not encrypted: never let anything but tests trust it.

    \b
    smime-graph ca init test-ca
    """
    from ..authority.issue import CA

    how: dict[str, Any] = {"key": key, "at": at, "services": services}
    ca = CA(name, **how) if name else CA(**how)
    ca.save(directory)
    _print_files([f"{directory.rstrip('/')}/ca.pem"], ca.certificate)


_PURPOSES = {
    "emailProtection": oids.EMAIL_PROTECTION,
    "clientAuth": oids.CLIENT_AUTH,
    "serverAuth": oids.SERVER_AUTH,
    "codeSigning": oids.CODE_SIGNING,
    "OCSPSigning": oids.OCSP_SIGNING,
    "timeStamping": oids.TIME_STAMPING,
    "anyExtendedKeyUsage": oids.ANY_EXTENDED_KEY_USAGE,
}
# RFC 5280 4.2.1.3, and what cryptography calls them
_BITS = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
    "encipherOnly": "encipher_only",
    "decipherOnly": "decipher_only",
}
_NONE = "none"


class _Names(click.ParamType):  # type: ignore[type-arg]
    """Some of the names, with commas between; or "none", which leaves the extension out."""

    def __init__(self, known: Mapping[str, str], *, dotted: bool) -> None:
        self.name = "names"
        self._known = known
        self._dotted = dotted

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple) or value == _NONE:
            return () if value == _NONE else value
        found = []
        for one in str(value).split(","):
            is_oid = self._dotted and re.fullmatch(r"[0-2](\.[0-9]+)+", one)
            if one not in self._known and not is_oid:
                names = ", ".join(self._known)
                self.fail(f"{one!r} is not known, wanted some of {names}, or none", param, ctx)
            found.append(self._known.get(one, one))
        return tuple(found)


@verb("issue")
@click.argument("directory", metavar="DIR")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1)
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
@option(
    "--intermediate",
    is_flag=True,
    help="By an authority below, DIR/intermediate, made where there is none yet; without an"
    " ADDRESS it alone is made.",
)
@option(
    "--eku",
    type=_Names(_PURPOSES, dotted=True),
    metavar="NAME,...",
    help=f"The extended key usage: {', '.join(_PURPOSES)}, a dotted one, or none.",
)
@option(
    "--key-usage",
    type=_Names(_BITS, dotted=False),
    metavar="NAME,...",
    help=f"The key usage: {', '.join(_BITS)}, or none.",
)
@option("--not-after", type=Time(), metavar="TIME", help="When it expires (RFC 3339).")
@option(
    "--variant",
    "variants",
    multiple=True,
    metavar="ID",
    help="Odd as this one of the catalogue is, 'expired' or 'eku-server' for example; several"
    " together. 'harness issue' writes all.",
)
@_at
def issue(
    directory: str,
    addresses: tuple[str, ...],
    key: str,
    use: Literal["both", "sign", "encrypt"],
    name: str | None,
    p12_password_file: str | None,
    into: str | None,
    intermediate: bool,
    eku: tuple[str, ...] | None,
    key_usage: tuple[str, ...] | None,
    not_after: datetime | None,
    variants: tuple[str, ...],
    at: datetime | None,
) -> None:
    """Issue a certificate for one person with these addresses, and print the files that it is in.

    ADDRESS.key holds the key (not encrypted), ADDRESS.pem the certificates, ADDRESS.p12 both. A
    kind of key that cannot encrypt gets a companion that can.

    \b
    smime-graph ca issue test-ca alice@contoso.com --p12-password-file password
    smime-graph ca issue test-ca bob@contoso.com --intermediate --variant expired
    """
    from ..authority.issue import CA, write_identity
    from ..pki.address import header_addresses

    if not addresses and not intermediate:
        raise UsageError("an ADDRESS is missing", hint="say whose certificate it is to be")

    for address in addresses:
        if header_addresses(address) != (address,):
            raise UsageError(f"{address!r} is no address", hint="wanted one like alice@contoso.com")
    password = None
    if p12_password_file is not None:
        password = files.read_secret(p12_password_file, what="password")
    ca = CA.load(directory, at=at)
    odd: dict[str, Any] = {}
    if eku is not None:
        odd["eku"] = eku or None
    if key_usage is not None:
        odd["key_usage"] = key_usage or None
    if intermediate:
        if not addresses:
            made = _make_below(ca, directory, key, name=name, not_after=not_after, odd=odd)
            _print_files([f"{directory.rstrip('/')}/{_BELOW}/ca.pem"], made.certificate)
            return
        if Path(directory, _BELOW).is_dir():
            ca = CA.load(Path(directory, _BELOW), at=at)
        else:
            ca = _make_below(ca, directory, "rsa-2048" if key not in _SIGNS else key)
    if variants:
        from ..authority.compose import issue_variant

        if name is not None:
            odd["subject"] = ((oids.COMMON_NAME, name),)
        identity = issue_variant(
            ca,
            *addresses,
            variants=variants,
            key=key,
            use=use,
            not_after=not_after,
            changes=odd,
        )
    else:
        identity = ca.issue(*addresses, key=key, use=use, name=name, not_after=not_after, **odd)
    written = write_identity(identity, into or directory, password=password)
    _print_files([str(path) for path in written], identity.certificate)


def _make_below(
    ca: CA,
    directory: str,
    key: str,
    *,
    name: str | None = None,
    not_after: datetime | None = None,
    odd: Mapping[str, Any] | None = None,
) -> CA:
    """The authority below that of the folder, in its own folder there."""
    from ..authority.profile import key_usage_extension

    how: dict[str, Any] = {"key": key, "not_after": not_after}
    if name is not None:
        how["name"] = name
    if odd and "eku" in odd:
        how["eku"] = odd["eku"]
    if odd and odd.get("key_usage"):
        how["extensions"] = key_usage_extension(odd["key_usage"])
    folder = Path(directory, _BELOW)
    if folder.exists():
        raise UsageError(
            f"{file_name(folder)} is there already",
            hint="with an ADDRESS, --intermediate issues by the authority in it",
        )
    made = ca.create_intermediate(**how)
    made.save(folder)
    return made


_BELOW = "intermediate"  # the folder of the authority that 'ca issue --intermediate' makes
_DEFAULT_PORT = 8880
_REASONS = (
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    "removeFromCRL",
    "privilegeWithdrawn",
)


def _authorities(directory: str, at: datetime | None) -> list[CA]:
    """That of the folder, and the one below it where it has one."""
    from ..authority.issue import CA

    below = Path(directory) / _BELOW
    folders = [Path(directory), *([below] if below.is_dir() else [])]
    return [CA.load(folder, at=at) for folder in folders]


@verb("revoke")
@click.argument("directory", metavar="DIR")
@click.argument("certificate", metavar="CERTIFICATE", type=FILE)
@option(
    "--reason",
    type=click.Choice(_REASONS),
    default="unspecified",
    show_default=True,
    help="Why; removeFromCRL lifts a certificateHold.",
)
@option("--at", type=Time(), metavar="TIME", help="From when on (RFC 3339), not now.")
def revoke(directory: str, certificate: str, reason: RevocationReason, at: datetime | None) -> None:
    """Revoke what is in the file CERTIFICATE: the person's certificates, or an authority's.

    What the authority of DIR, or the one below it, has issued. CRLs and OCSP responses of later
    say so; 'ca serve' too, where it runs.

    \b
    smime-graph ca revoke test-ca test-ca/alice@contoso.com.pem --reason keyCompromise
    """
    from ..pki.identity import is_authority
    from ..pki.keyfiles.read import read_certificates

    held = read_certificates(certificate)
    people = [one for one in held if not is_authority(one)]
    known = _authorities(directory, at)
    revoked: list[Certificate] = []
    for one in people or held[:1]:
        issuer = next((ca for ca in known if ca.has_issued(one)), known[0])
        issuer.revoke(one, reason=reason, at=at)
        revoked.append(one)
    if run_of(click.get_current_context()).json:
        from ..smime.report import certificate_json

        files.write_json({"reason": reason, "revoked": [certificate_json(one) for one in revoked]})
    else:
        files.write_lines([one.description for one in revoked])


@verb("crl")
@click.argument("directory", metavar="DIR")
@output
@option("--delta", type=FILE, metavar="FILE", help="Only what has changed since this CRL.")
@option("--at", type=Time(), metavar="TIME", help="Of when it is (RFC 3339), not now.")
def crl(directory: str, output: str | None, delta: str | None, at: datetime | None) -> None:
    """Write the CRL of the authority in DIR, in DER: what is revoked. It is good for a week.

    \b
    smime-graph ca crl test-ca -o test-ca.crl
    """
    from ..authority.issue import CA

    base = None if delta is None else files.read(delta, what="CRL")
    files.deliver(CA.load(directory, at=at).crl(at=at, base=base), output=output)


def _tell(one: Served) -> None:
    terminal.complain("note", f"{one.method} {one.path} {one.status or 'cut'}")


@verb("serve")
@click.argument("directory", metavar="DIR")
@option(
    "--port",
    type=click.IntRange(0, 65535),
    help="On 127.0.0.1; 0 takes a free one. Else that of 'ca init --services', else 8880.",
)
@option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME",
    help="What is wrong with every answer that can have it, or, as KIND:NAME, with those of a kind"
    " (crl, delta, ocsp, issuer): expired, future, no-next-update, forged, wrong-responder,"
    " no-ocsp-signing, no-nocheck, expired-responder, unknown, wrong-serial, wrong-nonce, no-nonce,"
    " try-later, internal-error, sig-required, unauthorized, wrong-issuer, malformed, pem, huge,"
    " missing, error, redirect, slow, reset.",
)
@option("--deltas", is_flag=True, help="The CRL stays as it is at first, and names its delta.")
@option("--at", type=Time(), metavar="TIME", help="The time that the services have (RFC 3339).")
def serve(
    directory: str, port: int | None, faults: tuple[str, ...], deltas: bool, at: datetime | None
) -> None:
    """Serve CRL, OCSP and certificates of the authority in DIR on this machine, until Ctrl-C.

    Prints the URL, where people see what is there, and then says what is asked for. What is
    revoked meanwhile is in the next answer.

    \b
    smime-graph ca init test-ca --services http://127.0.0.1:8880
    smime-graph ca serve test-ca --fault ocsp:try-later &
    """
    from ..authority.service import Services

    authorities = _authorities(directory, None)
    if port is None:
        named = authorities[0].services
        port = (urlsplit(named).port if named else None) or _DEFAULT_PORT
    services = Services(*authorities, at=at, faults=faults, deltas=deltas, watch=_tell)
    # before anybody can know that it runs: who reads the URL may end it at once
    stop = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        with services.serve(port) as server:
            if run_of(click.get_current_context()).json:
                files.write_json({"url": server.url, "port": server.port})
            else:
                files.write_lines([f"URL: {server.url}"])
            stop.wait()
    finally:
        signal.signal(signal.SIGTERM, before)


@verb("mirror")
@click.argument("directory", metavar="DIR")
@click.argument("certificate", metavar="CERTIFICATE", type=FILE)
@option(
    "--p12-password-file",
    type=FILE,
    metavar="FILE",
    help="Also write a PKCS#12 file with this password.",
)
@option("--into", type=FILE, metavar="DIR", help="Write here instead of into the authority's DIR.")
def mirror(
    directory: str, certificate: str, p12_password_file: str | None, into: str | None
) -> None:
    """Make a test twin of the certificate in the file CERTIFICATE, by the authority in DIR.

    The same kind of key, validity, extensions, chain and mistakes, with a new key and the names of
    nobody: for a failure whose certificate may be seen and whose key may not. Prints its files, as
    'ca issue' does.

    \b
    smime-graph ca mirror test-ca customer.pem
    """
    from ..authority.issue import CA, write_identity
    from ..authority.mirror import mirror as twin_of
    from ..pki.identity import is_authority
    from ..pki.keyfiles.read import read_certificates

    password = None
    if p12_password_file is not None:
        password = files.read_secret(p12_password_file, what="password")
    held = read_certificates(certificate)
    person = next((one for one in held if not is_authority(one)), held[0])
    twin = twin_of(person, issuers=held, ca=CA.load(directory))
    written = write_identity(twin, into or directory, password=password)
    _print_files([str(path) for path in written], twin.certificate)


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
            f"ca is followed by {', '.join(_VERBS[:-1])} or {_VERBS[-1]}",
            hint="smime-graph ca --help shows what each does",
        )


for _one in (init, issue, revoke, crl, serve, mirror):
    ca.add_command(_one)
_VERBS = tuple(ca.commands)

COMMANDS = {"ca": ca}
