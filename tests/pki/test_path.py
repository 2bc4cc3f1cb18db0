"""Finding a path to an anchor among honest and hostile certificates, and judging it."""

from __future__ import annotations

import asyncio
import csv
import functools
import itertools
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyhanko_certvalidator.validate as engine
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from smime_graph import oids
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA
from smime_graph.errors import UsageError
from smime_graph.findings import codes
from smime_graph.pki import path
from smime_graph.pki.keyfiles.read import read_certificates
from smime_graph.pki.path import PathReport, build_path
from smime_graph.pki.trust import TrustStore
from smime_graph.pki.validate import validate
from smime_graph.x509.certificate import Certificate

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)
VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"


@dataclass(frozen=True)
class Made:
    certificate: Certificate
    key: Any
    subject: x509.Name


@functools.cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def make(
    name: str,
    issuer: Made | None = None,
    *,
    ca: bool = True,
    length: int | None = None,
    more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    start: datetime = NOW - YEAR,
    end: datetime = NOW + YEAR,
    private: Any = None,
    cert_sign: bool = True,
    serial: int = 7,
    padding_: Any = None,
    identified: bool = True,
) -> Made:
    private = private or key(name)
    by = issuer or Made(None, private, named(name))  # type: ignore[arg-type]
    builder = x509.CertificateBuilder(
        by.subject,
        named(name),
        private.public_key(),
        serial,
        start.replace(tzinfo=None),
        end.replace(tzinfo=None),
    )
    bits = [not ca, False, False, False, False, ca and cert_sign, ca, False, False]
    for extension, critical in (
        (x509.BasicConstraints(ca, length if ca else None), True),
        (x509.KeyUsage(*bits), True),
        (x509.SubjectKeyIdentifier.from_public_key(private.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), False),
        *more,
    ):
        if identified or not isinstance(extension, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(extension, critical)
    made = builder.sign(by.key, hashes.SHA256(), rsa_padding=padding_)
    return Made(Certificate(made.public_bytes(serialization.Encoding.DER)), private, named(name))


ALICE = (x509.SubjectAlternativeName([x509.RFC822Name("alice@example.com")]), False)


def leaf(issuer: Made, **options: Any) -> Made:
    return make("Alice", issuer, ca=False, more=(ALICE, *options.pop("more", ())), **options)


@functools.cache
def root() -> Made:
    return make("Root")


@functools.cache
def middle() -> Made:
    return make("Middle", root())


def build(
    who: Made, *others: Made, anchors: Sequence[Made] | None = None, **options: Any
) -> PathReport:
    trust = TrustStore(tuple(m.certificate for m in anchors or (root(),)))
    options.setdefault("at", NOW)
    return build_path(
        who.certificate, trust=trust, certificates=[m.certificate for m in others], **options
    )


def chain(*made: Made) -> tuple[Certificate, ...]:
    return tuple(m.certificate for m in made)


# --- the search


def test_a_path_runs_from_the_certificate_to_the_anchor() -> None:
    alice = leaf(middle())
    report = build(alice, root(), middle())
    assert report.findings == ()
    assert report.chain == chain(alice, middle(), root())


def test_an_intermediate_can_be_the_anchor() -> None:
    alice = leaf(middle())
    assert build(alice, anchors=[middle()]).chain == chain(alice, middle())


def without(made: Made, by: Made, *extensions: x509.ObjectIdentifier) -> Made:
    """The same without these extensions, signed again; version 1 where none is left."""
    tbs = list(ber.read(ber.read(made.certificate.der, "").children()[0].raw, ""))
    kept = [
        one.raw
        for one in tbs[-1].only("extensions")
        if one.children()[0].as_oid() not in {oid.dotted_string for oid in extensions}
    ]
    parts = [one.raw for one in tbs[:-1]] + [ber.context(3, ber.sequence(*kept))]
    body = ber.sequence(*(parts if kept else parts[1:-1]))
    signature = by.key.sign(body, ec.ECDSA(hashes.SHA256()))
    der = ber.sequence(body, tbs[2].raw, ber.bit_string(signature))
    return Made(Certificate(der), made.key, made.subject)


EVERY_EXTENSION = (
    x509.BasicConstraints.oid,
    x509.KeyUsage.oid,
    x509.SubjectKeyIdentifier.oid,
    x509.AuthorityKeyIdentifier.oid,
    x509.SubjectAlternativeName.oid,
)


def pinned_people() -> dict[str, Made]:
    mallory = make("Mallory", ca=False)
    carol = make("Carol", root(), ca=False)
    return {
        "self-signed, CA:FALSE": mallory,
        "self-signed, no basicConstraints": without(mallory, mallory, x509.BasicConstraints.oid),
        "self-signed, neither": without(
            mallory, mallory, x509.BasicConstraints.oid, x509.KeyUsage.oid
        ),
        "self-signed, CA:TRUE without keyCertSign": make("Mallory", cert_sign=False),
        "of an authority, CA:FALSE": carol,
        "of an authority, no basicConstraints": without(carol, root(), x509.BasicConstraints.oid),
        "of an authority, version 1": without(carol, root(), *EVERY_EXTENSION),
        "of an authority, keyCertSign alone": without(
            make("Carol", root()), root(), x509.BasicConstraints.oid
        ),
        "extensions that cannot be read": make(
            "Mallory",
            more=[(x509.UnrecognizedExtension(x509.ExtendedKeyUsage.oid, b"\x30\x01"), False)],
        ),
    }


@pytest.mark.parametrize("which", pinned_people())
def test_an_anchor_that_may_not_issue_vouches_for_itself_alone(which: str) -> None:
    pinned = pinned_people()[which]
    by = Made(pinned.certificate, pinned.key, pinned.subject)
    alice = leaf(by)
    # an authority of the same name and key, and one in between, change nothing
    twin = make(pinned.subject.rfc4514_string().removeprefix("CN="), private=pinned.key)
    between = make("Between", by)
    for who, others in ((alice, ()), (alice, (twin,)), (leaf(between), (between, twin))):
        for anchors in ([pinned], [pinned, root()]):
            report = build(who, *others, anchors=anchors)
            assert not report.ok, others
            assert report.chain == ()
    report = build(alice, anchors=[pinned])
    assert codes(report.findings) == ["pki.path.invalid"]
    assert "trusted for itself alone" in report.findings[0].text
    if "cannot be read" not in which:
        assert build(pinned, anchors=[pinned]).findings == ()
        assert build(pinned, anchors=[pinned]).chain == (pinned.certificate,)
    # the same key in another certificate of this person is not what was pinned
    again = make("Mallory", ca=False, private=pinned.key, serial=99)
    assert not build(again, anchors=[pinned]).ok


@pytest.mark.parametrize("extensions", [EVERY_EXTENSION, (x509.KeyUsage.oid,), ()])
def test_an_anchor_that_may_issue_does(extensions: Sequence[x509.ObjectIdentifier]) -> None:
    """Without a keyUsage nothing is limited; of version 1 it cannot say more (RFC 5280 6.1.4 k)."""
    anchor = without(make("Old root"), make("Old root"), *extensions)
    assert build(leaf(anchor, identified=False), anchors=[anchor]).ok


def test_certificates_of_the_store_complete_a_path_but_are_not_believed() -> None:
    alice = leaf(middle())
    store = TrustStore((root().certificate,), certificates=(middle().certificate,))
    assert build_path(alice.certificate, trust=store, at=NOW).ok
    store = TrustStore((), certificates=(middle().certificate, root().certificate))
    report = build_path(alice.certificate, trust=store, at=NOW)
    assert codes(report.errors) == ["pki.trust.no-anchors"]


def test_of_two_authorities_with_one_name_and_key_the_valid_one_is_taken() -> None:
    """RFC 8550 4: overlapping certificates of one authority MUST be handled."""
    old = make("Middle", root(), end=NOW - timedelta(days=1), serial=8)
    renamed = make("Middle", root(), serial=9)
    alice = leaf(renamed)
    for others in itertools.permutations((old, renamed)):
        report = build(alice, *others)
        assert report.findings == ()
        assert report.chain == chain(alice, renamed, root())


def test_of_two_paths_the_one_fit_for_mail_is_taken() -> None:
    servers = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    other_root = make("Other root")
    unfit = make("Middle", root(), more=[servers])
    fit = make("Middle", other_root)
    alice = leaf(fit)
    report = build(alice, unfit, fit, anchors=[root(), other_root])
    assert report.chain == chain(alice, fit, other_root)
    report = build(alice, unfit)
    assert codes(report.errors) == ["pki.usage.extended-key-usage-chain"]


def test_the_best_of_the_failing_paths_is_reported() -> None:
    broken = make("Middle", root(), ca=False, end=NOW - timedelta(days=1), serial=8)
    late = make("Middle", root(), end=NOW - timedelta(days=1), serial=9)
    alice = leaf(late)
    for others in itertools.permutations((broken, late)):
        report = build(alice, *others)
        assert codes(report.errors) == ["pki.path.expired"]
        assert report.chain == chain(alice, late, root())


def test_names_chain_without_regard_to_case_and_blanks() -> None:
    sub = make("Middle  AUTHORITY", root())
    twin = Made(sub.certificate, sub.key, named(" middle authority"))
    assert build(leaf(twin), sub).ok


def test_a_root_with_a_new_key_is_reached_over_its_old_one() -> None:
    new_key = ec.generate_private_key(ec.SECP256R1())
    rolled = make("Root", root(), private=new_key)
    alice = leaf(rolled)
    assert build(alice, rolled).chain == chain(alice, rolled, root())


def test_a_path_of_eight_certificates_is_followed_and_one_of_nine_is_not() -> None:
    line = [root()]
    for depth in range(7):
        line.append(make(f"Depth {depth}", line[-1]))
    assert len(build(leaf(line[-2]), *line).chain) == 8
    report = build(leaf(line[-1]), *line)
    assert codes(report.errors) == ["pki.path.none"]


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="time zone"):
        build(leaf(middle()), at=NOW.replace(tzinfo=None))


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_ends_of_time_are_no_trouble(at: datetime) -> None:
    report = build(leaf(middle()), middle(), at=at)
    assert set(codes(report.errors)) <= {"pki.path.expired", "pki.path.not-yet-valid"}
    assert not report.ok


