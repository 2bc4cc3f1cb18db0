"""The report that one likes to look at: a run of the matrix as one HTML file.

Everything in it is escaped, it loads nothing, and its Content-Security-Policy allows its own style
and its own script by their digests and nothing else. Without the script, which filters, everything
is there. A verdict is a word and a mark; colour only repeats them.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from urllib.parse import quote

from ..authority.variants import Variant
from ..errors import SmimeGraphError
from ..pki.address import addresses
from ..pki.keyfiles.read import armour
from ..text import printable
from ..x509.certificate import Certificate
from .matrix import Cell, Matrix, Pair
from .peers.peer import OPERATIONS, Operation

_OPERATIONS: Mapping[Operation, str] = {
    "import": "read its PKCS#12",
    "validate-sign": "validate it for signatures",
    "validate-encrypt": "validate it for encryption",
    "sign": "sign with it",
    "verify": "verify what it signed",
    "encrypt": "encrypt to it",
    "decrypt": "decrypt with it",
}
_WORDS = {"yes": "yes", "no": "no", "-": "\N{EN DASH}"}
_LONGEST = 400  # characters of a peer's words
_LONGEST_FIELD = 2000  # and of what a certificate says of itself


def page(found: Matrix, certificates: Mapping[str, Certificate]) -> str:
    """The HTML of a run; `certificates` has that of each variant by its id."""
    css, js = (
        files(__package__).joinpath(f"page.{kind}").read_text("utf-8") for kind in ("css", "js")
    )
    policy = (
        f"default-src 'none'; style-src '{_digest(css)}'; script-src '{_digest(js)}';"
        " base-uri 'none'; form-action 'none'"
    )
    title = f"What mail software makes of {_text(found.family)}"
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{title}</title>",
        f"<style>{css}</style>",
        "</head>",
        "<body>",
        '<a class="skip" href="#variants">Go to the variants</a>',
        "<main>",
        f"<h1>{title}</h1>",
        *_summary(found),
        *_filter(found),
        *_grid(found),
        *_differences(found),
        *_pairs(found),
        '<h2 id="variants">Variants</h2>',
        *_variants(found, certificates),
        "</main>",
        f"<script>{js}</script>",
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


def _digest(text: str) -> str:
    """As CSP Level 3 2.3.1 has it: of what stands between the tags."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _text(text: str, longest: int = _LONGEST) -> str:
    """For between tags and in quotes: nothing in it ends either, steers, or turns the direction."""
    short = text if len(text) <= longest else f"{text[:longest]}..."
    return escape(printable(re.sub(r"\s+", " ", short)), quote=True)


def _anchor(variant: str) -> str:
    return "variant-" + re.sub(r"[^A-Za-z0-9.-]", "_", variant)


def _link(variant: str) -> str:
    return f'<a href="#{quote(_anchor(variant))}">{_text(variant)}</a>'


def _time(moment: datetime | None) -> str:
    if moment is None:
        return "unknown"
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


# --- above the grid -------------------------------------------------------------------------------


def _summary(found: Matrix) -> Iterator[str]:
    different, unexplained = len(found.differences), len(found.unexplained)
    yield (
        f"<p>{len(found.variants)} variants of a certificate for mail, judged on"
        f" {_time(found.at)} by {len(found.peers)} implementations: <strong>{different}</strong>"
        f" answers differ from what the standards say, <strong>{unexplained}</strong> of them"
        " without a known reason.</p>"
    )
    yield "<table><caption>Who was asked</caption>"
    yield (
        '<thead><tr><th scope="col">peer</th><th scope="col">asked</th>'
        '<th scope="col">as the standards</th><th scope="col">explained</th>'
        '<th scope="col">unexplained</th></tr></thead><tbody>'
    )
    for peer in found.peers:
        asked = [one for one in found.cells if one.peer == peer and one.observed != "-"]
        differ = [one for one in asked if one.is_difference]
        open_ = sum(one.is_unexplained for one in differ)
        counts = (len(asked), len(asked) - len(differ), len(differ) - open_, open_)
        cells = "".join(f"<td>{count}</td>" for count in counts)
        yield f'<tr><th scope="row">{_text(peer)}</th>{cells}</tr>'
    for name, why in found.skipped.items():
        yield (
            f'<tr><th scope="row">{_text(name)}</th>'
            f'<td colspan="4">not asked: {_text(why)}</td></tr>'
        )
    yield "</tbody></table>"
    yield (
        '<p class="legend"><span class="yes">yes</span><span class="no">no</span>'
        "<span>\N{EN DASH} no such operation</span>"
        '<span class="known">yes \N{NOT EQUAL TO} not what the standards say, and it is known'
        ' why</span><span class="open">no ! and nobody knows why, or not as before</span></p>'
    )


