"""What is asked of real services on loopback, and what becomes of each kind of answer."""

from __future__ import annotations

import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from smime_graph import CA, EXCHANGE, Fetcher, Identity, Revocation, Severity, examine, sign, verify
from smime_graph.errors import CertificateRejected, UsageError
from smime_graph.online import fetcher as module
from smime_graph.online.exchange import Allowance

from .conftest import DAY, HOUR, MESSAGE, Handler, Service, World, asking

GOOD, REVOKED, UNKNOWN = (
    ocsp.OCSPCertStatus.GOOD,
    ocsp.OCSPCertStatus.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN,
)


def test_a_good_answer_is_all_that_is_asked_for(world: World) -> None:
    world.responds(GOOD)
    report = world.examine(mode="hard")
    assert report.accepted
    assert not [f for f in report.findings if f.code.startswith("pki.revocation")]
    assert world.service.log == ["POST /ocsp", "GET /root.crl"]
    (asked, _) = world.service.headers
    assert asked["Content-Type"] == "application/ocsp-request"
    assert asked["Accept-Encoding"] == "identity"
    assert not {"Cookie", "Authorization", "Proxy-Authorization"} & asked.keys()


def test_a_crl_is_asked_for_where_no_responder_is_named(service: Service) -> None:
    world = World.of(service, at_leaf=asking(crl=service.url("/crl")))
    service.answers["/crl"] = world.crl()
    assert world.examine(mode="hard").accepted
    service.answers["/crl"] = world.crl(revoked={world.serial: world.now - DAY})
    assert list(world.said()) == ["revoked"]


def test_a_crl_of_a_version_that_is_none_is_no_crl(service: Service, tmp_path: Path) -> None:
    """RFC 5280 5.1.2.1: its octets are DER, and pyca has an exception of its own for them."""
    world = World.of(service, at_leaf=asking(crl=service.url("/crl")))
    unknown = world.crl().replace(b"\x02\x01\x01", b"\x02\x01\x05", 1)
    service.answers["/crl"] = unknown
    assert not world.examine(mode="hard").accepted
    assert any("the answer is no CRL in DER" in text for text in world.said(mode="hard").values())
    (tmp_path / "crl").write_bytes(unknown)
    with pytest.raises(UsageError, match="holds no CRL"):
        Revocation.load(crls=[tmp_path / "crl"])


def test_a_crl_is_asked_for_where_the_responder_does_not_tell(world: World) -> None:
    world.responds(UNKNOWN)
    world.service.answers["/crl"] = world.crl()
    assert world.examine(mode="hard").accepted
    assert world.service.log == ["POST /ocsp", "GET /crl", "GET /root.crl"]


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        ("revoked", "revoked", "is valid, but was revoked yesterday, at "),
        ("unknown", "unknown", "its OCSP responder does not know it"),
        ("expired", "stale", "what is known of its revocation was good until "),
        ("forged", "invalid", "what is there of its revocation cannot be used: "),
        ("missing", "unknown", "no CRL and no OCSP response says whether it is revoked; http://"),
    ],
)
@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_each_answer_has_its_finding(
    service: Service, answer: str, code: str, text: str, mode: str
) -> None:
    world = World.of(service, at_leaf=asking(ocsp=service.url("/ocsp")))
    match answer:
        case "revoked":
            world.responds(REVOKED, revoked_at=world.now - DAY)
        case "unknown":
            world.responds(UNKNOWN)
        case "expired":
            world.responds(GOOD, since=world.now - 9 * DAY, until=world.now - 2 * DAY)
        case "forged":
            world.responds(GOOD, is_forged=True)
    said = world.said(mode=mode)
    assert said[code].startswith(text), said
    assert ("not-fetched" in said) is (answer == "missing")
    report = world.examine(mode=mode)
    assert report.accepted is (mode == "soft" and answer != "revoked")
    severity = Severity.ERROR if code == "revoked" or mode == "hard" else Severity.WARNING
    assert {f.severity for f in report.findings if f.code.endswith(f".{code}")} == {severity}


