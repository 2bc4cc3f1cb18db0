"""The report on one certificate: every rule fires where it is broken, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import process_time
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import oids
from smime_graph.asn1 import ber
from smime_graph.authority import profile
from smime_graph.authority.family import Family, family
from smime_graph.authority.mutators import Mutator, sign_anew
from smime_graph.authority.pool import pool_key
from smime_graph.authority.recipes import ALICE, Leaf
from smime_graph.authority.variants import VARIANTS, Variant
from smime_graph.errors import MalformedMessage, UsageError
from smime_graph.findings import Severity
from smime_graph.harness.fitness import (
    RULES,
    FitnessFinding,
    FitnessReport,
    check_certificate,
    check_crl,
    check_ocsp,
)
from smime_graph.harness.profiles import PROFILES
from smime_graph.harness.rules import FitnessRule
from smime_graph.pki.revocation import Revocation
from smime_graph.x509.certificate import Certificate
from tests.conftest import NOW
from tests.harness.recipes import BREAKING, CHANGED, SOUND


def of_own(name: str, recipe: Any) -> Variant:
    return Variant(name, "own", "of this test", "-", recipe)


@pytest.fixture(scope="module")
def corp() -> Family:
    return family("corp", when=NOW, seed=7)


@pytest.fixture(scope="module")
def own() -> Family:
    breaking = [of_own(f"break {id_}", recipe) for id_, recipe in BREAKING.items()]
    sound = [of_own(f"sound {id_}", recipe) for id_, recipe in SOUND.items()]
    return family("corp", when=NOW, seed=7, variants=[*breaking, *sound])


def report_on(made: Family, variant: str) -> FitnessReport:
    identity = made[variant].identity
    return check_certificate(
        identity.certificate,
        chain=identity.chain,
        trust=made.trust,
        as_of=NOW,
        address=ALICE,
        revocation=Revocation(mode="hard", crls=tuple(made.crls.values()))
        if made[variant].variant.group == "revocation"
        else None,
    )


def errors(report: FitnessReport, profile: Any) -> dict[str, FitnessFinding]:
    found = report.against(profile)
    return {one.rule.id: one for one in found if one.severities[profile] is Severity.ERROR}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.id)
def test_a_variant_breaks_the_rule_that_it_says(corp: Family, variant: Variant) -> None:
    report = report_on(corp, variant.id)
    if variant.rule != "-":
        assert variant.rule in {one.rule.id for one in report.findings}
    else:
        # what a key is not for is no fault of a certificate, if it is for the other
        assert errors(report, "sbr-strict").keys() <= {"8550-4.4.2", "8551-2.3"}
        assert report.is_fit("sbr-strict")
    if variant.group != "revocation":
        assert (report.verdict("rfc8550", "sign") == "fails") == bool(variant.sign)
        assert (report.verdict("rfc8550", "encrypt") == "fails") == bool(variant.encrypt)


LEAF_RULES = [one for one in RULES if "certificate" in one.about or not one.about]


@pytest.mark.parametrize("rule", LEAF_RULES, ids=lambda r: r.id)
def test_one_certificate_breaks_the_rule_and_another_does_not(
    corp: Family, own: Family, rule: FitnessRule
) -> None:
    other = {
        "SBR-6.1.5-1": "rsa-1024",
        "SBR-7.1.3.2-1": "md5",
        "SBR-7.1.2.3-e1": "usage-none",
        "8550-4.4.1": "is-ca",
        "8551-2.3": "ed25519",
        "CLIENT-key": "ed25519",
        "CLIENT-subject": "subject-empty",
        "CLIENT-constraints": "names-within",
        "CLIENT-soon": "expires-soon",
        "CLIENT-capabilities": "rsa-2048",
        "8550-3-1": "address-none",
    }
    of_catalogue = {v.rule: v.id for v in reversed(VARIANTS)} | other
    if rule.id in CHANGED:
        anybody = corp["rsa-2048"].identity
        changed = sign_anew(anybody.certificate, anybody.private_key, changes=[CHANGED[rule.id]])
        broken = check_certificate(changed, as_of=NOW)
    elif rule.id in BREAKING:
        broken = report_on(own, f"break {rule.id}")
    else:
        broken = report_on(corp, of_catalogue[rule.id])
    assert rule.id in {one.rule.id for one in broken.findings}
    for name in {"", rule.id} & SOUND.keys():
        sound = report_on(own, f"sound {name}")
        found = [one for one in sound.findings if one.rule is rule and not one.where]
        if rule.id == "SBR-7.1.2.3-a2":  # the other profiles are told that it is not theirs
            found = [one for one in found if "sbr-strict" in one.severities]
        assert found == []


def test_a_sound_certificate_has_nothing_against_it_but_what_is_to_come(own: Family) -> None:
    report = report_on(own, "sound ")
    assert {one.rule.id for one in report.findings} <= {"SBR-7.1.2.3-a2", "SBR-CA-6"}
    for profile_ in set(PROFILES) - {"sbr-strict", "sbr-multipurpose", "sbr-legacy"}:
        assert (report.verdict(profile_, "sign"), report.verdict(profile_, "encrypt")) == (
            "fits",
            "fits",
        )
    assert {one.rule.id for one in report.coming} == {"SBR-CA-7"}
    assert report.is_fit("sbr-strict")


# --- authorities, CRLs, OCSP responses ------------------------------------------------------------


def an_authority(
    *more: x509.Extension[Any],
    subject: tuple[tuple[str, str], ...] = (
        (oids.COUNTRY_NAME, "XX"),
        (oids.ORGANIZATION_NAME, "Contoso"),
        (oids.COMMON_NAME, "Contoso CA"),
    ),
    key: str = "rsa-4096",
) -> Certificate:
    """A root of its own making; `more` are further extensions."""
    private = pool_key(key)
    name = x509.Name([x509.NameAttribute(x509.ObjectIdentifier(o), text) for o, text in subject])
    return profile.build(
        private,
        subject=name,
        issuer=name,
        public_key=private.public_key(),
        validity=(NOW, NOW + timedelta(days=3650)),
        extensions=profile.replace_extensions(
            profile.authority_extensions(private, path_length=None), more
        ),
    )


def rules_against(certificate: Certificate, **options: Any) -> set[str]:
    report = check_certificate(certificate, as_of=NOW, **options)
    assert report.uses == ("issue",)
    return {one.rule.id for one in report.findings}


def test_a_root_is_judged_as_a_root() -> None:
    assert rules_against(an_authority()) == set()
    policies = profile.policies_extension((oids.ANY_POLICY,))
    assert rules_against(an_authority(*policies)) == {"SBR-CA-3"}
    assert rules_against(an_authority(*profile.purposes_extension((oids.EMAIL_PROTECTION,)))) == {
        "SBR-CA-3"
    }
    nameless = an_authority(subject=((oids.COMMON_NAME, "Contoso CA"),))
    assert rules_against(nameless) == {"SBR-CA-4"}
    assert rules_against(an_authority(key="rsa-2048")) == {"SBR-CA-6"}
    later = check_certificate(an_authority(key="rsa-2048"), as_of=NOW + timedelta(days=365))
    assert "SBR-CA-7" in {one.rule.id for one in later.findings}
    long = check_certificate(an_authority(), as_of=NOW + timedelta(days=365))
    assert long.findings == long.coming == ()


def test_an_issuing_authority_is_judged_as_one(corp: Family) -> None:
    def found(name: str) -> set[str]:
        return rules_against(corp.authorities[name], chain=[corp.authorities["root"]])

    assert found("rsa-4096") == set()
    for name in ("server", "any-purpose", "no-purpose", "no-key-usage"):
        assert "SBR-CA-1" in found(name), name
    assert "SBR-CA-5" in found("elsewhere")
    assert "SBR-CA-5" not in found("within")
    assert "5280-6.1.3" in found("expired")
    assert "8550-4.3" in found("sha1")
    for policy in (oids.MAILBOX_STRICT, oids.TIME_STAMPING):
        made = an_authority(*profile.policies_extension((policy,)))
        below = sign_anew(made, pool_key("rsa-2048"), changes=[_another_issuer])
        against = {one.rule.id for one in check_certificate(below, as_of=NOW).findings}
        assert ("SBR-CA-2" in against) == (policy != oids.MAILBOX_STRICT)


def _another_issuer(fields: list[bytes]) -> list[bytes]:
    name = x509.Name([x509.NameAttribute(x509.ObjectIdentifier(oids.COMMON_NAME), "Root")])
    return [*fields[:3], name.public_bytes(), *fields[4:]]


def a_crl(
    *,
    days: int = 7,
    reason: x509.ReasonFlags | None = None,
    critical: bool = False,
    number: bool = True,
    key: Any = None,
    at: datetime = NOW,
) -> bytes:
    issuer = an_authority()
    private = pool_key("rsa-4096")
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.x509.subject)
        .last_update(at)
        .next_update(at + timedelta(days=days))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()), False
        )
    )
    if number:
        builder = builder.add_extension(x509.CRLNumber(1), False)
    entry = x509.RevokedCertificateBuilder().serial_number(5).revocation_date(at)
    if reason is not None:
        entry = entry.add_extension(x509.CRLReason(reason), critical)
    builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key or private, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("options", "rules"),
    [
        ({}, set()),
        ({"reason": x509.ReasonFlags.key_compromise}, set()),
        ({"days": 30}, {"SBR-CRL-1"}),
        ({"days": 400}, {"SBR-CRL-1"}),
        ({"reason": x509.ReasonFlags.certificate_hold}, {"SBR-CRL-2"}),
        ({"reason": x509.ReasonFlags.key_compromise, "critical": True}, {"SBR-CRL-2"}),
        ({"number": False}, {"5280-5.1"}),
        ({"at": NOW - timedelta(days=30)}, {"5280-6.3.3"}),
        ({"at": NOW + timedelta(days=1)}, {"5280-6.3.3"}),
        ({"key": pool_key("rsa-2048")}, {"5280-6.3.3"}),
    ],
)
def test_a_crl_is_judged(options: dict[str, Any], rules: set[str]) -> None:
    report = check_crl(a_crl(**options), as_of=NOW + timedelta(hours=1), chain=[an_authority()])
    assert {one.rule.id for one in report.findings} == rules
    assert report.uses == ("revoke",)
    assert report.certificate is None


def a_response(*, hours: int = 24, eku: str | None = None) -> bytes:
    made, private = an_authority(), pool_key("rsa-4096")
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        b"1" * 20,
        b"2" * 20,
        5,
        hashes.SHA1(),
        ocsp.OCSPCertStatus.GOOD,
        NOW,
        NOW + timedelta(hours=hours),
        None,
        None,
    )
    signer: Any = made
    if eku is not None:
        leaf = [*profile.purposes_extension((eku,)), profile.extension(x509.OCSPNoCheck())]
        signer = profile.build(
            private,
            subject=profile.person_name("responder"),
            issuer=made.x509.subject,
            public_key=private.public_key(),
            validity=(NOW, NOW + timedelta(days=1)),
            extensions=leaf,
        )
        builder = builder.certificates([signer.x509])
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, signer.x509)
    return builder.sign(private, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("options", "rules"),
    [
        ({}, set()),
        ({"hours": 4}, {"SBR-OCSP-1"}),
        ({"hours": 24 * 11}, {"SBR-OCSP-1"}),
        ({"eku": oids.OCSP_SIGNING}, set()),
        ({"eku": oids.EMAIL_PROTECTION}, {"SBR-OCSP-2"}),
    ],
)
def test_an_ocsp_response_is_judged(options: dict[str, Any], rules: set[str]) -> None:
    report = check_ocsp(a_response(**options), as_of=NOW + timedelta(hours=1))
    assert {one.rule.id for one in report.findings} == rules


def test_a_signature_with_sha1_is_found() -> None:
    sha256, sha1 = ber.oid(oids.SHA256_WITH_RSA), ber.oid(oids.SHA1_WITH_RSA)
    later = NOW + timedelta(hours=1)
    for report in (
        check_crl(a_crl().replace(sha256, sha1), as_of=later),
        check_ocsp(a_response().replace(sha256, sha1), as_of=later),
    ):
        assert [one.rule.id for one in report.findings] == ["SBR-CRL-3"]
        assert "SHA-1" in report.findings[0].text


def _with_reason(response: bytes) -> bytes:
    """The response with a reasonCode among the singleExtensions; its signature is another's."""
    status, outer = ber.read(response, "OCSPResponse").children()
    kind, octets = outer.only("responseBytes").children()
    data, *rest = ber.read(bytes(octets.as_octets("response")), "Basic").children()
    *before, singles = data.children()
    (single,) = singles.children()
    reason = ber.sequence(ber.oid("2.5.29.21"), ber.octet_string(b"\x0a\x01\x01"))
    fields = [*(one.raw for one in single.children()), ber.context(1, ber.sequence(reason))]
    changed = ber.sequence(*(one.raw for one in before), ber.sequence(ber.sequence(*fields)))
    basic = ber.sequence(changed, *(one.raw for one in rest))
    inner = ber.sequence(kind.raw, ber.octet_string(basic))
    return ber.sequence(status.raw, ber.context(0, inner))


