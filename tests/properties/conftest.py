"""People and messages that every property shares: made once, because keys are slow to make."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings

from smime_graph import CA, Contact, Identity, TrustStore

# The machines that run this differ by a factor of ten, so an example may take what it takes; what
# must be quick is measured by `within`.
settings.register_profile(
    "smime", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("smime")


@dataclass(frozen=True, slots=True)
class People:
    ca: CA
    trust: TrustStore
    alice: Identity  # RSA
    bob: Identity  # P-256
    carol: Identity  # Ed25519 signs, X25519 decrypts

    @property
    def everyone(self) -> tuple[Identity, ...]:
        return (*self.alice.identities, *self.bob.identities, *self.carol.identities)

    @property
    def readers(self) -> list[Contact]:
        return [Contact(self.alice.certificate), Contact(self.bob.certificate)]


@pytest.fixture(scope="session")
def people() -> People:
    ca = CA()
    return People(
        ca,
        TrustStore.from_pem(ca.trust_pem),
        ca.issue("alice@contoso.com"),
        ca.issue("bob@contoso.com", key="p256"),
        ca.issue("carol@contoso.com", key="ed25519"),
    )


@pytest.fixture
def within() -> Callable[..., object]:
    """`with within(seconds):` fails if its block takes much longer, in time of the processor.

    Machines are shared and slow at times: what this is for, a quadratic loop, takes minutes.
    """

    @contextmanager
    def within(seconds: float) -> Iterator[SimpleNamespace]:
        begun = time.process_time()
        yield SimpleNamespace()
        took = time.process_time() - begun
        assert took < 4 * seconds, f"took {took:.1f} s instead of about {seconds} s"

    return within
