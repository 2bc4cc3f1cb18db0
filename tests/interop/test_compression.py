"""Compressed data (RFC 3274), which of the peers only Bouncy Castle has."""

from __future__ import annotations

import pytest

from smime_graph.cms import compressed_data
from smime_graph.errors import MalformedMessage
from smime_graph.harness.peers.drive import Refused
from smime_graph.policy import EXCHANGE

from .cases import COMPRESSION, CONTENT
from .conftest import COMPRESSORS, Try
from .peers.bouncycastle import BouncyCastle
from .peers.peer import Peer

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("peer", COMPRESSORS, indirect=True)
def test_a_peer_reads_what_we_compress_and_nothing_else(peer: Peer, attempt: Try) -> None:
    with attempt("made", COMPRESSION):
        assert isinstance(peer, BouncyCastle)
        cms = compressed_data.compress(CONTENT * 1000)
        assert peer.decompress(cms) == CONTENT * 1000
        with pytest.raises(Refused):
            peer.decompress(cms[:-1] + bytes((cms[-1] ^ 1,)))  # zlib's check value


@pytest.mark.parametrize("peer", COMPRESSORS, indirect=True)
def test_we_read_what_a_peer_compresses_and_nothing_else(peer: Peer, attempt: Try) -> None:
    with attempt("read", COMPRESSION):
        assert isinstance(peer, BouncyCastle)
        cms = peer.compress(CONTENT * 1000)
        assert compressed_data.decompress(cms, policy=EXCHANGE) == CONTENT * 1000
        damaged = bytearray(cms)
        damaged[len(cms) // 2] ^= 1
        with pytest.raises(MalformedMessage):
            compressed_data.decompress(bytes(damaged), policy=EXCHANGE)
