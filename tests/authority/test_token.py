"""A family on a token (SoftHSM): its keys sign, and each has its own certificate."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smime_graph import Identity, Revocation, TrustStore, sign, verify
from smime_graph.authority.family import Family, family
from smime_graph.authority.token import fill_token
from smime_graph.authority.variants import VARIANTS
from smime_graph.cli import main
from smime_graph.errors import UsageError
from smime_graph.pki.pkcs11 import keys as pkcs11

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so")
PIN = "1234"


@pytest.fixture(scope="module")
def corp() -> Family:
    wanted = ("rsa-2048", "rsa-sign", "expired", "p256", "p384", "ed25519")
    return family("corp", seed=7, variants=[one for one in VARIANTS if one.id in wanted])


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    p11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    found = next((m for m in MODULES if Path(m).is_file()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed (Debian: softhsm2)")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "conf"))
        for label in ("family", "other", "shell"):
            subprocess.run(
                [
                    *("softhsm2-util", "--init-token", "--free", "--label", label),
                    *("--pin", PIN, "--so-pin", PIN),
                ],
                check=True,
                capture_output=True,
            )
        library = p11.lib(found)
        library.reinitialize()  # other tests may have loaded it with another configuration
        yield found
        library.finalize()


@pytest.fixture(scope="module")
def filled(corp: Family, module: str) -> tuple[str, ...]:
    return fill_token(corp, "pkcs11:token=family", pin=PIN, module=module)


def test_rsa_and_ec_are_there_and_each_has_its_own_certificate(
    corp: Family, module: str, filled: tuple[str, ...]
) -> None:
    assert filled == ("rsa-2048", "p256", "p384", "rsa-sign", "expired")
    # two have one key: the certificate is that of the same label
    rsa = [corp[name].identity.certificate.public_key_info for name in filled]
    assert len(set(rsa)) < len(rsa)
    for name in filled:
        loaded = pkcs11.load(f"pkcs11:token=family;object={name}", pin=PIN, module=module)
        assert loaded.certificate == corp[name].identity.certificate, name
        assert loaded.chain == corp[name].identity.chain


@pytest.mark.parametrize("name", ["rsa-2048", "p256"])
def test_what_is_there_signs(corp: Family, module: str, filled: tuple[str, ...], name: str) -> None:
    alice: Any = pkcs11.load(f"pkcs11:token=family;object={name}", pin=PIN, module=module)
    raw = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: s\r\n\r\ntext\r\n"
    signed = sign(raw, signer=alice, at=corp.at)
    trust = TrustStore(corp.trust.anchors)
    known = Revocation(mode="none")
    assert verify(signed, trust=trust, at=corp.at, revocation=known).signers[0].trusted


def test_from_the_shell(
    corp: Family, module: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pin").write_text(PIN)
    uri = f"pkcs11:token=shell?module-path={module}&pin-source=file:{tmp_path}/pin"
    asked = ["harness", "issue", str(tmp_path / "made"), "--variant", "p256", "--token", uri]
    assert main([*asked, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["token"] == ["p256"]
    loaded = pkcs11.load("pkcs11:token=shell;object=p256", pin=PIN, module=module)
    made = Identity.load(tmp_path / "made" / "p256.p12", password="test")
    assert loaded.certificate == made.certificate


def test_what_cannot_be_filled(corp: Family, module: str) -> None:
    only = Family(corp.name, corp.at, {"ed25519": corp["ed25519"]}, {}, corp.crls, corp.trust)
    for made, uri, pin, said in (
        (corp, "pkcs11:token=nowhere", PIN, "no token fits"),
        (corp, "pkcs11:token=other", None, "asks for a PIN"),
        (corp, "pkcs11:token=other", "9999", "PIN"),
        (only, "pkcs11:token=other", PIN, "takes no key of this family"),
        (corp, "x", PIN, "not a PKCS#11 URI"),
    ):
        with pytest.raises(UsageError, match=said):
            fill_token(made, uri, pin=pin, module=module)
