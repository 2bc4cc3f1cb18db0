"""The sample messages of RFC 9788 appendix C: their protected fields, as the RFC's text says.

They are taken out of `../shared/rfc/rfc9788.txt`, where that is there; a few of them stand among
the vectors as files, with what they unwrap to. What is wanted is read by Python's `email`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest

from smime_graph import (
    CA,
    Contact,
    Identity,
    Opened,
    TrustStore,
    seal,
    sign,
    unseal,
)
from smime_graph.pki.identity import read_certificates, read_key_file

pytestmark = pytest.mark.slow

_SHARED = Path(__file__).resolve().parents[3] / "shared"
_TEXT = _SHARED / "rfc" / "rfc9788.txt"
_FILES = _SHARED / "vectors" / "02_rfc9788"
_PEOPLE = _SHARED / "vectors" / "01_rfc9216" / "pem"
_AT = datetime(2021, 2, 21, tzinfo=UTC)

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Sample:
    """A message, and the Cryptographic Payload that it unwraps to."""

    name: str
    raw: bytes
    payload: bytes


# --- taking them out of the text ------------------------------------------------------------------

_SECTION = re.compile(r"^C\.([123]\.\d+)(?:\.\d+)?\.  (.*(?:\n {6,}.*)*)\n", re.MULTILINE)
_OPENINGS = ("   Its contents are:\n", "layer unwraps to:\n")


def samples(text: str) -> Iterator[Sample]:
    """Each message of appendix C with a signature, in order."""
    appendix = text[text.rindex("\nAppendix C.") : text.rindex("\nAppendix D.")]
    heads = [*_SECTION.finditer(appendix)]
    messages: dict[str, tuple[str, bytes]] = {}
    payloads: dict[str, bytes] = {}
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        body = appendix[head.end() : following.start() if following else len(appendix)]
        number, title = head[1], " ".join(head[2].split())
        for opening, kind in zip(_OPENINGS, ("message", "payload"), strict=True):
            if opening not in body:
                continue
            octets = _unindented(body.partition(opening)[2])
            if kind == "payload":
                payloads[number] = octets
            elif "pkcs7" in octets[: octets.index(b"\r\n\r\n")].decode():
                messages[number] = (title, octets)
    for number, (title, raw) in messages.items():
        yield Sample(f"C.{number} {title}", raw, payloads.get(number) or _signed_part(raw))


def _unindented(block: str) -> bytes:
    lines = [line.removeprefix("   ") for line in block.strip("\n").split("\n")]
    # the text has lost the blank at the end of the line above a signature
    return b"".join(("-- " if line == "--" else line).encode() + b"\r\n" for line in lines)


def _signed_part(raw: bytes) -> bytes:
    """The first part of a multipart/signed, octet by octet."""
    boundary = message_from_bytes(raw).get_boundary()
    assert boundary is not None
    return raw.split(b"--%b\r\n" % boundary.encode())[1].removesuffix(b"\r\n")


# --- what is wanted of each -----------------------------------------------------------------------


def _pairs(message: Message[Any, Any]) -> Pairs:
    return [(name, " ".join(str(value).split())) for name, value in message.raw_items()]


def _is_structural(name: str) -> bool:
    return name.lower().startswith("content-") or name.lower() == "mime-version"


@dataclass(frozen=True)
class Wanted:
    intent: Literal["clear", "cipher"] | None
    fields: Pairs
    outer: Pairs | None

    @classmethod
    def of(cls, sample: Sample) -> Wanted:
        payload = message_from_bytes(sample.payload)
        is_encrypted = b"enveloped-data" in sample.raw
        hp = payload.get_param("hp")
        outer: Pairs | None = None
        if hp is not None:
            intent = {"clear": "clear", "cipher": "cipher"}[str(hp)]
            held = _pairs(payload)
            if intent == "cipher":
                records = [value.partition(":") for name, value in held if name == "HP-Outer"]
                outer = [(name, value.strip()) for name, _, value in records]
        elif payload.get_content_type() == "message/rfc822":
            intent = "cipher" if is_encrypted else "clear"
            inner = payload.get_payload(0)
            assert isinstance(inner, Message)
            held = _pairs(inner)
            if is_encrypted:
                outer = [
                    pair
                    for pair in _pairs(message_from_bytes(sample.raw))
                    if not _is_structural(pair[0])
                ]
        else:
            return cls(None, [], None)
        fields = [one for one in held if not _is_structural(one[0]) and one[0] != "HP-Outer"]
        return cls(intent, fields, outer)  # type: ignore[arg-type]


def check(sample: Sample, opened: Opened) -> None:
    """What was opened is the sample, and its header is what the payload says."""
    wanted = Wanted.of(sample)
    report = opened.report
    assert report.accepted
    assert not report.has("smime.header-protection")
    assert not report.has("smime.outer-header")
    assert report.header_protection == wanted.intent
    assert _lines(opened.content) == _lines(sample.payload)
    outside = message_from_bytes(sample.raw)
    shown = message_from_bytes(opened.raw)
    visible = [pair for pair in _pairs(outside) if not _is_structural(pair[0])]
    if wanted.intent is None:
        assert opened.protected is None
        assert report.header_fields == ()
        assert [one for one in _pairs(shown) if not _is_structural(one[0])] == visible
        return
    assert opened.protected is not None
    fields = [(one.name, " ".join(one.value.split())) for one in opened.protected.fields]
    assert fields == wanted.fields
    found = opened.protected.outer
    assert (None if found is None else [*found]) == wanted.outer
    hidden = [] if wanted.outer is None else [one for one in fields if one not in wanted.outer]
    assert [(one.name, one.state) for one in report.header_fields] == [
        (name, "signed-and-encrypted" if (name, value) in hidden else "signed-only")
        for name, value in fields
    ]
    if wanted.intent == "cipher":
        assert "Subject" in [name for name, _ in hidden]
    # a shorter spelling of an address or of a moment is not another one
    assert report.outer_headers_differ == (("Subject",) if wanted.intent == "cipher" else ())
    # RFC 9788 4: each field once, as it is inside, and nothing of the scheme
    assert sorted(one for one in _pairs(shown) if not _is_structural(one[0])) == sorted(fields)
    assert b"hp=" not in opened.raw.replace(b'charset="', b"")
    if b"hp-legacy-display" in sample.payload:
        _check_without_display(opened, dict(fields)["Subject"])


def _check_without_display(opened: Opened, subject: str) -> None:
    for part in opened.message.walk():
        if part.get_content_maintype() == "text":
            text = part.get_content()
            assert f"Subject: {subject}" not in text
            assert "legacy-display" not in text
            assert subject in text


def _lines(octets: bytes) -> list[bytes]:
    return [line.rstrip() for line in octets.rstrip().splitlines()]


# --- the RFC's own --------------------------------------------------------------------------------


@cache
def _from_text() -> tuple[Sample, ...]:
    return tuple(samples(_TEXT.read_text("utf-8"))) if _TEXT.is_file() else ()


def _from_files() -> list[Sample]:
    return [
        Sample(path.name.removesuffix(".payload.txt"), eml.read_bytes(), path.read_bytes())
        for path in sorted(_FILES.glob("*.payload.txt"))
        for eml in [path.with_name(path.name.replace(".payload.txt", ".eml"))]
    ]


def _person(number: int, use: Literal["signs", "reads"]) -> Identity:
    certificate, key = (1, 2) if use == "signs" else (3, 4)
    (found,) = read_certificates(next(_PEOPLE.glob(f"{number}.{certificate}_*.pem")))
    return Identity(
        read_key_file(next(_PEOPLE.glob(f"{number}.{key}_*.pem"))).keys[0],
        found,
    )


def _trust() -> TrustStore:
    return TrustStore.from_pem(next(_PEOPLE.glob("3.1_*.pem")))


SAMPLES = [*_from_files(), *_from_text()]


def test_the_samples_are_there(vectors: Path) -> None:
    assert len(_from_files()) >= 3
    if not _TEXT.is_file():
        pytest.skip(
            f"the text of RFC 9788 is not at {_TEXT}: the samples among the vectors are run"
        )
    assert len(_from_text()) == 29  # 6 without header protection, 6 signed, 17 encrypted
    assert sum(Wanted.of(one).intent is not None for one in _from_text()) == 23


@pytest.mark.parametrize("sample", SAMPLES, ids=[one.name for one in SAMPLES])
def test_the_header_of_a_sample_is_as_the_rfc_says(sample: Sample, vectors: Path) -> None:
    for reader in (4, 5):  # Alice and Bob
        opened = unseal(sample.raw, identities=[_person(reader, "reads")], trust=_trust(), at=_AT)
        check(sample, opened)


@pytest.mark.parametrize("sample", SAMPLES, ids=[one.name for one in SAMPLES])
def test_what_we_make_of_a_sample_has_the_same_header(sample: Sample, vectors: Path) -> None:
    """Opened, and sealed again as its name says."""
    alice = _person(4, "signs")
    opened = unseal(sample.raw, identities=[_person(5, "reads")], trust=_trust(), at=_AT)
    wanted = Wanted.of(sample)
    if wanted.intent is None:
        return
    if wanted.intent == "clear":
        made = sign(opened.raw, signer=alice, at=_AT)
    else:
        made = seal(
            opened.raw,
            signer=alice,
            recipients=[Contact(_person(5, "reads").certificate)],
            header_confidentiality="shy" if "shy" in sample.name else "baseline",
            at=_AT,
        )
    again = unseal(made, identities=[_person(5, "reads")], trust=_trust(), at=_AT)
    assert again.protected is not None
    assert again.protected.intent == wanted.intent
    assert sorted(_values(again.protected.fields)) == sorted(wanted.fields)
    if wanted.outer is not None:
        assert again.protected.outer is not None
        assert sorted(again.protected.outer) == sorted(wanted.outer)
        outside = [one for one in _pairs(message_from_bytes(made)) if not _is_structural(one[0])]
        assert sorted(outside) == sorted(wanted.outer)
    assert again.message.get_body() is not None


def _values(fields: Any) -> Pairs:
    return [(one.name, " ".join(one.value.split())) for one in fields]


# --- that a text of this form is read -------------------------------------------------------------


def _printed(number: str, title: str, opening: str, octets: bytes) -> str:
    lines = octets.decode().rstrip().split("\r\n")
    block = "\n".join(f"   {line}".rstrip() for line in lines)
    head = f"C.{number}.  {title},\n       Header Protection\n\n   Words.\n"
    return f"{head}\n   {opening}\n\n{block}\n\n"


def test_the_samples_of_a_text_are_found_and_compared() -> None:
    ca = CA("Text", key="p256", at=_AT)
    trust = TrustStore.from_pem(ca.trust_pem)
    alice, bob = (
        ca.issue(f"{name}@smime.example", key="p256", at=_AT) for name in ("alice", "bob")
    )
    message = (
        b"From: Alice <alice@smime.example>\r\nTo: Bob <bob@smime.example>\r\nSubject: hp-shy\r\n"
        b"Message-ID: <1@example>\r\nDate: Sat, 20 Feb 2021 10:12:02 -0500\r\n\r\nhp-shy\r\n"
    )
    opaque = sign(message, signer=alice, detached=False, at=_AT)
    clear = sign(message, signer=alice, at=_AT)
    sealed = seal(
        message,
        signer=alice,
        recipients=[Contact(bob.certificate)],
        header_confidentiality="shy",
        at=_AT,
    )
    payloads = [
        unseal(one, identities=[bob], trust=trust, at=_AT).content for one in (opaque, sealed)
    ]
    text = (
        "\nAppendix C.  Test Vectors\n\nC.2.  Signed-Only Messages\n\n"
        + _printed("1.1", "plain", "Its contents are:", message)
        + _printed("2.1", "opaque", "Its contents are:", opaque)
        + _printed("2.1.1", "opaque", "The S/MIME signed-data layer unwraps to:", payloads[0])
        + _printed("2.2", "clear", "Its contents are:", clear)
        + _printed("3.1", "sealed", "Its contents are:", sealed)
        + _printed("3.1.1", "sealed", "unwraps to this signed-data part:", opaque)
        + _printed("3.1.2", "sealed", "The inner signed-data layer unwraps to:", payloads[1])
        + "\nAppendix D.  Composition Examples\n"
    )
    found = [*samples(text)]
    assert [one.name for one in found] == [
        "C.2.1 opaque, Header Protection",
        "C.2.2 clear, Header Protection",
        "C.3.1 sealed, Header Protection",
    ]
    for sample in found:
        check(sample, unseal(sample.raw, identities=[bob], trust=trust, at=_AT))
    # what the text says otherwise is noticed
    for change in (
        (b"Alice <", b"Eve <"),
        (b"HP-Outer: Subject", b"HP-Outer: Comments"),
        (b"hp=", b"h="),
    ):
        other = Sample("", sealed, payloads[1].replace(*change))
        assert other.payload != payloads[1]
        with pytest.raises(AssertionError):
            check(other, unseal(sealed, identities=[bob], trust=trust, at=_AT))
