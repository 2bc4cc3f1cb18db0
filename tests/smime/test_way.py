"""How far it is from `seal` and `unseal` to what does the work, and that everything is read once.

Real frames are counted, with every lambda, comprehension and generator, where our code calls into
`cryptography` or the path engine. A hop is a call from one frame to the next: `seal > signed_entity
> sign` is two, and the last frame is the one that calls out. The one thing not counted is the
argument wrapper (`arguments.checked`) of the public verb, which stands before the verb itself.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import pytest

from smime_graph import (
    CA,
    Contact,
    Identity,
    MessageReport,
    Opened,
    TrustStore,
    examine,
    inspect,
    seal,
    sign,
    unseal,
    verify,
)
from smime_graph.asn1 import content_info
from smime_graph.cms import enveloped_data, signed_data
from smime_graph.smime import entity
from tests.conftest import signed_content

from ..conftest import NOW, contact

Stack = tuple[str, ...]

# What does the work: what is called, and in which package
_WORK = {
    ("sign", "cryptography"): "signature",
    ("verify", "cryptography"): "verification",
    ("encrypt", "cryptography"): "key wrap",
    ("aes_key_wrap", "keywrap"): "key wrap",
    ("encapsulate", "cryptography"): "key wrap",
    ("decrypt", "cryptography"): "key unwrap",
    ("aes_key_unwrap", "keywrap"): "key unwrap",
    ("decapsulate", "cryptography"): "key unwrap",
    ("exchange", "cryptography"): "key agreement",
    ("async_validate_path", "pyhanko_certvalidator"): "path engine",
}
# The cipher of the content is no key; certificates are verified by the search for a path, and once
# more inside the engine.
_CONTENT_CIPHERS = ("AESGCM", "AESCCM", "ChaCha20Poly1305")
_OF_CERTIFICATES = ("pki.path._verify", "pyhanko_certvalidator.")
MOST_FROM_SEAL, MOST_FROM_UNSEAL = 4, 5


def stacks(verb: str, work: Callable[[], object]) -> dict[str, set[Stack]]:
    """The frames between the verb and each thing that does the work, both ends included."""
    found: dict[str, set[Stack]] = {}

    def name(frame: FrameType) -> str:
        module = str(frame.f_globals["__name__"]).removeprefix("smime_graph.")
        return f"{module}.{frame.f_code.co_name}"

    def trace(frame: FrameType, event: str, called: Any) -> None:
        caller: FrameType | None = frame
        if event == "c_call":
            owner = type(called.__self__) if called.__module__ is None else called
            if owner.__name__ in _CONTENT_CIPHERS:
                return
            key = (called.__name__, owner.__module__.partition(".")[0])
        elif event == "call":
            key = (frame.f_code.co_name, str(frame.f_globals.get("__name__")).partition(".")[0])
            caller = frame.f_back
        else:
            return
        if (what := _WORK.get(key)) is None:
            return
        stack: list[str] = []
        while caller is not None and stack[:1] != [verb]:
            stack.insert(0, name(caller))
            caller = caller.f_back
        if not any(one.startswith(_OF_CERTIFICATES) for one in stack):
            found.setdefault(what, set()).add(tuple(stack))

    sys.setprofile(trace)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def hops(found: dict[str, set[Stack]]) -> dict[str, int]:
    for what, several in found.items():
        for stack in several:
            print(f"{what}, {len(stack) - 1} hops: {' > '.join(stack)}")
    return {what: max(map(len, several)) - 1 for what, several in found.items()}


@pytest.fixture(params=["rsa-2048", "p256", "x25519", "ml-kem-768"])
def reader(ca: CA, request: pytest.FixtureRequest) -> Identity:
    """One who is sent mail, with each kind of key that a content key is wrapped for."""
    return ca.issue("bob@contoso.com", key=request.param, use="encrypt", at=NOW)


@pytest.fixture(params=["rsa-2048", "p256", "ed25519"])
def writer(ca: CA, request: pytest.FixtureRequest) -> Identity:
    return ca.issue("alice@contoso.com", key=request.param, use="sign", at=NOW)


def test_from_seal_it_is_few_hops(writer: Identity, reader: Identity, message: bytes) -> None:
    to = [contact(reader)]
    verb = "smime.sealing.seal"
    found = hops(stacks(verb, lambda: seal(message, signer=writer, recipients=to, at=NOW)))
    assert {"signature", "key wrap"} <= set(found)
    assert max(found.values()) <= MOST_FROM_SEAL


def test_from_unseal_it_is_few_hops(
    writer: Identity, reader: Identity, trust: TrustStore, message: bytes
) -> None:
    raw = seal(message, signer=writer, recipients=[contact(reader)], at=NOW)
    verb = "smime.examine.unseal"
    found = hops(stacks(verb, lambda: unseal(raw, identities=[reader], trust=trust, at=NOW)))
    assert {"key unwrap", "verification", "path engine"} <= set(found)
    assert max(found.values()) <= MOST_FROM_UNSEAL


# --- read once ----------------------------------------------------------------------------


@contextmanager
def counted() -> Iterator[tuple[list[bytes], Counter[str]]]:
    """The entities that are parsed, and how often each kind of CMS value is read."""
    entities: list[bytes] = []
    values: Counter[str] = Counter()
    watched = {
        entity.Entity.__init__.__code__: "Entity",
        content_info.read_element.__code__: "ContentInfo",
        enveloped_data.read_content.__code__: "EnvelopedData",
        signed_data.read_content.__code__: "SignedData",
    }

    def trace(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or (what := watched.get(frame.f_code)) is None:
            return
        if what == "Entity":
            entities.append(bytes(frame.f_locals["raw"]))
        else:
            values[what] += 1

    sys.setprofile(trace)
    try:
        yield entities, values
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("verb", [unseal, examine])
def test_each_layer_of_a_sealed_message_is_read_once(
    verb: Callable[..., Opened | MessageReport],
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    message: bytes,
) -> None:
    raw = seal(message, signer=alice, recipients=[to_bob], at=NOW)
    with counted() as (entities, values):
        verb(raw, identities=[bob], trust=trust, at=NOW)
    assert values == {"ContentInfo": 2, "EnvelopedData": 1, "SignedData": 1}
    # the message, the multipart/signed that was in it, the part with the signature, the content
    multipart, signature, content = entities[1:]
    assert entities[0] == raw
    assert multipart.startswith(b"Content-Type: multipart/signed;")
    assert signature.startswith(b"Content-Type: application/pkcs7-signature;")
    assert content == signed_content(message, "cipher")


def test_a_signed_message_is_read_once(alice: Identity, trust: TrustStore, message: bytes) -> None:
    for detached, parts in ((True, 3), (False, 2)):
        raw = sign(message, signer=alice, detached=detached, at=NOW)
        for read in (partial(verify, raw, trust=trust, at=NOW), partial(inspect, raw)):
            with counted() as (entities, values):
                read()
            assert values == {"ContentInfo": 1, "SignedData": 1}
            assert len(entities) == len(set(entities)) == parts


def test_a_part_is_read_once_where_it_is_listed(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, message: bytes
) -> None:
    """A layer in an attached message: listed as errant, and not opened."""
    inside = sign(message, signer=alice, at=NOW)
    head = b"From: Bob <bob@contoso.com>\r\nContent-Type: message/rfc822\r\n\r\n"
    for read in (partial(examine, head + inside, trust=trust), partial(inspect, head + inside)):
        with counted() as (entities, values):
            read()
        assert values == {"ContentInfo": 1, "SignedData": 1}
        assert len(entities) == len(set(entities)) == 4
