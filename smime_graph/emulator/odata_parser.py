"""The query options of OData: $filter, $orderby, $select and $expand, as they are written.

A tokenizer and a parser by recursive descent (OData 4.01, "URL Conventions", 5.1). How deep it
goes and how much it takes is limited. Properties are looked up while parsing, so that nothing is
carried out that names what there is not. Errors have the texts of Microsoft's OData library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from .extended import property_id
from .odata import (
    COMPARISONS,
    FUNCTIONS,
    TEXT,
    Binary,
    Expression,
    Function,
    In,
    InvalidQuery,
    Lambda,
    Not,
    Path,
    Value,
    read_time,
)

DEPTH_LIMIT = 50
TOKEN_LIMIT = 400
TEXT_LIMIT = 8192
ORDER_LIMIT = 10  # properties in $orderby

Types: TypeAlias = Mapping[str, Mapping[str, tuple[str, str]]]  # by type, by name in lower case

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>'(?:[^']|'')*+')
  | (?P<date>\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)?)?(?![\w-]))
  | (?P<number>-?\d{1,18}(?:\.\d{1,18})?(?![\w.-]))
  | (?P<name>[A-Za-z_@][\w.@]{0,127})
  | (?P<mark>[(),/:])
    )""",
    re.VERBOSE | re.ASCII,
)
_NUMBERS = frozenset({"Edm.Int32", "Edm.Int64", "Edm.Double"})


