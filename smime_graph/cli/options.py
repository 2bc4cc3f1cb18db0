"""Options that several verbs share, and the kinds of their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
from click.core import ParameterSource

from ..buffers import Data
from ..errors import UsageError
from .command import Option, Verb

if TYPE_CHECKING:
    from ..cms.recipients.kinds import AnyRecipient
    from ..online import Fetcher
    from ..pki.revocation import Revocation, RevocationMode
    from ..pki.trust import TrustStore
    from ..policy import Policy
    from ..smime.header_confidentiality import HeaderConfidentiality
    from .keys import KeyRing, RecipientFinder

G = TypeVar("G")
F = TypeVar("F", bound=Callable[..., Any])


class FilePath(click.ParamType):  # type: ignore[type-arg]
    """A path; whether anything is there is found out on reading, which says it better."""

    name = "file"
    is_path = True
    words: tuple[str, ...] = ()  # that are no path

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        return str(value)


class Time(click.ParamType):  # type: ignore[type-arg]
    """An RFC 3339 time: a date, a time, and an offset."""

    name = "time"
    _FORM = re.compile(
        r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
    )

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if not self._FORM.fullmatch(str(value)):
                raise ValueError("not RFC 3339")
            return datetime.fromisoformat(str(value).upper())
        except ValueError:
            self.fail(f"{value!r} is no time, wanted one like 2026-11-22T06:13:00Z", param, ctx)


class PolicyName(click.ParamType):  # type: ignore[type-arg]
    """A policy by its name; the policies are imported only when one is named."""

    name = "name"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Policy:
        from ..policy import POLICIES, Policy

        if isinstance(value, Policy):
            return value
        if value not in POLICIES:
            self.fail(f"{value!r} is no policy, wanted one of {', '.join(POLICIES)}", param, ctx)
        return POLICIES[value]


class Recipient(FilePath):
    """A file or a folder; or an address, where nothing of that name is there."""

    may_be_address = True


class TrustPath(FilePath):
    words = ("system",)


class OutboxPlace(FilePath):
    """A file, or a server's address, which may hold a password."""

    name = "outbox"
    prefixes = ("postgresql:", "postgres:")  # of what is no path


FILE = FilePath()  # ParamType is generic in new versions of click only, hence the ignores


def option(*declarations: str, **attributes: Any) -> Callable[[F], F]:
    """As click.option, for an option that also comes from the environment."""
    return click.option(*declarations, cls=Option, **attributes)


