"""Revocation: evidence that is good, missing, stale, forged, or of another."""

from __future__ import annotations

import functools
import logging
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import Identity, Revocation, TrustStore, examine, sign, verify
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA
from smime_graph.errors import CertificateRejected, UsageError
from smime_graph.pki import chain_cache
from smime_graph.pki import revocation as module
from smime_graph.pki.keyfiles.read import armour
from smime_graph.pki.path import build_path
from smime_graph.pki.revocation import revocation_findings
from smime_graph.x509.certificate import Certificate

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MESSAGE = b"From: alice@contoso.com\nTo: bob@contoso.com\nSubject: s\n\ntext\n"


class Authority:
    """A root, an issuing authority below it, alice; and what both say of revocation."""

    def __init__(self, key: str = "p256") -> None:
        self.root = CA("Root", key=key, at=NOW - 30 * DAY)
        self.issuing = self.root.create_intermediate("Issuing", key=key, at=NOW - 30 * DAY)
        self.alice = self.issuing.issue("alice@contoso.com", key=key, at=NOW - 20 * DAY)
        self.trust = TrustStore((self.root.certificate,))

    def crl(
        self,
        by: CA | None = None,
        *,
        revoked: dict[Identity | CA, datetime] | None = None,
        reason: x509.ReasonFlags | None = None,
        since: datetime = NOW - DAY,
        until: datetime = NOW + DAY,
        key: Any = None,
    ) -> bytes:
        by = by or self.issuing
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(by.certificate.x509.subject)
            .last_update(since)
            .next_update(until)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    by.certificate.x509.public_key()  # type: ignore[arg-type]
                ),
                critical=False,
            )
        )
        for one, when in (revoked or {}).items():
            entry = (
                x509.RevokedCertificateBuilder()
                .serial_number(one.certificate.x509.serial_number)
                .revocation_date(when)
            )
            if reason is not None:
                entry = entry.add_extension(x509.CRLReason(reason), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        made = builder.sign(key or by.private_key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.DER)

    def ocsp(
        self,
        status: ocsp.OCSPCertStatus,
        *,
        of: Identity | CA | None = None,
        by: CA | None = None,
        since: datetime = NOW - DAY,
        until: datetime = NOW + DAY,
        revoked_at: datetime | None = None,
        algorithm: hashes.HashAlgorithm | None = None,
        key: Any = None,
    ) -> bytes:
        by, of = by or self.issuing, of or self.alice
        made = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                cert=of.certificate.x509,
                issuer=by.certificate.x509,
                algorithm=algorithm or hashes.SHA1(),
                cert_status=status,
                this_update=since,
                next_update=until,
                revocation_time=revoked_at,
                revocation_reason=None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, by.certificate.x509)
            .sign(key or by.private_key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.DER)

    def judge(
        self,
        *,
        at: datetime = NOW,
        mode: Any = "hard",
        further: Sequence[Certificate] = (),
        **evidence: Any,
    ) -> list[str]:
        chain = build_path(
            self.alice.certificate,
            trust=self.trust,
            certificates=[self.issuing.certificate],
            at=at,
        ).chain
        assert len(chain) == 3
        found = revocation_findings(
            chain,
            revocation=Revocation(mode=mode, **evidence),
            at=at,
            certificates=[*further, *chain],
        )
        return [f"{f.code.removeprefix('pki.revocation.')} {f.severity}" for f in found]


@pytest.fixture(scope="module")
def pki() -> Authority:
    return Authority()


def both(pki: Authority, **changes: Any) -> tuple[bytes, bytes]:
    return pki.crl(**changes), pki.crl(pki.root)


def test_two_crls_that_say_nothing_are_good_news(pki: Authority) -> None:
    assert pki.judge(crls=both(pki)) == []