def _filter(found: Matrix) -> Iterator[str]:
    groups = dict.fromkeys(one.group for one in found.variants)
    options = "".join(f'<option value="{_text(one)}">{_text(one)}</option>' for one in groups)
    yield (
        '<form id="filter" hidden role="search" aria-label="Filter variants">'
        '<label>Text <input name="word" type="search" autocomplete="off"></label>'
        f'<label>Group <select name="group"><option value="">all</option>{options}</select></label>'
        '<label>Show <select name="what"><option value="">everything</option>'
        '<option value="differs">where a peer differs</option>'
        '<option value="open">what is unexplained</option></select></label>'
        '<p id="count" role="status" aria-live="polite"></p></form>'
    )


def _kept(variant: Variant, cells: Iterable[Cell]) -> str:
    """The attributes that the filter goes by."""
    differ = [one for one in cells if one.is_difference]
    what = ["differs"] * bool(differ) + ["open"] * any(one.is_unexplained for one in differ)
    about = " ".join((variant.id, variant.wrong, variant.rule)).lower()
    return (
        f'data-text="{_text(about)}" data-group="{_text(variant.group)}"'
        f' data-what="{" ".join(what)}"'
    )


# --- the grid -------------------------------------------------------------------------------------


def _by_variant(found: Matrix) -> dict[str, dict[tuple[str, Operation], Cell]]:
    rows: dict[str, dict[tuple[str, Operation], Cell]] = {one.id: {} for one in found.variants}
    for cell in found.cells:
        rows.setdefault(cell.variant, {})[cell.peer, cell.operation] = cell
    return rows


def _mark(one: Cell | Pair) -> tuple[str, str]:
    """The class and the text of a verdict."""
    word = _WORDS[one.observed]
    if one.is_unexplained:
        return "open", f'{word} !<span class="vh"> unexplained</span>'
    if one.is_difference:
        return "known", f'{word} \N{NOT EQUAL TO}<span class="vh"> differs, explained</span>'
    return {"yes": "yes", "no": "no", "-": "none"}[one.observed], word


def _grid(found: Matrix) -> Iterator[str]:
    yield '<h2 id="grid">Matrix</h2>'
    # a region that scrolls has to be reached by the keyboard
    yield '<div class="scroll" role="region" aria-labelledby="grid" tabindex="0">'
    yield '<table class="grid"><caption>Each variant, each operation, each peer</caption>'
    yield '<thead><tr><th scope="col" rowspan="2">variant</th>'
    for peer in found.peers:
        yield f'<th scope="colgroup" class="last" colspan="{len(OPERATIONS)}">{_text(peer)}</th>'
    yield "</tr><tr>"
    for _ in found.peers:
        for operation in OPERATIONS:
            edge = ' class="last"' if operation == OPERATIONS[-1] else ""
            yield f'<th scope="col"{edge}><span>{operation}</span></th>'
    yield "</tr></thead><tbody>"
    rows = _by_variant(found)
    for variant in found.variants:
        known = rows[variant.id]
        cells = "".join(_grid_cells(known, peer) for peer in found.peers)
        yield (
            f"<tr {_kept(variant, known.values())}>"
            f'<th scope="row">{_link(variant.id)}</th>{cells}</tr>'
        )
    yield "</tbody></table></div>"


def _grid_cells(known: Mapping[tuple[str, Operation], Cell], peer: str) -> str:
    made = []
    for operation in OPERATIONS:
        cell = known.get((peer, operation))
        kind, text = ("none", "") if cell is None else _mark(cell)
        edge = " last" if operation == OPERATIONS[-1] else ""
        made.append(f'<td class="{kind}{edge}">{text}</td>')
    return "".join(made)


# --- what differs ---------------------------------------------------------------------------------


