"""SignedData: what is made is checked, what is changed is noticed."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from shutil import which

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from smime_graph import oids, verify
from smime_graph.algorithms import SHA1, SHA256, SHA384, Digest, SignatureScheme, by_name
from smime_graph.asn1 import ber
from smime_graph.asn1.algorithm_identifier import AlgorithmIdentifier
from smime_graph.asn1.content_info import content_info, read_content_info
from smime_graph.authority.issue import CA
from smime_graph.budget import Budget
from smime_graph.cms import attributes, parameters, signature_check, signed_data
from smime_graph.cms.attributes import Attributes
from smime_graph.cms.signature_check import Check
from smime_graph.errors import MalformedMessage, UnsupportedAlgorithm, UsageError
from smime_graph.findings import Severity, codes
from smime_graph.harness.forgeries.craft import countersign
from smime_graph.pki.identity import Identity, read_capabilities
from smime_graph.pki.trust import TrustStore
from smime_graph.policy import ARCHIVE, EXCHANGE, Policy
from smime_graph.x509.certificate import Certificate
from tests.der import is_der

CONTENT = b"Content-Type: text/plain\r\n\r\nhello\r\n"


def check(der: bytes, content: bytes | None = None, policy: Policy = EXCHANGE) -> Check:
    signed = signed_data.read(der)
    data = content if content is not None else signed.content
    assert data is not None
    return signature_check.check(signed, signed.signers[0], data, policy=policy)


def make(
    alice: Identity,
    *,
    content: bytes = CONTENT,
    attrs: Callable[[list[bytes]], Sequence[bytes]] | None = None,
    digest_algorithm: bytes | None = None,
    scheme_name: str = "ecdsa",
    with_attributes: bool = True,
    unsorted: bool = False,
    certificates: bytes | None = None,
) -> bytes:
    """An opaque SignedData by hand, so that each rule can be broken alone."""
    scheme = by_name(SignatureScheme, scheme_name)
    digest_identifier = digest_algorithm or parameters.write_digest(SHA256)
    signature_identifier = parameters.write_signature(scheme, SHA256)
    signed = [
        attributes.content_type(oids.DATA),
        attributes.message_digest(SHA256.compute(content)),
    ]
    if attrs is not None:
        signed = list(attrs(signed))
    body = b"".join(signed) if unsorted else b"".join(sorted(signed))
    to_be_signed = ber.tlv(ber.SET, body) if with_attributes else content
    assert scheme.sign is not None
    info = ber.sequence(
        ber.integer(1),
        alice.certificate.issuer_and_serial,
        digest_identifier,
        b"\xa0" + to_be_signed[1:] if with_attributes else b"",
        signature_identifier,
        ber.octet_string(scheme.sign(alice.private_key, to_be_signed, SHA256)),
    )
    return content_info(
        oids.SIGNED_DATA,
        [
            ber.integer(1),
            ber.set_of(digest_identifier),
            ber.sequence(ber.oid(oids.DATA), ber.context(0, ber.octet_string(content))),
            ber.tlv(0xA0, alice.certificate.der if certificates is None else certificates),
            ber.set_of(info),
        ],
    )


def test_a_signature_holds_its_attributes(alice: Identity, now: datetime) -> None:
    der, digests = signed_data.sign(CONTENT, [alice], detached=False, policy=EXCHANGE, at=now)
    assert [d.name for d in digests] == ["sha256"]
    signed = signed_data.read(der)
    attrs = signed.signers[0].signed_attributes
    assert attrs is not None
    # sent as [0] IMPLICIT, signed as the DER SET OF that it then is (RFC 5652 5.4)
    assert is_der(ber.read(b"\x31" + attrs.node.raw[1:], "signedAttrs", tag=ber.SET))
    for oid in (
        oids.CONTENT_TYPE,
        oids.MESSAGE_DIGEST,
        oids.SIGNING_TIME,
        oids.SMIME_CAPABILITIES,
        oids.CMS_ALGORITHM_PROTECTION,
        oids.SIGNING_CERTIFICATE_V2,
    ):
        assert attrs.single(oid) is not None, oid
    result = check(der)
    assert (result.intact, result.valid, result.findings) == (True, True, ())
    assert result.signing_time == now
    assert result.certificate == alice.certificate


def test_digest_parameters_are_absent(alice: Identity, now: datetime) -> None:
    der, _ = signed_data.sign(CONTENT, [alice], detached=True, policy=EXCHANGE, at=now)
    identifier = bytes.fromhex("300b0609608648016503040201")  # RFC 5754 2
    assert der.count(identifier) == 3  # digestAlgorithms, SignerInfo, CMSAlgorithmProtection
    assert b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00" not in der


def test_capabilities_are_exact_to_the_byte(alice: Identity, now: datetime) -> None:
    der, _ = signed_data.sign(CONTENT, [alice], detached=True, policy=EXCHANGE, at=now)
    attrs = signed_data.read(der).signers[0].signed_attributes
    assert attrs is not None
    octets = attributes.read_octets(attrs, oids.SMIME_CAPABILITIES)
    assert octets is not None
    announced = read_capabilities(octets)
    assert announced[0] == bytes.fromhex("300b060960864801650304012a")  # AES-256-CBC, no parameters
    assert ber.sequence(ber.oid(oids.AES256_GCM)) in announced
    assert ber.sequence(ber.oid(oids.DES_EDE3_CBC)) not in announced


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (EXCHANGE, ("rsassa-pkcs1v15", "sha256")),
        (EXCHANGE.but("t", rsa_signature="rsassa-pss"), ("rsassa-pss", "sha256")),
        (EXCHANGE.but("t", digest="sha512"), ("rsassa-pkcs1v15", "sha512")),
    ],
)
def test_the_policy_chooses_scheme_and_digest(
    alice_rsa: Identity, now: datetime, policy: Policy, names: tuple[str, str]
) -> None:
    der, _ = signed_data.sign(CONTENT, [alice_rsa], detached=False, policy=policy, at=now)
    result = check(der)
    assert result.valid
    assert result.scheme is not None
    assert result.digest is not None
    assert (result.scheme.name, result.digest.name) == names


def test_several_signers_each_get_their_verdict(
    alice: Identity, alice_rsa: Identity, now: datetime
) -> None:
    der, _ = signed_data.sign(CONTENT, [alice, alice_rsa], detached=False, policy=EXCHANGE, at=now)
    signed = signed_data.read(der)
    assert signed.content is not None
    for info in signed.signers:
        assert signature_check.check(signed, info, signed.content, policy=EXCHANGE).valid


def test_changed_content_is_not_intact(alice: Identity, now: datetime) -> None:
    der, _ = signed_data.sign(CONTENT, [alice], detached=True, policy=EXCHANGE, at=now)
    result = check(der, CONTENT + b"x")
    assert result.intact is False
    assert "cms.digest.mismatch" in codes(result.findings)


def test_every_flipped_bit_of_the_signed_attributes_and_signature_is_noticed(
    alice: Identity, now: datetime
) -> None:
    der, _ = signed_data.sign(CONTENT, [alice], detached=True, policy=EXCHANGE, at=now)
    signer = signed_data.read(der).signers[0]
    assert signer.signed_attributes is not None
    start = signer.signed_attributes.node.start
    for position in range(start, len(der)):
        changed = bytearray(der)
        changed[position] ^= 0x04
        try:
            result = check(bytes(changed), CONTENT)
        except MalformedMessage:
            continue
        # an algorithm turned into one that we do not know is not bad, but neither is it good
        assert not (result.intact and result.valid), position


def drop(oid: str) -> Callable[[list[bytes]], list[bytes]]:
    return lambda signed: [a for a in signed if ber.oid(oid) not in a]


@pytest.mark.parametrize(
    ("attrs", "code"),
    [
        (drop(oids.CONTENT_TYPE), "cms.attributes.missing"),
        (drop(oids.MESSAGE_DIGEST), "cms.attributes.missing"),
        (lambda s: [*s, s[1]], "cms.attributes.duplicate"),
        (
            lambda s: [
                s[0],
                attributes.attribute(
                    oids.MESSAGE_DIGEST,
                    ber.octet_string(SHA256.compute(CONTENT)),
                    ber.octet_string(SHA256.compute(b"other")),
                ),
            ],
            "cms.attributes.duplicate",
        ),
        (
            lambda s: [attributes.content_type(oids.SIGNED_DATA), s[1]],
            "cms.attributes.content-type",
        ),
        (
            lambda s: [*s, attributes.attribute(oids.SIGNING_TIME, ber.octet_string(b"now"))],
            "cms.attributes.malformed",
        ),
        (
            lambda s: [*s, attributes.attribute(oids.COUNTERSIGNATURE, ber.sequence())],
            "cms.attributes.malformed",
        ),
        (
            lambda s: [
                *s,
                attributes.algorithm_protection(
                    parameters.write_digest(SHA384),
                    parameters.write_signature(by_name(SignatureScheme, "ecdsa"), SHA256),
                ),
            ],
            "cms.attributes.algorithm-protection",
        ),
        (
            lambda s: [
                *s,
                attributes.algorithm_protection(
                    parameters.write_digest(SHA256),
                    parameters.write_signature(by_name(SignatureScheme, "ecdsa"), SHA384),
                ),
            ],
            "cms.attributes.algorithm-protection",
        ),
    ],
)
def test_each_rule_about_signed_attributes_is_kept(
    alice: Identity, attrs: Callable[[list[bytes]], Sequence[bytes]], code: str
) -> None:
    assert check(make(alice)).findings == ()
    result = check(make(alice, attrs=attrs))
    assert code in codes(result.findings)


def test_another_persons_signing_certificate_is_refused(alice: Identity, mallory: Identity) -> None:
    good = make(alice, attrs=lambda s: [*s, attributes.signing_certificate_v2(alice.certificate)])
    bad = make(alice, attrs=lambda s: [*s, attributes.signing_certificate_v2(mallory.certificate)])
    assert check(good).findings == ()
    assert codes(check(bad).findings) == ["cms.attributes.signing-certificate"]


def test_attributes_out_of_order_verify_with_a_warning(alice: Identity) -> None:
    attrs = [
        attributes.content_type(oids.DATA),
        attributes.message_digest(SHA256.compute(CONTENT)),
    ]
    assert sorted(attrs) == attrs
    # signed as sorted, sent unsorted: what Bouncy Castle accepts
    der = make(alice)
    swapped = der.replace(attrs[0] + attrs[1], attrs[1] + attrs[0])
    assert swapped != der
    result = check(swapped)
    assert result.valid
    assert codes(result.findings) == ["cms.attributes.not-der"]
    # signed as sent, unsorted: what OpenSSL accepts
    result = check(make(alice, attrs=lambda s: [s[1], s[0]], unsorted=True))
    assert result.valid
    assert codes(result.findings) == ["cms.attributes.not-der"]


def test_without_attributes_the_signature_is_over_the_content(alice: Identity) -> None:
    der = make(alice, with_attributes=False)
    assert check(der).findings == ()
    assert check(der, CONTENT + b"x").valid is False


def test_a_large_content_is_not_hashed_for_every_signer_anew(alice: Identity) -> None:
    """Without attributes every check digests the content: all are paid for out of one budget."""
    content = b"x" * (1 << 20)
    one = signed_data.read(make(alice, content=content, with_attributes=False))
    budget = Budget(len(content))
    found = [
        signature_check.check(
            one, one.signers[0]._replace(index=index), content, policy=EXCHANGE, budget=budget
        )
        for index in range(200)
    ]
    checked = [check.valid for check in found].count(True)
    assert 20 < checked < 150
    assert [check.valid for check in found] == [True] * checked + [None] * (200 - checked)
    for check in found[checked:]:
        assert codes(check.findings) == ["smime.limit"]
        assert check.intact is None
        assert "signatures 100 %" in check.findings[0].text


def test_attributes_cannot_be_moved_into_the_content(alice: Identity) -> None:
    """draft-ietf-lamps-cms-euf-cma-signeddata: attributes of one message as content of another."""
    usual = [
        attributes.content_type(oids.DATA),
        attributes.message_digest(SHA256.compute(CONTENT)),
    ]
    filler = attributes.attribute("1.2.3.4", ber.octet_string(b"x" * 70_000))
    many = [attributes.attribute(f"1.2.3.{number}", ber.null()) for number in range(5000)]
    within = ber.octet_string(b"")
    for _ in range(ber.MAX_DEPTH + 1):
        within = b"\x30\x80" + within + b"\0\0"
    for moved in (
        ber.set_of(*usual),
        ber.set_of(*usual, filler),
        ber.set_of(*usual, *many),
        ber.set_of(usual[1]),  # of a countersignature
        ber.set_of(usual[1], attributes.signing_certificate_v2(alice.certificate)),
        b"\x31\x80" + b"".join(usual) + b"\0\0",
        # what only some readers can take apart
        ber.set_of(*usual, attributes.attribute("1.2.3.4", within)),
        ber.set_of(*usual, b"\x30\x00"),
        ber.set_of(usual[0], ber.sequence(ber.oid(oids.MESSAGE_DIGEST), ber.null(), ber.null())),
    ):
        forged = make(alice, content=moved, with_attributes=False)
        (found,) = check(forged).findings
        assert (found.code, found.severity) == ("cms.attributes.confusable", Severity.ERROR)
        # signed in a message of its own it is harmless
        assert check(make(alice, content=moved)).findings == ()


def test_content_that_begins_like_a_set_is_no_set(alice: Identity) -> None:
    for content in (b"1: a header\r\n\r\nhello\r\n", ber.set_of(ber.integer(1))):
        assert check(make(alice, content=content, with_attributes=False)).findings == ()


def test_a_weak_digest_is_refused_and_flagged_by_the_archive(alice_rsa: Identity) -> None:
    scheme = by_name(SignatureScheme, "rsassa-pkcs1v15")
    to_be_signed = ber.set_of(
        attributes.content_type(oids.DATA), attributes.message_digest(SHA1.compute(CONTENT))
    )
    assert scheme.sign is not None
    info = ber.sequence(
        ber.integer(1),
        alice_rsa.certificate.issuer_and_serial,
        parameters.write_digest(SHA1),
        b"\xa0" + to_be_signed[1:],
        parameters.write_signature(scheme, SHA1),
        ber.octet_string(scheme.sign(alice_rsa.private_key, to_be_signed, SHA1)),
    )
    der = content_info(
        oids.SIGNED_DATA,
        [
            ber.integer(1),
            ber.set_of(parameters.write_digest(SHA1)),
            ber.sequence(ber.oid(oids.DATA), ber.context(0, ber.octet_string(CONTENT))),
            ber.tlv(0xA0, alice_rsa.certificate.der),
            ber.set_of(info),
        ],
    )
    assert codes(check(der).findings) == ["alg.refused"]
    archived = check(der, policy=ARCHIVE)
    assert archived.valid
    assert codes(archived.findings) == ["alg.weak"]


@pytest.mark.parametrize("name", ["md5", "sha1"])
@pytest.mark.parametrize("pss", [False, True])
def test_a_weak_digest_that_only_the_scheme_names_is_refused(
    alice_rsa: Identity, name: str, pss: bool
) -> None:
    digest = by_name(Digest, name)
    scheme = by_name(SignatureScheme, "rsassa-pss" if pss else "rsassa-pkcs1v15")
    oid = next(oid for oid, fixed in scheme.by_oid.items() if pss or fixed == name)
    identifier = parameters.write_signature(scheme, digest) if pss else ber.sequence(ber.oid(oid))
    assert scheme.sign is not None
    info = ber.sequence(
        ber.integer(1),
        alice_rsa.certificate.issuer_and_serial,
        parameters.write_digest(SHA256),
        identifier,
        ber.octet_string(scheme.sign(alice_rsa.private_key, CONTENT, digest)),
    )
    der = content_info(
        oids.SIGNED_DATA,
        [
            ber.integer(1),
            ber.set_of(parameters.write_digest(SHA256)),
            ber.sequence(ber.oid(oids.DATA), ber.context(0, ber.octet_string(CONTENT))),
            ber.tlv(0xA0, alice_rsa.certificate.der),
            ber.set_of(info),
        ],
    )
    assert codes(check(der).findings) == ["alg.refused"]
    old = check(der, policy=ARCHIVE)
    assert (old.valid, codes(old.findings)) == (True, ["alg.weak"])


def test_an_unknown_algorithm_is_not_a_bad_signature(alice: Identity, now: datetime) -> None:
    der, _ = signed_data.sign(CONTENT, [alice], detached=True, policy=EXCHANGE, at=now)
    unknown = der.replace(ber.oid(oids.ECDSA_WITH_SHA256), ber.oid("1.2.840.10045.4.3.127"))
    result = check(unknown, CONTENT)
    assert codes(result.findings) == ["alg.unsupported"]
    assert result.valid is None


def test_without_the_certificate_nothing_is_valid(alice: Identity) -> None:
    result = check(make(alice, certificates=b""))
    assert codes(result.findings) == ["cms.signer.certificate-missing"]
    assert result.valid is None
    signed = signed_data.read(make(alice, certificates=b""))
    assert signed.content is not None
    again = signature_check.check(
        signed,
        signed.signers[0],
        signed.content,
        policy=EXCHANGE,
        certificates=[alice.certificate],
    )
    assert again.valid


def test_old_kinds_of_certificates_are_skipped(alice: Identity) -> None:
    """RFC 8550 2.2: PKCS#6 and attribute certificates are parsed and not used."""
    others = ber.tlv(0xA0, b"") + ber.tlv(0xA1, ber.integer(5)) + ber.tlv(0xA2, b"")
    assert check(make(alice, certificates=others + alice.certificate.der)).valid


