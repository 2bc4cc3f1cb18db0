"""What every peer gets of a variant: its files, and messages with its certificate that are good."""

from __future__ import annotations

from base64 import encodebytes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization as ser

from .. import algorithms, oids
from ..algorithms import ContentCipher, KeyKind
from ..authority.family import Family, Member, pkcs12_of
from ..authority.profile import key_of
from ..authority.recipes import ALICE
from ..authority.variants import AUTHORITIES, Variant
from ..cms import enveloped_data, signed_data
from ..errors import SmimeGraphError
from ..files import write
from ..pki.identity import Contact, Identity
from ..pki.keyfiles.read import armour, export
from ..policy import EXCHANGE
from ..x509.certificate import Certificate
from .peers.drive import Encryption, Signing

# an entity that every peer leaves as it is: short lines of ASCII, CRLF
CONTENT = b"Content-Type: text/plain\r\n\r\nthe figures\r\n"
_HEADER = b"From: %b\r\nTo: %b\r\nSubject: figures\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """One variant with its files. `signature` is a detached SignedData over CONTENT, `envelope` an
    EnvelopedData with it, both by CMS alone, which looks at no certificate; empty where the kind of
    key does not do that, or where no message can name the certificate.
    """

    variant: Variant
    identity: Identity = field(repr=False)
    folder: Path
    crls: tuple[bytes, ...] = field(repr=False)  # of the issuers of its path, DER
    signature: bytes = field(repr=False)
    envelope: bytes = field(repr=False)
    signing: Signing
    encryption: Encryption

    @property
    def email(self) -> str:
        return ALICE

    @property
    def id(self) -> str:
        return self.variant.id

    @property
    def kind(self) -> str:
        return self.variant.recipe.key

    @property
    def certificate(self) -> Certificate:
        return self.identity.certificate

    @property
    def private_key(self) -> Any:
        return self.identity.private_key

    @property
    def certificate_file(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def chain_file(self) -> Path:
        """What comes along, PEM; without a certificate where nothing does."""
        return self.folder / "chain.pem"

    @property
    def trust_file(self) -> Path:
        """The roots and the CRLs, PEM, as OpenSSL reads them."""
        return self.folder / "trust.pem"

    @property
    def crls_file(self) -> Path:
        """PEM."""
        return self.folder / "crls.pem"

    @property
    def pkcs8(self) -> bytes:
        return export(self.private_key, ser.Encoding.DER, ser.NoEncryption())

    @property
    def key_file(self) -> Path:
        return self.folder / "key.pem"

    @property
    def pkcs12_file(self) -> Path:
        """3DES and SHA-1, which all read; with what comes along."""
        return self.folder / "all.p12"


def header() -> bytes:
    """The header of every message: from Alice, who writes to herself."""
    return _HEADER % (ALICE.encode(), ALICE.encode())


def signed_mail(signature: bytes, digest: str) -> bytes:
    """multipart/signed (RFC 1847 2.1) of CONTENT and a detached SignedData."""
    micalg = digest.replace("sha", "sha-").encode()
    return (
        header()
        + b"MIME-Version: 1.0\r\n"
        + b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r\n'
        + b' micalg=%b; boundary="b"\r\n\r\n--b\r\n%b\r\n--b\r\n' % (micalg, CONTENT)
        + b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\n"
        + b"Content-Transfer-Encoding: base64\r\n\r\n"
        + encodebytes(signature).replace(b"\n", b"\r\n")
        + b"\r\n--b--\r\n"
    )


def enveloped_mail(envelope: bytes) -> bytes:
    """application/pkcs7-mime (RFC 8551 3.2) of an EnvelopedData."""
    return (
        header()
        + b"MIME-Version: 1.0\r\n"
        + b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n"
        + b"Content-Transfer-Encoding: base64\r\n\r\n"
        + encodebytes(envelope).replace(b"\n", b"\r\n")
    )


@dataclass(frozen=True, slots=True)
class Stand:
    """A family, written down for peers: `cases` by variant; `roots_file` is what is believed."""

    family: Family = field(repr=False)
    folder: Path
    cases: Mapping[str, Case] = field(repr=False)

    @classmethod
    def of(cls, family: Family, folder: Path) -> Stand:
        """Writes the files into the folder, which is there and empty."""
        stand = cls(family, folder, {})
        write(stand.roots_file, b"".join(map(armour, family.trust.anchors)))
        cases = {one.variant.id: _case(one, stand) for one in family}
        return cls(family, folder, cases)

    @property
    def at(self) -> datetime:
        return self.family.at

    @property
    def roots_file(self) -> Path:
        return self.folder / "roots.pem"


def _authorities(variant: Variant) -> Iterator[str]:
    """Of its paths, by id; some more than once."""
    for name in (variant.recipe.issuer, *(variant.recipe.sends or ())):
        above: str | None = None if name == "self" else name
        while above is not None:
            yield above
            above = AUTHORITIES[above].parent


def _case(member: Member, stand: Stand) -> Case:
    variant, identity = member.variant, member.identity
    _, kind = key_of(identity.private_key)
    own = stand.folder / variant.id
    own.mkdir()
    above = set(_authorities(variant))
    crls = tuple(crl for name, crl in stand.family.crls.items() if name in above)
    pem = [x509.load_der_x509_crl(crl).public_bytes(ser.Encoding.PEM) for crl in crls]
    files = {
        "certificate.pem": armour(identity.certificate),
        "chain.pem": b"".join(map(armour, identity.chain)),
        "crls.pem": b"".join(pem),
        "trust.pem": b"".join((*map(armour, stand.family.trust.anchors), *pem)),
        "key.pem": export(identity.private_key, ser.Encoding.PEM, ser.NoEncryption()),
        "all.p12": pkcs12_of(identity, "3des", name=variant.id),
    }
    for name, data in files.items():
        write(own / name, data, mode=0o600)
    digest, signature, envelope = "sha256", b"", b""
    if kind.signs:
        signature, digest = _signed(identity, stand.at)
    if kind.encrypts:
        envelope = _enveloped(identity.certificate)
    return Case(
        variant, identity, own, crls, signature, envelope, Signing(digest), _encryption(kind)
    )


def _encryption(kind: KeyKind) -> Encryption:
    """With HKDF where the key is X25519 or X448 (RFC 8418 2.2)."""
    if kind.oid in (oids.X25519, oids.X448):
        return Encryption(agreement="dhsinglepass-stddh-hkdf-sha256")
    return Encryption()


def _signed(identity: Identity, at: datetime) -> tuple[bytes, str]:
    try:
        der, digests = signed_data.sign(CONTENT, [identity], detached=True, policy=EXCHANGE, at=at)
    except SmimeGraphError:
        return b"", "sha256"
    return der, digests[0].name


def _enveloped(certificate: Certificate) -> bytes:
    cipher = algorithms.by_name(ContentCipher, Encryption().cipher)
    try:
        return enveloped_data.encrypt(
            CONTENT, [Contact(certificate)], cipher=cipher, policy=EXCHANGE
        )
    except SmimeGraphError:
        return b""
