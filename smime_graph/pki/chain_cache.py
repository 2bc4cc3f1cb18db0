"""Chains that were found good, so that the next message of a signer costs no search and no judging.

Nothing that is remembered can be more than was asked: an entry is found only by everything that the
answer depends on, and believed only at times within the validity of all of the chain. What was
refused is not remembered. Only certificates are held, and only a bounded number of octets of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from threading import Lock

from ..budget import Work
from ..findings import Finding
from ..x509.certificate import Certificate
from .trust import TrustStore

MAX_ENTRIES = 1024
MAX_OCTETS = 32 * 1024  # of one entry's certificates; a chain of ML-DSA-87 has 23 KB

SignatureCheck = tuple[Certificate, Certificate, str | None]
"""A certificate, the issuer whose key was tried, and what is wrong with the signature."""


@dataclass(frozen=True, slots=True)
class GoodChain:
    """What was said of a chain without an error, and what it took to find it.

    It costs a message the same whether it is remembered or not, or else the verdict on one that is
    made to be expensive would hang on what was read before it.
    """

    chain: tuple[Certificate, ...]
    findings: tuple[Finding, ...]
    signatures: tuple[SignatureCheck, ...]
    prices: tuple[float, ...]  # of them, in the same order
    work: tuple[tuple[Work, float], ...]

    # of each signature its price, and what was said of it
    answers: dict[tuple[bytes, bytes], tuple[float, str | None]] = field(init=False)
    not_before: datetime = field(init=False)  # the latest of the chain's
    not_after: datetime = field(init=False)  # the earliest

    def __post_init__(self) -> None:
        answers = {
            (one.der, issuer.whole_key_info): (price, fault)
            for (one, issuer, fault), price in zip(self.signatures, self.prices, strict=True)
        }
        object.__setattr__(self, "answers", answers)
        object.__setattr__(self, "not_before", max(one.not_before for one in self.chain))
        object.__setattr__(self, "not_after", min(one.not_after for one in self.chain))

    def holds(self, at: datetime) -> bool:
        """Whether every certificate of it is valid at the time."""
        return self.not_before <= at <= self.not_after


Key = tuple[bytes, bool, bytes]

_good: OrderedDict[Key, GoodChain] = OrderedDict()
_lock = Lock()


def surroundings(trust: TrustStore, sent: Iterable[Certificate]) -> bytes:
    """A digest of what a path is looked for in: the same for all certificates of a message.

    `sent` are the certificates that came along: without them a message that lacks its intermediate
    would be accepted after one that has it. Their order counts, since of two good paths the first
    is taken. Revocation is no part of it: that is judged each time, by what is known then.
    """
    known = tuple(sent)
    digest = _digest_lately if sum([len(one.der) for one in known]) <= MAX_OCTETS else _digest
    return digest(trust.digest, known)


def key_of(certificate: Certificate, *, around: bytes, accept_weak: bool) -> Key:
    """One for all that the answer depends on but the time; `around` is by `surroundings`."""
    return around, accept_weak, certificate.der


def _digest(store: bytes, sent: tuple[Certificate, ...]) -> bytes:
    digest = sha256()
    for part in (store, *[one.der for one in sent]):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


_digest_lately = lru_cache(maxsize=64)(_digest)


def recall(key: Key, at: datetime) -> GoodChain | None:
    """The chain that was found good, if it is so at the time too."""
    with _lock:
        if (known := _good.get(key)) is None:
            return None
        _good.move_to_end(key)
    return known if known.holds(at) else None


def remember(key: Key, good: GoodChain, at: datetime) -> None:
    """Keep what was found at a time, unless it would not hold then or is too large."""
    # a key with parameters of its issuer's (RFC 3279 2.3.2) is no part of its certificate's octets
    own = all(one.whole_key_info == one.public_key_info for one in good.chain)
    held = {*good.chain, *(issuer for _, issuer, _ in good.signatures)}
    if own and good.holds(at) and sum(len(one.der) for one in held) <= MAX_OCTETS:
        with _lock:
            _good[key] = good
            if len(_good) > MAX_ENTRIES:
                _good.popitem(last=False)


def clear() -> None:
    with _lock:
        _good.clear()
