"""Files in a message: those to send along, and those that came with it and are to be saved.

A name that came in a message is somebody else's: it may climb out of the folder, hide what the file
is, or be one that the system acts upon. None of that gets as far as a path.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from ..arguments import check_fields, file_name
from ..buffers import Data
from ..errors import LimitReached, UsageError
from ..files import write
from ..text import printable
from .entity import MAX_DEPTH, Entity, split_multipart
from .fields import decode_words

MAX_ATTACHMENTS = 1000  # people attach ten; each is a file on a disk
_MAX_NAME = 150  # octets of UTF-8, of the 255 that file systems take: a number is put behind it
_MAX_SUFFIX = 20
_FORBIDDEN = re.compile(r'[<>:"|?*]')  # by Windows; a colon opens a stream of another file there
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])[ ]*(?:\.|\Z)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to send along, or one that came; `content_type` is like "application/pdf".

    `name` of one that came is fit for a file in any folder: see `safe_name`.
    """

    name: str
    _: KW_ONLY
    data: bytes = field(repr=False)
    content_type: str = "application/octet-stream"

    def __post_init__(self) -> None:
        check_fields(self)


def read_attachments(content: Data) -> Iterator[Attachment]:
    """The parts of an entity that are no text of the message, in order, without transfer encoding.

    A text is one that is shown (RFC 2183 2.1): not called an attachment, and without a file name. A
    message that is attached is one file, whole, whatever is in it. So is a layer of S/MIME around a
    part: nothing that is judged speaks of what is inside.
    """
    waiting, found = [(content, 0, "text/plain")], 0
    while waiting:
        raw, depth, default = waiting.pop()
        entity = Entity(raw, default=default)
        kind = entity.content_type
        if kind.is_multipart:
            if depth >= MAX_DEPTH:
                raise LimitReached(f"multiparts are nested more than {MAX_DEPTH} deep")
            parts = split_multipart(entity.body, kind.parameters.get("boundary", "")).parts
            inside = kind.default_inside
            waiting += [(part or b"", depth + 1, inside) for part in reversed(parts)]
            continue
        named = entity.filename
        disposition = (entity.get("Content-Disposition") or "").strip().lower()
        if kind.value.startswith("text/") and not (named or disposition.startswith("attachment")):
            continue
        found += 1
        if found > MAX_ATTACHMENTS:
            raise LimitReached(f"the message has more than {MAX_ATTACHMENTS} attachments")
        usual = "message.eml" if kind.value == "message/rfc822" else "attachment"
        name = safe_name(decode_words(named)) if named else usual
        data = bytes(entity.decoded_body())
        yield Attachment(name, data=data, content_type=kind.value)


def safe_name(name: str) -> str:
    """The name as that of one file: no folders, no device, nothing hidden or unseen, not too long.

    Neither of this system nor of another: what is saved here is copied there.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    last = _FORBIDDEN.sub("_", printable(last, other="_")).strip(". ")
    stem, dot, suffix = last.rpartition(".")
    if not dot or len(suffix.encode()) > _MAX_SUFFIX:
        stem, dot, suffix = last, "", ""
    room = _MAX_NAME - len((dot + suffix).encode())
    last = f"{stem.encode()[:room].decode(errors='ignore').rstrip('. ')}{dot}{suffix}"
    if last.startswith("-") or _DEVICE.match(last):
        return f"_{last}"
    return last or "attachment"


def save(attachments: Sequence[Attachment], folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Write each into `folder`, which is made if need be; all of them or none.

    A file is its owner's alone to read, and is whole when it has its name. Nothing that is there is
    replaced: the new one gets a number. Raises UsageError where a file cannot be written.
    """
    place, made = Path(folder), list[Path]()
    taken: Counter[str] = Counter()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for one in attachments:
            made.append(_write(place, one, taken))
    except BaseException as error:
        for path in made:
            path.unlink(missing_ok=True)
        if not isinstance(error, (OSError, ValueError)):
            raise
        reason = getattr(error, "strerror", None) or "no file name"
        raise UsageError(
            f"{file_name(folder)} cannot be written: {reason}",
            hint="name a folder that can be written",
        ) from error
    return tuple(made)


def _write(place: Path, one: Attachment, taken: Counter[str]) -> Path:
    name = safe_name(one.name)
    stem, suffix = Path(name).stem, Path(name).suffix
    while True:
        number = taken[name]
        path = place / (f"{stem} ({number}){suffix}" if number else name)
        taken[name] += 1
        if os.path.lexists(path):
            continue
        try:
            write(path, one.data, mode=0o600, replace=False)
        except FileExistsError:
            continue  # somebody made it in between
        return path
