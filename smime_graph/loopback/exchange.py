"""What goes in and what comes out: a request, a response, and what becomes of a connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. `target` is the path with its query as on the request line; `origin` is
    what the client takes this service for, and what links in answers begin with.
    """

    method: str
    target: str
    headers: Headers = field(default=(), repr=False)  # a token is in there
    body: bytes = field(default=b"", repr=False)
    origin: str = "https://graph.microsoft.com"


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response; Content-Length is left to whoever writes it."""

    status: int
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str | None:
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a client sees: an answer after `delay` seconds, or a connection that breaks."""

    response: Response | None
    delay: float = 0.0
    refused: bool = False


Handler = Callable[[Request], Exchange]
