"""A family on a PKCS#11 token: its keys where programs that take keys from tokens look for them."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ..arguments import checked
from ..errors import UsageError
from ..pki.pkcs11.token import library_package, module_of, writing
from ..pki.pkcs11.uri import TokenUri
from ..x509.certificate import Certificate
from .family import Family

__all__ = ["fill_token"]


@checked
def fill_token(
    family: Family,
    uri: str,
    *,
    pin: str | None = None,
    module: str | os.PathLike[str] | None = None,
) -> tuple[str, ...]:
    """Put keys and certificates onto the token of a PKCS#11 URI (RFC 7512); the ids of those there.

    Each key, and its certificate, has the variant's id as its label and one CKA_ID, so that it is
    `pkcs11:token=...;object=ID`. Certificates of authorities come along. Kinds of key that PKCS#11
    modules do not take (all but RSA and EC) are left out, and so is what this token refuses.
    `pin` and `module` are as for `pki.pkcs11.keys.load`. Raises UsageError where there is no such
    token, or nothing of the family is left.
    """
    wanted = TokenUri.parse(uri)
    pkcs11 = library_package()
    put = []
    with writing(module_of(module, wanted), wanted.token, pin or wanted.pin()) as session:
        for name, authority in family.authorities.items():
            session.create_object(_certificate(pkcs11, authority, name))
        for member in family:
            label, identity = member.variant.id, member.identity
            key = _private_key(pkcs11, identity.private_key, label)
            if key is None:
                continue
            try:
                session.create_object(key)
            except pkcs11.PKCS11Error:
                continue  # a curve or a size that this token does not have
            session.create_object(_certificate(pkcs11, identity.certificate, label))
            put.append(label)
    if not put:
        raise UsageError(
            "the token takes no key of this family", hint="RSA and EC keys are what tokens take"
        )
    return tuple(put)


def _id(label: str) -> bytes:
    return sha256(label.encode()).digest()[:8]


def _private_key(pkcs11: Any, key: Any, label: str) -> dict[Any, Any] | None:
    """The attributes of a private key object; None for a kind that is none."""
    from pkcs11.util.ec import decode_ec_private_key
    from pkcs11.util.rsa import decode_rsa_private_key

    is_rsa = isinstance(key, rsa.RSAPrivateKey)
    if not is_rsa and not isinstance(key, ec.EllipticCurvePrivateKey):
        return None
    der = key.private_bytes(
        ser.Encoding.DER, ser.PrivateFormat.TraditionalOpenSSL, ser.NoEncryption()
    )
    a = pkcs11.Attribute
    attributes: dict[Any, Any] = (decode_rsa_private_key if is_rsa else decode_ec_private_key)(der)
    attributes |= {a.LABEL: label, a.ID: _id(label)}
    attributes |= dict.fromkeys((a.TOKEN, a.PRIVATE, a.SENSITIVE, a.SIGN), True)
    return attributes | {a.DECRYPT if is_rsa else a.DERIVE: True}


def _certificate(pkcs11: Any, certificate: Certificate, label: str) -> dict[Any, Any]:
    a = pkcs11.Attribute
    return {
        a.CLASS: pkcs11.ObjectClass.CERTIFICATE,
        a.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
        a.TOKEN: True,
        a.SUBJECT: certificate.subject,
        a.VALUE: certificate.der,
        a.LABEL: label,
        a.ID: _id(label),
    }
