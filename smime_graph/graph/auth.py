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
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from ..errors import GraphError, SmimeGraphError, UsageError

# A token must outlive the request that carries it, up to Graph's own limit for one and a slow line.
_MARGIN = 300.0
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


Token: TypeAlias = str | AccessToken
Credential: TypeAlias = (
    str
    | Callable[[], Token]
    | Callable[[], Awaitable[Token]]
    | TokenCredential
    | AsyncTokenCredential
)


@dataclass(frozen=True, slots=True)
class _Held:
    token: str = field(repr=False)
    until: float


class TokenSource:
    """Gives the token for the next request, from whatever the caller has.

    A string is used as it is. A function without arguments gives a string, and is then asked before
    every request (it is trusted to keep its own), or something with `token` and `expires_on`. A
    credential is asked for `scope`, and its token kept until five minutes before `expires_on`. Both
    may be asynchronous, for AsyncGraphClient; there a credential that is not is asked in a thread,
    and a function that is not is called in the event loop. Usable from several threads.
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
        self._scope = scope
        self._clock = clock
        self._lock = threading.Lock()
        self._held: _Held | None = None

    def __repr__(self) -> str:
        return f"TokenSource({type(self._credential).__name__}, scope={self._scope!r})"

    def token(self, rejected: str | None = None) -> str:
        """A token that is not about to expire; a new one if Graph has just refused `rejected`.

        The very same again means that there is no other. Raises UsageError if the credential is
        asynchronous or gives no token, GraphError if it fails.
        """
        with self._lock:  # so that many threads fetch one token, not many
            held = self._still_good(rejected)
            if held is not None:
                return held
            try:
                answer = self._ask()
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

    async def token_async(self, rejected: str | None = None) -> str:
        """As `token`, for the asynchronous client."""
        held = self._still_good(rejected)
        if held is not None:
            return held
        try:
            get_token = getattr(self._credential, "get_token", None)
            if get_token is None or inspect.iscoroutinefunction(get_token):
                answer = self._ask()
            else:
                answer = await asyncio.to_thread(self._ask)  # it does network I/O of its own
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

    def _ask(self) -> Any:
        credential: Any = self._credential
        get_token = getattr(credential, "get_token", None)
        return credential() if get_token is None else get_token(self._scope)

    def _keep(self, answer: Any) -> str:
        if isinstance(answer, str):
            self._held = None
            return _check_token(answer)
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

    def _failed(self, error: Exception) -> GraphError:
        # Only its type: what a credential writes into its message is not ours to show. It is the
        # cause.
        return GraphError(
            f"the credential gave no token: {type(error).__name__}",
            hint="sign in again, or check what the credential is made from",
        )


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
