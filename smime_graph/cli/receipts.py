"""receipt, verify-receipt: signed receipts (RFC 2634 section 2)."""

from __future__ import annotations

from typing import Any

import click

from ..errors import PolicyRefusal, UsageError
from . import files, options, terminal
from .context import run_of
from .make import write
from .open import judgement, keep_report_on_error, unseal_message
from .options import FILE, Reading, message, option, verb


@verb("receipt")
@message
@option(
    "--signer",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Who confirms: PKCS#12, PEM, or a key on a token.",
)
@options.opening
@options.recipient
@options.output
def receipt(message: str, output: str | None, **given: Any) -> None:
    """Write the signed receipt that a message asks for; exit status 1 if it asks for none.

    The message must be accepted first, as unseal does it. With --recipient the receipt is encrypted
    as well. Send it with send.

    \b
    smime-graph receipt mail.eml --signer bob.p12 --identity bob.p12 --trust roots.pem -o
    receipt.eml
    """
    from ..smime import receipts

    how = Reading.of(given)
    signers = how.keys.ring.signers()
    if len(signers) != 1:
        raise UsageError("one person confirms a message", hint="name one key file: --signer FILE")
    raw = files.read(message, what="message")
    opened = unseal_message(raw, how)
    with terminal.progress("signing the receipt"):
        made = receipts.receipt(
            opened,
            signer=signers[0],
            recipients=how.keys.recipients(raw, at=how.at, policy=how.policy),
            trust=how.keys.trust_for_recipients(),
            policy=how.policy,
            at=how.at,
        )
    if made is None:
        raise PolicyRefusal(
            "the message asks for no receipt of this signer",
            rule="receipt.not-asked",
            policy=how.policy.name,
            hint="examine --json shows what its signers ask for",
        )
    write(made, output)


@verb("verify-receipt")
@message
@option(
    "--original",
    type=FILE,
    required=True,
    metavar="FILE",
    help="The message that was sent, unchanged.",
)
@options.opening
def verify_receipt(message: str, original: str, **given: Any) -> None:
    """Check that a message is a signed receipt for the original; exit status 1 if it is not.

    \b
    smime-graph verify-receipt receipt.eml --original sealed.eml --identity alice.p12 --trust
    roots.pem
    """
    from ..smime import receipts
    from ..smime.receipts import receipt_json
    from .report import warn

    raw = files.read(message, what="message")
    sent = files.read(original, what="original message")
    how = Reading.of(given)
    arguments = {"identities": how.keys.ring.identities(), **judgement(how)}
    with keep_report_on_error(raw, **arguments), terminal.progress("checking the receipt"):
        report = receipts.verify_receipt(raw, original=sent, **arguments)
    warn(report)
    shown = receipt_json(report)
    if run_of(click.get_current_context()).json:
        files.write_json(shown)
    else:
        files.write_lines([f"accepted: confirmed by {shown['confirmed_by']}"])


COMMANDS = {"receipt": receipt, "verify-receipt": verify_receipt}
