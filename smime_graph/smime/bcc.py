"""Bcc: whoever is in it gets a sealed message of their own (RFC 9787 9.4.1).

A RecipientInfo names a certificate, so one message for all would tell everybody who reads it who
else does. No copy has the certificate of somebody in Bcc but that person's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

from ..arguments import check_fields
from ..cms.keys import with_certificate
from ..cms.recipients.kinds import AnyRecipient
from ..errors import Hint, PolicyRefusal
from ..pki.address import Mailbox, mailbox, mailboxes
from .outgoing import Outgoing, emails


@dataclass(frozen=True, slots=True)
class SealedCopy:
    """A message of `seal_copies`, and the addresses it is to be delivered to.

    They stand in its To and Cc; `is_bcc` tells that of the one person it is for in Bcc.
    """

    message: bytes = field(repr=False)
    _: KW_ONLY
    recipients: tuple[str, ...]
    is_bcc: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class Share:
    """What goes into one copy: the message as it is for these people, and how they are reached."""

    outgoing: Outgoing
    recipients: list[AnyRecipient]
    addresses: tuple[str, ...]
    is_bcc: bool


def split(outgoing: Outgoing, everyone: Sequence[AnyRecipient]) -> list[Share]:
    """A share for those in To and Cc, if anybody is, and one for each person in Bcc alone.

    Who knows a password or has a shared key reads every copy, and so does the sender. PolicyRefusal
    for a person without a certificate, and for a certificate of nobody in the header: it could be
    of somebody in Bcc, and nobody else may see that.
    """
    named = _once(outgoing.addresses("To", "Cc"))
    hidden = {key: one for key, one in _once(outgoing.addresses("Bcc")).items() if key not in named}
    own = mailboxes(tuple(outgoing.addresses("From", "Sender")))
    holders = with_certificate(everyone)
    held = [(one, mailboxes(emails(one))) for one in holders]
    shared = [one for one in everyone if one not in holders]
    for one, keys in held:
        if keys.isdisjoint({*named, *hidden, *own}):
            raise PolicyRefusal(
                f"the certificate of {one.certificate.description} is of nobody in the header, so"
                " nobody can say which copy it is for",
                rule="encrypt.recipient-in-no-header",
                policy=outgoing.policy.name,
                hint=Hint("put its address into To, Cc or Bcc, or leave it out", "recipients"),
            )
    shares: list[Share] = []
    first = [named] if named or not hidden else []
    for some in first + [{key: one} for key, one in hidden.items()]:
        readers = [one for one, keys in held if not keys.isdisjoint(some)]
        if some and not readers and not shared:
            raise PolicyRefusal(
                f"no certificate is given for {', '.join(some.values())}",
                rule="encrypt.recipient-without-certificate",
                policy=outgoing.policy.name,
                hint=Hint("give a certificate for each recipient", "recipients"),
            )
        for_self = [one for one, keys in held if one not in readers and not keys.isdisjoint(own)]
        is_bcc = some is not named
        addresses = tuple(some.values())
        shares.append(
            Share(
                outgoing.for_one(addresses[0]) if is_bcc else outgoing.without_bcc(),
                [*readers, *for_self, *shared],
                addresses,
                is_bcc,
            )
        )
    return shares


def _once(addresses: Sequence[str]) -> dict[Mailbox, str]:
    found: dict[Mailbox, str] = {}
    for one in addresses:
        if (key := mailbox(one)) is not None:
            found.setdefault(key, one)
    return found
