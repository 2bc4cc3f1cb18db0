"""The report as people read it: a screen that says whether, where and why, and what to ask for."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from smime_graph.authority.family import Family, family
from smime_graph.authority.variants import VARIANTS, Variant
from smime_graph.harness.fitness import FitnessReport, check_certificate
from smime_graph.harness.fitness_text import junit, page, report_lines, verdict_line
from smime_graph.harness.profiles import PROFILES
from tests.conftest import NOW


@pytest.fixture(scope="module")
def corp() -> Family:
    return family("corp", when=NOW, seed=7)


def report_on(corp: Family, variant: str) -> FitnessReport:
    identity = corp[variant].identity
    return check_certificate(identity.certificate, chain=identity.chain, as_of=NOW)


@pytest.mark.parametrize(
    ("variant", "line"),
    [
        ("expired", "Outlook:                will fail: expired on 2026-11-21 11:59:59Z"),
        ("address-none", "Outlook:                will fail: neither it nor the subject has"),
        (
            "rsa-sign",
            "Outlook:                signing works, encrypting to it will fail: key usage",
        ),
        ("rsa-1024", "Outlook:                works, with doubts: RSA key of 1024 bits"),
        ("ed25519", "Outlook:                will fail: few programs have EdDSA [CLIENT-key]"),
        ("eku-server", "Outlook:                will fail: it is for 1.3.6.1.5.5.7.3.1, and not"),
        ("rsa-2048", "Outlook:                works"),
    ],
)
def test_a_line_says_what_outlook_does_and_why(corp: Family, variant: str, line: str) -> None:
    lines = report_lines(report_on(corp, variant))
    (said,) = [one for one in lines if one.startswith("Outlook:")]
    assert said.startswith(line)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.id)
def test_a_report_fits_one_screen(corp: Family, variant: Variant) -> None:
    report = report_on(corp, variant.id)
    lines = report_lines(report)
    assert len(lines) <= 60
    # the verdicts stand first: a terminal of 24 lines shows them all
    assert len([one for one in lines[:20] if ": " in one and not one.startswith(" ")]) >= 12
    assert all(one.isprintable() and len(one) <= 220 for one in lines)
    failing = [p for p in PROFILES if not report.is_fit(p)]
    for profile in failing:
        assert "[" in verdict_line(report, profile)
    if failing:
        assert any(one.startswith("  ask the CA: ") for one in lines)


def test_for_one_use_the_line_is_of_that_use_alone(corp: Family) -> None:
    report = report_on(corp, "rsa-sign")
    assert verdict_line(report, "openssl", use="sign").endswith("works")
    assert "will fail: key usage lacks" in verdict_line(report, "openssl", use="encrypt")


def test_what_is_to_come_is_said(corp: Family) -> None:
    lines = report_lines(report_on(corp, "rsa-2048"))
    assert "from 2027-09-15 on: the authority's RSA key has 2048 bits [SBR-CA-7]" in lines


def test_junit_has_a_failure_for_each_profile_that_fails(corp: Family) -> None:
    report = report_on(corp, "eku-any")
    (suite,) = ElementTree.fromstring(junit([report]))
    failed = {case.get("name") for case in suite if case.find("failure") is not None}
    assert failed == {p for p in PROFILES if not report.is_fit(p)}
    assert suite.get("failures") == str(len(failed))
    assert {"openssl", "thunderbird", "sbr-strict"} <= failed
    assert "gpgsm" not in failed


def test_the_page_is_whole_and_escapes_what_a_certificate_says(corp: Family) -> None:
    made = page([report_on(corp, "expired"), report_on(corp, "rsa-2048")])

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.tags.append(tag)

    reader = Reader()
    reader.feed(made)
    assert reader.tags.count("h2") == 2
    assert "script" not in reader.tags
    assert "http" not in made.split("</style>")[0]
    assert "expired on 2026-11-21" in made
    report = report_on(corp, "expired")
    hostile = FitnessReport("<script>", None, NOW, report.profiles, report.uses, report.findings)
    assert "<script>" not in page([hostile])
