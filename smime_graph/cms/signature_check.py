"""What a signature of a SignedData is worth (RFC 5652 5.4, 5.6), whosever certificate it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from itertools import islice

from cryptography.exceptions import InvalidSignature
from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported

from .. import oids
from ..algorithms import KEY_KINDS, Digest, PssParameters, SignatureScheme
from ..asn1 import ber
from ..budget import COMPARISON, DIGESTED_OCTET, Budget
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


@dataclass(frozen=True, slots=True)
class Check:
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


def check(
    signed: SignedData,
    signer: SignerInfo,
    content: bytes | memoryview,
    *,
    policy: Policy,
    certificates: Iterable[Certificate] = (),
    hashed: dict[str, bytes] | None = None,
    budget: Budget | None = None,
) -> Check:
    """Check one signer over the content (RFC 5652 5.4, 5.6). Raises nothing it can report.

    `certificates` are further ones that may be the signer's, and stand for those of the message
    that they equal: give one whose key has its issuer's parameters as `build_path` completed it.
    `hashed` remembers digests of the
    content between the signers of a message, by the digest's name. `budget` is the message's.
    """
    hashed = {} if hashed is None else hashed
    budget = budget or Budget(len(content))
    known = dict.fromkeys((*certificates, *signed.certificates))
    return _check_anything(signer, content, signed.content_type, policy, known, hashed, budget)


def check_countersignature(
    signer: SignerInfo,
    signature: bytes,
    *,
    policy: Policy,
    certificates: Iterable[Certificate],
    budget: Budget | None = None,
) -> Check:
    """Check a Countersignature over the octets of another signer's signature (RFC 5652 11.4)."""
    known = dict.fromkeys(certificates)
    return _check_anything(signer, signature, None, policy, known, {}, budget or Budget())


def _check_anything(
    signer: SignerInfo,
    content: bytes | memoryview,
    content_type: str | None,
    policy: Policy,
    known: dict[Certificate, None],
    hashed: dict[str, bytes],
    budget: Budget,
) -> Check:
    if signer.fault is not None:
        found = (_unchecked(signer.where, MalformedMessage(signer.fault)),)
        return Check(None, None, None, None, None, None, found)
    try:
        return _check(signer, content, content_type, policy, known, hashed, budget)
    except LimitReached as error:
        found = (finding("smime.limit", signer.where, f"not checked: {error}"),)
        return Check(None, None, None, None, None, None, found)
    except MalformedMessage as error:
        found = (_unchecked(signer.where, error),)
        return Check(None, None, None, None, None, None, found)


def _unchecked(where: str, error: SmimeGraphError, what: str = "") -> Finding:
    """Why a signature cannot be checked, which does not make it a bad one (RFC 5652 5.1)."""
    if isinstance(error, UnsupportedAlgorithm):
        return finding("alg.unsupported", where, f"{what}{error}")
    return finding("cms.attributes.malformed", where, f"{what}{error}", severity=Severity.WARNING)


