"""Attributes of RFC 2634 that mailing lists and other programs write, and we only read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from smime_graph import oids
from smime_graph.asn1 import ber
from smime_graph.cms.attributes import attribute
from smime_graph.cms.ess import ContentReference, Expansion
from smime_graph.cms.labels import SecurityLabel, security_label


def content_identifier(octets: bytes) -> bytes:
    return attribute(oids.CONTENT_IDENTIFIER, ber.octet_string(octets))


def content_reference(value: ContentReference) -> bytes:
    reference = ber.sequence(
        ber.oid(value.content_type),
        ber.octet_string(value.identifier),
        ber.octet_string(value.signature),
    )
    return attribute(oids.CONTENT_REFERENCE, reference)


def expansion_history(values: Sequence[Expansion]) -> bytes:
    return attribute(oids.ML_EXPANSION_HISTORY, ber.sequence(*map(_write_expansion, values)))


def _write_expansion(value: Expansion) -> bytes:
    moment = value.time.astimezone(UTC)
    fields = [
        value.list_id,
        ber.tlv(ber.GENERALIZED_TIME, f"{moment.year:04}{moment:%m%d%H%M%S}Z".encode()),
    ]
    if value.receipts == "none":
        fields.append(ber.tlv(0x80))
    elif value.receipts is not None:
        number = 1 if value.receipts == "instead-of" else 2
        fields.append(ber.context(number, *(_rfc822_name(address) for address in value.to)))
    return ber.sequence(*fields)


def equivalent_labels(values: Sequence[SecurityLabel]) -> bytes:
    alone = [next(iter(ber.read(security_label(one), "").children()[1])).raw for one in values]
    return attribute(oids.EQUIVALENT_LABELS, ber.sequence(*alone))


def _rfc822_name(address: str) -> bytes:
    return ber.sequence(ber.tlv(0x81, address.encode()))
