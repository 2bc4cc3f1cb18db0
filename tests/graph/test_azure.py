"""azure-identity's credentials against a token endpoint on loopback, and claims challenges."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from smime_graph import CA
from smime_graph.authority.issue import write_identity
from smime_graph.emulator import Emulator, Fault
from smime_graph.errors import GraphError, GraphRefused
from smime_graph.graph import AsyncGraphClient, GraphClient
from tests import tls

from .conftest import Driver

identity = pytest.importorskip("azure.identity", reason="azure-identity (test) is not installed")

TENANT, CLIENT = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
SECRET = "the-client~secret.of_the-tests"
CLAIMS = '{"access_token":{"nbf":{"essential":true,"value":"1800000000"}}}'
TOKEN = "eyJ-token-number-"


class Endpoint:
    """Answers as login.microsoftonline.com does, and as App Service's managed identity."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[dict[str, str]] = []
        self.pending = 1  # answers before the person has signed in on the other device

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if path.endswith("/.well-known/openid-configuration"):
            at = f"{self.url}/{TENANT}/oauth2/v2.0"
            return 200, {
                "issuer": f"{self.url}/{TENANT}/v2.0",
                "authorization_endpoint": f"{at}/authorize",
                "token_endpoint": f"{at}/token",
                "device_authorization_endpoint": f"{at}/devicecode",
            }
        self.asked.append(form)
        token = {"token_type": "Bearer", "access_token": f"{TOKEN}{len(self.asked)}"}
        if path.startswith("/msi"):
            return 200, token | {"expires_on": str(int(time.time()) + 7200), "resource": "r"}
        if path.endswith("/devicecode"):
            places = {"device_code": "d", "user_code": "u", "verification_uri": "https://x.y"}
            return 200, places | {"expires_in": 900, "interval": 1, "message": "go there"}
        if form.get("grant_type", "").endswith("device_code") and self.pending:
            self.pending -= 1
            return 400, {"error": "authorization_pending", "error_description": "not yet"}
        if form.get("client_secret", SECRET) != SECRET:
            return 401, {"error": "invalid_client", "error_description": "AADSTS7000215"}
        token |= {"expires_in": "3600", "scope": form.get("scope", "")}
        if form.get("grant_type") == "client_credentials":
            return 200, token
        who: dict[str, Any] = {
            "oid": "o",
            "tid": TENANT,
            "preferred_username": "alice@contoso.com",
            "sub": "s",
        }
        who |= {"iss": f"{self.url}/{TENANT}/v2.0", "aud": CLIENT, "exp": int(time.time()) + 3600}
        about = {"client_info": encoded({"uid": "o", "utid": TENANT}), "refresh_token": "refresh"}
        id_token = f"{encoded({'alg': 'none'})}.{encoded(who)}."
        return 200, token | about | {"id_token": id_token}


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tls.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def endpoint(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(urlsplit(self.path).query)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def _answer(self, query: str) -> None:
            form = {name: values[0] for name, values in parse_qs(query).items()}
            status, found = made.answer(urlsplit(self.path).path, form)
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    for name in ("https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        made = Endpoint(f"https://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def by_secret(endpoint: Endpoint, *_: Any, secret: str = SECRET) -> Any:
    return identity.ClientSecretCredential(
        TENANT, CLIENT, secret, authority=endpoint.url, disable_instance_discovery=True
    )


def by_certificate(endpoint: Endpoint, folder: Path, *_: Any) -> Any:
    write_identity(CA("Test").issue("app@contoso.com", key="rsa-2048"), folder, name="client")
    path = folder / "client.pem"
    path.write_bytes((folder / "client.key").read_bytes() + path.read_bytes())
    return identity.CertificateCredential(
        *(TENANT, CLIENT),
        certificate_path=str(path),
        authority=endpoint.url,
        disable_instance_discovery=True,
    )


def by_device_code(endpoint: Endpoint, *_: Any) -> Any:
    return identity.DeviceCodeCredential(
        CLIENT,
        tenant_id=TENANT,
        authority=endpoint.url,
        disable_instance_discovery=True,
        prompt_callback=lambda *_: None,
    )


def by_environment(endpoint: Endpoint, _: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": CLIENT,
        "AZURE_CLIENT_SECRET": SECRET,
        "AZURE_AUTHORITY_HOST": endpoint.url,
    }.items():
        monkeypatch.setenv(name, value)
    return identity.DefaultAzureCredential(disable_instance_discovery=True)


def by_managed_identity(endpoint: Endpoint, _: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{endpoint.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", SECRET)
    return identity.ManagedIdentityCredential()


ENTRA = [by_secret, by_certificate, by_device_code, by_environment]


def again(answer: httpx.Response) -> httpx.Response:
    return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def graph(*refuse: httpx.Response) -> tuple[Callable[..., httpx.Response], list[str]]:
    """A Graph that gives these answers first, and the tokens that it saw."""
    seen: list[str] = []
    left = list(refuse)

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"].removeprefix("Bearer "))
        assert request.url.host.startswith(("graph.", "dod-graph.", "microsoftgraph."))
        return again(left.pop(0)) if left else httpx.Response(200, json={"value": []})

    return handler, seen


def challenge(claims: str = CLAIMS, error: str = "insufficient_claims") -> httpx.Response:
    packed = base64.b64encode(claims.encode()).decode()
    parameters = f'realm="", authorization_uri="https://x.y", error="{error}", claims="{packed}"'
    return httpx.Response(
        401,
        headers={"WWW-Authenticate": f"Bearer {parameters}"},
        json={"error": {"code": "InvalidAuthenticationToken", "message": "Continuous access"}},
    )


@pytest.mark.parametrize("make", [*ENTRA, by_managed_identity])
def test_each_credential_gives_its_token(
    call: Driver,
    endpoint: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Any,
) -> None:
    handler, seen = graph()
    with make(endpoint, tmp_path, monkeypatch) as credential:
        call.now = time.time()
        for _ in range(2):
            call(handler, "list", credential=credential)
    asked = endpoint.asked[-1]
    assert seen[1] == f"{TOKEN}{len(endpoint.asked)}"  # the latest that was given
    assert len(seen) == 2
    if make is by_managed_identity:
        assert asked["resource"] == "https://graph.microsoft.com"
        return
    if make is not by_device_code:  # where Microsoft's client asks for what a person has as well
        assert asked["scope"] == "https://graph.microsoft.com/.default"
        assert asked["grant_type"] == "client_credentials"
    assert json.loads(asked["claims"])["access_token"]["xms_cc"]["values"] == ["CP1"]
    assert ("client_assertion" in asked) == (make is by_certificate)


def test_an_asynchronous_credential_gives_its_token(endpoint: Endpoint) -> None:
    transport = pytest.importorskip("azure.core.pipeline.transport")
    from azure.identity.aio import ClientSecretCredential

    handler, seen = graph(challenge())

    async def run() -> None:
        credential = ClientSecretCredential(
            *(TENANT, CLIENT, SECRET),
            authority=endpoint.url,
            disable_instance_discovery=True,
            transport=transport.AsyncioRequestsTransport(),
        )
        async with (
            credential,
            AsyncGraphClient(credential, transport=httpx.MockTransport(handler)) as client,
        ):
            await client.list()

    asyncio.run(run())
    assert seen == [f"{TOKEN}1", f"{TOKEN}2"]
    assert json.loads(endpoint.asked[1]["claims"])["access_token"]["nbf"]["value"] == "1800000000"


@pytest.mark.parametrize("cloud", ["usgov", "dod", "china"])
def test_the_scope_is_that_of_the_cloud(call: Driver, endpoint: Endpoint, cloud: str) -> None:
    handler, _ = graph()
    hosts = {
        "usgov": "graph.microsoft.us",
        "dod": "dod-graph.microsoft.us",
        "china": "microsoftgraph.chinacloudapi.cn",
    }
    with by_secret(endpoint) as credential:
        call(handler, "list", credential=credential, settings={"cloud": cloud})
    assert endpoint.asked[0]["scope"] == f"https://{hosts[cloud]}/.default"


@pytest.mark.parametrize("make", [by_secret, by_certificate, by_environment])
def test_a_claims_challenge_is_passed_on_once(
    call: Driver,
    endpoint: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Any,
) -> None:
    call.now = time.time()
    with make(endpoint, tmp_path, monkeypatch) as credential:
        handler, seen = graph(challenge())
        call(handler, "list", credential=credential)
        assert seen == [f"{TOKEN}1", f"{TOKEN}2"]
        asked = json.loads(endpoint.asked[1]["claims"])["access_token"]
        assert asked["nbf"] == {"essential": True, "value": "1800000000"}
        assert asked["xms_cc"] == {"values": ["CP1"]}
        handler, seen = graph(challenge(), challenge(), challenge())
        with pytest.raises(GraphRefused) as caught:
            call(handler, "list", credential=credential)
        assert len(seen) == 2
        assert caught.value.status == 401
        assert "claims challenge" in str(caught.value.hint)


def test_nothing_that_a_failing_run_says_holds_a_secret(
    call: Driver, endpoint: Endpoint, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """With every logger there is at its most talkative, Microsoft's and httpx's among them."""
    caplog.set_level(logging.DEBUG)
    call.now = time.time()
    upload = "https://outlook.office.com/api/up?authtoken=eyJ-up-load&x=1"
    said: list[str] = []
    for text in (f"see {upload}", f"bad Authorization: Bearer {TOKEN}1"):
        for status in (400, 429, 503):
            failing = httpx.Response(
                status, json={"error": {"code": "ApplicationThrottled", "message": text}}
            )
            with by_secret(endpoint) as credential:
                handler, _ = graph(challenge(), *[failing] * 20)
                for method, args in (("send", (raw,)), ("list", ())):
                    with pytest.raises(GraphError) as caught:
                        call(handler, method, *args, credential=credential)
                    said += traceback.format_exception(caught.value)
                    said.append(f"{caught.value!r} {caught.value.hint} {vars(caught.value)}")
    with by_secret(endpoint, secret="wrong-but-secret") as credential:
        with pytest.raises(GraphError, match="ClientAuthenticationError") as caught:
            call(graph()[0], "list", credential=credential)
        said.append(f"{caught.value!r} {caught.value.hint}")  # the cause is Microsoft's own
    everything = "\n".join([*said, caplog.text])
    assert "smime_graph" in caplog.text
    assert "the token was refused, and claims are demanded" in caplog.text
    for secret in (TOKEN, SECRET, "wrong-but-secret", "eyJ-up-load"):
        assert secret not in everything


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_nor_does_what_is_said_of_a_line(
    kind: str, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """As above, over a socket."""
    caplog.set_level(logging.DEBUG)
    secret = "eyJ-a-token.of-the_tests-for-a-socket"
    with Emulator(me="alice@contoso.com", open_mailboxes=True) as emulator:
        for fault in (Fault.expired_token(), Fault.throttled(retry_after=0), Fault.cut_after()):
            emulator.faults.add(fault, on="POST *")
        server = emulator.serve()

        async def send() -> None:
            async with AsyncGraphClient(secret, url=f"{server.url}/v1.0") as client:
                await client.send(raw, via="draft")

        for _ in range(3):
            with suppress(GraphError):
                if kind == "async":
                    asyncio.run(send())
                else:
                    with GraphClient(secret, url=f"{server.url}/v1.0") as client:
                        client.send(raw, via="draft")
        server.close()
    assert "httpcore" in caplog.text
    assert "the token was refused" in caplog.text
    assert "cut" in caplog.text or "lost" in caplog.text or "without" in caplog.text
    for start in range(len(secret) - 12):
        assert secret[start : start + 12] not in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        challenge(error="invalid_token"),
        challenge(claims="[1]"),
        challenge(claims="no JSON"),
        challenge(claims='{"a": "\N{LATIN SMALL LETTER E WITH ACUTE}"}'),
        httpx.Response(401, headers={"WWW-Authenticate": 'insufficient_claims claims="!"'}),
        httpx.Response(401, headers={"WWW-Authenticate": 'insufficient_claims claims="AAAAA"'}),
    ],
)
def test_what_is_no_challenge_is_passed_on_to_nobody(call: Driver, answer: httpx.Response) -> None:
    given: list[Any] = []

    def credential(claims: str | None = None) -> str:
        given.append(claims)
        return f"t{len(given)}"

    handler, seen = graph(answer)
    call(handler, "list", credential=credential)
    assert (seen, given) == (["t1", "t2"], [None, None])


def test_a_function_gets_the_claims_if_it_takes_them(call: Driver) -> None:
    given: list[Any] = []

    def function(*, claims: str | None = None) -> dict[str, Any]:
        """As msal's `acquire_token_for_client(scopes, claims_challenge=claims)`."""
        given.append(claims)
        return {"access_token": f"t{len(given)}", "expires_in": 3600, "token_type": "Bearer"}

    async def coroutine(*, claims: str | None = None) -> dict[str, Any]:
        return function(claims=claims)

    handler, seen = graph(challenge())
    call(handler, "list", credential=function if call.kind == "sync" else coroutine)
    assert (seen, given) == (["t1", "t2"], [None, CLAIMS])
    numbers = iter(range(9))
    handler, seen = graph(challenge())
    call(handler, "list", credential=lambda: f"n{next(numbers)}")
    assert seen == ["n0", "n1"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": "invalid_client", "error_description": f"bad {SECRET}"}, "invalid_client"),
        ({"error": f"bad {SECRET}"}, "an error"),
        ({"error": {"x": SECRET}}, "an error"),
    ],
)
def test_what_msal_calls_an_error_is_one(call: Driver, answer: Any, said: str) -> None:
    with pytest.raises(GraphError, match=f"gave no token: {said}") as caught:
        call(graph()[0], "list", credential=lambda: answer)
    assert SECRET not in f"{caught.value!r} {caught.value.hint}"
