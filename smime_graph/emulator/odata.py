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


class InvalidQuery(ValueError):
    """A query option that cannot be read; its text is meant for the client."""


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


def matches(condition: Expression, row: Mapping[str, Any]) -> bool:
    """Whether a condition is true of a resource."""
    return _evaluate(condition, row, {}) is True


def _evaluate(one: Expression, row: Mapping[str, Any], variables: Mapping[str, Any]) -> Any:
    match one:
        case Value():
            return _folded(one.value)
        case Path():
            return _folded(value_of(one, variables.get(one.variable, row)))
        case Binary("and"):
            return bool(_evaluate(one.left, row, variables)) and bool(
                _evaluate(one.right, row, variables)
            )
        case Binary("or"):
            return bool(_evaluate(one.left, row, variables)) or bool(
                _evaluate(one.right, row, variables)
            )
        case Binary():
            left, right = (_evaluate(part, row, variables) for part in (one.left, one.right))
            if None in (left, right) and one.operator not in ("eq", "ne"):
                return False
            return COMPARISONS[one.operator][1](left, right)
        case Not():
            return not _evaluate(one.inner, row, variables)
        case In():
            left = _evaluate(one.left, row, variables)
            return left in [_folded(choice.value) for choice in one.choices]
        case Function():
            values = [_evaluate(part, row, variables) for part in one.arguments]
            return None if None in values else FUNCTIONS[one.name][2](*values)
        case Lambda():
            found = value_of(one.path, variables.get(one.path.variable, row)) or ()
            if one.inner is None:
                return bool(found)
            inner = one.inner
            truths = (
                _evaluate(inner, row, {**variables, one.variable: entry}) is True for entry in found
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
