"""The mailbox on Graph, or on the emulator, that the options name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import click

from ..errors import GraphError, UsageError
from . import files, terminal
from .context import run_of
from .options import FILE, combine, option, submitting, take

if TYPE_CHECKING:
    from ..graph import GraphClient, MessageRef
    from ..graph._mailbox import Cloud, Mailbox, Wire

_EMULATED = "emulated"  # the emulator in this process takes any token

mailbox_options = combine(
    option("--user", metavar="me|ADDRESS", default="me", help="Whose mailbox.", show_default=True),
    option("--graph-url", metavar="URL", help="Where Graph is, for example a local emulator."),
    option(
        "--cloud",
        type=click.Choice(["global", "usgov", "dod", "china"]),
        help="Which of Microsoft's clouds (default: global).",
    ),
    option(
        "--wire",
        type=click.Choice(["text-plain", "mime-content"]),
        default="text-plain",
        show_default=True,
        help="The form of requests: what Graph v1.0 takes, or the design document's.",
    ),
    option(
        "--token-file",
        type=FILE,
        metavar="FILE",
        help="An access token. Else SMIME_GRAPH_TOKEN in the environment.",
    ),
    option(
        "--auth",
        type=click.Choice(["azure"]),
        help="Sign in with azure-identity's DefaultAzureCredential (extra: azure).",
    ),
    option(
        "--emulator", is_flag=True, help="Use a Graph in this process; no token, nothing is sent."
    ),
    option(
        "--emulator-data",
        type=FILE,
        metavar="FILE",
        help="Its mailboxes, in this file; implies --emulator. Otherwise they are forgotten.",
    ),
    option(
        "--size-limit",
        type=click.IntRange(min=1),
        default=4 * 1024 * 1024,
        show_default=True,
        metavar="BYTES",
        help="The largest request.",
    ),
    option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="For connecting, and for each wait.",
    ),
    option(
        "--deadline",
        type=click.FloatRange(min=0, min_open=True),
        default=300.0,
        show_default=True,
        metavar="SECONDS",
        help="For each call as a whole, its repetitions and look-ups with it.",
    ),
    option(
        "--retries",
        type=click.IntRange(0, 20),
        default=4,
        show_default=True,
        help="Further attempts where one is safe.",
    ),
)

# a message that is sent, once it is signed and encrypted
submission_options = combine(submitting, mailbox_options)


@dataclass(frozen=True, slots=True)
class Place:
    """The mailbox that the options name, and how it is talked to."""

    user: str
    graph_url: str | None
    cloud: Cloud | None
    wire: Wire
    token_file: str | None
    auth: Literal["azure"] | None
    emulator: bool
    emulator_data: str | None
    size_limit: int
    timeout: float
    deadline: float
    retries: int

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Place:
        return take(cls, given)

    @property
    def url(self) -> str | None:
        """A bare host gets the version that its paths begin with."""
        if self.graph_url is None:
            return None
        try:
            parts = urlsplit(self.graph_url)
        except ValueError:
            return self.graph_url  # the client says what is wrong with it
        bare = parts.path in ("", "/") and "?" not in self.graph_url and "#" not in self.graph_url
        return self.graph_url.rstrip("/") + "/v1.0" if bare and self.graph_url else self.graph_url

    def is_emulated(self) -> bool:
        """UsageError where an address of Graph is given as well."""
        emulated = self.emulator or self.emulator_data is not None
        if emulated and (self.graph_url is not None or self.cloud is not None):
            raise UsageError(
                "--emulator and an address of Graph are both given",
                hint="leave out --graph-url and --cloud, or --emulator",
            )
        return emulated

    def mailbox(self) -> Mailbox:
        """As `client` speaks to it; raises what that raises but for the token."""
        from ..graph import _mailbox

        self.is_emulated()
        return _mailbox.mailbox(
            user=self.user,
            url=self.url,
            cloud=self.cloud,
            wire=self.wire,
            size_limit=self.size_limit,
            retries=self.retries,
        )


@contextmanager
def client(place: Place) -> Iterator[GraphClient]:
    """A client for what the options name; UsageError where they contradict each other."""
    emulated = place.is_emulated()
    held = _EMULATED if emulated else credential(place)
    from ..graph import GraphClient, GraphLimits

    with ExitStack() as stack:
        settings: dict[str, Any] = {}
        if emulated:
            from ..emulator import Emulator

            emulator = stack.enter_context(
                Emulator(
                    profile="live" if place.wire == "text-plain" else "design",
                    data=place.emulator_data or ":memory:",
                    open_mailboxes=True,
                    request_limit=max(place.size_limit, 4 * 1024 * 1024),
                )
            )
            settings["transport"] = emulator.transport()
            settings["limits"] = GraphLimits(requests=None, upload=None, messages_a_minute=None)
        made = GraphClient(
            held,
            user=place.user,
            url=place.url,
            cloud=place.cloud,
            wire=place.wire,
            size_limit=place.size_limit,
            timeout=place.timeout,
            deadline=place.deadline,
            retries=place.retries,
            **settings,
        )
        yield stack.enter_context(made)


def credential(place: Place) -> Any:
    """What the options give a client as its credential: a token, or azure-identity's."""
    if place.auth == "azure":
        if place.token_file is not None:
            raise UsageError(
                "--token-file and --auth azure are both given", hint="leave one of them out"
            )
        return azure()
    if place.token_file is not None:
        return _token_in(place.token_file)
    token = os.environ.get("SMIME_GRAPH_TOKEN", "").strip()
    if not token:
        raise UsageError(
            "no access token is given",
            hint="use --token-file FILE, SMIME_GRAPH_TOKEN or --auth azure; --emulator needs none",
        )
    return token