def test_both_ends_of_the_validity_are_inside() -> None:
    alice = leaf(middle(), start=NOW, end=NOW)
    assert build(alice, middle()).findings == ()
    second = timedelta(seconds=1)
    assert codes(build(alice, middle(), at=NOW + second).errors) == ["pki.path.expired"]
    assert codes(build(alice, middle(), at=NOW - second).errors) == ["pki.path.not-yet-valid"]


# --- hostile certificates


def in_time(run: Callable[[], PathReport], seconds: float = 1.0) -> PathReport:
    build(leaf(middle()), middle())  # the validator is imported only once
    start = time.process_time()
    report = run()
    assert time.process_time() - start < seconds
    return report


@functools.cache
def forged() -> tuple[Made, ...]:
    """40 authorities named like the root, each of another key: self-signed and cross-named."""
    false = [
        make("Root", private=ec.generate_private_key(ec.SECP256R1()), serial=n)
        for n in range(1, 29)
    ]
    crossed = [make("Root", false[n], private=false[n + 1].key, serial=100 + n) for n in range(12)]
    return (*false, *crossed)


def test_forged_authorities_with_the_name_of_the_root_end_in_a_finding_in_time() -> None:
    alice = leaf(Made(forged()[0].certificate, forged()[0].key, named("Root")))
    report = in_time(lambda: build(alice, *forged()))
    assert not report.ok
    assert report.chain == ()
    assert set(codes(report.errors)) <= {"pki.path.limit", "pki.path.invalid"}


