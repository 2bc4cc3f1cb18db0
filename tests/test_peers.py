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


# --- scripts/peers --------------------------------------------------------------------------------

# Debian as apt-get, apt-cache and dpkg tell of it: each suite has one version of everything
_SUITES = {"sid": "3.6.5-1", "forky": "3.6.2-1", "trixie": "3.5.9-1", "experimental": "4.0.3-1"}
_TOOLS = {
    "apt-get": r"""
case $APT_CONFIG in "$BOX"/*) ;; *) echo "apt would touch the machine" >&2; exit 9 ;; esac
suite=$(basename "$(dirname "$APT_CONFIG")")
echo "$suite $*" >>"$BOX/asked"
case " $* " in
*" update "*) [ "$suite" != "$BROKEN" ] ;;
*" install "*)
    for one; do
        case $one in [a-z]*[a-z]) echo "Inst $one (2:1-1 Debian [all])" ;; esac
    done
    echo 'Inst libc6 (2.43-7 Debian:unstable [amd64])' ;;
*" download "*) for one; do last=$one; done; : >"${last%%=*}_1_all.deb" ;;
esac""",
    "apt-cache": r"""
suite=$(basename "$(dirname "$APT_CONFIG")")
sed -n "s/^$suite /  Candidate: 2:/p" "$BOX/suites" """,
    "dpkg": r"""
root=$3
mkdir -p "$root/usr/lib/x86_64-linux-gnu/ossl-modules" "$root/usr/bin" "$root/usr/share/java"
printf '#!/bin/sh\necho "loader: $*"; env | grep -e OPENSSL_ -e GNUPG_ || :\n' \
    >"$root/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
chmod 755 "$root"/usr/lib/*/ld-linux*
echo jar >"$root/usr/share/java/bcprov.jar" """,
}


def fetch_peers(box: Path, target: Path, broken: str = "") -> subprocess.CompletedProcess[str]:
    """`scripts/peers` on a machine whose package tools are those above."""
    tools = box / "tools"
    tools.mkdir(exist_ok=True)
    (box / "suites").write_text("".join(f"{name} {v}\n" for name, v in _SUITES.items()))
    for name, text in _TOOLS.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "BOX": str(box), "BROKEN": broken}
    env["KEYRING"] = str(box / "suites")
    return subprocess.run(
        [ROOT / "scripts" / "peers", target], env=env, capture_output=True, text=True, check=False
    )


def test_newer_peers_are_unpacked_and_run_through_their_own_loader(tmp_path: Path) -> None:
    target = tmp_path / "peers"
    done = fetch_peers(tmp_path, target)
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            f"--peer openssl@3.5:{target}/openssl-3.5/bin/openssl",
            f"--peer openssl@3.6:{target}/openssl-3.6/bin/openssl",
            f"--peer openssl@4.0:{target}/openssl-4.0/bin/openssl",
            f"--peer bouncycastle@3.6:{target}/bouncycastle-3.6",
            f"--peer gpgsm@3.6:{target}/gpgsm-3.6/bin/gpgsm",
            f"--peer nss@3.6:{target}/nss-3.6/bin",
            f"--peer gnutls@3.6:{target}/gnutls-3.6/bin/certtool",
        ],
    ), done.stderr
    moved = target.rename(tmp_path / "elsewhere")
    for name, program, suite in (
        ("openssl-3.5", "openssl", "trixie"),
        ("openssl-4.0", "openssl", "experimental"),
        ("gpgsm-3.6", "gpg-agent", "sid"),
        ("nss-3.6", "pk12util", "sid"),
    ):
        call: list[str | Path] = [moved / name / "bin" / program, "a word", "-x"]
        said = subprocess.run(call, capture_output=True, text=True, check=True).stdout
        root = f"{moved}/{name}/../apt/{suite}/root/usr"
        libraries = f"{root}/lib/x86_64-linux-gnu"
        assert said.startswith(
            f"loader: --inhibit-cache --library-path {libraries}:{libraries}/nss"
            f" {root}/bin/{program} a word -x\n"
        )
        assert (f"OPENSSL_MODULES={libraries}/ossl-modules" in said) is (program == "openssl")
        assert (f"GNUPG_PEER={moved}/{name}" in said) is (program == "gpg-agent")
    assert (moved / "bouncycastle-3.6" / "bcprov.jar").read_text() == "jar\n"


def test_what_was_fetched_is_not_fetched_again_and_what_is_missing_is(tmp_path: Path) -> None:
    target = tmp_path / "peers"
    first = fetch_peers(tmp_path, target, broken="experimental")
    assert first.returncode == 1
    assert "has openssl 4.0" in first.stderr
    assert "openssl@4.0" not in first.stdout
    assert len(first.stdout.splitlines()) == 6
    (tmp_path / "asked").unlink()
    second = fetch_peers(tmp_path, target)
    assert second.returncode == 0
    assert set(first.stdout.splitlines()) < set(second.stdout.splitlines())
    downloads = [one for one in (tmp_path / "asked").read_text().splitlines() if "download" in one]
    assert downloads
    assert all(one.startswith("experimental ") for one in downloads)
    (tmp_path / "asked").unlink()
    assert fetch_peers(tmp_path, target).stdout == second.stdout
    assert not (tmp_path / "asked").exists()


def test_a_folder_that_apt_cannot_be_told_of_is_refused(tmp_path: Path) -> None:
    done = fetch_peers(tmp_path, tmp_path / "a folder")
    assert (done.returncode, done.stdout) == (2, "")
    assert "has a blank" in done.stderr
    assert not (tmp_path / "asked").exists()
