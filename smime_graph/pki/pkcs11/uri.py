"""PKCS#11 URIs (RFC 7512): which module, which token, which key, and where its PIN is.

pkcs11:token=mail;object=alice;id=%01?module-path=/usr/lib/libp11.so&pin-source=file:/etc/pin
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from ...errors import UsageError

SCHEME = "pkcs11:"

# What says which token is meant, RFC 7512 2.3
_TOKEN = (
    "token",
    "manufacturer",
    "serial",
    "model",
    "slot-id",
    "slot-description",
    "slot-manufacturer",
    "library-manufacturer",
    "library-description",
    "library-version",
)
_QUERY = ("pin-source", "pin-value", "module-name", "module-path")
_MAX_PIN = 1024


def is_uri(text: str) -> bool:
    """Whether this is a PKCS#11 URI rather than the name of a file."""
    return text[: len(SCHEME)].lower() == SCHEME


@dataclass(frozen=True, slots=True)
class TokenUri:
    """A PKCS#11 URI taken apart; what it does not say is None.

    `token` has the attributes that pick the token, by their names in RFC 7512; `object` is the
    key's label (CKA_LABEL) and `id` its CKA_ID.
    """

    token: Mapping[str, str]
    object: str | None = None
    id: bytes | None = None
    module_path: str | None = None
    pin_source: str | None = None
    pin_value: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, uri: str) -> TokenUri:
        """Take a URI apart. Raises UsageError, whose text quotes no value of a query attribute.

        An unknown attribute of the path is an error, because without it more keys would fit than
        were meant; an unknown one of the query is passed over. A library's module must be named by
        its absolute path: where `module-name` would be looked for, others may be able to write.
        """
        if not is_uri(uri):
            raise UsageError("this is not a PKCS#11 URI", hint="it begins with pkcs11:")
        path, _, query = uri[len(SCHEME) :].partition("?")
        if "#" in uri:
            raise UsageError("a PKCS#11 URI has no fragment", hint="write # as %23")
        named = _attributes(path, ";")
        asked = _attributes(query, "&", once=_QUERY)
        unknown = named.keys() - {*_TOKEN, "object", "id", "type"}
        if unknown:
            raise UsageError(
                f"the PKCS#11 URI has the attribute {min(unknown)}, which is not known here",
                hint=f"known are {', '.join((*_TOKEN, 'object', 'id', 'type'))}",
            )
        kind = _text(named.pop("type", b"private"), "type")
        if kind != "private":
            raise UsageError(
                f"the PKCS#11 URI names an object of type {kind} instead of private",
                hint="name the private key; its certificate is found by its public key",
            )
        if "pin-source" in asked and "pin-value" in asked:
            # RFC 7512 2.4: SHOULD be refused
            raise UsageError(
                "the PKCS#11 URI has both pin-source and pin-value", hint="leave one out"
            )
        if "module-name" in asked and "module-path" not in asked:
            raise UsageError(
                "the PKCS#11 URI names its module without saying where it is",
                hint="give module-path with the absolute path of the library",
            )
        module = _optional(asked, "module-path")
        if module is not None and not module.startswith("/"):
            raise UsageError(f"module-path is {module!r} instead of an absolute path")
        return cls(
            MappingProxyType({n: _text(v, n) for n, v in named.items() if n in _TOKEN}),
            _optional(named, "object"),
            named.get("id"),
            module,
            _optional(asked, "pin-source"),
            _optional(asked, "pin-value"),
        )

    def pin(self) -> str | None:
        """The PIN in the URI or in the file that `pin-source` names; None where there is neither.

        The file is an absolute path or a file: URI; its first line counts. Commands (`|…`) are not
        run.
        """
        if self.pin_source is None:
            return self.pin_value
        source = self.pin_source
        path = re.sub(r"^file:(//(localhost)?(?=/))?", "", source)
        if not path.startswith("/"):
            raise UsageError(
                "pin-source is not the absolute path of a file", hint="pin-source=file:/path/to/pin"
            )
        try:
            with Path(path).open("rb") as file:
                line = file.read(_MAX_PIN + 1).split(b"\n")[0].removesuffix(b"\r")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "this is no path"
            raise UsageError(f"the PIN's file {path} cannot be read: {reason}") from error
        if not 0 < len(line) <= _MAX_PIN:
            raise UsageError(f"the PIN's file {path} has no PIN in its first line")
        return _text(line, f"the PIN in {path}")


def _attributes(text: str, separator: str, once: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Names and percent-decoded values; `once` lists what may not be repeated, nothing: all."""
    found: dict[str, bytes] = {}
    for name, value in _pairs(text, separator):
        if name in found and (not once or name in once):
            # RFC 7512 2.3 and 2.4
            raise UsageError(f"the PKCS#11 URI has the attribute {name} twice")
        found[name] = value
    return found


def _pairs(text: str, separator: str) -> Iterator[tuple[str, bytes]]:
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            # a part without its name could be a piece of a PIN: it is not quoted
            raise UsageError(
                "a part of the PKCS#11 URI is not name=value",
                hint="write ; & ? and % in a value as %3B %26 %3F and %25",
            )
        if re.search(r"%(?![0-9A-Fa-f]{2})", value):
            raise UsageError(f"{name} in the PKCS#11 URI: after % come two hexadecimal digits")
        try:
            yield name, unquote_to_bytes(value)
        except UnicodeEncodeError:
            raise UsageError(f"{name} in the PKCS#11 URI is not text") from None


def _optional(values: Mapping[str, bytes], name: str) -> str | None:
    return _text(values[name], name) if name in values else None


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not UTF-8") from None
