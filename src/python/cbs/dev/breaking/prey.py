"""A bank to be broken: as `cbs up` runs it, but patient with parts that die again and again.

    python -m cbs.dev.breaking.prey FOLDER [DIST]

`cbs up` waits longer and longer (30 s at most) before it starts what keeps dying. A bank of which
something is killed every other second would then mostly be down, and little of it be broken.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from cbs.dev.folder import Folder
from cbs.dev.running import state
from cbs.dev.running.bank import Bank, clear_up
from cbs.dev.running.parts import Parts
from cbs.dev.running.plan import Plan
from cbs.dev.running.process import mortal, running
from cbs.dev.running.supervisor import Supervisor

STEADY_SECONDS, UP_SECONDS_MAX = 1.0, 300


@contextmanager
def prey(console: Console, from_pex: Path | None) -> Iterator[Folder]:
    """A bank that lives as long as the block. What lies beside it is erased with it, but kept on
    an error, and if the block wrote the file `evidence`. Raises CannotStart."""
    Plan.of({}, from_pex)  # says at once what is missing
    # On the disk that a bank would have, not in a temporary folder that may be in memory.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cbs"
    cache.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="chaos-", dir=cache))
    folder = Folder.at(place / "bank")
    console.print(f"starting a bank in {folder.root}")
    argv = [sys.executable, "-P", "-m", "cbs.dev.breaking.prey", str(folder.root)]
    if from_pex is not None:
        argv.append(str(from_pex.resolve()))

    def is_ready() -> bool:
        now = state.read(folder.state)
        return now is not None and now.phase == "ready"

    keep = True
    try:
        # Ends with this process, however that ends.
        with running(
            mortal(argv, death=signal.SIGTERM),
            log=place / "log",
            is_ready=is_ready,
            seconds=UP_SECONDS_MAX,
        ):
            yield folder
        keep = evidence(folder).exists()
    except KeyboardInterrupt:
        keep = False
        raise
    finally:
        clear_up(folder)
        if keep:
            console.print(f"the bank's data and logs are kept in {place}")
        else:
            shutil.rmtree(place)


def evidence(folder: Folder) -> Path:
    return folder.root.parent / "evidence.json"


def main() -> None:
    folder, console = Folder.at(Path(sys.argv[1])), Console()
    plan = Plan.of({}, Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    folder.found()
    with folder.lock():
        supervisor = Supervisor.of(folder, console)
        supervisor.steady_seconds = STEADY_SECONDS
        bank = Bank(parts=Parts.of(folder, plan), supervisor=supervisor)

        async def bring_up(_: Supervisor) -> None:
            await bank.bring_up()

        try:
            asyncio.run(supervisor.run(bring_up))
        finally:
            folder.release_ports()


if __name__ == "__main__":
    main()