def _check(
    signer: SignerInfo,
    content: bytes | memoryview,
    content_type: str | None,
    policy: Policy,
    known: dict[Certificate, None],
    hashed: dict[str, bytes],
    budget: Budget,
) -> Check:
    where, found = signer.where, []
    attrs = signer.signed_attributes
    bindings, unread = _bindings(signer, attrs, known, budget)
    candidates = sorted(bindings, key=lambda one: bool(bindings[one]))
    certificate = candidates[0] if candidates else None
    signing_time = None

    if signer.version not in (1, 3):
        found.append(
            finding("cms.signer.unknown-version", where, f"SignerInfo version {signer.version}")
        )
    try:
        digest = parameters.read_digest(signer.digest_algorithm, where)
        scheme, fixed, pss = parameters.read_signature(signer.signature_algorithm, where)
    except (UnsupportedAlgorithm, MalformedMessage) as error:
        found.append(_unchecked(where, error))
        return Check(certificate, None, None, None, None, None, tuple(found))
    # without signed attributes the digest that the scheme names is all that binds the content
    judged: dict[Digest | SignatureScheme, None] = dict.fromkeys((digest, scheme, fixed or digest))
    for row in judged:
        if not policy.accepts(row):
            found.append(finding("alg.refused", where, f"policy {policy.name} refuses {row.name}"))
        elif policy.flags(row):
            text = f"policy {policy.name} reads {row.name} and flags it as weak"
            found.append(finding("alg.weak", where, text))

    if signer.unsigned_attributes is not None:
        found += attributes.check_unsigned(signer.unsigned_attributes, where)
    intact: bool | None
    if attrs is None:
        intact = True  # the signature itself is over the content
        messages: list[bytes | memoryview] = [content]
        if fixed is None:
            fixed = digest
        if content_type not in (oids.DATA, None):
            found.append(
                finding("cms.attributes.missing", where, "nothing but data may go unattributed")
            )
        if attributes.looks_like_signed_attributes(content):
            found.append(
                finding(
                    "cms.attributes.confusable", where, "the content may be a set of attributes"
                )
            )
    else:
        findings, intact = _check_attributes(
            signer, attrs, digest, content, content_type, hashed, budget
        )
        found += findings
        try:
            found += attributes.check_algorithm_protection(
                attrs, signer.digest_algorithm, signer.signature_algorithm, where
            )
        except MalformedMessage as error:
            unread.append(_unchecked(where, error))
        try:
            signing_time = attributes.read_signing_time(attrs)
        except MalformedMessage as error:
            # the claimed time decides nothing about the signature
            found.append(_unchecked(where, error))
        if fixed is not None and fixed is not digest:
            # RFC 8933 3, RFC 4056 3: one digest for content and attributes
            found.append(
                finding(
                    "cms.attributes.algorithm-protection",
                    where,
                    f"signed with {fixed.name}, but the content is digested with {digest.name}",
                )
            )
        if scheme.strict and digest.name not in scheme.digests:
            # RFC 8419 3.1: a weaker digest would be what the signature is worth
            found.append(
                finding(
                    "cms.attributes.algorithm-protection",
                    where,
                    f"{scheme.name} with signed attributes goes with {scheme.digests[0]}, "
                    f"not with {digest.name}",
                )
            )
        fixed = fixed or digest
        messages = _signed_encodings(attrs)

    if not candidates:
        found.append(
            finding(
                "cms.signer.certificate-missing",
                where,
                f"no certificate is {signer.identifier}",
            )
        )
        return Check(None, digest, scheme, intact, None, signing_time, tuple(found))

    valid, by, number, reasons = _verify_any(
        candidates, scheme, signer.signature, messages, fixed, pss, where, budget
    )
    found += reasons
    if by is not None:
        certificate = by
    assert certificate is not None  # noqa: S101 - candidates is not empty
    if number:
        found.append(finding("cms.attributes.not-der", where, "signed attributes are not DER"))
    if valid and unread:
        valid = None  # what the signer says of the certificate or the algorithms is not known
    found += unread
    found += bindings[certificate]
    others = tuple(
        one
        for one in candidates
        if valid and one != certificate and one.whole_key_info == certificate.whole_key_info
        if bool(bindings[one]) == bool(bindings[certificate])
    )
    return Check(certificate, digest, scheme, intact, valid, signing_time, tuple(found), others)


def _verify_any(
    candidates: Sequence[Certificate],
    scheme: SignatureScheme,
    signature: bytes,
    messages: Sequence[bytes | memoryview],
    digest: Digest,
    pss: PssParameters | None,
    where: str,
    budget: Budget,
) -> tuple[bool | None, Certificate | None, int, list[Finding]]:
    """Whether the signature is by one of these certificates, which, and over which message.

    RFC 8551 2.6: every certificate with a matching identifier is tried. None where it is by none
    that could be tried, and there are others.
    """
    unchecked: dict[Certificate, Finding] = {}
    faults: dict[str, None] = {}
    keys: set[bytes] = set()
    for candidate in candidates:
        if candidate.whole_key_info in keys:
            continue
        keys.add(candidate.whole_key_info)
        try:
            if (fault := _mismatch(candidate, scheme, pss)) is not None:
                faults[fault] = None
                continue
            for number, message in enumerate(messages):
                budget.spend("signatures", signature_price(candidate, len(message)))
                if _is_valid(candidate, scheme, signature, message, digest, pss):
                    return True, candidate, number, []
            faults["the signature is not valid"] = None
        except LimitReached:
            raise
        except (MalformedMessage, UnsupportedAlgorithm) as error:
            unchecked[candidate] = _unchecked(where, error)
    if unchecked:
        return None, next(iter(unchecked)), 0, list(unchecked.values())[:_MAX_REASONS]
    text = "; ".join(list(faults)[:_MAX_REASONS])
    return False, None, 0, [finding("cms.signature.invalid", where, text)]


def _bindings(
    signer: SignerInfo, attrs: Attributes | None, known: dict[Certificate, None], budget: Budget
) -> tuple[dict[Certificate, list[Finding]], list[Finding]]:
    """The certificates that may be the signer's, and what their signingCertificate has against
    each; then why that cannot be read.

    RFC 5035 2, cases 2 and 4: the attribute is signed and `sid` is not, so where none that `sid`
    names is the right one, one that the attribute names is.
    """
    budget.spend("certificates", COMPARISON * len(known))
    named = list(islice(filter(signer.matches, known), _MAX_CANDIDATES))
    if attrs is None or not attributes.names_signing_certificate(attrs):
        return {one: [] for one in named}, []
    found: dict[Certificate, list[Finding]] = {}
    try:
        for one in named:
            budget.spend("certificates", _NAMED_BY_DIGEST + DIGESTED_OCTET * len(one.der))
            found[one] = attributes.check_signing_certificate(attrs, one, signer.where)
        if all(found.values()):
            for one in known:
                budget.spend("certificates", _NAMED_BY_DIGEST + DIGESTED_OCTET * len(one.der))
                if not attributes.check_signing_certificate(attrs, one, signer.where):
                    return {one: [], **found}, []
    except LimitReached:
        raise
    except (MalformedMessage, UnsupportedAlgorithm) as error:
        return {one: [] for one in named}, [_unchecked(signer.where, error, "signingCertificate: ")]
    return found, []


