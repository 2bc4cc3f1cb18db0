"""What certificates of the test authority are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from smime_graph import CA, UsageError, algorithms
from smime_graph.algorithms import KeyKind
from smime_graph.authority.profile import (
    addresses_extension,
    key_of,
    key_usage_extension,
    person_name,
    policies_extension,
    purposes_extension,
    replace_extensions,
    validity_of,
)

AT = datetime(2026, 11, 22, 12, 0, 0, 999, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    "name",
    [
        one.name
        for kind in algorithms.rows(KeyKind)
        for one in kind.parameter_sets
        if kind.name != "rsa" or one.name == "rsa-2048"  # a longer one takes seconds to make
    ],
)
def test_a_kind_by_its_name_is_that_of_its_key(name: str) -> None:
    key, kind = key_of(name)
    assert key_of(key) == (key, kind)
    assert name in [one.name for one in kind.parameter_sets]
    assert kind.parameter_set(key).name == name or not kind.has_curves
    if not kind.signs:
        with pytest.raises(UsageError, match=f"a {kind.name} key cannot sign certificates"):
            key_of(name, signs=True)


def test_what_is_no_kind_is_shown_only_if_it_can_be_no_key() -> None:
    with pytest.raises(UsageError, match="key kind rsa-512 is not known") as caught:
        key_of("rsa-512")
    assert "rsa-2048" in (caught.value.hint or "")
    with pytest.raises(UsageError) as caught:
        key_of("-----BEGIN PRIVATE KEY-----" + "secret" * 10)
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    with pytest.raises(UsageError, match="a Certificate is not a kind of key"):
        key_of(CA(key="p256").certificate)


def test_a_certificate_begins_an_hour_ago_and_its_last_second_is_within() -> None:
    start, end = validity_of(AT, 825 * DAY, None, None)
    assert start == datetime(2026, 11, 22, 11, 0, tzinfo=UTC)
    assert end - start == 825 * DAY - timedelta(seconds=1)


def test_what_is_said_of_the_time_wins_in_whole_seconds_of_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    start, end = validity_of(AT, DAY, AT.astimezone(berlin), AT + DAY)
    assert (start, end) == (AT.replace(microsecond=0), (AT + DAY).replace(microsecond=0))
    assert start.tzinfo is UTC


def test_a_certificate_ends_with_its_authority_and_never_before_it_begins() -> None:
    ca = CA(key="p256", at=AT, lifetime=10 * DAY)
    assert validity_of(AT, 825 * DAY, None, None, ca.certificate)[1] == ca.certificate.not_after
    late = AT + 20 * DAY
    start, end = validity_of(late, DAY, None, None, ca.certificate)
    assert start == end


@pytest.mark.parametrize("place", range(3))
def test_a_time_without_a_zone_is_refused_wherever_it_stands(place: int) -> None:
    times = [AT if one != place else AT.replace(tzinfo=None) for one in range(3)]
    with pytest.raises(UsageError, match="has no time zone"):
        validity_of(times[0], DAY, times[1], times[2])


def test_a_name_too_long_for_a_common_name_is_left_out() -> None:
    assert len(list(person_name("a" * 64))) == 1
    assert list(person_name("a" * 65)) == []


def test_key_usage_is_critical_and_made_of_known_bits() -> None:
    (made,) = key_usage_extension(("digital_signature", "key_agreement", "encipher_only"))
    assert made.critical
    assert made.value.digital_signature
    assert made.value.encipher_only
    assert not made.value.key_encipherment
    assert key_usage_extension(None) == key_usage_extension(()) == []
    with pytest.raises(UsageError, match="key usage signing is not known"):
        key_usage_extension(("signing",))
    with pytest.raises(UsageError, match="cannot be written"):
        key_usage_extension(("encipher_only",))  # RFC 5280 4.2.1.3: only with keyAgreement


@pytest.mark.parametrize("make", [purposes_extension, policies_extension])
def test_identifiers_are_held_to_be_some(make: object) -> None:
    assert callable(make)
    assert make(()) == []
    (made,) = make(("1.2.3.4",))
    assert not made.critical
    with pytest.raises(UsageError, match="is not an object identifier"):
        make(("email",))


def test_an_address_is_a_name_of_the_kind_that_can_hold_it() -> None:
    (made,) = addresses_extension(["bob@contoso.com", "bob@grün.example"], critical=False)
    assert [one.value for one in made.value] == ["bob@contoso.com", "bob@xn--grn-ioa.example"]
    (made,) = addresses_extension(["jürgen@grün.example"], critical=True)
    (other,) = made.value
    assert made.critical
    assert isinstance(other, x509.OtherName)
    assert other.value[2:].decode() == "jürgen@xn--grn-ioa.example"
    assert addresses_extension([], critical=True) == []


@pytest.mark.parametrize("email", ["bob", "@contoso.com", "bob@", "a b@contoso.com", "bob@a\0b"])
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(UsageError, match="is not a mail address"):
        addresses_extension([email], critical=False)


def test_an_extension_given_takes_the_place_of_its_kind() -> None:
    usage = key_usage_extension(("digital_signature",))
    other = key_usage_extension(("key_encipherment",))
    further = purposes_extension(("1.2.3",))
    assert replace_extensions([*usage, *further], other) == [*other, *further]
    assert replace_extensions(usage, further) == [*usage, *further]


def test_a_key_at_hand_is_taken_as_it_is() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    found, kind = key_of(key, signs=True)
    assert found is key
    assert kind.parameter_set(key).name == "p384"
