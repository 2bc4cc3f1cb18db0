"""The peers of the harness: found, named, started; each does as its table says."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from smime_graph.authority.family import family
from smime_graph.authority.variants import VARIANTS
from smime_graph.cms import enveloped_data, signed_data
from smime_graph.errors import UsageError
from smime_graph.harness import matrix
from smime_graph.harness.cases import CONTENT, Stand
from smime_graph.harness.peers.bouncycastle import BouncyCastlePeer
from smime_graph.harness.peers.drive import Missing, Refused, Resident
from smime_graph.harness.peers.find import PEERS, Named, started
from smime_graph.harness.peers.gnutls import GnuTlsPeer
from smime_graph.harness.peers.gpgsm import GpgsmPeer
from smime_graph.harness.peers.nss import NssPeer
from smime_graph.harness.peers.openssl import OpenSslPeer
from smime_graph.harness.peers.own import OwnPeer
from smime_graph.harness.peers.peer import OPERATIONS, Answer, Peer, Quirk, Untried
from smime_graph.harness.peers.pyca import PycaPeer

KINDS: dict[str, Any] = {
    "own": OwnPeer,
    "openssl": OpenSslPeer,
    "nss": NssPeer,
    "bouncycastle": BouncyCastlePeer,
    "gpgsm": GpgsmPeer,
    "gnutls": GnuTlsPeer,
    "pyca": PycaPeer,
}
TABLES = sorted(
    (one for one in files("smime_graph.harness").joinpath("observed").iterdir()),
    key=lambda one: one.name,
)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    wanted = {"rsa-2048", "eku-any", "eku-server", "rsa-sign", "expired", "revoked"}
    made = family(when=datetime.now(UTC), variants=[v for v in VARIANTS if v.id in wanted])
    return Stand.of(made, tmp_path_factory.mktemp("stand"))


@pytest.fixture(scope="module", params=KINDS)
def peer(
    request: pytest.FixtureRequest, stand: Stand, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Peer]:
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    own = Stand(stand.family, folder, stand.cases)
    shutil.copy(stand.roots_file, own.roots_file)
    try:
        found = PEERS[name](own, folder, None, None)
    except Missing as error:
        pytest.skip(f"{name} is not installed: {error}")
    yield found
    found.close()


def flipped(data: bytes, part: bytes | memoryview) -> bytes:
    """With one bit changed in the first octet of `part`."""
    at = data.index(bytes(part))
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def test_a_peer_reads_what_it_makes_and_nothing_else(peer: Peer, stand: Stand) -> None:
    case, lacks = stand.cases["rsa-2048"], set()
    peer.ask("import", case, b"")
    signature = peer.ask("sign", case, b"")
    assert CONTENT not in signature
    changed = flipped(signature, signed_data.read(signature).signers[0].signature)
    try:
        peer.ask("verify", case, signature)
    except Untried:
        lacks.add("verify")
    else:
        with pytest.raises(Refused):
            peer.ask("verify", case, changed)
        with pytest.raises(Refused):
            peer.ask("verify", stand.cases["expired"], stand.cases["expired"].signature)
    try:
        envelope = peer.ask("encrypt", case, b"")
    except Untried:
        lacks.add("encrypt")
    else:
        peer.ask("decrypt", case, envelope)
        assert CONTENT not in envelope
        encrypted = enveloped_data.read(envelope).ciphertext[:16]  # BER may have it in pieces
        with pytest.raises(Refused):
            peer.ask("decrypt", case, flipped(envelope, encrypted))
    assert lacks == {"pyca": {"verify"}, "gnutls": {"encrypt"}}.get(peer.name, set())


def test_a_peer_does_what_is_recorded_of_its_version(peer: Peer, stand: Stand) -> None:
    assert matrix.recorded(peer.name, peer.version), "scripts/matrix records it"
    found = matrix.run(stand, [peer], skipped={}, threads=2)
    assert found.unexplained == ()
    assert all(one.recorded for one in found.cells)


@pytest.mark.parametrize("table", TABLES, ids=lambda one: one.name)
def test_a_table_has_every_variant_and_nothing_without_a_reason(table: Path) -> None:
    told = json.loads(table.read_text("utf-8"))
    kind = KINDS[told["peer"]]
    assert table.name == matrix.table_name(told["peer"], told["version"])
    assert list(told["variants"]) == [one.id for one in VARIANTS]
    used = set()
    quirks = [one for one in kind.quirks if one.holds_of(told["version"])]
    for variant in VARIANTS:
        row = told["variants"][variant.id]
        assert list(row) == list(OPERATIONS)
        for operation in OPERATIONS:
            verdict, _, detail = row[operation].partition(": ")
            assert verdict in ("yes", "no", "-")
            answer = Answer(verdict, detail)
            fit = [q for q in quirks if q.covers(operation, variant.id, answer)]
            if verdict not in (matrix.expected(variant, operation), "-"):
                assert fit, (variant.id, operation, row[operation])
                used.add(fit[0])
    of_others = {one for one in quirks if re.search("(Bouncy Castle|NSS) write", one.reason)}
    assert used | of_others == set(quirks)  # none is for what its versions do not do


def test_a_quirk_may_be_of_some_versions() -> None:
    old = Quirk("*", "*", "no", "", before="3.10")
    assert [old.holds_of(one) for one in ("3.0.19", "3.9", "3.10", "3.10.1", "4.0")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    new = Quirk("*", "*", "no", "", since="1.72", before="2")
    held = [new.holds_of(one) for one in ("1.71", "1.72", "1.86.2-1", "2.0", "unknown", "")]
    assert held == [False, True, True, False, False, False]
    assert Quirk("*", "*", "no", "").holds_of("whatever")


def test_what_newer_versions_of_openssl_have_learned_is_recorded() -> None:
    """ML-DSA since 3.5, ML-KEM since 3.6 (scripts/peers fetches them)."""
    seen = {
        version: (rows["ml-dsa-65"]["verify"], rows["ml-kem-768"]["decrypt"])
        for version in ("3.0", "3.5", "3.6", "4.0")
        if (rows := matrix.recorded("openssl", version))
    }
    assert {one: [word[:2] for word in said] for one, said in seen.items()} == {
        "3.0": ["no", "no"],
        "3.5": ["ye", "no"],
        "3.6": ["ye", "ye"],
        "4.0": ["ye", "ye"],
    }


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_words_name_rules_that_a_variant_breaks(kind: Any) -> None:
    known = {one.rule for one in VARIANTS} | {"8550-4.4.2"}
    assert {rule for one in kind.words for rule in one.rules} <= known


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("openssl", Named("openssl")),
        ("openssl@3.6:/opt/a:b/openssl", Named("openssl", "3.6", "/opt/a:b/openssl")),
        ("./mailer --quiet", Named("", None, "./mailer --quiet")),
    ],
)
def test_a_peer_is_named_with_or_without_a_version(text: str, named: Named) -> None:
    assert Named.parse(text) == named


@pytest.mark.parametrize("text", ["", "opensll", "openssl@3.6", "openssl@:x", "@3:x", "open@3:/x"])
def test_what_is_no_peer_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no peer"):
        Named.parse(text)


def without_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def test_what_is_not_installed_is_skipped_with_the_package(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_programs(monkeypatch)
    own = Stand(stand.family, stand.folder / "skipped", {})
    own.folder.mkdir()
    with started([], own, required=False) as (peers, skipped):
        assert "own" in {one.name for one in peers}
        assert skipped["openssl"] == "openssl is not installed: apt-get install openssl"
        assert {one.name for one in peers} | set(skipped) == set(PEERS)


@pytest.mark.parametrize(("wanted", "required"), [(["openssl"], False), ([], True)])
def test_one_that_is_named_or_required_has_to_be_there(
    stand: Stand,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wanted: list[str],
    required: bool,
) -> None:
    without_programs(monkeypatch)
    own = Stand(stand.family, tmp_path, {})
    with (
        pytest.raises(UsageError, match="openssl is not installed"),
        started([Named.parse(one) for one in wanted], own, required=required),
    ):
        pass


def program(folder: Path, says: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return str(path)


def test_several_versions_stand_side_by_side(stand: Stand, tmp_path: Path) -> None:
    path = program(tmp_path, "OpenSSL 3.6.5 1 Apr 2026 (Library: OpenSSL 3.6.5 1 Apr 2026)")
    own = Stand(stand.family, tmp_path, {})
    (tmp_path / "older").mkdir()
    older = program(tmp_path / "older", "OpenSSL 3.5.9 1 Apr 2026")
    wanted = [Named("openssl", "3.6", path), Named("own"), Named("openssl", "3.5.9", older)]
    with started(wanted, own, required=False) as (peers, _):
        assert [f"{one.name} {one.version}" for one in peers] == [
            "openssl 3.6.5",
            f"own {version('smime-graph')}",
            "openssl 3.5.9",
        ]
    again = [Named("openssl", "3.6", path), Named("openssl", "3.6.5", path)]
    (tmp_path / "twice").mkdir()
    with (
        pytest.raises(UsageError, match=r"openssl 3\.6\.5 is named twice"),
        started(again, Stand(stand.family, tmp_path / "twice", {}), required=False),
    ):
        pass


@pytest.mark.parametrize(
    ("says", "text"),
    [
        ("OpenSSL 3.5.9 x", "is openssl 3.5.9, not 3.6"),
        ("LibreSSL 3.6.0", "is not OpenSSL"),
        ("", "is not OpenSSL"),
    ],
)
def test_another_program_than_was_named_is_refused(
    stand: Stand, tmp_path: Path, says: str, text: str
) -> None:
    own = Stand(stand.family, tmp_path, {})
    wanted = [Named("openssl", "3.6", program(tmp_path, says))]
    with pytest.raises(UsageError, match=text), started(wanted, own, required=False):
        pass


@pytest.mark.parametrize(
    "then",
    ["import time; time.sleep(60)", "while True: print('x', end='', flush=True)", "pass"],
    ids=["hangs", "floods", "ends"],
)
def test_a_resident_peer_that_does_not_answer_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    monkeypatch.setattr("smime_graph.harness.peers.drive.PATIENCE", 1.0)
    monkeypatch.setattr("smime_graph.harness.peers.drive._LONGEST", 1 << 16)
    source = f"print('ok =MS4w', flush=True)\n{then}\n"
    peer = Resident.start([sys.executable, "-c", source], tmp_path)
    assert peer.version == "1.0"
    for _ in range(2):
        with pytest.raises(Refused, match="ended"):
            peer.ask("verify")
    assert peer.process.wait(5) is not None
    peer.close()
