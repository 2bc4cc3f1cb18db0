"""Each kind of recipient: what is read, what is refused, and that failures do not tell."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, padding, x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from smime_graph import (
    ARCHIVE,
    EXCHANGE,
    Contact,
    DecryptionFailed,
    Identity,
    MalformedMessage,
    NoMatchingIdentity,
    Policy,
    PolicyRefusal,
    SmimeGraphError,
    UnsupportedAlgorithm,
    UsageError,
    oids,
)
from smime_graph.algorithms import (
    ContentCipher,
    Digest,
    KeyAgreement,
    KeyDerivation,
    KeyWrap,
    PasswordEncryption,
    by_name,
)
from smime_graph.asn1 import ber
from smime_graph.asn1.algorithm_identifier import AlgorithmIdentifier
from smime_graph.asn1.content_info import content_info, read_content_info
from smime_graph.budget import ITERATION, Budget
from smime_graph.cms import encrypted_data, enveloped_data, parameters
from smime_graph.cms.recipients import key_transport, shared_secret
from smime_graph.cms.recipients.recipient_info import Opening
from smime_graph.cms.recipients.shared_secret import MAX_ITERATIONS, Password, SharedKey
from smime_graph.errors import LimitReached

TEXT = b"Content-Type: text/plain\r\n\r\nthe figures\r\n"
CEK = bytes(range(32))
IV = bytes(16)
WRAP = by_name(KeyWrap, "aes256-wrap")
PWRI_KEK = by_name(PasswordEncryption, "pwri-kek")


def message(
    recipient: bytes,
    *,
    originator: bytes = b"",
    algorithm: bytes | None = None,
    ciphertext: bytes | None = None,
) -> bytes:
    """EnvelopedData around a RecipientInfo made by hand, under CEK and AES-256-CBC."""
    cipher = by_name(ContentCipher, "aes256-cbc")
    if ciphertext is None:
        ciphertext = bytes(cipher.encrypt(CEK, IV, TEXT)[0])
    encrypted = ber.sequence(
        ber.oid(oids.DATA),
        algorithm or parameters.write_cipher(cipher, IV, None),
        ber.context(0, ciphertext, constructed=False),
    )
    fields = [ber.integer(2), originator, ber.set_of(recipient), encrypted]
    return content_info(oids.ENVELOPED_DATA, fields)


def opened(der: bytes, *keys: Any, policy: Policy = EXCHANGE) -> bytes:
    return bytes(enveloped_data.decrypt(enveloped_data.read(der), keys, policy=policy))


def bare(private_key: Any) -> Any:
    return SimpleNamespace(private_key=private_key, certificate=None)


# --- key agreement ------------------------------------------------------------------------

RID = ber.context(0, ber.octet_string(b"somebody"))


def shared_info(ukm: bytes | None) -> bytes:
    return ber.sequence(
        parameters.write_wrap(WRAP),
        b"" if ukm is None else ber.context(0, ber.octet_string(ukm)),
        ber.context(2, ber.octet_string(bytes.fromhex("00000100"))),
    )


def kari(
    originator: bytes,
    secret: bytes,
    *,
    scheme: str = "dhsinglepass-stddh-sha256kdf",
    ukm: bytes | None = None,
    rid: bytes = RID,
) -> bytes:
    row = by_name(KeyAgreement, scheme)
    kek = row.derive(secret, 32, shared_info(ukm), ukm)
    return ber.context(
        1,
        ber.integer(3),
        ber.context(0, originator),
        b"" if ukm is None else ber.context(1, ber.octet_string(ukm)),
        ber.sequence(ber.oid(row.oid), parameters.write_wrap(WRAP)),
        ber.sequence(ber.sequence(rid, ber.octet_string(aes_key_wrap(kek, CEK)))),
    )


def point(octets: bytes, algorithm: str = oids.EC_PUBLIC_KEY, *parameter: bytes) -> bytes:
    identifier = ber.sequence(ber.oid(algorithm), *parameter)
    return ber.context(1, identifier, ber.bit_string(octets))


def encoded(public: ec.EllipticCurvePublicKey) -> bytes:
    size = (public.curve.key_size + 7) // 8
    numbers = public.public_numbers()
    return b"\x04" + numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")


CURVES = {
    oids.SECP256R1: ec.SECP256R1(),
    oids.SECP384R1: ec.SECP384R1(),
    oids.SECP521R1: ec.SECP521R1(),
    oids.BRAINPOOL_P256R1: ec.BrainpoolP256R1(),
    oids.BRAINPOOL_P384R1: ec.BrainpoolP384R1(),
    oids.BRAINPOOL_P512R1: ec.BrainpoolP512R1(),
}


@pytest.mark.parametrize("curve", list(CURVES))
@pytest.mark.parametrize("ukm", [None, b"", b"further material"])
@pytest.mark.parametrize("scheme", ["stddh-sha384kdf", "cofactordh-sha256kdf"])
def test_every_curve_and_ukm(curve: str, ukm: bytes | None, scheme: str) -> None:
    own, ephemeral = (ec.generate_private_key(CURVES[curve]) for _ in range(2))
    secret = ephemeral.exchange(ec.ECDH(), own.public_key())
    octets = encoded(ephemeral.public_key())
    for parameter in ((), (ber.null(),), (ber.oid(curve),)):  # RFC 5753 7.1.2 takes all three
        info = kari(
            point(octets, oids.EC_PUBLIC_KEY, *parameter),
            secret,
            scheme=f"dhsinglepass-{scheme}",
            ukm=ukm,
        )
        assert opened(message(info), bare(own)) == TEXT


@pytest.mark.parametrize("scheme", ["hkdf-sha256", "hkdf-sha384", "hkdf-sha512", "sha256kdf"])
@pytest.mark.parametrize("ukm", [None, b"further material"])
@pytest.mark.parametrize(
    ("kind", "oid"),
    [(x25519.X25519PrivateKey, oids.X25519), (x448.X448PrivateKey, oids.X448)],
)
def test_montgomery_curves_with_both_kdfs(
    kind: Any, oid: str, ukm: bytes | None, scheme: str
) -> None:
    own, ephemeral = kind.generate(), kind.generate()
    secret = ephemeral.exchange(own.public_key())
    octets = ephemeral.public_key().public_bytes_raw()
    info = kari(point(octets, oid), secret, scheme=f"dhsinglepass-stddh-{scheme}", ukm=ukm)
    assert opened(message(info), bare(own)) == TEXT


@pytest.mark.parametrize(
    ("kind", "oid", "size"),
    [(x25519.X25519PrivateKey, oids.X25519, 32), (x448.X448PrivateKey, oids.X448, 56)],
)
def test_the_zero_point_is_refused(kind: Any, oid: str, size: int) -> None:
    """RFC 8418 3.2: everybody would know the secret."""
    for octets in (bytes(size), b"\1" + bytes(size - 1)):
        info = kari(point(octets, oid), bytes(size), scheme="dhsinglepass-stddh-hkdf-sha256")
        with pytest.raises(DecryptionFailed):
            opened(message(info), bare(kind.generate()))


@pytest.mark.parametrize(
    ("originator", "match"),
    [
        (point(b"\x04" + bytes(64)), "not a point of the curve"),
        (point(b"\x00"), "not a point of the curve"),
        (point(b""), "not a point of the curve"),
        (point(encoded(ec.generate_private_key(ec.SECP384R1()).public_key())), "not a point"),
        (point(bytes(32), oids.X25519), "not of the recipient's kind"),
        (point(b"\x04" + bytes(64), oids.EC_PUBLIC_KEY, ber.oid(oids.SECP384R1)), "its curve is"),
        (ber.sequence(ber.sequence(), ber.integer(1)), "certificate is not at hand"),
        (ber.context(0, b"somebody", constructed=False), "certificate is not at hand"),
    ],
)
def test_what_is_no_key_of_ours_is_said(originator: bytes, match: str) -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(MalformedMessage, match=match):
        opened(message(kari(originator, bytes(32))), bare(own))


def test_a_compressed_point_of_the_curve_is_taken() -> None:
    own, ephemeral = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    numbers = ephemeral.public_key().public_numbers()
    octets = bytes((2 + (numbers.y & 1),)) + numbers.x.to_bytes(32, "big")
    info = kari(point(octets), ephemeral.exchange(ec.ECDH(), own.public_key()))
    assert opened(message(info), bare(own)) == TEXT


@pytest.mark.parametrize("by", ["issuer", "ski"])
def test_the_originator_may_have_a_certificate(
    by: str, alice: Identity, bob: Identity, mallory: Identity
) -> None:
    """Static keys on both sides; the certificate comes with the message (RFC 5652 6.1)."""
    certificate = alice.certificate
    identifier = certificate.subject_key_identifier
    assert identifier is not None
    named = {
        "issuer": certificate.issuer_and_serial,
        "ski": ber.context(0, identifier, constructed=False),
    }[by]
    secret = alice.private_key.exchange(ec.ECDH(), bob.certificate.public_key)
    info = kari(named, secret, ukm=b"fresh", rid=bob.certificate.issuer_and_serial)
    come = ber.context(0, ber.context(0, certificate.der))
    assert opened(message(info, originator=come), bob) == TEXT
    other = ber.context(0, ber.context(0, mallory.certificate.der))
    with pytest.raises(MalformedMessage, match="originator's certificate is not at hand"):
        opened(message(info, originator=other), bob)


def test_a_finite_field_key_is_no_crash() -> None:
    class DHKey:
        """Keys of finite-field Diffie-Hellman can `exchange` too, and have no octets of a point."""

        def exchange(self, _: object) -> bytes:
            raise AssertionError("the key was asked")

        def public_key(self) -> object:
            return object()

    with pytest.raises(MalformedMessage, match="not for a DHKey"):
        opened(message(kari(point(bytes(65)), bytes(32))), bare(DHKey()))


# --- key encapsulation --------------------------------------------------------------------


def kemri(
    private: Any,
    *,
    kek_size: int = 32,
    ukm: bytes | None = None,
    kdf: str = "hkdf-sha256",
    ciphertext: Callable[[bytes], bytes] = bytes,
    bound_ukm: bytes | None = None,
) -> bytes:
    secret, sent = private.public_key().encapsulate()
    bound = bound_ukm if bound_ukm is not None else ukm
    info = ber.sequence(
        parameters.write_wrap(WRAP),
        ber.integer(32),
        b"" if bound is None else ber.context(0, ber.octet_string(bound)),
    )
    row = by_name(KeyDerivation, kdf)
    value = ber.sequence(
        ber.integer(0),
        ber.context(0, b"somebody", constructed=False),
        ber.sequence(ber.oid(oids.ML_KEM_768)),
        ber.octet_string(ciphertext(sent)),
        ber.sequence(ber.oid(row.oid)),
        ber.integer(kek_size),
        b"" if ukm is None else ber.context(0, ber.octet_string(ukm)),
        parameters.write_wrap(WRAP),
        ber.octet_string(aes_key_wrap(row.derive(secret, 32, info, None), CEK)),
    )
    return ber.context(4, ber.oid(oids.ORI_KEM), value)


@pytest.fixture(scope="module")
def kem() -> Any:
    return mlkem.MLKEM768PrivateKey.generate()


@pytest.mark.parametrize("kdf", ["hkdf-sha256", "hkdf-sha384", "hkdf-sha512"])
@pytest.mark.parametrize("ukm", [None, b"", b"further material"])
def test_ml_kem_with_every_kdf_and_ukm(kem: Any, kdf: str, ukm: bytes | None) -> None:
    assert opened(message(kemri(kem, kdf=kdf, ukm=ukm)), bare(kem)) == TEXT


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33, 1 << 20, -1])
def test_a_kek_length_that_is_not_the_wraps_is_malformed(kem: Any, size: int) -> None:
    """RFC 9629 3."""
    with pytest.raises(MalformedMessage, match="does not go with aes256-wrap"):
        opened(message(kemri(kem, kek_size=size)), bare(kem))


def test_what_a_kem_cannot_say_shows_in_the_wrap(kem: Any) -> None:
    other = mlkem.MLKEM768PrivateKey.generate()
    broken = [
        kemri(kem, ciphertext=lambda sent: bytes((sent[0] ^ 1, *sent[1:]))),
        kemri(kem, ciphertext=lambda sent: sent[:-1]),
        kemri(kem, ciphertext=lambda _: b""),
        kemri(kem, ukm=b"one", bound_ukm=b"other"),
        kemri(other),
    ]
    texts = set()
    for info in broken:
        with pytest.raises(DecryptionFailed) as caught:
            opened(message(info), bare(kem))
        texts.add((str(caught.value), caught.value.hint))
    assert len(texts) == 1


# --- passwords and shared keys ------------------------------------------------------------

PASSWORD = Password("correct horse", iterations=1000)
_SALT = ber.octet_string(bytes(16))
_SHA256 = ber.sequence(ber.oid(oids.HMAC_SHA256), ber.null())


def pwri(
    *pbkdf2: bytes,
    kek: bytes = bytes(32),
    wrapped: bytes | None = None,
    kdf: bytes | None = None,
    cipher: str = "aes256-cbc",
) -> bytes:
    derivation = ber.context(0, ber.oid(oids.PBKDF2), ber.sequence(*pbkdf2))
    inner = parameters.write_cipher(by_name(ContentCipher, cipher), IV, None)
    return ber.context(
        3,
        ber.integer(0),
        derivation if kdf is None else kdf,
        ber.sequence(ber.oid(oids.PWRI_KEK), inner),
        ber.octet_string(PWRI_KEK.wrap(kek, IV, CEK) if wrapped is None else wrapped),
    )


def derived(password: Password, iterations: int, digest: str = "sha256") -> bytes:
    return shared_secret._pbkdf2(password, by_name(Digest, digest), bytes(16), iterations, 32)


@pytest.mark.parametrize("digest", ["sha1", "sha224", "sha256", "sha384", "sha512"])
def test_every_prf_of_pbkdf2(digest: str) -> None:
    oid = getattr(oids, f"HMAC_{digest.upper()}")
    prf = () if digest == "sha1" else (ber.sequence(ber.oid(oid), ber.null()),)
    info = pwri(_SALT, ber.integer(1000), *prf, kek=derived(PASSWORD, 1000, digest))
    assert opened(message(info), PASSWORD) == TEXT
    with pytest.raises(DecryptionFailed):
        opened(message(info), Password("another"))


@pytest.mark.parametrize("iterations", [-1, 0, MAX_ITERATIONS + 1, 1 << 64])
def test_iterations_beyond_the_limit_are_not_carried_out(iterations: int) -> None:
    begun = time.process_time()
    with pytest.raises(MalformedMessage, match="iterations"):
        opened(message(pwri(_SALT, ber.integer(iterations), _SHA256)), PASSWORD)
    assert time.process_time() - begun < 5


def test_many_password_recipients_cost_a_few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []
    real = shared_secret._pbkdf2

    def counting(*arguments: Any) -> bytes:
        tries.append(arguments[3])
        return real(*arguments)

    monkeypatch.setattr(shared_secret, "_pbkdf2", counting)
    many = b"".join(pwri(_SALT, ber.integer(n), _SHA256) for n in range(1, 60))
    with pytest.raises(DecryptionFailed):
        opened(message(many), PASSWORD)
    assert len(tries) == 4


@pytest.mark.parametrize(("count", "layers"), [(4, 1), (1, 8)])
def test_the_derivations_of_a_whole_message_count_together(
    monkeypatch: pytest.MonkeyPatch, count: int, layers: int
) -> None:
    """Recipients beside each other, and layers inside each other, which others can write."""
    carried_out: list[int] = []

    def counting(*arguments: Any) -> bytes:
        carried_out.append(arguments[3])
        raise ValueError  # it is a wrong one

    monkeypatch.setattr(shared_secret, "_pbkdf2", counting)
    budget = Budget()
    info = pwri(_SALT, ber.integer(MAX_ITERATIONS), _SHA256) * count
    read = enveloped_data.read(message(info))

    def open_all() -> None:
        for _ in range(layers):
            with contextlib.suppress(DecryptionFailed):
                enveloped_data.decrypt(read, [PASSWORD], policy=EXCHANGE, budget=budget)

    with pytest.raises(LimitReached, match="password derivations"):
        open_all()
    assert 0 < sum(carried_out) <= budget.limit / ITERATION


def test_a_few_of_our_own_passwords_are_within_the_budget() -> None:
    assert Budget().limit > 3 * ITERATION * shared_secret.ITERATIONS
    assert Budget().limit > ITERATION * MAX_ITERATIONS


@pytest.mark.parametrize(
    ("info", "error"),
    [
        (pwri(_SALT, ber.integer(1000), ber.integer(16), _SHA256), MalformedMessage),
        (pwri(_SALT, ber.integer(1), ber.sequence(ber.oid("1.2.3"))), UnsupportedAlgorithm),
        (pwri(kdf=b""), UnsupportedAlgorithm),
        (pwri(kdf=ber.context(0, ber.oid("1.2.3"))), UnsupportedAlgorithm),
        (pwri(_SALT, ber.integer(1), _SHA256, cipher="aes256-gcm"), UnsupportedAlgorithm),
        (pwri(_SALT, ber.integer(1), _SHA256, cipher="des-ede3-cbc"), SmimeGraphError),
        (pwri(_SALT), MalformedMessage),
        (pwri(ber.null(), ber.integer(1)), MalformedMessage),
    ],
)
def test_what_everybody_can_see_of_a_password_recipient_is_said(
    info: bytes, error: type[SmimeGraphError]
) -> None:
    with pytest.raises(error) as caught:
        opened(message(info), PASSWORD)
    assert not isinstance(caught.value, DecryptionFailed)


def test_what_depends_on_the_password_is_one_error() -> None:
    kek = derived(PASSWORD, 1000)
    good = PWRI_KEK.wrap(kek, IV, CEK)
    wrong = [b"", good[:16], good[:-1], good + bytes(16), bytes(32), bytes(4096)]
    wrong += [bytes((good[0] ^ 1, *good[1:])), good[:-1] + bytes((good[-1] ^ 1,))]
    # its length octet says more than there is, less than three octets, or another key's size
    for block in (b"\xff" + bytes(31), b"\x02" + bytes(31), b"\x10\xff\xff\xff" + bytes(28)):
        wrong.append(_pwri_encrypted(kek, block))
    texts = set()
    for wrapped in wrong:
        info = pwri(_SALT, ber.integer(1000), _SHA256, kek=kek, wrapped=wrapped)
        with pytest.raises(DecryptionFailed) as caught:
            opened(message(info), PASSWORD)
        texts.add((str(caught.value), caught.value.hint, caught.value.__cause__))
    assert len(texts) == 1


def _pwri_encrypted(kek: bytes, block: bytes) -> bytes:
    """RFC 3211 2.3.1: twice in one chain."""
    encryptor = Cipher(AES(kek), modes.CBC(IV)).encryptor()
    first = encryptor.update(block)
    return encryptor.update(first)


@pytest.mark.parametrize(
    "arguments",
    [("",), ("x", 0), ("x", -1), ("x", MAX_ITERATIONS + 1), ("\ud800",)],
)
def test_a_password_that_cannot_be_used_is_refused(arguments: Any) -> None:
    password, *iterations = arguments
    with pytest.raises(UsageError):
        Password(password, **({"iterations": iterations[0]} if iterations else {}))


def test_neither_password_nor_key_is_shown() -> None:
    assert "horse" not in repr(PASSWORD)
    assert repr(bytes(range(16)))[2:-1] not in repr(SharedKey(bytes(range(16)), identifier=b"name"))
    with pytest.raises(UsageError) as caught:
        Password("geheim\ud800")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_shared_key(size: int) -> None:
    key = SharedKey(bytes(range(size)), identifier=b"ours")
    cipher = by_name(ContentCipher, "aes128-cbc")
    der = enveloped_data.encrypt(TEXT, [key], cipher=cipher, policy=EXCHANGE)
    assert opened(der, key) == TEXT
    with pytest.raises(DecryptionFailed):
        opened(der, SharedKey(bytes(size), identifier=b"ours"))
    with pytest.raises(DecryptionFailed):
        opened(der, SharedKey(bytes(16 if size > 16 else 32), identifier=b"ours"))
    with pytest.raises(NoMatchingIdentity, match="shared key 6f757273"):
        opened(der, SharedKey(bytes(range(size)), identifier=b"theirs"))


@pytest.mark.parametrize("size", [16, 24])
def test_a_content_key_of_another_size_than_the_ciphers_opens_nothing(
    size: int, bob_rsa: Identity
) -> None:
    """AES-256 that is named must not become AES-128, whoever wrapped the key."""
    cek = bytes(range(size))
    cipher, row = by_name(ContentCipher, "aes256-cbc"), by_name(ContentCipher, f"aes{8 * size}-cbc")
    ciphertext, _ = row.encrypt(cek, IV, TEXT)
    shared = SharedKey(bytes(32), identifier=b"ours")
    kek = ber.context(
        2,
        ber.integer(4),
        ber.sequence(ber.octet_string(b"ours")),
        parameters.write_wrap(WRAP),
        ber.octet_string(aes_key_wrap(shared.key, cek)),
    )
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    wrapped = bob_rsa.private_key.public_key().encrypt(cek, oaep)
    transport = ktri(ber.sequence(ber.oid(oids.RSAES_OAEP), ber.sequence()), wrapped)
    for info, key in ((kek, shared), (transport, bare(bob_rsa.private_key))):
        good = parameters.write_cipher(row, IV, None)
        bad = parameters.write_cipher(cipher, IV, None)
        assert opened(message(info, algorithm=good, ciphertext=bytes(ciphertext)), key) == TEXT
        with pytest.raises(DecryptionFailed):
            opened(message(info, algorithm=bad, ciphertext=bytes(ciphertext)), key)


@pytest.mark.parametrize("size", [0, 15, 17, 33])
def test_a_shared_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match="16, 24 or 32"):
        SharedKey(bytes(size))


# --- EncryptedData ------------------------------------------------------------------------


def encrypted(name: str, key: bytes, *, derived_from: bytes | None = None) -> bytes:
    cipher = by_name(ContentCipher, name)
    iv = bytes(cipher.iv_size)
    ciphertext, _ = cipher.encrypt(key, iv, TEXT)
    inner = ber.sequence(
        ber.oid(oids.DATA),
        parameters.write_cipher(cipher, iv, None) if derived_from is None else derived_from,
        ber.context(0, bytes(ciphertext), constructed=False),
    )
    return content_info(oids.ENCRYPTED_DATA, [ber.integer(0), inner])


def decrypted(der: bytes, keys: list[Any], policy: Policy) -> bytes:
    encrypted = encrypted_data.read_content(read_content_info(der, oids.ENCRYPTED_DATA)[1])
    return bytes(encrypted_data.decrypt(encrypted, keys, policy=policy))


def test_encrypted_data_is_read_with_the_key_of_its_size() -> None:
    der = encrypted("aes256-cbc", CEK)
    decoy, right = SharedKey(bytes(32)), SharedKey(CEK)
    assert decrypted(der, [right], policy=EXCHANGE) == TEXT
    with pytest.raises(NoMatchingIdentity, match="32 octets"):
        decrypted(der, [SharedKey(bytes(16)), PASSWORD], policy=EXCHANGE)
    with pytest.raises(DecryptionFailed):
        decrypted(der, [decoy], policy=EXCHANGE)
    assert decrypted(der, [decoy, right], policy=EXCHANGE) == TEXT


def test_triple_des_is_for_the_archive() -> None:
    der = encrypted("des-ede3-cbc", CEK[:24])
    with pytest.raises(PolicyRefusal, match="policy exchange refuses des-ede3-cbc"):
        decrypted(der, [SharedKey(CEK[:24])], policy=EXCHANGE)
    assert decrypted(der, [SharedKey(CEK[:24])], policy=ARCHIVE) == TEXT


def test_an_authenticating_cipher_does_not_belong_in_encrypted_data() -> None:
    with pytest.raises(MalformedMessage, match="aes256-gcm does not belong in EncryptedData"):
        decrypted(encrypted("aes256-gcm", CEK), [SharedKey(CEK)], policy=EXCHANGE)


# --- the derivation of RFC 9709 -----------------------------------------------------------


@pytest.mark.parametrize("name", ["aes256-gcm", "chacha20-poly1305", "aes256-ccm"])
def test_a_changed_inner_identifier_changes_the_key(name: str, bob: Identity) -> None:
    """What the derivation is for: the cipher cannot be exchanged for a malleable one."""
    to = [Contact(bob.certificate, capabilities=(ber.sequence(ber.oid(oids.CEK_HKDF_SHA256)),))]
    der = enveloped_data.encrypt(TEXT, to, cipher=by_name(ContentCipher, name), policy=EXCHANGE)
    assert opened(der, bob) == TEXT
    enveloped = enveloped_data.read(der)
    encryption = parameters.read_cipher(enveloped.algorithm, "x")
    inner = parameters.write_cipher(encryption.cipher, encryption.iv, None)
    assert enveloped.algorithm.raw.endswith(inner)
    cipher_for_cipher = {"aes256-gcm": oids.AES256_CCM, "aes256-ccm": oids.AES256_GCM}
    if (other := cipher_for_cipher.get(name)) is not None:
        changed = der.replace(ber.oid(encryption.cipher.oid), ber.oid(other))
        with pytest.raises(DecryptionFailed):
            opened(changed, bob)
    with pytest.raises(DecryptionFailed):
        opened(der.replace(encryption.iv, bytes(12)), bob)


def test_without_its_derivation_the_content_does_not_open(bob: Identity) -> None:
    to = [Contact(bob.certificate, capabilities=(ber.sequence(ber.oid(oids.CEK_HKDF_SHA256)),))]
    cipher = by_name(ContentCipher, "aes256-gcm")
    whole = enveloped_data.read(enveloped_data.encrypt(TEXT, to, cipher=cipher, policy=EXCHANGE))
    encryption = parameters.read_cipher(whole.algorithm, "x")
    bare_algorithm = AlgorithmIdentifier.read(
        ber.read(parameters.write_cipher(cipher, encryption.iv, None), "x"), "x"
    )
    stripped = dataclasses.replace(whole, algorithm=bare_algorithm)
    with pytest.raises(DecryptionFailed):
        enveloped_data.decrypt(stripped, [bob], policy=EXCHANGE)


@pytest.mark.parametrize(
    ("parameter", "error"),
    [
        (b"", MalformedMessage),
        (ber.null(), MalformedMessage),
        (ber.sequence(ber.oid("1.2.3.4")), UnsupportedAlgorithm),
        # a derivation within a derivation
        (
            ber.sequence(ber.oid(oids.CEK_HKDF_SHA256), ber.sequence(ber.oid(oids.AES256_CBC))),
            UnsupportedAlgorithm,
        ),
    ],
)
def test_a_derivation_without_a_cipher_is_refused(
    parameter: bytes, error: type[SmimeGraphError]
) -> None:
    algorithm = ber.sequence(ber.oid(oids.CEK_HKDF_SHA256), parameter)
    info = pwri(_SALT, ber.integer(1000), _SHA256, kek=derived(PASSWORD, 1000))
    with pytest.raises(error):
        opened(message(info, algorithm=algorithm), PASSWORD)


# --- key transport ------------------------------------------------------------------------


def ktri(algorithm: bytes, encrypted: bytes) -> bytes:
    rid = ber.context(0, ber.octet_string(b"somebody"), constructed=False)
    return ber.sequence(ber.integer(2), rid, algorithm, ber.octet_string(encrypted))


V15 = ber.sequence(ber.oid(oids.RSA_ENCRYPTION), ber.null())


class Answering:
    """A private key on a token: its answer to every ciphertext, or the error that it raises."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer

    def decrypt(self, *_: object) -> bytes:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize("answer", [ValueError(), b"", bytes(15), bytes(33), bytes(200)], ids=repr)
