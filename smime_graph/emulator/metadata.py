"""The metadata document: which properties and actions the service has.

The actions differ between the profiles in one parameter, MimeContent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

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
    "internetMessageHeader": {"name": "Edm.String", "value": "Edm.String"},
    "recipient": {"emailAddress": "graph.emailAddress"},
    "itemBody": {"contentType": "Edm.String", "content": "Edm.String"},
    "dateTimeTimeZone": {"dateTime": "Edm.String", "timeZone": "Edm.String"},
    "followupFlag": {
        "completedDateTime": "graph.dateTimeTimeZone",
        "dueDateTime": "graph.dateTimeTimeZone",
        "startDateTime": "graph.dateTimeTimeZone",
        "flagStatus": "Edm.String",
    },
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
    "internetMessageHeaders": "Collection(graph.internetMessageHeader)",
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
CONTACT = {
    "displayName": "Edm.String",
    "fileAs": "Edm.String",
    "givenName": "Edm.String",
    "middleName": "Edm.String",
    "surname": "Edm.String",
    "nickName": "Edm.String",
    "initials": "Edm.String",
    "title": "Edm.String",
    "jobTitle": "Edm.String",
    "companyName": "Edm.String",
    "department": "Edm.String",
    "officeLocation": "Edm.String",
    "mobilePhone": "Edm.String",
    "personalNotes": "Edm.String",
    "businessPhones": "Collection(Edm.String)",
    "categories": "Collection(Edm.String)",
    "emailAddresses": "Collection(graph.emailAddress)",
}
_ATTACHMENT = {
    "lastModifiedDateTime": "Edm.DateTimeOffset",
    "name": "Edm.String",
    "contentType": "Edm.String",
    "size": "Edm.Int32",
    "isInline": "Edm.Boolean",
}
_FILE_ATTACHMENT = {
    "contentId": "Edm.String",
    "contentLocation": "Edm.String",
    "contentBytes": "Edm.Binary",
}
_EXTENDED_PROPERTY = {"value": "Collection(Edm.String)"}
_USER = {
    "businessPhones": "Collection(Edm.String)",
    "displayName": "Edm.String",
    "givenName": "Edm.String",
    "jobTitle": "Edm.String",
    "mail": "Edm.String",
    "mobilePhone": "Edm.String",
    "officeLocation": "Edm.String",
    "preferredLanguage": "Edm.String",
    "surname": "Edm.String",
    "userPrincipalName": "Edm.String",
}
_ID = {"id": "Edm.String"}
_EXTENDED = {
    "singleValueExtendedProperties": "Collection(graph.singleValueLegacyExtendedProperty)",
    "multiValueExtendedProperties": "Collection(graph.multiValueLegacyExtendedProperty)",
}

# What a query may name: of each type the properties by their names in lower case.
TYPES = {
    kind: {name.lower(): (name, of) for name, of in properties.items()}
    for kind, properties in {
        **_COMPLEX,
        "message": _ID | _OUTLOOK_ITEM | _MESSAGE | _EXTENDED,
        "mailFolder": _ID | _MAIL_FOLDER,
        "contact": _ID | CONTACT | _EXTENDED,
        "user": _ID | _USER,
        "attachment": _ID | _ATTACHMENT | _FILE_ATTACHMENT,
        "singleValueLegacyExtendedProperty": _ID | {"value": "Edm.String"},
        "multiValueLegacyExtendedProperty": _ID | _EXTENDED_PROPERTY,
    }.items()
}
TYPES["attachment"] |= {  # $select names what one kind has by that kind
    f"microsoft.graph.fileattachment/{name.lower()}": (name, of)
    for name, of in _FILE_ATTACHMENT.items()
}

_KEY = ("<Key>", '<PropertyRef Name="id"/>', "</Key>")


def csdl(*, mime_content: bool) -> bytes:
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
        _contained("attachments", "attachment"),
        _contained("singleValueExtendedProperties", "singleValueLegacyExtendedProperty"),
        _contained("multiValueExtendedProperties", "multiValueLegacyExtendedProperty"),
        "</EntityType>",
        '<EntityType Name="attachment" BaseType="graph.entity" Abstract="true">',
        *_properties(_ATTACHMENT),
        "</EntityType>",
        '<EntityType Name="fileAttachment" BaseType="graph.attachment">',
        *_properties(_FILE_ATTACHMENT),
        "</EntityType>",
        '<EntityType Name="itemAttachment" BaseType="graph.attachment">',
        '<NavigationProperty Name="item" Type="graph.outlookItem" ContainsTarget="true"/>',
        "</EntityType>",
        '<EntityType Name="referenceAttachment" BaseType="graph.attachment">',
        "</EntityType>",
        '<EntityType Name="mailFolder" BaseType="graph.entity">',
        *_properties(_MAIL_FOLDER),
        _contained("messages", "message"),
        _contained("childFolders", "mailFolder"),
        "</EntityType>",
        '<EntityType Name="multiValueLegacyExtendedProperty" BaseType="graph.entity">',
        *_properties(_EXTENDED_PROPERTY),
        "</EntityType>",
        '<EntityType Name="singleValueLegacyExtendedProperty" BaseType="graph.entity">',
        *_properties({"value": "Edm.String"}),
        "</EntityType>",
        '<EntityType Name="contact" BaseType="graph.outlookItem" OpenType="true">',
        *_properties({name: of for name, of in CONTACT.items() if name not in _OUTLOOK_ITEM}),
        _contained("singleValueExtendedProperties", "singleValueLegacyExtendedProperty"),
        _contained("multiValueExtendedProperties", "multiValueLegacyExtendedProperty"),
        "</EntityType>",
        '<EntityType Name="user" BaseType="graph.entity">',
        *_properties(_USER),
        _contained("messages", "message"),
        _contained("contacts", "contact"),
        _contained("mailFolders", "mailFolder"),
        "</EntityType>",
        '<Function Name="delta" IsBound="true" EntitySetPath="bindingParameter">',
        '<Parameter Name="bindingParameter" Type="Collection(graph.message)"/>',
        '<ReturnType Type="Collection(graph.message)"/>',
        "</Function>",
        '<Function Name="delta" IsBound="true" EntitySetPath="bindingParameter">',
        '<Parameter Name="bindingParameter" Type="Collection(graph.mailFolder)"/>',
        '<ReturnType Type="Collection(graph.mailFolder)"/>',
        "</Function>",
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
