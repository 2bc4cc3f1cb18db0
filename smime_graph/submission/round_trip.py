"""A sealed message to oneself, and what came back of it: every difference by its name.

What a service does to mail on its way is documented nowhere. This shows what one mailbox does to
it: which header fields are gone, changed or new, whether one octet of the body is another, whether
the layers are those that were made, and whether the signature still holds.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any, Literal, TypeAlias

import anyio
import anyio.to_thread

from ..arguments import checked
from ..cms.recipients.kinds import AnyKey
from ..errors import GraphError, Hint, SmimeGraphError, UsageError, kept
from ..graph._client import AsyncGraphClient, GraphClient
from ..graph.models import MessageRef, StoredMessage
from ..pki.identity import Contact, Identity
from ..pki.revocation import Revocation
from ..pki.trust import TrustStore
from ..policy import EXCHANGE, Policy
from ..smime.entity import Entity, HeaderField
from ..smime.examine import examine, inspect, unseal
from ..smime.report import MessageReport, Opened
from ..smime.sealing import seal
from ..text import printable
from ..x509.certificate import Certificate

ChangeKind: TypeAlias = Literal["dropped", "changed", "folded", "added"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds between two looks into the inbox
_SHOWN = 200  # characters of a value
# beside what every message has, two fields that users of Graph miss at the recipient's
# (msgraph-sdk-dotnet#2209, microsoft-graph-docs-contrib#424)
_PROBES = "Auto-Submitted: auto-generated\r\nX-Smime-Graph: round trip\r\n"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that did not come back as it was sent.

    `part` is "header", "body" or "layers", and `name` says what of it: a field, "octets", "line
    ends", "types". It was `dropped`, `changed`, `folded` (a field that says the same on other
    lines) or `added`; `sent` and `received` show it, shortened, and are None where there is none.
    """

    part: Literal["header", "body", "layers"]
    name: str
    change: ChangeKind
    sent: str | None
    received: str | None

    def __str__(self) -> str:
        shown = {
            "dropped": f"was {self.sent}",
            "added": f"is {self.received}",
            "folded": "says the same on other lines",
        }
        text = shown.get(self.change, f"was {self.sent}, is {self.received}")
        return f"{self.part}: {self.name} {self.change}: {text}"


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """What was sent, as `ref`, the `copy` that came in, and what they differ in.

    `opened` is the copy without its layers, None where it is not accepted: then `error` says why,
    as `unseal` does. `report` is about the copy in either case. `sent` and `received` are the
    octets.
    """

    ref: MessageRef
    copy: StoredMessage
    opened: Opened | None
    report: MessageReport
    error: SmimeGraphError | None
    differences: tuple[Difference, ...]
    sent: bytes = field(repr=False)
    received: bytes = field(repr=False)

    @property
    def accepted(self) -> bool:
        return self.opened is not None


@checked
def round_trip(
    client: GraphClient,
    *,
    signer: Identity | Sequence[Identity],
    trust: TrustStore,
    identities: Sequence[AnyKey] = (),
    wait: timedelta = timedelta(seconds=60),
    sender: str | None = None,
    certificates: Sequence[Certificate] = (),
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    revocation: Revocation | None = None,
    sid: Literal["issuer", "ski"] = "issuer",
    rid: Literal["issuer", "ski"] = "issuer",
) -> RoundTrip:
    """Send a sealed message to oneself, find the copy in the inbox, open it and compare.

    `client` is the GraphClient of the signer's own mailbox; it needs the rights Mail.Send and
    Mail.Read. `signer` is an Identity, or several: the message is from the first one's address, to
    it, and encrypted for it. `identities`, each an AnyKey, open what came back (the signer's own);
    `trust` is a TrustStore. `wait` is how long the copy is looked for. `sender`, `certificates`
    (each a Certificate), `at`, a datetime, and `revocation`, a Revocation, are those of `unseal`,
    `policy`, a Policy, `sid` and `rid` those of `seal` as well.

    The RoundTrip says whether the copy is accepted, and names every difference. Raises what `seal`
    and `send` raise, UsageError for a signer who cannot be written to, and GraphError where no copy
    came in time: the message was sent all the same.
    """
    steps = _trip(
        signer,
        wait,
        list(identities),
        made={"sid": sid, "rid": rid, "policy": policy, "at": at},
        opening={
            "trust": trust,
            "sender": sender,
            "certificates": certificates,
            "policy": policy,
            "at": at,
            "revocation": revocation,
        },
    )
    answer: Any = None
    while not isinstance(step := steps.send(answer), RoundTrip):
        answer = client._sleep(step) if isinstance(step, float) else step(client)
    return step


