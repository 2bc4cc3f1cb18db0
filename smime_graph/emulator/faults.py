"""Scripted faults: what a network and a busy service do to a client."""

from __future__ import annotations

import fnmatch
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from smime_graph.errors import UsageError


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. Make it with one of the class methods; all times are seconds.

    `carried_out` says whether the request takes effect all the same: a client cannot see that. Only
    what Graph itself decides before it begins is never carried out: `throttled`, `expired_token`.
    `only` is what it can strike, but for what `Faults.script` says: sends, bodies over the limit.
    """

    name: str
    carried_out: bool = False
    status: int | None = None
    code: str = ""
    message: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    page: bool = False
    cut: bool = False
    refused: bool = False
    delay: float = 0.0
    sent_items_delay: float | None = None
    breaks_auth_enveloped: bool = False
    only: Literal["", "sends", "oversized"] = ""

    @classmethod
    def named(cls, text: str) -> Fault:
        """The fault of a name in `NAMED`, or `NAME=SECONDS`; UsageError if there is none."""
        name, equals, number = text.partition("=")
        seconds = _number(number) if equals else None
        if name not in NAMED or (equals and seconds is None):
            raise UsageError(
                f"fault {text[:60]!r} is not known",
                hint=f"use NAME or NAME=SECONDS, with one of {', '.join(NAMED)}",
            )
        return NAMED[name].make(seconds)

    @classmethod
    def throttled(cls, *, retry_after: int | None = 1) -> Fault:
        """429; `retry_after` None leaves the Retry-After field out."""
        return cls(
            name="throttled",
            status=429,
            code="ApplicationThrottled",
            message="Application is over its MailboxConcurrency limit.",
            headers=_retry_after(retry_after),
        )

    @classmethod
    def unavailable(cls, *, retry_after: int | None = None, carried_out: bool = False) -> Fault:
        """503 in Graph's own form."""
        return cls(
            name="unavailable",
            carried_out=carried_out,
            status=503,
            code="serviceNotAvailable",
            message="The service is temporarily unavailable.",
            headers=_retry_after(retry_after),
        )

    @classmethod
    def gateway(
        cls, status: int = 503, *, retry_after: int | None = None, carried_out: bool = True
    ) -> Fault:
        """An HTML page of whatever stands in front of Graph, without Graph's code: 503 or 429 for
        mail that was sent all the same, 200 where a proxy wants a log-in.
        """
        return cls(
            name="gateway",
            carried_out=carried_out,
            status=_status(status),
            headers=_retry_after(retry_after),
            page=True,
        )

    @classmethod
    def gateway_timeout(cls, *, carried_out: bool = True) -> Fault:
        """504: in real life the mail was sent all the same."""
        return cls(
            name="gateway-timeout",
            carried_out=carried_out,
            status=504,
            code="UnknownError",
            message="The gateway did not receive a timely response.",
        )

    @classmethod
    def expired_token(cls) -> Fault:
        """401 in the middle of a run."""
        return cls(
            name="expired-token",
            status=401,
            code="InvalidAuthenticationToken",
            message="Lifetime validation failed, the token is expired.",
            headers=(WWW_AUTHENTICATE,),
        )

    @classmethod
    def answer(
        cls,
        status: int,
        *,
        code: str = "UnknownError",
        message: str = "",
        headers: tuple[tuple[str, str], ...] = (),
        carried_out: bool = False,
    ) -> Fault:
        """Any other answer; below 400 the body is empty (200 in place of 413 has been reported)."""
        return cls(
            name="answer",
            carried_out=carried_out,
            status=_status(status),
            code=code,
            message=message,
            headers=headers,
        )

    @classmethod
    def connection_refused(cls) -> Fault:
        """Nothing was sent, and the client can know it. Over a socket this is a cut before any
        answer.
        """
        return cls(name="connection-refused", cut=True, refused=True)

    @classmethod
    def cut_before(cls) -> Fault:
        """The connection breaks after the request was read and before it was carried out."""
        return cls(name="cut-before", cut=True)

    @classmethod
    def cut_after(cls) -> Fault:
        """The connection breaks after the request was carried out: the answer is lost."""
        return cls(name="cut-after", cut=True, carried_out=True)

    @classmethod
    def slow(cls, seconds: float) -> Fault:
        """The request is carried out at once, the answer comes late."""
        return cls(name="slow", carried_out=True, delay=_seconds(seconds))

    @classmethod
    def sent_items_late(cls, seconds: float) -> Fault:
        """This one send appears in Sent Items only after a while."""
        return cls(
            name="sent-items-late",
            carried_out=True,
            sent_items_delay=_seconds(seconds),
            only="sends",
        )

    @classmethod
    def oversized_accepted(cls) -> Fault:
        """200 in place of 413, for a body over the limit: nothing is sent (GD#13979)."""
        return cls(name="oversized-accepted", status=200, only="oversized")

    @classmethod
    def auth_enveloped_broken(cls) -> Fault:
        """What this send carries as authEnveloped-data does not arrive as such (java#2544)."""
        return cls(
            name="auth-enveloped-broken",
            carried_out=True,
            breaks_auth_enveloped=True,
            only="sends",
        )


