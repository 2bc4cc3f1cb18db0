"""sign, encrypt, seal, compress, certs-only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..arguments import file_name
from ..buffers import LARGE, Data, Held, Writable
from ..errors import PolicyRefusal, UsageError
from . import files, options, terminal
from .context import run_of
from .options import FILE, Protection, message, option, verb

if TYPE_CHECKING:
    from ..cms.labels import SecurityLabel
    from ..cms.receipt_request import ReceiptRequest
    from ..smime.bcc import SealedCopy
    from .graph_client import Place


def read_to_protect(path: str, how: Protection, place: Place) -> bytes:
    """The message that is to be protected and sent; UsageError, before anything of it is read,
    where what comes of it would be larger by far than what the mailbox takes.

    Of what may just be too large the size that counts is said once it is made.
    """
    wrapped = how.opaque or not how.keys.signer
    grows = how.is_asked_for and (wrapped or how.keys.has_recipient)
    most = place.size_limit if place.wire == "mime-content" else place.size_limit * 3 // 4
    if grows:
        most = most * 57 // 78  # in base64 57 octets are a line of 78
    if how.policy.compress:
        most *= _MOST_COMPRESSED
    return files.read(
        path,
        what="message",
        # line ends and blanks that go on the way make it smaller, though never by half
        limit=min(max(2 * most, LARGE), files.MESSAGE_LIMIT),
        hint=f"the largest request has {place.size_limit} octets: {terminal.TOO_LARGE}",
    )


_MOST_COMPRESSED = 20  # times smaller: so much mail rarely becomes


def protect(raw: bytes, how: Protection) -> bytes:
    """The message signed, encrypted or sealed as the options say; as it is where they say nothing.

    Raises what `sign`, `encrypt` and `seal` raise.
    """
    from ..smime.canonical import check_finished

    if how.is_asked_for:
        return protected_into(None, raw, how)
    check_finished(raw)
    return raw


def protected_into(out: Writable | None, raw: Data, how: Protection) -> bytes:
    """The message signed, encrypted or sealed, written to `out`, and its header; without `out` all
    of it.

    Raises what `sign`, `encrypt` and `seal` raise.
    """
    from ..smime import wrap
    from . import keys

    policy, at = how.policy, how.at
    signers = how.keys.ring.signers()
    everyone = how.keys.recipients(raw, at=at, policy=policy)
    if how.keys.has_recipient:
        if how.opaque:
            raise _opaque_and_encrypted()
        if not everyone:  # it was a folder
            raise PolicyRefusal(
                f"no certificate is there for {', '.join(keys.message_addresses(raw)) or 'nobody'}",
                rule="encrypt.recipient-without-certificate",
                policy=policy.name,
                hint="put the certificates of the recipients into the folder",
            )
    asked, label = _receipt_request(how), _label(how.label)
    message = Held(raw)
    if not everyone:
        with terminal.progress("signing"):
            return wrap.sign(
                message,
                signer=signers,
                detached=not how.opaque,
                policy=policy,
                at=at,
                sid=how.sid,
                receipt_request=asked,
                label=label,
                out=out,
            )
    from ..smime import sealing  # who signs alone is not kept waiting for it

    doing = "signing and encrypting" if signers else "encrypting"
    with terminal.progress(doing), terminal.show_warnings():
        trust = how.keys.trust_for_recipients()
        if not signers:
            return sealing.encrypt(
                message,
                recipients=everyone,
                trust=trust,
                revocation=how.known_revocation(),
                policy=policy,
                at=at,
                rid=how.rid,
                header_confidentiality=how.confidentiality,
                out=out,
            )
        return sealing.seal(
            message,
            signer=signers,
            recipients=everyone,
            trust=trust,
            revocation=how.known_revocation(),
            policy=policy,
            at=at,
            sid=how.sid,
            rid=how.rid,
            header_confidentiality=how.confidentiality,
            receipt_request=asked,
            label=label,
            out=out,
        )


def sealed_copies(raw: Data, how: Protection) -> tuple[SealedCopy, ...]:
    """The message sealed, with a copy for each person in Bcc. Raises what `seal_copies` raises."""
    from ..smime import sealing

    if not (how.keys.signer and how.keys.has_recipient):
        raise UsageError(
            "--split-bcc is for a message that is signed and encrypted",
            hint="name both: --signer FILE --recipient FILE",
        )
    if how.opaque:
        raise _opaque_and_encrypted()
    with terminal.progress("signing and encrypting"), terminal.show_warnings():
        return sealing.seal_copies(
            Held(raw),
            signer=how.keys.ring.signers(),
            recipients=how.keys.recipients(raw, at=how.at, policy=how.policy),
            trust=how.keys.trust_for_recipients(),
            revocation=how.known_revocation(),
            policy=how.policy,
            at=how.at,
            sid=how.sid,
            rid=how.rid,
            receipt_request=_receipt_request(how),
            label=_label(how.label),
        )


def _opaque_and_encrypted() -> UsageError:
    return UsageError(
        "--opaque is for a message that is signed only",
        hint="inside an encrypted message nothing can change the signed text",
    )


def prepare(raw: bytes, how: Protection) -> bytes:
    """What is submitted of a message: protected as the options say, with what it lacked.

    Raises what `protect` and `complete` raise.
    """
    from ..submission.preflight import unreadable_recipients

    made = complete(protect(raw, how), how.at)
    for one in unreadable_recipients(made):
        terminal.complain("warning", one.text)
    return made


def complete(raw: bytes, at: datetime | None) -> bytes:
    """The message with a Message-ID and a Date above its header where it has none.

    Nothing that is there is touched: it may be signed. MalformedMessage if it is no message.
    """
    from ..graph._outgoing import header_fields
    from ..smime.entity import Entity
    from ..smime.outgoing import missing_fields

    header_fields(raw)  # what has no header must not be given one
    added = b"".join(missing_fields(Entity(raw), at or datetime.now(UTC)))
    return (added if b"\r\n" in raw[:1000] else added.replace(b"\r\n", b"\n")) + raw


def _receipt_request(how: Protection) -> ReceiptRequest | None:
    if not how.receipt_to:
        return None
    from ..cms.receipt_request import ReceiptRequest

    return ReceiptRequest(how.receipt_to)


def _label(text: str | None) -> SecurityLabel | None:
    if not text:
        return None
    from ..cms.labels import SecurityLabel

    policy, _, rest = text.partition(":")
    number, _, mark = rest.partition(":")
    try:
        classification = int(number) if number else None
    except ValueError:
        raise UsageError(
            f"--label: {number!r} is no number", hint="for example 1.2.3.4:3:for the board"
        ) from None
    return SecurityLabel(policy, classification=classification, privacy_mark=mark or None)


def write(raw: bytes, output: str | None) -> None:
    """Deliver a message that was made; in the JSON, in base64, where no file is named."""
    import base64

    json: dict[str, Any] | None = None
    if run_of(click.get_current_context()).json:
        json = {"size": len(raw)}
        if output is None:
            json["message"] = base64.b64encode(raw).decode()
    files.deliver(raw, output=output, json=json)


def _write_copies(copies: Sequence[SealedCopy], folder: str) -> None:
    """Write each into a file of its own in a folder that is new or empty; all of them or none."""
    from ..smime.entity import Entity

    place = Path(folder)
    staged: list[files.Staged] = []
    made = not place.exists()
    try:
        try:
            place.mkdir(parents=True, exist_ok=True)
            is_empty = not any(place.iterdir())
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "no file name"
            made = False
            raise UsageError(
                f"--split-bcc {file_name(folder)} cannot be used: {reason}",
                hint="name a folder that can be written",
            ) from error
        if not is_empty:
            raise UsageError(
                f"--split-bcc {file_name(folder)} is not empty",
                hint="name a new folder: what is in one is sent, all of it and once",
            )
        shown: list[dict[str, Any]] = []
        for one in copies:
            number = sum(other["bcc"] for other in shown) + 1
            path = str(place / (f"bcc-{number}.eml" if one.is_bcc else "named.eml"))
            staged.append(files.Staged(path))
            staged[-1].write(one.message)
            shown.append(
                {
                    "file": path,
                    "size": len(one.message),
                    "recipients": list(one.recipients),
                    "bcc": one.is_bcc,
                    "internetMessageId": Entity(one.message).get("Message-ID"),
                }
            )
        is_json = run_of(click.get_current_context()).json
        rows = [(one["file"], ", ".join(one["recipients"])) for one in shown]
        files.commit(
            staged,
            lambda: files.write_json({"copies": shown}) if is_json else files.write_rows(rows),
        )
    except BaseException:
        for file in staged:
            file.discard()
        if made:
            with suppress(OSError):
                place.rmdir()
        raise


def write_made(make: Callable[[Writable | None], bytes], output: str | None) -> None:
    """As `write`, what `make` writes where it is told to, or gives if it is told nothing."""
    is_json = run_of(click.get_current_context()).json
    if output is None or output == "-":
        if is_json:
            write(make(None), output)
        else:
            make(files.Stdout())
        return
    staged = files.Staged(output)
    try:
        make(staged)
        files.commit([staged], lambda: files.write_json({"size": staged.size}) if is_json else None)
    finally:
        staged.discard()


@verb("sign")
@message
@options.protection_options(encrypt=False)
@options.opaque
@options.output
def sign(message: str, output: str | None, **given: Any) -> None:
    """Sign a message: multipart/signed, or one opaque part.

    From must be an address of the signer. Message-ID and Date are added where they are missing.
    With --json and no -o the signed message is in the JSON, in base64.

    \b
    smime-graph sign mail.eml --signer alice.p12 -o signed.eml
    """
    _write_protected(message, output, Protection.of(given), signer=True)


@verb("encrypt")
@message
@options.protection_options(sign=False)
@options.output
def encrypt(message: str, output: str | None, **given: Any) -> None:
    """Encrypt a message to its recipients; it is not signed, so nobody can tell who wrote it.

    Every address in To, Cc and Bcc needs a certificate. Use seal for mail.

    \b
    smime-graph encrypt mail.eml --recipient bob.pem -o encrypted.eml
    """
    _write_protected(message, output, Protection.of(given), recipient=True)


@verb("seal")
@message
@options.protection_options()
@options.sealing
@option(
    "--split-bcc",
    type=FILE,
    metavar="DIR",
    help="Write a message of its own for each person in Bcc, whom nobody else sees, and one for"
    " the others, into a folder that is new or empty.",
)
@options.output
def seal(message: str, output: str | None, split_bcc: str | None, **given: Any) -> None:
    """Sign a message, then encrypt it to its recipients and to oneself.

    From must be an address of the signer, and every address in To, Cc and Bcc needs a certificate.
    Whoever reads a message sees for whom it was encrypted: with --split-bcc those in Bcc get
    messages of their own. Send each of them.

    \b
    smime-graph seal mail.eml --signer alice.p12 --recipient bob.pem -o sealed.eml
    """
    how = Protection.of(given)
    if split_bcc is None:
        _write_protected(message, output, how, signer=True, recipient=True)
        return
    if output is not None:
        raise UsageError(
            "-o and --split-bcc are both given", hint="several messages are written: leave out -o"
        )
    _write_copies(sealed_copies(files.open_message(message), how), split_bcc)


@verb("compress")
@message
@options.output
def compress(message: str, output: str | None) -> None:
    """Make a message smaller; it is protected by nothing.

    Few mail programs read compressed messages. With --json and no -o the result is in the JSON.

    \b
    smime-graph compress mail.eml -o small.eml
    """
    from ..smime import wrap

    def make(out: Writable | None) -> bytes:
        with terminal.progress("compressing"):
            return wrap.compress(Held(raw), out=out)

    with files.spooling(output):
        raw = files.open_message(message)
        write_made(make, output)


@verb("certs-only")
@click.argument("file", nargs=-1, required=True, metavar="FILE...")
@options.output
def certs_only(file: tuple[str, ...], output: str | None) -> None:
    """Write certificates as a MIME part (smime.p7c) that others can import; nobody signs it.

    FILE holds certificates in PEM or DER. `inspect` shows what such a part carries.

    \b
    smime-graph certs-only alice.pem issuing-ca.pem -o certificates.eml
    """
    from ..pki.identity import read_certificates
    from ..smime import wrap

    found = [one for path in file for one in read_certificates(path)]
    write(wrap.certs_only(found), output)


def _write_protected(
    path: str, output: str | None, how: Protection, *, signer: bool = False, recipient: bool = False
) -> None:
    if signer and not how.keys.signer:
        raise UsageError("nobody to sign with", hint="name a key file: --signer FILE")
    if recipient and not how.keys.has_recipient:
        raise UsageError("nobody to encrypt to", hint="name a certificate: --recipient FILE")
    with files.spooling(output):
        raw = files.open_message(path)
        write_made(lambda out: protected_into(out, raw, how), output)


COMMANDS = {
    "sign": sign,
    "encrypt": encrypt,
    "seal": seal,
    "compress": compress,
    "certs-only": certs_only,
}
