"""sign, encrypt, seal."""

from __future__ import annotations

from typing import Any

import click

from ..errors import PolicyRefusal, UsageError
from . import files, options, terminal
from .options import Given, message, verb
from .program import run_of


def protected(raw: bytes, given: Given) -> bytes:
    """The message signed, encrypted or sealed as the options say; as it is where they say nothing.

    Raises what `sign`, `encrypt` and `seal` raise.
    """
    if not given.get("signer") and not given.get("recipient"):
        return raw
    from ..smime import wrap
    from . import keys

    policy = options.policy_of(given)
    at = given.get("at")
    signers = keys.KeyRing.of(given).signers()
    everyone = keys.recipients(given, raw)
    detached = not given.get("opaque")
    if given.get("recipient"):
        if not detached:
            raise UsageError(
                "--opaque is for a message that is signed only",
                hint="inside an encrypted message nothing can change the signed text",
            )
        _warn_of_bcc(raw)
        if not everyone:  # it was a folder
            raise PolicyRefusal(
                f"no certificate is there for {', '.join(keys.message_addresses(raw)) or 'nobody'}",
                rule="encrypt.recipient-without-certificate",
                policy=policy.name,
                hint="put the certificates of the recipients into the folder",
            )
    with terminal.working("signing and encrypting"):
        if not everyone:
            return wrap.sign(
                raw, signer=signers, detached=detached, policy=policy, at=at, sid=given["sid"]
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
        )


def _warn_of_bcc(raw: bytes) -> None:
    from ..smime.entity import Entity

    if Entity(raw).all("Bcc"):
        terminal.complain(
            "warning",
            "the message has Bcc recipients: whoever receives it sees in the encrypted message"
            " for whom it is",
        )


def _write(raw: bytes, given: Given) -> None:
    import base64

    json: dict[str, Any] | None = None
    if run_of(click.get_current_context()).json:
        json = {"size": len(raw)}
        if given["output"] is None:
            json["message"] = base64.b64encode(raw).decode()
    files.deliver(raw, output=given["output"], json=json)


@verb("sign")
@message
@options.making(encrypt=False)
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
    _write(protected(files.read_message(message), given), given)


@verb("encrypt")
@message
@options.making(sign=False)
@options.output
def encrypt(message: str, **given: Any) -> None:
    """Encrypt a message to its recipients; it is not signed, so nobody can tell who wrote it.

    Every address in To, Cc and Bcc needs a certificate. Use seal for mail.

    \b
    smime-graph encrypt mail.eml --recipient bob.pem -o encrypted.eml
    """
    _need(given, "recipient", "nobody to encrypt to", "name a certificate: --recipient FILE")
    _write(protected(files.read_message(message), given), given)


@verb("seal")
@message
@options.making()
@options.to_self
@options.output
def seal(message: str, **given: Any) -> None:
    """Sign a message, then encrypt it to its recipients and to oneself.

    From must be an address of the signer, and every address in To, Cc and Bcc needs a certificate.

    \b
    smime-graph seal mail.eml --signer alice.p12 --recipient bob.pem -o sealed.eml
    """
    _need(given, "signer", "nobody to sign with", "name a key file: --signer FILE")
    _need(given, "recipient", "nobody to encrypt to", "name a certificate: --recipient FILE")
    _write(protected(files.read_message(message), given), given)


def _need(given: Given, name: str, text: str, hint: str) -> None:
    if not given[name]:
        raise UsageError(text, hint=hint)


COMMANDS = {"sign": sign, "encrypt": encrypt, "seal": seal}
