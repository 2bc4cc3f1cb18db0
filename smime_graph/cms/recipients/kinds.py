"""RecipientInfos (RFC 5652 6.2): the content key, wrapped for each recipient and unwrapped by one.

    RecipientInfo ::= CHOICE { ktri KeyTransRecipientInfo, [1] kari, [2] kekri, [3] pwri, [4] ori }

Each kind has a module of its own: `key_transport`, `key_agreement`, `key_encapsulation` (an ori)
and `shared_secret`. Kinds that we cannot use are kept, shown and skipped, never fatal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ... import algorithms
from ...algorithms import AGREEMENT_KEYS, KEY_KINDS, CekDerivation, ContentCipher, Kem, KeyTransport
from ...asn1 import ber
from ...asn1.ber import Node
from ...budget import Budget
from ...errors import PolicyRefusal, UnsupportedAlgorithm
from ...policy import Policy
from ...x509 import names
from ...x509.certificate import Certificate
from ..capabilities import Capabilities
from ..keys import DecryptionKey, Recipient
from ..signed_data import read_issuer_and_serial
from . import key_agreement, key_encapsulation, key_transport, shared_secret
from .recipient_info import RecipientIdentifierForm, RecipientInfo
from .shared_secret import Password, SharedKey

# A list server's largest envelopes name a few hundred; every one read costs memory only.
MAX_RECIPIENTS = 10_000

# whom one can encrypt to, and what one can decrypt with
AnyRecipient = Recipient | Password | SharedKey
AnyKey = DecryptionKey | Password | SharedKey


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
            hint="choose a policy that sends, for example exchange",
        )
    for recipient in recipients:
        if isinstance(recipient, (Password, SharedKey)):
            continue
        announced = Capabilities.of(recipient)
        if announced is None:
            continue
        agrees = KEY_KINDS.get(recipient.certificate.key_algorithm) in AGREEMENT_KEYS
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
                hint="send to this recipient separately, or ask for newer capabilities",
            )
        left = remaining
    return left[0]


def choose_derivation(recipients: Sequence[AnyRecipient], policy: Policy) -> CekDerivation | None:
    """The derivation of RFC 9709, if everybody announced it and the policy does not refuse it."""
    row = algorithms.rows(CekDerivation)[0]
    if not policy.accepts(row):
        return None
    for recipient in recipients:
        if isinstance(recipient, (Password, SharedKey)):
            return None
        announced = Capabilities.of(recipient)
        if announced is None or row.oid not in announced.oids:
            return None
    return row


# --- wrapping -----------------------------------------------------------------------------


def wrap(
    recipient: AnyRecipient,
    cek: bytes,
    *,
    policy: Policy,
    rid: RecipientIdentifierForm = "issuer",
) -> tuple[bytes, int]:
    """The RecipientInfo that carries `cek`, DER, and its version number.

    Raises UnsupportedAlgorithm for a key that nothing can be encrypted to, PolicyRefusal for a kind
    of key that the policy does not encrypt to.
    """
    if isinstance(recipient, Password):
        _check_kind("password", "a password", policy)
        return shared_secret.wrap_for_password(recipient, cek)
    if isinstance(recipient, SharedKey):
        return shared_secret.wrap_for_shared_key(recipient, cek)
    certificate = recipient.certificate
    kind = KEY_KINDS.get(certificate.key_algorithm)
    if any(row.key == kind for row in algorithms.rows(KeyTransport)):
        make = key_transport.wrap
    elif kind in AGREEMENT_KEYS:
        make = key_agreement.wrap
    elif any(row.key == kind for row in algorithms.rows(Kem)):
        make = key_encapsulation.wrap
    else:
        raise UnsupportedAlgorithm(
            certificate.key_algorithm,
            where=f"encryption to {certificate.description}",
            hint="this key can only sign; give the recipient's encryption certificate",
        )
    _check_kind(kind, certificate.description, policy)
    return make(recipient, cek, policy, rid)


def _check_kind(kind: str | None, who: str, policy: Policy) -> None:
    if not policy.uses_key(kind):
        raise PolicyRefusal(
            f"policy {policy.name} does not encrypt to {who}, whose key is of kind {kind}",
            rule="encrypt.kind-of-key",
            policy=policy.name,
            hint="one such recipient weakens the message for all; ask for an ML-KEM certificate",
        )


# --- reading ------------------------------------------------------------------------------


def read(node: Node) -> tuple[RecipientInfo, ...]:
    """The recipients in a SET OF RecipientInfo; what we cannot use is kept as it is."""
    found: list[RecipientInfo] = []
    for element in node.expect(ber.SET, "recipientInfos"):
        if element.tag == ber.SEQUENCE:
            found.append(key_transport.read(element))
        elif element.tag == 0xA1:
            found += key_agreement.read(element)
        elif element.tag == 0xA2:
            found.append(shared_secret.read_shared_key(element))
        elif element.tag == 0xA3:
            found.append(shared_secret.read_password(element))
        elif element.tag == 0xA4:
            found.append(key_encapsulation.read(element))
        else:
            found.append(RecipientInfo("unknown"))
        if len(found) > MAX_RECIPIENTS:
            raise element.fault(f"more than {MAX_RECIPIENTS} recipients")
    return tuple(found)


# --- unwrapping ---------------------------------------------------------------------------

_OPERATIONS = {"ktri": "decrypt", "kari": "exchange", "kemri": "decapsulate"}


def can_unwrap(recipient: RecipientInfo, key: AnyKey) -> bool:
    """Whether this recipient is the key's: by certificate, if there is one, and by kind of key."""
    if isinstance(key, Password):
        return recipient.kind == "pwri"
    if isinstance(key, SharedKey):
        return recipient.kind == "kekri" and recipient.key_identifier == key.identifier
    operation = _OPERATIONS.get(recipient.kind)
    return (
        operation is not None
        and hasattr(key.private_key, operation)
        and (key.certificate is None or recipient.matches(key.certificate))
    )


