"""Key files and certificates in the forms in which people have them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.serialization import pkcs7

from smime_graph import Contact, Identity
from smime_graph.pki.keyfiles.read import read_certificates

from .conftest import PASSWORD, Run

SIGN = ("sign", "m.eml", "--signer", "alice.p12", "--password-file", "password")


@pytest.fixture(params=["b.p7b", "b.p7c", "b.eml", "b.crt"])
def bundle(request: pytest.FixtureRequest, here: Path, call: Run) -> str:
    """Bob's certificate and the root: PEM, DER, our own certs-only mail, and one file of DER."""
    found = [c.x509 for f in ("bob.pem", "roots.pem") for c in read_certificates(here / f)]
    name = str(request.param)
    if name == "b.eml":
        assert call("certs-only", "bob.pem", "roots.pem", "-o", name).status == 0
    elif name == "b.crt":
        (here / name).write_bytes(found[0].public_bytes(ser.Encoding.DER) + b"\n")
    else:
        encoding = ser.Encoding.PEM if name == "b.p7b" else ser.Encoding.DER
        (here / name).write_bytes(pkcs7.serialize_certificates(found, encoding) + b"\r\n")
    return name


def test_a_bundle_is_a_recipient(call: Run, here: Path, bundle: str) -> None:
    made = call("encrypt", "m.eml", "--recipient", bundle, "-o", "x.eml")
    assert made.status == 0, made.err
    opened = call("decrypt", "x.eml", "--identity", "bob.key")
    assert b"the figures" in opened.out, opened.err
    folder = here / "folder"
    folder.mkdir()
    (here / bundle).rename(folder / bundle)
    assert call("encrypt", "m.eml", "--recipient", "folder", "-o", "y.eml").status == 0


def test_a_bundle_is_trusted_used_and_written_again(call: Run, bundle: str) -> None:
    believed = call("verify", "signed.eml", "--trust", bundle, "--certificate", bundle)
    assert believed.status == (1 if bundle == "b.crt" else 0), believed.err
    again = call("certs-only", bundle, "--json")
    assert again.status == 0, again.err


def test_a_folder_of_roots_is_trusted(call: Run, here: Path) -> None:
    (here / "roots").mkdir()
    (here / "roots" / "a.pem").write_bytes((here / "roots.pem").read_bytes())
    (here / "roots" / "notes.txt").write_text("believed since 2026\n")
    assert call("verify", "signed.eml", "--trust", "roots").status == 0
    (here / "roots" / "a.pem").unlink()
    refused = call("verify", "signed.eml", "--trust", "roots")
    assert (refused.status, "no file with a certificate" in refused.err) == (2, True)


@pytest.mark.parametrize("closed", ["locked.p12", "broken.pem", "locked.key"])
def test_a_key_that_cannot_be_opened_does_not_close_the_folder(
    here: Path, call: Run, closed: str
) -> None:
    """Others stand in it: a renewed key, a colleague's, one of an old password."""
    folder = here / "keys"
    folder.mkdir()
    bob = Identity.load(here / "bob.p12", password=PASSWORD)
    (folder / "bob.p12").write_bytes(bob.to_pkcs12("right"))
    carol = Identity.load(here / "carol.key")
    broken = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    content = {
        "locked.p12": carol.to_pkcs12("other"),
        "locked.key": carol.to_pem("other"),
        "broken.pem": broken,
    }[closed]
    (folder / closed).write_bytes(content)
    (here / "right").write_text("right\n")
    asked = ("decrypt", "sealed.eml", "--identity", "keys", "--password-file", "right")
    for words in (asked, ("unseal", *asked[1:], "--trust", "roots.pem")):
        opened = call(*words)
        assert opened.status == 0, opened.err
        assert opened.out
        assert f"warning: keys/{closed}: " in opened.err
    quiet = call(*asked, "--json")
    assert "layers" in json.loads(quiet.out)
    (folder / "bob.p12").unlink()
    assert call(*asked).status == 2


def test_a_key_file_finds_its_certificates_for_the_library_too(here: Path, call: Run) -> None:
    assert call("ca", "init", "authority").status == 0
    assert call("ca", "issue", "authority", "dora@contoso.com", "--key", "p256").status == 0
    assert Identity.load("authority/dora@contoso.com.key").emails == ("dora@contoso.com",)
    assert Contact.load("authority/dora@contoso.com.pem").certificate


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--signer", ("sign", "m.eml")),
        ("--recipient", ("encrypt", "m.eml")),
        ("--trust", ("verify", "signed.eml")),
        ("--certificate", ("verify", "signed.eml")),
        ("--identity", ("decrypt", "sealed.eml")),
        ("--password-file", ("decrypt", "sealed.eml", "--identity", "bob.p12")),
        ("--recipient-password-file", ("decrypt", "sealed.eml")),
        ("--token-file", ("send", "m.eml")),
        ("--content", ("verify", "signed.eml")),
    ],
)
def test_a_key_in_place_of_a_file_is_not_shown(
    here: Path, call: Run, option: str, words: tuple[str, ...]
) -> None:
    """An option that is filled from a variable which holds the key, and not its path."""
    secret = base64.b64encode((here / "bob.p12").read_bytes()).decode()
    for given in (secret, secret[:64], base64.b64decode(secret).hex()):
        refused = call(*words, option, given, "--json")
        assert refused.status == 2
        told = refused.err + refused.out.decode()
        assert not any(given[at : at + 16] in told for at in range(0, len(given) - 16, 8))
