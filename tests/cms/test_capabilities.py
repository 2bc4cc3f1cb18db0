"""What recipients announced is honoured: in a signature, a certificate (RFC 4262) or as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import (
    EXCHANGE,
    POST_QUANTUM,
    RFC_8551,
    Contact,
    Identity,
    Policy,
    PolicyRefusal,
    UsageError,
    decrypt,
    encrypt,
    oids,
    seal,
    sign,
)
from smime_graph.algorithms import (
    ContentCipher,
    Digest,
    KeyAgreement,
    KeyWrap,
    OaepParameters,
    by_name,
)
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA
from smime_graph.cms import (
    attributes,
    capabilities,
    enveloped_data,
    parameters,
    signature_check,
    signed_data,
)
from smime_graph.cms.capabilities import Capabilities
from smime_graph.cms.parameters import read_transport
from smime_graph.cms.recipients import key_agreement
from smime_graph.cms.recipients import kinds as recipients
from smime_graph.cms.recipients.kinds import AnyRecipient
from smime_graph.cms.recipients.shared_secret import Password, SharedKey
from smime_graph.pki.identity import read_capabilities
from smime_graph.smime.recognition import recognise

Entries = tuple[bytes, ...]


def capability(oid: str, *values: bytes) -> bytes:
    return ber.sequence(ber.oid(oid), *values)


def ciphers(*names: str) -> Entries:
    return tuple(capability(by_name(ContentCipher, name).oid) for name in names)


def agreement(oid: str, wrap: str) -> bytes:
    return capability(oid, parameters.write_wrap(by_name(KeyWrap, wrap)))


def oaep(digest: str) -> bytes:
    hashed = ber.sequence(ber.oid(by_name(Digest, digest).oid), ber.null())
    mgf = ber.sequence(ber.oid(oids.MGF1), hashed)
    return capability(oids.RSAES_OAEP, ber.sequence(hashed, mgf))


def enveloped(to: Sequence[AnyRecipient], policy: Policy) -> enveloped_data.EnvelopedData:
    cipher = recipients.choose_cipher(to, policy)
    return enveloped_data.read(enveloped_data.encrypt(b"text", to, cipher=cipher, policy=policy))


@pytest.fixture(scope="module")
def people(ca: CA, now: datetime) -> Callable[[str], Identity]:
    known: dict[str, Identity] = {}

    def of(key: str) -> Identity:
        if key not in known:
            use: Any = "encrypt" if key.startswith(("ml-kem", "x")) else "both"
            known[key] = ca.issue(f"{key}@contoso.com", key=key, use=use, at=now)
        return known[key]

    return of


def described(one: enveloped_data.EnvelopedData) -> tuple[str, str]:
    return enveloped_data.cipher_name(one.algorithm), one.recipients[0].algorithm_name


# --- three ways to announce ---------------------------------------------------------------


def by_data(ca: CA, now: datetime, key: str, entries: Entries) -> Contact:
    return Contact(ca.issue("bob@contoso.com", key=key, at=now).certificate, capabilities=entries)


def by_certificate(ca: CA, now: datetime, key: str, entries: Entries) -> Contact:
    return Contact(ca.issue("bob@contoso.com", key=key, at=now, capabilities=entries).certificate)


def by_signature(ca: CA, now: datetime, key: str, entries: Entries) -> Contact:
    """The attribute of a signature that was checked, as whoever keeps contacts reads it."""
    bob = ca.issue("bob@contoso.com", key=key, at=now)
    with pytest.MonkeyPatch.context() as patch:
        whole = ber.sequence(*entries)
        patch.setattr(capabilities, "announcement", lambda _: whole)
        der, _ = signed_data.sign(b"text", [bob], detached=False, policy=EXCHANGE, at=now)
    signed = signed_data.read(der)
    assert signature_check.check(signed, signed.signers[0], b"text", policy=EXCHANGE).valid
    read = signed.signers[0].signed_attributes
    assert read is not None
    octets = attributes.read_octets(read, oids.SMIME_CAPABILITIES)
    assert octets is not None
    return Contact(bob.certificate, capabilities=read_capabilities(octets))


WAYS = pytest.mark.parametrize("way", [by_data, by_certificate, by_signature])
Way = Callable[[CA, datetime, str, Entries], Contact]


@WAYS
def test_the_size_of_the_cipher(way: Way, ca: CA, now: datetime) -> None:
    bob = way(ca, now, "p256", ciphers("aes128-cbc"))
    assert described(enveloped([bob], EXCHANGE))[0] == "aes128-cbc"
    assert described(enveloped([bob], RFC_8551))[0] == "aes128-cbc"


@WAYS
def test_gcm_where_the_policy_allows_it_and_never_by_exchange(
    way: Way, ca: CA, now: datetime
) -> None:
    bob = way(ca, now, "p256", ciphers("aes256-gcm", "aes256-cbc"))
    assert described(enveloped([bob], RFC_8551))[0] == "aes256-gcm"
    assert described(enveloped([bob], EXCHANGE))[0] == "aes256-cbc"
    only = way(ca, now, "p256", ciphers("aes256-gcm"))
    with pytest.raises(PolicyRefusal, match=r"CN=bob@contoso\.com.*cannot read aes256-cbc") as no:
        enveloped([only], EXCHANGE)
    assert no.value.rule == "encrypt.no-common-cipher"
    assert no.value.hint is not None


@WAYS
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_oaep_with_the_announced_hash(way: Way, ca: CA, now: datetime, digest: str) -> None:
    made = enveloped([way(ca, now, "rsa-2048", (oaep(digest),))], EXCHANGE)
    assert made.recipients[0].algorithm is not None
    _, read = read_transport(made.recipients[0].algorithm, "recipient")
    row = by_name(Digest, digest)
    assert read == OaepParameters(row, row)
    plain = enveloped([way(ca, now, "rsa-2048", ciphers("aes256-cbc"))], EXCHANGE)
    assert described(plain)[1] == "rsaes-pkcs1v15"


@WAYS
def test_the_kdf_and_the_wrap(way: Way, ca: CA, now: datetime) -> None:
    entries = (agreement(oids.STD_DH_SHA384_KDF, "aes128-wrap"),)
    made = enveloped([way(ca, now, "p256", entries)], EXCHANGE)
    assert described(made) == ("aes128-cbc", "dhsinglepass-stddh-sha384kdf")


@WAYS
def test_the_derivation_of_rfc_9709_where_all_announced_it(way: Way, ca: CA, now: datetime) -> None:
    bob = way(ca, now, "p256", (*ciphers("aes256-cbc"), capability(oids.CEK_HKDF_SHA256)))
    made = enveloped([bob], EXCHANGE)
    assert made.algorithm.oid == oids.CEK_HKDF_SHA256
    silent = Contact(ca.issue("carol@contoso.com", key="p256", at=now).certificate)
    assert enveloped([bob, silent], EXCHANGE).algorithm.oid == oids.AES256_CBC
    assert (
        enveloped([bob, Password("x", iterations=1000)], EXCHANGE).algorithm.oid == oids.AES256_CBC
    )


def test_ml_kem_is_used_because_the_certificate_says_so(
    people: Callable[[str], Identity],
) -> None:
    made = enveloped([Contact(people("ml-kem-768").certificate)], RFC_8551)
    assert described(made) == ("aes256-gcm", "ml-kem-768")


DES_CBC = "1.3.14.3.2.7"
RC2_40 = capability(oids.RC2_CBC, ber.integer(40))
WEAK: dict[str, Entries] = {
    "RC2 with 40 bits": (RC2_40,),
    "RC2 with 128 bits": (capability(oids.RC2_CBC, ber.integer(128)),),
    "DES": (capability(DES_CBC),),
    "triple DES": (capability(oids.DES_EDE3_CBC),),
    "RC4": (capability("1.2.840.113549.3.4"),),
    "all of them": (capability(DES_CBC), RC2_40, capability(oids.DES_EDE3_CBC)),
}


@WAYS
@pytest.mark.parametrize("policy", [EXCHANGE, RFC_8551], ids=lambda one: one.name)
@pytest.mark.parametrize("what", WEAK)
def test_who_announces_weak_ciphers_alone_is_refused(
    way: Way, ca: CA, now: datetime, policy: Policy, what: str
) -> None:
    """RFC 8551 2.7.1: whether to use weak encryption overrides every capability."""
    with pytest.raises(PolicyRefusal, match="no content cipher is common") as refused:
        enveloped([way(ca, now, "p256", WEAK[what])], policy)
    assert refused.value.rule == "encrypt.no-common-cipher"


@WAYS
def test_a_list_of_nothing_makes_nothing_weaker(way: Way, ca: CA, now: datetime) -> None:
    """A list is partial (RFC 8551 2.5.2): who names no cipher gets what the policy prefers."""
    for policy, cipher in ((EXCHANGE, "aes256-cbc"), (RFC_8551, "aes256-gcm")):
        assert described(enveloped([way(ca, now, "p256", ())], policy))[0] == cipher


@WAYS
@pytest.mark.parametrize(
    ("theirs", "chosen"),
    [
        ([("aes256-cbc", "aes128-cbc"), ("aes256-gcm", "aes128-cbc")], "aes128-cbc"),
        ([("aes128-cbc", "aes256-cbc"), ("aes256-cbc",)], "aes256-cbc"),
        ([("aes128-gcm", "aes256-gcm"), ("aes256-gcm", "aes256-cbc")], "aes256-gcm"),
        ([("aes256-cbc", "aes192-cbc", "aes128-cbc")], "aes256-cbc"),  # as Thunderbird 153 does
        ([("aes256-gcm", "aes256-cbc"), None], "aes256-gcm"),
        ([("aes256-cbc",), None], "aes256-cbc"),
    ],
)
def test_the_strongest_that_everybody_announced_is_used(
    way: Way,
    ca: CA,
    now: datetime,
    theirs: list[tuple[str, ...] | None],
    chosen: str,
) -> None:
    everyone = [
        Contact(ca.issue("bob@contoso.com", key="p256", at=now).certificate)
        if one is None
        else way(ca, now, "p256", ciphers(*one))
        for one in theirs
    ]
    for order in (everyone, everyone[::-1]):
        assert described(enveloped(order, RFC_8551))[0] == chosen


# --- what an announcement does not do -----------------------------------------------------


def test_key_wraps_are_no_matter_for_rsa(people: Callable[[str], Identity]) -> None:
    """A list announces for all keys of its owner; RSA has no key wrap that could be missing."""
    entries = (*ciphers("aes256-cbc"), agreement(oids.STD_DH_SHA256_KDF, "aes128-wrap"))
    bob = people("rsa-2048")
    assert (
        described(enveloped([Contact(bob.certificate, capabilities=entries)], EXCHANGE))[0]
        == "aes256-cbc"
    )
    with pytest.raises(PolicyRefusal, match="no content cipher is common"):
        enveloped([Contact(people("p256").certificate, capabilities=entries)], EXCHANGE)


@pytest.mark.parametrize("digest", ["md5", "shake256", "shake256-len", "sha224"])
def test_an_oaep_hash_without_a_primitive_is_not_chosen(
    people: Callable[[str], Identity], digest: str
) -> None:
    bob = people("rsa-2048")
    der = enveloped_data.encrypt(
        b"text",
        [Contact(bob.certificate, capabilities=(oaep(digest),))],
        cipher=by_name(ContentCipher, "aes256-cbc"),
        policy=EXCHANGE,
    )
    assert enveloped_data.decrypt(enveloped_data.read(der), [bob], policy=EXCHANGE) == b"text"


def test_a_signature_that_is_not_checked_gives_nobody_capabilities(
    ca: CA, alice: Identity, now: datetime, message: bytes
) -> None:
    """Encrypting never looks at a message: only a Contact or its certificate says anything."""
    announced = sign(message, signer=alice, policy=RFC_8551, at=now)
    assert recognise(announced, "1") is not None
    assert Contact(alice.certificate).capabilities is None
    assert Capabilities.of(Contact(alice.certificate)) is None


GARBAGE: list[Entries] = [
    (),
    (b"",),
    (b"\x30",),
    (b"\x30\x00",),
    (b"\x05\x00",),
    (ber.sequence(ber.null()),),
    (capability(oids.RSAES_OAEP, ber.null()),),
    (capability(oids.RSAES_OAEP, ber.sequence(ber.null())),),
    (capability(oids.RSAES_OAEP, ber.sequence(ber.sequence(ber.oid("1.2.3")))),),
    (capability(oids.STD_DH_SHA256_KDF),),
    (capability(oids.STD_DH_SHA256_KDF, ber.null()),),
    (capability(oids.STD_DH_SHA256_KDF, ber.sequence(ber.oid("1.2.3"))),),
    (capability("1.2.3.4", b"\x04\x82"),),
]


@pytest.mark.parametrize("entries", GARBAGE)
@pytest.mark.parametrize("key", ["p256", "rsa-2048", "ml-kem-768", "x25519"])
def test_garbage_is_left_out(people: Callable[[str], Identity], entries: Entries, key: str) -> None:
    bob = people(key)
    made = enveloped([Contact(bob.certificate, capabilities=entries)], RFC_8551)
    assert enveloped_data.decrypt(made, [bob], policy=RFC_8551) == b"text"
    assert described(made)[0] == "aes256-gcm"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from([*ciphers("aes128-cbc", "aes256-gcm"), oaep("sha256"), oaep("md5")]),
            st.builds(
                lambda entry, at, bit: bytes(
                    octet ^ bit if place == at % len(entry) else octet
                    for place, octet in enumerate(entry)
                ),
                st.sampled_from([oaep("sha512"), agreement(oids.STD_DH_SHA512_KDF, "aes256-wrap")]),
                st.integers(0, 100),
                st.integers(1, 255),
            ),
        ),
        max_size=6,
    )
)
def test_any_announcement_gives_a_message_or_a_refusal(entries: list[bytes]) -> None:
    for contact in _CONTACTS:
        try:
            assert enveloped([Contact(contact, capabilities=tuple(entries))], RFC_8551).recipients
        except PolicyRefusal:
            continue


_HASTY = CA("Hasty", key="p256")
_CONTACTS = [_HASTY.issue("bob@contoso.com", key=key).certificate for key in ("p256", "rsa-2048")]


# --- what the policy says -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "row"),
    [
        ("p256", "dhsinglepass-stddh-sha256kdf"),
        ("p256", "aes256-wrap"),
        ("x25519", "dhsinglepass-stddh-hkdf-sha256"),
        ("ml-kem-768", "ml-kem-768"),
        ("ml-kem-768", "hkdf-sha256"),
    ],
)
def test_what_the_policy_refuses_is_not_written(
    people: Callable[[str], Identity], key: str, row: str
) -> None:
    refusing = EXCHANGE.but("mine", accept=EXCHANGE.accept - {row}, refuse=EXCHANGE.refuse | {row})
    with pytest.raises(PolicyRefusal, match=f"policy mine refuses {row}"):
        enveloped([Contact(people(key).certificate)], refusing)


def test_the_refused_derivation_is_neither_written_nor_read(
    people: Callable[[str], Identity],
) -> None:
    row = "cek-hkdf-sha256"
    refusing = EXCHANGE.but("mine", accept=EXCHANGE.accept - {row}, refuse=EXCHANGE.refuse | {row})
    bob = people("p256")
    to = [Contact(bob.certificate, capabilities=(capability(oids.CEK_HKDF_SHA256),))]
    assert enveloped(to, refusing).algorithm.oid == oids.AES256_CBC
    derived = enveloped(to, EXCHANGE)
    with pytest.raises(PolicyRefusal, match="policy mine refuses cek-hkdf-sha256"):
        enveloped_data.decrypt(derived, [bob], policy=refusing)


def test_without_a_key_transport_rsa_is_refused(people: Callable[[str], Identity]) -> None:
    refusing = EXCHANGE.but("mine", key_transports=())
    with pytest.raises(PolicyRefusal, match=r"CN=rsa-2048@contoso\.com") as no:
        enveloped([Contact(people("rsa-2048").certificate)], refusing)
    assert no.value.hint is not None


def test_no_common_key_agreement_names_the_recipient(people: Callable[[str], Identity]) -> None:
    row = "dhsinglepass-stddh-sha1kdf"
    refusing = EXCHANGE.but("mine", accept=EXCHANGE.accept - {row}, refuse=EXCHANGE.refuse | {row})
    entries = (agreement(oids.STD_DH_SHA1_KDF, "aes256-wrap"),)
    with pytest.raises(PolicyRefusal, match=r"common with CN=p256@contoso\.com") as no:
        enveloped([Contact(people("p256").certificate, capabilities=entries)], refusing)
    assert no.value.rule == "encrypt.no-common-key-agreement"
    assert no.value.hint is not None


def test_a_recipient_without_a_key_identifier_is_not_named_by_one(ca: CA, now: datetime) -> None:
    for key in ("p256", "rsa-2048"):
        bob = ca.issue("bob@contoso.com", key=key, at=now)
        stub = _WithoutIdentifier(bob.certificate)
        with pytest.raises(UsageError, match="has no subjectKeyIdentifier"):
            recipients.kind_for(stub, EXCHANGE).wrap(stub, bytes(32), EXCHANGE, "ski")


class _WithoutIdentifier:
    capabilities = None
    email = None

    def __init__(self, certificate: Any) -> None:
        class Without:
            subject_key_identifier = None

            def __getattr__(self, name: str) -> Any:
                return getattr(certificate, name)

        self.certificate: Any = Without()


# --- POST_QUANTUM -------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["rsa-2048", "p256", "x25519"])
def test_post_quantum_does_not_mix(people: Callable[[str], Identity], key: str) -> None:
    safe = Contact(people("ml-kem-768").certificate)
    assert described(enveloped([safe], POST_QUANTUM)) == ("aes256-gcm", "ml-kem-768")
    with pytest.raises(PolicyRefusal, match=f"CN={key}@contoso") as no:
        enveloped([safe, Contact(people(key).certificate)], POST_QUANTUM)
    assert no.value.rule == "encrypt.kind-of-key"
    assert "ML-KEM" in (no.value.hint or "")


def test_post_quantum_takes_no_password_but_a_shared_key(
    people: Callable[[str], Identity],
) -> None:
    """A password is searched, quantum computer or not; a random AES key is as safe as ML-KEM."""
    safe = Contact(people("ml-kem-768").certificate)
    with pytest.raises(PolicyRefusal, match="a password"):
        enveloped([safe, Password("word", iterations=1000)], POST_QUANTUM)
    shared = SharedKey(bytes(32), identifier=b"name")
    made = enveloped([safe, shared], POST_QUANTUM)
    assert enveloped_data.decrypt(made, [shared], policy=POST_QUANTUM) == b"text"


def test_post_quantum_signs_with_ml_dsa_alone(
    ca: CA, alice: Identity, now: datetime, message: bytes
) -> None:
    with pytest.raises(PolicyRefusal, match="does not sign with keys of kind ec") as no:
        sign(message, signer=alice, policy=POST_QUANTUM, at=now)
    assert no.value.rule == "sign.kind-of-key"
    safe = ca.issue("alice@contoso.com", key="ml-dsa-65", at=now)
    bob = ca.issue("bob@contoso.com", key="ml-dsa-65", at=now)
    assert bob.encryption_certificate is not None
    to = [Contact(bob.encryption_certificate)]
    sealed = seal(message, signer=safe, recipients=to, policy=POST_QUANTUM, at=now)
    assert decrypt(sealed, identities=[bob], policy=POST_QUANTUM).report.authenticated
    with pytest.raises(PolicyRefusal, match="does not sign with keys of kind ec"):
        sign(message, signer=[safe, alice], policy=POST_QUANTUM, at=now)


def test_archive_encrypts_nothing(people: Callable[[str], Identity], message: bytes) -> None:
    to = [Contact(people("p256").certificate)]
    with pytest.raises(PolicyRefusal, match="encrypts nothing") as no:
        recipients.choose_cipher(to, EXCHANGE.but("mine", ciphers=()))
    assert no.value.hint is not None
    with pytest.raises(PolicyRefusal):
        encrypt(message, recipients=to, policy=EXCHANGE.but("mine", sends=False))


def test_oaep_is_used_with_the_mask_digest_that_was_announced(ca: CA, now: datetime) -> None:
    """Java's default is SHA-256 with MGF1 over SHA-1: only the pair announced can be read."""
    reader = ca.issue("bob@contoso.com", key="rsa-2048", at=now)
    sha256 = ber.sequence(ber.oid(oids.SHA256))
    announced = ber.sequence(ber.oid(oids.RSAES_OAEP), ber.sequence(ber.context(0, sha256)))
    to_bob = Contact(reader.certificate, capabilities=(announced,))
    cipher = by_name(ContentCipher, "aes256-cbc")
    der = enveloped_data.encrypt(b"content", [to_bob], cipher=cipher, policy=EXCHANGE)
    enveloped = enveloped_data.read(der)
    algorithm = enveloped.recipients[0].algorithm
    assert algorithm is not None
    assert algorithm.raw == announced
    assert enveloped_data.decrypt(enveloped, [reader], policy=EXCHANGE) == b"content"


