"""Where options come from, passwords, recipients, and help."""

from __future__ import annotations

import inspect
import json
import os
import pty
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import click
import pytest

from smime_graph import __version__
from smime_graph.cli import graph_client, options, terminal
from smime_graph.cli.verbs import VERBS, load
from smime_graph.policy import POLICIES

from .conftest import MESSAGE, PASSWORD, Run


def verbs() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for group in VERBS.values():
        for name in group:
            command = load(name)
            if isinstance(command, click.Group):
                found += [(name, sub) for sub in command.commands]
            else:
                found.append((name,))
    return found


@pytest.mark.parametrize("words", verbs(), ids=" ".join)
def test_every_verb_explains_itself(call: Run, words: tuple[str, ...]) -> None:
    result = call(*words, "--help")
    text = result.out.decode()
    assert (result.status, result.err) == (0, "")
    assert "Exit status" in text
    example = "[sendmail]" if words == ("sendmail",) else f"  smime-graph {' '.join(words)}"
    assert example in text
    if words != ("sendmail",):
        assert call(*words, "-h").out == result.out


@pytest.mark.parametrize("words", verbs(), ids=" ".join)
def test_every_option_says_what_it_is(words: tuple[str, ...]) -> None:
    command = load(words[0])
    if isinstance(command, click.Group):
        command = command.commands[words[1]]
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            shown = parameter.get_help_record(click.Context(command))
            assert shown is not None
            assert ("may be repeated" in shown[1]) is parameter.multiple
            name = max(parameter.opts, key=len)[2:].upper().replace("-", "_")
            # SMIME_GRAPH_TOKEN is one that Graph takes, and no emulator prints it
            name = "EMULATOR_TOKEN" if (words, name) == (("emulate",), "TOKEN") else name
            assert parameter.envvar == f"SMIME_GRAPH_{name}"


