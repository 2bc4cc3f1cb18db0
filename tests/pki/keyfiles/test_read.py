"""What every loader takes: a path, octets, text that is PEM; and what no error of one repeats."""

from __future__ import annotations

import base64
import os
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.serialization import pkcs7

from smime_graph import certs_only
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA, write_identity
from smime_graph.cms import signed_data
from smime_graph.errors import UsageError
from smime_graph.pki.identity import Contact, Identity, load_identities
from smime_graph.pki.keyfiles.read import armour, read_certificates, read_key_file
from smime_graph.pki.trust import TrustStore
from smime_graph.x509.certificate import Certificate

Load = Callable[[Any], Any]

OF_KEYS: dict[str, Load] = {
    "Identity.load": Identity.load,
    "Identity.from_pem": Identity.from_pem,
    "read_key_file": read_key_file,
    "load_identities": load_identities,
}
OF_CERTIFICATES: dict[str, Load] = {
    "Contact.load": Contact.load,
    "Contact.from_pem": Contact.from_pem,
    "TrustStore.from_pem": TrustStore.from_pem,
    "read_certificates": read_certificates,
}
OTHERS: dict[str, Load] = {
    "Identity.from_pkcs12": lambda source: Identity.from_pkcs12(source, password="secret"),
    "Contact.from_der": Contact.from_der,
    "CA.load": CA.load,
}
LOADERS = OF_KEYS | OF_CERTIFICATES | OTHERS


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA("Test Root", key="p256").create_intermediate(key="p256")


@pytest.fixture(scope="module")
def alice(ca: CA) -> Identity:
    return ca.issue("alice@contoso.com", key="p256")


def pem_of(*certificates: Certificate) -> bytes:
    return b"".join(map(armour, certificates))


def certificates_of(value: Any) -> set[Certificate]:
    """Whatever a loader gave."""
    if isinstance(value, tuple):
        return {c for one in value for c in certificates_of(one)}
    if isinstance(value, Certificate):
        return {value}
    if isinstance(value, TrustStore):
        return set(value.anchors)
    return set(getattr(value, "certificates", ())) or {value.certificate}


# --- text that is PEM -----------------------------------------------------------------------------


@pytest.mark.parametrize("load", OF_KEYS.values(), ids=OF_KEYS)
@pytest.mark.parametrize("before", ["", "\n", "\ufeff", "Bag Attributes: müller\n"])
def test_a_key_from_a_vault_comes_as_text(load: Load, before: str, alice: Identity) -> None:
    assert alice.certificate in certificates_of(load(before + alice.to_pem().decode()))


@pytest.mark.parametrize("load", OF_CERTIFICATES.values(), ids=OF_CERTIFICATES)
def test_a_certificate_comes_as_text(load: Load, alice: Identity) -> None:
    text = pem_of(alice.certificate).decode()
    assert certificates_of(load(text)) == {alice.certificate}
    assert certificates_of(load(text.replace("\n", "\r\n"))) == {alice.certificate}


def test_text_that_is_armoured_pkcs12_is_read(alice: Identity) -> None:
    body = base64.encodebytes(alice.to_pkcs12("secret")).decode()
    text = f"-----BEGIN PKCS12-----\n{body}-----END PKCS12-----\n"
    for load in (Identity.load, Identity.from_pem, Identity.from_pkcs12):
        assert load(text, password="secret").certificate == alice.certificate


def test_a_second_file_of_certificates_may_be_text(alice: Identity) -> None:
    key = alice.private_key.private_bytes(
        ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()
    )
    certificate = pem_of(alice.certificate).decode()
    assert Identity.from_pem(key.decode(), certificates=certificate).certificate


# --- no secret in an error ------------------------------------------------------------------------


