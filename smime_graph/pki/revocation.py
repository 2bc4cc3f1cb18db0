"""Whether the certificates of a path were revoked (RFC 5280 section 5, RFC 6960).

Evidence is given: CRLs (full, delta, indirect) and OCSP responses, as octets. Nothing is fetched
here: what is missing an `EvidenceSource` is asked for, and what it finds is believed no more than
what was given. Each certificate is judged by itself and everything is said, not the first thing
found.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from .. import oids
from ..arguments import check_fields, checked, file_name
from ..asn1 import ber, pem
from ..asn1.ber import Fields
from ..errors import LimitReached, MalformedMessage, UsageError
from ..findings import Finding, Severity, finding
from ..text import printable
from ..x509.certificate import Certificate
from .evidence import SignedEvidence, signed_evidence
from .keyfiles.read import files_of, is_folder
from .path import PathReport

if TYPE_CHECKING:
    from cryptography.x509 import ocsp

RevocationMode: TypeAlias = Literal["none", "soft", "hard"]
"""What missing, stale or unusable evidence is: not looked at, a warning, an error (RFC 8550 4.2).
That a certificate is revoked is an error in both of the last."""

# of all evidence for one message: a CRL is read entry by entry, some 30 us each
MAX_OCTETS = 16 << 20
MAX_SENT = 1 << 20  # of what comes along in a message
MAX_PIECES = 1000

# of the entries of a CRL, in octets: of longer lists only those are read that may be asked for
_SHORT_LIST = 16 * 1024
_MAX_INDIRECT = 1 << 20  # a list with entries of several issuers is read whole, or not at all
_MAX_FOUND = 10_000  # places where the octets of a serial number stand, by chance or as an entry

_ANY_TIME = timedelta(days=50 * 365)
# the validator takes what a CRL dates at the moment itself for not yet revoked
_INSTANT = timedelta(microseconds=1)
_SILENT = logging.NullHandler()
_SEVERITY = {"soft": Severity.WARNING, "hard": Severity.ERROR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was found for a certificate: CRLs and OCSP responses, or its issuers, or why there is
    nothing (`fault`). `keep` is called once it has told what was asked.
    """

    crls: tuple[bytes, ...] = ()
    ocsp: tuple[bytes, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    fault: str | None = None
    keep: Callable[[], None] = lambda: None


class Inquiry(Protocol):
    """What may still be asked for one message. Nothing is raised: a failure is a `fault`."""

    def evidence(
        self, certificate: Certificate, issuer: Certificate, *, at: datetime
    ) -> Iterator[Evidence]:
        """One piece after the other, each asked for only when the one before was not enough."""

    def issuers(self, certificate: Certificate, *, at: datetime) -> Evidence:
        """Certificates of that certificate's issuer, not believed."""


class EvidenceSource(Protocol):
    """Where evidence comes from that nobody gave, as an `online.Fetcher`."""

    def inquire(self) -> Inquiry:
        """An inquiry for one message, within limits of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What is known of revocation, and what it is when that is not enough (`mode`).

    `crls` are CRLs, `ocsp` OCSP responses, each in DER. They are not believed until they are held
    against their issuer; those that come along in a message are looked at beside them. UsageError
    for more than is read. `fetch` is an EvidenceSource, asked for what is missing or ran out, and
    for missing issuers: only where the signature is good and nothing else speaks against its chain.
    """

    mode: RevocationMode = "soft"
    crls: tuple[bytes, ...] = field(default=(), repr=False)
    ocsp: tuple[bytes, ...] = field(default=(), repr=False)
    fetch: EvidenceSource | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_fields(self)
        octets = sum(map(len, (*self.crls, *self.ocsp)))
        if octets > MAX_OCTETS or len(self.crls) + len(self.ocsp) > MAX_PIECES:
            raise UsageError(
                f"{octets} octets of evidence in {len(self.crls) + len(self.ocsp)} pieces, at most"
                f" {MAX_OCTETS} in {MAX_PIECES} are read",
                hint="give the CRLs of the authorities that matter, or OCSP responses",
            )

    @classmethod
    @checked
    def load(
        cls,
        *,
        mode: RevocationMode = "soft",
        crls: Sequence[str | PathLike[str]] = (),
        ocsp: Sequence[str | PathLike[str]] = (),
        fetch: EvidenceSource | None = None,
    ) -> Revocation:
        """From files: CRLs in DER or PEM (several in one) or folders of them, whose other files are
        passed over; OCSP responses in DER. `fetch`, an EvidenceSource, is asked for what they do
        not tell.

        Raises UsageError for a file that cannot be read, or holds something else, and for a folder
        without a CRL.
        """
        from cryptography import x509
        from cryptography.x509 import ocsp as responses

        found: dict[str, list[bytes]] = {"CRL": [], "OCSP response": []}
        kinds: tuple[tuple[Sequence[str | PathLike[str]], str, Callable[[bytes], object]], ...] = (
            (crls, "CRL", x509.load_der_x509_crl),
            (ocsp, "OCSP response", responses.load_der_ocsp_response),
        )
        for paths, kind, parse in kinds:
            for path in paths:
                if kind == "CRL" and is_folder(path):
                    found[kind] += _in_folder(path, parse)
                    continue
                ders = _octets(path, kind)
                if not ders or not all(_is_one(der, parse) for der in ders):
                    raise UsageError(
                        f"{file_name(path)} holds no {kind}",
                        hint="CRLs are DER or PEM, OCSP responses DER",
                    )
                found[kind] += ders
        return cls(
            mode=mode, crls=tuple(found["CRL"]), ocsp=tuple(found["OCSP response"]), fetch=fetch
        )

    @checked
    def with_revocation_info(self, choices: Iterable[bytes]) -> Revocation:
        """Also those of a SignedData, each a RevocationInfoChoice (RFC 5652 10.2.1): a CRL, or an
        OCSP response (RFC 5940 2.1). What is neither, or too much, is left out.
        """
        crls, ocsp = list(self.crls), list(self.ocsp)
        left = min(MAX_SENT, MAX_OCTETS - sum(map(len, (*crls, *ocsp))))
        for choice in choices:
            left -= len(choice)
            if left < 0 or len(crls) + len(ocsp) >= MAX_PIECES:
                break
            if choice[:1] == b"\x30":
                crls.append(choice)
            elif (response := _ocsp_response(choice)) is not None:
                ocsp.append(response)
        return replace(self, crls=tuple(crls), ocsp=tuple(ocsp))


def _ocsp_response(choice: bytes) -> bytes | None:
    """OtherRevocationInfoFormat ::= SEQUENCE { otherRevInfoFormat OID, otherRevInfo ANY }, as [1]
    IMPLICIT.
    """
    try:
        fields = Fields(ber.read(choice, "OtherRevocationInfoFormat", tag=0xA1), "other")
        if fields.any("otherRevInfoFormat").as_oid("otherRevInfoFormat") != oids.RI_OCSP_RESPONSE:
            return None
        return bytes(fields.any("otherRevInfo").raw)
    except MalformedMessage:
        return None


def _is_one(der: bytes, parse: Callable[[bytes], object]) -> bool:
    from cryptography.x509 import InvalidVersion

    try:
        parse(der)
    except (ValueError, InvalidVersion):
        return False
    return True


def _in_folder(folder: str | PathLike[str], parse: Callable[[bytes], object]) -> list[bytes]:
    """The CRLs of a folder; beside them may lie certificates, as in that of an authority."""
    found: list[bytes] = []
    for path in files_of(folder):
        if path.stat().st_size <= MAX_OCTETS:
            found += [der for der in _octets(path, "CRL") if _is_one(der, parse)]
    if not found:
        raise UsageError(
            f"{file_name(folder)} holds no CRL", hint="CRLs are DER or PEM, OCSP responses DER"
        )
    return found


def _octets(path: str | PathLike[str], kind: str) -> list[bytes]:
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no file name"
        raise UsageError(
            f"{file_name(path)} cannot be read: {reason}", hint=f"name a file with a {kind}"
        ) from None
    if kind == "CRL" and pem.BEGIN in data:
        try:
            return [block.der() for block in pem.read_blocks(data) if block.label == "X509 CRL"]
        except MalformedMessage as error:
            raise UsageError(f"{file_name(path)}: {error}") from None
    return [data]


def with_revocation(
    report: PathReport,
    revocation: Revocation,
    *,
    at: datetime,
    certificates: Iterable[Certificate] = (),
    signed_at: datetime | None = None,
    inquiry: Inquiry | None = None,
) -> PathReport:
    """The report on a path, and what speaks of the revocation of its certificates."""
    found = revocation_findings(
        report.chain,
        revocation=revocation,
        at=at,
        certificates=certificates,
        signed_at=signed_at,
        inquiry=inquiry,
    )
    return PathReport((*report.findings, *found), report.chain)


def revocation_findings(
    chain: Sequence[Certificate],
    *,
    revocation: Revocation,
    at: datetime,
    certificates: Iterable[Certificate] = (),
    signed_at: datetime | None = None,
    inquiry: Inquiry | None = None,
) -> list[Finding]:
    """What speaks against the certificates of a path, the anchor not among them.

    `at` is the time of judgement. `certificates` are further ones, among which the issuers of
    indirect CRLs and OCSP responses are looked for. `signed_at` is when the signer says that it
    signed: a claim, so a revocation after it is an error as well, and said to be one after it.
    `inquiry` is asked for what the evidence of `revocation` does not tell.
    """
    if revocation.mode == "none":
        return []
    findings: list[Finding] = []
    # their failures are findings of ours; without a handler Python would print them
    logging.getLogger("pyhanko_certvalidator").addHandler(_SILENT)
    for number in range(len(chain) - 1):
        known = _Known(list(revocation.crls), list(revocation.ocsp))
        case = _Case(chain[number:], revocation.mode, at, tuple(certificates), signed_at)
        found = case.judge(known)
        if found is not None and found.code != _REVOKED and inquiry is not None:
            findings += case.inquire(known, inquiry, found)
        elif found is not None:
            findings.append(found)
    return findings


_REVOKED = "pki.revocation.revoked"


@dataclass(slots=True)
class _Known:
    """The evidence so far."""

    crls: list[bytes]
    ocsp: list[bytes]


@dataclass(frozen=True, slots=True)
class _Case:
    """One certificate to be judged, with the rest of its path above it."""

    chain: Sequence[Certificate]
    mode: RevocationMode
    at: datetime
    certificates: tuple[Certificate, ...]
    signed_at: datetime | None

    def judge(self, known: _Known) -> Finding | None:
        """What the evidence has against the certificate; None where it says that it is good."""
        from cryptography.x509 import ocsp
        from pyhanko_certvalidator.errors import RevokedError

        evidence = signed_evidence(
            self.chain, known.crls, known.ocsp, self.certificates, at=self.at
        )
        try:
            stale, failures = self._look_up(evidence, timedelta(0))
            # what was revoked when the evidence ran out, whichever of it, has not become good again
            late = self._look_up(evidence, _ANY_TIME) if failures else (None, failures)
        except RevokedError as revoked:
            return self._finding("revoked", _sentence(revoked, self.at, self.signed_at))
        if stale is not None:
            text = f"what is known of its revocation was good until {_time(stale)} only"
            return self._finding("stale", text)
        if failures and late[1] is None:
            return self._finding("stale", "what is known of its revocation has run out in part")
        if failures is None:
            return None
        if failures:
            said = printable("; ".join(dict.fromkeys(failures))[:300])
            return self._finding(
                "invalid", f"what is there of its revocation cannot be used: {said}"
            )
        text = "no CRL and no OCSP response says whether it is revoked"
        for one in _responses_about(self.chain[0], evidence.ocsp):
            if one.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
                text = "its OCSP responder does not know it"
            elif self._was_good_before(one.revocation_time_utc, evidence):
                return None
        return self._finding("unknown", text)

    def _was_good_before(self, revoked_at: datetime | None, evidence: SignedEvidence) -> bool:
        """Whether a response that says that it was revoked later is good: then it was not before.

        The validator takes such a response for one that does not tell.
        """
        from pyhanko_certvalidator.errors import RevokedError

        if revoked_at is None or revoked_at <= self.at:
            return False
        responses = evidence._replace(crls=[])
        try:
            _look_up(self.chain, responses, revoked_at, strict=False)
        except RevokedError as revoked:
            return bool(revoked.revocation_dt > self.at)
        return False

    def _look_up(
        self, evidence: SignedEvidence, tolerance: timedelta
    ) -> tuple[datetime | None, list[str] | None]:
        """What `_look_up` says; evidence may be older than it should be by the tolerance.

        Whoever signs evidence in the place of the issuer must not be revoked either, and that must
        be known. The issuer itself is judged as part of the path.
        """
        chain, at = self.chain, self.at
        stale, failures = _look_up(chain, evidence, at, strict=True, tolerance=tolerance)
        if stale is None and failures is not None:
            alone = evidence._replace(others=())
            again = _look_up(chain, alone, at, strict=False, tolerance=tolerance)
            if again[1] is None:
                return again
        return stale, failures

    def inquire(self, known: _Known, inquiry: Inquiry, found: Finding) -> list[Finding]:
        """What is found after asking, where what was at hand was not enough."""
        faults: list[str] = []
        used: list[Evidence] = []
        last: Finding | None = found
        for piece in inquiry.evidence(self.chain[0], self.chain[1], at=self.at):
            if piece.fault is not None:
                faults.append(piece.fault)
                continue
            known.crls += piece.crls
            known.ocsp += piece.ocsp
            used.append(piece)
            last = self.judge(known)
            if last is None or last.code == _REVOKED:
                for one in used:  # several CRLs may have told it together; a response tells alone
                    if one is piece or (one.crls and piece.crls):
                        one.keep()
                return [] if last is None else [last]
        if last is None or not faults:
            return [] if last is None else [last]
        said = printable("; ".join(dict.fromkeys(faults))[:500])
        failed = finding("pki.revocation.not-fetched", self.chain[0].description, said)
        return [replace(last, text=f"{last.text}; {said}"), failed]

    def _finding(self, code: str, text: str) -> Finding:
        severity = None if code == "revoked" else _SEVERITY[self.mode]
        where = self.chain[0].description
        return finding(f"pki.revocation.{code}", where, text, severity=severity)


def _responses_about(
    certificate: Certificate, responses: Iterable[bytes]
) -> Iterator[ocsp.OCSPSingleResponse]:
    """What responses say of a certificate's number; nobody has checked whose they are."""
    from cryptography.x509 import ocsp

    for der in responses:
        try:
            found = list(ocsp.load_der_ocsp_response(der).responses)
        except ValueError:
            continue
        yield from (one for one in found if one.serial_number == certificate.serial_number)


def _look_up(
    chain: Sequence[Certificate],
    evidence: SignedEvidence,
    at: datetime,
    *,
    strict: bool,
    tolerance: timedelta = timedelta(0),
) -> tuple[datetime | None, list[str] | None]:
    """When the evidence on the first certificate ran out, and what is wrong with it; no failures at
    all (None) where it says that the certificate is good.

    Raises RevokedError where any of it says that it is not.
    """
    from asn1crypto import x509 as asn1
    from pyhanko_certvalidator import errors
    from pyhanko_certvalidator.authority import CertTrustAnchor
    from pyhanko_certvalidator.context import ValidationContext
    from pyhanko_certvalidator.path import ValidationPath
    from pyhanko_certvalidator.policy_decl import AcceptAllAlgorithms
    from pyhanko_certvalidator.revinfo.validate_crl import verify_crl
    from pyhanko_certvalidator.revinfo.validate_ocsp import verify_ocsp_response

    stale: datetime | None = None
    failures = list(evidence.faults)
    whole: dict[bytes, bytes] = {}
    certificates = (*chain[1:-1], *evidence.carried, *evidence.others)
    try:
        crls = _short_crls(evidence.crls, (chain[0], *certificates), whole, failures)
        leaf, *upper, root = [asn1.Certificate.load(one.der, strict=True) for one in chain]
        anchor = CertTrustAnchor(root)
        path = ValidationPath(anchor, upper[::-1], leaf)
        context = ValidationContext(
            trust_roots=[anchor],
            other_certs=[asn1.Certificate.load(c.der, strict=True) for c in certificates],
            moment=at + _INSTANT,
            time_tolerance=tolerance,
            allow_fetching=False,
            crls=crls,
            ocsps=evidence.ocsp,
            revocation_mode="require" if strict else "soft-fail",
            retroactive_revinfo=True,  # what was issued after `at` tells of that time as well
            algorithm_usage_policy=AcceptAllAlgorithms(),
            signature_validator=_signatures(chain, whole),
        )
    except Exception as error:  # noqa: BLE001 - hostile octets reach asn1crypto: nothing may escape
        return None, [str(error) or type(error).__name__]
    good: list[Callable[..., Any]] = []
    for verify in (verify_ocsp_response, verify_crl):
        try:
            _run(verify(leaf, path, context))
            good.append(verify)  # and the other may say that it was revoked
        except errors.RevokedError:
            raise
        except (errors.OCSPNoMatchesError, errors.CRLNoMatchesError):
            continue
        except (
            errors.OCSPValidationIndeterminateError,
            errors.CRLValidationIndeterminateError,
        ) as error:
            stale = stale or error.suspect_stale
            failures += [str(one[0]) for one in error.failures]
        except Exception as error:  # noqa: BLE001 - as above
            failures.append(str(error) or type(error).__name__)
    if failures and verify_crl not in good:
        # a CRL whose delta is not there tells of what it lists, if of nothing else
        try:
            _run(verify_crl(leaf, path, context, use_deltas=False))
        except errors.RevokedError:
            raise
        except Exception:  # noqa: BLE001, S110 - as above; what is wrong has been said
            pass
    return (None, None) if good else (stale, failures)


def _short_crls(
    crls: Iterable[bytes],
    certificates: Iterable[Certificate],
    whole: dict[bytes, bytes],
    failures: list[str],
) -> list[bytes]:
    """The CRLs without the entries that nobody will ask for; `whole` gets what was signed of each.

    The validator looks at one entry after the other, some 30 us each, and a list may have millions.
    It compares serial numbers by their octets, so an entry can be found by them (X.690 8.3).
    """
    serials: set[bytes] | None = None
    found: list[bytes] = []
    for crl in crls:
        try:
            start, stop = _entries(crl)
        except MalformedMessage as error:
            failures.append(f"CRL: {error}")
            continue
        if stop - start <= _SHORT_LIST:
            found.append(crl)
        elif crl.find(_CERTIFICATE_ISSUER, start, stop) >= 0:
            # an entry without an issuer of its own has that of an entry before it (RFC 5280 5.3.3)
            if stop - start <= _MAX_INDIRECT:
                found.append(crl)
            else:
                failures.append(f"an indirect CRL has {stop - start} octets of entries")
        else:
            if serials is None:
                serials = {one.serial for one in certificates}
            try:
                found.append(_shortened(crl, start, stop, serials, whole))
            except LimitReached as error:
                failures.append(str(error))
    return found


_CERTIFICATE_ISSUER = ber.oid(oids.CERTIFICATE_ISSUER)
_TIMES = (ber.UTC_TIME, ber.GENERALIZED_TIME)


def _entries(crl: bytes) -> tuple[int, int]:
    """Where revokedCertificates stands, header included; nowhere where there is none.

    TBSCertList ::= SEQUENCE { version, signature, issuer, thisUpdate, nextUpdate OPTIONAL,
                               revokedCertificates SEQUENCE OF ... OPTIONAL, [0] crlExtensions }
    """
    fields = _tbs_fields(crl)
    for before, (tag, start, _, end) in pairwise(fields):
        if tag == ber.SEQUENCE and before[0] in _TIMES:
            return start, end
    return 0, 0


def _tbs_fields(crl: bytes) -> list[tuple[int, int, int, int]]:
    what, body, stop = "CertificateList", 0, len(crl)
    for _ in range(2):
        outer = ber.spans(crl, what, start=body, stop=stop, count=1)
        if not outer or outer[0][0] != ber.SEQUENCE:
            raise MalformedMessage(f"{what}: this is no CRL")
        _, _, body, stop = outer[0]
    return ber.spans(crl, what, start=body, stop=stop, count=8)


def _shortened(
    crl: bytes, start: int, stop: int, serials: Iterable[bytes], whole: dict[bytes, bytes]
) -> bytes:
    """The CRL with the entries of these serial numbers alone, all else as it was."""
    outer = ber.spans(crl, "CertificateList", start=0, stop=len(crl), count=1)[0]
    tbs = ber.spans(crl, "CertificateList", start=outer[2], stop=outer[3], count=1)[0]
    kept: list[tuple[int, int]] = []
    for serial in serials:
        at, seen = crl.find(serial, start, stop), 0
        while at >= 0:
            if (seen := seen + 1) > _MAX_FOUND:
                raise LimitReached(f"a CRL has one serial number more than {_MAX_FOUND} times")
            if (entry := _entry_of(crl, at, at + len(serial), stop)) is not None:
                kept.append(entry)
            at = crl.find(serial, at + 1, stop)
    held = b"".join(crl[begin:end] for begin, end in sorted(set(kept)))
    listed = ber.sequence(held) if held else b""
    short = ber.sequence(crl[tbs[2] : start], listed, crl[stop : tbs[3]])
    whole[short] = crl[tbs[1] : tbs[3]]
    return ber.sequence(short, crl[tbs[3] : outer[3]])


def _entry_of(crl: bytes, at: int, behind: int, stop: int) -> tuple[int, int] | None:
    """The entry whose serial number stands at the offset; None where something else does.

    SEQUENCE { userCertificate CertificateSerialNumber, revocationDate Time, ... }
    """
    if behind >= stop or crl[behind] not in _TIMES:
        return None
    for header, length in ((2, crl[at - 1]), (3, crl[at - 1]), (4, crl[at - 2] << 8 | crl[at - 1])):
        expected = ber.header(ber.SEQUENCE, length)
        if len(expected) == header and crl[at - header : at] == expected:
            return (at - header, at + length) if at + length <= stop else None
    return None


def _signatures(chain: Sequence[Certificate], signed: dict[bytes, bytes]) -> Any:
    """The validator's check of signatures, with the keys of the path whole: a DSA key may have the
    parameters of its issuer's (RFC 3279 2.3.2). `signed` is what was signed of shortened CRLs.
    """
    from asn1crypto.keys import PublicKeyInfo
    from pyhanko_certvalidator.sig_validate import DefaultSignatureValidator

    whole = {one.public_key_info: one.whole_key_info for one in chain}

    class Signatures(DefaultSignatureValidator):
        def validate_signature(
            self,
            signature: bytes,
            signed_data: bytes,
            public_key_info: Any,
            *arguments: Any,
            **named: Any,
        ) -> None:
            signed_data = signed.get(signed_data, signed_data)
            key = public_key_info.dump()
            if whole.get(key, key) != key:
                public_key_info = PublicKeyInfo.load(whole[key])
            super().validate_signature(signature, signed_data, public_key_info, *arguments, **named)

    return Signatures()


def _run(work: Any) -> None:
    """All of a coroutine in one step, since it fetches nothing and so never waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    finally:
        work.close()
    raise RuntimeError("the validator wanted to wait for something")


def _sentence(revoked: Any, at: datetime, signed_at: datetime | None) -> str:
    moment = revoked.revocation_dt
    reason = {"certificate_hold": "on hold"}.get(revoked.reason.native, revoked.reason.native)
    if not isinstance(moment, datetime):
        return printable(f"is valid, but was revoked ({reason.replace('_', ' ')})")
    days = (at.astimezone(UTC).date() - moment.astimezone(UTC).date()).days
    ago = {0: "the same day", 1: "yesterday"}.get(days, f"{days} days ago")
    text = f"is valid, but was revoked {ago}, at {_time(moment)} ({reason.replace('_', ' ')})"
    if signed_at is not None:
        text += f", {'before' if moment <= signed_at else 'after'} the time it says it signed at"
    return printable(text)


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
