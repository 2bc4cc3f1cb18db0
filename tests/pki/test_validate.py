"""Whether certificates are fit for mail: the variants of a test authority, one by one."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import (
    ec,
    ed448,
    ed25519,
    mldsa,
    mlkem,
    padding,
    rsa,
    x448,
    x25519,
)
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose
from cryptography.x509.oid import NameOID
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from smime_graph import oids
from smime_graph.asn1 import ber
from smime_graph.errors import MalformedMessage, UsageError
from smime_graph.findings import codes
from smime_graph.pki.path import PathReport, SignatureChecks
from smime_graph.pki.trust import TrustStore
from smime_graph.pki.usage import Use
from smime_graph.pki.validate import validate
from smime_graph.x509.certificate import Certificate

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)
ALICE = "alice@example.com"


@functools.cache
def key(kind: str, name: str = "") -> Any:
    """One key for each kind and name: RSA keys take 70 ms each."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    return {
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "brainpool": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "ed448": ed448.Ed448PrivateKey.generate,
        "x25519": x25519.X25519PrivateKey.generate,
        "x448": x448.X448PrivateKey.generate,
        "mldsa65": mldsa.MLDSA65PrivateKey.generate,
        "mlkem768": mlkem.MLKEM768PrivateKey.generate,
    }[kind]()


