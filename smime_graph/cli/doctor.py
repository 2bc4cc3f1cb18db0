"""doctor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..arguments import file_name
from ..errors import GraphError, SmimeGraphError, UsageError
from ..pki.pkcs11.uri import is_uri
from . import config, files, graph_client, options, terminal
from .context import contacts_file, run_of
from .graph_client import Place
from .options import Protection, Reading, verb

if TYPE_CHECKING:
    from ..graph._mailbox import Mailbox
    from ..pki.identity import Identity
    from ..pki.trust import TrustStore
    from ..submission.doctor import Claims, Diagnosis

_NOT_SETTINGS = ("config", "json", "debug", "help")
_SECRETS = ("SMIME_GRAPH_TOKEN", "SMIME_GRAPH_PASSWORD")


@verb("doctor")
@graph_client.submission_options
@options.identity
def doctor(**given: Any) -> None:
    """Say what is configured and from where, whether it fits together, and what to do next.

    It looks at what send would use: key, certificate, chain, address, validity, recipients,
    contacts, roots, the token (when it runs out, whom it is for, what it lets each verb do) and the
    mailbox, which it reads by GET alone. Nothing is sent and nothing is changed; of the token
    nothing is shown but these claims. Its options come from [send] of the configuration as well.

    \b
    What a verb needs at least (PERMISSIONS.md has all of them):
      send, sendmail, gateway   Mail.Send
      reply, reply-all          Mail.Send, Mail.Read
      draft, delete             Mail.ReadWrite
      fetch, watch, harvest     Mail.Read
      list                      Mail.ReadBasic

    Exit status 1 if something does not fit, 3 if Graph did not answer.

    \b
    smime-graph doctor --signer alice.p12 --trust roots.pem --token-file token
    """
    from ..submission import doctor as engine

    reading, place = Reading.of(given), Place.of(given)
    how = Protection.of(given, reading.keys)
    box = place.mailbox()
    context = click.get_current_context()
    found = [_of_configuration(context)]
    signers = _of_files(how, how.at or datetime.now(UTC), found)
    able = engine.rights(None, box)
    if place.is_emulated():
        text = "the emulator in this process takes any token, and has any mailbox"
        found.append(engine.Diagnosis("mailbox", "note", text))
        found += engine.of_sender(signers, box, None, ())
    else:
        claims = _of_token(place, box, found)
        able = engine.rights(claims, box)
        owner: list[str] = []
        if not any(one.about == "token" and one.status == "problem" for one in found):
            with terminal.progress("asking Graph"):
                # who asks wants to know now
                hasty = replace(place, retries=min(place.retries, 1))
                with graph_client.client(hasty) as graph:
                    found += engine.of_mailbox(graph, box, found=owner)
        found += engine.of_sender(signers, box, claims, owner)
    settings = [*_settings(context), *_from_environment(place)]
    status = {one.status for one in found}
    if run_of(context).json:
        verdict = "rejected" if status & {"problem", "unreachable"} else "accepted"
        shown = engine.as_json(found, able)
        files.write_json({"verdict": verdict, "settings": settings, **shown})
    else:
        lines = [
            f"setting: {one['option']} = {_text(one['value'])} ({one['source']})"
            for one in settings
            if one["source"] != "default"
        ]
        for one in found:
            lines.append(f"{one.status}: {one.about}: {one.text}")
            if one.hint is not None and one.status != "ok":
                lines.append(f"  {terminal.hint_of(_as_error(one), verb=None)}")
        files.write_lines(lines)
    if "problem" in status:
        context.exit(terminal.Status.NO)
    if "unreachable" in status:
        context.exit(terminal.Status.GRAPH)


def _as_error(one: Diagnosis) -> SmimeGraphError:
    """For the hint in the words of the command line."""
    return SmimeGraphError(one.text, hint=one.hint)


# --- what is configured ---------------------------------------------------------------------------


def _settings(context: click.Context) -> list[dict[str, Any]]:
    rows = []
    for one in context.command.params:
        name = one.name or ""
        if name in _NOT_SETTINGS or not isinstance(one, click.Option):
            continue
        value = context.params.get(name)
        shown: Any = [_shown(item) for item in value or ()] if one.multiple else _shown(value)
        option = max(one.opts, key=len).removeprefix("--")
        rows.append({"option": option, "value": shown, "source": _source(context, name, one)})
    return rows


def _source(context: click.Context, name: str, option: click.Option) -> str:
    source = context.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE:
        return "command line"
    if source is ParameterSource.ENVIRONMENT:
        return f"environment {option.envvar}"
    if source is ParameterSource.DEFAULT_MAP:
        return f"file {config.origin(context, name)}"
    return "default"


def _shown(value: Any) -> Any:
    """A value as it may be read by others: without what a key's URI says of its PIN."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    text = str(getattr(value, "name", value))
    return file_name(text.partition("?")[0] if is_uri(text) else text)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _from_environment(place: Place) -> Iterator[dict[str, Any]]:
    """Secrets that are there, and are not shown."""
    for name in _SECRETS:
        if os.environ.get(name):
            counts = name != "SMIME_GRAPH_TOKEN" or not (place.token_file or place.auth)
            shown = "given" if counts else "given, and not used: --token-file or --auth is"
            option = name.removeprefix("SMIME_GRAPH_").lower()
            yield {"option": option, "value": shown, "source": f"environment {name}"}


