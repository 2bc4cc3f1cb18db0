"""AlgorithmIdentifier, and the parameters of the algorithms that have any.

    AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
    RSASSA-PSS-params   ::= SEQUENCE { [0] hashAlgorithm DEFAULT sha1, [1] maskGenAlgorithm DEFAULT
                                       mgf1SHA1, [2] saltLength DEFAULT 20, [3] trailerField DEFAULT
                                       1 }
    RSAES-OAEP-params   ::= SEQUENCE { [0] hashFunc DEFAULT sha1, [1] maskGenFunc DEFAULT mgf1SHA1,
                                       [2] pSourceFunc DEFAULT pSpecifiedEmpty }         (RFC 4055)
    GCMParameters, CCMParameters ::= SEQUENCE { nonce OCTET STRING, icvlen INTEGER DEFAULT 12 }

What is written is exact to the byte: digest parameters absent (RFC 5754 2), GCM's length always
there, because OpenSSL 3.0 refuses the message without it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from .. import algorithms, oids
from ..algorithms import (
    CekDerivation,
    ContentCipher,
    Digest,
    KeyTransport,
    KeyWrap,
    OaepParameters,
    PssParameters,
    SignatureScheme,
)
from ..asn1 import ber
from ..asn1.algorithm_identifier import AlgorithmIdentifier
from ..asn1.ber import Fields, Node
from ..buffers import Data
from ..errors import MalformedMessage
from ..x509.certificate import Certificate

_NULL = ber.null()


# --- digests ------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def write_digest(digest: Digest) -> bytes:
    return ber.sequence(ber.oid(digest.oid), digest.parameters)


def read_digest(identifier: AlgorithmIdentifier, where: str) -> Digest:
    digest = algorithms.by_oid(Digest, identifier.oid, where=where)
    if digest.parameters:
        fits = identifier.parameters is not None and identifier.parameters.raw == digest.parameters
    else:
        fits = identifier.has_no_parameters
    if not fits:
        raise MalformedMessage(f"{where}: digest algorithm {digest.name} has wrong parameters")
    return digest


# --- signatures ---------------------------------------------------------------------------


@lru_cache(maxsize=64)
def write_signature(scheme: SignatureScheme, digest: Digest) -> bytes:
    oid = ber.oid(scheme.oid(digest))
    if scheme.parameters == "null":
        return ber.sequence(oid, _NULL)
    if scheme.parameters == "pss":
        hashed = write_digest(digest)
        return ber.sequence(
            oid,
            ber.sequence(
                ber.context(0, hashed),
                ber.context(1, ber.sequence(ber.oid(oids.MGF1), hashed)),
                ber.context(2, ber.integer(digest.size)),
            ),
        )
    return ber.sequence(oid)


def read_signature(
    identifier: AlgorithmIdentifier, where: str
) -> tuple[SignatureScheme, Digest | None, PssParameters | None]:
    """The scheme, the digest it fixes (None: digestAlgorithm decides), and the PSS parameters."""
    scheme = algorithms.by_oid(SignatureScheme, identifier.oid, where=where)
    if scheme.parameters == "pss":
        pss = read_pss(identifier, where)
        return scheme, pss.digest, pss
    if not identifier.has_no_parameters and scheme.parameters != "any":
        raise MalformedMessage(f"{where}: signature algorithm {identifier.oid} has parameters")
    fixed = scheme.by_oid[identifier.oid]
    return scheme, None if fixed is None else algorithms.by_name(Digest, fixed), None


def read_pss(identifier: AlgorithmIdentifier, where: str) -> PssParameters:
    if identifier.parameters is None:
        # RFC 4056 3: they must be there; in a public key their absence means no restriction
        raise MalformedMessage(f"{where}: RSASSA-PSS has no parameters")
    fields = Fields(identifier.parameters.expect(ber.SEQUENCE, f"{where} PSS parameters"), "PSS")
    digest, mgf_digest = _read_hash_and_mgf(fields, where)
    salt = 20
    if (node := fields.optional(0xA2)) is not None:
        salt = node.only("saltLength").as_integer("saltLength")
    if (node := fields.optional(0xA3)) is not None and node.only("trailerField").as_integer() != 1:
        raise MalformedMessage(f"{where}: PSS trailer field is not 1")
    fields.end()
    if not 0 <= salt <= 1024:
        raise MalformedMessage(f"{where}: PSS salt of {salt} octets")
    return PssParameters(digest, mgf_digest, salt)


def read_pss_limits(certificate: Certificate) -> PssParameters | None:
    """What a key for RSASSA-PSS alone may be used with (RFC 4055 3.1); None: whatever PSS has.

    `cryptography` loads such a key without them.
    """
    if certificate.key_algorithm != oids.RSASSA_PSS:
        return None
    spki = Fields(ber.read(certificate.public_key_info, "SubjectPublicKeyInfo"), "public key")
    identifier = AlgorithmIdentifier.take(spki, "algorithm", "public key")
    if identifier.parameters is None:
        return None
    return read_pss(identifier, f"public key of {certificate.description}")


def _read_hash_and_mgf(fields: Fields, where: str) -> tuple[Digest, Digest]:
    digest = mgf_digest = algorithms.SHA1
    if (node := fields.optional(0xA0)) is not None:
        digest = read_digest(AlgorithmIdentifier.read(node.only("hash"), where), where)
    if (node := fields.optional(0xA1)) is not None:
        mgf_digest = _read_mask(node.only("mask generation"), where)
    return digest, mgf_digest


def _read_mask(node: Node, where: str) -> Digest:
    mgf = AlgorithmIdentifier.read(node, where)
    if mgf.oid != oids.MGF1 or mgf.parameters is None:
        raise MalformedMessage(f"{where}: mask generation function {mgf.oid} is not MGF1")
    return read_digest(AlgorithmIdentifier.read(mgf.parameters, where), where)


def read_hash_and_mask(hashed: Node, mask: Node, where: str) -> tuple[Digest, Digest]:
    """The digest and the mask generation function's, without the tags of RSAES-OAEP-params."""
    digest = read_digest(AlgorithmIdentifier.read(hashed, where), where)
    return digest, _read_mask(mask, where)


