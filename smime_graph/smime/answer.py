"""Replies and forwards built from the original (RFC 5322 3.6.4, 3.6.5 and A.2). No I/O.

What is given is the opened message: its layers are taken off before. What is quoted from a message
that was encrypted may leave only encrypted (RFC 9787, "Composing and sending a reply"), which
`seal_answer` sees to. What of its header was encrypted must not stand outside either (RFC 9788
6.1): `reference_hcp` says what that is.

Whom an answer goes to, Microsoft Graph decides: a reply in MIME goes to the sender of the original
(documented), and whether Reply-To and the answer's own To and Cc count is not. So a reply that is
built names both From and Reply-To, and `check_addressees` holds any other against the original.
"""

from __future__ import annotations

import codecs
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import unescape
from typing import Any, Literal

from ..arguments import checked
from ..buffers import Data
from ..cms.keys import with_certificate
from ..cms.recipients.kinds import AnyRecipient
from ..errors import Hint, MalformedMessage, PolicyRefusal, UsageError
from ..pki.address import a_labels, mailbox, mailboxes, parse_header_addresses
from ..policy import EXCHANGE, Policy
from ..text import printable
from .attachments import Attachment
from .canonical import canonical_entity
from .entity import MAX_DEPTH, Entity, split_multipart
from .examine import inspect
from .fields import base_subject, decode_words, is_obscured
from .header_confidentiality import POLICIES as HCPS
from .header_confidentiality import HeaderConfidentiality
from .outgoing import emails
from .report import ENCRYPTED, Opened

Kind = Literal["reply", "reply-all", "forward"]

_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,900}>")
_MOST_REFERENCES = 50  # the first and the latest: RFC 5322 3.6.4 has no limit, relays do
_MOST_RECEIVERS = 1000  # Exchange Online delivers to no more
_MOST_QUOTED = 200_000  # characters of the original that are repeated in the answer


@checked
def answer(
    original: bytes | Opened,
    *,
    kind: Literal["reply", "reply-all", "forward"],
    sender: str,
    text: str = "",
    attachments: Sequence[Attachment] = (),
    to: Sequence[str] = (),
    at: datetime | None = None,
) -> EmailMessage:
    """The answer to `original`, ready to be sealed: `seal_answer` does that.

    `original` is the Opened of `unseal`, or a whole message in the clear. Whom a reply to an Opened
    goes to is read from its protected fields alone, where it has such; one whose From or Reply-To
    has another address outside, where Graph reads it, is not replied to (RFC 9788 4.4.4).

    `sender` becomes From, and gets no copy of a reply to all. A reply goes to Reply-To, with From
    in Cc if that is another; else to From; one to all also to To and Cc; a forward to `to`, which
    is for forwards only. Whoever is named must be able to read it: `seal` demands that. `text` is
    what is written above the quoted original; a forward carries the original as an attachment where
    it is more than its text. `attachments` is a list of Attachment. `at`, a datetime with a time
    zone, is the Date (now). The EmailMessage is not signed yet. Raises UsageError for addresses
    that are none, PolicyRefusal for an address that differs outside, and for an original that was
    encrypted and is not accepted; MalformedMessage if it has nobody to reply to or an address that
    cannot be read.
    """
    raw = original if isinstance(original, bytes) else original.raw
    source = addressing = _Original(Entity(raw))
    if isinstance(original, Opened):
        _must_be_accepted(original)
        addressing = _protected(original, source)
        if kind != "forward" and addressing is not source:
            _check_outside(original, addressing)
    moment = datetime.now(UTC) if at is None else at
    mine = _one_address(sender, "sender")
    made = EmailMessage(policy=SMTP)
    receivers, copies = _receivers(addressing, kind, mine, to)
    if len(receivers) + len(copies) > _MOST_RECEIVERS:
        raise UsageError(
            f"the answer would go to {len(receivers) + len(copies)} addresses, "
            f"at most {_MOST_RECEIVERS} are written to",
            hint="reply to the sender alone",
        )
    if not all(one.isascii() for one in (mine, *receivers, *copies)):
        made = EmailMessage(policy=SMTP.clone(utf8=True))  # RFC 6532
    try:
        made["From"] = mine
        made["To"] = ", ".join(receivers)
        if copies:
            made["Cc"] = ", ".join(copies)
        made["Subject"] = _writable(made, subject_of(kind, source.text("Subject")))
        made["Date"] = format_datetime(moment.astimezone(UTC))
        domain = mine.rpartition("@")[2]
        domain = a_labels(domain) or "localhost"
        made["Message-ID"] = f"<{uuid.uuid4()}@{domain}>"
    except (ValueError, IndexError, AttributeError) as error:
        raise UsageError(f"an address cannot be written into a header: {error}") from None
    thread = _thread(source)
    if thread and kind != "forward":
        made["In-Reply-To"] = thread[-1]
    if thread:
        made["References"] = " ".join(thread)
    try:
        made.set_content(_body(source, text, kind), cte="quoted-printable")
    except UnicodeEncodeError:
        raise UsageError(
            "the text holds half a character, which no charset can write",
            hint="decode it with the charset that it is in",
        ) from None
    for one in attachments:
        main, _, sub = one.content_type.partition("/")
        made.add_attachment(one.data, maintype=main, subtype=sub, filename=_clean(one.name))
    if kind == "forward" and not source.is_plain_text:
        # the whole of it, because HTML and attachments would be lost in the quoted text
        _attach(made, raw)
    return made


