"""The functions that rows hold: what they make is read, and a failure is silent."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from hypothesis import given
from hypothesis import strategies as st

from smime_graph.algorithms import primitives as do

KEY, IV = bytes(range(32)), bytes(range(16))
CBC: dict[str, tuple[dict[str, Any], Callable[[bytes], Any], bytes, bytes]] = {
    "aes": (do.AES_CBC, AES, KEY, IV),
    "des-ede3": (do.DES_EDE3_CBC, TripleDES, KEY[:24], IV[:8]),
}


def is_silent(call: Callable[[], object]) -> None:
    """It fails, and says nothing that would tell why."""
    with pytest.raises(ValueError, match=r"^$") as caught:
        call()
    assert caught.value.__cause__ is None


# --- CBC and its padding (RFC 5652 6.3) ----------------------------------------------------------


@pytest.mark.parametrize("name", CBC)
@pytest.mark.parametrize("size", [0, 1, 7, 8, 15, 16, 17, 1000])
def test_as_many_octets_as_are_missing_are_padded_and_never_none(name: str, size: int) -> None:
    row, algorithm, key, iv = CBC[name]
    content = os.urandom(size)
    ciphertext, tag = row["encrypt"](key, iv, content)
    decryptor = Cipher(algorithm(key), modes.CBC(iv)).decryptor()
    padded = decryptor.update(bytes(ciphertext)) + decryptor.finalize()
    pad = len(iv) - size % len(iv)
    assert padded == content + bytes((pad,)) * pad
    assert tag == b""
    assert row["decrypt"](key, iv, bytes(ciphertext), b"", b"") == content


@pytest.mark.parametrize("around", [-1, 0, 1])
def test_content_in_several_pieces_is_one(around: int) -> None:
    content = os.urandom((1 << 20) + around)
    ciphertext, _ = do.AES_CBC["encrypt"](KEY, IV, memoryview(content))
    assert do.AES_CBC["decrypt"](KEY, IV, ciphertext, b"", b"") == content


@pytest.mark.parametrize("name", CBC)
@pytest.mark.parametrize("end", ["00", "0102", "030203", "11", "ff", "02040404"])
def test_every_wrong_padding_fails_alike(name: str, end: str) -> None:
    row, algorithm, key, iv = CBC[name]
    block = bytes.fromhex(end).rjust(len(iv), b"\0")
    encryptor = Cipher(algorithm(key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(block) + encryptor.finalize()
    is_silent(lambda: row["decrypt"](key, iv, ciphertext, b"", b""))


@pytest.mark.parametrize("name", CBC)
@pytest.mark.parametrize("size", [0, 1, 17, 31])
def test_what_is_no_whole_blocks_fails(name: str, size: int) -> None:
    row, _, key, iv = CBC[name]
    is_silent(lambda: row["decrypt"](key, iv, bytes(size), b"", b""))


# --- RC2 -----------------------------------------------------------------------------------------


def test_a_short_rc2_key_is_tried_on_the_last_block_before_the_whole_text() -> None:
    """Fifty keys for one message must not cost fifty times its text."""
    long = bytes(do._MAX_RC2)
    is_silent(lambda: do.rc2_cbc_decrypt(b"12345", IV[:8], long, b"", b""))
    is_silent(lambda: do.rc2_cbc_decrypt(b"12345", IV[:8], long + bytes(8), b"", b""))
    is_silent(lambda: do.rc2_cbc_decrypt(b"12345", IV[:8], bytes(12), b"", b""))


def test_nothing_is_made_with_what_only_old_mail_has() -> None:
    with pytest.raises(ValueError, match="reading old mail"):
        do.rc2_cbc_encrypt(KEY, IV, b"x")
    with pytest.raises(ValueError, match="reading old mail"):
        do.des3_wrap(KEY, KEY)


# --- with a tag ----------------------------------------------------------------------------------

AEAD: dict[str, tuple[Any, Any, Any]] = {
    "gcm": (do.gcm_encrypt, do.gcm_decrypt, AESGCM(KEY)),
    "ccm": (do.ccm_encrypt, do.ccm_decrypt, AESCCM(KEY)),
    "chacha": (do.chacha_encrypt, do.chacha_decrypt, ChaCha20Poly1305(KEY)),
}


@pytest.mark.parametrize("name", AEAD)
@given(content=st.binary(max_size=70), aad=st.binary(max_size=20))
def test_what_has_a_tag_is_read_and_one_bit_changed_is_not(
    name: str, content: bytes, aad: bytes
) -> None:
    encrypt, decrypt, theirs = AEAD[name]
    nonce = IV[:12]
    ciphertext, tag = encrypt(KEY, nonce, content)
    assert bytes(ciphertext) + tag == theirs.encrypt(nonce, content, None)
    assert decrypt(KEY, nonce, bytes(ciphertext), tag, b"") == content
    sealed = theirs.encrypt(nonce, content, aad)
    body, tag = sealed[:-16], sealed[-16:]
    assert decrypt(KEY, nonce, body, tag, aad) == content
    for place in range(0, len(sealed), 5):
        changed = bytearray(sealed)
        changed[place] ^= 1
        is_silent(partial(decrypt, KEY, nonce, bytes(changed[:-16]), bytes(changed[-16:]), aad))
    is_silent(lambda: decrypt(KEY, nonce, body, tag, aad + b"x"))


@pytest.mark.parametrize("size", [12, 13, 14, 15, 16])
def test_a_gcm_tag_has_12_to_16_octets(size: int) -> None:
    """RFC 5084 3.2."""
    ciphertext, tag = do.gcm_encrypt(KEY, IV[:12], b"text")
    assert do.gcm_decrypt(KEY, IV[:12], bytes(ciphertext), bytes(tag)[:size], b"") == b"text"
    with pytest.raises(ValueError, match=r".*"):
        do.gcm_decrypt(KEY, IV[:12], bytes(ciphertext), bytes(tag)[:11], b"")


# --- keys ----------------------------------------------------------------------------------------


def test_triple_des_unwraps_what_rfc_3217_wraps() -> None:
    """RFC 3217 3.1, written down here; the check is the digest of the key, both ends turned."""

    def wrap(kek: bytes, cek: bytes, iv: bytes) -> bytes:
        def encrypt(data: bytes, start: bytes) -> bytes:
            encryptor = Cipher(TripleDES(kek), modes.CBC(start)).encryptor()
            return encryptor.update(data) + encryptor.finalize()

        check = hashlib.sha1(cek, usedforsecurity=False).digest()[:8]
        inner = (iv + encrypt(cek + check, iv))[::-1]
        return encrypt(inner, bytes.fromhex("4adda22c79e82105"))

    kek, cek = KEY[:24], os.urandom(24)
    wrapped = wrap(kek, cek, IV[:8])
    assert do.des3_unwrap(kek, wrapped) == cek
    for place in range(len(wrapped)):
        changed = bytearray(wrapped)
        changed[place] ^= 0x80
        is_silent(partial(do.des3_unwrap, kek, bytes(changed)))
    is_silent(lambda: do.des3_unwrap(kek, wrapped[:-8]))


def test_the_ukm_is_the_salt_of_hkdf_and_of_x963_nothing() -> None:
    """RFC 8418 2.2; X9.63 has it in the shared info alone (RFC 5753 7.2)."""
    hkdf, x963 = do.hkdf(hashes.SHA256()), do.x963(hashes.SHA256())
    assert hkdf(b"secret", 32, b"info", b"ukm") != hkdf(b"secret", 32, b"info", None)
    assert x963(b"secret", 32, b"info", b"ukm") == x963(b"secret", 32, b"info", None)
    counted = hashlib.sha256(b"secret" + (1).to_bytes(4, "big") + b"info").digest()
    assert x963(b"secret", 32, b"info", None) == counted


@pytest.mark.parametrize("kind", ["x25519", "x448"])
def test_a_point_that_makes_every_secret_zero_is_refused(kind: str) -> None:
    """RFC 8418 3.2, RFC 7748 6."""
    private: Any
    if kind == "x25519":
        private, size, decode = x25519.X25519PrivateKey.generate(), 32, do.x25519_decode
    else:
        private, size, decode = x448.X448PrivateKey.generate(), 56, do.x448_decode
    with pytest.raises(ValueError, match=r".*"):
        do.montgomery_exchange(private, decode(bytes(size), None))


# --- compression ---------------------------------------------------------------------------------


@given(st.binary(max_size=500), st.integers(0, 500))
def test_no_more_is_unpacked_than_the_limit(content: bytes, limit: int) -> None:
    packed = bytes(do.zlib_compress(content))
    if len(content) <= limit:
        assert do.zlib_decompress(packed, limit) == content
    else:
        with pytest.raises(OverflowError):
            do.zlib_decompress(packed, limit)


@pytest.mark.parametrize("wrong", ["cut", "behind", "no zlib", "changed"])
def test_a_stream_that_is_not_whole_or_not_alone_fails(wrong: str) -> None:
    packed = zlib.compress(b"some text that is long enough to be packed")
    data = {
        "cut": packed[:-1],
        "behind": packed + b"x",
        "no zlib": b"some text",
        "changed": packed[:-1] + bytes((packed[-1] ^ 1,)),
    }[wrong]
    is_silent(lambda: do.zlib_decompress(data, 1000))
