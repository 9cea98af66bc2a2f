"""A bank to be broken: as `cbs up` runs it, but patient with parts that die again and again.

    python -m cbs.tools.lab.chaos.target_bank PLACE

`cbs up` waits longer and longer (30 s at most) before it starts what keeps dying. A bank of which
something is killed every other second would then mostly be down, and little of it be broken.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console

from cbs.tools.lab.chaos import faulty_network
from cbs.tools.lab.chaos.clocks import ClockedPlan, Clocks
from cbs.tools.lab.chaos.disks import disks_of
from cbs.tools.local.bank import LocalBank, clear_up
from cbs.tools.local.folder import Folder
from cbs.tools.local.parts import Parts
from cbs.tools.local.plan import StartPlan
from cbs.tools.local.scratch_bank import bank_up, erase, scratch_folder
from cbs.tools.local.supervisor import Supervisor

STEADY_SECONDS = 1.0
# What stands still for STOPPED_SECONDS is to go on afterwards, as if nothing had been.
PATIENCE_SECONDS = 60.0


class TargetOptions(msgspec.Struct, kw_only=True):
    """How the bank is to be run; in a file beside it, for whoever runs it."""

    dist: str
    disks: bool
    links: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetBank:
    """A bank that is up, and what can be done to it from outside."""

    folder: Folder
    links: faulty_network.FaultyNetwork
    clocks: Clocks


@contextmanager
def target(console: Console, from_pex: Path | None, *, disks: bool) -> Iterator[TargetBank]:
    """A bank that lives as long as the block, on `disks` of its own where that is possible. What
    lies beside it is erased with it, but kept on an error, and if the block wrote the file
    `evidence`. Raises CannotStart."""
    StartPlan.of({}, from_pex)  # says at once what is missing
    place = scratch_folder("chaos")
    folder, clocks = Folder.at(place / "bank"), Clocks(place / "clocks")
    clocks.make()
    console.print(f"starting a bank in {folder.root}")
    argv = [sys.executable, "-P", "-m", "cbs.tools.lab.chaos.target_bank", str(place)]

    keep = True
    try:
        with faulty_network.opened(lambda part: _port_of(folder, part)) as network:
            dist = str(from_pex.resolve()) if from_pex else ""
            wanted = TargetOptions(dist=dist, disks=disks, links=network.ports)
            _wanted(place).write_bytes(msgspec.json.encode(wanted))
            with bank_up(folder, argv):
                yield TargetBank(folder=folder, links=network, clocks=clocks)
            keep = evidence(folder).exists()
    except KeyboardInterrupt:
        keep = False
        raise
    finally:
        clear_up(folder)
        for disk in disks_of(folder.root).values():
            disk.unmount(keep=keep)
        if keep:
            console.print(f"the bank's data and logs are kept in {place}")
        else:
            erase(place)


def _wanted(place: Path) -> Path:
    return place / "wanted.json"


def _port_of(folder: Folder, part: str) -> int:
    """Of the part itself; raises OSError and KeyError until it has one."""
    ports: dict[str, int] = msgspec.json.decode((folder.root / "ports.json").read_bytes())
    return ports[part]


def evidence(folder: Folder) -> Path:
    return folder.root.parent / "evidence.json"


def main() -> None:
    place, parent = Path(sys.argv[1]), os.getppid()
    wanted = msgspec.json.decode(_wanted(place).read_bytes(), type=TargetOptions)
    folder, console = Folder.at(place / "bank"), Console()
    plan = ClockedPlan(
        dist=Path(wanted.dist) if wanted.dist else None,
        links=wanted.links,
        clocks=Clocks(place / "clocks"),
    )
    folder.found()
    disks = disks_of(folder.root).values()
    # Both or none: where one may be mounted, so may the other.
    if wanted.disks:
        all(disk.mount() for disk in disks)
    with folder.lock():
        supervisor = Supervisor.of(folder, console)
        supervisor.steady_seconds = STEADY_SECONDS
        supervisor.patience_seconds = PATIENCE_SECONDS
        bank = LocalBank(parts=Parts.of(folder, plan), supervisor=supervisor)

        async def bring_up(_: Supervisor) -> None:
            await bank.bring_up()

        try:
            asyncio.run(supervisor.run(bring_up))
        finally:
            folder.release_ports()
            if os.getppid() != parent:  # killed: nobody else is left to do it
                for disk in disks:
                    disk.unmount(keep=False)


if __name__ == "__main__":
    main()