def _must_be_accepted(original: Opened) -> None:
    """Whoever puts somebody's ciphertext into a message of his own would be told what is in it."""
    report = original.report
    if not report.accepted and any(layer.type in ENCRYPTED for layer in report.whole):
        raise PolicyRefusal(
            "the original was encrypted, and it is not known who sent it: whoever did would read in"
            " the answer what may be for another",
            rule="answer.not-accepted",
            policy=EXCHANGE.name,
            hint="answer what unseal accepts; another policy may accept what nobody signed",
        )


def _protected(original: Opened, shown: _Original) -> _Original:
    """Where whom it is from and for is read; as it is shown where no From is protected."""
    protected = original.protected
    if protected is None or not protected.has("from"):
        return shown
    return _Original(Entity(b"".join(one.raw for one in protected.fields)))


def _check_outside(original: Opened, inside: _Original) -> None:
    """Graph knows the fields outside alone. Where these name somebody else, whoever changed them
    would get the answer, or what was encrypted for another would go to nobody.
    """
    if not original.outside:
        return  # an entity that is no message, and lies in no mailbox
    outside = _Original(Entity(original.outside), "what stands outside the original")
    for name in ("From", "Reply-To"):
        one, other = inside.addresses(name), outside.addresses(name)
        if mailboxes(tuple(one)) != mailboxes(tuple(other)):
            raise PolicyRefusal(
                f"the {name} that its sender protected is {_some(one)}, and outside, where Graph"
                f" reads whom an answer goes to, it is {_some(other)}",
                rule="answer.outer-differs",
                policy=EXCHANGE.name,
                hint="write to them in a message of its own; who changed it may want to read the"
                " answer",
            )


@checked
def reference_hcp(
    original: Opened,
    *,
    kind: Literal["reply", "reply-all", "forward"],
    sender: str,
    to: Sequence[str] = (),
    policy: Policy = EXCHANGE,
) -> HeaderConfidentiality | None:
    """What the answer to `original` must hide: a HeaderConfidentiality for `seal`, or None.

    `original` is the Opened of `unseal` or `decrypt`; `kind`, `sender` and `to` are those of
    `answer`. A field that would tell what stood in the original under its encryption alone gets the
    value that it would have if the original had been what its sender put outside: the Subject is
    "Re: [...]". RFC 9788 6.1.2 has this as ReferenceHCP; here it holds for the field, so that a
    Subject that was edited is hidden as well. Before it `policy`, a Policy, is asked what it hides.
    """
    protected = original.protected
    if protected is None or protected.outer is None:
        return None

    def respond(raw: bytes) -> dict[str, str]:
        try:
            made = answer(raw, kind=kind, sender=sender, to=to)
        except (MalformedMessage, UsageError):
            return {}  # from what stands outside alone nobody could answer it
        return {name.lower(): str(value) for name, value in made.items()}

    inside = respond(original.header + b"\r\n")
    fields = "".join(f"{name}: {value}\r\n" for name, value in protected.outer)
    outside = respond(fields.encode() + b"\r\n")
    hidden = {
        name: outside.get(name)
        for name, value in inside.items()
        if name not in _OWN and outside.get(name) != value
    }
    return _hiding(hidden, policy) if hidden else None


def _hiding(hidden: Mapping[str, str | None], policy: Policy) -> HeaderConfidentiality:
    """What the policy hides, and these fields, by their names in lower case."""
    own = HCPS.get(policy.header_confidentiality)

    def hcp(name: str, value: str) -> str | None:
        shown = value if own is None else own(name, value)
        return hidden.get(name.lower(), value) if shown == value else shown

    return hcp


