"""Sign: MIME around the CMS that is made (RFC 8551 section 3). To encrypt and to seal: `sealing`.

A message is taken apart once: its MIME fields (Content-*) go inside with the body, all others stay
outside as they are. What goes inside is made canonical, signed, and from then on carried as bytes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from email.message import Message
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

from ..arguments import checked
from ..buffers import B, Octets, Readable, Rope, Writable, chunks, joined, write_to
from ..cms import signed_data
from ..cms.keys import SigningKey
from ..cms.labels import SecurityLabel
from ..cms.receipt_request import ReceiptRequest
from ..cms.signed_data import SignerIdentifier
from ..errors import UsageError
from ..policy import EXCHANGE, Policy
from ..x509.certificate import Certificate
from .canonical import encode_base64
from .outgoing import Outgoing

ENVELOPED = "enveloped-data"
AUTH_ENVELOPED = "authEnveloped-data"  # RFC 8551 3.2.2 spells it so
SIGNED = "signed-data"
SIGNED_RECEIPT = "signed-receipt"  # RFC 2634 2.4
COMPRESSED = "compressed-data"
CERTS_ONLY = "certs-only"
_FILENAMES = {CERTS_ONLY: "smime.p7c", COMPRESSED: "smime.p7z"}  # RFC 8551 3.2.1


@checked
def sign(
    message: bytes | Message | Path | Readable,
    *,
    signer: SigningKey | Sequence[SigningKey],
    detached: bool = True,
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    sid: Literal["issuer", "ski"] = "issuer",
    receipt_request: ReceiptRequest | None = None,
    label: SecurityLabel | None = None,
    out: Path | Writable | None = None,
) -> bytes:
    """The message, signed: multipart/signed, or opaque application/pkcs7-mime if not `detached`.

    `message` is a whole RFC 5322 message with a From, as bytes or an `email` Message (EmailMessage
    is one), or a file with it: a Path, or one open for reading in binary, a Readable. A large file
    is read where it is, in as little memory as a small one, and must stay as it is meanwhile: where
    it is cut off the system ends the process (SIGBUS), before anything is at the destination.
    Message-ID and Date are added if missing. With `out`, a Path or a Writable, the result is
    written there, to a path whole or not at all, and what is returned is its header. `signer` is a
    SigningKey: an Identity, or what has `private_key`, `certificate` and `chain` as it has. With
    several all sign the same content, and one of them is the From or Sender. `policy` is a Policy:
    which algorithms are used (EXCHANGE, RFC_8551, POST_QUANTUM, or one of your own). `at` is the
    signing time, a datetime with a time zone (now). `sid` says how a signer's certificate is named:
    by issuer and serial number, or by its subjectKeyIdentifier. `receipt_request`, a
    ReceiptRequest, asks the recipients for signed receipts, which need the message as it was sent
    to be checked (`verify_receipt`): keep it. `label`, a SecurityLabel, is signed with the content,
    by every signer. Unless the policy's `header_protection` is off, the header fields are signed,
    too (RFC 9788): all but Bcc and the traces of transport.

    Raises MalformedMessage for what is no message, PolicyRefusal for an unfit certificate or a From
    that is nobody's, UnsupportedAlgorithm for a key that cannot sign, UsageError for a request or a
    label that cannot be written, and for a file that cannot be read or written.
    """
    outgoing = Outgoing.of(message, policy, at)
    signers = as_list(signer)
    outgoing.check_signers(signers)
    further = outgoing.services(receipt_request, label)
    if policy.header_protection:
        outgoing.protect("clear")
    entity = outgoing.entity(clear=detached)
    signed = signed_entity(entity, signers, outgoing, detached=detached, sid=sid, further=further)
    return delivered(outgoing.assemble(signed), out)


@checked
def compress(
    message: bytes | Message | Path | Readable,
    *,
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    out: Path | Writable | None = None,
) -> bytes:
    """The message as compressed-data: smaller, and protected by nothing (RFC 8551 3.6).

    `message`, bytes, an `email` Message, a Path or a Readable, and `out`, a Path or a Writable, are
    as for `sign`. `policy`, a Policy, may say that
    nothing is sent; `at`, a datetime, is the Date where the message has none.
    """
    from ..cms import compressed_data  # who signs is not kept waiting for it

    outgoing = Outgoing.of(message, policy, at)
    der = compressed_data.compress(outgoing.entity(clear=False))
    return delivered(outgoing.assemble(pkcs7_mime(COMPRESSED, der)), out)


def delivered(made: bytes | Rope, out: Path | Writable | None) -> bytes:
    """The message as bytes; where it goes to `out`, its header."""
    if out is None:
        return made if isinstance(made, bytes) else bytes(made)
    write_to(out, made)
    start = b""
    for chunk in chunks(made):
        start += chunk
        if b"\r\n\r\n" in start:
            break
    return start[: start.index(b"\r\n\r\n") + 4]


@checked
def certs_only(certificates: Sequence[Certificate]) -> bytes:
    """A MIME entity that carries certificates and is signed by nobody (RFC 8551 3.8).

    `certificates` is a list of Certificate (`Identity.certificate`, `Contact.certificate`).
    """
    if not certificates:
        raise UsageError("no certificate to carry", hint="give at least one")
    return pkcs7_mime(CERTS_ONLY, signed_data.carry(certificates))


def as_list(signer: SigningKey | Sequence[SigningKey]) -> list[SigningKey]:
    signers = list(signer) if isinstance(signer, Sequence) else [signer]
    if not signers:
        raise UsageError("nobody to sign with", hint="give at least one signer")
    return signers


def signed_entity(
    entity: B,
    signers: Sequence[SigningKey],
    outgoing: Outgoing,
    *,
    detached: bool = True,
    sid: SignerIdentifier = "issuer",
    further: Sequence[bytes] = (),
) -> B:
    der, digests = signed_data.sign(
        entity,
        signers,
        detached=detached,
        policy=outgoing.policy,
        at=outgoing.at,
        sid=sid,
        further=further,
    )
    if not detached:
        return pkcs7_mime(SIGNED, der)
    micalg = ",".join(dict.fromkeys([digest.micalg for digest in digests]))
    # of 128 random bits, made after the entity: nothing in it has them
    boundary = f"----{os.urandom(16).hex()}"
    quoted = f'"{micalg}"' if "," in micalg else micalg
    parts: list[Octets] = [
        'Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r\n'
        f' micalg={quoted}; boundary="{boundary}"\r\n\r\n--{boundary}\r\n'.encode(),
        entity,
        f"\r\n--{boundary}\r\n"
        'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        'Content-Disposition: attachment; filename="smime.p7s"\r\n\r\n'.encode(),
        encode_base64(der),
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    return cast("B", joined(parts))


def pkcs7_mime(smime_type: str, der: B) -> B:
    """An application/pkcs7-mime entity (RFC 8551 3.2)."""
    return cast("B", joined([_header_of(smime_type), encode_base64(der)]))


@lru_cache(maxsize=8)
def _header_of(smime_type: str) -> bytes:
    name = _FILENAMES.get(smime_type, "smime.p7m")
    header = (
        f'Content-Type: application/pkcs7-mime; smime-type={smime_type}; name="{name}"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'
    )
    return header.encode()
