"""What is asked of a private key, wherever it is: in this process, on a token, in a vault.

A key of one's own (an HSM, a key vault) is a class with `operations` and the methods of these; it
needs nothing of `cryptography`. What has the interface of cryptography's keys instead is taken as
well, by the one adapter.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported
from cryptography.hazmat.primitives import serialization as ser

from ..errors import SmimeGraphError, UnsupportedAlgorithm, UsageError
from ..text import printable
from .rows import Digest, KeyTransport, OaepParameters, SignatureScheme
from .table import kind_of

Operation = Literal["sign", "decrypt", "derive", "decapsulate"]


class PrivateKey(Protocol):
    """A private key. Only the methods that `operations` names are called.

    A failing decryption, derivation or decapsulation raises ValueError, always the same, whatever
    there was in the message (RFC 3218). UsageError is for what has nothing to do with the message:
    the device is gone, the key may not do this; UnsupportedAlgorithm for a scheme or a digest that
    the key does not have. No other exception is raised.
    """

    @property
    def operations(self) -> Collection[Operation]: ...

    def public_key(self) -> Any:
        """One of cryptography's public keys."""

    def sign(self, data: bytes, scheme: SignatureScheme, digest: Digest) -> bytes:
        """The signature of `data`, as SignerInfo carries it: ECDSA in DER (RFC 5754 3.3).

        With RSASSA-PSS the digest is that of MGF1, too, and the salt as long (RFC 4056 2.2).
        """

    def decrypt(
        self, data: bytes, scheme: KeyTransport, parameters: OaepParameters | None = None
    ) -> bytes:
        """The content key in an encryptedKey; `parameters` where the scheme has any."""

    def derive(self, public_key: Any) -> bytes:
        """The secret shared with the owner of `public_key`, before any KDF, at full length."""

    def decapsulate(self, data: bytes) -> bytes:
        """The secret in a ciphertext of ML-KEM (FIPS 203)."""


def private_key(key: Any) -> PrivateKey:
    """The key as it is, or adapted, if it has the interface of cryptography's private keys."""
    return key if hasattr(key, "operations") else CryptographyKey(key)


_METHODS: dict[str, Operation] = {
    "sign": "sign",
    "decrypt": "decrypt",
    "exchange": "derive",
    "decapsulate": "decapsulate",
}


class CryptographyKey:
    """A PrivateKey of anything that has the interface of one of cryptography's private keys.

    Such an interface does not say with which exception a vault fails. What may be the fault of the
    message becomes ValueError without a word; what cannot be (no connection, no permission, a
    scheme that the key does not have) is told.
    """

    def __init__(self, key: Any) -> None:
        self._key = key

    @property
    def operations(self) -> Collection[Operation]:
        return [name for method, name in _METHODS.items() if hasattr(self._key, method)]

    def public_key(self) -> Any:
        return self._key.public_key()

    def sign(self, data: bytes, scheme: SignatureScheme, digest: Digest) -> bytes:
        assert scheme.sign is not None  # noqa: S101 - none that only verifies is chosen
        try:
            return scheme.sign(self._key, data, digest)
        except SmimeGraphError:
            raise
        except Exception as error:
            raise self._failure(f"signing with {scheme.name} and {digest.name}", error) from error

    def decrypt(
        self, data: bytes, scheme: KeyTransport, parameters: OaepParameters | None = None
    ) -> bytes:
        with self._without_a_word(scheme.name):
            try:
                return scheme.unwrap(self._key, data, parameters)
            except _Unsupported:
                # OAEP with a digest that has a row but, in this place, no primitive (MD5)
                raise UnsupportedAlgorithm(scheme.oid, where="recipient") from None
            except Exception as error:
                # a failure of PKCS #1 v1.5 takes no longer than a success (RFC 3218 2.3)
                if not (scheme.implicit_rejection or self._is_local or _is_no_answer(error)):
                    self._require(scheme, parameters)
                raise

    def derive(self, public_key: Any) -> bytes:
        kind = kind_of(public_key)
        with self._without_a_word("key agreement"):
            if kind is None or kind.agreement is None:
                raise ValueError
            return kind.agreement.exchange(self._key, public_key)

    def decapsulate(self, data: bytes) -> bytes:
        with self._without_a_word("ML-KEM"):
            return bytes(self._key.decapsulate(data))

    @property
    def _is_local(self) -> bool:
        return type(self._key).__module__.startswith("cryptography.")

    def _failure(self, what: str, error: Exception) -> UsageError:
        return UsageError(
            f"{what} by a {type(self._key).__name__} failed: {_text(error)}",
            hint="see what the key allows, and whether whoever holds it can be reached",
        )

    @contextmanager
    def _without_a_word(self, what: str) -> Iterator[None]:
        try:
            yield
        except SmimeGraphError:
            raise
        except Exception as error:
            if _is_no_answer(error):
                raise self._failure(what, error) from error
            raise ValueError from None

    def _require(self, scheme: KeyTransport, parameters: OaepParameters | None) -> None:
        """Raises UnsupportedAlgorithm if the key cannot decrypt even what is made here for it."""
        octets = self.public_key().public_bytes(
            ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo
        )
        ours = os.urandom(16)
        wrapped = scheme.wrap(ser.load_der_public_key(octets), ours, parameters)
        try:
            if scheme.unwrap(self._key, wrapped, parameters) == ours:
                return
            why = ""
        except Exception as error:
            if _is_no_answer(error):
                raise
            why = f": {_text(error)}"
        raise UnsupportedAlgorithm(
            scheme.oid,
            where=f"decrypting with {scheme.name} by a {type(self._key).__name__}{why}",
            hint="the key, or whoever holds it, does not have the scheme with these parameters",
        )


def _text(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:200] or type(error).__name__


def _is_no_answer(error: Exception) -> bool:
    """Whether no message can bring this about: the way to the key is closed, or it is not ours.

    `status_code` and `inner_exception` are those of azure-core; 400 is what Key Vault answers to a
    ciphertext.
    """
    status = getattr(error, "status_code", None)
    inner = getattr(error, "inner_exception", error.__cause__)
    return (status is not None and status != 400) or any(
        isinstance(one, (OSError, SmimeGraphError)) for one in (error, inner)
    )
