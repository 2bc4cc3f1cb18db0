"""For each rule a certificate that breaks it, and one that does not."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID as Aia

from smime_graph import oids
from smime_graph.asn1 import ber
from smime_graph.authority import mutators
from smime_graph.authority.recipes import ALICE, Leaf

_Extension = x509.Extension[x509.ExtensionType]
_CN = (oids.COMMON_NAME, ALICE)
ORGANIZATION = (
    (oids.ORGANIZATION_NAME, "Contoso"),
    (oids.ORGANIZATION_IDENTIFIER, "NTRGB-12345678"),
)
PERSON = ((oids.GIVEN_NAME, "Alice"), (oids.SURNAME, "Smith"))


def _key(info: bytes) -> mutators.Mutator:
    return lambda fields: [*fields[:6], info, *fields[7:]]


def _exponent_3() -> bytes:
    key = rsa.generate_private_key(public_exponent=3, key_size=2048)
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _without_null(fields: list[bytes]) -> list[bytes]:
    key = ber.read(fields[6], "info").children()[1]
    return _key(ber.sequence(ber.sequence(ber.oid(oids.RSA_ENCRYPTION)), key.raw))(fields)


def _issuer_in_other_strings(fields: list[bytes]) -> list[bytes]:
    """The same name to RFC 5280 7.1, in PrintableStrings."""
    parts = []
    for rdn in ber.read(fields[3], "Name").children():
        oid, value = rdn.children()[0].children()
        parts.append(ber.set_of(ber.sequence(oid.raw, ber.tlv(0x13, value.contents))))
    return [*fields[:3], ber.sequence(*parts), *fields[4:]]


def _raw(dotted: str, value: bytes, *, critical: bool = False) -> _Extension:
    made = x509.UnrecognizedExtension(x509.ObjectIdentifier(dotted), value)
    return x509.Extension(made.oid, critical, made)


def _policy(*qualifiers: str | x509.UserNotice) -> _Extension:
    made = x509.CertificatePolicies(
        [x509.PolicyInformation(x509.ObjectIdentifier(oids.MAILBOX_STRICT), list(qualifiers))]
    )
    return x509.Extension(made.oid, False, made)


def _access(*urls: str) -> _Extension:
    made = x509.AuthorityInformationAccess(
        [x509.AccessDescription(Aia.CA_ISSUERS, x509.UniformResourceIdentifier(u)) for u in urls]
    )
    return x509.Extension(made.oid, False, made)


CAPABILITIES = _raw(oids.SMIME_CAPABILITIES, ber.sequence())
_LEI = ber.tlv(0x13, b"529900T8BM49AURSDO55")

# of people's certificates; the rules that are not here have a variant of the catalogue
BREAKING: dict[str, Leaf] = {
    "SBR-7.1.2.3-a3": Leaf(extensions=(_policy("ftp://contoso.com/cps"),)),
    "SBR-7.1.2.3-c2": Leaf(extensions=(_access("ldap://contoso.com/ca"),)),
    "SBR-7.1.2.3-e4": Leaf(key="ed25519", key_usage=("digital_signature", "key_encipherment")),
    "SBR-7.1.2.3-e5": Leaf(key="ml-kem-768", key_usage=("digital_signature", "key_encipherment")),
    "SBR-7.1.2.3-i": Leaf(
        extensions=(_raw(oids.SMIME_CAPABILITIES, ber.sequence(), critical=True),)
    ),
    "SBR-7.1.2.3-j": Leaf(extensions=(_raw(oids.SUBJECT_DIRECTORY_ATTRIBUTES, ber.sequence()),)),
    "SBR-7.1.2.3-k": Leaf(extensions=(_raw(oids.QC_STATEMENTS, ber.sequence(), critical=True),)),
    "SBR-7.1.2.3-l": Leaf(extensions=(_raw(oids.LEI, _LEI),)),
    "SBR-7.1.2.3-m": Leaf(extensions=(_raw(oids.ADOBE_TIME_STAMP, ber.sequence()),)),
    "SBR-7.1.4.1-1": Leaf(changes=(_issuer_in_other_strings,)),
    "SBR-7.1.4.2-1": Leaf(subject=(_CN, (oids.SERIAL_NUMBER, "N/A"))),
    "SBR-7.1.4.2.2-a": Leaf(subject=((oids.COMMON_NAME, "Alice"),)),
    "SBR-7.1.4.2.2-d": Leaf(
        subject=(ORGANIZATION[0], (oids.ORGANIZATION_IDENTIFIER, "ABCGB-1")),
        policies=(oids.ORGANIZATION_STRICT,),
    ),
    "SBR-7.1.4.2.2-e": Leaf(
        subject=(*PERSON, (oids.PSEUDONYM, "al")), policies=(oids.INDIVIDUAL_STRICT,)
    ),
    "SBR-7.1.4.2.2-h": Leaf(subject=(_CN, (oids.EMAIL_ADDRESS, f"{ALICE}, bob@contoso.com"))),
    "SBR-7.1.4.2.2-jn": Leaf(
        subject=(*PERSON, (oids.LOCALITY_NAME, "Bonn")), policies=(oids.INDIVIDUAL_STRICT,)
    ),
    "SBR-7.1.4.2.4": Leaf(subject=(ORGANIZATION[0],), policies=(oids.ORGANIZATION_STRICT,)),
    "SBR-7.1.4.2.5": Leaf(subject=ORGANIZATION, policies=(oids.SPONSOR_STRICT,)),
    "SBR-7.1.4.2.6": Leaf(subject=(*PERSON, ORGANIZATION[0]), policies=(oids.INDIVIDUAL_STRICT,)),
    "SBR-UB": Leaf(
        subject=((oids.ORGANIZATION_NAME, "C" * 65), ORGANIZATION[1]),
        policies=(oids.ORGANIZATION_STRICT,),
    ),
    "8550-3-2": Leaf(subject=(_CN, (oids.EMAIL_ADDRESS, f"{'a' * 250}@contoso.com"))),
}

# with a key that is not the one of its owner: signed anew
CHANGED: dict[str, mutators.Mutator] = {
    "SBR-6.1.6-1": lambda fields: _key(_exponent_3())(fields),
    "SBR-7.1.3.1-1": _without_null,
}

# a certificate against which nobody has anything, and what else the rules are to let pass
SOUND: dict[str, Leaf] = {
    "": Leaf(extensions=(CAPABILITIES,)),
    "SBR-6.1.6-1": Leaf(key="rsa-3072"),
    "SBR-6.1.5-2": Leaf(key="p521"),
    "SBR-7.1.3.1-1": Leaf(key="ml-dsa-44"),
    "SBR-7.1.3.2-1": Leaf(issuer="p384"),
    "SBR-7.1.2.3-a3": Leaf(extensions=(_policy("https://contoso.com/cps"),)),
    "SBR-7.1.2.3-c2": Leaf(extensions=(_access("http://contoso.com/ca"),)),
    "SBR-7.1.2.3-e2": Leaf(key_usage=("digital_signature", "content_commitment")),
    "SBR-7.1.2.3-e3": Leaf(key="p256", key_usage=("key_agreement", "encipher_only")),
    "SBR-7.1.2.3-e4": Leaf(key="ed448", key_usage=("digital_signature", "content_commitment")),
    "SBR-7.1.2.3-e5": Leaf(key="ml-kem-1024"),
    "SBR-7.1.2.3-k": Leaf(extensions=(_raw(oids.QC_STATEMENTS, ber.sequence()),)),
    "SBR-7.1.2.3-l": Leaf(
        subject=ORGANIZATION,
        extensions=(_raw(oids.LEI, _LEI),),
        policies=(oids.ORGANIZATION_STRICT,),
    ),
    "SBR-7.1.4.2.1-2": Leaf(subject=(_CN, (oids.EMAIL_ADDRESS, ALICE.upper()))),
    "SBR-7.1.4.2.2-a": Leaf(
        subject=(*PERSON, (oids.COMMON_NAME, "Alice Smith")), policies=(oids.INDIVIDUAL_STRICT,)
    ),
    "SBR-7.1.4.2.2-d": Leaf(subject=ORGANIZATION, policies=(oids.ORGANIZATION_STRICT,)),
    "SBR-7.1.4.2.2-e": Leaf(subject=((oids.PSEUDONYM, "al"),), policies=(oids.INDIVIDUAL_STRICT,)),
    "SBR-7.1.4.2.2-jn": Leaf(
        subject=(*PERSON, (oids.LOCALITY_NAME, "Bonn"), (oids.COUNTRY_NAME, "DE")),
        policies=(oids.INDIVIDUAL_STRICT,),
    ),
    "SBR-7.1.4.2.4": Leaf(subject=ORGANIZATION, policies=(oids.ORGANIZATION_STRICT,)),
    "SBR-7.1.4.2.5": Leaf(subject=(*ORGANIZATION, *PERSON), policies=(oids.SPONSOR_STRICT,)),
    "SBR-7.1.4.2.6": Leaf(subject=PERSON, policies=(oids.INDIVIDUAL_STRICT,)),
}
