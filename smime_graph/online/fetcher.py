"""CRLs, OCSP responses and issuers, from where the certificates say that they are.

OCSP first, since an answer is small (RFC 6960); then the CRLs of the distribution points, with the
delta that the freshest-CRL extension names (RFC 5280 4.2.1.13, 4.2.1.15, 5.2.6). An answer is kept
in the cache once it has told what was asked, until its nextUpdate.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID as Access

from ..arguments import checked
from ..errors import MalformedMessage
from ..pki.revocation import Evidence, Inquiry
from ..x509.certificate import Certificate
from ..x509.certificate_set import read_carried
from .addresses import Fault, shown
from .cache import Cache
from .exchange import Allowance, exchange

MAX_CRL = 10 << 20  # octets
MAX_OCSP = 64 << 10
MAX_ISSUERS = 256 << 10
_MAX_PLACES = 2  # that are asked for one thing
_MAX_POINTS = 4  # distribution points of one certificate
_MAX_NAMESAKES = 10  # certificates of an issuer in one answer
_NONCE = 32  # octets (RFC 9654 2.1)
_KEEP_ISSUERS = timedelta(days=1)  # nothing says how long
_NO_CRL = (ValueError, TypeError, x509.InvalidVersion)  # of octets that are none


class Fetcher:
    """Asks the services that certificates name, for `Revocation(fetch=...)`.

    `allow_local` allows services on this machine and on private networks (link-local addresses stay
    refused). `cache` is the Path of a SQLite file that keeps answers until they run out, for every
    process of this user; without one they are kept for one message. Raises UsageError where the
    cache cannot be used. May be shared by threads.
    """

    @checked
    def __init__(self, *, allow_local: bool = False, cache: Path | None = None) -> None:
        self._local = allow_local
        self._cache = None if cache is None else Cache(cache)

    def inquire(self) -> Inquiry:
        """The Inquiry of one message, within limits of its own."""
        return _Inquiry(local=self._local, cache=self._cache)


class _Inquiry:
    """What is asked for one message, each URL once."""

    def __init__(self, *, local: bool, cache: Cache | None) -> None:
        self._local = local
        self._cache = cache
        self._allowance = Allowance()
        self._answers: dict[str, bytes | Fault] = {}
        self._responses: dict[tuple[str, str], Evidence] = {}

    def evidence(
        self, certificate: Certificate, issuer: Certificate, *, at: datetime
    ) -> Iterator[Evidence]:
        responders = _access(certificate, Access.OCSP)
        points = _distribution_points(certificate)
        if not responders and not points:
            yield Evidence(fault="it names nobody to ask")
            return
        if responders:
            yield from self._ocsp(certificate, issuer, _askable(responders), at)
        if points:
            yield from self._crls(certificate, points, at)

    def issuers(self, certificate: Certificate, *, at: datetime) -> Evidence:
        places = _access(certificate, Access.CA_ISSUERS)
        faults: list[str] = []
        for url in _askable(places):
            data = self._known(f"issuers {url}", at)
            keep: Callable[[], None] | None = None
            try:
                if data is None:
                    data = self._get(url, MAX_ISSUERS)
                    keep = self._keep(f"issuers {url}", data, datetime.now(UTC) + _KEEP_ISSUERS)
                found = [
                    one
                    for one in _certificates_in(data)
                    if one.canonical_subject == certificate.canonical_issuer
                ]
            except (Fault, MalformedMessage) as fault:
                faults.append(f"{shown(url)}: {fault}")
                continue
            if found:
                return Evidence(certificates=tuple(found[:_MAX_NAMESAKES]), keep=keep or _nothing)
            faults.append(f"{shown(url)}: no certificate of the issuer")
        return Evidence(fault="; ".join(faults) or "it does not say where its issuer is")

    # --- OCSP -------------------------------------------------------------------------------------

    def _ocsp(
        self, certificate: Certificate, issuer: Certificate, places: Iterable[str], at: datetime
    ) -> Iterator[Evidence]:
        name = sha256(certificate.der + sha256(issuer.public_key_info).digest()).hexdigest()
        if (held := self._known(f"ocsp {name}", at)) is not None:
            yield Evidence(ocsp=(held,))
        for url in places:
            if (url, name) not in self._responses:
                try:
                    data, until = self._ask_responder(url, certificate, issuer)
                    keep = self._keep(f"ocsp {name}", data, until)
                    self._responses[url, name] = Evidence(ocsp=(data,), keep=keep)
                except Fault as fault:
                    self._responses[url, name] = Evidence(fault=f"{shown(url)}: {fault}")
            yield self._responses[url, name]

    def _ask_responder(
        self, url: str, certificate: Certificate, issuer: Certificate
    ) -> tuple[bytes, datetime | None]:
        nonce = os.urandom(_NONCE)
        try:
            # SHA-1 names the certificate here and protects nothing; every responder knows it
            # (RFC 5019 2.1.1)
            request = (
                ocsp.OCSPRequestBuilder()
                .add_certificate(certificate.x509, issuer.x509, hashes.SHA1())  # noqa: S303
                .add_extension(x509.OCSPNonce(nonce), critical=False)
                .build()
            )
        except (ValueError, TypeError, MalformedMessage) as error:
            raise Fault(f"no question can be made of the certificate: {error}") from None
        data = exchange(
            url,
            allowance=self._allowance,
            limit=MAX_OCSP,
            local=self._local,
            body=request.public_bytes(Encoding.DER),
            content_type="application/ocsp-request",
        )
        return data, _check_response(data, certificate, nonce)

    # --- CRLs -------------------------------------------------------------------------------------

    def _crls(
        self, certificate: Certificate, points: list[list[str]], at: datetime
    ) -> Iterator[Evidence]:
        fresher = _freshest(_extension(certificate, x509.FreshestCRL))
        for places in points:
            askable = _askable(places)
            if not askable:
                yield Evidence(fault=f"{shown(places[0])}: only http and https are asked")
            for url in askable:
                if (piece := self._kept_crl(url, fresher, at)) is not None:
                    yield piece
                try:
                    piece = self._crl(url, fresher)
                except Fault as fault:
                    yield Evidence(fault=f"{shown(url)}: {fault}")
                    continue
                yield piece
                break

    def _kept_crl(self, url: str, fresher: list[str], at: datetime) -> Evidence | None:
        """The CRL, and its delta where there is one, as long as neither has run out."""
        if (base := self._known(f"crl {url}", at)) is None:
            return None
        found = [base]
        deltas = [*_freshest_of(base), *fresher]
        for place in _askable(deltas):
            if (delta := self._known(f"crl {place}", at)) is not None:
                return Evidence(crls=(*found, delta))
        return None if deltas else Evidence(crls=tuple(found))

    def _crl(self, url: str, fresher: list[str]) -> Evidence:
        base = self._get(url, MAX_CRL)
        keep = [self._keep(f"crl {url}", base, _next_update(base))]
        found = [base]
        for place in _askable([*_freshest_of(base), *fresher]):
            try:
                delta = self._get(place, MAX_CRL)
                keep.append(self._keep(f"crl {place}", delta, _next_update(delta)))
            except Fault:
                continue  # whether the CRL is enough without it is for the validator to say
            found.append(delta)
            break
        return Evidence(crls=tuple(found), keep=partial(_all, keep))

    # --- what both need ---------------------------------------------------------------------------

    def _get(self, url: str, limit: int) -> bytes:
        if url not in self._answers:
            try:
                self._answers[url] = exchange(
                    url, allowance=self._allowance, limit=limit, local=self._local
                )
            except Fault as fault:
                self._answers[url] = fault
        answer = self._answers[url]
        if isinstance(answer, Fault):
            raise answer
        return answer

    def _known(self, key: str, at: datetime) -> bytes | None:
        """What the cache has. Judging the past, too, is by what is known now."""
        return None if self._cache is None else self._cache.get(key, max(at, datetime.now(UTC)))

    def _keep(self, key: str, value: bytes, until: datetime | None) -> Callable[[], None]:
        if self._cache is None or until is None:
            return _nothing
        return partial(self._cache.put, key, value, until)


def _nothing() -> None:
    return


def _all(calls: Iterable[Callable[[], None]]) -> None:
    for call in calls:
        call()


def _askable(places: Iterable[str]) -> list[str]:
    """Those that HTTP can ask, so many of them; a directory (LDAP) is not asked."""
    found = [one for one in places if one[:5].lower() == "http:" or one[:6].lower() == "https:"]
    return list(dict.fromkeys(found))[:_MAX_PLACES]


def _extension(
    certificate: Certificate, kind: type[x509.ExtensionType]
) -> x509.ExtensionType | None:
    try:
        return next((e.value for e in certificate.extensions if isinstance(e.value, kind)), None)
    except MalformedMessage:
        return None


def _access(certificate: Certificate, method: x509.ObjectIdentifier) -> list[str]:
    """The URIs of the authority information access (RFC 5280 4.2.2.1)."""
    held = _extension(certificate, x509.AuthorityInformationAccess)
    if not isinstance(held, x509.AuthorityInformationAccess):
        return []
    return _uris(one.access_location for one in held if one.access_method == method)


def _distribution_points(certificate: Certificate) -> list[list[str]]:
    held = _extension(certificate, x509.CRLDistributionPoints)
    if not isinstance(held, x509.CRLDistributionPoints):
        return []
    named = [_uris(one.full_name or ()) for one in list(held)[:_MAX_POINTS]]
    return [places for places in named if places]


def _freshest(held: x509.ExtensionType | None) -> list[str]:
    if not isinstance(held, x509.FreshestCRL):
        return []
    return [uri for one in list(held)[:_MAX_POINTS] for uri in _uris(one.full_name or ())]


def _freshest_of(crl: bytes) -> list[str]:
    """Where the CRL says that its delta is (RFC 5280 5.2.6)."""
    try:
        found = x509.load_der_x509_crl(crl).extensions
    except (*_NO_CRL, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return []
    return _freshest(next((e.value for e in found if isinstance(e.value, x509.FreshestCRL)), None))


def _uris(names: Iterable[x509.GeneralName]) -> list[str]:
    return [one.value for one in names if isinstance(one, x509.UniformResourceIdentifier)]


def _next_update(crl: bytes) -> datetime | None:
    """When the CRL runs out. Raises Fault where it is none."""
    try:
        return x509.load_der_x509_crl(crl).next_update_utc
    except _NO_CRL:
        raise Fault("the answer is no CRL in DER") from None


def _check_response(data: bytes, certificate: Certificate, nonce: bytes) -> datetime | None:
    """When the response runs out. Raises Fault where it does not answer what was asked (RFC 6960
    3.2 1, 4.4.1); whose it is the validator judges.
    """
    try:
        response = ocsp.load_der_ocsp_response(data)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            status = response.response_status.name.lower().replace("_", " ")
            raise Fault(f"the responder gives no answer: {status}")
        singles = list(response.responses)[:_MAX_NAMESAKES]
        about = [one for one in singles if one.serial_number == certificate.serial_number]
        held = [e.value for e in response.extensions if isinstance(e.value, x509.OCSPNonce)]
    except (ValueError, TypeError, x509.DuplicateExtension) as error:
        raise Fault("the answer is no OCSP response") from error
    if not about:
        raise Fault("the answer is about another certificate")
    # many responders leave it out, since they sign beforehand (RFC 5019); another one is a replay
    if held and held[0].nonce != nonce:
        raise Fault("the answer has the nonce of another question: it is a replay")
    return about[0].next_update_utc


def _certificates_in(data: bytes) -> tuple[Certificate, ...]:
    """A certificate, or a PKCS#7 message that carries some (RFC 5280 4.2.2.1), both in DER; whether
    somebody has signed that makes no difference.
    """
    try:
        return (Certificate(data),)
    except MalformedMessage:
        return read_carried(data)
