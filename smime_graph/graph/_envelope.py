"""A message as SMTP carries it: who sends it, who gets it, and its octets without Bcc. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..errors import MalformedMessage
from ._outgoing import addresses, check_to_send, header_fields

# RFC 5321 4.1.2, and 3.3 of RFC 6531; what is quoted in a local part has no angle brackets here
_ADDRESS = re.compile(
    r'(?:[^\s<>@,;:()"\\\ufffd]+|"(?:[^"\\\x00-\x1f<>\ufffd]|\\[ -~])*")@[^\s<>@,;:()"\ufffd]+'
)
_ROUTE = re.compile(r"@[^:]*:")  # RFC 5321, appendix C: to be ignored
_BCC = re.compile(rb"(?im)^(?:resent-)?bcc[ \t]*:[^\n]*\n(?:[ \t][^\n]*(?:\n|\Z))*")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BARE_CR = re.compile(rb"\r(?!\n)")
_DOT = re.compile(rb"(?m)^\.")


@dataclass(frozen=True, slots=True)
class Envelope:
    """`content` ends its lines with CRLF and has no Bcc; nothing else of the message is changed."""

    message_id: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)

    @property
    def needs_8bit(self) -> bool:
        return not self.content.isascii()

    @property
    def needs_utf8(self) -> bool:
        return not all(one.isascii() for one in (self.sender, *self.recipients))

    def data(self) -> bytes:
        """What follows DATA, with the dots of RFC 5321 4.5.2 and the one that ends it."""
        return _DOT.sub(b"..", self.content) + b".\r\n"


def envelope(raw: bytes) -> Envelope:
    """MalformedMessage for what is not fit to be sent, and for an address that is none."""
    fields = header_fields(raw)
    message_id = check_to_send(fields, recipients=True)
    found = [_plain(one) for one in addresses(fields, "from")]
    to = [_plain(one) for one in addresses(fields, "to", "cc", "bcc")]
    return Envelope(message_id, found[0], tuple(dict.fromkeys(to)), _content(raw))


def _plain(written: str) -> str:
    address = _ROUTE.sub("", written, count=1) if written.startswith("@") else written
    if len(address) > 320 or not _ADDRESS.fullmatch(address):
        raise MalformedMessage(
            f"{address!r:.100} cannot be understood as an address, so nobody can say who gets it",
            hint="write it as name@domain; a display name stands in quotes before <name@domain>",
        )
    return address


def _content(raw: bytes) -> bytes:
    if _BARE_CR.search(raw):
        raise MalformedMessage(
            "the message holds a bare CR, which SMTP does not carry (RFC 5321 2.3.8)",
            hint="sign and seal make none; encode the text that holds it",
        )
    content = _BARE_LF.sub(b"\r\n", raw)
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    end = content.find(b"\r\n\r\n")
    end = len(content) if end < 0 else end + 2
    header = _BCC.sub(b"", content[:end])
    return content if len(header) == end else header + content[end:]
