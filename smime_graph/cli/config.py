"""The configuration file: TOML, `[defaults]` for every verb and a table for each.

    [defaults]
    trust = "roots.pem"
    [sendmail]
    signer = "alice.p12"
    recipient = ["contacts"]

Keys are the names of options. A file that is named in it is looked for beside it, not in the
current folder; `~` is the home folder. It is never looked for in the current folder either: whoever
can put a file there could have mail signed, or sent, as they like.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from .context import user_file
from .verbs import VERBS, load

_LIMIT = 1 << 20


class ConfigurationError(UsageError):
    """The configuration, rather than the call, makes no sense."""


def apply(ctx: click.Context, named: str | None, verb: list[str]) -> None:
    """Make the file's values the defaults of the verb. UsageError for what is not understood."""
    found = named or user_file()
    if found is None:
        return
    path = Path(found).expanduser() if named else Path(found)
    if not named and not _is_there(path, verb):
        return
    data = _read(path)
    ctx.meta[__name__] = path
    values: dict[str, Any] = {}
    tables = [("defaults", data.get("defaults", {}))]
    if verb == ["doctor"]:  # it looks at what a send is configured with
        tables.append(("send", data.get("send", {})))
    table: Any = data
    for word in verb:
        table = table.get(word, {}) if isinstance(table, Mapping) else {}
    tables.append((".".join(verb), table))
    _check_tables(path, data)
    origins: dict[str, str] = ctx.meta.setdefault(f"{__name__}.origins", {})
    for name, entries in tables:
        if not isinstance(entries, Mapping):
            raise ConfigurationError(f"{path}: {name} is no table", hint=f"begin it with [{name}]")
        for key, value in entries.items():
            option = _option(ctx.command, key)
            if option is None:
                if name != tables[-1][0] and _is_option_of_any(key):
                    continue
                raise ConfigurationError(
                    f"{path}: [{name}] names {key}, which is no option",
                    hint=f"smime-graph {' '.join(verb)} --help lists them",
                )
            held = values[option.name or ""] = _value(path, name, key, value, option)
            origins[option.name or ""] = f"{path} [{name}]"
            try:
                option.type_cast_value(ctx, held)
            except click.BadParameter as error:
                text = re.sub(r"is not a valid (integer|float).*", "is no number", error.message)
                raise ConfigurationError(f"{path}: [{name}] {key}: {text.rstrip('.')}") from None
    ctx.default_map = values


# what these submit may be kept from going out in the clear by the configuration alone
_SUBMITTING = (
    *("send", "reply", "reply-all", "forward", "draft", "draft-update", "sendmail", "gateway"),
)


def _is_there(path: Path, verb: list[str]) -> bool:
    """Whether the user has a configuration; where nobody may look, none but for mail that goes out:
    a daemon often has the home of somebody else.
    """
    try:
        return path.is_file()
    except PermissionError as error:
        if verb[0] not in _SUBMITTING:
            return False
        raise ConfigurationError(
            f"nobody may look for the user's configuration {path}: {error.strerror}",
            hint="set HOME to the user's own, or name a configuration: --config FILE",
        ) from error


def origin(ctx: click.Context, name: str) -> str:
    """Where in the configuration the value of an option came from."""
    found: str = ctx.meta.get(f"{__name__}.origins", {}).get(name, "")
    return found


def source(ctx: click.Context) -> str:
    """Which file the configuration came from, for what has to be said of what is missing in it."""
    path = ctx.meta.get(__name__)
    if path is not None:
        return f"the configuration is {path}"
    return f"there is no configuration file {user_file() or 'of the user'}"


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "no file name"
        raise ConfigurationError(f"configuration {path} cannot be read: {reason}") from error
    if len(data) > _LIMIT:
        raise ConfigurationError(f"configuration {path} is larger than {_LIMIT} octets")
    import tomllib  # only here: without a file of settings nothing needs it

    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        where = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "not UTF-8 text"
        raise ConfigurationError(
            f"configuration {path} is no TOML: {where}", hint="strings stand in quotes"
        ) from None


def _check_tables(path: Path, data: Mapping[str, Any]) -> None:
    known = {"defaults", *(verb for verbs in VERBS.values() for verb in verbs)}
    for name in data:
        if name not in known:
            raise ConfigurationError(
                f"{path}: {name} is neither [defaults] nor the table of a verb",
                hint="options stand in a table: put [defaults] above those of every verb",
            )


def _option(command: click.Command, key: str) -> click.Option | None:
    wanted = "--" + key.replace("_", "-")
    for parameter in command.params:
        if isinstance(parameter, click.Option) and wanted in parameter.opts:
            return None if parameter.name == "config" else parameter
    return None


def _is_option_of_any(key: str) -> bool:
    found: list[click.Command | None] = [load(v) for verbs in VERBS.values() for v in verbs]
    for command in found:
        if isinstance(command, click.Group):
            found += command.commands.values()
    return any(command is not None and _option(command, key) for command in found)


def _value(path: Path, table: str, key: str, value: Any, option: click.Option) -> Any:
    items = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not option.multiple:
        raise ConfigurationError(f"{path}: [{table}] {key} is a list, wanted one value")
    if any(isinstance(item, (list, Mapping)) for item in items):
        raise ConfigurationError(f"{path}: [{table}] {key} is neither a value nor a list of them")
    if option.is_flag != any(isinstance(item, bool) for item in items):
        wanted = "true or false" if option.is_flag else "a text or a number"
        raise ConfigurationError(f"{path}: [{table}] {key}: {wanted} was wanted")
    if getattr(option.type, "is_path", False):
        if "" in items:
            raise ConfigurationError(f"{path}: [{table}] {key} is empty, wanted a file")
        may_be_address = getattr(option.type, "may_be_address", False)
        words = getattr(option.type, "words", ())
        prefixes = getattr(option.type, "prefixes", ())
        items = [
            item
            if item in words or str(item).startswith(prefixes)
            else _beside(path, item, may_be_address=may_be_address)
            for item in items
        ]
    return items if option.multiple else items[0]


def _beside(path: Path, item: Any, *, may_be_address: bool) -> str:
    text = str(item)
    if text == "-":
        return text
    found = path.resolve().parent / Path(text).expanduser()
    if may_be_address and not os.path.exists(found):  # noqa: PTH110 - Path raises for a long name
        from ..pki.address import is_address

        if is_address(text):
            return text
    return os.fspath(found)