def test_forged_authorities_do_not_keep_an_honest_path_from_being_found() -> None:
    sub = make("Sub", middle())
    for alice in (leaf(root()), leaf(sub)):
        assert in_time(lambda who=alice: build(who, *forged(), middle(), sub)).ok  # type: ignore[misc]


@functools.cache
def crowd_named(name: str) -> tuple[Made, ...]:
    """More authorities of one name than there are signature checks."""
    return tuple(
        make(name, private=ec.generate_private_key(ec.SECP256R1()), serial=n) for n in range(1, 121)
    )


def test_an_anchor_is_found_before_any_number_of_certificates_with_its_name() -> None:
    for identified in (True, False):
        alice = leaf(root(), identified=identified)
        assert in_time(lambda who=alice: build(who, *crowd_named("Root"))).ok  # type: ignore[misc]


def test_a_key_identifier_points_out_the_issuer_among_any_number_of_its_name() -> None:
    assert in_time(lambda: build(leaf(middle()), *crowd_named("Middle"), middle())).ok
    blind = leaf(middle(), identified=False)
    report = in_time(lambda: build(blind, *crowd_named("Middle"), middle()))
    assert codes(report.errors) == ["pki.path.limit"]


def test_certificates_of_one_name_and_key_are_not_strung_together() -> None:
    copies = [make("Copy", serial=n) for n in range(1, 21)]
    assert codes(build(leaf(copies[0]), *copies).errors) == ["pki.path.none"]


