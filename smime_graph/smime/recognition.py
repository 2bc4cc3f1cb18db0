"""Recognise S/MIME in one entity (RFC 8551 3.10), and read it as a layer; nothing is opened."""

from __future__ import annotations

from typing import NamedTuple

from .. import algorithms, oids
from ..algorithms import Digest, SignatureScheme
from ..asn1 import pem
from ..asn1.ber import Node
from ..asn1.content_info import read_content_info
from ..budget import HEADER_LINE, Budget
from ..buffers import Data, find, held
from ..cms import encrypted_data, enveloped_data, signed_data
from ..cms.encrypted_data import EncryptedData
from ..cms.enveloped_data import EnvelopedData, cipher_name
from ..cms.signed_data import SignedData, SignerInfo
from ..errors import MalformedMessage, UnsupportedAlgorithm
from ..findings import Finding, finding
from .entity import PKCS7_SIGNATURE, Entity, claims_to_be_cms, split_multipart
from .report import Layer, LayerRecipient, LayerSigner, LayerType
from .transfer import split_base64, strict_base64

# RFC 7468 5 and 8, and what gpgsm writes
_LABELS = (b"CMS", b"PKCS7", b"SIGNED MESSAGE", b"ENCRYPTED MESSAGE")
_ARMOUR = tuple(b"-----BEGIN %b-----" % label for label in _LABELS)
_LONGEST_ARMOUR = max(map(len, _ARMOUR))


class Cms(NamedTuple):
    """The CMS of one layer: `content` is what a multipart/signed is over, None for opaque ones."""

    der: Data
    content: Data | None
    micalg: str | None
    findings: tuple[Finding, ...] = ()


class ReadLayer(NamedTuple):
    """One layer, read once: as it says of itself, and the value of CMS that it is."""

    described: Layer
    cms: Cms
    value: SignedData | EnvelopedData | EncryptedData | Node  # the Node of a CompressedData

    @property
    def visible_content(self) -> Data | None:
        """What a signed layer is over, where no key is needed to read it; None for others."""
        if self.cms.content is not None:
            return self.cms.content
        if not isinstance(self.value, SignedData) or self.value.content is None:
            return None
        return held(self.value.content)


def is_bare_cms(raw: Data) -> bool:
    """Whether this is CMS without MIME around it: DER or BER of some length, or PEM."""
    if raw[:1] == b"\x30":
        # a header field may begin with "0" and a letter, but with no such octets behind it
        return len(raw) > 2 and (raw[1] >= 0x80 or raw[2] == 0x06)
    return bytes(raw[:_LONGEST_ARMOUR]).startswith(_ARMOUR)


def entity_of(
    raw: Data, budget: Budget | None = None, *, default: str = "text/plain"
) -> Entity[Data] | None:
    """The entity that this is, or None for a bare CMS; MalformedMessage for a header too long.

    `default` is that of `Entity`.
    """
    if is_bare_cms(raw):
        return None
    entity = Entity(raw, default=default)
    if budget is not None:
        budget.spend("header lines", HEADER_LINE * entity.header.count(b"\n"))
    return entity


def recognise(raw: Data, path: str, entity: Entity[Data] | None = None) -> Cms | None:
    """The CMS that this entity is, or None if it is no S/MIME; MalformedMessage if broken.

    Exchange and OWA send octet-stream named smime.p7m, old software x-pkcs7-*; a bare CMS in DER or
    PEM, as a saved attachment is, is taken too. `entity` is what `entity_of` made of `raw`.
    """
    if is_bare_cms(raw):
        return Cms(_unarmoured(raw) if raw[:1] == b"-" else raw, None, None)
    entity = entity or Entity(raw)
    kind = entity.content_type
    if kind.value == "multipart/signed":
        return _recognise_clear(entity, path)
    if claims_to_be_cms(entity):
        der, findings = _decoded(entity, path)
        return Cms(der, None, None, findings)
    return None


def _unarmoured(raw: Data) -> Data:
    if isinstance(raw, bytes):
        return next(pem.read_blocks(raw)).der()
    begin, end = find(raw, b"-----", len(pem.BEGIN)) + 5, find(raw, b"-----END ")
    lines = b"".join((raw[:begin][:_LONGEST_ARMOUR], raw[end:][:_LONGEST_ARMOUR]))
    block = next(pem.read_blocks(lines))  # what is wrong with them is said there
    if (der := strict_base64(raw[begin:end])) is None:
        raise MalformedMessage(f"PEM: what stands inside {block.label} is not base64")
    return der


