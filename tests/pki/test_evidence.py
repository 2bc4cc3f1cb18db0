"""Evidence of revocation by whom it says: made up, junk, of the future, or contradicted."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any

import pytest
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph.authority.issue import CA
from smime_graph.pki.evidence import signed_evidence
from smime_graph.x509.certificate import Certificate

from .test_revocation import DAY, NOW, Authority, both, small


@pytest.fixture(scope="module")
def pki() -> Authority:
    return Authority()


def made_up(issuer: CA, key: ec.EllipticCurvePrivateKey, **changes: Any) -> Certificate:
    """A certificate with the names, the number and the signature of an authority's, and a key of
    somebody else's.
    """
    one = asn1.Certificate.load(issuer.certificate.der)
    its = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    inner = one["tbs_certificate"]
    inner["subject_public_key_info"] = asn1.PublicKeyInfo.load(its)
    for name, value in changes.items():
        inner[name] = value
    return Certificate(one.dump(force=True))


@pytest.mark.parametrize("place", ["response", "message"])
def test_a_responder_that_is_made_up_proves_nothing(pki: Authority, place: str) -> None:
    """Its certificate is the issuer's by number and signature value; only the key is another."""
    key = ec.generate_private_key(ec.SECP256R1())
    fake = made_up(pki.issuing, key)
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=pki.alice.certificate.x509,
            issuer=pki.issuing.certificate.x509,
            algorithm=hashes.SHA1(),
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=NOW - DAY,
            next_update=NOW + DAY,
            revocation_time=None,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, fake.x509)
    )
    if place == "response":
        builder = builder.certificates([fake.x509])
    forged = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    upper = pki.crl(pki.root)
    assert pki.judge(ocsp=(forged,), crls=(upper,), further=[fake]) == ["invalid error"]
    gone = pki.crl(revoked={pki.alice: NOW - DAY})
    assert pki.judge(ocsp=(forged,), crls=(upper, gone), further=[fake]) == ["revoked error"]


@pytest.mark.parametrize("changes", [{}, {"serial_number": 7}])
def test_an_issuer_of_lists_that_is_made_up_proves_nothing(
    pki: Authority, changes: dict[str, Any]
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    fake = made_up(pki.issuing, key, **changes)
    crls = (pki.crl(key=key), pki.crl(pki.root))
    assert pki.judge(crls=crls, further=[fake]) == ["invalid error"]


@pytest.mark.parametrize("is_indirect", [True, False])
def test_a_list_by_somebody_whom_the_issuer_certified_proves_nothing(
    pki: Authority, is_indirect: bool
) -> None:
    """A person whose certificate has no keyUsage is no issuer of lists (RFC 5280 6.3.3 b)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mallory")])
    issuer, own = pki.issuing.certificate.x509.subject, key.public_key()
    start, end = NOW - DAY, NOW + DAY
    made = x509.CertificateBuilder(issuer, name, own, 7, start, end)
    person = Certificate(der_of(made.sign(pki.issuing.private_key, hashes.SHA256())))
    listing = x509.CertificateRevocationListBuilder(name, start, end)
    listing = listing.add_extension(x509.CRLNumber(1), critical=False)
    if is_indirect:
        scope = x509.IssuingDistributionPoint(None, None, False, False, None, True, False)
        listing = listing.add_extension(scope, critical=True)
    crls = (der_of(listing.sign(key, hashes.SHA256())), pki.crl(pki.root))
    assert pki.judge(crls=crls, further=[person]) == ["unknown error"]


def der_of(made: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    return made.public_bytes(serialization.Encoding.DER)


def certified(subject: x509.Name, *extensions: x509.ExtensionType, by: CA) -> Any:
    """A certificate of an authority's, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer, start, end = by.certificate.x509.subject, NOW - DAY, NOW + DAY
    number = x509.random_serial_number()
    made = x509.CertificateBuilder(issuer, subject, key.public_key(), number, start, end)
    for one in extensions:
        made = made.add_extension(one, critical=False)
    return Certificate(der_of(made.sign(by.private_key, hashes.SHA256()))), key


def test_people_beside_it_hide_no_responder(pki: Authority) -> None:
    """A message may bring along the certificates of all to whom it is answered."""
    signs = x509.KeyUsage(True, True, False, False, False, False, False, False, False)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "one of them")])
    people = [certified(name, signs, by=pki.issuing)[0] for _ in range(25)]
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
    its, key = certified(name, signs, purpose, x509.OCSPNoCheck(), by=pki.issuing)
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=pki.alice.certificate.x509,
        issuer=pki.issuing.certificate.x509,
        algorithm=hashes.SHA1(),
        cert_status=ocsp.OCSPCertStatus.REVOKED,
        this_update=NOW - DAY,
        next_update=NOW + DAY,
        revocation_time=NOW - DAY,
        revocation_reason=None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, its.x509)
    gone = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    evidence: dict[str, Any] = {"ocsp": (gone,), "crls": (pki.crl(pki.root),), "mode": "soft"}
    assert pki.judge(**evidence, further=[*people, its]) == ["revoked error"]