@pytest.mark.parametrize("key", ["rsa-2048", "p384", "p521"])
def test_whatever_the_kind_of_key(key: str) -> None:
    pki = Authority(key)
    assert pki.judge(crls=both(pki)) == []
    assert pki.judge(crls=both(pki, revoked={pki.alice: NOW - DAY})) == ["revoked error"]


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_revoked_is_an_error_in_every_mode(pki: Authority, mode: str) -> None:
    crls = both(pki, revoked={pki.alice: NOW - 2 * DAY})
    assert pki.judge(crls=crls, mode=mode) == ["revoked error"]
    assert pki.judge(crls=crls, mode="none") == []


def test_an_issuing_authority_that_is_revoked(pki: Authority) -> None:
    crls = (pki.crl(), pki.crl(pki.root, revoked={pki.issuing: NOW - 2 * DAY}))
    assert "revoked error" in pki.judge(crls=crls)


def test_every_certificate_is_judged(pki: Authority) -> None:
    crls = (
        pki.crl(revoked={pki.alice: NOW - 2 * DAY}),
        pki.crl(pki.root, revoked={pki.issuing: NOW - 2 * DAY}),
    )
    assert pki.judge(crls=crls).count("revoked error") >= 1
    assert pki.judge(crls=(pki.crl(revoked={pki.alice: NOW - 2 * DAY}),), mode="soft") == [
        "revoked error",
        "unknown warning",
    ]


@pytest.mark.parametrize(("mode", "severity"), [("soft", "warning"), ("hard", "error")])
def test_evidence_that_is_not_there(pki: Authority, mode: str, severity: str) -> None:
    assert pki.judge(mode=mode) == [f"unknown {severity}"] * 2


@pytest.mark.parametrize(("mode", "severity"), [("soft", "warning"), ("hard", "error")])
def test_evidence_that_ran_out(pki: Authority, mode: str, severity: str) -> None:
    old = both(pki, since=NOW - 9 * DAY, until=NOW - 2 * DAY)
    assert pki.judge(crls=old, mode=mode) == [f"stale {severity}"]


def test_what_was_revoked_when_the_evidence_ran_out_has_not_become_good(pki: Authority) -> None:
    old = both(pki, since=NOW - 9 * DAY, until=NOW - 2 * DAY, revoked={pki.alice: NOW - 10 * DAY})
    assert pki.judge(crls=old, mode="soft") == ["revoked error"]
    gone = pki.ocsp(
        ocsp.OCSPCertStatus.REVOKED,
        revoked_at=NOW - 10 * DAY,
        since=NOW - 9 * DAY,
        until=NOW - 2 * DAY,
    )
    assert pki.judge(ocsp=(gone,), crls=(pki.crl(pki.root),)) == ["revoked error"]


@pytest.mark.parametrize("upper", [NOW + DAY, NOW - DAY, NOW - 3 * DAY])
@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_though_all_evidence_ran_out_who_was_revoked_is_refused(
    pki: Authority, upper: datetime, mode: str
) -> None:
    """That the list of the authority above ran out as well is no way around."""
    old = pki.crl(since=NOW - 9 * DAY, until=NOW - 2 * DAY, revoked={pki.alice: NOW - 10 * DAY})
    above = pki.crl(pki.root, since=NOW - 9 * DAY, until=upper)
    assert pki.judge(crls=(old, above), mode=mode)[0] == "revoked error"
    good = pki.crl(since=NOW - 9 * DAY, until=NOW - 2 * DAY)
    severity = "error" if mode == "hard" else "warning"
    assert pki.judge(crls=(good, above), mode=mode)[0] == f"stale {severity}"


def test_a_forged_crl_proves_nothing(pki: Authority) -> None:
    other = Authority()
    forged = pki.crl(key=other.issuing.private_key)
    found = pki.judge(crls=(forged, pki.crl(pki.root)))
    assert found == ["invalid error"]
    wrong = pki.crl(key=other.issuing.private_key, revoked={pki.alice: NOW - DAY})
    assert pki.judge(crls=(wrong, *both(pki))) == []


