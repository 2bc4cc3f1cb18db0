"""What tells a message that is submitted again from another of its Message-ID."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from smime_graph import CA, Identity
from smime_graph.submission.repetition import mark

KINDS = ("rsa-2048", "p256", "ed25519", "ml-dsa-44")


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA("Test Root", key="p256")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_of_the_same_signer_has_the_same_mark(ca: CA, kind: Any) -> None:
    alice = ca.issue("alice@contoso.com", key=kind, use="sign")
    again = Identity.load(alice.to_pem())
    bob = ca.issue("bob@contoso.com", key="p256")
    found = [
        mark(raw, signer=one, is_encrypted=hidden)
        for raw in (b"a", b"b")
        for one in (alice, again, bob)
        for hidden in (True, False)
    ]
    assert None not in found
    assert [found.index(one) for one in found] == [0, 0, 0, 0, 4, 4, 6, 6, 6, 6, 10, 10]


def test_without_a_key_there_is_none_of_what_the_outbox_must_not_tell(ca: CA) -> None:
    device: Any = SimpleNamespace(private_key=object())
    for signer in (None, device):
        assert mark(b"a", signer=signer, is_encrypted=True) is None
        assert mark(b"a", signer=signer, is_encrypted=False) is not None
