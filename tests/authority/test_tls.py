"""The certificate of a server on this machine: good for those who believe its authority alone."""

from __future__ import annotations

import ssl

import httpx
import pytest

from smime_graph.authority.tls import server_context
from smime_graph.loopback.exchange import Exchange, Request, Response
from smime_graph.loopback.server import Server


def answer(request: Request) -> Exchange:
    return Exchange(Response(200, body=request.target.encode()))


def refuse(status: int, text: str) -> Response:
    return Response(status, body=text.encode())


def test_it_is_good_for_loopback_and_for_the_names() -> None:
    tls, authority = server_context(["graph.test", "::1"])
    believing = ssl.create_default_context(cadata=authority.der)
    with Server(answer, port=0, request_limit=10, refuse=refuse, tls=tls) as server:
        with httpx.Client(verify=believing, trust_env=False) as client:
            for host in ("localhost", "127.0.0.1"):
                assert client.get(f"https://{host}:{server.port}/a").text == "/a"
        for name, reason in (("graph.test", ""), ("other.test", "mismatch")):
            with httpx.Client(verify=believing, trust_env=False) as client:
                named = {"sni_hostname": name}
                if not reason:
                    assert client.get(f"{server.url}/b", extensions=named).text == "/b"
                    continue
                with pytest.raises(httpx.ConnectError, match=reason):
                    client.get(f"{server.url}/c", extensions=named)
        with pytest.raises(httpx.ConnectError, match="unable to get local issuer"):
            httpx.get(f"{server.url}/d", trust_env=False)


def test_no_two_have_the_same_authority() -> None:
    assert server_context()[1].sha256 != server_context()[1].sha256
