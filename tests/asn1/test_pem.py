"""PEM: one reader for keys, certificates and messages (RFC 7468)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from smime_graph import MalformedMessage, UsageError, inspect
from smime_graph.asn1 import pem
from smime_graph.pki.keyfiles.read import read_key_file

LABELS = st.from_regex(r"\A[A-Z0-9](?:[A-Z0-9 ]{0,40}[A-Z0-9])?\Z")


@given(
    st.lists(st.tuples(LABELS, st.binary(max_size=300)), max_size=4), st.text("ab \n", max_size=9)
)
def test_what_is_written_is_read(blocks: list[tuple[str, bytes]], around: str) -> None:
    text = b"".join(around.encode() + pem.write_block(*one) for one in blocks) + around.encode()
    assert [(one.label, one.der()) for one in pem.read_blocks(text)] == blocks


def test_what_is_written_is_what_others_write() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    der = key.private_bytes(ser.Encoding.DER, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    theirs = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    assert pem.write_block("PRIVATE KEY", der) == theirs
    assert [(one.label, one.der(), one.raw) for one in pem.read_blocks(theirs)] == [
        ("PRIVATE KEY", der, theirs)
    ]


@pytest.mark.parametrize("blank", [b"\r\n", b"\n", b" \n", b"\t\r\n\r\n", b""])
def test_white_space_is_no_matter(blank: bytes) -> None:
    text = blank.join((b"-----BEGIN CMS-----", b"AAEC", b"AwQF", b"-----END CMS-----"))
    assert [one.der() for one in pem.read_blocks(text)] == [bytes(range(6))]


@pytest.mark.parametrize(
    ("inside", "what"),
    [
        ("AAE", "a padding that is missing"),
        ("AAEC====", "one too many"),
        ("AA==AAEC", "one in the middle"),
        ("AA-_", "another alphabet"),
        ("AAEC\0", "a control character"),
        ("Proc-Type: 4,ENCRYPTED\n\nAAEC", "a header"),
        ("AAEC\n\nRegards, Bob", "text"),
    ],
)
def test_a_message_and_a_key_file_are_held_to_the_same_base64(inside: str, what: str) -> None:
    for label in ("CMS", "PRIVATE KEY"):
        text = f"-----BEGIN {label}-----\n{inside}\n-----END {label}-----\n".encode()
        (block,) = pem.read_blocks(text)
        with pytest.raises(MalformedMessage, match=f"PEM: what stands inside {label} is not base6"):
            block.der()
    with pytest.raises(MalformedMessage, match="PEM: what stands inside CMS is not base64"):
        inspect(text.replace(b"PRIVATE KEY", b"CMS"))
    if "Proc-Type" not in inside:
        with pytest.raises(UsageError, match="PEM: what stands inside PRIVATE KEY is not base64"):
            read_key_file(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"-----BEGIN CMS-----\nAAEC\n", "a block that begins does not end"),
        (b"-----BEGIN CMS", "a block that begins does not end"),
        (b"-----BEGIN CMS-----\nAAEC\n-----END PKCS7-----\n", "ends with another label"),
        (b"-----BEGIN CMS-----\nAAEC\n-----END CMS", "ends with another label"),
        (b"-----BEGIN " + b"A" * 101 + b"-----\n-----END CMS-----\n", "does not end"),
    ],
)
def test_half_a_block_is_an_error_wherever_it_stands(text: bytes, why: str) -> None:
    with pytest.raises(MalformedMessage, match=why):
        list(pem.read_blocks(b"text\n" + text))
    if text.startswith(b"-----BEGIN CMS-----"):
        with pytest.raises(MalformedMessage, match=why):
            inspect(text)
