"""Answers in the form of Graph's."""

from __future__ import annotations

import json

from ..loopback.exchange import Headers, Response


def json_response(status: int, value: object, *, headers: Headers = ()) -> Response:
    kind = "application/json;odata.metadata=minimal;odata.streaming=true;charset=utf-8"
    return Response(status, (("Content-Type", kind), *headers), json.dumps(value).encode())
