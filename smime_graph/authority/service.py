"""The services of authorities on 127.0.0.1: CRLs, deltas, OCSP, issuers; good, or with a fault.

with Services(ca).serve() as server:
    ca.services = server.url                    # what is issued from now on names them
    alice = ca.issue("alice@contoso.com")

GET  /NAME.crl          the CRL of an authority (`profile.service_name`)
GET  /NAME.delta.crl    the delta to it
GET  /NAME.cer          its certificate                                (RFC 5280 4.2.2.1)
POST /ocsp              OCSP; GET /ocsp/BASE64 as well                 (RFC 6960 appendix A)
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote

from cryptography import x509

from .. import oids
from ..asn1 import ber
from ..errors import MalformedMessage, UsageError
from ..loopback.exchange import Exchange, Request, Response
from ..loopback.server import Server
from ..pki.identity import Identity
from ..pki.keyfiles.read import armour
from ..x509.certificate import Certificate
from . import ocsp
from .family import Family
from .issue import CA, ocsp_status
from .maker import authority_key
from .profile import extension, key_of, service_name, sign
from .variants import AUTHORITIES

__all__ = ["FAULTS", "Fault", "Served", "Services"]

Kind: TypeAlias = Literal["crl", "delta", "ocsp", "issuer"]

_KINDS: tuple[Kind, ...] = ("crl", "delta", "ocsp", "issuer")
_LISTS: tuple[Kind, ...] = ("crl", "delta")
_TYPES: dict[Kind, str] = {
    "crl": "application/pkix-crl",
    "delta": "application/pkix-crl",
    "ocsp": "application/ocsp-response",
    "issuer": "application/pkix-cert",
}
_ENDINGS: dict[str, Kind] = {"crl": "crl", "delta.crl": "delta", "cer": "issuer"}
_LOG_LIMIT = 10_000
_REQUEST_LIMIT = 64 * 1024  # octets
_HUGE = 16 << 20  # octets: more than anybody should read
_MOVED = "/moved"
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong with answers of these kinds."""

    name: str
    wrong: str
    kinds: tuple[Kind, ...] = _KINDS


FAULTS: tuple[Fault, ...] = (
    # what an answer says
    Fault("expired", "it ran out three weeks ago", (*_LISTS, "ocsp")),
    Fault("future", "it is from tomorrow", (*_LISTS, "ocsp")),
    Fault("no-next-update", "it does not say how long it is good", (*_LISTS, "ocsp")),
    Fault("forged", "it is signed with another key", (*_LISTS, "ocsp")),
    Fault("wrong-responder", "somebody signs it whom another authority trusts", ("ocsp",)),
    Fault("no-ocsp-signing", "its signer's certificate is not for OCSP", ("ocsp",)),
    Fault("no-nocheck", "its signer's own status is not said to be needless", ("ocsp",)),
    Fault("expired-responder", "its signer's certificate has expired", ("ocsp",)),
    Fault("unknown", "the responder knows no certificate", ("ocsp",)),
    Fault("wrong-serial", "it is about another certificate", ("ocsp",)),
    Fault("wrong-nonce", "it answers another question", ("ocsp",)),
    Fault("no-nonce", "it does not repeat the question's nonce", ("ocsp",)),
    Fault("try-later", "the responder is busy", ("ocsp",)),
    Fault("internal-error", "the responder is broken", ("ocsp",)),
    Fault("sig-required", "the responder wants signed requests", ("ocsp",)),
    Fault("unauthorized", "the responder does not answer this client", ("ocsp",)),
    Fault("wrong-issuer", "it is somebody else's certificate", ("issuer",)),
    # how it is written
    Fault("malformed", "the second half is missing"),
    Fault("pem", "it is PEM, not DER", (*_LISTS, "issuer")),
    Fault("huge", "16 MiB of nothing stand behind it"),
    # what becomes of the request
    Fault("missing", "404"),
    Fault("error", "500"),
    Fault("redirect", "302, to where it is"),
    Fault("slow", "it takes half a minute"),
    Fault("reset", "the connection ends without an answer"),
)
_BY_NAME = {one.name: one for one in FAULTS}


@dataclass(frozen=True, slots=True)
class Served:
    """One request and what became of it; `kind` is empty where there is nothing at the path, and
    `status` 0 where the connection was cut.
    """

    kind: Kind | Literal[""]
    method: str
    path: str
    status: int