def test_a_reason_among_the_single_extensions_is_found() -> None:
    report = check_ocsp(_with_reason(a_response()), as_of=NOW + timedelta(hours=1))
    assert [one.rule.id for one in report.findings] == ["SBR-OCSP-3"]


def test_what_is_neither_is_refused() -> None:
    unauthorized = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    for read, octets in (
        (check_crl, b"0"),
        (check_ocsp, b"0"),
        (check_ocsp, unauthorized.public_bytes(Encoding.DER)),
    ):
        with pytest.raises(MalformedMessage, match="this is no"):
            read(octets, as_of=NOW)
    with pytest.raises(UsageError, match="no time zone"):
        check_certificate(an_authority(), as_of=datetime(2026, 1, 1))  # noqa: DTZ001


# --- the report -----------------------------------------------------------------------------------


def test_the_date_says_which_rules_count(corp: Family) -> None:
    old = corp["policy-legacy"].identity.certificate
    for day, expected in ((datetime(2025, 7, 14, tzinfo=UTC), False), (NOW, True)):
        report = check_certificate(old, as_of=day)
        held = "SBR-7.1.6.1-1" in {one.rule.id for one in report.findings}
        to_come = "SBR-7.1.6.1-1" in {one.rule.id for one in report.coming}
        assert (held, to_come) == (expected, not expected)


