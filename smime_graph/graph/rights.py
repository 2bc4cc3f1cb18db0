"""Which rights of Microsoft Graph each verb needs, and no more. No I/O.

Names are those of delegated permissions and of application roles alike. PERMISSIONS.md is written
from this table, and `doctor` holds a token against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """What a verb needs; `more` says what a further right is good for."""

    verb: str
    rights: tuple[str, ...]
    more: str = ""


_LOOK = "Mail.Read: a send whose answer is lost is looked up in Sent Items"
_AS_DRAFT = "Mail.ReadWrite: --via draft, whose send can always be settled"
# a reply is held against the message that it answers, which is read for it
_ORIGINAL = "without Mail.Read only what is not encrypted is sent, unchecked"
NEEDS = (
    Need("send", ("Mail.Send",), f"{_LOOK}; {_AS_DRAFT}"),
    Need("sendmail", ("Mail.Send",), _LOOK),
    Need("gateway", ("Mail.Send",), _LOOK),
    Need("outbox run", ("Mail.Send",), f"{_LOOK}; {_AS_DRAFT}"),
    Need("reply", ("Mail.Send", "Mail.Read"), _ORIGINAL),
    Need("reply-all", ("Mail.Send", "Mail.Read"), _ORIGINAL),
    Need("forward", ("Mail.Send",), "Mail.Read: with --to or --identity the original is opened"),
    Need("draft", ("Mail.ReadWrite",)),
    Need("draft-update", ("Mail.ReadWrite",)),
    Need("draft-send", ("Mail.Send",), "Mail.Read: a lost answer is looked up by the draft's id"),
    Need("delete", ("Mail.ReadWrite",)),
    Need("list", ("Mail.ReadBasic",)),
    Need("fetch", ("Mail.Read",)),
    Need("watch", ("Mail.Read",)),
    Need("round-trip", ("Mail.Send", "Mail.Read")),
    Need("contacts harvest", ("Mail.Read",), "Contacts.Read: --outlook-contacts"),
    Need("harness audit", ("Mail.Read",), "Contacts.Read: --outlook-contacts"),
    Need("doctor", (), "Mail.ReadBasic: it looks into the mailbox; User.Read: whose it is"),
    Need("check", ()),
    Need("emulate", ()),
)

_IMPLIED = {
    "Mail.ReadWrite": ("Mail.Read", "Mail.ReadBasic"),
    "Mail.Read": ("Mail.ReadBasic",),
    "Contacts.ReadWrite": ("Contacts.Read",),
}


def held(names: Iterable[str], *, of_another: bool = False) -> frozenset[str]:
    """The rights of NEEDS that permissions of these names are worth; `of_another`: in the mailbox
    of somebody else than who signed in, where only those of `.Shared` count.
    """
    found: set[str] = set()
    for name in names:
        right = name.removesuffix(".Shared").removesuffix(".All")
        if not of_another or name.endswith(".Shared"):
            found |= {right, *_IMPLIED.get(right, ())}
    return frozenset(found)
