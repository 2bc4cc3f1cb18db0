"""AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }

(RFC 5280 4.1.1.2)
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from ..errors import MalformedMessage
from . import ber
from .ber import Fields, Node

_NULL = ber.null()


class AlgorithmIdentifier(NamedTuple):
    """An AlgorithmIdentifier as received: `raw` is all of it, `parameters` the element after the
    OID.
    """

    oid: str
    parameters: Node | None
    raw: bytes

    @classmethod
    def read(cls, node: Node, name: str) -> AlgorithmIdentifier:
        if (known := _read_lately(node)) is not None:
            return known
        parts = node.children()
        if not 1 <= len(parts) <= 2:
            raise node.fault(f"{name} has {len(parts)} elements instead of 1 or 2")
        oid = parts[0].as_oid(name)
        return cls(oid, parts[1] if len(parts) == 2 else None, node.raw)

    @classmethod
    def take(cls, fields: Fields, name: str, where: str = "") -> AlgorithmIdentifier:
        """The next of these fields, which must be one."""
        return cls.read(fields.take(ber.SEQUENCE, name), where or name)

    @property
    def has_no_parameters(self) -> bool:
        """Absent or NULL, which mean the same wherever an algorithm has none (RFC 5754 2)."""
        return self.parameters is None or self.parameters.raw == _NULL

    @classmethod
    def _of_usual(cls, node: Node) -> AlgorithmIdentifier | None:
        """One without parameters; None for all others, of which more is read later, and which are
        refused where they stand.
        """
        parts = node.children()
        usual = [ber.OBJECT_IDENTIFIER, ber.NULL][: len(parts)]
        if not parts or [one.tag for one in parts] != usual:
            return None
        with suppress(MalformedMessage):
            return cls(parts[0].as_oid(), parts[1] if len(parts) == 2 else None, node.raw)
        return None

    def same_as(self, other: AlgorithmIdentifier) -> bool:
        if self.oid != other.oid:
            return False
        if self.has_no_parameters or other.has_no_parameters:
            return self.has_no_parameters and other.has_no_parameters
        return self.raw[1:] == other.raw[1:]  # either may be tagged IMPLICIT


_read_lately = ber.remembered(AlgorithmIdentifier._of_usual, entries=64, longest=16)
