"""Encryption: what we encrypt a peer reads and the other way round, and neither when changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smime_graph.cms import enveloped_data
from smime_graph.harness.peers.drive import Refused

from .cases import CONTENT, OUR_NO, EncryptionCase, Reader
from .conftest import Try, attempts, flipped
from .peers.peer import Peer
from .people import People

pytestmark = pytest.mark.slow


def recipients_of(case: EncryptionCase, people: People) -> list[Reader]:
    """The one who is to read, and whoever else can."""
    kinds = [kind for kind in (case.reader, case.beside) if kind]
    return [kind if kind in ("password", "shared") else people.of(kind) for kind in kinds]


def changed(cms: bytes) -> dict[str, bytes]:
    """The message with one bit changed in each part that decides what comes out."""
    enveloped = enveloped_data.read(cms)
    # in the first block: what a peer wrote in pieces is in one piece there
    damaged = {"ciphertext": flipped(cms, enveloped.ciphertext[:16])}
    if len(enveloped.recipients) == 1:  # of several the order is the peer's
        damaged["key"] = flipped(cms, enveloped.recipients[0].encrypted_key)
    if enveloped.authenticated:
        damaged["tag"] = flipped(cms, enveloped.mac)
    return damaged


def check_changed(
    cms: bytes,
    case: EncryptionCase,
    decrypt: Callable[[bytes], bytes],
    no: type[Exception] | tuple[type[Exception], ...],
) -> None:
    for part, damaged in changed(cms).items():
        try:
            content = decrypt(damaged)
        except no:
            continue
        # CBC has no tag, and a wrong key may decrypt to something (RFC 3218, RFC 8551 6)
        assert not case.content_cipher.aead, f"a changed {part} was not noticed"
        assert content != CONTENT, f"a changed {part} changed nothing"


@attempts("made", EncryptionCase)
def test_a_peer_reads_what_we_encrypt_and_nothing_else(
    peer: Peer, case: EncryptionCase, people: People, attempt: Try
) -> None:
    with attempt("made", case.name):
        recipients = recipients_of(case, people)
        cms = case.make(recipients)
        assert peer.decrypt(case, cms, recipients[0]) == CONTENT
        check_changed(cms, case, lambda cms: peer.decrypt(case, cms, recipients[0]), Refused)


@attempts("read", EncryptionCase)
def test_we_read_what_a_peer_encrypts_and_nothing_else(
    peer: Peer, case: EncryptionCase, people: People, attempt: Try
) -> None:
    with attempt("read", case.name):
        recipients = recipients_of(case, people)
        cms = peer.encrypt(case, CONTENT, recipients)
        assert case.read(cms, recipients[0]) == CONTENT
        check_changed(cms, case, lambda cms: case.read(cms, recipients[0]), OUR_NO)