def _grouped(
    found: Iterable[Cell | Pair], key: Callable[[Cell | Pair], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Cell | Pair]]:
    groups: dict[tuple[str, ...], list[Cell | Pair]] = {}
    for one in found:
        groups.setdefault(key(one), []).append(one)
    return groups


def _differences(found: Matrix) -> Iterator[str]:
    """By peer, those of one reason together; what is unexplained first."""
    yield '<h2 id="differences">Differences, and why</h2>'
    if not found.differences:
        yield "<p>There are none.</p>"
        return
    yield '<div class="scroll" role="region" aria-labelledby="differences" tabindex="0"><table>'
    yield "<caption>Those of one peer and one reason together</caption>"
    yield (
        '<thead><tr><th scope="col">peer</th><th scope="col">answer</th>'
        '<th scope="col">why</th><th scope="col">where</th></tr></thead><tbody>'
    )

    def key(one: Cell | Pair) -> tuple[str, ...]:
        before = one.recorded if isinstance(one, Cell) and one.is_changed else ""
        peer = one.peer if isinstance(one, Cell) else one.reader
        why = "" if one.is_unexplained else one.reason
        return peer, one.observed, one.expected, why, before, "" if why else one.detail

    groups = _grouped(found.differences, key)
    for (peer, _, wanted, why, before, said), ones in sorted(
        groups.items(), key=lambda item: (item[0][3] != "", item[0])
    ):
        kind, text = _mark(ones[0])
        reason = _text(why) or f"<strong>unexplained</strong>: {_text(said) or 'without a word'}"
        if before:
            reason += f" (before: {_text(before)})"
        where = _grouped(ones, lambda one: (_what(one),))
        places = "; ".join(
            f"{_text(what)}: " + ", ".join(_link(one.variant) for one in those)
            for (what,), those in where.items()
        )
        yield (
            f'<tr><th scope="row">{_text(peer)}</th><td class="answer {kind}">{text},'
            f' wanted {_text(_WORDS.get(wanted, wanted))}</td><td class="why">{reason}</td>'
            f"<td>{places}</td></tr>"
        )
    yield "</tbody></table></div>"


def _what(one: Cell | Pair) -> str:
    return one.operation if isinstance(one, Cell) else f"{one.operation} what {one.maker} made"


def _pairs(found: Matrix) -> Iterator[str]:
    """Who reads what whom has made."""
    if not found.pairs:
        return
    made: dict[tuple[str, str], list[Pair]] = {}
    for one in found.pairs:
        made.setdefault((one.maker, one.reader), []).append(one)
    yield '<h2 id="pairs">Made by one, read by another</h2>'
    yield '<div class="scroll" role="region" aria-labelledby="pairs" tabindex="0"><table>'
    yield "<caption>Of the messages of the peer in the row, those that the column read</caption>"
    heads = "".join(f'<th scope="col">{_text(peer)}</th>' for peer in found.peers)
    yield f'<thead><tr><th scope="col">made by</th>{heads}</tr></thead><tbody>'
    for maker in found.peers:
        cells = []
        for reader in found.peers:
            ones = made.get((maker, reader), [])
            good = sum(one.observed == "yes" for one in ones)
            kind = "yes" if good == len(ones) else "known"
            kind = "open" if any(one.is_unexplained for one in ones) else kind
            cells.append(f'<td class="{kind}">{good} of {len(ones)}</td>' if ones else "<td></td>")
        yield f'<tr><th scope="row">{_text(maker)}</th>{"".join(cells)}</tr>'
    yield "</tbody></table></div>"


# --- one variant ----------------------------------------------------------------------------------


def _variants(found: Matrix, certificates: Mapping[str, Certificate]) -> Iterator[str]:
    rows = _by_variant(found)
    for variant in found.variants:
        known = rows[variant.id]
        anchor = _anchor(variant.id)
        yield (
            f'<article id="{anchor}" aria-labelledby="{anchor}-name"'
            f" {_kept(variant, known.values())}>"
        )
        yield f'<h3 id="{anchor}-name">{_text(variant.id)}</h3>'
        yield f"<p>{_text(variant.wrong)}</p>"
        facts = {
            "rule": "none is broken" if variant.rule == "-" else variant.rule,
            "findings to expect": _expected(variant),
            "key": variant.recipe.key,
            **_facts(certificates.get(variant.id)),
        }
        yield "<dl>"
        for name, value in facts.items():
            yield f"<dt>{name}</dt><dd>{_text(value, _LONGEST_FIELD)}</dd>"
        yield "</dl>"
        yield from _answers(found.peers, known, variant)
        if (certificate := certificates.get(variant.id)) is not None:
            lines = armour(certificate).decode()
            yield f"<details><summary>Certificate</summary><pre>{escape(lines)}</pre></details>"
        yield "<details><summary>To repeat it</summary><pre>"
        yield escape("\n".join(_commands(found, variant)))
        yield "</pre></details>"
        yield '<p><a href="#grid">Back to the matrix</a></p></article>'


