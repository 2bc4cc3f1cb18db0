"""The test authority: certificates for people who do not exist, under a root that nobody trusts.

    ca = CA()
    alice = ca.issue("alice@contoso.com")
    TrustStore.from_pem(ca.trust_pem)

A leaf follows the mailbox profile of the S/MIME Baseline Requirements as far as a test authority
can (no revocation addresses unless they are given), and what a test wants otherwise is an argument.
A saved authority's key stands in the clear: it is for tests and must never be anybody's anchor.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec

from .. import oids
from ..arguments import checked, file_name
from ..asn1 import ber
from ..errors import MalformedMessage, UnsupportedAlgorithm, UsageError
from ..files import temporary, write
from ..pki.identity import Identity
from ..pki.keyfiles.read import armour, export, is_folder, read_key_file
from ..pki.path import check_signature
from ..pki.trust import TrustStore
from ..x509.certificate import Certificate
from . import ocsp as ocsp_form
from .crl import read_base, write_crl
from .profile import (
    addresses_extension,
    authority_extensions,
    authority_name,
    build,
    extension,
    key_of,
    key_usage_extension,
    person_name,
    policies_extension,
    purposes_extension,
    replace_extensions,
    service_name,
    services_extensions,
    usage_of,
    validity_of,
)
from .records import INDEX, Records, RevocationReason

__all__ = ["CA", "forged", "write_identity"]

_LEAF_LIFETIME = timedelta(days=825)  # S/MIME BR 6.3.2, strict and multipurpose
_CA_LIFETIME = timedelta(days=3650)
_CRL_LIFETIME = timedelta(days=7)
_OCSP_LIFETIME = timedelta(days=1)
_RESPONDER_LIFETIME = timedelta(days=30)


class CA:
    """A certification authority for tests.

    `at` fixes the time from which validity is counted (a datetime with a time zone); None is the
    time of each call. `key` is the name of a parameter set in `algorithms.keys`, or a private key.
    `services` is the URL below which its CRL, its OCSP responder and its certificate are, as
    `authority.service` serves them: what it issues says so.
    """

    @checked
    def __init__(
        self,
        name: str = "smime_graph test authority",
        *,
        key: Any = "rsa-2048",
        at: datetime | None = None,
        lifetime: timedelta = _CA_LIFETIME,
        serial: int | None = None,
        services: str | None = None,
    ) -> None:
        private_key, _ = key_of(key, signs=True)
        subject = authority_name(name)
        not_before, not_after = validity_of(at, lifetime, None, None)
        extensions = authority_extensions(private_key, path_length=None)
        self._set(
            private_key,
            build(
                private_key,
                subject=subject,
                issuer=subject,
                public_key=private_key.public_key(),
                validity=(not_before, not_after),
                extensions=extensions,
                serial=serial,
            ),
            issuers=(),
            at=at,
            records=Records(services=services),
        )

    def _set(
        self,
        private_key: Any,
        certificate: Certificate,
        *,
        issuers: tuple[Certificate, ...],
        at: datetime | None,
        records: Records,
    ) -> None:
        self.private_key = private_key
        self.certificate = certificate
        # from the next authority above to the root; empty for a root
        self.issuers = issuers
        self.at = at
        self.services = records.services
        self._records = records
        self._responder: Identity | None = None

    @classmethod
    @checked
    def from_key(
        cls,
        private_key: Any,
        certificate: Certificate,
        *,
        issuers: Sequence[Certificate] = (),
        at: datetime | None = None,
        services: str | None = None,
    ) -> CA:
        """The authority of a key and certificate at hand; `issuers` goes up to the root, inclusive.

        Raises UsageError if the key is not the certificate's.
        """
        Identity(private_key, certificate)
        ca = cls.__new__(cls)
        records = Records(services=services)
        ca._set(private_key, certificate, issuers=tuple(issuers), at=at, records=records)
        return ca

    def __repr__(self) -> str:
        return f"CA({self.certificate.description})"

    @property
    def root(self) -> Certificate:
        return self.issuers[-1] if self.issuers else self.certificate

    @property
    def chain(self) -> tuple[Certificate, ...]:
        """What a person of this authority sends along: the issuers without the root."""
        return (self.certificate, *self.issuers[:-1]) if self.issuers else ()

    @property
    def trust(self) -> TrustStore:
        """The root as an anchor, for those who are to believe this authority."""
        return TrustStore((self.root,))

    @contextmanager
    def tempfile(self) -> Iterator[Path]:
        """The path of a file with `trust_pem`, for as long as the `with` block lasts."""
        with temporary(self.trust_pem, suffix=".pem") as path:
            yield path

    @property
    def trust_pem(self) -> bytes:
        """The root as PEM: what those who are to believe this authority take as their anchor."""
        return armour(self.root)

    @checked
    def create_intermediate(
        self,
        name: str = "smime_graph test issuing authority",
        *,
        key: Any = "rsa-2048",
        at: datetime | None = None,
        lifetime: timedelta = _CA_LIFETIME,
        not_after: datetime | None = None,
        path_length: int | None = 0,
        eku: Collection[str] | None = (oids.EMAIL_PROTECTION,),
        policies: Collection[str] = (oids.ANY_POLICY,),
        extensions: Iterable[x509.Extension[Any]] = (),
        serial: int | None = None,
    ) -> CA:
        """An authority below this one; `extensions` replace those of the same kind or are added."""
        private_key, _ = key_of(key, signs=True)
        if path_length is not None and path_length < 0:
            raise UsageError(f"path_length is {path_length}, wanted 0 or more, or None")
        at = at or self.at
        made = [
            *authority_extensions(private_key, path_length=path_length),
            *self._from(),
            *purposes_extension(eku),
            *policies_extension(policies),
        ]
        certificate = build(
            self.private_key,
            subject=authority_name(name),
            issuer=self.certificate.x509.subject,
            public_key=private_key.public_key(),
            validity=validity_of(at, lifetime, None, not_after, within=self.certificate),
            extensions=replace_extensions(made, extensions),
            serial=serial,
        )
        self._records.add_issued(certificate, ())
        ca = CA.__new__(CA)
        ca._set(
            private_key,
            certificate,
            issuers=(self.certificate, *self.issuers),
            at=at,
            records=Records(services=self.services),
        )
        return ca

    @checked
    def issue(
        self,
        *emails: str,
        key: Any = "rsa-2048",
        use: Literal["both", "sign", "encrypt"] = "both",
        name: str | None = None,
        at: datetime | None = None,
        lifetime: timedelta = _LEAF_LIFETIME,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        eku: Collection[str] | None = (oids.EMAIL_PROTECTION,),
        key_usage: Collection[str] | Literal["usual"] | None = "usual",
        policies: Collection[str] = (oids.MAILBOX_STRICT,),
        capabilities: Sequence[bytes] | None = None,
        extensions: Iterable[x509.Extension[Any]] = (),
        serial: int | None = None,
        encryption_key: Any = None,
    ) -> Identity:
        """A certificate for these addresses, with a new key.

        `use="both"` is all that a person needs: where the kind of key can only sign (Ed25519,
        Ed448, ML-DSA), a second certificate for encryption comes with it as `Identity.encryption`
        (X25519, X448, ML-KEM; `encryption_key` for another). `name` is the common name, the first
        address where it is not given. Without an address there is no subjectAltName. A leaf does
        not outlive its authority unless `not_after` says so.

        `eku`, `policies` (object identifiers, dotted) and `key_usage` (names of
        `cryptography.x509.KeyUsage`) replace the usual ones; None or nothing leaves the extension
        out. `capabilities` are DER SMIMECapability elements (RFC 4262). `extensions` replace those
        of the same kind or are added. Raises UsageError for what no certificate can hold.
        """
        extensions = tuple(extensions)
        private_key, kind = key_of(key)
        wanted = usage_of(kind, use)
        usage = wanted if key_usage == "usual" else key_usage
        validity = validity_of(at or self.at, lifetime, not_before, not_after, self.certificate)
        common_name = name or (emails[0] if emails else None)
        if not common_name:
            raise UsageError("a certificate needs an address or a name")
        subject = person_name(common_name)
        made = [
            *self._from(),
            extension(x509.SubjectKeyIdentifier.from_public_key(private_key.public_key())),
            *key_usage_extension(usage),
            *purposes_extension(eku),
            *policies_extension(policies),
            *addresses_extension(emails, critical=not list(subject)),
        ]
        if capabilities is not None:
            oid = x509.ObjectIdentifier(oids.SMIME_CAPABILITIES)
            value = x509.UnrecognizedExtension(oid, ber.sequence(*capabilities))
            made.append(x509.Extension(oid, False, value))
        certificate = build(
            self.private_key,
            subject=subject,
            issuer=self.certificate.x509.subject,
            public_key=private_key.public_key(),
            validity=validity,
            extensions=replace_extensions(made, extensions),
            serial=serial,
        )
        self._records.add_issued(certificate, emails)
        encryption = None
        if use == "both" and not kind.encrypts:
            encryption = self.issue(
                *emails,
                key=encryption_key or kind.companion,
                use="encrypt",
                name=name,
                at=at,
                lifetime=lifetime,
                not_before=not_before,
                not_after=not_after,
                eku=eku,
                policies=policies,
                capabilities=capabilities,
                extensions=extensions,
                serial=None if serial is None else serial + 1,
            )
        return Identity(private_key, certificate, chain=self.chain, encryption=encryption)

    # --- revocation ---

    @checked
    def revoke(
        self,
        certificate: Certificate,
        *,
        reason: RevocationReason = "unspecified",
        at: datetime | None = None,
    ) -> None:
        """From `at` on the certificate is revoked, by every CRL and OCSP response made for later.

        `reason` certificateHold can be lifted (removeFromCRL) or be made final by another reason.
        Raises UsageError for a certificate that this authority did not issue, one that is revoked
        already, and a time before the last change.
        """
        if not self.has_issued(certificate):
            raise UsageError(
                f"{certificate.description} was not issued by {self.certificate.subject_text}",
                hint="only the authority that issued a certificate can revoke it",
            )
        self._records.add_revoked(certificate.serial_number, at=self._time(at), reason=reason)

    @checked
    def enter(self, certificate: Certificate, *, emails: Sequence[str] = ()) -> None:
        """Put a certificate into the index that was made with this authority's key elsewhere."""
        self._records.add_issued(certificate, emails)

    @checked
    def has_issued(self, certificate: Certificate) -> bool:
        """Whether the certificate has this authority's signature."""
        if certificate.issuer != self.certificate.subject:
            return False
        try:
            check_signature(certificate, self.certificate)
        except (InvalidSignature, UnsupportedAlgorithm, MalformedMessage):
            return False
        return True

    @checked
    def crl(
        self,
        *,
        at: datetime | None = None,
        lifetime: timedelta = _CRL_LIFETIME,
        base: bytes | None = None,
        freshest: str | None = None,
        others: Sequence[CA] = (),
    ) -> bytes:
        """The CRL of a time, in DER: what is revoked by then.

        With `base`, an earlier CRL, it is the delta to that (RFC 5280 5.2.4); `freshest` is the URL
        where deltas to this one will be. With `others` it is an indirect CRL (5.2.5), which speaks
        for these authorities too, as far as their certificates' distribution points name this one
        as the cRLIssuer. CRL numbers grow with the time. Raises UsageError for a base that is none.
        """
        at = self._time(at)
        revoked = self._records.revoked(at)
        if base is not None and others:
            raise UsageError("a delta to an indirect CRL is not made", hint="make a full one")
        return write_crl(
            self.private_key,
            issuer=self.certificate.x509.subject,
            key_identifier=self._authority_key_identifier(),
            number=self._records.number(at),
            updates=(at, at + lifetime),
            entries=revoked.values(),
            others=[
                (one.certificate.x509.subject, one._records.revoked(at).values()) for one in others
            ],
            base=None if base is None else read_base(base, self.certificate.x509),
            freshest=freshest,
        )

    @checked
    def ocsp(
        self, request: bytes, *, at: datetime | None = None, lifetime: timedelta = _OCSP_LIFETIME
    ) -> bytes:
        """The answer to an OCSP request (RFC 6960), in DER, as of a time.

        It is signed by `responder`, has the request's nonce, and says "unknown" of what this
        authority did not issue. Octets that are no request get the answer malformedRequest.
        """
        at = self._time(at)
        try:
            asked = ocsp_form.read_request(request)
        except MalformedMessage:
            return ocsp_form.refusal("malformed-request")
        return ocsp_form.write(
            [(one, ocsp_status(self, one, at)) for one in asked.questions],
            responder=self.responder(at=at),
            at=at,
            updates=(at, at + lifetime),
            nonce=asked.nonce,
        )

    @checked
    def responder(self, *, at: datetime | None = None) -> Identity:
        """Whoever signs this authority's OCSP responses for it (RFC 6960 4.2.2.2).

        It has the same kind of key, and is valid for 30 days about `at`. Its own status need not be
        asked (id-pkix-ocsp-nocheck), so it is in no index.
        """
        at = self._time(at)
        held = self._responder
        if held is None or not held.certificate.not_before <= at <= held.certificate.not_after:
            _, kind = key_of(self.private_key)
            key = kind.parameter_set(self.private_key).generate()
            made = [
                extension(self._authority_key_identifier()),
                extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key())),
                *key_usage_extension(("digital_signature",)),
                *purposes_extension((oids.OCSP_SIGNING,)),
                extension(x509.OCSPNoCheck()),
            ]
            certificate = build(
                self.private_key,
                subject=authority_name("smime_graph test OCSP responder"),
                issuer=self.certificate.x509.subject,
                public_key=key.public_key(),
                validity=validity_of(at, _RESPONDER_LIFETIME, None, None),
                extensions=made,
            )
            self._responder = held = Identity(key, certificate)
        return held

    def _time(self, at: datetime | None) -> datetime:
        at = at or self.at or datetime.now(UTC)
        if at.utcoffset() is None:
            raise UsageError(
                f"{at.isoformat()} has no time zone", hint="use a datetime with tzinfo=UTC"
            )
        return at.astimezone(UTC).replace(microsecond=0)

    # --- files ---

    @checked
    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write `ca.pem` (this authority and those above), `ca.key` and `index.json`.

        From then on every certificate issued is entered in the index. The key is not encrypted;
        its file is the owner's alone. Raises UsageError, and changes nothing, where the folder
        holds an authority already.
        """
        folder = Path(directory)
        taken = [folder / name for name in (_KEY, _CERTIFICATES, INDEX)]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(path.exists() for path in taken):
                raise FileExistsError
            key = export(self.private_key, ser.Encoding.PEM, ser.NoEncryption())
            write(folder / _KEY, key, mode=0o600, replace=False)
            issuers = b"".join(map(armour, (self.certificate, *self.issuers)))
            write(folder / _CERTIFICATES, issuers)
            self._records.save(folder)
        except FileExistsError:
            raise UsageError(
                f"{folder} holds a certification authority already",
                hint="choose another folder; its certificates would be lost",
            ) from None
        except OSError as error:
            raise UsageError(f"{folder} cannot be written: {error.strerror}") from error

    @classmethod
    @checked
    def load(cls, directory: str | os.PathLike[str], *, at: datetime | None = None) -> CA:
        """The authority that `save` wrote; raises UsageError where there is none."""
        folder = Path(directory)
        if not is_folder(directory) or not (folder / _KEY).exists():
            raise UsageError(
                f"{file_name(folder)} holds no certification authority",
                hint="make one: smime-graph ca init",
            )
        keys = read_key_file(folder / _KEY).keys
        certificates = read_key_file(folder / _CERTIFICATES).certificates
        if len(keys) != 1 or not certificates:
            raise UsageError(f"{folder} does not hold one key and its certificate")
        Identity(keys[0], certificates[0])
        ca = cls.__new__(cls)
        issuers, records = certificates[1:], Records(folder)
        ca._set(keys[0], certificates[0], issuers=issuers, at=at, records=records)
        return ca

    @property
    def directory(self) -> Path | None:
        """Where it was saved or loaded from."""
        return self._records.directory

    @property
    def issued(self) -> list[dict[str, Any]]:
        """What it has issued, oldest first: serial (hexadecimal), emails, not_before, not_after,
        sha256."""
        return self._records.issued

    def _from(self) -> list[x509.Extension[Any]]:
        """What says who issued a certificate, and where more is to be found."""
        made = [extension(self._authority_key_identifier())]
        if self.services is not None:
            made += services_extensions(self.services, service_name(self.certificate))
        return made

    def _authority_key_identifier(self) -> x509.AuthorityKeyIdentifier:
        identifier = self.certificate.subject_key_identifier
        if identifier is None:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.private_key.public_key())
        return x509.AuthorityKeyIdentifier(identifier, None, None)


def ocsp_status(ca: CA, question: ocsp_form.Question, at: datetime) -> ocsp_form.Status:
    """What an authority answers to a question at a time."""
    if not ocsp_form.is_about(question, ca.certificate):
        return None
    if (revoked := ca._records.revoked(at).get(question.serial)) is not None:
        return revoked
    return "good" if ca._records.knows(question.serial) else None


@checked
def forged(certificate: Certificate, *, count: int) -> tuple[Certificate, ...]:
    """Authorities that nobody made: names and key identifier of `certificate`, other keys.

    Each is issued in the name of `certificate` to the same name, so that by names alone every one
    could have issued every other: a search that checks no signatures on its way never ends.
    """
    real = certificate.x509
    identifier = certificate.subject_key_identifier or b"\0" * 20
    made = []
    for _ in range(count):
        key = ec.generate_private_key(ec.SECP256R1())
        extensions = [
            x509.Extension(
                x509.BasicConstraints.oid, True, x509.BasicConstraints(ca=True, path_length=None)
            ),
            *key_usage_extension(("key_cert_sign", "crl_sign")),
            extension(x509.SubjectKeyIdentifier(identifier)),
            extension(x509.AuthorityKeyIdentifier(identifier, None, None)),
        ]
        made.append(
            build(
                key,
                subject=real.subject,
                issuer=real.subject,
                public_key=key.public_key(),
                validity=(real.not_valid_before_utc, real.not_valid_after_utc),
                extensions=extensions,
            )
        )
    return tuple(made)


# --- files ---------------------------------------------------------------------------------------

_KEY, _CERTIFICATES = "ca.key", "ca.pem"


def file_stem(name: str) -> str:
    """What files of that name are called: it may be anybody's text, so there are no separators, no
    leading dot or dash, and it is not endless.
    """
    return re.sub(r"[^\w@.+-]", "_", name, flags=re.ASCII).lstrip(".-")[:100] or "identity"


@checked
def write_identity(
    identity: Identity,
    directory: str | os.PathLike[str],
    *,
    name: str | None = None,
    password: str | bytes | None = None,
) -> tuple[Path, ...]:
    """Write `NAME.pem` (certificates), `NAME.key` and, with a password, `NAME.p12`; their paths.

    NAME is the first address where it is not given; where files of that name exist it is NAME-2 and
    so on, since a key that is overwritten can decrypt no more. Keys are the owner's alone to read.
    Raises UsageError if the folder cannot be written.
    """
    folder = Path(directory)
    wanted = name or (identity.emails[0] if identity.emails else identity.certificate.subject_text)
    stem = file_stem(wanted)
    p12 = None if password is None else identity.to_pkcs12(password)
    keys = b"".join(
        export(i.private_key, ser.Encoding.PEM, ser.NoEncryption()) for i in identity.identities
    )
    certificates = dict.fromkeys(c for i in identity.identities for c in (i.certificate, *i.chain))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            base = stem if number == 1 else f"{stem}-{number}"
            paths = [folder / f"{base}{suffix}" for suffix in (".key", ".pem", ".p12")]
            if any(path.exists() for path in paths):
                continue
            try:
                write(paths[0], keys, mode=0o600, replace=False)
            except FileExistsError:
                continue
            write(paths[1], b"".join(map(armour, certificates)))
            if p12 is None:
                return tuple(paths[:2])
            write(paths[2], p12, mode=0o600)
            return tuple(paths)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from error
    raise UsageError(f"{folder} holds too many files named {stem}")
