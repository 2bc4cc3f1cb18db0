"""PKCS#12 files of others, our own in other hands, and hostile ones."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import shutil
import subprocess
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.serialization import pkcs12 as pyca
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import oids
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA
from smime_graph.errors import MalformedMessage, SmimeGraphError, UsageError
from smime_graph.errors import UnsupportedAlgorithm as Unsupported
from smime_graph.pki.identity import Identity, WrongPassword, load_identities, read_key_file
from smime_graph.pki.keyfiles import pbe, pkcs12

VECTORS = Path(__file__).parents[3].parent / "shared" / "vectors"
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="../shared/vectors is not here")


def tool(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA(key="p256").create_intermediate(key="p256")


@pytest.fixture(scope="module")
def alice(ca: CA) -> Identity:
    return ca.issue("alice@contoso.com")


# --- other people's files ------------------------------------------------------------------------


def rows(form: str) -> list[Any]:
    if not VECTORS.is_dir():
        return []
    with (VECTORS / "MANIFEST.csv").open(newline="") as file:
        found = [r for r in csv.DictReader(file) if r["operation"] == "load" and r["form"] == form]
    return [pytest.param(r, id=r["id"]) for r in found]


# of one writer with slow RSA-4096 keys: the others tell the same
SAME = ("07b/intermediate", "07b/revoked")


@needs_vectors
@pytest.mark.parametrize("row", [r for r in rows("p12") if not str(r.id).startswith(SAME)])
def test_a_file_of_another_implementation_is_read(row: dict[str, str]) -> None:
    octets = (VECTORS / row["file"]).read_bytes()
    found = read_key_file(octets, passwords=[row["password"]])
    assert row["want"] == "ok"
    counts = [len(found.certificates), len(found.keys)]
    noted = re.search(r"certs=(\d+) keys=(\d+)|(\d+) certificates and (\d+) keys", row["note"])
    if noted is not None:
        assert counts == [int(n) for n in noted.groups() if n is not None]
    if octets.startswith(b"-----") or "pbmac1" in row["id"]:
        assert all(counts)
        return  # cryptography reads neither armour nor PBMAC1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of BER, and of serial numbers that are not positive
        peer = pyca.load_pkcs12(octets, row["password"].encode())
    certificates = [c.certificate for c in (peer.cert, *peer.additional_certs) if c is not None]
    assert {c.public_bytes(ser.Encoding.DER) for c in certificates} == {
        c.der for c in found.certificates
    }
    assert [k.private_numbers() for k in found.keys] == (
        [] if peer.key is None else [peer.key.private_numbers()]
    )


# one of each way to encrypt, and what has no encryption at all
LOCKED = (
    "01/4.5",
    "05/test_key_pbmac1",
    "07a/smime/Alice/",
    "07b/ec",
    "07e/example5",
    "07e/example7",
)


@needs_vectors
@pytest.mark.parametrize("row", [r for r in rows("p12") if str(r.id).startswith(LOCKED)])
def test_a_wrong_password_is_told_as_such(row: dict[str, str]) -> None:
    for password in ("not this one", "caf\xe9", b"\xff"):
        with pytest.raises(WrongPassword) as caught:
            read_key_file(VECTORS / row["file"], passwords=[password])
        assert "not this one" not in f"{caught.value} {caught.value.hint}"
        assert row["file"] in str(caught.value)
    with pytest.raises(WrongPassword, match="no password was given"):
        read_key_file(VECTORS / row["file"])


# --- our files in other hands --------------------------------------------------------------------


@tool("openssl")
@pytest.mark.parametrize("encryption", ["aes-256", "3des"])
@pytest.mark.parametrize("key", ["rsa-2048", "p384", "ed25519", "ed448"])
def test_openssl_reads_what_we_write(tmp_path: Path, ca: CA, key: str, encryption: Any) -> None:
    identity = ca.issue("alice@contoso.com", key=key)
    file = tmp_path / "a.p12"
    file.write_bytes(identity.to_pkcs12("pässword", encryption=encryption))
    pem = tmp_path / "a.pem"
    run("openssl", "pkcs12", "-in", file, "-passin", "pass:pässword", "-nodes", "-out", pem)
    read = Identity.load(pem)
    assert read.certificate == identity.certificate
    assert read.chain == identity.chain
    assert read.encryption_certificate == identity.encryption_certificate
    assert len(read_key_file(pem).keys) == len(identity.identities)


@pytest.mark.parametrize("encryption", ["aes-256", "3des"])
def test_cryptography_reads_what_we_write(alice: Identity, encryption: Any) -> None:
    read = pyca.load_pkcs12(alice.to_pkcs12("secret", encryption=encryption), b"secret")
    assert read.key is not None
    assert read.key.private_numbers() == alice.private_key.private_numbers()
    assert read.cert is not None
    assert read.cert.certificate == alice.certificate.x509
    assert [c.certificate for c in read.additional_certs] == [c.x509 for c in alice.chain]


@tool("pk12util")
@tool("certutil")
@pytest.mark.parametrize("key", ["rsa-2048", "p256"])
def test_nss_reads_what_we_write(tmp_path: Path, ca: CA, key: str) -> None:
    identity = ca.issue("alice@contoso.com", key=key)
    (tmp_path / "a.p12").write_bytes(identity.to_pkcs12("secret"))
    database = f"sql:{tmp_path}"
    run("certutil", "-N", "-d", database, "--empty-password")
    run("pk12util", "-i", tmp_path / "a.p12", "-d", database, "-W", "secret", "-K", "")
    assert "alice@contoso.com" in run("certutil", "-K", "-d", database)


@tool("gpgsm")
def test_gpgsm_reads_the_older_form(tmp_path: Path, alice: Identity) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (tmp_path / "a.p12").write_bytes(alice.to_pkcs12("secret", encryption="3des"))
    done = subprocess.run(
        [
            *("gpgsm", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback"),
            *("--passphrase-fd", "0", "--disable-dirmngr", "--import", str(tmp_path / "a.p12")),
        ],
        input="secret\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
    assert "secret keys imported: 1" in done.stderr, done.stderr


@tool("openssl")
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-legacy",),
        ("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"),
        ("-keypbe", "PBE-SHA1-2DES", "-certpbe", "PBE-SHA1-RC2-128", "-legacy"),
        ("-keypbe", "AES-128-CBC", "-certpbe", "NONE", "-macalg", "sha512"),
        ("-keypbe", "NONE", "-certpbe", "AES-192-CBC", "-nomac"),
        ("-iter", "1"),
        ("-noiter", "-nomaciter"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("password", ["pässwörd", ""])
def test_we_read_what_openssl_writes(
    tmp_path: Path, alice: Identity, options: tuple[str, ...], password: str
) -> None:
    (tmp_path / "a.pem").write_bytes(alice.to_pem())
    run(
        *("openssl", "pkcs12", "-export", "-in", "a.pem", "-out", "a.p12", *options),
        *("-passout", f"pass:{password}"),
        cwd=tmp_path,
    )
    read = Identity.from_pkcs12(tmp_path / "a.p12", password=password)
    assert read.certificate == alice.certificate
    assert read.chain == alice.chain


@tool("openssl")
@pytest.mark.parametrize(
    "options",
    [
        ("-v2", "aes-256-cbc"),
        ("-v2", "des3"),
        ("-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"),
        ("-scrypt",),
        ("-v1", "PBE-SHA1-3DES"),
    ],
    ids=" ".join,
)
def test_we_read_the_encrypted_pkcs8_that_openssl_writes(
    tmp_path: Path, alice: Identity, options: tuple[str, ...]
) -> None:
    (tmp_path / "a.pem").write_bytes(alice.to_pem())
    run(
        *("openssl", "pkcs8", "-topk8", "-in", "a.pem", "-out", "a.key", *options),
        *("-passout", "pass:secret"),
        cwd=tmp_path,
    )
    read = Identity.from_pem(tmp_path / "a.key", password="secret", certificates=alice.to_pem())
    assert read.certificate == alice.certificate
    with pytest.raises(WrongPassword):
        read_key_file(tmp_path / "a.key", passwords=["other"])


@pytest.mark.parametrize("encryption", ["aes-256", "3des"])
def test_the_contents_are_under_the_mac(alice: Identity, encryption: Any) -> None:
    data = alice.to_pkcs12("secret", encryption=encryption)
    changed = bytearray(data)
    changed[len(data) // 4] ^= 1  # within the encrypted certificates
    with pytest.raises(WrongPassword):
        Identity.from_pkcs12(bytes(changed), password="secret")


def test_an_empty_password_or_an_unknown_encryption_is_not_written(alice: Identity) -> None:
    with pytest.raises(UsageError, match="needs a password"):
        alice.to_pkcs12("")
    with pytest.raises(UsageError, match="rc4"):
        alice.to_pkcs12("secret", encryption="rc4")  # type: ignore[arg-type]


# --- hostile files -------------------------------------------------------------------------------


def pbkdf2(iterations: int, *, prf: str = "1.2.840.113549.2.9") -> bytes:
    parameters = ber.sequence(
        ber.octet_string(b"salt"), ber.integer(iterations), ber.sequence(ber.oid(prf), ber.null())
    )
    return ber.sequence(ber.oid("1.2.840.113549.1.5.12"), parameters)


def scrypt(n: int, r: int, p: int) -> bytes:
    parameters = ber.sequence(ber.octet_string(b"salt"), *map(ber.integer, (n, r, p)))
    return ber.sequence(ber.oid("1.3.6.1.4.1.11591.4.11"), parameters)


def pbes2(kdf: bytes, *, cipher: str = oids.AES256_CBC, iv: bytes = bytes(16)) -> bytes:
    scheme = ber.sequence(ber.oid(cipher), ber.octet_string(iv))
    return ber.sequence(ber.oid("1.2.840.113549.1.5.13"), ber.sequence(kdf, scheme))


def pbes1(iterations: int) -> bytes:
    parameters = ber.sequence(ber.octet_string(b"salt"), ber.integer(iterations))
    return ber.sequence(ber.oid("1.2.840.113549.1.12.1.3"), parameters)


def shrouded(algorithm: bytes, *, ciphertext: bytes = bytes(32)) -> bytes:
    return ber.sequence(algorithm, ber.octet_string(ciphertext))


def data(*contents: bytes) -> bytes:
    return ber.sequence(ber.oid(oids.DATA), ber.context(0, ber.octet_string(b"".join(contents))))


def bag(kind: int, value: bytes) -> bytes:
    return ber.sequence(ber.oid(f"1.2.840.113549.1.12.10.1.{kind}"), ber.context(0, value))


def keys(algorithm: bytes, *, ciphertext: bytes = bytes(32)) -> bytes:
    return data(ber.sequence(bag(2, shrouded(algorithm, ciphertext=ciphertext))))


def nested(depth: int) -> bytes:
    contents = ber.sequence()
    for _ in range(depth):
        contents = ber.sequence(bag(6, contents))
    return contents


def pfx(*infos: bytes, mac: bytes = b"", version: int = 3) -> bytes:
    return ber.sequence(ber.integer(version), data(ber.sequence(*infos)), mac)


def mac(iterations: int) -> bytes:
    info = ber.sequence(ber.sequence(ber.oid(oids.SHA256), ber.null()), ber.octet_string(bytes(32)))
    return ber.sequence(info, ber.octet_string(b"salt"), ber.integer(iterations))


HUGE = 2**31 - 1


@pytest.mark.parametrize(
    "file",
    [
        pfx(mac=mac(HUGE)),
        pfx(mac=mac(HUGE**3)),
        pfx(keys(pbes1(HUGE))),
        pfx(keys(pbes2(pbkdf2(HUGE)))),
        pfx(keys(pbes2(scrypt(2**40, 8, 1)))),
        pfx(keys(pbes2(scrypt(2**24, 64, 1)))),
        pfx(keys(pbes2(scrypt(2**14, 2**20, 1)))),
    ],
)
def test_endless_iterations_are_refused_before_they_begin(file: bytes) -> None:
    started = time.process_time()
    with pytest.raises(UsageError) as caught:
        read_key_file(file, passwords=["secret"])
    assert time.process_time() - started < 1
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "file",
    [
        pfx(mac=mac(9_900_000)),
        pfx(keys(pbes1(9_900_000))),
        pfx(keys(pbes2(pbkdf2(9_900_000)))),
        pfx(keys(pbes2(scrypt(2**16, 8, 19)))),
        shrouded(pbes2(pbkdf2(9_900_000))),
        shrouded(pbes2(scrypt(2**16, 8, 19))),
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
        + base64.encodebytes(shrouded(pbes2(pbkdf2(9_900_000))))
        + b"-----END ENCRYPTED PRIVATE KEY-----\n",
    ],
)
def test_more_iterations_than_a_file_is_granted_are_told(file: bytes, monkeypatch: Any) -> None:
    """Of a file, not of a bag: what was found and what is carried out stand in the error."""
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda *found: bytes(found[-1]))
    with pytest.raises(UsageError, match=r"ask for [\d,]{9,} iterations, at most 4,500,000"):
        read_key_file(file, passwords=["secret"])
    with pytest.raises(UsageError, match="at most 4,500,000"):
        load_identities(file, passwords=["secret"])


def test_what_firefox_asks_for_is_carried_out() -> None:
    """600,000 for each block: the MAC, and a key and an IV of 3DES for certificates and key."""
    budget = pbe.Budget()
    for blocks in (1, 2, 1, 2, 1):
        pbe.Secret(b"", b"", budget).spend(600_000, weight=blocks)
    assert budget.limit / 2 < budget.asked <= budget.limit


def test_the_iterations_of_all_bags_and_blocks_count_together(monkeypatch: Any) -> None:
    spent: list[int] = []

    def counted(digest: str, password: bytes, salt: bytes, iterations: int, size: int) -> bytes:
        spent.append(iterations)
        return bytes(size)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)
    block = shrouded(pbes2(pbkdf2(3_000_000)))
    budget = pbe.Budget(4_000_000)
    with pytest.raises(WrongPassword):
        pbe.decrypt_private_key_info(block, password="x", budget=budget)
    with pytest.raises(UsageError, match="iterations"):
        pbe.decrypt_private_key_info(block, password="x", budget=budget)
    assert spent == [3_000_000]  # the second time it was refused unspent


def test_no_iteration_at_all_is_malformed() -> None:
    for iterations in (0, -1):
        with pytest.raises(MalformedMessage, match="iterations"):
            pbe.decrypt_private_key_info(shrouded(pbes1(iterations)), password="x")


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (pfx(version=2), MalformedMessage),
        (pfx(ber.sequence(ber.oid(oids.ENVELOPED_DATA), ber.context(0, ber.null()))), Unsupported),
        (pfx(keys(pbes2(pbkdf2(1), cipher=oids.AES256_GCM))), Unsupported),
        (pfx(keys(pbes2(pbkdf2(1, prf="1.2.3")))), Unsupported),
        (pfx(keys(pbes2(pbkdf2(1), iv=b"short"))), MalformedMessage),
        (pfx(keys(pbes1(1), ciphertext=b"odd")), MalformedMessage),
        (pfx(keys(pbes1(1), ciphertext=b"")), MalformedMessage),
        (pfx(data(ber.sequence(*[bag(1, ber.sequence())] * 65))), UsageError),
        (pfx(data(nested(4))), MalformedMessage),
        (pfx() + b"\0", MalformedMessage),
    ],
)
def test_what_is_not_a_pkcs12_file_to_us_says_why(
    file: bytes, error: type[SmimeGraphError]
) -> None:
    with pytest.raises(error):
        pkcs12.read(file, password="x")


def test_safe_contents_may_be_nested_a_little() -> None:
    assert pkcs12.read(pfx(data(nested(3))), password=None).keys == ()


def test_the_password_of_random_padding_is_still_wrong(alice: Identity) -> None:
    """A wrong key leaves right padding once in 256 times; without a MAC only the contents tell."""
    key = alice.private_key.private_bytes(
        ser.Encoding.DER, ser.PrivateFormat.PKCS8, ser.BestAvailableEncryption(b"right")
    )
    for number in range(30):
        with pytest.raises(WrongPassword):
            pbe.decrypt_private_key_info(key, password=f"wrong{number}", budget=pbe.Budget())


@given(st.binary(max_size=300))
def test_any_octets_give_bags_or_one_of_our_errors(octets: bytes) -> None:
    for file in (octets, pfx(octets), pfx(data(octets)), pfx(mac=octets)):
        try:
            pkcs12.read(file, password="x", budget=pbe.Budget(1000))
        except SmimeGraphError:
            pass


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_change_to_a_file_gives_bags_or_one_of_our_errors(changes: st.DataObject) -> None:
    algorithm = changes.draw(st.sampled_from([pbes1(1), pbes2(pbkdf2(1)), pbes2(scrypt(2, 1, 1))]))
    file = bytearray(pfx(data(ber.sequence(bag(2, shrouded(algorithm)))), mac=b""))
    for _ in range(changes.draw(st.integers(1, 3))):
        file[changes.draw(st.integers(0, len(file) - 1))] = changes.draw(st.integers(0, 255))
    try:
        pkcs12.read(bytes(file), password="x", budget=pbe.Budget(1000))
    except SmimeGraphError:
        pass
