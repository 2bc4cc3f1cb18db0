"""What is done with a job, by whoever has the job and can read its keys."""

from __future__ import annotations

import mimetypes
import os
import re
import string
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from ..errors import SmimeGraphError, UsageError
from ..pki.address import is_address
from ..pki.identity import Contact, Identity, load_identities
from ..pki.revocation import Revocation, RevocationMode
from ..pki.trust import TrustStore
from ..policy import POLICIES, Policy
from ..smime.entity import HeaderField
from ..smime.examine import decrypt, unseal
from ..smime.sealing import encrypt, seal
from ..smime.wrap import sign
from ..text import printable
from ..x509.certificate import Certificate
from .jobs import Job, KeyFile, Outcome, read_file

T = TypeVar("T")


def carry_out(jobs: Sequence[Job]) -> list[Outcome]:
    """Do each job; what is wrong with one is in its outcome, and stops no other."""
    return [_carry_out(job) for job in jobs]


def _carry_out(job: Job) -> Outcome:
    try:
        if job.verb == "unseal":
            return _unseal(job)
        raw = _protect(job) if job.verb != "re-encrypt" else _encrypt_anew(job)
    except SmimeGraphError as error:
        return failed(job, error)
    name = _message_id(raw)
    return Outcome(key=job.key, digest=job.digest, status="done", raw=raw, message_id=name)


def _message_id(raw: bytes) -> str | None:
    """Of a message that was made here, so that each line of its header is of a named field."""
    match = _MESSAGE_ID.search(raw, 0, raw.find(b"\r\n\r\n"))
    return HeaderField("Message-ID", match[1]).value if match else None


_MESSAGE_ID = re.compile(
    rb"(?:\A|\n)([Mm][Ee][Ss][Ss][Aa][Gg][Ee]-[Ii][Dd][ \t]*:.*(?:\n[ \t].*)*)"
)


def failed(job: Job, error: SmimeGraphError) -> Outcome:
    """The outcome of a job that could not be done, and why."""
    why = {"type": type(error).__name__, "text": str(error), "hint": error.hint}
    return Outcome(
        key=job.key,
        digest=job.digest,
        status="failed",
        verdict="rejected" if job.verb == "unseal" else None,
        error=why,
    )


def _protect(job: Job) -> bytes:
    message = _octets(job) if job.message is not None else _written(job)
    policy = _policy(job)
    signers = [_identity(one) for one in job.signers]
    recipients = [_contact(one, job) for one in job.recipients]
    if job.verb == "sign":
        return sign(message, signer=signers, policy=policy)
    if job.verb == "encrypt":
        return encrypt(message, recipients=recipients, policy=policy, **_judged(job))
    return seal(message, signer=signers, recipients=recipients, policy=policy, **_judged(job))


def _judged(job: Job) -> dict[str, Any]:
    """How recipients are judged."""
    trust = _trust_for_recipients(job) if job.trust else None
    return {"trust": trust, "revocation": _revocation(job)}


def _unseal(job: Job) -> Outcome:
    keys = [one for file in job.identities for one in _identities(file)]
    opened = unseal(
        _octets(job),
        identities=keys,
        trust=_trust(job),
        revocation=_revocation(job),
        policy=_policy(job),
    )
    signer = opened.signer
    return Outcome(
        key=job.key,
        digest=job.digest,
        status="done",
        raw=opened.raw,
        verdict="accepted",
        signer=signer.email if signer else None,
    )


def _encrypt_anew(job: Job) -> bytes:
    """The outermost encryption taken off and put on again for others; a signature inside stays.

    Whoever rotates a key reads old mail with the old one and keeps it for the new one, whoever
    else could read it once.
    """
    policy = _policy(job)
    keys = [one for file in job.identities for one in _identities(file)]
    opened = decrypt(_octets(job), identities=keys, policy=policy)
    mine = policy.but(policy.name, every_recipient_must_read=False)
    recipients = [_contact(one, job) for one in job.recipients]
    return encrypt(opened.raw, recipients=recipients, policy=mine, **_judged(job))


def _octets(job: Job) -> bytes:
    if isinstance(job.message, bytes):
        return job.message
    return read_file(str(job.message), "message")


def _policy(job: Job) -> Policy:
    if job.policy not in POLICIES:
        raise UsageError(f"{job.policy!r} is no policy, wanted one of {', '.join(POLICIES)}")
    return POLICIES[job.policy]


# --- keys: read once by each worker, and again when the file has changed --------------------------


def _remembered(load: Callable[..., T], path: str, *more: object) -> T:
    """What was loaded from a file of this name, size and time of change."""
    try:
        status = os.stat(path)  # noqa: PTH116 - with every job, in a third of the time
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
    except (OSError, ValueError):
        stamp = None  # a token, or no file: that is for whoever loads it to say
    found: T = _load(load, path, stamp, *more)
    return found


@lru_cache(maxsize=512)
def _load(load: Callable[..., Any], path: str, stamp: object, *more: object) -> Any:
    del stamp
    return load(path, *more)


