"""What is known of one send while it goes on, so that whatever ends it can say so. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import Disposition, GraphUnreachable, SmimeGraphError
from ._wire import Flow, T

LOOK_FIRST = (
    "do not send it again unasked: look into Sent Items and Drafts, or ask a recipient, whether it"
    " went out"
)
ROOTS = "SSL_CERT_FILE names the roots that are believed instead of the usual ones"


@dataclass(slots=True)
class Sending:
    """One message on its way: each field is what is known at this moment.

    `disposition` is `unknown` from the moment a request that sends is handed over until an answer
    proves that nothing was done. `repeated` says that the request was made again after such an
    answer. `began_at` is when the first request left, by the clock of
    `Response.began_at`. `journal` is told, before the first byte of each request that sends leaves,
    what is about to happen; if it raises, nothing leaves. `date` is the time of the latest answer,
    by the server's clock.
    """

    message_id: str | None = None
    draft_id: str | None = None
    client_request_id: str | None = None
    disposition: Disposition = "not-sent"
    repeated: bool = False
    began_at: float | None = None
    journal: Callable[[Sending], None] | None = None
    date: float | None = None

    def told(self, flow: Flow[T]) -> Flow[T]:
        """The flow, whose every error says what became of the message.

        Our own errors say it themselves. Whatever else ends the flow (a cancelled task, Ctrl-C, an
        exception of the caller's transport) stays what it is and has a GraphUnreachable that says
        it as its cause.
        """
        with self.telling():
            return (yield from flow)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """As `told`, for what is done in it."""
        try:
            yield
        except SmimeGraphError as error:
            self._write_on(error)
            raise
        except BaseException as error:
            known = self._interrupted()
            self._write_on(known)
            known.__cause__ = error.__cause__
            raise error from known

    def _write_on(self, error: SmimeGraphError) -> None:
        error.disposition = self.disposition
        error.message_id = self.message_id
        error.draft_id = self.draft_id or error.draft_id
        error.client_request_id = self.client_request_id or error.client_request_id

    def _interrupted(self) -> GraphUnreachable:
        name = self.message_id or "the message"
        if self.disposition == "unknown":
            return GraphUnreachable(f"interrupted: {name} may have been sent", hint=LOOK_FIRST)
        hint = "it may be sent again"
        if self.draft_id is not None:
            hint = f"it stays unsent in Drafts: send that ({self.draft_id}), or delete it"
        return GraphUnreachable(f"interrupted: {name} was not sent", hint=hint)
