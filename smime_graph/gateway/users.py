"""Who may sign in, and as whom they may write.

A line of the file: `NAME:SALT:HASH[:ADDRESS,...]`, the salt and the hash in hexadecimal digits. The
hash is scrypt's (RFC 7914) with the costs below. Without addresses any sender is theirs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import UsageError
from ..pki.address import Mailbox, is_address, mailboxes

# OWASP's "Password Storage Cheat Sheet" for 16 MB
COST, BLOCK, PARALLEL = 2**14, 8, 5
_LENGTH = 64  # octets of a hash
_NAME = re.compile(r"[^\s:\x00-\x1f]{1,256}")
_SALT = re.compile(r"(?:[0-9a-fA-F]{2}){16,64}")
_HASH = re.compile(rf"[0-9a-fA-F]{{{2 * _LENGTH}}}")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who has signed in; `senders` is None where they may write as anybody."""

    name: str
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    senders: frozenset[Mailbox] | None = None


def hashed(password: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=COST, r=BLOCK, p=PARALLEL, dklen=_LENGTH)


class Users:
    """Those of a file; `name` is the file's, for errors, which never repeat a line of it."""

    def __init__(self, text: str, *, name: str) -> None:
        self._users: Mapping[str, User] = {
            one.name: one
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.startswith("#")
            for one in [_read(line.strip().split(":"), f"{name}, line {number}")]
        }
        if not self._users:
            raise UsageError(f"{name} names nobody", hint="write a line for each who may sign in")

    def verify(self, name: bytes, password: bytes) -> User | None:
        """The one of this name and password. It takes as long whether the name is known or not."""
        user = self._users.get(name.decode("utf-8", "replace"))
        known = user or User("", bytes(16), bytes(_LENGTH))
        is_right = hmac.compare_digest(hashed(password, known.salt), known.digest)
        return user if is_right else None


def _read(parts: Sequence[str], where: str) -> User:
    if not (
        len(parts) in (3, 4)
        and _NAME.fullmatch(parts[0])
        and _SALT.fullmatch(parts[1])
        and _HASH.fullmatch(parts[2])
    ):
        raise UsageError(
            f"{where}: no user, wanted NAME:SALT:HASH or NAME:SALT:HASH:ADDRESS,...",
            hint="smime-graph gateway --help says how to make a line",
        )
    addresses = [one.strip() for one in parts[3].split(",")] if parts[3:] else []
    if not all(map(is_address, addresses)):
        raise UsageError(f"{where}: what is behind the hash is no list of addresses")
    senders = mailboxes(tuple(addresses)) if addresses else None
    return User(parts[0], bytes.fromhex(parts[1]), bytes.fromhex(parts[2]), senders)
