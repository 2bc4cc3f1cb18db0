"""How long each way of failing to decrypt takes: scripts/prove timing.

RFC 3218, EFAIL, Vaudenay: whoever sends changed copies of a message and sees how long it takes to
refuse each must learn nothing of what came out of the key. The kinds are measured in turn, in an
order by chance, so that what else the machine does meets all alike; printed are the median of each,
how far the middle half of its times spreads, and how far the median is from that of all.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from smime_graph import CA, Contact, Identity, Password, decrypt, encrypt
from smime_graph.cms import enveloped_data
from smime_graph.cms.recipients.shared_secret import SharedKey
from smime_graph.errors import DecryptionFailed
from smime_graph.policy import EXCHANGE, RFC_8551
from smime_graph.smime.entity import Entity
from smime_graph.smime.wrap import ENVELOPED, pkcs7_mime

_HEAD = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\n"


@dataclass(frozen=True)
class _Key:
    """Somebody's certificate, and the private key of somebody else."""

    private_key: Any
    certificate: Any


@dataclass(frozen=True)
class Failure:
    """One way to fail: the message, the key that is tried, and which others it must look like."""

    family: str
    name: str
    raw: bytes
    key: Any

    def fails(self) -> None:
        """DecryptionFailed, or text by chance where CBC's padding comes out right."""
        with suppress(DecryptionFailed):
            decrypt(self.raw, identities=[self.key])


def failures(size: int, when: datetime) -> list[Failure]:
    """Every kind of failure that depends on a key, for each way to the content key."""
    ca = CA("Test Root", key="p256")
    found: list[Failure] = []
    text = _HEAD + b"\r\n" + b"the figures of november\r\n" * (size // 25)
    for kind in ("rsa-2048", "p256"):
        # what is no number below its modulus an RSA key refuses before it is used: both are public
        bob, other = sorted((ca.issue("bob@contoso.com", key=kind) for _ in range(2)), key=_modulus)
        swapped = _Key(other.private_key, bob.certificate)
        found += _of_recipient(f"{kind}", text, Contact(bob.certificate), bob, swapped, when)
    password, wrong = Password("a long enough password"), Password("some other password...")
    found += _of_recipient("password", text, password, password, wrong, when)
    shared, changed = (SharedKey(bytes([n]) * 32, identifier=b"id") for n in (1, 2))
    found += _of_recipient("shared key", text, shared, shared, changed, when)
    return found


def _modulus(person: Identity) -> int:
    numbers: Any = person.certificate.public_key.public_numbers()
    return getattr(numbers, "n", 0)


def _of_recipient(
    family: str, text: bytes, recipient: Any, key: Any, wrong: Any, when: datetime
) -> list[Failure]:
    found: list[Failure] = []
    for policy in (EXCHANGE, RFC_8551):
        made = encrypt(text, recipients=[recipient], policy=policy, at=when)
        der = bytes(Entity(made).decoded_body())
        enveloped = enveloped_data.read(der)
        name = f"{family}, {'GCM' if enveloped.authenticated else 'CBC'}"
        wrapped = enveloped.recipients[0].encrypted_key
        at_key, at_content = der.index(wrapped), der.index(bytes(enveloped.ciphertext))
        end = at_content + len(enveloped.ciphertext) - 1

        def changed(place: int, der: bytes = der) -> bytes:
            other = bytearray(der)
            other[place] ^= 0x55
            return pkcs7_mime(ENVELOPED, bytes(other))

        found.append(Failure(name, "wrong key", pkcs7_mime(ENVELOPED, der), wrong))
        found.append(Failure(name, "encrypted key changed", changed(at_key + 3), key))
        found.append(Failure(name, "its end changed", changed(at_key + len(wrapped) - 1), key))
        found.append(Failure(name, "end of the content changed", changed(end), key))
        if enveloped.authenticated:  # under CBC that is no failure: another text comes out
            found.append(Failure(name, "content changed", changed(at_content + 40), key))
            found.append(Failure(name, "tag changed", changed(len(der) - 1), key))
    if isinstance(key, Identity) and family.startswith("rsa"):
        found += _of_pkcs1(f"{family}, CBC", text, recipient, key, when)
    return found


def _of_pkcs1(
    name: str, text: bytes, recipient: Contact, key: Identity, when: datetime
) -> list[Failure]:
    """RSA blocks whose padding is right or wrong, and whose content has another length."""
    from cryptography.hazmat.primitives.asymmetric import padding

    der = bytes(Entity(encrypt(text, recipients=[recipient], at=when)).decoded_body())
    wrapped = enveloped_data.read(der).recipients[0].encrypted_key
    public: Any = recipient.certificate.public_key
    numbers = public.public_numbers()

    def raw(block: bytes) -> bytes:
        value = pow(int.from_bytes(block), numbers.e, numbers.n)
        return pkcs7_mime(ENVELOPED, der.replace(wrapped, value.to_bytes(len(wrapped))))

    good = os.urandom(len(wrapped)).replace(b"\0", b"\1")
    blocks = {
        "block begins with 00 01": b"\0\1" + good[2:],
        "block begins with 01 02": b"\1\2" + good[2:],
        "padding without an end": b"\0\2" + good[2:],
        "no key behind the padding": b"\0\2" + good[3:] + b"\0",
    }
    found = [Failure(name, what, raw(block), key) for what, block in blocks.items()]
    for octets in (16, 31, 33, 100):
        value = public.encrypt(os.urandom(octets), padding.PKCS1v15())
        message = pkcs7_mime(ENVELOPED, der.replace(wrapped, value))
        found.append(Failure(name, f"a key of {octets} octets", message, key))
    return found


def measure(kinds: Sequence[Failure], rounds: int, seconds: float) -> dict[Failure, list[float]]:
    """Microseconds of processor time of each, in turn; no round is begun behind `seconds`."""
    ends = time.perf_counter() + seconds
    times: dict[Failure, list[float]] = {one: [] for one in kinds}
    order = list(kinds)
    for number in range(rounds):
        if number > 4 and time.perf_counter() > ends:
            break
        random.shuffle(order)
        for one in order:
            begun = time.thread_time_ns()
            one.fails()
            times[one].append((time.thread_time_ns() - begun) / 1000)
    return times


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/prove timing")
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=20, help="at most, for each family")
    parser.add_argument("--size", type=int, default=10_000, help="octets of the content")
    given = parser.parse_args()
    kinds = failures(given.size, datetime.now(UTC))
    worst = 0.0
    for family in dict.fromkeys(one.family for one in kinds):
        own = [one for one in kinds if one.family == family]
        measure(own, 5, 0)
        times = measure(own, given.rounds, given.seconds)
        middle = statistics.median([statistics.median(times[one]) for one in own])
        print(f"{family}: {middle:.0f} us")
        for one in own:
            low, median, high = statistics.quantiles(times[one], n=4)
            apart = (median - middle) / max(high - low, 1.0)
            worst = max(worst, abs(apart))
            print(
                f"    {one.name:28} {median:9.1f} us, half within {high - low:7.1f},"
                f" {median - middle:+7.1f} from the others ({apart:+.2f} of its spread)"
            )
    print(f"the farthest is {worst:.2f} of its own spread from the others of its family")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
