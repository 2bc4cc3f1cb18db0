"""What does not fit is said, each kind of it; a token is read and not repeated."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smime_graph import CA, EXCHANGE, Contact, Contacts, GraphClient, Identity, TrustStore
from smime_graph.emulator import Emulator
from smime_graph.errors import UsageError
from smime_graph.graph._mailbox import mailbox
from smime_graph.submission import doctor
from smime_graph.submission.doctor import Claims, Diagnosis
from tests.conftest import NOW, contact

GRAPH = "https://graph.microsoft.com"


def token(**claims: Any) -> str:
    """A token as Microsoft makes them, signed by nobody."""
    usual = {"aud": GRAPH, "nbf": NOW.timestamp() - 60, "exp": NOW.timestamp() + 3600}
    usual |= {"scp": "Mail.Send Mail.ReadWrite", "upn": "alice@contoso.com"}
    made = {name: value for name, value in (usual | claims).items() if value is not None}
    parts = [json.dumps({"alg": "RS256", "typ": "JWT"}), json.dumps(made)]
    encoded = [base64.urlsafe_b64encode(one.encode()).decode().rstrip("=") for one in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


def told(found: Any, *, but: str = "ok") -> list[tuple[str, str]]:
    return [(one.status, one.text) for one in found if one.status != but]


def of_token(*, user: str = "me", url: str | None = None, **claims: Any) -> list[Diagnosis]:
    read = Claims.of(token(**claims))
    assert read is not None
    box = mailbox(user=user, url=url)
    return [*doctor.of_token(read, box, now=NOW), *doctor.of_rights(read, box)]


def as_token(claims: bytes) -> str:
    return f"a.{base64.urlsafe_b64encode(claims).decode()}.c"


# --- the token ------------------------------------------------------------------------------------


def test_a_token_that_fits_is_good_for_what_its_scopes_say() -> None:
    found = of_token()
    assert {one.status for one in found} == {"ok"}
    able = doctor.rights(Claims.of(token()), mailbox())
    assert all(one.has for one in able)
    send_alone = doctor.rights(Claims.of(token(scp="Mail.Send")), mailbox())
    assert {one.verb for one in send_alone if one.has and one.needs} == {
        *("send", "sendmail", "gateway", "outbox run", "forward", "draft-send")
    }


@pytest.mark.parametrize(
    ("claims", "user", "status", "word"),
    [
        ({"exp": NOW.timestamp() - 1}, "me", "problem", "ran out at 2026-11-22 11:59"),
        ({"exp": NOW.timestamp() + 100}, "me", "warning", "good for 1 minutes"),
        ({"exp": None}, "me", "warning", "does not say when"),
        ({"nbf": NOW.timestamp() + 900}, "me", "problem", "not good before"),
        ({"aud": "https://outlook.office365.com"}, "me", "problem", "outlook.office365.com, not"),
        ({"aud": "https://graph.microsoft.us"}, "me", "problem", "not for graph.microsoft.com"),
        ({"aud": None}, "me", "problem", "for nobody"),
        ({"scp": "User.Read openid"}, "me", "problem", "do not let it send"),
        ({"scp": ""}, "me", "problem", "no scope and no role"),
        ({"scp": "Mail.Read"}, "me", "problem", "(Mail.Read) do not let it send"),
        ({"scp": None, "roles": ["Mail.Send"], "upn": None}, "me", "problem", "application's"),
        ({}, "info@contoso.com", "problem", "do not let it send"),  # Mail.Send.Shared is what does
        ({"scp": "Mail.Send Files.Read"}, "me", "note", "more than anything here needs"),
    ],
)
def test_a_token_that_does_not_fit_is_told(
    claims: dict[str, Any], user: str, status: str, word: str
) -> None:
    assert [
        one for one in told(of_token(user=user, **claims)) if one[0] == status and word in one[1]
    ]


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({"aud": GRAPH + "/"}, "me"),
        ({"aud": "00000003-0000-0000-c000-000000000000"}, "me"),
        ({"scp": None, "roles": ["Mail.Send"], "upn": None, "idtyp": "app"}, "info@contoso.com"),
        ({"scp": "Mail.Send.Shared"}, "info@contoso.com"),
        ({}, "ALICE@contoso.com"),
    ],
)
def test_a_token_that_fits_in_another_way_is_good(claims: dict[str, Any], user: str) -> None:
    assert told(of_token(user=user, **claims)) == []


def test_a_token_for_a_service_that_nobody_knows_is_not_judged() -> None:
    found = told(of_token(url="http://127.0.0.1:8025/v1.0"))
    assert [one[0] for one in found] == ["note"]


@given(st.text() | st.binary().map(as_token))
def test_any_text_is_a_token_of_which_something_or_nothing_can_be_said(text: str) -> None:
    read = Claims.of(text)
    assert read is None or isinstance(read.names, tuple)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_claims_of_any_kind_are_read(value: Any) -> None:
    names = ("aud", "nbf", "exp", "scp", "roles", "upn", "idtyp")
    read = Claims.of(token(**dict.fromkeys(names, value)))
    if read is not None:
        box = mailbox()
        for one in (*doctor.of_token(read, box, now=NOW), *doctor.of_rights(read, box)):
            assert one.text.isprintable()


@pytest.mark.parametrize("text", ["a.b", "a.!!.c", "a.bnVsbA.c", "x" * 100_000, "a.W10.c"])
def test_what_is_no_jwt_says_nothing(text: str) -> None:
    assert Claims.of(text) is None
    (one,) = doctor.of_token(None, mailbox(), now=NOW)
    assert one.status == "note"
    assert [*doctor.of_rights(None, mailbox())] == []
    assert all(one.has is None for one in doctor.rights(None, mailbox()))


def test_deep_claims_end() -> None:
    assert Claims.of(as_token(b"[" * 40_000)) is None


# --- certificates ---------------------------------------------------------------------------------


def of_signer(signer: Identity, trust: TrustStore | None = None) -> list[tuple[str, str]]:
    return told(doctor.of_signer(signer, trust=trust, policy=EXCHANGE, at=NOW))


def test_a_signer_who_fits_is_ok(alice: Identity, trust: TrustStore) -> None:
    assert of_signer(alice) == of_signer(alice, trust) == []


@pytest.mark.parametrize(
    ("options", "status", "word"),
    [
        ({"not_after": NOW - timedelta(days=1)}, "problem", "expired"),
        ({"not_before": NOW + timedelta(days=1)}, "problem", "not valid before"),
        ({"not_after": NOW + timedelta(days=10)}, "warning", "until 2026-12-02"),
        ({"use": "encrypt"}, "problem", "not fit to sign"),
        ({"use": "sign"}, "warning", "cannot read what was sent"),
    ],
)
def test_a_signer_who_does_not_fit_is_told(
    ca: CA, options: dict[str, Any], status: str, word: str
) -> None:
    early = {"not_before": NOW - timedelta(days=100)} if "not_after" in options else {}
    signer = ca.issue("alice@contoso.com", key="p256", at=NOW, **(early | options))
    found = of_signer(signer)
    assert [one for one in found if one[0] == status and word in one[1]], found


def test_a_signer_without_an_address_signs_for_nobody(ca: CA) -> None:
    signer = ca.issue(name="A Machine", key="p256", at=NOW)
    assert [one for one in of_signer(signer) if one[0] == "problem" and "no address" in one[1]]


def test_a_signer_of_an_unknown_root_is_told(alice: Identity) -> None:
    stranger = TrustStore((CA("Other Root", key="p256", at=NOW).certificate,))
    found = [*doctor.of_signer(alice, trust=stranger, policy=EXCHANGE, at=NOW)]
    assert found[0].status == "problem"
    assert "--trust" in str(found[0].hint)


def test_a_chain_with_its_issuer_left_out_does_not_fit(ca: CA, trust: TrustStore) -> None:
    below = ca.create_intermediate(key="p256")
    whole = below.issue("alice@contoso.com", key="p256", at=NOW)
    assert told(doctor.of_signer(whole, trust=trust, policy=EXCHANGE, at=NOW)) == []
    torn = Identity(whole.private_key, whole.certificate)
    found = told(doctor.of_signer(torn, trust=trust, policy=EXCHANGE, at=NOW))
    assert found[0][0] == "problem"


def test_a_recipient_whose_certificate_ran_out_is_told(ca: CA, bob: Identity) -> None:
    old = ca.issue(
        "bob@contoso.com",
        key="p256",
        not_before=NOW - timedelta(days=9),
        not_after=NOW - timedelta(days=1),
    )
    how: Any = {"trust": None, "policy": EXCHANGE, "at": NOW}
    assert told(doctor.of_recipients([contact(bob)], **how)) == []
    assert told(doctor.of_recipients([contact(old)], **how))[0][0] == "problem"
    nameless = ca.issue(name="A Machine", key="p256", at=NOW)
    assert told(doctor.of_recipients([Contact(nameless.certificate)], **how))[0][0] == "problem"


def test_a_key_that_ran_out_still_decrypts(ca: CA, bob: Identity) -> None:
    assert told(doctor.of_identity(bob, at=NOW)) == []
    later = doctor.of_identity(bob, at=NOW + timedelta(days=10_000))
    assert [one[0] for one in told(later)] == ["note"]


def test_roots_that_ran_out_are_told(trust: TrustStore) -> None:
    assert told(doctor.of_trust(trust, at=NOW)) == []
    late = NOW + timedelta(days=20_000)
    assert [one[0] for one in told(doctor.of_trust(trust, at=late))] == ["problem"]
    old = CA("Old Root", key="p256", at=NOW - timedelta(days=20_000)).certificate
    both = TrustStore((*trust.anchors, old))
    assert [one[0] for one in told(doctor.of_trust(both, at=NOW))] == ["warning"]


# --- contacts -------------------------------------------------------------------------------------


def test_an_address_book_is_looked_at_and_left_as_it_is(
    ca: CA, bob: Identity, tmp_path: Path
) -> None:
    path = tmp_path / "contacts.sqlite"
    with Contacts(path) as book:
        book.add([bob.certificate], at=NOW)
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert told(doctor.of_contacts(str(path), at=NOW)) == []
    late = [*doctor.of_contacts(str(path), at=bob.certificate.not_after - timedelta(days=3))]
    assert (late[0].status, "bob@contoso.com" in late[0].text) == ("warning", True)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [one.name for one in tmp_path.iterdir()] == ["contacts.sqlite"]


def test_what_is_no_address_book_is_told(tmp_path: Path) -> None:
    path = tmp_path / "contacts.sqlite"
    assert [one[0] for one in told(doctor.of_contacts(str(path), at=NOW))] == ["note"]
    assert not path.exists()
    path.write_bytes(b"something else")
    ((status, text),) = told(doctor.of_contacts(str(path), at=NOW))
    assert status == "problem"
    assert str(path) in text
    ((status, _),) = told(doctor.of_contacts(str(tmp_path), at=NOW))
    assert status == "problem"


# --- the mailbox ----------------------------------------------------------------------------------

Answer = Callable[[httpx.Request], httpx.Response]


def of_mailbox(answer: Answer, user: str = "me") -> tuple[list[Diagnosis], list[httpx.Request]]:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer(request)

    transport = httpx.MockTransport(handle)
    with GraphClient("t", user=user, retries=0, transport=transport) as graph:
        found = [*doctor.of_mailbox(graph, mailbox(user=user))]
    assert {one.method for one in asked} == {"GET"}
    return found, asked


def refused(status: int, *, reading: int | None = None) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        is_folder = "mailFolders" in request.url.path
        code = reading if reading is not None and is_folder else status
        body = {"error": {"code": "ErrorAccessDenied", "message": "no"}}
        return httpx.Response(code, json={"value": []} if code == 200 else body)

    return answer


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no route", request=request)


@pytest.mark.parametrize(
    ("answer", "statuses"),
    [
        (refused(401), ["problem"]),
        (refused(404), ["problem"]),
        (refused(403), ["note"]),  # Mail.Send alone: enough to send
        (refused(403, reading=200), ["ok"]),
        (refused(403, reading=404), ["problem"]),
        (refused(503), ["unreachable"]),
        (refused(500), ["unreachable"]),
        (unreachable, ["unreachable"]),
        (lambda _: httpx.Response(200, text="<html>"), ["problem"]),
    ],
)
def test_what_graph_answers_is_told_apart(answer: Answer, statuses: list[str]) -> None:
    found, _ = of_mailbox(answer)
    assert [one.status for one in found] == statuses


def test_the_owner_of_the_mailbox_is_told_and_nothing_is_written() -> None:
    with Emulator(mailboxes=["alice@contoso.com"], me="alice@contoso.com") as emulator:
        owner: list[str] = []
        with GraphClient("t", transport=emulator.transport()) as graph:
            found = [*doctor.of_mailbox(graph, mailbox(), found=owner)]
        assert [one.status for one in found] == ["ok", "ok"]
        assert owner == ["alice@contoso.com"]
        assert {one.method for one in emulator.log} == {"GET"}


def test_who_signs_has_to_be_whose_mailbox_sends(alice: Identity) -> None:
    def said(user: str = "me", owner: tuple[str, ...] = (), **claims: Any) -> list[str]:
        read = Claims.of(token(**claims))
        return [one.status for one in doctor.of_sender([alice], mailbox(user=user), read, owner)]

    assert said() == ["ok"]
    assert said(upn="carol@contoso.com") == ["warning"]  # perhaps the name of an account alone
    assert said(owner=("alice@contoso.com", "a.liddell@contoso.com")) == ["ok"]
    assert said(owner=("carol@contoso.com",)) == ["problem"]
    assert said(user="info@contoso.com") == ["problem"]
    assert said(user="Alice@contoso.com") == ["ok"]
    assert said(upn=None) == []


def test_an_error_of_ours_is_a_problem() -> None:
    def fails() -> Any:
        yield Diagnosis("x", "ok", "so far")
        raise UsageError("the file is not there", hint="name another")

    found = doctor.attempted("signer", fails)
    assert [one.status for one in found] == ["ok", "problem"]
    assert found[1].hint == "name another"


def test_times_of_claims_are_in_utc() -> None:
    read = Claims.of(token(exp=10**18, nbf=True))
    assert read is not None
    assert (read.ends, read.begins) == (None, None)
    fits = Claims.of(token())
    assert fits is not None
    assert fits.ends == datetime.fromtimestamp(NOW.timestamp() + 3600, UTC)