def usage(*bits: str) -> x509.KeyUsage:
    every = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment"]
    every += ["key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{bit: bit in bits for bit in every})


def person(name: str = "Alice", email: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else []
    if email is not None:
        parts.append(x509.NameAttribute(NameOID.EMAIL_ADDRESS, email))
    return x509.Name(parts)


def san(*addresses: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.RFC822Name(a) for a in addresses])


def utf8_san(address: str) -> x509.SubjectAlternativeName:
    value = ber.tlv(ber.UTF8_STRING, address.encode())
    return x509.SubjectAlternativeName(
        [x509.OtherName(x509.ObjectIdentifier(oids.SMTP_UTF8_MAILBOX), value)]
    )


def mail_tree(*names: str) -> list[x509.GeneralName]:
    return [x509.RFC822Name(name) for name in names]


MAIL = x509.ExtendedKeyUsage([Purpose.EMAIL_PROTECTION])


@dataclass(frozen=True)
class Made:
    certificate: Certificate
    key: Any
    subject: x509.Name


@dataclass(frozen=True)
class Plan:
    """A certificate to make; what is not said is as a good authority would have it."""

    subject: x509.Name = field(default_factory=person)
    kind: str = "rsa2048"
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = ()
    start: datetime = NOW - YEAR
    end: datetime = NOW + YEAR
    pss: bool = False
    serial: int = 1000

    def make(self, issuer: Made | None = None, *, key_name: str = "") -> Made:
        private = key(self.kind, key_name)
        by = issuer or Made(None, private, self.subject)  # type: ignore[arg-type]
        builder = x509.CertificateBuilder(
            by.subject,
            self.subject,
            private.public_key(),
            self.serial,
            self.start.replace(tzinfo=None),
            self.end.replace(tzinfo=None),
        )
        for extension, critical in self.extensions:
            builder = builder.add_extension(extension, critical)
        is_pure = isinstance(
            by.key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | mldsa.MLDSA65PrivateKey
        )
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if self.pss else None
        made = builder.sign(by.key, None if is_pure else hashes.SHA256(), rsa_padding=pss)
        return Made(
            Certificate(made.public_bytes(serialization.Encoding.DER)), private, self.subject
        )


CA_USAGE = (usage("key_cert_sign", "crl_sign"), True)


def authority(
    name: str = "Issuing CA",
    kind: str = "rsa2048",
    *,
    more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    length: int | None = None,
    key_usage: tuple[x509.ExtensionType, bool] = CA_USAGE,
    is_ca: bool = True,
    **plan: Any,
) -> Plan:
    constraints = (x509.BasicConstraints(ca=is_ca, path_length=length if is_ca else None), True)
    return Plan(person(name), kind, (constraints, key_usage, *more), **plan)


@functools.cache
def root(kind: str = "rsa2048", name: str = "Root") -> Made:
    return authority(name, kind).make(key_name=name)


@functools.cache
def issuing(kind: str = "rsa2048") -> Made:
    return authority(kind=kind).make(root(kind), key_name="issuing")


def mailer(*replacing: x509.ExtensionType, kind: str = "rsa2048", **plan: Any) -> Plan:
    """A good certificate of Alice's; an extension given stands in for the usual one of its kind."""
    both = "key_encipherment" if kind.startswith("rsa") else "key_agreement"
    extensions: dict[type, tuple[x509.ExtensionType, bool]] = {
        x509.KeyUsage: (usage("digital_signature", both), True),
        x509.ExtendedKeyUsage: (MAIL, False),
        x509.SubjectAlternativeName: (san(ALICE), False),
    }
    for extension in replacing:
        extensions[type(extension)] = (extension, isinstance(extension, x509.KeyUsage))
    return Plan(kind=kind, extensions=tuple(extensions.values()), **plan)


def without(plan: Plan, *kinds: type) -> Plan:
    kept = tuple(e for e in plan.extensions if not isinstance(e[0], kinds))
    return Plan(plan.subject, plan.kind, kept, plan.start, plan.end, plan.pss, plan.serial)


def weakened(made: Made, by: Made, oid: str, digest: hashes.HashAlgorithm) -> Made:
    """The same certificate signed with a digest that cryptography does not issue with."""
    tbs = next(iter(ber.read(made.certificate.der, "Certificate"))).raw
    tbs = tbs.replace(ber.oid(oids.SHA256_WITH_RSA), ber.oid(oid))
    signature = by.key.sign(tbs, padding.PKCS1v15(), digest)
    algorithm = ber.sequence(ber.oid(oid), ber.null())
    der = ber.sequence(tbs, algorithm, ber.bit_string(signature))
    return Made(Certificate(der), made.key, made.subject)


def judge(
    leaf: Made,
    *between: Made,
    use: Use = "sign",
    anchor: Made | None = None,
    at: datetime = NOW,
    address: str | None = ALICE,
    **options: Any,
) -> PathReport:
    trust = TrustStore(((anchor or root()).certificate,))
    return validate(
        leaf.certificate,
        use=use,
        trust=trust,
        certificates=[made.certificate for made in between],
        at=at,
        address=address,
        **options,
    )


def errors(report: PathReport) -> set[str]:
    return {finding.code for finding in report.errors}


KU, KEY, EKU = "pki.usage.key-usage", "pki.usage.key-type", "pki.usage.extended-key-usage"

# Name, certificate, the kind of the authority's keys, errors as a signer, errors as a recipient.
VARIANTS: list[tuple[str, Plan, str, set[str], set[str]]] = [
    ("rsa-dual", mailer(), "rsa2048", set(), set()),
    ("rsa-sign", mailer(usage("digital_signature")), "rsa2048", set(), {KU}),
    ("rsa-enc", mailer(usage("key_encipherment")), "rsa2048", {KU}, set()),
    ("rsa3072", mailer(kind="rsa3072"), "rsa2048", set(), set()),
    ("rsa-nr-only", mailer(usage("content_commitment")), "rsa2048", set(), {KU}),
    ("ku-certsign-only", mailer(usage("key_cert_sign")), "rsa2048", {KU}, {KU}),
    ("ku-absent", without(mailer(), x509.KeyUsage), "rsa2048", set(), set()),
    ("ku-dataenc-only", mailer(usage("data_encipherment")), "rsa2048", {KU}, {KU}),
    ("p256-dual", mailer(kind="p256"), "rsa2048", set(), set()),
    ("p256-sign", mailer(usage("digital_signature"), kind="p256"), "rsa2048", set(), {KU}),
    ("p256-enc", mailer(usage("key_agreement"), kind="p256"), "rsa2048", {KU}, set()),
    (
        "p256-encipher-only",
        mailer(usage("key_agreement", "encipher_only"), kind="p256"),
        "rsa2048",
        {KU},
        {KU},
    ),
    ("p256-keyenc", mailer(usage("key_encipherment"), kind="p256"), "rsa2048", {KU}, {KU}),
    ("brainpool", mailer(kind="brainpool"), "rsa2048", set(), set()),
    ("ed25519", mailer(usage("digital_signature"), kind="ed25519"), "rsa2048", set(), {KEY}),
    ("ed448", mailer(usage("digital_signature"), kind="ed448"), "rsa2048", set(), {KEY}),
    ("x25519", mailer(usage("key_agreement"), kind="x25519"), "rsa2048", {KEY}, set()),
    ("x448", mailer(usage("key_agreement"), kind="x448"), "rsa2048", {KEY}, set()),
    ("mldsa65", mailer(usage("digital_signature"), kind="mldsa65"), "rsa2048", set(), {KEY}),
    ("mlkem768", mailer(usage("key_encipherment"), kind="mlkem768"), "rsa2048", {KEY}, set()),
    ("pss-signed", mailer(pss=True), "rsa2048", set(), set()),
    ("rsa1024", mailer(kind="rsa1024"), "rsa2048", {"alg.key.weak"}, {"alg.key.weak"}),
    (
        "expired",
        mailer(end=NOW - timedelta(seconds=1)),
        "rsa2048",
        {"pki.path.expired"},
        {"pki.path.expired"},
    ),
    (
        "not-yet",
        mailer(start=NOW + timedelta(seconds=1)),
        "rsa2048",
        {"pki.path.not-yet-valid"},
        {"pki.path.not-yet-valid"},
    ),
    ("eku-none", without(mailer(), x509.ExtendedKeyUsage), "rsa2048", set(), set()),
    ("eku-server", mailer(x509.ExtendedKeyUsage([Purpose.SERVER_AUTH])), "rsa2048", {EKU}, {EKU}),
    (
        "eku-any",
        mailer(x509.ExtendedKeyUsage([Purpose.ANY_EXTENDED_KEY_USAGE])),
        "rsa2048",
        set(),
        set(),
    ),
    (
        "eku-mail+client",
        mailer(x509.ExtendedKeyUsage([Purpose.CLIENT_AUTH, Purpose.EMAIL_PROTECTION])),
        "rsa2048",
        set(),
        set(),
    ),
    ("eku-code", mailer(x509.ExtendedKeyUsage([Purpose.CODE_SIGNING])), "rsa2048", {EKU}, {EKU}),
    (
        "san-none+DNemail",
        without(mailer(subject=person(email=ALICE)), x509.SubjectAlternativeName),
        "rsa2048",
        set(),
        set(),
    ),
    (
        "other-address",
        mailer(san("bob@example.com")),
        "rsa2048",
        {"pki.address.mismatch"},
        {"pki.address.mismatch"},
    ),
    ("upper-address", mailer(san("ALICE@EXAMPLE.COM")), "rsa2048", set(), set()),
    ("two-addresses", mailer(san("bob@example.com", ALICE)), "rsa2048", set(), set()),
    (
        "smtputf8",
        mailer(utf8_san("алиса@example.com")),
        "rsa2048",
        {"pki.address.mismatch"},
        {"pki.address.mismatch"},
    ),
    ("empty-subject", mailer(subject=person("")), "rsa2048", set(), set()),
    ("chain-p256", mailer(kind="p256"), "p256", set(), set()),
    ("chain-p384", mailer(kind="p384"), "p384", set(), set()),
    ("chain-ed25519", mailer(usage("digital_signature"), kind="ed25519"), "ed25519", set(), {KEY}),
    ("chain-ed448", mailer(usage("digital_signature"), kind="ed448"), "ed448", set(), {KEY}),
    ("chain-mldsa65", mailer(usage("digital_signature"), kind="mldsa65"), "mldsa65", set(), {KEY}),
    ("chain-brainpool", mailer(kind="brainpool"), "brainpool", set(), set()),
    (
        "critical-unknown",
        Plan(
            extensions=(
                *mailer().extensions,
                (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True),
            )
        ),
        "rsa2048",
        {"pki.certificate.critical-extension"},
        {"pki.certificate.critical-extension"},
    ),
]


@pytest.mark.parametrize(
    ("plan", "authority_kind", "signing", "receiving"),
    [v[1:] for v in VARIANTS],
    ids=[v[0] for v in VARIANTS],
)
def test_each_variant_has_exactly_its_errors(
    plan: Plan, authority_kind: str, signing: set[str], receiving: set[str]
) -> None:
    middle, top = issuing(authority_kind), root(authority_kind)
    leaf = plan.make(middle)
    for use, wanted in (("sign", signing), ("encrypt", receiving)):
        report = judge(leaf, middle, use=use, anchor=top)  # type: ignore[arg-type]
        assert errors(report) == wanted, [str(f) for f in report.findings]
        assert report.chain == (leaf.certificate, middle.certificate, top.certificate)


@pytest.mark.parametrize(
    ("oid", "digest"), [(oids.SHA1_WITH_RSA, hashes.SHA1()), (oids.MD5_WITH_RSA, hashes.MD5())]
)
def test_a_weak_digest_is_an_error_and_for_old_mail_a_warning(
    oid: str, digest: hashes.HashAlgorithm
) -> None:
    leaf = weakened(mailer().make(issuing()), issuing(), oid, digest)
    assert errors(judge(leaf, issuing())) == {"pki.path.weak-algorithm"}
    old = judge(leaf, issuing(), accept_weak=True)
    assert old.ok
    assert old.has("pki.path.weak-algorithm")


def test_an_anchor_signed_with_sha1_is_as_good_as_any() -> None:
    anchor = weakened(root(), root(), oids.SHA1_WITH_RSA, hashes.SHA1())
    report = judge(mailer().make(issuing()), issuing(), anchor=anchor)
    assert report.findings == ()


def test_old_mail_may_have_keys_of_1024_bits_but_never_shorter() -> None:
    old = judge(mailer(kind="rsa1024").make(issuing()), issuing(), accept_weak=True)
    assert old.ok
    assert codes(old.findings) == ["alg.key.weak"]
    # verifying is 4.3, encrypting 4.4, the warning 6; 4.1 is about making keys
    assert old.findings[0].source == "RFC 8551 4.3, 4.4, 6"
    assert judge(mailer().make(issuing()), issuing(), minimum_rsa_bits=3072).has("alg.key.weak")


@pytest.mark.parametrize("subject", [person(ALICE), person("Alice")])
def test_an_address_in_the_common_name_is_no_address(subject: x509.Name) -> None:
    leaf = without(mailer(subject=subject), x509.SubjectAlternativeName).make(issuing())
    report = judge(leaf, issuing())
    assert report.ok
    assert codes(report.findings) == ["pki.address.none"]


def test_an_authority_as_a_person_is_a_warning() -> None:
    leaf = mailer(x509.BasicConstraints(ca=True, path_length=None)).make(issuing())
    report = judge(leaf, issuing())
    assert report.ok
    assert codes(report.findings) == ["pki.certificate.is-ca"]


def test_mistakes_of_the_issuer_that_bind_nobody_are_warnings() -> None:
    leaf = Plan(
        person(""), extensions=((usage("digital_signature"), False), (san(ALICE), False))
    ).make(issuing())
    report = judge(leaf, issuing())
    assert report.ok
    assert codes(report.findings) == ["pki.certificate.profile"] * 2


def chained(ca: Plan, leaf: Plan | None = None, **options: Any) -> set[str]:
    middle = ca.make(root(), key_name="issuing")
    return errors(judge((leaf or mailer()).make(middle), middle, **options))


@pytest.mark.parametrize(
    ("ca", "wanted"),
    [
        (
            authority(more=[(x509.ExtendedKeyUsage([Purpose.SERVER_AUTH]), False)]),
            {"pki.usage.extended-key-usage-chain"},
        ),
        (authority(more=[(MAIL, False)]), set()),
        (authority(is_ca=False), {"pki.path.invalid"}),
        (authority(key_usage=(usage("digital_signature"), True)), {"pki.path.invalid"}),
        (authority(end=NOW - timedelta(days=1)), {"pki.path.expired"}),
        (authority(kind="rsa1024"), {"pki.path.weak-algorithm"}),
        (
            authority(
                more=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True)]
            ),
            {"pki.certificate.critical-extension"},
        ),
    ],
    ids=["eku-server", "eku-mail", "not-ca", "no-cert-sign", "expired", "rsa1024", "critical"],
)
def test_an_authority_unfit_to_issue_for_mail_is_found(ca: Plan, wanted: set[str]) -> None:
    assert chained(ca) == wanted


