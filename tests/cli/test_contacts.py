"""contacts: what is put into the address book, and what is found in it."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from smime_graph import Contact, Contacts, Identity, oids, seal, sign
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA
from smime_graph.cli.context import contacts_file
from smime_graph.cms import capabilities, signed_data
from smime_graph.emulator import Emulator
from smime_graph.pki.outlook import CHAIN_CERTIFICATE, KEY_EXCHANGE_CERTIFICATE
from tests.pki.test_contacts import revoking

from .conftest import MESSAGE, PASSWORD, Result, Run

CBC = ber.sequence(ber.oid(oids.AES256_CBC))
SEAL = ("seal", "m.eml", "--signer", "alice.p12", "--password-file", "password")
ANSWER = MESSAGE.replace(b"Alice <alice@", b"Bob <bob@").replace(b"To: Bob <bob@", b"To: <alice@")


def told(result: Result) -> Any:
    assert result.status == 0, result.err
    return json.loads(result.out)


def layers_of(call: Run, file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = told(call("inspect", file, "--json"))["layers"]
    return found


@pytest.fixture
def alice(here: Path) -> Identity:
    return Identity.load(here / "alice.p12", password=PASSWORD)


@pytest.fixture
def announced(here: Path, alice: Identity, monkeypatch: pytest.MonkeyPatch) -> str:
    """Signed mail of Alice, who reads AES-CBC alone, as Thunderbird 153 does."""
    with monkeypatch.context() as patch:
        patch.setattr(capabilities, "announcement", lambda _: ber.sequence(CBC))
        signed_data._frame.cache_clear()
        (here / "cbc.eml").write_bytes(sign(MESSAGE, signer=alice))
        signed_data._frame.cache_clear()
    return "cbc.eml"


# --- the five verbs -------------------------------------------------------------------------------


def test_added_is_listed_found_and_forgotten(call: Run, here: Path) -> None:
    added = told(call("contacts", "add", "bob.pem", "carol.pem", "--trust", "--json"))["added"]
    assert [(one["email"], one["believed"]) for one in added] == [
        ("bob@contoso.com", True),
        ("carol@contoso.com", True),
    ]
    assert told(call("contacts", "list", "--json"))["contacts"] == added
    rows = call("contacts", "list").out.decode().splitlines()
    assert [row.split("\t")[0] for row in rows] == ["bob@contoso.com", "carol@contoso.com"]
    found = told(call("contacts", "find", "BOB@Contoso.com", "--json"))
    assert found["contact"] == added[0]
    assert found["capabilities"] is None
    assert found["dropped"] == []
    assert told(call("contacts", "forget", "bob@contoso.com", "--json"))["forgotten"] == 1
    assert call("contacts", "forget", "bob@contoso.com").status == 1
    missing = call("contacts", "find", "bob@contoso.com", "--json")
    assert missing.status == 1
    assert json.loads(missing.out)["contact"] is None
    assert "contacts add" in missing.err
    path = contacts_file()
    assert path is not None
    assert Path(path) == here / "home/.local/share/smime-graph/contacts.sqlite"
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700


def test_nothing_is_made_where_nothing_is_added(call: Run, here: Path) -> None:
    assert told(call("contacts", "list", "--json"))["contacts"] == []
    assert call("contacts", "find", "bob@contoso.com").status == 1
    assert call("contacts", "forget", "bob@contoso.com").status == 1
    assert not (here / "home").exists()


def test_a_named_book_a_variable_and_the_configuration(call: Run, here: Path) -> None:
    assert call("contacts", "add", "bob.pem", "--contacts", "mine").status == 0
    assert (here / "mine").is_file()
    env = {"SMIME_GRAPH_CONTACTS": "mine"}
    assert len(told(call("contacts", "list", "--json", env=env))["contacts"]) == 1
    (here / "c.toml").write_text('[defaults]\ncontacts = "mine"\ntrust = "roots.pem"\n')
    assert len(told(call("contacts", "list", "--json", "--config", "c.toml"))["contacts"]) == 1
    again = told(call("contacts", "add", "bob.pem", "--json", "--config", "c.toml"))
    assert again["added"][0]["believed"]
    gone = call("contacts", "list", "--contacts", "not-there")
    assert gone.status == 2
    assert "not-there" in gone.err
    assert not (here / "not-there").exists()


@pytest.mark.parametrize("verb", ["list", "find", "forget", "add", "harvest"])
def test_what_is_no_address_book_is_left_alone(call: Run, here: Path, verb: str) -> None:
    before = (here / "m.eml").read_bytes()
    arguments = {"find": ("a@b.c",), "forget": ("a@b.c",), "add": ("bob.pem",)}.get(verb, ())
    more = ("--emulator", "--trust", "roots.pem") if verb == "harvest" else ()
    refused = call("contacts", verb, *arguments, "--contacts", "m.eml", *more)
    assert refused.status == 2
    assert "address book" in refused.err
    assert (here / "m.eml").read_bytes() == before


def test_who_is_believed(call: Run, here: Path) -> None:
    """A flag is the user's word, a file holds roots; without either nobody vouches."""

    def believed(*arguments: str) -> list[bool]:
        (here / "b").unlink(missing_ok=True)
        added = told(call("contacts", "add", *arguments, "--contacts", "b", "--json"))["added"]
        return [one["believed"] for one in added]

    stranger = CA("Somebody", key="p256").issue("eve@contoso.com", key="p256")
    (here / "eve.pem").write_bytes(stranger.to_pem())
    assert believed("bob.pem") == [False]
    assert believed("bob.pem", "--trust") == [True]
    assert believed("bob.pem", "eve.pem", "--trust", "roots.pem") == [True, False]
    assert believed("bob.pem", "eve.pem", "--trust=roots.pem") == [True, False]
    mistaken = call("contacts", "add", "--trust", "bob.pem")
    assert mistaken.status == 2
    assert "behind the files" in mistaken.err


