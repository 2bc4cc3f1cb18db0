"""The engine that judges a message: from its layers and signatures to findings and a verdict.

The rules of "accepted": at least one signer is accepted (intact, valid, trusted, and the From or
Sender), and no signer's signature is broken; a signer with an unknown algorithm is a warning (RFC
5652 5.1); unsigned mail is rejected unless the policy lets it pass. A signature around an encrypted
layer covers ciphertext only, so its signer is never the one that is accepted. A report is accepted
exactly if none of its findings is an error: nothing is rejected without a reason that is told.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from .. import oids
from ..algorithms import Digest, by_oid
from ..buffers import Data, Octets, Rope, chunks, gather, held
from ..cms import signature_check
from ..cms.attributes import read_octets
from ..cms.signature_check import Check
from ..cms.signed_data import SignerInfo
from ..errors import (
    CertificateRejected,
    Hint,
    LimitReached,
    SignatureInvalid,
    SmimeGraphError,
    UnsupportedAlgorithm,
    VerificationFailed,
    fresh,
)
from ..findings import Finding, Severity, finding
from ..text import printable
from ..x509.certificate import Certificate
from . import attestations
from .context import VerificationContext
from .entity import Entity, HeaderField
from .ess_rules import Verified, compare, judge_labels
from .fields import moment_of
from .header_protection import (
    ProtectedHeader,
    compare_outside,
    differing_from,
    is_same_outside,
    read_protected_header,
    shown_fields,
)
from .layers import ParsedMessage, SignedLayer, header_findings
from .lines import crlf, has_bare_cr, has_crlf_only
from .report import ENCRYPTED, Layer, MessageReport, Opened, Signer, Summary, time_text
from .sender import Senders

# Clocks differ; Thunderbird, too, allows for an hour between Date and signingTime (bug 1865647)
_CLOCK_SKEW = timedelta(hours=1)
# Certificates of one key that are tried until one is believed: years of renewing it
_MAX_OTHERS = 10
# What may be wrong with one signer without a doubt about another
_OF_ONE_SIGNER = ("pki.", "alg.", "cms.signer.certificate-missing")
_BARE_CR = re.compile(rb"\r(?!\n)")


def require_accepted(opened: Opened) -> Opened:
    """The message, where its report accepts it; else what `refusal` makes of the report."""
    report = opened.report
    if not report.accepted:
        del opened  # whoever keeps the error shall not keep what was in the message
        raise refusal(report)
    return opened


def refusal(report: MessageReport) -> SmimeGraphError:
    """What is raised for a message that is not accepted."""
    if report.error is not None:
        return fresh(report.error)
    errors = report.errors
    believed = all(signer.intact and signer.valid for signer in report.signers)
    kind: type[VerificationFailed] = SignatureInvalid
    if all(item.code == "smime.label.refused" for item in errors):
        kind = VerificationFailed
    elif report.signers and believed and any(one.covers_body for one in report.signers):
        kind = CertificateRejected
    texts = "; ".join(dict.fromkeys(f"{f.where}: {f.text}" for f in errors[:3]))
    return kind(texts, report, hint=_hint(errors) or hint_of_errant(report.layers))


def judge(parsed: ParsedMessage, context: VerificationContext) -> Opened:
    """The message with its verdict; what is in it is for nobody unless the report accepts it."""
    policy = context.policy
    content, inner = parsed.content, parsed.inner
    found = list(parsed.findings)
    if inner is not None and inner.fields and inner.fields[0].name:
        found += header_findings(inner, "content")
    protected, odd = read_protected_header(
        parsed.payload, parsed.outer, is_encrypted=parsed.is_encrypted
    )
    found += odd
    senders = Senders.of(parsed, context, protected)
    given = context.certificates
    context = context._replace(certificates=(*given, *parsed.certificates))
    if whole := _whole(context):
        context = context._replace(certificates=(*whole, *context.certificates))
    if context.revocation is not None:
        sent = [one for layer in parsed.signed for one in layer.signed.crls]
        known = context.revocation.with_revocation_info(sent)
        context = context._replace(revocation=known, evidence_sent=sum(map(len, sent)))
    signers: list[Signer] = []
    verified: list[Verified] = []
    for layer in parsed.signed:
        good: list[tuple[Signer, SignerInfo]] = []
        covers = parsed.covers_content(layer)
        found += _check_micalg(layer)
        # RFC 8551 3.8: certificates alone are signed by nobody, and under a signature they are what
        # was signed
        is_signed_content = layer.described.type == "certs-only" and layer is not parsed.signed[0]
        if not layer.signed.signers and not is_signed_content:
            where = f"layer {layer.path}"
            found.append(finding("cms.signer.none", where, "nobody signed this layer"))
        form, checks, findings = _check_layer(layer, (*whole, *given), context)
        found += findings
        if layer.described is parsed.layers[-1] and form is not layer.contents[0]:
            content = gather(chunks(form)) if isinstance(form, Rope) else held(form)
        for info, check in zip(layer.signed.signers, checks, strict=True):
            judged, of_signer = _judge_signer(
                _Signature(layer, info, check, covers), senders, context, protected
            )
            if check.intact and check.valid and check.digest is not None:
                judged, findings = attestations.attest(
                    judged, info, layer.signed, check.digest, context
                )
                of_signer += findings
                good.append((judged, info))
            found += [replace(item, scope=judged.where) for item in of_signer]
            signers.append(judged)
        verified.append(Verified(layer.described, tuple(good)))
    found += compare(verified)
    labels, findings = judge_labels(
        [signer for layer in verified for signer, _ in layer.signers], context.clearance
    )
    found += findings
    found += [*senders.find_silent_authors(signers), *senders.find_shown_names()]
    found += _compare_date(parsed, protected, signers)
    if any(signer.accepted for signer in signers):
        # another signer who is not believed does not take anything from one who is
        others = {signer.where for signer in signers if not signer.accepted}
        found = [
            replace(f, severity=Severity.WARNING)
            if f.code.startswith(_OF_ONE_SIGNER) and f.scope in others
            else f
            for f in found
        ]
    if not parsed.signed and parsed.error is None:
        severity = Severity.WARNING if policy.accept_unsigned else Severity.ERROR
        text = "nobody signed it" + (" as a whole" if parsed.errant else "")
        if parsed.first is not None and not any(field.name for field in parsed.first.fields):
            text = "it has no header, so it is no message, and nobody signed it"
        found.append(finding("smime.unsigned", "message", text, severity=severity))
        found += senders.hidden(severity)
    accepted_signer = any(signer.accepted for signer in signers)
    if parsed.error is not None:
        found.append(finding("smime.unreadable", "message", str(parsed.error)))
    else:
        found += _explain_rejection(signers, found)
    layers = tuple(parsed.layers)
    encrypted = [layer for layer in layers if layer.type in ENCRYPTED]
    authenticated = accepted_signer or (
        bool(encrypted) and all(layer.type == "auth-enveloped-data" for layer in encrypted)
    )
    if encrypted and not authenticated and parsed.error is None:
        found.append(unauthenticated(layers))
    header, differ, about_header = header_of(parsed, protected, is_signed=accepted_signer)
    found += about_header
    report = MessageReport(
        tuple(found),
        layers=(*layers, *parsed.errant),
        signers=tuple(signers),
        summary=_summary(layers, signers, parsed.error),
        authenticated=authenticated,
        accepted=(accepted_signer or (policy.accept_unsigned and not parsed.signed))
        and not any(f.severity is Severity.ERROR for f in found),
        error=parsed.error,
        labels=labels,
        outer_headers_differ=differ,
        header_protection=None if protected is None else protected.intent,
        header_fields=() if protected is None else protected.states(is_signed=accepted_signer),
    )
    outside = outer_header(parsed.outer) if differ else header
    return Opened(content, header, report, protected, outside)


def _explain_rejection(signers: Sequence[Signer], found: Sequence[Finding]) -> list[Finding]:
    """An error for every signer who stands in the way of "accepted" and has none yet."""
    said = {f.scope for f in found if f.severity is Severity.ERROR}
    texts: dict[str, list[str]] = {signer.where: [] for signer in signers}
    for item in found:
        if not item.code.startswith("pki."):
            texts.get(item.scope, []).append(item.text)
    is_one_accepted = any(signer.accepted for signer in signers)
    reasons: list[Finding] = []
    for signer in signers:
        if not is_one_accepted and not signer.covers_body:
            text = "what was signed is encrypted, so the signature covers nothing that is read"
            reasons.append(finding("smime.signature-outside", signer.where, text))
        elif signer.where in said:
            continue
        elif signer.intact is False or signer.valid is False:
            reasons.append(finding("cms.signature.invalid", signer.where, "not a good signature"))
        elif not is_one_accepted:
            why = "; ".join(dict.fromkeys(texts[signer.where])) or "no reason is known"
            text = f"the signature could not be checked: {why}"
            reasons.append(finding("cms.signer.unchecked", signer.where, text))
    return reasons


def _whole(context: VerificationContext) -> tuple[Certificate, ...]:
    """Those whose key has the parameters of their issuer's, with the parameters of the issuer that
    a path to an anchor goes through: those of any other could be made for a forged signature.
    """
    found: list[Certificate] = []
    lacking = [one for one in context.certificates if one.inherits_parameters]
    for one in dict.fromkeys(lacking):
        found += context.build_path(one).chain[:1]
    return tuple(found)


def _check_layer(
    layer: SignedLayer, certificates: Sequence[Certificate], context: VerificationContext
) -> tuple[Octets, list[Check], list[Finding]]:
    """The form of the layer's content that somebody signed, and every signature over it."""
    best: list[Check] = []
    for number, content in enumerate(layer.contents):
        hashed: dict[str, bytes] = {}
        checks: list[Check] = []
        for signer in layer.signed.signers:
            check = signature_check.check(
                layer.signed,
                signer,
                content,
                policy=context.policy,
                certificates=certificates,
                hashed=hashed,
                budget=context.budget,
            )
            checks.append(check)
        if any(check.intact and check.valid for check in checks):
            return content, checks, _check_line_ends(layer, is_as_received=number == 0)
        if not any(check.intact for check in best) and any(check.intact for check in checks):
            best = checks  # a signature that cannot be checked is over this form, if over any
        best = best or checks
    return layer.contents[0], best, []


