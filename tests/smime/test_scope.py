"""What a finding is about is told by a field, so that nothing hangs on its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from smime_graph import CA, EXCHANGE, Identity, examine, oids, sign
from smime_graph.asn1 import ber
from smime_graph.cms import labels, signed_data
from smime_graph.cms.labels import SecurityLabel
from smime_graph.findings import Severity
from smime_graph.harness.forgeries.craft import countersign
from smime_graph.smime.wrap import SIGNED, pkcs7_mime
from smime_graph.x509.certificate import Certificate

from ..properties.large import of_parts, opaque, signed_parts

MESSAGE = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\n\r\nhello\r\n"


def test_a_finding_of_a_signer_names_that_signer() -> None:
    ca, other = CA("Root", key="p256"), CA("Another", key="p256")
    alice = ca.issue("alice@contoso.com", key="p256")
    stranger = other.issue("alice@contoso.com", key="p256")
    report = examine(sign(MESSAGE, signer=[alice, stranger]), trust=ca.trust)
    believed = {one.where: one.accepted for one in report.signers}
    assert sorted(believed.values()) == [False, True]
    [unbelieved] = [where for where, accepted in believed.items() if not accepted]
    paths = [item for item in report.findings if item.code.startswith("pki.path.")]
    assert paths
    assert {item.scope for item in paths} == {unbelieved}
    assert all(item.where.startswith(f"{unbelieved}, ") for item in paths)


def test_what_is_of_the_message_is_of_no_signer() -> None:
    ca = CA("Root", key="p256")
    report = examine(MESSAGE, trust=ca.trust)
    assert [(item.code, item.scope) for item in report.findings] == [("smime.unsigned", "")]


# --- beside a signer who is accepted -------------------------------------------------------

TEXT = b"Content-Type: text/plain\r\n\r\nhello\r\n"


@dataclass(frozen=True)
class People:
    """Whom the message is from, somebody else, and somebody who is not believed."""

    ca: CA
    alice: Identity
    mallory: Identity
    forger: Identity  # in Alice's name, by another authority of the same name


@pytest.fixture(scope="module")
def people() -> People:
    ca, other = CA("Root", key="p256"), CA("Root", key="p256")
    return People(
        ca,
        ca.issue("alice@contoso.com", key="p256"),
        ca.issue("mallory@contoso.com", key="p256"),
        other.issue("alice@contoso.com", key="p256"),
    )


def infos(*signers: Identity, content: bytes = TEXT, further: Sequence[bytes] = ()) -> list[bytes]:
    parts = signed_parts(opaque(content, *signers, further=further))
    return [one.raw for one in ber.read(parts[-1], "signerInfos", tag=ber.SET)]


def mail(content: bytes, signers: list[bytes], certificates: Sequence[bytes]) -> bytes:
    """From Alice, with these SignerInfos in this order."""
    parts = [
        ber.integer(1),
        ber.set_of(),
        ber.sequence(ber.oid(oids.DATA), ber.context(0, ber.octet_string(content))),
        ber.tlv(0xA0, *certificates),
        ber.tlv(ber.SET, *signers),
    ]
    return b"From: alice@contoso.com\r\n" + pkcs7_mime(SIGNED, of_parts(parts))


def broken(info: bytes) -> bytes:
    return info[:-3] + bytes((info[-3] ^ 1,)) + info[-2:]


def ders(*people: Identity) -> list[bytes]:
    return [one.certificate.der for one in people]


@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize(
    "which", ["not the From", "forged", "no certificate", "refused", "unreadable"]
)
def test_one_who_is_not_believed_takes_nothing_from_one_who_is(
    people: People, which: str, where: int
) -> None:
    """RFC 5652 5.1, wherever among the SignerInfos each stands."""
    alice = infos(people.alice)[0]
    certificates = ders(people.alice, people.mallory, people.forger)
    policy = EXCHANGE
    if which == "forged":
        other = infos(people.forger)[0]
    elif which == "unreadable":
        other = ber.sequence(ber.integer(9), ber.sequence())
    elif which == "refused":
        weak = EXCHANGE.but("weak", digest="sha512")
        der, _ = signed_data.sign(
            TEXT, [people.mallory], detached=False, policy=weak, at=datetime.now(UTC)
        )
        [found] = ber.read(signed_parts(der)[-1], "signerInfos", tag=ber.SET)
        other = found.raw
        policy = EXCHANGE.but(
            "narrow",
            accept=EXCHANGE.accept - {"sha512"},
            refuse=EXCHANGE.refuse | {"sha512"},
        )
    else:
        other = infos(people.mallory)[0]
        if which == "no certificate":
            certificates.remove(people.mallory.certificate.der)
    signers = [alice, alice]
    signers.insert(where, other)
    report = examine(mail(TEXT, signers, certificates), trust=people.ca.trust, policy=policy)
    assert report.accepted
    assert [one.accepted for one in report.signers] == [n != where for n in range(3)]
    assert report.findings
    assert {(item.scope, item.severity) for item in report.findings} == {
        (f"signer {where}", Severity.WARNING)
    }
    # and alone it is rejected
    assert not examine(
        mail(TEXT, [other], certificates), trust=people.ca.trust, policy=policy
    ).accepted


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("which", ["broken", "of another content", "attributes missing"])
def test_a_bad_signature_is_an_error_beside_an_accepted_one(
    people: People, which: str, first: bool
) -> None:
    """Neither the From's own certificate nor that nobody believes the signer makes it less."""
    alice = infos(people.alice)[0]
    for bad in (people.alice, people.mallory, people.forger):
        other = infos(bad, content=TEXT if which == "broken" else TEXT + b"more\r\n")[0]
        if which == "broken":
            other = broken(other)
        elif which == "attributes missing":
            other = unattributed_info(other)
        signers = [other, alice] if first else [alice, other]
        report = examine(
            mail(TEXT, signers, ders(people.alice, people.mallory, people.forger)),
            trust=people.ca.trust,
        )
        assert not report.accepted
        assert [one.accepted for one in report.signers] == [not first, first]
        assert {item.scope for item in report.errors} == {f"signer {0 if first else 1}"}
        assert all(item.code.startswith("cms.") for item in report.errors)


