"""Reading what the user believes."""

from __future__ import annotations

import base64
import functools
import sys
from datetime import datetime
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from smime_graph.errors import UsageError
from smime_graph.pki import trust
from smime_graph.pki.trust import TrustStore
from smime_graph.x509.certificate import Certificate


@functools.cache
def der(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start, end = datetime(2020, 1, 1), datetime(2040, 1, 1)  # noqa: DTZ001 - the builder wants UTC
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, start, end)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def pem(name: str, label: str = "CERTIFICATE", eol: str = "\n") -> bytes:
    lines = [f"-----BEGIN {label}-----"]
    text = base64.b64encode(der(name)).decode()
    lines += [text[i : i + 64] for i in range(0, len(text), 64)]
    return eol.join([*lines, f"-----END {label}-----", ""]).encode()


def test_anchors_come_from_files_and_from_memory_in_order_and_once(tmp_path: Path) -> None:
    bundle = tmp_path / "roots.pem"
    bundle.write_bytes(b"# roots\n" + pem("a") + b"\n text between \n" + pem("b", eol="\r\n"))
    single = tmp_path / "root.der"
    single.write_bytes(der("c"))
    store = TrustStore.from_pem(
        bundle, str(single), pem("d", "X509 CERTIFICATE") + pem("a"), der("e")
    )
    assert store.anchors == tuple(Certificate(der(name)) for name in "abcde")
    assert store.certificates == ()


def test_further_certificates_are_kept_apart_from_the_anchors() -> None:
    helper = Certificate(der("b"))
    store = TrustStore.from_pem(pem("a"), certificates=[helper])
    assert store.anchors == (Certificate(der("a")),)
    assert store.certificates == (helper,)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"no certificate here", "holds no certificate"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "does not end"),
        (b"-----BEGIN CERTIFICATE-----\nA*AA\n-----END CERTIFICATE-----", "is not base64"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "is malformed"),
        (der("a")[:-1], "is malformed"),
        (der("a") + b"\0", "is malformed"),
        (pem("a", "TRUSTED CERTIFICATE"), "TRUSTED CERTIFICATE"),
    ],
)
def test_a_source_without_a_certificate_is_refused_with_advice(
    content: bytes, text: str, tmp_path: Path
) -> None:
    path = tmp_path / "roots.pem"
    path.write_bytes(content)
    for source, name in ((path, str(path)), (content, "what was given")):
        with pytest.raises(UsageError, match=text) as caught:
            TrustStore.from_pem(source)
        assert name in str(caught.value)
        assert caught.value.hint


def test_the_broken_certificate_of_a_bundle_is_named() -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
    with pytest.raises(UsageError, match="certificate 2 in"):
        TrustStore.from_pem(pem("a") + broken + pem("b"))


def test_a_file_that_cannot_be_read_is_refused_with_advice(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pem", tmp_path / "absent" / "root.pem", "a\0b"):
        with pytest.raises(UsageError, match="cannot be read") as caught:
            TrustStore.from_pem(path)
        assert caught.value.hint


def test_a_huge_file_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_MAX_FILE", 4096)
    path = tmp_path / "roots.pem"
    path.write_bytes(pem("a") + b" " * 4096)
    for source in (path, path.read_bytes()):
        with pytest.raises(UsageError, match="larger than"):
            TrustStore.from_pem(source)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_store_or_a_usage_error(noise: bytes, armoured: bool) -> None:
    block = b"-----BEGIN CERTIFICATE-----\n" + noise + b"\n-----END CERTIFICATE-----"
    try:
        TrustStore.from_pem(block if armoured else noise)
    except UsageError:
        pass


def test_the_system_s_roots_are_asked_for_and_say_whose_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TrustStore.system()
    assert f"certifi {certifi.__version__}, chosen for TLS" in store.origin
    assert store.origin in repr(store)
    assert store.anchors == TrustStore.load(certifi.where()).anchors
    assert TrustStore.load(certifi.where()).origin == ""
    # without certifi those of the platform, the ones for mail first; and none where there are none
    monkeypatch.setitem(sys.modules, "certifi", None)
    mail, tls = tmp_path / "mail.pem", tmp_path / "tls.pem"
    monkeypatch.setattr("smime_graph.pki.trust._FOR_MAIL", str(mail))
    monkeypatch.setattr("smime_graph.pki.trust._FOR_TLS", (str(tmp_path / "none"), str(tls)))
    with pytest.raises(UsageError, match="no roots of the system") as caught:
        TrustStore.system()
    assert "certifi" in str(caught.value.hint)
    tls.write_bytes(pem("Root"))
    assert TrustStore.system().origin == f"the platform, chosen for TLS ({tls})"
    mail.write_bytes(tls.read_bytes())
    assert TrustStore.system().origin == f"the platform, chosen for mail ({mail})"
    assert len(TrustStore.system().anchors) == 1
