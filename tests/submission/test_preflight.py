"""Pre-flight and sending give one answer, and what is worth knowing names its source."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smime_graph import (
    CA,
    EXCHANGE,
    RFC_8551,
    Contact,
    GraphClient,
    Identity,
    SmimeGraphError,
    SubmissionReport,
    TrustStore,
    UsageError,
    check_submission,
    seal,
    sign,
)
from smime_graph.authority.issue import write_identity
from smime_graph.cli import main
from smime_graph.emulator import Emulator
from tests.conftest import NOW, contact

HEAD = {
    "From": "Alice <alice@contoso.com>",
    "To": "Bob <bob@contoso.com>",
    "Subject": "Figures",
    "Message-ID": "<1@contoso.com>",
    "Date": "Sun, 22 Nov 2026 12:00:00 +0000",
}
ORIGINAL = (
    b"From: Bob <bob@contoso.com>\r\nTo: alice@contoso.com, dave@contoso.com\r\n"
    b"Subject: Figures?\r\nMessage-ID: <0@contoso.com>\r\n"
    b"Date: Sun, 22 Nov 2026 11:00:00 +0000\r\n\r\nplease\r\n"
)


def mail(body: bytes = b"the figures\r\n", *, more: bytes = b"", **changes: str | None) -> bytes:
    fields = {**HEAD, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [f"{name}: {value}\r\n".encode() for name, value in fields.items() if value is not None]
    return b"".join([*lines, more, b"\r\n", body])


def codes(report: SubmissionReport) -> list[str]:
    """Without what is said of everything in the clear, as most of these are."""
    return [one.code for one in report.findings if one.code != "graph.not-encrypted"]


# --- one answer -----------------------------------------------------------------------------------

# one or two of these: more at once are refused nearly always, by whatever is met first
CHANGES: dict[str, list[str | None]] = {
    "From": [None, "", "alice", "eve@contoso.com", "alice@contoso.com, bob@contoso.com", "A <>"]
    + ['"a@b" <alice@contoso.com>', "(x) alice@contoso.com", "<<alice@contoso.com>>"],
    "To": [None, "", "bob", "carol@contoso.com", "x: bob@contoso.com;", "x:;", "<<b@c>>"]
    + ["bob@contoso.com, dave@contoso.com", "zo\u00eb@ex\u00e4mple.com", "b@c.d, y"],
    "Cc": ["alice@contoso.com", "dave@contoso.com", "nobody", ""],
    "Bcc": ["alice@contoso.com", "carol@contoso.com", "bob@contoso.com", ""],
    "Message-ID": [None, "", "1@contoso.com", "<1 @x.y>", f"<{'x' * 991}@y>"],
    "Date": [None],
    "Subject": ["Gr\u00fc\u00dfe", "x" * 1200, ""],
}
MORE = st.sampled_from(
    [b"", b"", b"", b"X-A: b\r\n", b"X-A: b\rc\r\n", b"X-A: b\0c\r\n", b"no field\r\n"]
    + [b"From: eve@contoso.com\r\n", b"Message-ID: <2@x.y>\r\n", b"X-A : b\r\n", b"To: x@y.z\r\n"]
    + [b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: text/plain\r\n"]
)
BODIES = st.sampled_from(
    [b"", b"the figures\r\n", b"x" * 3000, b"x\ry\r\n", bytes(range(256)), b"a\nb\n"]
)
LIMITS = st.sampled_from([4 << 20, 4 << 20, 4 << 20, 200, 400, 3000, 5000])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    names = draw(st.lists(st.sampled_from(sorted(CHANGES)), max_size=2, unique=True))
    changed = {name: draw(st.sampled_from(CHANGES[name])) for name in names}
    made = mail(draw(BODIES), more=draw(MORE) if len(names) < 2 else b"", **changed)
    return draw(st.sampled_from([*[made] * 6, made.replace(b"\r\n", b"\n"), b" x\r\n" + made]))


@dataclass(frozen=True)
class Place:
    folder: Path
    emulator: Emulator
    url: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """People with key files, and a served emulator that counts what it is asked."""
    folder = tmp_path_factory.mktemp("preflight")
    ca = CA("Test Root", key="p256")
    # RSA signs: an ECDSA signature is now longer and now shorter, and with it the request
    for name, key in (("alice", "rsa-2048"), ("bob", "rsa-2048"), ("carol", "p256")):
        write_identity(ca.issue(f"{name}@contoso.com", key=key), folder, name=name)
    (folder / "roots.pem").write_bytes(ca.trust_pem)
    (folder / "token").write_text("token\n")
    with (
        Emulator(open_mailboxes=True, request_limit=64 << 20) as emulator,
        emulator.serve() as server,
    ):
        yield Place(folder, emulator, f"{server.url}/v1.0")


def run(raw: bytes, *words: str) -> tuple[int, dict[str, Any]]:
    """A verb in this process: its status, and its JSON."""
    held = sys.stdin, sys.stdout, sys.stderr
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    try:
        sys.stdin = io.TextIOWrapper(io.BytesIO(raw))
        sys.stdout, sys.stderr = out, io.StringIO()
        status = main([*words, "--json"])
        out.flush()
        return status, json.loads(out.buffer.getvalue())
    finally:
        sys.stdin, sys.stdout, sys.stderr = held


ALICE, EVERYBODY = ("--signer", "alice.key"), ("--recipient", "alice.pem bob.pem carol.pem")
OPTIONS = st.tuples(
    st.sampled_from([(), ALICE, ALICE, ("--signer", "bob.key")]),
    st.sampled_from([(), EVERYBODY, EVERYBODY, ("--recipient", "bob.pem")]),
    st.sampled_from(
        [*[()] * 4, ("--opaque",), ("--cipher", "aes256-gcm"), ("--trust", "roots.pem")]
    ),
    st.sampled_from([*[()] * 4, ("--split-bcc",)]),
    st.sampled_from([(), ("--via", "draft"), ("--via", "sendmail"), ("--wire", "mime-content")]),
    st.sampled_from([*[()] * 8, ("--no-save-to-sent-items",), ("--user", "..")]),
)


def words_of(options: tuple[tuple[str, ...], ...], folder: Path) -> list[str]:
    found: list[str] = []
    for name, *values in filter(None, options):
        if not values:
            found.append(name)
        for value in " ".join(values).split():
            is_file = value.endswith((".pem", ".key"))
            found += [name, str(folder / value) if is_file else value]
    return found


@given(raw=messages(), options=OPTIONS, limit=LIMITS)
@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
def test_check_says_no_exactly_when_send_refuses_before_its_first_request(
    place: Place, raw: bytes, options: tuple[tuple[str, ...], ...], limit: int
) -> None:
    how = [*words_of(options, place.folder), "--size-limit", str(limit)]
    how += ["--graph-url", place.url]
    token = ("--token-file", str(place.folder / "token"))
    before = len(place.emulator.log)
    sent, answer = run(raw, "send", *how, *token)
    asked = len(place.emulator.log) - before
    status, said = run(raw, "check", *how)
    assert len(place.emulator.log) - before == asked  # check asks for nothing
    if asked:
        assert (status, said["verdict"], said["problems"]) == (0, "accepted", [])
        return
    assert sent == status != 0
    reason = said["problems"][0] if "problems" in said else said["error"]["text"]
    assert answer["error"]["text"] == reason


@given(
    raw=messages(),
    limit=LIMITS,
    action=st.sampled_from(["send", "reply", "reply-all", "forward", "draft"]),
    wire=st.sampled_from(["text-plain", "mime-content"]),
    via=st.sampled_from(["auto", "sendmail", "draft"]),
    save=st.sampled_from([True, True, False]),
)
@settings(deadline=None, max_examples=200)
def test_a_client_refuses_what_the_library_said_it_would(
    raw: bytes, limit: int, action: Any, wire: Any, via: Any, save: bool
) -> None:
    profile: Any = "live" if wire == "text-plain" else "design"
    with Emulator(open_mailboxes=True, profile=profile) as emulator:
        asked_for = emulator.mailbox("alice@contoso.com").put(ORIGINAL).id
        transport = emulator.transport()
        with GraphClient("t", wire=wire, size_limit=limit, transport=transport) as graph:
            how = {"via": via, "save_to_sent_items": save} if action == "send" else {}
            said = check_submission(raw, action=action, wire=wire, size_limit=limit, **how)
            call = getattr(graph, action.replace("-", "_"))
            subject = (raw,) if action in ("send", "draft") else (asked_for, raw)
            refused = None
            try:
                call(*subject, **how)
            except SmimeGraphError as error:
                refused = error
            if emulator.log:
                assert said.ok, said.problems
            else:
                assert refused is not None
                assert str(refused) == str(said.problems[0])
                assert type(refused) is type(said.problems[0])


def test_what_goes_in_the_clear_is_said(alice: Identity, bob: Identity) -> None:
    ways: tuple[tuple[dict[str, Any], str], ...] = (
        ({}, "the message is not encrypted, so whoever carries it can read it; nobody signs it"),
        ({"signer": alice}, "the message is not encrypted, so whoever carries it can read it; it"),
        ({"recipients": [contact(bob)]}, ""),
    )
    for how, said in ways:
        found = check_submission(mail(), at=NOW, **how).findings
        texts = [one.text for one in found if one.code == "graph.not-encrypted"]
        assert [one.startswith(said) for one in texts] == [True] * bool(said)


def test_a_message_that_nothing_keeps_back_is_ok(alice: Identity, bob: Identity) -> None:
    report = check_submission(mail(), signer=alice, recipients=[contact(bob)], at=NOW)
    assert report.ok
    assert (report.problems, report.findings) == ((), ())
    assert [(r.address, r.has_certificate, r.is_addressed) for r in report.recipients] == [
        ("bob@contoso.com", True, True)
    ]


def test_problems_are_all_told_and_hold_no_message(alice: Identity, bob: Identity) -> None:
    raw = mail(b"x" * 2000, To="dave@contoso.com", Bcc="erin@contoso.com", Message_ID="1")
    report = check_submission(raw, signer=alice, recipients=[contact(bob)], at=NOW, size_limit=1000)
    texts = [str(one) for one in report.problems]
    assert not report.ok
    assert [word for word in ("dave", "Message-ID", "limit") if word in " ".join(texts)] == [
        *("dave", "Message-ID", "limit")
    ]
    assert all(one.__traceback__ is None for one in report.problems)


def test_with_trust_a_recipient_whom_nobody_vouches_for_is_a_problem(
    alice: Identity, bob: Identity, trust: TrustStore
) -> None:
    stranger = CA("Other Root", key="p256", at=NOW).issue("bob@contoso.com", key="p256", at=NOW)
    for person, count in ((bob, 0), (stranger, 1)):
        how: Any = {"signer": alice, "recipients": [contact(person)], "at": NOW, "trust": trust}
        assert len(check_submission(mail(), **how).problems) == count


def test_each_copy_of_those_in_bcc_is_checked(ca: CA, alice: Identity, bob: Identity) -> None:
    carol = ca.issue("carol@contoso.com", key="p256", at=NOW)
    how: Any = {"signer": alice, "recipients": [contact(bob), contact(carol)], "at": NOW}
    raw = mail(Bcc="carol@contoso.com")
    assert "smime.bcc" in codes(check_submission(raw, **how))
    split = check_submission(raw, **how, split_bcc=True)
    assert split.ok
    assert "smime.bcc" not in codes(split)
    assert not check_submission(raw, **how, split_bcc=True, size_limit=1000).ok
    with pytest.raises(UsageError, match="nobody to sign with"):
        check_submission(raw, recipients=[contact(bob)], split_bcc=True)


def test_finished_bytes_are_what_a_client_is_given() -> None:
    message = EmailMessage()
    message["From"], message["To"] = "alice@contoso.com", "bob@contoso.com"
    message.set_content("x\n")
    with pytest.raises(UsageError, match="EmailMessage"):
        check_submission(message)
    without_id = check_submission(message.as_bytes())
    assert [str(one)[:31] for one in without_id.problems] == ["the message has no Message-ID, "]


def test_an_email_message_is_signed_with_an_id(alice: Identity) -> None:
    message = EmailMessage()
    message["From"], message["To"] = "alice@contoso.com", "bob@contoso.com"
    message.set_content("x\n")
    assert check_submission(message, signer=alice, at=NOW).ok


# --- whom Graph addresses -------------------------------------------------------------------------


def test_a_reply_goes_to_those_of_the_original(ca: CA, alice: Identity, bob: Identity) -> None:
    carol = ca.issue("carol@contoso.com", key="p256", at=NOW)
    how: Any = {"signer": alice, "at": NOW, "original": ORIGINAL}
    fits = check_submission(mail(), **how, recipients=[contact(bob)], action="reply")
    assert fits.ok
    raw = mail(To="carol@contoso.com")
    away = check_submission(raw, **how, recipients=[contact(carol)], action="reply")
    assert [one.is_addressed for one in away.recipients] == [True, False]
    assert "not to carol@contoso.com" in str(away.problems[0])
    sent = check_submission(raw, **how, recipients=[contact(carol)])
    assert sent.ok  # as a message of its own


def test_a_reply_to_all_that_some_cannot_read_is_said(alice: Identity, bob: Identity) -> None:
    how: Any = {"signer": alice, "at": NOW, "original": ORIGINAL, "recipients": [contact(bob)]}
    report = check_submission(mail(), **how, action="reply-all")
    assert report.ok
    assert "graph.addressees" in codes(report)
    unread = [one.address for one in report.recipients if not one.has_certificate]
    assert unread == ["dave@contoso.com"]


def test_a_forward_goes_to_those_in_its_header(alice: Identity, bob: Identity) -> None:
    how: Any = {"signer": alice, "at": NOW, "original": ORIGINAL, "recipients": [contact(bob)]}
    assert check_submission(mail(), **how, action="forward").ok
    assert not check_submission(mail(To="dave@contoso.com"), **how, action="forward").ok


def test_an_original_that_names_nobody_is_a_refusal_for_what_is_encrypted(
    alice: Identity, bob: Identity
) -> None:
    how: Any = {"original": ORIGINAL.replace(b"Bob <", b"<<"), "action": "reply"}
    plain = check_submission(mail(), **how)
    assert plain.ok
    assert "is not checked" in plain.findings[0].text
    sealed = check_submission(mail(), **how, signer=alice, recipients=[contact(bob)], at=NOW)
    assert not sealed.ok


# --- size -----------------------------------------------------------------------------------------


def test_the_three_layers_of_base64_are_counted(alice: Identity, bob: Identity) -> None:
    message = EmailMessage()
    for name, value in HEAD.items():
        message[name] = value
    message.set_content("see the file\n")
    data = bytes(range(256)) * 100
    message.add_attachment(data, maintype="application", subtype="octet-stream", filename="x")
    raw = message.as_bytes().replace(b"\n", b"\r\n")
    report = check_submission(raw, signer=alice, recipients=[contact(bob)], at=NOW)
    size = report.size
    assert size is not None
    encoded = base64.encodebytes(data).replace(b"\n", b"\r\n")
    assert size.message == len(raw)
    assert abs(size.base64_of_attachments - (len(encoded) - len(data))) <= 2
    made = seal(raw, signer=alice, recipients=[contact(bob)], at=NOW)
    assert abs(size.protected - len(made)) < 50
    body = made.partition(b"\r\n\r\n")[2]
    assert abs(size.base64_of_cms - (len(body) - len(base64.b64decode(body)))) < 50
    assert size.request == (size.protected + 2) // 3 * 4
    assert size.base64_of_request == size.request - size.protected
    whole = data + b"see the file"
    layers = size.base64_of_attachments + size.base64_of_cms + size.base64_of_request
    assert 0 < size.request - layers - len(whole) < 8000  # header, signature, certificates


def test_what_base64_adds_to_a_signature_is_none_of_the_attachments(alice: Identity) -> None:
    size = check_submission(sign(mail(), signer=alice, at=NOW)).size
    assert size is not None
    assert size.base64_of_attachments == 0
    assert size.base64_of_cms > 300


def test_a_limit_is_met_exactly() -> None:
    raw = mail()
    size = check_submission(raw).size
    assert size is not None
    assert check_submission(raw, size_limit=size.request).ok
    assert not check_submission(raw, size_limit=size.request - 1).ok
    assert check_submission(mail(b"x" * 5_000_000), size_limit=None).ok


def test_a_bomb_of_parts_is_walked_in_bounded_work() -> None:
    deep = b"Content-Type: text/plain\r\n\r\nx\r\n"
    for number in range(60):
        line = f"Content-Type: multipart/mixed; boundary=b{number}\r\n\r\n--b{number}\r\n".encode()
        deep = line + deep
    report = check_submission(mail(more=deep.partition(b"\r\n")[0] + b"\r\n", body=deep))
    assert report.size is not None


# --- what is worth knowing ------------------------------------------------------------------------

FOUND = [
    (mail(), ()),
    (mail(more=b"Auto-Submitted: yes\r\nList-Id: x\r\n"), ("graph.header.dropped",) * 2),
    (mail(more=b"X-Job: 1\r\n"), ("graph.header.first-lost",)),
    (mail(more=b"Return-Path: <a@b.c>\r\n"), ("graph.header.replaced",)),
    (mail(more=b"Content-Language: de\r\nIn-Reply-To: <0@x>\r\nReferences: <0@x>\r\n"), ()),
    (mail(From='"alice@contoso.com" <alice@contoso.com>'), ("graph.from.at-sign",)),
    (mail(From="=?utf-8?q?a=40b?= <alice@contoso.com>"), ("graph.from.at-sign",)),
    (mail(From="alice@contoso.com"), ()),
    (mail(From="Alice <alice@contoso.com> (a@b)"), ()),
    (mail(Subject="x" * 999), ("graph.header.long",)),
    (mail(Subject="x" * 500 + "\r\n " + "x" * 500), ()),
    (mail(Bcc="carol@contoso.com"), ("graph.bcc",)),
    (mail(Bcc=""), ()),
    (mail(Cc="bob@contoso.com, carol"), ("graph.recipients.unreadable",)),
]


@pytest.mark.parametrize(("raw", "expected"), FOUND)
def test_what_graph_is_known_to_do_is_said_with_its_source(
    raw: bytes, expected: tuple[str, ...]
) -> None:
    report = check_submission(raw)
    assert report.ok
    assert codes(report) == [*expected]
    assert all(one.source and one.text for one in report.findings)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (EXCHANGE, []),
        (EXCHANGE.but("gcm", ciphers=("aes256-gcm",)), ["graph.auth-enveloped"]),
    ],
)
def test_auth_enveloped_data_is_said_to_arrive_broken(
    alice: Identity, bob: Identity, policy: Any, expected: list[str]
) -> None:
    how: Any = {"signer": alice, "recipients": [contact(bob)], "policy": policy, "at": NOW}
    assert codes(check_submission(mail(), **how)) == expected
    finished = seal(mail(), **how)
    assert codes(check_submission(finished)) == expected


def test_bcc_in_what_is_encrypted_already_is_said(ca: CA, alice: Identity, bob: Identity) -> None:
    carol = ca.issue("carol@contoso.com", key="p256", at=NOW)
    how: Any = {"signer": alice, "recipients": [contact(bob), contact(carol)], "at": NOW}
    finished = seal(mail(Bcc="carol@contoso.com"), **how)
    assert codes(check_submission(finished)) == ["smime.bcc"]


def test_a_mailbox_of_another_than_from_is_said() -> None:
    assert codes(check_submission(mail(), user="info@contoso.com")) == ["graph.send-as"]
    assert codes(check_submission(mail(), user="ALICE@contoso.com")) == []
    assert codes(check_submission(mail(), user="8c1b3a0e-0000-4000-8000-000000000000")) == []


@pytest.mark.parametrize(("days", "is_said"), [(31, False), (29, True), (0, True)])
def test_certificates_that_run_out_soon_are_said(ca: CA, days: int, is_said: bool) -> None:
    until = NOW + timedelta(days=days, hours=1)
    alice = ca.issue("alice@contoso.com", key="p256", at=NOW, not_after=until)
    bob = ca.issue("bob@contoso.com", key="p256", at=NOW, not_after=until)
    signed = check_submission(mail(), signer=alice, at=NOW)
    sealed = check_submission(mail(), signer=alice, recipients=[contact(bob)], at=NOW)
    assert codes(signed) == ["pki.certificate.expires-soon"] * is_said
    expected = 3 if is_said else 0  # alice, who signs and reads, and bob
    assert len(sealed.findings) <= expected
    assert bool(sealed.findings) is is_said


def test_a_policy_that_sends_nothing_is_a_problem(alice: Identity, bob: Identity) -> None:
    from smime_graph import ARCHIVE

    report = check_submission(mail(), signer=alice, policy=ARCHIVE, at=NOW)
    assert "reading" in str(report.problems[0])
    assert check_submission(mail(), signer=alice, policy=RFC_8551, at=NOW).ok


def test_a_contact_counts_by_the_address_it_was_named_with(alice: Identity, bob: Identity) -> None:
    certificate = contact(bob).certificate
    named = Contact(certificate, email="dave@contoso.com")
    report = check_submission(mail(To="dave@contoso.com"), signer=alice, recipients=[named], at=NOW)
    assert report.recipients[0].has_certificate