def test_the_help_names_every_verb_and_policy(call: Run) -> None:
    text = call("--help").out.decode()
    for words in verbs():
        assert f"  {words[0]} " in text
    shown = call("sign", "--help").out.decode()
    assert all(name in shown for name in POLICIES)
    assert call("--version").out.decode() == f"smime-graph {__version__}\n"


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("send", "--help"), ("seal", "-h")])
def test_help_is_instant_because_nothing_heavy_is_imported(words: tuple[str, ...]) -> None:
    code = (
        "import sys; from smime_graph.cli import main; main(sys.argv[1:]);"
        "heavy = {'httpx', 'asn1crypto', 'cryptography', 'pyhanko_certvalidator', 'rich', 'email'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_a_signature_imports_nothing_of_reading_and_of_tokens(here: Path) -> None:
    code = (
        "import sys; from smime_graph.cli import main; ended = main(sys.argv[1:]);"
        "others = ('smime.report', 'smime.recognition', 'smime.legacy_display', 'pki.pkcs11.keys');"
        "late = {f'smime_graph.{name}' for name in others} | {'html', 'email.policy'};"
        "sys.exit(ended or ', '.join(late & set(sys.modules)) or 0)"
    )
    key = ("--signer", "alice.p12", "--password-file", "password")
    words = ("sign", "m.eml", *key, "-o", "out.eml")
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (here / "out.eml").read_bytes()


# --- environment and configuration ----------------------------------------------------------------


def signer_of(call: Run, raw: bytes) -> str:
    found = json.loads(call("inspect", "--json", stdin=raw).out)
    return str(found["layers"][0]["certificates"][0]["subject"])


def test_an_option_wins_over_the_environment_and_that_over_the_configuration(
    here: Path, call: Run
) -> None:
    (here / "c.toml").write_text('[sign]\ndigest = "sha512"\nsigner = "alice.key"\n')

    def digest(*words: str, **env: str) -> str:
        signed = call("sign", "m.eml", "--config", "c.toml", *words, env=env)
        assert signed.status == 0, signed.err
        shown = json.loads(call("inspect", "--json", stdin=signed.out).out)
        return str(shown["layers"][0]["signers"][0]["digest"])

    assert digest() == "sha512"
    assert digest(SMIME_GRAPH_DIGEST="sha384") == "sha384"
    assert digest("--digest", "sha256", SMIME_GRAPH_DIGEST="sha384") == "sha256"


def test_the_table_of_a_verb_wins_over_the_defaults(here: Path, call: Run) -> None:
    (here / "c.toml").write_text(
        '[defaults]\nsigner = "carol.key"\ntrust = "roots.pem"\ntop = 3\n'
        '[sign]\nsigner = ["alice.key"]\n'
    )
    env = {"SMIME_GRAPH_CONFIG": "c.toml"}
    signed = call("sign", "m.eml", env=env)
    assert signed.status == 0, signed.err
    assert signer_of(call, signed.out) == "CN=alice@contoso.com"
    assert call("verify", stdin=signed.out, env=env).status == 0
    assert call("--config", "c.toml", "verify", stdin=signed.out).status == 0


def test_files_named_in_the_configuration_stand_beside_it(here: Path, call: Run) -> None:
    folder = here / "home" / ".config" / "smime-graph"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[sign]\nsigner = "mine.key"\n')
    (folder / "mine.key").write_bytes(
        (here / "alice.key").read_bytes() + (here / "alice.pem").read_bytes()
    )
    assert call("sign", "m.eml").status == 0


def test_no_configuration_is_taken_from_the_current_folder(here: Path, call: Run) -> None:
    for name in ("config.toml", "smime-graph.toml", ".smime-graph.toml"):
        (here / name).write_text('[sign]\nsigner = "alice.key"\n')
    (here / "smime-graph").mkdir()
    (here / "smime-graph" / "config.toml").write_text('[sign]\nsigner = "alice.key"\n')
    for home in ({}, {"XDG_CONFIG_HOME": "."}, {"XDG_CONFIG_HOME": ""}):
        assert call("sign", "m.eml", env=home).status == 2


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[sign]\nsginer = "x"\n', "sginer"),
        ('[defaults]\nnonsense = "x"\n', "nonsense"),
        ('signer = "alice.key"\n', "table"),
        ("[sign]\nopaque = 1\n", "true or false"),
        ("[sign]\nsigner = true\n", "text or a number"),
        ('[sign]\ndigest = ["sha256"]\n', "list"),
        ("[sign]\nsigner = [{a = 1}]\n", "neither a value"),
        ("[defaults]\n[defaults.sign]\n", "sign"),
        ("sign = 3\n", "no table"),
        (f'[sign]\npassword = "{PASSWORD}"\n', "password"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(
    here: Path, call: Run, text: str, word: str
) -> None:
    (here / "c.toml").write_text(text)
    result = call("sign", "m.eml", "--signer", "alice.key", "--config", "c.toml")
    assert result.status == 2
    assert word in result.err
    assert PASSWORD not in result.err


def test_several_values_of_a_variable_are_separated_as_paths_are(call: Run) -> None:
    joined = os.pathsep.join(["bob.pem", "carol.pem"])
    raw = MESSAGE.replace(b"Subject", b"Cc: carol@contoso.com\nSubject")
    made = call("encrypt", stdin=raw, env={"SMIME_GRAPH_RECIPIENT": joined})
    assert made.status == 0, made.err
    shown = json.loads(call("inspect", "--json", stdin=made.out).out)
    assert len(shown["layers"][0]["recipients"]) == 2


# --- passwords ------------------------------------------------------------------------------------


def test_passwords_are_for_the_key_files_in_their_order(here: Path, call: Run) -> None:
    (here / "other").write_text("x\n")
    asked = ("sign", "m.eml", "--signer", "alice.p12", "--signer", "carol.key")
    in_order = ("--password-file", "password", "--password-file", "other")
    assert call(*asked, *in_order).status == 0
    swapped = ("--password-file", "other", "--password-file", "password")
    assert call(*asked, *swapped).status == 2
    assert call(*asked, "--password-file", "password").status == 0


def test_a_password_from_the_environment_yields_to_one_from_a_file(call: Run) -> None:
    asked = ("sign", "m.eml", "--signer", "alice.p12")
    assert call(*asked, env={"SMIME_GRAPH_PASSWORD": PASSWORD}).status == 0
    assert call(*asked, env={"SMIME_GRAPH_PASSWORD": "wrong"}).status == 2
    given = ("--password-file", "password")
    assert call(*asked, *given, env={"SMIME_GRAPH_PASSWORD": "wrong"}).status == 0


def test_a_password_file_may_have_windows_line_ends(here: Path, call: Run) -> None:
    (here / "pw").write_bytes(PASSWORD.encode() + b"\r\nsecond line\r\n")
    assert call("sign", "m.eml", "--signer", "alice.p12", "--password-file", "pw").status == 0
    (here / "pw").write_bytes(b"\n")
    assert call("sign", "m.eml", "--signer", "alice.p12", "--password-file", "pw").status == 2


def test_a_keyring_knows_the_password_by_the_path(
    here: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import types

    asked: list[tuple[str, str]] = []

    def get_password(service: str, name: str) -> str:
        asked.append((service, name))
        return PASSWORD

    keyring = types.ModuleType("keyring")
    keyring.get_password = get_password  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    assert call("sign", "m.eml", "--signer", "alice.p12").status == 0
    assert asked == [("smime-graph", str((here / "alice.p12").resolve()))]


def test_somebody_at_a_terminal_is_asked_and_what_they_type_is_not_shown(here: Path) -> None:
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover - another program
        os.chdir(here)
        os.execv(
            sys.executable,
            [sys.executable, "-m", "smime_graph", "sign", "m.eml", "--signer", "alice.p12"]
            + ["-o", "out.eml"],
        )
    seen = b""
    while b"password of alice.p12: " not in seen:
        seen += os.read(terminal, 1024)
    os.write(terminal, PASSWORD.encode() + b"\n")
    try:
        while chunk := os.read(terminal, 1024):
            seen += chunk
    except OSError:
        pass  # Linux ends a pseudo-terminal so
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert PASSWORD.encode() not in seen
    assert (here / "out.eml").exists()


# --- recipients -----------------------------------------------------------------------------------


def test_a_folder_gives_the_certificates_of_the_message_s_recipients(here: Path, call: Run) -> None:
    folder = here / "certificates"
    folder.mkdir()
    for name in ("bob.pem", "carol.pem", "expired.pem", "signs-only.pem", "m.eml", "alice.p12"):
        (folder / name).symlink_to(here / name)
    (folder / "sub").mkdir()
    made = call("encrypt", "m.eml", "--recipient", "certificates")
    assert made.status == 0, made.err
    shown = json.loads(call("inspect", "--json", stdin=made.out).out)
    assert len(shown["layers"][0]["recipients"]) == 1
    assert call("decrypt", "--identity", "bob.key", stdin=made.out).status == 0
    other = MESSAGE.replace(b"bob@", b"dave@")
    refused = call("encrypt", "--recipient", "certificates", stdin=other)
    assert refused.status == 1
    assert "dave@contoso.com" in refused.err


def test_the_certificate_of_a_signed_message_is_taken_if_its_signature_is_valid(
    here: Path, call: Run
) -> None:
    raw = MESSAGE.replace(b"Alice <alice@", b"Bob <bob@")
    signed = call("sign", "--signer", "bob.key", stdin=raw)
    assert signed.status == 0, signed.err
    (here / "from-bob.eml").write_bytes(signed.out)
    made = call("encrypt", "m.eml", "--recipient", "from-bob.eml")
    assert made.status == 0, made.err
    assert call("decrypt", "--identity", "bob.key", stdin=made.out).status == 0
    (here / "from-bob.eml").write_bytes(signed.out.replace(b"the figures", b"the fingers"))
    refused = call("encrypt", "m.eml", "--recipient", "from-bob.eml")
    assert refused.status == 2
    assert "no signature of it is valid" in refused.err


def test_a_signer_who_cannot_be_encrypted_to_is_not_taken(here: Path, call: Run) -> None:
    raw = MESSAGE.replace(b"Alice <alice@", b"Bob <bob@")
    (here / "s.eml").write_bytes(call("sign", "--signer", "signs-only.key", stdin=raw).out)
    refused = call("encrypt", "m.eml", "--recipient", "s.eml")
    assert refused.status == 2
    assert "not for encryption" in refused.err


def test_recipients_are_validated_where_roots_are_named(here: Path, call: Run) -> None:
    asked = ("encrypt", "m.eml", "--recipient", "bob.pem", "--trust")
    assert call(*asked, "roots.pem").status == 0
    assert call(*asked, "carol.pem").status == 1


def test_blind_recipients_of_an_encrypted_message_are_warned_of(call: Run) -> None:
    raw = MESSAGE.replace(b"Subject", b"Bcc: carol@contoso.com\nSubject")
    result = call("encrypt", "--recipient", "bob.pem", "--recipient", "carol.pem", stdin=raw)
    assert result.status == 0
    assert "Bcc" in result.err


def test_times_and_policies_are_read_as_they_are_documented() -> None:
    time = options.Time()
    assert time.convert("2026-11-22T06:13:00z", None, None).isoformat() == (
        "2026-11-22T06:13:00+00:00"
    )
    assert options.PolicyName().convert("rfc8551", None, None) is POLICIES["rfc8551"]


@pytest.mark.parametrize("verb", ["seal", "send"])
def test_who_compresses_is_told_who_cannot_read_it(call: Run, verb: str) -> None:
    assert "Thunderbird 153 and 157" in " ".join(call(verb, "--help").out.decode().split())


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("sign", "--signer", "alice.key"), "signing"),
        (("encrypt", "--recipient", "bob.pem"), "encrypting"),
        (("seal", "--signer", "alice.key", "--recipient", "bob.pem"), "signing and encrypting"),
    ],
)
def test_progress_names_what_is_done(
    call: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], wanted: str
) -> None:
    said: list[str] = []

    def progress(what: str) -> nullcontext[None]:
        said.append(what)
        return nullcontext()

    monkeypatch.setattr(terminal, "progress", progress)
    verb, *rest = options
    assert call(verb, "m.eml", *rest).status == 0
    assert said == [wanted]


