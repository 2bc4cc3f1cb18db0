"""The matrix: what is wanted of whom, what is a difference, and what nobody can explain."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import pytest

from smime_graph import decrypt, verify
from smime_graph.authority.family import family
from smime_graph.authority.variants import VARIANTS
from smime_graph.harness import matrix
from smime_graph.harness.cases import CONTENT, Case, Stand, enveloped_mail, signed_mail
from smime_graph.harness.peers.drive import Refused
from smime_graph.harness.peers.own import OwnPeer
from smime_graph.harness.peers.peer import (
    OPERATIONS,
    Operation,
    Quirk,
    Untried,
    Verdict,
    Words,
)

BY_ID = {one.id: one for one in VARIANTS}


def stand_of(folder: Path, only: str) -> Stand:
    return Stand.of(family(when=datetime.now(UTC), only=only), folder)


@dataclass
class Toy:
    """Does all that it is asked, but for what it refuses; with words."""

    refuses: Sequence[Operation] = ()
    lacks: Sequence[Operation] = ()
    quirks: Sequence[Quirk] = ()
    words: Sequence[Words] = ()
    version: str = "1.0.3"
    name: ClassVar[str] = "toy"
    asked: list[tuple[Operation, str]] = field(default_factory=list)

    def ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        self.asked.append((operation, case.id))
        if operation in self.refuses:
            raise Refused(f"no purpose in {case.folder}/certificate.pem")
        if operation in self.lacks:
            raise Untried("a toy does not")
        assert bool(message) == (operation in ("verify", "decrypt"))
        return CONTENT if operation in ("sign", "encrypt") else b""

    def close(self) -> None:
        pass


def ran(folder: Path, only: str, *peers: Toy) -> matrix.Matrix:
    return matrix.run(stand_of(folder, only), peers, skipped={"other": "not here"}, threads=2)


@pytest.mark.parametrize(
    ("variant", "wanted"),
    [
        ("rsa-2048", "yes yes yes yes yes yes yes"),
        ("rsa-encrypt", "yes no yes no no yes yes"),
        ("ed25519", "yes yes no yes yes no -"),
        ("x25519", "yes no yes no - yes yes"),
        ("expired", "yes no no no no no yes"),  # what was encrypted once is still read
        ("issuer-expired", "yes no no yes no no yes"),  # whoever signs looks at no path
        ("untrusted-root", "yes no no yes no no yes"),
        ("revoked", "yes no no yes no yes yes"),  # whoever encrypts has no CRLs here
        ("address-other", "yes yes yes no no no yes"),  # no address where there is no message
        ("duplicate-extension", "no no no no no no yes"),
        ("critical-unknown", "yes no no no no no yes"),
        ("issuer-critical-unknown", "yes no no yes no no yes"),
    ],
)
def test_what_is_wanted_is_what_the_standards_say(variant: str, wanted: str) -> None:
    found = [matrix.expected(BY_ID[variant], operation) for operation in OPERATIONS]
    assert found == wanted.split()


def test_whoever_keeps_to_the_standards_makes_no_difference(tmp_path: Path) -> None:
    found = ran(tmp_path, "rsa-2048", Toy())
    assert [(one.operation, one.observed, one.expected) for one in found.cells] == [
        (operation, "yes", "yes") for operation in OPERATIONS
    ]
    assert found.differences == ()
    assert found.peers == ("toy 1.0.3",)
    assert found.skipped == {"other": "not here"}


def test_a_difference_is_explained_by_a_quirk_or_by_nothing(tmp_path: Path) -> None:
    because = Quirk("val*", "rsa-* eku-*", "no", "purposes are not known to toys", "no purpose")
    words = (Words("purpose", ("8550-4.4.4",)), Words("^purpose", ("5280-6.1",)))
    toy = Toy(refuses=("validate-sign", "sign"), lacks=("import",), quirks=[because], words=words)
    cells = {one.operation: one for one in ran(tmp_path, "rsa-2048", toy).cells}
    explained = cells["validate-sign"]
    assert explained.is_difference
    assert not explained.is_unexplained
    assert explained.reason == because.reason
    assert explained.rules == ("8550-4.4.4",)
    assert explained.detail == "no purpose in certificate.pem"  # no path of this run
    assert cells["sign"].is_unexplained
    assert cells["import"].observed == "-"
    assert not cells["import"].is_difference
    assert not cells["verify"].is_difference


@pytest.mark.parametrize(
    "quirk",
    [
        Quirk("sign", "rsa-2048", "yes", "of what it does"),
        Quirk("sign", "p256", "no", "of another variant"),
        Quirk("verify", "rsa-2048", "no", "of another operation"),
        Quirk("sign", "rsa-2048", "no", "in other words", "expired"),
    ],
    ids=lambda quirk: quirk.reason,
)
def test_a_quirk_explains_nothing_else(tmp_path: Path, quirk: Quirk) -> None:
    found = ran(tmp_path, "rsa-2048", Toy(refuses=["sign"], quirks=[quirk]))
    assert [one.is_unexplained for one in found.differences] == [True]


def test_what_is_done_that_should_be_refused_is_a_difference_as_well(tmp_path: Path) -> None:
    found = ran(tmp_path, "expired", Toy())
    operations = [one.operation for one in found.cells if one.is_unexplained]
    assert operations == ["validate-sign", "validate-encrypt", "sign", "verify", "encrypt"]


def test_another_verdict_than_was_recorded_of_this_version_is_unexplained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = tmp_path / "observed"
    tables.mkdir()
    monkeypatch.setattr(matrix, "files", lambda _: tmp_path)

    def observed(number: int, toy: Toy) -> matrix.Matrix:
        folder = tmp_path / str(number)
        folder.mkdir()
        return ran(folder, "rsa-2048", toy)

    quirk = Quirk("sign", "*", "no", "it never signs")
    matrix.record(observed(1, Toy()), tables)
    table = json.loads((tables / "toy-1.0.json").read_text())
    assert table["variants"]["rsa-2048"]["sign"] == "yes"
    assert (table["peer"], table["version"]) == ("toy", "1.0.3")
    (cell,) = observed(2, Toy(refuses=["sign"], quirks=[quirk])).differences
    assert isinstance(cell, matrix.Cell)
    assert (cell.recorded, cell.observed) == ("yes", "no")
    assert cell.is_unexplained  # although it has a reason: nobody has seen it do that
    other = Toy(refuses=["sign"], quirks=[quirk], version="1.1.0")
    assert observed(3, other).unexplained == ()  # of which nothing is recorded
    again = observed(4, Toy(refuses=["sign"], quirks=[quirk]))
    (path,) = matrix.record(again, tables)
    assert json.loads(path.read_text())["variants"]["rsa-2048"]["sign"].startswith("no: no purpose")
    assert observed(5, Toy(refuses=["sign"], quirks=[quirk])).unexplained == ()


def test_what_one_makes_the_others_read(tmp_path: Path) -> None:
    one, other = Toy(version="1"), Toy(version="2", refuses=["decrypt"])
    found = ran(tmp_path, "p256", one, other)
    assert [(p.operation, p.maker, p.reader, p.observed) for p in found.pairs] == [
        ("verify", "toy 1", "toy 2", "yes"),
        ("verify", "toy 2", "toy 1", "yes"),
        ("decrypt", "toy 1", "toy 2", "no"),
        ("decrypt", "toy 2", "toy 1", "yes"),
    ]
    assert [p.is_unexplained for p in found.pairs] == [False, False, True, False]
    assert found.unexplained[-1] == found.pairs[2]


def test_progress_ends_with_all(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    stand = stand_of(tmp_path, "eku-s*")
    toys = [Toy(version="1"), Toy(version="2")]
    matrix.run(
        stand, toys, skipped={}, threads=3, progress=lambda done, of: seen.append((done, of))
    )
    assert seen == [(1, 2), (2, 2)]


def test_json_has_it_all(tmp_path: Path) -> None:
    found = ran(tmp_path, "eku-server", Toy())
    told = json.loads(json.dumps(found.to_json()))
    assert [one["id"] for one in told["variants"]] == ["eku-server"]
    assert told["unexplained"] == sum(one["unexplained"] for one in told["cells"]) == 5
    assert set(told["cells"][0]) >= {"variant", "operation", "peer", "observed", "expected"}


def test_messages_of_a_case_are_good(tmp_path: Path) -> None:
    stand = stand_of(tmp_path, "p256")
    case = stand.cases["p256"]
    opened = verify(
        signed_mail(case.signature, case.signing.digest), trust=stand.family.trust, at=stand.at
    )
    assert opened.content.replace(b"\r\n", b"\n") == CONTENT.replace(b"\r\n", b"\n")
    assert decrypt(enveloped_mail(case.envelope), identities=[case.identity]).content == CONTENT


def test_no_message_is_made_with_a_key_that_cannot(tmp_path: Path) -> None:
    toy = Toy()
    found = ran(tmp_path, "x25519", toy)
    (cell,) = (one for one in found.cells if one.operation == "verify")
    verdict: Verdict = "-"
    assert (cell.observed, cell.expected) == (verdict, verdict)
    assert ("verify", "x25519") not in toy.asked


def test_this_package_does_what_the_standards_say_or_it_is_known_why(tmp_path: Path) -> None:
    some = [one for one in VARIANTS if len(one.id) % 6 == 0]
    stand = Stand.of(family(when=datetime.now(UTC), variants=some), tmp_path)
    found = matrix.run(stand, [OwnPeer.start(stand, tmp_path)], skipped={}, threads=1)
    assert found.unexplained == ()
    assert sum(one.observed == "yes" for one in found.cells) > 5 * len(some) / 2


def test_junit_has_a_failure_for_what_is_unexplained(tmp_path: Path) -> None:
    found = ran(tmp_path, "rsa-2048", Toy(refuses=["sign"], lacks=["verify"]))
    (suite,) = ElementTree.fromstring(matrix.junit(found))
    assert suite.attrib == {"name": "toy 1.0.3", "tests": "7", "failures": "1"}
    (failed,) = suite.iter("failure")
    assert (failed.get("message"), failed.text) == (
        "no, not yes",
        "no purpose in certificate.pem",
    )
    (skipped,) = suite.iter("skipped")
    assert skipped.get("message") == "a toy does not"


def test_nothing_is_begun_after_it_was_stopped(tmp_path: Path) -> None:
    class Slow(Toy):
        def ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
            time.sleep(0.2 if operation == "import" else 0)
            return super().ask(operation, case, message)

    toy = Slow()

    def stop(done: int, _: int) -> None:
        raise KeyboardInterrupt

    stand = stand_of(tmp_path, "eku-*")
    with pytest.raises(KeyboardInterrupt):
        matrix.run(stand, [toy], skipped={}, threads=1, progress=stop)
    assert len({case for _, case in toy.asked}) < len(stand.cases)
