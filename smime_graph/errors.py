"""Every exception this package raises on purpose, by who must act.

    SmimeGraphError                    .hint: what to do next; .disposition where it ended a send
    ├── UsageError (ValueError)        you: the call makes no sense
    │   └── StoreUnavailable           ... or a disk, a lock or a server that it needs is away
    ├── MalformedMessage               them: these bytes are not what they claim to be
    │   └── LimitReached               ... or ask for more work than one message is granted
    ├── UnsupportedAlgorithm           well formed, but no row in the table         .oid .where
    ├── PolicyRefusal                  we could, the policy says no                 .rule .policy
    ├── NoMatchingIdentity             nothing here is for us                       .addressed_to
    ├── DecryptionFailed               one class, one message, no cause
    ├── VerificationFailed             .report
    │   ├── SignatureInvalid           not intact, or not valid
    │   └── CertificateRejected        valid, but not believed
    └── GraphError
        ├── GraphUnreachable           no answer, or none that tells what Graph did
        ├── GraphThrottled             .retry_after: after our own patience ran out
        └── GraphRefused               .status .code .message .request_id

Messages start in lower case, have no full stop, name the thing and say what is and what was wanted.
No key, password, token or upload URL is ever part of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, TypeVar

from .findings import Report
from .oids import WITHOUT_PRIMITIVE

# What became of a message: nothing was carried out, and it may be sent again; nobody knows, and it
# may not be, unasked; Graph said no for good, and nothing was sent.
Disposition: TypeAlias = Literal["not-sent", "unknown", "refused"]

# What a hint asks for: an argument of the call, or another call
Remedy: TypeAlias = Literal[
    "at",
    "contacts",
    "content",
    "verify-receipt",
    "get-draft",
    "identities",
    "load-each",
    "part",
    "part-without-footer",
    "password",
    "policy",
    "recipients",
    "root",
    "send-draft",
    "sender",
    "size",
    "smtp-host",
    "to",
    "token",
    "trust",
    "unseal",
    "unseal-others",
    "use",
    "wait",
    "wire",
]


class Hint(str):
    """A hint that names its `remedy`, and what it is about, for whoever has other words for it.

    `before` and `after` are what is said in the same breath.
    """

    def __new__(
        cls, text: str, remedy: Remedy | None = None, *about: str, before: str = "", after: str = ""
    ) -> Hint:
        hint = super().__new__(cls, f"{before}{text}{after}")
        hint.remedy, hint.about, hint.before, hint.after = remedy, about, before, after
        return hint

    remedy: Remedy | None
    about: tuple[str, ...]
    before: str
    after: str


class SmimeGraphError(Exception):
    """Base of every error of this package; `hint` says what to do next, or is None.

    Every error of a call that sends (`send`, `reply`, `reply_all`, `forward`, `send_draft`) has a
    `disposition`, and with it what is known: `message_id` (the Message-ID, with its angle
    brackets), `draft_id` (Graph's id of a draft that was made or was to be sent). An error of any
    call to Graph has the `client_request_id` that Microsoft's support finds the request by. Each is
    None where there is none.
    """

    disposition: Disposition | None = None
    message_id: str | None = None
    draft_id: str | None = None
    client_request_id: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


E = TypeVar("E", bound=SmimeGraphError)


def kept(error: E) -> E:
    """The error as a value that may be held: without the frames it came through and what led to it.

    They hold the message, and may hold what was in it. To raise it, see `fresh`.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


def fresh(error: E) -> E:
    """The same error, to be raised in place of one that is kept: it collects the frames.

    Raised itself, the one that is kept would hold them, and be in a cycle with them.
    """
    again = type(error).__new__(type(error), *error.args)
    again.__dict__.update(error.__dict__)
    return again


class UsageError(SmimeGraphError, ValueError):
    """The call makes no sense: a bad argument, a missing file, a wrong password."""


class StoreUnavailable(UsageError):
    """A database of ours cannot be used now: the disk is full, another program or a server holds it
    or does not answer. The same call may succeed later.
    """


class MalformedMessage(SmimeGraphError):
    """These bytes are not what they claim to be."""


class LimitReached(MalformedMessage):
    """Reading this takes more work than one message is granted (see `budget`)."""


class UnsupportedAlgorithm(SmimeGraphError):
    """Well formed, but the algorithm has no row in our table.

    `oid` is the dotted object identifier, `where` the field that named it.
    """

    def __init__(self, oid: str, *, where: str, hint: str | None = None) -> None:
        name = WITHOUT_PRIMITIVE.get(oid)
        shown = f"{name} ({oid})" if name else oid
        super().__init__(f"{where}: algorithm {shown} is not supported", hint=hint)
        self.oid = oid
        self.where = where


class PolicyRefusal(SmimeGraphError):
    """We could, but the policy says no.

    `rule` is a stable dotted code (see `findings`), `policy` the name of the policy.
    """

    def __init__(self, message: str, *, rule: str, policy: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.rule = rule
        self.policy = policy


class NoMatchingIdentity(SmimeGraphError):
    """None of the identities given is a recipient; `addressed_to` describes those who are.

    `renewed` describes a certificate given that may be another one of a recipient's key.
    """

    def __init__(self, addressed_to: Sequence[str], *, renewed: str | None = None) -> None:
        listed = "; ".join(addressed_to) if addressed_to else "nobody"
        more = (
            ""
            if renewed is None
            else (
                f"; if {renewed} was issued for the same key as a certificate named there, put "
                "that one beside the key, into the same file"
            )
        )
        super().__init__(
            f"no identity given can decrypt this: it is encrypted to {listed}",
            hint=Hint("give the key file of one of these recipients", "identities", after=more),
        )
        self.addressed_to = tuple(addressed_to)


class DecryptionFailed(SmimeGraphError):
    """Decryption failed: one message and no cause, so that it is no oracle (RFC 3218)."""

    def __init__(self) -> None:
        super().__init__("the message could not be decrypted")


class VerificationFailed(SmimeGraphError):
    """The message is not accepted; `report` holds every finding."""

    def __init__(self, message: str, report: Report, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.report = report


class SignatureInvalid(VerificationFailed):
    """The content is not intact, or a signature over it is not valid, or there is none."""


class CertificateRejected(VerificationFailed):
    """The signature is valid, but the signer's certificate is not believed."""


class GraphError(SmimeGraphError):
    """Base of what goes wrong between us and Microsoft Graph."""


class GraphUnreachable(GraphError):
    """No answer came, or none that tells what Graph did."""

    @property
    def maybe_sent(self) -> bool:
        """True when a message may have been sent all the same: `disposition` is `unknown`."""
        return self.disposition == "unknown"


class GraphThrottled(GraphError):
    """Graph asked to wait longer than we were told to; `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class GraphRefused(GraphError):
    """Graph answered with an error: HTTP `status`, `code`, `message` and `request_id`."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        request_id: str | None = None,
        hint: str | None = None,
    ) -> None:
        where = f" (request-id {request_id})" if request_id else ""
        super().__init__(f"Graph refused: {status} {code}: {message}{where}", hint=hint)
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