def test_a_crl_of_another_authority_is_none(pki: Authority) -> None:
    assert pki.judge(crls=both(Authority()), mode="soft")[0] in (
        "unknown warning",
        "invalid warning",
    )


def test_a_serial_number_of_another_authority_revokes_nobody(pki: Authority) -> None:
    crls = (pki.crl(), pki.crl(pki.root, revoked={pki.alice: NOW - DAY}))
    assert pki.judge(crls=crls) == []


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()])
def test_ocsp_says_good_and_revoked(pki: Authority, algorithm: hashes.HashAlgorithm) -> None:
    good = pki.ocsp(ocsp.OCSPCertStatus.GOOD, algorithm=algorithm)
    upper = pki.crl(pki.root)
    assert pki.judge(ocsp=(good,), crls=(upper,)) == []
    bad = pki.ocsp(ocsp.OCSPCertStatus.REVOKED, revoked_at=NOW - DAY, algorithm=algorithm)
    assert pki.judge(ocsp=(bad,), crls=(upper,)) == ["revoked error"]


def test_ocsp_that_does_not_know_proves_nothing(pki: Authority) -> None:
    unknown = pki.ocsp(ocsp.OCSPCertStatus.UNKNOWN)
    found = pki.judge(ocsp=(unknown,), crls=(pki.crl(pki.root),))
    assert found in (["invalid error"], ["unknown error"])
    # where a CRL speaks it counts
    assert pki.judge(ocsp=(unknown,), crls=both(pki)) == []


def test_ocsp_by_somebody_else_proves_nothing(pki: Authority) -> None:
    other = Authority()
    forged = pki.ocsp(ocsp.OCSPCertStatus.GOOD)
    forged = forged[:-8] + bytes([forged[-8] ^ 1]) + forged[-7:]
    found = pki.judge(ocsp=(forged,), crls=(pki.crl(pki.root),))
    assert found == ["invalid error"]
    by_root = pki.ocsp(ocsp.OCSPCertStatus.GOOD, by=other.issuing)
    assert "error" in pki.judge(ocsp=(by_root,), crls=(pki.crl(pki.root),))[0]


def test_ocsp_that_ran_out(pki: Authority) -> None:
    old = pki.ocsp(ocsp.OCSPCertStatus.GOOD, since=NOW - 9 * DAY, until=NOW - 2 * DAY)
    assert pki.judge(ocsp=(old,), crls=(pki.crl(pki.root),)) == ["stale error"]


def test_what_is_revoked_later_was_good_before(pki: Authority) -> None:
    crls = both(pki, revoked={pki.alice: NOW - 2 * DAY})
    assert pki.judge(crls=crls, at=NOW - 3 * DAY) == []
    assert pki.judge(crls=crls, at=NOW - DAY) == ["revoked error"]


def test_what_a_responder_says_is_revoked_later_was_good_before(pki: Authority) -> None:
    gone = pki.ocsp(ocsp.OCSPCertStatus.REVOKED, revoked_at=NOW - 2 * DAY)
    upper = pki.crl(pki.root)
    assert pki.judge(ocsp=(gone,), crls=(upper,), at=NOW - 3 * DAY) == []
    assert pki.judge(ocsp=(gone,), crls=(upper,), at=NOW - 2 * DAY) == ["revoked error"]
    signature = ocsp.load_der_ocsp_response(gone).signature
    forged = gone.replace(signature, signature[:-1] + bytes([signature[-1] ^ 1]))
    assert pki.judge(ocsp=(forged,), crls=(upper,), at=NOW - 3 * DAY) == ["invalid error"]


def test_a_certificate_on_hold_is_revoked(pki: Authority) -> None:
    crls = both(pki, revoked={pki.alice: NOW - DAY}, reason=x509.ReasonFlags.certificate_hold)
    assert pki.judge(crls=crls) == ["revoked error"]


