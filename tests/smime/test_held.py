"""What a report or an error holds: values, and no frame, no message, no plaintext."""

from __future__ import annotations

import gc
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType, FunctionType, ModuleType, TracebackType
from typing import Any

import pytest

from smime_graph import (
    CA,
    EXCHANGE,
    Contact,
    Identity,
    MalformedMessage,
    NoMatchingIdentity,
    SmimeGraphError,
    TrustStore,
    UnsupportedAlgorithm,
    decrypt,
    encrypt,
    examine,
    oids,
    seal,
    unseal,
    verify,
)
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info
from smime_graph.cms import enveloped_data
from smime_graph.errors import fresh
from smime_graph.smime.examine import decompress
from smime_graph.smime.wrap import COMPRESSED, pkcs7_mime

SECRET = b"the plaintext that nobody shall keep"
MAIL = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: x\r\n"
QUIET = EXCHANGE.but("quiet", sender_must_match=False, every_recipient_must_read=False)


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def reachable(*roots: object) -> Iterator[object]:
    """Everything that these hold, without the code and the modules that it belongs to."""
    pending, seen = list(roots), set()
    while pending:
        one = pending.pop()
        if id(one) in seen or isinstance(one, ModuleType | FunctionType | type):
            continue
        seen.add(id(one))
        yield one
        pending += gc.get_referents(one)


def holds(secret: bytes, *roots: object) -> bool:
    return any(
        secret in bytes(one) if isinstance(one, bytes | bytearray | memoryview) else False
        for one in reachable(*roots)
    )


def own_frames(error: BaseException) -> list[dict[str, Any]]:
    """The variables of our own frames that an error came through, and of what led to it."""
    found: list[dict[str, Any]] = []
    pending: list[BaseException | None] = [error]
    while pending:
        if (one := pending.pop()) is None:
            continue
        pending += [one.__context__, one.__cause__]
        trace: TracebackType | None = one.__traceback__
        while trace is not None:
            if trace.tb_frame.f_globals["__name__"].startswith("smime_graph"):
                found.append(dict(trace.tb_frame.f_locals))
            trace = trace.tb_next
    return found


def caught(function: Callable[[], object]) -> SmimeGraphError:
    with pytest.raises(SmimeGraphError) as info:
        function()
    return info.value


def sealed(alice: Identity, to_bob: Contact, inside: bytes) -> bytes:
    """A message whose inside is one that cannot be read to its end, after the secret was."""
    return seal(MAIL + inside, signer=alice, recipients=[to_bob], policy=QUIET)


BROKEN = (
    b"Content-Type: multipart/signed; protocol=application/pkcs7-signature; boundary=b\r\n\r\n"
    b"--b\r\n\r\n" + SECRET + b"\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    "inside",
    [
        BROKEN,
        b"\r\n" + SECRET + b"\r\n",
        b"Content-Type: application/pkcs7-mime\r\n\r\n" + SECRET + b"\r\n",
        b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + SECRET
        + b"!\r\n",
    ],
    ids=["broken-signature", "not-trusted", "no-cms", "no-base64"],
)
def test_no_plaintext_is_within_reach_of_a_report_or_an_error(
    alice: Identity, bob: Identity, to_bob: Contact, inside: bytes
) -> None:
    raw = encrypt(MAIL + inside, recipients=[to_bob], policy=QUIET)
    nobody = TrustStore(())
    report = examine(raw, identities=[bob], trust=nobody)
    assert not report.accepted
    assert not holds(SECRET, report)
    error = caught(lambda: unseal(raw, identities=[bob], trust=nobody))
    assert own_frames(error)  # it says where it comes from
    assert not any(holds(SECRET, *frame.values()) for frame in own_frames(error))
    assert decrypt(raw, identities=[bob]).content.endswith(inside.partition(b"\r\n\r\n")[2])


def test_what_an_error_came_through_is_not_kept(alice: Identity, trust: TrustStore) -> None:
    raw = MAIL + b"Content-Type: application/pkcs7-mime\r\n\r\n" + SECRET
    report = examine(raw, trust=trust)
    error = report.error
    assert isinstance(error, MalformedMessage)
    assert (error.__traceback__, error.__context__, error.__cause__) == (None, None, None)
    assert not any(isinstance(one, FrameType) for one in reachable(report))
    raised = caught(lambda: verify(raw, trust=trust))
    assert (type(raised), str(raised), raised.hint) == (type(error), str(error), error.hint)
    # raising what it reports has left the report as it was
    again = caught(lambda: unseal(raw, trust=trust))
    assert again is not raised


