"""Policies: every row judged once, what is used is accepted, and one derived from another."""

from __future__ import annotations

import pytest

from smime_graph import ARCHIVE, EXCHANGE, POST_QUANTUM, RFC_8551, Policy, UsageError, algorithms
from smime_graph.policy import POLICIES


@pytest.mark.parametrize("policy", POLICIES.values(), ids=str)
def test_a_row_is_accepted_flagged_or_refused(policy: Policy) -> None:
    for row in algorithms.TABLE:
        judged = (row.name in policy.accept, row.name in policy.flag, row.name in policy.refuse)
        assert sum(judged) == 1
        assert policy.accepts(row) == (judged[0] or judged[1])
        assert policy.flags(row) == judged[1]


def test_every_kind_of_key_is_used_unless_some_are_named() -> None:
    assert EXCHANGE.uses_key("rsa")
    assert EXCHANGE.uses_key(None)
    assert POST_QUANTUM.keys is not None
    assert not POST_QUANTUM.uses_key("rsa")
    assert not POST_QUANTUM.uses_key(None)
    assert all(POST_QUANTUM.uses_key(name) for name in POST_QUANTUM.keys)


def test_a_policy_derived_from_another_has_its_own_name_and_nothing_else_that_is_new() -> None:
    mine = EXCHANGE.but("mine", minimum_rsa_bits=3072)
    assert (mine.name, mine.minimum_rsa_bits) == ("mine", 3072)
    assert mine.but("exchange", minimum_rsa_bits=2048) == EXCHANGE
    assert EXCHANGE.minimum_rsa_bits == 2048


def test_a_change_that_a_policy_does_not_have_is_refused_with_what_it_has() -> None:
    with pytest.raises(UsageError, match="a policy has no cipher, sendz") as caught:
        EXCHANGE.but("mine", sendz=True, cipher="aes128-cbc")
    assert "ciphers" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("field", "value"),
    [("minimum_rsa_bits", "2048"), ("digest", 256), ("ciphers", 5), ("sends", "no")],
)
def test_a_value_of_another_kind_is_refused(field: str, value: object) -> None:
    with pytest.raises(UsageError, match=field):
        EXCHANGE.but("mine", **{field: value})


def test_a_policy_is_shown_in_one_line_by_what_is_its_own() -> None:
    assert [repr(one) for one in (EXCHANGE, RFC_8551, POST_QUANTUM, ARCHIVE)] == [
        f"Policy({name!r})" for name in POLICIES
    ]
    mine = EXCHANGE.but("mine", ciphers=("aes128-cbc",), compress=True)
    assert repr(mine) == "Policy('mine', ciphers=('aes128-cbc',), compress=True)"
    assert len(repr(RFC_8551.but("mine", accept=RFC_8551.accept))) < 200
