"""The rows of whole processes: large files, the start, a pool; and a mailbox in process."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from time import process_time, sleep
from typing import cast

import pybase64
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from smime_graph import GraphClient, Job, KeyFile, seal, seal_many
from smime_graph.batch.processes import Processes
from smime_graph.batch.run import CHUNK
from smime_graph.emulator import Emulator
from smime_graph.pki.keyfiles.read import armour

from .measure import Contestant, Cost, Row, Rows, in_process
from .messages import Chain, mail

_MB = 1_000_000


class LeftOut(Exception):
    """A row that cannot be measured here; the text says why."""


class Launcher:
    """Runs pipes of processes and says what they cost (see launcher.py)."""

    def __init__(self, folder: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        environment |= {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("launcher.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env=environment,
        )

    def run(self, *stages: Sequence[str]) -> Cost:
        """Raises LeftOut where one of them fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(stages).encode() + b"\n")
        self._process.stdin.flush()
        status, cpu, peak = json.loads(self._process.stdout.readline())
        if status:
            programs = " | ".join(" ".join(words[:3]) for words in stages)
            raise LeftOut(f"{programs} ended with status {status}")
        return Cost(cpu, peak)

    def work(self, *stages: Sequence[str]) -> Contestant:
        def work(count: int) -> Cost:
            costs = [self.run(*stages) for _ in range(count)]
            return Cost(sum(cost.cpu for cost in costs), max(cost.peak for cost in costs))

        return work

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def rows(people: Chain, launcher: Launcher, *, quick: bool, profile: Path | None = None) -> Rows:
    """With `profile` each process of ours writes there where its time goes."""
    files = _Files(people, launcher, profile)
    both = "click, cryptography.x509"
    yield "--version / import click", partial(files.start, ["--version"], "click", 1.3)
    yield "--help / import click", partial(files.start, ["--help"], "click", 1.3)
    yield f"sign 1 KB / import {both}", partial(files.start, files.sign(0), both, 1.9)
    yield "sign 10 KB rsa-2048, pool of 2", partial(_pool, people, quick=quick)
    yield "send sealed 10 KB, Graph and emulator", partial(_mailbox, people, quick=quick)
    if not quick:
        for (verb, size), ratio in _LARGE.items():
            yield f"{verb} {size} MB, process", partial(files.large, verb, size, ratio)


# --- files ---------------------------------------------------------------------------------------

_LARGE = {  # the bounds of the project
    ("sign", 100): 2.3,
    ("seal", 100): 1.4,
    ("verify", 100): 0.3,
    ("decrypt", 100): 0.7,
    ("unseal", 100): 0.25,
    ("sign", 500): 1.5,
    ("seal", 500): 1.2,
}