ANY = (x509.ExtendedKeyUsage([Purpose.ANY_EXTENDED_KEY_USAGE]), False)
BOTH = (
    x509.ExtendedKeyUsage([Purpose.ANY_EXTENDED_KEY_USAGE, Purpose.EMAIL_PROTECTION]),
    False,
)


@pytest.mark.parametrize("use", ["sign", "encrypt"])
def test_a_policy_may_want_the_purpose_of_mail_itself(use: Use) -> None:
    """RFC 8550 4.4.4 takes any purpose; RFC 5280 4.2.1.12 lets an application refuse it."""

    def leaf(purpose: Any) -> Plan:
        return Plan(person(""), extensions=((san(ALICE), True), (purpose, False)))

    any_leaf, mail_leaf = leaf(ANY[0]), leaf(MAIL)
    code = "pki.usage.extended-key-usage"
    for strict in (False, True):
        asked: dict[str, Any] = {"use": use, "accept_any_purpose": not strict}
        assert chained(authority(), any_leaf, **asked) == ({code} if strict else set())
        assert chained(authority(), mail_leaf, **asked) == set()
        assert chained(authority(more=[ANY]), mail_leaf, **asked) == (
            {f"{code}-chain"} if strict else set()
        )
        assert chained(authority(more=[BOTH]), leaf(BOTH[0]), **asked) == set()
        # without a path, too
        made = any_leaf.make(issuing())
        report = validate(made.certificate, trust=None, at=NOW, **asked)
        assert errors(report) == ({code} if strict else set())


