"""Findings are those of the catalogue; a report is good while none of them is an error."""

from __future__ import annotations

import re

import pytest

from smime_graph.findings import CATALOGUE, Finding, Report, Severity, finding

ERROR = next(code for code, (severity, _) in CATALOGUE.items() if severity is Severity.ERROR)
WARNING = next(code for code, (severity, _) in CATALOGUE.items() if severity is Severity.WARNING)


def test_a_finding_has_the_severity_and_the_source_of_its_code() -> None:
    found = finding("smime.unsigned", "message", "nobody signed it")
    assert found == Finding(
        "smime.unsigned", Severity.ERROR, "message", "nobody signed it", "RFC 8551 3.5"
    )
    assert str(found) == "message: nobody signed it [smime.unsigned] (RFC 8551 3.5)"
    assert finding("smime.unsigned", "m", "t", severity=Severity.WARNING).severity == 2
    assert finding("smime.unsigned", "m", "t", scope="1.2").scope == "1.2"


def test_a_code_that_is_not_in_the_catalogue_is_none() -> None:
    with pytest.raises(KeyError):
        finding("smime.invented", "message", "text")


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_code_is_dotted_and_has_a_source(code: str) -> None:
    severity, source = CATALOGUE[code]
    assert re.fullmatch(r"(cms|alg|pki|smime|graph)(\.[a-z][a-z0-9-]*)+", code)
    document = r"RFC [0-9]{4} |Mozilla Root Store Policy |draft-"
    if code.startswith("graph."):  # much of what it does is told by its users alone
        document += r"|Microsoft Graph, |(msgraph-sdk-|microsoft-graph-docs-|SMTP2Graph)[a-z]* ?#"
    assert re.match(document, source)
    assert severity in Severity


def test_a_report_is_good_until_something_is_an_error() -> None:
    noticed = finding(WARNING, "it", "looks odd")
    wrong = finding(ERROR, "it", "is wrong")
    assert Report().ok
    assert Report((noticed,)).ok
    both = Report((noticed, wrong))
    assert not both.ok
    assert both.errors == (wrong,)
    assert both.has(WARNING)
    assert not Report((noticed,)).has(ERROR)
    assert not Report((finding(WARNING, "it", "t", severity=Severity.ERROR),)).ok


def test_severities_are_in_order_and_lower_case_for_people() -> None:
    assert Severity.NOTICE < Severity.WARNING < Severity.ERROR
    assert [str(one) for one in Severity] == ["notice", "warning", "error"]


def test_a_report_shows_codes_and_nothing_of_the_message() -> None:
    report = Report(tuple(finding(ERROR, "bob@contoso.com", f"secret {i}") for i in range(30)))
    assert repr(report) == f"Report(not ok: {ERROR})"
    many = Report(tuple(finding(code, "x", "secret") for code in CATALOGUE))
    assert "secret" not in repr(many)
    assert repr(many).count(", ") == 9
    assert repr(Report()) == "Report(ok: no findings)"
