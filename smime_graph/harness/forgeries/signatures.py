"""Signatures that are broken, moved, or over something else than they seem to be."""

from __future__ import annotations

from ... import algorithms, oids
from ...asn1 import ber
from ...cms import attributes, signed_data
from ...policy import EXCHANGE
from ...smime.wrap import certs_only, sign
from .case import Case
from .craft import (
    OTHER_TEXT,
    TEXT,
    People,
    add_unsigned,
    countersign,
    der_of,
    flip,
    nodes,
    put,
    signature_part,
)

_INVALID, _DIGEST = ("cms.signature.invalid",), ("cms.digest.mismatch",)
_DUPLICATE, _MISSING = ("cms.attributes.duplicate",), ("cms.attributes.missing",)
_UNREADABLE = ("smime.unreadable",)


def _attributes(p: People, **instead: bytes | None) -> list[bytes]:
    """The usual ones with some replaced, by their names in `oids`, or left out."""
    usual: dict[str, bytes | None] = {**p.attributes(TEXT, p.alice)}
    usual |= {getattr(oids, name): value for name, value in instead.items()}
    return [one for one in usual.values() if one is not None]


def _with(p: People, *further: bytes, **instead: bytes | None) -> bytes:
    return p.opaque(p.signed(attributes=[*_attributes(p, **instead), *further]))


def _twice(p: People) -> bytes:
    other = attributes.message_digest(algorithms.SHA256.compute(OTHER_TEXT))
    return _with(p, other)


def _two_values(p: People) -> bytes:
    digests = [algorithms.SHA256.compute(text) for text in (TEXT, OTHER_TEXT)]
    value = attributes.attribute(oids.MESSAGE_DIGEST, *map(ber.octet_string, digests))
    return _with(p, MESSAGE_DIGEST=value)


def _text_changed(p: People) -> bytes:
    return p.clear(OTHER_TEXT, signature_part(p.signed(detached=True)))


def _text_changed_inside(p: People) -> bytes:
    return p.opaque(p.signed().replace(b"the figures", b"our figures"))


def _header_changed(p: People) -> bytes:
    made = sign(p.header() + TEXT, signer=p.alice, at=p.at)
    head, _, rest = made.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n" + rest.replace(b"Subject: Figures", b"Subject: Payment", 1)


def _time_changed(p: People) -> bytes:
    der = p.signed()
    time = ber.time(p.at)
    return p.opaque(der.replace(time, flip(time, -2)))


def _moved(p: People) -> bytes:
    """The signature of another message."""
    ours, theirs = p.signed(TEXT), p.signed(OTHER_TEXT)
    root = ber.read(ours, "SignedData")
    *_, infos = next(iter(list(root)[1]))
    *_, others = next(iter(list(ber.read(theirs, "SignedData"))[1]))
    return p.opaque(put(root, infos, bytes(others.raw)))


def _other_key(p: People) -> bytes:
    """Mallory's key under Alice's certificate."""
    der = p.signed(
        who=p.mallory,
        named=p.alice.certificate,
        certificates=(p.alice.certificate, *p.alice.chain),
        attributes=p.attributes(TEXT, p.alice).values(),
    )
    return p.opaque(der)


def _digest_named_anew(p: People) -> bytes:
    """SHA-512 where the signer used SHA-256."""
    sha256, sha512 = ber.oid(oids.SHA256), ber.oid(oids.SHA512)
    return p.opaque(p.signed().replace(sha256, sha512, 2))


def _unknown_algorithm(p: People) -> bytes:
    return p.opaque(p.signed(algorithm=ber.sequence(ber.oid(oids.UNKNOWN_EXTENSION))))


