"""PKCS#12 (RFC 7292), read within limits and written.

    PFX ::= SEQUENCE { version INTEGER, authSafe ContentInfo, macData MacData OPTIONAL }
    AuthenticatedSafe ::= SEQUENCE OF ContentInfo      -- Data, or EncryptedData under a password
    SafeContents ::= SEQUENCE OF SafeBag { bagId, [0] bagValue, bagAttributes SET OPTIONAL }

Why not `cryptography`'s loader: it gives one key of several (RFC 9216's files hold two), refuses a
file whose first key it could not write (X25519), knows no PBMAC1 (RFC 9579), takes BER - what
Firefox and Thunderbird export - only with the warning that it may stop, and iterates as often as
the file says, in encrypted bags too, where nobody can look beforehand.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from ... import oids
from ...asn1 import ber, content_info
from ...asn1.algorithm_identifier import AlgorithmIdentifier
from ...errors import MalformedMessage, UnsupportedAlgorithm, UsageError
from . import pbe

MAX_KEYS = 64
_MAX_NESTING = 4


@dataclass(frozen=True, slots=True)
class Bags:
    """What a PKCS#12 file holds: PrivateKeyInfo and certificates, DER, in the file's order."""

    keys: tuple[bytes, ...] = field(repr=False)
    certificates: tuple[bytes, ...]


# --- reading -------------------------------------------------------------------------------------


def read(der: bytes, *, password: str | bytes | None, budget: pbe.Budget | None = None) -> Bags:
    """The keys and certificates of a PFX; its MAC is checked where it has one.

    Raises WrongPassword, MalformedMessage, UnsupportedAlgorithm, and UsageError where the file asks
    for more iterations than the budget has left or holds more than `MAX_KEYS` keys. The messages do
    not name the file: the caller knows it.
    """
    return pbe.with_password(_read, der, password, budget)


def _read(der: bytes, secret: pbe.Secret) -> Bags:
    pfx = ber.Fields(ber.read(der, "PKCS#12 file"), "PFX")
    if (version := pfx.take(ber.INTEGER, "version").as_integer("PFX version")) != 3:
        raise MalformedMessage(f"PKCS#12 file: version is {version} instead of 3")
    kind, value = content_info.read_element(pfx.take(ber.SEQUENCE, "authSafe"))
    if kind != oids.DATA:
        raise UnsupportedAlgorithm(kind, where="authSafe of the PKCS#12 file")
    safe = bytes(value.as_octets("authSafe"))
    if (mac := pfx.optional(ber.SEQUENCE)) is not None:
        _check_mac(mac, safe, secret)
    pfx.end()

    keys: list[bytes] = []
    certificates: list[bytes] = []
    for info in ber.read(safe, "AuthenticatedSafe"):
        kind, value = content_info.read_element(info)
        if kind == oids.DATA:
            plain = bytes(value.as_octets("Data"))
        elif kind == oids.ENCRYPTED_DATA:
            plain = _encrypted_data(value, secret)
        else:
            raise UnsupportedAlgorithm(kind, where="content of the PKCS#12 file")
        try:
            contents = ber.read(plain, "SafeContents")
        except MalformedMessage:
            if mac is None and kind == oids.ENCRYPTED_DATA:
                raise pbe.wrong_password() from None  # the padding was right by chance
            raise
        _take_bags(contents, secret, keys, certificates)
    return Bags(tuple(keys), tuple(certificates))


def _check_mac(node: ber.Node, safe: bytes, secret: pbe.Secret) -> None:
    # MacData ::= SEQUENCE { mac DigestInfo, macSalt OCTET STRING, iterations INTEGER DEFAULT 1 }
    fields = ber.Fields(node, "MacData")
    info = ber.Fields(fields.take(ber.SEQUENCE, "mac"), "DigestInfo")
    identifier = AlgorithmIdentifier.take(info, "digestAlgorithm")
    algorithm, parameters = identifier.oid, identifier.parameters
    wanted = bytes(info.any("digest").as_octets("digest"))
    salt = bytes(fields.any("macSalt").as_octets("macSalt"))
    count = fields.optional(ber.INTEGER)
    iterations = 1 if count is None else count.as_integer("MacData iterations")
    fields.end()
    if algorithm == oids.PBMAC1:  # RFC 9579: macSalt and iterations mean nothing
        if parameters is None:
            raise MalformedMessage("PKCS#12 file: PBMAC1 has no parameters")
        pbmac1 = ber.Fields(parameters.expect(ber.SEQUENCE, "PBMAC1-params"), "PBMAC1-params")
        kdf = pbmac1.take(ber.SEQUENCE, "keyDerivationFunc")
        digest = pbe.digest_name(AlgorithmIdentifier.take(pbmac1, "messageAuthScheme").oid)
        key = pbe.derive_key(kdf, secret, size=None)
    else:
        digest = pbe.digest_name(algorithm)
        size = hashlib.new(digest).digest_size
        key = secret.derive(3, digest, salt, iterations, size)
    if not hmac.compare_digest(hmac.digest(key, safe, digest), wanted):
        raise pbe.wrong_password()


def _encrypted_data(node: ber.Node, secret: pbe.Secret) -> bytes:
    # EncryptedData ::= SEQUENCE { version, EncryptedContentInfo, ... } (RFC 5652 8)
    fields = ber.Fields(node.expect(ber.SEQUENCE, "EncryptedData"), "EncryptedData")
    fields.take(ber.INTEGER, "version")
    info = ber.Fields(fields.take(ber.SEQUENCE, "encryptedContentInfo"), "EncryptedContentInfo")
    info.take(ber.OBJECT_IDENTIFIER, "contentType")
    algorithm = info.take(ber.SEQUENCE, "contentEncryptionAlgorithm")
    ciphertext = bytes(info.any("encryptedContent").as_octets("encryptedContent", tag=0x80))
    return pbe.decrypt(algorithm, ciphertext, secret)


