"""Messages of up to 1 MB that were made to cost as much as they can, each by a rule of its own.

Generators, not files. `LARGE` names each; `test_bounds` holds every reading function to the limits
of processor time and memory on all of them, and `test_work` counts what they ask for.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pybase64
from cryptography import x509
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import rsa

from smime_graph import CA, EXCHANGE, Identity, TrustStore, oids
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info, read_content_info
from smime_graph.cms import attributes, signed_data
from smime_graph.cms.recipients.shared_secret import MAX_ITERATIONS
from smime_graph.smime.wrap import ENVELOPED, SIGNED, pkcs7_mime

MEGABYTE = 1_000_000
HEAD = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nMessage-ID: <1@contoso.com>\r\n"
TEXT = b"Content-Type: text/plain\r\n\r\nhello\r\n"


@dataclass(frozen=True, slots=True)
class World:
    """Whom the messages are from and to."""

    ca: CA
    alice: Identity
    bob: Identity

    @classmethod
    def make(cls) -> World:
        ca = CA("large", key="p256")
        return cls(
            ca, ca.issue("alice@contoso.com", key="p256"), ca.issue("bob@contoso.com", key="p256")
        )

    @property
    def trust(self) -> TrustStore:
        return TrustStore.from_pem(self.ca.trust_pem)


def signed_parts(der: bytes) -> list[bytes]:
    """The elements of a SignedData."""
    _, node = read_content_info(der)
    return [element.raw for element in node]


def of_parts(parts: Iterable[bytes]) -> bytes:
    return content_info(oids.SIGNED_DATA, list(parts))


def opaque(content: bytes, *signers: Identity, sid: Any = "issuer", further: Any = ()) -> bytes:
    der, _ = signed_data.sign(
        content,
        signers,
        detached=False,
        policy=EXCHANGE,
        at=datetime.now(UTC),
        sid=sid,
        further=further,
    )
    return der


def with_signers(der: bytes, count: int) -> bytes:
    """The same SignedData with its SignerInfo so many times."""
    parts = signed_parts(der)
    info = next(iter(ber.read(parts[-1], "signerInfos", tag=ber.SET))).raw
    return of_parts([*parts[:-1], ber.tlv(ber.SET, info * count)])


def with_certificates(der: bytes, certificates: Iterable[bytes]) -> bytes:
    parts = signed_parts(der)
    return of_parts([*parts[:3], ber.tlv(0xA0, *certificates), parts[-1]])


def unattributed(der: bytes, count: int) -> bytes:
    """Signers that sign no attributes: their signatures, all bad, are over the content."""
    parts = signed_parts(der)
    info = list(next(iter(ber.read(parts[-1], "signerInfos", tag=ber.SET))))
    plain = ber.sequence(*(element.raw for element in info if element.tag != 0xA0))
    return of_parts([*parts[:-1], ber.tlv(ber.SET, plain * count)])


def message(der: bytes, *, binary: bool = True) -> bytes:
    """The CMS in a message; in binary most of a megabyte is CMS."""
    if not binary:
        return HEAD + pkcs7_mime(SIGNED, der)
    return (
        HEAD + b"Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\n"
        b"Content-Transfer-Encoding: binary\r\n\r\n" + der
    )


def addresses(count: int, *, domain: str = "example.org") -> bytes:
    return b",\r\n ".join(b"u%d@%b" % (n, domain.encode()) for n in range(count))


def twins(certificate: Any, count: int) -> list[bytes]:
    """Certificates with other serial numbers, as anybody can make them: no signature is good."""
    serial = ber.integer(certificate.serial_number)
    return [
        certificate.der.replace(serial, ber.integer(certificate.serial_number + n), 1)
        for n in range(1, count + 1)
    ]


def self_signed(*emails: str, key: str = "p256") -> Identity:
    """Somebody whom nobody trusts."""
    return CA("stranger", key=key).issue(*emails, key=key)


# --- whose they are -----------------------------------------------------------------------


def from_and_names(world: World, *, senders: int, names: int, signers: int = 1) -> bytes:
    stranger = self_signed(*(f"s{n}@contoso.com" for n in range(names)))
    der = with_signers(opaque(TEXT, stranger), signers)
    return b"From: " + addresses(senders) + b"\r\n" + message(der).partition(b"\r\n")[2]


def names_of_many(world: World, *, signers: int, names: int) -> bytes:
    """Every signer has a certificate of his own, with as many addresses that are slow to read."""
    ca = CA("stranger", key="p256")
    key = world.alice.private_key
    emails = [f'"{chr(97 + n % 26)}{n}"@b' for n in range(names)]
    people = [ca.issue(*emails, key=key, name=f"p{n}") for n in range(signers)]
    return message(opaque(TEXT, *people))


def name_constraints(
    world: World, *, names: int, constraints: int, permitted: bool, mailboxes: bool = False
) -> bytes:
    """An authority below the root may issue for many hosts or mailboxes, and has many addresses."""
    local = "Other@" if mailboxes else ""
    subtrees = [x509.RFC822Name(f"{local}host{n}.example.org") for n in range(constraints)]
    limits = x509.NameConstraints(subtrees if permitted else None, None if permitted else subtrees)
    below = world.ca.create_intermediate(
        "constrained", extensions=[x509.Extension(limits.oid, True, limits)]
    )
    host = f"Host{constraints - 1}.example.org" if permitted else "Other.example.org"
    signer = below.issue(*(f"s{n}@{host}" for n in range(names)), key="p256")
    return message(opaque(TEXT, signer))


# --- signers and certificates -------------------------------------------------------------


def layers_of_signers(world: World, *, layers: int = 14, signers: int = 100) -> bytes:
    content = TEXT
    for _ in range(layers):
        der = with_signers(opaque(content, world.alice), signers)
        content = message(der).partition(b"<1@contoso.com>\r\n")[2]
    return HEAD + content


def signers_and_certificates(world: World, *, signers: int, certificates: int) -> bytes:
    der = with_certificates(opaque(TEXT, world.alice), twins(world.alice.certificate, certificates))
    return message(with_signers(der, signers))


def signers_of_one_key_identifier(world: World, *, signers: int, certificates: int) -> bytes:
    der = opaque(TEXT, world.alice, sid="ski")
    der = with_certificates(der, twins(world.alice.certificate, certificates))
    return message(with_signers(der, signers))


def named_certificates(world: World, *, named: int, certificates: int, signers: int) -> bytes:
    """Every signer names certificates that are not there, and each there is compared with each."""
    own = world.alice
    entry = ber.sequence(ber.octet_string(bytes(32)))
    value = attributes.attribute(
        oids.SIGNING_CERTIFICATE_V2, ber.sequence(ber.sequence(*[entry] * named))
    )
    der = opaque(TEXT, own, further=(value,))
    parts = signed_parts(der)
    info = list(next(iter(ber.read(parts[-1], "signerInfos", tag=ber.SET))))
    # without the one that `sign` writes
    kept = [a.raw for a in info[3] if ber.oid(oids.SIGNING_CERTIFICATE_V2) not in a.raw[:20]]
    changed = ber.sequence(
        *(e.raw for e in info[:3]),
        ber.tlv(0xA0, *sorted([*kept, value])),
        *(e.raw for e in info[4:]),
    )
    der = of_parts([*parts[:-1], ber.tlv(ber.SET, changed * signers)])
    return message(with_certificates(der, twins(own.certificate, certificates)))


def candidates_of_long_attributes(world: World, *, size: int, certificates: int) -> bytes:
    """Every certificate that may be the signer's costs a digest of all attributes."""
    value = attributes.attribute("1.2.3.4", ber.octet_string(bytes(size)))
    der = opaque(TEXT, world.alice, sid="ski", further=(value,))
    return message(with_certificates(der, twins(world.alice.certificate, certificates)))


