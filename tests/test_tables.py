"""The tables beside the code say what the code says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .tables import TABLES, TITLES, cited


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_table_is_what_the_code_says(path: Path) -> None:
    made = TABLES[path]()
    if os.environ.get("SMIME_GRAPH_WRITE_TABLES"):
        path.write_text(made, "utf-8")
    assert path.read_text("utf-8") == made, "run scripts/tables"


def test_no_standard_is_without_a_title_and_no_title_without_a_standard() -> None:
    assert cited().keys() == TITLES.keys()
