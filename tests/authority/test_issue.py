"""The test authority: what its certificates say, and what openssl makes of them."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from smime_graph import algorithms, oids
from smime_graph.algorithms import KeyKind
from smime_graph.authority.issue import CA, forged, write_identity
from smime_graph.errors import UsageError
from smime_graph.pki.identity import Contact, Identity

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
# what openssl 3.0, the oldest release still looked after, knows
READ_BY_OPENSSL = [
    pytest.param(one.name, kind.signs, id=one.name)
    for kind in algorithms.rows(KeyKind)
    for one in kind.parameter_sets
    if not kind.quantum_safe
]

openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def run(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA(key="p256", at=AT)


def extension(identity: Identity, kind: type) -> x509.Extension[Any]:
    return identity.certificate.extensions.get_extension_for_class(kind)


def usages(identity: Identity) -> set[str]:
    value = extension(identity, x509.KeyUsage).value
    names = "digital_signature content_commitment key_encipherment key_agreement key_cert_sign"
    return {name for name in names.split() if getattr(value, name)}


# --- the profile ---------------------------------------------------------------------------------


def test_a_leaf_follows_the_mailbox_profile(ca: CA) -> None:
    alice = ca.issue("Alice@contoso.com", key="p256")
    certificate = alice.certificate.x509

    assert alice.emails == ("Alice@contoso.com",)
    assert certificate.subject.rfc4514_string() == "CN=Alice@contoso.com"
    assert certificate.version is x509.Version.v3
    assert 64 < certificate.serial_number.bit_length() < 160
    assert {e.oid.dotted_string: e.critical for e in certificate.extensions} == {
        "2.5.29.35": False,  # authorityKeyIdentifier
        "2.5.29.14": False,
        "2.5.29.15": True,  # keyUsage
        "2.5.29.37": False,
        "2.5.29.32": False,
        "2.5.29.17": False,
    }
    purposes = [p.dotted_string for p in extension(alice, x509.ExtendedKeyUsage).value]
    assert purposes == [oids.EMAIL_PROTECTION]
    policies = extension(alice, x509.CertificatePolicies).value
    assert [p.policy_identifier.dotted_string for p in policies] == [oids.MAILBOX_STRICT]
    key_identifier = extension(alice, x509.AuthorityKeyIdentifier).value.key_identifier
    assert key_identifier == ca.certificate.subject_key_identifier


def test_a_leaf_lives_no_longer_than_825_days_both_ends_included(ca: CA) -> None:
    certificate = ca.issue("a@contoso.com", key="p256").certificate
    lived = certificate.not_after - certificate.not_before + timedelta(seconds=1)
    assert lived == timedelta(days=825)
    assert certificate.not_before < AT


def test_a_leaf_does_not_outlive_its_authority_unless_told_so() -> None:
    ca = CA(key="p256", at=AT, lifetime=timedelta(days=30))
    end = ca.certificate.not_after
    assert ca.issue("a@contoso.com", key="p256").certificate.not_after == end
    later = end + timedelta(days=1)
    assert ca.issue("a@contoso.com", key="p256", not_after=later).certificate.not_after == later


@pytest.mark.parametrize(
    ("key", "use", "wanted"),
    [
        ("rsa-2048", "both", {"digital_signature", "key_encipherment"}),
        ("rsa-2048", "sign", {"digital_signature"}),
        ("rsa-2048", "encrypt", {"key_encipherment"}),
        ("p384", "both", {"digital_signature", "key_agreement"}),
        ("p384", "sign", {"digital_signature"}),
        ("p521", "encrypt", {"key_agreement"}),
        ("ed25519", "sign", {"digital_signature"}),
        ("ed448", "sign", {"digital_signature"}),
        ("x25519", "encrypt", {"key_agreement"}),
        ("x448", "encrypt", {"key_agreement"}),
        ("ml-dsa-65", "sign", {"digital_signature"}),
        ("ml-kem-768", "encrypt", {"key_encipherment"}),
    ],
)
def test_key_usage_is_that_of_the_kind_of_key_and_its_use(
    ca: CA, key: str, use: Any, wanted: set[str]
) -> None:
    identity = ca.issue("a@contoso.com", key=key, use=use)
    assert usages(identity) == wanted
    assert identity.encryption is None


@pytest.mark.parametrize(
    ("key", "companion"),
    [
        ("ed25519", "1.3.101.110"),
        ("ed448", "1.3.101.111"),
        ("ml-dsa-65", "2.16.840.1.101.3.4.4.2"),
        ("ml-dsa-87", "2.16.840.1.101.3.4.4.3"),
    ],
)
def test_a_key_that_only_signs_brings_its_companion_for_encryption(
    ca: CA, key: str, companion: str
) -> None:
    identity = ca.issue("a@contoso.com", key=key)
    assert usages(identity) == {"digital_signature"}
    assert identity.encryption is not None
    assert identity.encryption.certificate.key_algorithm == companion
    assert identity.encryption.emails == identity.emails
    assert identity.encryption_certificate == identity.encryption.certificate


@pytest.mark.parametrize(
    ("key", "use", "hint"),
    [("ed25519", "encrypt", "x25519"), ("x25519", "sign", ""), ("ml-kem-768", "both", "encrypt")],
)
def test_a_use_that_the_kind_of_key_does_not_have_is_refused(
    ca: CA, key: str, use: Any, hint: str
) -> None:
    with pytest.raises(UsageError, match=f"a {key} key cannot") as caught:
        ca.issue("a@contoso.com", key=key, use=use)
    assert hint in str(caught.value.hint)


def test_an_unknown_kind_of_key_is_refused_with_the_known_ones(ca: CA) -> None:
    with pytest.raises(UsageError, match="dsa-1024") as caught:
        ca.issue("a@contoso.com", key="dsa-1024")
    assert "rsa-2048" in str(caught.value.hint)


def test_a_local_part_that_is_not_ascii_becomes_an_smtp_utf8_mailbox(ca: CA) -> None:
    identity = ca.issue("jürgen@bücher.example", "j@straße.example", key="p256")
    other, plain = extension(identity, x509.SubjectAlternativeName).value
    assert other.type_id.dotted_string == oids.SMTP_UTF8_MAILBOX
    text = "jürgen@xn--bcher-kva.example".encode()
    assert other.value == bytes((0x0C, len(text))) + text
    assert plain == x509.RFC822Name("j@xn--strae-oqa.example")  # IDNA 2008: not strasse


def test_an_address_too_long_for_a_common_name_leaves_the_subject_empty(ca: CA) -> None:
    email = "a" * 60 + "@contoso.com"
    identity = ca.issue(email, key="p256")
    assert list(identity.certificate.x509.subject) == []
    assert extension(identity, x509.SubjectAlternativeName).critical  # RFC 5280 4.2.1.6
    assert identity.emails == (email,)


@pytest.mark.parametrize("email", ["", "alice", "@contoso.com", "alice@", "a b@c.com", "a\n@c.com"])
def test_what_is_no_address_is_refused(ca: CA, email: str) -> None:
    with pytest.raises(UsageError):
        ca.issue(email, key="p256")


def test_what_a_test_wants_otherwise_is_an_argument(ca: CA) -> None:
    expired = ca.issue(
        "a@contoso.com",
        key="p256",
        not_before=AT - timedelta(days=20),
        not_after=AT - timedelta(days=10),
        eku=None,
        policies=(),
        key_usage=("content_commitment",),
    )
    assert expired.certificate.not_after < AT
    assert usages(expired) == {"content_commitment"}
    kinds = {e.oid.dotted_string for e in expired.certificate.extensions}
    assert kinds == {"2.5.29.35", "2.5.29.14", "2.5.29.15", "2.5.29.17"}

    nobody = ca.issue(name="nobody at all", key="p256")
    assert nobody.emails == ()

    distribution = x509.DistributionPoint(
        [x509.UniformResourceIdentifier("http://127.0.0.1/ca.crl")], None, None, None
    )
    points = x509.CRLDistributionPoints([distribution])
    added = ca.issue(
        "a@contoso.com", key="p256", extensions=[x509.Extension(points.oid, False, points)]
    )
    assert extension(added, x509.CRLDistributionPoints).value == points


def test_a_time_without_a_zone_is_refused(ca: CA) -> None:
    with pytest.raises(UsageError, match="time zone"):
        ca.issue("a@contoso.com", key="p256", not_after=datetime(2030, 1, 1))  # noqa: DTZ001
    with pytest.raises(UsageError, match="time zone"):
        CA(key="p256", at=datetime(2030, 1, 1))  # noqa: DTZ001


def test_what_cannot_be_put_into_a_certificate_is_a_usage_error(ca: CA) -> None:
    for wrong in (
        {"serial": 0},
        {"serial": 1 << 160},
        {"not_after": AT - timedelta(days=900)},
        {"eku": ["emailProtection"]},
        {"key_usage": ["sign"]},
        {"key_usage": ["encipher_only"]},
    ):
        with pytest.raises(UsageError):
            ca.issue("a@contoso.com", key="p256", **wrong)
    with pytest.raises(UsageError):
        CA("x" * 65, key="p256")
    with pytest.raises(UsageError, match="cannot sign"):
        CA(key="x25519")
    with pytest.raises(UsageError, match="kind of key"):
        CA(key=object())


def test_the_same_ec_key_serial_and_time_give_the_same_octets() -> None:
    key = ec.derive_private_key(7, ec.SECP256R1())
    one, other = (
        CA(key=key, at=AT, serial=1).issue("a@contoso.com", key=key, serial=2) for _ in range(2)
    )
    assert one.certificate == other.certificate


# --- chains --------------------------------------------------------------------------------------


def test_an_intermediate_is_in_the_chain_and_the_root_is_not(ca: CA) -> None:
    upper = ca.create_intermediate("upper", key="p256", path_length=1)
    lower = upper.create_intermediate("lower", key="ed25519")
    alice = lower.issue("alice@contoso.com", key="p256")
    assert alice.chain == (lower.certificate, upper.certificate)
    assert lower.root == ca.certificate
    assert lower.trust_pem == ca.trust_pem
    assert ca.issue("a@contoso.com", key="p256").chain == ()
    basic = lower.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert basic.value == x509.BasicConstraints(ca=True, path_length=0)


@openssl
@pytest.mark.parametrize(("key", "signs"), READ_BY_OPENSSL)
def test_openssl_verifies_what_an_intermediate_issued(
    tmp_path: Path, key: str, signs: bool
) -> None:
    authority_key = "p256" if not signs or key.startswith(("rsa", "brainpool")) else key
    ca = CA(key=authority_key)
    issuing = ca.create_intermediate(key=authority_key)
    use: Any = "both" if signs else "encrypt"
    identity = issuing.issue("alice@contoso.com", key=key, use=use)
    (tmp_path / "root.pem").write_bytes(ca.trust_pem)
    for number, one in enumerate(identity.identities):
        leaf = tmp_path / f"leaf{number}.pem"
        leaf.write_bytes(x509_pem(one.certificate.der))
        chain = tmp_path / "chain.pem"
        chain.write_bytes(b"".join(x509_pem(c.der) for c in identity.chain))
        # signing is the one mail purpose that openssl judges alike for every kind of key
        signs = "digital_signature" in usages(one)
        purpose = ("-purpose", "smimesign", "-verify_email", "alice@contoso.com") if signs else ()
        run(
            *("openssl", "verify", "-x509_strict", "-auth_level", "0", *purpose),
            *("-CAfile", tmp_path / "root.pem", "-untrusted", chain, leaf),
        )


def x509_pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def test_forged_authorities_share_the_names_and_not_the_key(ca: CA) -> None:
    made = forged(ca.certificate, count=40)
    assert len({c.public_key_info for c in made} | {ca.certificate.public_key_info}) == 41
    for certificate in made:
        assert certificate.subject == certificate.issuer == ca.certificate.subject
        assert certificate.subject_key_identifier == ca.certificate.subject_key_identifier
        with pytest.raises(InvalidSignature):
            certificate.x509.verify_directly_issued_by(ca.certificate.x509)


# --- files ---------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_authority_comes_back_from_its_folder_and_keeps_its_index(tmp_path: Path) -> None:
    upper = CA(key="p256", at=AT)
    made = upper.create_intermediate(key="p256")
    made.save(tmp_path / "ca")
    loaded = CA.load(tmp_path / "ca", at=AT)
    assert loaded.certificate == made.certificate
    assert loaded.root == upper.certificate

    identity = loaded.issue("alice@contoso.com", key="ed25519")
    index = json.loads((tmp_path / "ca" / "index.json").read_text())["issued"]
    assert index == CA.load(tmp_path / "ca").issued
    assert [e["serial"] for e in index] == [
        f"{i.certificate.serial_number:x}" for i in identity.identities
    ]
    assert index[0]["emails"] == ["alice@contoso.com"]
    assert identity.chain == (made.certificate,)


def test_nobody_else_may_read_a_key(tmp_path: Path, ca: CA) -> None:
    CA(key="p256").save(tmp_path)
    written = write_identity(ca.issue("a@contoso.com", key="p256"), tmp_path, password="x")
    assert [p.name for p in written] == ["a@contoso.com.key", "a@contoso.com.pem"] + [
        "a@contoso.com.p12"
    ]
    assert mode(tmp_path / "ca.key") == mode(written[0]) == mode(written[2]) == 0o600
    assert b"PRIVATE" not in written[1].read_bytes()
    assert b"PRIVATE" not in (tmp_path / "ca.pem").read_bytes()
    names = {"ca.key", "ca.pem", "index.json", *(p.name for p in written)}
    assert {p.name for p in tmp_path.iterdir()} == names  # and nothing temporary


@pytest.mark.parametrize("there", ["ca.key", "ca.pem", "index.json"])
def test_an_authority_is_never_written_over_another(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(UsageError, match="already"):
        CA(key="p256").save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_an_authority_may_move_into_a_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    CA(key="p256").save(tmp_path)
    assert CA.load(tmp_path).issued == []


def test_a_second_key_of_the_same_name_does_not_replace_the_first(tmp_path: Path, ca: CA) -> None:
    first = write_identity(ca.issue("a@contoso.com", key="p256"), tmp_path)
    before = first[0].read_bytes()
    second = write_identity(ca.issue("a@contoso.com", key="p256"), tmp_path)
    assert second[0].name == "a@contoso.com-2.key"
    assert first[0].read_bytes() == before


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path, ca: CA) -> None:
    identity = ca.issue("../../etc/x@contoso.com", key="p256", name="x")
    inside = tmp_path / "a" / "b"
    for path in write_identity(identity, inside):
        assert path.parent == inside
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_two_who_issue_at_once_lose_no_entry(tmp_path: Path) -> None:
    CA(key="p256").save(tmp_path)

    def issue(number: int) -> None:
        CA.load(tmp_path).issue(f"u{number}@contoso.com", key="p256")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(issue, range(12)))
    listed = {e["emails"][0] for e in CA.load(tmp_path).issued}
    assert listed == {f"u{n}@contoso.com" for n in range(12)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("index.json", b"[]"),
        ("index.json", b'{"issued": [1]}'),
        ("index.json", b"\xff"),
        ("ca.pem", b""),
        ("ca.key", b""),
        ("ca.key", None),
    ],
)
def test_a_damaged_authority_is_a_usage_error(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    CA(key="p256").save(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=str(tmp_path)):
        CA.load(tmp_path)


def test_nothing_is_issued_that_cannot_be_entered_in_the_index(tmp_path: Path) -> None:
    ca = CA(key="p256")
    ca.save(tmp_path / "ca")
    shutil.rmtree(tmp_path / "ca")
    with pytest.raises(UsageError, match="cannot be written"):
        ca.issue("a@contoso.com", key="p256")
    with pytest.raises(UsageError, match="cannot be written"):
        write_identity(CA(key="p256").issue("a@contoso.com", key="p256"), "/dev/null/folder")


def test_a_key_that_is_not_the_authoritys_is_refused(ca: CA) -> None:
    with pytest.raises(UsageError, match="is not that of"):
        CA.from_key(ed25519.Ed25519PrivateKey.generate(), ca.certificate)


def test_what_write_identity_wrote_is_read_back(tmp_path: Path, ca: CA) -> None:
    issuing = ca.create_intermediate(key="p256")
    for key in ("p256", "ed25519", "ml-dsa-65"):
        identity = issuing.issue(f"{key}@contoso.com", key=key)
        key_file, certificates, p12 = write_identity(identity, tmp_path, password="secret")
        for read in (
            Identity.from_pem(key_file, certificates=certificates),
            Identity.load(p12, password="secret"),
        ):
            assert read.certificate == identity.certificate
            assert read.chain == identity.chain
            assert read.encryption_certificate == identity.encryption_certificate
        contact = Contact.load(certificates)
        assert contact.certificate == identity.encryption_certificate