def pairs(
    recipients: Sequence[RecipientInfo], keys: Sequence[AnyKey]
) -> list[tuple[RecipientInfo, AnyKey]]:
    """Every recipient with each of the keys that are its, in their order.

    The keys are looked up by what names their certificates: ten thousand recipients and a folder of
    keys are not compared each with each.
    """
    named: dict[int | bytes, list[int]] = {}
    unnamed: list[int] = []
    for number, key in enumerate(keys):
        certificate = None if isinstance(key, (Password, SharedKey)) else key.certificate
        if certificate is None:
            unnamed.append(number)
            continue
        named.setdefault(certificate.serial_number, []).append(number)
        if certificate.subject_key_identifier is not None:
            named.setdefault(certificate.subject_key_identifier, []).append(number)
    found: list[tuple[RecipientInfo, AnyKey]] = []
    for recipient in recipients:
        handle = recipient.handle
        near = named.get(handle, ()) if handle is not None else ()
        its = (keys[number] for number in sorted((*near, *unnamed)))
        found += [(recipient, key) for key in its if can_unwrap(recipient, key)]
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
        issuer = names.canonical(read_issuer_and_serial(recipient.issuer_and_serial)[0])
        for key in keys:
            if isinstance(key, (Password, SharedKey)) or key.certificate is None:
                continue
            if (
                hasattr(key.private_key, _OPERATIONS.get(recipient.kind, ""))
                and key.certificate.canonical_issuer == issuer
            ):
                return key.certificate
    return None


def unwrap(
    recipient: RecipientInfo,
    key: AnyKey,
    size: int,
    *,
    policy: Policy,
    certificates: Iterable[Certificate] = (),
    budget: Budget | None = None,
) -> bytes:
    """The content-encryption key of `size` octets.

    Raises UnsupportedAlgorithm or PolicyRefusal before the key is used, MalformedMessage for what
    is wrong in public, and ValueError without a word for every failure of the key itself. A failing
    RSA PKCS #1 v1.5 gives a random key instead, so nobody learns that it failed.
    """
    if isinstance(key, Password):
        cek = shared_secret.unwrap_with_password(recipient, key, policy, budget)
    elif isinstance(key, SharedKey):
        cek = shared_secret.unwrap_with_shared_key(recipient, key, policy)
    else:
        cek = _unwrap_with(key.private_key, recipient, size, policy, certificates)
    if len(cek) != size:
        raise ValueError
    return cek


def _unwrap_with(
    private_key: Any,
    recipient: RecipientInfo,
    size: int,
    policy: Policy,
    certificates: Iterable[Certificate],
) -> bytes:
    if recipient.kind == "ktri":
        return key_transport.unwrap(recipient, private_key, size, policy)
    if recipient.kind == "kari":
        return key_agreement.unwrap(recipient, private_key, policy, certificates)
    return key_encapsulation.unwrap(recipient, private_key, policy)
