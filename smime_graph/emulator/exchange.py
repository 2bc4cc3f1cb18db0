"""Answers in the form of Graph's."""

from __future__ import annotations

import json
from email.utils import formatdate
from functools import lru_cache

from ..loopback.exchange import Headers, Response


def json_response(status: int, value: object, *, headers: Headers = ()) -> Response:
    kind = "application/json;odata.metadata=minimal;odata.streaming=true;charset=utf-8"
    return Response(status, (("Content-Type", kind), *headers), json.dumps(value).encode())


def http_date(now: float) -> str:
    """The value of a Date field (RFC 9110 5.6.7)."""
    return _date_of(int(now))


@lru_cache(maxsize=4)
def _date_of(second: int) -> str:
    return formatdate(second, usegmt=True)
