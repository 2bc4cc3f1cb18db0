"""A message of an outbox as it is stored: its row, its attempts, and who has its lease.

What is read is not believed: a store may hold what no outbox has written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from ._outgoing import Via

OutboxState: TypeAlias = Literal["queued", "trying", "sent", "unknown", "failed"]
# what is asked of Graph: to send a message, as an answer to `original` or not, or a draft of it
OutboxAction: TypeAlias = Literal["send", "reply", "reply-all", "forward", "draft"]
ROWS = (
    "id, mailbox, message_id, recipients, via, size, state, created, changed, due, lease,"
    " lease_until, attempts, looks, drafting, draft_id, began, server_began, error, action,"
    " original FROM messages"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A message of the outbox, without its bytes; `is_repeated`: it was there when it came in."""

    id: int
    mailbox: str
    message_id: str
    recipients: frozenset[str]
    via: Via
    size: int
    state: OutboxState
    created: float
    changed: float
    due: float | None
    lease: str = field(repr=False)
    lease_until: float
    attempts: int
    looks: int
    drafting: float | None
    draft_id: str | None
    began: float | None
    server_began: float | None
    error: str | None
    action: OutboxAction
    original: str | None
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that is put in; a draft has no bytes, and its Message-ID is found out later."""

    raw: bytes = field(repr=False)
    mailbox: str
    message_id: str
    recipients: frozenset[str]
    via: Via
    action: OutboxAction = "send"
    original: str | None = None
    draft_id: str | None = None
    mark: bytes | None = field(default=None, repr=False)

    @property
    def stored_mark(self) -> bytes | None:
        """Of this message alone: two of the same content do not show that they are."""
        return None if self.mark is None else hashlib.sha256(self.key + self.mark).digest()

    @property
    def key(self) -> bytes:
        names = [self.mailbox.lower(), self.message_id, json.dumps(sorted(self.recipients))]
        if self.action != "send":
            names += [self.action, self.original or self.draft_id or ""]
        return hashlib.sha256(json.dumps(names).encode()).digest()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to send: when it began, the ids of its request, and what came of it."""

    number: int
    began: float
    client_request_id: str | None
    request_id: str | None
    outcome: str | None


class Damaged(Exception):
    """What is stored was put there by no outbox."""


# what each column of ROWS holds; SQLite keeps anything in any, PostgreSQL a time without end
_TEXT, _TIME, _MAYBE_TEXT = (str,), (int, float), (str, type(None))
_MAYBE_TIME = (int, float, type(None))
_HELD: tuple[tuple[type, ...], ...] = (
    *((int,), _TEXT, _TEXT, _TEXT, _TEXT, (int,), _TEXT, _TIME, _TIME, _MAYBE_TIME, _TEXT, _TIME),
    *((int,), (int,), _MAYBE_TIME, _MAYBE_TEXT, _MAYBE_TIME, _MAYBE_TIME, _MAYBE_TEXT),
    *(_TEXT, _MAYBE_TEXT),
)
_FIRST_TIME, _LAST_TIME = 0.0, 253_402_300_799.0  # the end of the year 9999


def row_of(values: Sequence[Any]) -> Row:
    """Raises Damaged for what no outbox has written."""
    number, mailbox, message_id, recipients, *rest = values
    for value, held in zip(values, _HELD, strict=True):
        if not isinstance(value, held) or (isinstance(value, float) and not _is_time(value)):
            raise Damaged(f"message {number} holds {value!r:.40}")
    try:
        people = frozenset(json.loads(recipients))
    except (ValueError, TypeError, RecursionError):
        people = frozenset((None,))
    row = Row(number, mailbox, message_id, people, *rest)
    if (
        not all(isinstance(one, str) for one in people)
        or row.state not in get_args(OutboxState)
        or row.via not in get_args(Via)
        or row.action not in get_args(OutboxAction)
        or (row.original is None) != (row.action in ("send", "draft"))
        or (row.draft_id is None and row.action == "draft")
    ):
        raise Damaged(f"message {number} is like none that was put in")
    return row


def attempt_of(number: int, began: Any, *rest: Any) -> Attempt:
    if not isinstance(began, float) or not _is_time(began):
        raise Damaged(f"an attempt began at {began!r:.40}")
    return Attempt(number, began, *rest)


def _is_time(seconds: float) -> bool:
    return _FIRST_TIME <= seconds <= _LAST_TIME


# --- who has a lease ---------------------------------------------------------------------------


def name_of_process() -> str:
    """The machine since it was started, its process and when that began; empty where nobody tells.

    Numbers of processes are used again, and mean something else in another container.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    number = str(os.getpid())
    began = started(number)
    return "" if began is None else f"{boot}/{space} {number} {began}"


def started(number: str) -> str | None:
    """When a process began, in ticks since the machine did (proc(5)); None: there is none."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError, ValueError):
        return None
