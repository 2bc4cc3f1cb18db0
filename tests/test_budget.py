"""Work is counted: what is granted, what runs out, and that it stays so."""

from __future__ import annotations

import pytest

from smime_graph.budget import Budget
from smime_graph.errors import LimitReached, MalformedMessage


def test_all_that_is_granted_may_be_spent_and_no_unit_more() -> None:
    budget = Budget()
    budget.spend("signatures", budget.limit)
    with pytest.raises(LimitReached, match=f"more work than the {budget.limit} units granted"):
        budget.spend("signatures", 1)


def test_what_has_run_out_stays_so_however_little_is_asked_for() -> None:
    budget = Budget()
    with pytest.raises(LimitReached):
        budget.spend("decompression", budget.limit + 1)
    for _ in range(3):
        with pytest.raises(LimitReached):
            budget.spend("header lines", 0)


def test_a_longer_message_is_granted_more() -> None:
    small, large = Budget(1000), Budget(25_000_000)
    assert Budget().limit < small.limit < large.limit
    # digesting all of it twice in each of ten layers must leave room for the rest
    assert large.limit > 10 * 2 * 25_000_000 * 0.005 + Budget().limit


def test_many_cheap_things_cost_what_one_expensive_thing_does() -> None:
    budget = Budget()
    for _ in range(budget.limit):
        budget.spend("ASN.1 elements", 1)
    with pytest.raises(LimitReached):
        budget.spend("ASN.1 elements", 1)


def test_the_error_says_what_the_work_was_the_most_first_and_three_at_most() -> None:
    budget = Budget()
    third = budget.limit / 4
    budget.spend("digests", third)
    budget.spend("certificates", 1)
    budget.spend("mail addresses", third / 2)
    with pytest.raises(LimitReached) as caught:
        budget.spend("certification paths", 3 * third)
    shares = str(caught.value).rpartition(": ")[2]
    assert shares == "certification paths 67 %, digests 22 %, mail addresses 11 %"
    assert isinstance(caught.value, MalformedMessage)
    assert caught.value.hint
