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
from .gnutls import GnuTlsPeer
from .gpgsm import GpgsmPeer
from .nss import NssPeer
from .openssl import OpenSslPeer
from .own import OwnPeer
from .peer import Peer
from .plugin import PluginPeer
from .pyca import PycaPeer

# each starts its peer, of a path and a version where they are named; raises Missing
PEERS: Mapping[str, Callable[[Stand, Path, str | None, str | None], Peer]] = {
    "own": OwnPeer.start,
    "openssl": OpenSslPeer.start,
    "nss": NssPeer.start,
    "bouncycastle": BouncyCastlePeer.start,
    "gpgsm": GpgsmPeer.start,
    "gnutls": GnuTlsPeer.start,
    "pyca": PycaPeer.start,
}


@dataclass(frozen=True, slots=True)
class Named:
    """A peer as it was asked for: its name, and its version and path where those were given. One
    without a name is a program of its own, see `plugin`, and `path` is how it is called.
    """

    name: str
    version: str | None = None
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> Named:
        """Of "openssl", "openssl@3.6:PATH" or "./program". Raises UsageError."""
        match = re.fullmatch(r"([a-z]+)(?:@([0-9][0-9A-Za-z.]*):(.+))?", text)
        if match is None and "/" in text and "@" not in text.partition("/")[0]:
            return cls("", None, text)
        if match is None or match[1] not in PEERS:
            raise UsageError(
                f"{text!r} is no peer, wanted NAME or NAME@VERSION:PATH",
                hint=f"names are {', '.join(PEERS)}; a program of yours is named with a /",
            )
        return cls(match[1], match[2], match[3])

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, self.version))) or str(self.path)


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
            folder = stand.folder / f"{number}-peer"
            folder.mkdir()
            try:
                peer = _start(one, stand, folder)
            except Missing as error:
                if wanted or required:
                    raise UsageError(
                        f"the peer {one} cannot be had: {error}",
                        hint="install it, or name the peers that are there with --peer",
                    ) from None
                skipped[str(one)] = str(error)
                continue
            peers.append(peer)
            if [p.name for p in peers if p.version == peer.version].count(peer.name) > 1:
                raise UsageError(f"the peer {peer.name} {peer.version} is named twice")
            if one.version is not None and not f"{peer.version}.".startswith(f"{one.version}."):
                raise UsageError(f"{one.path} is {one.name} {peer.version}, not {one.version}")
        yield peers, skipped
    finally:
        for peer in peers:
            peer.close()


def _start(one: Named, stand: Stand, folder: Path) -> Peer:
    if not one.name:
        return PluginPeer.start(stand, folder, str(one.path))
    return PEERS[one.name](stand, folder, one.path, one.version)
