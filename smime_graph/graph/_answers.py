"""Reading what Graph answers: values, errors with their hints, how long to wait. No I/O.

An answer is not trusted: any bytes give a value or a GraphError, and its text is made printable and
short before it enters a message.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from ..errors import GraphError, GraphRefused, Hint, UsageError
from ._mailbox import named
from ._wire import Response
from .models import Folder, MailboxContact, Status, StoredMessage

MESSAGE_FIELDS = (
    "id,internetMessageId,subject,from,isDraft,parentFolderId,changeKey,"
    "sentDateTime,receivedDateTime"
)
CONTACT_FIELDS = "id,displayName,emailAddresses"
FOLDER_FIELDS = "id,displayName,totalItemCount,unreadItemCount"

_RIGHTS = (
    "the app lacks the right: Mail.Send sends, Mail.ReadWrite makes drafts, Mail.Read reads back,"
    " Contacts.Read reads contacts;"
    " with an application token also check that its scope of mailboxes includes this one"
)
_SIZE = Hint(
    "compress before signing, or send it by SMTP; a lower size_limit refuses it before it travels",
    "size",
)
_WIRE = "check that wire= is the form that this service takes"
_MIME = Hint(_WIRE, "wire", before="the service could not read the message: ")
_QUOTA = "the mailbox is full or has sent too much today: make room, or wait"
_STALE = (
    "no such message or folder: ids change when a message is sent or moved, unless they are"
    " immutable; look it up with list; a folder is an id, or inbox, drafts, sentitems, archive,"
    " deleteditems, junkemail"
)
_NO_RECIPIENT = Hint(
    _WIRE, "wire", before="put every recipient into To, Cc or Bcc of the message, and "
)

# What the codes that mail meets mean, and what to do next. Exchange's codes are those of the EWS
# reference ("ResponseCode"); Graph passes them through.
_HINTS: Mapping[str, str] = {
    "ErrorAccessDenied": _RIGHTS,
    "ErrorSendAsDenied": (
        "From is not an address that this account may send as: use its own, get Send As or Send on"
        " Behalf, and keep '@' out of the display name; an unsent copy may lie in Drafts"
    ),
    "ErrorMimeContentInvalidBase64String": _MIME,
    "ErrorMimeContentInvalid": _MIME,
    "ErrorMimeContentConversionFailed": _MIME,
    "ErrorContentConversionFailed": _MIME,
    "RequestBodyRead": _MIME,
    "ErrorInvalidParameter": _MIME,
    "UnableToDeserializePostBody": (
        "MIME is taken for the mailbox, not for a folder: make the draft there"
    ),
    "ErrorInvalidRecipients": _NO_RECIPIENT,
    "ErrorMissingRecipients": _NO_RECIPIENT,
    "ErrorItemNotFound": _STALE,
    "ErrorInvalidIdMalformed": "the id is not one of this service: take it from list or draft",
    "ErrorInvalidPropertySet": "it is no draft any more: make a new draft",
    "ErrorMessageSizeExceeded": _SIZE,
    "ErrorQuotaExceeded": _QUOTA,
    "ErrorSubmissionQuotaExceeded": _QUOTA,
    "ErrorServerBusy": "Exchange is busy: try again later",
    "ErrorInternalServerTransientError": "try again later",
}
_HINTS_BY_STATUS: Mapping[int, str] = {
    403: _RIGHTS,
    404: "check the user (name the mailbox's address instead of me) and the url",
    413: _SIZE,
    415: _MIME,
    429: "try again later, with fewer requests at a time (Exchange takes 4 at once)",
}


def refused(answer: Response, *, host: str, hint: str | None = None) -> GraphRefused:
    """The error for an answer that is none of those wanted; `hint` wins over the tables."""
    code, message, request_id = error_of(answer)
    if 300 <= answer.status < 400:
        code, message = "redirect", "Graph answers with a redirect, which is not followed"
        hint = hint or f"the token is for {host} alone: set the url to where the service really is"
    if answer.status == 401 and claims_of(answer) is not None:
        hint = (
            hint or "sign in again: Graph demands what this token does not say (a claims challenge)"
        )
    if answer.status == 401:
        hint = hint or token_refused(host)
    hint = hint or _HINTS.get(code) or _HINTS_BY_STATUS.get(answer.status)
    return GraphRefused(answer.status, code, message, request_id=request_id, hint=hint)


def token_refused(host: str) -> Hint:
    """What to do where a token is refused."""
    return Hint(
        f"get one for https://{host}/.default",
        "token",
        host,
        before="the token was refused: it is expired, or for another service; ",
    )


def error_of(answer: Response) -> tuple[str, str, str | None]:
    """Code, message and request-id of an error answer, even where it is a gateway's page."""
    error = _mapping(_json(answer.body), "error")
    code = error.get("code")
    message = error.get("message")
    inner = _mapping(error, "innerError") or _mapping(error, "innererror")
    request_id = answer.headers.get("request-id") or inner.get("request-id")
    if not isinstance(code, str) or not code:
        code = "unknown"
    if not isinstance(message, str) or not message:
        kind = answer.headers.get("content-type") or "no content type"
        message = f"no Graph error in the answer ({kind}, {len(answer.body)} bytes)"
        if answer.status == 401:
            message = "the token was refused"
        elif answer.headers.get("content-encoding", "identity") != "identity":
            message = "the answer is compressed, which was not asked for, and was not read"
    return (
        shown(answer, code, limit=80),
        shown(answer, message, limit=400),
        shown(answer, request_id, limit=80) if isinstance(request_id, str) and request_id else None,
    )


