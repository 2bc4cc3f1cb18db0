"""Names of nobody in the place of somebody's: of the same shape, and the same each time.

What stood in one relation stands in it still: an address and the constraint on its domain, the
names of an issuer and of what it issued.
"""

from __future__ import annotations

import re
from hashlib import sha256
from urllib.parse import urlsplit

from .. import oids
from ..asn1 import ber
from ..errors import MalformedMessage
from ..pki.address import a_labels

__all__ = ["Masks"]

_ENCODINGS = {
    0x0C: "utf-8",
    0x12: "ascii",  # NumericString
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # TeletexString, as everybody writes it
    0x16: "ascii",  # IA5String
    0x1A: "ascii",  # VisibleString
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
    # in a GeneralName: rfc822Name, dNSName, uniformResourceIdentifier (RFC 5280 4.2.1.6)
    0x81: "ascii",
    0x82: "ascii",
    0x86: "ascii",
}
_DOMAIN_TAGS = (0x81, 0x82)  # that may be a domain alone
_IP_ADDRESS = 0x87
_TEST_NETWORK = bytes((192, 0, 2))  # RFC 5737
# from where a word begins, and no part of it twice: the search stays linear
_ADDRESS = re.compile(r"(?<![^\s@<>,;:/=])[^\s@<>,;:/=]++@[^\s@<>,;:/=]++")
_MARKS = " \t<>(),;:/=@\"'"  # around an address
_SHORT = 3  # letters: codes, which need not be told apart


