"""What came from elsewhere reaches a terminal without what a terminal would act upon."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smime_graph.text import printable


@pytest.mark.parametrize(
    "hidden",
    ["\x00", "\x07", "\x1b", "\r", "\n", "\t", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b"]
    + ["\ufeff", "\u2028", "\ue000", "\ud800"],
    ids=ascii,
)
def test_what_moves_or_hides_text_is_replaced(hidden: str) -> None:
    assert printable(f"a{hidden}b") == "a\ufffdb"
    assert printable(f"a{hidden}{hidden}b", other="") == "ab"


def test_every_script_stays() -> None:
    text = "Grüße, Ελλάδα, Україна, 日本語, العربية, \N{GRINNING FACE}"
    assert printable(text) == text


@given(st.text())
def test_nothing_that_cannot_be_shown_is_left_and_no_place_moves(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
    assert all(one in (was, "\ufffd") for one, was in zip(shown, text, strict=True))
