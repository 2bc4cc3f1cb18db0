"""The design document's use cases, sent as they stand there and answered as they are there.

What was mended in the quotations, and why:

1. The multipart delimiters. The document declares the boundary `---B2E888AE-...` and writes the
   delimiter lines as `---B2E888AE-...`; RFC 2046 5.1.1 wants two hyphens before the boundary, so
   they become `-----B2E888AE-...`, and the closing delimiter, which is missing, is added.
2. Line ends are CRLF, and the blank line before "HTTP/1.1" is the end of the request.
3. The `...` at the end of a mimeContent is completed. The visible part ends in the middle of a
   Content-Disposition field; it is continued, and From and To, a blank line and content follow.
   Every byte that the document shows is there unchanged, at the start.
4. The `...` in an answer stands for further properties: an answer has at least the keys shown.
5. The message that is updated, answered or forwarded has the id of the URL, and is there before.
"""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from smime_graph.emulator import Emulator

GRAPH = "https://graph.microsoft.com/v1.0"
BOUNDARY = "---B2E888AE-DAC5-49DD-8670-579F610ADAF7"
HEADER = """\
From: Karl <karl@contoso.com>
To: Adele <adele@contoso.com>
Message-Id: <v0214040cad6a13935723@contoso.com>
Mime-Version: 1.0
Content-Type: multipart/mixed; boundary="---B2E888AE-DAC5-49DD-8670-579F610ADAF7";
Date: Thursday, 4 Jul 2020 09:43:14 -0800
Subject: Did you see last night\N{RIGHT SINGLE QUOTATION MARK}s game?
Precedence: bulk

"""
CREATE_BODY = """\
---B2E888AE-DAC5-49DD-8670-579F610ADAF7
Content-Type: text/plain; charset="us-ascii"

They were awesome!

---B2E888AE-DAC5-49DD-8670-579F610ADAF7
Content-Type: text/html; charset="us-ascii"

<html><body><p>They were <b>awesome!</b></p></body></html>
"""
UPDATE_BODY = """\
---B2E888AE-DAC5-49DD-8670-579F610ADAF7
Content-Type: text/plain; charset="us-ascii"

We almost won!

---B2E888AE-DAC5-49DD-8670-579F610ADAF7
Content-Type: text/html; charset="us-ascii"

<html><body><p>We almost won!</p></body></html>
"""


def mended(body: str) -> bytes:
    body = re.sub(f"^{BOUNDARY}", f"--{BOUNDARY}", body, flags=re.MULTILINE)
    return (HEADER + body + f"--{BOUNDARY}--\n").replace("\n", "\r\n").encode()


CREATED = """\
{
    "@odata.context":"https://graph.microsoft.com/v1.0/$metadata#users('94447c6e-ea4c-494c-a9ed-d905e366c5cb')/messages/$entity",
    "@odata.etag":"W/\\"CQAAABYAAABK4UfANE/UR5clSilZtIuWAAC1vdti\\"",
    "id":"AAMkADNlNYjSAAA=",
    "createdDateTime":"2017-07-22T01:53:56Z",
    "lastModifiedDateTime":"2017-07-22T01:53:57Z",
    "changeKey":"CQAAABYAAABK4UfANE/UR5clSilZtIuWAAC1vdti",
    "receivedDateTime":"2017-07-22T01:53:57Z",
    "sentDateTime":"2017-07-22T01:53:57Z",
    "hasAttachments":false,
    "internetMessageId":"<MWHPR1301MB@MWHPR1301MB.namprd13.prod.outlook.com>",
    "subject":"Did you see last night's game?",
    "bodyPreview":"They were awesome!"
}
"""

# The four JSON examples show the same text up to here.
MIME_CONTENT = (
    "Q29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9wa2NzNy1taW1lOw0KCW5hbWU9c21pbWUucDdtOw0KCXNtaW1lLXR5cGU9"
    "ZW52ZWxvcGVkLWRhdGENCk1pbWUtVmVyc2lvbjogMS4wIChNYWMgT1MgWCBNYWlsIDEzLjAgXCgzNjAxLjAuMTBcKSkN"
    "ClN1YmplY3Q6IFJlOiBUZXN0aW5nIFMvTUlNRQ0KQ29udGVudC1EaXNwb3Np"
)
COMPLETION = (
    b"tion: attachment; filename=smime.p7m\r\n"
    b"From: Karl <karl@contoso.com>\r\nTo: Adele <adele@contoso.com>\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nMIIBXgYJKoZIhvcNAQcDoIIBTzCCAUsCAQAx\r\n"
)
ORIGINAL = (
    b"From: Adele <adele@contoso.com>\r\nTo: Karl <karl@contoso.com>, Megan <megan@contoso.com>\r\n"
    b"Message-ID: <original@contoso.com>\r\nSubject: Testing S/MIME\r\n\r\nhello\r\n"
)
BOTH = (
    "Both message object and MIME content cannot be specified because they contain duplicate "
    "properties. Specify either 'MimeContent' or 'Message' in request body."
)
BAD_MIME = "MIME content does not contain all required information, malformed formatting, or empty."
DRAFT_ID = "AAMkADVhODY4MWE1LTE0OTgtNDljMC1iOTcxLW"
ANSWERED_ID = "AAMkADA1MTAAAAqldOAAA="
ACTIONS = (
    "sendMail",
    "reply",
    "replyAll",
    "forward",
    "createReply",
    "createReplyAll",
    "createForward",
)


