"""`./cbs` says what is missing, makes its environment once, and then stays out of the way."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = (
    "bash",
    "cat",
    "cksum",
    "dirname",
    "grep",
    "mkdir",
    "readlink",
    "rm",
    "sed",
    "tail",
    "touch",
)

# A Python that is every program the launcher runs: it reports itself, and makes "environments".
PYTHON = """#!/bin/bash
case "$*" in
  *version_info*) echo {version} ;;
  *ensurepip*) exit {without_venv} ;;
  *fcntl*) exit 0 ;;
  "-m venv "*) mkdir -p "$3"/{{bin,lib/python{version}/site-packages}} && cp "$0" "$3/bin/python" ;;
  *"pip"*install*) echo "pip $PIP_USER" >> "$HOME/ran"; exit {pip_exit} ;;
  *compileall*) exit 0 ;;
  "-m cbs.tools.cli"*) echo "ran $0 $* path=$PYTHONPATH safe=$PYTHONSAFEPATH" ;;
esac
"""


class Machine:
    """A clone and a home on a machine that has nothing but `TOOLS` and the Pythons given to it."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.home, self.clone = folder / "bin", folder / "home", folder / "clone"
        self.lock = self.clone / "3rdparty/python/runtime.lock"
        self.bin.mkdir()
        self.home.mkdir()
        self.lock.parent.mkdir(parents=True)
        shutil.copy(ROOT / "3rdparty/python/runtime.lock", self.lock)
        shutil.copy(ROOT / "cbs", self.clone)
        for tool in (*TOOLS, "cp", "tr"):
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)

    def has_python(self, name: str, *, version: str, without_venv=0, pip_exit=0) -> None:
        python = self.bin / name
        python.write_text(
            PYTHON.format(version=version, without_venv=without_venv, pip_exit=pip_exit)
        )
        python.chmod(0o755)

    def cbs(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.clone / "cbs", *args],
            env={"PATH": str(self.bin), "HOME": str(self.home), **env},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    @property
    def environments(self) -> list[Path]:
        return sorted((self.home / ".cache/cbs").glob("venv-*"))


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("version", [None, "3.10", "3.14"])
def test_without_a_python_that_fits_it_says_what_to_install(machine, version):
    if version:
        machine.has_python("python3", version=version)

    said = machine.cbs("up")

    assert said.returncode == 3
    assert "sudo apt install python3 python3-venv" in said.stderr
    assert machine.environments == []


def test_without_venv_it_names_the_package_to_install(machine):
    machine.has_python("python3", version="3.12", without_venv=1)

    said = machine.cbs("up")

    assert said.returncode == 3
    assert "sudo apt install python3.12-venv" in said.stderr


def test_a_python_with_venv_is_preferred_to_an_earlier_one_without(machine):
    machine.has_python("python3.11", version="3.11", without_venv=1)
    machine.has_python("python3.13", version="3.13")

    assert machine.cbs("up").returncode == 0
    assert [found.name[-5:] for found in machine.environments] == ["-3.13"]


def test_the_python_named_is_used_and_a_wrong_name_is_refused(machine):
    machine.has_python("python3.11", version="3.11")
    machine.has_python("mine", version="3.12")

    assert machine.cbs(CBS_PYTHON=str(machine.bin / "mine")).returncode == 0
    assert [found.name[-5:] for found in machine.environments] == ["-3.12"]
    assert machine.cbs(CBS_PYTHON="/nowhere/python").returncode == 3


def test_it_runs_the_command_line_in_the_environment_with_the_clone_on_its_path(machine):
    machine.has_python("python3.11", version="3.11")

    said = machine.cbs("status", "--data", "a b", PYTHONPATH="/elsewhere", PIP_USER="1")

    assert said.returncode == 0
    assert "-m cbs.tools.cli status --data a b" in said.stdout
    assert f"path={machine.clone / 'src/python'} safe=1" in said.stdout
    assert f"ran {machine.environments[0]}/bin/python" in said.stdout
    assert set((machine.home / "ran").read_text().splitlines()) == {"pip "}, "PIP_USER reached pip"


def test_the_environment_is_made_once_and_again_when_the_lock_changes(machine):
    machine.has_python("python3.11", version="3.11")
    first = machine.cbs()
    again = machine.cbs()
    before = machine.environments

    machine.lock.write_text(machine.lock.read_text() + "# newer\n")
    changed = machine.cbs()

    assert "making the runtime environment" in first.stderr
    assert again.stderr == ""
    assert "making the runtime environment" in changed.stderr
    assert len(before) == len(machine.environments) == 1
    assert before != machine.environments, "the old one is removed"


def test_an_environment_that_a_bank_runs_from_is_kept(machine):
    machine.has_python("python3.11", version="3.11")
    machine.cbs()
    [old] = machine.environments
    shutil.copy(os.path.realpath("/bin/sleep"), old / "bin/sleeper")
    with subprocess.Popen([old / "bin/sleeper", "60"]) as running:
        machine.lock.write_text(machine.lock.read_text() + "# newer\n")
        machine.cbs()
        kept = old.exists()
        running.kill()

    assert kept
    machine.lock.write_text(machine.lock.read_text() + "# newer still\n")
    machine.cbs()
    assert not old.exists()


def test_an_environment_that_failed_is_not_used(machine):
    machine.has_python("python3.11", version="3.11", pip_exit=1)
    failed = machine.cbs()
    machine.has_python("python3.11", version="3.11")

    assert failed.returncode == 3
    assert "could not install" in failed.stderr
    assert machine.environments == []
    assert machine.cbs().returncode == 0
