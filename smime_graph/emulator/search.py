"""$search of messages: a small part of the Keyword Query Language.

Words and phrases that all have to be there, each in what a reader sees of a message or in the
property that is named before it (`from:bob`, `subject:"two words"`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from .headers import Person
from .mime import Summary
from .refusal import Refusal

TERM_LIMIT = 20

_TERM = re.compile(r'\s*(?:(\w{1,40}):)?(?:"([^"]*)"|([^\s"()]+))', re.ASCII)


def _people(*groups: tuple[Person, ...] | None) -> str:
    return "\n".join(f"{p.name} {p.address}" for group in groups for p in group or ())


_PROPERTIES: Mapping[str, Callable[[Summary], str]] = {
    "subject": lambda s: s.subject,
    "body": lambda s: s.body,
    "from": lambda s: _people(s.authors, s.sender),
    "to": lambda s: _people(s.to),
    "cc": lambda s: _people(s.cc),
    "bcc": lambda s: _people(s.bcc),
    "recipients": lambda s: _people(s.to, s.cc, s.bcc),
    "participants": lambda s: _people(s.authors, s.sender, s.to, s.cc, s.bcc),
    "hasattachments": lambda s: str(s.has_attachments).lower(),
    "importance": lambda s: s.importance,
    # what is looked through without a property ("$search")
    "": lambda s: "\n".join((s.subject, s.body, _people(s.authors, s.sender))),
}


def parse_search(text: str) -> Callable[[Summary], bool]:
    """Whether a message is what $search asks for."""
    text = text.strip()
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        text = text[1:-1].replace('\\"', '"')
    terms: list[tuple[Callable[[Summary], str], str]] = []
    position = 0
    while text[position:].strip():
        found = _TERM.match(text, position)
        name = (found[1] or "").lower() if found else ""
        if found is None or found[3] in ("OR", "NOT", "NEAR") or name not in _PROPERTIES:
            raise Refusal(501, "NotImplemented", "The emulator searches for words and phrases.")
        word = found[3] if found[2] is None else found[2]
        if word != "AND":
            terms.append((_PROPERTIES[name], word.rstrip("*").casefold()))
        position = found.end()
        if len(terms) > TERM_LIMIT:
            raise Refusal(400, "BadRequest", "The search has too many terms.")
    if not terms:  # general knowledge: the text of the OData library
        raise Refusal(400, "BadRequest", "Expression expected at position 0 in ''.")
    return lambda summary: all(word in read(summary).casefold() for read, word in terms)
