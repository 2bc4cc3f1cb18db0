"""A PKCS#11 module and one login at one of its tokens."""

from __future__ import annotations

import hmac
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ...errors import UsageError
from ...text import printable
from .uri import TokenUri

_T = TypeVar("_T")

# python-pkcs11's classes by name, since the package is there only with the extra
_PIN_REFUSED = {
    "PinIncorrect": ("refuses the PIN", "check the PIN; after a few wrong ones a token locks"),
    "PinInvalid": ("refuses the PIN", "check the PIN; it has characters the token cannot have"),
    "PinLenRange": ("refuses the PIN", "check the PIN; its length is not what the token takes"),
    "PinExpired": ("wants a new PIN", "change the PIN with the token's own tool"),
    "PinLocked": ("is locked after wrong PINs", "unlock it with the token's own tool"),
    "UserPinNotInitialized": ("has no PIN yet", "set one with the token's own tool"),
}
# The session, the login or the token is not what it was: open again, once
LOST = frozenset(
    {
        "SessionHandleInvalid",
        "SessionClosed",
        "UserNotLoggedIn",
        "KeyHandleInvalid",
        "ObjectHandleInvalid",
        "DeviceRemoved",
        "TokenNotPresent",
        "NoSuchKey",  # to who is not logged in, a private key is not there
    }
)


def library_package() -> Any:
    """python-pkcs11, imported when the first token is opened; UsageError where it is missing."""
    try:
        import pkcs11
    except ImportError:
        raise UsageError(
            "keys on PKCS#11 tokens need the package python-pkcs11",
            hint="pip install 'smime-graph[hsm]'",
        ) from None
    return pkcs11


def module_of(module: str | os.PathLike[str] | None, wanted: TokenUri) -> str:
    """The token's library, which is code that will run here: a file that somebody named."""
    path = wanted.module_path if module is None else os.fspath(module)
    if path is None:
        raise UsageError(
            "no PKCS#11 module is named",
            hint="add ?module-path= with the library that came with the token",
        )
    if not Path(path).is_file():
        raise UsageError(
            f"the PKCS#11 module {path} is not there",
            hint="give the path of the library that came with the token",
        )
    return path


# A login in PKCS#11 belongs to the process, not to who asked for it, and closing one session of
# python-pkcs11 logs all of them out. So keys of one token must share, which takes a common place.
_tokens: weakref.WeakValueDictionary[tuple[object, ...], Token] = weakref.WeakValueDictionary()
_initialised_by: dict[str, int] = {}
_lock = threading.Lock()


def _library(path: str) -> Any:
    pkcs11 = library_package()
    with _lock:
        try:
            library = pkcs11.lib(path)
            if _initialised_by.setdefault(path, os.getpid()) != os.getpid():
                # after a fork the child has to initialise for itself
                library.reinitialize()
                _initialised_by[path] = os.getpid()
        except pkcs11.PKCS11Error as error:
            raise UsageError(
                f"the PKCS#11 module {path} cannot be loaded: {name_of(error)}",
                hint="give the path of the library that came with the token",
            ) from None
    return library


def _find_token(path: str, wanted: Mapping[str, str]) -> tuple[Any, dict[str, str]]:
    """The one token with these attributes, and all that it has."""
    library = _library(path)
    found, seen = [], []
    try:
        for slot in library.get_slots(token_present=True):
            if (described := _describe(library, slot)) is None:
                continue
            seen.append(described[1]["token"])
            if all(described[1][name] == value for name, value in wanted.items()):
                found.append(described)
    except library_package().PKCS11Error as error:
        raise UsageError(f"the slots of {path} cannot be listed: {name_of(error)}") from None
    if len(found) == 1:
        return found[0]
    asked = ";".join(f"{name}={value}" for name, value in wanted.items()) or "any name"
    if found:
        raise UsageError(
            f"{len(found)} tokens fit {safe(asked)}", hint="add serial= to the PKCS#11 URI"
        )
    there = f"there: {safe(', '.join(seen[:10]))}" if seen else "no token is there"
    raise UsageError(f"no token fits {safe(asked)}", hint=f"insert it, or check its name; {there}")


def _describe(library: Any, slot: Any) -> tuple[Any, dict[str, str]] | None:
    """A usable token and what RFC 7512 calls its attributes."""
    pkcs11 = library_package()
    try:
        token = slot.get_token()
        major, minor = library.library_version
        attributes = {
            "token": token.label,
            "manufacturer": token.manufacturer_id,
            "serial": token.serial.decode(),
            "model": token.model,
            "slot-id": str(slot.slot_id),
            "slot-description": slot.slot_description,
            "slot-manufacturer": slot.manufacturer_id,
            "library-manufacturer": library.manufacturer_id,
            "library-description": library.library_description,
            "library-version": f"{major}.{minor}",
        }
    except (pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised, UnicodeDecodeError):
        return None
    return (token, attributes) if token.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED else None


def open_token(path: str, wanted: TokenUri, pin: str | None) -> Token:
    """The token of this process that the URI means, shared by all its keys."""
    attributes = _find_token(path, wanted.token)[1]
    lasting = {n: attributes[n] for n in ("token", "manufacturer", "model", "serial")}
    identity = (os.getpid(), path, *lasting.values())
    with _lock:
        token = _tokens.get(identity)
        if token is None or not token.is_open:
            token = _tokens[identity] = Token(path, lasting, pin)
    if not token.was_opened_with(pin):
        raise UsageError(
            f"{token.name} is in use in this process with another PIN", hint="give the same PIN"
        )
    return token


