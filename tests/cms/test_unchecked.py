"""What cannot be checked is not told as invalid, and hides no good signer (RFC 5652 5.1)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from smime_graph import MalformedMessage, examine, inspect, oids, verify
from smime_graph.algorithms import SHA256, SignatureScheme, by_name
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info
from smime_graph.authority.issue import CA
from smime_graph.cms import attributes, parameters, signature_check, signed_data
from smime_graph.findings import Severity, codes
from smime_graph.harness.forgeries.craft import add_unsigned, countersign
from smime_graph.pki.identity import Identity
from smime_graph.pki.trust import TrustStore
from smime_graph.policy import ARCHIVE, EXCHANGE
from smime_graph.smime.report import MessageReport
from smime_graph.x509.certificate import Certificate

CONTENT = b"Content-Type: text/plain\r\n\r\nhello\r\n"
SENDER = "alice@contoso.com"
EC_KEY = ber.oid(oids.EC_PUBLIC_KEY)


# --- messages made by hand ----------------------------------------------------------------


def sign_with(
    key: object,
    certificate: Certificate,
    *further: bytes,
    scheme: str = "ecdsa",
    content: bytes = CONTENT,
    declared: bytes | None = None,
    sid: bytes | None = None,
    kinds: bool = True,
) -> bytes:
    """A SignerInfo over the content."""
    row = by_name(SignatureScheme, scheme)
    signed = ber.set_of(
        *([attributes.content_type(oids.DATA)] if kinds else []),
        attributes.message_digest(SHA256.compute(content)),
        *further,
    )
    if scheme == "dsa":
        declared = ber.sequence(ber.oid("2.16.840.1.101.3.4.3.2"))  # with SHA-256
    if row.sign is not None:
        signature = row.sign(key, signed, SHA256)
    else:
        signature = key.sign(signed, SHA256.hash)  # type: ignore[attr-defined]
    return ber.sequence(
        ber.integer(1 if sid is None else 3),
        certificate.issuer_and_serial if sid is None else sid,
        parameters.write_digest(SHA256),
        b"\xa0" + signed[1:],
        declared or parameters.write_signature(row, SHA256),
        ber.octet_string(signature),
    )


def message(infos: list[bytes], certificates: list[Certificate]) -> bytes:
    return content_info(
        oids.SIGNED_DATA,
        [
            ber.integer(1),
            ber.set_of(parameters.write_digest(SHA256)),
            ber.sequence(ber.oid(oids.DATA), ber.context(0, ber.octet_string(CONTENT))),
            ber.tlv(0xA0, *(one.der for one in certificates)),
            ber.set_of(*infos),
        ],
    )


def with_key(ca: CA, identity: Identity, key_info: bytes) -> Certificate:
    """The certificate with another SubjectPublicKeyInfo, signed again."""
    return changed(ca, identity.certificate, {6: key_info})


def changed(ca: CA, certificate: Certificate, fields: dict[int, bytes]) -> Certificate:
    """The certificate with other fields of its tbsCertificate, signed again by the authority."""
    tbs = [one.raw for one in ber.read(certificate.der, "").children()[0]]
    for index, value in fields.items():
        tbs[index] = value
    body = ber.sequence(*tbs)
    signature = ca.private_key.sign(body, ec.ECDSA(hashes.SHA256()))
    return Certificate(ber.sequence(body, tbs[2], ber.bit_string(signature)))


@pytest.fixture
def report_on(trust: TrustStore, now: datetime) -> Callable[[bytes], MessageReport]:
    return lambda der: examine(der, trust=trust, sender=SENDER, at=now)


def point(algorithm: bytes) -> bytes:
    return ber.sequence(algorithm, ber.bit_string(b"\x04" + b"\1" * 40))


RSA_KEY = ber.sequence(ber.oid(oids.RSA_ENCRYPTION), ber.null())
KEYS: dict[str, tuple[bytes, str]] = {
    "secp160r1": (point(ber.sequence(EC_KEY, ber.oid("1.3.132.0.8"))), "ecdsa"),
    "a curve by its parameters": (point(ber.sequence(EC_KEY, ber.sequence())), "ecdsa"),
    "no curve": (point(ber.sequence(EC_KEY)), "ecdsa"),
    "no point of its curve": (point(ber.sequence(EC_KEY, ber.oid(oids.SECP256R1))), "ecdsa"),
    "a key of an unknown kind": (point(ber.sequence(ber.oid("1.2.3.4"))), "ecdsa"),
    "an RSA key that is none": (
        ber.sequence(RSA_KEY, ber.bit_string(ber.sequence(ber.integer(1), ber.integer(3)))),
        "ecdsa",
    ),
    "a key that is not DER": (ber.sequence(RSA_KEY, ber.bit_string(b"\x30\x05")), "ecdsa"),
}


@pytest.mark.parametrize("which", KEYS)
def test_a_key_that_cannot_be_loaded_hides_no_good_signer(
    which: str, ca: CA, alice: Identity, report_on: Callable[[bytes], MessageReport], now: datetime
) -> None:
    key_info, scheme = KEYS[which]
    twin = ca.issue(SENDER, key="p256", at=now)
    odd = with_key(ca, twin, key_info)
    rsa = "RSA" in which or "not DER" in which
    declared = parameters.write_signature(by_name(SignatureScheme, "rsassa-pkcs1v15"), SHA256)
    bad = sign_with(twin.private_key, odd, scheme=scheme, declared=declared if rsa else None)
    good = sign_with(alice.private_key, alice.certificate)
    for infos in ([bad, good], [good, bad]):
        report = report_on(message(infos, [odd, alice.certificate]))
        assert report.accepted, report.findings
        by_certificate = {signer.certificate: signer for signer in report.signers}
        assert by_certificate[odd].valid is None
        assert by_certificate[odd].intact
        assert by_certificate[alice.certificate].accepted
        assert report.errors == ()
        assert not any("signature is not valid" in item.text for item in report.findings)
    alone = report_on(message([bad], [odd]))
    assert not alone.accepted
    assert alone.errors
    assert alone.signers[0].valid is None


def test_a_signature_by_a_key_that_can_be_loaded_is_found_beside_one_that_cannot(
    ca: CA, alice: Identity, report_on: Callable[[bytes], MessageReport]
) -> None:
    """Two certificates of one issuer and serial number: the other cannot make it unknown."""
    odd = with_key(ca, alice, KEYS["secp160r1"][0])
    der = message([sign_with(alice.private_key, alice.certificate)], [odd, alice.certificate])
    assert report_on(der).accepted


# --- attributes that cannot be read -------------------------------------------------------


def attribute(oid: str, *values: bytes) -> bytes:
    return attributes.attribute(oid, *values)


UNREAD = {
    "signingCertificate, no sequence": attribute(oids.SIGNING_CERTIFICATE, ber.null()),
    "signingCertificate, empty": attribute(oids.SIGNING_CERTIFICATE_V2, ber.sequence()),
    "signingCertificate, none named": attribute(
        oids.SIGNING_CERTIFICATE_V2, ber.sequence(ber.sequence())
    ),
    "signingCertificate, unknown digest": attribute(
        oids.SIGNING_CERTIFICATE_V2,
        ber.sequence(
            ber.sequence(ber.sequence(ber.sequence(ber.oid("1.2.3.4")), ber.octet_string(b"x")))
        ),
    ),
    "algorithmProtection, no sequence": attribute(oids.CMS_ALGORITHM_PROTECTION, ber.integer(1)),
    "algorithmProtection, empty": attribute(oids.CMS_ALGORITHM_PROTECTION, ber.sequence()),
}
TIMES = {
    "no seconds": ber.tlv(ber.UTC_TIME, b"2611221200Z"),
    "no zone": ber.tlv(ber.UTC_TIME, b"261122120000"),
    "an offset": ber.tlv(ber.UTC_TIME, b"261122120000+0100"),
    "a fraction": ber.tlv(ber.GENERALIZED_TIME, b"20261122120000.5Z"),
    "no date": ber.tlv(ber.UTC_TIME, b"269922120000Z"),
    "no time": ber.octet_string(b"now"),
    "nothing": ber.tlv(ber.UTC_TIME, b""),
}


@pytest.mark.parametrize("which", UNREAD)
def test_what_the_signer_says_of_the_certificate_may_be_unreadable(
    which: str,
    alice: Identity,
    alice_rsa: Identity,
    report_on: Callable[[bytes], MessageReport],
) -> None:
    bad = sign_with(alice.private_key, alice.certificate, UNREAD[which])
    good = sign_with(alice_rsa.private_key, alice_rsa.certificate, scheme="rsassa-pkcs1v15")
    certificates = [alice.certificate, alice_rsa.certificate]
    report = report_on(message([bad, good], certificates))
    assert report.accepted, report.findings
    found = {signer.certificate: (signer.intact, signer.valid) for signer in report.signers}
    assert found == {alice.certificate: (True, None), alice_rsa.certificate: (True, True)}
    assert any(item.severity is Severity.WARNING for item in report.findings)
    alone = report_on(message([bad], certificates))
    assert (alone.accepted, alone.signers[0].valid) == (False, None)
    assert alone.errors


def test_an_unreadable_attribute_makes_no_bad_signature_unknown(
    alice: Identity, mallory: Identity, report_on: Callable[[bytes], MessageReport]
) -> None:
    for further in (*UNREAD.values(), attribute(oids.SIGNING_TIME, TIMES["nothing"])):
        bad = sign_with(mallory.private_key, alice.certificate, further)
        report = report_on(message([bad], [alice.certificate]))
        assert report.signers[0].valid is False
        assert "cms.signature.invalid" in codes(report.errors)


@pytest.mark.parametrize("which", TIMES)
def test_a_time_that_cannot_be_read_is_unknown_and_no_more(
    which: str, alice: Identity, report_on: Callable[[bytes], MessageReport]
) -> None:
    info = sign_with(
        alice.private_key, alice.certificate, attribute(oids.SIGNING_TIME, TIMES[which])
    )
    report = report_on(message([info], [alice.certificate]))
    assert report.accepted
    (signer,) = report.signers
    assert (signer.intact, signer.valid, signer.signing_time) == (True, True, None)
    assert codes(report.findings) == ["cms.attributes.malformed"]
    assert report.findings[0].severity is Severity.WARNING


@pytest.mark.parametrize(
    "odd",
    [
        attributes.attribute(oids.MESSAGE_DIGEST, ber.integer(1)),
        attributes.attribute(oids.CONTENT_TYPE, ber.integer(1)),
    ],
)
def test_what_must_be_signed_and_cannot_be_read_is_an_error(
    odd: bytes, alice: Identity, report_on: Callable[[bytes], MessageReport]
) -> None:
    row = by_name(SignatureScheme, "ecdsa")
    usual = {
        oids.CONTENT_TYPE: attributes.content_type(oids.DATA),
        oids.MESSAGE_DIGEST: attributes.message_digest(SHA256.compute(CONTENT)),
    }
    kept = [one for oid, one in usual.items() if ber.oid(oid) not in odd]
    signed = ber.set_of(*kept, odd)
    assert row.sign is not None
    info = ber.sequence(
        ber.integer(1),
        alice.certificate.issuer_and_serial,
        parameters.write_digest(SHA256),
        b"\xa0" + signed[1:],
        parameters.write_signature(row, SHA256),
        ber.octet_string(row.sign(alice.private_key, signed, SHA256)),
    )
    report = report_on(message([info], [alice.certificate]))
    assert not report.accepted
    assert set(codes(report.errors)) & {"cms.attributes.malformed", "cms.attributes.content-type"}


def test_parameters_that_cannot_be_read_are_no_bad_signature(
    alice: Identity, alice_rsa: Identity, report_on: Callable[[bytes], MessageReport]
) -> None:
    pss = ber.sequence(ber.oid(oids.RSASSA_PSS))
    bad = sign_with(alice_rsa.private_key, alice_rsa.certificate, scheme="rsassa-pss", declared=pss)
    good = sign_with(alice.private_key, alice.certificate)
    report = report_on(message([bad, good], [alice.certificate, alice_rsa.certificate]))
    assert report.accepted, report.findings
    assert {signer.valid for signer in report.signers} == {True, None}


NOT_SIGNERS = {
    "of a version to come": ber.sequence(
        ber.integer(5), ber.context(2, ber.octet_string(b"x")), ber.null()
    ),
    "empty": ber.sequence(),
    "no sequence": ber.integer(1),
    "no attributes": None,
}


@pytest.mark.parametrize("which", NOT_SIGNERS)
def test_a_signer_that_cannot_be_read_hides_no_other(
    which: str,
    alice: Identity,
    now: datetime,
    report_on: Callable[[bytes], MessageReport],
) -> None:
    good = sign_with(alice.private_key, alice.certificate)
    odd = NOT_SIGNERS[which]
    if odd is None:
        parts = [one.raw for one in ber.read(good, "")]
        parts[3] = ber.context(0, ber.integer(1))
        odd = ber.sequence(*parts)
    der = message([odd, good], [alice.certificate])
    report = report_on(der)
    assert report.accepted, report.findings
    assert sorted(str(signer.valid) for signer in report.signers) == ["None", "True"]
    assert [item.severity for item in report.findings] == [Severity.WARNING]
    assert "cannot be read" in str(inspect(der))
    alone = message([odd], [alice.certificate])
    assert not report_on(alone).accepted
    with pytest.raises(MalformedMessage):
        signed_data.read(alone)
    index = ber.read(der, "").children()[1].only("").children()[-1].children()[0].raw != odd
    with pytest.raises(MalformedMessage):
        countersign(der, signer=alice, policy=EXCHANGE, at=now, index=int(index))


# --- certificates with slips --------------------------------------------------------------


def dn(tag: int, value: bytes) -> bytes:
    return ber.sequence(ber.set_of(ber.sequence(ber.oid("2.5.4.3"), ber.tlv(tag, value))))


def explicit_default(certificate: Certificate) -> bytes:
    """The extensions with CA:FALSE and critical FALSE written out."""
    extensions = ber.read(certificate.der, "").children()[0].children()[-1].only("extensions")
    constraints = ber.sequence(
        ber.oid("2.5.29.19"),
        ber.tlv(ber.BOOLEAN, b"\0"),
        ber.octet_string(ber.sequence(ber.tlv(ber.BOOLEAN, b"\0"))),
    )
    return ber.context(3, ber.sequence(constraints, *(one.raw for one in extensions)))


def other_names(certificate: Certificate) -> bytes:
    """A subjectAltName with a directoryName beside the address."""
    extensions = ber.read(certificate.der, "").children()[0].children()[-1].only("extensions")
    names = ber.sequence(ber.tlv(0x81, SENDER.encode()), ber.context(4, dn(0x13, b"a@b_c")))
    kept = [one.raw for one in extensions if one.children()[0].as_oid() != "2.5.29.17"]
    made = ber.sequence(ber.oid("2.5.29.17"), ber.octet_string(names))
    return ber.context(3, ber.sequence(*kept, made))


SLIPS: dict[str, Callable[[Certificate], dict[int, bytes]]] = {
    "@ in a PrintableString": lambda _: {5: dn(0x13, b"info@contoso.com")},
    "_ in a PrintableString": lambda _: {5: dn(0x13, b"in_fo")},
    "* in a PrintableString": lambda _: {5: dn(0x13, b"*.contoso.com")},
    "& in a PrintableString": lambda _: {5: dn(0x13, b"Ham & Eggs")},
    "Latin-1 in a PrintableString": lambda _: {5: dn(0x13, b"M\xfcller")},
    "UTF-8 in a PrintableString": lambda _: {5: dn(0x13, "Müller".encode())},
    "half a character in a BMPString": lambda _: {5: dn(0x1E, b"abc")},
    "Latin-1 in a UTF8String": lambda _: {5: dn(0x0C, b"M\xfcller")},
    "@ in another name": lambda one: {7: other_names(one)},
    "defaults written out": lambda one: {7: explicit_default(one)},
}
READ_ANYHOW = ("Latin-1 in a UTF8String",)


@pytest.mark.parametrize("which", SLIPS)
def test_a_certificate_with_a_slip_of_its_issuer_is_judged(
    which: str, ca: CA, alice: Identity, report_on: Callable[[bytes], MessageReport]
) -> None:
    odd = changed(ca, alice.certificate, SLIPS[which](alice.certificate))
    info = sign_with(alice.private_key, odd)
    report = report_on(message([info], [odd]))
    assert report.accepted, report.findings
    assert report.signers[0].email == SENDER
    assert report.errors == ()
    if which not in READ_ANYHOW:
        assert codes(report.findings) == ["pki.certificate.profile"]


@pytest.mark.parametrize("which", ["@ in a PrintableString", "Latin-1 in a PrintableString"])
def test_an_authority_may_have_such_a_name(
    which: str, ca: CA, now: datetime, report_on: Callable[[bytes], MessageReport]
) -> None:
    name = SLIPS[which](ca.certificate)[5]
    below = ca.create_intermediate("Below", key="p256", at=now)
    authority = changed(ca, below.certificate, {5: name})
    issued = below.issue(SENDER, key="p256")
    leaf = changed(below, issued.certificate, {3: name})
    report = report_on(message([sign_with(issued.private_key, leaf)], [leaf, authority]))
    assert report.accepted, report.findings


BROKEN: dict[str, Callable[[Certificate], dict[int, bytes]]] = {
    "no serial number": lambda _: {1: b"\x02\x03\0\0\1"},
    "a time without seconds": lambda _: {
        4: ber.sequence(
            ber.tlv(ber.UTC_TIME, b"2601010000Z"), ber.tlv(ber.UTC_TIME, b"3001010000Z")
        )
    },
    "an extension that is none": lambda one: {
        7: ber.context(
            3,
            ber.sequence(
                ber.sequence(ber.oid("2.5.29.15"), ber.octet_string(b"\x03\x02\x07\x80\0")),
                *(
                    extension.raw
                    for extension in ber.read(one.der, "")
                    .children()[0]
                    .children()[-1]
                    .only("extensions")
                    if extension.children()[0].as_oid() != "2.5.29.15"
                ),
            ),
        )
    },
}


@pytest.mark.parametrize("which", BROKEN)
@pytest.mark.parametrize("pinned", [False, True])
def test_a_certificate_that_cannot_be_read_is_malformed_and_nothing_else(
    which: str, pinned: bool, ca: CA, alice: Identity, now: datetime
) -> None:
    odd = changed(ca, alice.certificate, BROKEN[which](alice.certificate))
    info = sign_with(alice.private_key, odd, attributes.signing_time(now))
    trust = TrustStore((odd,) if pinned else (ca.certificate,))
    report = examine(message([info], [odd]), trust=trust, sender=SENDER, at=now)
    assert not report.accepted
    assert set(codes(report.errors)) == {"pki.certificate.malformed"}
    (signer,) = report.signers
    assert (signer.intact, signer.valid, signer.trusted) == (True, True, False)
    assert not any("ParseError" in item.text for item in report.findings)


# --- which certificate --------------------------------------------------------------------


def namesakes(ca: CA, alice: Identity, count: int, now: datetime) -> list[Certificate]:
    """Certificates with Alice's key identifier, each of another key."""
    identifier = alice.certificate.subject_key_identifier
    assert identifier is not None
    value = x509.SubjectKeyIdentifier(identifier)
    extension = x509.Extension(value.oid, False, value)
    return [
        ca.issue(SENDER, key="p256", at=now, extensions=[extension]).certificate
        for _ in range(count)
    ]


