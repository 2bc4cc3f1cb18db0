"""The errors: their tree, what each tells, and that one which is held holds nothing."""

from __future__ import annotations

import gc
import inspect
import pickle
import weakref

import pytest

from smime_graph import errors
from smime_graph.errors import (
    DecryptionFailed,
    GraphRefused,
    GraphThrottled,
    GraphUnreachable,
    MalformedMessage,
    NoMatchingIdentity,
    PolicyRefusal,
    SmimeGraphError,
    UnsupportedAlgorithm,
    UsageError,
    fresh,
    kept,
)

CLASSES = {
    name: one
    for name, one in vars(errors).items()
    if inspect.isclass(one) and issubclass(one, SmimeGraphError)
}


def test_the_tree_of_the_docstring_is_the_tree() -> None:
    drawn: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        name = next((word for word in line.split() if word in CLASSES), None)
        if name is not None and line.startswith("    "):
            drawn.append((line.index(name), name))
    assert {name for _, name in drawn} == CLASSES.keys()
    above: list[tuple[int, str]] = []
    for depth, name in drawn:
        while above and above[-1][0] >= depth:
            above.pop()
        if above:
            assert CLASSES[above[-1][1]] in CLASSES[name].__bases__, name
        above.append((depth, name))
    assert issubclass(UsageError, ValueError)


def test_an_algorithm_without_a_primitive_is_called_by_its_name() -> None:
    known = UnsupportedAlgorithm("2.16.840.1.101.3.4.3.20", where="signature of signer 0")
    assert str(known) == (
        "signature of signer 0: algorithm SLH-DSA-SHA2-128s (2.16.840.1.101.3.4.3.20) is not"
        " supported"
    )
    unknown = UnsupportedAlgorithm("1.2.3", where="digest")
    assert str(unknown) == "digest: algorithm 1.2.3 is not supported"
    assert (unknown.oid, unknown.where) == ("1.2.3", "digest")


def test_who_cannot_decrypt_is_told_for_whom_it_is() -> None:
    error = NoMatchingIdentity(["CN=bob", "CN=carol"])
    assert str(error).endswith("it is encrypted to CN=bob; CN=carol")
    assert error.addressed_to == ("CN=bob", "CN=carol")
    assert str(NoMatchingIdentity([])).endswith("to nobody")
    assert "CN=old" not in (error.hint or "")
    assert "CN=old" in (NoMatchingIdentity([], renewed="CN=old").hint or "")


def test_every_failed_decryption_reads_alike() -> None:
    """RFC 3218: one message and no cause, so that it is no oracle."""
    assert str(DecryptionFailed()) == str(DecryptionFailed())
    assert DecryptionFailed().args == DecryptionFailed().args
    assert list(inspect.signature(DecryptionFailed).parameters) == []


def test_what_graph_refused_has_the_id_that_support_asks_for() -> None:
    error = GraphRefused(403, "ErrorAccessDenied", "No.", request_id="r-1", hint="ask")
    assert str(error) == "Graph refused: 403 ErrorAccessDenied: No. (request-id r-1)"
    assert (error.status, error.code, error.message) == (403, "ErrorAccessDenied", "No.")
    assert "request-id" not in str(GraphRefused(403, "X", "No."))


def test_only_what_is_unknown_may_have_been_sent() -> None:
    error = GraphUnreachable("no answer")
    for disposition, maybe in ((None, False), ("not-sent", False), ("unknown", True)):
        error.disposition = disposition  # type: ignore[assignment]
        assert error.maybe_sent is maybe


def raised(secret: bytearray) -> SmimeGraphError:
    try:
        try:
            raise KeyError(bytes(secret))
        except KeyError as cause:
            raise MalformedMessage("no", hint="do that") from cause
    except MalformedMessage as error:
        return error


class Content(bytearray):
    """Octets that a weak reference can point to."""


def test_an_error_that_is_kept_holds_nothing_of_the_message() -> None:
    content = Content(b"the message")
    seen = weakref.ref(content)
    error = raised(content)
    del content
    assert seen() is not None  # its frames hold it
    assert kept(error) is error
    gc.collect()
    assert seen() is None
    assert (error.__cause__, error.__context__, error.__traceback__) == (None, None, None)


@pytest.mark.parametrize(
    "error",
    [
        MalformedMessage("no", hint="do that"),
        UnsupportedAlgorithm("1.2.3", where="digest"),
        PolicyRefusal("no", rule="sign.none", policy="archive"),
        NoMatchingIdentity(["CN=bob"]),
        DecryptionFailed(),
        GraphThrottled("later", retry_after=3.5),
        GraphRefused(400, "X", "no", request_id="r"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fresh_error_says_what_the_kept_one_does_and_takes_the_frames(
    error: SmimeGraphError,
) -> None:
    error.message_id = "<1@contoso.com>"
    again = fresh(error)
    assert again is not error
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))
    with pytest.raises(type(error)):
        raise again
    assert again.__traceback__ is not None
    assert error.__traceback__ is None


def test_an_error_crosses_to_another_process() -> None:
    """A program that opens many messages does so in many processes."""
    error = pickle.loads(pickle.dumps(MalformedMessage("no", hint="do that")))
    assert (type(error), str(error), error.hint) == (MalformedMessage, "no", "do that")