# --- key transport and key wrap -----------------------------------------------------------


@lru_cache(maxsize=64)
def write_transport(transport: KeyTransport, oaep: OaepParameters | None) -> bytes:
    """RFC 3560 3: what is at its default is left out."""
    oid = ber.oid(transport.oid)
    if transport.parameters == "null" or oaep is None:
        return ber.sequence(oid, _NULL)
    fields = b""
    if oaep.digest is not algorithms.SHA1:
        fields += ber.context(0, write_digest(oaep.digest))
    if oaep.mgf_digest is not algorithms.SHA1:
        mask = ber.sequence(ber.oid(oids.MGF1), write_digest(oaep.mgf_digest))
        fields += ber.context(1, mask)
    return ber.sequence(oid, ber.sequence(fields))


def read_transport(
    identifier: AlgorithmIdentifier, where: str
) -> tuple[KeyTransport, OaepParameters | None]:
    transport = algorithms.by_oid(KeyTransport, identifier.oid, where=where)
    if transport.parameters != "oaep":
        return transport, None
    if identifier.parameters is None:
        return transport, OaepParameters(algorithms.SHA1, algorithms.SHA1)
    return transport, read_oaep(identifier.parameters, where)


def read_oaep(node: Node, where: str) -> OaepParameters:
    fields = Fields(node.expect(ber.SEQUENCE, f"{where} OAEP parameters"), "OAEP")
    digest, mgf_digest = _read_hash_and_mgf(fields, where)
    label = b""
    if (label_node := fields.optional(0xA2)) is not None:
        source = AlgorithmIdentifier.read(label_node.only("pSource"), where)
        if source.oid != oids.P_SPECIFIED or source.parameters is None:
            raise MalformedMessage(f"{where}: OAEP label source {source.oid}")
        label = bytes(source.parameters.as_octets("OAEP label"))
    fields.end()
    return OaepParameters(digest, mgf_digest, label)


@lru_cache(maxsize=8)
def write_wrap(wrap: KeyWrap) -> bytes:
    return ber.sequence(ber.oid(wrap.oid))  # AES key wrap: parameters absent (RFC 3565 2.3.2)