def _check_line_ends(layer: SignedLayer, *, is_as_received: bool) -> list[Finding]:
    """What a good clear signature is over should end its lines with CRLF alone.

    Mailbox files and some relays write LF, which is accepted. OpenSSL refuses a signature over LF
    itself, and where readers see the end of a line at a bare CR is anybody's guess.
    """
    if not layer.is_clear:
        return []
    texts: list[str] = []
    if len(layer.contents) > 1 and is_as_received:
        texts.append("the signature is over lines that end in a bare LF, not in CRLF")
    elif len(layer.contents) > 1:
        texts.append("lines end in a bare LF; the signature is over the text with CRLF")
    if not layer.has_crlf_only and has_bare_cr(layer.contents[0]):
        texts.append("the signature is over text with a CR that ends no line")
    return [finding("smime.line-ends", f"layer {layer.path}", text) for text in texts]


class _Signature(NamedTuple):
    """One signature of a layer, checked; `covers`: what is read is under it."""

    layer: SignedLayer
    info: SignerInfo
    check: Check
    covers: bool

    @property
    def where(self) -> str:
        return self.info.where + ("" if self.layer.path == "1" else f" of layer {self.layer.path}")


def _judge_signer(
    signature: _Signature,
    senders: Senders,
    context: VerificationContext,
    protected: ProtectedHeader | None,
) -> tuple[Signer, list[Finding]]:
    info, check, covers = signature.info, signature.check, signature.covers
    where = signature.where
    found = [replace(f, where=where) for f in check.findings]
    certificate = check.certificate
    trusted = trusted_then = same = None
    emails: tuple[str, ...] = ()
    compared = senders.text
    if certificate is not None:
        signed_at = check.signing_time
        good = bool(check.intact and check.valid)
        report = context.validate(certificate, signed_at=signed_at, may_ask=good)
        for other in check.others[:_MAX_OTHERS]:
            if report.ok:
                break
            again = context.validate(other, signed_at=signed_at, may_ask=good)
            if again.ok:
                certificate, report = other, again
        found += [replace(f, where=f"{where}, {f.where}") for f in report.findings]
        found += attestations.check_path(info, report.chain, where)
        trusted = report.ok
        moment = check.signing_time
        if moment is not None:
            if moment > context.at + _CLOCK_SKEW:
                text = f"claims to have signed at {moment:%Y-%m-%dT%H:%M:%SZ}, in the future"
                found.append(finding("smime.signing-time", where, text))
            inside = trusted and all(c.not_before <= moment <= c.not_after for c in report.chain)
            # what tells of the one time tells of the other; of a chain that is not good nobody is
            # asked
            only_revoked = all(one.code.startswith("pki.revocation.") for one in report.errors)
            trusted_then = (inside and bool(report.chain)) or context.validate(
                certificate, moment, may_ask=good and only_revoked
            ).ok
        try:
            emails = context.checks.addresses(certificate)
            same, findings = senders.compare(certificate, where)
        except LimitReached as error:
            findings = [finding("smime.limit", where, f"addresses not compared: {error}")]
        found += findings
    sender_matches = bool(same) or senders.is_unknown or not context.policy.sender_must_match
    sound = not any(f.severity is Severity.ERROR for f in found)
    # RFC 8551 2.7.1: not from a signature that could not be verified
    attrs = info.signed_attributes if check.intact and check.valid else None
    signer = Signer(
        where=where,
        layer=signature.layer.path,
        certificate=certificate,
        emails=emails,
        scheme=check.scheme.name if check.scheme else None,
        digest=check.digest.name if check.digest else None,
        signing_time=check.signing_time,
        intact=check.intact,
        valid=check.valid,
        trusted=trusted,
        trusted_at_signing=trusted_then,
        compared=compared,
        compared_header=senders.header,
        matches=same,
        covers_body=covers,
        covers_headers=protected.names if protected is not None and covers else (),
        accepted=bool(
            check.intact and check.valid and trusted and sender_matches and covers and sound
        ),
        capabilities=None if attrs is None else read_octets(attrs, oids.SMIME_CAPABILITIES),
        encryption_key_preference=(
            None if attrs is None else read_octets(attrs, oids.ENCRYPTION_KEY_PREFERENCE)
        ),
    )
    return signer, found


