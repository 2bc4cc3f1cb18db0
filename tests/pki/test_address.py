"""Mail addresses of header fields and certificates."""

from __future__ import annotations

import functools
import time
from datetime import datetime
from email.utils import getaddresses

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from smime_graph import oids
from smime_graph.asn1 import ber
from smime_graph.errors import MalformedMessage
from smime_graph.pki.address import addresses, header_addresses, mailbox, parse_header_addresses
from smime_graph.x509.certificate import Certificate


@functools.cache
def matches(one: str, other: str) -> bool:
    """Whether two addresses are one mailbox."""
    return mailbox(one) is not None and mailbox(one) == mailbox(other)


def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(
    *alternatives: x509.GeneralName,
    emails: tuple[str, ...] = (),
    name: str = "Alice",
    encoded_san: bytes | None = None,
) -> Certificate:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    parts += [x509.NameAttribute(NameOID.EMAIL_ADDRESS, e, _validate=False) for e in emails]
    subject = x509.Name(parts)
    start, end = datetime(2020, 1, 1), datetime(2040, 1, 1)  # noqa: DTZ001 - the builder wants UTC
    builder = x509.CertificateBuilder(subject, subject, key().public_key(), 1, start, end)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
    if encoded_san is not None:
        oid = x509.ObjectIdentifier(oids.SUBJECT_ALT_NAME)
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, encoded_san), False)
    made = builder.sign(key(), hashes.SHA256())
    return Certificate(made.public_bytes(serialization.Encoding.DER))


def utf8_mailbox(octets: bytes, tag: int = ber.UTF8_STRING) -> x509.OtherName:
    return x509.OtherName(x509.ObjectIdentifier(oids.SMTP_UTF8_MAILBOX), ber.tlv(tag, octets))


# --- certificates


def test_addresses_come_from_all_three_places_each_once_alternative_names_first() -> None:
    found = addresses(
        certificate(
            x509.DNSName("example.com"),
            x509.RFC822Name("alice@example.com"),
            utf8_mailbox("алиса@example.com".encode()),
            x509.RFC822Name("alice@EXAMPLE.com"),
            emails=("Alice@example.com", "second@example.com"),
        )
    )
    assert found == ("alice@example.com", "алиса@example.com", "second@example.com")


def test_a_common_name_is_no_address() -> None:
    assert addresses(certificate(name="alice@example.com")) == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"ceo@bank.example\0.evil.example",
        b"ceo@bank.example\n",
        b"ceo@bank.example\r\nBcc: x@evil.example",
        b" ceo@bank.example",
        b"ceo@bank.example ",
        b"<ceo@bank.example>",
        b"CEO <ceo@bank.example>",
        b"ceo@bank.example,eve@evil.example",
        b"ceo@bank.example@evil.example",
        b"bank.example",
        b"@bank.example",
        b"ceo@",
        b"",
    ],
)
def test_what_is_not_an_address_is_dropped_wherever_it_stands(raw: bytes) -> None:
    rfc822 = ber.sequence(ber.tlv(0x81, raw), ber.tlv(0x81, b"eve@evil.example"))
    assert addresses(certificate(encoded_san=rfc822)) == ("eve@evil.example",)
    assert addresses(certificate(utf8_mailbox(raw))) == ()
    if raw:
        assert addresses(certificate(emails=(raw.decode(),))) == ()


@pytest.mark.parametrize(
    "mailbox",
    [
        utf8_mailbox(b"\xef\xbb\xbfalice@example.com"),  # RFC 9598 3: no byte order mark
        utf8_mailbox(b"\xff@example.com"),
        utf8_mailbox(b"alice@example.com", tag=0x16),
        utf8_mailbox("ali\u200bce@example.com".encode()),  # a blank without width
        utf8_mailbox("ali\u202ece@example.com".encode()),  # right-to-left override
    ],
)
def test_a_broken_utf8_mailbox_is_dropped(mailbox: x509.OtherName) -> None:
    assert addresses(certificate(mailbox)) == ()


def test_an_internationalised_address_in_the_subject_is_dropped() -> None:
    assert addresses(certificate(emails=("алиса@example.com",))) == ()


def test_a_broken_extension_leaves_what_can_be_read() -> None:
    broken = certificate(encoded_san=b"\x30\x03\x81\x05a", emails=("alice@example.com",))
    assert addresses(broken) == ("alice@example.com",)


