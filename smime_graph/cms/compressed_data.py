"""CompressedData (RFC 3274): made and read, within limits.

CompressedData ::= SEQUENCE { version 0, compressionAlgorithm, encapContentInfo }
"""

from __future__ import annotations

from typing import cast

from .. import algorithms, oids
from ..algorithms import Compression
from ..asn1 import ber
from ..asn1.algorithm_identifier import AlgorithmIdentifier
from ..asn1.ber import Fields, Node
from ..asn1.content_info import content_info, read_content_info
from ..budget import INFLATED_OCTET, Budget
from ..buffers import B, Data, Octets
from ..errors import MalformedMessage, UsageError
from ..policy import Policy
from .recipients.recipient_info import require_readable

# zlib reaches 1032, mail rarely 20
_MAX_RATIO = 1000
# A bomb of up to a megabyte costs no more memory than honest mail of 25 MB.
_MAX_OF_A_MEGABYTE = 24 << 20
_MAX_RATIO_BEYOND = 50
# Nor does one of any size fill more of a disk than the largest message that Exchange takes, unless
# it becomes no more than mail does.
_MAX_OF_ANY = 150 << 20
_MAX_RATIO_OF_ANY = 20
_MEGABYTE = 1 << 20


def compress(content: B) -> B:
    """ContentInfo of a CompressedData, DER; the parameters of zlib are absent (RFC 3274 2).

    MalformedMessage for content that `decompress` would take for a bomb.
    """
    row = algorithms.rows(Compression)[0]
    packed: Octets = row.compress(content)
    if len(content) > _most_inflated(len(packed)):
        raise MalformedMessage(
            f"{len(content)} octets, compressed, are more than are ever decompressed",
            hint="leave the compression out",
        )
    inner = ber.nest(0xA0, ber.nest(ber.OCTET_STRING, [packed]))
    elements = [
        ber.integer(0),
        ber.sequence(ber.oid(row.oid)),
        *ber.nest(ber.SEQUENCE, [ber.oid(oids.DATA), *inner]),
    ]
    return cast("B", content_info(oids.COMPRESSED_DATA, elements))


def decompress(der: Data, *, policy: Policy, budget: Budget | None = None) -> Data:
    """The content of a CompressedData in a ContentInfo, BER or DER; see `decompress_content`."""
    _, node = read_content_info(der, oids.COMPRESSED_DATA, budget=budget)
    return decompress_content(node, policy=policy, budget=budget)


def decompress_content(node: Node, *, policy: Policy, budget: Budget | None = None) -> Data:
    """What is in a CompressedData. MalformedMessage where it becomes more than mail would."""
    name = "CompressedData"
    fields = Fields(node.expect(ber.SEQUENCE, name), name)
    fields.any("version").as_integer(f"{name} version")
    algorithm = AlgorithmIdentifier.take(fields, "compressionAlgorithm")
    inner = Fields(fields.take(ber.SEQUENCE, "encapContentInfo"), "encapContentInfo")
    inner.any("eContentType").as_oid("eContentType")
    content = inner.take(0xA0, "eContent").only("eContent").as_octets("eContent")
    inner.end()
    fields.end()
    row = require_readable(
        algorithms.by_oid(Compression, algorithm.oid, where="compressionAlgorithm"), policy
    )
    if not algorithm.has_no_parameters:
        raise MalformedMessage(f"{name}: {row.name} has parameters")
    bound = _most_inflated(len(content))
    try:
        inflated = row.decompress(content, bound)
    except UsageError:
        raise  # there is no room for it
    except OverflowError:
        raise MalformedMessage(
            f"{name}: {len(content)} octets become more than {bound}",
            hint="this may be a decompression bomb",
        ) from None
    except ValueError:
        raise MalformedMessage(f"{name}: the {row.name} stream is broken") from None
    if budget is not None:
        budget.spend("decompression", INFLATED_OCTET * len(inflated))
    return inflated


def _most_inflated(packed: int) -> int:
    beyond = max(packed - _MEGABYTE, 0)
    return min(
        max(packed, 1024) * _MAX_RATIO,
        _MAX_OF_A_MEGABYTE + beyond * _MAX_RATIO_BEYOND,
        max(_MAX_OF_ANY, packed * _MAX_RATIO_OF_ANY),
    )
