"""The short form of `scripts/prove outbox-speed`; nothing here is timed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .speed import VIAS, a_write, measured, shares, told


@pytest.mark.parametrize("via", VIAS)
def test_small_messages_go_out_and_memory_stays_flat(tmp_path: Path, via: Any) -> None:
    found = measured(tmp_path, via, 200)
    assert found.flat(), found.held
    whose = shares(tmp_path, via, 20)
    assert sum(whose.values()) == pytest.approx(1)
    text = told(via, 200, found, whose, a_write(tmp_path))
    print(text)
    assert "HTTP client and event loop" in text
