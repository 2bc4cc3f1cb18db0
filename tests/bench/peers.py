"""The peers of tests/interop as contestants: CMS alone, without the MIME around it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smime_graph.harness.peers.drive import Missing, Refused, Resident, checked, run
from tests.interop.cases import EncryptionCase, SigningCase
from tests.interop.matrix import Direction
from tests.interop.peers import bouncycastle, gpgsm, openssl
from tests.interop.people import People

from .measure import Contestant, Cost, in_children

_WARM = 200  # times before the JVM's compilers have done the most


@dataclass(slots=True)
class Peers:
    """Those that could be started, by name; and why the others were not."""

    started: dict[str, Any]
    absent: dict[str, str]
    folder: Path

    @classmethod
    def start(cls, people: People, folder: Path, *, without: tuple[str, ...] = ()) -> Peers:
        peers = cls({}, {}, folder)
        for name, start in (
            ("openssl", openssl.OpenSsl.start),
            ("gpgsm", gpgsm.Gpgsm.start),
            ("bouncy castle", _bouncy_castle),
        ):
            if name in without:
                continue
            room = folder / name.replace(" ", "-")
            room.mkdir()
            try:
                peers.started[name] = start(people, room)
            except Missing as error:
                peers.absent[name] = str(error)
        return peers

    def labels(self) -> list[str]:
        return [peer.label for peer in self.started.values()]

    def of(
        self,
        direction: Direction,
        case: SigningCase | EncryptionCase,
        work: Callable[[Any], object],
    ) -> dict[str, Contestant]:
        """Those who can do it."""
        found: dict[str, Contestant] = {}
        for name, peer in self.started.items():
            if peer.lacks(direction, case) is not None:
                continue
            contestant = self._contestant(name, peer, work)
            try:
                contestant(1)
            except Refused:
                continue  # tests/interop knows what each of them fails at, and why
            found[name] = contestant
        return found

    def _contestant(self, name: str, peer: Any, work: Callable[[Any], object]) -> Contestant:
        if isinstance(peer, bouncycastle.BouncyCastle):
            return _Repeated(peer, work)
        besides = _agent(peer, self.folder) if name == "gpgsm" else lambda: 0.0
        return in_children(lambda: work(peer), besides)

    def close(self) -> None:
        for peer in self.started.values():
            peer.close()


def _bouncy_castle(people: People, folder: Path) -> bouncycastle.BouncyCastle:
    return bouncycastle.BouncyCastle.start(people, folder, options=())  # with both compilers


class _Repeated:
    """Work in the one JVM, repeated there: what its thread used is what it says."""

    def __init__(self, peer: bouncycastle.BouncyCastle, work: Callable[[Any], object]) -> None:
        self._work = work
        self._asked = _Asked(peer.driver.resident)
        asked = replace(peer.driver, resident=self._asked)  # type: ignore[arg-type]
        self._peer = bouncycastle.BouncyCastle(asked, peer.label)
        self._warm = False

    def __call__(self, count: int) -> Cost:
        if not self._warm:
            self._once(_WARM)
            self._warm = True
        return Cost(self._once(count))

    def _once(self, count: int) -> float:
        self._asked.count, self._asked.nanoseconds = count, 0
        self._work(self._peer)
        return self._asked.nanoseconds / 1e9


class _Asked:
    def __init__(self, resident: Resident) -> None:
        self._resident = resident
        self.count, self.nanoseconds = 1, 0

    def ask(self, *words: str) -> bytes:
        answer = self._resident.ask("cpu", str(self.count), *words)
        self.nanoseconds += int(answer)
        return answer


def _agent(peer: gpgsm.Gpgsm, folder: Path) -> Callable[[], float]:
    """Seconds of CPU of the agent, which does gpgsm's work with private keys."""
    words = ("gpg-connect-agent", "--homedir", peer.driver.home.name, "getinfo pid", "/bye")
    said = checked(run(*words, folder=folder)).split()
    stat = Path(f"/proc/{int(said[1])}/stat")
    ticks = os.sysconf("SC_CLK_TCK")

    def used() -> float:
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    return used
