"""Every row of the manifest in the sets of messages (the vectors' README says how to read one).

Each is as the manifest wants it, or in `OTHERWISE` with the section of a standard that says why
not. A row that needs an algorithm without a row in `smime_graph.algorithms` is run as well: it must
be called unsupported, by name where it has one, and nothing else; how many there are of each is
said at the end.
"""

from __future__ import annotations

import csv
import functools
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding

from smime_graph import (
    ARCHIVE,
    CA,
    EXCHANGE,
    Identity,
    MalformedMessage,
    MessageReport,
    Policy,
    PolicyRefusal,
    SmimeGraphError,
    TrustStore,
    UnsupportedAlgorithm,
    UsageError,
    VerificationFailed,
    algorithms,
    decrypt,
    examine,
    inspect,
    unseal,
    verify,
)
from smime_graph.cms import enveloped_data, signature_check, signed_data
from smime_graph.cms.recipients.shared_secret import Password, SharedKey
from smime_graph.pki.identity import load_identities, read_certificates, read_key_file
from smime_graph.pki.path import build_path
from smime_graph.pki.revocation import Revocation, revocation_findings
from smime_graph.pki.validate import validate
from smime_graph.smime.context import VerificationContext
from smime_graph.smime.layers import parse_layers
from smime_graph.smime.lines import crlf
from smime_graph.smime.recognition import recognise
from smime_graph.x509.certificate import Certificate

pytestmark = pytest.mark.slow

SETS = (
    "01_rfc9216",
    "02_rfc9788",
    "02b_protected_headers",
    "03_rfc4134",
    "04_openssl",
    "05_bouncycastle",
    "06_pqc",
    "07a_thunderbird",
    "07b_mimekit_smime",
    "07c_gnupg",
    "07e_rustcrypto",
    "07f_blamejs_pki",
    "07h_pyca_pkcs7_pkcs12",
    "07i_extracted_fixtures",
    "08a_johnny",
    "08b_covert",
    "08c_openssl_fuzz_cms",
    "08d_derived_attacks",
    "09a_pkits",
    "09c_pyca_x509",
)
ROW_SECONDS = 15  # a PKCS#12 file may ask for seconds of iterations, twice that on a busy machine

Row = dict[str, str]


def _rows() -> list[Row]:
    manifest = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "MANIFEST.csv"
    if not manifest.is_file():
        return []
    with manifest.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["set"] in SETS]


ROWS = _rows()

# What the manifest says is to be left out; it is run, and must be unsupported. The names are those
# of errors; what no RFC has named yet is known by its object identifier only.
WITHOUT_A_ROW = {
    "composite": ("",),
    "hash-ml-dsa": ("HashML-DSA-",),
    "hash-slh-dsa": ("HashSLH-DSA-", "SHAKE128", "SHA3-"),
    "slh-dsa": ("SLH-DSA-", "SHAKE128", "SHA3-"),  # some with a digest that has no row either
    "ml-kem-512": ("ML-KEM-512",),
    "ml-kem-ipd": ("",),
    "digested": ("DigestedData",),
}

# A signature around an encrypted layer covers ciphertext: it does not say who wrote what is inside
# (RFC 8551 3.7 on the order of layers), so no signer of it is accepted. Both layers are right, and
# that is what is asked of these rows: taken off one at a time, each passes.
_CIPHERTEXT_SIGNED = "the signature covers only ciphertext (RFC 8551 3.7)"
_SIGNED_AS_RECEIVED = (
    "the inner signature is over LF line ends; RFC 8551 3.1.1 asks the sender for CRLF, and the "
    "octets that were signed are those that came"
)
_TRAILING = "an octet stands behind the value, whose encoding had ended (X.690 8.1.1)"
_WEAK_KEY = "RSA under 1024 bits is not to be accepted at all (RFC 8551 4.3, 6)"
_NO_DIGEST = "digestAlgorithm names a signature algorithm of OIW, no digest (RFC 5652 10.1.1)"

