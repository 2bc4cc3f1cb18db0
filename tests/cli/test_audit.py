"""harness audit: a folder, an address book and a mailbox."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from smime_graph import EXCHANGE, Contact
from smime_graph.algorithms import ContentCipher, by_name
from smime_graph.cms import enveloped_data
from smime_graph.emulator import Emulator
from smime_graph.smime.wrap import ENVELOPED, pkcs7_mime

from .conftest import Result, Run

pytestmark = pytest.mark.usefixtures("here")


TEXT = b"Content-Type: text/plain\r\n\r\nthe figures\r\n"


def told(ran: Result, *, status: int = 0) -> Any:
    assert ran.status == status, ran.err
    return json.loads(ran.out)


def states(found: Any) -> dict[str, str]:
    return {one["email"]: one["state"] for one in found["addresses"]}


@pytest.fixture
def folder(here: Path) -> Path:
    made = here / "store"
    made.mkdir()
    for name in ("bob.pem", "carol.pem", "expired.pem", "signs-only.pem", "roots.pem"):
        shutil.copy(here / name, made)
    (made / "notes.txt").write_text("nothing of that kind")
    return made


def test_a_folder_is_looked_through(call: Run, folder: Path, here: Path) -> None:
    found = told(call("harness", "audit", "store", "--json"))
    assert states(found) == {"bob@contoso.com": "good", "carol@contoso.com": "good"}
    bob = found["addresses"][0]
    assert sorted(one["code"] for one in bob["not_used"]) == [
        "pki.path.expired",
        "pki.usage.key-usage",
    ]
    assert bob["certificate"]["origin"] == "file bob.pem"
    assert found["counts"] == {"good": 2, "expiring": 0, "unusable": 0}
    ran = call("harness", "audit", "store", "--expiring", "1000d")
    assert ran.status == 1
    rows = [line.split("\t") for line in ran.out.decode().splitlines()]
    assert [row[:2] for row in rows] == [
        ["bob@contoso.com", "expiring"],
        ["carol@contoso.com", "expiring"],
    ]
    assert rows[0][3].startswith("ask for a new certificate: this one ends on ")
    assert "notes.txt is left out" in ran.err
    assert "2 addresses, 2 with something to do" in ran.err


def test_signed_messages_in_a_folder_count_and_roots_judge(
    call: Run, folder: Path, here: Path
) -> None:
    shutil.copy(here / "signed.eml", folder)
    for roots in ((), ("--trust", "roots.pem")):
        found = told(call("harness", "audit", "store", "--json", *roots))
        assert states(found)["alice@contoso.com"] == "good"
        assert found["addresses"][0]["outlook"]["origin"] == "signed mail signed.eml"
    call("ca", "init", "other", "--key", "p256")
    found = told(call("harness", "audit", "store", "--json", "--trust", "other/ca.pem"), status=1)
    assert set(states(found).values()) == {"unusable"}
    assert "alice@contoso.com" not in states(found)
    (to_do,) = found["addresses"][-1]["to_do"]
    assert to_do.startswith("ask for another certificate: ")


def test_an_address_book_is_looked_through_and_left_as_it_is(call: Run, here: Path) -> None:
    assert (
        call("contacts", "add", "bob.pem", "expired.pem", "--trust", "--contacts", "b").status == 0
    )
    before = (here / "b").read_bytes()
    assert states(told(call("harness", "audit", "b", "--json"))) == {"bob@contoso.com": "good"}
    assert (here / "b").read_bytes() == before
    for name in ("m.eml", "not-there"):
        ran = call("harness", "audit", name)
        assert ran.status == 2
        assert name in ran.err
    assert not (here / "not-there").exists()


def test_a_mailbox_is_looked_through(call: Run, here: Path) -> None:
    with Emulator(data=here / "mail.db", mailboxes=["bob@contoso.com"]) as emulator:
        emulator.mailbox("bob@contoso.com").put((here / "signed.eml").read_bytes())
        emulator.mailbox("bob@contoso.com").put((here / "changed.eml").read_bytes())
    box = ("--emulator-data", "mail.db", "--user", "bob@contoso.com", "--trust", "roots.pem")
    found = told(call("harness", "audit", "--json", *box))
    assert states(found) == {"alice@contoso.com": "good"}
    assert found["addresses"][0]["certificate"]["origin"] == "signed mail"
    soon = call("harness", "audit", *box, "--expiring", "1000d")
    assert soon.status == 1
    assert "alice@contoso.com\texpiring" in soon.out.decode()
    refused = call("harness", "audit", "--emulator")
    assert refused.status == 2
    assert "nobody is believed" in refused.err


def test_rotated_keys_of_a_folder_open_old_and_new_mail(call: Run, here: Path) -> None:
    """The key of a certificate that has expired is one of those that are tried."""
    (here / "keys").mkdir()
    for name in ("alice.key", "alice.pem", "alice-expired.key", "alice-expired.pem"):
        shutil.copy(here / name, here / "keys")
    cipher = by_name(ContentCipher, EXCHANGE.ciphers[0])
    for name in ("alice-expired", "alice"):
        contact = Contact.load(here / f"{name}.pem")
        der = enveloped_data.encrypt(TEXT, [contact], cipher=cipher, policy=EXCHANGE)
        (here / "one.eml").write_bytes(b"From: bob@contoso.com\r\n" + pkcs7_mime(ENVELOPED, der))
        options = ("--identity", "keys", "--password-file", "password")
        opened = call("decrypt", "one.eml", *options)
        assert opened.status == 0, opened.err
        assert opened.out.endswith(b"the figures\r\n")
