"""Jobs spread over an executor: in pieces, with a bounded number under way."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from itertools import islice
from pathlib import Path

from ..arguments import checked
from ..errors import UsageError
from . import work
from .jobs import Job, KeyFile, Outcome, jobs_for
from .processes import Processes, WorkerLost

CHUNK = 50  # jobs in a piece: what handing over costs is then a few per cent of an RSA signature
_MOST_UNDER_WAY = 64  # pieces in somebody else's executor, whose size is not ours to know
_MOST_ATTEMPTS = 3  # of a job whose worker dies


@checked
def seal_many(
    jobs: Iterable[Job],
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    chunk: int = CHUNK,
) -> Iterator[Outcome]:
    """Carry out each Job (seal, sign, encrypt, unseal, encrypt anew), and give its Outcome as it
    comes: not in the order of the jobs.

    `executor` is any Executor of `concurrent.futures`' kind; without one it is a pool of `workers`
    processes (as many as there are processors), whose dead are replaced. What was under way when
    a worker died is done again, job by job; a job whose worker dies time and again fails. Jobs
    are taken as there is room, `chunk` at a time, so an endless source is as good as a list.
    Nothing is repeated that has come back: every job has one outcome.

    Raises UsageError for a `chunk` or `workers` below 1, and what the source of the jobs raises.
    """
    if chunk < 1 or (workers is not None and workers < 1):
        raise UsageError(f"chunk is {chunk}, workers {workers}: at least 1 was wanted")
    if executor is not None:
        return _run(iter(jobs), executor, chunk, _MOST_UNDER_WAY, owned=False)
    count = workers or os.cpu_count() or 1
    return _run(iter(jobs), Processes(count), chunk, 2 * count, owned=True)


@checked
def unseal_many(
    source: str | Path,
    *,
    trust: Sequence[str],
    identities: Sequence[KeyFile] = (),
    policy: str = "exchange",
    executor: Executor | None = None,
    workers: int | None = None,
    chunk: int = CHUNK,
) -> Iterator[Outcome]:
    """Unseal every message of a folder, a Maildir or an mbox file, as `seal_many` does its jobs.

    `trust` are files of root certificates, `identities` the KeyFile of each key or folder of keys,
    `executor` an Executor. What is not accepted is an Outcome with the verdict `rejected`. Raises
    UsageError if the source cannot be read.
    """
    jobs = jobs_for(
        source, "unseal", trust=tuple(trust), identities=tuple(identities), policy=policy
    )
    return seal_many(jobs, executor=executor, workers=workers, chunk=chunk)


@checked
def encrypt_many_anew(
    source: str | Path,
    *,
    identities: Sequence[KeyFile],
    recipients: Sequence[str],
    policy: str = "exchange",
    executor: Executor | None = None,
    workers: int | None = None,
    chunk: int = CHUNK,
) -> Iterator[Outcome]:
    """After a key was rotated: every message of a source decrypted with the old keys, and encrypted
    for `recipients` (files with a certificate) instead. Signatures inside stay as they are.

    `identities` are the KeyFile of each old key, `executor` is an Executor; gives an Outcome for
    each message. Raises UsageError if the source cannot be read.
    """
    jobs = jobs_for(
        source,
        "re-encrypt",
        identities=tuple(identities),
        recipients=tuple(recipients),
        policy=policy,
    )
    return seal_many(jobs, executor=executor, workers=workers, chunk=chunk)


def _run(
    jobs: Iterator[Job], executor: Executor, chunk: int, most: int, *, owned: bool
) -> Iterator[Outcome]:
    under_way: dict[Future[list[Outcome]], tuple[Job, ...]] = {}
    try:
        while True:
            while len(under_way) < most and (piece := tuple(islice(jobs, chunk))):
                if not all(isinstance(job, Job) for job in piece):
                    raise UsageError("what is to be done is no Job", hint="make each a Job")
                under_way[executor.submit(work.carry_out, piece)] = piece
            if not under_way:
                return
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                piece = under_way.pop(future)
                outcomes = _result(future)
                if outcomes is not None:
                    yield from outcomes
                    continue
                for job in piece:
                    yield _alone(job, executor)
    finally:
        for future in under_way:
            future.cancel()
        if owned:
            executor.shutdown(wait=True, cancel_futures=True)


def _result(future: Future[list[Outcome]]) -> list[Outcome] | None:
    """What came back; None where the worker was lost."""
    try:
        return future.result()
    except (WorkerLost, BrokenExecutor, CancelledError):
        return None
    except Exception as error:
        # Dask's KilledWorker and its like, which need not be installed
        if type(error).__module__.partition(".")[0] == "distributed":
            return None
        raise


def _alone(job: Job, executor: Executor) -> Outcome:
    """One job by itself, so that a worker's death is its own doing."""
    for _ in range(_MOST_ATTEMPTS):
        try:
            outcomes = _result(executor.submit(work.carry_out, (job,)))
        except BrokenExecutor:
            break  # for good: it is somebody else's to mend
        if outcomes is not None:
            return outcomes[0]
    error = UsageError(
        f"the worker died, {_MOST_ATTEMPTS} times, with this job in hand",
        hint="it may need more memory than there is: do it by itself",
    )
    return work.failed(job, error)
