"""Extended properties: the class of a message above all."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from smime_graph.emulator import Emulator
from smime_graph.emulator.extended import property_id


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("String 0x001A", "String 0x1a"),
        ("STRING  0x1a", "String 0x1a"),
        ("binaryarray 0x3A70", "BinaryArray 0x3a70"),
        ("systemtime 0x39", "SystemTime 0x39"),
        ("String {00020386-0000-0000-C000-000000000046} Name x", None),
        ("", None),
    ],
)
def test_an_id_has_one_spelling(name: str, spelled: str | None) -> None:
    assert property_id(name) == (name if spelled is None else spelled)


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("text/plain", "IPM.Note"),
        ("multipart/signed; boundary=b", "IPM.Note.SMIME.MultipartSigned"),
        ("application/pkcs7-mime; smime-type=enveloped-data", "IPM.Note.SMIME"),
        ("application/x-pkcs7-mime", "IPM.Note.SMIME"),
        ("application/octet-stream; name=smime.p7m", "IPM.Note.SMIME"),
        ("multipart/report; boundary=b", "REPORT.IPM.Note.NDR"),
    ],
)
def test_the_class_of_a_message(
    emulator: Emulator,
    client: httpx.Client,
    mail: Callable[..., bytes],
    content_type: str,
    kind: str,
) -> None:
    planted = emulator.mailbox("alice@contoso.com").put(mail(content_type=content_type))
    wanted = "$expand=singleValueExtendedProperties($filter=id eq 'String 0x001A')"
    shown = client.get(f"/me/messages/{planted.id}?{wanted}").json()
    assert shown["singleValueExtendedProperties"] == [{"id": "String 0x1a", "value": kind}]
    condition = (
        f"singleValueExtendedProperties/any(p:p/id eq 'String 0x1A' and p/value eq '{kind}')"
    )
    page = client.get("/me/messages", params={"$filter": condition}).json()
    assert [one["id"] for one in page["value"]] == [planted.id]


def test_what_a_message_has_not_is_not_there(
    emulator: Emulator, client: httpx.Client, mail: Callable[..., bytes]
) -> None:
    planted = emulator.mailbox("alice@contoso.com").put(mail())
    for wanted in (
        "singleValueExtendedProperties($filter=id eq 'String 0x9999')",
        "multiValueExtendedProperties($filter=id eq 'StringArray 0x1')",
    ):
        shown = client.get(f"/me/messages/{planted.id}?$expand={wanted}").json()
        assert not [name for name in shown if name.endswith("ExtendedProperties")]
    several = "$filter=id eq 'String 0x37' or id eq 'Integer 0x0E07'"
    shown = client.get(
        f"/me/messages/{planted.id}?$expand=singleValueExtendedProperties({several})"
    ).json()
    values = {one["id"]: one["value"] for one in shown["singleValueExtendedProperties"]}
    assert values == {"String 0x37": "greetings", "Integer 0xe07": "0"}


def test_a_client_writes_properties(client: httpx.Client) -> None:
    kind = {"id": "String 0x001A", "value": "IPM.Note.SMIME"}
    many = {"id": "StringArray 0x8001", "value": ["a", "b"]}
    given = {
        "subject": "x",
        "toRecipients": [{"emailAddress": {"address": "bob@contoso.com"}}],
        "singleValueExtendedProperties": [kind, {"id": "String 0x8002", "value": "one"}],
        "multiValueExtendedProperties": [many],
    }
    made = client.post("/me/messages", json=given)
    assert made.status_code == 201
    assert not [name for name in made.json() if name.endswith("ExtendedProperties")]
    place = f"/me/messages/{made.json()['id']}"
    newer = [{"id": "string 0x8002", "value": "two"}]
    assert client.patch(place, json={"singleValueExtendedProperties": newer}).status_code == 200
    assert client.post(f"{place}/send").status_code == 202
    at_once = {"message": {**given, "singleValueExtendedProperties": newer}}
    assert client.post("/me/sendMail", json=at_once).status_code == 202
    ids = "$filter=id eq 'String 0x1a' or id eq 'String 0x8002'"
    wanted = f"singleValueExtendedProperties({ids}),multiValueExtendedProperties({ids[:8]}id ne '')"
    query = {"$expand": wanted, "$orderby": "receivedDateTime"}
    found = client.get("/me/mailFolders/sentitems/messages", params=query).json()["value"]
    shown = [[one["value"] for one in m["singleValueExtendedProperties"]] for m in found]
    assert shown == [["IPM.Note.SMIME", "two"], ["IPM.Note", "two"]]
    assert [m["multiValueExtendedProperties"] for m in found] == [[many]] * 2
    condition = "singleValueExtendedProperties/any(p:p/id eq 'String 0x8002' and p/value eq 'two')"
    assert len(client.get("/me/messages", params={"$filter": condition}).json()["value"]) == 2
    inbox = client.get("/users/bob@contoso.com/messages", params=query).json()["value"]
    assert not [m for m in inbox if "multiValueExtendedProperties" in m], "they stay at home"


@pytest.mark.parametrize(
    ("own_id", "status"),
    [("Integer 0x0E07", 501), ("String 0x37", 501), ("StringArray 0x8001", 400), ("x", 400)],
)
def test_what_a_client_cannot_write_is_refused(
    client: httpx.Client, own_id: str, status: int
) -> None:
    given = {"singleValueExtendedProperties": [{"id": own_id, "value": "4"}]}
    assert client.post("/me/messages", json=given).status_code == status
