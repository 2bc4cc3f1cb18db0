"""The emulator as an object: settings, faults, a log, and the ways to reach it."""

from __future__ import annotations

import base64
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from smime_graph.errors import UsageError

from ..loopback.exchange import Exchange, Request, Response
from .context import Rules
from .endpoints import granted_by
from .exchange import http_date
from .faults import Fault, Faults
from .folders import FOLDERS
from .headers import UnusableMime, is_address
from .mime import summarise
from .records import Account, Item, Outbound
from .refusal import Refusal
from .routes import handle, is_good_token, refused
from .store import Store
from .throttle import Throttle
from .web import Examine, Inbox

if TYPE_CHECKING:
    import ssl

    import httpx

    from ..loopback.server import Server

REQUEST_LIMIT = 4 * 1024 * 1024  # of the HTTP body, so after base64 (DC#682, python-o365#472)
MESSAGE_LIMIT = 35 * 1024 * 1024  # a usual setting of a mailbox; 25 to 150 MB are seen
RECIPIENT_LIMIT = 500
PAGE_LIMIT = 1000
LOG_LIMIT = 10_000
FAULT_FIELD = "x-emulator-fault"  # of a request: what is to go wrong with it
_PAGE = b"<!DOCTYPE html><html><body><h1>Something else than Graph answers.</h1></body></html>"
DEFAULT_MAILBOXES = ("alice@contoso.com", "bob@contoso.com", "carol@contoso.com")


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it lies in a mailbox. `to`, `cc` and `bcc` are addresses; `raw` is what is
    stored.
    """

    id: str
    immutable_id: str
    folder: str
    internet_message_id: str
    subject: str
    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    is_draft: bool
    is_read: bool
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A request that was served. No header but these is kept, so no token is.

    `status` is None where the connection was cut; `fault` is the name of the fault that struck.
    """

    method: str
    target: str
    origin: str
    content_type: str
    prefer: str
    body_size: int
    status: int | None
    request_id: str | None
    client_request_id: str | None
    fault: str | None


class Mailbox:
    """One mailbox seen from behind Graph, for tests and the web inbox: no method is a request."""

    def __init__(self, store: Store, account: Account, clock: Callable[[], float]) -> None:
        self._store = store
        self._account = account
        self._clock = clock

    @property
    def address(self) -> str:
        return self._account.address

    def messages(self, folder: str | None = "inbox") -> tuple[Message, ...]:
        """The messages of a folder by its well-known name, oldest first; None: of all folders."""
        if folder is not None:
            folder = _well_known(folder)
        with self._store.transaction(write=False):
            items = self._store.list(self._account, folder=folder, oldest_first=True)
            return tuple(self._message(item) for item in items)

    def put(self, raw: bytes, *, folder: str = "inbox", item_id: str | None = None) -> Message:
        """Plant a message, as if it had been there; `item_id` gives it a certain id.

        Raises `UsageError` if the bytes have no header, or the id is taken.
        """
        folder = _well_known(folder)
        try:
            summary = summarise(raw)
        except UnusableMime as error:
            raise UsageError(f"the message cannot be planted: {error}") from None
        now = self._clock()
        with self._store.transaction(write=True):
            if item_id is not None and self._store.find(item_id):
                raise UsageError(f"message id {item_id}: is taken")
            item = self._store.insert(
                self._account,
                folder=folder,
                content=self._store.keep(raw, summary),
                now=now,
                is_draft=folder == "drafts",
                is_read=folder != "inbox",
                item_id=item_id,
            )
            return self._message(item)

    def allow_sending_as(self, address: str, *, on_behalf: bool = False) -> None:
        """Let this mailbox send mail whose From is `address`: as that sender, or on behalf of it,
        which Sender then tells.
        """
        if not is_address(address):
            raise UsageError(f"address {address!r}: is no address like bob@contoso.com")
        with self._store.transaction(write=True):
            self._store.add_sender(self._account, address, on_behalf=on_behalf)

    def put_contact(
        self,
        name: str,
        *emails: str,
        extended: Mapping[str, Sequence[bytes]] | None = None,
    ) -> str:
        """Plant a contact, and say its id. `extended` are its extended properties of many binary
        values, by their ids ("BinaryArray 0x3A70").
        """
        shown: dict[str, Any] = {
            "displayName": name,
            "emailAddresses": [{"name": name, "address": one} for one in emails],
            "multiValueExtendedProperties": [
                {"id": one, "value": [base64.b64encode(value).decode() for value in values]}
                for one, values in (extended or {}).items()
            ],
        }
        with self._store.transaction(write=True):
            return self._store.add_contact(self._account, shown)

    def _message(self, item: Item) -> Message:
        summary = item.summary
        people = summary.authors or summary.sender
        return Message(
            id=item.id,
            immutable_id=item.immutable_id,
            folder=item.folder,
            internet_message_id=summary.message_id,
            subject=summary.subject,
            sender=people[0].address if people else "",
            to=tuple(p.address for p in summary.to),
            cc=tuple(p.address for p in summary.cc),
            bcc=tuple(p.address for p in summary.bcc),
            is_draft=item.is_draft,
            is_read=item.is_read,
            raw=self._store.raw(item),
        )


