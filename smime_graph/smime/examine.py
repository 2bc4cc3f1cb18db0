"""Verify, decrypt, unseal, examine, inspect: what comes in, judged by `judge`.

`examine` hands over the report; `verify` and `unseal` raise unless all is well, because ignoring
their result would be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from ..arguments import checked
from ..budget import Budget
from ..buffers import Data, Readable, Writable, read_message, spooling_beside
from ..cms.recipients.kinds import AnyKey
from ..errors import Hint, MalformedMessage, fresh
from ..pki.revocation import Revocation
from ..pki.trust import TrustStore
from ..policy import EXCHANGE, Policy
from ..x509.certificate import Certificate
from .context import Clearance, VerificationContext
from .header_protection import read_protected_header
from .layers import MAX_LAYERS, ParsedMessage, find_errant, parse_layers
from .recognition import entity_of, read_layer, recognise
from .report import ENCRYPTED, Layer, MessageReport, Opened
from .verification import (
    header_of,
    hint_of_errant,
    judge,
    outer_header,
    require_accepted,
    unauthenticated,
)


@checked
def verify(
    raw: bytes | Path | Readable,
    *,
    trust: TrustStore,
    sender: str | None = None,
    content: bytes | Path | Readable | None = None,
    certificates: Sequence[Certificate] = (),
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    clearance: Clearance | None = None,
    part: str | None = None,
    revocation: Revocation | None = None,
    out: Path | Writable | None = None,
) -> Opened:
    """Check the outermost signature and take it off.

    `raw` is the message: bytes, a Path, or a Readable, which is a file open in binary; so is
    `content`. `out` is a Path or a Writable that the content goes to once it is accepted. What is
    large is worked through in temporary files, in the folder of `out` or where TMPDIR says. A file
    that is read must stay as it is meanwhile: where it is cut off the system ends the process
    (SIGBUS). What is verified is what is given, also where the file is changed.
    `trust` is a TrustStore: the roots that you believe. `sender` is the address that the signer
    must have; by default the message's From or Sender. `content` is what a detached signature in
    `raw` is over; `certificates` are further ones to use, each a Certificate. `policy` is a Policy:
    what is accepted (EXCHANGE, or ARCHIVE for old mail). `at` is the time of judgement, a datetime
    with a time zone (now). `clearance`, a function of Clearance, is asked about every SecurityLabel
    under a good signature, whether the reader may see what carries it; without it a label is a
    notice.
    `part` is the path of an errant layer, as `inspect` lists it: that layer is opened instead, as a
    message of its own, whose sender is that of the message around it (RFC 9787 6.2).
    `revocation` is a Revocation: the CRLs and OCSP responses to judge by, beside those that the
    message brings (nobody is asked whether a certificate was revoked without it); with
    `fetch=Fetcher()` the services that certificates name are asked for what is missing.

    The Opened has the content, its signer, and the report about them. Raises UsageError where
    there is no layer at `part`; SignatureInvalid or CertificateRejected,
    with the report, unless the message is accepted, VerificationFailed where clearance is all that
    is missing; MalformedMessage if it is not S/MIME as it claims to be.
    """
    with spooling_beside(out):
        data = read_message(raw)
        signed = None if content is None else read_message(content)
        context = VerificationContext.of(
            len(data) + len(signed or b""),
            trust=trust,
            policy=policy,
            at=at,
            certificates=certificates,
            sender=sender,
            clearance=clearance,
            revocation=revocation,
        )
        opened = require_accepted(judge(_outermost_signed(data, context, signed, part), context))
        if out is not None:
            opened.write_to(out, header=False)
        return opened


def _outermost_signed(
    raw: Data, context: VerificationContext, content: Data | None, part: str | None
) -> ParsedMessage:
    parsed = parse_layers(raw, context, content=content, at_most=1, part=part)
    if parsed.layers and parsed.layers[0].type in ENCRYPTED:
        parsed.error = MalformedMessage(
            "the message is encrypted", hint=Hint("unseal it with the key", "unseal")
        )
    return parsed


@checked
def decrypt(
    raw: bytes | Path | Readable,
    *,
    identities: Sequence[AnyKey],
    policy: Policy = EXCHANGE,
    part: str | None = None,
    out: Path | Writable | None = None,
) -> Opened:
    """Take the outermost encryption off; nobody's signature is looked at.

    `raw` (bytes, a Path, a Readable) and `out` (a Path, a Writable) are those of `verify`.
    `identities` is a list of AnyKey: each a DecryptionKey, which an Identity is, a Password, or a
    SharedKey. `policy` is a Policy: what is accepted. Under AES-CBC nothing says that the content
    is unchanged: `report.authenticated` of the Opened tells.
    `part` is the path of an errant layer, which is opened instead: see `verify`. Raises
    NoMatchingIdentity, DecryptionFailed, MalformedMessage, UnsupportedAlgorithm, PolicyRefusal;
    UsageError where there is no layer at `part`.
    """
    with spooling_beside(out):
        data = read_message(raw)
        context = VerificationContext.of(len(data), policy=policy, identities=identities)
        parsed = parse_layers(data, context, at_most=1, part=part)
    if parsed.error is not None:
        raise fresh(parsed.error)
    if not parsed.layers or parsed.layers[0].type not in ENCRYPTED:
        found = (*parsed.layers, *parsed.errant)
        raise MalformedMessage(
            "the message is not encrypted",
            hint=hint_of_errant(found) or Hint("verify reads signed messages", "unseal-others"),
        )
    layers = tuple(parsed.layers)
    authenticated = layers[0].type == "auth-enveloped-data"
    findings = list(parsed.findings)
    if not authenticated:
        findings.append(unauthenticated(layers))
    protected, odd = read_protected_header(parsed.payload, parsed.outer, is_encrypted=True)
    header, differ, about_header = header_of(parsed, protected, is_signed=False)
    report = MessageReport(
        (*findings, *odd, *about_header),
        layers=layers,
        summary="encrypted",
        authenticated=authenticated,
        judged=False,
        outer_headers_differ=differ,
        header_protection=None if protected is None else protected.intent,
        header_fields=() if protected is None else protected.states(is_signed=False),
    )
    outside = outer_header(parsed.outer) if differ else header
    opened = Opened(parsed.content, header, report, protected, outside)
    if out is not None:
        opened.write_to(out, header=False)
    return opened


@checked
def decompress(
    raw: bytes | Path | Readable,
    *,
    policy: Policy = EXCHANGE,
    out: Path | Writable | None = None,
) -> Opened:
    """Take the outermost compression off, within limits. Raises MalformedMessage.

    `raw` (bytes, a Path, a Readable) and `out` (a Path, a Writable) are those of `verify`; what is
    written is the message, with its header.
    `policy` is a Policy: what is accepted. The Opened has the content, which nothing vouches for.
    """
    with spooling_beside(out):
        data = read_message(raw)
        parsed = parse_layers(data, VerificationContext.of(len(data), policy=policy), at_most=1)
    if parsed.layers and parsed.layers[0].type != "compressed-data":
        raise MalformedMessage(
            f"the message is {parsed.layers[0].type}, not compressed-data",
            hint=Hint("verify reads signed messages", "unseal-others"),
        )
    if parsed.error is not None:
        raise fresh(parsed.error)
    if not parsed.layers:
        raise MalformedMessage(
            "the message is not compressed", hint="inspect shows what the message is"
        )
    report = MessageReport(tuple(parsed.findings), layers=tuple(parsed.layers), judged=False)
    opened = Opened(parsed.content, outer_header(parsed.first), report)
    if out is not None:
        opened.write_to(out)
    return opened


@checked
def unseal(
    raw: bytes | Path | Readable,
    *,
    identities: Sequence[AnyKey] = (),
    trust: TrustStore,
    sender: str | None = None,
    certificates: Sequence[Certificate] = (),
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    clearance: Clearance | None = None,
    part: str | None = None,
    revocation: Revocation | None = None,
    out: Path | Writable | None = None,
) -> Opened:
    """Take every layer off, and check every signature.

    `raw` (bytes, a Path, a Readable) and `out` (a Path, a Writable): those of `verify`; what is
    written is the message, with its header.
    `identities`: whose keys to decrypt with, a list of AnyKey (Identity, Password, SharedKey).
    `trust`: a TrustStore, the roots that you believe.
    `sender`: the address that the signer must have; by default the message's From or Sender.
    `certificates`: further ones to use, each a Certificate.
    `policy`: a Policy, what is accepted. `at`: the time of judgement, a datetime (now).
    `clearance`: a function of Clearance, asked about the SecurityLabel of a signature.
    `part`: the path of an errant layer, which is opened instead. `revocation`: a Revocation, what
    is known of it. More of each stands at `verify`.

    The Opened has the message, its signer, and the report about them. Raises unless the message is
    accepted: what `decrypt` raises, or SignatureInvalid, CertificateRejected or VerificationFailed,
    with the report.
    """
    with spooling_beside(out):
        data = read_message(raw)
        context = VerificationContext.of(
            len(data),
            trust=trust,
            policy=policy,
            at=at,
            certificates=certificates,
            sender=sender,
            clearance=clearance,
            revocation=revocation,
            identities=identities,
        )
        opened = require_accepted(judge(parse_layers(data, context, part=part), context))
        if out is not None:
            opened.write_to(out)
        return opened


@checked
def examine(
    raw: bytes | Path | Readable,
    *,
    identities: Sequence[AnyKey] = (),
    trust: TrustStore,
    sender: str | None = None,
    content: bytes | Path | Readable | None = None,
    certificates: Sequence[Certificate] = (),
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    clearance: Clearance | None = None,
    part: str | None = None,
    revocation: Revocation | None = None,
) -> MessageReport:
    """Everything that can be said about the message; raises nothing that the report can hold.

    Arguments are those of `verify` and `unseal`: `raw` bytes, a Path or a Readable, `identities` a
    list of AnyKey, `trust` a TrustStore, `certificates` each a Certificate, `policy` a Policy, `at`
    a datetime, `clearance` a function of Clearance, `revocation` a Revocation. The MessageReport
    has `accepted`, the layers, signers and findings.
    """
    data = read_message(raw)
    signed = None if content is None else read_message(content)
    context = VerificationContext.of(
        len(data) + len(signed or b""),
        trust=trust,
        policy=policy,
        at=at,
        certificates=certificates,
        sender=sender,
        clearance=clearance,
        revocation=revocation,
        identities=identities,
    )
    return judge(parse_layers(data, context, content=signed, part=part), context).report


@checked
def inspect(raw: bytes | Path | Readable) -> tuple[Layer, ...]:
    """The layers that can be seen without a key, as they say of themselves; nothing is judged.

    `raw` is the message: bytes, a Path or a Readable. Each is a Layer: first those that wrap the
    whole message, the outermost first, then the errant ones.

    Raises MalformedMessage, or UnsupportedAlgorithm for a content type that is not S/MIME's.
    """
    path, current = "1", read_message(raw)
    budget = Budget(len(current))
    layers: list[Layer] = []
    entity = entity_of(current, budget)
    while (cms := recognise(current, path, entity)) is not None:
        layer = read_layer(cms, path, budget)
        layers.append(layer.described)
        if layer.described.type != "signed-data" or len(layers) >= MAX_LAYERS:
            return tuple(layers)
        inner = layer.visible_content
        if inner is None:
            return tuple(layers)
        path, current, entity = f"{path}.1", inner, entity_of(inner, budget)
    return (*layers, *find_errant(current, entity, path, budget)[0])
