"""Jobs: what a line may say, and what a source holds."""

from __future__ import annotations

import contextlib
import copy
import json
import mailbox
import pickle
import re
import tempfile
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph.batch.jobs import Job, KeyFile, Outcome, messages_in, read_jobs
from smime_graph.batch.journal import Journal
from smime_graph.batch.work import carry_out
from smime_graph.errors import UsageError

LINE = {"key": "1", "from": "a@b.org", "to": "c@d.org", "signer": "a.p12", "recipient": "c.pem"}


def read(tmp_path: Path, *lines: Any) -> list[Job]:
    path = tmp_path / "job.jsonl"
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
    return list(read_jobs(path))


def test_paths_are_meant_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("hello")
    (job,) = read(tmp_path, {**LINE, "body_file": "text.txt", "attachments": ["x.pdf"]})
    assert job.signers == (KeyFile(str(tmp_path / "a.p12")),)
    assert job.recipients == (str(tmp_path / "c.pem"),)
    assert job.attachments == (str(tmp_path / "x.pdf"),)
    assert job.body == "hello"


def test_a_token_is_no_path(tmp_path: Path) -> None:
    (job,) = read(tmp_path, {**LINE, "signer": "pkcs11:token=t;object=k"})
    assert job.signers == (KeyFile("pkcs11:token=t;object=k"),)


def test_defaults_count_for_the_lines_after_them(tmp_path: Path) -> None:
    bare = {"key": "2", "to": "e@f.org"}
    first, second = read(tmp_path, LINE, {"defaults": {**LINE, "subject": "s"}}, bare)
    assert (first.subject, second.subject, second.to) == ("", "s", ("e@f.org",))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no JSON"),
        ("[1]", "no JSON object"),
        ("[" * 100_000, "no JSON"),
        ({"from": "a@b"}, "no key"),
        ({**LINE, "key": 7}, "key is 7"),
        ({**LINE, "key": ""}, "key is ''"),
        ({**LINE, "key": "k" * 501}, "key is"),
        ({**LINE, "verb": "shred"}, "is .shred., wanted"),
        ({**LINE, "colour": "red"}, "has no colour"),
        ({**LINE, "signers": "b.p12"}, "both given"),
        ({**LINE, "recipient": [7]}, "recipients is 7"),
        ({**LINE, "signer": {"password_file": "x"}}, "wanted an object with file"),
        ({**LINE, "values": {"a": 1}}, "no object of texts"),
        ({**LINE, "body_file": "absent.txt"}, "cannot be read"),
        ({**LINE, "body": "x", "body_file": "y"}, "both given"),
        ({"key": "1", "recipient": "c.pem", "from": "a@b"}, "needs signers"),
        ({"key": "1", "verb": "unseal", "message": "m.eml"}, "needs trust"),
        ({"key": "1", "verb": "unseal", "trust": "ca.pem"}, "has no message"),
        ({**LINE, "message": "m.eml"}, "message is given, and sender, to"),
    ],
)
def test_what_is_wrong_with_a_line_is_said_with_its_number(
    tmp_path: Path, line: Any, said: str
) -> None:
    with pytest.raises(UsageError, match=r"job\.jsonl: line 2: .*" + said):
        read(tmp_path, {**LINE, "key": "0"}, line)


def test_a_key_stands_there_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 3: the key '1' stands in an earlier line"):
        read(tmp_path, LINE, {**LINE, "key": "2"}, {**LINE, "subject": "other"})


def test_the_digest_tells_jobs_apart(letter: Callable[..., Job]) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"subject": "x"},
        {"values": {"month": "May"}},
        {"to": ("carol@contoso.com",)},
        {"attachments": ("x",)},
        {"recipients": ("x",)},
        {"signers": (KeyFile("x"),)},
        {"signers": (KeyFile("x", password_file="y"),)},
        {"policy": "rfc8551"},
        {"headers": {"X-A": "b"}},
        {"trust": ("x",)},
        {"trust": ("x",), "crl": ("x",)},
        {"trust": ("x",), "ocsp": ("x",)},
        {"trust": ("x",), "revocation": "hard"},
    ]
    digests = [letter("1", **change).digest for change in changes]
    assert len(set(digests)) == len(changes)
    assert letter("1").digest == digests[0]


def test_no_text_of_a_job_is_in_its_repr(letter: Callable[..., Job]) -> None:
    shown = repr(letter("1", body="the secret", html="the secret", values={"a": "the secret"}))
    assert "secret" not in shown


def test_messages_of_a_folder_a_maildir_and_an_mbox(tmp_path: Path) -> None:
    raw = b"From: a@b\nSubject: s\n\nFrom here on\nand there\n"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "one.eml").write_bytes(raw)
    (folder / "notes.txt").write_bytes(b"no message")
    assert list(messages_in(folder)) == [("one", str(folder / "one.eml"))]

    maildir = mailbox.Maildir(tmp_path / "Maildir")
    name = maildir.add(raw)
    ((found, path),) = messages_in(tmp_path / "Maildir")
    assert found == name
    assert Path(str(path)).read_bytes() == raw

    box = mailbox.mbox(tmp_path / "mbox")
    box.add(raw)
    box.add(raw)
    box.close()
    held = list(messages_in(tmp_path / "mbox"))
    assert [name for name, _ in held] == ["000001", "000002"]
    assert held[0][1] == raw


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        list(messages_in(tmp_path / "absent"))


