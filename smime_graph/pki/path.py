"""Certification paths: from a certificate to an anchor, and whether RFC 5280 accepts one.

Two halves. The search is ours: it follows only signatures that were checked, in bounded steps,
because a search by names alone is exponential in certificates that anyone can forge. Each path
found is then judged, first by the rules of this package (all of them, so that a report is
complete), then by pyhanko-certvalidator, which knows policies and name constraints. That validator
is imported only here, only when there is a path to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported
from cryptography.hazmat.primitives.asymmetric import padding

from .. import algorithms, oids
from ..algorithms import Digest, KeyKind
from ..algorithms.keys import NOT_OF_KEY
from ..asn1 import ber
from ..budget import ADDRESS, CONSTRAINT, PARSED, PATH, PATH_OCTET, STEP, Budget
from ..errors import LimitReached, MalformedMessage, UnsupportedAlgorithm
from ..findings import Finding, Report, Severity, finding
from ..text import printable
from ..x509.certificate import Certificate
from ..x509.price import signature_price
from . import chain_cache
from .address import addresses, constraint_findings, count_of_names
from .chain_cache import GoodChain, SignatureCheck
from .trust import TrustStore
from .usage import (
    authority_fault,
    chain_findings,
    extension_findings,
    key_findings,
    require_aware,
    validity_findings,
)

if TYPE_CHECKING:
    from pyhanko_certvalidator.context import ValidationContext

MAX_CHAIN = 8  # certificates, the first and the anchor included
MAX_SIGNATURE_CHECKS = 100
# Certificates that share a name and a key make many paths out of few signatures.
_MAX_STEPS = 500
_MAX_JUDGED = 16  # paths handed to the validator, some 5 ms each
_MAX_CERTIFICATE = 128 * 1024  # octets; an SLH-DSA certificate has 50 KB

_FORGEABLE = tuple(type(row.hash) for row in algorithms.rows(Digest) if row.forgeable)


@dataclass(frozen=True, slots=True)
class PathReport(Report):
    """What was noticed on the way from a certificate to an anchor.

    `chain` is the path judged, the certificate first and the anchor last; empty where none was
    found. It is believed only if `ok`. `dead_end` is the certificate whose issuer was not there,
    where nothing but that is missing.
    """

    chain: tuple[Certificate, ...] = ()
    dead_end: Certificate | None = None


class SignatureChecks:
    """How many signatures of certificates may still be checked, and the answers so far.

    One for each message: hand the same to every `build_path` for it, so that a message with many
    signers costs no more than one with few. `budget` is the message's, out of which the checks, the
    search and the judging are paid for.
    """

    __slots__ = ("_addresses", "_answers", "_left", "_pools", "budget", "reports")

    def __init__(self, limit: int = MAX_SIGNATURE_CHECKS, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self._left = limit
        self._addresses: dict[bytes, tuple[str, ...]] = {}  # by certificate
        self._answers: dict[tuple[bytes, bytes], str | None] = {}
        self._pools: dict[tuple[int, int], _Pool] = {}
        self.reports: dict[tuple[_Pool, bytes, datetime, bool], PathReport] = {}

    def fault(self, certificate: Certificate, issuer: Certificate) -> str | None:
        """None if `issuer`'s key made the signature of `certificate`, otherwise why not.

        Raises LimitReached where it would be one check too many.
        """
        key = (certificate.der, issuer.whole_key_info)
        if key not in self._answers:
            if self._left <= 0:
                raise LimitReached(f"more than {MAX_SIGNATURE_CHECKS} signatures of certificates")
            self._left -= 1
            self.budget.spend("signatures", signature_price(issuer, len(certificate.der)))
            self._answers[key] = _signature_fault(certificate, issuer)
        return self._answers[key]

    def repeat(self, good: GoodChain, pool: _Pool) -> bool:
        """Count what it took to find the chain as if it were done again; False, and nothing is
        counted, where that is more than is left.
        """
        new = good.answers
        if self._answers:
            new = {key: new[key] for key in new.keys() - self._answers.keys()}
        searched = len(good.chain) > 1 and not pool.charged
        signatures = sum([price for price, _ in new.values()])
        units = signatures + sum([units for _, units in good.work])
        if len(new) > self._left or units + (pool.price if searched else 0) > self.budget.left:
            return False
        if searched:
            pool.charge(self.budget)
        for work, each in good.work:
            self.budget.spend(work, each)
        if new:
            self._left -= len(new)
            self.budget.spend("signatures", signatures)
            self._answers.update((key, fault) for key, (_, fault) in new.items())
        return True

    def addresses(self, certificate: Certificate) -> tuple[str, ...]:
        """Those that the certificate binds; LimitReached where they are too many to be read."""
        if (known := self._addresses.get(certificate.der)) is None:
            self.budget.spend("mail addresses", ADDRESS * count_of_names(certificate))
            known = self._addresses[certificate.der] = addresses(certificate)
        return known

    def pool(self, trust: TrustStore, certificates: Iterable[Certificate]) -> _Pool:
        """Where issuers are looked for; that of the same two objects is made once."""
        key = (id(trust), id(certificates))
        if key not in self._pools:
            self._pools[key] = _Pool(trust, certificates)
        return self._pools[key]


def build_path(
    certificate: Certificate,
    *,
    trust: TrustStore,
    certificates: Iterable[Certificate] = (),
    at: datetime,
    accept_weak: bool = False,
    checks: SignatureChecks | None = None,
) -> PathReport:
    """The best path from `certificate` to an anchor, and everything that speaks against it.

    `certificates` are those that came with the message; they are believed no more than those of the
    store. `at` is the time to judge for and needs a time zone (UsageError). SHA-1 and MD5
    signatures, and issuing keys below 2048 bits, are errors, or with `accept_weak` (reading old
    mail) warnings. A certificate that is itself an anchor is its own path. Revocation is not judged
    here, nor what the certificate is for. An anchor that may not issue (`usage.authority_fault`)
    vouches for itself alone.
    """
    require_aware(at)
    checks = checks or SignatureChecks()
    pool = checks.pool(trust, certificates)
    # one certificate is judged once for each time, whoever asks
    place = pool, certificate.der, at, accept_weak
    if (known := checks.reports.get(place)) is not None:
        return known
    key = chain_cache.key_of(certificate, around=pool.digest, accept_weak=accept_weak)
    good = chain_cache.recall(key, at)
    if good is not None and checks.repeat(good, pool):
        known = PathReport(good.findings, good.chain)
        checks.reports[place] = known
        return known
    search = _Search(certificate, pool, checks)
    before, charged = checks.budget.spent, pool.charged
    best: PathReport | None = None
    limit = ""
    try:
        for count, chain in enumerate(search.paths()):
            if count == _MAX_JUDGED:
                limit = f"more than {_MAX_JUDGED} paths"
                break
            octets = sum(len(one.der) for one in chain)
            checks.budget.spend("certification paths", PATH + octets * PATH_OCTET)
            checks.budget.spend("name constraints", CONSTRAINT * _constrained_names(chain))
            own = _own_findings(chain, at, accept_weak)
            report = PathReport((*own, *_engine_findings(chain, at, own)), chain)
            if best is None or len(report.errors) < len(best.errors):
                best = report
            if report.ok:
                if not count:  # another one, passed over now, could be as good at another time
                    work = checks.budget.spent
                    work.pop("signatures", 0)  # they are counted by what is known of them
                    if pool.charged and not charged:
                        work["certificates"] -= pool.price
                    extra = [(kind, units - before.get(kind, 0)) for kind, units in work.items()]
                    took = [(kind, units) for kind, units in extra if units]
                    prices = [signature_price(by, len(one.der)) for one, by, _ in search.asked]
                    good = GoodChain(
                        chain, report.findings, tuple(search.asked), tuple(prices), tuple(took)
                    )
                    chain_cache.remember(key, good, at)
                break
    except LimitReached as error:
        limit = str(error)
    if best is None:
        why = tuple(_explain_no_path(search, certificate, at, limit))
        best = PathReport(why, dead_end=search.dead_end if _only_lacks_issuer(why) else None)
    if limit:
        text = f"no good path found, and to look further is too much: {limit}"
        found = finding("pki.path.limit", certificate.description, text)
        best = PathReport((*best.findings, found), best.chain)
    checks.reports[place] = best
    return best


def _only_lacks_issuer(why: Iterable[Finding]) -> bool:
    return [f.code for f in why if f.severity is Severity.ERROR] == ["pki.path.none"]


def _explain_no_path(
    search: _Search, certificate: Certificate, at: datetime, limit: str
) -> list[Finding]:
    findings = validity_findings(certificate, at=at) + extension_findings(certificate)
    return findings if limit else [*findings, search.explain_failure()]


def _constrained_names(chain: Sequence[Certificate]) -> int:
    """How many comparisons the name constraints ask for: the validator compares each with each."""
    names = subtrees = 0
    for certificate in chain:
        names += count_of_names(certificate)
        try:
            extensions = certificate.extensions
        except MalformedMessage:
            continue
        for extension in extensions:
            if isinstance(extension.value, x509.NameConstraints):
                subtrees += len(extension.value.permitted_subtrees or ())
                subtrees += len(extension.value.excluded_subtrees or ())
    return names * subtrees


# --- the search -----------------------------------------------------------------------------------


class _Pool:
    """The certificates among which issuers are looked for, by their subjects."""

    __slots__ = (
        "_by_issuer",
        "_by_subject",
        "_sources",
        "anchors",
        "charged",
        "digest",
        "price",
        "sent",
    )

    def __init__(self, trust: TrustStore, certificates: Iterable[Certificate]) -> None:
        self._sources = (trust, certificates)  # kept, because it is known by their identity
        self.anchors = trust.roots
        self.sent = tuple(dict.fromkeys(certificates))
        self.digest = chain_cache.surroundings(trust, self.sent)
        # to read those that were sent; the store's are read once, for all messages
        self.price = sum(
            PARSED + len(one.subject)
            for one in self.sent
            if len(one.der) <= _MAX_CERTIFICATE and one not in trust.held
        )
        self.charged = False
        self._by_subject: dict[bytes, list[Certificate]] | None = None
        self._by_issuer: dict[tuple[bytes, bytes | None], list[Certificate]] = {}

    def charge(self, budget: Budget) -> None:
        """Count the reading of them, once for a message."""
        if not self.charged:
            self.charged = True
            budget.spend("certificates", self.price)

    def candidates(self, certificate: Certificate, budget: Budget) -> list[Certificate]:
        """Those whose subject is the certificate's issuer, the likeliest first."""
        if self._by_subject is None:
            self.charge(budget)
            self._by_subject = {}
            # anchors first: nothing that is sent along can use up the budget before them
            store = (*self._sources[0].anchors, *self._sources[0].certificates)
            for one in dict.fromkeys((*store, *self.sent)):
                if len(one.der) <= _MAX_CERTIFICATE:
                    self._by_subject.setdefault(one.canonical_subject, []).append(one)
        budget.spend("certificates", PARSED + len(certificate.issuer))
        name, key_id = certificate.canonical_issuer, _authority_key_identifier(certificate)
        if (known := self._by_issuer.get((name, key_id))) is None:
            known = list(self._by_subject.get(name, ()))
            if key_id is not None and len(known) > 1:
                # a hint of the issuer, not a condition (RFC 4158 3.5.12); the anchors stay in front
                known.sort(
                    key=lambda c: (c not in self.anchors, c.subject_key_identifier != key_id)
                )
            self._by_issuer[name, key_id] = known
        return known


