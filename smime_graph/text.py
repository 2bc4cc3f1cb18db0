"""Text that came from elsewhere, as it may be shown."""

from __future__ import annotations


def printable(text: str, *, other: str = "\N{REPLACEMENT CHARACTER}") -> str:
    """The text with `other` for what a terminal would act upon or not show."""
    return text if text.isprintable() else "".join(c if c.isprintable() else other for c in text)
