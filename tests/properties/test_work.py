"""Where many things meet many others the work is counted: it grows with their sum, not product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smime_graph import examine
from smime_graph.pki import address

from .large import World, from_and_names, name_constraints


@pytest.fixture(scope="session")
def world() -> World:
    return World.make()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[int]]:
    """`counted(module, name)` is a list with the number of calls of that function so far."""

    def counted(module: Any, name: str) -> list[int]:
        real, calls = getattr(module, name), [0]

        def one_more(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, one_more)
        return calls

    return counted


@pytest.mark.parametrize(("senders", "names", "signers"), [(300, 300, 1), (100, 100, 20)])
def test_the_addresses_of_from_and_of_certificates_are_each_read_a_few_times(
    world: World, counted: Any, senders: int, names: int, signers: int
) -> None:
    raw = from_and_names(world, senders=senders, names=names, signers=signers)
    calls = counted(address, "_addr_spec")
    report = examine(raw.replace(b"@example.org", b"@Example.Org"), trust=world.trust)
    assert len(report.signers) == signers
    assert report.has("pki.address.mismatch")
    assert calls[0] <= 6 * (senders + names)


@pytest.mark.parametrize("permitted", [True, False])
@pytest.mark.parametrize("mailboxes", [True, False])
def test_names_and_constraints_are_each_read_a_few_times(
    world: World, counted: Any, permitted: bool, mailboxes: bool
) -> None:
    raw = name_constraints(
        world, names=200, constraints=200, permitted=permitted, mailboxes=mailboxes
    )
    calls = counted(address, "_addr_spec")
    report = examine(raw, trust=world.trust)
    assert report.signers[0].trusted is not (permitted and mailboxes)
    assert calls[0] <= 6 * 400