class _Files:
    def __init__(self, people: Chain, launcher: Launcher, profile: Path | None) -> None:
        self._launcher = launcher
        self._people = people
        self._folder = people.folder / "files"
        self._folder.mkdir()
        self._us = [str(Path(sys.executable).with_name("smime-graph"))]
        if profile is not None:
            self._us = [sys.executable, "-m", "cProfile", "-o", str(profile), "-m", "smime_graph"]
        self._me, self._reader = people.of("rsa-2048"), people.of("rsa-3072")
        self._signer = self._folder / "signer.pem"
        chain = b"".join(one.read_bytes() for one in (self._me.key_file, self._me.certificate_file))
        self._signer.write_bytes(chain)
        self._identity = self._folder / "reader.pem"
        self._identity.write_bytes(
            self._reader.key_file.read_bytes() + self._reader.certificate_file.read_bytes()
        )

    def _raw(self, size: int) -> Path:
        """A message with an attachment of so many MB, a small one for 0."""
        path = self._folder / f"{size}.eml"
        if not path.exists():
            small = mail(self._me.email, self._reader.email, 1000)
            if not size:
                path.write_bytes(small)
            else:
                head = small.replace(b"text/plain; charset=us-ascii", b"application/octet-stream")
                head = head.replace(b"7bit", b"base64").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                piece = pybase64.encodebytes(os.urandom(57 * 10_000)).replace(b"\n", b"\r\n")
                with path.open("wb") as file:
                    file.write(head)
                    for _ in range(size * _MB // len(piece)):
                        file.write(piece)
        return path

    def _out(self, name: str, size: int) -> str:
        return str(self._folder / f"{name}-{size}")

    def sign(self, size: int) -> list[str]:
        words = [*self._us, "sign", str(self._raw(size)), "--signer", str(self._signer)]
        return [*words, "-o", self._out("signed", size)]

    def _seal(self, size: int) -> list[str]:
        words = [*self._us, "seal", str(self._raw(size)), "--signer", str(self._signer)]
        words += ["--recipient", str(self._reader.certificate_file)]
        return [*words, "-o", self._out("sealed", size)]

    def _ours(self, verb: str, size: int) -> list[str]:
        trust = ["--trust", str(self._people.root_file)]
        identity = ["--identity", str(self._identity)]
        out = ["-o", self._out("opened", size)]
        signed, sealed = self._out("signed", size), self._out("sealed", size)
        return {
            "sign": lambda: self.sign(size),
            "seal": lambda: self._seal(size),
            "verify": lambda: [*self._us, "verify", signed, *trust, *out],
            "decrypt": lambda: [*self._us, "decrypt", sealed, *identity, *out],
            "unseal": lambda: [*self._us, "unseal", sealed, *identity, *trust, *out],
        }[verb]()

    def _theirs(self, verb: str, size: int) -> list[list[str]]:
        """OpenSSL on the same: it streams what it writes, and reads what we wrote."""
        signer = ["-signer", str(self._me.certificate_file), "-inkey", str(self._me.key_file)]
        reader = ["-recip", str(self._reader.certificate_file)]
        key = ["-inkey", str(self._reader.key_file)]
        raw = ["-in", str(self._raw(size))]
        out = ["-out", self._out("theirs", size)]
        sign = ["openssl", "cms", "-sign", "-stream", *signer, *raw]
        decrypt = ["openssl", "cms", "-decrypt", *reader, *key, "-in", self._out("sealed", size)]
        verify = ["openssl", "cms", "-verify", "-CAfile", str(self._people.root_file), *out]
        to = str(self._reader.certificate_file)
        return {
            "sign": [[*sign, *out]],
            "seal": [sign, ["openssl", "cms", "-encrypt", "-stream", "-aes256", *out, to]],
            "verify": [[*verify, "-in", self._out("signed", size)]],
            "decrypt": [[*decrypt, *out]],
            "unseal": [decrypt, verify],
        }[verb]

    def large(self, verb: str, size: int, ratio: float) -> Row:
        if shutil.which("openssl") is None:
            raise LeftOut("openssl is not installed")
        for needed in {"verify": ["sign"], "decrypt": ["seal"], "unseal": ["seal"]}.get(verb, []):
            self._launcher.run(self._ours(needed, size))
        contestants = {
            "ours": self._launcher.work(self._ours(verb, size)),
            "openssl": self._launcher.work(*self._theirs(verb, size)),
        }
        return Row(contestants, beside="openssl", ratio=ratio, peak=48)

    def start(self, words: list[str], modules: str, ratio: float) -> Row:
        ours = words if words[0] == self._us[0] else [*self._us, *words]
        imports = [sys.executable, "-c", f"import {modules}"]
        contestants = {
            "ours": self._launcher.work(ours),
            "imports": self._launcher.work(imports),
        }
        return Row(contestants, beside="imports", ratio=ratio)


# --- a pool --------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _key(pkcs8: bytes) -> rsa.RSAPrivateKey:
    return cast("rsa.RSAPrivateKey", load_der_private_key(pkcs8, None))


def _raw_chunk(pkcs8: bytes, chunk: list[bytes]) -> list[bytes]:
    sign = _key(pkcs8).sign
    return [sign(raw[-300:], padding.PKCS1v15(), hashes.SHA256()) for raw in chunk]


def _clock() -> tuple[int, float]:
    """Which process this is and its CPU time; slow, so that each process is asked once."""
    sleep(0.2)
    return os.getpid(), process_time()


def _used(pool: Processes) -> float:
    """CPU time of the two processes and of this one."""
    clocks = dict(one.result() for one in [pool.submit(_clock) for _ in range(2)])
    assert len(clocks) == 2
    return sum(clocks.values()) + process_time()


def _pool(people: Chain, *, quick: bool) -> Row:
    """RSA-2048 signatures of messages of 10 KB, in chunks, by two processes."""
    me = people.of("rsa-2048")
    file = people.folder / "batch.pem"
    chain = b"".join(map(armour, me.identity.chain))
    file.write_bytes(me.key_file.read_bytes() + me.certificate_file.read_bytes() + chain)
    message = mail(me.email, "bob@contoso.com", 10_000)
    messages = [
        message.replace(b"<bench@", b"<bench%d@" % number, 1)
        for number in range(CHUNK * (4 if quick else 10))
    ]
    signers = (KeyFile(str(file)),)
    jobs = [
        Job(key=str(number), verb="sign", message=one, signers=signers)
        for number, one in enumerate(messages)
    ]

    def ours(pool: Processes, start: int) -> None:
        for outcome in seal_many(jobs[start:], executor=pool):
            assert outcome.status == "done", outcome.error

    def raw(pool: Processes, start: int) -> None:
        places = range(start, len(messages), CHUNK)
        asked = [pool.submit(_raw_chunk, me.pkcs8, messages[at : at + CHUNK]) for at in places]
        for one in asked:
            one.result()

    def run(work_through: Callable[[Processes, int], None]) -> Contestant:
        def work(count: int) -> Cost:
            """One pool, however few messages are asked for: what each cost, that many times."""
            with Processes(2) as pool:
                work_through(pool, len(messages) - 2 * CHUNK)  # what is made once is made now
                start = _used(pool)
                work_through(pool, 0)
                return Cost(count * (_used(pool) - start) / len(messages))

        return work

    contestants = {"ours": run(ours), "raw signatures": run(raw)}
    return Row(contestants, beside="raw signatures", ratio=1.25)


# --- a mailbox -----------------------------------------------------------------------------------


def _mailbox(people: Chain, *, quick: bool) -> Row:
    """GraphClient and the emulator in one process: a sealed message of 10 KB is sent."""
    logging.getLogger("smime_graph").setLevel(logging.ERROR)  # that Exchange would be slower
    me, reader = people.of("rsa-2048"), people.of("rsa-3072")
    raw = mail(me.email, reader.email, 10_000)
    sealed = seal(raw, signer=me.identity, recipients=[reader.identity.contact])
    times = 50 if quick else 200

    def work(count: int) -> Cost:
        """One mailbox, however few messages are asked for."""
        with (
            Emulator(mailboxes=[me.email, reader.email]) as here,
            GraphClient("token", user=me.email, transport=here.transport()) as graph,
        ):
            graph.send(sealed)
            start = process_time()
            for number in range(times):
                graph.send(sealed.replace(b"<bench@", b"<bench%d@" % number, 1))
            return Cost(count * (process_time() - start) / times)

    return Row(
        {"ours": work, "base64": in_process(lambda: pybase64.b64encode(sealed))},
        beside="",
        own=500,
    )