def test_a_random_content_key_takes_the_place_of_a_bad_one(
    answer: bytes | Exception, size: int
) -> None:
    """RFC 3218 2.3.2: bad padding, and a key of the wrong size, go the way of a good key."""
    (info,) = key_transport.read(ber.read(ktri(V15, bytes(256)), "ktri"))
    key, opening = bare(Answering(answer)), Opening(size, EXCHANGE)
    seen = {key_transport.unwrap(info, key, opening) for _ in range(3)}
    assert {len(one) for one in seen} == {size}
    assert len(seen) == 3
    good = bare(Answering(CEK[:size]))
    assert key_transport.unwrap(info, good, opening) == CEK[:size]


@pytest.mark.parametrize("label", [b"", b"label", bytes(300)])
def test_the_label_of_oaep_is_that_of_the_recipient_info(label: bytes, bob_rsa: Identity) -> None:
    """RFC 3560 3: pSourceFunc. A message for another label is not opened."""

    def algorithm(label: bytes) -> bytes:
        source = ber.sequence(ber.oid(oids.P_SPECIFIED), ber.octet_string(label))
        return ber.sequence(ber.oid(oids.RSAES_OAEP), ber.sequence(ber.context(2, source)))

    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), label or None)
    encrypted = bob_rsa.private_key.public_key().encrypt(CEK, oaep)
    key = bare(bob_rsa.private_key)
    assert opened(message(ktri(algorithm(label), encrypted)), key) == TEXT
    for other in (b"another", label + b"x", label[:-1] if label else b"\x00"):
        with pytest.raises(DecryptionFailed):
            opened(message(ktri(algorithm(other), encrypted)), key)
