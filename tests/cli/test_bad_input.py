"""Each thing that can be wrong: a clear error, a hint, the documented status, nothing changed."""

from __future__ import annotations

import ast
import json
import pickle
import re
from copy import copy
from pathlib import Path
from typing import get_args

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import smime_graph
from smime_graph import Identity
from smime_graph.algorithms import KeyKind, rows
from smime_graph.cli import terminal
from smime_graph.cli.verbs import load
from smime_graph.errors import Hint, Remedy, UsageError

from .conftest import MESSAGE, PASSWORD, TOKEN, Run, state

SIGN = ("--signer", "alice.p12", "--password-file", "password")
EMULATED = ("--emulator",)

# what is wrong, the arguments, the status, a word of the error
TABLE: list[tuple[str, tuple[str, ...], int, str]] = [
    (
        "wrong password",
        ("sign", "m.eml", "--signer", "alice.p12", "--password-file", "wrong-password"),
        2,
        "password",
    ),
    ("no password", ("sign", "m.eml", "--signer", "alice.p12"), 2, "encrypted"),
    (
        "two passwords for one key",
        ("sign", "m.eml", *SIGN, "--password-file", "password"),
        2,
        "2 password files",
    ),
    ("key of another certificate", ("sign", "m.eml", "--signer", "mixed.pem"), 2, "belongs"),
    ("no key in the file", ("sign", "m.eml", "--signer", "alice.pem"), 2, "no private key"),
    ("key file missing", ("sign", "m.eml", "--signer", "nobody.p12"), 2, "nobody.p12"),
    ("key file is a message", ("sign", "m.eml", "--signer", "m.eml"), 2, "neither a key"),
    ("nobody to sign", ("sign", "m.eml"), 2, "nobody to sign"),
    ("nobody to encrypt to", ("encrypt", "m.eml"), 2, "nobody to encrypt"),
    ("nobody decrypts", ("decrypt", "m.eml"), 2, "no key"),
    (
        "cannot sign",
        ("sign", "m.eml", "--signer", "encrypts-only.key"),
        1,
        "cannot be used to sign",
    ),
    (
        "cannot be encrypted to",
        ("encrypt", "m.eml", "--recipient", "signs-only.pem"),
        1,
        "cannot be used to encrypt",
    ),
    ("no common cipher", ("encrypt", "m.eml", "--recipient", "old-cipher.pem"), 1, "cipher"),
    ("expired recipient", ("encrypt", "m.eml", "--recipient", "expired.pem"), 1, "expired"),
    ("expired signer", ("sign", "m.eml", "--signer", "alice-expired.key"), 1, "expired"),
    ("two Froms", ("sign", "two-froms.eml", *SIGN), 1, "2 From fields"),
    ("From is another", ("sign", "m.eml", "--signer", "carol.key"), 1, "alice@contoso.com"),
    ("recipient without", ("encrypt", "m.eml", "--recipient", "carol.pem"), 1, "bob@contoso.com"),
    ("recipient file missing", ("encrypt", "m.eml", "--recipient", "x@y.z"), 2, "x@y.z"),
    ("recipient file is text", ("encrypt", "m.eml", "--recipient", "m.eml"), 2, "m.eml"),
    ("message missing", ("sign", "none.eml", *SIGN), 2, "none.eml"),
    ("message is a folder", ("sign", ".", *SIGN), 2, "directory"),
    ("message without header", ("sign", "text", *SIGN), 1, "header"),
    ("message empty", ("sign", "empty", *SIGN), 1, "header"),
    ("multipart/signed of one part", ("verify", "one-part", "--trust", "roots.pem"), 1, "1 parts"),
    ("truncated CMS", ("verify", "truncated", "--trust", "roots.pem"), 1, ""),
    ("unsigned", ("verify", "m.eml", "--trust", "roots.pem"), 1, "nobody signed"),
    ("no roots", ("verify", "signed.eml"), 1, "pki.trust.no-anchors"),
    ("changed", ("verify", "changed.eml", "--trust", "roots.pem"), 1, "cms.digest.mismatch"),
    (
        "signed by another",
        ("verify", "signed.eml", "--trust", "roots.pem", "--sender", "eve@contoso.com"),
        1,
        "pki.address.mismatch",
    ),
    (
        "judged in another year",
        ("verify", "signed.eml", "--trust", "roots.pem", "--at", "2050-01-01T00:00:00Z"),
        1,
        "expired",
    ),
    ("roots missing", ("verify", "signed.eml", "--trust", "no.pem"), 2, "no.pem"),
    ("roots are text", ("verify", "signed.eml", "--trust", "m.eml"), 2, "m.eml"),
    ("for somebody else", ("decrypt", "sealed.eml", "--identity", "carol.key"), 1, "no identity"),
    ("verify of sealed mail", ("verify", "sealed.eml", "--trust", "roots.pem"), 1, "encrypted"),
    ("decrypt of clear mail", ("decrypt", "m.eml", "--identity", "carol.key"), 1, "not encrypted"),
    ("unknown verb", ("sing", "m.eml"), 2, "did you mean sign"),
    ("unknown option", ("sign", "m.eml", "--sginer", "x"), 2, "--sginer"),
    ("no verb", (), 2, "command"),
    ("no time", ("sign", "m.eml", *SIGN, "--at", "yesterday"), 2, "no time"),
    ("time without zone", ("sign", "m.eml", *SIGN, "--at", "2026-01-01T00:00:00"), 2, "no time"),
    ("no such policy", ("sign", "m.eml", *SIGN, "--policy", "lax"), 2, "exchange"),
    ("a policy that only reads", ("sign", "m.eml", *SIGN, "--policy", "archive"), 1, "reading"),
    ("no such digest", ("sign", "m.eml", *SIGN, "--digest", "md5"), 2, "sha256"),
    (
        "no such cipher",
        ("encrypt", "m.eml", "--recipient", "bob.pem", "--cipher", "rot13"),
        2,
        "aes",
    ),
    (
        "opaque and sealed",
        ("send", "m.eml", *SIGN, "--recipient", "bob.pem", "--opaque"),
        2,
        "opaque",
    ),
    ("output is a folder", ("sign", "m.eml", *SIGN, "-o", "."), 2, "directory"),
    ("output is nowhere", ("sign", "m.eml", *SIGN, "-o", "no/such/folder"), 2, "no/such/folder"),
    ("full disk", ("sign", "m.eml", *SIGN, "-o", "/dev/full"), 2, "No space left"),
    ("no recipients", ("send", "nobody.eml", *EMULATED), 1, "no recipient"),
    ("two Message-IDs", ("send", "two-ids.eml", *EMULATED), 1, "2 Message-ID fields"),
    ("no author", ("send", "no-from.eml", *EMULATED), 1, "no From"),
    (
        "a copy that cannot be refused",
        ("send", "m.eml", *EMULATED, "--no-save-to-sent-items"),
        2,
        "no place for it, and the live service has no mimeContent",
    ),
    ("too large", ("send", "m.eml", *EMULATED, "--size-limit", "100"), 2, "limit is 100"),
    ("no token", ("send", "m.eml"), 2, "token"),
    ("token file missing", ("send", "m.eml", "--token-file", "nope"), 2, "nope"),
    (
        "token in the clear",
        ("list", "--token-file", "token", "--graph-url", "http://a.b"),
        2,
        "http",
    ),
    (
        "nobody there",
        ("send", "m.eml", "--token-file", "token", "--graph-url", "http://127.0.0.1:9")
        + ("--retries", "0"),
        3,
        "connect",
    ),
    ("no such message", ("fetch", "AAAA", *EMULATED, "--user", "bob@contoso.com"), 3, "404"),
    ("two roads", ("list", "--emulator", "--cloud", "china"), 2, "--cloud"),
    ("message and parts", ("reply", "ID", "m.eml", "--body", "m.eml", *EMULATED), 2, "MESSAGE"),
    (
        "draft of two kinds",
        ("draft", "m.eml", "--reply-to", "A", "--forward-of", "B"),
        2,
        "one way",
    ),
    ("no authority", ("ca", "issue", ".", "x@contoso.com"), 2, "no certification authority"),
    ("no address", ("ca", "issue", ".", "somebody"), 2, "no address"),
    ("no such key", ("ca", "init", "new", "--key", "rsa-1"), 2, "rsa-1"),
    ("configuration missing", ("sign", "m.eml", *SIGN, "--config", "no.toml"), 2, "no.toml"),
    ("configuration is no TOML", ("sign", "m.eml", *SIGN, "--config", "m.eml"), 2, "TOML"),
    ("certificates are no message", ("inspect", "alice.pem"), 1, "certificates in PEM"),
    ("a container is no message", ("inspect", "alice.p12"), 1, "a pkcs12 file"),
    ("a folder of jobs", ("batch", ".", "-o", "made"), 2, "a folder"),
    ("a batch without roots", ("batch", ".", "--unseal", "-o", "made"), 2, "--trust FILE"),
    (
        "a batch without keys",
        ("batch", ".", "--encrypt-anew", "--recipient", "bob.pem", "-o", "made"),
        2,
        "--identity FILE",
    ),
    ("decompress of signed mail", ("decompress", "signed.eml"), 1, "verify reads signed"),
    ("a verb of a verb", ("harvest",), 2, "did you mean contacts harvest"),
    ("no such verb of a verb", ("ca", "explode"), 2, "smime-graph ca --help"),
    ("port taken or not one", ("emulate", "--port", "70000"), 2, "70000"),
]


