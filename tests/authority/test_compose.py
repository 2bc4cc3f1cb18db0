"""Variants below an authority of one's own: as odd as the catalogue says, and no odder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from smime_graph import CA, Revocation
from smime_graph.authority import compose
from smime_graph.authority.compose import issue_variant
from smime_graph.authority.pool import pool_key
from smime_graph.authority.profile import key_of
from smime_graph.authority.variants import VARIANTS, Variant
from smime_graph.errors import UsageError
from smime_graph.findings import Severity
from smime_graph.pki.identity import Identity
from smime_graph.pki.revocation import revocation_findings
from smime_graph.pki.validate import validate

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BOB = "bob@fabrikam.com"
# about names that are fixed: the address and the constraint on it are the catalogue's
ABOUT_NAMES = {one.id for one in VARIANTS if one.group == "names"}


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA(key=pool_key("rsa-2048", 1), at=NOW, services="http://127.0.0.1:8880")


@pytest.fixture(autouse=True)
def _keys_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making RSA keys would take most of the time."""
    monkeypatch.setattr(compose, "key_of", lambda kind: key_of(pool_key(kind)))


def errors(ca: CA, one: Identity, use: str, address: str = BOB) -> set[str]:
    report = validate(
        one.certificate,
        use=use,  # type: ignore[arg-type]
        trust=ca.trust,
        certificates=one.chain,
        at=NOW,
        address=address,
    )
    return {f.code for f in report.findings if f.severity == Severity.ERROR}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.id)
def test_it_is_as_odd_as_the_catalogue_says(ca: CA, variant: Variant) -> None:
    address = "alice@contoso.com" if variant.id in ABOUT_NAMES else BOB
    made = issue_variant(ca, address, variants=[variant.id])
    assert errors(ca, made, "sign", address) == set(variant.sign)
    assert errors(ca, made, "encrypt", address) == set(variant.encrypt)


def test_several_stack_and_options_come_last(ca: CA) -> None:
    made = issue_variant(ca, BOB, variants=["expired", "eku-server"])
    assert errors(ca, made, "sign") == {"pki.path.expired", "pki.usage.extended-key-usage"}
    mended = issue_variant(ca, BOB, variants=["expired", "eku-server"], changes={"eku": None})
    assert errors(ca, mended, "sign") == {"pki.path.expired"}
    assert [one["emails"] for one in ca.issued[-2:]] == [[BOB], [BOB]]


def test_what_is_revoked_is_in_the_crl(ca: CA) -> None:
    made = issue_variant(ca, BOB, "bob@contoso.com", variants=["revoked-superseded"], key="p256")
    found = revocation_findings(
        (made.certificate, ca.certificate),
        revocation=Revocation(mode="hard", crls=(ca.crl(),)),
        at=NOW,
        certificates=[ca.certificate],
    )
    assert [one.code for one in found] == ["pki.revocation.revoked"]
    assert made.emails == (BOB, "bob@contoso.com")
    below = issue_variant(ca, BOB, variants=["issuer-revoked"], key="p256")
    listed = {one.serial_number for one in x509.load_der_x509_crl(ca.crl())}
    assert below.chain[0].serial_number in listed


def test_it_names_the_services_and_the_chain_of_its_issuer(ca: CA) -> None:
    issuing = ca.create_intermediate(key="p256")
    made = issue_variant(issuing, BOB, variants=["expired"], key="p256")
    assert made.chain == (issuing.certificate,)
    points = made.certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints)
    usual = issuing.issue(BOB, key="p256").certificate.extensions
    assert points.value == usual.get_extension_for_class(x509.CRLDistributionPoints).value
    alone = CA(key="p256", at=NOW)
    plain = issue_variant(alone, BOB, variants=["expired"], key="p256").certificate
    assert x509.CRLDistributionPoints.oid not in {e.oid for e in plain.extensions}
    assert plain.not_after < NOW - timedelta(days=1)


def test_what_there_is_not(ca: CA) -> None:
    with pytest.raises(UsageError, match="'expird' is not known") as caught:
        issue_variant(ca, BOB, variants=["expird"])
    assert "expired" in str(caught.value.hint)
    with pytest.raises(UsageError, match="not known"):
        issue_variant(ca, BOB, variants=["zzzz"])
    with pytest.raises(UsageError, match="needs an address"):
        issue_variant(ca, variants=["expired"])
    with pytest.raises(UsageError, match="mail address"):
        issue_variant(ca, "nobody", variants=["expired"], key="p256")


def test_use_and_end_are_chosen(ca: CA) -> None:
    end = NOW + timedelta(days=3)
    made = issue_variant(ca, BOB, variants=["address-case-local"], use="sign", not_after=end)
    usage = made.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment) == (True, False)
    assert made.certificate.not_after == end
    assert made.emails == ("Bob@fabrikam.com",)
    with pytest.raises(UsageError, match="cannot sign"):
        issue_variant(ca, BOB, variants=["expired"], key="x25519", use="sign")
