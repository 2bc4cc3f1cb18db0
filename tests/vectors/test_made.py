"""Messages of other implementations that stand beside this file, for rows without a public vector.

`made/README.md` says what made each.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as ser

from smime_graph import (
    DecryptionFailed,
    MalformedMessage,
    PolicyRefusal,
    SmimeGraphError,
    decompress,
    decrypt,
)
from smime_graph.asn1 import ber
from smime_graph.cms import enveloped_data, signature_check, signed_data
from smime_graph.cms.recipients.shared_secret import SharedKey
from smime_graph.policy import ARCHIVE, EXCHANGE
from smime_graph.smime.recognition import recognise

MADE = Path(__file__).with_name("made")
TEXT = b"Content-Type: text/plain\r\n\r\nmade by another implementation\r\n"

AGREEMENTS = [
    f"{kind}-sha{size}kdf" for kind in ("stddh", "cofactordh") for size in (1, 224, 256, 384, 512)
]
CIPHERS = ["aes192-gcm", "aes128-ccm", "aes192-ccm", "aes256-ccm"]


@pytest.fixture(scope="module")
def keys() -> list[Any]:
    owners = [
        SimpleNamespace(
            private_key=ser.load_pem_private_key((MADE / f"{name}.key").read_bytes(), None),
            certificate=None,
        )
        for name in ("p256", "rsa2048")
    ]
    return [*owners, SharedKey(bytes(range(32)), identifier=b"vectors")]


def read(name: str) -> bytes:
    return (MADE / f"{name}.pem").read_bytes()


def der_of(name: str) -> bytes:
    found = recognise(read(name), "1")
    assert found is not None
    return bytes(found.der)


@pytest.mark.parametrize("name", AGREEMENTS)
def test_key_agreement(name: str, keys: list[Any]) -> None:
    opened = decrypt(read(name), identities=keys)
    assert opened.content == TEXT
    (recipient,) = opened.layers[0].recipients
    assert recipient.algorithm == f"dhsinglepass-{name}"


@pytest.mark.parametrize("name", AGREEMENTS)
def test_a_changed_bit_of_the_agreed_key_is_refused(name: str, keys: list[Any]) -> None:
    der = der_of(name)
    wrapped = enveloped_data.read(der).recipients[0].encrypted_key
    for place in (0, len(wrapped) // 2, len(wrapped) - 1):
        changed = bytearray(der)
        changed[der.index(wrapped) + place] ^= 1
        with pytest.raises(DecryptionFailed):
            decrypt(bytes(changed), identities=keys)


@pytest.mark.parametrize("name", CIPHERS)
def test_authenticating_ciphers(name: str, keys: list[Any]) -> None:
    opened = decrypt(read(name), identities=keys)
    assert opened.content == TEXT
    assert opened.layers[0].cipher == name
    assert opened.report.authenticated
    der = der_of(name)
    enveloped = enveloped_data.read(der)
    for part in (bytes(enveloped.ciphertext), enveloped.mac):
        at = der.rindex(part)
        changed = bytearray(der)
        changed[at] ^= 1
        with pytest.raises(DecryptionFailed):
            decrypt(bytes(changed), identities=keys)


@pytest.mark.parametrize(
    ("name", "digest", "scheme"),
    [
        ("sha224", "sha224", "ecdsa"),
        ("sha384", "sha384", "ecdsa"),
        ("ed448", "shake256-len", "ed448"),
    ],
)
def test_signatures(name: str, digest: str, scheme: str) -> None:
    signed = signed_data.read(der_of(name))
    assert signed.content is not None
    assert bytes(signed.content) == TEXT
    found = signature_check.check(signed, signed.signers[0], signed.content, policy=EXCHANGE)
    assert (found.intact, found.valid) == (True, True)
    assert found.digest is not None
    assert found.scheme is not None
    assert (found.digest.name, found.scheme.name) == (digest, scheme)
    other = bytes(signed.content[:-1]) + b"!"
    assert not signature_check.check(signed, signed.signers[0], other, policy=EXCHANGE).intact
    signature = signed.signers[0].signature
    altered = signature[:-2] + bytes((signature[-2] ^ 1, signature[-1]))
    changed = signed_data.read(der_of(name).replace(signature, altered))
    assert not signature_check.check(changed, changed.signers[0], TEXT, policy=EXCHANGE).valid


@pytest.mark.parametrize("name", ["rc2-cbc", "rc2-40-cbc"])
def test_rc2_is_read_by_archive_alone(name: str, keys: list[Any]) -> None:
    opened = decrypt(read(name), identities=keys, policy=ARCHIVE)
    assert opened.content == TEXT
    assert opened.report.has("alg.weak")
    assert not opened.report.authenticated
    with pytest.raises(PolicyRefusal, match="policy exchange refuses rc2-cbc"):
        decrypt(read(name), identities=keys)
    der = bytearray(der_of(name))
    der[der.index(bytes(enveloped_data.read(bytes(der)).ciphertext))] ^= 1
    try:
        assert decrypt(bytes(der), identities=keys, policy=ARCHIVE).content != TEXT
    except DecryptionFailed:
        return


def test_md5_is_valid_and_flagged_by_archive_alone() -> None:
    signed = signed_data.read(der_of("md5"))
    assert signed.content is not None
    for policy, code in ((ARCHIVE, "alg.weak"), (EXCHANGE, "alg.refused")):
        found = signature_check.check(signed, signed.signers[0], signed.content, policy=policy)
        assert (found.intact, found.valid) == (True, True)
        assert [finding.code for finding in found.findings] == [code]
    altered = bytes(signed.content).replace(b"another", b"a other")
    assert not signature_check.check(signed, signed.signers[0], altered, policy=ARCHIVE).intact


def test_sha3_is_valid() -> None:
    """RFC 9688."""
    signed = signed_data.read(der_of("sha3-256"))
    assert signed.content is not None
    found = signature_check.check(signed, signed.signers[0], signed.content, policy=EXCHANGE)
    assert (found.intact, found.valid, found.findings) == (True, True, ())
    altered = bytes(signed.content).replace(b"another", b"a other")
    assert not signature_check.check(signed, signed.signers[0], altered, policy=EXCHANGE).intact


def test_compressed_data() -> None:
    assert decompress(read("zlib")).content == TEXT * 10
    der = der_of("zlib")
    for place in range(len(der)):
        changed = bytearray(der)
        changed[place] ^= 1
        try:
            content = decompress(bytes(changed)).content
        except SmimeGraphError:
            continue
        # Adler-32 notices what changes the text; a version or the compression level does not
        assert content == TEXT * 10


def test_a_compressed_message_with_a_cut_stream_is_malformed() -> None:
    (content,) = [n for n in _leaves(ber.read(der_of("zlib"), "x")) if n.tag == ber.OCTET_STRING]
    cut = ber.octet_string(content.contents[:-4])
    with pytest.raises(MalformedMessage, match="zlib stream is broken"):
        decompress(_replaced(ber.read(der_of("zlib"), "x"), content, cut))


def _leaves(node: ber.Node) -> list[ber.Node]:
    if not node.tag & ber.CONSTRUCTED:
        return [node]
    return [leaf for child in node for leaf in _leaves(child)]


def _replaced(node: ber.Node, old: ber.Node, new: bytes) -> bytes:
    if (node.start, node.end) == (old.start, old.end):
        return new
    if not node.tag & ber.CONSTRUCTED:
        return node.raw
    return ber.tlv(node.tag, *(_replaced(child, old, new) for child in node))
