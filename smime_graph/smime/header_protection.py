"""Header protection as it is read (RFC 9788 4): which fields are protected, and how the message is
shown.

The protected fields stand in the header of the Cryptographic Payload, which says so by the
parameter hp of its Content-Type; anywhere else hp means nothing. Two older forms are read as well:
the whole message in a message/rfc822 (RFC 8551 3.1), and protected-headers="v1"
(draft-autocrypt-lamps-protected-headers). What is made stands in `outgoing`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ..buffers import Data, find
from ..errors import MalformedMessage
from ..findings import Finding, finding
from ..pki.address import mailboxes, parse_header_addresses
from ..text import printable
from .entity import MESSAGES, ContentType, Entity, HeaderField, split_multipart
from .fields import decode_words, moment_of

HeaderProtection = Literal["clear", "cipher"]
FieldState = Literal["unprotected", "signed-only", "encrypted-only", "signed-and-encrypted"]
HeaderProtectionForm = Literal["hp", "message/rfc822", "protected-headers"]

HP_OUTER = "hp-outer"
# RFC 9787 1.1.2; RFC 9788 1.9 shows Keywords among them
USER_FACING = frozenset(
    ("subject", "from", "to", "cc", "date", "reply-to", "followup-to", "sender", "comments")
    + ("keywords", "resent-from", "resent-to", "resent-cc", "resent-date", "resent-sender")
)
# What a reader is shown, or acts upon, beside those (RFC 9788 4.6, 6.2)
_ACTED_UPON = USER_FACING | {"mail-followup-to", "message-id", "in-reply-to", "references"}
# RFC 9788 7: what is added on the way, which no composer can have known
_ADDED_IN_TRANSIT = frozenset(
    ("received", "received-spf", "return-path", "delivered-to", "dkim-signature", "archived-at")
    + ("authentication-results", "bcc")
)
_ADDED_BEGIN = ("x-", "list-", "arc-", "resent-")
# RFC 5322 3.6: those of which a message has one
_SINGLE = frozenset(
    ("date", "from", "sender", "reply-to", "to", "cc", "message-id", "in-reply-to", "references")
    + ("subject",)
)
_WITH_ADDRESSES = ("from", "sender", "reply-to", "to", "cc", "mail-followup-to")
_MAX_COMPARED = 1 << 16  # characters of a value that is more than octets
_MAX_ALIKE = 100  # fields of one name that are more than octets
_DUPLICATE = re.compile(r";\s*hp\s*=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FieldProtection:
    """What protects one header field (RFC 9788 4.3); its value is in the message alone."""

    name: str
    state: FieldState


@dataclass(frozen=True, slots=True)
class ProtectedHeader:
    """The protected fields of a message, as its signer or sender wrote them.

    `intent` is cipher only where the message is encrypted and its sender says that he did it.
    `outer` are the names and values that the sender put outside (RFC 9788 4.2.1), None where all
    stands there as it does inside.
    """

    form: HeaderProtectionForm
    intent: HeaderProtection
    fields: tuple[HeaderField, ...]
    outer: tuple[tuple[str, str], ...] | None
    is_encrypted: bool

    def all(self, name: str) -> list[HeaderField]:
        """The fields of this name, which is in lower case."""
        return [field for field in self.fields if field.name.lower() == name]

    def has(self, name: str) -> bool:
        """Whether there is a field of this name, which is in lower case."""
        return any(field.name.lower() == name for field in self.fields)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the fields as they are written, each once."""
        once: dict[str, str] = {}
        for field in self.fields:
            once.setdefault(field.name.lower(), field.name)
        return tuple(once.values())

    def states(self, *, is_signed: bool) -> tuple[FieldProtection, ...]:
        """HeaderFieldProtection of every field (RFC 9788 4.3.1); the same is said once."""
        state: FieldState
        if self.outer is None:
            state = "signed-only" if is_signed else "unprotected"
            names = tuple(dict.fromkeys([field.name for field in self.fields]))
            return (_alike_lately if len("".join(names)) <= _MAX_KEPT else _alike)(names, state)
        visible = {(name.lower(), text) for name, text in self.outer}
        found: dict[tuple[str, FieldState], None] = {}
        for field in self.fields:
            if (field.name.lower(), _text(field)) not in visible:
                state = "signed-and-encrypted" if is_signed else "encrypted-only"
            else:
                state = "signed-only" if is_signed else "unprotected"
            found[field.name, state] = None
        return tuple([FieldProtection(name, state) for name, state in found])