def _attributes_as_content(p: People) -> bytes:
    """Under one signature: the attributes, taken for the content of one that has none."""
    der = p.opaque(p.signed())
    root = ber.read(der_of(der), "SignedData")
    (signer,) = signed_data.read(der_of(der)).signers
    assert signer.signed_attributes is not None  # noqa: S101 - it was made with them
    raw = bytes(signer.signed_attributes.node.raw)
    for one in list(nodes(root)):
        if one.tag == 0xA0 and bytes(one.raw) == raw:
            without = ber.read(put(root, one, b""), "SignedData")
    content = next(
        one for one in nodes(without) if one.tag == ber.OCTET_STRING and one.contents == TEXT
    )
    return p.opaque(put(without, content, ber.octet_string(b"\x31" + raw[1:])))


def _other_certificate_named(p: People) -> bytes:
    other = attributes.signing_certificate_v2(p.mallory.certificate)
    return _with(p, SIGNING_CERTIFICATE_V2=other)


def _other_algorithms_named(p: People) -> bytes:
    value = p.attributes(TEXT, p.alice, digest=algorithms.by_name(algorithms.Digest, "sha512"))
    return _with(p, CMS_ALGORITHM_PROTECTION=value[oids.CMS_ALGORITHM_PROTECTION])


def _unsigned_time(p: People) -> bytes:
    der = p.signed(attributes=_attributes(p, SIGNING_TIME=None))
    return p.opaque(add_unsigned(der, oids.SIGNING_TIME, ber.time(p.at)))


def _own_content(p: People) -> bytes:
    """Johnny 01-cms c1: what is read is the first part, what was signed is in the second."""
    return p.clear(OTHER_TEXT, signature_part(p.signed()))


def _exchanged(p: People) -> bytes:
    return p.clear(signature_part(p.signed(detached=True)), TEXT)


def _third(p: People) -> bytes:
    return p.clear(OTHER_TEXT, TEXT, signature_part(p.signed(detached=True)))


def _by_both(p: People, broken: int) -> bytes:
    """Signed by Mallory and Alice, with the signature of one of them broken."""
    der, _ = signed_data.sign(TEXT, [p.mallory, p.alice], detached=False, policy=EXCHANGE, at=p.at)
    who = (p.mallory, p.alice)[broken].certificate
    signature = next(
        one.signature for one in signed_data.read(der).signers if any(one.among([who]))
    )
    return p.opaque(der.replace(signature, flip(signature, 9)))


def _countersigned_wrongly(p: People) -> bytes:
    """Over the signature of another message."""
    der = countersign(p.signed(OTHER_TEXT), signer=p.mallory, policy=EXCHANGE, at=p.at)
    (signer,) = signed_data.read(der).signers
    assert signer.unsigned_attributes is not None  # noqa: S101 - it was added
    (value,) = signer.unsigned_attributes.values(oids.COUNTERSIGNATURE)
    return p.opaque(
        add_unsigned(
            p.signed(),
            oids.COUNTERSIGNATURE,
            bytes(value.raw),
            certificates=(p.mallory.certificate, *p.mallory.chain),
        )
    )


def _countersignature_only(p: People) -> bytes:
    """Alice has signed a signature of Mallory's: she is no author by that."""
    der = countersign(p.signed(who=p.mallory), signer=p.alice, policy=EXCHANGE, at=p.at)
    return p.opaque(der)


def _countersignature_signed(p: People) -> bytes:
    der = countersign(p.signed(), signer=p.mallory, policy=EXCHANGE, at=p.at)
    (signer,) = signed_data.read(der).signers
    assert signer.unsigned_attributes is not None  # noqa: S101 - it was added
    (value,) = signer.unsigned_attributes.values(oids.COUNTERSIGNATURE)
    return _with(p, attributes.attribute(oids.COUNTERSIGNATURE, bytes(value.raw)))


