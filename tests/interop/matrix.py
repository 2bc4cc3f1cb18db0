"""The matrix of what was tried with which peer: recorded as the tests run, shown at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

# "made": by us, read by the peer. "read": by us, made by the peer.
Direction = Literal["made", "read"]
DIRECTIONS: tuple[Direction, ...] = ("made", "read")

FILE = Path(__file__).with_name("MATRIX.md")

LEGEND = (
    "`↔` the peer reads what we make and we read what it makes; `→` only the first, `←` only\n"
    "the second; empty: the peer does not have it. Wherever there is a mark, the same message\n"
    "with one bit changed did not give its content."
)


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt; `reason` says why it is not "ok"."""

    state: Literal["ok", "fails", "failed"]
    reason: str = ""


@dataclass
class Matrix:
    """Outcomes by row, label of the peer, and direction; missing peers, with what to install."""

    rows: tuple[str, ...] = ()
    outcomes: dict[tuple[str, str, Direction], Outcome] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # of the peers' drivers, by label
    newer: list[str] = field(default_factory=list)  # what is known to fail, and did not

    def record(self, row: str, label: str, direction: Direction, outcome: Outcome) -> None:
        self.outcomes[row, label, direction] = outcome

    def attempted(self, label: str) -> set[tuple[str, Direction]]:
        return {(row, direction) for row, who, direction in self.outcomes if who == label}

    def labels(self) -> list[str]:
        return sorted({label for _, label, _ in self.outcomes}, key=str.casefold)

    def cell(self, row: str, label: str) -> str:
        good = {
            direction
            for direction in DIRECTIONS
            if (found := self.outcomes.get((row, label, direction))) and found.state == "ok"
        }
        return {2: "↔", 0: ""}.get(len(good), "→" if "made" in good else "←")

    def columns(self) -> dict[str, dict[str, str]]:
        """The cells of each peer by row, empty ones included."""
        return {label: {row: self.cell(row, label) for row in self.rows} for label in self.labels()}

    def reasons(self) -> Iterator[tuple[str, str, list[str]]]:
        """Label and reason of what is not in the matrix, with the attempts that it ended."""
        found: dict[tuple[str, str], list[str]] = {}
        for (row, label, direction), outcome in self.outcomes.items():
            if outcome.state != "ok":
                verb = {"fails": "", "failed": "FAILED: "}[outcome.state]
                found.setdefault((label, verb + outcome.reason), []).append(f"{direction} {row}")
        for (label, reason), attempts in sorted(found.items()):
            yield label, reason, attempts


def as_markdown(columns: Mapping[str, Mapping[str, str]], rows: Iterable[str]) -> str:
    """What stands in MATRIX.md."""
    labels = list(columns)
    lines = ["| | " + " | ".join(labels) + " |", "| --- |" + " :-: |" * len(labels)]
    for row in rows:
        cells = " | ".join(columns[label][row] for label in labels)
        lines += [f"| {row} | {cells} |"]
    return "\n".join(["# Peers", "", LEGEND, "", *lines, ""])


def as_text(columns: Mapping[str, Mapping[str, str]], rows: Sequence[str]) -> list[str]:
    """The same in columns, for a terminal."""
    width = max((len(row) for row in rows), default=0)
    labels = list(columns)
    lines = [" " * width + "  " + "  ".join(labels)]
    for row in rows:
        cells = "  ".join((columns[label][row] or "·").center(len(label)) for label in labels)
        lines.append(f"{row.ljust(width)}  {cells}".rstrip())
    return lines


def from_markdown(text: str) -> dict[str, dict[str, str]]:
    """The columns in MATRIX.md. ValueError where the table is not there."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("|")]
    if len(lines) < 2:
        raise ValueError(f"{FILE.name} has no table")
    table = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    labels = table[0][1:]
    return {
        label: {cells[0]: cells[number] for cells in table[2:]}
        for number, label in enumerate(labels, 1)
    }