def for_pss_alone(identity: Identity, digest: Digest, mask: Digest, salt: int) -> Identity:
    """The same key in a certificate that restricts it; nobody here asks who signed that."""
    mgf = ber.sequence(ber.oid(oids.MGF1), parameters.write_digest(mask))
    limits = ber.sequence(  # DER has no defaults
        b"" if digest is SHA1 else ber.context(0, parameters.write_digest(digest)),
        b"" if mask is SHA1 else ber.context(1, mgf),
        b"" if salt == 20 else ber.context(2, ber.integer(salt)),
    )
    tbs, *outer = ber.read(identity.certificate.der, "Certificate")
    elements = [element.raw for element in tbs]
    where = elements.index(identity.certificate.public_key_info)
    _, key = ber.read(elements[where], "SubjectPublicKeyInfo")
    elements[where] = ber.sequence(ber.sequence(ber.oid(oids.RSASSA_PSS), limits), key.raw)
    der = ber.sequence(ber.sequence(*elements), *(element.raw for element in outer))
    return replace(identity, certificate=Certificate(der))


def test_a_key_for_pss_alone_signs_as_its_certificate_says(
    alice_rsa: Identity, now: datetime
) -> None:
    alice = for_pss_alone(alice_rsa, SHA384, SHA384, 40)
    der, digests = signed_data.sign(CONTENT, [alice], detached=False, policy=EXCHANGE, at=now)
    assert digests == [SHA384]
    assert check(der).valid
    for odd in (
        for_pss_alone(alice_rsa, SHA256, SHA384, 32),
        for_pss_alone(alice_rsa, SHA256, SHA256, 33),
        for_pss_alone(alice_rsa, SHA1, SHA1, 20),
    ):
        with pytest.raises(UnsupportedAlgorithm, match="parameters of the signing key"):
            signed_data.sign(CONTENT, [odd], detached=False, policy=EXCHANGE, at=now)


