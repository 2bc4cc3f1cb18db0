"""Valid messages and key files, changed with knowledge of what they are, through every reader.

A short form is in the suite (`test_fuzz`); the long one is `scripts/prove fuzz`, and with
`--guided` that of atheris (pip install atheris), which changes octets by what code they reach, and
begins with the corpora among the vectors as well, where those are there. Whatever comes out
of a reading function is a value or one of our errors, within bounded processor time (and memory, in
the long form); a message that is accepted after a change has the content that was signed. Inputs
that break this are written to the folder `.fuzz`, with the seed that makes them again.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import random
import re
import resource
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pybase64

from smime_graph import (
    ARCHIVE,
    CA,
    EXCHANGE,
    RFC_8551,
    Contact,
    Identity,
    ReceiptRequest,
    SmimeGraphError,
    TrustStore,
    decrypt,
    encrypt,
    examine,
    inspect,
    oids,
    seal,
    sign,
    unseal,
    verify,
)
from smime_graph.asn1 import ber
from smime_graph.batch.jobs import read_jobs
from smime_graph.cms import enveloped_data, signature_check, signed_data
from smime_graph.cms.recipients.shared_secret import Password, SharedKey
from smime_graph.harness.forgeries.craft import add_unsigned, countersign
from smime_graph.pki.address import addresses, parse_header_addresses
from smime_graph.pki.identity import load_identities, read_certificates
from smime_graph.pki.outlook import read_contact_certificates
from smime_graph.pki.validate import validate
from smime_graph.smime.answer import (
    answer,
    reference_hcp,
    tells_what_was_hidden,
    unopened_hcp,
)
from smime_graph.smime.canonical import canonical_entity
from smime_graph.smime.entity import Entity
from smime_graph.smime.examine import decompress
from smime_graph.smime.lines import crlf
from smime_graph.smime.receipts import examine_receipt, receipt, receipt_recipients
from smime_graph.smime.wrap import SIGNED, certs_only, compress, pkcs7_mime
from smime_graph.x509.certificate import Certificate

from .measured import slowness

SECONDS = 1.0  # of processor time for one call, on a usual machine (`measured.slowness`)
LARGEST = 1_000_000  # octets of an input
MEMORY = 1500 << 20  # of address space, in the long form

HEAD = (
    b"From: Alice <alice@contoso.com>\r\nTo: bob@contoso.com, Carol <carol@contoso.com>\r\n"
    b"Cc: dave@contoso.com\r\nSubject: =?utf-8?q?Figures_=C3=A4?=\r\n"
    b"Message-ID: <1@contoso.com>\r\n"
    b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nReferences: <0@contoso.com>\r\nMIME-Version: 1.0\r\n"
)
PLAIN = b"Content-Type: text/plain; charset=utf-8\r\n\r\nthe figures\r\n"
MIXED = (
    b'Content-Type: multipart/mixed; boundary="outer"\r\n\r\nnobody reads this\r\n--outer\r\n'
    b"Content-Type: multipart/alternative; boundary=inner\r\n\r\n--inner\r\n"
    b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nfig=3Dures\r\n"
    b"--inner\r\nContent-Type: text/html\r\n\r\n<p>figures</p>\r\n--inner--\r\n--outer\r\n"
    b"Content-Type: message/rfc822\r\n\r\nFrom: x@y\r\nSubject: old\r\n\r\nold\r\n--outer\r\n"
    b"Content-Type: application/pdf; name*=utf-8''%C3%A4.pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\nJVBERi0=\r\n"
    b"--outer--\r\n"
)
QUIET = EXCHANGE.but("quiet", sender_must_match=False, every_recipient_must_read=False)


@dataclass(frozen=True, slots=True)
class World:
    """Whose keys there are, what was made with them, and every content that was signed."""

    ca: CA
    alice: Identity
    bob: Identity
    keys: tuple[Any, ...]
    trust: TrustStore
    messages: tuple[bytes, ...]
    files: tuple[bytes, ...]
    signed: frozenset[bytes]

    @classmethod
    def make(cls) -> World:
        ca = CA("fuzz", key="p256")
        below = ca.create_intermediate("below", key="p256")
        alice = below.issue("alice@contoso.com", key="p256")
        rsa = ca.issue("alice@contoso.com")
        bob = ca.issue("bob@contoso.com", "b@contoso.com", key="p256")
        carol = ca.issue("carol@contoso.com", key="ed25519")
        dave = ca.issue("dave@contoso.com")
        password = Password("a password", iterations=10)
        shared = SharedKey(bytes(16), identifier=b"ours")
        readers: list[Any] = [Contact(one.certificate) for one in (bob, dave, rsa)]
        assert carol.encryption is not None
        readers.append(Contact(carol.encryption.certificate))
        sent = [HEAD + PLAIN, HEAD + MIXED]
        request = ReceiptRequest(("alice@contoso.com",))
        clear = sign(sent[0], signer=alice, receipt_request=request)
        gcm = RFC_8551.but("gcm", sender_must_match=False, every_recipient_must_read=False)
        made = [
            *sent,
            clear,
            sign(sent[1], signer=[rsa, alice]),
            sign(sent[0], signer=alice, detached=False, sid="ski"),
            encrypt(sent[0], recipients=readers, policy=QUIET),
            encrypt(sent[1], recipients=[*readers, password, shared], policy=gcm),
            seal(sent[0], signer=alice, recipients=readers, policy=QUIET),
            seal(sent[1], signer=alice, recipients=readers, policy=gcm.but("z", compress=True)),
            sign(
                seal(sent[0], signer=alice, recipients=readers, policy=QUIET),
                signer=alice,
                policy=QUIET,
            ),
            compress(sent[1]),
            HEAD + certs_only([alice.certificate, *alice.chain]),
        ]
        trust = TrustStore.from_pem(ca.trust_pem)
        opened = verify(clear, trust=trust)
        answered = receipt(opened, signer=bob)
        assert answered is not None
        made.append(answered)
        made.append(_beside(alice, bob))
        keys = tuple(key for one in (alice, rsa, bob, carol, dave) for key in one.identities)
        files = (
            alice.to_pem(),
            rsa.to_pem("a password"),
            bob.to_pkcs12("a password"),
            bob.to_pkcs12("a password", encryption="3des"),
            ca.trust_pem,
            alice.certificate.der,
            carol.certificate.der,
            signed_data.carry([alice.certificate, *alice.chain]),
        )
        world = cls(
            ca, alice, bob, (*keys, password, shared), trust, tuple(made), files, frozenset()
        )
        signed = {_content(raw, world) for raw in made}
        return cls(
            ca,
            alice,
            bob,
            world.keys,
            trust,
            tuple(made),
            files,
            frozenset(one for one in signed if one is not None),
        )


def _beside(alice: Identity, bob: Identity) -> bytes:
    """A message with a countersignature, and a timestamp that is none."""
    der, _ = signed_data.sign(PLAIN, [alice], detached=False, policy=EXCHANGE, at=datetime.now(UTC))
    der = countersign(der, signer=bob, policy=EXCHANGE, at=datetime.now(UTC))
    der = add_unsigned(der, oids.TIMESTAMP_TOKEN, der)
    return HEAD + pkcs7_mime(SIGNED, der)


def _content(raw: bytes, world: World) -> bytes | None:
    try:
        return crlf(unseal(raw, identities=world.keys, trust=world.trust).content)
    except SmimeGraphError:
        return None


# --- changes ------------------------------------------------------------------------------


def octets(raw: bytes, rng: random.Random) -> bytes:
    """What knows of no structure: bits, cuts, repetitions."""
    if not raw:
        return bytes((rng.randrange(256),))
    at = rng.randrange(len(raw))
    length = rng.choice((1, 2, 4, 16, 100, len(raw) // 2))
    piece = raw[at : at + length]
    way = rng.randrange(6)
    if way == 0:
        return raw[:at] + bytes((raw[at] ^ (1 << rng.randrange(8)),)) + raw[at + 1 :]
    if way == 1:
        return raw[:at] + raw[at + length :]
    if way == 2:
        return raw[:at] + piece * rng.choice((2, 3, 50)) + raw[at + length :]
    if way == 3:
        return raw[:at] + bytes(rng.randrange(256) for _ in range(min(length, 16))) + raw[at:]
    if way == 4:
        to = rng.randrange(len(raw))
        return raw[:to] + piece + raw[to:]
    return raw[:at]


@dataclass(slots=True)
class Tree:
    """One element of BER that can be changed and written again."""

    tag: int
    value: bytes = b""
    inside: list[Tree] = field(default_factory=list)
    length: bytes | None = None  # as it is to be written, whatever is right

    @classmethod
    def read(cls, node: ber.Node, depth: int = 0) -> Tree:
        if node.tag & 0x20 and depth < 24:
            try:
                return cls(node.tag & 0xFF, inside=[cls.read(one, depth + 1) for one in node])
            except SmimeGraphError:
                pass
        return cls(node.tag & 0xFF, node.contents)

    def write(self) -> bytes:
        value = b"".join(one.write() for one in self.inside) if self.inside else self.value
        if self.length is not None:
            end = b"\0\0" if self.length == b"\x80" else b""
            return bytes((self.tag,)) + self.length + value + end
        return ber.tlv(self.tag, value)

    def all(self) -> Iterator[tuple[Tree | None, Tree]]:
        """Every element with the one around it."""
        pending: list[tuple[Tree | None, Tree]] = [(None, self)]
        while pending:
            pair = pending.pop()
            yield pair
            pending += [(pair[1], one) for one in pair[1].inside]


_LENGTHS = (
    b"\x80",
    b"\x84\xff\xff\xff\xff",
    b"\x88\x7f" + b"\xff" * 7,
    b"\x00",
    b"\x01",
    b"\x7f",
    b"\x81\x05",
    b"\x82\x00\x05",
    b"\xff",
)


def elements(der: bytes, rng: random.Random) -> bytes:
    """What knows of tags and lengths: elements left out, doubled, moved, renamed, misnumbered."""
    try:
        tree = Tree.read(ber.read(der, "input", tag=der[0] if der else 0))
    except SmimeGraphError:
        return octets(der, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        pairs = list(tree.all())
        around, one = rng.choice(pairs)
        _, other = rng.choice(pairs)
        way = rng.randrange(11)
        if around is not None and way == 0:
            around.inside.remove(one)
        elif around is not None and way == 1:
            around.inside += [one] * rng.choice((1, 2, 40))
        elif around is not None and way == 2:
            rng.shuffle(around.inside)
        elif way == 3:
            one.tag = rng.choice(
                (*range(1, 32), 0x30, 0x31, *range(0x80, 0x85), *range(0xA0, 0xA5))
            )
        elif way == 4:
            one.length = rng.choice(_LENGTHS)
        elif way == 5 and not one.inside:
            one.value = octets(one.value, rng)
        elif way == 6 and one.tag == ber.INTEGER:
            one.value = rng.choice(
                (
                    b"",
                    b"\0",
                    b"\xff",
                    b"\x7f" * 4,
                    b"\x7f" + b"\xff" * 40,
                    b"\0\x01",
                    b"\x80" * 2000,
                )
            )
        elif way == 7 and one.tag == ber.OBJECT_IDENTIFIER:
            value = rng.choice(
                [v for v in vars(oids).values() if isinstance(v, str) and v[:1].isdigit()]
            )
            one.value = ber.read(ber.oid(value), "oid", tag=ber.OBJECT_IDENTIFIER).contents
        elif way == 8 and len(list(other.all())) < 300:
            one.tag, one.value, one.inside = other.tag, other.value, _copy(other).inside
        elif way == 9 and one.tag == ber.OCTET_STRING and one.value:
            half = len(one.value) // 2
            one.tag |= 0x20
            one.inside = [
                Tree(ber.OCTET_STRING, one.value[:half]),
                Tree(ber.OCTET_STRING, one.value[half:]),
            ]
        elif way == 10 and one.inside:
            one.length = b"\x80"
    return tree.write()


def _copy(tree: Tree) -> Tree:
    return Tree(tree.tag, tree.value, [_copy(one) for one in tree.inside], tree.length)


_NAMES = (b"From", b"Sender", b"To", b"Cc", b"Reply-To", b"Subject", b"Message-ID", b"References")
_ODD_NAMES = (
    b"From\x0b",
    b"\xef\xbb\xbfFrom",
    b"Fr\0om",
    b"From ",
    b"From\xc2\xa0",
    b"",
    b"Resent-From",
)
_ODD_VALUES = (
    b"mallory@contoso.com",
    b"alice@contoso.com, mallory@contoso.com",
    b'"alice@contoso.com" <mallory@contoso.com>',
    b"=?utf-8?b?YWxpY2VAY29udG9zby5jb20=?= <mallory@contoso.com>",
    b"undisclosed-recipients:;",
    b"a:b:;c",
    b"(" * 50,
    b"a@" + b"b" * 300,
    b"\xff\xfe",
    b"=?utf-8?q?=FF?=",
    b"<>",
    b"a@b" * 400,
    b"x" * 1200,
    b"\r\n\r\n ",
    b"multipart/signed; protocol=application/pkcs7-signature; boundary=x; boundary=outer",
    b"application/pkcs7-mime; smime-type=enveloped-data",
    b"message/rfc822",
    b'multipart/mixed; boundary=""',
    b"multipart/mixed; boundary*0=ou; boundary*1=ter; boundary*0*=utf-8''%zz",
)


def header(raw: bytes, rng: random.Random) -> bytes:
    """What knows of header fields: left out, doubled, moved, renamed, folded, with odd values."""
    head, blank, body = raw.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(fields))
        name, colon, value = fields[at].partition(b":")
        way = rng.randrange(9)
        if way == 0 and len(fields) > 1:
            del fields[at]
        elif way == 1:
            fields.insert(rng.randrange(len(fields) + 1), fields[at])
        elif way == 2:
            rng.shuffle(fields)
        elif way == 3:
            new = rng.choice((*_NAMES, *_ODD_NAMES))
            fields.insert(rng.randrange(len(fields) + 1), new + b": " + rng.choice(_ODD_VALUES))
        elif way == 4:
            fields[at] = name + colon + b" " + rng.choice(_ODD_VALUES)
        elif way == 5:
            fields[at] = name + colon + octets(value, rng)
        elif way == 6:
            fields[at] = octets(name, rng) + colon + value
        elif way == 7:
            fields[at] = re.sub(rb"; ?", b";\r\n\t", fields[at])
        else:
            fields.append(
                b"Content-Transfer-Encoding: "
                + rng.choice(
                    (b"base64", b"8bit", b"binary", b"quoted-printable", b"x-uuencode", b"\xff")
                )
            )
    joined = b"\r\n".join(fields) + blank + body
    return joined.replace(b"\r\n", rng.choice((b"\n", b"\r"))) if rng.random() < 0.1 else joined


def boundaries(raw: bytes, rng: random.Random) -> bytes:
    """What knows of multiparts: delimiters left out, doubled, longer, moved, closed too soon."""
    lines = raw.split(b"\r\n")
    places = [n for n, line in enumerate(lines) if line.startswith(b"--")]
    if not places:
        return header(raw, rng)
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.choice(places)
        if at >= len(lines):
            continue
        way = rng.randrange(8)
        if way == 0:
            del lines[at]
        elif way == 1:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        elif way == 2:
            lines[at] += b"--"
        elif way == 3:
            lines[at] += rng.choice((b"x", b" \t", b"-", b"\0"))
        elif way == 4:
            lines[at] = lines[at][:-1]
        elif way == 5:
            lines[at : at + 1] = [lines[at], b"", lines[at]]
        elif way == 6:
            lines.insert(at, b"")
        else:
            other = rng.choice(places)
            if other < len(lines):
                lines[at], lines[other] = lines[other], lines[at]
    return b"\r\n".join(lines)


_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{60,76}\r\n)*[A-Za-z0-9+/]{4,76}={0,2}(?=\r\n)")


def cms(raw: bytes, rng: random.Random) -> bytes:
    """The CMS in a message, changed as ASN.1."""
    found = [
        m for m in _BASE64.finditer(raw) if m[0].startswith((b"MI", b"MH")) and len(m[0]) > 200
    ]
    if not found:
        return boundaries(raw, rng)
    match = rng.choice(found)
    try:
        der = pybase64.b64decode(match[0].replace(b"\r\n", b""), validate=True)
    except ValueError:
        return octets(raw, rng)
    changed = elements(der, rng)
    text = pybase64.encodebytes(changed).replace(b"\n", b"\r\n")
    return raw[: match.start()] + text + raw[match.end() :]


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    octets,
    header,
    boundaries,
    cms,
    cms,
    cms,
)


def changed(raw: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        raw = rng.choice(CHANGES)(raw, rng)
    return grown(raw, rng) if rng.random() < 0.05 else raw


def grown(raw: bytes, rng: random.Random) -> bytes:
    """Up to 1 MB of it: a line, some lines, a piece or an element of the CMS, over and over."""
    size = int(LARGEST * 10 ** -rng.uniform(0, 1.5))
    found = _BASE64.search(raw)
    if found is not None and rng.random() < 0.5:
        try:
            der = pybase64.b64decode(found[0].replace(b"\r\n", b""), validate=True)
            tree = Tree.read(ber.read(der, "input", tag=der[0]))
        except (ValueError, SmimeGraphError):
            return raw
        around, one = rng.choice(list(tree.all()))
        count = max(1, min(size * 3 // 4 // max(1, len(one.write())), 100_000))
        if around is None or not one.inside:
            one.value *= count
        else:
            around.inside += [one] * count
        text = pybase64.encodebytes(tree.write()).replace(b"\n", b"\r\n")
        return raw[: found.start()] + text + raw[found.end() :]
    lines = raw.split(b"\r\n")
    at = rng.randrange(len(lines))
    some = rng.choice((1, 1, 2, 5))
    piece = b"".join(line + b"\r\n" for line in lines[at : at + some])
    if rng.random() < 0.3:
        piece = piece[: rng.randrange(1, len(piece) + 1)]
    start = len(b"".join(line + b"\r\n" for line in lines[:at]))
    return raw[:start] + piece * (size // max(1, len(piece))) + raw[start:]


def wrapped(raw: bytes, world: World, rng: random.Random) -> bytes:
    """What was changed, signed or encrypted as it is: so that the readers within are reached."""
    _, _, entity = raw.partition(b"MIME-Version: 1.0\r\n")
    content = entity or raw
    at = datetime.now(UTC)
    if rng.random() < 0.5:
        der, _ = signed_data.sign(content, [world.alice], detached=False, policy=EXCHANGE, at=at)
        return HEAD + pkcs7_mime(SIGNED, der)
    cipher = rng.choice(_ciphers())
    der = enveloped_data.encrypt(
        content, [Contact(world.bob.certificate)], cipher=cipher, policy=EXCHANGE
    )
    kind = "authEnveloped-data" if cipher.aead else "enveloped-data"
    return HEAD + pkcs7_mime(kind, der)


def _ciphers() -> list[Any]:
    from smime_graph import algorithms

    names = ("aes128-cbc", "aes256-gcm")
    return [algorithms.by_name(algorithms.ContentCipher, name) for name in names]


# --- readers ------------------------------------------------------------------------------


def message_readers(raw: bytes, world: World) -> dict[str, Callable[[], object]]:
    keys, trust = world.keys, world.trust
    opened: list[Any] = []

    def unsealed() -> object:
        opened.append(unseal(raw, identities=keys, trust=trust, policy=ARCHIVE))
        return opened[0].message.as_bytes

    def receipts() -> object:
        if not opened:
            return None
        receipt_recipients(opened[0], signer=world.bob)
        return receipt(opened[0], signer=world.bob)

    def hidden() -> object:
        if opened:
            reference_hcp(opened[0], kind="reply", sender="bob@contoso.com")
            tells_what_was_hidden(opened[0], raw)
        return unopened_hcp(raw, kind="forward")

    return {
        "inspect": lambda: inspect(raw),
        "examine": lambda: examine(raw, identities=keys, trust=trust, policy=ARCHIVE),
        "verify": lambda: verify(raw, trust=trust),
        "verify detached": lambda: verify(raw, trust=trust, content=PLAIN, sender="a@b"),
        "decrypt": lambda: decrypt(raw, identities=keys, policy=ARCHIVE),
        "unseal": unsealed,
        "receipts": receipts,
        "decompress": lambda: decompress(raw),
        "examine_receipt": lambda: examine_receipt(
            raw, original=world.messages[2], identities=keys, trust=trust
        ),
        "reply": lambda: answer(raw, kind="reply", sender="bob@contoso.com").as_bytes(),
        "reply-all": lambda: answer(raw, kind="reply-all", sender="bob@contoso.com").as_bytes(),
        "forward": lambda: answer(
            raw, kind="forward", sender="bob@contoso.com", to=["x@y.org"]
        ).as_bytes(),
        "canonical": lambda: [canonical_entity(raw, clear=clear) for clear in (True, False)],
        "addresses": lambda: [parse_header_addresses(f.value) for f in Entity(raw).fields],
        "sign": lambda: sign(raw, signer=world.alice, policy=QUIET),
        "seal": lambda: seal(
            raw,
            signer=world.alice,
            recipients=[Contact(world.bob.certificate)],
            policy=QUIET,
            header_confidentiality="shy",
        ),
        "hidden": hidden,
        "signers": lambda: _signers(raw),
    }


def _signers(raw: bytes) -> None:
    signed = signed_data.read(Entity(raw).decoded_body())
    for signer in signed.signers:
        signature_check.check(signed, signer, signed.content or b"", policy=ARCHIVE)
        assert signer.identifier


def file_readers(raw: bytes, world: World, path: Path) -> dict[str, Callable[[], object]]:
    path.write_bytes(raw)
    return {
        "Identity.load": lambda: Identity.load(path, password="a password"),
        "load_identities": lambda: load_identities(path, passwords=["a password", "another"]),
        "Contact.load": lambda: Contact.load(path),
        "Contact.from_pem": lambda: Contact.from_pem(raw),
        "Contact.from_der": lambda: Contact.from_der(raw),
        "TrustStore.from_pem": lambda: TrustStore.from_pem(path),
        "read_certificates": lambda: read_certificates(path),
        "read_contact_certificates": lambda: read_contact_certificates(raw),
        "read_jobs": lambda: list(read_jobs(path)),
        "Certificate": lambda: _certificate(raw, world),
    }


def _certificate(raw: bytes, world: World) -> None:
    certificate = Certificate(raw)
    assert certificate.description
    addresses(certificate)
    for use in ("sign", "encrypt"):
        validate(certificate, use=use, trust=world.trust, at=datetime.now(UTC), address="a@b")
    validate(
        world.alice.certificate,
        use="sign",
        trust=TrustStore((certificate,)),
        certificates=(certificate,),
        at=datetime.now(UTC),
    )


# --- the run ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """A reading function that did what none may do, and the input."""

    reader: str
    text: str
    raw: bytes


def attempt(reader: str, function: Callable[[], object], raw: bytes) -> Iterator[Fault]:
    begun = time.process_time()
    try:
        function()
    except SmimeGraphError as error:
        text = f"{error} {error.hint or ''}"
        if len(text) < 10 or not text.isprintable():
            yield Fault(reader, f"it says {text!r}", raw)
    except Exception:  # noqa: BLE001 - that is what is looked for
        yield Fault(reader, traceback.format_exc(limit=-4), raw)
    took = time.process_time() - begun
    if took > SECONDS and (took := _again(function, took)) > SECONDS:
        yield Fault(reader, f"it took {took:.1f} s of processor time, {len(raw)} octets", raw)


def _again(function: Callable[[], object], took: float) -> float:
    """The least that it takes, by the pace of the machine at that time: others only add to it."""
    least = took / slowness()
    for _ in range(2):
        pace, begun = slowness(), time.process_time()
        with suppress(SmimeGraphError):
            function()
        least = min(least, (time.process_time() - begun) / pace)
    return least


def one_input(world: World, rng: random.Random, path: Path) -> Iterator[Fault]:
    """Change one message or file, and hand it to every reader."""
    if rng.random() < 0.25:
        raw = rng.choice(world.files)
        raw = (elements if raw[:1] == b"\x30" and rng.random() < 0.8 else octets)(raw, rng)
        for name, function in file_readers(raw, world, path).items():
            yield from attempt(name, function, raw)
        return
    raw = changed(rng.choice(world.messages), rng)
    is_ours = rng.random() < 0.3  # then anything may stand in what we sign
    if is_ours:
        raw = wrapped(raw, world, rng)
    for name, function in message_readers(raw, world).items():
        yield from attempt(name, function, raw)
    if is_ours:
        return
    try:
        opened = unseal(raw, identities=world.keys, trust=world.trust)
    except Exception:  # noqa: BLE001 - a fault was found above
        return
    if crlf(opened.content) not in world.signed:
        yield Fault("unseal", "accepted, and nobody signed this content", raw)


def run(
    world: World, seed: int, path: Path, *, inputs: int | None = None, seconds: float | None = None
) -> Iterator[tuple[int, Fault]]:
    """The faults of so many inputs, or of some seconds of them, each with the seed of its input."""
    begun, number = time.monotonic(), 0
    while (inputs is None or number < inputs) and (
        seconds is None or time.monotonic() - begun < seconds
    ):
        for fault in one_input(world, random.Random(seed + number), path):
            yield seed + number, fault
        number += 1
    print(f"{number} inputs, seeds {seed} to {seed + number - 1}", flush=True)


_CORPORA = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "08c_openssl_fuzz_cms"


def run_guided(world: World, folder: Path, seconds: float) -> None:
    """As `run`, where an input is a kind (message or file) and its octets; ends the process."""
    try:
        import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        sys.exit("scripts/prove fuzz --guided needs atheris: pip install atheris")
    seeds = [b"m" + one for one in world.messages] + [b"f" + one for one in world.files]
    corpora = [path.read_bytes() for path in sorted(_CORPORA.rglob("*")) if path.is_file()]
    seeds += [b"m" + one for one in corpora]
    # libFuzzer adds an octet here and there: what is to be large has to begin so
    seeds += [b"m" + grown(one, random.Random(n)) for n, one in enumerate(world.messages * 2)]
    seeds = [one[: LARGEST + 1] for one in seeds]
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for one in seeds:
        (corpus / hashlib.sha256(one).hexdigest()[:16]).write_bytes(one)
    report = _Faults(folder)

    def one_of(data: bytes) -> None:
        raw = data[1:]
        if data[:1] == b"f":
            readers = file_readers(raw, world, folder / "input")
        else:
            readers = message_readers(raw, world)
        for name, function in readers.items():
            for fault in attempt(name, function, raw):
                report.add(0, fault)

    for one in gc.get_objects():  # `instrument_all` takes minutes for what is not ours
        if isinstance(one, types.FunctionType) and (one.__module__ or "").startswith("smime_graph"):
            atheris.instrument_func(one)
    options = [f"-max_total_time={int(seconds)}", f"-max_len={LARGEST + 1}", "-len_control=0"]
    options.append("-rss_limit_mb=1500")
    atheris.Setup([sys.argv[0], *options, str(corpus)], one_of)
    atheris.Fuzz()


class _Faults:
    """What was found, each cause once: the input in a file of the folder, the rest printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: set[str] = set()

    def add(self, seed: int, fault: Fault) -> None:
        cause = re.sub(r"0x[0-9a-f]+|\d+", "#", fault.text)
        if cause in self.seen:
            return
        self.seen.add(cause)
        path = self.folder / hashlib.sha256(fault.raw).hexdigest()[:12]
        path.write_bytes(fault.raw)
        print(f"\n{path} (seed {seed}): {fault.reader}\n{fault.text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/prove fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns() // 1_000_000_000)
    parser.add_argument("--guided", action="store_true", help="by atheris")
    arguments = parser.parse_args()
    if not arguments.guided:  # libFuzzer has a limit of its own, and maps far more
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    folder = Path(".fuzz")
    folder.mkdir(exist_ok=True)
    if arguments.guided:
        run_guided(World.make(), folder, 60 * arguments.minutes)
    report = _Faults(folder)
    found = run(World.make(), arguments.seed, folder / "input", seconds=60 * arguments.minutes)
    for seed, fault in found:
        report.add(seed, fault)
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB resident")
    return 1 if report.seen else 0


if __name__ == "__main__":
    sys.exit(main())
