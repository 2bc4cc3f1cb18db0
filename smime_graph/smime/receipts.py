"""Signed receipts (RFC 2634 section 2): sent for messages that ask, checked against the original.

A receipt is a SignedData whose content is a Receipt in DER, without MIME around it; its signature
covers a digest of the signed attributes of the message that it confirms. So it proves that its
signer had that very message, and could verify it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hmac import compare_digest
from typing import Any, Literal

from .. import oids
from ..arguments import checked
from ..cms import ess, signed_data
from ..cms.ess import ContentHints, Receipt
from ..cms.keys import SigningKey
from ..cms.receipt_request import ReceiptRequest
from ..cms.recipients.kinds import AnyKey, AnyRecipient
from ..errors import MalformedMessage, SignatureInvalid, UsageError
from ..findings import Finding, Report, finding
from ..pki.address import addresses, header_addresses, mailboxes
from ..pki.revocation import Revocation
from ..pki.trust import TrustStore
from ..policy import EXCHANGE, Policy
from ..text import json_text
from ..x509 import names
from ..x509.certificate import Certificate
from .context import VerificationContext
from .entity import Entity
from .layers import parse_layers
from .outgoing import Outgoing
from .recognition import recognise
from .report import MessageReport, Opened, Signer, finding_json, report_json
from .sealing import encrypted_entity, with_signers
from .verification import judge, refusal
from .wrap import SIGNED_RECEIPT, pkcs7_mime, signed_entity

# RFC 5322 3.6.4, without the obsolete forms: it is copied from a header that anybody could write
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{3,900}>")


# --- made ---------------------------------------------------------------------------------


@checked
def receipt_recipients(opened: Opened, *, signer: SigningKey) -> tuple[str, ...]:
    """The addresses to which `signer` is asked to send a receipt for this message; often nobody.

    RFC 2634 2.3 and 2.5: only what an accepted signature asks for counts, in the innermost layer;
    a mailing list may have taken the request away or sent the receipts elsewhere, but is obeyed
    only if its certificate is believed. A receipt is never asked for a receipt. `opened` is the
    Opened of `unseal` or `verify`, `signer` the SigningKey (an Identity) that would confirm it.
    """
    asking = _asking(opened)
    if asking is None or (request := asking.services.receipt_request) is None:
        return ()
    expanded = [one for one in opened.signers if one.services.expansions]
    to = request.to
    if expanded:
        if request.from_ == "first-tier":
            return ()
        outermost = next(one.path for one in opened.report.whole if one.type == "signed-data")
        lists = [one for one in expanded if one.layer == outermost]
        if lists and not any(one.trusted for one in lists):
            # RFC 2634 6: anybody could add a signature that sends the receipts to himself
            return ()
        if lists:
            last = lists[0].services.expansions[-1]
            if last.receipts == "none":
                return ()
            if last.receipts is not None:
                to = last.to if last.receipts == "instead-of" else (*to, *last.to)
    if not _is_asked(request, signer.certificate):
        return ()
    # what is no address can be no recipient, and must not become a line of the header
    usable = [one for one in to if header_addresses(one) == (one,)]
    return tuple(dict.fromkeys(usable))


def _asking(opened: Opened) -> Signer | None:
    layers = [one for one in opened.report.whole if one.type in ("signed-data", "signed-receipt")]
    if not layers or layers[-1].type == "signed-receipt":
        return None
    innermost = layers[-1].path
    try:
        if recognise(opened.content, innermost) is not None:
            return None  # `verify` took one layer off, there are more inside
    except MalformedMessage:
        return None
    if any(
        item.code == "cms.ess.inconsistent" and item.scope == innermost for item in opened.findings
    ):
        return None
    return next(
        (
            one
            for one in opened.signers
            if one.accepted and one.layer == innermost and one.services.confirmation is not None
        ),
        None,
    )


def _is_asked(request: ReceiptRequest, certificate: Certificate) -> bool:
    if isinstance(request.from_, str):
        return True
    held = mailboxes(addresses(certificate))
    if any(names.same(certificate.subject, one) for one in request.from_names):
        return True
    return not held.isdisjoint(mailboxes(request.from_))


@checked
def receipt(
    opened: Opened,
    *,
    signer: SigningKey,
    sender: str | None = None,
    recipients: Sequence[AnyRecipient] = (),
    trust: TrustStore | None = None,
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
) -> bytes | None:
    """The signed receipt that this message asks `signer` for, as a whole message; None if none is.

    `opened` is the Opened that `unseal` or `verify` gave, `signer` a SigningKey: an Identity.
    `sender` becomes From (the first address of the signer's certificate). With `recipients`, a list
    of AnyRecipient (Contact), the receipt is encrypted, and signed once more outside (RFC 2634
    2.4): for a message that came encrypted, since a receipt holds a digest of it. `trust` is the
    TrustStore that their certificates must validate with; `policy` a Policy, `at` a datetime, as
    for `seal`. Remember that a receipt was sent: each call makes another, and RFC 2634 2.3 wants
    one.

    Raises PolicyRefusal and UsageError as `sign` and `encrypt` do.
    """
    to = receipt_recipients(opened, signer=signer)
    asking = _asking(opened)
    if not to or asking is None or (confirmation := asking.services.confirmation) is None:
        return None
    outgoing = Outgoing.of(_header(opened, signer, sender, to), policy, at)
    outgoing.check_signers([signer])
    der, _ = signed_data.sign(
        confirmation.receipt.der,
        [signer],
        detached=False,
        policy=policy,
        at=outgoing.at,
        content_type=oids.RECEIPT,
        further=(ess.message_signature_digest(confirmation.message_signature_digest),),
    )
    entity = pkcs7_mime(SIGNED_RECEIPT, der)
    if recipients:
        everyone = with_signers(recipients, [signer], policy)
        outgoing.check_recipients(everyone, trust)
        entity = encrypted_entity(entity, everyone, policy, "issuer")
        hints = ess.content_hints(ContentHints(oids.RECEIPT))
        entity = signed_entity(entity, [signer], outgoing, further=(hints,))
    return outgoing.assemble(entity)


def _header(opened: Opened, signer: SigningKey, sender: str | None, to: Sequence[str]) -> bytes:
    sender = sender or next(iter(addresses(signer.certificate)), None)
    if sender is None or header_addresses(sender) != (sender,):
        raise UsageError(
            f"no address to send the receipt from: {sender or 'the certificate names none'}",
            hint="give the sender's address",
        )
    lines = [f"From: {sender}", f"To: {', '.join(to)}", "Subject: Signed receipt"]
    for given in Entity(opened.header + b"\r\n").all("Message-ID")[:1]:
        if _MESSAGE_ID.fullmatch(identifier := given.value.strip()):
            lines += [f"In-Reply-To: {identifier}", f"References: {identifier}"]
    lines.append("Auto-Submitted: auto-replied")  # RFC 3834 2: no reply to it
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


# --- checked ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class ReceiptReport(Report):
    """Everything noticed about a receipt. `message` is the report about it as a signed message.

    `signer` is who confirms, `original` the signature that is confirmed; both are None unless the
    receipt is accepted: its signature is, and it is for the original message.
    """

    message: MessageReport = field(default_factory=MessageReport)
    receipt: Receipt | None = None
    signer: Signer | None = None
    original: Signer | None = None
    accepted: bool = False

    def to_json(self) -> str:
        """The report as text in JSON, which is what `--json` of `verify-receipt` prints."""
        return json_text(receipt_json(self))

    @property
    def verdict(self) -> Literal["accepted", "rejected"]:
        return "accepted" if self.accepted else "rejected"


def receipt_json(report: ReceiptReport) -> dict[str, Any]:
    """The report about the message, but with the verdict and the findings about the receipt."""
    who = ", ".join(report.signer.emails) if report.signer is not None else "nobody"
    return {
        **report_json(report.message),
        "verdict": report.verdict,
        "findings": [finding_json(one) for one in report.findings],
        "confirmed_by": who,
    }


@checked
def verify_receipt(
    raw: bytes,
    *,
    original: bytes,
    identities: Sequence[AnyKey] = (),
    trust: TrustStore,
    sender: str | None = None,
    certificates: Sequence[Certificate] = (),
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    revocation: Revocation | None = None,
) -> ReceiptReport:
    """Check that `raw` is a signed receipt for the message `original`, and accepted as a message.

    `original` is the message as it was sent, with its request; where it is encrypted, `identities`
    must be able to read it. What it holds is taken for ours: whoever can replace it can have any
    receipt accepted. `sender` is whose receipt it must be; by default the receipt's own From, so
    look at `signer` of the ReceiptReport. The other arguments are those of `unseal`: `identities` a
    list of AnyKey, `trust` a TrustStore, `certificates` each a Certificate, `policy` a Policy, `at`
    a datetime, `revocation` a Revocation.

    Raises what `unseal` raises, SignatureInvalid where it is no receipt for the original.
    """
    report = examine_receipt(
        raw,
        original=original,
        identities=identities,
        trust=trust,
        sender=sender,
        certificates=certificates,
        policy=policy,
        at=at,
        revocation=revocation,
    )
    if not report.message.accepted:
        raise refusal(report.message)
    if not report.accepted:
        texts = "; ".join(item.text for item in report.errors)
        raise SignatureInvalid(texts, report, hint=_ORIGINAL_HINT)
    return report


_ORIGINAL_HINT = "give the message that was sent, unchanged, and the key of who can read it"


@checked
def examine_receipt(
    raw: bytes,
    *,
    original: bytes,
    identities: Sequence[AnyKey] = (),
    trust: TrustStore,
    sender: str | None = None,
    certificates: Sequence[Certificate] = (),
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    revocation: Revocation | None = None,
) -> ReceiptReport:
    """As `verify_receipt`, but the report says it all and nothing that it can hold is raised.

    `identities` is a list of AnyKey, `trust` a TrustStore, `certificates` each a Certificate,
    `policy` a Policy, `at` a datetime, `revocation` a Revocation. The ReceiptReport
    has `accepted`, and who confirms what.
    """

    def opened(one: bytes, sender: str | None) -> Opened:
        context = VerificationContext.of(
            len(one),
            trust=trust,
            policy=policy,
            at=at,
            certificates=certificates,
            sender=sender,
            identities=identities,
            revocation=revocation,
        )
        return judge(parse_layers(one, context), context)

    judged = opened(raw, sender)
    message = judged.report
    found = list(message.findings)
    layers = message.whole
    if message.error is not None or not layers or layers[-1].type != "signed-receipt":
        if message.error is None:
            found.append(finding("smime.receipt.none", "message", "this is no signed receipt"))
        return ReceiptReport(tuple(found), message)
    try:
        received = ess.read_receipt(judged.content)
    except MalformedMessage as error:
        found.append(finding("smime.receipt.none", "receipt", str(error)))
        return ReceiptReport(tuple(found), message)
    sent = opened(original, None).report
    confirmed, fault = _confirmed(received, judged.content, sent)
    if confirmed is None:
        found.append(_mismatch(fault))
        return ReceiptReport(tuple(found), message, received)
    signers = [one for one in message.signers if one.layer == layers[-1].path and one.accepted]
    signer = next((one for one in signers if _has_seen(one, confirmed)), None)
    if signer is None:
        text = "msgSigDigest is not that of the original's signed attributes"
        found.append(_mismatch(text if signers else "nobody who is accepted signed the receipt"))
    if signer is not None:
        found += _expected(signer, confirmed)
    accepted = message.accepted and signer is not None
    return ReceiptReport(
        tuple(found),
        message,
        received,
        signer if accepted else None,
        confirmed if accepted else None,
        accepted,
    )


def _mismatch(text: str) -> Finding:
    return finding("smime.receipt.mismatch", "receipt", text)


def _confirmed(received: Receipt, content: bytes, sent: MessageReport) -> tuple[Signer | None, str]:
    """The signature of the original that the receipt names, or why there is none (2.6, 2 to 6)."""
    if sent.error is not None:
        return None, f"the original cannot be read: {sent.error}"
    asking = [
        (one, one.services.confirmation.receipt)
        for one in sent.signers
        if one.services.confirmation is not None
    ]
    if not asking:
        return None, "no good signature of the original asks for a receipt"
    for one, wanted in asking:
        # the digests of steps 5 and 6 are equal if, and only if, the octets are
        if wanted.der == content:
            return one, ""
    same = [wanted for _, wanted in asking if wanted.signature == received.signature]
    if not same:
        return None, "it confirms another signature than the original's"
    if same[0].identifier != received.identifier:
        return None, "it names another signed content identifier than the original"
    if same[0].content_type != received.content_type:
        return None, f"it confirms a content of type {received.content_type}"
    return None, "its content is not DER"


def _has_seen(signer: Signer, confirmed: Signer) -> bool:
    claimed = signer.services.message_signature_digest
    confirmation = confirmed.services.confirmation
    return (
        claimed is not None
        and confirmation is not None
        and compare_digest(claimed, confirmation.message_signature_digest)
    )


def _expected(signer: Signer, confirmed: Signer) -> list[Finding]:
    request, certificate = confirmed.services.receipt_request, signer.certificate
    if request is None or certificate is None or _is_asked(request, certificate):
        return []
    text = f"{signer.email or certificate.description} was not asked for a receipt"
    return [finding("smime.receipt.unexpected", signer.where, text)]
