"""A second opinion: pkilint (DigiCert) on the S/MIME Baseline Requirements, held against ours.

pkilint is an extra, `smime-graph[lint]`. Each rule here names the codes of pkilint's findings that
say the same; what only one of the two says is shown. It reads certificates of people alone.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..findings import Severity
from ..text import printable
from ..x509.certificate import Certificate
from .fitness import RULES, check_certificate
from .profiles import SBR
from .rules import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEVELS = {
    "mailbox": "MAILBOX",
    "organization": "ORGANIZATION",
    "sponsor": "SPONSORED",
    "individual": "INDIVIDUAL",
}
_GENERATIONS = {
    "sbr-strict": "STRICT",
    "sbr-multipurpose": "MULTIPURPOSE",
    "sbr-legacy": "LEGACY",
}
_RULES_OF: Mapping[str, tuple[str, ...]] = {
    code: tuple(one.id for one in RULES if code in one.codes)
    for code in dict.fromkeys(code for one in RULES for code in one.codes)
}


@dataclass(frozen=True, slots=True)
class LintFinding:
    """What pkilint alone says: its code, the rules here that would say the same, and its words."""

    code: str
    rules: tuple[str, ...]
    place: str
    text: str


@dataclass(frozen=True, slots=True)
class LintComparison:
    """What pkilint and the rules here say of one certificate, as of what it was judged.

    `agreed` and `only_here` are ids of rules; `fault` says why pkilint could not read it.
    """

    version: str
    judged_as: str
    agreed: tuple[str, ...]
    only_here: tuple[str, ...]
    only_there: tuple[LintFinding, ...]
    fault: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "judged_as": self.judged_as,
            "agreed": list(self.agreed),
            "only_here": list(self.only_here),
            "only_there": [
                {"code": f.code, "rules": list(f.rules), "place": f.place, "text": f.text}
                for f in self.only_there
            ],
            "fault": self.fault,
        }

    def lines(self) -> list[str]:
        """For people: where the two differ, and that they do not where they do not."""
        name = f"pkilint {self.version} ({self.judged_as})"
        if self.fault is not None:
            return [f"{name} could not read it: {self.fault}"]
        lines = [f"{name} says the same of {', '.join(self.agreed) or 'it: nothing'}"]
        lines += [f"  only here: {one}" for one in self.only_here]
        for one in self.only_there:
            rules = f" [{', '.join(one.rules)}]" if one.rules else ""
            lines.append(f"  only pkilint: {one.place}: {one.code} {one.text}{rules}")
        return lines


def compare(
    certificate: Certificate, *, as_of: datetime, chain: Sequence[Certificate] = ()
) -> LintComparison | None:
    """Our rules held against what pkilint says; None for an authority, which it does not read.

    Judged is what the certificate states, else as a strict one of a mailbox. UsageError where
    pkilint is not installed.
    """
    report = check_certificate(certificate, as_of=as_of, chain=chain, profiles=SBR)
    if "sign" not in report.uses:
        return None
    subject = Subject(certificate, as_of)
    kind, profile = subject.reserved[0] if subject.reserved else ("mailbox", "sbr-strict")
    theirs, fault = _ask(certificate.der, _LEVELS[kind], _GENERATIONS[profile])
    ours = {
        one.rule.id: one.rule
        for one in report.against(profile)
        if not one.where and one.rule.codes and one.severities[profile] > Severity.NOTICE
    }
    agreed = [id_ for id_, rule in ours.items() if not theirs.keys().isdisjoint(rule.codes)]
    there = [
        found for code, found in theirs.items() if ours.keys().isdisjoint(_RULES_OF.get(code, ()))
    ]
    return LintComparison(
        version("pkilint"),
        f"{kind}, {profile.removeprefix('sbr-')}",
        tuple(agreed),
        () if fault else tuple(id_ for id_ in ours if id_ not in agreed),
        tuple(there),
        fault,
    )


def _ask(der: bytes, level: str, generation: str) -> tuple[dict[str, LintFinding], str | None]:
    """Its warnings and errors by their codes, or why there are none."""
    found: dict[str, LintFinding] = {}
    with _quiet():
        validators, loader = _validators(level, generation)
        try:
            results = validators.validate(loader.load_certificate(der, "certificate").root)
        except Exception as error:  # noqa: BLE001 - hostile octets reach another's parser
            return {}, type(error).__name__
    for result in results:
        for one in result.finding_descriptions:
            code = str(one.finding.code)
            if one.finding.severity.name not in ("WARNING", "ERROR", "FATAL") or code in found:
                continue
            place = str(result.node.path).removeprefix("certificate.tbsCertificate.")
            text = printable(str(one.message or ""))[:200]
            found[code] = LintFinding(code, _RULES_OF.get(code, ()), place, text)
    return found, None


@lru_cache(maxsize=12)
def _validators(level: str, generation: str) -> tuple[Any, Any]:
    try:
        from pkilint import loader
        from pkilint.cabf import smime
        from pkilint.cabf.smime import smime_constants
        from pkilint.pkix import certificate
    except ImportError:
        raise UsageError(
            "pkilint is not installed", hint="pip install 'smime-graph[lint]'"
        ) from None
    container = certificate.create_pkix_certificate_validator_container(
        smime.create_decoding_validators(),
        smime.create_subscriber_validators(
            smime_constants.ValidationLevel[level], smime_constants.Generation[generation]
        ),
    )
    return container, loader


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of its dependencies, and the tracebacks that it logs."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
