"""What the catalogue has, below an authority of one's own: variants by id, alone or together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Literal

from cryptography import x509

from ..arguments import checked
from ..errors import UsageError
from ..pki.identity import Identity
from .issue import CA
from .maker import Maker
from .profile import key_of, service_name, usage_of
from .recipes import ALICE, Leaf
from .variants import AUTHORITIES, VARIANTS

__all__ = ["issue_variant"]

# what a recipe adds to, where another one has something there already
_ADDED = ("extensions", "without", "changes")


@checked
def issue_variant(
    ca: CA,
    *addresses: str,
    variants: Sequence[str],
    key: str = "rsa-2048",
    use: Literal["both", "sign", "encrypt"] = "both",
    not_after: datetime | None = None,
    changes: dict[str, Any] | None = None,
) -> Identity:
    """A certificate for these addresses that is odd in what these variants of the catalogue are.

    `ca` stands for the catalogue's root and its issuing authority; another that a variant wants
    (one that has expired, say) is made below it, so `ca` should be a root for that. The key is a
    new one, of the kind `key` unless a variant is about that; `use` and `not_after` are as for
    `CA.issue`, where no variant is about the former. What several variants change is
    changed by the last; `changes` are fields of `recipes.Leaf`, changed at the end. What is revoked
    in the catalogue `ca` revokes. UsageError for a variant that there is none of, and an address
    that is none.
    """
    recipe = replace(_merged(variants), **(changes or {}))
    if not addresses:
        raise UsageError("a variant needs an address", hint="use a form like alice@contoso.com")
    recipe = _addressed(recipe, addresses)
    if recipe.key != Leaf().key:
        key = recipe.key
    private_key, kind = key_of(key)
    at = (ca.at or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
    if recipe.key_usage == "usual" and use != "both":
        recipe = replace(recipe, key_usage=usage_of(kind, use))
    if not_after is not None:
        lasts = not_after - (at + recipe.starts) + timedelta(seconds=1)
        recipe = replace(recipe, lasts=lasts)
    # where the chain itself is odd the issuing authority is one below
    held = ["root", "issuing"] if recipe.issuer == "issuing" and recipe.sends is None else ["root"]
    own = (ca.private_key, ca.certificate, service_name(ca.certificate))
    maker = Maker("smime_graph", at, url=ca.services, held=dict.fromkeys(held, own))
    identity = maker.leaf("leaf", recipe, private_key)
    for name, made in maker.authorities.items():
        if name not in held and AUTHORITIES[name].parent in held:
            ca.enter(made)
    if recipe.issuer in held:
        ca.enter(identity.certificate, emails=recipe.addresses)
    for name in held:
        for certificate, signed in maker.revoked.get(name, ()):
            if signed.revoked is not None:
                ca.revoke(certificate, reason=signed.revoked, at=at + signed.revoked_at)
    below = tuple(one for one in identity.chain if one != ca.certificate)
    if recipe.sends is not None or recipe.issuer == "self":
        return replace(identity, chain=below)
    return replace(identity, chain=(*below, *ca.chain))


def _merged(names: Sequence[str]) -> Leaf:
    known = {one.id: one.recipe for one in VARIANTS}
    usual = Leaf()
    made = usual
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=3)
            raise UsageError(
                f"variant {name[:60]!r} is not known",
                hint=f"use {' or '.join(close)}"
                if close
                else "harness issue writes all, and index.json names them",
            )
        recipe = known[name]
        odd = {
            one.name: getattr(recipe, one.name)
            for one in fields(Leaf)
            if getattr(recipe, one.name) != getattr(usual, one.name)
        }
        for one in _ADDED:
            if one in odd:
                odd[one] = getattr(made, one) + odd[one]
        made = replace(made, **odd)
    return made


def _addressed(recipe: Leaf, addresses: tuple[str, ...]) -> Leaf:
    """The recipe with these in place of the catalogue's address, in whatever case that is there."""
    first = addresses[0]

    def renamed(text: str) -> str:
        if text.lower() != ALICE:
            return text
        local, _, domain = first.rpartition("@")
        there = text.rpartition("@")
        local = local if there[0].islower() else local.capitalize()
        return f"{local}@{domain if there[2].islower() else domain.upper()}"

    held = tuple(map(renamed, recipe.addresses))
    subject = recipe.subject and tuple((oid, renamed(text)) for oid, text in recipe.subject)
    more = addresses[1:] if first in held else ()
    extensions = tuple(_renamed(one, renamed) for one in recipe.extensions)
    return replace(recipe, addresses=(*held, *more), subject=subject, extensions=extensions)


def _renamed(one: x509.Extension[Any], renamed: Callable[[str], str]) -> x509.Extension[Any]:
    if not isinstance(one.value, x509.SubjectAlternativeName):
        return one
    names = [
        x509.RFC822Name(renamed(name.value)) if isinstance(name, x509.RFC822Name) else name
        for name in one.value
    ]
    return x509.Extension(one.oid, one.critical, x509.SubjectAlternativeName(names))
