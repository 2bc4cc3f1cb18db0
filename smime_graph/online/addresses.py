"""Where may be asked: URLs as certificates give them, and the addresses behind their hosts."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from ..errors import SmimeGraphError
from ..text import printable

MAX_URL = 2048  # characters
_SHOWN = 200
# visible ASCII (RFC 3986 2), without the backslash that some programs take for a slash
_URL = re.compile(r"[!-\[\]-~]+")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_PORTS = {"http": 80, "https": 443}
# Other protocols live below it, whose servers could be made to take a request for theirs
_FIRST_FREE_PORT = 1024

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
# Where clouds serve credentials beside link-local addresses: Azure, AWS, Google, Oracle. And what
# is for special purposes by IANA's registries, whatever this version of Python knows of them.
_NEVER = tuple(
    map(
        ipaddress.ip_network,
        ("168.63.129.16/32", "fd00:ec2::254/128", "fd20:ce::254/128", "192.0.0.0/24", "3fff::/20"),
    )
)


class Fault(SmimeGraphError):
    """Why nothing was fetched."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a URL says, taken apart and checked."""

    scheme: str
    host: str  # without the brackets of an IPv6 address
    port: int
    target: str  # path and query


def shown(url: str) -> str:
    """A URL in a text: printable, and no longer than a line or two."""
    return printable(url if len(url) <= _SHOWN else url[:_SHOWN] + "...")


def place_of(url: str) -> Place:
    """The parts of a URL that may be asked. Raises Fault: see the text."""
    if len(url) > MAX_URL:
        raise Fault(f"a URL of {len(url)} characters, at most {MAX_URL} are taken")
    if not _URL.fullmatch(url):
        raise Fault("no URL: it has a blank, a control character, a backslash or no ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Fault("no URL") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise Fault("only http and https are asked")
    if "@" in parts.netloc:
        raise Fault("a URL with the name of a user is not asked")
    host = parts.netloc.removesuffix(f":{parts.netloc.rpartition(':')[2]}" if port else "")
    host = host.removesuffix(":")
    if not _HOST.fullmatch(host):
        raise Fault("no URL: its host is neither a name nor an address")
    port = _PORTS[scheme] if port is None else port
    if port not in _PORTS.values() and port < _FIRST_FREE_PORT:
        raise Fault(f"port {port} is not asked: 80, 443 and those from {_FIRST_FREE_PORT} are")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(scheme, host.strip("[]").lower(), port, target)


def is_allowed(text: str, *, local: bool) -> bool:
    """Whether the address may be connected to: a global one, or with `local` also those of this
    machine and of private networks. Those at which a cloud's credentials are served never.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    address = _embedded(address)
    if address.is_multicast or address.is_link_local or address.is_unspecified:
        return False
    if any(address in one for one in _NEVER):
        return False
    if isinstance(address, IPv6Address) and address.is_site_local:
        return local
    if address.is_loopback or address.is_private:
        return local and not (address.is_reserved and not address.is_loopback)
    return address.is_global and not address.is_reserved


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that the packets would go to, where an IPv6 address stands for one."""
    if isinstance(address, IPv4Address):
        return address
    inside = address.ipv4_mapped or address.sixtofour
    if inside is None and (address in _NAT64 or (address in _COMPATIBLE and int(address) > 1)):
        inside = IPv4Address(int(address) & 0xFFFFFFFF)
    return address if inside is None else inside
