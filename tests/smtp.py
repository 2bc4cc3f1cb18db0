"""A submission service on this machine: STARTTLS and XOAUTH2, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult

from tests import tls

TOKEN = "eyJ0b2tlbi1mb3Itc210cA.signature"
CHALLENGE = base64.b64encode(b'{"status":"401","schemes":"bearer"}')


@dataclass
class Service:
    """What it is told to do, and what it has seen. `answers` are given in place of its own, by
    command; "hang up" is one.
    """

    root: Path
    port: int = 0
    answers: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()  # extensions
    token: str = TOKEN
    messages: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    is_encrypted: list[bool] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


class _Session(SMTP):
    command_size_limit = 4096
    line_length_limit = 8192
    service: Service

    async def _said(self, command: str) -> bool:
        """Whether something was answered in place of what would be."""
        answer = self.service.answers.get(command)
        if answer == "hang up":
            assert self.transport is not None
            self.transport.abort()  # type: ignore[attr-defined]
            raise asyncio.CancelledError
        if answer == "silence":
            await asyncio.sleep(60)
        if answer is not None:
            await self.push(answer)
        return answer is not None

    async def smtp_MAIL(self, arg: str | None) -> None:
        self.service.lines.append(f"MAIL {arg}".encode())
        if not await self._said("MAIL"):
            await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg: str | None) -> None:
        if not await self._said("RCPT"):
            await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg: str | None) -> None:
        if not await self._said("DATA"):
            await super().smtp_DATA(arg)

    async def smtp_QUIT(self, arg: str | None) -> None:
        if not await self._said("QUIT"):
            await super().smtp_QUIT(arg)

    async def smtp_STARTTLS(self, arg: str) -> None:
        if not await self._said("STARTTLS"):
            await super().smtp_STARTTLS(arg)

    async def smtp_AUTH(self, arg: str) -> None:
        self.service.is_encrypted.append(self._tls_protocol is not None)
        self.service.lines.append(f"AUTH {arg}".encode())
        if not await self._said("AUTH"):
            await super().smtp_AUTH(arg)


def _hooks(service: Service) -> SimpleNamespace:
    async def greet(_s: Any, session: Any, _e: Any, name: str, answers: list[str]) -> list[str]:
        session.host_name = name
        return [
            one
            for one in answers
            if not any(one[4:].startswith(extension) for extension in service.without)
        ]

    async def sign_in(server: Any, args: list[str]) -> AuthResult:
        said = base64.b64decode(args[1]).decode()
        user, token = said.removeprefix("user=").removesuffix("\1\1").split("\1auth=Bearer ")
        service.users.append(user)
        if token == service.token:
            return AuthResult(success=True, auth_data=user)
        await server.challenge_auth(CHALLENGE, encode_to_b64=False)
        return AuthResult(success=False, handled=False)

    async def take(server: Any, _session: Any, envelope: Any) -> str:
        if "lost" not in service.answers:
            service.messages.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        await server._said("lost")
        if (answer := service.answers.get("end")) is not None:
            service.messages.pop()
            return answer
        return "250 2.0.0 OK <queued> [Hostname=x.prod.outlook.com]"

    return SimpleNamespace(handle_EHLO=greet, handle_DATA=take, auth_XOAUTH2=sign_in)


@contextmanager
def serving(folder: Path) -> Iterator[Service]:
    """Serves on 127.0.0.1, with a certificate that `root` makes believable."""
    certificate, key = tls.make(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    service = Service(certificate)
    loop = asyncio.new_event_loop()

    def session() -> _Session:
        made = _Session(
            _hooks(service),
            hostname="test",
            tls_context=context,
            auth_required=True,
            data_size_limit=service_size(service),
            loop=loop,
            auth_exclude_mechanism=["LOGIN", "PLAIN"],
        )
        made.service = service
        return made

    server = loop.run_until_complete(loop.create_server(session, "127.0.0.1", 0))
    service.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield service
    finally:

        async def end() -> None:
            server.close()
            tasks = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


def service_size(service: Service) -> int:
    return int(service.answers.get("size", 40_000_000))