def test_a_key_agreement_is_used_with_a_key_wrap_it_was_announced_with(
    ca: CA, now: datetime
) -> None:
    reader = ca.issue("bob@contoso.com", key="p256", at=now)

    def announced(scheme: str, wrap: str) -> bytes:
        row, inner = by_name(KeyAgreement, scheme), by_name(KeyWrap, wrap)
        return ber.sequence(ber.oid(row.oid), ber.sequence(ber.oid(inner.oid)))

    to_bob = Contact(
        reader.certificate,
        capabilities=(
            announced("dhsinglepass-stddh-sha256kdf", "aes128-wrap"),
            announced("dhsinglepass-stddh-sha384kdf", "aes256-wrap"),
        ),
    )
    assert key_agreement.choose(to_bob, EXCHANGE, 16).name == "dhsinglepass-stddh-sha256kdf"
    assert key_agreement.choose(to_bob, EXCHANGE, 32).name == "dhsinglepass-stddh-sha384kdf"
    assert recipients.choose_cipher([to_bob], EXCHANGE).name == "aes256-cbc"
    small = Contact(
        reader.certificate, capabilities=(announced("dhsinglepass-stddh-sha256kdf", "aes128-wrap"),)
    )
    assert recipients.choose_cipher([small], EXCHANGE).name == "aes128-cbc"


def test_capabilities_are_as_good_after_many_messages(
    to_bob: Contact, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what may be read of one message is bounded; a recipient is written to for years
    monkeypatch.setattr(ber, "MAX_ELEMENTS", 100)
    scheme = by_name(KeyAgreement, "dhsinglepass-stddh-sha384kdf")
    wrap = by_name(KeyWrap, "aes128-wrap")
    oaep = ber.sequence(ber.context(0, parameters.write_digest(by_name(Digest, "sha384"))))
    announced = (
        capability(scheme.oid, parameters.write_wrap(wrap)),
        capability(oids.RSAES_OAEP, oaep),
        capability("1.2.3.4.5"),  # of no other test, which may have read these
    )
    for _ in range(100):
        found = Capabilities.of(Contact(to_bob.certificate, capabilities=announced))
        assert found is not None
        assert found.agreements(16) == (scheme,)
        assert found.agreements(32) == ()
        assert found.oaep() is not None