def test_a_path_longer_than_an_authority_allows_is_refused() -> None:
    upper = authority("Upper", length=0).make(root(), key_name="upper")
    lower = authority("Lower").make(upper, key_name="lower")
    report = judge(mailer().make(lower), upper, lower)
    assert errors(report) == {"pki.path.invalid"}
    assert [f.where for f in report.errors] == [lower.certificate.description]


def test_the_path_length_of_an_anchor_holds() -> None:
    top = authority("Root", length=0).make(key_name="Root")
    leaf = mailer().make(issuing())
    assert errors(judge(leaf, issuing(), anchor=top)) == {"pki.path.invalid"}
    assert judge(mailer().make(top), anchor=top).ok


EXAMPLE = x509.NameConstraints(mail_tree("example.com"), None)


@pytest.mark.parametrize(
    ("constraints", "leaf", "address", "ok"),
    [
        (EXAMPLE, mailer(), ALICE, True),
        (x509.NameConstraints(mail_tree("other.example"), None), mailer(), ALICE, False),
        (x509.NameConstraints(mail_tree(ALICE), None), mailer(), ALICE, True),
        (x509.NameConstraints(mail_tree("bob@example.com"), None), mailer(), ALICE, False),
        (x509.NameConstraints(mail_tree(".example.com"), None), mailer(), ALICE, False),
        (
            x509.NameConstraints(mail_tree(".example.com"), None),
            mailer(san("alice@mail.example.com")),
            "alice@mail.example.com",
            True,
        ),
        (x509.NameConstraints(None, mail_tree("example.com")), mailer(), ALICE, False),
        (x509.NameConstraints(None, mail_tree("other.example")), mailer(), ALICE, True),
        (x509.NameConstraints(None, mail_tree("ALICE@example.com")), mailer(), ALICE, False),
        # the address stands in the subject only
        (
            x509.NameConstraints(mail_tree("other.example"), None),
            without(mailer(subject=person(email=ALICE)), x509.SubjectAlternativeName),
            ALICE,
            False,
        ),
        # ... and beside a permitted one in subjectAltName, where RFC 5280 does not look
        (
            EXAMPLE,
            mailer(subject=person(email="ceo@victim.example")),
            "ceo@victim.example",
            False,
        ),
        # the address stands in an SmtpUTF8Mailbox, of which RFC 5280 knows nothing
        (EXAMPLE, mailer(utf8_san("алиса@victim.example")), "алиса@victim.example", False),
        (EXAMPLE, mailer(utf8_san("алиса@example.com")), "алиса@example.com", True),
        (
            x509.NameConstraints(None, mail_tree("victim.example")),
            mailer(utf8_san("алиса@victim.example")),
            "алиса@victim.example",
            False,
        ),
        # a dot behind a host: no host (RFC 5280 4.2.1.10), and no way around what was excluded
        (
            x509.NameConstraints(None, mail_tree("victim.example.")),
            mailer(utf8_san("алиса@victim.example")),
            "алиса@victim.example",
            False,
        ),
        (
            x509.NameConstraints(None, mail_tree("victim.example.")),
            mailer(subject=person(email="ceo@victim.example")),
            "ceo@victim.example",
            False,
        ),
        (
            x509.NameConstraints([x509.DirectoryName(person("Alice"))], None),
            mailer(),
            ALICE,
            True,
        ),
        (x509.NameConstraints([x509.DirectoryName(person("Bob"))], None), mailer(), ALICE, False),
        (x509.NameConstraints(None, [x509.DirectoryName(person("Alice"))]), mailer(), ALICE, False),
        (
            x509.NameConstraints(mail_tree("other.example"), None),
            without(mailer(subject=person(ALICE)), x509.SubjectAlternativeName),
            None,
            True,
        ),
    ],
)
def test_name_constraints_hold_for_every_address_that_is_believed(
    constraints: x509.NameConstraints, leaf: Plan, address: str | None, ok: bool
) -> None:
    ca = authority(more=[(constraints, True)])
    assert chained(ca, leaf, address=address) == (set() if ok else {"pki.path.invalid"})
    # an anchor's own constraints hold as well
    top = authority("Root", more=[(constraints, True)]).make(key_name="Root")
    report = judge(leaf.make(top), anchor=top, address=address)
    assert errors(report) == (set() if ok else {"pki.path.invalid"})


