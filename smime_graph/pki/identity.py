"""Who you are and whom you write to: `Identity` (key, certificate, chain) and `Contact`.

A key belongs to a certificate by its public key; names and labels of a file decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization as ser

from .. import oids
from ..arguments import check_fields, checked
from ..asn1 import ber
from ..budget import Budget
from ..errors import Hint, MalformedMessage, UnsupportedAlgorithm, UsageError
from ..files import temporary
from ..x509.certificate import Certificate, remembered
from ..x509.price import signature_price
from .keyfiles import pkcs12
from .keyfiles.pbe import WrongPassword
from .keyfiles.read import (
    PKCS12_ARMOUR,
    KeyFile,
    Kind,
    Password,
    Source,
    armour,
    certificates_beside,
    export,
    files_of,
    is_folder,
    kind_of,
    name_in_errors,
    name_of,
    parse,
    parse_pem,
    read_bytes,
    read_certificates,
    read_key_file,
)
from .path import check_signature
from .usage import key_usage_findings

__all__ = [
    "Contact",
    "Identity",
    "KeyFile",
    "WrongPassword",
    "allows_encryption",
    "allows_signing",
    "issuers",
    "load_identities",
    "read_certificates",
    "read_key_file",
]

_MAX_CHAIN = 8
_MAX_NAMESAKES = 20  # authorities of one name whose signatures are tried


@remembered
def allows_encryption(certificate: Certificate) -> bool:
    """Whether others may encrypt to this certificate: its kind of key and its keyUsage."""
    return not key_usage_findings(certificate, use="encrypt")


@remembered
def allows_signing(certificate: Certificate) -> bool:
    """Whether mail may be signed with this certificate's key: its kind and its keyUsage."""
    return not key_usage_findings(certificate, use="sign")


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key, its certificate and its chain: you.

    `private_key` is an `algorithms.private_key.PrivateKey`, as a key of a device or a vault can be,
    or has the interface of one of cryptography's private keys. `chain` holds the issuers, the
    nearest first, without the root (RFC 8550 2.3).
    `encryption` is a second key pair of the same person that is for encryption only; `identities`
    is both. Raises UsageError if the key does not belong to the certificate.
    """

    private_key: Any = field(repr=False)
    certificate: Certificate
    _: KW_ONLY
    chain: tuple[Certificate, ...] = ()
    encryption: Identity | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if _public_key_of(self.private_key) != _public_key_in(self.certificate):
            raise UsageError(
                f"the private key is not that of the certificate {self.certificate.description}",
                hint="give the key that the certificate was issued for",
            )

    def __repr__(self) -> str:
        encryption = f", encryption={self.encryption.certificate!r:.200}" if self.encryption else ""
        return f"Identity({self.certificate!r:.200}{encryption}, chain of {len(self.chain)})"

    @classmethod
    @checked
    def load(
        cls, path: str | PathLike[str] | bytes, *, password: str | bytes | None = None
    ) -> Identity:
        """The one person in a key file: PKCS#12 or PEM, as its content says.

        `path` may be the content itself: bytes, or text that is PEM. Where a file NAME.key holds
        no certificate, that of NAME.pem, .crt or .cer beside it is used.

        Of several key pairs the one that may sign and expires last is the identity, one that is for
        encryption its `encryption`. Raises WrongPassword, and UsageError where the file holds no
        key, no certificate for it, or several people (`load_identities` gives them all).
        """
        found = read_key_file(path, passwords=_passwords(password))
        return _one_person(_add_certificates_beside(found, path), name_of(path))

    @classmethod
    @checked
    def from_pkcs12(
        cls, source: str | PathLike[str] | bytes, *, password: str | bytes | None
    ) -> Identity:
        """As `load`, for a PKCS#12 file (DER, BER or PEM-armoured) only."""
        name = name_of(source)
        data = read_bytes(source)
        if kind_of(data) != "pkcs12" and not any(label in data for label in PKCS12_ARMOUR):
            raise UsageError(f"{name} is not a PKCS#12 file", hint="use Identity.load")
        return _one_person(parse(data, _passwords(password), name), name)

    @classmethod
    @checked
    def from_pem(
        cls,
        source: str | PathLike[str] | bytes,
        *,
        password: str | bytes | None = None,
        certificates: str | PathLike[str] | bytes | None = None,
    ) -> Identity:
        """As `load`, for PEM only; `certificates` is a second file where the key stands alone."""
        name = name_of(source)
        found = parse_pem(read_bytes(source), _passwords(password), name)
        if certificates is None:
            found = _add_certificates_beside(found, source)
        else:
            more = read_certificates(certificates)
            found = KeyFile(found.keys, (*found.certificates, *more))
        return _one_person(found, name)

    @property
    def emails(self) -> tuple[str, ...]:
        """The mail addresses of the certificate."""
        from .address import addresses

        return addresses(self.certificate)

    @property
    def identities(self) -> tuple[Identity, ...]:
        """This one and its encryption key pair: what a message may have been encrypted to."""
        return (self,) if self.encryption is None else (self, self.encryption)

    @property
    def encryption_certificate(self) -> Certificate | None:
        """The certificate that others should encrypt to; None where none allows it."""
        if self.encryption is not None:
            return self.encryption.certificate
        return self.certificate if allows_encryption(self.certificate) else None

    @property
    def contact(self) -> Contact:
        """What others need to write to this person; UsageError if nobody can encrypt to it."""
        certificate = self.encryption_certificate
        if certificate is None:
            raise UsageError(
                f"the certificate of {self.certificate.description} is not for encryption",
                hint="take one of a key that others can encrypt to",
            )
        return Contact(certificate)

    @checked
    def to_pem(self, password: str | bytes | None = None) -> bytes:
        """Keys, certificates and chains as PEM; without a password the keys are in the clear.

        Raises UsageError for a key that cannot leave its device.
        """
        protection: ser.KeySerializationEncryption = ser.NoEncryption()
        if password is not None:
            if not password:
                raise UsageError("an empty password protects nothing", hint="give none or another")
            protection = ser.BestAvailableEncryption(
                password if isinstance(password, bytes) else password.encode()
            )
        parts: list[bytes] = []
        for identity in self.identities:
            parts.append(export(identity.private_key, ser.Encoding.PEM, protection))
            parts += [armour(c) for c in (identity.certificate, *identity.chain)]
        return b"".join(dict.fromkeys(parts))

    @contextmanager
    def tempfile(self) -> Iterator[Path]:
        """The path of a file with `to_pem()`, for as long as the `with` block lasts: for programs.

        The key is in the clear; the file is the owner's alone.
        """
        with temporary(self.to_pem(), suffix=".pem") as path:
            yield path

    @checked
    def to_pkcs12(
        self, password: str | bytes, *, encryption: Literal["aes-256", "3des"] = "aes-256"
    ) -> bytes:
        """Keys, certificates and chains as PKCS#12, DER.

        `encryption` is "aes-256" (PBES2, HMAC-SHA-256), or "3des" for gpgsm 2.2 and old Windows.
        Not every reader knows every key: NSS and Windows take RSA and EC only.
        Raises UsageError for an empty password and for a key that cannot leave its device.
        """
        pairs = [
            (export(i.private_key, ser.Encoding.DER, ser.NoEncryption()), i.certificate.der)
            for i in self.identities
        ]
        chain = dict.fromkeys(c.der for i in self.identities for c in i.chain)
        name = self.certificate.subject_text
        return pkcs12.write(
            pairs, password=password, others=tuple(chain), name=name, encryption=encryption
        )