class _Parser:
    def __init__(self, text: str, types: Types, kind: str) -> None:
        if len(text) > TEXT_LIMIT:
            raise InvalidQuery("The query is too long.")
        self._text = text
        self._types = types
        self._kind = kind
        self._tokens = list(self._read())
        self._place = 0
        self._depth = 0
        self._variables: dict[str, str] = {}

    def _read(self) -> Iterator[tuple[str, str, int]]:
        position = 0
        for _ in range(TOKEN_LIMIT):
            if not self._text[position:].strip():
                return
            found = _TOKEN.match(self._text, position)
            if found is None:
                rest = self._text[position:]
                at = position + len(rest) - len(rest.lstrip())
                if self._text[at] == "'":
                    raise InvalidQuery(
                        f"There is an unterminated string literal at position {at} in "
                        f"'{self._text}'."
                    )
                raise self._wrong(at)
            kind = found.lastgroup or ""
            yield kind, found[kind], found.start(kind)
            position = found.end()
        raise InvalidQuery("The query has too many parts.")

    def _wrong(self, at: int) -> InvalidQuery:
        return InvalidQuery(f"Syntax error at position {at} in '{self._text}'.")

    def _next(self) -> tuple[str, str, int]:
        if self._place < len(self._tokens):
            return self._tokens[self._place]
        return "", "", len(self._text)

    def _is(self, text: str) -> bool:
        kind, found, _ = self._next()
        return kind in ("name", "mark") and found.lower() == text

    def _take(self, text: str) -> bool:
        if not self._is(text):
            return False
        self._place += 1
        return True

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise self._wrong(self._next()[2])

    def whole(self) -> Expression:
        """The expression that all of the text is."""
        found = self.condition()
        self._end()
        return found

    def _end(self) -> None:
        if self._place < len(self._tokens):
            raise self._wrong(self._next()[2])

    def orders(self) -> tuple[tuple[Path, bool], ...]:
        """The properties of $orderby, each with whether it descends."""
        found = []
        while True:
            path = self._primary()
            if not isinstance(path, Path) or path.type.startswith(("Collection", "graph.")):
                raise InvalidQuery("Only ordering by properties is supported.")
            descending = self._take("desc")
            if not descending:
                self._take("asc")
            found.append((path, descending))
            if len(found) > ORDER_LIMIT:
                raise InvalidQuery("The query has too many parts.")
            if not self._take(","):
                self._end()
                return tuple(found)

    def condition(self) -> Expression:
        found = self._or()
        if found.type != "Edm.Boolean":
            raise InvalidQuery("The $filter expression must evaluate to a single boolean value.")
        return found

    def _or(self) -> Expression:
        found = self._and()
        while self._take("or"):
            found = self._logical("or", found, self._and())
        return found

    def _and(self) -> Expression:
        found = self._not()
        while self._take("and"):
            found = self._logical("and", found, self._not())
        return found

    def _logical(self, name: str, left: Expression, right: Expression) -> Expression:
        for one in (left, right):
            if one.type != "Edm.Boolean":
                raise _incompatible(left, right, name.capitalize())
        return Binary(name, left, right)

    def _not(self) -> Expression:
        if not self._is("not"):
            return self._comparison()
        self._enter()
        self._place += 1
        inner = self._not()
        self._depth -= 1
        if inner.type != "Edm.Boolean":
            raise InvalidQuery(
                f"A unary operator with an incompatible type was detected. Found operand type "
                f"'{inner.type}' for operator kind 'Not'."
            )
        return Not(inner)

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise InvalidQuery("Recursion limit reached.")

    def _comparison(self) -> Expression:
        left = self._primary()
        kind, name, at = self._next()
        if kind != "name":
            return left
        name = name.lower()
        if name == "in":
            self._place += 1
            return In(left, tuple(self._choices(left)))
        if name not in COMPARISONS:
            if name in ("and", "or", "asc", "desc"):
                return left
            raise self._wrong(at)
        self._place += 1
        right = self._primary()
        left, right = _like(left, right), _like(right, left)
        if not _comparable(left, right):
            raise _incompatible(left, right, COMPARISONS[name][0])
        return Binary(name, left, right)

    def _choices(self, left: Expression) -> Iterator[Value]:
        self._need("(")
        while True:
            value = _like(self._primary(), left)
            if not isinstance(value, Value) or not _comparable(left, value):
                raise self._wrong(self._next()[2])
            yield value
            if not self._take(","):
                self._need(")")
                return

    def _primary(self) -> Expression:
        kind, text, at = self._next()
        self._place += 1
        if kind == "string":
            return Value(text[1:-1].replace("''", "'"), TEXT)
        if kind == "number":
            whole = "." not in text
            return Value(
                int(text) if whole else float(text), "Edm.Int32" if whole else "Edm.Double"
            )
        if kind == "date":
            return Value(read_time(text), "Edm.DateTimeOffset")
        if text == "(":
            self._enter()
            found = self._or()
            self._depth -= 1
            self._need(")")
            return found
        if kind != "name":
            raise self._wrong(at)
        literal = {"true": True, "false": False}.get(text.lower())
        if literal is not None:
            return Value(literal, "Edm.Boolean")
        if text.lower() == "null":
            return Value(None, "null")
        if self._is("("):
            return self._function(text)
        return self._path(text)

    def _function(self, name: str) -> Expression:
        known = FUNCTIONS.get(name.lower())
        if known is None:
            raise InvalidQuery(
                f"An unknown function with name '{name}' was found. This may also be a function "
                "import or a key lookup on a navigation property, which is not allowed."
            )
        self._enter()
        self._need("(")
        arguments = [self._or()]
        while self._take(","):
            arguments.append(self._or())
        self._need(")")
        self._depth -= 1
        if tuple(one.type for one in arguments) != known[0]:
            wanted = f"{name.lower()}({', '.join(known[0])})"
            raise InvalidQuery(
                f"No function signature for the function with name '{name.lower()}' matches the "
                f"specified arguments. The function signatures considered are: {wanted}."
            )
        return Function(name.lower(), tuple(arguments), known[1])

    def _path(self, first: str) -> Expression:
        variable = first if first in self._variables else ""
        kind = self._variables.get(first, self._kind)
        names: list[str] = []
        owner = ""
        if not variable:
            owner, (name, kind) = kind, self._property(kind, first)
            names.append(name)
        while self._take("/"):
            _, text, at = self._next()
            self._place += 1
            if text.lower() in ("any", "all") and kind.startswith("Collection("):
                path = Path(tuple(names), kind, variable, owner)
                return self._lambda(text.lower(), path)
            if not kind.startswith("graph."):
                raise self._wrong(at)
            owner, (name, kind) = kind, self._property(kind, text)
            names.append(name)
        return Path(tuple(names), kind, variable, owner)

    def _property(self, kind: str, name: str) -> tuple[str, str]:
        short = kind.removeprefix("graph.")
        found = self._types.get(short, {}).get(name.lower())
        if found is None:
            raise unknown_property(name, short)
        return found

    def _lambda(self, quantifier: str, path: Path) -> Expression:
        self._enter()
        self._need("(")
        if quantifier == "any" and self._take(")"):
            self._depth -= 1
            return Lambda(quantifier, path, "", None)
        kind, variable, at = self._next()
        if kind != "name" or variable in self._variables:
            raise self._wrong(at)
        self._place += 1
        self._need(":")
        self._variables[variable] = path.type.removeprefix("Collection(").removesuffix(")")
        inner = self.condition()
        del self._variables[variable]
        self._need(")")
        self._depth -= 1
        return Lambda(quantifier, path, variable, inner)


