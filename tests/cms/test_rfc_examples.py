"""Octets that the RFCs print: key derivations, capabilities, and the example of RFC 9936."""

from __future__ import annotations

import hmac
from pathlib import Path

import pytest

from smime_graph import algorithms, oids
from smime_graph.algorithms import (
    CekDerivation,
    ContentCipher,
    Digest,
    KeyDerivation,
    KeyWrap,
    OaepParameters,
    by_name,
)
from smime_graph.asn1 import ber
from smime_graph.asn1.algorithm_identifier import AlgorithmIdentifier
from smime_graph.asn1.content_info import read_content_info
from smime_graph.cms import capabilities, enveloped_data, parameters, signed_data
from smime_graph.cms.recipients import key_encapsulation
from smime_graph.errors import UnsupportedAlgorithm
from smime_graph.policy import RFC_8551
from smime_graph.smime.recognition import recognise

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"


# --- RFC 9709 -----------------------------------------------------------------------------

CEK = bytes.fromhex("c702e7d0a9e064b09ba55245fb733cf3")


@pytest.mark.parametrize(
    ("identifier", "derived"),
    [
        (  # B.1, AES-128-GCM with its tag length at the default
            "301b0609608648016503040106300e040c5c79058ba2f43447639d29e2",
            "2124ffb29fac4e0fbbc7d5d87492bff3",
        ),
        (  # B.2, AES-128-CBC
            "301d06096086480165030401020410651f722ffd512c52fe072e507d72b377",
            "9cd102c52f1e19ece8729b35bfeceb50",
        ),
    ],
)
def test_cek_hkdf_of_rfc_9709(identifier: str, derived: str) -> None:
    row = algorithms.rows(CekDerivation)[0]
    inner = bytes.fromhex(identifier)
    assert row.derive(CEK, inner).hex() == derived
    # as it stands in a message: the identifier that is parameter decides, as it was received
    outer = ber.sequence(ber.oid(row.oid), inner)
    read = AlgorithmIdentifier.read(ber.read(outer, "x"), "content encryption")
    encryption = parameters.read_cipher(read, "content encryption")
    assert encryption.identifier == inner
    assert encryption.derivation is row
    ciphertext, tag = encryption.cipher.encrypt(bytes.fromhex(derived), encryption.iv, b"text")
    mac = bytes(tag)[: encryption.tag_size]
    assert encryption.decrypt(CEK, bytes(ciphertext), mac, b"") == b"text"


def test_what_is_written_for_rfc_9709_is_what_its_example_has() -> None:
    row = algorithms.rows(CekDerivation)[0]
    cbc = by_name(ContentCipher, "aes128-cbc")
    iv = bytes.fromhex("651f722ffd512c52fe072e507d72b377")
    inner = "301d06096086480165030401020410651f722ffd512c52fe072e507d72b377"
    assert parameters.write_cipher(cbc, iv, None).hex() == inner
    written = parameters.write_cipher(cbc, iv, row)
    assert written == ber.sequence(ber.oid(oids.CEK_HKDF_SHA256), bytes.fromhex(inner))


# --- capabilities -------------------------------------------------------------------------


def announced(*names: str) -> list[str]:
    policy = RFC_8551.but("announcing", announce=names)
    node = ber.read(capabilities.announcement(policy), "SMIMECapabilities")
    return [element.raw.hex() for element in node]


_WRAPS = ("300b0609608648016503040105", "300b060960864801650304012d")  # AES-128, AES-256


