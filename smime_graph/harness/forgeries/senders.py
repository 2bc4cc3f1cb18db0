"""Good signatures of Mallory's under a From that shows Alice, and the other way round."""

from __future__ import annotations

from collections.abc import Callable

from .case import Case
from .craft import ALICE, MALLORY, TEXT, People

_MISMATCH = ("pki.address.mismatch",)
_JOHNNY = "Johnny, you are fired (2019) 04-id; RFC 8550 3"


def _by_mallory(*fields: bytes) -> Callable[[People], bytes]:
    """A good signature of hers under a header that begins with these fields."""

    def make(p: People) -> bytes:
        head = b"".join(one + b"\r\n" for one in fields)
        return head + p.opaque(p.signed(who=p.mallory), None)

    return make


def _by_alice(*fields: bytes) -> Callable[[People], bytes]:
    def make(p: People) -> bytes:
        return b"".join(one + b"\r\n" for one in fields) + p.opaque(p.signed(), None)

    return make


def _inside(p: People) -> bytes:
    content = b"From: " + ALICE + b"\r\nSubject: Figures\r\n" + TEXT
    return p.opaque(p.signed(content, p.mallory), MALLORY)


def _protected(p: People) -> bytes:
    """RFC 9788 4.4.2: outside stands Alice, and under Mallory's signature Mallory."""
    content = p.header(MALLORY).replace(b"MIME-Version: 1.0\r\n", b"") + TEXT.replace(
        b"us-ascii", b'us-ascii; hp="clear"'
    )
    return p.opaque(p.signed(content, p.mallory))


def _wrapped(p: People) -> bytes:
    content = b"Content-Type: message/rfc822\r\n\r\n" + p.header() + TEXT
    return p.opaque(p.signed(content, p.mallory), MALLORY)


def _own(text: bytes) -> tuple[bytes, bytes]:
    return b"From: " + text, b"From: " + MALLORY


