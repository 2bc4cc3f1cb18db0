"""Mail of other people's clients through `unseal --json`: every key of the contract of the command
line, whatever the verdict is.

Which client made a message is told by its set (Thunderbird's and gpgsm's own tests) or its header.
"""

from __future__ import annotations

import csv
import functools
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from smime_graph import ARCHIVE, TrustStore, examine
from smime_graph.cli import main
from smime_graph.pki.keyfiles.read import armour

pytestmark = pytest.mark.slow

_VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"
_HEADERS = {
    "Outlook": rb"^(?:X-Mailer: *Microsoft (?:Office )?Outlook|X-MimeOLE: *Produced By Microsoft)",
    "Outlook for Mac": rb"^User-Agent: *Microsoft-MacOutlook",
    "OWA": rb"^(?:X-MimeOLE:.*OWA|Message-ID: *<[^>]*\.outlook\.com>)",
    "Apple Mail": rb"^X-Mailer: *Apple Mail",
}
_SETS = {"Thunderbird": "07a_thunderbird", "gpgsm": "07c_gnupg"}
CLIENTS = (*_HEADERS, *_SETS)
_MAX_HEADER = 16 << 10

Row = dict[str, str]


def _rows() -> list[Row]:
    """The rows of the manifest about S/MIME that can be opened, each file once."""
    manifest = _VECTORS / "MANIFEST.csv"
    if not manifest.is_file():
        return []
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["operation"] in ("verify", "unseal", "decrypt")
        ]
    return [*{row["file"]: row for row in rows}.values()]


@functools.cache
def _header(name: str) -> bytes:
    with (_VECTORS / name).open("rb") as file:
        return re.split(rb"\r?\n\r?\n", file.read(_MAX_HEADER), maxsplit=1)[0]


def _is_of(client: str, row: Row) -> bool:
    if client in _SETS:
        return row["set"] == _SETS[client]
    pattern = re.compile(_HEADERS[client], re.IGNORECASE | re.MULTILINE)
    return pattern.search(_header(row["file"])) is not None


MAIL = [(client, row) for client in CLIENTS for row in _rows() if _is_of(client, row)]


def _wanted(row: Row) -> str | None:
    """The verdict under `archive`; None where the manifest leaves it open."""
    if row["want"] == "any":
        return None
    if row["operation"] == "decrypt" or row["want"] == "fail":
        return "rejected"  # nobody signed what is encrypted alone
    return "accepted" if row["why"] in ("none", "weak") else "rejected"


def _arguments(row: Row, folder: Path) -> list[str | Path]:
    path = _VECTORS / row["file"]
    arguments: list[str | Path] = ["unseal", path, "--policy", "archive", "--json"]
    report = examine(path.read_bytes(), trust=TrustStore(()), policy=ARCHIVE)
    if row["trust"] not in ("", "embedded"):
        arguments += ["--trust", _VECTORS / row["trust"]]
    elif found := [one for layer in report.layers for one in layer.certificates]:
        (folder / "roots.pem").write_bytes(b"".join(map(armour, found)))
        arguments += ["--trust", folder / "roots.pem"]
    if row["identity"]:
        # a key and its certificate may be two files
        octets = [(_VECTORS / name).read_bytes() for name in row["identity"].split(";")]
        (folder / "identity").write_bytes(b"".join(octets))
        arguments += ["--identity", folder / "identity"]
    if row["password_set"] == "yes":
        (folder / "password").write_text(row["password"])
        option = "--password-file" if row["identity"] else "--recipient-password-file"
        arguments += [option, folder / "password"]
    claimed = [one.signing_time for one in report.signers if one.signing_time is not None]
    if row["at"]:
        arguments += ["--at", row["at"]]
    elif claimed and row["trust"] == "embedded":
        arguments += ["--at", f"{claimed[0]:%Y-%m-%dT%H:%M:%SZ}"]
    return [*arguments, "-o", folder / "content"]


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_is_looked_for(client: str, vectors: Path) -> None:
    if not any(name == client for name, _ in MAIL):
        pytest.skip(f"the vectors hold no S/MIME that {client} made")


