"""The S/MIME Baseline Requirements (CA/Browser Forum) 7.1.4 (CA/Browser Forum): people's names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cryptography import x509

from .. import oids
from ..pki.address import address_of, mailbox
from ..x509 import names
from .profiles import SBR, FitnessProfile
from .rules import (
    BOTH,
    BR,
    NOT_LEGACY,
    STRICT,
    WARNING,
    Fault,
    FitnessRule,
    Subject,
    rule,
    shown,
    weigh,
)


@rule(
    "SBR-7.1.4.1-1",
    "the issuer's name is octet for octet the subject's name of the issuing authority",
    "S/MIME BR 7.1.4.1, Gmail's certificate profile",
    "issue it again with the name of the authority as its certificate has it",
    weigh(SBR, "gmail"),
    about=BOTH,
)
def _issuers_name(subject: Subject) -> Iterator[Fault]:
    if subject.issuer is not None and subject.certificate.issuer != subject.issuer.subject:
        yield Fault("issuer", "it is encoded otherwise than the subject of its issuer")


_NOTHING = re.compile(r"[\s.\-]*|n/?a|none|null|unknown|not applicable|absent", re.IGNORECASE)


@rule(
    "SBR-7.1.4.2-1",
    "no attribute of the subject says only that there is nothing",
    "S/MIME BR 7.1.4.2",
    "leave attributes out that have no value",
    BR,
    codes=("cabf.insignificant_attribute_value_present",),
)
def _empty_values(subject: Subject) -> Iterator[Fault]:
    for oid, text in subject.subject:
        if text is not None and _NOTHING.fullmatch(text[:40]):
            yield Fault("subject", f"attribute {oid} is {shown([repr(text[:40])])}")


@rule(
    "SBR-7.1.4.2.1-1",
    "the subjectAltName has a mail address: rfc822Name or SmtpUTF8Mailbox",
    "S/MIME BR 7.1.4.2.1, Apple Root Program",
    "add the mail address to subjectAltName as rfc822Name",
    weigh(SBR, "apple", gmail=WARNING),
    codes=("cabf.smime.san_does_not_contain_email_address", "cabf.smime.san_extension_missing"),
)
def _has_mailbox(subject: Subject) -> Iterator[Fault]:
    if not subject.san_mailboxes and subject.can_miss:
        yield Fault("extensions.subjectAltName", "no mail address is in it")


def _elsewhere(subject: Subject) -> Iterator[tuple[str, str]]:
    """The addresses outside rfc822Name and SmtpUTF8Mailbox, and where they stand."""
    directory = [
        name.value.public_bytes() for name in subject.san if isinstance(name, x509.DirectoryName)
    ]
    for where, name in (
        ("subject", subject.certificate.subject),
        *(("extensions.subjectAltName.directoryName", one) for one in directory),
    ):
        for oid, text in names.attributes(name):
            if text and (oid == oids.EMAIL_ADDRESS or (oid == oids.COMMON_NAME and "@" in text)):
                yield where, text


@rule(
    "SBR-7.1.4.2.1-2",
    "every mail address of the subject is in the subjectAltName as well",
    "S/MIME BR 7.1.4.2.1",
    "add every mail address of the subject to subjectAltName, or leave it out of the subject",
    BR,
    codes=(
        "cabf.smime.email_address_in_attribute_not_in_san",
        "pkix.subject_email_address_not_in_san",
    ),
)
def _repeated(subject: Subject) -> Iterator[Fault]:
    for where, text in _elsewhere(subject):
        key = mailbox(text)
        if key is not None and subject.can_miss and key not in subject.san_mailboxes:
            yield Fault(where, f"{shown([text[:80]])} is not in the subjectAltName")


@rule(
    "SBR-7.1.4.2.1-3",
    "the subjectAltName has no names but mail addresses and directory names",
    "S/MIME BR 7.1.4.2.1",
    "leave host names, addresses of the web and IP addresses out of subjectAltName",
    BR,
    codes=(
        "cabf.smime.prohibited_generalname_type_present",
        "cabf.smime.prohibited_othername_type_present",
    ),
)
def _other_names(subject: Subject) -> Iterator[Fault]:
    for name in subject.san:
        if isinstance(name, x509.OtherName):
            if name.type_id.dotted_string != oids.SMTP_UTF8_MAILBOX:
                text = f"it has an otherName of type {name.type_id.dotted_string}"
                yield Fault("extensions.subjectAltName", text, only=STRICT)
        elif address_of(name) is None and not isinstance(name, x509.DirectoryName):
            yield Fault("extensions.subjectAltName", f"it has a {type(name).__name__}")


@rule(
    "SBR-7.1.4.2.2-a",
    "the common name is what its type lets it be: an address, the organization, or the person",
    "S/MIME BR 7.1.4.2.2 (a)",
    "have the mail address as common name, or leave the common name out",
    BR,
    codes=("cabf.smime.common_name_value_unknown_source",),
)
def _common_name(subject: Subject) -> Iterator[Fault]:
    organizations = frozenset(subject.attribute(oids.ORGANIZATION_NAME))
    for text in subject.attribute(oids.COMMON_NAME):
        key = mailbox(text) if "@" in text else None
        if subject.kind is None or (key is not None and key in subject.san_mailboxes):
            continue
        of_type = {
            "mailbox": False,
            "organization": text in organizations,
        }
        # a personal name may be written in any preferred way: of it nothing can be said
        if not of_type.get(subject.kind, key is None):
            text = f"{shown([repr(text[:60])])} is not what a certificate of a {subject.kind} has"
            yield Fault("subject.commonName", text)


_IDENTIFIER = re.compile(
    r"(?P<scheme>[A-Z]{3})(?P<country>[A-Z]{2})(?:\+(?P<part>[A-Z0-9]{1,3}))?(?:-(?P<number>.+))?",
    re.DOTALL,
)
_SCHEMES = {"NTR": True, "VAT": True, "PSD": True, "LEI": True, "GOV": False, "INT": False}
_GLOBAL = ("LEI", "INT")


def _identifier_fault(text: str, countries: tuple[str, ...]) -> str | None:
    found = _IDENTIFIER.fullmatch(text)
    if found is None:
        return "is not like NTRGB-12345678"
    scheme, country = found["scheme"], found["country"]
    if scheme not in _SCHEMES:
        return f"has the unknown scheme {scheme}"
    if _SCHEMES[scheme] != (found["number"] is not None):
        return f"{'lacks' if _SCHEMES[scheme] else 'has'} a reference"
    if found["part"] and scheme not in ("NTR", "GOV"):
        return f"names a part of the country, which {scheme} does not"
    if (scheme in _GLOBAL) != (country == "XG"):
        return f"has the country {country}"
    # EL and XI are Greece and Northern Ireland to the VAT
    if scheme not in _GLOBAL and countries and country not in (*countries, "EL", "XI"):
        return f"is of {country}, and countryName is not"
    return None


@rule(
    "SBR-7.1.4.2.2-d",
    "the organization's identifier is written by its scheme, and of its country",
    "S/MIME BR 7.1.4.2.2 (d), appendix A",
    "write organizationIdentifier as SCHEME, country and number: NTRGB-12345678",
    BR,
    codes=(
        "cabf.invalid_subject_organization_identifier_format",
        "cabf.invalid_subject_organization_identifier_encoding",
        "cabf.invalid_organization_identifier_registration_scheme",
        "cabf.invalid_organization_identifier_country",
        "cabf.organization_identifier_reference_missing_for_scheme",
        "cabf.invalid_subject_organization_identifier_state_province_for_scheme",
        "cabf.smime.prohibited_organization_identifier_reference_present_for_scheme",
        "cabf.smime.org_identifier_and_country_name_attribute_inconsistent",
    ),
)
def _identifier(subject: Subject) -> Iterator[Fault]:
    countries = subject.attribute(oids.COUNTRY_NAME)
    for text in subject.attribute(oids.ORGANIZATION_IDENTIFIER):
        fault = _identifier_fault(text, countries)
        if fault is not None:
            text = f"{shown([repr(text[:60])])} {fault}"
            yield Fault("subject.organizationIdentifier", text)


@rule(
    "SBR-7.1.4.2.2-e",
    "a name and a pseudonym do not stand together",
    "S/MIME BR 7.1.4.2.2 (e), (f)",
    "have givenName and surname in the subject, or a pseudonym, not both",
    BR,
    codes=("cabf.smime.mixed_name_and_pseudonym_attributes",),
)
def _pseudonym(subject: Subject) -> Iterator[Fault]:
    kinds = {oid for oid, _ in subject.subject}
    if oids.PSEUDONYM in kinds and kinds & {oids.GIVEN_NAME, oids.SURNAME}:
        yield Fault("subject.pseudonym", "it stands beside givenName or surname")


@rule(
    "SBR-7.1.4.2.2-h",
    "an emailAddress is one mail address",
    "S/MIME BR 7.1.4.2.2 (h)",
    "have one mail address in emailAddress of the subject",
    BR,
    codes=("pkix.invalid_email_address_syntax",),
)
def _one_address(subject: Subject) -> Iterator[Fault]:
    for text in subject.attribute(oids.EMAIL_ADDRESS):
        if mailbox(text) is None:
            yield Fault("subject.emailAddress", f"{shown([repr(text[:60])])} is no mail address")


@rule(
    "SBR-7.1.4.2.2-jn",
    "a street has a place, a place has a country, and the country is of two letters",
    "S/MIME BR 7.1.4.2.2 (j) to (n)",
    "add localityName or stateOrProvinceName, and countryName, to the subject",
    BR,
    codes=(
        "cabf.smime.required_attribute_missing_for_dependent_attribute",
        "cabf.invalid_country_code",
    ),
)
def _place(subject: Subject) -> Iterator[Fault]:
    kinds = {oid for oid, _ in subject.subject}
    places = {oids.LOCALITY_NAME, oids.STATE_OR_PROVINCE_NAME}
    if kinds & {oids.STREET_ADDRESS, oids.POSTAL_CODE} and not kinds & places:
        yield Fault("subject", "a street or a postal code stands without a place")
    if kinds & places and oids.COUNTRY_NAME not in kinds:
        yield Fault("subject", "a place stands without a country")
    for text in subject.attribute(oids.COUNTRY_NAME):
        if not re.fullmatch(r"[A-Z]{2}", text):
            yield Fault("subject.countryName", f"{shown([repr(text[:20])])} is no country's code")


_PERSON = (oids.GIVEN_NAME, oids.SURNAME, oids.PSEUDONYM)
_ENTITY = (oids.ORGANIZATION_NAME, oids.ORGANIZATION_IDENTIFIER)
_MAILBOX = (oids.COMMON_NAME, oids.SERIAL_NUMBER, oids.EMAIL_ADDRESS)
_PLACE = (oids.LOCALITY_NAME, oids.STATE_OR_PROVINCE_NAME, oids.COUNTRY_NAME)
_STREET = (oids.STREET_ADDRESS, oids.POSTAL_CODE)
# which attributes each type may have, beside those of the street
_MAY = {
    "mailbox": frozenset(_MAILBOX),
    "organization": frozenset(
        (*_MAILBOX, *_ENTITY, oids.ORGANIZATIONAL_UNIT_NAME, *_PLACE),
    ),
    "sponsor": frozenset(
        (*_MAILBOX, *_ENTITY, oids.ORGANIZATIONAL_UNIT_NAME, *_PLACE, *_PERSON, oids.TITLE),
    ),
    "individual": frozenset((*_MAILBOX, *_PLACE, *_PERSON, oids.TITLE)),
}
_NAMED = frozenset().union(*_MAY.values())


def _attribute_faults(subject: Subject, kind: str) -> Iterator[Fault]:
    if subject.kind != kind:
        return
    kinds = {oid for oid, _ in subject.subject}
    if kind in ("organization", "sponsor") and (missing := sorted({*_ENTITY} - kinds)):
        yield Fault("subject", f"it lacks {shown(missing)}")
    if kind in ("sponsor", "individual") and not kinds & {*_PERSON}:
        only = NOT_LEGACY if oids.COMMON_NAME in kinds else None
        yield Fault("subject", "it has neither givenName, surname nor pseudonym", only=only)
    for oid in sorted(kinds - _MAY[kind]):
        yield Fault("subject", f"it has the attribute {oid}", only=_forbidding(kind, oid))


def _forbidding(kind: str, oid: str) -> tuple[FitnessProfile, ...] | None:
    """The profiles that forbid an attribute which a type does not have; None: each does."""
    if kind == "mailbox" or (oid in _NAMED and oid not in _STREET):
        return None
    return STRICT if oid in _STREET else NOT_LEGACY


_ATTRIBUTES = ("cabf.smime.prohibited_attribute", "cabf.smime.missing_required_attribute")


@rule(
    "SBR-7.1.4.2.3",
    "of a validated mailbox the subject has commonName, serialNumber and emailAddress alone",
    "S/MIME BR 7.1.4.2.3",
    "leave everything but the address out of the subject, or state another reserved policy",
    BR,
    codes=_ATTRIBUTES,
)
def _of_mailbox(subject: Subject) -> Iterator[Fault]:
    yield from _attribute_faults(subject, "mailbox")


@rule(
    "SBR-7.1.4.2.4",
    "of an organization the subject has its name and identifier, and no person's",
    "S/MIME BR 7.1.4.2.4",
    "have organizationName and organizationIdentifier in the subject, and no person's name",
    BR,
    codes=_ATTRIBUTES,
)
def _of_organization(subject: Subject) -> Iterator[Fault]:
    yield from _attribute_faults(subject, "organization")


@rule(
    "SBR-7.1.4.2.5",
    "of a sponsor's person the subject has the organization and the person",
    "S/MIME BR 7.1.4.2.5",
    "have organizationName, organizationIdentifier, givenName and surname in the subject",
    BR,
    codes=_ATTRIBUTES,
)
def _of_sponsor(subject: Subject) -> Iterator[Fault]:
    yield from _attribute_faults(subject, "sponsor")


@rule(
    "SBR-7.1.4.2.6",
    "of an individual the subject has a name, and no organization",
    "S/MIME BR 7.1.4.2.6",
    "have givenName and surname in the subject, and no organization",
    BR,
    codes=_ATTRIBUTES,
)
def _of_individual(subject: Subject) -> Iterator[Fault]:
    yield from _attribute_faults(subject, "individual")


# RFC 5280 appendix A.1, X.520 annex C
_LONGEST = {
    oids.COMMON_NAME: 64,
    oids.ORGANIZATION_NAME: 64,
    oids.ORGANIZATIONAL_UNIT_NAME: 64,
    oids.LOCALITY_NAME: 128,
    oids.STATE_OR_PROVINCE_NAME: 128,
    oids.STREET_ADDRESS: 128,
    oids.SERIAL_NUMBER: 64,
    oids.TITLE: 64,
    oids.PSEUDONYM: 128,
    oids.POSTAL_CODE: 40,
    oids.EMAIL_ADDRESS: 255,
    oids.COUNTRY_NAME: 2,
}


@rule(
    "SBR-UB",
    "no attribute of the subject is longer than its upper bound",
    "S/MIME BR 7.1.4, RFC 5280 appendix A.1",
    "shorten the attribute: a common name has at most 64 characters",
    BR,
    codes=("itu.invalid_asn1_syntax",),
)
def _bounds(subject: Subject) -> Iterator[Fault]:
    for oid, text in subject.subject:
        if text is not None and len(text) > _LONGEST.get(oid, 32768):
            yield Fault("subject", f"attribute {oid} has {len(text)} characters")


RULES: tuple[FitnessRule, ...] = (
    _issuers_name,
    _empty_values,
    _has_mailbox,
    _repeated,
    _other_names,
    _common_name,
    _identifier,
    _pseudonym,
    _one_address,
    _place,
    _of_mailbox,
    _of_organization,
    _of_sponsor,
    _of_individual,
    _bounds,
)