# want cannot be met as it stands; the reason names a standard
OTHERWISE: dict[str, str] = {
    "07a/alice.env.sig.SHA1.opaque/unseal": _CIPHERTEXT_SIGNED,
    "07a/alice.env.sig.SHA1.opaque.dave.sig.SHA1.opaque/unseal": _CIPHERTEXT_SIGNED,
    "07a/alice.env.sig.SHA256.opaque/unseal": _CIPHERTEXT_SIGNED,
    "07a/alice.env.sig.SHA256.opaque.dave.sig.SHA256.opaque/unseal": _CIPHERTEXT_SIGNED,
    "07a/alice.env.dsig.SHA1.multipart.dave.sig.SHA1.opaque/unseal": _SIGNED_AS_RECEIVED,
    "07a/alice.env.dsig.SHA256.multipart.dave.sig.SHA256.opaque/unseal": _SIGNED_AS_RECEIVED,
    "05/shortKey/verify-chain": _WEAK_KEY,
    "04/pkcs7-1/parse": _TRAILING,
    "07i/NewSignedDataTest.wrongRSASHA1Message/verify": _NO_DIGEST,
    "07i/NewSignedDataTest.wrongRSASHA1MessageWithAttributes/verify": _NO_DIGEST,
}

# `why` of the manifest -> the code of ours, or the class of the error. Other checks may find more
# than the row is about, so it is compared with everything that was found.
WHY = {
    "address": "pki.address.mismatch",
    "attributes": "cms.attributes.missing",
    "chain": "pki.path.none",
    "decrypt": "DecryptionFailed",
    "digest": "cms.digest.mismatch",
    "expired": "pki.path.expired",
    "malformed": "MalformedMessage",
    "revoked": "pki.revocation.revoked",
    "signature": "cms.signature.invalid",
    "unauthenticated": "cms.unauthenticated",
    "unsupported": "alg.unsupported",
    "usage": "pki.usage.extended-key-usage",
    "weak": "alg.refused",
}
# The rows whose `why` has another code.
_TWO_CONTENTS = "MalformedMessage"  # content inside beside the detached one: which was signed?
_NOT_OPENED = "smime.errant-layer"  # a layer inside a multipart, where text could stand beside it
WHY_OF_ROW = {
    "03/DianeDSSSignByCarlInherit/path": "pki.path.weak-algorithm",
    "04/bad_signtime_attr/verify": "cms.attributes.malformed",
    "04/smec3/path": "pki.path.invalid",
    "05/notYetValid/verify-chain": "pki.path.not-yet-valid",
    "07a/alice.dsig.SHA1.multipart.mismatch-econtent/verify": _TWO_CONTENTS,
    "07a/alice.dsig.SHA256.multipart.mismatch-econtent/verify": _TWO_CONTENTS,
    "08a/eContent_confusion/verify": _TWO_CONTENTS,
    "08a/m1-smime/verify": _NOT_OPENED,
    "08a/m3-smime/verify": _NOT_OPENED,
    "08a/no_signerInfos_detached/verify": "cms.signer.none",
    "08b/01-reply-mix-alt/unseal": _NOT_OPENED,
    "08b/01-reply-mix-css/unseal": _NOT_OPENED,
    "08b/01-reply-mix-dbl/unseal": _NOT_OPENED,
    "08d/no_certs/verify": "cms.signer.certificate-missing",
    "08d/no_signer_infos/verify": "cms.signer.none",
    "08d/signedattrs_duplicate_messagedigest/verify": "cms.attributes.duplicate",
    "09a/InvalidCAnotBeforeDateTest1/verify": "pki.path.not-yet-valid",
    # PKITS: a CRL that cannot be used, or is of another scope, so that nothing is known
    **{
        f"09a/{name}/verify": "pki.revocation.unknown"
        for name in (
            "InvalidBadCRLIssuerNameTest5",
            "InvalidIDPwithindirectCRLTest26",
            "InvalidWrongCRLTest6",
            "InvalidcRLIssuerTest35",
            "InvaliddeltaCRLIndicatorNoBaseTest1",
            "InvaliddistributionPointTest3",
        )
    },
    **{
        f"09a/{name}/verify": "pki.revocation.invalid"
        for name in (
            "InvalidSeparateCertificateandCRLKeysTest21",
            "InvalidUnknownCRLEntryExtensionTest8",
            "InvalidUnknownCRLExtensionTest9",
            "InvalidkeyUsageNotCriticalcRLSignFalseTest5",
            "InvalidonlyContainsCACertsCRLTest12",
            "InvalidonlySomeReasonsTest17",
        )
    },
    # no message whose algorithms a policy judges: a path through SHA-1
    **{
        f"03/{name}/path": "pki.path.weak-algorithm"
        for name in (
            "AliceDSSSignByCarlNoInherit",
            "AliceRSASignByCarl",
            "BobRSASignByCarl",
            "DianeRSASignByCarl",
        )
    },
}

