"""What others say of the paths of PKITS and the certificates of pyca: every difference, explained.

`DIFFERENCES` lists where a peer accepts what we refuse, or the other way round. The test of a peer
fails where one is not listed and, with the release that they were seen with, where a listed one is
gone. cryptography's verifier knows neither revocation nor policies: it is asked of every path
nevertheless, so that the list says what that means. The numbers are printed at the end of a run.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cryptography
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification

from smime_graph import EXCHANGE, SmimeGraphError, TrustStore, examine
from smime_graph.harness.peers.drive import Missing, need
from smime_graph.pki.identity import read_certificates
from smime_graph.pki.keyfiles.read import armour
from smime_graph.pki.path import build_path
from smime_graph.x509.certificate import Certificate

from ..interop.peers.bouncycastle import BouncyCastle
from .test_manifest import ROWS, Case

pytestmark = pytest.mark.slow

PKITS = [row for row in ROWS if row["set"] == "09a_pkits"]
PYCA = [row for row in ROWS if row["set"] == "09c_pyca_x509" and row["form"] == "cert"]

SHA_1 = "DSA goes with SHA-1 there, which we refuse (RFC 8550 4.3)"
NO_REVOCATION = "its verifier knows no revocation (RFC 5280 6.3)"
NO_POLICIES = "it knows no policies (RFC 5280 6.1.3 d); where they are critical it refuses"
NO_DIRECTORY = "it refuses constraints of directoryName and URI (RFC 5280 4.2.1.10)"
OCTETS = "it compares names by their octets (RFC 5280 7.1 asks for more)"
WEB_PKI = "its rules for authorities are those of the Web PKI, stricter than RFC 5280 4.2.1.9"
GENERALIZED = "GeneralizedTime before 2050 (RFC 5280 4.1.2.5: authorities must not, readers may)"
DELTA = "asks for no delta CRL unless told to: a lifted hold still counts (RFC 5280 5.2.4)"
ISSUER = "the issuer of the CRL is listed by that very CRL: it does not follow (RFC 5280 6.3.3 f)"

# peer -> reason -> rows, without "09a/" or "09c/" and the operation
DIFFERENCES: dict[str, dict[str, str]] = {
    "OpenSSL 3.0": {
        SHA_1: "ValidDSASignaturesTest4",
        ISSUER: "ValidcRLIssuerTest30",
    },
    "Bouncy Castle 1.72": {
        SHA_1: "ValidDSAParameterInheritanceTest5 ValidDSASignaturesTest4",
        DELTA: "ValiddeltaCRLTest5",
    },
    "cryptography 50": {
        NO_REVOCATION: """
            InvalidBadCRLIssuerNameTest5 InvalidBasicSelfIssuedNewWithOldTest5
            InvalidBasicSelfIssuedOldWithNewTest2 InvalidIDPwithindirectCRLTest23
            InvalidIDPwithindirectCRLTest26 InvalidLongSerialNumberTest18 InvalidRevokedCATest2
            InvalidRevokedEETest3 InvalidSeparateCertificateandCRLKeysTest20
            InvalidSeparateCertificateandCRLKeysTest21 InvalidUnknownCRLEntryExtensionTest8
            InvalidUnknownCRLExtensionTest9 InvalidWrongCRLTest6 InvalidcRLIssuerTest31
            InvalidcRLIssuerTest35 InvaliddeltaCRLIndicatorNoBaseTest1 InvaliddeltaCRLTest3
            InvaliddeltaCRLTest6 InvaliddistributionPointTest2 InvaliddistributionPointTest3
            InvaliddistributionPointTest6 InvalidkeyUsageNotCriticalcRLSignFalseTest5
            InvalidonlyContainsCACertsCRLTest12 InvalidonlySomeReasonsTest15
            InvalidonlySomeReasonsTest17 InvalidonlySomeReasonsTest20 InvalidonlySomeReasonsTest21
        """,
        NO_POLICIES: """
            DifferentPoliciesTest4 DifferentPoliciesTest5 DifferentPoliciesTest9
            ValidPolicyMappingTest1 ValidPolicyMappingTest12 ValidPolicyMappingTest14
            ValidPolicyMappingTest3 inhibitAnyPolicyTest3
        """,
        NO_DIRECTORY: """
            ValidDNnameConstraintsTest1 ValidDNnameConstraintsTest18 ValidDNnameConstraintsTest6
            ValidURInameConstraintsTest34
        """,
        OCTETS: """
            ValidNameChainingCapitalizationTest5 ValidNameChainingWhitespaceTest4
            ValidRolloverfromPrintableStringtoUTF8StringTest10
        """,
        GENERALIZED: "ValidGeneralizedTimenotBeforeDateTest4",
        WEB_PKI: "ValidbasicConstraintsNotCriticalTest4",
    },
}


@dataclass(frozen=True)
class Judged:
    """A path to judge: the signer's certificate of a row, and what was at hand."""

    name: str
    leaf: Certificate
    others: list[Certificate]
    crls: tuple[bytes, ...]
    anchor: Certificate
    at: datetime
    is_good: bool


