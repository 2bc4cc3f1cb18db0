"""Whether keys, certificates, contacts, token and mailbox fit together. Nothing is changed or sent.

Each function says what it saw as diagnoses, and raises nothing for what does not fit. A token is
read, not judged: whether its signature is good is for Graph to say. No part of it is repeated but
the claims that are named here.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

import pybase64

from ..arguments import file_name
from ..cms.keys import with_certificate
from ..cms.recipients.kinds import AnyRecipient
from ..errors import GraphError, GraphRefused, GraphThrottled, GraphUnreachable, SmimeGraphError
from ..graph._mailbox import CLOUDS, Mailbox
from ..graph.models import Folder
from ..graph.rights import NEEDS, held
from ..pki.address import mailboxes
from ..pki.contacts import Contacts
from ..pki.identity import Identity
from ..pki.revocation import Revocation, with_revocation
from ..pki.trust import TrustStore
from ..pki.usage import Use
from ..pki.validate import validate
from ..policy import Policy
from ..smime.outgoing import emails
from ..text import printable
from ..x509.certificate import Certificate
from .preflight import SOON

# A problem is what does not fit; unreachable, that Graph did not answer. A note needs nobody.
DiagnosisStatus: TypeAlias = Literal["ok", "note", "warning", "problem", "unreachable"]

_LONGEST_TOKEN = 1 << 16
# Microsoft Graph's own id as an application
_GRAPH = "00000003-0000-0000-c000-000000000000"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at; `hint` says what to do next."""

    about: str
    status: DiagnosisStatus
    text: str
    hint: str | None = None


def attempted(about: str, work: Callable[[], Iterator[Diagnosis]]) -> list[Diagnosis]:
    """What `work` says; an error of ours, a file that is not there or not opened, is a problem."""
    found: list[Diagnosis] = []
    try:
        found.extend(work())
    except SmimeGraphError as error:
        found.append(Diagnosis(about, "problem", str(error), error.hint))
    return found


# --- keys and certificates ------------------------------------------------------------------------


def of_signer(
    signer: Identity,
    *,
    trust: TrustStore | None,
    policy: Policy,
    at: datetime,
    revocation: Revocation | None = None,
) -> Iterator[Diagnosis]:
    """A key that signs, and what its owner reads sent mail with."""
    own = signer.certificate
    who = ", ".join(signer.emails) or "no address"
    judged = _Judging(trust, policy, at, revocation)
    yield from judged.of_certificate("signer", own, "sign", signer.chain)
    if not signer.emails:
        text = f"the certificate of {own.description} names no address, so it signs for no From"
        yield Diagnosis("signer", "problem", text, "use a certificate of the From address")
    reads = signer.encryption_certificate
    if reads is None:
        text = f"nobody can encrypt to {who}: who sends cannot read what was sent"
        hint = "use a key file whose certificate is for encryption as well"
        yield Diagnosis("signer", "warning", text, hint)
    elif reads != own:
        yield from judged.of_certificate("signer", reads, "encrypt", signer.chain)


def of_identity(identity: Identity, *, at: datetime) -> Iterator[Diagnosis]:
    """A key that decrypts: one whose certificate ran out still does."""
    certificate = identity.certificate
    over = certificate.not_after < at
    text = f"{certificate.description} decrypts" + (
        f" what was sent to it until {_day(certificate.not_after)}" if over else ""
    )
    yield Diagnosis("identity", "note" if over else "ok", text)


def of_recipients(
    recipients: Sequence[AnyRecipient],
    *,
    trust: TrustStore | None,
    policy: Policy,
    at: datetime,
    revocation: Revocation | None = None,
) -> Iterator[Diagnosis]:
    judged = _Judging(trust, policy, at, revocation)
    for one in with_certificate(recipients):
        yield from judged.of_certificate("recipient", one.certificate, "encrypt", ())
        if not emails(one):
            text = f"the certificate of {one.certificate.description} names no address"
            yield Diagnosis("recipient", "problem", text, "name the address whose it is")