class Services:
    """What answers for the authorities; `serve` puts it behind a socket.

    `at` is the time that it has, by default the clock's. `faults` are names of FAULTS, for one kind
    of answer as "ocsp:expired", or for every kind that can have it; `set_faults` changes them.
    With `deltas` a CRL stays as it was when it was asked for first, and names its delta, which says
    what was revoked since. `slow` is how many seconds that fault takes; `watch` is called for each
    request, in the thread that answers it. Raises UsageError for a fault that is none.
    """

    def __init__(
        self,
        *authorities: CA,
        at: datetime | None = None,
        faults: Iterable[str] = (),
        deltas: bool = False,
        slow: float = 30.0,
        watch: Callable[[Served], None] = lambda _: None,
    ) -> None:
        if at is not None and at.utcoffset() is None:
            raise UsageError(
                f"{at.isoformat()} has no time zone", hint="use a datetime with tzinfo=UTC"
            )
        self._authorities: dict[str, CA] = {}
        self._fixed: dict[str, bytes | None] = {}  # CRLs that are as they are, or not there
        self._silent: set[str] = set()  # of whom no responder tells
        for one in authorities:
            self.add(one)
        self._at = at
        self._deltas = deltas
        self._slow = slow
        self._watch = watch
        self._bases: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._log: deque[Served] = deque(maxlen=_LOG_LIMIT)
        self.set_faults(faults)

    def add(self, authority: CA) -> None:
        """Answer for this one, too."""
        self._authorities[service_name(authority.certificate)] = authority

    def add_family(self, family: Family) -> None:
        """Answer for a family that was made with `url=` of this service, as its recipes say.

        Its CRLs are those of the family. Of an authority whose CRL is stale, forged or missing no
        responder tells either: otherwise that would make good what is odd.
        """
        for name, certificate in family.authorities.items():
            ca = CA.from_key(authority_key(name), certificate, at=family.at)
            self._authorities[name] = ca
            self._fixed[name] = family.crls.get(name)
            if AUTHORITIES[name].crl != "fresh":
                self._silent.add(name)
        for name, certificate in family.authorities.items():
            self._enter(AUTHORITIES[name].parent, certificate)
        for member in family:
            self._enter(member.variant.recipe.issuer, member.identity.certificate)

    def _enter(self, issuer: str | None, certificate: Certificate) -> None:
        """Let the authority of that name know what it has issued, and what its CRL says of it."""
        if issuer is None or (ca := self._authorities.get(issuer)) is None:
            return
        ca.enter(certificate)
        crl = self._fixed.get(issuer)
        for entry in x509.load_der_x509_crl(crl) if crl else ():
            if entry.serial_number == certificate.serial_number:
                reason: Any = x509.ReasonFlags.unspecified.value
                for one in entry.extensions:
                    if isinstance(one.value, x509.CRLReason):
                        reason = one.value.reason.value
                ca.revoke(certificate, reason=reason, at=entry.revocation_date_utc)

    def set_faults(self, faults: Iterable[str]) -> None:
        """These from now on, in place of those before."""
        found: dict[Kind, set[str]] = {kind: set() for kind in _KINDS}
        for text in faults:
            before, colon, name = text.rpartition(":")
            fault = _BY_NAME.get(name)
            kinds = () if fault is None else fault.kinds
            chosen = [one for one in kinds if one == before] if colon else kinds
            if not chosen:
                raise UsageError(
                    f"fault {text[:60]!r} is not known",
                    hint=f"use one of {', '.join(_BY_NAME)}, or KIND:FAULT with one of"
                    f" {', '.join(kinds or _KINDS)}",
                )
            for kind in chosen:
                found[kind].add(name)
        self._faults = found

    @property
    def log(self) -> tuple[Served, ...]:
        """The requests, oldest first; the last 10,000."""
        return tuple(self._log)

    def serve(self, port: int = 0) -> Server:
        """Serve on 127.0.0.1; port 0 takes a free one. The answer has `.url` and `.close()`.

        Raises UsageError if the port is taken.
        """
        return Server(
            self.exchange, port=port, request_limit=_REQUEST_LIMIT, refuse=_plain, bare_host=True
        )

    def exchange(self, request: Request) -> Exchange:
        """Answer one request; the log has it."""
        path = request.target.partition("?")[0]
        kind, made = self._find(request, path.removeprefix(_MOVED))
        done = made if isinstance(made, Exchange) else Exchange(made)
        status = 0 if done.response is None else done.response.status
        served = Served(kind, request.method, path, status)
        self._log.append(served)
        self._watch(served)
        return done

    def _find(self, request: Request, path: str) -> tuple[Kind | Literal[""], Response | Exchange]:
        if path == "/":
            return "", self._overview(request.origin)
        if path == "/ocsp" or path.startswith("/ocsp/"):
            if request.method not in ("GET", "POST"):
                return "ocsp", _plain(405, "OCSP is asked with POST or GET.")
            if len(request.body) > _REQUEST_LIMIT:
                return "ocsp", _plain(413, "The request is too large.")
            asked = request.body if request.method == "POST" else _in_path(path)
            return "ocsp", self._answer("ocsp", request, lambda: self._ocsp(asked))
        name, _, ending = path[1:].partition(".")
        ca, kind = self._authorities.get(name), _ENDINGS.get(ending)
        if ca is None or kind is None or (kind == "delta" and not self._deltas):
            return "", _plain(404, "There is nothing here.")
        if request.method not in ("GET", "HEAD"):
            return kind, _plain(405, "This is asked with GET.")
        faults = self._faults[kind]
        if kind == "crl" and name in self._fixed and not faults:
            crl = self._fixed[name]
            if crl is None:
                return kind, _plain(404, "There is nothing here.")
            return kind, self._answer(kind, request, lambda: crl)
        return kind, self._answer(kind, request, lambda: self._file(kind, ca, request.origin))

    def _overview(self, origin: str) -> Response:
        lines = [f"OCSP  {origin}/ocsp"]
        for name, ca in self._authorities.items():
            lines += ["", ca.certificate.subject_text, f"CRL   {origin}/{name}.crl"]
            lines += [f"delta {origin}/{name}.delta.crl"] if self._deltas else []
            lines += [f"AIA   {origin}/{name}.cer"]
        return _plain(200, "\n".join(lines))

    # --- an answer, and what may be wrong with it ---

    def _now(self) -> datetime:
        return (self._at or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)

    def _answer(
        self, kind: Kind, request: Request, make: Callable[[], bytes]
    ) -> Response | Exchange:
        faults = self._faults[kind]
        if "reset" in faults:
            return Exchange(None)
        if "missing" in faults:
            return _plain(404, "There is nothing here.")
        if "error" in faults:
            return _plain(500, "The service failed.")
        if "redirect" in faults and not request.target.startswith(_MOVED):
            place = f"{request.origin}{_MOVED}{request.target}"
            return Response(302, (("Location", place),))
        body = make()
        if "pem" in faults:
            body = _armoured(kind, body)
        if "malformed" in faults:
            body = body[: len(body) // 2]
        if "huge" in faults:
            body += bytes(_HUGE)
        # nobody is to keep it: what is asked next is to be the news of then
        fields = (("Content-Type", _TYPES[kind]), ("Cache-Control", "no-store"))
        response = Response(200, fields, b"" if request.method == "HEAD" else body)
        return Exchange(response, delay=self._slow if "slow" in faults else 0.0)

    def _times(self, faults: Collection[str], lifetime: timedelta) -> tuple[datetime, timedelta]:
        now = self._now()
        if "expired" in faults:
            return now - 21 * _DAY - lifetime, lifetime
        return (now + _DAY if "future" in faults else now), lifetime

    def _file(self, kind: Kind, ca: CA, origin: str) -> bytes:
        faults = self._faults[kind]
        if kind == "issuer":
            stranger = CA("smime_graph test stranger", key="p256", at=self._now())
            return (stranger if "wrong-issuer" in faults else ca).certificate.der
        at, lifetime = self._times(faults, 7 * _DAY)
        if kind == "delta":
            return _spoilt(ca.crl(at=at, base=self._base(ca, origin)), ca, faults)
        if self._deltas and at == self._now():
            crl = self._base(ca, origin)
        else:
            crl = ca.crl(at=at, lifetime=lifetime)
        return _spoilt(crl, ca, faults)

    def _base(self, ca: CA, origin: str) -> bytes:
        """The CRL that deltas are to: as it was first."""
        name = service_name(ca.certificate)
        with self._lock:
            if name not in self._bases:
                place = f"{origin}/{name}.delta.crl"
                self._bases[name] = ca.crl(at=self._now(), freshest=place)
            return self._bases[name]

    def _ocsp(self, der: bytes) -> bytes:
        faults = self._faults["ocsp"]
        for name in ocsp.REFUSALS:
            if name in faults:
                return ocsp.refusal(name)
        try:
            asked = ocsp.read_request(der)
        except MalformedMessage:
            return ocsp.refusal("malformed-request")
        ca = next(
            (
                one
                for name, one in self._authorities.items()
                if name not in self._silent
                and any(ocsp.is_about(question, one.certificate) for question in asked.questions)
            ),
            None,
        )
        if ca is None:
            return ocsp.refusal("unauthorized")  # RFC 6960 2.3: it has no authority to answer
        at, lifetime = self._times(faults, _DAY)
        answers = [
            (
                ocsp.with_serial(one, one.serial + 1) if "wrong-serial" in faults else one,
                None if "unknown" in faults else ocsp_status(ca, one, at),
            )
            for one in asked.questions
        ]
        nonce = asked.nonce
        if "no-nonce" in faults:
            nonce = None
        if "wrong-nonce" in faults:
            nonce = bytes(32)
        made = ocsp.write(
            answers,
            responder=self._responder(ca, faults),
            at=at,
            updates=(at, None if "no-next-update" in faults else at + lifetime),
            nonce=nonce,
        )
        if "forged" in faults:
            made = ocsp.wrap(_signed_by(_other_key(ca), ocsp.unwrap(made)))
        return made

    def _responder(self, ca: CA, faults: Collection[str]) -> Identity:
        """Who signs: the authority's own delegate, or somebody who should not."""
        now = self._now()
        if "wrong-responder" in faults:
            return CA("smime_graph test stranger", key="p256", at=now).responder()
        odd = {"no-ocsp-signing", "no-nocheck", "expired-responder"} & set(faults)
        if not odd:
            return ca.responder(at=now)
        purpose = oids.CLIENT_AUTH if "no-ocsp-signing" in odd else oids.OCSP_SIGNING
        start = now - (60 * _DAY if "expired-responder" in odd else _DAY)
        # of an authority that keeps no index: nobody asks for its status
        return CA.from_key(ca.private_key, ca.certificate).issue(
            name="smime_graph test OCSP responder",
            key="p256",
            use="sign",
            eku=(purpose,),
            policies=(),
            not_before=start,
            not_after=start + 30 * _DAY,
            extensions=() if "no-nocheck" in odd else (extension(x509.OCSPNoCheck()),),
        )


def _in_path(path: str) -> bytes:
    try:
        return base64.b64decode(unquote(path[len("/ocsp/") :]), validate=True)
    except (binascii.Error, ValueError):
        return b""  # which is no request, and is told so


def _armoured(kind: Kind, der: bytes) -> bytes:
    if kind == "issuer":
        return armour(Certificate(der))
    text = base64.encodebytes(der)
    return b"-----BEGIN X509 CRL-----\n" + text + b"-----END X509 CRL-----\n"


def _spoilt(crl: bytes, ca: CA, faults: Collection[str]) -> bytes:
    if "no-next-update" in faults:
        crl = _signed_by(ca.private_key, crl, change=_without_next_update)
    if "forged" in faults:
        crl = _signed_by(_other_key(ca), crl)
    return crl


def _without_next_update(tbs: bytes) -> bytes:
    fields = [bytes(one.raw) for one in ber.read(tbs, "TBSCertList").children()]
    times = [n for n, one in enumerate(fields) if one[0] in (ber.UTC_TIME, ber.GENERALIZED_TIME)]
    return ber.sequence(*fields[: times[1]], *fields[times[1] + 1 :])


def _other_key(ca: CA) -> object:
    _, kind = key_of(ca.private_key)
    return kind.parameter_set(ca.private_key).generate()


def _signed_by(
    key: object, signed: bytes, *, change: Callable[[bytes], bytes] = lambda tbs: tbs
) -> bytes:
    """SEQUENCE { what is signed, signatureAlgorithm, signature, ... } with another signature."""
    tbs, _, __, *rest = (bytes(one.raw) for one in ber.read(signed, "what is signed").children())
    changed = change(tbs)
    algorithm, signature = sign(key, changed)
    return ber.sequence(changed, algorithm, ber.bit_string(signature), *rest)


def _plain(status: int, text: str) -> Response:
    return Response(status, (("Content-Type", "text/plain; charset=utf-8"),), f"{text}\n".encode())
