"""Good messages, which have to be accepted: the controls of every test of the wrong ones."""

from __future__ import annotations

from ... import oids
from ...asn1 import ber
from ...cms import compressed_data
from ...cms.receipt_request import ReceiptRequest
from ...policy import EXCHANGE, RFC_8551
from ...smime.canonical import encode_base64
from ...smime.report import Summary
from ...smime.sealing import seal
from ...smime.wrap import COMPRESSED, SIGNED, pkcs7_mime, sign
from .case import Case
from .craft import TEXT, People, countersign, mixed, signature_part

_BARE = EXCHANGE.but("bare", header_protection=False)
_SEALED: Summary = "signed-and-encrypted"


def _two_signers(p: People) -> bytes:
    return sign(p.header() + TEXT, signer=[p.alice, p.mallory], at=p.at)


def _triple(p: People) -> bytes:
    """RFC 2634 1.1: signed, encrypted, signed."""
    inside = p.envelope(pkcs7_mime(SIGNED, p.signed()))
    return p.opaque(p.signed(inside))


def _countersigned(p: People) -> bytes:
    der = countersign(p.signed(), signer=p.mallory, policy=EXCHANGE, at=p.at)
    return p.opaque(der)


def _indefinite(p: People) -> bytes:
    """The same elements, with lengths that are not known before (X.690 8.1.3.6)."""
    root = ber.read(p.signed(), "SignedData")
    content_type, explicit = root
    (inner,) = explicit
    open_ended = b"\x30\x80" + bytes(content_type.raw) + b"\xa0\x80\x30\x80" + bytes(inner.contents)
    return p.opaque(open_ended + bytes(6))


def _historic_types(p: People) -> bytes:
    return p.clear(
        TEXT,
        signature_part(p.signed(detached=True)).replace(b"/pkcs7-", b"/x-pkcs7-"),
        protocol=b"application/x-pkcs7-signature",
        micalg=b"sha256",
    )


def _octet_stream(p: People) -> bytes:
    return (
        p.header() + b'Content-Type: application/octet-stream; name="smime.p7m"\r\n'
        b"Content-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="smime.p7m"\r\n\r\n' + encode_base64(p.signed())
    )


def _compressed(p: People) -> bytes:
    inside = compressed_data.compress(pkcs7_mime(SIGNED, p.signed()))
    return p.encrypted(pkcs7_mime(COMPRESSED, inside))


def _sealed(p: People) -> bytes:
    return seal(p.header() + TEXT, signer=p.alice, recipients=[p.to_bob], at=p.at)


def _hidden(p: People) -> bytes:
    return seal(
        p.header() + TEXT,
        signer=p.alice,
        recipients=[p.to_bob],
        at=p.at,
        header_confidentiality="baseline",
    )


def _aead(p: People) -> bytes:
    message = p.header() + TEXT
    return seal(message, signer=p.alice, recipients=[p.to_bob], policy=RFC_8551, at=p.at)


def _receipt(p: People) -> bytes:
    asked = ReceiptRequest(("alice@contoso.com",))
    return sign(p.header() + TEXT, signer=p.alice, at=p.at, receipt_request=asked)


def _alternative(p: People) -> bytes:
    html = b"Content-Type: text/html; charset=us-ascii\r\n\r\n<p>the figures</p>\r\n"
    content = mixed(TEXT, html, subtype=b"alternative")
    return p.clear(content, signature_part(p.signed(content, detached=True)))


def _by_key_identifier(p: People) -> bytes:
    return sign(p.header() + TEXT, signer=p.alice, at=p.at, sid="ski")


def _without_attributes(p: People) -> bytes:
    return p.opaque(p.signed(attributes=None))


def _wrapped(p: People) -> bytes:
    """RFC 8551 3.1: the message itself, header and all, is the content."""
    content = b"Content-Type: message/rfc822\r\n\r\n" + p.header() + TEXT
    return p.opaque(p.signed(content))


def _sent_unsorted(p: People) -> bytes:
    """The set as it was signed is in DER; as it is sent, its last element stands first."""
    der = p.signed()
    each = sorted(p.attributes(TEXT, p.alice).values())
    return p.opaque(der.replace(b"".join(each), b"".join([each[-1], *each[:-1]])))


def _unknown_attribute(p: People) -> bytes:
    further = ber.sequence(ber.oid(oids.UNKNOWN_EXTENSION), ber.set_of(ber.null()))
    return p.opaque(p.signed(attributes=[*p.attributes(TEXT, p.alice).values(), further]))


