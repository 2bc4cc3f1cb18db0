"""gateway."""

from __future__ import annotations

import re
import signal
import ssl
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from ..arguments import file_name
from ..errors import UsageError
from . import config, files, graph_client, options, terminal
from .context import run_of
from .graph_client import Place
from .options import FILE, OutboxPlace, Protection, option, verb

if TYPE_CHECKING:
    from ..gateway.users import Users

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\s\[\]]+)):(\d{1,5})")


@verb("gateway")
@option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:2525",
    show_default=True,
    help="Where clients connect; port 0 takes a free one. Off this machine --tls-certificate and"
    " --auth-file are needed.",
)
@option(
    "--outbox",
    type=OutboxPlace(),
    metavar="FILE|URL",
    help="Where messages are stored until they went.",
)
@option(
    "--without-certificate",
    type=click.Choice(["refuse", "sign", "hold"]),
    default="refuse",
    show_default=True,
    help="What becomes of a message to somebody without a certificate: it is refused (550), signed"
    " and sent in the clear, or held until there is one.",
)
@option(
    "--held",
    type=FILE,
    metavar="DIR",
    help="Where 'hold' keeps messages, sealed to their sender (default: the outbox's name and"
    " .held).",
)
@option(
    "--tls-certificate",
    type=FILE,
    metavar="FILE",
    help="For STARTTLS: certificates and key in PEM, the key without a password.",
)
@option("--auth-file", type=FILE, metavar="FILE", help="Who may sign in, one a line; see above.")
@option(
    "--signer",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="A sender's key file, or a folder of them; the key is taken that has the From address.",
)
@options.passwords
@options.contacts
@options.trust
@options.evidence
@options.fetching
@options.sealing
@options.policy
@graph_client.mailbox_options
@click.pass_context
def gateway(
    ctx: click.Context,
    /,
    listen: str,
    outbox: str | None,
    without_certificate: Literal["refuse", "sign", "hold"],
    held: str | None,
    tls_certificate: str | None,
    auth_file: str | None,
    **given: Any,
) -> None:
    """Take mail by SMTP, seal it, and send it through Graph, until Ctrl-C or SIGTERM.

    A message is answered 250 once the outbox has it on disk, sealed; it is sent from here on, or
    when Graph is back. It is signed by the key of its From (MAIL FROM where it has none) and
    encrypted to its recipients, whose certificates are in the contacts (its sender's own need not
    be). Who is named by RCPT alone becomes Bcc and gets a copy; a header that names others than
    RCPT is refused. It goes from the mailbox of its From, unless --user says another. CRLs and OCSP
    responses are read anew for each message; to whoever they revoke nothing goes (550). What is
    handed in again is stored once; another message with its Message-ID is refused (554).

    A line of --auth-file is NAME:SALT:HASH, or NAME:SALT:HASH:ADDRESS,... for one who may write as
    these alone. This makes one, and asks for the password:

    \b
    python3 -c 'import getpass,hashlib as h,os;s=os.urandom(16);p=getpass.getpass()
    print("NAME:"+s.hex()+":"+h.scrypt(p.encode(),salt=s,n=16384,r=8,p=5).hex())'

    \b
    smime-graph gateway --outbox outbox.db --signer keys/ --token-file token
    """
    try:
        from ..gateway.server import Gateway, Listening, Submitting
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "aiosmtpd":
            raise
        raise UsageError(
            "gateway needs aiosmtpd, which is not installed",
            hint="pip install 'smime-graph[smtp]'",
        ) from None
    from ..gateway.holding import Holding
    from ..gateway.sealing import Sealer
    from ..graph import Outbox
    from ..graph.outbox import is_server
    from .keys import contacts_path, trust_store

    how, place = Protection.of(given, encrypts=True), Place.of(given)
    if outbox is None:
        raise UsageError("no outbox is named", hint="name the file that holds mail: --outbox FILE")
    if without_certificate != "hold" and held is not None:
        raise UsageError(
            "--held is given, and nothing is held", hint="add --without-certificate hold"
        )
    if without_certificate == "hold" and held is None:
        if is_server(outbox):
            raise UsageError(
                "nobody knows where messages are held", hint="name a folder: --held DIR"
            )
        held = f"{outbox}.held"
    if not how.keys.signer:
        raise config.ConfigurationError(
            f"nobody to sign with: {config.source(ctx)}",
            hint="name the senders' keys with --signer, or in [gateway] of the configuration",
        )
    host, port = _where(listen)
    listening = Listening(
        host,
        port,
        users=None if auth_file is None else _users(auth_file),
        tls=None if tls_certificate is None else _tls(tls_certificate),
    )
    trust = trust_store(how.keys.trust)
    if how.known_revocation() is not None and trust is None:
        raise UsageError(
            "--crl, --ocsp, --revocation and --fetch-revocation need --trust",
            hint="name the roots that you believe: --trust FILE",
        )
    sealer = Sealer(
        how.keys.ring.senders(),
        book=contacts_path(how.keys.contacts),
        trust=trust,
        revocation=how.known_revocation,
        policy=how.policy,
    )
    named = ctx.get_parameter_source("user") is not ParameterSource.DEFAULT
    submitting = Submitting(
        place.user if named else None, place.wire, place.size_limit, without_certificate
    )
    with Outbox(outbox) as stored, graph_client.client(place) as graph, terminal.show_warnings():
        made = Gateway(
            sealer,
            stored,
            graph,
            listening=listening,
            submitting=submitting,
            holding=None if held is None else Holding(held),
        )
        interrupted = _run_until_told(made, json=run_of(ctx).json)
    if interrupted:
        raise KeyboardInterrupt


def _run_until_told(made: Any, *, json: bool) -> bool:
    """True where it was Ctrl-C that ended it."""
    seen: list[int] = []

    def end(number: int, _frame: object) -> None:
        seen.append(number)
        made.stop()

    def ready(host: str, port: int) -> None:
        if json:
            files.write_json({"host": host, "port": port})
        else:
            files.write_lines([f"listening: {host}:{port}"])

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        made.run(ready)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return signal.SIGINT in seen


def _where(text: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[3]) > 65535:
        raise UsageError(
            f"--listen {text!r} is no address with a port", hint="for example 127.0.0.1:2525"
        )
    return found[1] or found[2], int(found[3])


def _users(path: str) -> Users:
    from ..gateway.users import Users

    return Users(files.read_text(path, what="file of users"), name=file_name(path))


def _tls(path: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # a password would be asked for on the terminal
        context.load_cert_chain(path, password=lambda: "")
    except (OSError, ValueError) as error:
        is_missing = isinstance(error, OSError) and not isinstance(error, ssl.SSLError)
        reason = str(error.strerror) if is_missing else "no certificate and its key"  # type: ignore[union-attr]
        raise UsageError(
            f"{file_name(path)} cannot be used for TLS: {reason}",
            hint="it holds the server's certificate, those up to its root, and the key, in PEM",
        ) from None
    return context


COMMANDS = {"gateway": gateway}
