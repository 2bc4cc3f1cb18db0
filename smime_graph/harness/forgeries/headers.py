"""Header fields that are odd, or say something else outside than under the signature."""

from __future__ import annotations

from ...smime.report import Summary
from ...smime.sealing import seal
from ...smime.wrap import SIGNED, pkcs7_mime, sign
from .case import Case
from .craft import TEXT, People, signature_part

_SEALED: Summary = "signed-and-encrypted"
_OUTER = ("smime.outer-header",)
_ODD = ("smime.header",)


def _with(p: People, line: bytes, *, in_front: bool = True) -> bytes:
    made = p.clear(TEXT, signature_part(p.signed(detached=True)))
    if in_front:
        return line + made
    head, _, rest = made.partition(b"\r\n\r\n")
    return head + b"\r\n" + line.removesuffix(b"\r\n") + b"\r\n\r\n" + rest


def _outside(p: People, old: bytes, new: bytes) -> bytes:
    made = sign(p.header() + TEXT, signer=p.alice, at=p.at)
    return made.replace(old, new, 1)


def _payload(p: People, hp: bytes, further: bytes = b"") -> bytes:
    fields = p.header().replace(b"MIME-Version: 1.0\r\n", b"")
    return fields + further + TEXT.replace(b"us-ascii", b'us-ascii; hp="%s"' % hp)


def _hp(p: People, hp: bytes, further: bytes = b"") -> bytes:
    return p.opaque(p.signed(_payload(p, hp, further)))


def _encrypted_clear(p: People) -> bytes:
    """Encryption was added to a message that was only signed; another Subject stands outside."""
    inside = pkcs7_mime(SIGNED, p.signed(_payload(p, b"clear")))
    return p.header(subject=b"Payment") + p.envelope(inside)


def _subject_put_in(p: People) -> bytes:
    """The sender had hidden the Subject, and somebody has put another one outside."""
    made = seal(
        p.header() + TEXT,
        signer=p.alice,
        recipients=[p.to_bob],
        at=p.at,
        header_confidentiality="baseline",
    )
    return made.replace(b"Subject: [...]", b"Subject: Payment", 1)


def _below_the_root(p: People) -> bytes:
    """hp stands at a part, not at the root of what was signed: it protects nothing."""
    part = _payload(p, b"clear").replace(b"Figures", b"Payment")
    content = (
        b'Content-Type: multipart/mixed; boundary="in"\r\n\r\n--in\r\n' + part + b"\r\n--in--\r\n"
    )
    return p.opaque(p.signed(content))


CASES = (
    Case(
        "outer-subject-changed",
        "outside stands another Subject than the signed one",
        "RFC 9788 4",
        lambda p: _outside(p, b"Subject: Figures", b"Subject: Payment"),
        warnings=_OUTER,
    ),
    Case(
        "outer-reply-to",
        "a Reply-To was added outside: the answer would go to somebody else",
        "RFC 9788 4, 6.1",
        lambda p: b"Reply-To: mallory@contoso.com\r\n" + _outside(p, b"", b""),
        warnings=_OUTER,
    ),
    Case(
        "outer-subject-replaced",
        "the Subject was hidden, and another one was put outside",
        "RFC 9788 4.10",
        _subject_put_in,
        warnings=_OUTER,
        summary=_SEALED,
    ),
    Case(
        "hp-clear-encrypted",
        'encrypted, but hp="clear": who encrypted it is not who signed it, and the Subject differs',
        "RFC 9788 4.2",
        _encrypted_clear,
        warnings=_OUTER,
        summary=_SEALED,
    ),
    Case(
        "hp-unknown",
        "hp has a value that nobody knows",
        "RFC 9788 2.1.1",
        lambda p: _hp(p, b"fog"),
        warnings=("smime.header-protection",),
    ),
    Case(
        "hp-cipher-signed-only",
        'hp="cipher", but nothing is encrypted',
        "RFC 9788 2.1.1, 4.2",
        lambda p: _hp(p, b"cipher"),
        warnings=("smime.header-protection",),
    ),
    Case(
        "hp-below-the-root",
        "hp stands at a part inside: its fields protect nothing",
        "RFC 9788 4.1",
        _below_the_root,
    ),
    Case(
        "field-without-name",
        "a line of the header is no field",
        "RFC 5322 2.2",
        lambda p: _with(p, b"garbage\r\n"),
        warnings=_ODD,
    ),
    Case(
        "field-name-octets",
        "the name of a field is not printable: behind it some see body, and no From",
        "RFC 5322 2.2",
        lambda p: b"X-\xff: x\r\n" + p.clear(TEXT, signature_part(p.signed(detached=True))),
        ("smime.unsigned", "pki.address.mismatch"),
        summary="unprotected",
    ),
    Case(
        "content-type-twice",
        "two Content-Type fields: some show text/plain, some check the signature",
        "RFC 2045 3, RFC 5322 3.6",
        lambda p: _with(p, b"Content-Type: text/plain\r\n"),
        ("smime.unsigned",),
        summary="unprotected",
    ),
    Case(
        "content-type-none",
        "the Content-Type names no subtype",
        "RFC 2045 5.1",
        lambda p: p.header() + b"Content-Type: multipart\r\n\r\n" + TEXT,
        ("smime.unsigned",),
        summary="unprotected",
    ),
)
