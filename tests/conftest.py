"""People and their certificates, made once a run (nothing here ever expires)."""

from __future__ import annotations

import os
from collections.abc import Generator
from datetime import UTC, datetime

import pytest

from smime_graph.authority.issue import CA
from smime_graph.pki.identity import Contact, Identity
from smime_graph.pki.trust import TrustStore
from smime_graph.policy import EXCHANGE
from smime_graph.x509.certificate import Certificate

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With REQUIRE_PEERS=1 a test that is skipped because something "is not installed" fails."""
    report = yield
    if os.environ.get("REQUIRE_PEERS") == "1" and report.skipped:
        reason = str(report.longrepr[-1]) if isinstance(report.longrepr, tuple) else ""
        if "is not installed" in reason:
            report.outcome = "failed"
            report.longrepr = f"REQUIRE_PEERS=1: {reason.removeprefix('Skipped: ')}"
    return report


@pytest.fixture(scope="session")
def now() -> datetime:
    """The time at which the tests sign and judge."""
    return NOW


@pytest.fixture(scope="session")
def ca() -> CA:
    return CA("Test Root", key="p256", at=NOW)


@pytest.fixture(scope="session")
def trust(ca: CA) -> TrustStore:
    return TrustStore((ca.certificate,))


@pytest.fixture(scope="session")
def alice(ca: CA) -> Identity:
    return ca.issue("alice@contoso.com", key="p256", at=NOW)


@pytest.fixture(scope="session")
def alice_rsa(ca: CA) -> Identity:
    return ca.issue("alice@contoso.com", key="rsa-2048", at=NOW)


@pytest.fixture(scope="session")
def bob(ca: CA) -> Identity:
    return ca.issue("bob@contoso.com", key="p256", at=NOW)


@pytest.fixture(scope="session")
def bob_rsa(ca: CA) -> Identity:
    return ca.issue("bob@contoso.com", key="rsa-2048", at=NOW)


@pytest.fixture(scope="session")
def mallory(ca: CA) -> Identity:
    """Somebody with a good certificate who is not Alice."""
    return ca.issue("mallory@contoso.com", key="p256", at=NOW)


def contact(identity: Identity) -> Contact:
    certificate = identity.encryption_certificate
    assert isinstance(certificate, Certificate)
    return Contact(certificate)


@pytest.fixture(scope="session")
def to_bob(bob: Identity) -> Contact:
    return contact(bob)


@pytest.fixture(scope="session")
def to_bob_rsa(bob_rsa: Identity) -> Contact:
    return contact(bob_rsa)


# signs the content and no header fields, as everybody did before RFC 9788
BARE = EXCHANGE.but("bare", header_protection=False)


@pytest.fixture
def message() -> bytes:
    return (
        b"From: Alice <alice@contoso.com>\r\n"
        b"To: Bob <bob@contoso.com>\r\n"
        b"Subject: Figures\r\n"
        b"Message-ID: <1@contoso.com>\r\n"
        b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\n"
        b"\r\n"
        b"the figures\r\n"
    )


def signed_content(message: bytes, intent: str = "clear") -> bytes:
    """What is signed of a message of short lines: its header fields, too (RFC 9788 5.2.1)."""
    header, _, body = message.partition(b"\r\n\r\n")
    fields = [line + b"\r\n" for line in header.split(b"\r\n")]
    own = [one for one in fields if not one.startswith((b"Content-", b"MIME-"))]
    hp = b'text/plain; hp="%s"' % intent.encode()
    mime = [one.replace(b"text/plain", hp) for one in fields if one not in own]
    outer = [b"HP-Outer: " + one for one in own] if intent == "cipher" else []
    return b"".join([*own, *outer, *mime, b"\r\n", body])
