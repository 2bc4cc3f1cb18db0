"""Timestamp tokens beside a signature: read and checked (RFC 3161 2.4.2, appendix A).

    TimeStampToken ::= ContentInfo of a SignedData over id-ct-TSTInfo
    TSTInfo ::= SEQUENCE { version 1, policy OBJECT IDENTIFIER, messageImprint SEQUENCE {
                           hashAlgorithm, hashedMessage OCTET STRING }, serialNumber INTEGER,
                           genTime GeneralizedTime, accuracy SEQUENCE OPTIONAL, ordering BOOLEAN
                           DEFAULT FALSE, nonce INTEGER OPTIONAL, [0] tsa OPTIONAL,
                           [1] IMPLICIT extensions OPTIONAL }

Whether the authority is to be believed is for `smime_graph.pki` to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hmac import compare_digest

from .. import oids
from ..algorithms import Digest
from ..asn1 import ber
from ..asn1.algorithm_identifier import AlgorithmIdentifier
from ..asn1.ber import Fields, Node
from ..budget import Budget
from ..errors import MalformedMessage
from ..findings import Severity
from ..policy import Policy
from . import attributes, signature_check, signed_data
from .parameters import read_digest
from .signature_check import Check
from .signed_data import SignedData

_TIME = re.compile(rb"(\d{14})(?:\.(\d{1,20}))?Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class TimestampInfo:
    """What an authority says: it saw a datum of this digest at this time, under this policy."""

    policy: str
    digest: Digest
    imprint: bytes
    serial: int
    time: datetime


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A token, checked: `matches` says whether it is for the signature, `faults` what is wrong."""

    info: TimestampInfo
    signed: SignedData
    check: Check
    matches: bool
    faults: tuple[str, ...]


def read_info(der: bytes) -> TimestampInfo:
    """The TSTInfo that fills `der`. MalformedMessage, UnsupportedAlgorithm for its digest."""
    fields = Fields(ber.read(der, "TSTInfo"), "TSTInfo")
    version = fields.any("version").as_integer("TSTInfo version")
    if version != 1:
        raise MalformedMessage(f"TSTInfo: version is {version} instead of 1")
    policy = fields.any("policy").as_oid("TSTInfo policy")
    imprint = Fields(fields.take(ber.SEQUENCE, "messageImprint"), "messageImprint")
    algorithm = AlgorithmIdentifier.take(imprint, "hashAlgorithm")
    hashed = bytes(imprint.any("hashedMessage").as_octets("hashedMessage"))
    imprint.end()
    serial = fields.any("serialNumber").as_integer("TSTInfo serialNumber")
    time = _read_time(fields.take(ber.GENERALIZED_TIME, "genTime"))
    for tag in (ber.SEQUENCE, ber.BOOLEAN, ber.INTEGER, 0xA0, 0xA1):
        fields.optional(tag)
    fields.end()
    digest = read_digest(algorithm, "TSTInfo messageImprint")
    return TimestampInfo(policy, digest, hashed, serial, time)


def _read_time(node: Node) -> datetime:
    """With seconds and Z; unlike the times of X.509 it may have a fraction (RFC 3161 2.4.2)."""
    match = _TIME.fullmatch(node.contents)
    if match is None:
        raise node.fault("genTime is not a time with seconds and Z")
    try:
        whole = datetime.strptime(match[1].decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise node.fault("genTime is not a date") from None
    fraction = (match[2] or b"").ljust(6, b"0")[:6]
    return whole.replace(microsecond=int(fraction))


def check(
    token: bytes, signature: bytes, *, policy: Policy, budget: Budget | None = None
) -> Timestamp:
    """The token over the octets of a signature (RFC 3161 appendix A), and what is wrong with it.

    `budget` is that of the message with the signature.

    Raises MalformedMessage, or UnsupportedAlgorithm for an imprint of unknown digest.
    """
    signed = signed_data.read(token, budget=budget)
    if signed.content is None:
        raise MalformedMessage("timestamp token: it has no content")
    if signed.content_type != oids.TST_INFO:
        raise MalformedMessage(f"timestamp token: its content is {signed.content_type}, no TSTInfo")
    if len(signed.signers) != 1:
        raise MalformedMessage(f"timestamp token: {len(signed.signers)} signers instead of 1")
    info = read_info(bytes(signed.content))
    signer = signed.signers[0]
    result = signature_check.check(signed, signer, signed.content, policy=policy, budget=budget)
    faults = [item.text for item in result.findings if item.severity is Severity.ERROR]
    if result.valid is None and not faults:
        faults = [item.text for item in result.findings]
    matches = compare_digest(info.imprint, info.digest.compute(signature))
    if not matches:
        faults.append("it is for another signature")
    if not policy.accepts(info.digest):
        faults.append(f"policy {policy.name} refuses {info.digest.name}")
    attrs = signer.signed_attributes
    if attrs is None or not attributes.names_signing_certificate(attrs):
        faults.append("it does not name the authority's certificate")  # RFC 3161 2.4.2, RFC 5816
    return Timestamp(info, signed, result, matches, tuple(faults))