def completed() -> str:
    assert len(MIME_CONTENT) % 4 == 0, "the visible part ends on a base64 quantum"
    return MIME_CONTENT + base64.b64encode(COMPLETION).decode()


def path_of(action: str) -> str:
    return (
        f"{GRAPH}/me/{action}"
        if action == "sendMail"
        else f"{GRAPH}/me/messages/{ANSWERED_ID}/{action}"
    )


@pytest.fixture
def emulator(make: Callable[..., Emulator]) -> Emulator:
    emulator = make(
        profile="design",
        me="karl@contoso.com",
        mailboxes=["adele@contoso.com", "megan@contoso.com"],
    )
    emulator.mailbox("karl@contoso.com").put(ORIGINAL, item_id=ANSWERED_ID)
    return emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[httpx.Client]:
    with httpx.Client(
        transport=emulator.transport(), headers={"Authorization": "Bearer token"}
    ) as client:
        yield client


def assert_same_shape(shown: dict[str, Any], answer: dict[str, Any]) -> None:
    for name, value in shown.items():
        assert name in answer, f"{name} is missing"
        assert type(answer[name]) is type(value), name
        if name.endswith("DateTime"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer[name]), name
    assert re.fullmatch(
        r"https://graph\.microsoft\.com/v1\.0/\$metadata#users\('[0-9a-f-]{36}'\)/messages/\$entity",
        answer["@odata.context"],
    )
    assert answer["@odata.etag"] == f'W/"{answer["changeKey"]}"'


def error_of(response: httpx.Response) -> str:
    assert response.status_code == 400
    assert response.headers["Content-Type"].startswith("application/json")
    error = response.json()["error"]
    assert isinstance(error["code"], str)
    return str(error["message"])


def test_use_case_create_a_message_draft(client: httpx.Client) -> None:
    response = client.post(
        f"{GRAPH}/me/messages",
        content=mended(CREATE_BODY),
        headers={"Content-type": "text/plain"},
    )
    assert response.status_code == 201
    assert response.headers["Content-type"].startswith("application/json")
    answer = response.json()
    assert_same_shape(json.loads(CREATED), answer)
    assert answer["bodyPreview"] == "They were awesome!"
    assert answer["subject"] == "Did you see last night\N{RIGHT SINGLE QUOTATION MARK}s game?"
    assert answer["hasAttachments"] is False
    assert answer["internetMessageId"] == "<v0214040cad6a13935723@contoso.com>"
    assert answer["sentDateTime"] == "2020-07-04T17:43:14Z"
    assert answer["isDraft"] is True


def test_use_case_update_a_message_draft(emulator: Emulator, client: httpx.Client) -> None:
    draft = emulator.mailbox("karl@contoso.com").put(
        mended(CREATE_BODY), folder="drafts", item_id=DRAFT_ID
    )
    before = client.get(f"{GRAPH}/me/messages/{DRAFT_ID}").json()
    response = client.put(
        f"{GRAPH}/me/messages/{DRAFT_ID}/$value",
        content=mended(UPDATE_BODY),
        headers={"Content-type": "text/plain"},
    )
    assert response.status_code == 200
    assert response.headers["Content-type"].startswith("application/json")
    answer = response.json()
    assert_same_shape(json.loads(CREATED), answer)
    assert answer["bodyPreview"] == "We almost won!"
    assert answer["id"] == before["id"] == draft.id
    assert answer["changeKey"] != before["changeKey"]
    assert answer["@odata.etag"] != before["@odata.etag"]
    stored = client.get(f"{GRAPH}/me/messages/{DRAFT_ID}/$value")
    assert stored.content == mended(UPDATE_BODY)


