"""A clone with its PEXes built, and an operator who types what the runbook says, in one shell."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from cbs.tools.cli import __main__ as program
from cbs.tools.cluster import binaries
from cbs.tools.cluster.api import Api
from cbs.tools.cluster.artifacts import PROGRAMS
from cbs.tools.local.folder import Folder
from tests.cluster.conftest import found

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs" / "how-to" / "cluster.md"
SECONDS_MAX = 600
assert program  # run as `python -m cbs.tools.cli` below

# What `./pants package ::` makes is here already; the data folder is not beside the source.
PANTS = """#!/bin/sh
echo "packaged before: $*"
"""
CBS = """#!/bin/sh
case "$1/$2" in
  cluster/artifacts | cluster/tools) ;;
  cluster/*) set -- "$@" --data .cbs-cluster ;;
esac
exec "{python}" -P -m cbs.tools.cli "$@"
"""
SHELL = """set -eu
if [ -e shell ]; then . ./shell; fi
{typed}
declare -f > shell
"""


class Operator:
    """`programs` are Nomad and Consul by the variables that name them."""

    def __init__(self, root: Path, dist: Path, programs: Mapping[str, str]) -> None:
        self.root, self.sha = root, "0" * 40
        self.folder = Folder.at(root / ".cbs-cluster")
        self.programs = dict(programs)
        (root / "dist").symlink_to(dist)
        (root / "nomad").symlink_to(ROOT / "nomad")
        (root / "bin").mkdir()
        for name, text in {"cbs": CBS.format(python=sys.executable), "pants": PANTS}.items():
            (root / name).write_text(text)
            (root / name).chmod(0o755)
        for path in programs.values():
            (root / "bin" / Path(path).name.partition("-")[0]).symlink_to(path)

    def made_anew(self) -> None:
        """The PEXes of another commit: they do the same, and are other bytes."""
        dist = self.root / "dist"
        before = dist.resolve()
        dist.unlink()
        (dist / "cbs").mkdir(parents=True)
        for name in PROGRAMS:
            made = shutil.copy2(before / "cbs" / f"{name}.pex", dist / "cbs")
            with zipfile.ZipFile(made, "a") as pex:
                pex.comment = b"made anew"

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CBS_")}
        mine = {
            "CBS_SHA": self.sha,
            "PATH": f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        return subprocess.run(
            words,
            cwd=self.root,
            env=kept | self.programs | mine,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )

    def cbs(self, *words: str) -> str:
        done = self.run("./cbs", *words)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def refused(self, *words: str) -> tuple[int, str]:
        done = self.run("./cbs", *words)
        return done.returncode, done.stdout + done.stderr

    def follow(self, heading: str) -> str:
        """Type what stands under a heading of the runbook; functions stay for the next."""
        sections = re.split(r"^## ", RUNBOOK.read_text(), flags=re.M)
        (wanted,) = [each for each in sections if each.startswith(f"{heading}\n")]
        blocks = re.findall(r"^```sh\n(.*?)^```$", wanted, re.S | re.M)
        assert blocks, heading
        done = self.run("bash", "-c", SHELL.format(typed="\n".join(blocks)))
        assert done.returncode == 0, f"{heading}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def ports(self) -> dict[str, int]:
        found: dict[str, int] = json.loads((self.folder.root / "cluster-ports.json").read_text())
        return found

    def api(self, name: str) -> Api:
        secret = self.folder.secret(f"{name}-management.token").read_text()
        return Api.at(name, f"http://127.0.0.1:{self.ports[name]}", secret)

    def shas(self, service: str) -> set[str]:
        """Of the instances that Consul would send somebody to."""
        found = self.api("consul").get(f"/v1/health/service/cbs-{service}", passing="1")
        return {instance["Service"]["Meta"]["sha"] for instance in found}


def pexes() -> Path:
    """The folder of all PEXes; skips a test where they are not built."""
    for place in (ROOT, ROOT / "dist"):
        if all((place / "cbs" / f"{name}.pex").is_file() for name in PROGRAMS):
            return place
    pytest.skip("no PEXes: run this through ./pants, or ./pants package :: first")


@contextmanager
def operating() -> Iterator[Operator]:
    """Where nobody may pass: tasks are nobody's. What was started in the clone is ended."""
    programs = {tool.variable: str(found(tool)) for tool in (binaries.NOMAD, binaries.CONSUL)}
    with tempfile.TemporaryDirectory(prefix="cbs-cluster-") as root:
        Path(root).chmod(0o711)
        operator = Operator(Path(root), pexes(), programs)
        try:
            yield operator
        finally:
            operator.run("./cbs", "down", "--data", ".cbs-cluster")
