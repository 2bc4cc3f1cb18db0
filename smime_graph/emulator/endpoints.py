"""What the emulator has: one table. A path that is Graph's and not in it answers 501."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from smime_graph.errors import UsageError

from ..loopback.exchange import Response
from . import handlers_attachments as attached
from . import handlers_contacts as contacts
from . import handlers_folders as folders
from . import handlers_read as read
from . import handlers_send as send
from . import handlers_update as update
from . import handlers_uploads as uploads
from .context import Call, no_resource
from .delta import list_changes, list_folder_changes
from .handlers_answers import act
from .handlers_users import get_user, list_users
from .refusal import Refusal

Handler: TypeAlias = Callable[[Call], Response]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method and a path below /me or /users/{user}; `{}` is any segment.

    `needs`: the least permission. `in_folders`: below mailFolders/{folder}, and the child folders
    of it, as well. `design`: in that profile alone.
    """

    method: str
    path: str
    handler: Handler
    needs: str
    in_folders: bool = False
    design: bool = False


_ATTACHMENT = "messages/{message}/attachments/{attachment}"
_BASIC, _READ = "Mail.ReadBasic", "Mail.Read"
_WRITE, _SEND = "Mail.ReadWrite", "Mail.Send"
_ACTIONS = {
    "reply": _SEND,
    "replyAll": _SEND,
    "forward": _SEND,
    "createReply": _WRITE,
    "createReplyAll": _WRITE,
    "createForward": _WRITE,
}

ENDPOINTS = (
    Endpoint("GET", "", get_user, "User.Read"),
    Endpoint("POST", "sendMail", send.send_mail, _SEND),
    Endpoint("GET", "messages", read.list_messages, _BASIC, in_folders=True),
    Endpoint("GET", "messages/$count", read.count_messages, _BASIC, in_folders=True),
    Endpoint("POST", "messages", send.create_message, _WRITE, in_folders=True),
    Endpoint("GET", "messages/{message}", read.get_message, _BASIC, in_folders=True),
    Endpoint("PATCH", "messages/{message}", update.patch_message, _WRITE, in_folders=True),
    Endpoint("DELETE", "messages/{message}", update.delete_message, _WRITE, in_folders=True),
    Endpoint("POST", "messages/{message}/move", update.move_message, _WRITE, in_folders=True),
    Endpoint("POST", "messages/{message}/copy", update.copy_message, _WRITE, in_folders=True),
    Endpoint("GET", "messages/{message}/$value", read.get_value, _READ, in_folders=True),
    # nothing documents PUT today
    Endpoint(
        "PUT", "messages/{message}/$value", send.put_value, _WRITE, in_folders=True, design=True
    ),
    Endpoint("POST", "messages/{message}/send", send.send_draft, _SEND, in_folders=True),
    *(
        Endpoint("POST", f"messages/{{message}}/{action}", act, needs, in_folders=True)
        for action, needs in _ACTIONS.items()
    ),
    Endpoint(
        "GET", "messages/{message}/attachments", attached.list_attachments, _READ, in_folders=True
    ),
    Endpoint(
        "POST", "messages/{message}/attachments", attached.post_attachment, _WRITE, in_folders=True
    ),
    Endpoint(
        "POST",
        "messages/{message}/attachments/createUploadSession",
        uploads.create_upload,
        _WRITE,
        in_folders=True,
    ),
    Endpoint("GET", _ATTACHMENT, attached.get_attachment, _READ, in_folders=True),
    Endpoint("DELETE", _ATTACHMENT, attached.delete_attachment, _WRITE, in_folders=True),
    Endpoint("GET", f"{_ATTACHMENT}/$value", attached.get_attachment_value, _READ, in_folders=True),
    Endpoint("GET", "mailFolders", folders.list_folders, _BASIC),
    Endpoint("POST", "mailFolders", folders.create_folder, _WRITE),
    Endpoint("GET", "mailFolders/delta", list_folder_changes, _BASIC),
    Endpoint("GET", "mailFolders/{folder}", folders.get_folder, _BASIC),
    Endpoint("PATCH", "mailFolders/{folder}", folders.patch_folder, _WRITE),
    Endpoint("DELETE", "mailFolders/{folder}", folders.delete_folder, _WRITE),
    Endpoint("GET", "mailFolders/{folder}/childFolders", folders.list_folders, _BASIC),
    Endpoint("POST", "mailFolders/{folder}/childFolders", folders.create_folder, _WRITE),
    Endpoint("POST", "mailFolders/{folder}/move", folders.move_folder, _WRITE),
    Endpoint("POST", "mailFolders/{folder}/copy", folders.copy_folder, _WRITE),
    Endpoint("GET", "mailFolders/{folder}/messages/delta", list_changes, _BASIC),
    Endpoint("GET", "contacts", contacts.list_contacts, "Contacts.Read"),
    Endpoint("POST", "contacts", contacts.create_contact, "Contacts.ReadWrite"),
    Endpoint("GET", "contacts/{contact}", contacts.get_contact, "Contacts.Read"),
    Endpoint("PATCH", "contacts/{contact}", contacts.patch_contact, "Contacts.ReadWrite"),
    Endpoint("DELETE", "contacts/{contact}", contacts.delete_contact, "Contacts.ReadWrite"),
)