@checked
async def round_trip_async(
    client: AsyncGraphClient,
    *,
    signer: Identity | Sequence[Identity],
    trust: TrustStore,
    identities: Sequence[AnyKey] = (),
    wait: timedelta = timedelta(seconds=60),
    sender: str | None = None,
    certificates: Sequence[Certificate] = (),
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    revocation: Revocation | None = None,
    sid: Literal["issuer", "ski"] = "issuer",
    rid: Literal["issuer", "ski"] = "issuer",
) -> RoundTrip:
    """As `round_trip`, with an AsyncGraphClient.

    The message is sealed and opened in a thread. `signer` (an Identity, or several), `trust`, a
    TrustStore, `identities`, each an AnyKey, `certificates`, each a Certificate, `policy`, a
    Policy, `at`, a datetime, `revocation`, a Revocation, and the RoundTrip are those of
    `round_trip`.
    """
    steps = _trip(
        signer,
        wait,
        list(identities),
        made={"sid": sid, "rid": rid, "policy": policy, "at": at},
        opening={
            "trust": trust,
            "sender": sender,
            "certificates": certificates,
            "policy": policy,
            "at": at,
            "revocation": revocation,
        },
    )
    answer: Any = None
    while True:
        step = await anyio.to_thread.run_sync(steps.send, answer)
        if isinstance(step, RoundTrip):
            return step
        answer = await (client._sleep(step) if isinstance(step, float) else step(client))


# What is done next: a call of either client, a pause in seconds; or what came of it all
_Step: TypeAlias = "RoundTrip | float | Callable[[Any], Any]"


def _trip(
    signer: Identity | Sequence[Identity],
    wait: timedelta,
    identities: Sequence[AnyKey],
    *,
    made: Mapping[str, Any],
    opening: Mapping[str, Any],
) -> Generator[_Step, Any, None]:
    signers = [signer] if isinstance(signer, Identity) else list(signer)
    if wait < timedelta(0):
        raise UsageError(f"wait is {wait}, wanted a time that is not negative")
    raw = _made(signers, **made)
    keys = identities or [one for owner in signers for one in owner.identities]
    ref: MessageRef = yield lambda graph: graph.send(raw)
    copy: StoredMessage = yield from _find(ref.internet_message_id or "", wait.total_seconds())
    back: bytes = yield lambda graph: graph.fetch(copy.id)
    opened: Opened | None = None
    failure: SmimeGraphError | None = None
    try:
        opened = unseal(back, identities=keys, **opening)
        report = opened.report
    except UsageError:
        raise
    except SmimeGraphError as error:
        failure = kept(error)
        report = examine(back, identities=keys, **opening)
    yield RoundTrip(ref, copy, opened, report, failure, differences(raw, back), raw, back)


def _made(
    signers: Sequence[Identity],
    *,
    policy: Policy,
    at: datetime | None,
    sid: Literal["issuer", "ski"],
    rid: Literal["issuer", "ski"],
) -> bytes:
    own = next((one.encryption_certificate for one in signers if one.encryption_certificate), None)
    if own is None or not signers[0].emails:
        raise UsageError(
            "the signer's certificate names no address or is not for encryption",
            hint="use the key file of somebody who can be written to",
        )
    address = signers[0].emails[0]
    text = (
        f"From: {address}\r\nTo: {address}\r\nSubject: smime-graph round trip\r\n{_PROBES}"
        "Content-Type: text/plain; charset=utf-8\r\n\r\nThis message tests itself.\r\n"
    )
    return seal(
        text.encode(),
        signer=signers,
        recipients=[Contact(own)],
        policy=policy,
        at=at,
        sid=sid,
        rid=rid,
    )


