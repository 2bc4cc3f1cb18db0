"""Policy: which algorithms we use, and which we accept; named frozen data.

"Use" and "accept" are apart: `digest`, `ciphers`, ... are what is made, in order of preference;
`accept`, `flag` and `refuse` say of every row of the table what happens when it is read. A policy
that leaves a row unjudged cannot be made. Derive another with `EXCHANGE.but("mine",
ciphers=("aes128-cbc",))`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from . import algorithms
from .algorithms import KeyAgreement, KeyKind, KeyTransport, Row, SignatureScheme
from .arguments import check_fields
from .errors import UsageError

_EVERY_ROW = frozenset(row.name for row in algorithms.TABLE)


@dataclass(frozen=True, slots=True)
class Policy:
    """What we will use, and what we accept; names are those of `algorithms.TABLE`."""

    name: str
    _: KW_ONLY
    # use
    digest: str
    rsa_signature: str | None
    ciphers: tuple[str, ...]
    key_transports: tuple[str, ...]
    announce: tuple[str, ...]  # in SMIMECapabilities (RFC 8551 2.5.2)
    # accept
    accept: frozenset[str]
    flag: frozenset[str]
    refuse: frozenset[str]
    # the kinds of key that sign and that are encrypted to (`algorithms.keys`); None: every kind
    keys: frozenset[str] | None = None
    # RFC 8551 4.2, 4.4: nothing is made with less; 4.3, 6: what is read is flagged, below 1024
    # refused
    minimum_rsa_bits: int = 2048
    sends: bool = True  # whether anything is signed or encrypted at all
    sender_must_match: bool = True  # From or Sender is an address of the signer, on both sides
    every_recipient_must_read: bool = True  # every To, Cc and Bcc address has a certificate
    encrypt_to_self: bool = True  # `seal` lets the signer read the sent mail
    compress: bool = False  # `seal` compresses what it signed (RFC 8551 3.6)
    accept_weak_certificates: bool = False  # SHA-1 and MD5 in a path: a warning, not an error
    # anyExtendedKeyUsage is as good as emailProtection, in a certificate and above it (RFC 8550
    # 4.4.4, RFC 5280 4.2.1.12: an application may refuse it)
    accept_any_purpose: bool = True
    accept_unsigned: bool = False  # a message without any signature is accepted
    # RFC 9788: what is signed has the header fields in it, too; and what of them an encrypted
    # message hides outside: nothing, or as hcp_baseline or hcp_shy (3.2)
    header_protection: bool = True
    header_confidentiality: Literal["none", "baseline", "shy"] = "none"

    def __post_init__(self) -> None:
        check_fields(self)
        judged = [*self.accept, *self.flag, *self.refuse]
        if len(judged) != len(set(judged)) or set(judged) != _EVERY_ROW:
            amiss = sorted(set(judged) ^ _EVERY_ROW) or "a row judged twice"
            raise UsageError(f"policy {self.name} does not judge every algorithm once: {amiss}")
        used = {self.digest, *self.ciphers, *self.key_transports, *self.announce}
        if self.rsa_signature is not None:
            used.add(self.rsa_signature)
        if not used <= self.accept:
            raise UsageError(f"policy {self.name} uses what it does not accept")
        if self.header_confidentiality != "none" and not self.header_protection:
            raise UsageError(
                f"policy {self.name} hides header fields, and protects none",
                hint="what is hidden outside has to be inside: leave header protection on",
            )

    def __hash__(self) -> int:
        # those that are equal have one name; all fields are over twenty, asked for in every message
        return hash(self.name)

    def __repr__(self) -> str:
        """The name; of a policy of one's own also what differs from the default, in one line."""
        if self == POLICIES.get(self.name):
            return f"Policy({self.name!r})"
        changed = [
            f"{one.name}={_short(getattr(self, one.name))}"
            for one in fields(self)[1:]
            if getattr(self, one.name) != getattr(EXCHANGE, one.name)
        ]
        return f"Policy({', '.join([repr(self.name), *changed])})"

    def accepts(self, row: Row) -> bool:
        """Whether the row may be read at all, flagged or not."""
        return row.name not in self.refuse

    def flags(self, row: Row) -> bool:
        """Whether reading the row is worth a warning."""
        return row.name in self.flag

    def uses_key(self, kind: str | None) -> bool:
        """Whether keys of this kind sign and are encrypted to."""
        return self.keys is None or kind in self.keys

    def but(self, name: str, **changes: Any) -> Policy:
        """This policy with changes, under a name of its own; UsageError if it makes no sense."""
        if unknown := sorted(changes.keys() - {one.name for one in fields(self)}):
            raise UsageError(
                f"a policy has no {', '.join(unknown)}",
                hint=f"it has {', '.join(one.name for one in fields(self))}",
            )
        return replace(self, name=name, **changes)


