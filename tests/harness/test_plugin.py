"""A peer that somebody else writes: a program that reads and writes lines of JSON."""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smime_graph.authority.family import family
from smime_graph.authority.variants import VARIANTS
from smime_graph.errors import UsageError
from smime_graph.harness import matrix
from smime_graph.harness.cases import Stand
from smime_graph.harness.peers.drive import Missing, Refused
from smime_graph.harness.peers.find import Named, started
from smime_graph.harness.peers.peer import OPERATIONS
from smime_graph.harness.peers.plugin import PluginPeer

# An example to begin with: what it takes for valid is what has not expired.
EXAMPLE = """
import base64, datetime, json, sys
from cryptography import x509

quirk = {"operations": "validate-sign", "variants": "eku-*", "observed": "yes",
         "reason": "it asks for no purpose"}
print(json.dumps({"peer": "mailer", "version": "2.1", "operations": ["validate-sign"],
                  "quirks": [quirk]}), flush=True)
for line in sys.stdin:
    question = json.loads(line)
    certificate = x509.load_der_x509_certificate(base64.b64decode(question["certificate"]))
    at = datetime.datetime.fromisoformat(question["at"])
    answer = {"verdict": "yes"}
    if certificate.not_valid_after_utc < at:
        answer = {"verdict": "no", "detail": "it has expired"}
    print(json.dumps(answer), flush=True)
"""

QUIRK = {"operations": "sign", "variants": "*", "observed": "yes", "reason": "why"}
ABOUT = {"peer": "toy", "version": "1", "operations": OPERATIONS}


def written(folder: Path, source: str) -> str:
    path = folder / "mailer.py"
    path.write_text(f"#!{sys.executable}\n{source}")
    path.chmod(0o755)
    return str(path)


def answering(answer: object, about: object = ABOUT) -> str:
    """A program that answers everything with this line, however long it is asked."""
    line = answer if isinstance(answer, str) else json.dumps(answer)
    return (
        f"import sys\nprint({json.dumps(about)!r}, flush=True)\n"
        f"for line in sys.stdin:\n    print({line!r}, flush=True)\n"
    )


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    wanted = {"rsa-2048", "eku-server", "expired", "not-yet-valid"}
    made = family(when=datetime.now(UTC), variants=[v for v in VARIANTS if v.id in wanted])
    return Stand.of(made, tmp_path_factory.mktemp("stand"))


def ran(stand: Stand, folder: Path, source: str) -> matrix.Matrix:
    own = Stand(stand.family, folder, stand.cases)
    named = Named.parse(written(folder, source))
    with started([named], own, required=False) as (peers, skipped):
        return matrix.run(own, peers, skipped=skipped, threads=2)


def test_the_example_is_held_against_the_standards(stand: Stand, tmp_path: Path) -> None:
    found = ran(stand, tmp_path, EXAMPLE)
    assert found.peers == ("mailer 2.1",)
    asked = {one.variant: one for one in found.cells if one.observed != "-"}
    assert {name: one.observed for name, one in asked.items()} == {
        "rsa-2048": "yes",
        "eku-server": "yes",
        "expired": "no",
        "not-yet-valid": "yes",
    }
    assert {one.operation for one in asked.values()} == {"validate-sign"}
    assert asked["expired"].detail == "it has expired"
    assert asked["eku-server"].reason == "it asks for no purpose"
    (open_,) = found.unexplained
    assert open_.variant == "not-yet-valid"


ECHO = f"""
import base64, json, sys
print({json.dumps(ABOUT)!r}, flush=True)
for line in sys.stdin:
    question = json.loads(line)
    octets = {{name: base64.b64decode(question[name]) for name in
              ("certificate", "key", "pkcs12", "content", "message")}}
    assert (question["operation"] in ("verify", "decrypt")) == bool(octets["message"])
    assert question["address"] == "alice@contoso.com" and len(question["trust"]) == 1
    assert len(question["chain"]) == 1 and len(question["crls"]) == 2
    made = question["content"] if question["operation"] in ("sign", "encrypt") else ""
    print(json.dumps({{"verdict": "yes", "made": made}}), flush=True)
"""


