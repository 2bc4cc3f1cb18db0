"""What is too large to be copied is read as what is small is, and leaves nothing behind."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from smime_graph import (
    EXCHANGE,
    RFC_8551,
    Contact,
    DecryptionFailed,
    Identity,
    MessageReport,
    Opened,
    SignatureInvalid,
    SmimeGraphError,
    TrustStore,
    UsageError,
    buffers,
    compress,
    decompress,
    decrypt,
    encrypt,
    examine,
    inspect,
    seal,
    sign,
    unseal,
    verify,
)
from smime_graph.algorithms import primitives
from smime_graph.algorithms.rows import Digest
from smime_graph.asn1 import ber
from smime_graph.buffers import Rope
from smime_graph.cms import signed_data
from smime_graph.smime import entity, transfer
from smime_graph.smime.entity import Entity
from tests.conftest import BARE

from ..conftest import NOW

HEAD = (
    b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: Figures\r\n"
    b"Message-ID: <1@contoso.com>\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
)
TEXT = b"Content-Type: text/plain\r\n\r\n" + b"The figures of this quarter are in.\r\n" * 40
MIXED = (
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
    + TEXT
    + b"\r\n--b\r\nContent-Type: application/octet-stream; name=smime.p7m\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n" + b"MIIBAgYJKoZIhvcNAQcC" * 40 + b"\r\n--b--\r\n"
)


@contextmanager
def everything_is_large() -> Iterator[None]:
    """As if 100 octets were many: each way that a large message takes is taken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffers, "LARGE", 100)
        for module in (buffers, primitives, transfer):
            patch.setattr(module, "CHUNK", 96)
        patch.setattr(ber, "_PASSED", 64)
        yield


def told(call: Callable[[], object]) -> object:
    """The result, or the error, as it is told."""
    try:
        result = call()
    except SmimeGraphError as error:
        report = getattr(error, "report", None)
        told = report.to_json() if isinstance(report, MessageReport) else None
        return type(error).__name__, str(error), error.hint, told
    if isinstance(result, MessageReport):
        return result.to_json(), str(result.error)
    if isinstance(result, Opened):
        return result.raw, result.content, result.header, result.report.to_json()
    return result


def chunked(raw: bytes) -> bytes:
    """An opaque message whose CMS is in BER: indefinite lengths, and its octets in pieces."""
    entity_header, _, _ = raw.partition(b"\r\n\r\n")
    der = transfer.decode_base64(raw[len(entity_header) :])

    def again(node: ber.Node) -> bytes:
        size = node.stop - node.body
        if node.tag in (ber.OCTET_STRING, 0x80) and size > 300:
            whole = node.contents
            parts = [ber.octet_string(whole[at : at + 130]) for at in range(0, size, 130)]
            return bytes((node.tag | 0x20, 0x80)) + b"".join(parts) + b"\0\0"
        is_certificate = node.tag == ber.SEQUENCE and next(iter(node)).tag == ber.SEQUENCE
        if node.tag not in (ber.SEQUENCE, 0xA0) or is_certificate or size < 300:
            return node.raw
        return bytes((node.tag, 0x80)) + b"".join(map(again, node)) + b"\0\0"

    made = again(ber.read(bytes(der), "ContentInfo"))
    assert len(made) > len(der)
    return entity_header + b"\r\n\r\n" + transfer_base64(made)