def _expected(variant: Variant) -> str:
    parts = (("signing", variant.sign), ("encrypting", variant.encrypt))
    told = [f"{use}: {', '.join(codes)}" for use, codes in parts if codes]
    told += [f"with its CRLs: {', '.join(variant.revocation)}"] if variant.revocation else []
    return "; ".join(told) or "none"


def _facts(certificate: Certificate | None) -> dict[str, str]:
    """What the certificate says of itself, as far as it can be read."""
    if certificate is None:
        return {}
    made: dict[str, str] = {"SHA-256": certificate.sha256}
    readers: tuple[tuple[str, Callable[[], str]], ...] = (
        ("subject", lambda: certificate.subject_text),
        ("issuer", lambda: certificate.issuer_text),
        ("serial number", lambda: certificate.serial_text),
        (
            "valid",
            lambda: f"{_time(certificate.not_before)} to {_time(certificate.not_after)}",
        ),
        ("extensions", lambda: _extensions(certificate)),
        ("addresses", lambda: ", ".join(addresses(certificate)) or "none"),
    )
    for name, read in readers:
        try:
            made[name] = read()
        except (SmimeGraphError, ValueError) as error:
            made[name] = f"cannot be read: {error}"
    return made


def _extensions(certificate: Certificate) -> str:
    return ", ".join(
        getattr(one.oid, "_name", one.oid.dotted_string) + " (critical)" * one.critical
        for one in certificate.extensions
    )


def _answers(
    peers: Sequence[str], known: Mapping[tuple[str, Operation], Cell], variant: Variant
) -> Iterator[str]:
    yield '<div class="scroll"><table>'
    yield f'<caption class="vh">What each peer does with {_text(variant.id)}</caption>'
    heads = "".join(f'<th scope="col">{_text(peer)}</th>' for peer in peers)
    yield (
        '<thead><tr><th scope="col">operation</th><th scope="col">the standards</th>'
        f"{heads}</tr></thead><tbody>"
    )
    for operation in OPERATIONS:
        cells = [known.get((peer, operation)) for peer in peers]
        wanted = next((_WORDS[one.expected] for one in cells if one is not None), "")
        row = "".join(_answer(one) for one in cells)
        yield (f'<tr><th scope="row">{_OPERATIONS[operation]}</th><td>{wanted}</td>{row}</tr>')
    yield "</tbody></table></div>"


def _answer(cell: Cell | None) -> str:
    if cell is None:
        return "<td></td>"
    kind, text = _mark(cell)
    more = [cell.detail] if cell.detail else []
    more += [f"may mean {', '.join(cell.rules)}"] if cell.rules else []
    more += [f"because {cell.reason}"] if cell.reason and not cell.is_unexplained else []
    more += [f"before: {cell.recorded}"] if cell.is_changed else []
    details = "".join(f'<span class="detail">{_text(one)}</span>' for one in more)
    return f'<td class="{kind}">{text}{details}</td>'


def _commands(found: Matrix, variant: Variant) -> Iterator[str]:
    """For a shell; nothing in an id has to be quoted, and one that has is left out."""
    name = variant.id if re.fullmatch(r"[A-Za-z0-9.-]+", variant.id) else "*"
    moment = f"{found.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    yield f"smime-graph harness issue family --variant '{name}' --at {moment}"
    yield f"openssl x509 -in 'family/{name}.pem' -noout -text"
    asked = dict.fromkeys(peer.partition(" ")[0] for peer in found.peers)
    peers = "".join(f" --peer {one}" for one in asked if re.fullmatch(r"[a-z]+", one))
    yield f"smime-graph harness run --variant '{name}' --all{peers}"
