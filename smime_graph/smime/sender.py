"""Whom the signer of a message must be: From and Sender, and every other From a reader may see.

RFC 8550 3, RFC 5322 3.6; readers do not agree on what a From is, so every header counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from ..buffers import Data
from ..errors import MalformedMessage
from ..findings import Finding, Severity, finding
from ..pki.address import (
    addresses,
    addresses_are_known,
    mailbox,
    mailboxes,
    parse_header_addresses,
)
from ..policy import Policy
from ..text import printable
from ..x509.certificate import Certificate
from .context import VerificationContext
from .entity import MESSAGES, Entity
from .fields import decode_words
from .header_protection import ProtectedHeader, legacy_header
from .layers import ParsedMessage, count_from_lines, entity_inside
from .report import ComparedHeader, Signer

# an address in what a reader is shown of a From: it begins where no character of one stands before
_SHOWN = re.compile(r"(?<![^\s<>()\[\],;:\\\"'@])[^\s<>()\[\],;:\\\"'@]++@[^\s<>()\[\],;:\\\"'@]++")
_NO_NAME = re.compile(rb"[^!-~]")


class Senders(NamedTuple):
    """Whom the signer must be: the address given, or From and Sender of the message.

    `authors` are the addresses of the From that is shown, `inside` those of each From that stands
    further in, in the header of a layer, of the content, or of the message that is the content:
    readers may show that one instead (RFC 9788 4.4, RFC 8551 3.1). `is_ambiguous` where readers
    would not agree on which From there is.

    A From that header protection (RFC 9788) protects is the one that is compared and shown. That of
    outside has to be the signer's as well: it is what most readers, and Microsoft Graph, show.
    """

    addresses: tuple[str, ...]
    is_unknown: bool  # no From and nobody said who: there is nothing to compare with
    fault: str | None
    policy: Policy
    authors: tuple[str, ...] = ()
    inside: tuple[tuple[str, ...], ...] = ()
    is_ambiguous: bool = False
    shown: tuple[str, ...] = ()  # addresses that stand in a name or a comment alone
    is_named: bool = False  # by the caller, whatever From says
    header_of_from: ComparedHeader = "outer"
    is_mail: bool = True  # and no CMS alone, of which nobody expects a From
    outside: tuple[str, ...] = ()  # From and Sender there, where it is a protected one

    @classmethod
    def of(
        cls,
        parsed: ParsedMessage,
        context: VerificationContext,
        protected: ProtectedHeader | None,
    ) -> Senders:
        policy = context.policy
        if context.sender is not None:
            return cls((context.sender,), False, None, policy, is_named=True)
        authors: tuple[str, ...] | None = None
        others: tuple[str, ...] = ()
        protected_ones: tuple[tuple[str, ...] | None, tuple[str, ...]] = None, ()
        outer, inner = parsed.outer, parsed.inner
        repeated = None if parsed.payload is None else legacy_header(parsed.payload)
        found_in = (outer, *parsed.between, inner, _wrapped(inner), repeated)
        headers = [one for one in found_in if one is not None]
        if (fault := next(filter(None, map(_ambiguity, headers)), None)) is not None:
            return cls((), False, fault, policy, is_ambiguous=True)
        is_protected = protected is not None and protected.form == "hp" and protected.has("from")
        try:
            if outer is not None:
                authors, others = _from(outer), _sender(outer)
            compared = (outer, inner) if is_protected else (outer,)
            further = [one for one in headers if not any(one is other for other in compared)]
            inside = tuple(found for one in further if (found := _from(one)))
            shown = tuple(one for header in headers for one in _addresses_shown(header))
            if is_protected and inner is not None:
                protected_ones = _from(inner), _sender(inner)
        except MalformedMessage as error:
            return cls((), False, f"From cannot be read: {error}", policy)
        if authors == ():
            return cls((), False, "the From names nobody", policy)
        if authors is None and (is_protected or not inside):
            if outer is not None and len(outer.mime_fields) < len(outer.fields):
                # RFC 5322 3.6: a Sender is one beside the From, and never instead of it
                return cls((), False, "the header has other fields, but no From", policy)
            if not inside:
                return cls((), True, None, policy, is_mail=outer is not None)
        outside: tuple[str, ...] = ()
        header: ComparedHeader = "outer"
        if is_protected and inner is not None:
            # RFC 9788 4.4; that of outside is what the transport, and most readers, go by
            outside, header = (*(authors or ()), *others), "protected"
            authors, others = protected_ones
            if not authors:
                return cls((), False, "the protected From names nobody", policy)
        elif authors is None:
            authors, header = inside[0], "inner"
        return cls(
            (*(authors or ()), *others),
            False,
            None,
            policy,
            authors or (),
            inside,
            shown=shown,
            header_of_from=header,
            outside=outside,
        )

    @property
    def header(self) -> ComparedHeader | None:
        """Where what is compared stands."""
        if self.is_named:
            return "given"
        return self.header_of_from if self.addresses else None

    @property
    def text(self) -> str | None:
        return ", ".join(self.addresses) or None

    def compare(self, certificate: Certificate, where: str) -> tuple[bool | None, list[Finding]]:
        if self.is_unknown:
            if not self.is_mail:
                return None, []
            text = "there is no From, so nothing says that the signer is who wrote it"
            return None, [finding("pki.address.not-compared", where, text)]
        severity = Severity.ERROR if self.policy.sender_must_match else Severity.WARNING
        held = addresses(certificate)
        if self.fault is not None:
            found = finding("pki.address.mismatch", where, self.fault, severity=severity)
            return False, [found]
        if not held and not addresses_are_known(certificate):
            return None, []
        if not held:
            text = "the signer's certificate names no mail address, so nothing ties it to the From"
            return None, [finding("pki.address.none", where, text, severity=severity)]
        own = mailboxes(held)
        if not own.isdisjoint(mailboxes(self.addresses)):
            others = (*self.inside, *([self.outside] if self.outside else []))
            other = next((one for one in others if own.isdisjoint(mailboxes(one))), None)
            if other is None:
                return True, []
            where_else = "outside the message has" if other is self.outside else "the content has"
            text = (
                f"signed by {', '.join(held[:5])}, but {where_else} a From of its own: "
                f"{', '.join(other[:5])}"
            )
            text = printable(text)
            return False, [finding("pki.address.mismatch", where, text, severity=severity)]
        wanted = "the sender must be" if self.is_named else "the message is from"
        text = f"signed by {', '.join(held[:5])}, but {wanted} {self.text or 'nobody'}"
        if self.header_of_from == "protected":
            text += ", says its protected header"
        return False, [finding("pki.address.mismatch", where, printable(text), severity=severity)]

    def hidden(self, severity: Severity) -> list[Finding]:
        """For mail that nobody signed: whether its From is one that not every reader sees."""
        if not self.is_ambiguous or self.fault is None:
            return []
        if not self.policy.sender_must_match:
            severity = Severity.WARNING
        return [finding("pki.address.mismatch", "message", self.fault, severity=severity)]

    def find_silent_authors(self, signers: Sequence[Signer]) -> list[Finding]:
        """Authors beside the one who signed: it is they whom a reader is shown.

        RFC 8550 3 is content with the Sender, or with one of several in the From; those of a From
        further in count as well.
        """
        believers = dict.fromkeys(signer.emails for signer in signers if signer.accepted)
        held = [one for emails in believers for one in emails]
        believed = mailboxes(tuple(held))
        named = dict.fromkeys(
            one for some in (self.authors, *self.inside, self.outside) for one in some
        )
        silent = [one for one in named if mailbox(one) not in believed]
        if not held or not silent:
            return []
        text = printable(f"from {', '.join(silent[:5])}, but signed by {', '.join(held[:5])}")
        return [finding("pki.address.mismatch", "message", text, severity=Severity.WARNING)]

    def find_shown_names(self) -> list[Finding]:
        """An address in a name, which many readers show in place of the one that was compared."""
        if not self.shown:
            return []
        text = printable(
            f"the name in the From shows {', '.join(self.shown[:5])}, but the message is from "
            f"{self.text or 'nobody'}"
        )
        return [finding("pki.address.mismatch", "message", text, severity=Severity.WARNING)]


def _addresses_shown(entity: Entity[Data]) -> list[str]:
    """Addresses that a reader sees in the From and that are none of it: in a display name, in the
    name of a group, in a comment, encoded or not.
    """
    found: list[str] = []
    for field in entity.all("From"):
        value = field.value
        if value.isascii() and "=?" not in value and value.count("@") < 2:
            continue  # what nearly every one is
        held = mailboxes(parse_header_addresses(value))
        text = unicodedata.normalize("NFKC", decode_words(value))  # a full-width "@" is one
        # what is not seen, and the backslash of a quoted pair
        text = "".join(one for one in text if one != "\\" and unicodedata.category(one) != "Cf")
        shown = (one[0].rstrip(".") for one in _SHOWN.finditer(text))
        found += [one for one in shown if (key := mailbox(one)) is not None and key not in held]
    return found


def _wrapped(content: Entity[Data] | None) -> Entity[Data] | None:
    """The message that the content carries, which is to be shown as the message (RFC 8551 3.1)."""
    if content is None or content.content_type.value not in MESSAGES:
        return None
    try:
        return entity_inside(content.decoded_body())
    except MalformedMessage:
        return None


def _from(entity: Entity[Data]) -> tuple[str, ...] | None:
    fields = entity.all("From")
    return parse_header_addresses(fields[0].value) if fields else None


def _sender(entity: Entity[Data]) -> tuple[str, ...]:
    fields = entity.all("Sender")  # of two nobody knows which is shown
    return parse_header_addresses(fields[0].value) if len(fields) == 1 else ()


def _ambiguity(entity: Entity[Data]) -> str | None:
    """Why readers would not agree on the From of this header; None if they do."""
    fields = len(entity.all("From"))
    if entity.header.lower().count(b"from") == fields <= 1 and not entity.all(""):
        return None  # nothing else that anybody could take for one
    return _ambiguity_of_many(entity)


def _ambiguity_of_many(entity: Entity[Data]) -> str | None:
    fields = len(entity.all("From"))
    # what a reader may take for one that trims names, or reads on where we stop
    trimmed = fields + sum(
        _NO_NAME.sub(b"", one.raw.partition(b":")[0]).lower() == b"from" and b":" in one.raw
        for one in entity.all("")
    )
    seen = max(count_from_lines(entity.header), trimmed)
    if seen == fields <= 1:
        return None
    if seen == 1:
        return "the header has a From that not every reader sees"
    return f"the header has {seen} From fields"
