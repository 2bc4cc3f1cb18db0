"""Conditions that are true, and those that are not, of a resource."""

from __future__ import annotations

from typing import Any

import pytest

from smime_graph.emulator.metadata import TYPES
from smime_graph.emulator.odata import Matcher, Path, TooExpensive, paths_of, value_of
from smime_graph.emulator.odata_parser import parse_filter


def recipient(address: str, name: str = "") -> dict[str, Any]:
    return {"emailAddress": {"address": address, "name": name}}


ROW: dict[str, Any] = {
    "subject": "It's time",
    "isRead": False,
    "hasAttachments": True,
    "importance": "normal",
    "isDeliveryReceiptRequested": None,
    "receivedDateTime": "2026-03-01T10:00:00Z",
    "from": recipient("Bob@contoso.com", "Bob"),
    "sender": None,
    "toRecipients": [recipient("alice@contoso.com"), recipient("carol@contoso.com")],
    "ccRecipients": [],
    "categories": ["red", "Blue"],
    "flag": {"flagStatus": "notFlagged"},
    "singleValueExtendedProperties": [{"id": "String 0x1a", "value": "IPM.Note.SMIME"}],
}


@pytest.mark.parametrize(
    "condition",
    [
        "subject eq 'It''s time'",
        "SUBJECT eq 'it''s TIME'",
        "subject ne 'x' and not isRead",
        "isRead eq false",
        "not (isRead eq true)",
        "isRead or hasAttachments",
        "isRead eq true or isRead eq false and hasAttachments eq true",
        "importance in ('low', 'normal')",
        "isDeliveryReceiptRequested eq null",
        "sender/emailAddress/address eq null",
        "receivedDateTime ge 2026-03-01T10:00:00Z",
        "receivedDateTime lt 2026-03-01T10:00:00.1234567Z",
        "receivedDateTime gt 2026-03-01T11:00:00+02:00",
        "receivedDateTime ge 2026-03-01",
        "from/emailAddress/address eq 'bob@CONTOSO.com'",
        "startswith(from/emailAddress/name, 'B')",
        "endswith(subject, 'time') and contains(subject, 's t')",
        "tolower(subject) eq 'it''s time'",
        "length(trim(subject)) gt 8",
        "categories/any(c:c eq 'blue')",
        "categories/all(c:length(c) le 4)",
        "categories/any()",
        "not ccRecipients/any()",
        "toRecipients/any(r:r/emailAddress/address eq 'carol@contoso.com')",
        "ccRecipients/all(r:r/emailAddress/address eq 'nobody')",
        "flag/flagStatus eq 'notFlagged'",
        "singleValueExtendedProperties/any(p:p/id eq 'String 0x001A' and "
        "startswith(p/value, 'IPM.Note.SMIME'))",
        "  ( ( isRead  eq\tfalse ) )  ",
        "length(subject) eq 9.0",
        "toupper(subject) eq 'IT''S TIME'",
    ],
)
def test_a_condition_that_is_true(condition: str) -> None:
    found = parse_filter(condition, TYPES, "message")
    assert Matcher(found)(ROW)
    assert not Matcher(parse_filter(f"not ({condition})", TYPES, "message"))(ROW)


@pytest.mark.parametrize(
    "condition",
    [
        "subject eq 'x'",
        "isDeliveryReceiptRequested gt null",
        "sender/emailAddress/address gt 'a'",
        "contains(sender/emailAddress/address, '')",
        "receivedDateTime gt 2026-03-01T10:00:00Z",
        "importance in ('low')",
        "categories/all(c:c eq 'red')",
        "categories/any(c:categories/any(d:d eq 'green' and c eq 'red'))",
    ],
)
def test_a_condition_that_is_not(condition: str) -> None:
    assert not Matcher(parse_filter(condition, TYPES, "message"))(ROW)


def test_the_properties_that_a_condition_names() -> None:
    text = "isRead eq true and (not contains(subject, 'a') or categories/any(c:c eq 'x'))"
    found = parse_filter(text, TYPES, "message")
    assert [path.text for path in paths_of(found)] == ["isRead", "subject", "categories"]


def test_a_time_is_in_seconds() -> None:
    path = Path(("receivedDateTime",), "Edm.DateTimeOffset")
    assert value_of(path, {"receivedDateTime": "1970-01-01T00:01:00Z"}) == 60.0
    assert value_of(path, {}) is None


def test_what_asks_too_much_is_given_up() -> None:
    nested = "categories/any(a:categories/any(b:categories/any(c:a eq 'x')))"
    found = parse_filter(nested, TYPES, "message")
    row = {"categories": [str(n) for n in range(100)]}
    with pytest.raises(TooExpensive):
        Matcher(found)(row)
    assert not Matcher(found)(ROW)
    some = Matcher(parse_filter("contains(subject, 'x')", TYPES, "message"), steps=100)
    assert not some({"subject": "y" * 20_000})
    with pytest.raises(TooExpensive):
        some({"subject": "y" * 40_000})