def read_wrap(node: Node, where: str) -> tuple[KeyWrap, bytes]:
    """The key wrap and its identifier as received, which key derivation is bound to."""
    identifier = AlgorithmIdentifier.read(node, f"{where} key wrap")
    return algorithms.by_oid(KeyWrap, identifier.oid, where=where), identifier.raw


# --- content encryption -------------------------------------------------------------------


def write_cipher(cipher: ContentCipher, iv: bytes, derivation: CekDerivation | None) -> bytes:
    """With a `derivation` its identifier, with the cipher's as parameter (RFC 9709 3)."""
    value = ber.octet_string(iv)
    if cipher.parameters == "aead":
        value = ber.sequence(value, ber.integer(cipher.tag_size))
    inner = ber.sequence(ber.oid(cipher.oid), value)
    return inner if derivation is None else ber.sequence(ber.oid(derivation.oid), inner)


class ContentEncryption(NamedTuple):
    """A contentEncryptionAlgorithm: sizes in octets, `tag_size` 0 where there is no tag.

    `identifier` is what a `derivation` of the key is bound to.
    """

    cipher: ContentCipher
    iv: bytes
    key_size: int
    tag_size: int
    identifier: bytes
    derivation: CekDerivation | None = None

    def decrypt(self, cek: bytes, ciphertext: Data, tag: bytes, aad: bytes) -> Data:
        """The content; ValueError without a word for any failure."""
        if self.derivation is not None:
            cek = self.derivation.derive(cek, self.identifier)
        return self.cipher.decrypt(cek, self.iv, ciphertext, tag, aad)


# RFC 2268 6: what stands for the effective key bits
_RC2_KEY_SIZES = {160: 5, 120: 8, 58: 16}


def read_cipher(identifier: AlgorithmIdentifier, where: str) -> ContentEncryption:
    if identifier.oid in (row.oid for row in algorithms.rows(CekDerivation)):
        derivation = algorithms.by_oid(CekDerivation, identifier.oid, where=where)
        if identifier.parameters is None:
            raise MalformedMessage(f"{where}: {derivation.name} has no parameters")
        inner = AlgorithmIdentifier.read(identifier.parameters, where)
        return _read_plain_cipher(inner, where)._replace(derivation=derivation)
    return _read_plain_cipher(identifier, where)


def _read_plain_cipher(identifier: AlgorithmIdentifier, where: str) -> ContentEncryption:
    cipher = algorithms.by_oid(ContentCipher, identifier.oid, where=where)
    value = identifier.parameters
    if value is None:
        raise MalformedMessage(f"{where}: {cipher.name} has no parameters")
    key_size, tag_size = cipher.key_size, cipher.tag_size
    if cipher.parameters == "aead":
        fields = Fields(value.expect(ber.SEQUENCE, f"{where} parameters"), where)
        iv = bytes(fields.any("nonce").as_octets(f"{where} nonce"))
        length = fields.optional(ber.INTEGER)
        fields.end()
        tag_size = 12 if length is None else length.as_integer("tag length")
        if not 12 <= tag_size <= 16:
            # RFC 5084 3.1 lets CCM have tags of 4 octets: too short to keep anybody out
            raise MalformedMessage(f"{where}: tag of {tag_size} octets, 12 to 16 are allowed")
        if not 7 <= len(iv) <= 128:
            raise MalformedMessage(f"{where}: nonce of {len(iv)} octets")
    elif cipher.parameters == "rc2":
        fields = Fields(value.expect(ber.SEQUENCE, f"{where} parameters"), where)
        version = fields.any("rc2ParameterVersion").as_integer("rc2ParameterVersion")
        iv = bytes(fields.any("iv").as_octets(f"{where} initialisation vector"))
        fields.end()
        if version not in _RC2_KEY_SIZES:
            raise MalformedMessage(f"{where}: RC2 parameter version {version}")
        key_size = _RC2_KEY_SIZES[version]
    else:
        iv = bytes(value.as_octets(f"{where} initialisation vector"))
    if cipher.parameters != "aead" and len(iv) != cipher.iv_size:
        raise MalformedMessage(f"{where}: initialisation vector of {len(iv)} octets")
    # the derivation of RFC 9709 wants DER, whatever the sender wrote
    raw = ber.sequence(ber.oid(cipher.oid), value.raw)
    return ContentEncryption(cipher, iv, key_size, tag_size, raw)