def unattributed_info(info: bytes) -> bytes:
    elements = ber.read(info, "SignerInfo")
    return ber.sequence(*(one.raw for one in elements if one.tag != 0xA0))


def test_where_nobody_is_accepted_nothing_becomes_a_warning(people: People) -> None:
    """One is good and not the From, one has the From's name and is forged: no whole of halves."""
    signers = infos(people.mallory, people.forger)
    report = examine(
        mail(TEXT, signers, ders(people.mallory, people.forger)), trust=people.ca.trust
    )
    assert not report.accepted
    assert {item.scope for item in report.errors} == {"signer 0", "signer 1"}
    assert {item.code for item in report.errors} == {"pki.address.mismatch", "pki.path.invalid"}


def test_of_certificates_with_one_name_and_number_the_one_whose_key_signed_counts(
    people: People,
) -> None:
    """A sid is no proof: the forger's certificate says the same issuer and serial number."""
    twin = with_serial(people.forger, people.alice)
    for order in ([people.alice.certificate.der, twin], [twin, people.alice.certificate.der]):
        report = examine(mail(TEXT, infos(people.alice), order), trust=people.ca.trust)
        assert report.accepted
        assert [one.certificate for one in report.signers] == [people.alice.certificate]
        forged = infos(Identity(people.forger.private_key, Certificate(twin), chain=()))
        assert not examine(mail(TEXT, forged, order), trust=people.ca.trust).accepted


