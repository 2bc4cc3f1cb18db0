"""What no program writes on purpose: messages made by hand, and good ones cut up and put together.

SignedData is written field by field, so that each can be wrong; whatever exists in DER is changed
by replacing one element in it (`put`). Beside it what others add to a signature: countersignatures
and further attributes that are not signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from ... import algorithms, oids
from ...algorithms import ContentCipher, Digest, SignatureScheme
from ...algorithms.private_key import private_key
from ...asn1 import ber
from ...asn1.ber import Fields, Node
from ...asn1.content_info import content_info, read_content_info
from ...cms import attributes, enveloped_data, parameters, signed_data
from ...cms.keys import SigningKey
from ...cms.signed_data import SignerIdentifier, SignerInfo
from ...errors import MalformedMessage
from ...pki.identity import Contact, Identity
from ...pki.revocation import Revocation
from ...pki.trust import TrustStore
from ...policy import EXCHANGE, Policy
from ...smime.canonical import encode_base64
from ...smime.entity import Entity
from ...smime.wrap import AUTH_ENVELOPED, ENVELOPED, SIGNED, pkcs7_mime
from ...x509.certificate import Certificate
from ...x509.certificate_set import certificate_set

TEXT = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nthe figures\r\n"
OTHER_TEXT = b"Content-Type: text/plain; charset=us-ascii\r\n\r\npay mallory\r\n"
ALICE = b"Alice <alice@contoso.com>"
MALLORY = b"mallory@contoso.com"
_PKCS1 = algorithms.by_name(SignatureScheme, "rsassa-pkcs1v15")
_CBC = EXCHANGE.ciphers[0]
_BOUNDARY = b"----figures"


@dataclass(frozen=True, slots=True)
class People:
    """Who writes to whom, and when. `signers` are Alices whose certificates are odd, by variant."""

    alice: Identity
    mallory: Identity
    bob: Identity
    signers: Mapping[str, Identity]
    trust: TrustStore
    revocation: Revocation
    at: datetime
    id: str = "message"  # of the message that is made, its Message-ID

    @property
    def to_bob(self) -> Contact:
        return self.bob.contact

    def header(self, from_: bytes | None = ALICE, *, subject: bytes = b"Figures") -> bytes:
        """The header fields of a message from `from_`, without those of MIME's."""
        fields = [
            *([] if from_ is None else [b"From: " + from_]),
            b"To: Bob <bob@contoso.com>",
            b"Subject: " + subject,
            f"Date: {format_datetime(self.at)}".encode(),
            f"Message-ID: <{self.id}@contoso.com>".encode(),
            b"MIME-Version: 1.0",
        ]
        return b"".join(field + b"\r\n" for field in fields)

    def attributes(
        self,
        content: bytes,
        who: Identity,
        *,
        digest: Digest = algorithms.SHA256,
        kind: str = oids.DATA,
    ) -> dict[str, bytes]:
        """The signed attributes of a good signature, by type."""
        own, scheme = parameters.write_digest(digest), parameters.write_signature(_PKCS1, digest)
        return {
            oids.CONTENT_TYPE: attributes.content_type(kind),
            oids.SIGNING_TIME: attributes.signing_time(self.at),
            oids.MESSAGE_DIGEST: attributes.message_digest(digest.compute(content)),
            oids.SIGNING_CERTIFICATE_V2: attributes.signing_certificate_v2(who.certificate),
            oids.CMS_ALGORITHM_PROTECTION: attributes.algorithm_protection(own, scheme),
        }

    def signed(
        self,
        content: bytes = TEXT,
        who: Identity | None = None,
        *,
        detached: bool = False,
        digest: Digest = algorithms.SHA256,
        kind: str = oids.DATA,
        attributes: Iterable[bytes] | None = (),
        certificates: Sequence[Certificate] | None = None,
        named: Certificate | None = None,
        algorithm: bytes | None = None,
        is_sorted: bool = True,
    ) -> bytes:
        """SignedData over `content` by an RSA key, Alice's if it is nobody else's.

        `attributes` are signed in place of the usual ones, None is a signature without; `named` is
        the certificate that the signer says it is by, `certificates` come along.
        """
        who = who or self.alice
        if attributes == ():
            attributes = self.attributes(content, who, digest=digest, kind=kind).values()
        signed, implicit = content, b""
        if attributes is not None:
            each = sorted(attributes) if is_sorted else list(attributes)
            signed = ber.tlv(ber.SET, *each)
            implicit = b"\xa0" + signed[1:]
        info = ber.sequence(
            ber.integer(1),
            (named or who.certificate).issuer_and_serial,
            parameters.write_digest(digest),
            implicit,
            algorithm or parameters.write_signature(_PKCS1, digest),
            ber.octet_string(private_key(who.private_key).sign(signed, _PKCS1, digest)),
        )
        sent = (who.certificate, *who.chain) if certificates is None else certificates
        inside = [] if detached else [ber.context(0, ber.octet_string(content))]
        return content_info(
            oids.SIGNED_DATA,
            [
                ber.integer(1 if kind == oids.DATA else 3),
                ber.set_of(parameters.write_digest(digest)),
                ber.sequence(ber.oid(kind), *inside),
                *([certificate_set(one.der for one in sent)] if sent else []),
                ber.set_of(info),
            ],
        )

    def opaque(self, der: bytes, from_: bytes | None = ALICE) -> bytes:
        """The message that is this SignedData."""
        return self.header(from_) + pkcs7_mime(SIGNED, der)

    def clear(
        self,
        *parts: bytes,
        from_: bytes | None = ALICE,
        micalg: bytes = b"sha-256",
        protocol: bytes = b"application/pkcs7-signature",
        behind: bytes = b"",
    ) -> bytes:
        """The message that is a multipart/signed of these parts."""
        return (
            self.header(from_)
            + b'Content-Type: multipart/signed; protocol="%s";\r\n' % protocol
            + b' micalg=%s; boundary="%s"\r\n\r\n' % (micalg, _BOUNDARY)
            + b"".join(b"--%s\r\n%s\r\n" % (_BOUNDARY, part) for part in parts)
            + b"--%s--\r\n%s" % (_BOUNDARY, behind)
        )

    def encrypted(
        self,
        entity: bytes,
        from_: bytes | None = ALICE,
        *,
        cipher: str = _CBC,
        to: Contact | None = None,
    ) -> bytes:
        """The message that is this entity, encrypted to Bob."""
        return self.header(from_) + self.envelope(entity, cipher=cipher, to=to)

    def envelope(self, entity: bytes, *, cipher: str = _CBC, to: Contact | None = None) -> bytes:
        row = algorithms.by_name(ContentCipher, cipher)
        der = enveloped_data.encrypt(entity, [to or self.to_bob], cipher=row, policy=EXCHANGE)
        return pkcs7_mime(AUTH_ENVELOPED if row.aead else ENVELOPED, der)