def _compare_date(
    parsed: ParsedMessage, protected: ProtectedHeader | None, signers: Sequence[Signer]
) -> list[Finding]:
    """Where a signer claims another time than the Date that is shown, which may be nobody's word:
    an old message can be sent again under a new Date.
    """
    moments = [one for one in signers if one.signing_time is not None and one.intact and one.valid]
    if not moments:
        return []
    if protected is not None:  # RFC 9788 4.8.1: what stands outside of it means nothing
        dates = [field.value for field in protected.all("date")[:1]]
    else:
        dates = [] if parsed.outer is None else [one.value for one in parsed.outer.all("Date")[:1]]
    date = moment_of(dates[0]) if dates else None
    if date is None:
        return []
    return [
        finding(
            "smime.date-differs",
            one.where,
            f"claims to have signed at {time_text(one.signing_time)}, and the Date of the message"
            f" is {time_text(date)}",
            scope=one.where,
        )
        for one in moments
        if one.signing_time is not None and abs(one.signing_time - date) > _CLOCK_SKEW
    ]


def _check_micalg(layer: SignedLayer) -> list[Finding]:
    """A mismatch is an error (RFC 1847 2.1), but senders get it wrong and it decides nothing."""
    micalg = layer.described.micalg
    if micalg is None or layer.described.type == "certs-only":
        return []
    used = layer.signed.digest_algorithms
    try:
        names = [by_oid(Digest, one.oid, where="micalg").micalg for one in used]
    except UnsupportedAlgorithm:
        return []
    if micalg in names:
        return []  # as it should be, letter by letter
    actual = set(map(_plain, names))
    named = {_plain(name) for name in micalg.split(",")}
    if named and (named <= actual or named == {"unknown"}):
        return []
    text = f"micalg is {micalg[:60]!r}, the digests are {', '.join(sorted(actual))}"
    return [finding("smime.micalg", f"layer {layer.path}", text)]


