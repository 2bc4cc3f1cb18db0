"""pyHanko: CMS signatures with asn1crypto for the structure. In this process, as it is Python."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from smime_graph.harness.peers.drive import Missing, Refused

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import People, Person
from .peer import Known

KNOWN = (
    Known(
        "read",
        "rsassa-pkcs1v15 sha3-256",
        "'sha3_256_rsa'",
        "asn1crypto cannot name RSA with SHA-3 (RFC 9688 3.1)",
    ),
)


@dataclass
class PyHanko:
    """Signing with `SimpleSigner`, and the validation of detached and embedded CMS."""

    people: People
    label: str
    known: ClassVar[Sequence[Known]] = KNOWN

    @classmethod
    def start(cls, people: People, folder: Path) -> PyHanko:
        try:
            version = metadata.version("pyhanko")
        except metadata.PackageNotFoundError:
            raise Missing("pyHanko is not installed: pip install pyhanko") from None
        return cls(people, f"pyHanko {'.'.join(version.split('.')[:2])}")

    @staticmethod
    def lacks(direction: Direction, case: SigningCase | EncryptionCase) -> str | None:
        if isinstance(case, EncryptionCase):
            return "signatures only"
        if len(case.keys) > 1 or (direction == "read" and case.ski):
            return "one signer, and signs as one named by issuer"
        if direction == "read" and case.weak:
            return f"does not sign with {case.row} and {case.digest}"
        return None

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        from pyhanko.sign.signers import SimpleSigner

        (person,) = signers
        signer = SimpleSigner.load(  # type: ignore[no-untyped-call]
            str(person.key_file),
            str(person.certificate_file),
            ca_chain_files=(str(self.people.root_file),),
            prefer_pss=case.pss,
        )
        if signer is None:
            raise Refused("it does not load the key")
        # asn1crypto's name for id-shake256-len with 512 bits
        digest = "shake256" if case.digest == "shake256-len" else case.digest.replace("-", "_")
        try:
            signed = asyncio.run(
                signer.async_sign_general_data(content, digest, detached=not case.opaque)
            )
        except Exception as error:
            raise Refused(repr(error)) from error
        der: bytes = signed.dump()
        return der

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        from asn1crypto.cms import ContentInfo
        from asn1crypto.x509 import Certificate
        from pyhanko.sign.validation import async_validate_detached_cms
        from pyhanko.sign.validation.generic_cms import async_validate_cms_signature
        from pyhanko_certvalidator import ValidationContext

        try:
            signed = ContentInfo.load(cms, strict=True)["content"]
            root = self.people.ca.certificate.der
            context = ValidationContext(trust_roots=[Certificate.load(root)])
            if content is None:
                status = asyncio.run(
                    async_validate_cms_signature(signed, validation_context=context)
                )
            else:
                status = asyncio.run(
                    async_validate_detached_cms(content, signed, signer_validation_context=context)
                )
        except Exception as error:
            raise Refused(repr(error)) from error
        if not (status.intact and status.valid):
            raise Refused(f"intact {status.intact}, valid {status.valid}")
        if content is not None:
            return content
        inside: bytes = signed["encap_content_info"]["content"].native
        return inside

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        raise NotImplementedError

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        pass
