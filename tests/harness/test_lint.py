"""pkilint beside our rules: they say the same of every variant, but where a reason stands here."""

from __future__ import annotations

import sys

import pytest

from smime_graph.authority.family import Family, family
from smime_graph.authority.variants import VARIANTS
from smime_graph.errors import UsageError
from smime_graph.harness.fitness import RULES
from smime_graph.harness.lint import _validators, compare
from tests.conftest import NOW

# what only pkilint says, what only we say, and why
DISAGREEMENTS: dict[str, tuple[set[str], set[str], str]] = {
    "p521": (
        {"cabf.smime.prohibited_spki_algorithm_encoding"},
        set(),
        "pkilint 0.13 knows no P-521, which S/MIME BR 6.1.5 and 7.1.3.1.2 list",
    ),
    "chain-p521": (
        {"cabf.smime.prohibited_signature_algorithm_encoding"},
        set(),
        "as above: ECDSA with SHA-512, which S/MIME BR 7.1.3.2.2 lists",
    ),
    "eku-time-stamping": (
        {"pkix.extended_key_usage_extension_with_timestamping_not_critical"},
        set(),
        "a rule on timestamps (RFC 3161 2.3), and none on mail",
    ),
    "address-latin1": (
        {"base.unhandled_exception"},
        {"SBR-7.1.4.2.1-2", "SBR-7.1.4.2.2-a"},
        "pkilint looks for the subjectAltName that it could not read",
    ),
    "distribution-point-ldap": (
        {"cabf.internal_domain_name"},
        set(),
        "the catalogue's LDAP server is of a domain for tests; which are public is not asked here",
    ),
    "is-ca": (
        {"pkix.ca_certificate_keycertsign_keyusage_not_set"},
        set(),
        "held to what is asked of authorities as well; here it is judged as the person's it is",
    ),
    "critical-unknown": (
        set(),
        {"5280-4.2"},
        "a linter need not reject what it does not know; who reads mail must (RFC 5280 4.2)",
    ),
    "version-1": (
        {"cabf.certificate_extensions_missing", "cabf.smime.common_name_value_unknown_source"},
        {
            *("SBR-7.1.2.3-a1", "SBR-7.1.2.3-b1", "SBR-7.1.2.3-c1", "SBR-7.1.2.3-e1"),
            *("SBR-7.1.2.3-f1", "SBR-7.1.2.3-h", "SBR-7.1.4.2.1-1"),
        },
        "pkilint says once that there are no extensions, where each that is wanted is said here",
    ),
}


@pytest.fixture(scope="module")
def corp() -> Family:
    # the host of CRLs in a public domain: pkilint refuses others
    return family("corp", when=NOW, seed=7, url="http://pki.contoso.com")


def test_they_disagree_where_a_reason_is_known_and_nowhere_else(corp: Family) -> None:
    differing, agreed = {}, set()
    for variant in VARIANTS:
        identity = corp[variant.id].identity
        found = compare(identity.certificate, as_of=NOW, chain=identity.chain)
        assert found is not None
        if variant.id == "trailing-field":
            assert found.fault == "UnicodeDecodeError"  # of its reader, over what is no certificate
            continue
        assert found.fault is None
        agreed |= set(found.agreed)
        there = {one.code for one in found.only_there}
        if there or found.only_here:
            differing[variant.id] = (there, set(found.only_here))
    assert differing == {name: known[:2] for name, known in DISAGREEMENTS.items()}
    assert all(reason for _, _, reason in DISAGREEMENTS.values())
    assert len(agreed) >= 25  # they say the same of something


def test_every_code_that_a_rule_names_is_one_of_pkilint_s() -> None:
    container, _ = _validators("SPONSORED", "STRICT")
    legacy, _ = _validators("MAILBOX", "LEGACY")
    known: set[str] = set()
    pending = [container, legacy]
    while pending:
        one = pending.pop()
        known |= {found.code for found in getattr(one, "validations", None) or ()}
        pending += getattr(one, "validators", None) or ()
    assert len(known) > 100
    assert {code for rule in RULES for code in rule.codes} - known == set()


def test_an_authority_is_not_for_pkilint(corp: Family) -> None:
    assert compare(corp.authorities["issuing"], as_of=NOW) is None


def test_without_pkilint_it_says_what_to_install(
    corp: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    _validators.cache_clear()
    monkeypatch.setitem(sys.modules, "pkilint", None)
    with pytest.raises(UsageError, match="not installed") as refused:
        compare(corp["rsa-2048"].identity.certificate, as_of=NOW)
    assert "smime-graph[lint]" in (refused.value.hint or "")


def test_the_comparison_as_json_and_as_text(corp: Family) -> None:
    found = compare(corp["p521"].identity.certificate, as_of=NOW)
    assert found is not None
    shown = found.to_json()
    assert shown["judged_as"] == "mailbox, strict"
    (only,) = shown["only_there"]
    assert only["rules"] == ["SBR-6.1.5-2", "SBR-7.1.3.1-1"]
    assert any(line.startswith("  only pkilint: subjectPublicKeyInfo") for line in found.lines())