def signature_part(der: bytes) -> bytes:
    """The second part of a multipart/signed."""
    return (
        b'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\n'
        b"Content-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="smime.p7s"\r\n\r\n' + encode_base64(der)
    )


def mixed(*parts: bytes, subtype: bytes = b"mixed", boundary: bytes = b"parts") -> bytes:
    """A multipart entity."""
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts)
    head = b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n' % (subtype, boundary)
    return head + body + b"--%s--\r\n" % boundary


def mime_of(message: bytes) -> bytes:
    """A message without the fields that are not MIME's, which stand in front."""
    return message[message.index(b"Content-Type") :]


def der_of(message: bytes) -> bytes:
    """The CMS that a message or an entity is."""
    return bytes(Entity(message).decoded_body())


# --- what exists, changed -------------------------------------------------------------------------


def nodes(node: Node) -> Iterator[Node]:
    """The element and all that it holds."""
    yield node
    if node.tag & ber.CONSTRUCTED:
        for child in node:
            yield from nodes(child)


def put(root: Node, old: Node, new: bytes) -> bytes:
    """The DER of `root` with one of its elements replaced."""
    if root.start == old.start and root.end == old.end:
        return new
    if not root.tag & ber.CONSTRUCTED or not root.start <= old.start < root.end:
        return bytes(root.raw)
    return ber.tlv(root.tag, *(put(child, old, new) for child in root))


def with_oid(root: Node, dotted: str) -> Node:
    """The last SEQUENCE that begins with this object identifier."""
    begins = ber.oid(dotted)
    return [
        one
        for one in nodes(root)
        if one.tag == ber.SEQUENCE and bytes(one.contents).startswith(begins)
    ][-1]


def flip(data: bytes, place: int, bit: int = 1) -> bytes:
    """The octets with a bit of one changed; `place` counts as an index does."""
    changed = bytearray(data)
    changed[place] ^= bit
    return bytes(changed)


# --- what others add beside a signature -----------------------------------------------------------


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
