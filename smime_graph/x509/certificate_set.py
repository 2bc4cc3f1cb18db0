"""CertificateSet (RFC 5652 10.2.3): the certificates that come along in a SignedData.

CertificateSet ::= SET OF CHOICE { Certificate, [0] to [3] forms that nobody uses any more }
"""

from __future__ import annotations

from collections.abc import Iterable

from .. import oids
from ..asn1 import ber
from ..asn1.ber import Fields, Node
from ..asn1.content_info import read_content_info
from ..budget import Budget
from ..errors import MalformedMessage, UsageError
from .certificate import Certificate, interned

MAX_CERTIFICATES = 1000


def certificate_set(certificates: Iterable[bytes]) -> bytes:
    """CertificateChoices, DER, each once, as [0] IMPLICIT CertificateSet in the order of DER.

    X.690 11.6: the encodings of a SET OF ascend. CMS does not ask for DER here, but readers do:
    since October 2020 Windows' wintrust refuses signatures whose certificates stand otherwise
    (openssl#13142, osslsigncode#312), and so does @blamejs/pki; .NET, asn1crypto and cryptography
    write them so. Against it stand one report that Outlook and openssl want the leaf first
    (cryptography#8127), which openssl does not, and cryptography kept the order of DER; and readers
    that take the first for the signer's (NSS in openssl#883, phase2#28), which is a fault of
    theirs: the sid says which it is. Raises UsageError for more than are read.
    """
    once = dict.fromkeys(certificates)
    if len(once) > MAX_CERTIFICATES:
        raise UsageError(f"{len(once)} certificates, at most {MAX_CERTIFICATES} are read")
    return b"\xa0" + ber.set_of(*once)[1:]


def read_certificates(node: Node | None) -> tuple[Certificate, ...]:
    """The X.509 certificates; [0] to [3] are skipped (RFC 8550 2.2), broken ones too."""
    return () if node is None else _read_lately(node)


def _read_set(node: Node) -> tuple[Certificate, ...]:
    found: list[Certificate] = []
    for element in node:
        if element.tag != ber.SEQUENCE:
            continue
        if len(found) >= MAX_CERTIFICATES:
            raise element.fault(f"more than {MAX_CERTIFICATES} certificates")
        try:
            found.append(interned(element.raw))
        except MalformedMessage:
            continue  # a signer whose certificate this was will be reported as without one
    return tuple(found)


# those of a signer are the same in each message
_read_lately = ber.remembered(_read_set, entries=64, longest=32 * 1024)


def read_certs_only(der: bytes, *, budget: Budget | None = None) -> tuple[Certificate, ...]:
    """The certificates of a SignedData without signers (RFC 8551 3.8), BER or DER.

    UsageError for one with signers: what comes along with a signature is anybody's choice.
    MalformedMessage for what is no SignedData.
    """
    certificates, is_signed = _read(der, budget)
    if is_signed:
        raise UsageError(
            "it is a signed message, from which no certificates are taken here",
            hint="give the certificates themselves: PEM, DER or .p7b",
        )
    return certificates


def read_carried(der: bytes, *, budget: Budget | None = None) -> tuple[Certificate, ...]:
    """The certificates that come along in a SignedData, whoever signed it: nobody vouches for them.

    For whoever holds each against roots. MalformedMessage for what is no SignedData.
    """
    return _read(der, budget)[0]


def _read(der: bytes, budget: Budget | None) -> tuple[tuple[Certificate, ...], bool]:
    _, node = read_content_info(der, oids.SIGNED_DATA, budget=budget)
    fields = Fields(node.expect(ber.SEQUENCE, "SignedData"), "SignedData")
    fields.any("version").as_integer("SignedData version")
    fields.take(ber.SET, "digestAlgorithms")
    fields.take(ber.SEQUENCE, "encapContentInfo")
    certificates = read_certificates(fields.optional(0xA0))
    fields.optional(0xA1)
    signers = fields.take(ber.SET, "signerInfos").children()
    fields.end()
    return certificates, bool(signers)
