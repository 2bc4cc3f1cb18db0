"""verify, decrypt, decompress, unseal, examine, inspect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ..buffers import Held
from ..errors import MalformedMessage, SmimeGraphError, UsageError
from ..text import json_text
from . import files, options, terminal
from .context import run_of
from .options import FILE, Reading, message, option, verb

if TYPE_CHECKING:
    from ..buffers import Octets
    from ..policy import Policy
    from ..smime.report import MessageReport, Opened

_LOOKED_AT = 1 << 16  # octets: what a file is shows at its start

detached_content = option(
    "--content", type=FILE, metavar="FILE", help="What a detached signature is over."
)

saved_certificates = option(
    "--save-certificates",
    type=FILE,
    metavar="FILE",
    help="Write the certificates that came with the signatures (PEM).",
)


def judgement(how: Reading) -> dict[str, Any]:
    """The keyword arguments of `verify`, `unseal` and `examine` that the options stand for."""
    from ..pki.trust import TrustStore
    from . import keys

    return {
        "trust": keys.trust_store(how.keys.trust) or TrustStore(()),
        "sender": how.sender,
        "certificates": keys.certificates(how.keys.certificate),
        "policy": how.policy,
        "at": how.at,
        "revocation": how.known_revocation(),
    }


def _content(how: Reading) -> dict[str, Held]:
    if how.content is None:
        return {}
    return {"content": Held(files.open_message(how.content, what="content"))}


@contextmanager
def keep_report_on_error(raw: bytes | Held, **arguments: Any) -> Iterator[None]:
    """Where opening the message fails, keep what is known about it for `--json`."""
    try:
        yield
    except UsageError:
        raise
    except SmimeGraphError as error:
        from ..errors import VerificationFailed
        from ..smime.examine import examine
        from ..smime.receipts import ReceiptReport, receipt_json
        from ..smime.report import MessageReport, report_json

        run = run_of(click.get_current_context())
        if run.json:
            known = error.report if isinstance(error, VerificationFailed) else None
            if isinstance(known, ReceiptReport):
                run.known = receipt_json(known)
            elif isinstance(known, MessageReport):
                run.known = report_json(known)
            else:
                run.known = report_json(examine(raw, **arguments))
        raise


@contextmanager
def _keep_layers_on_error(raw: Held) -> Iterator[None]:
    """Where decrypting fails, keep what can be seen without a key for `--json`."""
    try:
        yield
    except SmimeGraphError:
        from ..smime.examine import inspect
        from ..smime.report import layer_json

        run = run_of(click.get_current_context())
        if run.json:
            try:
                run.known = {"layers": [layer_json(one) for one in inspect(raw)]}
            except SmimeGraphError:
                run.known = {}  # nothing can be said of it: what was wrong is in the error
        raise


def unseal_message(raw: bytes | Held, how: Reading) -> Opened:
    """The message without its layers; raises unless it is accepted. Warnings are shown."""
    from ..smime.examine import unseal
    from .report import warn

    arguments = {
        "identities": how.keys.ring.identities(),
        "part": how.part,
        **judgement(how),
    }
    with keep_report_on_error(raw, **arguments), terminal.progress("opening the message"):
        opened = unseal(raw, **arguments)
    warn(opened.report)
    return opened


def report_to_show(report: MessageReport) -> dict[str, Any] | None:
    """The JSON of a report where `--json` asks for it."""
    from ..smime.report import report_json

    return report_json(report) if run_of(click.get_current_context()).json else None


def _deliver(
    opened: Opened,
    octets: Octets,
    output: str | None,
    *,
    save_certificates: str | None = None,
) -> None:
    json = report_to_show(opened.report)
    further: dict[str, bytes] = {}
    if save_certificates is not None:
        from ..pki.keyfiles.read import armour

        found = dict.fromkeys(one for layer in opened.report.whole for one in layer.certificates)
        further[save_certificates] = b"".join(map(armour, found))
    files.deliver(octets, output=output, json=json, further=further, private=True)


@verb("verify")
@message
@options.trust
@options.judging
@options.part
@detached_content
@saved_certificates
@options.policy
@options.at
@options.output
def verify(message: str, output: str | None, save_certificates: str | None, **given: Any) -> None:
    """Check the signature and write the signed content.

    Accepted means: at least one signer is intact, valid, trusted and the From or Sender, and no
    signature is broken. Otherwise nothing is written and the exit status is 1. With --json and no
    -o only the report is written.

    \b
    smime-graph verify mail.eml --trust roots.pem
    """
    from ..smime import examine

    with files.spooling(output):
        raw = Held(files.open_message(message))
        how = Reading.of(given)
        arguments = {"part": how.part, **judgement(how), **_content(how)}
        with keep_report_on_error(raw, **arguments), terminal.progress("verifying"):
            opened = examine.verify(raw, **arguments)
    from .report import warn

    warn(opened.report)
    _deliver(opened, opened.inside, output, save_certificates=save_certificates)


@verb("decrypt")
@message
@options.identities
@options.passwords
@options.part
@options.policy
@options.output
def decrypt(message: str, output: str | None, **given: Any) -> None:
    """Take the encryption off and write what was inside; no signature is looked at.

    Under AES-CBC nothing shows whether the content was changed: a warning says so. Use unseal for
    mail. The JSON has no verdict, because nothing was judged.

    \b
    smime-graph decrypt mail.eml --identity bob.p12 -o content.eml
    """
    from ..smime import examine
    from .report import warn

    with files.spooling(output):
        raw = Held(files.open_message(message))
        how = Reading.of(given)
        identities = how.keys.ring.identities()
        if not identities:
            raise UsageError("no key to decrypt with", hint="name a key file: --identity FILE")
        with _keep_layers_on_error(raw), terminal.progress("decrypting"):
            opened = examine.decrypt(raw, identities=identities, part=how.part, policy=how.policy)
    warn(opened.report)
    _deliver(opened, opened.inside, output)


@verb("decompress")
@message
@options.policy
@options.output
def decompress(message: str, policy: Policy, output: str | None) -> None:
    """Write what a compressed message holds, within limits.

    \b
    smime-graph decompress small.eml -o mail.eml
    """
    from ..smime import examine
    from ..smime.report import whole

    with files.spooling(output):
        raw = Held(files.open_message(message))
        with terminal.progress("decompressing"):
            opened = examine.decompress(raw, policy=policy)
    _deliver(opened, whole(opened), output)


@verb("unseal")
@message
@options.opening
@options.part
@saved_certificates
@options.output
def unseal(message: str, output: str | None, save_certificates: str | None, **given: Any) -> None:
    """Decrypt, check every signature, and write the message as it was before it was sealed.

    Accepted means the same as for verify; otherwise nothing is written and the exit status is 1.

    \b
    smime-graph unseal mail.eml --identity bob.p12 --trust roots.pem -o clear.eml
    """
    from ..smime.report import whole

    with files.spooling(output):
        opened = unseal_message(Held(files.open_message(message)), Reading.of(given))
    _deliver(opened, whole(opened), output, save_certificates=save_certificates)


@verb("examine")
@message
@options.opening
@options.part
@detached_content
@options.output
def examine(message: str, output: str | None, **given: Any) -> None:
    """Say everything there is to say about a message: layers, signers, findings, the verdict.

    The exit status is 0 whenever the message could be read, accepted or not.

    \b
    smime-graph examine mail.eml --identity bob.p12 --trust roots.pem --json
    """
    from ..smime import examine as engine
    from ..smime.report import report_json
    from .report import report_lines

    raw = Held(files.open_message(message))
    how = Reading.of(given)
    arguments = {
        "identities": how.keys.ring.identities(),
        "part": how.part,
        **judgement(how),
        **_content(how),
    }
    with terminal.progress("examining"):
        report = engine.examine(raw, **arguments)
    run = run_of(click.get_current_context())
    if report.error is not None:
        run.known = report_json(report)
        raise report.error
    _show(report_json(report), report_lines(report), output)


@verb("inspect")
@message
@options.output
def inspect(message: str, output: str | None) -> None:
    """Show what a message says of itself: layers, algorithms, recipients, signers, sizes.

    No key is needed and nothing is judged. A message without S/MIME has no layers. A layer that
    wraps only a part is errant: it says nothing of the message, and verify, decrypt, unseal and
    examine open it with --part PATH.

    \b
    smime-graph inspect mail.eml --json
    """
    from ..smime import examine as engine
    from ..smime.report import layer_json
    from .report import layer_lines

    raw = Held(files.open_message(message))
    try:
        layers = engine.inspect(raw)
    except MalformedMessage as error:
        if (found := _no_message(raw)) is None:
            raise
        raise MalformedMessage(f"this is no message, but {found}", hint=_NO_MESSAGE) from error
    if not layers and (found := _no_message(raw)) is not None:
        raise MalformedMessage(f"this is no message, but {found}", hint=_NO_MESSAGE)
    lines = [line for layer in layers for line in layer_lines(layer)]
    _show({"layers": [layer_json(one) for one in layers]}, lines or ["no S/MIME layers"], output)


_NO_MESSAGE = "give a message; contacts add reads certificates"


def _no_message(raw: Held) -> str | None:
    """What lies here where somebody took the wrong file; None for a message, and for any text."""
    from ..pki.keyfiles.read import kind_of

    start = bytes(raw.data[:_LOOKED_AT])
    kind = kind_of(start)
    if kind == "pem" and not start.startswith(b"-----BEGIN"):
        return None  # a message may well have one in its text
    if kind == "pkcs7":
        return None  # which is what a message holds: it is looked at as one
    return kind and ("keys or certificates in PEM" if kind == "pem" else f"a {kind} file in DER")


def _show(json: dict[str, Any], lines: list[str], output: str | None) -> None:
    text = "".join(f"{terminal.printable(line)}\n" for line in lines).encode("utf-8", "replace")
    if not run_of(click.get_current_context()).json:
        if output is None:
            files.write_lines(lines)
        else:
            files.deliver(text, output=output)
    elif output is None:
        files.write_json(json)
    else:
        data = json_text(json).encode() + b"\n"
        files.deliver(data, output=output)


COMMANDS = {
    "verify": verify,
    "decrypt": decrypt,
    "decompress": decompress,
    "unseal": unseal,
    "examine": examine,
    "inspect": inspect,
}
