"""What would go wrong on sending, found by the code that sends. No request is made.

Problems are what `send` raises before its first request, in its order: the first is the one that it
raises. Findings are no reason not to send; each has its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from typing import Literal, TypeAlias

from ..arguments import check_fields, checked
from ..cms.keys import SigningKey, with_certificate
from ..cms.recipients.kinds import AnyRecipient
from ..errors import MalformedMessage, SmimeGraphError, UsageError, kept
from ..findings import Finding, Report, finding
from ..graph import _mailbox, _outgoing
from ..graph._mailbox import Mailbox, Wire
from ..graph._outgoing import Via
from ..pki.address import mailboxes, parse_header_addresses
from ..pki.revocation import Revocation
from ..pki.trust import TrustStore
from ..policy import EXCHANGE, Policy
from ..smime import outgoing, sealing, wrap
from ..smime.answer import addressees, check_addressees
from ..smime.entity import (
    MAX_DEPTH,
    MAX_PARTS,
    MESSAGES,
    PKCS7_MIME,
    PKCS7_SIGNATURE,
    Entity,
    HeaderField,
    split_multipart,
)
from ..smime.examine import inspect
from ..smime.fields import decode_words
from ..smime.header_confidentiality import HeaderConfidentiality, HeaderConfidentialityName
from ..smime.report import ENCRYPTED
from ..text import printable

# What is done with a message. `draft` leaves it in Drafts.
SubmissionAction: TypeAlias = Literal["send", "reply", "reply-all", "forward", "draft"]

SOON = timedelta(days=30)
_LONGEST_LINE = 998  # octets, without its end
# What arrives. Users of Graph miss other fields at the recipient's; X-* ones until the mailbox has
# met the name.
_KEPT = frozenset(
    {"from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id"}
    | {"in-reply-to", "references", "mime-version", "thread-topic", "thread-index"}
    | {"importance", "priority", "sensitivity"}
)


@dataclass(frozen=True, slots=True)
class SubmissionSize:
    """Octets: of the `message` as it was given, as it is `protected`, and of the `request`, which
    counts against the `limit` (None: there is none). Of them `base64_of_attachments`,
    `base64_of_cms` and `base64_of_request` are what base64 adds, as far as it can be seen.
    """

    message: int
    _: KW_ONLY
    protected: int
    request: int
    limit: int | None
    base64_of_attachments: int
    base64_of_cms: int
    base64_of_request: int

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class SubmissionRecipient:
    """One address: whether a certificate of it is among those that are encrypted to, or it signs,
    and whether Graph sends the message there.
    """

    address: str
    _: KW_ONLY
    has_certificate: bool
    is_addressed: bool

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class SubmissionReport(Report):
    """What `check_submission` found. `problems` are the errors that sending raises, the first of
    them first; without any the message is `ok` and would be handed to Graph.
    """

    _: KW_ONLY
    problems: tuple[SmimeGraphError, ...] = field(default=(), repr=False)
    size: SubmissionSize | None = None
    recipients: tuple[SubmissionRecipient, ...] = ()

    @property
    def ok(self) -> bool:
        """True if nothing keeps the message back."""
        return not self.problems


def check_answer(
    action: SubmissionAction,
    original: bytes,
    message: bytes,
    *,
    recipients: Callable[[], Sequence[AnyRecipient]],
    is_encrypting: bool,
    policy: Policy,
) -> list[Finding]:
    """Hold an answer against whom Graph sends it to; what is returned is worth knowing.

    Raises what `check_addressees` raises. What cannot be compared is a refusal for what only its
    readers may read.
    """
    if action not in ("reply", "reply-all"):
        return []
    try:
        texts = check_addressees(
            original, message, kind=action, recipients=recipients(), policy=policy
        )
    except MalformedMessage as error:
        if is_encrypting or any(layer.type in ENCRYPTED for layer in inspect(message)):
            error.hint = "send it as a message of its own: nobody can say whom Graph answers"
            raise
        texts = [f"whom Graph sends the answer to is not checked: {error}"]
    return [finding("graph.addressees", "message", text) for text in texts]


def refusals(
    box: Mailbox,
    made: bytes,
    *,
    action: SubmissionAction = "send",
    via: Via = "auto",
    save_to_sent_items: bool = True,
) -> Iterator[SmimeGraphError]:
    """What a client refuses of a finished message before its first request, in its order."""
    try:
        _outgoing.checked(box, made, action=action, via=via, save_to_sent_items=save_to_sent_items)
    except SmimeGraphError as error:
        yield kept(error)
    try:
        _outgoing.body_of(box, made, action=action, via=via, save_to_sent_items=save_to_sent_items)
    except SmimeGraphError as error:
        yield kept(error)


@dataclass(frozen=True, slots=True)
class Plan:
    """A message, and what is to become of it; `check` goes through it as sending does.

    `prepare` gives what is submitted, several messages where those in Bcc get their own, and
    `as_it_is` what is looked at where that fails. `place` gives the mailbox that takes it, `usual`
    is one with the same limit, where there is none. `store` raises what an outbox refuses.
    """

    raw: bytes
    _: KW_ONLY
    prepare: Callable[[], Sequence[bytes]]
    as_it_is: Callable[[], bytes]
    place: Callable[[], Mailbox]
    usual: Mailbox
    recipients: Callable[[], Sequence[AnyRecipient]]
    is_encrypting: bool
    signers: Sequence[SigningKey]
    policy: Policy
    at: datetime | None = None
    action: SubmissionAction = "send"
    original: bytes | None = None
    via: Via = "auto"
    save_to_sent_items: bool = True
    store: Callable[[Sequence[bytes]], object] | None = None

    def check(self) -> SubmissionReport:
        """UsageError where the call makes no sense whatever the message is."""
        problems: list[SmimeGraphError] = []
        found: list[Finding] = []
        try:
            if self.original is not None:
                found += check_answer(
                    self.action,
                    self.original,
                    self.raw,
                    recipients=self.recipients,
                    is_encrypting=self.is_encrypting,
                    policy=self.policy,
                )
        except UsageError:
            raise
        except SmimeGraphError as error:
            problems.append(kept(error))
        messages = self._prepared(problems)
        box = self.usual
        try:
            box = self.place()
        except SmimeGraphError as error:
            problems.append(kept(error))
        for made in messages:
            problems += refusals(
                box,
                made,
                action=self.action,
                via=self.via,
                save_to_sent_items=self.save_to_sent_items,
            )
        if self.store is not None:
            try:
                self.store(messages)
            except SmimeGraphError as error:
                problems.append(kept(error))
        once: dict[str, SmimeGraphError] = {}
        for one in problems:
            once.setdefault(str(one), one)
        largest = max(messages, key=len)
        everyone = self._everyone()
        found += _findings(largest, self.raw, box)
        found += _expiring(self.signers, everyone, self.at or datetime.now(UTC))
        return SubmissionReport(
            tuple(dict.fromkeys(found)),
            problems=tuple(once.values()),
            size=self._size(largest, box),
            recipients=tuple(self._recipients(everyone)),
        )

    def _prepared(self, problems: list[SmimeGraphError]) -> Sequence[bytes]:
        for attempt in (self.prepare, lambda: [self.as_it_is()]):
            try:
                return attempt()
            except UsageError:
                raise
            except SmimeGraphError as error:
                problems.append(kept(error))
        return [self.raw]

    def _everyone(self) -> list[AnyRecipient]:
        try:
            return sealing.with_signers(self.recipients(), self.signers, self.policy)
        except SmimeGraphError:
            return []  # which of the problems it is, is said there

    def _size(self, made: bytes, box: Mailbox) -> SubmissionSize:
        request = _outgoing.size_of(
            box,
            made,
            action=self.action,
            via=self.via,
            save_to_sent_items=self.save_to_sent_items,
        )
        return SubmissionSize(
            len(self.raw),
            protected=len(made),
            request=request,
            limit=box.size_limit,
            base64_of_attachments=_base64(self.raw)[0],
            base64_of_cms=_base64(made)[1],
            base64_of_request=request - len(made),
        )

    def _recipients(self, everyone: Sequence[AnyRecipient]) -> Iterator[SubmissionRecipient]:
        """Who is named, and who gets it: of a reply those whom the original names."""
        try:
            entity = Entity(self.raw)
            named = [
                one
                for name in ("To", "Cc", "Bcc")
                for header in entity.all(name)
                for one in parse_header_addresses(header.value)
            ]
            goes_to = named
            if self.original is not None and self.action in ("reply", "reply-all"):
                goes_to = addressees(self.original, self.action)
        except MalformedMessage:
            return  # a problem, or a finding, that is told as one
        all_of_them = tuple(dict.fromkeys((*goes_to, *named)))
        without = frozenset(outgoing.without_certificate(all_of_them, everyone))
        addressed = mailboxes(tuple(goes_to))
        for one in all_of_them:
            yield SubmissionRecipient(
                one,
                has_certificate=bool(everyone) and one not in without,
                is_addressed=not mailboxes((one,)).isdisjoint(addressed),
            )


@checked
def check_submission(
    message: bytes | Message,
    *,
    signer: SigningKey | Sequence[SigningKey] = (),
    recipients: Sequence[AnyRecipient] = (),
    trust: TrustStore | None = None,
    revocation: Revocation | None = None,
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    header_confidentiality: HeaderConfidentialityName | HeaderConfidentiality | None = None,
    split_bcc: bool = False,
    action: SubmissionAction = "send",
    original: bytes | None = None,
    user: str = "me",
    wire: Wire = "text-plain",
    size_limit: int | None = 4 * 1024 * 1024,
    via: Via = "auto",
    save_to_sent_items: bool = True,
) -> SubmissionReport:
    """Say what would keep a message back on its way to Graph, by the code that sends; no request.

    With `signer` (a SigningKey, or several) and `recipients` (a list of AnyRecipient) the `message`
    (bytes, or an `email` Message) is signed, encrypted or sealed first, as `sign`, `encrypt` and
    `seal` do with the same `trust` (a TrustStore), `revocation` (a Revocation), `policy` (a
    Policy), `at` (a datetime) and `header_confidentiality` (a HeaderConfidentialityName or a
    HeaderConfidentiality); with `split_bcc` as `seal_copies` does. Without both it is what a client
    is given: finished bytes.

    `action` is a SubmissionAction, the name of the client's method. A reply goes to those of the
    `original`, the bytes of the message that is answered, whatever the answer says: without it
    nobody can say whether they are those it is encrypted for. `user`, `wire` (a Wire) and
    `size_limit` are the client's; `via` (a Via) and `save_to_sent_items` its `send`'s.

    The SubmissionReport has the errors that would be raised as `problems`, sizes, recipients, and
    findings of what else is worth knowing. Raises UsageError where the call makes no sense. What is
    signed with ECDSA may be some octets longer or shorter the next time.
    """
    signers = list(signer) if isinstance(signer, Sequence) else [signer]
    box = _mailbox.mailbox(user=user, wire=wire, size_limit=size_limit)
    protects = bool(signers or recipients or split_bcc)
    if not (protects or isinstance(message, bytes)):
        raise UsageError(
            f"the message is {type(message).__name__}, and a client is given bytes",
            hint="sign and seal give bytes; so does as_bytes(policy=email.policy.SMTP)",
        )
    raw = message if isinstance(message, bytes) else bytes(outgoing.as_octets(message))

    def prepare() -> Sequence[bytes]:
        if not protects:
            return [raw]
        if not (signers or split_bcc):
            made = sealing.encrypt(
                raw,
                recipients=recipients,
                trust=trust,
                revocation=revocation,
                policy=policy,
                at=at,
                header_confidentiality=header_confidentiality,
            )
        elif not (recipients or split_bcc):
            made = wrap.sign(raw, signer=signers, policy=policy, at=at)
        elif split_bcc:
            copies = sealing.seal_copies(
                raw,
                signer=signers,
                recipients=recipients,
                trust=trust,
                revocation=revocation,
                policy=policy,
                at=at,
                header_confidentiality=header_confidentiality,
            )
            return [one.message for one in copies]
        else:
            made = sealing.seal(
                raw,
                signer=signers,
                recipients=recipients,
                trust=trust,
                revocation=revocation,
                policy=policy,
                at=at,
                header_confidentiality=header_confidentiality,
            )
        return [made]

    return Plan(
        raw,
        prepare=prepare,
        as_it_is=lambda: raw,
        place=lambda: box,
        usual=box,
        recipients=lambda: recipients,
        is_encrypting=bool(recipients),
        signers=signers,
        policy=policy,
        at=at,
        action=action,
        original=original,
        via=via,
        save_to_sent_items=save_to_sent_items,
    ).check()


# --- what is worth knowing ------------------------------------------------------------------------


def unreadable_recipients(raw: bytes) -> list[Finding]:
    """Graph takes what it can read of an address field, and says nothing of the rest."""
    found: list[Finding] = []
    entity = Entity(raw)
    for name in ("To", "Cc", "Bcc"):
        for header in entity.all(name):
            try:
                parse_header_addresses(header.value)
            except MalformedMessage as error:
                text = f"{name} cannot be read, so nobody knows who of it gets the message: {error}"
                found.append(finding("graph.recipients.unreadable", name, text))
    return found


def _findings(made: bytes, raw: bytes, box: Mailbox) -> Iterator[Finding]:
    """Of what is submitted, and of the message as it was."""
    try:
        fields = [one for one in Entity(made).fields if one.name]
        yield from unreadable_recipients(raw)
    except MalformedMessage:
        return  # a problem that is told as one
    for header in fields:
        yield from _of_field(header, box)
    try:
        layers = [one.type for one in inspect(made) if not one.errant]
    except SmimeGraphError:
        layers = []
    if not any(one in ENCRYPTED for one in layers):
        signed = "it is signed" if "signed-data" in layers else "nobody signs it either"
        text = f"the message is not encrypted, so whoever carries it can read it; {signed}"
        yield finding("graph.not-encrypted", "message", text)
    if "auth-enveloped-data" in layers:
        text = (
            "authEnveloped-data is reported to arrive broken when it is sent through Graph, and few"
            " mail programs read it; enveloped-data (--policy exchange, or an AES-CBC cipher) is"
            " what arrives"
        )
        yield finding("graph.auth-enveloped", "message", text)
    if any(one.value for one in fields if one.name.lower() == "bcc"):
        if any(one in ENCRYPTED for one in layers):
            text = (
                "the message has Bcc recipients: whoever receives it sees in the encrypted message"
                " for whom it is"
            )
            yield finding("smime.bcc", "message", text)
        else:
            text = "that Graph takes Bcc out of what others receive is documented nowhere"
            yield finding("graph.bcc", "Bcc", text)


def _of_field(header: HeaderField, box: Mailbox) -> Iterator[Finding]:
    name, lower = header.name, header.name.lower()
    if lower == "return-path":
        text = f"{name} is replaced by the sender, as users of Graph report"
        yield finding("graph.header.replaced", name, text)
    elif lower.startswith("x-"):
        text = f"{name} may be lost on its first delivery"
        yield finding("graph.header.first-lost", name, text)
    elif lower not in _KEPT and not lower.startswith("content-"):
        text = f"{name} is not delivered, as users of Graph report"
        yield finding("graph.header.dropped", name, text)
    longest = max(len(line.rstrip(b"\r")) for line in header.raw.split(b"\n"))
    if longest > _LONGEST_LINE:
        text = f"{name} has a line of {longest} octets, wanted {_LONGEST_LINE} at most: fold it"
        yield finding("graph.header.long", name, text)
    if lower != "from":
        return
    shown, angle, _ = header.value.partition("<")
    if angle and "@" in decode_words(shown[:2000]):
        text = (
            "the name beside the address in From holds '@', which alone has made Graph answer"
            " ErrorSendAsDenied"
        )
        yield finding("graph.from.at-sign", "From", text)
    try:
        author = mailboxes(parse_header_addresses(header.value))
    except MalformedMessage:
        return
    if "@" in box.user and author and author.isdisjoint(mailboxes((box.user,))):
        text = (
            f"From is not {printable(box.user)}: that needs the right to send as, or on behalf of,"
            " the author"
        )
        yield finding("graph.send-as", "From", text)


def _expiring(
    signers: Sequence[SigningKey], everyone: Sequence[AnyRecipient], now: datetime
) -> Iterator[Finding]:
    whose = [(one.certificate, "sign with") for one in signers]
    whose += [(one.certificate, "encrypt to") for one in with_certificate(everyone)]
    for certificate, use in dict.fromkeys(whose):
        if now <= certificate.not_after <= now + SOON:
            days = (certificate.not_after - now).days
            text = (
                f"the certificate of {certificate.description} that is there to {use} expires in"
                f" {days} day{'' if days == 1 else 's'}, at {certificate.not_after:%Y-%m-%d %H:%M}"
            )
            yield finding("pki.certificate.expires-soon", certificate.description, text)


def _base64(raw: bytes) -> tuple[int, int]:
    """What base64 adds inside a message: to its attachments, and to the CMS in it."""
    attachments = cms = 0
    todo = [(raw, 0)]
    seen = 0
    while todo and seen < MAX_PARTS:
        octets, depth = todo.pop()
        seen += 1
        try:
            part = Entity(octets)
            kind = part.content_type
            if depth < MAX_DEPTH and kind.is_multipart:
                pieces = split_multipart(part.body, kind.parameters.get("boundary", "")).parts
                todo += [(one, depth + 1) for one in pieces if one is not None]
            elif depth < MAX_DEPTH and kind.value in MESSAGES:
                todo.append((part.body, depth + 1))
            elif part.transfer_encoding == "base64":
                added = len(part.body) - len(part.decoded_body())
                if kind.value in (*PKCS7_MIME, *PKCS7_SIGNATURE):
                    cms += added
                else:
                    attachments += added
        except MalformedMessage:
            continue
    return attachments, cms