# PKITS is about the path: what breaks it is of RFC 5280 6.1.
WHY_OF_SET = {
    "09a_pkits": {
        "chain": "pki.path.invalid",
        "policy": "pki.path.invalid",
        "usage": "pki.path.invalid",
    }
}


@pytest.fixture(scope="session")
def tally(summary: list[str]) -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()
    yield counts
    ran = {key: n for key, n in counts.items() if key.startswith("ran")}
    summary.append(f"manifest: {sum(ran.values())} of {len(ROWS)} rows ran; " + _listed(ran))
    for key, n in sorted(counts.items()):
        if key not in ran:
            summary.append(f"manifest: {n} x {key}")


def _listed(ran: dict[str, int]) -> str:
    return ", ".join(f"{key.removeprefix('ran ')} {n}" for key, n in sorted(ran.items()))


class _Unloadable:
    """The interface of a KEM's private key, which must not be used."""

    def decapsulate(self, _: bytes) -> bytes:
        raise AssertionError("a key of an algorithm without a row was used")


class Case:
    """A row with what it names, loaded."""

    def __init__(self, row: Row, folder: Path) -> None:
        self.row = row
        self.folder = folder
        self.path = folder / row["file"]
        raw = self.path.read_bytes()
        # RFC 7468 2: text before the block is no part of it
        self.raw = raw[raw.index(b"-----BEGIN ") :] if row["form"] == "pem" else raw
        self.tokens = [token for token in row["algorithms"].split(";") if token]
        self.at = (
            datetime.fromisoformat(row["at"].replace("Z", "+00:00"))
            if row["at"]
            else datetime.now(UTC)
        )

    def files(self, column: str) -> list[Path]:
        return [self.folder / name for name in self.row[column].split(";") if name]

    def file(self, column: str) -> Path | None:
        return self.folder / self.row[column] if self.row[column] else None

    @property
    def unsupported(self) -> str | None:
        """What the row needs and has no row in the table; a certificate or a seed needs nothing."""
        if "digested" in self.tokens:
            return "digested"
        if self.row["want"] == "any" or self.row["operation"] in ("load", "parse"):
            return None
        return next((token for token in self.tokens if token in WITHOUT_A_ROW), None)

    @property
    def password(self) -> str | None:
        return self.row["password"] if self.row["password_set"] == "yes" else None

    def policy(self, base: Policy) -> Policy:
        if "from-check" in self.tokens:
            return base
        return base.but(f"{base.name}-vectors", sender_must_match=False)

    @property
    def identities(self) -> list[Any]:
        """Keys with their certificates, keys without one, a raw key, or the message's password."""
        paths = [self.folder / name for name in self.row["identity"].split(";") if name]
        if not paths:
            return [] if self.password is None else [Password(self.password)]
        raw = paths[0].read_bytes()
        if len(raw) in (16, 24, 32):
            return [SharedKey(raw)]
        passwords = () if self.password is None else (self.password,)
        if len(paths) == 2:
            (certificate,) = read_certificates(paths[1])
            try:
                (key,) = read_key_file(raw, passwords=passwords).keys
            except UsageError:
                # a KEM without a primitive: nothing is to be asked of its key
                assert set(self.tokens) & set(WITHOUT_A_ROW)
                return [SimpleNamespace(private_key=_Unloadable(), certificate=certificate)]
            return [Identity(key, certificate)]
        found = read_key_file(paths[0], passwords=passwords)
        if found.certificates:
            return list(load_identities(raw, passwords=passwords))
        return [SimpleNamespace(private_key=key, certificate=None) for key in found.keys]

    @property
    def extra(self) -> tuple[Certificate, ...]:
        kinds = (".pem", ".crt", ".cer", ".der")
        paths = [path for path in self.files("extra") if path.suffix in kinds]
        return tuple(one for path in paths for one in read_certificates(path))

    @property
    def revocation(self) -> Revocation | None:
        """By the CRLs of the row, and by nothing else."""
        if "crl" not in self.tokens:
            return None
        crls = [path for path in self.files("extra") if path.suffix == ".crl"]
        return Revocation.load(mode="hard", crls=crls)

    @property
    def trust(self) -> TrustStore:
        path = self.file("trust")
        if self.row["trust"] == "embedded" or path is None:
            return TrustStore(())
        return TrustStore.from_pem(path)

    def check_content(self, content: bytes) -> None:
        path = self.file("content")
        if path is None:
            return
        wanted = path.read_bytes()
        if self.row["content_note"] == "exact":
            assert content == wanted
        elif self.row["content_note"] == "after-crlf":
            assert crlf(content) == crlf(wanted)
        elif self.row["content_note"] == "contains":
            assert crlf(wanted) in crlf(content)
        else:
            raise AssertionError(f"content_note {self.row['content_note']} is not known here")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_a_row_of_the_manifest(row: Row, vectors: Path, tally: Counter[str]) -> None:
    case = Case(row, vectors)
    begun = time.perf_counter()
    if case.unsupported is None:
        RUN[row["operation"]](case)
        tally[f"ran {row['operation']} {row['want']}"] += 1
    else:
        tally[f"unsupported: {_refused(case)}"] += 1
    assert time.perf_counter() - begun < ROW_SECONDS


