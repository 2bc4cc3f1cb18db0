"""One exchange with Graph, and when it may be repeated. Generators, no I/O: see `_wire`."""

from __future__ import annotations

import random
import uuid
from collections.abc import Collection
from dataclasses import replace

from ..errors import GraphError, GraphThrottled, GraphUnreachable
from . import _answers
from ._mailbox import Mailbox
from ._wire import Flow, NeedToken, NoAnswer, Pause, Request, Response

# Seconds. We wait so long when asked to; Exchange's windows are 5 and 10 minutes ("Throttling
# limits").
LONGEST_WAIT = 60.0
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 30.0

# An immutable id stays the same when a draft is sent and moves to Sent Items, which is what lets a
# lost answer be settled. The preference must be on every request ("Get immutable identifiers").
HEADERS = {"Prefer": 'IdType="ImmutableId"'}


def ask(request: Request) -> Flow[Response | NoAnswer]:
    """One request with a token; a 401 gets one new token and one more try.

    Safe for a send as well: 401 is decided before anything is carried out.
    """
    token: str = yield NeedToken()
    answer: Response | NoAnswer = yield _stamped(request, token)
    if isinstance(answer, Response) and answer.status == 401:
        fresh: str = yield NeedToken(rejected=token)
        if fresh != token:
            answer = yield _stamped(request, fresh)
    return answer


def _stamped(request: Request, token: str) -> Request:
    # A GUID of its own on every request, as Graph's "Best practices" asks: support finds it by
    # that.
    return replace(
        request, token=token, headers={**request.headers, "client-request-id": str(uuid.uuid4())}
    )


def attempt(box: Mailbox, request: Request, *, safe: bool) -> Flow[Response | NoAnswer]:
    """Ask, and ask again after a failure that allows it; the last answer, whatever it is.

    429, and 503 with Retry-After, are turned away at the gate: throttling is decided before a
    request is carried out, and Graph tells everybody, senders included, to wait and repeat it
    ("Throttling guidance"). 503 without Retry-After, 500, 502 and 504 come from gateways too and
    prove nothing, so they are repeated only where that is `safe`. Raises GraphThrottled when the
    wait is too long, or the last attempt is used up.
    """
    for attempt in range(box.retries + 1):
        answer = yield from ask(request)
        asked = _answers.retry_after(answer) if isinstance(answer, Response) else None
        if isinstance(answer, NoAnswer):
            again = safe or answer.sent == "no"
            turned_away = False
        else:
            turned_away = answer.status == 429 or (answer.status == 503 and asked is not None)
            lost = answer.status in (502, 503, 504) or answer.end == "lost"
            again = turned_away or (safe and lost)
        if not again:
            break
        backoff = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2**attempt) * random.uniform(0.5, 1.0)
        wait = backoff if not asked else asked + random.uniform(0.0, min(1.0, asked / 10))
        last = attempt == box.retries
        if turned_away and (last or (asked or 0.0) > LONGEST_WAIT):
            raise _throttled(answer, wait=asked or backoff, attempts=attempt + 1)
        if last:
            break
        yield Pause(min(wait, LONGEST_WAIT + 1.0))
    return answer


def _throttled(answer: Response | NoAnswer, *, wait: float, attempts: int) -> GraphThrottled:
    got = _answers.describe(answer) if isinstance(answer, Response) else answer.reason
    return GraphThrottled(
        f"Graph is throttling: after attempt {attempts} it asks to wait {wait:.0f} s: {got}",
        retry_after=wait,
        hint="nothing was carried out: try again after that time, with fewer requests at once",
    )


def done(box: Mailbox, answer: Response | NoAnswer, *, ok: Collection[int]) -> Response:
    """The answer, if it is one of those wanted and whole; otherwise the error that it is."""
    if isinstance(answer, NoAnswer) or answer.status not in ok:
        raise failure(box, answer)
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise GraphError("Graph's answer is compressed, which was not asked for")
    if answer.end == "limit":
        raise GraphError(
            f"Graph's answer is longer than the limit: {len(answer.body)} bytes were read",
            hint="if the message is wanted all the same, fetch it with a higher limit",
        )
    if answer.end == "lost":
        raise GraphUnreachable(
            f"Graph's answer broke off after {len(answer.body)} bytes", hint="try again"
        )
    return answer


def failure(box: Mailbox, answer: Response | NoAnswer) -> GraphError:
    if isinstance(answer, Response):
        return _answers.refused(answer, host=box.host)
    return GraphUnreachable(
        f"no answer from {box.host}: {answer.reason}",
        hint="check the network and the url; nothing was sent, so it is safe to try again",
    )


def get(box: Mailbox, *path: str, **query: str) -> Request:
    return Request("GET", box.at(*path, **query), HEADERS)


def post(box: Mailbox, *path: str, kind: str | None = None, body: bytes = b"") -> Request:
    headers = {**HEADERS, "Content-Type": kind} if kind else HEADERS
    return Request("POST", box.at(*path), headers, body)


def request_id(answer: Response | NoAnswer) -> str | None:
    return _answers.request_id_of(answer) if isinstance(answer, Response) else None