@contextmanager
def writing(path: str, wanted: Mapping[str, str], pin: str | None) -> Iterator[Any]:
    """A session in which objects can be made on the token with these attributes.

    Raises UsageError where it cannot be had, and for what the token refuses.
    """
    pkcs11 = library_package()
    token, described = _find_token(path, wanted)
    name = f"the token {safe(described['token'])}"
    if pin is None:
        raise UsageError(
            f"{name} asks for a PIN", hint="give it, or name its file with pin-source="
        )
    try:
        session = token.open(rw=True, user_pin=pin)
    except pkcs11.PKCS11Error as error:
        said = _PIN_REFUSED.get(type(error).__name__, (f"cannot be opened: {name_of(error)}", None))
        raise UsageError(f"{name} {said[0]}", hint=said[1]) from None
    try:
        yield session
    except pkcs11.PKCS11Error as error:
        raise UsageError(f"{name} cannot be written: {name_of(error)}") from None
    finally:
        session.close()


class Token:
    """One login at a token: one session, one operation at a time, opened again when it is lost."""

    def __init__(self, path: str, attributes: Mapping[str, str], pin: str | None) -> None:
        self.name = f"the token {safe(attributes['token'])}"
        self.pin = pin
        self._path = path
        self._attributes = attributes  # so that the PIN is never offered to another token
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._refused: tuple[str, str] | None = None
        self._sessions: list[Any] = []  # at most one; a list, because the finaliser needs it too
        weakref.finalize(self, _close, self._sessions, self._pid)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def is_open(self) -> bool:
        return bool(self._sessions)

    def was_opened_with(self, pin: str | None) -> bool:
        if pin is None or self.pin is None:
            return pin is self.pin
        return hmac.compare_digest(pin.encode(), self.pin.encode())

    def run(self, operation: Callable[[Any], _T]) -> _T:
        """What `operation` gives with the session. PKCS11Error is passed on, unless the session is
        lost and cannot be had again: that is a UsageError.
        """
        if os.getpid() != self._pid:
            raise UsageError(
                f"{self.name} was opened in another process", hint="load the key in each process"
            )
        pkcs11 = library_package()
        with self._lock:
            if self._sessions:
                try:
                    return operation(self._sessions[0])
                except pkcs11.PKCS11Error as error:
                    if type(error).__name__ not in LOST:
                        raise
                    _close(self._sessions, self._pid)
            self._sessions.append(self._open())
            try:
                return operation(self._sessions[0])
            except pkcs11.NoSuchKey as error:
                raise UsageError(str(error), hint="check object= and id= of the URI") from None
            except pkcs11.PKCS11Error as error:
                if type(error).__name__ not in LOST:
                    raise
                raise UsageError(f"{self.name} cannot be used: {name_of(error)}") from None

    def _open(self) -> Any:
        if self._refused is not None:
            # offered again for every message, a wrong PIN would soon lock the token
            raise UsageError(self._refused[0], hint=self._refused[1])
        pkcs11 = library_package()
        token, _ = _find_token(self._path, self._attributes)
        pin: Any = self.pin
        if pin is None and token.flags & pkcs11.TokenFlag.LOGIN_REQUIRED:
            if not token.flags & pkcs11.TokenFlag.PROTECTED_AUTHENTICATION_PATH:
                raise UsageError(
                    f"{self.name} asks for a PIN", hint="give it, or name its file with pin-source="
                )
            pin = pkcs11.PROTECTED_AUTH  # it is typed at the reader
        try:
            return token.open(user_pin=pin)
        except pkcs11.UserAlreadyLoggedIn:
            return token.open()  # by other code of this process
        except pkcs11.PKCS11Error as error:
            if (known := _PIN_REFUSED.get(type(error).__name__)) is None:
                raise UsageError(f"{self.name} cannot be opened: {name_of(error)}") from None
            self._refused = (f"{self.name} {known[0]}", known[1])
            raise UsageError(self._refused[0], hint=self._refused[1]) from None


def _close(sessions: list[Any], pid: int) -> None:
    if sessions and os.getpid() == pid:
        try:
            sessions.pop().close()
        except library_package().PKCS11Error:
            pass  # it was gone already


def search(session: Any, template: dict[Any, Any]) -> list[Any]:
    """The objects in a session that fit the template."""
    pkcs11 = library_package()
    try:
        # python-pkcs11 0.10 prints a traceback when it cannot end a search in a lost session, so
        # something that fails quietly comes first
        session.generate_random(64)
    except (pkcs11.RandomNoRNG, pkcs11.FunctionNotSupported):
        pass
    return list(session.get_objects(template))


class NotAllowed(Exception):
    """The key's attributes (CKA_SIGN, CKA_DECRYPT, CKA_DERIVE) do not allow an operation."""


def name_of(error: Exception) -> str:
    if isinstance(error, NotAllowed):
        return "its attributes forbid it"
    return str(error) or type(error).__name__


def safe(text: str) -> str:
    """What a token says of itself, fit for a message."""
    return printable(text)