def _alike(names: tuple[str, ...], state: FieldState) -> tuple[FieldProtection, ...]:
    return tuple([FieldProtection(name, state) for name in names])


_MAX_KEPT = 1000  # characters of all names: most messages of a program have the same fields
_alike_lately = lru_cache(maxsize=64)(_alike)


def read_protected_header(
    payload: Entity[Data] | None, outer: Entity[Data] | None, *, is_encrypted: bool
) -> tuple[ProtectedHeader | None, list[Finding]]:
    """The protected header of a message, None where it has none, and what is odd about it.

    `payload` is the Cryptographic Payload, `outer` the header outside.
    """
    if payload is None:
        return None, []
    kind = payload.content_type
    if "hp" in kind.parameters:
        return _read_hp(payload, kind, is_encrypted)
    form: HeaderProtectionForm
    if kind.value in MESSAGES:
        form, header = "message/rfc822", _message_inside(payload)
    elif kind.parameters.get("protected-headers") == "v1":
        form, header = "protected-headers", payload
    elif kind.is_multipart:
        form, header = "protected-headers", legacy_header(payload)
    else:
        return None, []
    fields = () if header is None else _non_structural(header)
    if not fields:
        return None, []
    # RFC 9788 4.10.2: what these say of their confidentiality is but inferred from outside
    found = _pairs(() if outer is None else outer.other_fields) if is_encrypted else None
    intent: HeaderProtection = "cipher" if is_encrypted else "clear"
    return ProtectedHeader(form, intent, fields, found, is_encrypted), _doubled(fields)


def _read_hp(
    payload: Entity[Data], kind: ContentType, is_encrypted: bool
) -> tuple[ProtectedHeader | None, list[Finding]]:
    value = kind.parameters["hp"]
    given = payload.all("Content-Type")
    if value not in ("clear", "cipher"):
        text = f"hp is {value[:40]!r}, neither clear nor cipher: no header field is protected"
        return None, [_odd(text)]
    if len(given) > 1 or len(_DUPLICATE.findall(given[0].value)) > 1:
        return None, [_odd("hp is given more than once: no header field is protected")]
    found: list[Finding] = []
    is_cipher = is_encrypted and value == "cipher"
    if value == "cipher" and not is_encrypted:
        # RFC 9788 2.1.1: never taken for encryption
        found.append(_odd("hp says that the message is encrypted, and it is not"))
    fields = _non_structural(payload)
    outer = None
    if is_cipher:
        outer = tuple(pair for one in payload.all(HP_OUTER) if (pair := _read_outer(one)))
    made = ProtectedHeader("hp", "cipher" if is_cipher else "clear", fields, outer, is_encrypted)
    return made, [*found, *_doubled(fields)]


def _odd(text: str) -> Finding:
    return finding("smime.header-protection", "content", text)


def _doubled(fields: Sequence[HeaderField]) -> list[Finding]:
    names = [field.name.lower() for field in fields]
    if len(set(names)) == len(names):
        return []
    counted = Counter(names)
    doubled = sorted(name for name, number in counted.items() if number > 1 and name in _SINGLE)
    if not doubled:
        return []
    return [_odd(f"more than one protected field is called {', '.join(doubled)}")]


def _read_outer(field: HeaderField) -> tuple[str, str] | None:
    name, colon, value = field.value.partition(":")
    return (name.strip(), _plain(value)) if colon else None