def test_every_exception_is_a_row_of_the_manifest(vectors: Path) -> None:
    assert set(OTHERWISE) <= {row["id"] for row in ROWS}
    assert len(OTHERWISE) <= 10
    for reason in OTHERWISE.values():  # each with the section that says so
        assert re.search(r"(?:RFC \d{4}|X\.\d{3}) \d+(?:\.\d+)+", reason)
    why = {row["id"]: row["why"] for row in ROWS}
    assert [name for name, code in WHY_OF_ROW.items() if WHY[why[name]] == code] == []


# --- what has no row ----------------------------------------------------------------------


def _refused(case: Case) -> str:
    """Well formed, and called unsupported: never broken, never a crash, no key is asked.

    Gives the algorithm as errors call it.
    """
    assert case.unsupported is not None
    if case.row["operation"] == "verify" and case.unsupported != "digested":
        report = _examined(case, ARCHIVE)
        assert [(s.intact, s.valid, s.accepted) for s in report.signers] == [(None, None, False)]
        assert not report.accepted
        text = next(f.text for f in report.findings if f.code == "alg.unsupported")
    else:
        with pytest.raises(UnsupportedAlgorithm) as caught:
            decrypt(case.raw, identities=case.identities, policy=case.policy(ARCHIVE))
        text = str(caught.value)
    match = re.fullmatch(r".*algorithm (?:(.+) \()?([0-9.]+)\)? is not supported", text)
    assert match is not None, text
    name, oid = match.groups()
    assert not any(oid in row.oids for row in algorithms.TABLE)
    assert (name or "").startswith(WITHOUT_A_ROW[case.unsupported])
    return name or f"{case.unsupported} (no RFC names it)"


# --- operations ---------------------------------------------------------------------------


