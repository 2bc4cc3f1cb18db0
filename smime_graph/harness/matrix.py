"""The matrix: every variant, every operation, every peer; what was wanted, and what came of it.

What is wanted is what the standards say, as the catalogue has it. Where a peer does otherwise the
cell has a reason, from the peer's `quirks`; without one it is unexplained. What a version of a peer
was seen to do stands in a table in `observed`: a cell that is otherwise now is unexplained, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from .. import algorithms
from ..algorithms import KeyKind
from ..authority.variants import Variant
from ..errors import UsageError
from ..files import write
from ..text import printable
from .cases import Case, Stand
from .peers.drive import Refused
from .peers.peer import (
    OPERATIONS,
    Answer,
    Operation,
    Peer,
    Untried,
    Verdict,
)

# variants that break nothing: what one peer makes with them another should read
PAIRED = ("rsa-2048", "p256", "p384", "ed25519", "x25519", "ml-dsa-65", "ml-kem-768")
_MALFORMED = "pki.certificate.malformed"
_OF_ADDRESS = "pki.address."
# what a certificate says of itself; some of it may be said of its issuers in the same words
_OF_KEY = (
    "pki.usage.key-usage",
    "pki.usage.key-type",
    "pki.usage.extended-key-usage",
    "pki.address.mismatch",
    "alg.key.weak",
    _MALFORMED,
)
_OWN = ("pki.path.expired", "pki.path.not-yet-valid", "pki.certificate.critical-extension")


_OF_THIS_RUN = re.compile(
    r"-?\b0x[0-9a-fA-F]+\b|\b[0-9A-F]{40}\b"
    r"|\b\d{4}-\d\d-\d\d[T ][0-9:]+([Z+][0-9:]*)?|\b\d{14}(GMT[+0-9:]+)?"
)


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of one operation with one variant at one peer (its name and version).

    `observed` and `expected` are "yes", "no" or "-": no such operation, or nothing to try it with.
    `detail` is the peer's words, `rules` are those that they may mean. `reason` says why the peer
    does not do what is expected; empty where it does, and where nobody knows. `recorded` is what
    this version did before, empty where nothing is recorded of it.
    """

    variant: str
    operation: Operation
    peer: str
    observed: Verdict
    detail: str
    expected: Verdict
    reason: str = ""
    rules: tuple[str, ...] = ()
    recorded: Verdict | str = ""

    @property
    def is_changed(self) -> bool:
        return self.recorded not in ("", self.observed)

    @property
    def is_difference(self) -> bool:
        return self.is_changed or (self.observed != self.expected and self.observed != "-")

    @property
    def is_unexplained(self) -> bool:
        return self.is_changed or (self.is_difference and not self.reason)


@dataclass(frozen=True, slots=True)
class Pair:
    """What `reader` makes of what `maker` made with a variant's certificate: "verify"s it where it
    was signed, "decrypt"s it where it was encrypted. The rest is as in a Cell.
    """

    variant: str
    operation: Operation
    maker: str
    reader: str
    observed: Verdict
    detail: str
    expected: Verdict = "yes"
    reason: str = ""

    @property
    def is_difference(self) -> bool:
        return self.observed == "no"

    @property
    def is_unexplained(self) -> bool:
        return self.is_difference and not self.reason


@dataclass(frozen=True, slots=True)
class Matrix:
    """What a run found. `peers` are names with versions, `skipped` the others, each with why."""

    family: str
    at: datetime
    variants: tuple[Variant, ...] = field(repr=False)
    cells: tuple[Cell, ...] = field(repr=False)
    pairs: tuple[Pair, ...] = field(repr=False)
    peers: tuple[str, ...]
    skipped: Mapping[str, str]

    @property
    def everything(self) -> tuple[Cell | Pair, ...]:
        return (*self.cells, *self.pairs)

    @property
    def differences(self) -> tuple[Cell | Pair, ...]:
        return tuple(one for one in self.everything if one.is_difference)

    @property
    def unexplained(self) -> tuple[Cell | Pair, ...]:
        return tuple(one for one in self.everything if one.is_unexplained)

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {
            "family": self.family,
            "at": self.at.isoformat(),
            "peers": list(self.peers),
            "skipped": dict(self.skipped),
            "variants": [
                {"id": one.id, "group": one.group, "wrong": one.wrong, "rule": one.rule}
                for one in self.variants
            ],
            "cells": [asdict(one) | {"unexplained": one.is_unexplained} for one in self.cells],
            "pairs": [asdict(one) | {"unexplained": one.is_unexplained} for one in self.pairs],
            "differences": len(self.differences),
            "unexplained": len(self.unexplained),
        }


