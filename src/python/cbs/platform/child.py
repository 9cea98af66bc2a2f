"""A child process dies with its parent, however the parent ends; a pid alone names nobody."""

import signal
from pathlib import Path


class CannotStart(RuntimeError):
    """A program did not start; the message says why and what to do about it."""


def mortal(argv: list[str], *, death: signal.Signals = signal.SIGKILL) -> list[str]:
    """The same command, sent `death` by the kernel when the thread that starts it ends."""
    return ["setpriv", "--pdeathsig", death.name.removeprefix("SIG"), "--", *argv]


def started(pid: int) -> str | None:
    """When this process began, as an opaque text that no other process of that pid will have."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    # The name in parentheses may hold spaces; field 3 (state) follows it, field 22 is the start.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"
