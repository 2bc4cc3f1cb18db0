"""One exchange with Graph, and when it may be repeated. Generators, no I/O: see `_wire`."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from ..errors import GraphError, GraphThrottled, GraphUnreachable
from . import _answers
from ._mailbox import Mailbox
from ._sending import ROOTS, Sending
from ._wire import (
    ERROR_BODY_LIMIT,
    SENDS,
    Flow,
    NeedToken,
    NoAnswer,
    OnDisk,
    Pause,
    Request,
    Response,
)

log = logging.getLogger("smime_graph")

# Seconds. We wait so long when asked to; Exchange's windows are 5 and 10 minutes ("Throttling
# limits").
LONGEST_WAIT = 60.0
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 30.0

# An immutable id stays the same when a draft is sent and moves to Sent Items, which is what lets a
# lost answer be settled. The preference must be on every request ("Get immutable identifiers").
HEADERS = {"Prefer": 'IdType="ImmutableId"'}


def ask(request: Request, *, sending: Sending | None = None) -> Flow[Response | NoAnswer]:
    """One request with a token; a 401 gets one new token and one more try.

    Where it demands claims ("Claims challenges": continuous access evaluation), they are told to
    whoever gives tokens.

    Safe for a send as well: 401 is decided before anything is carried out. What the request means
    for a message on its way is noted in `sending`.
    """
    token: str = yield NeedToken()
    answer = yield from _once(request, token, sending)
    if isinstance(answer, Response) and answer.status == 401:
        claims = _answers.claims_of(answer)
        log.info(
            "the token was refused%s; another one is asked for once",
            "" if claims is None else ", and claims are demanded",
        )
        fresh: str = yield NeedToken(rejected=token, claims=claims)
        if fresh != token:
            answer = yield from _once(request, fresh, sending)
    return answer


def _once(request: Request, token: str, sending: Sending | None) -> Flow[Response | NoAnswer]:
    # A GUID of its own on every request, as Graph's "Best practices" asks: support finds it by
    # that.
    name = str(uuid.uuid4())
    headers = {**request.headers, "client-request-id": name}
    if sending is not None:
        sending.client_request_id = name
        if sending.journal is not None:
            yield OnDisk(partial(sending.journal, sending))
        sending.disposition = "unknown"
    answer: Response | NoAnswer = yield replace(request, token=token, headers=headers)
    if isinstance(answer, Response):
        answer = replace(answer, token=token, client_request_id=name)
    else:
        answer = replace(answer, client_request_id=name)
    if log.isEnabledFor(logging.DEBUG):
        path = urlsplit(request.url).path  # what stands behind it may be a secret
        log.debug("%s %s: %s (client-request-id %s)", request.method, path, _said(answer), name)
    if sending is not None:
        sending.date = _answers.date_of(answer) if isinstance(answer, Response) else None
        if _nothing_was_done(answer):
            sending.disposition = "not-sent"
        if sending.began_at is None and not (isinstance(answer, NoAnswer) and answer.sent == "no"):
            sending.began_at = answer.began_at
    return answer


def _nothing_was_done(answer: Response | NoAnswer) -> bool:
    """Is it proven that the request was not carried out, and may it be made again?"""
    if isinstance(answer, NoAnswer):
        return answer.sent == "no"
    # RFC 9110 15.5.2: 401 says that the request "has not been applied", whoever answers so.
    return answer.status == 401 or _answers.is_throttling(answer)


def attempt(
    box: Mailbox, request: Request, *, safe: bool, sending: Sending | None = None
) -> Flow[Response | NoAnswer]:
    """Ask, and ask again after a failure that allows it; the last answer, whatever it is.

    What is not `safe` is repeated only after a proof that nothing was done: the request never left,
    or Graph itself says in its own words that it throttles, which it decides before a request is
    carried out ("Throttling guidance"). Any other 429, every 503, with or without Retry-After, and
    every other 5xx may come from a gateway that has passed the request on. Raises GraphThrottled
    when the wait is too long, or the last attempt is used up.
    """
    for attempt in range(box.retries + 1):
        answer = yield from ask(request, sending=sending)
        asked = _answers.retry_after(answer) if isinstance(answer, Response) else None
        if isinstance(answer, NoAnswer):
            again = safe or answer.sent == "no"
            turned_away = False
        else:
            busy = answer.status == 429 or (answer.status == 503 and asked is not None)
            turned_away = _answers.is_throttling(answer) or (safe and busy)
            lost = answer.status in (502, 503, 504) or answer.end == "lost"
            again = turned_away or (safe and lost)
        if not again:
            break
        backoff = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2**attempt) * random.uniform(0.5, 1.0)
        wait = backoff if not asked else asked + random.uniform(0.0, min(1.0, asked / 10))
        last = attempt == box.retries
        if turned_away and (last or (asked or 0.0) > LONGEST_WAIT):
            raise _throttled(request, answer, wait=asked or backoff, attempts=attempt + 1)
        if last:
            break
        if sending is not None and turned_away:
            sending.repeated = True
        wait = min(wait, LONGEST_WAIT + 1.0)
        log.info(
            "attempt %d of %d: %s; the next one in %.1f s (client-request-id %s)",
            *(attempt + 1, box.retries + 1, _said(answer), wait, answer.client_request_id),
        )
        yield Pause(wait)
    return answer


def _said(answer: Response | NoAnswer) -> str:
    return answer.reason if isinstance(answer, NoAnswer) else _answers.describe(answer)


def _throttled(
    request: Request, answer: Response | NoAnswer, *, wait: float, attempts: int
) -> GraphThrottled:
    got = _said(answer)
    # A gateway that turns something away may have passed it on.
    idle = request.method == "GET" or _nothing_was_done(answer)
    hint = "try again after that time, with fewer requests at once"
    error = GraphThrottled(
        f"Graph is throttling: after attempt {attempts} it asks to wait {wait:.0f} s: {got}",
        retry_after=wait,
        hint=f"nothing was carried out: {hint}" if idle else hint,
    )
    error.client_request_id = answer.client_request_id
    return error


def done(box: Mailbox, answer: Response | NoAnswer, *, ok: Collection[int]) -> Response:
    """The answer, if it is one of those wanted and whole; otherwise the error that it is."""
    if isinstance(answer, Response) and answer.status in ok:
        broken = _broken(answer)
        if broken is None:
            return answer
        broken.client_request_id = answer.client_request_id
        raise broken
    raise failure(box, answer)


def _broken(answer: Response) -> GraphError | None:
    if answer.headers.get("content-encoding", "identity") != "identity":
        return GraphError("Graph's answer is compressed, which was not asked for")
    if answer.end == "limit":
        return GraphError(
            f"Graph's answer is longer than the limit: {_size(answer)} bytes were read",
            hint="if the message is wanted all the same, fetch it with a higher limit",
        )
    if answer.end == "lost":
        return GraphUnreachable(
            f"Graph's answer broke off after {_size(answer)} bytes", hint="try again"
        )
    return None


def _size(answer: Response) -> int:
    return len(answer.spooled) or len(answer.body)


def failure(box: Mailbox, answer: Response | NoAnswer, *, hint: str | None = None) -> GraphError:
    """The error that an answer is which is not one of those wanted; `hint` wins over the tables."""
    error: GraphError
    if isinstance(answer, Response):
        error = _answers.refused(answer, host=box.host, hint=hint)
    else:
        hint = "check the network and the url; nothing was sent, so it is safe to try again"
        if "CERTIFICATE_VERIFY_FAILED" in answer.reason:
            hint = ROOTS
        error = GraphUnreachable(f"no answer from {box.host}: {answer.reason}", hint=hint)
    error.client_request_id = answer.client_request_id
    return error


def get(box: Mailbox, *path: str, **query: str) -> Request:
    return Request("GET", box.at(*path, **query), HEADERS)


def post(box: Mailbox, *path: str, kind: str | None = None, body: bytes = b"") -> Request:
    headers = {**HEADERS, "Content-Type": kind} if kind else HEADERS
    if path[-1] in SENDS:  # what comes with a 202 tells nothing
        return Request("POST", box.at(*path), headers, body, limit=ERROR_BODY_LIMIT)
    return Request("POST", box.at(*path), headers, body)  # the message in the answer may be large


def request_id(answer: Response | NoAnswer) -> str | None:
    return _answers.request_id_of(answer) if isinstance(answer, Response) else None