@pytest.mark.parametrize(
    ("name", "encodings"),
    [
        # RFC 5754 2.1 to 2.4, 3.3: parameters absent
        ("sha224", ["300b0609608648016503040204"]),
        ("sha256", ["300b0609608648016503040201"]),
        ("sha384", ["300b0609608648016503040202"]),
        ("sha512", ["300b0609608648016503040203"]),
        # RFC 3274 2, RFC 8103 5
        ("zlib", ["300d060b2a864886f70d0109100308"]),
        ("chacha20-poly1305", ["300d060b2a864886f70d0109100312"]),
        # RFC 9709 4
        ("cek-hkdf-sha256", ["300d060b2a864886f70d010910031f"]),
        # RFC 3565 4
        ("aes128-cbc", ["300b0609608648016503040102"]),
        ("aes256-cbc", ["300b060960864801650304012a"]),
        # RFC 3560 5, rSAES-OAEP-SHA256-Identifier
        (
            "rsaes-oaep",
            [
                "303806092a864886f70d010107302b300d06096086480165030402010500301a"
                "06092a864886f70d010108300d06096086480165030402010500"
            ],
        ),
        # RFC 8418 8: one for each key wrap
        *(
            (f"dhsinglepass-stddh-sha{size}kdf", [f"301506062b8104010b0{n}{w}" for w in _WRAPS])
            for n, size in ((1, 256), (2, 384), (3, 512))
        ),
        *(
            (
                f"dhsinglepass-stddh-hkdf-sha{size}",
                [f"301a060b2a864886f70d01091003{n}{w}" for w in _WRAPS],
            )
            for n, size in ((13, 256), (14, 384), (15, 512))
        ),
    ],
)
def test_capabilities_are_exact_to_the_byte(name: str, encodings: list[str]) -> None:
    assert announced(name) == encodings


@pytest.mark.parametrize(
    ("encoding", "digest"),
    [
        ("300d06092a864886f70d0101073000", "sha1"),  # RFC 3560 5, everything at its default
        ("300b06092a864886f70d010107", "sha1"),
        *(
            (
                f"303806092a864886f70d010107302b300d0609608648016503040{n}0500301a"
                f"06092a864886f70d010108300d0609608648016503040{n}0500",
                digest,
            )
            for n, digest in (("201", "sha256"), ("202", "sha384"), ("203", "sha512"))
        ),
    ],
)
def test_the_oaep_capabilities_of_rfc_3560_are_understood(encoding: str, digest: str) -> None:
    found = capabilities._parsed((bytes.fromhex(encoding),))
    row = by_name(Digest, digest)
    assert found.oaep() == OaepParameters(row, row)


# --- RFC 9936, ML-KEM-512: everything but the primitive -----------------------------------


@pytest.fixture(scope="module")
def example() -> Path:
    folder = VECTORS / "06_pqc" / "rfc9936_cms-kyber"
    if not folder.is_dir():
        pytest.skip(f"the vectors are not at {VECTORS}")
    return folder


def hexadecimal(path: Path) -> bytes:
    return bytes.fromhex(path.read_text())


def test_the_message_of_rfc_9936_is_read(example: Path) -> None:
    found = recognise((example / "ML-KEM-512.cms").read_bytes(), "1")
    assert found is not None
    enveloped = enveloped_data.read(found.der)
    (recipient,) = enveloped.recipients
    details = recipient.details
    assert (recipient.kind, details.ukm, details.kek_size) == ("kemri", None, 16)
    assert details.ciphertext == hexadecimal(example / "ciphertext.txt")
    assert recipient.encrypted_key == hexadecimal(example / "encrypted_cek.txt")
    assert recipient.algorithm is not None
    assert recipient.algorithm.oid == oids.ML_KEM_512
    assert details.kdf.oid == oids.HKDF_SHA256


