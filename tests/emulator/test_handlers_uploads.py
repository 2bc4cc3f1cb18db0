"""Large files that are attached in pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from smime_graph.emulator import Emulator

from .conftest import Clock


@pytest.fixture
def draft(client: httpx.Client) -> str:
    """The path of a draft to Bob."""
    to = [{"emailAddress": {"address": "bob@contoso.com"}}]
    answer = client.post("/me/messages", json={"subject": "files", "toRecipients": to})
    return f"/me/messages/{answer.json()['id']}"


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


SIZE = 3 * 1024 * 1024 + 1000
CHUNK = 2 * 1024 * 1024


def begin(client: httpx.Client, draft: str, **more: object) -> httpx.Response:
    item = {"attachmentType": "file", "name": "big.bin", "size": SIZE, **more}
    place = f"{draft}/attachments/createUploadSession"
    return client.post(place, json={"AttachmentItem": item})


def put(client: httpx.Client, url: str, start: int, data: bytes, size: int = SIZE) -> Any:
    headers = {
        "Content-Range": f"bytes {start}-{start + len(data) - 1}/{size}",
        "Content-Type": "application/octet-stream",
        "Authorization": "",
    }
    return client.put(url, content=data, headers=headers)


def test_a_large_file_comes_in_pieces(emulator: Emulator, client: httpx.Client, draft: str) -> None:
    session = begin(client, draft, contentType="image/png")
    assert session.status_code == 201
    answer = session.json()
    assert answer["@odata.context"].endswith("$metadata#microsoft.graph.uploadSession")
    assert answer["nextExpectedRanges"] == ["0-"]
    url = answer["uploadUrl"]
    data = bytes(range(251)) * (SIZE // 251 + 1)
    data = data[:SIZE]
    first = put(client, url, 0, data[:CHUNK])
    assert first.status_code == 200
    assert first.json()["nextExpectedRanges"] == [str(CHUNK)]
    assert first.json()["ExpirationDateTime"] == answer["expirationDateTime"]
    again = put(client, url, 0, data[:CHUNK])
    assert code_of(again) == (416, "ErrorInvalidRange")
    assert client.get(url, headers={"Authorization": ""}).json()["nextExpectedRanges"] == [
        str(CHUNK)
    ]
    last = put(client, url, CHUNK, data[CHUNK:])
    assert (last.status_code, last.content) == (201, b"")
    own_id = last.headers["Location"].partition("/Attachments('")[2].removesuffix("')")
    one = client.get(f"{draft}/attachments/{own_id}").json()
    assert (one["name"], one["contentType"], one["size"]) == ("big.bin", "image/png", SIZE)
    assert client.get(f"{draft}/attachments/{own_id}/$value").content == data
    assert put(client, url, CHUNK, data[CHUNK:]).status_code == 404
    assert client.post(f"{draft}/send").status_code == 202
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    assert len(received.raw) > SIZE


@pytest.mark.parametrize(
    ("start", "data", "size", "status"),
    [
        (0, b"x" * 10, SIZE + 1, 400),
        (5, b"x" * 10, SIZE, 416),
        (SIZE - 5, b"x" * 10, SIZE, 400),
        (0, b"x" * (4 * 1024 * 1024 + 1), SIZE, 413),
    ],
)
def test_a_piece_that_does_not_fit_is_refused(
    client: httpx.Client, draft: str, start: int, data: bytes, size: int, status: int
) -> None:
    url = begin(client, draft).json()["uploadUrl"]
    assert put(client, url, start, data, size).status_code == status
    assert client.put(url, content=b"x", headers={"Content-Range": "1-2"}).status_code == 400
    assert client.get(url).json()["nextExpectedRanges"] == ["0"]


def test_an_upload_needs_its_token_and_no_other(
    make: Callable[..., Emulator], connect: Callable[..., httpx.Client], clock: Clock
) -> None:
    emulator = make(token="good")
    client = connect(emulator, token="good")
    draft = f"/me/messages/{client.post('/me/messages', json={}).json()['id']}"
    url = begin(client, draft).json()["uploadUrl"]
    stranger = connect(emulator, token=None)
    assert stranger.get(url).status_code == 200
    assert stranger.get(url.partition("?")[0] + "?authtoken=x").status_code == 404
    assert stranger.get(url.replace("AttachmentSessions", "Things")).status_code == 400
    assert all("authtoken=" + url.rpartition("=")[2] not in one.target for one in emulator.log)
    clock.now += 3600
    assert stranger.get(url).status_code == 404


def test_an_upload_is_given_up(client: httpx.Client, draft: str) -> None:
    url = begin(client, draft).json()["uploadUrl"]
    assert client.delete(url).status_code == 204
    assert client.delete(url).status_code == 404
    url = begin(client, draft).json()["uploadUrl"]
    moved = client.post(f"{draft}/move", json={"destinationId": "deleteditems"}).json()["id"]
    assert client.get(url).status_code == 200
    assert client.delete(f"/me/messages/{moved}").status_code == 204
    assert client.get(url).status_code == 404, "it goes with the draft"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"size": 1000}, (400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize")),
        ({"size": 200 * 1024 * 1024}, (400, "ErrorMessageSizeExceeded")),
        ({"size": "big"}, (400, "ErrorInvalidParameter")),
        ({"name": ""}, (400, "ErrorInvalidParameter")),
        ({"isInline": 1}, (400, "ErrorInvalidParameter")),
        ({"attachmentType": "item"}, (501, "NotImplemented")),
    ],
)
def test_an_upload_that_is_not_begun(
    client: httpx.Client, draft: str, more: dict[str, Any], expected: object
) -> None:
    assert code_of(begin(client, draft, **more)) == expected


def test_an_upload_for_what_is_no_draft_any_more_is_refused(
    client: httpx.Client, draft: str
) -> None:
    url = begin(client, draft).json()["uploadUrl"]
    put(client, url, 0, bytes(CHUNK))
    client.post(f"{draft}/send")
    assert code_of(put(client, url, CHUNK, bytes(SIZE - CHUNK)))[0] == 400


def test_no_token_of_an_upload_is_in_the_file(emulator: Emulator, client: httpx.Client,
                                              draft: str) -> None:  # fmt: skip
    url = begin(client, draft).json()["uploadUrl"]
    token = url.rpartition("=")[2]
    rows = emulator._store._db.execute("SELECT * FROM uploads").fetchall()
    assert len(rows) == 1
    assert token not in repr(rows)
