"""Whether the certificates of a path were revoked (RFC 5280 section 5, RFC 6960).

Evidence is given: CRLs (full, delta, indirect) and OCSP responses, as octets. Nothing is fetched
here. Each certificate is judged by itself and everything is said, not the first thing found.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .. import oids
from ..arguments import check_fields, checked, file_name
from ..asn1 import ber, pem
from ..asn1.ber import Fields
from ..errors import MalformedMessage, UsageError
from ..findings import Finding, Severity, finding
from ..text import printable
from ..x509.certificate import Certificate
from .path import PathReport

RevocationMode: TypeAlias = Literal["none", "soft", "hard"]
"""What missing, stale or unusable evidence is: not looked at, a warning, an error (RFC 8550 4.2).
That a certificate is revoked is an error in both of the last."""

# of all evidence for one message: a CRL is read entry by entry, some 30 us each
MAX_OCTETS = 16 << 20
MAX_SENT = 1 << 20  # of what comes along in a message
MAX_PIECES = 1000

_SILENT = logging.NullHandler()
_SEVERITY = {"soft": Severity.WARNING, "hard": Severity.ERROR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What is known of revocation, and what it is when that is not enough (`mode`).

    `crls` are CRLs, `ocsp` OCSP responses, each in DER. They are not believed until they are held
    against their issuer; those that come along in a message are looked at beside them. UsageError
    for more than is read.
    """

    mode: RevocationMode = "soft"
    crls: tuple[bytes, ...] = field(default=(), repr=False)
    ocsp: tuple[bytes, ...] = field(default=(), repr=False)

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
    ) -> Revocation:
        """From files: CRLs in DER or PEM (several in one), OCSP responses in DER.

        Raises UsageError for a file that cannot be read, or holds something else.
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
                for der in _octets(path, kind):
                    try:
                        parse(der)
                    except ValueError:
                        raise UsageError(
                            f"{file_name(path)} holds no {kind}",
                            hint="CRLs are DER or PEM, OCSP responses DER",
                        ) from None
                    found[kind].append(der)
        return cls(mode=mode, crls=tuple(found["CRL"]), ocsp=tuple(found["OCSP response"]))

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
        return Revocation(mode=self.mode, crls=tuple(crls), ocsp=tuple(ocsp))


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
) -> PathReport:
    """The report on a path, and what speaks of the revocation of its certificates."""
    found = revocation_findings(
        report.chain, revocation=revocation, at=at, certificates=certificates, signed_at=signed_at
    )
    return PathReport((*report.findings, *found), report.chain)


def revocation_findings(
    chain: Sequence[Certificate],
    *,
    revocation: Revocation,
    at: datetime,
    certificates: Iterable[Certificate] = (),
    signed_at: datetime | None = None,
) -> list[Finding]:
    """What speaks against the certificates of a path, the anchor not among them.

    `at` is the time of judgement. `certificates` are further ones, among which the issuers of
    indirect CRLs and OCSP responses are looked for. `signed_at` is when the signer says that it
    signed: a claim, so a revocation after it is an error as well, and said to be one after it.
    """
    if revocation.mode == "none":
        return []
    findings: list[Finding] = []
    for number in range(len(chain) - 1):
        findings += _judge(chain[number:], revocation, at, certificates, signed_at)
    return findings


def _judge(
    chain: Sequence[Certificate],
    revocation: Revocation,
    at: datetime,
    certificates: Iterable[Certificate],
    signed_at: datetime | None,
) -> list[Finding]:
    from pyhanko_certvalidator.errors import RevokedError

    # its failures are findings of ours; without a handler Python would print them
    logging.getLogger("pyhanko_certvalidator").addHandler(_SILENT)
    where, severity = chain[0].description, _SEVERITY[revocation.mode]
    try:
        # Whoever signs evidence in the place of the issuer must not be revoked either, and that
        # must be known. The issuer itself is judged as part of the path.
        stale, failures = _look_up(chain, revocation, at, certificates, strict=True)
        if stale is None and failures is not None:
            again = _look_up(chain, revocation, at, chain[1:-1], strict=False)
            stale, failures = again if again[1] is None else (stale, failures)
        if stale is not None:  # what was revoked by then has not become good again
            _look_up(chain, revocation, min(at, stale), certificates, strict=False)
    except RevokedError as revoked:
        return [_revoked(where, revoked, signed_at)]
    if stale is not None:
        text = f"what is known of its revocation was good until {_time(stale)} only"
        return [finding("pki.revocation.stale", where, text, severity=severity)]
    if failures is None:
        return []
    if failures:
        said = printable("; ".join(dict.fromkeys(failures))[:300])
        text = f"what is there of its revocation cannot be used: {said}"
        return [finding("pki.revocation.invalid", where, text, severity=severity)]
    text = "no CRL and no OCSP response says whether it is revoked"
    return [finding("pki.revocation.unknown", where, text, severity=severity)]


def _look_up(
    chain: Sequence[Certificate],
    revocation: Revocation,
    at: datetime,
    certificates: Iterable[Certificate],
    *,
    strict: bool,
) -> tuple[datetime | None, list[str] | None]:
    """When the evidence on the first certificate ran out, and what is wrong with it; no failures at
    all (None) where it says that the certificate is good.

    Raises RevokedError where it says that it is not.
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
    failures: list[str] = []
    try:
        leaf, *upper, root = [asn1.Certificate.load(one.der, strict=True) for one in chain]
        anchor = CertTrustAnchor(root)
        path = ValidationPath(anchor, upper[::-1], leaf)
        context = ValidationContext(
            trust_roots=[anchor],
            other_certs=[asn1.Certificate.load(c.der, strict=True) for c in certificates],
            moment=at,
            allow_fetching=False,
            crls=list(revocation.crls),
            ocsps=list(revocation.ocsp),
            revocation_mode="require" if strict else "soft-fail",
            retroactive_revinfo=True,  # what was issued after `at` tells of that time as well
            algorithm_usage_policy=AcceptAllAlgorithms(),
            signature_validator=_signatures(chain),
        )
    except Exception as error:  # noqa: BLE001 - hostile octets reach asn1crypto: nothing may escape
        return None, [str(error) or type(error).__name__]
    for verify in (verify_ocsp_response, verify_crl):
        try:
            _run(verify(leaf, path, context))
            return None, None
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
    return stale, failures


def _signatures(chain: Sequence[Certificate]) -> Any:
    """The validator's check of signatures, with the keys of the path whole: a DSA key may have the
    parameters of its issuer's (RFC 3279 2.3.2).
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


def _revoked(where: str, revoked: Any, signed_at: datetime | None) -> Finding:
    moment = revoked.revocation_dt
    reason = {"certificate_hold": "on hold"}.get(revoked.reason.native, revoked.reason.native)
    text = f"was revoked at {_time(moment)} ({reason.replace('_', ' ')})"
    if signed_at is not None and isinstance(moment, datetime):
        text += f", {'before' if moment <= signed_at else 'after'} the time it says it signed at"
    return finding("pki.revocation.revoked", where, printable(text))


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