def names_error(answer: Response) -> bool:
    """Does it hold an error of Graph's form, whatever its status is?"""
    return bool(answer.body and _mapping(_json(answer.body), "error"))


# Graph's own codes for "you are throttled, nothing was done, come back": Outlook's, as met ("over
# its MailboxConcurrency limit"), and the one of "Microsoft Graph error responses". A gateway has
# others, or none.
_THROTTLING = frozenset({"ApplicationThrottled", "activityLimitReached"})


def is_throttling(answer: Response) -> bool:
    """Does Graph itself say that it throttles? Then it has carried nothing out."""
    return answer.status == 429 and error_of(answer)[0] in _THROTTLING


def media_type(answer: Response) -> str:
    """The media type of an answer in lower case, without parameters; empty where it has none."""
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


# RFC 9110 5.6.7: the form that a server must write
_IMF_FIXDATE = re.compile(
    r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
)


def date_of(answer: Response) -> float | None:
    """When the server made this answer, by its own clock, in Unix seconds (RFC 9110 6.6.1).

    None where more than one clock may have been at work: two of the field, or a cache (RFC 9111
    5.1).
    """
    text = answer.headers.get("date", "")
    return None if "age" in answer.headers else _seconds(text)


@lru_cache(maxsize=16)  # many answers come in the same second
def _seconds(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if _IMF_FIXDATE.fullmatch(text) else None
    except (ValueError, OverflowError):
        return None


def request_id_of(answer: Response) -> str | None:
    found = answer.headers.get("request-id")
    return shown(answer, found, limit=80) if found else None


def describe(answer: Response) -> str:
    """An answer in a few words, for the text of another error."""
    code, message, request_id = error_of(answer)
    where = f" (request-id {request_id})" if request_id else ""
    if 200 <= answer.status < 300:
        return f"{answer.status}{where}"
    return f"{answer.status} {code}: {message}{where}"


def message_ref(
    data: object, *, status: Status | None = None, request_id: str | None
) -> StoredMessage:
    """A StoredMessage from a message resource, GraphError if it is none; `status` beats isDraft."""
    if not isinstance(data, dict) or not _is_id(data.get("id")):
        raise GraphError("Graph's answer is no message: it has no usable id")
    sender = _mapping(_mapping(data, "from"), "emailAddress").get("address")
    return StoredMessage(
        id=_text(data["id"]) or "",
        internet_message_id=_text(data.get("internetMessageId")),
        status=status or ("draft" if data.get("isDraft") is True else "stored"),
        subject=_text(data.get("subject")),
        sender=_text(sender),
        sent_at=time_of(data.get("sentDateTime")),
        received_at=time_of(data.get("receivedDateTime")),
        folder_id=_text(data.get("parentFolderId")),
        change_key=_text(data.get("changeKey")),
        request_id=request_id,
    )


def folder(data: object) -> Folder:
    """A Folder from a mailFolder resource; GraphError if it is none."""
    if not isinstance(data, dict) or not _is_id(data.get("id")):
        raise GraphError("Graph's answer is no folder: it has no usable id")
    return Folder(
        id=_text(data["id"]) or "",
        name=_text(data.get("displayName")) or "",
        total=_count(data.get("totalItemCount")),
        unread=_count(data.get("unreadItemCount")),
    )


def owner(data: dict[str, object]) -> tuple[str, ...]:
    """The addresses in a user resource, each once."""
    names = (_text(data.get(name)) for name in ("mail", "userPrincipalName"))
    return tuple(dict.fromkeys(one for one in names if one and "@" in one))


# One of a contact; real ones have three addresses, and a certificate or two
_MOST_EMAILS, _MOST_VALUES = 20, 100


def contact(data: object, binary_property: int | None) -> MailboxContact:
    """A MailboxContact from a contact resource; GraphError if it is none."""
    if not isinstance(data, dict) or not _is_id(data.get("id")):
        raise GraphError("Graph's answer is no contact: it has no usable id")
    emails = [
        text
        for one in _sequence(data, "emailAddresses")[:_MOST_EMAILS]
        if isinstance(one, dict) and (text := _text(one.get("address")))
    ]
    values: list[bytes] = []
    for one in _sequence(data, "multiValueExtendedProperties"):
        if isinstance(one, dict) and _names_binary(one.get("id"), binary_property):
            values += map(_octets, _sequence(one, "value")[:_MOST_VALUES])
    return MailboxContact(
        id=_text(data["id"]) or "",
        name=_text(data.get("displayName")) or "",
        emails=tuple(emails),
        values=tuple(values[:_MOST_VALUES]),
    )


def _names_binary(name: object, binary_property: int | None) -> bool:
    """Whether an id of an extended property is that of the number, however its digits are spelt."""
    match = (
        re.fullmatch(r"BinaryArray 0x([0-9A-Fa-f]{1,8})", name) if isinstance(name, str) else None
    )
    return match is not None and int(match[1], 16) == binary_property


def _octets(value: object) -> bytes:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:
        return b""


def _sequence(data: Mapping[str, Any], key: str) -> list[Any]:
    found = data.get(key)
    return found if isinstance(found, list) else []


def resource(answer: Response) -> Any:
    """The JSON of a successful answer; GraphError if it is none."""
    data = _json(answer.body)
    if not isinstance(data, dict):
        raise GraphError(
            f"Graph's answer is no JSON object: {len(answer.body)} bytes of"
            f" {shown(answer, answer.headers.get('content-type') or 'no content type', limit=80)}",
            hint="check the url: something other than Graph may answer there",
        )
    return data


def collection(answer: Response) -> tuple[list[object], str | None]:
    """The items of a page, and the link to the next; GraphError if it is no page."""
    data = resource(answer)
    items, link = data.get("value"), data.get("@odata.nextLink")
    if not isinstance(items, list) or not isinstance(link, str | None):
        raise GraphError("Graph's answer is no list: it has no array 'value'")
    return items, link


def changes(answer: Response) -> tuple[list[object], tuple[str, ...], str | None, str | None]:
    """Of a page of changes: what is there, the ids of what is not any more, the link to the next
    page, and that of the next round. GraphError if it is none.
    """
    items, following = collection(answer)
    final = resource(answer).get("@odata.deltaLink")
    if not isinstance(final, str | None):
        raise GraphError("Graph's answer does not say how to go on: its link is no text")
    there = [one for one in items if not isinstance(one, dict) or "@removed" not in one]
    removed = [one for one in items if isinstance(one, dict) and "@removed" in one]
    return there, tuple(one["id"] for one in removed if _is_id(one.get("id"))), following, final


# "How to use Continuous Access Evaluation enabled APIs": error and claims among the parameters of a
# Bearer challenge, the latter in base64
_CLAIMS = re.compile(r'\bclaims="([A-Za-z0-9+/_=-]{1,8192})"')


def claims_of(answer: Response) -> str | None:
    """The claims that a 401 demands, as JSON; None where it demands none, or nobody can read."""
    challenge = answer.headers.get("www-authenticate", "")
    found = _CLAIMS.search(challenge)
    if found is None or "insufficient_claims" not in challenge:
        return None
    text = found[1].rstrip("=").replace("-", "+").replace("_", "/")
    try:
        claims = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        decoded = claims.decode("ascii")
    except ValueError:
        return None
    return decoded if isinstance(_json(claims), dict) else None


def retry_after(answer: Response) -> float | None:
    """The seconds an answer asks us to wait (RFC 9110 10.2.3: seconds or a date), None without."""
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text, re.ASCII):
        return float(text)
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return max(0.0, when.timestamp() - answer.received_at)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def shown(answer: Response, text: str, *, limit: int) -> str:
    """Text of an answer, fit for a message of ours: printable, short, and without our token."""
    known = _AUTH_TOKEN.sub(r"\1***", text[:_SHOWN])
    return printable(without_secret(known, answer.token), limit=limit)


