"""sign, encrypt, seal, compress, certs-only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from ..errors import MalformedMessage, PolicyRefusal, UsageError
from . import files, options, terminal
from .context import Given, run_of
from .options import message, verb

if TYPE_CHECKING:
    from ..cms.ess import ReceiptRequest
    from ..cms.labels import SecurityLabel
    from ..smime.entity import Entity


def protects(given: Given) -> bool:
    """Whether the options ask for a signature or for encryption."""
    return any(given.get(name) for name in ("signer", "recipient", "recipient_password_file"))


def read_to_protect(path: str, given: Given) -> bytes:
    """The message that is to be protected; UsageError, before all of it is read, where what comes
    of it could not be read again.
    """
    wrapped = given.get("opaque") or not given.get("signer")
    grows = protects(given) and (wrapped or _to_someone(given))
    # in base64 57 octets are a line of 78
    most = files.MESSAGE_LIMIT * 57 // 78 if grows else files.MESSAGE_LIMIT
    return files.read_message(path, limit=most)


def _to_someone(given: Given) -> bool:
    return bool(given.get("recipient") or given.get("recipient_password_file"))


def protected(raw: bytes, given: Given) -> bytes:
    """The message signed, encrypted or sealed as the options say; as it is where they say nothing.

    Raises what `sign`, `encrypt` and `seal` raise.
    """
    from ..smime import wrap
    from ..smime.canonical import check_finished
    from . import keys

    if not protects(given):
        check_finished(raw)
        return raw
    to_someone = _to_someone(given)
    policy = options.policy_of(given)
    at = given.get("at")
    signers = keys.KeyRing.of(given).signers()
    everyone = keys.recipients(given, raw)
    detached = not given.get("opaque")
    if to_someone:
        if not detached:
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
    asked, label = _receipt_request(given), _label(given)
    doing = " and ".join(["signing"] * bool(signers) + ["encrypting"] * bool(everyone))
    with terminal.progress(doing), terminal.showing_warnings():
        if not everyone:
            return wrap.sign(
                raw,
                signer=signers,
                detached=detached,
                policy=policy,
                at=at,
                sid=given["sid"],
                receipt_request=asked,
                label=label,
            )
        trust = keys.trust_store(given)
        if not signers:
            return wrap.encrypt(
                raw, recipients=everyone, trust=trust, policy=policy, at=at, rid=given["rid"]
            )
        return wrap.seal(
            raw,
            signer=signers,
            recipients=everyone,
            trust=trust,
            policy=policy,
            at=at,
            sid=given["sid"],
            rid=given["rid"],
            receipt_request=asked,
            label=label,
        )


def ready(raw: bytes, given: Given) -> bytes:
    """What is submitted of a message: protected as the options say, with what it lacked.

    `send` and `check` both ask this. Raises what `protected` and `completed` raise.
    """
    return completed(protected(raw, given), given)


def completed(raw: bytes, given: Given) -> bytes:
    """The message with a Message-ID and a Date above its header where it has none.

    Nothing that is there is touched: it may be signed. MalformedMessage if it is no message.
    """
    from ..graph._outgoing import header_fields
    from ..smime.entity import Entity
    from ..smime.outgoing import missing_fields

    header_fields(raw)  # what has no header must not be given one
    entity = Entity(raw)
    _warn_of_recipients(entity)
    added = b"".join(missing_fields(entity, given.get("at") or datetime.now(UTC)))
    return (added if b"\r\n" in raw[:1000] else added.replace(b"\r\n", b"\n")) + raw


def _warn_of_recipients(entity: Entity) -> None:
    """Graph takes what it can read of an address field, and says nothing of the rest."""
    from ..pki.address import parse_header_addresses

    for name in ("To", "Cc", "Bcc"):
        for field in entity.all(name):
            try:
                parse_header_addresses(field.value)
            except MalformedMessage as error:
                text = f"{name} cannot be read, so nobody knows who of it gets the message: {error}"
                terminal.complain("warning", text)


def _receipt_request(given: Given) -> ReceiptRequest | None:
    from ..cms.ess import ReceiptRequest

    return ReceiptRequest(tuple(given["receipt_to"])) if given.get("receipt_to") else None


def _label(given: Given) -> SecurityLabel | None:
    from ..cms.labels import SecurityLabel

    if not given.get("label"):
        return None
    policy, _, rest = given["label"].partition(":")
    number, _, mark = rest.partition(":")
    try:
        classification = int(number) if number else None
    except ValueError:
        raise UsageError(
            f"--label: {number!r} is no number", hint="for example 1.2.3.4:3:for the board"
        ) from None
    return SecurityLabel(policy, classification=classification, privacy_mark=mark or None)


def write(raw: bytes, given: Given) -> None:
    """Deliver a message that was made; in the JSON, in base64, where no file is named."""
    import base64

    if len(raw) > files.MESSAGE_LIMIT:
        raise UsageError(
            f"the result has {len(raw)} octets, and more than {files.MESSAGE_LIMIT} are read by no"
            " verb that opens it",
            hint="send it in parts, or put it where it can be fetched",
        )
    json: dict[str, Any] | None = None
    if run_of(click.get_current_context()).json:
        json = {"size": len(raw)}
        if given["output"] is None:
            json["message"] = base64.b64encode(raw).decode()
    files.deliver(raw, output=given["output"], json=json)


@verb("sign")
@message
@options.signing_and_encrypting_options(encrypt=False)
@options.opaque
@options.output
def sign(message: str, **given: Any) -> None:
    """Sign a message: multipart/signed, or one opaque part.

    From must be an address of the signer. Message-ID and Date are added where they are missing.
    With --json and no -o the signed message is in the JSON, in base64.

    \b
    smime-graph sign mail.eml --signer alice.p12 -o signed.eml
    """
    _need(given, "signer", "nobody to sign with", "name a key file: --signer FILE")
    write(protected(read_to_protect(message, given), given), given)


@verb("encrypt")
@message
@options.signing_and_encrypting_options(sign=False)
@options.output
def encrypt(message: str, **given: Any) -> None:
    """Encrypt a message to its recipients; it is not signed, so nobody can tell who wrote it.

    Every address in To, Cc and Bcc needs a certificate. Use seal for mail.

    \b
    smime-graph encrypt mail.eml --recipient bob.pem -o encrypted.eml
    """
    _need_recipient(given)
    write(protected(read_to_protect(message, given), given), given)


@verb("seal")
@message
@options.signing_and_encrypting_options()
@options.sealing
@options.output
def seal(message: str, **given: Any) -> None:
    """Sign a message, then encrypt it to its recipients and to oneself.

    From must be an address of the signer, and every address in To, Cc and Bcc needs a certificate.

    \b
    smime-graph seal mail.eml --signer alice.p12 --recipient bob.pem -o sealed.eml
    """
    _need(given, "signer", "nobody to sign with", "name a key file: --signer FILE")
    _need_recipient(given)
    write(protected(read_to_protect(message, given), given), given)


@verb("compress")
@message
@options.output
def compress(message: str, **given: Any) -> None:
    """Make a message smaller; it is protected by nothing.

    Few mail programs read compressed messages. With --json and no -o the result is in the JSON.

    \b
    smime-graph compress mail.eml -o small.eml
    """
    from ..cms.compressed_data import MAX_CONTENT
    from ..smime import wrap

    raw = files.read_message(message, limit=MAX_CONTENT)
    with terminal.progress("compressing"):
        made = wrap.compress(raw)
    write(made, given)


@verb("certs-only")
@click.argument("file", nargs=-1, required=True, metavar="FILE...")
@options.output
def certs_only(file: tuple[str, ...], **given: Any) -> None:
    """Write certificates as a MIME part (smime.p7c) that others can import; nobody signs it.

    FILE holds certificates in PEM or DER. `inspect` shows what such a part carries.

    \b
    smime-graph certs-only alice.pem issuing-ca.pem -o certificates.eml
    """
    from ..pki.identity import read_certificates
    from ..smime import wrap

    found = [one for path in file for one in read_certificates(path)]
    write(wrap.certs_only(found), given)


def _need_recipient(given: Given) -> None:
    if not given["recipient"] and not given["recipient_password_file"]:
        raise UsageError("nobody to encrypt to", hint="name a certificate: --recipient FILE")


def _need(given: Given, name: str, text: str, hint: str) -> None:
    if not given[name]:
        raise UsageError(text, hint=hint)


COMMANDS = {
    "sign": sign,
    "encrypt": encrypt,
    "seal": seal,
    "compress": compress,
    "certs-only": certs_only,
}
