"""What is too large to be copied is made as what is small is made."""

from __future__ import annotations

import base64
import inspect
import io
import os
import random
import resource
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smime_graph import (
    EXCHANGE,
    RFC_8551,
    Contact,
    Identity,
    Policy,
    SharedKey,
    TrustStore,
    buffers,
    compress,
    decompress,
    encrypt,
    seal,
    sign,
    unseal,
)
from smime_graph.buffers import Rope
from smime_graph.errors import MalformedMessage, PolicyRefusal, UsageError
from smime_graph.smime import large, outgoing
from smime_graph.smime.canonical import canonical_entity
from smime_graph.smime.entity import Entity
from smime_graph.smime.large import canonical_large

FILLER = base64.encodebytes(random.Random(1).randbytes(40_000)).replace(b"\n", b"\r\n")
TEXT = b"The figures of this quarter are in.\r\n" * 600
HEAD = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nMessage-ID: <a@b>\r\nDate: then\r\n"


def leaf(kind: bytes, encoding: bytes, body: bytes) -> bytes:
    return b"Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s" % (kind, encoding, body)


def parts(*given: bytes, boundary: bytes = b"b", kind: bytes = b"mixed") -> bytes:
    inside = b"".join(b"--%s\r\n%s\r\n" % (boundary, one) for one in given)
    head = b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n' % (kind, boundary)
    return b"%s%s--%s--\r\n" % (head, inside, boundary)


def deep(levels: int) -> bytes:
    inner = leaf(b"text/plain", b"7bit", TEXT)
    for level in range(levels):
        inner = parts(inner, boundary=b"d%d" % level)
    return inner


