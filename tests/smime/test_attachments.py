"""Files that came with a message: which they are, what they are called, where they go."""

from __future__ import annotations

import os
import stat
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smime_graph import (
    CA,
    Attachment,
    MalformedMessage,
    Opened,
    ReceiptRequest,
    SmimeGraphError,
    UsageError,
    decrypt,
    encrypt,
    receipt,
    seal,
    sign,
    unseal,
    verify,
)
from smime_graph.smime import attachments
from smime_graph.smime.attachments import safe_name
from smime_graph.smime.report import MessageReport
from tests.conftest import NOW

FOLDERS = [
    "../../etc/passwd",
    "..\\..\\evil.bat",
    "/etc/cron.d/job",
    "C:\\Windows\\x.dll",
    "a/b/c.txt",
]
ODD = [
    *FOLDERS,
    *("", ".", "..", "...", "/", "\\", ".bashrc", " . ", "~", "-rf", "--output=x"),
    *("CON", "con.txt", "nul", "LPT1.pdf", "com\u00b9", "AUX .txt", "prn.", "CONIN$", "aux.tar.gz"),
    *(
        "invoice.pdf:stream",
        "a\0b.txt",
        "a\r\nb",
        "cod\u202efdp.exe",
        "x\u200by",
        "\ud800",
        "e\u0301",
    ),
    *(
        "x" * 5000,
        "x" * 5000 + ".pdf",
        "a." + "y" * 5000,
        "\u20ac" * 300 + ".txt",
        "dots....",
        "sp   ",
    ),
    *("<script>.html", 'q"uote|pipe?.txt*', "=?utf-8?b?Li4vZXZpbA==?="),
]


def _is_fit(name: str) -> None:
    assert name not in ("", ".", "..")
    assert len(name.encode()) <= 151
    assert name.isprintable()
    assert not set(name) & set('/\\<>:"|?*')
    assert name[0] not in ". -"
    assert name[-1] not in ". "
    assert name.split(".")[0].strip().upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1"}
    assert Path(name).name == name


@pytest.mark.parametrize("name", ODD)
def test_a_name_becomes_that_of_one_harmless_file(name: str, tmp_path: Path) -> None:
    _is_fit(safe_name(name))
    [path] = attachments.save([Attachment(name, data=b"x")], tmp_path / "inner" / "folder")
    assert path.parent == tmp_path / "inner" / "folder"
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [path]


@given(st.text(max_size=400))
def test_any_name_does(name: str) -> None:
    _is_fit(safe_name(name))
    assert safe_name(safe_name(name)) == safe_name(name)


def test_an_ordinary_name_stays() -> None:
    for name in ("plan.pdf", "Bericht Q3 (neu).docx", "\u00fcbersicht.tar.gz", "a", "v1.2"):
        assert safe_name(name) == name
    assert safe_name("a/b/plan.pdf") == "plan.pdf"
    assert safe_name("cod\u202efdp.exe") == "cod_fdp.exe"
    assert safe_name("x" * 5000 + ".pdf").endswith("x.pdf")


# --- which parts are files ------------------------------------------------------------------------


def _data(name: str) -> bytes:
    return name.encode() + b"\0\xff"


def _mail(*names: str) -> EmailMessage:
    made = EmailMessage(policy=SMTP)
    made["From"], made["To"], made["Subject"] = "alice@contoso.com", "bob@contoso.com", "files"
    made.set_content("the figures are attached")
    for name in names:
        made.add_attachment(
            name.encode() + b"\0\xff", maintype="application", subtype="pdf", filename=name
        )
    return made


class _People:
    def __init__(self) -> None:
        self.ca = CA("Test Root", key="p256", at=NOW)
        self.alice = self.ca.issue("alice@contoso.com", key="p256", at=NOW)
        self.bob = self.ca.issue("bob@contoso.com", key="p256", at=NOW)

    def opened(self, message: EmailMessage | bytes) -> Opened:
        sealed = seal(message, signer=self.alice, recipients=[self.bob.contact], at=NOW)
        return unseal(sealed, identities=[self.bob], trust=self.ca.trust, at=NOW)


@pytest.fixture(scope="module")
def people() -> _People:
    return _People()


def test_files_are_saved_as_they_were_attached(people: _People, tmp_path: Path) -> None:
    opened = people.opened(_mail("plan.pdf", "\u00fcbersicht \u20ac.pdf", "plan.pdf", "PLAN.pdf"))
    names = ["plan.pdf", "\u00fcbersicht \u20ac.pdf", "plan.pdf", "PLAN.pdf"]
    assert [one.name for one in opened.attachments] == names
    assert [one.content_type for one in opened.attachments] == ["application/pdf"] * 4
    (tmp_path / "plan.pdf").write_bytes(b"mine")
    (tmp_path / "plan (1).pdf").symlink_to(tmp_path / "nowhere")
    saved = opened.save_attachments(tmp_path)
    assert [one.name for one in saved[:3]] == ["plan (2).pdf", names[1], "plan (3).pdf"]
    assert [path.read_bytes() for path in saved] == [_data(name) for name in names]
    assert {stat.S_IMODE(path.stat().st_mode) for path in saved} == {0o600}
    assert (tmp_path / "plan.pdf").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()
    assert len(list(tmp_path.iterdir())) == 2 + len(saved)  # and nothing is left beside them


