"""Private keys of our own protocol, and with cryptography's interface, wherever they are.

The classes of azure-keyvault-keys are the real ones, over a vault in this process.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import RequestsTransport
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from requests.adapters import BaseAdapter

from smime_graph.algorithms import (
    SHA1,
    SHA256,
    SHA384,
    ContentCipher,
    Digest,
    KeyTransport,
    OaepParameters,
    SignatureScheme,
    by_name,
)
from smime_graph.algorithms.private_key import CryptographyKey, Operation, private_key
from smime_graph.authority.issue import CA
from smime_graph.cms import enveloped_data
from smime_graph.cms.recipients import key_transport
from smime_graph.cms.recipients.recipient_info import Opening
from smime_graph.errors import (
    DecryptionFailed,
    NoMatchingIdentity,
    UnsupportedAlgorithm,
    UsageError,
)
from smime_graph.pki.identity import Contact, Identity
from smime_graph.pki.trust import TrustStore
from smime_graph.pki.usage import Use
from smime_graph.policy import EXCHANGE
from smime_graph.smime.examine import unseal, verify
from smime_graph.smime.sealing import seal
from smime_graph.smime.wrap import sign

VAULT = "https://mail.vault.azure.net"
HASHES: dict[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
OAEP = {"RSA-OAEP": hashes.SHA1(), "RSA-OAEP-256": hashes.SHA256()}


def text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def octets(value: str) -> bytes:
    return base64.urlsafe_b64decode(value + "==")


def integer(value: int) -> str:
    return text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@dataclass
class Vault(BaseAdapter):
    """What Key Vault's REST interface does with one key: its `answer` may be put in its place."""

    key: Any
    asked: list[tuple[str, str]] = field(default_factory=list)
    answer: Callable[[], tuple[int, str]] | None = None

    def send(self, request: Any, *_: object, **__: object) -> requests.Response:
        if "Authorization" not in request.headers:
            # no body before the vault has said whose token it wants
            challenge = (
                'Bearer authorization="https://login.invalid/tenant", '
                'resource="https://vault.azure.net"'
            )
            return response(request, 401, {}, {"WWW-Authenticate": challenge})
        if request.method == "GET":
            return response(request, 200, {"key": self.jwk(), "attributes": {"enabled": True}})
        what, asked = request.url.partition("?")[0].rpartition("/")[2], json.loads(request.body)
        self.asked.append((what, asked["alg"]))
        if self.answer is not None:
            status, code = self.answer()
            return response(request, status, {"error": {"code": code, "message": code}})
        try:
            value = getattr(self, what)(asked["alg"], octets(asked["value"]))
        except ValueError:
            error = {"code": "BadParameter", "message": "The parameter is incorrect."}
            return response(request, 400, {"error": error})
        return response(request, 200, {"kid": f"{VAULT}/keys/mail/1", "value": text(value)})

    def close(self) -> None:
        """Nothing is open."""

    def jwk(self) -> dict[str, str]:
        numbers = self.key.public_key().public_numbers()
        common = {"kid": f"{VAULT}/keys/mail/1"}
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return common | {
                "kty": "EC", "crv": "P-256", "x": integer(numbers.x), "y": integer(numbers.y)
            }  # fmt: skip
        return common | {"kty": "RSA", "n": integer(numbers.n), "e": integer(numbers.e)}

    def sign(self, alg: str, digest: bytes) -> bytes:
        how = Prehashed(HASHES[alg[2:]])
        if alg.startswith("ES"):
            r, s = decode_dss_signature(self.key.sign(digest, ec.ECDSA(how)))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        pss = padding.PSS(padding.MGF1(HASHES[alg[2:]]), padding.PSS.DIGEST_LENGTH)
        made: bytes = self.key.sign(digest, pss if alg[0] == "P" else padding.PKCS1v15(), how)
        return made

    def decrypt(self, alg: str, ciphertext: bytes) -> bytes:
        if alg == "RSA1_5":
            plain: bytes = self.key.decrypt(ciphertext, padding.PKCS1v15())
            if len(plain) != 32:  # what OpenSSL makes of bad padding; a vault says that it is bad
                raise ValueError
            return plain
        oaep = padding.OAEP(padding.MGF1(OAEP[alg]), OAEP[alg], None)
        found: bytes = self.key.decrypt(ciphertext, oaep)
        return found