def test_the_reason_of_a_missing_answer_is_told(world: World) -> None:
    said = world.said()
    url = world.service.url("/ocsp")
    assert f"{url}: answered 404" in said["unknown"]
    assert f"{url}: answered 404" in said["not-fetched"]
    assert f"{world.service.url('/crl')}: answered 404" in said["not-fetched"]


@pytest.mark.parametrize(("days", "word"), [(5, "before"), (1, "after")])
def test_revoked_before_and_after_signing_are_told_apart(
    world: World, days: int, word: str
) -> None:
    world.responds(REVOKED, revoked_at=world.now - days * DAY)
    ago = "yesterday" if days == 1 else "5 days ago"
    (text,) = world.said().values()
    assert text.startswith(f"is valid, but was revoked {ago}, at ")
    assert text.endswith(f", {word} the time it says it signed at")
    with pytest.raises(CertificateRejected, match="valid, but was revoked"):
        verify(
            world.signed(),
            trust=world.trust,
            revocation=Revocation(fetch=Fetcher(allow_local=True)),
        )


@pytest.mark.parametrize("place", ["/ocsp", "/crl"])
@pytest.mark.parametrize("mode", ["soft", "hard"])
@pytest.mark.parametrize(("days", "then"), [(5, False), (1, True)])
def test_trusted_at_signing_goes_by_what_was_fetched(
    service: Service, place: str, mode: str, days: int, then: bool
) -> None:
    where: Any = {place.strip("/"): service.url(place)}
    world = World.of(service, at_leaf=asking(**where))
    world.responds(REVOKED, revoked_at=world.now - days * DAY)
    service.answers["/crl"] = world.crl(revoked={world.serial: world.now - days * DAY})
    (signer,) = world.examine(mode=mode).signers
    assert (signer.trusted, signer.trusted_at_signing) == (False, then)
    assert sorted(service.log) == sorted(
        [f"{'POST' if place == '/ocsp' else 'GET'} {place}"] + ["GET /root.crl"]
    )


def test_nobody_is_asked_whether_an_expired_signer_was_revoked_then(world: World) -> None:
    """It was trusted when it signed, as far as is known; that is not worth a question."""
    report = world.examine(at=world.alice.certificate.not_after + DAY)
    (signer,) = report.signers
    assert (signer.trusted, signer.trusted_at_signing) == (False, True)
    assert world.service.log == []


# --- answers that are not what was asked for ------------------------------------------------------


def test_a_replayed_nonce(world: World) -> None:
    world.responds(GOOD, nonce=b"n" * 32)
    assert "it is a replay" in world.said()["unknown"]


def test_a_response_without_nonce_is_taken(world: World) -> None:
    world.responds(GOOD, nonce=None)
    assert world.said() == {}


def test_every_question_has_a_nonce_of_its_own(world: World) -> None:
    nonces: set[bytes] = set()

    def answer(handler: Handler) -> None:
        held = ocsp.load_der_ocsp_request(handler.body).extensions
        nonces.update(e.value.nonce for e in held if isinstance(e.value, x509.OCSPNonce))
        handler.give(world.response(handler.body))

    world.service.answers["/ocsp"] = answer
    for _ in range(3):
        assert world.examine().accepted
    assert [len(one) for one in nonces] == [32] * 3


def test_a_response_for_another_certificate(world: World) -> None:
    bob = world.issuing.issue("bob@contoso.com", key="p256")
    world.responds(GOOD, of=bob)
    assert "about another certificate" in world.said()["unknown"]


def test_a_response_for_the_same_number_of_another_issuer(world: World) -> None:
    other = CA("Another", key="p256")
    world.responds(GOOD, by=other, responder=world.issuing)
    assert not {"revoked"} & world.said().keys()
    assert world.said()
    assert not world.examine(mode="hard").accepted


