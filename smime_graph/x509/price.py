"""What the signatures of a certificate's key cost a message's budget (`smime_graph.budget`)."""

from __future__ import annotations

from .. import algorithms
from ..algorithms import KeyKind
from ..budget import DIGESTED_OCTET, PARSED
from ..errors import MalformedMessage, UnsupportedAlgorithm
from .certificate import Certificate, remembered


def signature_price(certificate: Certificate, octets: int) -> float:
    """What a check with the certificate's key of a signature over so many octets costs."""
    price = _price(certificate)
    return PARSED if price is None else PARSED + octets * DIGESTED_OCTET + price


@remembered
def _price(certificate: Certificate) -> float | None:
    """That of the key alone; None where it cannot be read."""
    try:
        key = certificate.public_key
    except (MalformedMessage, UnsupportedAlgorithm):
        return None
    kind = algorithms.find(KeyKind, certificate.key_algorithm)
    return kind.price(key) if kind is not None else 0
