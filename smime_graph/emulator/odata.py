"""What a query of OData says, and whether it is true of a resource.

The syntax is in `odata_parser`. Texts are compared without regard to case, as Exchange does.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

TEXT = "Edm.String"


STEP_LIMIT = 1_000_000  # of looking at a value, in one request


class InvalidQuery(ValueError):
    """A query option that cannot be read; its text is meant for the client."""


class TooExpensive(Exception):
    """A condition that takes too long to look at."""


@dataclass(frozen=True, slots=True)
class Value:
    """A literal: its value and its type ("null" has none)."""

    value: Any
    type: str


@dataclass(frozen=True, slots=True)
class Path:
    """A property, or a property of one; `variable` is that of a lambda, or nothing."""

    names: tuple[str, ...]
    type: str
    variable: str = ""
    owner: str = ""  # the type that has the last name

    @property
    def text(self) -> str:
        return "/".join(self.names)


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: Expression
    right: Expression
    type: str = "Edm.Boolean"


@dataclass(frozen=True, slots=True)
class Not:
    inner: Expression
    type: str = "Edm.Boolean"


@dataclass(frozen=True, slots=True)
class In:
    left: Expression
    choices: tuple[Value, ...]
    type: str = "Edm.Boolean"


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    arguments: tuple[Expression, ...]
    type: str


@dataclass(frozen=True, slots=True)
class Lambda:
    """`path/any(x:inner)`; without `inner` whether there is anything at all."""

    quantifier: str
    path: Path
    variable: str
    inner: Expression | None
    type: str = "Edm.Boolean"


Expression: TypeAlias = Value | Path | Binary | Not | In | Function | Lambda

COMPARISONS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "eq": ("Equal", operator.eq),
    "ne": ("NotEqual", operator.ne),
    "gt": ("GreaterThan", operator.gt),
    "ge": ("GreaterThanOrEqual", operator.ge),
    "lt": ("LessThan", operator.lt),
    "le": ("LessThanOrEqual", operator.le),
}
FUNCTIONS: Mapping[str, tuple[tuple[str, ...], str, Callable[..., Any]]] = {
    "contains": ((TEXT, TEXT), "Edm.Boolean", lambda text, part: part in text),
    "startswith": ((TEXT, TEXT), "Edm.Boolean", str.startswith),
    "endswith": ((TEXT, TEXT), "Edm.Boolean", str.endswith),
    "tolower": ((TEXT,), TEXT, str.lower),
    "toupper": ((TEXT,), TEXT, str.upper),
    "trim": ((TEXT,), TEXT, str.strip),
    "length": ((TEXT,), "Edm.Int32", len),
}
_NUMBERS = frozenset({"Edm.Int32", "Edm.Int64", "Edm.Double"})


def read_time(text: str) -> float:
    try:
        when = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
        return (when.replace(tzinfo=UTC) if when.tzinfo is None else when).timestamp()
    except (ValueError, OverflowError):
        raise InvalidQuery(f"Unrecognized 'Edm.DateTimeOffset' literal '{text}'.") from None


def paths_of(found: Expression) -> Iterator[Path]:
    """The properties that an expression names, in their order."""
    match found:
        case Path():
            if not found.variable:
                yield found
        case Binary():
            yield from paths_of(found.left)
            yield from paths_of(found.right)
        case Not():
            yield from paths_of(found.inner)
        case In():
            yield from paths_of(found.left)
        case Function():
            for one in found.arguments:
                yield from paths_of(one)
        case Lambda():
            yield found.path
        case Value():
            return


class Matcher:
    """Whether a condition is true of one resource after another.

    A short query can ask a lot of long collections, and much of it again for each message: what is
    too much is `TooExpensive`.
    """

    def __init__(self, condition: Expression, *, steps: int = STEP_LIMIT) -> None:
        self._condition = condition
        self._left = steps

    def __call__(self, row: Mapping[str, Any]) -> bool:
        return self._evaluate(self._condition, row, {}) is True

    def _spend(self, value: Any) -> Any:
        self._left -= 1 + (len(value) // 500 if isinstance(value, str) else 0)
        if self._left < 0:
            raise TooExpensive
        return _folded(value)

    def _evaluate(self, one: Expression, row: Mapping[str, Any], scope: Mapping[str, Any]) -> Any:
        match one:
            case Value():
                return self._spend(one.value)
            case Path():
                return self._spend(value_of(one, scope.get(one.variable, row)))
            case Binary("and"):
                left = self._evaluate(one.left, row, scope)
                return bool(left) and bool(self._evaluate(one.right, row, scope))
            case Binary("or"):
                left = self._evaluate(one.left, row, scope)
                return bool(left) or bool(self._evaluate(one.right, row, scope))
            case Binary():
                left = self._evaluate(one.left, row, scope)
                right = self._evaluate(one.right, row, scope)
                if None in (left, right) and one.operator not in ("eq", "ne"):
                    return False
                return COMPARISONS[one.operator][1](left, right)
            case Not():
                return not self._evaluate(one.inner, row, scope)
            case In():
                left = self._evaluate(one.left, row, scope)
                return left in [self._spend(choice.value) for choice in one.choices]
            case Function():
                values = [self._evaluate(part, row, scope) for part in one.arguments]
                return None if None in values else _folded(FUNCTIONS[one.name][2](*values))
            case Lambda():
                return self._quantified(one, row, scope)

    def _quantified(self, one: Lambda, row: Mapping[str, Any], scope: Mapping[str, Any]) -> bool:
        found = value_of(one.path, scope.get(one.path.variable, row)) or ()
        inner = one.inner
        if inner is None:
            return bool(found)
        truths = (
            self._evaluate(inner, row, {**scope, one.variable: entry}) is True for entry in found
        )
        return any(truths) if one.quantifier == "any" else all(truths)


def _folded(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value  # Exchange ignores case


def value_of(path: Path, row: Any) -> Any:
    """The value of a property in a resource; a time is in Unix seconds."""
    for name in path.names:
        row = row.get(name) if isinstance(row, Mapping) else None
        if row is None:
            return None
    if path.type == "Edm.DateTimeOffset":
        return read_time(row)
    return row