# --- comparing


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice@example.com", "ALICE@EXAMPLE.COM"),
        ('"alice"@example.com', "alice@example.com"),
        ('"al\\ice"@example.com', "alice@example.com"),
        ("alice@bücher.example", "alice@xn--bcher-kva.example"),
        ("alice@BÜCHER.example", "alice@XN--BCHER-KVA.example"),
        ("alice@bu\u0308cher.example", "alice@xn--bcher-kva.example"),
        ("alice@straße.example", "alice@xn--strae-oqa.example"),  # IDNA2008, not "strasse"
        ("алиса@example.com", "алиса@EXAMPLE.com"),
    ],
)
def test_the_same_mailbox_in_two_spellings_matches(one: str, other: str) -> None:
    assert matches(one, other)
    assert matches(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice@example.com", "bob@example.com"),
        ("alice@example.com", "alice@mail.example.com"),
        ("alice@example.com", "alice@example.com."),
        ("alice@straße.example", "alice@strasse.example"),
        ("алиса@example.com", "АЛИСА@example.com"),  # RFC 9598 5: octet by octet
        ("alice@\u212aelvin.example", "alice@kelvin.example"),  # KELVIN SIGN lowers to k
        ("alice@example.com", "аlice@example.com"),  # noqa: RUF001 - Cyrillic a
        ("alice@ｅxample.com", "alice@example.com"),  # noqa: RUF001 - full-width e
        ("alice@example。com", "alice@example.com"),  # ideographic full stop
        ("alice@example.com ", "alice@example.com "),
        ("", ""),
        ("alice", "alice"),
        ("alice@exa mple.com", "alice@exa mple.com"),
        (f"alice@{'x' * 64}.com", f"alice@{'x' * 64}.com"),
    ],
)
def test_what_is_not_the_same_mailbox_does_not_match(one: str, other: str) -> None:
    assert not matches(one, other)
    assert not matches(other, one)


# --- header fields


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("alice@example.com", ("alice@example.com",)),
        (" Alice <alice@example.com>\r\n", ("alice@example.com",)),
        ("Alice\r\n\t<alice@example.com>", ("alice@example.com",)),
        ('"Doe, Alice" <alice@example.com>, bob@x.org', ("alice@example.com", "bob@x.org")),
        ('"ceo@bank.example" <eve@evil.example>', ("eve@evil.example",)),
        ('"ceo@bank.example> " <eve@evil.example>', ("eve@evil.example",)),
        ("=?utf-8?q?J=C3=BCrgen?= =?utf-8?b?w5w=?= <j@example.com>", ("j@example.com",)),
        ("=?utf-8?q?ceo=40bank.example?= <eve@evil.example>", ("eve@evil.example",)),
        ("Jürgen <j@example.com>", ("j@example.com",)),
        ("J. R. Smith <j@example.com>", ("j@example.com",)),
        ("(hello (there)) alice@example.com (Alice \\) <x@y>)", ("alice@example.com",)),
        ("Team: a@x.org, B <b@x.org>;, c@x.org", ("a@x.org", "b@x.org", "c@x.org")),
        ("undisclosed-recipients:;", ()),
        ("", ()),
        ("a@x.org,, b@x.org,", ("a@x.org", "b@x.org")),
        ('"a b"@example.com', ('"a b"@example.com',)),
        ('"a@b"@example.com', ('"a@b"@example.com',)),
        ('"alice"@example.com', ("alice@example.com",)),
        ("алиса@пример.example", ("алиса@пример.example",)),
        ("alice@[192.0.2.1]", ("alice@[192.0.2.1]",)),
        ("< alice@example.com >", ("alice@example.com",)),
        # a display name that is the address once more
        ("alice@example.com <alice@example.com>", ("alice@example.com",)),
        ("alice@example.com<alice@example.com>", ("alice@example.com",)),
        ("Alice@Example.COM <alice@example.com>", ("alice@example.com",)),
        ("alice@example.com (Alice)\r\n <alice@example.com>", ("alice@example.com",)),
        ("'alice@example.com' <alice@example.com>", ("alice@example.com",)),
        ('"alice"@example.com <alice@example.com>', ("alice@example.com",)),
        ("j@bücher.example <j@xn--bcher-kva.example>", ("j@xn--bcher-kva.example",)),
        ("a@x.org <a@x.org>, b@x.org <b@x.org>", ("a@x.org", "b@x.org")),
        ("Team: a@x.org <a@x.org>;", ("a@x.org",)),
    ],
)
def test_an_address_field_is_read_as_its_grammar_says(value: str, wanted: tuple[str, ...]) -> None:
    assert parse_header_addresses(value) == wanted
    assert header_addresses(value) == wanted


