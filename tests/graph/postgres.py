"""A PostgreSQL of the tests' own: an unprivileged process, in a folder that goes when it ends."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "pass-word.of~the_tests"
SCHEMA = "smime_graph_outbox"


def programs() -> Path | None:
    """Where Debian's package, or whoever installed it, has the server's programs."""
    places = sorted(
        (one.parent for one in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda place: int(place.parent.name),
    )
    found = shutil.which("initdb")
    return places[-1] if places else None if found is None else Path(found).parent


class Server:
    """It listens on loopback, with a password, and on a socket in its folder, without one."""

    def __init__(self, bin_: Path, folder: Path, *, safe: bool) -> None:
        self._bin, self._folder, self._safe = bin_, folder, safe
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port: int = one.getsockname()[1]
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:  # which it refuses to run as
            names = {one.pw_name: one for one in pwd.getpwall()}
            who = names.get("postgres") or names["nobody"]
            os.chown(folder, who.pw_uid, who.pw_gid)
            self._as = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            *("initdb", "-D", folder / "data", "-U", "tests", "--pwfile", secret, "-E", "UTF8"),
            *("--auth-local=trust", "--auth-host=scram-sha-256", "--no-locale", "--no-sync"),
        )
        self.start()

    def _run(self, name: str, *words: object) -> None:
        subprocess.run(
            [self._bin / name, *map(str, words)],
            check=True,
            capture_output=True,
            cwd=self._folder,
            env={"PATH": "/usr/bin:/bin"},
            **self._as,
        )

    @property
    def url(self) -> str:
        """Without a password, by the socket."""
        return f"postgresql://tests@/postgres?host={self._folder}&port={self.port}"

    @property
    def url_with_password(self) -> str:
        return f"postgresql://tests:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        words = ["-D", "data", "-k", str(self._folder), "-p", str(self.port), "-h", "127.0.0.1"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", *words, *([] if self._safe else ["-F"])],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={"PATH": "/usr/bin:/bin"},
                **self._as,
            )
        import psycopg

        end = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: at once, with all its connections. SIGQUIT: as a crash is."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        self.start()

    def execute(self, query: str) -> list[Any]:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as db:
            cursor = db.execute(f"SET search_path = {SCHEMA}; {query}")
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> str:
        """Its url, with no outbox there."""
        self.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        return self.url


@contextmanager
def running(*, safe: bool = False) -> Iterator[Server]:
    """A server; `safe`: what it says to be on disk is. Skips the test where there is none."""
    pytest.importorskip("psycopg", reason="psycopg (extra postgres) is not installed")
    bin_ = programs()
    if bin_ is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        server = Server(bin_, folder, safe=safe)
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder)
