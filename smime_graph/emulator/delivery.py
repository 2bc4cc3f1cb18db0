"""What happens to a message that was accepted: checks, the sender's copy, and everybody else's."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from email.utils import formatdate
from typing import Any, Protocol

from .headers import Person, add_fields, field_names, header_fields, remove_fields
from .mime import Summary, summarise
from .mime_writer import write_non_delivery
from .records import Account, Content, Item
from .refusal import Refusal
from .store import Store


class DeliveryRules(Protocol):
    """The part of the emulator's settings that delivery looks at."""

    @property
    def open_mailboxes(self) -> bool: ...
    @property
    def message_limit(self) -> int: ...
    @property
    def recipient_limit(self) -> int: ...
    @property
    def rewrite_headers(self) -> bool: ...
    @property
    def breaks_auth_enveloped(self) -> bool: ...


_BCC = frozenset({"bcc", "resent-bcc"})

# What is neither in here nor begins with x-, content-, list-, resent- or thread- is not delivered
# when headers are rewritten (reports DC#1093 = GD#21904; Auto-Submitted and Return-Path:
# dotnet#2209).
_DELIVERED = frozenset(
    [
        "from",
        "sender",
        "reply-to",
        "to",
        "cc",
        "message-id",
        "in-reply-to",
        "references",
        "subject",
        "comments",
        "keywords",
        "date",
        "mime-version",
        "importance",
        "priority",
        "sensitivity",
        "received",
        "dkim-signature",
        "authentication-results",
        "accept-language",
        "disposition-notification-to",
    ]
)
_DELIVERED_PREFIXES = ("content-", "list-", "resent-", "thread-")


def unique(*groups: Iterable[Person]) -> tuple[tuple[Person, ...], ...]:
    """The groups without the people that stand in an earlier place already."""
    seen: set[str] = set()
    result = []
    for group in groups:
        kept = []
        for person in group:
            if person.key not in seen:
                seen.add(person.key)
                kept.append(person)
        result.append(tuple(kept))
    return tuple(result)


def add_message_id(raw: bytes, summary: Summary, account: Account) -> tuple[bytes, Summary]:
    """Give a message a Message-ID if it has none; otherwise nothing changes."""
    if summary.message_id:
        return raw, summary
    message_id = f"<{uuid.uuid4()}@{account.address.rpartition('@')[2]}>"
    return add_fields(raw, [("Message-ID", message_id)]), replace(summary, message_id=message_id)


def submit(
    store: Store,
    rules: DeliveryRules,
    account: Account,
    *,
    raw: bytes,
    summary: Summary,
    now: float,
    sent_items_delay: float,
    save: bool = True,
    draft: Item | None = None,
    marks: Mapping[str, Any] | None = None,
    is_summary_of_raw: bool = False,
) -> None:
    """Send: all checks first, then every copy. Runs inside the caller's transaction.

    `summary`'s to, cc and bcc are the recipients, whatever the header of `raw` says;
    `is_summary_of_raw`: it is just what `summarise(raw)` gives. `draft` is the item that becomes
    the copy in Sent Items; a new copy is given `marks`. Raises `Refusal`.
    """
    on_behalf = _check_author(store, account, summary)
    recipients = [
        person for group in unique(summary.to, summary.cc, summary.bcc) for person in group
    ]
    if not recipients:
        raise Refusal(
            400,
            "ErrorInvalidRecipients",
            "At least one recipient is not valid., A message can't be sent because it contains "
            "no recipients.",
        )
    if len(recipients) > rules.recipient_limit:  # neither code nor text is documented for this
        raise Refusal(400, "ErrorInvalidRecipients", "The message has too many recipients.")
    if len(raw) > rules.message_limit:  # the status is not visible in any report of this code
        raise Refusal(
            400, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size."
        )

    given = raw
    raw, summary = add_message_id(raw, summary, account)
    if on_behalf:  # the service says who it was ("Send Outlook messages from another user")
        raw = add_fields(remove_fields(raw, {"sender"}), [("Sender", account.address)])
        summary = replace(summary, sender=(Person("", account.address),))
    names = field_names(raw)
    raw, summary = _add_date_and_from(raw, summary, account, now, names=names)
    if rules.breaks_auth_enveloped and (broken := _without_auth_enveloped(raw)) != raw:
        raw, people = broken, (summary.to, summary.cc, summary.bcc)
        summary = replace(summarise(raw), to=people[0], cc=people[1], bcc=people[2])
    public = remove_fields(raw, _BCC) if _BCC & names else raw
    leaves_at = now + sent_items_delay if sent_items_delay > 0 else 0.0
    content: Content | None = None
    if draft is not None:
        draft = store.replace(draft, content=store.keep(raw, summary), now=now)
        if not save:
            store.delete(draft)
        elif leaves_at:
            store.send_later(draft, leaves_at)
        else:
            store.move(draft, "sentitems", now=now)
    elif save:  # which is a draft at first, too ("Things to know about sending mail")
        content = store.keep(raw, summary)
        store.insert(
            account,
            folder="drafts" if leaves_at else "sentitems",
            content=content,
            now=now,
            is_draft=leaves_at > 0,
            is_read=True,
            leaves_at=leaves_at,
            marks=marks,
        )
    if content is None or public is not given or not is_summary_of_raw:
        content = store.keep(public, summarise(public))
    _deliver(store, rules, account, recipients, raw=public, content=content, now=now)