@pytest.mark.parametrize("eku", ["1.3.6.1.5.5.7.3.9", "1.3.6.1.5.5.7.3.4"])
def test_a_delegated_responder_must_be_one(world: World, eku: str) -> None:
    """OCSPSigning makes it one (RFC 6960 4.2.2.2)."""
    helper = world.issuing.issue("ocsp@contoso.com", key="p256", eku=(eku,), at=world.now - DAY)
    world.responds(GOOD, responder=helper)
    assert world.examine(mode="hard").accepted is eku.endswith(".9")
    # what a revoked one says is not enough; the list that says so tells of the signer as well
    serial = helper.certificate.serial_number
    world.service.answers["/crl"] = world.crl(revoked={serial: world.now - DAY})
    assert world.examine(mode="hard").accepted


def test_a_responder_of_another_authority_is_none(world: World) -> None:
    """Delegated by the root, not by the issuer of the certificate (RFC 6960 4.2.2.2)."""
    helper = world.root.issue("ocsp@contoso.com", key="p256", eku=("1.3.6.1.5.5.7.3.9",))
    world.responds(GOOD, responder=helper)
    assert "invalid" in world.said()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>no</html>",
        b"\x30\x03\x0a\x01\x03",
        b"\x30\x82\xff\xff" + b"\0" * 50,
        b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
        bytes(range(256)) * 20,
    ],
)
def test_any_octets_are_a_finding(world: World, body: bytes) -> None:
    world.service.answers |= {"/ocsp": body, "/crl": body, "/root.crl": body}
    report = world.examine()
    assert report.accepted
    assert {f.code for f in report.findings} >= {"pki.revocation.unknown"}
    assert not world.examine(mode="hard").accepted


# --- nothing is asked that need not be ------------------------------------------------------------


def test_nobody_is_asked_about_a_broken_signature(world: World) -> None:
    raw = world.signed().replace(b"text", b"next")
    assert not world.examine(raw).accepted
    assert world.service.log == []


def test_nobody_is_asked_about_a_chain_that_is_not_good(world: World) -> None:
    raw = world.signed()
    assert not world.examine(raw, trust=CA("Other", key="p256").trust).accepted
    assert not world.examine(raw, at=world.now + 4000 * DAY).accepted
    assert world.service.log == []


def test_nobody_is_asked_where_revocation_is_not_looked_at(world: World) -> None:
    assert world.examine(mode="none").accepted
    assert world.service.log == []


def test_nobody_is_asked_where_what_was_given_is_enough(world: World) -> None:
    crls = (world.crl(), world.crl(world.root))
    assert world.examine(mode="hard", crls=crls).accepted
    assert world.service.log == []


def test_a_certificate_that_names_thousands_of_places(service: Service) -> None:
    many = [
        x509.Extension(one.oid, False, one)
        for one in (
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(
                        x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1"),
                        x509.UniformResourceIdentifier(service.url(f"/o/{number}")),
                    )
                    for number in range(1500)
                ]
            ),
            x509.CRLDistributionPoints(
                [
                    x509.DistributionPoint(
                        [x509.UniformResourceIdentifier(service.url(f"/{part}/{number}"))] * 2,
                        *(None, None, None),
                    )
                    for part in "ab"
                    for number in range(300)
                ]
            ),
        )
    ]
    world = World.of(service, at_leaf=many)
    report = world.examine()
    assert report.accepted
    assert len(service.log) <= Allowance.MAX_REQUESTS_OF_HOST
    texts = [one.text for one in report.findings]
    assert max(map(len, texts)) < 1000


def test_a_message_of_many_signers_with_places_of_their_own(service: Service) -> None:
    world = World.of(service)
    people = [
        world.issuing.issue(
            "alice@contoso.com",
            key="p256",
            extensions=asking(ocsp=service.url(f"/o/{n}"), crl=service.url(f"/c/{n}")),
        )
        for n in range(12)
    ]
    raw = sign(b"From: alice@contoso.com\n\ntext\n", signer=people, at=world.now)
    report = world.examine(raw, at=world.now + HOUR)
    assert len(service.log) == Allowance.MAX_REQUESTS_OF_HOST
    assert any("more than 8 requests of one host" in one.text for one in report.findings)


