"""ASN.1: the DER writer and the strict BER/DER reader.

The writer returns bytes; `nest` puts headers around a list of segments, so that a large content is
copied once, by the final join. The reader gives offsets into the buffer it was handed: nothing is
copied or encoded again, so what was signed stays what was received.

BER is read where CMS allows it (indefinite lengths, constructed strings: RFC 5652 section 1.1, RFC
4134); everything else is strict: minimal integers and object identifiers, no trailing data, bounded
depth and count. Every fault is a `MalformedMessage` that names the structure and the offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from struct import Struct
from typing import TypeVar, overload

from ..budget import ELEMENT, Budget
from ..buffers import Data, Octets, chunks, gather, let_go_of
from ..errors import MalformedMessage, UnsupportedAlgorithm

T = TypeVar("T")

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
UTF8_STRING = 0x0C
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31
CONSTRUCTED = 0x20

# A message in which every octet string is chunked at 1 KB has two elements a KB; a million is a
# gigabyte.
MAX_ELEMENTS = 1_000_000
# OpenSSL stops at 30 levels of constructed strings, asn1crypto at 10; a triple-wrapped message
# needs 12 in all.
MAX_DEPTH = 32
_MAX_OID_OCTETS = 64
_PASSED = 1 << 20  # octets of a mapped file that are passed before their pages are let go
# Elements are paid for in advance, so many at a time.
_ADVANCE = 256
# Serial numbers have 20 octets, and the odd one more; Python writes no number of over 4300 digits
# as text, which is where an error would put it.
_MAX_INTEGER_OCTETS = 1024

# --- writer ---------------------------------------------------------------------------------------


def header(tag: int, length: int) -> bytes:
    """Identifier and length octets of a definite-length element; `tag` is one identifier octet."""
    if length < 0x80:
        return bytes((tag, length))
    if length <= 0xFFFF:
        return _LONG(tag, 0x82, length) if length > 0xFF else bytes((tag, 0x81, length))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets


_LONG = Struct(">BBH").pack


def tlv(tag: int, *contents: bytes) -> bytes:
    body = b"".join(contents)
    return header(tag, len(body)) + body


@overload
def nest(tag: int, segments: Sequence[Data]) -> list[Data]: ...
@overload
def nest(tag: int, segments: Sequence[Octets]) -> list[Octets]: ...
def nest(tag: int, segments: Sequence[Octets]) -> Sequence[Octets]:
    """The same segments with a header in front, joined by nobody yet."""
    return [header(tag, sum(map(len, segments))), *segments]


def sequence(*elements: bytes) -> bytes:
    return tlv(SEQUENCE, *elements)


def set_of(*elements: bytes) -> bytes:
    """SET OF in DER: sorted by their encodings (X.690 11.6)."""
    return tlv(SET, *sorted(elements))


def context(number: int, *contents: bytes, constructed: bool = True) -> bytes:
    return tlv(0xA0 | number if constructed else 0x80 | number, *contents)


def octet_string(value: bytes) -> bytes:
    return tlv(OCTET_STRING, value)


def bit_string(value: bytes) -> bytes:
    """BIT STRING of whole octets."""
    return tlv(BIT_STRING, b"\0", value)


def integer(value: int) -> bytes:
    return tlv(
        INTEGER, value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True)
    )


def null() -> bytes:
    return b"\x05\x00"


@lru_cache(maxsize=512)
def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = bytearray()
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(0x80 | arc & 0x7F)
        out += bytes(reversed(septets))
    return tlv(OBJECT_IDENTIFIER, bytes(out))


def time(moment: datetime) -> bytes:
    """Time of CMS and X.509: UTCTime through 2049, then GeneralizedTime (RFC 5652 11.3)."""
    moment = moment.astimezone(UTC)
    if 1950 <= moment.year < 2050:
        return tlv(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(GENERALIZED_TIME, f"{moment.year:04}{moment:%m%d%H%M%S}Z".encode())


# --- reader ---------------------------------------------------------------------------------------

Span = tuple[int, int, int, int, int]
"""An element: its tag, and where it, its contents, what is behind them, and what is behind it
begin."""


class _Mapped:
    """A mapped file that gives bytes, as bytes do. Pages that were passed are let go."""

    __slots__ = ("_data", "_since")

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._since = 0

    def __len__(self) -> int:
        return len(self._data)

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: int | slice) -> int | bytes:
        if isinstance(key, int):
            return self._data[key]
        if abs(key.start - self._since) > _PASSED:
            let_go_of(self._data)
            self._since = key.start
        return bytes(self._data[key])


class _Source:
    """The buffer, what is known of its indefinite lengths, and how much may still be read.

    `left` elements may be read before more are paid for out of the message's budget; without one
    there are `MAX_ELEMENTS` of them.
    """

    __slots__ = ("_budget", "buffer", "data", "ends", "left", "what")

    def __init__(self, data: Data, what: str, budget: Budget | None = None) -> None:
        self.data = data
        self.buffer = data if isinstance(data, bytes) else _Mapped(data)
        self.what = what
        self._budget = budget
        self.ends: dict[
            int, int
        ] = {}  # where an indefinite contents begins -> where its 00 00 stands
        self.left = MAX_ELEMENTS if budget is None else 0

    def _pay(self, pos: int) -> None:
        """Pay for more elements, the one at `pos` among them."""
        if self._budget is None:
            raise self.fault(f"more than {MAX_ELEMENTS} ASN.1 elements", pos)
        self._budget.spend("ASN.1 elements", ELEMENT * _ADVANCE)
        self.left += _ADVANCE

    def fault(self, text: str, offset: int) -> MalformedMessage:
        return MalformedMessage(f"{self.what}: {text} at offset {offset}")

    def header(self, pos: int, limit: int) -> tuple[int, int, int]:
        """Tag, start and end (-1: indefinite) of the contents of the element at `pos`."""
        self.left -= 1
        if self.left < 0:
            self._pay(pos)
        buffer = self.buffer
        if pos + 2 > limit:
            raise self.fault("ASN.1 element is cut off", pos)
        tag, length = buffer[pos], buffer[pos + 1]
        body = pos + 2
        if (
            tag & 0x1F == 0x1F
        ):  # a tag number over 30: nothing in CMS has one, but it may be skipped
            number = 0
            while length & 0x80:
                number = number << 7 | length & 0x7F
                if number > 0xFFFF or body >= limit:
                    raise self.fault("ASN.1 tag number is too large or cut off", pos)
                length = buffer[body]
                body += 1
            tag |= (number << 7 | length & 0x7F) << 8
            if body >= limit:
                raise self.fault("ASN.1 element is cut off", pos)
            length = buffer[body]
            body += 1
        if length < 0x80:
            stop = body + length
        elif length == 0x80:
            if not tag & CONSTRUCTED:
                raise self.fault("indefinite length of a primitive ASN.1 element", pos)
            return tag, body, -1
        else:
            count = length & 0x7F
            if count > 8 or body + count > limit:
                raise self.fault("ASN.1 length is too large or cut off", pos)
            stop = body + count + int.from_bytes(buffer[body : body + count], "big")
            body += count
        if stop > limit:
            raise self.fault(f"ASN.1 element of {stop - body} octets is cut off", pos)
        return tag, body, stop

    def find_end(self, body: int, limit: int) -> int:
        """Where the end-of-contents octets of the indefinite contents at `body` stand.

        Ends of nested elements are remembered, so a whole message is scanned once.
        """
        if (known := self.ends.get(body)) is not None:
            return known
        open_bodies, pos = [body], body
        while open_bodies:
            if self.buffer[pos : pos + 2] == b"\0\0" and pos + 2 <= limit:
                self.ends[open_bodies.pop()] = pos
                pos += 2
                continue
            _, inner, stop = self.header(pos, limit)
            if stop >= 0:
                pos = stop
            elif len(open_bodies) >= MAX_DEPTH:
                raise self.fault(f"ASN.1 nested deeper than {MAX_DEPTH}", pos)
            else:
                open_bodies.append(inner)
                pos = inner
        return self.ends[body]

    def node(self, pos: int, limit: int) -> Node:
        body = pos + 2
        if body <= limit and self.left > 0:
            # what nearly every element is: a tag of one octet, a length of at most three
            buffer = self.buffer
            tag, length = buffer[pos], buffer[pos + 1]
            if tag & 0x1F != 0x1F:
                if length < 0x80:
                    stop = body + length
                elif length == 0x81 and body < limit:
                    stop = body + 1 + buffer[body]
                    body += 1
                elif length == 0x82 and body + 2 <= limit:
                    stop = body + 2 + (buffer[body] << 8 | buffer[body + 1])
                    body += 2
                else:
                    stop = limit + 1
                if stop <= limit:
                    self.left -= 1
                    return Node(self, tag, pos, body, stop, stop)
        tag, body, stop = self.header(pos, limit)
        if stop >= 0:
            return Node(self, tag, pos, body, stop, stop)
        stop = self.find_end(body, limit)
        return Node(self, tag, pos, body, stop, stop + 2)

    def spans(self, pos: int, limit: int, count: int = MAX_ELEMENTS) -> list[Span]:
        """The first elements between two offsets: as `node`, for those that come in dozens."""
        found: list[Span] = []
        buffer = self.buffer
        while pos < limit and len(found) < count:
            body, stop = pos + 2, limit + 1
            if body <= limit and self.left > 0:
                tag, length = buffer[pos], buffer[pos + 1]
                if length < 0x80:
                    stop = body + length
                elif length == 0x81 and body < limit:
                    stop = body + 1 + buffer[body]
                    body += 1
                elif length == 0x82 and body + 2 <= limit:
                    stop = body + 2 + (buffer[body] << 8 | buffer[body + 1])
                    body += 2
                if stop <= limit and tag & 0x1F != 0x1F:
                    self.left -= 1
                    found.append((tag, pos, body, stop, stop))
                    pos = stop
                    continue
            one = self.node(pos, limit)
            found.append((one.tag, pos, one.body, one.stop, one.end))
            pos = one.end
        return found

    def pay_for(self, elements: int, pos: int) -> None:
        """Count elements that were read before, elsewhere."""
        self.left -= elements
        while self.left < 0:
            self._pay(pos)


class Node:
    """One element: its identifier octet and where it stands in the buffer."""

    __slots__ = ("_source", "body", "end", "start", "stop", "tag")

    def __init__(
        self, source: _Source, tag: int, start: int, body: int, stop: int, end: int
    ) -> None:
        self._source = source
        self.tag = tag
        self.start = start
        self.body = body
        self.stop = stop
        self.end = end

    @property
    def raw(self) -> bytes:
        """The whole element as received, header included."""
        return self._source.buffer[self.start : self.end]

    @property
    def contents(self) -> bytes:
        """The contents octets as received (of a primitive element: its value)."""
        return self._source.buffer[self.body : self.stop]

    @property
    def is_definite(self) -> bool:
        return self.stop == self.end

    def fault(self, text: str) -> MalformedMessage:
        return self._source.fault(text, self.start)

    def expect(self, tag: int, name: str) -> Node:
        if self.tag != tag:
            raise self.fault(f"{name} has ASN.1 tag 0x{self.tag:02x} instead of 0x{tag:02x}")
        return self

    def __iter__(self) -> Iterator[Node]:
        if not self.tag & CONSTRUCTED:
            raise self.fault("a constructed ASN.1 element was expected")
        source, pos, stop = self._source, self.body, self.stop
        while pos < stop:
            node = source.node(pos, stop)
            yield node
            pos = node.end

    def spans(self) -> list[Span]:
        """Where all elements inside stand, for those that have few; `at` makes a node of one."""
        if not self.tag & CONSTRUCTED:
            raise self.fault("a constructed ASN.1 element was expected")
        return self._source.spans(self.body, self.stop)

    def pay_for(self, elements: int) -> None:
        """Count elements inside that need not be read again."""
        self._source.pay_for(elements, self.start)

    def at(self, span: Span) -> Node:
        """The node of an element that stands somewhere inside."""
        return Node(self._source, *span)

    def spans_in(self, span: Span) -> list[Span]:
        """Where all elements inside one of its elements stand."""
        tag, _, body, stop, _ = span
        return self._source.spans(body, stop) if tag & CONSTRUCTED else self.at(span).spans()

    def oid_in(self, span: Span, name: str) -> str:
        """The OBJECT IDENTIFIER that one of its elements is."""
        tag, _, body, stop, _ = span
        if tag == OBJECT_IDENTIFIER:
            try:
                return _decode_oid(self._source.buffer[body:stop])
            except ValueError:
                pass
        return self.at(span).as_oid(name)  # which says what is wrong with it

    def children(self) -> list[Node]:
        """All elements inside, for those that have few: quicker than one by one."""
        source = self._source
        return [Node(source, *span) for span in self.spans()]

    def only(self, name: str) -> Node:
        """The one element inside an EXPLICIT tag."""
        fields = Fields(self, name)
        node = fields.any(name)
        fields.end()
        return node

    # Values. Each raises MalformedMessage where the octets are not a value of the type.

    def as_integer(self, name: str = "INTEGER", *, tag: int = INTEGER) -> int:
        octets = self.expect(tag, name).contents
        if not octets:
            raise self.fault(f"{name} is empty")
        if len(octets) > 1 and (octets[0], octets[1] & 0x80) in ((0, 0), (0xFF, 0x80)):
            raise self.fault(f"{name} is not minimal")
        if len(octets) > _MAX_INTEGER_OCTETS:
            raise self.fault(
                f"{name} has {len(octets)} octets, at most {_MAX_INTEGER_OCTETS} are read"
            )
        return int.from_bytes(octets, "big", signed=True)

    def as_oid(self, name: str = "OBJECT IDENTIFIER") -> str:
        try:
            return _decode_oid(self.expect(OBJECT_IDENTIFIER, name).contents)
        except ValueError:
            raise self.fault(f"{name} is not an object identifier") from None

    def as_octets(self, name: str = "OCTET STRING", *, tag: int = OCTET_STRING) -> memoryview:
        """The value of an OCTET STRING, primitive or constructed; `tag` is the primitive form's.

        A primitive one is a view of the buffer; the pieces of a constructed one are joined once,
        those of a large one in a temporary file.
        """
        data = memoryview(self._source.data)
        if self.tag == tag:
            return data[self.body : self.stop]
        self.expect(tag | CONSTRUCTED, name)
        whole = gather(chunk for at in self._strings(name) for chunk in chunks(data[at]))
        return memoryview(whole)

    def _strings(self, name: str) -> Iterator[slice]:
        """Where the primitive pieces of a constructed OCTET STRING stand."""
        stack = [iter(self)]
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
            elif node.tag == OCTET_STRING:
                yield slice(node.body, node.stop)
            elif node.tag != OCTET_STRING | CONSTRUCTED:
                raise node.fault(f"{name} is constructed of something else than OCTET STRING")
            elif len(stack) >= MAX_DEPTH:
                raise node.fault(f"ASN.1 nested deeper than {MAX_DEPTH}")
            else:
                stack.append(iter(node))

    def as_bits(self, name: str = "BIT STRING") -> bytes:
        """A BIT STRING of whole octets."""
        octets = self.expect(BIT_STRING, name).contents
        if not octets or octets[0] != 0:
            raise self.fault(f"{name} is not a BIT STRING of whole octets")
        return octets[1:]

    def as_time(self, name: str = "Time") -> datetime:
        """UTCTime or GeneralizedTime with seconds, Z and no fraction (RFC 5652 11.3)."""
        text = self.contents.decode("latin-1")
        if self.tag == UTC_TIME and len(text) == 13:
            # YY from 50 is 19YY (RFC 5652 11.3)
            text = ("19" if text[:2] >= "50" else "20") + text
        elif self.tag != GENERALIZED_TIME or len(text) != 15:
            raise self.fault(f"{name} is not a time with seconds and Z")
        if not (text.isascii() and text[:14].isdigit() and text[14] == "Z"):
            raise self.fault(f"{name} is not a time with seconds and Z")
        try:
            return datetime(
                int(text[:4]),
                int(text[4:6]),
                int(text[6:8]),
                int(text[8:10]),
                int(text[10:12]),
                int(text[12:14]),
                tzinfo=UTC,
            )
        except ValueError:
            raise self.fault(f"{name} is not a date") from None


class Fields:
    """The components of a SEQUENCE, or of anything tagged like one, in their order."""

    __slots__ = ("_name", "_next", "_source", "node")

    def __init__(self, node: Node, name: str) -> None:
        if not node.tag & CONSTRUCTED:
            raise node.fault(f"{name}: a constructed ASN.1 element was expected")
        self.node = node
        self._name = name
        self._source = node._source
        self._next = self._source.node(node.body, node.stop) if node.body < node.stop else None

    @property
    def more(self) -> bool:
        return self._next is not None

    def any(self, name: str) -> Node:
        node = self._next
        if node is None:
            raise self.node.fault(f"{self._name} has no {name}")
        stop = self.node.stop
        self._next = self._source.node(node.end, stop) if node.end < stop else None
        return node

    def take(self, tag: int, name: str) -> Node:
        node = self.any(name)
        return node if node.tag == tag else node.expect(tag, f"{self._name} {name}")

    def optional(self, *tags: int) -> Node | None:
        node = self._next
        if node is None or node.tag not in tags:
            return None
        return self.any("")

    def end(self) -> None:
        if self._next is not None:
            raise self._next.fault(f"{self._name} has an element too many")


def read(buffer: Data, what: str, *, tag: int = SEQUENCE, budget: Budget | None = None) -> Node:
    """The one element that fills `buffer`; trailing octets are an error.

    What is read of it later is paid for out of `budget`, too.
    """
    source = _Source(buffer, what, budget)
    node = source.node(0, len(buffer)).expect(tag, what)
    if node.end != len(buffer):
        raise source.fault(f"{len(buffer) - node.end} octets of trailing data", node.end)
    return node


def end_of(buffer: bytes) -> int:
    """Where the first element ends, of whatever kind; 0 where there is no whole one."""
    try:
        return _Source(buffer, "DER").node(0, len(buffer)).end
    except MalformedMessage:
        return 0


def spans(
    buffer: bytes, what: str, *, start: int, stop: int, count: int
) -> list[tuple[int, int, int, int]]:
    """Tag, start, body and end of the first `count` elements between two offsets.

    For structures in DER of which a few octets are looked at, as certificates are.
    """
    source = _Source(buffer, what)
    found: list[tuple[int, int, int, int]] = []
    for tag, begin, body, end, behind in source.spans(start, stop, count):
        if behind != end:
            raise source.fault("indefinite length in DER", begin)
        found.append((tag, begin, body, end))
    return found


def remembered(read: Callable[[Node], T], *, entries: int, longest: int) -> Callable[[Node], T]:
    """A reader of elements, of which the last answers are kept by the octets of what was read, for
    elements of at most so many.

    The answer must be all that is ever read of the element, and nothing that can be changed. It is
    read from a copy, so that what is kept does not hold the message, and counts the same each time.
    What is refused is read where it stands, because the error says where that is.
    """

    @lru_cache(maxsize=entries)
    def read_copy(octets: bytes) -> tuple[T, int] | None:
        source = _Source(octets, "a copy")
        node = source.node(0, len(octets))
        before = source.left
        try:
            found = read(node)
        except (MalformedMessage, UnsupportedAlgorithm):
            return None
        # where lengths are indefinite it costs less to read what is part of another element
        return None if source.ends else (found, before - source.left)

    def call(node: Node) -> T:
        is_kept = node.is_definite and node.end - node.start <= longest
        known = read_copy(node.raw) if is_kept else None
        if known is None:
            return read(node)
        node.pay_for(known[1])
        return known[0]

    return call


@lru_cache(maxsize=512)
def _decode_oid(octets: bytes) -> str:
    if not octets or octets[-1] & 0x80 or len(octets) > _MAX_OID_OCTETS:
        raise ValueError
    arcs: list[int] = []
    value = 0
    for position, octet in enumerate(octets):
        if value == 0 and octet == 0x80 and (position == 0 or not octets[position - 1] & 0x80):
            raise ValueError  # a leading 0x80 is not minimal
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
