"""Names of nobody: of the same shape, told apart, and in the relations that they had."""

from __future__ import annotations

from time import process_time

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from smime_graph.asn1 import ber
from smime_graph.authority.masks import Masks


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Alice Müller-Lüdenscheidt 3rd", "Xxxxx Xéxxxx-Xéxxxxxxxxxx 1xx"),
        ("alice@contoso.com", "person1@test1.example"),
        ("Alice@Contoso.COM", "Person1@Test1.EXAMPLE"),
        ("jürgen@contoso.com", "pérson1@test1.example"),
        ("Mail of alice@contoso.com", "Xxxx xx person1@test1.example"),
        ("http://crl.contoso.com/a/Root-CA.crl", "http://test1.test2.example/x/Xxxx-XX.crl"),
        ("http://10.0.0.7:8080/x", "http://192.0.2.1:8080/x"),
        ("mailto:alice@contoso.com", "mailto:person1@test1.example"),
        ("http://[broken", "xxxx://[xxxxxx"),
        ("", ""),
    ],
)
def test_a_text_becomes_nobodys(text: str, masked: str) -> None:
    assert Masks().text(text) == masked


def test_a_domain_and_what_is_below_it_stay_so() -> None:
    masks = Masks()
    assert masks.domain("contoso.com") == "test1.example"
    assert masks.domain(".CONTOSO.com") == ".TEST1.example"
    assert masks.address("a@mail.contoso.com") == "person1@test2.test1.example"
    assert masks.domain("fabrikam.com") == "test3.example"
    assert masks.domain("*.fabrikam.com") == "*.test3.example"
    assert masks.domain("xn--bcher-kva.com").startswith("xn--tst4-")
    assert masks.domain("bücher.com") == "tést5.example"
    assert masks.domain("") == ""


def test_who_was_different_stays_different_and_who_was_the_same_the_same() -> None:
    masks = Masks()
    names = ["Contoso CA 1", "Contoso CA 2", "contoso  ca 1", "Fabrikm CA 7"]
    one, two, again, other = map(masks.text, names)
    assert one == again == "Xxxxxxx XX 1"
    assert len({one, two, other}) == 3
    assert {len(one), len(two), len(other)} == {12}
    assert masks.address("a@x.y") != masks.address("b@x.y")


@given(st.lists(st.text("abcXYZ 12", min_size=5, max_size=9), max_size=30))
def test_no_two_names_fall_together(texts: list[str]) -> None:
    masks = Masks()
    keys = {" ".join(text.split()).casefold() for text in texts}
    enough = {text for text in keys if sum(one.isalnum() for one in text) > 3}
    made = {key: masks.text(key) for key in sorted(enough)}
    assert len(set(made.values())) == len(made)


def test_a_name_keeps_types_country_and_scheme() -> None:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Contoso GmbH"),
            x509.NameAttribute(x509.ObjectIdentifier("2.5.4.97"), "NTRDE-HRB 12345"),
            x509.NameAttribute(NameOID.EMAIL_ADDRESS, "alice@contoso.com"),
        ]
    ).public_bytes()
    masked = Masks().der(name)
    wanted = (b"DE", b"Xxxxxxx XxxX", b"NTRDE-XXX 11111", b"person1@test1.example")
    assert all(one in masked for one in wanted)
    assert b"ontoso" not in masked

    def tags(node: ber.Node) -> list[int]:
        inner = [tags(one) for one in node] if node.tag & ber.CONSTRUCTED else []
        return [node.tag, *(one for some in inner for one in some)]

    assert tags(ber.read(masked, "Name")) == tags(ber.read(name, "Name"))


@given(st.binary(max_size=60))
def test_octets_that_are_no_der_are_left(octets: bytes) -> None:
    assert isinstance(Masks().der(octets), bytes)
    assert Masks().der(b"\x30\x05\x02") == b"\x30\x05\x02"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Alice Smith <alice@contoso.com>", "Xxxxx Xxxxx <person1@test1.example>"),
        ("alice@contoso.com (Alice Smith), x", "person1@test1.example (Xxxxx Xxxxx), x"),
        ("http://contoso.com/crl?user=alice", "http://test1.example/xxx?xxxx=xxxxx"),
    ],
)
def test_what_stands_beside_an_address_is_somebody_too(text: str, masked: str) -> None:
    assert Masks().text(text) == masked


def test_thousands_of_short_names_are_masked_at_once_and_in_the_end_alike() -> None:
    masks = Masks()
    begun = process_time()
    texts = [
        f"{chr(0x61 + n // 676)}{chr(0x61 + n // 26 % 26)}{chr(0x61 + n % 26)}a"
        for n in range(12_000)
    ]
    made = [masks.text(text) for text in texts]
    assert process_time() - begun < 5
    assert made[:3] == ["xxxx", "xxx2", "xxx3"]
    assert len(set(made)) == 9_999  # there are no more of that shape
    assert made == [masks.text(text) for text in texts]


@pytest.mark.parametrize("text", ["a" * 100_000, "a" * 100_000 + ", b@c.d", "a@" * 50_000])
def test_a_long_text_is_masked_in_linear_time(text: str) -> None:
    begun = process_time()
    made = Masks().text(text)
    assert process_time() - begun < 2
    assert "aa" not in made
