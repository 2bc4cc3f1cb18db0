"""Jobs and what came of them, as values and as JSON lines."""

from __future__ import annotations

import hashlib
import json
import mailbox
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from ..arguments import check_fields, file_name, path_of
from ..errors import UsageError
from ..pki.address import is_address
from ..pki.revocation import RevocationMode

T = TypeVar("T")
JobVerb: TypeAlias = Literal["seal", "sign", "encrypt", "unseal", "re-encrypt"]

_LINE_LIMIT = 64 * 1024 * 1024  # octets of one line of a job file
_KEY_LIMIT = 500


class _Sent:
    """What goes to another process: pickled as its fields, and not checked again when it arrives.

    By themselves dataclasses with slots take five times as long: a tenth of an RSA signature.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        kind: Any = type(self)
        names, values = _fields_of(kind)
        return _arrived, (kind, names, values(self))


@lru_cache(maxsize=16)
def _fields_of(kind: Any) -> tuple[tuple[str, ...], Callable[[Any], Any]]:
    names = tuple(one.name for one in fields(kind))
    return names, attrgetter(*names)


def _arrived(kind: type[T], names: tuple[str, ...], values: tuple[Any, ...]) -> T:
    made = object.__new__(kind)
    for name, value in zip(names, values, strict=True):
        object.__setattr__(made, name, value)
    return made


@dataclass(frozen=True, slots=True)
class KeyFile(_Sent):
    """A key by the file that holds it (PKCS#12, PEM), or a folder of them, and the file whose first
    line is its password.
    """

    file: str
    _: KW_ONLY
    password_file: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(_Sent):
    """One message, and what is to be done with it.

    `key` names the job: it is carried out once. `message` is a finished RFC 5322 message, as bytes
    or as the path of a file; without it one is made of `sender`, `to`, `cc`, `bcc`, `subject`,
    `body`, `html`, `headers` and `attachments` (paths), where `${name}` in subject, body and html
    stands for a value of `values`. `signers` and `identities` are key files, `recipients` files
    with a certificate, or addresses that are looked up in `contacts`, an address book (`Contacts`),
    `trust` root certificates. `crl` and `ocsp` are files that say who of the recipients, or of the
    signers of what is unsealed, is revoked, and `revocation` what it is if none does: see
    `Revocation.load`. `policy` is the name of one.

    A path that is not absolute is meant from the folder in which the work is done. Raises
    UsageError where fields are missing or contradict each other.
    """

    key: str
    verb: JobVerb = "seal"
    message: bytes | str | None = field(default=None, repr=False)
    sender: str | None = None
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    subject: str = ""
    body: str | None = field(default=None, repr=False)
    html: str | None = field(default=None, repr=False)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[str, ...] = ()
    signers: tuple[KeyFile, ...] = ()
    recipients: tuple[str, ...] = ()
    identities: tuple[KeyFile, ...] = ()
    trust: tuple[str, ...] = ()
    policy: str = "exchange"
    contacts: str | None = None
    crl: tuple[str, ...] = ()
    ocsp: tuple[str, ...] = ()
    revocation: RevocationMode | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < len(self.key) <= _KEY_LIMIT:
            raise UsageError(
                f"key is {self.key!r:.80}, wanted a text of 1 to {_KEY_LIMIT} characters",
                hint="give every job a key of its own: by it the batch knows what it has done",
            )
        for name in _NEEDED[self.verb]:
            if not getattr(self, name):
                raise UsageError(f"{self.verb} needs {name}, and none is given")
        if self.evidence and not self.trust:
            raise UsageError(
                "crl, ocsp and revocation need trust", hint="name the roots that you believe"
            )
        made = sorted(name for name in _MADE_OF if getattr(self, name))
        if self.message is not None and made:
            raise UsageError(f"message is given, and {', '.join(made)} to make one of")
        if self.message is None and (self.verb in ("unseal", "re-encrypt") or not self.sender):
            raise UsageError(
                f"{self.verb} has no message",
                hint="give message, the name of a file; or from, to, subject and body",
            )

    @property
    def evidence(self) -> tuple[Any, ...]:
        """What is known of revocation; empty where nobody asks for it."""
        asked = bool(self.crl or self.ocsp or self.revocation)
        return (self.crl, self.ocsp, self.revocation or "soft") if asked else ()

    @property
    def digest(self) -> str:
        """SHA-256 of the job in hexadecimal: the same key with another job is a mistake."""
        message: object = self.message
        if isinstance(message, bytes):
            message = [hashlib.sha256(message).hexdigest()]
        files = [
            [(one.file, one.password_file) for one in keys]
            for keys in (self.signers, self.identities)
        ]
        maps = (dict(self.values), dict(self.headers))
        plain = json.dumps(
            (_PLAIN_FIELDS(self), message, files, maps)
            + (() if self.contacts is None else (self.contacts,))  # as it was without one
            + self.evidence
        )
        return hashlib.sha256(plain.encode()).hexdigest()


_NEEDED: Mapping[str, tuple[str, ...]] = {
    "seal": ("signers", "recipients"),
    "sign": ("signers",),
    "encrypt": ("recipients",),
    "unseal": ("trust",),
    "re-encrypt": ("identities", "recipients"),
}
_MADE_OF = frozenset(
    "sender to cc bcc subject body html values headers attachments".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(_Sent):
    """What came of a job. `raw` is the message that was made, or the content that was unsealed;
    None where the job failed. `error` has `type`, `text` and `hint`. `digest` is the job's.
    """

    key: str
    digest: str
    status: Literal["done", "failed"]
    raw: bytes | None = field(default=None, repr=False)
    message_id: str | None = None
    verdict: Literal["accepted", "rejected"] | None = None
    signer: str | None = None
    error: Mapping[str, str | None] | None = None

    def to_json(self) -> dict[str, Any]:
        """All but the octets; what is None is left out."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "raw"}
        return {name: value for name, value in found.items() if value is not None}


_PLAIN_FIELDS = attrgetter(
    *("key", "verb", "sender", "to", "cc", "bcc", "subject", "body", "html", "attachments"),
    *("recipients", "trust", "policy"),
)


# --- a file of jobs -------------------------------------------------------------------------------

_JSON_NAMES = {"from": "sender", "signer": "signers", "recipient": "recipients"}
_JSON_NAMES |= {"identity": "identities"}
_MANY = ("to", "cc", "bcc", "attachments", "recipients", "trust", "crl", "ocsp")
_FILES = ("message", "attachments", "recipients", "trust", "contacts", "crl", "ocsp")


def read_jobs(path: str | Path) -> Iterator[Job]:
    """The jobs of a file of JSON lines, one after the other.

    The members of a line are the fields of `Job`, with `from` for `sender`; `signer`, `recipient`
    and `identity` may stand for their plurals, and one value for a list of one. A key file is a
    name, or an object with `file` and `password_file`. `body_file` and `html_file` name files. A
    line whose only member is `defaults` gives fields to the jobs after it. Paths are meant from
    the folder of the file.

    Raises UsageError that names the line, also for a key that stands there twice.
    """
    path = path_of(path)
    defaults: dict[str, Any] = {}
    seen: set[bytes] = set()
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            value = _object(line)
            if value.keys() == {"defaults"}:
                defaults = _object(value["defaults"])
                continue
            job = job_from_json({**defaults, **value}, folder=path.parent)
            mark = hashlib.sha256(job.key.encode("utf-8", "surrogatepass")).digest()[:16]
            if mark in seen:
                raise UsageError(f"the key {job.key!r:.80} stands in an earlier line")
            seen.add(mark)
        except UsageError as error:
            raise UsageError(f"{path}: line {number}: {error}", hint=error.hint) from None
        yield job


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while line := file.readline(_LINE_LIMIT + 1):
                if len(line) > _LINE_LIMIT:
                    raise UsageError(f"{path}: a line is longer than {_LINE_LIMIT} octets")
                yield line
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, bytes):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise UsageError("is no JSON") from None
    if not isinstance(value, dict):
        raise UsageError("is no JSON object")
    return value


