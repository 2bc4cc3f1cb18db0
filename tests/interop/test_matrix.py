"""The matrix: every row of the table is in it, and MATRIX.md shows what ran.

scripts/matrix writes it. Peers that are missing here, or there in another version, are not
compared; with REQUIRE_PEERS=1 all of them have to be there, and a part of the run is not enough.
"""

from __future__ import annotations

import os

import pytest

from smime_graph import algorithms
from smime_graph.algorithms import Digest

from .cases import COMPRESSION, ENCRYPTION, ROWS, SIGNING
from .conftest import PEERS, tried
from .matrix import DIRECTIONS, FILE, Matrix, as_markdown, from_markdown

# Rows that no peer that can be installed makes or reads, and where they are shown instead
ELSEWHERE = {
    "shake256": "written by no peer here; tests/vectors",
    "hkdf-sha384": "KDF of a KEMRecipientInfo, where we write SHA-256; tests/vectors",
    "hkdf-sha512": "KDF of a KEMRecipientInfo, where we write SHA-256; tests/vectors",
}
INSIDE = {
    "hkdf-sha256": "ml-kem-768",  # the KDF that we write in its KEMRecipientInfo
    "aes256-wrap": "aes256-wrap KEK",
}


def test_every_row_of_the_table_is_tried_with_a_peer_or_shown_elsewhere() -> None:
    tried = {part for case in SIGNING for part in (*case.row.split("+"), case.digest)}
    tried |= {part for case in ENCRYPTION for part in (case.row, case.cipher, case.agreement)}
    tried |= {COMPRESSION, *(row for row, case in INSIDE.items() if case in ROWS)}
    names = {row.name for row in algorithms.TABLE}
    assert names - tried == set(ELSEWHERE)
    assert len(set(ROWS)) == len(ROWS)
    assert {row.name for row in algorithms.rows(Digest)} <= tried | set(ELSEWHERE)


def test_the_file_shows_the_matrix_that_ran(matrix: Matrix) -> None:
    complete = {
        label: cells
        for label, cells in matrix.columns().items()
        if matrix.attempted(label)
        == {(row, way) for way in DIRECTIONS for row in tried(matrix.names[label], way)}
    }
    if os.environ.get("REQUIRE_PEERS") == "1":
        assert {matrix.names[label] for label in complete} == set(PEERS)
    if not complete:
        pytest.skip("no peer was tried with every row in this run")
    failed = [key for key, outcome in matrix.outcomes.items() if outcome.state == "failed"]
    if os.environ.get("SMIME_GRAPH_WRITE_MATRIX"):
        assert not failed
        # what another run showed, of peers of another version, stays
        kept = {
            label: {row: cells.get(row, "") for row in ROWS}
            for label, cells in from_markdown(FILE.read_text("utf-8")).items()
        }
        columns = dict(sorted({**kept, **complete}.items(), key=lambda one: one[0].casefold()))
        FILE.write_text(as_markdown(columns, ROWS), "utf-8")
    shown = from_markdown(FILE.read_text("utf-8"))
    for label in complete.keys() & shown.keys():
        assert shown[label] == complete[label], f"{label}: run scripts/matrix"
    assert all(list(cells) == list(ROWS) for cells in shown.values()), "run scripts/matrix"
