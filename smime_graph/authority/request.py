"""A request for a certificate, for a CA that is not of tests (PKCS #10, RFC 2986)."""

from __future__ import annotations

from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from .. import oids
from ..arguments import checked
from ..errors import UsageError
from .profile import (
    addresses_extension,
    key_of,
    key_usage_extension,
    person_name,
    purposes_extension,
    usage_of,
)

__all__ = ["certificate_request"]


@checked
def certificate_request(
    private_key: Any,
    *addresses: str,
    name: str | None = None,
    use: Literal["both", "sign", "encrypt"] = "both",
) -> bytes:
    """A CSR in PEM for these addresses, signed with their key.

    It asks for what mail needs and the S/MIME Baseline Requirements allow: the addresses as subject
    alternative names, the key usage of this kind of key, emailProtection. Its common name is
    `name`, or the first address. Raises UsageError for a key that signs nothing, a use that it does
    not have, and what is no address.
    """
    private_key, kind = key_of(private_key)
    if not addresses:
        raise UsageError("a certificate for mail needs an address")
    if not kind.signs:
        raise UsageError(
            f"a {kind.name} key cannot sign its own request",
            hint="ask for a kind of key that signs; a CA that takes another has a way of its own",
        )
    subject = person_name(name or addresses[0])
    extensions = [
        *addresses_extension(addresses, critical=not list(subject)),
        *key_usage_extension(usage_of(kind, use)),
        *purposes_extension((oids.EMAIL_PROTECTION,)),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for one in extensions:
        builder = builder.add_extension(one.value, one.critical)
    digest: Any = kind.parameter_set(private_key).digest
    try:
        made = builder.sign(private_key, digest, **kind.certificate_options)
    except (ValueError, TypeError) as error:
        raise UsageError(f"this cannot be put into a request: {error}") from error
    return made.public_bytes(Encoding.PEM)