@pytest.mark.parametrize(
    ("client", "row"), MAIL, ids=[f"{client}-{row['id']}" for client, row in MAIL]
)
def test_unseal_tells_of_it_all_that_the_contract_names(
    client: str,
    row: Row,
    vectors: Path,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    arguments = _arguments(row, tmp_path)
    status = main([str(one) for one in arguments])
    out, err = capfdbinary.readouterr()
    assert status in (0, 1), err
    shown: dict[str, Any] = json.loads(out)
    _check_all(shown)
    assert shown["verdict"] == ("accepted" if status == 0 else "rejected")
    assert _wanted(row) in (None, shown["verdict"]), shown
    assert (tmp_path / "content").exists() is (status == 0)
    assert ("error" in shown) is (status == 1)
    if status == 0:
        assert any(one["accepted"] for one in shown["signers"])
        assert shown["authenticated"]
        return
    assert set(shown["error"]) == {"type", "text", "hint"}
    assert shown["error"]["text"]
    assert not any(one["accepted"] for one in shown["signers"])
    assert any(one["severity"] == "error" for one in shown["findings"])


# --- the contract ---------------------------------------------------------------------------------

_TYPES = ("signed-data", "enveloped-data", "auth-enveloped-data", "compressed-data", "certs-only")
_SUMMARIES = ("unprotected", "signed", "encrypted", "signed-and-encrypted")


def _has(value: object, *kinds: type | None) -> None:
    assert any(value is None if kind is None else type(value) is kind for kind in kinds), value


def _check_all(shown: dict[str, Any]) -> None:
    assert shown["verdict"] in ("accepted", "rejected")
    assert shown["summary"] in _SUMMARIES
    assert shown["header_protection"] in ("clear", "cipher", None)
    _has(shown["authenticated"], bool)
    assert all(type(one) is str for one in shown["outer_headers_differ"])
    for layer in shown["layers"]:
        _check_layer(layer)
    for signer in shown["signers"]:
        _check_signer(signer)
    for one in shown["findings"]:
        assert set(one) == {"code", "severity", "where", "text", "source"}
        assert re.fullmatch(r"(cms|alg|pki|smime)(\.[a-z0-9-]+)+", one["code"])
        assert one["severity"] in ("notice", "warning", "error")
        assert one["where"]
        assert one["text"]
        assert one["source"]


def _check_layer(layer: dict[str, Any]) -> None:
    assert layer["type"] in _TYPES
    assert re.fullmatch(r"1(\.1)*", layer["path"])
    if layer["type"] in ("enveloped-data", "auth-enveloped-data"):
        _has(layer["cipher"], str)
        assert layer["recipients"]
        for one in layer["recipients"]:
            assert one["kind"] in ("ktri", "kari", "kekri", "pwri", "ori")
            _has(one["id"], str)
            _has(one["algorithm"], str)
    elif layer["type"] == "signed-data":
        _has(layer["detached"], bool)
        _has(layer["micalg"], str, None)


def _check_signer(signer: dict[str, Any]) -> None:
    assert all("@" in one for one in signer["email"])
    for name in ("subject", "issuer"):
        _has(signer[name], str, None)
    for name in ("intact", "valid", "trusted", "trusted_at_signing"):
        _has(signer[name], bool, None)
    assert re.fullmatch(r"0x[0-9a-f]+", signer["serial"] or "0x0")
    assert re.fullmatch(r"[0-9a-f]{64}", signer["sha256"] or "0" * 64)
    for name in ("scheme", "digest"):
        _has(signer[name], str)
    if signer["signing_time"] is not None:
        assert datetime.fromisoformat(signer["signing_time"]).tzinfo is not None
    assert set(signer["sender"]) == {"compared", "matches"}
    _has(signer["sender"]["compared"], str, None)
    _has(signer["sender"]["matches"], bool, None)
    assert set(signer["covers"]) == {"body", "headers"}
    _has(signer["covers"]["body"], bool)
    assert all(type(one) is str for one in signer["covers"]["headers"])
    _has(signer["accepted"], bool)
