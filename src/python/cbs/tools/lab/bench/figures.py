"""The figures of `cbs bench` are worth something as ratios, and only on a steady machine."""

import msgspec
from rich.table import Table

from cbs.tools.local.command_line import print_table

DRIFT_MAX = 1.25


class BenchRun(msgspec.Struct, kw_only=True):
    """`cpu_us` is CPU time per request in each process, in microseconds; `load` is the load's own.
    `ratio` is to TPC-B's mean rate before and after."""

    name: str
    clients: int
    requests: int = 0
    refused: dict[str, int] = {}
    per_second: float
    ratio: float = 0
    p50_ms: float = 0
    p99_ms: float = 0
    mean_ms: float = 0
    mean_batch: float = 0
    cpu_us: dict[str, int] = {}


def compared(runs: list[BenchRun], before: BenchRun, after: BenchRun) -> list[BenchRun]:
    """All runs in the order in which they were made, as ratios to the mean of the two."""
    rate = (before.per_second + after.per_second) / 2
    for run in (before, *runs, after):
        run.ratio = round(run.per_second / rate, 2)
    return [before, *runs, after]


def drift(runs: list[BenchRun]) -> str:
    """A warning when the machine was not the same from the first run to the last, else empty."""
    first, last = runs[0].per_second, runs[-1].per_second
    if max(first, last) <= DRIFT_MAX * min(first, last):
        return ""
    return (
        f"the machine was not steady (TPC-B {first:,.0f} a second before, {last:,.0f} after):"
        " these ratios say little; measure again when nothing else runs"
    )


def show(runs: list[BenchRun]) -> None:
    speed = Table("", "clients", "a second", "TPC-B=1", "p50 ms", "p99 ms", "batch", "refused")
    parts = list(dict.fromkeys(part for run in runs for part in run.cpu_us))
    cost = Table("CPU µs", *parts, "all", padding=(0, 0))
    for run in runs:
        speed.add_row(
            run.name,
            str(run.clients),
            f"{run.per_second:,.0f}",
            f"{run.ratio:.2f}",
            f"{run.p50_ms:.1f}" if run.p50_ms else f"mean {run.mean_ms:.1f}",
            f"{run.p99_ms:.1f}" if run.p99_ms else "",
            f"{run.mean_batch:.1f}" if run.mean_batch else "",
            ", ".join(f"{count} {code}" for code, count in run.refused.items()),
        )
        cost.add_row(
            run.name,
            *(str(run.cpu_us[part]) if part in run.cpu_us else "" for part in parts),
            str(sum(run.cpu_us.values())),
        )
    print_table(speed)
    print_table(cost)
