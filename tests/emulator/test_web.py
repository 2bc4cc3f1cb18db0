"""What the web inbox asks: by the token alone, in any form, and never of Graph."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from smime_graph.emulator import Emulator
from smime_graph.emulator.web import Examined
from smime_graph.loopback.server import Server

from .conftest import Clock

Mail = Callable[..., bytes]
BOB = "mailboxes/bob%40contoso.com"


@pytest.fixture
def server(emulator: Emulator) -> Iterator[Server]:
    with emulator.serve() as server:
        yield server


@pytest.fixture
def web(server: Server) -> Iterator[httpx.Client]:
    fields = {"Authorization": "Bearer x"}
    base = f"{server.url}/inbox/api"
    with httpx.Client(base_url=base, headers=fields, trust_env=False) as client:
        yield client


def got(web: httpx.Client, path: str) -> Any:
    answer = web.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/inbox/inbox.css", "text/css; charset=utf-8"),
        ("/inbox/inbox.js", "text/javascript; charset=utf-8"),
    ],
)
def test_the_page_needs_no_token_and_may_load_nothing_from_elsewhere(
    server: Server, path: str, kind: str
) -> None:
    answer = httpx.get(f"{server.url}{path}", trust_env=False)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)
    policy = dict(
        one.strip().split(" ", 1) for one in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["frame-src"] == "'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert httpx.post(f"{server.url}{path}", trust_env=False).status_code == 405
    for word in ("http:", "https:", "//cdn", "innerHTML", "eval("):
        assert word not in answer.text


def test_the_token_is_wanted_for_everything_else(make: Callable[..., Emulator]) -> None:
    emulator = make(token="right")
    with emulator.serve() as server, httpx.Client(trust_env=False) as client:
        for path in ("mailboxes", "messages/x", "messages/x/source", "faults", "requests", "x"):
            url = f"{server.url}/inbox/api/{path}"
            for fields in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic right"}):
                for method in ("GET", "POST", "DELETE"):
                    answer = client.request(
                        method, f"{url}?token=right&access_token=right", headers=fields
                    )
                    assert answer.status_code == 401, (path, fields)
        right = {"Authorization": "Bearer right"}
        url = f"{server.url}/inbox/api/mailboxes"
        assert client.get(url, headers=right).status_code == 200
        other = right | {"Origin": "http://evil.example"}
        assert client.get(url, headers=other).status_code == 403
    assert emulator.log == (), "none of it is a request to Graph"


def test_in_process_it_is_not_there(client: httpx.Client) -> None:
    for path in ("https://graph.microsoft.com/", "https://graph.microsoft.com/inbox/api/faults"):
        assert client.get(path).status_code == 400


def test_mailboxes_folders_and_messages(
    emulator: Emulator, web: httpx.Client, mail: Mail, clock: Clock
) -> None:
    box = emulator.mailbox("bob@contoso.com")
    for number in range(53):
        clock.now += 1
        box.put(mail(subject=f"number {number}", to="Bob <bob@contoso.com>, carol@contoso.com"))
    found = got(web, "mailboxes")
    names = ["alice@contoso.com", "bob@contoso.com", "carol@contoso.com"]
    assert found == {"mailboxes": names, "more": False}
    folders = got(web, "mailboxes/BOB%40contoso.com")["folders"]
    assert folders[0] == {
        "name": "inbox",
        "title": "Inbox",
        "depth": 0,
        "total": 53,
        "unread": 53,
    }
    page = got(web, f"{BOB}/inbox")
    assert (len(page["messages"]), page["more"], page["total"]) == (50, True, 53)
    assert page["messages"][0]["subject"] == "number 52"
    assert page["messages"][0]["to"][0] == {"name": "Bob", "address": "bob@contoso.com"}
    rest = got(web, f"{BOB}/inbox?skip=50")
    assert [one["subject"] for one in rest["messages"]] == ["number 2", "number 1", "number 0"]
    assert rest["more"] is False
    for odd in ("-1", "x", "99999999999", "\u0661"):
        assert got(web, f"{BOB}/inbox?skip={odd}")["skip"] == 0
    place = f"messages/{rest['messages'][-1]['id']}"
    shown = got(web, place)
    assert (shown["mailbox"], shown["folder"], shown["title"]) == (
        "bob@contoso.com",
        "inbox",
        "Inbox",
    )
    assert shown["body"] == {"type": "text", "text": "hello"}
    assert {"name": "Subject", "value": "number 0"} in shown["fields"]
    assert "report" not in shown
    raw = web.get(f"{place}/source")
    assert raw.content == mail(subject="number 0", to="Bob <bob@contoso.com>, carol@contoso.com")
    assert raw.headers["Content-Type"].startswith("text/plain")
    for path in ("x", "messages/x", "messages/x/source", "mailboxes/x", f"{BOB}/x", "messages/%ff"):
        assert web.get(path).status_code == 404
    assert web.post("mailboxes").status_code == 405
    assert web.post(place).status_code == 405
    assert emulator.log == ()


def test_folders_that_were_made_and_files_are_shown(
    server: Server, web: httpx.Client, emulator: Emulator, mail: Mail
) -> None:
    made = "/v1.0/users/bob@contoso.com/mailFolders"
    ids: dict[str, str] = {}
    for name, above in (("Projects", ""), ("Later", "/inbox/childFolders"), ("Inner", "/Later")):
        place = f"{made}/{ids['Later']}/childFolders" if above == "/Later" else made + above
        answer = httpx.post(
            f"{server.url}{place}",
            json={"displayName": name},
            headers={"Authorization": "Bearer x"},
            trust_env=False,
        )
        ids[name] = answer.json()["id"]
    shown = [(one["title"], one["depth"]) for one in got(web, BOB)["folders"]]
    assert shown[:4] == [("Inbox", 0), ("Later", 1), ("Inner", 2), ("Drafts", 0)]
    assert shown[-1] == ("Projects", 0)
    assert got(web, f"{BOB}/{ids['Inner']}")["title"] == "Inner"
    parts = (
        "--b\r\nContent-Type: text/plain\r\n\r\nsee below\r\n--b\r\nContent-Type: text/csv\r\n"
        'Content-Disposition: attachment; filename="a.csv"\r\n\r\n1,2\r\n--b--\r\n'
    )
    raw = mail(parts, content_type='multipart/mixed; boundary="b"')
    message = emulator.mailbox("bob@contoso.com").put(raw)
    found = got(web, f"messages/{message.immutable_id}")
    assert found["files"] == [{"name": "a.csv", "type": "text/csv", "size": 3}]
    saved = web.get(f"messages/{message.immutable_id}/files/0")
    assert (saved.content, saved.headers["Content-Type"]) == (b"1,2", "application/octet-stream")
    for odd in ("files/1", "files/-1", "files/x", "files/9999999999", "content/0", "x/0"):
        assert web.get(f"messages/{message.immutable_id}/{odd}").status_code == 404


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("text/plain", ""),
        ('multipart/signed; boundary="b"; protocol="application/pkcs7-signature"', "signed"),
        ("application/pkcs7-mime; smime-type=signed-data", "signed"),
        ("application/x-pkcs7-mime; smime-type=Enveloped-Data", "encrypted"),
        ("application/pkcs7-mime; smime-type=authEnveloped-data", "encrypted"),
        ("application/pkcs7-mime; smime-type=compressed-data", "compressed"),
        ("application/pkcs7-mime", "S/MIME"),
        ('application/octet-stream; name="smime.p7m"', "S/MIME"),
    ],
)
def test_what_a_message_says_that_it_is_stands_in_the_list(
    emulator: Emulator, web: httpx.Client, mail: Mail, kind: str, shown: str
) -> None:
    emulator.mailbox("bob@contoso.com").put(mail("x" * 2_000_000, content_type=kind))
    (one,) = got(web, f"{BOB}/inbox")["messages"]
    assert one["smime"] == shown


def test_what_is_known_of_a_message_is_shown(
    make: Callable[..., Emulator], mail: Mail, clock: Clock
) -> None:
    seen: list[bytes] = []

    def examine(raw: bytes) -> Examined:
        seen.append(raw)
        content = {b"sealed": mail("<b>x</b>", subject="inside", content_type="text/html")}
        key = raw.rpartition(b"\r\n\r\n")[2].strip()
        return Examined({"summary": "signed"}, content.get(key, b"" if key else None), True)

    emulator = make(examine=examine, mailboxes=["bob@contoso.com"])
    box = emulator.mailbox("bob@contoso.com")
    ids = [box.put(mail(body)).immutable_id for body in ("sealed", "odd", "")]
    fields = {"Authorization": "Bearer x"}
    with emulator.serve() as server:
        answers = [
            httpx.get(f"{server.url}/inbox/api/messages/{one}", headers=fields, trust_env=False)
            for one in ids
        ]
    assert seen == [mail("sealed"), mail("odd"), mail("")]
    sealed, odd, closed = (one.json() for one in answers)
    assert sealed["report"] == {"summary": "signed"}
    assert sealed["content"]["subject"] == "inside"
    assert sealed["content"]["body"] == {"type": "html", "text": "<b>x</b>"}
    assert sealed["content"]["verified"] is True
    assert odd["content"]["body"]["text"] == ""
    assert "content" not in closed


def test_faults_are_switched(emulator: Emulator, web: httpx.Client) -> None:
    known = {one["name"]: one for one in got(web, "faults")["known"]}
    assert known["throttled"]["seconds"] == "Retry-After"
    assert known["cut-after"]["seconds"] == ""
    emulator.faults.switch_on("slow=3:all")
    web.post("faults", content=json.dumps({"fault": "throttled=2:3"}))
    assert got(web, "faults")["coming"] == [
        {"name": "slow", "on": "*", "times": None, "delay": 3.0},
        {"name": "throttled", "on": "*", "times": 3, "delay": None},
    ]
    for wrong in (b"", b"[]", b"{}", b'{"fault": 1}', b'{"fault": "rain"}', b"[" * 70_000, b"\xff"):
        assert web.post("faults", content=wrong).status_code == 400
    assert web.put("faults").status_code == 405
    assert len(got(web, "faults")["coming"]) == 2
    assert web.delete("faults").json()["coming"] == []
    assert emulator.faults.coming == ()


def test_requests_are_shown_without_what_is_secret(
    server: Server, web: httpx.Client, emulator: Emulator
) -> None:
    for number in range(102):  # one client: each makes a context for TLS
        web.get(
            f"{server.url}/v1.0/me/messages?$top={number + 1}&token=secret",
            headers={"Authorization": "Bearer secret"},
        )
    found = web.get("requests")
    requests = found.json()["requests"]
    assert len(requests) == 100
    assert "top=102&" in requests[0]["target"]
    assert requests[0]["status"] == 200
    assert "secret" not in found.text