# Of a text that may be shown, characters; of a token that must not be, so many in a row.
_SHOWN, _PIECE = 8192, 10
# the address of an upload session holds the right to it ("Attach large files")
_AUTH_TOKEN = re.compile(r"(?i)(authtoken(?:=|%3D))[^\s&\"'<>]+")


def without_secret(text: str, secret: str | None) -> str:
    """The text without the secret and without pieces of it, in any case.

    Gateways and debugging pages quote the header of a request, and cut or wrap what they quote.
    """
    if not secret:
        return text
    if "bearer" in text.lower():
        text = re.sub(rf"(?i)\b(bearer\W+){re.escape(secret)}", r"\1***", text)
    known, folded = secret.lower(), text.lower()
    size = max(6, min(_PIECE, len(known)))
    if len(known) < size:
        return text
    if len(folded) != len(text):  # some letter has another length in lower case
        folded = text
    kept: list[str] = []
    position = 0
    while position < len(text):
        end = position + size
        if len(folded) < end or folded[position:end] not in known:
            kept.append(text[position])
            position += 1
            continue
        while end < len(folded) and folded[position : end + 1] in known:
            end += 1
        kept.append("***")
        position = end
    return "".join(kept)


def printable(text: str, *, limit: int) -> str:
    """Text from outside made fit for a message: no control characters, no surrogates, not long."""
    short = text if len(text) <= limit else text[:limit] + "..."
    if short.isprintable():
        return short
    return "".join(c if c.isprintable() else " " for c in short)


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        # ValueError: no JSON, but also bad UTF-8, and an integer of more digits than Python reads.
        return None


def _mapping(data: object, key: str) -> Mapping[str, Any]:
    found = data.get(key) if isinstance(data, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _is_id(value: object) -> bool:
    """Can it be asked for again?"""
    try:
        named(value, what="id")
    except UsageError:
        return False
    return True


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    # JSON can spell a lone surrogate, which no output can encode.
    return value.encode("utf-8", "replace").decode("utf-8")


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def time_of(value: object) -> datetime | None:
    """An Edm.DateTimeOffset, in UTC; None where it is none, or of no year from 1 to 9999 there."""
    if not isinstance(value, str):
        return None
    try:
        when = datetime.fromisoformat(value)
        return when.astimezone(UTC) if when.tzinfo else None
    except (ValueError, OverflowError):
        return None