def test_constraints_that_the_validator_breaks_on_are_said_in_our_words() -> None:
    of_text = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9"), b"\x0c\x01a")
    ca = authority(more=[(x509.NameConstraints(None, [of_text]), True)])
    top = ca.make(key_name="Issuing")
    report = judge(mailer().make(top), anchor=top)
    assert errors(report) == {"pki.path.invalid"}
    assert "cannot judge" in report.errors[0].text


def test_without_an_issuer_there_is_no_path() -> None:
    leaf = mailer().make(issuing())
    report = judge(leaf)
    assert errors(report) == {"pki.path.none"}
    assert report.chain == ()
    assert "Issuing CA" in report.errors[0].text


def test_an_untrusted_root_and_a_self_signed_certificate_have_no_path() -> None:
    stranger = root(name="Stranger")
    assert errors(judge(mailer().make(stranger), stranger)) == {"pki.path.none"}
    assert errors(judge(mailer().make())) == {"pki.path.none"}


def test_a_forged_signature_is_no_path_whoever_is_named() -> None:
    leaf = mailer().make(issuing())
    der = leaf.certificate.der
    forged = Made(Certificate(der[:-1] + bytes((der[-1] ^ 1,))), leaf.key, leaf.subject)
    report = judge(forged, issuing())
    assert errors(report) == {"pki.path.invalid"}
    assert report.chain == ()


