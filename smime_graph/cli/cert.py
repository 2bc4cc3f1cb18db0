"""cert check: what is wrong with a certificate for mail, for whom, and what to ask the CA for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from ..arguments import file_name
from ..errors import SmimeGraphError, UsageError
from ..harness.profiles import PROFILES
from ..text import json_text
from . import files, options, terminal
from .context import run_of
from .options import Time, option, verb
from .request import request

if TYPE_CHECKING:
    from ..harness.fitness import FitnessReport
    from ..harness.lint import LintComparison
    from ..x509.certificate import Certificate

# where no --client is named: the standard, and the program that most mail of Exchange is read in
_DECIDING = ("rfc8550", "outlook")
_MOST_FILES = 1000


class Day(Time):
    """A date (its beginning in UTC), or an RFC 3339 time."""

    name = "date"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            return datetime.strptime(str(value), "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            return super().convert(value, param, ctx)


class _Found(NamedTuple):
    """What a file holds: certificates, or CRLs and OCSP responses."""

    certificates: tuple[Certificate, ...] = ()
    crls: tuple[bytes, ...] = ()
    responses: tuple[bytes, ...] = ()


@verb("check")
@click.argument("sources", metavar="FILE...", nargs=-1, required=True)
@option(
    "--client",
    type=click.Choice(PROFILES),
    multiple=True,
    metavar="NAME",
    help=f"Judge for these alone: {', '.join(PROFILES)}.",
)
@option("--use", type=click.Choice(["sign", "encrypt"]), help="Judge for this use alone.")
@option("--address", metavar="ADDRESS", help="The mail address that it should be of.")
@options.trust
@option(
    "--certificate",
    type=options.FILE,
    multiple=True,
    metavar="FILE",
    help="Further certificates to build paths with; not believed.",
)
@option("--crl", type=options.FILE, multiple=True, metavar="FILE", help="A CRL (DER or PEM).")
@option("--ocsp", type=options.FILE, multiple=True, metavar="FILE", help="An OCSP response (DER).")
@option("--as-of", type=Day(), metavar="DATE", help="Judge by the rules and the time of this day.")
@option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "junit", "html"]),
    default="text",
    show_default=True,
    help="How it is shown.",
)
@option("--html", "is_html", is_flag=True, help="As --format html.")
@option("--pkilint", is_flag=True, help="Ask pkilint as well, and show where it differs.")
@options.passwords
@options.output
def check(
    sources: tuple[str, ...],
    client: tuple[str, ...],
    use: Literal["sign", "encrypt"] | None,
    address: str | None,
    trust: tuple[str, ...],
    certificate: tuple[str, ...],
    crl: tuple[str, ...],
    ocsp: tuple[str, ...],
    as_of: datetime | None,
    form: str,
    is_html: bool,
    pkilint: bool,
    password_file: tuple[str, ...],
    output: str | None,
) -> None:
    """Say what is wrong with certificates for mail, for whom, and what to ask the CA for.

    FILE is a certificate (PEM, DER), a PKCS#12 or .p7b file, a signed message, a key on a token
    ('pkcs11:...'), a folder of such, a CRL or an OCSP response. By the S/MIME Baseline
    Requirements, RFC 8550, and what is known of mail programs. Unfit (status 1) is what a --client
    will not take for any use; without one, what RFC 8550 or Outlook will not.

    \b
    smime-graph cert check alice.pem --client outlook --trust roots.pem
    """
    from ..harness import fitness, fitness_text
    from ..pki.revocation import Revocation
    from . import keys

    form = "html" if is_html else form
    further = tuple(keys.certificates(certificate))
    shared: dict[str, Any] = {"as_of": as_of} | ({"profiles": client} if client else {})
    of_certificates: dict[str, Any] = shared | {
        "trust": keys.trust_store(trust),
        "revocation": Revocation.load(crls=crl, ocsp=ocsp) if crl or ocsp else None,
        "address": address,
    }
    reports: list[FitnessReport] = []
    with terminal.progress("judging"):
        found = list(_read(sources, password_file))
        for one in found:
            for judged in _to_judge(one.certificates):
                beside = [c for c in (*one.certificates, *further) if c != judged]
                reports.append(fitness.check_certificate(judged, chain=beside, **of_certificates))
        known = [*further, *(c for one in found for c in one.certificates)]
        for one in found:
            reports += [fitness.check_crl(octets, chain=known, **shared) for octets in one.crls]
            reports += [fitness.check_ocsp(octets, **shared) for octets in one.responses]
    if not reports:
        raise UsageError("no certificate is there", hint="name a file that holds one")
    if not trust and any(one.certificate for one in reports):
        terminal.complain("note", "no --trust: whether its root is believed is not judged")
    unfit = any(not _is_fit(one, client or _DECIDING, use) for one in reports)
    second = [_second_opinion(one) if pkilint else None for one in reports]
    facts = {
        "verdict": "unfit" if unfit else "fit",
        "reports": [
            one.to_json() | ({} if other is None else {"pkilint": other.to_json()})
            for one, other in zip(reports, second, strict=True)
        ],
    }
    if form == "json":
        text = json_text(facts) + "\n"
    elif form == "html":
        text = fitness_text.page(reports)
    elif form == "junit":
        text = fitness_text.junit(reports, use=use)
    else:
        screens = [
            "\n".join(
                [
                    *fitness_text.report_lines(one, use=use),
                    *([] if other is None else ["", *other.lines()]),
                ]
            )
            for one, other in zip(reports, second, strict=True)
        ]
        text = "\n\n\n".join(screens) + "\n"
    is_json = run_of(click.get_current_context()).json
    files.deliver(text.encode(), output=output, json=facts if is_json else None)
    if unfit:
        raise click.exceptions.Exit(terminal.Status.NO)


def _second_opinion(report: FitnessReport) -> LintComparison | None:
    from ..harness import lint

    if report.certificate is None:
        return None
    return lint.compare(report.certificate, as_of=report.as_of, chain=report.chain[1:])


def _is_fit(report: FitnessReport, deciding: Sequence[Any], use: Any) -> bool:
    wanted = use if use in report.uses else None
    return all(report.is_fit(profile, wanted) for profile in deciding)


def _to_judge(certificates: Sequence[Certificate]) -> list[Certificate]:
    """Those of people; where there are none, every one."""
    from ..pki.identity import is_authority

    of_people = [one for one in certificates if not is_authority(one)]
    return list(dict.fromkeys(of_people or certificates))


# --- what the files hold --------------------------------------------------------------------------


def _read(sources: Sequence[str], password_files: Sequence[str]) -> Iterator[_Found]:
    from ..pki.keyfiles.read import is_folder
    from ..pki.pkcs11.uri import is_uri
    from .keys import KeyRing

    locked: list[str] = []
    for source in sources:
        if is_uri(source):
            locked.append(source)
        elif is_folder(source):
            yield from _read_folder(source)
        elif (found := _read_file(source)) is None:
            locked.append(source)
        else:
            yield found
    ring = KeyRing(
        signers=(), identities=locked, password_files=password_files, recipient_password_files=()
    )
    for certificates in ring.certificates():
        yield _Found(certificates)


def _read_folder(folder: str) -> Iterator[_Found]:
    """What its files hold; keys and what else is in it is passed over, with a word."""
    from ..pki.keyfiles.read import files_of

    paths = files_of(folder)
    if len(paths) > _MOST_FILES:  # what was left out might be what is unfit
        raise UsageError(
            f"{file_name(folder)} holds {len(paths)} files, wanted at most {_MOST_FILES}",
            hint="name the files, some at a time",
        )
    for path in paths:
        try:
            found = _read_file(str(path))
        except SmimeGraphError as error:
            terminal.complain("warning", f"passed over: {error}")
            continue
        if found is None:
            terminal.complain(
                "warning", f"passed over: {path} is locked; name it to have it opened"
            )
        else:
            yield found


def _read_file(path: str) -> _Found | None:
    """What a file holds, None where that is locked up with a key. UsageError for what is none."""
    from ..pki.keyfiles.read import (
        PKCS12_ARMOUR,
        kind_of,
        name_of,
        parse_pem,
        read_certificates,
    )
    from ..x509.certificate_set import read_carried

    data = files.read(path, what="certificate")
    kind = kind_of(data)
    if kind == "pkcs12" or any(mark in data for mark in PKCS12_ARMOUR):
        return None
    if kind == "pkcs7":
        return _Found(read_carried(data))
    if kind == "pem" and (crls := _crls_in(data)):
        return _Found(parse_pem(data, None, name_of(path)).certificates, crls)
    if kind in (None, "certificate") and (found := _revocation_in(data)) is not None:
        return found
    if kind is None and data[:1] != b"\x30":
        return _Found(_carried_by(data, path))
    return _Found(read_certificates(data, name=name_of(path)))


def _crls_in(data: bytes) -> tuple[bytes, ...]:
    from ..asn1 import pem

    return tuple(one.der() for one in pem.read_blocks(data) if one.label == "X509 CRL")


def _revocation_in(der: bytes) -> _Found | None:
    """The CRL or the OCSP response that the octets are."""
    from cryptography import x509
    from cryptography.x509 import ocsp

    try:
        x509.load_der_x509_crl(der)
    except ValueError:
        pass
    else:
        return _Found(crls=(der,))
    try:
        ocsp.load_der_ocsp_response(der)
    except ValueError:
        return None
    return _Found(responses=(der,))


def _carried_by(data: bytes, path: str) -> tuple[Certificate, ...]:
    """The certificates that a message carries: its signers', and those that came along."""
    from ..smime.examine import inspect

    try:
        found = [one for layer in inspect(data) for one in layer.certificates]
    except SmimeGraphError as error:
        raise UsageError(f"{file_name(path)} holds no certificate: {error}") from error
    if not found:
        raise UsageError(
            f"{file_name(path)} is a message that carries no certificate",
            hint="give a signed message, or a certificate: PEM, DER, .p7b, .p12",
        )
    return tuple(dict.fromkeys(found))


@click.group(
    "cert",
    invoke_without_command=True,  # click would print its help as an error
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.pass_context
def cert(ctx: click.Context) -> None:
    """One's own and other people's certificates."""
    if ctx.invoked_subcommand is None:
        raise UsageError(
            f"cert is followed by one of {', '.join(COMMANDS['cert'].commands)}",
            hint="smime-graph cert --help shows what each does",
        )


cert.add_command(check)
cert.add_command(request)

COMMANDS = {"cert": cert}