class Emulator:
    """A Microsoft Graph for mail that lives in this process.

    `profile`: "live" behaves like Graph v1.0, "design" like the document the project came
    from. `data`: a file for the mailboxes; two processes may share it. `mailboxes`: addresses
    that exist. None: those in `data`, or three at contoso.com. `open_mailboxes`: any address
    becomes a mailbox on first use; none is made beforehand. `me`: whose mailbox /me is. None:
    the From of the submitted message, else the owner of the item in the path, else the oldest
    mailbox. `token`: the bearer token, or tokens, that are good, or the permissions of each
    ("Mail.Send"); None: any that is not empty.
    `request_limit`: bytes of an HTTP body. `message_limit`: bytes of a message once decoded.
    `sent_items_delay`: seconds for which what was sent is a draft still, before it is in Sent
    Items; Graph gives no guarantee.
    `reply_goes_to`: where a reply in MIME goes, the original's "from" or its "reply-to"; of
    the MIME form the documentation says only "the sender of the original message".
    `reply_headers`: whether To, Cc and Bcc in a reply's MIME count: "union" or "ignore".
    `rewrite_headers`: lose header fields on delivery as users of Graph have reported it.
    `auth_enveloped`: whether authEnveloped-data arrives as it was sent, or as an attachment
    ("broken"), as users have reported as well.
    `throttles`: refuse (429) more than four requests at once, 10,000 in ten minutes or 150 MB in
    five, of one token to one mailbox.
    `examine`: what `serve` shows of a message beside what Graph shows: its S/MIME, of which nothing
    is known here. `clock`: Unix seconds.

    Any thread may use it. Close it when done. Raises `UsageError` for settings that make no
    sense.
    """

    def __init__(
        self,
        *,
        profile: Literal["live", "design"] = "live",
        data: str | Path = ":memory:",
        mailboxes: Sequence[str] | None = None,
        open_mailboxes: bool = False,
        me: str | None = None,
        token: str | Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        request_limit: int = REQUEST_LIMIT,
        message_limit: int = MESSAGE_LIMIT,
        sent_items_delay: float = 0.0,
        reply_goes_to: Literal["from", "reply-to"] = "from",
        reply_headers: Literal["union", "ignore"] = "union",
        rewrite_headers: bool = False,
        auth_enveloped: Literal["kept", "broken"] = "kept",
        throttles: bool = False,
        examine: Examine | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        for name, value, known in (
            ("profile", profile, ("live", "design")),
            ("reply_goes_to", reply_goes_to, ("from", "reply-to")),
            ("reply_headers", reply_headers, ("union", "ignore")),
            ("auth_enveloped", auth_enveloped, ("kept", "broken")),
        ):
            if value not in known:
                raise UsageError(f"{name} {value!r}: one of {', '.join(known)} was wanted")
        if isinstance(mailboxes, str):
            raise UsageError("mailboxes is a list, not str", hint="write mailboxes=[...]")
        tokens = None if token is None else granted_by(token)
        self._rules = Rules(
            profile=profile,
            me=me,
            tokens=tokens,
            open_mailboxes=open_mailboxes,
            request_limit=request_limit,
            message_limit=message_limit,
            recipient_limit=RECIPIENT_LIMIT,
            page_limit=PAGE_LIMIT,
            sent_items_delay=sent_items_delay,
            reply_goes_to=reply_goes_to,
            reply_headers=reply_headers,
            rewrite_headers=rewrite_headers,
            breaks_auth_enveloped=auth_enveloped == "broken",
            clock=clock,
            throttle=Throttle(clock) if throttles else None,
        )
        self._store = Store(data, clock=clock)
        self._examine = examine
        self._log: deque[LogEntry] = deque(maxlen=LOG_LIMIT)
        self._log_lock = threading.Lock()
        self.faults = Faults()
        try:
            self._make_mailboxes(mailboxes, me)
        except BaseException:
            self._store.close()
            raise

    def _make_mailboxes(self, mailboxes: Sequence[str] | None, me: str | None) -> None:
        with self._store.transaction(write=True):
            wanted = list(mailboxes or ())
            if mailboxes is None and not self._rules.open_mailboxes and me is None:
                wanted = list(() if self._store.first_account() else DEFAULT_MAILBOXES)
            for address in ([me] if me else []) + wanted:
                if not is_address(address):
                    raise UsageError(f"mailbox {address!r}: is no address like alice@contoso.com")
                self._store.add_account(address)

    def __repr__(self) -> str:
        return f"Emulator(profile={self._rules.profile!r})"

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. What comes afterwards raises `UsageError`."""
        self._store.close()

    @property
    def request_limit(self) -> int:
        return self._rules.request_limit

    # Requests

    def handle(self, request: Request) -> Response:
        """Answer a request: no fault strikes, nothing is logged."""
        return handle(self._store, self._rules, request)

    def exchange(self, request: Request) -> Exchange:
        """Answer a request as the script of faults or its field `x-emulator-fault` has it, and log
        it. The caller does the waiting.
        """
        response: Response | None = None
        try:
            fault = self._fault(request)
        except UsageError as error:
            response = self._refuse(400, f"{FAULT_FIELD}: {error}")
            self._note(request, response, None)
            return Exchange(response)
        if fault is None or fault.carried_out:
            rules = self._rules
            if fault is not None and fault.breaks_auth_enveloped:
                rules = replace(rules, breaks_auth_enveloped=True)
            late = fault.sent_items_delay if fault else None
            response = handle(self._store, rules, request, sent_items_delay=late)
        if fault is not None and fault.cut:
            response = None
        elif fault is not None and fault.status is not None:
            response = self._faulty(fault)
        self._note(request, response, fault)
        if fault is None:
            return Exchange(response)
        return Exchange(response, delay=fault.delay, refused=fault.refused)

    def _fault(self, request: Request) -> Fault | None:
        """The one that the request asks for itself, else the next one of the script."""
        fields = {name.lower(): value for name, value in request.headers}
        asked = fields.get(FAULT_FIELD)
        if asked is not None and is_good_token(self._rules, fields.get("authorization", "")):
            return Fault.named(asked.strip())
        path = re.sub(r"\A/(v1\.0|beta)(?=/)", "", request.target.partition("?")[0])
        too_large = len(request.body) > self._rules.request_limit
        return self.faults.take(request.method, path, oversized=too_large)

    def _faulty(self, fault: Fault) -> Response:
        status = fault.status or 500
        now = self._rules.clock()
        date = ("Date", http_date(now))
        if fault.page:
            kind = ("Content-Type", "text/html; charset=utf-8")
            return Response(status, (kind, *fault.headers, date), _PAGE)
        if status < 400:
            return Response(status, (*fault.headers, date))
        request_id = str(uuid.uuid4())
        answer = refused(
            Refusal(status, fault.code, fault.message, headers=fault.headers),
            now=now,
            request_id=request_id,
            client_request_id=request_id,
        )
        identity = (("request-id", request_id), ("client-request-id", request_id), date)
        return Response(status, (*answer.headers, *identity), answer.body)

    def _note(self, request: Request, response: Response | None, fault: Fault | None) -> None:
        headers = {name.lower(): value for name, value in request.headers}
        entry = LogEntry(
            method=request.method[:20],
            # Upload and other prepared URLs carry a token in their query.
            target=re.sub(r"(?i)([?&][^=&]*token[^=&]*=)[^&]*", r"\1...", request.target[:4096]),
            origin=request.origin,
            content_type=headers.get("content-type", "")[:200],
            prefer=headers.get("prefer", "")[:200],
            body_size=len(request.body),
            status=response.status if response else None,
            request_id=response.header("request-id") if response else None,
            client_request_id=response.header("client-request-id") if response else None,
            fault=fault.name if fault else None,
        )
        with self._log_lock:
            self._log.append(entry)

    @property
    def log(self) -> tuple[LogEntry, ...]:
        """The last requests served (at most 10,000), oldest first."""
        with self._log_lock:
            return tuple(self._log)

    # What is behind the requests

    def mailbox(self, address: str) -> Mailbox:
        """A mailbox by its address, made with `open_mailboxes`; `UsageError` if there is none."""
        makes = self._rules.open_mailboxes and is_address(address)
        with self._store.transaction(write=makes):
            account = self._store.account(address)
            if account is None and makes:
                account = self._store.add_account(address)
        if account is None:
            raise UsageError(
                f"mailbox {address!r}: there is none in the emulator",
                hint="name it in mailboxes=, or use open_mailboxes=True",
            )
        return Mailbox(self._store, account, self._rules.clock)

    @property
    def outbound(self) -> tuple[Outbound, ...]:
        """What was accepted for addresses of other domains, in order: one entry for each
        recipient.
        """
        with self._store.transaction(write=False):
            return self._store.outbound()

    # Ways in

    def transport(self) -> httpx.BaseTransport:
        """A transport for `httpx.Client`: requests to any host end here. Closing it closes
        nothing.
        """
        from .transport import Transport

        return Transport(self.exchange)

    def async_transport(self) -> httpx.AsyncBaseTransport:
        """A transport for `httpx.AsyncClient`; a slow fault does not block the loop."""
        from .transport import AsyncTransport

        return AsyncTransport(self.exchange)

    def serve(
        self, port: int = 0, *, tls: ssl.SSLContext | None = None, public_url: str | None = None
    ) -> Server:
        """Serve on 127.0.0.1, with the web inbox at /; port 0 takes a free one. The answer has
        `.url` and `.close()`.

        `public_url` is what links in answers begin with, where a front stands before it. Raises
        `UsageError` if the port is taken.
        """
        from ..loopback.server import Server

        inbox = Inbox(
            self._store,
            self.faults,
            lambda authorization: is_good_token(self._rules, authorization),
            lambda: self.log,
            self._examine,
        )

        def exchange(request: Request) -> Exchange:
            page = inbox.answer(request)
            return self.exchange(request) if page is None else Exchange(page)

        return Server(
            exchange,
            port=port,
            request_limit=self.request_limit,
            refuse=self._refuse,
            tls=tls,
            public_url=public_url,
        )

    def _refuse(self, status: int, text: str) -> Response:
        """The answer to what is no request for a Graph."""
        code = {403: "ErrorAccessDenied", 500: "InternalServerError"}.get(status, "BadRequest")
        refusal = Refusal(status, code, text)
        return refused(refusal, now=self._rules.clock(), request_id="", client_request_id="")


def _well_known(folder: str) -> str:
    if folder.lower() not in FOLDERS:
        raise UsageError(f"folder {folder!r}: one of {', '.join(FOLDERS)} was wanted")
    return folder.lower()