def junit(matrix: Matrix) -> str:
    """A suite for each peer, a case for each cell; what is unexplained is a failure."""
    suites = []
    for peer in matrix.peers:
        cells = [one for one in matrix.cells if one.peer == peer]
        failures = sum(one.is_unexplained for one in cells)
        cases = "".join(map(_testcase, cells))
        head = f"<testsuite name={quoteattr(peer)} tests='{len(cells)}' failures='{failures}'>"
        suites.append(f"{head}{cases}</testsuite>")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>{"".join(suites)}</testsuites>\n'


def _testcase(cell: Cell) -> str:
    name = f"<testcase classname={quoteattr(cell.variant)} name={quoteattr(cell.operation)}"
    if cell.is_unexplained:
        wanted = f"{cell.observed}, not {cell.recorded or cell.expected}"
        text = escape(printable(cell.detail))
        return f"{name}><failure message={quoteattr(wanted)}>{text}</failure></testcase>"
    if cell.observed == "-":
        return f"{name}><skipped message={quoteattr(printable(cell.detail))}/></testcase>"
    return f"{name}/>"


# --- what the standards say -----------------------------------------------------------------------


def expected(variant: Variant, operation: Operation) -> Verdict:
    """Whether software that keeps to the standards does this with the variant.

    A certificate is judged for an address where there is a message, and by its CRLs wherever it is
    another's. Whoever signs looks at no path; and what was encrypted is read with any key that was
    ever one's own.
    """
    kind = _kind_of(variant)
    match operation:
        case "import":
            return "no" if _MALFORMED in (*variant.sign, *variant.encrypt) else "yes"
        case "validate-sign":
            return _verdict(_without_address((*variant.sign, *variant.revocation)))
        case "validate-encrypt":
            return _verdict(_without_address((*variant.encrypt, *variant.revocation)))
        case "sign":
            return _verdict(_own(variant, variant.sign))
        case "verify":
            return _verdict((*variant.sign, *variant.revocation)) if kind.signs else "-"
        case "encrypt":
            return _verdict(variant.encrypt)
        case "decrypt":
            return "yes" if kind.encrypts else "-"


def _verdict(codes: Sequence[str]) -> Verdict:
    return "no" if codes else "yes"


def _without_address(codes: Iterable[str]) -> list[str]:
    return [one for one in codes if not one.startswith(_OF_ADDRESS)]


def _own(variant: Variant, codes: Iterable[str]) -> list[str]:
    """Those that the certificate has by itself, and not by its issuers."""
    if variant.recipe.issuer != "issuing":
        return [one for one in codes if one in _OF_KEY]
    return [one for one in codes if one in (*_OF_KEY, *_OWN)]


def _kind_of(variant: Variant) -> KeyKind:
    kinds = algorithms.rows(KeyKind)
    name = variant.recipe.key
    return next(kind for kind in kinds if any(one.name == name for one in kind.parameter_sets))


# --- what was observed before ---------------------------------------------------------------------


def table_name(peer: str, version: str) -> str:
    """Of the file: a peer does the same in every release of 3.0, and not in 3.1."""
    return f"{peer}-{'.'.join(version.split('.')[:2])}.json"


def recorded(peer: str, version: str) -> Mapping[str, Mapping[str, str]]:
    """The verdicts of a peer's version by variant and operation, each with its words behind it; a
    version that was never recorded has none.
    """
    table = files(__package__).joinpath("observed", table_name(peer, version))
    if not table.is_file():
        return {}
    found: Mapping[str, Mapping[str, str]] = json.loads(table.read_text("utf-8"))["variants"]
    return found


def record(matrix: Matrix, folder: Path) -> list[Path]:
    """Write a table for each peer into the folder; variants that were not asked keep theirs.

    Raises UsageError where there is no such folder, or it cannot be written.
    """
    written = []
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="tables are written into one that is there")
    for label in matrix.peers:
        name, _, version = label.partition(" ")
        path = folder / table_name(name, version)
        rows: dict[str, dict[str, str]] = {}
        if path.exists():
            rows = json.loads(path.read_text("utf-8"))["variants"]
        for cell in matrix.cells:
            if cell.peer == label:
                words = f": {cell.detail}" if cell.detail else ""
                rows.setdefault(cell.variant, {})[cell.operation] = f"{cell.observed}{words}"
        lines = [f" {json.dumps(variant)}: {json.dumps(row)}" for variant, row in rows.items()]
        head = f'"peer": {json.dumps(name)}, "version": {json.dumps(version)}, "variants": '
        rows_text = ",\n".join(lines)
        text = f"{{{head}{{\n{rows_text}\n}}}}\n"
        try:
            write(path, text.encode())
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error
        written.append(path)
    return written


