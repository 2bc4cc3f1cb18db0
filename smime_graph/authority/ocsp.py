"""OCSP (RFC 6960): requests read, responses written.

`cryptography` knows requests about one certificate only, and writes no response about several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha1
from typing import Literal

from cryptography import x509

from .. import algorithms, oids
from ..algorithms import Digest
from ..asn1 import ber
from ..asn1.ber import Fields
from ..errors import MalformedMessage
from ..pki.identity import Identity
from ..x509.certificate import Certificate
from .profile import sign
from .records import Revoked

__all__ = [
    *("OcspRequest", "Question", "Status", "is_about", "read_request", "refusal", "unwrap"),
    *("with_serial", "wrap", "write"),
]

_MAX_QUESTIONS = 100
_MAX_NONCE = 128  # octets (RFC 9654 2.1)
_ENUMERATED = 0x0A

# None: the responder does not know the certificate
Status = Revoked | Literal["good"] | None

# OCSPResponseStatus (4.2.1)
REFUSALS = {
    "malformed-request": 1,
    "internal-error": 2,
    "try-later": 3,
    "sig-required": 5,
    "unauthorized": 6,
}


@dataclass(frozen=True, slots=True)
class Question:
    """A CertID (4.1.1), in DER and taken apart; `digest` is None for one that nobody knows."""

    cert_id: bytes
    digest: Digest | None
    name_hash: bytes
    key_hash: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class OcspRequest:
    questions: tuple[Question, ...]
    nonce: bytes | None = None


def read_request(der: bytes) -> OcspRequest:
    """An OCSP request; whether somebody has signed it makes no difference.

    OCSPRequest ::= SEQUENCE { tbsRequest, [0] optionalSignature OPTIONAL }
    TBSRequest  ::= SEQUENCE { [0] version DEFAULT v1, [1] requestorName OPTIONAL,
                               requestList SEQUENCE OF Request, [2] requestExtensions OPTIONAL }
    Request     ::= SEQUENCE { reqCert CertID, [0] singleRequestExtensions OPTIONAL }

    Raises MalformedMessage.
    """
    outer = Fields(ber.read(der, "OCSPRequest"), "OCSPRequest")
    tbs = Fields(outer.any("tbsRequest"), "tbsRequest")
    tbs.optional(0xA0)
    tbs.optional(0xA1)
    questions = []
    listed = tbs.take(ber.SEQUENCE, "requestList")
    for number, request in enumerate(listed):
        if number >= _MAX_QUESTIONS:
            raise MalformedMessage(f"requestList: more than {_MAX_QUESTIONS} certificates")
        questions.append(_question(Fields(request, "Request").take(ber.SEQUENCE, "reqCert")))
    if not questions:
        raise MalformedMessage("requestList: nothing is asked")
    nonce = None
    if (held := tbs.optional(0xA2)) is not None:
        for one in held.only("requestExtensions"):
            extension = Fields(one, "Extension")
            if extension.any("extnID").as_oid() == oids.OCSP_NONCE:
                extension.optional(ber.BOOLEAN)
                value = bytes(extension.any("extnValue").as_octets())
                nonce = bytes(ber.read(value, "Nonce", tag=ber.OCTET_STRING).as_octets())
    if nonce is not None and not 0 < len(nonce) <= _MAX_NONCE:
        raise MalformedMessage(f"Nonce: {len(nonce)} octets")
    return OcspRequest(tuple(questions), nonce)


def _question(node: ber.Node) -> Question:
    """CertID ::= SEQUENCE { hashAlgorithm, issuerNameHash, issuerKeyHash, serialNumber }"""
    fields = Fields(node, "CertID")
    algorithm = Fields(fields.take(ber.SEQUENCE, "hashAlgorithm"), "hashAlgorithm")
    oid = algorithm.any("algorithm").as_oid()
    parameters = [ber.null()] if algorithm.optional(ber.NULL) is not None else []
    algorithm.end()
    name_hash = bytes(fields.any("issuerNameHash").as_octets())
    key_hash = bytes(fields.any("issuerKeyHash").as_octets())
    serial = fields.any("serialNumber").as_integer()
    fields.end()
    # anew, in DER: the request may be BER, and the response repeats it
    algorithm_id = ber.sequence(ber.oid(oid), *parameters)
    hashes = ber.octet_string(name_hash) + ber.octet_string(key_hash)
    cert_id = ber.sequence(algorithm_id, hashes, ber.integer(serial))
    return Question(cert_id, algorithms.find(Digest, oid), name_hash, key_hash, serial)


def with_serial(question: Question, serial: int) -> Question:
    """The same question about another certificate of the issuer."""
    fields = [bytes(one.raw) for one in ber.read(question.cert_id, "CertID").children()]
    return replace(question, cert_id=ber.sequence(*fields[:3], ber.integer(serial)), serial=serial)


def is_about(question: Question, issuer: Certificate) -> bool:
    """Whether the question is about a certificate of that issuer."""
    if question.digest is None:
        return False
    wanted = (issuer.subject, _key_octets(issuer))
    return (question.name_hash, question.key_hash) == tuple(map(question.digest.compute, wanted))


def _key_octets(certificate: Certificate) -> bytes:
    """The value of the BIT STRING subjectPublicKey."""
    info = Fields(ber.read(certificate.public_key_info, "SubjectPublicKeyInfo"), "key")
    info.any("algorithm")
    return info.any("subjectPublicKey").as_bits()


def refusal(name: str) -> bytes:
    """A response without an answer: one of REFUSALS."""
    return ber.sequence(ber.tlv(_ENUMERATED, bytes((REFUSALS[name],))))


def write(
    answers: Sequence[tuple[Question, Status]],
    *,
    responder: Identity,
    at: datetime,
    updates: tuple[datetime, datetime | None],
    nonce: bytes | None,
) -> bytes:
    """A response in DER, signed by `responder`, whose certificate comes along.

    `updates` are thisUpdate and nextUpdate; None says that there is newer news at any time.

    BasicOCSPResponse ::= SEQUENCE { tbsResponseData, signatureAlgorithm, signature BIT STRING,
                                     [0] certs OPTIONAL }
    ResponseData      ::= SEQUENCE { [0] version DEFAULT v1, responderID, producedAt, responses
                                     SEQUENCE OF SingleResponse, [1] responseExtensions OPTIONAL }
    """
    key = sha1(_key_octets(responder.certificate), usedforsecurity=False).digest()
    singles = [_single(question.cert_id, status, updates) for question, status in answers]
    extensions = []
    if nonce is not None:
        value = ber.octet_string(ber.octet_string(nonce))
        held = ber.sequence(ber.sequence(ber.oid(oids.OCSP_NONCE), value))
        extensions.append(ber.context(1, held))
    data = ber.sequence(
        ber.context(2, ber.octet_string(key)), _time(at), ber.sequence(*singles), *extensions
    )
    algorithm, signature = sign(responder.private_key, data)
    certificates = ber.context(0, ber.sequence(responder.certificate.der))
    return wrap(ber.sequence(data, algorithm, ber.bit_string(signature), certificates))


def wrap(basic: bytes) -> bytes:
    """OCSPResponse ::= SEQUENCE { responseStatus successful, [0] { id-pkix-ocsp-basic, OCTET STRING
    of a BasicOCSPResponse } }
    """
    inside = ber.sequence(ber.oid(oids.OCSP_BASIC), ber.octet_string(basic))
    return ber.sequence(ber.tlv(_ENUMERATED, b"\0"), ber.context(0, inside))


def unwrap(response: bytes) -> bytes:
    """The BasicOCSPResponse in a response that has one."""
    outer = Fields(ber.read(response, "OCSPResponse"), "OCSPResponse")
    outer.any("responseStatus")
    inside = Fields(outer.take(0xA0, "responseBytes").only("responseBytes"), "ResponseBytes")
    inside.any("responseType")
    return bytes(inside.any("response").as_octets())


def _single(cert_id: bytes, status: Status, updates: tuple[datetime, datetime | None]) -> bytes:
    """SingleResponse ::= SEQUENCE { certID, certStatus, thisUpdate, [0] nextUpdate OPTIONAL }

    CertStatus ::= CHOICE { [0] good, [1] revoked { revocationTime, [0] reason OPTIONAL },
                            [2] unknown }
    """
    if isinstance(status, Revoked):
        said = [_time(status.at)]
        if status.reason != "unspecified":
            # its numbers are those that CRLs have (RFC 5280 5.3.1)
            reason = x509.CRLReason(x509.ReasonFlags(status.reason)).public_bytes()
            said.append(ber.context(0, reason))
        state = ber.context(1, *said)
    else:
        state = ber.context(0 if status == "good" else 2, constructed=False)
    end = [] if updates[1] is None else [ber.context(0, _time(updates[1]))]
    return ber.sequence(cert_id, state, _time(updates[0]), *end)


def _time(moment: datetime) -> bytes:
    # without fractions: RFC 6960 4.2.2.1 has them as RFC 5280 4.1.2.5.2
    text = f"{moment.astimezone(UTC):%Y%m%d%H%M%SZ}"
    return ber.tlv(ber.GENERALIZED_TIME, text.encode())
