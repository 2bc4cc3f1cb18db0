"""The short form of `scripts/prove fuzz`, with seeds that are the same each day."""

from __future__ import annotations

from pathlib import Path

import pytest

from .fuzz import World, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world() -> World:
    return World.make()


@pytest.mark.parametrize("seed", [1_000, 2_000, 3_000])
def test_changed_messages_and_files_give_a_value_or_an_error_of_ours(
    world: World, seed: int, tmp_path: Path
) -> None:
    assert len(world.signed) >= 4
    faults = [
        f"seed {number}: {fault.reader}: {fault.text}"
        for number, fault in run(world, seed, tmp_path / "input", inputs=100)
    ]
    assert faults == []
