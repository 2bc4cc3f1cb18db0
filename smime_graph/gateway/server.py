"""The gateway as a whole: the port, the outbox, and who empties it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..errors import MalformedMessage, SmimeGraphError, UsageError
from ..graph import GraphClient, Outbox, OutboxMessage
from ..graph import _outgoing as outgoing
from ..graph._mailbox import Wire, mailbox
from ..submission.repetition import mark
from ..text import printable
from .holding import Holding
from .sealing import NobodyKnows, Sealer, Submission
from .session import MOST_SESSIONS, Handler, Rules, Session, TooLarge, TooMany
from .users import User, Users

WithoutCertificate: TypeAlias = Literal["refuse", "sign", "hold"]

_HOUSEKEEPING = 30.0  # seconds between two looks at what is held
_WORKER_PAUSE = 5.0  # seconds before an outbox that could not be used is tried again
_ENDING = 30.0  # seconds in which what is being stored is stored

log = logging.getLogger("smime_graph")


@dataclass(frozen=True, slots=True)
class Listening:
    """Where clients are waited for, and what they must show. UsageError where that is not safe."""

    host: str
    port: int
    users: Users | None = None
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        missing = [
            name
            for name, given in (("--tls-certificate", self.tls), ("--auth-file", self.users))
            if given is None
        ]
        if missing and not self.is_loopback:
            raise UsageError(
                f"{self.host} can be reached from other machines, and {' and '.join(missing)}"
                f" {'is' if len(missing) == 1 else 'are'} not given",
                hint="give both: whoever is not on this machine has to sign in, under TLS; or"
                " listen on 127.0.0.1",
            )

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Submitting:
    """How what comes in goes out: from which mailbox (None: that of From), in which form, how
    large a request may be, and what becomes of recipients without a certificate.
    """

    user: str | None
    wire: Wire
    size_limit: int
    without_certificate: WithoutCertificate


class Gateway:
    """Runs until `stop`. `holding` is where messages wait for certificates."""

    def __init__(
        self,
        sealer: Sealer,
        outbox: Outbox,
        graph: GraphClient,
        *,
        listening: Listening,
        submitting: Submitting,
        holding: Holding | None,
    ) -> None:
        self._sealer, self._outbox, self._graph = sealer, outbox, graph
        self._listening, self._submitting, self._holding = listening, submitting, holding
        self._ending = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None

    def run(self, ready: Callable[[str, int], None]) -> None:
        """Serve; `ready` is told the address and the port. What was answered 250 is on disk."""
        # it logs what it reads: content, and what people sign in with
        logging.getLogger("mail.log").disabled = True
        workers = [
            threading.Thread(target=self._guarded, args=(one,), daemon=True)
            for one in (self._empty_outbox, self._keep_house)
        ]
        for one in workers:
            one.start()
        try:
            asyncio.run(self._serve(ready))
        finally:
            self._ending.set()
            self._outbox.stop()
            for one in workers:
                one.join()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End it; from any thread, and from a handler of signals."""
        self._ending.set()
        if self._loop is not None and self._stop is not None:
            with suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._stop.set)

    # --- the port ---------------------------------------------------------------------------------

    async def _serve(self, ready: Callable[[str, int], None]) -> None:
        self._stop = asyncio.Event()
        self._loop = loop = asyncio.get_running_loop()
        if self._ending.is_set():
            return
        at = self._listening
        handler = Handler(
            Rules(self.store, self._most(), at.users, at.tls, needs_tls=not at.is_loopback)
        )

        def accept() -> asyncio.Protocol | Session:
            full = len(handler.sessions) >= MOST_SESSIONS
            return TooMany() if full else Session(handler, loop)

        try:
            server = await loop.create_server(accept, at.host, at.port)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(
                f"{at.host}:{at.port} cannot be listened on: {reason}",
                hint="choose another address or port; port 0 takes one that is free",
            ) from None
        try:
            where = server.sockets[0].getsockname()
            ready(where[0], where[1])
            await self._stop.wait()
        finally:
            server.close()  # and is not waited for: a client that stays would hold it
            await self._hang_up(handler)

    async def _hang_up(self, handler: Handler) -> None:
        handler.is_stopping = True
        for one in tuple(handler.sessions):
            if not one.is_storing:
                one.hang_up()
        for _ in range(int(_ENDING / 0.05)):
            if not handler.sessions:
                return
            await asyncio.sleep(0.05)

    def _most(self) -> int:
        """Octets of a message that may come in: what is made of it is measured exactly."""
        limit = self._submitting.size_limit
        return limit * 3 // 4 if self._submitting.wire == "text-plain" else limit

    # --- a message --------------------------------------------------------------------------------

    def store(self, raw: bytes, sender: str, recipients: Sequence[str], user: User | None) -> str:
        """Have it on disk; what the client is told. Whatever is raised, it is not taken."""
        message = self._sealer.complete(raw, mail_from=sender, recipients=recipients, user=user)
        is_encrypted = True
        try:
            finished = self._sealer.seal(message)
        except NobodyKnows as error:
            if self._submitting.without_certificate == "refuse":
                raise
            if self._submitting.without_certificate == "hold" and self._holding is not None:
                path = self._holding.keep(message, self._sealer)
                log.warning("%s is held as %s: %s", message.named, path.name, error)
                return f"held: {error}"
            finished, is_encrypted = (self._sealer.sign(message),), False
        stored = self._put_in(message, finished, is_encrypted=is_encrypted)
        for one in stored:
            if one.state == "failed":  # it was handed in before, and nobody sends it again
                text = f"message {one.id} of the outbox is this one, and failed: {one.error}"
                raise MalformedMessage(text)
        return f"stored as {', '.join(str(one.id) for one in stored)}"

    def _put_in(
        self, message: Submission, finished: Sequence[bytes], *, is_encrypted: bool = True
    ) -> tuple[OutboxMessage, ...]:
        how = self._submitting
        user = message.sender if how.user is None else how.user
        box = mailbox(user=user, wire=how.wire, size_limit=how.size_limit)
        for one in finished:
            outgoing.checked(box, one, via="auto")
            try:
                outgoing.check_size(box, one, via="auto")
            except UsageError as error:
                raise TooLarge(str(error)) from None
        return self._outbox.add_all(
            finished,
            user=user,
            wire=how.wire,
            size_limit=how.size_limit,
            mark=mark(message.raw, signer=message.identity, is_encrypted=is_encrypted),
        )

    # --- behind the port --------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - a bug: nobody may think that it runs
            self._failure = error
            self.stop()

    def _empty_outbox(self) -> None:
        while not self._ending.is_set():
            try:
                self._outbox.run(self._graph, forever=True)
            except SmimeGraphError as error:  # a full disk, a database that is away
                log.warning("the outbox cannot be emptied: %s", error)
                self._ending.wait(_WORKER_PAUSE)

    def _keep_house(self) -> None:
        while not self._ending.is_set():
            try:
                self._release()
            except (SmimeGraphError, OSError) as error:
                log.warning("%s", printable(str(error)))
            self._ending.wait(_HOUSEKEEPING)

    def _release(self) -> None:
        """Send what was held, as soon as everyone has a certificate."""
        if self._holding is None:
            return
        for path in self._holding.held():
            if self._ending.is_set():
                return
            try:
                message = self._holding.open(path, self._sealer)
                self._put_in(message, self._sealer.seal(message))
                self._holding.drop(path)
            except NobodyKnows:
                continue
            except (SmimeGraphError, OSError) as error:
                log.warning("%s stays held: %s", path.name, printable(str(error)))