@dataclass(frozen=True, slots=True)
class _Judging:
    """By what certificates are judged."""

    trust: TrustStore | None
    policy: Policy
    at: datetime
    revocation: Revocation | None

    def of_certificate(
        self, about: str, certificate: Certificate, use: Use, chain: Sequence[Certificate]
    ) -> Iterator[Diagnosis]:
        report = validate(
            certificate,
            use=use,
            trust=self.trust,
            certificates=chain,
            at=self.at,
            minimum_rsa_bits=self.policy.minimum_rsa_bits,
            accept_weak=self.policy.accept_weak_certificates,
            accept_any_purpose=self.policy.accept_any_purpose,
        )
        if self.revocation is not None and self.trust is not None and report.ok:
            report = with_revocation(report, self.revocation, at=self.at, certificates=chain)
        who = certificate.description
        if not report.ok:
            why = "; ".join(one.text for one in report.errors)
            codes = [one.code for one in report.errors]
            hint = "use another certificate, or ask the authority for one: cert check says more"
            if any(one.startswith(("pki.path.none", "pki.trust")) for one in codes):
                hint = (
                    "name the root that issued it with --trust, and the authorities between in its"
                    " file"
                )
            yield Diagnosis(about, "problem", f"{who} is not fit to {use}: {why}", hint)
            return
        path = "chains to a root that is believed" if self.trust else "no --trust, no path judged"
        text = f"{who} is fit to {use} until {_day(certificate.not_after)}; {path}"
        soon = certificate.not_after <= self.at + SOON
        renew = "have it renewed: cert request writes the request"
        yield Diagnosis(about, "warning" if soon else "ok", text, renew if soon else None)


def of_trust(store: TrustStore, *, at: datetime) -> Iterator[Diagnosis]:
    over = [one for one in store.anchors if one.not_after < at]
    count = len(store.anchors)
    if count == len(over):
        text = f"all {count} roots that are believed have run out"
        yield Diagnosis("trust", "problem", text, "get the new roots, and name them with --trust")
        return
    text = ("1 root is" if count == 1 else f"{count} roots are") + " believed"
    text += f", {len(over)} of them have run out" if over else ""
    yield Diagnosis("trust", "warning" if over else "ok", text)


def of_contacts(path: str, *, at: datetime) -> Iterator[Diagnosis]:
    """The address book; a copy is opened, so that an older one stays as it is."""
    if not Path(path).exists():
        text = f"{file_name(path)} is not there: no address is known"
        yield Diagnosis("contacts", "note", text, "contacts add, or contacts harvest, makes one")
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(path).name
        try:
            shutil.copyfile(path, copy)
            with Contacts(copy) as book:
                known = {one.email for one in book.entries()}
                ending = book.expiring(SOON, at=at)
        except OSError as error:
            text = f"{file_name(path)} cannot be read: {error.strerror}"
            yield Diagnosis("contacts", "problem", text, "name another address book: --contacts")
            return
        except SmimeGraphError as error:
            text = str(error).replace(file_name(copy), file_name(path))
            yield Diagnosis("contacts", "problem", text, error.hint)
            return
    text = f"{file_name(path)} knows {len(known)} addresses"
    if ending:
        names = ", ".join(sorted({one.email for one in ending})[:5])
        text += f"; certificates run out within {SOON.days} days, or have: {names}"
    hint = "contacts list --expiring 30d names them; ask for new ones" if ending else None
    yield Diagnosis("contacts", "warning" if ending else "ok", text, hint)


# --- the token ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claims:
    """What an access token says of itself, none of it believed. Times are None where it is silent.

    `names` are its permissions: scopes of a person's, or roles of an application's (`is_app`).
    """

    audience: str
    begins: datetime | None
    ends: datetime | None
    names: tuple[str, ...]
    is_app: bool
    user: str | None

    @classmethod
    def of(cls, token: str) -> Claims | None:
        """None for what is no JWT: Microsoft's tokens for personal accounts are none, for example.

        A token is for Graph to read ("Microsoft identity platform access tokens"), so nothing
        depends on this but what `doctor` says.
        """
        parts = token.split(".")
        if len(parts) != 3 or len(token) > _LONGEST_TOKEN:
            return None
        try:
            text = pybase64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars="-_")
            claims = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(claims, dict):
            return None
        scopes, roles = claims.get("scp"), claims.get("roles")
        names = [*scopes.split()] if isinstance(scopes, str) else []
        names += [one for one in roles if isinstance(one, str)] if isinstance(roles, list) else []
        users = (claims.get(key) for key in ("upn", "preferred_username", "unique_name"))
        user = next((one for one in users if isinstance(one, str) and "@" in one), None)
        return cls(
            audience=_text(claims.get("aud")),
            begins=_moment(claims.get("nbf")),
            ends=_moment(claims.get("exp")),
            names=tuple(_text(one) for one in names[:200]),
            is_app=claims.get("idtyp") == "app" or not isinstance(scopes, str),
            user=None if user is None else _text(user),
        )


