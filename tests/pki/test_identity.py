"""Identities and contacts: whatever a file holds and however it is written."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import oids
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA, write_identity
from smime_graph.errors import SmimeGraphError, UsageError
from smime_graph.pki.identity import (
    Contact,
    Identity,
    WrongPassword,
    allows_encryption,
    allows_signing,
    issuers,
    load_identities,
    read_certificates,
    read_key_file,
)
from smime_graph.x509.certificate import Certificate

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="../shared/vectors is not here")
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA(key="p256", at=AT).create_intermediate(key="p256")


@pytest.fixture(scope="module")
def alice(ca: CA) -> Identity:
    return ca.issue("alice@contoso.com", key="p256")


def pem_key(key: Any, form: ser.PrivateFormat = ser.PrivateFormat.PKCS8, **how: Any) -> bytes:
    protection = how.get("protection", ser.NoEncryption())
    made: bytes = key.private_bytes(ser.Encoding.PEM, form, protection)
    return made


def pem(*certificates: Certificate) -> bytes:
    return b"".join(c.x509.public_bytes(ser.Encoding.PEM) for c in certificates)


# --- one person ----------------------------------------------------------------------------------


def test_an_identity_is_read_back_from_what_it_wrote(ca: CA) -> None:
    for key in ("rsa-2048", "p256", "ed25519", "ml-dsa-44"):
        identity = ca.issue("alice@contoso.com", key=key)
        for read in (
            Identity.from_pem(identity.to_pem()),
            Identity.from_pem(identity.to_pem("secret"), password="secret"),
            Identity.from_pkcs12(identity.to_pkcs12(b"secret"), password="secret"),
            Identity.load(identity.to_pkcs12("secret"), password=b"secret"),
        ):
            assert read.certificate == identity.certificate
            assert read.chain == identity.chain == (ca.certificate,)
            assert read.emails == ("alice@contoso.com",)
            assert (read.encryption is None) == (identity.encryption is None)
            assert read.encryption_certificate == identity.encryption_certificate


@pytest.mark.parametrize("reverse", [False, True])
def test_the_order_of_a_pem_file_does_not_matter(alice: Identity, reverse: bool) -> None:
    parts = [pem_key(alice.private_key), *map(pem, (alice.certificate, *alice.chain))]
    read = Identity.load(b"some text\n".join(reversed(parts) if reverse else parts))
    assert read.certificate == alice.certificate
    assert read.chain == alice.chain


@pytest.mark.parametrize(
    ("key", "form", "label"),
    [
        ("rsa-2048", ser.PrivateFormat.TraditionalOpenSSL, b"RSA PRIVATE KEY"),
        ("p256", ser.PrivateFormat.TraditionalOpenSSL, b"EC PRIVATE KEY"),
        ("p256", ser.PrivateFormat.PKCS8, b"PRIVATE KEY"),
    ],
)
@pytest.mark.parametrize("password", [None, b"secret"])
def test_every_form_of_a_private_key_is_read(
    ca: CA, key: str, form: ser.PrivateFormat, label: bytes, password: bytes | None
) -> None:
    identity = ca.issue("alice@contoso.com", key=key)
    protection = ser.NoEncryption() if password is None else ser.BestAvailableEncryption(password)
    text = pem_key(identity.private_key, form, protection=protection)
    assert label in text
    file = pem(identity.certificate) + text
    assert Identity.load(file, password=password).certificate == identity.certificate
    assert Identity.load(file.replace(b"\n", b"\r\n"), password=password).certificate.der
    if password is not None:
        for wrong in (None, "other", ""):
            with pytest.raises(WrongPassword) as caught:
                Identity.load(file, password=wrong)
            assert caught.value.hint


def test_a_key_alone_takes_its_certificate_from_another_file(
    tmp_path: Path, alice: Identity
) -> None:
    (tmp_path / "a.key").write_bytes(pem_key(alice.private_key))
    (tmp_path / "a.crt").write_bytes(alice.certificate.der)
    read = Identity.from_pem(tmp_path / "a.key", certificates=tmp_path / "a.crt")
    assert read.certificate == alice.certificate


def test_the_root_is_left_out_of_the_chain_and_the_order_is_found(alice: Identity, ca: CA) -> None:
    lower = ca.create_intermediate("lower", key="p256")  # of an authority that may have none: found
    bob = lower.issue("bob@contoso.com", key="p256")
    file = pem_key(bob.private_key) + pem(ca.root, ca.certificate, bob.certificate)
    assert Identity.load(file + pem(lower.certificate)).chain == (lower.certificate, ca.certificate)


def test_an_issuer_is_believed_by_its_signature_and_not_by_its_name(ca: CA) -> None:
    other = CA(key="p256", at=AT).create_intermediate(key="p256")
    assert other.certificate.subject == ca.certificate.subject
    leaf = ca.issue("a@contoso.com", key="p256").certificate
    assert issuers(leaf, (other.certificate, ca.certificate)) == (ca.certificate,)
    assert issuers(leaf, (other.certificate,)) == ()


def test_issuers_that_issued_each_other_are_not_followed_for_ever() -> None:
    one, other = CA("one", key="p256"), CA("other", key="p256")
    names = {}
    for issuer, subject in ((one, other), (other, one)):
        cross = issuer.create_intermediate(
            "other" if subject is other else "one", key=subject.private_key, path_length=None
        )
        names[subject] = cross.certificate
    leaf = one.issue("a@contoso.com", key="p256").certificate
    assert issuers(leaf, names.values()) == (names[one], names[other])


def test_twenty_authorities_of_one_name_are_tried_and_no_more(ca: CA) -> None:
    other = CA("other", key="p256", at=AT)
    namesakes = [other.create_intermediate("issuing", key="p256").certificate for _ in range(20)]
    issuing = ca.create_intermediate("issuing", key="p256", path_length=None)
    person = issuing.issue("a@contoso.com", key="p256").certificate
    assert issuers(person, (*namesakes[:19], issuing.certificate)) == (issuing.certificate,)
    assert issuers(person, (*namesakes, issuing.certificate)) == ()


def test_a_chain_of_eight_issuers_is_found_and_no_longer_one(ca: CA) -> None:
    line = [ca.create_intermediate("Depth 0", key="p256", path_length=None)]
    for depth in range(1, 10):
        line.append(line[-1].create_intermediate(f"Depth {depth}", key="p256", path_length=None))
    person = line[-1].issue("a@contoso.com", key="p256").certificate
    found = issuers(person, [authority.certificate for authority in line])
    assert found == tuple(authority.certificate for authority in reversed(line[2:]))


# --- two key pairs -------------------------------------------------------------------------------


def test_of_two_key_pairs_the_one_that_signs_is_the_identity(ca: CA) -> None:
    sign = ca.issue("alice@contoso.com", key="p256", use="sign")
    encrypt = ca.issue("alice@contoso.com", key="p256", use="encrypt")
    for file in (sign.to_pem() + encrypt.to_pem(), encrypt.to_pem() + sign.to_pem()):
        read = Identity.load(file)
        assert read.certificate == sign.certificate
        assert read.encryption is not None
        assert read.encryption.certificate == encrypt.certificate
        assert read.identities == (read, read.encryption)
        assert read.encryption_certificate == encrypt.certificate


def test_of_a_renewed_key_pair_the_one_that_expires_last_is_the_identity(ca: CA) -> None:
    old = ca.issue("alice@contoso.com", key="p256", at=AT - timedelta(days=700))
    new = ca.issue("alice@contoso.com", key="p256")
    same_key = ca.issue("alice@contoso.com", key=old.private_key, at=AT - timedelta(days=300))
    file = new.to_pem() + old.to_pem() + same_key.to_pem()
    read = Identity.load(file)
    assert read.certificate == new.certificate
    assert read.encryption is None  # the new one serves both, the old ones are for load_identities
    assert {i.certificate for i in load_identities(file)} == {
        i.certificate for i in (old, new, same_key)
    }


def test_the_keys_of_two_people_are_not_one_identity(alice: Identity, ca: CA) -> None:
    bob = ca.issue("bob@contoso.com", key="p256")
    with pytest.raises(UsageError, match=r"several people.*alice.*bob|several people.*bob.*alice"):
        Identity.load(alice.to_pem() + bob.to_pem())
    assert len(load_identities(alice.to_pem() + bob.to_pem())) == 2


@pytest.mark.parametrize(
    ("key", "use", "signs", "encrypts"),
    [
        ("rsa-2048", "both", True, True),
        ("rsa-2048", "sign", True, False),
        ("rsa-2048", "encrypt", False, True),
        ("p256", "both", True, True),
        ("p256", "sign", True, False),
        ("p256", "encrypt", False, True),
        ("ed25519", "sign", True, False),
        ("x25519", "encrypt", False, True),
        ("ml-dsa-44", "sign", True, False),
        ("ml-kem-768", "encrypt", False, True),
    ],
)
@pytest.mark.parametrize("stated", [True, False])
def test_the_kind_of_key_and_its_usage_say_what_it_is_for(
    ca: CA, key: str, use: Any, signs: bool, encrypts: bool, stated: bool
) -> None:
    usage = "usual" if stated else None
    certificate = ca.issue("a@contoso.com", key=key, use=use, key_usage=usage).certificate
    if not stated and key in ("rsa-2048", "p256"):
        signs = encrypts = True  # RFC 8550 4.4.2: no keyUsage, no limit
    assert allows_signing(certificate) is signs
    assert allows_encryption(certificate) is encrypts


def test_a_key_that_only_signs_has_no_encryption_certificate(ca: CA) -> None:
    assert ca.issue("a@contoso.com", key="ed25519", use="sign").encryption_certificate is None
    assert ca.issue("a@contoso.com", key="p256", use="sign").encryption_certificate is None


# --- folders -------------------------------------------------------------------------------------


def test_every_identity_of_a_folder_is_found_and_other_files_are_passed_over(
    tmp_path: Path, ca: CA
) -> None:
    expired = ca.issue("alice@contoso.com", key="p256", at=AT - timedelta(days=4000))
    people = [expired, *(ca.issue("alice@contoso.com", key=k) for k in ("p256", "ed25519"))]
    write_identity(people[0], tmp_path)  # key and certificate in two files
    (tmp_path / "b.p12").write_bytes(people[1].to_pkcs12("first"))
    (tmp_path / "c.pem").write_bytes(people[2].to_pem("second"))
    (tmp_path / "README").write_text("nothing to see")
    (tmp_path / "0.txt").write_text("0: begins like DER")
    (tmp_path / ".hidden").write_text("-----BEGIN PRIVATE KEY-----")
    (tmp_path / "list.crl").write_bytes(ber.sequence(*[ber.sequence()] * 2, ber.bit_string(b"")))
    (tmp_path / "big").write_bytes(b"-----BEGIN " * 100_000)
    (tmp_path / "folder").mkdir()
    found = load_identities(tmp_path, passwords=["first", "second"])
    wanted = {i.certificate for p in people for i in p.identities}
    assert {i.certificate for i in found} == wanted
    assert all(i.chain == (ca.certificate,) for i in found)
    with pytest.raises(WrongPassword, match=r"c\.pem"):
        load_identities(tmp_path, passwords=["first"])


def test_a_folder_without_a_key_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no private key"):
        load_identities(tmp_path)


def test_a_broken_key_in_a_folder_is_not_passed_over(tmp_path: Path, alice: Identity) -> None:
    (tmp_path / "good.pem").write_bytes(alice.to_pem())
    (tmp_path / "bad.pem").write_text(
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"
    )
    with pytest.raises(UsageError, match=r"bad\.pem.*malformed"):
        load_identities(tmp_path)


# --- what goes wrong -----------------------------------------------------------------------------


def test_each_thing_that_is_missing_has_its_own_message(tmp_path: Path, alice: Identity) -> None:
    key, certificate = pem_key(alice.private_key), pem(alice.certificate)
    other = pem_key(ec.generate_private_key(ec.SECP256R1()))
    for content, text in (
        (certificate, "holds no private key"),
        (key, "holds a private key but no certificate"),
        (other + certificate, "no certificate in it belongs to its private key"),
        (b"", "holds neither a key nor a certificate"),
        (b"hello", "holds neither a key nor a certificate"),
        (b"-----BEGIN CERTIFICATE-----", "does not end"),
        (certificate.replace(b"END CERT", b"END PERT") + key, "another label"),
        (key + certificate.replace(b"\nMII", b"\n*MII"), "not base64"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----", "OpenSSH"),
        (key + b"x" * (1 << 20), "larger than"),
        (key * 400, "more or larger private keys"),
    ):
        file = tmp_path / "alice.pem"
        file.write_bytes(content)
        with pytest.raises(UsageError, match=text) as caught:
            Identity.load(file)
        assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", ["missing.p12", "folder", "bad\0name"])
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    for load in (
        Identity.load,
        Contact.load,
        Contact.from_der,
        Contact.from_pem,
        Identity.from_pem,
    ):
        with pytest.raises(UsageError, match="cannot be read"):
            load(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.p12").touch(mode=0o000)
    with pytest.raises(UsageError, match="cannot be read"):
        Identity.load(tmp_path / "a.p12")


def test_from_pkcs12_takes_nothing_else(alice: Identity) -> None:
    for other in (alice.to_pem(), alice.certificate.der, b""):
        with pytest.raises(UsageError, match="not a PKCS#12"):
            Identity.from_pkcs12(other, password="secret")


def test_a_key_of_another_certificate_is_refused(alice: Identity) -> None:
    for key in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())):
        with pytest.raises(UsageError, match="is not that of the certificate"):
            Identity(key, alice.certificate)
    with pytest.raises(UsageError, match="not a private key"):
        Identity("key", alice.certificate)


def test_no_secret_is_in_a_repr_or_an_error(alice: Identity) -> None:
    shown = repr(alice) + repr(read_key_file(alice.to_pem()))
    assert "PrivateKey" not in shown
    assert "CN=alice@contoso.com" in shown
    with pytest.raises(WrongPassword) as caught:
        Identity.load(alice.to_pkcs12("correct horse"), password="battery staple")
    text = f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
    assert "horse" not in text
    assert "battery" not in text


class DeviceKey:
    """A key that stays where it is: it can sign and tell its public key."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key

    def public_key(self) -> rsa.RSAPublicKey:
        return self._key.public_key()

    def sign(self, *arguments: Any) -> bytes:
        return self._key.sign(*arguments)