class _Search:
    """Paths from one certificate to the anchors, over checked signatures only."""

    def __init__(self, certificate: Certificate, pool: _Pool, checks: SignatureChecks) -> None:
        self._start = certificate
        self._pool = pool
        self._anchors = pool.anchors
        self._checks = checks
        self.dead_end, self._deepest = certificate, 0
        self._steps = 0
        self.asked: list[SignatureCheck] = []
        self._bad_signature: tuple[Certificate, Certificate, str] | None = None
        self._no_authority: tuple[Certificate, Certificate, str] | None = None

    def paths(self) -> Iterator[tuple[Certificate, ...]]:
        if self._start in self._anchors:
            yield (self._start,)
        if len(self._start.der) > _MAX_CERTIFICATE:
            return
        yield from self._extensions((self._start,))

    def _extensions(self, chain: tuple[Certificate, ...]) -> Iterator[tuple[Certificate, ...]]:
        # Depth first: an issuer whose signature is good is followed before another one of its name
        # is tried, so certificates that were merely added cannot use up the budget.
        if len(chain) > self._deepest:
            self.dead_end, self._deepest = chain[-1], len(chain)
        for issuer in self._pool.candidates(chain[-1], self._checks.budget):
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise LimitReached(f"more than {_MAX_STEPS} steps")
            self._checks.budget.spend("certification paths", STEP)
            # RFC 4158 2.4.2: no name and key twice; two with one key are tried in turn
            if any(
                c.canonical_subject == issuer.canonical_subject
                and c.public_key_info == issuer.public_key_info
                for c in chain
            ):
                continue
            if issuer.inherits_parameters:
                # its key is known with that of its own issuer, and cannot check anything before;
                # an anchor that leaves part of its key to others is none (RFC 5280 6.1.1 d)
                if len(chain) < MAX_CHAIN - 1:
                    yield from self._extensions((*chain, issuer))
            elif (checked := self._check_last(chain, issuer)) is None:
                continue
            elif issuer in self._anchors:
                # the anchor's own constraints hold (RFC 5937), the one on issuing first of all
                if (lack := authority_fault(issuer)) is not None:
                    self._no_authority = self._no_authority or (chain[-1], issuer, lack)
                else:
                    yield (*checked, issuer)
            elif len(chain) < MAX_CHAIN - 1:
                yield from self._extensions((*checked, issuer))

    def _check_last(
        self, chain: tuple[Certificate, ...], issuer: Certificate
    ) -> tuple[Certificate, ...] | None:
        """The chain, where `issuer` made the signature of its end; else None.

        DSA keys at its end that have the parameters of their issuer's (RFC 3279 2.3.2) are whole in
        what is returned, and only now is what they signed checked. So the parameters are always
        those of the certificates that the path goes through.
        """
        checked = list(chain)
        for index in reversed(range(len(chain))):
            one = chain[index]
            fault = self._checks.fault(one, issuer)
            self.asked.append((one, issuer, fault))
            if fault is not None:
                self._bad_signature = self._bad_signature or (one, issuer, fault)
                return None
            if not one.inherits_parameters:
                break
            if (parameters := issuer.dsa_parameters) is None:
                lack = "the parameters of its key are not those of a DSA key above it"
                self._bad_signature = self._bad_signature or (one, issuer, lack)
                return None
            checked[index] = issuer = one.with_parameters(parameters)
        return tuple(checked)

    def explain_failure(self) -> Finding:
        """The finding for a search that ended without a path."""
        if not self._anchors:
            text = "no trust anchors were given"
            return finding("pki.trust.no-anchors", self._start.description, text)
        if self._no_authority is not None:
            certificate, anchor, lack = self._no_authority
            text = (
                f"issued by {anchor.description}, which is trusted for itself alone: it is no "
                f"authority, {lack}"
            )
            return finding("pki.path.invalid", certificate.description, text)
        if self._bad_signature is not None:
            certificate, issuer, fault = self._bad_signature
            for one in (certificate, issuer):
                if (malformed := _malformed(one)) is not None:
                    return malformed
            text = f"the signature is not by {issuer.description}, named as its issuer: {fault}"
            if issuer in self._anchors:
                text += "; another authority of the same name may have made it"
            return finding("pki.path.invalid", certificate.description, text)
        end = self.dead_end
        if end.is_self_issued:
            text = "self-issued, and not among the trust anchors"
        else:
            text = f"no certificate of its issuer {end.issuer_text} was given"
        return finding("pki.path.none", end.description, text)