def response(
    request: Any, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
) -> requests.Response:
    made = requests.Response()
    made.status_code, made.url, made.request = status, request.url, request
    made.headers.update({"Content-Type": "application/json", **(headers or {})})
    made.raw = io.BytesIO(json.dumps(body).encode())
    return made


def client_of(vault: Vault) -> CryptographyClient:
    session = requests.Session()
    session.mount("https://", vault)
    token = AccessToken("secret", 1 << 40)
    return CryptographyClient(
        f"{VAULT}/keys/mail/1",
        SimpleNamespace(get_token=lambda *_, **__: token),
        transport=RequestsTransport(session=session, session_owner=False),
        retry_total=0,
    )


@pytest.fixture
def vault(alice_rsa: Identity) -> Vault:
    return Vault(alice_rsa.private_key)


@pytest.fixture
def alice(alice_rsa: Identity, vault: Vault) -> Identity:
    """The key in the vault, and the certificate and chain that belong to it."""
    key = client_of(vault).create_rsa_private_key()
    assert type(key).__name__ == "KeyVaultRSAPrivateKey"
    return Identity(private_key=key, certificate=alice_rsa.certificate, chain=alice_rsa.chain)


def policy(transport: str = "rsaes-oaep", **changes: Any) -> Any:
    return EXCHANGE.but("vault", key_transports=(transport,), **changes)


# --- signing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize(("scheme", "letter"), [("rsassa-pkcs1v15", "R"), ("rsassa-pss", "P")])
def test_an_rsa_key_in_a_vault_signs(
    alice: Identity, vault: Vault, trust: TrustStore, message: bytes, now: datetime,
    scheme: str, letter: str, digest: str,
) -> None:  # fmt: skip
    used = policy(rsa_signature=scheme, digest=digest)
    signed = sign(message, signer=alice, policy=used, at=now)
    assert vault.asked == [("sign", f"{letter}S{digest[3:]}")]
    assert verify(signed, trust=trust, at=now).signer.email == "alice@contoso.com"


class VaultECKey:
    """azure-keyvault-keys has no class for EC keys: its client, as a PrivateKey."""

    operations: Collection[Operation] = frozenset[Operation]({"sign"})

    def __init__(self, client: CryptographyClient, public: Any) -> None:
        self._client = client
        self._public = public

    def public_key(self) -> Any:
        return self._public

    def sign(self, data: bytes, scheme: SignatureScheme, digest: Digest) -> bytes:
        assert (scheme.name, digest.name) == ("ecdsa", "sha256")
        raw = self._client.sign(SignatureAlgorithm.es256, digest.compute(data)).signature
        return encode_dss_signature(
            int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        )


def test_an_ec_key_in_a_vault_signs_as_a_private_key_of_our_own_protocol(
    ca: CA, trust: TrustStore, message: bytes, now: datetime
) -> None:
    local = ca.issue("alice@contoso.com", key="p256", at=now)
    vault = Vault(local.private_key)
    key = VaultECKey(client_of(vault), local.certificate.public_key)
    alice = Identity(private_key=key, certificate=local.certificate, chain=local.chain)
    signed = sign(message, signer=alice, at=now)
    assert vault.asked == [("sign", "ES256")]
    assert verify(signed, trust=trust, at=now).signer.email == "alice@contoso.com"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda: (403, "Forbidden"), "Forbidden"),
        (lambda: (404, "KeyNotFound"), "KeyNotFound"),
        (lambda: (400, "BadParameter"), "BadParameter"),
    ],
)
def test_a_vault_that_does_not_sign_is_told(
    alice: Identity, vault: Vault, message: bytes, now: datetime, answer: Any, told: str
) -> None:
    vault.answer = answer
    with pytest.raises(UsageError) as caught:
        sign(message, signer=alice, at=now)
    assert "signing with rsassa-pkcs1v15 and sha256 by a KeyVaultRSAPrivateKey failed" in str(
        caught.value
    )
    assert told in str(caught.value)
    assert caught.value.hint