def test_expiring_are_listed(call: Run, here: Path) -> None:
    assert call("contacts", "add", "bob.pem", "expired.pem", "alice-expired.pem").status == 0
    found = told(call("contacts", "list", "--expiring", "30d", "--json"))["contacts"]
    assert [one["email"] for one in found] == ["alice@contoso.com"]
    assert call("contacts", "list", "--expiring", "soon").status == 2


def test_each_certificate_that_is_not_used_is_explained(call: Run, here: Path) -> None:
    files = ("bob.pem", "expired.pem", "signs-only.pem")
    assert call("contacts", "add", *files, "--trust", "roots.pem").status == 0
    found = told(call("contacts", "find", "bob@contoso.com", "--json"))
    assert found["contact"]["sha256"] not in {one["sha256"] for one in found["dropped"]}
    assert {one["code"] for one in found["dropped"]} == {"pki.path.expired", "pki.usage.key-usage"}
    said = call("contacts", "find", "bob@contoso.com")
    assert said.err.count("not used:") == 2


# --- sealing to an address ------------------------------------------------------------------------


def test_an_address_is_found_in_the_contacts(call: Run, here: Path) -> None:
    assert call("contacts", "add", "bob.pem", "--trust").status == 0
    made = call(*SEAL, "--recipient", "bob@contoso.com", "-o", "x.eml")
    assert made.status == 0, made.err
    assert "announced no capabilities" in made.err
    assert b"the figures" in call("decrypt", "x.eml", "--identity", "bob.key").out
    missing = call(*SEAL, "--recipient", "nobody@contoso.com", "-o", "y.eml")
    assert missing.status == 2
    assert "nobody@contoso.com" in missing.err
    assert "contacts add" in missing.err
    assert not (here / "y.eml").exists()


def test_a_file_of_that_name_is_the_file(call: Run, here: Path) -> None:
    assert call("contacts", "add", "carol.pem", "--trust").status == 0
    (here / "carol@contoso.com").write_bytes((here / "bob.pem").read_bytes())
    assert call(*SEAL, "--recipient", "carol@contoso.com", "-o", "x.eml").status == 0
    assert call("decrypt", "x.eml", "--identity", "bob.key").status == 0