def of_token(claims: Claims | None, box: Mailbox, *, now: datetime) -> Iterator[Diagnosis]:
    """When it is good, for what service, and whose."""
    if claims is None:
        text = "the token is no JWT, so nothing can be said of it: Graph alone can read it"
        yield Diagnosis("token", "note", text)
        return
    again = f"get a new one for https://{box.host}/.default, or use --auth azure"
    if claims.ends is None:
        yield Diagnosis("token", "warning", "the token does not say when it runs out", again)
    elif claims.ends <= now:
        text = f"the token ran out at {_time(claims.ends)}"
        yield Diagnosis("token", "problem", text, again)
    elif claims.begins is not None and claims.begins > now + timedelta(minutes=5):
        text = f"the token is not good before {_time(claims.begins)}"
        yield Diagnosis("token", "problem", text, "check the clock of this machine")
    else:
        minutes = int((claims.ends - now).total_seconds() // 60)
        status: DiagnosisStatus = "ok" if minutes >= 5 else "warning"
        text = f"the token is good for {minutes} minutes, until {_time(claims.ends)}"
        yield Diagnosis("token", status, text, None if status == "ok" else again)
    yield _of_audience(claims, box)
    if claims.is_app and box.user == "me":
        text = "the token is an application's, and 'me' is a person who signed in"
        yield Diagnosis("token", "problem", text, "name the mailbox: --user ADDRESS")


def _of_audience(claims: Claims, box: Mailbox) -> Diagnosis:
    meant = claims.audience.lower().rstrip("/")
    host = urlsplit(meant).hostname or meant
    known = {urlsplit(url).hostname for url in CLOUDS.values()}
    shown = claims.audience or "nobody"
    if box.host not in known:
        text = f"the token is for {shown}; whether {box.host} takes it is not known"
        return Diagnosis("token", "note", text)
    if host == box.host or meant == _GRAPH:
        return Diagnosis("token", "ok", f"the token is for Microsoft Graph ({shown})")
    text = f"the token is for {shown}, not for {box.host}"
    return Diagnosis("token", "problem", text, f"ask for the scope https://{box.host}/.default")


@dataclass(frozen=True, slots=True)
class VerbRights:
    """A verb, the rights it needs at least, and whether the token has them (None: not known)."""

    verb: str
    needs: tuple[str, ...]
    has: bool | None


def rights(claims: Claims | None, box: Mailbox) -> tuple[VerbRights, ...]:
    """What the token lets each verb do, by the table of least privilege."""
    known = None if claims is None or not claims.names else _held(claims, box)
    return tuple(
        VerbRights(one.verb, one.rights, None if known is None else known.issuperset(one.rights))
        for one in NEEDS
    )


def of_rights(claims: Claims | None, box: Mailbox) -> Iterator[Diagnosis]:
    if claims is None:
        return
    listed = ", ".join(claims.names) or "none"
    if not claims.names:
        text = "the token names no scope and no role: it is good for nothing here"
        yield Diagnosis("rights", "problem", text, "give the application Mail.Send, with consent")
        return
    known = _held(claims, box)
    able = [one.verb for one in NEEDS if one.rights and known.issuperset(one.rights)]
    if "Mail.Send" not in known:
        hint = "give the application Mail.Send, with consent"
        if _of_another(claims, box):
            hint = "in the mailbox of another person that is Mail.Send.Shared, and Send As there"
        text = f"the token's permissions ({listed}) do not let it send"
        yield Diagnosis("rights", "problem", text, hint)
    if able:
        yield Diagnosis("rights", "ok", f"{', '.join(able)}: {listed}")
    unused = [one for one in claims.names if one.startswith(("Mail-Advanced", "Files.", "Sites."))]
    if unused:
        text = f"the token may do more than anything here needs: {', '.join(unused)}"
        yield Diagnosis("rights", "note", text, "least privilege: PERMISSIONS.md has the table")


def _held(claims: Claims, box: Mailbox) -> frozenset[str]:
    return held(claims.names, of_another=_of_another(claims, box))


def _of_another(claims: Claims, box: Mailbox) -> bool:
    if claims.is_app or claims.user is None or "@" not in box.user:
        return False
    return mailboxes((claims.user,)).isdisjoint(mailboxes((box.user,)))


# --- the mailbox ----------------------------------------------------------------------------------


class Client(Protocol):
    """As much of a GraphClient as looks and changes nothing."""

    def owner(self) -> tuple[str, ...]: ...
    def folders(self, *, top: int = 100) -> tuple[Folder, ...]: ...


def of_mailbox(
    client: Client, box: Mailbox, *, found: list[str] | None = None
) -> Iterator[Diagnosis]:
    """Look into it, by GET alone. Its addresses, where they are told, are put to `found`."""
    reached = False
    try:
        addresses = client.owner()
        reached = True
        if found is not None:
            found += addresses
        whose = ", ".join(printable(one) for one in addresses) or "somebody without an address"
        yield Diagnosis("mailbox", "ok", f"{box.host} answers: the mailbox is that of {whose}")
    except GraphError as error:
        if not isinstance(error, GraphRefused) or error.status in (401, 404) or error.status > 499:
            yield _of_error(error, box)
            return
    try:
        folders = client.folders(top=1)
    except GraphError as error:
        if isinstance(error, GraphRefused) and error.status == 403:
            more = "" if reached else f"{box.host} answers, "
            text = f"{more}the token may not look into the mailbox, which sending does not need"
            yield Diagnosis("mailbox", "note", text, "Mail.ReadBasic would let it look")
        else:
            yield _of_error(error, box)
        return
    more = "" if folders else ", and has no folder"
    yield Diagnosis("mailbox", "ok", f"the mailbox can be looked into{more}")


def _of_error(error: GraphError, box: Mailbox) -> Diagnosis:
    if isinstance(error, (GraphUnreachable, GraphThrottled)) or (
        isinstance(error, GraphRefused) and error.status > 499
    ):
        return Diagnosis("mailbox", "unreachable", str(error), error.hint)
    hint = error.hint
    if isinstance(error, GraphRefused) and error.status == 404:
        hint = f"nobody is called {printable(box.user)} there: check --user, --cloud, --graph-url"
    return Diagnosis("mailbox", "problem", str(error), hint)


def of_sender(
    signers: Sequence[Identity], box: Mailbox, claims: Claims | None, owner: Sequence[str]
) -> Iterator[Diagnosis]:
    """Whether who signs is whose mailbox sends: From has to be both."""
    signing = [one for signer in signers for one in signer.emails]
    is_certain = bool(owner) or "@" in box.user
    sending = [*owner, *([box.user] if "@" in box.user else [])]
    if not sending and claims is not None and claims.user is not None and box.user == "me":
        sending = [claims.user]
    if not signing or not sending:
        return
    names = f"{', '.join(signing)} signs, and the mailbox is that of {', '.join(sending)}"
    if mailboxes(tuple(signing)).isdisjoint(mailboxes(tuple(sending))):
        hint = (
            "use the key of the mailbox's owner, or --user ADDRESS; with the right to send as that"
            " address it is as it should be"
        )
        yield Diagnosis("address", "problem" if is_certain else "warning", names, hint)
    else:
        yield Diagnosis("address", "ok", names)


def as_json(found: Sequence[Diagnosis], able: Sequence[VerbRights]) -> Mapping[str, Any]:
    return {
        "checks": [
            {"about": one.about, "status": one.status, "text": one.text, "hint": one.hint}
            for one in found
        ],
        "rights": [{"verb": one.verb, "needs": list(one.needs), "has": one.has} for one in able],
    }


def _text(value: object) -> str:
    return printable(value[:300]) if isinstance(value, str) else ""


def _moment(value: object) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d}"
