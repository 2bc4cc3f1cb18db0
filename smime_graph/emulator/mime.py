"""Just enough of MIME to be a mail server: a summary, the parts, and what is attached."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from html import unescape
from itertools import islice
from urllib.parse import unquote_to_bytes

from .headers import (
    LINE,
    Field,
    Person,
    UnusableMime,
    addresses,
    decode_text,
    decode_words,
    header_fields,
)

BODY_LIMIT = 64 * 1024  # of the text shown in JSON; the message itself is stored whole
PREVIEW_LIMIT = 255  # bodyPreview, as Graph documents it
DEPTH_LIMIT = 8
PART_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Summary:
    """What Graph shows of a message. `authors` is None when there is no From field at all."""

    message_id: str
    subject: str
    authors: tuple[Person, ...] | None
    sender: tuple[Person, ...]
    reply_to: tuple[Person, ...]
    to: tuple[Person, ...]
    cc: tuple[Person, ...]
    bcc: tuple[Person, ...]
    date: float | None
    thread: str
    importance: str
    wants_read_receipt: bool
    body: str
    body_type: str
    preview: str
    has_attachments: bool


def summarise(raw: bytes) -> Summary:
    """Read what Graph shows of a message; raises `UnusableMime` without any header field."""
    fields, start = header_fields(raw)
    if not fields:
        raise UnusableMime("there is no header field")

    values: dict[str, list[str]] = {}
    for field in fields:
        values.setdefault(field.name, []).append(field.value)

    def first(name: str) -> str:
        return values.get(name, [""])[0]

    def people(name: str) -> tuple[Person, ...]:
        if name not in values:
            return ()
        return tuple(person for value in values[name] for person in addresses(value))

    body, body_type, preview, has_attachments = _content(raw, part_of(raw, fields, start))
    references = (first("references").split() or first("in-reply-to").split())[:1]
    return Summary(
        message_id=first("message-id")[:998],
        subject=decode_words(first("subject")[:4096]),
        authors=people("from") if "from" in values else None,
        sender=people("sender"),
        reply_to=people("reply-to"),
        to=people("to"),
        cc=people("cc"),
        bcc=people("bcc"),
        date=_date(first("date")[:100]),
        thread=references[0][:998] if references else "",
        importance=_importance(first("importance"), first("x-priority")),
        wants_read_receipt=bool(first("disposition-notification-to")),
        body=body,
        body_type=body_type,
        preview=preview,
        has_attachments=has_attachments,
    )


@lru_cache(maxsize=16)  # many messages are written in the same second
def _date(value: str) -> float | None:
    try:
        when = parsedate_to_datetime(value)
        return (when.replace(tzinfo=UTC) if when.tzinfo is None else when).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _importance(importance: str, priority: str) -> str:
    if importance.lower() in ("low", "high"):
        return importance.lower()
    return {"1": "high", "2": "high", "4": "low", "5": "low"}.get(priority[:1], "normal")


@dataclass(frozen=True, slots=True)
class Part:
    """An entity: what its header says of it, and its body as it stands there."""

    type: str
    parameters: Mapping[str, str]
    disposition: str
    encoding: str
    body: bytes
    fields: Mapping[str, str]  # by name in lower case; of several of one name the first
    entity: bytes  # header and body

    @property
    def file_name(self) -> str:
        """The name that the part has as a file, or nothing."""
        given = self.parameters_of("content-disposition").get("filename")
        return decode_words(given or self.parameters.get("name", ""))

    def parameters_of(self, name: str) -> Mapping[str, str]:
        return _parameters(self.fields.get(name, ""))

    @property
    def is_smime(self) -> bool:
        """Whether Exchange takes it for one thing that is not to be taken apart ([MS-OXOSMIME])."""
        return self.is_opaque or self.type in ("multipart/signed", "multipart/encrypted")

    @property
    def is_opaque(self) -> bool:
        return self.type in ("application/pkcs7-mime", "application/x-pkcs7-mime") or (
            self.type == "application/octet-stream" and self.file_name.lower().endswith(".p7m")
        )

    def content(self) -> bytes:
        """The body without its transfer encoding; what is broken is left out."""
        if self.encoding == "base64":
            return _from_base64(self.body)
        return binascii.a2b_qp(self.body) if self.encoding == "quoted-printable" else self.body


_PARAMETER = re.compile(r';\s*([\w*.-]{1,60})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]*))', re.ASCII)


def part_of(raw: bytes, fields: list[Field], start: int) -> Part:
    values = {f.name: f.value[:2000] for f in reversed(fields)}
    content_type = values.get("content-type", "text/plain")
    return Part(
        type=content_type.partition(";")[0].strip().lower(),
        parameters=_parameters(content_type),
        disposition=values.get("content-disposition", "").partition(";")[0].strip().lower(),
        encoding=values.get("content-transfer-encoding", "").strip().lower(),
        body=raw[start:],
        fields=values,
        entity=raw,
    )


@lru_cache(maxsize=64)  # sealed messages have the same ones
def _parameters(value: str) -> Mapping[str, str]:
    found = {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare
        for name, quoted, bare in _PARAMETER.findall(value)
    }
    for name in [name for name in found if name.endswith("*")]:  # RFC 2231 4; 3: in pieces
        plain, _, number = name[:-1].partition("*")
        if number in ("", "0") and plain not in found:
            found[plain] = _extended(found, plain, first=name)
    for name in [name for name in found if name.endswith("*0")]:
        found.setdefault(name[:-2], _extended(found, name[:-2], first=name))
    return found


def _extended(found: Mapping[str, str], name: str, *, first: str) -> str:
    pieces = [found[first]]
    for number in range(1, 100):
        piece = found.get(f"{name}*{number}*", found.get(f"{name}*{number}"))
        if piece is None:
            break
        pieces.append(piece)
    text = "".join(pieces)
    if not first.endswith("*"):
        return text
    charset, _, rest = text.partition("'")
    return decode_text(unquote_to_bytes(rest.partition("'")[2]), charset)


def children(part: Part) -> Iterator[bytes]:
    boundary = part.parameters.get("boundary", "").encode("utf-8", "replace")
    delimiter = re.compile(
        rb"(?:\A|\r\n|\r|\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r|\n|\Z)"
    )
    start: int | None = None
    for match in delimiter.finditer(part.body):
        if start is not None:
            yield part.body[start : match.start()]
        if match[1]:
            return
        line_end = LINE.match(part.body, match.end())
        start = line_end.end() if line_end else match.end()
    if start is not None:
        yield part.body[start:]  # RFC 2046 5.1.2: a truncated multipart ends where the data does


def leaves(raw: bytes) -> Iterator[Part]:
    pending = [(raw, 0)]
    seen = 0
    while pending and seen < PART_LIMIT:
        entity, depth = pending.pop()
        seen += 1
        try:
            part = part_of(entity, *header_fields(entity))
        except UnusableMime:
            continue
        if (
            part.type.startswith("multipart/")
            and depth < DEPTH_LIMIT
            and part.parameters.get("boundary")
        ):
            inner = [(child, depth + 1) for child in islice(children(part), PART_LIMIT)]
            pending += reversed(inner)
        else:
            yield part


def parts_of(raw: bytes) -> tuple[Part | None, Part | None, list[Part]]:
    """The text, the HTML and what is attached, of a message that is no S/MIME."""
    plain = html = None
    others = []
    for part in leaves(raw):
        is_text = part.disposition != "attachment" and not part.file_name
        if is_text and part.type == "text/plain" and plain is None:
            plain = part
        elif is_text and part.type == "text/html" and html is None:
            html = part
        else:
            others.append(part)
    return plain, html, others


def _content(raw: bytes, top: Part) -> tuple[str, str, str, bool]:
    """Body, its type, preview and hasAttachments, as Exchange stores S/MIME ([MS-OXOSMIME])."""
    if top.is_opaque:
        return "", "text", "", True
    plain, html, others = parts_of(raw)
    attached = top.is_smime or any(part.disposition != "inline" for part in others)
    text = None if plain is None else _body_text(plain)
    shown = None if html is None else _body_text(html)
    readable = text if text is not None else _without_tags(shown or "")
    preview = " ".join(readable.split())[:PREVIEW_LIMIT]
    if shown is not None:
        return shown, "html", preview, attached
    return text or "", "text", preview, attached


def _without_tags(html: str) -> str:
    return re.sub(r"<[^<>]*>", " ", html)


def text_of(html: str) -> str:
    """The text of HTML, by a rough reading: lines where blocks end, and no tags."""
    lines = re.sub(r"(?i)<br[^<>]{0,100}>|</(?:p|div|tr|li|h[1-6])\s{0,10}>", "\n", html)
    return unescape(_without_tags(lines)).strip()


def _body_text(part: Part) -> str:
    data = part.body[: BODY_LIMIT * 2]
    if part.encoding == "base64":
        data = _from_base64(data)
    elif part.encoding == "quoted-printable":
        data = binascii.a2b_qp(data)
    return decode_text(data[:BODY_LIMIT], part.parameters.get("charset", "utf-8")).strip("\r\n")


def _from_base64(data: bytes) -> bytes:
    # It may have been cut off anywhere: padding is made up, a lone last character dropped.
    data = re.sub(rb"[^A-Za-z0-9+/]", b"", data)
    data = data[:-1] if len(data) % 4 == 1 else data
    return binascii.a2b_base64(data + b"=" * (-len(data) % 4))
