"""Real messages, through everything: sealed, sent, fetched, unsealed, and still what they were.

The comparison is by Python's `email`, which knows nothing of our code: the same tree of parts, the
same octets of every leaf after its transfer encoding is undone (with CRLF for every line end: the
one documented canonicalisation), the same header fields. OpenSSL reads each sealed message too.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.errors import CloseBoundaryNotFoundDefect
from email.header import decode_header
from email.message import Message
from email.utils import collapse_rfc2231_value
from pathlib import Path
from typing import Any

import pytest

from smime_graph import (
    CA,
    EXCHANGE,
    Contact,
    GraphClient,
    GraphRefused,
    Identity,
    MalformedMessage,
    Opened,
    TrustStore,
    decrypt,
    seal,
    unseal,
    verify,
)
from smime_graph.emulator import Emulator

_VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"
_FOLDERS = ("10a_cpython_email", "10b_mimekit_mime", "10d_mailparser")

# Nobody in these messages has a certificate of ours; that a sender is kept from that is shown
# elsewhere.
ANYBODY = EXCHANGE.but("anybody", sender_must_match=False, every_recipient_must_read=False)

# Files that are no mail: encoded pictures, tables of what is in a mailbox file.
NOT_MAIL = re.compile(r"SOURCE\.md|LICENSES/|\.json$|/encoders/|-summary\.txt$")

# What is mail by courtesy only, and what is said of it. A new name here is a regression.
_NO_FIELD = r"header line \d+ is no header field"  # RFC 5322 2.2
_NO_DELIMITER = (
    r"boundary '\w+' of a multipart does not occur in it"  # RFC 2046 5.1.1: at least one
)
_NO_BOUNDARY = r"a multipart/\w+ has no boundary"  # RFC 2046 5.1.1: it must have one
_NO_FIELD_OF_PART = r"the header of a part that is \S+ has a line that is no field"  # RFC 5322 2.2
REFUSED = {
    "10a_cpython_email/msg_17.txt": _NO_DELIMITER,
    "10a_cpython_email/msg_19.txt": _NO_FIELD,  # begins with the text of a digest
    "10a_cpython_email/msg_25.txt": _NO_BOUNDARY,
    "10a_cpython_email/msg_41.txt": _NO_BOUNDARY,
    "10a_cpython_email/msg_35.txt": _NO_FIELD,  # "there's no separator"
    "10b_mimekit_mime/messages/feedback-report.txt": _NO_FIELD,  # a byte order mark before From
    "10b_mimekit_mime/messages/issue358.txt": _NO_FIELD,  # a DKIM signature cut off its fold
    "10b_mimekit_mime/mbox/issue1189.mbox.txt#1": _NO_FIELD_OF_PART,
    "10d_mailparser/eml/malformed/002.eml": _NO_DELIMITER,
    "10d_mailparser/eml/malformed/019.eml": _NO_DELIMITER,
}
# Sealed, but not to be sent: without one Message-ID (RFC 5322 3.6.4) nothing could tell whether it
# was sent after an answer is lost.
UNSENDABLE = {
    "10b_mimekit_mime/mbox/content-length.mbox.txt#17": "Message-ID is malformed",
    "10b_mimekit_mime/mbox/content-length.mbox.txt#3": "Message-ID is malformed",
}


def _files() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for folder in _FOLDERS:
        for path in sorted((_VECTORS / folder).rglob("*")):
            name = path.relative_to(_VECTORS).as_posix()
            if not path.is_file() or NOT_MAIL.search(name):
                continue
            raw = path.read_bytes()
            if "/mbox/" in name:
                pieces = re.split(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\n]*\n", raw)[1:]
                found |= {f"{name}#{number}": piece for number, piece in enumerate(pieces)}
            else:
                found[name] = raw
    return found


MAIL = _files()


class Post:
    """A mailbox on an emulated Graph, and the people who write to each other."""

    def __init__(self, folder: Path) -> None:
        ca = CA(key="p256")
        self.trust = TrustStore.from_pem(ca.trust_pem)
        self.alice: Identity = ca.issue("alice@contoso.com", key="p256")
        self.bob: Identity = ca.issue("bob@contoso.com")
        self.emulator = Emulator(me="alice@contoso.com", open_mailboxes=True)
        self.folder = folder
        self.drafts: list[str] = []
        (folder / "root.pem").write_bytes(ca.trust_pem)
        (folder / "bob.pem").write_bytes(self.bob.to_pem())

    def seal(self, raw: bytes) -> bytes:
        return seal(
            raw, signer=self.alice, recipients=[Contact(self.bob.certificate)], policy=ANYBODY
        )

    def submit(self, sealed: bytes) -> bytes:
        """Send it from its From, or leave it a draft where that cannot be sent; then read it."""
        sender = message_from_bytes(sealed, policy=policy.default)["From"]
        address = sender.addresses[0].addr_spec if sender and sender.addresses else ""
        with self._client(address) as client:
            try:
                ref = client.send(sealed, via="draft")
            except (GraphRefused, MalformedMessage) as error:
                self.drafts.append(str(error))
                ref = client.draft(sealed)
            assert ref.id is not None
            return client.fetch(ref.id)

    def open(self, fetched: bytes, *, is_smime: bool) -> Opened:
        """Take our two layers off; `unseal` goes on where the message itself is S/MIME."""
        if not is_smime:
            return unseal(fetched, identities=[self.bob], trust=self.trust, policy=ANYBODY)
        decrypted = decrypt(fetched, identities=[self.bob], policy=ANYBODY)
        return verify(decrypted.raw, trust=self.trust, policy=ANYBODY)

    def _client(self, address: str) -> GraphClient:
        user = address if re.fullmatch(r"[\w.+-]+@[\w.-]+", address, re.ASCII) else "me"
        return GraphClient(
            "a-token", user=user, transport=self.emulator.transport(), size_limit=None
        )


@pytest.fixture(scope="session")
def post(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    post = Post(tmp_path_factory.mktemp("real-mail"))
    with post.emulator:
        yield post


@pytest.fixture(scope="session")
def counts(summary: list[str], post: Post) -> Iterator[dict[str, list[str]]]:
    counts: dict[str, list[str]] = {"sealed": [], "refused": [], "unsent": [], "openssl": []}
    yield counts
    done = f"{len(counts['sealed'])} of {len(MAIL)} messages sealed and unsealed"
    summary.append(
        f"real mail: {done}, {len(counts['openssl'])} of them read by openssl too; "
        f"{len(counts['refused'])} refused; {len(counts['unsent'])} sealed, but refused to be sent"
    )
    drafts = Counter(re.sub(r" \(request-id .*?\)|: The user.*", "", text) for text in post.drafts)
    summary.extend(f"real mail: {n} left as drafts: {text}" for text, n in drafts.items())
    summary.extend(f"real mail: refused: {line}" for line in counts["refused"])
    summary.extend(f"real mail: not sent: {line}" for line in counts["unsent"])


def _is_smime(raw: bytes) -> bool:
    return any(kind in raw.lower() for kind in (b"pkcs7-mime", b"pkcs7-signature"))


@pytest.mark.parametrize("name", sorted(MAIL))
def test_a_real_message_comes_out_as_it_went_in(
    name: str, post: Post, counts: dict[str, list[str]]
) -> None:
    raw = MAIL[name]
    if name in REFUSED:
        with pytest.raises(MalformedMessage, match=REFUSED[name]) as caught:
            post.seal(raw)
        assert caught.value.hint or "boundary" in str(caught.value)
        counts["refused"].append(f"{name}: {caught.value}")
        return
    sealed = post.seal(raw)
    if name in UNSENDABLE:
        with pytest.raises(MalformedMessage, match=UNSENDABLE[name]) as unsent:
            post.submit(sealed)
        counts["unsent"].append(f"{name}: {unsent.value}")
        fetched = sealed
    else:
        fetched = post.submit(sealed)
    opened = post.open(fetched, is_smime=_is_smime(raw))
    assert opened.signer is not None
    assert opened.signer.email == "alice@contoso.com"
    counts["sealed"].append(name)
    compare(message_from_bytes(raw), message_from_bytes(opened.raw), "message")
    if shutil.which("openssl"):
        assert _opened_by_openssl(sealed, post.folder) == opened.content, "openssl differs"
        counts["openssl"].append(name)


def _opened_by_openssl(sealed: bytes, folder: Path) -> bytes:
    key = ["-recip", "bob.pem", "-inkey", "bob.pem"]
    signed = _run(["openssl", "cms", "-decrypt", "-binary", *key], sealed, folder)
    return _run(["openssl", "cms", "-verify", "-CAfile", "root.pem"], signed, folder)


def _run(command: list[str], data: bytes, folder: Path) -> bytes:
    done = subprocess.run(command, input=data, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout


# --- an independent reading ----------------------------------------------------------------

_OURS = ("message-id", "date", "mime-version")  # added where they are missing


def compare(
    before: Message[Any, Any], after: Message[Any, Any], where: str, *, open_end: bool = False
) -> None:
    """The same fields, the same tree, the same octets in every leaf."""
    old, new = _fields(before), _fields(after)
    added = [name for name, _ in new if name not in {name for name, _ in old}]
    assert set(added) <= set(_OURS), where
    assert [f for f in new if f[0] not in _OURS] == [f for f in old if f[0] not in _OURS], where
    for name in _OURS[:2]:
        if name not in added:
            assert dict(new).get(name) == dict(old).get(name), where
    _compare_descriptions(before, after, where)
    if before.is_multipart():
        parts_before, parts_after = before.get_payload(), after.get_payload()
        assert isinstance(parts_before, list)
        assert isinstance(parts_after, list)
        assert len(parts_before) == len(parts_after), where
        for number, (one, other) in enumerate(zip(parts_before, parts_after, strict=True)):
            # `email` takes the line end from the last part even if no delimiter follows that it
            # belongs to
            ends = number == len(parts_before) - 1 and any(
                isinstance(defect, CloseBoundaryNotFoundDefect) for defect in before.defects
            )
            compare(one, other, f"{where}.{number}", open_end=ends)
    else:
        assert not after.is_multipart(), where
        old_octets, new_octets = _octets(before), _octets(after)
        if open_end:
            old_octets, new_octets = old_octets.rstrip(b"\n"), new_octets.rstrip(b"\n")
        assert new_octets == old_octets, where


def _fields(message: Message[Any, Any]) -> list[tuple[str, str]]:
    return [
        (name.lower(), _text(value))
        for name, value in message.raw_items()
        if not name.lower().startswith("content-")
    ]


def _text(value: Any) -> str:
    """A field's value as people read it: unfolded, encoded-words decoded, blanks as one."""
    text = str(value)
    if "=?" in text:
        words = []
        for word, charset in decode_header(text):
            octets = word if isinstance(word, bytes) else word.encode("utf-8", "surrogateescape")
            words.append(_decoded(octets, charset))
        text = "".join(words)
    else:
        text = _decoded(text.encode("utf-8", "surrogateescape"), None)
    return " ".join(text.replace('"', "").split())


