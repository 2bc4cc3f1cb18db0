"""Where the vectors are, and what is said about them at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"


SUMMARY = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SUMMARY] = []


@pytest.fixture(scope="session")
def summary(request: pytest.FixtureRequest) -> list[str]:
    """Lines to print when the run is over."""
    return request.config.stash[SUMMARY]


@pytest.fixture(scope="session")
def vectors() -> Path:
    if not (VECTORS / "MANIFEST.csv").is_file():
        pytest.skip(f"the vectors are not at {VECTORS}")
    return VECTORS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = terminalreporter.config.stash.get(SUMMARY, [])
    if lines:
        terminalreporter.section("vectors")
        for line in lines:
            terminalreporter.write_line(line)
