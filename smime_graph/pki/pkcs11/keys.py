"""Keys on PKCS#11 tokens: hardware modules, smart cards, SoftHSM (extra `[hsm]`).

    alice = pkcs11.load("pkcs11:token=mail;object=alice?module-path=/usr/lib/…", pin=pin)

The key never leaves its token. What is computed here is everything else: digests, DigestInfo, the
DER of an ECDSA signature, because tokens differ in which of these they can do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ... import algorithms, oids
from ...algorithms import Digest, KeyTransport, OaepParameters, SignatureScheme
from ...algorithms.private_key import Operation
from ...asn1 import ber
from ...errors import MalformedMessage, UnsupportedAlgorithm, UsageError
from ...x509.certificate import Certificate
from ..identity import Identity, issuers
from .token import (
    LOST,
    NotAllowed,
    Token,
    library_package,
    module_of,
    name_of,
    open_token,
    safe,
    search,
)
from .uri import TokenUri

_MAX_CERTIFICATES = 500

# What a token says of a mechanism, or its parameters, that it does not have for the key
_NOT_OFFERED = frozenset(
    {
        "ArgumentsBad",
        "DataLenRange",
        "FunctionNotSupported",
        "KeySizeRange",
        "KeyTypeInconsistent",
        "MechanismInvalid",
        "MechanismParamInvalid",
        "NotAllowed",
    }
)
_MECHANISMS = {"sha1": "SHA_1", "sha224": "SHA224", "sha256": "SHA256"} | {
    "sha384": "SHA384",
    "sha512": "SHA512",
}


def load(
    uri: str,
    *,
    pin: str | None = None,
    module: str | os.PathLike[str] | None = None,
    certificates: Iterable[Certificate] = (),
    pin_in_uri: bool = True,
) -> Identity:
    """The person whose private key the URI (RFC 7512) names.

    `pin` goes before `pin-value` and `pin-source` of the URI, `module` (the token's library) before
    its `module-path`. With `pin_in_uri=False` a `pin-value` is refused: for URIs that others can
    see, as a command line is. The certificate is the one of the key's own public key, among
    `certificates` or else on the token, the last to expire of several; the chain comes from both.

    The login holds for this process until the last key of the token is gone; in a forked process
    load again. Raises UsageError for a token or key that is not there or not the only one, a PIN
    that is refused, a module that cannot be loaded, and where python-pkcs11 is not installed.
    """
    wanted = TokenUri.parse(uri)
    if wanted.pin_value is not None and not pin_in_uri:
        raise UsageError(
            "the PKCS#11 URI holds a PIN, which others can see",
            hint="use pin-source=file:/path/to/pin, or be asked for it",
        )
    pin = wanted.pin() if pin is None else pin
    try:
        (pin or "").encode()
    except UnicodeEncodeError:
        raise UsageError("the PIN is not text") from None
    token = open_token(module_of(module, wanted), wanted, pin)
    given = tuple(certificates)
    key, own, known = token.run(lambda session: _load(token, session, wanted, given))
    return Identity(key, own, chain=issuers(own, known))


# --- the key and its certificate -----------------------------------------------------------------


def _load(
    token: Token, session: Any, wanted: TokenUri, given: Sequence[Certificate]
) -> tuple[Any, Certificate, Sequence[Certificate]]:
    pkcs11 = library_package()
    try:
        found = _find_key(token, session, wanted)
        kind = found[pkcs11.Attribute.KEY_TYPE]
        alike = _certificates(session, _id_of(found))
        known = (*given, *alike, *_certificates(session))
        if kind == pkcs11.KeyType.RSA:
            modulus = int.from_bytes(found[pkcs11.Attribute.MODULUS], "big")
            key: Any = RSAKey(token, wanted, _label(found))
            fits = [c for c in known if _modulus(_public_key(c)) == modulus]
        elif kind == pkcs11.KeyType.EC:
            curve = _curve(found[pkcs11.Attribute.EC_PARAMS])
            key = ECKey(token, wanted, _label(found), curve)
            # a private key object has no public point: what it does proves whose it is
            belongs = key.witness()
            fits = [c for c in known if _is_on(_public_key(c), curve) and belongs(_public_key(c))]
        else:
            name = getattr(kind, "name", kind)
            raise UsageError(f"{_label(found)} of {token.name} is {name} instead of RSA or EC")
    except pkcs11.PKCS11Error as error:
        if type(error).__name__ in LOST:
            raise
        raise UsageError(f"{token.name} cannot be read: {name_of(error)}") from None
    if not fits:
        raise UsageError(
            f"no certificate belongs to {_label(found)} of {token.name}",
            hint="put the certificate on the token, or give its file beside the URI",
        )
    # one key may have several: those that were given, then those of its own CKA_ID, go first
    named = [c for c in fits if c in given] or [c for c in fits if c in alike]
    own = max(named or fits, key=lambda c: c.not_after)
    key.belongs_to(_public_key(own))
    return key, own, known


def _find_key(token: Token, session: Any, wanted: TokenUri) -> Any:
    pkcs11 = library_package()
    template = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
    if wanted.object is not None:
        template[pkcs11.Attribute.LABEL] = wanted.object
    if wanted.id is not None:
        template[pkcs11.Attribute.ID] = wanted.id
    found = search(session, template)
    if len(found) == 1:
        return found[0]
    asked = [] if wanted.object is None else [f"object={wanted.object}"]
    asked += [] if wanted.id is None else [f"id={wanted.id.hex()}"]
    which = f" with {safe(' '.join(asked))}" if asked else ""
    if not found:
        raise pkcs11.NoSuchKey(f"{token.name} holds no private key{which}")
    listed = ", ".join(_label(one) for one in found[:10])
    raise UsageError(
        f"{token.name} holds {len(found)} private keys{which}: {listed}",
        hint="add object= or id= (its octets, each written %XX) to the PKCS#11 URI",
    )


def _label(key: Any) -> str:
    pkcs11 = library_package()
    label, octets = "", b""
    try:
        label, octets = key[pkcs11.Attribute.LABEL], key[pkcs11.Attribute.ID]
    except (pkcs11.PKCS11Error, UnicodeDecodeError):
        pass  # either may be missing
    return f"the key {safe(label)} (id {octets.hex() or 'none'})"


def _id_of(key: Any) -> bytes:
    pkcs11 = library_package()
    try:
        return bytes(key[pkcs11.Attribute.ID])
    except pkcs11.PKCS11Error:
        return b""  # it need not have one


def _certificates(session: Any, octets: bytes | None = None) -> list[Certificate]:
    """Those on the token, or those with this CKA_ID; of an empty one there are none."""
    if octets == b"":
        return []
    pkcs11 = library_package()
    template = {
        pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE,
        pkcs11.Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
    }
    if octets is not None:
        template[pkcs11.Attribute.ID] = octets
    found = []
    for item in search(session, template)[:_MAX_CERTIFICATES]:
        try:
            found.append(Certificate(bytes(item[pkcs11.Attribute.VALUE])))
        except (MalformedMessage, pkcs11.AttributeTypeInvalid, pkcs11.AttributeSensitive):
            continue  # a certificate that is elsewhere (CKA_URL), or broken
    return found


def _public_key(certificate: Certificate) -> Any:
    try:
        return certificate.public_key
    except (UnsupportedAlgorithm, MalformedMessage):
        return None


def _modulus(public: Any) -> int | None:
    return public.public_numbers().n if isinstance(public, rsa.RSAPublicKey) else None


def _is_on(public: Any, curve: ec.EllipticCurve) -> bool:
    return isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == curve.name


def _curve(parameters: bytes) -> ec.EllipticCurve:
    try:
        oid = ber.read(bytes(parameters), "CKA_EC_PARAMS", tag=ber.OBJECT_IDENTIFIER).as_oid()
        return ec.get_curve_for_oid(x509.ObjectIdentifier(oid))()
    except (MalformedMessage, LookupError, ValueError):
        raise UsageError("the token's key is on a curve that is not known here") from None


class _Key:
    """What the keys have in common: how an operation gets to the token, and what its errors are.

    Each is an `algorithms.private_key.PrivateKey`.
    """

    kind = ""

    def __init__(self, token: Token, wanted: TokenUri, label: str) -> None:
        self._token = token
        self._wanted = wanted
        self._label = label
        self._public: Any = None
        self._found: tuple[Any, Any, bool] | None = None
        self._proven: set[object] = set()

    def __repr__(self) -> str:
        return f"<{self.kind} {self._label.removeprefix('the ')} of {self._token.name}>"

    def belongs_to(self, public: Any) -> None:
        self._public = public

    def public_key(self) -> Any:
        return self._public

    def _run(self, operation: Callable[[Any, dict[str, Any]], bytes]) -> bytes:
        return self._token.run(lambda session: operation(*self._object(session)))

    def _object(self, session: Any) -> tuple[Any, dict[str, Any]]:
        """The key's object in this session, and the PIN where each use asks for it."""
        if self._found is None or self._found[0] is not session:
            attribute = library_package().Attribute.ALWAYS_AUTHENTICATE
            found = _find_key(self._token, session, self._wanted)
            try:
                always = bool(found[attribute])
            except library_package().AttributeTypeInvalid:
                always = False
            self._found = (session, found, always)
        _, found, always = self._found
        return found, {"pin": self._token.pin} if always and self._token.pin is not None else {}

    def _refuses(self, oid: str, what: str, error: Exception | None = None) -> UnsupportedAlgorithm:
        why = "" if error is None else f" ({name_of(error)})"
        return UnsupportedAlgorithm(
            oid,
            where=f"{what} by {self._label} of {self._token.name}{why}",
            hint="the token or the key does not allow it; see the mechanisms of the token",
        )

    def _signature(self, oid: str, what: str, block: bytes, mechanism: str, with_: Any) -> bytes:
        pkcs11 = library_package()
        how = {"mechanism": pkcs11.Mechanism[mechanism], "mechanism_param": with_}
        try:
            return bytes(self._run(lambda key, pin: _method(key, "sign")(block, **how, **pin)))
        except (pkcs11.PKCS11Error, NotAllowed) as error:
            if type(error).__name__ in _NOT_OFFERED:
                raise self._refuses(oid, what, error) from None
            raise UsageError(
                f"{what} by {self._label} of {self._token.name} failed: {name_of(error)}"
            ) from None

    def _secret(
        self,
        oid: str,
        what: str,
        scheme: object,
        operation: Callable[[Any, dict[str, Any]], bytes],
        control: Callable[[], bool],
    ) -> bytes:
        """The result of a decryption or agreement; ValueError without a word if it fails.

        A token says of a bad ciphertext what it says of a mechanism that it lacks (SoftHSM:
        GeneralError). So the error does not decide: after the first failure the token is asked to
        undo something of ours, and only if it cannot do that either is it told. Whatever a sender
        puts into a message, nothing but ValueError comes of it (RFC 3218).
        """
        pkcs11 = library_package()
        try:
            result = bytes(self._run(operation))
        except (pkcs11.PKCS11Error, NotAllowed):
            if scheme in self._proven:
                raise ValueError from None
        else:
            self._proven.add(scheme)
            return result
        try:
            works = control()
        except (pkcs11.PKCS11Error, NotAllowed) as error:
            raise self._refuses(oid, what, error) from None
        if not works:
            raise self._refuses(oid, what)
        self._proven.add(scheme)
        raise ValueError


class RSAKey(_Key):
    """An RSA key on a token."""

    kind = "RSA"
    operations: Collection[Operation] = ("sign", "decrypt")

    def sign(self, data: bytes, scheme: SignatureScheme, digest: Digest) -> bytes:
        hashed, mechanism = digest.compute(data), _mechanism(digest)
        if scheme.parameters == "null":
            what = f"signing with RSA and {digest.name}"
            info = ber.sequence(
                ber.sequence(ber.oid(digest.oid), ber.null()), ber.octet_string(hashed)
            )
            return self._signature(oids.RSA_ENCRYPTION, what, info, "RSA_PKCS", None)
        if scheme.parameters == "pss":
            what = f"signing with RSA-PSS and {digest.name}"
            how = (mechanism, _mask(digest), digest.size)
            return self._signature(oids.RSASSA_PSS, what, hashed, "RSA_PKCS_PSS", how)
        raise self._refuses(scheme.oid(digest), f"signing with {scheme.name}")

    def decrypt(
        self, data: bytes, scheme: KeyTransport, parameters: OaepParameters | None = None
    ) -> bytes:
        """Raises ValueError for every ciphertext that cannot be decrypted, always the same."""
        pkcs11 = library_package()
        how = {"mechanism": pkcs11.Mechanism.RSA_PKCS, "mechanism_param": None}
        what = "decrypting with RSA PKCS#1 v1.5"
        if parameters is not None:
            oaep = _mechanism(parameters.digest), _mask(parameters.mgf_digest), parameters.label
            how = {"mechanism": pkcs11.Mechanism.RSA_PKCS_OAEP, "mechanism_param": oaep}
            what = f"decrypting with OAEP and {parameters.digest.name}"

        def operation(octets: bytes) -> Callable[[Any, dict[str, Any]], bytes]:
            return lambda key, pin: _method(key, "decrypt")(octets, **how, **pin)

        def control() -> bool:
            ours = os.urandom(16)
            wrapped = scheme.wrap(self._public, ours, parameters)
            return bytes(self._run(operation(wrapped))) == ours

        proof = parameters and (parameters.digest, parameters.mgf_digest, bool(parameters.label))
        return self._secret(scheme.oid, what, proof, operation(bytes(data)), control)


class ECKey(_Key):
    """An EC key on a token."""

    kind = "EC"
    operations: Collection[Operation] = ("sign", "derive")

    def __init__(self, token: Token, wanted: TokenUri, label: str, curve: ec.EllipticCurve) -> None:
        super().__init__(token, wanted, label)
        self.curve = curve

    def sign(self, data: bytes, scheme: SignatureScheme, digest: Digest) -> bytes:
        if scheme.parameters != "absent":
            raise self._refuses(scheme.oid(digest), f"signing with {scheme.name}")
        _mechanism(digest)
        # FIPS 186-5 6.4.1: the leftmost bits of a digest that is longer than the curve's order;
        # not every token cuts by itself
        hashed = digest.compute(data)[: (self.curve.key_size + 7) // 8]
        what = f"signing with ECDSA and {digest.name}"
        raw = self._signature(oids.EC_PUBLIC_KEY, what, hashed, "ECDSA", None)
        half = len(raw) // 2
        return encode_dss_signature(
            int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
        )

    def derive(self, public_key: Any) -> bytes:
        """The shared secret, the x coordinate at full length; ValueError if it fails."""
        if public_key.curve.name != self.curve.name:
            raise ValueError("public_key and self are not on the same curve")

        def control() -> bool:
            ours = ec.generate_private_key(self.curve)
            return self._derive(ours.public_key()) == ours.exchange(ec.ECDH(), self._public)

        return self._secret(
            oids.EC_PUBLIC_KEY,
            "ECDH",
            "ecdh",
            lambda key, _: self._derived(key, public_key),
            control,
        )

    def witness(self) -> Callable[[Any], bool]:
        """Says of a public key on this curve whether it is this key's, from one use of the key."""
        pkcs11 = library_package()
        try:
            challenge = os.urandom(32)
            ecdsa = algorithms.by_name(SignatureScheme, "ecdsa")
            signature = self.sign(challenge, ecdsa, algorithms.SHA256)
        except UnsupportedAlgorithm:
            pass  # a key for agreement only
        else:
            return lambda public: _verifies(public, signature, challenge)
        ours = ec.generate_private_key(self.curve)
        try:
            secret = self._derive(ours.public_key())
        except (pkcs11.PKCS11Error, NotAllowed) as error:
            raise self._refuses(oids.EC_PUBLIC_KEY, "signing and ECDH", error) from None
        return lambda public: ours.exchange(ec.ECDH(), public) == secret

    def _derive(self, public: ec.EllipticCurvePublicKey) -> bytes:
        return self._run(lambda key, _: self._derived(key, public))

    def _derived(self, key: Any, public: ec.EllipticCurvePublicKey) -> bytes:
        pkcs11 = library_package()
        point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        secret = _method(key, "derive_key")(
            pkcs11.KeyType.GENERIC_SECRET,
            (self.curve.key_size + 7) // 8 * 8,
            mechanism=pkcs11.Mechanism.ECDH1_DERIVE,
            mechanism_param=(pkcs11.KDF.NULL, None, point),
            template={pkcs11.Attribute.SENSITIVE: False, pkcs11.Attribute.EXTRACTABLE: True},
        )
        try:
            return bytes(secret[pkcs11.Attribute.VALUE])
        finally:
            secret.destroy()


def _method(key: Any, name: str) -> Callable[..., Any]:
    # python-pkcs11 gives an object only the methods that its attributes allow
    method = getattr(key, name, None)
    if method is None:
        raise NotAllowed
    return method  # type: ignore[no-any-return]


def _verifies(public: Any, signature: bytes, data: bytes) -> bool:
    try:
        public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _mechanism(digest: Digest) -> Any:
    name = _MECHANISMS.get(digest.name)
    if name is None:
        raise UsageError(
            f"a key on a token does not work with the digest {digest.name}",
            hint=f"use one of {', '.join(_MECHANISMS)}",
        )
    return library_package().Mechanism[name]


def _mask(digest: Digest) -> Any:
    _mechanism(digest)
    return library_package().MGF[digest.name.upper()]
