"""The file of those who may sign in."""

from __future__ import annotations

import pytest

from smime_graph import UsageError
from smime_graph.gateway import users
from smime_graph.gateway.users import Users, hashed
from smime_graph.pki.address import mailboxes

SALT = bytes(16)
LINE = f"printer:{SALT.hex()}:{hashed(b'secret', SALT).hex()}"


def test_a_name_and_its_password_are_a_user() -> None:
    found = Users(
        f"# printers\n\n{LINE}\n{LINE}:a@b.de,C@b.de\n".replace("er:", "er2:", 1), name="f"
    )
    one = found.verify(b"printer2", b"secret")
    assert one is not None
    assert one.senders is None
    other = found.verify(b"printer", b"secret")
    assert other is not None
    assert other.senders == mailboxes(("a@b.de", "c@b.de"))
    for name, password in ((b"printer", b"Secret"), (b"\xff", b"secret"), (b"", b""), (b"f", b"")):
        assert found.verify(name, password) is None


def test_a_name_that_is_not_known_costs_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(password: bytes, salt: bytes) -> bytes:
        made.append(password)
        return hashed(password, salt)

    monkeypatch.setattr(users, "hashed", counted)
    found = Users(LINE, name="f")
    for name in (b"printer", b"nobody"):
        found.verify(name, b"x")
    assert len(made) == 2


@pytest.mark.parametrize(
    "line",
    ["", "#", "printer", "printer:secret", "printer:00:11", f"{LINE}:", f"{LINE}:x", LINE + "0"]
    + [f":{LINE}", f"a b{LINE}", LINE[:-2]],
)
def test_a_line_that_is_none_is_named_and_not_shown(line: str) -> None:
    with pytest.raises(UsageError, match=r"users") as caught:
        Users(line, name="users")
    assert "secret" not in str(caught.value)
    assert SALT.hex() not in str(caught.value)
