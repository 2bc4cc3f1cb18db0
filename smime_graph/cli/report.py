"""Reports as JSON and as text: the stable keys that scripts hold on to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..findings import Finding, Severity
from ..smime.report import Countersigner, Layer, MessageReport, Signer
from ..x509.certificate import Certificate
from . import terminal


def report_json(report: MessageReport, *, judged: bool = True) -> dict[str, Any]:
    """A report; without `judged` there is no verdict, because nobody's signature was looked at."""
    found: dict[str, Any] = {"verdict": report.verdict} if judged else {}
    found["layers"] = [layer_json(layer) for layer in report.layers]
    if judged:
        found["signers"] = [_signer_json(signer) for signer in report.signers]
    found["summary"] = report.summary
    found["authenticated"] = report.authenticated
    found["findings"] = [_finding_json(one) for one in report.findings]
    return found


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


def warn(report: MessageReport) -> None:
    """What is no reason to reject the message, and yet worth knowing."""
    for one in dict.fromkeys(report.findings):
        if one.severity is Severity.WARNING:
            terminal.complain("warning", f"{one.where}: {one.text} [{one.code}]")


# --- text for people ------------------------------------------------------------------------------


def layer_lines(layer: Layer) -> list[str]:
    indent = "  " * layer.path.count(".")
    head = f"{indent}{layer.path} {layer.type}, {layer.size} octets"
    if layer.cipher:
        head += f", {layer.cipher}"
    if layer.detached is not None:
        head += ", detached" if layer.detached else ", opaque"
    if layer.micalg:
        head += f", micalg {layer.micalg}"
    if layer.errant:
        head += ", of this part alone"
    lines = [head]
    lines += [f"{indent}  for {one.id} ({one.kind}, {one.algorithm})" for one in layer.recipients]
    lines += [f"{indent}  signed by {one.id} ({one.scheme}, {one.digest})" for one in layer.signers]
    lines += [f"{indent}  certificate {one.description}" for one in layer.certificates]
    return lines


def report_lines(report: MessageReport) -> list[str]:
    """The whole report, a line for each fact."""
    authenticated = "authenticated" if report.authenticated else "not authenticated"
    lines = [f"{report.verdict}: {report.summary}, {authenticated}"]
    for layer in report.layers:
        lines += layer_lines(layer)
    for signer in report.signers:
        who = ", ".join(signer.emails) or "(no address)"
        lines.append(f"{signer.where}: {who}, {'accepted' if signer.accepted else 'not accepted'}")
        facts = (
            ("intact", signer.intact),
            ("valid", signer.valid),
            ("trusted", signer.trusted),
            ("trusted at signing", signer.trusted_at_signing),
            ("is the sender", signer.matches),
        )
        words = {True: "yes", False: "no", None: "unknown"}
        lines.append("  " + "; ".join(f"{name}: {words[value]}" for name, value in facts))
        moment = time_text(signer.signing_time) or "unknown"
        lines.append(f"  {signer.scheme}, {signer.digest}, signed at {moment}")
    lines += [f"{one.severity}: {one}" for one in report.findings]
    return lines