def unknown_property(name: str, kind: str) -> InvalidQuery:
    return InvalidQuery(
        f"Could not find a property named '{name[:128]}' on type 'microsoft.graph.{kind}'."
    )


def _comparable(left: Expression, right: Expression) -> bool:
    kinds = {left.type, right.type}
    if any(kind.startswith("Collection") for kind in kinds):
        return False
    return len(kinds) == 1 or "null" in kinds or kinds <= _NUMBERS


def _incompatible(left: Expression, right: Expression, name: str) -> InvalidQuery:
    return InvalidQuery(
        "A binary operator with incompatible types was detected. Found operand types "
        f"'{left.type}' and '{right.type}' for operator kind '{name}'."
    )


def _like(one: Expression, other: Expression) -> Expression:
    """A literal as what it is compared with has it: a number of another kind, a property's id."""
    if isinstance(one, Value) and one.type in _NUMBERS and other.type in _NUMBERS:
        return Value(one.value, other.type)
    of_extended = isinstance(other, Path) and other.owner.endswith("LegacyExtendedProperty")
    if of_extended and isinstance(one, Value) and one.type == TEXT:
        return Value(property_id(one.value), TEXT)
    return one


# Asking


def parse_filter(text: str, types: Types, kind: str) -> Expression:
    """Parse $filter on a collection of `kind`; `InvalidQuery` says what is wrong."""
    return _Parser(text, types, kind).whole()


def parse_orders(text: str, types: Types, kind: str) -> tuple[tuple[Path, bool], ...]:
    """Parse $orderby: the properties, each with whether it descends."""
    return _Parser(text, types, kind).orders()


def parse_names(text: str, types: Types, kind: str) -> frozenset[str]:
    """Parse $select: the names as they are spelled."""
    names = set()
    for part in text[:TEXT_LIMIT].split(","):
        found = types[kind].get(part.strip().lower())
        if found is None:
            raise unknown_property(part.strip(), kind)
        names.add(found[0])
    return frozenset(names)


def parse_expand(text: str) -> Mapping[str, Mapping[str, str]]:
    """Parse $expand: the navigation properties, each with its options as text."""
    found: dict[str, Mapping[str, str]] = {}
    for item in _split(text, ","):
        match = re.fullmatch(r"\s*([\w./]{1,128})\s*(?:\((.*)\))?\s*", item, re.DOTALL)
        if match is None:
            raise InvalidQuery(f"Syntax error at position 0 in '{item[:200]}'.")
        options: dict[str, str] = {}
        for option in _split(match[2], ";") if match[2] else ():
            name, equals, value = option.partition("=")
            if not equals:
                raise InvalidQuery(f"Syntax error at position 0 in '{option[:200]}'.")
            options[name.strip().lower()] = value.strip()
        found[match[1].lower()] = options
    return found


def _split(text: str, mark: str) -> Sequence[str]:
    """The parts of a text between marks that are in no parentheses and in no string."""
    if len(text) > TEXT_LIMIT:
        raise InvalidQuery("The query is too long.")
    parts, depth, quoted, start = [], 0, False, 0
    for at, char in enumerate(text):
        if char == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif char in "()":
            depth += 1 if char == "(" else -1
            if depth < 0:
                break
        elif char == mark and not depth:
            parts.append(text[start:at])
            start = at + 1
    if quoted or depth:
        raise InvalidQuery(f"Syntax error at position {len(text)} in '{text[:200]}'.")
    return [*parts, text[start:]]