def test_a_digest_that_a_vault_does_not_have_is_told(
    alice: Identity, vault: Vault, message: bytes, now: datetime
) -> None:
    with pytest.raises(UsageError, match="sha3-256 by a KeyVaultRSAPrivateKey failed: Unsupported"):
        sign(message, signer=alice, policy=policy(digest="sha3-256"), at=now)
    assert vault.asked == []


# --- decrypting ----------------------------------------------------------------------------------


@pytest.fixture
def to_alice(message: bytes) -> bytes:
    return message.replace(b"To: Bob <bob@", b"To: <alice@")


@pytest.mark.parametrize(
    ("transport", "asked"), [("rsaes-oaep", "RSA-OAEP-256"), ("rsaes-pkcs1v15", "RSA1_5")]
)
def test_an_rsa_key_in_a_vault_decrypts(
    alice: Identity, vault: Vault, to_alice: bytes, now: datetime, trust: TrustStore,
    transport: str, asked: str,
) -> None:  # fmt: skip
    recipients = [Contact(alice.certificate)]
    used = policy(transport)
    sealed = seal(to_alice, signer=alice, recipients=recipients, policy=used, at=now)
    vault.asked.clear()
    opened = unseal(sealed, identities=[alice], trust=trust, at=now)
    assert opened.message["Subject"] == "Figures"
    assert vault.asked == [("decrypt", asked)]


def encrypted_key(der: bytes) -> bytes:
    return enveloped_data.read(der).recipients[0].encrypted_key


def opened(der: bytes, key: Identity) -> bytes:
    return bytes(enveloped_data.decrypt(enveloped_data.read(der), [key], policy=EXCHANGE))


def encrypted(alice: Identity, transport: str) -> bytes:
    used = policy(transport)
    to = [Contact(alice.certificate)]
    cipher = by_name(ContentCipher, "aes256-cbc")
    return enveloped_data.encrypt(b"the figures", to, cipher=cipher, policy=used)


def damaged(der: bytes) -> bytes:
    wrapped = encrypted_key(der)
    return der.replace(wrapped, wrapped[:-1] + bytes([wrapped[-1] ^ 1]))


def test_a_vault_that_finds_bad_padding_is_no_oracle(alice: Identity, vault: Vault) -> None:
    """RFC 3218: a random key in place of a bad one, and no other request than for a good one."""
    der = encrypted(alice, "rsaes-pkcs1v15")
    assert opened(der, alice) == b"the figures"
    asked = list(vault.asked)
    good: list[bytes] = []
    bad: list[bytes] = []
    (info,) = enveloped_data.read(der).recipients
    for wrapped, found in ((info.encrypted_key, good), (bytes(256), bad)):
        vault.asked.clear()
        one = replace(info, encrypted_key=wrapped)
        found += [key_transport.unwrap(one, alice, Opening(32, EXCHANGE)) for _ in range(2)]
        assert vault.asked == 2 * asked
    assert good[0] == good[1]
    assert [len(one) for one in bad] == [32, 32]
    assert len({*good, *bad}) == 3


