"""Where what came in is put: whole, once, and for its owner alone."""

from __future__ import annotations

import json
import mailbox
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smime_graph import UsageError
from smime_graph.submission.folders import Maildir, RejectedFolder

from .conftest import Watching, mail


def files_in(folder: Path) -> dict[str, int]:
    return {
        str(one.relative_to(folder)): stat.S_IMODE(one.stat().st_mode)
        for one in folder.rglob("*")
        if one.is_file()
    }


def test_what_is_accepted_is_in_the_maildir_as_others_read_it(watching: Watching) -> None:
    watching.put(1, 2)
    target = watching.folder / "deep" / "Maildir"
    assert watching.run(deliver=Maildir(target)).handed == 2
    assert {stat.S_IMODE(one.stat().st_mode) for one in (target, *target.iterdir())} == {0o700}
    assert set(files_in(target).values()) == {0o600}
    assert all(name.startswith("new/") for name in files_in(target))
    box = mailbox.Maildir(target, create=False)
    found = {one["Message-ID"]: one.get_payload().split() for one in box}
    assert found == {f"<{number}@contoso.com>": ["the", "figures"] for number in (1, 2)}
    assert {one["Subject"] for one in box} == {"1", "2"}


def test_what_was_perhaps_put_there_is_not_twice(watching: Watching) -> None:
    watching.put(1)
    watching.run()
    (one,) = watching.taken
    maildir = Maildir(watching.folder / "m")
    maildir(one)
    (first,) = (watching.folder / "m" / "new").iterdir()
    again = replace(one, handed_before="unknown")
    maildir(again)
    read = watching.folder / "m" / "cur" / f"{first.name}:2,S"
    first.rename(read)
    maildir(again)
    assert files_in(watching.folder / "m") == {f"cur/{read.name}": 0o600}
    read.unlink()  # somebody took it away: who is not certain hands it over
    maildir(again)
    maildir(one)
    assert list(files_in(watching.folder / "m")) == [f"new/{first.name}"]


@pytest.mark.parametrize("kind", [Maildir, RejectedFolder])
def test_what_cannot_be_written_is_said_and_leaves_nothing(
    watching: Watching, kind: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    watching.put(1)
    watching.run()
    (one,) = watching.taken
    (watching.folder / "file").write_bytes(b"x")
    for name in ("file", "file/below", "a\0b"):
        with pytest.raises(UsageError):
            kind(watching.folder / name)
    put = kind(watching.folder / "d")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match="No space left"):
            put(one)
    assert not any(name.endswith(".eml") for name in files_in(watching.folder / "d"))
    put(one)


def test_what_is_not_accepted_lies_beside_what_was_found(watching: Watching) -> None:
    watching.box.put(mail(1))
    target = watching.folder / "rejected"
    assert watching.run(rejected=RejectedFolder(target)).rejected == 1
    assert set(files_in(target).values()) == {0o600}
    (message,) = target.glob("*.eml")
    assert message.read_bytes() == watching.box.messages()[0].raw
    found = json.loads(message.with_suffix(".json").read_text())
    assert found["verdict"] == "rejected"
    assert found["internetMessageId"] == "<1@contoso.com>"
    assert message.name.startswith("20261122T120000Z-")


def test_nothing_that_is_not_accepted_gets_into_a_maildir(watching: Watching) -> None:
    watching.box.put(mail(1))
    watching.run()
    with pytest.raises(UsageError, match="not accepted"):
        Maildir(watching.folder / "m")(watching.put_away[0])
