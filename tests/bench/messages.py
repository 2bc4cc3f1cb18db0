"""The rows of one message in a process that has its keys: sign, encrypt, verify, unseal.

The primitives are what nobody can do without: the digest of the content or its encryption, the
operation with each public or private key, and base64.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import pybase64
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from smime_graph import (
    EXCHANGE,
    Certificate,
    Contact,
    Identity,
    TrustStore,
    decrypt,
    encrypt,
    sign,
    unseal,
    verify,
)
from smime_graph.pki.keyfiles.read import armour
from tests.interop.cases import EncryptionCase, SigningCase
from tests.interop.people import People

from .measure import Contestant, Row, Rows, in_process
from .peers import Peers

SIZES = {"1 KB": 1_000, "10 KB": 10_000, "1 MB": 1_000_000}
SIGNING = {
    "p256": SigningCase("ecdsa", ("p256",), "sha256"),
    "rsa-2048": SigningCase("rsassa-pkcs1v15", ("rsa-2048",), "sha256"),
    "ed25519": SigningCase("ed25519", ("ed25519",), "sha512"),
    "ml-dsa-65": SigningCase("ml-dsa-65", ("ml-dsa-65",), "sha512"),
}
_TO_RSA = EncryptionCase("rsaes-pkcs1v15", "rsa-2048", "aes256-cbc")
_TO_ML_KEM = EncryptionCase("ml-kem-768", "ml-kem-768", "aes256-cbc")
_ANYONE = EXCHANGE.but("bench", every_recipient_must_read=False)


class Chain(People):
    """People below an issuing authority: each chain has three certificates, as mail's have."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.root = self.ca
        self.ca = self.root.create_intermediate("Bench Issuing", key="rsa-2048")
        issuing = armour(self.ca.certificate)
        self.root_file.write_bytes(self.root.trust_pem + issuing)  # where a peer looks for it

    def trust_store(self) -> TrustStore:
        return TrustStore((self.root.certificate,))


