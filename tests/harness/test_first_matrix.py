"""The first matrix of this kind, measured by hand before there was a harness, held against ours.

Sixty certificates and the peers of Debian 12. Of each row: the variant that corresponds, then what
was seen of OpenSSL 3.0 and NSS 3.87 (valid for a signer, for a recipient), gpgsm 2.2 (valid, signs,
encrypts), Bouncy Castle 1.72 (its validator of signed mail) and cryptography 50 (as the first two).
y is yes, n no; what could not be loaded was no.
"""

from __future__ import annotations

import pytest

from smime_graph.authority.variants import VARIANTS
from smime_graph.harness.matrix import recorded

MEASURED = """
rsa-2048                     yy yy yyy y yy
rsa-sign                     yn yn yyn y yn
rsa-encrypt                  ny ny yny n ny
rsa-3072                     yy yy yyy y yy
usage-non-repudiation        yn yn yyn y yn
usage-cert-sign              nn nn ynn n nn
usage-none                   yy yy yyy y yy
usage-data-encipherment      nn nn yny n nn
p256                         yn yy ynn y yy
p256-sign                    yn yy ynn y yn
p256-encrypt                 nn ny ynn n ny
p256-key-encipherment        ny nn ynn n ny
ed25519                      yn nn ynn y yn
x25519                       nn nn ynn n ny
ml-dsa-65                    nn nn ynn n yn
ml-kem-768                   nn nn ynn n ny
sha1                         yy yy yyy y nn
md5                          yy nn yyy y nn
rsa-1024                     yy yy yyy y yy
expired                      nn nn nnn n nn
not-yet-valid                nn nn nnn n nn
eku-none                     yy yy yyy y yy
eku-server                   nn nn yyy n nn
eku-any                      nn nn yyy y yy
eku-mail-client              yy yy yyy y yy
eku-code-signing             nn nn yyy n nn
address-cn-only              yy yy yyy n nn
address-dn-only              yy yy yyy y nn
address-none                 yy yy yyy n nn
address-other                yy yy yyy n nn
address-case-local           yy yy yyy y nn
address-two                  yy yy yyy y yy
subject-empty-not-critical   yy yy nnn y yy
address-utf8                 yy yy yyy n nn
critical-unknown             nn nn nnn n nn
is-ca                        yy nn yyy y yy
no-authority-key-identifier  yy yy yyy y yy
issuer-eku-server            nn nn yyy y nn
issuer-eku-none              yy yy yyy y yy
path-too-long                nn nn nnn n nn
names-excluded-dot           yy yy nnn y yy
names-elsewhere              nn nn nnn y nn
names-excluded               nn nn nnn y nn
names-dn-only                nn nn nnn y nn
names-cn-only                yy yy nnn n nn
issuer-not-ca                nn nn nnn n nn
issuer-no-cert-sign          nn nn ynn n nn
issuer-expired               nn nn nnn n nn
issuer-revoked               nn nn yyy n yy
revoked                      nn nn yyy n yy
nowhere                      yy yy yyy y yy
self-signed                  nn nn nnn n nn
missing-intermediate         nn nn nnn n nn
untrusted-root               nn nn nnn n nn
bad-signature                nn nn nnn n nn
chain-p256                   yn yy ynn y yy
chain-p384                   yn yy ynn y yy
chain-ed25519                yn nn nnn y nn
chain-ml-dsa-65              nn nn nnn n yn
"""
# the sixtieth was signed with PSS by its issuer: accepted by all, and no variant of the catalogue

COLUMNS = (
    ("openssl", "3.0", "validate-sign validate-encrypt"),
    ("nss", "3.87", "validate-sign validate-encrypt"),
    ("gpgsm", "2.2", "validate-sign sign encrypt"),
    ("bouncycastle", "1.72", "verify"),
    ("pyca", "50.0", "validate-sign validate-encrypt"),
)

# Why ours is otherwise: peer, variants
DIFFERENCES: dict[str, tuple[str, str]] = {
    "a person's key is RSA here, and was Ed25519 as the issuer's": ("openssl", "chain-ed25519"),
    "certutil had to import the certificate, vfychain takes it from a file": (
        "nss",
        "ed25519 ml-dsa-65",
    ),
    "it becomes valid tomorrow, within the day that NSS allows; it was later then": (
        "nss",
        "not-yet-valid",
    ),
    "the agent is given the key, where its reader of PKCS#12 crashed": (
        "gpgsm",
        "p256 p256-sign chain-p256",
    ),
    "there is one home folder for all, in which the issuer is known": (
        "gpgsm",
        "missing-intermediate",
    ),
    "our function asks what an EC key is for as RFC 5480 3 does": ("pyca", "p256-key-encipherment"),
    "it was asked for the address, too, which only messages are here": (
        "pyca",
        "address-cn-only address-dn-only address-none address-other address-case-local"
        " address-utf8 names-dn-only names-cn-only",
    ),
}


def measured() -> dict[tuple[str, str, str], str]:
    """By peer, variant and operation."""
    found = {}
    for line in MEASURED.split("\n")[1:-1]:
        variant, *marks = line.split()
        for (peer, _, operations), said in zip(COLUMNS, marks, strict=True):
            for operation, mark in zip(operations.split(), said, strict=True):
                found[peer, variant, operation] = {"y": "yes", "n": "no"}[mark]
    return found


def explained(peer: str, variant: str) -> bool:
    return any(
        peer == who and variant in variants.split() for who, variants in DIFFERENCES.values()
    )


@pytest.mark.parametrize(("peer", "version", "operations"), COLUMNS)
def test_what_was_measured_first_is_what_the_harness_records(
    peer: str, version: str, operations: str
) -> None:
    now = recorded(peer, version)
    assert now
    differ = set()
    for (who, variant, operation), verdict in measured().items():
        if who == peer:
            said = now[variant][operation].partition(":")[0]
            if {"-": "no"}.get(said, said) != verdict:
                differ.add(variant)
    assert {one for one in differ if not explained(peer, one)} == set()
    reasons = {v for who, them in DIFFERENCES.values() if peer == who for v in them.split()}
    assert reasons <= differ  # none is for what is the same


def test_every_row_is_a_variant_once() -> None:
    rows = [line.split()[0] for line in MEASURED.split("\n")[1:-1]]
    assert len(rows) == len(set(rows)) == 59
    assert set(rows) <= {one.id for one in VARIANTS}
