"""Microsoft Graph: submit finished MIME, and read it back.

    with GraphClient(credential) as graph:
        graph.send(sealed)
        graph.fetch(message_id)

The rules of this package:

- It gets bytes and never changes one of them: they may be signed. It knows nothing of S/MIME.
- What happens is decided in generators (`_flows`, `_exchange`), which do no I/O; `_client` carries
  it out, once for threads and once for asyncio. A method is declared in one place for both.
- A send is never repeated blindly. What an answer does not say is settled by looking into the
  mailbox (`_settle`), and where that cannot tell, it is unknown. Every error of a send says so in
  `disposition`, and whatever else ends one (a cancelled task, Ctrl-C) has such an error as cause.
  An `outbox` keeps to that whoever is killed.
- Only the documented status and media type are a success: a proxy's page is no message and no
  acceptance.
- A token goes to the configured host alone, over https (http: loopback only), and is in no repr, no
  error.
- An answer is not trusted: it is read within limits of size and time, and gives a value or a
  GraphError.

Two forms of request, `wire=`: `text-plain` is what Graph v1.0 documents and takes (the whole MIME
in base64 as a text/plain body); `mime-content` is the older design document's (JSON `mimeContent`
for the actions, bare MIME for drafts), which the live service does not have. Reading is the same in
both.

The names below are loaded on first use, so that importing the package imports no HTTP client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._client import AsyncGraphClient, GraphClient
    from ._pace import GraphLimits
    from .auth import TokenSource
    from .models import DeltaPage, Folder, MailboxContact, MessageRef, Page, StoredMessage
    from .outbox import Outbox, OutboxAttempt, OutboxMessage, OutboxRun
    from .smtp import send_by_smtp, send_by_smtp_async

__all__ = [
    "AsyncGraphClient",
    "DeltaPage",
    "Folder",
    "GraphClient",
    "GraphLimits",
    "MailboxContact",
    "MessageRef",
    "Outbox",
    "OutboxAttempt",
    "OutboxMessage",
    "OutboxRun",
    "Page",
    "StoredMessage",
    "TokenSource",
    "send_by_smtp",
    "send_by_smtp_async",
]

_HOMES = {
    "AsyncGraphClient": "._client",
    "DeltaPage": ".models",
    "Folder": ".models",
    "GraphClient": "._client",
    "GraphLimits": "._pace",
    "MailboxContact": ".models",
    "MessageRef": ".models",
    "Outbox": ".outbox",
    "OutboxAttempt": ".outbox",
    "OutboxMessage": ".outbox",
    "OutboxRun": ".outbox",
    "Page": ".models",
    "StoredMessage": ".models",
    "TokenSource": ".auth",
    "send_by_smtp": ".smtp",
    "send_by_smtp_async": ".smtp",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