def test_use_case_send_mail(emulator: Emulator, client: httpx.Client) -> None:
    response = client.post(
        f"{GRAPH}/me/sendMail",
        content=json.dumps({"mimeContent": completed(), "saveToSentItems": "false"}),
        headers={"Content-type": "application/json"},
    )
    assert (response.status_code, response.content) == (202, b"")
    (received,) = emulator.mailbox("adele@contoso.com").messages()
    assert received.raw.endswith(base64.b64decode(completed()))
    assert emulator.mailbox("karl@contoso.com").messages("sentitems") == ()


@pytest.mark.parametrize(
    ("action", "status", "receivers"),
    [
        ("reply", 202, {"adele@contoso.com"}),
        ("replyAll", 200, {"adele@contoso.com", "megan@contoso.com"}),
        ("forward", 200, {"adele@contoso.com"}),
    ],
)
def test_use_cases_reply_replyall_forward(
    emulator: Emulator, client: httpx.Client, action: str, status: int, receivers: set[str]
) -> None:
    response = client.post(
        f"{GRAPH}/me/messages/{ANSWERED_ID}/{action}",
        content=json.dumps({"mimeContent": completed()}),
        headers={"Content-Type": "application/json"},
    )
    assert (response.status_code, response.content) == (status, b"")
    for address in ("adele@contoso.com", "megan@contoso.com"):
        inbox = emulator.mailbox(address).messages()
        assert [m.subject for m in inbox] == ["Re: Testing S/MIME"] * (address in receivers)
    assert len(emulator.mailbox("karl@contoso.com").messages("sentitems")) == 1


@pytest.mark.parametrize("action", ["createReply", "createReplyAll", "createForward"])
def test_the_create_actions_return_a_message(client: httpx.Client, action: str) -> None:
    response = client.post(path_of(action), json={"MimeContent": completed()})
    assert response.status_code == 201
    assert_same_shape(json.loads(CREATED), response.json())
    assert response.json()["isDraft"] is True


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("names", [("message", "mimeContent"), ("Message", "MimeContent")])
def test_message_and_mime_content_together_are_refused(
    emulator: Emulator, client: httpx.Client, action: str, names: tuple[str, str]
) -> None:
    body = {names[0]: {"subject": "x"}, names[1]: completed()}
    assert error_of(client.post(path_of(action), json=body)) == BOTH
    assert emulator.mailbox("adele@contoso.com").messages() == ()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "content",
    [
        "",
        "not base64!",
        base64.b64encode(b"no header field\r\n\r\nbody").decode(),
        17,
        completed()[:-3],
    ],
)
def test_mime_content_that_is_malformed_or_empty_is_refused(
    client: httpx.Client, action: str, content: object
) -> None:
    assert error_of(client.post(path_of(action), json={"mimeContent": content})) == BAD_MIME


@pytest.mark.parametrize("content", [b"", b"\r\n\r\n", b"there is no header field here"])
def test_raw_mime_that_is_malformed_or_empty_is_refused(
    emulator: Emulator, client: httpx.Client, content: bytes
) -> None:
    emulator.mailbox("karl@contoso.com").put(mended(CREATE_BODY), folder="drafts", item_id=DRAFT_ID)
    plain = {"Content-Type": "text/plain"}
    posted = client.post(f"{GRAPH}/me/messages", content=content, headers=plain)
    put = client.put(f"{GRAPH}/me/messages/{DRAFT_ID}/$value", content=content, headers=plain)
    assert error_of(posted) == error_of(put) == BAD_MIME


def test_send_mail_without_either_form_is_refused(client: httpx.Client) -> None:
    response = client.post(f"{GRAPH}/me/sendMail", json={"saveToSentItems": True})
    assert error_of(response) == BAD_MIME


def test_base64_in_text_plain_works_beside_raw_mime(client: httpx.Client) -> None:
    for path in ("sendMail", f"messages/{ANSWERED_ID}/reply", "messages"):
        response = client.post(
            f"{GRAPH}/me/{path}",
            content=base64.encodebytes(mended(CREATE_BODY)),
            headers={"Content-Type": "text/plain"},
        )
        assert response.is_success, path
    assert client.get(f"{GRAPH}/me/messages/{response.json()['id']}/$value").content == mended(
        CREATE_BODY
    )


@pytest.mark.parametrize("value", [True, "true", "True", None])
def test_a_copy_is_saved_unless_it_is_not_wanted(
    emulator: Emulator, client: httpx.Client, value: object
) -> None:
    response = client.post(
        f"{GRAPH}/me/SENDMAIL", json={"MIMECONTENT": completed(), "SaveToSentItems": value}
    )
    assert response.status_code == 202
    assert len(emulator.mailbox("karl@contoso.com").messages("sentitems")) == 1