def by_key_identifier(alice: Identity) -> bytes:
    identifier = alice.certificate.subject_key_identifier
    assert identifier is not None
    sid = ber.context(0, identifier, constructed=False)
    return sign_with(alice.private_key, alice.certificate, sid=sid)


@pytest.mark.parametrize("count", [9, 10, 11, 60])
def test_every_certificate_with_the_key_identifier_is_tried(
    count: int,
    ca: CA,
    alice: Identity,
    now: datetime,
    report_on: Callable[[bytes], MessageReport],
) -> None:
    """RFC 8551 2.6."""
    others = namesakes(ca, alice, count, now)
    report = report_on(message([by_key_identifier(alice)], [*others, alice.certificate]))
    assert report.accepted
    assert report.signers[0].certificate == alice.certificate


def test_of_several_certificates_of_one_key_the_believed_one_is_taken(
    ca: CA, alice: Identity, now: datetime, report_on: Callable[[bytes], MessageReport]
) -> None:
    old = [
        ca.issue(
            SENDER,
            key=alice.private_key,
            not_before=now - timedelta(days=90 + days),
            not_after=now - timedelta(days=1 + days),
        ).certificate
        for days in range(3)
    ]
    assert {one.subject_key_identifier for one in old} == {alice.certificate.subject_key_identifier}
    for certificates in ([*old, alice.certificate], [alice.certificate, *old]):
        report = report_on(message([by_key_identifier(alice)], certificates))
        assert report.accepted, report.findings
        assert report.signers[0].certificate == alice.certificate
    assert codes(report_on(message([by_key_identifier(alice)], old)).errors) == ["pki.path.expired"]


