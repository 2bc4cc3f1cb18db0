"""A fitness report as people read it: a screen of text, a page of HTML, JUnit for a CI."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from xml.sax.saxutils import quoteattr

from ..findings import Severity
from ..pki.address import addresses
from ..text import printable
from .fitness import FitnessFinding, FitnessReport, FitnessUse
from .profiles import PROFILES, SBR, TITLES, FitnessProfile
from .rules import Subject

_WIDTH = 100
_MOST = 10  # findings with a remedy that fit a screen

_DOING: dict[FitnessUse, str] = {
    "sign": "signing",
    "encrypt": "encrypting to it",
    "issue": "issuing",
    "revoke": "revoking",
}


def report_lines(report: FitnessReport, *, use: FitnessUse | None = None) -> list[str]:
    """A report on one screen: what it is, a verdict for each profile, what to ask the CA for."""
    lines = [printable(report.title), *_facts(report), ""]
    lines += [verdict_line(report, profile, use=use) for profile in report.profiles]
    findings = [one for one in report.findings if one.severity > Severity.NOTICE]
    findings.sort(key=_weight)
    for one in findings[:_MOST]:
        where = f" of {one.where}" if one.where else ""
        lines += [
            "",
            f"{_cut(f'{one.severity}: {one.place}{where}: {one.text}')} [{one.rule.id}]",
            f"  {one.rule.source}; counts for {_whom(one)}",
            f"  ask the CA: {one.rule.remedy}",
        ]
    left = len(report.findings) - len(findings[:_MOST])
    if left:
        lines += ["", f"and {left} of less weight: --json shows all"]
    lines += [
        f"from {one.rule.since} on: {_cut(one.text)} [{one.rule.id}]" for one in report.coming[:3]
    ]
    return [printable(line) for line in lines]


def _weight(one: FitnessFinding) -> tuple[int, bool, int]:
    """What comes first: what stops a certificate, for any use, in the most programs."""
    stopped = [p for p, s in one.severities.items() if s is Severity.ERROR and p not in SBR]
    return -one.severity, one.use is not None, -len(stopped)


def verdict_line(
    report: FitnessReport, profile: FitnessProfile, *, use: FitnessUse | None = None
) -> str:
    """What becomes of it in one place: `Outlook: will fail: expired on 2026-01-01 [5280-6.1.3]`."""
    uses = report.uses if use is None else (use,)
    verdicts = {one: report.verdict(profile, one) for one in uses}
    head = f"{TITLES[profile] + ':':<24}"
    if set(verdicts.values()) == {"fits"}:
        return f"{head}works"
    if len(set(verdicts.values())) == 1:
        failing = "fails" in verdicts.values()
        said = "will fail" if failing else "works, with doubts"
        return _reasons(f"{head}{said}: ", report, profile, uses)
    words = {"fits": "works", "doubtful": "is doubtful", "fails": "will fail"}
    said = ", ".join(f"{_DOING[one]} {words[verdict]}" for one, verdict in verdicts.items())
    worst = [one for one, verdict in verdicts.items() if verdict == "fails"] or list(uses)
    return _reasons(f"{head}{said}: ", report, profile, worst)


def _reasons(
    head: str, report: FitnessReport, profile: FitnessProfile, uses: Sequence[FitnessUse]
) -> str:
    """The head and the worst reasons that fit a line; one at least, however long."""
    found = dict.fromkeys(one for use in uses for one in report.against(profile, use))
    worst = max(one.severities[profile] for one in found)
    reasons = [one for one in found if one.severities[profile] is worst]
    # what is against one use alone says less where every use is meant
    reasons.sort(key=lambda one: one.use is not None)
    texts = [
        f"{_cut(one.text.partition(', needed to ')[0], _WIDTH)} [{one.rule.id}]" for one in reasons
    ]
    shown = head + texts[0]
    for number, text in enumerate(texts[1:], 1):
        if len(shown) + len(text) + 14 > _WIDTH:
            return f"{shown}, {len(texts) - number} more"
        shown += f"; {text}"
    return shown


def _cut(line: str, most: int = 2 * _WIDTH) -> str:
    return line if len(line) <= most else f"{line[:most]}..."


def _facts(report: FitnessReport) -> Iterator[str]:
    one = report.certificate
    if one is None:
        return
    yield _cut(f"  issued by {one.issuer_text or '(nobody)'}")
    subject = Subject(one, report.as_of)
    parts = [f"for {', '.join(addresses(one)[:3]) or 'no address'}"]
    if subject.validity is not None:
        parts.append(f"valid {subject.validity[0]:%Y-%m-%d} to {subject.validity[1]:%Y-%m-%d}")
    if subject.reserved:
        parts.append(f"states {subject.reserved[0][1]} ({subject.reserved[0][0]})")
    parts.append(f"judged as of {report.as_of:%Y-%m-%d}")
    yield _cut(f"  {'; '.join(parts)}")


def _whom(one: FitnessFinding) -> str:
    """The profiles that a finding counts for, in few words."""
    if len(one.severities) == len(PROFILES):
        return "everybody"
    names = [TITLES[p] for p in one.severities if p not in SBR]
    of_sbr = [p for p in SBR if p in one.severities]
    if len(of_sbr) == len(SBR):
        names.insert(0, "S/MIME BR")
    else:
        names[:0] = [TITLES[p] for p in of_sbr]
    return ", ".join(names)


# --- JUnit, HTML ----------------------------------------------------------------------------------


def junit(reports: Iterable[FitnessReport], *, use: FitnessUse | None = None) -> str:
    """A suite for each certificate, a case for each profile."""
    suites = []
    for report in reports:
        cases, failures = [], 0
        for profile in report.profiles:
            name = f"<testcase classname={quoteattr(report.title)} name={quoteattr(profile)}"
            if report.is_fit(profile, use):
                cases.append(f"{name}/>")
                continue
            failures += 1
            line = verdict_line(report, profile, use=use)
            cases.append(f"{name}><failure message={quoteattr(line)}/></testcase>")
        suites.append(
            f"<testsuite name={quoteattr(report.title)} tests='{len(cases)}'"
            f" failures='{failures}'>{''.join(cases)}</testsuite>"
        )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>{"".join(suites)}</testsuites>\n'


_STYLE = """
:root{color-scheme:light dark;--no:#c62828;--so:#b26a00;--yes:#2e7d32;--line:#8884}
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:2.5rem;overflow-wrap:anywhere}small{opacity:.75}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid var(--line)}
td:not([class]){overflow-wrap:anywhere}td[class]{white-space:nowrap}.fails,.error{color:var(--no);font-weight:600}
.doubtful,.warning{color:var(--so);font-weight:600}.fits,.notice{color:var(--yes)}
"""


def page(reports: Iterable[FitnessReport]) -> str:
    """One HTML page, whole in itself, without a script."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Fit for mail?</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>Fit for mail?</h1>"
        + "".join(map(_section, reports))
        + "</body></html>\n"
    )