class Masks:
    """What stands for what, for all certificates of one chain."""

    def __init__(self) -> None:
        self._labels: dict[str, int] = {}
        self._locals: dict[str, int] = {}
        self._texts: dict[str, str] = {}
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}

    def der(self, value: bytes) -> bytes:
        """DER with every text in it masked; what cannot be read is left as it is."""
        try:
            return self._node(ber.read(value, "value", tag=value[0] if value else 0), ())
        except MalformedMessage:
            return value

    def _node(self, node: ber.Node, attribute: tuple[str, ...]) -> bytes:
        tag, contents = node.tag, bytes(node.contents)
        if tag > 0xFF:
            return bytes(node.raw)  # a tag of several octets: nothing in a certificate has one
        if tag & ber.CONSTRUCTED:
            children = node.children()
            if children and children[0].tag == ber.OBJECT_IDENTIFIER:
                attribute = (children[0].as_oid(),)
            return ber.tlv(tag, *(self._node(one, attribute) for one in children))
        if oids.COUNTRY_NAME in attribute:
            return bytes(node.raw)  # a country is nobody
        if tag in _ENCODINGS:
            return ber.tlv(tag, self._octets(tag, contents, attribute))
        if tag == _IP_ADDRESS and len(contents) == 4:
            return ber.tlv(tag, _TEST_NETWORK, contents[3:])
        if tag == ber.GENERALIZED_TIME:
            return ber.tlv(tag, b"19700101000000Z")  # a date of birth (RFC 3739 3.2.2)
        if tag == ber.OCTET_STRING:
            return ber.tlv(tag, self._unknown(contents))
        return bytes(node.raw)

    def _octets(self, tag: int, contents: bytes, attribute: tuple[str, ...]) -> bytes:
        # what is not as its type says may be somebody's all the same; Latin-1 has every octet
        for encoding in (_ENCODINGS[tag], "utf-8", "latin-1"):
            try:
                text = contents.decode(encoding)
                break
            except UnicodeDecodeError:
                continue
        if tag in _DOMAIN_TAGS and "@" not in text:
            made = self.domain(text)
        elif oids.ORGANIZATION_IDENTIFIER in attribute and "-" in text:
            scheme, _, rest = text.partition("-")  # NTRDE: it is of a registry of that country
            made = f"{scheme}-{self.text(rest)}"
        else:
            made = self.text(text)
        return made.encode(encoding)

    def _unknown(self, contents: bytes) -> bytes:
        """Of a form that nobody here knows; Microsoft keeps a user's SID as text."""
        if contents.isascii() and contents.decode().isprintable():
            return self.text(contents.decode()).encode()
        return (sha256(contents).digest() * (len(contents) // 32 + 1))[: len(contents)]

    def text(self, text: str) -> str:
        """Letters and digits of nobody's; addresses, domains and URLs in their own way."""
        if _ADDRESS.fullmatch(text):
            return self.address(text)
        if "://" in text or text.lower().startswith("mailto:"):
            return self.url(text)
        if _ADDRESS.search(text):
            return self._around_addresses(text)
        key = " ".join(text.split()).casefold()
        if key not in self._texts:
            self._texts[key] = self._new(text)
        return self._texts[key]

    def _around_addresses(self, text: str) -> str:
        made, end = [], 0
        for found in _ADDRESS.finditer(text):
            made += [self._between(text[end : found.start()]), self.address(found[0])]
            end = found.end()
        return "".join([*made, self._between(text[end:])])

    def _between(self, text: str) -> str:
        core = text.strip(_MARKS)
        before, _, after = text.partition(core) if core else (text, "", "")
        return f"{before}{self.text(core) if core else ''}{after}"

    def _new(self, text: str) -> str:
        made = "".join(map(_mask, text))
        places = [place for place, one in enumerate(made) if one.isalnum()]
        if len(places) <= _SHORT:
            return made
        shape, count = made, self._counts.get(made, 2)
        # two who were different must not become the same, as far as there are letters for it
        while made in self._taken and len(number := str(count)) <= len(places):
            letters = list(shape)
            for place, digit in zip(places[-len(number) :], number, strict=True):
                letters[place] = digit
            made, count = "".join(letters), count + 1
        self._counts[shape] = count
        self._taken.add(made)
        return made

    def address(self, text: str) -> str:
        local, _, domain = text.rpartition("@")
        number = self._locals.setdefault(local.casefold(), len(self._locals) + 1)
        name = f"person{number}" if local.isascii() else f"pérson{number}"
        return f"{_cased(name, local)}@{self.domain(domain)}"

    def domain(self, text: str) -> str:
        """Each label is another, always the same one; the last is "example" (RFC 2606)."""
        *labels, last = text.split(".")
        if not labels and not last:
            return text
        made = [one if one in ("", "*") else self._label(one) for one in labels]
        return ".".join([*made, _cased("example", last) if last else ""])

    def _label(self, label: str) -> str:
        number = self._labels.setdefault(label.casefold(), len(self._labels) + 1)
        if not label.isascii():
            return f"tést{number}"
        if label.lower().startswith("xn--"):
            return a_labels(f"tést{number}") or label
        return _cased(f"test{number}", label)

    def url(self, text: str) -> str:
        try:
            parts = urlsplit(text)
            host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
        except ValueError:
            return "".join(map(_mask, text))
        if parts.scheme.lower() == "mailto":
            return f"{parts.scheme}:{self.text(parts.path)}"
        is_ip = bool(re.fullmatch(r"[0-9.]+|.*:.*", host))
        host = "192.0.2.1" if is_ip else self.domain(host) if host else ""
        path, dot, ending = parts.path.rpartition(".")
        if not dot or len(ending) > _SHORT + 1:
            path, ending = parts.path, ""
        query = f"?{''.join(map(_mask, parts.query))}" if parts.query else ""
        place = "/".join(self.text(one) if one else "" for one in path.split("/"))
        return f"{parts.scheme}://{host}{port}{place}{dot if ending else ''}{ending}{query}"


def _mask(one: str) -> str:
    if one.isdigit():
        return "1"
    if not one.isalpha():
        return one
    if one.isascii():
        return "X" if one.isupper() else "x"
    return "É" if one.isupper() else "é"


def _cased(name: str, like: str) -> str:
    if like.isupper():
        return name.upper()
    return name.capitalize() if like[:1].isupper() else name
