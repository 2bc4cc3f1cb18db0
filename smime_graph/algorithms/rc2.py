"""RC2 in CBC mode, decryption only (RFC 2268).

PKCS#12 files of macOS, Firefox and older OpenSSL encrypt their certificates with 40 bits of it, and
neither `cryptography` (128-bit keys only) nor the standard library has that. It protects nothing,
so nothing is ever written with it.
"""

from __future__ import annotations

# RFC 2268 section 2: a permutation of 0..255 made of the digits of pi
_PI = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2"
    "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec"
    "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9"
    "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)


def expand_key(key: bytes, *, effective_bits: int) -> list[int]:
    """The 64 words of the expanded key (RFC 2268 section 2)."""
    if not 1 <= len(key) <= 128 or not 1 <= effective_bits <= 1024:
        raise ValueError("an RC2 key has 1 to 128 octets and 1 to 1024 effective bits")
    octets = bytearray(key)
    for i in range(len(key), 128):
        octets.append(_PI[(octets[i - 1] + octets[i - len(key)]) & 0xFF])
    effective_octets = (effective_bits + 7) // 8
    mask = 0xFF >> (8 * effective_octets - effective_bits)
    octets[128 - effective_octets] = _PI[octets[128 - effective_octets] & mask]
    for i in range(127 - effective_octets, -1, -1):
        octets[i] = _PI[octets[i + 1] ^ octets[i + effective_octets]]
    return [octets[i] | octets[i + 1] << 8 for i in range(0, 128, 2)]


def decrypt_block(words: list[int], block: bytes) -> bytes:
    """One block of eight octets (RFC 2268 section 4)."""
    r = [block[i] | block[i + 1] << 8 for i in (0, 2, 4, 6)]
    for step in range(15, -1, -1):
        for i in (3, 2, 1, 0):
            rotation = (1, 2, 3, 5)[i]
            x = (r[i] >> rotation | r[i] << (16 - rotation)) & 0xFFFF
            before, second = r[i - 1], r[i - 2]
            x -= words[4 * step + i] + (before & second) + (~before & r[i - 3])
            r[i] = x & 0xFFFF
        if step in (
            11,
            5,
        ):  # the mashing rounds stand after the fifth and the eleventh mixing round
            for i in (3, 2, 1, 0):
                r[i] = (r[i] - words[r[i - 1] & 63]) & 0xFFFF
    return b"".join(x.to_bytes(2, "little") for x in r)


def decrypt_cbc(ciphertext: bytes, *, key: bytes, iv: bytes, effective_bits: int) -> bytes:
    """CBC without padding; `ciphertext` is whole blocks, `iv` is eight octets."""
    words = expand_key(key, effective_bits=effective_bits)
    plain, previous = bytearray(), iv
    for start in range(0, len(ciphertext), 8):
        block = ciphertext[start : start + 8]
        plain += bytes(a ^ b for a, b in zip(decrypt_block(words, block), previous, strict=True))
        previous = block
    return bytes(plain)