def _identity(key: KeyFile) -> Identity:
    return _remembered(_open, key.file, key.password_file)


def _open(path: str, password_file: str | None) -> Identity:
    from ..pki.pkcs11.uri import is_uri

    if is_uri(path):
        from ..pki.pkcs11 import keys as pkcs11

        return pkcs11.load(path, pin=_password(password_file))
    return Identity.load(path, password=_password(password_file))


def _identities(key: KeyFile) -> tuple[Any, ...]:
    if key.file.lower().startswith("pkcs11:"):
        return (_identity(key),)
    return _remembered(_open_all, key.file, key.password_file)


def _open_all(path: str, password_file: str | None) -> tuple[Any, ...]:
    password = _password(password_file)
    opened = load_identities(path, passwords=() if password is None else (password,))
    return tuple(one for identity in opened for one in identity.identities)


def _password(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        line = read_file(path, "password").decode("utf-8-sig").split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: the password is not UTF-8") from None
    if not line:
        raise UsageError(f"{path} holds no password on its first line")
    return line


def _contact(name: str, job: Job) -> Contact:
    if not is_address(name):
        return _remembered(Contact.load, name)
    if job.contacts is None:
        raise UsageError(
            f"{name} is an address, and no address book is given", hint="name it in contacts"
        )
    return _remembered(_known_contact, job.contacts, name, _policy(job))


def _known_contact(book: str, email: str, policy: Policy) -> Contact:
    from ..pki.contacts import look_up

    contact = look_up(email, book, policy=policy).contact
    assert contact is not None  # noqa: S101 - or it raises
    return contact


def _trust(job: Job) -> TrustStore:
    return _remembered(_load_trust, job.trust[0], job.trust)


def _revocation(job: Job) -> Revocation | None:
    if not job.evidence:
        return None
    crl, ocsp, _ = job.evidence
    return _remembered(_load_revocation, next(iter((*crl, *ocsp)), ""), *job.evidence)


def _load_revocation(
    path: str, crl: Sequence[str], ocsp: Sequence[str], mode: RevocationMode
) -> Revocation:
    del path  # as below
    return Revocation.load(mode=mode, crls=crl, ocsp=ocsp)


def _trust_for_recipients(job: Job) -> TrustStore:
    """With the issuers that the address book has, to build paths with."""
    trust = _trust(job)
    if job.contacts is None or not any(map(is_address, job.recipients)):
        return trust
    issuers = _remembered(_known_issuers, job.contacts)
    return TrustStore(trust.anchors, certificates=(*trust.certificates, *issuers))


def _known_issuers(book: str) -> tuple[Certificate, ...]:
    from ..pki.contacts import Contacts

    with Contacts(book) as opened:
        return opened.issuers()


def _load_trust(path: str, paths: tuple[str, ...]) -> TrustStore:
    del path  # the first of them: by its time it is known whether they are still the same
    return TrustStore.load(*paths)


# --- a message from its parts ---------------------------------------------------------------------


def _written(job: Job) -> EmailMessage:
    message = EmailMessage()
    try:
        message["From"] = job.sender
        for name, people in (("To", job.to), ("Cc", job.cc), ("Bcc", job.bcc)):
            if people:
                message[name] = ", ".join(people)
        message["Subject"] = _filled(job, "subject", job.subject)
        for name, value in job.headers.items():
            if not _FIELD_NAME.fullmatch(name):
                raise UsageError(f"{printable(name)[:80]} is no name of a header field")
            message[name] = _filled(job, name, value)
        if job.body is not None or job.html is None:
            message.set_content(_filled(job, "body", job.body or ""))
        if job.html is not None:
            html = _filled(job, "html", job.html, quote=True)
            if job.body is None:
                message.set_content(html, subtype="html")
            else:
                message.add_alternative(html, subtype="html")
        for path in job.attachments:
            _attach(message, path)
    except UsageError:
        raise
    except (ValueError, TypeError, LookupError) as error:  # of `email`
        raise UsageError(f"the message cannot be written: {error}") from error
    return message


_FIELD_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 3.6.8; `email` writes what it is given


def _attach(message: EmailMessage, path: str) -> None:
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    major, _, minor = kind.partition("/")
    message.add_attachment(
        read_file(path, "attachment"), maintype=major, subtype=minor, filename=Path(path).name
    )


class _Template(string.Template):
    idpattern = r"[A-Za-z_][A-Za-z0-9_]*"
    flags = re.ASCII


def _filled(job: Job, what: str, text: str, *, quote: bool = False) -> str:
    """The text with its values in their places; `quote`: they are no HTML."""
    if not job.values:
        return text
    from html import escape

    values = {name: escape(one) for name, one in job.values.items()} if quote else job.values
    try:
        return _Template(text).substitute(values)
    except KeyError as error:
        raise UsageError(
            f"{what} asks for a value that is not given: {error.args[0]}",
            hint="give it in values",
        ) from None
    except ValueError as error:
        raise UsageError(f"{what} is no template: {error}", hint="a dollar is written $$") from None
