"""OpenSSL's cms in both directions, for every algorithm: what it makes we read, what we make it
reads, to the octet; what is changed neither takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from smime_graph import (
    EXCHANGE,
    RFC_8551,
    Contact,
    Policy,
    SmimeGraphError,
    algorithms,
    decrypt,
    encrypt,
    inspect,
    oids,
    seal,
    sign,
    unseal,
    verify,
)
from smime_graph.asn1 import ber
from smime_graph.cms import enveloped_data, signed_data
from smime_graph.smime.entity import Entity

SCHEMES = ("rsa", "rsa-pss", "p256", "p384", "p521")
DIGESTS = ("sha256", "sha384", "sha512")
CIPHERS = ("aes128-cbc", "aes192-cbc", "aes256-cbc", "aes128-gcm", "aes192-gcm", "aes256-gcm")
CURVES = ("p256", "p384", "p521")

# what is signed is the entity as it is: with the header fields in it, test_mail has it
ANYBODY = EXCHANGE.but(
    "anybody",
    sender_must_match=False,
    every_recipient_must_read=False,
    header_protection=False,
)


@pytest.fixture(autouse=True)
def _openssl(need: Callable[..., None]) -> None:
    need("openssl")


@pytest.fixture
def message(entity: bytes) -> bytes:
    return b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: x\r\n" + entity


def _signer_options(scheme: str) -> list[str]:
    pem = f"alice-{scheme.removesuffix('-pss')}.pem"
    options = ["-signer", pem, "-inkey", pem]
    if scheme == "rsa-pss":
        options += ["-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:digest"]
    return options


def _policy(scheme: str, digest: str) -> Policy:
    return ANYBODY.but(
        f"{scheme}-{digest}",
        digest=digest,
        rsa_signature="rsassa-pss" if scheme == "rsa-pss" else "rsassa-pkcs1v15",
    )


_SCHEME_NAMES = {"rsa": "rsassa-pkcs1v15", "rsa-pss": "rsassa-pss"}


# --- signatures ---------------------------------------------------------------------------


@pytest.mark.parametrize("detached", [True, False], ids=["clear", "opaque"])
@pytest.mark.parametrize("digest", DIGESTS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_signatures_of_openssl_are_read(
    scheme: str, digest: str, detached: bool, people: Any, run: Any, record: Any, entity: bytes
) -> None:
    options = [*_signer_options(scheme), "-md", digest, "-binary"]
    raw = run("openssl", "cms", "-sign", *options, *_form(detached), data=entity)
    opened = verify(raw, trust=people.trust)
    assert opened.content == entity
    assert opened.signers[0].digest == digest
    assert opened.signers[0].scheme == _SCHEME_NAMES.get(scheme, "ecdsa")
    assert opened.layers[0].detached is detached
    record("openssl", f"{scheme} {digest} {'clear' if detached else 'opaque'}", "read")


def _form(detached: bool) -> list[str]:
    return [] if detached else ["-nodetach"]


@pytest.mark.parametrize("detached", [True, False], ids=["clear", "opaque"])
@pytest.mark.parametrize("digest", DIGESTS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_our_signatures_are_verified_by_openssl(
    scheme: str,
    digest: str,
    detached: bool,
    people: Any,
    run: Any,
    record: Any,
    message: bytes,
    entity: bytes,
) -> None:
    signer = people[f"alice-{scheme.removesuffix('-pss')}"]
    signed = sign(message, signer=signer, detached=detached, policy=_policy(scheme, digest))
    out = run("openssl", "cms", "-verify", "-CAfile", "root.pem", data=signed)
    assert out == entity
    record("openssl", f"{scheme} {digest} {'clear' if detached else 'opaque'}", "made")


@pytest.mark.parametrize(
    "options",
    [
        ["-keyid"],
        ["-noattr"],
        ["-noattr", "-nodetach"],
        ["-noattr", "-keyid", "-nodetach"],
        ["-cades"],
        ["-nosmimecap"],
        ["-nodetach", "-stream"],
        ["-nodetach", "-indef"],
        ["-certfile", "root.pem"],
        ["-receipt_request_all", "-receipt_request_to", "alice@contoso.com"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("scheme", ["rsa", "rsa-pss", "p256"])
def test_signatures_of_openssl_with_options_are_read(
    scheme: str,
    options: list[str],
    people: Any,
    run: Any,
    refused: Any,
    record: Any,
    entity: bytes,
) -> None:
    command = ["openssl", "cms", "-sign", "-binary", *_signer_options(scheme), *options]
    try:
        raw = run(*command, data=entity)
    except refused as error:
        if scheme == "rsa-pss" and "illegal zero content" in str(error):
            return  # OpenSSL 3.0 makes no PSS signature (RFC 4056 3) while it streams
        raise
    assert verify(raw, trust=people.trust).content == entity
    record("openssl", f"{scheme} {' '.join(options)[:36]}", "read")


def test_a_streamed_signature_is_ber_in_chunks(people: Any, run: Any) -> None:
    content = b"Content-Type: text/plain\r\n\r\n" + b"0123456789abcde\r\n" * 20_000
    options = ["-nodetach", "-binary", "-stream", "-outform", "DER"]
    der = run("openssl", "cms", "-sign", *_signer_options("rsa"), *options, data=content)
    assert der[1] == 0x80  # of indefinite length
    assert verify(der, trust=people.trust).content == content


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("binary", [[], ["-binary"]], ids=["text", "binary"])
@pytest.mark.parametrize("detached", [True, False], ids=["clear", "opaque"])
def test_line_ends_of_openssl(
    line_end: bytes,
    binary: list[str],
    detached: bool,
    people: Any,
    run: Any,
    record: Any,
    entity: bytes,
) -> None:
    given = entity.replace(b"\r\n", line_end)
    options = [*_signer_options("p256"), *binary, *_form(detached)]
    raw = run("openssl", "cms", "-sign", *options, data=given)
    opened = verify(raw, trust=people.trust)
    assert opened.content.replace(b"\r\n", b"\n") == entity.replace(b"\r\n", b"\n")
    # a file whose line ends were changed after signing, as a mail store does
    if detached:
        assert verify(raw.replace(b"\r\n", b"\n"), trust=people.trust)
    record("openssl", f"line ends {line_end!r} {' '.join(binary)} {detached}", "read")


def test_a_message_without_certificates_is_read_with_the_certificate(
    people: Any, run: Any, record: Any, entity: bytes
) -> None:
    options = [*_signer_options("rsa"), "-nocerts", "-binary"]
    raw = run("openssl", "cms", "-sign", *options, data=entity)
    with pytest.raises(SmimeGraphError, match="no certificate is"):
        verify(raw, trust=people.trust)
    certificate = people["alice-rsa"].certificate
    assert verify(raw, trust=people.trust, certificates=[certificate]).content == entity
    record("openssl", "-nocerts", "read")


@pytest.mark.parametrize("detached", [True, False], ids=["clear", "opaque"])
def test_several_signers(
    detached: bool, people: Any, run: Any, record: Any, message: bytes, entity: bytes
) -> None:
    options = [option for scheme in ("rsa", "p384", "p521") for option in _signer_options(scheme)]
    raw = run(
        "openssl",
        "cms",
        "-sign",
        "-binary",
        "-md",
        "sha512",
        *options,
        *_form(detached),
        data=entity,
    )
    opened = verify(raw, trust=people.trust)
    assert [signer.accepted for signer in opened.signers] == [True] * 3
    assert opened.content == entity
    record("openssl", f"three signers {detached}", "read")
    signers = [people[f"alice-{kind}"] for kind in ("p521", "rsa", "p256")]
    signed = sign(message, signer=signers, detached=detached, policy=ANYBODY)
    assert run("openssl", "cms", "-verify", "-CAfile", "root.pem", data=signed) == entity
    record("openssl", f"three signers {detached}", "made")


def test_a_signer_who_is_added_later(
    people: Any, run: Any, record: Any, message: bytes, entity: bytes
) -> None:
    # with the first signer's digest: OpenSSL copies it, as it no longer has the content
    first = run("openssl", "cms", "-sign", "-binary", *_signer_options("rsa"), data=entity)
    options = ["-signer", "bob-p256.pem", "-inkey", "bob-p256.pem", "-md", "sha256"]
    both = run("openssl", "cms", "-resign", *options, data=first)
    opened = verify(both, trust=people.trust)
    assert {signer.email for signer in opened.signers} == {"alice@contoso.com", "bob@contoso.com"}
    assert all(signer.accepted for signer in opened.signers)
    # theirs beside ours, and the other way round
    ours = sign(message, signer=people["alice-p384"], detached=False, policy=ANYBODY)
    mixed = run("openssl", "cms", "-resign", "-nodetach", *options, data=ours)
    assert len(verify(mixed, trust=people.trust).signers) == 2
    assert run("openssl", "cms", "-verify", "-CAfile", "root.pem", data=mixed) == entity
    record("openssl", "-resign", "read")


@pytest.mark.parametrize("kind", ["rsa", "p256"])
@pytest.mark.parametrize("detached", [True, False], ids=["clear", "opaque"])
def test_our_signatures_by_key_identifier(
    kind: str, detached: bool, people: Any, run: Any, record: Any, message: bytes, entity: bytes
) -> None:
    signed = sign(
        message, signer=people[f"alice-{kind}"], detached=detached, sid="ski", policy=ANYBODY
    )
    assert run("openssl", "cms", "-verify", "-CAfile", "root.pem", data=signed) == entity
    record("openssl", f"{kind} -keyid", "made")


def test_our_signature_names_the_certificate_as_cades_wants(
    people: Any, run: Any, record: Any, message: bytes, entity: bytes
) -> None:
    signed = sign(message, signer=people["alice-rsa"], policy=ANYBODY)
    options = ["-cades", "-CAfile", "root.pem", "-verify_email", "alice@contoso.com"]
    assert run("openssl", "cms", "-verify", *options, data=signed) == entity
    record("openssl", "rsa -cades", "made")


# --- encryption ---------------------------------------------------------------------------


def _encrypted_by_openssl(run: Any, entity: bytes, cipher: str, *options: str) -> bytes:
    name = f"-{cipher.replace('aes', 'aes-')}"
    return bytes(run("openssl", "cms", "-encrypt", "-binary", name, *options, data=entity))


def _to(name: str, *options: str) -> list[str]:
    return ["-recip", f"{name}.pem", *(word for one in options for word in ("-keyopt", one))]


@pytest.mark.parametrize("recipient", ["bob-rsa", "bob-p256"])
@pytest.mark.parametrize("cipher", CIPHERS)
def test_every_cipher_both_ways(
    cipher: str, recipient: str, people: Any, run: Any, record: Any, message: bytes, entity: bytes
) -> None:
    bob = people[recipient]
    raw = _encrypted_by_openssl(run, entity, cipher, *_to(recipient))
    opened = decrypt(raw, identities=[bob])
    assert opened.content == entity
    assert opened.layers[0].cipher == cipher
    record("openssl", f"{recipient} {cipher}", "read")
    policy = ANYBODY.but("cipher", ciphers=(cipher,))
    made = encrypt(message, recipients=[Contact(bob.certificate)], policy=policy)
    assert _decrypted_by_openssl(run, made, recipient) == entity
    record("openssl", f"{recipient} {cipher}", "made")


def _decrypted_by_openssl(run: Any, made: bytes, recipient: str) -> bytes:
    pem = f"{recipient}.pem"
    return bytes(
        run("openssl", "cms", "-decrypt", "-binary", "-recip", pem, "-inkey", pem, data=made)
    )


@pytest.mark.parametrize("mgf", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("digest", ["sha1", "sha224", "sha256", "sha384", "sha512"])
def test_oaep_of_openssl_is_read(
    digest: str, mgf: str, people: Any, run: Any, record: Any, entity: bytes
) -> None:
    options = ["rsa_padding_mode:oaep", f"rsa_oaep_md:{digest}", f"rsa_mgf1_md:{mgf}"]
    raw = _encrypted_by_openssl(run, entity, "aes256-gcm", *_to("bob-rsa", *options))
    opened = decrypt(raw, identities=[people["bob-rsa"]])
    assert opened.content == entity
    assert opened.layers[0].recipients[0].algorithm == "rsaes-oaep"
    record("openssl", f"oaep {digest} mgf {mgf}", "read")


def test_oaep_with_a_label_is_read(people: Any, run: Any, record: Any, entity: bytes) -> None:
    options = ["rsa_padding_mode:oaep", "rsa_oaep_label:0102030405"]
    raw = _encrypted_by_openssl(run, entity, "aes128-cbc", *_to("bob-rsa", *options))
    assert decrypt(raw, identities=[people["bob-rsa"]]).content == entity
    record("openssl", "oaep with a label", "read")


@pytest.mark.parametrize("cipher", ["aes128-cbc", "aes256-gcm"])
def test_our_oaep_is_read_by_openssl(
    cipher: str, people: Any, run: Any, record: Any, message: bytes, entity: bytes
) -> None:
    announced = tuple(
        ber.sequence(ber.oid(oid))
        for oid in (algorithms.by_name(algorithms.ContentCipher, cipher).oid, oids.RSAES_OAEP)
    )
    bob = Contact(people["bob-rsa"].certificate, capabilities=announced)
    policy = ANYBODY.but("oaep", ciphers=(cipher,))
    made = encrypt(message, recipients=[bob], policy=policy)
    assert inspect(made)[0].recipients[0].algorithm == "rsaes-oaep"
    assert _decrypted_by_openssl(run, made, "bob-rsa") == entity
    record("openssl", f"oaep {cipher}", "made")


@pytest.mark.parametrize("wrap", ["aes128-wrap", "aes192-wrap", "aes256-wrap"])
@pytest.mark.parametrize("digest", ["sha1", "sha224", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("curve", CURVES)
def test_ecdh_of_openssl_is_read(
    curve: str, digest: str, wrap: str, people: Any, run: Any, record: Any, entity: bytes
) -> None:
    options = _to(f"bob-{curve}", f"ecdh_kdf_md:{digest}")
    raw = _encrypted_by_openssl(run, entity, "aes256-cbc", f"-{wrap}", *options)
    opened = decrypt(raw, identities=[people[f"bob-{curve}"]])
    assert opened.content == entity
    assert opened.layers[0].recipients[0].kind == "kari"
    record("openssl", f"ecdh {curve} {digest} {wrap}", "read")


def test_cofactor_ecdh_of_openssl_is_read(
    people: Any, run: Any, record: Any, entity: bytes
) -> None:
    options = _to("bob-p256", "ecdh_kdf_md:sha256", "ecdh_cofactor_mode:1")
    raw = _encrypted_by_openssl(run, entity, "aes128-cbc", *options)
    (recipient,) = inspect(raw)[0].recipients
    assert recipient.algorithm == "dhsinglepass-cofactordh-sha256kdf"
    assert decrypt(raw, identities=[people["bob-p256"]]).content == entity
    record("openssl", "ecdh with cofactor", "read")


@pytest.mark.parametrize("cipher", ["aes128-cbc", "aes192-gcm", "aes256-cbc"])
@pytest.mark.parametrize("curve", CURVES)
def test_our_ecdh_is_read_by_openssl(
    curve: str, cipher: str, people: Any, run: Any, record: Any, message: bytes, entity: bytes
) -> None:
    bob = Contact(people[f"bob-{curve}"].certificate)
    made = encrypt(message, recipients=[bob], policy=ANYBODY.but("x", ciphers=(cipher,)))
    assert _decrypted_by_openssl(run, made, f"bob-{curve}") == entity
    record("openssl", f"ecdh {curve} {cipher}", "made")


@pytest.mark.parametrize("recipient", ["bob-rsa", "bob-p384"])
def test_recipients_by_key_identifier_both_ways(
    recipient: str, people: Any, run: Any, record: Any, message: bytes, entity: bytes
) -> None:
    bob = people[recipient]
    raw = _encrypted_by_openssl(run, entity, "aes256-cbc", "-keyid", *_to(recipient))
    assert decrypt(raw, identities=[bob]).content == entity
    record("openssl", f"{recipient} -keyid", "read")
    made = encrypt(message, recipients=[Contact(bob.certificate)], policy=ANYBODY, rid="ski")
    assert _decrypted_by_openssl(run, made, recipient) == entity
    record("openssl", f"{recipient} -keyid", "made")


_KINDS = ("alice-rsa", "bob-p256", "bob-rsa", "alice-p521")


@pytest.mark.parametrize("cipher", ["aes128-cbc", "aes256-gcm"])
def test_several_recipients_of_different_kinds(
    cipher: str, people: Any, run: Any, record: Any, message: bytes, entity: bytes
) -> None:
    options = [word for name in _KINDS for word in _to(name)]
    raw = _encrypted_by_openssl(run, entity, cipher, *options)
    made = encrypt(
        message,
        recipients=[Contact(people[name].certificate) for name in _KINDS],
        policy=ANYBODY.but("several", ciphers=(cipher,)),
    )
    for name in _KINDS:
        assert decrypt(raw, identities=[people[name]]).content == entity
        assert _decrypted_by_openssl(run, made, name) == entity
    with pytest.raises(SmimeGraphError, match="no identity given can decrypt"):
        decrypt(raw, identities=[people["bob-p521"]])
    record("openssl", f"four recipients {cipher}", "read")
    record("openssl", f"four recipients {cipher}", "made")


@pytest.mark.parametrize("recipient", ["bob-rsa", "bob-p256"])
def test_recipients_of_kinds_that_we_cannot_use_are_no_hindrance(
    recipient: str, people: Any, run: Any, record: Any, entity: bytes
) -> None:
    secret = ["-secretkey", "00" * 16, "-secretkeyid", "c0ffee", "-pwri_password", "a-password"]
    raw = _encrypted_by_openssl(run, entity, "aes256-cbc", *secret, *_to(recipient))
    opened = decrypt(raw, identities=[people[recipient]])
    assert opened.content == entity
    assert {"kekri", "pwri"} <= {one.kind for one in opened.layers[0].recipients}
    record("openssl", f"{recipient} beside a password and a key", "read")


def test_streamed_encryption_is_read(people: Any, run: Any, record: Any) -> None:
    content = b"Content-Type: text/plain\r\n\r\n" + b"0123456789abcde\r\n" * 20_000
    for cipher in ("aes-128-cbc", "aes-256-gcm"):
        options = ["-binary", "-stream", "-outform", "DER", f"-{cipher}", *_to("bob-rsa")]
        der = run("openssl", "cms", "-encrypt", *options, data=content)
        assert der[1] == 0x80  # of indefinite length
        assert decrypt(der, identities=[people["bob-rsa"]]).content == content
    record("openssl", "-stream", "read")


@pytest.mark.parametrize("base", [EXCHANGE, RFC_8551], ids=lambda policy: policy.name)
def test_a_sealed_message_both_ways(
    base: Policy, people: Any, run: Any, record: Any, message: bytes, entity: bytes
) -> None:
    alice, bob = people["alice-rsa"], people["bob-p256"]
    bare = base.but("bare", header_protection=False)
    sealed = seal(message, signer=alice, recipients=[Contact(bob.certificate)], policy=bare)
    inner = _decrypted_by_openssl(run, sealed, "bob-p256")
    assert run("openssl", "cms", "-verify", "-CAfile", "root.pem", data=inner) == entity
    own = _decrypted_by_openssl(run, sealed, "alice-rsa")
    assert own == inner
    record("openssl", f"sealed {base.name}", "made")
    signed = run("openssl", "cms", "-sign", "-binary", *_signer_options("rsa"), data=entity)
    raw = _encrypted_by_openssl(run, signed, "aes256-cbc", *_to("bob-p256"))
    assert unseal(raw, identities=[bob], trust=people.trust).content == entity
    record("openssl", f"sealed {base.name}", "read")


def test_bare_cms_in_der_and_pem_is_read(people: Any, run: Any, record: Any, entity: bytes) -> None:
    for form in ("DER", "PEM"):
        options = [*_signer_options("p256"), "-nodetach", "-binary", "-outform", form]
        signed = run("openssl", "cms", "-sign", *options, data=entity)
        assert verify(signed, trust=people.trust).content == entity
        options = ["-outform", form, *_to("bob-rsa")]
        encrypted = _encrypted_by_openssl(run, entity, "aes128-cbc", *options)
        assert decrypt(encrypted, identities=[people["bob-rsa"]]).content == entity
        record("openssl", f"bare {form}", "read")


# --- what was changed ---------------------------------------------------------------------


def _flips(der: bytes, pieces: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """The message with one bit turned in the first, the middle and the last octet of each piece."""
    for name, piece in pieces.items():
        start = der.rindex(piece)
        for offset in {0, len(piece) // 2, len(piece) - 1}:
            changed = bytearray(der)
            changed[start + offset] ^= 0x01
            yield f"{name}+{offset}", bytes(changed)


def _signed_by(maker: str, kind: str, people: Any, run: Any, entity: bytes) -> bytes:
    if maker == "openssl":
        options = [*_signer_options(kind), "-nodetach", "-binary", "-outform", "DER"]
        return bytes(run("openssl", "cms", "-sign", *options, data=entity))
    der, _ = signed_data.sign(
        entity, [people[f"alice-{kind}"]], detached=False, policy=EXCHANGE, at=datetime.now(UTC)
    )
    return der


@pytest.mark.parametrize("kind", ["rsa", "p256"])
@pytest.mark.parametrize("maker", ["we", "openssl"])
def test_a_changed_signed_message_is_refused_by_both(
    maker: str, kind: str, people: Any, run: Any, refused: Any, entity: bytes
) -> None:
    der = _signed_by(maker, kind, people, run, entity)
    command = ["openssl", "cms", "-verify", "-inform", "DER", "-CAfile", "root.pem", "-binary"]
    assert verify(der, trust=people.trust).content == run(*command, data=der) == entity
    signer = signed_data.read(der).signers[0]
    attributes = signer.signed_attributes
    assert attributes is not None
    digest = attributes.single(oids.MESSAGE_DIGEST)
    moment = attributes.single(oids.SIGNING_TIME)
    assert digest is not None
    assert moment is not None
    pieces = {
        "content": entity,
        "attributes": attributes.node.contents,
        "messageDigest": digest.contents,
        "signingTime": moment.contents,
        "signature": signer.signature,
    }
    for where, changed in _flips(der, pieces):
        with pytest.raises(SmimeGraphError):
            pytest.fail(f"{where}: {verify(changed, trust=people.trust)}")
        with pytest.raises(refused):
            pytest.fail(f"{where}: {run(*command, data=changed)!r}")


@pytest.mark.parametrize("recipient", ["bob-rsa", "bob-p256"])
@pytest.mark.parametrize("cipher", ["aes256-gcm", "aes128-cbc"])
@pytest.mark.parametrize("maker", ["we", "openssl"])
def test_a_changed_encrypted_message_is_never_read_as_it_was(
    maker: str, cipher: str, recipient: str, people: Any, run: Any, refused: Any, entity: bytes
) -> None:
    bob = people[recipient]
    if maker == "openssl":
        der = _encrypted_by_openssl(run, entity, cipher, "-outform", "DER", *_to(recipient))
    else:
        policy = ANYBODY.but("one", ciphers=(cipher,))
        made = encrypt(b"X: y\r\n" + entity, recipients=[Contact(bob.certificate)], policy=policy)
        der = bytes(Entity(made).decoded_body())
    read = enveloped_data.read(der)
    assert read.algorithm.parameters is not None
    gcm = cipher.endswith("gcm")
    iv = next(iter(read.algorithm.parameters)) if gcm else read.algorithm.parameters
    pieces = {
        "recipient's key": read.recipients[0].encrypted_key,
        "iv": iv.contents,
        "ciphertext": bytes(read.ciphertext),
    }
    if gcm:
        pieces["tag"] = read.mac
    pem = f"{recipient}.pem"
    command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-binary"]
    command += ["-recip", pem, "-inkey", pem]
    assert decrypt(der, identities=[bob]).content == run(*command, data=der) == entity
    for where, changed in _flips(der, pieces):
        # without a tag a changed text may come out, but then as one that nothing vouches for
        opened = _or_none(lambda: decrypt(changed, identities=[bob]), SmimeGraphError)  # noqa: B023
        theirs = _or_none(lambda: run(*command, data=changed), refused)  # noqa: B023
        assert theirs != entity, where
        if opened is not None:
            assert not gcm, where
            assert opened.content != entity, where
            assert not opened.report.authenticated, where


def _or_none(action: Callable[[], Any], refusal: type[Exception]) -> Any:
    try:
        return action()
    except refusal:
        return None


def test_a_detached_signature_over_another_file_is_refused(
    people: Any, run: Any, refused: Any, entity: bytes, tmp_path: Path
) -> None:
    options = [*_signer_options("rsa"), "-binary", "-outform", "DER"]
    der = run("openssl", "cms", "-sign", *options, data=entity)
    assert verify(der, trust=people.trust, content=entity).content == entity
    with pytest.raises(SmimeGraphError, match="changed after signing"):
        verify(der, trust=people.trust, content=entity + b"x")
    ours, _ = signed_data.sign(
        entity, [people["alice-rsa"]], detached=True, policy=EXCHANGE, at=datetime.now(UTC)
    )
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_bytes(entity)
    wrong.write_bytes(entity + b"x")
    command = ["openssl", "cms", "-verify", "-inform", "DER", "-CAfile", "root.pem", "-binary"]
    assert run(*command, "-content", right, data=ours) == entity
    with pytest.raises(refused):
        run(*command, "-content", wrong, data=ours)