@dataclass(frozen=True, slots=True)
class Contact:
    """Someone's certificate, and what their software can read.

    `capabilities` are DER SMIMECapability elements, the most preferred first; None means that they
    were never announced. Where they are not given they are those of the certificate, if it has that
    extension (RFC 4262). `email` is the address that the contact was looked up by.
    """

    certificate: Certificate
    _: KW_ONLY
    capabilities: tuple[bytes, ...] | None = None
    email: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.capabilities is None:
            object.__setattr__(self, "capabilities", _announced_in(self.certificate))

    def __repr__(self) -> str:
        announced = "nothing" if self.capabilities is None else f"{len(self.capabilities)} kinds"
        named = f", email={self.email!r:.200}" if self.email is not None else ""
        return f"Contact({self.certificate!r:.200}{named}, announced: {announced})"

    @classmethod
    @checked
    def load(cls, path: str | PathLike[str] | bytes, *, email: str | None = None) -> Contact:
        """The one person's certificate in a file: PEM, DER, or a certs-only message (`.p7b`).

        `path` may be the content itself: bytes, or text that is PEM.

        Of several the one that is not an authority's and allows encryption. Raises UsageError where
        that leaves none or several.
        """
        name = name_of(path)
        return cls(_recipient(read_certificates(path), name), email=email)

    @classmethod
    @checked
    def from_pem(cls, source: str | PathLike[str] | bytes, *, email: str | None = None) -> Contact:
        """As `load`, for PEM only."""
        name = name_of(source)
        found = parse_pem(read_bytes(source), None, name).certificates
        if not found:
            raise UsageError(f"{name} holds no certificate in PEM", hint="use Contact.load")
        return cls(_recipient(found, name), email=email)

    @classmethod
    @checked
    def from_der(cls, source: str | PathLike[str] | bytes, *, email: str | None = None) -> Contact:
        """As `load`, for one certificate in DER."""
        name = name_of(source)
        with name_in_errors(name):
            certificate = Certificate(read_bytes(source))
        return cls(certificate, email=email)