def _plain(micalg: str) -> str:
    return micalg.strip().lower().replace("-", "").removeprefix("rsa")


def _summary(
    layers: Sequence[Layer], signers: Sequence[Signer], error: SmimeGraphError | None
) -> Summary:
    encrypted = any(layer.type in ENCRYPTED for layer in layers)
    signed = any(signer.intact and signer.valid and signer.covers_body for signer in signers)
    if encrypted:
        return "signed-and-encrypted" if signed and error is None else "encrypted"
    return "signed" if signed else "unprotected"


def unauthenticated(layers: Sequence[Layer]) -> Finding:
    cipher = next((layer.cipher for layer in layers if layer.cipher), "its cipher")
    text = f"{cipher} without a signature does not show whether the content was changed"
    return finding("cms.unauthenticated", "message", text)


def hint_of_errant(layers: Sequence[Layer]) -> str | None:
    """For a message without layers of its own: that one of its parts has some."""
    if not layers or not layers[0].errant:
        return None
    path, kind = layers[0].path, layers[0].type
    if layers[0].has_list_footer:
        text = f"text was added to {kind}, as mailing lists do: give part='{path}' to open it alone"
        return Hint(text, "part-without-footer", kind, path)
    text = f"a part of it is {kind}: give part='{path}' to open it alone"
    return Hint(text, "part", kind, path)


