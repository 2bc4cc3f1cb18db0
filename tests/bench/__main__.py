"""scripts/bench: every row, then the table, bench.json and bench.svg."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.hazmat.backends.openssl.backend import backend

from smime_graph import __version__

from . import chart, messages, processes
from .measure import measured
from .messages import Chain
from .peers import Peers
from .processes import Launcher, LeftOut


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = Path("/proc/cpuinfo")
    models = [
        line.partition(":")[2].strip()
        for line in (cpu.read_text().splitlines() if cpu.exists() else ())
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cryptography": version("cryptography"),
        "openssl of cryptography": backend.openssl_version_text(),
        "smime_graph": __version__,
        "load": [round(one, 2) for one in os.getloadavg()],
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def run(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="below a minute, no large files")
    parser.add_argument("--only", default="", help="the rows whose names hold these words")
    parser.add_argument("--out", type=Path, default=Path("build"), help="where the files go")
    parser.add_argument("--without-peers", action="store_true", help="us and the primitives")
    given = parser.parse_args(words)
    rounds, seconds = (5, 0.02) if given.quick else (11, 0.1)
    found: list[dict[str, Any]] = []
    known = machine()
    with TemporaryDirectory(prefix="bench") as temporary:
        folder = Path(temporary)
        people = Chain(folder)
        every = ("openssl", "gpgsm", "bouncy castle")
        peers = Peers.start(people, folder, without=every if given.without_peers else ())
        launcher = Launcher(folder)
        try:
            rows = chain(
                messages.rows(people, peers, quick=given.quick),
                processes.rows(people, launcher, quick=given.quick),
            )
            for name, make in rows:
                if given.only not in name:
                    continue
                print(f"{name} ...", file=sys.stderr, flush=True)
                try:
                    row = make()
                    spreads = measured(row, rounds=rounds, seconds=seconds)
                except LeftOut as error:
                    print(f"left out: {error}", file=sys.stderr)
                else:
                    found.append(chart.facts(name, row, spreads))
        finally:
            launcher.close()
            peers.close()
        known["peers"] = peers.labels()
    text = "; ".join(f"{key} {value}" for key, value in known.items())
    print(f"\n{text}\n", file=sys.stderr)
    print(chart.table(found))
    for peer, reason in peers.absent.items():
        print(f"without {peer}: {reason}")
    given.out.mkdir(parents=True, exist_ok=True)
    result = json.dumps({"machine": known, "rows": found}, indent=1)
    (given.out / "bench.json").write_text(result + "\n")
    (given.out / "bench.svg").write_text(chart.picture(found, text))
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