def _non_structural(entity: Entity[Data]) -> tuple[HeaderField, ...]:
    if not entity.all(HP_OUTER):
        return tuple(entity.other_fields)
    return tuple([field for field in entity.other_fields if field.name.lower() != HP_OUTER])


def _message_inside(payload: Entity[Data]) -> Entity[Data] | None:
    """The header of an RFC8551HP message (RFC 9788 4.10.1); None where it is not one, as a message
    that says it is forwarded.
    """
    if payload.content_type.parameters.get("forwarded", "no").lower() == "yes":
        return None
    try:
        inside = Entity(payload.decoded_body())
    except MalformedMessage:
        return None
    kind = inside.content_type
    if "hp" in kind.parameters or not inside.all("From"):
        return None
    is_layer = kind.value == "multipart/signed" or "pkcs7" in kind.value
    return None if is_layer else inside


_DISPLAYED = ("text/rfc822-headers", "text/plain")
_HEADER_OF_PART = 4096  # octets in which the header of the first part is looked for


def legacy_header(payload: Entity[Data]) -> Entity[Data] | None:
    """The fields in the first part of a multipart, where that repeats protected ones as text (the
    draft's Legacy Display, and what Enigmail wrote before it).
    """
    found = legacy_part(payload)
    if found is None:
        return None
    try:
        return Entity(found.decoded_body())
    except MalformedMessage:
        return None


def legacy_part(payload: Entity[Data]) -> Entity[Data] | None:
    """That part, whichever of the two it is."""
    kind = payload.content_type
    boundary = kind.parameters.get("boundary", "")
    if not kind.is_multipart or not boundary:
        return None
    body = payload.body
    start = find(body, b"--" + boundary.encode("utf-8", "replace"))
    if start < 0 or b"protected-headers" not in bytes(body[start:][:_HEADER_OF_PART]).lower():
        return None
    try:
        first = split_multipart(body, boundary).parts[0]
        entity = None if first is None else Entity(first)
    except MalformedMessage:
        return None
    if entity is None or entity.content_type.value not in _DISPLAYED:
        return None
    return entity if "protected-headers" in entity.content_type.parameters else None


# --- what stands outside --------------------------------------------------------------------------


def _plain(text: str) -> str:
    return " ".join(text.split())


def _text(field: HeaderField) -> str:
    return _plain(field.value)


def _pairs(fields: Iterable[HeaderField]) -> tuple[tuple[str, str], ...]:
    return tuple([(field.name, _text(field)) for field in fields])


def differing(
    wanted: Iterable[tuple[str, str]], actual: Iterable[tuple[str, str]]
) -> dict[str, bool]:
    """The names of the fields that are not what is wanted, and whether they are there at all.

    Of addresses only the addr-specs count, of a Date the moment: relays write both anew. What was
    added on the way is left out, unless readers act upon it.
    """
    inside, outside = _by_name(wanted), _by_name(actual)
    found: dict[str, bool] = {}
    for name, (spelled, values) in inside.items():
        there = outside.get(name, ("", []))[1]
        if name not in _ADDED_IN_TRANSIT and not _is_same(name, values, there):
            found[spelled] = bool(there)
    for name, (spelled, _) in outside.items():
        if name in _ACTED_UPON and name not in inside and not name.startswith(_ADDED_BEGIN):
            found[spelled] = True
    return found


def _by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, list[str]]]:
    found: dict[str, tuple[str, list[str]]] = {}
    for name, text in pairs:
        found.setdefault(name.lower(), (name, []))[1].append(text)
    return found


def _is_same(name: str, one: list[str], other: list[str]) -> bool:
    if one == other:
        return True
    if len(one) != len(other) or len(one) > _MAX_ALIKE:
        return False
    return all(_meaning(name, a) == _meaning(name, b) for a, b in zip(one, other, strict=True))


def _meaning(name: str, text: str) -> Hashable:
    if len(text) > _MAX_COMPARED:
        return text
    try:
        if name in _WITH_ADDRESSES:
            return mailboxes(parse_header_addresses(text))
        if name == "date":
            return moment_of(text) or text
        return _plain(decode_words(text))
    except MalformedMessage:
        return text  # it says what its octets say


