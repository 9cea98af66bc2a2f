"""What the parts of a bank use, as the kernel counts it for each process."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cbs.tools.local.state import BankState

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


class ProcessUsage(NamedTuple):
    """`cpu_seconds` are its own; `gone_cpu_seconds` those of its children that have ended."""

    pid: int
    parent: int
    cpu_seconds: float
    gone_cpu_seconds: float


def processes() -> Iterator[ProcessUsage]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold spaces: fields are counted from behind it.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # gone by now
        own, gone = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
        pid, parent = int(stat.parent.name), int(fields[1])
        yield ProcessUsage(pid, parent, own * TICK_SECONDS, gone * TICK_SECONDS)


def children_of(pid: int) -> list[int]:
    return [each.pid for each in processes() if each.parent == pid]


def cpu_seconds(running: BankState) -> dict[str, float]:
    """So far, of every part of a bank, its children, living and gone, included."""
    every = {each.pid: each for each in processes()}
    found = {}
    for part in running.programs:
        if (first := every.get(part.pid)) is not None:
            living = sum(each.cpu_seconds for each in every.values() if each.parent == part.pid)
            found[part.name] = first.cpu_seconds + first.gone_cpu_seconds + living
    return found


def memory_mib(pid: int, kind: str) -> float:
    """`VmRSS` is all that is resident, `RssAnon` what leaks; 0 of a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(kind)), 0)