CASES = (
    Case(
        "text-changed", "the text was changed after signing", "RFC 5652 5.6", _text_changed, _DIGEST
    ),
    Case(
        "text-changed-inside",
        "the text was changed inside the signed-data",
        "RFC 5652 5.6",
        _text_changed_inside,
        _DIGEST,
    ),
    Case(
        "protected-header-changed",
        "the Subject was changed inside the signature",
        "RFC 9788 5.2.1, RFC 5652 5.6",
        _header_changed,
        _DIGEST,
    ),
    Case(
        "signature-bit",
        "one bit of the signature is another",
        "RFC 5652 5.6",
        lambda p: p.opaque(flip(p.signed(), -1)),
        _INVALID,
    ),
    Case(
        "signature-of-another",
        "the signature is that of another message",
        "RFC 5652 5.6",
        _moved,
        _DIGEST,
    ),
    Case(
        "signing-time-changed",
        "a signed attribute was changed",
        "RFC 5652 5.4",
        _time_changed,
        _INVALID,
    ),
    Case(
        "other-key",
        "somebody else's key has signed in the signer's name",
        "RFC 5652 5.6",
        _other_key,
        _INVALID,
    ),
    Case(
        "digest-sha1",
        "the digest is SHA-1",
        "RFC 8551 appendix B",
        lambda p: p.opaque(p.signed(digest=algorithms.SHA1)),
        ("alg.refused",),
    ),
    Case(
        "digest-md5",
        "the digest is MD5",
        "RFC 8551 appendix B",
        lambda p: p.opaque(p.signed(digest=algorithms.MD5)),
        ("alg.refused",),
    ),
    Case(
        "digest-named-anew",
        "another digest is named than was used",
        "RFC 6211 3",
        _digest_named_anew,
        ("cms.attributes.algorithm-protection", *_DIGEST, *_INVALID),
    ),
    Case(
        "algorithm-unknown",
        "the signature algorithm is one that nobody knows",
        "RFC 5652 5.1",
        _unknown_algorithm,
        ("cms.signer.unchecked",),
    ),
    Case(
        "message-digest-missing",
        "there are signed attributes, but no messageDigest",
        "RFC 5652 5.3",
        lambda p: _with(p, MESSAGE_DIGEST=None),
        _MISSING,
    ),
    Case(
        "content-type-missing",
        "there are signed attributes, but no contentType",
        "RFC 5652 5.3",
        lambda p: _with(p, CONTENT_TYPE=None),
        _MISSING,
    ),
    Case(
        "content-type-differs",
        "the signed contentType is not that of the content",
        "RFC 5652 11.1",
        lambda p: _with(p, CONTENT_TYPE=attributes.content_type(oids.ENVELOPED_DATA)),
        ("cms.attributes.content-type",),
    ),
    Case(
        "content-no-data",
        "what is signed says that it is a timestamp, not mail",
        "RFC 8551 2.4.1",
        lambda p: p.opaque(p.signed(kind=oids.TST_INFO)),
        ("smime.inner-type",),
    ),
    Case(
        "message-digest-twice",
        "two messageDigest attributes, of which one is right",
        "RFC 5652 11.2",
        _twice,
        _DUPLICATE,
    ),
    Case(
        "message-digest-two-values",
        "one messageDigest with two values, of which one is right",
        "RFC 5652 11.2",
        _two_values,
        _DUPLICATE,
    ),
    Case(
        "signing-time-twice",
        "two times of signing",
        "RFC 5652 11.3",
        lambda p: _with(p, attributes.signing_time(p.at.replace(year=p.at.year - 1))),
        _DUPLICATE,
    ),
    Case(
        "attributes-as-content",
        "the attributes that were signed stand as the content of a message that has none",
        "eprint 2023/1801, draft-ietf-lamps-cms-euf-cma-signeddata",
        _attributes_as_content,
        ("cms.attributes.confusable",),
    ),
    Case(
        "signing-certificate-differs",
        "signingCertificateV2 names somebody else's certificate",
        "RFC 5035 5.4.1",
        _other_certificate_named,
        ("cms.attributes.signing-certificate",),
    ),
    Case(
        "algorithm-protection-differs",
        "CMSAlgorithmProtection names other algorithms",
        "RFC 6211 3",
        _other_algorithms_named,
        ("cms.attributes.algorithm-protection",),
    ),
    Case(
        "signing-time-unsigned",
        "the time of signing stands among the attributes that are not signed",
        "RFC 5652 11.3",
        _unsigned_time,
        ("cms.attributes.malformed",),
    ),
    Case(
        "countersignature-signed",
        "a countersignature is among the signed attributes",
        "RFC 5652 11.4",
        _countersignature_signed,
        ("cms.attributes.malformed",),
    ),
    Case(
        "countersignature-of-another",
        "the countersignature is over another signature: it says nothing of this one",
        "RFC 5652 11.4",
        _countersigned_wrongly,
        warnings=("cms.countersignature.invalid",),
    ),
    Case(
        "countersignature-alone",
        "the author has signed another person's signature, and not the message",
        "RFC 5652 11.4",
        _countersignature_only,
        ("pki.address.mismatch",),
    ),
    Case(
        "detached-with-content",
        "the detached signature brings another content, which was signed",
        "Johnny, you are fired (2019) 01-cms c1; RFC 8551 3.5.3.1",
        _own_content,
        _UNREADABLE,
    ),
    Case(
        "content-absent",
        "signed-data without its content",
        "RFC 5652 5.2",
        lambda p: p.opaque(p.signed(detached=True)),
        _UNREADABLE,
    ),
    Case(
        "parts-exchanged",
        "the signature is the first part, the text the second",
        "RFC 1847 2.1",
        _exchanged,
        ("smime.unsigned",),
        summary="unprotected",
    ),
    Case(
        "third-part",
        "a part stands before the one that was signed",
        "RFC 1847 2.1; Johnny 03-mime",
        _third,
        _UNREADABLE,
    ),
    Case(
        "text-behind-base64",
        "a forwarder has put text behind the base64 of the signed-data",
        "RFC 2045 6.8, RFC 9787 6.2",
        lambda p: p.opaque(p.signed()) + b"\r\n-- \r\nforwarded by a list\r\n",
        warnings=("smime.text-behind",),
    ),
    Case(
        "micalg-differs",
        "micalg is another digest than was used",
        "RFC 8551 3.5.3.2",
        lambda p: p.clear(TEXT, signature_part(p.signed(detached=True)), micalg=b"sha-1"),
        warnings=("smime.micalg",),
    ),
    Case(
        "protocol-differs",
        "protocol says something else than the second part",
        "RFC 1847 2.1",
        lambda p: p.clear(
            TEXT, signature_part(p.signed(detached=True)), protocol=b"application/pkcs7-mime"
        ),
        warnings=("smime.protocol",),
    ),
    Case(
        "second-signer-broken",
        "the author's signature is good, another one is broken",
        "RFC 5652 5.1",
        lambda p: _by_both(p, broken=0),
        _INVALID,
    ),
    Case(
        "author-broken",
        "the author's signature is broken, somebody else's is good",
        "Johnny, you are fired (2019) 01-cms c2",
        lambda p: _by_both(p, broken=1),
        ("pki.address.mismatch", *_INVALID),
    ),
    Case(
        "nobody-signed",
        "signed-data with certificates and without a signer",
        "RFC 8551 3.8; Johnny 01-cms c3",
        lambda p: p.header() + certs_only([p.alice.certificate]),
        ("cms.signer.none",),
        summary="unprotected",
    ),
    Case(
        "octets-behind",
        "octets behind the end of the signed-data",
        "RFC 5652 3",
        lambda p: p.opaque(p.signed() + b"\0\0"),
        _UNREADABLE,
    ),
    Case(
        "cut-off",
        "the signed-data ends in the middle",
        "RFC 5652 3",
        lambda p: p.opaque(p.signed()[:-40]),
        _UNREADABLE,
    ),
)
