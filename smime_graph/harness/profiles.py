"""For whom a certificate is judged: standards, and programs that people read mail in."""

from __future__ import annotations

from typing import Literal, get_args

FitnessProfile = Literal[
    "rfc8550",
    "sbr-strict",
    "sbr-multipurpose",
    "sbr-legacy",
    "outlook",
    "exchange-online",
    "gmail",
    "apple",
    "thunderbird",
    "openssl",
    "gpgsm",
    "bouncycastle",
]
PROFILES: tuple[FitnessProfile, ...] = get_args(FitnessProfile)
SBR: tuple[FitnessProfile, ...] = ("sbr-strict", "sbr-multipurpose", "sbr-legacy")
CLIENTS = PROFILES[4:]
TITLES: dict[FitnessProfile, str] = {
    "rfc8550": "RFC 8550",
    "sbr-strict": "S/MIME BR strict",
    "sbr-multipurpose": "S/MIME BR multipurpose",
    "sbr-legacy": "S/MIME BR legacy",
    "outlook": "Outlook",
    "exchange-online": "Exchange Online",
    "gmail": "Gmail",
    "apple": "Apple Mail",
    "thunderbird": "Thunderbird",
    "openssl": "OpenSSL",
    "gpgsm": "gpgsm",
    "bouncycastle": "Bouncy Castle",
}

# What a program does not look at where it does one of the two: Bouncy Castle and `openssl cms`
# encrypt to any certificate that they believe
OVERLOOKED: dict[tuple[str, str], frozenset[str]] = {
    ("bouncycastle", "encrypt"): frozenset(
        (
            *("8550-4.4.2", "8550-4.4.4", "8550-3-1", "8550-3-4", "8550-4.4.3"),
            "CLIENT-constraints",
        )
    ),
    ("openssl", "encrypt"): frozenset(("8550-3-4",)),
}
