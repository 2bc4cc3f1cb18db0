"""The JSON that Graph shows: messages, folders, errors."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from .folders import Folder, folder_id
from .headers import Person
from .records import Account, Item

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(seconds: float) -> str:
    """An Edm.DateTimeOffset with whole seconds, as in the samples."""
    try:
        when = _EPOCH + timedelta(seconds=int(seconds))
    except OverflowError:  # a Date field in the year 9999 with a time zone
        when = _EPOCH
    return when.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def error(
    code: str, message: str, *, when: float, request_id: str, client_request_id: str
) -> dict[str, Any]:
    return {
        "error": {
            "code": code,
            "message": message,
            "innerError": {
                "date": timestamp(when).rstrip("Z"),
                "request-id": request_id,
                "client-request-id": client_request_id,
            },
        }
    }


def folder(
    account: Account, folder: Folder, *, children: int, total: int, unread: int, size: int
) -> dict[str, Any]:
    return {
        "id": folder_id(account.guid, folder.key),
        "displayName": folder.name,
        "parentFolderId": folder_id(account.guid, folder.parent),
        "childFolderCount": children,
        "unreadItemCount": unread,
        "totalItemCount": total,
        "sizeInBytes": size,
        "isHidden": False,
    }


def message(account: Account, item: Item, *, immutable: bool) -> dict[str, Any]:
    """A message as Graph shows it, without `@odata.context`; `immutable` chooses which id."""
    summary = item.summary
    author = [_recipient(p) for p in (summary.authors or ())[:1]]
    sender = [_recipient(p) for p in summary.sender[:1]] or author
    thread = hashlib.sha256((summary.thread or summary.message_id).encode()).digest()
    return {
        "@odata.etag": f'W/"{item.change_key}"',
        "id": item.immutable_id if immutable else item.id,
        "createdDateTime": timestamp(item.created),
        "lastModifiedDateTime": timestamp(item.modified),
        "changeKey": item.change_key,
        "categories": [],
        "receivedDateTime": timestamp(item.received),
        "sentDateTime": timestamp(item.sent),
        "hasAttachments": summary.has_attachments,
        "internetMessageId": summary.message_id,
        "subject": summary.subject,
        "bodyPreview": summary.preview,
        "importance": summary.importance,
        "parentFolderId": folder_id(account.guid, item.folder),
        "conversationId": "AAQkAD" + base64.urlsafe_b64encode(thread[:31]).decode(),
        "isDeliveryReceiptRequested": None,
        "isReadReceiptRequested": summary.wants_read_receipt,
        "isRead": item.is_read,
        "isDraft": item.is_draft,
        "inferenceClassification": "focused",
        "body": {"contentType": summary.body_type, "content": summary.body},
        "sender": sender[0] if sender else None,
        "from": author[0] if author else None,
        "toRecipients": [_recipient(p) for p in summary.to],
        "ccRecipients": [_recipient(p) for p in summary.cc],
        "bccRecipients": [_recipient(p) for p in summary.bcc],
        "replyTo": [_recipient(p) for p in summary.reply_to],
        "flag": {"flagStatus": "notFlagged"},
        **{name: v for name, v in item.marks.items() if not name.endswith("ExtendedProperties")},
    }


def _recipient(person: Person) -> dict[str, Any]:
    return {"emailAddress": {"name": person.name or person.address, "address": person.address}}