@pytest.mark.parametrize("name", ["SMIME_GRAPH_RECIPIENT", "SMIME_GRAPH_SIGNER"])
@pytest.mark.parametrize("value", ["", os.pathsep, os.pathsep * 3])
@pytest.mark.parametrize("verb", ["send", "draft", "sendmail", "check", "sign", "encrypt"])
def test_a_variable_that_names_nobody_does_not_send_in_the_clear(
    call: Run, verb: str, name: str, value: str
) -> None:
    words = {"sendmail": ("-t", "--unsigned"), "sign": (), "encrypt": ()}.get(verb, ())
    place = ("--emulator-data", "box.db") if verb in ("send", "draft", "sendmail") else ()
    if (verb, name) in (("sign", "SMIME_GRAPH_RECIPIENT"), ("encrypt", "SMIME_GRAPH_SIGNER")):
        return  # which have no such option
    result = call(verb, *words, *place, stdin=MESSAGE, env={name: value})
    assert result.status == (64 if verb == "sendmail" else 2)
    assert f"{name} is set, and names nothing" in result.err
    key = "alice.key" if name.endswith("SIGNER") else "bob.pem"
    option = "--signer" if name.endswith("SIGNER") else "--recipient"
    given = call(verb, *words, *place, option, key, stdin=MESSAGE, env={name: value})
    assert given.status == 0, given.err