def test_a_key_that_cannot_leave_its_device_is_an_identity_all_the_same(ca: CA) -> None:
    software = ca.issue("alice@contoso.com")
    identity = Identity(DeviceKey(software.private_key), software.certificate)
    assert identity.encryption_certificate == software.certificate
    exports: list[Callable[[], bytes]] = [identity.to_pem, lambda: identity.to_pkcs12("secret")]
    for export in exports:
        with pytest.raises(UsageError, match="cannot be exported"):
            export()


def test_pem_is_not_protected_by_an_empty_password(alice: Identity) -> None:
    with pytest.raises(UsageError, match="protects nothing"):
        alice.to_pem("")


# --- contacts ------------------------------------------------------------------------------------

AES256 = ber.sequence(ber.oid(oids.AES256_GCM))
AES128 = ber.sequence(ber.oid(oids.AES128_CBC))


def test_a_contact_is_read_from_pem_and_der(tmp_path: Path, alice: Identity) -> None:
    wanted = Contact(alice.certificate, capabilities=None, email="alice@contoso.com")
    (tmp_path / "a.pem").write_bytes(pem(alice.certificate))
    (tmp_path / "a.der").write_bytes(alice.certificate.der)
    for name in ("a.pem", "a.der"):
        assert Contact.load(tmp_path / name, email="alice@contoso.com") == wanted
    assert Contact.from_pem(tmp_path / "a.pem", email="alice@contoso.com") == wanted
    assert Contact.from_der(alice.certificate.der, email="alice@contoso.com") == wanted
    assert Contact.from_pem(pem(alice.certificate)).email is None


