"""Issues certificates by recipe: what a family and a single odd certificate have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from .. import oids
from ..pki.identity import Identity
from ..x509.certificate import Certificate
from . import profile
from .crl import write_crl
from .mutators import sign_anew
from .pool import pool_key
from .recipes import Leaf, Signed
from .records import Revoked
from .variants import AUTHORITIES

__all__ = ["Maker", "authority_key"]


def authority_key(name: str) -> Any:
    """The key of an authority of the catalogue: of the pool, and nobody else's in a family."""
    recipe = AUTHORITIES[name]
    if recipe.key_of is not None:
        return authority_key(recipe.key_of)
    alike = [one for one, other in AUTHORITIES.items() if other.key == recipe.key]
    return pool_key(recipe.key, 1 + alike.index(name))  # 0 is that of the people


class Maker:
    """Issues by recipe; `authorities` (of AUTHORITIES) are made when they are first needed.

    `url` is where CRLs, OCSP and issuers are said to be found, None for nowhere; with a `seed` the
    serial numbers are the same each time. `held` are authorities that are there already, by id: the
    key, the certificate, and the name that it has in the paths below `url`.
    """

    def __init__(
        self,
        name: str,
        at: datetime,
        *,
        url: str | None,
        seed: int | None = None,
        held: Mapping[str, tuple[Any, Certificate, str]] | None = None,
    ) -> None:
        self.name, self.at, self.seed, self.url = name, at, seed, url
        held = held or {}
        self.authorities = {i: certificate for i, (_, certificate, _) in held.items()}
        self.keys = {i: key for i, (key, _, _) in held.items()}
        self._paths = {i: path for i, (_, _, path) in held.items()}
        self.revoked: dict[str, list[tuple[Certificate, Signed]]] = {}

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
        key = authority_key(name)
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
            *(
                []
                if self.url is None
                else profile.services_extensions(self.url, self._paths.get(issuer, issuer))
            ),
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

    def leaf(self, name: str, recipe: Leaf, key: Any) -> Identity:
        """A person's; `name` is what the serial number is made of where there is a seed."""
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
            name,
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

    def crl(self, name: str) -> bytes | None:
        """That of an authority, where its recipe has one."""
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
