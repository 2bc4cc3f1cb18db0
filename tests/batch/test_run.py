"""Batches on executors: every job has one outcome, whatever happens to the workers."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from smime_graph import Identity, TrustStore, unseal, verify
from smime_graph.batch import work
from smime_graph.batch.jobs import Job, KeyFile, Outcome
from smime_graph.batch.processes import Processes, WorkerLost
from smime_graph.batch.run import encrypt_many_anew, seal_many, unseal_many
from smime_graph.errors import UsageError

Letter = Callable[..., Job]


def by_key(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    found = list(outcomes)
    assert [k for k, n in Counter(one.key for one in found).items() if n > 1] == []
    return {one.key: one for one in found}


@pytest.fixture
def bob(folder: Path) -> Identity:
    return Identity.load(folder / "bob.key")


@pytest.fixture
def trust(folder: Path) -> TrustStore:
    return TrustStore.load(folder / "ca.pem")


@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_every_job_has_one_outcome(
    letter: Letter, bob: Identity, trust: TrustStore, chunk: int
) -> None:
    outcomes = by_key(seal_many([letter(f"{n}") for n in range(60)], workers=2, chunk=chunk))
    assert set(outcomes) == {f"{n}" for n in range(60)}
    assert len({one.message_id for one in outcomes.values()}) == 60
    opened = unseal(outcomes["7"].raw or b"", identities=[bob], trust=trust)
    assert b"Subject: Figures of 7" in opened.raw
    assert b"here they are: 7" in opened.content


def test_what_is_wrong_with_one_stops_no_other(letter: Letter, folder: Path) -> None:
    jobs = [
        letter("good"),
        letter("nobody", to=("dave@contoso.com",)),
        letter("value", values={"other": "x"}),
        letter("dollar", body="${", values={"other": "x"}, subject="s"),
        letter("absent", recipients=(str(folder / "absent.pem"),)),
        letter("attachment", attachments=(str(folder / "absent.pdf"),)),
        letter(
            "password",
            signers=(KeyFile(str(folder / "alice.p12"), password_file=str(folder / "ca.pem")),),
        ),
        letter("policy", policy="lax"),
        letter("header", headers={"Bad Name": "x"}),
        letter("breaks", subject="a\nBcc: eve@contoso.com", values={}),
    ]
    outcomes = by_key(seal_many(jobs, workers=1))
    assert {k for k, one in outcomes.items() if one.status == "done"} == {"good"}
    for key, one in outcomes.items():
        assert one.status == "done" or (one.raw is None and one.error and one.error["text"]), key


def test_values_are_no_html(letter: Letter, bob: Identity, trust: TrustStore) -> None:
    job = letter("1", body=None, html="<p>Dear ${month}</p>", values={"month": "<b>&"})
    (outcome,) = seal_many([job], executor=ThreadPoolExecutor(1))
    opened = unseal(outcome.raw or b"", identities=[bob], trust=trust)
    assert b"<p>Dear &lt;b&gt;&amp;</p>" in opened.content
    assert b"Subject: Figures of <b>&" in opened.raw


@pytest.mark.parametrize("verb", ["sign", "encrypt"])
def test_the_other_verbs(letter: Letter, trust: TrustStore, verb: str) -> None:
    (outcome,) = seal_many([letter("1", verb=verb)], executor=ThreadPoolExecutor(1))
    assert outcome.status == "done"
    if verb == "sign":
        assert verify(outcome.raw or b"", trust=trust).signer is not None


def test_the_way_back_and_a_rotated_key(
    letter: Letter, folder: Path, tmp_path: Path, trust: TrustStore
) -> None:
    for key, one in by_key(seal_many([letter(f"{n}") for n in range(5)], workers=1)).items():
        (tmp_path / f"{key}.eml").write_bytes(one.raw or b"")
    (tmp_path / "5.eml").write_bytes(b"From: eve@contoso.com\n\nunsigned\n")
    bobs, carols = (KeyFile(str(folder / f"{name}.key")) for name in ("bob", "carol"))
    roots = [str(folder / "ca.pem")]

    back = by_key(unseal_many(tmp_path, trust=roots, identities=[bobs], workers=1))
    assert {one.verdict for key, one in back.items() if key != "5"} == {"accepted"}
    assert (back["5"].verdict, back["5"].raw) == ("rejected", None)
    assert back["3"].signer == "alice@contoso.com"
    assert b"here they are: 3" in (back["3"].raw or b"")

    anew = by_key(
        encrypt_many_anew(
            tmp_path, identities=[bobs], recipients=[str(folder / "carol.pem")], workers=1
        )
    )
    assert anew["5"].status == "failed"
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "3.eml").write_bytes(anew["3"].raw or b"")
    (theirs,) = unseal_many(moved, trust=roots, identities=[carols], workers=1)
    assert (theirs.verdict, theirs.raw) == ("accepted", back["3"].raw)
    assert anew["3"].message_id in (theirs.raw or b"").decode()
    (lost,) = unseal_many(moved, trust=roots, identities=[bobs], workers=1)
    assert lost.verdict == "rejected"


def test_a_changed_key_file_is_read_again(letter: Letter, folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_bytes((folder / "bob.pem").read_bytes())
    pool = ThreadPoolExecutor(1)
    (first,) = seal_many([letter("1", recipients=(str(own),))], executor=pool)
    own.write_bytes((folder / "carol.pem").read_bytes())
    (second,) = seal_many([letter("2", recipients=(str(own),))], executor=pool)
    assert first.status == "done"
    assert second.error is not None
    assert "bob@contoso.com" in str(second.error["text"])


def test_a_key_is_loaded_once_by_a_worker(letter: Letter, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = Identity.load

    def counting(path: Any, **more: Any) -> Identity:
        loaded.append(str(path))
        return load(path, **more)

    work._load.cache_clear()
    monkeypatch.setattr(Identity, "load", counting)
    assert all(o.status == "done" for o in map_here([letter(f"{n}") for n in range(20)]))
    assert len(loaded) == 1


def map_here(jobs: list[Job]) -> list[Outcome]:
    return work.carry_out(jobs)


# --- jobs are taken as there is room ------------------------------------------------------------


def test_an_endless_source_is_taken_piece_by_piece(letter: Letter) -> None:
    taken = 0

    def endless() -> Iterator[Job]:
        nonlocal taken
        while True:
            taken += 1
            yield letter(f"{taken}")

    outcomes = seal_many(endless(), workers=1, chunk=2)
    assert next(outcomes).status == "done"
    outcomes.close()  # type: ignore[attr-defined] # it is a generator
    assert taken <= 8


def test_what_the_source_raises_comes_out(letter: Letter) -> None:
    def broken() -> Iterator[Job]:
        yield letter("1")
        raise UsageError("line 2: is no JSON")

    with pytest.raises(UsageError, match="line 2"):
        list(seal_many(broken(), workers=1))


@pytest.mark.parametrize("wrong", [{"chunk": 0}, {"workers": 0}])
def test_sizes_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        seal_many([], **wrong)


# --- workers that die ---------------------------------------------------------------------------


def test_a_killed_worker_costs_nothing_but_time(
    letter: Letter, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[Processes] = []
    start = Processes.__init__

    def watched(self: Processes, count: int) -> None:
        pools.append(self)
        start(self, count)

    monkeypatch.setattr(Processes, "__init__", watched)
    outcomes = seal_many([letter(f"{n}") for n in range(400)], workers=2, chunk=10)
    found = []
    for number, outcome in enumerate(outcomes):
        found.append(outcome)
        if number in (50, 200):
            for victim in pools[0].pids[-2:]:
                os.kill(victim, signal.SIGKILL)
    assert len(by_key(found)) == 400
    assert {one.status for one in found} == {"done"}
    assert len(pools) == 1
    assert not pools[0].pids


def test_a_worker_that_is_killed_while_it_answers_holds_nobody_up(tmp_path: Path) -> None:
    with Processes(2) as pool:
        # more than a pipe holds, so that it is killed in the middle of its writing
        lost = pool.submit(os.urandom, 100_000_000)
        while not pool.pids:
            time.sleep(0.01)
        other = pool.submit(len, "text")
        stopping = threading.Timer(0.3, lambda: os.kill(pool.pids[0], signal.SIGKILL))
        stopping.start()
        assert other.result(60) == 4
        try:
            assert len(lost.result(60)) == 100_000_000  # it was quicker than that
        except WorkerLost:
            pass
        stopping.join()
        assert pool.submit(len, "text").result(60) == 4


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers die of the job with the key "poison"."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal\n"
        "import smime_graph.batch.work as work\n"
        "real = work.carry_out\n"
        "def carry_out(jobs):\n"
        "    if any(job.key == 'poison' for job in jobs):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(jobs)\n"
        "carry_out.__qualname__ = 'carry_out'\n"
        "carry_out.__module__ = work.__name__\n"
        "work.carry_out = carry_out\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_a_job_that_kills_its_worker_fails_alone(letter: Letter, deadly: None) -> None:
    jobs = [letter(f"{n}") for n in range(30)]
    jobs.insert(11, letter("poison"))
    outcomes = by_key(seal_many(jobs, workers=2, chunk=5))
    failed = {key: one for key, one in outcomes.items() if one.status == "failed"}
    assert set(failed) == {"poison"}
    assert len(outcomes) == 31
    assert "died, 3 times" in str((failed["poison"].error or {})["text"])


def test_what_a_function_raises_or_prints_comes_out_as_it_is(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Processes(1) as pool:
        with pytest.raises(ValueError, match="invalid literal"):
            pool.submit(int, "x").result(60)
        pool.submit(print, "printed").result(60)
        assert pool.submit(len, "text").result(60) == 4
    assert capfd.readouterr() == ("", "printed\n")


# --- somebody else's executor -------------------------------------------------------------------


def test_any_executor_will_do(letter: Letter) -> None:
    jobs = [letter(f"{n}") for n in range(20)]
    pools: list[Executor] = [ThreadPoolExecutor(2), ProcessPoolExecutor(2)]
    for pool in pools:
        with pool:
            assert len(by_key(seal_many(jobs, executor=pool, chunk=3))) == 20
            assert pool.submit(int, "1").result() == 1  # it is not ours to close


def test_no_key_travels_with_a_job(letter: Letter, folder: Path) -> None:
    import pickle

    seal_many([letter("1")], executor=ThreadPoolExecutor(1))
    sent = pickle.dumps([letter(f"{n}") for n in range(3)])
    assert b"PRIVATE" not in sent
    assert (folder / "password").read_bytes().strip() not in sent
    assert re.search(rb"alice\.p12", sent)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Dask's, and its libraries'
def test_a_cluster_of_dask_with_a_worker_killed_in_the_middle(letter: Letter) -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with (
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        victims = [worker.process.pid for worker in cluster.workers.values()]
        with client.get_executor(pure=False) as executor:
            outcomes = seal_many([letter(f"{n}") for n in range(300)], executor=executor, chunk=10)
            found = [next(outcomes)]
            os.kill(victims[0], signal.SIGKILL)
            found += outcomes
    assert {one.status for one in by_key(found).values()} == {"done"}
    assert len(found) == 300