@pytest.mark.parametrize("value", ['""', '[""]', '["bob.pem", ""]'])
def test_a_configuration_that_names_nobody_does_not_send_in_the_clear(
    here: Path, call: Run, value: str
) -> None:
    (here / "c.toml").write_text(f"[send]\nrecipient = {value}\n")
    result = call("send", "--emulator", "--config", "c.toml", stdin=MESSAGE)
    assert result.status == 2, result.out


GROUPS = (options.Keys, options.Protection, options.Reading, graph_client.Place)


@pytest.fixture(scope="module")
def commands() -> list[click.Command]:
    found = []
    for first, *second in verbs():
        command = load(first)
        found.append(command.commands[second[0]] if isinstance(command, click.Group) else command)
    return [one for one in found if one is not None]


def is_typed(command: click.Command, option: click.Parameter, annotation: str) -> bool:
    """Whether this is the type of what click hands over, None where it says so among them."""
    if option.multiple or option.nargs == -1:
        return annotation.startswith("tuple[")
    if isinstance(option, click.Option) and option.is_flag:
        return annotation == "bool"
    without = command.make_context("verb", [], resilient_parsing=True).params[option.name or ""]
    return annotation.endswith(" | None") == (without is None and not option.required)


def test_the_groups_of_options_say_what_click_gives(commands: list[click.Command]) -> None:
    """They are filled by name from what click hands over, which no type checker sees."""
    seen = set()
    for command in commands:
        for option in command.params:
            for group in GROUPS:
                annotation = group.__annotations__.get(option.name or "")
                if annotation is not None:
                    seen.add((group, option.name))
                    assert is_typed(command, option, annotation), (command.name, option.name)
    named = {(group, name) for group in GROUPS for name in group.__annotations__}
    assert {name for _, name in named - seen} == {"keys", "confidentiality"}