@pytest.mark.parametrize(
    ("arguments", "status", "word"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_bad_input_has_its_status_and_a_hint_and_changes_nothing(
    here: Path, call: Run, arguments: tuple[str, ...], status: int, word: str
) -> None:
    before = state(here)
    result = call(*arguments)
    assert result.status == status, result.err
    assert result.err.startswith("smime-graph: error: ")
    assert word in result.err
    assert "\nhint: " in result.err
    assert result.out == b""
    assert state(here) == before


@pytest.mark.parametrize("row", [row for row in TABLE if row[1]], ids=lambda row: row[0])
def test_a_failure_is_one_json_object(
    here: Path, call: Run, row: tuple[str, tuple[str, ...], int, str]
) -> None:
    result = call(*row[1], "--json")
    found = json.loads(result.out)
    assert result.status == row[2]
    assert found["verdict"] == "rejected"
    assert set(found["error"]) >= {"type", "text", "hint"}
    assert found["error"]["text"]
    assert found["error"]["hint"]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_an_existing_output_is_left_alone_when_the_verb_fails(
    here: Path, call: Run, row: tuple[str, tuple[str, ...], int, str]
) -> None:
    takes_output = {"sign", "encrypt", "seal", "verify", "decrypt", "unseal", "fetch"}
    if not row[1] or row[1][0] not in takes_output or "-o" in row[1]:
        return
    (here / "there").write_bytes(b"precious")
    assert call(*row[1], "-o", "there").status == row[2]
    assert (here / "there").read_bytes() == b"precious"


def test_a_rejected_message_is_reported_with_all_that_is_known(here: Path, call: Run) -> None:
    result = call("verify", "changed.eml", "--trust", "roots.pem", "--json")
    found = json.loads(result.out)
    assert result.status == 1
    assert found["error"]["type"] == "SignatureInvalid"
    assert found["signers"][0]["intact"] is False
    assert found["layers"][0]["type"] == "signed-data"
    assert {one["code"] for one in found["findings"]} >= {"cms.digest.mismatch"}
    result = call("unseal", "sealed.eml", "--identity", "carol.key", "--json")
    found = json.loads(result.out)
    assert found["error"]["type"] == "NoMatchingIdentity"
    assert found["layers"][0]["cipher"] == "aes256-cbc"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_no_secret_is_in_any_error(
    here: Path, call: Run, row: tuple[str, tuple[str, ...], int, str]
) -> None:
    result = call(*row[1], env={"SMIME_GRAPH_TOKEN": TOKEN})
    for secret in (PASSWORD, TOKEN, "wrong\n", "BEGIN PRIVATE"):
        assert secret not in result.err
        assert secret.encode() not in result.out


def test_a_password_is_never_the_value_of_an_option(call: Run) -> None:
    for option in ("--password", "--token"):
        for words in ((f"{option}={PASSWORD}",), (option, PASSWORD)):
            result = call("send", "m.eml", *words)
            assert result.status == 2
            assert PASSWORD not in result.err
            assert PASSWORD.encode() not in result.out


def test_debug_shows_where_an_error_comes_from_and_no_secret(here: Path, program: Run) -> None:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "smime_graph", "sign", "m.eml", *SIGN, "--at", "now", "--debug"]
        + ["--policy", "exchange"],
        capture_output=True,
        cwd=here,
        check=False,
    )
    assert done.returncode == 2
    assert b"Traceback" in done.stderr
    assert PASSWORD.encode() not in done.stderr


