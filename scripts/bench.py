"""The cost of our own Python beside the primitives it calls, measured side by side.

Machines differ and are noisy: what counts is the column "ours / primitives" of one run.
"""

from __future__ import annotations

import hashlib
import os
import sys
import timeit
from collections.abc import Callable
from datetime import UTC, datetime

import pybase64
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from smime_graph import CA, EXCHANGE, RFC_8551, Contact, TrustStore, seal, sign, unseal, verify
from smime_graph.algorithms import ContentCipher, by_name
from smime_graph.cms import enveloped_data, signature_check, signed_data

NOW = datetime.now(UTC)
root = CA("Bench", key="p256", at=NOW)
upper = root.create_intermediate("Issuing", key="p256", path_length=1)
issuing = upper.create_intermediate("People", key="p256")
alice = issuing.issue("alice@contoso.com", key="p256", at=NOW)
bob = issuing.issue("bob@contoso.com", key="p256", at=NOW)
to_bob = Contact(bob.certificate)
trust = TrustStore((root.certificate,))
content = b"Content-Type: text/plain\r\n\r\n" + b"hello\r\n" * 50


def best(function: Callable[[], object], number: int = 500) -> float:
    """Microseconds of the fastest of seven rounds."""
    return min(timeit.repeat(function, number=number, repeat=7)) / number * 1e6


def row(name: str, whole: float, primitives: float) -> None:
    ours = whole - primitives
    ratio = f"{ours / primitives:12.2f}" if primitives else ""
    print(f"{name:44}{whole:10.0f}{primitives:12.0f}{ours:10.0f}{ratio}")


def cms() -> None:
    """Emit and read a CMS with three certificates."""
    algorithm = ec.ECDSA(hashes.SHA256())
    attributes = os.urandom(300)
    signature = alice.private_key.sign(attributes, algorithm)
    public = alice.certificate.x509.public_key()
    der, _ = signed_data.sign(content, [alice], detached=True, policy=EXCHANGE, at=NOW)

    def digests() -> None:
        hashlib.sha256(content).digest()
        hashlib.sha256(alice.certificate.der).digest()

    signing = best(lambda: (digests(), alice.private_key.sign(attributes, algorithm)))
    whole = best(lambda: signed_data.sign(content, [alice], detached=True, policy=EXCHANGE, at=NOW))
    row("emit SignedData, 3 certificates, P-256", whole, signing)

    def check() -> None:
        signed = signed_data.read(der)
        signature_check.check(signed, signed.signers[0], content, policy=EXCHANGE)

    def verifying() -> None:
        digests()
        x509.load_der_x509_certificate(alice.certificate.der).public_key()
        public.verify(signature, attributes, algorithm)

    row("read it", best(lambda: signed_data.read(der)), 0)
    row("read and check it", best(check), best(verifying))
    gcm = by_name(ContentCipher, "aes256-gcm")

    def agreeing() -> None:
        ephemeral = ec.generate_private_key(ec.SECP256R1())
        ephemeral.exchange(ec.ECDH(), public)
        AESGCM(os.urandom(32)).encrypt(os.urandom(12), content, None)

    whole = best(lambda: enveloped_data.encrypt(content, [to_bob], cipher=gcm, policy=EXCHANGE))
    row("emit AuthEnvelopedData, P-256, AES-256-GCM", whole, best(agreeing))


def messages() -> None:
    """Whole messages, small ones and one of 10 MB."""
    head = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\n"
    small = head + content
    attachment = pybase64.encodebytes(os.urandom(10 << 20)).replace(b"\n", b"\r\n")
    large = (
        head
        + b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + attachment
    )
    print()
    print(f"{'message':44}{'ms':>10}")
    for name, raw, number in (("small", small, 50), ("10 MB attachment", large, 1)):
        signed = sign(raw, signer=alice)
        sealed = seal(raw, signer=alice, recipients=[to_bob], policy=RFC_8551)
        for verb, function in (
            ("sign", lambda raw=raw: sign(raw, signer=alice)),
            ("verify", lambda signed=signed: verify(signed, trust=trust)),
            (
                "seal",
                lambda raw=raw: seal(raw, signer=alice, recipients=[to_bob], policy=RFC_8551),
            ),
            (
                "unseal",
                lambda sealed=sealed: unseal(sealed, identities=[bob], trust=trust),
            ),
        ):
            print(f"{verb + ', ' + name:44}{best(function, number) / 1000:10.1f}")


def main() -> int:
    print(f"{'microseconds':44}{'whole':>10}{'primitives':>12}{'ours':>10}{'ours/prim.':>12}")
    cms()
    messages()
    return 0


if __name__ == "__main__":
    sys.exit(main())
