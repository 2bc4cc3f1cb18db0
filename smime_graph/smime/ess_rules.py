"""The services of RFC 2634 over all signers of a message: what belongs where, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .. import oids
from ..cms.labels import SecurityLabel
from ..cms.signed_data import SignerInfo
from ..findings import Finding, Severity, finding
from .context import Clearance
from .report import Layer, Signer


class Verified(NamedTuple):
    """One layer, and the signers in it whose signatures are good."""

    layer: Layer
    signers: tuple[tuple[Signer, SignerInfo], ...]


def compare(layers: Sequence[Verified]) -> list[Finding]:
    """Services where they do not belong, and those in which the signers of a layer differ.

    `layers` are the signed ones, the outermost first.
    """
    found: list[Finding] = []
    for number, one in enumerate(layers):
        path = one.layer.path
        where = f"layer {path}"
        found += _misplaced(one, is_innermost=number == len(layers) - 1)
        if len(one.signers) < 2:
            continue
        if len(set(_values(one, oids.RECEIPT_REQUEST)) - {None}) > 1:
            text = "the signers ask for different receipts, so none is sent"
            found.append(finding("cms.ess.inconsistent", where, text, scope=path))
        if len(set(_values(one, oids.SECURITY_LABEL))) > 1:
            text = "the signers do not all give the same security label"
            found.append(finding("cms.ess.inconsistent", where, text, scope=path))
        if len(set(_values(one, oids.ML_EXPANSION_HISTORY)) - {None}) > 1:
            # RFC 2634 4.1: then the message is not to be processed at all
            text = "the signers tell different mailing list histories"
            error = Severity.ERROR
            found.append(finding("cms.ess.inconsistent", where, text, severity=error, scope=path))
    return found


def _values(layer: Verified, oid: str) -> list[bytes | None]:
    return [
        None
        if info.signed_attributes is None or (node := info.signed_attributes.single(oid)) is None
        else node.raw
        for _, info in layer.signers
    ]


def _misplaced(one: Verified, *, is_innermost: bool) -> list[Finding]:
    found: list[Finding] = []
    is_receipt = one.layer.type == "signed-receipt"
    for signer, _ in one.signers:
        services = signer.services
        texts: list[str] = []
        if is_receipt and services.receipt_request is not None:
            texts.append("a receipt asks for a receipt")  # RFC 2634 2.2
        elif services.receipt_request is not None and not is_innermost:
            texts.append("a receipt is asked for outside the innermost signature")
        if is_receipt and services.expansions:
            texts.append("a receipt has a mailing list history")  # RFC 2634 2.4.1
        if services.message_signature_digest is not None and not is_receipt:
            texts.append("msgSigDigest is signed, but this is no receipt")  # RFC 2634 2.10
        found += [
            finding("cms.ess.misplaced", signer.where, text, scope=signer.where) for text in texts
        ]
    return found


def judge_labels(
    signers: Sequence[Signer], clearance: Clearance | None
) -> tuple[tuple[SecurityLabel, ...], list[Finding]]:
    """The labels of these signers, each once, and what `clearance` has against them.

    All are asked about, where RFC 2634 3.1.2 asks about the first: one that differs from it was put
    there by somebody who signed, too.
    """
    found: list[Finding] = []
    labels: dict[SecurityLabel, None] = {}
    for signer in signers:
        services = signer.services
        if services.label is None:
            if services.equivalent_labels:
                text = "labels said to be equivalent to no label are not acted upon"
                found.append(finding("smime.label", signer.where, text, scope=signer.where))
            continue
        if services.label in labels:
            continue
        labels[services.label] = None
        if clearance is None:
            text = f"labelled {services.label}"
            found.append(finding("smime.label", signer.where, text, scope=signer.where))
        elif not clearance(services.label):
            text = f"no clearance for {services.label}"
            found.append(finding("smime.label.refused", signer.where, text, scope=signer.where))
    return tuple(labels), found
