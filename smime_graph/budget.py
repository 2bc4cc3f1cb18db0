"""What reading one message may cost: work is counted, never time: every machine says the same.

A `Budget` belongs to one message. It is handed down to whatever does the work, so that a message of
many cheap layers gets no more than one with a single expensive one. Everything is counted in one
unit, about a microsecond of a slow machine, by the prices below; what grows only with the length of
the message, such as undoing base64, is not counted. Limits of number (layers, signers,
certificates, recipients) stand where those things are read.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

from .errors import LimitReached

Work = Literal[
    "ASN.1 elements",
    "certificates",
    "certification paths",
    "decompression",
    "digests",
    "header lines",
    "mail addresses",
    "name constraints",
    "password derivations",
    "private keys",
    "revocation",
    "signatures",
]

# 0.7 s for a message of 1 MB. A longer one may ask for more: honest mail of 25 MB is digested once
# or twice a layer, and one in BER has some elements a KB.
_BASE = 400_000
_FOR_EACH_OCTET = 0.3

ELEMENT = 3  # with what is made of it
HEADER_LINE = 6  # every reader of the header looks at it once more
DIGESTED_OCTET = 0.005  # SHA3-512, the slowest
INFLATED_OCTET = 0.01
PATH = 2500  # RFC 5280 6.1 over one path, by pyhanko-certvalidator
PATH_OCTET = 0.3  # of its certificates, as asn1crypto parses them
EVIDENCE_OCTET = 1  # of CRLs and OCSP responses that a message brings, for each certificate
CONSTRAINT = 4  # compared with a name
PRIVATE_KEY = 5000  # RSA-4096
ITERATION = 0.2  # of PBKDF2 with a digest of 32 bits words, as SHA-256; SHA-512 takes twice as long
ADDRESS = 30
STEP = 5  # of the search for a path
PARSED = 50  # a certificate, by cryptography
COMPARISON = 2  # of a certificate with what names one


class Budget:
    """The work that one message of `size` octets may still ask for.

    Once it has run out it stays so: what was not looked at is never taken for good.
    """

    __slots__ = ("_left", "_spent", "limit")

    def __init__(self, size: int = 0) -> None:
        self.limit = int(_BASE + size * _FOR_EACH_OCTET)
        # in thousandths, so that sums are exact in whatever order they are made
        self._left = self.limit * 1000
        self._spent: defaultdict[Work, int] = defaultdict(int)

    @property
    def left(self) -> float:
        return self._left / 1000

    @property
    def spent(self) -> dict[Work, float]:
        return {work: units / 1000 for work, units in self._spent.items()}

    def spend(self, work: Work, units: float) -> None:
        """Count work that is about to be done. Raises LimitReached where it may not be."""
        thousandths = round(units * 1000)
        self._spent[work] += thousandths
        self._left -= thousandths
        if self._left < 0:
            raise LimitReached(
                self._fault(),
                hint="it was made to be expensive, or it holds too much for one message",
            )

    def _fault(self) -> str:
        asked = sum(self._spent.values())
        most = sorted(self._spent, key=lambda work: -self._spent[work])[:3]
        shares = ", ".join(f"{work} {100 * self._spent[work] / asked:.0f} %" for work in most)
        return f"reading the message takes more work than the {self.limit} units granted: {shares}"