def with_serial(identity: Identity, other: Identity) -> bytes:
    """The certificate with the serial number of another one; its signature is nobody's then."""
    tbs, *outer = ber.read(identity.certificate.der, "").children()
    fields = [one.raw for one in tbs]
    fields[1] = other.certificate.serial
    return ber.sequence(ber.sequence(*fields), *(one.raw for one in outer))


@pytest.mark.parametrize("outside", [True, False])
def test_signers_of_two_layers_are_kept_apart_by_their_scope(people: People, outside: bool) -> None:
    """Both are number 0 of their layer."""
    inner, outer = people.alice, people.forger
    if outside:
        inner, outer = outer, inner
    wrapped = pkcs7_mime(SIGNED, opaque(TEXT, inner))
    raw = b"From: alice@contoso.com\r\n" + pkcs7_mime(SIGNED, opaque(wrapped, outer))
    report = examine(raw, trust=people.ca.trust)
    assert report.accepted
    assert [(one.where, one.accepted) for one in report.signers] == [
        ("signer 0", outside),
        ("signer 0 of layer 1.1", not outside),
    ]
    unbelieved = "signer 0 of layer 1.1" if outside else "signer 0"
    assert {(item.scope, item.severity) for item in report.findings} == {
        (unbelieved, Severity.WARNING)
    }


def test_a_bad_signature_around_an_accepted_one_is_an_error(people: People) -> None:
    wrapped = pkcs7_mime(SIGNED, opaque(TEXT, people.alice))
    bad = [broken(one) for one in infos(people.mallory, content=wrapped)]
    report = examine(mail(wrapped, bad, ders(people.mallory)), trust=people.ca.trust)
    assert not report.accepted
    assert [one.accepted for one in report.signers] == [False, True]
    assert {(item.code, item.scope) for item in report.errors} == {
        ("cms.signature.invalid", "signer 0")
    }


def test_a_countersigner_is_no_signer(people: People) -> None:
    """Alice's word on Mallory's signature makes nothing of it Alice's."""
    der = countersign(
        opaque(TEXT, people.mallory), signer=people.alice, policy=EXCHANGE, at=datetime.now(UTC)
    )
    report = examine(
        b"From: alice@contoso.com\r\n" + pkcs7_mime(SIGNED, der), trust=people.ca.trust
    )
    assert not report.accepted
    [signer] = report.signers
    [counter] = signer.countersigners
    assert (counter.valid, counter.trusted, signer.accepted) == (True, True, False)
    assert {(item.code, item.scope) for item in report.errors} == {
        ("pki.address.mismatch", "signer 0")
    }


def test_what_is_wrong_with_the_message_stays_an_error_beside_an_accepted_signer(
    people: People,
) -> None:
    parts = signed_parts(opaque(TEXT, people.alice, people.forger))
    content = ber.sequence(ber.oid(oids.TST_INFO), ber.context(0, ber.octet_string(TEXT)))
    raw = pkcs7_mime(SIGNED, of_parts([*parts[:2], content, *parts[3:]]))
    report = examine(b"From: alice@contoso.com\r\n" + raw, trust=people.ca.trust)
    assert not report.accepted
    assert "smime.inner-type" in {item.code for item in report.errors}


def test_a_label_that_another_signed_still_keeps_out_whoever_is_not_cleared(people: People) -> None:
    """RFC 2634 3.1.2: who signed the label need not be the sender, nor be believed."""
    label = labels.security_label(SecurityLabel("1.3.6.1.4.1.99999.1"))
    for other in (people.mallory, people.forger):
        raw = mail(
            TEXT,
            [*infos(people.alice), *infos(other, further=[label])],
            ders(people.alice, other),
        )
        assert examine(raw, trust=people.ca.trust).accepted
        report = examine(raw, trust=people.ca.trust, clearance=lambda _: False)
        assert not report.accepted
        assert {(item.code, item.scope) for item in report.errors} == {
            ("smime.label.refused", "signer 1")
        }
