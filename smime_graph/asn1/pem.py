"""PEM (RFC 7468): DER in base64 between a line that begins it and one that ends it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pybase64

from ..errors import MalformedMessage

BEGIN = b"-----BEGIN "
_BLANKS = b" \t\r\n\v\f"
_MAX_LABEL = 100


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between the two lines, and the label that both have."""

    label: str
    body: bytes

    @property
    def raw(self) -> bytes:
        """The whole block, with its two lines."""
        label = self.label.encode("latin-1")
        return b"-----BEGIN %b-----%b-----END %b-----\n" % (label, self.body, label)

    def der(self) -> bytes:
        """The octets in it. MalformedMessage where it holds another character than base64's and
        white space, headers (RFC 1421 4.6) among them."""
        try:
            return pybase64.b64decode(self.body.translate(None, _BLANKS), validate=True)
        except ValueError:
            raise MalformedMessage(f"PEM: what stands inside {self.label} is not base64") from None


def read_blocks(data: bytes) -> Iterator[Block]:
    """The blocks of a text, in one pass over it; what stands around them is no matter.

    MalformedMessage where one does not end, or ends with another label.
    """
    position = 0
    while (start := data.find(BEGIN, position)) >= 0:
        label_start = start + len(BEGIN)
        label_end = data.find(b"-----", label_start, label_start + _MAX_LABEL)
        body_end = data.find(b"-----END ", start)
        if label_end < 0 or body_end < label_end:
            raise MalformedMessage("PEM: a block that begins does not end")
        label = data[label_start:label_end]
        tail = b"-----END " + label + b"-----"
        if not data.startswith(tail, body_end):
            raise MalformedMessage("PEM: a block ends with another label than it begins with")
        position = body_end + len(tail)
        yield Block(label.decode("latin-1"), data[label_end + 5 : body_end])


def write_block(label: str, der: bytes) -> bytes:
    """A block, in lines of 64 characters."""
    text = pybase64.b64encode(der)
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return Block(label, b"\n".join((b"", *lines, b""))).raw
