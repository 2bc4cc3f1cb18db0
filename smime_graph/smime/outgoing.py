"""The message that goes out: what of it stays outside, what goes inside, and what keeps it back.

Every refusal that is made before anything is signed or encrypted is made here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..buffers import (
    CHUNK,
    LARGE,
    B,
    D,
    Data,
    Readable,
    Rope,
    chunks,
    joined,
    read_message,
    rope,
)
from ..cms import receipt_request
from ..cms.keys import Recipient, SigningKey, with_certificate
from ..cms.labels import SecurityLabel, security_label
from ..errors import Hint, MalformedMessage, PolicyRefusal, SmimeGraphError, UsageError
from ..findings import Finding, Severity, finding
from ..pki.address import a_labels, addresses, mailbox, mailboxes, parse_header_addresses
from ..pki.validate import validate
from ..policy import Policy
from ..x509.certificate import Certificate
from .canonical import canonical_entity, encode_base64, has_data_lines
from .entity import MAX_HEADER, MESSAGES, Entity, HeaderField, claims_to_be_cms
from .fields import folded_fields
from .header_confidentiality import (
    HeaderConfidentiality,
    check_size,
    display_lines,
    hidden_fields,
    inner_fields,
    outer_records,
    to_protect,
    with_hp,
)
from .header_protection import HP_OUTER, HeaderProtection, without_hp

if TYPE_CHECKING:
    from ..cms.receipt_request import ReceiptRequest
    from ..cms.recipients.kinds import AnyRecipient
    from ..pki.revocation import Revocation
    from ..pki.trust import TrustStore

_HIDDEN = ("bcc", "resent-bcc")
_NAMED = ("to", "cc", "resent-to", "resent-cc")
_HEADER_HINT = "a message begins with fields like From:, To: and Subject:, then a blank line"


def emails(recipient: Recipient) -> tuple[str, ...]:
    """The addresses of somebody with a certificate: those it binds, and the one that was named."""
    named = () if recipient.email is None else (recipient.email,)
    return (*addresses(recipient.certificate), *named)


def _warn(found: Finding) -> None:
    """What a sender should know and need not change.

    Not by `warnings`: whoever makes errors of them would lose a message that is right. Without any
    set-up Python writes these to standard error.
    """
    import logging  # only here: it costs as much as a signature

    logging.getLogger("smime_graph").warning("%s [%s]", found.text, found.code)


def without_certificate(wanted: Sequence[str], everyone: Sequence[AnyRecipient]) -> list[str]:
    """Which of these addresses are nobody's of the recipients'."""
    known = with_certificate(everyone)
    if len(known) < len(everyone):
        return []  # who knows the password is not for us to say
    readers = mailboxes(tuple(address for one in known for address in emails(one)))
    return [one for one in wanted if mailbox(one) not in readers]


class Outgoing:
    """A message taken apart: the fields that stay outside, and the entity that goes inside.

    `protect` copies the first into the second.
    """

    __slots__ = (
        *("_display", "_header", "_inner", "_intent", "_one", "_outer", "_protected"),
        *("at", "message", "policy"),
    )

    def __init__(self, message: Entity[Data], policy: Policy, at: datetime) -> None:
        self.message = message
        self.policy = policy
        self.at = at
        self._one: str | None = None  # whom alone it is for, of Bcc
        self._inner = message.mime_fields
        self._outer = message.other_fields
        if message.all(HP_OUTER):
            # it means nothing outside (RFC 9788 2.2), and may name what is to be hidden
            self._outer = [one for one in self._outer if one.name.lower() != HP_OUTER]
        self._protected = b""
        self._intent: HeaderProtection | None = None
        self._display = ""
        self._header: bytes | None = None  # what stands outside what is protected

    @classmethod
    def of(
        cls, message: bytes | Message | Path | Readable, policy: Policy, at: datetime | None
    ) -> Outgoing:
        """PolicyRefusal if the policy sends nothing, MalformedMessage if this is no message."""
        if not policy.sends:
            raise PolicyRefusal(
                f"policy {policy.name} is for reading, it sends nothing",
                rule="policy.sends",
                policy=policy.name,
                hint=Hint("choose a policy that sends, for example exchange", "policy"),
            )
        moment = datetime.now(UTC) if at is None else at
        entity = Entity(as_octets(message))
        if nameless := entity.all(""):
            raise MalformedMessage(
                f"header line {entity.fields.index(nameless[0]) + 1} is no header field: "
                f"{nameless[0].raw[:40]!r}",
                hint=_HEADER_HINT,
            )
        if not entity.fields:
            raise MalformedMessage(
                "the message has no header",
                hint=_HEADER_HINT,
            )
        return cls(entity, policy, moment)

    def addresses(self, *names: str) -> list[str]:
        """The addr-specs of all fields of these names. MalformedMessage if one cannot be read."""
        found: list[str] = []
        for name in names:
            for field in self.message.all(name):
                try:
                    found += parse_header_addresses(field.value)
                except MalformedMessage as error:
                    raise MalformedMessage(f"{name}: {error}") from None
        return found

    def without_bcc(self) -> Outgoing:
        """This message as those in To and Cc get it (RFC 5322 3.6.3)."""
        made = copy(self)
        made._outer = [one for one in self._outer if one.name.lower() not in _HIDDEN]
        return made

    def for_one(self, address: str) -> Outgoing:
        """This message for somebody in Bcc alone (RFC 9787 9.4.1).

        It has a Message-ID of its own: it is another message, and mailboxes take two of one id for
        one. It is always the same, so that a copy that is made again is not sent again. Outside it
        names no recipient but this one; To and Cc stand inside.
        """
        made = self.without_bcc()
        made._one = address
        if (message_id := self.message.get("Message-ID")) is not None:
            text = repr((message_id, mailbox(address) or address))
            left = sha256(text.encode("utf-8", "replace")).hexdigest()[:40]
            line = f"Message-ID: <{left}@{_domain(self.message)}>\r\n"
            fresh = HeaderField("Message-ID", line.encode())
            kept = [one for one in made._outer if one.name.lower() != "message-id"]
            made._outer = [fresh, *kept]
        return made

    def _outside(self) -> Sequence[HeaderField]:
        """The fields that stand outside."""
        if self._one is None:
            return self._outer
        kept = [one for one in self._outer if one.name.lower() not in _NAMED]
        return [*kept, HeaderField("To", f"To: {self._one}\r\n".encode())]

    def check_signers(self, signers: Sequence[SigningKey]) -> None:
        for signer in signers:
            self._check(signer.certificate, "sign", None)
        if not self.policy.sender_must_match:
            return
        if (count := len(self.message.all("From"))) > 1:
            # RFC 5322 3.6 allows one; which of several a reader is shown is anybody's guess
            raise MalformedMessage(
                f"the message has {count} From fields",
                hint="keep the one with the signer's address",
            )
        senders = self.addresses("From", "Sender")
        if not senders:
            raise MalformedMessage(
                "the message has no From", hint="add a From field with the signer's address"
            )
        held = [one for signer in signers for one in addresses(signer.certificate)]
        if mailboxes(tuple(senders)).isdisjoint(mailboxes(tuple(held))):
            raise PolicyRefusal(
                f"From is {', '.join(senders)}, but the signer is "
                f"{', '.join(held) or signers[0].certificate.description}",
                rule="pki.address.mismatch",
                policy=self.policy.name,
                hint="sign with a certificate of the From address, or change From",
            )
        self._check_wrapped(held)

    def _check_wrapped(self, held: Sequence[str]) -> None:
        """A content that is a message is shown as the message (RFC 8551 3.1), with its From."""
        if self.message.content_type.value not in MESSAGES:
            return
        try:
            fields = Entity(self.message.decoded_body()).all("From")
        except MalformedMessage:
            return  # nobody can show it
        for field in fields:
            try:
                authors = parse_header_addresses(field.value)
            except MalformedMessage as error:
                raise MalformedMessage(f"From of the message inside: {error}") from None
            if mailboxes(tuple(authors)).isdisjoint(mailboxes(tuple(held))):
                raise PolicyRefusal(
                    f"the whole content is a message from {', '.join(authors[:5]) or 'nobody'},"
                    f" which readers show as the message, but the signer is {', '.join(held[:5])}",
                    rule="pki.address.mismatch",
                    policy=self.policy.name,
                    hint="attach it: in a multipart/mixed it is shown as what it is",
                )

    def check_recipients(
        self,
        everyone: Sequence[AnyRecipient],
        trust: TrustStore | None,
        revocation: Revocation | None = None,
        *,
        is_split: bool = False,
    ) -> None:
        """Whether all can read it, and may. `is_split`: those in Bcc get copies of their own."""
        if not everyone:
            raise UsageError("nobody to encrypt to", hint="give the certificate of every recipient")
        if revocation is not None and trust is None:
            raise UsageError(
                "revocation is judged of a certificate that a believed root has issued, and no root"
                " is believed",
                hint=Hint("give the roots as well", "trust"),
            )
        known = with_certificate(everyone)
        for recipient in known:
            self._check(recipient.certificate, "encrypt", trust, revocation)
        if not is_split and known and any(field.value for field in self.message.all("Bcc")):
            # a RecipientInfo names a certificate
            text = (
                "the message has Bcc recipients: whoever receives it sees in the encrypted message"
                " for whom it is"
            )
            _warn(finding("smime.bcc", "message", text))
        if not self.policy.every_recipient_must_read:
            return
        if without := without_certificate(self.addresses("To", "Cc", "Bcc"), everyone):
            raise PolicyRefusal(
                f"no certificate is given for {', '.join(dict.fromkeys(without))}",
                rule="encrypt.recipient-without-certificate",
                policy=self.policy.name,
                hint=Hint(
                    "give a certificate for each recipient, or send to these separately",
                    "recipients",
                ),
            )

    def _check(
        self,
        certificate: Certificate,
        use: str,
        trust: TrustStore | None,
        revocation: Revocation | None = None,
    ) -> None:
        report = validate(
            certificate,
            use="sign" if use == "sign" else "encrypt",
            trust=trust,
            at=self.at,
            minimum_rsa_bits=self.policy.minimum_rsa_bits,
            accept_weak=self.policy.accept_weak_certificates,
            accept_any_purpose=self.policy.accept_any_purpose,
        )
        if revocation is not None and trust is not None and report.ok:
            from ..pki.revocation import with_revocation  # few senders ask for it

            inquiry = None if revocation.fetch is None else revocation.fetch.inquire()
            report = with_revocation(
                report, revocation, at=self.at, certificates=trust.certificates, inquiry=inquiry
            )
            for one in report.findings:
                if one.severity is Severity.WARNING and one.code.startswith("pki.revocation."):
                    _warn(one)
        if not report.ok:
            texts = "; ".join(f.text for f in report.errors)
            raise PolicyRefusal(
                f"the certificate of {certificate.description} cannot be used to {use}: {texts}",
                rule=report.errors[0].code,
                policy=self.policy.name,
                hint=_hint_for(report.errors[0].code),
            )

    def services(
        self, request: ReceiptRequest | None, label: SecurityLabel | None
    ) -> tuple[bytes, ...]:
        """The attributes of RFC 2634: once, so that all signers sign the same (2.2.1, 3.1.1)."""
        found: list[bytes] = []
        if request is not None:
            if not request.identifier:
                user = (self.addresses("From", "Sender") or ["unknown"])[0]
                fresh = receipt_request.new_identifier(user, self.at)
                request = replace(request, identifier=fresh)
            found.append(receipt_request.write_request(request))
        if label is not None:
            found.append(security_label(label))
        return tuple(found)

    def protect(
        self, intent: HeaderProtection, confidentiality: HeaderConfidentiality | None = None
    ) -> None:
        """Copy the fields of outside into what is protected (RFC 9788 5.2.1).

        `intent` is cipher for what will be encrypted, and of that alone something is hidden, as
        `confidentiality` says. What is signed or encrypted already is no Cryptographic Payload (RFC
        9787 4.3), and gets no fields. MalformedMessage for a header that cannot be written twice,
        UsageError where nothing can be hidden.
        """
        if claims_to_be_cms(self.message):
            if confidentiality is not None:
                raise UsageError(
                    "the message is signed or encrypted already, so no field of it can be hidden",
                    hint="seal the message as it was before, or hide nothing",
                )
            return
        self._intent = intent
        missing = missing_fields(self.message, self.at)
        added = [HeaderField(one.partition(b":")[0].decode(), one) for one in missing]
        inside, above = inner_fields([*to_protect(self._outer), *added])
        shown = [*self._outside(), *added]
        self._protected = above
        if intent == "cipher":
            hidden: list[HeaderField] = []
            if confidentiality is not None:
                shown, hidden = hidden_fields(shown, confidentiality)
                self._display = display_lines(hidden)
            if hidden or self._one is not None:
                inside, above = inner_fields(to_protect(shown))
            self._protected += outer_records(inside)
        check_size(self._protected)
        # what may stand inside as it is may stand outside, too
        self._header = above if inside == shown else folded_fields(shown)

    def entity(self, *, clear: bool) -> bytes | Rope:
        """What goes inside, canonical: the MIME fields, those that are protected, and the body."""
        end = b"\r\n" if self.message.header.endswith(b"\r\n") else b"\n"
        has_type = bool(self.message.all("Content-Type"))
        body, inner = self.message.body, self._inner
        above, beginning = self._protected, b""
        if self._one is not None and self._intent is None:
            above = b"".join([one.raw for one in self._outer if one.name.lower() in ("to", "cc")])
        if not has_type:
            # an entity without a header has been seen to lose its body (Thunderbird bug 1893039)
            inner = [HeaderField("Content-Type", _default_content_type(body)), *inner]
        if self._intent is not None:
            inner = [*map(without_hp, inner)]
            if self._display:
                from .legacy_display import add_display, display_above  # of few messages

                header = b"".join([*[one.raw for one in inner], end])
                if isinstance(body, bytes):
                    shown = Entity(add_display(header + body, self._display))
                    body, inner = shown.body, list(shown.fields)
                else:
                    beginning, body = display_above(header, body, self._display)
            typed = next(n for n, one in enumerate(inner) if one.name.lower() == "content-type")
            inner[typed] = with_hp(inner[typed], self._intent)
        if has_type and isinstance(body, bytes):
            made = self.message.narrowed(inner, end, body, above=above)
            whole = canonical_entity(made, clear=clear)
        else:
            fields = [above, *[field.raw for field in inner]]
            if not isinstance(body, bytes):
                from .large import canonical_large  # few messages are

                return canonical_large(b"".join([*fields, end, beginning]), body, clear=clear)
            whole = canonical_entity(b"".join([*fields, end, body]), clear=clear)
        # what is made of a rope is put together once: fresh memory costs more than the cipher
        return rope([whole]) if len(whole) > CHUNK else whole

    def assemble(self, entity: B) -> B:
        """The fields that stay outside, those that were missing, and the entity with its own."""
        header = self._header
        if header is None:
            missing = missing_fields(self.message, self.at)
            header = b"".join([folded_fields(self._outside()), *missing])
        return cast("B", joined([header, b"MIME-Version: 1.0\r\n", entity]))


def _hint_for(code: str) -> str:
    """What to do about a certificate of which this is said."""
    if code in ("pki.path.none", "pki.path.invalid", "pki.trust.no-anchors"):
        return Hint("give the root that issued it, if you believe it", "root")
    if code == "pki.revocation.unknown":
        return "give the CRL of its authority, or let it be fetched"
    if code == "pki.path.not-yet-valid":
        return Hint("say when it is to be used", "at", before="check the clock, or ")
    return "use another certificate of this person"


def missing_fields(message: Entity[D], at: datetime) -> list[bytes]:
    """Message-ID and Date for a message that lacks them.

    The id is fixed before signing and before a send, so that a send whose answer is lost can be
    looked up by it.
    """
    fields: list[bytes] = []
    if not message.all("Message-ID"):
        fields.append(_message_id(message))
    if not message.all("Date"):
        fields.append(f"Date: {format_datetime(at.astimezone(UTC))}\r\n".encode())
    return fields


def _message_id(message: Entity[D]) -> bytes:
    import uuid  # only here: it costs as much as the rest of this module

    return f"Message-ID: <{uuid.uuid4()}@{_domain(message)}>\r\n".encode()


def _domain(message: Entity[D]) -> str:
    """The author's, for a Message-ID."""
    try:
        domain = parse_header_addresses(message.all("From")[0].value)[0].rpartition("@")[2]
        return a_labels(domain) or "localhost"
    except (MalformedMessage, IndexError):
        return "localhost"


