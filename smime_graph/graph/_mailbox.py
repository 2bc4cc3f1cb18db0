"""Which mailbox is spoken to, where, and how: the settings every flow is given. No I/O.

Every URL is made here, so that this is the one place that decides where a token may go.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias
from urllib.parse import SplitResult, quote, urlsplit

from ..errors import GraphError, UsageError

Wire: TypeAlias = Literal["text-plain", "mime-content"]
Cloud: TypeAlias = Literal["global", "usgov", "dod", "china"]

# Microsoft Graph, "National cloud deployments". Tokens of one are not valid in another.
CLOUDS: Mapping[str, str] = {
    "global": "https://graph.microsoft.com/v1.0",
    "usgov": "https://graph.microsoft.us/v1.0",
    "dod": "https://dod-graph.microsoft.us/v1.0",
    "china": "https://microsoftgraph.chinacloudapi.cn/v1.0",
}

_URL = re.compile(r"[!-~]{1,8192}")  # visible ASCII: urlsplit would drop a line end silently
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox behind one Graph address; make it with `mailbox`, which checks all of it."""

    url: str
    user: str
    wire: Wire
    size_limit: int | None
    retries: int

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def loopback(self) -> bool:
        return _is_loopback(self.host)

    @property
    def scope(self) -> str:
        """The scope to ask a credential for: this very host's, so no other's token is sent."""
        return f"https://{self.host}/.default"

    def at(self, *path: str, **query: str) -> str:
        """The address of something in this mailbox; each part and each value is escaped.

        `$value` stays as it is; a query name gets the `$` of OData's system options.
        """
        root = ["me"] if self.user == "me" else ["users", self.user]
        parts = "/".join(p if p == "$value" else _segment(p) for p in (*root, *path))
        asked = "&".join(f"${name}={quote(value, safe='')}" for name, value in query.items())
        return f"{self.url}/{parts}" + (f"?{asked}" if asked else "")

    def next_page(self, link: str) -> str:
        """Check an `@odata.nextLink`; GraphError unless it stays on this scheme, host and port."""
        try:
            if not _URL.fullmatch(link):
                raise ValueError("not an address")
            there = urlsplit(link)
            stays = _origin(there) == _origin(urlsplit(self.url)) and "@" not in there.netloc
        except ValueError:
            stays = False
        if not stays:
            raise GraphError(
                f"the next page is not on {self.host}: the token is not sent there",
                hint="check the url of the client; a gateway in between has to rewrite nextLink",
            )
        return link


def mailbox(
    *,
    user: str = "me",
    url: str | None = None,
    cloud: Cloud | None = None,
    wire: Wire = "text-plain",
    size_limit: int | None = 4 * 1024 * 1024,
    retries: int = 4,
) -> Mailbox:
    """Check the settings of a client and make its Mailbox; UsageError names what is wrong."""
    if wire not in ("text-plain", "mime-content"):
        raise UsageError(f"wire is {wire!r}, wanted 'text-plain' or 'mime-content'")
    if cloud is not None and (not isinstance(cloud, str) or cloud not in CLOUDS):
        raise UsageError(f"cloud is {cloud!r}, wanted one of {', '.join(CLOUDS)}")
    if size_limit is not None and (not isinstance(size_limit, int) or size_limit < 1):
        raise UsageError(
            f"size_limit is {size_limit!r}, wanted a number of bytes, or None for none"
        )
    if not isinstance(retries, int) or not 0 <= retries <= 20:
        raise UsageError(f"retries is {retries!r}, wanted 0 to 20")
    named(user, what="user")
    return Mailbox(
        url=_checked_url(CLOUDS[cloud or "global"] if url is None else url),
        user=user,
        wire=wire,
        size_limit=size_limit,
        retries=retries,
    )


def seconds(value: float, *, what: str) -> float:
    """Check a length of time; UsageError unless it is finite and above zero."""
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise UsageError(f"{what} is {value!r}, wanted seconds above 0")
    return float(value)


def named(value: object, *, what: str) -> str:
    """Check an id or an address that becomes one segment of a path; UsageError if it cannot be one.

    "." and ".." are refused because clients and servers resolve them: `messages/../sendMail`.
    """
    if not isinstance(value, str) or not 0 < len(value) <= 2048 or not value.isprintable():
        raise UsageError(f"{what} is not usable: wanted 1 to 2048 printable characters")
    if value in (".", ".."):
        raise UsageError(f"{what} is {value!r}, which names no {what}")
    return value


def _segment(part: str) -> str:
    return _quoted(named(part, what="id"))


@lru_cache(maxsize=256)  # a user, a verb: a client asks for the same ones again and again
def _quoted(part: str) -> str:
    return quote(part, safe="")


def _checked_url(url: str) -> str:
    wanted = "wanted something like https://graph.microsoft.com/v1.0"
    try:
        if not isinstance(url, str) or not _URL.fullmatch(url):
            raise ValueError("not visible ASCII")
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UsageError(f"url is not an address; {wanted}") from None
    # The text of the address is not repeated: it may hold a password.
    if "@" in parts.netloc:
        raise UsageError(
            "url holds credentials, which Graph does not take there",
            hint="take them out of the url and give a token or a credential instead",
        )
    if not host or parts.scheme not in _PORTS or parts.query or parts.fragment:
        raise UsageError(f"url is {url!r}; {wanted}, without query and fragment")
    if parts.scheme == "http" and not _is_loopback(host):
        raise UsageError(
            f"url is http on {host}: a token would travel in the clear",
            hint="use https; http is for localhost, 127.0.0.0/8 and [::1] only",
        )
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
