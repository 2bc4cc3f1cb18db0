"""Asking for a signed receipt: the attribute of RFC 2634 2.7, written. `ess` reads it.

    ReceiptRequest ::= SEQUENCE { signedContentIdentifier OCTET STRING, receiptsFrom,
                                  receiptsTo SEQUENCE SIZE (1..16) OF GeneralNames }
    receiptsFrom   ::= [0] IMPLICIT INTEGER (0 all, 1 first tier) or
                       [1] IMPLICIT SEQUENCE OF GeneralNames

The module has IMPLICIT tags; a tag on a CHOICE or ANY is EXPLICIT all the same (X.680 31.2.7).
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from typing import Literal

from .. import oids
from ..arguments import check_fields
from ..asn1 import ber
from ..errors import UsageError
from .attributes import attribute

MAX_RECEIPTS_TO = 16  # RFC 2634 2.7: ub-receiptsTo
_MAX_ADDRESS = 4096


@dataclass(frozen=True, slots=True)
class ReceiptRequest:
    """Who is asked for a signed receipt, and where it shall go.

    `to` holds the addresses that receipts are sent to: the sender's own is not implied (RFC 2634
    2.2). `from_` is "all", "first-tier" (nobody who got the message through a mailing list), or the
    addresses of those who are asked. `identifier` names the message; when empty, one is made at
    signing. `from_names` are X.501 names (DER) that a list of those asked holds beside addresses.
    """

    to: tuple[str, ...]
    _: KW_ONLY
    from_: Literal["all", "first-tier"] | tuple[str, ...] = "all"
    identifier: bytes = b""
    from_names: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)


def new_identifier(user: str, at: datetime) -> bytes:
    """A signedContentIdentifier as RFC 2634 2.7 recommends: user, time, random number."""
    import secrets  # only here: most signatures ask for no receipt

    return f"{user} {at.astimezone(UTC):%Y%m%d%H%M%SZ} {secrets.token_hex(16)}".encode()


def write_request(value: ReceiptRequest) -> bytes:
    """The attribute. UsageError for no identifier, or more or fewer addresses than can be asked."""
    if not value.identifier:
        raise UsageError("a receipt request has no identifier")
    if not 1 <= len(value.to) <= MAX_RECEIPTS_TO:
        raise UsageError(
            f"a receipt request names {len(value.to)} addresses to send receipts to, "
            f"1 to {MAX_RECEIPTS_TO} are possible",
            hint="give at least the sender's own address",
        )
    if isinstance(value.from_, str):
        number = ("all", "first-tier").index(value.from_)
        asked = ber.tlv(0x80, ber.integer(number)[2:])
    elif not value.from_ and not value.from_names:
        raise UsageError("a receipt request asks nobody", hint='use "all", or name somebody')
    else:
        asked = ber.context(
            1,
            *(_address_names(address) for address in value.from_),
            *(ber.sequence(ber.context(4, name)) for name in value.from_names),
        )
    return attribute(
        oids.RECEIPT_REQUEST,
        ber.sequence(
            ber.octet_string(value.identifier),
            asked,
            ber.sequence(*(_address_names(address) for address in value.to)),
        ),
    )


def _address_names(address: str) -> bytes:
    """GeneralNames of one address: rfc822Name, or SmtpUTF8Mailbox where the local part needs it."""
    local, _, domain = address.rpartition("@")
    if not local or not domain or not address.isprintable() or len(address) > _MAX_ADDRESS:
        raise UsageError(f"{address[:100]!r} is no mail address")
    if not domain.isascii():
        raise UsageError(
            f"the domain of {address[:100]!r} is not in ASCII",
            hint="write it as A-labels (xn--...), as RFC 9598 does",
        )
    if address.isascii():
        return ber.sequence(ber.tlv(0x81, address.encode()))
    other = ber.context(0, ber.tlv(ber.UTF8_STRING, address.encode()))
    return ber.sequence(ber.context(0, ber.oid(oids.SMTP_UTF8_MAILBOX), other))
