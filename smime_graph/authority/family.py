"""A family of certificates: every variant of the catalogue, its issuers, and their CRLs.

    made = family("corp")
    made["expired"].identity      # key, certificate and what it sends along
    made.trust                    # the anchors
    made.write("certificates")    # PEM, DER, PKCS#12, PKCS#7, CRLs, index.json

The keys are those of `pool`: of no worth. With a seed the family is the same octets each time.
"""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization as ser

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
from .maker import Maker
from .pool import pool_key
from .variants import AUTHORITIES, VARIANTS, Variant

__all__ = ["Family", "Member", "family"]

_SEEDED_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
PASSWORD = "test"  # noqa: S105 - of every PKCS#12 file that is written; the keys are of no worth
_FEW = 100  # iterations: everybody knows the password, and a family has hundreds of files


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
    at = at.astimezone(UTC).replace(microsecond=0)
    maker = Maker(name, at, url=url, seed=seed)
    members = {}
    for one in wanted:
        key = pool_key(one.recipe.key, one.recipe.number)
        members[one.id] = Member(one, maker.leaf(one.id, one.recipe, key))
    authorities = dict(maker.authorities)
    crls = {i: crl for i in authorities if (crl := maker.crl(i)) is not None}
    anchors = [
        made
        for i, made in authorities.items()
        if AUTHORITIES[i].parent is None and AUTHORITIES[i].believed
    ]
    return Family(name, at, members, authorities, crls, TrustStore(tuple(anchors)))