@pytest.mark.parametrize(
    "value",
    [
        "ceo@bank.example <eve@evil.example>",
        "ceo@bank.example, <eve@evil.example>x",
        "'ceo@bank.example' <eve@evil.example>",
        "eve@evil.example ceo@bank.example <eve@evil.example>",
        "CEO eve@evil.example <eve@evil.example>",
        "eve @evil.example <eve@evil.example>",
        "eve(ceo@bank.example)@evil.example <eve@evil.example>",
        "eve@evil.example, ceo@bank.example <eve@evil.example>",
        "eve@evil.example <eve@evil.example> <ceo@bank.example>",
        "eve@evil.example <eve@evil.example> ceo@bank.example",
        "=?utf-8?q?eve?=@evil.example <eve@evil.example>",
        "eve@evil.example@bank.example <eve@evil.example>",
        "eve@\u212aelvin.example <eve@kelvin.example>",
        "'eve@evil.example <eve@evil.example>",
        "[eve@evil.example] <eve@evil.example>",
        "<ceo@bank.example> <eve@evil.example>",
        "<eve@evil.example> ceo@bank.example",
        "ceo@bank.example(<eve@evil.example>",
        "ceo@bank.example)<eve@evil.example>",
        "ceo@bank.example]<eve@evil.example>",
        "ceo@(comment)bank.example",
        "ceo(comment)@bank.example",
        "ceo @bank.example",
        "ceo@bank. example",
        "ceo eve@evil.example",
        "ceo@bank.example eve@evil.example",
        "ceo@bank.example@evil.example",
        "<@relay.example:ceo@bank.example>",
        "=?utf-8?q?ceo?=@bank.example",
        "=?utf-8?q?ceo=40bank.example?=",
        "=?utf-8?q?a@b?= <eve@evil.example>",
        "Doe, Alice <alice@example.com>",
        "ceo@bank.example\r\nBcc: eve@evil.example",
        "ceo@bank.example\0",
        "ceo@bank.example\x0beve",
        "ceo@bank.example;",
        "Team: a@x.org",
        "Team: a@x.org; b@x.org",
        "Team: Other: a@x.org;;",
        ": a@x.org;",
        "a@b: c@x.org;",
        "alice",
        "<>",
        "<alice>",
        "alice@",
        "@example.com",
        '""@example.com',
        "alice.@example.com",
        ".alice@example.com",
        "al..ice@example.com",
        '"al"ice@example.com',
        '"unfinished <a@x.org>',
        "alice@[192.0.2.1",
        "alice\u00a0x@example.com",
        "alice@exam\u2028ple.com",
        "alice\udcff@example.com",
        f"alice@{'x' * 64}.example",
        f"alice@{'x.' * 128}example",
    ],
)
def test_a_field_that_two_readers_could_read_differently_is_refused(value: str) -> None:
    with pytest.raises(MalformedMessage):
        parse_header_addresses(value)
    assert header_addresses(value) == ()


@given(st.text() | st.text(alphabet='ab@.<>,:;"\\()[] \t\r\n=?é', max_size=40))
def test_any_text_is_read_without_an_exception_and_reads_back_the_same(value: str) -> None:
    found = header_addresses(value)
    assert all(header_addresses(address) == (address,) for address in found)
    assert all(matches(address, address) or not address.isascii() for address in found)
    assert header_addresses(", ".join(found)) == found


@given(st.text(alphabet='ab@.<>,"() ', max_size=30))
def test_what_is_read_is_what_the_standard_library_reads(value: str) -> None:
    """A differential check: the strict parser may know more, but never another address."""
    ours = header_addresses(value)
    theirs = [address for _, address in getaddresses([value])]
    if ours and theirs != [""]:
        # an address before itself is one to us, and two to them
        once = [
            list(dict.fromkeys(a.replace('"', "") for a in each if a)) for each in (ours, theirs)
        ]
        assert once[0] == once[1]


@given(st.text(), st.text())
def test_comparing_any_two_texts_raises_nothing(one: str, other: str) -> None:
    assert matches(one, other) == matches(other, one)


@pytest.mark.parametrize(
    "piece", ["(", "(\\", '"', '"\\', "a@b,", "<", "a.", "é", "a@b:;,", "\n ", '"a"', "[", "xn--é."]
)
def test_a_huge_field_is_refused_and_the_largest_allowed_is_read_in_time(piece: str) -> None:
    largest = piece * (256 * 1024 // len(piece))
    start = time.process_time()
    header_addresses(largest)
    matches(largest, largest)
    matches("a@" + largest, "a@" + largest)
    assert header_addresses("a@b," * 100_000) == ()
    assert time.process_time() - start < 5


def test_a_field_of_many_recipients_is_read() -> None:
    many = tuple(f"person{n}@example.com" for n in range(5000))
    assert header_addresses(",\r\n ".join(many)) == many
