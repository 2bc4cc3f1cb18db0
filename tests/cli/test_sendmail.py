"""sendmail: what cron, git and mail programs call."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from email import message_from_string
from pathlib import Path

import pytest

from smime_graph.cli import keys, sysexits
from smime_graph.cli.sendmail import Invocation, read_arguments
from smime_graph.errors import (
    GraphError,
    GraphRefused,
    GraphThrottled,
    GraphUnreachable,
    MalformedMessage,
    UsageError,
)

from .conftest import PASSWORD, Result, Run

WRAPPER = Path(__file__).resolve().parents[2] / "scripts" / "sendmail"
CONFIG = """
[sendmail]
signer = "alice.key"
recipient = ["bob.pem", "carol.pem"]
emulator-data = "box.db"
from = "alice@contoso.com"
domain = "contoso.com"
"""


@pytest.fixture
def send(here: Path, call: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    (here / "c.toml").write_text(CONFIG)
    monkeypatch.setenv("SMIME_GRAPH_CONFIG", "c.toml")

    def run(*words: str, stdin: str = "", env: dict[str, str] | None = None) -> Result:
        return call("sendmail", *words, stdin=stdin.encode(), env=env)

    return run


@pytest.fixture
def received(call: Run) -> Run:
    """The newest message in somebody's inbox, unsealed, as text; None where there is none."""

    def run(name: str, key: str | None = None) -> str | None:
        asked = ("--emulator-data", "box.db", "--user", f"{name}@contoso.com", "--folder", "inbox")
        found = json.loads(call("list", *asked, "--json").out)["messages"]
        if not found:
            return None
        opened = call(
            *("fetch", found[0]["id"], "--emulator-data", "box.db", "--unseal"),
            *("--identity", f"{key or name}.key", "--trust", "roots.pem"),
        )
        assert opened.status == 0, opened.err
        return opened.out.decode().replace("\r\n", "\n")

    return run  # type: ignore[return-value]


def test_with_t_the_recipients_are_those_of_the_header(send: Run, received: Run) -> None:
    result = send("-t", "-i", stdin="To: bob@contoso.com\nSubject: Report\n\nall is well\n.\nend\n")
    assert (result.status, result.out, result.err) == (0, b"", "")
    text = str(received("bob"))
    assert "From: alice@contoso.com\n" in text
    assert "Message-ID: <" in text
    assert "Date: " in text
    assert text.endswith("\n\nall is well\n.\nend\n")


def test_cron_writes_as_a_local_user_to_a_local_user(send: Run, received: Run) -> None:
    """Debian's cron: sendmail -FCronDaemon -i -B8BITMIME -oem USER."""
    mail = (
        "From: root (Cron Daemon)\nTo: bob\nSubject: Cron <root@host> backup\n"
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
        "Content-Transfer-Encoding: 8bit\nX-Cron-Env: <SHELL=/bin/sh>\n\nGr\u00fc\u00dfe\n"
    )
    result = send("-FCronDaemon", "-i", "-B8BITMIME", "-oem", "bob", stdin=mail)
    assert result.status == 0, result.err
    text = str(received("bob"))
    assert "From: Cron Daemon <alice@contoso.com>\n" in text
    assert "To: bob@contoso.com\n" in text


def test_git_names_every_recipient_as_an_argument(send: Run, received: Run) -> None:
    """git send-email: sendmail -i RECIPIENTS, with the blind ones among them."""
    mail = (
        "From: Alice <alice@contoso.com>\nTo: bob@contoso.com\nSubject: [PATCH] x\n"
        "Message-Id: <20261122-1-alice@contoso.com>\nX-Mailer: git-send-email 2.39\n\ndiff\n"
    )
    result = send("-i", "bob@contoso.com", "carol@contoso.com", stdin=mail)
    assert result.status == 0, result.err
    for name in ("bob", "carol"):
        text = str(received(name))
        assert "Message-Id: <20261122-1-alice@contoso.com>" in text
        assert "carol" not in text  # whom nobody was to see


