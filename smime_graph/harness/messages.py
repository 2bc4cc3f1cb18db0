"""Deliberately wrong messages, for people who test their own mail software: a catalogue as data.

    write_messages("messages")   # .eml files, keys, roots, and index.json

Each has one sentence on what is wrong, where that is written, how it is made and what is expected
of a reader: `forgeries` holds the rows, a module a group. The good ones are the controls: software
that refuses them proves nothing by refusing the others. What is expected is taken from the
standards; a test holds this package against it.
"""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization as ser

from ..arguments import checked
from ..authority.family import PASSWORD, family, new_folder, pkcs12_of
from ..authority.recipes import Leaf
from ..authority.variants import VARIANTS, Variant
from ..errors import UsageError
from ..files import write
from ..pki.identity import Identity
from ..pki.keyfiles.read import armour, export
from ..pki.revocation import Revocation
from .forgeries import encryption, good, headers, layers, senders, signatures, signers
from .forgeries.case import Case
from .forgeries.craft import People

__all__ = ["MESSAGES", "make", "people", "write_messages"]

GROUPS = {
    "good": good.CASES,
    "signature": signatures.CASES,
    "signer": signers.CASES,
    "sender": senders.CASES,
    "header": headers.CASES,
    "layer": layers.CASES,
    "encryption": encryption.CASES,
}
MESSAGES: tuple[Case, ...] = tuple(case for cases in GROUPS.values() for case in cases)

_PEOPLE = {  # with keys of the pool that no authority of a family has
    "alice": Leaf(),
    "mallory": Leaf(number=46, addresses=("mallory@contoso.com",)),
    "bob": Leaf(number=47, addresses=("bob@contoso.com",)),
}
_VARIANTS = (
    *(Variant(name, "people", "nothing", "-", leaf) for name, leaf in _PEOPLE.items()),
    *(variant for variant in VARIANTS if variant.id in signers.VARIANTS),
)


def people(*, when: datetime | None = None, seed: int | None = None) -> People:
    """Alice and those whom one takes for her, Mallory, and Bob, who receives.

    Their certificates and keys are those of `family`, `when` and `seed` as well.
    """
    made = family("corp", when=when, seed=seed, variants=_VARIANTS)
    alice, mallory, bob = (made[name].identity for name in _PEOPLE)
    return People(
        alice=alice,
        mallory=mallory,
        bob=bob,
        signers={variant: made[variant].identity for variant in signers.VARIANTS},
        trust=made.trust,
        revocation=Revocation(crls=tuple(made.crls.values())),
        at=made.at,
    )


def make(case: Case, people: People) -> bytes:
    """The message of a row."""
    return case.make(replace(people, id=case.id))


@checked
def write_messages(
    directory: str | os.PathLike[str],
    *,
    when: datetime | None = None,
    seed: int | None = None,
    only: str = "*",
) -> tuple[Path, ...]:
    """Write those whose id fits the pattern `only` into a new or empty folder; `index.json` last.

    ID.eml is a message to Bob. trust.pem has the roots to believe, crls/ what was revoked; for each
    of the people NAME.pem (certificates), NAME.key (PKCS#8 in PEM, not encrypted) and NAME.p12
    (password "test"). index.json says of each message what is wrong, where that is written and what
    is expected. `when` is the time about which all is valid, now, or a fixed one with a `seed`,
    with which certificates are the same octets each time; messages are not, for ciphers and
    boundaries are random. UsageError for a folder that holds anything, and a pattern that nothing
    fits.
    """
    wanted = {
        group: [case for case in cases if fnmatch.fnmatchcase(case.id, only)]
        for group, cases in GROUPS.items()
    }
    if not any(wanted.values()):
        raise UsageError(f"no message fits {only!r}", hint="'*' is all of them")
    everybody = people(when=when, seed=seed)
    with new_folder(directory) as folder:
        return tuple(_write_into(folder, wanted, everybody))


def _write_into(
    folder: Path, wanted: Mapping[str, Sequence[Case]], everybody: People
) -> Iterator[Path]:
    def save(name: str, data: bytes, mode: int = 0o644) -> Path:
        write(folder / name, data, mode=mode)
        return folder / name

    yield save("trust.pem", b"".join(map(armour, everybody.trust.anchors)))
    (folder / "crls").mkdir()
    crls = {f"crls/{n}.crl": crl for n, crl in enumerate(everybody.revocation.crls)}
    for name, crl in crls.items():
        yield save(name, crl)
    for name in _PEOPLE:
        one: Identity = getattr(everybody, name)
        key = export(one.private_key, ser.Encoding.PEM, ser.NoEncryption())
        yield save(f"{name}.pem", b"".join(map(armour, (one.certificate, *one.chain))))
        yield save(f"{name}.key", key, 0o600)
        yield save(f"{name}.p12", pkcs12_of(one, "aes-256"), 0o600)
    entries = []
    for group, cases in wanted.items():
        for case in cases:
            yield save(f"{case.id}.eml", make(case, everybody))
            entries.append(
                {
                    "id": case.id,
                    "group": group,
                    "wrong": case.wrong,
                    "source": case.source,
                    "file": f"{case.id}.eml",
                    "expected": {
                        "verdict": "accepted" if case.is_accepted else "rejected",
                        "summary": case.shown,
                        "errors": list(case.errors),
                        "warnings": list(case.warnings),
                    },
                }
            )
    index = {
        "at": everybody.at.isoformat(),
        "recipient": {"address": "bob@contoso.com", "key": "bob.p12", "password": PASSWORD},
        "trust": "trust.pem",
        "crls": list(crls),
        "messages": entries,
    }
    yield save("index.json", json.dumps(index, indent=1).encode() + b"\n")
