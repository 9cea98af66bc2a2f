"""The whole bank on the real Nomad and Consul, from the job files: it works, ends, comes back."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cbs.cluster import binaries
from cbs.cluster.api import Api
from cbs.cluster.artifacts import PROGRAMS
from cbs.dev import __main__ as program
from cbs.dev.folder import Folder
from cbs.dev.running.parts import MARK
from cbs.dev.running.process import left_behind
from tests.cluster.conftest import found

ROOT = Path(__file__).parents[2]
assert program  # run as `python -m cbs.dev` below
UP_SECONDS_MAX, DOWN_SECONDS_MAX = 600, 180

Cbs = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def dist() -> Path:
    for place in (ROOT, ROOT / "dist"):
        if all((place / "cbs" / f"{name}.pex").is_file() for name in PROGRAMS):
            return place
    pytest.skip("no PEXes: run this through ./pants, or ./pants package :: first")


@pytest.fixture(scope="module")
def folder() -> Iterator[Folder]:
    """Where nobody may pass through: as root, tasks are nobody's."""
    with tempfile.TemporaryDirectory(prefix="cbs-cluster-") as root:
        yield Folder.at(Path(root))


@pytest.fixture(scope="module")
def cbs(folder: Folder) -> Iterator[Cbs]:
    programs = {tool.variable: str(found(tool)) for tool in (binaries.NOMAD, binaries.CONSUL)}

    def run(*words: str, seconds: float = 120, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-P", "-m", "cbs.dev", *words, "--data", str(folder.root)],
            env=os.environ | programs | {"PYTHONPATH": os.pathsep.join(sys.path)} | more,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    yield run
    run("down", seconds=DOWN_SECONDS_MAX)


def up(cbs: Cbs, dist: Path) -> None:
    done = cbs(
        "cluster", "dev", "--detach", "--dist", str(dist), seconds=UP_SECONDS_MAX, CBS_SHA="0" * 40
    )
    assert done.returncode == 0, done.stdout + done.stderr


def api(folder: Folder, name: str) -> Api:
    ports = json.loads((folder.root / "cluster-ports.json").read_text())
    secret = folder.secret(f"{name}-management.token").read_text()
    return Api.at(name, f"http://127.0.0.1:{ports[name]}", secret)


def secrets_of(folder: Folder) -> list[str]:
    files = [*folder["secrets"].iterdir(), *folder["tokens"].iterdir()]
    return [text.rpartition(":")[2].strip() for file in files if (text := file.read_text())]


def shown(folder: Folder) -> str:
    """What anybody on the machine can see of the arguments, and what the logs keep."""
    arguments = [
        each.read_bytes() for each in Path("/proc").glob("[0-9]*/cmdline") if each.exists()
    ]
    logs = [each.read_bytes() for each in folder["logs"].iterdir()]
    return b"\n".join(arguments + logs).decode(errors="replace")


@pytest.mark.timeout(1500)
def test_the_bank_comes_up_works_ends_without_a_trace_and_comes_back(cbs, dist, folder):
    up(cbs, dist)
    status = cbs("cluster", "status", "--json")
    assert status.returncode == 0, status.stdout
    assert {row["job"] for row in json.loads(status.stdout)} >= {"cbs-gateway", "cbs-ledger"}
    first = cbs("demo", "--customers", "4", "--transfers", "20", "--json", seconds=300)
    assert first.returncode == 0, first.stdout + first.stderr

    instances = api(folder, "consul").get("/v1/health/service/cbs-ledger", passing="1")
    assert instances[0]["Service"]["Meta"]["sha"] == "0" * 40
    seen = shown(folder)
    assert not [secret for secret in secrets_of(folder) if secret in seen]
    others = [each for each in folder["secrets"].iterdir() if each.stat().st_mode & 0o077]
    assert not others

    assert cbs("down", seconds=DOWN_SECONDS_MAX).returncode == 0
    assert not left_behind(f"{MARK}={folder.root}")
    assert str(folder.root) not in Path("/proc/self/mounts").read_text()

    up(cbs, dist)
    verified = cbs("verify", "--json", seconds=300)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert '"transfers"' not in verified.stderr
