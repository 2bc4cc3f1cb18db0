"""Keys that are elsewhere: behind any object with a key's interface, on PKCS#11 tokens."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, padding

from smime_graph.algorithms import (
    SHA1,
    SHA256,
    SHA512,
    Digest,
    KeyTransport,
    OaepParameters,
    SignatureScheme,
    by_name,
)
from smime_graph.authority.issue import CA
from smime_graph.errors import (
    DecryptionFailed,
    SignatureInvalid,
    UnsupportedAlgorithm,
    UsageError,
)
from smime_graph.pki.identity import Contact, Identity
from smime_graph.pki.keyfiles.read import armour
from smime_graph.pki.pkcs11 import keys as pkcs11
from smime_graph.pki.pkcs11 import token as pkcs11_token
from smime_graph.pki.trust import TrustStore
from smime_graph.policy import EXCHANGE
from smime_graph.smime.examine import decrypt, unseal, verify
from smime_graph.smime.sealing import encrypt, seal
from smime_graph.smime.wrap import sign

PIN = "1234-ab"
PADDINGS = {
    "v1.5": padding.PKCS1v15(),
    "oaep": padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),
}
V15, OAEP = by_name(KeyTransport, "rsaes-pkcs1v15"), by_name(KeyTransport, "rsaes-oaep")
SCHEMES: dict[str, tuple[KeyTransport, OaepParameters | None]] = {
    "v1.5": (V15, None),
    "oaep": (OAEP, OaepParameters(SHA1, SHA1)),
}
PKCS1, PSS = by_name(SignatureScheme, "rsassa-pkcs1v15"), by_name(SignatureScheme, "rsassa-pss")
ECDSA = by_name(SignatureScheme, "ecdsa")

# --- anything with the interface of a private key ------------------------------------------------


class Elsewhere:
    """What a vault's client is like: no class of cryptography's, and no way to get the key out."""

    def __init__(self, key: Any) -> None:
        self._key = key
        self.calls: list[str] = []

    def public_key(self) -> Any:
        return self._key.public_key()

    def sign(self, *how: Any) -> bytes:
        self.calls.append("sign")
        signature: bytes = self._key.sign(*how)
        return signature


class RSAElsewhere(Elsewhere):
    def decrypt(self, ciphertext: bytes, pad: Any) -> bytes:
        self.calls.append("decrypt")
        plain: bytes = self._key.decrypt(ciphertext, pad)
        return plain


class ECElsewhere(Elsewhere):
    @property
    def curve(self) -> ec.EllipticCurve:
        curve: ec.EllipticCurve = self._key.curve
        return curve

    def exchange(self, algorithm: ec.ECDH, peer: ec.EllipticCurvePublicKey) -> bytes:
        self.calls.append("exchange")
        secret: bytes = self._key.exchange(algorithm, peer)
        return secret


def moved(identity: Identity) -> tuple[Identity, Elsewhere]:
    kind = ECElsewhere if hasattr(identity.private_key, "curve") else RSAElsewhere
    key = kind(identity.private_key)
    return Identity(key, identity.certificate, chain=identity.chain), key


@pytest.mark.parametrize("rsa_signature", ["rsassa-pkcs1v15", "rsassa-pss"])
@pytest.mark.parametrize("kind", ["alice", "alice_rsa"])
def test_a_key_needs_the_interface_only_and_no_base_class(
    kind: str,
    rsa_signature: str,
    message: bytes,
    bob: Identity,
    trust: TrustStore,
    now: datetime,
    request: pytest.FixtureRequest,
) -> None:
    local: Identity = request.getfixturevalue(kind)
    alice, key = moved(local)
    policy = EXCHANGE.but("pss-or-not", rsa_signature=rsa_signature)
    signed = sign(message, signer=alice, policy=policy, at=now)
    assert verify(signed, trust=trust, at=now).signer.email == "alice@contoso.com"
    to_alice = message.replace(b"To: Bob <bob@", b"To: <alice@")
    encrypted = encrypt(to_alice, recipients=[Contact(alice.certificate)], at=now)
    assert decrypt(encrypted, identities=[alice]).content.endswith(b"the figures\r\n")

    # sealed to Bob and, because the key's certificate allows it, to Alice herself
    sealed = seal(message, signer=alice, recipients=[Contact(bob.certificate)], at=now)
    opened = unseal(sealed, identities=[alice], trust=trust, at=now)
    assert opened.message["Subject"] == "Figures"
    read = "exchange" if kind == "alice" else "decrypt"
    assert key.calls == ["sign", read, "sign", read]


def test_a_key_elsewhere_that_is_not_the_certificates_is_refused(
    alice: Identity, bob: Identity
) -> None:
    with pytest.raises(UsageError, match="not that of the certificate"):
        Identity(ECElsewhere(bob.private_key), alice.certificate)


# --- a token -------------------------------------------------------------------------------------

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so")


@dataclass(frozen=True)
class Hsm:
    """SoftHSM with the token "mail", and people whose keys are on it and here too."""

    module: str
    library: Any
    trust: TrustStore
    rsa: Identity
    p256: Identity
    p384: Identity
    p521: Identity
    bare: Identity

    def load(
        self, which: str, *, token: str = "mail", pin: str | None = PIN, **how: Any
    ) -> Identity:
        return pkcs11.load(f"pkcs11:token={token};{which}", pin=pin, module=self.module, **how)


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory, now: datetime) -> Iterator[Hsm]:
    p11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    module = next((m for m in MODULES if Path(m).is_file()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed (Debian: softhsm2)")
    folder = tmp_path_factory.mktemp("softhsm")
    config = folder / "softhsm2.conf"
    (folder / "tokens").mkdir()
    config.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(config))
        for label in ("mail", "same", "same", "replaced"):
            run(
                "softhsm2-util",
                "--init-token",
                "--free",
                "--label",
                label,
                "--pin",
                PIN,
                "--so-pin",
                PIN,
            )
        library = p11.lib(module)
        library.reinitialize()  # other tests may have loaded it with another configuration
        root = CA("Token Root", key="p256", at=now)
        ca = root.create_intermediate(key="p256")
        rsa_key = ca.issue("alice@contoso.com", key="rsa-2048", at=now)
        people = {
            kind: ca.issue("alice@contoso.com", key=kind, at=now)
            for kind in ("p256", "p384", "p521")
        }
        made = Hsm(
            module,
            library,
            TrustStore((root.certificate,)),
            rsa_key,
            bare=ca.issue("bare@contoso.com", key="p256", at=now),
            **people,
        )
        fill(made, p11)
        yield made
        library.finalize()


def fill(hsm: Hsm, p11: Any) -> None:
    a, rsa = p11.Attribute, hsm.rsa.private_key
    everything: tuple[Any, ...] = (
        ("alice-rsa", b"\x01", rsa, {}),
        ("alice-p256", b"\x02", hsm.p256.private_key, {}),
        ("alice-p384", b"\x03", hsm.p384.private_key, {}),
        ("alice-p521", b"\x04", hsm.p521.private_key, {}),
        ("bare", b"\x05", hsm.bare.private_key, {}),
        ("twice", b"\x06", hsm.bare.private_key, {}),
        ("twice", b"\x07", hsm.bare.private_key, {}),
        ("idle-rsa", b"\x08", rsa, {a.SIGN: False, a.DECRYPT: False}),
        ("agrees", b"\x09", hsm.p256.private_key, {a.SIGN: False}),
        ("idle-ec", b"\x0a", hsm.p256.private_key, {a.SIGN: False, a.DERIVE: False}),
        ("careful", b"\x0b", rsa, {a.ALWAYS_AUTHENTICATE: True}),
        ("signs", b"\x0c", hsm.p256.private_key, {a.DERIVE: False}),
    )
    session = hsm.library.get_token(token_label="mail").open(rw=True, user_pin=PIN)
    for label, octets, key, more in everything:
        session.create_object(private_object(p11, key) | {a.LABEL: label, a.ID: octets} | more)
    for certificate in (hsm.rsa.certificate, hsm.p256.certificate, *hsm.rsa.chain):
        session.create_object(certificate_object(p11, certificate))
    session.close()


def private_object(p11: Any, key: Any) -> dict[Any, Any]:
    from pkcs11.util.ec import decode_ec_private_key
    from pkcs11.util.rsa import decode_rsa_private_key

    rsa = not hasattr(key, "curve")
    der = key.private_bytes(
        ser.Encoding.DER, ser.PrivateFormat.TraditionalOpenSSL, ser.NoEncryption()
    )
    attributes: dict[Any, Any] = (decode_rsa_private_key if rsa else decode_ec_private_key)(der)
    a = p11.Attribute
    attributes |= dict.fromkeys((a.TOKEN, a.PRIVATE, a.SENSITIVE, a.SIGN), True)
    return attributes | ({a.DECRYPT: True} if rsa else {a.DERIVE: True})


def certificate_object(p11: Any, certificate: Any) -> dict[Any, Any]:
    a = p11.Attribute
    return {
        a.CLASS: p11.ObjectClass.CERTIFICATE,
        a.CERTIFICATE_TYPE: p11.CertificateType.X_509,
        a.TOKEN: True,
        a.SUBJECT: certificate.subject,
        a.VALUE: certificate.der,
        a.LABEL: "whatever",
    }


def run(*command: str | Path, cwd: Path | None = None, **how: Any) -> bytes:
    done = subprocess.run(list(map(str, command)), capture_output=True, check=False, cwd=cwd, **how)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    return bytes(done.stdout)


@pytest.fixture
def logged_out(hsm: Hsm) -> None:
    """Nothing of an earlier test holds a key, as a caught error does by its traceback."""
    gc.collect()


needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)


def test_a_key_of_a_token_comes_with_its_certificate_and_chain(hsm: Hsm) -> None:
    for which in ("object=alice-rsa", "id=%01", "object=alice-rsa;id=%01;type=private"):
        alice = hsm.load(which)
        assert alice.certificate == hsm.rsa.certificate
        assert alice.chain == hsm.rsa.chain != ()
    assert alice.private_key.public_key().key_size == 2048
    ec_key = hsm.load("object=alice-p256").private_key
    assert ec_key.public_key().curve.name == ec_key.curve.name == "secp256r1"
    assert hsm.load("object=agrees").certificate == hsm.p256.certificate


def test_a_certificate_may_be_given_and_must_be_the_keys(hsm: Hsm) -> None:
    given = (hsm.bare.certificate, hsm.p384.certificate)
    assert hsm.load("object=alice-p384", certificates=given).certificate == given[1]
    for which in ("object=bare", "object=alice-p521"):
        with pytest.raises(UsageError, match="no certificate belongs to the key") as caught:
            hsm.load(which, certificates=[hsm.p384.certificate])
        assert "put the certificate on the token" in str(caught.value.hint)


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521"])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_a_token_signs_what_everybody_verifies(
    hsm: Hsm, kind: str, digest: str, message: bytes, now: datetime
) -> None:
    local: Identity = getattr(hsm, kind)
    alice = hsm.load(f"object=alice-{kind}", certificates=[local.certificate])
    for scheme in ("rsassa-pkcs1v15", "rsassa-pss") if kind == "rsa" else ("rsassa-pkcs1v15",):
        policy = EXCHANGE.but("test", digest=digest, rsa_signature=scheme)
        signed = sign(message, signer=alice, policy=policy, at=now)
        assert verify(signed, trust=hsm.trust, at=now).signer.email == "alice@contoso.com"
        with pytest.raises(SignatureInvalid):
            verify(signed.replace(b"the figures", b"the fugures"), trust=hsm.trust, at=now)


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521"])
def test_a_token_seals_and_unseals(hsm: Hsm, kind: str, message: bytes, now: datetime) -> None:
    local: Identity = getattr(hsm, kind)
    alice = hsm.load(f"object=alice-{kind}", certificates=[local.certificate])
    to_alice = message.replace(b"To: Bob <bob@", b"To: <alice@")
    sealed = seal(to_alice, signer=alice, recipients=[Contact(local.certificate)], at=now)
    for reader in (alice, local):
        opened = unseal(sealed, identities=[reader], trust=hsm.trust, at=now)
        assert opened.message["Subject"] == "Figures"


@needs_openssl
@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_openssl_verifies_what_a_token_signed_and_reads_what_it_reads(
    hsm: Hsm, kind: str, message: bytes, now: datetime, tmp_path: Path
) -> None:
    local: Identity = getattr(hsm, kind)
    alice = hsm.load(f"object=alice-{kind}")
    (tmp_path / "root.pem").write_bytes(armour(hsm.trust.anchors[0]))
    (tmp_path / "alice.pem").write_bytes(local.to_pem())
    (tmp_path / "signed").write_bytes(sign(message, signer=alice, at=now))
    at = str(int(now.timestamp()))
    command: tuple[str, ...] = ("openssl", "cms", "-verify", "-in", "signed")
    command += ("-CAfile", "root.pem", "-attime", at)
    assert b"the figures" in run(*command, cwd=tmp_path)

    to_alice = message.replace(b"To: Bob <bob@", b"To: <alice@")
    sealed = seal(to_alice, signer=alice, recipients=[Contact(local.certificate)], at=now)
    (tmp_path / "sealed").write_bytes(sealed)
    command = ("openssl", "cms", "-decrypt", "-in", "sealed", "-inkey", "alice.pem")
    inner = run(*command, "-recip", "alice.pem", cwd=tmp_path)
    (tmp_path / "inner").write_bytes(inner)
    command = ("openssl", "cms", "-verify", "-in", "inner", "-CAfile", "root.pem", "-attime", at)
    assert b"the figures" in run(*command, cwd=tmp_path)

    (tmp_path / "text").write_bytes(b"Content-Type: text/plain\r\n\r\nfrom openssl\r\n")
    command = ("openssl", "cms", "-encrypt", "-aes-256-cbc", "-in", "text", "-binary")
    theirs = run(*command, "-recip", "alice.pem", cwd=tmp_path)
    assert b"from openssl" in decrypt(theirs, identities=[alice]).content


@needs_openssl
def test_oaep_that_a_token_lacks_is_told_and_what_it_has_is_read(hsm: Hsm, tmp_path: Path) -> None:
    alice = hsm.load("object=alice-rsa")
    (tmp_path / "alice.pem").write_bytes(armour(hsm.rsa.certificate))
    (tmp_path / "text").write_bytes(b"Content-Type: text/plain\r\n\r\nhello\r\n")
    command = ("openssl", "cms", "-encrypt", "-aes-256-cbc", "-in", "text", "-binary")
    to = ("-recip", "alice.pem", "-keyopt", "rsa_padding_mode:oaep")
    sha1 = run(*command, *to, cwd=tmp_path)
    assert b"hello" in decrypt(sha1, identities=[alice]).content
    sha256 = run(*command, *to, "-keyopt", "rsa_oaep_md:sha256", cwd=tmp_path)
    assert b"hello" in decrypt(sha256, identities=[hsm.rsa]).content
    if softhsm_has_oaep_sha256(alice):
        assert b"hello" in decrypt(sha256, identities=[alice]).content
        return
    with pytest.raises(UnsupportedAlgorithm) as caught:
        decrypt(sha256, identities=[alice])
    assert "OAEP and sha256 by the key alice-rsa (id 01) of the token mail" in str(caught.value)
    assert caught.value.oid == "1.2.840.113549.1.1.7"


def softhsm_has_oaep_sha256(alice: Identity) -> bool:
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    wrapped = alice.certificate.public_key.encrypt(b"x", oaep)
    try:
        return bool(
            alice.private_key.decrypt(wrapped, OAEP, OaepParameters(SHA256, SHA256)) == b"x"
        )
    except UnsupportedAlgorithm:
        return False


@pytest.mark.parametrize("scheme", PADDINGS)
def test_nothing_tells_one_bad_ciphertext_from_another(hsm: Hsm, scheme: str) -> None:
    key, other = hsm.load("object=alice-rsa").private_key, CA(key="rsa-2048").private_key
    good = key.public_key().encrypt(b"cek", PADDINGS[scheme])
    swapped = PADDINGS["oaep" if scheme == "v1.5" else "v1.5"]
    bad = [
        bytes(256),
        b"\xff" * 256,
        good[:-1] + bytes([good[-1] ^ 1]),
        good[:-1],
        good + b"x",
        b"",
        other.public_key().encrypt(b"cek", PADDINGS[scheme]),
        key.public_key().encrypt(b"cek", swapped),
    ]
    seen = set()
    for ciphertext in bad:  # the first of them before the token ever decrypted anything
        try:
            noise = key.decrypt(ciphertext, *SCHEMES[scheme])
        except ValueError as error:
            seen.add((type(error), str(error), error.__cause__))
        else:
            # a token over OpenSSL 3.2 or newer gives noise for what is no PKCS #1 v1.5
            assert (scheme, len(ciphertext)) == ("v1.5", 256)
            assert noise != b"cek"
    assert seen == {(ValueError, "", None)}
    assert key.decrypt(good, *SCHEMES[scheme]) == b"cek"


def test_whatever_a_token_calls_it_a_failed_decryption_is_a_value_error(
    hsm: Hsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pkcs11 as p11

    key = hsm.load("object=alice-rsa").private_key
    good = key.public_key().encrypt(b"cek", PADDINGS["v1.5"])
    assert key.decrypt(good, *SCHEMES["v1.5"]) == b"cek"
    for name in ("EncryptedDataInvalid", "EncryptedDataLenRange", "ArgumentsBad", "PKCS11Error",
                 "DataInvalid", "DeviceError", "MechanismInvalid", "FunctionFailed"):  # fmt: skip

        def fail(operation: Any, name: str = name) -> bytes:
            raise getattr(p11, name)

        with monkeypatch.context() as patch:
            patch.setattr(key._token, "run", fail)
            with pytest.raises(ValueError) as caught:
                key.decrypt(good, *SCHEMES["v1.5"])
        assert (type(caught.value), str(caught.value)) == (ValueError, "")


def test_a_message_that_a_token_cannot_read_is_a_failure_without_a_cause(
    hsm: Hsm, message: bytes, now: datetime
) -> None:
    alice = hsm.load("object=alice-rsa")
    other = CA(key="p256", at=now).issue("bob@contoso.com", key="rsa-2048", at=now)
    wrapped = encrypt(message, recipients=[Contact(other.certificate)], at=now)
    # a key without a certificate is tried on every recipient
    loose = SimpleNamespace(private_key=alice.private_key, certificate=None)
    with pytest.raises(DecryptionFailed) as caught:
        decrypt(wrapped, identities=[loose])
    assert str(caught.value) == "the message could not be decrypted"


def test_a_shared_secret_keeps_its_leading_zero(hsm: Hsm) -> None:
    key, public = hsm.load("object=alice-p256").private_key, hsm.p256.private_key.public_key()
    while True:
        peer = ec.generate_private_key(ec.SECP256R1())
        if (secret := peer.exchange(ec.ECDH(), public))[0] == 0:
            break
    assert key.derive(peer.public_key()) == secret


def test_a_peer_on_another_curve_is_a_value_error(hsm: Hsm) -> None:
    key = hsm.load("object=alice-p256").private_key
    with pytest.raises(ValueError, match="same curve"):
        key.derive(hsm.p384.private_key.public_key())


def test_a_key_does_only_what_its_attributes_allow(hsm: Hsm) -> None:
    idle = hsm.load("object=idle-rsa").private_key
    with pytest.raises(UnsupportedAlgorithm, match=r"signing with RSA .*its attributes forbid it"):
        idle.sign(b"", PKCS1, SHA256)
    with pytest.raises(UnsupportedAlgorithm, match=r"decrypting .*its attributes forbid it"):
        idle.decrypt(bytes(256), V15)
    signs = hsm.load("object=signs").private_key
    with pytest.raises(UnsupportedAlgorithm, match=r"ECDH .*its attributes forbid it"):
        signs.derive(hsm.p256.private_key.public_key())
    with pytest.raises(UnsupportedAlgorithm, match="signing and ECDH by the key idle-ec"):
        hsm.load("object=idle-ec")


def test_what_a_token_is_never_asked_is_a_usage_error(hsm: Hsm) -> None:
    key = hsm.load("object=alice-rsa").private_key
    sha3 = by_name(Digest, "sha3-256")
    with pytest.raises(UsageError, match="digest sha3-256"):
        key.sign(b"", PKCS1, sha3)
    for parameters in (OaepParameters(sha3, SHA1), OaepParameters(SHA1, sha3)):
        with pytest.raises(UsageError, match="digest sha3-256"):
            key.decrypt(b"", OAEP, parameters)
    with pytest.raises(UnsupportedAlgorithm, match="signing with ecdsa by the key alice-rsa"):
        key.sign(b"", ECDSA, SHA256)
    with pytest.raises(UnsupportedAlgorithm, match="signing with rsassa-pss by the key alice-p256"):
        hsm.load("object=alice-p256").private_key.sign(b"", PSS, SHA256)


@pytest.mark.parametrize("digest", [SHA1, SHA256, SHA512], ids=lambda one: one.name)
def test_the_salt_of_a_signature_is_as_long_as_the_digest(hsm: Hsm, digest: Digest) -> None:
    key = hsm.load("object=alice-rsa").private_key
    signature = key.sign(b"data", PSS, digest)
    pss = padding.PSS(padding.MGF1(digest.hash), digest.size)
    key.public_key().verify(signature, b"data", pss, digest.hash)
    other = padding.PSS(padding.MGF1(digest.hash), digest.size + 1)
    with pytest.raises(InvalidSignature):
        key.public_key().verify(signature, b"data", other, digest.hash)


def test_a_key_that_asks_for_the_pin_each_time_is_given_it(hsm: Hsm) -> None:
    key = hsm.load("object=careful").private_key
    for _ in range(2):
        signature = key.sign(b"data", PKCS1, SHA256)
        key.public_key().verify(signature, b"data", padding.PKCS1v15(), hashes.SHA256())


# --- what can be missing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "what", "hint"),
    [
        ("object=nobody", "holds no private key with object=nobody", "check object= and id="),
        ("id=%FF%00", "holds no private key with id=ff00", "check object= and id="),
        ("object=twice", "holds 2 private keys with object=twice: the key twice (id 0", "add obj"),
        ("slot-id=7;object=bare", "no token fits token=mail;slot-id=7", "mail"),
        ("library-version=9.9", "no token fits", "mail"),
    ],
)
def test_a_key_that_is_not_there_or_not_alone_is_told(
    hsm: Hsm, which: str, what: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        hsm.load(which)
    assert what in str(caught.value)
    assert hint in str(caught.value.hint)


def test_a_token_is_found_by_everything_that_a_uri_can_say(hsm: Hsm) -> None:
    token = hsm.library.get_token(token_label="mail")
    major, minor = hsm.library.library_version
    path = (
        f"manufacturer={token.manufacturer_id};model={token.model};serial={token.serial.decode()};"
        f"slot-id={token.slot.slot_id};slot-manufacturer={token.slot.manufacturer_id};"
        f"library-manufacturer={hsm.library.manufacturer_id};library-version={major}.{minor};"
        f"library-description={hsm.library.library_description};object=alice-p256"
    )
    assert hsm.load(path).certificate == hsm.p256.certificate


def test_a_token_that_is_not_there_or_not_alone_is_told(hsm: Hsm) -> None:
    with pytest.raises(UsageError, match="no token fits token=lost") as caught:
        hsm.load("object=a", token="lost")
    assert "mail" in str(caught.value.hint)
    with pytest.raises(UsageError, match="2 tokens fit token=same") as caught:
        hsm.load("object=a", token="same")
    assert "serial=" in str(caught.value.hint)


def test_a_module_that_is_not_there_or_is_none_is_told(hsm: Hsm, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no PKCS#11 module is named"):
        pkcs11.load("pkcs11:token=mail")
    with pytest.raises(UsageError, match=r"libnone\.so is not there"):
        pkcs11.load("pkcs11:token=mail?module-path=/libnone.so")
    with pytest.raises(UsageError, match="is not there"):
        pkcs11.load("pkcs11:token=mail?module-path=/lib%00none.so")
    text = tmp_path / "module.so"
    text.write_text("no library")
    with pytest.raises(UsageError, match=r"module\.so cannot be loaded"):
        pkcs11.load("pkcs11:token=mail", module=text)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(UsageError, match="python-pkcs11") as caught:
        pkcs11.load("pkcs11:token=a", module=__file__)
    assert "smime-graph[hsm]" in str(caught.value.hint)


@pytest.mark.usefixtures("logged_out")
def test_a_wrong_pin_and_no_pin_are_told_and_never_shown(hsm: Hsm) -> None:
    for pin, what in (("9999999", "refuses the PIN"), ("1", "refuses the PIN"), ("\ud800", "PIN")):
        with pytest.raises(UsageError, match=what) as caught:
            hsm.load("object=alice-rsa", pin=pin)
        assert pin not in str(caught.value).replace("PKCS#11", "")
    with pytest.raises(UsageError, match="the token mail asks for a PIN") as caught:
        hsm.load("object=alice-rsa", pin=None)
    assert "pin-source=" in str(caught.value.hint)
    assert hsm.load("object=alice-rsa").certificate == hsm.rsa.certificate


def test_another_pin_is_refused_while_the_token_is_open(hsm: Hsm) -> None:
    alice = hsm.load("object=alice-rsa")
    for pin in ("9999999", None):
        with pytest.raises(UsageError, match="in use in this process with another PIN"):
            hsm.load("object=alice-p256", pin=pin)
    assert alice.private_key._token is hsm.load("object=alice-p256").private_key._token


@pytest.mark.usefixtures("logged_out")
def test_the_last_key_that_goes_logs_out(hsm: Hsm) -> None:
    import pkcs11 as p11

    alice = hsm.load("object=alice-rsa")
    token = hsm.library.get_token(token_label="mail")
    with pytest.raises(p11.UserAlreadyLoggedIn):
        token.open(user_pin=PIN)
    del alice
    token.open(user_pin=PIN).close()


@pytest.mark.usefixtures("logged_out")
def test_a_login_of_other_code_is_shared(hsm: Hsm) -> None:
    session = hsm.library.get_token(token_label="mail").open(user_pin=PIN)
    assert hsm.load("object=alice-rsa").private_key.sign(b"", PKCS1, SHA256)
    session.close()


@pytest.mark.parametrize("name", sorted(pkcs11_token._PIN_REFUSED))
def test_a_pin_that_was_refused_is_not_offered_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    p11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    offered = []

    class Card:
        flags = 0

        def open(self, user_pin: str) -> None:
            offered.append(user_pin)
            raise getattr(p11, name)

    monkeypatch.setattr(pkcs11_token, "_find_token", lambda *_: (Card(), {}))
    token = pkcs11_token.Token("module", {"token": "card\x1b"}, PIN)
    for _ in range(3):
        with pytest.raises(
            UsageError, match=r"the token card\ufffd (refuses|wants|is|has)"
        ) as caught:
            token.run(lambda _: None)
        assert caught.value.hint
    assert offered == [PIN]


# --- sessions ------------------------------------------------------------------------------------


def test_a_lost_session_is_opened_again(hsm: Hsm) -> None:
    rsa_key = hsm.load("object=alice-rsa").private_key
    ec_key = hsm.load("object=alice-p256").private_key
    wrapped = rsa_key.public_key().encrypt(b"cek", PADDINGS["v1.5"])
    peer = ec.generate_private_key(ec.SECP256R1())
    operations: tuple[Callable[[], bytes], ...] = (
        lambda: rsa_key.sign(b"", PKCS1, SHA256),
        lambda: rsa_key.decrypt(wrapped, *SCHEMES["v1.5"]),
        lambda: ec_key.sign(b"", ECDSA, SHA256),
        lambda: ec_key.derive(peer.public_key()),
    )
    for operation in operations:
        hsm.library.reinitialize()  # every session of the process is gone
        assert operation()


def test_a_token_that_is_gone_is_told_and_comes_back(hsm: Hsm) -> None:
    key = hsm.load("object=alice-rsa").private_key
    tokens = Path(os.environ["SOFTHSM2_CONF"]).parent / "tokens"
    tokens.rename(tokens.with_name("away"))
    tokens.mkdir()
    hsm.library.reinitialize()
    for _ in range(2):
        with pytest.raises(UsageError, match="no token fits token=mail"):
            key.sign(b"", PKCS1, SHA256)
    tokens.rmdir()
    tokens.with_name("away").rename(tokens)
    hsm.library.reinitialize()
    assert key.sign(b"", PKCS1, SHA256)


def test_keys_of_one_token_are_used_from_many_threads(hsm: Hsm) -> None:
    rsa_key = hsm.load("object=alice-rsa").private_key
    ec_key = hsm.load("object=alice-p256").private_key

    def work(number: int) -> None:
        data = str(number).encode()
        if number % 2:
            signature = rsa_key.sign(data, PKCS1, SHA256)
            rsa_key.public_key().verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        else:
            signature = ec_key.sign(data, ECDSA, SHA256)
            ec_key.public_key().verify(signature, data, ec.ECDSA(hashes.SHA256()))
        if number == 20:
            with rsa_key._token._lock:
                hsm.library.reinitialize()

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(work, range(60)))) == 60


def test_a_key_of_another_process_is_refused(hsm: Hsm, monkeypatch: pytest.MonkeyPatch) -> None:
    key = hsm.load("object=alice-rsa").private_key
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(UsageError, match="opened in another process") as caught:
            key.sign(b"", PKCS1, SHA256)
    assert caught.value.hint == "load the key in each process"


FORKS = """
import os, sys
from smime_graph.algorithms import SHA256, SignatureScheme, by_name
from smime_graph.errors import UsageError
from smime_graph.pki.pkcs11 import keys as pkcs11
module, pin = sys.argv[1:]
load = lambda: pkcs11.load("pkcs11:token=mail;object=alice-rsa", pin=pin, module=module)
PKCS1 = by_name(SignatureScheme, "rsassa-pkcs1v15")
sign = lambda who: who.private_key.sign(b"", PKCS1, SHA256)
parent = load()
if (child := os.fork()) == 0:
    try:
        sign(parent)
    except UsageError:
        sign(load())
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
sign(parent)
"""


def test_a_forked_process_loads_the_key_for_itself(hsm: Hsm) -> None:
    run(sys.executable, "-W", "error", "-c", FORKS, hsm.module, PIN)


def test_no_pin_is_in_a_repr_and_no_key_leaves(hsm: Hsm) -> None:
    alice = hsm.load("object=alice-rsa")
    key = alice.private_key
    shown = f"{alice!r} {key!r} {key._token!r} {hsm.load('id=%02').private_key!r}"
    assert PIN not in shown
    assert "<RSA key alice-rsa (id 01) of the token mail>" in shown
    exports: list[Callable[[], bytes]] = [alice.to_pem, lambda: alice.to_pkcs12("secret")]
    for export in exports:
        with pytest.raises(UsageError, match="cannot be exported"):
            export()