def slow_keys(world: World, *, signers: int) -> bytes:
    """An RSA key whose public exponent is as long as its modulus: each check is a private one."""
    key = rsa.generate_private_key(65537, 3072)
    numbers = key.public_key().public_numbers()
    slow = rsa.RSAPublicNumbers((1 << 3071) + 1, numbers.n).public_key()
    own = world.ca.issue("alice@contoso.com", key=key)
    before = key.public_key().public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)
    after = slow.public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)
    node = list(ber.read(own.certificate.der, "Certificate"))
    tbs = ber.sequence(*(e.raw if e.raw != before else after for e in node[0]))
    der = opaque(TEXT, own)
    return message(
        with_signers(with_certificates(der, [ber.sequence(tbs, node[1].raw, node[2].raw)]), signers)
    )


def without_attributes(world: World, *, signers: int, size: int, layers: int = 1) -> bytes:
    content = b"Content-Type: text/plain\r\n\r\n" + b"x" * size
    for _ in range(layers):
        content = message(unattributed(opaque(content, world.alice), signers))[len(HEAD) :]
    return HEAD + content


def layers_of_bare_line_ends(world: World, *, layers: int, size: int) -> bytes:
    """Each layer over text with bare LF, so each is digested in two forms, and none is right."""
    content = b"Content-Type: text/plain\n\n" + b"x\n" * (size // 2)
    for number in range(layers):
        der = opaque(content + b"!", world.alice)
        signature = pybase64.b64encode(
            content_info(
                oids.SIGNED_DATA,
                [
                    e if i != 2 else ber.sequence(ber.oid(oids.DATA))
                    for i, e in enumerate(signed_parts(der))
                ],
            )
        )
        mark = b"b%d" % number
        content = (
            b"Content-Type: multipart/signed; micalg=sha-256; boundary=%b;\n"
            b" protocol=application/pkcs7-signature\n\n--%b\n%b\n--%b\n"
            b"Content-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\n"
            b"%b\n--%b--\n" % (mark, mark, content, mark, signature, mark)
        )
    return HEAD.replace(b"\r\n", b"\n") + content


def long_names(world: World, *, size: int) -> bytes:
    """A certificate whose subject has as many names as fit."""
    pair = ber.tlv(ber.SET, ber.sequence(ber.oid("2.5.4.3"), ber.tlv(ber.UTF8_STRING, b"x")))
    node = list(ber.read(world.alice.certificate.der, "Certificate"))
    tbs = list(node[0])
    name = ber.sequence(pair * (size // len(pair)))
    changed = [*(e.raw for e in tbs[:3]), name, tbs[4].raw, name, *(e.raw for e in tbs[6:])]
    der = opaque(TEXT, world.alice)
    long = ber.sequence(ber.sequence(*changed), node[1].raw, node[2].raw)
    parts = signed_parts(der)
    info = list(next(iter(ber.read(parts[-1], "signerInfos", tag=ber.SET))))
    sid = ber.sequence(name, tbs[1].raw)
    signer = ber.sequence(info[0].raw, sid, *(e.raw for e in info[2:]))
    return message(of_parts([*parts[:3], ber.tlv(0xA0, long), ber.tlv(ber.SET, signer)]))


def names_in_other_spellings(world: World, *, signers: int, certificates: int, size: int) -> bytes:
    """Signers and certificates of one serial number, whose issuers differ at the end."""

    def name(number: int) -> bytes:
        pair = ber.set_of(ber.sequence(ber.oid("2.5.4.3"), ber.tlv(ber.UTF8_STRING, b"x")))
        last = ber.tlv(ber.UTF8_STRING, b"%05d" % number)
        return ber.sequence(
            pair * (size // len(pair)), ber.set_of(ber.sequence(ber.oid("2.5.4.3"), last))
        )

    parts = signed_parts(opaque(TEXT, world.alice))
    tbs, *outer = (element.raw for element in ber.read(world.alice.certificate.der, "Certificate"))
    fields = [element.raw for element in ber.read(tbs, "TBSCertificate")]
    info = [one.raw for one in next(iter(ber.read(parts[-1], "signerInfos", tag=ber.SET)))]
    sent = (
        ber.sequence(ber.sequence(*fields[:3], name(number), *fields[4:]), *outer)
        for number in range(certificates)
    )
    infos = (
        ber.sequence(info[0], ber.sequence(name(certificates + number), fields[1]), *info[2:])
        for number in range(signers)
    )
    return message(of_parts([*parts[:3], ber.tlv(0xA0, *sent), ber.tlv(ber.SET, *infos)]))


def signed_with(world: World, *, field: int, value: bytes, signers: int = 100) -> bytes:
    """Signers of one certificate with another field of its tbsCertificate."""
    parts = signed_parts(opaque(TEXT, world.alice, sid="ski"))
    info = next(iter(ber.read(parts[-1], "signerInfos", tag=ber.SET))).raw
    tbs, *outer = (element.raw for element in ber.read(world.alice.certificate.der, "Certificate"))
    fields = [element.raw for element in ber.read(tbs, "TBSCertificate")]
    fields[field] = value
    certificate = ber.sequence(ber.sequence(*fields), *outer)
    sent = ber.tlv(0xA0, certificate)
    return message(of_parts([*parts[:3], sent, ber.tlv(ber.SET, info * signers)]))


def extensions(world: World, *, count: int, value: bytes = b"", oid: str | None = None) -> bytes:
    """Signers whose certificate has so many critical extensions beside its own."""
    node = ber.read(world.alice.certificate.der, "Certificate")
    own = [one.raw for one in node.children()[0].children()[7].only("extensions")]
    more = (
        ber.sequence(ber.oid(oid or f"1.2.3.{number}"), b"\x01\x01\xff", ber.octet_string(value))
        for number in range(count)
    )
    return signed_with(world, field=7, value=ber.context(3, ber.sequence(*own, *more)))


def beside_signatures(world: World, *, oid: str, count: int, size: int) -> bytes:
    """Timestamps or countersignatures, each with a SignedData or certificates of some size."""
    der = opaque(TEXT, world.alice)
    if oid == oids.TIMESTAMP_TOKEN:
        value = opaque(b"x" * size, world.alice)
    else:
        parts = signed_parts(der)
        value = next(iter(ber.read(parts[-1], "signerInfos", tag=ber.SET))).raw
    parts = signed_parts(der)
    info = next(iter(ber.read(parts[-1], "signerInfos", tag=ber.SET)))
    beside = b"\xa1" + ber.tlv(ber.SET, attributes.attribute(oid, *[value] * count))[1:]
    changed = ber.sequence(*(e.raw for e in info), beside)
    return message(of_parts([*parts[:-1], ber.tlv(ber.SET, changed)]))


def many_attributes(world: World, *, count: int, signed: bool) -> bytes:
    parts = signed_parts(opaque(TEXT, world.alice))
    info = list(next(iter(ber.read(parts[-1], "signerInfos", tag=ber.SET))))
    extra = b"".join(attributes.attribute(f"1.2.3.{n}", b"\x05\0") for n in range(count))
    if signed:
        elements = [e.raw if e.tag != 0xA0 else ber.tlv(0xA0, e.contents, extra) for e in info]
    else:
        elements = [*(e.raw for e in info), ber.tlv(0xA1, extra)]
    return message(of_parts([*parts[:-1], ber.tlv(ber.SET, ber.sequence(*elements))]))


def services_of_many(world: World, *, parties: int, signers: int) -> bytes:
    names = ber.sequence(ber.tlv(0x81, b"a@b"))
    value = ber.sequence(
        ber.octet_string(b"x"), ber.context(1, names * parties), ber.sequence(names)
    )
    request = attributes.attribute(oids.RECEIPT_REQUEST, value)
    return message(with_signers(opaque(TEXT, world.alice, further=(request,)), signers))


# --- ASN.1 --------------------------------------------------------------------------------


def elements_in(world: World, *, where: str, element: bytes) -> bytes:
    """As many small elements as fit, where a SET or SEQUENCE may have any number."""
    parts = signed_parts(opaque(TEXT, world.alice))
    many = element * ((MEGABYTE - 5000) // len(element))
    if where == "digest-algorithms":
        parts[1] = ber.tlv(ber.SET, many)
    elif where == "certificates":
        parts[3] = ber.tlv(0xA0, many)
    elif where == "crls":
        parts.insert(4, ber.tlv(0xA1, many))
    else:
        parts[2] = ber.sequence(ber.oid(oids.DATA), ber.tlv(0xA0, ber.tlv(0x24, many)))
    return message(of_parts(parts))


def indefinite_layers(world: World, *, layers: int, size: int) -> bytes:
    """Every layer in chunks of few octets, with indefinite lengths around them."""
    content = b"Content-Type: text/plain\r\n\r\n" + b"x" * size
    for number in range(layers):
        parts = signed_parts(opaque(content, world.alice))
        step = 1 if number == 0 else 4096
        chunks = b"".join(
            ber.octet_string(content[i : i + step]) for i in range(0, len(content), step)
        )
        inner = b"\xa0\x80\x24\x80" + chunks + b"\0\0\0\0"
        parts[2] = b"\x30\x80" + ber.oid(oids.DATA) + inner + b"\0\0"
        der = b"\x30\x80" + ber.oid(oids.SIGNED_DATA) + b"\xa0\x80\x30\x80" + b"".join(parts)
        content = message(der + bytes(6))[len(HEAD) :]
    return HEAD + content


# --- encrypted ----------------------------------------------------------------------------


def recipients(world: World, *, count: int, kind: str = "ktri") -> bytes:
    """Key transport for somebody else; or for whoever knows a password, with many iterations."""
    own = world.bob.certificate
    if kind == "pwri":
        kdf = ber.sequence(ber.octet_string(bytes(8)), ber.integer(MAX_ITERATIONS))
        aes = ber.sequence(ber.oid(oids.AES256_CBC), ber.octet_string(bytes(16)))
        info = ber.context(
            3,
            ber.integer(0),
            ber.context(0, ber.oid(oids.PBKDF2), kdf),
            ber.sequence(ber.oid("1.2.840.113549.1.9.16.3.9"), aes),
            ber.octet_string(bytes(48)),
        )
    else:
        info = ber.sequence(
            ber.integer(0),
            ber.sequence(own.issuer, ber.integer(5)),
            ber.sequence(ber.oid("1.2.840.113549.1.1.1"), ber.null()),
            ber.octet_string(b"x"),
        )
    cipher = ber.sequence(ber.oid(oids.AES128_CBC), ber.octet_string(bytes(16)))
    encrypted = ber.sequence(ber.oid(oids.DATA), cipher, ber.tlv(0x80, bytes(32)))
    der = content_info(
        oids.ENVELOPED_DATA, [ber.integer(0), ber.tlv(ber.SET, info * count), encrypted]
    )
    return HEAD + pkcs7_mime(ENVELOPED, der)


def agreements(world: World, *, keys: int, agreements: int = 1) -> bytes:
    """Key agreement with so many RecipientEncryptedKeys each, all of them for the reader."""
    own = world.bob.certificate
    originator = ber.context(
        1,
        ber.sequence(ber.oid("1.2.840.10045.2.1")),
        ber.bit_string(b"\x04" + bytes(64)),
    )
    agreed = ber.sequence(ber.oid(oids.STD_DH_SHA256_KDF), ber.sequence(ber.oid(oids.AES128_WRAP)))
    one = ber.sequence(own.issuer_and_serial, ber.octet_string(bytes(24)))
    info = ber.context(
        1, ber.integer(3), ber.context(0, originator), agreed, ber.sequence(one * keys)
    )
    cipher = ber.sequence(ber.oid(oids.AES128_CBC), ber.octet_string(bytes(16)))
    encrypted = ber.sequence(ber.oid(oids.DATA), cipher, ber.tlv(0x80, bytes(32)))
    der = content_info(
        oids.ENVELOPED_DATA,
        [ber.integer(2), ber.tlv(ber.SET, info * agreements), encrypted],
    )
    return HEAD + pkcs7_mime(ENVELOPED, der)


# --- compressed ---------------------------------------------------------------------------


def inflated(world: World, *, size: int, layers: int = 1) -> bytes:
    """A short CompressedData that becomes `size` octets, in `layers` that each do."""
    content = b"Content-Type: text/plain\r\n\r\n" + bytes(size)
    for _ in range(layers):
        content = deflated(content)
    return HEAD + content


def deflated(content: bytes) -> bytes:
    """An entity with CompressedData, whatever we would refuse to compress."""
    inner = ber.nest(0xA0, ber.nest(ber.OCTET_STRING, [zlib.compress(content, 9)]))
    der = content_info(
        oids.COMPRESSED_DATA,
        [
            ber.integer(0),
            ber.sequence(ber.oid(oids.ZLIB)),
            *ber.nest(ber.SEQUENCE, [ber.oid(oids.DATA), *inner]),
        ],
    )
    return (
        b"Content-Type: application/pkcs7-mime; smime-type=compressed-data; name=smime.p7z\r\n"
        b"Content-Transfer-Encoding: binary\r\n\r\n" + der
    )


def inflated_and_signed(world: World, *, size: int) -> bytes:
    """What is inflated is a signed message, with line ends that are digested in two forms."""
    content = b"Content-Type: text/plain\n\n" + b"\n" * size
    return HEAD + deflated(message(opaque(content, world.alice))[len(HEAD) :])


# --- MIME ---------------------------------------------------------------------------------


def header(field: bytes, count: int, *, last: bytes = b"") -> bytes:
    return HEAD + field * count + last + b"\r\nhello\r\n"


def signed_with_header(world: World, field: bytes, count: int) -> bytes:
    return HEAD + field * count + message(opaque(TEXT, world.alice))[len(HEAD) :]


def signed_header_inside(world: World, field: bytes, count: int) -> bytes:
    content = HEAD + field * count + TEXT
    return message(opaque(content, world.alice))


def parts_in_parts(depth: int, parts: int) -> bytes:
    opened = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
        for n in range(depth)
    )
    closed = b"".join(b"\r\n--b%d\r\n\r\nx" % n * parts for n in reversed(range(depth)))
    return HEAD + opened + b"\r\n" + closed


LARGE: dict[str, Callable[[World], bytes]] = {
    "from-1000-names-1000": lambda w: from_and_names(w, senders=1000, names=1000),
    "from-1000-names-1000-signers-100": lambda w: from_and_names(
        w, senders=1000, names=1000, signers=100
    ),
    "from-8000-names-8000": lambda w: from_and_names(w, senders=8000, names=8000, signers=20),
    "names-900-of-signers-100": lambda w: names_of_many(w, signers=100, names=900),
    "permitted-1000-names-1000": lambda w: name_constraints(
        w, names=1000, constraints=1000, permitted=True
    ),
    "excluded-1000-names-1000": lambda w: name_constraints(
        w, names=1000, constraints=1000, permitted=False
    ),
    "permitted-mailboxes-1000-names-1000": lambda w: name_constraints(
        w, names=1000, constraints=1000, permitted=True, mailboxes=True
    ),
    "excluded-mailboxes-1000-names-1000": lambda w: name_constraints(
        w, names=1000, constraints=1000, permitted=False, mailboxes=True
    ),
    "layers-14-signers-100": layers_of_signers,
    "signers-100-certificates-999": lambda w: signers_and_certificates(
        w, signers=100, certificates=999
    ),
    "one-key-identifier": lambda w: signers_of_one_key_identifier(w, signers=100, certificates=999),
    "named-32-certificates-999-signers-100": lambda w: named_certificates(
        w, named=32, certificates=999, signers=100
    ),
    "long-attributes-of-many-candidates": lambda w: candidates_of_long_attributes(
        w, size=500_000, certificates=900
    ),
    "slow-keys": lambda w: slow_keys(w, signers=100),
    "no-attributes-100": lambda w: without_attributes(w, signers=100, size=950_000),
    "no-attributes-100-layers-8": lambda w: without_attributes(
        w, signers=100, size=700_000, layers=8
    ),
    "bare-line-ends-in-14-layers": lambda w: layers_of_bare_line_ends(w, layers=14, size=900_000),
    "long-names": lambda w: long_names(w, size=320_000),
    "serial-number-of-400-kilobytes": lambda w: signed_with(
        w, field=1, value=ber.tlv(ber.INTEGER, b"\1" * 400_000)
    ),
    "critical-extensions-20000": lambda w: extensions(w, count=20_000),
    "one-extension-20000-times": lambda w: extensions(w, count=20_000, oid="1.2.3"),
    "broken-extension-of-900-kilobytes": lambda w: extensions(
        w, count=1, oid=oids.EXTENDED_KEY_USAGE, value=b"\x30" * 900_000
    ),
    "names-of-1-kilobyte": lambda w: names_in_other_spellings(
        w, signers=100, certificates=500, size=1100
    ),
    "names-of-4-kilobytes": lambda w: names_in_other_spellings(
        w, signers=80, certificates=140, size=4000
    ),
    "names-of-16-kilobytes": lambda w: names_in_other_spellings(
        w, signers=25, certificates=33, size=15_800
    ),
    "timestamps": lambda w: beside_signatures(w, oid=oids.TIMESTAMP_TOKEN, count=18, size=50_000),
    "countersignatures": lambda w: beside_signatures(
        w, oid=oids.COUNTERSIGNATURE, count=1000, size=0
    ),
    "signed-attributes-40000": lambda w: many_attributes(w, count=40_000, signed=True),
    "unsigned-attributes-40000": lambda w: many_attributes(w, count=40_000, signed=False),
    "receipts-from-many": lambda w: services_of_many(w, parties=1000, signers=100),
    "digest-algorithms": lambda w: elements_in(
        w, where="digest-algorithms", element=ber.sequence(ber.oid("1.2"))
    ),
    "no-certificates": lambda w: elements_in(w, where="certificates", element=b"\xa1\0"),
    "crls": lambda w: elements_in(w, where="crls", element=b"\x30\0"),
    "empty-chunks": lambda w: elements_in(w, where="content", element=b"\x04\0"),
    "chunks-of-one-octet": lambda w: indefinite_layers(w, layers=10, size=300_000),
    "recipients-10000": lambda w: recipients(w, count=9_000),
    "passwords-10000": lambda w: recipients(w, count=5_000, kind="pwri"),
    "agreements-of-5000": lambda w: agreements(w, keys=5_000),
    "agreements-2500": lambda w: agreements(w, keys=1, agreements=2_500),
    "inflates-to-100-megabytes": lambda w: inflated(w, size=100 * MEGABYTE),
    "inflates-to-19-megabytes-in-4-layers": lambda w: inflated(w, size=19 * MEGABYTE, layers=4),
    "inflates-to-23-megabytes-of-lines": lambda w: inflated_and_signed(w, size=11 * MEGABYTE),
    "inflates-to-140-megabytes-of-lines": lambda w: inflated_and_signed(w, size=140 * MEGABYTE),
    "from-256-kilobytes": lambda w: header(b"", 0).replace(
        b"From: alice@contoso.com", b"From: " + b"a@b, " * 52_000 + b"a@b"
    ),
    "signed-from-256-kilobytes": lambda w: signed_with_header(w, b"", 0).replace(
        b"From: alice@contoso.com", b"From: " + b"a@b, " * 52_000 + b"a@b"
    ),
    "from-a-megabyte": lambda w: header(b"", 0).replace(
        b"From: alice@contoso.com", b"From: " + b"a@b, " * 199_000 + b"a@b"
    ),
    "from-of-tokens": lambda w: signed_with_header(w, b"", 0).replace(
        b"From: alice@contoso.com", b"From: " + b"," * 260_000 + b"a@b"
    ),
    "from-of-comments": lambda w: signed_with_header(w, b"", 0).replace(
        b"From: alice@contoso.com", b"From: " + b"()" * 130_000 + b"a@b"
    ),
    "header-fields-160000": lambda w: header(b"a: b\r\n", 160_000),
    "header-lines-200000": lambda w: header(b" x\r\n", 200_000),
    "empty-header-names": lambda w: header(b":\n", 490_000),
    "signed-header-fields-160000": lambda w: signed_with_header(w, b"a: b\r\n", 160_000),
    "signed-header-inside": lambda w: signed_header_inside(w, b"a: b\r\n", 160_000),
    "parts-in-parts": lambda w: parts_in_parts(6, 10_000),
    "parts-of-nothing": lambda w: parts_in_parts(1, 90_000),
}


def pem(certificates: Iterable[bytes]) -> bytes:
    return b"".join(
        b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----\n" % pybase64.encodebytes(der)
        for der in certificates
    )


def namesakes(world: World, *, certificates: int) -> bytes:
    """A key with many certificates, whose issuer has a name that twenty others have."""

    def changed(der: bytes, fields: dict[int, bytes]) -> bytes:
        tbs, *outer = (element.raw for element in ber.read(der, "Certificate"))
        parts = [element.raw for element in ber.read(tbs, "TBSCertificate")]
        for index, value in fields.items():
            parts[index] = value
        return ber.sequence(ber.sequence(*parts), *outer)

    def name(text: bytes) -> bytes:
        pair = ber.sequence(ber.oid("2.5.4.3"), ber.tlv(ber.UTF8_STRING, text))
        return ber.sequence(ber.set_of(pair))

    slow = self_signed("slow@example.org", key="p521").certificate.der
    own = [
        changed(world.alice.certificate.der, {1: ber.integer(1000 + n), 3: name(b"x")})
        for n in range(certificates)
    ]
    others = [
        changed(slow, {1: ber.integer(n), 3: name(b"y"), 5: name(b"x")}) for n in range(1, 21)
    ]
    key, begin, _ = world.alice.to_pem().partition(b"-----BEGIN CERTIFICATE-----")
    assert begin
    return key + pem([*own, *others])


def carried(der: Iterable[bytes]) -> bytes:
    """A certs-only SignedData."""
    return of_parts(
        [ber.integer(1), ber.set_of(), ber.sequence(ber.oid(oids.DATA)), ber.tlv(0xA0, *der)]
        + [ber.set_of()]
    )


# Files of up to 1 MB for the loaders of keys and certificates.
FILES: dict[str, Callable[[World], bytes]] = {
    "pem": lambda w: pem(twins(w.alice.certificate, 1400)),
    "key-and-certificates": lambda w: w.alice.to_pem() + pem(twins(w.alice.certificate, 480)),
    "namesakes": lambda w: namesakes(w, certificates=470),
    "certs-only": lambda w: carried(twins(w.alice.certificate, 1800)),
    "certs-only-of-nothing": lambda w: carried([b"\xa1\0" * 490_000]),
    "sequence-of-nothing": lambda w: ber.sequence(b"\x05\0" * 490_000),
    "nested": lambda w: b"\x30\x80" * 490_000,
    "beginnings": lambda w: b"-----BEGIN CERTIFICATE-----\n" * 35_000,
    "empty-blocks": lambda w: pem([b""] * 18_000),
    "dashes": lambda w: b"-" * 1_000_000,
    "mail": lambda w: HEAD + b"Content-Type: application/pkcs7-mime\r\n\r\n" + b"0\r\n" * 300_000,
}
