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
