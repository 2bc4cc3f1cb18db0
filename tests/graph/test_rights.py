"""The table of least privilege: what a permission is worth, and that no verb is forgotten."""

from __future__ import annotations

import pytest

from smime_graph.cli.verbs import VERBS
from smime_graph.graph.rights import NEEDS, held


@pytest.mark.parametrize(
    ("names", "of_another", "expected"),
    [
        (["Mail.Send"], False, {"Mail.Send"}),
        (["Mail.ReadWrite"], False, {"Mail.ReadWrite", "Mail.Read", "Mail.ReadBasic"}),
        (["Mail.ReadBasic.All"], False, {"Mail.ReadBasic"}),
        (["Mail.Send", "Mail.Read"], True, set()),
        (["Mail.Send.Shared"], True, {"Mail.Send"}),
        (["Mail.Send.Shared"], False, {"Mail.Send"}),
        (["User.Read"], False, {"User.Read"}),
        ([], False, set()),
    ],
)
def test_a_permission_is_worth_what_it_includes(
    names: list[str], of_another: bool, expected: set[str]
) -> None:
    assert held(names, of_another=of_another) == expected


def test_every_verb_that_asks_graph_is_in_the_table() -> None:
    first = {one.verb.split()[0] for one in NEEDS}
    assert VERBS["Graph"].keys() - first == set()
    assert len({one.verb for one in NEEDS}) == len(NEEDS)


def test_nothing_needs_more_than_mail() -> None:
    known = {"Mail.Send", "Mail.Read", "Mail.ReadBasic", "Mail.ReadWrite"}
    assert {right for one in NEEDS for right in one.rights} == known
    alone = {one.verb for one in NEEDS if one.rights == ("Mail.Send",)}
    assert {"send", "sendmail", "gateway", "draft-send"} <= alone