def verb(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """As click.command, for a verb: its function's docstring is its help."""
    attributes.setdefault("cls", Verb)
    return click.command(name, **attributes)


def refuse_idle(names: Iterable[str], *, without: str) -> None:
    """UsageError for an option of these on the command line, where it has no effect: whoever gives
    it believes that it has. A configuration says what is always the same, and may say it.
    """
    ctx = click.get_current_context()
    source = ParameterSource.COMMANDLINE
    by_name = {one.name: one for one in ctx.command.params}
    idle = [
        max(by_name[name].opts, key=len)
        for name in names
        if name in by_name and ctx.get_parameter_source(name) is source
    ]
    if idle:
        does = "does" if len(idle) == 1 else "do"
        raise UsageError(
            f"{' and '.join(idle)} {does} nothing without {without}",
            hint=f"give {without}, or leave {'it' if len(idle) == 1 else 'them'} out",
        )


def combine(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for one in reversed(decorators):
            function = one(function)
        return function

    return decorate


message = click.argument("message", default="-", metavar="[MESSAGE]")

output = option("-o", "--output", type=FILE, metavar="FILE", help="Write here instead.")

passwords = option(
    "--password-file",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Its first line is the password of a key file: in the order of the key files (signers,"
    " then identities), or one for all. Else SMIME_GRAPH_PASSWORD, else the keyring, else asked.",
)

at = option("--at", type=Time(), metavar="TIME", help="The time that counts (RFC 3339).")

policy = option(
    "--policy",
    type=PolicyName(),
    metavar="NAME",
    default="exchange",
    show_default=True,
    help="exchange, rfc8551, post-quantum, or archive (which reads old mail and sends nothing).",
)

trust = option(
    "--trust",
    type=TrustPath(),
    multiple=True,
    metavar="FILE",
    help="Root certificates that are believed (PEM, DER, .p7b), or a folder of them; or 'system':"
    " those of certifi or of the platform, which were chosen for TLS.",
)

_signing = combine(
    option(
        "--signer",
        type=FILE,
        multiple=True,
        metavar="FILE",
        help="PKCS#12, or PEM with key and certificates (or certificates beside it in NAME.pem),"
        " or a key on a token: 'pkcs11:token=...;object=...'.",
    ),
    option(
        "--sid",
        type=click.Choice(["issuer", "ski"]),
        default="issuer",
        show_default=True,
        help="How the signer's certificate is named.",
    ),
    option("--digest", metavar="NAME", help="Sign with this digest, for example sha512."),
    option(
        "--receipt-to",
        multiple=True,
        metavar="ADDRESS",
        help="Ask whoever reads the message to send a signed receipt here.",
    ),
    option(
        "--label",
        metavar="OID[:N[:MARK]]",
        help="Sign a security label: its policy, the classification's number, a privacy mark.",
    ),
    option(
        "--no-header-protection",
        is_flag=True,
        help="Sign the content alone, and not From, To, Subject and the other header fields.",
    ),
)

opaque = option(
    "--opaque", is_flag=True, help="One application/pkcs7-mime instead of multipart/signed."
)

contacts = option(
    "--contacts",
    type=FILE,
    metavar="FILE",
    help="The address book that addresses are looked up in, instead of the user's own.",
)

recipient = combine(
    option(
        "--recipient",
        type=Recipient(),
        multiple=True,
        metavar="FILE|ADDRESS",
        help="A certificate (PEM, DER, .p7b), a signed message to take it from, or a folder of"
        " certificates, of which those of the message's recipients are used; or an address, which"
        " is looked up in the contacts.",
    ),
    contacts,
)

_encrypting = combine(
    recipient,
    option(
        "--rid",
        type=click.Choice(["issuer", "ski"]),
        default="issuer",
        show_default=True,
        help="How a recipient's certificate is named.",
    ),
    option("--cipher", metavar="NAME", help="Encrypt with this cipher, for example aes128-cbc."),
    option(
        "--recipient-password-file",
        type=FILE,
        multiple=True,
        metavar="FILE",
        help="Encrypt to whoever knows the password in the first line of this file.",
    ),
)

sealing = combine(
    option(
        "--no-encrypt-to-self",
        is_flag=True,
        help="Do not encrypt to the signer's own certificate as well.",
    ),
    option(
        "--compress",
        is_flag=True,
        help="Compress what was signed before it is encrypted. Not every program reads that:"
        " Thunderbird 153 and 157 show an empty body.",
    ),
    option(
        "--header-confidentiality",
        type=click.Choice(["none", "baseline", "shy"]),
        help="What of the header stands inside alone: nothing, Subject, Comments and Keywords, or"
        " names beside addresses and the time zone as well. Outlook shows what stands outside.",
    ),
)


crl = option(
    "--crl",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="A CRL (DER or PEM), or a folder of them.",
)
ocsp = option("--ocsp", type=FILE, multiple=True, metavar="FILE", help="An OCSP response (DER).")

# of signers that are judged, and of recipients
evidence = combine(
    crl,
    ocsp,
    option(
        "--revocation",
        type=click.Choice(["none", "soft", "hard"]),
        help="What it is if nothing tells that a certificate is not revoked: nothing, a warning or"
        " an error. soft where --crl, --ocsp or --fetch-revocation is given, else none.",
    ),
)
fetching = combine(
    option(
        "--fetch-revocation",
        is_flag=True,
        help="Ask the services that the certificates name (OCSP, CRLs, missing issuers) for what is"
        " missing; they see whose mail is read, or who is written to. Answers are kept in the"
        " user's cache folder until they run out.",
    ),
    option(
        "--allow-local-fetch",
        is_flag=True,
        help="Also ask services on this machine and in private networks.",
    ),
)


def protection_options(*, sign: bool = True, encrypt: bool = True) -> Callable[[F], F]:
    """What a verb that signs or encrypts takes."""
    chosen: list[Callable[[F], F]] = []
    if sign:
        chosen += [_signing]
    if encrypt:
        chosen += [_encrypting, trust, evidence, fetching]
    if sign:
        chosen += [passwords]
    return combine(*chosen, policy, at)


submitting = combine(protection_options(), sealing, opaque)


identity = option(
    "--identity",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="A key file, or a folder of them, or a key on a token: 'pkcs11:token=...'; expired"
    " keys still decrypt.",
)

identities = combine(
    identity,
    option(
        "--recipient-password-file",
        type=FILE,
        multiple=True,
        metavar="FILE",
        help="Decrypt with the password in the first line of this file.",
    ),
)

part = option(
    "--part",
    metavar="PATH",
    help="Open this layer alone, for example 1.2, as inspect names it; what it says holds for that"
    " part of the message only.",
)

judging_alone = combine(
    option("--sender", metavar="ADDRESS", help="Who must have signed, instead of From."),
    option(
        "--certificate",
        type=FILE,
        multiple=True,
        metavar="FILE",
        help="Further certificates to use; not believed.",
    ),
)

judging = combine(evidence, fetching, judging_alone)  # what encrypts has the former two

opening = combine(identities, passwords, trust, judging, policy, at)


# --- what they say --------------------------------------------------------------------------------


def take(group: type[G], given: Mapping[str, Any], **known: Any) -> G:
    """The options of a group; those that the verb does not have are as if nobody gave them."""
    names = given.keys() & group.__annotations__.keys()
    return group(**{name: given[name] for name in names} | known)


@dataclass(frozen=True)
class Keys:
    """The files of keys and certificates, and those of their passwords."""

    signer: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    password_file: tuple[str, ...] = ()
    recipient: tuple[str, ...] = ()
    recipient_password_file: tuple[str, ...] = ()
    trust: tuple[str, ...] = ()
    certificate: tuple[str, ...] = ()
    contacts: str | None = None

    @cached_property
    def ring(self) -> KeyRing:
        """The one ring of a verb: a password is asked for once, and a key file opened once."""
        from .keys import KeyRing

        return KeyRing(
            signers=self.signer,
            identities=self.identity,
            password_files=self.password_file,
            recipient_password_files=self.recipient_password_file,
        )

    @cached_property
    def _finder(self) -> RecipientFinder:
        """The one of a verb: each recipient is looked for, and spoken of, once."""
        from .keys import RecipientFinder

        return RecipientFinder(
            self.recipient,
            passwords=self.recipient_password_file,
            contacts=self.contacts,
            trust=self.trust,
        )

    def recipients(
        self, raw: Data, *, at: datetime | None, policy: Policy | None = None
    ) -> list[AnyRecipient]:
        """Whom the message is encrypted to; of a folder those that it names."""
        return self._finder.find(raw, at=at, policy=policy)

    def trust_for_recipients(self) -> TrustStore | None:
        """What is believed of the recipients, once they were found; None where nothing is said."""
        return self._finder.trust_store()

    @property
    def has_recipient(self) -> bool:
        return bool(self.recipient or self.recipient_password_file)


# What else says how a message is signed, and how encrypted
_OF_SIGNATURES = ("sid", "digest", "receipt_to", "label", "opaque")
_OF_ENCRYPTION = ("rid", "cipher", "no_encrypt_to_self", "compress", "header_confidentiality")


class _Evidence:
    """The options that say who is revoked: of the signers of a message, or of its recipients."""

    __slots__ = ()

    crl: tuple[str, ...]
    ocsp: tuple[str, ...]
    revocation: RevocationMode | None
    fetch_revocation: bool
    allow_local_fetch: bool

    def known_revocation(self) -> Revocation | None:
        """What is known of revocation; None where nobody asks for it."""
        if not (self.crl or self.ocsp or self.revocation or self.fetch_revocation):
            return None
        from ..pki.revocation import Revocation

        mode = self.revocation or "soft"
        fetch = self._fetcher() if self.fetch_revocation and mode != "none" else None
        return Revocation.load(mode=mode, crls=self.crl, ocsp=self.ocsp, fetch=fetch)

    def _fetcher(self) -> Fetcher:
        """With the user's cache, or without one and a warning where it cannot be used."""
        from ..online import Fetcher
        from . import terminal
        from .context import cache_file

        if (place := cache_file("revocation.sqlite")) is not None:
            try:
                return Fetcher(allow_local=self.allow_local_fetch, cache=Path(place))
            except UsageError as error:
                terminal.complain("warning", str(error))
        return Fetcher(allow_local=self.allow_local_fetch)


@dataclass(frozen=True, slots=True)
class Protection(_Evidence):
    """How a message is signed and encrypted; `policy` is what the other options make of it."""

    keys: Keys
    policy: Policy
    at: datetime | None = None
    sid: Literal["issuer", "ski"] = "issuer"
    rid: Literal["issuer", "ski"] = "issuer"
    opaque: bool = False
    receipt_to: tuple[str, ...] = ()
    label: str | None = None
    crl: tuple[str, ...] = ()
    ocsp: tuple[str, ...] = ()
    revocation: RevocationMode | None = None
    fetch_revocation: bool = False
    allow_local_fetch: bool = False
    confidentiality: HeaderConfidentiality | None = None  # of an answer, instead of the policy's

    @classmethod
    def of(
        cls, given: Mapping[str, Any], keys: Keys | None = None, *, encrypts: bool = False
    ) -> Protection:
        """`encrypts`: the verb does, whoever is named as a recipient."""
        keys = keys or take(Keys, given)
        if not keys.signer:
            refuse_idle(_OF_SIGNATURES, without="--signer")
        if not (encrypts or keys.has_recipient):
            refuse_idle(_OF_ENCRYPTION, without="--recipient")
        return take(cls, given, keys=keys, policy=_policy(given))

    @property
    def is_asked_for(self) -> bool:
        """Whether the options ask for a signature or for encryption."""
        return bool(self.keys.signer) or self.keys.has_recipient


@dataclass(frozen=True, slots=True)
class Reading(_Evidence):
    """How a message is opened and judged. `content` is the file of a detached signature's."""

    keys: Keys
    policy: Policy
    at: datetime | None = None
    sender: str | None = None
    part: str | None = None
    content: str | None = None
    crl: tuple[str, ...] = ()
    ocsp: tuple[str, ...] = ()
    revocation: RevocationMode | None = None
    fetch_revocation: bool = False
    allow_local_fetch: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any], keys: Keys | None = None) -> Reading:
        return take(cls, given, keys=keys or take(Keys, given))


def _policy(given: Mapping[str, Any]) -> Policy:
    """The policy with what other options change in it: digest, cipher, compression, ..."""
    from ..algorithms import TABLE, ContentCipher, Digest, Row

    found: Policy = given["policy"]
    changes: dict[str, Any] = {}

    def known(kind: type[Row], name: str, what: str) -> str:
        names = [row.name for row in TABLE if isinstance(row, kind) and row.name in found.accept]
        if name not in names:
            raise UsageError(
                f"policy {found.name} has no {what} {name}", hint=f"use one of {', '.join(names)}"
            )
        return name

    if given.get("digest"):
        changes["digest"] = known(Digest, given["digest"], "digest")
    if given.get("cipher"):
        changes["ciphers"] = (known(ContentCipher, given["cipher"], "cipher"),)
    if given.get("no_encrypt_to_self"):
        changes["encrypt_to_self"] = False
    if given.get("compress"):
        changes["compress"] = True
    if given.get("no_header_protection"):
        changes["header_protection"] = False
    if given.get("header_confidentiality"):
        changes["header_confidentiality"] = given["header_confidentiality"]
    return found.but(found.name, **changes) if changes else found