# --- the run --------------------------------------------------------------------------------------


def run(
    stand: Stand,
    peers: Sequence[Peer],
    *,
    skipped: Mapping[str, str],
    threads: int,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Matrix:
    """Ask every peer about every case, some at once; then each to read what the others made."""
    cases = list(stand.cases.values())
    made: dict[tuple[str, str, Operation], bytes] = {}
    cells: dict[tuple[str, str], list[Cell]] = {}
    labels = [f"{one.name} {one.version}" for one in peers]
    jobs = [(case, peer) for case in cases for peer in peers]
    with ThreadPoolExecutor(threads) as pool:
        try:
            results = pool.map(lambda job: _ask_all(job[1], job[0]), jobs)
            for done, ((case, peer), answers) in enumerate(zip(jobs, results, strict=True), 1):
                cells[case.id, _label(peer)] = list(_cells(case, peer, answers))
                for operation, answer in answers.items():
                    if answer.made:
                        made[case.id, _label(peer), operation] = answer.made
                progress(done, len(jobs))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C waits for none that has not begun
            raise
    ordered = [cell for case in cases for label in labels for cell in cells[case.id, label]]
    variants = tuple(case.variant for case in cases)
    pairs = tuple(_pairs(stand, peers, made))
    return Matrix(
        stand.family.name, stand.at, variants, tuple(ordered), pairs, tuple(labels), skipped
    )


def _label(peer: Peer) -> str:
    return f"{peer.name} {peer.version}"


def _ask(peer: Peer, operation: Operation, case: Case, message: bytes = b"") -> Answer:
    try:
        return Answer("yes", "", peer.ask(operation, case, message))
    except Refused as error:
        return Answer("no", _plain(str(error), case))
    except Untried as error:
        return Answer("-", str(error))


def _plain(said: str, case: Case) -> str:
    """Without paths, serial numbers and times: the same words in every run."""
    for path in (case.folder, case.folder.parent):
        said = said.replace(f"{path}/", "").replace(str(path), "FOLDER")
    return _OF_THIS_RUN.sub("...", said)


def _ask_all(peer: Peer, case: Case) -> dict[Operation, Answer]:
    answers: dict[Operation, Answer] = {}
    for operation in OPERATIONS:
        message = {"verify": case.signature, "decrypt": case.envelope}.get(operation)
        if message == b"":
            answers[operation] = Answer("-", "no message can be made with this certificate")
        else:
            answers[operation] = _ask(peer, operation, case, message or b"")
    return answers


def _cells(case: Case, peer: Peer, answers: Mapping[Operation, Answer]) -> Iterator[Cell]:
    before = recorded(peer.name, peer.version).get(case.id, {})
    for operation, answer in answers.items():
        wanted = expected(case.variant, operation)
        differs = answer.verdict not in (wanted, "-")
        reason = _reason(peer, operation, case.id, answer) if differs else ""
        rules = dict.fromkeys(
            rule
            for one in peer.words
            if answer.verdict == "no" and re.search(one.says, answer.detail)
            for rule in one.rules
        )
        was = before.get(operation, "").partition(":")[0]
        yield Cell(
            case.id,
            operation,
            _label(peer),
            answer.verdict,
            answer.detail,
            wanted,
            reason,
            tuple(rules),
            was,
        )


def _reason(peer: Peer, operation: Operation, variant: str, answer: Answer) -> str:
    held = (one for one in peer.quirks if one.holds_of(peer.version))
    return next((one.reason for one in held if one.covers(operation, variant, answer)), "")


def _pairs(
    stand: Stand, peers: Sequence[Peer], made: Mapping[tuple[str, str, Operation], bytes]
) -> Iterator[Pair]:
    steps: tuple[tuple[Operation, Operation], ...] = (("sign", "verify"), ("encrypt", "decrypt"))
    for variant in PAIRED:
        if (case := stand.cases.get(variant)) is None:
            continue
        for making, reading in steps:
            for maker in peers:
                message = made.get((variant, _label(maker), making), b"")
                for reader in peers:
                    if not message or reader is maker:
                        continue
                    answer = _ask(reader, reading, case, message)
                    reason = ""
                    if answer.verdict == "no":
                        reason = _reason(reader, reading, variant, answer)
                    yield Pair(
                        variant,
                        reading,
                        _label(maker),
                        _label(reader),
                        answer.verdict,
                        answer.detail,
                        "yes",
                        reason,
                    )