def test_services_that_never_answer_hold_a_message_for_its_time_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Allowance, "SECONDS", 1.0)

    def drip(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    world.service.answers |= {"/ocsp": drip, "/crl": drip, "/root.crl": drip}
    begun = time.monotonic()
    assert world.examine().accepted
    assert time.monotonic() - begun < 3


def test_local_services_are_not_asked_unless_that_is_allowed(world: World) -> None:
    world.responds(GOOD)
    said = world.said(fetch=Fetcher())
    assert "127.0.0.1 is at 127.0.0.1, of this machine or its network" in said["not-fetched"]
    assert world.service.log == []


def test_one_list_is_fetched_once_for_a_message(service: Service) -> None:
    world = World.of(service, at_leaf=asking(crl=service.url("/crl")))
    service.answers["/crl"] = world.crl()
    raw = world.signed()
    bob = world.issuing.issue(
        "alice@contoso.com", key="p256", extensions=asking(crl=service.url("/crl"))
    )
    raw = sign(
        b"From: alice@contoso.com\n\ntext\n", signer=[world.alice, bob], at=world.now - 3 * DAY
    )
    world.at = world.now + HOUR
    assert world.examine(raw, mode="hard").accepted
    assert sorted(service.log) == ["GET /crl", "GET /root.crl"]


# --- deltas ---------------------------------------------------------------------------------------


def test_a_delta_is_asked_for_where_a_list_names_one(service: Service) -> None:
    world = World.of(service, at_leaf=asking(crl=service.url("/crl")))
    names = [x509.UniformResourceIdentifier(service.url("/delta"))]
    fresher = x509.FreshestCRL([x509.DistributionPoint(names, None, None, None)])
    service.answers["/crl"] = world.crl(extensions=(fresher,))
    service.answers["/delta"] = world.crl(extensions=(x509.DeltaCRLIndicator(1),), number=2)
    assert world.examine(mode="hard").accepted
    assert "GET /delta" in service.log
    service.answers["/delta"] = world.crl(
        extensions=(x509.DeltaCRLIndicator(1),), number=3, revoked={world.serial: world.now - DAY}
    )
    assert "revoked" in world.said()


# --- missing issuers ------------------------------------------------------------------------------


def without_issuer(service: Service) -> tuple[World, bytes]:
    world = World.of(
        service, at_leaf=asking(crl=service.url("/crl"), issuers=service.url("/issuing.cer"))
    )
    service.answers["/crl"] = world.crl()
    alone = Identity(world.alice.private_key, world.alice.certificate)
    return world, sign(b"From: alice@contoso.com\n\ntext\n", signer=alone, at=world.now - DAY)


@pytest.mark.parametrize("form", ["der", "pkcs7", "signed"])
def test_a_missing_issuer_is_fetched(service: Service, form: str) -> None:
    world, raw = without_issuer(service)
    assert not examine(raw, trust=world.trust).accepted
    issuer = world.issuing.certificate
    if form == "pkcs7":
        from cryptography.hazmat.primitives.serialization import pkcs7

        service.answers["/issuing.cer"] = pkcs7.serialize_certificates(
            [world.root.certificate.x509, issuer.x509], Encoding.DER
        )
    elif form == "signed":  # by whom makes no difference: what it carries is anybody's choice
        from cryptography.hazmat.primitives.serialization import pkcs7

        key = world.issuing.private_key
        builder = pkcs7.PKCS7SignatureBuilder().set_data(b"x")
        made = builder.add_signer(issuer.x509, key, hashes.SHA256()).sign(Encoding.DER, [])
        service.answers["/issuing.cer"] = made
    else:
        service.answers["/issuing.cer"] = issuer.der
    report = world.examine(raw, mode="hard")
    assert report.accepted, report.findings
    assert service.log == ["GET /issuing.cer", "GET /crl", "GET /root.crl"]


def test_a_wrong_issuer_is_not_believed(service: Service) -> None:
    world, raw = without_issuer(service)
    namesake = CA("Root", key="p256").create_intermediate("Issuing", key="p256")
    service.answers["/issuing.cer"] = namesake.certificate.der
    assert not world.examine(raw).accepted
    service.answers["/issuing.cer"] = CA("Somebody", key="p256").certificate.der
    report = world.examine(raw)
    assert not report.accepted
    (found,) = [f for f in report.findings if f.code == "pki.path.not-fetched"]
    assert "no certificate of the issuer" in found.text


def test_issuers_that_name_further_ones_come_to_an_end(service: Service) -> None:
    """Each answer is signed by one more authority, without an end."""
    world, raw = without_issuer(service)
    count = [0]

    def answer(handler: Handler) -> None:
        count[0] += 1
        above = CA(f"Level {count[0]}", key="p256")
        place = asking(issuers=service.url(f"/level/{count[0]}"))
        service.answers[f"/level/{count[0]}"] = answer
        below = CA.from_key(keys[-1], world.issuing.certificate) if not count[0] else None
        assert below is None
        one = above.create_intermediate(names[-1], key=keys[-1], extensions=place)
        names.append(f"Level {count[0]}")
        keys.append(above.private_key)
        handler.give(one.certificate.der)

    names, keys = ["Issuing"], [world.issuing.private_key]
    service.answers["/issuing.cer"] = answer
    report = world.examine(raw)
    assert not report.accepted
    assert 1 < count[0] <= 8


def test_no_issuer_is_fetched_for_a_certificate_that_is_unfit(service: Service) -> None:
    world = World.of(service)
    small = world.issuing.issue(
        "alice@contoso.com", key="rsa-2048", extensions=asking(issuers=service.url("/x"))
    )
    alone = Identity(small.private_key, small.certificate)
    raw = sign(b"From: alice@contoso.com\n\ntext\n", signer=alone)
    strict = EXCHANGE.but("strict", minimum_rsa_bits=4096)
    assert world.examine(raw, at=None, policy=strict).has("pki.path.none")
    assert service.log == []
    assert world.examine(raw, at=None).has("pki.path.not-fetched")
    assert service.log == ["GET /x"]


# --- the cache ------------------------------------------------------------------------------------


def test_an_answer_is_kept_until_it_runs_out(world: World, tmp_path: Path) -> None:
    world.responds(GOOD)
    place = tmp_path / "cache.sqlite"
    for _ in range(2):  # another process would find it as well
        report = world.examine(mode="hard", fetch=Fetcher(allow_local=True, cache=place))
        assert report.accepted
    assert world.service.log == ["POST /ocsp", "GET /root.crl"]
    # the response runs out first, and is asked for again
    world.at = world.now + 3 * HOUR
    world.responds(GOOD, until=world.now + 4 * HOUR)
    assert world.examine(mode="hard", fetch=Fetcher(allow_local=True, cache=place)).accepted
    assert world.service.log == ["POST /ocsp", "GET /root.crl", "POST /ocsp"]


def test_what_was_found_good_is_refused_once_it_is_revoked(world: World, tmp_path: Path) -> None:
    """The chain is remembered; whether it is revoked is asked again when what is known runs out."""
    fetch = Fetcher(allow_local=True, cache=tmp_path / "cache.sqlite")
    raw = world.signed()
    world.responds(GOOD)
    assert world.examine(raw, fetch=fetch).accepted
    world.responds(REVOKED, revoked_at=world.now - DAY, until=world.now + 9 * HOUR)
    assert world.examine(raw, fetch=fetch).accepted  # as long as the responder said
    world.at = world.now + 3 * HOUR
    report = world.examine(raw, fetch=fetch)
    assert not report.accepted
    assert report.has("pki.revocation.revoked")
    # that is remembered as well
    del world.service.answers["/ocsp"]
    assert world.examine(raw, fetch=fetch).has("pki.revocation.revoked")


@pytest.mark.parametrize("answer", ["forged", "unknown", "expired"])
def test_what_tells_nothing_is_not_kept(world: World, tmp_path: Path, answer: str) -> None:
    fetch = Fetcher(allow_local=True, cache=tmp_path / "cache.sqlite")
    match answer:
        case "forged":
            world.responds(GOOD, is_forged=True)
        case "unknown":
            world.responds(UNKNOWN)
        case "expired":
            world.responds(GOOD, since=world.now - 9 * DAY, until=world.now - 2 * DAY)
    assert not world.examine(mode="hard", fetch=fetch).accepted
    world.responds(GOOD)
    assert world.examine(mode="hard", fetch=fetch).accepted


def test_lists_and_issuers_are_kept(service: Service, tmp_path: Path) -> None:
    world, raw = without_issuer(service)
    service.answers["/issuing.cer"] = world.issuing.certificate.der
    for _ in range(2):
        fetch = Fetcher(allow_local=True, cache=tmp_path / "cache.sqlite")
        assert world.examine(raw, mode="hard", fetch=fetch).accepted
    assert service.log == ["GET /issuing.cer", "GET /crl", "GET /root.crl"]


# --- arguments ------------------------------------------------------------------------------------


def test_what_is_no_source_of_evidence_is_refused() -> None:
    wrong: Any = "http://example.com/"
    with pytest.raises(UsageError, match="fetch"):
        Revocation(fetch=wrong)
    with pytest.raises(UsageError, match="cache"):
        Fetcher(cache=wrong)


def test_the_limits_are_those_of_the_documentation() -> None:
    assert (module.MAX_CRL, module.MAX_OCSP) == (10 << 20, 64 << 10)


def test_threads_share_a_fetcher_whatever_becomes_of_its_cache(
    service: Service, tmp_path: Path
) -> None:
    """Each is told of its own signer, by the same object, while the cache is cut off and removed
    under their hands.
    """
    world = World.of(service, at_leaf=asking(crl=service.url("/crl")))
    revoked = world.issuing.issue(
        "alice@contoso.com",
        key="p256",
        at=world.now - 20 * DAY,
        extensions=asking(crl=service.url("/crl")),
    )
    silent = world.issuing.issue(
        "alice@contoso.com",
        key="p256",
        at=world.now - 20 * DAY,
        extensions=asking(crl=service.url("/nothing")),
    )
    number = revoked.certificate.serial_number
    service.answers["/crl"] = world.crl(revoked={number: world.now - DAY})
    place = tmp_path / "cache.sqlite"
    known = Revocation(mode="hard", fetch=Fetcher(allow_local=True, cache=place))
    wanted: list[tuple[Identity, list[str]]] = [
        (world.alice, []),
        (revoked, ["revoked"]),
        (silent, ["unknown"]),
    ]
    messages = [(sign(MESSAGE, signer=one, at=world.now - 3 * DAY), said) for one, said in wanted]
    done = threading.Event()

    def destroy() -> None:
        for turn in itertools.count():
            if done.wait(0.003):
                return
            if turn % 3 == 0:
                place.unlink(missing_ok=True)
            elif turn % 3 == 1 and place.exists():
                os.truncate(place, 700)
            else:
                place.write_bytes(b"SQLite format 3\0" + bytes(200))
                place.chmod(0o600)

    def ask(turn: int) -> None:
        raw, said = messages[turn % 3]
        report = examine(raw, trust=world.trust, at=world.at, revocation=known)
        codes = [one.code for one in report.errors]
        assert report.accepted is (said == [])
        assert [one.removeprefix("pki.revocation.") for one in codes] == said

    destroyer = threading.Thread(target=destroy)
    destroyer.start()
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(ask, range(60)))
    finally:
        done.set()
        destroyer.join()
    assert service.log.count("GET /crl") >= 1
