"""Where the CPU time goes, as the kernel counts it for each process of a bank."""

import os
from collections.abc import Mapping
from pathlib import Path

from cbs.tools.local.state import State

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


def seconds_by_part(running: State) -> dict[str, float]:
    """CPU seconds so far of every part of a bank, its children, living and gone, included."""
    stats = dict(_stats())
    return {
        part.name: _seconds_of(part.pid, stats) for part in running.programs if part.pid in stats
    }


def _seconds_of(pid: int, stats: Mapping[int, tuple[int, int, int]]) -> float:
    _, own, gone = stats[pid]
    living = sum(own for parent, own, _ in stats.values() if parent == pid)
    return (own + gone + living) * TICK_SECONDS


def _stats() -> list[tuple[int, tuple[int, int, int]]]:
    """(pid, (parent, own ticks, ticks of children that ended)) of all processes."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold spaces: fields are counted from behind it.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # gone by now
        own, gone = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
        found.append((int(stat.parent.name), (int(fields[1]), own, gone)))
    return found
