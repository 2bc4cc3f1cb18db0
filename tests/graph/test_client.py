"""The two clients as such: one surface, the failures of httpx, real sockets, floors."""

from __future__ import annotations

import asyncio
import inspect
import socket
import subprocess
import sys
import threading
import typing
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

import smime_graph.graph
from smime_graph.errors import GraphUnreachable, UsageError
from smime_graph.graph import AsyncGraphClient, GraphClient, MessageRef, Page
from smime_graph.graph._client import Operation, _Operations
from smime_graph.graph._http import no_answer

from .conftest import Driver

ROOT = Path(smime_graph.graph.__file__).parents[2]


def operations() -> Any:
    return [name for name, entry in vars(_Operations).items() if isinstance(entry, Operation)]


def test_both_clients_offer_the_same_methods_with_the_same_parameters() -> None:
    def public(client: Any) -> Any:
        return {
            n
            for n, m in inspect.getmembers(client, inspect.isfunction)
            if not n.startswith("_") and n not in ("close", "aclose")
        }

    offered = {one for one in operations() if not one.startswith("_")}
    assert public(GraphClient) == public(AsyncGraphClient) == offered
    assert len(offered) == 19
    for name in operations():
        one, other = getattr(GraphClient, name), getattr(AsyncGraphClient, name)
        assert inspect.signature(one) == inspect.signature(other)
        assert typing.get_type_hints(one) == typing.get_type_hints(other)
        assert inspect.iscoroutinefunction(other)
        assert not inspect.iscoroutinefunction(one)
        assert one.__doc__ == other.__doc__
        assert one.__doc__
        assert one.__qualname__ == f"GraphClient.{name}"


def test_both_clients_are_made_with_the_same_settings() -> None:
    def settings(client: Any) -> Any:
        return [
            (p.name, p.kind, p.default)
            for p in inspect.signature(client).parameters.values()
            if p.name not in ("transport", "sleep")  # what differs by nature
        ]

    assert settings(GraphClient) == settings(AsyncGraphClient)


def test_signatures_are_real_ones() -> None:
    signature = inspect.signature(GraphClient.send)
    assert list(signature.parameters) == ["self", "raw", "save_to_sent_items", "via"]
    assert signature.parameters["via"].default == "auto"
    assert signature.parameters["via"].kind is inspect.Parameter.KEYWORD_ONLY
    assert typing.get_type_hints(GraphClient.send)["raw"] is bytes
    assert typing.get_type_hints(AsyncGraphClient.list)["return"] is Page
    assert signature.return_annotation is MessageRef


def test_a_subclass_may_override_a_method() -> None:
    class Mine(GraphClient):
        def get(self, message_id: str) -> Any:
            return f"mine {message_id}"

    with Mine("token") as graph:
        mine: Any = graph.get("x")
    assert mine == "mine x"


def test_a_wrong_call_fails_like_any_python_call(call: Driver, raw: bytes) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'raw'"):
        call(lambda request: httpx.Response(202), "reply", "id")
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        call(lambda request: httpx.Response(202), "send", raw, save=False)


def failures(kind: Any = httpx.TransportError) -> Iterator[Any]:
    yield kind
    for child in kind.__subclasses__():
        yield from failures(child)


def test_every_failure_of_httpx_has_a_meaning_and_only_a_missing_connection_means_unsent() -> None:
    unsent = {
        kind.__name__ for kind in failures() if no_answer(kind("x"), "https://x").sent == "no"
    }
    assert unsent == {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "ProxyError",
        "UnsupportedProtocol",
    }


@pytest.mark.parametrize(
    "host", ["xn--a", "a" * 70 + ".com", "a..b", "[v1.x]", "256.256.256.256", "localhost:0"]
)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_address_that_cannot_be_is_an_error_of_ours_and_nothing_was_sent(
    kind: Any, host: Any, raw: bytes
) -> None:
    with pytest.raises(GraphUnreachable) as caught:
        send(kind, f"https://{host}/v1.0", raw)
    assert caught.value.disposition == "not-sent"


def test_an_answer_that_cannot_be_decoded_does_not_mean_that_nothing_was_sent() -> None:
    assert no_answer(UnicodeError("label too long"), "https://x").sent == "no"
    assert no_answer(UnicodeDecodeError("ascii", b"\xff", 0, 1, "no"), "").sent == "unknown"


def test_the_text_of_a_failure_after_writing_is_not_repeated() -> None:
    text = no_answer(
        httpx.LocalProtocolError("Illegal header value b'Bearer s3cret'"), "https://x"
    ).reason
    assert "s3cret" not in text
    assert "LocalProtocolError" in text


def test_a_closed_client_says_so(raw: bytes) -> None:
    graph = GraphClient("token")
    graph.close()
    with pytest.raises(UsageError, match="the client is closed"):
        graph.send(raw)

    async def run() -> None:
        closed = AsyncGraphClient("token")
        await closed.aclose()
        with pytest.raises(UsageError, match="the client is closed"):
            await closed.send(raw)

    asyncio.run(run())


def test_cancelling_a_send_ends_it_at_once(raw: bytes) -> None:
    started = []

    async def handler(request: httpx.Request) -> httpx.Response:
        started.append(request.method)
        await asyncio.sleep(60)
        return httpx.Response(202)

    async def run() -> None:
        async with AsyncGraphClient("token", transport=httpx.MockTransport(handler)) as graph:
            task = asyncio.create_task(graph.send(raw))
            while not started:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    assert started == ["POST"]