# --- long lists -------------------------------------------------------------------------------


def entry(
    serial: int, when: datetime = NOW - DAY, *, reason: int | None = None, filling: int = 0
) -> bytes:
    """An entry of a CRL (RFC 5280 5.3), with a reasonCode and an extension nobody knows."""
    held = []
    if reason is not None:
        code = ber.octet_string(ber.tlv(0x0A, bytes([reason])))
        held.append(ber.sequence(ber.oid("2.5.29.21"), code))
    if filling:
        held.append(ber.sequence(ber.oid("1.2.3.4"), ber.octet_string(bytes(filling))))
    further = [ber.sequence(*held)] if held else []
    return ber.sequence(ber.integer(serial), ber.time(when), *further)


def listing(pki: Authority, entries: bytes, *, is_forged: bool = False) -> bytes:
    """The list of the issuing authority with these entries, signed."""
    empty = x509.load_der_x509_crl(pki.crl())
    tbs = ber.read(empty.tbs_certlist_bytes, "TBSCertList")
    *fields, extensions = [one.raw for one in tbs]
    made = ber.sequence(*fields, ber.sequence(entries), extensions)
    signature = pki.issuing.private_key.sign(made, ec.ECDSA(hashes.SHA256()))
    if is_forged:
        made = ber.sequence(*fields, ber.sequence(entry(1), entries[len(entry(1)) :]), extensions)
    algorithm = ber.sequence(ber.oid("1.2.840.10045.4.3.2"))
    return ber.sequence(made, algorithm, ber.bit_string(signature))


@pytest.fixture(scope="module")
def many() -> bytes:
    """Entries of a list of some 10 MB: what the largest authorities publish."""
    first = 1 << 150
    return b"".join(entry(first + number) for number in range(250_000))


@pytest.mark.parametrize("place", ["first", "last", "none"])
def test_a_list_with_very_many_entries_takes_no_time(
    pki: Authority, many: bytes, place: str
) -> None:
    its = entry(pki.alice.certificate.serial_number)
    crl = listing(pki, {"first": its + many, "last": many + its, "none": many}[place])
    assert len(crl) > 9 << 20
    begun = time.perf_counter()
    assert pki.judge(crls=(crl, pki.crl(pki.root))) == (
        [] if place == "none" else ["revoked error"]
    )
    assert time.perf_counter() - begun < 4  # looked through entry by entry: 5 s and more


def test_the_signature_is_over_all_of_a_long_list(pki: Authority) -> None:
    some = entry(2) + b"".join(entry(1 << 150 | number) for number in range(2000))
    upper = pki.crl(pki.root)
    assert pki.judge(crls=(listing(pki, some), upper)) == []
    assert pki.judge(crls=(listing(pki, some, is_forged=True), upper)) == ["invalid error"]