def _malformed(certificate: Certificate) -> Finding | None:
    """The finding for one that cannot be read, so that nothing is known of its signature."""
    try:
        _ = certificate.x509
    except MalformedMessage as error:
        return finding("pki.certificate.malformed", certificate.description, str(error))
    return None


def _authority_key_identifier(certificate: Certificate) -> bytes | None:
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (x509.ExtensionNotFound, MalformedMessage):
        return None
    return found.value.key_identifier


def _signature_fault(certificate: Certificate, issuer: Certificate) -> str | None:
    """None if the signature is good, otherwise what is wrong with it."""
    try:
        check_signature(certificate, issuer)
    except InvalidSignature as error:
        return str(error) or "it does not verify"
    except UnsupportedAlgorithm as error:
        return f"algorithm {error.oid} with the issuer's key is not supported"
    except MalformedMessage as error:
        return f"it cannot be read: {error}"
    return None


def check_signature(certificate: Certificate, issuer: Certificate) -> None:
    """Check that `issuer`'s key made the signature of `certificate`; names are not looked at.

    Over the bytes as received, never over a new encoding of them. Raises InvalidSignature,
    UnsupportedAlgorithm, and MalformedMessage for what cannot be read.
    """
    outer = ber.Fields(ber.read(certificate.der, "Certificate"), "Certificate")
    tbs = outer.take(ber.SEQUENCE, "tbsCertificate")
    algorithm = outer.take(ber.SEQUENCE, "signatureAlgorithm")
    inner = ber.Fields(tbs, "TBSCertificate")
    inner.optional(0xA0)
    inner.take(ber.INTEGER, "serialNumber")
    if inner.take(ber.SEQUENCE, "signature").raw != algorithm.raw:
        # RFC 5280 4.1.1.2: otherwise the algorithm could be replaced without breaking the
        # signature
        raise InvalidSignature("the two statements of the signature algorithm differ")
    # cryptography lets the number of unused bits be another one
    outer.any("signatureValue").as_bits("signatureValue")
    try:
        _verify(certificate.x509, tbs.raw, issuer)
    except _Unsupported:
        oid = ber.Fields(algorithm, "signatureAlgorithm").any("algorithm").as_oid()
        raise UnsupportedAlgorithm(oid, where=f"signature of {certificate.description}") from None
    except (ValueError, TypeError) as error:
        raise MalformedMessage(str(error)) from error