ENTITIES = {
    "base64": leaf(b"application/pdf", b"base64", FILLER),
    "text": leaf(b"text/plain", b"7bit", TEXT),
    "text labelled 8bit": leaf(b"text/plain", b"8bit", TEXT),
    "quoted-printable": leaf(b"text/plain", b"quoted-printable", TEXT),
    "binary text": leaf(b"text/plain", b"binary", TEXT),
    "octets that are text": leaf(b"application/octet-stream", b"7bit", TEXT),
    "no label": b"\r\n" + TEXT,
    "wide text": leaf(b"text/plain; charset=utf-16", b"7bit", TEXT),
    "8bit text": leaf(b"text/plain; charset=utf-8", b"8bit", TEXT + "ä\r\n".encode() + TEXT),
    "NUL at the end": leaf(b"text/plain", b"7bit", TEXT + b"\0"),
    "8-bit octets": leaf(b"application/x-log", b"8bit", TEXT + "ä\n".encode() + TEXT),
    "octets with LF": leaf(b"application/x-log", b"7bit", TEXT + b"\n" + TEXT),
    "mixed line ends in base64": leaf(b"a/b", b"base64", FILLER + b"QQ==\n" + FILLER),
    "mixed line ends in quoted-printable": leaf(
        b"text/plain", b"quoted-printable", TEXT + b"=41\n" + TEXT
    ),
    "mixed line ends in quoted octets": leaf(b"a/b", b"quoted-printable", TEXT + b"=41=\n" + TEXT),
    "a NUL in quoted-printable": leaf(b"text/plain", b"quoted-printable", TEXT + b"=00\n" + TEXT),
    "NUL and LF": leaf(b"text/plain", b"8bit", TEXT + b"\0\n" + TEXT),
    "8bit in base64": leaf(b"a/b", b"base64", FILLER + b"\xe4\r\n" + FILLER),
    "8bit in a part": parts(
        leaf(b"text/plain; charset=utf-8", b"8bit", "für --\r\n".encode() + TEXT),
        leaf(b"text/html; charset=utf-8", b"8bit", TEXT + "\rFrom für ".encode() + TEXT),
        leaf(b"a/b", b"base64", FILLER),
        leaf(b"a/b", b"binary", TEXT + b"\0\n" + TEXT),
    ),
    "bare CR": leaf(b"text/plain", b"7bit", TEXT + b"a\rb\r\n" + TEXT),
    "CR and LF apart": leaf(b"text/plain", b"7bit", TEXT + b"a\rb\n" + TEXT),
    "bare LF": leaf(b"text/plain", b"7bit", TEXT + b"a\nb\r\n" + TEXT),
    "long line": leaf(b"text/plain", b"7bit", TEXT + b"x" * 999 + b"\r\n" + TEXT),
    "line that is not too long": leaf(b"text/plain", b"7bit", TEXT + b"x" * 998 + b"\r\n" + TEXT),
    "From at a line's start": leaf(b"text/plain", b"7bit", TEXT + b"From here\r\n" + TEXT),
    "From at the start": leaf(b"text/plain", b"7bit", b"From here\r\n" + TEXT),
    "blank at a line's end": leaf(b"text/plain", b"7bit", TEXT + b"here \r\n" + TEXT),
    "tab at the end": leaf(b"text/plain", b"7bit", TEXT + b"here\t"),
    "no line end at the end": leaf(b"text/plain", b"7bit", TEXT + b"here"),
    "parts": parts(leaf(b"text/plain", b"7bit", b"Hello"), leaf(b"a/b", b"base64", FILLER)),
    "parts in parts": parts(
        parts(leaf(b"text/plain", b"8bit", TEXT), leaf(b"text/html", b"8bit", TEXT), boundary=b"c"),
        leaf(b"a/b", b"base64", FILLER),
        leaf(b"image/png", b"base64", FILLER),
    ),
    "a multipart labelled 8bit": b"Content-Transfer-Encoding: 8bit\r\n"
    + parts(leaf(b"text/plain", b"7bit", TEXT)),
    "a multipart labelled base64": b"Content-Transfer-Encoding: base64\r\n"
    + parts(leaf(b"text/plain", b"7bit", TEXT)),
    "a message in it": parts(
        leaf(b"message/rfc822", b"8bit", HEAD + leaf(b"text/plain", b"8bit", TEXT)),
        leaf(
            b"message/rfc822",
            b"7bit",
            HEAD + parts(leaf(b"text/x", b"8bit", TEXT), boundary=b"c"),
        ),
    ),
    "a digest": parts(b"\r\n" + HEAD + leaf(b"text/plain", b"8bit", TEXT), kind=b"digest"),
    "a message": leaf(b"message/rfc822", b"8bit", HEAD + leaf(b"text/plain", b"8bit", TEXT)),
    "signed already": parts(
        leaf(b"text/plain", b"7bit", TEXT),
        leaf(b"application/pkcs7-signature", b"base64", FILLER[:200]),
        kind=b"signed",
    ),
    "no such boundary": b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + TEXT,
    "no boundary": b"Content-Type: multipart/mixed\r\n\r\n" + TEXT,
    "never closed": parts(leaf(b"text/plain", b"7bit", TEXT)).removesuffix(b"--b--\r\n"),
    "preamble and epilogue": parts(leaf(b"text/plain", b"7bit", TEXT)).replace(
        b"\r\n\r\n--b\r\n", b"\r\n\r\n" + TEXT + b"--b\r\n", 1
    )
    + TEXT,
    "preamble with 8bit": parts(leaf(b"text/plain", b"7bit", TEXT)).replace(
        b"\r\n\r\n--b\r\n", b"\r\n\r\n" + TEXT + b"\xe4\r\n--b\r\n", 1
    ),
    "blanks behind a delimiter": parts(leaf(b"text/plain", b"7bit", TEXT)).replace(
        b"--b\r\n", b"--b \t\r\n", 1
    ),
    "lines with dashes": leaf(b"text/plain", b"7bit", (TEXT + b"--\r\nyours\r\n") * 3),
    "8bit behind a line with dashes": leaf(
        b"text/plain", b"8bit", b"a=b\r\n" + TEXT + b"-- \r\n\xc3\xa4\r\n" + TEXT
    ),
    "8bit in quoted-printable": leaf(
        b"text/plain", b"quoted-printable", b"=41\r\n" + TEXT + b"-- \r\n\xc3\xa4\r\n" + TEXT
    ),
    "lines that look like parts": leaf(
        b"text/plain", b"7bit", TEXT + b"--x\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + TEXT
    ),
    "empty parts": parts(b"", b"", leaf(b"text/plain", b"7bit", TEXT)),
    "unknown encoding": leaf(b"text/plain", b"x-new", TEXT),
    "uuencode": leaf(b"application/pdf", b"x-uuencode", TEXT),
    "base64 with blanks": leaf(b"a/b", b"base64", FILLER + b"QQ== \r\n" + FILLER),
    "base64 in one line": leaf(b"a/b", b"base64", FILLER.replace(b"\r\n", b"")),
    "base64 in lines of two widths": leaf(b"a/b", b"base64", FILLER + TEXT + FILLER),
    "8bit in a header": parts(
        leaf(b"text/plain; name=\xc3\xa4", b"7bit", TEXT), leaf(b"a/b", b"base64", FILLER)
    ),
    "a part that is all header": parts(b"X-A: " + b"\r\nX-B: ".join([b"value"] * 4000)),
    "deep": deep(30),
    "too deep": deep(45),
}


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test of a few KB goes the way of hundreds of MB, over many ends of chunks."""
    monkeypatch.setattr(large, "CHUNK", 5_000)
    monkeypatch.setattr(buffers, "CHUNK", 3_001)


def outcome(work: Callable[[], object]) -> object:
    try:
        return work()
    except MalformedMessage as error:
        return str(error)


def halves(entity: bytes) -> tuple[bytes, memoryview]:
    body = Entity(entity).body
    return entity[: len(entity) - len(body)], memoryview(body)


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("name", ENTITIES)
def test_the_canonical_form_is_that_of_what_is_small(name: str, end: bytes, clear: bool) -> None:
    raw = ENTITIES[name].replace(b"\r\n", end)
    wanted = outcome(lambda: canonical_entity(raw, clear=clear))
    header, body = halves(raw)
    assert outcome(lambda: bytes(canonical_large(header, body, clear=clear))) == wanted


IN_SLICES = [
    "base64",
    "text",
    "text labelled 8bit",
    "quoted-printable",
    "parts",
    "parts in parts",
    "a message in it",
    "a multipart labelled 8bit",
    "lines with dashes",
    "8bit in a header",
    "8bit text",
    "bare LF",
    "bare CR",
    "CR and LF apart",
    "long line",
    "From at a line's start",
    "blank at a line's end",
    "tab at the end",
    "8-bit octets",
    "mixed line ends in base64",
    "8bit in a part",
]


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("name", IN_SLICES)
def test_what_is_clean_is_not_copied(name: str, end: bytes, clear: bool) -> None:
    raw = ENTITIES[name].replace(b"\r\n", end)
    header, body = halves(raw)
    made = canonical_large(header, body, clear=clear)
    assert isinstance(made, Rope)
    assert len(made) == len(bytes(made))


@pytest.mark.usefixtures("small_is_large")
@given(st.data())
def test_any_lines_become_what_they_become_when_they_are_small(data: st.DataObject) -> None:
    """The scans by chunks and by lines of one width, against the rules."""
    pieces = [b"x" * 76, b"x" * 40, b"From x", b"a b", b"a ", b"\t", b"", b"--b", b"--b--"]
    pieces += [b"=00", b"=", b"x" * 999]
    end = data.draw(st.sampled_from([b"\r\n", b"\n"]))
    ends = [end, end, end, end, b"\n", b"\r\n", b"\r", b"\0", b"\xe4" + end, b"\rx\n"]
    kinds = [b"text/plain", b"text/plain; charset=utf-16", b"a/b", b"multipart/mixed; boundary=b"]
    kind = data.draw(st.sampled_from([*kinds, b"message/rfc822", b"message/delivery-status"]))
    encodings = [b"7bit", b"8bit", b"binary", b"base64", b"quoted-printable", b"x-uue", b"x-new"]
    encoding = data.draw(st.sampled_from(encodings))
    line = st.tuples(
        st.sampled_from(pieces), st.sampled_from(ends), st.sampled_from([0, 1, 150, 600])
    )
    lines = data.draw(st.lists(line, min_size=1, max_size=5))
    body = b"".join(text + odd + (b"x" * 76 + end) * more for text, odd, more in lines)
    header = leaf(kind, encoding, b"").replace(b"\r\n", end)
    for clear in (True, False):
        wanted = outcome(partial(canonical_entity, header + body, clear=clear))
        large_one = partial(canonical_large, header, memoryview(body), clear=clear)
        made = outcome(lambda work=large_one: bytes(work()))  # type: ignore[misc]
        # of two faults another may be said
        assert made == wanted or (isinstance(made, str) and isinstance(wanted, str))


def test_lines_with_dashes_are_looked_at_once() -> None:
    """A patch has thousands: each cost a look at the 64 KB behind it."""
    lines, looked = b"--x\r\n" * 2000 + TEXT * 200, 0
    really = Entity

    class Counted:
        def __new__(cls, raw: Any) -> Any:
            nonlocal looked
            looked += len(raw)
            return really(raw)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large, "Entity", Counted)
        made = canonical_large(leaf(b"text/x", b"7bit", b""), memoryview(lines), clear=True)
    assert bytes(made).endswith(lines)
    assert looked < 2 * len(lines)


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("before", range(0, 171, 19))
def test_base64_does_not_go_on_in_the_middle(before: int) -> None:
    """Of a body of which a part only was cut out."""
    for more in range(57):
        body = b"-" * before + b"\r\n" + b"x" * more + b"\r\n\0\n" + TEXT + b"--\r\n\r\n" + TEXT
        raw = leaf(b"a/b", b"binary", body)
        made = canonical_large(*halves(raw), clear=True)
        assert bytes(made) == canonical_entity(raw, clear=True)


# --- the engine ------------------------------------------------------------------------------

MANY = HEAD + leaf(b"application/pdf", b"base64", FILLER * 80)  # over 4 MB


@pytest.fixture
def same_random(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The same random octets again, from when it is called."""
    source = random.Random()

    def again() -> None:
        source.seed(7)

    monkeypatch.setattr(os, "urandom", source.randbytes)
    monkeypatch.setattr(os, "urandom", lambda size: b"\x5a" * size)
    again()
    return again


