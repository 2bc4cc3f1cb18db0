"""What speaks against a certificate in mail: for whom, by which rule, and what to ask the CA for.

report = check_certificate(certificate, chain=others)
report.verdict("outlook", "sign")      # "fits", "doubtful" or "fails"
for one in report.against("outlook"):
    print(one.rule.id, one.text, one.rule.remedy)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

from cryptography import x509
from cryptography.x509 import ocsp

from ..arguments import checked
from ..errors import MalformedMessage
from ..findings import Finding, Severity
from ..pki.identity import issuers
from ..pki.path import build_path
from ..pki.revocation import Revocation, revocation_findings
from ..pki.trust import TrustStore
from ..pki.usage import require_aware
from ..text import printable
from ..x509 import names
from ..x509.certificate import Certificate
from . import (
    rules_authority,
    rules_clients,
    rules_extensions,
    rules_fields,
    rules_mail,
    rules_names,
)
from .profiles import OVERLOOKED, PROFILES, FitnessProfile
from .rules import EVERYBODY, FitnessRule, Subject, Weights, weigh, weights_of

__all__ = [
    "RULES",
    "FitnessFinding",
    "FitnessReport",
    "check_certificate",
    "check_crl",
    "check_ocsp",
]

FitnessUse = Literal["sign", "encrypt", "issue", "revoke"]
FitnessVerdict = Literal["fits", "doubtful", "fails"]


def _by_engine(
    id_: str, title: str, source: str, remedy: str, weights: Weights = EVERYBODY
) -> FitnessRule:
    """A rule that the path engine checks, or the evidence on revocation."""
    return FitnessRule(id_, title, source, remedy, weights, None, (), (), iter)


_PATH = _by_engine(
    "5280-6.1",
    "a path leads from it to a root that is believed",
    "RFC 5280 6.1, RFC 8550 4.2",
    "its issuers' certificates, to send them along, and a root that readers believe",
)
_POLICY = _by_engine(
    "5280-6.1.5",
    "its policies are those that its issuers demand",
    "RFC 5280 6.1.5",
    "state a policy that the issuing authority permits",
    weigh(PROFILES, but=("openssl",)),
)
_REVOKED = _by_engine(
    "5280-6.3",
    "it is known not to be revoked",
    "RFC 5280 6.3, RFC 8550 4.2",
    "a new certificate, with a new key if the old one was compromised",
)
_ENGINE = (_PATH, _POLICY, _REVOKED)

RULES: tuple[FitnessRule, ...] = (
    *rules_fields.RULES,
    *rules_extensions.RULES,
    *rules_names.RULES,
    *rules_mail.RULES,
    *rules_clients.RULES,
    *rules_authority.RULES,
    *_ENGINE,
)
_BY_ID = {one.id: one for one in RULES}


@dataclass(frozen=True, slots=True)
class FitnessFinding:
    """One thing that a rule found: `place` is the field, `where` the certificate if it is not the
    one asked about but an issuer of it, `use` what it is bad for (None: for any).

    `severities` are those of the profiles that it counts for.
    """

    rule: FitnessRule
    place: str
    text: str
    severities: Mapping[FitnessProfile, Severity] = field(hash=False)
    use: str | None = None
    where: str = ""

    @property
    def severity(self) -> Severity:
        """The worst of all."""
        return max(self.severities.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule.id,
            "title": self.rule.title,
            "source": self.rule.source,
            "where": self.where,
            "place": self.place,
            "text": self.text,
            "use": self.use,
            "severity": str(self.severity),
            "severities": {profile: str(s) for profile, s in self.severities.items()},
            "remedy": self.rule.remedy,
        }


@dataclass(frozen=True, slots=True)
class FitnessReport:
    """Everything that was found about one certificate, CRL or OCSP response (`certificate` is None
    then), at the time `as_of`.

    `uses` are those that it is judged for: "sign" and "encrypt" of a person's, "issue" of an
    authority's, "revoke" of a CRL and an OCSP response. `coming` is what will be against it by
    rules that count only later.
    """

    title: str
    certificate: Certificate | None
    as_of: datetime
    profiles: tuple[FitnessProfile, ...]
    uses: tuple[FitnessUse, ...]
    findings: tuple[FitnessFinding, ...]
    coming: tuple[FitnessFinding, ...] = ()
    chain: tuple[Certificate, ...] = ()

    def against(
        self, profile: FitnessProfile, use: FitnessUse | None = None
    ) -> tuple[FitnessFinding, ...]:
        """What counts for a profile and a use (FitnessUse; None: for any), the worst first."""
        found = [
            one
            for one in self.findings
            if profile in one.severities
            and (use is None or one.use in (None, use))
            and one.rule.id not in OVERLOOKED.get((profile, use or ""), ())
        ]
        return tuple(sorted(found, key=lambda one: -one.severities[profile]))

    def verdict(self, profile: FitnessProfile, use: FitnessUse) -> FitnessVerdict:
        """Whether it fits: an error fails it, a warning makes it doubtful (FitnessVerdict)."""
        worst = max((f.severities[profile] for f in self.against(profile, use)), default=None)
        if worst is Severity.ERROR:
            return "fails"
        return "doubtful" if worst is Severity.WARNING else "fits"

    def is_fit(self, profile: FitnessProfile, use: FitnessUse | None = None) -> bool:
        """Whether a profile has nothing against it, for one use at least or for the one named."""
        wanted = self.uses if use is None else (use,)
        return any(self.verdict(profile, one) != "fails" for one in wanted)

    def to_json(self) -> dict[str, Any]:
        """Everything as a JSON object: see the field names."""
        subject: dict[str, Any] = {"title": self.title}
        if self.certificate is not None:
            from ..smime.report import certificate_json

            subject |= certificate_json(self.certificate)
        return {
            **subject,
            "as_of": self.as_of.isoformat(),
            "verdicts": {
                profile: {use: self.verdict(profile, use) for use in self.uses}
                for profile in self.profiles
            },
            "findings": [one.to_json() for one in self.findings],
            "coming": [one.to_json() | {"since": str(one.rule.since)} for one in self.coming],
        }


@checked
def check_certificate(
    certificate: Certificate,
    *,
    profiles: Sequence[FitnessProfile] = PROFILES,
    as_of: datetime | None = None,
    chain: Sequence[Certificate] = (),
    trust: TrustStore | None = None,
    revocation: Revocation | None = None,
    address: str | None = None,
) -> FitnessReport:
    """What speaks against a Certificate, a person's or an authority's, for each FitnessProfile.

    `as_of` (a datetime with a time zone; now) is the time to judge for, and says which rules count.
    `chain` are certificates that came along, of which the issuers are judged as well. With a
    TrustStore the path to a root is judged too, and with Revocation whether it is revoked; with an
    `address` whether it is hers. Raises UsageError for a time without a zone, LimitReached where so
    much comes along that to look through it is too much, and nothing for what a certificate holds.
    The FitnessReport has the findings of the S/MIME Baseline Requirements, RFC 8550 and RFC 5280,
    and of what mail programs are known to do.
    """
    moment = as_of or datetime.now(UTC)
    require_aware(moment)
    subject, engine = _placed(certificate, moment, tuple(chain), trust, address)
    about = "authority" if subject.is_authority else "certificate"
    found = list(_run(subject, about))
    for number, authority in enumerate(subject.chain[1:], 1):
        is_anchor = subject.ends and number == len(subject.chain) - 1
        above = subject.chain[number:]
        issuer = above[1] if len(above) > 1 else None
        judged = Subject(authority, moment, issuer, above, subject.ends)
        found += _run(judged, "authority", where=authority.description, anchor=is_anchor)
    found += _engine_findings(engine, found)
    if revocation is not None and subject.ends:
        against = revocation_findings(
            subject.chain, revocation=revocation, at=moment, certificates=chain
        )
        found += [_finding(_rule_of(one), "revocation", one) for one in against]
    uses: tuple[FitnessUse, ...] = ("issue",) if about == "authority" else ("sign", "encrypt")
    return _report(
        certificate.description, certificate, moment, profiles, uses, found, subject.chain
    )


_UNREADABLE = (
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@checked
def check_crl(
    crl: bytes,
    *,
    profiles: Sequence[FitnessProfile] = PROFILES,
    as_of: datetime | None = None,
    chain: Sequence[Certificate] = (),
) -> FitnessReport:
    """What speaks against a CRL (DER), as `check_certificate` says it of a certificate.

    Where a Certificate of its issuer is in the `chain` its signature is checked. Raises
    MalformedMessage for what is no CRL that can be read, UsageError for a datetime without a zone.
    Each FitnessProfile is judged for "revoke"; a FitnessReport is the result.
    """
    moment = as_of or datetime.now(UTC)
    require_aware(moment)
    try:
        read = x509.load_der_x509_crl(crl)
        _ = read.extensions, read.signature_algorithm_oid
        with warnings.catch_warnings():  # of a name that is too long or too short
            warnings.simplefilter("ignore", UserWarning)
            name = read.issuer.public_bytes()
        issuer = next((one for one in chain if names.same(one.subject, name)), None)
        title = f"CRL of {names.text(name) or '(nobody)'}"
        found = list(_run(rules_authority.RevocationList(read, moment, issuer), "crl"))
    except _UNREADABLE as error:
        raise MalformedMessage(f"this is no CRL that can be read: {error}") from error
    return _report(title, None, moment, profiles, ("revoke",), found)


@checked
def check_ocsp(
    response: bytes,
    *,
    profiles: Sequence[FitnessProfile] = PROFILES,
    as_of: datetime | None = None,
) -> FitnessReport:
    """What speaks against an OCSP response (DER); whose signature it has is not checked here.

    Raises MalformedMessage for what is none or says nothing of a certificate, UsageError for a
    datetime without a zone. Each FitnessProfile is judged for "revoke"; a FitnessReport is the
    result.
    """
    moment = as_of or datetime.now(UTC)
    require_aware(moment)
    try:
        read = ocsp.load_der_ocsp_response(response)
        if read.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise ValueError(f"its status is {read.response_status.name.lower()}")
        numbers = [f"{one.serial_number:#x}"[:80] for one in islice(read.responses, 3)]
        title = f"OCSP response on {', '.join(numbers) or 'nothing'}"
        found = list(_run(rules_authority.Response(read, moment), "ocsp"))
    except _UNREADABLE as error:
        raise MalformedMessage(f"this is no OCSP response that says anything: {error}") from error
    return _report(title, None, moment, profiles, ("revoke",), found)


# --- how it is put together -----------------------------------------------------------------------


def _placed(
    certificate: Certificate,
    at: datetime,
    others: tuple[Certificate, ...],
    trust: TrustStore | None,
    address: str | None,
) -> tuple[Subject, tuple[Finding, ...]]:
    """The certificate below its issuers, and what the path engine has against it."""
    engine: tuple[Finding, ...] = ()
    chain: tuple[Certificate, ...] = ()
    if trust is not None:
        path = build_path(certificate, trust=trust, certificates=others, at=at)
        engine, chain = path.findings, path.chain
    ends = bool(chain)
    if not chain:
        chain = (certificate, *issuers(certificate, others))
    candidates = (*chain[1:], *others, *(trust.anchors if trust else ()))
    issuer = next((c for c in candidates if _is_named(c, certificate)), None)
    if certificate.is_self_issued:
        issuer = certificate
    return Subject(certificate, at, issuer, chain, ends, address), engine


def _is_named(issuer: Certificate, certificate: Certificate) -> bool:
    return issuer.canonical_subject == certificate.canonical_issuer


def _run(
    subject: Any, about: str, *, where: str = "", anchor: bool = False
) -> Iterator[FitnessFinding]:
    """The findings of all rules about this kind; of an anchor those on authorities alone, since it
    is believed whatever it is like.
    """
    for one in RULES:
        if about not in one.about or (anchor and one.about != ("authority",)):
            continue
        for fault in one.check(subject):
            weights = weights_of(one, fault)
            yield FitnessFinding(one, fault.place, printable(fault.text), weights, fault.use, where)


def _finding(rule: FitnessRule, place: str, found: Finding) -> FitnessFinding:
    severities = dict.fromkeys(rule.weights, found.severity)
    return FitnessFinding(rule, place, printable(found.text), severities, where=found.where)


# what the engine says and no rule here does; its other codes have rules of their own
_ENGINE_CODES = ("pki.path.none", "pki.path.invalid", "pki.path.limit", "pki.trust.no-anchors")
_EXPLAINED = ("5280-6.1.3", "5280-6.1.4", "5280-4.2.1.10", "9598-6", "5280-4.1.1.2", "5280-4.2")


def _engine_findings(
    engine: Iterable[Finding], found: Sequence[FitnessFinding]
) -> Iterator[FitnessFinding]:
    explained = any(one.rule.id in _EXPLAINED for one in found)
    for one in engine:
        if one.code in _ENGINE_CODES and not (explained and one.code == "pki.path.invalid"):
            yield _finding(_POLICY if "polic" in one.text else _PATH, "chain", one)


def _rule_of(found: Finding) -> FitnessRule:
    stale = found.code in ("pki.revocation.stale", "pki.revocation.invalid")
    return _BY_ID["5280-6.3.3"] if stale else _REVOKED


def _report(
    title: str,
    certificate: Certificate | None,
    moment: datetime,
    profiles: Sequence[FitnessProfile],
    uses: tuple[FitnessUse, ...],
    found: Iterable[FitnessFinding],
    chain: tuple[Certificate, ...] = (),
) -> FitnessReport:
    wanted = tuple(dict.fromkeys(profiles))
    once: dict[tuple[str, str, str, str, str | None], FitnessFinding] = {}
    for one in found:
        severities = {p: s for p, s in one.severities.items() if p in wanted}
        if severities:
            kept = FitnessFinding(one.rule, one.place, one.text, severities, one.use, one.where)
            once.setdefault((one.rule.id, one.where, one.place, one.text, one.use), kept)
    ordered = sorted(once.values(), key=lambda one: -one.severity)
    day = moment.astimezone(UTC).date()
    coming = tuple(one for one in ordered if one.rule.since is not None and one.rule.since > day)
    return FitnessReport(
        printable(title),
        certificate,
        moment,
        wanted,
        uses,
        tuple(one for one in ordered if one not in coming),
        coming,
        chain,
    )
