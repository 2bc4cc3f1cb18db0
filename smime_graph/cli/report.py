"""Reports as text for people."""

from __future__ import annotations

from ..findings import Report, Severity
from ..smime.report import Layer, MessageReport, time_text
from . import terminal

_MAX_FIELDS = 100  # of a header that are shown


def warn(report: Report) -> None:
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
    if layer.has_list_footer:
        head += ", with a footer that a mailing list may have added"
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
    if report.header_protection is not None:
        shown = report.header_fields[:_MAX_FIELDS]
        if any(one.state != "unprotected" for one in report.header_fields):
            lines.append(f"header fields are protected ({report.header_protection}):")
        else:
            lines.append(
                f"header fields stand inside as well ({report.header_protection}), and no signature"
                " that is accepted protects them:"
            )
        lines += [f"  {one.name}: {one.state}" for one in shown]
    if report.outer_headers_differ:
        names = ", ".join(report.outer_headers_differ[:_MAX_FIELDS])
        lines.append(f"outside these say something else: {names}")
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