def _of_configuration(context: click.Context) -> Diagnosis:
    from ..submission.doctor import Diagnosis

    return Diagnosis("configuration", "note", config.source(context))


# --- what fits ------------------------------------------------------------------------------------


def _of_files(how: Protection, at: datetime, found: list[Diagnosis]) -> list[Identity]:
    """Those who sign, as far as they could be opened."""
    from ..pki.identity import Identity
    from ..submission import doctor as engine
    from . import keys

    named = how.keys
    trust: TrustStore | None = None
    signers: list[Identity] = []
    how_judged: dict[str, Any] = {"policy": how.policy, "at": at}
    how_judged["revocation"] = how.known_revocation()

    def of_trust() -> Iterator[Diagnosis]:
        nonlocal trust
        trust = keys.trust_store(named.trust)
        if trust is not None:
            yield from engine.of_trust(trust, at=at)
            return
        text = "no root is believed, so no certificate and no message can be"
        yield engine.Diagnosis("trust", "note", text, "name the roots: --trust FILE")

    def of_signers() -> Iterator[Diagnosis]:
        signers.extend(named.ring.signers())
        for one in signers:
            yield from engine.of_signer(one, trust=trust, **how_judged)
        if not signers:
            text = "nobody signs: what is sent goes as it is"
            yield engine.Diagnosis("signer", "note", text, "name a key file: --signer FILE")

    def of_identities() -> Iterator[Diagnosis]:
        for one in named.ring.identities():
            if isinstance(one, Identity):
                yield from engine.of_identity(one, at=at)

    def of_recipients() -> Iterator[Diagnosis]:
        # a folder's are chosen by the message, and none is there
        everyone = named.recipients(b"To: nobody:;\r\n\r\n", at=at, policy=how.policy)
        yield from engine.of_recipients(everyone, trust=trust, **how_judged)

    def of_contacts() -> Iterator[Diagnosis]:
        book = named.contacts or contacts_file()
        if book is not None:
            yield from engine.of_contacts(book, at=at)

    for about, work in (
        ("trust", of_trust),
        ("signer", of_signers),
        ("identity", of_identities),
        ("recipient", of_recipients),
        ("contacts", of_contacts),
    ):
        found += engine.attempted(about, work)
    return signers


def _of_token(place: Place, box: Mailbox, found: list[Diagnosis]) -> Claims | None:
    """What the token says of itself. None where there is none, or it says nothing."""
    from ..graph.auth import TokenSource
    from ..submission import doctor as engine

    try:
        token = TokenSource(graph_client.credential(place), scope=box.scope).token()
    except (UsageError, GraphError) as error:
        found.append(engine.Diagnosis("token", "problem", str(error), error.hint))
        return None
    claims = engine.Claims.of(token)
    found += engine.of_token(claims, box, now=datetime.now(UTC))
    found += engine.of_rights(claims, box)
    return claims


COMMANDS = {"doctor": doctor}
