"""The functions that the rows of `algorithms` hold: each calls one primitive of `cryptography`.

Signing and verifying take the data, not its digest, unless a scheme says otherwise. A failing
verification raises InvalidSignature; a failing decryption or unwrapping raises ValueError without a
word.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from hashlib import sha1
from itertools import chain
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import RC2, TripleDES
from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import ec, padding, x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES, ChaCha20
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.poly1305 import Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..buffers import CHUNK, Data, Octets, Rope, chunks, gather, rope
from . import rc2

# --- signatures ---------------------------------------------------------------------------


def rsa_pkcs1_sign(key: Any, data: bytes, digest: Any) -> bytes:
    return bytes(key.sign(data, padding.PKCS1v15(), digest.hash))


def rsa_pkcs1_verify(key: Any, signature: bytes, data: Data, digest: Any, _: Any) -> None:
    key.verify(signature, data, padding.PKCS1v15(), digest.hash)


def pss_sign(key: Any, data: bytes, digest: Any) -> bytes:
    # RFC 4056 2.2: the salt is as long as the digest
    pss = padding.PSS(padding.MGF1(digest.hash), digest.size)
    return bytes(key.sign(data, pss, digest.hash))


def pss_verify(key: Any, signature: bytes, data: Data, _: Any, parameters: Any) -> None:
    if parameters is None:
        raise InvalidSignature
    pss = padding.PSS(padding.MGF1(parameters.mgf_digest.hash), parameters.salt)
    key.verify(signature, data, pss, parameters.digest.hash)


@lru_cache(maxsize=16)  # more than there are digests
def _ecdsa(digest: Any) -> ec.ECDSA:
    return ec.ECDSA(digest.hash)


def ecdsa_sign(key: Any, data: bytes, digest: Any) -> bytes:
    return bytes(key.sign(data, _ecdsa(digest)))


def ecdsa_verify(key: Any, signature: bytes, data: Data, digest: Any, _: Any) -> None:
    key.verify(signature, data, _ecdsa(digest))


def dsa_verify(key: Any, signature: bytes, data: Data, digest: Any, _: Any) -> None:
    key.verify(signature, data, digest.hash)


def pure_sign(key: Any, data: bytes, _: Any) -> bytes:
    """EdDSA and ML-DSA sign the data itself, without a context (RFC 8419, RFC 9882)."""
    return bytes(key.sign(data))


def pure_verify(key: Any, signature: bytes, data: Data, _: Any, __: Any) -> None:
    key.verify(signature, data)


# --- content encryption -------------------------------------------------------------------

# RC2 with short keys runs in Python, some 100 KB a second: enough for the mail of its time
_MAX_RC2 = 4 << 20


def cbc(algorithm: Callable[[bytes], Any], block: int) -> dict[str, Any]:
    """Encrypt and decrypt of a block cipher in CBC mode with the padding of RFC 5652 6.3."""

    def encrypt(key: bytes, iv: bytes, content: Octets) -> tuple[Octets, bytes]:
        if isinstance(content, Rope):
            size = len(content) + block - len(content) % block
            return Rope(size, partial(encrypt_chunks, key, iv, content)), b""
        encryptor = Cipher(algorithm(key), modes.CBC(iv)).encryptor()
        # always padded, with as many octets as are missing
        pad = block - len(content) % block
        padding = bytes((pad,)) * pad
        return encryptor.update(b"".join((content, padding))), b""

    def encrypt_chunks(key: bytes, iv: bytes, content: Rope) -> Iterator[bytes]:
        encryptor = Cipher(algorithm(key), modes.CBC(iv)).encryptor()
        yield from map(encryptor.update, content.chunks())
        pad = block - len(content) % block
        yield encryptor.update(bytes((pad,)) * pad) + encryptor.finalize()

    def decrypt(key: bytes, iv: bytes, ciphertext: Data, _: bytes, __: bytes) -> Data:
        if not ciphertext or len(ciphertext) % block:
            raise ValueError
        decryptor = Cipher(algorithm(key), modes.CBC(iv)).decryptor()
        return gather(_unpadded_pieces(map(decryptor.update, chunks(ciphertext)), block))

    return {"encrypt": encrypt, "decrypt": decrypt, "iv_size": block, "parameters": "iv"}


def remove_padding(padded: bytes, block: int) -> bytes:
    pad = padded[-1]
    if not 1 <= pad <= block or padded[-pad:] != bytes((pad,)) * pad:
        raise ValueError
    return padded[:-pad]


def _unpadded_pieces(pieces: Iterator[bytes], block: int) -> Iterator[Data]:
    last = next(pieces)
    for piece in pieces:
        yield last
        last = piece
    yield remove_padding(last, block)


AES_CBC = cbc(AES, 16)
DES_EDE3_CBC = cbc(TripleDES, 8)


def rc2_cbc_encrypt(_: bytes, __: bytes, ___: Octets) -> tuple[Data, bytes]:
    raise ValueError("RC2 is for reading old mail, nothing is encrypted with it")


def rc2_cbc_decrypt(key: bytes, iv: bytes, ciphertext: Data, _: bytes, __: bytes) -> Data:
    """RC2 with as many effective bits as the key has, which is what S/MIME clients used."""
    if not ciphertext or len(ciphertext) % 8:
        raise ValueError
    if len(key) == 16:
        decryptor = Cipher(RC2(key), modes.CBC(iv)).decryptor()
        return gather(_unpadded_pieces(map(decryptor.update, chunks(ciphertext)), 8))
    if len(ciphertext) > _MAX_RC2:
        raise ValueError
    bits = 8 * len(key)
    # the padding first, for a message may have us try fifty keys, each for as long as the text is
    before_last = (iv + bytes(ciphertext[-16:-8]))[-8:]
    last = rc2.decrypt_cbc(bytes(ciphertext[-8:]), key=key, iv=before_last, effective_bits=bits)
    remove_padding(last, 8)
    return remove_padding(
        rc2.decrypt_cbc(bytes(ciphertext), key=key, iv=iv, effective_bits=bits), 8
    )


def gcm_encrypt(key: bytes, nonce: bytes, content: Octets) -> tuple[Octets, bytes | Rope]:
    if isinstance(content, Rope):
        return _with_tag(content, partial(_gcm_chunks, key, nonce, content))
    return _split_tag(AESGCM(key).encrypt(nonce, content, None))


def _with_tag(content: Rope, make: Callable[[], Iterator[bytes]]) -> tuple[Rope, Rope]:
    """Ciphertext and tag of what gives chunks as long as those of the content, and then the tag."""
    tags: list[bytes] = []

    def ciphertext() -> Iterator[bytes]:
        made = 0
        for chunk in make():
            if made < len(content):
                yield chunk
            else:
                tags[:] = [chunk]
            made += len(chunk)

    return Rope(len(content), ciphertext), Rope(16, lambda: iter(tags))


def _gcm_chunks(key: bytes, nonce: bytes, content: Rope) -> Iterator[bytes]:
    encryptor = Cipher(AES(key), modes.GCM(nonce)).encryptor()
    yield from map(encryptor.update, content.chunks())
    encryptor.finalize()
    yield encryptor.tag


def gcm_decrypt(key: bytes, nonce: bytes, ciphertext: Data, tag: bytes, aad: bytes) -> Data:
    try:
        # AESGCM takes 16-octet tags only; RFC 5084 3.2 allows 12 to 16
        decryptor = Cipher(AES(key), modes.GCM(nonce, tag, min_tag_length=12)).decryptor()
        decryptor.authenticate_additional_data(aad)
        content = gather(map(decryptor.update, chunks(ciphertext)))
        decryptor.finalize()
    except InvalidTag:
        raise ValueError from None
    return content


def ccm_encrypt(key: bytes, nonce: bytes, content: Octets) -> tuple[Data, bytes]:
    # 12 octets of nonce leave 3 for the length: 16 MB; the ceiling is said by `cryptography`
    whole = bytes(content) if isinstance(content, Rope) else content
    return _split_tag(AESCCM(key, tag_length=16).encrypt(nonce, whole, None))


def ccm_decrypt(key: bytes, nonce: bytes, ciphertext: Data, tag: bytes, aad: bytes) -> bytes:
    try:
        cipher = AESCCM(key, tag_length=len(tag))
        return cipher.decrypt(nonce, b"".join((ciphertext, tag)), aad or None)
    except InvalidTag:
        raise ValueError from None


def chacha_encrypt(key: bytes, nonce: bytes, content: Octets) -> tuple[Octets, bytes | Rope]:
    if isinstance(content, Rope):
        return _with_tag(content, partial(_chacha_chunks, key, nonce, content))
    return _split_tag(ChaCha20Poly1305(key).encrypt(nonce, content, None))


def _chacha_chunks(key: bytes, nonce: bytes, content: Rope) -> Iterator[bytes]:
    """RFC 8439 2.8 without additional data: `ChaCha20Poly1305` takes the whole only."""
    mac = _poly1305(key, nonce, b"")
    encryptor = _chacha20(key, nonce, 1)
    for chunk in content.chunks():
        ciphertext = encryptor.update(chunk)
        mac.update(ciphertext)
        yield ciphertext
    mac.update(_end_of_poly1305(0, len(content)))
    yield mac.finalize()


def _poly1305(key: bytes, nonce: bytes, aad: bytes) -> Poly1305:
    mac = Poly1305(_chacha20(key, nonce, 0).update(bytes(32)))
    mac.update(aad + bytes(-len(aad) % 16))
    return mac


def _end_of_poly1305(aad: int, content: int) -> bytes:
    return bytes(-content % 16) + aad.to_bytes(8, "little") + content.to_bytes(8, "little")


def _chacha20(key: bytes, nonce: bytes, counter: int) -> Any:
    return Cipher(ChaCha20(key, counter.to_bytes(4, "little") + nonce), None).encryptor()


def chacha_decrypt(key: bytes, nonce: bytes, ciphertext: Data, tag: bytes, aad: bytes) -> Data:
    try:
        if len(ciphertext) <= CHUNK:
            cipher = ChaCha20Poly1305(key)
            return cipher.decrypt(nonce, b"".join((ciphertext, tag)), aad or None)
        mac = _poly1305(key, nonce, aad)
        for chunk in chunks(ciphertext):
            mac.update(chunk)
        mac.update(_end_of_poly1305(len(aad), len(ciphertext)))
        mac.verify(tag)
    except (InvalidTag, InvalidSignature):
        raise ValueError from None
    return gather(map(_chacha20(key, nonce, 1).update, chunks(ciphertext)))


def _split_tag(sealed: bytes) -> tuple[Data, bytes]:
    view = memoryview(sealed)
    return view[:-16], bytes(view[-16:])


def cek_hkdf(cek: bytes, algorithm_identifier: bytes) -> bytes:
    """CMS_CEK_HKDF_SHA256 (RFC 9709 2)."""
    kdf = HKDF(hashes.SHA256(), len(cek), b"The Cryptographic Message Syntax", algorithm_identifier)
    return kdf.derive(cek)


# --- key transport and agreement ----------------------------------------------------------


def rsa_pkcs1_wrap(key: Any, cek: bytes, _: Any) -> bytes:
    return bytes(key.encrypt(cek, padding.PKCS1v15()))


def rsa_pkcs1_unwrap(key: Any, wrapped: bytes, _: Any) -> bytes:
    return bytes(key.decrypt(wrapped, padding.PKCS1v15()))


def _oaep(parameters: Any) -> padding.OAEP:
    if parameters is None:
        raise ValueError
    return padding.OAEP(
        padding.MGF1(parameters.mgf_digest.hash), parameters.digest.hash, parameters.label or None
    )


def oaep_wrap(key: Any, cek: bytes, parameters: Any) -> bytes:
    return bytes(key.encrypt(cek, _oaep(parameters)))


def oaep_unwrap(key: Any, wrapped: bytes, parameters: Any) -> bytes:
    return bytes(key.decrypt(wrapped, _oaep(parameters)))


def pwri_wrap(kek: bytes, iv: bytes, cek: bytes) -> bytes:
    """RFC 3211 2.3.1: length, check octets, key and padding, encrypted twice in one CBC chain."""
    block = bytes((len(cek),)) + bytes(octet ^ 0xFF for octet in cek[:3]) + cek
    size = max(32, -(-len(block) // 16) * 16)
    block += os.urandom(size - len(block))
    encryptor = Cipher(AES(kek), modes.CBC(iv)).encryptor()
    first = encryptor.update(block)
    return encryptor.update(first) + encryptor.finalize()


def pwri_unwrap(kek: bytes, iv: bytes, wrapped: bytes) -> bytes:
    """RFC 3211 2.3.2. ValueError without a word for any failure."""
    if len(wrapped) < 32 or len(wrapped) % 16:
        raise ValueError

    def decrypt(data: bytes, start: bytes) -> bytes:
        decryptor = Cipher(AES(kek), modes.CBC(start)).decryptor()
        return decryptor.update(data) + decryptor.finalize()

    last = decrypt(wrapped[-16:], wrapped[-32:-16])
    block = decrypt(decrypt(wrapped, last), iv)
    size, check, cek = block[0], block[1:4], block[4 : 4 + block[0]]
    if len(cek) != size or size < 3 or check != bytes(octet ^ 0xFF for octet in cek[:3]):
        raise ValueError
    return cek


def kem_encapsulate(public: Any) -> tuple[bytes, bytes]:
    secret, ciphertext = public.encapsulate()
    return bytes(secret), bytes(ciphertext)


def x963(algorithm: hashes.HashAlgorithm) -> Callable[[bytes, int, bytes, bytes | None], bytes]:
    return lambda secret, size, info, _: X963KDF(algorithm, size, info).derive(secret)


def hkdf(algorithm: hashes.HashAlgorithm) -> Callable[[bytes, int, bytes, bytes | None], bytes]:
    """RFC 8418 2.2: the ukm, if there is one, is the salt as well."""
    return lambda secret, size, info, ukm: HKDF(algorithm, size, ukm, info).derive(secret)


def ec_ephemeral(public: Any) -> Any:
    return ec.generate_private_key(public.curve)


def ec_exchange(private: Any, public: Any) -> bytes:
    return bytes(private.exchange(ec.ECDH(), public))


def ec_encode(public: Any) -> bytes:
    return bytes(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def ec_decode(point: bytes, own: Any) -> Any:
    return ec.EllipticCurvePublicKey.from_encoded_point(own.curve, point)


def x25519_ephemeral(_: Any) -> Any:
    return x25519.X25519PrivateKey.generate()


def x448_ephemeral(_: Any) -> Any:
    return x448.X448PrivateKey.generate()


def montgomery_exchange(private: Any, public: Any) -> bytes:
    return bytes(private.exchange(public))  # refuses an all-zero secret (RFC 8418 3.2)


def montgomery_encode(public: Any) -> bytes:
    return bytes(public.public_bytes_raw())


def x25519_decode(point: bytes, _: Any) -> Any:
    return x25519.X25519PublicKey.from_public_bytes(point)


def x448_decode(point: bytes, _: Any) -> Any:
    return x448.X448PublicKey.from_public_bytes(point)


# --- key wrap -----------------------------------------------------------------------------


def aes_wrap(kek: bytes, cek: bytes) -> bytes:
    return keywrap.aes_key_wrap(kek, cek)


def aes_unwrap(kek: bytes, wrapped: bytes) -> bytes:
    try:
        return keywrap.aes_key_unwrap(kek, wrapped)
    except keywrap.InvalidUnwrap:
        raise ValueError from None


def des3_wrap(_: bytes, __: bytes) -> bytes:
    raise ValueError("Triple-DES wrap is for reading old mail, nothing is wrapped with it")


def des3_unwrap(kek: bytes, wrapped: bytes) -> bytes:
    """RFC 3217 3.2, to read old mail."""
    if len(wrapped) != 40:
        raise ValueError

    def decrypt(data: bytes, iv: bytes) -> bytes:
        decryptor = Cipher(TripleDES(kek), modes.CBC(iv)).decryptor()
        return decryptor.update(data) + decryptor.finalize()

    reversed_twice = decrypt(wrapped, bytes.fromhex("4adda22c79e82105"))[::-1]
    plain = decrypt(reversed_twice[8:], reversed_twice[:8])
    key, check = plain[:24], plain[24:]
    if sha1(key, usedforsecurity=False).digest()[:8] != check:
        raise ValueError
    return key


# --- compression --------------------------------------------------------------------------


def zlib_compress(content: Octets) -> bytes | Rope:
    if not isinstance(content, Rope):
        return zlib.compress(content)
    engine = zlib.compressobj()
    last = (engine.flush() for _ in range(1))  # when it is its turn
    return rope([gather(chain(map(engine.compress, content.chunks()), last))])


def zlib_decompress(data: Data, limit: int) -> Data:
    """At most `limit` octets; OverflowError for more, ValueError for a broken stream and for what
    follows it.
    """
    try:
        return gather(_inflated(data, limit))
    except zlib.error:
        raise ValueError from None


def _inflated(data: Data, limit: int) -> Iterator[bytes]:
    engine = zlib.decompressobj()
    for chunk in chunks(data):
        rest = chunk
        piece = b""
        while rest or len(piece) == CHUNK:  # or there is more to come out
            piece = engine.decompress(rest, CHUNK)
            limit -= len(piece)
            if limit < 0:
                raise OverflowError
            yield piece
            rest = engine.unconsumed_tail
        if engine.unused_data:
            break
    if not engine.eof or engine.unused_data:
        raise ValueError