def unopened_hcp(
    original: bytes, *, kind: Kind, policy: Policy = EXCHANGE
) -> HeaderConfidentiality | None:
    """As `reference_hcp`, where nobody opened the original: if what stands outside says that its
    Subject is hidden, the answer's may repeat what stands inside.
    """
    subject = _Original(Entity(original)).text("Subject")
    if not is_obscured(subject):
        return None
    try:
        if not _is_encrypted(original):
            return None
    except MalformedMessage:
        pass  # a damaged one may be readable for somebody
    return _hiding({"subject": subject_of(kind, subject)}, policy)


def tells_what_was_hidden(original: Opened, made: bytes) -> bool:
    """Whether a Subject or Thread-Topic that stands outside in `made` has the Subject in it that
    stood in `original` under its encryption alone.
    """
    protected = original.protected
    if protected is None or protected.outer is None:
        return False
    visible = {base_subject(text) for name, text in protected.outer if name.lower() == "subject"}
    inside = {base_subject(field.value) for field in protected.all("subject")}
    outside = Entity(made)
    shown = [base_subject(one.value) for name in _OF_SUBJECT for one in outside.all(name)]
    return any(text and text in one for text in inside - visible for one in shown)


_OF_SUBJECT = ("Subject", "Thread-Topic")


# of an answer, whatever it answers
_OWN = ("from", "date", "message-id", "mime-version", "content-type", "content-transfer-encoding")


def _attach(made: EmailMessage, original: bytes) -> None:
    """Attach the original in our canonical form, which what was signed in it survives: `email`
    would write it anew. One that has no such form is a file.
    """
    try:
        whole = canonical_entity(b"Content-Type: message/rfc822\r\n\r\n" + original, clear=True)
        text = Entity(whole).body.decode("ascii")
    except (MalformedMessage, UnicodeDecodeError):
        made.add_attachment(
            original, maintype="application", subtype="octet-stream", filename="original.eml"
        )
        return
    part = EmailMessage(policy=made.policy)
    part["Content-Type"] = "message/rfc822"
    part["Content-Disposition"] = "attachment"
    part.set_payload(text)
    if not made.is_multipart():
        made.make_mixed()
    made.attach(part)


def check_addressees(
    original: bytes,
    answer: bytes,
    *,
    kind: Kind,
    recipients: Sequence[AnyRecipient] = (),
    policy: Policy = EXCHANGE,
) -> list[str]:
    """Hold the header of an answer, and whom it is encrypted to, against whom Graph sends it to.

    `original` is the message as it lies in the mailbox. `answer` is what answers it, before it is
    sealed to `recipients` (the signers are none of them), or sealed already. A forward goes to
    those it names. Raises PolicyRefusal if it is, or will be, encrypted for somebody to whom Graph
    does not send it, or the author or who is in Reply-To cannot read it; MalformedMessage if nobody
    can say who that is. What is not as bad is returned, as texts for people.
    """
    if kind == "forward":
        return []
    source, made = _Original(Entity(original)), _Original(Entity(answer), "the answer")
    own = mailboxes(tuple(made.addresses("From")))
    first, others = _addressed(source, kind)
    addressed = mailboxes((*first, *others))
    named = _unique(one for name in ("To", "Cc", "Bcc") for one in made.addresses(name))
    shown = mailboxes(tuple(named))
    strangers = [one for one in named if mailbox(one) not in addressed | own]
    known = with_certificate(recipients)
    held = [emails(one) for one in known]
    strangers += [
        one[0] for one in held if one and mailboxes(one).isdisjoint(addressed | own | shown)
    ]
    goes_to = f"Graph sends it to {_some([*first, *others])}"
    found: list[str] = []
    if strangers:
        text = f"{goes_to}, not to {_some(strangers)}"
        if recipients or _is_encrypted(answer):
            raise PolicyRefusal(
                f"the answer is encrypted for others than it goes to: {text}",
                rule="answer.not-addressed",
                policy=policy.name,
                hint="send it as a message of its own, or encrypt it for those of the original",
            )
        found.append(f"the answer names others than it goes to: {text}")
    if recipients and len(known) == len(recipients):
        readers = mailboxes(tuple(address for one in held for address in one)) | own
        missing = [one for one in first if mailbox(one) not in readers]
        if missing:
            raise PolicyRefusal(
                f"no certificate is given for {_some(missing)}, to whom Graph may send the answer"
                " whatever its To says",
                rule="encrypt.recipient-without-certificate",
                policy=policy.name,
                hint="give the certificates of From and Reply-To of the original",
            )
        missing = [one for one in _unique(others) if mailbox(one) not in readers]
        if missing:
            found.append(f"Graph sends the answer to {_some(missing)} as well, who cannot read it")
    unnamed = [one for one in _unique([*first, *others]) if mailbox(one) not in shown | own]
    authors = [one for one in unnamed if one in source.addresses("From")]
    if authors and named and not recipients and _is_encrypted(answer):
        raise PolicyRefusal(
            f"the answer was encrypted for {_some(named)}: {goes_to}",
            rule="answer.not-addressed",
            policy=policy.name,
            hint="name the author of the original, and encrypt it for them",
        )
    if unnamed and not strangers:
        found.append(
            f"Graph may send the answer to {_some(unnamed)} as well, whom it does not name"
        )
    return found