@pytest.mark.skipif(
    not (Path(subprocess.getoutput("git --exec-path")) / "git-send-email").exists(),
    reason="git send-email is not installed",
)
def test_the_real_git_send_email(here: Path, send: Run, received: Run) -> None:
    git = ["git", "-c", "user.name=Alice", "-c", "user.email=alice@contoso.com"]
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    for words in (
        ["init", "-q", "repo"],
        ["-C", "repo", "commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run([*git, *words], check=True, env=env)
    (here / "repo" / "file").write_text("x\n")
    subprocess.run([*git, "-C", "repo", "add", "file"], check=True, env=env)
    subprocess.run([*git, "-C", "repo", "commit", "-q", "-m", "second"], check=True, env=env)
    done = subprocess.run(
        [*git, "-C", "repo", "send-email", "--quiet", "--confirm=never", "-1"]
        + ["--to=bob@contoso.com", "--suppress-cc=all", f"--sendmail-cmd={WRAPPER}"],
        env={**env, "SMIME_GRAPH_CONFIG": str(here / "c.toml")},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Subject: [PATCH] second" in str(received("bob"))


def test_arguments_in_no_header_become_bcc_and_the_header_stays(send: Run, received: Run) -> None:
    result = send("bob@contoso.com", stdin="no header at all\n")
    assert result.status == 0, result.err
    text = str(received("bob"))
    assert text.endswith("\n\nno header at all\n")
    assert "Bcc" not in text


def test_of_people_in_bcc_it_is_said_what_keeps_them_apart(send: Run, here: Path) -> None:
    mail = "To: bob@contoso.com\n\nx\n"
    told = send("-t", "carol@contoso.com", stdin=mail)
    assert (told.status, "[smime.bcc]" in told.err) == (0, True)
    assert "sendmail with --outbox, give each of them a message of their own" in told.err
    apart = send("-t", "carol@contoso.com", "--outbox", "o.db", stdin=mail)
    assert (apart.status, apart.err) == (0, "")


def test_arguments_add_to_the_recipients_of_the_header(send: Run, received: Run) -> None:
    """As Postfix documents -t; Exim would take them away."""
    mail = "To: bob@contoso.com\nSubject: x\n\ny\n"
    assert send("-t", "carol@contoso.com", stdin=mail).status == 0
    assert received("bob")
    assert received("carol")


def test_nobody_gets_what_the_arguments_do_not_name(send: Run, received: Run) -> None:
    """Graph has no envelope: it would deliver to everyone in the header."""
    result = send("bob@contoso.com", stdin="To: bob@contoso.com, carol@contoso.com\n\nx\n")
    assert result.status == 64
    assert "carol@contoso.com" in result.err
    assert "hint: " in result.err
    assert received("bob") is None


UNSIGNED = CONFIG.replace('signer = "alice.key"\nrecipient = ["bob.pem", "carol.pem"]\n', "")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, ()),  # not found: the user's own is not there
        ("", ()),
        ("[defaults]\n", ()),
        ("[send]\nsigner = 'alice.key'\n", ()),  # of another verb
        (UNSIGNED, ()),
        (UNSIGNED + "unsigned = false\n", ()),
        (UNSIGNED + 'recipient = "bob.pem"\n', ()),  # encrypted is not signed
        (UNSIGNED, ("--recipient-password-file", "password")),
    ],
)
def test_what_nobody_signs_is_not_sent_unless_that_is_said(
    here: Path, call: Run, received: Run, config: str | None, words: tuple[str, ...]
) -> None:
    env = {"SMIME_GRAPH_EMULATOR_DATA": "box.db", "SMIME_GRAPH_FROM": "alice@contoso.com"}
    if config is not None:
        (here / "c.toml").write_text(config)
        env["SMIME_GRAPH_CONFIG"] = "c.toml"
    result = call("sendmail", "-t", *words, stdin=b"To: bob@contoso.com\n\nx\n", env=env)
    assert (result.status, result.out) == (78, b"")
    assert result.err.startswith("smime-graph: error: nobody to sign with: ")
    assert ("c.toml" if config is not None else "smime-graph/config.toml") in result.err
    assert "unsigned = true" in result.err
    found = call("list", "--emulator-data", "box.db", "--user", "bob@contoso.com", "--json")
    assert json.loads(found.out)["messages"] == []


def test_mail_that_nobody_signs_is_sent_where_that_is_said(here: Path, call: Run) -> None:
    (here / "c.toml").write_text(UNSIGNED + "unsigned = true\n")
    env = {"SMIME_GRAPH_CONFIG": "c.toml"}
    result = call("sendmail", "-t", stdin=b"To: bob@contoso.com\n\nin the clear\n", env=env)
    assert (result.status, result.out, result.err) == (0, b"", "")
    asked = ("--emulator-data", "box.db")
    found = call("list", *asked, "--user", "bob@contoso.com", "--folder", "inbox", "--json")
    (copy,) = json.loads(found.out)["messages"]
    assert b"in the clear" in call("fetch", copy["id"], *asked).out


def test_unsigned_takes_nothing_from_who_does_sign(here: Path, send: Run, received: Run) -> None:
    assert send("-t", "--unsigned", stdin="To: bob@contoso.com\n\nx\n").status == 0
    assert str(received("bob")).endswith("\n\nx\n")  # unsealed, so it was signed