def test_hostile_text_does_not_reach_the_terminal(call: Run) -> None:
    evil = (
        b"From: =?utf-8?q?x?= <a@b.c>\nFrom: \x1b]0;owned\x07\x1b[2J <a@b.c>\n"
        b"To: \xe2\x80\xae@b.c\nContent-Type: multipart/signed;"
        b' protocol="application/pkcs7-signature"; boundary="\x1b[31m"'
        b"\n\nx\n"
    )
    for verb in ("verify", "unseal", "inspect", "examine"):
        result = call(verb, stdin=evil)
        for text in (result.err, result.out.decode()):
            assert not {c for c in text if not c.isprintable()} - {"\n"}
    assert "\x1b" not in call("sign", "\x1b[31mfile").err
    assert "\x1b" not in call("\x1b[31mverb").err
    assert "\x1b" not in call("sign", "--\x1b[31m").err


def test_no_line_of_the_terminal_is_longer_than_2000_characters(call: Run) -> None:
    long = "x" * 3000
    shown = terminal.printable(f"{long[:1999]}ab")
    assert shown == f"{long[:1999]}a..."
    assert terminal.printable(long[:2000]) == long[:2000]
    for words in (["sign", "m.eml", "--at", long], [long], ["sign", f"--{long}"]):
        lines = call(*words).err.splitlines()
        assert any("xxxx..." in line for line in lines)
        assert max(map(len, lines)) < 2100


