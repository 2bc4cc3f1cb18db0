"""An answer on its way: sealed for those whom Graph will send it to, and for nobody else.

What `answer` built is sealed here, so that nothing leaves in the clear that came encrypted (RFC
9787, RFC 9788 6.1).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from email.message import Message
from typing import Literal

from ..arguments import checked
from ..cms.keys import SigningKey, with_certificate
from ..cms.recipients.kinds import AnyRecipient
from ..errors import Hint, PolicyRefusal, UsageError
from ..pki.address import mailbox, mailboxes, parse_header_addresses
from ..pki.trust import TrustStore
from ..policy import EXCHANGE, Policy
from .answer import addressees, check_addressees, meant, reference_hcp
from .entity import Entity
from .outgoing import as_octets, emails
from .report import ENCRYPTED, Opened
from .sealing import encrypt, seal
from .wrap import sign

_log = logging.getLogger("smime_graph")


@checked
def seal_answer(
    message: bytes | Message,
    *,
    original: Opened,
    kind: Literal["reply", "reply-all", "forward"],
    signer: SigningKey | Sequence[SigningKey] = (),
    recipients: Sequence[AnyRecipient] = (),
    trust: TrustStore | None = None,
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
) -> bytes:
    """Seal an answer for exactly those whom Graph will send it to.

    `message` is what `answer` built, and you may have edited: bytes, or an `email` Message.
    `original` is the Opened that it answers, and `kind` how: a reply goes to From and Reply-To of
    the original, one to all to its To and Cc as well, a forward to those that `message` names,
    whatever else Graph is told. Whom the original names outside of its protected fields alone gets
    nothing to read. Of `recipients`, each an AnyRecipient, those are used that have one
    of these addresses, or none at all (a Password). With `signer`, a SigningKey or several, it is
    signed, and encrypted where there are recipients; `trust`, a TrustStore, `policy`, a Policy, and
    `at`, a datetime, are those of `seal`. What of the original's header was encrypted stands in the
    answer inside alone.

    Raises PolicyRefusal if the original was encrypted and the answer would not be, for an author or
    a Reply-To without a certificate, and what `seal` raises it for; MalformedMessage if nobody can
    say whom Graph answers. What is not as bad the logger "smime_graph" warns of.
    """
    signers = list(signer) if isinstance(signer, Sequence) else [signer]
    raw = message if isinstance(message, bytes) else bytes(as_octets(message))
    entity = Entity(raw)
    sender = next((one for f in entity.all("From") for one in parse_header_addresses(f.value)), "")
    named = [
        one
        for name in ("To", "Cc", "Bcc")
        for field in entity.all(name)
        for one in parse_header_addresses(field.value)
    ]
    outside = original.outside or original.raw
    goes_to = named
    if kind != "forward":
        readers = mailboxes(tuple(meant(original, kind)))
        goes_to = [one for one in addressees(outside, kind) if mailbox(one) in readers]
    chosen = _only_for(recipients, goes_to)
    if not chosen and any(layer.type in ENCRYPTED for layer in original.report.whole):
        raise PolicyRefusal(
            "the original was encrypted, and an answer that may tell of it would not be",
            rule="answer.decrypted-in-clear",
            policy=policy.name,
            hint=Hint(
                "give a certificate of each of those that it goes to: recipients=[...]",
                "recipients",
            ),
        )
    if not (chosen or signers):
        raise UsageError("nobody signs the answer, and it is for nobody", hint="give a signer")
    found = check_addressees(outside, raw, kind=kind, recipients=chosen, policy=policy)
    for text in found:
        _log.warning("%s", text)
    if not chosen:
        return sign(raw, signer=signers, policy=policy, at=at)
    to = named if kind == "forward" else ()
    hidden = reference_hcp(original, kind=kind, sender=sender, to=to, policy=policy)
    if not signers:
        return encrypt(
            raw,
            recipients=chosen,
            trust=trust,
            policy=policy,
            at=at,
            header_confidentiality=hidden,
        )
    return seal(
        raw,
        signer=signers,
        recipients=chosen,
        trust=trust,
        policy=policy,
        at=at,
        header_confidentiality=hidden,
    )


def _only_for(recipients: Sequence[AnyRecipient], goes_to: Sequence[str]) -> list[AnyRecipient]:
    wanted = mailboxes(tuple(goes_to))
    with_one = {
        id(one)
        for one in with_certificate(recipients)
        if emails(one) and mailboxes(emails(one)).isdisjoint(wanted)
    }
    return [one for one in recipients if id(one) not in with_one]
