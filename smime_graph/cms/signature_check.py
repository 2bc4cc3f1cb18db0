"""What a signature of a SignedData is worth (RFC 5652 5.4, 5.6), whosever certificate it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hmac import compare_digest
from itertools import islice
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported

from .. import algorithms, oids
from ..algorithms import Digest, KeyKind, PssParameters, SignatureScheme
from ..asn1 import ber
from ..budget import COMPARISON, DIGESTED_OCTET, Budget
from ..buffers import Data, Octets, Rope, chunks, gather
from ..errors import LimitReached, MalformedMessage, SmimeGraphError, UnsupportedAlgorithm
from ..findings import Finding, Severity, finding
from ..policy import Policy
from ..x509.certificate import Certificate
from ..x509.price import signature_price
from . import attributes, parameters
from .attributes import Attributes
from .signed_data import SignedData, SignerInfo

# reads the attribute, which may name many, and digests the certificate
_NAMED_BY_DIGEST = 100
# Certificates that claim to be one signer's, and their keys: a renewed one has its key identifier,
# hundreds are an attack, and each key costs a signature check (out of the message's budget).
_MAX_CANDIDATES = 100
_MAX_REASONS = 3


class Check(NamedTuple):
    """What one signature is worth, before anybody asks whom its certificate belongs to.

    `intact`: the content has the digest that was signed. `valid`: the signature is the certificate
    key's. Either is None where it could not be found out: an algorithm, a curve or a certificate is
    missing, or what the signer says about them cannot be read. `others` are further certificates of
    the same key that may be meant (RFC 8551 2.6): a renewed one has the key identifier of the old.
    """

    certificate: Certificate | None
    digest: Digest | None
    scheme: SignatureScheme | None
    intact: bool | None
    valid: bool | None
    signing_time: datetime | None
    findings: tuple[Finding, ...]
    others: tuple[Certificate, ...] = ()


@dataclass(slots=True)
class _Claim:
    """One signer over one content: what he says that he did, as far as it has been read.

    `fixed` is the digest that the scheme names, `messages` are what the signature may be over, and
    `unread` says what of the signer's words could not be read.
    """

    signer: SignerInfo
    where: str
    content: Octets
    content_type: str | None  # None: the content is another's signature
    hashed: dict[str, bytes]
    budget: Budget
    digest: Digest | None = None
    scheme: SignatureScheme | None = None
    fixed: Digest | None = None
    pss: PssParameters | None = None
    intact: bool | None = None
    signing_time: datetime | None = None
    messages: Sequence[Data] = ()
    findings: list[Finding] = field(default_factory=list)
    unread: list[Finding] = field(default_factory=list)

    def note(self, code: str, text: str) -> None:
        self.findings.append(finding(code, self.where, text))

    def worth(
        self,
        certificate: Certificate | None,
        valid: bool | None = None,
        others: tuple[Certificate, ...] = (),
    ) -> Check:
        return Check(
            certificate,
            self.digest,
            self.scheme,
            self.intact,
            valid,
            self.signing_time,
            tuple(self.findings),
            others,
        )


def check(
    signed: SignedData | None,
    signer: SignerInfo,
    content: Octets,
    *,
    policy: Policy,
    certificates: Iterable[Certificate] = (),
    hashed: dict[str, bytes] | None = None,
    budget: Budget | None = None,
) -> Check:
    """Check one signer over the content (RFC 5652 5.4, 5.6). Raises nothing it can report.

    `signed` is None for a Countersignature, whose content are the octets of another signer's
    signature (RFC 5652 11.4). `certificates` are further ones that may be the signer's, and stand
    for those of the message that they equal: give one whose key has its issuer's parameters as
    `build_path` completed it. `hashed` remembers digests of the content between the signers of a
    message, by the digest's name. `budget` is the message's.
    """
    sent = () if signed is None else signed.certificates
    claim = _Claim(
        signer,
        signer.where,
        content,
        None if signed is None else signed.content_type,
        {} if hashed is None else hashed,
        budget or Budget(len(content)),
    )
    try:
        if signer.fault is not None:
            raise MalformedMessage(signer.fault)
        bindings = _bindings(claim, dict.fromkeys((*certificates, *sent)))
        candidates = sorted(bindings, key=lambda one: bool(bindings[one]))
        if not _read_algorithms(claim, policy):
            return claim.worth(candidates[0] if candidates else None)
        _check_content(claim)
        if not candidates:
            claim.note("cms.signer.certificate-missing", f"no certificate is {signer.identifier}")
            return claim.worth(None)
        valid, certificate = _verify(claim, candidates)
    except LimitReached as error:
        found = finding("smime.limit", claim.where, f"not checked: {error}")
        return Check(None, None, None, None, None, None, (found,))
    except MalformedMessage as error:
        return Check(None, None, None, None, None, None, (_unchecked(claim.where, error),))
    if valid and claim.unread:
        valid = None  # what the signer says of the certificate or the algorithms is not known
    claim.findings += [*claim.unread, *bindings[certificate]]
    others = tuple(
        one
        for one in candidates
        if valid and one != certificate and one.whole_key_info == certificate.whole_key_info
        if bool(bindings[one]) == bool(bindings[certificate])
    )
    return claim.worth(certificate, valid, others)


def _unchecked(where: str, error: SmimeGraphError, what: str = "") -> Finding:
    """Why a signature cannot be checked, which does not make it a bad one (RFC 5652 5.1)."""
    if isinstance(error, UnsupportedAlgorithm):
        return finding("alg.unsupported", where, f"{what}{error}")
    return finding("cms.attributes.malformed", where, f"{what}{error}", severity=Severity.WARNING)


def _read_algorithms(claim: _Claim, policy: Policy) -> bool:
    """Whether there is a digest and a scheme to check with, and what the policy says to them."""
    signer, where = claim.signer, claim.where
    if signer.version not in (1, 3):
        claim.note("cms.signer.unknown-version", f"SignerInfo version {signer.version}")
    try:
        digest = parameters.read_digest(signer.digest_algorithm, where)
        scheme, fixed, pss = parameters.read_signature(signer.signature_algorithm, where)
    except (UnsupportedAlgorithm, MalformedMessage) as error:
        claim.findings.append(_unchecked(where, error))
        return False
    claim.digest, claim.scheme, claim.fixed, claim.pss = digest, scheme, fixed, pss
    # without signed attributes the digest that the scheme names is all that binds the content
    judged: dict[Digest | SignatureScheme, None] = dict.fromkeys((digest, scheme, fixed or digest))
    for row in judged:
        if not policy.accepts(row):
            claim.note("alg.refused", f"policy {policy.name} refuses {row.name}")
        elif policy.flags(row):
            claim.note("alg.weak", f"policy {policy.name} reads {row.name} and flags it as weak")
    return True


def _check_content(claim: _Claim) -> None:
    """Whether the content is what was signed, and over which octets the signature then is."""
    signer, where, digest = claim.signer, claim.where, claim.digest
    attrs, scheme = signer.signed_attributes, claim.scheme
    assert digest is not None  # noqa: S101 - _read_algorithms found it
    assert scheme is not None  # noqa: S101 - and this
    if signer.unsigned_attributes is not None:
        claim.findings += attributes.check_unsigned(signer.unsigned_attributes, where)
    if attrs is None:
        claim.intact = True  # the signature itself is over the content
        content = claim.content
        content = gather(chunks(content)) if isinstance(content, Rope) else content
        claim.messages = [content]
        claim.fixed = claim.fixed or digest
        if claim.content_type not in (oids.DATA, None):
            claim.note("cms.attributes.missing", "nothing but data may go unattributed")
        if attributes.looks_like_signed_attributes(content):
            claim.note("cms.attributes.confusable", "the content may be a set of attributes")
        return
    claim.intact = _check_attributes(claim, attrs, digest)
    try:
        claim.findings += attributes.check_algorithm_protection(
            attrs, signer.digest_algorithm, signer.signature_algorithm, where
        )
    except MalformedMessage as error:
        claim.unread.append(_unchecked(where, error))
    try:
        claim.signing_time = attributes.read_signing_time(attrs)
    except MalformedMessage as error:
        # the claimed time decides nothing about the signature
        claim.findings.append(_unchecked(where, error))
    if claim.fixed is not None and claim.fixed is not digest:
        # RFC 8933 3, RFC 4056 3: one digest for content and attributes
        claim.note(
            "cms.attributes.algorithm-protection",
            f"signed with {claim.fixed.name}, but the content is digested with {digest.name}",
        )
    if scheme.strict and digest.name not in scheme.digests:
        # RFC 8419 3.1: a weaker digest would be what the signature is worth
        claim.note(
            "cms.attributes.algorithm-protection",
            f"{scheme.name} with signed attributes goes with {scheme.digests[0]}, "
            f"not with {digest.name}",
        )
    claim.fixed = claim.fixed or digest
    claim.messages = _signed_encodings(attrs)


def _verify(claim: _Claim, candidates: Sequence[Certificate]) -> tuple[bool | None, Certificate]:
    """Whether the signature is by one of these certificates, and by which.

    RFC 8551 2.6: every certificate with a matching identifier is tried. None where it is by none
    that could be tried, and there are others.
    """
    scheme, digest, signature = claim.scheme, claim.fixed, claim.signer.signature
    assert scheme is not None  # noqa: S101 - _read_algorithms found it
    assert digest is not None  # noqa: S101 - _check_content chose it
    unchecked: dict[Certificate, Finding] = {}
    faults: dict[str, None] = {}
    keys: set[bytes] = set()
    for candidate in candidates:
        if candidate.whole_key_info in keys:
            continue
        keys.add(candidate.whole_key_info)
        try:
            if (fault := _mismatch(candidate, scheme, claim.pss)) is not None:
                faults[fault] = None
                continue
            for number, message in enumerate(claim.messages):
                claim.budget.spend("signatures", signature_price(candidate, len(message)))
                key = candidate.public_key
                try:
                    scheme.verify(key, signature, message, digest, claim.pss)
                except _Unsupported:
                    where = f"signature with the key of {candidate.description}"
                    raise UnsupportedAlgorithm(scheme.oids[0], where=where) from None
                except (InvalidSignature, ValueError, TypeError):
                    continue
                if len(claim.messages) > 1:
                    over = "the signature is over their DER" if number else "others may refuse it"
                    claim.note("cms.attributes.not-der", f"signed attributes are not DER: {over}")
                return True, candidate
            faults["the signature is not valid"] = None
        except LimitReached:
            raise
        except (MalformedMessage, UnsupportedAlgorithm) as error:
            unchecked[candidate] = _unchecked(claim.where, error)
    if unchecked:
        claim.findings += list(unchecked.values())[:_MAX_REASONS]
        return None, next(iter(unchecked))
    claim.note("cms.signature.invalid", "; ".join(list(faults)[:_MAX_REASONS]))
    return False, candidates[0]


def _bindings(claim: _Claim, known: dict[Certificate, None]) -> dict[Certificate, list[Finding]]:
    """The certificates that may be the signer's, and what their signingCertificate has against
    each; why that cannot be read becomes one of the claim's `unread`.

    RFC 5035 2, cases 2 and 4: the attribute is signed and `sid` is not, so where none that `sid`
    names is the right one, one that the attribute names is.
    """
    signer, budget, attrs = claim.signer, claim.budget, claim.signer.signed_attributes
    budget.spend("certificates", COMPARISON * len(known))
    named = list(islice(signer.among(known), _MAX_CANDIDATES))
    if attrs is None or not attributes.names_signing_certificate(attrs):
        return {one: [] for one in named}
    found: dict[Certificate, list[Finding]] = {}
    try:
        for one in named:
            budget.spend("certificates", _NAMED_BY_DIGEST + DIGESTED_OCTET * len(one.der))
            found[one] = attributes.check_signing_certificate(attrs, one, claim.where)
        if all(found.values()):
            for one in known:
                budget.spend("certificates", _NAMED_BY_DIGEST + DIGESTED_OCTET * len(one.der))
                if not attributes.check_signing_certificate(attrs, one, claim.where):
                    return {one: [], **found}
    except LimitReached:
        raise
    except (MalformedMessage, UnsupportedAlgorithm) as error:
        claim.unread.append(_unchecked(claim.where, error, "signingCertificate: "))
        return {one: [] for one in named}
    return found


def _check_attributes(claim: _Claim, attrs: Attributes, digest: Digest) -> bool:
    """Whether messageDigest is that of the content."""
    claim.findings += attributes.check_repetitions(attrs, claim.where)
    if oids.MESSAGE_DIGEST not in attrs:
        claim.note("cms.attributes.missing", "no messageDigest is signed")
    if oids.COUNTERSIGNATURE in attrs:
        claim.note("cms.attributes.malformed", "a countersignature is signed")
    kind = attrs.single(oids.CONTENT_TYPE)
    if claim.content_type is None:
        if oids.CONTENT_TYPE in attrs:  # RFC 5652 11.4: a countersignature has none
            claim.note("cms.attributes.content-type", "contentType is signed")
    elif oids.CONTENT_TYPE not in attrs:
        claim.note("cms.attributes.missing", "no contentType is signed")
    elif kind is not None and (kind.tag, kind.contents) != _oid(claim.content_type):
        claim.note("cms.attributes.content-type", "contentType is not the content's type")
    value = attrs.single(oids.MESSAGE_DIGEST)
    if value is None:
        return False
    if digest.name not in claim.hashed:
        claim.budget.spend("digests", DIGESTED_OCTET * len(claim.content))
        claim.hashed[digest.name] = digest.compute(claim.content)
    try:
        digested = bytes(value.as_octets("messageDigest"))
    except MalformedMessage as error:
        claim.note("cms.attributes.malformed", str(error))
        return False
    intact = compare_digest(digested, claim.hashed[digest.name])
    if not intact:
        claim.note("cms.digest.mismatch", "the content was changed after signing")
    return intact


def _oid(dotted: str) -> tuple[int, bytes]:
    return ber.OBJECT_IDENTIFIER, ber.oid(dotted)[2:]


def _signed_encodings(attrs: Attributes) -> list[bytes | memoryview]:
    """What the signature may be over: the attributes as received, then their DER.

    RFC 5652 5.4 wants DER. OpenSSL verifies what it received (openssl#22120), Bouncy Castle sorts
    first; a set that is DER already has one encoding only.
    """
    as_received = ber.tlv(ber.SET, attrs.node.contents)
    if attrs.raws == sorted(attrs.raws):
        return [as_received]
    return [as_received, ber.set_of(*attrs.raws)]


def _mismatch(
    certificate: Certificate, scheme: SignatureScheme, pss: PssParameters | None
) -> str | None:
    """Why a signature of this scheme cannot be the key's, without trying; None if it can.

    Raises MalformedMessage and UnsupportedAlgorithm for a key that cannot be used at all.
    """
    where = f"public key of {certificate.description}"
    kind = algorithms.by_oid(KeyKind, certificate.key_algorithm, where=where)
    if kind.name not in scheme.keys:
        # endesive, for one, labels ECDSA as rsaEncryption
        return (
            f"the signature is not valid: it is declared as {scheme.name}, but the key of "
            f"{certificate.description} is of kind {kind.name}"
        )
    if (limits := parameters.read_pss_limits(certificate)) is not None:
        # RFC 4056 3
        same = pss is not None and (limits.digest, limits.mgf_digest) == (
            pss.digest,
            pss.mgf_digest,
        )
        if pss is None or not same or pss.salt < limits.salt:
            return "the signature is not valid: its parameters are not those that the key is for"
    return None
