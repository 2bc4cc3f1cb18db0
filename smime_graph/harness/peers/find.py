"""Which peers there are: what is installed, and what is named with a version and a path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ..cases import Stand
from .bouncycastle import BouncyCastlePeer
from .drive import Missing
from .gpgsm import GpgsmPeer
from .nss import NssPeer
from .openssl import OpenSslPeer
from .own import OwnPeer
from .peer import Peer

# each starts its peer, of a path and a version where they are named; raises Missing
PEERS: Mapping[str, Callable[[Stand, Path, str | None, str | None], Peer]] = {
    "own": OwnPeer.start,
    "openssl": OpenSslPeer.start,
    "nss": NssPeer.start,
    "bouncycastle": BouncyCastlePeer.start,
    "gpgsm": GpgsmPeer.start,
}


@dataclass(frozen=True, slots=True)
class Named:
    """A peer as it was asked for: its name, and its version and path where those were given."""

    name: str
    version: str | None = None
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> Named:
        """Of "openssl" or "openssl@3.6:PATH". Raises UsageError."""
        match = re.fullmatch(r"([a-z]+)(?:@([0-9][0-9A-Za-z.]*):(.+))?", text)
        if match is None or match[1] not in PEERS:
            raise UsageError(
                f"{text!r} is no peer, wanted NAME or NAME@VERSION:PATH",
                hint=f"names are {', '.join(PEERS)}",
            )
        return cls(match[1], match[2], match[3])

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name} {self.version}"


@contextmanager
def started(
    wanted: Sequence[Named], stand: Stand, *, required: bool
) -> Iterator[tuple[list[Peer], dict[str, str]]]:
    """The peers, ready, and the others by name with why they are skipped; all where none is named.

    Raises UsageError for one that is missing where it was named, or where all are `required`.
    """
    peers: list[Peer] = []
    skipped: dict[str, str] = {}
    try:
        for number, one in enumerate(wanted or [Named(name) for name in PEERS]):
            folder = stand.folder / f"{number}-{one.name}"
            folder.mkdir()
            try:
                peer = PEERS[one.name](stand, folder, one.path, one.version)
            except Missing as error:
                if wanted or required:
                    raise UsageError(
                        f"the peer {one} cannot be had: {error}",
                        hint="install it, or name the peers that are there with --peer",
                    ) from None
                skipped[str(one)] = str(error)
                continue
            peers.append(peer)
            if one.version is not None and not f"{peer.version}.".startswith(f"{one.version}."):
                raise UsageError(f"{one.path} is {one.name} {peer.version}, not {one.version}")
        yield peers, skipped
    finally:
        for peer in peers:
            peer.close()