def _decoded(entity: Entity[Data], path: str) -> tuple[Data, tuple[Finding, ...]]:
    """The CMS in the body. What a forwarder put behind it is left out, and that is said."""
    if entity.transfer_encoding != "base64":
        return entity.decoded_body(), ()
    der, left_out = split_base64(entity.body)
    if left_out == 0:
        return der, ()
    text = f"{left_out} octets behind the end of the base64 are left out: nothing protects them"
    return der, (finding("smime.text-behind", f"layer {path}", text),)


def _recognise_clear(entity: Entity[Data], path: str) -> Cms | None:
    kind = entity.content_type
    protocol = kind.parameters.get("protocol", "").lower()
    if protocol.startswith("application/") and "pkcs7" not in protocol:
        return None  # OpenPGP
    body = entity.body
    pieces = split_multipart(body, kind.parameters.get("boundary", ""))
    if len(pieces.parts) != 2:
        raise MalformedMessage(
            f"a multipart/signed has {len(pieces.parts)} parts instead of 2 (RFC 1847 2.1)"
        )
    content, last = pieces.parts
    if content is None or last is None:
        raise MalformedMessage("a multipart/signed has a part that is none")
    signature = Entity(last)
    found: list[Finding] = []
    named = signature.content_type.value
    if named not in PKCS7_SIGNATURE and not signature.filename.lower().endswith(".p7s"):
        return None
    if protocol not in PKCS7_SIGNATURE:
        text = f"protocol is {protocol[:60]!r}, the signature is {named}"
        found.append(finding("smime.protocol", f"layer {path}", text))
    der, findings = _decoded(signature, path)
    return Cms(der, content, kind.parameters.get("micalg", ""), (*found, *findings))


# --- describing, without a key or a judgement ---------------------------------------------


def read_layer(
    cms: Cms, path: str, budget: Budget, *, unless_signed: str | None = None
) -> ReadLayer:
    """The layer, read and described. Raises MalformedMessage or UnsupportedAlgorithm.

    `unless_signed` is the MalformedMessage for what must be a SignedData, and is none.
    """
    oid, node = read_content_info(cms.der, budget=budget)
    size = len(cms.der)
    if oid == oids.SIGNED_DATA:
        signed = signed_data.read_content(node)
        return ReadLayer(_describe_signed(signed, cms, path), cms, signed)
    if unless_signed is not None:
        raise MalformedMessage(unless_signed)
    if oid in (oids.ENVELOPED_DATA, oids.AUTH_ENVELOPED_DATA):
        enveloped = enveloped_data.read_content(oid, node)
        return ReadLayer(_describe_enveloped(enveloped, size, path), cms, enveloped)
    if oid == oids.ENCRYPTED_DATA:
        encrypted = encrypted_data.read_content(node)
        name = cipher_name(encrypted.algorithm)
        return ReadLayer(Layer("encrypted-data", path, size, cipher=name), cms, encrypted)
    if oid == oids.COMPRESSED_DATA:
        return ReadLayer(Layer("compressed-data", path, size), cms, node)
    raise UnsupportedAlgorithm(oid, where="ContentInfo content type")


def _describe_signed(signed: SignedData, cms: Cms, path: str) -> Layer:
    only_certificates = not signed.signers and signed.content is None
    kind: LayerType = "signed-receipt" if signed.content_type == oids.RECEIPT else "signed-data"
    return Layer(
        "certs-only" if only_certificates else kind,
        path,
        len(cms.der),
        detached=None if only_certificates else signed.content is None,
        micalg=cms.micalg,
        signers=tuple(_describe_signer(signer) for signer in signed.signers),
        certificates=signed.certificates,
    )


def _describe_signer(signer: SignerInfo) -> LayerSigner:
    scheme, digest = signer.signature_algorithm.oid, signer.digest_algorithm.oid
    row = algorithms.find(SignatureScheme, scheme)
    hashed = algorithms.find(Digest, digest)
    return LayerSigner(
        signer.identifier,
        scheme if row is None else row.name,
        digest if hashed is None else hashed.name,
    )


def _describe_enveloped(enveloped: EnvelopedData, size: int, path: str) -> Layer:
    return Layer(
        "auth-enveloped-data" if enveloped.authenticated else "enveloped-data",
        path,
        size,
        cipher=cipher_name(enveloped.algorithm),
        recipients=tuple(
            LayerRecipient(one.kind, one.identifier, one.algorithm_name)
            for one in enveloped.recipients
        ),
    )
