"""A self-contained HTML page: no scripts, fonts, images or links to load."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element

from wals_spark.reports.markup import Child, el, written

_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f6f7f9; --ink: #1c2430; --faint: #5b6675; --rule: #d9dee5; --mark: #fff1cf;
  --tone-0: #1f5fae; --tone-1: #b8500d; --tone-2: #1d7a4e; --tone-3: #7d4aa5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12161c; --panel: #1a2029; --ink: #e6eaf0; --faint: #9aa7b7; --rule: #303a47; --mark: #3d3313;
    --tone-0: #79b4f7; --tone-1: #f3a261; --tone-2: #67c797; --tone-3: #c79ee6;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: break-word;
}
h1 { margin: 0; font-size: 1.7rem; line-height: 1.25; }
h2 { margin: 2.75rem 0 .75rem; font-size: 1.2rem; }
p { margin: .4rem 0; }
.lead, .note, figcaption .legend, th { color: var(--faint); }
.note { font-size: .85rem; }
pre {
  margin: .75rem 0; padding: .75rem 1rem; overflow-x: auto; background: var(--panel); border-radius: .5rem;
  font-size: .82rem; line-height: 1.55; white-space: pre-wrap;
}
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: .75rem; margin: 1.5rem 0 0; }
dl div { padding: .6rem .9rem; background: var(--panel); border-radius: .5rem; }
dt { color: var(--faint); font-size: .82rem; }
dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 1.25rem; }
.panels { margin-bottom: 1rem; }
figure { margin: 0; padding: .9rem .9rem .6rem; background: var(--panel); border-radius: .5rem; max-width: 40rem; }
figcaption { display: flex; flex-wrap: wrap; gap: .15rem 1rem; justify-content: space-between; margin-bottom: .4rem; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem .9rem; font-size: .85rem; }
.key { white-space: nowrap; }
.key svg { display: inline-block; width: 1.4em; height: .65em; margin-right: .35em; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--faint); font-size: 12.5px; font-variant-numeric: tabular-nums; }
svg text.label { fill: var(--ink); }
.grid { stroke: var(--rule); stroke-width: 1; }
.axis { stroke: var(--faint); stroke-width: 1; }
.tone-0 { --tone: var(--tone-0); } .tone-1 { --tone: var(--tone-1); stroke-dasharray: 6 3; }
.tone-2 { --tone: var(--tone-2); stroke-dasharray: 2 2.5; }
.tone-3 { --tone: var(--tone-3); stroke-dasharray: 9 3 2 3; }
.line { fill: none; stroke: var(--tone); stroke-width: 2.2; stroke-linejoin: round; }
.interval { stroke: var(--tone); stroke-width: 5; stroke-opacity: .35; stroke-dasharray: none; }
.point { fill: var(--tone); } .column { fill: var(--tone); stroke: none; }
.point { stroke: var(--panel); stroke-width: 1; stroke-dasharray: none; }
.tone-1 .point, .tone-1.point { fill: var(--panel); stroke: var(--tone); stroke-width: 1.6; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
th { font-weight: 600; } td { overflow-wrap: anywhere; } td:first-child { overflow-wrap: normal; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; overflow-wrap: normal; }
.highlighted td { background: var(--mark); font-weight: 600; }
.bar { display: block; min-width: 1px; height: .8rem; margin-top: .35rem; background: var(--tone-0); }
figure td:last-child { width: 45%; padding-right: 0; }
figure td:first-child { white-space: nowrap; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--faint); }
@media print { body { max-width: none; padding: 0; } figure { break-inside: avoid; } }
"""


def page(title: str, lead: str, *sections: Child) -> str:
    """The page as HTML text."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", title),
        el("style", _STYLE),
    )
    body = el("body", el("header", el("h1", title), el("p", lead, class_="lead")), el("main", *sections))
    return f"<!DOCTYPE html>\n{written(el('html', head, body, lang='en'))}\n"


def section(title: str, *children: Child) -> Element:
    """A titled part of the page."""
    return el("section", el("h2", title), *children)


def facts(pairs: Iterable[tuple[str, str]]) -> Element:
    """Names with their values."""
    return el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in pairs])


def panels(figures: Iterable[Element]) -> Element:
    """Figures in as many columns as fit."""
    return el("div", figures, class_="panels")


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[Child]],
    *,
    numbers: Sequence[int] = (),
    highlighted: Sequence[int] = (),
) -> Element:
    """A table; the columns ``numbers`` are right-aligned, the rows ``highlighted`` have another background."""

    def cells(tag: str, values: Sequence[Child]) -> list[Element]:
        return [el(tag, value, class_="number" if n in numbers else None) for n, value in enumerate(values)]

    body = [
        el("tr", cells("td", row), class_="highlighted" if number in highlighted else None)
        for number, row in enumerate(rows)
    ]
    return el("div", el("table", el("thead", el("tr", cells("th", header))), el("tbody", body)), class_="scroll")


def folded(summary: str, *children: Child) -> Element:
    """A part that is closed until the reader opens it."""
    return el("details", el("summary", summary), *children)
