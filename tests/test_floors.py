"""What scripts/check asks of the imports, and what it cannot ask: that they make no circle."""

from __future__ import annotations

import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]

# They talk to the network or wait; everything else is core, and in the contract
DRIVERS = {
    "smime_graph",
    "smime_graph.__main__",
    "smime_graph.authority",
    "smime_graph.authority.service",
    "smime_graph.authority.tls",
    "smime_graph.batch",
    "smime_graph.batch.processes",
    "smime_graph.batch.run",
    "smime_graph.emulator",
    "smime_graph.emulator.service",
    "smime_graph.emulator.transport",
    "smime_graph.graph",
    "smime_graph.graph._client",
    "smime_graph.graph._http",
    "smime_graph.graph._queue_postgres",
    "smime_graph.deadlines",
    "smime_graph.graph.auth",
    "smime_graph.graph.outbox",
    "smime_graph.graph.smtp",
    "smime_graph.gateway",
    "smime_graph.gateway.server",
    "smime_graph.gateway.session",
    "smime_graph.harness",
    "smime_graph.harness.cases",
    "smime_graph.harness.matrix",
    "smime_graph.harness.page",
    "smime_graph.harness.peers",
    "smime_graph.harness.peers.bouncycastle",
    "smime_graph.harness.peers.drive",
    "smime_graph.harness.peers.find",
    "smime_graph.harness.peers.gnutls",
    "smime_graph.harness.peers.gpgsm",
    "smime_graph.harness.peers.nss",
    "smime_graph.harness.peers.openssl",
    "smime_graph.harness.peers.own",
    "smime_graph.harness.peers.peer",
    "smime_graph.harness.peers.plugin",
    "smime_graph.harness.peers.pyca",
    "smime_graph.loopback",
    "smime_graph.loopback.server",
    "smime_graph.online",
    "smime_graph.online.exchange",
    "smime_graph.online.fetcher",
    "smime_graph.pytest_plugin",
    "smime_graph.submission",
    "smime_graph.submission.command",
    "smime_graph.submission.folders",
    "smime_graph.submission.round_trip",
    "smime_graph.submission.watch",
}


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Every module of the package, with those that it imports: late, or for an annotation only."""
    graph = grimp.build_graph("smime_graph", exclude_type_checking_imports=False, cache_dir=None)
    found = {one: graph.find_modules_directly_imported_by(one) for one in graph.modules}
    assert {path.stem for path in (ROOT / "smime_graph").rglob("*.py")} - {"__init__"} <= {
        one.rpartition(".")[2] for one in found
    }
    return found


def test_the_imports_make_no_circle(imports: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_every_module_is_core_or_known_as_a_driver(imports: dict[str, set[str]]) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (core,) = (one["source_modules"] for one in contracts if one["name"].startswith("the core"))
    outside = {one for one in imports if not any(f"{one}.".startswith(f"{m}.") for m in core)}
    assert {one for one in outside if not f"{one}.".startswith("smime_graph.cli.")} == DRIVERS
