"""Several requests in one."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from smime_graph.emulator import Emulator, batch

Mail = Callable[..., bytes]


def ask(client: httpx.Client, *steps: object) -> dict[str, dict[str, Any]]:
    answer = client.post("/$batch", json={"requests": steps})
    assert answer.status_code == 200, answer.text
    return {one["id"]: one for one in answer.json()["responses"]}


def get(own_id: str, url: str, **more: object) -> dict[str, object]:
    return {"id": own_id, "method": "GET", "url": url, **more}


def test_several_requests_are_answered_in_one(emulator: Emulator, client: httpx.Client) -> None:
    message = {
        "subject": "batched",
        "toRecipients": [{"emailAddress": {"address": "bob@contoso.com"}}],
    }
    kind = {"Content-Type": "application/json"}
    answers = ask(
        client,
        get("1", "/me?$select=mail"),
        {"id": "2", "method": "post", "url": "me/sendMail", "headers": kind,
         "body": {"message": message}},
        get("3", "/me/messages/AAMkNothing="),
        get("4", "/me/nothing"),
    )  # fmt: skip
    assert [answers[n]["status"] for n in "1234"] == [200, 202, 404, 400]
    assert answers["1"]["body"]["mail"] == "alice@contoso.com"
    assert answers["3"]["body"]["error"]["code"] == "ErrorItemNotFound"
    assert "body" not in answers["2"]
    assert answers["1"]["headers"]["Content-Type"].startswith("application/json")
    assert [m.subject for m in emulator.mailbox("bob@contoso.com").messages()] == ["batched"]


def test_one_comes_after_another_and_not_at_all_if_that_failed(client: httpx.Client) -> None:
    kind = {"Content-Type": "application/json"}
    folder = {"id": "first", "method": "POST", "url": "/me/mailFolders", "headers": kind,
              "body": {"displayName": "New"}}  # fmt: skip
    listed = get("second", "/me/mailFolders?$top=50", dependsOn=["first"])
    answers = ask(client, listed, folder)
    assert list(answers) == ["first", "second"]
    assert "New" in {one["displayName"] for one in answers["second"]["body"]["value"]}
    again = ask(client, folder, listed, get("third", "/me", dependsOn=["second"]))
    assert [one["status"] for one in again.values()] == [409, 424, 424]
    assert again["second"]["body"]["error"]["code"] == "FailedDependency"


def test_mime_is_base64_of_the_body_which_is_base64(
    emulator: Emulator, client: httpx.Client, mail: Mail
) -> None:
    body = base64.urlsafe_b64encode(base64.b64encode(mail())).decode().rstrip("=")
    step = {"id": "1", "method": "POST", "url": "/me/sendMail", "body": body,
            "headers": {"Content-Type": "text/plain"}}  # fmt: skip
    assert ask(client, step)["1"]["status"] == 202
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    path = f"/users/bob@contoso.com/messages/{received.id}/$value"
    value = ask(client, get("1", path))["1"]
    assert base64.b64decode(value["body"]) == received.raw
    once = {**step, "body": base64.b64encode(mail()).decode()}
    assert ask(client, once)["1"]["status"] == 400


STEP = get("1", "/me")


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"requests": []},
        {"requests": [1]},
        {"requests": [{"id": 1, "method": "GET", "url": "/me"}]},
        {"requests": [{"id": "1", "method": "GET"}]},
        {"requests": [STEP, STEP]},
        {"requests": [get("1", "https://graph.microsoft.com/v1.0/me")]},
        {"requests": [get("1", "/$batch")]},
        {"requests": [get("1", "/me", headers={"a": 1})]},
        {"requests": [get("1", "/me", headers=["x"])]},
        {"requests": [get("1", "/me", dependsOn=["2"])]},
        {"requests": [get("1", "/me", dependsOn="1")]},
        {"requests": [get("1", "/me", dependsOn=["1"])]},
        {"requests": [get("1", "/me", dependsOn=["2"]), get("2", "/me", dependsOn=["1"])]},
        {"requests": [get("1", "/me", body="*")]},
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(client: httpx.Client, value: object) -> None:
    assert client.post("/$batch", json=value).status_code == 400


def test_a_batch_has_twenty_requests_at_most(client: httpx.Client) -> None:
    assert len(ask(client, *(get(str(n), "/me") for n in range(20)))) == 20
    answer = client.post("/$batch", json={"requests": [get(str(n), "/me") for n in range(21)]})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "MaximumValueExceeded"
    assert error["message"] == "Number of batch request steps exceeds the maximum value of 20."
    assert client.get("/$batch").status_code == 405
    assert client.post("/$batch", content=b"[" * 100_000).status_code == 400
    assert client.post("/$batch", content=b"x" * (4 * 1024 * 1024 + 1)).status_code == 413


def test_the_token_is_that_of_the_batch(
    make: Callable[..., Emulator], connect: Callable[..., httpx.Client]
) -> None:
    emulator = make(token="good")
    assert ask(connect(emulator, token="good"), STEP)["1"]["status"] == 200
    other = {**STEP, "headers": {"authorization": "Bearer bad"}}
    assert ask(connect(emulator, token="good"), other)["1"]["status"] == 401
    assert connect(emulator, token="bad").post("/$batch", json={}).status_code == 401


def test_a_batch_is_no_way_to_an_endless_answer(
    emulator: Emulator, client: httpx.Client, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "ANSWER_LIMIT", 50_000)
    planted = emulator.mailbox("alice@contoso.com").put(mail("x" * 30_000))
    step = f"/me/messages/{planted.id}/$value"
    answers = ask(client, *(get(str(n), step) for n in range(4)))
    assert [one["status"] for one in answers.values()] == [200, 200, 503, 503]


def test_a_body_of_any_depth_is_answered(client: httpx.Client) -> None:
    for depth in (100, 900, 980, 990, 5000):
        body = "[" * depth + "]" * depth
        step = '{"id": "1", "method": "POST", "url": "/me/sendMail", "body": ' + body + "}"
        answer = client.post("/$batch", content=f'{{"requests": [{step}]}}')
        assert answer.status_code in (200, 400)
