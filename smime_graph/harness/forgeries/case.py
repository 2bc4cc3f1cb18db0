"""What a row of the catalogue of messages holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...smime.report import Summary
from .craft import People


@dataclass(frozen=True, slots=True)
class Case:
    """One message: what is wrong (a sentence), who says so, how it is made, what is expected.

    `errors` are the codes of the findings for which it is rejected: without any it is accepted.
    `warnings` are said of one that is accepted. `summary` is what a reader may call it where
    that is not "signed" of one that is accepted, nor nothing of one that is not (RFC 9787 6.2).
    """

    id: str
    wrong: str
    source: str
    make: Callable[[People], bytes]
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    summary: Summary | None = None

    @property
    def is_accepted(self) -> bool:
        return not self.errors

    @property
    def shown(self) -> Summary | None:
        """`summary`, which is "signed" of what is accepted where nothing else is said."""
        return self.summary or ("signed" if self.is_accepted else None)
