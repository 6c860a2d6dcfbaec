"""The frame of a report, its style, its one script, and a chart: all works without a network."""

import base64
import hashlib
from html import escape

import numpy as np

# The policy lets a browser load nothing but what stands in the page itself, and run nothing but
# the script below: a name that slipped through the escaping would not run.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline';
 script-src 'sha256-{digest}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""
_STYLE = """
:root { --back: #fff; --fore: #1c2126; --dim: #5d6770; --line: #d8dde2; --soft: #f4f6f8;
  --a: 37, 99, 235 }
@media (prefers-color-scheme: dark) { :root { --back: #14181c; --fore: #e6eaed; --dim: #9aa5ae;
  --line: #353d44; --soft: #1d2329; --a: 80, 135, 255 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--fore);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", sans-serif }
main { max-width: 1160px; margin: 0 auto; padding: 24px 20px 60px }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 6px; overflow-wrap: anywhere }
h2 { font-size: 20px; margin: 36px 0 10px }
h3 { font-size: 16px; margin: 24px 0 8px }
p { margin: 6px 0 10px } .dim, figcaption small { color: var(--dim) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0 0 16px }
dt { color: var(--dim) } dd { margin: 0; overflow-wrap: anywhere }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 10px }
.tiles div { background: var(--soft); border: 1px solid var(--line); border-radius: 8px;
  padding: 8px 12px; font-size: 13px; color: var(--dim) }
.tiles b { display: block; font-size: 21px; color: var(--fore); font-weight: 600 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums }
table.scores { width: 100% } .scores td, .scores th { padding: 4px 8px; text-align: right;
  border-bottom: 1px solid var(--line); white-space: nowrap }
.scores th { font-weight: 600 } .scores button { all: unset; cursor: pointer; white-space: nowrap }
.scores button:focus-visible { outline: 2px solid rgb(var(--a)) }
.scores button::after { content: "\\2195"; padding-left: 3px; opacity: .5 }
.scores [aria-sort=ascending] button::after { content: "\\2191"; opacity: 1 }
.scores [aria-sort=descending] button::after { content: "\\2193"; opacity: 1 }
.scores thead th { color: var(--dim); vertical-align: bottom }
.scores th:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere;
  min-width: 150px }
.scores tfoot td, .scores tfoot th { border-top: 2px solid var(--line); font-weight: 600 }
.bar { min-width: 124px; background-repeat: no-repeat; background-position: 8px 50%;
  background-image: linear-gradient(rgba(var(--a), .45), rgba(var(--a), .45)),
  linear-gradient(var(--soft), var(--soft));
  background-size: calc(var(--v) * (100% - 70px) / 100) 60%, calc(100% - 70px) 60% }
.swatch { display: inline-block; width: 12px; height: 12px; border: 1px solid var(--dim);
  border-radius: 3px; margin-right: 6px; vertical-align: -1px }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif }
svg text { fill: var(--fore) } svg .axis { stroke: var(--line) } svg .dim { fill: var(--dim) }
.a { fill: rgb(var(--a)) }
.matrix { font-size: 12px; width: 100% } .matrix td { min-width: 30px; height: 28px;
  text-align: center; border: 1px solid var(--line); background: rgba(var(--a), var(--s, 0)) }
.matrix td.full { color: #fff } .matrix th { font-weight: 500; padding: 2px 6px }
.matrix tbody th { text-align: right; min-width: 96px; max-width: 200px; overflow-wrap: anywhere;
  width: 1% }
.matrix thead th { vertical-align: bottom; max-height: 180px }
.matrix thead span { overflow-wrap: anywhere }
.turned thead span { writing-mode: vertical-rl; text-orientation: sideways;
  transform: rotate(180deg); max-height: 170px; text-align: left }
.matrix td.same { outline: 1.5px solid var(--dim); outline-offset: -2px }
.warning { border-left: 4px solid rgb(200, 0, 90); padding-left: 10px; white-space: pre-line }
a { color: rgb(var(--a)) } summary { cursor: pointer; margin: 6px 0 }
.legend span { margin-right: 16px; white-space: nowrap }
.gallery figure { margin: 0 0 18px; padding: 10px; background: var(--soft);
  border: 1px solid var(--line); border-radius: 8px; break-inside: avoid }
.gallery figcaption { margin-bottom: 8px; overflow-wrap: anywhere }
.row { display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; align-items: start }
.row div { font-size: 12px; color: var(--dim); text-align: center }
img { max-width: 100%; height: auto } .row img { width: 100%; border: 1px solid var(--line) }
.row .sharp { image-rendering: pixelated }
img.curves { width: 100%; background: #fff; border-radius: 8px }
@media (max-width: 640px) { .row { grid-template-columns: repeat(2, 1fr) } }
@media print { :root { --back: #fff; --fore: #000; --dim: #444; --line: #bbb; --soft: #fff }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact } main { max-width: none;
  padding: 0 } .wide { overflow: visible } h2, h3 { break-after: avoid }
  tr, svg { break-inside: avoid } .scores, .matrix { font-size: 10px }
  .scores button::after { content: "" !important } }
"""
# Sorts a table by the column whose title is clicked: first ascending, then the other way. Cells
# without a number stay last.
_SCRIPT = """
for (const head of document.querySelectorAll("table.scores thead th")) {
  head.querySelector("button").addEventListener("click", () => {
    const body = head.closest("table").tBodies[0], column = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "ascending";
    const number = row => Number(row.cells[column].dataset.v ?? NaN);
    const rows = [...body.rows].sort((a, b) => {
      const x = number(a), y = number(b);
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
      return down ? y - x : x - y;
    });
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  });
}
"""


def page(title, body):
    """A whole page; `title` is a text, `body` HTML."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    return _PAGE.format(title=escape(title), style=_STYLE, body=body, script=_SCRIPT, digest=digest)


def swatch(color, name):
    """A small square in a colour, and what it stands for."""
    return f'<span><i class="swatch" style="background:{color}"></i>{escape(name)}</span>'


def histogram(values, title, bins=20):
    """How many of the values in 0..1 lie where, as SVG; NaN is passed over."""
    values = np.asarray(values)
    counts, edges = np.histogram(values[~np.isnan(values)], bins, (0, 1))
    left, height, step = 40, 150, 40
    tallest = max(counts.max(), 1)
    parts = [f'<line class="axis" x1="{left}" x2="{left + bins * step}" y1="{height + 20}" '
             f'y2="{height + 20}"/>']  # fmt: skip
    for index, count in enumerate(counts.tolist()):
        x, tall = left + index * step, height * count / tallest
        if count:
            parts.append(
                f'<rect class="a" x="{x + 2}" y="{height + 20 - tall:.1f}" width="{step - 4}" '
                f'height="{tall:.1f}"><title>{100 * edges[index]:.0f} to '
                f"{100 * edges[index + 1]:.0f}%: {count:,}</title></rect>"
                f'<text x="{x + step / 2}" y="{height + 14 - tall:.1f}" text-anchor="middle">'
                f"{count:,}</text>"
            )
    parts += [
        f'<text class="dim" x="{left + index * step}" y="{height + 38}" text-anchor="middle">'
        f"{100 * edges[index]:.0f}%</text>"
        for index in range(0, bins + 1, 4)
    ]
    return _svg(left * 2 + bins * step, height + 46, title, parts)


def _svg(width, height, label, parts):
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" '
        f">{''.join(parts)}</svg>"
    )
