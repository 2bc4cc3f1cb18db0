"""URLs and addresses: what strangers may not make us connect to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph.online.addresses import MAX_URL, Fault, Place, is_allowed, place_of, shown


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://crl.example.com", Place("http", "crl.example.com", 80, "/")),
        ("HTTP://Crl.Example.com/a.crl", Place("http", "crl.example.com", 80, "/a.crl")),
        ("https://a.example:8443/x?y=1#z", Place("https", "a.example", 8443, "/x?y=1")),
        ("http://a.example:/x", Place("http", "a.example", 80, "/x")),
        ("http://[2001:db8::1]:8080/", Place("http", "2001:db8::1", 8080, "/")),
        ("http://a.example?y", Place("http", "a.example", 80, "/?y")),
    ],
)
def test_what_a_url_says(url: str, place: Place) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/crl",
        "//example.com/crl",
        "ftp://example.com/crl",
        "file:///etc/passwd",
        "ldap://example.com/cn=x",
        "gopher://example.com/",
        "javascript:alert(1)",
        "http://user@example.com/",
        "http://user:password@example.com/",
        "http://example.com@127.0.0.1/",
        "http://@example.com/",
        "http:///crl",
        "http://exa mple.com/",
        "http://example.com/a b",
        "http://example.com/\r\nHost: other",
        "http://example.com\\@127.0.0.1/",
        "http://ex\N{LATIN SMALL LETTER A WITH DIAERESIS}mple.com/",
        "http://example.com:25/",
        "http://example.com:22/",
        "http://example.com:0/",
        "http://example.com:-1/",
        "http://example.com:99999/",
        "http://example.com:x/",
        "http://example.com:80:80/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://a/" + "x" * MAX_URL,
    ],
)
def test_what_is_not_asked(url: str) -> None:
    with pytest.raises(Fault):
        place_of(url)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_place_or_a_fault(text: str) -> None:
    for url in (text, f"http://{text}", f"http://example.com/{text}"):
        try:
            place = place_of(url)
        except Fault:
            continue
        assert place.scheme in ("http", "https")
        assert not set(place.host) & set("/@?#\\ []")
        assert place.target.startswith("/")
        assert place.target.isprintable()


REFUSED = [
    "169.254.169.254",  # what clouds serve credentials at
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:168.63.129.16",
    "3fff::1",  # documentation
    "fe80::1",
    "fe80::1%eth0",
    "224.0.0.1",
    "239.255.255.250",
    "ff02::1",
    "0.0.0.0",
    "::",
    "255.255.255.255",
    "240.0.0.1",
    "::ffff:169.254.169.254",
    "2002:a9fe:a9fe::",  # 6to4
    "64:ff9b::a9fe:a9fe",  # NAT64
    "no address",
    "",
]
LOCAL = [
    "127.0.0.1",
    "127.1.2.3",
    "::1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "fc00::1",
    "fec0::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
]
GLOBAL = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", REFUSED)
def test_never(address: str) -> None:
    assert not is_allowed(address, local=False)
    assert not is_allowed(address, local=True)


@pytest.mark.parametrize("address", LOCAL)
def test_only_where_it_is_allowed(address: str) -> None:
    assert not is_allowed(address, local=False)
    assert is_allowed(address, local=True)


@pytest.mark.parametrize("address", GLOBAL)
def test_always(address: str) -> None:
    assert is_allowed(address, local=False)
    assert is_allowed(address, local=True)


@settings(deadline=None)
@given(st.ip_addresses())
def test_whatever_is_allowed_is_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if is_allowed(str(address), local=False):
        assert address.is_global or (address.version == 6 and address.ipv4_mapped)
        assert not address.is_multicast


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_an_address_in_disguise_is_judged_as_what_it_is(address: ipaddress.IPv4Address) -> None:
    for local in (False, True):
        plain = is_allowed(str(address), local=local)
        assert is_allowed(f"::ffff:{address}", local=local) is plain
        mapped = ipaddress.IPv6Address((0x64FF9B << 96) | int(address))
        assert is_allowed(str(mapped), local=local) is plain


def test_a_url_in_a_text_is_short_and_printable() -> None:
    assert len(shown("http://x/" + "y" * 5000)) < 250
    assert shown("http://x/\x1b[2J\u202e").isprintable()
