"""Keys of every kind in PKCS#12 and PEM, and the forms that ML-KEM and ML-DSA keys have."""

from __future__ import annotations

import csv
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import rsa

from smime_graph import oids
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA
from smime_graph.authority.profile import key_of
from smime_graph.errors import UsageError
from smime_graph.pki.identity import Identity, load_identities, read_key_file
from smime_graph.pki.keyfiles import pkcs12
from smime_graph.pki.keyfiles.private_key import load_private_key

VECTORS = Path(__file__).parents[3].parent / "shared" / "vectors"
PQC = VECTORS / "06_pqc"
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="../shared/vectors is not here")

SIGNING = ("ed25519", "ed448", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87")
ENCRYPTING = ("x25519", "x448", "ml-kem-768", "ml-kem-1024")
QUANTUM = [name for name in (*SIGNING, *ENCRYPTING) if name.startswith("ml-")]
OID = {name: getattr(oids, name.upper().replace("-", "_")) for name in QUANTUM}
EXPANDED = {"ml-dsa-44": 2560, "ml-dsa-65": 4032, "ml-dsa-87": 4896}


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA(key="p256").create_intermediate(key="p256")


def raw(key: Any) -> bytes:
    octets: bytes = key.private_bytes_raw()
    return octets


def forms(identity: Identity) -> list[Identity]:
    return [
        Identity.load(identity.to_pem()),
        Identity.load(identity.to_pem("secret"), password="secret"),
        Identity.load(identity.to_pkcs12("secret"), password="secret"),
        Identity.load(identity.to_pkcs12("secret", encryption="3des"), password="secret"),
    ]


@pytest.mark.parametrize("kind", SIGNING)
def test_who_signs_with_any_kind_of_key_is_read_back_with_the_companion(ca: CA, kind: str) -> None:
    identity = ca.issue("alice@contoso.com", key=kind)
    assert identity.encryption is not None
    for read in forms(identity):
        assert read.encryption is not None
        assert read.certificate == identity.certificate
        assert read.chain == identity.chain
        assert read.encryption.certificate == identity.encryption.certificate
        assert raw(read.private_key) == raw(identity.private_key)
        assert raw(read.encryption.private_key) == raw(identity.encryption.private_key)


@pytest.mark.parametrize("kind", ENCRYPTING)
def test_a_key_that_only_decrypts_is_read_back(ca: CA, kind: str) -> None:
    identity = ca.issue("alice@contoso.com", key=kind, use="encrypt")
    for read in forms(identity):
        assert read.certificate == identity.certificate == read.encryption_certificate
        assert raw(read.private_key) == raw(identity.private_key)
    (one,) = load_identities(identity.to_pkcs12("secret"), passwords=["secret"])
    assert raw(one.private_key) == raw(identity.private_key)


# --- seed, expanded, both ------------------------------------------------------------------------


def private_key_info(oid: str, octets: bytes, version: int = 0) -> bytes:
    algorithm = ber.sequence(ber.oid(oid))
    return ber.sequence(ber.integer(version), algorithm, ber.octet_string(octets))


def both(seed: bytes, expanded: bytes) -> bytes:
    return ber.sequence(ber.octet_string(seed), ber.octet_string(expanded))


def expanded_of(key: Any, kind: str) -> bytes:
    """What is known of an expanded key from outside; the rest, which nothing reads, is zeros."""
    public: bytes = key.public_key().public_bytes_raw()
    seed = raw(key)
    if kind in EXPANDED:
        head = public[:32] + bytes(32) + hashlib.shake_256(public).digest(64)
        return head + bytes(EXPANDED[kind] - 128)
    return bytes(len(public) - 32) + public + hashlib.sha3_256(public).digest() + seed[32:]


@pytest.mark.parametrize("kind", QUANTUM)
def test_of_seed_and_expanded_key_together_the_seed_is_taken(ca: CA, kind: str) -> None:
    use: Any = "sign" if kind in SIGNING else "encrypt"
    identity = ca.issue("alice@contoso.com", key=kind, use=use)
    key = identity.private_key
    info = private_key_info(OID[kind], both(raw(key), expanded_of(key, kind)))
    assert [raw(k) for k in read_key_file(info).keys] == [raw(key)]
    p12 = pkcs12.write([(info, identity.certificate.der)], password="secret")
    assert raw(Identity.load(p12, password="secret").private_key) == raw(key)


@pytest.mark.parametrize("kind", QUANTUM)
def test_a_seed_beside_another_keys_expanded_form_is_refused(kind: str) -> None:
    key, other = key_of(kind)[0], key_of(kind)[0]
    good = expanded_of(key, kind)
    for expanded in (expanded_of(other, kind), good[:-1], good + b"\0", b""):
        info = private_key_info(OID[kind], both(raw(key), expanded))
        with pytest.raises(UsageError) as caught:
            read_key_file(info)
        wanted = f"an {kind.upper()} private key whose seed and expanded form are not one key"
        assert wanted in str(caught.value)
    if kind not in EXPANDED:  # the second half of the seed is repeated too
        mixed = both(raw(key)[:32] + raw(other)[32:], good)
        with pytest.raises(UsageError, match="not one key"):
            read_key_file(private_key_info(OID[kind], mixed))


@pytest.mark.parametrize("kind", QUANTUM)
def test_an_expanded_key_alone_is_refused_by_name(kind: str) -> None:
    key = key_of(kind)[0]
    info = private_key_info(OID[kind], ber.octet_string(expanded_of(key, kind)))
    p12 = pkcs12.write([(info, b"0\0")], password="secret")
    for octets in (info, p12):
        with pytest.raises(UsageError) as caught:
            read_key_file(octets, passwords=["secret"])
        assert f"an {kind.upper()} private key in the expanded form alone" in str(caught.value)
        assert "seed" in str(caught.value.hint)


@pytest.mark.parametrize("kind", QUANTUM)
def test_any_other_octets_are_no_key_and_are_not_quoted(kind: str) -> None:
    seed = raw(key_of(kind)[0])
    choice = ber.context(0, seed, constructed=False)
    for octets in (
        b"",
        seed,  # without its tag
        choice[:-1],
        choice + b"\0",
        ber.context(0, seed[:-1], constructed=False),
        ber.context(1, seed, constructed=False),
        both(seed[:-1], bytes(2400)),
        ber.sequence(ber.octet_string(seed)),
        ber.sequence(ber.octet_string(seed), ber.octet_string(b""), ber.null()),
    ):
        with pytest.raises(UsageError) as caught:
            read_key_file(private_key_info(OID[kind], octets))
        assert seed.hex()[:16] not in repr(caught.value)
        assert repr(seed)[2:12] not in repr(caught.value)


def test_a_key_of_a_kind_without_a_primitive_is_named() -> None:
    seed = ber.context(0, bytes(64), constructed=False)
    for oid, name in (
        (oids.ML_KEM_512, "ML-KEM-512"),
        ("2.16.840.1.101.3.4.3.20", "SLH-DSA-SHA2-128s"),
        ("1.2.3.4", "1.2.3.4"),
    ):
        with pytest.raises(UsageError, match=re.escape(name) + ".* is not supported"):
            read_key_file(private_key_info(oid, seed))


def test_a_key_of_the_second_version_may_carry_its_public_key() -> None:
    # OneAsymmetricKey (RFC 5958 2): version 1, [1] publicKey at the end
    key = key_of("ml-kem-768")[0]
    public = ber.context(1, b"\0" + key.public_key().public_bytes_raw(), constructed=False)
    form = both(raw(key), expanded_of(key, "ml-kem-768"))
    info = ber.sequence(
        ber.integer(1), ber.sequence(ber.oid(oids.ML_KEM_768)), ber.octet_string(form), public
    )
    assert [raw(k) for k in read_key_file(info).keys] == [raw(key)]


# --- other people's keys -------------------------------------------------------------------------


@needs_vectors
@pytest.mark.parametrize(
    ("file", "certificate"),
    [
        ("bc-test-data_pkix/cert/mldsa/ML-DSA-44.pem", None),
        ("bc-test-data_pkix/cert/mldsa/ML-DSA-65.pem", None),
        ("bc-test-data_pkix/cert/mldsa/ML-DSA-87.pem", None),
        ("bc-test-data_pkix/cert/mlkem/ML-KEM-768.pem", None),
        ("bc-test-data_pkix/cert/mlkem/ML-KEM-1024.pem", None),
        # both forms
        (
            "hackathon_cms_v3/bc/ml-kem-768-2.16.840.1.101.3.4.4.2_priv.der",
            "hackathon_cms_v3/bc/ml-kem-768-2.16.840.1.101.3.4.4.2_ee.der",
        ),
        (
            "hackathon_cms_v3/bc/ml-kem-1024-2.16.840.1.101.3.4.4.3_priv.der",
            "hackathon_cms_v3/bc/ml-kem-1024-2.16.840.1.101.3.4.4.3_ee.der",
        ),
    ],
)
def test_a_quantum_safe_key_of_others_fits_its_certificate(
    file: str, certificate: str | None
) -> None:
    if certificate is None:
        assert Identity.load(PQC / file).certificate
        return
    found = load_identities(b"".join(pem_of(PQC / name) for name in (file, certificate)))
    assert len(found) == 1


def pem_of(path: Path) -> bytes:
    from base64 import encodebytes

    label = b"PRIVATE KEY" if "_priv" in path.name else b"CERTIFICATE"
    body = encodebytes(path.read_bytes())
    return b"-----BEGIN " + label + b"-----\n" + body + b"-----END " + label + b"-----\n"


@needs_vectors
@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("rfc9936_cms-kyber/mldsa65RootCA.priv", "an ML-DSA-65 private key in the expanded form"),
        ("rfc9936_cms-kyber/ML-KEM-512-seed.priv", "ML-KEM-512"),
        ("rfc9936_cms-kyber/ML-KEM-512-both.priv", "ML-KEM-512"),
        ("rfc9936_cms-kyber/ML-KEM-512-expanded.priv", "ML-KEM-512"),
        ("bc-test-data_pkix/cert/slhdsa/SLH-DSA-SHA2-128S.pem", "SLH-DSA-SHA2-128s"),
        ("hackathon_cms_v3/bc/ml-kem-512-2.16.840.1.101.3.4.4.1_priv.der", "ML-KEM-512"),
        (
            "hackathon_cms_v3/bc/MLKEM768-X25519-SHA3-256-1.3.6.1.5.5.7.6.58_priv.der",
            "1.3.6.1.5.5.7.6.58",
        ),
    ],
)
def test_a_quantum_safe_key_that_cannot_be_used_is_named(file: str, what: str) -> None:
    with pytest.raises(UsageError, match=re.escape(what)):
        read_key_file(PQC / file)


