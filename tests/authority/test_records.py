"""The index of an authority: issued and revoked, in its folder or in memory."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from smime_graph import CA
from smime_graph.errors import UsageError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def listed(ca: CA) -> set[int]:
    return {one.serial_number for one in x509.load_der_x509_crl(ca.crl(at=NOW))}


def test_what_one_process_revokes_another_knows(tmp_path: Path) -> None:
    first = CA(key="p256", at=NOW - DAY, services="http://127.0.0.1:8880/")
    early = first.issue("early@contoso.com", key="p256").certificate
    first.revoke(early, at=NOW - DAY)
    first.save(tmp_path)
    second = CA.load(tmp_path)
    assert second.services == "http://127.0.0.1:8880"
    late = second.issue("late@contoso.com", key="p256").certificate
    second.revoke(late, at=NOW)
    assert listed(first) == listed(second) == {early.serial_number, late.serial_number}
    assert [one["emails"] for one in first.issued] == [["early@contoso.com"], ["late@contoso.com"]]
    index = json.loads((tmp_path / "index.json").read_bytes())
    assert index["revoked"][1] == {
        "serial": f"{late.serial_number:x}",
        "at": "2026-11-22T12:00:00+00:00",
        "reason": "unspecified",
    }


def test_an_authority_below_is_issued_too(tmp_path: Path) -> None:
    ca = CA(key="p256", at=NOW - DAY)
    ca.save(tmp_path)
    below = ca.create_intermediate(key="p256")
    assert [one["sha256"] for one in ca.issued] == [below.certificate.sha256]
    ca.revoke(below.certificate, at=NOW)
    assert listed(ca) == {below.certificate.serial_number}
    assert listed(below) == set()


def test_an_index_of_before_is_read(tmp_path: Path) -> None:
    CA(key="p256", at=NOW).save(tmp_path)
    (tmp_path / "index.json").write_text('{"issued": []}')
    ca = CA.load(tmp_path)
    ca.revoke(ca.issue("a@contoso.com", key="p256").certificate, at=NOW)
    assert len(listed(ca)) == 1


@pytest.mark.parametrize(
    "content",
    [
        '{"issued": [], "revoked": {}, "services": 1}',
        '{"issued": [], "revoked": [1]}',
        '{"issued": [], "revoked": [{"serial": "1", "at": "2026-01-01", "reason": "superseded"}]}',
        '{"issued": [], "revoked": [{"serial": "x", "at": "2026-01-01T00:00:00Z"}]}',
        '{"issued": [], "revoked": [{"serial": "1", "at": "2026-01-01T00:00:00Z", "reason": "x"}]}',
        '{"issued": [], "revoked": [{"serial": "1", "at": "0001-01-01T00:00:00+20:00",'
        ' "reason": "superseded"}]}',
        '{"issued": [], "services": 5}',
        '{"issued": {"a": 1}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_index_is_a_usage_error(tmp_path: Path, content: str) -> None:
    CA(key="p256").save(tmp_path)
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(UsageError, match=r"index\.json is not the index of an authority"):
        CA.load(tmp_path)


def test_nothing_is_revoked_that_cannot_be_kept(tmp_path: Path) -> None:
    ca = CA(key="p256")
    ca.save(tmp_path / "ca")
    alice = ca.issue("alice@contoso.com", key="p256").certificate
    shutil.rmtree(tmp_path / "ca")
    with pytest.raises(UsageError, match="cannot be written") as caught:
        ca.revoke(alice)
    assert caught.value.hint == "nothing was revoked"


def test_two_who_revoke_at_once_lose_no_entry(tmp_path: Path) -> None:
    ca = CA(key="p256", at=NOW - DAY)
    ca.save(tmp_path)
    people = [ca.issue(f"u{n}@contoso.com", key="p256").certificate for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: CA.load(tmp_path).revoke(one, at=NOW), people))
    assert listed(ca) == {one.serial_number for one in people}