def _short(value: Any) -> str:
    many = isinstance(value, (tuple, frozenset)) and len(value) > 1
    return f"({len(value)} names)" if many else f"{reprlib.repr(value)}"


_HISTORIC = frozenset(  # RFC 8551 appendix B: to read old mail
    {"md5", "sha1", "dsa", "des-ede3-cbc", "des-ede3-wrap", "rc2-cbc"}
)
_CURRENT = _EVERY_ROW - _HISTORIC
_QUANTUM_SAFE = frozenset(kind.name for kind in algorithms.rows(KeyKind) if kind.quantum_safe)
_QUANTUM_PRONE = _CURRENT & {
    *(
        row.name
        for row in algorithms.rows(SignatureScheme)
        if not _QUANTUM_SAFE.issuperset(row.keys)
    ),
    *(row.name for row in algorithms.rows(KeyAgreement) if not _QUANTUM_SAFE.issuperset(row.keys)),
    *(row.name for row in algorithms.rows(KeyTransport) if not _QUANTUM_SAFE.issuperset(row.keys)),
}

EXCHANGE = Policy(
    # AES-CBC only: Outlook is reported not to open AuthEnvelopedData (MimeKit#1149), and Graph to
    # break smime-type=authEnveloped-data whoever the recipient is (msgraph-sdk-java#2544)
    # header_confidentiality is off: Outlook shows the outer Subject
    "exchange",
    digest="sha256",
    rsa_signature="rsassa-pkcs1v15",
    ciphers=("aes256-cbc", "aes128-cbc"),
    key_transports=("rsaes-pkcs1v15", "rsaes-oaep"),
    # what the other side may send; a mailbox that Outlook reads as well should not ask for more
    announce=("aes256-cbc", "aes128-cbc", "aes256-gcm", "aes128-gcm"),
    accept=_CURRENT,
    flag=frozenset(),
    refuse=_HISTORIC,
)

RFC_8551 = EXCHANGE.but(
    # RFC 8551 2.7.1.2: AES-256-GCM to those whose capabilities are not known
    "rfc8551",
    ciphers=("aes256-gcm", "aes128-gcm", "chacha20-poly1305", "aes256-cbc", "aes128-cbc"),
    announce=(
        *("aes256-gcm", "aes128-gcm", "chacha20-poly1305", "aes256-cbc", "aes128-cbc"),
        *("dhsinglepass-stddh-sha256kdf", "dhsinglepass-stddh-sha384kdf"),
        *("dhsinglepass-stddh-sha512kdf", "dhsinglepass-stddh-hkdf-sha256"),
        *("rsaes-oaep", "ml-kem-768", "ml-kem-1024", "cek-hkdf-sha256", "zlib"),
    ),
)

POST_QUANTUM = RFC_8551.but(
    # ML-DSA and ML-KEM alone: one classical recipient would open the message to a quantum computer
    "post-quantum",
    digest="sha512",
    ciphers=("aes256-gcm", "aes256-cbc"),
    keys=_QUANTUM_SAFE,
    announce=("aes256-gcm", "aes256-cbc", "ml-kem-768", "ml-kem-1024", "cek-hkdf-sha256"),
    rsa_signature=None,
    key_transports=(),
    accept=_CURRENT - _QUANTUM_PRONE,
    flag=_QUANTUM_PRONE,
)

ARCHIVE = EXCHANGE.but(
    # reads old mail, flagged; sends nothing
    "archive",
    sends=False,
    flag=_HISTORIC,
    refuse=frozenset(),
    accept_weak_certificates=True,
)

POLICIES: Mapping[str, Policy] = MappingProxyType(
    {policy.name: policy for policy in (EXCHANGE, RFC_8551, POST_QUANTUM, ARCHIVE)}
)