def read_capabilities(der: bytes) -> tuple[bytes, ...]:
    """The elements of an SMIMECapabilities (RFC 8551 2.5.2); MalformedMessage where it is none."""
    elements = tuple(ber.read(der, "SMIMECapabilities"))
    for element in elements:
        ber.Fields(element, "SMIMECapability").any("capabilityID").as_oid()
    return tuple(bytes(element.raw) for element in elements)


def _announced_in(certificate: Certificate) -> tuple[bytes, ...] | None:
    # RFC 4262 2
    try:
        found = certificate.extensions.get_extension_for_oid(
            x509.ObjectIdentifier(oids.SMIME_CAPABILITIES)
        ).value
        return read_capabilities(found.public_bytes())
    except (x509.ExtensionNotFound, MalformedMessage):
        return None  # what cannot be read announces nothing; validation reports the extension


def _recipient(certificates: Sequence[Certificate], name: str) -> Certificate:
    if len(certificates) == 1:
        return certificates[0]
    leaves = [c for c in dict.fromkeys(certificates) if not is_authority(c)]
    found = [c for c in leaves if allows_encryption(c)] if len(leaves) > 1 else leaves
    if len(found) == 1:
        return found[0]
    if not leaves:
        raise UsageError(
            f"{name} holds the certificates of {len(certificates)} authorities and of no person",
            hint="give the person's certificate",
        )
    listed = "; ".join(c.description for c in (found or leaves)[:10])
    raise UsageError(
        f"{name} holds {len(found or leaves)} certificates that could be meant: {listed}",
        hint="give a file with one of them",
    )