def key_rows() -> list[Any]:
    if not VECTORS.is_dir():
        return []
    with (VECTORS / "MANIFEST.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if (r["operation"], r["form"]) == ("load", "key")]
    return [pytest.param(r, id=r["id"]) for r in rows if r["want"] == "ok"]


@needs_vectors
@pytest.mark.parametrize("row", key_rows())
def test_every_key_of_the_vectors_is_read(row: dict[str, str]) -> None:
    found = read_key_file(VECTORS / row["file"], passwords=[row["password"]])
    assert found.keys
    for key in found.keys:
        assert ser.load_der_private_key(
            key.private_bytes(ser.Encoding.DER, ser.PrivateFormat.PKCS8, ser.NoEncryption()),
            None,
        )


# --- RSA: the numbers of one key (RFC 8017 3.2) -----------------------------------------------

NUMBERS = ("n", "e", "d", "p", "q", "dmp1", "dmq1", "iqmp")


def rsa_der(changed: dict[str, Any]) -> bytes:
    key = rsa.generate_private_key(65537, 2048).private_numbers()
    public = key.public_numbers
    found = {"n": public.n, "e": public.e} | {name: getattr(key, name) for name in NUMBERS[2:]}
    found |= {name: change(found[name]) for name, change in changed.items()}
    return ber.sequence(ber.integer(0), *(ber.integer(found[name]) for name in NUMBERS))


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "change",
    [
        lambda number: number + 2,
        lambda number: number ^ 1 << number.bit_length() // 2,
        lambda number: 2 * number,
        lambda _: 0,
        lambda _: 1,
        lambda number: -number,
    ],
    ids=["other", "one bit", "twice", "zero", "one", "negative"],
)
def test_an_rsa_key_whose_numbers_are_not_of_one_key_is_refused(name: str, change: Any) -> None:
    with pytest.raises(UsageError, match="malformed or of an unknown kind"):
        load_private_key(rsa_der({name: change}))


def test_an_rsa_key_is_read_as_it_was_made() -> None:
    assert load_private_key(rsa_der({})).key_size == 2048
    for bits in (1024, 2048, 3072):
        key = rsa.generate_private_key(65537, bits)
        for form in (ser.PrivateFormat.PKCS8, ser.PrivateFormat.TraditionalOpenSSL):
            der = key.private_bytes(ser.Encoding.DER, form, ser.NoEncryption())
            assert load_private_key(der).private_numbers() == key.private_numbers()
