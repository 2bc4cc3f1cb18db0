"""Every row of `algorithms.TABLE` has a vector, a round trip and a tamper test, and is judged.

A new row fails here until it is in VECTORS; a new kind of row until there is a way to make it. What
nothing of ours writes (RC2, Triple-DES wrap, DSA, MD5 ...) is made by hand or by others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from smime_graph import (
    ARCHIVE,
    EXCHANGE,
    POST_QUANTUM,
    RFC_8551,
    Contact,
    DecryptionFailed,
    Identity,
    Policy,
    SmimeGraphError,
    TrustStore,
    UnsupportedAlgorithm,
    algorithms,
    compress,
    decompress,
    decrypt,
    encrypt,
    examine,
    inspect,
    oids,
    policy,
    sign,
    unseal,
    verify,
)
from smime_graph.algorithms import (
    CekDerivation,
    Compression,
    ContentCipher,
    Digest,
    Kem,
    KeyAgreement,
    KeyDerivation,
    KeyKind,
    KeyTransport,
    KeyWrap,
    PasswordEncryption,
    Row,
    SignatureScheme,
    by_name,
    rows,
)
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info
from smime_graph.authority.issue import CA
from smime_graph.cms import enveloped_data, parameters, signature_check, signed_data
from smime_graph.cms.recipients import key_encapsulation
from smime_graph.cms.recipients.shared_secret import Password, SharedKey
from smime_graph.smime.recognition import recognise
from smime_graph.x509.certificate import Certificate

from ..vectors.test_manifest import ROWS, RUN, Case

TESTS = Path(__file__).parents[1]
MADE_FOLDER = TESTS / "vectors" / "made"
SHARED = TESTS.parents[1] / "shared" / "vectors"

# Where each row is seen as somebody else made it: a row of the shared manifest, a message of
# another implementation in tests/vectors/made, or a test that holds octets of a standard.
MANIFEST, MADE, TEST = "manifest", "made", "test"
_RFC = "cms/test_rfc_examples.py::"
_WYCHEPROOF = "vectors/test_wycheproof.py::"
VECTORS: dict[str, tuple[str, str]] = {
    "md5": (MADE, "md5"),
    "sha1": (MANIFEST, "03/4.2/verify"),
    "sha224": (MADE, "sha224"),
    "sha256": (MANIFEST, "02/smime-one-part-hp/verify"),
    "sha384": (MADE, "sha384"),
    "sha512": (MANIFEST, "06/rfc9882/mldsa44-signed-attrs/verify"),
    "sha3-256": (MADE, "sha3-256"),
    "shake256-len": (MADE, "ed448"),
    "shake256": (TEST, f"{_RFC}test_shake256_has_64_octets"),
    "rsassa-pkcs1v15": (MANIFEST, "02/smime-one-part-hp/verify"),
    "rsassa-pss": (MANIFEST, "07f/rsapss-salt20/verify"),
    "ecdsa": (MANIFEST, "07f/ec-attached/verify"),
    "ed25519": (MANIFEST, "07f/ed25519-attached/verify"),
    "ed448": (MADE, "ed448"),
    "ml-dsa-44": (MANIFEST, "06/rfc9882/mldsa44-signed-attrs/verify"),
    "ml-dsa-65": (MANIFEST, "06/rfc9882/mldsa65-signed-attrs/verify"),
    "ml-dsa-87": (MANIFEST, "06/rfc9882/mldsa87-signed-attrs/verify"),
    "dsa": (MANIFEST, "03/4.1/verify"),
    "rsaes-pkcs1v15": (MANIFEST, "02/smime-signed-enc-hp-baseline-legacy/decrypt-bob"),
    "rsaes-oaep": (MANIFEST, "07a/fran-oaep-sha256hash-sha256mgf_ossl/decrypt"),
    **{
        f"dhsinglepass-{kind}-sha{size}kdf": (MADE, f"{kind}-sha{size}kdf")
        for kind in ("stddh", "cofactordh")
        for size in (1, 224, 256, 384, 512)
    },
    **{
        f"dhsinglepass-stddh-hkdf-sha{size}": (TEST, f"{_RFC}test_hkdf_is_that_of_rfc_5869")
        for size in (256, 384, 512)
    },
    "ml-kem-768": (MANIFEST, "06/bc/ml-kem-768_kemri_hkdf-sha256_ukm/decrypt"),
    "ml-kem-1024": (MANIFEST, "06/bc/ml-kem-1024_kemri_hkdf-sha256_ukm/decrypt"),
    "hkdf-sha256": (MANIFEST, "06/bc/ml-kem-768_kemri_hkdf-sha256/decrypt"),
    "hkdf-sha384": (TEST, f"{_RFC}test_hkdf_is_that_of_rfc_5869"),
    "hkdf-sha512": (TEST, f"{_WYCHEPROOF}test_hkdf"),
    "aes128-wrap": (MANIFEST, "05/encSess4/decrypt"),
    "aes192-wrap": (MANIFEST, "05/encSess6/decrypt"),
    "aes256-wrap": (MANIFEST, "05/encSess8/decrypt"),
    "des-ede3-wrap": (MANIFEST, "05/encSess2/decrypt"),
    "pwri-kek": (MANIFEST, "07c/pwri-sample.cbc/decrypt"),
    "aes128-cbc": (MANIFEST, "05/encSess3/decrypt"),
    "aes192-cbc": (MANIFEST, "05/encSess5/decrypt"),
    "aes256-cbc": (MANIFEST, "05/encSess7/decrypt"),
    "aes128-gcm": (MANIFEST, "07i/AuthEnvelopedDataTest.Sample1/decrypt"),
    "aes192-gcm": (MADE, "aes192-gcm"),
    "aes256-gcm": (MANIFEST, "06/bc/ml-kem-768_kemri_auth_hkdf-sha256/decrypt"),
    "aes128-ccm": (MADE, "aes128-ccm"),
    "aes192-ccm": (MADE, "aes192-ccm"),
    "aes256-ccm": (MADE, "aes256-ccm"),
    "chacha20-poly1305": (TEST, f"{_WYCHEPROOF}test_authenticated_ciphers"),
    "des-ede3-cbc": (MANIFEST, "03/5.1/decrypt"),
    "rc2-cbc": (MADE, "rc2-cbc"),
    "cek-hkdf-sha256": (TEST, f"{_RFC}test_cek_hkdf_of_rfc_9709"),
    "zlib": (MADE, "zlib"),
}

TABLE = [pytest.param(row, id=row.name) for row in algorithms.TABLE]


def lacking(table: Iterable[Row]) -> list[str]:
    return [row.name for row in table if row.name not in VECTORS]


# --- vectors ------------------------------------------------------------------------------


def test_every_row_has_a_vector() -> None:
    assert lacking(algorithms.TABLE) == []
    assert set(VECTORS) == {row.name for row in algorithms.TABLE}


def test_names_and_identifiers_are_single() -> None:
    names = [row.name for row in algorithms.TABLE]
    assert len(names) == len(set(names))
    by_kind = [(type(row), oid) for row in algorithms.TABLE for oid in row.oids]
    assert len(by_kind) == len(set(by_kind))


@contextmanager
def without(row: Row) -> Iterator[None]:
    """The table as if it had no such row."""
    with pytest.MonkeyPatch.context() as patch:
        for oid in row.oids:
            patch.delitem(algorithms.table._BY_OID, (type(row), oid))
        patch.delitem(algorithms.table._BY_NAME[type(row)], row.name)
        yield


def rows_shown(*kinds: str) -> list[Any]:
    return [row for row in TABLE if VECTORS[str(row.id)][0] in kinds]


@pytest.mark.parametrize("row", rows_shown(MADE))
def test_what_another_made_for_a_row_is_read_by_that_row(row: Row) -> None:
    raw = (MADE_FOLDER / f"{VECTORS[row.name][1]}.pem").read_bytes()
    assert made_by_another(raw).strip().endswith(b"made by another implementation")
    with without(row), pytest.raises(UnsupportedAlgorithm):
        made_by_another(raw)


def made_by_another(raw: bytes) -> bytes:
    found = recognise(raw, "1")
    assert found is not None
    kind = inspect(raw)[0].type
    if kind == "compressed-data":
        return decompress(raw).content
    if kind == "signed-data":
        signed = signed_data.read(found.der)
        assert signed.content is not None
        check = signature_check.check(signed, signed.signers[0], signed.content, policy=ARCHIVE)
        if any(one.code == "alg.unsupported" for one in check.findings):
            raise UnsupportedAlgorithm("x", where="signature")
        assert (check.intact, check.valid) == (True, True)
        return bytes(signed.content)
    keys = [
        ser.load_pem_private_key((MADE_FOLDER / f"{name}.key").read_bytes(), None)
        for name in ("p256", "rsa2048")
    ]
    owners = [SimpleNamespace(private_key=key, certificate=None) for key in keys]
    everybody: Any = [*owners, SharedKey(bytes(range(32)), identifier=b"vectors")]
    return decrypt(raw, identities=everybody, policy=ARCHIVE).content


@pytest.mark.parametrize("row", rows_shown(MANIFEST))
def test_the_vector_of_a_row_is_as_wanted_by_that_row(row: Row) -> None:
    if not ROWS:
        pytest.skip(f"the vectors are not at {SHARED}")
    (found,) = (one for one in ROWS if one["id"] == VECTORS[row.name][1])
    RUN[found["operation"]](Case(found, SHARED))
    with without(row), pytest.raises((AssertionError, SmimeGraphError)):
        RUN[found["operation"]](Case(found, SHARED))


def test_a_test_that_shows_a_row_fails_without_it() -> None:
    """In a process of its own: the tests are run again, each with its row taken away."""
    if not SHARED.is_dir():
        pytest.skip(f"the vectors are not at {SHARED}")
    shown = {row.values[0]: f"tests/{VECTORS[row.id][1]}" for row in rows_shown(TEST)}
    script = (
        "import sys, pytest\n"
        "from smime_graph import algorithms\n"
        # pytest finds our own plugin installed, and the package loaded before it
        "how = ['-q', '-x', '-p', 'no:cacheprovider', '-W', 'ignore:Module already']\n"
        "for line in sys.stdin:\n"
        "    name, test = line.split()\n"
        "    status = [pytest.main([*how, test])]\n"
        "    tables = (algorithms.table._BY_OID, *algorithms.table._BY_NAME.values())\n"
        "    gone = [{k: v for k, v in t.items() if v.name == name} for t in tables]\n"
        "    for table, entries in zip(tables, gone):\n"
        "        for key in entries: del table[key]\n"
        "    status += [pytest.main([*how, test])]\n"
        "    for table, entries in zip(tables, gone): table.update(entries)\n"
        "    print('shown', name, *map(int, status))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=TESTS.parent,
        input="".join(f"{row.name} {test}\n" for row, test in shown.items()),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("shown ")]
    assert lines == [f"shown {row.name} 0 1" for row in shown], done.stdout + done.stderr


# --- round trips --------------------------------------------------------------------------


@dataclass(frozen=True)
class Trip:
    """A CMS that uses a row, how it is opened, and the octets of which none may be changed.

    `covered` is False where the cipher notices nothing (CBC).
    """

    der: bytes
    open: Callable[[bytes], bytes]
    parts: tuple[bytes, ...]
    covered: bool = True


class World:
    """Who and what a round trip needs."""

    def __init__(self, message: bytes, at: datetime, patch: pytest.MonkeyPatch) -> None:
        self.message = message
        self.content = message.partition(b"Content-Type")[1] + message.partition(b"Content-Type")[2]
        self.at = at
        self.patch = patch
        self.ca = CA("Test Root", key="p256", at=at)
        self.trust = TrustStore((self.ca.certificate,))

    def trip(self, row: Row) -> Trip:
        return _MAKERS[type(row)](self, row)

    def person(self, key: str, email: str = "alice@contoso.com") -> Identity:
        return self.ca.issue(email, key=key, at=self.at)

    def signed(self, signer: Identity, by: Policy, read: Policy) -> Trip:
        bare = by.but(by.name, header_protection=False)
        raw = sign(self.message, signer=signer, detached=False, policy=bare, at=self.at)
        der = _der(raw)

        def opened(changed: bytes) -> bytes:
            arguments: Any = {"trust": self.trust, "policy": read, "at": self.at}
            return verify(changed, sender="alice@contoso.com", **arguments).content

        info = signed_data.read(der).signers[0]
        return Trip(der, opened, (info.signature, b"the figures"))

    def encrypted(self, der: bytes, key: Any, read: Policy) -> Trip:
        enveloped = enveloped_data.read(der)

        def opened(changed: bytes) -> bytes:
            return decrypt(changed, identities=[key], policy=read).content

        wrapped = enveloped.recipients[0].encrypted_key
        if not enveloped.authenticated:
            return Trip(der, opened, (wrapped, bytes(enveloped.ciphertext)), covered=False)
        return Trip(der, opened, (wrapped, bytes(enveloped.ciphertext), enveloped.mac))


def _der(raw: bytes) -> bytes:
    found = recognise(raw, "1")
    assert found is not None
    return bytes(found.der)


def _digest(world: World, row: Digest) -> Trip:
    if row.name.startswith("shake"):
        return world.signed(world.person("ed448"), EXCHANGE.but("d", digest=row.name), EXCHANGE)
    if row.name in by_name(SignatureScheme, "ecdsa").digests:
        return world.signed(world.person("p256"), EXCHANGE.but("d", digest=row.name), EXCHANGE)
    # nothing of ours is signed with these
    scheme = by_name(SignatureScheme, "rsassa-pkcs1v15")
    world.patch.setattr(signed_data, "choose_scheme", lambda *_: (scheme, row))
    return world.signed(world.person("rsa-2048"), EXCHANGE, ARCHIVE)


def _scheme(world: World, row: SignatureScheme) -> Trip:
    if row.name == "dsa":
        made = row.but(sign=lambda key, data, of: key.sign(data, of.hash))
        world.patch.setattr(signed_data, "choose_scheme", lambda *_: (made, algorithms.SHA1))
        return world.signed(_dsa_signer(world), EXCHANGE, ARCHIVE)
    key = {"rsa": "rsa-2048", "ec": "p384"}.get(row.keys[0], row.keys[0])
    used = EXCHANGE.but("s", rsa_signature=row.name) if "rsa" in row.keys else EXCHANGE
    trip = world.signed(world.person(key), used, EXCHANGE)
    assert signed_data.read(trip.der).signers[0].signature_algorithm.oid in row.oids
    return trip


def _dsa_signer(world: World) -> Identity:
    key = dsa.generate_private_key(2048)
    like = world.person("p256").certificate.x509
    builder = (
        x509.CertificateBuilder()
        .subject_name(like.subject)
        .issuer_name(like.issuer)
        .public_key(key.public_key())
        .serial_number(77)
        .not_valid_before(world.at - timedelta(days=1))
        .not_valid_after(world.at + timedelta(days=10))
    )
    for one in like.extensions:
        if not isinstance(one.value, x509.SubjectKeyIdentifier):
            builder = builder.add_extension(one.value, one.critical)
    made = builder.sign(world.ca.private_key, hashes.SHA256())
    return Identity(key, Certificate(made.public_bytes(ser.Encoding.DER)))


def _cipher(world: World, row: ContentCipher) -> Trip:
    bob = world.person("p256", "bob@contoso.com")
    if row.name == "rc2-cbc":
        rsa = ser.load_pem_private_key((MADE_FOLDER / "rsa2048.key").read_bytes(), None)
        key = SimpleNamespace(private_key=rsa, certificate=None)
        return world.encrypted(_der((MADE_FOLDER / "rc2-cbc.pem").read_bytes()), key, ARCHIVE)
    to = [Contact(bob.certificate)]
    if row.name in EXCHANGE.refuse:
        der = enveloped_data.encrypt(world.content, to, cipher=row, policy=EXCHANGE)
        return world.encrypted(der, bob, ARCHIVE)
    used = RFC_8551.but("c", ciphers=(row.name,))
    raw = encrypt(world.message, recipients=to, policy=used, at=world.at)
    return world.encrypted(_der(raw), bob, EXCHANGE)


def _to(world: World, contact: Contact, reader: Any, cipher: str = "aes256-gcm") -> Trip:
    used = RFC_8551.but("r", ciphers=(cipher,))
    raw = encrypt(world.message, recipients=[contact], policy=used, at=world.at)
    return world.encrypted(_der(raw), reader, EXCHANGE)


def _transport(world: World, row: KeyTransport) -> Trip:
    bob = world.person("rsa-2048", "bob@contoso.com")
    entries = (ber.sequence(ber.oid(row.oid)),) if row.parameters == "oaep" else None
    trip = _to(world, Contact(bob.certificate, capabilities=entries), bob)
    assert enveloped_data.read(trip.der).recipients[0].algorithm_name == row.name
    return trip


def _agreement(world: World, row: KeyAgreement) -> Trip:
    bob = world.person("p256", "bob@contoso.com")
    wrap = parameters.write_wrap(by_name(KeyWrap, "aes256-wrap"))
    entry = ber.sequence(ber.oid(row.oid), wrap)
    trip = _to(world, Contact(bob.certificate, capabilities=(entry,)), bob)
    assert enveloped_data.read(trip.der).recipients[0].algorithm_name == row.name
    return trip


def _kem(world: World, row: Kem) -> Trip:
    bob = world.ca.issue("bob@contoso.com", key=row.keys[0], use="encrypt", at=world.at)
    trip = _to(world, Contact(bob.certificate), bob)
    (recipient,) = enveloped_data.read(trip.der).recipients
    assert recipient.algorithm_name == row.name
    return dataclasses.replace(trip, parts=(*trip.parts, recipient.details.ciphertext))


def _derivation(world: World, row: KeyDerivation) -> Trip:
    if row.name != "hkdf-sha256":  # the one that is written (RFC 9936 2.2.1)
        chosen = SimpleNamespace(**vars(algorithms))
        chosen.by_name = lambda kind, name: row if kind is KeyDerivation else by_name(kind, name)
        world.patch.setattr(key_encapsulation, "algorithms", chosen)
    trip = _kem(world, by_name(Kem, "ml-kem-768"))
    world.patch.undo()
    assert enveloped_data.read(trip.der).recipients[0].details.kdf.oid == row.oid
    return trip


def _wrap(world: World, row: KeyWrap) -> Trip:
    if row.name == "des-ede3-wrap":
        return _des3_wrapped(world, row)
    bob = world.person("p256", "bob@contoso.com")
    trip = _to(world, Contact(bob.certificate), bob, f"aes{row.key_size * 8}-gcm")
    assert ber.oid(row.oid) in trip.der
    return trip


def _des3_wrapped(world: World, row: KeyWrap) -> Trip:
    """RFC 3217 3.1, RFC 3370 4.3.1: nothing of ours makes it."""

    def cbc(key: bytes, iv: bytes, data: bytes) -> bytes:
        encryptor = Cipher(TripleDES(key), modes.CBC(iv)).encryptor()
        return encryptor.update(data) + encryptor.finalize()

    kek, cek, iv, content_iv = (os.urandom(size) for size in (24, 24, 8, 8))
    checked = cek + hashlib.sha1(cek, usedforsecurity=False).digest()[:8]
    wrapped = cbc(kek, bytes.fromhex("4adda22c79e82105"), (iv + cbc(kek, iv, checked))[::-1])
    cipher = by_name(ContentCipher, "des-ede3-cbc")
    ciphertext, _ = cipher.encrypt(cek, content_iv, world.content)
    recipient = ber.context(
        2,
        ber.integer(4),
        ber.sequence(ber.octet_string(b"name")),
        ber.sequence(ber.oid(row.oid), ber.null()),
        ber.octet_string(wrapped),
    )
    encrypted = ber.sequence(
        ber.oid(oids.DATA),
        parameters.write_cipher(cipher, content_iv, None),
        ber.context(0, bytes(ciphertext), constructed=False),
    )
    fields = [ber.integer(2), ber.set_of(recipient), encrypted]
    der = content_info(oids.ENVELOPED_DATA, fields)

    def opened(changed: bytes) -> bytes:
        enveloped = enveloped_data.read(changed)
        (found,) = enveloped.recipients
        judged, _ = parameters.read_wrap(found.details, "recipient")
        assert judged is row
        try:
            key = row.unwrap(kek, found.encrypted_key)
            encryption = parameters.read_cipher(enveloped.algorithm, "content")
            return bytes(encryption.decrypt(key, enveloped.ciphertext, b"", b""))
        except ValueError:
            raise DecryptionFailed from None

    return Trip(der, opened, (wrapped,))


def _password(world: World, row: PasswordEncryption) -> Trip:
    password = Password("correct horse", iterations=1000)
    used = RFC_8551.but("p", ciphers=("aes256-gcm",))
    raw = encrypt(world.message, recipients=[password], policy=used, at=world.at)
    trip = world.encrypted(_der(raw), password, EXCHANGE)
    assert enveloped_data.read(trip.der).recipients[0].algorithm_name == row.name
    return trip


def _cek(world: World, row: CekDerivation) -> Trip:
    bob = world.person("p256", "bob@contoso.com")
    trip = _to(world, Contact(bob.certificate, capabilities=(ber.sequence(ber.oid(row.oid)),)), bob)
    assert enveloped_data.read(trip.der).algorithm.oid == row.oid
    return trip


def _compression(world: World, row: Compression) -> Trip:
    der = _der(compress(world.message))
    assert ber.oid(row.oid) in der
    stream = bytes(row.compress(world.content))
    assert stream in der
    # Adler-32: a checksum against accidents, not a seal
    return Trip(der, lambda changed: decompress(changed).content, (stream[-4:],))


_MAKERS: dict[type, Callable[[World, Any], Trip]] = {
    Digest: _digest,
    SignatureScheme: _scheme,
    ContentCipher: _cipher,
    KeyTransport: _transport,
    KeyAgreement: _agreement,
    Kem: _kem,
    KeyDerivation: _derivation,
    KeyWrap: _wrap,
    PasswordEncryption: _password,
    CekDerivation: _cek,
    Compression: _compression,
}


@pytest.fixture
def world(message: bytes, now: datetime, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(message, now, monkeypatch)


@pytest.mark.parametrize("row", TABLE)
def test_a_row_makes_what_it_reads_and_a_changed_bit_is_refused(row: Row, world: World) -> None:
    trip = world.trip(row)
    content = trip.open(trip.der)
    # of RC2 there is only what others made
    assert content.strip().endswith(b"made by another implementation") or content == world.content
    for part in trip.parts:
        for place, bit in ((0, 0x01), (len(part) // 2, 0x80), (len(part) - 1, 0x01)):
            changed = bytearray(trip.der)
            changed[trip.der.rindex(part) + place] ^= bit
            _refused(trip, bytes(changed), content, world)


def _refused(trip: Trip, changed: bytes, content: bytes, world: World) -> None:
    try:
        opened = trip.open(changed)
    except SmimeGraphError:
        return
    assert not trip.covered
    assert opened != content
    # malleable: it says so, and only a signature inside could be accepted
    report = examine(changed, identities=[], trust=world.trust, policy=ARCHIVE, at=world.at)
    assert not report.accepted
    assert not report.authenticated


@pytest.mark.parametrize(
    "row", [row for row in algorithms.rows(ContentCipher) if not row.aead], ids=lambda row: row.name
)
def test_altered_text_without_a_signature_is_unauthenticated_and_never_accepted(
    row: ContentCipher, world: World
) -> None:
    """EFAIL: a changed block in the middle decrypts to something, and must not be believed."""
    trip = world.trip(row)
    ciphertext = trip.parts[1]
    reader = _reader_of(trip)
    changed = bytearray(trip.der)
    changed[trip.der.rindex(ciphertext)] ^= 1  # the first block; the padding stays whole
    arguments: Any = {"identities": [reader], "policy": ARCHIVE}
    opened = decrypt(bytes(changed), **arguments)
    assert opened.content != trip.open(trip.der)
    assert not opened.report.authenticated
    assert opened.report.has("cms.unauthenticated")
    for given in (bytes(changed), trip.der):
        report = examine(given, trust=world.trust, at=world.at, **arguments)
        # one changed block in 256 begins as a SEQUENCE does, and is no CMS that can be read
        is_read = given == trip.der or not report.has("smime.unreadable")
        assert report.has("cms.unauthenticated") == is_read
        assert not report.accepted
        with pytest.raises(SmimeGraphError):
            unseal(given, trust=world.trust, at=world.at, **arguments)


def _reader_of(trip: Trip) -> Any:
    """The key that `World.encrypted` opens with."""
    cells = trip.open.__closure__ or ()
    return next(c.cell_contents for c in cells if hasattr(c.cell_contents, "private_key"))


# --- policies -----------------------------------------------------------------------------


# RFC 8551 2.1, 2.2, 2.3, 2.7: what a receiving agent must or should support, and appendix B: what
# is historic
MUST_READ = {
    *("sha256", "sha512"),
    *("ecdsa", "ed25519", "rsassa-pkcs1v15", "rsassa-pss"),
    *("dhsinglepass-stddh-sha256kdf", "dhsinglepass-stddh-hkdf-sha256", "rsaes-pkcs1v15"),
    *("rsaes-oaep", "aes128-wrap", "aes256-wrap"),
    *("aes128-gcm", "aes256-gcm", "aes128-cbc", "chacha20-poly1305"),
}
HISTORIC = {"md5", "sha1", "dsa", "des-ede3-cbc", "des-ede3-wrap", "rc2-cbc"}
# what Shor's algorithm breaks
NOT_POST_QUANTUM = {
    *("rsassa-pkcs1v15", "rsassa-pss", "ecdsa", "ed25519", "ed448"),
    *("rsaes-pkcs1v15", "rsaes-oaep"),
    *(row.name for row in algorithms.TABLE if row.name.startswith("dhsinglepass-")),
}


def test_the_policies_judge_as_the_standard_does() -> None:
    names = {row.name for row in algorithms.TABLE}
    for one in (EXCHANGE, RFC_8551):
        assert set(one.refuse) == HISTORIC
        assert not one.flag
        assert one.accept >= MUST_READ
        assert (one.sends, one.minimum_rsa_bits) == (True, 2048)
    assert (set(ARCHIVE.flag), set(ARCHIVE.refuse), ARCHIVE.sends) == (HISTORIC, set(), False)
    assert set(POST_QUANTUM.accept) == names - HISTORIC - NOT_POST_QUANTUM
    assert (set(POST_QUANTUM.flag), set(POST_QUANTUM.refuse)) == (NOT_POST_QUANTUM, HISTORIC)
    # Outlook opens no AuthEnvelopedData, whatever was announced
    assert not any(by_name(ContentCipher, name).aead for name in EXCHANGE.ciphers)
    # RFC 8551 2.7.1.2: AES-256-GCM to those whose capabilities are not known
    assert RFC_8551.ciphers[0] == "aes256-gcm"


@pytest.mark.parametrize("name", list(policy.POLICIES))
def test_every_name_in_a_policy_is_a_row_of_the_right_kind(name: str) -> None:
    using = policy.POLICIES[name]
    by_name(Digest, using.digest)
    if using.rsa_signature is not None:
        assert "rsa" in by_name(SignatureScheme, using.rsa_signature).keys
    for cipher in using.ciphers:
        by_name(ContentCipher, cipher)
    for transport in using.key_transports:
        by_name(KeyTransport, transport)
    assert (using.keys or set()) <= {kind.name for kind in algorithms.rows(algorithms.KeyKind)}
    # RFC 8551 2.5.2: what a sender may use towards us, which digests and key wraps are not
    kinds = {type(row) for row in algorithms.TABLE if row.name in using.announce}
    assert kinds <= {ContentCipher, KeyAgreement, KeyTransport, Kem, CekDerivation, Compression}


def test_a_policy_that_leaves_a_row_unjudged_or_uses_what_it_refuses_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"does not judge every algorithm once: \['zlib'\]"):
        EXCHANGE.but("mine", accept=EXCHANGE.accept - {"zlib"})
    with pytest.raises(ValueError, match=r"does not judge every algorithm once: \['sha-1\+'\]"):
        EXCHANGE.but("mine", flag=frozenset({"sha-1+"}))
    with pytest.raises(ValueError, match="a row judged twice"):
        EXCHANGE.but("mine", flag=frozenset({"zlib"}))
    with pytest.raises(ValueError, match="uses what it does not accept"):
        EXCHANGE.but("mine", ciphers=("des-ede3-cbc",))


# --- that these tests notice a new row ----------------------------------------------------


def test_a_new_row_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row without a vector, without a way to make it, or without a judgement fails."""
    new = Digest("sha3-384", "2.16.840.1.101.3.4.2.9", 48, "sha3-384", hashes.SHA3_384())
    table = (*algorithms.TABLE, new)
    assert lacking(table) == ["sha3-384"]

    class Unheard:
        name, oids = "unheard-of", ("1.2.3.4",)

    with pytest.raises(KeyError):
        world.trip(Unheard())  # type: ignore[arg-type]
    cipher = by_name(ContentCipher, "aes256-gcm")
    with pytest.raises(ValueError, match="uses what it does not accept"):
        world.trip(cipher.but(name="aes512-gcm", oid="1.2.3.5"))

    monkeypatch.setattr(policy, "_EVERY_ROW", frozenset(row.name for row in table))
    for name in policy.POLICIES:
        with pytest.raises(ValueError, match=re.escape("once: ['sha3-384']")):
            policy.POLICIES[name].but("again")


