"""Mail that is too large for Graph: the same octets by SMTP, signed in to with a token.

    ref = send_by_smtp(sealed, credential=credential, user="alice@contoso.com")

Exchange Online takes whole MIME by SMTP AUTH XOAUTH2, up to the limit of the mailbox (35 MB and
more), where Graph takes 4 MB. The right is SMTP.SendAsApp (or SMTP.Send), the scope
https://outlook.office365.com/.default: a token for Graph is no token here.

- The token goes to the host that is named, under TLS that is verified, and to no other; a server
  without STARTTLS is never given it.
- A send is never repeated. Until the last line of the message leaves nothing was sent; the answer
  to that line says what became of it, and where none comes it is unknown. Nobody is left out: if a
  recipient is refused, nothing is sent.
- Bcc is taken out of the header, and is in the envelope alone.

aiosmtplib is imported when it is needed: the extra `smtp` brings it.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread

from ..arguments import checked
from ..errors import GraphError, GraphUnreachable, Hint, MalformedMessage, UsageError
from ._answers import printable, without_secret
from ._envelope import Envelope, envelope
from ._http import certificates
from ._mailbox import seconds
from ._sending import LOOK_FIRST, ROOTS, Sending
from .auth import Credential, TokenSource
from .models import MessageRef

if TYPE_CHECKING:
    from aiosmtplib import SMTP

HOST = "smtp.office365.com:587"
SCOPE = "https://outlook.office365.com/.default"
_WHERE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]{1,253}))(?::(\d{1,5}))?")
_USER = re.compile(r"[^\s\x00-\x1f\x7f]{1,320}")
_TEXT = 400  # characters of what a server says
_ANOTHER = Hint("name the host, and the port, of a service that has it: host=", "smtp-host")
_UNREACHED = (
    "check the network, and the host's name and port; nothing was sent, so it is safe to try again"
)
_GOODBYE = 5.0  # seconds for an answer that changes nothing


@checked
def send_by_smtp(
    raw: bytes,
    *,
    credential: Credential,
    host: str = HOST,
    user: str | None = None,
    timeout: float = 30.0,
    deadline: float = 300.0,
) -> MessageRef:
    """Send a finished message to its To, Cc and Bcc by SMTP, and say that it was taken.

    `credential` is a Credential, as for GraphClient: a token, a function that gives one, or what
    has `get_token`, which is asked for the scope of Exchange. `host` is "name" or "name:port" (port
    587); it must offer STARTTLS and have a certificate that is believed. `user` is the mailbox that
    is signed in to, by default the address in From. `timeout` is for each answer, `deadline` for
    the whole call, in seconds. The MessageRef has no id.

    Raises MalformedMessage for what is not fit to be sent, UsageError for arguments that make no
    sense, GraphError where the server refuses, GraphUnreachable where it does not answer. Each says
    in `disposition` whether the message was sent; `unknown` is never repeated here.
    """
    sending = Sending()
    with sending.telling(), anyio.from_thread.start_blocking_portal("asyncio") as portal:
        return portal.call(_send, raw, credential, host, user, timeout, deadline, sending)


@checked
async def send_by_smtp_async(
    raw: bytes,
    *,
    credential: Credential,
    host: str = HOST,
    user: str | None = None,
    timeout: float = 30.0,
    deadline: float = 300.0,
) -> MessageRef:
    """As `send_by_smtp`, on a loop of asyncio: `raw`, a Credential and the rest are the same, and
    so is the MessageRef.
    """
    sending = Sending()
    with sending.telling():
        return await _send(raw, credential, host, user, timeout, deadline, sending)


async def _send(
    raw: bytes,
    credential: Credential,
    host: str,
    user: str | None,
    timeout: float,
    deadline: float,
    sending: Sending,
) -> MessageRef:
    smtp = _library()
    name, port = _where(host)
    wait = seconds(timeout, what="timeout")
    whole = seconds(deadline, what="deadline")
    message = envelope(raw)
    sending.message_id = message.message_id
    mailbox = message.sender if user is None else user
    if not _USER.fullmatch(mailbox):
        raise UsageError("user is no address, wanted that of a mailbox")
    tokens = TokenSource(credential, scope=SCOPE)
    client: SMTP = smtp.SMTP(
        hostname=name,
        port=port,
        timeout=wait,
        start_tls=False,  # that comes below, and must not be optional
        local_hostname="localhost",
        tls_context=certificates(),
    )
    talk = _Talk(client, name, message, sending, end=asyncio.get_running_loop().time() + whole)
    try:
        async with asyncio.timeout(whole):
            await talk.run(mailbox, tokens)
    except smtp.SMTPResponseException as error:
        raise talk.refusal(error.code, error.message) from None
    except (smtp.SMTPTimeoutError, TimeoutError):
        raise talk.silence("it took too long") from None
    except ssl.SSLCertVerificationError as error:
        raise GraphUnreachable(
            f"the certificate of {name} is not believed: {error.verify_message}",
            hint=ROOTS,
        ) from None
    except smtp.SMTPConnectError as error:
        why = printable(str(error.__cause__ or error), limit=_TEXT)
        raise talk.silence(why, hint=_UNREACHED) from None
    except (smtp.SMTPException, OSError) as error:
        raise talk.silence(type(error).__name__) from None
    finally:
        await talk.hang_up()
    return MessageRef(id=None, internet_message_id=message.message_id, status="accepted")


class _Talk:
    """A conversation with a server about one message."""

    def __init__(
        self, client: SMTP, host: str, message: Envelope, sending: Sending, *, end: float
    ) -> None:
        self._client, self._host, self._message = client, host, message
        self._sending, self._end = sending, end
        self._transports: list[Any] = []  # aiosmtplib forgets them before they are closed
        self._token: str | None = None
        self._doing = "connecting"

    async def run(self, mailbox: str, tokens: TokenSource) -> None:
        client, message = self._client, self._message
        await client.connect()
        self._transports.append(client.transport)
        await client.ehlo()
        if not client.supports_extension("starttls"):
            raise GraphError(
                f"{self._host} offers no STARTTLS, so it is given no token",
                hint=_ANOTHER,
            )
        self._doing = "STARTTLS"
        await client.starttls()
        self._transports.append(client.transport)
        await client.ehlo()
        if "xoauth2" not in client.server_auth_methods:
            raise GraphError(
                f"{self._host} offers no XOAUTH2, the one way to sign in with a token",
                hint=_ANOTHER,
            )
        options = self._options()
        self._token = await tokens.token_async()
        self._doing = f"signing in as {mailbox}"
        await client.auth_xoauth2(mailbox, self._token)
        encoding = "utf-8" if message.needs_utf8 else "ascii"
        self._doing = f"the sender {message.sender}"
        await client.mail(message.sender, options=options, encoding=encoding)
        for one in message.recipients:
            self._doing = f"the recipient {one}"
            await client.rcpt(one, encoding=encoding)
        await self._data()
        with suppress(Exception):  # it was taken, whatever comes now
            await client.quit(timeout=_GOODBYE)

    def _options(self) -> list[str]:
        """What MAIL says of the message; an error where the server does not take such."""
        client, message = self._client, self._message
        size, options = len(message.content), []
        if client.supports_extension("size"):
            most = client.esmtp_extensions["size"]
            if most.isdecimal() and 0 < int(most[:20]) < size:
                raise GraphError(
                    f"{self._host} takes {int(most[:20])} octets, and the message has {size}",
                    hint="make it smaller before it is signed",
                )
            options.append(f"SIZE={size}")
        for is_needed, name, option in (
            (message.needs_8bit, "8BITMIME", "BODY=8BITMIME"),
            (message.needs_utf8, "SMTPUTF8", "SMTPUTF8"),
        ):
            if is_needed and not client.supports_extension(name):
                raise MalformedMessage(
                    f"the message needs {name}, which {self._host} does not have",
                    hint="sign or seal it: then its text is ASCII; its addresses have to be",
                )
            if is_needed:
                options.append(option)
        return options

    async def _data(self) -> None:
        client = self._client
        self._doing = "DATA"
        answer = await client.execute_command(b"DATA")
        if answer.code != 354:
            raise self.refusal(answer.code, answer.message)
        protocol: Any = client.protocol
        if protocol is None:
            raise self.silence("the connection was lost")
        self._doing = "the message"
        self._sending.disposition = "unknown"  # its last line may leave from here on
        protocol.write(self._message.data())
        left = max(0.001, self._end - asyncio.get_running_loop().time())
        answer = await protocol.read_response(timeout=left)
        if answer.code != 250:
            raise self.refusal(answer.code, answer.message)

    async def hang_up(self) -> None:
        with suppress(Exception):
            self._client.close()
        for one in reversed(self._transports):
            one.abort()  # nobody waits for the end of TLS
        with anyio.CancelScope(shield=True):
            for _ in range(3):  # until the loop has closed what is below
                await asyncio.sleep(0)

    # --- what went wrong --------------------------------------------------------------------------

    def refusal(self, code: int, text: str) -> GraphError:
        """What the server said to what was being done."""
        if not 400 <= code <= 599:
            return self.silence(f"it answered {code}")
        self._sending.disposition = "refused" if code >= 500 else "not-sent"
        said = printable(self._without_token(text), limit=_TEXT)
        hint = "it may be tried again later" if code < 500 else None
        if self._doing.startswith("signing in"):
            self._sending.disposition = "not-sent"
            hint = (
                "the token must be for https://outlook.office365.com with SMTP.SendAsApp, the app"
                " be registered in Exchange and have the right to the mailbox, and SMTP AUTH be on"
                " for it"
            )
        return GraphError(f"{self._host} refused {self._doing}: {code} {said}", hint=hint)

    def _without_token(self, text: str) -> str:
        """Servers quote the command that they refuse, and in AUTH the token is base64."""
        if self._token is not None:
            said = f"auth=Bearer {self._token}\1\1".encode()
            for shift in range(3):  # by the length of the name before it
                text = without_secret(text, base64.b64encode(bytes(shift) + said).decode()[4:])
        return without_secret(text, self._token)

    def silence(self, why: str, *, hint: str = "it may be tried again") -> GraphUnreachable:
        """What is known where no answer came."""
        if self._sending.disposition == "unknown":
            text = f"no answer from {self._host} to the message: it may have been sent ({why})"
            return GraphUnreachable(text, hint=LOOK_FIRST)
        text = f"no answer from {self._host} to {self._doing} ({why})"
        return GraphUnreachable(text, hint=hint)


def _library() -> Any:
    try:
        import aiosmtplib
    except ImportError:
        raise UsageError(
            "sending by SMTP needs aiosmtplib, which is not installed",
            hint="pip install 'smime-graph[smtp]'",
        ) from None
    return aiosmtplib


def _where(host: str) -> tuple[str, int]:
    found = _WHERE.fullmatch(host)
    if found is None or not 0 < int(found[3] or 587) < 65536:
        raise UsageError(f"host is {host!r:.100}, wanted NAME or NAME:PORT")
    return found[1] or found[2], int(found[3] or 587)
