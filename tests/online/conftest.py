"""Services of revocation on loopback: a real server, whose answers a test decides on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID as Access

from smime_graph import CA, Fetcher, Identity, MessageReport, Revocation, TrustStore, examine, sign

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MESSAGE = b"From: alice@contoso.com\nTo: bob@contoso.com\nSubject: s\n\ntext\n"

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    server: Service
    body: bytes = b""

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.log.append(f"{self.command} {self.path}")
        self.server.headers.append(dict(self.headers))
        answer = self.server.answers.get(self.path)
        if answer is None:
            self.give(b"nothing here", status=404)
        elif isinstance(answer, bytes):
            self.give(answer)
        else:
            answer(self)

    do_POST = do_GET  # noqa: N815

    def give(self, body: bytes, *, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


class Service(ThreadingHTTPServer):
    """What it answers at each path: octets, or a function of the request."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, bytes | Answer] = {}
        self.log: list[str] = []
        self.headers: list[dict[str, str]] = []

    def handle_error(self, *_: Any) -> None:
        """Somebody hung up, which is what some tests are about."""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def asking(
    *, ocsp: str | None = None, crl: str | list[str] | None = None, issuers: str | None = None
) -> list[x509.Extension[Any]]:
    """The extensions that say where to ask."""
    places = [(Access.OCSP, ocsp), (Access.CA_ISSUERS, issuers)]
    access = [
        x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
        for method, url in places
        if url
    ]
    found: list[Any] = [x509.AuthorityInformationAccess(access)] if access else []
    if crl:
        names = [
            x509.UniformResourceIdentifier(u) for u in ([crl] if isinstance(crl, str) else crl)
        ]
        found.append(x509.CRLDistributionPoints([x509.DistributionPoint(names, None, None, None)]))
    return [x509.Extension(one.oid, False, one) for one in found]


@dataclass
class World:
    """A root, an issuing authority, alice; the answers of both authorities are at `service`.

    Alice's certificate names /ocsp and /crl, that of the issuing authority /root.crl.
    """

    service: Service
    now: datetime
    root: CA
    issuing: CA
    alice: Identity
    at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.at = self.now

    @classmethod
    def of(
        cls,
        service: Service,
        *,
        at_leaf: list[x509.Extension[Any]] | None = None,
        key: str = "p256",
    ) -> World:
        now = datetime.now(UTC).replace(microsecond=0)
        root = CA("Root", key=key, at=now - 30 * DAY)
        above = asking(crl=service.url("/root.crl"))
        issuing = root.create_intermediate("Issuing", key=key, at=now - 30 * DAY, extensions=above)
        if at_leaf is None:
            at_leaf = asking(ocsp=service.url("/ocsp"), crl=service.url("/crl"))
        alice = issuing.issue("alice@contoso.com", key=key, at=now - 20 * DAY, extensions=at_leaf)
        world = cls(service, now, root, issuing, alice)
        service.answers["/root.crl"] = world.crl(root)
        return world

    @property
    def trust(self) -> TrustStore:
        return self.root.trust

    def signed(self, at: datetime | None = None) -> bytes:
        return sign(MESSAGE, signer=self.alice, at=at or self.now - 3 * DAY)

    def examine(self, raw: bytes | None = None, **changes: Any) -> MessageReport:
        fetch = changes.pop("fetch", None) or Fetcher(allow_local=True)
        known = Revocation(
            mode=changes.pop("mode", "soft"), crls=changes.pop("crls", ()), fetch=fetch
        )
        raw = self.signed() if raw is None else raw
        arguments: dict[str, Any] = {"trust": self.trust, "at": self.at, "revocation": known}
        return examine(raw, **arguments | changes)

    def said(self, **changes: Any) -> dict[str, str]:
        """The findings about revocation and issuers: their texts by the end of their codes."""
        report = self.examine(**changes)
        return {
            one.code.removeprefix("pki.").removeprefix("revocation."): one.text
            for one in report.findings
            if one.code.startswith(("pki.revocation.", "pki.path."))
        }

    def crl(
        self,
        by: CA | None = None,
        *,
        revoked: dict[int, datetime] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        key: Any = None,
        extensions: tuple[x509.ExtensionType, ...] = (),
        number: int = 1,
    ) -> bytes:
        by = by or self.issuing
        issuer: Any = by.certificate.x509.public_key()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(by.certificate.x509.subject)
            .last_update(since or self.now - DAY)
            .next_update(until or self.now + DAY)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False
            )
        )
        for one in extensions:
            critical = isinstance(one, x509.DeltaCRLIndicator | x509.IssuingDistributionPoint)
            builder = builder.add_extension(one, critical=critical)
        for serial, when in (revoked or {}).items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when)
            builder = builder.add_revoked_certificate(entry.build())
        made = builder.sign(key or by.private_key, hashes.SHA256())
        return made.public_bytes(Encoding.DER)

    @property
    def serial(self) -> int:
        return self.alice.certificate.serial_number

    def response(
        self,
        request: bytes,
        status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
        *,
        of: Identity | None = None,
        by: CA | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        revoked_at: datetime | None = None,
        is_forged: bool = False,
        nonce: bytes | bool | None = True,
        responder: Any = None,
    ) -> bytes:
        by = by or self.issuing
        certificate = (of or self.alice).certificate.x509
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                cert=certificate,
                issuer=by.certificate.x509,
                algorithm=hashes.SHA1(),
                cert_status=status,
                this_update=since or self.now - HOUR,
                next_update=until or self.now + 2 * HOUR,
                revocation_time=revoked_at,
                revocation_reason=None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, (responder or by).certificate.x509)
        )
        if responder is not None:
            builder = builder.certificates([responder.certificate.x509])
        asked = next(
            e.value
            for e in ocsp.load_der_ocsp_request(request).extensions
            if isinstance(e.value, x509.OCSPNonce)
        ).nonce
        nonce = asked if nonce is True else nonce
        if nonce:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        signer = (responder or by).private_key
        made = builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)
        if not is_forged:
            return made
        signature = ocsp.load_der_ocsp_response(made).signature
        return made.replace(signature, signature[:-1] + bytes([signature[-1] ^ 1]))

    def responds(self, status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD, **how: Any) -> None:
        """Let the responder answer so from now on."""

        def answer(handler: Handler) -> None:
            handler.give(self.response(handler.body, status, **how))

        self.service.answers["/ocsp"] = answer


@pytest.fixture
def world(service: Service) -> World:
    return World.of(service)
