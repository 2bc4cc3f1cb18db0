"""The table as text, and as a picture for README."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from .measure import Row, Spread

_COLOURS = {
    "pyca": "#b8860b",
    "openssl": "#a33",
    "bouncy castle": "#3a3",
    "gpgsm": "#83a",
}
_LEFT, _WIDTH, _LINE = 330, 560, 22
_DECADES = (-1, 4)  # the axis, a tenth to ten thousand


def facts(name: str, row: Row, spreads: Mapping[str, Spread]) -> dict[str, Any]:
    """What is kept of a row, in microseconds and octets."""
    ours, other = spreads["ours"], spreads.get(row.beside)
    found: dict[str, Any] = {
        "name": name,
        "beside": row.beside,
        "wanted": {"ratio": row.ratio, "own_us": row.own, "peak_mb": row.peak},
        "contestants": {
            whose: {
                "median_us": round(one.median * 1e6, 2),
                "quartiles_us": [round(one.low * 1e6, 2), round(one.high * 1e6, 2)],
                **({"peak_octets": one.peak} if one.peak else {}),
            }
            for whose, one in spreads.items()
        },
    }
    own = ours.median - (other.median if other else 0)
    found["own_us"] = round(own * 1e6, 2)
    if other:
        found["ratio"] = round(ours.median / other.median, 3)
    return found


def meets(found: Mapping[str, Any]) -> bool | None:
    """Whether a row is within all its bounds; None where it has none."""
    wanted, peak = found["wanted"], found["contestants"]["ours"].get("peak_octets", 0) / 1e6
    pairs = (
        (found.get("ratio"), wanted["ratio"]),
        (found["own_us"], wanted["own_us"]),
        (peak, wanted["peak_mb"]),
    )
    asked = [value <= bound for value, bound in pairs if bound is not None]
    return all(asked) if asked else None


def table(rows: list[dict[str, Any]]) -> str:
    return "\n".join(_lines(rows))


def _lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield (
        f"{'CPU in microseconds, medians (quartiles)':52}{'ours':>24}{'beside':>12}{'own':>12}"
        f"{'ratio':>8}{'wanted':>8}  the others"
    )
    for row in rows:
        contestants = dict(row["contestants"])
        ours, other = contestants.pop("ours"), contestants.pop(row["beside"], None)
        low, high = ours["quartiles_us"]
        measured = f"{ours['median_us']:,.0f} ({low:,.0f}-{high:,.0f})"
        beside = f"{other['median_us']:,.0f}" if other else ""
        ratio = f"{row['ratio']:.2f}" if other else ""
        wanted = row["wanted"]["ratio"] or ""
        mark = {True: "", False: " !", None: ""}[meets(row)]
        rest = [f"{name} {one['median_us']:,.0f}" for name, one in contestants.items()]
        for whose, one in (("peak", ours), ("theirs", other or {})):
            if "peak_octets" in one:
                rest.append(f"{whose} {one['peak_octets'] / 1e6:,.0f} MB")
        yield (
            f"{row['name']:52}{measured:>24}{beside:>12}{row['own_us']:>12,.0f}{ratio:>8}"
            f"{wanted:>6}{mark:2}  {', '.join(rest)}"
        )


def _x(ratio: float) -> float:
    low, high = _DECADES
    place = (math.log10(max(ratio, 10.0**low)) - low) / (high - low)
    return _LEFT + _WIDTH * min(place, 1.0)


def picture(rows: list[dict[str, Any]], machine: str) -> str:
    """An SVG: for each row a bar from 1 to our ratio, a line at the bound, a dot for each peer."""
    drawn = [row for row in rows if "ratio" in row]
    height = 60 + _LINE * len(drawn) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 70} {height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        '<text x="8" y="18" font-size="14">CPU time, as a multiple of the primitives alone '
        "(large files: of openssl)</text>",
        *_legend(),
    ]
    for decade in range(_DECADES[0], _DECADES[1] + 1):
        x = _x(10.0**decade)
        parts.append(f'<path d="M{x:.1f} 50V{height - 30}" stroke="#ccc"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{height - 14}" text-anchor="middle">{10.0**decade:g}</text>'
        )
    for number, row in enumerate(drawn):
        parts += _bar(row, 56 + _LINE * number)
    parts.append(f'<text x="8" y="{height - 2}" font-size="9" fill="#555">{escape(machine)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> Iterator[str]:
    x = 8
    for name, colour in (("ours", "#36c"), *_COLOURS.items(), ("wanted", "#000")):
        yield f'<circle cx="{x + 4}" cy="36" r="4" fill="{colour}"/>'
        yield f'<text x="{x + 12}" y="40">{name}</text>'
        x += 30 + 8 * len(name)


def _bar(row: dict[str, Any], y: int) -> Iterator[str]:
    yield f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(row["name"])}</text>'
    start, end = sorted((_x(1.0), _x(row["ratio"])))
    yield (
        f'<rect x="{start:.1f}" y="{y + 2}" width="{max(end - start, 1):.1f}" height="12" '
        f'fill="#36c"><title>{row["ratio"]:.2f}</title></rect>'
    )
    if wanted := row["wanted"]["ratio"]:
        yield f'<path d="M{_x(wanted):.1f} {y}v16" stroke="#000" stroke-width="2"/>'
    unit = row["contestants"][row["beside"]]["median_us"]
    for name, colour in _COLOURS.items():
        if name in row["contestants"] and name != row["beside"]:
            ratio = row["contestants"][name]["median_us"] / unit
            yield (
                f'<circle cx="{_x(ratio):.1f}" cy="{y + 8}" r="4" fill="{colour}">'
                f"<title>{name} {ratio:.1f}</title></circle>"
            )