def as_octets(message: bytes | Message | Path | Readable) -> Data:
    """The message; a view where it is large."""
    raw = message if type(message) is bytes else _read(message)
    if len(raw) > LARGE:
        view = memoryview(raw)
        separator = re.match(rb"From [^\r\n]*\r?\n", view)
        if b"\n" in bytes(view[: MAX_HEADER + 1]):
            return view[0 if separator is None else separator.end() :]
    return _with_lines(bytes(raw))


def _read(message: bytes | Message | Path | Readable) -> Data:
    if isinstance(message, Message):
        try:
            # cte_type 8bit: our own canonical form decides what becomes 7-bit, and says so
            ours = message.policy.clone(linesep="\r\n", cte_type="8bit")
            return _with_octets_encoded(message).as_bytes(policy=ours)
        except SmimeGraphError:
            raise
        except Exception as error:
            raise MalformedMessage(f"the message cannot be written: {error}") from error
    return read_message(message)


def _with_lines(raw: bytes) -> bytes:
    if raw.startswith(b"From ") and re.match(rb"From [^\r\n]*\r?\n", raw):
        raw = raw[raw.index(b"\n") + 1 :]  # the separator line of a mailbox file
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")  # line ends of a classic Macintosh
        if has_data_lines(raw):
            raise MalformedMessage(
                "all line ends are bare CRs, and so are those in a part that is no text",
                hint="give the message with CRLF, and such parts in base64",
            )
    return raw