@pytest.mark.parametrize("name", ["a" * 300 + "@contoso.com", "a" * 5000 + "@b.c"])
def test_an_address_that_no_file_could_have_as_its_name(call: Run, here: Path, name: str) -> None:
    (here / "c.toml").write_text(f'[encrypt]\nrecipient = "{name}"\n')
    jobs = {"key": "1", "verb": "encrypt", "message": "m.eml", "recipient": name}
    (here / "jobs.jsonl").write_text(json.dumps(jobs) + "\n")
    assert call("encrypt", "m.eml", "--recipient", name).status == 2
    assert call("encrypt", "m.eml", "--config", "c.toml").status == 2
    assert call("batch", "jobs.jsonl", "-o", "out", "--workers", "1").status == 1
    assert call("contacts", "list", "--contacts", name).status == 2
    assert call("contacts", "add", "bob.pem", "--contacts", name).status == 2


def test_why_nobody_is_found_is_said(call: Run, here: Path) -> None:
    assert call("contacts", "add", "expired.pem", "--trust").status == 0
    missing = call(*SEAL, "--recipient", "bob@contoso.com")
    assert missing.status == 1
    assert "expired" in missing.err


def test_whom_nobody_vouched_for_is_said(call: Run, here: Path) -> None:
    assert call("contacts", "add", "bob.pem").status == 0
    made = call(*SEAL, "--recipient", "bob@contoso.com", "-o", "x.eml")
    assert made.status == 0
    assert "nobody vouched for" in made.err
    judged = call(*SEAL, "--recipient", "bob@contoso.com", "--trust", "roots.pem", "-o", "x.eml")
    assert judged.status == 0
    assert "nobody vouched for" not in judged.err


@pytest.mark.parametrize("way", ["send", "draft", "sendmail", "check", "config"])
def test_every_verb_that_seals_finds_them(call: Run, here: Path, way: str) -> None:
    assert call("contacts", "add", "bob.pem", "--trust").status == 0
    common = ("--signer", "alice.p12", "--password-file", "password")
    to_bob = ("--recipient", "bob@contoso.com")
    emulated = ("--emulator-data", "mail.db")
    if way == "sendmail":
        (here / "s.toml").write_text(
            '[sendmail]\nsigner = "alice.p12"\npassword-file = "password"\n'
            'recipient = ["bob@contoso.com"]\nemulator-data = "mail.db"\n'
        )
        done = call("sendmail", "-t", "--config", "s.toml", stdin=MESSAGE)
    elif way == "config":
        (here / "s.toml").write_text('[defaults]\nrecipient = "bob@contoso.com"\n')
        done = call("send", "m.eml", *common, *emulated, "--config", "s.toml")
    else:
        done = call(way, "m.eml", *common, *to_bob, *emulated)
    assert done.status == 0, done.err
    if way in ("send", "sendmail", "config"):
        with Emulator(data=here / "mail.db", open_mailboxes=True) as emulator:
            (got,) = emulator.mailbox("bob@contoso.com").messages()
        assert b"enveloped-data" in got.raw


@pytest.mark.parametrize("where", ["option", "job"])
def test_a_batch_finds_them(call: Run, here: Path, where: str) -> None:
    assert call("contacts", "add", "bob.pem", "--trust", "--contacts", "book").status == 0
    job: dict[str, Any] = {
        "key": "1",
        "message": "m.eml",
        "signer": {"file": "alice.p12", "password_file": "password"},
        "recipient": "bob@contoso.com",
    }
    more: tuple[str, ...] = ("--contacts", "book")
    if where == "job":
        job["contacts"], more = "book", ()
    (here / "jobs.jsonl").write_text(json.dumps(job) + "\n")
    done = call("batch", "jobs.jsonl", "-o", "out", "--workers", "1", *more)
    assert done.status == 0, done.err
    assert call("decrypt", "out/1.eml", "--identity", "bob.key").status == 0


# --- what was announced ---------------------------------------------------------------------------


@pytest.mark.parametrize("trust", [(), ("--trust", "roots.pem")])
def test_a_signed_message_brings_what_its_signer_announced(
    call: Run, here: Path, announced: str, trust: tuple[str, ...]
) -> None:
    (here / "answer.eml").write_bytes(ANSWER)
    common = ("encrypt", "answer.eml", "--policy", "rfc8551", "-o", "x.eml")
    for name, cipher in ((announced, "aes256-cbc"), ("alice.pem", "aes256-gcm")):
        made = call(*common, "--recipient", name, *trust)
        assert made.status == 0, made.err
        assert layers_of(call, "x.eml")[0]["cipher"] == cipher


