"""Whom an envelope names, and whom the header does."""

from __future__ import annotations

import pytest

from smime_graph import MalformedMessage
from smime_graph.smime.entity import Entity
from smime_graph.submission.envelope import Recipients, bcc_field, compare, resent


def test_who_is_in_one_and_not_in_the_other() -> None:
    fields = Entity(b"To: Bob <bob@A.de>\nCc: c@a.de\nbcc: d@a.de\nReply-To: e@a.de\n\n").fields
    found = compare(fields, ["Bob@a.de", "x@a.de", "d@a.de", "x@a.de"])
    assert found == Recipients(("bob@A.de", "c@a.de", "d@a.de"), ("x@a.de",), ("c@a.de",))
    field = bcc_field(["x@a.de", "y@a.de"])
    assert (field.name, field.value) == ("Bcc", "x@a.de, y@a.de")


def test_what_cannot_be_read_is_said() -> None:
    with pytest.raises(MalformedMessage):
        compare(Entity(b"To: <x\n\n").fields, [])


def test_a_message_that_was_sent_before_says_so() -> None:
    assert resent(Entity(b"To: a@b.c\nReSent-Cc: x@y.z\n\n").fields) == "ReSent-Cc"
    assert resent(Entity(b"To: a@b.c\nResent-From: x@y.z\n\n").fields) is None