def _find(message_id: str, patience: float) -> Generator[_Step, Any, StoredMessage]:
    waited, pause = 0.0, _FIRST_PAUSE
    while True:
        found = yield lambda graph: graph.list("inbox", top=10, internet_message_id=message_id)
        for ref in found:
            if ref.internet_message_id == message_id:
                return typing.cast("StoredMessage", ref)
        if waited + pause > patience:
            raise GraphError(
                f"{message_id} was sent, but no copy came in within {patience:g} s",
                hint=Hint("look into the inbox and the junk folder, or give it more time", "wait"),
            )
        yield pause
        waited += pause
        pause = min(pause * 2, _LONGEST_PAUSE)


# --- what differs ---------------------------------------------------------------------------------


def differences(sent: bytes, received: bytes) -> tuple[Difference, ...]:
    """What `received` has otherwise than `sent`, both whole messages.

    Raises MalformedMessage for what is none.
    """
    one, other = Entity(sent), Entity(received)
    outside = (*_of_headers(one, other), *_of_bodies(one.body, other.body))
    return (*outside, *_of_layers(sent, received))


def _of_headers(sent: Entity[bytes], received: Entity[bytes]) -> Iterator[Difference]:
    names = {one.name.lower(): one.name for one in (*received.fields, *sent.fields)}
    for name, shown in names.items():
        was = [one for one in sent.fields if one.name.lower() == name]
        now = [one for one in received.fields if one.name.lower() == name]
        _take_out(was, now, lambda one: one.raw)
        for before, after in _take_out(was, now, lambda one: one.value.split()):
            yield Difference("header", shown, "folded", _short(before.value), _short(after.value))
        for one, other in zip_longest(was, now):
            yield Difference(
                "header",
                shown or "a line that is no field",
                "added" if one is None else "dropped" if other is None else "changed",
                None if one is None else _short(one.value),
                None if other is None else _short(other.value),
            )


def _take_out(
    was: list[HeaderField], now: list[HeaderField], key: Callable[[HeaderField], object]
) -> list[tuple[HeaderField, HeaderField]]:
    """Take the fields out of both lists that are one by this key, and give them in pairs."""
    pairs: list[tuple[HeaderField, HeaderField]] = []
    for one in list(was):
        other = next((found for found in now if key(found) == key(one)), None)
        if other is not None:
            was.remove(one)
            now.remove(other)
            pairs.append((one, other))
    return pairs


def _of_bodies(sent: bytes, received: bytes) -> Iterator[Difference]:
    if sent == received:
        return
    name = "octets"
    if sent.replace(b"\r\n", b"\n") == received.replace(b"\r\n", b"\n"):
        name = "line ends"
    at = next(
        (n for n, (a, b) in enumerate(zip(sent, received, strict=False)) if a != b),
        min(len(sent), len(received)),
    )
    yield Difference(
        "body",
        name,
        "changed",
        f"{len(sent)} octets",
        f"{len(received)} octets, the first other one behind {at}",
    )


def _of_layers(sent: bytes, received: bytes) -> Iterator[Difference]:
    before, after = _types(sent), _types(received)
    if before != after:
        yield Difference("layers", "types", "changed", before, after)


def _types(raw: bytes) -> str:
    try:
        return ", ".join(one.type for one in inspect(raw) if not one.errant) or "none"
    except SmimeGraphError as error:
        return f"none that can be read: {error}"


def _short(value: str) -> str:
    shown = printable(value, other=" ").strip()
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