@pytest.fixture(scope="module")
def paths(vectors: Path) -> list[Judged]:
    """The rows of PKITS with our verdict on the signer's certificate."""
    found = []
    for row in PKITS:
        case = Case(row, vectors)
        (anchor,) = case.trust.roots
        known = case.revocation
        assert known is not None
        report = examine(
            case.raw,
            trust=case.trust,
            certificates=case.extra,
            policy=EXCHANGE.but("pkits", sender_must_match=False),
            at=case.at,
            revocation=known,
        )
        (signer,) = report.signers
        assert signer.certificate is not None
        others = [one for one in case.extra if one != signer.certificate]
        found.append(
            Judged(
                row["id"].removeprefix("09a/").removesuffix("/verify"),
                signer.certificate,
                others,
                known.crls,
                anchor,
                case.at,
                bool(signer.trusted),
            )
        )
    assert len(found) == 115
    return found


def compare(
    label: str,
    paths: list[Judged],
    judge: Callable[[Judged], bool],
    summary: list[str],
    listed: dict[str, dict[str, str]] = DIFFERENCES,
) -> None:
    """Hold a peer's verdicts against ours, and both against the list."""
    measured = next((one for one in listed if label.startswith(f"{one}.") or label == one), None)
    name = measured or next(one for one in listed if one.split()[0] == label.split()[0])
    reasons = {row: why for why, rows in listed[name].items() for row in rows.split()}
    found = {one.name: one.is_good for one in paths if judge(one) is not one.is_good}
    for why in listed[name]:
        ours = [good for row, good in found.items() if reasons.get(row) == why]
        summary.append(
            f"{label}: of {len(paths)} paths it refuses {sum(ours)} that we accept and accepts"
            f" {len(ours) - sum(ours)} that we refuse: {why}"
        )
    if measured is None:
        pytest.skip(f"{label}: the differences were listed for {name}; it has {len(found)}")
    assert found.keys() == reasons.keys()


def write(folder: Path, one: Judged) -> None:
    (folder / "root.pem").write_bytes(armour(one.anchor))
    (folder / "leaf.pem").write_bytes(armour(one.leaf))
    chain = [armour(certificate) for certificate in one.others]
    (folder / "chain.pem").write_bytes(b"".join(chain) or armour(one.anchor))
    crls = [x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM) for crl in one.crls]
    (folder / "crls.pem").write_bytes(b"".join(crls))


def _openssl() -> str:
    """Its name and version; where it is missing, the test is skipped."""
    try:
        need("openssl", "openssl")
    except Missing as missing:
        pytest.skip(str(missing))
    said = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True)
    return " ".join(said.stdout.split()[:2])


