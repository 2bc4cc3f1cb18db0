"""send --via smtp: what is too large for Graph."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from . import files, graph_client
from .graph_client import Place
from .options import FILE, combine, option

if TYPE_CHECKING:
    from ..graph import MessageRef

smtp_options = combine(
    option(
        "--smtp-host",
        metavar="HOST[:PORT]",
        default="smtp.office365.com:587",
        show_default=True,
        help="Of --via smtp; it has to offer STARTTLS and XOAUTH2.",
    ),
    option(
        "--smtp-token-file",
        type=FILE,
        metavar="FILE",
        help="Its access token, not Graph's. Else SMIME_GRAPH_SMTP_TOKEN, or --auth azure.",
    ),
)


@dataclass(frozen=True, slots=True)
class SmtpPlace:
    """The server that the options name, and how it is signed in to."""

    smtp_host: str
    smtp_token_file: str | None
    place: Place

    def check(self, *, save_to_sent_items: bool, outbox: str | None) -> None:
        """UsageError for what makes no sense together."""
        if outbox is not None:
            raise UsageError(
                "--outbox and --via smtp are both given",
                hint="leave one of them out: the outbox sends through Graph, where it can look up"
                " what became of a message",
            )
        if self.place.is_emulated():
            raise UsageError(
                "--emulator and --via smtp are both given", hint="name a server with --smtp-host"
            )
        if not save_to_sent_items:
            raise UsageError(
                "--no-save-to-sent-items cannot be told to a server of SMTP",
                hint="Set-Mailbox -MessageCopyForSMTPClientSubmissionEnabled says it to Exchange",
            )

    def unlimited(self) -> Place:
        """The place with a size that only reads files: how much it takes says the server."""
        return replace(self.place, size_limit=2 * files.MESSAGE_LIMIT)

    def send(self, raw: bytes) -> MessageRef:
        from ..graph.smtp import send_by_smtp

        return send_by_smtp(
            raw,
            credential=self._credential(),
            host=self.smtp_host,
            user=None if self.place.user == "me" else self.place.user,
            timeout=self.place.timeout,
            deadline=self.place.deadline,
        )

    def _credential(self) -> Any:
        if self.smtp_token_file is not None:
            return files.read_secret(self.smtp_token_file, what="token").strip()
        if self.place.auth == "azure":
            return graph_client.azure()
        token = os.environ.get("SMIME_GRAPH_SMTP_TOKEN", "").strip()
        if not token:
            raise UsageError(
                "no access token for SMTP is given; that for Graph is no use there",
                hint="use --smtp-token-file FILE, SMIME_GRAPH_SMTP_TOKEN or --auth azure",
            )
        return token
