"""The handler: a request goes in, a response comes out, the mailboxes change.

The order of the checks is that of the project's notes on Graph; the real order is not
documented. Texts that Graph is known to give are given as they are; "general knowledge" stands
where no source was found.
"""

from __future__ import annotations

import hmac
import re
import sqlite3
import uuid
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote

from ..loopback.exchange import Request, Response
from . import batch, metadata, resources
from .context import Call, Rules, access_denied
from .endpoints import find, find_upload
from .exchange import http_date, json_response
from .faults import WWW_AUTHENTICATE
from .odata import TooExpensive
from .query import inefficient
from .refusal import Refusal
from .store import Store

TARGET_LIMIT = 16 * 1024


def handle(
    store: Store, rules: Rules, request: Request, *, sent_items_delay: float | None = None
) -> Response:
    """Answer a request. Every answer has `request-id`; what is wrong is an answer too, never an
    exception.
    """
    now = rules.clock()
    request_id = str(uuid.uuid4())
    headers: dict[str, str] = {}
    for name, value in request.headers:  # RFC 9110 5.3: fields of one name are one list
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    client_request_id = headers.get("client-request-id", "")
    if not re.fullmatch(r"[!-~]{1,128}", client_request_id):
        client_request_id = request_id
    try:
        response = _dispatch(
            store,
            rules,
            request,
            headers,
            now,
            rules.sent_items_delay if sent_items_delay is None else sent_items_delay,
        )
    except Refusal as refusal:
        response = refused(
            refusal, now=now, request_id=request_id, client_request_id=client_request_id
        )
    except TooExpensive:
        response = refused(
            inefficient(), now=now, request_id=request_id, client_request_id=client_request_id
        )
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            # waiting makes no room; 507 is Graph's status for a full store ("Error responses")
            trouble = Refusal(507, "ErrorQuotaExceeded", "The disk of the mailboxes is full.")
        else:  # another process held the file for too long
            trouble = Refusal(
                503,
                "ErrorServerBusy",
                "The server cannot service this request right now. Try again later.",
                headers=(("Retry-After", "1"),),
            )
        response = refused(
            trouble, now=now, request_id=request_id, client_request_id=client_request_id
        )
    common = (
        ("request-id", request_id),
        ("client-request-id", client_request_id),
        ("x-ms-ags-diagnostic", '{"ServerInfo":{"DataCenter":"Emulator","Slice":"E"}}'),
        ("Cache-Control", "private"),
        ("Date", http_date(now)),
    )
    return Response(response.status, response.headers + common, response.body)


def refused(refusal: Refusal, *, now: float, request_id: str, client_request_id: str) -> Response:
    """The answer for a refusal, in the shape that every error of Graph has."""
    body = resources.error(
        refusal.code,
        refusal.message,
        when=now,
        request_id=request_id,
        client_request_id=client_request_id,
    )
    return json_response(refusal.status, body, headers=refusal.headers)


