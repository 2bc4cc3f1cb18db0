"""What is changed is changed, and nothing else; the signature fits what was signed."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding

from smime_graph import oids
from smime_graph.asn1 import ber
from smime_graph.authority import mutators
from smime_graph.authority.issue import CA
from smime_graph.authority.mutators import sign_anew
from smime_graph.authority.pool import pool_key
from smime_graph.errors import UsageError
from smime_graph.x509.certificate import Certificate


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA(key=pool_key("rsa-2048"))


@pytest.fixture(scope="module")
def leaf(ca: CA) -> Certificate:
    return ca.issue("alice@contoso.com", key=pool_key("p256")).certificate


def fields(certificate: Certificate) -> list[bytes]:
    tbs = ber.read(certificate.der, "certificate").children()[0]
    return [bytes(one.raw) for one in tbs.children()]


def is_signed(certificate: Certificate, ca: CA) -> bool:
    made = certificate.x509
    assert made.signature_hash_algorithm is not None
    key = ca.private_key.public_key()
    try:
        key.verify(
            made.signature,
            made.tbs_certificate_bytes,
            padding.PKCS1v15(),
            made.signature_hash_algorithm,
        )
    except InvalidSignature:
        return False
    return True


def test_signed_anew_without_a_change_it_is_the_same(ca: CA, leaf: Certificate) -> None:
    assert sign_anew(leaf, ca.private_key) == leaf


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha256"])
def test_any_digest_signs(ca: CA, leaf: Certificate, digest: str) -> None:
    made = sign_anew(leaf, ca.private_key, digest=digest)
    assert made.x509.signature_hash_algorithm.name == digest
    assert is_signed(made, ca)
    assert fields(made)[3:] == fields(leaf)[3:]


def test_an_ec_authority_signs_as_well(leaf: Certificate) -> None:
    made = sign_anew(leaf, pool_key("p256"), digest="sha1")
    assert made.x509.signature_algorithm_oid.dotted_string == oids.ECDSA_WITH_SHA1


def test_a_spoiled_signature_and_another_algorithm_outside(ca: CA, leaf: Certificate) -> None:
    assert not is_signed(sign_anew(leaf, ca.private_key, spoil=True), ca)
    outer = ber.read(sign_anew(leaf, ca.private_key, outer="sha1").der, "c").children()[1]
    assert outer.children()[0].as_oid() == oids.SHA1_WITH_RSA


@pytest.mark.parametrize("number", [0, -5, -(1 << 64), 127, 128, 1 << 170])
def test_any_serial_number(ca: CA, leaf: Certificate, number: int) -> None:
    made = sign_anew(leaf, ca.private_key, changes=[mutators.serial(number)])
    node = ber.read(made.der, "certificate").children()[0].children()[1]
    assert int.from_bytes(node.contents, signed=True) == number
    assert [f for i, f in enumerate(fields(made)) if i != 1] == [
        f for i, f in enumerate(fields(leaf)) if i != 1
    ]


def test_version_1_has_no_extensions_unless_they_are_wanted(ca: CA, leaf: Certificate) -> None:
    made = sign_anew(leaf, ca.private_key, changes=[mutators.version_1])
    assert made.x509.version == x509.Version.v1
    assert len(fields(made)) == len(fields(leaf)) - 2
    both = sign_anew(leaf, ca.private_key, changes=[mutators.version_1_with_extensions])
    assert fields(both) == fields(leaf)[1:]


def test_extensions_come_twice_or_anew(ca: CA, leaf: Certificate) -> None:
    twice = sign_anew(leaf, ca.private_key, changes=[mutators.duplicate_extension(oids.KEY_USAGE)])
    assert fields(twice)[-1].count(ber.oid(oids.KEY_USAGE)) == 2
    raw = mutators.raw_extension(oids.KEY_USAGE, ber.null(), critical=True)
    anew = sign_anew(leaf, ca.private_key, changes=[raw])
    assert fields(anew)[-1].count(ber.oid(oids.KEY_USAGE)) == 1
    assert ber.octet_string(ber.null()) in fields(anew)[-1]


def test_other_fields(ca: CA, leaf: Certificate) -> None:
    reversed_ = fields(sign_anew(leaf, ca.private_key, changes=[mutators.reversed_validity]))
    before, after = (bytes(t.raw) for t in ber.read(fields(leaf)[4], "v").children())
    assert reversed_[4] == ber.sequence(after, before)
    assert fields(sign_anew(leaf, ca.private_key, changes=[mutators.empty_issuer]))[3] == b"0\0"
    trailing = fields(sign_anew(leaf, ca.private_key, changes=[mutators.trailing_field]))
    assert trailing[:-1] == fields(leaf)


def test_what_cannot_sign_is_refused(leaf: Certificate) -> None:
    with pytest.raises(UsageError, match="no certificate is signed anew"):
        sign_anew(leaf, pool_key("ed25519"))
    with pytest.raises(UsageError, match="digest sha3 is not known"):
        sign_anew(leaf, pool_key("rsa-2048"), digest="sha3")