def is_same_outside(protected: ProtectedHeader, outer: Entity[Data]) -> bool:
    """Whether the fields of outside are the protected ones, octet by octet and in their order."""
    return protected.outer is None and protected.fields == _non_structural(outer)


def compare_outside(
    protected: ProtectedHeader, outer: Entity[Data] | None
) -> tuple[tuple[str, ...], list[Finding]]:
    """The names of the fields that say something else outside than the protected ones do, or
    nothing; and a finding where a reader is shown there what the sender did not write.
    """
    actual = () if outer is None else _pairs(outer.other_fields)
    if not actual:
        return (), []  # an entity that is no message says nothing
    inside = _pairs(protected.fields)
    different = differing(inside, actual)
    wanted = inside if protected.outer is None else protected.outer
    changed = [name for name, is_there in differing(wanted, actual).items() if is_there]
    found: list[Finding] = []
    if changed:
        names = printable(", ".join(changed[:10]))
        more = f" and {len(changed) - 10} more" if len(changed) > 10 else ""
        text = f"outside the protection the message has another {names}{more} than its sender wrote"
        found.append(finding("smime.outer-header", "message", text))
    return tuple(different), found


def differing_from(
    protected: ProtectedHeader, outer: Entity[Data] | None
) -> tuple[str, str] | None:
    """The protected From and the one outside, where their addresses differ (RFC 9788 4.4.1.1)."""
    inside, outside = protected.all("from"), [] if outer is None else outer.all("From")
    if not inside or not outside:
        return None
    one, other = _text(inside[0]), _text(outside[0])
    return None if _is_same("from", [one], [other]) else (_addresses(one), _addresses(other))


def _addresses(text: str) -> str:
    try:
        return ", ".join(parse_header_addresses(text)[:5]) or "nobody"
    except MalformedMessage:
        return "unreadable"


# --- as it is shown -------------------------------------------------------------------------------


def shown_fields(
    protected: ProtectedHeader, outer: Entity[Data] | None, *, outer_from: bool
) -> list[HeaderField]:
    """The fields of the message as it is shown (RFC 9788 4): the protected ones, in the order that
    they have outside, and what was added on the way; the From of outside where the protected one is
    nobody's word (4.4.3).
    """
    left: dict[str, list[HeaderField]] = {}
    for field in protected.fields:
        left.setdefault(field.name.lower(), []).append(field)
    if outer_from and outer is not None:
        left["from"] = outer.all("From")[:1]
    found: list[HeaderField] = []
    for field in () if outer is None else outer.fields:
        name = field.name.lower()
        if (own := left.get(name)) is not None:
            found += own[:1]
            del own[:1]
        elif name in _ADDED_IN_TRANSIT or name.startswith(_ADDED_BEGIN):
            found.append(field)
    rest = {id(field) for fields in left.values() for field in fields}
    return [*found, *(field for field in protected.fields if id(field) in rest)]


def without_hp(field: HeaderField) -> HeaderField:
    """The field; a Content-Type without what header protection put there: that was said of the
    message as it was protected.
    """
    if field.name.lower() != "content-type":
        return field
    lowered = field.raw.lower()
    if b"hp" not in lowered and b"protected-" not in lowered:
        return field
    made = _OF_PROTECTION.sub(lambda match: b"" if match[0][:1] == b";" else match[0], field.raw)
    return HeaderField(field.name, made)


# possessive, and a quoted string is passed over as a whole
_OF_PROTECTION = re.compile(
    rb'"(?:[^"\\]|\\.)*+"?'
    rb'|;\s*+(?:hp|hp-legacy-display|protected-headers)\s*+=\s*+(?:"[^"\\]*+"|[^;\s"]*+)(?=\s*+(?:;|\Z))',
    re.IGNORECASE | re.DOTALL,
)
