"""A new kind of key is a row of `algorithms.keys`, the schemes that go with it, and its own work.

The toy signs with Ed25519 over a text of its own, under an identifier that `cryptography` does not
know. Everything else - usage, path, policy, price, choice among the keys of a file, signing and
verifying - works through the tables: nothing of the package but those is patched here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from smime_graph import (
    EXCHANGE,
    POST_QUANTUM,
    Identity,
    PolicyRefusal,
    TrustStore,
    UnsupportedAlgorithm,
    VerificationFailed,
    algorithms,
    oids,
    sign,
    verify,
)
from smime_graph.algorithms import KeyKind, Row, SignatureScheme, primitives, table
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA
from smime_graph.pki.identity import allows_encryption, allows_signing
from smime_graph.pki.path import build_path
from smime_graph.pki.usage import usage_findings
from smime_graph.x509.certificate import Certificate
from smime_graph.x509.price import signature_price

PACKAGE = Path(algorithms.__file__).parents[1]
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
MAIL = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: toy\r\n\r\nHello.\r\n"

# --- what a new kind of key takes: 3 modules, the first of them new -------------------------------

OID_TOY = "1.3.6.1.4.1.32473.2"  # oids.py; of the arc for examples, RFC 5612


@dataclass(frozen=True)
class ToyPublicKey:  # a module of its own: the work that no other kind has
    octets: bytes

    def verify(self, signature: bytes, data: bytes) -> None:
        Ed25519PublicKey.from_public_bytes(self.octets).verify(signature, b"toy" + bytes(data))

    def public_bytes(self, *_: object) -> bytes:
        return ber.sequence(ber.sequence(ber.oid(OID_TOY)), ber.bit_string(self.octets))


@dataclass(frozen=True)
class ToyPrivateKey:
    key: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> ToyPrivateKey:
        return cls(Ed25519PrivateKey.generate())

    def public_key(self) -> ToyPublicKey:
        return ToyPublicKey(self.key.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(b"toy" + bytes(data))


def load(info: bytes) -> ToyPublicKey:
    return ToyPublicKey(list(ber.read(info, "SubjectPublicKeyInfo"))[1].as_bits("key"))


ROWS: tuple[Row, ...] = (  # algorithms/keys.py and, since it brings a scheme, algorithms/table.py
    KeyKind(
        "toy",
        OID_TOY,
        "Toy",
        ToyPublicKey,
        ToyPrivateKey,
        signs=True,
        verify=primitives.pure_verify,
        pure=True,
        price=lambda _: 4000,
        load=load,
    ),
    SignatureScheme(
        "toy",
        ("toy",),
        {OID_TOY: None},
        "absent",
        ("sha512",),
        primitives.pure_sign,
        primitives.pure_verify,
    ),
)


@pytest.fixture
def with_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, table, ROWS)


def add(patch: pytest.MonkeyPatch, to: ModuleType, rows: tuple[Row, ...]) -> None:
    """The table as if these were written in it."""
    for row in rows:
        patch.setitem(to._BY_NAME[type(row)], row.name, row)
        for oid in row.oids:
            patch.setitem(to._BY_OID, (type(row), oid), row)


# --- people ---------------------------------------------------------------------------------------

CA_KEY = ec.generate_private_key(ec.SECP256R1())
ECDSA = ber.sequence(ber.oid(oids.ECDSA_WITH_SHA256))
TOY = ber.sequence(ber.oid(OID_TOY))


def signed_anew(made: Certificate, *, info: bytes, algorithm: bytes, key: Any) -> Certificate:
    """The certificate with another key and another signature: no builder takes a toy."""
    fields = list(ber.read(made.der, "Certificate").children()[0].children())
    old = fields[2].raw  # version, serialNumber, signature
    parts = [info if one.raw == made.public_key_info else one.raw for one in fields]
    parts[2] = algorithm if parts[2] == old else parts[2]
    tbs = ber.sequence(*parts)
    return Certificate(ber.sequence(tbs, algorithm, ber.bit_string(key(tbs))))


def by_ec(tbs: bytes) -> bytes:
    return CA_KEY.sign(tbs, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True)
class People:
    root: CA
    alice: Identity  # a toy, of the root
    bob: Identity  # P-256, of an authority that is a toy
    toy_authority: Certificate


@pytest.fixture
def people(with_toy: None) -> People:
    return make_people()


def make_people() -> People:
    root = CA(key=CA_KEY, at=AT)
    key, authority_key = ToyPrivateKey.generate(), ToyPrivateKey.generate()
    made = root.issue("alice@contoso.com", key="ed25519", use="sign").certificate
    info = key.public_key().public_bytes()
    alice = signed_anew(made, info=info, algorithm=ECDSA, key=by_ec)
    below = root.create_intermediate(key="ed25519")
    info = authority_key.public_key().public_bytes()
    authority = signed_anew(below.certificate, info=info, algorithm=ECDSA, key=by_ec)
    bob = below.issue("bob@contoso.com", key="p256")
    issued = signed_anew(
        bob.certificate,
        info=bob.certificate.public_key_info,
        algorithm=TOY,
        key=authority_key.sign,
    )
    return People(
        root,
        Identity(key, alice),
        Identity(bob.private_key, issued, chain=(authority,)),
        authority,
    )


# --- the toy at work ------------------------------------------------------------------------------


def test_without_its_row_a_toy_can_nothing() -> None:
    with pytest.MonkeyPatch.context() as patch:
        add(patch, table, ROWS)
        alice = make_people().alice
    found = Certificate(alice.certificate.der)
    assert not allows_signing(found)
    with pytest.raises(UnsupportedAlgorithm):
        _ = found.public_key
    with pytest.raises(PolicyRefusal, match=f"{OID_TOY} is not supported"):
        sign(MAIL, signer=alice, at=AT)


@pytest.mark.parametrize("detached", [True, False])
def test_with_its_row_a_toy_signs_and_is_verified(people: People, detached: bool) -> None:
    trust = TrustStore((people.root.certificate,))
    raw = sign(MAIL, signer=people.alice, detached=detached, at=AT)
    opened = verify(raw, trust=trust, at=AT)
    assert (opened.signer.email, opened.signer.trusted) == ("alice@contoso.com", True)
    assert opened.report.findings == ()
    if detached:
        with pytest.raises(VerificationFailed):
            verify(raw.replace(b"Hello", b"Jello"), trust=trust, at=AT)


def test_a_path_goes_through_an_authority_that_is_a_toy(people: People) -> None:
    trust = TrustStore((people.root.certificate,))
    bob, between = people.bob.certificate, people.toy_authority
    report = build_path(bob, trust=trust, certificates=(between,), at=AT)
    assert (report.findings, report.chain) == ((), (bob, between, people.root.certificate))
    last = bob.der[-1] ^ 1
    forged = Certificate(bob.der[:-1] + bytes((last,)))
    report = build_path(forged, trust=trust, certificates=(between,), at=AT)
    assert [one.code for one in report.findings] == ["pki.path.invalid"]
    # its signature is no other key's, whatever it is said to be
    info = bob.public_key_info
    said = signed_anew(bob, info=info, algorithm=ECDSA, key=by_ec)
    report = build_path(said, trust=trust, certificates=(between,), at=AT)
    assert [one.code for one in report.findings] == ["pki.path.invalid"]
    assert "does not go with the issuer's kind of key" in report.findings[0].text


def test_what_else_asks_about_a_key_asks_the_row(people: People) -> None:
    certificate = people.alice.certificate
    assert usage_findings(certificate, use="sign") == ()
    assert (allows_signing(certificate), allows_encryption(certificate)) == (True, False)
    (finding,) = usage_findings(certificate, use="encrypt")
    assert (finding.code, "type Toy" in finding.text) == ("pki.usage.key-type", True)
    assert signature_price(certificate, 0) > 4000
    assert Identity.load(people.bob.to_pem()).certificate == people.bob.certificate
    with pytest.raises(PolicyRefusal, match="kind toy"):
        sign(MAIL, signer=people.alice, policy=POST_QUANTUM, at=AT)
    assert not EXCHANGE.refuse & {"toy"}


# --- that nothing else knows a kind of key or an algorithm by name --------------------------------

_NAMES = {name for rows in table._BY_NAME.values() for name in rows}
_IDENTIFIERS = {
    name
    for name, value in vars(oids).items()
    if isinstance(value, str) and any(value == oid for _, oid in table._BY_OID)
}
_FINGERPRINT = "sha256"  # also what a certificate's fingerprint is called, in JSON
_COLUMNS = {"keys", "digests", "accept"}  # of a row or a policy: what they hold, names are read in


def _named(node: ast.AST) -> str | None:
    """The row that an expression names: a literal, or an identifier of `oids`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in _NAMES:
        return node.value
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "oids":
        return node.attr if node.attr in _IDENTIFIERS else None
    return None


