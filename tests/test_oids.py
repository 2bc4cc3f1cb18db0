"""Object identifiers stand in `oids` alone, once, and are those of the documents."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from cryptography.x509.oid import (
    ExtendedKeyUsageOID,
    ExtensionOID,
    NameOID,
    PublicKeyAlgorithmOID,
    SignatureAlgorithmOID,
)

from smime_graph import oids
from smime_graph.asn1 import ber

PACKAGE = Path(oids.__file__).parent
DOTTED = re.compile(r"(?:[01]\.(?:[0-9]|[1-3][0-9])|2\.[0-9]+)(?:\.(?:0|[1-9][0-9]*)){2,}")
NAMED = {
    name: value for name, value in vars(oids).items() if name.isupper() and isinstance(value, str)
}


def literals(source: str) -> list[str]:
    """The strings of a program that are an identifier as a whole; documentation is none."""
    return [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and DOTTED.fullmatch(node.value)
    ]


def test_an_identifier_in_a_program_is_seen() -> None:
    found = literals('a = {"2.5.29.14": 1}\nb = ["1.3.101.113", "127.0.0.1", "0.1.0", "2.5.4"]')
    assert found == ["2.5.29.14", "1.3.101.113"]


def test_no_identifier_stands_outside_their_module() -> None:
    found = {
        str(path.relative_to(PACKAGE)): here
        for path in PACKAGE.rglob("*.py")
        if path.name != "oids.py" and (here := literals(path.read_text()))
    }
    assert found == {}


def test_an_identifier_has_one_name() -> None:
    assert len(set(NAMED.values())) == len(NAMED)
    assert all(DOTTED.fullmatch(value) for value in NAMED.values())


def test_identifiers_survive_their_encoding() -> None:
    for value in {**dict.fromkeys(NAMED.values()), **oids.WITHOUT_PRIMITIVE}:
        assert ber.read(ber.oid(value), "it", tag=ber.OBJECT_IDENTIFIER).as_oid() == value


def test_every_name_is_used() -> None:
    used = {
        node.attr
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    in_table = {name for name, value in NAMED.items() if value in oids.WITHOUT_PRIMITIVE}
    assert NAMED.keys() - used - in_table == set()


def test_names_mean_what_they_mean_elsewhere() -> None:
    elsewhere = {
        name: value.dotted_string
        for kind in (
            ExtendedKeyUsageOID,
            ExtensionOID,
            NameOID,
            PublicKeyAlgorithmOID,
            SignatureAlgorithmOID,
        )
        for name, value in vars(kind).items()
        if hasattr(value, "dotted_string")
    }
    shared = NAMED.keys() & elsewhere.keys()
    assert len(shared) >= 40
    assert {name: NAMED[name] for name in shared} == {name: elsewhere[name] for name in shared}