def test_capabilities_of_the_certificate_are_used_where_none_are_given(ca: CA) -> None:
    announced = ca.issue("a@contoso.com", key="p256", capabilities=[AES256, AES128]).certificate
    silent = ca.issue("a@contoso.com", key="p256").certificate
    nothing = ca.issue("a@contoso.com", key="p256", capabilities=[]).certificate
    assert Contact(announced).capabilities == (AES256, AES128)
    assert Contact(announced, capabilities=(AES128,)).capabilities == (AES128,)
    assert Contact(announced, capabilities=()).capabilities == ()
    assert Contact(silent).capabilities is None
    assert Contact(nothing).capabilities == ()


@pytest.mark.parametrize("element", [b"\x30\x00", b"\x30\x02\x02\x00", ber.integer(1), b"\xff"])
def test_capabilities_that_cannot_be_read_announce_nothing(ca: CA, element: bytes) -> None:
    certificate = ca.issue("a@contoso.com", key="p256", capabilities=[AES256, element]).certificate
    assert Contact(certificate).capabilities is None


def test_of_several_certificates_the_persons_own_is_the_contact(alice: Identity, ca: CA) -> None:
    file = pem(ca.root, ca.certificate, alice.certificate, alice.certificate)
    assert Contact.load(file).certificate == alice.certificate
    assert Contact.load(pem(ca.root)).certificate == ca.root  # alone: it is what was meant

    pair = ca.issue("carl@contoso.com", key="ed25519")
    assert pair.encryption is not None
    both = pem(pair.certificate, pair.encryption.certificate, ca.certificate)
    assert Contact.load(both).certificate == pair.encryption.certificate


