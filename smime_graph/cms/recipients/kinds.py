"""The table of the kinds of RecipientInfo (RFC 5652 6.2), and which is whose.

    RecipientInfo ::= CHOICE { ktri KeyTransRecipientInfo, [1] kari, [2] kekri, [3] pwri, [4] ori }
    OtherRecipientInfo ::= SEQUENCE { oriType OBJECT IDENTIFIER, oriValue ANY }

A new kind is one row of KINDS, with the functions of its module. Kinds that we cannot use are kept,
shown and skipped, never fatal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import algorithms, oids
from ...algorithms import CekDerivation, ContentCipher
from ...algorithms.private_key import private_key
from ...asn1 import ber
from ...asn1.ber import Fields, Node
from ...errors import Hint, PolicyRefusal, UnsupportedAlgorithm, UsageError
from ...policy import Policy
from ...x509 import names
from ...x509.certificate import Certificate
from ..capabilities import Capabilities
from ..keys import DecryptionKey, Recipient, with_certificate
from ..signed_data import read_issuer_and_serial
from . import key_agreement as kari
from . import key_encapsulation as kemri
from . import key_transport as ktri
from . import shared_secret
from .recipient_info import (
    MAX_RECIPIENTS,
    RecipientInfo,
    RecipientKind,
    certificate_of,
    is_named,
    kind_of_key,
    require_kind_of_key,
)
from .shared_secret import Password, SharedKey

# whom one can encrypt to, and what one can decrypt with
AnyRecipient = Recipient | Password | SharedKey
AnyKey = DecryptionKey | Password | SharedKey

_ORI = 0xA4
KINDS: tuple[RecipientKind, ...] = (
    RecipientKind(
        "ktri", ber.SEQUENCE, ktri.read, ktri.takes, ktri.wrap, ktri.unwrap, is_named, "decrypt"
    ),
    RecipientKind("kari", 0xA1, kari.read, kari.takes, kari.wrap, kari.unwrap, is_named, "derive"),
    RecipientKind(
        "kekri",
        0xA2,
        shared_secret.read_shared_key,
        shared_secret.is_shared_key,
        shared_secret.wrap_for_shared_key,
        shared_secret.unwrap_with_shared_key,
        shared_secret.has_its_name,
    ),
    RecipientKind(
        "pwri",
        0xA3,
        shared_secret.read_password,
        shared_secret.is_password,
        shared_secret.wrap_for_password,
        shared_secret.unwrap_with_password,
        lambda _, key: shared_secret.is_password(key),
        # each try is a second or more, as long as the sender wants up to a limit
        limit=4,
        plural="recipients' passwords",
    ),
    RecipientKind(
        *("kemri", _ORI, kemri.read, kemri.takes, kemri.wrap, kemri.unwrap, is_named),
        *("decapsulate", oids.ORI_KEM),
    ),
)


# --- choosing -----------------------------------------------------------------------------


def choose_cipher(recipients: Sequence[AnyRecipient], policy: Policy) -> ContentCipher:
    """The first cipher of the policy that every recipient can read (RFC 8551 2.7.1).

    A recipient that announced no content cipher at all is taken to read what the policy uses.
    Raises PolicyRefusal if nothing is left.
    """
    left = [algorithms.by_name(ContentCipher, name) for name in policy.ciphers]
    if not left:
        raise PolicyRefusal(
            f"policy {policy.name} encrypts nothing",
            rule="encrypt.no-cipher",
            policy=policy.name,
            hint=Hint("choose a policy that sends, for example exchange", "policy"),
        )
    for recipient in with_certificate(recipients):
        if (announced := Capabilities.of(recipient)) is None:
            continue
        agrees = kari.takes(recipient)
        remaining = [
            cipher
            for cipher in left
            if announced.reads(cipher) and (not agrees or announced.unwraps(cipher.key_size))
        ]
        if not remaining:
            raise PolicyRefusal(
                f"no content cipher is common: {recipient.certificate.description} cannot read "
                f"{', '.join(cipher.name for cipher in left)}",
                rule="encrypt.no-common-cipher",
                policy=policy.name,
                hint="send to this recipient separately, or ask for newer capabilities; a bare"
                " certificate says nothing of them, if you know better than they say",
            )
        left = remaining
    return left[0]


def _announced(recipient: Any) -> Capabilities | None:
    """None where a certificate says nothing, and for those who share a secret."""
    return None if certificate_of(recipient) is None else Capabilities.of(recipient)


def choose_derivation(recipients: Sequence[AnyRecipient], policy: Policy) -> CekDerivation | None:
    """The derivation of RFC 9709, if everybody announced it and the policy does not refuse it."""
    if not policy.accepts(_DERIVATION):
        return None
    for recipient in recipients:
        announced = _announced(recipient)
        if announced is None or _DERIVATION.oid not in announced.oids:
            return None
    return _DERIVATION


_DERIVATION = algorithms.rows(CekDerivation)[0]


# --- which kind ---------------------------------------------------------------------------


def kind_for(recipient: AnyRecipient, policy: Policy) -> RecipientKind:
    """How a message is encrypted to this recipient.

    Raises UnsupportedAlgorithm for a key that nothing can be encrypted to, PolicyRefusal for a kind
    of key that the policy does not encrypt to.
    """
    kind = next((row for row in KINDS if row.takes(recipient)), None)
    certificate = certificate_of(recipient)
    if certificate is not None:
        if kind is None:
            raise UnsupportedAlgorithm(
                certificate.key_algorithm,
                where=f"encryption to {certificate.description}",
                hint="this key can only sign; give the recipient's encryption certificate",
            )
        of = kind_of_key(recipient)
        require_kind_of_key(None if of is None else of.name, certificate.description, policy)
    if kind is None:
        raise UsageError(f"a {type(recipient).__name__} is no recipient")
    return kind


def kind_of(recipient: RecipientInfo) -> RecipientKind | None:
    """The kind as which the recipient was read; None for what we cannot use."""
    return next((row for row in KINDS if row.name == recipient.kind), None)


def read(node: Node) -> tuple[RecipientInfo, ...]:
    """The recipients in a SET OF RecipientInfo; what we cannot use is kept as it is."""
    found: list[RecipientInfo] = []
    for element in node.expect(ber.SET, "recipientInfos"):
        ori_type, value, unusable = "", element, "unknown"
        if element.tag == _ORI:
            fields = Fields(element, "OtherRecipientInfo")
            ori_type, unusable = fields.any("oriType").as_oid("oriType"), "ori"
            value = fields.any("oriValue")
            fields.end()
        wanted = element.tag, ori_type
        kind = next((row for row in KINDS if (row.tag, row.ori_type) == wanted), None)
        found += [RecipientInfo(unusable)] if kind is None else kind.read(value)
        if len(found) > MAX_RECIPIENTS:
            raise element.fault(f"more than {MAX_RECIPIENTS} recipients")
    return tuple(found)


# --- whose --------------------------------------------------------------------------------


def _can(key: AnyKey, operation: str) -> bool:
    held = getattr(key, "private_key", None)
    return held is not None and operation in private_key(held).operations


def pairs(
    recipients: Sequence[RecipientInfo], keys: Sequence[AnyKey]
) -> list[tuple[RecipientKind, RecipientInfo, AnyKey]]:
    """Every recipient with each of the keys that are its, in their order, and its kind.

    A key is a recipient's by certificate, if it has one, and by what it can do.

    The keys are looked up by what names their certificates: ten thousand recipients and a folder of
    keys are not compared each with each.
    """
    named: dict[int | bytes, list[int]] = {}
    unnamed: list[int] = []
    for number, key in enumerate(keys):
        certificate = certificate_of(key)
        if certificate is None:
            unnamed.append(number)
            continue
        named.setdefault(certificate.serial_number, []).append(number)
        if certificate.subject_key_identifier is not None:
            named.setdefault(certificate.subject_key_identifier, []).append(number)
    found: list[tuple[RecipientKind, RecipientInfo, AnyKey]] = []
    for recipient in recipients:
        if (kind := kind_of(recipient)) is None:
            continue
        handle = recipient.handle
        near = named.get(handle, ()) if handle is not None else ()
        its = (keys[number] for number in sorted((*near, *unnamed)))
        found += [
            (kind, recipient, key)
            for key in its
            if (not kind.operation or _can(key, kind.operation)) and kind.opens(recipient, key)
        ]
    return found


def find_namesake(
    recipients: Sequence[RecipientInfo], keys: Sequence[AnyKey]
) -> Certificate | None:
    """A certificate of the keys that may be another one of a recipient's key; not for decrypting.

    A renewed certificate can have the key of the former one, and what names the recipient is that
    one's serial number. Whether it is the same key cannot be seen: with another an attempt ends in
    DecryptionFailed, or, under AES-CBC, in one of 256 cases in garbage.
    """
    for recipient in recipients:
        if recipient.issuer_and_serial is None:
            continue
        kind = kind_of(recipient)
        issuer = names.canonical(read_issuer_and_serial(recipient.issuer_and_serial)[0])
        for key in keys:
            certificate = certificate_of(key)
            if (
                kind is not None
                and certificate is not None
                and _can(key, kind.operation)
                and certificate.canonical_issuer == issuer
            ):
                return certificate
    return None