CASES = (
    Case(
        "from-another",
        "the From is not the signer's",
        "RFC 8550 3",
        _by_mallory(b"From: alice@contoso.com"),
        _MISMATCH,
    ),
    Case(
        "from-twice",
        "two From fields, the first of them not the signer's",
        "RFC 5322 3.6; Johnny 04-id",
        _by_mallory(*_own(b"alice@contoso.com")),
        _MISMATCH,
    ),
    Case(
        "from-twice-behind",
        "two From fields, the second of them not the signer's",
        "RFC 5322 3.6; Johnny 04-id",
        _by_mallory(*reversed(_own(b"alice@contoso.com"))),
        _MISMATCH,
    ),
    Case(
        "from-missing",
        "there is no From, so that nobody is compared with the signer",
        "RFC 5322 3.6, RFC 8550 3",
        _by_alice(),
        _MISMATCH,
    ),
    Case(
        "sender-alone",
        "a Sender, and no From",
        "RFC 5322 3.6.2, RFC 8550 3",
        _by_alice(b"Sender: alice@contoso.com"),
        _MISMATCH,
    ),
    Case(
        "sender-twice",
        "two Sender fields, of which one is the signer's",
        "RFC 5322 3.6, RFC 8550 3",
        _by_mallory(b"From: alice@contoso.com", b"Sender: bob@contoso.com", b"Sender: " + MALLORY),
        _MISMATCH,
    ),
    Case(
        "sender-signed",
        "the Sender has signed, and the author is somebody else: readers have to show both",
        "RFC 8550 3",
        _by_mallory(b"From: alice@contoso.com", b"Sender: " + MALLORY),
        warnings=_MISMATCH,
    ),
    Case(
        "from-several",
        "two authors in one From, of whom one has signed",
        "RFC 5322 3.6.2, RFC 8550 3",
        _by_mallory(b"From: alice@contoso.com, mallory@contoso.com", b"Sender: " + MALLORY),
        warnings=_MISMATCH,
    ),
    Case(
        "name-is-address",
        "the display name is somebody else's address",
        _JOHNNY,
        _by_mallory(b'From: "alice@contoso.com" <mallory@contoso.com>'),
        warnings=_MISMATCH,
    ),
    Case(
        "name-is-encoded-address",
        "the display name is somebody else's address, as an encoded word",
        "RFC 2047 5; Johnny 04-id",
        _by_mallory(b"From: =?utf-8?q?alice=40contoso=2Ecom?= <mallory@contoso.com>"),
        warnings=_MISMATCH,
    ),
    Case(
        "name-is-full-width",
        "the display name is somebody else's address in full-width characters",
        _JOHNNY,
        _by_mallory('From: "alice\uff20contoso\uff0ecom" <mallory@contoso.com>'.encode()),
        warnings=_MISMATCH,
    ),
    Case(
        "comment-is-address",
        "a comment is somebody else's address",
        "RFC 5322 3.2.2; Johnny 04-id",
        _by_mallory(b"From: (alice@contoso.com) mallory@contoso.com"),
        warnings=_MISMATCH,
    ),
    Case(
        "group-is-address",
        "the name of a group is somebody else's address",
        "RFC 5322 3.4; Johnny 04-id",
        _by_mallory(b'From: "alice@contoso.com": mallory@contoso.com;'),
        warnings=_MISMATCH,
    ),
    Case(
        "group-good",
        "nothing: a group whose only member has signed",
        "RFC 6854 2.1",
        _by_alice(b"From: Team: alice@contoso.com;"),
    ),
    Case(
        "group-empty",
        "a group that nobody is in",
        "RFC 6854 2.1, RFC 8550 3",
        _by_alice(b"From: Nobody:;"),
        _MISMATCH,
    ),
    Case(
        "from-is-encoded",
        "the address itself is an encoded word, which it may not be",
        "RFC 2047 5",
        _by_alice(b"From: =?utf-8?q?alice=40contoso=2Ecom?="),
        _MISMATCH,
    ),
    Case(
        "from-no-address",
        "the From is a word, and no address",
        "RFC 5322 3.4, RFC 8550 3",
        _by_alice(b"From: alice"),
        _MISMATCH,
    ),
    Case(
        "from-nul",
        "a NUL between two addresses: some read the first, some the second",
        _JOHNNY,
        _by_mallory(b"From: alice@contoso.com\0mallory@contoso.com"),
        _MISMATCH,
    ),
    Case(
        "from-two-addresses",
        "two addresses without a comma between: readers choose one",
        _JOHNNY,
        _by_mallory(b"From: <alice@contoso.com>mallory@contoso.com"),
        _MISMATCH,
    ),
    Case(
        "from-homograph",
        "the domain has a letter of another alphabet",
        "RFC 5890 4.4, RFC 8550 3",
        _by_alice("From: alice@c\u043entoso.com".encode()),
        _MISMATCH,
    ),
    Case(
        "from-subdomain",
        "the domain is below that of the certificate",
        "RFC 8550 3",
        _by_alice(b"From: alice@mail.contoso.com"),
        _MISMATCH,
    ),
    Case(
        "from-capitals",
        "nothing: capitals in the domain",
        "RFC 8550 3",
        _by_alice(b"From: alice@CONTOSO.COM"),
    ),
    Case(
        "from-name-with-blank",
        "a blank in front of the colon, and a second From behind",
        "RFC 5322 4.5, 3.6",
        _by_mallory(b"From : alice@contoso.com", b"From: " + MALLORY),
        _MISMATCH,
    ),
    Case(
        "from-name-folded",
        "the colon stands in the next line: some see that From, some the end of the header",
        "RFC 5322 2.2",
        _by_mallory(b"From\r\n : alice@contoso.com", b"From: " + MALLORY),
        ("smime.unsigned", *_MISMATCH),
    ),
    Case(
        "from-name-without-width",
        "a character without width is in the name of the field: some see that From, some no header",
        "RFC 5322 2.2",
        _by_mallory("Fr\u200bom: alice@contoso.com".encode(), b"From: " + MALLORY),
        ("smime.unsigned", *_MISMATCH),
    ),
    Case(
        "from-behind-cr",
        "a From behind a CR that ends no line: some see it",
        "RFC 5322 2.2",
        _by_mallory(b"X-Note: x\rFrom: alice@contoso.com", b"From: " + MALLORY),
        _MISMATCH,
    ),
    Case(
        "from-inside",
        "the signed content has a From of its own, which is not the signer's",
        "RFC 8551 3.1, RFC 9788 4.4",
        _inside,
        _MISMATCH,
    ),
    Case(
        "from-wrapped",
        "the message inside the signature is from somebody else than the signer",
        "RFC 8551 3.1",
        _wrapped,
        _MISMATCH,
    ),
    Case(
        "from-protected-differs",
        "the protected From is the signer's, the one outside is another's",
        "RFC 9788 4.4.2",
        _protected,
        _MISMATCH,
    ),
)
