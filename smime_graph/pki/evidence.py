"""Evidence of revocation by those who may give it: no other reaches the validator.

It gives everything up at the first octets that it cannot read, and takes a certificate for the
issuer's that has its number and the value of its signature, which anybody can copy into one with
another key. So who was revoked could hide it behind junk, or behind a response of his own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from .. import oids
from ..asn1 import ber
from ..asn1.ber import Fields, Node
from ..errors import MalformedMessage, UnsupportedAlgorithm
from ..x509 import names
from ..x509.certificate import Certificate
from .path import check_signature

# Certificates of one source whose signature is checked: an authority has a few that sign for it
_MAX_SIGNERS = 20
_CLOCK_SKEW = timedelta(hours=1)
_ENUMERATED = 0x0A
_RESPONDER = x509.ObjectIdentifier(oids.OCSP_SIGNING)
_KEY = x509.AuthorityKeyIdentifier.oid.dotted_string
_NUMBER = x509.CRLNumber.oid.dotted_string
_SCOPE = x509.IssuingDistributionPoint.oid.dotted_string
_DELTA_INDICATOR = x509.DeltaCRLIndicator.oid.dotted_string
_DELTA = ber.oid(_DELTA_INDICATOR)


class SignedEvidence(NamedTuple):
    """CRLs, and OCSP responses without the certificates that came in them.

    `carried` are those of these certificates that an authority of the path has issued, `others`
    those that it issued of the further ones. `faults` says what is wrong with what was left out.
    """

    crls: list[bytes]
    ocsp: list[bytes]
    carried: tuple[Certificate, ...]
    others: tuple[Certificate, ...]
    faults: list[str]


class _Response(NamedTuple):
    whole: bytes
    basic: Node


def signed_evidence(
    chain: Sequence[Certificate],
    crls: Iterable[bytes],
    ocsp: Iterable[bytes],
    certificates: Iterable[Certificate],
    *,
    at: datetime,
) -> SignedEvidence:
    """What an authority of the path has signed, or somebody whose certificate it has issued.

    What was issued after `at` tells of that time as well, but nothing is known of times to come: an
    authority may make its lists for a year in advance.
    """
    responses: list[_Response] = []
    faults: list[str] = []
    carried: list[Certificate] = []
    for der in ocsp:
        try:
            found = _without_certificates(der, carried)
        except MalformedMessage as error:
            faults.append(f"OCSP response: {error}")
            continue
        responses += [] if found is None else [found]
    signers = _issued(chain, carried), _issued(chain, certificates)
    everybody = tuple(dict.fromkeys((*chain[1:], *signers[0], *signers[1])))
    latest = max(at, datetime.now(UTC)) + _CLOCK_SKEW
    kept: tuple[list[bytes], list[bytes]] = [], []
    lists_by = _who_may_list(chain, everybody)
    for der in crls:
        try:
            kept[0].extend(_list_by(der, lists_by, latest))
        except MalformedMessage as error:
            faults.append(f"CRL: {error}")
    if any(_DELTA in crl for crl in kept[0]):
        kept[0][:] = _with_fitting_deltas(kept[0], chain[0], faults)
    numbers = {one.serial_number for one in (*chain, *everybody)}
    for one in responses:
        try:
            kept[1].extend(_response_by(one, everybody, numbers, latest))
        except MalformedMessage as error:
            faults.append(f"OCSP response: {error}")
    return SignedEvidence(*kept, *signers, faults)


def _issued(
    chain: Sequence[Certificate], certificates: Iterable[Certificate]
) -> tuple[Certificate, ...]:
    """Those that may sign evidence, and that an authority of the path has issued, by their
    signature; of the first so many.
    """
    found: list[Certificate] = []
    left = _MAX_SIGNERS
    for one in dict.fromkeys(certificates):
        for issuer in chain[1:]:
            if one in chain or left <= 0 or one.canonical_issuer != issuer.canonical_subject:
                continue
            if not _may_sign_evidence(one):
                break
            left -= 1
            with suppress(InvalidSignature, UnsupportedAlgorithm, MalformedMessage):
                check_signature(one, issuer)
                found.append(one)
                break
    return tuple(found)


def _may_sign_evidence(one: Certificate) -> bool:
    """False for those of nearly all people, who stand beside a responder in a message."""
    try:
        held = {type(extension.value): extension.value for extension in one.extensions}
    except MalformedMessage:
        return False
    usage, purposes = held.get(x509.KeyUsage), held.get(x509.ExtendedKeyUsage)
    is_responder = isinstance(purposes, x509.ExtendedKeyUsage) and _RESPONDER in purposes
    return is_responder or not isinstance(usage, x509.KeyUsage) or usage.crl_sign


def _without_certificates(der: bytes, carried: list[Certificate]) -> _Response | None:
    """The response without its certificates, which nobody has signed and which are added to
    `carried`; None where it says that there is no answer.

    OCSPResponse ::= SEQUENCE { responseStatus ENUMERATED,
                                [0] SEQUENCE { OBJECT IDENTIFIER, OCTET STRING } OPTIONAL }
    BasicOCSPResponse ::= SEQUENCE { tbsResponseData, signatureAlgorithm, signature,
                                     [0] SEQUENCE OF Certificate OPTIONAL }
    """
    outer = Fields(ber.read(der, "OCSPResponse"), "OCSPResponse")
    status = outer.take(_ENUMERATED, "responseStatus")
    explicit = outer.optional(0xA0)
    outer.end()
    if explicit is None:
        return None
    held = Fields(explicit.only("responseBytes"), "responseBytes")
    kind = held.take(ber.OBJECT_IDENTIFIER, "responseType")
    octets = bytes(held.any("response").as_octets("response"))
    held.end()
    basic = Fields(ber.read(octets, "BasicOCSPResponse"), "BasicOCSPResponse")
    signed = [basic.any(name).raw for name in ("tbsResponseData", "algorithm", "signature")]
    certificates = basic.optional(0xA0)
    basic.end()
    for one in () if certificates is None else certificates.only("certs"):
        with suppress(MalformedMessage):
            carried.append(Certificate(one.raw))
    bare = ber.sequence(*signed)
    inside = ber.context(0, ber.sequence(kind.raw, ber.octet_string(bare)))
    return _Response(ber.sequence(status.raw, inside), ber.read(bare, "BasicOCSPResponse"))


def _who_may_list(
    chain: Sequence[Certificate], everybody: Sequence[Certificate]
) -> list[Certificate]:
    """Those who may sign lists: whoever has the name of an authority of the path, or is named as
    the cRLIssuer in a distribution point (RFC 5280 6.3.3 b).

    The validator believes anybody whom the issuer issued a certificate without a keyUsage.
    """
    allowed = {one.canonical_subject for one in chain[1:]}
    for one in (*chain, *everybody):
        with suppress(MalformedMessage, x509.ExtensionNotFound):
            points = one.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
            named = [name for point in points for name in point.crl_issuer or ()]
            allowed |= {
                names.canonical(name.value.public_bytes())
                for name in named
                if isinstance(name, x509.DirectoryName)
            }
    return [one for one in everybody if one.canonical_subject in allowed]


def _list_by(crl: bytes, everybody: Iterable[Certificate], latest: datetime) -> tuple[bytes, ...]:
    """The CRL, where one of them has signed it; nothing where none of them is its issuer.

    Raises MalformedMessage where it is none, or not by whom it says.
    """
    node = ber.read(crl, "CertificateList")
    signed = Fields(node, "CertificateList").take(ber.SEQUENCE, "tbsCertList")
    fields = Fields(signed, "TBSCertList")
    fields.optional(ber.INTEGER)
    fields.take(ber.SEQUENCE, "signature")
    name = names.canonical(fields.take(ber.SEQUENCE, "issuer").raw)
    issuers = [one for one in everybody if one.canonical_subject == name]
    if not issuers:
        return ()
    _require_signed(node, issuers)
    issued = fields.any("thisUpdate").as_time("thisUpdate")
    if issued > latest:
        raise MalformedMessage(f"it is of the future, {issued:%Y-%m-%d %H:%M:%SZ}")
    return (crl,)


def _with_fitting_deltas(
    crls: Sequence[bytes], leaf: Certificate, faults: list[str]
) -> list[bytes]:
    """The lists, and of the deltas those that go on from the newest of their scope, the newest
    first: the validator takes the first one, whatever list it was made for (RFC 5280 5.2.4). A
    newer one that lists the leaf counts as well: what is missing in between cannot make it good.
    """
    whole: list[bytes] = []
    deltas: list[tuple[int, int, object, bytes]] = []
    newest: dict[object, int] = {}
    for der in crls:
        try:
            crl = x509.load_der_x509_crl(der)
            held = {one.oid.dotted_string: one.value for one in crl.extensions}
        except (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension) as error:
            faults.append(f"CRL: its extensions cannot be read: {error}")
            continue
        scope = crl.issuer, held.get(_SCOPE), held.get(_KEY)
        number, base = held.get(_NUMBER), held.get(_DELTA_INDICATOR)
        if base is None:
            whole.append(der)
        if isinstance(number, x509.CRLNumber):
            if isinstance(base, x509.DeltaCRLIndicator):
                since = 0 if _revokes(crl, leaf) else base.crl_number
                deltas.append((number.crl_number, since, scope, der))
            else:
                newest[scope] = max(number.crl_number, newest.get(scope, -1))
    deltas.sort(key=lambda one: -one[0])
    fitting = [
        der for number, since, scope, der in deltas if since <= newest.get(scope, -1) <= number
    ]
    return [*whole, *fitting]


def _revokes(delta: x509.CertificateRevocationList, leaf: Certificate) -> bool:
    try:
        entry = delta.get_revoked_certificate_by_serial_number(leaf.serial_number)
        if entry is None:
            return False
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return True
    except (ValueError, TypeError, x509.DuplicateExtension):
        return False  # the validator says what is wrong with it
    return reason is not x509.ReasonFlags.remove_from_crl


def _response_by(
    response: _Response, everybody: Sequence[Certificate], numbers: set[int], latest: datetime
) -> tuple[bytes, ...]:
    """The response, where one of them has signed it; nothing where it is about other certificates.

    Raises MalformedMessage where it is none, or by nobody of them.
    """
    from cryptography.x509 import ocsp

    try:
        found = list(ocsp.load_der_ocsp_response(response.whole).responses)
        about = [one for one in found if one.serial_number in numbers]
        issued = max((one.this_update_utc for one in about), default=latest)
    except (ValueError, TypeError) as error:
        raise MalformedMessage(str(error)) from None
    if not about:
        return ()
    _require_signed(response.basic, everybody)
    if issued > latest:
        raise MalformedMessage(f"it is of the future, {issued:%Y-%m-%d %H:%M:%SZ}")
    return (response.whole,)


def _require_signed(node: Node, by: Iterable[Certificate]) -> None:
    """MalformedMessage unless one of them made the signature.

    SEQUENCE { what is signed, AlgorithmIdentifier, BIT STRING }, as CRLs and OCSP responses are.
    """
    from asn1crypto.algos import SignedDigestAlgorithm
    from asn1crypto.keys import PublicKeyInfo
    from pyhanko_certvalidator.sig_validate import DefaultSignatureValidator

    fields = Fields(node, "signed")
    signed = fields.take(ber.SEQUENCE, "what is signed").raw
    algorithm = fields.take(ber.SEQUENCE, "signatureAlgorithm").raw
    signature = fields.any("signature").as_bits("signature")
    fields.end()
    for key in dict.fromkeys(one.whole_key_info for one in by):
        try:
            DefaultSignatureValidator().validate_signature(
                signature, signed, PublicKeyInfo.load(key), SignedDigestAlgorithm.load(algorithm)
            )
        except Exception:  # noqa: BLE001, S112 - hostile octets reach asn1crypto: nothing may escape
            continue
        return
    raise MalformedMessage("its signature is by nobody who may sign it")
