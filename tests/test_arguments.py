"""Whatever is given to a public function: a value, or an error of ours that says what was wrong.

The table is walked from `__all__`: a new public name has to be entered, or the first test fails.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

import smime_graph
from smime_graph import (
    CA,
    EXCHANGE,
    AsyncGraphClient,
    Contact,
    GraphClient,
    GraphLimits,
    Identity,
    Password,
    Policy,
    ReceiptRequest,
    SecurityLabel,
    SharedKey,
    SmimeGraphError,
    TrustStore,
    UsageError,
)
from smime_graph.arguments import checked
from smime_graph.x509.certificate import Certificate
from tests.conftest import NOW

# What the library makes and people read; nothing is done with one that somebody else has made up
UNSEEN = {"transport", "clock", "sleep", "changes"}
RESULTS = {
    *(
        "DeltaPage",
        "Finding",
        "Folder",
        "Layer",
        "MessageReport",
        "MessageRef",
        "StoredMessage",
        "Opened",
        "Page",
    ),
    *("ReceiptReport", "Severity", "Signer", "Countersigner", "LayerRecipient", "LayerSigner"),
    *("Report", "Services", "Timestamp", "Receipt", "Confirmation", "ContentHints", "Expansion"),
    *("ContentReference", "Outcome", "FieldProtection", "HeaderField", "ProtectedHeader"),
    *("Announcement", "ContactChoice", "DroppedCertificate", "KnownCertificate", "MailboxContact"),
    *("Evidence", "FitnessFinding", "FitnessReport", "FitnessRule"),
    *("OutboxAttempt", "OutboxMessage", "OutboxRun"),
    *("AddressAudit", "OutlookChoice", "StoreAudit"),
    *("SubmissionRecipient", "SubmissionReport", "SubmissionSize"),
    *("Difference", "RoundTrip", "Arrival", "WatchRun"),
}


@dataclass(frozen=True)
class Call:
    """A call that makes sense; each argument is then replaced by what does not."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    emails: tuple[str, ...] = ()


MESSAGE = (
    b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nMessage-ID: <1@contoso.com>\r\n"
    b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nSubject: s\r\n\r\nhello\r\n"
)


def _answer(_: httpx.Request) -> httpx.Response:
    return httpx.Response(404, json={"error": {"code": "ErrorItemNotFound", "message": "no"}})


@functools.wraps(smime_graph.send_by_smtp_async)
def _send_by_smtp_async(*args: Any, **kwargs: Any) -> Any:
    return asyncio.run(smime_graph.send_by_smtp_async(*args, **kwargs))


