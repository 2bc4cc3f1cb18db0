"""One client's conversation: what aiosmtpd reads, and what is answered."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope
from aiosmtpd.smtp import Session as Talk

from ..errors import (
    LimitReached,
    MalformedMessage,
    PolicyRefusal,
    UnsupportedAlgorithm,
)
from ..text import printable
from .sealing import NobodyKnows
from .users import User, Users

MOST_SESSIONS = 64
_MOST_RECIPIENTS = 500  # of a message, as Exchange has it
_AT_ONCE = 4  # messages that are sealed and stored
_PATIENCE = 300.0  # seconds for a command (RFC 5321 4.5.3.2.7)
_STRANGER = 30.0  # seconds in which one has signed in who has to, whatever else is said
_TEXT = 400  # characters; a line of an answer has 512 octets (RFC 5321 4.5.3.1.5)
# How often a client may say what in one session. Who needs more connects again.
_CALLS = {"*": 2000, "RCPT": 20_000, "AUTH": 3, "NOOP": 100, "VRFY": 10, "HELP": 10, "STARTTLS": 1}
# no SMTP: a browser is made to send a message by a page that somebody wrote
_OF_BROWSERS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE")


log = logging.getLogger("smime_graph")

T = TypeVar("T")


class TooLarge(MalformedMessage):
    """Larger than what Graph takes."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How clients are talked to. `store` seals a message and has it on disk when it returns: it
    is given the content, the envelope's sender and recipients, and who has signed in.
    """

    store: Callable[[bytes, str, Sequence[str], User | None], str]
    most: int  # octets of a message
    users: Users | None
    tls: ssl.SSLContext | None
    needs_tls: bool


class Handler:
    """What is the same for all clients."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.sessions: set[Session] = set()
        self.is_stopping = False
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def hooks(self) -> SimpleNamespace:
        """What aiosmtpd calls, by its names."""
        return SimpleNamespace(
            handle_EHLO=self._greet,
            handle_RCPT=self._add,
            handle_DATA=self._take,
            handle_exception=self._excuse,
            auth_PLAIN=self._plain,
            auth_LOGIN=self._login,
        )

    async def _greet(
        self, server: Session, session: Talk, _envelope: Envelope, name: str, answers: list[str]
    ) -> list[str]:
        session.host_name = name
        kept = [one for one in answers if not one.startswith(("250-AUTH", "250 HELP"))]
        if server.may_sign_in:
            kept.append("250-AUTH LOGIN PLAIN")
        return [*kept, "250 ENHANCEDSTATUSCODES"]

    async def _add(
        self, _server: Session, _session: Talk, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if len(envelope.rcpt_tos) >= _MOST_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def _take(self, server: Session, session: Talk, envelope: Envelope) -> str:
        server.is_storing = True
        try:
            return await self._in_turn(self._store, session, envelope)
        finally:
            server.is_storing = False
            if self.is_stopping:
                asyncio.get_running_loop().call_soon(server.hang_up)  # the answer goes out first

    async def _in_turn(self, work: Callable[..., T], *given: Any) -> T:
        """Done in a thread. Who leaves meanwhile makes no room for more before it is done."""
        await self._slots.acquire()
        done = asyncio.get_running_loop().run_in_executor(None, work, *given)

        def leave(one: asyncio.Future[T]) -> None:
            self._slots.release()
            if not one.cancelled():
                one.exception()  # somebody may be there to be told, or nobody

        done.add_done_callback(leave)
        return await asyncio.shield(done)

    def _store(self, session: Talk, envelope: Envelope) -> str:
        user = session.auth_data if isinstance(session.auth_data, User) else None
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        sender = (envelope.mail_from or "").removeprefix("<").removesuffix(">")
        try:
            text = self.rules.store(content, sender, envelope.rcpt_tos, user)
        except Exception as error:  # noqa: BLE001 - each has its answer
            code, text = _answer(error)
            if code.startswith("4"):
                named = f"a message of {sender} to {', '.join(envelope.rcpt_tos[:10])}"
                log.warning(
                    "%s was not taken: %s", *(printable(o)[:_TEXT] for o in (named, str(error)))
                )
            return f"{code} {_ascii(text)}"
        return f"250 2.0.0 {_ascii(text)}"

    async def _excuse(self, error: Exception) -> str:
        log.warning("a conversation failed: %s", type(error).__name__)
        return "451 4.3.0 an error of this program"

    # --- signing in -------------------------------------------------------------------------------

    async def _plain(self, server: Session, args: list[str]) -> AuthResult:
        given = await server.answer_to("", args)
        parts = [] if given is None else given.split(b"\0")
        if given is not None and len(parts) != 3:
            return AuthResult(success=False, handled=False)
        return await self._sign_in(server, *parts[1:])

    async def _login(self, server: Session, args: list[str]) -> AuthResult:
        name = await server.answer_to("Username:", args)
        password = None if name is None else await server.answer_to("Password:", args[:1])
        return await self._sign_in(server, *[one for one in (name, password) if one is not None])

    async def _sign_in(self, server: Session, *given: bytes) -> AuthResult:
        users = self.rules.users
        if len(given) != 2 or users is None:
            return AuthResult(success=False, handled=True)  # it was answered already
        user = await self._in_turn(users.verify, *given)
        if user is None:
            log.warning("somebody could not sign in")
            return AuthResult(success=False, handled=False)
        server.be_patient()
        return AuthResult(success=True, auth_data=user)


class Session(SMTP):
    """A connection."""

    def __init__(self, handler: Handler, loop: asyncio.AbstractEventLoop) -> None:
        rules = handler.rules
        self.may_sign_in = False
        self.is_storing = False
        self._is_stranger = rules.users is not None
        self._handler = handler
        super().__init__(
            handler.hooks(),
            data_size_limit=rules.most,
            hostname=socket.gethostname(),
            ident="smime-graph",
            tls_context=rules.tls,
            require_starttls=rules.needs_tls,
            timeout=_PATIENCE if rules.users is None else _STRANGER,
            command_call_limit=_CALLS,
            loop=loop,
        )
        # given to aiosmtpd it would warn of what is right on loopback
        self._auth_required = rules.users is not None
        self._auth_require_tls = rules.tls is not None
        handler.sessions.add(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        rules = self._handler.rules
        secure = rules.tls is None or self._tls_protocol is not None
        self.may_sign_in = rules.users is not None and secure

    def connection_lost(self, error: Exception | None) -> None:
        self._handler.sessions.discard(self)
        super().connection_lost(error)

    def _reset_timeout(self, duration: float | None = None) -> None:
        if not self._is_stranger or self._timeout_handle is None:
            super()._reset_timeout(duration)

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        # who handed it to the client says nothing here, and must not be refused (RFC 4954 5)
        words = [one for one in (arg or "").split(" ") if not one.upper().startswith("AUTH=")]
        await super().smtp_MAIL(" ".join(words) or None)

    def be_patient(self) -> None:
        """It has signed in."""
        self._is_stranger, self._timeout_duration = False, _PATIENCE
        self._reset_timeout()

    def hang_up(self) -> None:
        if self.transport is not None:
            self.transport.close()

    async def answer_to(self, challenge: str, args: list[str]) -> bytes | None:
        """What the client says to a challenge, or said already; None: it was told what is wrong."""
        import pybase64

        if len(args) == 1:
            answer = await self.challenge_auth(challenge)
            return None if answer is MISSING else bytes(answer)
        try:
            return pybase64.b64decode(args[1], validate=True)
        except ValueError:
            await self.push("501 5.5.2 no base64")
            return None

    async def _drop(self, _arg: str) -> None:
        await self.push("421 4.7.0 this is SMTP")
        self.hang_up()
        raise asyncio.CancelledError  # of what it sent along nothing is looked at


for _name in _OF_BROWSERS:
    setattr(Session, f"smtp_{_name}", Session._drop)


class TooMany(asyncio.Protocol):
    """What one client more than there may be gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is a connection
        transport.write(b"421 4.3.2 too many connections, try again\r\n")
        transport.close()


def _answer(error: Exception) -> tuple[str, str]:
    """Code and text. 5: as it is it will never be taken; 4: it may be handed in again."""
    match error:
        case TooLarge():
            return "552 5.3.4", str(error)
        case NobodyKnows():
            return "550 5.7.1", str(error)
        case PolicyRefusal():
            return "550 5.7.1", str(error)
        case MalformedMessage() | LimitReached() | UnsupportedAlgorithm():
            return "554 5.6.0", str(error)
    return "451 4.3.0", "it could not be stored, try again later"


def _ascii(text: str) -> str:
    return printable(text)[:_TEXT].encode("ascii", "replace").decode()
