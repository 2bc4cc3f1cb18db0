"""Slips of issuers are put right within bounds, and reasons are told."""

from __future__ import annotations

from smime_graph import CA
from smime_graph.asn1 import ber
from smime_graph.pki.path import SignatureChecks
from smime_graph.x509 import deviations
from smime_graph.x509.certificate import Certificate


def _with_names(certificate: Certificate, count: int) -> bytes:
    """The certificate with a subject of so many names that PrintableString does not allow."""
    tbs, *outer = ber.read(certificate.der, "Certificate").children()
    fields = [one.raw for one in tbs.children()]
    name = ber.set_of(ber.sequence(ber.oid("2.5.4.3"), ber.tlv(0x13, b"a@b")))
    fields[5] = ber.sequence(*([name] * count))
    return ber.sequence(ber.sequence(*fields), *(one.raw for one in outer))


def test_what_no_issuer_makes_by_mistake_is_not_put_right() -> None:
    certificate = CA("Root", key="p256").issue("alice@contoso.com", key="p256").certificate
    few, many = _with_names(certificate, 3), _with_names(certificate, 1000)
    copy = deviations.put_right(few)
    assert copy is not None
    assert b"\x0c\x03a@b" in copy
    assert b"\x13\x03a@b" not in copy
    assert deviations.put_right(many) is None


def test_a_signature_that_is_not_of_the_kind_of_key_is_told_apart_from_a_wrong_one() -> None:
    rsa, ec = CA("Root", key="rsa-2048"), CA("Root", key="p256")
    by_rsa = rsa.issue("alice@contoso.com", key="p256").certificate
    fault = SignatureChecks().fault(by_rsa, ec.certificate)
    assert fault is not None
    assert "kind of key" in fault
    other = CA("Root", key="rsa-2048").certificate
    assert "kind of key" not in (SignatureChecks().fault(by_rsa, other) or "")