def test_an_error_to_be_raised_is_the_one_that_was_kept() -> None:
    for error in (
        UnsupportedAlgorithm("1.2.3", where="here", hint="do this"),
        NoMatchingIdentity(["somebody"]),
        MalformedMessage("broken", hint="mend it"),
    ):
        other = fresh(error)
        assert other is not error
        assert (type(other), other.args, vars(other)) == (type(error), error.args, vars(error))


def grown(function: Callable[[], object], times: int) -> float:
    """By how many octets the memory in use has grown after so many calls whose result is kept."""
    function()
    tracemalloc.start()
    kept = [function() for _ in range(times)]
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(kept) == times
    return size


def bomb(size: int) -> bytes:
    """A CompressedData whose content is one whose reading fails at its end."""
    inner = b"Content-Type: application/pkcs7-mime\r\n\r\n" + bytes(size)
    # not by our `compress`, which makes no bombs
    packed = ber.nest(0xA0, ber.nest(ber.OCTET_STRING, [zlib.compress(inner, 9)]))
    content = [ber.oid(oids.DATA), *packed]
    zlib_algorithm = ber.sequence(ber.oid("1.2.840.113549.1.9.16.3.8"))
    der = content_info(
        oids.COMPRESSED_DATA, [ber.integer(0), zlib_algorithm, *ber.nest(ber.SEQUENCE, content)]
    )
    return MAIL + pkcs7_mime(COMPRESSED, der)


@pytest.mark.usefixtures("uncollected")
def test_examined_bombs_are_gone_with_the_call(trust: TrustStore) -> None:
    for raw in (bomb(5_000_000), bomb(40_000_000)):
        assert grown(partial(examine, raw, trust=trust), 4) < 1_000_000
        # the error of a call that raised has the caller's message, and no more
        assert grown(partial(caught, partial(unseal, raw, trust=trust)), 4) < 1_000_000
    assert grown(lambda: caught(lambda: decompress(bomb(40_000_000))), 4) < 1_000_000


@pytest.mark.usefixtures("uncollected")
def test_mail_that_is_not_for_us_is_gone_with_the_call(
    ca: CA, alice: Identity, to_bob: Contact, trust: TrustStore
) -> None:
    raw = encrypt(MAIL + b"\r\n" + b"x" * 3_000_000, recipients=[to_bob], policy=QUIET)
    assert grown(lambda: examine(raw, identities=[alice], trust=trust), 4) < 1_000_000

    def attempt() -> None:
        with pytest.raises(NoMatchingIdentity):
            decrypt(raw, identities=[alice])
        with pytest.raises(NoMatchingIdentity):
            unseal(raw, identities=[alice], trust=trust)

    assert grown(attempt, 4) < 1_000_000


@pytest.mark.usefixtures("uncollected")
def test_a_recipient_that_cannot_be_used_leaves_nothing_behind(bob: Identity) -> None:
    """What the first of several recipients fails with is remembered until the last has failed."""
    own = bob.certificate
    info = ber.sequence(
        ber.integer(0),
        own.issuer_and_serial,
        ber.sequence(ber.oid("1.2.3.4")),
        ber.octet_string(b"x"),
    )
    cipher = ber.sequence(ber.oid(oids.AES128_CBC), ber.octet_string(bytes(16)))
    encrypted = ber.sequence(ber.oid(oids.DATA), cipher, ber.tlv(0x80, bytes(2_000_000)))
    der = content_info(oids.ENVELOPED_DATA, [ber.integer(0), ber.set_of(info), encrypted])
    key: Any = type("Key", (), {"private_key": _Decrypts(), "certificate": own})()

    def attempt() -> None:
        with pytest.raises(UnsupportedAlgorithm):
            enveloped_data.decrypt(
                enveloped_data.read(bytes(bytearray(der))), [key], policy=EXCHANGE
            )

    assert grown(attempt, 4) < 1_000_000


class _Decrypts:
    def decrypt(self, *args: Any) -> bytes:
        raise ValueError
