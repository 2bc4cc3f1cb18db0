"""What has changed in a folder, or of the folders, since a client last asked.

A round of requests follows `@odata.nextLink` until there is an `@odata.deltaLink`, which begins the
next round. Both carry all that the emulator has to know, so it keeps nothing for a client.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from ..loopback.exchange import Response
from .context import Call, account_for, folder_for, folder_named, not_found, shown
from .exchange import json_response
from .folders import FOLDERS
from .handlers_folders import shape
from .odata import Binary, Expression, Matcher, Path, Value
from .query import check_options, number, only, path_of, read_filter, read_select
from .records import Account, Change
from .refusal import Refusal
from .resources import timestamp

_OPTIONS = frozenset({"$filter", "$select", "$top", "$deltatoken", "$skiptoken"})
_TYPES = ("created", "updated", "deleted")


@dataclass(frozen=True, slots=True)
class _State:
    """Where a client is: the round is from `since` to `until`, and it has what is up to `after`."""

    mailbox: int
    folder: str
    since: int
    until: int
    after: int
    select: str
    kind: str
    condition: str


_TYPES_OF_A_STATE = [int, str, int, int, int, str, str, str]


def list_changes(call: Call) -> Response:
    account = account_for(call)
    folder = folder_for(call, account)
    if folder is None:
        raise not_found()
    check_options(call, _OPTIONS)
    state = _begin(call, account, folder)
    selected = read_select(call, "message", state.select)
    condition = _read_condition(state.condition)
    top = _page_size(call)
    found = call.store.changes(
        account,
        folder,
        since=state.since,
        until=state.until,
        after=state.after,
        limit=top + 1,
    )
    value = [
        _shown(call, account, one, selected)
        for one in found[:top]
        if state.kind in ("", _kind(one)) and _fits(one, condition)
    ]
    return _answer(call, "message", value, state, [one.number for one in found], top)


def list_folder_changes(call: Call) -> Response:
    """ "mailFolder: delta": the folders that are new, renamed, moved or gone.

    The folders that every mailbox has are on the first page of the first round.
    """
    account = account_for(call)
    check_options(call, _OPTIONS - {"$filter"})
    state = _begin(call, account, "")
    selected = read_select(call, "mailFolder", state.select)
    top = _page_size(call)
    found = call.store.folders.changes(
        account.number, since=state.since, until=state.until, after=state.after, limit=top + 1
    )
    keys = [(key, False) for key in FOLDERS] if _token(call) is None else []
    value = []
    for key, gone in keys + [(key, gone) for _, key, gone in found[:top]]:
        head: dict[str, Any] = {"@odata.type": "#microsoft.graph.mailFolder"}
        if gone:
            value.append({**head, "@removed": {"reason": "deleted"}, "id": key})
        else:
            value.append(
                head | only(shape(call, account, folder_named(call, account, key)), selected)
            )
    return _answer(call, "mailFolder", value, state, [number for number, _, _ in found], top)


def _answer(
    call: Call,
    kind: str,
    value: Sequence[dict[str, Any]],
    state: _State,
    found: Sequence[int],
    top: int,
) -> Response:
    """A page of changes, whose numbers are `found`, with the one after it where it goes on."""
    call.applied.append("odata.track-changes")
    if len(found) > top:
        follows = replace(state, after=found[top - 1])
        link = {"@odata.nextLink": _link(call, "$skiptoken", follows)}
    else:
        follows = replace(state, since=state.until, after=-1)
        link = {"@odata.deltaLink": _link(call, "$deltatoken", follows)}
    context = f"{call.request.origin}/{call.version}/$metadata#Collection({kind})"
    return json_response(200, {"@odata.context": context, **link, "value": value})


def _token(call: Call) -> str | None:
    """Where the client is, None where it begins."""
    token = call.query.get("$skiptoken") or call.query.get("$deltatoken")
    # mail does not know "latest" (GD#9569)
    return None if token is None or token.lower() == "latest" else token


def _begin(call: Call, account: Account, folder: str) -> _State:
    now = call.store.sequence()
    token = _token(call)
    if token is None:
        kind = call.query.get("changetype", "").lower()
        if kind and kind not in _TYPES:
            raise Refusal(400, "ErrorInvalidUrlQuery", "The value of 'changeType' is not known.")
        select, condition = (call.query.get(name, "") for name in ("$select", "$filter"))
        return _State(account.number, folder, 0, now, -1, select, kind, condition)
    state = _read(token)
    if (state.mailbox, state.folder) != (account.number, folder) or now < max(
        state.since, state.until
    ):
        raise Refusal(  # GD#2350; the client has to begin anew
            410,
            "SyncStateNotFound",
            f"The sync state generation is not found; generation={state.since};[highest={now}].",
        )
    if "$skiptoken" in call.query:
        return state
    return replace(state, until=now)


def _read_condition(text: str) -> Expression | None:
    condition = read_filter(text, "message") if text else None
    if condition is not None and not _is_lower_bound(condition):
        raise Refusal(  # no other is supported, as documented; the text is ours
            400, "ErrorInvalidUrlQuery", "Changes are filtered by receivedDateTime ge or gt only."
        )
    return condition


def _is_lower_bound(condition: Expression) -> bool:
    return (
        isinstance(condition, Binary)
        and condition.operator in ("ge", "gt")
        and isinstance(condition.left, Path)
        and condition.left.text == "receivedDateTime"
        and isinstance(condition.right, Value)
    )


def _fits(change: Change, condition: Expression | None) -> bool:
    if condition is None or change.item is None:
        return True
    return Matcher(condition)({"receivedDateTime": timestamp(change.item.received)})


def _page_size(call: Call) -> int:
    """How many changes a page has, by `Prefer: odata.maxpagesize` or $top."""
    size = call.preference("odata.maxpagesize")
    if size is not None and size.isascii() and size.isdigit() and int(size[:9]) > 0:
        top = min(int(size[:9]), call.rules.page_limit)
        call.applied.append(f"odata.maxpagesize={top}")
        return top
    return number(call, "$top", default=10, least=1, most=call.rules.page_limit)


def _kind(change: Change) -> str:
    if change.item is None:
        return "deleted"
    return "created" if change.is_new else "updated"


def _shown(
    call: Call, account: Account, change: Change, selected: frozenset[str] | None
) -> dict[str, Any]:
    head = {"@odata.type": "#microsoft.graph.message"}
    if change.item is None:
        own_id = change.immutable_id if call.immutable else change.id
        return {**head, "@removed": {"reason": "deleted"}, "id": own_id}
    return head | only(shown(call, account, change.item), selected)


def _link(call: Call, name: str, state: _State) -> str:
    text = json.dumps(astuple(state), separators=(",", ":")).encode()
    token = base64.urlsafe_b64encode(text).decode().rstrip("=")
    return f"{call.request.origin}{path_of(call)}?{name}={token}"


def _read(token: str) -> _State:
    try:
        text = base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
        values = json.loads(text)
        if [type(value) for value in values] != _TYPES_OF_A_STATE:
            raise ValueError("not a state")
        if not all(-1 <= value < 2**53 for value in values if not isinstance(value, str)):
            raise ValueError("not a state")
        return _State(*values)
    except (ValueError, TypeError, RecursionError, binascii.Error):
        # general knowledge: the text of other delta queries
        raise Refusal(400, "BadRequest", "Badly formed token.") from None
