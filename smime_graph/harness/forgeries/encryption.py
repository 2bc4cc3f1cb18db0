"""Encryption that is broken, weakened or taken apart."""

from __future__ import annotations

from ... import oids
from ...asn1 import ber
from ...asn1.content_info import content_info
from ...cms import enveloped_data
from ...smime.wrap import AUTH_ENVELOPED, ENVELOPED, SIGNED, pkcs7_mime
from .case import Case
from .craft import TEXT, People, der_of, flip, mime_of, put, signature_part, with_oid

_UNREADABLE = ("smime.unreadable",)
_UNSIGNED = ("smime.unsigned",)
_BLOCK = 16


def _signed(p: People) -> bytes:
    return pkcs7_mime(SIGNED, p.signed())


def _der(p: People, cipher: str = "aes256-cbc") -> bytes:
    return der_of(p.envelope(_signed(p), cipher=cipher))


def _as_cbc(p: People, *, hides_tag: bool) -> bytes:
    """The ciphertext of GCM, which is that of a counter, under the name of CBC."""
    root = ber.read(_der(p, "aes256-gcm"), "AuthEnvelopedData")
    cbc = ber.sequence(ber.oid(oids.AES256_CBC), ber.octet_string(bytes(_BLOCK)))
    changed = put(root, with_oid(root, oids.AES256_GCM), cbc)
    if not hides_tag:
        return p.header() + pkcs7_mime(AUTH_ENVELOPED, changed)
    _, explicit = ber.read(changed, "AuthEnvelopedData")
    _, infos, content, _ = explicit.only("content")
    parts = [ber.integer(2), bytes(infos.raw), bytes(content.raw)]
    return p.header() + pkcs7_mime(ENVELOPED, content_info(oids.ENVELOPED_DATA, parts))


def _gcm_without_tag(p: People) -> bytes:
    """AES-GCM in EnvelopedData, which has no place for a tag."""
    root = ber.read(_der(p, "aes256-gcm"), "AuthEnvelopedData")
    _, explicit = root
    _, infos, content, _ = explicit.only("content")
    parts = [ber.integer(2), bytes(infos.raw), bytes(content.raw)]
    return p.header() + pkcs7_mime(ENVELOPED, content_info(oids.ENVELOPED_DATA, parts))


def _short_tag(p: People) -> bytes:
    root = ber.read(_der(p, "aes256-gcm"), "AuthEnvelopedData")
    _, explicit = root
    *_, mac = explicit.only("content")
    short = ber.octet_string(bytes(mac.contents)[:4])
    return p.header() + pkcs7_mime(AUTH_ENVELOPED, put(root, mac, short))


def _cbc_gadget(p: People) -> bytes:
    """A block of the signed text is changed: so is the block before, into nobody knows what."""
    text = TEXT + b"the figures of this month\r\n" * 20
    inside = mime_of(p.clear(text, signature_part(p.signed(text, detached=True))))
    der = der_of(p.envelope(inside))
    ciphertext = bytes(enveloped_data.read(der).ciphertext)
    block = inside.index(b"of this month") // _BLOCK + 3
    return p.header() + pkcs7_mime(
        ENVELOPED, flip(der, der.index(ciphertext) + block * _BLOCK, 0x20)
    )


def _cbc_gadget_alone(p: People) -> bytes:
    """EFAIL: by the initialization vector the first block becomes another text, without a trace."""
    der = der_of(p.envelope(TEXT))
    wanted, known = b"Content-Type: te", b"X-Img: evil.invalid"[:_BLOCK]
    algorithm = enveloped_data.read(der).algorithm
    assert algorithm.parameters is not None  # noqa: S101 - it is AES-CBC
    iv = bytes(algorithm.parameters.contents)
    changed = bytes(a ^ b ^ c for a, b, c in zip(iv, wanted, known, strict=True))
    return p.header() + pkcs7_mime(ENVELOPED, der.replace(iv, changed))