# Of the address that createUploadSession gives: no permission, its own token is asked for.
_UPLOADS = (
    Endpoint("PUT", "", uploads.put_piece, ""),
    Endpoint("GET", "", uploads.get_upload, ""),
    Endpoint("DELETE", "", uploads.delete_upload, ""),
)


_USERS = Endpoint("GET", "", list_users, "User.Read")


def _absent(call: Call) -> Response:
    raise _not_there(call.request.method)


# What Graph has of paths that are there; any other method of them it refuses as well.
_ABSENT = (
    Endpoint("PATCH", "", _absent, "User.Read"),
    Endpoint("PATCH", _ATTACHMENT, _absent, _WRITE, in_folders=True),
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What Graph has besides, by its first segment; what is in neither is no resource at all.
ROOTS = _words(
    "applications communications contacts devices directory directoryobjects domains drives "
    "education external groups identity invitations oauth2permissiongrants organization places "
    "planner reports security serviceprincipals shares sites solutions subscriptions teams "
    "teamwork"
)
OF_USERS = _words(
    "$count activities calendar calendargroups calendars calendarview chats contactfolders "
    "contacts createdobjects directreports drive drives events extensions followedsites "
    "getmailtips inferenceclassification insights joinedteams licensedetails mailboxsettings "
    "mailfolders manager managedevices memberof messages onenote onlinemeetings outlook "
    "owneddevices ownedobjects people photo photos planner presence registereddevices "
    "revokesigninsessions scopedrolememberof settings teamwork todo transitivememberof "
    "translateexchangeids"
)
OF_MESSAGES = _words(
    "$count attachments copy delta extensions marked markasjunk move multivalueextendedproperties "
    "permanentdelete reportmessage singlevalueextendedproperties unsubscribe"
)
OF_FOLDERS = _words(
    "$count copy delta messagerules messages move multivalueextendedproperties "
    "permanentdelete singlevalueextendedproperties userconfigurations"
)

Methods: TypeAlias = Mapping[str, Endpoint]


def _index(*, design: bool) -> dict[int, list[tuple[tuple[str, ...], dict[str, Endpoint]]]]:
    """The paths by their number of segments; a parameter is "", all else is in lower case."""
    found: dict[tuple[str, ...], dict[str, Endpoint]] = {}
    for one in (*ENDPOINTS, *_ABSENT):
        if one.design and not design:
            continue
        parts = tuple("" if p.startswith("{") else p.lower() for p in one.path.split("/") if p)
        found.setdefault(parts, {})[one.method] = one
        if one.in_folders:
            folder = ("mailfolders", "", *parts)
            found.setdefault(folder, {})[one.method] = one
    by_length: dict[int, list[tuple[tuple[str, ...], dict[str, Endpoint]]]] = {}
    for parts in sorted(found, key=lambda parts: [part == "" for part in parts]):
        by_length.setdefault(len(parts), []).append((parts, found[parts]))
    return by_length


_PATHS = {design: _index(design=design) for design in (False, True)}


_IMPLIED = {
    "Mail.ReadWrite": (_READ, _BASIC),
    "Mail.Read": (_BASIC,),
    "Contacts.ReadWrite": ("Contacts.Read",),
    "User.ReadWrite": ("User.Read",),
}


def granted_by(
    token: str | Sequence[str] | Mapping[str, Sequence[str]],
) -> Mapping[str, frozenset[str] | None]:
    """The tokens that are good, with what each is good for; None is everything.

    A permission holds for all mailboxes here, so `.Shared` and `.All` make no difference.
    """
    if isinstance(token, str):
        token = (token,)
    found: dict[str, frozenset[str] | None] = dict.fromkeys(token)
    if isinstance(token, Mapping):
        for name, permissions in token.items():
            short = {re.sub(r"\.(All|Shared)\Z", "", one) for one in permissions}
            found[name] = frozenset(short.union(*(_IMPLIED.get(one, ()) for one in short)))
    if not all(found):
        raise UsageError("token: is empty, a bearer token was wanted")
    return found


def find(call: Call, segments: list[str]) -> Methods:
    """The methods of a path; whose it is and what it names is noted in `call`."""
    rest = list(segments)
    root = rest.pop(0).lower() if rest else ""
    if root == "users" and not rest:
        return {"GET": _USERS}
    if root == "users":
        call.principal = rest.pop(0)
    elif root != "me":
        raise _not_there(root) if root in ROOTS else no_resource(root)
    while len(rest) > 3 and rest[0].lower() == "mailfolders" and rest[2].lower() == "childfolders":
        del rest[1:3]  # a folder is known by its id alone
    lowered = [part.lower() for part in rest]
    for parts, methods in _PATHS[call.design].get(len(rest), ()):
        if all(map(_fits, parts, lowered)):
            _name(call, parts, rest)
            return methods
    raise _unknown(lowered)


def _fits(part: str, given: str) -> bool:
    """Whether a segment is the one of a path; what a collection can be asked is no id in it."""
    return part == given or (part == "" and given not in ("$count", "$ref", "delta"))


def _name(call: Call, parts: Sequence[str], rest: Sequence[str]) -> None:
    values = {parts[i - 1]: rest[i] for i, part in enumerate(parts) if part == ""}
    call.folder = values.get("mailfolders")
    call.item_id = values.get("messages", values.get("contacts"))
    call.attachment_id = values.get("attachments")
    call.action = parts[-1] if parts else ""


def find_upload(call: Call, segments: list[str]) -> Methods:
    """The methods of the address that takes a file in pieces; its token is in its query."""
    if [part.lower() for part in segments[::2]] != ["users", "messages", "attachmentsessions"]:
        raise no_resource(segments[-1] if segments else "api")
    call.attachment_id = segments[5] if len(segments) == 6 else ""
    return {one.method: one for one in _UPLOADS}


def _unknown(lowered: list[str]) -> Refusal:
    """The refusal of a path that is not in the table: is it Graph's at all?"""
    known = OF_USERS
    for place, segment in enumerate(lowered):
        if segment not in known:
            return no_resource(segment)
        if segment == "messages" and len(lowered) > place + 2:
            return _last(lowered[place + 2], OF_MESSAGES)
        if segment == "mailfolders" and len(lowered) > place + 2:
            if lowered[place + 2] != "messages":
                return _last(lowered[place + 2], OF_FOLDERS)
            return _unknown(lowered[place + 2 :])
        return _not_there(segment)
    return no_resource("")


def _last(segment: str, known: frozenset[str]) -> Refusal:
    return _not_there(segment) if segment in known else no_resource(segment)


def _not_there(segment: str) -> Refusal:
    return Refusal(501, "NotImplemented", f"The emulator has no '{segment[:60]}' here.")