def test_everything_wrong_is_said_at_once() -> None:
    plan = mailer(
        usage("key_cert_sign"),
        x509.ExtendedKeyUsage([Purpose.SERVER_AUTH]),
        san("bob@other.example"),
        kind="rsa1024",
        end=NOW - timedelta(days=30),
    )
    assert chained(authority(more=[(EXAMPLE, True)]), plan) == {
        "pki.path.expired",
        "pki.path.invalid",
        "pki.address.mismatch",
        "alg.key.weak",
        KU,
        EKU,
    }


def test_behind_an_expired_certificate_the_validator_still_finds_the_rest() -> None:
    # a path length is judged by the validator only, which stops at the first error
    upper = authority("Upper", length=0).make(root(), key_name="upper")
    lower = authority("Lower", end=NOW - timedelta(days=1)).make(upper, key_name="lower")
    report = judge(mailer().make(lower), upper, lower)
    assert errors(report) == {"pki.path.expired", "pki.path.invalid"}


def test_a_certificate_that_the_user_pinned_needs_nobody_else_but_still_expires() -> None:
    pinned = mailer().make()
    report = judge(pinned, anchor=pinned)
    assert report.findings == ()
    assert report.chain == (pinned.certificate,)
    assert errors(judge(pinned, anchor=pinned, at=NOW + 2 * YEAR)) == {"pki.path.expired"}
    issued = mailer().make(issuing())  # not even self-signed
    assert judge(issued, anchor=issued).findings == ()


