"""Reports as JSON: the stable keys that programs hold on to, of the library and of `--json`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..findings import Finding
from ..x509.certificate import Certificate

if TYPE_CHECKING:
    from .receipts import ReceiptReport
    from .report import Countersigner, Layer, MessageReport, Signer


def report_json(report: MessageReport) -> dict[str, Any]:
    """A report; there is no verdict where nobody's signature was looked at."""
    found: dict[str, Any] = {"verdict": report.verdict} if report.judged else {}
    found["layers"] = [layer_json(layer) for layer in report.layers]
    if report.judged:
        found["signers"] = [_signer_json(signer) for signer in report.signers]
    found["summary"] = report.summary
    found["authenticated"] = report.authenticated
    found["findings"] = [_finding_json(one) for one in report.findings]
    return found


def receipt_json(report: ReceiptReport) -> dict[str, Any]:
    """The report about the message, but with the verdict and the findings about the receipt."""
    who = ", ".join(report.signer.emails) if report.signer is not None else "nobody"
    return {
        **report_json(report.message),
        "verdict": report.verdict,
        "findings": [_finding_json(one) for one in report.findings],
        "confirmed_by": who,
    }


def layer_json(layer: Layer) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": layer.type,
        "path": layer.path,
        "size": layer.size,
        "errant": layer.errant,
    }
    if layer.type in ("enveloped-data", "auth-enveloped-data"):
        found["cipher"] = layer.cipher
        found["recipients"] = [
            {"kind": one.kind, "id": one.id, "algorithm": one.algorithm} for one in layer.recipients
        ]
    elif layer.type == "encrypted-data":
        found["cipher"] = layer.cipher
    elif layer.type in ("signed-data", "certs-only", "signed-receipt"):
        found["detached"] = layer.detached
        found["micalg"] = layer.micalg
        found["signers"] = [
            {"id": one.id, "scheme": one.scheme, "digest": one.digest} for one in layer.signers
        ]
        found["certificates"] = [certificate_json(one) for one in layer.certificates]
    return found


def certificate_json(certificate: Certificate) -> dict[str, Any]:
    return {
        "subject": certificate.subject_text,
        "issuer": certificate.issuer_text,
        "serial": certificate.serial_text,
        "sha256": certificate.sha256,
    }


def _signer_json(signer: Signer) -> dict[str, Any]:
    unknown = dict.fromkeys(("subject", "issuer", "serial", "sha256"))
    certificate = signer.certificate
    request, label = signer.services.receipt_request, signer.services.label
    return {
        "email": list(signer.emails),
        **(unknown if certificate is None else certificate_json(certificate)),
        "layer": signer.layer,
        "scheme": signer.scheme,
        "digest": signer.digest,
        "signing_time": time_text(signer.signing_time),
        "intact": signer.intact,
        "valid": signer.valid,
        "trusted": signer.trusted,
        "trusted_at_signing": signer.trusted_at_signing,
        "sender": {"compared": signer.compared, "matches": signer.matches},
        "covers": {"body": signer.covers_body, "headers": list(signer.covers_headers)},
        "receipt_to": list(request.to) if request is not None else [],
        "label": str(label) if label is not None else None,
        "countersigners": [_countersigner_json(one) for one in signer.countersigners],
        "timestamps": [
            {
                "time": time_text(one.time),
                "policy": one.policy,
                "valid": one.valid,
                "trusted": one.trusted,
                "faults": list(one.faults),
            }
            for one in signer.timestamps
        ],
        "accepted": signer.accepted,
    }


def _countersigner_json(one: Countersigner) -> dict[str, Any]:
    return {
        "email": list(one.emails),
        "signing_time": time_text(one.signing_time),
        "intact": one.intact,
        "valid": one.valid,
        "trusted": one.trusted,
        "faults": list(one.faults),
        "countersigners": [_countersigner_json(inner) for inner in one.countersigners],
    }


def _finding_json(one: Finding) -> dict[str, Any]:
    return {
        "code": one.code,
        "severity": str(one.severity),
        "where": one.where,
        "text": one.text,
        "source": one.source,
    }


def time_text(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
