"""Whose keys CMS uses: who signs, who decrypts, whom one encrypts to.

A private key is an `algorithms.private_key.PrivateKey`, so that an HSM or a key vault is a class in
another package, or anything with the interface of one of cryptography's private keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..x509.certificate import Certificate


class SigningKey(Protocol):
    """Who signs: the key, its certificate, and the certificates between it and a root."""

    @property
    def private_key(self) -> Any: ...

    @property
    def certificate(self) -> Certificate: ...

    @property
    def chain(self) -> Sequence[Certificate]: ...

    @property
    def encryption_certificate(self) -> Certificate | None:
        """The certificate that others should encrypt to, if this person has one."""


class DecryptionKey(Protocol):
    """Who decrypts. Without a certificate every recipient that the key could serve is tried."""

    @property
    def private_key(self) -> Any: ...

    @property
    def certificate(self) -> Certificate | None: ...


class Recipient(Protocol):
    """Whom a message is encrypted to.

    `capabilities` are DER SMIMECapability elements, the most preferred first; None: never
    announced.
    """

    @property
    def certificate(self) -> Certificate: ...

    @property
    def capabilities(self) -> Sequence[bytes] | None: ...

    @property
    def email(self) -> str | None: ...