def _verify(certificate: x509.Certificate, tbs: bytes, issuer: Certificate) -> None:
    key, signature = issuer.public_key, certificate.signature
    kind = algorithms.find(KeyKind, issuer.key_algorithm)
    oid = certificate.signature_algorithm_oid.dotted_string
    pure = algorithms.find(KeyKind, oid)
    parameters = digest = None
    if pure is None or not pure.pure:
        parameters = certificate.signature_algorithm_parameters
        digest = certificate.signature_hash_algorithm
    if oid == oids.MD5_WITH_RSA:
        parameters = padding.PKCS1v15()  # cryptography names the digest, but no longer the padding
    # a signature algorithm without parameters belongs to one kind of key (RFC 8410, RFC 9881)
    if kind is None or kind.verify is None or (kind.pure and pure is not kind):
        raise InvalidSignature(NOT_OF_KEY)
    kind.verify(key, signature, tbs, parameters, digest)


# --- judging a path -------------------------------------------------------------------------------


def _own_findings(chain: tuple[Certificate, ...], at: datetime, accept_weak: bool) -> list[Finding]:
    *issued, anchor = chain
    findings: list[Finding] = []
    for certificate in issued:
        findings += validity_findings(certificate, at=at)
        findings += extension_findings(certificate)
        findings += _weak_signature(certificate, accept_weak)
    for issuer in chain[1:]:
        findings += key_findings(issuer, accept_weak=accept_weak, code="pki.path.weak-algorithm")
    if not issued:
        # pinned by the user, signature and issuer do not matter: all that is left is time
        return validity_findings(anchor, at=at) + extension_findings(anchor)
    # an anchor is a name and a key (RFC 5280 6.1.1 d), so its end is worth saying but decides
    # nothing
    findings += validity_findings(anchor, at=at, severity=Severity.WARNING)
    findings += chain_findings(chain)
    findings += constraint_findings(chain)
    return findings