def in_memory(monkeypatch: pytest.MonkeyPatch, work: Callable[[], bytes]) -> bytes:
    with monkeypatch.context() as patched:
        patched.setattr(outgoing, "LARGE", 1 << 40)
        return work()


@pytest.mark.parametrize("detached", [True, False])
def test_what_is_signed_is_the_same_octets(
    alice_rsa: Identity,
    now: datetime,
    same_random: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    detached: bool,
) -> None:
    def work() -> bytes:
        same_random()
        return sign(MANY, signer=alice_rsa, detached=detached, at=now)

    assert work() == in_memory(monkeypatch, work)


KEY = SharedKey(b"k" * 32, identifier=b"one")


@pytest.mark.parametrize(
    "policy",
    [
        EXCHANGE,
        RFC_8551,
        RFC_8551.but("chacha", ciphers=("chacha20-poly1305",)),
        EXCHANGE.but("packed", compress=True),
    ],
    ids=lambda policy: policy.name,
)
def test_what_is_sealed_is_the_same_octets(
    alice_rsa: Identity,
    now: datetime,
    same_random: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    policy: Policy,
) -> None:
    mine = policy.but("mine", encrypt_to_self=False, every_recipient_must_read=False)

    def work() -> bytes:
        same_random()
        return seal(MANY, signer=alice_rsa, recipients=[KEY], policy=mine, at=now)

    assert work() == in_memory(monkeypatch, work)