CASES = (
    Case(
        "good-clear",
        "nothing: multipart/signed, with its header fields",
        "RFC 8551 3.5.3, RFC 9788 5.2.1",
        lambda p: sign(p.header() + TEXT, signer=p.alice, at=p.at),
    ),
    Case(
        "good-clear-bare",
        "nothing: multipart/signed of the text alone",
        "RFC 8551 3.5.3",
        lambda p: sign(p.header() + TEXT, signer=p.alice, policy=_BARE, at=p.at),
    ),
    Case(
        "good-opaque",
        "nothing: signed-data",
        "RFC 8551 3.5.2",
        lambda p: sign(p.header() + TEXT, signer=p.alice, detached=False, at=p.at),
    ),
    Case(
        "good-alternative",
        "nothing: text and HTML, signed together",
        "RFC 8551 3.1",
        _alternative,
    ),
    Case(
        "good-sealed",
        "nothing: signed, then encrypted with AES-256-CBC",
        "RFC 8551 3.7",
        _sealed,
        summary=_SEALED,
    ),
    Case(
        "good-sealed-gcm",
        "nothing: signed, then encrypted with AES-GCM",
        "RFC 8551 3.4",
        _aead,
        summary=_SEALED,
    ),
    Case(
        "good-hidden-subject",
        "nothing: the Subject stands inside alone",
        "RFC 9788 3.2.1",
        _hidden,
        summary=_SEALED,
    ),
    Case(
        "good-compressed",
        "nothing: signed, compressed, encrypted",
        "RFC 8551 3.6",
        _compressed,
        summary=_SEALED,
    ),
    Case(
        "good-triple-wrap",
        "nothing: signed, encrypted, signed again by the same person",
        "RFC 2634 1.1",
        _triple,
        summary=_SEALED,
    ),
    Case(
        "good-key-identifier",
        "nothing: the signer is named by its subjectKeyIdentifier",
        "RFC 5652 5.3",
        _by_key_identifier,
    ),
    Case(
        "good-without-attributes",
        "nothing: a signature over the content itself",
        "RFC 5652 5.4",
        _without_attributes,
    ),
    Case(
        "good-unknown-attribute",
        "nothing: an attribute that nobody knows is signed",
        "RFC 5652 5.3",
        _unknown_attribute,
    ),
    Case(
        "good-receipt-request",
        "nothing: a signed receipt is asked for",
        "RFC 2634 2.2",
        _receipt,
    ),
    Case(
        "good-countersigned",
        "nothing: somebody else has signed the signature",
        "RFC 5652 11.4",
        _countersigned,
    ),
    Case(
        "good-indefinite-length",
        "nothing: BER with indefinite lengths",
        "RFC 5652 2",
        _indefinite,
    ),
    Case(
        "good-historic-types",
        "nothing: the x- types, and micalg without a hyphen, as older programs write them",
        "RFC 8551 3.10, 3.5.3.2",
        _historic_types,
    ),
    Case(
        "good-octet-stream",
        "nothing: application/octet-stream that is named smime.p7m",
        "RFC 8551 3.10",
        _octet_stream,
    ),
    Case(
        "good-wrapped",
        "nothing: message/rfc822 inside the signature",
        "RFC 8551 3.1",
        _wrapped,
    ),
    Case(
        "good-epilogue",
        "nothing: text behind the last boundary, which no reader shows",
        "RFC 2046 5.1.1",
        lambda p: p.clear(TEXT, signature_part(p.signed(detached=True)), behind=b"pay mallory\r\n"),
    ),
    Case(
        "two-signers",
        "somebody else than the author has signed as well",
        "RFC 5652 5.1",
        _two_signers,
        warnings=("pki.address.mismatch",),
    ),
    Case(
        "attributes-unsorted",
        "the signed attributes are sent in another order than they were signed in",
        "RFC 5652 5.3, 5.4",
        _sent_unsorted,
        warnings=("cms.attributes.not-der",),
    ),
    Case(
        "lines-in-lf",
        "a relay has made LF of every CRLF",
        "RFC 8551 3.1.1",
        lambda p: p.clear(TEXT, signature_part(p.signed(detached=True))).replace(b"\r\n", b"\n"),
        warnings=("smime.line-ends",),
    ),
)