def test_a_contact_brings_what_it_announced(call: Run, here: Path, announced: str) -> None:
    (here / "answer.eml").write_bytes(ANSWER)
    assert call("contacts", "add", announced, "--trust", "roots.pem").status == 0
    found = told(call("contacts", "find", "alice@contoso.com", "--json"))
    assert found["capabilities"] == ["aes256-cbc"]
    assert found["announced"] is not None
    to_alice = ("--recipient", "alice@contoso.com", "--policy", "rfc8551", "-o", "x.eml")
    made = call("encrypt", "answer.eml", *to_alice)
    assert made.status == 0, made.err
    assert "announced no capabilities" not in made.err
    assert layers_of(call, "x.eml")[0]["cipher"] == "aes256-cbc"


@pytest.mark.parametrize("way", ["message", "contact", "file"])
def test_what_came_along_builds_the_path(call: Run, here: Path, way: str) -> None:
    """Below an intermediate: without it, --trust could not be kept."""
    root = CA("Root", key="p256")
    issuing = root.create_intermediate("Issuing", key="p256")
    alice = issuing.issue("alice@contoso.com", key="p256")
    (here / "signed-below.eml").write_bytes(sign(MESSAGE, signer=alice))
    (here / "below.pem").write_bytes(alice.to_pem())
    (here / "root.pem").write_bytes(root.trust_pem)
    (here / "answer.eml").write_bytes(ANSWER)
    name = "signed-below.eml" if way == "message" else "alice@contoso.com"
    if way != "message":
        source = "signed-below.eml" if way == "contact" else "below.pem"
        added = call("contacts", "add", source, "--trust", "root.pem")
        assert added.status == 0, added.err
    made = call("encrypt", "answer.eml", "--recipient", name, "--trust", "root.pem")
    assert made.status == 0, made.err
    if way != "message":
        path = contacts_file()
        job = {"key": "1", "verb": "encrypt", "message": "answer.eml", "recipient": name}
        (here / "jobs.jsonl").write_text(json.dumps({**job, "trust": "root.pem", "contacts": path}))
        done = call("batch", "jobs.jsonl", "-o", "out", "--workers", "1")
        assert done.status == 0, done.err
    sealing = ("seal", "answer.eml", "--signer", "bob.key", "--password-file", "password")
    for folder in (("-o", "sealed.eml"), ("--split-bcc", "copies")):
        under = ("--recipient", name, "--trust", "root.pem", "--no-encrypt-to-self")
        sealed = call(*sealing, *under, *folder)
        assert sealed.status == 0, sealed.err
    refused = call("encrypt", "answer.eml", "--recipient", name, "--trust", "roots.pem")
    assert refused.status == 1
    assert refused.out == b""


def test_a_changed_message_adds_nobody(call: Run, here: Path) -> None:
    for trust in ((), ("--trust",), ("--trust", "roots.pem")):
        refused = call("contacts", "add", "changed.eml", *trust)
        assert refused.status in (1, 2), refused.err
    assert told(call("contacts", "list", "--json"))["contacts"] == []


def test_without_roots_a_good_signature_adds_its_signer_unbelieved(
    call: Run, here: Path, announced: str
) -> None:
    added = told(call("contacts", "add", announced, "--json"))["added"]
    assert [(one["email"], one["believed"]) for one in added] == [("alice@contoso.com", False)]
    known = told(call("contacts", "find", "alice@contoso.com", "--json"))
    assert known["capabilities"] == ["aes256-cbc"]
    assert not known["believed"]
    assert call("contacts", "forget", "alice@contoso.com").status == 0
    raw = (here / announced).read_bytes()
    (here / "forged.eml").write_bytes(raw.replace(b"alice@contoso.com", b"eve@contoso.com", 1))
    for trust in ((), ("--trust",), ("--trust", "roots.pem")):
        assert call("contacts", "add", "forged.eml", *trust).status in (1, 2)
    assert told(call("contacts", "list", "--json"))["contacts"] == []


