"""Each way of failing to decrypt does the same work; how long it takes measures scripts/prove."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime

import pytest

from smime_graph import decrypt
from smime_graph.cms.parameters import ContentEncryption
from smime_graph.errors import DecryptionFailed

from .timing import failures


def test_every_failure_tries_one_content_key_and_is_told_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RFC 3218, EFAIL: a failure that does less could be told by its time."""
    tries: Counter[str] = Counter()
    original = ContentEncryption.decrypt
    current = ""

    def counted(self: ContentEncryption, *arguments: bytes) -> object:
        tries[current] += 1
        return original(self, *arguments)

    monkeypatch.setattr(ContentEncryption, "decrypt", counted)
    told = set()
    kinds = defaultdict(list)
    for one in failures(2000, datetime.now(UTC)):
        current = f"{one.family}: {one.name}"
        kinds[one.family].append(one.name)
        try:
            opened = decrypt(one.raw, identities=[one.key])
        except DecryptionFailed as error:
            told.add((str(error), error.hint, error.args, error.__cause__, error.__context__))
        else:  # a padding of CBC by chance, of which nobody says that it is right
            assert not opened.report.authenticated
            assert "CBC" in one.family
            assert b"november\r\nthe figures" not in bytes(opened.content)
    assert len(told) == 1
    assert len(kinds) == 8
    assert min(map(len, kinds.values())) >= 4
    assert set(tries.values()) == {1}
    assert len(tries) == sum(map(len, kinds.values()))