def test_several_people_are_no_contact(alice: Identity, ca: CA) -> None:
    bob = ca.issue("bob@contoso.com", key="p256")
    with pytest.raises(UsageError, match=r"2 certificates that could be meant.*alice.*bob"):
        Contact.load(pem(alice.certificate, bob.certificate, ca.certificate))
    with pytest.raises(UsageError, match="of no person"):
        Contact.load(pem(ca.root, ca.certificate))
    signers = [ca.issue(f"{n}@contoso.com", key="p256", use="sign").certificate for n in "ab"]
    with pytest.raises(UsageError, match="2 certificates"):
        Contact.load(pem(*signers))
    with pytest.raises(UsageError, match="holds no certificate"):
        Contact.load(pem_key(alice.private_key))


def test_a_contact_needs_no_password_of_the_key_beside_it(alice: Identity) -> None:
    assert Contact.load(alice.to_pem("secret")).certificate == alice.certificate
    assert read_certificates(alice.to_pem("secret")) == (alice.certificate, *alice.chain)


# --- other people's files ------------------------------------------------------------------------

PEOPLE = {
    "Alice": ("4.5", "4.1", "4.3"),
    "Bob": ("5.5", "5.1", "5.3"),
    "Carlos": ("7.5", "7.1", "7.3"),
    "Dana": ("8.5", "8.1", "8.3"),
}


