"""The public surface as a program and its author meet it: names, types, help, what is printed."""

from __future__ import annotations

import ast
import builtins
import inspect
import pydoc
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

import smime_graph
from smime_graph import (
    CA,
    EXCHANGE,
    POLICIES,
    Contact,
    GraphClient,
    Identity,
    MessageRef,
    Page,
    StoredMessage,
    TrustStore,
    seal,
    unseal,
)
from tests.conftest import NOW

PUBLIC = {name: getattr(smime_graph, name) for name in smime_graph.__all__}
CLASSES = {name: value for name, value in PUBLIC.items() if isinstance(value, type)}
VERBS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}
# judgements about a row of the table of algorithms, which nobody outside has at hand
INNER = {"Policy.accepts", "Policy.flags"}


def _own(kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions behind what a class offers: methods, class methods and properties."""
    for name, value in inspect.getmembers(kind):
        if name.startswith("_") and name != "__init__":
            continue
        function: Any = value.fget if isinstance(value, property) else value
        if inspect.isfunction(function) or inspect.ismethod(function):
            yield f"{kind.__name__}.{name}", function


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **VERBS,
    **{
        name: function
        for kind in CLASSES.values()
        for name, function in _own(kind)
        if name not in INNER and function.__module__.startswith("smime_graph")
    },
}


def _ours(hint: Any) -> Iterator[type]:
    """The classes of this package that an annotation names, however deep."""
    if typing.get_origin(hint) is not None:
        for inner in (typing.get_origin(hint), *typing.get_args(hint)):
            yield from _ours(inner)
    elif isinstance(hint, list):
        for inner in hint:
            yield from _ours(inner)
    elif isinstance(hint, type) and hint.__module__.startswith("smime_graph"):
        yield hint


def test_every_type_that_the_surface_names_is_public() -> None:
    known = set(map(id, CLASSES.values()))
    missing = set()
    surface: dict[str, Any] = {**CLASSES, **FUNCTIONS}
    for name, value in surface.items():
        hints = typing.get_type_hints(value)
        assert hints or isinstance(value, type) or not inspect.signature(value).parameters, name
        for field, hint in hints.items():
            if field.startswith("_"):
                continue
            missing |= {f"{name}: {one.__name__}" for one in _ours(hint) if id(one) not in known}
    assert missing == set()
    assert len(CLASSES) > 40
    assert len(FUNCTIONS) > 80


def test_whatever_is_in_a_mailbox_has_an_id() -> None:
    """None is for what was sent, of which Graph says nothing."""
    assert typing.get_type_hints(StoredMessage)["id"] is str
    assert typing.get_type_hints(Page)["messages"] == tuple[StoredMessage, ...]
    results = {
        name: inspect.signature(getattr(GraphClient, name)).return_annotation
        for name in ("draft", "create_reply", "create_reply_all", "create_forward")
        + ("update_draft", "get", "send", "reply", "reply_all", "forward", "send_draft")
    }
    sent = {name for name, result in results.items() if result is MessageRef}
    assert sent == {"send", "reply", "reply_all", "forward", "send_draft"}
    assert {results[name] for name in results.keys() - sent} == {StoredMessage}


FOREIGN = {
    *("Callable", "Iterable", "Iterator", "Sequence", "Collection", "Mapping", "Literal", "Any"),
    *("PathLike", "os", "Path", "date", "datetime", "timedelta", "Message", "EmailMessage", "x509"),
    *("httpx", "TracebackType", "Self", "PublicKeyTypes", "pyca", "Awaitable", "Executor"),
    "Event",
}


def _names(annotation: Any) -> set[str]:
    if not isinstance(annotation, str):
        return set()
    return {one.id for one in ast.walk(ast.parse(annotation)) if isinstance(one, ast.Name)}


def test_every_name_in_a_signature_can_be_imported() -> None:
    """An alias as well: what help() shows is what one looks for."""
    unknown = {}
    for name, function in FUNCTIONS.items():
        named: set[str] = set()
        for one in inspect.signature(function).parameters.values():
            named |= _names(one.annotation)
        left = named - FOREIGN - PUBLIC.keys() - vars(builtins).keys()
        if left:
            unknown[name] = left
    assert unknown == {}


@pytest.mark.parametrize("name", sorted(VERBS))
def test_help_fits_a_screen_and_explains_the_types_it_names(name: str) -> None:
    shown = pydoc.plain(pydoc.render_doc(VERBS[name]))
    lines = sum(1 + max(0, len(line) - 1) // 100 for line in shown.splitlines())
    assert lines <= 60
    text = inspect.getdoc(VERBS[name]) or ""
    signature = inspect.signature(VERBS[name])
    named = set().union(*(_names(one.annotation) for one in signature.parameters.values()))
    named |= _names(signature.return_annotation)
    capital = {one for one in named if one in PUBLIC or one in ("Message", "datetime")}
    assert {one for one in capital if one not in text} == set()


# --- what is printed ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA("Test Root", key="p256", at=NOW)


@pytest.fixture(scope="module")
def alice(ca: CA) -> Identity:
    return ca.issue("alice@contoso.com", key="ed25519", at=NOW)


MESSAGE = (
    b"From: alice@contoso.com\r\nTo: alice@contoso.com\r\nSubject: hush\r\n\r\nthe secret text\r\n"
)


def test_what_is_printed_is_one_short_line_without_secrets(ca: CA, alice: Identity) -> None:
    sealed = seal(MESSAGE, signer=alice, recipients=[alice.contact], at=NOW)
    opened = unseal(sealed, identities=alice.identities, trust=ca.trust, at=NOW)
    many = TrustStore((ca.certificate,) * 500, certificates=(ca.certificate,) * 500)
    own = EXCHANGE.but("mine", digest="sha512", ciphers=("aes128-cbc",), encrypt_to_self=False)
    contact = Contact(alice.certificate, capabilities=(b"0\0",) * 500, email="a" * 5000)
    shown = [
        repr(one) for one in (alice, contact, many, opened, opened.report, own, *POLICIES.values())
    ]
    for one in shown:
        assert len(one) < 500
        assert one.isprintable()
        assert "secret text" not in one
        assert "hush" not in one
        assert "private" not in one.lower()
    assert "alice@contoso.com" in repr(opened)
    assert "accepted" in repr(opened)
    assert "501" not in repr(many)
    assert "500 certificates" in repr(many)


def test_a_policy_shows_its_name_and_what_differs_from_the_default() -> None:
    assert [repr(one) for one in POLICIES.values()] == [f"Policy({one!r})" for one in POLICIES]
    own = EXCHANGE.but("mine", digest="sha512", ciphers=("aes128-cbc",))
    assert repr(own) == "Policy('mine', digest='sha512', ciphers=('aes128-cbc',))"
    # of another one that has taken the name of ours it shows more than the name
    assert repr(EXCHANGE.but("rfc8551", compress=True)) == "Policy('rfc8551', compress=True)"


def test_the_table_of_policies_cannot_be_changed() -> None:
    assert isinstance(POLICIES, types.MappingProxyType)


def test_no_dataclass_of_the_surface_can_be_changed() -> None:
    for name, kind in CLASSES.items():
        if is_dataclass(kind) and fields(kind):
            assert kind.__dataclass_params__.frozen, name  # type: ignore[attr-defined]
