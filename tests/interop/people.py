"""Who signs and reads in these tests: one authority, and a person for each kind of key.

The authority has an RSA key, the one kind that every peer can follow a path through. Validity is
counted from the machine's clock, because peers judge by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import dsa

from smime_graph.authority import profile
from smime_graph.authority.issue import CA
from smime_graph.cms.recipients.shared_secret import Password, SharedKey
from smime_graph.pki import identity as pki
from smime_graph.pki.keyfiles.read import armour
from smime_graph.pki.trust import TrustStore
from smime_graph.x509.certificate import Certificate

PASSWORD = Password("correct horse", iterations=10_000)
SHARED_KEY = SharedKey(bytes(range(32)), identifier=b"\xc0\xff\xee")
PKCS12_PASSWORD = "test"

_ENCRYPTS_ONLY = ("x25519", "x448", "ml-kem-768", "ml-kem-1024")


@dataclass(frozen=True)
class Person:
    """An identity and its files: certificate and key as PEM, both as PKCS#12."""

    kind: str
    email: str
    identity: pki.Identity = field(repr=False)
    folder: Path

    @property
    def private_key(self) -> Any:
        return self.identity.private_key

    @property
    def certificate(self) -> Certificate:
        return self.identity.certificate

    @cached_property
    def certificate_file(self) -> Path:
        return self._file("crt", armour(self.certificate))

    @cached_property
    def key_file(self) -> Path:
        return self._file("key", self._key(ser.Encoding.PEM))

    @cached_property
    def pkcs12_file(self) -> Path:
        alone = pki.Identity(self.identity.private_key, self.certificate)
        return self._file("p12", alone.to_pkcs12(PKCS12_PASSWORD))

    @cached_property
    def pkcs8(self) -> bytes:
        return self._key(ser.Encoding.DER)

    def _key(self, encoding: ser.Encoding) -> bytes:
        key = self.identity.private_key
        octets = key.private_bytes(encoding, ser.PrivateFormat.PKCS8, ser.NoEncryption())
        assert isinstance(octets, bytes)
        return octets

    def _file(self, suffix: str, data: bytes) -> Path:
        path = self.folder / f"{self.kind}.{suffix}"
        path.write_bytes(data)
        return path


class People:
    """The persons, made when they are first asked for; `now` is just after they came to be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.ca = CA("Interop Root", key="rsa-2048", at=self.now - timedelta(days=1))
        self.trust = TrustStore((self.ca.certificate,))
        self.root_file = folder / "root.crt"
        self.root_file.write_bytes(self.ca.trust_pem)
        self._known: dict[str, Person] = {}

    def of(self, kind: str) -> Person:
        """The one person with this kind of key (a parameter set of `algorithms.keys`, or dsa)."""
        if kind not in self._known:
            self._known[kind] = self._make(kind)
        return self._known[kind]

    def _make(self, kind: str) -> Person:
        email = f"{kind}@contoso.com"
        if kind == "dsa":
            identity = self._dsa(email)
        else:
            signs_only = not profile.key_of(kind)[1].encrypts
            use = "encrypt" if kind in _ENCRYPTS_ONLY else "sign" if signs_only else "both"
            identity = self.ca.issue(email, key=kind, use=use)  # type: ignore[arg-type]
        return Person(kind, email, identity, self.folder)

    def _dsa(self, email: str) -> pki.Identity:
        """The authority certifies no DSA keys: this one is made by hand."""
        key = dsa.generate_private_key(2048)
        validity = profile.validity_of(self.ca.at, timedelta(days=800), None, None)
        certificate = profile.build(
            self.ca.private_key,
            subject=profile.person_name(email),
            issuer=self.ca.certificate.x509.subject,
            public_key=key.public_key(),
            validity=validity,
            extensions=[
                *profile.key_usage_extension(("digital_signature",)),
                *profile.addresses_extension((email,), critical=False),
            ],
        )
        return pki.Identity(key, certificate)