def test_a_shared_key_of_each_size_has_its_wrap(world: World) -> None:
    for size in (16, 24, 32):
        key = SharedKey(bytes(range(size)), identifier=b"ours")
        raw = encrypt(world.message, recipients=[key], at=world.at)
        assert decrypt(raw, identities=[key]).content == world.content
        (recipient,) = enveloped_data.read(_der(raw)).recipients
        assert recipient.algorithm_name == f"aes{8 * size}-wrap"


def test_a_row_is_made_whole_and_stays_as_it_is() -> None:
    upper: Any = str.upper
    row: Any = CekDerivation("name", "1.2.3", derive=upper)
    assert (row.name, row.oid, row.oids) == ("name", "1.2.3", ("1.2.3",))
    assert row.derive("x") == "X"  # a function, and no method of the row
    other = row.but(name="other")
    assert (other.name, other.oid, row.name) == ("other", "1.2.3", "name")
    assert row != row.but()
    assert hash(row) != hash(row.but())
    assert "name" in repr(row)
    with pytest.raises(AttributeError, match="name of a CekDerivation is fixed"):
        row.name = "another"
    with pytest.raises(AttributeError, match="oid of a CekDerivation is fixed"):
        del row.oid
    make: Any = CekDerivation
    for args, named in (
        (("name", "1.2.3"), {}),
        (("name", "1.2.3", str, 1), {}),
        (("name", "1.2.3", str), {"oid": "1.2.4"}),
        (("name", "1.2.3", str), {"unknown": 1}),
    ):
        with pytest.raises((TypeError, AttributeError)):
            make(*args, **named)


def test_a_default_that_is_a_function_is_no_method() -> None:
    default: Any = KeyKind.price
    assert any(row.price is default for row in rows(KeyKind))