VERBS = (
    ("verify", "--trust", "roots.pem"),
    ("unseal", "--trust", "roots.pem", "--identity", "carol.key"),
    ("examine", "--trust", "roots.pem", "--identity", "carol.key"),
    ("inspect",),
    ("decrypt", "--identity", "carol.key"),
)

_BYTES = st.one_of(
    st.binary(max_size=400),
    st.builds(
        lambda kind, body: b"Content-Type: " + kind + b"\n\n" + body,
        st.sampled_from(
            [
                b"application/pkcs7-mime",
                b"application/pkcs7-mime\nContent-Transfer-Encoding: base64",
                b'multipart/signed; protocol="application/pkcs7-signature"; boundary=b',
                b"application/octet-stream; name=smime.p7m",
            ]
        ),
        st.binary(max_size=400),
    ),
)


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_any_bytes_are_judged_and_never_crash(call: Run, words: tuple[str, ...]) -> None:
    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(_BYTES)
    def holds(data: bytes) -> None:
        assert call(*words, stdin=data).status in (0, 1, 2)

    holds()


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_a_damaged_message_never_crashes(here: Path, call: Run, words: tuple[str, ...]) -> None:
    whole = (here / "sealed.eml").read_bytes()

    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.integers(0, len(whole) - 1), st.integers(0, 255), st.integers(0, len(whole)))
    def holds(position: int, octet: int, length: int) -> None:
        damaged = whole[:position] + bytes([octet]) + whole[position + 1 :]
        assert call(*words, stdin=damaged[: max(length, position + 1)]).status in (0, 1, 2)

    holds()


def test_the_message_of_the_table_is_a_good_one(call: Run) -> None:
    """Otherwise the table would prove little."""
    assert call("sign", *SIGN, stdin=MESSAGE).status == 0


def test_every_remedy_that_the_library_names_has_words_for_a_shell() -> None:
    assert set(get_args(Remedy)) == set(terminal._HINTS)
    folder = Path(smime_graph.__file__).parent
    named = {
        node.args[1].value
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Hint"
        if len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
    }
    # those of a draft are chosen by what became of it
    assert named | {"send-draft", "get-draft"} == set(get_args(Remedy))


def test_a_hint_keeps_its_remedy_wherever_it_goes() -> None:
    hint = Hint("look there", "part", "signed-data", "1.2", before="first; ", after="; then")
    for one in (hint, copy(hint), pickle.loads(pickle.dumps(hint))):
        assert one == "first; look there; then"
        said = terminal.hint_of(UsageError("no", hint=one), verb=None)
        assert said == "first; a part of it is signed-data: give --part 1.2 to open it alone; then"


# What only a Python program can do wrong, or is told in other words before it is reached
FOR_PROGRAMS = {
    "use Identity.load": "from_pkcs12 is called for no option",
    "use Contact.load": "from_pem is called for no option",
    "it needs public_key(), as the keys of cryptography have it": "a key of a class of one's own",
    "use a datetime with tzinfo=UTC": "--at has a zone",
    "use datetime.now(UTC) or a time with tzinfo": "--at has a zone",
    "use via='sendmail'": "check_save of the verb is first",
    "delete the copy in Sent Items afterwards; wire='mime-content' is the design"
    " document's form, for services that have it": "check_save of the verb is first",
    "sign and seal give bytes; so does as_bytes(policy=email.policy.SMTP)": "a file is bytes",
    "give the message as bytes, as it was received": "a file is bytes",
    "read a file: Contact.load(path).certificate": "the command line reads files",
    "write mailboxes=[...]": "--mailbox makes a list",
    "use one of Fault.throttled() and its kin, or switch_on with a name": "--fault names one",
    "name it in mailboxes=, or use open_mailboxes=True": "the options make such an emulator",
}
_PYTHON = re.compile(
    r"\w\(|(?<![\w-])[a-z_]+=\S|\b[a-z]+_[a-z_]+\b|\b(bytes|datetime|None|True|False|tuple)\b"
    r"|\b(Identity|Contact|TrustStore|Certificate|Policy)\."
)