@pytest.mark.parametrize("count", [10, 40_000])
def test_a_list_of_several_issuers_is_read_whole_or_not_at_all(pki: Authority, count: int) -> None:
    """An entry without a certificateIssuer has that of an entry before it (RFC 5280 5.3.3)."""
    names = x509.GeneralNames([x509.DirectoryName(pki.root.certificate.x509.subject)])
    value = ber.octet_string(x509.CertificateIssuer(names).public_bytes())
    named = ber.sequence(ber.oid("2.5.29.29"), ber.tlv(ber.BOOLEAN, b"\xff"), value)
    other = ber.sequence(ber.integer(5), ber.time(NOW - DAY), ber.sequence(named))
    entries = other + b"".join(entry(1 << 150 | number) for number in range(count))
    its = entry(pki.alice.certificate.serial_number)
    found = pki.judge(crls=(listing(pki, entries + its), pki.crl(pki.root)))
    # of the root, not of alice's issuer
    assert found == ([] if count == 10 else ["invalid error"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(1, 300), st.integers(1, 1 << 160), st.just(0)),
            st.integers(-40_000, 2),
            st.sampled_from([None, 1, 6, 8, 10]),
            st.sampled_from([0, 0, 0, 90, 100, 300]),
        ),
        max_size=30,
    )
)
def test_a_shortened_list_says_what_the_whole_one_says(
    entries: list[tuple[int, int, int | None, int]],
) -> None:
    """0 stands for the number of the certificate in question."""
    pki = small()
    own = pki.alice.certificate.serial_number
    made = b"".join(
        entry(n or own, NOW + days * DAY, reason=why, filling=size)
        for n, days, why, size in entries
    )
    crls = (listing(pki, made), pki.crl(pki.root))
    chain = (pki.alice.certificate, pki.issuing.certificate, pki.root.certificate)
    told = []
    for limit in (0, 1 << 30):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_SHORT_LIST", limit)
            found = revocation_findings(chain, revocation=Revocation(crls=crls), at=NOW)
            told.append([(one.code, one.text) for one in found])
    assert told[0] == told[1]
    if not {0, own} & {one[0] for one in entries}:
        assert told[0] == []


@functools.cache
def small() -> Authority:
    """Whose person has a number of one octet, which stands by chance in other places, too."""
    pki = Authority()
    pki.alice = pki.issuing.issue("alice@contoso.com", key="p256", at=NOW - 20 * DAY, serial=23)
    return pki


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_octets_are_no_list_and_no_crash(data: bytes) -> None:
    pki = small()
    crl = pki.crl()
    for wrong in (data, b"\x30" + data, crl[: len(data)] + data, crl + data):
        if wrong == crl:
            continue
        chain = (pki.alice.certificate, pki.issuing.certificate, pki.root.certificate)
        for limit in (0, 1 << 30):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(module, "_SHORT_LIST", limit)
                found = revocation_findings(chain[:2], revocation=Revocation(crls=(wrong,)), at=NOW)
        assert {one.code for one in found} <= {"pki.revocation.unknown", "pki.revocation.invalid"}


# --- the chain cache ----------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["none", "soft", "hard"]),
            st.sampled_from([None, "good", "revoked", "old"]),
            st.integers(0, 4),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_what_is_said_of_revocation_hangs_on_nothing_that_was_remembered(
    steps: list[tuple[Any, str | None, int]],
) -> None:
    """Each question as if it were the first, whatever was asked before it."""
    pki = small()
    raw = signed_by_small()

    def ask(mode: Any, evidence: str | None, days: int) -> tuple[bool, list[str]]:
        how: dict[str, Any] = {
            "good": {"until": NOW + 2 * DAY},
            "revoked": {"until": NOW + 2 * DAY, "revoked": {pki.alice: NOW - DAY}},
            "old": {"since": NOW - 9 * DAY, "until": NOW - 2 * DAY},
        }
        crls = () if evidence is None else (pki.crl(**how[evidence]), pki.crl(pki.root))
        report = examine(
            raw,
            trust=pki.trust,
            at=NOW + days * DAY,
            revocation=Revocation(mode=mode, crls=crls),
        )
        return report.accepted, [f"{one.code} {one.severity}" for one in report.findings]

    warm = [ask(*step) for step in steps]
    for step, told in zip(steps, warm, strict=True):
        chain_cache.clear()
        assert ask(*step) == told
        if step[:2] == ("soft", "revoked"):
            assert not told[0]


@functools.cache
def signed_by_small() -> bytes:
    return sign(MESSAGE, signer=small().alice, at=NOW - 3 * DAY)


# --- in a message -------------------------------------------------------------------------------