def mail(sender: str, to: str, size: int) -> bytes:
    """A message of plain text with about `size` octets."""
    line = b"The figures of this quarter are in, and they are better than last year's.\r\n"
    head = (
        f"From: {sender}\r\nTo: {to}\r\nSubject: The figures\r\n"
        f"Date: {format_datetime(datetime.now(UTC))}\r\nMessage-ID: <bench@contoso.com>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n"
        "Content-Transfer-Encoding: 7bit\r\n\r\n"
    ).encode()
    return head + line * max(1, (size - len(head)) // len(line))


def rows(people: Chain, peers: Peers, *, quick: bool) -> Rows:
    work = _Work(people, peers)
    sizes = ("10 KB",) if quick else tuple(SIZES)
    for size in sizes:
        for kind in SIGNING:
            yield f"clear-sign {size}, {kind}", partial(work.signing, size, kind)
    yield "clear-sign 10 KB EmailMessage, p256", work.email_message
    for size in sizes:
        name = f"encrypt {size}, 1 recipient rsa-2048"
        yield name, partial(work.encryption, size, "rsa-2048")
    yield "encrypt 10 KB, 1 recipient ml-kem-768", partial(work.encryption, "10 KB", "ml-kem-768")
    for count in (100,) if quick else (100, 1000):
        name = f"encrypt 10 KB, {count} recipients rsa-2048"
        yield name, partial(work.many_recipients, count)
    for kind in SIGNING:
        yield f"verify 10 KB again, {kind}", partial(work.verification, kind)
    for kind in ("rsa-2048", "p256"):
        yield f"unseal 10 KB again, signer {kind}", partial(work.unsealing, kind)


class _Work:
    def __init__(self, people: Chain, peers: Peers) -> None:
        self._people = people
        self._peers = peers
        self._trust = people.trust_store()
        self._at = datetime.now(UTC)

    def _raw(self, size: str, kind: str) -> bytes:
        return mail(self._people.of(kind).email, "bob@contoso.com", SIZES[size])

    # --- sign ------------------------------------------------------------------------------------

    def signing(self, size: str, kind: str) -> Row:
        raw, me = self._raw(size, kind), self._people.of(kind).identity
        contestants = {
            "ours": in_process(lambda: sign(raw, signer=me)),
            "primitives": in_process(_sign_primitives(me, raw)),
        }
        if kind in ("p256", "rsa-2048"):
            contestants["pyca"] = in_process(_pyca_sign(me, raw))
        case, person = SIGNING[kind], self._people.of(kind)
        contestants |= self._peers.of("read", case, lambda peer: peer.sign(case, raw, [person]))
        bounds = {("10 KB", "p256"): (2.8, 60.0), ("10 KB", "rsa-2048"): (1.3, 60.0)}
        ratio, own = bounds.get(
            (size, kind), (7.0 if (size, kind) == ("1 MB", "p256") else None, None)
        )
        return Row(contestants, ratio=ratio, own=own)

    def email_message(self) -> Row:
        raw, me = self._raw("10 KB", "p256"), self._people.of("p256").identity
        message = message_from_bytes(raw, policy=policy.default)
        assert isinstance(message, EmailMessage)
        contestants = {
            "ours": in_process(lambda: sign(message, signer=me)),
            "primitives": in_process(_sign_primitives(me, raw)),
            "as_bytes": in_process(message.as_bytes),
        }
        return Row(contestants)

    # --- encrypt ---------------------------------------------------------------------------------

    def encryption(self, size: str, kind: str) -> Row:
        person, raw = self._people.of(kind), self._raw(size, "p256")
        # one that is known by the To of the message, as `encrypt` asks by default
        raw = raw.replace(b"bob@contoso.com", person.email.encode(), 1)
        to = person.identity.contact
        contestants = {
            "ours": in_process(lambda: encrypt(raw, recipients=[to])),
            "primitives": in_process(_encrypt_primitives([to.certificate], raw)),
        }
        if kind == "rsa-2048":
            contestants["pyca"] = in_process(_pyca_encrypt([to.certificate], raw))
        case = _TO_RSA if kind == "rsa-2048" else _TO_ML_KEM
        contestants |= self._peers.of("read", case, lambda peer: peer.encrypt(case, raw, [person]))
        ratio = 2.0 if (size, kind) == ("10 KB", "rsa-2048") else None
        return Row(contestants, ratio=ratio)

    def many_recipients(self, count: int) -> Row:
        contacts = list(self._contacts(count))
        to = ",\r\n ".join(f"u{number}@contoso.com" for number in range(count))
        raw = mail("p256@contoso.com", to, SIZES["10 KB"] + len(to))
        certificates = [one.certificate for one in contacts]
        contestants: dict[str, Contestant] = {
            "ours": in_process(lambda: encrypt(raw, recipients=contacts)),
            "primitives": in_process(_encrypt_primitives(certificates, raw)),
            "pyca": in_process(_pyca_encrypt(certificates, raw)),
        }
        ratio = 2.5 if count == 1000 else None
        return Row(contestants, ratio=ratio)

    def _contacts(self, count: int) -> Iterator[Contact]:
        keys = [rsa.generate_private_key(65537, 2048) for _ in range(10)]
        for number in range(count):
            yield self._people.ca.issue(
                f"u{number}@contoso.com", key=keys[number % len(keys)]
            ).contact

    # --- verify and unseal -----------------------------------------------------------------------

    def verification(self, kind: str) -> Row:
        person, raw = self._people.of(kind), self._raw("10 KB", kind)
        signed = sign(raw, signer=person.identity)
        entity, cms = parts_of(signed)
        contestants = {
            "ours": in_process(lambda: verify(signed, trust=self._trust)),
            "primitives": in_process(_verify_primitives(person.identity, entity, cms)),
        }
        case = SIGNING[kind]
        contestants |= self._peers.of("made", case, lambda peer: peer.verify(case, cms, entity))
        ratio = {"p256": 4.0, "rsa-2048": 8.0}.get(kind)
        own = 250.0 if ratio else None
        return Row(contestants, ratio=ratio, own=own)

    def unsealing(self, kind: str) -> Row:
        signer, reader = self._people.of(kind), self._people.of("rsa-2048")
        raw = self._raw("10 KB", kind).replace(b"bob@contoso.com", reader.email.encode(), 1)
        to = [reader.identity.contact]
        # the sender can read it too, which is no part of this row
        sealed = encrypt(sign(raw, signer=signer.identity), recipients=to)
        entity, cms = parts_of(decrypt(sealed, identities=[reader.identity]).content)
        enveloped = pybase64.b64decode(sealed.partition(b"\r\n\r\n")[2])
        verifying = _verify_primitives(signer.identity, entity, cms)
        me = reader.identity
        inside = _ciphertext(entity + b"-" * len(cms) * 4)
        public: Any = me.certificate.public_key
        wrapped = public.encrypt(bytes(32), padding.PKCS1v15())
        encoded = pybase64.b64encode(enveloped)

        def primitives() -> None:
            pybase64.b64decode(encoded)
            me.private_key.decrypt(wrapped, padding.PKCS1v15())
            decryptor = Cipher(AES256(bytes(32)), modes.CBC(bytes(16))).decryptor()
            decryptor.update(inside)
            verifying()

        contestants = {
            "ours": in_process(lambda: unseal(sealed, identities=[me], trust=self._trust)),
            "primitives": in_process(primitives),
        }
        signing = SIGNING[kind]

        def theirs(peer: Any) -> None:
            peer.decrypt(_TO_RSA, enveloped, reader)
            peer.verify(signing, cms, entity)

        contestants |= self._peers.of("made", signing, theirs)
        ratio = 3.5 if kind == "rsa-2048" else None
        return Row(contestants, ratio=ratio)


def parts_of(signed: bytes) -> tuple[bytes, bytes]:
    """The octets that a multipart/signed message signs, and its SignedData."""
    boundary = b"--" + message_from_bytes(signed).get_boundary("").encode()
    _, entity, signature, _ = signed.split(boundary)
    return entity[2:-2], pybase64.b64decode(signature.partition(b"\r\n\r\n")[2])


# --- the primitives ------------------------------------------------------------------------------


def _signature(me: Identity) -> tuple[str, tuple[Any, ...]]:
    """The digest of the content, and what the key's `sign` and `verify` want besides the octets."""
    if isinstance(me.private_key, rsa.RSAPrivateKey):
        return "sha256", (padding.PKCS1v15(), hashes.SHA256())
    if isinstance(me.private_key, ec.EllipticCurvePrivateKey):
        return "sha256", (ec.ECDSA(hashes.SHA256()),)
    return "sha512", ()


def _sign_primitives(me: Identity, raw: bytes) -> Callable[[], object]:
    digest, arguments = _signature(me)
    content, attributes = raw.partition(b"\r\n\r\n")[2], os.urandom(300)
    cms = parts_of(sign(raw, signer=me))[1]

    def primitives() -> None:
        hashlib.new(digest, content).digest()
        me.private_key.sign(attributes, *arguments)
        pybase64.encodebytes(cms)

    return primitives


def _verify_primitives(me: Identity, content: bytes, cms: bytes) -> Callable[[], object]:
    digest, arguments = _signature(me)
    attributes, public = os.urandom(300), cast("Any", me.certificate.public_key)
    signature = me.private_key.sign(attributes, *arguments)
    encoded = pybase64.encodebytes(cms)

    def primitives() -> None:
        pybase64.b64decode(encoded)
        hashlib.new(digest, content).digest()
        public.verify(signature, attributes, *arguments)

    return primitives


def _ciphertext(content: bytes) -> bytes:
    encryptor = Cipher(AES256(bytes(32)), modes.CBC(bytes(16))).encryptor()
    return encryptor.update(content[: len(content) // 16 * 16]) + encryptor.finalize()


def _encrypt_primitives(certificates: list[Certificate], raw: bytes) -> Callable[[], object]:
    keys: list[Any] = [one.public_key for one in certificates]
    cms = bytes(len(raw) + 350 * len(keys))

    def primitives() -> None:
        _ciphertext(raw)
        for key in keys:
            if isinstance(key, rsa.RSAPublicKey):
                key.encrypt(bytes(32), padding.PKCS1v15())
            else:
                key.encapsulate()
        pybase64.encodebytes(cms)

    return primitives


# --- cryptography's own --------------------------------------------------------------------------


def _pyca_sign(me: Identity, raw: bytes) -> Callable[[], object]:
    content = raw[raw.index(b"Content-Type") :]

    def theirs() -> bytes:
        builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
        builder = builder.add_signer(me.certificate.x509, me.private_key, hashes.SHA256())
        for one in me.chain:
            builder = builder.add_certificate(one.x509)
        return builder.sign(Encoding.SMIME, [pkcs7.PKCS7Options.DetachedSignature])

    return theirs


def _pyca_encrypt(certificates: list[Certificate], raw: bytes) -> Callable[[], object]:
    content = raw[raw.index(b"Content-Type") :]

    def theirs() -> bytes:
        builder = pkcs7.PKCS7EnvelopeBuilder().set_data(content)
        builder = builder.set_content_encryption_algorithm(AES256)
        for one in certificates:
            builder = builder.add_recipient(one.x509)
        return builder.encrypt(Encoding.SMIME, [])

    return theirs