@pytest.mark.parametrize(
    ("digest", "mask", "salt", "valid"),
    [
        (SHA256, SHA256, 32, True),
        (SHA256, SHA256, 20, True),
        (SHA256, SHA256, 33, False),
        (SHA384, SHA256, 20, False),
        (SHA256, SHA384, 20, False),
    ],
)
def test_a_signature_keeps_to_what_a_key_for_pss_alone_allows(
    alice_rsa: Identity, digest: Digest, mask: Digest, salt: int, valid: bool
) -> None:
    alice = for_pss_alone(alice_rsa, digest, mask, salt)
    assert check(make(alice, scheme_name="rsassa-pss")).valid is valid


def test_a_key_that_cannot_sign_is_named(ca: CA, now: datetime) -> None:
    reader = ca.issue("alice@contoso.com", key="x25519", use="encrypt", at=now)
    with pytest.raises(UnsupportedAlgorithm, match=r"signing key of CN=alice@contoso.com"):
        signed_data.sign(CONTENT, [reader], detached=True, policy=EXCHANGE, at=now)


def test_ski_identifies_the_signer(alice: Identity, now: datetime) -> None:
    der, _ = signed_data.sign(CONTENT, [alice], detached=True, policy=EXCHANGE, at=now, sid="ski")
    signed = signed_data.read(der)
    assert signed.version == 3
    assert signed.signers[0].key_identifier == alice.certificate.subject_key_identifier
    assert check(der, CONTENT).valid


