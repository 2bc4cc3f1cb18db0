"""The package cryptography: its PKCS#7 and its path validation, bent to mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12
from cryptography.x509 import verification

from ... import oids
from ..cases import CONTENT, Case, Stand
from .drive import PKCS12_PASSWORD, Refused, Use
from .peer import Operation, Quirk, Untried, Words

_OPTIONS = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
_EITHER = verification.Criticality.AGNOSTIC
_MAIL = x509.ObjectIdentifier(oids.EMAIL_PROTECTION)
_ANY = x509.ObjectIdentifier(oids.ANY_EXTENDED_KEY_USAGE)
_NO = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion)

_ODD = "version-1 version-1-extensions serial-negative serial-long"
QUIRKS = (
    Quirk("sign", "*", "yes", "PKCS7SignatureBuilder looks at nothing in the certificate"),
    Quirk("encrypt", "*", "yes", "PKCS7EnvelopeBuilder looks at nothing in it but the key"),
    Quirk(
        "encrypt decrypt",
        "p256* p384 p521 brainpool-* x25519 x448 ml-kem-* chain-p256 chain-p384",
        "no",
        "its PKCS#7 encrypts to RSA keys only",
        "RSA (keys|public keys) are supported",
    ),
    Quirk(
        "sign",
        "ed25519 ed448 ml-dsa-* chain-ml-dsa-65",
        "no",
        "its PKCS#7 signs with RSA and EC keys only",
        "RSA & EC keys are supported",
    ),
    Quirk(
        "import",
        "x25519 x448 ml-dsa-* ml-kem-* chain-ml-dsa-65",
        "no",
        "its PKCS#12 has no X25519, X448, ML-DSA and ML-KEM",
    ),
    Quirk("import", "duplicate-extension", "yes", "extensions are read where they are used"),
    Quirk("validate-*", "rsa-1024", "yes", "the key of the person's certificate is not asked"),
    Quirk("validate-*", "revoked* issuer-revoked crl-*", "yes", "it has no revocation"),
    Quirk(
        "validate-*",
        "names-dn-only names-utf8",
        "yes",
        "constraints are held against rfc822Name in the subjectAltName only",
    ),
    Quirk(
        "validate-*",
        "names-within names-directory-within",
        "no",
        "it refuses constraints of directoryName (RFC 5280 4.2.1.10)",
        "unsupported directoryName",
    ),
    Quirk(
        "validate-*",
        "issuer-no-key-usage policy-needed",
        "no",
        "its rules for authorities are those of the Web PKI",
        "invalid extension",
    ),
    Quirk(
        "validate-*",
        "chain-ed25519 chain-ed448 chain-brainpool",
        "no",
        "an issuer's key is RSA, ML-DSA or on a curve of NIST",
        "Forbidden public key",
    ),
    Quirk("validate-*", _ODD, "no", "version and serial number are to be as RFC 5280 4.1.2 says"),
    Quirk(
        "decrypt",
        "rsa-2048",
        "no",
        "it reads no indefinite lengths (BER), as NSS, gpgsm and Bouncy Castle write them",
        "InvalidLength",
    ),
    Quirk("decrypt", "trailing-field", "no", "it does not read the certificate of the recipient"),
)

WORDS = (
    Words("cert is not valid at validation time", ("5280-6.1.3",)),
    Words("lacks emailProtection", ("8550-4.4.4", "SBR-CA-1")),
    Words("key usage does not allow", ("8550-4.4.2", "SBR-7.1.2.3-e2", "SBR-7.1.2.3-e3")),
    Words("unaccounted-for critical", ("5280-4.2",)),
    Words("candidates exhausted: all candidates", ("5280-6.1",)),
    Words("Forbidden signature algorithm", ("SBR-7.1.3.2-2", "8550-4.3")),
    Words("name constraint|permitted|excluded", ("5280-4.2.1.10",)),
    Words("path length|basicConstraints|keyCertSign|is not a CA", ("5280-6.1.4",)),
    Words("signature does not match", ("5280-6.1.3", "5280-4.1.1.2")),
    Words("serial", ("SBR-7.1-1",)),
    Words("X509v3", ("SBR-7.1.1-1", "5280-4.1.2.1")),
)


@dataclass(frozen=True)
class PycaPeer:
    """cryptography in this process: no CRLs, and nothing of its own that verifies a signature."""

    stand: Stand
    version: str
    name: ClassVar[str] = "pyca"
    quirks: ClassVar[Sequence[Quirk]] = QUIRKS
    words: ClassVar[Sequence[Words]] = WORDS

    @classmethod
    def start(cls, stand: Stand, *_: object) -> PycaPeer:
        return cls(stand, metadata.version("cryptography"))

    def ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        try:
            return self._ask(operation, case, message)
        except (*_NO, verification.VerificationError) as error:
            raise Refused(str(error)) from None

    def _ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        match operation:
            case "import":
                loaded = pkcs12.load_pkcs12(case.pkcs12_file.read_bytes(), PKCS12_PASSWORD.encode())
                if loaded.key is None:
                    raise Refused("no key is in the file")
            case "validate-sign":
                self._validate(case, "sign")
            case "validate-encrypt":
                self._validate(case, "encrypt")
            case "sign":
                builder = pkcs7.PKCS7SignatureBuilder().set_data(CONTENT)
                signed = builder.add_signer(_read(case), case.private_key, hashes.SHA256())
                for issuer in case.identity.chain:
                    signed = signed.add_certificate(issuer.x509)
                return signed.sign(ser.Encoding.DER, _OPTIONS)
            case "verify":
                raise Untried("it has nothing that verifies a signature")
            case "encrypt":
                envelope = pkcs7.PKCS7EnvelopeBuilder().set_data(CONTENT)
                envelope = envelope.add_recipient(_read(case))
                return envelope.encrypt(ser.Encoding.DER, [pkcs7.PKCS7Options.Binary])
            case "decrypt":
                key: Any = case.private_key
                content = pkcs7.pkcs7_decrypt_der(message, _read(case), key, [])
                if content != CONTENT:
                    raise Refused("another content came out")
        return b""

    def _validate(self, case: Case, use: Use) -> None:
        """A path for the use: both extensions by functions of ours, for it has none for mail."""

        def purposes(_policy: Any, _certificate: Any, found: x509.ExtendedKeyUsage | None) -> None:
            if found is not None and _MAIL not in found and _ANY not in found:
                raise ValueError("the extended key usage lacks emailProtection")

        def usage(_policy: Any, certificate: Any, found: x509.KeyUsage | None) -> None:
            if found is not None and not _allows(found, certificate.public_key_algorithm_oid, use):
                raise ValueError("the key usage does not allow it")

        names = verification.ExtensionPolicy
        leaf = names.permit_all().may_be_present(x509.ExtendedKeyUsage, _EITHER, purposes)
        leaf = leaf.may_be_present(x509.KeyUsage, _EITHER, usage)
        above = names.webpki_defaults_ca().may_be_present(x509.ExtendedKeyUsage, _EITHER, purposes)
        roots = [one.x509 for one in self.stand.family.trust.anchors]
        verifier = (
            verification.PolicyBuilder()
            .store(verification.Store(roots))
            .time(self.stand.at)
            .extension_policies(ca_policy=above, ee_policy=leaf)
            .build_client_verifier()
        )
        verifier.verify(_read(case), [one.x509 for one in case.identity.chain])

    def close(self) -> None:
        pass


_AGREE = (oids.EC_PUBLIC_KEY, oids.X25519, oids.X448)


def _allows(found: x509.KeyUsage, algorithm: x509.ObjectIdentifier, use: Use) -> bool:
    if use == "sign":
        return found.digital_signature or found.content_commitment
    if algorithm.dotted_string in _AGREE:
        return found.key_agreement and not found.encipher_only
    return found.key_encipherment


def _read(case: Case) -> x509.Certificate:
    """As it reads it itself, lazily."""
    return x509.load_der_x509_certificate(case.certificate.der)