def test_no_more_than_100_signatures_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    real = path._signature_fault

    def counting(certificate: Certificate, issuer: Certificate) -> str | None:
        checked.append(certificate)
        return real(certificate, issuer)

    monkeypatch.setattr(path, "_signature_fault", counting)
    build(leaf(middle(), identified=False), *crowd_named("Middle"), middle())
    assert len(checked) == 100


def test_authorities_that_all_signed_each_other_end_at_the_limit() -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(12)]
    makers = [Made(root().certificate, k, named("Root")) for k in keys]
    tangle = [
        make("Root", maker, private=k, serial=n)
        for n, (maker, k) in enumerate(itertools.product(makers, keys), 1)
        if maker.key is not k
    ]
    report = in_time(lambda: build(leaf(makers[0]), *tangle))
    assert codes(report.errors) == ["pki.path.limit"]


def test_authorities_that_share_one_key_end_at_the_limit() -> None:
    """Every signature among them is good, so few checks suffice for millions of paths."""
    shared = ec.generate_private_key(ec.SECP256R1())
    names = [f"Name {n}" for n in range(10)]
    tangle = [
        make(name, Made(root().certificate, shared, named(other)), private=shared)
        for name, other in itertools.permutations(names, 2)
    ]
    alice = leaf(Made(root().certificate, shared, named(names[0])))
    report = in_time(lambda: build(alice, *tangle))
    assert codes(report.errors) == ["pki.path.limit"]


def test_a_thousand_strange_certificates_cost_little() -> None:
    stranger = make("Stranger").certificate.der
    serial = stranger.index(b"\x02\x01\x07") + 2
    crowd = [
        Made(
            Certificate(
                stranger[:serial]
                + bytes((1 + n % 120,))
                + stranger[serial + 1 :][:-2]
                + n.to_bytes(2, "big")
            ),
            None,
            named("Stranger"),
        )
        for n in range(1000)
    ]
    assert in_time(lambda: build(leaf(middle()), *crowd, middle())).ok
    lost = in_time(lambda: build(leaf(make("Unknown")), *crowd))
    assert codes(lost.errors) == ["pki.path.none"]


def test_many_failing_paths_are_not_all_judged() -> None:
    expired = [make("Middle", root(), end=NOW - YEAR / 2, serial=n) for n in range(1, 60)]
    report = in_time(lambda: build(leaf(middle()), *expired), seconds=2)
    assert codes(report.errors) == ["pki.path.expired", "pki.path.limit"]


def test_a_huge_certificate_is_not_looked_at() -> None:
    blob = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(200_000))
    big = make("Middle", root(), more=[(blob, False)])
    assert codes(build(leaf(big), big).errors) == ["pki.path.none"]
    assert codes(build(leaf(middle(), more=[(blob, False)]), middle()).errors) == ["pki.path.none"]


def test_a_signature_algorithm_stated_in_two_ways_is_refused() -> None:
    der = leaf(middle()).certificate.der
    algorithm = ber.oid(oids.ECDSA_WITH_SHA256)
    at = der.rindex(algorithm)
    swapped = der[:at] + ber.oid(oids.ECDSA_WITH_SHA384) + der[at + len(algorithm) :]
    report = build(Made(Certificate(swapped), None, named("Alice")), middle())
    assert codes(report.errors) == ["pki.path.invalid"]
    assert "differ" in report.errors[0].text


