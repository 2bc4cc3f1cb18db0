"""harness issue, messages, run: folders of what is good and odd, and what peers make of it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from smime_graph.harness.peers import own

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


RUN = ("harness", "run", "--peer", "own", "--variant")


def test_a_run_says_what_differs_and_why(call: Run) -> None:
    ran = call(*RUN, "address-[cd]n-only")
    assert ran.status == 0
    lines = ran.out.decode().splitlines()
    assert lines[0] == "own 0.1.0: 14 asked, 11 as the standards have it"
    assert lines[2].startswith("  verify: no, not yes: a certificate without any address ties")
    assert lines[-1] == "2 variants: 3 differences, 0 unexplained"
    every = call(*RUN, "address-[cd]n-only", "--all")
    assert "address-cn-only  yyynnny" in every.out.decode().splitlines()


def test_a_run_in_json_and_what_is_refused(call: Run) -> None:
    ran = call(*RUN, "expired", "--json")
    told = json.loads(ran.out)
    assert ran.status == 0
    assert told["peers"] == ["own 0.1.0"]
    observed = {one["operation"]: one["observed"] for one in told["cells"]}
    assert observed["validate-sign"] == "no"
    assert observed["decrypt"] == "yes"
    wrong = call("harness", "run", "--peer", "outlook")
    assert wrong.status == 2
    assert "'outlook' is no peer" in wrong.err
    assert "own, openssl" in wrong.err


def test_what_nobody_can_explain_is_a_failure(call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own.OwnPeer, "quirks", ())
    ran = call(*RUN, "address-cn-only")
    assert ran.status == 1
    assert "UNEXPLAINED: " in ran.out.decode()
    assert "3 differences, 3 unexplained" in ran.out.decode()


def test_what_was_seen_is_recorded(call: Run) -> None:
    Path("tables").mkdir()
    assert call(*RUN, "expired", "--record", "tables").status == 0
    table = json.loads(Path("tables/own-0.1.json").read_bytes())
    assert table["variants"]["expired"]["import"] == "yes"
    assert table["variants"]["expired"]["sign"].startswith("no: ")
    nowhere = call(*RUN, "expired", "--record", "nowhere")
    assert nowhere.status == 2
    assert "nowhere" in nowhere.err


def test_messages_are_written_and_read_with_what_stands_beside_them(call: Run) -> None:
    ran = call("harness", "messages", "mail", "--seed", "1", "--message", "good-sealed")
    assert (ran.status, ran.out, ran.err) == (0, b"mail/index.json\n", "")
    ran = call("harness", "messages", "wrong", "--seed", "1", "--message", "from-*", "--json")
    assert json.loads(ran.out)["index"] == "wrong/index.json"
    index = json.loads(Path("wrong/index.json").read_bytes())
    assert json.loads(ran.out)["messages"] == len(index["messages"]) >= 10
    Path("password").write_text("test")
    options = ["--password-file", "password", "--at", index["at"]]
    options += ["--identity", "mail/bob.p12", "--trust", "mail/trust.pem"]
    assert b"the figures" in call("unseal", "mail/good-sealed.eml", *options).out
    refused = call("unseal", "wrong/from-another.eml", *options)
    assert refused.status == 1
    assert "alice@contoso.com" in refused.err


def test_what_no_message_fits_is_refused(call: Run) -> None:
    ran = call("harness", "messages", "mail", "--message", "nothing")
    assert ran.status == 2
    assert "no message fits 'nothing'" in ran.err
    assert not Path("mail").exists()


def test_a_peer_that_is_required_has_to_be_there(
    call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    skipped = call("harness", "run", "--variant", "rsa-2048")
    assert skipped.status == 0
    text = skipped.out.decode()
    assert "openssl: skipped: openssl is not installed: apt-get install openssl" in text
    monkeypatch.setenv("SMIME_GRAPH_REQUIRE_PEERS", "1")
    required = call("harness", "run", "--variant", "rsa-2048")
    assert required.status == 2
    assert "openssl is not installed" in required.err
    monkeypatch.delenv("SMIME_GRAPH_REQUIRE_PEERS")
    named = call("harness", "run", "--peer", "nss", "--variant", "rsa-2048")
    assert named.status == 2
    assert "the peer nss cannot be had" in named.err


def test_a_run_is_written_for_a_ci_and_replaces_no_key(call: Run) -> None:
    assert call(*RUN, "x25519", "--junit", "run.xml").status == 0
    (suite,) = ElementTree.parse("run.xml").getroot()
    assert suite.attrib == {"name": "own 0.1.0", "tests": "7", "failures": "0"}
    assert [one.get("name") for one in suite if one.find("skipped") is not None] == ["verify"]
    key = Path("key.pem")
    key.write_text("-----BEGIN PRIVATE KEY-----\n")
    for option in ("--junit", "-o", "--html"):
        refused = call(*RUN, "x25519", option, "key.pem")
        assert refused.status == 2
        assert "holds a private key" in refused.err
    assert key.read_text() == "-----BEGIN PRIVATE KEY-----\n"
