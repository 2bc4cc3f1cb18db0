"""What is said of a program is what that program was seen to do: the tables of the matrix."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from smime_graph.authority.family import family
from smime_graph.authority.recipes import ALICE
from smime_graph.harness.fitness import FitnessReport, FitnessUse, check_certificate
from smime_graph.harness.profiles import FitnessProfile
from smime_graph.pki.revocation import Revocation
from tests.conftest import NOW

_SIGN, _ENCRYPT = ("validate-sign", "sign", "verify"), ("validate-encrypt", "encrypt")
OPERATIONS: dict[FitnessUse, tuple[str, ...]] = {"sign": _SIGN, "encrypt": _ENCRYPT}

_ADDRESS = "the tools of NSS do not ask whose address it is; Thunderbird shows that it is not"
_ORDER = "of two issuers of one name it tries the first alone; in another order it is found"
_KNOWN = "it has seen the issuer before, with another certificate: it keeps what it sees"
_CRL = "CRLs were switched off for the table; by itself it asks for them"

# where a table says otherwise than the report: the variant, and why
EXCEPTIONS: dict[tuple[FitnessProfile, str], dict[str, str]] = {
    ("openssl", "openssl-3.0"): {
        "p256-key-encipherment": "openssl cms encrypts to any EC key, whatever its key usage",
        "cross-signed": _ORDER,
    },
    ("thunderbird", "nss-3.87"): {
        **dict.fromkeys(
            ("rsa-sign", "usage-non-repudiation", "rsa-key-agreement"),
            "cmsutil signs with a certificate that encrypts as well, or not at all",
        ),
        **dict.fromkeys(
            ("address-other", "address-utf8", "address-idn", "address-latin1", "names-utf8"),
            _ADDRESS,
        ),
        "not-yet-valid": "NSS takes a certificate a day before it is valid",
        "cross-signed": _ORDER,
    },
    ("gpgsm", "gpgsm-2.2"): {
        **dict.fromkeys(
            ("revoked", "revoked-on-hold", "revoked-superseded", "issuer-revoked"), _CRL
        ),
        **dict.fromkeys(("missing-intermediate", "cross-signed-only"), _KNOWN),
        "bridged": _ORDER,
    },
    ("bouncycastle", "bouncycastle-1.72"): {"cross-signed": _ORDER},
}


@pytest.fixture(scope="module")
def reports() -> dict[str, FitnessReport]:
    corp = family("corp", when=NOW, seed=7)
    revocation = Revocation(mode="soft", crls=tuple(corp.crls.values()))
    return {
        one.variant.id: check_certificate(
            one.identity.certificate,
            chain=one.identity.chain,
            trust=corp.trust,
            as_of=NOW,
            address=ALICE,
            revocation=revocation if one.variant.group == "revocation" else None,
        )
        for one in corp
    }


@pytest.mark.parametrize(("profile", "table"), EXCEPTIONS)
def test_what_a_program_was_seen_to_do_is_what_is_said_of_it(
    reports: dict[str, FitnessReport], profile: FitnessProfile, table: str
) -> None:
    path = files("smime_graph.harness").joinpath("observed", f"{table}.json")
    observed = json.loads(path.read_bytes())["variants"]
    asked, differing = 0, set()
    for variant, cells in observed.items():
        for use, operations in OPERATIONS.items():
            # "-": it was not asked, since the certificate cannot do so
            answers = [cells[one] for one in operations if cells.get(one, "-")[0] != "-"]
            verdict = reports[variant].verdict(profile, use)
            if not answers or verdict == "doubtful":
                continue
            asked += 1
            if (verdict == "fits") != all(one == "yes" for one in answers):
                differing.add(variant)
    assert differing == EXCEPTIONS[profile, table].keys()
    assert asked > 120
