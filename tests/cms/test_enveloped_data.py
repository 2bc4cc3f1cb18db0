"""EnvelopedData and AuthEnvelopedData: made, read, and what must not be released."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest

from smime_graph import oids
from smime_graph.algorithms import ContentCipher, by_name
from smime_graph.asn1 import ber
from smime_graph.asn1.algorithm_identifier import AlgorithmIdentifier
from smime_graph.authority.issue import CA
from smime_graph.cms import enveloped_data, parameters
from smime_graph.cms.recipients import kinds as recipients
from smime_graph.cms.recipients.shared_secret import Password, SharedKey
from smime_graph.errors import (
    DecryptionFailed,
    MalformedMessage,
    NoMatchingIdentity,
    PolicyRefusal,
    SmimeGraphError,
    UnsupportedAlgorithm,
    UsageError,
)
from smime_graph.pki.identity import Contact, Identity
from smime_graph.policy import ARCHIVE, EXCHANGE, RFC_8551
from smime_graph.x509.certificate import Certificate

CONTENT = b"Content-Type: text/plain\r\n\r\nhello\r\n"
CIPHERS = ["aes128-cbc", "aes192-cbc", "aes256-cbc", "aes128-gcm", "aes192-gcm", "aes256-gcm"]


def cipher(name: str) -> ContentCipher:
    return by_name(ContentCipher, name)


def encrypt(to: Sequence[Any], name: str = "aes256-cbc", content: bytes = CONTENT) -> bytes:
    return enveloped_data.encrypt(content, to, cipher=cipher(name), policy=EXCHANGE)


def decrypt(der: bytes, *keys: Any) -> bytes:
    return bytes(enveloped_data.decrypt(enveloped_data.read(der), keys, policy=EXCHANGE))


@pytest.mark.parametrize("name", CIPHERS)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, (1 << 20) - 1, 1 << 20, (1 << 20) + 17])
def test_content_of_every_size_comes_back(
    bob: Identity, to_bob: Contact, name: str, size: int
) -> None:
    content = bytes(size)
    assert decrypt(encrypt([to_bob], name, content), bob) == content


def test_recipients_of_different_kinds_share_one_message(
    bob: Identity, bob_rsa: Identity, to_bob: Contact, to_bob_rsa: Contact
) -> None:
    der = encrypt([to_bob, to_bob_rsa, to_bob])
    assert [r.kind for r in enveloped_data.read(der).recipients].count("kari") == 1
    assert decrypt(der, bob) == decrypt(der, bob_rsa) == CONTENT


def test_the_version_follows_the_recipients(
    ca: CA, now: Any, to_bob: Contact, to_bob_rsa: Contact
) -> None:
    """RFC 5652 6.1: 3 with a pwri or an ori, 0 for key transport by issuer alone, otherwise 2."""

    def version(der: bytes) -> int:
        content = next(iter(next(n for n in ber.read(der, "x") if n.tag == 0xA0)))
        return next(iter(content)).as_integer()

    assert version(encrypt([to_bob_rsa])) == 0
    kem = ca.issue("bob@contoso.com", key="ml-kem-768", use="encrypt", at=now).certificate
    of_version: tuple[tuple[Any, int], ...] = (
        (SharedKey(bytes(16)), 2),
        (to_bob, 2),
        (Contact(kem), 3),
        (Password("secret", iterations=1), 3),
    )
    for further, wanted in of_version:
        for everyone in permutations([to_bob_rsa, to_bob, further]):
            assert version(encrypt(everyone)) == wanted
    by_ski = enveloped_data.encrypt(
        CONTENT, [to_bob_rsa], cipher=cipher("aes256-cbc"), policy=EXCHANGE, rid="ski"
    )
    assert version(by_ski) == 2
    assert version(encrypt([to_bob_rsa], "aes256-gcm")) == 0


def test_gcm_parameters_are_exact_to_the_byte(to_bob_rsa: Contact) -> None:
    """OpenSSL 3.0 refuses a message whose tag length is left out."""
    parameters = enveloped_data.read(encrypt([to_bob_rsa], "aes256-gcm")).algorithm.parameters
    assert parameters is not None
    raw = parameters.raw
    assert raw[:4] == bytes.fromhex("3011040c")
    assert raw[-3:] == bytes.fromhex("020110")


def test_kinds_of_recipients_that_we_cannot_use_are_skipped(bob: Identity, to_bob: Contact) -> None:
    der = encrypt([to_bob])
    own = ber.read(der, "x")
    infos = next(n for n in _walk(own) if n.tag == ber.SET)
    others = b"".join(
        [
            ber.tlv(
                0xA2,
                ber.integer(4),
                ber.sequence(ber.octet_string(b"name")),
                ber.sequence(ber.oid("1.2.3.4")),
                ber.octet_string(b"k"),
            ),
            ber.tlv(0xA3, ber.integer(0), ber.sequence(ber.oid("1.2.3.5")), ber.octet_string(b"p")),
            ber.tlv(0xA4, ber.oid("1.2.3.6"), ber.sequence()),
        ]
    )
    mixed = _replace(own, infos, ber.tlv(ber.SET, others, infos.contents))
    assert [r.kind for r in enveloped_data.read(mixed).recipients] == [
        "kekri",
        "pwri",
        "ori",
        "kari",
    ]
    assert decrypt(mixed, bob) == CONTENT


def _walk(node: ber.Node) -> list[ber.Node]:
    found = [node]
    if node.tag & ber.CONSTRUCTED:
        for child in node:
            found += _walk(child)
    return found


def _replace(root: ber.Node, old: ber.Node, new: bytes) -> bytes:
    if root.start == old.start and root.end == old.end:
        return new
    if not root.tag & ber.CONSTRUCTED or not root.start <= old.start < root.end:
        return root.raw
    return ber.tlv(root.tag, *(_replace(child, old, new) for child in root))


def test_who_it_is_for_is_said_to_a_stranger(
    to_bob: Contact, to_bob_rsa: Contact, alice: Identity
) -> None:
    with pytest.raises(NoMatchingIdentity, match="CN=Test Root") as caught:
        decrypt(encrypt([to_bob, to_bob_rsa]), alice)
    assert len(caught.value.addressed_to) == 2


def test_every_failure_of_a_key_is_one_and_the_same_error(
    bob_rsa: Identity, to_bob_rsa: Contact
) -> None:
    """RFC 3218, EFAIL: what went wrong inside must not be told."""
    texts = set()
    for name in ("aes256-cbc", "aes256-gcm"):
        der = encrypt([to_bob_rsa], name)
        enveloped = enveloped_data.read(der)
        wrapped = enveloped.recipients[0].encrypted_key
        at_key = der.index(wrapped)
        at_content = der.index(bytes(enveloped.ciphertext))
        places = [at_key + 5, at_key + len(wrapped) - 1, at_content + len(enveloped.ciphertext) - 1]
        if enveloped.mac:
            places.append(der.rindex(enveloped.mac))
        for place in places:
            changed = bytearray(der)
            changed[place] ^= 1
            try:
                assert decrypt(bytes(changed), bob_rsa) != CONTENT
            except DecryptionFailed as error:
                texts.add((str(error), error.hint, error.__cause__))
    assert len(texts) == 1


@pytest.mark.parametrize("name", ["aes128-gcm", "aes256-gcm"])
def test_no_octet_is_released_before_the_tag_is_checked(
    bob: Identity, to_bob: Contact, name: str
) -> None:
    der = encrypt([to_bob], name, b"x" * 5000)
    for place in (-1, -30, -3000):
        changed = bytearray(der)
        changed[place] ^= 0x80
        with pytest.raises(DecryptionFailed):
            decrypt(bytes(changed), bob)


@pytest.mark.parametrize("size", [0, 4, 12, 15])
def test_a_shortened_tag_is_refused(bob: Identity, to_bob: Contact, size: int) -> None:
    der = encrypt([to_bob], "aes256-gcm")
    root = ber.read(der, "x")
    mac = [n for n in _walk(root) if n.tag == ber.OCTET_STRING][-1]
    short = _replace(root, mac, ber.octet_string(mac.contents[:size]))
    with pytest.raises(DecryptionFailed):
        decrypt(short, bob)


def test_an_authenticating_cipher_in_enveloped_data_is_refused(
    bob: Identity, to_bob: Contact
) -> None:
    """RFC 8551 3.3: its tag would not be checked."""
    root = ber.read(encrypt([to_bob], "aes256-cbc"), "x")
    fake = encrypt([to_bob], "aes256-gcm")
    gcm = enveloped_data.read(fake).algorithm.raw
    algorithm = enveloped_data.read(root.raw).algorithm.raw
    node = next(n for n in _walk(root) if n.raw == algorithm)
    with pytest.raises(MalformedMessage, match="aes256-gcm does not belong in EnvelopedData"):
        decrypt(_replace(root, node, gcm), bob)


def test_authenticated_data_cannot_be_turned_into_cbc(bob: Identity, to_bob: Contact) -> None:
    root = ber.read(encrypt([to_bob], "aes256-gcm"), "x")
    algorithm = enveloped_data.read(root.raw).algorithm.raw
    node = next(n for n in _walk(root) if n.raw == algorithm)
    cbc = ber.sequence(ber.oid(oids.AES256_CBC), ber.octet_string(bytes(16)))
    with pytest.raises(MalformedMessage, match="aes256-cbc does not belong in AuthEnvelopedData"):
        decrypt(_replace(root, node, cbc), bob)


def test_old_ciphers_are_for_the_archive(bob_rsa: Identity, to_bob_rsa: Contact) -> None:
    der = encrypt([to_bob_rsa], "des-ede3-cbc")
    with pytest.raises(PolicyRefusal, match="policy exchange refuses des-ede3-cbc"):
        decrypt(der, bob_rsa)
    enveloped = enveloped_data.read(der)
    assert enveloped_data.decrypt(enveloped, [bob_rsa], policy=ARCHIVE) == CONTENT


def test_an_unknown_cipher_is_named(bob: Identity, to_bob: Contact) -> None:
    der = encrypt([to_bob])
    unknown = der.replace(ber.oid(oids.AES256_CBC), ber.oid("2.16.840.1.101.3.4.1.99"))
    assert (
        enveloped_data.cipher_name(enveloped_data.read(unknown).algorithm)
        == "2.16.840.1.101.3.4.1.99"
    )
    with pytest.raises(UnsupportedAlgorithm, match=r"2\.16\.840\.1\.101\.3\.4\.1\.99"):
        decrypt(unknown, bob)


def test_a_key_without_its_certificate_tries_what_it_could_be(
    bob: Identity, bob_rsa: Identity, to_bob: Contact, to_bob_rsa: Contact
) -> None:
    @dataclass
    class BareKey:
        private_key: Any
        certificate: Certificate | None = None

    der = encrypt([to_bob, to_bob_rsa], "aes256-gcm")
    assert decrypt(der, BareKey(bob.private_key)) == CONTENT
    assert decrypt(der, BareKey(bob_rsa.private_key)) == CONTENT


def test_the_tries_with_a_private_key_are_bounded(bob_rsa: Identity, to_bob_rsa: Contact) -> None:
    class Counting:
        count = 0

        def decrypt(self, *_: object) -> bytes:
            self.count += 1
            return b""

    @dataclass
    class Key:
        private_key: Any
        certificate: Certificate | None = None

    # under AES-CBC one of 256 random keys gives something that looks padded
    root = ber.read(encrypt([to_bob_rsa], "aes256-gcm"), "x")
    infos = next(n for n in _walk(root) if n.tag == ber.SET)
    many = _replace(root, infos, ber.tlv(ber.SET, *[infos.contents] * 1000))
    key = Counting()
    with pytest.raises(DecryptionFailed):
        decrypt(many, Key(key))
    assert key.count == enveloped_data.MAX_ATTEMPTS


def test_a_key_that_is_gone_is_not_a_failing_decryption(to_bob_rsa: Contact) -> None:
    class Gone:
        def decrypt(self, *_: object) -> bytes:
            raise UsageError("no token fits")

    @dataclass
    class Key:
        private_key: Any
        certificate: Certificate | None = None

    with pytest.raises(UsageError, match="no token fits"):
        decrypt(encrypt([to_bob_rsa]), Key(Gone()))


def test_nobody_is_no_recipient() -> None:
    with pytest.raises(UsageError, match="nobody to encrypt to"):
        encrypt([])


def test_a_key_that_only_signs_is_refused(ca: CA, now: Any) -> None:
    signer = ca.issue("carol@contoso.com", key="ed25519", use="sign", at=now)
    with pytest.raises(UnsupportedAlgorithm, match="encryption to CN=carol") as caught:
        encrypt([Contact(signer.certificate)])
    assert caught.value.hint is not None


@pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
@pytest.mark.parametrize("name", ["aes128-cbc", "aes256-gcm"])
def test_the_key_wrap_is_as_strong_as_the_cipher(ca: CA, now: Any, curve: str, name: str) -> None:
    """RFC 8551 2.3."""
    reader = ca.issue("bob@contoso.com", key=curve, at=now)
    der = encrypt([Contact(reader.certificate)], name)
    algorithm = enveloped_data.read(der).recipients[0].algorithm
    assert algorithm is not None
    wrap = oids.AES128_WRAP if name.startswith("aes128") else oids.AES256_WRAP
    assert ber.oid(wrap) in algorithm.raw
    assert decrypt(der, reader) == CONTENT


# --- capabilities -------------------------------------------------------------------------


def capability(*names: str) -> tuple[bytes, ...]:
    return tuple(ber.sequence(ber.oid(cipher(name).oid)) for name in names)


def test_the_cipher_is_one_that_all_can_read(to_bob: Contact, to_bob_rsa: Contact) -> None:
    old = Contact(to_bob_rsa.certificate, capabilities=capability("des-ede3-cbc", "aes128-cbc"))
    assert recipients.choose_cipher([to_bob], EXCHANGE).name == "aes256-cbc"
    assert recipients.choose_cipher([to_bob, old], EXCHANGE).name == "aes128-cbc"
    assert recipients.choose_cipher([to_bob], RFC_8551).name == "aes256-gcm"
    new = Contact(to_bob.certificate, capabilities=capability("aes128-gcm", "aes256-cbc"))
    assert recipients.choose_cipher([new], RFC_8551).name == "aes128-gcm"
    assert recipients.choose_cipher([new, to_bob_rsa], RFC_8551).name == "aes128-gcm"


def test_without_a_common_cipher_nothing_is_sent(to_bob: Contact, to_bob_rsa: Contact) -> None:
    one = Contact(to_bob.certificate, capabilities=capability("aes256-cbc"))
    other = Contact(to_bob_rsa.certificate, capabilities=capability("aes128-cbc"))
    with pytest.raises(PolicyRefusal, match="no content cipher is common") as caught:
        recipients.choose_cipher([one, other], EXCHANGE)
    assert caught.value.rule == "encrypt.no-common-cipher"
    assert "CN=bob@contoso.com" in str(caught.value)


def test_capabilities_that_name_no_cipher_say_nothing_about_ciphers(to_bob: Contact) -> None:
    odd = Contact(to_bob.certificate, capabilities=(ber.sequence(ber.oid("1.2.3.4")), b"garbage"))
    assert recipients.choose_cipher([odd], EXCHANGE).name == "aes256-cbc"


def test_oaep_is_for_those_who_announced_it(bob_rsa: Identity, to_bob_rsa: Contact) -> None:
    der = encrypt([to_bob_rsa])
    assert enveloped_data.read(der).recipients[0].algorithm_name == "rsaes-pkcs1v15"
    announced = Contact(
        to_bob_rsa.certificate, capabilities=(ber.sequence(ber.oid(oids.RSAES_OAEP)),)
    )
    der = encrypt([announced])
    assert enveloped_data.read(der).recipients[0].algorithm_name == "rsaes-oaep"
    assert decrypt(der, bob_rsa) == CONTENT


def test_every_flipped_octet_of_an_authenticated_message_is_noticed(
    bob: Identity, to_bob: Contact
) -> None:
    der = encrypt([to_bob], "aes256-gcm")
    for place in range(len(der)):
        changed = bytearray(der)
        changed[place] ^= 0x10
        try:
            assert (
                decrypt(bytes(changed), bob) == CONTENT
            )  # a field that says nothing, as a version
        except SmimeGraphError:
            continue


def test_a_wrong_key_for_rc2_is_noticed_before_the_whole_text_is_read() -> None:
    # in Python it takes seconds a megabyte, and a message may have fifty recipients that are us
    row = cipher("rc2-cbc")
    begun = time.process_time()
    for number in range(1, 5):
        with pytest.raises(ValueError):
            row.decrypt(bytes((number,)) * 5, bytes(8), bytes(1 << 18), b"", b"")
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("mode", ["gcm", "ccm"])
@pytest.mark.parametrize(
    ("size", "allowed"), [*((n, False) for n in (0, 4, 8, 10, 11, 17)), (12, True), (16, True)]
)
def test_a_tag_has_12_to_16_octets(size: int, allowed: bool, mode: str) -> None:
    """RFC 5084 3.2; 3.1 would let CCM have tags of 4, which anybody makes in 2**32 tries."""
    row = cipher(f"aes256-{mode}")
    value = ber.sequence(ber.octet_string(bytes(12)), ber.integer(size))
    identifier = AlgorithmIdentifier.read(
        ber.read(ber.sequence(ber.oid(row.oid), value), "x"), "content"
    )
    if allowed:
        assert parameters.read_cipher(identifier, "content").tag_size == size
        return
    with pytest.raises(MalformedMessage, match=f"content: tag of {size} octets, 12 to 16"):
        parameters.read_cipher(identifier, "content")
