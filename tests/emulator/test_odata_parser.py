"""What is no query, and how the service says so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph.emulator.metadata import TYPES
from smime_graph.emulator.odata import InvalidQuery, Matcher
from smime_graph.emulator.odata_parser import (
    DEPTH_LIMIT,
    TEXT_LIMIT,
    TOKEN_LIMIT,
    parse_expand,
    parse_filter,
    parse_names,
    parse_orders,
)

from .test_odata import ROW


def wrong(text: str) -> str:
    with pytest.raises(InvalidQuery) as caught:
        parse_filter(text, TYPES, "message")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("isread eqq true", 7),
        ("isRead eq", 9),
        ("isRead eq true)", 14),
        ("(isRead eq true", 15),
        ("", 0),
        ("isRead eq true and", 18),
        ("subject eq 'a' 'b'", 15),
        ("subject eq #", 11),
        ("subject/x eq 'a'", 8),
        ("importance in 'low'", 14),
        ("importance in (subject)", 22),
        ("categories/any(c c eq 'a')", 17),
        ("categories/any(1:true)", 15),
        ("categories/all()", 15),
    ],
)
def test_where_the_syntax_is_wrong(text: str, position: int) -> None:
    assert wrong(text) == f"Syntax error at position {position} in '{text}'."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing eq 1", "Could not find a property named 'nothing' on type "
         "'microsoft.graph.message'."),
        ("from/emailAddress/phone eq 'x'", "Could not find a property named 'phone' on type "
         "'microsoft.graph.emailAddress'."),
        ("subject eq 'x", "There is an unterminated string literal at position 11 in "
         "'subject eq 'x'."),
        ("subject eq true", "A binary operator with incompatible types was detected. Found operand "
         "types 'Edm.String' and 'Edm.Boolean' for operator kind 'Equal'."),
        ("receivedDateTime ge '2026-01-01'", "A binary operator with incompatible types was "
         "detected. Found operand types 'Edm.DateTimeOffset' and 'Edm.String' for operator kind "
         "'GreaterThanOrEqual'."),
        ("toRecipients eq 'x'", "A binary operator with incompatible types was detected. Found "
         "operand types 'Collection(graph.recipient)' and 'Edm.String' for operator kind 'Equal'."),
        ("subject and isRead", "A binary operator with incompatible types was detected. Found "
         "operand types 'Edm.String' and 'Edm.Boolean' for operator kind 'And'."),
        ("not subject", "A unary operator with an incompatible type was detected. Found operand "
         "type 'Edm.String' for operator kind 'Not'."),
        ("subject", "The $filter expression must evaluate to a single boolean value."),
        ("substring(subject) eq 'x'", "An unknown function with name 'substring' was found. This "
         "may also be a function import or a key lookup on a navigation property, which is not "
         "allowed."),
        ("contains(subject, 1)", "No function signature for the function with name 'contains' "
         "matches the specified arguments. The function signatures considered are: "
         "contains(Edm.String, Edm.String)."),
        ("receivedDateTime gt 2026-13-01", "Unrecognized 'Edm.DateTimeOffset' literal "
         "'2026-13-01'."),
    ],
)  # fmt: skip
def test_what_else_is_wrong(text: str, said: str) -> None:
    assert wrong(text) == said


def test_a_query_is_no_deeper_and_no_longer_than_it_may_be() -> None:
    deep = "(" * DEPTH_LIMIT + "isRead" + ")" * DEPTH_LIMIT
    assert Matcher(parse_filter(f"not {deep[1:-1]}", TYPES, "message"))(ROW)
    assert wrong(f"({deep})") == "Recursion limit reached."
    assert wrong("not " * (DEPTH_LIMIT + 1) + "isRead") == "Recursion limit reached."
    nested = "tolower(" * (DEPTH_LIMIT + 1) + "subject" + ")" * (DEPTH_LIMIT + 1)
    assert wrong(f"{nested} eq 'x'") == "Recursion limit reached."
    chain = " or ".join(["isRead"] * (TOKEN_LIMIT // 2))
    assert not Matcher(parse_filter(chain, TYPES, "message"))(ROW)
    assert wrong(f"{chain} or isRead or isRead") == "The query has too many parts."
    assert wrong("x" * (TEXT_LIMIT + 1)) == "The query is too long."


def test_orders_and_names() -> None:
    found = parse_orders("from/emailAddress/name desc, subject,isRead asc", TYPES, "message")
    assert [(path.text, descending) for path, descending in found] == [
        ("from/emailAddress/name", True),
        ("subject", False),
        ("isRead", False),
    ]
    for text in (
        "from",
        "categories",
        "'a'",
        "subject down",
        "subject,",
        "1",
        ",".join(["id"] * 11),
    ):
        with pytest.raises(InvalidQuery):
            parse_orders(text, TYPES, "message")
    assert parse_names("SUBJECT, id", TYPES, "message") == {"subject", "id"}
    with pytest.raises(InvalidQuery):
        parse_names("subject,", TYPES, "message")


def test_what_is_expanded_has_options_of_its_own() -> None:
    text = "attachments($select=id,name;$filter=name eq 'a;(b'),extensions"
    assert parse_expand(text) == {
        "attachments": {"$select": "id,name", "$filter": "name eq 'a;(b'"},
        "extensions": {},
    }
    for text in ("a(", "a)", "a(b)", "a b", "a($x='", ",", "x" * (TEXT_LIMIT + 1)):
        with pytest.raises(InvalidQuery):
            parse_expand(text)


WORDS = st.sampled_from(
    ["subject", "isRead", "from", "/", "emailAddress", "address", "eq", "and", "or", "not", "(",
     ")", "'a'", "true", "null", "1", "-2.5", "2026-01-01", "contains", ",", "in", "categories",
     "any", "all", ":", "c", "'", "length", "receivedDateTime", "gt",
     "singleValueExtendedProperties"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS | st.text(max_size=3), max_size=14).map(" ".join))
def test_any_text_is_a_condition_or_is_refused(text: str) -> None:
    try:
        found = parse_filter(text, TYPES, "message")
    except InvalidQuery:
        return
    assert Matcher(found)(ROW) in (True, False)
    assert Matcher(found)({}) in (True, False)
