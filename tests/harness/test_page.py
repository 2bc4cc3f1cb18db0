"""The report: whole, escaped, loading nothing, and what a browser makes of it."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import struct
import subprocess
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from smime_graph import CA
from smime_graph.authority.variants import VARIANTS, Variant
from smime_graph.harness.matrix import Cell, Matrix, Pair
from smime_graph.harness.page import page
from smime_graph.harness.peers.peer import OPERATIONS, Operation
from smime_graph.x509.certificate import Certificate
from tests.cli.conftest import Run
from tests.cli.conftest import call as call
from tests.cli.conftest import here as here
from tests.cli.conftest import people as people

AT = datetime(2026, 11, 27, 3, tzinfo=UTC)
SHOWN = ("rsa-2048", "eku-any", "expired", "sha1")
PEERS = ("own 0.1.0", "openssl 3.0.19", "openssl 3.6.5")
# what a certificate, a peer or a catalogue may want to be in a page
HOSTILE = "</pre></style></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e\0"


def variants(*ids: str) -> tuple[Variant, ...]:
    return tuple(one for one in VARIANTS if one.id in ids)


def cells_of(variant: str, peer: str, **other: Cell) -> list[Cell]:
    return [
        other.get(operation.replace("-", "_"))
        or Cell(variant, operation, peer, "-" if operation == "import" else "yes", "", "yes")
        for operation in OPERATIONS
    ]


def explained(variant: str, peer: str, operation: Operation = "verify") -> Cell:
    return Cell(
        variant, operation, peer, "no", "purpose", "yes", "it wants more", ("SBR-7.1.2.3-f2",)
    )


def matrix(*ids: str) -> Matrix:
    """Of the first variant nothing is odd; the second differs and that is explained; the third is
    unexplained, the fourth is not as it was before.
    """
    shown = variants(*(ids or SHOWN))
    cells: list[Cell] = []
    for number, variant in enumerate(shown):
        for peer in PEERS:
            odd: dict[str, Cell] = {}
            if peer == PEERS[1] and number == 1:
                odd["verify"] = explained(variant.id, peer)
            if peer == PEERS[2] and number == 2:
                odd["sign"] = Cell(variant.id, "sign", peer, "yes", "", "no")
            if peer == PEERS[2] and number == 3:
                odd["decrypt"] = Cell(variant.id, "decrypt", peer, "yes", "", "yes", recorded="no")
            cells += cells_of(variant.id, peer, **odd)
    pairs = (
        Pair("rsa-2048", "verify", PEERS[0], PEERS[1], "yes", ""),
        Pair("rsa-2048", "verify", PEERS[1], PEERS[2], "no", "bad signature"),
    )
    return Matrix("corp", AT, shown, tuple(cells), pairs, PEERS, {"nss": "not here"})


@pytest.fixture(scope="module")
def certificates() -> dict[str, Certificate]:
    ca = CA("Test Root", key="p256")
    return {one: ca.issue("alice@contoso.com", key="p256").certificate for one in SHOWN}


class Read(HTMLParser):
    """The page as elements: every tag with its attributes, texts by tag, what is left open."""

    VOID = ("meta", "input", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_everything_of_the_run_is_in_it(certificates: dict[str, Certificate]) -> None:
    read = Read(page(matrix(), certificates))
    assert read.open == []
    assert [one["id"] for one in read.all("article")] == [f"variant-{one}" for one in SHOWN]
    rows = [one for one in read.all("tr") if "data-text" in one]
    assert [one["data-what"] for one in rows] == ["", "differs", "differs open", "differs open"]
    assert [one["data-what"] for one in read.all("article")] == [one["data-what"] for one in rows]
    told = " ".join(" ".join(read.texts[tag]) for tag in ("p", "td", "th", "dd", "pre"))
    for word in (
        *PEERS,
        "not asked: not here",
        "because it wants more",
        "may mean SBR-7.1.2.3-f2",
        "unexplained: without a word",
        "before: no",
        certificates["expired"].sha256,
        "alice@contoso.com",
        "signing: pki.path.expired",
        "SBR-7.1.3.2-2",
        "smime-graph harness issue family --variant 'expired' --at 2026-11-27T03:00:00Z",
        "smime-graph harness run --variant 'sha1' --all --peer own --peer openssl",
        "-----BEGIN CERTIFICATE-----",
        "yes !",
        "no \N{NOT EQUAL TO}",
    ):
        assert word in told, word


def test_tables_have_captions_and_headers_and_everything_that_is_linked_to_is_there(
    certificates: dict[str, Certificate],
) -> None:
    text = page(matrix(), certificates)
    read = Read(text)
    assert len(read.all("caption")) == len(read.all("table")) == 4 + len(SHOWN)
    assert all(one.get("scope") in ("row", "col", "colgroup") for one in read.all("th"))
    ids = [one["id"] for _, one in read.tags if "id" in one]
    assert len(ids) == len(set(ids))
    named = [one[name] for _, one in read.tags for name in ("aria-labelledby",) if name in one]
    links = [one["href"] for one in read.all("a")]
    assert all(one.startswith("#") for one in links)
    assert {one.lstrip("#") for one in (*links, *named)} <= set(ids)
    (html,) = read.all("html")
    assert html["lang"] == "en"
    # what scrolls can be reached and has a name; what is to be filled in has a label
    scrolls = [one for one in read.all("div") if "role" in one]
    assert all(one["tabindex"] == "0" and one["aria-labelledby"] in ids for one in scrolls)
    assert len(read.all("label")) == len(read.all("input")) + len(read.all("select"))


def test_nothing_is_loaded_and_only_its_own_style_and_script_are_allowed(
    certificates: dict[str, Certificate],
) -> None:
    text = page(matrix(), certificates)
    read = Read(text)
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in read.tags}
    assert not re.search(r"url\(|@import|https?://|\bsrc=|fetch\(|XMLHttp", text)
    assert not any(name.startswith("on") or name == "style" for _, one in read.tags for name in one)
    (policy,) = [one["content"] for one in read.all("meta") if "http-equiv" in one]
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    # before anything that it is to hold for
    assert text.index("Content-Security-Policy") < text.index("<style>")


def hostile_matrix() -> tuple[Matrix, dict[str, Certificate]]:
    (row,) = variants("rsa-2048")
    odd = replace(
        row, id=f"x{HOSTILE}", group=HOSTILE, wrong=HOSTILE, rule=HOSTILE, sign=(HOSTILE,)
    )
    cell = Cell(odd.id, "verify", HOSTILE, "no", HOSTILE, "yes", HOSTILE, (HOSTILE,), HOSTILE)
    known = Cell(odd.id, "sign", HOSTILE, "no", HOSTILE, "yes", HOSTILE)
    pairs = (Pair(odd.id, "verify", HOSTILE, HOSTILE, "no", HOSTILE),)
    found = Matrix(HOSTILE, AT, (odd,), (cell, known), pairs, (HOSTILE,), {HOSTILE: HOSTILE})
    name = HOSTILE.replace("\0", "")[:64]
    return found, {odd.id: CA(name, key="p256").issue("a@b.example", name=name).certificate}


def test_whatever_a_certificate_or_a_peer_says_is_text() -> None:
    found, certificates = hostile_matrix()
    text = page(found, certificates)
    read = Read(text)
    assert read.open == []
    assert [tag for tag, _ in read.tags].count("script") == 1
    assert not read.all("img")
    assert not any(name.startswith("on") for _, one in read.tags for name in one)
    assert "\u202e" not in text
    assert "\0" not in text
    assert "alert(1)" in "".join(read.texts["td"])
    # nothing of it is put into a shell either
    assert "alert" not in "".join(one for one in read.texts["pre"] if "smime-graph" in one)


def test_a_variant_whose_certificate_cannot_be_read_or_is_not_given() -> None:
    from smime_graph.authority.family import family

    made = family(when=AT, only="duplicate-extension")
    held = {one.variant.id: one.identity.certificate for one in made}
    found = matrix("duplicate-extension")
    assert "cannot be read: " in page(found, held)
    assert "SHA-256" not in page(found, {})


def test_a_run_writes_it(call: Run, here: Path) -> None:
    words = ("harness", "run", "--peer", "own", "--variant", "eku-s*")
    done = call(*words, "--html", "report.html")
    assert (done.status, done.err) == (0, "")
    assert done.out == call(*words).out
    text = (here / "report.html").read_text("utf-8")
    assert [one["id"] for one in Read(text).all("article")] == ["variant-eku-server"]


# --- in a browser ---------------------------------------------------------------------------------


def browser(*words: str, at: Path) -> subprocess.CompletedProcess[bytes]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if program is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
    profile = f"--user-data-dir={at.parent / 'profile'}"
    return subprocess.run(
        [program, *flags, profile, "--virtual-time-budget=5000", *words],
        capture_output=True,
        timeout=90,
        check=True,
    )


def dom(text: str, folder: Path, *, script: str = "", fragment: str = "") -> str:
    """What becomes of the page where `script` of the test runs in it as well."""
    path = folder / "report.html"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        text = text.replace("; script-src '", f"; script-src 'sha256-{digest}' '", 1)
        text = text.replace("</body>", f"<script>{script}</script></body>")
    path.write_text(text, "utf-8")
    return browser("--dump-dom", f"file://{path}{fragment}", at=path).stdout.decode()


def pixels(png: bytes) -> tuple[int, int, set[bytes]]:
    """Width, height and the colours of a picture, of eight bits each (PNG 11.2, 9.2)."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    size = {2: 3, 6: 4}[kind]
    assert depth == 8
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        data += png[at + 8 : at + 8 + length] if png[at + 4 : at + 8] == b"IDAT" else b""
        at += length + 12
    raw, row, seen = zlib.decompress(data), bytes(width * size), set()
    for line in range(height):
        start = line * (width * size + 1)
        row = unfiltered(raw[start], raw[start + 1 : start + 1 + width * size], row, size)
        seen |= {row[i : i + 3] for i in range(0, len(row), size)}
    return width, height, seen