@pytest.mark.parametrize(
    "config",
    ["[sendmail", "sendmail = 3\n", "[sendmail]\nsinger = 'x'\n", "[sendmail]\nunsigned = 'yes'\n"],
)
def test_a_configuration_that_makes_no_sense_is_78(here: Path, call: Run, config: str) -> None:
    (here / "c.toml").write_text(config)
    for named in ("c.toml", "not-there.toml"):
        env = {"SMIME_GRAPH_CONFIG": named}
        result = call("sendmail", "-t", stdin=b"To: bob@contoso.com\n\nx\n", env=env)
        assert result.status == 78, result.err
        assert named in result.err


@pytest.mark.parametrize(
    ("words", "ends"),
    [((), True), (("-oem",), True), (("-i",), False), (("-oi",), False), (("-ti",), False)]
    + [(("-O", "IgnoreDots=true"), False), (("-oIgnoreDots",), True)],
)
def test_a_lone_dot_ends_the_message_unless_it_is_text(
    send: Run, received: Run, words: tuple[str, ...], ends: bool
) -> None:
    mail = "To: bob@contoso.com\n\none\n.. two\n.\nthree\n"
    assert send("-t", *words, stdin=mail).status == 0
    text = str(received("bob"))
    assert ("three" in text) is not ends
    assert "one\n.. two\n" in text


def test_a_mailbox_line_and_a_sender_are_taken_care_of(send: Run, received: Run) -> None:
    mail = "From alice Sun Nov 22 12:00:00 2026\nTo: bob@contoso.com\n\nx\n"
    asked = ("-t", "-f", "alice@contoso.com", "-F", 'Alice "A" Smith')
    assert send(*asked, stdin=mail).status == 0
    text = str(received("bob"))
    assert 'From: "Alice \\"A\\" Smith" <alice@contoso.com>\n' in text
    assert "From alice" not in text


def test_a_sender_who_is_not_the_signer_is_refused(send: Run, received: Run) -> None:
    for words, mail in (
        (("-t", "-f", "eve@contoso.com"), "To: bob@contoso.com\n\nx\n"),
        (("-t",), "From: eve@contoso.com\nTo: bob@contoso.com\n\nx\n"),
    ):
        result = send(*words, stdin=mail)
        assert result.status == 65
        assert "eve@contoso.com" in result.err
    assert received("bob") is None


def test_nothing_is_sent_in_the_clear_for_want_of_a_certificate(send: Run) -> None:
    result = send("-t", stdin="To: dave@contoso.com\n\nx\n")
    assert result.status == 65
    assert "dave@contoso.com" in result.err


@pytest.mark.parametrize(
    ("words", "mail", "status"),
    [
        ((), "x", 64),
        (("-bs",), "", 64),
        (("-bp",), "", 64),
        (("-bd",), "", 64),
        (("-j", "bob@contoso.com"), "x", 64),
        (("-f",), "x", 64),
        (("--no-such-option", "bob@contoso.com"), "x", 64),
        (("-t",), "Subject: nobody\n\nx", 65),
        (("-t",), "To: @@@\n\nx", 65),
        (("bob@contoso.com@x",), "x", 65),
        (("-t", "--signer", "nobody.key"), "To: bob@contoso.com\n\nx", 64),
        (("-t", "--signer", "alice.p12"), "To: bob@contoso.com\n\nx", 77),
        (("-t", "--domain", ""), "To: bob\n\nx", 65),
    ],
)
def test_failures_have_the_statuses_of_sysexits(
    send: Run, received: Run, words: tuple[str, ...], mail: str, status: int
) -> None:
    result = send(*words, stdin=mail)
    assert result.status == status, result.err
    assert result.err.startswith("smime-graph: error: ")
    assert received("bob") is None


@pytest.mark.parametrize("name", ["Resent-To", "resent-cc", "RESENT-BCC", "Resent-To "])
def test_a_message_that_is_sent_on_is_not_sent_to_those_who_have_it(
    send: Run, received: Run, name: str
) -> None:
    raw = f"From: alice@contoso.com\nTo: bob@contoso.com\n{name}: carol@contoso.com\n\nhello\n"
    for words in (("-t",), ("-t", "carol@contoso.com"), ("carol@contoso.com",)):
        result = send(*words, stdin=raw)
        assert result.status in (64, 65)
        assert "once more" in result.err or "whom the arguments do not" in result.err
    assert received("bob") is received("carol") is None