def test_the_report_as_json(corp: Family) -> None:
    shown = report_on(corp, "expired").to_json()
    assert shown["verdicts"]["outlook"] == {"sign": "fails", "encrypt": "fails"}
    (found,) = [one for one in shown["findings"] if one["rule"] == "5280-6.1.3"]
    assert found["place"] == "validity"
    assert found["severities"].keys() == set(PROFILES)
    assert found["remedy"]
    assert shown["sha256"] == corp["expired"].identity.certificate.sha256


def test_only_the_profiles_asked_for_are_judged(corp: Family) -> None:
    certificate = corp["eku-client"].identity.certificate
    report = check_certificate(certificate, profiles=["gpgsm", "openssl"], as_of=NOW)
    assert report.profiles == ("gpgsm", "openssl")
    assert {p for one in report.findings for p in one.severities} <= {"gpgsm", "openssl"}
    assert report.is_fit("gpgsm")  # it ignores the extended key usage
    assert not report.is_fit("openssl")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_octets_in_a_certificate_give_a_report(corp: Family, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["rsa-2048", "names-within", "address-utf8", "p256"]))
    der = bytearray(corp[name].identity.certificate.der)
    for place in data.draw(st.lists(st.integers(0, len(der) - 1), min_size=1, max_size=6)):
        der[place] = data.draw(st.integers(0, 255))
    try:
        certificate = Certificate(bytes(der))
    except MalformedMessage:
        return
    report = check_certificate(certificate, as_of=NOW, chain=corp[name].identity.chain)
    assert report.to_json()["findings"]