def is_authority(certificate: Certificate) -> bool:
    """Whether its basicConstraints say that it issues others."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, MalformedMessage):
        return False
    return found.value.ca


@checked
def load_identities(
    source: str | PathLike[str] | bytes,
    *,
    passwords: Sequence[str | bytes] = (),
    passed_over: Callable[[UsageError], None] | None = None,
) -> tuple[Identity, ...]:
    """Every key pair of a file, or of the files of a folder (not of folders in it), for decryption.

    Expired and replaced ones are among them, each as an Identity of its own; in a folder a key and
    its certificate may stand in two files. Files that hold neither are passed over, and so are
    those of a folder that cannot be opened where others can: `passed_over` is given the error of
    each. Raises WrongPassword for a file that no password opens, UsageError if no key has a
    certificate.
    """
    if isinstance(source, bytes) or not is_folder(source):
        found = _add_certificates_beside(read_key_file(source, passwords=passwords), source)
        return tuple(_pair(found, name_of(source)))
    keys: list[Any] = []
    certificates: list[Certificate] = []
    closed: list[UsageError] = []
    for file in files_of(source):
        kind: Kind | None = None
        try:
            data = read_bytes(file, too_large=b"")
            kind = kind_of(data)
            found = parse(data, passwords, name_of(file)) if kind else KeyFile((), ())
        except UsageError as error:
            # a request or a revocation list have the outline of a certificate
            if kind not in ("certificate", "pkcs7"):
                closed.append(error)
            continue
        keys += found.keys
        certificates += found.certificates
    if closed and (passed_over is None or not keys):
        raise next((one for one in closed if isinstance(one, WrongPassword)), closed[0])
    everything = KeyFile(tuple(keys), tuple(dict.fromkeys(certificates)))
    pairs = tuple(_pair(everything, name_of(source)))
    if passed_over is not None:
        for one in closed:
            passed_over(one)
    return pairs


def _add_certificates_beside(found: KeyFile, source: Source) -> KeyFile:
    """A key that stands alone in its file, with the certificates of the file beside it."""
    if not found.keys or found.certificates:
        return found
    return KeyFile(found.keys, certificates_beside(source))


# --- which key belongs to which certificate ------------------------------------------------------


def _public_key_of(private_key: Any) -> bytes:
    try:
        return _spki(private_key.public_key())
    except (AttributeError, TypeError, ValueError):
        raise UsageError(
            f"a {type(private_key).__name__} is not a private key that can be used here",
            hint="it needs public_key(), as the keys of cryptography have it",
        ) from None


def _public_key_in(certificate: Certificate) -> bytes:
    try:
        # written anew: a received one may spell the algorithm otherwise (id-RSASSA-PSS)
        return _spki(certificate.public_key)
    except (UnsupportedAlgorithm, MalformedMessage):
        return certificate.public_key_info


def _spki(public_key: Any) -> bytes:
    octets = public_key.public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)
    return bytes(octets)


def _pair(found: KeyFile, name: str) -> list[Identity]:
    """An identity for each certificate that has its key among those found."""
    if not found.keys:
        hint, beside = "give a PKCS#12 or PEM file that has one", f"{name.removesuffix('.pem')}.key"
        if Path(beside).is_file():
            hint = f"{beside}, beside it, has one"
        raise UsageError(f"{name} holds no private key", hint=hint)
    keys = {_public_key_of(key): key for key in found.keys}
    identities = []
    budget = Budget()
    with name_in_errors(name):
        for certificate in found.certificates:
            if (key := keys.get(_public_key_in(certificate))) is not None:
                chain = issuers(certificate, found.certificates, budget)
                identities.append(Identity(key, certificate, chain=chain))
    if identities:
        return identities
    if not found.certificates:
        raise UsageError(
            f"{name} holds a private key but no certificate",
            hint="put the certificate into the same file",
        )
    raise UsageError(
        f"{name}: no certificate in it belongs to its private key",
        hint="give the key and the certificate that was issued for it",
    )


def _one_person(found: KeyFile, name: str) -> Identity:
    pairs = _pair(found, name)
    with name_in_errors(name):
        signers = [p for p in pairs if allows_signing(p.certificate)]
        main = max(
            signers or pairs,
            key=lambda p: (p.certificate.not_after, not allows_encryption(p.certificate)),
        )
        if strangers := [p for p in pairs if not _same_person(p, main)]:
            people = "; ".join(p.certificate.subject_text for p in (main, *strangers)[:10])
            raise UsageError(
                f"it holds the keys of several people: {people}",
                hint=Hint("use a file for each, or load_identities", "load-each"),
            )
        spare = [
            p
            for p in pairs
            if _public_key_in(p.certificate) != _public_key_in(main.certificate)
            and allows_encryption(p.certificate)
            and not (allows_signing(p.certificate) and allows_encryption(main.certificate))
        ]
        encryption = max(spare, key=lambda p: p.certificate.not_after, default=None)
    return Identity(main.private_key, main.certificate, chain=main.chain, encryption=encryption)


def _passwords(password: Password) -> tuple[str | bytes, ...]:
    return () if password is None else (password,)


def _same_person(one: Identity, other: Identity) -> bool:
    return one.certificate.canonical_subject == other.certificate.canonical_subject or bool(
        {e.casefold() for e in one.emails} & {e.casefold() for e in other.emails}
    )


def issuers(
    certificate: Certificate, candidates: Iterable[Certificate], budget: Budget | None = None
) -> tuple[Certificate, ...]:
    """The issuers of `certificate` among `candidates`, the nearest first, without the root.

    Each step is by a checked signature where the algorithm is known here, else by the name alone;
    at most eight steps, with twenty authorities of one name tried. A self-issued certificate counts
    as a root (RFC 8550 2.3 leaves it out). `budget` is for all certificates of a file, LimitReached
    where it has run out.
    """
    budget = budget or Budget()
    by_subject: dict[bytes, list[Certificate]] = {}
    for candidate in dict.fromkeys(candidates):
        if not candidate.is_self_issued:
            by_subject.setdefault(candidate.canonical_subject, []).append(candidate)
    chain = [certificate]
    while len(chain) <= _MAX_CHAIN:
        found = by_subject.get(chain[-1].canonical_issuer, [])[:_MAX_NAMESAKES]
        nearest = next(
            (c for c in found if c not in chain and _has_issued(chain[-1], c, budget)), None
        )
        if nearest is None or chain[-1].is_self_issued:
            break
        chain.append(nearest)
    return tuple(chain[1:])


def _has_issued(certificate: Certificate, issuer: Certificate, budget: Budget) -> bool:
    budget.spend("signatures", signature_price(issuer, len(certificate.der)))
    try:
        check_signature(certificate, issuer)
    except (InvalidSignature, MalformedMessage):
        return False
    except UnsupportedAlgorithm:
        return True
    return True