def unfiltered(kind: int, line: bytes, above: bytes, size: int) -> bytes:
    made = bytearray(line)
    for i, value in enumerate(line):
        left = made[i - size] if i >= size else 0
        corner = above[i - size] if i >= size else 0
        up = above[i]
        guess = (0, left, up, (left + up) // 2)[kind] if kind < 4 else paeth(left, up, corner)
        made[i] = (value + guess) & 0xFF
    return bytes(made)


def paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    return min((left, up, corner), key=lambda one: abs(estimate - one))


@pytest.mark.slow
def test_a_browser_shows_it(certificates: dict[str, Certificate], tmp_path: Path) -> None:
    path, picture = tmp_path / "report.html", tmp_path / "report.png"
    path.write_text(page(matrix(), certificates), "utf-8")
    browser("--window-size=900,700", f"--screenshot={picture}", f"file://{path}", at=path)
    width, height, colours = pixels(picture.read_bytes())
    assert (width, height) == (900, 700)
    # the style is allowed: what is good, what is known, what is not
    wanted = {bytes.fromhex(one) for one in ("dafbe1", "fff1c2", "ffcecb", "a40e26")}
    assert wanted <= colours


@pytest.mark.slow
def test_the_filter_filters_and_without_it_everything_is_there(
    certificates: dict[str, Certificate], tmp_path: Path
) -> None:
    text = page(matrix(), certificates)
    plain = Read(dom(text.replace("<script>", "<script type=none>"), tmp_path))
    assert not any("hidden" in one for one in plain.all("article"))
    (form,) = plain.all("form")
    assert "hidden" in form

    def shown(**fields: str) -> tuple[list[str], str]:
        filled = "".join(f"form.elements.{name}.value={value!r};" for name, value in fields.items())
        read = Read(dom(text, tmp_path, script=f"{filled}form.dispatchEvent(new Event('input'));"))
        (form,) = read.all("form")
        assert "hidden" not in form
        articles = [one["id"] for one in read.all("article") if "hidden" not in one]
        rows = [one for one in read.all("tr") if "data-text" in one and "hidden" not in one]
        assert len(rows) == len(articles)
        return articles, next(one for one in read.texts["p"] if "variants shown" in one)

    assert shown(word="EXPIRED ") == (["variant-expired"], "1 of 4 variants shown")
    assert shown(what="open")[0] == ["variant-expired", "variant-sha1"]
    assert shown(what="differs", group="purpose")[0] == ["variant-eku-any"]


@pytest.mark.slow
def test_a_hostile_text_runs_nowhere(tmp_path: Path) -> None:
    found, certificates = hostile_matrix()
    read = Read(dom(page(found, certificates), tmp_path))
    assert len(read.all("script")) == 1
    assert not read.all("img")
    assert "1 of 1 variants shown" in read.texts["p"]
    # even one that got in by a fault of ours is not run
    inside = page(found, certificates).replace(
        "<main>", "<main><script>document.title='ran'</script>"
    )
    assert Read(dom(inside, tmp_path)).texts["title"] != ["ran"]