def test_a_key_for_pss_makes_no_other_signatures() -> None:
    private = rsa.generate_private_key(65537, 2048)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    anchor = make("Root", private=private)
    spki = anchor.certificate.public_key_info
    only_pss = ber.sequence(
        ber.sequence(ber.oid(oids.RSASSA_PSS)), next(itertools.islice(ber.read(spki, ""), 1, 2)).raw
    )
    # an anchor's own signature is never looked at, so its key may be relabelled for this
    outer = list(ber.read(anchor.certificate.der, ""))
    parts = [only_pss if n.raw == spki else n.raw for n in outer[0]]
    relabelled = Certificate(ber.sequence(ber.sequence(*parts), *(n.raw for n in outer[1:])))
    anchors = [Made(relabelled, private, named("Root"))]
    report = build(leaf(anchor), anchors=anchors)
    assert codes(report.errors) == ["pki.path.invalid"]
    assert report.chain == ()
    assert build(leaf(anchor, padding_=pss), anchors=anchors).ok


# --- the validator behind


def test_whatever_the_validator_raises_becomes_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (
        RecursionError("deep"),
        AssertionError(),
        KeyError("x\x1b[2J"),
        ValueError("Bad."),
    ):

        async def fail(*_: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(engine, "async_validate_path", fail)
        report = build(leaf(middle()), middle())
        assert codes(report.errors) == ["pki.path.invalid"]
        text = report.errors[0].text
        assert text.isprintable()
        assert not text.endswith(".")
        assert text[:1].islower() or text.startswith("'")


def test_a_validator_that_would_wait_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(*_: Any) -> None:
        await asyncio.Event().wait()

    async def inside() -> PathReport:
        return build(leaf(middle()), middle())

    monkeypatch.setattr(engine, "async_validate_path", wait)
    report = asyncio.run(inside())
    assert codes(report.errors) == ["pki.path.invalid"]


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    url = [x509.UniformResourceIdentifier("http://127.0.0.1:9/ca.crl")]
    points = x509.CRLDistributionPoints([x509.DistributionPoint(url, None, None, None)])
    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(method, url[0])
            for method in (
                x509.oid.AuthorityInformationAccessOID.OCSP,
                x509.oid.AuthorityInformationAccessOID.CA_ISSUERS,
            )
        ]
    )
    alice = leaf(middle(), more=[(points, False), (access, False)])
    assert build(alice, middle()).ok
    assert codes(build(alice).errors) == ["pki.path.none"]


def test_every_finding_names_its_certificate() -> None:
    late = make("Late", root(), end=NOW - timedelta(days=1))
    plain = make("Plain", late, ca=False)
    report = build(leaf(plain, start=NOW + timedelta(days=1)), late, plain)
    assert {(f.code, f.where.partition(",")[0]) for f in report.errors} == {
        ("pki.path.not-yet-valid", "CN=Alice"),
        ("pki.path.expired", "CN=Late"),
        ("pki.path.invalid", "CN=Plain"),
    }


# --- against another implementation


def oracle(who: Made, others: Sequence[Made]) -> bool:
    agnostic = verification.Criticality.AGNOSTIC
    leaf_policy = verification.ExtensionPolicy.permit_all()
    issuer_policy = verification.ExtensionPolicy.webpki_defaults_ca().may_be_present(
        x509.ExtendedKeyUsage, agnostic, None
    )
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store([root().certificate.x509]))
        .time(NOW)
        .extension_policies(ca_policy=issuer_policy, ee_policy=leaf_policy)
        .build_client_verifier()
    )
    try:
        verifier.verify(who.certificate.x509, [m.certificate.x509 for m in others])
    except verification.VerificationError:
        return False
    return True


def constraints(permitted: str | None, excluded: str | None) -> list[Any]:
    trees = [[x509.RFC822Name(n)] if n else None for n in (permitted, excluded)]
    return [(x509.NameConstraints(*trees), True)]


UPPER: dict[str, dict[str, Any]] = {
    "good": {},
    "length 0": {"length": 0},
    "length 1": {"length": 1},
    "expired": {"end": NOW - timedelta(days=1)},
    "permits": {"more": constraints("example.com", None)},
    "permits others": {"more": constraints("example.net", None)},
    "permits below": {"more": constraints(".example.com", None)},
    "excludes": {"more": constraints(None, "example.com")},
    "excludes others": {"more": constraints(None, "example.net")},
}
LOWER: dict[str, dict[str, Any]] = {
    "good": {},
    "none": {},
    "not an authority": {"ca": False},
    "signs no certificates": {"cert_sign": False},
    "not yet valid": {"start": NOW + timedelta(days=1)},
    "permits": {"more": constraints("alice@example.com", None)},
    "excludes": {"more": constraints(None, "alice@example.com")},
}