WIDE = b"Content-Type: text/html; charset=utf-8\r\n\r\n<body><p>Hello</p></body>\r\n"
SMALL = leaf(b"text/plain", b"quoted-printable", b"Hello=20you\r\n")
BESIDE = leaf(b"application/pdf", b"base64", FILLER * 25)


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
@pytest.mark.parametrize(
    ("shape", "marks"),
    [
        (parts(SMALL, BESIDE), 1),
        (parts(WIDE, BESIDE, kind=b"related"), 1),
        (parts(parts(SMALL, WIDE, boundary=b"i", kind=b"alternative"), BESIDE), 2),
        (b"Subject: x\r\n" + parts(b"\r\nno header of its own\r\n", BESIDE), 0),
        (parts(BESIDE, SMALL), 0),
    ],
)
def test_what_was_hidden_is_displayed_in_the_small_text_of_a_large_message(
    monkeypatch: pytest.MonkeyPatch,
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    now: datetime,
    shape: bytes,
    marks: int,
    line_end: bytes,
) -> None:
    raw = (HEAD + b"Subject: the takeover\r\n" + shape).replace(b"\r\n", line_end)
    assert len(raw) > buffers.LARGE

    def content() -> bytes:
        made = seal(
            raw, signer=alice, recipients=[to_bob], at=now, header_confidentiality="baseline"
        )
        return unseal(made, identities=[bob], trust=trust, at=now).content

    found = content()
    assert found.count(b'hp-legacy-display="1"') == marks
    body = found.partition(b"\r\n\r\n")[2]
    assert body.count(b"Subject: the takeover") == marks
    assert found == in_memory(monkeypatch, content)