# --- the declared algorithm ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "declared"),
    [("p256", "rsassa-pkcs1v15"), ("p256", "ed25519"), ("rsa-2048", "ecdsa"), ("ed25519", "ecdsa")],
)
def test_an_algorithm_that_is_not_of_the_key_is_named(
    key: str,
    declared: str,
    ca: CA,
    alice: Identity,
    now: datetime,
    report_on: Callable[[bytes], MessageReport],
) -> None:
    """endesive labels ECDSA as rsaEncryption."""
    who = ca.issue(SENDER, key=key, use="sign", at=now)
    scheme, _ = signed_data.choose_scheme(who.certificate, EXCHANGE)
    label = parameters.write_signature(by_name(SignatureScheme, declared), SHA256)
    info = sign_with(who.private_key, who.certificate, scheme=scheme.name, declared=label)
    report = report_on(message([info], [who.certificate]))
    assert report.signers[0].valid is False
    (found,) = [item for item in report.errors if item.code == "cms.signature.invalid"]
    assert f"declared as {declared}" in found.text
    assert f"of kind {KIND[key]}" in found.text
    # of a countersignature as well
    der, _ = signed_data.sign(CONTENT, [alice], detached=False, policy=EXCHANGE, at=now)
    over = signed_data.read(der).signers[0].signature
    counter = sign_with(
        who.private_key,
        who.certificate,
        scheme=scheme.name,
        declared=label,
        content=over,
        kinds=False,
    )
    der = add_unsigned(der, oids.COUNTERSIGNATURE, counter, certificates=[who.certificate])
    (one,) = report_on(der).signers[0].countersigners
    assert any(f"declared as {declared}" in fault for fault in one.faults)


