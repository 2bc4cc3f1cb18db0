"""What one certificate may be used for."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from smime_graph import oids
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA
from smime_graph.findings import Finding, Severity, codes
from smime_graph.pki.identity import allows_encryption, allows_signing
from smime_graph.pki.usage import (
    Use,
    chain_findings,
    extension_findings,
    key_findings,
    usage_findings,
    validity_findings,
)
from smime_graph.x509.certificate import Certificate

USES: tuple[Use, ...] = get_args(Use)


@functools.cache
def key(kind: str) -> Any:
    if kind == "dsa1024":
        return dsa.generate_private_key(1024)
    if kind == "p192":
        return ec.generate_private_key(ec.SECP192R1())
    if kind == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, int(kind[3:]))


def certificate(*extensions: tuple[x509.ExtensionType, bool], kind: str = "p256") -> Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Alice")])
    builder = x509.CertificateBuilder(
        subject,
        subject,
        key(kind).public_key(),
        1,
        datetime(2020, 1, 1),  # noqa: DTZ001 - the builder wants UTC
        datetime(2040, 1, 1),  # noqa: DTZ001
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    made = builder.sign(key("p256"), hashes.SHA256())
    return Certificate(made.public_bytes(serialization.Encoding.DER))


def with_key_info(made: Certificate, info: bytes) -> Certificate:
    outer = list(ber.read(made.der, "Certificate"))
    parts = [info if n.raw == made.public_key_info else n.raw for n in outer[0]]
    return Certificate(ber.sequence(ber.sequence(*parts), *(n.raw for n in outer[1:])))


def relabelled(made: Certificate, oid: str) -> Certificate:
    """The same key, said to be of another algorithm, without parameters."""
    key = list(ber.read(made.public_key_info, "SubjectPublicKeyInfo"))[1].raw
    return with_key_info(made, ber.sequence(ber.sequence(ber.oid(oid)), key))


def raw(oid: str, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)


def test_a_certificate_without_extensions_may_be_used_for_everything() -> None:
    for use in USES:
        assert usage_findings(certificate(), use=use) == ()


@pytest.mark.parametrize("oid", ["1.2.3.4", "2.5.29.9", "2.5.29.18", "2.16.840.1.113730.1.1"])
def test_a_critical_extension_that_nobody_acts_upon_is_an_error(oid: str) -> None:
    extension = raw(oid, ber.sequence())
    critical = extension_findings(certificate((extension, True)))
    assert codes(critical) == ["pki.certificate.critical-extension"]
    assert oid in critical[0].text
    assert extension_findings(certificate((extension, False))) == []


def test_every_unknown_critical_extension_is_named() -> None:
    unknown = certificate((raw("1.2.3.4", b"\5\0"), True), (raw("1.2.3.5", b"\5\0"), True))
    assert [f.text.split()[2] for f in extension_findings(unknown)] == ["1.2.3.4", "1.2.3.5"]


def test_a_serial_number_that_nobody_has_is_not_shown_whole() -> None:
    """RFC 5280 4.1.2.2: at most 20 octets."""

    def with_serial(octets: bytes) -> Certificate:
        tbs, *outer = ber.read(certificate().der, "Certificate").children()
        fields = [one.raw for one in tbs]
        fields[1] = ber.tlv(ber.INTEGER, octets)
        return Certificate(ber.sequence(ber.sequence(*fields), *(one.raw for one in outer)))

    assert with_serial(b"\x7f" * 40).serial_text == "0x" + "7f" * 40
    assert with_serial(b"\xff\x01").serial_text == "-0xff"
    long = with_serial(b"\x7f" * 5000)
    assert long.serial_text == "0x" + "7f" * 40 + "... (5000 octets)"
    assert long.description == f"CN=Alice, serial {long.serial_text}"
    assert long.serial_number == int.from_bytes(b"\x7f" * 5000, "big")


def test_more_extensions_than_anybody_has_are_not_read_one_by_one() -> None:
    def of(count: int) -> list[Finding]:
        more = ((raw(f"1.2.3.{number}", b"\5\0"), True) for number in range(count))
        return extension_findings(certificate(*more))

    assert len(of(100)) == 100
    (one,) = of(101)
    assert one.code == "pki.certificate.malformed"
    assert one.text.endswith(": 101 extensions, at most 100 are read")


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (oids.KEY_USAGE, b"\x03\x02\x07"),
        (oids.KEY_USAGE, b"\x04\x00"),
        (oids.EXTENDED_KEY_USAGE, b"\x30\x02\x06\x00"),
        (oids.EXTENDED_KEY_USAGE, b"\x30\x00"),  # RFC 5280 4.2.1.12: at least one
        (oids.SUBJECT_ALT_NAME, b"\x30\x03\x81\x05a"),
        ("2.5.29.19", b"\x30\x03\x01\x01\x01"),
        ("2.5.29.30", b"\xff"),
        ("2.5.29.35", b""),
    ],
)
def test_a_malformed_extension_is_a_finding_and_never_an_exception(oid: str, value: bytes) -> None:
    broken = certificate((raw(oid, value), False))
    for use in USES:
        assert codes(usage_findings(broken, use=use)) == ["pki.certificate.malformed"]
    assert chain_findings((broken, broken, broken)) == []


def test_an_extension_that_stands_twice_is_malformed() -> None:
    der = certificate((raw("1.2.3.4", b"\5\0"), False), (raw("1.2.3.5", b"\5\0"), False)).der
    twice = Certificate(der.replace(ber.oid("1.2.3.5"), ber.oid("1.2.3.4")))
    assert codes(usage_findings(twice, use="sign")) == ["pki.certificate.malformed"]


@pytest.mark.parametrize(
    ("kind", "normal", "old"),
    [
        ("rsa1024", Severity.ERROR, Severity.WARNING),
        ("rsa2048", None, None),
        ("dsa1024", Severity.ERROR, Severity.WARNING),
        ("p192", Severity.ERROR, Severity.WARNING),
        ("p256", None, None),
    ],
)
def test_a_weak_key_is_an_error_and_for_old_mail_a_warning(
    kind: str, normal: Severity | None, old: Severity | None
) -> None:
    made = certificate(kind=kind)
    assert [f.severity for f in key_findings(made)] == [normal] * (normal is not None)
    accepted = key_findings(made, accept_weak=True)
    assert [f.severity for f in accepted] == [old] * (old is not None)


def test_a_key_that_anyone_can_break_is_an_error_for_old_mail_too() -> None:
    made = certificate(kind="rsa1024")
    found = key_findings(made, accept_weak=True, minimum_rsa_bits=2048)
    assert [f.severity for f in found] == [Severity.WARNING]
    modulus = key("rsa1024").public_key().public_numbers().n
    short = rsa.RSAPublicNumbers(65537, modulus >> 512 | 1).public_key()
    spki = short.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    outer = list(ber.read(made.der, "Certificate"))
    parts = [spki if n.raw == made.public_key_info else n.raw for n in outer[0]]
    forged = Certificate(ber.sequence(ber.sequence(*parts), *(n.raw for n in outer[1:])))
    found = key_findings(forged, accept_weak=True)
    assert [f.severity for f in found] == [Severity.ERROR]
    assert "512 bits" in found[0].text


def test_a_key_of_an_unknown_type_can_do_nothing() -> None:
    unknown = ber.sequence(ber.sequence(ber.oid("1.2.3.4")), ber.bit_string(b"key"))
    strange = with_key_info(certificate(), unknown)
    for use in USES:
        found = usage_findings(strange, use=use)
        assert codes(found) == ["pki.usage.key-type"]
        assert "1.2.3.4" in found[0].text


def test_a_key_for_pss_signs_and_does_not_encrypt() -> None:
    made = certificate(kind="rsa2048")
    only_pss = relabelled(made, oids.RSASSA_PSS)
    assert usage_findings(only_pss, use="sign") == ()
    found = usage_findings(only_pss, use="encrypt")
    assert codes(found) == ["pki.usage.key-type"]
    assert "RSASSA-PSS" in found[0].text
    assert usage_findings(made, use="encrypt") == ()


def test_an_extended_key_usage_without_mail_is_an_error() -> None:
    oid = x509.ObjectIdentifier("1.2.3.4")
    for purposes in ([oid], [ExtendedKeyUsageOID.SERVER_AUTH, oid]):
        made = certificate((x509.ExtendedKeyUsage(purposes), False))
        assert codes(usage_findings(made, use="sign")) == ["pki.usage.extended-key-usage"]


def test_only_authorities_between_the_ends_are_held_to_their_extended_key_usage() -> None:
    server = certificate((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False))
    plain = certificate()
    assert chain_findings((server, plain, server)) == []
    assert chain_findings((server,)) == []
    assert (
        codes(chain_findings((plain, server, server, plain)))
        == ["pki.usage.extended-key-usage-chain"] * 2
    )


def test_every_fault_of_a_certificate_is_found() -> None:
    bits = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"), False
    ) | dict.fromkeys(("key_agreement", "crl_sign", "encipher_only", "decipher_only"), False)
    made = certificate(
        (x509.KeyUsage(**bits, key_cert_sign=True), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.BasicConstraints(True, None), True),
        (raw("1.2.3.4", b"\5\0"), True),
        kind="rsa1024",
    )
    assert set(codes(usage_findings(made, use="sign"))) == {
        "pki.certificate.critical-extension",
        "pki.certificate.is-ca",
        "pki.certificate.profile",
        "pki.usage.key-usage",
        "pki.usage.extended-key-usage",
        "alg.key.weak",
    }


def test_a_certificate_that_cannot_be_parsed_is_one_malformed_finding_for_each_view() -> None:
    der = certificate().der
    when = der.index(b"\x17\x0d200101")
    broken = Certificate(der[: when + 2] + b"209901" + der[when + 8 :])
    assert codes(validity_findings(broken, at=datetime(2026, 1, 1, tzinfo=UTC))) == [
        "pki.certificate.malformed"
    ]
    assert set(codes(usage_findings(broken, use="sign"))) == {"pki.certificate.malformed"}


@given(
    st.sampled_from([oids.KEY_USAGE, oids.EXTENDED_KEY_USAGE, "2.5.29.19"]), st.binary(max_size=12)
)
def test_any_extension_value_gives_findings(oid: str, value: bytes) -> None:
    made = certificate((raw(oid, value), True))
    for use in USES:
        for found in usage_findings(made, use=use):
            assert found.where == made.description


# --- the keyUsage rule ----------------------------------------------------------------------------

# What a kind of key can do at all, and the bits of which one must be set (RFC 8550 4.4.2, RFC 8410
# 5, RFC 9881 4, RFC 9936 5); those of a kind without a row can nothing.
_SIGNS = {"digital_signature", "content_commitment"}
_KINDS: dict[str, tuple[set[str], set[str]]] = {
    "rsa-2048": (_SIGNS, {"key_encipherment"}),
    "rsassa-pss": (_SIGNS, set()),
    "p256": (_SIGNS, {"key_agreement"}),
    "ed25519": (_SIGNS, set()),
    "ed448": (_SIGNS, set()),
    "x25519": (set(), {"key_agreement"}),
    "x448": (set(), {"key_agreement"}),
    "ml-dsa-65": (_SIGNS, set()),
    "ml-kem-768": (set(), {"key_encipherment"}),
    "rsaes-oaep": (set(), set()),
    "ml-kem-512": (set(), set()),
}
# what `cryptography` does not write
_RELABELLED = {
    "rsassa-pss": ("rsa-2048", oids.RSASSA_PSS),
    "rsaes-oaep": ("rsa-2048", oids.RSAES_OAEP),
    "ml-kem-512": ("ml-kem-768", oids.ML_KEM_512),
}
_SETTINGS: tuple[tuple[str, ...] | None, ...] = (
    None,
    ("digital_signature",),
    ("content_commitment",),
    ("key_encipherment",),
    ("key_agreement",),
    ("key_agreement", "encipher_only"),
    ("key_agreement", "decipher_only"),
    ("data_encipherment",),
    ("key_cert_sign", "crl_sign"),
    ("digital_signature", "key_encipherment", "key_agreement"),
    ("digital_signature", "key_agreement", "encipher_only"),
)


def settings_of(bits: tuple[str, ...] | None) -> str:
    return "absent" if bits is None else "+".join(bits)


@functools.cache
def authority() -> CA:
    return CA(key="p256")


def of_kind(kind: str, bits: tuple[str, ...] | None) -> Certificate:
    made_of, oid = _RELABELLED.get(kind, (kind, None))
    use: Any = "sign" if _KINDS[made_of][0] else "encrypt"
    made = authority().issue("a@contoso.com", key=made_of, use=use, key_usage=bits).certificate
    return made if oid is None else relabelled(made, oid)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("bits", _SETTINGS, ids=settings_of)
@pytest.mark.parametrize("kind", _KINDS)
def test_one_rule_says_what_a_key_may_be_used_for(
    kind: str, bits: tuple[str, ...] | None, use: Use
) -> None:
    """Whoever asks: a message to or from the certificate, and the choice among those of a file."""
    certificate = of_kind(kind, bits)
    enough = _KINDS[kind][use == "encrypt"]
    wanted = bool(enough) if bits is None else bool(enough & set(bits))
    if use == "encrypt" and bits is not None and "encipher_only" in bits:
        wanted = False  # RFC 5280 4.2.1.3: the subject may only encipher with what is agreed
    spoken = {one.code for one in usage_findings(certificate, use=use)}
    allows = allows_encryption if use == "encrypt" else allows_signing
    assert (not spoken & {"pki.usage.key-usage", "pki.usage.key-type"}) is wanted
    assert allows(certificate) is wanted