def test_a_bad_ciphertext_of_oaep_is_a_failure_without_a_cause(
    alice: Identity, vault: Vault
) -> None:
    der = encrypted(alice, "rsaes-oaep")
    assert opened(der, alice) == b"the figures"
    with pytest.raises(DecryptionFailed) as caught:
        opened(damaged(der), alice)
    assert str(caught.value) == "the message could not be decrypted"
    key = private_key(alice.private_key)
    scheme, oaep = by_name(KeyTransport, "rsaes-oaep"), OaepParameters(SHA256, SHA256)
    for octets in (b"", bytes(256), b"\xff" * 256, encrypted_key(der)[:-1]):
        with pytest.raises(ValueError) as no:
            key.decrypt(octets, scheme, oaep)
        assert (type(no.value), str(no.value), no.value.__cause__) == (ValueError, "", None)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        (OaepParameters(SHA384, SHA384), "Unsupported algorithm: sha384"),
        (OaepParameters(SHA256, SHA1), "The parameter is incorrect"),  # the class drops MGF1's
        (OaepParameters(SHA256, SHA256, b"label"), "The parameter is incorrect"),  # and the label
    ],
    ids=["digest", "mask", "label"],
)
def test_an_oaep_that_a_vault_does_not_have_is_told(
    alice: Identity, parameters: OaepParameters, told: str
) -> None:
    scheme = by_name(KeyTransport, "rsaes-oaep")
    wrapped = scheme.wrap(alice.certificate.public_key, bytes(32), parameters)
    with pytest.raises(UnsupportedAlgorithm) as caught:
        private_key(alice.private_key).decrypt(wrapped, scheme, parameters)
    assert "decrypting with rsaes-oaep by a KeyVaultRSAPrivateKey" in str(caught.value)
    assert told in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("transport", ["rsaes-oaep", "rsaes-pkcs1v15"])
@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503, None])
def test_a_vault_that_cannot_be_asked_is_told_and_not_taken_for_a_bad_message(
    alice: Identity, vault: Vault, transport: str, status: int | None
) -> None:
    der = encrypted(alice, transport)

    def answer() -> tuple[int, str]:
        if status is None:
            raise requests.ConnectionError("no route to the vault\x1b[2J")
        return status, "NotToday"

    vault.answer = answer
    with pytest.raises(UsageError) as caught:
        opened(der, alice)
    assert f"{transport} by a KeyVaultRSAPrivateKey failed" in str(caught.value)
    assert ("no route" if status is None else "NotToday") in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert caught.value.hint


# --- keys of our own protocol, and the adapter ---------------------------------------------------


class Elsewhere:
    """A device with its own protocol: nothing of cryptography's interface, no key to be had."""

    def __init__(self, key: Any, *operations: Operation) -> None:
        self._held = CryptographyKey(key)
        self.operations = operations
        self.asked: list[str] = []

    def public_key(self) -> Any:
        return self._held.public_key()

    def sign(self, data: bytes, scheme: SignatureScheme, digest: Digest) -> bytes:
        self.asked.append(f"sign {scheme.name} {digest.name}")
        return self._held.sign(data, scheme, digest)

    def decrypt(
        self, data: bytes, scheme: KeyTransport, parameters: OaepParameters | None = None
    ) -> bytes:
        self.asked.append(f"decrypt {scheme.name}")
        return self._held.decrypt(data, scheme, parameters)

    def derive(self, public_key: Any) -> bytes:
        self.asked.append("derive")
        return self._held.derive(public_key)

    def decapsulate(self, data: bytes) -> bytes:
        self.asked.append("decapsulate")
        return self._held.decapsulate(data)


@pytest.mark.parametrize(
    ("kind", "operation", "asked"),
    [
        ("rsa-2048", "decrypt", "decrypt rsaes-pkcs1v15"),
        ("p256", "derive", "derive"),
        ("x25519", "derive", "derive"),
        ("ml-kem-768", "decapsulate", "decapsulate"),
    ],
)
def test_a_key_of_our_own_protocol_decrypts(
    ca: CA, now: datetime, kind: str, operation: Operation, asked: str
) -> None:
    local = ca.issue("bob@contoso.com", key=kind, use="encrypt", at=now)
    key, cannot = Elsewhere(local.private_key, operation), Elsewhere(local.private_key, "sign")
    assert private_key(key) is key
    bob = Identity(private_key=key, certificate=local.certificate)
    der = encrypted(bob, "rsaes-pkcs1v15")
    assert opened(der, bob) == b"the figures"
    assert key.asked == [asked]
    with pytest.raises(NoMatchingIdentity):
        opened(der, Identity(private_key=cannot, certificate=local.certificate))
    assert cannot.asked == []


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("rsa-2048", "sign rsassa-pkcs1v15 sha256"),
        ("p256", "sign ecdsa sha256"),
        ("ed25519", "sign ed25519 sha512"),
        ("ml-dsa-65", "sign ml-dsa-65 sha512"),
    ],
)
def test_a_key_of_our_own_protocol_signs(
    ca: CA, trust: TrustStore, message: bytes, now: datetime, kind: str, asked: str
) -> None:
    local = ca.issue("alice@contoso.com", key=kind, use="sign", at=now)
    key = Elsewhere(local.private_key, "sign")
    alice = Identity(private_key=key, certificate=local.certificate, chain=local.chain)
    signed = sign(message, signer=alice, at=now)
    assert key.asked == [asked]
    assert verify(signed, trust=trust, at=now).signer.email == "alice@contoso.com"


