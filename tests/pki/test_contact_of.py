"""The short ways from what one has to what is asked for: ca.trust, identity.contact."""

from __future__ import annotations

import pytest

from smime_graph import CA, Contact, TrustStore, UsageError, seal, unseal


def test_an_identity_and_an_authority_give_what_others_need() -> None:
    ca = CA("Root", key="p256")
    alice, bob = ca.issue("alice@contoso.com", key="p256"), ca.issue("bob@contoso.com", key="p256")
    assert ca.trust == TrustStore((ca.certificate,)) == TrustStore.load(ca.trust_pem)
    assert bob.contact == Contact(bob.certificate)
    message = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\n\r\nhello\r\n"
    sealed = seal(message, signer=alice, recipients=[bob.contact])
    assert unseal(sealed, identities=[bob], trust=ca.trust).signer is not None


def test_below_an_intermediate_the_root_is_what_is_trusted() -> None:
    ca = CA("Root", key="p256")
    assert ca.create_intermediate(key="p256").trust == ca.trust


def test_nobody_encrypts_to_a_key_that_only_signs() -> None:
    only_signs = CA("Root", key="p256").issue("alice@contoso.com", key="p256", use="sign")
    with pytest.raises(UsageError, match="not for encryption"):
        _ = only_signs.contact
