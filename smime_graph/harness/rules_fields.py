"""The S/MIME Baseline Requirements (CA/Browser Forum) on the fields of people's certificates:
serial number, key, signature, validity.

Each rule stands beside what it checks. What the document says of one generation alone is a fault
for that profile alone. Not to be seen in a certificate, and so not here: how its serial number was
made, whether its key is known to others, and how its subject was verified.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, timedelta

from cryptography.hazmat.primitives.asymmetric import rsa

from .. import oids
from ..asn1 import ber
from .profiles import SBR
from .rules import (
    BOTH,
    BR,
    KEM_KINDS,
    NOT_LEGACY,
    SHA1,
    SIGNING_KINDS,
    WARNING,
    Fault,
    FitnessRule,
    Subject,
    rule,
    weigh,
)

# --- 7.1, 7.1.1: the fields -----------------------------------------------------------------------


@rule(
    "SBR-7.1-1",
    "the serial number is positive, below 2^159, and has 64 random bits",
    "S/MIME BR 7.1, RFC 5280 4.1.2.2",
    "issue it again with a positive random serial number of 8 to 20 octets",
    weigh(SBR, "gmail"),
    codes=("pkix.certificate_serial_number_out_of_range",),
    about=BOTH,
)
def _serial(subject: Subject) -> Iterator[Fault]:
    number = subject.certificate.serial_number
    if not 0 < number < 1 << 159:
        yield Fault("serialNumber", f"the serial number is {subject.certificate.serial_text}")
        if number.bit_length() > 160:
            text = "NSS does not find the certificate of such a serial number"
            yield Fault("serialNumber", text, use="sign", weights=weigh("thunderbird"))
    elif number.bit_length() < 57:  # one of 64 random bits is shorter in one case of 128
        text = f"the serial number has {number.bit_length()} bits, too few for 64 random ones"
        yield Fault("serialNumber", text, should=True)


@rule(
    "SBR-7.1.1-1",
    "the certificate is of X.509 version 3",
    "S/MIME BR 7.1.1",
    "issue it as an X.509 version 3 certificate",
    weigh(SBR, "gmail"),
    codes=("pkix.certificate_version_is_not_v3",),
    about=BOTH,
)
def _version(subject: Subject) -> Iterator[Fault]:
    if subject.version != 3:
        yield Fault("version", f"the version is {subject.version or 'unknown'}")


# --- 6.1: the key ---------------------------------------------------------------------------------


@rule(
    "SBR-6.1.5-1",
    "an RSA key has 2048 bits or more, a multiple of 8",
    "S/MIME BR 6.1.5, RFC 8550 4.3",
    "certify an RSA key of at least 2048 bits (better 3072), or one on P-256",
    weigh(SBR, "gmail", "apple"),
    codes=("cabf.rsa_modulus_invalid_length",),
    about=BOTH,
)
def _rsa_length(subject: Subject) -> Iterator[Fault]:
    if isinstance(subject.key, rsa.RSAPublicKey) and (
        subject.key.key_size < 2048 or subject.key.key_size % 8
    ):
        text = f"the RSA key has {subject.key.key_size} bits"
        only = None if subject.key.key_size < 2048 else SBR
        yield Fault("subjectPublicKeyInfo", text, only=only)


_CURVES = (oids.SECP256R1, oids.SECP384R1, oids.SECP521R1)
_KINDS = (oids.RSA_ENCRYPTION, oids.EC_PUBLIC_KEY, *SIGNING_KINDS, *KEM_KINDS)


@rule(
    "SBR-6.1.5-2",
    "the key is RSA, on P-256, P-384 or P-521, Ed25519, Ed448, ML-DSA or ML-KEM",
    "S/MIME BR 6.1.5",
    "certify an RSA key, or one on P-256",
    BR,
    codes=(
        "cabf.smime.unsupported_public_key_type",
        "cabf.ecdsa_key_validation_failed",
        "cabf.smime.prohibited_spki_algorithm_encoding",
    ),
    about=BOTH,
)
def _kind_of_key(subject: Subject) -> Iterator[Fault]:
    if subject.key_algorithm not in _KINDS and subject.key_algorithm != oids.RSASSA_PSS:
        yield Fault("subjectPublicKeyInfo.algorithm", f"its key is {subject.key_title}")
    elif subject.key_algorithm == oids.EC_PUBLIC_KEY and subject.curve not in _CURVES:
        name = getattr(getattr(subject.key, "curve", None), "name", subject.curve)
        text = f"its curve is {name or 'not a named one'}"
        yield Fault("subjectPublicKeyInfo.algorithm.parameters", text)


_SMALL_FACTORS = math.factorial(751)


@rule(
    "SBR-6.1.6-1",
    "an RSA key has an odd exponent of 3 or more (better 65537 or more), and no small factors",
    "S/MIME BR 6.1.6",
    "certify a new RSA key, with the exponent 65537",
    BR,
    codes=(
        "cabf.rsa_exponent_prohibited_value",
        "cabf.rsa_exponent_not_in_recommended_range",
        "cabf.rsa_modulus_has_small_prime_factor",
    ),
    about=BOTH,
)
def _rsa_numbers(subject: Subject) -> Iterator[Fault]:
    if not isinstance(subject.key, rsa.RSAPublicKey):
        return
    numbers = subject.key.public_numbers()
    if numbers.e < 3 or numbers.e % 2 == 0:
        yield Fault("subjectPublicKeyInfo", f"the RSA exponent is {numbers.e}")
    elif not 1 << 16 < numbers.e < 1 << 256:
        text = f"the RSA exponent is {numbers.e if numbers.e < 1 << 64 else 'a very large number'}"
        yield Fault("subjectPublicKeyInfo", text, should=True)
    if math.gcd(numbers.n, _SMALL_FACTORS) != 1:
        yield Fault("subjectPublicKeyInfo", "the RSA modulus has a factor below 752")


_SPKI = frozenset(
    (
        ber.sequence(ber.oid(oids.RSA_ENCRYPTION), ber.null()),
        *(ber.sequence(ber.oid(oids.EC_PUBLIC_KEY), ber.oid(curve)) for curve in _CURVES),
        *(ber.sequence(ber.oid(one)) for one in _KINDS[2:]),
    )
)


@rule(
    "SBR-7.1.3.1-1",
    "the algorithm of the key is encoded in the one way that is allowed",
    "S/MIME BR 7.1.3.1",
    "encode the key as rsaEncryption with NULL, a named curve, or without parameters",
    BR,
    codes=("cabf.smime.prohibited_spki_algorithm_encoding",),
    about=BOTH,
)
def _key_encoding(subject: Subject) -> Iterator[Fault]:
    is_known = subject.key_algorithm in _KINDS or subject.key_algorithm == oids.RSASSA_PSS
    is_curve = subject.key_algorithm != oids.EC_PUBLIC_KEY or subject.curve in _CURVES
    if is_known and is_curve and subject.key_identifier not in _SPKI:
        text = f"it is {subject.key_identifier.hex()[:80]}"
        yield Fault("subjectPublicKeyInfo.algorithm", text)


# --- 7.1.3.2: the signature -----------------------------------------------------------------------


def _pss(digest: str, size: int) -> bytes:
    hashed = ber.sequence(ber.oid(digest), ber.null())
    return ber.sequence(
        ber.oid(oids.RSASSA_PSS),
        ber.sequence(
            ber.context(0, hashed),
            ber.context(1, ber.sequence(ber.oid(oids.MGF1), hashed)),
            ber.context(2, ber.integer(size)),
        ),
    )


_OF_CURVE = {
    oids.SECP256R1: oids.ECDSA_WITH_SHA256,
    oids.SECP384R1: oids.ECDSA_WITH_SHA384,
    oids.SECP521R1: oids.ECDSA_WITH_SHA512,
}
SIGNATURES = frozenset(
    (
        *(
            ber.sequence(ber.oid(one), ber.null())
            for one in (oids.SHA256_WITH_RSA, oids.SHA384_WITH_RSA, oids.SHA512_WITH_RSA)
        ),
        *(_pss(*one) for one in ((oids.SHA256, 32), (oids.SHA384, 48), (oids.SHA512, 64))),
        *(ber.sequence(ber.oid(one)) for one in _OF_CURVE.values()),
        *(ber.sequence(ber.oid(one)) for one in SIGNING_KINDS),
    )
)


@rule(
    "SBR-7.1.3.2-1",
    "the signature is made and encoded in one of the ways that are allowed",
    "S/MIME BR 7.1.3.2",
    "sign it with SHA-256 or better, ECDSA with the digest of its curve's size",
    BR,
    codes=("cabf.smime.prohibited_signature_algorithm_encoding",),
    about=BOTH,
)
def _signature(subject: Subject) -> Iterator[Fault]:
    if subject.signature_algorithm not in SIGNATURES:
        text = f"the signature is {subject.signature_oid or 'unreadable'}, or encoded otherwise"
        yield Fault("signature", text)
    elif subject.issuer is not None:
        curve = Subject(subject.issuer, subject.as_of).curve
        wanted = _OF_CURVE.get(curve or "")
        if wanted is not None and subject.signature_oid != wanted:
            yield Fault("signature", "the digest is not of the size of the issuer's curve")


@rule(
    "SBR-7.1.3.2-2",
    "no signature uses SHA-1, wherever it stands",
    "S/MIME BR 7.1.3.2 (SMC016)",
    "issue it again, signed with SHA-256",
    BR,
    since=date(2026, 9, 15),
    codes=("cabf.smime.prohibited_signature_algorithm_encoding",),
    about=BOTH,
)
def _sha1(subject: Subject) -> Iterator[Fault]:
    if subject.signature_oid in SHA1 and not subject.certificate.is_self_issued:
        yield Fault("signature", "it is signed with SHA-1")


# --- 6.3.2: the validity --------------------------------------------------------------------------


@rule(
    "SBR-6.3.2-1",
    "it is valid for at most 825 days (legacy: 1185), both ends counted",
    "S/MIME BR 6.3.2",
    "issue it for a shorter time: two years",
    weigh(SBR, "apple", gmail=WARNING),
    codes=(
        "cabf.smime.certificate_validity_period_exceeds_825_days",
        "cabf.smime.certificate_validity_period_exceeds_1185_days",
        "cabf.smime.certificate_validity_period_at_maximum",
    ),
)
def _days(subject: Subject) -> Iterator[Fault]:
    if subject.validity is None:
        return
    lasts = subject.validity[1] - subject.validity[0] + timedelta(seconds=1)
    text = f"it is valid for {-(-lasts // timedelta(days=1))} days"
    if lasts > timedelta(days=1185):
        yield Fault("validity", text)
    elif lasts > timedelta(days=825):
        yield Fault("validity", text, only=(*NOT_LEGACY, "gmail"))
    elif lasts == timedelta(days=825):
        text = "it is valid for as long as it may be: a second's difference is a day too many"
        yield Fault("validity", text, should=True, only=NOT_LEGACY)


RULES: tuple[FitnessRule, ...] = (
    _serial,
    _version,
    _rsa_length,
    _kind_of_key,
    _rsa_numbers,
    _key_encoding,
    _signature,
    _sha1,
    _days,
)