def transfer_base64(data: bytes) -> bytes:
    import base64

    return base64.encodebytes(data).replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def messages(alice: Identity, bob: Identity, to_bob: Contact) -> dict[str, bytes]:
    quiet = EXCHANGE.but("quiet", sender_must_match=False, every_recipient_must_read=False)
    gcm = RFC_8551
    chacha = RFC_8551.but("chacha", ciphers=("chacha20-poly1305",))
    made = {"plain": HEAD + TEXT, "mixed": HEAD + MIXED}
    for name in ("plain", "mixed"):
        mail = made[name]
        made[f"{name} clear"] = sign(mail, signer=alice, at=NOW)
        made[f"{name} opaque"] = sign(mail, signer=alice, at=NOW, detached=False)
        made[f"{name} compressed"] = compress(mail, at=NOW)
        for policy in (quiet, gcm, chacha):
            of = f"{name} {policy.name}"
            made[f"{of} encrypted"] = encrypt(mail, recipients=[to_bob], policy=policy, at=NOW)
            made[f"{of} sealed"] = seal(
                mail, signer=alice, recipients=[to_bob], policy=policy, at=NOW
            )
    for name in ("plain opaque", "mixed quiet encrypted", "plain quiet sealed"):
        made[f"{name} chunked"] = chunked(made[name])
    for name, raw in list(made.items()):
        made[f"{name} LF"] = raw.replace(b"\r\n", b"\n")
        if "clear" not in name and "sealed" not in name:
            continue
        for tenth in (2, 5, 7, 9):
            at = len(raw) * tenth // 10
            made[f"{name} changed {tenth}"] = raw[:at] + bytes((raw[at] ^ 2,)) + raw[at + 1 :]
        made[f"{name} cut"] = raw[: len(raw) * 8 // 10]
        made[f"{name} forwarded"] = raw + b"-- \r\nsent through a list that adds this\r\n"
    return made


def test_what_is_told_of_a_large_message_is_what_is_told_of_a_small_one(
    messages: dict[str, bytes], bob: Identity, trust: TrustStore, tmp_path: Path
) -> None:
    verbs: dict[str, Callable[..., Any]] = {
        "verify": partial(verify, trust=trust, at=NOW),
        "decrypt": partial(decrypt, identities=[bob]),
        "decompress": decompress,
        "unseal": partial(unseal, identities=[bob], trust=trust, at=NOW),
        "unseal by nobody": partial(unseal, identities=[bob], trust=TrustStore(()), at=NOW),
        "examine": partial(examine, identities=[bob], trust=trust, at=NOW),
        "inspect": inspect,
    }
    path = tmp_path / "message"
    spooled = 0
    for name, raw in messages.items():
        path.write_bytes(raw)
        small = {verb: told(partial(call, raw)) for verb, call in verbs.items()}
        with everything_is_large():
            assert isinstance(buffers.read_message(path), memoryview)
            for verb, call in verbs.items():
                assert told(partial(call, path)) == small[verb], (name, verb)
                assert told(partial(call, raw)) == small[verb], (name, verb)
                with path.open("rb") as file:
                    assert told(partial(call, file)) == small[verb], (name, verb)
            if isinstance(small["unseal"], tuple) and isinstance(small["unseal"][0], bytes):
                opened = unseal(path, identities=[bob], trust=trust, at=NOW)
                assert isinstance(opened.inside, memoryview)
                spooled += 1
    assert spooled > 20  # that were accepted


def test_a_detached_content_may_be_a_file(
    alice: Identity, trust: TrustStore, tmp_path: Path
) -> None:
    content = tmp_path / "content"
    signed = sign(HEAD + TEXT, signer=alice, at=NOW, policy=BARE)
    der = transfer.decode_base64(
        signed[signed.rindex(b"\r\n\r\n", 0, -60) :].partition(b"\r\n--")[0]
    )
    for text in (TEXT, TEXT.replace(b"\r\n", b"\n")):
        content.write_bytes(text)
        with everything_is_large():
            arguments: Any = {"trust": trust, "at": NOW, "sender": "alice@contoso.com"}
            opened = verify(bytes(der), content=content, **arguments)
            assert opened.content == TEXT
            content.write_bytes(text + b"?")
            with pytest.raises(SignatureInvalid, match="changed after signing"):
                verify(bytes(der), content=content, **arguments)


def fields(raw: bytes | memoryview) -> object:
    return Entity(raw).fields


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_long_header_is_read_whole(end: bytes) -> None:
    for size in (10, *range(65_520, 65_540), 70_000, entity.MAX_HEADER - 100):
        raw = b"X-A: " + b"a" * size + end + b"X-B: b" + end + end + b"body" + end
        small, large = Entity(raw), Entity(memoryview(raw))
        assert small.fields == large.fields
        assert (small.header, small.body) == (large.header, large.body)
    for raw in (b"X-A: " + b"a" * entity.MAX_HEADER + end + end, b"X: " + b"a" * 70_000 + end):
        assert told(partial(fields, raw)) == told(partial(fields, memoryview(raw)))


# --- of some megabytes ----------------------------------------------------------------------------

LINE = b"The quick brown fox jumps over the lazy dog, and writes it down again.\r\n"


@pytest.fixture(scope="module")
def large() -> bytes:
    return HEAD + b"Content-Type: text/plain\r\n\r\n" + LINE * (20_000_000 // len(LINE))


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def mapped() -> int:
    """How many files without a name this process has mapped."""
    return Path("/proc/self/maps").read_text().count("(deleted)")


@pytest.mark.parametrize("policy", [EXCHANGE, RFC_8551], ids=["cbc", "gcm"])
def test_one_changed_octet_is_refused_wherever_it_is(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    large: bytes,
    tmp_path: Path,
    spool: Path,
    policy: Any,
) -> None:
    path, out = tmp_path / "sealed.eml", tmp_path / "out.eml"
    sealed = seal(large, signer=alice, recipients=[to_bob], policy=policy, at=NOW)
    path.write_bytes(sealed)
    opened = unseal(path, identities=[bob], trust=trust, at=NOW, out=out)
    assert opened.signer is not None
    assert out.read_bytes().endswith(large[-1000:])
    assert out.stat().st_mode & 0o777 == 0o600
    out.unlink()
    start = len(sealed) // 20
    told = set()
    for number in range(10):
        at = start + number * (len(sealed) - 2 * start) // 10
        while sealed[at] in b"\r\n":
            at += 1
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"A" if sealed[at] != ord("A") else b"B")
        with pytest.raises(SmimeGraphError) as info:
            unseal(path, identities=[bob], trust=trust, at=NOW, out=out)
        told.add((type(info.value), str(info.value)))
        with path.open("r+b") as file:
            file.seek(at)
            file.write(sealed[at : at + 1])
    assert len(told) == 1, told
    assert {kind for kind, _ in told} == {
        DecryptionFailed if policy is RFC_8551 else SignatureInvalid
    }
    assert {one.name for one in tmp_path.iterdir()} == {"sealed.eml", "spool"}
    assert list(spool.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what this process has mapped")
def test_what_was_mapped_is_gone_with_the_call(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, large: bytes, spool: Path
) -> None:
    sealed = seal(large, signer=alice, recipients=[to_bob], at=NOW)
    middle = len(sealed) // 2
    changed = (
        sealed[:middle] + (b"A" if sealed[middle] != ord("A") else b"B") + sealed[middle + 1 :]
    )
    broken = sealed[:middle] + b"!" + sealed[middle + 1 :]
    nobody = TrustStore(())
    gc.collect()
    gc.disable()
    try:
        before = mapped()
        kept: list[object] = []
        for raw in (sealed, changed, broken):
            for anchors in (trust, nobody):
                kept.append(examine(raw, identities=[bob], trust=anchors, at=NOW))
                try:
                    unseal(raw, identities=[bob], trust=anchors, at=NOW)
                except SmimeGraphError as error:
                    kept.append(error)
                assert mapped() == before
        opened = decrypt(sealed, identities=[bob])
        assert mapped() == before + 1
        report = opened.report
        del opened
        assert mapped() == before
        assert report.layers
        assert len(kept) == 11
    finally:
        gc.enable()


def test_where_there_is_no_room_nothing_is_left(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    large: bytes,
    trust: TrustStore,
    tmp_path: Path,
    spool: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sealed = seal(large, signer=alice, recipients=[to_bob], at=NOW)
    out = tmp_path / "out.eml"
    out.write_bytes(b"what was there")
    room = 0

    def write(handle: Any, piece: Any) -> None:
        nonlocal room
        room -= len(piece)
        if room < 0:
            raise OSError(28, "No space left on device")
        really(handle, piece)

    really = buffers._write_all
    monkeypatch.setattr(buffers, "_write_all", write)
    for left in (0, 5_000_000, 19_000_000, 35_000_000):
        room = left
        with pytest.raises(UsageError, match="No space left on device") as info:
            unseal(sealed, identities=[bob], trust=trust, at=NOW, out=out)
        assert "room" in str(info.value.hint)
        assert out.read_bytes() == b"what was there"
        assert list(spool.iterdir()) == []
    assert {one.name for one in tmp_path.iterdir()} == {"out.eml", "spool"}


# --- while somebody else writes to the file ---------------------------------------------------


@pytest.mark.parametrize("form", ["clear", "clear, LF", "opaque", "bare", "detached"])
def test_what_was_verified_stays_what_it_was_whatever_becomes_of_the_file(
    alice: Identity, trust: TrustStore, large: bytes, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "signed.eml"
    arguments: dict[str, Any] = {"trust": trust, "at": NOW}
    if form in ("bare", "detached"):
        arguments["sender"] = "alice@contoso.com"
        content = large.partition(b"\r\n\r\n")[2]
        der, _ = signed_data.sign(
            content, [alice], detached=form == "detached", policy=EXCHANGE, at=NOW
        )
        path.write_bytes(der if form == "bare" else content)
        if form == "detached":
            arguments["content"] = path
    else:
        der = sign(large, signer=alice, detached=form != "opaque", at=NOW)
        path.write_bytes(der.replace(b"\r\n", b"\n") if "LF" in form else der)
    opened = verify(der if form == "detached" else path, **arguments)
    assert isinstance(opened.inside, memoryview | Rope)
    before = bytes(opened.inside)
    assert LINE * 1000 in before
    with path.open("r+b") as file:
        for at in range(0, path.stat().st_size, 100_000):
            file.seek(at)
            file.write(b"changed")
        assert bytes(opened.inside) == before
        file.truncate(0)
    assert bytes(opened.inside) == before


def test_what_is_changed_while_it_is_verified_is_refused_or_was_read_before(
    alice: Identity,
    trust: TrustStore,
    large: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the last moment: when the digest is made nobody can change what is written."""
    path, out = tmp_path / "signed.eml", tmp_path / "out"
    signed = sign(large, signer=alice, at=NOW)
    path.write_bytes(signed)
    really = Digest.compute

    def computed(digest: Any, content: Any) -> bytes:
        found = really(digest, content)
        if len(content) > buffers.LARGE:
            path.write_bytes(signed.replace(b"quick brown fox", b"other brown fox"))
        return found

    monkeypatch.setattr(Digest, "compute", computed)
    opened = verify(path, trust=trust, at=NOW, out=out)
    assert opened.signer is not None
    assert b"other brown fox" in path.read_bytes()
    assert b"other brown fox" not in out.read_bytes()
    with pytest.raises(SignatureInvalid):
        verify(path, trust=trust, at=NOW, out=out)
