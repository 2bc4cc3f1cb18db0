"""A family of certificates: every variant of the catalogue, its issuers, and their CRLs.

    made = family("corp")
    made["expired"].identity      # key, certificate and what it sends along
    made.trust                    # the anchors
    made.write("certificates")    # PEM, DER, PKCS#12, PKCS#7, CRLs, index.json

The keys are those of `pool`: of no worth. With a seed the family is the same octets each time.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization as ser

from .. import oids
from ..arguments import checked
from ..cms.signed_data import carry
from ..errors import UsageError
from ..files import write
from ..pki.identity import Identity
from ..pki.keyfiles import pkcs12
from ..pki.keyfiles.pbe import Encryption
from ..pki.keyfiles.read import armour, export
from ..pki.trust import TrustStore
from ..x509.certificate import Certificate
from . import profile
from .crl import write_crl
from .mutators import sign_anew
from .pool import pool_key
from .recipes import Leaf, Signed
from .records import Revoked
from .variants import AUTHORITIES, VARIANTS, Variant

__all__ = ["Family", "Member", "family"]

_SEEDED_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
PASSWORD = "test"  # noqa: S105 - of every PKCS#12 file that is written; the keys are of no worth
_FEW = 1000  # iterations: everybody knows the password, and a family has hundreds of files


@dataclass(frozen=True, slots=True)
class Member:
    """One variant, issued: `identity` has the key, the certificate and what is sent along."""

    variant: Variant
    identity: Identity


@dataclass(frozen=True, slots=True)
class Family:
    """Certificates by variant, as `family` made them; `authorities` by id, `crls` in DER."""

    name: str
    at: datetime
    members: Mapping[str, Member] = field(repr=False)
    authorities: Mapping[str, Certificate] = field(repr=False)
    crls: Mapping[str, bytes] = field(repr=False)
    trust: TrustStore = field(repr=False)

    def __getitem__(self, variant: str) -> Member:
        return self.members[variant]

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members.values())

    def __len__(self) -> int:
        return len(self.members)

    @checked
    def write(self, directory: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write the family into a new or empty folder; the paths, `index.json` last.

        Per variant VARIANT.pem (certificates), .der (the certificate), .key (PKCS#8 in PEM, not
        encrypted), .p12 and .3des.p12 (password "test"), .p7b (certs-only, certificate and chain);
        per authority authorities/ID.pem and ID.crl; trust.pem, with every anchor; index.json says
        what is expected of each. UsageError for a folder that holds anything.
        """
        with new_folder(directory) as folder:
            (folder / "authorities").mkdir()
            return tuple(self._write_into(folder))

    def _write_into(self, folder: Path) -> Iterator[Path]:
        def save(name: str, data: bytes, mode: int = 0o644) -> Path:
            write(folder / name, data, mode=mode)
            return folder / name

        for name, certificate in self.authorities.items():
            yield save(f"authorities/{name}.pem", armour(certificate))
        for name, crl in self.crls.items():
            yield save(f"authorities/{name}.crl", crl)
        yield save("trust.pem", b"".join(map(armour, self.trust.anchors)))
        entries = []
        for member in self:
            variant, identity = member.variant, member.identity
            key = export(identity.private_key, ser.Encoding.PEM, ser.NoEncryption())
            certificates = (identity.certificate, *identity.chain)
            public = {
                "pem": b"".join(map(armour, certificates)),
                "der": identity.certificate.der,
                "p7b": carry(certificates),
            }
            private = {
                "key": key,
                "p12": pkcs12_of(identity, "aes-256"),
                "3des.p12": pkcs12_of(identity, "3des"),
            }
            for suffix, data in (public | private).items():
                mode = 0o600 if suffix in private else 0o644
                yield save(f"{variant.id}.{suffix}", data, mode)
            entries.append(
                {
                    "id": variant.id,
                    "group": variant.group,
                    "wrong": variant.wrong,
                    "rule": variant.rule,
                    "expected": {
                        "sign": list(variant.sign),
                        "encrypt": list(variant.encrypt),
                        "revocation": list(variant.revocation),
                    },
                    "sha256": identity.certificate.sha256,
                    "files": [f"{variant.id}.{suffix}" for suffix in (*public, *private)],
                }
            )
        index = {
            "family": self.name,
            "at": self.at.isoformat(),
            "password": PASSWORD,
            "trust": "trust.pem",
            "variants": entries,
        }
        yield save("index.json", json.dumps(index, indent=1).encode() + b"\n")