def test_openssl(paths: list[Judged], tmp_path: Path, summary: list[str]) -> None:
    def judge(one: Judged) -> bool:
        write(tmp_path, one)
        command = ["openssl", "verify", "-attime", str(int(one.at.timestamp()))]
        command += ["-CAfile", "root.pem", "-no-CApath", "-no-CAstore", "-untrusted", "chain.pem"]
        command += ["-CRLfile", "crls.pem", "-crl_check_all", "-extended_crl", "-use_deltas"]
        command += ["-policy_check", "-policy", "2.5.29.32.0", "leaf.pem"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0

    compare(_openssl(), paths, judge, summary)


def test_bouncy_castle(paths: list[Judged], tmp_path: Path, summary: list[str]) -> None:
    people: Any = None  # its keys are for messages
    try:
        peer = BouncyCastle.start(people, tmp_path)
    except Missing as missing:
        pytest.skip(str(missing))

    def judge(one: Judged) -> bool:
        chain = [one.leaf.der, *(other.der for other in one.others)]
        return peer.path(one.at, one.anchor.der, chain, one.crls) == "good"

    try:
        compare(peer.label, paths, judge, summary)
    finally:
        peer.close()


def test_cryptography(paths: list[Judged], summary: list[str]) -> None:
    compare(f"cryptography {cryptography.__version__}", paths, _verified, summary)


_UNREADABLE = (x509.UnsupportedGeneralNameType, x509.InvalidVersion)


def _verified(one: Judged) -> bool:
    authority = verification.ExtensionPolicy.webpki_defaults_ca()
    anybody = verification.ExtensionPolicy.permit_all()
    try:
        verifier = (
            verification.PolicyBuilder()
            .extension_policies(ca_policy=authority, ee_policy=anybody)
            .store(verification.Store([x509.load_der_x509_certificate(one.anchor.der)]))
            .time(one.at.replace(tzinfo=None))
            .build_client_verifier()
        )
        others = [x509.load_der_x509_certificate(other.der) for other in one.others]
        verifier.verify(x509.load_der_x509_certificate(one.leaf.der), others)
    except (verification.VerificationError, ValueError, *_UNREADABLE):
        return False
    return True


# --- the certificates of pyca, each as its own anchor ---------------------------------------------

LAZY = "it reads of a certificate what it is asked for, and passes over what is broken elsewhere"
FORMS = "it loads no name and no key of a form that it does not know, though nobody asks for them"
EXTENSIONS = "it does not read every extension when it verifies (RFC 5280 4.2)"
CRITICAL = "it refuses critical extensions about policies (RFC 5280 4.2.1.4, 4.2.1.11, 4.2.1.14)"
ANCHORS = (
    "it judges an anchor like others: version, serial number, times, names and the algorithm of"
    " its signature, none of which an anchor is asked for (RFC 5280 6.1.1 d)"
)

ALONE: dict[str, dict[str, str]] = {
    "OpenSSL 3.0": {
        LAZY: """
            badasn1time.pem cp_invalid.pem dsa_null_alg_params.pem empty-eku.pem
            inhibit_any_policy_negative.pem invalid-sct-version.der invalid_version.pem
            nc_invalid_ip4_netmask.der nc_invalid_ip_netmask.pem nc_ip_invalid_length.pem
            san_x400address.der wosign-bc-invalid.pem
        """,
        FORMS: """
            invalid_utf8_common_name.pem long-form-name-attribute.pem
            name_attribute_unsupported_tag.pem unsupported_subject_public_key_info.pem
        """,
    },
    "cryptography 50": {
        EXTENSIONS: """
            cp_invalid.pem empty-eku.pem invalid-sct-version.der nc_invalid_ip4_netmask.der
            nc_invalid_ip_netmask.pem nc_ip_invalid_length.pem wosign-bc-invalid.pem
        """,
        CRITICAL: """
            inhibit_any_policy_5.pem policy_constraints_explicit.pem scottishpower-bitstring-dn.pem
            unique_identifier.pem
        """,
        ANCHORS: """
            ed25519/ed25519-rfc8410.pem invalid_signature_cert.pem invalid_utf8_common_name.pem
            mismatch_inner_outer_sig_algorithm.der negative_serial.pem rsa_pss_cert_invalid_mgf.der
            rsa_pss_cert_no_sig_params.der rsa_pss_sha256_no_null.pem
            unsupported_subject_public_key_info.pem utf8_common_name.pem v1_cert.pem
            valid_signature_cert.pem
        """,
    },
}


@pytest.fixture(scope="module")
def alone(vectors: Path) -> list[Judged]:
    """The certificates, with our verdict on each where it is the anchor, at its first moment."""
    found = []
    for row in PYCA:
        raw = (vectors / row["file"]).read_bytes()
        name = row["id"].removeprefix("09c/").removesuffix("/load")
        try:
            one = read_certificates(vectors / row["file"])[0]
        except SmimeGraphError:
            assert name == "cryptography-scts-tbs-precert.der", name  # no certificate for anybody
            assert _refuses_to_load(raw)
            continue
        at, good = datetime(2020, 6, 1, tzinfo=UTC), False
        try:
            at = one.not_before
            good = build_path(one, trust=TrustStore((one,)), at=at, accept_weak=True).ok
        except SmimeGraphError:
            pass  # one that cannot be read is not believed
        found.append(Judged(name, one, [], (), one, at, good))
    assert len(found) == len(PYCA) - 1
    return found


def _refuses_to_load(der: bytes) -> bool:
    try:
        x509.load_der_x509_certificate(der)
    except ValueError:
        return True
    return False


def test_openssl_on_an_anchor(alone: list[Judged], tmp_path: Path, summary: list[str]) -> None:
    def judge(one: Judged) -> bool:
        (tmp_path / "one.pem").write_bytes(armour(one.leaf))
        command = ["openssl", "verify", "-partial_chain", "-no_check_time", "-CAfile", "one.pem"]
        command += ["-no-CApath", "-no-CAstore", "one.pem"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0

    compare(_openssl(), alone, judge, summary, ALONE)


# it says of a negative serial number that it will not be read for ever
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_cryptography_on_an_anchor(alone: list[Judged], summary: list[str]) -> None:
    compare(f"cryptography {cryptography.__version__}", alone, _verified, summary, ALONE)
