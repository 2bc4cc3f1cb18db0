"""What the signatures of a certificate's key cost a message's budget (`smime_graph.budget`)."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from ..budget import DIGESTED_OCTET, PARSED
from ..errors import MalformedMessage, UnsupportedAlgorithm
from .certificate import Certificate

_MULTIPLICATION = 2.8e-7  # of two bits, in the unit of a budget


def signature_price(certificate: Certificate, octets: int) -> float:
    """What a check with the certificate's key of a signature over so many octets costs.

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
