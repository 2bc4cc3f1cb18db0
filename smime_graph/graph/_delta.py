"""A folder that is followed: what has changed since one last asked ("message: delta").

A flow as those of `_flows`.
"""

from __future__ import annotations

from ..errors import GraphError, GraphRefused, UsageError
from . import _answers, _exchange
from ._mailbox import Mailbox
from ._wire import Flow, Request
from .models import DeltaPage

_MOST = 1000  # of a page


def delta(
    box: Mailbox, folder: str = "inbox", *, link: str | None = None, top: int = 50
) -> Flow[DeltaPage]:
    """What has changed in a folder since the page that `link` is of; without it, all there is.

    `folder` is an id or a well-known name. A page has some `top` messages; its `link` is for the
    next call, now where there is `more`, and later where not. Ids are immutable: a message keeps
    its own wherever it goes. Needs the right Mail.Read. Raises GraphRefused with the status 410
    where Graph has forgotten what `link` stands for: then begin anew, without it. GraphError if the
    next link is on another host.
    """
    if not isinstance(top, int) or not 1 <= top <= _MOST:
        raise UsageError(f"top is {top!r}, wanted 1 to {_MOST}")
    if link is None:
        url = box.at("mailFolders", folder, "messages", "delta", select=_answers.MESSAGE_FIELDS)
    else:
        if not isinstance(link, str):
            raise UsageError("link is no link of a page", hint="give that of the page before")
        url = box.next_page(link)
    prefer = f"{_exchange.HEADERS['Prefer']}, odata.maxpagesize={top}"
    request = Request("GET", url, _exchange.HEADERS | {"Prefer": prefer})
    answer = yield from _exchange.attempt(box, request, safe=True)
    try:
        done = _exchange.done(box, answer, ok=(200,))
    except GraphRefused as error:
        if error.status == 410:
            error.hint = "what was known of the folder is too old: begin anew, without link"
        raise
    items, removed, following, final = _answers.changes(done)
    if following is not None and box.next_page(following) == url:
        raise GraphError("Graph's pages do not end: the next one is the same again")
    if following is None and final is None:
        raise GraphError("Graph's answer does not say how to go on: it has no link")
    return DeltaPage(
        tuple(_answers.message_ref(item, request_id=None) for item in items),
        removed,
        box.next_page(following or final or ""),
        following is not None,
    )