def test_what_is_revoked_is_not_found(call: Run, here: Path) -> None:
    now = datetime.now(UTC)
    ca = CA("Root", key="p256", at=now - timedelta(days=9))
    bob = ca.issue("bob@contoso.com", key="p256", at=now - timedelta(days=2))
    (here / "b.pem").write_bytes(bob.to_pem())
    (here / "root.pem").write_bytes(ca.trust_pem)
    (here / "a.crl").write_bytes(revoking(ca, now, bob.certificate))
    assert call("contacts", "add", "b.pem", "--trust").status == 0
    find = ("contacts", "find", "bob@contoso.com", "--json")
    assert call(*find, "--trust", "root.pem").status == 0
    refused = call(*find, "--trust", "root.pem", "--crl", "a.crl")
    assert refused.status == 1
    assert [one["code"] for one in json.loads(refused.out)["dropped"]] == ["pki.revocation.revoked"]
    assert call(*find, "--crl", "a.crl").status == 2
    # and is remembered: nothing is encrypted to it, and the list says so
    assert call(*find).status == 1
    sealing = ("encrypt", "m.eml", "--recipient", "bob@contoso.com", "-o", "x.eml")
    for trust in ((), ("--trust", "root.pem")):
        sealed = call(*sealing, *trust)
        assert sealed.status == 1
        assert "was found to be revoked" in sealed.err
    [entry] = told(call("contacts", "list", "--json"))["contacts"]
    assert entry["revoked"]
    assert b"\trevoked\t" in call("contacts", "list").out


def test_what_validates_now_is_said_to_be_believed(call: Run, here: Path) -> None:
    assert call("contacts", "add", "bob.pem").status == 0
    find = ("contacts", "find", "bob@contoso.com")
    assert b"\tnot believed\t" in call(*find).out
    assert b"\tbelieved\t" in call(*find, "--trust", "roots.pem").out
    assert json.loads(call(*find, "--trust", "roots.pem", "--json").out)["believed"] is True


@pytest.mark.parametrize("wrong", ["alice.p12", "m.eml", "alice.key"])
def test_a_file_without_certificates_is_named(call: Run, here: Path, wrong: str) -> None:
    (here / "alice.key").write_bytes((here / "alice.key").read_bytes().partition(b"-----END")[0])
    result = call("contacts", "add", wrong)
    assert result.status == 2
    assert wrong in result.err


# --- over Graph -----------------------------------------------------------------------------------


def setting(tag: int, data: bytes) -> bytes:
    return tag.to_bytes(2, "little") + (len(data) + 4).to_bytes(2, "little") + data


@pytest.fixture
def mailbox(here: Path, alice: Identity, announced: str) -> tuple[str, ...]:
    """Bob's: signed mail of Alice, and much that nobody is to be taken from."""
    bob = Contact.load(here / "bob.pem")
    stranger = CA("Test Root", key="p256").issue("carol@contoso.com", key="p256")
    carol = Contact.load(here / "carol.pem").certificate
    with Emulator(data=here / "mail.db", mailboxes=["bob@contoso.com"]) as emulator:
        box = emulator.mailbox("bob@contoso.com")
        for raw in (
            MESSAGE,
            (here / announced).read_bytes(),
            (here / "changed.eml").read_bytes(),
            seal(MESSAGE, signer=alice, recipients=[bob]),
            sign(MESSAGE.replace(b"alice", b"carol"), signer=stranger),
            (here / announced).read_bytes().replace(b"alice@contoso.com", b"eve@contoso.com", 1),
        ):
            box.put(raw)
        values = [
            setting(1, b"\1\0") + setting(KEY_EXCHANGE_CERTIFICATE, carol.der),
            setting(KEY_EXCHANGE_CERTIFICATE, stranger.certificate.der),
            setting(CHAIN_CERTIFICATE, carol.der),
            bob.certificate.der,
            b"\x30\x82\xff\xff",
            b"\0" * 1000,
            b"",
        ]
        name = "BinaryArray 0x3A70"
        box.put_contact("Carol", "Carol@contoso.com", "c@contoso.com", extended={name: values})
        box.put_contact("Nobody", extended={name: values})
    return ("--emulator-data", "mail.db", "--user", "bob@contoso.com", "--trust", "roots.pem")


