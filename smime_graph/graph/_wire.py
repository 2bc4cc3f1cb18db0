"""What a flow asks of its driver, and what it is given back.

A flow is a generator: it yields a `Request`, a `Pause`, a `NeedToken` or an `OnDisk`, and receives
a `Response` or a `NoAnswer`, nothing, a token, or what the work gave. Rule 1: nothing here does I/O
or knows who does. Rule 2: a token and the content of a message never show in a repr.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from ..buffers import Data

T = TypeVar("T")

# An error answer is read to here and no further: Graph's own are under 2 KiB, a gateway's page is
# not worth more.
ERROR_BODY_LIMIT = 64 * 1024

# the actions that send a message
SENDS = frozenset({"sendMail", "reply", "replyAll", "forward", "send"})


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `limit` is the most bytes that are read of a successful answer's body.

    That may be large: where it is to be `spooled` it is no `body` of the answer, and not in memory.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    limit: int = 16 * 1024 * 1024
    spooled: bool = False
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this many seconds before going on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class NeedToken:
    """Hand in an access token; another than `rejected`, which was just refused, if there is one.

    `claims` is what the service wants to see in it, as JSON.
    """

    rejected: str | None = field(default=None, repr=False)
    claims: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """The status line came, so Graph did answer; header names are lower case.

    `end` tells how the body ended: `whole`, cut at our `limit`, or `lost` on the way. `received_at`
    is in Unix seconds (a `Retry-After` date is measured against it). `began_at` is when the request
    was begun, in seconds of a clock that nobody sets: two of them tell how long something took.
    `client_request_id` is that of the request and `token` the one it carried, which no text made
    from the answer may repeat; the flow puts both there.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    spooled: Data = field(default=b"", repr=False)
    end: Literal["whole", "limit", "lost"] = "whole"
    received_at: float = 0.0
    began_at: float = 0.0
    client_request_id: str | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No status line came. `sent` says whether the request left this machine.

    Only `no` (it certainly did not) lets a send be repeated; `yes` and `unknown` differ in nothing
    but what a person is told. `reason` is for people and holds no secret.
    """

    sent: Literal["yes", "no", "unknown"]
    reason: str
    began_at: float = 0.0
    client_request_id: str | None = None


@dataclass(frozen=True, slots=True)
class OnDisk:
    """Do this before going on: it may wait for a disk or a lock, and what it gives is the answer.

    Once begun it is done whole, whatever ends the call in the meantime.
    """

    work: Callable[[], Any]


Effect: TypeAlias = Request | Pause | NeedToken | OnDisk
Flow: TypeAlias = Generator[Effect, Any, T]
