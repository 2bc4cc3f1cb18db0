"""The JSON and XML that Graph shows: messages, folders, errors, the service's metadata."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.sax.saxutils import quoteattr

from .mailbox import FOLDERS, Account, Item
from .mime import Person

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Refusal(Exception):
    """An error answer: HTTP status, Graph's code and message, further header fields."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


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


def folder_id(account: Account, name: str) -> str:
    digest = hashlib.sha256(f"{account.guid}/{name}".encode()).digest()
    return "AQMkAD" + base64.urlsafe_b64encode(digest[:31]).decode()


def folder_named(account: Account, text: str) -> str | None:
    """The well-known name for a folder's id or its name in any case; None if there is no such
    folder.
    """
    if text.lower() in FOLDERS:
        return text.lower()
    return next((name for name in FOLDERS if folder_id(account, name) == text), None)


def folder(account: Account, name: str, *, total: int, unread: int, size: int) -> dict[str, Any]:
    return {
        "id": folder_id(account, name),
        "displayName": FOLDERS[name],
        "parentFolderId": folder_id(account, "msgfolderroot"),
        "childFolderCount": 0,
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
        "parentFolderId": folder_id(account, item.folder),
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
    }


def _recipient(person: Person) -> dict[str, Any]:
    return {"emailAddress": {"name": person.name or person.address, "address": person.address}}


# The metadata document. The actions differ between the profiles in one parameter, MimeContent.

_ACTIONS: tuple[tuple[str, str, Sequence[str], bool], ...] = (
    ("sendMail", "graph.user", ("Message!", "MimeContent", "SaveToSentItems"), False),
    ("reply", "graph.message", ("Message", "Comment", "MimeContent"), False),
    ("replyAll", "graph.message", ("Message", "Comment", "MimeContent"), False),
    ("forward", "graph.message", ("ToRecipients", "Message", "Comment", "MimeContent"), False),
    ("createReply", "graph.message", ("Message", "Comment", "MimeContent"), True),
    ("createReplyAll", "graph.message", ("Message", "Comment", "MimeContent"), True),
    ("createForward", "graph.message", ("ToRecipients", "Message", "Comment", "MimeContent"), True),
)
_PARAMETERS = {
    "Message": 'Type="graph.message"',
    "Message!": 'Type="graph.message" Nullable="false"',
    "MimeContent": 'Type="Edm.String"',
    "SaveToSentItems": 'Type="Edm.Boolean"',
    "Comment": 'Type="Edm.String" Unicode="false"',
    "ToRecipients": 'Type="Collection(graph.recipient)"',
}
_COMPLEX = {
    "emailAddress": {"name": "Edm.String", "address": "Edm.String"},
    "recipient": {"emailAddress": "graph.emailAddress"},
    "itemBody": {"contentType": "Edm.String", "content": "Edm.String"},
    "followupFlag": {"flagStatus": "Edm.String"},
}
_OUTLOOK_ITEM = {
    "createdDateTime": "Edm.DateTimeOffset",
    "lastModifiedDateTime": "Edm.DateTimeOffset",
    "changeKey": "Edm.String",
    "categories": "Collection(Edm.String)",
}
_MESSAGE = {
    "receivedDateTime": "Edm.DateTimeOffset",
    "sentDateTime": "Edm.DateTimeOffset",
    "hasAttachments": "Edm.Boolean",
    "internetMessageId": "Edm.String",
    "subject": "Edm.String",
    "bodyPreview": "Edm.String",
    "importance": "Edm.String",
    "parentFolderId": "Edm.String",
    "conversationId": "Edm.String",
    "isDeliveryReceiptRequested": "Edm.Boolean",
    "isReadReceiptRequested": "Edm.Boolean",
    "isRead": "Edm.Boolean",
    "isDraft": "Edm.Boolean",
    "inferenceClassification": "Edm.String",
    "body": "graph.itemBody",
    "sender": "graph.recipient",
    "from": "graph.recipient",
    "toRecipients": "Collection(graph.recipient)",
    "ccRecipients": "Collection(graph.recipient)",
    "bccRecipients": "Collection(graph.recipient)",
    "replyTo": "Collection(graph.recipient)",
    "flag": "graph.followupFlag",
}
_MAIL_FOLDER = {
    "displayName": "Edm.String",
    "parentFolderId": "Edm.String",
    "childFolderCount": "Edm.Int32",
    "unreadItemCount": "Edm.Int32",
    "totalItemCount": "Edm.Int32",
    "sizeInBytes": "Edm.Int64",
    "isHidden": "Edm.Boolean",
}
MESSAGE_PROPERTIES = {name.lower(): name for name in ("id", *_OUTLOOK_ITEM, *_MESSAGE)}
FOLDER_PROPERTIES = {name.lower(): name for name in ("id", *_MAIL_FOLDER)}

