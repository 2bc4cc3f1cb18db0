"""The certificates that Outlook keeps with a contact: PidTagUserX509Certificate, 0x3A70.

Each value of the property is a SignedData in DER that carries certificates (or, as is met, one
certificate), or security settings one after another ([MS-OXOABK] 2.2.4.36):

    setting ::= TAG (2 octets) LENGTH (2 octets, of the whole setting) DATA, both little-endian

What a value says of capabilities is not read: nothing vouches for it (RFC 8551 2.7.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..budget import Budget
from ..errors import MalformedMessage
from ..x509.certificate import Certificate
from ..x509.certificate_set import read_carried

KEY_EXCHANGE_CERTIFICATE = 0x0003
CHAIN_CERTIFICATE = 0x0004
SIGN_CERTIFICATE = 0x0008

_MAX_VALUE = 1 << 20  # octets; a real one has some 4,000
_MAX_SETTINGS = 200
_MAX_CERTIFICATES = 100


@dataclass(frozen=True, slots=True)
class ContactCertificates:
    """What one value holds: certificates of the person, and others to build paths with.

    Which is which is known of settings alone: everything in a SignedData is the person's until it
    is found to be an authority's. `signed` is the SignedData where it is one.
    """

    certificates: tuple[Certificate, ...]
    chain: tuple[Certificate, ...] = ()
    signed: bytes | None = None


def read_contact_certificates(value: bytes) -> ContactCertificates:
    """The certificates of one value of the property; MalformedMessage for what holds none."""
    if not value:
        raise MalformedMessage("the value is empty")
    if len(value) > _MAX_VALUE:
        raise MalformedMessage(f"the value has {len(value)} octets, at most {_MAX_VALUE} are read")
    found = _read_der(value) if value[0] == 0x30 else _read_settings(value)
    if not found.certificates:
        raise MalformedMessage("the value holds no certificate of the person")
    if len(found.certificates) + len(found.chain) > _MAX_CERTIFICATES:
        raise MalformedMessage(f"the value holds more than {_MAX_CERTIFICATES} certificates")
    return found


def _read_der(value: bytes) -> ContactCertificates:
    try:
        return ContactCertificates((Certificate(value),))
    except MalformedMessage:
        carried = read_carried(value, budget=Budget(len(value)))
        return ContactCertificates(carried, signed=value)


def _read_settings(value: bytes) -> ContactCertificates:
    held: dict[int, list[Certificate]] = {}
    position = count = 0
    while position < len(value):
        tag = int.from_bytes(value[position : position + 2], "little")
        length = int.from_bytes(value[position + 2 : position + 4], "little")
        end = position + length
        if length < 4 or end > len(value):
            raise MalformedMessage(f"the setting at octet {position} does not end in the value")
        count += 1
        if count > _MAX_SETTINGS:
            raise MalformedMessage(f"the value has more than {_MAX_SETTINGS} settings")
        if tag in (KEY_EXCHANGE_CERTIFICATE, CHAIN_CERTIFICATE, SIGN_CERTIFICATE):
            held.setdefault(tag, []).append(Certificate(value[position + 4 : end]))
        position = end  # other settings MUST be ignored
    # the certificate to sign with is of no use to whoever writes to the person
    return ContactCertificates(
        tuple(held.get(KEY_EXCHANGE_CERTIFICATE, ())), tuple(held.get(CHAIN_CERTIFICATE, ()))
    )