def secrets_of(alice: Identity) -> dict[str, Any]:
    pem = alice.private_key.private_bytes(
        ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()
    ).decode()
    body = "".join(pem.split("-----")[2].split())
    der = base64.b64decode(body)
    return {
        "pem with two labels": pem.replace("END PRIVATE", "END PUBLIC"),
        "pem cut off": pem[:200],
        "pem with a fault": pem.replace("MIG", "M*G"),
        "pem of a fault": pem.replace("MIG", "MAG"),
        "pem as a path": Path(pem),
        "pem in one line": pem.replace("\n", "\\n"),
        "base64": body,
        "base64 as a path": Path(body),
        "base64 in lines": base64.encodebytes(der).decode(),
        "base64 as bytes": body.encode(),
        "32 octets": base64.b64encode(der[-32:]).decode(),
        "urlsafe": base64.urlsafe_b64encode(der).decode(),
        "hexadecimal": der.hex(),
        "32 octets in hexadecimal": der[-32:].hex(),
        "pkcs12 in base64": base64.b64encode(alice.to_pkcs12("secret")).decode(),
        "with a nul": body + "\0",
        "in a list": [pem],
        "in a dict": {"key": pem},
        "an exception": ValueError(pem),
    }


SECRETS = secrets_of(CA(key="p256").issue("a@contoso.com", key="p256"))


def everything_said(error: BaseException) -> str:
    """The error, its hint and whatever it was raised from, as a log would have it."""
    said = "".join(traceback.format_exception(error))
    seen: BaseException | None = error
    while seen is not None:
        said += f"{seen!s} {seen!r} {seen.args!r} {getattr(seen, 'hint', '')}"
        said += f"{getattr(seen, 'filename', '')}"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return said


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_no_error_of_a_loader_repeats_what_may_be_a_key(load: Load, secret: Any) -> None:
    try:
        load(secret)
    except UsageError as error:
        said = everything_said(error)
    else:
        pytest.fail("this is nothing to load")
    given = secret.decode() if isinstance(secret, bytes) else str(secret)
    # the key's own octets in it: not the labels around them
    pieces = [p for line in re.findall(r"[A-Za-z0-9+/=_-]{40,}", given) for p in cut(line)]
    assert len(pieces) > 3
    assert [piece for piece in pieces if piece in said] == []


def cut(line: str) -> list[str]:
    return [line[start : start + 12] for start in range(0, len(line) - 12, 6)]


WRONG: list[Any] = [None, 1, 1.5, True, [], {}, object(), Exception("x"), Certificate, b"x".hex]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_a_source_of_another_type_is_told_so(load: Load, wrong: Any) -> None:
    with pytest.raises(UsageError, match=f"not {type(wrong).__name__}"):
        load(wrong)


def test_a_key_without_its_armour_is_told_how_it_is_given(alice: Identity) -> None:
    text = base64.b64encode(alice.to_pkcs12("secret")).decode()
    with pytest.raises(UsageError, match=f"a file with a name of {len(text)} char") as caught:
        Identity.load(text, password="secret")
    assert caught.value.hint is not None
    assert "given as octets" in caught.value.hint
    assert Identity.load(base64.b64decode(text), password="secret").certificate == alice.certificate


def test_a_name_that_is_no_key_is_shown(tmp_path: Path) -> None:
    long = tmp_path / "a folder" / "that-is-not-there-although-its-name-is-as-long-as-a-key-00"
    for path in ("missing.p12", "keys/alice@contoso.com.pem", str(tmp_path / "x.p12")):
        with pytest.raises(UsageError) as caught:
            Identity.load(path)
        assert path in str(caught.value)
    long.parent.mkdir()
    with pytest.raises(UsageError, match="although"):
        Identity.load(long)


def test_why_a_file_cannot_be_opened_is_kept(tmp_path: Path, monkeypatch: Any) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", "MIGHAgEAMBMGByqGSM49")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UsageError) as caught:
        Identity.load("alice.p12")
    assert isinstance(caught.value.__cause__, PermissionError)
    assert "MIGH" not in everything_said(caught.value)


# --- certificates in a certs-only message, and what stands around a file ------------------------


