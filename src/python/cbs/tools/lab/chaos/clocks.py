"""The clocks of a bank that is to be broken: files, each of which a service reads its time off."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cbs.bank import SERVICES
from cbs.tools.lab.chaos import moved_clock
from cbs.tools.lab.chaos.moved_clock import CLOCKS, OFFSET
from cbs.tools.local.plan import StartPlan

CODE = "code"
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Clocks:
    folder: Path

    def make(self) -> None:
        """All right, as long as nobody moves them."""
        code = self.folder / CODE
        code.mkdir(parents=True, exist_ok=True)
        shutil.copy(moved_clock.__file__, code)
        for service in SERVICES:
            (self.folder / service).write_bytes(OFFSET.pack(0))

    def move(self, service: str, seconds: float) -> None:
        """By so much off the true time, at once; 0 is right again."""
        # In place: the service has it mapped.
        with (self.folder / service).open("r+b") as file:
            file.write(OFFSET.pack(int(seconds * NANOSECONDS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockedPlan(StartPlan):
    """Runs the very same services, from source or PEX, with clocks that can be moved."""

    clocks: Clocks

    def argv(self, service: str, verb: str) -> list[str]:
        if self.dist is None:
            return [sys.executable, "-P", "-m", moved_clock.__name__, service, verb]
        *program, _ = StartPlan.argv(self, service, verb)
        return [*program, service, verb]

    def environment(self, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        given = StartPlan.environment(self, environ) | {CLOCKS: str(self.clocks.folder)}
        if self.dist is None:
            return given
        code = str(self.clocks.folder / CODE)
        module = moved_clock.__name__.rpartition(".")[2]
        return given | {"PEX_MODULE": module, "PEX_EXTRA_SYS_PATH": code}
