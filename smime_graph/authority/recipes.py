"""What a certificate of a family is made of: good by default, and odd in what a recipe says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from cryptography import x509

from .. import oids
from .mutators import Mutator
from .records import RevocationReason

__all__ = ["Authority", "Leaf"]

ALICE = "alice@contoso.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """How its issuer signs it, and what is changed before."""

    starts: timedelta = timedelta(days=-30)  # from the time of the family
    lasts: timedelta = timedelta(days=365)
    extensions: tuple[x509.Extension[Any], ...] = ()  # replace those of the same kind, or are added
    without: tuple[str, ...] = ()  # extensions left out, dotted
    changes: tuple[Mutator, ...] = ()
    digest: str | None = None  # "sha1", "md5": signed anew with it
    outer: str | None = None
    spoil: bool = False
    revoked: RevocationReason | None = None
    revoked_at: timedelta = timedelta(days=-1)
    serial: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority(Signed):
    """A certification authority of a family; `parent` is another's id, None for a root."""

    parent: str | None = "root"
    key: str = "rsa-2048"
    name: str | None = None  # its common name; None is made of its id
    key_of: str | None = None  # has the key and the name of that one: a cross-certificate
    lasts: timedelta = timedelta(days=3650)
    is_ca: bool = True
    path_length: int | None = None
    key_usage: tuple[str, ...] | None = ("key_cert_sign", "crl_sign", "digital_signature")
    eku: tuple[str, ...] | None = (oids.EMAIL_PROTECTION,)
    believed: bool = True  # of a root: whether the family's trust store has it
    crl: Literal["fresh", "stale", "none", "forged"] = "fresh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf(Signed):
    """A person's certificate; what is not said is as S/MIME BR's strict mailbox profile has it."""

    issuer: str = "issuing"  # an authority's id, or "self"
    key: str = "rsa-2048"
    number: int = 0  # which key of the pool
    addresses: tuple[str, ...] = (ALICE,)
    # attributes of the subject: (dotted, text); None is the common name alone, the first address
    subject: tuple[tuple[str, str], ...] | None = None
    san: Literal["usual", "none"] = "usual"
    key_usage: tuple[str, ...] | Literal["usual"] | None = "usual"
    eku: tuple[str, ...] | None = (oids.EMAIL_PROTECTION,)
    policies: tuple[str, ...] = (oids.MAILBOX_STRICT,)
    is_ca: bool = False
    sends: tuple[str, ...] | None = None  # authorities that come along; None: all between