@needs_vectors
@pytest.mark.parametrize("name", PEOPLE)
def test_the_people_of_rfc_9216_sign_and_decrypt_with_their_own_keys(name: str) -> None:
    folder = VECTORS / "01_rfc9216" / "pem"
    p12, signing, encryption = (next(folder.glob(f"{number}_*")) for number in PEOPLE[name])
    read = Identity.load(p12, password=name.lower())
    assert read.certificate == Contact.load(signing).certificate
    assert read.encryption_certificate == Contact.load(encryption).certificate
    assert read.encryption is not None
    assert read.emails == read.encryption.emails == (f"{name.lower()}@smime.example",)
    (issuer,) = read.chain  # the cross-signed authority, without a root
    assert issuer.subject == read.certificate.issuer
    assert issuer.issuer != issuer.subject


def key_rows() -> list[Any]:
    if not VECTORS.is_dir():
        return []
    with (VECTORS / "MANIFEST.csv").open(newline="") as file:
        return [
            pytest.param(r, id=r["id"])
            for r in csv.DictReader(file)
            if (r["operation"], r["form"]) == ("load", "key") and r["set"][:3] in ("01_", "07h")
        ]


@needs_vectors
@pytest.mark.parametrize("row", key_rows())
def test_a_key_of_the_vectors_fits_its_certificate(row: dict[str, str]) -> None:
    key = VECTORS / row["file"]
    if not row["extra"]:
        assert len(read_key_file(key).keys) == 1
        return
    identity = Identity.from_pem(key, certificates=VECTORS / row["extra"])
    assert identity.certificate == Contact.load(VECTORS / row["extra"]).certificate