KIND = {"p256": "ec", "rsa-2048": "rsa", "ed25519": "ed25519"}


# --- DSA keys with the parameters of their issuer's ---------------------------------------


DSA_KEY = ber.oid(oids.DSA)


class DsaPeople:
    """A root with a DSA key, and keys with and without its parameters."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.parameters = dsa.generate_parameters(1024)
        self.root_key = self.parameters.generate_private_key()
        self.root = self.certify("Root", self.root_key, "Root", self.root_key, ca=True)

    def certify(
        self,
        name: str,
        key: dsa.DSAPrivateKey,
        issuer: str,
        by: dsa.DSAPrivateKey,
        *,
        ca: bool = False,
        inherits: bool = False,
        serial: int = 1,
    ) -> Certificate:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        day = timedelta(days=1)
        start, end = self.now - day, self.now + day
        builder = x509.CertificateBuilder(
            named(issuer),
            named(name),
            key.public_key(),
            serial,
            start.replace(tzinfo=None),
            end.replace(tzinfo=None),
        ).add_extension(x509.BasicConstraints(ca, None), True)
        if not ca:
            address = x509.SubjectAlternativeName([x509.RFC822Name(SENDER)])
            builder = builder.add_extension(address, False)
        made = Certificate(builder.sign(by, hashes.SHA256()).public_bytes(Encoding.DER))
        if not inherits:
            return made
        tbs = [one.raw for one in ber.read(made.der, "").children()[0]]
        info = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        tbs[6] = ber.sequence(ber.sequence(DSA_KEY), ber.read(info, "").children()[1].raw)
        body = ber.sequence(*tbs)
        signature = by.sign(body, hashes.SHA256())
        return Certificate(ber.sequence(body, tbs[2], ber.bit_string(signature)))


@pytest.fixture(scope="module")
def people(now: datetime) -> DsaPeople:
    return DsaPeople(now)


def test_a_dsa_key_may_have_the_parameters_of_its_issuers_key(
    people: DsaPeople, now: datetime
) -> None:
    """RFC 3279 2.3.2, over one authority and over two."""
    key, middle_key = (people.parameters.generate_private_key() for _ in range(2))
    leaf = people.certify("Alice", key, "Root", people.root_key, inherits=True)
    middle = people.certify("Middle", middle_key, "Root", people.root_key, ca=True, inherits=True)
    deeper = people.certify("Alice", key, "Middle", middle_key, inherits=True)
    for certificate, sent in ((leaf, [leaf]), (deeper, [deeper, middle])):
        assert certificate.inherits_parameters
        der = message([sign_with(key, certificate, scheme="dsa")], sent)
        trust = TrustStore((people.root,))
        opened = verify(der, trust=trust, sender=SENDER, at=now, policy=ARCHIVE)
        assert opened.signer.certificate == certificate
        assert set(codes(opened.findings)) <= {
            "alg.weak",
            "alg.key.weak",
            "pki.path.weak-algorithm",
        }
        # without a path to whom we believe nothing is known of the key
        report = examine(der, trust=TrustStore(()), sender=SENDER, at=now, policy=ARCHIVE)
        assert report.signers[0].valid is None
        assert not report.accepted


def test_the_parameters_are_never_those_of_somebody_who_is_not_believed(
    people: DsaPeople, now: datetime
) -> None:
    """Whoever chooses p, q and g can sign for any y: here with g = y, so that x is 1."""
    key = people.parameters.generate_private_key()
    leaf = people.certify("Alice", key, "Root", people.root_key, inherits=True)
    numbers = people.parameters.parameter_numbers()
    y = key.public_key().public_numbers().y
    made = dsa.DSAParameterNumbers(numbers.p, numbers.q, y)
    forger = dsa.DSAPrivateNumbers(1, dsa.DSAPublicNumbers(y, made)).private_key()
    false_root = people.certify("Root", forger, "Root", forger, ca=True, serial=9)
    der = message([sign_with(forger, leaf, scheme="dsa")], [false_root, leaf])
    alone = leaf.with_parameters(false_root.dsa_parameters or b"")
    signed = signed_data.read(der)
    assert signed.content is not None
    # so it would be, if the parameters were taken from whatever came along
    assert signature_check.check(
        signed, signed.signers[0], signed.content, policy=ARCHIVE, certificates=[alone]
    ).valid
    for anchors in ((people.root,), ()):
        report = examine(der, trust=TrustStore(anchors), sender=SENDER, at=now, policy=ARCHIVE)
        assert not report.accepted
        assert not report.signers[0].valid
