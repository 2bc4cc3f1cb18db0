"""GnuTLS (certtool), NSS (cmsutil) and GnuPG (gpgsm): second opinions on what OpenSSL accepts.

Each has limits of its own, which are named where a row leaves something out.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes

from smime_graph import EXCHANGE, Contact, Policy, SmimeGraphError, decrypt, encrypt, verify
from smime_graph.cms import signed_data
from smime_graph.smime.entity import Entity

SCHEMES = ("rsa", "rsa-pss", "p256", "p384", "p521")
ANYBODY = EXCHANGE.but("anybody", sender_must_match=False, every_recipient_must_read=False)


def _signed(
    people: Any,
    entity: bytes,
    *schemes: str,
    detached: bool = True,
    digest: str = "sha256",
    sid: Any = "issuer",
) -> bytes:
    policy: Policy = ANYBODY.but(
        "one",
        digest=digest,
        rsa_signature="rsassa-pss" if "rsa-pss" in schemes else "rsassa-pkcs1v15",
    )
    signers = [people[f"alice-{scheme.removesuffix('-pss')}"] for scheme in schemes]
    at = datetime.now(UTC)
    der, _ = signed_data.sign(entity, signers, detached=detached, policy=policy, at=at, sid=sid)
    return der


def _encrypted(people: Any, entity: bytes, recipient: str, cipher: str) -> bytes:
    contact = Contact(people[recipient].certificate)
    policy = ANYBODY.but("one", ciphers=(cipher,))
    made = encrypt(b"X: y\r\n" + entity, recipients=[contact], policy=policy)
    return Entity(made).decoded_body()


# --- GnuTLS -------------------------------------------------------------------------------


class TestGnuTls:
    """It writes and reads signatures only.

    Version 3.7 takes every PSS signature for one with SHA-256 (OpenSSL's too), and ignores
    `--sign-params RSA-PSS` for PKCS#7.
    """

    @pytest.fixture(autouse=True)
    def _certtool(self, need: Callable[..., None]) -> None:
        need("certtool")

    @pytest.fixture
    def judge(self, people: Any, run: Any, tmp_path: Path) -> Callable[[bytes, bytes], bytes]:
        def judge(der: bytes, content: bytes) -> bytes:
            signature, file = tmp_path / "s.der", tmp_path / "content"
            signature.write_bytes(der)
            file.write_bytes(content)
            command = ["certtool", "--p7-verify", "--inder", "--infile", signature]
            command += ["--load-data", file, "--load-ca-certificate", people.folder / "root.pem"]
            return bytes(run(*command))

        return judge

    @pytest.mark.parametrize(
        ("scheme", "digest"),
        [
            (scheme, digest)
            for scheme in SCHEMES
            for digest in ("sha256", "sha384", "sha512")
            if scheme != "rsa-pss" or digest == "sha256"
        ],
    )
    def test_our_signatures_are_verified(
        self, scheme: str, digest: str, people: Any, judge: Any, record: Any, entity: bytes
    ) -> None:
        judge(_signed(people, entity, scheme, digest=digest), entity)
        record("gnutls", f"{scheme} {digest}", "made")

    @pytest.mark.parametrize("scheme", ["rsa", "p256"])
    def test_our_key_identifiers_are_read(
        self, scheme: str, people: Any, judge: Any, record: Any, entity: bytes
    ) -> None:
        judge(_signed(people, entity, scheme, sid="ski"), entity)
        record("gnutls", f"{scheme} by key identifier", "made")

    def test_several_signers_are_verified(
        self, people: Any, judge: Any, record: Any, entity: bytes
    ) -> None:
        judge(_signed(people, entity, "rsa", "p256", "p521"), entity)
        record("gnutls", "three signers", "made")

    def test_changed_content_is_refused(
        self, people: Any, judge: Any, refused: Any, entity: bytes
    ) -> None:
        with pytest.raises(refused):
            judge(_signed(people, entity, "rsa"), entity + b"x")

    @pytest.mark.parametrize("scheme", ["rsa", "p256", "p384", "p521"])
    def test_its_signatures_are_read(
        self, scheme: str, people: Any, run: Any, record: Any, entity: bytes, tmp_path: Path
    ) -> None:
        content, made = tmp_path / "content", tmp_path / "s.der"
        content.write_bytes(entity)
        pem = people.folder / f"alice-{scheme}.pem"
        command = ["certtool", "--p7-detached-sign", "--p7-time", "--p7-include-cert", "--outder"]
        command += ["--load-certificate", pem, "--load-privkey", pem]
        run(*command, "--infile", content, "--outfile", made)
        der = made.read_bytes()
        assert verify(der, trust=people.trust, content=entity).content == entity
        with pytest.raises(SmimeGraphError):
            verify(der, trust=people.trust, content=entity + b"x")
        record("gnutls", f"{scheme} sha256", "read")


# --- NSS ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(people: Any, run: Any, tmp_path_factory: Any, need: Any) -> str:
    need("cmsutil", "certutil", "pk12util")
    folder = tmp_path_factory.mktemp("nss")
    database = f"sql:{folder}"
    run("certutil", "-N", "-d", database, "--empty-password")
    root = people.folder / "root.pem"
    run("certutil", "-A", "-d", database, "-n", "root", "-t", "CT,C,C", "-a", "-i", root)
    for name, identity in people.everyone.items():
        file = folder / f"{name}.p12"
        file.write_bytes(identity.to_pkcs12("secret"))
        run("pk12util", "-i", file, "-d", database, "-W", "secret")
    return database


class TestNss:
    """cmsutil: the verdict is in its text, its exit status is 0 for a bad signature too.

    Version 3.87 reads no EC recipients; 3.125 does (Thunderbird's).
    """

    @pytest.fixture(autouse=True)
    def _cmsutil(self, need: Callable[..., None]) -> None:
        need("cmsutil", "certutil", "pk12util")

    @pytest.mark.parametrize("scheme", ["rsa", "rsa-pss", "p256", "p384", "p521"])
    def test_our_signatures_are_verified(
        self,
        scheme: str,
        people: Any,
        run: Any,
        record: Any,
        entity: bytes,
        database: str,
        tmp_path: Path,
    ) -> None:
        for detached in (True, False):
            verdict = self._verdict(
                _signed(people, entity, scheme, detached=detached), entity, run, database, tmp_path
            )
            assert b"GoodSignature" in verdict
        record("nss", f"{scheme} sha256", "made")

    def test_changed_content_is_refused(
        self, people: Any, run: Any, refused: Any, entity: bytes, database: str, tmp_path: Path
    ) -> None:
        der = _signed(people, entity, "rsa")
        try:
            verdict = self._verdict(der, entity + b"x", run, database, tmp_path)
        except refused as error:
            verdict = str(error).encode()
        assert b"GoodSignature" not in verdict

    @staticmethod
    def _verdict(der: bytes, content: bytes, run: Any, database: str, folder: Path) -> bytes:
        signature, file = folder / "s.der", folder / "content"
        signature.write_bytes(der)
        file.write_bytes(content)
        options = ["-h", "1", "-n", "-u", "4"]
        return bytes(run("cmsutil", "-D", "-d", database, "-i", signature, "-c", file, *options))

    @pytest.mark.parametrize("nickname", ["rsa", "p256", "p384"])
    def test_its_signatures_are_read(
        self,
        nickname: str,
        people: Any,
        run: Any,
        record: Any,
        entity: bytes,
        database: str,
        tmp_path: Path,
    ) -> None:
        content, made = tmp_path / "content", tmp_path / "s.der"
        content.write_bytes(entity)
        command = ["cmsutil", "-S", "-d", database, "-T", "-G", "-P"]
        command += ["-N", people[f"alice-{nickname}"].certificate.subject_text]
        run(*command, "-H", "SHA256", "-i", content, "-o", made)
        opened = verify(made.read_bytes(), trust=people.trust, content=entity)
        assert opened.content == entity
        assert opened.signers[0].signing_time is not None
        record("nss", f"{nickname} sha256", "read")

    @pytest.mark.parametrize("cipher", ["aes128-cbc", "aes256-cbc"])
    def test_our_encryption_is_read(
        self,
        cipher: str,
        people: Any,
        run: Any,
        record: Any,
        entity: bytes,
        database: str,
        tmp_path: Path,
    ) -> None:
        file, out = tmp_path / "e.der", tmp_path / "out"
        file.write_bytes(_encrypted(people, entity, "bob-rsa", cipher))
        run("cmsutil", "-D", "-d", database, "-i", file, "-o", out)
        assert out.read_bytes() == entity
        record("nss", f"bob-rsa {cipher}", "made")

    def test_its_encryption_is_read(
        self, people: Any, run: Any, record: Any, entity: bytes, database: str, tmp_path: Path
    ) -> None:
        content, made = tmp_path / "content", tmp_path / "e.der"
        content.write_bytes(entity)
        nickname = people["bob-rsa"].certificate.subject_text
        command = ["cmsutil", "-E", "-d", database, "-r", nickname]
        run(*command, "-i", content, "-o", made)
        assert decrypt(made.read_bytes(), identities=[people["bob-rsa"]]).content == entity
        record("nss", "bob-rsa", "read")


# --- GnuPG --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(people: Any, run: Any, tmp_path_factory: Any, need: Any) -> Iterator[Path]:
    need("gpgsm", "gpgconf")
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)
    (home / "gpgsm.conf").write_text("disable-crl-checks\nbatch\n")
    fingerprint = people.root.x509.fingerprint(hashes.SHA1()).hex(":").upper()
    (home / "trustlist.txt").write_text(f"{fingerprint} S relax\n")
    for name in ("root", *people.everyone):
        file = people.folder / f"{name}.pem"
        run("gpgsm", "--homedir", home, "--import", data=_certificate_of(file))
    yield home
    subprocess.run(
        ["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True
    )


class TestGnuPg:
    """gpgsm without secret keys: it verifies what we sign and encrypts to us.

    Version 2.2 refuses every message with a subjectKeyIdentifier, EC recipients, and P-521.
    """

    @pytest.fixture(autouse=True)
    def _gpgsm(self, need: Callable[..., None]) -> None:
        need("gpgsm", "gpgconf")

    @pytest.mark.parametrize("scheme", ["rsa", "rsa-pss", "p256", "p384"])
    def test_our_signatures_are_verified(
        self,
        scheme: str,
        people: Any,
        run: Any,
        refused: Any,
        record: Any,
        entity: bytes,
        home: Path,
        tmp_path: Path,
    ) -> None:
        signature, content, other = (tmp_path / name for name in ("s.der", "content", "other"))
        # it wants a digest as long as the curve
        digest = "sha384" if scheme == "p384" else "sha256"
        signature.write_bytes(_signed(people, entity, scheme, digest=digest))
        content.write_bytes(entity)
        other.write_bytes(entity + b"x")
        run("gpgsm", "--homedir", home, "--verify", signature, content)
        with pytest.raises(refused):
            run("gpgsm", "--homedir", home, "--verify", signature, other)
        record("gpgsm", f"{scheme} {digest}", "made")

    @pytest.mark.parametrize("cipher", ["AES", "AES192", "AES256"])
    def test_its_encryption_is_read(
        self, cipher: str, people: Any, run: Any, record: Any, entity: bytes, home: Path
    ) -> None:
        bob = people["bob-rsa"]
        user = f"0x{bob.certificate.x509.fingerprint(hashes.SHA1()).hex().upper()}"
        command = ["gpgsm", "--homedir", home, "--cipher-algo", cipher, "-r", user, "--encrypt"]
        der = run(*command, data=entity)
        assert decrypt(der, identities=[bob]).content == entity
        record("gpgsm", f"bob-rsa {cipher}", "read")


def _certificate_of(file: Path) -> bytes:
    text = file.read_bytes()
    begin = b"-----BEGIN CERTIFICATE-----"
    return begin + text.partition(begin)[2]