def test_every_certificate_with_the_identifier_is_tried(
    ca: CA, alice: Identity, now: datetime
) -> None:
    """RFC 8551 2.6: two certificates may have the same subjectKeyIdentifier."""
    from cryptography import x509

    der, _ = signed_data.sign(CONTENT, [alice], detached=True, policy=EXCHANGE, at=now, sid="ski")
    ski = alice.certificate.subject_key_identifier
    assert ski is not None
    twin = ca.issue(
        "twin@contoso.com",
        key="p256",
        at=now,
        extensions=[
            x509.Extension(x509.SubjectKeyIdentifier.oid, False, x509.SubjectKeyIdentifier(ski))
        ],
    )
    assert twin.certificate.subject_key_identifier == ski
    signed = signed_data.read(der)
    only_twin = signed_data.SignedData(
        signed.version,
        signed.digest_algorithms,
        signed.content_type,
        None,
        (twin.certificate, alice.certificate),
        (),
        signed.signers,
    )
    result = signature_check.check(only_twin, signed.signers[0], CONTENT, policy=EXCHANGE)
    assert result.valid
    assert result.certificate == alice.certificate


@pytest.mark.parametrize("year", [2049, 2050])
def test_signing_time_changes_its_type_in_2050(alice: Identity, year: int) -> None:
    at = datetime(year, 6, 1).astimezone()
    der, _ = signed_data.sign(CONTENT, [alice], detached=True, policy=EXCHANGE, at=at)
    assert check(der, CONTENT).signing_time == at - timedelta(microseconds=at.microsecond)


