"""doctor says what is configured, what does not fit and what to do next; it changes nothing."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smime_graph.emulator import Emulator
from smime_graph.emulator.faults import Fault

from .conftest import PASSWORD, Result, Run, state

SIGNER = ("--signer", "alice.p12", "--password-file", "password")
ALL = (*SIGNER, "--recipient", "bob.pem", "--trust", "roots.pem", "--identity", "bob.key")


def jwt(**claims: Any) -> str:
    usual = {"aud": "http://localhost", "exp": time.time() + 3600, "scp": "Mail.Send Mail.Read"}
    parts = [{"alg": "none"}, {"upn": "alice@contoso.com"} | usual | claims, {"sig": "x" * 60}]
    encoded = [base64.urlsafe_b64encode(json.dumps(one).encode()) for one in parts]
    return ".".join(one.decode().rstrip("=") for one in encoded)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(mailboxes=["alice@contoso.com"], me="alice@contoso.com") as made:
        yield made


@pytest.fixture
def doctor(emulator: Emulator, call: Run, here: Path) -> Iterator[Any]:
    """The verb on a served mailbox, which it only reads."""
    (here / "token").write_text(jwt())
    with emulator.serve() as server:

        def run(*words: str, env: dict[str, str] | None = None) -> Result:
            place = ("--graph-url", server.url)
            held = () if env and "SMIME_GRAPH_TOKEN" in env else ("--token-file", "token")
            before = state(here)
            result = call("doctor", *words, *place, *held, "--debug", env=env)
            assert state(here) == before
            assert {one.method for one in emulator.log} <= {"GET"}
            for secret in (PASSWORD, (here / "token").read_text().strip()):
                for part in secret.split("."):
                    assert part not in result.out.decode() + result.err
            return result

        yield run


def lines(result: Result, status: str) -> list[str]:
    return [one for one in result.out.decode().splitlines() if one.startswith(f"{status}: ")]


def test_what_fits_is_said_and_what_it_is(doctor: Any) -> None:
    result = doctor(*ALL)
    assert (result.status, lines(result, "problem")) == (0, []), result.out
    text = result.out.decode()
    assert "setting: signer = alice.p12 (command line)" in text
    for about in ("trust", "signer", "recipient", "identity", "token", "rights", "mailbox"):
        assert any(one.startswith(f"ok: {about}: ") for one in lines(result, "ok")) or (
            about == "token" and "note: token: " in text
        )
    assert "ok: address: alice@contoso.com signs" in text


def test_json_has_settings_with_sources_checks_and_rights(doctor: Any, here: Path) -> None:
    (here / "c.toml").write_text(
        '[defaults]\ntrust = "roots.pem"\n[send]\nrecipient = "bob.pem"\nvia = "draft"\n'
    )
    result = doctor("--config", "c.toml", "--json", env={"SMIME_GRAPH_SIGNER": "alice.key"})
    found = json.loads(result.out)
    assert (result.status, found["verdict"]) == (0, "accepted")
    settings = {one["option"]: one for one in found["settings"]}
    assert settings["signer"]["source"] == "environment SMIME_GRAPH_SIGNER"
    assert settings["trust"]["source"] == "file c.toml [defaults]"
    assert settings["recipient"]["source"] == "file c.toml [send]"
    assert settings["recipient"]["value"] == [str(here / "bob.pem")]
    assert settings["policy"] == {"option": "policy", "value": "exchange", "source": "default"}
    assert {one["status"] for one in found["checks"]} <= {"ok", "note"}
    rights = {one["verb"]: one for one in found["rights"]}
    assert rights["send"] == {"verb": "send", "needs": ["Mail.Send"], "has": True}
    assert rights["draft"] == {"verb": "draft", "needs": ["Mail.ReadWrite"], "has": False}


@pytest.mark.parametrize(
    ("words", "about", "word"),
    [
        (("--signer", "nowhere.p12"), "signer", "nowhere.p12"),
        (("--signer", "alice.p12", "--password-file", "wrong-password"), "signer", "password"),
        (("--signer", "alice-expired.key"), "signer", "expired"),
        (("--signer", "encrypts-only.key"), "signer", "not fit to sign"),
        (("--signer", "carol.key"), "address", "carol@contoso.com signs"),
        (("--signer", "mixed.pem"), "signer", "key"),
        (("--recipient", "expired.pem"), "recipient", "expired"),
        (("--recipient", "signs-only.pem"), "recipient", "not fit to encrypt"),
        (("--recipient", "dave@contoso.com"), "recipient", "dave@contoso.com"),
        (("--identity", "nowhere.p12"), "identity", "nowhere.p12"),
        (("--trust", "m.eml"), "trust", "m.eml"),
        (("--signer", "alice.key", "--trust", "bob.pem"), "signer", "not fit to sign"),
        (("--contacts", "m.eml"), "contacts", "m.eml"),
        (("--user", "dave@contoso.com"), "mailbox", "dave@contoso.com"),
        (("--user", "dave@contoso.com", *SIGNER), "address", "dave@contoso.com"),
    ],
)
def test_each_misfit_is_a_problem_that_is_named(
    doctor: Any, words: tuple[str, ...], about: str, word: str
) -> None:
    result = doctor(*words)
    assert result.status == 1, result.out
    found = [one for one in lines(result, "problem") if one.startswith(f"problem: {about}: ")]
    assert any(word in one for one in found), result.out


@pytest.mark.parametrize(
    ("claims", "word"),
    [
        ({"exp": time.time() - 10}, "ran out"),
        ({"scp": "Mail.Read"}, "do not let it send"),
        ({"scp": None, "roles": ["Mail.Send"]}, "--user ADDRESS"),
    ],
)
def test_a_token_that_does_not_fit_is_a_problem(
    doctor: Any, here: Path, claims: dict[str, Any], word: str
) -> None:
    (here / "token").write_text(jwt(**claims))
    result = doctor()
    assert result.status == 1
    assert word in result.out.decode()


def test_a_token_in_the_environment_is_said_to_be_there_and_not_shown(doctor: Any) -> None:
    secret = jwt(scp="Mail.Send")
    result = doctor("--json", env={"SMIME_GRAPH_TOKEN": secret, "SMIME_GRAPH_PASSWORD": PASSWORD})
    assert result.status == 0, result.out
    assert secret[-40:] not in result.out.decode() + result.err
    shown = {one["option"]: one for one in json.loads(result.out)["settings"]}
    given = {"value": "given", "source": "environment SMIME_GRAPH_TOKEN"}
    assert shown["token"] == {"option": "token"} | given
    assert shown["password"]["value"] == "given"


def test_no_token_is_a_problem_and_the_rest_is_told(call: Run) -> None:
    result = call("doctor", *ALL)
    assert result.status == 1
    assert [one for one in lines(result, "problem") if "no access token is given" in one]
    assert [one for one in lines(result, "ok") if one.startswith("ok: signer: ")]


def test_a_graph_that_does_not_answer_is_status_3(call: Run, here: Path) -> None:
    (here / "token").write_text(jwt())
    nowhere = ("--graph-url", "http://127.0.0.1:9", "--token-file", "token", "--retries", "0")
    result = call("doctor", *nowhere)
    assert result.status == 3
    assert lines(result, "unreachable")
    # what does not fit has to be mended first
    assert call("doctor", *nowhere, "--signer", "nowhere.p12").status == 1


def test_a_graph_that_refuses_the_token_is_a_problem(doctor: Any, emulator: Emulator) -> None:
    emulator.faults.script(Fault.expired_token(), Fault.expired_token())
    assert doctor().status == 1


def test_the_emulator_in_this_process_is_not_asked(call: Run, here: Path) -> None:
    result = call("doctor", *ALL, "--emulator-data", "box.db")
    assert result.status == 0, result.out
    assert not (here / "box.db").exists()


def test_a_pin_in_a_uri_is_not_shown(call: Run, here: Path) -> None:
    uri = "pkcs11:token=x;object=y?pin-value=13579&module-path=/nowhere.so"
    result = call("doctor", "--signer", uri, "--emulator")
    assert result.status == 1
    assert "13579" not in result.out.decode() + result.err


def test_help_has_the_table_of_least_privilege(call: Run) -> None:
    text = call("doctor", "--help").out.decode()
    for line in ("send, sendmail, gateway   Mail.Send", "list                      Mail.ReadBasic"):
        assert line in text