def carriers(*certificates: Certificate) -> dict[str, bytes]:
    """The forms in which CAs, clients and we hand certificates out."""
    loaded = [one.x509 for one in certificates]
    der = pkcs7.serialize_certificates(loaded, ser.Encoding.DER)
    body = base64.encodebytes(der)
    content = ber.read(der, "ContentInfo")
    oid, inner = content.children()
    indefinite = b"\x30\x80" + oid.raw + b"\xa0\x80" + inner.contents + b"\0\0\0\0"
    ours = certs_only(certificates)
    return {
        "p7b": pkcs7.serialize_certificates(loaded, ser.Encoding.PEM),
        "p7c": der,
        "p7c in BER": indefinite,
        "cms": b"-----BEGIN CMS-----\n" + body + b"-----END CMS-----\n",
        "labelled as a certificate": b"-----BEGIN CERTIFICATE-----\n"
        + body
        + b"-----END CERTIFICATE-----\n",
        "certs-only": ours,
        "certs-only with LF": ours.replace(b"\r\n", b"\n"),
        "certs-only in mail": b"From: a@b.c\r\nTo: d@e.f\r\nSubject: mine\r\n" + ours,
        "certs-only, binary": b"Content-Type: Application/X-PKCS7-mime;\r\n smime-type=certs-only"
        b"\r\nContent-Transfer-Encoding: binary\r\n\r\n" + der,
        "our CMS": signed_data.carry(certificates),
    }


FORMS = list(carriers(CA(key="p256").certificate))
NO_PEM_ONLY = {k: v for k, v in OF_CERTIFICATES.items() if k != "Contact.from_pem"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n \t"])
@pytest.mark.parametrize("load", NO_PEM_ONLY.values(), ids=NO_PEM_ONLY)
def test_certificates_are_taken_from_every_form(
    load: Load, form: str, end: bytes, ca: CA, alice: Identity, tmp_path: Path
) -> None:
    data = carriers(alice.certificate, ca.certificate)[form] + end
    file = tmp_path / "bob.p7b"
    file.write_bytes(data)
    for source in (file, data):
        found = certificates_of(load(source))
        wanted = {alice.certificate, ca.certificate}
        assert found == ({alice.certificate} if load == Contact.load else wanted)


def test_a_key_takes_its_certificate_from_a_p7b(ca: CA, alice: Identity, tmp_path: Path) -> None:
    write_identity(alice, tmp_path, name="alice")
    (tmp_path / "alice.pem").write_bytes(carriers(alice.certificate, ca.certificate)["p7b"])
    assert Identity.load(tmp_path / "alice.key").chain == (ca.certificate,)


def test_what_comes_with_a_signature_is_not_believed(alice: Identity, ca: CA) -> None:
    """Anybody can put a root beside a signature."""
    from smime_graph import EXCHANGE
    from tests.conftest import NOW

    der, _ = signed_data.sign(b"x", [alice], detached=True, policy=EXCHANGE, at=NOW)
    for load in NO_PEM_ONLY.values():
        with pytest.raises(UsageError, match="signed message"):
            load(der)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b" ", b"\n\n\t"])
def test_white_space_behind_a_file_of_octets_is_nothing(end: bytes, alice: Identity) -> None:
    """An editor, `echo` or a form adds it."""
    p12 = alice.to_pkcs12("secret")
    assert Identity.load(p12 + end, password="secret").certificate == alice.certificate
    assert Identity.from_pkcs12(p12 + end, password="secret").certificate == alice.certificate
    der = alice.certificate.der
    for load in (Contact.load, Contact.from_der, TrustStore.from_pem, read_certificates):
        assert certificates_of(load(der + end)) == {alice.certificate}
    for protection in (ser.NoEncryption(), ser.BestAvailableEncryption(b"secret")):
        key = alice.private_key.private_bytes(ser.Encoding.DER, ser.PrivateFormat.PKCS8, protection)
        assert len(read_key_file(key + end, passwords=["secret"]).keys) == 1