def test_what_is_compressed_is_the_same_content(monkeypatch: pytest.MonkeyPatch) -> None:
    made = compress(MANY)
    assert (
        decompress(made).content
        == decompress(in_memory(monkeypatch, lambda: compress(MANY))).content
    )


# --- files -----------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.eml"
    path.write_bytes(MANY)
    return path


def test_a_file_is_sealed_into_a_file(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime, source: Path
) -> None:
    out = source.with_name("out.eml")
    header = seal(source, signer=alice, recipients=[to_bob], at=now, out=out)
    made = out.read_bytes()
    assert Entity(made).header == header
    opened = unseal(made, identities=[bob], trust=trust, at=now)
    assert opened.content.endswith(FILLER)
    assert sorted(one.name for one in source.parent.iterdir()) == ["in.eml", "out.eml"]


@pytest.mark.parametrize("verb", [sign, encrypt, seal, compress])
def test_every_verb_takes_and_gives_files(
    verb: Callable[..., bytes], alice: Identity, to_bob: Contact, now: datetime, tmp_path: Path
) -> None:
    small = HEAD + leaf(b"text/plain", b"7bit", b"Hello\r\n")
    (tmp_path / "in").write_bytes(small)
    named = set(inspect.signature(verb).parameters)
    options = {"signer": alice, "recipients": [to_bob], "at": now}
    given = {name: value for name, value in options.items() if name in named}
    out = io.BytesIO()
    with (tmp_path / "in").open("rb") as file:
        header = verb(file, out=out, **given)
    assert Entity(out.getvalue()).header == header
    header = verb(tmp_path / "in", out=tmp_path / "out", **given)
    made = (tmp_path / "out").read_bytes()
    assert Entity(made).header == header


def test_a_file_that_cannot_be_read_or_written_is_named(
    alice: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^no-such cannot be read: No such file"):
        sign(Path("no-such"), signer=alice)
    with pytest.raises(UsageError, match=r"^no-such/out cannot be written: No such file"):
        sign(MANY, signer=alice, out=Path("no-such/out"))
    with pytest.raises(UsageError, match=r"^\. cannot be written: Is a directory"):
        sign(MANY, signer=alice, out=Path())
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_leaves_what_is_there(alice: Identity, source: Path) -> None:
    out = source.with_name("out.eml")
    out.write_bytes(b"before")
    with pytest.raises(PolicyRefusal):
        seal(source, signer=alice, recipients=[Contact(alice.certificate)], out=out)
    assert out.read_bytes() == b"before"
    assert sorted(one.name for one in source.parent.iterdir()) == ["in.eml", "out.eml"]


def test_a_full_disk_leaves_what_is_there(alice: Identity, source: Path) -> None:
    out = source.with_name("out.eml")
    out.write_bytes(b"before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, before[1]))
    try:
        with pytest.raises(UsageError, match=r"out.eml cannot be written: ") as caught:
            sign(source, signer=alice, out=out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "make room" in str(caught.value.hint)
    assert out.read_bytes() == b"before"
    assert sorted(one.name for one in source.parent.iterdir()) == ["in.eml", "out.eml"]


def test_where_the_name_is_a_link_its_target_is_replaced(alice: Identity, tmp_path: Path) -> None:
    (tmp_path / "target").touch(mode=0o640)
    (tmp_path / "link").symlink_to("target")
    sign(MANY, signer=alice, out=tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "target").stat().st_size > len(MANY)


def test_the_author_of_a_message_that_is_the_whole_content_is_held_against_the_signer(
    alice: Identity, source: Path
) -> None:
    inner = MANY.replace(b"alice@", b"mallory@")
    source.write_bytes(HEAD + b"Content-Type: message/rfc822\r\n\r\n" + inner)
    with pytest.raises(PolicyRefusal, match="mallory"):
        sign(source, signer=alice)
