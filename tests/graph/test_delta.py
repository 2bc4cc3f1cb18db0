"""A folder followed by delta: pages, links, what is removed, and what is not believed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from smime_graph.emulator import Emulator
from smime_graph.errors import GraphError, GraphRefused, UsageError
from smime_graph.graph import GraphClient

from .conftest import RAW, Driver

HERE = "https://graph.microsoft.com/v1.0/me/mailFolders/inbox/messages/delta"


class Script:
    """Answers one after the other, and the requests that got them."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(200, json=answer)


def page(*items: dict[str, Any], **links: str) -> dict[str, Any]:
    return {"value": list(items), **{f"@odata.{name}": link for name, link in links.items()}}


def test_the_first_page_is_of_all_and_the_next_of_its_link(call: Driver) -> None:
    script = Script(
        page({"id": "1"}, {"id": "2", "@removed": {"reason": "deleted"}}, nextLink=f"{HERE}?s=1"),
        page({"id": "3", "isDraft": True}, {"@removed": {}}, deltaLink=f"{HERE}?d=1"),
    )
    first = call(script, "delta", top=7)
    assert [one.id for one in first.messages] == ["1"]
    assert (first.removed, first.more, first.link) == (("2",), True, f"{HERE}?s=1")
    second = call(script, "delta", "inbox", link=first.link)
    assert [(one.id, one.status) for one in second.messages] == [("3", "draft")]
    assert (second.removed, second.more, second.link) == ((), False, f"{HERE}?d=1")
    assert "d=1" not in repr(second)
    asked, again = script.requests
    assert asked.url.path == "/v1.0/me/mailFolders/inbox/messages/delta"
    assert asked.url.params["$select"].startswith("id,internetMessageId,")
    assert asked.headers["prefer"] == 'IdType="ImmutableId", odata.maxpagesize=7'
    assert str(again.url) == f"{HERE}?s=1"
    assert again.headers["prefer"].startswith('IdType="ImmutableId"')


ELSEWHERE = "https://graph.microsoft.com.evil.example/v1.0"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (page(nextLink=ELSEWHERE), "the next page is not on"),
        (page(deltaLink=ELSEWHERE), "the next page is not on"),
        (page(deltaLink="http://graph.microsoft.com/v1.0"), "the next page is not on"),
        (page(nextLink=f"{HERE}?s=1"), "pages do not end"),
        (page(), "does not say how to go on"),
        (page() | {"@odata.deltaLink": 7}, "its link is no text"),
        ({"value": 1}, "is no list"),
        (page("x", deltaLink=HERE), "no message"),  # type: ignore[arg-type]
        (page({"id": ""}, deltaLink=HERE), "no usable id"),
        ([], "Graph's answer"),
    ],
)
def test_an_answer_that_cannot_be_followed_is_an_error(
    call: Driver, answer: Any, said: str
) -> None:
    with pytest.raises(GraphError, match=said):
        call(Script(answer), "delta", link=f"{HERE}?s=1")


def test_the_token_goes_to_no_other_host_for_a_link_that_was_kept(call: Driver) -> None:
    script = Script()
    for link in (ELSEWHERE, "http://127.0.0.1/v1.0", "file:///etc/passwd", "x"):
        with pytest.raises(GraphError, match="the next page is not on"):
            call(script, "delta", link=link)
    for settings in ({"link": 7}, {"top": 0}, {"top": "x"}, {"folder": "."}):
        with pytest.raises(UsageError):
            call(script, "delta", **settings)
    assert script.requests == []


def test_what_graph_has_forgotten_is_told_with_the_way_out(call: Driver) -> None:
    gone = httpx.Response(410, json={"error": {"code": "SyncStateNotFound", "message": "x"}})
    with pytest.raises(GraphRefused, match="410 SyncStateNotFound") as caught:
        call(Script(gone), "delta", link=HERE)
    assert caught.value.status == 410
    assert "begin anew" in str(caught.value.hint)


def test_on_the_emulator_each_message_comes_once_and_then_what_changes() -> None:
    with (
        Emulator(open_mailboxes=True) as emulator,
        GraphClient("x", user="bob@contoso.com", transport=emulator.transport()) as graph,
    ):
        box = emulator.mailbox("bob@contoso.com")
        ids = [box.put(RAW.replace(b"<m1", f"<{n}".encode())).immutable_id for n in range(5)]
        seen, link = [], None
        while True:
            found = graph.delta(link=link, top=2)
            seen += [one.id for one in found.messages]
            link = found.link
            if not found.more:
                break
        assert sorted(seen) == sorted(ids)
        graph.delete(ids[0])
        late = box.put(RAW).immutable_id
        found = graph.delta(link=link)
        assert [one.id for one in found.messages] == [late]
        assert (found.removed, found.more) == ((ids[0],), False)
        assert graph.delta(link=found.link).messages == ()