def test_who_is_revoked_is_so_whatever_else_says(pki: Authority) -> None:
    """A response of before, which has not run out, comes along in the message of who was revoked
    since.
    """
    good = pki.ocsp(ocsp.OCSPCertStatus.GOOD, since=NOW - 5 * DAY, until=NOW + 5 * DAY)
    assert pki.judge(crls=both(pki, revoked={pki.alice: NOW - DAY}), ocsp=(good,)) == [
        "revoked error"
    ]


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["crls", "ocsp"]),
    octets=st.one_of(st.binary(max_size=40), st.tuples(st.integers(0, 2000), st.integers(0, 255))),
    is_first=st.booleans(),
)
def test_nothing_that_comes_along_hides_that_somebody_was_revoked(
    kind: str, octets: bytes | tuple[int, int], is_first: bool
) -> None:
    pki = small()
    known: dict[str, Any] = {"crls": lists_of_small(), "ocsp": ()}
    if isinstance(octets, tuple):
        place, value = octets
        whole = bytearray(lists_of_small()[0] if kind == "crls" else response_of_small())
        whole[place % len(whole)] = value
        octets = bytes(whole)
    known[kind] = (octets, *known[kind]) if is_first else (*known[kind], octets)
    assert pki.judge(mode="soft", **known) == ["revoked error"]


@functools.cache
def lists_of_small() -> tuple[bytes, bytes]:
    return both(small(), revoked={small().alice: NOW - DAY})


@functools.cache
def response_of_small() -> bytes:
    return small().ocsp(ocsp.OCSPCertStatus.GOOD)


def listed(
    pki: Authority,
    number: int,
    *,
    base: int | None = None,
    gone: bool = False,
    back: bool = False,
    key: Any = None,
) -> bytes:
    """A list of the issuer that names its delta, or with `base` a delta to the list of that number;
    with `gone` Alice is in it, with `back` as one who is no longer. `key`: another one of the
    issuer's, which the list then names.
    """
    at, by = NOW - DAY, pki.issuing
    made = x509.CertificateRevocationListBuilder(by.certificate.x509.subject, at, NOW + DAY)
    made = made.add_extension(x509.CRLNumber(number), critical=False)
    if base is None:
        place = x509.UniformResourceIdentifier("http://contoso.com/delta")
        point = x509.DistributionPoint([place], None, None, None)
        made = made.add_extension(x509.FreshestCRL([point]), critical=False)
    else:
        made = made.add_extension(x509.DeltaCRLIndicator(base), critical=True)
    if key is not None:
        named = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        made = made.add_extension(named, critical=False)
    if gone or back:
        serial = pki.alice.certificate.x509.serial_number
        entry = x509.RevokedCertificateBuilder(serial, at)
        if back:
            reason = x509.CRLReason(x509.ReasonFlags.remove_from_crl)
            entry = entry.add_extension(reason, critical=False)
        made = made.add_revoked_certificate(entry.build())
    return der_of(made.sign(key or by.private_key, hashes.SHA256()))


def test_a_delta_goes_on_from_the_list_that_it_was_made_for(pki: Authority) -> None:
    """RFC 5280 5.2.4: with an older list, what was listed in between is in neither."""

    def said(*crls: bytes) -> list[str]:
        return pki.judge(crls=(*crls, pki.crl(pki.root)))

    base = listed(pki, 4)
    assert said(base, listed(pki, 9, base=4)) == said(base, listed(pki, 9, base=1)) == []
    assert said(base, listed(pki, 9, base=7)) == ["invalid error"]
    assert said(base, listed(pki, 3, base=1)) == ["invalid error"]
    # whom it lists was revoked, whatever is missing in between
    assert said(base, listed(pki, 9, base=7, gone=True)) == ["revoked error"]
    assert said(base, listed(pki, 3, base=1, gone=True)) == ["invalid error"]
    assert said(base, listed(pki, 9, base=7, back=True)) == ["invalid error"]
    # the newest counts, wherever it stands
    deltas = [listed(pki, 8, base=4), listed(pki, 9, base=4, gone=True)]
    assert said(base, *deltas) == said(base, *reversed(deltas)) == ["revoked error"]


def test_a_list_that_cannot_be_read_is_told_beside_a_delta(pki: Authority) -> None:
    broken = x509.UnrecognizedExtension(x509.CRLNumber.oid, b"\x04\x00")
    by, at = pki.issuing, NOW - DAY
    made = x509.CertificateRevocationListBuilder(by.certificate.x509.subject, at, NOW + DAY)
    unreadable = der_of(made.add_extension(broken, False).sign(by.private_key, hashes.SHA256()))
    chain = [one.certificate for one in (pki.alice, pki.issuing, pki.root)]
    crls = [unreadable, listed(pki, 4), listed(pki, 9, base=4)]
    found = signed_evidence(chain, crls, (), (), at=NOW)
    assert found.crls == crls[1:]
    (fault,) = found.faults
    assert fault.startswith("CRL: its extensions cannot be read")


def test_the_lists_of_each_key_of_an_authority_have_their_own_numbers(pki: Authority) -> None:
    """RFC 5280 6.3.3 c 3: a list and its delta name the same key."""
    signs = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    renewed, key = certified(pki.issuing.certificate.x509.subject, signs, by=pki.root)
    old = pki.issuing.private_key

    def said(**delta: Any) -> list[str]:
        lists = listed(pki, 4, key=old), listed(pki, 5, base=4, key=old, **delta)
        others = listed(pki, 50, key=key), listed(pki, 51, base=50, key=key)
        return pki.judge(crls=(*lists, *others, pki.crl(pki.root)), further=[renewed])

    assert said() == []
    assert said(gone=True) == ["revoked error"]


def test_of_times_to_come_nothing_is_known(pki: Authority) -> None:
    """RFC 6960 4.2.2.1; an authority may make its lists for a year in advance."""
    far = datetime.now(UTC) + 300 * DAY
    crls = (pki.crl(since=far, until=far + DAY), pki.crl(pki.root))
    assert pki.judge(crls=crls) == ["invalid error"]
    good = pki.ocsp(ocsp.OCSPCertStatus.GOOD, since=far, until=far + DAY)
    assert pki.judge(ocsp=(good,), crls=crls[1:]) == ["invalid error"]
    assert pki.judge(crls=crls, at=far) == ["stale error"]  # that of the root
