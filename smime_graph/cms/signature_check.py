"""What a signature of a SignedData is worth (RFC 5652 5.4, 5.6), whosever certificate it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from itertools import islice

from cryptography.exceptions import InvalidSignature
from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from .. import oids
from ..algorithms import KEY_KINDS, Digest, PssParameters, SignatureScheme
from ..budget import COMPARISON, DIGESTED_OCTET, PARSED, Budget
from ..errors import LimitReached, MalformedMessage, UnsupportedAlgorithm
from ..findings import Finding, finding
from ..policy import Policy
from . import attributes, ber, parameters
from .attributes import Attributes
from .certificate import Certificate
from .signed_data import SignedData, SignerInfo

_MULTIPLICATION = 2.8e-7  # of two bits, in the unit of a budget
# reads the attribute, which may name many, and digests the certificate
_NAMED_BY_DIGEST = 100
# Certificates that claim to be one signer's: a renewed one has its key identifier, hundreds are an
# attack, and each costs every signer a signature check.
_MAX_CANDIDATES = 10


@dataclass(frozen=True, slots=True)
class Check:
    """What one signature is worth, before anybody asks whom its certificate belongs to.

    `intact`: the content has the digest that was signed. `valid`: the signature is the certificate
    key's. Either is None where it could not be found out (an algorithm or a certificate is
    missing).
    """

    certificate: Certificate | None
    digest: Digest | None
    scheme: SignatureScheme | None
    intact: bool | None
    valid: bool | None
    signing_time: datetime | None
    findings: tuple[Finding, ...]


def price(certificate: Certificate, octets: int) -> float:
    """What a check with the certificate's key of a signature over so many octets costs (`budget`).

    The exponent of an RSA key may be as long as its modulus: then it is that of a private key.
    """
    digest = octets * DIGESTED_OCTET
    try:
        key = certificate.public_key
    except (MalformedMessage, UnsupportedAlgorithm):
        return PARSED
    if isinstance(key, rsa.RSAPublicKey):
        exponent = key.public_numbers().e.bit_length()
        return PARSED + digest + key.key_size**2 * exponent * _MULTIPLICATION
    if isinstance(key, dsa.DSAPublicKey):
        return PARSED + digest + key.key_size**2 * 512 * _MULTIPLICATION
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size > 256:
        return 1200 + digest
    return 350 + digest


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

    `certificates` are further ones that may be the signer's. `hashed` remembers digests of the
    content between the signers of a message, by the digest's name. `budget` is the message's.
    """
    hashed = {} if hashed is None else hashed
    budget = budget or Budget(len(content))
    known = dict.fromkeys((*signed.certificates, *certificates))
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
    try:
        return _check(signer, content, content_type, policy, known, hashed, budget)
    except LimitReached as error:
        found = (finding("smime.limit", signer.where, f"not checked: {error}"),)
        return Check(None, None, None, None, None, None, found)
    except MalformedMessage as error:
        found = (finding("cms.attributes.malformed", signer.where, str(error)),)
        return Check(None, None, None, None, False, None, found)


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
    bindings = _bindings(signer, attrs, known, budget)
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
    except UnsupportedAlgorithm as error:
        # RFC 5652 5.1: not understood is not the same as bad
        found.append(finding("alg.unsupported", where, str(error)))
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
        findings, intact, signing_time = _check_attributes(
            signer, attrs, digest, content, content_type, hashed, budget
        )
        found += findings
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

    valid = False
    for candidate in candidates:  # RFC 8551 2.6: every certificate with a matching identifier
        for number, message in enumerate(messages):
            budget.spend("signatures", price(candidate, len(message)))
            if _is_valid(candidate, scheme, signer.signature, message, fixed, pss):
                certificate, valid = candidate, True
                if number:
                    found.append(
                        finding("cms.attributes.not-der", where, "signed attributes are not DER")
                    )
                break
        if valid:
            break
    if not valid:
        found.append(finding("cms.signature.invalid", where, "the signature is not valid"))
    assert certificate is not None  # noqa: S101 - candidates is not empty
    found += bindings[certificate]
    return Check(certificate, digest, scheme, intact, valid, signing_time, tuple(found))


