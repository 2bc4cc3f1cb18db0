"""What others add beside a signature: countersignatures, timestamps and further attributes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from smime_graph import oids
from smime_graph.asn1 import ber
from smime_graph.asn1.ber import Fields, Node
from smime_graph.asn1.content_info import content_info, read_content_info
from smime_graph.cms import attributes, signed_data
from smime_graph.cms.keys import SigningKey
from smime_graph.cms.signed_data import SignerIdentifier, SignerInfo
from smime_graph.errors import MalformedMessage
from smime_graph.policy import Policy
from smime_graph.x509.certificate import Certificate
from smime_graph.x509.certificate_set import certificate_set


def countersign(
    der: bytes,
    *,
    signer: SigningKey,
    policy: Policy,
    at: datetime,
    index: int = 0,
    sid: SignerIdentifier = "issuer",
) -> bytes:
    """The SignedData (a ContentInfo) with a countersignature of signer number `index`.

    `at` becomes its signingTime; the countersigner's certificates are added.
    """
    info = _signer(der, index)
    scheme, digest = signed_data.choose_scheme(signer.certificate, policy)
    # RFC 2634 1.3.4: no other attributes than these, and none that names a content type
    signed = [
        attributes.message_digest(digest.compute(info.signature)),
        attributes.signing_time(at),
        attributes.signing_certificate_v2(signer.certificate),
    ]
    value = signed_data.write_signer(signer, scheme, digest, signed, sid)
    return add_unsigned(
        der,
        oids.COUNTERSIGNATURE,
        value,
        index=index,
        certificates=(signer.certificate, *signer.chain),
    )


def add_unsigned(
    der: bytes,
    oid: str,
    value: bytes,
    *,
    index: int = 0,
    certificates: Iterable[Certificate] = (),
) -> bytes:
    """The SignedData with one more value of an unsigned attribute beside signature `index`.

    For a timestamp token (`oids.TIMESTAMP_TOKEN`) or a countersignature made elsewhere. Everything
    that was received stays as it was, to the byte; only lengths around it change.
    """
    _signer(der, index)
    _, node = read_content_info(der, oids.SIGNED_DATA)
    elements = list(node)
    infos = list(elements[-1])
    infos_der = [
        _with_attribute(info, oid, value) if number == index else info.raw
        for number, info in enumerate(infos)
    ]
    # version, digestAlgorithms, encapContentInfo
    parts: list[bytes | memoryview] = [element.raw for element in elements[:3]]
    known: list[bytes] = []
    for element in elements[3:-1]:
        if element.tag == 0xA0:
            known = [one.raw for one in element]
        else:
            parts.append(element.raw)
    added = [one.der for one in dict.fromkeys(certificates) if one.der not in known]
    if known or added:
        # as they came, where none is added
        parts.insert(3, certificate_set((*known, *added)) if added else ber.tlv(0xA0, *known))
    parts.append(ber.set_of(*infos_der))
    return content_info(oids.SIGNED_DATA, parts)


def _signer(der: bytes, index: int) -> SignerInfo:
    signer = signed_data.read(der).signers[index]
    if signer.fault is not None:
        raise MalformedMessage(signer.fault)
    return signer


def _with_attribute(info: Node, oid: str, value: bytes) -> bytes:
    elements = list(info)
    others: list[bytes] = []
    values = [value]
    if elements[-1].tag == 0xA1:
        for element in elements.pop():
            fields = Fields(element, "Attribute")
            if fields.any("attrType").as_oid("attrType") == oid:
                values += [one.raw for one in fields.take(ber.SET, "attrValues")]
            else:
                others.append(element.raw)
    unsigned = ber.set_of(*others, attributes.attribute(oid, *values))
    return ber.sequence(*(element.raw for element in elements), b"\xa1" + unsigned[1:])