@pytest.mark.parametrize("use", ["sign", "encrypt"])
def test_what_a_pinned_certificate_is_for_is_judged_all_the_same(use: Use) -> None:
    pinned = mailer().make()
    issued = mailer(serial=1001).make(pinned, key_name="other")
    assert judge(pinned, anchor=pinned, use=use).ok
    assert errors(judge(issued, anchor=pinned, use=use)) == {"pki.path.invalid"}
    report = judge(pinned, anchor=pinned, use=use, address="mallory@example.com")
    assert errors(report) == {"pki.address.mismatch"}


def test_an_expired_anchor_is_a_warning() -> None:
    top = authority("Root", end=NOW - timedelta(days=1)).make(key_name="Root")
    report = judge(mailer().make(issuing()), issuing(), anchor=top)
    assert report.ok
    assert codes(report.findings) == ["pki.path.expired"]


def test_without_a_store_the_path_is_not_judged_but_the_certificate_is() -> None:
    leaf = mailer(usage("key_encipherment"), end=NOW - timedelta(days=1)).make(issuing())
    report = validate(leaf.certificate, use="sign", trust=None, at=NOW)
    assert errors(report) == {"pki.path.expired", KU}
    assert report.chain == ()


def test_a_finding_of_certificate_and_path_alike_is_reported_once() -> None:
    unknown = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True)
    plan = Plan(extensions=(*mailer().extensions, unknown))
    report = judge(plan.make(issuing()), issuing())
    assert codes(report.findings) == ["pki.certificate.critical-extension"]


def test_the_address_asked_for_cannot_steer_a_terminal() -> None:
    for plan in (mailer(), without(mailer(), x509.SubjectAlternativeName)):
        report = judge(plan.make(issuing()), issuing(), address="eve\x1b[2J@example.com")
        assert codes(report.findings)[0].startswith("pki.address.")
        assert all(f.text.isprintable() for f in report.findings)