def test_what_another_process_gets_is_what_was_sent() -> None:
    """Every field of everything that travels, however few of them are set."""
    key = KeyFile("a.p12", password_file="word")
    job = Job(key="1", verb="sign", message=b"m", signers=(key, key))
    written = Job(
        key="2", sender="a@b.org", signers=(key,), recipients=("c.pem",), values={"a": "b"}
    )
    failed = Outcome(key="1", digest="d", status="failed", error={"type": "E"})
    done = Outcome(key="2", digest="e", status="done", raw=b"r", message_id="<1@b>", signer="a@b")
    sent = (key, job, written, failed, done)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        arrived = pickle.loads(pickle.dumps(sent, protocol))
        assert arrived == sent
        assert [one.digest for one in arrived[1:3]] == [job.digest, written.digest]
        with pytest.raises(FrozenInstanceError):
            arrived[1].key = "3"
    assert copy.deepcopy(done) == done
    assert replace(copy.copy(job), key="4").message == b"m"


NO_NAMES = ["a\0b", "\ud800", "/dev/zero", "/dev/full", "/"]


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize("member", ["body_file", "html_file"])
def test_a_text_is_read_from_files_alone(tmp_path: Path, member: str, name: str) -> None:
    with pytest.raises(UsageError, match=r"is no file|cannot be read"):
        read(tmp_path, json.dumps({**LINE, member: name}))


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize("field", ["message", "attachments", "recipients", "trust", "contacts"])
def test_a_job_that_names_no_file_fails_alone(
    letter: Callable[..., Job], field: str, name: str
) -> None:
    changes: dict[str, Any] = {field: name if field in ("message", "contacts") else (name,)}
    if field == "message":
        changes |= {"sender": None, "to": (), "subject": "", "body": None, "values": {}}
    elif field == "contacts":
        changes["recipients"] = ("bob@contoso.com",)
    failed, done = carry_out([letter("1", **changes), letter("2")])
    assert (failed.status, done.status) == ("failed", "done")
    assert failed.error is not None
    assert failed.error["text"]
    json.dumps(failed.to_json())


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_what_is_no_file_name_is_no_source(tmp_path: Path, name: str) -> None:
    for read_from in (read_jobs, messages_in, Journal):
        with pytest.raises(UsageError, match="no file name"):
            list(read_from(name))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no file name"):
        Journal(tmp_path, results=name)


WHOLE = b'{"key": "1", "from": "a@b.org", "to": ["c@d.org"], "signer": "a", "recipient": "c"}\n'
DONE = b'{"key": "1", "digest": "%s", "status": "done"}\n' % (b"ab" * 32)
BITS = [b'"', b"{", b"}", b"[", b"\\ud800", b"\\u0000", b"\xff", b"\xef\xbb\xbf", b"NaN", b"1e999"]
BITS += [b"9" * 5000, b"[" * 50_000, b"null", b"\n", b"\0", b'"defaults": null,', b'"key": 5,']


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([WHOLE, DONE, b"\n"]), max_size=3).map(b"".join),
    st.lists(st.tuples(st.integers(0, 250), st.sampled_from(BITS) | st.binary(max_size=9))),
)
def test_any_octets_are_jobs_and_results_or_an_error(
    octets: bytes, changes: list[tuple[int, bytes]]
) -> None:
    for at, what in changes:
        octets = octets[:at] + what + octets[at + len(what) % 3 :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.jsonl"
        path.write_bytes(octets)
        with contextlib.suppress(UsageError):
            for job in read_jobs(path):
                assert job.digest
        with contextlib.suppress(UsageError), Journal(folder) as journal:
            assert journal.done <= octets.count(b"\n")


@pytest.mark.parametrize(
    "text", ["a\r\nBcc: eve@example.com", "a\nBcc: eve@example.com", "a\rBcc: e"]
)
def test_no_text_of_a_job_becomes_a_line_of_the_header(
    letter: Callable[..., Job], text: str
) -> None:
    jobs = [
        letter("1", subject=text),
        letter("2", subject="${month}", values={"month": text}),
        letter("3", headers={"X-Note": text}),
        letter("4", headers={f"X-Note: {text}": "x"}),
        letter("5", sender=f"alice@contoso.com{text[1:]}"),
        letter("6", to=(f"bob@contoso.com{text[1:]}",)),
    ]
    for outcome in carry_out(jobs):
        header = (outcome.raw or b"").partition(b"\r\n\r\n")[0].lower()
        assert b"bcc" not in [line.partition(b":")[0] for line in re.split(rb"[\r\n]+", header)]
        assert outcome.status == "done" or outcome.error is not None