def _hint(errors: Sequence[Finding]) -> str | None:
    codes = {item.code for item in errors}
    if "pki.trust.no-anchors" in codes:
        return Hint("give the root certificates that you believe", "trust")
    if "pki.address.mismatch" in codes:
        return Hint("if that signer may write for this sender, say so", "sender")
    if "pki.path.none" in codes:
        return Hint("give its root, if you believe it", "root")
    if "pki.path.invalid" in codes:
        return Hint("give the right root, if another one of its name is believed", "root")
    if "pki.path.expired" in codes:
        return Hint("say when to judge it", "at", before="if it was good when it was signed, ")
    if "pki.path.not-yet-valid" in codes:
        return Hint("say when to judge it", "at", before="check the clock, or ")
    return None


def header_of(
    parsed: ParsedMessage, protected: ProtectedHeader | None, *, is_signed: bool
) -> tuple[bytes, tuple[str, ...], list[Finding]]:
    """The header of the message as it is shown, the names of the fields that say something else
    outside, and what that is worth knowing for; `is_signed` by one who is accepted.
    """
    outer = parsed.outer
    if protected is None:
        return outer_header(parsed.first), (), []
    if outer is not None and is_same_outside(protected, outer):
        return _joined(protected.fields), (), []  # as it is where nothing was added on the way
    differ, found = compare_outside(protected, outer)
    is_from_of_outside = False
    if (both := differing_from(protected, outer)) is not None:
        # RFC 9788 4.4.2 and 4.4.3: a From that nobody's signature holds is shown as the transport
        # saw it
        is_from_of_outside = not is_signed
        text = printable(f"the protected From is {both[0]}, and outside it is {both[1]}")
        found = [finding("smime.outer-header", "message", text), *found]
    fields = shown_fields(protected, outer, outer_from=is_from_of_outside)
    return _joined(fields), differ, found


def outer_header(entity: Entity[Data] | None) -> bytes:
    """The fields of the message that are no MIME fields, with CRLF; nothing for a bare CMS."""
    return b"" if entity is None else _joined(entity.other_fields)


def _joined(fields: Sequence[HeaderField]) -> bytes:
    header = b"".join([one.raw for one in fields])
    if has_crlf_only(header) and all(one.raw[len(one.name)] == 0x3A for one in fields):
        return header  # nothing of which is ambiguous
    return b"".join(map(_unambiguous, fields))


def _unambiguous(field: HeaderField) -> bytes:
    """The field with neither a blank before its colon nor a bare CR.

    At either some readers, Python's `email` among them, end the header: the rest of it, which
    nobody signed, would stand at the top of the body.
    """
    raw, last = field.raw, len(field.raw) - 2
    if raw.find(b"\r") == last and raw.find(b"\n") == last + 1 and raw[len(field.name)] == 0x3A:
        return raw  # as most are
    value = raw.partition(b":")[2]
    return field.name.encode() + b":" + _BARE_CR.sub(b" ", crlf(value))
