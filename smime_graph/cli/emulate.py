"""emulate."""

from __future__ import annotations

import secrets
import signal
import threading
from typing import Literal

import click

from . import files
from .context import run_of
from .options import FILE, option, verb


@verb("emulate")
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8025,
    show_default=True,
    help="On 127.0.0.1; 0 takes a free one.",
)
@option("--data", type=FILE, metavar="FILE", help="Keep the mailboxes in this file.")
@option(
    "--mailbox",
    multiple=True,
    metavar="ADDRESS",
    help="A mailbox that exists (default: any, made on first use).",
)
@option(
    "--profile",
    type=click.Choice(["live", "design"]),
    default="live",
    show_default=True,
    help="live: as Graph v1.0 is; design: as the design document has it.",
)
@option(
    "--write-token",
    type=FILE,
    metavar="FILE",
    help="Write the token into this file as well, for --token-file.",
)
def emulate(
    port: int,
    data: str | None,
    mailbox: tuple[str, ...],
    profile: Literal["live", "design"],
    write_token: str | None,
) -> None:
    """Serve an emulated Graph on this machine until Ctrl-C or SIGTERM; print its URL and a token.

    The token is a new one each time. /me is the From of what is sent.

    \b
    smime-graph emulate --port 8025 --write-token token &
    smime-graph send mail.eml --graph-url http://127.0.0.1:8025/v1.0 --token-file token
    """
    from ..emulator import Emulator

    token = secrets.token_urlsafe(24)
    with Emulator(
        profile=profile,
        data=data or ":memory:",
        mailboxes=list(mailbox),
        open_mailboxes=not mailbox,
        token=token,
    ) as emulator:
        # before anybody can know that it runs: who reads the URL may end it at once
        stop = threading.Event()
        before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
        try:
            with emulator.serve(port) as server:
                url = f"{server.url}/v1.0"
                if write_token is not None:
                    files.deliver(f"{token}\n".encode(), output=write_token, private=True)
                if run_of(click.get_current_context()).json:
                    files.write_json({"url": url, "token": token, "port": server.port})
                else:
                    files.write_lines([f"URL: {url}", f"token: {token}"])
                stop.wait()
        finally:
            signal.signal(signal.SIGTERM, before)


COMMANDS = {"emulate": emulate}
