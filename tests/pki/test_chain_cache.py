"""A chain that was found good is remembered, and nothing is accepted for it that was not before."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import CA, Certificate, Identity, TrustStore, sign, verify
from smime_graph.budget import Budget
from smime_graph.findings import codes
from smime_graph.pki import chain_cache, path
from smime_graph.pki.address import addresses
from smime_graph.pki.path import PathReport, SignatureChecks
from smime_graph.pki.usage import usage_findings
from smime_graph.pki.validate import validate
from smime_graph.x509.certificate import interned, remembered

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class World:
    """Two roots, an authority that both of them certify, for other times, and people below it."""

    roots: tuple[CA, CA]
    issuing: tuple[CA, CA]  # one name, one key
    weak: CA  # RSA-1024
    people: tuple[Identity, ...]

    @property
    def alice(self) -> Certificate:
        return self.people[0].certificate

    @property
    def middle(self) -> Certificate:
        return self.issuing[0].certificate

    @property
    def trust(self) -> TrustStore:
        return self.roots[0].trust


@functools.cache
def world() -> World:
    first = CA("First", key="p256", at=NOW - 200 * DAY, lifetime=400 * DAY)
    second = CA("Second", key="p256", at=NOW - 100 * DAY, lifetime=400 * DAY)
    key = ec.generate_private_key(ec.SECP256R1())
    issuing = (
        first.create_intermediate("Issuing", key=key, at=NOW - 200 * DAY, lifetime=300 * DAY),
        second.create_intermediate("Issuing", key=key, at=NOW - 50 * DAY, lifetime=300 * DAY),
    )
    weak = CA("Weak", key=rsa.generate_private_key(65537, 1024), at=NOW - 200 * DAY)
    times: dict[str, Any] = {"not_before": NOW - 150 * DAY, "not_after": NOW + 200 * DAY}
    people = (
        issuing[0].issue("alice@contoso.com", key="p256", **times),
        issuing[0].issue("bob@contoso.com", key="rsa-2048", use="sign"),
        first.issue("carol@contoso.com", key="p256", use="encrypt", **times),
        weak.issue("dave@contoso.com", key="p256"),
    )
    return World((first, second), issuing, weak, people)


@pytest.fixture(autouse=True)
def _nothing_is_known() -> None:
    chain_cache.clear()


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[Certificate]:
    """Whose paths were searched for and judged, instead of remembered."""
    found: list[Certificate] = []

    class Noting(path._Search):
        def __init__(self, certificate: Certificate, *arguments: Any) -> None:
            found.append(certificate)
            super().__init__(certificate, *arguments)

    monkeypatch.setattr(path, "_Search", Noting)
    return found


def judge(certificate: Certificate, *sent: Certificate, **options: Any) -> PathReport:
    options.setdefault("use", "sign")
    options.setdefault("trust", world().trust)
    options.setdefault("at", NOW)
    return validate(certificate, certificates=sent, **options)


def errors(report: PathReport) -> set[str]:
    return {item.code for item in report.errors}


def test_the_second_time_nothing_is_searched(searched: list[Certificate]) -> None:
    one = world()
    first = judge(one.alice, one.middle)
    # neither the objects nor the store are what it hangs on
    again = judge(
        Certificate(one.alice.der),
        Certificate(one.middle.der),
        trust=TrustStore((Certificate(one.trust.anchors[0].der),)),
        at=NOW + DAY,
        use="encrypt",
    )
    assert first.ok
    assert (again.ok, again.chain) == (True, first.chain)
    assert searched == [one.alice]


def test_another_store_does_not_believe_it(searched: list[Certificate]) -> None:
    one = world()
    assert judge(one.alice, one.middle).ok
    assert errors(judge(one.alice, one.middle, trust=one.roots[1].trust)) == {"pki.path.none"}
    assert errors(judge(one.alice, one.middle, trust=TrustStore(()))) == {"pki.trust.no-anchors"}
    # what was an anchor stands there to be used, and no longer to be believed
    helping = TrustStore(one.roots[1].trust.anchors, certificates=one.trust.anchors)
    assert errors(judge(one.alice, one.middle, trust=helping)) == {"pki.path.none"}
    assert len(searched) == 4


def test_a_helper_is_no_anchor_though_the_two_are_the_same_certificates() -> None:
    one = world()
    (root,) = one.trust.anchors
    both = TrustStore((root, one.middle))
    assert judge(one.alice, trust=both).ok
    other = CA("Other", key="p256", at=NOW).certificate
    assert judge(one.alice, trust=TrustStore((other,), certificates=(one.middle, root))).errors
    assert TrustStore((root,), certificates=(one.middle,)).digest != both.digest


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (NOW + 100 * DAY, "pki.path.expired"),  # the authority's certificate
        (NOW + 100 * DAY + timedelta(microseconds=1), "pki.path.expired"),
        (NOW + 300 * DAY, "pki.path.expired"),
        (NOW - 150 * DAY - timedelta(seconds=1), "pki.path.not-yet-valid"),
        (NOW - 300 * DAY, "pki.path.not-yet-valid"),
    ],
)
def test_at_a_time_outside_of_a_validity_it_is_refused(at: datetime, code: str) -> None:
    one = world()
    if at == NOW + 100 * DAY:
        at = one.middle.not_after + timedelta(seconds=1)
    assert judge(one.alice, one.middle).ok
    assert code in errors(judge(one.alice, one.middle, at=at))
    assert judge(one.alice, one.middle).ok


@pytest.mark.parametrize("end", ["not_before", "not_after"])
def test_both_ends_of_a_validity_are_within(searched: list[Certificate], end: str) -> None:
    one = world()
    at = max(c.not_before for c in (one.alice, one.middle)) if end == "not_before" else None
    at = at or min(c.not_after for c in (one.alice, one.middle))
    assert judge(one.alice, one.middle).ok
    assert judge(one.alice, one.middle, at=at).ok
    assert len(searched) == 1


def test_that_the_anchor_has_expired_is_said_though_it_was_good_before() -> None:
    """A warning that hangs on the time is not remembered, nor is its absence."""
    root = CA("Short", key="p256", at=NOW - 10 * DAY, lifetime=20 * DAY)
    person = root.issue("a@contoso.com", key="p256", not_after=NOW + 90 * DAY).certificate
    assert judge(person, trust=root.trust).findings == ()
    for at in (NOW + 50 * DAY, NOW + 50 * DAY, NOW):
        report = judge(person, trust=root.trust, at=at)
        assert report.ok
        assert report.has("pki.path.expired") is (at > NOW)


def test_without_its_intermediate_a_message_is_refused(searched: list[Certificate]) -> None:
    one = world()
    assert judge(one.alice, one.middle).ok
    assert errors(judge(one.alice)) == {"pki.path.none"}
    assert errors(judge(one.alice, one.issuing[1].certificate)) == {"pki.path.none"}
    assert len(searched) == 3


def test_the_limits_of_a_policy_hold() -> None:
    one = world()
    dave, bob = one.people[3].certificate, one.people[1].certificate
    weak = {"trust": one.weak.trust}
    assert judge(dave, accept_weak=True, **weak).ok
    assert errors(judge(dave, **weak)) == {"pki.path.weak-algorithm"}
    assert judge(dave, accept_weak=True, **weak).has("pki.path.weak-algorithm")
    assert judge(bob, one.middle).ok
    assert errors(judge(bob, one.middle, minimum_rsa_bits=3072)) == {"alg.key.weak"}


def test_use_and_address_are_judged_each_time(searched: list[Certificate]) -> None:
    one = world()
    bob = one.people[1].certificate
    assert judge(bob, one.middle, address="bob@contoso.com").ok
    assert errors(judge(bob, one.middle, use="encrypt")) == {"pki.usage.key-usage"}
    assert errors(judge(bob, one.middle, address="eve@contoso.com")) == {"pki.address.mismatch"}
    assert searched == [bob]


@pytest.mark.parametrize("limit", [0, 1])
def test_more_signatures_than_may_be_checked_are_refused(limit: int) -> None:
    one = world()
    assert judge(one.alice, one.middle, checks=SignatureChecks(limit=2)).ok
    report = judge(one.alice, one.middle, checks=SignatureChecks(limit=limit))
    assert errors(report) == {"pki.path.limit"}
    checks = SignatureChecks(limit=2)
    assert judge(one.alice, one.middle, checks=checks).ok
    assert errors(judge(one.people[2].certificate, checks=checks)) >= {"pki.path.limit"}


def test_a_message_pays_for_what_is_remembered() -> None:
    one = world()

    def left(*warm: Certificate) -> float:
        budget = Budget()
        assert judge(one.alice, one.middle, checks=SignatureChecks(budget=budget)).ok
        return budget.left

    first = left()
    assert left() == first
    poor = Budget()
    poor.spend("digests", poor.left - (Budget().left - first) + 1)
    report = judge(one.alice, one.middle, checks=SignatureChecks(budget=poor))
    assert errors(report) == {"pki.path.limit"}


def test_what_was_refused_is_not_remembered(searched: list[Certificate]) -> None:
    one = world()
    for _ in range(2):
        assert judge(one.alice).errors
        assert judge(one.alice, one.middle, at=NOW + 300 * DAY).errors
    assert len(searched) == 4
    assert judge(one.alice, one.middle).ok


def test_a_path_that_was_second_is_searched_again(searched: list[Certificate]) -> None:
    """What stood before it may be good at another time, and then that is the answer."""
    one = world()
    anchors = TrustStore(tuple(root.certificate for root in one.roots))
    sent = [ca.certificate for ca in one.issuing]
    late = one.middle.not_after + DAY
    for at, root in ((late, 1), (NOW, 0), (late, 1), (NOW, 0)):
        report = judge(one.alice, *sent, trust=anchors, at=at)
        assert report.ok
        assert report.chain[-1] == one.roots[root].certificate
    assert len(searched) == 3


def test_few_are_remembered_and_none_that_are_large(
    searched: list[Certificate], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = world()
    monkeypatch.setattr(chain_cache, "MAX_ENTRIES", 2)
    people = [one.issuing[0].issue(f"u{n}@contoso.com", key="p256").certificate for n in range(3)]
    for certificate in (*people, people[2], people[1], people[0]):
        assert judge(certificate, one.middle).ok
    assert searched == [*people, people[0]]
    assert len(chain_cache._good) == 2
    comment = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(40_000))
    large = one.issuing[0].issue(
        "large@contoso.com", key="p256", extensions=[x509.Extension(comment.oid, False, comment)]
    )
    for _ in range(2):
        assert judge(large.certificate, one.middle).ok
    assert searched[-2:] == [large.certificate] * 2


def test_many_threads_hear_the_same() -> None:
    one = world()
    cases: list[dict[str, Any]] = [
        {},
        {"at": NOW + 300 * DAY},
        {"trust": one.roots[1].trust},
        {"use": "encrypt"},
    ]
    expected = [judge(one.alice, one.middle, **case) for case in cases]

    def work(number: int) -> bool:
        if number % 7 == 0:
            chain_cache.clear()
        index = number % len(cases)
        return judge(one.alice, one.middle, **cases[index]) == expected[index]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))


def test_a_message_after_another_of_its_signer(searched: list[Certificate]) -> None:
    one = world()
    alice = one.people[0]
    raw = b"From: alice@contoso.com\r\nSubject: %d\r\n\r\nHello.\r\n"
    for number in range(3):
        signed = sign(raw % number, signer=alice, at=NOW)
        assert verify(signed, trust=one.trust, at=NOW).signer.trusted
    assert searched == [one.alice]


def test_certificates_of_the_same_octets_are_read_once() -> None:
    one = world()
    assert interned(bytes(bytearray(one.alice.der))) is interned(one.alice.der)
    assert interned(one.alice.der) == one.alice
    assert interned(one.alice.der) is not interned(one.middle.der)


# --- against the engine that remembers nothing ----------------------------------------------------


@dataclass(frozen=True)
class Case:
    person: int
    sent: tuple[int, ...]
    anchors: tuple[int, ...]
    helpers: tuple[int, ...]
    at: datetime
    use: Literal["sign", "encrypt"]
    minimum_rsa_bits: int
    accept_weak: bool
    address: str | None
    limit: int
    units: float
    twice: bool

    def run(self) -> tuple[object, ...]:
        """All that can be seen of one message, with one signer or with one beside them."""
        everything = certificates()
        budget = Budget()
        budget.spend("digests", budget.left - self.units)
        checks = SignatureChecks(self.limit, budget)
        trust = TrustStore(
            tuple(everything[n] for n in self.anchors),
            certificates=tuple(everything[n] for n in self.helpers),
        )
        sent = [everything[n] for n in self.sent]
        seen: list[object] = []
        for person in (self.person, 0) if self.twice else (self.person,):
            report = validate(
                world().people[person].certificate,
                use=self.use,
                trust=trust,
                certificates=sent,
                at=self.at,
                address=self.address,
                minimum_rsa_bits=self.minimum_rsa_bits,
                accept_weak=self.accept_weak,
                checks=checks,
            )
            spent = {work: round(units, 6) for work, units in budget.spent.items() if units}
            seen += [report.findings, report.chain, round(budget.left, 6), spent, checks._left]
        return tuple(seen)


@functools.cache
def certificates() -> tuple[Certificate, ...]:
    one = world()
    return (
        *(ca.certificate for ca in one.roots),
        *(ca.certificate for ca in one.issuing),
        one.weak.certificate,
        *(person.certificate for person in one.people),
    )


def some(*numbers: int, most: int = 3) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.sampled_from(numbers), max_size=most).map(tuple)


@functools.cache
def times() -> list[datetime]:
    ends = {t for one in certificates() for t in (one.not_before, one.not_after)}
    second = timedelta(seconds=1)
    return [NOW, *sorted(ends | {t - second for t in ends} | {t + second for t in ends})]


def cases() -> st.SearchStrategy[Case]:
    # few values that differ in one thing, so that what is remembered is asked for again
    return st.builds(
        Case,
        person=st.sampled_from([0, 0, 0, 1, 2, 3]),
        sent=st.one_of(st.sampled_from([(2,), (2, 3), (3, 2)]), some(0, 1, 2, 3, 4, 5)),
        anchors=st.one_of(st.sampled_from([(0,), (0, 1), (0, 1, 4)]), some(0, 1, 2, 4, 5, 8)),
        helpers=st.one_of(st.just(()), some(0, 1, 2, 3)),
        at=st.one_of(st.just(NOW), st.sampled_from(times())),
        use=st.sampled_from(["sign", "encrypt"]),
        minimum_rsa_bits=st.sampled_from([2048, 3072]),
        accept_weak=st.booleans(),
        address=st.sampled_from([None, "alice@contoso.com"]),
        limit=st.sampled_from([100, 100, 100, 2, 1, 0]),
        units=st.sampled_from([400_000.0, 400_000.0, 8_000.0, 4_000.0, 3_000.0, 500.0]),
        twice=st.booleans(),
    )


def without_memory(case: Case) -> tuple[object, ...]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(chain_cache, "recall", lambda key, at: None)
        return case.run()


def test_it_says_what_the_engine_says_that_remembers_nothing() -> None:
    hits = 0
    real = chain_cache.recall

    @settings(max_examples=60, deadline=None)
    @given(st.lists(cases(), min_size=2, max_size=8))
    def each(found: Sequence[Case]) -> None:
        nonlocal hits
        for case in found:
            expected = without_memory(case)
            # the second time whatever can be remembered is
            assert case.run() == case.run() == expected

    def counting(key: chain_cache.Key, at: datetime) -> chain_cache.GoodChain | None:
        nonlocal hits
        good = real(key, at)
        hits += good is not None
        return good

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(chain_cache, "recall", counting)
        each()
    assert hits >= 10


# --- what is remembered of one certificate --------------------------------------------------------


def test_what_is_remembered_of_a_certificate_is_of_its_octets_alone() -> None:
    asked: list[Certificate] = []

    @remembered
    def function(certificate: Certificate, *, use: str) -> str:
        asked.append(certificate)
        return f"{certificate.serial_number} {use}"

    one = world()
    for certificate in (one.alice, Certificate(one.alice.der), one.middle):
        assert function(certificate, use="a") == f"{certificate.serial_number} a"
    assert function(one.alice, use="b").endswith(" b")
    assert asked == [one.alice, one.middle, one.alice]
    # it has the same octets, and another key
    completed = one.alice.with_parameters(b"\x30\x00")
    assert completed == one.alice
    for _ in range(2):
        function(completed, use="a")
    assert asked[3:] == [completed] * 2
    comment = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(9000))
    extension = x509.Extension(comment.oid, False, comment)
    large = one.roots[0].issue("l@contoso.com", key="p256", extensions=[extension]).certificate
    for _ in range(2):
        function(large, use="a")
    assert asked[5:] == [large] * 2
    assert interned(large.der) is not interned(large.der)


def test_the_second_message_to_somebody_asks_nothing_of_the_certificate() -> None:
    certificate = world().people[1].certificate
    first = usage_findings(certificate, use="sign"), addresses(certificate)
    again = Certificate(certificate.der)
    assert (usage_findings(again, use="sign"), addresses(again)) == first
    assert "x509" not in vars(again)
    assert codes(usage_findings(again, use="sign", minimum_rsa_bits=3072)) == ["alg.key.weak"]
    assert codes(usage_findings(again, use="encrypt")) == ["pki.usage.key-usage"]
