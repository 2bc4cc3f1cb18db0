"""What mail programs make of a certificate beside what the documents say.

It was measured with OpenSSL 3.0, NSS 3.87 (Thunderbird), gpgsm 2.2.40 and Bouncy Castle 1.72, or is
documented: Outlook (KB 2840546, KB 884738), Exchange Online (virtual certificate collection), Gmail
(hosted S/MIME certificate profiles), Apple (deployment reference, root programme). Newer versions
differ: EC keys above all.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from cryptography import x509

from .. import oids
from .profiles import CLIENTS
from .rules import BOTH, NOTICE, WARNING, Fault, FitnessRule, Subject, Weights, rule, weigh


@rule(
    "CLIENT-key",
    "the kind of key is one that mail programs have",
    "measured; Gmail's certificate profile; Apple Root Program",
    "certify an RSA key of 2048 to 4096 bits: every program has it",
    weigh(CLIENTS),
    about=BOTH,
)
def _key(subject: Subject) -> Iterator[Fault]:
    where, algorithm = "subjectPublicKeyInfo.algorithm", subject.key_algorithm
    is_authority = subject.is_authority
    if algorithm in (oids.ED25519, oids.ED448):
        # OpenSSL 3.0 checks what an authority signed with it, and makes no message
        weights = weigh(CLIENTS, but=("bouncycastle", *(("openssl",) if is_authority else ())))
        yield Fault(where, "few programs have EdDSA", weights=weights)
    elif algorithm in (oids.X25519, oids.X448):
        yield Fault(where, "few programs have X25519 and X448")
    elif algorithm == oids.EC_PUBLIC_KEY:
        if subject.curve == oids.SECP521R1:
            yield Fault(where, "P-521 is not taken", weights=weigh("gmail", "gpgsm"))
        elif subject.curve == oids.SECP384R1:
            text = "gpgsm signs and checks with SHA-256, which it does not take for P-384"
            yield Fault(where, text, use="sign", weights=weigh("gpgsm"))
        elif subject.curve != oids.SECP256R1:
            weights = weigh("gmail", "apple", "thunderbird", outlook=WARNING)
            yield Fault(where, "the curve is not one of NIST's", weights=weights)
        if not is_authority:
            text = "EC keys can be encrypted to by few of the older programs"
            weights = weigh("gpgsm", openssl=WARNING, thunderbird=WARNING)
            yield Fault(where, text, use="encrypt", weights=weights)
    elif algorithm != oids.RSA_ENCRYPTION:
        yield Fault(where, "few programs have this kind of key")


@rule(
    "CLIENT-subject",
    "the subject is not empty",
    "measured: gpgsm cannot import it",
    "have the address as common name",
    weigh("gpgsm"),
)
def _subject(subject: Subject) -> Iterator[Fault]:
    if not subject.subject:
        yield Fault("subject", "it is empty")


@rule(
    "CLIENT-constraints",
    "no issuer has critical constraints of names or policies",
    "measured: gpgsm has none of them; NSS and Bouncy Castle do not take such of policies",
    "nothing: the constraints are as they should be, another program takes them",
    weigh("gpgsm"),
)
def _constrained(subject: Subject) -> Iterator[Fault]:
    kinds: dict[str, tuple[type[x509.ExtensionType], Weights]] = {
        "name": (x509.NameConstraints, weigh("gpgsm")),
        "policy": (x509.PolicyConstraints, weigh("gpgsm", "thunderbird", "bouncycastle")),
    }
    for number, one in enumerate(subject.chain[1:], 1):
        for name, (kind, weights) in kinds.items():
            found = Subject(one, subject.as_of).find(kind)
            if found is not None and found.critical:
                text = f"{one.description} has critical {name} constraints"
                yield Fault(f"chain[{number}]", text, weights=weights)


@rule(
    "CLIENT-capabilities",
    "it announces what its owner's software decrypts",
    "RFC 4262, RFC 8551 2.5.2",
    "add smimeCapabilities, if the CA offers it",
    weigh(outlook=NOTICE),
)
def _capabilities(subject: Subject) -> Iterator[Fault]:
    if subject.can_miss and subject.named(oids.SMIME_CAPABILITIES) is None:
        text = "without smimeCapabilities Outlook takes AES-256, older ones 3DES"
        yield Fault("extensions", text, use="encrypt")


@rule(
    "CLIENT-soon",
    "it does not expire within thirty days",
    "RFC 5280 4.1.2.5",
    "its successor now; keep the old key: old mail is read with it",
    weigh(rfc8550=NOTICE),
)
def _soon(subject: Subject) -> Iterator[Fault]:
    if subject.validity is not None:
        left = subject.validity[1] - subject.as_of
        if timedelta(0) <= left < timedelta(days=30):
            yield Fault("validity.notAfter", f"it expires in {left.days} days")


RULES: tuple[FitnessRule, ...] = (
    _key,
    _subject,
    _constrained,
    _capabilities,
    _soon,
)
