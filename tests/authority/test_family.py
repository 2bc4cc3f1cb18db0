"""The catalogue of variants, issued: as the standards say, the same each time, in every form."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from smime_graph import oids
from smime_graph.authority.family import Family, family
from smime_graph.authority.recipes import ALICE, Leaf
from smime_graph.authority.variants import AUTHORITIES, VARIANTS, Variant
from smime_graph.errors import UsageError
from smime_graph.findings import Severity
from smime_graph.pki.identity import Identity
from smime_graph.pki.keyfiles.read import read_key_file
from smime_graph.pki.revocation import Revocation, revocation_findings
from smime_graph.pki.usage import Use
from smime_graph.pki.validate import validate

SEED = 7


@pytest.fixture(scope="module")
def corp() -> Family:
    return family("corp", seed=SEED)


@pytest.fixture(scope="module")
def written(corp: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the family; nobody writes into it."""
    folder = tmp_path_factory.mktemp("family")
    corp.write(folder)
    return folder


@pytest.mark.parametrize("use", ["sign", "encrypt"])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.id)
def test_what_the_standards_say_is_what_is_found(corp: Family, variant: Variant, use: Use) -> None:
    identity = corp[variant.id].identity
    report = validate(
        identity.certificate,
        use=use,
        trust=corp.trust,
        certificates=identity.chain,
        at=corp.at,
        address=ALICE,
    )
    wanted = variant.sign if use == "sign" else variant.encrypt
    assert {f.code for f in report.findings if f.severity == Severity.ERROR} == set(wanted)


def test_there_are_enough_and_each_says_what_it_breaks() -> None:
    assert len(VARIANTS) >= 90
    assert len({v.id for v in VARIANTS}) == len(VARIANTS)
    for variant in VARIANTS:
        breaks = not variant.wrong.startswith("nothing")
        # what breaks no rule is fit for one use at least
        assert breaks or not (variant.sign and variant.encrypt), variant
        assert variant.rule == "-" or variant.rule.split("-")[0] in {"SBR", "8550", "5280", "9598"}


@pytest.mark.parametrize(
    "variant", [v for v in VARIANTS if v.group == "revocation"], ids=lambda v: v.id
)
def test_the_crls_say_who_was_revoked(corp: Family, variant: Variant) -> None:
    identity = corp[variant.id].identity
    chain = (identity.certificate, *identity.chain, *corp.trust.anchors)
    given = Revocation(mode="hard", crls=tuple(corp.crls.values()))
    found = revocation_findings(
        (identity.certificate, *identity.chain, corp.authorities["root"]),
        revocation=given,
        at=corp.at,
        certificates=chain,
    )
    codes = {f.code for f in found if f.severity == Severity.ERROR}
    assert codes == set(variant.revocation)


def test_with_a_seed_it_is_the_same_and_with_another_it_is_not(corp: Family) -> None:
    again, other = family("corp", seed=SEED), family("corp", seed=SEED + 1, only="rsa-*")
    for variant in VARIANTS:
        if "ml-dsa" in variant.recipe.issuer:
            continue  # its signatures are random
        ours, theirs = corp[variant.id].identity, again[variant.id].identity
        assert ours.certificate == theirs.certificate, variant.id
    assert again.crls.keys() == corp.crls.keys()
    assert other["rsa-2048"].identity.certificate != corp["rsa-2048"].identity.certificate
    assert {m.variant.id for m in other} == {v.id for v in VARIANTS if v.id.startswith("rsa-")}


def test_without_a_seed_it_is_of_now() -> None:
    made = family(only="rsa-2048")["rsa-2048"].identity.certificate
    assert made.not_before < datetime.now(UTC) < made.not_after
    assert (
        made.serial_number != family(only="rsa-2048")["rsa-2048"].identity.certificate.serial_number
    )
    later = datetime(2040, 5, 6, tzinfo=UTC)
    made = family(only="rsa-2048", when=later)["rsa-2048"].identity.certificate
    assert made.not_before == later - timedelta(days=30)


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(UsageError, match="no variant fits"):
        family(only="nothing-like-it")
    with pytest.raises(UsageError, match="no time zone"):
        family(when=datetime(2026, 1, 1))  # noqa: DTZ001


