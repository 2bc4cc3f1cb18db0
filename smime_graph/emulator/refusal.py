"""What a handler raises instead of answering."""

from __future__ import annotations


class Refusal(Exception):
    """An error answer: HTTP status, Graph's code and message, further header fields."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
