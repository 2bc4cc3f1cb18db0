"""Fixtures for tests of programs that mail: pytest finds them wherever smime-graph is installed.

    from smime_graph import GraphClient, seal, unseal

    MAIL = b"From: alice@contoso.com\\nTo: bob@contoso.com\\nSubject: Figures\\n\\n42\\n"

    def test_mail(smime_ca, graph_emulator):
        alice, bob = smime_ca.issue("alice@contoso.com"), smime_ca.issue("bob@contoso.com")
        with GraphClient("token", transport=graph_emulator.transport()) as graph:
            graph.send(seal(MAIL, signer=alice, recipients=[bob.contact]))
        (arrived,) = graph_emulator.mailbox("bob@contoso.com").messages()
        opened = unseal(arrived.raw, identities=[bob], trust=smime_ca.trust)
        assert opened.signer.email == "alice@contoso.com"

What other programs read are files: `with bob.tempfile() as path`, `smime_ca.tempfile()`. A program
that speaks HTTP is given the URL of `graph_emulator.serve()`.

pytest imports this module at every start, so it imports nothing until a fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .authority.family import Family
    from .authority.issue import CA
    from .emulator import Emulator

__all__ = ["graph_emulator", "smime_ca", "smime_family"]


@pytest.fixture(scope="session")
def smime_ca() -> CA:
    """A certification authority of now, the same for all tests: `smime_ca.issue(ADDRESS)` makes
    people, `smime_ca.trust` is what believes them.
    """
    from .authority.issue import CA

    return CA()


@pytest.fixture(scope="session")
def smime_family() -> Family:
    """A certificate for each way to be good or odd, of now: `smime_family["expired"].identity`,
    with the CRLs of their authorities; `smime_family.trust` is what believes the good ones.
    """
    from .authority.family import family

    return family()


@pytest.fixture
def graph_emulator() -> Iterator[Emulator]:
    """A Microsoft Graph in this process, empty for each test; an address becomes a mailbox when it
    is first used, and any token is good.
    """
    from .emulator import Emulator

    with Emulator(open_mailboxes=True) as emulator:
        yield emulator
