"""Project Wycheproof for the primitives that are called with parameters of our own choosing.

Every case goes through the function that a row of the table holds: what is valid must come out as
it stands there, what is invalid must be a failure without a word, and what Wycheproof calls
acceptable one of the two. How many cases ran of each file is said at the end. There is no file for
AES-CCM, X448, plain AES key wrap and PKCS#1 v1.5 decryption: examples of their documents, and what
follows from those of Wycheproof, stand below.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, mlkem, rsa, x25519

from smime_graph import algorithms
from smime_graph.algorithms import (
    AgreementKey,
    ContentCipher,
    Digest,
    KeyDerivation,
    KeyKind,
    KeyTransport,
    KeyWrap,
    OaepParameters,
    PssParameters,
    SignatureScheme,
    by_name,
)
from smime_graph.algorithms import primitives as do

Group = dict[str, Any]
Case = dict[str, Any]
FAILURES = (ValueError, InvalidSignature)


def agreement(kind: str) -> AgreementKey:
    row = by_name(KeyKind, kind).agreement
    assert row is not None
    return row


@pytest.fixture(scope="session")
def wycheproof(vectors: Path, summary: list[str]) -> Iterator[Callable[[str], list[Any]]]:
    folder = vectors / "09b_wycheproof" / "testvectors_v1"
    ran: dict[str, int] = {}

    def cases(name: str) -> list[tuple[Group, Case]]:
        path = folder / f"{name}_test.json"
        if not path.is_file():
            pytest.skip(f"there is no {path.name} among the vectors")
        groups = json.loads(path.read_text(encoding="utf-8"))["testGroups"]
        found = [(group, case) for group in groups for case in group["tests"]]
        assert found
        ran[name] = len(found)
        return found

    yield cases
    listed = ", ".join(f"{name} {n}" for name, n in sorted(ran.items()))
    summary.append(f"wycheproof: {sum(ran.values())} cases of {len(ran)} files ran: {listed}")


def octets(case: Case, name: str) -> bytes:
    return bytes.fromhex(case[name])


def verdict(case: Case, happened: bool) -> None:
    """`happened`: whether it was taken. Never both."""
    if case["result"] != "acceptable":
        assert happened is (case["result"] == "valid"), case


def digest(name: str) -> Digest:
    return by_name(Digest, name.lower().replace("-", ""))


def deciphered(cipher: ContentCipher, *arguments: bytes) -> bytes | None:
    try:
        return bytes(cipher.decrypt(*arguments))
    except ValueError:
        return None


# --- content encryption -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["aes_gcm", "chacha20_poly1305"])
def test_authenticated_ciphers(name: str, wycheproof: Callable[[str], list[Any]]) -> None:
    for group, case in wycheproof(name):
        bits = group["keySize"]
        row = f"aes{bits}-gcm" if name == "aes_gcm" else "chacha20-poly1305"
        cipher = by_name(ContentCipher, row)
        key, iv, aad = octets(case, "key"), octets(case, "iv"), octets(case, "aad")
        ct, tag = octets(case, "ct"), octets(case, "tag")
        content = deciphered(cipher, key, iv, ct, tag, aad)
        if name == "aes_gcm" and not 8 <= len(iv) <= 128:
            # the primitive takes nonces of 8 to 128 octets; RFC 5084 3.2 recommends 12
            assert content is None
            continue
        verdict(case, content is not None)
        if content is not None:
            assert content == octets(case, "msg")
        if case["result"] == "valid" and not aad and len(iv) == cipher.iv_size:
            made, made_tag = cipher.encrypt(key, iv, content or b"")
            assert (bytes(made), made_tag) == (ct, tag)


def test_tags_of_12_to_16_octets_are_taken_and_none_shorter(
    wycheproof: Callable[[str], list[Any]],
) -> None:
    """RFC 5084 3.2; `parameters.read_cipher` refuses a length outside, the primitive again."""
    seen = 0
    for group, case in wycheproof("aes_gcm"):
        iv, tag = octets(case, "iv"), octets(case, "tag")
        if case["result"] != "valid" or not 8 <= len(iv) <= 128:
            continue
        seen += 1
        cipher = by_name(ContentCipher, f"aes{group['keySize']}-gcm")
        key, ct, aad = octets(case, "key"), octets(case, "ct"), octets(case, "aad")
        for size in range(17):
            short = tag[:size]
            content = deciphered(cipher, key, iv, ct, short, aad)
            assert content == (octets(case, "msg") if size >= 12 else None)
            if size >= 12:
                wrong = short[:-1] + bytes((short[-1] ^ 1,))
                assert deciphered(cipher, key, iv, ct, wrong, aad) is None
    assert seen > 100


def test_the_padding_of_cbc(wycheproof: Callable[[str], list[Any]]) -> None:
    for group, case in wycheproof("aes_cbc_pkcs5"):
        cipher = by_name(ContentCipher, f"aes{group['keySize']}-cbc")
        key, iv, ct = octets(case, "key"), octets(case, "iv"), octets(case, "ct")
        content = deciphered(cipher, key, iv, ct, b"", b"")
        verdict(case, content is not None)
        if content is not None:
            assert content == octets(case, "msg")
            assert bytes(cipher.encrypt(key, iv, content)[0]) == ct


def test_ccm_of_its_specification() -> None:
    """NIST SP 800-38C, example 4: a nonce of 13 octets and a tag of 14."""
    key, nonce = bytes(range(0x40, 0x50)), bytes(range(0x10, 0x1D))
    aad, content = bytes(range(256)) * 256, bytes(range(0x20, 0x40))
    sealed = bytes.fromhex(
        "69915dad1e84c6376a68c2967e4dab615ae0fd1faec44cc484828529463ccf72b4ac6bec93e8598e7f0dadbcea5b"
    )
    cipher = by_name(ContentCipher, "aes128-ccm")
    assert cipher.decrypt(key, nonce, sealed[:32], sealed[32:], aad) == content
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        first, rest = bytes(changed[:32]), bytes(changed[32:])
        assert deciphered(cipher, key, nonce, first, rest, aad) is None
    assert deciphered(cipher, key, nonce, sealed[:32], sealed[32:], aad[1:]) is None


# --- key transport and key wrap -----------------------------------------------------------

OAEP = [
    *("2048_sha224_mgf1sha1", "2048_sha256_mgf1sha256", "2048_sha384_mgf1sha384"),
    *("2048_sha512_mgf1sha1", "3072_sha256_mgf1sha1", "3072_sha256_mgf1sha256"),
    *("3072_sha512_mgf1sha1", "4096_sha256_mgf1sha1", "4096_sha256_mgf1sha256"),
    "4096_sha512_mgf1sha512",
]


@cache
def rsa_key(pem: str) -> Any:
    return ser.load_pem_private_key(pem.encode(), None)


@pytest.mark.parametrize("name", OAEP)
def test_oaep(name: str, wycheproof: Callable[[str], list[Any]]) -> None:
    transport = by_name(KeyTransport, "rsaes-oaep")
    for group, case in wycheproof(f"rsa_oaep_{name}"):
        parameters = OaepParameters(
            digest(group["sha"]), digest(group["mgfSha"]), octets(case, "label")
        )
        key = rsa_key(group["privateKeyPem"])
        try:
            found = transport.unwrap(key, octets(case, "ct"), parameters)
        except ValueError:
            verdict(case, False)
            continue
        verdict(case, True)
        assert found == octets(case, "msg")
        other = OaepParameters(parameters.digest, parameters.mgf_digest, b"another label")
        with pytest.raises(ValueError):
            transport.unwrap(key, octets(case, "ct"), other)


def test_pkcs1_decryption_never_says_that_it_failed(
    wycheproof: Callable[[str], list[Any]],
) -> None:
    """What OAEP made is no PKCS #1 v1.5: random octets come out, the same ones each time."""
    transport = by_name(KeyTransport, "rsaes-pkcs1v15")
    assert transport.implicit_rejection
    seen = 0
    for group, case in wycheproof("rsa_oaep_2048_sha256_mgf1sha256"):
        ct = octets(case, "ct")
        if len(ct) != 256 or case["result"] != "valid":
            continue
        seen += 1
        key = rsa_key(group["privateKeyPem"])
        first = transport.unwrap(key, ct, None)
        assert first == transport.unwrap(key, ct, None)
        assert first != octets(case, "msg") or not first
    assert seen > 10


