"""harness issue: a folder of certificates, good and odd."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run

pytestmark = pytest.mark.usefixtures("here")


def test_a_family_is_written_and_said_where(call: Run) -> None:
    ran = call("harness", "issue", "certificates", "--seed", "1", "--variant", "eku-*")
    assert ran.status == 0
    assert ran.out == b"certificates/index.json\n"
    index = json.loads(Path("certificates/index.json").read_bytes())
    assert {v["group"] for v in index["variants"]} == {"purpose"}
    server = next(v for v in index["variants"] if v["id"] == "eku-server")
    assert server["expected"]["sign"] == ["pki.usage.extended-key-usage"]


def test_a_seed_makes_the_same_octets(call: Run) -> None:
    for folder in ("one", "two"):
        assert call("harness", "issue", folder, "--seed", "1", "--variant", "rsa-2048").status == 0
    assert Path("one/rsa-2048.der").read_bytes() == Path("two/rsa-2048.der").read_bytes()


def test_json_and_what_is_refused(call: Run) -> None:
    ran = call("harness", "issue", "made", "--variant", "p256*", "--json")
    assert json.loads(ran.out)["index"] == "made/index.json"
    again = call("harness", "issue", "made")
    assert again.status == 2
    assert "made is not empty" in again.err
    none = call("harness", "issue", "other", "--variant", "nothing")
    assert none.status == 2
    assert "no variant fits" in none.err
    assert not Path("other").exists()
