"""What must not be replaced by the result of a verb."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..arguments import file_name
from ..errors import UsageError

_OUTPUTS = ("output", "save_certificates", "write_token", "write_ca", "junit")
_PROTECTED = (b"PRIVATE KEY-----", b"PuTTY-User-Key-File")
# what these read is the only copy that can be judged again
_READS_PROTECTION = ("verify", "decrypt", "unseal", "decompress", "examine", "inspect")


def check(verb: click.Command, given: Mapping[str, Any]) -> None:
    """UsageError where a result would take the place of a file that this very call reads, or of a
    private key.
    """
    outputs = {n: given[n] for n in _OUTPUTS if given.get(n) not in (None, "-")}
    for name, output in outputs.items():
        try:
            target = Path(output).stat()
        except (OSError, ValueError):
            continue  # nothing is there, or it is said when it is written
        if not stat.S_ISREG(target.st_mode):
            continue
        option = "-o" if name == "output" else f"--{name.replace('_', '-')}"
        if (reader := _reader_of(verb, given, target)) is not None:
            raise UsageError(
                f"{option} {file_name(output)} would replace what {reader} reads",
                hint="name another file for the result",
            )
        if _holds_key(Path(output)):
            raise UsageError(
                f"{option} {file_name(output)} holds a private key, which nothing replaces",
                hint="name another file for the result; a key that is not wanted is to be deleted",
            )


def _reader_of(verb: click.Command, given: Mapping[str, Any], target: os.stat_result) -> str | None:
    """The option or argument that names the file; None if none does."""
    for parameter in verb.params:
        name = parameter.name or ""
        is_message = isinstance(parameter, click.Argument)
        if name in _OUTPUTS or (is_message and verb.name not in _READS_PROTECTION):
            continue
        if not is_message and not getattr(parameter.type, "is_path", False):
            continue
        value = given.get(name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, str) and _is_same(one, target, is_message):
                return "the message" if is_message else max(parameter.opts, key=len)
    return None


def _is_same(path: str, target: os.stat_result, is_message: bool) -> bool:
    try:
        found = os.fstat(0) if is_message and path == "-" else Path(path).stat()
    except (OSError, ValueError):
        return False
    return os.path.samestat(found, target)


def _holds_key(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(1 << 16)
    except OSError:
        return False
    is_container = path.suffix.lower() in (".p12", ".pfx") and start[:1] == b"\x30"
    return is_container or any(mark in start for mark in _PROTECTED)
