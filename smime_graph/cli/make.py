"""sign, encrypt, seal, compress, certs-only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from ..buffers import LARGE, Data, Held, Writable
from ..errors import MalformedMessage, PolicyRefusal, UsageError
from . import files, options, terminal
from .context import run_of
from .options import Protection, message, verb

if TYPE_CHECKING:
    from ..cms.ess import ReceiptRequest
    from ..cms.labels import SecurityLabel
    from ..smime.entity import Entity
    from .graph_client import Place


def read_to_protect(path: str, how: Protection, place: Place) -> bytes:
    """The message that is to be protected and sent; UsageError, before anything of it is read,
    where what comes of it would be larger by far than what the mailbox takes.

    Of what may just be too large the size that counts is said once it is made.
    """
    from ..graph._outgoing import THREE_LAYERS

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
        hint=f"the largest request has {place.size_limit} octets (--size-limit): {THREE_LAYERS}",
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
            raise UsageError(
                "--opaque is for a message that is signed only",
                hint="inside an encrypted message nothing can change the signed text",
            )
        if not everyone:  # it was a folder
            raise PolicyRefusal(
                f"no certificate is there for {', '.join(keys.message_addresses(raw)) or 'nobody'}",
                rule="encrypt.recipient-without-certificate",
                policy=policy.name,
                hint="put the certificates of the recipients into the folder",
            )
    asked, label = _receipt_request(how), _label(how.label)
    message = Held(raw)
    doing = " and ".join(["signing"] * bool(signers) + ["encrypting"] * bool(everyone))
    with terminal.progress(doing), terminal.show_warnings():
        if not everyone:
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
        trust = keys.trust_store(how.keys.trust)
        if not signers:
            return wrap.encrypt(
                message,
                recipients=everyone,
                trust=trust,
                policy=policy,
                at=at,
                rid=how.rid,
                out=out,
            )
        return wrap.seal(
            message,
            signer=signers,
            recipients=everyone,
            trust=trust,
            policy=policy,
            at=at,
            sid=how.sid,
            rid=how.rid,
            receipt_request=asked,
            label=label,
            out=out,
        )


def prepare(raw: bytes, how: Protection) -> bytes:
    """What is submitted of a message: protected as the options say, with what it lacked.

    `send` and `check` both ask this. Raises what `protect` and `complete` raise.
    """
    return complete(protect(raw, how), how.at)


def complete(raw: bytes, at: datetime | None) -> bytes:
    """The message with a Message-ID and a Date above its header where it has none.

    Nothing that is there is touched: it may be signed. MalformedMessage if it is no message.
    """
    from ..graph._outgoing import header_fields
    from ..smime.entity import Entity
    from ..smime.outgoing import missing_fields

    header_fields(raw)  # what has no header must not be given one
    entity = Entity(raw)
    _warn_of_recipients(entity)
    added = b"".join(missing_fields(entity, at or datetime.now(UTC)))
    return (added if b"\r\n" in raw[:1000] else added.replace(b"\r\n", b"\n")) + raw


def _warn_of_recipients(entity: Entity[bytes]) -> None:
    """Graph takes what it can read of an address field, and says nothing of the rest."""
    from ..pki.address import parse_header_addresses

    for name in ("To", "Cc", "Bcc"):
        for field in entity.all(name):
            try:
                parse_header_addresses(field.value)
            except MalformedMessage as error:
                text = f"{name} cannot be read, so nobody knows who of it gets the message: {error}"
                terminal.complain("warning", text)


def _receipt_request(how: Protection) -> ReceiptRequest | None:
    from ..cms.ess import ReceiptRequest

    return ReceiptRequest(how.receipt_to) if how.receipt_to else None


def _label(text: str | None) -> SecurityLabel | None:
    from ..cms.labels import SecurityLabel

    if not text:
        return None
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
@options.output
def seal(message: str, output: str | None, **given: Any) -> None:
    """Sign a message, then encrypt it to its recipients and to oneself.

    From must be an address of the signer, and every address in To, Cc and Bcc needs a certificate.

    \b
    smime-graph seal mail.eml --signer alice.p12 --recipient bob.pem -o sealed.eml
    """
    _write_protected(message, output, Protection.of(given), signer=True, recipient=True)


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