def test_anything_else_behind_it_is_no_white_space(alice: Identity) -> None:
    for end in (b"\0", b"\nx", b"\n\0"):
        for load in (Contact.load, Contact.from_der, TrustStore.from_pem):
            with pytest.raises(UsageError):
                load(alice.certificate.der + end)
        with pytest.raises(UsageError):
            Identity.load(alice.to_pkcs12("secret") + end, password="secret")


# --- files that belong together -----------------------------------------------------------------


@pytest.mark.parametrize("end", [".pem", ".crt", ".cer"])
def test_a_key_file_takes_the_certificates_beside_it(
    end: str, alice: Identity, ca: CA, tmp_path: Path
) -> None:
    key, certificates = write_identity(alice, tmp_path, name="alice")
    certificates.rename(tmp_path / f"alice{end}")
    for load in (Identity.load, Identity.from_pem, lambda path: load_identities(path)[0]):
        for path in (key, str(key)):
            found = load(path)
            assert (found.certificate, found.chain) == (alice.certificate, (ca.certificate,))
    (tmp_path / f"alice{end}").unlink()
    with pytest.raises(UsageError, match="no certificate"):
        Identity.load(key)


def test_a_folder_of_roots_is_believed(ca: CA, alice: Identity, tmp_path: Path) -> None:
    other = CA("Other Root", key="p256")
    (tmp_path / "a.pem").write_bytes(ca.trust_pem)
    (tmp_path / "b.der").write_bytes(other.certificate.der)
    (tmp_path / "c.p7b").write_bytes(carriers(ca.certificate)["p7b"])
    (tmp_path / "README").write_text("nothing")
    (tmp_path / "key.pem").write_bytes(
        alice.private_key.private_bytes(
            ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()
        )
    )
    (tmp_path / "folder").mkdir()
    for path in (tmp_path, str(tmp_path)):
        assert TrustStore.from_pem(path).anchors == (
            ca.root,
            other.certificate,
            ca.certificate,
        )
    with pytest.raises(UsageError, match="no file with a certificate"):
        TrustStore.from_pem(tmp_path / "folder")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda one: one.to_pkcs12("secret"), "is a PKCS#12 file, whose certificates are locked"),
        (
            lambda one: one.private_key.private_bytes(
                ser.Encoding.DER, ser.PrivateFormat.PKCS8, ser.NoEncryption()
            ),
            "only a private key",
        ),
        (lambda one: b"hello", "holds no certificate"),
    ],
)
def test_what_holds_no_certificate_is_told_what_it_is(
    make: Callable[[Identity], bytes], text: str, alice: Identity
) -> None:
    for load in NO_PEM_ONLY.values():
        with pytest.raises(UsageError, match=text) as caught:
            load(make(alice))
        assert caught.value.hint


# --- certificates of another library ------------------------------------------------------------


def test_a_certificate_of_cryptography_is_as_good_as_ours(ca: CA, alice: Identity) -> None:
    theirs: Any = x509.load_der_x509_certificate(alice.certificate.der)
    assert Contact(theirs) == Contact(alice.certificate)
    assert TrustStore((theirs,)) == TrustStore((alice.certificate,))
    ours = (alice.certificate,)
    assert TrustStore([theirs], certificates=[theirs]) == TrustStore(ours, certificates=ours)  # type: ignore[arg-type]
    assert Identity(alice.private_key, theirs, chain=(ca.certificate.x509,)) == alice  # type: ignore[arg-type]
    assert certs_only([theirs]) == certs_only([alice.certificate])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_of_a_folder_that_may_not_be_read_is_named(tmp_path: Path, alice: Identity) -> None:
    (tmp_path / "a.p12").touch(mode=0o000)
    (tmp_path / "b.pem").write_bytes(alice.to_pem())
    told: list[UsageError] = []
    assert len(load_identities(tmp_path, passed_over=told.append)) == 1
    assert "a.p12" in str(told[0])
