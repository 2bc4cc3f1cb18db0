"""What a message costs grows with what it holds, and no faster: calls of functions are counted.

Not time, which differs from run to run; so a builtin that looks at everything is not seen here
(test_large.py bounds those). Each count is of a second run, after what is
made once was made.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from smime_graph import CA, Contact, Identity, decrypt, encrypt, sign, verify

from ..work import calls_of

_NOW = datetime.now(UTC)
_SIZES = (6, 24, 96)


@functools.cache
def authority() -> CA:
    return CA("Growth", key="p256", at=_NOW)


@functools.cache
def people(count: int) -> tuple[Identity, ...]:
    return tuple(authority().issue(f"u{n}@contoso.com", key="p256") for n in range(count))


def mail(*, to: Sequence[str] = (), parts: int = 0, lines: int = 1, extra: str = "") -> bytes:
    body = "A line that is neither short nor long.\r\n" * lines
    head = f"From: u0@contoso.com\r\nTo: {', '.join(to) or 'u1@contoso.com'}\r\n{extra}"
    if not parts:
        return f"{head}\r\n{body}".encode()
    part = f'--b\r\nContent-Type: text/plain; charset="utf-8"\r\n\r\n{body}'
    kind = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
    return f"{head}{kind}\r\n{part * parts}--b--\r\n".encode()


def signing(raw: bytes, count: int = 1) -> Callable[[], object]:
    return functools.partial(sign, raw, signer=people(count), at=_NOW)


def verifying(raw: bytes, count: int = 1) -> Callable[[], object]:
    signed = sign(raw, signer=people(count), at=_NOW)
    return functools.partial(verify, signed, trust=authority().trust, at=_NOW)


def encrypting(count: int) -> Callable[[], object]:
    contacts = [Contact(one.certificate) for one in people(count)]
    raw = mail(to=[f"u{n}@Contoso.Com" for n in range(count)])
    return functools.partial(encrypt, raw, recipients=contacts, at=_NOW)


def decrypting(count: int) -> Callable[[], object]:
    """By the last of the recipients, who has as many keys."""
    sealed = encrypt(
        mail(to=[f"u{n}@contoso.com" for n in range(count)]),
        recipients=[Contact(one.certificate) for one in people(count)],
        at=_NOW,
    )
    others = [authority().issue("x@contoso.com", key="p256") for _ in range(count)]
    return functools.partial(decrypt, sealed, identities=[*others, people(count)[-1]])


def with_certificates(count: int) -> Callable[[], object]:
    """Verification of a message with which so many certificates of one name come along."""
    count += 64  # fewer are known again by their octets, and cost less for that
    one = people(1)[0]
    many = tuple(
        authority().issue("u0@contoso.com", key=one.private_key).certificate for _ in range(count)
    )
    signed = sign(mail(), signer=Identity(one.private_key, one.certificate, chain=many), at=_NOW)
    return functools.partial(verify, signed, trust=authority().trust, at=_NOW)


def fields(count: int) -> str:
    return "".join(f"X-Field-{n}: value\r\n" for n in range(count))


WORK: dict[str, Callable[[int], Callable[[], object]]] = {
    "sign lines": lambda n: signing(mail(lines=20 * n)),
    "verify lines": lambda n: verifying(mail(lines=20 * n)),
    "sign parts": lambda n: signing(mail(parts=n)),
    "verify parts": lambda n: verifying(mail(parts=n)),
    "sign fields": lambda n: signing(mail(extra=fields(n))),
    "verify fields": lambda n: verifying(mail(extra=fields(n))),
    "sign signers": lambda n: signing(mail(), n),
    "verify signers": lambda n: verifying(mail(), n),
    "verify certificates": with_certificates,
    "encrypt recipients": encrypting,
    "decrypt recipients": decrypting,
}


@pytest.mark.parametrize("name", WORK)
def test_work_grows_as_what_is_worked_on(name: str) -> None:
    small, middle, large = (calls_of(WORK[name](n)) for n in _SIZES)
    few, many = _SIZES[1] - _SIZES[0], _SIZES[2] - _SIZES[1]
    # What each further one adds is no more where there are many; were it in proportion to their
    # number, it would be four times as much. The name of each signer is compared with each
    # certificate, which the message pays for (budget.COMPARISON); of 100 signers that is a half.
    factor = 1.75 if name == "verify signers" else 1.25
    assert (large - middle) / many <= factor * (middle - small) / few + 1


def test_the_count_sees_what_grows_with_the_square() -> None:
    def each_with_each(n: int) -> Callable[[], object]:
        return lambda: [abs(one - other) for one in range(n) for other in range(n)]

    small, middle, large = (calls_of(each_with_each(n)) for n in _SIZES)
    few, many = _SIZES[1] - _SIZES[0], _SIZES[2] - _SIZES[1]
    assert (large - middle) / many > 3 * (middle - small) / few
