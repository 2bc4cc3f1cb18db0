"""Twins: the same for whoever judges them, and nobody's."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from smime_graph import CA
from smime_graph.asn1 import ber
from smime_graph.authority import mirror as module
from smime_graph.authority.family import Family, family
from smime_graph.authority.mirror import mirror
from smime_graph.authority.pool import pool_key
from smime_graph.authority.variants import VARIANTS, Variant
from smime_graph.errors import MalformedMessage, UsageError
from smime_graph.pki.validate import validate
from smime_graph.x509.certificate import Certificate


@pytest.fixture(scope="module")
def corp() -> Family:
    return family("corp", seed=7)


@pytest.fixture(scope="module")
def ca(corp: Family) -> CA:
    root = corp.authorities["root"]
    lifetime = root.not_after - root.not_before
    return CA(key=pool_key("rsa-2048", 1), at=root.not_before, lifetime=lifetime)


@pytest.fixture(autouse=True)
def _keys_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making RSA keys would take most of the time."""
    new = module._new_key

    def quick(certificate: Certificate) -> Any:
        try:
            size = getattr(certificate.public_key, "key_size", 0)
            is_rsa = hasattr(certificate.public_key, "public_numbers") and size >= 1024
        except MalformedMessage:
            return new(certificate)
        return pool_key(f"rsa-{size}", 7) if is_rsa else new(certificate)

    monkeypatch.setattr(module, "_new_key", quick)


def codes(one: Certificate, use: Any, corp: Family, **how: Any) -> set[str]:
    return {f.code for f in validate(one, use=use, at=corp.at, **how).findings}


# whose root is not believed: in its place stands one that is
BELIEVED = {
    one.id
    for one in VARIANTS
    if one.recipe.issuer == "self"
    or any(code in ("pki.path.none", "pki.path.untrusted") for code in one.sign)
}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.id)
def test_the_same_is_found_of_a_twin(corp: Family, ca: CA, variant: Variant) -> None:
    original = corp[variant.id].identity
    issuers = [one for name, one in corp.authorities.items() if name != "cross"]
    twin = mirror(original.certificate, issuers=issuers, ca=ca)
    assert twin.certificate != original.certificate
    assert b"ontoso" not in twin.certificate.der
    assert b"lice" not in twin.certificate.der
    try:
        extensions = [(e.oid, e.critical) for e in original.certificate.extensions]
        assert [(e.oid, e.critical) for e in twin.certificate.extensions] == extensions
    except MalformedMessage:
        pass  # deliberately; that the findings are the same is looked at below
    if variant.id in BELIEVED:
        return
    for use in ("sign", "encrypt"):
        theirs = {"trust": corp.trust, "certificates": issuers}
        ours = {"trust": ca.trust, "certificates": twin.chain}
        found = codes(twin.certificate, use, corp, **ours)
        assert found == codes(original.certificate, use, corp, **theirs)


def test_key_kind_validity_and_shape_are_the_same(corp: Family, ca: CA) -> None:
    for name in ("rsa-4096", "p384", "ed25519", "x25519", "ml-dsa-65", "ml-kem-768"):
        original = corp[name].identity.certificate
        twin = mirror(original, issuers=[*corp.authorities.values()], ca=ca)
        assert twin.certificate.key_algorithm == original.key_algorithm
        assert len(twin.certificate.public_key_info) == len(original.public_key_info)
        assert twin.certificate.public_key_info != original.public_key_info
        assert twin.certificate.not_before == original.not_before
        assert twin.certificate.not_after == original.not_after
        assert len(twin.certificate.serial) == len(original.serial)
        assert len(twin.chain) == 1


def test_it_is_found_in_the_index_and_its_issuers_are_mirrored_below(corp: Family) -> None:
    ca = CA(key=pool_key("rsa-2048", 1), services="http://127.0.0.1:8880")
    original = corp["path-too-long"].identity
    twin = mirror(original.certificate, issuers=[*original.chain], ca=ca)
    assert len(twin.chain) == len(original.chain)
    assert [one["sha256"] for one in ca.issued] == [twin.chain[-1].sha256]
    top = twin.chain[-1].extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert "127.0.0.1:8880" in str(top)
    leaf = twin.certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert "127.0.0.1" not in str(leaf)
    alone = mirror(original.certificate, ca=ca)
    assert alone.chain == ()
    assert ca.issued[-1]["emails"] == list(alone.emails) == ["person1@test1.example"]


def test_without_an_authority_one_is_made_for_its_time(corp: Family) -> None:
    original = corp["expired"].identity.certificate
    twin = mirror(original)
    assert twin.certificate.not_after == original.not_after
    (issuer,) = {twin.certificate.issuer}
    assert issuer != twin.certificate.subject
    self_signed = corp["self-signed"].identity.certificate
    own = mirror(self_signed)
    assert own.certificate.is_self_issued
    own.certificate.x509.verify_directly_issued_by(own.certificate.x509)


def test_what_is_wrong_stays_wrong(corp: Family, ca: CA) -> None:
    issuers = [*corp.authorities.values()]
    negative = mirror(corp["serial-negative"].identity.certificate, issuers=issuers, ca=ca)
    assert negative.certificate.serial_number < 0
    weak = mirror(corp["sha1"].identity.certificate, issuers=issuers, ca=ca).certificate
    algorithm = weak.x509.signature_algorithm_oid
    assert algorithm == corp["sha1"].identity.certificate.x509.signature_algorithm_oid


def test_an_odd_private_extension_and_identifiers_are_kept_in_length(ca: CA) -> None:
    private = x509.ObjectIdentifier("1.3.6.1.4.1.311.25.2")
    sid = ber.sequence(ber.context(0, ber.octet_string(b"S-1-5-21-1234567890")))
    made = [
        x509.Extension(private, False, x509.UnrecognizedExtension(private, sid)),
        x509.Extension(
            x509.SubjectKeyIdentifier.oid, False, x509.SubjectKeyIdentifier(b"12345678")
        ),
    ]
    original = CA(key="p256").issue("alice@contoso.com", key="p256", extensions=made)
    twin = mirror(original.certificate, ca=ca).certificate
    values = {e.oid: e.value for e in twin.extensions}
    hidden = values[private].public_bytes()
    assert len(hidden) == len(sid)
    assert b"1234567890" not in hidden
    assert len(values[x509.SubjectKeyIdentifier.oid].digest) == 8


def test_what_cannot_be_read_has_no_twin(ca: CA) -> None:
    der = CA(key="p256").issue("a@contoso.com", key="p256").certificate.der
    broken = Certificate(der.replace(ber.oid("2.5.29.35"), b"\x04\x03\x55\x1d\x23"))
    with pytest.raises(UsageError, match="no twin can be made"):
        mirror(broken, ca=ca)
    outer = ber.read(der, "Certificate").children()
    fields = [bytes(one.raw) for one in outer[0].children()]
    fields[-1] = ber.context(3, ber.sequence(ber.sequence()))
    empty = Certificate(ber.sequence(ber.sequence(*fields), *(bytes(o.raw) for o in outer[1:])))
    with pytest.raises(UsageError, match="no twin can be made"):
        mirror(empty, ca=ca)
