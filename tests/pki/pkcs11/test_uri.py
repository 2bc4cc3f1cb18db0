"""PKCS #11 URIs (RFC 7512): what they name, and that no PIN in one is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smime_graph.errors import UsageError
from smime_graph.pki.pkcs11 import keys as pkcs11
from smime_graph.pki.pkcs11.uri import TokenUri, is_uri


def test_a_uri_is_taken_apart_and_decoded() -> None:
    uri = TokenUri.parse(
        "PKCS11:token=The%20Software%20PKCS%2311%20Softtoken;serial=;object=J%C3%BCrgen's%3b;"
        "id=%00%fFa;type=private?pin-source=file:/etc/pin&module-path=/usr/lib/a%26b.so&x-later=1"
    )
    assert dict(uri.token) == {"token": "The Software PKCS#11 Softtoken", "serial": ""}
    assert uri.object == "Jürgen's;"
    assert uri.id == b"\x00\xffa"
    assert uri.module_path == "/usr/lib/a&b.so"
    assert (uri.pin_source, uri.pin_value) == ("file:/etc/pin", None)
    assert TokenUri.parse("pkcs11:") == TokenUri(token={})


@pytest.mark.parametrize(
    ("uri", "what"),
    [
        ("file:/key.pem", "not a PKCS#11 URI"),
        ("pkcs11:token=a;token=b", "token twice"),
        ("pkcs11:token=a;", "not name=value"),
        ("pkcs11:?pin-value=a&pin-value=b", "pin-value twice"),
        ("pkcs11:?pin-value=a&pin-source=/b", "both pin-source and pin-value"),
        ("pkcs11:x-drawer=3", "x-drawer, which is not known"),
        ("pkcs11:object=a;type=cert", "type cert instead of private"),
        ("pkcs11:object=100%", "two hexadecimal digits"),
        ("pkcs11:object=%FF", "not UTF-8"),
        ("pkcs11:object=a#b", "no fragment"),
        ("pkcs11:?module-path=libp11.so", "instead of an absolute path"),
        ("pkcs11:?module-name=softhsm", "without saying where"),
    ],
)
def test_a_uri_that_is_wrong_or_means_too_much_is_refused(uri: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        TokenUri.parse(uri)


@given(st.one_of(st.text(), st.text("pkcs11:=;&?%#aF0/-", max_size=40)))
def test_any_text_is_a_uri_or_a_usage_error(text: str) -> None:
    for uri in (text, "pkcs11:" + text):
        try:
            parsed = TokenUri.parse(uri)
        except UsageError:
            continue
        assert parsed.pin_value is None or repr(parsed.pin_value) not in repr(parsed)


def test_no_pin_of_a_uri_is_shown() -> None:
    assert "s3cret" not in repr(TokenUri.parse("pkcs11:token=a?pin-value=s3cret"))
    for uri in (
        "pkcs11:token=a?pin-value=s3cret",  # no module
        "pkcs11:token=a?pin-value=s3cret;x",
        "pkcs11:token=a?pin-value=x&s3cret",
        "pkcs11:token=a?pin-value=s3cret%",
        "pkcs11:token=a?pin-value=s3cret#",
    ):
        with pytest.raises(UsageError) as caught:
            pkcs11.load(uri)
        assert "s3cret" not in f"{caught.value} {caught.value.hint}"


def test_a_pin_in_a_uri_that_others_see_is_refused() -> None:
    with pytest.raises(UsageError, match="holds a PIN, which others can see"):
        pkcs11.load("pkcs11:token=a?pin-value=1", pin_in_uri=False)


def test_the_pin_is_read_from_the_first_line_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.write_bytes(b"12 34\r\nnot this\n")
    for source in (f"{file}", f"file:{file}", f"file://{file}", f"file://localhost{file}"):
        assert TokenUri.parse(f"pkcs11:?pin-source={source}").pin() == "12 34"
    assert TokenUri.parse("pkcs11:").pin() is None
    file.write_bytes(b"\n1234")
    for source, what in (
        (f"{file}", "no PIN in its first line"),
        (f"{tmp_path}/none", "cannot be read"),
        ("%7C/bin/echo 1", "not the absolute path"),
        ("pin", "not the absolute path"),
        ("https://example.com/pin", "not the absolute path"),
    ):
        with pytest.raises(UsageError, match=what):
            TokenUri.parse(f"pkcs11:?pin-source={source}").pin()


def test_what_is_a_uri_is_told_from_a_file_name() -> None:
    assert is_uri("pkcs11:object=a")
    assert is_uri("PKCS11:")
    assert not is_uri("pkcs11/alice.p12")