# Seen on real answers; the authorization_uri is left out because nothing here issues tokens.
WWW_AUTHENTICATE = (
    "WWW-Authenticate",
    'Bearer realm="", client_id="00000003-0000-0000-c000-000000000000"',
)


def _retry_after(seconds: int | None) -> tuple[tuple[str, str], ...]:
    return () if seconds is None else (("Retry-After", str(seconds)),)


def _status(status: int) -> int:
    if not 200 <= status <= 599:
        raise UsageError(f"status {status}: a fault answers with 200 to 599")
    return status


def _seconds(value: float) -> float:
    if not 0 <= value <= 3600:
        raise UsageError(f"{value} seconds: a fault lasts between 0 and 3600 seconds")
    return float(value)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text, re.ASCII) else None


@dataclass(frozen=True, slots=True)
class Named:
    """A fault that can be asked for by its name: what it does, and what its seconds are."""

    what: str
    make: Callable[[float | None], Fault]
    seconds: str = ""  # nothing: it has none


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


NAMED: Mapping[str, Named] = {
    "throttled": Named(
        "429: too many requests at once",
        lambda seconds: Fault.throttled(retry_after=1 if seconds is None else int(seconds)),
        "Retry-After",
    ),
    "unavailable": Named(
        "503: nothing was done",
        lambda seconds: Fault.unavailable(retry_after=_whole(seconds)),
        "Retry-After",
    ),
    "gateway-timeout": Named(
        "504, and the request was carried out", lambda _: Fault.gateway_timeout()
    ),
    "gateway": Named(
        "503 as a page in HTML, and the request was carried out",
        lambda seconds: Fault.gateway(retry_after=_whole(seconds)),
        "Retry-After",
    ),
    "expired-token": Named("401: the token has expired", lambda _: Fault.expired_token()),
    "cut-before": Named("the connection is cut, nothing was done", lambda _: Fault.cut_before()),
    "cut-after": Named(
        "the connection is cut, and the request was carried out", lambda _: Fault.cut_after()
    ),
    "slow": Named(
        "carried out at once, and the answer is late",
        lambda seconds: Fault.slow(5 if seconds is None else seconds),
        "how late",
    ),
    "oversized-accepted": Named(
        "200 in place of 413, nothing is sent", lambda _: Fault.oversized_accepted()
    ),
    "sent-items-late": Named(
        "the copy of a send is in Sent Items only later",
        lambda seconds: Fault.sent_items_late(30 if seconds is None else seconds),
        "how late",
    ),
    "auth-enveloped-broken": Named(
        "sent authEnveloped-data arrives as an attachment",
        lambda _: Fault.auth_enveloped_broken(),
    ),
}