def test_a_message_of_a_revoked_signer_is_rejected(pki: Authority) -> None:
    raw = sign(MESSAGE, signer=pki.alice, at=NOW - 3 * DAY)
    good = Revocation(mode="hard", crls=both(pki))
    assert verify(raw, trust=pki.trust, at=NOW, revocation=good).signer is not None
    bad = Revocation(crls=both(pki, revoked={pki.alice: NOW - 2 * DAY}))
    with pytest.raises(CertificateRejected) as caught:
        verify(raw, trust=pki.trust, at=NOW, revocation=bad)
    (found,) = caught.value.report.errors
    assert found.code == "pki.revocation.revoked"
    assert "2026-11-20 12:00:00Z" in found.text
    assert "after the time it says it signed at" in found.text
    (signer,) = examine(raw, trust=pki.trust, at=NOW, revocation=bad).signers
    assert (signer.trusted, signer.trusted_at_signing, signer.accepted) == (False, True, False)
    before = Revocation(crls=both(pki, revoked={pki.alice: NOW - 4 * DAY}))
    report = examine(raw, trust=pki.trust, at=NOW, revocation=before)
    assert "before the time it says it signed at" in report.errors[0].text
    assert report.signers[0].trusted_at_signing is False


def test_one_who_was_remembered_as_good_is_refused_when_revoked(pki: Authority) -> None:
    raw = sign(MESSAGE, signer=pki.alice, at=NOW)
    for _ in range(2):
        assert verify(raw, trust=pki.trust, at=NOW).signer is not None
    bad = Revocation(crls=both(pki, revoked={pki.alice: NOW - DAY}))
    assert not examine(raw, trust=pki.trust, at=NOW, revocation=bad).accepted
    # evidence that ran out is no evidence, though it was good when the chain was remembered
    hard = Revocation(mode="hard", crls=both(pki))
    assert examine(raw, trust=pki.trust, at=NOW, revocation=hard).accepted
    assert not examine(raw, trust=pki.trust, at=NOW + 3 * DAY, revocation=hard).accepted


def test_missing_evidence_is_a_warning_or_an_error(pki: Authority) -> None:
    raw = sign(MESSAGE, signer=pki.alice, at=NOW)
    soft = examine(raw, trust=pki.trust, at=NOW, revocation=Revocation())
    assert soft.accepted
    assert soft.has("pki.revocation.unknown")
    assert not examine(raw, trust=pki.trust, at=NOW, revocation=Revocation(mode="hard")).accepted
    assert not examine(raw, trust=pki.trust, at=NOW).has("pki.revocation.unknown")


def with_revocation_info(raw: bytes, pki: Authority, *choices: bytes) -> bytes:
    """An opaque message with evidence beside the certificates of its SignedData."""
    from smime_graph.smime.canonical import encode_base64
    from smime_graph.smime.entity import Entity

    entity = Entity(raw)
    info = ber.read(entity.decoded_body(), "ContentInfo")
    kind, explicit = list(info)
    (signed,) = list(explicit)
    fields = [one.raw for one in signed]
    fields.insert(4, ber.tlv(0xA1, b"".join(choices)))
    body = ber.sequence(kind.raw, ber.tlv(0xA0, ber.sequence(*fields)))
    return entity.header + encode_base64(body)


def test_evidence_in_the_message_counts(pki: Authority) -> None:
    raw = sign(MESSAGE, signer=pki.alice, at=NOW, detached=False)
    crls = both(pki, revoked={pki.alice: NOW - DAY})
    carrying = with_revocation_info(raw, pki, *crls)
    assert examine(carrying, trust=pki.trust, at=NOW).accepted
    report = examine(carrying, trust=pki.trust, at=NOW, revocation=Revocation())
    assert [f.code for f in report.errors] == ["pki.revocation.revoked"]
    response = pki.ocsp(ocsp.OCSPCertStatus.GOOD)
    other = ber.tlv(0xA1, ber.oid("1.3.6.1.5.5.7.16.2") + response)
    carrying = with_revocation_info(raw, pki, other, pki.crl(pki.root))
    hard = Revocation(mode="hard")
    assert examine(carrying, trust=pki.trust, at=NOW, revocation=hard).accepted