def test_a_verb_takes_what_its_options_give(commands: list[click.Command]) -> None:
    for command in commands:
        assert command.callback is not None
        annotations = inspect.unwrap(command.callback).__annotations__
        given = {one.name or "": one for one in command.params if one.expose_value}
        taken = annotations.keys() - {"return", "given", "ctx"}
        assert taken <= given.keys(), command.name
        assert taken == given.keys() or "given" in annotations, command.name
        for name in taken:
            assert is_typed(command, given[name], annotations[name]), (command.name, name)


def test_a_group_that_a_verb_does_not_have_is_as_if_nobody_gave_it() -> None:
    assert options.take(options.Keys, {"signer": ("a",), "output": None}) == options.Keys(("a",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[list]\ntop = "many"\n', "[list] top: 'many' is no number"),
        ("[list]\ntop = 0\n", "[list] top: 0 is not in the range"),
        ('[defaults]\nrevocation = "maybe"\n', "[defaults] revocation: 'maybe' is not one of"),
    ],
)
def test_a_value_that_the_configuration_has_is_blamed_on_the_configuration(
    here: Path, call: Run, text: str, said: str
) -> None:
    (here / "own.toml").write_text(text)
    verb = ["list", "--emulator"] if "[list]" in text else ["verify", "signed.eml"]
    done = call(*verb, "--config", "own.toml")
    assert done.status == 2
    assert f"own.toml: {said}" in done.err


def test_a_home_that_nobody_may_look_into_stops_only_what_goes_out(
    here: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon often has the HOME of somebody else."""
    is_file = Path.is_file

    def closed(self: Path) -> bool:
        if self.name == "config.toml":
            raise PermissionError(13, "Permission denied", str(self))
        return is_file(self)

    monkeypatch.setattr(Path, "is_file", closed)
    assert call("inspect", "signed.eml").status == 0
    for verb in ("send", "sendmail", "draft"):
        refused = call(verb, "signed.eml" if verb != "sendmail" else "-t")
        assert refused.status == (77 if verb == "sendmail" else 2)
        assert "nobody may look for the user's configuration" in refused.err
        assert "--config FILE" in refused.err


@pytest.mark.parametrize(
    ("words", "option", "wanted"),
    [
        (("send", "m.eml", "--emulator", "--cipher", "aes256-gcm"), "--cipher", "--recipient"),
        (("send", "m.eml", "--emulator", "--opaque"), "--opaque", "--signer"),
        (("check", "m.eml", "--signer", "alice.key", "--rid", "ski"), "--rid", "--recipient"),
        (("reply", "ID", "m.eml", "--emulator", "--digest", "sha512"), "--digest", "--signer"),
        (("draft", "m.eml", "--emulator", "--compress"), "--compress", "--recipient"),
        (("send", "m.eml", "--emulator", "--smtp-host", "x:1"), "--smtp-host", "--via smtp"),
        (("fetch", "ID", "--emulator", "--identity", "bob.key"), "--identity", "--unseal"),
        (("fetch", "ID", "--emulator", "--trust", "roots.pem"), "--trust", "--unseal"),
    ],
)
def test_an_option_without_effect_is_no_false_comfort(
    here: Path, call: Run, words: tuple[str, ...], option: str, wanted: str
) -> None:
    refused = call(*words)
    assert (refused.status, refused.out) == (2, b"")
    assert f"error: {option} does nothing without {wanted}\n" in refused.err
    assert f"hint: give {wanted}, or leave it out" in refused.err


def test_what_always_encrypts_takes_what_says_how(here: Path, call: Run) -> None:
    key = ("--emulator", "--signer", "alice.p12", "--password-file", "password")
    how: tuple[str, ...] = ("--trust", "roots.pem", "--rid", "ski", "--cipher", "aes256-gcm")
    mail = call("round-trip", *key, *how)
    assert (mail.status, mail.err) == (0, "")
    how = ("--compress", "--header-confidentiality", "shy", "--no-encrypt-to-self")
    assert "error: no outbox is named\n" in call("gateway", *key, *how).err


def test_a_configuration_may_say_what_has_no_effect_on_one_message(here: Path, call: Run) -> None:
    (here / "c.toml").write_text('[defaults]\ncipher = "aes256-gcm"\nidentity = ["bob.key"]\n')
    assert call("send", "m.eml", "--emulator", "--config", "c.toml").status == 0
    env = {"SMIME_GRAPH_OPAQUE": "1"}
    assert call("send", "m.eml", "--emulator", env=env).status == 0