def _target(node: ast.Assign | ast.AnnAssign) -> str:
    return ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)


def _is_hint(value: ast.expr) -> bool:
    """It is put in other words, then."""
    return isinstance(value, ast.Call) and ast.unparse(value.func) == "Hint"


def test_no_hint_speaks_python_to_somebody_in_a_shell() -> None:
    """Every hint of the library that can reach the terminal, not those of one verb."""
    folder = Path(smime_graph.__file__).parent
    speaking: dict[str, str] = {}
    for file in folder.rglob("*.py"):
        if "cli" in file.relative_to(folder).parts or file.name == "arguments.py":
            continue  # the command line gives functions the types they want
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
        hints = [
            node
            for node in nodes
            if (isinstance(node, ast.keyword) and node.arg == "hint")
            or (isinstance(node, ast.Assign | ast.AnnAssign) and "hint" in _target(node).lower())
        ]
        values = [one.value for one in hints if one.value is not None and not _is_hint(one.value)]
        # and what has a name of its own, by which a hint or a table of hints calls it
        names = {n.id for one in values for n in ast.walk(one) if isinstance(n, ast.Name)}
        values += [
            node.value
            for node in nodes
            if isinstance(node, ast.Assign) and _target(node) in names
            if isinstance(node.value, ast.Constant)
        ]
        for value in values:
            for part in ast.walk(value):
                if not isinstance(part, ast.Constant) or not isinstance(part.value, str):
                    continue
                if _PYTHON.search(part.value):
                    speaking[part.value] = f"{file.name}:{part.lineno}"
    assert {text: at for text, at in speaking.items() if text not in FOR_PROGRAMS} == {}
    assert speaking.keys() >= FOR_PROGRAMS.keys()  # no excuse outlives its reason
    assert not any(_PYTHON.search(said) for said in terminal._HINTS.values())


def test_of_several_people_in_a_file_a_shell_is_told_what_it_can_do(here: Path, call: Run) -> None:
    two = [
        Identity.load(here / f"{name}.p12", password=PASSWORD).to_pem() for name in ("alice", "bob")
    ]
    (here / "two.pem").write_bytes(b"".join(two))
    refused = call("sign", "m.eml", "--signer", "two.pem")
    assert refused.status == 2
    assert "hint: use a file for each of them" in refused.err


def test_the_test_authority_without_a_verb_names_its_verbs(call: Run) -> None:
    told = call("ca")
    assert told.status == 2
    assert told.err.splitlines() == [
        "smime-graph: error: ca is followed by init, issue, revoke, crl, serve or mirror",
        "hint: smime-graph ca --help shows what each does",
    ]


@pytest.mark.parametrize("words", [("ca", "init"), ("ca", "issue")])
def test_every_kind_of_key_that_the_help_names_is_taken(
    here: Path, call: Run, words: tuple[str, ...]
) -> None:
    group = load("ca")
    assert isinstance(group, click.Group)
    (option,) = [one for one in group.commands[words[1]].params if one.name == "key"]
    signing, _, encrypting = str(option.help).partition("; with --use encrypt also ")
    kinds = {
        use: re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", part)
        for use, part in (("both", signing), ("encrypt", encrypting))
    }
    known = {
        one.name
        for kind in rows(KeyKind)
        for one in kind.parameter_sets
        if kind.signs or "issue" in words
    }
    assert {*kinds["both"], *kinds["encrypt"]} == known - {"rsa-1024"}
    assert call("ca", "init", "authority", "--key", "p256").status == 0
    for use, names in kinds.items():
        for number, name in enumerate(one for one in names if not one.startswith("rsa-")):
            asked: tuple[str, ...] = ("ca", "issue", "authority", "x@contoso.com", "--use", use)
            if "init" in words:
                asked = ("ca", "init", f"ca-{number}")
            assert call(*asked, "--key", name).status == 0, name
    for wrong in ("x25519", "nonsense"):
        refused = call("ca", "init", "refused", "--key", wrong)
        assert refused.status == 2
        assert "ed25519" in refused.err
        assert ", x25519" not in refused.err


def test_a_key_that_only_encrypts_is_issued_when_that_is_its_use(here: Path, call: Run) -> None:
    assert call("ca", "init", "authority").status == 0
    asked = ("ca", "issue", "authority", "x@contoso.com", "--key", "x25519")
    refused = call(*asked)
    assert (refused.status, "x25519 key cannot sign" in refused.err) == (2, True)
    assert "hint: give --use encrypt" in refused.err
    assert call(*asked, "--use", "encrypt").status == 0
