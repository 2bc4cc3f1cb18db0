"""The web inbox as people have it: in a browser, by keyboard, by what a screen reader is told.

SMIME_GRAPH_PICTURES=FOLDER keeps the pictures: those beside INBOX.md were made so.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import httpx
import pytest

from smime_graph import Contact, Identity, seal, sign
from smime_graph.loopback.exchange import Exchange, Request, Response
from smime_graph.loopback.server import Server
from tests.cli.conftest import PASSWORD
from tests.cli.conftest import people as people
from tests.harness.test_page import pixels

from .browser import Browser, Page

pytestmark = pytest.mark.slow
TOKEN = "the-token-of-this-test"
BOB = "#/mail/bob%40contoso.com/inbox"
SEALED = b"application/pkcs7-mime; smime-type=enveloped-data"
FOCUSED = "document.querySelector('h1:focus')?.textContent"
# what would reach another server, or run, if anything of it were loaded or run
HOSTILE = """<html><head><base href="TRAP/base/"><title>mail</title>
<meta http-equiv="refresh" content="0; url=TRAP/refresh">
<link rel="stylesheet" href="TRAP/sheet.css"><link rel="preload" as="image" href="TRAP/preload">
<link rel="prefetch" href="TRAP/prefetch"><link rel="dns-prefetch" href="TRAP">
<style>@import "TRAP/import.css"; body { background: url(TRAP/css.png) }
@font-face { font-family: x; src: url(TRAP/font) } p { font-family: x }</style></head>
<body background="TRAP/body.png" onload="parent.document.title='ran'">
<p>The offer stands in <b>bold</b>.</p><img src="TRAP/img.png"
onerror="parent.document.title='ran'"><img srcset="TRAP/set.png 1x"><video poster="TRAP/poster"
src="TRAP/video"></video><iframe src="TRAP/frame"></iframe><object data="TRAP/object"></object>
<embed src="TRAP/embed"><script src="TRAP/script.js"></script>
<script>parent.document.title = 'ran'; fetch('TRAP/fetch')</script>
<svg><image href="TRAP/svg.png"/></svg><input type="image" src="TRAP/input.png">
<form action="TRAP/form"><button id="b">send</button></form>
<a id="a" href="TRAP/link" ping="TRAP/ping" target="_top">a link</a></body></html>"""


def html_mail(text: str, subject: str) -> bytes:
    head = (
        f"From: Alice <alice@contoso.com>\r\nTo: Bob <bob@contoso.com>\r\nSubject: {subject}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    )
    return (head + "\r\n".join(text.splitlines()) + "\r\n").encode()


def text_mail(text: str, subject: str) -> bytes:
    return html_mail(text, subject).replace(b"text/html", b"text/plain")


def with_files(raw: bytes, *names: str) -> bytes:
    message = message_from_bytes(raw, policy=SMTP)
    assert isinstance(message, EmailMessage)
    for name in names:
        message.add_attachment(FILES[name], maintype="application", subtype="pdf", filename=name)
    return bytes(message)


FILES = {"offer.pdf": b"%PDF \x00\xff" * 3000, "../<b>&.pdf": b"%PDF other"}


@dataclass
class Served:
    """The program, as a user starts it, with the keys of one who reads."""

    url: str
    alice: Identity
    bob: Contact

    def submit(self, raw: bytes) -> None:
        sent = httpx.post(
            f"{self.url}v1.0/users/alice@contoso.com/sendMail",
            content=base64.b64encode(raw),
            headers={**self.bearer, "Content-Type": "text/plain"},
            trust_env=False,
        )
        assert sent.status_code == 202, sent.text

    bearer: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {TOKEN}"})

    def sealed(self, raw: bytes) -> bytes:
        return seal(raw, signer=self.alice, recipients=[self.bob])


@pytest.fixture(scope="module")
def served(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    alice, bob = (
        Identity.load(people / f"{one}.p12", password=PASSWORD) for one in ("alice", "bob")
    )
    assert bob.encryption_certificate is not None
    words = ("--identity", "bob.key", "--password-file", "password", "--trust", "roots.pem")
    process = subprocess.Popen(
        [sys.executable, "-m", "smime_graph", "emulate", "--port", "0", "--token", TOKEN]
        + ["--mailbox", "alice@contoso.com", "--mailbox", "bob@contoso.com", "--json", *words],
        stdout=subprocess.PIPE,
        cwd=people,
        env={**os.environ, "HOME": str(tmp_path_factory.mktemp("home"))},
    )
    try:
        assert process.stdout is not None
        known = json.loads(b"".join(iter(process.stdout.readline, b"}\n")) + b"}")
        served = Served(known["inbox"], alice, Contact(bob.encryption_certificate))
        served.submit(text_mail("We meet at ten.", "Monday"))
        contract = sign(text_mail("We pay 100 euros.", "Contract"), signer=alice)
        served.submit(contract.replace(b"100", b"900"))
        served.submit(sign(text_mail("114 is due.", "Invoice"), signer=alice))
        broken = text_mail("MIIBAgYJKoZIhvcNAQcC", "Broken").replace(b"text/plain", SEALED)
        served.submit(broken.replace(b"MIME-", b"Content-Transfer-Encoding: base64\r\nMIME-", 1))
        page = "<p>The offer stands in <b>bold</b>, until <i>Friday</i>.</p>"
        served.submit(served.sealed(with_files(html_mail(page, "Offer"), "offer.pdf")))
        yield served
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    page = browser.open(served.url)
    sign_in(page)
    yield page
    page.close()


def sign_in(page: Page) -> None:
    page.wait("document.activeElement?.id === 'token'")
    page.type(TOKEN)
    page.press("Enter")
    page.wait("document.activeElement?.tagName === 'H1'")


def go(page: Page, place: str, title: str) -> None:
    page.run(f"location.hash = {place!r}")
    page.wait(f"document.querySelector('main h1')?.textContent === {title!r}")


def open_message(page: Page, subject: str) -> None:
    go(page, BOB, "Inbox of bob@contoso.com")
    page.run(
        f"[...document.querySelectorAll('main a')].find(a => a.textContent === {subject!r}).click()"
    )
    page.wait(f"document.querySelector('main h1').textContent === {subject!r}")


def test_pictures(page: Page, tmp_path: Path) -> None:
    """Of a message and of the faults, as they stand in INBOX.md."""
    folder = Path(os.environ.get("SMIME_GRAPH_PICTURES") or tmp_path)
    page.size(1000, 860)
    open_message(page, "Offer")
    data = page.picture(folder / "inbox-message.png")
    width, height, colours = pixels(data)
    assert (width, height) == (1000, 860)
    assert bytes.fromhex("dff5e6") in colours, "what is accepted is green"
    go(page, BOB, "Inbox of bob@contoso.com")
    page.size(1000, 520)
    data = page.picture(folder / "inbox-list.png")
    assert pixels(data)[:2] == (1000, 520)
    go(page, "#/faults", "Faults")
    for fault in ("throttled=5:3", "sent-items-late=60:all"):
        body = json.dumps(json.dumps({"fault": fault}))
        page.run(f"ask('faults', {{ method: 'POST', body: {body} }}).then(() => look())")
    page.wait("document.querySelectorAll('tbody tr').length === 2")
    page.size(1000, 520)
    data = page.picture(folder / "inbox-faults.png")
    assert pixels(data)[:2] == (1000, 520)
    page.run("change('DELETE', null, '')")


def test_a_person_reads_mail_by_keyboard_alone(browser: Browser, served: Served) -> None:
    page = browser.open(served.url)
    page.wait("document.activeElement?.id === 'token'")
    page.type("a wrong one")
    page.press("Enter")
    page.wait("document.getElementById('token-wrong').textContent")
    assert page.focus() == "input token"
    assert page.run("document.getElementById('app').hidden")
    sign_in(page)

    page.tab_to(lambda it: it == "a bob@contoso.com")
    page.press("Enter")
    page.wait(f"{FOCUSED} === 'Inbox of bob@contoso.com'")
    page.tab_to(lambda it: it == "a Offer")
    page.press("Enter")
    page.wait(f"{FOCUSED} === 'Offer'")
    shown = page.text()
    for word in ("ACCEPTED signed and encrypted", "enveloped-data", "signed-data", "aes256-cbc"):
        assert word in shown
    for word in ("alice@contoso.com accepted", "rsassa-pkcs1v15, sha256", "CN=Test Root"):
        assert word in shown
    page.tab_to(lambda it: it == "summary Source")
    page.press("Enter")
    page.wait("document.querySelector('pre.source').textContent.includes('smime.p7m')")
    page.run("history.back()")
    page.wait(f"{FOCUSED} === 'Inbox of bob@contoso.com'")
    assert TOKEN not in page.run("location.href")
    assert TOKEN not in page.run("document.documentElement.outerHTML")

    page.tab_to(lambda it: it.startswith("button leave"))
    page.press("Enter")
    assert page.focus() == "input token"
    page.run("location.reload()")
    page.wait("document.activeElement?.id === 'token'")
    page.close()
    thrown = [one for one in browser.events if one["method"] == "Runtime.exceptionThrown"]
    blocked = [
        one
        for one in browser.events
        if one["method"] == "Log.entryAdded" and one["params"]["entry"]["source"] == "security"
    ]
    assert (thrown, blocked) == ([], [])


def labelled(page: Page, label: str) -> Callable[[str], bool]:
    return lambda _: page.label() == label


def test_what_is_attached_is_saved_by_keyboard(
    browser: Browser, page: Page, served: Served, tmp_path: Path
) -> None:
    served.submit(with_files(text_mail("see below", "Plain"), *FILES))
    for subject, names in (("Offer", ["offer.pdf"]), ("Plain", list(FILES))):
        folder = tmp_path / subject
        folder.mkdir()
        browser.save_to(folder)
        open_message(page, subject)
        for name in names:
            assert ("button", f"Save {name}") in page.tree()
            page.tab_to(labelled(page, f"Save {name}"))
            page.press("Enter")
            page.wait(f"document.getElementById('status').textContent === {name + ' is saved.'!r}")
            end = time.monotonic() + 60
            while FILES[name] not in [one.read_bytes() for one in folder.glob("*.pdf")]:
                assert time.monotonic() < end, list(tmp_path.iterdir())
                time.sleep(0.05)
        assert len(list(folder.iterdir())) == len(names)  # "../" leads nowhere
        assert (folder / "offer.pdf").exists()


def test_the_list_says_what_is_signed_and_what_is_encrypted(page: Page) -> None:
    go(page, BOB, "Inbox of bob@contoso.com")
    assert ("columnheader", "S/MIME") in page.tree()
    rows = page.run("[...document.querySelectorAll('tbody tr')].map(r => r.innerText.split('\\t'))")
    said = {row[1].removesuffix(" unread"): row[2] for row in rows}
    assert said["Offer"] == said["Broken"] == "encrypted"
    assert said["Invoice"] == said["Contract"] == "signed"
    assert said["Monday"] == ""


def test_what_is_not_accepted_says_so_and_what_is_plain_is_no_alarm(page: Page) -> None:
    for subject, said, unsaid in (
        ("Monday", "NO S/MIME neither signed nor encrypted", "REJECTED"),
        ("Invoice", "ACCEPTED signed", "REJECTED"),
        ("Broken", "REJECTED ", "NO S/MIME"),
        ("Contract", "REJECTED the content was changed after signing", "ACCEPTED"),
    ):
        open_message(page, subject)
        shown = page.text()
        assert said in shown
        assert unsaid not in shown
    assert "Intact\nno" in shown
    assert "cms.digest.mismatch" in shown


def test_a_screen_reader_is_told_what_is_there(page: Page) -> None:
    named = {"link", "button", "textbox", "combobox", "table", "columnheader", "navigation", "list"}
    for place, title in (
        (BOB, "Inbox of bob@contoso.com"),
        ("#/faults", "Faults"),
        ("#/requests", "Requests"),
    ):
        go(page, place, title)
        tree = page.tree()
        assert {("navigation", "Pages"), ("navigation", "Mailboxes")} <= set(tree)
        assert {"banner", "main", "status"} <= {role for role, _ in tree}
        assert ("heading", title) in tree
        nameless = {role for role, name in tree if not name and role in named - {"list"}}
        assert nameless == set()
        assert page.run("document.querySelectorAll('#pages [aria-current=page]').length") == 1
        assert page.run("document.title") == f"{title} - Emulated Graph"
    open_message(page, "Offer")
    tree = page.tree()
    assert ("Iframe", "Content, unsealed") in tree
    assert {("heading", one) for one in ("Content", "Layers", "Signers")} <= set(tree)
    page.size(360, 700)  # and enlarged to a third nothing runs out of the page
    wide = "[...document.querySelectorAll('body *')].filter(e => e.scrollWidth > innerWidth)"
    assert page.run(f"{wide}.map(e => e.outerHTML.slice(0, 100))") == []


def test_new_mail_is_told_and_takes_no_focus(page: Page, served: Served) -> None:
    go(page, BOB, "Inbox of bob@contoso.com")
    page.tab_to(lambda it: it == "a Monday")
    served.submit(text_mail("soon", "News"))
    page.wait("document.getElementById('status').textContent === '1 new message'")
    assert "News" in page.text()
    assert page.focus() == "a Monday"


def test_faults_are_switched_on_the_page(page: Page, served: Served) -> None:
    go(page, "#/faults", "Faults")
    page.tab_to(lambda it: it.startswith("select"))
    for _ in range(20):
        if page.run("document.getElementById('fault-name').value") == "slow":
            break
        page.press("ArrowDown")
    assert "the answer is late" in page.text()
    page.press("Tab")
    page.type("0.01")
    page.press("Tab")
    page.run("document.activeElement.select()")
    page.type("2")
    page.press("Enter")
    page.wait("document.getElementById('status').textContent === 'slow is switched on.'")
    assert page.focus() == "input fault-times"
    assert "the next 2 requests" in page.text()
    answer = httpx.get(f"{served.url}v1.0/me/messages", headers=served.bearer, trust_env=False)
    assert answer.status_code == 200
    page.wait("document.body.innerText.includes('the next request')")
    page.tab_to(lambda it: it == "button clear")
    page.press("Enter")
    page.wait("document.body.innerText.includes('None.')")
    go(page, "#/requests", "Requests")
    assert "slow" in page.text()


@pytest.fixture
def trap() -> Iterator[tuple[Server, list[str]]]:
    """Another origin, and what was asked of it; its page does what it can to the emulator."""
    asked: list[str] = []

    def answer(request: Request) -> Exchange:
        asked.append(request.target)
        page = f"<!DOCTYPE html><title>a page</title>{HOSTILE}" if request.target == "/" else ""
        fields = (("Content-Type", "text/html"), ("Access-Control-Allow-Origin", "*"))
        return Exchange(Response(200, fields, page.encode()))

    refuse = lambda status, text: Response(status, body=text.encode())  # noqa: E731
    with Server(answer, port=0, request_limit=1000, refuse=refuse) as server:
        yield server, asked


@pytest.mark.parametrize("how", ["plain", "sealed"])
def test_mail_in_html_runs_nothing_and_loads_nothing(
    page: Page, served: Served, trap: tuple[Server, list[str]], how: str
) -> None:
    server, asked = trap
    raw = html_mail(HOSTILE.replace("TRAP", server.url), f"Hostile {how}")
    served.submit(served.sealed(raw) if how == "sealed" else raw)
    open_message(page, f"Hostile {how}")
    page.wait("document.querySelector('main iframe')")
    assert page.run("document.querySelector('iframe').srcdoc.includes('stands in')")
    assert page.run("document.querySelector('iframe').getAttribute('sandbox')") == ""
    frame = page.run(
        "(b => [b.x + b.width / 2, b.y + b.height / 2])"
        "(document.querySelector('iframe').getBoundingClientRect())"
    )
    page.run("new Promise(done => setTimeout(done, 500))")
    for x, y in [(frame[0] - dx, frame[1] + dy) for dx in (0, 250) for dy in (-60, 0, 60)]:
        for kind in ("mousePressed", "mouseReleased"):  # wherever its link and button are
            page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    page.run("new Promise(done => setTimeout(done, 300))")
    assert asked == []
    assert page.run("document.title") == f"Hostile {how} - Emulated Graph"
    assert page.run("location.href").startswith(served.url)


def test_a_page_of_another_origin_can_do_nothing(
    browser: Browser, served: Served, trap: tuple[Server, list[str]]
) -> None:
    server, _ = trap
    page = browser.open(f"{server.url}/empty")
    base = served.url
    script = """async ([base, token]) => {
      const seen = {};
      const ask = async (name, path, options) => {
        try {
          const answer = await fetch(base + path, options);
          seen[name] = answer.type === "opaque" ? "opaque" : answer.status;
        } catch { seen[name] = "blocked"; }
      };
      const bearer = { headers: { Authorization: `Bearer ${token}` } };
      const fault = JSON.stringify({ fault: "cut-before:all" });
      await ask("page", "", {});
      await ask("read", "inbox/api/mailboxes", bearer);
      await ask("fault", "inbox/api/faults", { ...bearer, method: "POST", body: fault });
      await ask("simple", "inbox/api/faults", { method: "POST", body: fault, mode: "no-cors" });
      await ask("mail", "v1.0/me/sendMail", { method: "POST", body: "x", mode: "no-cors" });
      await ask("graph", "v1.0/me/messages", bearer);
      const frame = document.createElement("iframe");
      frame.src = base;
      document.body.append(frame);
      await new Promise(done => { frame.onload = done; setTimeout(done, 3000); });
      try { seen.frame = frame.contentDocument.title; } catch { seen.frame = "blocked"; }
      return seen;
    }"""
    seen = page.run(f"({script})({json.dumps([base, TOKEN])})")
    page.close()
    assert seen.pop("simple") in ("opaque", "blocked")
    assert seen.pop("mail") in ("opaque", "blocked")
    assert set(seen.values()) == {"blocked"}, seen
    faults = httpx.get(f"{base}inbox/api/faults", headers=served.bearer, trust_env=False).json()
    assert faults["coming"] == []
