"""The web inbox: what a person sees of the mailboxes, and the faults to switch.

GET  /                                           the page, and what it is made of:
GET  /inbox/inbox.css, /inbox/inbox.js
GET  /inbox/api/mailboxes                        the rest wants the bearer token
GET  /inbox/api/mailboxes/ADDRESS
GET  /inbox/api/mailboxes/ADDRESS/FOLDER?skip=N
GET  /inbox/api/messages/ID
GET  /inbox/api/messages/ID/source
GET  /inbox/api/messages/ID/files/N              what is attached to it, or to what is inside:
GET  /inbox/api/messages/ID/content/N
GET, POST, DELETE  /inbox/api/faults
GET  /inbox/api/requests

Nothing here is a request to Graph: no fault strikes, and the log has none of it. The server lets no
page of another origin ask; the token is in a header field, which no form and no image can send; and
what a message says is text, or in a frame that may run and load nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from smime_graph.errors import UsageError

from ..loopback.exchange import Headers, Request, Response
from .attachments import attachments_of
from .extended import message_class
from .faults import NAMED, Faults
from .folders import ROOT, Folder
from .headers import Person, UnusableMime, header_fields
from .mime import Summary, part_of, summarise
from .records import Account, Item
from .resources import timestamp
from .store import Store

_FOLDER = Path(__file__).parent / "inbox"
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/inbox/inbox.css": ("inbox.css", "text/css; charset=utf-8"),
    "/inbox/inbox.js": ("inbox.js", "text/javascript; charset=utf-8"),
}
_API = "/inbox/api/"
_PAGE = 50
_MAILBOXES = 200
_FOLDERS = 300
_FIELDS = 200  # of a header that are shown
_REQUESTS = 100
_BODY = 1 << 16  # octets of a request

# Styles in an attribute are for the mail in its frame, which inherits this: its page makes none.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; frame-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_COMMON: Headers = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-DNS-Prefetch-Control", "off"),
    ("Cache-Control", "no-store"),
)


@dataclass(frozen=True, slots=True)
class Examined:
    """What is known of a message: a report, as JSON has it, and what was inside.

    `content` is a whole message with every layer taken off, None where nothing could be opened;
    `verified` says whether somebody vouches for it.
    """

    report: Mapping[str, Any]
    content: bytes | None = field(default=None, repr=False)
    verified: bool = False


Examine = Callable[[bytes], Examined]


class _NotThere(Exception):
    """There is nothing at that path."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """Answers for the page. `is_good` says whether an Authorization field has the token."""

    store: Store
    faults: Faults
    is_good: Callable[[str], bool]
    requests: Callable[[], Sequence[Any]]
    examine: Examine | None = None

    def answer(self, request: Request) -> Response | None:
        """None for what is none of the page's."""
        path, _, query = request.target.partition("?")
        if path in _FILES:
            if request.method != "GET":
                return _text(405, "This is asked with GET.")
            name, kind = _FILES[path]
            return _answer(200, kind, _read(name))
        if not path.startswith(_API):
            return None
        fields = {name.lower(): value for name, value in request.headers}
        if not self.is_good(fields.get("authorization", "")):
            return _text(401, "The token is not the one that this emulator was started with.")
        names = [unquote(one, errors="replace") for one in path.removeprefix(_API).split("/")]
        try:
            if names == ["faults"]:
                return self._faults(request)
            if request.method != "GET":
                return _text(405, "This is asked with GET.")
            if len(names) == 2 and names[0] == "messages":
                return _json(self._message(names[1]))
            if len(names) == 4 and names[0] == "messages":
                return self._file(*names[1:])
            with self.store.transaction(write=False):
                return self._read(names, dict(parse_qsl(query[:1000])))
        except _NotThere:
            return _text(404, "There is nothing here.")
        except UsageError as error:
            return _text(400, str(error))

    def _read(self, names: list[str], query: Mapping[str, str]) -> Response:
        match names:
            case ["mailboxes"]:
                found = self.store.accounts(limit=_MAILBOXES + 1)
                shown = [one.address for one in found[:_MAILBOXES]]
                return _json({"mailboxes": shown, "more": len(found) > _MAILBOXES})
            case ["mailboxes", address]:
                return _json(self._mailbox(self._account(address)))
            case ["mailboxes", address, folder]:
                return _json(self._folder(self._account(address), folder, query.get("skip", "0")))
            case ["messages", item_id, "source"]:
                kind = "text/plain; charset=utf-8"
                return _answer(200, kind, self.store.raw(self._item(item_id)))
            case ["requests"]:
                newest = self.requests()[-_REQUESTS:]
                return _json({"requests": [asdict(one) for one in newest[::-1]]})
            case _:
                raise _NotThere

    def _account(self, address: str) -> Account:
        account = self.store.account_by_address(address)
        if account is None:
            raise _NotThere
        return account

    def _item(self, item_id: str) -> Item:
        item = self.store.find(item_id)
        if item is None:
            raise _NotThere
        return item

    def _mailbox(self, account: Account) -> dict[str, Any]:
        folders: list[dict[str, Any]] = []
        left = [(one, 0) for one in self._below(account, ROOT)]
        while left and len(folders) < _FOLDERS:
            folder, depth = left.pop()
            total, unread, _ = self.store.count(account, folder.key)
            shown = {"name": folder.key, "title": folder.name, "depth": depth}
            folders.append(shown | {"total": total, "unread": unread})
            left += [(one, depth + 1) for one in self._below(account, folder.key)]
        return {"address": account.address, "folders": folders}

    def _below(self, account: Account, key: str) -> Sequence[Folder]:
        return self.store.folders.below(account.number, key)[::-1]

    def _folder(self, account: Account, key: str, skip: str) -> dict[str, Any]:
        folder = self.store.folders.find(account.number, account.guid, key)
        if folder is None:
            raise _NotThere
        name = folder.key
        start = int(skip) if skip.isascii() and skip.isdigit() and len(skip) < 10 else 0
        items = self.store.list(account, folder=name, limit=_PAGE + 1, skip=start)
        return {
            "address": account.address,
            "name": name,
            "title": folder.name,
            "total": self.store.count(account, name)[0],
            "skip": start,
            "more": len(items) > _PAGE,
            "messages": [_row(item, self.store.head(item)) for item in items[:_PAGE]],
        }

    def _message(self, item_id: str) -> dict[str, Any]:
        with self.store.transaction(write=False):
            item = self._item(item_id)
            account, raw = self.store.account_of(item), self.store.raw(item)
            folder = self.store.folders.find(account.number, account.guid, item.folder)
        shown = _row(item, raw) | _people(item.summary)
        shown["mailbox"], shown["folder"] = account.address, item.folder
        shown["title"] = "" if folder is None else folder.name
        shown["body"] = {"type": item.summary.body_type, "text": item.summary.body}
        shown["files"] = _files(item, raw)
        shown["fields"] = [
            {
                "name": raw[one.start : one.end].partition(b":")[0].decode("latin-1"),
                "value": one.value,
            }
            for one in header_fields(raw)[0][:_FIELDS]
        ]
        if self.examine is not None:  # nobody waits for it: it may take its time
            examined = self.examine(raw)
            shown["report"] = examined.report
            if examined.content is not None:
                shown["content"] = _content(item, examined.content) | {
                    "verified": examined.verified
                }
        return shown

    def _file(self, item_id: str, where: str, number: str) -> Response:
        with self.store.transaction(write=False):
            item = self._item(item_id)
            raw = self.store.raw(item)
        if where == "content":
            inside = None if self.examine is None else self.examine(raw).content
            if inside is None:
                raise _NotThere
            raw = inside
        elif where != "files":
            raise _NotThere
        found = attachments_of(item, raw)
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise _NotThere
        if int(number) >= len(found):
            raise _NotThere
        return _answer(200, "application/octet-stream", found[int(number)].content)

    # What goes wrong

    def _faults(self, request: Request) -> Response:
        if request.method == "POST":
            self.faults.switch_on(_asked(request.body))
        elif request.method == "DELETE":
            self.faults.clear()
        elif request.method != "GET":
            return _text(405, "Faults are asked with GET, switched on with POST, off with DELETE.")
        known = [
            {"name": name, "what": one.what, "seconds": one.seconds} for name, one in NAMED.items()
        ]
        coming = [
            {
                "name": one.fault.name,
                "on": one.on,
                "times": one.times,
                "delay": one.fault.delay or one.fault.sent_items_delay or None,
            }
            for one in self.faults.coming
        ]
        return _json({"known": known, "coming": coming})