def test_a_mailbox_gives_those_who_signed(call: Run, here: Path, mailbox: tuple[str, ...]) -> None:
    found = told(call("contacts", "harvest", "--json", *mailbox))
    assert found["read"] == 6
    assert not found["more"]
    assert [one["email"] for one in found["harvested"]] == ["alice@contoso.com"]
    assert found["harvested"][0]["believed"]
    assert found["harvested"][0]["origin"] == "signed mail"
    assert len(found["skipped"]) == 3
    (alice,) = told(call("contacts", "list", "--json"))["contacts"]
    assert alice["email"] == "alice@contoso.com"
    known = told(call("contacts", "find", "alice@contoso.com", "--json"))
    assert known["capabilities"] == ["aes256-cbc"]


def test_with_a_key_sealed_mail_counts(call: Run, here: Path, mailbox: tuple[str, ...]) -> None:
    opening = ("--identity", "bob.p12", "--password-file", "password")
    found = told(call("contacts", "harvest", "--json", *opening, *mailbox, "--top", "4"))
    assert found["more"]
    assert [one["email"] for one in found["harvested"]] == ["alice@contoso.com"]


def test_outlooks_contacts_give_what_validates(
    call: Run, here: Path, mailbox: tuple[str, ...]
) -> None:
    done = call("contacts", "harvest", "--outlook-contacts", "--json", *mailbox)
    found = told(done)
    taken = {one["email"]: one["origin"] for one in found["harvested"]}
    assert taken == {"alice@contoso.com": "signed mail", "carol@contoso.com": "Outlook contact"}
    carol = Contact.load(here / "carol.pem").certificate
    with Contacts(contacts_file() or "") as book:
        assert [one.certificate for one in book.certificates("carol@contoso.com")] == [carol]
        assert book.certificates("bob@contoso.com") == ()
    codes = [one["code"] for one in found["skipped"] if one["code"]]
    assert set(codes) >= {"pki.certificate.malformed", "pki.address.mismatch"}
    assert codes.count("pki.certificate.malformed") == 8  # four values, of two contacts
    assert any(one.startswith("pki.path.") for one in codes)


def test_a_message_that_is_too_large_is_passed_over(
    call: Run, here: Path, mailbox: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smime_graph.cli.contacts._LARGEST_MESSAGE", 500)
    found = told(call("contacts", "harvest", "--json", *mailbox))
    assert found["harvested"] == []
    assert found["read"] == 1
    assert len(found["skipped"]) == 5


def test_a_mailbox_that_cannot_be_read_is_an_error_of_graphs(call: Run, here: Path) -> None:
    refused = call(
        *("contacts", "harvest", "--trust", "roots.pem", "--folder", "nowhere"),
        *("--emulator-data", "mail.db", "--user", "bob@contoso.com"),
    )
    assert refused.status == 3


def test_a_harvest_that_takes_nobody_says_why(call: Run, here: Path) -> None:
    seal = ("--signer", "alice.key", "--recipient", "bob.pem")
    box = ("--emulator-data", "box.db", "--user", "bob@contoso.com")
    asked = ("contacts", "harvest", *box, "--trust", "roots.pem")
    assert call("send", "m.eml", "--emulator-data", "box.db").status == 0
    assert "note: nobody was taken from what was read: 1 messages" in call(*asked).err
    assert call("send", "m.eml", *seal, "--emulator-data", "box.db").status == 0
    shown = call(*asked)
    assert "note: 1 message is encrypted, and no key is given" in shown.err
    assert "hint: --identity FILE opens them" in shown.err
    assert call(*asked, "--identity", "bob.key").out.startswith(b"alice@contoso.com\t")


def test_a_harvest_wants_roots(call: Run, here: Path) -> None:
    refused = call("contacts", "harvest", "--emulator")
    assert refused.status == 2
    assert "--trust" in refused.err
    assert not (here / "home").exists()


def test_help_and_a_verb_without_its_verb(call: Run) -> None:
    assert call("contacts").status == 2
    for verb in ("add", "list", "find", "forget", "harvest"):
        assert call("contacts", verb, "--help").status == 0
