"""What an authority has issued and what it has revoked: in memory, or in its folder's index.json.

    {"issued": [{"serial", "emails", "not_before", "not_after", "sha256"}, ...],
     "revoked": [{"serial", "at", "reason"}, ...],
     "services": "http://127.0.0.1:8880"}

Nothing is ever taken out: a hold that was lifted is one more entry (RFC 5280 5.3.1), so that what
was known at a time can be said of any time.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from ..errors import MalformedMessage, UsageError
from ..files import write
from ..x509.certificate import Certificate

__all__ = ["INDEX", "Records", "RevocationReason", "Revoked"]

INDEX = "index.json"

RevocationReason: TypeAlias = Literal[
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    "removeFromCRL",
    "privilegeWithdrawn",
    "aACompromise",
]
"""CRLReason (RFC 5280 5.3.1). certificateHold can be lifted, by removeFromCRL, or be made final."""

_URL = re.compile(r"https?://[!-~]+")

HOLD, LIFTED = "certificateHold", "removeFromCRL"


@dataclass(frozen=True, slots=True)
class Revoked:
    """That a certificate was revoked, or that it is no more on hold."""

    serial: int
    at: datetime
    reason: str


class Records:
    """The records of one authority; `directory` is where they are kept, None for nowhere."""

    def __init__(self, directory: Path | None = None, *, services: str | None = None) -> None:
        self.directory = directory
        self._held: dict[str, Any] = {"issued": [], "revoked": []}
        if services is not None:
            if not _URL.fullmatch(services):
                raise UsageError(
                    f"{services[:100]!r} is no URL of services",
                    hint="wanted one like http://127.0.0.1:8880",
                )
            self._held["services"] = services.rstrip("/")

    @property
    def issued(self) -> list[dict[str, Any]]:
        return list(self._content()["issued"])

    @property
    def services(self) -> str | None:
        found = self._content().get("services")
        return None if found is None else str(found)

    def knows(self, serial: int) -> bool:
        return any(entry.get("serial") == f"{serial:x}" for entry in self._content()["issued"])

    def revoked(self, at: datetime) -> dict[int, Revoked]:
        """What is revoked or on hold at a time, by serial number."""
        found: dict[int, Revoked] = {}
        for entry in self._content()["revoked"]:
            one = _revoked(entry)
            if one.at > at:
                continue
            found.pop(one.serial, None)
            if one.reason != LIFTED:
                found[one.serial] = one
        return found

    def number(self, at: datetime) -> int:
        """Of a CRL made then: it grows with the time, and with what is revoked."""
        return int(at.timestamp()) << 16 | len(self._content()["revoked"]) & 0xFFFF

    def save(self, directory: Path) -> None:
        """Write the index into a folder, and keep it there from now on. Raises OSError."""
        write(directory / INDEX, _text(self._held))
        self.directory = directory

    def add_issued(self, certificate: Certificate, emails: Sequence[str]) -> None:
        """Raises UsageError where that cannot be kept."""
        entry = {
            "serial": f"{certificate.serial_number:x}",
            "emails": list(emails),
            **_validity(certificate),
            "sha256": certificate.sha256,
        }
        with self._changing("the certificate was not issued: an authority must know its own") as (
            content
        ):
            content["issued"].append(entry)

    def add_revoked(self, serial: int, *, at: datetime, reason: str) -> None:
        """Raises UsageError for what is revoked already, unless it is on hold, for a hold that is
        lifted where there is none, and where it cannot be kept.
        """
        with self._changing("nothing was revoked") as content:
            log = [one for one in map(_revoked, content["revoked"]) if one.serial == serial]
            last = log[-1] if log and log[-1].reason != LIFTED else None
            if last is None and reason == LIFTED:
                raise UsageError(
                    f"the certificate with serial {serial:#x} is not on hold",
                    hint="removeFromCRL lifts a certificateHold, and nothing else",
                )
            if last is not None and (last.reason != HOLD or reason == HOLD):
                raise UsageError(
                    f"the certificate with serial {serial:#x} was revoked already,"
                    f" at {last.at.isoformat()} ({last.reason})",
                    hint="only what is on hold can be revoked for good, or released",
                )
            if log and at < log[-1].at:
                raise UsageError(
                    f"{at.isoformat()} is before the last change, at {log[-1].at.isoformat()}",
                    hint="give a later time",
                )
            content["revoked"].append(
                {"serial": f"{serial:x}", "at": at.isoformat(), "reason": reason}
            )

    def _content(self) -> Mapping[str, Any]:
        return self._held if self.directory is None else _read(self.directory)

    @contextmanager
    def _changing(self, hint: str) -> Iterator[dict[str, Any]]:
        """The content, to be changed; it is kept where nothing is raised."""
        if self.directory is None:
            yield self._held
            return
        try:
            with _locked(self.directory):
                content = _read(self.directory)
                yield content
                write(self.directory / INDEX, _text(content))
        except OSError as error:
            raise UsageError(
                f"{self.directory / INDEX} cannot be written: {error.strerror}", hint=hint
            ) from error


def _text(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode() + b"\n"


def _read(folder: Path) -> dict[str, Any]:
    try:
        content = {"revoked": [], **json.loads((folder / INDEX).read_bytes())}
        for name in ("issued", "revoked"):
            if not all(isinstance(one, dict) for one in content[name]):
                raise ValueError(f"{name} is no list of entries")
        for entry in content["revoked"]:
            _revoked(entry)
        if not isinstance(content.get("services"), str | None):
            raise ValueError("services is no URL")
    except (OSError, ValueError, OverflowError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{folder / INDEX} is not the index of an authority") from error
    return content


def _validity(certificate: Certificate) -> dict[str, str]:
    try:
        ends = (certificate.not_before, certificate.not_after)
    except MalformedMessage:
        return {}  # deliberately
    return {"not_before": ends[0].isoformat(), "not_after": ends[1].isoformat()}


def _revoked(entry: Mapping[str, Any]) -> Revoked:
    """Raises ValueError, TypeError or KeyError for what is no entry."""
    at = datetime.fromisoformat(entry["at"])
    if at.utcoffset() is None or entry["reason"] not in get_args(RevocationReason):
        raise ValueError("this is no revocation")
    return Revoked(int(entry["serial"], 16), at.astimezone(UTC), entry["reason"])


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two processes that issue at once must not lose each other's entry."""
    try:
        import fcntl
    except ImportError:  # Windows has no advisory locks on folders: one process at a time there
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
