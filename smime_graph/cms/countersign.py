"""Countersignatures and other unsigned attributes: a signature over a signature (RFC 5652 11.4).

    Countersignature ::= SignerInfo    -- over the octets of the other's signature value

They are added after the fact, without touching a byte that was signed, and anybody can add or
remove them: a bad one says nothing about the signature that it stands beside.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .. import oids
from ..budget import Budget
from ..errors import MalformedMessage
from ..findings import Severity
from ..policy import Policy
from ..x509.certificate import Certificate
from . import signature_check, signed_data
from .signature_check import Check
from .signed_data import SignerInfo

_MAX_DEPTH = 4  # a notary of a notary is rare, a chain of hundreds an attack


@dataclass(slots=True)
class Further:
    """How many further signatures (over signatures, in timestamps) one message may have checked.

    Anybody can add them, so that they are few keeps the rest of the message's budget for those that
    decide.
    """

    budget: Budget
    left: int = 16

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


@dataclass(frozen=True, slots=True)
class Countersignature:
    """One countersignature, checked; `faults` says what is wrong with it, `over` who signed it."""

    check: Check
    faults: tuple[str, ...]
    over: tuple[Countersignature, ...]


def check(
    info: SignerInfo,
    *,
    certificates: Iterable[Certificate],
    policy: Policy,
    further: Further,
    depth: int = 1,
) -> tuple[tuple[Countersignature, ...], list[str]]:
    """The countersignatures beside one signature, checked, and what could not be read of them.

    `certificates` are those that may be a countersigner's. Raises nothing.
    """
    if info.unsigned_attributes is None:
        return (), []
    found: list[Countersignature] = []
    faults: list[str] = []
    known = tuple(certificates)
    for value in info.unsigned_attributes.values(oids.COUNTERSIGNATURE):
        if depth > _MAX_DEPTH or not further.take():
            faults.append("there are more countersignatures than are checked")
            break
        try:
            one = signed_data.read_signer(value, len(found))
        except MalformedMessage as error:
            faults.append(str(error))
            continue
        result = signature_check.check(
            None, one, info.signature, policy=policy, certificates=known, budget=further.budget
        )
        over, deeper = check(
            one, certificates=known, policy=policy, further=further, depth=depth + 1
        )
        faults += deeper
        wrong = [item.text for item in result.findings if item.severity is Severity.ERROR]
        if result.valid is None and not wrong:
            wrong = [item.text for item in result.findings]
        found.append(Countersignature(result, tuple(wrong), over))
    return tuple(found), faults
