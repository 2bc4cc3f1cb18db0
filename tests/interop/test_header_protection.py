"""Header protection (RFC 9788) with another implementation of it, both ways.

It signs or encrypts, and never one inside the other: the sealed message is OpenSSL's to open.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smime_graph import EXCHANGE, RFC_8551, Contact, Opened, encrypt, sign, unseal
from smime_graph.errors import SignatureInvalid
from smime_graph.harness.peers.drive import Missing, Refused, Resident, word

from .conftest import flipped
from .peers.node import BUNDLED
from .people import People, Person

pytestmark = pytest.mark.slow

_PEER = Path(__file__).parent / "peers" / "blamejs.mjs"
_MODULE = Path(__file__).parent / "node_modules" / "@blamejs" / "pki"
FIELDS = {
    "From": "Alice <{}>",
    "To": "Bob <bob@contoso.com>",
    "Subject": "Figures",
    "Comments": "of the third quarter",
    "Message-ID": "<figures@contoso.com>",
    "Date": "Fri, 27 Nov 2026 02:00:00 +0000",
}
ANYBODY = {"accept_unsigned": True, "every_recipient_must_read": False}


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resident]:
    if not _MODULE.exists():
        pytest.skip(
            "npm's registry, as it is seen from here, has no @blamejs/pki (scripts/install asks it)"
        )
    node = str(BUNDLED) if BUNDLED.exists() else shutil.which("node") or "node"
    try:
        resident = Resident.start([node, _PEER], tmp_path_factory.mktemp("blamejs"))
    except (Missing, OSError) as error:
        pytest.skip(f"@blamejs/pki does not run: {error}")
    yield resident
    resident.close()


def _fields(sender: Person) -> dict[str, str]:
    return {name: value.format(sender.email) for name, value in FIELDS.items()}


def _message(sender: Person) -> bytes:
    header = "".join(f"{name}: {value}\r\n" for name, value in _fields(sender).items())
    return header.encode() + b"\r\nthe figures\r\n"


def _asked(sender: Person) -> str:
    pairs = [{"name": name, "value": value} for name, value in _fields(sender).items()]
    return word(json.dumps(pairs).encode())


def _check(opened: Opened, sender: Person, hidden: set[str]) -> None:
    """Our reading: every field as it was given, and whether it was hidden."""
    assert opened.protected is not None
    assert {one.name: one.value for one in opened.protected.fields} == _fields(sender)
    states = {one.name: one.state for one in opened.report.header_fields}
    assert {name for name, state in states.items() if "encrypted" in state} == hidden
    assert set(opened.report.outer_headers_differ) == hidden
    assert opened.message["Subject"] == "Figures"
    assert not opened.report.has("smime.outer-header")


@pytest.mark.parametrize("detached", [True, False], ids=["clear", "opaque"])
@pytest.mark.parametrize("kind", ["rsa-2048", "p256", "ed25519"])
def test_the_fields_that_we_sign_are_read(
    peer: Resident, people: People, kind: str, detached: bool
) -> None:
    signer = people.of(kind)
    signed = sign(_message(signer), signer=signer.identity, detached=detached, at=people.now)
    root = word(people.ca.certificate.der)
    said: dict[str, Any] = json.loads(peer.ask("verify", word(signed), root))
    assert (said["valid"], said["trusted"]) == (True, True)
    assert said["fields"] == _fields(signer)
    assert (said["protection"]["mode"], said["protection"]["fromMismatch"]) == ("clear", False)
    if detached:
        head, _, rest = signed.partition(b"\r\n\r\n")
        changed = head + b"\r\n\r\n" + flipped(rest, b"Figures")
        assert json.loads(peer.ask("verify", word(changed), root))["valid"] is False


def test_the_fields_that_we_encrypt_are_read(peer: Resident, people: People) -> None:
    sender, reader = people.of("rsa-2048"), people.of("p256")
    encrypted = encrypt(
        _message(sender),
        recipients=[Contact(reader.certificate)],
        header_confidentiality="baseline",
        policy=RFC_8551.but("anybody", **ANYBODY),
        at=people.now,
    )
    key = (word(reader.certificate.der), word(reader.pkcs8))
    said: dict[str, Any] = json.loads(peer.ask("decrypt", word(encrypted), *key))
    assert said["fields"] == _fields(sender)
    assert said["protection"]["mode"] == "cipher"
    assert set(said["protection"]["confidential"]) == {"Subject", "Comments"}
    other = people.of("p384")
    with pytest.raises(Refused):
        peer.ask("decrypt", word(encrypted), word(other.certificate.der), word(other.pkcs8))


@pytest.mark.parametrize("form", ["multipart", "pkcs7-mime"])
@pytest.mark.parametrize("hcp", ["hcp_baseline", "hcp_no_confidentiality"])
def test_the_fields_that_it_signs_are_read_by_us(
    peer: Resident, people: People, hcp: str, form: str
) -> None:
    signer = people.of("rsa-2048")
    key = (word(signer.certificate.der), word(signer.pkcs8))
    signed = peer.ask("sign", form, hcp, _asked(signer), word(b"the figures\r\n"), *key)
    opened = unseal(signed, trust=people.trust, at=people.now)
    assert opened.signer is not None
    assert opened.signer.email == signer.email
    assert opened.report.header_protection == "clear"
    assert {*opened.signer.covers_headers} == {*FIELDS}
    _check(opened, signer, set())
    if form == "multipart":
        head, _, rest = signed.partition(b"\r\n\r\n")
        changed = head + b"\r\n\r\n" + flipped(rest, b"Figures")
        with pytest.raises(SignatureInvalid):
            unseal(changed, trust=people.trust, at=people.now)


@pytest.mark.parametrize("cipher", ["aes-256-gcm", "aes-128-cbc"])
@pytest.mark.parametrize(
    ("hcp", "hidden"),
    [("hcp_baseline", {"Subject", "Comments"}), ("hcp_no_confidentiality", set())],
)
def test_the_fields_that_it_encrypts_are_read_by_us(
    peer: Resident, people: People, hcp: str, hidden: set[str], cipher: str
) -> None:
    sender, reader = people.of("rsa-2048"), people.of("p256")
    content, certificate = word(b"the figures\r\n"), word(reader.certificate.der)
    encrypted = peer.ask("encrypt", cipher, hcp, _asked(sender), content, certificate)
    opened = unseal(
        encrypted,
        identities=[reader.identity],
        trust=people.trust,
        policy=EXCHANGE.but("anybody", **ANYBODY),
        at=people.now,
    )
    assert opened.report.header_protection == "cipher"
    _check(opened, sender, hidden)