def _load(case: Case) -> None:
    """Key files, keys and certificates; what a PKCS#12 holds stands in the note."""
    passwords = () if case.password is None else (case.password,)
    if case.row["want"] == "any":
        with suppress(SmimeGraphError):
            read_key_file(case.path, passwords=passwords)
        if case.row["form"] == "cert":
            with suppress(SmimeGraphError):
                for certificate in read_certificates(case.path):
                    _judge_every_way(certificate)
        if case.row["form"] == "crl":
            with suppress(UsageError):
                _no_evidence(*Revocation.load(crls=[case.path]).crls)
        return
    if case.row["form"] == "cert":
        certificates = read_certificates(case.path)
        assert len(certificates) == max(1, case.path.read_bytes().count(b"-----BEGIN CERT"))
        for certificate in certificates:
            _judge_every_way(certificate)
        return
    if case.row["form"] == "crl":
        (der,) = Revocation.load(crls=[case.path]).crls
        _no_evidence(der)
        if not case.extra:
            return
        issuer: Any = case.extra[0].x509.public_key()
        crl = x509.load_der_x509_crl(der)
        scheme = (padding.PKCS1v15(),) if "rsa" in case.tokens else ()
        digest = crl.signature_hash_algorithm
        issuer.verify(crl.signature, crl.tbs_certlist_bytes, *scheme, digest)
        return
    found = read_key_file(case.path, passwords=passwords)
    if case.row["form"] == "key":
        assert len(found.keys) == 1
        if case.extra:
            identity = Identity.from_pem(case.path, certificates=case.file("extra"))
            assert identity.certificate == case.extra[0]
        return
    counts = re.search(
        r"certs=(\d+) keys=(\d+)|(\d+) certificates?(?: and|,) (\d+) keys?", case.row["note"]
    )
    if counts is not None:
        wanted = [int(count) for count in counts.groups() if count is not None]
        assert [len(found.certificates), len(found.keys)] == wanted
    else:
        assert found.keys
        assert found.certificates
    if passwords and case.password and found.keys:
        with pytest.raises(SmimeGraphError, match="password"):
            read_key_file(case.path, passwords=("not the password",))


def _judge_every_way(certificate: Certificate) -> None:
    """A report, whatever the certificate holds; nobody is trusted where there are no anchors."""
    for trust in (TrustStore(()), TrustStore((certificate,))):
        report = validate(certificate, use="sign", trust=trust, at=certificate.not_before)
        assert report.findings or report.ok
        assert not (report.ok and not trust.roots)


@functools.cache
def _somebody() -> tuple[Certificate, ...]:
    ca = CA("Somebody's", key="p256")
    return (ca.issue("alice@contoso.com", key="p256").certificate, ca.certificate)


def _no_evidence(*evidence: bytes) -> None:
    """What another authority says, or what is no evidence at all, says nothing of somebody."""
    known = Revocation(mode="hard", crls=evidence, ocsp=evidence)
    found = revocation_findings(_somebody(), revocation=known, at=datetime.now(UTC))
    assert {one.code for one in found} <= {"pki.revocation.unknown", "pki.revocation.invalid"}
    assert found


def _path(case: Case) -> None:
    (certificate,) = read_certificates(case.path)
    arguments: Any = {"trust": case.trust, "certificates": case.extra, "at": case.at}
    if "purpose-email" in case.tokens:
        report: Any = validate(certificate, use="sign", **arguments)
    else:
        report = build_path(certificate, **arguments)
    if case.row["want"] == "ok":
        assert report.ok, report.errors
        assert report.chain
        assert report.chain[0] == certificate
    else:
        assert not report.ok
        _compare_why(case, [finding.code for finding in report.errors])
    if case.row["want"] == "warn":
        # weak and nothing else: with old algorithms allowed it is right, and flagged
        assert case.row["why"] == "weak"
        report = build_path(certificate, accept_weak=True, **arguments)
        assert report.ok, report.errors
        _compare_why(case, [finding.code for finding in report.findings])


