"""Lines as mail has them: they end in CRLF, and are at most 998 octets long."""

from __future__ import annotations

import re

MAX_LINE = 998  # RFC 5322 2.1.1
_BARE_LF = re.compile(rb"(?<!\r)\n")


def crlf(data: bytes) -> bytes:
    """All line ends as CRLF; a bare CR stays."""
    ends = data.count(b"\r\n")
    if data.count(b"\n") == ends:
        return data
    stripped = data.translate(None, b"\r")
    if len(data) - len(stripped) == ends:
        return stripped.replace(b"\n", b"\r\n")
    return _BARE_LF.sub(b"\r\n", data)


def has_long_line(body: bytes) -> bool:
    start = 0
    while len(body) - start > MAX_LINE:
        end = body.rfind(b"\n", start, start + MAX_LINE + 2)
        if end < 0:
            return True
        start = end + 1
    return False
