"""emulate."""

from __future__ import annotations

import re
import secrets
import signal
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import click

from ..arguments import file_name
from ..errors import SmimeGraphError, UsageError
from . import files, options
from .context import run_of
from .options import FILE, Reading, option, verb

if TYPE_CHECKING:
    import ssl

    from ..authority.issue import CA
    from ..emulator.web import Examine


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
@option("--me", metavar="ADDRESS", help="Whose mailbox /me is (default: the From of what is sent).")
@option(
    "--token",
    metavar="TEXT",
    envvar="SMIME_GRAPH_EMULATOR_TOKEN",  # not SMIME_GRAPH_TOKEN: that may be a real one
    help="The token that is good, instead of a new one. Whoever sees this command sees it.",
)
@option(
    "--write-token",
    type=FILE,
    metavar="FILE",
    help="Write the token into this file as well, for --token-file.",
)
@option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME[=SECONDS][:N|:all]",
    help="What goes wrong with the next request, the next N, or all: throttled, unavailable,"
    " gateway-timeout, gateway, expired-token, cut-before, cut-after, slow, oversized-accepted,"
    " sent-items-late, auth-enveloped-broken. A request asks for one by its header field"
    " x-emulator-fault: NAME.",
)
@option(
    "--throttles",
    is_flag=True,
    help="Refuse (429) more than four requests at once, 10,000 in ten minutes or 150 MB in five, of"
    " one token to one mailbox.",
)
@option(
    "--tls",
    is_flag=True,
    help="Serve https, with a certificate made for it by an authority that is made with it.",
)
@option(
    "--write-ca",
    type=FILE,
    metavar="FILE",
    help="Write the authority's certificate here (PEM), instead of into a temporary folder. Its key"
    " is kept beside it, in FILE.key, and the next start has the same authority.",
)
@option(
    "--public-url",
    metavar="URL",
    help="What links in answers begin with, where something stands between it and its clients.",
)
@options.identities
@options.passwords
@options.trust
@options.policy
def emulate(
    port: int,
    data: str | None,
    mailbox: tuple[str, ...],
    profile: Literal["live", "design"],
    me: str | None,
    token: str | None,
    write_token: str | None,
    faults: tuple[str, ...],
    throttles: bool,
    tls: bool,
    write_ca: str | None,
    public_url: str | None,
    **given: Any,
) -> None:
    """Serve an emulated Graph on this machine until Ctrl-C or SIGTERM; print its URL and a token.

    Its web inbox shows what was sent, and what --identity and --trust make of it.

    \b
    smime-graph emulate --port 8025 --write-token token &
    smime-graph send mail.eml --graph-url http://127.0.0.1:8025/v1.0 --token-file token
    """
    from ..emulator import Emulator

    if token is None:
        token = secrets.token_urlsafe(24)
    elif not re.fullmatch(r"[!-~]+", token):
        raise UsageError("the token has characters that no header field carries, or none at all")
    if write_ca is not None and not tls:
        raise UsageError("--write-ca without --tls: there is no authority", hint="add --tls")
    with ExitStack() as stack:
        emulator = stack.enter_context(
            Emulator(
                profile=profile,
                data=data or ":memory:",
                mailboxes=list(mailbox),
                open_mailboxes=not mailbox,
                me=me,
                token=token,
                throttles=throttles,
                examine=_examiner(Reading.of(given)),
            )
        )
        for one in faults:
            emulator.faults.switch_on(one)
        # before anybody can know that it runs: who reads the URL may end it at once
        stop = threading.Event()
        before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
        stack.callback(signal.signal, signal.SIGTERM, before)
        context, ca = _tls(public_url, write_ca, stack) if tls else (None, None)
        server = stack.enter_context(emulator.serve(port, tls=context, public_url=public_url))
        place = (public_url or server.url).rstrip("/")
        url, inbox = f"{place}/v1.0", f"{place}/"
        if write_token is not None:
            files.deliver(f"{token}\n".encode(), output=write_token, private=True)
        if run_of(click.get_current_context()).json:
            known = {"url": url, "token": token, "port": server.port, "inbox": inbox}
            files.write_json(known | ({"ca": ca} if ca else {}))
        else:
            lines = [f"URL: {url}", f"token: {token}", f"inbox: {inbox}"]
            files.write_lines(lines + ([f"CA: {ca}"] if ca else []))
        stop.wait()


def _examiner(how: Reading) -> Examine:
    """What the web inbox shows of a message's S/MIME; key files are opened now."""
    from ..emulator.web import Examined
    from ..smime import examine as engine
    from ..smime.report import report_json
    from .open import judgement

    identities = how.keys.ring.identities()
    arguments = {"identities": identities, **judgement(how)}
    one_at_a_time = threading.Lock()  # a token takes no two questions at once

    def examine(raw: bytes) -> Examined:
        with one_at_a_time:
            report = engine.examine(raw, **arguments)
            content = None
            try:
                if report.accepted:
                    content = engine.unseal(raw, **arguments).raw
                elif identities:
                    opened = engine.decrypt(raw, identities=identities, policy=how.policy)
                    content = opened.raw
            except SmimeGraphError:
                pass  # it is not encrypted, or not for them; what is wrong stands in the report
        return Examined(report_json(report), content, verified=report.accepted)

    return examine


def _tls(public_url: str | None, place: str | None, stack: ExitStack) -> tuple[ssl.SSLContext, str]:
    """How to serve https, and where the certificate is that clients are to believe."""
    from ..authority.tls import server_context
    from ..pki.keyfiles.read import armour

    if place is None:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="smime-graph-"))
        place, ca = str(Path(folder, "ca.pem")), None
    else:
        ca = _authority_beside(place)
    context, authority = server_context(filter(None, [_host(public_url)]), ca=ca)
    files.deliver(armour(authority), output=place)
    return context, place


def _authority_beside(place: str) -> CA | None:
    """The authority of an earlier start, or a new one that the next start finds: who believes it
    need not be told again. None where nothing can lie beside it.
    """
    from ..authority.issue import CA
    from ..authority.tls import authority_for_tls
    from ..pki.identity import Identity
    from ..pki.keyfiles.read import armour

    if place == "-" or (Path(place).exists() and not Path(place).is_file()):
        return None
    key = Path(f"{place}.key")
    there = Path(place).read_bytes() if Path(place).exists() else b""
    if not key.exists():
        if there:
            raise UsageError(
                f"{file_name(place)} is there without {file_name(str(key))}: it may be of another"
                " authority",
                hint="name another file for --write-ca, or delete this one",
            )
        ca = authority_for_tls()
        held = Identity(ca.private_key, ca.certificate).to_pem()
        files.deliver(held, output=str(key), private=True)
        return ca
    try:
        found = Identity.from_pem(key)
    except UsageError as error:
        hint = f"delete it and {file_name(place)}, and a new authority is made"
        raise UsageError(f"{file_name(str(key))} holds no authority: {error}", hint=hint) from error
    if there not in (b"", armour(found.certificate)):
        raise UsageError(
            f"{file_name(place)} is not the certificate of {file_name(str(key))}",
            hint="name another file for --write-ca, or delete this one",
        )
    return CA.from_key(found.private_key, found.certificate)


def _host(url: str | None) -> str | None:
    try:
        return urlsplit(url).hostname if url else None
    except ValueError:
        return None  # which serving it will say


COMMANDS = {"emulate": emulate}
