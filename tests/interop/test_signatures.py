"""Signatures: what we sign a peer verifies and the other way round, and neither when changed."""

from __future__ import annotations

import pytest

from smime_graph.cms import signed_data
from smime_graph.harness.peers.drive import Refused

from .cases import CONTENT, OUR_NO, SigningCase
from .conftest import Try, attempts, flipped
from .peers.peer import Peer
from .people import People

pytestmark = pytest.mark.slow

OTHER_CONTENT = flipped(CONTENT, CONTENT)


@attempts("made", SigningCase)
def test_a_peer_verifies_what_we_sign_and_nothing_else(
    peer: Peer, case: SigningCase, people: People, attempt: Try
) -> None:
    with attempt("made", case.name):
        cms = case.make([people.of(kind) for kind in case.keys], people.now)
        content = None if case.opaque else CONTENT
        assert peer.verify(case, cms, content) == CONTENT
        for signer in signed_data.read(cms).signers:
            with pytest.raises(Refused):
                peer.verify(case, flipped(cms, signer.signature), content)
        other, others = (flipped(cms, CONTENT), None) if case.opaque else (cms, OTHER_CONTENT)
        with pytest.raises(Refused):
            peer.verify(case, other, others)


@attempts("read", SigningCase)
def test_we_verify_what_a_peer_signs_and_nothing_else(
    peer: Peer, case: SigningCase, people: People, attempt: Try
) -> None:
    with attempt("read", case.name):
        cms = peer.sign(case, CONTENT, [people.of(kind) for kind in case.keys])
        signed = signed_data.read(cms)
        assert (signed.content is not None) == case.opaque
        assert case.read(cms) == CONTENT
        for signer in signed.signers:
            with pytest.raises(OUR_NO):
                case.read(flipped(cms, signer.signature))
        other = flipped(cms, CONTENT) if case.opaque else cms
        with pytest.raises(OUR_NO):
            case.read(other, OTHER_CONTENT)