def _key_bit(p: People) -> bytes:
    der = _der(p)
    key = enveloped_data.read(der).recipients[0].encrypted_key
    return p.header() + pkcs7_mime(ENVELOPED, der.replace(key, flip(key, 7)))


def _padding(p: People) -> bytes:
    """The last octet of the block before the last: the padding becomes another."""
    der = _der(p)
    ciphertext = bytes(enveloped_data.read(der).ciphertext)
    return p.header() + pkcs7_mime(
        ENVELOPED, der.replace(ciphertext, flip(ciphertext, -_BLOCK - 1, 0x80))
    )


def _nobody(p: People) -> bytes:
    root = ber.read(_der(p), "EnvelopedData")
    _, explicit = root
    _, infos, _ = explicit.only("content")
    return p.header() + pkcs7_mime(ENVELOPED, put(root, infos, ber.set_of()))


CASES = (
    Case(
        "encrypted-unsigned",
        "encrypted, and nobody signed it: anybody may have written it",
        "RFC 8551 3.3, 6",
        lambda p: p.encrypted(TEXT),
        _UNSIGNED,
    ),
    Case(
        "efail-gadget",
        "encrypted with CBC and unsigned, the first block changed into another text",
        "EFAIL (2018) 4; RFC 8551 6",
        _cbc_gadget_alone,
        _UNSIGNED,
    ),
    Case(
        "efail-gadget-signed",
        "a block of the ciphertext was changed under the signature",
        "EFAIL (2018) 4; RFC 5652 5.6",
        _cbc_gadget,
        ("cms.digest.mismatch",),
    ),
    Case(
        "gcm-as-cbc",
        "AES-GCM's ciphertext under the name of AES-CBC, with its tag",
        "RFC 9709 1, RFC 5083 2.1",
        lambda p: _as_cbc(p, hides_tag=False),
        _UNREADABLE,
    ),
    Case(
        "gcm-as-enveloped-cbc",
        "AES-GCM's ciphertext under the name of AES-CBC in EnvelopedData",
        "RFC 9709 1",
        lambda p: _as_cbc(p, hides_tag=True),
        _UNREADABLE,
    ),
    Case(
        "gcm-without-tag",
        "AES-GCM in EnvelopedData, where no tag says that it is unchanged",
        "RFC 8551 3.3",
        _gcm_without_tag,
        _UNREADABLE,
    ),
    Case(
        "gcm-tag-changed",
        "the tag of AES-GCM is another",
        "RFC 5083 2",
        lambda p: p.header() + pkcs7_mime(AUTH_ENVELOPED, flip(_der(p, "aes256-gcm"), -1)),
        _UNREADABLE,
    ),
    Case(
        "gcm-tag-short",
        "the tag of AES-GCM has four octets",
        "RFC 5084 3.2",
        _short_tag,
        _UNREADABLE,
    ),
    Case(
        "cipher-3des",
        "encrypted with Triple-DES",
        "RFC 8551 appendix B",
        lambda p: p.encrypted(_signed(p), cipher="des-ede3-cbc"),
        _UNREADABLE,
    ),
    Case(
        "key-changed",
        "one bit of the encrypted key is another: the error must be that of a changed padding",
        "RFC 3218 2.3",
        _key_bit,
        _UNREADABLE,
    ),
    Case(
        "padding-changed",
        "the padding is another: the error must be that of a changed key",
        "RFC 5652 6.3, Vaudenay (2002)",
        _padding,
        _UNREADABLE,
    ),
    Case(
        "for-nobody",
        "no recipient",
        "RFC 5652 6.1",
        _nobody,
        _UNREADABLE,
    ),
    Case(
        "for-another",
        "encrypted to somebody else",
        "RFC 5652 6.2",
        lambda p: p.encrypted(_signed(p), to=p.mallory.contact),
        _UNREADABLE,
    ),
)