@pytest.mark.parametrize(
    "value",
    [
        '"Smith, root, and Sons" <bob@contoso.com>',
        "bob@contoso.com (Smith, root, and Sons)",
        '"a \\" , root, b" <bob@contoso.com>',
        '"root" <bob@contoso.com>',
    ],
)
def test_a_name_in_a_display_name_is_none_without_a_domain(
    send: Run, received: Run, value: str
) -> None:
    raw = f"From: alice@contoso.com\nTo: {value}, carol\n\nhello\n"
    result = send("-t", stdin=raw)
    assert result.status == 0, result.err
    found = message_from_string(str(received("bob")))["To"]
    assert " ".join(found.split()) == f"{value}, carol@contoso.com"


def test_a_queue_run_has_nothing_to_do(send: Run) -> None:
    for words in (("-q",), ("-q30m",), ("-qf",)):
        assert send(*words, stdin="To: bob@contoso.com\n\nx\n").status == 0


def test_only_what_was_not_sent_may_be_tried_again() -> None:
    for kind in (GraphUnreachable, GraphError, UsageError):
        unknown = kind("lost")
        unknown.disposition = "unknown"
        assert sysexits.status_of(unknown) == 70
    assert sysexits.status_of(GraphUnreachable("no connection")) == 75
    assert sysexits.status_of(GraphThrottled("busy", retry_after=9)) == 75
    assert sysexits.status_of(GraphRefused(503, "x", "y")) == 75
    assert sysexits.status_of(GraphRefused(401, "x", "y")) == 77
    assert sysexits.status_of(GraphRefused(403, "x", "y")) == 77
    assert sysexits.status_of(GraphRefused(400, "x", "y")) == 65
    assert sysexits.status_of(GraphError("no token")) == 77
    assert sysexits.status_of(MalformedMessage("x")) == 65
    assert sysexits.status_of(UsageError("x")) == 64
    assert sysexits.status_of(KeyError("x")) == 70


def test_arguments_are_read_as_getopt_does() -> None:
    assert read_arguments(["-tioi", "-fa@b.c", "-F", "-t", "--", "-x@y.z"]) == Invocation(
        recipients=("-x@y.z",),
        from_header=True,
        dots_are_text=True,
        envelope_sender="a@b.c",
        full_name="-t",
    )
    ignored = [
        "-bm",
        "-odb",
        "-oem",
        "-oee",
        "-v",
        "-n",
        "-N",
        "never",
        "-L",
        "tag",
        "-Am",
        "a@b.c",
    ]
    assert read_arguments(ignored) == Invocation(recipients=("a@b.c",))
    for words in (["-bs"], ["-Z"], ["-f"]):
        with pytest.raises(UsageError):
            read_arguments(words)


def test_a_password_is_asked_for_once(send: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(path: str) -> str:
        asked.append(path)
        return PASSWORD

    monkeypatch.setattr(keys, "_from_terminal", answer)
    monkeypatch.setattr(keys, "_from_keyring", lambda _: None)
    # who writes is the signer, so the key is opened for From as well as for signing
    words = ("-t", "--signer", "alice.p12", "--from", "")
    result = send(*words, stdin="To: bob@contoso.com\n\nx\n")
    assert result.status == 0, result.err
    assert asked == ["alice.p12"]


def test_what_became_of_the_message_is_one_json_object(send: Run) -> None:
    result = send("-t", "--json", stdin="To: bob@contoso.com\nMessage-ID: <7@x.y>\n\nx\n")
    assert result.status == 0, result.err
    told = json.loads(result.out)
    assert (told["internetMessageId"], told["status"]) == ("<7@x.y>", "accepted")
    assert send("-t", stdin="To: bob@contoso.com\n\nx\n").out == b""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_wrapper_is_sendmail_from_any_folder(here: Path, send: Run, received: Run) -> None:
    (here / "elsewhere").mkdir()
    # what lies in the folder of the caller must not be imported
    (here / "elsewhere" / "smime_graph.py").write_text("raise SystemExit(99)\n")
    link = here / "sendmail"
    link.symlink_to(WRAPPER)
    # a checkout without .venv takes the python3 of the PATH
    (here / "bin").mkdir()
    (here / "bin" / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (here / "bin" / "python3").chmod(0o755)
    mail = b"To: bob@contoso.com\nSubject: wrapped\n\nx\n"
    env = {**os.environ, "SMIME_GRAPH_CONFIG": str(here / "c.toml")}
    env["PATH"] = f"{here / 'bin'}:{env['PATH']}"
    env["SMIME_GRAPH_EMULATOR_DATA"] = str(here / "box.db")
    done = subprocess.run(
        [link, "-t", "-i"],
        input=mail,
        capture_output=True,
        cwd=here / "elsewhere",
        env=env,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert "Subject: wrapped" in str(received("bob"))
    done = subprocess.run([link, "-bs"], capture_output=True, env=env, check=False)
    assert done.returncode == 64