def _take_bags(
    contents: ber.Node, secret: pbe.Secret, keys: list[bytes], certificates: list[bytes]
) -> None:
    queue = [(contents, 1)]
    while queue:
        node, depth = queue.pop()
        if depth > _MAX_NESTING:
            raise node.fault(f"SafeContents nested deeper than {_MAX_NESTING}")
        for bag in node:
            fields = ber.Fields(bag.expect(ber.SEQUENCE, "SafeBag"), "SafeBag")
            kind = fields.any("bagId").as_oid("bagId")
            value = fields.take(0xA0, "bagValue").only("bagValue")
            if kind == oids.KEY_BAG:
                keys.append(value.raw)
            elif kind == oids.SHROUDED_KEY_BAG:
                keys.append(pbe.open_private_key_info(value, secret))
            elif kind == oids.CERT_BAG:
                cert = ber.Fields(value.expect(ber.SEQUENCE, "CertBag"), "CertBag")
                if cert.any("certId").as_oid("certId") == oids.X509_CERTIFICATE:
                    octets = cert.take(0xA0, "certValue").only("certValue")
                    certificates.append(bytes(octets.as_octets("certValue")))
            elif kind == oids.SAFE_CONTENTS_BAG:
                queue.append((value.expect(ber.SEQUENCE, "SafeContents"), depth + 1))
            if len(keys) > MAX_KEYS:
                raise UsageError(f"it holds more than {MAX_KEYS} private keys")


# --- writing -------------------------------------------------------------------------------------


def write(
    pairs: Sequence[tuple[bytes, bytes]],
    *,
    password: str | bytes,
    others: Sequence[bytes] = (),
    name: str = "",
    encryption: pbe.Encryption = "aes-256",
    iterations: int | None = None,
) -> bytes:
    """A PFX of (PrivateKeyInfo, certificate) pairs and other certificates, all DER, as one DER.

    `aes-256` is PBES2 with HMAC-SHA-256, which OpenSSL, NSS and present systems read; `3des` with
    SHA-1 is for gpgsm 2.2 and older Windows. `name` is what a person sees on import. `iterations`
    are as many as a guess at the password costs: fewer than by default for keys of no worth alone.
    Raises UsageError for an empty password.
    """
    if not password:
        raise UsageError("a PKCS#12 file needs a password", hint="give one that is not empty")
    if (usual := pbe.ITERATIONS.get(encryption)) is None:
        known = " or ".join(pbe.ITERATIONS)
        raise UsageError(f"encryption {encryption} is not known", hint=f"use {known}")
    iterations = iterations or usual
    secret = pbe.secrets(password, pbe.Budget(sys.maxsize))[0]
    key_bags, cert_bags = [], []
    for key, certificate in pairs:
        # SHA-1 is a label here: it joins a key to its certificate (RFC 7292 4.2)
        label = hashlib.sha1(certificate, usedforsecurity=False).digest()
        attributes = _attributes(label, name)
        algorithm, ciphertext = pbe.encrypt(key, secret, encryption, iterations)
        shrouded = ber.sequence(algorithm, ber.octet_string(ciphertext))
        key_bags.append(_bag(oids.SHROUDED_KEY_BAG, shrouded, attributes))
        cert_bags.append(_bag(oids.CERT_BAG, _cert_bag(certificate), attributes))
    cert_bags += [_bag(oids.CERT_BAG, _cert_bag(certificate), b"") for certificate in others]
    algorithm, ciphertext = pbe.encrypt(ber.sequence(*cert_bags), secret, encryption, iterations)
    info = ber.sequence(
        ber.oid(oids.DATA), algorithm, ber.context(0, ciphertext, constructed=False)
    )
    safe = ber.sequence(
        _wrap(oids.ENCRYPTED_DATA, ber.sequence(ber.integer(0), info)),
        _wrap(oids.DATA, ber.octet_string(ber.sequence(*key_bags))),
    )
    digest_oid, digest = (oids.SHA256, "sha256") if encryption == "aes-256" else (oids.SHA1, "sha1")
    salt = os.urandom(16)
    mac_key = secret.derive(3, digest, salt, iterations, hashlib.new(digest).digest_size)
    mac = ber.sequence(
        ber.sequence(
            ber.sequence(ber.oid(digest_oid), ber.null()),
            ber.octet_string(hmac.digest(mac_key, safe, digest)),
        ),
        ber.octet_string(salt),
        ber.integer(iterations),
    )
    return ber.sequence(ber.integer(3), _wrap(oids.DATA, ber.octet_string(safe)), mac)


def _wrap(kind: str, content: bytes) -> bytes:
    return ber.sequence(ber.oid(kind), ber.context(0, content))


def _bag(kind: str, value: bytes, attributes: bytes) -> bytes:
    return ber.sequence(ber.oid(kind), ber.context(0, value), attributes)


def _cert_bag(certificate: bytes) -> bytes:
    octets = ber.context(0, ber.octet_string(certificate))
    return ber.sequence(ber.oid(oids.X509_CERTIFICATE), octets)


def _attributes(label: bytes, name: str) -> bytes:
    found = [ber.sequence(ber.oid(oids.LOCAL_KEY_ID), ber.set_of(ber.octet_string(label)))]
    if name:
        bmp = ber.tlv(0x1E, name.encode("utf-16-be", "replace"))
        found.append(ber.sequence(ber.oid(oids.FRIENDLY_NAME), ber.set_of(bmp)))
    return ber.set_of(*found)