def _check_author(store: Store, account: Account, summary: Summary) -> bool:
    """Whether a message is sent on behalf of another; raises `Refusal` if it may not be sent."""
    authors = {person.key for person in summary.authors or ()}
    if summary.authors is None or authors == {account.key}:
        return False
    right = store.sender(account, authors.pop()) if len(authors) == 1 else None
    if right is None:
        raise Refusal(
            403,
            "ErrorSendAsDenied",
            "The user account which was used to submit this request does not have the right to "
            "send mail on behalf of the specified sending account. Cannot submit message.",
        )
    return right == "on behalf"


def _add_date_and_from(
    raw: bytes, summary: Summary, account: Account, now: float, *, names: Collection[str]
) -> tuple[bytes, Summary]:
    """Add the fields that RFC 5322 3.6 demands of every message, where they are missing."""
    missing = []
    if "from" not in names:
        missing.append(("From", account.address))
        summary = replace(summary, authors=(Person("", account.address),))
    if "date" not in names:
        missing.append(("Date", formatdate(now)))
        summary = replace(summary, date=float(int(now)))
    return (add_fields(raw, missing) if missing else raw), summary


def _without_auth_enveloped(raw: bytes) -> bytes:
    """A message of authEnveloped-data with that as an attachment instead.

    What becomes of it is not known in detail (java#2544); [MS-OXOSMIME] knows no such type, and
    what Exchange does not know it attaches.
    """
    fields, start = header_fields(raw)
    inner = [field for field in fields if field.name.startswith("content-")]
    kind = next((field.value.lower() for field in inner if field.name == "content-type"), "")
    if "pkcs7-mime" not in kind or "authenveloped-data" not in kind or start == len(raw):
        return raw
    boundary = f"_000_{uuid.uuid4().hex}_"
    outer = add_fields(
        remove_fields(raw, {field.name for field in inner}),
        [("Content-Type", f'multipart/mixed; boundary="{boundary}"')],
    )
    lines = [
        outer[: header_fields(outer)[1]],
        f"--{boundary}\r\nContent-Type: text/plain\r\n\r\n\r\n--{boundary}\r\n".encode(),
        *(raw[field.start : field.end] for field in inner),
        b"\r\n",
        raw[start:],
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    return b"".join(lines)


def _deliver(
    store: Store,
    rules: DeliveryRules,
    sender: Account,
    recipients: Sequence[Person],
    *,
    raw: bytes,
    content: Content,
    now: float,
) -> None:
    unknown: list[str] = []
    taken = False  # of the bytes as they are
    for person in recipients:
        account = store.account_by_address(person.address)
        if account is None and rules.open_mailboxes:
            account = store.add_account(person.address)
        if account is not None:
            copy = content
            if rules.rewrite_headers:
                rewritten = _drop_fields(store, account, raw)
                copy = store.keep(rewritten, summarise(rewritten))
            store.insert(account, folder="inbox", content=copy, now=now)
            taken = taken or copy is content
        elif store.is_own_domain(person.address):
            unknown.append(person.address)
        else:
            store.add_outbound(sender=sender.address, recipient=person.address, content=content)
            taken = True
    if not taken:
        store.release(content)
    if unknown:
        report = write_non_delivery(
            postmaster=f"postmaster@{sender.address.rpartition('@')[2]}",
            sender=sender.address,
            recipients=unknown,
            subject=content.summary.subject,
            now=now,
        )
        returned = store.keep(report, summarise(report))
        store.insert(sender, folder="inbox", content=returned, now=now)


def _drop_fields(store: Store, account: Account, raw: bytes) -> bytes:
    """What the transport does to header fields, as far as it has been reported.

    An x- field is lost the first time a mailbox meets its name, since only then the name
    becomes a property (Exchange, "How to provision x-headers by using EWS"; reports GD#17444 =
    DC#424).
    """
    dropped = set()
    for name in field_names(raw):
        if name.startswith("x-"):
            if not store.learn_header(account, name):
                dropped.add(name)
        elif name not in _DELIVERED and not name.startswith(_DELIVERED_PREFIXES):
            dropped.add(name)
    return remove_fields(raw, dropped)