def by_name_in(source: str) -> Iterator[str]:
    """Where the source decides by the name of an algorithm, or by the class of a key."""
    tree = ast.parse(source)
    looked_up = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("by_name")
        for argument in node.args
    }
    compared = {
        id(one)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare | ast.MatchValue)
        for one in ast.walk(node)
    }
    concerned = any(
        isinstance(node, ast.ImportFrom)
        and ((node.module or "").startswith("algorithms") or _imports_algorithms(node))
        for node in ast.walk(tree)
    )
    for node in ast.walk(tree):
        literal = isinstance(node, ast.Constant) and _named(node)
        if literal and id(node) not in looked_up:
            if literal == _FINGERPRINT and id(node) not in compared:
                continue
            yield ast.unparse(node)
        inner: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            inner = list(ast.walk(node))
            reads = isinstance(node.comparators[0], ast.Attribute) and (
                node.comparators[0].attr in _COLUMNS
            )
            if concerned and not reads and any(_is_name(side) for side in _sides(node)):
                yield ast.unparse(node)
        elif isinstance(node, ast.Dict):
            inner = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.MatchValue):
            inner = [node.value]
        elif isinstance(node, ast.Subscript):
            inner = [node.slice]
        elif isinstance(node, ast.MatchClass) or (
            isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass")
        ):
            asked = node.cls if isinstance(node, ast.MatchClass) else node.args[1]
            if any(_is_key_class(one) for one in ast.walk(asked)):
                yield ast.unparse(node)
        for one in inner:
            if isinstance(one, ast.Attribute) and _named(one):
                yield ast.unparse(node if isinstance(node, ast.Compare) else one)