def _parse(case: Case) -> None:
    match case.row["want"]:
        case "ok" if OTHERWISE.get(case.row["id"]) == _TRAILING:
            with pytest.raises(MalformedMessage, match="1 octets of trailing data"):
                inspect(case.raw)
        case "ok" if case.row["form"] == "mime":
            # no CMS inside: whatever the text imitates, there is no layer and no verdict
            assert inspect(case.raw) == ()
            report = examine(case.raw, trust=case.trust, policy=case.policy(EXCHANGE))
            assert (report.summary, report.accepted) == ("unprotected", False)
            assert not report.signers
        case "ok":
            layers = inspect(case.raw)
            assert layers
            assert layers[0].size > 0
        case "fail":
            with pytest.raises(SmimeGraphError) as caught:
                inspect(case.raw)
            _compare_why(case, [type(caught.value).__name__])
        case _:
            _read_every_way(case)
            if "ocsp" in case.tokens:
                _no_evidence(case.raw)


def _read_every_way(case: Case) -> None:
    """A value or one of our errors, from everything that reads a message or a CMS."""
    raw = case.raw
    policy = case.policy(ARCHIVE)

    def checked() -> None:
        signed = signed_data.read(raw)
        for signer in signed.signers:
            signature_check.check(signed, signer, signed.content or b"", policy=policy)

    readings: tuple[Callable[[], object], ...] = (
        lambda: inspect(raw),
        lambda: verify(raw, trust=case.trust, policy=policy),
        lambda: verify(raw, trust=case.trust, policy=policy, content=b"some content"),
        lambda: decrypt(raw, identities=case.identities, policy=policy),
        lambda: unseal(raw, trust=case.trust, policy=policy),
        lambda: enveloped_data.read(raw),
        checked,
    )
    for reading in readings:
        try:
            reading()
        except SmimeGraphError:
            continue
    assert isinstance(examine(raw, trust=case.trust, policy=policy), MessageReport)


def _decrypt(case: Case) -> None:
    # a cipher of the past is read under `archive` only
    historic = "3des" in case.tokens
    policy = case.policy(ARCHIVE if historic else EXCHANGE)
    match case.row["want"]:
        case "ok":
            opened = decrypt(case.raw, identities=case.identities, policy=policy)
            case.check_content(opened.content)
            if historic and "ecdh" not in case.tokens:
                assert opened.report.has("alg.weak")
                with pytest.raises(SmimeGraphError):
                    decrypt(case.raw, identities=case.identities, policy=EXCHANGE)
        case "fail":
            _compare_why(case, [type(_undecryptable(case, policy)).__name__])
        case "warn":
            opened = decrypt(case.raw, identities=case.identities, policy=policy)
            _compare_why(case, [finding.code for finding in opened.findings])
            assert not opened.report.authenticated
        case want:
            raise AssertionError(f"want={want} is not known here")


def _undecryptable(case: Case, policy: Policy) -> SmimeGraphError:
    """The error of a message that cannot be decrypted.

    Where a random key takes the place of a broken one (RFC 3218 2.3.2) one time in 256 the padding
    comes out right, and noise is the content; not three times in a row, and never the text.
    """
    text = (case.folder / "08d_derived_attacks" / "plaintext.mime").read_bytes()
    for _ in range(3):
        try:
            opened = decrypt(case.raw, identities=case.identities, policy=policy)
        except SmimeGraphError as error:
            return error
        assert opened.content != text
        assert not opened.report.authenticated
    raise AssertionError("decrypted three times")


def _signatures(case: Case) -> None:
    match case.row["want"]:
        case "ok" if "3des" in case.tokens:
            # the cipher around the signature is of the past
            assert isinstance(_examined(case, EXCHANGE).error, PolicyRefusal)
            _accepted(case, ARCHIVE)
        case "ok":
            _accepted(case, EXCHANGE)
        case "warn":
            report = _examined(case, EXCHANGE)
            if case.row["why"] == "address":  # RFC 8550 3 takes the Sender, and one of several
                assert report.accepted
                _compare_why(case, [finding.code for finding in report.findings])
                return
            assert not report.accepted, "neither refused nor flagged"
            if case.row["why"] != "weak":
                _compare_why(case, _everything(report))
                return
            _compare_why(case, [finding.code for finding in report.findings])
            _accepted(case, ARCHIVE)
            flagged = [finding.code for finding in _examined(case, ARCHIVE).findings]
            assert "alg.weak" in flagged
        case "fail":
            for base in (EXCHANGE, ARCHIVE):
                report = _examined(case, base)
                assert not report.accepted
            if OTHERWISE.get(case.row["id"]) == _SIGNED_AS_RECEIVED:
                assert not any(signer.covers_body for signer in report.signers)
                return
            if OTHERWISE.get(case.row["id"]) == _NO_DIGEST:
                assert report.has("alg.unsupported")
                assert not any(signer.intact or signer.valid for signer in report.signers)
                return
            # under `archive`, so that a refused algorithm is not the reason
            _compare_why(case, _everything(report))
        case "any":
            _read_every_way(case)


