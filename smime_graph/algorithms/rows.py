"""What the rows of the tables hold: one class for each kind of row, and that of a kind of key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from inspect import get_annotations
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self, dataclass_transform

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ..buffers import CHUNK, Data, Octets, Rope, chunks


@dataclass_transform(frozen_default=True, eq_default=False)
class _Single:
    """What is made once, of the fields that are annotated, and compared by identity.

    Not by `dataclass`, which writes and compiles the methods of each class anew: a tenth of the
    time in which a program of ours signs a small message.
    """

    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls._fields = (*cls._fields, *get_annotations(cls))

    def __init__(self, *args: Any, **named: Any) -> None:
        kind = type(self)
        values = dict(zip(kind._fields, args, strict=False))
        if len(args) > len(kind._fields) or values.keys() & named.keys():
            raise TypeError(f"{kind.__name__} has too many values")
        values |= named
        for field in kind._fields:
            if field not in values:
                values[field] = getattr(kind, field)  # AttributeError where it has no default
        if len(values) > len(kind._fields):
            raise TypeError(f"{kind.__name__} has only {', '.join(kind._fields)}")
        self.__dict__.update(values)

    def but(self, **changes: Any) -> Self:
        """Another one, with these changes."""
        return type(self)(**{**self.__dict__, **changes})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} of a {type(self).__name__} is fixed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name} of a {type(self).__name__} is fixed")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {next(iter(self.__dict__.values()))}>"


class Row(_Single):
    """What has a name in a policy, and identifiers in what is read."""

    name: str

    @property
    def oids(self) -> tuple[str, ...]:
        """Every identifier, dotted; the first is the one that is written."""
        raise NotImplementedError


class Identified(Row):
    """A row with one identifier."""

    oid: str

    @property
    def oids(self) -> tuple[str, ...]:
        return (self.oid,)


class Digest(Identified):
    """A message digest; `micalg` is its name in multipart/signed (RFC 8551 3.5.3.2).

    `parameters` is DER that its AlgorithmIdentifier must have. `engine` is hashlib's name for it,
    if that differs; an `extendable` one gives as many octets as it is asked for. `hmac` identifies
    HMAC with it (RFC 8018 B.1.2). Of a `forgeable` one two texts with the same value are made.
    """

    size: int
    micalg: str
    hash: hashes.HashAlgorithm
    parameters: bytes = b""
    engine: str = ""
    extendable: bool = False
    hmac: str = ""
    forgeable: bool = False

    def compute(self, data: Octets) -> bytes:
        start = getattr(hashlib, self.engine or self.name)  # `new` looks each name up anew
        if isinstance(data, bytes) and len(data) <= CHUNK:
            state = start(data, usedforsecurity=False)
        else:
            state = start(usedforsecurity=False)
            for chunk in chunks(data):
                state.update(chunk)
        return bytes(state.digest(self.size) if self.extendable else state.digest())


class PssParameters(NamedTuple):
    """RSASSA-PSS-params (RFC 4055 3.1); `salt` in octets."""

    digest: Digest
    mgf_digest: Digest
    salt: int


class OaepParameters(NamedTuple):
    """RSAES-OAEP-params (RFC 4055 4.1)."""

    digest: Digest
    mgf_digest: Digest
    label: bytes = b""


class SignatureScheme(Row):
    """A signature algorithm.

    `keys` are the kinds of key that make it, `by_oid` every identifier that is read with the digest
    it fixes (None: the SignerInfo's digestAlgorithm decides), the first being what is
    written. `digests` are those that may be used with it, the first by default; with `strict` no
    other is accepted beside signed attributes. `parameters` is "absent", "null", "pss" or "any".
    Without `sign` it is only verified.
    """

    keys: tuple[str, ...]
    by_oid: Mapping[str, str | None]
    parameters: str
    digests: tuple[str, ...]
    sign: Callable[[Any, bytes, Digest], bytes] | None
    verify: Callable[[Any, bytes, Data, Digest, PssParameters | None], None]
    write_by_digest: bool = False  # the identifier that fixes the digest is written (ECDSA)
    strict: bool = False

    @property
    def oids(self) -> tuple[str, ...]:
        return tuple(self.by_oid)

    def oid(self, digest: Digest) -> str:
        """The identifier to write in a SignerInfo."""
        if self.write_by_digest:
            return next(oid for oid, fixed in self.by_oid.items() if fixed == digest.name)
        return next(iter(self.by_oid))


class ContentCipher(Identified):
    """A content encryption algorithm; `key_size`, `iv_size` and `tag_size` in octets.

    `encrypt(key, iv, content)` gives ciphertext and tag (empty where `aead` is False): of a rope
    ropes, of which the tag can be read when the ciphertext has been;
    `decrypt(key, iv, ciphertext, tag, aad)` gives the content or raises ValueError, and releases
    nothing before the tag is checked. `parameters` is "iv", "aead" (nonce and tag length), "nonce"
    or "rc2".
    """

    key_size: int
    iv_size: int
    parameters: str
    encrypt: Callable[[bytes, bytes, Octets], tuple[Octets, bytes | Rope]]
    decrypt: Callable[[bytes, bytes, Data, bytes, bytes], Data]
    aead: bool = False
    tag_size: int = 0


class KeyTransport(Identified):
    """A key transport algorithm (RFC 5652 6.2.1); `parameters` is "null" or "oaep"."""

    keys: tuple[str, ...]
    parameters: str
    wrap: Callable[[Any, bytes, OaepParameters | None], bytes]
    unwrap: Callable[[Any, bytes, OaepParameters | None], bytes]
    implicit_rejection: bool = False  # a failure yields a random key, not an error (RFC 3218)


class KeyAgreement(Identified):
    """A key agreement scheme (RFC 5652 6.2.2): `derive(secret, size, info, ukm)` gives the KEK.

    `keys` are the kinds of key it goes with.
    """

    keys: tuple[str, ...]
    derive: Callable[[bytes, int, bytes, bytes | None], bytes]


class AgreementKey(_Single):
    """What key agreement does with a kind of key: ephemeral keys, the secret, points as octets."""

    ephemeral: Callable[[Any], Any]
    exchange: Callable[[Any, Any], bytes]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes, Any], Any]


class Kem(Identified):
    """A key encapsulation mechanism (RFC 9629) and the key wrap that goes with it (RFC 9936).

    `encapsulate(public_key)` gives a secret and its ciphertext.
    """

    keys: tuple[str, ...]
    wrap: str
    encapsulate: Callable[[Any], tuple[bytes, bytes]]


class KeyDerivation(Identified):
    """A key derivation function (RFC 8619): `derive(secret, size, info, salt)`."""

    derive: Callable[[bytes, int, bytes, bytes | None], bytes]


class KeyWrap(Identified):
    """A key wrap algorithm; `key_size` in octets. `unwrap` raises ValueError on any failure."""

    key_size: int
    wrap: Callable[[bytes, bytes], bytes]
    unwrap: Callable[[bytes, bytes], bytes]


class PasswordEncryption(Identified):
    """A content key under a password: PWRI-KEK with PBKDF2 (RFC 3211, RFC 5652 6.2.4).

    `wrap(kek, iv, cek)` and `unwrap(kek, iv, wrapped)` are under one of the `ciphers`; the latter
    raises ValueError on any failure.
    """

    ciphers: tuple[str, ...]
    wrap: Callable[[bytes, bytes, bytes], bytes]
    unwrap: Callable[[bytes, bytes, bytes], bytes]


class CekDerivation(Identified):
    """A derivation of the content key from the content-encryption identifier (RFC 9709)."""

    derive: Callable[[bytes, bytes], bytes]


class Compression(Identified):
    """A compression algorithm (RFC 3274); beyond its limit `decompress` raises OverflowError."""

    compress: Callable[[Octets], bytes | Rope]
    decompress: Callable[[Data, int], Data]


class ParameterSet(_Single):
    """A size, a curve or a parameter set of a kind of key; `name` is what the authority calls it.

    `oid` is that of a named curve, `curve` what `cryptography` calls it. `agreement` is the usual
    scheme; `digest` that of the certificates which such a key signs, None where it chooses itself.
    """

    name: str
    generate: Callable[[], Any]
    oid: str = ""
    curve: str = ""
    agreement: str = ""
    digest: hashes.HashAlgorithm | None = None


class SeededForm(_Single):
    """How the private key of FIPS 203 and 204 stands in a file (RFC 9881 6, RFC 9935 6).

    `size` of the expanded form in octets; `belongs(public, seed, expanded)` says whether what it
    repeats of the public key and the seed is of this one.
    """

    size: int
    belongs: Callable[[bytes, bytes, bytes], bool]


class KeyKind(Identified):
    """A kind of key; `oid` is the algorithm of its SubjectPublicKeyInfo.

    `public` and `private` are the classes of its keys, `load` makes the former of DER.
    `signs`: digitalSignature or nonRepudiation allow it (RFC 8550 4.4.2); `encrypts` is the
    keyUsage bit under which others encrypt to it, empty where they cannot. `companion` is the
    parameter set that encrypts for a person whose key can only sign. What a quantum computer does
    not break is `quantum_safe`.
    `verify(key, signature, data, parameters, digest)` checks the signature of a certificate, where
    parameters and digest are `cryptography`'s; with `pure` its algorithm is `oid`, and has neither.
    `minimum_bits` is what such a key needs, None: what the policy says of RSA; below
    `readable_bits` it is worth nothing. `price` of one such check: `smime_graph.budget`.
    """

    title: str
    public: type
    private: type
    parameter_sets: tuple[ParameterSet, ...] = ()
    signs: bool = False
    encrypts: str = ""
    companion: str = ""
    quantum_safe: bool = False
    verify: Callable[[Any, bytes, Data, Any, hashes.HashAlgorithm | None], None] | None = None
    pure: bool = False
    certificate_options: Mapping[str, Any] = MappingProxyType({})
    minimum_bits: int | None = 0
    readable_bits: int = 0
    price: Callable[[Any], float] = lambda _: 300
    agreement: AgreementKey | None = None
    seeded: SeededForm | None = None
    load: Callable[[bytes], Any] = load_der_public_key

    @property
    def has_curves(self) -> bool:
        """Whether the parameters of its algorithm are a named curve (RFC 5480 2.1.1)."""
        return any(one.oid for one in self.parameter_sets)

    def parameter_set(self, key: Any) -> ParameterSet:
        """That of a key of this kind; the first for a size or a curve that has none."""
        curve = getattr(getattr(key, "curve", None), "name", "")
        return next(
            (one for one in self.parameter_sets if one.curve == curve), self.parameter_sets[0]
        )
