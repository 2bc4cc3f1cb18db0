"""--split-bcc: whoever is in Bcc gets a message of their own, once, and it is said who did not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smime_graph import CA
from smime_graph.authority.issue import write_identity
from smime_graph.emulator import Emulator
from smime_graph.emulator.faults import Fault
from smime_graph.smime.entity import Entity

from .conftest import MESSAGE, Run

BLIND = MESSAGE.replace(b"Subject", b"Bcc: carol@contoso.com, dave@contoso.com\nSubject")
SEALING = ("--signer", "alice.key", "--password-file", "password", "--split-bcc")
PEOPLE = ("bob", "carol", "dave")


@pytest.fixture
def known(here: Path) -> tuple[str, ...]:
    """The certificates of all three, each in a file."""
    dave = CA("Test Root", key="p256").issue("dave@contoso.com", key="p256")
    write_identity(dave, here, name="dave")
    (here / "blind.eml").write_bytes(BLIND)
    return tuple(word for one in PEOPLE for word in ("--recipient", f"{one}.pem"))


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    mailboxes = [f"{one}@contoso.com" for one in PEOPLE]
    with Emulator(me="alice@contoso.com", mailboxes=mailboxes) as made:
        yield made


@pytest.fixture
def send(
    emulator: Emulator, call: Run, known: tuple[str, ...], here: Path
) -> Iterator[Callable[..., Any]]:
    server = emulator.serve()

    def run(*further: str) -> Any:
        where = ("--graph-url", server.url, "--token-file", "token", "--retries", "0")
        return call("send", "blind.eml", *SEALING, *known, *where, *further)

    yield run
    server.close()


def deliveries(emulator: Emulator) -> list[int]:
    return [len(emulator.mailbox(f"{one}@contoso.com").messages()) for one in PEOPLE]


def test_each_person_has_one_delivery_which_names_nobody_in_bcc(
    send: Callable[..., Any], emulator: Emulator
) -> None:
    result = send("--json")
    assert (result.status, result.err) == (0, "")
    assert deliveries(emulator) == [1, 1, 1]
    told = json.loads(result.out)
    assert [(one["recipients"], one["bcc"], one["status"]) for one in told["copies"]] == [
        (["bob@contoso.com"], False, "accepted"),
        (["carol@contoso.com"], True, "accepted"),
        (["dave@contoso.com"], True, "accepted"),
    ]
    assert told["internetMessageId"] == "<1@contoso.com>"
    raws = [emulator.mailbox(f"{one}@contoso.com").messages()[0].raw for one in PEOPLE]
    for raw, others in zip(raws, ((1, 2), (0, 2), (0, 1)), strict=True):
        header = raw.partition(b"\r\n\r\n")[0].lower()
        assert b"bcc:" not in header
        for other in others:
            assert f"{PEOPLE[other]}@".encode() not in header
    ids = [Entity(raw).get("Message-ID") for raw in raws]
    assert ids == [one["internetMessageId"] for one in told["copies"]]
    assert len(set(ids)) == 3


def test_where_the_first_copy_does_not_go_nothing_goes(
    send: Callable[..., Any], emulator: Emulator
) -> None:
    emulator.faults.add(Fault.answer(403, code="ErrorSendAsDenied"), on="POST */sendMail")
    result = send("--json")
    assert result.status == 3
    assert deliveries(emulator) == [0, 0, 0]
    told = json.loads(result.out)
    assert [one["status"] for one in told["copies"]] == ["refused", "not-sent", "not-sent"]
    assert "do not repeat" not in result.err
    # so all of it can be sent again
    assert send().status == 0
    assert deliveries(emulator) == [1, 1, 1]


@pytest.mark.parametrize(
    ("fault", "wanted", "delivered"),
    [
        # one that is refused keeps back no other
        (
            Fault.answer(403, code="ErrorSendAsDenied"),
            ["accepted", "refused", "accepted"],
            [1, 0, 1],
        ),
        (
            Fault.throttled(retry_after=600),
            ["accepted", "not-sent", "not-sent"],
            [1, 0, 0],
        ),
    ],
)
def test_who_did_not_get_it_is_said(
    send: Callable[..., Any],
    emulator: Emulator,
    fault: Fault,
    wanted: list[str],
    delivered: list[int],
) -> None:
    emulator.faults.add(fault, on="POST */sendMail", after=1)
    result = send("--json")
    assert result.status == 3
    told = json.loads(result.out)
    assert [one["status"] for one in told["copies"]] == wanted
    assert deliveries(emulator) == delivered
    assert "note: sent to bob@contoso.com" in result.err
    assert "carol@contoso.com: Graph" in result.err
    assert "do not repeat all of it" in result.err
    assert "do not repeat all of it" in told["error"]["hint"]
    if wanted[2] == "not-sent":
        assert "not sent to dave@contoso.com" in result.err


def test_each_copy_is_a_message_of_the_outbox(
    send: Callable[..., Any], emulator: Emulator, call: Run
) -> None:
    """All of them are stored, whatever becomes of one."""
    emulator.faults.add(Fault.answer(403, code="ErrorSendAsDenied"), on="POST */send", after=1)
    result = send("--json", "--outbox", "o.db")
    assert (result.status, deliveries(emulator)) == (3, [1, 0, 1])
    told = json.loads(result.out)
    assert [one["status"] for one in told["copies"]] == ["accepted", "failed", "accepted"]
    assert [one["outbox"] for one in told["copies"]] == [1, 2, 3]
    assert [one["bcc"] for one in told["copies"]] == [False, True, True]
    assert "message 2 of the outbox o.db is kept as failed" in result.err
    rows = json.loads(call("outbox", "list", "o.db", "--json").out)["messages"]
    assert [one["recipients"] for one in rows] == [[f"{one}@contoso.com"] for one in PEOPLE]


def test_a_lost_answer_is_not_taken_for_a_failure(
    send: Callable[..., Any], emulator: Emulator
) -> None:
    emulator.faults.add(Fault.cut_after(), on="POST */sendMail", after=1)
    result = send("--json")
    told = json.loads(result.out)
    # the mailbox has the copy, so it went, and nothing is sent twice
    assert deliveries(emulator) == [1, 1, 1]
    assert [one["status"] for one in told["copies"]] == ["accepted", "confirmed", "accepted"]
    assert (result.status, result.err.count("the answer was lost")) == (0, 1)


def test_files_are_written_one_for_each_and_can_be_sent(
    here: Path, call: Run, known: tuple[str, ...]
) -> None:
    result = call("seal", "blind.eml", *SEALING, "out", *known, "--json")
    assert (result.status, result.err) == (0, "")
    copies = json.loads(result.out)["copies"]
    assert [Path(one["file"]).name for one in copies] == ["named.eml", "bcc-1.eml", "bcc-2.eml"]
    assert sorted(path.name for path in (here / "out").iterdir()) == [
        "bcc-1.eml",
        "bcc-2.eml",
        "named.eml",
    ]
    for one, who in zip(copies, PEOPLE, strict=True):
        raw = Path(one["file"]).read_bytes()
        assert len(raw) == one["size"]
        assert one["recipients"] == [f"{who}@contoso.com"]
        assert Entity(raw).get("Message-ID") == one["internetMessageId"]
        assert (
            call(
                "decrypt", one["file"], "--identity", f"{who}.key", "--password-file", "password"
            ).status
            == 0
        )
    # an empty folder does, one with something in it does not
    (here / "void").mkdir()
    rows = call("seal", "blind.eml", *SEALING, "void", *known)
    assert rows.status == 0
    assert rows.out.decode().splitlines()[1] == "void/bcc-1.eml\tcarol@contoso.com"
    before = {path: path.read_bytes() for path in (here / "out").iterdir()}
    again = call("seal", "blind.eml", *SEALING, "out", *known)
    assert (again.status, again.out) == (2, b"")
    assert "is not empty" in again.err
    assert {path: path.read_bytes() for path in (here / "out").iterdir()} == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("seal", "blind.eml", *SEALING, "m.eml"), "cannot be used"),
        (("seal", "blind.eml", *SEALING, "new", "-o", "x"), "both given"),
        (("send", "blind.eml", "--split-bcc", "--emulator"), "signed and encrypted"),
    ],
)
def test_what_makes_no_sense_is_refused(
    here: Path, call: Run, known: tuple[str, ...], words: tuple[str, ...], text: str
) -> None:
    further = known if words[0] == "seal" else ()
    result = call(*words, *further)
    assert (result.status, result.out) == (2, b"")
    assert text in result.err
    assert not (here / "new").exists()


def test_somebody_without_a_certificate_leaves_no_folder(
    here: Path, call: Run, known: tuple[str, ...]
) -> None:
    result = call("seal", "blind.eml", *SEALING, "new", *known[:4])
    assert result.status == 1
    assert "no certificate is given for dave@contoso.com" in result.err
    assert not (here / "new").exists()


def test_with_trust_a_certificate_that_does_not_validate_is_refused(
    here: Path, call: Run, known: tuple[str, ...]
) -> None:
    """Dave's is of another authority with the same name."""
    trust = ("--trust", "roots.pem")
    signer = SEALING[:-1]
    for words in (
        ("seal", "blind.eml", *signer),
        ("seal", "blind.eml", *SEALING, "new"),
        ("send", "blind.eml", *signer, "--emulator"),
        ("send", "blind.eml", *SEALING, "--emulator"),
        ("encrypt", "blind.eml"),
    ):
        result = call(*words, *known, *trust)
        assert (result.status, result.out) == (1, b"")
        assert "dave@contoso.com" in result.err
        assert "pki.path.invalid" in result.err
        assert not (here / "new").exists()
    assert call("encrypt", "m.eml", *known[:2], *trust).status == 0


def test_a_copy_that_is_too_large_keeps_back_the_others_before_the_first_has_gone(
    send: Callable[..., Any], emulator: Emulator, here: Path
) -> None:
    long = "d" * 60 + "@" + "e" * 60 + ".com"
    ca = CA("Test Root", key="p256")
    write_identity(ca.issue(long, key="p256"), here, name="erin")
    raw = BLIND.replace(b"dave@contoso.com", long.encode())
    (here / "blind.eml").write_bytes(raw)
    (here / "dave.pem").write_bytes((here / "erin.pem").read_bytes())
    assert send("--json").status == 0
    named, *_, last = (one.body_size for one in emulator.log)
    before = len(emulator.log)
    assert named < last
    result = send("--json", "--size-limit", str(last - 1))
    assert (result.status, len(emulator.log)) == (2, before)
    assert f"the limit is {last - 1}" in json.loads(result.out)["error"]["text"]