def _imports_algorithms(node: ast.ImportFrom) -> bool:
    return any(one.name == "algorithms" for one in node.names)


def _sides(node: ast.Compare) -> list[ast.expr]:
    return [node.left, *node.comparators]


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("name", "key_algorithm")


def _is_key_class(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in {one.__name__ for kind in table.rows(KeyKind) for one in _classes(kind)}


def _classes(kind: KeyKind) -> tuple[type, type]:
    return kind.public, kind.private


_CHOICE = "a policy's or a message's own choice, looked up"
_CURVES = "two keys, or a key and a name read, on one curve"
_HASHLIB = "a name of hashlib: what the scheme of a key file fixes"
_PKCS11 = "what a token calls a digest, and the classes that its objects become"
_NOT_MADE = "makes what the tables refuse: certificates that are signed with MD5 and SHA-1"
_TWIN = "RSA keys have any length, and two schemes: a twin has those of its original"
_ON_TOKENS = (
    "the attributes of a private key object differ by kind (PKCS #11); a token has these two"
)
EXCEPTIONS: dict[str, dict[str, str]] = {
    "authority/mirror.py": {
        "isinstance(key, rsa.RSAPrivateKey)": _TWIN,
        "isinstance(public, rsa.RSAPublicKey)": _TWIN,
    },
    "authority/token.py": {
        "isinstance(key, ec.EllipticCurvePrivateKey)": _ON_TOKENS,
        "isinstance(key, rsa.RSAPrivateKey)": _ON_TOKENS,
    },
    "authority/mutators.py": {
        "'md5'": _NOT_MADE,
        "'sha1'": _NOT_MADE,
        "isinstance(signer, ec.EllipticCurvePrivateKey)": _NOT_MADE,
        "isinstance(signer, rsa.RSAPrivateKey)": _NOT_MADE,
    },
    "cms/parameters.py": {
        "certificate.key_algorithm != oids.RSASSA_PSS": "parameters that only this format has",
    },
    "cms/recipients/key_agreement.py": {
        "curves.get(named.as_oid('ECParameters')) != own.curve.name": _CURVES,
    },
    "cms/recipients/kinds.py": {"row.name == recipient.kind": _CHOICE},
    "cms/signature_check.py": {"digest.name not in claim.hashed": "what was computed already"},
    "cms/signed_data.py": {"row.name == policy.rsa_signature": _CHOICE},
    "pki/keyfiles/pbe.py": {
        "'sha1'": _HASHLIB,
        "oids.AES128_CBC": "the table of PBES2, whose ciphers have no rows of ours (RFC 8018 B.2)",
        "oids.AES192_CBC": "as above",
        "oids.AES256_CBC": "as above",
        "oids.DES_EDE3_CBC": "as above",
    },
    "pki/keyfiles/pkcs12.py": {"'sha1'": _HASHLIB},
    "pki/keyfiles/private_key.py": {
        "isinstance(key, rsa.RSAPrivateKey)": "numbers to hold against each other, which RSA has",
    },
    "pki/path.py": {"oid == oids.MD5_WITH_RSA": "cryptography does not name its padding"},
    "pki/pkcs11/keys.py": {
        "'sha1'": _PKCS11,
        "'sha224'": _PKCS11,
        "'sha384'": _PKCS11,
        "'sha512'": _PKCS11,
        "isinstance(public, ec.EllipticCurvePublicKey)": _PKCS11,
        "isinstance(public, rsa.RSAPublicKey)": _PKCS11,
        "public_key.curve.name != self.curve.name": _CURVES,
        "public.curve.name == curve.name": _CURVES,
    },
    "smime/verification.py": {"'rsa'": "rsa-sha1, as micalg was written in RFC 1847's time"},
    "x509/certificate.py": {
        "oid != oids.DSA": "only DSA keys inherit parameters (RFC 3279 2.3.2)",
        "self.key_algorithm == oids.DSA": "as above",
    },
}


def is_catalogue(module: str) -> bool:
    """Certificates that somebody may ask for: nothing hangs on there being one of each kind. And
    what other programs do, by whatever names they have for it: the harness judges them, and nothing
    that a message goes through asks it.
    """
    return module == "authority/variants.py" or module.startswith("harness/")


def test_nothing_outside_the_tables_goes_by_name() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).as_posix()
        # a policy chooses by name; the other two know no algorithm at all (the floors)
        known = module.startswith(("algorithms/", "graph/", "emulator/", "policy.py", "oids.py"))
        if not known and not is_catalogue(module):
            found[module] = set(by_name_in(path.read_text("utf-8")))
    assert {module: places for module, places in found.items() if places} == {
        module: set(places) for module, places in EXCEPTIONS.items()
    }


