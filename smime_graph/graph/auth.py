"""Access tokens: from a string, a function, or a credential of azure-core; kept until they expire.

azure is not imported: a credential is known by its `get_token`. A token is in no repr and in no
error.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import anyio

from ..errors import GraphError, SmimeGraphError, UsageError

# A token must outlive the request that carries it, up to Graph's own limit for one and a slow line.
_MARGIN = 300.0
_ERROR = re.compile(r"[a-z_]{1,40}")  # RFC 6749 5.2
_VISIBLE = re.compile("[!-~]+")


class AccessToken(Protocol):
    """A token and when it expires, in Unix seconds: azure-core's AccessToken."""

    @property
    def token(self) -> str: ...
    @property
    def expires_on(self) -> float: ...


class TokenCredential(Protocol):
    """azure-core's TokenCredential, as far as it is used."""

    def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken: ...


class AsyncTokenCredential(Protocol):
    """azure-core's AsyncTokenCredential, as far as it is used."""

    async def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken: ...


Token: TypeAlias = str | AccessToken | Mapping[str, Any]
Credential: TypeAlias = (
    str
    | Callable[[], Token]
    | Callable[[], Awaitable[Token]]
    | TokenCredential
    | AsyncTokenCredential
)


@dataclass(frozen=True, slots=True)
class _Given:
    token: Any = field(repr=False)
    expires_on: float


@dataclass(frozen=True, slots=True)
class _Held:
    token: str = field(repr=False)
    until: float


class TokenSource:
    """Gives the token for the next request, from whatever the caller has.

    A string is used as it is. A function without arguments gives a string, and is then asked before
    every request (it is trusted to keep its own), or something with `token` and `expires_on`, or
    what msal gives (`access_token` and `expires_in`, or `error`). A credential is asked for
    `scope`, and its token kept until five minutes before `expires_on`. Both may be asynchronous,
    for AsyncGraphClient; there a credential that is not is asked in a thread, and a function that
    is not is called in the event loop. Usable from several threads.

    Where Graph demands claims (continuous access evaluation), both are asked with `claims=`, JSON,
    if they take that argument.
    """

    def __init__(
        self, credential: Credential, *, scope: str, clock: Callable[[], float] = time.time
    ) -> None:
        if isinstance(credential, str):
            _check_token(credential)
        elif not callable(getattr(credential, "get_token", None)) and not callable(credential):
            raise UsageError(
                f"the credential is {type(credential).__name__}, wanted a token, a function that"
                " gives one, or a credential with get_token"
            )
        self._credential = credential
        self._takes = _takes(getattr(credential, "get_token", credential))
        self._scope = scope
        self._clock = clock
        self._lock = threading.Lock()
        self._turn: anyio.Lock | None = None
        self._held: _Held | None = None

    def __repr__(self) -> str:
        return f"TokenSource({type(self._credential).__name__}, scope={self._scope!r})"

    def token(self, rejected: str | None = None, *, claims: str | None = None) -> str:
        """A token that is not about to expire; a new one if Graph has just refused `rejected`.

        The very same again means that there is no other. Raises UsageError if the credential is
        asynchronous or gives no token, GraphError if it fails.
        """
        with self._lock:  # so that many threads fetch one token, not many
            held = self._still_good(rejected)
            if held is not None:
                return held
            try:
                answer = self._ask(claims)
            except SmimeGraphError:
                raise
            except Exception as error:
                raise self._failed(error) from error
            if inspect.isawaitable(answer):
                if inspect.iscoroutine(answer):
                    answer.close()  # or Python warns that it was never awaited
                raise UsageError(
                    "the credential is asynchronous, and this client is not",
                    hint="use AsyncGraphClient, or the credential's synchronous twin",
                )
            return self._keep(answer)

    async def token_async(self, rejected: str | None = None, *, claims: str | None = None) -> str:
        """As `token`, for the asynchronous client."""
        held = self._still_good(rejected)
        if held is not None:
            return held
        get_token = getattr(self._credential, "get_token", None)
        if get_token is None:
            return await self._new_token(claims, in_thread=False)
        if self._turn is None:
            self._turn = anyio.Lock()
        async with self._turn:  # so that many tasks fetch one token, not many
            held = self._still_good(rejected)
            if held is not None:
                return held
            in_thread = not inspect.iscoroutinefunction(get_token)  # it does I/O of its own
            return await self._new_token(claims, in_thread=in_thread)

    async def _new_token(self, claims: str | None, *, in_thread: bool) -> str:
        try:
            if in_thread:
                answer = await asyncio.to_thread(self._ask, claims)
            else:
                answer = self._ask(claims)
            if inspect.isawaitable(answer):
                answer = await answer
        except SmimeGraphError:
            raise
        except Exception as error:
            raise self._failed(error) from error
        return self._keep(answer)

    def _still_good(self, rejected: str | None) -> str | None:
        if isinstance(self._credential, str):
            return _check_token(self._credential)
        held = self._held
        if held is None or held.token == rejected or self._clock() >= held.until - _MARGIN:
            return None
        return held.token

    def _ask(self, claims: str | None) -> Any:
        credential: Any = self._credential
        get_token = getattr(credential, "get_token", None)
        asked = {"claims": claims} if claims is not None and "claims" in self._takes else {}
        if get_token is None:
            return credential(**asked)
        # that a demand for claims is understood is what `enable_cae` says
        cae = {"enable_cae": True} if "enable_cae" in self._takes else {}
        return get_token(self._scope, **cae, **asked)

    def _keep(self, answer: Any) -> str:
        if isinstance(answer, str):
            self._held = None
            return _check_token(answer)
        if isinstance(answer, Mapping):
            answer = self._of_msal(answer)
        token = _check_token(getattr(answer, "token", None))
        try:
            until = float(answer.expires_on)
            if not math.isfinite(until):
                raise ValueError("not a time")
        except (AttributeError, TypeError, ValueError, OverflowError):
            raise UsageError(
                "the credential's token has no expires_on, wanted Unix seconds"
            ) from None
        self._held = _Held(token, until)
        return token

    def _of_msal(self, answer: Mapping[str, Any]) -> Any:
        error = answer.get("error")
        if error is not None:
            # its code alone: the description repeats what was asked
            code = error if isinstance(error, str) and _ERROR.fullmatch(error) else "an error"
            raise GraphError(
                f"the credential gave no token: {code}",
                hint="sign in again, or check what the credential is made from",
            )
        try:
            until = self._clock() + float(answer.get("expires_in", 0))
        except (TypeError, ValueError, OverflowError):
            until = math.nan
        return _Given(answer.get("access_token"), until)

    def _failed(self, error: Exception) -> GraphError:
        # Only its type: what a credential writes into its message is not ours to show. It is the
        # cause.
        return GraphError(
            f"the credential gave no token: {type(error).__name__}",
            hint="sign in again, or check what the credential is made from",
        )


def _takes(function: Any) -> frozenset[str]:
    """Which of the further arguments of azure-core's protocol it has."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return frozenset()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = {name for name, one in parameters.items() if one.kind in kinds}
    if "claims" in found and any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        found.add("enable_cae")
    return frozenset(found & {"claims", "enable_cae"})


def _check_token(token: object) -> str:
    # It becomes a header field: a line end inside would become another one.
    if not isinstance(token, str):
        raise UsageError(f"the credential gave {type(token).__name__}, wanted a token")
    bare = token.strip()
    if not _VISIBLE.fullmatch(bare):
        raise UsageError(
            "the token is empty, or holds something other than visible ASCII",
            hint="give the access token alone, without 'Bearer '",
        )
    return bare
