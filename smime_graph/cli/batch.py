"""batch: many messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click

from ..batch.jobs import Job, KeyFile, jobs_for, read_jobs
from ..batch.journal import Journal
from ..batch.run import CHUNK, seal_many
from ..errors import UsageError
from ..pki.address import is_address
from . import files, options, terminal
from .context import run_of
from .keys import contacts_path
from .options import option, verb


@verb("batch")
@click.argument("source", metavar="JOB.jsonl")
@option("-o", "--output", type=options.FILE, metavar="DIR", required=True, help="What is made.")
@option("--results", type=options.FILE, metavar="FILE", help="Outcomes, else DIR/results.jsonl.")
@option(
    "--unseal", is_flag=True, help="The argument is a folder, a Maildir or an mbox file to unseal."
)
@option(
    "--encrypt-anew", is_flag=True, help="The same, to encrypt for --recipient what was encrypted."
)
@option("--identity", type=options.FILE, multiple=True, metavar="FILE", help="Keys that decrypt.")
@option(
    "--recipient",
    type=options.Recipient(),
    multiple=True,
    metavar="FILE|ADDRESS",
    help="A certificate, or an address that is looked up in the contacts.",
)
@options.contacts
@options.trust
@options.evidence
@option(
    "--password-file",
    type=options.FILE,
    multiple=True,
    metavar="FILE",
    help="Its first line is the password of an identity: in their order, or one for all.",
)
@option("--workers", type=click.IntRange(1), metavar="N", help="Processes; one a processor.")
@option("--chunk", type=click.IntRange(1), default=CHUNK, show_default=True, help="Jobs at once.")
@option("--dask", metavar="ADDRESS", help="A Dask scheduler whose workers do it: tcp://HOST:PORT.")
def batch(source: str, **given: Any) -> None:
    """Carry out a file of jobs, one JSON object a line, on every processor.

    A job has "key" (its name: a job is done once), "verb" (seal, sign, encrypt, unseal,
    re-encrypt), "message" (a file) or "from", "to", "cc", "bcc", "subject", "body" or "body_file",
    "html", "values" for ${name} in them, "headers", "attachments", and "signer", "recipients",
    "identity", "trust" (files; a key with a password is {"file": ..., "password_file": ...}),
    "policy", "crl", "ocsp" and "revocation" (who is revoked: see seal), and "contacts", the address
    book that an address among "recipients" is looked up in. A line {"defaults": {...}} gives fields
    to those after it. Paths are meant from the folder of the file.

    Every message goes into DIR as KEY.eml, every outcome into the file of results as a line. Run
    it again after it was stopped: what is done is not done again, what failed is tried again.

    \b
    smime-graph batch letters.jsonl -o letters
    smime-graph batch archive.mbox --unseal --identity me.p12 --trust roots.pem -o mail
    """
    jobs = _jobs(source, given)
    counted = {"done": 0, "failed": 0}
    with Journal(given["output"], results=given["results"]) as journal:
        before = journal.done
        with _executor(given["dask"]) as executor, terminal.progress("working"):
            outcomes = seal_many(
                journal.still_to_do(jobs),
                executor=executor,
                workers=given["workers"],
                chunk=given["chunk"],
            )
            for outcome in outcomes:
                journal.keep(outcome)
                counted[outcome.status] += 1
                if outcome.error is not None:
                    _complain(outcome.key, outcome.error)
    found = {**counted, "doneBefore": before}
    if run_of(click.get_current_context()).json:
        files.write_json(found)
    else:
        terminal.complain(
            "note", f"{counted['done']} done, {counted['failed']} failed, {before} done before"
        )
    if counted["failed"]:
        click.get_current_context().exit(terminal.Status.NO)


def _complain(key: str, error: Mapping[str, str | None]) -> None:
    terminal.complain("warning", f"{key}: {error['text']}")
    if error["hint"]:
        terminal.hint(error["hint"])


def _jobs(source: str, given: Mapping[str, Any]) -> Iterable[Job]:
    judging = {name: given[name] for name in ("trust", "crl", "ocsp", "revocation")}
    names = ("identity", "recipient", *judging, "password_file")
    wanted = [name for name in names if given[name]]
    if given["unseal"] and given["encrypt_anew"]:
        raise UsageError("--unseal and --encrypt-anew are two things", hint="choose one")
    if not (given["unseal"] or given["encrypt_anew"]):
        if wanted:
            raise UsageError(
                f"--{wanted[0].replace('_', '-')} is for --unseal and --encrypt-anew",
                hint='a job names its own keys; what all share stands in {"defaults": {...}}',
            )
        if Path(source).is_dir():
            raise UsageError(
                f"{source} is a folder, and jobs stand in a file",
                hint="--unseal and --encrypt-anew take a folder of messages",
            )
        return (_with_contacts(job, given["contacts"]) for job in read_jobs(source))
    what = "unseal" if given["unseal"] else "encrypt-anew"
    for name in ("trust",) if given["unseal"] else ("identity", "recipient"):
        if not given[name]:
            raise UsageError(f"--{what} needs --{name}", hint=f"give --{name} FILE")
    passwords = given["password_file"]
    if len(passwords) > 1 and len(passwords) != len(given["identity"]):
        raise UsageError(
            f"{len(passwords)} password files for {len(given['identity'])} identities",
            hint="give one for each, in their order, or one for all",
        )
    rest = passwords[0] if len(passwords) == 1 else None
    pairs = zip_longest(given["identity"], passwords if len(passwords) > 1 else (), fillvalue=rest)
    identities = tuple(KeyFile(str(file), password_file=password) for file, password in pairs)
    if given["unseal"]:
        return jobs_for(source, "unseal", identities=identities, **judging)
    recipients = tuple(given["recipient"])
    found = jobs_for(source, "re-encrypt", identities=identities, recipients=recipients, **judging)
    return (_with_contacts(job, given["contacts"]) for job in found)


def _with_contacts(job: Job, named: str | None) -> Job:
    """The job, with the address book that is meant where it names none and needs one."""
    if job.contacts is not None or not any(map(is_address, job.recipients)):
        return job
    return replace(job, contacts=contacts_path(named))


@contextmanager
def _executor(address: str | None) -> Iterator[Executor | None]:
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--dask needs Dask", hint="pip install 'smime-graph[dask]'") from None
    try:
        client = Client(address, timeout=30)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the scheduler at {address} cannot be reached: {error}", hint="tcp://HOST:8786"
        ) from None
    with client, client.get_executor(pure=False) as executor:  # type: ignore[no-untyped-call]
        yield executor


COMMANDS = {"batch": batch}