def test_a_rule_has_a_name_a_source_and_a_remedy() -> None:
    assert len({one.id for one in RULES}) == len(RULES) >= 80
    for rule in RULES:
        assert rule.title
        assert rule.source
        assert not rule.remedy.startswith(("ask", "tell"))  # it stands behind "ask the CA:"
        assert rule.remedy
        assert rule.weights


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_octets_in_crls_and_responses_give_a_report_or_our_error(data: st.DataObject) -> None:
    made: Any = {
        check_crl: a_crl(reason=x509.ReasonFlags.key_compromise),
        check_ocsp: a_response(eku=oids.OCSP_SIGNING),
    }
    for check, octets in made.items():
        der = bytearray(octets)
        for place in data.draw(st.lists(st.integers(0, len(der) - 1), min_size=1, max_size=6)):
            der[place] = data.draw(st.integers(0, 255))
        try:
            report = check(bytes(der), as_of=NOW)
        except MalformedMessage:
            continue
        assert report.to_json()["verdicts"]


def test_a_crl_is_held_against_the_certificate_of_its_issuer_alone(corp: Family) -> None:
    others = [corp.authorities["root"], an_authority()]
    report = check_crl(a_crl(), as_of=NOW + timedelta(hours=1), chain=others)
    assert report.findings == ()