@pytest.mark.parametrize(
    "source",
    [
        'if kind == "ec": ...',
        'if digest == "sha256": ...',
        'if kind in ("x25519", "x448"): ...',
        '_USUAL = {("ec", 384): 1}',
        '_SIZES = {"ml-dsa-44": 2560}',
        "_BITS = {oids.X25519: 1}",
        "if certificate.key_algorithm == oids.DSA: ...",
        "found = _BITS[oids.X448]",
        "match oid:\n    case oids.ED25519: ...",
        'match name:\n    case "ed25519": ...',
        "from ..algorithms import Digest\nif digest.name in _WEAK: ...",
        "from .. import algorithms\nif row.name == other: ...",
        "isinstance(key, rsa.RSAPublicKey)",
        "isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey)",
        "isinstance(key, (MLDSA44PrivateKey, int))",
        "match key:\n    case rsa.RSAPublicKey(): ...",
    ],
)
def test_a_decision_by_name_is_noticed(source: str) -> None:
    assert list(by_name_in(source))


@pytest.mark.parametrize(
    "source",
    [
        'row = by_name(KeyWrap, "aes128-wrap")',
        "from ..algorithms import Digest\nif digest.name in scheme.digests: ...",
        "ber.oid(oids.RSASSA_PSS)",
        "isinstance(key, kind.public)",
        'if parameter.name == "config": ...',
        'entry = {"sha256": certificate.sha256}',
        "if kind == oids.DATA: ...",
    ],
)
def test_what_reads_the_tables_is_not(source: str) -> None:
    assert not list(by_name_in(source))


# --- which modules know a kind of key -------------------------------------------------------------


def modules_that_know(kind: KeyKind) -> set[str]:
    """Those whose code has its name, its identifier or its classes; texts for people are not it."""
    wanted = {kind.name, *(one.__name__ for one in _classes(kind))}
    wanted |= {name for name, value in vars(oids).items() if value == kind.oid}
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            words = {getattr(node, "attr", None), getattr(node, "id", None)}
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
            if words & wanted:
                found.add(path.relative_to(PACKAGE).as_posix())
    return {module for module in found if not is_catalogue(module)}


# Its row, its identifier, and the scheme's row or the functions that it alone has.
HOME = {"algorithms/keys.py", "algorithms/table.py", "algorithms/primitives.py", "oids.py"}
ELSEWHERE = {
    "ed25519": {"x509/certificate.py"},  # takes the place of a key that is not to be read
    "ml-kem-768": {"policy.py"},  # what a policy announces is its decision
    "ml-kem-1024": {"policy.py"},
}
_OLD = {"rsa", "rsa-pss", "ec", "dsa"}  # also names of schemes, parameters and tokens' objects


@pytest.mark.parametrize(
    "kind", [kind for kind in table.rows(KeyKind) if kind.name not in _OLD], ids=lambda k: k.name
)
def test_a_kind_of_key_is_known_in_three_modules(kind: KeyKind) -> None:
    found = modules_that_know(kind) - ELSEWHERE.get(kind.name, set())
    assert found <= HOME
    assert {"algorithms/keys.py", "oids.py"} <= found
    assert len(found) <= 3