_KEY = ("<Key>", '<PropertyRef Name="id"/>', "</Key>")


def metadata(*, mime_content: bool) -> bytes:
    """The CSDL of what is served; `mime_content` adds the design document's parameter."""
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">',
        "<edmx:DataServices>",
        '<Schema Namespace="microsoft.graph" Alias="graph" xmlns="http://docs.oasis-open.org/odata/ns/edm">',
        '<EntityType Name="entity" Abstract="true">',
        *_KEY,
        *_properties({"id": "Edm.String"}),
        "</EntityType>",
        '<EntityType Name="outlookItem" BaseType="graph.entity" Abstract="true">',
        *_properties(_OUTLOOK_ITEM),
        "</EntityType>",
        '<EntityType Name="message" BaseType="graph.outlookItem" OpenType="true" HasStream="true">',
        *_properties(_MESSAGE),
        "</EntityType>",
        '<EntityType Name="mailFolder" BaseType="graph.entity">',
        *_properties(_MAIL_FOLDER),
        _contained("messages", "message"),
        "</EntityType>",
        '<EntityType Name="user" BaseType="graph.entity">',
        _contained("messages", "message"),
        _contained("mailFolders", "mailFolder"),
        "</EntityType>",
    ]
    for name, properties in _COMPLEX.items():
        lines += [f'<ComplexType Name="{name}">', *_properties(properties), "</ComplexType>"]
    for name, bound_to, parameters, returns in _ACTIONS:
        path = ' EntitySetPath="bindingParameter"' if returns else ""
        lines.append(f'<Action Name="{name}" IsBound="true"{path}>')
        lines.append(f'<Parameter Name="bindingParameter" Type="{bound_to}"/>')
        for parameter in parameters:
            if parameter != "MimeContent" or mime_content:
                label = parameter.rstrip("!")
                lines.append(f'<Parameter Name="{label}" {_PARAMETERS[parameter]}/>')
        if returns:
            lines.append('<ReturnType Type="graph.message"/>')
        lines.append("</Action>")
    lines += [
        '<Action Name="send" IsBound="true">',
        '<Parameter Name="bindingParameter" Type="graph.message"/>',
        "</Action>",
        '<EntityContainer Name="GraphService">',
        '<EntitySet Name="users" EntityType="graph.user"/>',
        '<Singleton Name="me" Type="graph.user"/>',
        "</EntityContainer>",
        "</Schema>",
        "</edmx:DataServices>",
        "</edmx:Edmx>",
    ]
    return "\n".join(lines).encode()


def _contained(name: str, kind: str) -> str:
    collection = f'Type="Collection(graph.{kind})"'
    return f'<NavigationProperty Name="{name}" {collection} ContainsTarget="true"/>'


def _properties(properties: dict[str, str]) -> list[str]:
    return [
        f"<Property Name={quoteattr(name)} Type={quoteattr(kind)}/>"
        for name, kind in properties.items()
    ]


def action_parameters(name: str, *, mime_content: bool) -> frozenset[str]:
    """The parameters of an action, in lower case, by its name in any case."""
    for action, _, parameters, _ in _ACTIONS:
        if action.lower() == name.lower():
            return frozenset(
                re.sub(r"!$", "", p).lower()
                for p in parameters
                if p != "MimeContent" or mime_content
            )
    return frozenset()
