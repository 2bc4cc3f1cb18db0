"""What callers give, held against what was wanted: the one place where wrong types are refused.

    @checked                          the annotations of a function say what it takes
    def sign(message: bytes | Message, *, sid: Literal["issuer", "ski"] = "issuer") -> bytes: ...

    def __post_init__(self) -> None:  those of a dataclass say what it holds
        check_fields(self)

A wrong type, a value that a Literal does not have, an element that does not belong into a list: a
UsageError that names the argument and both types, never the value, which may be a secret. What is
as good as what was wanted is made into it: bytearray and memoryview into bytes, a list into a
tuple, and whatever a class takes in its `from_argument`.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import os
import re
import types
import typing
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from .errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

_RAW_HINT = "give bytes (text.encode(), as_bytes(policy=email.policy.SMTP)) or a pathlib.Path"
_HINTS = {
    "SigningKey": "load a key file: Identity.load(path)",
    "DecryptionKey": "load a key file: Identity.load(path)",
    "Recipient": "give Contact.load(path), identity.contact, or contacts.find(address).contact",
    "TrustStore": "load root certificates: TrustStore.load(path); those of a CA are ca.trust",
    "Revocation": "load what is known: Revocation.load(crls=[path])",
    "Writable": "give a pathlib.Path, or a file that is open in mode 'wb'",
    "Certificate": "read one: Contact.load(path).certificate",
    "Policy": "use one of EXCHANGE, RFC_8551, POST_QUANTUM, ARCHIVE",
    "datetime": "give a datetime with a time zone",
}
_SHOWN_LITERAL = 40  # characters; nobody mistakes a key for the name of an option


class _Wrong(Exception):
    def __init__(self, value: Any, check: _Check, text: str | None = None) -> None:
        super().__init__()
        self.value = value
        self.check = check
        self.text = text


class _Check:
    """One annotation: `convert` gives the value, or what is as good as it, or raises _Wrong.

    What is of one of the `plain` types is taken as it is.
    """

    __slots__ = ("convert", "hint", "is_literal", "plain", "wanted")

    def __init__(
        self,
        wanted: str,
        convert: Callable[[_Check, Any], Any],
        *,
        hint: str | None = None,
        is_literal: bool = False,
        plain: frozenset[type] = frozenset(),
    ) -> None:
        self.wanted = wanted
        self.convert = functools.partial(convert, self)
        self.hint = hint
        self.is_literal = is_literal
        self.plain = plain


def checked(function: F) -> F:
    """The function; it raises UsageError for an argument that is not what its annotation says.

    That an argument is missing, or is one too many, stays Python's own TypeError.
    """
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD]
    rest = next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL), None)

    @functools.cache
    def checks() -> dict[str, _Check]:
        return _compiled(typing.get_type_hints(function))

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        known = checks()
        held = [
            _held(names[place] if place < len(names) else rest, value, known)
            for place, value in enumerate(args)
        ]
        return function(*held, **{name: _held(name, one, known) for name, one in kwargs.items()})

    return typing.cast("F", call)


def check_fields(value: Any) -> None:
    """Hold the fields of a frozen dataclass against their annotations, for `__post_init__`."""
    kind: Any = type(value)
    known = _field_checks(kind)
    for name in known:
        given = getattr(value, name)
        held = _held(name, given, known, owner=kind.__name__)
        if held is not given:
            object.__setattr__(value, name, held)


@functools.cache
def _field_checks(kind: Any) -> dict[str, _Check]:
    return _compiled(typing.get_type_hints(kind))


def _held(
    name: str | None, value: Any, known: dict[str, _Check], *, owner: str | None = None
) -> Any:
    if name is None or (check := known.get(name)) is None or type(value) in check.plain:
        return value
    try:
        return check.convert(value)
    except _Wrong as wrong:
        one, check, text = wrong.value, wrong.check, wrong.text
    called = name if owner is None else f"{name} of {owner}"
    if name in ("raw", "message", "original"):
        called = "a message"
    if one is not value:
        called = f"an element of {name}"
    if check.is_literal and isinstance(one, str) and len(one) <= _SHOWN_LITERAL:
        raise UsageError(f"{called} is {one!r}, wanted {check.wanted}")
    hint = f"write {name}=[...]" if check.wanted == "a list" else check.hint
    if called == "a message":
        hint = _RAW_HINT
    text = text or f"is {check.wanted}, not {type(one).__name__}"
    raise UsageError(f"{called} {text}", hint=hint)


# --- annotations ----------------------------------------------------------------------------------


def _compiled(hints: dict[str, Any]) -> dict[str, _Check]:
    checks = {name: _check_of(hint) for name, hint in hints.items() if name != "return"}
    return {name: check for name, check in checks.items() if check is not None}


def _check_of(hint: Any) -> _Check | None:
    """None: anything goes, or nothing can be said of it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _any_of([_check_of(one) for one in arguments])
    if origin is typing.Literal:
        return _one_of(arguments)
    if origin is collections.abc.Callable or hint is collections.abc.Callable:
        return _instance(collections.abc.Callable, "a function")
    if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
        return _instance(origin, "a dict")
    if isinstance(origin, type) and issubclass(origin, collections.abc.Iterable):
        return _list_of(origin, arguments)
    if hint is type(None):
        return _instance(hint, "None")
    if isinstance(origin, type):
        hint = origin  # os.PathLike[str]
    if not isinstance(hint, type) or hint in (Any, object):
        return None
    if getattr(hint, "_is_protocol", False):
        return _protocol(hint)
    return _instance(hint, _with_article(hint))