def _bindings(
    signer: SignerInfo, attrs: Attributes | None, known: dict[Certificate, None], budget: Budget
) -> dict[Certificate, list[Finding]]:
    """The certificates that may be the signer's, and what their signingCertificate has against
    each.

    RFC 5035 2, cases 2 and 4: the attribute is signed and `sid` is not, so where none that `sid`
    names is the right one, one that the attribute names is.
    """
    budget.spend("certificates", COMPARISON * len(known))
    if attrs is None or not attributes.names_signing_certificate(attrs):
        return {one: [] for one in islice(filter(signer.matches, known), _MAX_CANDIDATES)}
    found: dict[Certificate, list[Finding]] = {}
    for one in islice(filter(signer.matches, known), _MAX_CANDIDATES):
        found[one] = attributes.check_signing_certificate(attrs, one, signer.where)
    if all(found.values()):
        for one in known:
            budget.spend("certificates", _NAMED_BY_DIGEST + DIGESTED_OCTET * len(one.der))
            if not attributes.check_signing_certificate(attrs, one, signer.where):
                return {one: [], **found}
    return found


def _check_attributes(
    signer: SignerInfo,
    attrs: Attributes,
    digest: Digest,
    content: bytes | memoryview,
    content_type: str | None,
    hashed: dict[str, bytes],
    budget: Budget,
) -> tuple[list[Finding], bool, datetime | None]:
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
    elif kind is not None and kind.as_oid("contentType") != content_type:
        found.append(
            finding("cms.attributes.content-type", where, "contentType is not the content's type")
        )
    intact = False
    value = attrs.single(oids.MESSAGE_DIGEST)
    if value is not None:
        if digest.name not in hashed:
            budget.spend("digests", DIGESTED_OCTET * len(content))
            hashed[digest.name] = digest.compute(content)
        intact = compare_digest(bytes(value.as_octets("messageDigest")), hashed[digest.name])
        if not intact:
            found.append(
                finding("cms.digest.mismatch", where, "the content was changed after signing")
            )
    found += attributes.check_algorithm_protection(
        attrs, signer.digest_algorithm, signer.signature_algorithm, where
    )
    return found, intact, attributes.read_signing_time(attrs)


def _signed_encodings(attrs: Attributes) -> list[bytes | memoryview]:
    """What the signature may be over: the attributes as received, then their DER.

    RFC 5652 5.4 wants DER. OpenSSL verifies what it received (openssl#22120), Bouncy Castle sorts
    first; a set that is DER already has one encoding only.
    """
    node = attrs.node
    as_received = ber.tlv(ber.SET, node.contents)
    sorted_set = ber.set_of(*(element.raw for element in node))
    return [as_received] if sorted_set == as_received else [as_received, sorted_set]


def _is_valid(
    certificate: Certificate,
    scheme: SignatureScheme,
    signature: bytes,
    message: bytes | memoryview,
    digest: Digest,
    pss: PssParameters | None,
) -> bool:
    kind = KEY_KINDS.get(certificate.key_algorithm)
    if kind != scheme.key and not (kind == "rsa-pss" and scheme.name == "rsassa-pss"):
        return False
    try:
        if kind == "rsa-pss" and (limits := parameters.read_pss_limits(certificate)) is not None:
            # RFC 4056 3
            same = pss is not None and (limits.digest, limits.mgf_digest) == (
                pss.digest,
                pss.mgf_digest,
            )
            if pss is None or not same or pss.salt < limits.salt:
                return False
        scheme.verify(certificate.public_key, signature, message, digest, pss)
    except (InvalidSignature, ValueError, TypeError, _Unsupported):
        return False
    except (MalformedMessage, UnsupportedAlgorithm):
        return False  # the key in the certificate cannot be loaded
    return True
