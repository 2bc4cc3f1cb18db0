"""What the verbs make keeps the octets of its parts, and what would not survive is not sent."""

from __future__ import annotations

import json
from email import message_from_bytes
from pathlib import Path

import pytest

from .conftest import Run

PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\r\n1 0 obj\r" + bytes(range(256)) + b"\n%%EOF\n"
MESSAGE = (
    b"From: alice@contoso.com\nTo: bob@contoso.com\nSubject: x\nMIME-Version: 1.0\n"
    b"Content-Type: multipart/mixed; boundary=Q\n\n--Q\n\nsee\n--Q\nContent-Type: application/pdf"
    b"\nContent-Transfer-Encoding: 8bit\n\n" + PDF + b"\n--Q--\n"
)
SIGNER, RECIPIENT = ("--signer", "alice.key"), ("--recipient", "bob.pem")
OPEN = ("--identity", "bob.key", "--trust", "roots.pem")


def octets(raw: bytes) -> bytes:
    for part in message_from_bytes(raw).walk():
        if part.get_content_type() == "application/pdf":
            found = part.get_payload(decode=True)
            assert isinstance(found, bytes)
            return found
    raise AssertionError("no such part")


@pytest.mark.parametrize(
    ("make", "read"),
    [
        (("sign", *SIGNER), ("verify", "--trust", "roots.pem")),
        (("sign", "--opaque", *SIGNER), ("verify", "--trust", "roots.pem")),
        (("encrypt", *RECIPIENT), ("decrypt", "--identity", "bob.key")),
        (("seal", *SIGNER, *RECIPIENT), ("unseal", *OPEN)),
        (("seal", "--compress", *SIGNER, *RECIPIENT), ("unseal", *OPEN)),
        (("compress",), ("decompress",)),
    ],
    ids=["sign", "opaque", "encrypt", "seal", "seal-compressed", "compress"],
)
def test_every_verb_keeps_the_octets_of_a_part(
    here: Path, call: Run, make: tuple[str, ...], read: tuple[str, ...]
) -> None:
    (here / "pdf.eml").write_bytes(MESSAGE)
    for given in (call(*make, "pdf.eml"), call(*make, stdin=MESSAGE)):
        assert given.status == 0, given.err
        found = call(*read, stdin=given.out)
        assert found.status == 0, found.err
        assert octets(found.out) == PDF


@pytest.mark.parametrize("verb", ["send", "sendmail", "draft"])
def test_what_is_sealed_on_its_way_keeps_the_octets_of_a_part(call: Run, verb: str) -> None:
    at = ("--emulator-data", "box.db")
    words = ("-t", "-i") if verb == "sendmail" else ()
    assert call(verb, *words, *SIGNER, *RECIPIENT, *at, stdin=MESSAGE).status == 0
    where, whose = ("drafts", "alice") if verb == "draft" else ("inbox", "bob")
    whose = f"{whose}@contoso.com"
    listed = call("list", *at, "--user", whose, "--folder", where, "--json")
    (message,) = json.loads(listed.out)["messages"]
    opened = call("fetch", message["id"], *at, "--user", whose, "--unseal", *OPEN)
    assert opened.status == 0, opened.err
    assert octets(opened.out) == PDF


@pytest.mark.parametrize("verb", ["check", "send", "draft"])
def test_a_finished_signature_over_long_lines_is_not_submitted(call: Run, verb: str) -> None:
    long_line = MESSAGE.replace(PDF, b"QUJD" * 300).replace(b"8bit", b"base64")
    signed = call("sign", *SIGNER, stdin=long_line)
    assert signed.status == 0, signed.err
    finished = signed.out.replace(b"QUJD\r\n", b"QUJD")
    assert b"QUJD" * 300 in finished
    assert call(verb, "--emulator", stdin=signed.out).status == 0
    result = call(verb, "--emulator", stdin=finished)
    assert result.status == 1
    assert "lines over 998 octets" in result.err + result.out.decode()


@pytest.mark.parametrize("verb", ["check", "send", "sign"])
def test_what_cannot_be_rewrapped_is_refused_by_all(call: Run, verb: str) -> None:
    raw = MESSAGE.replace(PDF, b"M" * 1200).replace(b"8bit", b"x-uuencode")
    where = () if verb == "sign" else ("--emulator",)
    result = call(verb, *SIGNER, *where, stdin=raw)
    assert result.status == 1
    assert "lines over 998 octets" in result.err + result.out.decode()