def job_from_json(value: Mapping[str, Any], *, folder: Path) -> Job:
    """A job from the members of a line; see `read_jobs`. Raises UsageError."""
    given: dict[str, Any] = {}
    for name, one in value.items():
        target = _JSON_NAMES.get(name, name)
        if target in given:
            raise UsageError(f"{name} and {target} are both given")
        given[target] = one
    for name in ("body", "html"):
        if f"{name}_file" in given:
            if name in given:
                raise UsageError(f"{name} and {name}_file are both given")
            file = folder / _text(f"{name}_file", given.pop(f"{name}_file"))
            given[name] = _as_text(file)
    if unknown := sorted(given.keys() - {one.name for one in fields(Job)}):
        raise UsageError(
            f"a job has no {', '.join(map(str, unknown))}",
            hint=f"it has {', '.join(sorted(one.name for one in fields(Job)))}",
        )
    for name in list(given):
        given[name] = _field(name, given[name], folder)
    if "key" not in given:
        raise UsageError("has no key", hint="give every job a key of its own")
    return Job(**given)


def _field(name: str, value: Any, folder: Path) -> Any:
    if name in ("signers", "identities"):
        return tuple(_key_file(name, one, folder) for one in _list(value))
    if name in ("values", "headers"):
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            raise UsageError(f"{name} is no object of texts")
        return value
    if name in _MANY:
        texts = tuple(_text(name, one) for one in _list(value))
        if name == "recipients":
            return tuple(_recipient_name(one, folder) for one in texts)
        return tuple(str(folder / one) for one in texts) if name in _FILES else texts
    text = _text(name, value)
    return str(folder / text) if name in _FILES else text


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{name} is {json.dumps(value)[:40]}, wanted a text")
    return value


