"""The services on loopback: what our own fetcher and openssl get, and what each fault does."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from smime_graph import CA, Fetcher, Identity, Revocation, examine, sign
from smime_graph.authority.family import family
from smime_graph.authority.profile import service_name
from smime_graph.authority.service import FAULTS, Services
from smime_graph.authority.variants import VARIANTS
from smime_graph.errors import UsageError
from smime_graph.loopback.server import Server
from smime_graph.pki.keyfiles.read import armour

DAY = timedelta(days=1)
MESSAGE = b"From: alice@contoso.com\nTo: bob@contoso.com\nSubject: s\n\ntext\n"


@dataclass
class World:
    """A root, an issuing authority, alice and bob; bob was revoked yesterday."""

    services: Services
    server: Server
    root: CA
    issuing: CA
    alice: Identity
    bob: Identity

    @property
    def name(self) -> str:
        return service_name(self.issuing.certificate)

    def said(self, *faults: str, mode: Any = "hard", who: Identity | None = None) -> list[str]:
        """The findings of revocation about a message of alice's."""
        self.services.set_faults(faults)
        who = who or self.alice
        raw = sign(
            MESSAGE.replace(b"alice@contoso.com", who.emails[0].encode()),
            signer=who,
            at=datetime.now(UTC) - 3 * DAY,
        )
        known = Revocation(mode=mode, fetch=Fetcher(allow_local=True))
        report = examine(raw, trust=self.root.trust, revocation=known)
        codes = [one.code for one in report.findings if one.code.startswith("pki.revocation.")]
        return [one.removeprefix("pki.revocation.") for one in codes]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.server.url}{path}", trust_env=False, verify=False)


@contextmanager
def world_of(*, key: str = "p256", crl_only: bool = False, **how: Any) -> Iterator[World]:
    root = CA("Root", key=key, at=datetime.now(UTC) - 30 * DAY)
    first = Services(root)
    with first.serve() as early:
        port = early.port
    root.services = f"http://127.0.0.1:{port}"
    issuing = root.create_intermediate("Issuing", key=key)
    services = Services(root, issuing, **how)
    with services.serve(port) as server:
        assert server.url == root.services
        extensions = []
        if crl_only:
            place = x509.UniformResourceIdentifier(f"{server.url}/none.cer")
            access = x509.AuthorityInformationAccess(
                [x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)]
            )
            extensions = [x509.Extension(access.oid, False, access)]
        alice, bob = (
            issuing.issue(f"{name}@contoso.com", key=key, extensions=extensions)
            for name in ("alice", "bob")
        )
        issuing.revoke(bob.certificate, reason="keyCompromise", at=datetime.now(UTC) - DAY)
        yield World(services, server, root, issuing, alice, bob)


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with world_of() as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    yield shared
    shared.services.set_faults(())


@pytest.fixture(scope="module")
def by_lists() -> Iterator[World]:
    """Of whose people only CRLs tell."""
    with world_of(crl_only=True) as world:
        yield world


# --- good ----------------------------------------------------------------------------------------


def test_our_own_fetcher_is_told_who_is_good_and_who_is_not(world: World) -> None:
    before = len(world.services.log)
    assert world.said() == []
    asked = [(one.kind, one.method, one.status) for one in world.services.log[before:]]
    assert asked == [("ocsp", "POST", 200), ("ocsp", "POST", 200)]
    assert world.said(who=world.bob) == ["revoked"]
    assert world.said(who=world.bob, mode="soft") == ["revoked"]


def test_a_crl_tells_where_ocsp_does_not(world: World, by_lists: World) -> None:
    assert world.said("ocsp:missing") == []
    assert world.said("ocsp:missing", who=world.bob) == ["revoked"]
    assert by_lists.said() == []
    assert by_lists.said(who=by_lists.bob) == ["revoked"]


def test_the_issuer_is_found_where_the_message_has_none(world: World) -> None:
    alone = Identity(world.alice.private_key, world.alice.certificate)
    assert world.said(who=alone) == []
    assert any(one.kind == "issuer" for one in world.services.log)


def test_ocsp_by_get_and_what_is_no_request(world: World) -> None:
    request = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(
            world.bob.certificate.x509, world.issuing.certificate.x509, hashes.SHA256()
        )
        .build()
        .public_bytes(Encoding.DER)
    )
    encoded = base64.b64encode(request).decode()
    for path in (f"/ocsp/{quote(encoded, safe='')}", f"/ocsp/{encoded}"):
        answer = world.get(path)
        assert answer.headers["Content-Type"] == "application/ocsp-response"
        read = ocsp.load_der_ocsp_response(answer.content)
        assert read.certificate_status is ocsp.OCSPCertStatus.REVOKED
    for path in ("/ocsp", "/ocsp/", "/ocsp/!!", "/ocsp/AAAA"):
        read = ocsp.load_der_ocsp_response(world.get(path).content)
        assert read.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    stranger = CA("Root", key="p256")
    other = ocsp.OCSPRequestBuilder().add_certificate(
        stranger.issue("a@contoso.com", key="p256").certificate.x509,
        stranger.certificate.x509,
        hashes.SHA1(),
    )
    answer = httpx.post(
        f"{world.server.url}/ocsp",
        content=other.build().public_bytes(Encoding.DER),
        trust_env=False,
        verify=False,
    )
    read = ocsp.load_der_ocsp_response(answer.content)
    assert read.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


