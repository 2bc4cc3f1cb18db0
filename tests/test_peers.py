"""A peer that is missing is skipped by whoever runs the tests at home, and fails in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "test",
    [
        "tests/pki/test_certs.py",  # a mark
        "tests/interop/commands/test_openssl.py::test_oaep_with_a_label_is_read",  # a fixture
        "tests/interop/test_compression.py",  # the fixture that starts peers
    ],
)
@pytest.mark.parametrize(("required", "status"), [("", 0), ("1", 1)])
def test_a_missing_peer_is_a_failure_where_peers_are_required(
    test: str, required: str, status: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test],
        cwd=ROOT,
        env={**os.environ, "PATH": "/nowhere", "REQUIRE_PEERS": required},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert "is not installed" in done.stdout
    assert ("REQUIRE_PEERS=1" in done.stdout) == bool(required)