def addressees(original: bytes, kind: Kind) -> list[str]:
    """Whom Graph may send a reply to, each once; raises as `check_addressees` does."""
    first, others = _addressed(_Original(Entity(original)), kind)
    return _unique([*first, *others])


def meant(original: Opened, kind: Kind) -> list[str]:
    """Whom its sender meant an answer for: as `addressees`, by the protected fields where the
    original has such. What was added to To and Cc outside names nobody who may read it.
    """
    first, others = _addressed(_protected(original, _Original(Entity(original.raw))), kind)
    return [*first, *others]


def _addressed(source: _Original, kind: Kind) -> tuple[list[str], list[str]]:
    """The author and who is in Reply-To, and the others that a reply to all goes to."""
    first = _unique([*source.addresses("From"), *source.addresses("Reply-To")])
    return first, [] if kind == "reply" else [*source.addresses("To"), *source.addresses("Cc")]


def _some(addresses: Sequence[str]) -> str:
    shown = ", ".join(addresses[:10])
    return f"{shown} and {len(addresses) - 10} more" if len(addresses) > 10 else shown or "nobody"


def _is_encrypted(message: bytes) -> bool:
    return any(layer.type in ENCRYPTED for layer in inspect(message))


class _Original:
    """What an answer needs of the original, read without believing any of it."""

    def __init__(self, entity: Entity[bytes], what: str = "the original") -> None:
        self._entity = entity
        self._what = what

    def text(self, name: str) -> str:
        """A header field for people: decoded, in one line, without control characters."""
        return _clean(decode_words((self._entity.get(name) or "")[:2000]))

    def addresses(self, name: str) -> list[str]:
        found: list[str] = []
        for one in self._entity.all(name):
            try:
                found += parse_header_addresses(one.value)
            except MalformedMessage as error:
                raise MalformedMessage(
                    f"{name} of {self._what}: {error}",
                    hint="write the answer yourself and give it as MESSAGE",
                ) from None
        return found

    def ids(self, name: str) -> list[str]:
        return _MESSAGE_ID.findall((self._entity.get(name) or "")[:100_000])

    @property
    def is_plain_text(self) -> bool:
        return self._entity.content_type.value == "text/plain"

    @property
    def body(self) -> str:
        """Its text, the plain form first; empty if it has none."""
        found = dict(reversed([*_texts(self._entity, 0)]))
        if "text/plain" in found:
            return found["text/plain"]
        return _text_of_html(found["text/html"]) if "text/html" in found else ""


def _texts(entity: Entity[bytes], depth: int) -> Iterable[tuple[str, str]]:
    """Content type and text of every part that can be shown and is no attachment."""
    kind = entity.content_type
    disposition = (entity.get("Content-Disposition") or "").strip().lower()
    if kind.is_multipart and depth < MAX_DEPTH:
        boundary = kind.parameters.get("boundary", "")
        try:
            parts = split_multipart(entity.body, boundary).parts
        except MalformedMessage:
            return
        for part in parts[:100]:
            yield from _texts(Entity(part or b"", default=kind.default_inside), depth + 1)
    elif kind.value in ("text/plain", "text/html") and not disposition.startswith("attachment"):
        try:
            octets = entity.decoded_body()
        except MalformedMessage:
            return
        yield kind.value, _decoded(octets, kind.parameters.get("charset", "utf-8"))


def _decoded(body: Data, charset: str) -> str:
    octets = bytes(body[: 4 * _MOST_QUOTED])
    try:
        name = "utf-8" if codecs.lookup(charset).name in _NO_CHARSETS else charset
        text = octets.decode(name, "replace")
    except (LookupError, ValueError):
        text = octets.decode("utf-8", "replace")
    return text[:_MOST_QUOTED].encode("utf-8", "replace").decode()  # without halves of characters


# codecs of Python that decode to text, and are nobody's charset: the first is quadratic
_NO_CHARSETS = ("punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined")


