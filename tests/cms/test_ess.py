"""The attributes of RFC 2634 and RFC 5035: what is written is read, what is bad is noticed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smime_graph import examine, oids
from smime_graph.algorithms import SHA1, SHA256, SHA384
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info
from smime_graph.authority.issue import CA
from smime_graph.cms import attributes, ess, labels, signature_check, signed_data
from smime_graph.cms.attributes import attribute
from smime_graph.cms.ess import (
    ContentHints,
    ContentReference,
    Expansion,
    Receipt,
    Services,
)
from smime_graph.cms.labels import SecurityCategory, SecurityLabel
from smime_graph.cms.receipt_request import ReceiptRequest, new_identifier, write_request
from smime_graph.cms.signature_check import Check
from smime_graph.errors import MalformedMessage, UsageError
from smime_graph.findings import Finding, Severity, codes
from smime_graph.pki.identity import Identity
from smime_graph.pki.trust import TrustStore
from smime_graph.policy import EXCHANGE
from smime_graph.smime.report import MessageReport
from smime_graph.x509.certificate import Certificate
from tests.ess import content_identifier, content_reference, equivalent_labels, expansion_history

CONTENT = b"Content-Type: text/plain\r\n\r\nhello\r\n"
REQUEST = ReceiptRequest(("alice@contoso.com",), identifier=b"id")
LABEL = SecurityLabel(
    "1.3.6.1.4.1.99.1",
    classification=4,
    privacy_mark="für uns",
    categories=(SecurityCategory("1.2.3", value=b"\x05\x00"),),
)
LIST = ber.octet_string(b"the list's key identifier")
WHEN = datetime.fromisoformat("2026-11-22T12:00:00+00:00")


def read(*further: bytes) -> tuple[Services, list[Finding]]:
    """What `ess.read` makes of these attributes and a contentType."""
    der = ber.set_of(attributes.content_type(oids.DATA), *further)
    parsed = attributes.Attributes(ber.read(der, "attributes", tag=ber.SET))
    return ess.read(parsed, b"the signature", SHA256, "signer 0")


def signed(who: Identity, at: datetime, *further: bytes) -> bytes:
    return signed_data.sign(
        CONTENT, [who], detached=False, policy=EXCHANGE, at=at, further=further
    )[0]


ReportOn = Callable[..., MessageReport]


@pytest.fixture(scope="session")
def report_on(alice: Identity, trust: TrustStore, now: datetime) -> ReportOn:
    """The report on a message that Alice signed with further attributes."""

    def report_on(*further: bytes) -> MessageReport:
        raw = signed(alice, now, *further)
        return examine(raw, trust=trust, sender="alice@contoso.com", at=now)

    return report_on


# --- written and read ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    [
        REQUEST,
        ReceiptRequest(("a@x.com", "b@x.com"), from_="first-tier", identifier=b"\x00\xff"),
        ReceiptRequest(("a@x.com",), from_=("bob@x.com", "carol@x.com"), identifier=b"id"),
        ReceiptRequest(("møller@x.com",), from_=("ünal@xn--tst-qla.com",), identifier=b"id"),
        ReceiptRequest(("a@x.com",), from_=(), identifier=b"id", from_names=(ber.sequence(),)),
    ],
)
def test_a_receipt_request_is_read_as_it_was_written(wanted: ReceiptRequest) -> None:
    services, found = read(write_request(wanted))
    assert services.receipt_request == wanted
    assert found == []


def test_a_receipt_request_is_exact_to_the_byte() -> None:
    made = write_request(ReceiptRequest(("a@b",), from_="first-tier", identifier=b"id"))
    assert made == bytes.fromhex(
        "3021 060b2a864886f70d0109100201 3112 3010 04026964 800101 3007 3005 8103614062"
    )


@pytest.mark.parametrize(
    "label",
    [
        LABEL,
        SecurityLabel("1.2.3"),
        SecurityLabel("2.999.1", classification=0),
        SecurityLabel("1.2.3", classification=256, privacy_mark="x"),
    ],
)
def test_a_label_is_read_as_it_was_written(label: SecurityLabel) -> None:
    services, found = read(labels.security_label(label))
    assert services.label == label
    assert found == []


def test_a_label_is_exact_to_the_byte() -> None:
    label = SecurityLabel(
        "1.2.3",
        classification=4,
        privacy_mark="x",
        categories=(SecurityCategory("1.2.4", value=b"\x05\x00"),),
    )
    made = labels.security_label(label)
    assert made[-24:] == bytes.fromhex("3116 020104 06022a03 0c0178 310a 3008 80022a04 a1020500")


def test_a_label_of_another_writer_is_read_in_any_order() -> None:
    mark = ber.tlv(0x13, b"EYES ONLY")  # PrintableString
    value = ber.tlv(ber.SET, mark, ber.oid("1.2.3"), ber.integer(11))
    services, found = read(attribute(oids.SECURITY_LABEL, value))
    assert services.label == SecurityLabel("1.2.3", classification=11, privacy_mark="EYES ONLY")
    assert found == []


def test_a_label_says_what_it_is_in_words_without_steering_a_terminal() -> None:
    label = SecurityLabel(
        "1.2.3", classification=4, privacy_mark="a\x1b[2Jb", categories=LABEL.categories
    )
    assert str(label) == ("policy 1.2.3, classification secret, mark 'a\ufffd[2Jb', 1 categories")
    assert str(SecurityLabel("1.2.3", classification=11)) == "policy 1.2.3, classification 11"


def test_the_other_attributes_are_read_as_they_were_written() -> None:
    reference = ContentReference(oids.DATA, b"first", b"its signature")
    hints = ContentHints(oids.RECEIPT, "about \N{SNOWMAN}")
    equivalents = (SecurityLabel("1.2.4", classification=1), SecurityLabel("1.2.5"))
    services, found = read(
        content_identifier(b"me"),
        content_reference(reference),
        ess.content_hints(hints),
        ess.message_signature_digest(b"\x01" * 32),
        equivalent_labels(equivalents),
    )
    assert services == Services(
        content_identifier=b"me",
        content_reference=reference,
        content_hints=hints,
        message_signature_digest=b"\x01" * 32,
        equivalent_labels=equivalents,
    )
    assert found == []
    assert read(ess.content_hints(ContentHints(oids.DATA)))[0].content_hints == ContentHints(
        oids.DATA
    )


@pytest.mark.parametrize(
    "expansions",
    [
        (Expansion(LIST, WHEN),),
        (Expansion(LIST, WHEN, "none"), Expansion(LIST, WHEN, "instead-of", ("a@x.com",))),
        (
            Expansion(
                ber.sequence(ber.sequence(), ber.integer(7)), WHEN, "in-addition-to", ("b@x",)
            ),
        ),
    ],
)
def test_a_mailing_list_history_is_read_as_it_was_written(
    expansions: tuple[Expansion, ...],
) -> None:
    services, found = read(expansion_history(expansions))
    assert services.expansions == expansions
    assert found == []


def test_a_request_comes_with_what_its_receipt_must_hold() -> None:
    request = write_request(REQUEST)
    confirmation = read(request)[0].confirmation
    assert confirmation is not None
    assert confirmation.receipt == Receipt(oids.DATA, b"id", b"the signature")
    content_type = attributes.content_type(oids.DATA)
    assert confirmation.message_signature_digest == SHA256.compute(
        ber.set_of(content_type, request)
    )
    assert ess.read_receipt(confirmation.receipt.der) == confirmation.receipt


def test_new_identifiers_differ_and_name_user_and_time() -> None:
    one, other = (new_identifier("alice@contoso.com", WHEN) for _ in range(2))
    assert one != other
    assert one.startswith(b"alice@contoso.com 20261122120000Z ")


# --- not written --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (ReceiptRequest(("a@x",)), "no identifier"),
        (ReceiptRequest((), identifier=b"id"), "0 addresses"),
        (ReceiptRequest(("a@x",) * 17, identifier=b"id"), "17 addresses"),
        (ReceiptRequest(("a@x",), from_=(), identifier=b"id"), "asks nobody"),
        (ReceiptRequest(("nobody",), identifier=b"id"), "no mail address"),
        (ReceiptRequest(("a@x\r\nBcc: b@x",), identifier=b"id"), "no mail address"),
        (ReceiptRequest(("a@münchen.de",), identifier=b"id"), "not in ASCII"),
    ],
)
def test_a_request_that_cannot_be_made_is_refused(wanted: ReceiptRequest, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        write_request(wanted)


def test_nobody_is_asked_who_is_neither_all_nor_named() -> None:
    with pytest.raises(UsageError, match="from_ of ReceiptRequest is 'everybody', wanted 'all'"):
        ReceiptRequest(("a@x",), from_="everybody", identifier=b"id")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "label",
    [
        SecurityLabel("secret"),
        SecurityLabel("1.-5.3"),
        SecurityLabel("1.40.3"),
        SecurityLabel("1.2"),
        SecurityLabel("1.2.3", classification=257),
        SecurityLabel("1.2.3", classification=-1),
        SecurityLabel("1.2.3", classification=1, privacy_mark=""),
        SecurityLabel("1.2.3", categories=LABEL.categories * 65),
        SecurityLabel("1.2.3", categories=(SecurityCategory("1.2.3", value=b"\x05\x01"),)),
        SecurityLabel("1.2.3", categories=(SecurityCategory("1.2.3", value=b""),)),
    ],
)
def test_a_label_that_cannot_be_made_is_refused(label: SecurityLabel) -> None:
    with pytest.raises(UsageError):
        labels.security_label(label)


# --- malformed ----------------------------------------------------------------------------

_ID = ber.octet_string(b"id")
_TO = ber.sequence(ber.sequence(ber.tlv(0x81, b"a@x")))
_ALL = ber.tlv(0x80, b"\0")
_TIME = ber.tlv(ber.GENERALIZED_TIME, b"20261122120000Z")
_CATEGORY = ber.sequence(ber.tlv(0x80, b"\x2a\x03"), ber.context(1, ber.null()))


@pytest.mark.parametrize(
    ("oid", "value", "severity"),
    [
        (oids.RECEIPT_REQUEST, ber.null(), "warning"),
        (oids.RECEIPT_REQUEST, ber.sequence(_ID, _ALL), "warning"),
        (oids.RECEIPT_REQUEST, ber.sequence(_ID, _ALL, ber.sequence()), "warning"),
        (oids.RECEIPT_REQUEST, ber.sequence(_ID, ber.tlv(0x80, b"\2"), _TO), "warning"),
        (oids.RECEIPT_REQUEST, ber.sequence(_ID, ber.tlv(0x82, b"\0"), _TO), "warning"),
        (oids.RECEIPT_REQUEST, ber.sequence(_ID, _ALL, ber.sequence(*[_TO[2:]] * 17)), "warning"),
        (oids.RECEIPT_REQUEST, ber.sequence(_ID, _ALL, _TO, ber.null()), "warning"),
        (
            oids.RECEIPT_REQUEST,
            ber.sequence(_ID, _ALL, ber.sequence(ber.sequence(ber.tlv(0x81, b"\xff@x")))),
            "warning",
        ),
        (oids.SECURITY_LABEL, ber.sequence(ber.oid("1.2.3")), "error"),
        (oids.SECURITY_LABEL, ber.set_of(), "error"),
        (oids.SECURITY_LABEL, ber.set_of(ber.integer(1)), "error"),
        (oids.SECURITY_LABEL, ber.set_of(ber.oid("1.2.3"), ber.integer(257)), "error"),
        (oids.SECURITY_LABEL, ber.set_of(ber.oid("1.2.3"), ber.oid("1.2.4")), "error"),
        (oids.SECURITY_LABEL, ber.set_of(ber.oid("1.2.3"), ber.null()), "error"),
        (oids.SECURITY_LABEL, ber.set_of(ber.oid("1.2.3"), ber.set_of()), "error"),
        (
            oids.SECURITY_LABEL,
            ber.set_of(ber.oid("1.2.3"), ber.set_of(*[_CATEGORY] * 65)),
            "error",
        ),
        (oids.SECURITY_LABEL, ber.set_of(ber.oid("1.2.3"), ber.tlv(0x0C, b"\xff")), "error"),
        (oids.EQUIVALENT_LABELS, ber.sequence(), "warning"),
        (oids.EQUIVALENT_LABELS, ber.sequence(ber.null()), "warning"),
        (oids.ML_EXPANSION_HISTORY, ber.sequence(), "error"),
        (oids.ML_EXPANSION_HISTORY, ber.sequence(ber.sequence(LIST)), "error"),
        (oids.ML_EXPANSION_HISTORY, ber.sequence(ber.sequence(ber.null(), _TIME)), "error"),
        (oids.ML_EXPANSION_HISTORY, ber.sequence(*[ber.sequence(LIST, _TIME)] * 65), "error"),
        (
            oids.ML_EXPANSION_HISTORY,
            ber.sequence(ber.sequence(LIST, _TIME, ber.tlv(0xA3))),
            "error",
        ),
        (oids.CONTENT_HINTS, ber.sequence(), "warning"),
        (oids.CONTENT_REFERENCE, ber.sequence(ber.oid(oids.DATA), _ID), "warning"),
        (oids.CONTENT_IDENTIFIER, ber.integer(1), "warning"),
        (oids.MESSAGE_SIGNATURE_DIGEST, ber.sequence(), "warning"),
    ],
)
def test_what_cannot_be_read_is_no_value_but_a_finding(
    report_on: ReportOn, oid: str, value: bytes, severity: str
) -> None:
    report = report_on(attribute(oid, value))
    found = [item for item in report.findings if item.code == "cms.ess.malformed"]
    assert [str(item.severity) for item in found] == [severity]
    assert report.signers[0].services == Services()
    # what was to restrict who may see or answer the message is not read around
    assert report.accepted is (severity == "warning")


@pytest.mark.parametrize("oid", [oids.RECEIPT_REQUEST, oids.SECURITY_LABEL, oids.CONTENT_HINTS])
def test_an_attribute_that_is_there_twice_is_an_error(report_on: ReportOn, oid: str) -> None:
    one = {
        oids.RECEIPT_REQUEST: write_request(REQUEST),
        oids.SECURITY_LABEL: labels.security_label(LABEL),
        oids.CONTENT_HINTS: ess.content_hints(ContentHints(oids.DATA)),
    }[oid]
    assert report_on(one).accepted
    for report in (report_on(one, one), report_on(attribute(oid)), report_on(_doubled(one))):
        assert "cms.attributes.duplicate" in codes(report.errors)
        assert report.signers[0].services == Services()


def _doubled(one: bytes) -> bytes:
    """The same attribute with two values instead of one."""
    oid, values = ber.read(one, "Attribute")
    other = ber.null()
    return ber.sequence(oid.raw, ber.set_of(next(iter(values)).raw, other))


@pytest.mark.parametrize(
    ("further", "is_error"),
    [
        (write_request(REQUEST), True),
        (labels.security_label(LABEL), True),
        (equivalent_labels([LABEL]), True),
        (expansion_history([Expansion(LIST, WHEN)]), True),
        (ess.message_signature_digest(b"x"), True),
        (content_reference(ContentReference(oids.DATA, b"a", b"b")), True),
        (ess.content_hints(ContentHints(oids.DATA)), False),
        (content_identifier(b"id"), False),
    ],
)
def test_what_must_be_signed_is_an_error_where_it_is_not(
    alice: Identity, trust: TrustStore, now: datetime, further: bytes, is_error: bool
) -> None:
    from smime_graph.harness.forgeries.craft import add_unsigned

    oid, values = ber.read(further, "Attribute")
    raw = add_unsigned(signed(alice, now), oid.as_oid(), next(iter(values)).raw)
    report = examine(raw, trust=trust, sender="alice@contoso.com", at=now)
    assert ("cms.attributes.malformed" in codes(report.errors)) is is_error
    assert report.signers[0].services == Services()


def test_equivalent_labels_of_one_policy_are_ignored(report_on: ReportOn) -> None:
    same = attribute(
        oids.EQUIVALENT_LABELS,
        ber.sequence(ber.set_of(ber.oid("1.2.3")), ber.set_of(ber.oid("1.2.3"))),
    )
    other = equivalent_labels([SecurityLabel(LABEL.policy, classification=1)])
    for report in (report_on(same), report_on(labels.security_label(LABEL), other)):
        assert "cms.ess.inconsistent" in codes(report.findings)
        assert report.signers[0].services.equivalent_labels == ()


def test_a_signature_that_is_not_good_has_no_services(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    raw = signed(alice, now, labels.security_label(LABEL), write_request(REQUEST))
    changed = raw.replace(b"hello", b"jello")
    report = examine(changed, trust=trust, at=now)
    assert report.signers[0].intact is False
    assert report.signers[0].services == Services()
    assert report.labels == ()


@pytest.mark.parametrize(
    "der",
    [
        b"",
        ber.null(),
        ber.sequence(ber.integer(2), ber.oid(oids.DATA), _ID, _ID),
        ber.sequence(ber.integer(1), ber.oid(oids.DATA), _ID),
        ber.sequence(ber.integer(1), ber.oid(oids.DATA), _ID, _ID, _ID),
        Receipt(oids.DATA, b"id", b"sig").der + b"\0",
    ],
)
def test_what_is_no_receipt_is_malformed(der: bytes) -> None:
    with pytest.raises(MalformedMessage):
        ess.read_receipt(der)


_VALUES = st.one_of(
    st.binary(max_size=40).map(ber.sequence),
    st.binary(max_size=40).map(lambda octets: ber.tlv(ber.SET, octets)),
    st.binary(max_size=40).map(ber.octet_string),
    st.tuples(st.sampled_from([2, 4, 6, 12, 24, 48, 49, 128, 129, 160, 161]), st.binary(max_size=8))
    .map(lambda pair: ber.tlv(*pair))
    .flatmap(lambda one: st.lists(st.just(one), max_size=4))
    .map(lambda many: ber.sequence(*many)),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    oid=st.sampled_from(
        [
            oids.RECEIPT_REQUEST,
            oids.SECURITY_LABEL,
            oids.ML_EXPANSION_HISTORY,
            oids.CONTENT_HINTS,
            oids.MESSAGE_SIGNATURE_DIGEST,
            oids.CONTENT_IDENTIFIER,
            oids.EQUIVALENT_LABELS,
            oids.CONTENT_REFERENCE,
            oids.SIGNING_CERTIFICATE,
            oids.SIGNING_CERTIFICATE_V2,
        ]
    ),
    value=_VALUES,
)
def test_any_octets_as_an_attribute_are_reported_and_never_raised(
    report_on: ReportOn, oid: str, value: bytes
) -> None:
    report = report_on(attribute(oid, value))
    assert report.error is None
    assert report.layers


# --- signing certificates, RFC 5035 -------------------------------------------------------


def check(der: bytes, *certificates: Certificate) -> Check:
    found = signed_data.read(der)
    assert found.content is not None
    return signature_check.check(
        found, found.signers[0], found.content, policy=EXCHANGE, certificates=certificates
    )


def cert_id(certificate: Certificate, *, algorithm: bytes = b"", digest=SHA256) -> bytes:  # type: ignore[no-untyped-def]
    names = ber.sequence(ber.context(4, certificate.issuer))
    return ber.sequence(
        algorithm,
        ber.octet_string(digest.compute(certificate.der)),
        ber.sequence(names, certificate.serial),
    )


def hand_signed(who: Identity, *further: bytes, carried: tuple[Certificate, ...]) -> bytes:
    """SignedData by hand: no signingCertificate but what is given, and these certificates."""
    scheme, digest = signed_data.choose_scheme(who.certificate, EXCHANGE)
    info = signed_data.write_signer(
        who,
        scheme,
        digest,
        [
            attributes.content_type(oids.DATA),
            attributes.message_digest(digest.compute(CONTENT)),
            *further,
        ],
        "issuer",
    )
    return content_info(
        oids.SIGNED_DATA,
        [
            ber.integer(1),
            ber.set_of(),
            ber.sequence(ber.oid(oids.DATA), ber.context(0, ber.octet_string(CONTENT))),
            ber.tlv(0xA0, *(one.der for one in carried)),
            ber.set_of(info),
        ],
    )


def version_1(*identifiers: bytes, policies: bytes = b"") -> bytes:
    value = ber.sequence(ber.sequence(*identifiers), policies)
    return attribute(oids.SIGNING_CERTIFICATE, value)


def version_2(*identifiers: bytes, policies: bytes = b"") -> bytes:
    value = ber.sequence(ber.sequence(*identifiers), policies)
    return attribute(oids.SIGNING_CERTIFICATE_V2, value)


def algorithm(oid: str) -> bytes:
    return ber.sequence(ber.oid(oid))


def test_both_versions_of_signing_certificate_are_enforced(
    alice: Identity, mallory: Identity
) -> None:
    own, other, carried = alice.certificate, mallory.certificate, (alice.certificate,)
    good = [
        version_1(cert_id(own, digest=SHA1)),
        version_2(cert_id(own)),
        version_2(cert_id(own, algorithm=algorithm(oids.SHA256))),  # the default, spelt out
        version_2(cert_id(own, algorithm=algorithm(oids.SHA384), digest=SHA384)),
        version_2(ber.sequence(ber.octet_string(SHA256.compute(own.der)))),  # no issuerSerial
        version_2(cert_id(own), policies=ber.sequence(ber.sequence(ber.oid("1.2.3")))),
    ]
    for further in good:
        assert check(hand_signed(alice, further, carried=carried)).findings == ()
    mixed = ber.sequence(
        ber.octet_string(SHA256.compute(own.der)),
        ber.sequence(ber.sequence(ber.context(4, other.issuer)), other.serial),
    )
    bad = [
        version_1(cert_id(other, digest=SHA1)),
        version_1(cert_id(own)),  # version 1 is SHA-1, whatever the length
        version_2(cert_id(other)),
        version_2(cert_id(own, digest=SHA1)),
        version_2(cert_id(other), cert_id(own)),  # the first is the signer's
        version_2(mixed),
    ]
    for further in bad:
        result = check(hand_signed(alice, further, carried=carried))
        assert codes(result.findings) == ["cms.attributes.signing-certificate"]
        assert result.findings[0].severity is Severity.ERROR
    for further in (
        version_2(),
        version_2(cert_id(own), policies=ber.null()),
        version_2(*[cert_id(own)] * 33),
    ):
        result = check(hand_signed(alice, further, carried=carried))
        # not understood is not the same as bad (RFC 5652 5.1)
        assert codes(result.findings) == ["cms.attributes.malformed"]
        assert result.findings[0].severity is Severity.WARNING
        assert (result.intact, result.valid) == (True, None)
        assert result.certificate == own
    unknown = version_2(cert_id(own, algorithm=algorithm("1.2.3.4")))
    result = check(hand_signed(alice, unknown, carried=carried))
    assert (codes(result.findings), result.valid) == (["alg.unsupported"], None)


def test_each_of_two_versions_must_name_the_signer(alice: Identity, mallory: Identity) -> None:
    one = version_1(cert_id(mallory.certificate, digest=SHA1))
    der = hand_signed(
        alice, one, version_2(cert_id(alice.certificate)), carried=(alice.certificate,)
    )
    assert codes(check(der).findings) == ["cms.attributes.signing-certificate"]


def test_a_certificate_with_the_same_key_does_not_take_the_place_of_the_one_named(
    ca: CA, alice: Identity, now: datetime
) -> None:
    # RFC 5035 2, case 2; the substitute has the same names and serial number
    serial = alice.certificate.serial_number
    substitute = ca.issue(
        "alice@contoso.com", key=alice.private_key, serial=serial, eku=None, at=now
    )
    assert substitute.certificate != alice.certificate
    further = version_2(cert_id(alice.certificate))
    for carried in (
        (substitute.certificate, alice.certificate),
        (alice.certificate, substitute.certificate),
    ):
        result = check(hand_signed(alice, further, carried=carried))
        assert result.certificate == alice.certificate
        assert result.findings == ()
    result = check(hand_signed(alice, further, carried=(substitute.certificate,)))
    assert result.valid
    assert codes(result.findings) == ["cms.attributes.signing-certificate"]


def test_a_signer_identifier_that_was_changed_does_not_hide_the_certificate_named(
    ca: CA, alice: Identity, now: datetime
) -> None:
    # RFC 5035 2, cases 2 and 4: sid is not signed, the attribute is
    renewed = ca.issue("alice@contoso.com", key=alice.private_key, at=now)
    der = hand_signed(renewed, version_2(cert_id(alice.certificate)), carried=())
    for known in ((alice.certificate,), (renewed.certificate, alice.certificate)):
        result = check(der, *known)
        assert (result.certificate, result.valid) == (alice.certificate, True)
        assert result.findings == ()
    assert codes(check(der).findings) == ["cms.signer.certificate-missing"]


def test_a_path_through_an_authority_that_the_signer_left_out_is_a_warning(
    ca: CA, trust: TrustStore, now: datetime
) -> None:
    below = ca.create_intermediate("Issuing", key="p256", at=now)
    other = ca.create_intermediate("Other", key="p256", at=now)
    dora = below.issue("dora@contoso.com", key="p256", at=now)
    carried = (dora.certificate, below.certificate)
    for named, wanted in (
        ([cert_id(dora.certificate)], []),
        ([cert_id(dora.certificate), cert_id(below.certificate)], []),
        (
            [cert_id(dora.certificate), cert_id(other.certificate)],
            ["cms.attributes.signing-certificate"],
        ),
    ):
        der = hand_signed(dora, version_2(*named), carried=carried)
        report = examine(der, trust=trust, sender="dora@contoso.com", at=now)
        assert report.accepted
        assert codes(report.findings) == wanted
