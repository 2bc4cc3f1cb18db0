"""PBKDF2-params ::= SEQUENCE { salt OCTET STRING, iterationCount INTEGER,
                             keyLength INTEGER OPTIONAL, prf DEFAULT hmacWithSHA1 }

(RFC 8018 A.2) Key files and password recipients have them alike.
"""

from __future__ import annotations

from typing import NamedTuple

from .. import oids
from . import ber
from .algorithm_identifier import AlgorithmIdentifier
from .ber import Fields, Node


class Pbkdf2Parameters(NamedTuple):
    """The parameters as received; `key_length` in octets, `prf` the identifier of an HMAC."""

    salt: bytes
    iterations: int
    key_length: int | None
    prf: str

    @classmethod
    def read(cls, node: Node) -> Pbkdf2Parameters:
        """Raises MalformedMessage. Whether the figures make sense is not asked."""
        fields = Fields(node.expect(ber.SEQUENCE, "PBKDF2 parameters"), "PBKDF2")
        salt = bytes(fields.any("salt").as_octets("salt"))
        iterations = fields.any("iterationCount").as_integer("iterationCount")
        length = fields.optional(ber.INTEGER)
        prf = fields.optional(ber.SEQUENCE)
        fields.end()
        return cls(
            salt,
            iterations,
            None if length is None else length.as_integer("keyLength"),
            oids.HMAC_SHA1 if prf is None else AlgorithmIdentifier.read(prf, "PBKDF2 prf").oid,
        )


def write_pbkdf2(salt: bytes, iterations: int) -> bytes:
    """AlgorithmIdentifier of PBKDF2 with HMAC-SHA256, DER without its tag and length."""
    prf = ber.sequence(ber.oid(oids.HMAC_SHA256), ber.null())
    parameters = ber.sequence(ber.octet_string(salt), ber.integer(iterations), prf)
    return ber.oid(oids.PBKDF2) + parameters