def _dispatch(
    store: Store,
    rules: Rules,
    request: Request,
    headers: Mapping[str, str],
    now: float,
    sent_items_delay: float,
) -> Response:
    if len(request.target) > TARGET_LIMIT:
        raise Refusal(414, "BadRequest", "The request URI is too long.")
    target = request.target.encode("utf-8", "replace").decode()  # a str may hold half a character
    path, _, query_text = target.partition("#")[0].partition("?")
    segments = _segments(path)
    version = segments.pop(0) if segments else ""
    takes_pieces = version.lower() == "api" and [s.lower() for s in segments[:1]] == ["v2.0"]
    if version.lower() not in ("v1.0", "beta") and not takes_pieces:
        raise Refusal(400, "BadRequest", "Invalid version.")  # general knowledge
    if [s.lower() for s in segments] == ["$metadata"]:  # public on the real service, too
        if request.method != "GET":
            raise _wrong_method({"GET": None})
        xml = metadata.csdl(mime_content=rules.profile == "design")
        return Response(200, (("Content-Type", "application/xml"),), xml)
    granted: frozenset[str] | None = None
    if not takes_pieces:  # its address has a token of its own
        granted = _check_token(rules, headers.get("authorization", ""))
    if [s.lower() for s in segments] == ["$batch"]:
        return _batch(store, rules, request, version, sent_items_delay)
    try:
        pairs = parse_qsl(query_text, keep_blank_values=True, max_num_fields=50, errors="replace")
    except ValueError:
        raise Refusal(400, "BadRequest", "The query has too many parameters.") from None
    query = {name.lower(): value for name, value in pairs}
    call = Call(store, rules, request, headers, query, version.lower(), now, sent_items_delay)
    methods = find_upload(call, segments[1:]) if takes_pieces else find(call, segments)
    endpoint = methods.get(request.method)
    if endpoint is None:
        raise _wrong_method(methods)
    if granted is not None and endpoint.needs not in granted:
        raise access_denied()
    call.basic = granted is not None and "Mail.Read" not in granted
    transaction = store.transaction(write=request.method != "GET" or rules.open_mailboxes)
    if rules.throttle is None or takes_pieces:
        with transaction:
            response = endpoint.handler(call)
    else:
        who = headers.get("authorization"), (call.principal or "").lower()
        with rules.throttle.admitted(hash(who), len(request.body)), transaction:
            response = endpoint.handler(call)
    if call.immutable:
        call.applied.insert(0, "IdType=ImmutableId")  # spelled as in js#297
    if call.applied:
        applied = (("Preference-Applied", ", ".join(call.applied)),)
        response = Response(response.status, response.headers + applied, response.body)
    return response


def _batch(
    store: Store, rules: Rules, request: Request, version: str, sent_items_delay: float
) -> Response:
    if request.method != "POST":
        raise _wrong_method({"POST": None})
    if len(request.body) > rules.request_limit:
        raise Refusal(413, "BadRequest", "The maximum request length supported is 4MB.")

    def refuse(refusal: Refusal) -> Response:
        request_id = str(uuid.uuid4())
        return refused(
            refusal, now=rules.clock(), request_id=request_id, client_request_id=request_id
        )

    def run(one: Request) -> Response:
        return handle(store, rules, one, sent_items_delay=sent_items_delay)

    return batch.answer(request, version, run=run, refuse=refuse)


def _segments(path: str) -> list[str]:
    segments: list[str] = []
    for part in path.split("/"):
        text = unquote(part, errors="replace")
        # OData keys: messages('...')
        key = re.fullmatch(r"(\w{1,40})\('(.*)'\)", text, re.DOTALL) if "('" in text else None
        if key:
            segments += [key[1], key[2].replace("''", "'")]
        elif text:
            segments.append(text.removeprefix("microsoft.graph.").removesuffix("()"))
    return segments


def is_good_token(rules: Rules, authorization: str) -> bool:
    try:
        _check_token(rules, authorization)
    except Refusal:
        return False
    return True


def _check_token(rules: Rules, authorization: str) -> frozenset[str] | None:
    """The permissions of a token; None: all of them."""
    scheme, _, token = authorization.strip().partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else ""
    message = "Access token is empty."
    if token:
        if rules.tokens is None:
            return None
        given = token.encode("utf-8", "replace")
        for known, granted in rules.tokens.items():
            if hmac.compare_digest(given, known.encode()):
                return granted
        message = "CompactToken parsing failed with error code: 80049217"
    raise Refusal(401, "InvalidAuthenticationToken", message, headers=(WWW_AUTHENTICATE,))


def _wrong_method(methods: Mapping[str, object]) -> Refusal:
    return Refusal(
        405,
        "Request_BadRequest",
        "Specified HTTP method is not allowed for the request target.",
        headers=(("Allow", ", ".join(methods)),),
    )
