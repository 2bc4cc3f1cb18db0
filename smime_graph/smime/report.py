"""What was found in a message: layers, signers, findings, and the verdict. Values only.

And as JSON: the stable keys that programs hold on to, of the library and of `--json`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from ..arguments import checked
from ..buffers import Data, Octets, Writable, rope, write_to
from ..cms.ess import NO_SERVICES, Services
from ..cms.labels import SecurityLabel
from ..errors import Hint, MalformedMessage, SmimeGraphError
from ..findings import Finding, Report
from ..text import json_text
from ..x509.certificate import Certificate
from .attachments import Attachment, read_attachments, save
from .entity import Entity
from .header_protection import FieldProtection, HeaderProtection, ProtectedHeader
from .legacy_display import shown_entity

LayerType = Literal[
    "signed-data",
    "signed-receipt",
    "enveloped-data",
    "auth-enveloped-data",
    "encrypted-data",
    "compressed-data",
    "certs-only",
]
ENCRYPTED: tuple[LayerType, ...] = ("enveloped-data", "auth-enveloped-data", "encrypted-data")
Summary = Literal["unprotected", "signed", "encrypted", "signed-and-encrypted"]
ComparedHeader = Literal["outer", "protected", "inner", "given"]


@dataclass(frozen=True, slots=True)
class LayerRecipient:
    """Whom an encrypted layer is for: `kind` as in RFC 5652 6.2, `id` for people."""

    kind: str
    id: str
    algorithm: str


@dataclass(frozen=True, slots=True)
class LayerSigner:
    """Who claims to have signed a layer: nothing is checked."""

    id: str
    scheme: str
    digest: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One S/MIME layer, as it says of itself.

    `path` is its place among the entities of the message: 1 is the message itself, 1.1 what is in
    its layer, or the first part of its multipart, or the message attached. `errant`: it does not
    wrap the whole message but a part of it, and so protects nothing else (RFC 9787 6.2). `size` is
    that of the CMS in octets. `cipher` and `recipients` belong to encrypted layers, the rest to
    signed ones. `has_list_footer`: an errant one beside which there is nothing but text, as mailing
    lists append it (RFC 9787 6.2.1); that text is under no protection.
    """

    type: LayerType
    path: str
    size: int
    cipher: str | None = None
    recipients: tuple[LayerRecipient, ...] = ()
    detached: bool | None = None
    micalg: str | None = None
    signers: tuple[LayerSigner, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    errant: bool = False
    has_list_footer: bool = False


@dataclass(frozen=True, slots=True)
class Countersigner:
    """Someone who signed a signature (RFC 5652 11.4): he has seen it, and says no more.

    `intact`, `valid` and `trusted` are as for `Signer`; `faults` says why it is worth nothing, and
    `countersigners` are those who signed this one in turn.
    """

    certificate: Certificate | None
    emails: tuple[str, ...]
    signing_time: datetime | None
    intact: bool | None
    valid: bool | None
    trusted: bool | None
    faults: tuple[str, ...] = ()
    countersigners: tuple[Countersigner, ...] = ()


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An authority's word that a signature existed at `time` (RFC 3161).

    `valid`: the token is well made and for this signature. `trusted`: the authority's certificate
    is one for timestamps and validates at the time of judgement; its `policy` (an object
    identifier) is not judged. `faults` says why not.
    """

    time: datetime
    policy: str
    certificate: Certificate | None
    valid: bool
    trusted: bool
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signer:
    """One signature and what it is worth.

    `intact`: the content is what was signed. `valid`: the signature is the certificate's.
    `trusted`: the certificate is believed at the time of judgement; `trusted_at_signing`: at the
    time of signing, as claimed by the signer. Each is None where it could not be found out.
    `accepted`: all of it, and the signer is the sender. `compared` are the addresses of which the
    signer must have one, and `compared_header` is where they stand: in the outer header, in the
    protected one (RFC 9788 4.4), in another one inside, or given by the caller. `covers_headers`
    are the names of the header fields that are under the signature. `services`, `countersigners`,
    `timestamps`, `capabilities` (an SMIMECapabilities) and `encryption_key_preference` (an
    SMIMEEncryptionKeyPreference, RFC 8551 2.5.2 and 2.5.3; both in DER as signed, None where they
    are not) are those of an intact and valid signature, and empty for any other.
    """

    where: str
    layer: str
    certificate: Certificate | None
    emails: tuple[str, ...]
    scheme: str | None
    digest: str | None
    signing_time: datetime | None
    intact: bool | None
    valid: bool | None
    trusted: bool | None
    trusted_at_signing: bool | None
    compared: str | None
    matches: bool | None
    covers_body: bool
    covers_headers: tuple[str, ...]
    accepted: bool
    compared_header: ComparedHeader | None = None
    services: Services = NO_SERVICES
    countersigners: tuple[Countersigner, ...] = ()
    timestamps: tuple[Timestamp, ...] = ()
    capabilities: bytes | None = field(default=None, repr=False)
    encryption_key_preference: bytes | None = field(default=None, repr=False)

    @property
    def email(self) -> str | None:
        """The first address of the certificate."""
        return self.emails[0] if self.emails else None


@dataclass(frozen=True, slots=True, repr=False)
class MessageReport(Report):
    """Everything noticed about a message. `error` is what ended the reading, or None.

    `layers` are those that wrap the whole message, the outermost first, then the errant ones, for
    which nothing else in the report speaks. `labels` are the security labels under signatures that
    were verified, the outermost first. `header_protection` is clear or cipher where the message has
    protected header fields (RFC 9788), `header_fields` says what protects each of them, and
    `outer_headers_differ` names the fields that say something else outside. `judged` is false where
    nobody's signature was looked at (`decrypt`, `decompress`): then nothing is accepted.
    """

    layers: tuple[Layer, ...] = ()
    signers: tuple[Signer, ...] = ()
    summary: Summary = "unprotected"
    authenticated: bool = False
    accepted: bool = False
    error: SmimeGraphError | None = None
    labels: tuple[SecurityLabel, ...] = ()
    judged: bool = True
    header_protection: HeaderProtection | None = None
    header_fields: tuple[FieldProtection, ...] = ()
    outer_headers_differ: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The report as text in JSON, which is what `--json` of the command line prints."""
        return json_text(report_json(self))

    @property
    def whole(self) -> tuple[Layer, ...]:
        """The layers that wrap the whole message."""
        return tuple(layer for layer in self.layers if not layer.errant)

    @property
    def verdict(self) -> Literal["accepted", "rejected", "not judged"]:
        if not self.judged:
            return "not judged"
        return "accepted" if self.accepted else "rejected"


@dataclass(frozen=True, slots=True)
class Opened:
    """A message after verifying, decrypting or unsealing.

    `content` is the MIME entity inside, exactly as it was signed or encrypted; `header` the fields
    of the message: the protected ones where it has such (RFC 9788), each once, else those that
    stood outside, which no signature covers. `protected` is what is known of the protected ones,
    and `outside` are the fields that stood outside, for which nothing vouches. Of a large message
    `inside` is the content as a view of a temporary file that has no name: `content`, `raw`,
    `message` and `attachments` read it into memory, `write_to` does not.
    """

    inside: bytes | memoryview
    header: bytes
    report: MessageReport
    protected: ProtectedHeader | None = field(default=None, repr=False)
    outside: bytes = field(default=b"", repr=False)

    def __repr__(self) -> str:
        by = f", by {self.signer.email!r:.200}" if self.signer is not None else ""
        return f"Opened({self.report!r}, {self.report.summary}{by}, {len(self.inside)} octets)"

    @property
    def content(self) -> bytes:
        return bytes(self.inside)

    @property
    def signer(self) -> Signer | None:
        """The first accepted signer."""
        return next((signer for signer in self.report.signers if signer.accepted), None)

    @property
    def signers(self) -> Sequence[Signer]:
        return self.report.signers

    @property
    def findings(self) -> Sequence[Finding]:
        return self.report.findings

    @property
    def layers(self) -> Sequence[Layer]:
        return self.report.layers

    @property
    def raw(self) -> bytes:
        """The whole message: its header fields, then the entity; of protected fields each once, and
        no Legacy Display Element (RFC 9788 4.5.3).
        """
        return bytes(whole(self))

    @checked
    def write_to(self, out: Path | Writable, *, header: bool = True) -> None:
        """Write `raw`, or `content` where it is without the `header`, to a file that is open in
        binary, or at a path: whole or not at all, and for its owner alone to read.

        Raises UsageError where it cannot be written.
        """
        write_to(out, whole(self) if header else self.inside, private=True)

    @property
    def message(self) -> EmailMessage:
        """The whole message, parsed by `email`; MalformedMessage for what is beyond it.

        Its parser takes time that grows with the square of a field's length: what holds longer ones
        than mail has is to be had as `raw` alone.
        """
        self._must_be_mail()
        raw = self.raw
        _must_be_short(raw)
        try:
            return message_from_bytes(raw, policy=policy.default)
        except RecursionError:
            fault = "multiparts are nested too deep to be parsed"
        except Exception:  # noqa: BLE001 - of `email`: IndexError for "text/plain; name*"
            fault = "the header of a part is beyond the parser"
        # out of there, so that the error does not hold what was read
        raise MalformedMessage(fault, hint="take it as it is: raw")

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The files in `content`, in order: what the report speaks of, and nothing around it.

        A text without a file name is the message and no attachment. A message that is attached is
        one file (`message.eml`), and what is attached to it stays in it. Behind `decrypt` nobody
        vouches for them: see `report`. Names are safe for a file: no folders, nothing that a system
        acts upon. Raises MalformedMessage for what cannot be read, and for more than 1000.
        """
        self._must_be_mail()
        if self.protected is None:
            return tuple(read_attachments(self.inside))
        return tuple(read_attachments(b"".join(shown_entity(self.inside, self.protected))))

    @checked
    def save_attachments(self, folder: str | PathLike[str]) -> tuple[Path, ...]:
        """Write the attachments into `folder`, all of them or none, and say where each is.

        The folder is made if need be. A file is its owner's alone to read; one that is there
        already stays as it is, and the new one gets a number. Raises what `attachments` raises, and
        UsageError where a file cannot be written.
        """
        return save(self.attachments, folder)

    def _must_be_mail(self) -> None:
        if self.report.whole and self.report.whole[-1].type == "signed-receipt":
            # it holds octets that another sender chose: read as mail they are the signer's words
            raise MalformedMessage(
                "a receipt is no mail", hint=Hint("check it with verify_receipt", "verify-receipt")
            )


def whole(opened: Opened) -> Octets:
    """As `Opened.raw`, which is read from the temporary file piece by piece where it is large."""
    shown: list[Data] = [opened.inside]
    if opened.protected is not None:
        shown = shown_entity(opened.inside, opened.protected)
    has_own = not opened.header or _has_version(shown[0])
    parts = [opened.header, b"" if has_own else b"MIME-Version: 1.0\r\n", *shown]
    return b"".join(parts) if isinstance(opened.inside, bytes) else rope(parts)


# octets; a To of 1,000 names has 50 KB, which take half a second
_MAX_PARSED = 64 << 10
_MAX_PARSED_TYPE = 4096
_TYPE_OF_PART = re.compile(
    rb"^content-(?:type|disposition)[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE | re.MULTILINE
)


def _must_be_short(raw: bytes) -> None:
    longest = max(Entity(raw).fields, key=lambda field: len(field.raw), default=None)
    if longest is not None and len(longest.raw) > _MAX_PARSED:
        name, most = longest.name or "a line", _MAX_PARSED
    elif any(len(match[0]) > _MAX_PARSED_TYPE for match in _TYPE_OF_PART.finditer(raw)):
        name, most = "a Content-Type or Content-Disposition", _MAX_PARSED_TYPE
    else:
        return
    raise MalformedMessage(
        f"{name} of the message is longer than the {most} octets that are parsed",
        hint="take it as it is: raw",
    )


def _has_version(entity: Data) -> bool:
    try:
        return bool(Entity(entity).all("MIME-Version"))
    except MalformedMessage:
        return False  # what was signed need not be MIME


# --- as JSON -------------------------------------------------------------------------------


def report_json(report: MessageReport) -> dict[str, Any]:
    """A report; there is no verdict where nobody's signature was looked at."""
    found: dict[str, Any] = {"verdict": report.verdict} if report.judged else {}
    found["layers"] = [layer_json(layer) for layer in report.layers]
    if report.judged:
        found["signers"] = [_signer_json(signer) for signer in report.signers]
    found["summary"] = report.summary
    found["authenticated"] = report.authenticated
    found["header_protection"] = report.header_protection
    found["headers"] = [{"name": one.name, "state": one.state} for one in report.header_fields]
    found["outer_headers_differ"] = list(report.outer_headers_differ)
    found["findings"] = [finding_json(one) for one in report.findings]
    return found


def layer_json(layer: Layer) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": layer.type,
        "path": layer.path,
        "size": layer.size,
        "errant": layer.errant,
        "list_footer": layer.has_list_footer,
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
        "compared_header": signer.compared_header,
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


def finding_json(one: Finding) -> dict[str, Any]:
    return {
        "code": one.code,
        "severity": str(one.severity),
        "where": one.where,
        "text": one.text,
        "source": one.source,
    }


def time_text(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