def _token_in(path: str) -> Any:
    """The token in the file; of a regular one whatever token is in it when a request is made."""

    def read() -> str:
        return files.read_secret(path, what="token").strip()

    token = read()
    return read if Path(path).is_file() else token


def azure() -> Any:
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise UsageError(
            "--auth azure needs azure-identity, which is not installed",
            hint="pip install 'smime-graph[azure]'",
        ) from None
    return DefaultAzureCredential()


# --- what is said of a message that was sent ------------------------------------------------------


def ref_json(ref: MessageRef) -> dict[str, Any]:
    return {
        "id": ref.id,
        "internetMessageId": ref.internet_message_id,
        "status": ref.status,
        "requestId": ref.request_id,
    }


def warn_if_unanswered(ref: MessageRef) -> None:
    if ref.status == "confirmed":
        terminal.complain(
            "warning", "the answer was lost, but the mailbox shows that the message was sent"
        )


def print_outcome(
    ref: MessageRef,
    *,
    print_id: bool = False,
    done: str = "sent",
    further: Mapping[str, Any] | None = None,
) -> None:
    """Say what became of a message, after it has become that; `further` stands beside it in JSON.

    A failure to write must not look like a failure to send: who repeats it sends twice.
    """
    warn_if_unanswered(ref)
    try:
        if run_of(click.get_current_context()).json:
            files.write_json(ref_json(ref) | dict(further or {}))
        elif print_id and ref.id is not None:
            files.write_lines([ref.id])
    except UsageError as error:
        raise UsageError(f"the message was {done}, but {error}", hint="do not repeat it") from error


@contextmanager
def report_interruption(*, done: str = "sent") -> Iterator[None]:
    """Around a request that changes something: who ends it in the middle must know what that means.

    A call that sends knows it best, and leaves it as the cause of what ends the program.
    """
    try:
        with terminal.progress("talking to Graph"):
            yield
        run_of(click.get_current_context()).done = done
    except (KeyboardInterrupt, SystemExit) as stopped:
        known = stopped.__cause__
        if isinstance(known, GraphError):
            terminal.complain("warning", str(known))
            terminal.hint(terminal.hint_of(known, verb=None) or "")
        else:
            terminal.complain("warning", f"interrupted: the message may have been {done}")
            terminal.hint("look into the mailbox before you repeat it")
        raise


def original(graph: GraphClient, message_id: str) -> bytes:
    """The message that is answered; its absence is an error of Graph's."""
    with terminal.progress("fetching the original"):
        raw: bytes = graph.fetch(message_id)
    return raw