@pytest.mark.parametrize("end", [NOW + YEAR, NOW - timedelta(days=1)], ids=["valid", "expired"])
def test_the_verdict_is_that_of_an_independent_implementation(end: datetime) -> None:
    verdicts = set()
    for (upper_name, upper), (lower_name, lower) in itertools.product(UPPER.items(), LOWER.items()):
        line = [make("Upper", root(), **upper)]
        if lower_name != "none":
            line.append(make("Lower", line[-1], **lower))
        alice = leaf(line[-1], end=end)
        verdict = build(alice, *line).ok
        assert verdict == oracle(alice, line), (upper_name, lower_name)
        verdicts.add(verdict)
    assert verdicts == ({True, False} if end > NOW else {False})


# --- vectors


def rows(keep: Callable[[dict[str, str]], bool]) -> list[Any]:
    manifest = VECTORS / "MANIFEST.csv"
    if not manifest.exists():
        reason = pytest.mark.skip(reason=f"no vectors at {VECTORS}")
        return [pytest.param({}, marks=reason, id="no-vectors")]
    with manifest.open(newline="", encoding="utf-8") as file:
        return [pytest.param(row, id=row["id"]) for row in csv.DictReader(file) if keep(row)]


def load(files: str) -> list[Certificate]:
    return [
        certificate
        for name in files.split(";")
        if name and not name.endswith(".crl")
        for certificate in read_certificates(VECTORS / name)
    ]


def judge(row: dict[str, str], certificate: Certificate, *, accept_weak: bool) -> PathReport:
    # where a row names no time, these certificates are valid from 2019 or 2022 on for decades
    at = datetime.fromisoformat(row["at"]) if row["at"] else NOW
    trust = TrustStore(tuple(load(row["trust"])))
    others = load(row["extra"])
    if "purpose-email" not in row["algorithms"]:
        return build_path(
            certificate, trust=trust, certificates=others, at=at, accept_weak=accept_weak
        )
    return validate(
        certificate, use="sign", trust=trust, certificates=others, at=at, accept_weak=accept_weak
    )


def holds(row: dict[str, str], certificate: Certificate) -> None:
    report = judge(row, certificate, accept_weak=False)
    text = [str(f) for f in report.findings]
    assert report.ok == (row["want"] == "ok"), text
    if row["want"] == "warn":
        old = judge(row, certificate, accept_weak=True)
        assert old.ok, text
        assert old.has("pki.path.weak-algorithm")
    expected = {"expired": ("pki.path.expired", "pki.path.not-yet-valid")}.get(row["why"])
    if expected:
        assert any(map(report.has, expected)), text


@pytest.mark.parametrize("row", rows(lambda row: row["operation"] == "path"))
def test_path_vectors(row: dict[str, str]) -> None:
    holds(row, load(row["file"])[0])


def _needs_no_crl(row: dict[str, str]) -> bool:
    return (
        row["set"] == "09a_pkits"
        and row["want"] != "any"
        and row["why"] != "revoked"
        # the key of an authority that may sign certificates but not the CRL
        and row["id"] != "09a/InvalidkeyUsageNotCriticalcRLSignFalseTest5/verify"
    )


@pytest.mark.parametrize("row", rows(_needs_no_crl))
def test_pkits(row: dict[str, str]) -> None:
    (name,) = [n for n in row["extra"].split(";") if n.endswith("EE.crt")]
    holds(row, load(name)[0])


@pytest.mark.parametrize("domain", ["xn--cntoso-9za.com", "xn--a.com", "xn--.com"])
def test_a_domain_that_is_no_a_label_is_called_that(domain: str) -> None:
    authority = CA(key="p256")
    name = x509.SubjectAlternativeName([x509.RFC822Name(f"alice@{domain}")])
    own = x509.Extension(name.oid, False, name)
    leaf = authority.issue("alice@contoso.com", key="p256", extensions=[own]).certificate
    report = build_path(leaf, trust=authority.trust, at=datetime.now(UTC))
    assert [one.code for one in report.errors] == ["pki.path.invalid"]
    assert "no A-label" in report.errors[0].text
    assert "codec" not in report.errors[0].text
