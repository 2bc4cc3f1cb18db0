"""RC2: what nothing else decrypts any more, against RFC 2268 and against `cryptography`."""

from __future__ import annotations

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import RC2
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from hypothesis import given
from hypothesis import strategies as st

from smime_graph.algorithms import rc2


@pytest.mark.parametrize(
    ("key", "bits", "plain", "cipher"),  # RFC 2268 section 5
    [
        ("0000000000000000", 63, "0000000000000000", "ebb773f993278eff"),
        ("ffffffffffffffff", 64, "ffffffffffffffff", "278b27e42e2f0d49"),
        ("3000000000000000", 64, "1000000000000001", "30649edf9be7d2c2"),
        ("88", 64, "0000000000000000", "61a8a244adacccf0"),
        ("88bca90e90875a", 64, "0000000000000000", "6ccf4308974c267f"),
        ("88bca90e90875a7f0f79c384627bafb2", 64, "0000000000000000", "1a807d272bbe5db1"),
        ("88bca90e90875a7f0f79c384627bafb2", 128, "0000000000000000", "2269552ab0f85ca6"),
        (
            "88bca90e90875a7f0f79c384627bafb216f80a6f85920584c42fceb0be255daf1e",
            129,
            "0000000000000000",
            "5b78d3a43dfff1f1",
        ),
    ],
)
def test_rc2_decrypts_the_examples_of_rfc_2268(
    key: str, bits: int, plain: str, cipher: str
) -> None:
    words = rc2.expand_key(bytes.fromhex(key), effective_bits=bits)
    assert rc2.decrypt_block(words, bytes.fromhex(cipher)).hex() == plain


def test_a_kind_of_rc2_key_that_does_not_exist_is_refused() -> None:
    for key, bits in ((b"", 40), (bytes(129), 40), (b"12345", 0), (b"12345", 1025)):
        with pytest.raises(ValueError, match="RC2"):
            rc2.expand_key(key, effective_bits=bits)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), st.binary())
def test_with_128_bits_it_is_what_cryptography_has(key: bytes, iv: bytes, plain: bytes) -> None:
    plain = plain[: len(plain) - len(plain) % 8]
    encryptor = Cipher(RC2(key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(plain) + encryptor.finalize()
    assert rc2.decrypt_cbc(ciphertext, key=key, iv=iv, effective_bits=128) == plain