def _accepted(case: Case, base: Policy) -> None:
    """Accepted, with a path; or intact and valid where the row has no path to judge by."""
    report = _examined(case, base)
    if report.error is not None:
        raise report.error
    assert report.signers
    assert all(signer.intact and signer.valid for signer in report.signers), report.findings
    assert not [f for f in report.errors if f.code.startswith(("cms.", "alg.refused"))]
    if case.row["trust"] == "embedded":
        if case.file("content") is not None and case.file("detached") is None:
            context = VerificationContext.of(len(case.raw), policy=base)
            case.check_content(bytes(parse_layers(case.raw, context).content))
        return
    if case.row["id"] in OTHERWISE:
        assert not report.accepted
        if OTHERWISE[case.row["id"]] == _CIPHERTEXT_SIGNED:
            case.check_content(_one_layer_at_a_time(case, case.policy(base)))
        else:
            assert report.has("alg.key.weak")
        return
    assert report.accepted, report.errors
    case.check_content(_open(case, base))


def _open(case: Case, base: Policy) -> bytes:
    arguments: Any = {"trust": case.trust, "policy": case.policy(base), "at": case.at}
    if case.row["operation"] == "unseal":
        return unseal(case.raw, identities=case.identities, **arguments).content
    return verify(case.raw, certificates=case.extra, content=_detached(case), **arguments).content


def _one_layer_at_a_time(case: Case, policy: Policy) -> bytes:
    content = case.raw
    while recognise(content, "1") is not None:
        if inspect(content)[0].type == "signed-data":
            content = verify(content, trust=case.trust, policy=policy, at=case.at).content
        else:
            content = decrypt(content, identities=case.identities, policy=policy).content
    return content


def _detached(case: Case) -> bytes | None:
    path = case.file("detached")
    return None if path is None else path.read_bytes()


def _examined(case: Case, base: Policy) -> MessageReport:
    report = examine(
        case.raw,
        identities=case.identities,
        trust=case.trust,
        content=_detached(case),
        certificates=case.extra,
        policy=case.policy(base),
        at=case.at,
        revocation=case.revocation,
    )
    if _detached(case) is None:
        _check_that_unseal_agrees(case, base, report)
    return report


def _check_that_unseal_agrees(case: Case, base: Policy, report: MessageReport) -> None:
    """What `examine` reports, `unseal` raises, and the other way round."""
    raised: SmimeGraphError | None = None
    try:
        unseal(
            case.raw,
            identities=case.identities,
            trust=case.trust,
            certificates=case.extra,
            policy=case.policy(base),
            at=case.at,
            revocation=case.revocation,
        )
    except SmimeGraphError as error:
        raised = error
    assert report.accepted is (raised is None)
    if isinstance(raised, VerificationFailed):
        assert raised.report.findings == report.findings
    elif raised is not None:
        assert str(raised) == str(report.error)


def _everything(report: MessageReport) -> list[str]:
    found = [finding.code for finding in report.findings]
    return found if report.error is None else [*found, type(report.error).__name__]


def _compare_why(case: Case, found: list[str]) -> None:
    usual = (WHY | WHY_OF_SET.get(case.row["set"], {}))[case.row["why"]]
    assert WHY_OF_ROW.get(case.row["id"], usual) in found


RUN: dict[str, Callable[[Case], None]] = {
    "load": _load,
    "path": _path,
    "parse": _parse,
    "decrypt": _decrypt,
    "verify": _signatures,
    "unseal": _signatures,
}
