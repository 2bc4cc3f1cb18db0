"""What reading one input costs, in a process of its own: processor time by function, memory."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from smime_graph import (
    Contact,
    Identity,
    SmimeGraphError,
    TrustStore,
    decrypt,
    examine,
    inspect,
    unseal,
    verify,
)
from smime_graph.cms.recipients.shared_secret import Password
from smime_graph.pki.identity import load_identities, read_certificates
from smime_graph.smime.answer import answer
from smime_graph.smime.examine import decompress
from smime_graph.smime.receipts import examine_receipt

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__, "smime_graph.pki.path"])


@dataclass(frozen=True, slots=True)
class Cost:
    """`seconds` of processor time by function; `memory` in octets, that of Python included;
    `error` is what got out of a function and is none of ours."""

    seconds: dict[str, float]
    memory: int
    error: str | None


def reading(raw: bytes, trust: TrustStore, keys: Any) -> dict[str, Callable[[], object]]:
    """Every function that reads a message."""
    return {
        "inspect": lambda: inspect(raw),
        "examine": lambda: examine(raw, identities=keys, trust=trust),
        "verify": lambda: verify(raw, trust=trust),
        "decrypt": lambda: decrypt(raw, identities=keys),
        "unseal": lambda: unseal(raw, identities=keys, trust=trust),
        "decompress": lambda: decompress(raw),
        "answer": lambda: answer(raw, kind="reply-all", sender="bob@contoso.com").as_bytes(),
        "forward": lambda: answer(
            raw, kind="forward", sender="bob@contoso.com", to=["carol@contoso.com"]
        ).as_bytes(),
        "examine_receipt": lambda: examine_receipt(
            raw, original=b"From: a@b\r\n\r\n", identities=keys, trust=trust
        ),
    }


def loading(path: str) -> dict[str, Callable[[], object]]:
    """Every function that loads keys or certificates from a file."""
    return {
        "Identity.load": lambda: Identity.load(path, password="a password"),
        "load_identities": lambda: load_identities(path, passwords=["a password"]),
        "Contact.load": lambda: Contact.load(path),
        "TrustStore.from_pem": lambda: TrustStore.from_pem(path),
        "read_certificates": lambda: read_certificates(path),
    }


def slowness() -> float:
    """How many times slower than a usual machine this one is, at least 1."""
    begun = time.process_time()
    total = 0
    for number in range(1_000_000):
        total += number & 3
    return max(1.0, (time.process_time() - begun) / 0.08)


def _measure(raw: bytes | str, trust_pem: bytes, key: str, out: Any) -> None:
    trust = TrustStore.from_pem(trust_pem)
    keys = (*Identity.load(key).identities, Password("a password"))
    with suppress(SmimeGraphError):  # what is imported on first use is no cost of this input
        examine(b"From: alice@contoso.com\r\n\r\nhello\r\n", trust=trust)
    seconds: dict[str, float] = {}
    error = None
    functions = loading(raw) if isinstance(raw, str) else reading(raw, trust, keys)
    for name, function in functions.items():
        begun = time.process_time()
        try:
            function()
        except SmimeGraphError:
            pass
        except Exception as other:  # noqa: BLE001 - that is what is looked for
            error = f"{name}: {other!r}"
        seconds[name] = time.process_time() - begun
    out.put(Cost(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, error))


def measure(raw: bytes | str, *, trust_pem: bytes, key: str, patience: float = 120) -> Cost:
    """What it costs to read a message, or to load the file of this name.

    `key` is the file with the reader's key.
    """
    out = _CONTEXT.SimpleQueue()
    process = _CONTEXT.Process(target=_measure, args=(raw, trust_pem, key, out))
    process.start()
    process.join(patience)
    if process.is_alive():
        process.kill()
        process.join()
    if out.empty():
        return Cost({"all": patience}, 0, f"no answer, exit status {process.exitcode}")
    cost: Cost = out.get()
    return cost