@needs_openssl
def test_openssl_reads_the_pem_that_we_write(tmp_path: Path, ca: CA) -> None:
    for key in ("rsa-2048", "p256", "ed25519", "x25519"):
        use: Any = "encrypt" if key == "x25519" else "both"
        (tmp_path / "a.pem").write_bytes(ca.issue("a@contoso.com", key=key, use=use).to_pem("pw"))
        for command in (("pkey", "-noout", "-passin", "pass:pw"), ("x509", "-noout")):
            done = subprocess.run(
                ["openssl", *command, "-in", str(tmp_path / "a.pem")],
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr


# --- any octets ----------------------------------------------------------------------------------

LABELS = ("CERTIFICATE", "PKCS12", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "X")


def armoured(label: str, octets: bytes) -> bytes:
    import base64

    text = base64.encodebytes(octets)
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label.encode(), text, label.encode())


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(LABELS), st.binary(max_size=60)), max_size=3), st.binary()
)
def test_any_octets_give_a_value_or_one_of_our_errors(
    blocks: list[tuple[str, bytes]], octets: bytes
) -> None:
    for file in (octets, b"0" + octets, b"".join(armoured(*b) for b in blocks) + octets):
        for load in (Identity.load, Contact.load, load_identities, Identity.from_pem):
            try:
                load(file)
            except SmimeGraphError:
                pass


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_change_to_a_key_file_gives_a_value_or_one_of_our_errors(
    alice: Identity, changes: st.DataObject
) -> None:
    key = alice.private_key.private_bytes(
        ser.Encoding.DER, ser.PrivateFormat.PKCS8, ser.NoEncryption()
    )
    file = bytearray(changes.draw(st.sampled_from([key, alice.certificate.der, alice.to_pem()])))
    for _ in range(changes.draw(st.integers(1, 3))):
        file[changes.draw(st.integers(0, len(file) - 1))] = changes.draw(st.integers(0, 255))
    for load in (Identity.load, Contact.load, read_key_file):
        try:
            load(bytes(file))
        except SmimeGraphError:
            pass


def test_a_file_of_many_beginnings_is_read_in_one_pass() -> None:
    with pytest.raises(UsageError, match="does not end"):
        Identity.load(b"-----BEGIN X-----\n" * 50_000)


def test_a_file_of_namesakes_is_read_in_bounded_time(ca: CA) -> None:
    """Every certificate has the key, and every one has the name of every other's issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    other = ca.create_intermediate("other", key=key)
    made = [
        other.create_intermediate(ca.certificate.x509.subject.rfc4514_string()[3:30], key=key)
        for _ in range(250)
    ]
    made += [ca.create_intermediate("other", key=key) for _ in range(249)]
    file = pem_key(key) + pem(*(one.certificate for one in made))
    started = time.monotonic()
    assert len(load_identities(file)) == 499
    assert time.monotonic() - started < 20
    with pytest.raises(UsageError, match="more than 500"):
        load_identities(file + pem(made[0].certificate, made[0].certificate))


def test_of_two_files_beside_each_other_the_wrong_one_names_the_right_one(
    tmp_path: Path, ca: CA
) -> None:
    alice = ca.issue("alice@contoso.com", key="p256")
    key, certificate = tmp_path / "a.b.key", tmp_path / "a.b.pem"
    pem = alice.to_pem()
    at = pem.index(b"-----BEGIN CERT")
    key.write_bytes(pem[:at])
    certificate.write_bytes(pem[at:])
    with pytest.raises(UsageError, match="holds no private key") as caught:
        Identity.load(certificate)
    assert caught.value.hint == f"{key}, beside it, has one"
    with pytest.raises(UsageError, match="only a private key") as caught:
        Contact.load(key)
    assert caught.value.hint == f"{certificate}, beside it, is the certificate"
    certificate.unlink()
    with pytest.raises(UsageError, match="only a private key") as caught:
        Contact.load(key)
    assert "give a certificate in PEM" in str(caught.value.hint)