@dataclass(slots=True)
class _Rule:
    fault: Fault
    on: str
    after: int
    times: int | None


@dataclass(frozen=True, slots=True)
class Coming:
    """A fault that is still to come; `times` None is until it is cleared."""

    fault: Fault
    on: str
    times: int | None


_SENDS = ("sendmail", "send", "reply", "replyall", "forward")


def _check(fault: object) -> None:
    """Now, and not when a request is answered by what is none."""
    if not isinstance(fault, Fault):
        raise UsageError(
            f"the fault is {type(fault).__name__}, wanted a Fault",
            hint="use one of Fault.throttled() and its kin, or switch_on with a name",
        )


class Faults:
    """What will go wrong next. Any thread may add, and may take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._script: list[Fault | None] = []
        self._rules: list[_Rule] = []

    def add(self, fault: Fault, *, on: str = "*", times: int | None = 1, after: int = 0) -> None:
        """Let a fault strike `times` requests that match `on`, once `after` of them have passed;
        None: all of them, until `clear`.

        `on` is a shell pattern over the method and the path without its version, in any case:
        `"POST */sendMail"`. Where several rules match, the one added first strikes.
        """
        if (times is not None and times < 1) or after < 0:
            raise UsageError(f"times {times}, after {after}: at least 1 and at least 0 were wanted")
        _check(fault)
        with self._lock:
            self._rules.append(_Rule(fault, on.lower(), after, times))

    def script(self, *faults: Fault | None) -> None:
        """Say what happens to each of the next requests, whatever they are; None: nothing."""
        for one in faults:
            if one is not None:
                _check(one)
        with self._lock:
            self._script += faults

    def switch_on(self, text: str) -> None:
        """Add what `NAME`, `NAME=SECONDS` and `:TIMES` or `:all` behind it ask for, see `NAMED`."""
        name, colon, count = text.partition(":")
        fault = Fault.named(name)
        if colon and count != "all" and not re.fullmatch(r"[1-9][0-9]{0,5}", count, re.ASCII):
            raise UsageError(
                f"fault {text[:60]!r}: {count[:20]!r} is no number of requests",
                hint=f"use {name}:3 for the next three, {name}:all for every one",
            )
        self.add(fault, times=None if count == "all" else int(count or 1))

    def clear(self) -> None:
        with self._lock:
            self._script.clear()
            self._rules.clear()

    @property
    def pending(self) -> int:
        """How many faults are still to come: zero at the end of a test that reached them all."""
        with self._lock:
            rules = sum(1 if r.times is None else r.times for r in self._rules)
            return sum(f is not None for f in self._script) + rules

    @property
    def coming(self) -> tuple[Coming, ...]:
        """What is still to come, in its order."""
        with self._lock:
            script = [Coming(one, "*", 1) for one in self._script if one is not None]
            return (*script, *(Coming(one.fault, one.on, one.times) for one in self._rules))

    def take(self, method: str, path: str, *, oversized: bool = False) -> Fault | None:
        """Use up and return the fault for this request, if there is one."""
        with self._lock:
            if self._script:
                return self._script.pop(0)
            target = f"{method} {path}".lower()
            for rule in self._rules:
                if not fnmatch.fnmatchcase(target, rule.on):
                    continue
                if rule.fault.only == "sends" and not _is_send(target):
                    continue
                if rule.fault.only == "oversized" and not oversized:
                    continue
                if rule.after:
                    rule.after -= 1
                    continue
                if rule.times is not None:
                    rule.times -= 1
                    if not rule.times:
                        self._rules.remove(rule)
                return rule.fault
        return None


def _is_send(target: str) -> bool:
    last = target.rstrip("/").rpartition("/")[2]
    return target.startswith("post ") and last.removeprefix("microsoft.graph.") in _SENDS