def test_what_is_not_there_and_what_is_shown_to_people(world: World) -> None:
    for path in ("/nothing", f"/{world.name}.xyz", f"/{world.name}.delta.crl", "/x.crl", "/%00"):
        assert world.get(path).status_code == 404, path
    assert f"{world.server.url}/{world.name}.crl" in world.get("/").text
    url = f"{world.server.url}/{world.name}.crl"
    assert httpx.post(url, content=b"x", trust_env=False, verify=False).status_code == 405
    assert httpx.put(f"{world.server.url}/ocsp", trust_env=False, verify=False).status_code == 405
    post = httpx.post(
        f"{world.server.url}/ocsp", content=bytes(100_000), trust_env=False, verify=False
    )
    assert post.status_code == 413


def test_a_time_of_its_own() -> None:
    then = datetime(2031, 5, 1, 12, tzinfo=UTC)
    with world_of(at=then) as world:
        crl = x509.load_der_x509_crl(world.get(f"/{world.name}.crl").content)
        assert crl.last_update_utc == then
        assert "invalid" in world.said()  # of a time to come nothing is known
    with world_of(at=datetime(2020, 1, 1, tzinfo=UTC)) as world:
        assert "stale" in world.said()
    with pytest.raises(UsageError, match="time zone"):
        Services(at=datetime(2031, 1, 1))  # noqa: DTZ001


def test_with_deltas_the_crl_stays_and_the_delta_tells() -> None:
    with world_of(deltas=True, crl_only=True) as world:
        assert world.said() == []
        base = world.get(f"/{world.name}.crl").content
        world.issuing.revoke(world.alice.certificate, at=datetime.now(UTC) - timedelta(seconds=2))
        assert world.get(f"/{world.name}.crl").content == base
        assert world.said() == ["revoked"]
        assert any(one.kind == "delta" for one in world.services.log)
        assert world.said("delta:missing") == ["invalid"]


def test_a_family_is_served_as_its_recipes_say() -> None:
    services = Services()
    wanted = ("p256", "revoked", "issuer-revoked", "crl-stale", "crl-none", "crl-forged")
    with services.serve() as server:
        made = family("corp", url=server.url, variants=[v for v in VARIANTS if v.id in wanted])
        services.add_family(made)

        def found(name: str) -> set[str]:
            raw = sign(MESSAGE, signer=made[name].identity)
            known = Revocation(mode="hard", fetch=Fetcher(allow_local=True))
            report = examine(raw, trust=made.trust, revocation=known)
            codes = {f.code for f in report.findings if f.code.startswith("pki.revocation.")}
            return codes - {"pki.revocation.not-fetched"}

        # as the CRLs say, but that what a revoked issuer says is asked for before it is known
        for name in wanted:
            by_lists = set(made[name].variant.revocation)
            assert found(name) == by_lists - (
                {"pki.revocation.invalid"} if name == "issuer-revoked" else set()
            ), name
        assert {one.kind for one in services.log} == {"ocsp", "crl"}
        services.set_faults(["crl:missing", "ocsp:missing"])
        answer = httpx.get(f"{server.url}/issuing.crl", trust_env=False, verify=False)
        assert answer.status_code == 404
        # an authority is added while it runs
        ca = CA(key="p256", services=server.url)
        services.add(ca)
        services.set_faults(())
        name = service_name(ca.certificate)
        answer = httpx.get(f"{server.url}/{name}.cer", trust_env=False, verify=False)
        assert answer.content == ca.certificate.der


# --- faults --------------------------------------------------------------------------------------

# of OCSP alone: what is found in the mode hard, where no CRL is there, beside "not-fetched"
WANTED = {
    "expired": "stale",
    "future": "invalid",  # RFC 6960 4.2.2.1: not reliable
    "no-next-update": "",  # RFC 6960 4.2.2.1: there is newer news at any time
    "forged": "invalid",
    "wrong-responder": "invalid",
    "no-ocsp-signing": "invalid",
    "no-nocheck": "",  # RFC 6960 4.2.2.2.1: how it is checked is left to who asks
    "expired-responder": "stale",
    "unknown": "unknown",
    "wrong-serial": "unknown",
    "wrong-nonce": "unknown",
    "no-nonce": "",
    "try-later": "unknown",
    "internal-error": "unknown",
    "sig-required": "unknown",
    "unauthorized": "unknown",
    "malformed": "unknown",
    "huge": "unknown",
    "missing": "unknown",
    "error": "unknown",
    "redirect": "unknown",  # a question that was posted is not repeated elsewhere
    "reset": "unknown",
}