@pytest.mark.parametrize("junk", [b"\x30\x00", b"\x30\x03\x02\x01\x05", b"\xa1\x00", b"\x05\x00"])
def test_junk_in_place_of_evidence_is_no_evidence(
    pki: Authority, junk: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = sign(MESSAGE, signer=pki.alice, at=NOW, detached=False)
    carrying = with_revocation_info(raw, pki, junk)
    report = examine(carrying, trust=pki.trust, at=NOW, revocation=Revocation(mode="hard"))
    assert not report.accepted
    assert {f.code for f in report.errors} <= {"pki.revocation.unknown", "pki.revocation.invalid"}
    assert capfd.readouterr() == ("", "")


def test_what_comes_along_is_bounded(pki: Authority) -> None:
    base = Revocation(crls=(b"own",))
    more = base.with_revocation_info([b"\x30" + bytes(700_000)] * 3)
    assert [len(one) for one in more.crls] == [3, 700_001]
    assert len(base.with_revocation_info([b"\x30\x00"] * 5000).crls) == module.MAX_PIECES


def test_what_comes_along_never_crowds_out_what_was_given() -> None:
    """Or a message could make an error of the evidence that its reader gave."""
    full = Revocation(crls=(bytes(module.MAX_OCTETS - 10),))
    assert full.with_revocation_info([b"\x30" + bytes(50)]).crls == full.crls
    assert len(full.with_revocation_info([b"\x30" + bytes(5)]).crls) == 2


def test_evidence_that_is_sent_along_is_paid_for(pki: Authority) -> None:
    raw = sign(MESSAGE, signer=pki.alice, at=NOW, detached=False)
    crls = both(pki)
    filling = ber.tlv(ber.SEQUENCE, b"\x05\x00" * 1000)
    carrying = with_revocation_info(raw, pki, *crls, *[filling] * 200)
    report = examine(carrying, trust=pki.trust, at=NOW, revocation=Revocation())
    assert not report.accepted
    assert report.has("smime.limit")


# --- files --------------------------------------------------------------------------------------


def test_files_are_der_or_pem(pki: Authority, tmp_path: Path) -> None:
    crl = pki.crl()
    (tmp_path / "a.crl").write_bytes(crl)
    pem = x509.load_der_x509_crl(crl).public_bytes(serialization.Encoding.PEM)
    (tmp_path / "b.pem").write_bytes(pem + pem)
    (tmp_path / "c.der").write_bytes(pki.ocsp(ocsp.OCSPCertStatus.GOOD))
    loaded = Revocation.load(
        crls=[tmp_path / "a.crl", tmp_path / "b.pem"], ocsp=[tmp_path / "c.der"], mode="hard"
    )
    assert loaded.crls == (crl,) * 3
    assert len(loaded.ocsp) == 1
    assert repr(loaded) == "Revocation(mode='hard')"


@pytest.mark.parametrize("kind", ["crls", "ocsp"])
def test_a_file_of_something_else(tmp_path: Path, kind: str) -> None:
    wrong: Any = {kind: [tmp_path / "x"]}
    with pytest.raises(UsageError, match="cannot be read"):
        Revocation.load(**wrong)
    certificate = armour(Authority().issuing.certificate)
    for content in (b"-----BEGIN X509 CRL-----\n", b"x", b"", certificate, certificate + b"x"):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(UsageError):
            Revocation.load(**wrong)


def test_a_folder_of_crls(tmp_path: Path, pki: Authority) -> None:
    """As an authority has it: certificates, text and keys lie beside them."""
    folder = tmp_path / "authorities"
    folder.mkdir()
    with pytest.raises(UsageError, match="holds no CRL"):
        Revocation.load(crls=[folder])
    crl = pki.crl()
    armoured = x509.load_der_x509_crl(crl).public_bytes(serialization.Encoding.PEM)
    (folder / "a.der").write_bytes(pki.issuing.certificate.der)
    (folder / "a.pem").write_bytes(armour(pki.issuing.certificate))
    (folder / "c.crl").write_bytes(b"0\x03\x02\x01\x01")
    (folder / "notes").write_bytes(b"where they are from")
    with pytest.raises(UsageError, match="holds no CRL"):
        Revocation.load(crls=[folder])
    (folder / "b.crl").write_bytes(crl)
    (folder / "b.pem").write_bytes(armour(pki.issuing.certificate) + armoured)
    assert Revocation.load(crls=[folder, folder / "b.crl"]).crls == (crl,) * 3


def test_too_much_is_refused() -> None:
    with pytest.raises(UsageError, match="at most"):
        Revocation(crls=(bytes(module.MAX_OCTETS + 1),))
    with pytest.raises(UsageError, match="at most"):
        Revocation(ocsp=(b"",) * (module.MAX_PIECES + 1))


def test_the_validator_prints_nothing(pki: Authority, capfd: pytest.CaptureFixture[str]) -> None:
    module._SILENT.setLevel(logging.NOTSET)
    pki.judge(crls=(pki.crl(key=Authority().issuing.private_key),))
    assert capfd.readouterr() == ("", "")


# --- evidence by another hand -------------------------------------------------------------------


@pytest.fixture
def openssl(pki: Authority, tmp_path: Path) -> Callable[..., bytes]:
    """OpenSSL as the authority's CA program: its database says that alice is revoked, or good."""
    from smime_graph.pki.keyfiles.read import armour

    def run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    key = pki.issuing.private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "ca.key").write_bytes(key)
    (tmp_path / "ca.pem").write_bytes(armour(pki.issuing.certificate))
    (tmp_path / "alice.pem").write_bytes(armour(pki.alice.certificate))
    (tmp_path / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\n"
        "default_crl_days=30\n"
    )
    (tmp_path / "number").write_text("01\n")

    def made(kind: str, *, revoked: bool) -> bytes:
        serial = f"{pki.alice.certificate.x509.serial_number:X}"
        serial = serial.zfill(len(serial) + len(serial) % 2)
        state = "R\t301231000000Z\t261001000000Z,keyCompromise" if revoked else "V\t301231000000Z\t"
        (tmp_path / "index.txt").write_text(f"{state}\t{serial}\tunknown\t/CN=alice\n")
        signing = ["-rsigner", "ca.pem", "-rkey", "ca.key"]
        if kind == "crl":
            own = ["-cert", "ca.pem", "-keyfile", "ca.key"]
            run("ca", "-config", "ca.cnf", "-gencrl", *own, "-out", "out.crl")
            return x509.load_pem_x509_crl((tmp_path / "out.crl").read_bytes()).public_bytes(
                serialization.Encoding.DER
            )
        run("ocsp", "-issuer", "ca.pem", "-cert", "alice.pem", "-reqout", "req.der")
        asked = ["-index", "index.txt", "-CA", "ca.pem", "-reqin", "req.der", "-ndays", "30"]
        run("ocsp", *asked, *signing, "-respout", "resp.der")
        return (tmp_path / "resp.der").read_bytes()

    return made


@pytest.mark.parametrize("kind", ["crl", "ocsp"])
def test_what_openssl_says(pki: Authority, openssl: Callable[..., bytes], kind: str) -> None:
    now = datetime.now(UTC) + timedelta(seconds=5)
    upper = pki.crl(pki.root, since=now - DAY, until=now + DAY)
    for revoked in (False, True):
        evidence = openssl(kind, revoked=revoked)
        given: dict[str, Any] = {"crls": (upper,)}
        if kind == "crl":
            given["crls"] = (evidence, upper)
        else:
            given["ocsp"] = (evidence,)
        assert pki.judge(at=now, **given) == (["revoked error"] if revoked else [])