def _with_article(kind: type) -> str:
    if kind in (bytes, bool):
        return kind.__name__
    return f"{'an' if kind.__name__[0] in 'AEIOUaeiou' else 'a'} {kind.__name__}"


def _instance(kind: Any, wanted: str) -> _Check:
    from_argument = getattr(kind, "from_argument", None)

    def convert(check: _Check, value: Any) -> Any:
        if isinstance(value, kind) and (kind is not int or not isinstance(value, bool)):
            if kind is datetime and value.tzinfo is None:
                raise _Wrong(value, check, "has no time zone")
            if kind is Path and not _is_path(value):
                raise _Wrong(value, check, "is no file name")
            return value
        if kind is bytes and isinstance(value, (bytearray, memoryview)):
            return bytes(value)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return value
        if from_argument is not None and (made := from_argument(value)) is not None:
            return made
        raise _Wrong(value, check)

    plain = frozenset((kind,)) if kind in (bytes, str, bool, type(None)) else frozenset()
    return _Check(wanted, convert, hint=_HINTS.get(getattr(kind, "__name__", "")), plain=plain)


def _protocol(kind: type) -> _Check:
    names = [
        name
        for base in kind.__mro__
        if getattr(base, "_is_protocol", False)
        for name in (*vars(base), *vars(base).get("__annotations__", ()))
        if not name.startswith("_")
    ]

    @functools.lru_cache(maxsize=16)
    def missing(of: type) -> list[str]:
        return [name for name in names if not hasattr(of, name)]

    def convert(check: _Check, value: Any) -> Any:
        # of the class first: a property of a token is not to be computed for this
        of: Any = type(value)
        if (others := missing(of)) and not all(hasattr(value, name) for name in others):
            raise _Wrong(value, check)
        return value

    return _Check(_with_article(kind), convert, hint=_HINTS.get(kind.__name__))


def _one_of(values: tuple[Any, ...]) -> _Check:
    def convert(check: _Check, value: Any) -> Any:
        if any(type(value) is type(one) and value == one for one in values):
            return value
        raise _Wrong(value, check)

    return _Check(" or ".join(map(repr, values)), convert, is_literal=True)


def _list_of(origin: type, arguments: tuple[Any, ...]) -> _Check:
    """A sequence, a set, or any iterable: of an iterator the elements are not looked at."""
    element = _check_of(arguments[0]) if arguments else None
    is_set = issubclass(origin, collections.abc.Set)
    makes = tuple if origin is tuple else frozenset if origin is frozenset else None
    usual = [kind for kind in (list, tuple) if issubclass(kind, origin) or origin is tuple]

    def convert(check: _Check, value: Any) -> Any:
        is_list = type(value) in usual or isinstance(value, collections.abc.Sequence)
        if type(value) not in usual:
            if isinstance(value, (str, bytes, bytearray, memoryview, collections.abc.Mapping)):
                raise _Wrong(value, check)
            if not isinstance(value, origin) and not (origin is tuple and is_list):
                raise _Wrong(value, check)
            if not isinstance(value, collections.abc.Collection):
                return value
        if element is None:
            return value
        held = [element.convert(one) for one in value]
        if makes is not None:
            unchanged = isinstance(value, makes) and all(map(lambda a, b: a is b, held, value))
            return value if unchanged else makes(held)
        return held if is_list else value

    return _Check("a set" if is_set else "a list", convert)


def _any_of(checks: Sequence[_Check | None]) -> _Check | None:
    known = [check for check in checks if check is not None]
    if len(known) < len(checks):
        return None

    def convert(check: _Check, value: Any) -> Any:
        inside: _Wrong | None = None
        for one in known:
            try:
                return one.convert(value)
            except _Wrong as wrong:
                inside = wrong if wrong.value is not value or wrong.text else inside
        if inside is not None:
            raise inside  # the kind was right: something in it is not
        raise _Wrong(value, check)

    wanted = dict.fromkeys(one.wanted for one in known)
    hints = [one.hint for one in known if one.hint is not None]
    literals = [one for one in known if one.is_literal]
    return _Check(
        " or ".join(wanted),
        convert,
        hint=hints[0] if hints else None,
        is_literal=bool(literals),
        plain=frozenset().union(*(one.plain for one in known)),
    )


# --- names of files -------------------------------------------------------------------------------

_LONGEST_NAME = 1024
# of the length of a key in base64 or hexadecimal
_LIKE_A_KEY = re.compile(r"[A-Za-z0-9+/=_-]{40}")


def file_name(path: str | os.PathLike[str]) -> str:
    """The path, for an error or a log; what could be a key given in place of one is not shown.

    People put a PEM or its base64 where a path was wanted, and errors are written down.
    """
    text = os.fsdecode(path)
    if _is_shown(text):
        return text
    return f"a file with a name of {len(text)} characters"


def path_of(path: str | os.PathLike[str]) -> Path:
    """The path. UsageError for what no system takes for one: with a NUL, or half a character."""
    if not _is_path(path):
        raise UsageError(f"{file_name(path)} is no file name")
    return Path(path)


def _is_path(path: str | os.PathLike[str]) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _is_shown(text: str) -> bool:
    if len(text) > _LONGEST_NAME or not text.isprintable() or "-----" in text:
        return False
    if not _LIKE_A_KEY.search(text):
        return True
    try:
        parent = Path(text).parent
        return parent != Path() and parent != Path("/") and parent.is_dir()
    except (OSError, ValueError):
        return False