def _section(report: FitnessReport) -> str:
    head = f"<h2>{escape(report.title)}</h2>"
    facts = "".join(f"<p>{escape(line.strip())}</p>" for line in _facts(report))
    columns = "".join(f"<th>{_DOING[use]}</th>" for use in report.uses)
    rows = []
    for profile in report.profiles:
        verdicts = [report.verdict(profile, use) for use in report.uses]
        cells = "".join(f'<td class="{one}">{one}</td>' for one in verdicts)
        why = escape(verdict_line(report, profile).partition(":")[2].strip())
        rows.append(f"<tr><th>{TITLES[profile]}</th>{cells}<td>{why}</td></tr>")
    table = f"<table><tr><th></th>{columns}<th></th></tr>{''.join(rows)}</table>"
    found = "".join(map(_row, report.findings))
    findings = (
        "<h3>What speaks against it</h3><table><tr><th></th><th>what</th><th>rule</th>"
        f"<th>ask the CA</th></tr>{found}</table>"
        if found
        else "<p>Nothing speaks against it.</p>"
    )
    return head + facts + table + findings


def _row(one: FitnessFinding) -> str:
    where = f"<br><small>of {escape(one.where)}</small>" if one.where else ""
    return (
        f'<tr><td class="{one.severity}">{one.severity}</td>'
        f"<td>{escape(one.place)}: {escape(one.text)}{where}</td>"
        f"<td>{one.rule.id}<br><small>{escape(one.rule.source)}; {_whom(one)}</small></td>"
        f"<td>{escape(one.rule.remedy)}</td></tr>"
    )
