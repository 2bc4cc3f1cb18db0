"""What comes in by SMTP, made what goes out: completed, signed by its sender's key, encrypted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ..errors import MalformedMessage, PolicyRefusal
from ..pki.address import addresses, mailbox, mailboxes, parse_header_addresses
from ..pki.contacts import Contacts
from ..pki.identity import Contact, Identity
from ..pki.revocation import Revocation
from ..pki.trust import TrustStore
from ..policy import Policy
from ..smime import sealing, wrap
from ..smime.entity import Entity, HeaderField
from ..smime.lines import crlf
from ..smime.outgoing import missing_fields
from ..submission.envelope import bcc_field, compare, resent
from ..text import printable
from ..x509.certificate import Certificate
from .users import User


class NobodyKnows(PolicyRefusal):
    """Recipients without a certificate: `missing` are their addresses."""

    def __init__(self, missing: Sequence[str], policy: str) -> None:
        super().__init__(
            f"no certificate for {', '.join(missing)}",
            rule="encrypt.recipient-without-certificate",
            policy=policy,
        )
        self.missing = tuple(missing)


@dataclass(frozen=True, slots=True)
class Submission:
    """A message as it was meant: with a From, its recipients in To, Cc and Bcc, and a Message-ID.

    `identity` is its sender's. It is the same octets for what is handed in again; it has a Date
    only if its sender gave one: `dated` has that of `at`, when it came in.
    """

    raw: bytes = field(repr=False)
    sender: str
    identity: Identity
    at: datetime = field(compare=False)

    @property
    def dated(self) -> bytes:
        return b"".join([*missing_fields(Entity(self.raw), self.at), self.raw])

    @property
    def recipients(self) -> list[str]:
        fields = Entity(self.raw).fields
        return list(compare(fields, ()).named)

    @property
    def named(self) -> str:
        """What it is called in a log."""
        return printable(f"message {Entity(self.raw).get('Message-ID')} of {self.sender}")


class Sealer:
    """Signs with the key of whoever is in From, and encrypts to those whom the book at `book` has
    certificates of. `revocation` is asked with each message: a CRL holds for a day. Any thread may
    use it.
    """

    def __init__(
        self,
        identities: Sequence[Identity],
        *,
        book: str | None,
        trust: TrustStore | None,
        policy: Policy,
        revocation: Callable[[], Revocation | None] = lambda: None,
    ) -> None:
        self.identities = tuple(identities)
        self._revocation = revocation
        self._book, self._trust, self._policy = book, trust, policy

    # --- what was meant ---------------------------------------------------------------------------

    def complete(
        self, raw: bytes, *, mail_from: str, recipients: Sequence[str], user: User | None = None
    ) -> Submission:
        """MalformedMessage for what is no message, PolicyRefusal for what must not go out so."""
        entity = Entity(raw)
        fields = [HeaderField(one.name, crlf(one.raw)) for one in entity.fields]
        if not fields or not all(one.name for one in fields):
            raise MalformedMessage("the message has no header, or a line in it that is no field")
        if (name := resent(fields)) is not None:
            raise MalformedMessage(
                f"the message was sent before, and {name} names who gets it now: forward it as a"
                " message of its own"
            )
        found = compare(fields, recipients)
        if found.others:
            raise PolicyRefusal(
                f"the header names {', '.join(found.others[:10])}, whom the envelope does not:"
                " Graph would send it to them as well",
                rule="gateway.envelope",
                policy=self._policy.name,
            )
        if found.unseen:
            fields.append(bcc_field(found.unseen))
        if not any(one.name.lower() == "from" for one in fields):
            parse_header_addresses(mail_from)  # the envelope's alone says who writes
            fields.append(HeaderField("From", f"From: {mail_from}\r\n".encode()))
        sender = _author(fields)
        for one in (sender, *_named(fields, "sender")):
            if user is not None and user.senders is not None and mailbox(one) not in user.senders:
                raise PolicyRefusal(
                    f"{user.name} may not send as {one}",
                    rule="gateway.sender",
                    policy=self._policy.name,
                )
        added = _same_id(fields, raw, mail_from, recipients)
        header = b"".join(one.raw for one in (*fields, *added))
        whole, now = b"".join([header, b"\r\n", entity.body]), datetime.now(UTC)
        names = [one for one in missing_fields(Entity(whole), now) if not one.startswith(b"Date:")]
        return self.of(b"".join([*names, whole]), now)

    def of(self, raw: bytes, at: datetime) -> Submission:
        """What `complete` made, and when."""
        sender = _author(Entity(raw).fields)
        return Submission(raw, sender, self._identity(sender), at)

    def _identity(self, sender: str) -> Identity:
        """The sender's key that is good now, for longest; where none is, what is wrong with one is
        said when it is used.
        """
        wanted, now = mailbox(sender), datetime.now(UTC)
        held = [
            one
            for one in self.identities
            if wanted is not None and wanted in mailboxes(addresses(one.certificate))
        ]
        if not held:
            raise PolicyRefusal(
                f"no key of {sender} is here to sign with",
                rule="gateway.sender",
                policy=self._policy.name,
            )
        good = [o for o in held if o.certificate.not_before <= now <= o.certificate.not_after]
        return max(good or held, key=lambda one: one.certificate.not_after)

    # --- what goes out ----------------------------------------------------------------------------

    def seal(self, message: Submission) -> tuple[bytes, ...]:
        """The messages that go out: one, and one for each person in Bcc. NobodyKnows names those
        without a certificate.
        """
        recipients, trust = self._recipients(message)
        if any(one.value for one in Entity(message.raw).all("Bcc")):
            copies = sealing.seal_copies(
                message.dated,
                signer=message.identity,
                recipients=recipients,
                trust=trust,
                revocation=self._revocation(),
                policy=self._policy,
            )
            return tuple(one.message for one in copies)
        return (
            sealing.seal(
                message.dated,
                signer=message.identity,
                recipients=recipients,
                trust=trust,
                revocation=self._revocation(),
                policy=self._policy,
            ),
        )

    def sign(self, message: Submission) -> bytes:
        """The message signed, and in the clear."""
        return wrap.sign(message.dated, signer=message.identity, policy=self._policy)

    def _recipients(self, message: Submission) -> tuple[list[Contact], TrustStore | None]:
        wanted = message.recipients
        found: dict[str, Contact] = {}
        own = message.identity.encryption_certificate
        if own is not None:  # whoever writes to themselves need not be in the book
            mine = mailboxes(addresses(own))
            found = {email: Contact(own) for email in wanted if mailbox(email) in mine}
        issuers: list[Certificate] = []
        if found:
            issuers += [one for key in message.identity.identities for one in key.chain]
        if self._book is not None and Path(self._book).exists():
            with Contacts(self._book) as book:
                for email in wanted:
                    choice = book.find(
                        email,
                        trust=self._trust,
                        minimum_rsa_bits=self._policy.minimum_rsa_bits,
                        accept_any_purpose=self._policy.accept_any_purpose,
                    )
                    if choice.contact is not None:
                        found[email] = choice.contact
                        issuers += choice.issuers
        missing = [one for one in dict.fromkeys(wanted) if one not in found]
        if missing:
            raise NobodyKnows(missing, self._policy.name)
        trust = self._trust
        if trust is not None and issuers:
            trust = TrustStore(trust.anchors, certificates=(*trust.certificates, *issuers))
        return list(found.values()), trust


def _author(fields: Sequence[HeaderField]) -> str:
    found = _named(fields, "from")
    if len(found) != 1 or sum(one.name.lower() == "from" for one in fields) != 1:
        raise MalformedMessage("From has to name one address")
    return found[0]


def _named(fields: Sequence[HeaderField], name: str) -> list[str]:
    named = [one.value for one in fields if one.name.lower() == name]
    return [address for value in named for address in parse_header_addresses(value)]


def _same_id(
    fields: Sequence[HeaderField], raw: bytes, mail_from: str, recipients: Sequence[str]
) -> list[HeaderField]:
    """A Message-ID for a message that has none, and the same one if it comes again.

    Without a Date nobody can tell another message of the same text from a repetition.
    """
    names = {one.name.lower() for one in fields}
    if "message-id" in names or "date" not in names:
        return []
    digest = hashlib.sha256(repr((mail_from, sorted(recipients))).encode() + raw).hexdigest()[:40]
    domain = _author(fields).rpartition("@")[2]
    text = f"Message-ID: <{digest}@{domain if domain.isascii() else 'localhost'}>\r\n"
    return [HeaderField("Message-ID", text.encode())]
