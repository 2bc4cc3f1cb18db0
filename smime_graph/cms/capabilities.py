"""SMIMECapabilities (RFC 8551 2.5.2): what one can read, announced by us, honoured in others.

SMIMECapabilities ::= SEQUENCE OF SMIMECapability ::= SEQUENCE { capabilityID OBJECT IDENTIFIER,
                                                                 parameters ANY OPTIONAL }
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from .. import algorithms, oids
from ..algorithms import (
    ContentCipher,
    KeyAgreement,
    KeyTransport,
    KeyWrap,
    OaepParameters,
    Row,
    by_name,
)
from ..asn1 import ber
from ..asn1.ber import Fields
from ..errors import MalformedMessage, UnsupportedAlgorithm
from ..policy import Policy
from . import parameters
from .keys import Recipient

_OAEP_DIGESTS = (
    *(algorithms.SHA1, algorithms.SHA224, algorithms.SHA256),
    *(algorithms.SHA384, algorithms.SHA512),
)

# Content ciphers that have no row and get none. Who announces these alone does say which he reads.
_OTHER_CIPHERS = frozenset(
    (
        *(oids.DES_CBC, oids.RC4, oids.RC5_CBC, oids.IDEA_CBC, oids.CAST5_CBC, oids.SEED_CBC),
        *(oids.CAMELLIA128_CBC, oids.CAMELLIA192_CBC, oids.CAMELLIA256_CBC),
    )
)


# --- announced ----------------------------------------------------------------------------


@lru_cache(maxsize=16)
def announcement(policy: Policy) -> bytes:
    """SMIMECapabilities with what the policy announces, the most preferred first."""
    rows = {row.name: row for row in algorithms.TABLE}
    return ber.sequence(*(one for name in policy.announce for one in _capability(rows[name])))


def _capability(row: Row) -> list[bytes]:
    """Exact to the byte: no parameters means absent, never NULL (RFC 8551 2.5.2)."""
    oid = ber.oid(row.oids[0])
    if isinstance(row, KeyAgreement):  # RFC 5753 8: one for each key wrap
        wraps = (by_name(KeyWrap, "aes128-wrap"), by_name(KeyWrap, "aes256-wrap"))
        return [ber.sequence(oid, parameters.write_wrap(wrap)) for wrap in wraps]
    if isinstance(row, KeyTransport) and row.parameters == "oaep":
        # RFC 3560 5 publishes these octets, without the tags that RSAES-OAEP-params has
        digest = ber.sequence(ber.oid(oids.SHA256), ber.null())
        return [ber.sequence(oid, ber.sequence(digest, ber.sequence(ber.oid(oids.MGF1), digest)))]
    return [ber.sequence(oid)]


# --- honoured -----------------------------------------------------------------------------


class Capabilities(NamedTuple):
    """What a recipient announced: identifiers with their parameters, in its order of preference.

    The parameters are octets, read anew each time: a Node of a message that is kept for long would
    come to the end of what may be read of one.
    """

    entries: tuple[tuple[str, bytes | None], ...]

    @classmethod
    def of(cls, recipient: Recipient) -> Capabilities | None:
        """None where the recipient announced nothing. What is not understood is left out."""
        if recipient.capabilities is None:
            return None
        return _parsed(tuple(bytes(one) for one in recipient.capabilities))

    @property
    def oids(self) -> frozenset[str]:
        return frozenset(oid for oid, _ in self.entries)

    def reads(self, cipher: ContentCipher) -> bool:
        """Whether the cipher can be read; a list without any cipher says nothing about them."""
        known = {row.oid for row in algorithms.rows(ContentCipher)}
        return self.oids.isdisjoint(known | _OTHER_CIPHERS) or cipher.oid in self.oids

    def unwraps(self, size: int) -> bool:
        """Whether some key agreement announced goes with a key wrap of so many octets.

        A list without any key agreement says nothing about it, and none matters to an RSA key.
        """
        return not self._agreements() or bool(self.agreements(size))

    def agreements(self, size: int) -> tuple[KeyAgreement, ...]:
        """The schemes announced with a key wrap of `size` octets or with none, in their order."""
        return tuple(dict.fromkeys(row for row, wrap in self._agreements() if wrap in (size, None)))

    def _agreements(self) -> list[tuple[KeyAgreement, int | None]]:
        """Scheme and size of the key wrap of each key agreement that has a row (RFC 5753 8)."""
        rows = {row.oid: row for row in algorithms.rows(KeyAgreement)}
        found: list[tuple[KeyAgreement, int | None]] = []
        for oid, raw in self.entries:
            if oid not in rows:
                continue
            try:
                size = None
                if raw is not None:
                    node = ber.read(raw, "SMIMECapability")
                    size = parameters.read_wrap(node, "SMIMECapability")[0].key_size
                found.append((rows[oid], size))
            except (MalformedMessage, UnsupportedAlgorithm):
                continue  # with a key wrap that we do not have
        return found

    def oaep(self) -> OaepParameters | None:
        """How to use RSAES-OAEP, with SHA-256 if that was announced; None if nothing was.

        Written with tags (RFC 4055) or, as RFC 3560 5 has it, without; at its default it is SHA-1.
        """
        rows = [(algorithms.find(KeyTransport, oid), raw) for oid, raw in self.entries]
        found = [_oaep(raw) for row, raw in rows if row is not None and row.parameters == "oaep"]
        usable = [one for one in found if one is not None]
        preferred = [one for one in usable if one.digest is algorithms.SHA256]
        return next(iter(preferred or usable), None)


def _oaep(raw: bytes | None) -> OaepParameters | None:
    try:
        if raw is None:
            return OaepParameters(algorithms.SHA1, algorithms.SHA1)
        node = ber.read(raw, "OAEP")
        first = next(iter(node), None)
        if first is not None and first.tag == ber.SEQUENCE:
            hashed, mask = list(node)
            digest, mgf_digest = parameters.read_hash_and_mask(hashed, mask, "SMIMECapability")
            found = OaepParameters(digest, mgf_digest)
        else:
            found = parameters.read_oaep(node, "SMIMECapability")
    except (MalformedMessage, UnsupportedAlgorithm, ValueError):
        return None
    # no primitive has RSAES-OAEP with MD5 or SHAKE, and a label is not for us to choose
    usable = found.digest in _OAEP_DIGESTS and found.mgf_digest in _OAEP_DIGESTS
    return found if usable and not found.label else None


@lru_cache(maxsize=256)
def _parsed(elements: Sequence[bytes]) -> Capabilities:
    found: list[tuple[str, bytes | None]] = []
    for element in elements:
        try:
            fields = Fields(ber.read(element, "SMIMECapability"), "SMIMECapability")
            oid = fields.any("capabilityID").as_oid()
            found.append((oid, fields.any("parameters").raw if fields.more else None))
        except MalformedMessage:
            continue  # RFC 8551 2.5.2: what is not understood is handled gracefully
    return Capabilities(tuple(found))
