"""The catalogue of wrong messages: each read as the standards say, and written with its keys."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from smime_graph import (
    Identity,
    MalformedMessage,
    Revocation,
    SmimeGraphError,
    TrustStore,
    UsageError,
    examine,
    unseal,
)
from smime_graph.findings import CATALOGUE, Severity
from smime_graph.harness.forgeries.case import Case
from smime_graph.harness.forgeries.craft import People
from smime_graph.harness.messages import GROUPS, MESSAGES, make, people, write_messages
from smime_graph.smime.examine import inspect

SEED = 3


@pytest.fixture(scope="module")
def everybody() -> People:
    return people(seed=SEED)


@pytest.mark.parametrize("case", MESSAGES, ids=lambda case: case.id)
def test_what_the_standards_say_is_what_is_found(everybody: People, case: Case) -> None:
    raw = make(case, everybody)
    given = {"identities": [everybody.bob], "trust": everybody.trust, "at": everybody.at}
    report = examine(raw, revocation=everybody.revocation, **given)  # type: ignore[arg-type]
    found = {severity: set[str]() for severity in Severity}
    for one in report.findings:
        found[one.severity].add(one.code)
    assert found[Severity.ERROR] == set(case.errors)
    assert report.accepted is case.is_accepted
    assert case.shown in (None, report.summary)
    if not case.is_accepted:
        with pytest.raises(SmimeGraphError):
            unseal(raw, revocation=everybody.revocation, **given)  # type: ignore[arg-type]
        return
    assert found[Severity.WARNING] == set(case.warnings)
    opened = unseal(raw, revocation=everybody.revocation, **given)  # type: ignore[arg-type]
    assert b"the figures" in bytes(opened.content)
    assert b"pay mallory" not in bytes(opened.content)


def test_every_row_says_what_is_wrong_and_who_says_so() -> None:
    assert len(MESSAGES) >= 80
    assert len({case.id for case in MESSAGES}) == len(MESSAGES)
    for case in MESSAGES:
        assert re.match(r"RFC \d{4}|Johnny|EFAIL|eprint", case.source), case
        assert not case.wrong.endswith(".")
        # what breaks no rule is accepted; what is accepted and odd is warned of
        assert case.is_accepted or not case.wrong.startswith("nothing"), case
        assert set(case.errors + case.warnings) <= CATALOGUE.keys()
        assert re.fullmatch(r"[a-z0-9-]+", case.id)
    good = [case for case in GROUPS["good"] if case.wrong.startswith("nothing")]
    assert len(good) >= 15
    assert all(case.is_accepted and not case.warnings for case in good)
    # every reason that a signature or a message can be refused for, but what is no attack on either
    refused = {code for case in MESSAGES for code in case.errors}
    assert {code for code in CATALOGUE if code.startswith("cms.") and _is_error(code)} <= refused


def _is_error(code: str) -> bool:
    return CATALOGUE[code][0] is Severity.ERROR


# What `openssl cms -verify` makes of the outermost layer otherwise than we of the message, and why
_HEADER = "it compares no address, and looks at no header field"
_OUTSIDE = "it takes the outer layer off, which is good, and looks no further"
_WEAK = "it takes what is weak"
_LESS = "it does not look at this attribute, or at the type of what was signed"
_ASKED = "it is not asked about revocation"
_ORDER = "it verifies the attributes as they are sent (openssl#22120)"
_TYPE = "it knows no application/octet-stream"
DIFFERENCES = {
    **{case.id: _HEADER for case in GROUPS["sender"] if case.errors == ("pki.address.mismatch",)},
    "signer-address-other": _HEADER,
    "signer-address-none": _HEADER,
    "countersignature-alone": _HEADER,
    "signature-outside": _OUTSIDE,
    "triple-wrap-mallory": _OUTSIDE,
    "triple-wrap-inner-broken": _OUTSIDE,
    "signed-twice-inner-broken": _OUTSIDE,
    "digest-sha1": _WEAK,
    "digest-md5": _WEAK,
    "signer-sha1": _WEAK,
    "signer-rsa-1024": _WEAK,
    "content-type-differs": _LESS,
    "content-no-data": _LESS,
    "attributes-as-content": _LESS,
    "signing-certificate-differs": _LESS,
    "algorithm-protection-differs": _LESS,
    "signer-revoked": _ASKED,
    "signer-issuer-revoked": _ASKED,
    "attributes-unsorted": _ORDER,
    "good-octet-stream": _TYPE,
}


def _openssl_is_3_0() -> bool:
    if shutil.which("openssl") is None:
        return False
    done = subprocess.run(["openssl", "version"], capture_output=True, check=False)
    return done.stdout.startswith(b"OpenSSL 3.0.")


@pytest.mark.skipif(not _openssl_is_3_0(), reason="openssl 3.0 is not installed")
def test_openssl_judges_the_outer_signature_as_we_do_or_we_know_why(tmp_path: Path) -> None:
    write_messages(tmp_path / "mail", seed=SEED)
    index = json.loads((tmp_path / "mail" / "index.json").read_bytes())
    at = int(datetime.fromisoformat(index["at"]).timestamp())
    asked, differing = 0, set()
    for entry in index["messages"]:
        path = tmp_path / "mail" / entry["file"]
        try:
            layers = [one for one in inspect(path.read_bytes()) if not one.errant]
        except MalformedMessage:
            continue
        if not layers or layers[0].type not in ("signed-data", "certs-only"):
            continue
        asked += 1
        command = ["openssl", "cms", "-verify", "-in", str(path), "-attime", str(at)]
        command += ["-CAfile", str(tmp_path / "mail" / "trust.pem"), "-out", "/dev/null"]
        done = subprocess.run(command, capture_output=True, check=False)
        if (done.returncode == 0) is not (entry["expected"]["verdict"] == "accepted"):
            differing.add(entry["id"])
    assert asked > 90
    assert differing == DIFFERENCES.keys()
    for name in ("good-sealed", "good-sealed-gcm", "good-hidden-subject"):
        command = ["openssl", "cms", "-decrypt", "-in", str(tmp_path / "mail" / f"{name}.eml")]
        command += ["-recip", str(tmp_path / "mail" / "bob.pem")]
        command += ["-inkey", str(tmp_path / "mail" / "bob.key"), "-out", str(tmp_path / "inside")]
        subprocess.run(command, capture_output=True, check=True)
        command = ["openssl", "cms", "-verify", "-in", str(tmp_path / "inside"), "-attime", str(at)]
        command += ["-CAfile", str(tmp_path / "mail" / "trust.pem")]
        done = subprocess.run(command, capture_output=True, check=True)
        assert b"the figures" in done.stdout


def test_they_are_written_with_what_is_needed_to_read_them(tmp_path: Path) -> None:
    paths = write_messages(tmp_path / "mail", seed=SEED, only="good-*")
    assert paths[-1] == tmp_path / "mail" / "index.json"
    index = json.loads(paths[-1].read_bytes())
    folder = tmp_path / "mail"
    bob = Identity.load(folder / index["recipient"]["key"], password=index["recipient"]["password"])
    assert bob.emails == (index["recipient"]["address"],)
    trust = TrustStore.load(folder / index["trust"])
    known = Revocation.load(crls=[folder / name for name in index["crls"]])
    at = datetime.fromisoformat(index["at"])
    wanted = [case for case in MESSAGES if case.id.startswith("good-")]
    assert [entry["id"] for entry in index["messages"]] == [case.id for case in wanted]
    for entry in index["messages"]:
        raw = (folder / entry["file"]).read_bytes()
        report = examine(raw, identities=[bob], trust=trust, revocation=known, at=at)
        assert report.verdict == entry["expected"]["verdict"] == "accepted"
        assert report.summary == entry["expected"]["summary"]
    assert {path.name: path.stat().st_mode & 0o777 for path in paths if path.suffix == ".key"} == {
        "alice.key": 0o600,
        "mallory.key": 0o600,
        "bob.key": 0o600,
    }
    with pytest.raises(UsageError, match="not empty"):
        write_messages(folder)
    with pytest.raises(UsageError, match="no message fits 'none'"):
        write_messages(tmp_path / "other", only="none")
    assert not (tmp_path / "other").exists()


def test_without_a_seed_they_are_of_now() -> None:
    raw = make(MESSAGES[0], now := people())
    assert examine(raw, trust=now.trust).accepted
    assert people(seed=1).bob.certificate == people(seed=1).bob.certificate
    assert people(seed=1).bob.certificate != people(seed=2).bob.certificate
