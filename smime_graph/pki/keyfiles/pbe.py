"""Password-based encryption and integrity: PBES2 and PBKDF2 or scrypt (RFC 8018, RFC 7914), PBMAC1,
and the older PKCS#12 schemes (RFC 7292 appendices B and C), within a budget of iterations.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from ... import oids
from ...algorithms import Digest, rc2, rows
from ...asn1 import ber
from ...asn1.algorithm_identifier import AlgorithmIdentifier
from ...asn1.pbkdf2 import Pbkdf2Parameters, write_pbkdf2
from ...errors import Hint, MalformedMessage, UnsupportedAlgorithm, UsageError

# Counted over the whole file in computations of a digest or HMAC, of which a million takes a third
# of a second at most; digests of 64-bit words take twice as long. The derivation of PKCS#12 runs in
# Python and takes half as long again, yet Firefox asks for six or seven blocks of 600,000 of it.
MAX_ITERATIONS = 4_500_000
_SCRYPT_WEIGHT = 1.5  # of N * r * p
_MAX_SCRYPT_MEMORY = 160 << 20  # N = 2**17 with r = 8 wants 128 MB

Encryption = Literal["aes-256", "3des"]
# What is written. The old scheme's derivation runs in Python here, so it gets fewer.
ITERATIONS: dict[Encryption, int] = {"aes-256": 100_000, "3des": 10_000}


class WrongPassword(UsageError):
    """The password does not open the file, or none was given and it needs one: ask for another."""


# names of hashlib, by the identifiers of digest and HMAC
_DIGESTS = {oids.BLAKE2B: "blake2b"} | {
    oid: row.name for row in rows(Digest) if row.hmac for oid in (row.oid, row.hmac)
}

Decrypt = Callable[[bytes, bytes, bytes], bytes]  # key, iv, ciphertext


def _aes_cbc(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    decryptor = Cipher(AES(key), modes.CBC(iv)).decryptor()
    return decryptor.update(ciphertext) + decryptor.finalize()


def _triple_des_cbc(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    key += key[:8] if len(key) == 16 else b""
    decryptor = Cipher(TripleDES(key), modes.CBC(iv)).decryptor()
    return decryptor.update(ciphertext) + decryptor.finalize()


def _rc2_cbc(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    return rc2.decrypt_cbc(ciphertext, key=key, iv=iv, effective_bits=8 * len(key))


# RFC 7292 appendix C: octets of key, cipher. The two with RC4 have not been seen in any file.
_PBES1: dict[str, tuple[int, Decrypt]] = {
    oids.PBE_SHA1_3DES: (24, _triple_des_cbc),
    oids.PBE_SHA1_2DES: (16, _triple_des_cbc),
    oids.PBE_SHA1_RC2_128: (16, _rc2_cbc),
    oids.PBE_SHA1_RC2_40: (5, _rc2_cbc),
}
# RFC 8018 appendix B.2: octets of key, octets of block, cipher
_PBES2_CIPHERS: dict[str, tuple[int, int, Decrypt]] = {
    oids.AES128_CBC: (16, 16, _aes_cbc),
    oids.AES192_CBC: (24, 16, _aes_cbc),
    oids.AES256_CBC: (32, 16, _aes_cbc),
    oids.DES_EDE3_CBC: (24, 8, _triple_des_cbc),
}


class Budget:
    """How many iterations may be spent, and how many were asked for: one file, one password."""

    __slots__ = ("asked", "limit")

    def __init__(self, iterations: int = MAX_ITERATIONS) -> None:
        self.limit = iterations
        self.asked = 0


class Secret:
    """A password in the two forms that PKCS#12 wants."""

    __slots__ = ("bmp", "budget", "utf8")

    def __init__(self, utf8: bytes, bmp: bytes, budget: Budget) -> None:
        self.utf8 = utf8
        self.bmp = bmp
        self.budget = budget

    def spend(self, iterations: int, *, weight: float = 1) -> None:
        """UsageError before more is computed than the budget allows."""
        if iterations < 1:
            raise MalformedMessage(f"key file: a key derivation of {iterations} iterations")
        if iterations < self.budget.limit:
            iterations = int(iterations * weight)
        self.budget.asked += iterations
        if self.budget.asked > self.budget.limit:
            asked = self.budget.asked
            shown = f"{asked:,}" if asked < 1 << 64 else "no end of"
            raise UsageError(
                f"its key derivations ask for {shown} iterations, at most {self.budget.limit:,}"
                " are carried out for a file",
                hint="export the key again with fewer: 600,000 are usual at most",
            )

    def pbkdf2(self, digest: str, salt: bytes, iterations: int, size: int) -> bytes:
        self.spend(iterations, weight=_blocks(digest, size))
        return hashlib.pbkdf2_hmac(digest, self.utf8, salt, iterations, size)

    def derive(self, purpose: int, digest: str, salt: bytes, iterations: int, size: int) -> bytes:
        """RFC 7292 appendix B.2; `purpose` is 1 for a key, 2 for an IV, 3 for a MAC key."""
        new = getattr(hashlib, digest)
        length, block = new().digest_size, new().block_size
        self.spend(iterations, weight=_blocks(digest, size))
        inputs = [
            int.from_bytes(part, "big")
            for text in (salt, self.bmp)
            for part in _repeated(text, block)
        ]
        out = b""
        while len(out) < size:
            a = bytes([purpose]) * block + b"".join(i.to_bytes(block, "big") for i in inputs)
            for _ in range(iterations):
                a = new(a).digest()
            out += a
            increment = int.from_bytes((a * (block // length + 1))[:block], "big") + 1
            inputs = [(i + increment) % (1 << 8 * block) for i in inputs]
        return out[:size]


def _blocks(digest: str, size: int) -> int:
    """The computations for each iteration that make `size` octets, as those of HMAC-SHA-256."""
    octets = hashlib.new(digest).digest_size
    return -(-size // octets) * (1 if octets <= 32 else 2)


def _repeated(text: bytes, block: int) -> Iterator[bytes]:
    """`text` over and over to whole blocks; no block of an empty text."""
    if text:
        whole = -(-len(text) // block) * block
        repeated = (text * (whole // len(text) + 1))[:whole]
        for start in range(0, whole, block):
            yield repeated[start : start + block]


def secrets(password: str | bytes | None, budget: Budget) -> list[Secret]:
    """The forms in which this password may have been used.

    No password and the empty one are an empty string to some writers, and its terminator alone to
    others.
    """
    if not password:
        return [Secret(b"", b"\0\0", budget), Secret(b"", b"", budget)]
    if isinstance(password, bytes):
        try:
            text = password.decode()
        except UnicodeDecodeError:
            text = password.decode("latin-1")
    else:
        text = password
    try:
        utf8 = password if isinstance(password, bytes) else text.encode()
        return [Secret(utf8, text.encode("utf-16-be") + b"\0\0", budget)]
    except UnicodeEncodeError:
        raise UsageError("the password is not Unicode text") from None


def decrypt_private_key_info(
    der: bytes, *, password: str | bytes | None, budget: Budget | None = None
) -> bytes:
    """PrivateKeyInfo out of an EncryptedPrivateKeyInfo (RFC 5958 3); raises as `read` does."""

    def decrypt(der: bytes, secret: Secret) -> bytes:
        return open_private_key_info(ber.read(der, "EncryptedPrivateKeyInfo"), secret)

    return with_password(decrypt, der, password, budget)


_T = TypeVar("_T")


def with_password(
    act: Callable[[bytes, Secret], _T],
    der: bytes,
    password: str | bytes | None,
    budget: Budget | None,
) -> _T:
    wrong = None
    for secret in secrets(password, budget or Budget()):
        try:
            return act(der, secret)
        except WrongPassword as error:
            wrong = error
    if password and wrong is not None:
        raise wrong
    raise no_password()


def digest_name(oid: str) -> str:
    if (name := _DIGESTS.get(oid)) is None:
        raise UnsupportedAlgorithm(oid, where="digest of the PKCS#12 file")
    return name


def no_password() -> WrongPassword:
    return WrongPassword(
        "it is encrypted and no password was given", hint=Hint("give its password", "password")
    )


def wrong_password() -> WrongPassword:
    return WrongPassword("the password is wrong, or it is damaged", hint="check the password")


def open_private_key_info(node: ber.Node, secret: Secret) -> bytes:
    fields = ber.Fields(
        node.expect(ber.SEQUENCE, "EncryptedPrivateKeyInfo"), "EncryptedPrivateKeyInfo"
    )
    algorithm = fields.take(ber.SEQUENCE, "encryptionAlgorithm")
    plain = decrypt(algorithm, bytes(fields.any("encryptedData").as_octets()), secret)
    try:
        return ber.read(plain, "PrivateKeyInfo").raw
    except MalformedMessage:
        raise wrong_password() from None  # a wrong key leaves right padding once in 256 times


def decrypt(algorithm: ber.Node, ciphertext: bytes, secret: Secret) -> bytes:
    identifier = AlgorithmIdentifier.read(algorithm, "encryptionAlgorithm")
    oid, parameters = identifier.oid, identifier.parameters
    if parameters is None:
        raise algorithm.fault("password-based encryption has no parameters")
    fields = ber.Fields(
        parameters.expect(ber.SEQUENCE, "parameters of the encryption"), "encryption"
    )
    if oid in _PBES1:
        key_size, decrypt = _PBES1[oid]
        block = 8
        salt = bytes(fields.any("salt").as_octets("salt"))
        iterations = fields.take(ber.INTEGER, "iterations").as_integer("iterations")
        key = secret.derive(1, "sha1", salt, iterations, key_size)
        iv = secret.derive(2, "sha1", salt, iterations, block)
    elif oid == oids.PBES2:
        kdf = fields.take(ber.SEQUENCE, "keyDerivationFunc")
        scheme = fields.take(ber.SEQUENCE, "encryptionScheme")
        inner = AlgorithmIdentifier.read(scheme, "encryptionScheme")
        cipher, iv_node = inner.oid, inner.parameters
        if cipher not in _PBES2_CIPHERS:
            raise UnsupportedAlgorithm(cipher, where="encryption of the key file")
        key_size, block, decrypt = _PBES2_CIPHERS[cipher]
        if iv_node is None or len(iv := bytes(iv_node.as_octets("IV"))) != block:
            raise scheme.fault(f"the encryption has no IV of {block} octets")
        key = derive_key(kdf, secret, size=key_size)
    else:
        raise UnsupportedAlgorithm(
            oid,
            where="encryption of the key file",
            hint="encrypt it again, e.g. with openssl pkcs8 -topk8 -v2 aes-256-cbc",
        )
    if not ciphertext or len(ciphertext) % block:
        raise MalformedMessage(f"key file: {len(ciphertext)} octets of ciphertext are not blocks")
    plain = decrypt(key, iv, ciphertext)
    padding = plain[-1]
    if not 1 <= padding <= block or plain[-padding:] != bytes([padding]) * padding:
        raise wrong_password()
    return plain[:-padding]


def derive_key(node: ber.Node, secret: Secret, *, size: int | None) -> bytes:
    """The key of PBES2 and PBMAC1; `size` None takes the keyLength of the parameters."""
    identifier = AlgorithmIdentifier.read(node, "keyDerivationFunc")
    oid, parameters = identifier.oid, identifier.parameters
    if parameters is None:
        raise node.fault("key derivation has no parameters")
    if oid == oids.PBKDF2:
        found = Pbkdf2Parameters.read(parameters)
        size = size or _key_length(found.key_length)
        return secret.pbkdf2(digest_name(found.prf), found.salt, found.iterations, size)
    if oid == oids.SCRYPT:
        fields = ber.Fields(parameters.expect(ber.SEQUENCE, "scrypt parameters"), "scrypt")
        salt = bytes(fields.any("salt").as_octets("salt"))
        n, r, p = (fields.take(ber.INTEGER, name).as_integer(name) for name in ("N", "r", "p"))
        length = fields.optional(ber.INTEGER)
        fields.end()
        size = size or _key_length(None if length is None else length.as_integer("keyLength"))
        if not (1 < n <= 1 << 24 and n & (n - 1) == 0 and 0 < r <= 64 and 0 < p <= 64):
            raise parameters.fault("scrypt has other parameters than it can work with")
        secret.spend(n * r * p, weight=_SCRYPT_WEIGHT)
        try:
            return hashlib.scrypt(
                secret.utf8, salt=salt, n=n, r=r, p=p, maxmem=_MAX_SCRYPT_MEMORY, dklen=size
            )
        except ValueError:
            raise UsageError(f"its scrypt wants more than {_MAX_SCRYPT_MEMORY} octets") from None
    raise UnsupportedAlgorithm(oid, where="key derivation of the key file")


def _key_length(length: int | None) -> int:
    if length is None or not 0 < length <= 1024:  # RFC 9579 4: it must be there
        raise MalformedMessage(f"PKCS#12 file: keyLength is {length} instead of 1 to 1024")
    return length


def encrypt(
    plain: bytes, secret: Secret, encryption: Encryption, iterations: int
) -> tuple[bytes, bytes]:
    """AlgorithmIdentifier and ciphertext."""
    salt = os.urandom(16)
    if encryption == "aes-256":
        iv = os.urandom(16)
        key = secret.pbkdf2("sha256", salt, iterations, 32)
        encryptor = Cipher(AES(key), modes.CBC(iv)).encryptor()
        algorithm = ber.sequence(
            ber.oid(oids.PBES2),
            ber.sequence(
                ber.sequence(write_pbkdf2(salt, iterations)),
                ber.sequence(ber.oid(oids.AES256_CBC), ber.octet_string(iv)),
            ),
        )
    else:
        key = secret.derive(1, "sha1", salt, iterations, 24)
        iv = secret.derive(2, "sha1", salt, iterations, 8)
        encryptor = Cipher(TripleDES(key), modes.CBC(iv)).encryptor()
        parameters = ber.sequence(ber.octet_string(salt), ber.integer(iterations))
        algorithm = ber.sequence(ber.oid(oids.PBE_SHA1_3DES), parameters)
    missing = len(iv) - len(plain) % len(iv)
    ciphertext = encryptor.update(plain + bytes([missing]) * missing) + encryptor.finalize()
    return algorithm, ciphertext
