"""Whose keys CMS uses: who signs, who decrypts, whom one encrypts to.

A private key is an `algorithms.private_key.PrivateKey`, so that an HSM or a key vault is a class in
another package, or anything with the interface of one of cryptography's private keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, cast

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


def with_certificate(everyone: Iterable[object]) -> list[Recipient]:
    """Those of the recipients who have one; the others share a secret."""
    found = [one for one in everyone if getattr(one, "certificate", None) is not None]
    return cast("list[Recipient]", found)