def pkcs12_of(identity: Identity, encryption: Encryption, *, name: str | None = None) -> bytes:
    """As `Identity.to_pkcs12`, with `PASSWORD`, in a hundredth of the time."""
    key = export(identity.private_key, ser.Encoding.DER, ser.NoEncryption())
    return pkcs12.write(
        [(key, identity.certificate.der)],
        password=PASSWORD,
        others=[one.der for one in identity.chain],
        name=name or identity.certificate.subject_text,
        encryption=encryption,
        iterations=_FEW,
    )


@contextmanager
def new_folder(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder that is new or empty, to write into. UsageError where it is not, or cannot be."""
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty", hint="name a new folder")
        yield folder
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from error


@checked
def family(
    name: str = "corp",
    *,
    when: datetime | None = None,
    seed: int | None = None,
    only: str = "*",
    url: str = "http://pki.contoso.test",
    variants: Sequence[Variant] = VARIANTS,
) -> Family:
    """Every one of the variants, those of the catalogue, whose id fits the pattern `only`, issued.

    `when` is the time about which validity is counted: now, or a fixed one with a `seed`. With a
    seed the serial numbers are fixed too, so that the octets are the same each time; but for
    signatures of ML-DSA, which are random. `url` is where CRLs, OCSP and issuers are said to be
    found. UsageError for a time without a zone and a pattern that nothing fits.
    """
    at = when or (_SEEDED_AT if seed is not None else datetime.now(UTC))
    if at.utcoffset() is None:
        raise UsageError(
            f"{at.isoformat()} has no time zone", hint="use a datetime with tzinfo=UTC"
        )
    wanted = [v for v in variants if fnmatch.fnmatchcase(v.id, only)]
    if not wanted:
        raise UsageError(f"no variant fits {only!r}", hint="'*' is all of them")
    return _Maker(name, at.astimezone(UTC).replace(microsecond=0), seed, url).make(wanted)


class _Maker:
    """What is known while a family is made."""

    def __init__(self, name: str, at: datetime, seed: int | None, url: str) -> None:
        self.name, self.at, self.seed, self.url = name, at, seed, url
        self.authorities: dict[str, Certificate] = {}
        self.keys: dict[str, Any] = {}
        self.revoked: dict[str, list[tuple[Certificate, Signed]]] = {}

    def make(self, variants: list[Variant]) -> Family:
        members = {variant.id: Member(variant, self._leaf(variant)) for variant in variants}
        anchors = [
            made
            for i, made in self.authorities.items()
            if AUTHORITIES[i].parent is None and AUTHORITIES[i].believed
        ]
        crls = {i: crl for i in self.authorities if (crl := self._crl(i)) is not None}
        trust = TrustStore(tuple(anchors))
        return Family(self.name, self.at, members, dict(self.authorities), crls, trust)

    # --- certificates ---

    def _serial(self, what: str) -> int:
        if self.seed is None:
            return x509.random_serial_number()
        octets = hashlib.sha256(f"{self.name} {self.seed} {what}".encode()).digest()
        return int.from_bytes(octets[:16]) >> 1 | 1 << 120

    def _authority(self, name: str) -> Certificate:
        if name in self.authorities:
            return self.authorities[name]
        recipe = AUTHORITIES[name]
        if recipe.key_of is not None:
            self._authority(recipe.key_of)
            key = self.keys[recipe.key_of]
        else:
            alike = [one for one, other in AUTHORITIES.items() if other.key == recipe.key]
            key = pool_key(recipe.key, 1 + alike.index(name))  # 0 is that of the people
        self.keys[name] = key
        title = recipe.name or f"{self.name} test {recipe.key_of or name} authority"
        subject = profile.authority_name(title)
        issuer = self._authority(recipe.parent) if recipe.parent else None
        made = [
            x509.Extension(
                x509.BasicConstraints.oid,
                True,
                x509.BasicConstraints(
                    ca=recipe.is_ca, path_length=recipe.path_length if recipe.is_ca else None
                ),
            ),
            *profile.key_usage_extension(recipe.key_usage),
            profile.extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key())),
        ]
        if issuer is not None:
            made += [
                *self._from(recipe.parent),
                *profile.purposes_extension(recipe.eku),
                *profile.policies_extension((oids.ANY_POLICY,)),
            ]
        certificate = self._build(
            name, recipe, recipe.parent, issuer, key, subject=subject, extensions=made
        )
        self.authorities[name] = certificate
        return certificate

    def _from(self, issuer: str | None) -> list[x509.Extension[Any]]:
        """What says who issued it, and where more is found."""
        assert issuer is not None  # noqa: S101 - a root has none of these
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.keys[issuer].public_key())
        return [
            profile.extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
            ),
            *profile.services_extensions(self.url, issuer),
        ]

    def _build(
        self,
        name: str,
        recipe: Signed,
        issued_by: str | None,
        issuer: Certificate | None,
        key: Any,
        *,
        subject: x509.Name,
        extensions: list[x509.Extension[Any]],
    ) -> Certificate:
        signer = self.keys[issued_by] if issued_by else key
        kept = [
            one
            for one in profile.replace_extensions(extensions, recipe.extensions)
            if one.oid.dotted_string not in recipe.without
        ]
        start = self.at + recipe.starts
        certificate = profile.build(
            signer,
            subject=subject,
            issuer=issuer.x509.subject if issuer else subject,
            public_key=key.public_key(),
            validity=(start, start + recipe.lasts - timedelta(seconds=1)),
            extensions=kept,
            serial=recipe.serial or self._serial(name),
        )
        if recipe.changes or recipe.digest or recipe.outer or recipe.spoil:
            certificate = sign_anew(
                certificate,
                signer,
                changes=recipe.changes,
                digest=recipe.digest or "sha256",
                outer=recipe.outer,
                spoil=recipe.spoil,
            )
        if recipe.revoked and issued_by:
            self.revoked.setdefault(issued_by, []).append((certificate, recipe))
        return certificate

    def _leaf(self, variant: Variant) -> Identity:
        recipe: Leaf = variant.recipe
        key = pool_key(recipe.key, recipe.number)
        _, kind = profile.key_of(key)
        own = recipe.issuer == "self"
        issuer = None if own else self._authority(recipe.issuer)
        usage = recipe.key_usage
        if usage == "usual":
            signing = ("digital_signature",) if kind.signs else ()
            usage = (*signing, *((kind.encrypts,) if kind.encrypts else ()))
        if recipe.subject is None:
            subject = profile.person_name(recipe.addresses[0])
        else:
            subject = x509.Name(
                [x509.NameAttribute(x509.ObjectIdentifier(o), text) for o, text in recipe.subject]
            )
        made = [
            *([] if own else self._from(recipe.issuer)),
            profile.extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key())),
            *profile.key_usage_extension(usage),
            *profile.purposes_extension(recipe.eku),
            *profile.policies_extension(recipe.policies),
        ]
        if recipe.san == "usual":
            made += profile.addresses_extension(recipe.addresses, critical=not list(subject))
        if recipe.is_ca:
            made.append(
                x509.Extension(x509.BasicConstraints.oid, True, x509.BasicConstraints(True, None))
            )
        certificate = self._build(
            variant.id,
            recipe,
            None if own else recipe.issuer,
            issuer,
            key,
            subject=subject,
            extensions=made,
        )
        sends = self._between(recipe.issuer) if recipe.sends is None else recipe.sends
        return Identity(key, certificate, chain=tuple(map(self._authority, sends)))

    def _between(self, issuer: str) -> tuple[str, ...]:
        """The authorities above a leaf without the root."""
        found = []
        while issuer != "self" and (parent := AUTHORITIES[issuer].parent) is not None:
            found.append(issuer)
            issuer = parent
        return tuple(found)

    # --- CRLs ---

    def _crl(self, name: str) -> bytes | None:
        recipe = AUTHORITIES[name]
        if recipe.crl == "none":
            return None
        key = self.keys[name]
        if recipe.crl == "forged":
            key = pool_key(recipe.key, 99)
        fresh = recipe.crl != "stale"
        update = self.at - timedelta(days=1 if fresh else 60)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.keys[name].public_key())
        return write_crl(
            key,
            issuer=self.authorities[name].x509.subject,
            key_identifier=x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                identifier
            ),
            number=1,
            updates=(update, update + timedelta(days=8)),
            entries=[
                Revoked(one.serial_number, self.at + signed.revoked_at, signed.revoked)
                for one, signed in self.revoked.get(name, ())
                if signed.revoked is not None
            ],
        )
