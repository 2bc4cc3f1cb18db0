"""Contacts, with the certificates that Outlook keeps in them."""

from __future__ import annotations

import base64

import httpx
import pytest

from smime_graph.emulator import Emulator

CERTIFICATES = "BinaryArray 0x3A70"


@pytest.fixture
def bob(emulator: Emulator) -> str:
    alice = emulator.mailbox("alice@contoso.com")
    alice.put_contact("Carol", "carol@contoso.com")
    return alice.put_contact("Bob", "bob@contoso.com", extended={CERTIFICATES: [b"DER"]})


def test_contacts_are_found_by_address(client: httpx.Client, bob: str) -> None:
    page = client.get("/me/contacts?$orderby=displayName&$select=displayName").json()
    assert [one["displayName"] for one in page["value"]] == ["Bob", "Carol"]
    condition = "emailAddresses/any(a:a/address eq 'BOB@contoso.com')"
    (found,) = client.get("/me/contacts", params={"$filter": condition}).json()["value"]
    assert found["id"] == bob
    assert "multiValueExtendedProperties" not in found
    assert client.get(f"/me/contacts/{bob}?$select=displayName").json()["displayName"] == "Bob"
    assert client.get("/me/contacts/AAMkNothing=").status_code == 404
    assert client.get("/me/contacts?$expand=photo").status_code == 400


@pytest.mark.parametrize("spelled", [CERTIFICATES, "binaryarray 0x3a70"])
def test_the_certificates_of_a_contact(client: httpx.Client, bob: str, spelled: str) -> None:
    wanted = f"$expand=multiValueExtendedProperties($filter=id eq '{spelled}')"
    held = [{"id": CERTIFICATES, "value": [base64.b64encode(b"DER").decode()]}]
    assert client.get(f"/me/contacts/{bob}?{wanted}").json()["multiValueExtendedProperties"] == held
    carol, found = client.get(f"/me/contacts?{wanted}").json()["value"]
    assert found["multiValueExtendedProperties"] == held
    assert "multiValueExtendedProperties" not in carol
    other = wanted.replace("multi", "single").replace("3", "4")
    assert "singleValueExtendedProperties" not in client.get(f"/me/contacts?{other}").json()


def of(client: httpx.Client, place: str, kind: str, name: str) -> object:
    wanted = f"$expand={kind}ValueExtendedProperties($filter=id eq '{name}')"
    found = client.get(f"/me/contacts/{place}?{wanted}").json()
    return [one["value"] for one in found.get(f"{kind}ValueExtendedProperties", ())]


def test_a_contact_is_made_changed_and_taken_away(client: httpx.Client) -> None:
    named = "String {00020329-0000-0000-C000-000000000046} Name smime"
    given = {
        "givenName": "Bob",
        "surname": "Baker",
        "emailAddresses": [{"address": "bob@contoso.com", "name": "Bob"}],
        "businessPhones": ["1"],
        "multiValueExtendedProperties": [{"id": CERTIFICATES, "value": ["REVS"]}],
        "singleValueExtendedProperties": [{"id": named, "value": "yes"}],
    }
    made = client.post("/me/contacts", json=given)
    assert made.status_code == 201
    contact = made.json()
    place = contact["id"]
    assert (contact["displayName"], contact["businessPhones"]) == ("Bob Baker", ["1"])
    assert not [name for name in contact if name.endswith("ExtendedProperties")]
    assert client.get(made.headers["Location"]).json()["id"] == place
    assert of(client, place, "multi", "BinaryArray 0x3a70") == [["REVS"]]
    assert of(client, place, "single", named) == ["yes"]
    other = {"id": "StringArray 0x8001", "value": ["a", "b"]}
    newer = {"id": "binaryarray 0x3A70", "value": []}
    changes = {"surname": None, "multiValueExtendedProperties": [other, newer]}
    changed = client.patch(f"/me/contacts/{place}", json=changes).json()
    assert (changed["givenName"], changed["surname"]) == ("Bob", None)
    assert of(client, place, "multi", CERTIFICATES) == [[]]
    assert of(client, place, "multi", "StringArray 0x8001") == [["a", "b"]]
    assert of(client, place, "single", named) == ["yes"]
    assert client.get("/users/bob@contoso.com/contacts").json()["value"] == []
    assert client.delete(f"/users/bob@contoso.com/contacts/{place}").status_code == 404
    assert client.delete(f"/me/contacts/{place}").status_code == 204
    for method in ("GET", "PATCH", "DELETE"):
        answer = client.request(method, f"/me/contacts/{place}", json={})
        assert answer.status_code == 404, method


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"birthday": "1970-01-01"}, 501),
        ({"nothing": 1}, 400),
        ({"surname": 1}, 400),
        ({"emailAddresses": {}}, 400),
        ({"emailAddresses": ["bob@contoso.com"]}, 400),
        ({"businessPhones": [1]}, 400),
        ({"multiValueExtendedProperties": {}}, 400),
        ({"multiValueExtendedProperties": [{"id": "Binary 0x3a70", "value": []}]}, 400),
        ({"multiValueExtendedProperties": [{"id": CERTIFICATES, "value": ["."]}]}, 400),
        ({"multiValueExtendedProperties": [{"id": CERTIFICATES, "value": "REVS"}]}, 400),
        ({"multiValueExtendedProperties": [{"id": "0x3a70", "value": ["REVS"]}]}, 400),
        ({"singleValueExtendedProperties": [{"id": "String 0x3001"}]}, 400),
        ({"singleValueExtendedProperties": [1]}, 400),
        ([], 400),
    ],
)
def test_a_contact_that_makes_no_sense_is_refused(
    client: httpx.Client, bob: str, given: object, status: int
) -> None:
    for answer in (
        client.post("/me/contacts", json=given),
        client.patch(f"/me/contacts/{bob}", json=given),
    ):
        assert answer.status_code == status, answer.text
    assert client.post("/me/contacts", content="x").status_code == 415
    assert len(client.get("/me/contacts").json()["value"]) == 2
