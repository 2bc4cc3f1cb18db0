"""What a handler is called with, and what every route asks of it: whose mailbox, which item."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..loopback.exchange import Request
from . import resources
from .folders import Folder
from .headers import is_address
from .mime import Summary, text_of
from .records import Account, Item
from .refusal import Refusal
from .store import Store
from .throttle import Throttle


@dataclass(frozen=True, slots=True)
class Rules:
    """How the emulator behaves; see `Emulator` for what each means."""

    profile: Literal["live", "design"]
    me: str | None
    # with the permissions of each, None for all; None: every token is good for everything
    tokens: Mapping[str, frozenset[str] | None] | None = field(repr=False)
    open_mailboxes: bool
    request_limit: int
    message_limit: int
    recipient_limit: int
    page_limit: int
    sent_items_delay: float
    reply_goes_to: Literal["from", "reply-to"]
    reply_headers: Literal["union", "ignore"]
    rewrite_headers: bool
    breaks_auth_enveloped: bool
    clock: Callable[[], float]
    throttle: Throttle | None


_IMMUTABLE = re.compile(r'\bIdType\s*=\s*"?ImmutableId\b', re.I)


@dataclass(slots=True)
class Call:
    store: Store
    rules: Rules
    request: Request
    headers: Mapping[str, str]
    query: Mapping[str, str]
    version: str
    now: float
    sent_items_delay: float
    principal: str | None = None  # None is /me
    folder: str | None = None
    item_id: str | None = None
    attachment_id: str | None = None  # or that of an upload session
    action: str = ""
    basic: bool = False  # by Mail.ReadBasic, which is for no content and no search
    applied: list[str] = field(default_factory=list)  # the preferences that were followed

    def preference(self, name: str) -> str | None:
        """The value of a preference (RFC 7240) that the client gave, without its quotes."""
        pattern = rf'(?:\A|[,;\s]){re.escape(name)}\s*=\s*(?:"([^"]*)"|([^\s,;"]+))'
        found = re.search(pattern, self.headers.get("prefer", "")[:2000], re.I)
        return None if found is None else found[1] or found[2] or ""

    @property
    def immutable(self) -> bool:
        return _IMMUTABLE.search(self.headers.get("prefer", "")) is not None

    @property
    def design(self) -> bool:
        return self.rules.profile == "design"


# Whose mailbox, which item


def account_for(call: Call, summary: Summary | None = None) -> Account:
    """Whose mailbox this is about. /me without a setting is the submitted message's From, else
    the owner of the item that the path names, else the oldest mailbox.
    """
    store = call.store
    name = call.rules.me if call.principal is None else call.principal
    if name is not None:
        return _account_named(call, name)
    if call.item_id is not None:
        item = store.find(call.item_id)
        if item is not None:
            return store.account_of(item)
    if summary is not None and summary.authors:
        author = summary.authors[0].address
        account = store.account_by_address(author)
        if account is None and call.rules.open_mailboxes:
            account = store.add_account(author)
        if account is not None:
            return account
    account = store.first_account()
    if account is None:
        raise _no_user("me")
    return account


def _account_named(call: Call, name: str) -> Account:
    account = call.store.account(name)
    if account is None and call.rules.open_mailboxes and is_address(name):
        account = call.store.add_account(name)
    if account is None:
        raise _no_user(name)
    return account


def _no_user(name: str) -> Refusal:
    # General knowledge.
    return Refusal(404, "ErrorInvalidUser", f"The requested user '{name[:100]}' is invalid.")


def folder_for(call: Call, account: Account) -> str | None:
    """The key of the folder that the path names, if it names one."""
    return None if call.folder is None else folder_named(call, account, call.folder).key


def folder_named(call: Call, account: Account, name: str) -> Folder:
    folder = call.store.folders.find(account.number, account.guid, name)
    if folder is None:
        raise not_found()
    return folder


def not_found() -> Refusal:
    return Refusal(404, "ErrorItemNotFound", "The specified object was not found in the store.")


def item_for(call: Call, account: Account) -> Item:
    item_id = call.item_id or ""
    if not re.fullmatch(r"[A-Za-z0-9_=+/-]{1,512}", item_id):
        raise Refusal(400, "ErrorInvalidIdMalformed", "Id is malformed.")
    item = call.store.find(item_id)
    folder = folder_for(call, account)
    if item is None or item.mailbox != account.number or folder not in (None, item.folder):
        raise not_found()
    if item.leaves_at and call.request.method != "GET":
        raise not_found()  # what is being sent can be seen, and no more be changed or sent
    return item


def access_denied() -> Refusal:
    """The refusal of what a token is not good for; the text is GD#13865's."""
    return Refusal(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")


def check_unchanged(call: Call, item: Item) -> None:
    """If-Match: what is there has to be what the client has seen."""
    wanted = call.headers.get("if-match", "").strip()
    if wanted in ("", "*") or wanted.removeprefix("W/").strip('"') == item.change_key:
        return
    raise Refusal(  # general knowledge, code and text are those of EWS
        412,
        "ErrorIrresolvableConflict",
        "The send or update operation could not be performed because the change key passed in the "
        "request does not match the current change key for the item.",
    )


def shown(call: Call, account: Account, item: Item) -> dict[str, Any]:
    """A message as this client wants to see it."""
    message = resources.message(account, item, immutable=call.immutable)
    if call.basic:
        del message["body"], message["bodyPreview"]
    if "prefer" not in call.headers:
        return message
    kind = (call.preference("outlook.body-content-type") or "").lower()
    if kind in ("text", "html"):
        applied = f'outlook.body-content-type="{kind}"'
        if applied not in call.applied:
            call.applied.append(applied)
        if kind == "text" and not call.basic and message["body"]["contentType"] == "html":
            message["body"] = {"contentType": "text", "content": text_of(item.summary.body)}
    return message


def entity(call: Call, account: Account, item: Item) -> dict[str, Any]:
    context = f"{context_of(call, account)}/messages/$entity"
    return {"@odata.context": context} | shown(call, account, item)


def context_of(call: Call, account: Account) -> str:
    return f"{call.request.origin}/{call.version}/$metadata#users('{account.guid}')"


def no_resource(segment: str) -> Refusal:
    # General knowledge: the text of the OData library.
    return Refusal(400, "BadRequest", f"Resource not found for the segment '{segment[:100]}'.")
