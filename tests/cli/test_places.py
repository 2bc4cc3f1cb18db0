"""Where things are looked for is where README and --help say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from smime_graph.cli.program import places
from smime_graph.cli.verbs import VERBS

from .conftest import PASSWORD, Run

README = (Path(__file__).parents[2] / "README.md").read_text()


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_the_configuration_lies_where_readme_says(here: Path, call: Run) -> None:
    found = re.search(r"`~/(\S+/config\.toml)`", README)
    assert found is not None
    path = here / "home" / found[1]
    path.parent.mkdir(parents=True)
    assert call("sign", "m.eml").status == 2
    path.write_text(f'[defaults]\nsigner = "{here}/alice.key"\n[sign]\ndigest = "sha384"\n')
    signed = call("sign", "m.eml")
    assert signed.status == 0, signed.err
    assert b"micalg=sha-384" in signed.out


def test_help_names_the_place_of_this_system(here: Path, call: Run) -> None:
    path = here / "elsewhere" / "smime-graph" / "config.toml"
    env = {"XDG_CONFIG_HOME": str(here / "elsewhere")}
    shown = "".join(call("--help", env=env).out.decode().split())
    assert f"Configuration:{path},with" in shown
    path.parent.mkdir(parents=True)
    path.write_text(f'[sign]\nsigner = "{here}/alice.key"\n')
    assert call("sign", "m.eml", env=env).status == 0


def keyring_of(monkeypatch: pytest.MonkeyPatch, held: dict[tuple[str, str], str]) -> None:
    module = types.ModuleType("keyring")
    module.get_password = lambda service, name: held.get((service, name))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", module)


def test_a_password_lies_where_readme_says(
    here: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = re.search(r"`keyring set (\S+) (\S+)`", one_line(README))
    assert stored is not None
    service, path = stored.groups()
    assert f"keyring set {service} PATH" in one_line(" ".join(places()))
    assert Path(path).is_absolute()
    keyring_of(monkeypatch, {(service, str((here / Path(path).name).resolve())): PASSWORD})
    assert call("sign", "m.eml", "--signer", Path(path).name).status == 0
    keyring_of(monkeypatch, {(service, Path(path).name): PASSWORD})
    assert call("sign", "m.eml", "--signer", Path(path).name).status == 2


def test_the_password_of_a_token_is_kept_under_its_uri_wherever_one_stands(
    here: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def get_password(service: str, name: str) -> None:
        asked.append((service, name))

    keyring = types.ModuleType("keyring")
    keyring.get_password = get_password  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    uri = "pkcs11:token=none;object=alice?module-path=/nowhere/module.so"
    assert call("sign", "m.eml", "--signer", uri).status != 0
    assert asked == [("smime-graph", uri)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_verbs_and_options(shell: str) -> None:
    wanted = f"_SMIME_GRAPH_COMPLETE={shell}_source"
    short = wanted if shell != "zsh" else "zsh_source"
    assert short in README
    assert short in " ".join(places())
    asked = [sys.executable, "-c", "from smime_graph.cli import main; main()"]
    name, value = wanted.split("=")

    def run(**variables: str) -> str:
        done = subprocess.run(
            asked, env={**os.environ, **variables}, capture_output=True, timeout=60, check=False
        )
        return done.stdout.decode()

    script = run(**{name: value})
    assert f"{name}={shell}_complete" in script.replace(" env ", " ")
    words = {"COMP_WORDS": "smime-graph se", "COMP_CWORD": "se" if shell == "fish" else "1"}
    offered = run(**{name: f"{shell}_complete"}, **words)
    seen = {word for word in re.split(r"[\s,]+", offered) if word.startswith("se")}
    assert {verb for verbs in VERBS.values() for verb in verbs if verb.startswith("se")} <= seen
    words = {
        "COMP_WORDS": "smime-graph seal --recip",
        "COMP_CWORD": "--recip" if shell == "fish" else "2",
    }
    assert "--recipient-password-file" in run(**{name: f"{shell}_complete"}, **words)
