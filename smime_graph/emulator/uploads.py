"""Files that come in pieces, as far as they have come."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LIFETIME = 3600.0


@dataclass(frozen=True, slots=True)
class Upload:
    """A session: for which message, what is said of the file, and how much of it is there."""

    id: str
    message: int
    described: Mapping[str, Any]
    size: int
    received: int
    expires: float


class UploadTable:
    """The sessions in the file. Every call is inside a transaction of the store."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(
        self, message: int, described: Mapping[str, Any], size: int, *, now: float
    ) -> tuple[Upload, str]:
        """Begin a session, and forget those that have run out; its token is given once."""
        self._db.execute("DELETE FROM uploads WHERE expires <= ?", (now,))
        upload_id, token = "AAMkAU" + secrets.token_urlsafe(24), secrets.token_urlsafe(32)
        upload = Upload(upload_id, message, described, size, 0, now + _LIFETIME)
        self._db.execute(
            "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?)",
            (upload_id, _digest(token), message, json.dumps(described), size, 0)
            + (upload.expires,),
        )
        return upload, token

    def find(self, upload_id: str, token: str, *, now: float) -> Upload | None:
        """The session, if the token is the one that it was given."""
        row = self._db.execute(
            "SELECT secret, message, described, size, received, expires FROM uploads WHERE id = ?",
            (upload_id,),
        ).fetchone()
        if row is None or not hmac.compare_digest(row[0], _digest(token)) or row[5] <= now:
            return None
        return Upload(upload_id, row[1], json.loads(row[2]), *row[3:])

    def append(self, upload: Upload, data: bytes) -> None:
        self._db.execute("INSERT INTO chunks VALUES (?, ?, ?)", (upload.id, upload.received, data))
        self._db.execute(
            "UPDATE uploads SET received = received + ? WHERE id = ?", (len(data), upload.id)
        )

    def content(self, upload: Upload) -> bytes:
        rows = self._db.execute(
            "SELECT data FROM chunks WHERE upload = ? ORDER BY start", (upload.id,)
        )
        return b"".join(row[0] for row in rows)

    def remove(self, upload: Upload) -> None:
        self._db.execute("DELETE FROM uploads WHERE id = ?", (upload.id,))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
