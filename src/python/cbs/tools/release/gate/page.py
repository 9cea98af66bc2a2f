"""The matrix as a page of its own: who and whom, coloured, with nothing to fetch."""

from collections import defaultdict
from html import escape

from cbs.tools.release.gate.history import SHORT
from cbs.tools.release.gate.matrix import BROKEN, FORGED, HOLDS, UNKNOWN, Cell, Matrix, named

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #667085; --paper: #fff; --line: #e4e7ec;
  --holds: #d1fadf; --holds-ink: #05603a; --broken: #fee4e2; --broken-ink: #912018;
  --unknown: #fef0c7; --unknown-ink: #93370d; --chip: #eef2f6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #98a2b3; --paper: #12161d;
  --line: #2a313c; --holds: #053321; --holds-ink: #75e0a7; --broken: #55160c;
  --broken-ink: #fda29b; --unknown: #4e1d09; --unknown-ink: #fec84b; --chip: #222a35; } }
* { box-sizing: border-box }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 80rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2.5rem 0 .75rem }
p { margin: .25rem 0; color: var(--soft) } code { font: .85em ui-monospace, monospace }
.counts { display: flex; gap: .75rem; margin: 1.25rem 0; flex-wrap: wrap }
.count { border-radius: .6rem; padding: .6rem 1rem; min-width: 8rem }
.count b { display: block; font-size: 1.5rem }
.holds { background: var(--holds); color: var(--holds-ink) }
.broken { background: var(--broken); color: var(--broken-ink) }
.unknown { background: var(--unknown); color: var(--unknown-ink) }
.scroll { overflow-x: auto } table { border-collapse: separate; border-spacing: 4px }
th { font-weight: 600; text-align: left; padding: .35rem .6rem; white-space: nowrap }
thead th { color: var(--soft) }
td { vertical-align: top; border-radius: .5rem; padding: 0; min-width: 7.5rem }
td.none { background: repeating-linear-gradient(45deg, transparent 0 6px, var(--line) 6px 7px) }
a.pair { display: block; padding: .5rem .65rem; border-radius: .5rem; text-decoration: none;
  margin-bottom: 3px }
a.pair:focus-visible, a.pair:hover { outline: 2px solid currentColor }
a.pair small { display: block; opacity: .8 }
.chip { border-radius: 1rem; padding: .05rem .55rem;
  font-size: .8em; white-space: nowrap }
.chip:not(.holds,.broken,.unknown) { background: var(--chip); color: var(--ink) }
.finding { border-left: 3px solid var(--unknown-ink); padding: .4rem .8rem; margin: .4rem 0 }
details { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .8rem;
  margin: .4rem 0 } details:target { outline: 2px solid var(--soft) }
summary { cursor: pointer } li { margin: .3rem 0 }
.places { border-spacing: 0 } .places td, .places th { border-bottom: 1px solid var(--line);
  padding: .4rem .8rem; border-radius: 0 }
"""
CLASS = {HOLDS: "holds", BROKEN: "broken", UNKNOWN: "unknown", FORGED: "broken"}
SCRIPT = """
addEventListener('hashchange', open); open();
function open() { const at = document.querySelector(location.hash || 'x');
  if (at && at.tagName === 'DETAILS') at.open = true; }
"""


def html(matrix: Matrix) -> str:
    """Opens from a file; light and dark; every cell leads to what was verified and why not."""
    parts = [
        f"<h1>Contracts at <code>{matrix.version[:SHORT]}</code></h1>",
        f"<p>Consumers down, providers across; as of {matrix.at:%F %T} UTC.</p>",
        _counts(matrix),
        *(f'<div class="finding" role="note">{escape(each)}</div>' for each in matrix.findings),
        _grid(matrix),
        "<h2>What is where</h2>",
        _places(matrix),
        "<h2>Every pair of versions</h2>",
        *(_details(matrix, n, cell) for n, cell in enumerate(matrix.cells)),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>CBS contracts</title>'
        f"<style>{STYLE}</style><body>{body}<script>{SCRIPT}</script></body></html>\n"
    )


def _counts(matrix: Matrix) -> str:
    shown = []
    for result, class_ in CLASS.items():
        many = sum(cell.result == result for cell in matrix.cells)
        shown.append(f'<div class="count {class_}"><b>{many}</b>{result}</div>')
    return f'<div class="counts">{"".join(shown)}</div>'


def _grid(matrix: Matrix) -> str:
    pairs: dict[tuple[str, str], list[tuple[int, Cell]]] = defaultdict(list)
    for n, cell in enumerate(matrix.cells):
        pairs[cell.consumer, cell.provider].append((n, cell))
    consumers = sorted({consumer for consumer, _ in pairs})
    providers = sorted({provider for _, provider in pairs})
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in providers)
    rows = []
    for consumer in consumers:
        cells = "".join(_pair(pairs.get((consumer, provider), [])) for provider in providers)
        rows.append(f'<tr><th scope="row">{escape(consumer)}</th>{cells}</tr>')
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _pair(cells: list[tuple[int, Cell]]) -> str:
    if not cells:
        return '<td class="none"></td>'
    links = "".join(
        f'<a class="pair {CLASS[cell.result]}" href="#pair-{n}">{_short(cell)}'
        f"<small>{cell.consumer_version[:7]} &rarr; {cell.provider_version[:7]}</small></a>"
        for n, cell in cells
    )
    return f"<td>{links}</td>"


def _short(cell: Cell) -> str:
    if cell.result == BROKEN:
        return f"{len(cell.broken)} of {cell.interactions} broken"
    return f"{cell.result} ({cell.interactions})" if cell.interactions else cell.result


def _places(matrix: Matrix) -> str:
    rows = "".join(
        f'<tr><td><span class="chip">{escape(each.environment)}</span></td>'
        f"<td>{escape(each.application)}</td><td><code>{each.version[:SHORT]}</code></td></tr>"
        for each in matrix.deployed
    )
    if not rows:
        return "<p>Nothing was recorded or seen: <code>./cbs release record</code>.</p>"
    head = "<tr><th>environment</th><th>application</th><th>version</th></tr>"
    return f'<table class="places"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _details(matrix: Matrix, n: int, cell: Cell) -> str:
    chips = "".join(
        f' <span class="chip">{escape(what)} in {escape(place)}</span>'
        for what, places in (
            (cell.consumer, cell.consumer_in),
            (cell.provider, cell.provider_in),
        )
        for place in places
    )
    when = f"{cell.at:%F %T} UTC, by {escape(cell.by)}" if cell.at else "never"
    if cell.log:
        when += f', <a href="{escape(cell.log)}">its log</a>'
    why = "".join(f"<li>{escape(each)}</li>" for each in cell.broken)
    return (
        f'<details id="pair-{n}"><summary><span class="chip {CLASS[cell.result]}">'
        f"{_short(cell)}</span> {escape(named(matrix, cell.consumer, cell.consumer_version))} with"
        f" {escape(named(matrix, cell.provider, cell.provider_version))}{chips}</summary>"
        f"<p>Verified: {when}.</p><ul>{why}</ul></details>"
    )
