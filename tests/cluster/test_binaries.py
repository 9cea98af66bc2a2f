"""A program that will not do is said to be so, with what to do; one that is there is not built."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cbs.tools.cluster import binaries
from cbs.tools.cluster.binaries import NOMAD, NoBinary, find


def program(folder, name, says):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


def nothing(_: str) -> None:
    return None


def test_the_one_that_is_named_comes_before_the_one_on_path(tmp_path):
    program(tmp_path, "nomad", "echo Nomad v1.11.0")
    mine = program(tmp_path, "mine", "echo Nomad v1.10.5")

    there = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert find(NOMAD, say=nothing, environ=there) == tmp_path / "nomad"
    assert find(NOMAD, say=nothing, environ=there | {"CBS_NOMAD_BINARY": str(mine)}) == mine


@pytest.mark.parametrize(
    ("says", "why"),
    [("echo Nomad v1.9.7", "is the least"), ("exit 1", "does not run"), ("true", "no version")],
)
def test_one_that_is_too_old_or_broken_is_refused_with_what_to_do(tmp_path, says, why):
    program(tmp_path, "nomad", says)
    with pytest.raises(NoBinary, match=why) as refused:
        find(NOMAD, say=nothing, environ={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert "CBS_NOMAD_BINARY" in str(refused.value)


def test_without_go_it_says_where_to_get_it(tmp_path):
    with pytest.raises(NoBinary, match="install nomad"):
        find(NOMAD, say=nothing, environ={"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)})


def go(folder, builds):
    """A Go that builds what it is told to, to see how it is asked and what becomes of it."""
    return program(folder, "go", f'if [ "$1" = env ]; then echo go1.26.0; exit; fi\n{builds}')


def test_it_is_built_once_from_the_pinned_module_and_kept(tmp_path):
    go(tmp_path, f'echo "$PWD $*" >> {tmp_path}/asked; echo built > "$5"')
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}

    kept = find(NOMAD, say=nothing, environ=environ)
    assert find(NOMAD, say=nothing, environ=environ) == kept and kept.read_text() == "built\n"

    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert asked.startswith(f"{binaries.MODULES}/nomad build -mod=readonly")


def test_a_build_that_fails_says_why_and_leaves_nothing(tmp_path):
    go(tmp_path, 'echo half > "$5"; echo no such package >&2; exit 1')
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with pytest.raises(NoBinary, match="no such package"):
        find(NOMAD, say=nothing, environ=environ)
    assert [each.suffix for each in (tmp_path / "cache" / "cbs" / "bin").iterdir()] == [".lock"]


def test_an_interrupted_build_ends_what_it_started_and_leaves_nothing(tmp_path):
    go(tmp_path, f'echo half > "$5"; echo $$ > {tmp_path}/pid; sleep 600')
    script = "from cbs.tools.cluster.binaries import NOMAD, find\nfind(NOMAD, say=lambda _: None)\n"
    environ = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    asking = subprocess.Popen(
        [sys.executable, "-c", script], env=environ, stderr=subprocess.DEVNULL
    )
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    asking.send_signal(signal.SIGINT)
    asking.wait(20)

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert [each.suffix for each in (tmp_path / "cache" / "cbs" / "bin").iterdir()] == [".lock"]