def _key_file(name: str, value: Any, folder: Path) -> KeyFile:
    if isinstance(value, dict):
        if not {"file"} <= value.keys() <= {"file", "password_file"}:
            raise UsageError(f"{name}: wanted an object with file and password_file")
        password = value.get("password_file")
        secret = None if password is None else str(folder / _text("password_file", password))
        return KeyFile(_key_name(_text("file", value["file"]), folder), password_file=secret)
    return KeyFile(_key_name(_text(name, value), folder))


def _key_name(text: str, folder: Path) -> str:
    return text if text.lower().startswith("pkcs11:") else str(folder / text)


def _recipient_name(text: str, folder: Path) -> str:
    """An address that no file has as its name stays one."""
    file = folder / text
    is_file = os.path.exists(file)  # noqa: PTH110 - Path raises for a long name
    return text if is_address(text) and not is_file else str(file)


def _as_text(path: Path) -> str:
    try:
        return read_file(path, "text").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8") from None


def read_file(path: str | Path, what: str) -> bytes:
    """The octets of a file that a job names. UsageError for what cannot be read, or has no end."""
    path = path_of(path)
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFIFO):
            raise UsageError(f"{file_name(path)} is no file", hint=f"name the {what}")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{file_name(path)} cannot be read: {error.strerror}", hint=f"name the {what}"
        ) from error


# --- the messages of a folder or a mailbox --------------------------------------------------------


def messages_in(source: str | Path) -> Iterator[tuple[str, bytes | str]]:
    """Every message of a folder of .eml files, of a Maildir, or of an mbox file: what to call it,
    and its octets or its path. Raises UsageError if the source cannot be read.
    """
    source = path_of(source)
    try:
        if (source / "cur").is_dir() and (source / "new").is_dir():
            for folder in ("cur", "new"):
                for file in sorted((source / folder).iterdir()):
                    if file.is_file():
                        yield file.name.partition(":")[0], str(file)
        elif source.is_dir():
            for file in sorted(source.iterdir()):
                if file.is_file() and file.suffix.lower() == ".eml":
                    yield file.stem, str(file)
        else:
            source.open("rb").close()
            box = mailbox.mbox(source, create=False)
            try:
                for number, key in enumerate(box.keys(), 1):
                    yield f"{number:06}", re.sub(rb"(?m)^>(?=>*From )", b"", box.get_bytes(key))
            finally:
                box.close()
    except OSError as error:
        raise UsageError(
            f"{source} cannot be read: {error.strerror}",
            hint="name a folder of messages, a Maildir, or an mbox file",
        ) from error


def jobs_for(source: str | Path, verb: JobVerb, **shared: Any) -> Iterable[Job]:
    """A job for every message of `source` (see `messages_in`); `shared` are fields of all."""
    for name, message in messages_in(source):
        yield Job(key=name, verb=verb, message=message, **shared)