def test_a_store_without_anchors_trusts_nobody() -> None:
    report = validate(
        mailer().make(issuing()).certificate, use="sign", trust=TrustStore(()), at=NOW
    )
    assert errors(report) == {"pki.trust.no-anchors"}


def test_a_time_without_zone_is_refused() -> None:
    certificate = mailer().make(issuing()).certificate
    for trust in (None, TrustStore(())):
        with pytest.raises(UsageError, match="time zone"):
            validate(certificate, use="sign", trust=trust, at=NOW.replace(tzinfo=None))


def test_it_works_inside_a_running_event_loop() -> None:
    leaf = mailer().make(issuing())

    async def inside() -> PathReport:
        return judge(leaf, issuing())

    assert asyncio.run(inside()).ok


def test_the_signers_of_one_message_share_its_budget() -> None:
    checks = SignatureChecks(limit=3)
    first, second = mailer().make(issuing()), mailer(serial=1001).make(issuing())
    assert judge(first, issuing(), checks=checks).ok
    # the authority's signature was checked before and costs nothing
    assert judge(second, issuing(), checks=checks).ok
    third = judge(mailer(serial=1002).make(issuing()), issuing(), checks=checks)
    assert errors(third) == {"pki.path.limit"}


def test_a_signature_is_whole_octets() -> None:
    """With its last bit clear one unused bit would leave it as it is, in another certificate."""
    for serial in range(1000, 1100):
        good = mailer(serial=serial).make(issuing()).certificate
        if not good.der[-1] & 1:
            break
    assert not good.der[-1] & 1
    start = good.der.rindex(b"\x03\x82\x01\x01\0") + 4
    other = Certificate(good.der[:start] + b"\x01" + good.der[start + 1 :])
    trust = TrustStore((root().certificate,), certificates=(issuing().certificate,))
    assert validate(good, use="sign", trust=trust, at=NOW).ok
    assert errors(validate(other, use="sign", trust=trust, at=NOW)) == {"pki.path.invalid"}


@functools.cache
def _flipped_store() -> tuple[Made, TrustStore]:
    middle = authority(more=[(EXAMPLE, True)]).make(root("p256"), key_name="issuing")
    leaf = mailer(subject=person(email=ALICE), kind="p256").make(middle)
    return leaf, TrustStore((root("p256").certificate,), certificates=(middle.certificate,))


def damaged(certificate: Certificate, flips: list[tuple[int, int]]) -> Certificate:
    der = bytearray(certificate.der)
    for position, mask in flips:
        der[position % len(der)] ^= mask
    assume(bytes(der) != certificate.der)
    return Certificate(bytes(der))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 700), st.integers(1, 255)), min_size=1, max_size=3))
def test_a_damaged_certificate_is_refused_and_breaks_nothing(flips: list[tuple[int, int]]) -> None:
    leaf, trust = _flipped_store()
    try:
        bad = damaged(leaf.certificate, flips)
    except MalformedMessage:
        return
    for store in (trust, TrustStore((bad,)), None):
        for use in ("sign", "encrypt"):
            report = validate(bad, use=use, trust=store, at=NOW, address=ALICE)
            # no byte of a certificate can change without breaking its signature
            assert not (store is trust and report.ok)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 700), st.integers(1, 255)), min_size=1, max_size=2))
def test_a_damaged_anchor_or_authority_breaks_nothing(flips: list[tuple[int, int]]) -> None:
    leaf, trust = _flipped_store()
    for victim in (*trust.anchors, *trust.certificates):
        try:
            bad = damaged(victim, flips)
        except MalformedMessage:
            continue
        for store in (
            TrustStore((bad,), certificates=trust.certificates),
            TrustStore(trust.anchors, certificates=(bad,)),
            TrustStore((bad,)),
        ):
            validate(leaf.certificate, use="sign", trust=store, at=NOW)
