"""What a peer is: another implementation that makes and reads messages, and judges certificates.

It raises `Refused` where it says no, and `Untried` where it has no such operation. How it differs
from the standards stands in its `quirks`, a row for each reason: whatever it does otherwise and is
in none of them is unexplained.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..cases import Case

Operation = Literal[
    "import", "validate-sign", "validate-encrypt", "sign", "verify", "encrypt", "decrypt"
]
# in this order: a peer that knows a certificate from a file has read the file before
OPERATIONS: tuple[Operation, ...] = (
    "import",
    "validate-sign",
    "validate-encrypt",
    "sign",
    "verify",
    "encrypt",
    "decrypt",
)
Verdict = Literal["yes", "no", "-"]  # "-": there is no such operation, or nothing to try it with


class Untried(Exception):
    """The peer, or its driver, has no such operation; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one operation: the peer's words, and the octets where it made a message."""

    verdict: Verdict
    detail: str = ""
    made: bytes = b""


@dataclass(frozen=True, slots=True)
class Quirk:
    """What the peer does otherwise than the standards say, and why: for these operations and
    variants (patterns, separated by blanks), where it answers `observed` in words in which the
    expression `says` is found. `before` is the first version that does not do so any more, `since`
    the first that does.
    """

    operations: str
    variants: str
    observed: Verdict
    reason: str
    says: str = ""
    before: str = ""
    since: str = ""

    def holds_of(self, version: str) -> bool:
        return is_between(version, since=self.since, before=self.before)

    def covers(self, operation: str, variant: str, answer: Answer) -> bool:
        return (
            self.observed == answer.verdict
            and any(fnmatch.fnmatchcase(operation, one) for one in self.operations.split())
            and any(fnmatch.fnmatchcase(variant, one) for one in self.variants.split())
            and re.search(self.says, answer.detail) is not None
        )


def is_between(version: str, *, since: str, before: str) -> bool:
    """Whether it is not older than `since`, and older than `before`; "" is no limit."""
    number = _numbers(version)
    return number >= _numbers(since) and (not before or number < _numbers(before))


def _numbers(version: str) -> tuple[int, ...]:
    """Of "3.0.19", for comparing; what stands behind them, as in "1.86-beta", is left out."""
    found = re.match(r"[0-9.]*", version)
    return tuple(int(one) for one in (found[0] if found else "").split(".") if one)


@dataclass(frozen=True, slots=True)
class Words:
    """What a peer says (an expression that is found in it), and the rules that it may mean."""

    says: str
    rules: tuple[str, ...]


class Peer(Protocol):
    """One implementation, ready to be asked about the cases of a stand, by several threads.

    `words` tells what its refusals mean. Where a peer has no words for a refusal of its own, its
    driver says what was tried.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def quirks(self) -> Sequence[Quirk]: ...
    @property
    def words(self) -> Sequence[Words]: ...

    def ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        """What it made, octets for "sign" and "encrypt" alone. `message` is what is to be verified
        or decrypted. Raises Refused and Untried.
        """

    def close(self) -> None: ...