# --- over a real socket --------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Any]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server: Any

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.got.append((self.path, dict(self.headers), body))
            if self.server.hang_up:
                self.close_connection = True
                return
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.server.got.append((self.path, dict(self.headers), b""))
            body = b'{"value": []}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        seen: Any = server
        seen.got, seen.hang_up = [], False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def send(kind: Any, url: str, raw: bytes) -> Any:
    pauses: list[float] = []
    if kind == "sync":
        with GraphClient("token", url=url, sleep=pauses.append, retries=1) as graph:
            return graph.send(raw)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def run() -> Any:
        async with AsyncGraphClient("token", url=url, sleep=sleep, retries=1) as graph:
            return await graph.send(raw)

    return asyncio.run(run())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_send_over_a_real_socket_ignores_the_proxies_of_the_environment(
    server: Any, kind: Any, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    url = f"http://127.0.0.1:{server.server_port}/v1.0"
    assert send(kind, url, raw).status == "accepted"
    ((path, headers, _),) = server.got
    assert path == "/v1.0/me/sendMail"
    assert headers["Authorization"] == "Bearer token"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_server_that_hangs_up_after_the_request_is_not_sent_to_again(
    server: Any, kind: Any, raw: bytes
) -> None:
    server.hang_up = True
    with pytest.raises(GraphUnreachable) as caught:
        send(kind, f"http://127.0.0.1:{server.server_port}/v1.0", raw)
    assert caught.value.maybe_sent
    assert [path for path, _, body in server.got if body] == ["/v1.0/me/sendMail"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_refused_connection_means_that_nothing_was_sent(kind: Any, raw: bytes) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        with pytest.raises(GraphUnreachable, match="could not connect") as caught:
            send(kind, f"http://127.0.0.1:{taken.getsockname()[1]}/v1.0", raw)
    assert not caught.value.maybe_sent


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_failed_tls_handshake_means_that_nothing_was_sent(
    server: Any, kind: Any, raw: bytes
) -> None:
    with pytest.raises(GraphUnreachable, match="could not connect") as caught:
        send(kind, f"https://127.0.0.1:{server.server_port}/v1.0", raw)
    assert not caught.value.maybe_sent
    assert server.got == []


# --- floors and surface --------------------------------------------------------------------------


def python(code: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_no_http_client() -> None:
    wanted = "['httpx', 'smime_graph.graph._client']"
    code = (
        "import sys, smime_graph.graph.{0} as m; names = {1};"
        "print([n for n in names if n in sys.modules])"
    )
    for module in ("models", "_flows", "_exchange", "_wire"):
        assert python(code.format(module, wanted)).strip() == "[]"
    assert python(code.format("_client", wanted)).strip() == wanted


def test_the_core_imports_nothing_that_does_io() -> None:
    core = ("_wire", "_flows", "_exchange", "_answers", "_outgoing", "_mailbox", "models")
    for name in core:
        source = (ROOT / "smime_graph" / "graph" / f"{name}.py").read_text("utf-8")
        imported = {
            line.split()[1].split(".")[0]
            for line in source.splitlines()
            if line.startswith(("import ", "from "))
        }
        assert not imported & {"httpx", "asyncio", "socket", "ssl", "subprocess", "http", "time"}


def test_the_surface_is_what_it_says() -> None:
    names = smime_graph.graph.__all__
    assert sorted(names) == names
    assert all(getattr(smime_graph.graph, name) for name in names)
    assert set(names) == set(smime_graph.graph._HOMES) == set(dir(smime_graph.graph))
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = smime_graph.graph.nothing_like_it


def test_a_type_checker_sees_each_methods_own_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # mypy itself judges: `assert_type` is checked, and every marked line must be an error.
    api = pytest.importorskip("mypy.api", reason="mypy (extra test) is not installed")
    source = """
from typing import assert_type, Any
from smime_graph.graph import AsyncGraphClient, GraphClient, MessageRef, Page

def sync(graph: GraphClient) -> None:
    assert_type(graph.send(b"", via="draft"), MessageRef)
    assert_type(graph.list("inbox", top=5), Page)
    assert_type(graph.fetch("id"), bytes)
    graph.send("text")  # error
    graph.send(b"", via="smoke")  # error
    graph.reply("id")  # error

async def asynchronous(graph: AsyncGraphClient) -> None:
    assert_type(await graph.send(b"", save_to_sent_items=False), MessageRef)
    assert_type(await graph.fetch("id", limit=5), bytes)
    graph.fetch(5)  # error
    bytes(graph.fetch("id"))  # error
"""
    program = tmp_path / "program.py"
    program.write_text(source, "utf-8")
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    cache = str(ROOT / ".mypy_cache" / "graph")
    options = ["--strict", "--config-file=", "--follow-imports=silent", "--cache-dir", cache]
    out, err, _ = api.run([*options, "--disable-error-code=unused-coroutine", str(program)])
    assert err == ""
    wrong = sorted({int(line.split(":")[1]) for line in out.splitlines() if ": error:" in line})
    marked = [n for n, line in enumerate(source.splitlines(), 1) if line.endswith("# error")]
    assert wrong == marked, out