def test_the_key_derivation_of_rfc_9936(example: Path) -> None:
    """From the shared secret that it prints, down to the text."""
    wrap = by_name(KeyWrap, "aes128-wrap")
    info = key_encapsulation._other_info(parameters.write_wrap(wrap), 16, None)
    assert info == hexadecimal(example / "ori_info.txt")
    assert info.hex() == "3010300b0609608648016503040105020110"
    secret = hexadecimal(example / "shared_secret.txt")
    kek = by_name(KeyDerivation, "hkdf-sha256").derive(secret, 16, info, None)
    assert kek == hexadecimal(example / "kek.txt")
    cek = wrap.unwrap(kek, hexadecimal(example / "encrypted_cek.txt"))
    assert cek == hexadecimal(example / "cek.txt")
    found = recognise((example / "ML-KEM-512.cms").read_bytes(), "1")
    assert found is not None
    enveloped = enveloped_data.read(found.der)
    encryption = parameters.read_cipher(enveloped.algorithm, "x")
    content = encryption.decrypt(cek, enveloped.ciphertext, enveloped.mac, enveloped.aad)
    assert content == (example / "plaintext.txt").read_bytes()


def test_without_the_primitive_it_is_unsupported_by_name(example: Path) -> None:
    class Key:
        certificate = None

        class private_key:  # noqa: N801 - stands for an object
            @staticmethod
            def decapsulate(_: bytes) -> bytes:
                raise AssertionError("the key was asked")

    found = recognise((example / "ML-KEM-512.cms").read_bytes(), "1")
    assert found is not None
    with pytest.raises(UnsupportedAlgorithm, match="ML-KEM-512") as caught:
        enveloped_data.decrypt(enveloped_data.read(found.der), [Key()], policy=RFC_8551)
    assert caught.value.oid == oids.ML_KEM_512


# --- RFC 9882 -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "arc", "size"), [(44, "11", 2420), (65, "12", 3309), (87, "13", 4627)]
)
def test_the_signer_of_rfc_9882(level: int, arc: str, size: int) -> None:
    """Its examples, and what we write ourselves: the identifiers, to the octet."""
    path = VECTORS / "06_pqc" / "rfc9882_cms-ml-dsa" / f"mldsa{level}-signed-attrs.pem"
    if not path.is_file():
        pytest.skip(f"the vectors are not at {VECTORS}")
    raw = path.read_bytes()
    found = recognise(raw[raw.index(b"-----BEGIN ") :], "1")
    assert found is not None
    _, node = read_content_info(found.der)
    (signer,) = signed_data.read(found.der).signers
    assert signer.version in (1, 3)
    assert len(signer.signature) == size
    assert signer.signature_algorithm.raw.hex() == f"300b06096086480165030403{arc}"
    scheme = by_name(algorithms.SignatureScheme, f"ml-dsa-{level}")
    assert parameters.write_signature(scheme, algorithms.SHA512) == signer.signature_algorithm.raw
    assert parameters.write_digest(algorithms.SHA512) == signer.digest_algorithm.raw
    assert node.tag == ber.SEQUENCE


# --- definitions that have no example of their own ----------------------------------------


def hkdf(digest: str, secret: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869 2.2 and 2.3, word by word."""
    key = hmac.digest(salt or bytes(by_name(Digest, digest).size), secret, digest)
    block, out, number = b"", b"", 1
    while len(out) < size:
        block = hmac.digest(key, block + info + bytes((number,)), digest)
        out, number = out + block, number + 1
    return out[:size]


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("salt", [None, b"further material"])
def test_hkdf_is_that_of_rfc_5869(digest: str, salt: bytes | None) -> None:
    row = by_name(KeyDerivation, f"hkdf-{digest}")
    made = row.derive(b"secret", 100, b"info", salt)
    assert made == hkdf(digest, b"secret", salt or b"", b"info", 100)
    agreement = by_name(algorithms.KeyAgreement, f"dhsinglepass-stddh-hkdf-{digest}")
    assert agreement.derive(b"secret", 100, b"info", salt) == made


def test_shake256_has_64_octets() -> None:
    """RFC 8702 2, RFC 8419: FIPS 202 prints what it makes of nothing."""
    nothing = (
        "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762f"
        "d75dc4ddd8c0f200cb05019d67b592f6fc821c49479ab48640292eacb3b7c4be"
    )
    for name in ("shake256", "shake256-len"):
        assert by_name(Digest, name).compute(b"").hex() == nothing