def test_recipients_beside_mime_content_get_it_and_a_comment_changes_nothing(
    emulator: Emulator, client: httpx.Client
) -> None:
    response = client.post(
        path_of("forward"),
        json={
            "MimeContent": completed(),
            "ToRecipients": [{"emailAddress": {"name": "Megan", "address": "megan@contoso.com"}}],
            "Comment": "look",
        },
    )
    assert response.status_code == 200
    for address in ("adele@contoso.com", "megan@contoso.com"):
        (received,) = emulator.mailbox(address).messages()
        assert received.raw.endswith(base64.b64decode(completed()))
        assert b"look" not in received.raw


EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
Parameter = tuple[str, str, dict[str, str]]
MIME_PARAMETER: Parameter = ("MimeContent", "Edm.String", {})
COMMENT: Parameter = ("Comment", "Edm.String", {"Unicode": "false"})
MESSAGE: Parameter = ("Message", "graph.message", {})
TO: Parameter = ("ToRecipients", "Collection(graph.recipient)", {})
OF_A_MESSAGE: Parameter = ("bindingParameter", "graph.message", {})
CSDL: dict[str, tuple[dict[str, str], list[Parameter], str | None]] = {
    "sendMail": (
        {"IsBound": "true"},
        [
            ("bindingParameter", "graph.user", {}),
            ("Message", "graph.message", {"Nullable": "false"}),
            MIME_PARAMETER,
            ("SaveToSentItems", "Edm.Boolean", {}),
        ],
        None,
    ),
    "reply": ({"IsBound": "true"}, [OF_A_MESSAGE, MESSAGE, COMMENT, MIME_PARAMETER], None),
    "replyAll": ({"IsBound": "true"}, [OF_A_MESSAGE, MESSAGE, COMMENT, MIME_PARAMETER], None),
    "forward": ({"IsBound": "true"}, [OF_A_MESSAGE, TO, MESSAGE, COMMENT, MIME_PARAMETER], None),
}
for _name, _like in (
    ("createReply", "reply"),
    ("createReplyAll", "replyAll"),
    ("createForward", "forward"),
):
    CSDL[_name] = (
        {"IsBound": "true", "EntitySetPath": "bindingParameter"},
        CSDL[_like][1],
        "graph.message",
    )


def read_metadata(client: httpx.Client) -> ET.Element:
    response = client.get(f"{GRAPH}/$metadata")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/xml"
    return ET.fromstring(response.content)


@pytest.mark.parametrize("action", ACTIONS)
def test_the_metadata_has_the_actions_of_the_document(client: httpx.Client, action: str) -> None:
    attributes, parameters, returns = CSDL[action]
    (element,) = read_metadata(client).findall(f".//{EDM}Action[@Name='{action}']")
    assert element.attrib == {"Name": action, **attributes}
    assert [p.attrib for p in element.findall(f"{EDM}Parameter")] == [
        {"Name": name, "Type": kind, **more} for name, kind, more in parameters
    ]
    found = element.find(f"{EDM}ReturnType")
    assert (None if found is None else found.attrib["Type"]) == returns


def test_the_metadata_has_a_message_with_a_stream(client: httpx.Client) -> None:
    (element,) = read_metadata(client).findall(f".//{EDM}EntityType[@Name='message']")
    assert element.attrib == {
        "Name": "message",
        "BaseType": "graph.outlookItem",
        "OpenType": "true",
        "HasStream": "true",
    }
    properties = {p.attrib["Name"]: p.attrib["Type"] for p in element.findall(f"{EDM}Property")}
    shown = {
        "receivedDateTime": "Edm.DateTimeOffset",
        "sentDateTime": "Edm.DateTimeOffset",
        "hasAttachments": "Edm.Boolean",
        "internetMessageId": "Edm.String",
    }
    assert shown.items() <= properties.items()


def test_every_property_of_an_answer_is_in_the_metadata(client: httpx.Client) -> None:
    entities = ("entity", "outlookItem", "message")
    metadata = read_metadata(client)
    declared = {
        p.attrib["Name"]
        for name in entities
        for p in metadata.findall(f".//{EDM}EntityType[@Name='{name}']/{EDM}Property")
    }
    answer = client.get(f"{GRAPH}/me/messages/{ANSWERED_ID}").json()
    on_request = {"internetMessageHeaders"}
    assert {name for name in answer if not name.startswith("@")} == declared - on_request
