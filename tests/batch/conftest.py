"""A folder with two people's keys, and jobs from the one to the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from smime_graph.authority.issue import CA, write_identity
from smime_graph.batch.jobs import Job, KeyFile
from smime_graph.pki.identity import Identity

PASSWORD = "correct horse"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, alice and bob (P-256), good now; alice also as a PKCS#12 file with a password."""
    made = tmp_path_factory.mktemp("people")
    ca = CA("Batch Root", key="p256")
    (made / "ca.pem").write_bytes(ca.trust_pem)
    for name in ("alice", "bob", "carol"):
        person: Identity = ca.issue(f"{name}@contoso.com", key="p256")
        write_identity(person, made, name=name, password=PASSWORD)
    (made / "password").write_text(PASSWORD + "\n")
    return made


@pytest.fixture(scope="session")
def letter(folder: Path) -> Callable[..., Job]:
    def make(key: str, **changes: Any) -> Job:
        fields: dict[str, Any] = {
            "key": key,
            "sender": "alice@contoso.com",
            "to": ("bob@contoso.com",),
            "subject": "Figures of ${month}",
            "body": "Dear Bob,\nhere they are: ${month}\n",
            "values": {"month": key},
            "signers": (
                KeyFile(str(folder / "alice.p12"), password_file=str(folder / "password")),
            ),
            "recipients": (str(folder / "bob.pem"),),
        }
        return Job(**{**fields, **changes})

    return make


@pytest.fixture
def job_file(folder: Path, tmp_path: Path) -> Callable[[Sequence[dict[str, Any]]], Path]:
    """Writes a file of jobs; what all share is in its first line."""

    def write(lines: Sequence[dict[str, Any]]) -> Path:
        shared = {
            "from": "alice@contoso.com",
            "to": "bob@contoso.com",
            "subject": "Hello",
            "body": "text\n",
            "signer": {
                "file": str(folder / "alice.p12"),
                "password_file": str(folder / "password"),
            },
            "recipient": str(folder / "bob.pem"),
        }
        path = tmp_path / "job.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in [{"defaults": shared}, *lines]))
        return path

    return write
