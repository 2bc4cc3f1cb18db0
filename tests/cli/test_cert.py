"""cert check: one report for whatever holds a certificate."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from smime_graph import seal, sign
from smime_graph.asn1.pem import write_block
from smime_graph.authority.family import Family, family
from smime_graph.authority.variants import VARIANTS
from smime_graph.cms.signed_data import carry
from smime_graph.harness.profiles import PROFILES
from smime_graph.pki.identity import Contact
from tests.conftest import NOW

from .conftest import Run

pytestmark = pytest.mark.usefixtures("here")
AS_OF = ("--as-of", "2026-11-22")
MAIL = b"From: alice@contoso.com\r\nTo: alice@contoso.com\r\nSubject: s\r\n\r\nx\r\n"


@pytest.fixture(scope="module")
def corp() -> Family:
    wanted = (
        "rsa-2048",
        "expired",
        "eku-any",
        "rsa-sign",
        "revoked",
        "crl-stale",
        "issuer-expired",
    )
    return family("corp", when=NOW, seed=7, variants=[v for v in VARIANTS if v.id in wanted])


@pytest.fixture
def folder(corp: Family, here: Path) -> Path:
    corp.write(here / "corp")
    return here / "corp"


def test_a_good_certificate_is_fit_and_an_expired_one_is_not(folder: Path, call: Run) -> None:
    trust = ("--trust", "corp/trust.pem")
    good = call("cert", "check", "corp/rsa-2048.pem", *trust, *AS_OF)
    assert (good.status, good.err) == (0, "")
    assert "Outlook:                works\n" in good.out.decode()
    old = call("cert", "check", "corp/expired.pem", *trust, *AS_OF)
    assert old.status == 1
    assert "Outlook:                will fail: expired on" in old.out.decode()
    assert "  ask the CA: a new certificate" in old.out.decode()
    then = call("cert", "check", "corp/expired.pem", *trust, "--as-of", "2026-11-01T00:00:00Z")
    assert then.status == 0


def test_every_kind_of_file_gives_the_same_report(folder: Path, call: Run, corp: Family) -> None:
    alice = corp["rsa-2048"].identity
    Path("signed.eml").write_bytes(sign(MAIL, signer=alice, at=NOW))
    Path("opaque.eml").write_bytes(sign(MAIL, signer=alice, at=NOW, detached=False))
    Path("password").write_text("test\n")
    locked = ("corp/rsa-2048.p12", "corp/rsa-2048.3des.p12")
    reports = [
        call("cert", "check", name, *AS_OF, "--password-file", "password", "--json")
        for name in ("corp/rsa-2048.pem", *locked)
    ]
    reports += [
        call("cert", "check", name, *AS_OF, "--json")
        for name in ("corp/rsa-2048.p7b", "signed.eml", "opaque.eml")
    ]
    shown = [json.loads(one.out) for one in reports]
    assert all(one == shown[0] for one in shown)
    assert shown[0]["verdict"] == "fit"
    (report,) = shown[0]["reports"]
    assert report["verdicts"].keys() == set(PROFILES)
    assert report["sha256"] == alice.certificate.sha256
    assert all("no --trust" in one.err for one in reports)


def test_a_folder_is_looked_through(folder: Path, call: Run) -> None:
    for path in folder.iterdir():
        if path.is_file() and path.suffix not in (".der", ".p12"):
            path.unlink()
    ran = call("cert", "check", "corp", *AS_OF, "--json", "--client", "openssl")
    assert ran.status == 1
    found = json.loads(ran.out)["reports"]
    assert len(found) == len(list(folder.glob("*.der")))
    assert "passed over: corp/rsa-2048.p12 is locked" in ran.err


def test_crls_and_authorities_are_judged_too(folder: Path, call: Run) -> None:
    crl = call("cert", "check", "corp/authorities/stale.crl", *AS_OF)
    assert crl.status == 1
    assert "the next one was due on" in crl.out.decode()
    root = call("cert", "check", "corp/authorities/root.pem", *AS_OF, "--client", "sbr-strict")
    assert root.status == 0
    server = call("cert", "check", "corp/authorities/expired.pem", *AS_OF)
    assert server.status == 1


def test_a_crl_beside_a_certificate_does_not_hide_it(folder: Path, call: Run) -> None:
    block = write_block("X509 CRL", Path("corp/authorities/issuing.crl").read_bytes())
    expired = Path("corp/expired.pem").read_bytes()
    for place, text in enumerate((block + expired, expired + block)):
        Path(f"{place}.pem").write_bytes(text)
        got = call("cert", "check", f"{place}.pem", *AS_OF, "--json")
        kinds = ["sha256" in one for one in json.loads(got.out)["reports"]]
        assert (got.status, sorted(kinds)) == (1, [False, True])


def test_a_folder_of_too_many_files_is_not_judged_in_part(
    folder: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smime_graph.cli.cert._MOST_FILES", 2)
    Path("many").mkdir()
    for name in "abc":
        good = name != "c"
        data = Path("corp", "rsa-2048.pem" if good else "expired.pem").read_bytes()
        Path("many", f"{name}.pem").write_bytes(data)
    got = call("cert", "check", "many", *AS_OF)
    assert (got.status, got.out) == (2, b"")
    assert "many holds 3 files, wanted at most 2" in got.err
    assert call("cert", "check", *map(str, Path("many").iterdir()), *AS_OF).status == 1


def test_the_client_and_the_use_decide(folder: Path, call: Run) -> None:
    check = ("cert", "check", "corp/eku-any.pem", *AS_OF)
    assert call(*check).status == 0
    assert call(*check, "--client", "gpgsm").status == 0
    assert call(*check, "--client", "openssl").status == 1
    check = ("cert", "check", "corp/rsa-sign.pem", *AS_OF)
    assert call(*check, "--use", "sign").status == 0
    assert call(*check, "--use", "encrypt").status == 1
    assert call(*check).status == 0
    check = ("cert", "check", "corp/rsa-2048.pem", *AS_OF)
    assert call(*check, "--address", "bob@contoso.com").status == 1
    assert call(*check, "--address", "alice@contoso.com").status == 0


def test_a_revoked_one_is_found_by_its_crl(folder: Path, call: Run) -> None:
    check = ("cert", "check", "corp/revoked.pem", "--trust", "corp/trust.pem", *AS_OF)
    assert call(*check).status == 0
    ran = call(*check, "--crl", "corp/authorities/issuing.crl")
    assert ran.status == 1
    assert "[5280-6.3]" in ran.out.decode()


def test_the_forms(folder: Path, call: Run) -> None:
    check = ("cert", "check", "corp/expired.pem", *AS_OF)
    junit = call(*check, "--format", "junit")
    (suite,) = ElementTree.fromstring(junit.out)
    assert len(suite) == len(PROFILES)
    assert call(*check, "--format", "html").out == call(*check, "--html").out
    assert json.loads(call(*check, "--format", "json").out) == json.loads(
        call(*check, "--json").out
    )
    written = call(*check, "--html", "-o", "report.html", "--json")
    assert json.loads(written.out)["verdict"] == "unfit"
    assert Path("report.html").read_bytes().startswith(b"<!DOCTYPE html>")


def test_what_holds_none_is_refused(folder: Path, call: Run, corp: Family) -> None:
    alice = corp["rsa-2048"].identity
    Path("sealed.eml").write_bytes(
        seal(MAIL, signer=alice, recipients=[Contact(alice.certificate)], at=NOW)
    )
    Path("none.eml").write_bytes(MAIL)
    Path("none.p7b").write_bytes(carry([]))
    Path("odd.der").write_bytes(b"\x30\x03\x02\x01\x05")
    for name in ("sealed.eml", "none.eml", "none.p7b", "odd.der", "corp/rsa-2048.key", "nowhere"):
        ran = call("cert", "check", name, *AS_OF)
        assert ran.status == 2, name
        assert name in ran.err or "no certificate is there" in ran.err
        assert "hint: " in ran.err
    locked = call("cert", "check", "corp/rsa-2048.p12", *AS_OF)
    assert locked.status == 2
    assert "password" in locked.err
    assert "cert is followed by" in call("cert").err


def test_pkilint_is_asked_as_well(folder: Path, call: Run) -> None:
    ran = call("cert", "check", "corp/eku-any.pem", *AS_OF, "--pkilint", "--client", "rfc8550")
    lines = ran.out.decode().splitlines()
    (said,) = [one for one in lines if one.startswith("pkilint ")]
    assert said.endswith("(mailbox, strict) says the same of SBR-7.1.2.3-f1, SBR-7.1.2.3-f2")
    assert any("only pkilint" in one and "internal_domain_name" in one for one in lines)
    shown = json.loads(call("cert", "check", "corp/eku-any.pem", "--pkilint", "--json").out)
    assert "SBR-7.1.2.3-f1" in shown["reports"][0]["pkilint"]["agreed"]
