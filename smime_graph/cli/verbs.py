"""Which verbs there are, and the module of each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

# verb: module of this package, what it does. `--help` reads only this.
VERBS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Messages": {
        "sign": ("make", "Sign a message."),
        "encrypt": ("make", "Encrypt a message, without a signature."),
        "seal": ("make", "Sign a message, then encrypt it."),
        "compress": ("make", "Make a message smaller, without protection."),
        "certs-only": ("make", "Write certificates as a part that others can import."),
        "verify": ("open", "Check the signature and write the signed content."),
        "decrypt": ("open", "Write what is encrypted, whoever wrote it."),
        "decompress": ("open", "Write what a compressed message holds."),
        "unseal": ("open", "Take every layer off and check every signature."),
        "examine": ("open", "Say everything there is to say about a message."),
        "inspect": ("open", "Show layers, algorithms and recipients; no key needed."),
        "receipt": ("receipts", "Write the signed receipt that a message asks for."),
        "verify-receipt": ("receipts", "Check a signed receipt against the original."),
        "batch": ("batch", "Seal, unseal or encrypt anew many messages, on every processor."),
    },
    "Graph": {
        "send": ("send", "Send a message."),
        "reply": ("send", "Reply to the sender of a message."),
        "reply-all": ("send", "Reply to everyone of a message."),
        "forward": ("send", "Forward a message."),
        "draft": ("draft", "Put a message into Drafts."),
        "draft-update": ("draft", "Replace the content of a draft."),
        "draft-send": ("draft", "Send a draft."),
        "fetch": ("fetch", "Write a message of the mailbox."),
        "list": ("fetch", "List the newest messages."),
        "watch": ("watch", "Follow a folder: unseal what comes in, and hand it on."),
        "delete": ("fetch", "Delete a message: a draft, a copy in Sent Items."),
        "check": ("check", "Say what would go wrong on sending; no request is made."),
        "doctor": ("doctor", "Say whether keys, contacts, token and mailbox fit together."),
        "round-trip": ("round_trip", "Send to oneself, fetch the copy, verify it."),
        "emulate": ("emulate", "Serve an emulated Graph on this machine."),
        "outbox": ("outbox", "Messages stored before they are sent: list, run, retry, drop."),
        "sendmail": ("sendmail", "Take a message as /usr/sbin/sendmail does."),
        "gateway": ("gateway", "Take mail by SMTP, seal it, and send it through Graph."),
    },
    "Certificates": {
        "contacts": (
            "contacts",
            "An address book of certificates: add, list, find, forget, harvest.",
        ),
        "cert": (
            "cert",
            "One's own certificate, and what is wrong with others: check, request.",
        ),
        "ca": ("ca", "A test authority: init, issue, revoke, crl, serve, mirror."),
        "harness": (
            "harness",
            "Good and odd certificates and mail, and stores of them: audit, issue, messages, run.",
        ),
    },
}
MODULE_OF = {verb: entry for verbs in VERBS.values() for verb, entry in verbs.items()}


def load(verb: str) -> click.Command | None:
    """The command of a verb, None if there is no such verb."""
    if verb not in MODULE_OF:
        return None
    module = import_module(f".{MODULE_OF[verb][0]}", __package__)
    command: click.Command = module.COMMANDS[verb]
    return command