@pytest.mark.parametrize(
    ("kind", "operations"),
    [
        ("rsa-2048", {"sign", "decrypt"}),
        ("p256", {"sign", "derive"}),
        ("ed25519", {"sign"}),
        ("x448", {"derive"}),
        ("ml-dsa-44", {"sign"}),
        ("ml-kem-1024", {"decapsulate"}),
    ],
)
def test_what_a_key_of_cryptography_can_do(
    ca: CA, now: datetime, kind: str, operations: set[str]
) -> None:
    use: Use = "sign" if operations == {"sign"} else "encrypt"
    key = ca.issue("a@contoso.com", key=kind, use=use, at=now).private_key
    assert set(private_key(key).operations) == operations


def test_a_signature_that_a_key_is_too_short_for_is_told() -> None:
    short = rsa.generate_private_key(65537, 1024)
    scheme, digest = by_name(SignatureScheme, "rsassa-pss"), by_name(Digest, "sha512")
    with pytest.raises(UsageError, match="signing with rsassa-pss and sha512 by a RSAPrivateKey"):
        private_key(short).sign(b"", scheme, digest)


class Failing:
    """With cryptography's interface, but not with its exceptions."""

    def __init__(self, key: Any, error: Exception) -> None:
        self._key, self._error = key, error

    def public_key(self) -> Any:
        return self._key.public_key()

    def _fail(self, *_: object) -> bytes:
        raise self._error

    sign = decrypt = exchange = decapsulate = _fail


@pytest.mark.parametrize(
    "error",
    [ValueError("padding"), TypeError("x"), KeyError("alg"), RuntimeError("bad ciphertext")],
    ids=repr,
)
def test_what_may_be_the_fault_of_a_message_is_a_value_error_without_a_word(
    alice_rsa: Identity, error: Exception
) -> None:
    key = private_key(Failing(alice_rsa.private_key, error))
    peer = ec.generate_private_key(ec.SECP256R1()).public_key()
    operations: list[Callable[[], bytes]] = [
        lambda: key.decrypt(bytes(256), by_name(KeyTransport, "rsaes-pkcs1v15")),
        lambda: key.derive(peer),
        lambda: key.derive(alice_rsa.certificate.public_key),
        lambda: key.decapsulate(bytes(1088)),
    ]
    for operation in operations:
        with pytest.raises(ValueError) as caught:
            operation()
        assert (type(caught.value), str(caught.value), caught.value.__cause__) == (
            ValueError, "", None
        )  # fmt: skip


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), TimeoutError(), UsageError("no")])
def test_what_no_message_can_bring_about_is_told(alice_rsa: Identity, error: Exception) -> None:
    key = private_key(Failing(alice_rsa.private_key, error))
    peer = ec.generate_private_key(ec.SECP256R1()).public_key()
    operations: list[Callable[[], bytes]] = [
        lambda: key.sign(b"", by_name(SignatureScheme, "rsassa-pkcs1v15"), SHA256),
        lambda: key.decrypt(bytes(256), by_name(KeyTransport, "rsaes-pkcs1v15")),
        lambda: key.derive(peer),
        lambda: key.decapsulate(bytes(1088)),
    ]
    for operation in operations:
        with pytest.raises(UsageError):
            operation()