def test_it_is_given_all_that_it_needs(stand: Stand, tmp_path: Path) -> None:
    found = ran(stand, tmp_path, ECHO)
    cells = [one for one in found.cells if one.variant == "rsa-2048"]
    assert [(one.observed, one.detail) for one in cells] == [("yes", "")] * 7


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ({"verdict": "perhaps"}, "it answers with verdict 'perhaps'"),
        ({}, "it answers with verdict None"),
        ("no", "something else than a JSON object"),
        ("[" * 100_000, "something else than a JSON object"),
        ({"verdict": "yes", "made": "%"}, "what it made is not base64"),
        ({"verdict": "yes", "made": 7}, "what it made is not base64"),
    ],
)
def test_an_answer_that_is_none_is_a_refusal(
    stand: Stand, tmp_path: Path, answer: object, detail: str
) -> None:
    found = ran(stand, tmp_path, answering(answer))
    (cell,) = (one for one in found.cells if (one.variant, one.operation) == ("expired", "import"))
    assert cell.observed == "no"
    assert detail in cell.detail


def test_one_that_ends_is_said_to_have_ended(stand: Stand, tmp_path: Path) -> None:
    found = ran(stand, tmp_path, f"import sys\nprint({json.dumps(ABOUT)!r})\n")
    assert {one.observed for one in found.cells} <= {"no", "-"}
    assert all("it has ended" in one.detail for one in found.cells if one.observed == "no")


YES = json.dumps({"verdict": "yes"})
HELLO = f"import subprocess, sys, time\nprint({json.dumps(ABOUT)!r}, flush=True)\n"


@pytest.mark.parametrize(
    "source",
    [
        # in one piece: what comes later is found when the next question is asked
        HELLO + f"import os\nfor line in sys.stdin: os.write(1, b'{YES}\\n{YES}\\n')",
        HELLO + f"while True: print({YES!r}, flush=True)",
        HELLO + f"time.sleep(0.1)\nprint({YES!r}, flush=True)\ntime.sleep(60)",
        HELLO + "while True: sys.stdout.write('x' * 65536)",
        HELLO + "time.sleep(60)",
        HELLO + "subprocess.Popen(['sleep', '60']); time.sleep(60)",
        HELLO + "subprocess.Popen(['sleep', '60'])",
    ],
    ids=["twice", "flood", "unasked", "endless", "hangs", "with a child", "leaves a child"],
)
def test_one_that_is_out_of_step_or_hangs_is_ended_and_never_believed(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr("smime_graph.harness.peers.drive.PATIENCE", 1.0)
    case = stand.cases["expired"]
    found: list[str] = []

    def ask() -> None:
        try:
            peer = PluginPeer.start(stand, tmp_path, written(tmp_path, source))
        except Missing as error:
            found.append(str(error))
            return
        time.sleep(0.3)
        for _ in range(2):
            try:
                found.append(repr(peer.ask("verify", case, bytes(1 << 20))))
            except Refused as error:
                found.append(str(error))
        peer.close()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(15)
    assert not thread.is_alive()
    assert found
    assert all("ended" in one for one in found), found


@pytest.mark.parametrize("command", ["", "'", "./'x"])
def test_what_is_no_command_is_missing(stand: Stand, tmp_path: Path, command: str) -> None:
    with pytest.raises(Missing):
        PluginPeer.start(stand, tmp_path, command)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("print('hello')", "something else than a JSON object"),
        ("", "it has ended"),
        (answering("", {"peer": "toy"}), "version is None, wanted a word"),
        (answering("", {"peer": "a b", "version": "1"}), "peer is 'a b', wanted a word"),
        (answering("", {"peer": "\x1b[31m", "version": "1"}), "wanted a word"),
        (answering("", {"peer": "../x", "version": "1"}), "wanted a word"),
        (answering("", ABOUT | {"quirks": [{"reason": "x"}]}), "does not say what it is"),
        (answering("", ABOUT | {"operations": 7}), "does not say what it is"),
        (answering("", ABOUT | {"quirks": [QUIRK | {"says": "("}]}), "is no expression"),
        (answering("", ABOUT | {"quirks": [QUIRK | {"variants": 7}]}), "field that is no text"),
    ],
)
def test_one_that_does_not_say_what_it_is_is_refused(
    stand: Stand, tmp_path: Path, source: str, text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        ran(stand, tmp_path, source)


def test_one_that_is_not_there_is_refused(stand: Stand, tmp_path: Path) -> None:
    own = Stand(stand.family, tmp_path, stand.cases)
    with (
        pytest.raises(UsageError, match=r"\./nowhere does not run"),
        started([Named.parse("./nowhere")], own, required=False),
    ):
        pass