_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_HIDDEN = re.compile(r"<(script|style|head|title)\b.*?(?:</\1\s*+>|\Z)", re.DOTALL | re.IGNORECASE)
_BREAK = re.compile(r"<(?:br|/?(?:p|div|tr|li|h[1-6]|blockquote))\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z!][^<>]*>", re.IGNORECASE)


def _text_of_html(html: str) -> str:
    """The words of an HTML text; nothing in it is loaded or run.

    Not by html.parser, which is quadratic in tags and comments that do not end: each of these
    expressions passes over the text once.
    """
    text = _HIDDEN.sub(" ", _COMMENT.sub(" ", html))
    text = _TAG.sub("", _BREAK.sub("\n", re.sub(r"\s+", " ", text)))
    lines = (" ".join(line.split()) for line in unescape(text).split("\n"))
    return "\n".join(line for line in lines if line)


def _writable(made: EmailMessage, subject: str) -> str:
    """`email` decodes what still looks like an encoded-word, and cannot always write the result."""
    header: Any = made.policy.header_factory("Subject", subject)  # type: ignore[attr-defined]
    try:
        header.fold(policy=made.policy).encode()
    except UnicodeError:
        text = str(header).encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        return _clean(text.replace("=?", "= ?"))
    return subject


def _clean(text: str) -> str:
    return printable(text, other=" ").strip()


def _one_address(text: str, what: str) -> str:
    try:
        found = parse_header_addresses(text)
    except MalformedMessage:
        found = ()
    if len(found) != 1:
        raise UsageError(f"{what} is {text!r}, wanted one address like alice@contoso.com")
    return found[0]


def _receivers(
    source: _Original, kind: Kind, mine: str, to: Sequence[str]
) -> tuple[list[str], list[str]]:
    if kind == "forward":
        if not to:
            raise UsageError("nobody to forward to", hint=Hint("name them: to=[...]", "to"))
        return [_one_address(one, "to") for one in to], []
    if to:
        raise UsageError("a reply goes to those of the original", hint="forward it instead")
    authors = source.addresses("From")
    receivers = _unique(source.addresses("Reply-To") or authors)
    if not receivers:
        raise MalformedMessage(
            "the original names nobody to reply to", hint="forward it to somebody instead"
        )
    main, copies = receivers, authors
    if kind == "reply-all":
        everyone = _unique([*receivers, *source.addresses("To")])
        main = [one for one in everyone if _key(one) != _key(mine)] or receivers
        copies = [*authors, *source.addresses("Cc")]
    named = {_key(one) for one in (mine, *main)}
    return main, [one for one in _unique(copies) if _key(one) not in named]


def _unique(found: Iterable[str]) -> list[str]:
    """Each once, where and as it stands first."""
    once: dict[object, str] = {}
    for one in found:
        once.setdefault(_key(one), one)
    return list(once.values())


def _key(address: str) -> object:
    return mailbox(address) or address


def subject_of(kind: Kind, subject: str) -> str:
    """The Subject of an answer: "Re: " or "Fwd: " in front, and never twice."""
    known, prefix = (("fwd:", "fw:"), "Fwd:") if kind == "forward" else (("re:",), "Re:")
    if subject.lower().startswith(known):
        return subject
    return f"{prefix} {subject}".strip()


def _thread(source: _Original) -> list[str]:
    """The References of the answer (RFC 5322 3.6.4); the last is the original's own Message-ID."""
    own = source.ids("Message-ID")[:1]
    if not own:
        return []
    before = source.ids("References")
    if not before and len(replied := source.ids("In-Reply-To")) == 1:
        before = replied
    thread = list(dict.fromkeys([*before, *own]))
    if len(thread) > _MOST_REFERENCES:
        thread = [thread[0], *thread[-_MOST_REFERENCES + 1 :]]
    return thread


def _body(source: _Original, text: str, kind: Kind) -> str:
    above = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    quoted = source.body.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    if kind == "forward":
        shown = ("From", "Date", "Subject", "To", "Cc")
        fields = [f"{name}: {value}" for name in shown if (value := source.text(name))]
        lines = ["---------- Forwarded message ----------", *fields, "", quoted]
    else:
        author = source.text("From") or "somebody"
        date = source.text("Date")
        lines = [f"On {date}, {author} wrote:" if date else f"{author} wrote:"]
        lines += [
            f">{line}" if line.startswith(">") else f"> {line}" for line in quoted.split("\n")
        ]
    return "\n".join([*([above, ""] if above else []), *lines]) + "\n"