@pytest.mark.parametrize(
    ("salt", "read"), [(0, True), (1024, True), (1025, False), (-1, False), (2**40, False)]
)
def test_the_salt_of_pss_is_bounded(salt: int, read: bool) -> None:
    """No key has room for more, and what allocates it would be told by a stranger."""
    value = ber.sequence(ber.context(2, ber.integer(salt)))
    node = ber.read(ber.sequence(ber.oid(oids.RSASSA_PSS), value), "signatureAlgorithm")
    identifier = AlgorithmIdentifier.read(node, "x")
    if read:
        assert parameters.read_pss(identifier, "x").salt == salt
        return
    with pytest.raises(MalformedMessage, match=f"x: PSS salt of {salt} octets"):
        parameters.read_pss(identifier, "x")


def test_100_signers_are_read_and_101_are_not(
    alice: Identity, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signed_by(number: int) -> bytes:
        made, _ = signed_data.sign(
            CONTENT, [alice] * number, detached=False, policy=EXCHANGE, at=now
        )
        return made

    assert len(signed_data.read(signed_by(100)).signers) == 100
    with pytest.raises(UsageError, match="101 signers, at most 100 are read"):
        signed_by(101)
    with monkeypatch.context() as patch:
        patch.setattr(signed_data, "MAX_SIGNERS", 101)  # as another program may write it
        many = signed_by(101)
    with pytest.raises(MalformedMessage, match="101 signers, at most 100 are read"):
        signed_data.read(many)


def test_algorithm_protection_names_a_signature_or_a_mac_and_not_both(alice: Identity) -> None:
    """RFC 6211 2: exactly one of signatureAlgorithm [1] and macAlgorithm [2]."""
    digest = parameters.write_digest(SHA256)
    signature = parameters.write_signature(by_name(SignatureScheme, "ecdsa"), SHA256)
    mac = ber.sequence(ber.oid("1.2.840.113549.2.9"))
    named, by_mac = ber.context(1, signature[2:]), ber.context(2, mac[2:])

    def found(*which: bytes) -> list[str]:
        value = ber.sequence(digest, *which)
        attribute = ber.sequence(ber.oid(oids.CMS_ALGORITHM_PROTECTION), ber.set_of(value))
        return codes(check(make(alice, attrs=lambda s: [*s, attribute])).findings)

    assert found(named) == []
    for wrong in ((named, by_mac), (by_mac,), ()):
        assert found(*wrong) == ["cms.attributes.algorithm-protection"]


def in_every_order(der: bytes) -> list[bytes]:
    """The SignedData with its certificates in each order that they can have."""
    elements = list(read_content_info(der)[1])
    parts: list[bytes | memoryview] = [one.raw for one in elements]
    return [
        content_info(oids.SIGNED_DATA, [*parts[:3], ber.tlv(0xA0, *order), *parts[4:]])
        for order in itertools.permutations(one.raw for one in elements[3])
    ]


@pytest.fixture(scope="module")
def below_two(ca: CA, now: datetime) -> Identity:
    """Somebody with two authorities between the root and himself."""
    upper = ca.create_intermediate("Upper", key="p256", path_length=1, at=now)
    return upper.create_intermediate("Lower", key="rsa-2048").issue(
        "alice@contoso.com", key="rsa-4096"
    )


def certificates_of(der: bytes) -> list[bytes]:
    return [one.raw for one in list(read_content_info(der)[1])[3]]


def test_certificates_stand_in_the_order_of_der(
    alice: Identity, bob: Identity, below_two: Identity, now: datetime
) -> None:
    """X.690 11.6: for readers that take nothing but DER, as @blamejs/pki and Windows' wintrust."""
    der, _ = signed_data.sign(CONTENT, [below_two], detached=False, policy=EXCHANGE, at=now)
    found = certificates_of(der)
    assert len(found) == 3
    assert found == sorted(found)
    assert found[0] != below_two.certificate.der, "the case that a leaf in front would hide"
    several, _ = signed_data.sign(
        CONTENT, [below_two, alice], detached=False, policy=EXCHANGE, at=now
    )
    for made in (
        several,
        signed_data.carry([below_two.certificate, alice.certificate, bob.certificate]),
        countersign(der, signer=bob, policy=EXCHANGE, at=now),
    ):
        assert certificates_of(made) == sorted(certificates_of(made))
        assert read_content_info(made)[1].children()[3].raw[:1] == b"\xa0"


def test_a_countersignature_that_adds_no_certificate_leaves_their_order(
    alice: Identity, below_two: Identity, now: datetime
) -> None:
    der, _ = signed_data.sign(CONTENT, [below_two, alice], detached=False, policy=EXCHANGE, at=now)
    for one in in_every_order(der)[:4]:
        again = countersign(one, signer=alice, policy=EXCHANGE, at=now)
        assert certificates_of(again) == certificates_of(one)


def test_readers_find_the_signer_wherever_the_certificate_stands(
    below_two: Identity, trust: TrustStore, now: datetime, tmp_path: Path
) -> None:
    """cryptography#8127: no order may keep a reader from the chain; openssl is one, we another."""
    der, _ = signed_data.sign(CONTENT, [below_two], detached=False, policy=EXCHANGE, at=now)
    orders = in_every_order(der)
    assert der in orders
    assert len(orders) == 6
    for one in orders:
        opened = verify(one, trust=trust, sender="alice@contoso.com", at=now)
        assert opened.signer.certificate == below_two.certificate
    if (openssl := which("openssl")) is None:
        pytest.skip("openssl is not installed")
    root = tmp_path / "root.pem"
    root.write_bytes(trust.anchors[0].x509.public_bytes(Encoding.PEM))
    for one in orders:
        done = subprocess.run(
            [openssl, "cms", "-verify", "-binary", "-inform", "DER", "-CAfile", str(root)]
            + ["-attime", str(int(now.timestamp()) + 60)],
            input=one,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == CONTENT


@pytest.mark.parametrize("octets", [0, 13, 32, 64, 109, 110, 111, 127, 128, 300])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_an_attribute_costs_and_gives_the_same_in_whatever_form_it_is(
    octets: int, count: int
) -> None:
    """Short ones are known by what they begin with; the same in indefinite lengths never are."""
    values = [ber.octet_string(bytes([n]) * octets) for n in range(1, count + 1)]
    types = (oids.MESSAGE_DIGEST, oids.SIGNING_CERTIFICATE_V2, oids.MESSAGE_DIGEST)
    short = [ber.sequence(ber.oid(oid), ber.set_of(*values)) for oid in types]
    long = [b"\x30\x80" + ber.oid(oid) + b"\x31\x80" + b"".join(values) + bytes(4) for oid in types]
    for number in (1, 2, 3):
        found = []
        for form in (short, long):
            node = ber.read(ber.context(0, *form[:number]), "signedAttrs", tag=0xA0)
            found.append(Attributes(node))
            assert found[-1].raws == form[:number]
            if form is short:  # the set, and of each attribute it, its type, its set and its values
                assert ber.MAX_ELEMENTS - node._source.left == 1 + number * (3 + count)
        one, other = found
        for oid in types:
            assert [v.raw for v in one.values(oid)] == [v.raw for v in other.values(oid)]
            assert [v.contents for v in one.values(oid)] == [v.contents for v in other.values(oid)]
            assert (oid in one.repeated) == (oid in other.repeated)
            single, same = one.single(oid), other.single(oid)
            is_once = types[:number].count(oid) == 1 and count == 1
            assert (single is not None) == is_once
            assert (None if single is None else single.raw) == (None if same is None else same.raw)
    budgets = [Budget(0), Budget(0)]
    for budget in budgets:  # the second time it is remembered
        budget.spend("digests", 1)
        Attributes(ber.read(ber.context(0, *short), "signedAttrs", tag=0xA0, budget=budget))
    assert budgets[0].spent == budgets[1].spent