def test_every_authority_is_used() -> None:
    used = {v.recipe.issuer for v in VARIANTS} | {i for v in VARIANTS for i in v.recipe.sends or ()}
    used |= {a.parent for a in AUTHORITIES.values() if a.parent}
    assert set(AUTHORITIES) <= used


def test_it_is_written_in_every_form_and_read_again(corp: Family, tmp_path: Path) -> None:
    paths = corp.write(tmp_path / "out")
    index = json.loads((tmp_path / "out" / "index.json").read_bytes())
    assert [v["id"] for v in index["variants"]] == [v.id for v in VARIANTS]
    assert paths[-1].name == "index.json"
    for entry in index["variants"]:
        certificate = corp[entry["id"]].identity.certificate
        assert entry["sha256"] == certificate.sha256
        for name in entry["files"]:
            path = tmp_path / "out" / name
            assert path in paths
            if name.endswith(".key"):
                assert path.stat().st_mode & 0o777 == 0o600
                continue
            found = read_key_file(path, passwords=["test"]).certificates
            assert certificate in found, name
    whole = Identity.load(tmp_path / "out" / "p256.p12", password="test")
    assert whole.certificate == corp["p256"].identity.certificate
    with pytest.raises(UsageError, match="not empty"):
        corp.write(tmp_path / "out")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize(
    ("variant", "text"),
    [
        ("rsa-2048", "OK"),
        ("expired", "certificate has expired"),
        ("issuer-not-ca", "invalid CA certificate"),
        ("names-elsewhere", "permitted subtree violation"),
        ("bad-signature", "certificate signature failure"),
        ("path-too-long", "path length constraint exceeded"),
        ("critical-unknown", "unhandled critical extension"),
        ("revoked", "certificate revoked"),
        ("crl-stale", "CRL has expired"),
        ("crl-forged", "CRL signature failure"),
        ("eku-server", "unsuitable certificate purpose"),
    ],
)
def test_openssl_sees_the_same(
    corp: Family, written: Path, tmp_path: Path, variant: str, text: str
) -> None:
    crls = tmp_path / "crls.pem"
    crls.write_bytes(
        b"".join(
            x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM) for crl in corp.crls.values()
        )
    )
    ask = (
        ["-crl_check_all", "-CRLfile", str(crls)]
        if variant in {"revoked"} or "crl-" in variant
        else []
    )
    ran = subprocess.run(
        [
            "openssl",
            "verify",
            "-attime",
            str(int(corp.at.timestamp())),
            "-purpose",
            "smimesign",
            "-CAfile",
            str(written / "trust.pem"),
            "-untrusted",
            str(written / f"{variant}.pem"),
            *ask,
            str(written / f"{variant}.pem"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert text in ran.stdout + ran.stderr
    assert (ran.returncode == 0) == (text == "OK")


def test_variants_of_ones_own_are_issued_by_the_same_authorities(corp: Family) -> None:
    own = Variant("mine", "mine", "two purposes", "-", Leaf(eku=(oids.SERVER_AUTH,)))
    made = family("corp", seed=SEED, variants=[own])
    assert [one.variant.id for one in made] == ["mine"]
    assert made.trust == corp.trust
    found = made["mine"].identity.certificate.extensions
    assert [
        one.dotted_string for one in found.get_extension_for_class(x509.ExtendedKeyUsage).value
    ] == [oids.SERVER_AUTH]


def test_nobody_has_the_key_of_another(corp: Family) -> None:
    """Of people one has all the leaves; a cross-certificate is of the authority that it names."""
    owners: dict[bytes, set[str]] = {}
    for name, certificate in corp.authorities.items():
        owners.setdefault(certificate.whole_key_info, set()).add(AUTHORITIES[name].key_of or name)
    for member in corp:
        owners.setdefault(member.identity.certificate.whole_key_info, set()).add("a person")
    assert [names for names in owners.values() if len(names) > 1] == []