def test_all_are_saved_or_none(
    people: _People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = people.opened(_mail("one", "two", "three"))
    written: list[Path] = []

    def full(path: Path, data: bytes, *, mode: int, replace: bool) -> None:
        if written:
            raise OSError(28, os.strerror(28))
        written.append(path)
        path.write_bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr(attachments, "write", full)
        with pytest.raises(UsageError, match="No space left"):
            opened.save_attachments(tmp_path)
    assert written
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "inner", "nul\0", "x" * 5000):
        with pytest.raises(UsageError, match="cannot be written"):
            opened.save_attachments(folder)
    with pytest.raises(UsageError):
        opened.save_attachments(None)  # type: ignore[arg-type]


def test_the_text_of_the_message_is_no_file(people: _People) -> None:
    made = _mail()
    made.add_alternative("<p>the figures</p>", subtype="html")
    assert people.opened(made).attachments == ()
    made.add_attachment("a,b", subtype="csv", filename="t.csv")
    made.add_attachment("note", disposition="attachment")
    assert [one.name for one in people.opened(made).attachments] == ["t.csv", "attachment"]
    head = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\n"
    whole = head + b"Content-Type: application/pdf\r\n\r\n%PDF\r\n"
    assert [one.data for one in people.opened(whole).attachments] == [b"%PDF\r\n"]


def test_an_attached_message_is_one_file(people: _People, tmp_path: Path) -> None:
    inner = _mail("inside.pdf")
    outer = _mail("outside.pdf")
    outer.add_attachment(inner)
    opened = people.opened(outer)
    assert [one.name for one in opened.attachments] == ["outside.pdf", "message.eml"]
    saved = opened.save_attachments(tmp_path)
    assert saved[1].read_bytes() in opened.content
    assert b"inside.pdf" in saved[1].read_bytes()


def test_what_stands_outside_the_signature_is_not_saved(people: _People) -> None:
    """Neither a field of the header, nor a part beside the layer that was opened."""
    signed = sign(_mail("signed.pdf"), signer=people.alice, at=NOW)
    _, _, entity = signed.partition(b"MIME-Version: 1.0\r\n")
    head = b"From: alice@contoso.com\r\nMIME-Version: 1.0\r\n"
    beside = b"Content-Type: application/pdf; name=beside.pdf\r\n\r\nx"
    mixed = b"".join(
        [head, b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"]
        + [entity, b"\r\n--b\r\n", beside, b"\r\n--b--\r\n"]
    )
    opened = verify(mixed, trust=people.ca.trust, at=NOW, part="1.1")
    assert [one.name for one in opened.attachments] == ["signed.pdf"]
    named = b"Content-Disposition: attachment; filename=header.pdf\r\n" + signed
    assert [one.name for one in verify(named, trust=people.ca.trust, at=NOW).attachments] == [
        "signed.pdf"
    ]


def test_a_receipt_has_no_attachments(people: _People) -> None:
    asked = sign(
        _mail(), signer=people.alice, at=NOW, receipt_request=ReceiptRequest(("alice@contoso.com",))
    )
    made = receipt(verify(asked, trust=people.ca.trust, at=NOW), signer=people.bob, at=NOW)
    assert made is not None
    opened = verify(made, trust=people.ca.trust, at=NOW)
    with pytest.raises(MalformedMessage, match="a receipt is no mail"):
        _ = opened.attachments


def test_behind_decrypt_the_report_says_that_nobody_vouches(people: _People) -> None:
    made = encrypt(_mail("plan.pdf"), recipients=[people.bob.contact], at=NOW)
    opened = decrypt(made, identities=[people.bob])
    assert [one.name for one in opened.attachments] == ["plan.pdf"]
    assert opened.report.verdict == "not judged"


def _of(content: bytes) -> Opened:
    return Opened(content, b"", MessageReport())


def test_more_files_than_people_attach_are_refused() -> None:
    part = b"--b\r\nContent-Type: image/png\r\n\r\n\r\n"
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    assert len(_of(head + part * 1000 + b"--b--").attachments) == 1000
    with pytest.raises(MalformedMessage, match="more than 1000"):
        _ = _of(head + part * 1001 + b"--b--").attachments
    deep = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(200)
    )
    with pytest.raises(MalformedMessage, match="nested more than 40"):
        _ = _of(deep).attachments


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"Content-Type: multipart/mixed; boundary=b\n\n--b\n"]),
)
def test_any_content_gives_files_or_an_error_of_ours(content: bytes, before: bytes) -> None:
    try:
        found = _of(before + content).attachments
    except SmimeGraphError:
        return
    for one in found:
        _is_fit(one.name)
