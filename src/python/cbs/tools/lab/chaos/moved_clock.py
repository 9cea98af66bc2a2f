"""Runs a service whose clock is what somebody else says; no service obeys such a thing by itself.

    python -m … SERVICE VERB, with CHAOS_CLOCKS naming the folder of the clocks

Chaos starts services through this file, from source and from PEXes (as PEX_MODULE, from a folder
that holds nothing else): so it imports nothing but the service.
"""

import importlib
import mmap
import os
import struct
import sys
import time
from pathlib import Path

CLOCKS = "CHAOS_CLOCKS"
OFFSET = struct.Struct("<q")


def moved(clock: Path) -> None:
    """From here on the injected clock of this process is off by the nanoseconds in the file."""
    with clock.open("rb") as file:
        offset = mmap.mmap(file.fileno(), OFFSET.size, prot=mmap.PROT_READ)

    def time_ns() -> int:
        nanoseconds: int = OFFSET.unpack_from(offset)[0]
        return time.time_ns() + nanoseconds

    importlib.import_module("cbs.platform.context").SOURCES.time_ns = time_ns


def main() -> None:
    service = sys.argv.pop(1)
    moved(Path(os.environ[CLOCKS]) / service)
    importlib.import_module(f"cbs.{service}.main").main()


if __name__ == "__main__":
    main()
