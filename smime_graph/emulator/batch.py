"""Several requests in one ("JSON batching").

A part whose content is no JSON has the octets of its body in base64: so it is documented for
images, and so MIME is read here, whose body is base64 already. How Graph reads that is not
documented.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..loopback.exchange import Request, Response
from .exchange import json_response
from .json_message import lower_keys
from .refusal import Refusal

LIMIT = 20

ANSWER_LIMIT = 32 * 1024 * 1024  # after so many octets no further request is carried out

# general knowledge
_FAILED = Refusal(424, "FailedDependency", "A request that this one depends on failed.")
_TOO_MUCH = Refusal(  # ours
    503,
    "ErrorServerBusy",
    "The answers to the requests before this one are too long.",
    headers=(("Retry-After", "1"),),
)

Run = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class _Step:
    id: str
    request: Request
    after: tuple[str, ...]


def answer(
    request: Request, version: str, *, run: Run, refuse: Callable[[Refusal], Response]
) -> Response:
    """Answer a batch: `run` answers one request, `refuse` makes the answer of a refusal."""
    steps = _read(request, version)
    done: dict[str, Response] = {}
    for step in _in_order(steps):
        if any(done[one].status >= 400 for one in step.after):
            done[step.id] = refuse(_FAILED)
        elif sum(len(one.body) for one in done.values()) > ANSWER_LIMIT:
            done[step.id] = refuse(_TOO_MUCH)
        else:
            done[step.id] = run(step.request)
    return json_response(200, {"responses": [_shown(one, done[one]) for one in done]})


def _invalid(text: str = "Invalid batch payload format.") -> Refusal:
    return Refusal(400, "BadRequest", text)  # general knowledge


def _read(request: Request, version: str) -> Sequence[_Step]:
    try:
        value = json.loads(request.body)
    except (ValueError, RecursionError):
        raise _invalid() from None
    requests = value.get("requests") if isinstance(value, dict) else None
    if not isinstance(requests, list) or not requests:
        raise _invalid()
    if len(requests) > LIMIT:  # general knowledge
        raise Refusal(
            400,
            "MaximumValueExceeded",
            f"Number of batch request steps exceeds the maximum value of {LIMIT}.",
        )
    steps = [_step(request, version, one) for one in requests]
    known = {step.id for step in steps}
    if len(known) < len(steps):
        raise _invalid("The ids of the requests in a batch have to differ.")
    if not all(known.issuperset(step.after) for step in steps):
        raise _invalid("A request of a batch depends on one that is not there.")
    return steps


def _step(outer: Request, version: str, value: object) -> _Step:
    parts = lower_keys(value, "requests")
    own_id, method, url = (_text(parts.get(name)) for name in ("id", "method", "url"))
    after, headers = parts.get("dependson") or [], parts.get("headers") or {}
    if not isinstance(after, list) or not isinstance(headers, dict):
        raise _invalid()
    fields = [(_text(name), _text(field)) for name, field in headers.items()]
    # relative to the version ("JSON batching"); an address of another host is none
    target = f"/{version}/{url.lstrip('/')}"
    if re.match(r"/?[\w+.-]*://", url) or "$batch" in target.lower():
        raise _invalid("The url of a request of a batch is relative, and that of no batch.")
    if not any(name.lower() == "authorization" for name, _ in fields):
        fields += [one for one in outer.headers if one[0].lower() == "authorization"]
    body = _body(parts.get("body"))
    request = Request(method.upper(), target, tuple(fields), body, outer.origin)
    return _Step(own_id, request, tuple(_text(one) for one in after))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _invalid()
    return value


def _body(value: Any) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, str):
        try:
            return json.dumps(value).encode()
        except RecursionError:
            raise _invalid() from None
    text = value.translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("A body that is no JSON object has to be base64.") from None


def _in_order(steps: Sequence[_Step]) -> Sequence[_Step]:
    """The steps so that each comes after those it depends on, else as they were given."""
    left, placed = list(steps), list[_Step]()
    while left:
        names = {step.id for step in placed}
        ready = next((step for step in left if names.issuperset(step.after)), None)
        if ready is None:
            raise _invalid("The requests of a batch depend on one another in a circle.")
        placed.append(ready)
        left.remove(ready)
    return placed


def _shown(own_id: str, response: Response) -> Mapping[str, Any]:
    shown: dict[str, Any] = {
        "id": own_id,
        "status": response.status,
        "headers": dict(response.headers),
    }
    if response.body and (response.header("Content-Type") or "").startswith("application/json"):
        shown["body"] = json.loads(response.body)
    elif response.body:
        shown["body"] = base64.b64encode(response.body).decode()
    return shown
