"""ContentInfo ::= SEQUENCE { contentType OBJECT IDENTIFIER, [0] EXPLICIT content }

(RFC 5652 3) What CMS and PKCS #12 begin with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from ..budget import Budget
from ..buffers import Data, Octets, Rope, joined
from ..errors import MalformedMessage
from . import ber
from .ber import Fields, Node


@overload
def content_info(oid: str, content: Sequence[Data]) -> bytes: ...
@overload
def content_info(oid: str, content: Sequence[Octets]) -> bytes | Rope: ...
def content_info(oid: str, content: Sequence[Octets]) -> bytes | Rope:
    """ContentInfo around the elements of a SEQUENCE, joined once."""
    size, kind = sum(map(len, content)), ber.oid(oid)
    inside = ber.header(ber.SEQUENCE, size)
    explicit = ber.header(0xA0, len(inside) + size)
    outside = ber.header(ber.SEQUENCE, len(kind) + len(explicit) + len(inside) + size)
    return joined([outside, kind, explicit, inside, *content])


def read_content_info(
    der: Data, expected: str | None = None, *, budget: Budget | None = None
) -> tuple[str, Node]:
    """Content type and content of a ContentInfo that fills `der`; MalformedMessage otherwise."""
    oid, content = read_element(ber.read(der, "ContentInfo", budget=budget))
    if expected is not None and oid != expected:
        raise MalformedMessage(f"ContentInfo: content type is {oid} instead of {expected}")
    return oid, content


def read_element(node: Node) -> tuple[str, Node]:
    """Content type and content of a ContentInfo inside something else."""
    fields = Fields(node.expect(ber.SEQUENCE, "ContentInfo"), "ContentInfo")
    oid = fields.any("contentType").as_oid("contentType")
    content = fields.take(0xA0, "content").only("content")
    fields.end()
    return oid, content
