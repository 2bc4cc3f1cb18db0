"""The tables that are made of the code, and where each stands; scripts/tables writes them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

from smime_graph import algorithms
from smime_graph.emulator.endpoints import ENDPOINTS, OF_FOLDERS, OF_MESSAGES, OF_USERS, ROOTS
from smime_graph.findings import CATALOGUE, Severity
from smime_graph.graph.rights import NEEDS
from smime_graph.harness.fitness import RULES
from smime_graph.harness.profiles import PROFILES, SBR, FitnessProfile
from smime_graph.policy import POLICIES

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "smime_graph"

TITLES = {
    1035: "Domain names",
    1421: "Privacy enhanced mail (encrypted PEM keys)",
    1428: "8-bit mail through 7-bit gateways",
    1847: "multipart/signed",
    2017: "URL access type of message/external-body",
    2045: "MIME: bodies",
    2046: "MIME: media types",
    2047: "MIME: header fields that are not ASCII",
    2183: "MIME: Content-Disposition",
    2231: "MIME: parameters",
    2268: "RC2",
    2585: "Media types of certificates and CRLs",
    2606: "Reserved domain names",
    2634: "Enhanced security services",
    3156: "OpenPGP/MIME",
    2985: "Attributes of PKCS #9",
    2986: "Requests for certificates (PKCS #10)",
    3161: "Timestamps",
    3211: "Password-based encryption for CMS",
    3217: "Triple-DES and RC2 key wrap",
    3218: "The million message attack",
    3274: "Compressed data",
    3279: "Algorithms of certificates",
    3339: "Dates and times",
    3370: "CMS algorithms",
    3464: "Delivery status notifications",
    3560: "RSAES-OAEP in CMS",
    3565: "AES in CMS",
    3739: "Qualified certificates",
    3834: "Automatic answers",
    3986: "URI: generic syntax",
    4055: "RSASSA-PSS and RSAES-OAEP in certificates",
    4056: "RSASSA-PSS in CMS",
    4134: "Examples of S/MIME messages",
    4158: "Building certification paths",
    4262: "S/MIME capabilities in certificates",
    4514: "Names as text",
    4518: "Preparation of strings for comparison",
    4519: "Attributes of names",
    4648: "Base64",
    4954: "Signing in to SMTP",
    5019: "Lightweight OCSP profile",
    5035: "signingCertificateV2",
    5083: "AuthEnvelopedData",
    5084: "AES-CCM and AES-GCM in CMS",
    5280: "Certificates and CRLs",
    5321: "SMTP",
    5322: "Internet messages",
    5480: "Elliptic curve keys",
    5652: "Cryptographic Message Syntax",
    5737: "IPv4 addresses for documentation",
    5753: "Elliptic curves in CMS",
    5754: "SHA-2 in CMS",
    5940: "Revocation information in CMS",
    5816: "Timestamps: ESSCertIDv2",
    5890: "Internationalized domain names",
    5937: "Constraints of trust anchors",
    5958: "Private keys",
    6211: "Algorithm protection attribute",
    6531: "Internationalised mail by SMTP",
    6532: "Internationalized header fields",
    6749: "The OAuth 2.0 Authorization Framework",
    6854: "Groups in From and Sender",
    6960: "OCSP",
    7240: "Prefer Header for HTTP",
    7292: "PKCS #12",
    7468: "Textual encodings (PEM)",
    7512: "PKCS #11 URIs",
    7914: "scrypt",
    8017: "RSA",
    8018: "PKCS #5",
    8098: "Message disposition notifications",
    8103: "ChaCha20-Poly1305 in CMS",
    8398: "Internationalized addresses in certificates (2018)",
    8410: "Ed25519, Ed448, X25519 and X448 keys",
    8418: "X25519 and X448 in CMS",
    8419: "Ed25519 and Ed448 in CMS",
    8439: "ChaCha20 and Poly1305",
    8550: "S/MIME 4.0: certificates",
    8551: "S/MIME 4.0: messages",
    8619: "HKDF identifiers",
    8702: "SHAKE in CMS",
    8933: "One digest for content and attributes",
    9110: "HTTP semantics",
    9111: "HTTP caching",
    9112: "HTTP/1.1",
    9216: "S/MIME example keys",
    9579: "PBMAC1 in PKCS #12",
    9598: "Internationalized addresses in certificates",
    9629: "KEMRecipientInfo",
    9654: "OCSP nonce extension",
    9688: "SHA-3 in CMS",
    9690: "RSA-KEM in CMS",
    9709: "Content keys from HKDF",
    9787: "Guidance on end-to-end mail security",
    9788: "Header protection",
    9814: "SLH-DSA in CMS",
    9881: "ML-DSA in certificates",
    9882: "ML-DSA in CMS",
    9935: "ML-KEM in certificates",
    9936: "ML-KEM in CMS",
}


def algorithms_table() -> str:
    lines = [
        "# Algorithms",
        "",
        "What each policy does with each row of `smime_graph.algorithms`. SLH-DSA, ML-KEM-512 and",
        "the composite algorithms are refused by name: no library here has them.",
        "",
        "| algorithm | kind | identifiers | " + " | ".join(POLICIES) + " |",
        "|---" * (3 + len(POLICIES)) + "|",
    ]
    for row in algorithms.TABLE:
        kind = re.sub(r"(?<!^)([A-Z])", r" \1", type(row).__name__).lower()
        judged = []
        for policy in POLICIES.values():
            used = {*policy.ciphers, *policy.key_transports, policy.digest, policy.rsa_signature}
            verdict = "reads" if row.name in policy.accept else "refuses"
            if row.name in policy.flag:
                verdict = "flags"
            judged.append("uses" if policy.sends and row.name in used else verdict)
        identifiers = ", ".join(row.oids[:2]) + (", ..." if len(row.oids) > 2 else "")
        lines.append(f"| {row.name} | {kind} | {identifiers} | " + " | ".join(judged) + " |")
    return "\n".join(lines) + "\n"


def findings_table() -> str:
    lines = [
        "# Findings",
        "",
        "What is said about a message or a certificate has one of these codes: `cms.*` for its",
        "bytes, `alg.*` for an algorithm, `pki.*` for a certificate or its path, `smime.*` for the",
        "message around them, `graph.*` for what Graph makes of it. An error makes a message or a",
        "certificate unacceptable. A policy, and what else is known, may change the severity:",
        "`--json` and `report.findings` show the one that counts.",
        "",
        "| code | usually | by |",
        "|---|---|---|",
    ]
    lines += [f"| `{code}` | {usual} | {by} |" for code, (usual, by) in sorted(CATALOGUE.items())]
    return "\n".join(lines) + "\n"


def cited() -> dict[int, list[str]]:
    """The RFCs that each module's text names, by number."""
    found: dict[int, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__")
        for number in sorted(set(re.findall(r"\bRFC\s+(\d{4})\b", path.read_text("utf-8")))):
            found.setdefault(int(number), []).append(name)
    return dict(sorted(found.items()))


def standards_table() -> str:
    lines = [
        "# Standards",
        "",
        "Which module names which RFC; the section stands in the code at the decision.",
        "",
        "| RFC | about | modules |",
        "|---|---|---|",
    ]
    for number, modules in cited().items():
        lines.append(f"| {number} | {TITLES[number]} | {', '.join(modules)} |")
    return "\n".join(lines) + "\n"


def _profiles(weights: Mapping[FitnessProfile, Severity]) -> str:
    """The profiles of a rule, S/MIME BR's as one, by what it weighs for them."""
    shown = []
    for severity in sorted(set(weights.values()), reverse=True):
        named: list[str] = [p for p in PROFILES if weights.get(p) is severity]
        if len(named) == len(PROFILES):
            return "everybody"
        if set(SBR) <= set(named):
            named = ["S/MIME BR", *(p for p in named if p not in SBR)]
        shown.append(f"{severity}: {', '.join(named)}")
    return "; ".join(shown)


def rules_table() -> str:
    lines = [
        "# Rules on certificates",
        "",
        "What `smime-graph cert check` holds a certificate, an authority, a CRL or an OCSP",
        "response to. A finding may weigh less than its rule, where a document says SHOULD, and be",
        "of some profiles alone: `--json` shows what counts. `pkilint`: its codes for the same.",
        "",
        "| rule | of | wants that | by | since | counts for | pkilint |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in RULES:
        of = ", ".join(one.about) or "certificate"
        codes = ", ".join(f"`{code}`" for code in one.codes)
        lines.append(
            f"| {one.id} | {of} | {one.title} | {one.source} | {one.since or ''} |"
            f" {_profiles(one.weights)} | {codes} |"
        )
    return "\n".join(lines) + "\n"


def permissions_table() -> str:
    lines = [
        "# Permissions",
        "",
        "What each verb, and each method of `GraphClient` of that name, needs of Microsoft Graph",
        "at least: a delegated permission (somebody signs in) or an application's role of the same",
        "name. In the mailbox of somebody else a delegated permission is the one with `.Shared`,",
        "with Exchange's Send As or Send on Behalf. An application's roles reach every mailbox of",
        "the tenant until RBAC for Applications narrows them. Nothing here needs `Mail-Advanced`.",
        "`smime-graph doctor` holds a token against this table.",
        "",
        "| verb | needs | and with more |",
        "|---|---|---|",
    ]
    for one in NEEDS:
        needs = " and ".join(f"`{right}`" for right in one.rights) or "nothing"
        more = re.sub(r"\b([A-Z][a-z]+\.[A-Z]\w+)", r"`\1`", one.more)
        lines.append(f"| {one.verb} | {needs} | {more} |")
    return "\n".join(lines) + "\n"


def endpoints_table() -> str:
    lines = [
        "# Endpoints of the emulator",
        "",
        "Below `/v1.0` or `/beta`, and `/me` or `/users/{id or address}`; besides `/users`,",
        "`$batch`, `$metadata`, and the address that `createUploadSession` gives. `folders`: below",
        "`mailFolders/{folder}`, and the child folders of it, as well. What Graph has and is not",
        "here answers 501.",
        "",
        "A client that knows `graph.microsoft.com` alone finds it with `127.0.0.1",
        "graph.microsoft.com` in `/etc/hosts` and `smime-graph emulate --port 443 --tls --write-ca",
        "ca.pem --public-url https://graph.microsoft.com`; `NODE_EXTRA_CA_CERTS=ca.pem` or",
        "`SSL_CERT_FILE=ca.pem` makes it believe that. If it signs in by itself (SMTP2Graph),",
        "`login.microsoftonline.com` needs a line as well, and a server that gives out the one of",
        "`--token`. A proxy in between has to say `Connection: close` where it closes: a POST that",
        "meets a closed connection is lost until the client tries again.",
        "",
        "| method | path | least permission | folders |",
        "|---|---|---|---|",
    ]
    for one in ENDPOINTS:
        path = f"`{one.path}`" if one.path else ""
        note = ", in the profile `design`" if one.design else ""
        folders = "yes" if one.in_folders else ""
        lines.append(f"| {one.method} | {path}{note} | `{one.needs}` | {folders} |")
    lines += ["", "What is known of Graph and answers 501, in lower case:", ""]
    there = {one.path.lower() for one in ENDPOINTS}
    for place, prefix, names in (
        ("beside `/me` and `/users`", "", ROOTS),
        ("below a user", "", OF_USERS),
        ("below a message", "messages/{message}/", OF_MESSAGES),
        ("below a folder", "mailfolders/{folder}/", OF_FOLDERS),
    ):
        below = (path.removeprefix(prefix) for path in there if path.startswith(prefix))
        built = {path.partition("/")[0] for path in below}
        absent = ", ".join(f"`{name}`" for name in sorted(names - built))
        lines += textwrap.wrap(
            f"- {place}: {absent}", 120, subsequent_indent="  ", break_on_hyphens=False
        )
    return "\n".join(lines) + "\n"


TABLES: dict[Path, Callable[[], str]] = {
    PACKAGE / "ALGORITHMS.md": algorithms_table,
    PACKAGE / "ENDPOINTS.md": endpoints_table,
    PACKAGE / "FINDINGS.md": findings_table,
    PACKAGE / "PERMISSIONS.md": permissions_table,
    PACKAGE / "RULES.md": rules_table,
    PACKAGE / "STANDARDS.md": standards_table,
}
