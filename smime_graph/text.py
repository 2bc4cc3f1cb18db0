"""Text that came from elsewhere, as it may be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def json_text(value: Mapping[str, Any], *, indent: int | None = 2) -> str:
    """In ASCII: whatever a message holds, no character of it can steer a terminal."""
    import json  # only here: the command line seldom needs it

    return json.dumps(value, indent=indent, ensure_ascii=True)


def printable(text: str, *, other: str = "\N{REPLACEMENT CHARACTER}") -> str:
    """The text with `other` for what a terminal would act upon or not show."""
    return text if text.isprintable() else "".join(c if c.isprintable() else other for c in text)
