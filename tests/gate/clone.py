"""A git repository of this tree's real files, in which a change costs nothing and the gate is real.

The gate, its runner and the bank that it brings up are what a user has; only the repository, the
store and the home folder are of the test.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cbs.tools.cli.main import app_of
from cbs.tools.release.gate.history import PACTS
from cbs.tools.release.layout import LOCK, SOURCES

ROOT = Path(__file__).parents[2]
COMMAND_SECONDS_MAX = 500
WITHOUT = shutil.ignore_patterns("__pycache__")
AUTHOR = {
    "GIT_AUTHOR_NAME": "Asha",
    "GIT_AUTHOR_EMAIL": "asha@bank.example",
    "GIT_COMMITTER_NAME": "Asha",
    "GIT_COMMITTER_EMAIL": "asha@bank.example",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What `can-i-deploy --json` said."""

    code: int
    verdict: dict[str, Any]

    def why(self, answer: str = "no") -> list[str]:
        return [each["why"] for each in self.verdict["reasons"] if each["answer"] == answer]


@dataclass(frozen=True, slots=True)
class Clone:
    root: Path
    home: Path

    @classmethod
    def made(cls, folder: Path) -> "Clone":
        """With one commit, which is as this tree is."""
        clone = cls(folder / "clone", folder / "home")
        clone.home.mkdir(parents=True)
        for part in (SOURCES, "contracts"):
            shutil.copytree(ROOT / part, clone.root / part, ignore=WITHOUT)
        (clone.root / LOCK).parent.mkdir(parents=True)
        shutil.copy(ROOT / LOCK, clone.root / LOCK)
        (clone.root / ".gitignore").write_text("__pycache__/\n/cbs\n/.cbs/\n")
        # In a clone of one's own it is the launcher, which would make an environment first.
        shim = f'#!/bin/sh\nexec "{sys.executable}" -P -m cbs.tools.cli "$@"\n'
        (clone.root / "cbs").write_text(shim)
        (clone.root / "cbs").chmod(0o700)
        clone.git("init", "--quiet", "--initial-branch=main")
        clone.commit("As it is")
        return clone

    @property
    def store(self) -> Path:
        return self.home / "store"

    def environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "USER": "asha",
            "PYTHONPATH": str(self.root / "src" / "python"),
            "CBS_RELEASE_STORE": str(self.store),
            "CBS_DATA": str(self.home / "bank"),
            **AUTHOR,
        }

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS_MAX,
        )

    def git(self, *words: str) -> str:
        done = self.run("git", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def branch(self, name: str, start: str) -> None:
        self.git("checkout", "--quiet", "-b", name, start)

    def edit(self, path: str, before: str, after: str) -> None:
        """A path below the bank's sources; what is to be changed is there once, or it is a lie."""
        file = self.root / SOURCES / path
        text = file.read_text()
        assert text.count(before) == 1, f"{path} has {text.count(before)} times: {before}"
        file.write_text(text.replace(before, after))

    def rename(self, service: str, before: str, after: str) -> None:
        """A word, wherever a service has it."""
        files = (self.root / SOURCES / service).rglob("*.py")
        changed = [file for file in files if before in file.read_text()]
        assert changed, f"{service} does not have {before}"
        for file in changed:
            file.write_text(re.sub(rf"\b{before}\b", after, file.read_text()))

    def write_pacts(self) -> None:
        """As `./cbs contracts write` does: by the consumers' own code, as this tree has it."""
        folder = self.home / "pacts"
        shutil.rmtree(folder, ignore_errors=True)
        program = "cbs.tools.release.pacts.program"
        done = self.run(sys.executable, "-P", "-m", program, str(folder))
        assert done.returncode == 0, done.stderr
        shutil.rmtree(self.root / PACTS)
        shutil.copytree(folder, self.root / PACTS)

    def cbs(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("./cbs", *words)

    def record(self, application: str, sha: str, to: str = "prod", *how: str) -> None:
        done = self.cbs("release", "record", application, "--version", sha, "--to", to, *how)
        assert done.returncode == 0, done.stderr

    def may(self, application: str, sha: str, *how: str, to: str = "prod") -> Answer:
        words = ("release", "can-i-deploy", application, "--version", sha, "--to", to, "--json")
        if "--no-run" in how:
            return self._looked_up([*words, *how])
        done = self.cbs(*words, *how)
        assert done.stdout, done.stderr
        return Answer(done.returncode, json.loads(done.stdout))

    def _looked_up(self, words: list[str]) -> Answer:
        """In this process: what only looks up starts nothing, and many questions look up alike."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment().items():
                patch.setenv(name, value)
            argv = [*words, "--repository", str(self.root)]
            done = CliRunner().invoke(app_of(*words[:2]), argv)
        assert done.stdout, done.output
        return Answer(done.exit_code, json.loads(done.stdout))