def _check_attributes(
    signer: SignerInfo,
    attrs: Attributes,
    digest: Digest,
    content: bytes | memoryview,
    content_type: str | None,
    hashed: dict[str, bytes],
    budget: Budget,
) -> tuple[list[Finding], bool]:
    where = signer.where
    found = attributes.check_repetitions(attrs, where)
    if oids.MESSAGE_DIGEST not in attrs:
        found.append(finding("cms.attributes.missing", where, "no messageDigest is signed"))
    if oids.COUNTERSIGNATURE in attrs:
        found.append(finding("cms.attributes.malformed", where, "a countersignature is signed"))
    kind = attrs.single(oids.CONTENT_TYPE)
    if content_type is None:
        if oids.CONTENT_TYPE in attrs:  # RFC 5652 11.4: a countersignature has none
            found.append(finding("cms.attributes.content-type", where, "contentType is signed"))
    elif oids.CONTENT_TYPE not in attrs:
        found.append(finding("cms.attributes.missing", where, "no contentType is signed"))
    elif kind is not None and (kind.tag, kind.contents) != _oid(content_type):
        found.append(
            finding("cms.attributes.content-type", where, "contentType is not the content's type")
        )
    intact = False
    value = attrs.single(oids.MESSAGE_DIGEST)
    if value is not None:
        if digest.name not in hashed:
            budget.spend("digests", DIGESTED_OCTET * len(content))
            hashed[digest.name] = digest.compute(content)
        try:
            intact = compare_digest(bytes(value.as_octets("messageDigest")), hashed[digest.name])
        except MalformedMessage as error:
            found.append(finding("cms.attributes.malformed", where, str(error)))
        else:
            if not intact:
                text = "the content was changed after signing"
                found.append(finding("cms.digest.mismatch", where, text))
    return found, intact


def _oid(dotted: str) -> tuple[int, bytes]:
    return ber.OBJECT_IDENTIFIER, ber.oid(dotted)[2:]


def _signed_encodings(attrs: Attributes) -> list[bytes | memoryview]:
    """What the signature may be over: the attributes as received, then their DER.

    RFC 5652 5.4 wants DER. OpenSSL verifies what it received (openssl#22120), Bouncy Castle sorts
    first; a set that is DER already has one encoding only.
    """
    node = attrs.node
    as_received = ber.tlv(ber.SET, node.contents)
    sorted_set = ber.set_of(*(element.raw for element in node))
    return [as_received] if sorted_set == as_received else [as_received, sorted_set]


def _mismatch(
    certificate: Certificate, scheme: SignatureScheme, pss: PssParameters | None
) -> str | None:
    """Why a signature of this scheme cannot be the key's, without trying; None if it can.

    Raises MalformedMessage and UnsupportedAlgorithm for a key that cannot be used at all.
    """
    kind = KEY_KINDS.get(certificate.key_algorithm)
    if kind is None:
        where = f"public key of {certificate.description}"
        raise UnsupportedAlgorithm(certificate.key_algorithm, where=where)
    if kind != scheme.key and not (kind == "rsa-pss" and scheme.name == "rsassa-pss"):
        # endesive, for one, labels ECDSA as rsaEncryption
        return (
            f"the signature is not valid: it is declared as {scheme.name}, but the key of "
            f"{certificate.description} is of kind {kind}"
        )
    if kind == "rsa-pss" and (limits := parameters.read_pss_limits(certificate)) is not None:
        # RFC 4056 3
        same = pss is not None and (limits.digest, limits.mgf_digest) == (
            pss.digest,
            pss.mgf_digest,
        )
        if pss is None or not same or pss.salt < limits.salt:
            return "the signature is not valid: its parameters are not those that the key is for"
    return None


def _is_valid(
    certificate: Certificate,
    scheme: SignatureScheme,
    signature: bytes,
    message: bytes | memoryview,
    digest: Digest,
    pss: PssParameters | None,
) -> bool:
    """Raises MalformedMessage and UnsupportedAlgorithm for a key that cannot be used."""
    key = certificate.public_key
    try:
        scheme.verify(key, signature, message, digest, pss)
    except _Unsupported:
        oid = scheme.oids[0]
        where = f"signature with the key of {certificate.description}"
        raise UnsupportedAlgorithm(oid, where=where) from None
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