# the validator has one kind of error for these, which say more
_ALSO_INVALID = frozenset(("pki.certificate.critical-extension", "pki.certificate.malformed"))


def _weak_signature(certificate: Certificate, accept_weak: bool) -> list[Finding]:
    try:
        digest = certificate.x509.signature_hash_algorithm
    except (MalformedMessage, ValueError, _Unsupported):
        return []  # such a signature was not verified, so this is not on a path
    if not isinstance(digest, _FORGEABLE):
        return []
    severity = Severity.WARNING if accept_weak else None
    text = f"signed with {digest.name.upper()}, which can be forged"
    return [finding("pki.path.weak-algorithm", certificate.description, text, severity=severity)]


def _engine_findings(
    chain: Sequence[Certificate], at: datetime, own: Sequence[Finding]
) -> list[Finding]:
    """What RFC 5280 6.1 has against this path, by pyhanko-certvalidator, and `own` does not say."""
    if len(chain) == 1:
        return []
    from asn1crypto import x509 as asn1
    from pyhanko_certvalidator.authority import CertTrustAnchor
    from pyhanko_certvalidator.context import ValidationContext
    from pyhanko_certvalidator.errors import ExpiredError, NotYetValidError
    from pyhanko_certvalidator.path import ValidationPath
    from pyhanko_certvalidator.policy_decl import AcceptAllAlgorithms
    from pyhanko_certvalidator.validate import async_validate_path

    said = {(f.code, f.where) for f in own if f.severity is Severity.ERROR}
    said |= {("pki.path.invalid", f.where) for f in own if f.code in _ALSO_INVALID}
    findings: list[Finding] = []
    least, most = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    # it stops at the first error; after one of time once more, as if all of them were valid
    for tolerance in (timedelta(0), min(at - least, most - at)):
        context: ValidationContext | None = None
        parsed: list[Any] = []
        try:
            parsed += [asn1.Certificate.load(c.der, strict=True) for c in chain]
            leaf, *intermediates, root = parsed
            anchor = CertTrustAnchor(root, _anchor_qualifiers(root))
            context = ValidationContext(
                trust_roots=[anchor],  # never empty: that would mean the operating system's list
                moment=at,
                allow_fetching=False,
                revocation_mode="none",
                time_tolerance=tolerance,
                algorithm_usage_policy=AcceptAllAlgorithms(),  # weakness is judged by ourselves
                signature_validator=_signatures(),
            )
            work = async_validate_path(context, ValidationPath(anchor, intermediates[::-1], leaf))
            try:
                # One step of the coroutine is all of it, since nothing is fetched; so this works
                # inside a running event loop, where asyncio.run would not.
                work.send(None)
                raise RuntimeError("the validator wanted to wait for something")
            except StopIteration:
                break
            finally:
                work.close()
        except Exception as error:  # noqa: BLE001 - hostile certificates reach asn1crypto: nothing may escape
            code = "invalid"
            if isinstance(error, ExpiredError | NotYetValidError):
                if tolerance:
                    break
                code = "expired" if isinstance(error, ExpiredError) else "not-yet-valid"
            culprit = _culprit(chain, parsed, context)
            text = _NO_A_LABEL if isinstance(error, UnicodeError) else _plain(error)
            findings.append(finding(f"pki.path.{code}", culprit.description, text))
            if code == "invalid":
                break
    return [f for f in findings if (f.code, f.where) not in said]


