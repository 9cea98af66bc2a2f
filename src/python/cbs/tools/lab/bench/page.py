"""A soak as one HTML page that needs nothing else: lines over time, drawn in SVG."""

from collections.abc import Sequence
from html import escape

from cbs.tools.lab.bench.mix import Window
from cbs.tools.lab.bench.samples import Sample

WIDTH, HEIGHT, POINTS_MAX = 900, 180, 900
COLOURS = ("#1565c0", "#c62828", "#2e7d32", "#6a1b9a", "#ef6c00", "#00838f", "#4e342e", "#37474f")
HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>cbs soak</title>'
    "<style>body{font:14px sans-serif;margin:2em}svg{background:#fafafa}</style><h1>cbs soak</h1>"
)

Lines = dict[str, list[tuple[float, float]]]


def page(windows: Sequence[Window], samples: Sequence[Sample]) -> str:
    parts = list(samples[-1].memory_mib) if samples else []
    charts: dict[str, Lines] = {
        "done a second": {"done": [(w.at_seconds, w.done / w.seconds) for w in windows]},
        "latency, ms": {
            "p50": [(w.at_seconds, w.p50_ms) for w in windows],
            "p99": [(w.at_seconds, w.p99_ms) for w in windows],
        },
        "anonymous memory, MiB": {
            part: [(s.at_seconds, s.memory_mib.get(part, 0)) for s in samples] for part in parts
        },
        "facts not yet heard by the last listener": {
            "facts": [(s.at_seconds, max(s.behind.values(), default=0)) for s in samples]
        },
        "disk, MiB": {"databases and streams": [(s.at_seconds, s.disk_mib) for s in samples]},
    }
    return HEAD + "".join(_chart(title, lines) for title, lines in charts.items()) + "</html>\n"


def _chart(title: str, lines: Lines) -> str:
    points = [point for line in lines.values() for point in line]
    right = max((x for x, _ in points), default=0) or 1
    top = max((y for _, y in points), default=0) or 1
    drawn, legend = [], []
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        shown = line[:: len(line) // POINTS_MAX + 1]
        path = " ".join(f"{WIDTH * x / right:.1f},{HEIGHT * (1 - y / top):.1f}" for x, y in shown)
        drawn.append(f'<polyline fill="none" stroke="{colour}" points="{path}"/>')
        legend.append(f'<span style="color:{colour}">{escape(name)}</span>')
    return (
        f"<h2>{escape(title)}</h2><p>0 to {top:,.1f} in {right:,.0f} s; {', '.join(legend)}</p>"
        f'<svg width="{WIDTH}" height="{HEIGHT}">{"".join(drawn)}</svg>'
    )
