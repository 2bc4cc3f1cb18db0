"""scripts/bench: every row, then the table, bench.json and bench.svg."""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import os
import platform
import pstats
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
from .measure import Row, measured
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


def profiled(name: str, row: Row, path: Path, seconds: float) -> str:
    """Where the time of ours goes: the functions that take the most of it by themselves."""
    work = row.contestants["ours"]
    count = max(1, round(5 * seconds / max(work(1).cpu, 1e-6)))
    path.unlink(missing_ok=True)
    with cProfile.Profile() as found:
        work(count)
    out = io.StringIO()
    # of a process that was started what it wrote
    stats = (
        pstats.Stats(str(path), stream=out) if path.exists() else pstats.Stats(found, stream=out)
    )
    stats.strip_dirs().sort_stats("tottime").print_stats(16)
    lines = [line for line in out.getvalue().splitlines() if line.strip()]
    start = next(number for number, line in enumerate(lines) if "tottime" in line)
    return "\n".join([f"--- {name}: {lines[start - 3].strip()}", *lines[start:]])


def run(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="below a minute, no large files")
    parser.add_argument("--only", default="", help="the rows whose names hold these words")
    parser.add_argument("--out", type=Path, default=Path("build"), help="where the files go")
    parser.add_argument(
        "--profile", action="store_true", help="where our own time goes in each row, instead"
    )
    parser.add_argument("--without-peers", action="store_true", help="us and the primitives")
    given = parser.parse_args(words)
    rounds, seconds, enough = (5, 0.02, 1.0) if given.quick else (9, 0.05, 8.0)
    found: list[dict[str, Any]] = []
    known = machine()
    with TemporaryDirectory(prefix="bench") as temporary:
        folder = Path(temporary)
        people = Chain(folder)
        every = ("openssl", "gpgsm", "bouncy castle")
        alone = given.without_peers or given.profile
        peers = Peers.start(people, folder, without=every if alone else ())
        profile = folder / "profile" if given.profile else None
        launcher = Launcher(folder)
        try:
            rows = chain(
                messages.rows(people, peers, quick=given.quick),
                processes.rows(people, launcher, quick=given.quick, profile=profile),
            )
            for name, make in rows:
                if given.only not in name:
                    continue
                print(f"{name} ...", file=sys.stderr, flush=True)
                try:
                    row = make()
                    if profile is not None:
                        print(profiled(name, row, profile, seconds), flush=True)
                        continue
                    spreads = measured(row, rounds=rounds, seconds=seconds, enough=enough)
                except LeftOut as error:
                    print(f"left out: {error}", file=sys.stderr)
                else:
                    found.append(chart.facts(name, row, spreads))
        finally:
            launcher.close()
            peers.close()
        known["peers"] = peers.labels()
    if given.profile:
        return 0
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
