"""The routes that attach a large file in pieces ("Attach large files to Outlook messages").

The pieces go to an address that has a token of its own: the client's is not asked for there.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from ..loopback.exchange import Response
from . import drafts
from .context import Call, account_for
from .exchange import json_response
from .handlers_attachments import attach, draft_for, too_large
from .handlers_update import not_draft
from .json_message import describe_file, invalid, lower_keys, string
from .refusal import Refusal
from .request_body import body_kind, json_body
from .resources import timestamp
from .uploads import Upload

SMALLEST = 3 * 1024 * 1024  # below it a file is posted whole
LARGEST = 150 * 1024 * 1024


def create_upload(call: Call) -> Response:
    """Begin to attach a file of 3 to 150 MB ("attachment: createUploadSession")."""
    if body_kind(call) != "json":
        raise Refusal(415, "RequestBodyRead", "An attachment is JSON.")
    account = account_for(call)
    item = draft_for(call, account)
    parameters = lower_keys(json_body(call), "request")
    described = lower_keys(parameters.get("attachmentitem"), "AttachmentItem")
    if (string(described, "attachmenttype") or "").lower() != "file":
        raise Refusal(501, "NotImplemented", "The emulator takes a file in pieces alone.")
    size, name = described.get("size"), string(described, "name")
    if not isinstance(size, int) or isinstance(size, bool) or not name:
        raise invalid("AttachmentItem")
    describe_file(described, name, b"")
    if size < SMALLEST:  # the code is DC#4690's, the text is ours
        raise Refusal(
            400,
            "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize",
            "The attachment size should not be less than the minimum size of 3 MB.",
        )
    if size > min(LARGEST, 2 * call.rules.message_limit):
        raise too_large()
    drafts.take_apart(call.store.raw(item))
    kept = {key: described.get(key) for key in ("name", "contenttype", "isinline", "contentid")}
    upload, token = call.store.uploads.add(item.number, kept, size, now=call.now)
    answer = {
        "@odata.context": f"{call.request.origin}/{call.version}/$metadata"
        "#microsoft.graph.uploadSession",
        "uploadUrl": _address(call, account.guid, item.id, upload, token),
        "expirationDateTime": timestamp(upload.expires),
        "nextExpectedRanges": ["0-"],
    }
    return json_response(201, answer)


def put_piece(call: Call) -> Response:
    """Take the next piece; with the last one the file is attached."""
    upload = _upload(call)
    if len(call.request.body) > call.rules.request_limit:
        raise Refusal(413, "BadRequest", "The maximum request length supported is 4MB.")
    call.store.uploads.append(upload, _piece(call, upload))
    received = upload.received + len(call.request.body)
    if received < upload.size:
        return _status(call, upload, received)
    item = call.store.item(upload.message)
    content = call.store.uploads.content(upload)
    call.store.uploads.remove(upload)
    if not item.is_draft or item.leaves_at:  # it was sent meanwhile
        raise not_draft()
    file = describe_file(upload.described, upload.described["name"], content)
    item, one = attach(call, item, file)
    user = call.store.account_of(item).guid
    place = f"{call.request.origin}/api/v2.0/Users('{user}')/Messages('{quote(item.id)}')"
    return Response(201, (("Location", f"{place}/Attachments('{quote(one.id)}')"),))


def get_upload(call: Call) -> Response:
    """How much of a file is there."""
    upload = _upload(call)
    return _status(call, upload, upload.received)


def delete_upload(call: Call) -> Response:
    call.store.uploads.remove(_upload(call))
    return Response(204)


def _upload(call: Call) -> Upload:
    found = call.store.uploads.find(
        call.attachment_id or "", call.query.get("authtoken", ""), now=call.now
    )
    if found is None:
        raise Refusal(404, "ErrorItemNotFound", "The upload session was not found.")
    return found


def _status(call: Call, upload: Upload, received: int) -> Response:
    """A session between two pieces, with the spellings of the samples."""
    answer = {
        "@odata.context": f"{call.request.origin}/api/v2.0/$metadata#AttachmentSessions/$entity",
        "ExpirationDateTime": timestamp(upload.expires),
        "nextExpectedRanges": [str(received)],
    }
    return json_response(200, answer)


def _address(call: Call, user: str, item_id: str, upload: Upload, token: str) -> str:
    """Where the pieces go. On Graph it is on another host; here it is on this one."""
    place = f"Users('{user}')/Messages('{quote(item_id)}')/AttachmentSessions('{upload.id}')"
    return f"{call.request.origin}/api/v2.0/{place}?authtoken={token}"


def _piece(call: Call, upload: Upload) -> bytes:
    """The piece in the body, if it is the one that has to come next."""
    text = call.headers.get("content-range", "")
    found = re.fullmatch(r"\s*bytes\s+(\d{1,12})-(\d{1,12})/(\d{1,12})\s*", text, re.I | re.A)
    if found is None:
        raise Refusal(400, "ErrorInvalidParameter", "The header Content-Range is not valid.")
    start, end, size = (int(one) for one in found.groups())
    if size != upload.size or end >= size or end - start + 1 != len(call.request.body):
        raise Refusal(
            400, "ErrorInvalidParameter", "The header Content-Range does not fit the content."
        )
    if start != upload.received:
        raise Refusal(  # neither code nor text is documented; the status is that of OneDrive's
            416, "ErrorInvalidRange", f"The next byte that is expected is {upload.received}."
        )
    return call.request.body