def test_hundreds_of_common_names_are_judged_in_linear_time() -> None:
    names = tuple((oids.COMMON_NAME, f"n{number}") for number in range(800))
    crowd = family("crowd", when=NOW, variants=[of_own("crowd", Leaf(subject=names))])
    certificate = crowd["crowd"].identity.certificate
    begun = process_time()
    found = check_certificate(certificate, as_of=NOW).findings
    assert process_time() - begun < 1
    assert sum(one.rule.id == "SBR-7.1.4.2.2-a" for one in found) == 800


def test_a_crl_of_an_issuer_with_an_empty_name_gives_a_report() -> None:
    outer = ber.read(a_crl(), "CertificateList").children()
    fields = [bytes(one.raw) for one in outer[0].children()]
    nobody = ber.sequence(ber.oid(oids.COMMON_NAME), ber.tlv(ber.UTF8_STRING, b""))
    fields[2] = ber.sequence(ber.set_of(nobody))
    crl = ber.sequence(ber.sequence(*fields), *(bytes(one.raw) for one in outer[1:]))
    assert check_crl(crl, as_of=NOW).title.startswith("CRL of")


def test_outlook_takes_no_rsa_key_below_1024_bits(corp: Family) -> None:
    def with_key(bits: int) -> Mutator:
        number = ber.integer((1 << (bits - 1)) + 1)
        numbers = ber.sequence(number, ber.integer(65537))
        algorithm = ber.sequence(ber.oid(oids.RSA_ENCRYPTION), ber.null())
        info = ber.sequence(algorithm, ber.bit_string(numbers))
        return lambda fields: [*fields[:6], info, *fields[7:]]

    anybody = corp["rsa-2048"].identity
    for bits, verdict in ((768, "fails"), (1024, "doubtful"), (2048, "fits")):
        changed = sign_anew(
            anybody.certificate,
            anybody.private_key,
            changes=[with_key(bits)],
        )
        report = check_certificate(changed, as_of=NOW, profiles=["outlook", "rfc8550"])
        assert report.verdict("outlook", "sign") == verdict
        assert report.is_fit("rfc8550") == (bits == 2048)