class _Calls:
    """Everything public, with arguments that are right."""

    def __init__(self) -> None:
        self.ca = CA("Test Root", key="p256", at=NOW)
        self.alice = self.ca.issue("alice@contoso.com", key="p256", at=NOW)
        self.bob = self.ca.issue("bob@contoso.com", key="p256", at=NOW)
        self.trust = TrustStore((self.ca.certificate,))
        self.to_bob = Contact(self.bob.certificate)
        sealing: Any = {"message": MESSAGE, "signer": self.alice, "at": NOW}
        self.asking = smime_graph.sign(
            **sealing, receipt_request=ReceiptRequest(("alice@contoso.com",))
        )
        self.sealed = smime_graph.seal(**sealing, recipients=[self.to_bob])
        self.opened = smime_graph.verify(self.asking, trust=self.trust, at=NOW)
        self.book = smime_graph.Contacts(":memory:")
        self.folder = tempfile.TemporaryDirectory()
        self.outbox_path = Path(self.folder.name) / "outbox.db"
        self.outbox = smime_graph.Outbox(self.outbox_path)
        self.graph = GraphClient("token", transport=httpx.MockTransport(_answer))
        self.graph_async = AsyncGraphClient("token", transport=httpx.MockTransport(_answer))
        self.receipt = smime_graph.receipt(self.opened, signer=self.bob, at=NOW)
        self.watching: dict[str, Any] = {
            "state": Path(self.folder.name) / "watch.db",
            "trust": self.trust,
            "deliver": str,
            "once": True,
        }

    @functools.wraps(smime_graph.watch)
    def watch(self, *args: Any, **kwargs: Any) -> Any:
        """The mailbox is not there, which ends it."""
        with pytest.raises(smime_graph.GraphRefused):
            smime_graph.watch(*args, **kwargs)

    @functools.wraps(smime_graph.watch_async)
    def watch_async(self, *args: Any, **kwargs: Any) -> Any:
        with pytest.raises(smime_graph.GraphRefused):
            asyncio.run(smime_graph.watch_async(*args, **kwargs))

    @functools.wraps(smime_graph.round_trip_async)
    def round_trip_async(self, *args: Any, **kwargs: Any) -> Any:
        return asyncio.run(smime_graph.round_trip_async(*args, **kwargs))

    def _ending(self) -> smime_graph.Outbox:
        """The outbox, of which a run ends soon: one of the wrong values is True, for ever."""
        outbox = smime_graph.Outbox(self.outbox_path)
        threading.Timer(0.05, outbox.stop).start()
        return outbox

    @functools.wraps(smime_graph.Outbox.run)
    def run(self, *args: Any, **kwargs: Any) -> Any:
        with self._ending() as outbox:
            return outbox.run(*args, **kwargs)

    @functools.wraps(smime_graph.Outbox.run_async)
    def run_async(self, *args: Any, **kwargs: Any) -> Any:
        async def run() -> Any:
            with self._ending() as outbox:
                return await outbox.run_async(*args, **kwargs)

        return asyncio.run(run())

    def functions(self) -> dict[str, Call]:
        sealed, trust, bob, ca = self.sealed, self.trust, self.bob, self.ca
        reading = {"raw": sealed, "identities": [bob], "trust": trust, "at": NOW}
        signed = {"raw": self.asking, "trust": trust, "at": NOW}
        making = {"message": MESSAGE, "signer": self.alice, "at": NOW}
        for_bob = {"recipients": [self.to_bob]}
        by_smtp = {"raw": MESSAGE, "credential": "token", "host": "127.0.0.1:9"}
        pem = self.alice.to_pem()
        certificate = self.alice.certificate
        values = {f: getattr(EXCHANGE, f) for f in inspect.signature(Policy).parameters}
        s = smime_graph
        return {
            "sign": Call(s.sign, making),
            "encrypt": Call(s.encrypt, {"message": MESSAGE, "at": NOW} | for_bob),
            "seal": Call(s.seal, making | for_bob),
            "seal_copies": Call(s.seal_copies, making | for_bob),
            "check_submission": Call(s.check_submission, making | for_bob),
            "SealedCopy": Call(s.SealedCopy, {"message": b"x", "recipients": ("a@b.c",)}),
            "seal_many": Call(s.seal_many, {"jobs": []}),
            "unseal_many": Call(s.unseal_many, {"source": "x", "trust": ["x"]}),
            "encrypt_many_anew": Call(
                s.encrypt_many_anew, {"source": "x", "identities": [], "recipients": ["x"]}
            ),
            "KeyFile": Call(s.KeyFile, {"file": "x"}),
            "Job": Call(s.Job, {"key": "1", "message": "x", "verb": "unseal", "trust": ["x"]}),
            "compress": Call(s.compress, {"message": MESSAGE}),
            "certs_only": Call(s.certs_only, {"certificates": [certificate]}),
            "verify": Call(s.verify, signed),
            "decrypt": Call(s.decrypt, {"raw": sealed, "identities": [bob]}),
            "decompress": Call(s.decompress, {"raw": s.compress(MESSAGE)}),
            "unseal": Call(s.unseal, reading),
            "examine": Call(s.examine, reading),
            "inspect": Call(s.inspect, {"raw": sealed}),
            "receipt": Call(s.receipt, {"opened": self.opened, "signer": bob, "at": NOW}),
            "verify_receipt": Call(
                s.verify_receipt,
                {"raw": self.receipt, "original": self.asking, "trust": trust, "at": NOW},
            ),
            "receipt_recipients": Call(
                s.receipt_recipients, {"opened": self.opened, "signer": bob}
            ),
            "examine_receipt": Call(
                s.examine_receipt,
                {"raw": self.receipt, "original": self.asking, "trust": trust, "at": NOW},
            ),
            "reference_hcp": Call(
                s.reference_hcp,
                {"original": self.opened, "kind": "reply", "sender": "bob@contoso.com"},
            ),
            "answer": Call(s.answer, {"original": MESSAGE, "kind": "reply", "sender": "b@c.de"}),
            "seal_answer": Call(
                s.seal_answer,
                {
                    "message": s.answer(self.opened, kind="reply", sender="bob@contoso.com"),
                    "original": self.opened,
                    "kind": "reply",
                    "signer": bob,
                    "recipients": [Contact(self.alice.certificate)],
                    "at": NOW,
                },
            ),
            "Attachment": Call(s.Attachment, {"name": "x", "data": b"x"}),
            "Certificate": Call(Certificate, {"der": certificate.der}),
            "load_identities": Call(s.load_identities, {"source": pem}),
            "Password": Call(Password, {"password": "x"}),
            "SharedKey": Call(SharedKey, {"key": bytes(16)}),
            "ReceiptRequest": Call(ReceiptRequest, {"to": ("a@b.c",)}),
            "SecurityLabel": Call(SecurityLabel, {"policy": "1.2.3"}),
            "SecurityCategory": Call(s.SecurityCategory, {"type": "1.2.3", "value": b"\5\0"}),
            "Policy": Call(Policy, values),
            "Policy.but": Call(EXCHANGE.but, {"name": "mine"}),
            "Revocation": Call(s.Revocation, {"mode": "hard"}),
            "Fetcher": Call(s.Fetcher, {"allow_local": True}),
            "Revocation.load": Call(s.Revocation.load, {"mode": "hard"}),
            "Revocation.with_revocation_info": Call(
                s.Revocation().with_revocation_info, {"choices": [b"x"]}
            ),
            "TrustStore": Call(TrustStore, {"anchors": (certificate,)}),
            "TrustStore.load": Call(TrustStore.load, {}, (ca.trust_pem,)),  # type: ignore[arg-type]
            "TrustStore.from_pem": Call(TrustStore.from_pem, {}, (ca.trust_pem,)),  # type: ignore[arg-type]
            "Contacts": Call(s.Contacts, {"path": ":memory:"}),
            "Contacts.add": Call(self.book.add, {"certificates": [bob.certificate]}),
            "Contacts.announce": Call(
                self.book.announce,
                {"email": "bob@contoso.com", "signer": bob.certificate, "signed_at": None},
            ),
            "Contacts.announcement": Call(self.book.announcement, {"email": "bob@contoso.com"}),
            "Contacts.certificates": Call(self.book.certificates, {"email": "bob@contoso.com"}),
            "Contacts.expiring": Call(self.book.expiring, {"within": timedelta(30)}),
            "Contacts.find": Call(self.book.find, {"email": "bob@contoso.com"}),
            "Contacts.forget": Call(self.book.forget, {"email": "bob@contoso.com"}),
            "Contacts.revoke": Call(self.book.revoke, {"certificate": bob.certificate}),
            "Outbox": Call(s.Outbox, {"path": self.outbox_path}),
            "Outbox.add": Call(self.outbox.add, {"raw": MESSAGE}),
            "Outbox.add_all": Call(self.outbox.add_all, {"messages": [MESSAGE]}),
            "Outbox.add_answer": Call(
                self.outbox.add_answer, {"message_id": "id", "raw": MESSAGE, "action": "reply"}
            ),
            "Outbox.find": Call(self.outbox.find, {"messages": [MESSAGE]}),
            "Outbox.add_draft": Call(self.outbox.add_draft, {"message_id": "id"}),
            "Outbox.retry": Call(self.outbox.retry, {"ids": []}),
            "Outbox.drop": Call(self.outbox.drop, {"ids": []}),
            "Outbox.send_now": Call(self.outbox.send_now, {"client": self.graph, "id": 1}),
            "Outbox.run": Call(self.run, {"client": self.graph}),
            "Outbox.run_async": Call(self.run_async, {"client": self.graph_async}),
            "round_trip": Call(
                s.round_trip, {"client": self.graph, "signer": self.alice, "trust": trust}
            ),
            "round_trip_async": Call(
                self.round_trip_async,
                {"client": self.graph_async, "signer": self.alice, "trust": trust},
            ),
            "send_by_smtp": Call(s.send_by_smtp, by_smtp),
            "send_by_smtp_async": Call(_send_by_smtp_async, by_smtp),
            "watch": Call(self.watch, {"client": self.graph, **self.watching}),
            "watch_async": Call(self.watch_async, {"client": self.graph_async, **self.watching}),
            "harvest": Call(s.harvest, signed | {"contacts": self.book}),
            "harvest_outlook": Call(
                s.harvest_outlook,
                {
                    "value": bob.certificate.der,
                    "emails": ["bob@contoso.com"],
                    "contacts": self.book,
                    "trust": trust,
                    "at": NOW,
                },
            ),
            "audit_contacts": Call(s.audit_contacts, {"book": self.book, "at": NOW}),
            "check_certificate": Call(
                s.check_certificate, {"certificate": certificate, "as_of": NOW}
            ),
            "check_crl": Call(s.check_crl, {"crl": b"0", "as_of": NOW}),
            "check_ocsp": Call(s.check_ocsp, {"response": b"0", "as_of": NOW}),
            "signer_contact": Call(
                s.signer_contact, {"report": self.opened, "trust": trust, "at": NOW}
            ),
            "Contact": Call(Contact, {"certificate": certificate}),
            "Contact.load": Call(Contact.load, {"path": pem}),
            "Contact.from_pem": Call(Contact.from_pem, {"source": pem}),
            "Contact.from_der": Call(Contact.from_der, {"source": certificate.der}),
            "Identity": Call(
                Identity, {"private_key": self.alice.private_key, "certificate": certificate}
            ),
            "Identity.load": Call(Identity.load, {"path": pem}),
            "Identity.from_pem": Call(Identity.from_pem, {"source": pem}),
            "Identity.from_pkcs12": Call(
                Identity.from_pkcs12,
                {"source": self.alice.to_pkcs12("x", encryption="3des"), "password": "x"},
            ),
            "Identity.to_pem": Call(self.alice.to_pem, {}),
            "Identity.to_pkcs12": Call(
                self.alice.to_pkcs12, {"password": "x", "encryption": "3des"}
            ),
            "CA": Call(CA, {"key": "p256"}),
            "CA.from_key": Call(
                CA.from_key, {"private_key": ca.private_key, "certificate": ca.certificate}
            ),
            "CA.load": Call(CA.load, {"directory": "/nowhere/at/all"}),
            "CA.save": Call(ca.save, {"directory": "/dev/null/nowhere"}),
            "CA.issue": Call(ca.issue, {"key": "p256"}, ("a@b.c",)),
            "CA.revoke": Call(
                ca.revoke, {"certificate": bob.certificate, "reason": "superseded", "at": NOW}
            ),
            "CA.enter": Call(ca.enter, {"certificate": bob.certificate, "emails": ["a@b.c"]}),
            "CA.has_issued": Call(ca.has_issued, {"certificate": bob.certificate}),
            "CA.crl": Call(ca.crl, {"at": NOW, "lifetime": timedelta(1), "base": ca.crl(at=NOW)}),
            "CA.ocsp": Call(ca.ocsp, {"request": b"x", "at": NOW, "lifetime": timedelta(1)}),
            "CA.responder": Call(ca.responder, {"at": NOW}),
            "CA.create_intermediate": Call(ca.create_intermediate, {"key": "p256"}),
        }

    def clients(self) -> dict[str, Call]:
        return {
            "GraphLimits": Call(GraphLimits, {}),
            "GraphClient": Call(GraphClient, {"credential": "token"}),
            "AsyncGraphClient": Call(AsyncGraphClient, {"credential": "token"}),
        }


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is saved to "x" is saved there."""
    monkeypatch.chdir(tmp_path)


CALLS = _Calls()
FUNCTIONS = CALLS.functions()
CLIENTS = CALLS.clients()
PLAIN = {"message": MESSAGE, "raw": MESSAGE, "to": None}


def _public_methods(kind: type) -> set[str]:
    return {
        f"{kind.__name__}.{name}"
        for name, value in inspect.getmembers(kind)
        if name[0] != "_"
        and callable(value)
        and inspect.signature(value).parameters.keys() - {"self"}
    }


def test_everything_public_is_in_the_table() -> None:
    public = set()
    for name in smime_graph.__all__:
        value = getattr(smime_graph, name)
        if not (isinstance(value, type) or inspect.isfunction(value)) or name in RESULTS:
            continue  # or the name of a type: a Literal, a Union, a Callable
        if getattr(value, "_is_protocol", False):
            continue
        if isinstance(value, type) and issubclass(value, BaseException):
            continue
        public.add(name)
        if isinstance(value, type) and name not in CLIENTS:
            public |= _public_methods(value)
    # judgements of a policy about a row of the table, which nobody outside has at hand
    public -= {"Policy.accepts", "Policy.flags", "Policy.uses_key"}
    # what reading a message asks of a certificate
    public -= {f"Certificate.{name}" for name in ("from_argument", "is_named", "with_parameters")}
    assert public == FUNCTIONS.keys() | CLIENTS.keys()
    assert len(CHOICES) >= 6


WRONG: list[Any] = [
    object(),
    [object()],
    None,
    0,
    -1,
    1.5,
    True,
    "x",
    b"x",
    bytearray(b"x"),
    ["x"],
    [b"x"],
    [None],
    (),
    {},
    {"x": 1},
    {1},
    iter("x"),
    "2026-01-01",
    datetime(2026, 1, 1),  # noqa: DTZ001 - a time without a zone is what is wrong with it
    EmailMessage(),
    Certificate,
    CALLS.alice,
    CALLS.alice.certificate,
    [CALLS.alice.certificate],
    CALLS.to_bob,
    [CALLS.to_bob],
    CALLS.trust,
    EXCHANGE,
    lambda: None,
    ValueError("x"),
]


ARGUMENTS = [
    pytest.param(call, parameter, id=f"{name}-{parameter.name}")
    for name, call in {**FUNCTIONS, **CLIENTS}.items()
    for parameter in inspect.signature(call.function).parameters.values()
]


def _made(call: Call, parameter: inspect.Parameter, value: Any) -> Any:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return call.function(value, **call.arguments)
    if parameter.kind is parameter.VAR_KEYWORD:
        return call.function(**call.arguments, digest=value)
    return call.function(*call.emails, **(call.arguments | {parameter.name: value}))


@pytest.mark.parametrize(("call", "parameter"), ARGUMENTS)
def test_nothing_but_our_own_errors_comes_of_any_argument(
    call: Call, parameter: inspect.Parameter
) -> None:
    for wrong in WRONG:
        try:
            _made(call, parameter, wrong)
        except SmimeGraphError:
            pass
        except Exception as error:  # noqa: BLE001 - which it is says the message
            pytest.fail(f"{wrong!r}: {type(error).__name__}: {error}")


@pytest.mark.parametrize(("call", "parameter"), ARGUMENTS)
def test_what_is_of_no_use_to_anybody_is_a_usage_error(
    call: Call, parameter: inspect.Parameter
) -> None:
    for wrong in (object(), [object()]):
        if parameter.name in ("transport", "clock", "sleep") or parameter.annotation in (
            "Any",
            Any,
        ):
            continue
        with pytest.raises(UsageError) as caught:
            _made(call, parameter, wrong)
        called = "a message" if parameter.name in ("raw", "original") else parameter.name
        assert called in str(caught.value) or "object" in str(caught.value)


# Two arguments that are the subject together: a key and the certificate it must belong to, and what
# is done (reply, replace) to which message with which octets. They differ in type, so that they
# cannot change places unnoticed.
PAIRS = {
    "Identity": ("private_key", "certificate"),
    "CA.from_key": ("private_key", "certificate"),
    "Outbox.add_answer": ("message_id", "raw"),
}


def test_everything_after_the_first_argument_is_named() -> None:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for name, call in {**FUNCTIONS, **CLIENTS}.items():
        taken = [
            one.name
            for one in inspect.signature(call.function).parameters.values()
            if one.kind in positional
        ]
        assert len(taken) <= 1 or tuple(taken) == PAIRS[name], name
    for kind in (GraphClient, AsyncGraphClient):
        for name in _operations():
            parameters = inspect.signature(getattr(kind, name)).parameters.values()
            taken = [one.name for one in parameters if one.kind in positional][1:]
            assert len(taken) <= 1 or taken == ["message_id", "raw"], name


CHOICES = [
    one
    for one in ARGUMENTS
    if "Literal" in str(one.values[1].annotation) or one.values[1].name in ("sid", "rid", "use")
]


@pytest.mark.parametrize(("call", "parameter"), CHOICES)
def test_a_name_that_does_not_exist_is_refused(call: Call, parameter: inspect.Parameter) -> None:
    """sid="skid" must not be "issuer"."""
    for wrong in ("skid", "", "ISSUER", "both "):
        with pytest.raises(UsageError, match=r"wanted|not known"):
            _made(call, parameter, wrong)


# --- the two clients ------------------------------------------------------------------------------


def _operations() -> list[str]:
    return sorted(
        name
        for name, value in inspect.getmembers(GraphClient)
        if name[0] != "_" and callable(value) and name != "close"
    )


def _good(parameter: inspect.Parameter) -> Any:
    text = str(parameter.annotation)
    if "bytes" in text:
        return MESSAGE
    return "AAMk" if "str" in text else None


@pytest.mark.parametrize("name", _operations())
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_no_argument_of_a_client_ends_in_an_error_of_python(kind: str, name: str) -> None:
    transport: Any = httpx.MockTransport(_answer)
    parameters = list(inspect.signature(getattr(GraphClient, name)).parameters.values())[1:]
    needed = {p.name: _good(p) for p in parameters if p.default is p.empty}

    def run(arguments: dict[str, Any]) -> None:
        if kind == "sync":
            with GraphClient("token", transport=transport, retries=0) as client:
                getattr(client, name)(**arguments)
            return

        async def go() -> None:
            async with AsyncGraphClient("token", transport=transport, retries=0) as client:
                await getattr(client, name)(**arguments)

        asyncio.run(go())

    for parameter in parameters:
        for wrong in WRONG:
            try:
                run(needed | {parameter.name: wrong})
            except SmimeGraphError:
                pass
            except Exception as error:  # noqa: BLE001 - which it is says the message
                pytest.fail(f"{parameter.name}={wrong!r}: {type(error).__name__}: {error}")


# --- the check itself -----------------------------------------------------------------------------


def test_annotations_are_what_is_checked() -> None:
    @checked
    def function(
        first: bytes,
        *rest: int,
        names: tuple[str, ...] = (),
        how: Literal["a", "b"] | None = None,
        much: float = 1.0,
    ) -> Any:
        return first, rest, names, how, much

    call: Any = function  # as those call it who do not look at the types
    assert call(bytearray(b"x"), 1, names=["y"], how="b", much=2) == (
        b"x",
        (1,),
        ("y",),
        "b",
        2,
    )
    for arguments, named, text in (
        (("x",), {}, "first is bytes, not str"),
        ((b"x", "1"), {}, "rest is an int, not str"),
        ((b"x", True), {}, "rest is an int, not bool"),
        ((b"x",), {"names": "abc"}, "names is a list, not str"),
        ((b"x",), {"names": ["a", 1]}, "an element of names is a str, not int"),
        ((b"x",), {"how": "c"}, "how is 'c', wanted 'a' or 'b' or None"),
        ((b"x",), {"how": "c" * 100}, "how is 'a' or 'b' or None, not str"),
        ((b"x",), {"much": "1"}, "much is a float, not str"),
    ):
        with pytest.raises(UsageError) as caught:
            call(*arguments, **named)
        assert str(caught.value) == text
    with pytest.raises(TypeError, match="missing"):
        call()


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_what_is_no_file_name_is_no_message_and_no_place_for_one(name: str) -> None:
    ca = CA(key="p256", at=NOW)
    alice = ca.issue("alice@contoso.com", key="p256", at=NOW)
    message = b"From: alice@contoso.com\r\n\r\nhello\r\n"
    how: Any = {"signer": alice, "at": NOW}
    opened = smime_graph.verify(smime_graph.sign(message, **how), trust=ca.trust, at=NOW)
    path = Path(name)
    for call in (
        lambda: smime_graph.sign(path, **how),
        lambda: smime_graph.sign(message, out=path, **how),
        lambda: smime_graph.verify(path, trust=ca.trust),
        lambda: smime_graph.compress(path),
        lambda: opened.write_to(path),
        lambda: opened.save_attachments(path),
    ):
        with pytest.raises(UsageError, match="no file name"):
            call()