def _signatures() -> Any:
    """The validator's check of signatures; those that it does not know only the search checked."""
    from pyhanko_certvalidator.errors import AlgorithmNotSupported
    from pyhanko_certvalidator.sig_validate import DefaultSignatureValidator

    class Signatures(DefaultSignatureValidator):
        def validate_signature(self, *arguments: Any, **named: Any) -> None:
            with suppress(AlgorithmNotSupported, _Unsupported):
                super().validate_signature(*arguments, **named)

    return Signatures()


def _culprit(
    chain: Sequence[Certificate], parsed: Sequence[Any], context: ValidationContext | None
) -> Certificate:
    """The first certificate, from the anchor down, that the validator did not record as good."""
    if context is not None:
        for certificate, twin in zip(reversed(chain[:-1]), reversed(parsed[:-1]), strict=False):
            if context.check_validation(twin) is None:  # type: ignore[no-untyped-call]
                return certificate
    return chain[0]


def _anchor_qualifiers(root: Any) -> Any:
    """The constraints that an anchor's certificate lays on those below it.

    RFC 5280 takes an anchor for a name and a key; RFC 5937 and most software let its own
    constraints hold.
    """
    from pyhanko_certvalidator.authority import TrustQualifiers
    from pyhanko_certvalidator.name_trees import (
        default_excluded_subtrees,
        default_permitted_subtrees,
        process_general_subtrees,
    )
    from pyhanko_certvalidator.policy_decl import PKIXValidationParams

    constraints, length = root.name_constraints_value, root.max_path_length
    parameters = None
    if constraints is not None:
        permitted, excluded = default_permitted_subtrees(), default_excluded_subtrees()
        for subtrees, field in ((permitted, "permitted_subtrees"), (excluded, "excluded_subtrees")):
            if constraints[field].native is not None:
                subtrees.update(process_general_subtrees(constraints[field]))
        parameters = PKIXValidationParams(
            initial_permitted_subtrees=permitted, initial_excluded_subtrees=excluded
        )
    # the second length is that of attribute authorities; the validator fails where only one of them
    # is given
    return TrustQualifiers(
        standard_parameters=parameters,
        max_path_length=length,
        max_aa_path_length=None if length is None else MAX_CHAIN,
    )


# RFC 5280 7.5: what is constrained has to be read, and so has every name on the way
_NO_A_LABEL = "a domain in its names cannot be read: it begins with xn-- and is no A-label"


def _plain(error: Exception) -> str:
    """The validator's text in the form of ours: it may quote names, and a name is the sender's
    text."""
    from pyhanko_certvalidator.errors import PathError, ValidationError

    its_own = ValidationError | PathError | InvalidSignature | ValueError
    text = str(error).removeprefix("The path could not be validated because ").rstrip(". ")
    text = printable(text[:300])
    if not text or not isinstance(error, its_own):
        return f"the validator cannot judge what is in it, and failed ({type(error).__name__})"
    return text[:1].lower() + text[1:]