@pytest.mark.parametrize("fault", WANTED)
def test_each_fault_of_ocsp(world: World, fault: str) -> None:
    found = set(world.said(f"ocsp:{fault}", "crl:missing"))
    assert found - {"not-fetched"} == ({WANTED[fault]} - {""})


def test_every_fault_is_tried() -> None:
    assert {one.name for one in FAULTS if "ocsp" in one.kinds} - {"slow"} == WANTED.keys()
    assert {one.name for one in FAULTS if "crl" in one.kinds} - {"slow"} == OF_LISTS.keys()


OF_LISTS = {
    "expired": "stale",
    "future": "invalid",
    "no-next-update": "",
    "forged": "invalid",
    "malformed": "unknown",
    "pem": "unknown",
    "huge": "unknown",
    "missing": "unknown",
    "error": "unknown",
    "redirect": "",
    "reset": "unknown",
}


@pytest.mark.parametrize("fault", OF_LISTS)
def test_each_fault_of_a_crl(by_lists: World, fault: str) -> None:
    found = set(by_lists.said(f"crl:{fault}", "ocsp:missing"))
    assert found - {"not-fetched"} == ({OF_LISTS[fault]} - {""})


@pytest.mark.parametrize(
    "fault", ["wrong-issuer", "malformed", "pem", "huge", "missing", "error", "reset"]
)
def test_each_fault_of_an_issuer(world: World, fault: str) -> None:
    alone = Identity(world.alice.private_key, world.alice.certificate)
    world.services.set_faults([f"issuer:{fault}"])
    raw = sign(MESSAGE, signer=alone)
    known = Revocation(mode="hard", fetch=Fetcher(allow_local=True))
    report = examine(raw, trust=world.root.trust, revocation=known)
    assert not report.accepted
    world.services.set_faults(["issuer:redirect"])
    assert examine(raw, trust=world.root.trust, revocation=known).accepted


def test_what_is_slow_takes_its_time_and_the_log_has_it() -> None:
    with world_of(slow=0.2) as world:
        world.services.set_faults(["crl:slow"])
        begin = datetime.now(UTC)
        assert world.get(f"/{world.name}.crl").status_code == 200
        assert datetime.now(UTC) - begin >= timedelta(seconds=0.2)
        assert world.services.log[-1].path == f"/{world.name}.crl"


def test_a_fault_that_is_none() -> None:
    for text in ("", "lost", "ocsp:pem", "x:expired", "ocsp:", "issuer:expired"):
        with pytest.raises(UsageError, match="is not known"):
            Services(faults=[text])
    Services(faults=["pem", "ocsp:expired"])


# --- openssl -------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("key", ["rsa-2048", "p256"])
def test_openssl_as_a_client(tmp_path: Path, key: str) -> None:
    with world_of(key=key) as world:
        world.services.set_faults(())
        (tmp_path / "root.pem").write_bytes(world.root.trust_pem)
        (tmp_path / "issuing.pem").write_bytes(armour(world.issuing.certificate))
        (tmp_path / "alice.pem").write_bytes(armour(world.alice.certificate))
        (tmp_path / "bob.pem").write_bytes(armour(world.bob.certificate))

        def run(*command: str) -> str:
            done = subprocess.run(
                ("openssl", *command), cwd=tmp_path, capture_output=True, text=True, check=False
            )
            return done.stdout + done.stderr

        def asked(*names: str) -> str:
            certificates = [word for name in names for word in ("-cert", f"{name}.pem")]
            return run(
                *("ocsp", "-issuer", "issuing.pem", *certificates, "-url"),
                *(f"{world.server.url}/ocsp", "-CAfile", "root.pem"),
                *("-verify_other", "issuing.pem"),
            )

        said = asked("alice", "bob")
        assert "Response verify OK" in said
        assert "alice.pem: good" in said
        assert "bob.pem: revoked" in said
        verify = ("verify", "-CAfile", "root.pem", "-untrusted", "issuing.pem", "-crl_check")
        assert "alice.pem: OK" in run(*verify, "-crl_download", "alice.pem")
        assert "certificate revoked" in run(*verify, "-crl_download", "bob.pem")
        for fault, text in (
            ("forged", "Response Verify Failure"),
            ("wrong-responder", "Response Verify Failure"),
            ("no-ocsp-signing", "Response Verify Failure"),
            ("wrong-nonce", "Nonce Verify error"),
            ("expired", "status expired"),
            ("try-later", "trylater (3)"),
            ("unknown", "alice.pem: unknown"),
            ("wrong-serial", "No Status found"),
            ("missing", "Error querying OCSP responder"),
        ):
            world.services.set_faults([f"ocsp:{fault}"])
            assert text in asked("alice"), fault
