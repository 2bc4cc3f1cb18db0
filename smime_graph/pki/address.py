"""Mail addresses: those of a certificate, those of a header field, and whether two are the same.

What cannot be read in exactly one way is refused, never guessed: where two parsers disagree about
whose address a header holds, a signature ends up beside the wrong name (CVE-2023-27043 and its
kin).
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509

from .. import oids
from ..asn1 import ber
from ..errors import MalformedMessage
from ..findings import Finding, finding
from ..x509 import names
from ..x509.certificate import Certificate, remembered

_MAX_LABEL = 63  # RFC 1035 2.3.4; also keeps punycode, which is quadratic, cheap
_MAX_DOMAIN = 255
_MAX_FIELD = 256 * 1024  # characters
_MAX_TOKENS = 60_000  # some 5,000 recipients with their names
MAX_ADDRESSES = 1000  # of one certificate; a person has a dozen


# --- header fields --------------------------------------------------------------------------------


class _Token(NamedTuple):
    kind: str  # "atom", "quoted", "literal", or the special character itself
    text: str
    glued: bool  # nothing, not even a comment, stands between this token and the one before


_FOLD = re.compile(r"\r?\n(?=[ \t])")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN = re.compile(
    r"""(?P<space>[ \t]++)
      | (?P<quoted>"(?:[^"\\]|\\.)*+")
      | (?P<literal>\[[^\[\]\\]*+\])
      | (?P<special>[<>@,;:.])
      | (?P<atom>[^ \t()<>@,;:\\".\[\]]++)""",
    re.VERBOSE,
)
_IN_COMMENT = re.compile(r"[()\\]")
_DOT_ATOM = re.compile(r"[^ \t()<>@,;:\\\".\[\]]+(?:\.[^ \t()<>@,;:\\\".\[\]]+)*")


def _tokens(text: str) -> list[_Token]:
    if len(text) > _MAX_FIELD:
        raise MalformedMessage(f"address field: longer than {_MAX_FIELD} characters")
    if _CONTROL.search(text):
        raise MalformedMessage(
            "address field: a control character, or a line end that is no folding"
        )
    tokens: list[_Token] = []
    position, glued = 0, False
    while position < len(text):
        if text[position] == "(":
            position, glued = after_comment(text, position), False
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            raise MalformedMessage(f"address field: nothing readable at character {position}")
        position = match.end()
        kind = match.lastgroup or ""
        if kind == "space":
            glued = False
            continue
        if len(tokens) >= _MAX_TOKENS:
            raise MalformedMessage(f"address field: more than {_MAX_TOKENS} words and signs")
        tokens.append(_Token(match[0] if kind == "special" else kind, match[0], glued))
        glued = True
    return tokens


def after_comment(text: str, position: int) -> int:
    """Where the comment ends that begins at `position`; MalformedMessage if it does not end."""
    depth = 0
    while (match := _IN_COMMENT.search(text, position)) is not None:
        position = match.end() + (match[0] == "\\")
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0:
            return position
    raise MalformedMessage("address field: a comment does not end")


def _addr_spec(tokens: Sequence[_Token]) -> tuple[str, str]:
    """Local part (quoted only where it must be) and domain; strict RFC 5322 3.4.1 with RFC 6532's
    characters.

    The obsolete forms, and comments or blanks around "@" and ".", are legal and read differently by
    every parser: refused.
    """
    kinds = [token.kind for token in tokens]
    text = "".join(token.text for token in tokens)
    # an encoded-word is not allowed here (RFC 2047 5), but some readers decode it all the same
    if kinds.count("@") != 1 or not all(token.glued for token in tokens[1:]) or "=?" in text:
        raise MalformedMessage("address field: not exactly one local-part@domain")
    if "\ufffd" in text:
        # octets that are no UTF-8 (see `HeaderField.value`): different ones would look the same
        raise MalformedMessage("address field: an address in an unknown character set")
    at = kinds.index("@")
    local = "".join(token.text for token in tokens[:at])
    domain = "".join(token.text for token in tokens[at + 1 :])
    if kinds[:at] == ["quoted"]:
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
        if not _DOT_ATOM.fullmatch(local):
            # backslash and quote are the only characters that need it (RFC 5322 3.2.4)
            local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
    elif not _is_dot_atom(kinds[:at]):
        raise MalformedMessage("address field: the local part is no dot-atom and no quoted string")
    if kinds[at + 1 :] != ["literal"] and not _is_dot_atom(kinds[at + 1 :]):
        raise MalformedMessage("address field: the domain is no dot-atom and no literal")
    if local == '""' or not (local.isprintable() and domain.isprintable()):
        raise MalformedMessage(
            "address field: an address is empty or has characters without a shape"
        )
    if len(domain) > _MAX_DOMAIN or max(map(len, domain.split("."))) > _MAX_LABEL:
        raise MalformedMessage("address field: a domain is longer than the DNS allows")
    return local, domain


def _is_dot_atom(kinds: Sequence[str]) -> bool:
    return len(kinds) % 2 == 1 and all(
        kind == ("." if index % 2 else "atom") for index, kind in enumerate(kinds)
    )


def _mailbox(tokens: Sequence[_Token]) -> str:
    kinds = [token.kind for token in tokens]
    if "<" in kinds:
        opening = kinds.index("<")
        name, tokens = tokens[:opening], tokens[opening + 1 : -1]
        # an "@" in an unquoted display name shows one address and means another, if not the same
        is_phrase = all(kind in ("atom", "quoted", ".") for kind in kinds[:opening])
        if kinds[-1] != ">" or not (is_phrase or _is_same_address(name, tokens)):
            raise MalformedMessage("address field: not a display name and one address in <>")
    return "@".join(_addr_spec(tokens))


def _is_same_address(name: Sequence[_Token], address: Sequence[_Token]) -> bool:
    """Whether a display name is the address once more, as clients write it that know no name."""
    if not all(token.glued for token in name[1:]):
        return False
    text = "".join(token.text for token in name)
    if text[:1] == text[-1:] == "'":
        text = text[1:-1]  # Outlook's quotes
    same = mailbox(text)
    return same is not None and same == mailbox("".join(token.text for token in address))


def parse_header_addresses(value: str) -> tuple[str, ...]:
    """The addr-specs of a From, Sender, To, Cc or Reply-To value, in order (RFC 5322 3.4, RFC
    6532).

    The value may be folded; groups, comments, encoded-words and quoted display names are skipped.
    Raises MalformedMessage where the value, or any part of it, can be read in more than one way. An
    empty result means that there is nobody, as in "undisclosed-recipients:;".
    """
    return _lately(value) if len(value) <= _MAX_KEPT else _parsed(value)


def _parsed(value: str) -> tuple[str, ...]:
    found: list[str] = []
    current: list[_Token] = []
    in_group = after_group = False
    for token in _tokens(_FOLD.sub("", value.removesuffix("\n").removesuffix("\r"))):
        if after_group and token.kind != ",":
            raise MalformedMessage("address field: text after the end of a group")
        if token.kind == ":":
            if (
                in_group
                or not current
                or any(t.kind not in ("atom", "quoted", ".") for t in current)
            ):
                raise MalformedMessage("address field: a colon that begins no group")
            in_group, current = True, []
        elif token.kind in (",", ";"):
            if current:
                found.append(_mailbox(current))
            current = []
            after_group = token.kind == ";"
            if after_group:
                if not in_group:
                    raise MalformedMessage("address field: a semicolon that ends no group")
                in_group = False
        else:
            current.append(token)
    if in_group:
        raise MalformedMessage("address field: a group does not end")
    if current:
        found.append(_mailbox(current))
    return tuple(found)


_MAX_KEPT = 32 * 1024  # characters: a thousand people
_lately = lru_cache(maxsize=32)(_parsed)


def header_addresses(value: str) -> tuple[str, ...]:
    """The addr-specs of an address field; empty where the value cannot be read in exactly one way.

    Never raises. For reading a From or Sender: no address matches nothing. To decide who must be
    able to read a message use `parse_header_addresses`, which tells "nobody" from "unreadable".
    """
    try:
        return parse_header_addresses(value)
    except MalformedMessage:
        return ()


# --- comparing ------------------------------------------------------------------------------------


def a_labels(domain: str) -> str | None:
    """The domain in lower-case A-labels, or None where a label is none.

    The A-label of a U-label is "xn--" and its punycode (RFC 5890 2.3.2.1). Which characters a
    registry permits is not checked: names are compared and written here, none is looked up. So it
    is neither the package `idna`, whose answer changes with the version of Unicode that it knows,
    nor the standard library's codec of IDNA 2003, which turns sharp s into ss: another domain.
    """
    labels: list[str] = []
    for label in domain.split("."):
        lower = unicodedata.normalize("NFC", label.lower())
        if not lower.isascii():
            lower = "xn--" + lower.encode("punycode").decode("ascii")
        elif not label.isascii():
            return None  # U+212A KELVIN SIGN lowers to k: a look-alike, not the same name
        labels.append(lower)
    return ".".join(labels)


Mailbox = tuple[str, str]
"""Local part and domain in the one form in which mailboxes are compared."""

# what nearly every address is; the long way comes to the same
_PLAIN = re.compile(
    r"([a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*)"
    r"@((?:[a-z0-9-]{1,63}\.)*[a-z0-9-]{1,63})"
)


def mailbox(address: str) -> Mailbox | None:
    """The form in which mailboxes are compared (RFC 8550 3, RFC 9598 5); None for no addr-spec.

    The domain is lower-case A-labels. An ASCII local part is compared without regard to case (Apple
    Mail and OpenSSL do regard it); one with other characters always exactly.
    Where many are compared with many, make this of each once and compare sets of them.
    """
    plain = _PLAIN.fullmatch(address)
    if plain is not None and len(plain[2]) <= _MAX_DOMAIN and "=?" not in address:
        return plain[1], plain[2]
    try:
        local, domain = _addr_spec(_tokens(address))
    except MalformedMessage:
        return None
    if address != address.strip(" \t"):
        return None
    # RFC 9598 5: an internationalised local part is compared octet by octet
    if local.isascii():
        local = local.lower()
    labels = a_labels(domain)
    return None if labels is None else (local, labels)


@lru_cache(maxsize=16)
def mailboxes(addresses: tuple[str, ...]) -> frozenset[Mailbox]:
    """Those of the addresses that are addr-specs, in the form in which they are compared."""
    return frozenset(one for address in addresses if (one := mailbox(address)) is not None)


def is_address(text: str) -> bool:
    """Whether what names a recipient is an address to look up: an addr-spec, and no file."""
    # not Path.exists, which raises where a text is too long to be a path
    return os.sep not in text and mailbox(text) is not None and not os.path.exists(text)  # noqa: PTH110


# --- certificates ---------------------------------------------------------------------------------


@remembered
def count_of_names(certificate: Certificate) -> int:
    """How many names the subjectAltName has, of whatever kind."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, MalformedMessage):
        return 0
    return len(list(found.value))


@remembered
def addresses(certificate: Certificate) -> tuple[str, ...]:
    """The mail addresses that a certificate binds, each once: subjectAltName first, then the
    subject.

    rfc822Name, SmtpUTF8Mailbox (RFC 9598) and the PKCS #9 emailAddress of the subject (RFC 8550 3);
    never the common name. What is not an addr-spec, or holds control characters, is left out; so is
    everything of an extension that cannot be parsed, and what follows the first
    `MAX_ADDRESSES`. Never raises.
    """
    found: list[str] = []
    try:
        general = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found += [text for one in general if (text := address_of(one)) is not None]
    except (x509.ExtensionNotFound, MalformedMessage):
        pass
    # an IA5String by definition; another character set is no way around SmtpUTF8Mailbox
    found += filter(str.isascii, names.values(certificate.subject, oids.EMAIL_ADDRESS))
    once: dict[Mailbox, str] = {}
    for address in found[:MAX_ADDRESSES]:
        if (key := mailbox(address)) is not None:
            once.setdefault(key, address)
    return tuple(once.values())


def addresses_are_known(certificate: Certificate) -> bool:
    """Whether `addresses` could read all of the certificate: else it may hold one that is hidden.

    What is wrong with it then is a finding of its own (`usage.extension_findings`).
    """
    try:
        return certificate.extensions is not None
    except MalformedMessage:
        return False


def address_of(name: x509.GeneralName) -> str | None:
    """The address that an rfc822Name or a SmtpUTF8Mailbox is; None for other names."""
    if isinstance(name, x509.RFC822Name):
        return name.value
    if not isinstance(name, x509.OtherName) or (
        name.type_id.dotted_string != oids.SMTP_UTF8_MAILBOX
    ):
        return None
    # RFC 8398 let the domain be U-labels, RFC 9598 3 wants A-labels: `mailbox` reads both
    try:
        octets = ber.read(name.value, "SmtpUTF8Mailbox", tag=ber.UTF8_STRING).contents
        return octets.decode("utf-8")
    except (MalformedMessage, UnicodeDecodeError):
        return None


def constraint_findings(chain: Sequence[Certificate]) -> list[Finding]:
    """Addresses of the first certificate that the name constraints of the others forbid.

    RFC 5280 4.2.1.10 applies rfc822Name constraints to a subject's emailAddress only where there is
    no subjectAltName, and knows no SmtpUTF8Mailbox (RFC 9598 6 does). Since `addresses` believes
    all three kinds, each is held to the constraints here: otherwise a constrained authority could
    name anyone.
    """
    held = [(text, key) for text in addresses(chain[0]) if (key := mailbox(text)) is not None]
    findings: list[Finding] = []
    for issuer in chain[1:]:
        try:
            constraints = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
        except (x509.ExtensionNotFound, MalformedMessage):
            continue  # a malformed extension is a finding of its own
        permitted = _Subtrees(constraints.permitted_subtrees)
        # a dot or a blank at its end makes it no host, and must not make it one that is permitted
        excluded = _Subtrees(constraints.excluded_subtrees, strip=". ")
        for text, key in held:
            if (permitted and key not in permitted) or "" in excluded.hosts or key in excluded:
                findings.append(
                    finding(
                        "pki.path.invalid",
                        chain[0].description,
                        f"the address {text} is outside the name constraints of "
                        f"{issuer.description}",
                    )
                )
    return findings


class _Subtrees:
    """The rfc822Name subtrees of a constraint (RFC 5280 4.2.1.10), each read once.

    A subtree is a mailbox, a host, or with a leading "." every host below; "" is undefined.
    """

    __slots__ = ("_mailboxes", "hosts")

    def __init__(self, names: Iterable[x509.GeneralName] | None, *, strip: str = "") -> None:
        bases = [n.value.rstrip(strip) for n in names or () if isinstance(n, x509.RFC822Name)]
        self.hosts = {base.lower() for base in bases if "@" not in base}
        self._mailboxes = {mailbox(base) for base in bases if "@" in base}

    def __bool__(self) -> bool:
        return bool(self.hosts or self._mailboxes)

    def __contains__(self, key: Mailbox) -> bool:
        host = key[1]
        if key in self._mailboxes or host in self.hosts:
            return True
        labels = host.split(".")
        return any("." + ".".join(labels[n:]) in self.hosts for n in range(1, len(labels)))
