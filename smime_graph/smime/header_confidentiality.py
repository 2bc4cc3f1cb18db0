"""Header protection as it is made (RFC 9788 5), and what of a header an encrypted message hides.

A header confidentiality policy (RFC 9788 3) is a function of a field's name and value: what stands
outside instead, None for nothing. It is asked about fields that are no MIME fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

from ..errors import MalformedMessage, UsageError
from ..pki.address import parse_header_addresses
from ..text import printable
from .canonical import is_safe
from .entity import MAX_HEADER, MAX_HEADER_LINES, HeaderField, without_comments
from .fields import base_subject, canonical_field, decode_words, folded_field, unfoldable
from .header_protection import HP_OUTER, USER_FACING, HeaderProtection
from .lines import has_long_line

HeaderConfidentialityName = Literal["none", "baseline", "shy"]
HeaderConfidentiality = Callable[[str, str], str | None]
"""What stands outside for a header field of this name and value; None for nothing (RFC 9788 3.1).
"""

# What is not the sender's to protect: traces of transport (RFC 9788 7), and who is not to be named
_NOT_PROTECTED = frozenset(
    ("received", "received-spf", "return-path", "delivered-to", "dkim-signature")
    + ("authentication-results", "bcc", "resent-bcc", HP_OUTER)
)
_MANY_LINES = 5000  # which are fewer where they are as long as they may be
_MUCH = 1 << 16  # octets of a header
_NOT_IN_A_LINE = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


def hcp_baseline(name: str, value: str) -> str | None:
    """The Subject is obscured, Comments and Keywords are removed (RFC 9788 3.2.1)."""
    lowered = name.lower()
    if lowered == "subject":
        return "[...]"
    return None if lowered in ("comments", "keywords") else value


def hcp_shy(name: str, value: str) -> str | None:
    """As baseline, and neither names beside addresses nor the time zone (RFC 9788 3.2.2)."""
    lowered = name.lower()
    try:
        if lowered in ("from", "to", "cc"):
            return ", ".join(parse_header_addresses(value)) or value
        if lowered == "date":
            moment = parsedate_to_datetime(value[:200])
            return format_datetime(moment.astimezone(UTC)) if moment.tzinfo else value
    except (MalformedMessage, ValueError, TypeError, OverflowError):
        return value
    return hcp_baseline(name, value)


# hcp_no_confidentiality (3.2.3) is to ask none
POLICIES: Mapping[str, HeaderConfidentiality] = MappingProxyType(
    {"baseline": hcp_baseline, "shy": hcp_shy}
)


def to_protect(fields: Iterable[HeaderField]) -> list[HeaderField]:
    """Those of the fields, which are no MIME fields, that are copied into what is protected."""
    return [field for field in fields if field.name.lower() not in _NOT_PROTECTED]


def inner_fields(fields: Sequence[HeaderField]) -> tuple[Sequence[HeaderField], bytes]:
    """The fields as they stand inside, and all of them as one: in CRLF, in 7 bits, without what a
    relay changes.
    """
    whole = b"".join([field.raw for field in fields])
    has_many_lines = whole.count(b"\n") > _MANY_LINES
    if is_safe(whole, True) and not has_many_lines:
        return fields, whole
    made = [HeaderField(one.name, _inner(one, refold=has_many_lines)) for one in fields]
    return made, b"".join([field.raw for field in made])


def _inner(field: HeaderField, *, refold: bool) -> bytes:
    raw = canonical_field(field)
    if refold:
        raw = folded_field(HeaderField(field.name, re.sub(rb"\r\n(?=[ \t])", b"", raw)))
    lines = raw.removesuffix(b"\r\n").split(b"\r\n")
    kept = [_NOT_IN_A_LINE.sub(b" ", line).rstrip(b" \t") for line in lines]
    raw = b"".join([line + b"\r\n" for line in kept if line])
    if has_long_line(raw):
        raise unfoldable(field)
    return raw


def hidden_fields(
    fields: Sequence[HeaderField], policy: HeaderConfidentiality
) -> tuple[list[HeaderField], list[HeaderField]]:
    """The fields as they stand outside, and those of them that do not stand there as they are."""
    outside: list[HeaderField] = []
    hidden: list[HeaderField] = []
    asked = [
        one.value if one.name.lower() in _NOT_PROTECTED else _ask(policy, one.name, one.value)
        for one in fields
    ]
    secret = {
        base_subject(one.value)
        for one, shown in zip(fields, asked, strict=True)
        if one.name.lower() == "subject" and shown != one.value
    }
    for field, shown in zip(fields, asked, strict=True):
        value = field.value
        if secret and _repeats(field, secret):
            shown = None
        if shown is not None and shown.split() == value.split():
            outside.append(field)
            continue
        hidden.append(field)
        if shown is not None:
            text = printable(shown, other=" ").encode("utf-8", "replace")
            raw = canonical_field(
                HeaderField(field.name, field.name.encode() + b": " + text + b"\r\n")
            )
            outside.append(HeaderField(field.name, raw))
    return outside, hidden


def _repeats(field: HeaderField, secret: set[str]) -> bool:
    """Whether the field says what a hidden Subject says: Outlook's Thread-Topic does, whatever the
    policy thinks of it (RFC 9788 11.2.3).
    """
    name = field.name.lower()
    return name == "thread-topic" or (
        name not in _NEEDED_OUTSIDE and base_subject(field.value) in secret - {""}
    )


# what mail does not arrive without, or is not answered; and the Subject is what is hidden
_NEEDED_OUTSIDE = frozenset(
    ("subject", "from", "sender", "reply-to", "to", "cc", "date", "message-id", "in-reply-to")
    + ("references",)
)


def _ask(policy: HeaderConfidentiality, name: str, value: str) -> str | None:
    try:
        shown = policy(name, value)
    except Exception as error:  # of a function that is not ours
        text = f"header_confidentiality raised {type(error).__name__} for {name[:60]}"
        raise UsageError(text, hint="it takes a name and a value, both str") from error
    if shown is not None and not isinstance(shown, str):
        raise UsageError(
            f"header_confidentiality gives a {type(shown).__name__} for {name[:60]}",
            hint="give what stands outside as text, or nothing at all",
        )
    return shown


def outer_records(fields: Sequence[HeaderField]) -> bytes:
    """HP-Outer for each field that stands outside (RFC 9788 2.2), as `inner_fields` has it."""
    records = [b"HP-Outer: " + field.raw for field in fields]
    whole = b"".join(records)
    if has_long_line(whole):
        return b"".join([folded_field(HeaderField("HP-Outer", one)) for one in records])
    return whole


def with_hp(field: HeaderField, intent: HeaderProtection) -> HeaderField:
    """A Content-Type that says how the fields beside it are protected (RFC 9788 2.1.1)."""
    return _lately(field, intent) if len(field.raw) <= _MAX_KEPT else _with_hp(field, intent)


def _with_hp(field: HeaderField, intent: HeaderProtection) -> HeaderField:
    return with_parameter(field, b'hp="' + intent.encode() + b'"')


_MAX_KEPT = 100  # octets: most that hold no boundary are the same in all messages
_lately = lru_cache(maxsize=32)(_with_hp)


def with_parameter(field: HeaderField, parameter: bytes) -> HeaderField:
    """A Content-Type with this parameter as its first."""
    raw = field.raw
    if b"(" in raw:
        value = without_comments(field._replace(raw=raw).value)
        raw = b"%s: %s\r\n" % (field.name.encode(), value.encode())
    head, semicolon, rest = raw.partition(b";")
    end = b"\r\n" if raw.endswith(b"\r\n") else b"\n"
    made = head.rstrip() + b"; " + parameter + (semicolon + rest if rest.strip() else end)
    return HeaderField(field.name, made)


def check_size(header: bytes) -> None:
    """MalformedMessage where the header would be longer than any that is read."""
    if len(header) > _MUCH and (
        len(header) > MAX_HEADER - _MUCH or header.count(b"\n") > MAX_HEADER_LINES - _MANY_LINES
    ):
        raise MalformedMessage(
            "the header is too long to be protected as well",
            hint="shorten it, or leave header protection out",
        )


def display_lines(fields: Sequence[HeaderField]) -> str:
    """The lines of a Legacy Display Element (RFC 9788 5.2.2); "" for none."""
    return "\n".join(
        f"{field.name}: {printable(decode_words(field.value), other=' ')}"
        for field in fields
        if field.name.lower() in USER_FACING
    )