def _with_octets_encoded(message: Message) -> Message:
    """The message, with base64 for what `email` would write with other line ends: it does so with
    every part, text or not.
    """
    at_stake = [number for number, part in enumerate(message.walk()) if _is_at_stake(part)]
    if not at_stake:
        return message
    copied = deepcopy(message)
    parts = list(copied.walk())
    signed = {
        id(inner)
        for part in parts
        if part.get_content_type() == "multipart/signed"
        for inner in part.walk()
    }
    for part in (parts[number] for number in at_stake):
        kind = part.get_content_type()
        if id(part) in signed or kind.startswith("multipart/"):
            raise MalformedMessage(
                f"a part that is {kind}, or in a multipart/signed, has line ends other than CRLF,"
                " which `email` would change",
                hint="give the message as bytes, as it was received",
            )
        data = part.get_payload(decode=True)
        del part["Content-Transfer-Encoding"]
        part["Content-Transfer-Encoding"] = "base64"
        part.set_payload(encode_base64(data if isinstance(data, bytes) else b"").decode())
    return copied


def _is_at_stake(part: Message) -> bool:
    payload = part.get_payload()
    if not isinstance(payload, str) or ("\n" not in payload and "\r" not in payload):
        return False
    if _is_plainly_text(part) and "\0" not in payload and "=00" not in payload:
        return False
    if str(part.get("Content-Transfer-Encoding", "")).strip().lower() == "base64":
        return False
    names = ("Content-Type", "Content-Transfer-Encoding")
    header = "".join(f"{name}: {part[name]}\n" for name in names if name in part)
    entity = f"{header}\n{payload}".encode("utf-8", "surrogateescape")
    return has_data_lines(entity, rewrite=lambda body: re.sub(rb"\r\n?|\n", b"\r\n", body))


def _is_plainly_text(part: Message) -> bool:
    """Whether its header says so in words that need no parser: that of `email` takes longer than a
    signature.
    """
    given: dict[str, str] = {}
    for name, value in part.raw_items():
        given.setdefault(name.lower(), str(value))
    return (
        _TEXT.fullmatch(given.get("content-type", "text/plain")) is not None
        and given.get("content-transfer-encoding", "7bit") in _TEXT_ENCODINGS
    )


_TEXT = re.compile(r'text/[a-z]+(?:; ?charset="?(?:us-ascii|utf-8|iso-8859-1|windows-1252)"?)?')
_TEXT_ENCODINGS = ("7bit", "8bit", "quoted-printable")


def _default_content_type(body: Data) -> bytes:
    charset = "us-ascii"
    if not all(bytes(chunk).isascii() for chunk in chunks(body)):
        try:
            bytes(body).decode("utf-8")
            charset = "utf-8"
        except UnicodeDecodeError:
            charset = "unknown-8bit"  # RFC 1428: what a gateway says of such text
    return f"Content-Type: text/plain; charset={charset}\n".encode()
