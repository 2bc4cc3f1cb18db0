"""A Microsoft Graph that lives in this process.

The rules of this package:

- It is a second reading of Graph. Nothing is imported from `smime_graph.graph`, nor from `smime`,
  `pki` or `cms`: what a client gets wrong must not be wrong here as well.
- The profile `live` refuses what Graph refuses (raw MIME, a `mimeContent` parameter, PUT `$value`):
  an emulator that takes everything hides a client's bug. The profile `design` is the document that
  the project came from.
- The handler takes a value and returns a value. Sockets, httpx and waiting are in `server` and
  `transport`.
- Bytes are stored as they came. Fields are added before the first one or cut out by offset; nothing
  is ever written again from what was parsed. A draft of which a client changes one part is put
  together of the bytes of the others.
- Any bytes in any request get an HTTP answer, in bounded time. What is not built answers 501.
- No token is kept or logged.
"""

from ..loopback.exchange import Exchange, Request, Response
from .faults import Fault, Faults
from .records import Outbound
from .service import Emulator, LogEntry, Mailbox, Message

__all__ = [
    "Emulator",
    "Exchange",
    "Fault",
    "Faults",
    "LogEntry",
    "Mailbox",
    "Message",
    "Outbound",
    "Request",
    "Response",
]