def test_padded_key_wrap_is_not_key_wrap(wycheproof: Callable[[str], list[Any]]) -> None:
    """RFC 5649 is another algorithm, with an identifier of its own: RFC 3394 takes none of it."""
    for group, case in wycheproof("aes_kwp"):
        row = by_name(KeyWrap, f"aes{group['keySize']}-wrap")
        if case["comment"] == "RFC 3349 padding":  # RFC 3394 is meant: invalid there, ours here
            assert row.unwrap(octets(case, "key"), octets(case, "ct")) == octets(case, "msg")
            continue
        with pytest.raises(ValueError, match=r"^$"):
            row.unwrap(octets(case, "key"), octets(case, "ct"))


@pytest.mark.parametrize(
    ("kek", "key", "wrapped"),
    [  # RFC 3394 4.1, 4.2, 4.6
        (16, 16, "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"),
        (24, 16, "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d"),
        (
            *(32, 32),
            "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21",
        ),
    ],
)
def test_key_wrap_of_its_rfc(kek: int, key: int, wrapped: str) -> None:
    row = next(row for row in algorithms.rows(KeyWrap) if row.key_size == kek)
    secret, cek = bytes(range(kek)), (bytes.fromhex("00112233445566778899aabbccddeeff") * 2)[:key]
    if key == 32:
        cek = cek[:16] + bytes(range(16))
    assert row.wrap(secret, cek).hex() == wrapped
    assert row.unwrap(secret, bytes.fromhex(wrapped)) == cek
    for place in range(len(wrapped) // 2):
        changed = bytearray.fromhex(wrapped)
        changed[place] ^= 0x80
        with pytest.raises(ValueError, match=r"^$"):
            row.unwrap(secret, bytes(changed))


# --- key agreement ------------------------------------------------------------------------


@pytest.mark.parametrize("curve", ["secp256r1", "secp384r1"])
def test_ecdh(curve: str, wycheproof: Callable[[str], list[Any]]) -> None:
    """A point as it stands in an OriginatorPublicKey; the curve is our own (RFC 5753 7.1.2)."""
    row = agreement("ec")
    kind = {"secp256r1": ec.SECP256R1(), "secp384r1": ec.SECP384R1()}[curve]
    taken = 0
    for _, case in wycheproof(f"ecdh_{curve}"):
        point = _point(octets(case, "public"), (kind.key_size + 7) // 8)
        if point is None:
            continue
        try:
            private = ec.derive_private_key(int(case["private"], 16), kind)
            shared = row.exchange(private, row.decode(point, private))
        except ValueError:
            assert case["result"] != "valid", case
            continue
        if case["result"] == "invalid":
            # its point is one of ours; what is wrong stands in curve parameters, and those of a
            # message are never used
            assert "UnnamedCurve" in case["flags"] or "ModifiedGroup" in case["flags"], case
            assert row.decode(point, private).curve.name == curve
            continue
        taken += 1
        assert shared == octets(case, "shared").rjust(len(shared), b"\0")
    assert taken > 300


def _point(spki: bytes, size: int) -> bytes | None:
    """The point at the end of a SubjectPublicKeyInfo, where it is of this curve's size."""
    for length, first in ((2 * size + 1, b"\x04"), (size + 1, b"\x02"), (size + 1, b"\x03")):
        tail = spki[-length:]
        if tail[:1] == first and spki[-length - 1 : -length] == b"\0":
            return tail
    return None


def test_x25519(wycheproof: Callable[[str], list[Any]]) -> None:
    row = agreement("x25519")
    for _, case in wycheproof("x25519"):
        private = x25519.X25519PrivateKey.from_private_bytes(octets(case, "private"))
        try:
            shared = row.exchange(private, row.decode(octets(case, "public"), private))
        except ValueError:
            # RFC 8418 3.2: an all-zero secret is refused
            assert "ZeroSharedSecret" in case["flags"], case
            continue
        assert "ZeroSharedSecret" not in case["flags"]
        assert shared == octets(case, "shared")


@pytest.mark.parametrize("name", ["hkdf_sha256", "hkdf_sha512"])
def test_hkdf(name: str, wycheproof: Callable[[str], list[Any]]) -> None:
    row = by_name(KeyDerivation, name.replace("_", "-"))
    for _, case in wycheproof(name):
        ikm, salt, info = octets(case, "ikm"), octets(case, "salt"), octets(case, "info")
        try:
            okm = row.derive(ikm, case["size"], info, salt or None)
        except ValueError:
            verdict(case, False)
            continue
        verdict(case, True)
        assert okm == octets(case, "okm")


def test_ml_kem(wycheproof: Callable[[str], list[Any]]) -> None:
    """A changed ciphertext gives another secret, never an error that tells (FIPS 203 6.3)."""
    for _, case in wycheproof("mlkem_768"):
        try:
            private = mlkem.MLKEM768PrivateKey.from_seed_bytes(octets(case, "seed"))
            secret = private.decapsulate(octets(case, "c"))
        except ValueError:
            verdict(case, False)
            continue
        verdict(case, True)
        assert private.public_key().public_bytes_raw() == octets(case, "ek")
        assert secret == octets(case, "K")


# --- signatures ---------------------------------------------------------------------------


def verified(scheme: SignatureScheme, key: Any, case: Case, of: Digest, pss: Any = None) -> bool:
    try:
        scheme.verify(key, octets(case, "sig"), octets(case, "msg"), of, pss)
    except FAILURES:
        return False
    return True


@pytest.mark.parametrize("curve", ["secp256r1", "brainpoolP256r1"])
def test_ecdsa(curve: str, wycheproof: Callable[[str], list[Any]]) -> None:
    scheme = by_name(SignatureScheme, "ecdsa")
    for group, case in wycheproof(f"ecdsa_{curve}_sha256"):
        key = _public(group["publicKeyDer"])
        assert isinstance(key, ec.EllipticCurvePublicKey)
        verdict(case, verified(scheme, key, case, algorithms.SHA256))


@pytest.mark.parametrize(
    ("name", "kind"), [("ed25519", ed25519.Ed25519PublicKey), ("ed448", ed448.Ed448PublicKey)]
)
def test_eddsa(name: str, kind: type, wycheproof: Callable[[str], list[Any]]) -> None:
    scheme = by_name(SignatureScheme, name)
    for group, case in wycheproof(name):
        key = _public(group["publicKeyDer"])
        assert isinstance(key, kind)
        verdict(case, verified(scheme, key, case, algorithms.SHA512))


def test_rsa_pkcs1(wycheproof: Callable[[str], list[Any]]) -> None:
    scheme = by_name(SignatureScheme, "rsassa-pkcs1v15")
    for group, case in wycheproof("rsa_signature_2048_sha256"):
        key = _public(group["publicKeyDer"])
        assert isinstance(key, rsa.RSAPublicKey)
        verdict(case, verified(scheme, key, case, algorithms.SHA256))


@pytest.mark.parametrize(
    "name",
    [
        *("2048_sha256_mgf1_0", "2048_sha256_mgf1_0_params", "2048_sha256_mgf1_32_params"),
        *("2048_sha256_mgf1sha1_20", "2048_sha384_mgf1_48", "2048_sha512_mgf1sha256_32_params"),
    ],
)
def test_pss(name: str, wycheproof: Callable[[str], list[Any]]) -> None:
    scheme = by_name(SignatureScheme, "rsassa-pss")
    for group, case in wycheproof(f"rsa_pss_{name}"):
        key = _rsa_public(group["publicKey"]["modulus"], group["publicKey"]["publicExponent"])
        of = digest(group["sha"])
        pss = PssParameters(of, digest(group["mgfSha"]), group["sLen"])
        verdict(case, verified(scheme, key, case, of, pss))


def test_ml_dsa(wycheproof: Callable[[str], list[Any]]) -> None:
    """Pure, with an empty context, as CMS has it (RFC 9882 2): with another it is invalid."""
    scheme = by_name(SignatureScheme, "ml-dsa-44")
    for group, case in wycheproof("mldsa_44_verify"):
        try:
            key = mldsa.MLDSA44PublicKey.from_public_bytes(octets(group, "publicKey"))
        except ValueError:
            assert case["result"] == "invalid"
            continue
        happened = verified(scheme, key, case, algorithms.SHA512)
        if case.get("ctx"):
            assert not happened
        else:
            verdict(case, happened)


@cache
def _public(der: str) -> Any:
    return ser.load_der_public_key(bytes.fromhex(der))


@cache
def _rsa_public(modulus: str, exponent: str) -> Any:
    return rsa.RSAPublicNumbers(int(exponent, 16), int(modulus, 16)).public_key()


def test_the_functions_tried_here_are_those_of_the_table() -> None:
    assert by_name(ContentCipher, "aes256-gcm").decrypt is do.gcm_decrypt
    assert by_name(KeyTransport, "rsaes-oaep").unwrap is do.oaep_unwrap
    assert {row.unwrap for row in algorithms.rows(KeyWrap)} == {do.aes_unwrap, do.des3_unwrap}
    with pytest.raises(_Unsupported):
        rsa_oaep_with_md5()


def rsa_oaep_with_md5() -> None:
    """No primitive: `key_transport.unwrap` turns this into our own error."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    do.oaep_wrap(key.public_key(), b"x", OaepParameters(algorithms.MD5, algorithms.MD5))
