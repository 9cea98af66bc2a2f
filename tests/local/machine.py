"""A user at a terminal, with banks: real PostgreSQL, NATS and Envoy, stand-in services."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cbs.bank import SERVICES
from cbs.tools.cli import __main__ as program
from cbs.tools.local.folder import USUAL_PORTS, Folder
from cbs.tools.local.parts import MARK
from cbs.tools.local.plan import SOURCE
from cbs.tools.local.process import left_behind, started
from tests.local import fake_service

PARTS = {"postgres", "nats", "edge", *SERVICES}
assert program  # run as `python -m cbs.tools.cli` below


class Machine:
    """A user at a terminal, with a folder of PEXes that stand in for the real ones."""

    more: dict[str, str]  # what the user has set in the environment

    def __init__(self, root: Path) -> None:
        self.root, self.dist, self.more = root, root / "dist", {}
        (self.dist / "cbs").mkdir(parents=True)
        for service in SERVICES:
            shutil.copy(fake_service.__file__, self.dist / "cbs" / f"{service}.pex")

    def bank(self, name="bank"):
        return Folder.at(self.root / name)

    def argv(self, *words, bank="bank"):
        return [
            sys.executable,
            "-P",
            "-m",
            "cbs.tools.cli",
            *words,
            "--data",
            str(self.root / bank),
        ]

    def run(self, *words, bank="bank"):
        return subprocess.run(
            self.argv(*words, bank=bank),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )

    def environment(self):
        """No server of the user's own, however the tests themselves are run."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CBS_")}
        return kept | {"PYTHONPATH": str(SOURCE), "COLUMNS": "200"} | self.more

    def up(self, bank="bank"):
        done = self.run("up", "--detach", "--from-pex", str(self.dist), bank=bank)
        assert done.returncode == 0, done.stdout + done.stderr + logs_of(self.bank(bank))
        return done.stdout

    def status(self, bank="bank"):
        return json.loads(self.run("status", "--json", bank=bank).stdout)

    def part(self, name, bank="bank"):
        return next(p for p in self.status(bank)["parts"] if p["name"] == name)


def logs_of(folder):
    return "".join(
        f"\n{log.name}:\n{log.read_text(errors='replace')}" for log in folder["logs"].glob("*.log")
    )


def running_in(folder):
    """Every process that has to do with this bank, found in three ways."""
    found = set(left_behind(f"{MARK}={folder.root}"))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            argv, cwd = (process / "cmdline").read_bytes(), os.readlink(process / "cwd")
        except OSError:
            continue
        if str(folder.root).encode() in argv or cwd.startswith(str(folder.root)):
            found.add(int(process.name))
    return {pid for pid in found if started(pid)}


def eventually(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def machine_at(root: Path, number: int = 0) -> Iterator[Machine]:
    """Its bank has been told ports of its own: other tests' banks take the usual ones whenever they
    are free. `number` tells apart the machines of one test run."""
    machine = Machine(root)
    machine.bank().found()
    first = 20_000 + (os.getpid() * 3 + number) % 1_000 * len(USUAL_PORTS)
    ports = {name: first + n for n, name in enumerate(USUAL_PORTS)}
    (machine.bank().root / "ports.json").write_text(json.dumps(ports))
    yield machine
    for folder in [path.parent for path in root.glob("*/bank.json")]:
        machine.run("down", bank=folder.name)
        assert running_in(Folder.at(folder)) == set()