def _asked(body: bytes) -> str:
    """The fault that a form asks for, as `--fault` has it."""
    try:
        if len(body) > _BODY:
            raise ValueError("too large")
        value = json.loads(body)["fault"]
    except (ValueError, RecursionError, KeyError, TypeError):
        value = None
    if not isinstance(value, str):
        raise UsageError('the request is no JSON like {"fault": "slow=2:3"}')
    return value


@cache
def _read(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()


def _smime(raw: bytes) -> str:
    """What a message says that it is, which nobody has checked: by its class, and what that leaves
    open by its smime-type.
    """
    top = part_of(raw, *header_fields(raw))
    if message_class(top) == "IPM.Note.SMIME.MultipartSigned":
        return "signed"
    if message_class(top) != "IPM.Note.SMIME":
        return ""
    return _OPAQUE.get(top.parameters.get("smime-type", "").lower(), "S/MIME")


_OPAQUE = {
    "signed-data": "signed",
    "enveloped-data": "encrypted",
    "authenveloped-data": "encrypted",
    "compressed-data": "compressed",
}


def _row(item: Item, raw: bytes) -> dict[str, Any]:
    summary = item.summary
    return {
        "id": item.immutable_id,
        "subject": summary.subject,
        "from": [_person(one) for one in summary.authors or summary.sender],
        "to": [_person(one) for one in summary.to],
        "time": timestamp(item.received),
        "size": item.size,
        "draft": item.is_draft,
        "read": item.is_read,
        "attachments": summary.has_attachments,
        "smime": _smime(raw),
    }


def _people(summary: Summary) -> dict[str, Any]:
    """Everybody whom a message names."""
    groups = {
        "from": summary.authors or summary.sender,
        "to": summary.to,
        "cc": summary.cc,
        "bcc": summary.bcc,
    }
    return {name: [_person(one) for one in people] for name, people in groups.items()}


def _content(item: Item, raw: bytes) -> dict[str, Any]:
    try:
        summary = summarise(raw)
    except UnusableMime:
        return {"subject": "", "body": {"type": "text", "text": ""}, "files": []}
    body = {"type": summary.body_type, "text": summary.body}
    shown = {"subject": summary.subject, "body": body, "files": _files(item, raw)}
    return shown | _people(summary)


def _files(item: Item, raw: bytes) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "type": one.type, "size": len(one.content)}
        for one in attachments_of(item, raw)
    ]


def _person(person: Person) -> dict[str, str]:
    return {"name": person.name, "address": person.address}


def _json(value: object) -> Response:
    return _answer(200, "application/json", json.dumps(value).encode())


def _text(status: int, text: str) -> Response:
    return _answer(status, "text/plain; charset=utf-8", text.encode("utf-8", "replace"))


def _answer(status: int, kind: str, body: bytes) -> Response:
    return Response(status, (("Content-Type", kind), *_COMMON), body)