def _decoded(octets: bytes, charset: str | None) -> str:
    try:
        return octets.decode(charset or "utf-8")
    except (LookupError, UnicodeDecodeError):
        return octets.decode("latin-1")


def _compare_descriptions(before: Message[Any, Any], after: Message[Any, Any], where: str) -> None:
    described: tuple[Callable[[Message[Any, Any]], Any], ...] = (
        lambda message: message.get_content_type(),
        lambda message: message.get_param("charset"),
        lambda message: message.get_boundary(),
        lambda message: message.get_content_disposition(),
    )
    for get in described:
        assert get(after) == get(before), where
    old, new = (
        None if name is None else _text(collapse_rfc2231_value(name))
        for name in (before.get_filename(), after.get_filename())
    )
    if old is not None and new is not None and "\ufffd" in old:
        # octets of an unknown charset: `email` shows each as U+FFFD, we say unknown-8bit of them
        old, new = (re.sub(r"[^ -~]+", "?", name) for name in (old, new))
    assert new == old, where


def _octets(message: Message[Any, Any]) -> bytes:
    payload = message.get_payload(decode=True)
    octets = payload if isinstance(payload, bytes) else b""
    encoding = str(message.get("Content-Transfer-Encoding", "7bit")).strip().lower()
    if encoding == "base64":
        return octets
    return re.sub(rb"\r\n|\r|\n", b"\n", octets)


def test_the_comparison_notices_what_is_different() -> None:
    original = b"Subject: a\nContent-Type: text/plain\n\nhello\n"
    for change in (
        b"Subject: b\nContent-Type: text/plain\n\nhello\n",
        b"Subject: a\nContent-Type: text/html\n\nhello\n",
        b"Subject: a\nContent-Type: text/plain\n\nhello!\n",
        b"Subject: a\nX: y\nContent-Type: text/plain\n\nhello\n",
        b"Subject: a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b--\n",
    ):
        with pytest.raises(AssertionError):
            compare(message_from_bytes(original), message_from_bytes(change), "message")
    compare(
        message_from_bytes(original),
        message_from_bytes(original.replace(b"\n", b"\r\n")),
        "message",
    )
