"""Requests for certificates: what they ask for, and that openssl reads them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from smime_graph.authority.pool import pool_key
from smime_graph.authority.request import certificate_request
from smime_graph.errors import UsageError


def read(pem: bytes) -> x509.CertificateSigningRequest:
    csr = x509.load_pem_x509_csr(pem)
    assert csr.is_signature_valid
    return csr


def value(csr: x509.CertificateSigningRequest, kind: Any) -> Any:
    return csr.extensions.get_extension_for_class(kind).value


@pytest.mark.parametrize(
    ("kind", "encrypts"),
    [
        ("rsa-3072", "key_encipherment"),
        ("p256", "key_agreement"),
        ("p521", "key_agreement"),
        ("ed25519", None),
        ("ed448", None),
        ("ml-dsa-65", None),
    ],
)
def test_it_asks_for_what_mail_needs(kind: str, encrypts: str | None) -> None:
    csr = read(certificate_request(pool_key(kind), "alice@contoso.com", "a.smith@contoso.com"))
    assert csr.subject.rfc4514_string() == "CN=alice@contoso.com"
    names = value(csr, x509.SubjectAlternativeName)
    assert [one.value for one in names] == ["alice@contoso.com", "a.smith@contoso.com"]
    usage = value(csr, x509.KeyUsage)
    assert usage.digital_signature
    assert (usage.key_encipherment, usage.key_agreement) == (
        encrypts == "key_encipherment",
        encrypts == "key_agreement",
    )
    assert [one.dotted_string for one in value(csr, x509.ExtendedKeyUsage)] == ["1.3.6.1.5.5.7.3.4"]


def test_name_and_use_are_chosen() -> None:
    csr = read(certificate_request(pool_key("p256"), "a@contoso.com", name="Alice", use="encrypt"))
    assert csr.subject.rfc4514_string() == "CN=Alice"
    assert not value(csr, x509.KeyUsage).digital_signature
    utf8 = read(certificate_request(pool_key("p256"), "jürgen@contoso.com"))
    (name,) = value(utf8, x509.SubjectAlternativeName)
    assert isinstance(name, x509.OtherName)


def test_what_cannot_be_asked_for() -> None:
    for key, emails, use, said in (
        (pool_key("x25519"), ("a@b.c",), "encrypt", "cannot sign its own request"),
        (pool_key("ed25519"), ("a@b.c",), "encrypt", "cannot encrypt"),
        (pool_key("p256"), (), "both", "needs an address"),
        (pool_key("p256"), ("alice",), "both", "mail address"),
        (object(), ("a@b.c",), "both", "kind of key"),
    ):
        with pytest.raises(UsageError, match=said):
            certificate_request(key, *emails, use=use)  # type: ignore[arg-type]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("kind", ["rsa-2048", "p384", "ed25519"])
def test_openssl_reads_it(tmp_path: Path, kind: str) -> None:
    (tmp_path / "csr").write_bytes(certificate_request(pool_key(kind), "alice@contoso.com"))
    done = subprocess.run(
        ["openssl", "req", "-in", tmp_path / "csr", "-verify", "-noout", "-text"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "verify OK" in done.stderr
    assert "email:alice@contoso.com" in done.stdout
    assert "E-mail Protection" in done.stdout
