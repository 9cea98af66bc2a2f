"""One bank on the real Nomad and Consul, and a clone whose versions of the ledger are released."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cbs.tools.cluster.api import Api, kept
from cbs.tools.local.folder import Folder
from cbs.tools.release.deploy.nomad_api import NomadApi
from tests.gate.clone import ROOT, Clone
from tests.release_e2e.load import Load, Meter
from tests.release_e2e.pexes import Fault, planted, remade

COMMAND_SECONDS_MAX = 600
TO, PERCENT = "laptop-cluster", 20


Ran = subprocess.CompletedProcess[str]


def note(text: str) -> None:
    """For whoever reads a test's output."""
    sys.stderr.write(f"{text}\n")


@dataclass(frozen=True, slots=True)
class Told:
    """What a command said. `release` is what `--json` told, if anything."""

    code: int
    release: dict[str, Any]
    progress: str

    @property
    def why(self) -> str:
        return "\n".join(
            each["why"]
            for step in self.release.get("steps", ())
            for each in (step.get("done") or {}).get("reasons", ())
            if each["answer"] != "yes"
        )

    @property
    def outcome(self) -> str:
        steps = [each["step"] for each in self.release["steps"]]
        return "reverted" if "revert" in steps else "promoted" if self.code == 0 else "refused"

    def said(self, step: str) -> str:
        found = [each for each in self.release["steps"] if each["step"] == step]
        return "\n".join(reason["why"] for each in found for reason in each["done"]["reasons"])


@dataclass(slots=True, kw_only=True)
class Bank:
    folder: Folder
    clone: Clone
    pexes: Path
    environ: dict[str, str]
    load: Load = field(init=False)

    def run(
        self, *words: str, seconds: float = COMMAND_SECONDS_MAX
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self._argv(*words),
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def _argv(self, *words: str) -> list[str]:
        return [sys.executable, "-P", "-m", "cbs.tools.cli", *words]

    # --- versions --------------------------------------------------------------------------------

    def commit(self, message: str) -> str:
        """A version whose sources are as good as the last."""
        (self.clone.root / "README.md").write_text(f"{message}\n")
        return self.clone.commit(message)

    @contextmanager
    def faulty(self, message: str, fault: Fault) -> Iterator[None]:
        """The newest version has a fault, of which the gate sees nothing; the next has not."""
        planted(fault, self.sources)
        self.commit(message)
        try:
            self.verify()
            yield
        finally:
            self.clone.git("checkout", "--quiet", "HEAD~1", "--", "src")
            self.commit(f"Not: {message}")

    @property
    def sources(self) -> Path:
        return self.clone.root / "src" / "python"

    def pex(self, name: str) -> Path:
        """Of the newest version."""
        out = self.folder.root / "pexes" / f"{name}.pex"
        return remade(self.pexes / "ledger.pex", out, self.sources)

    def verify(self) -> None:
        """The newest version, with all who rely on it: the gate remembers."""
        data = str(self.folder.root)
        done = self.run(*self.words("can-i-deploy", "ledger", "--to", TO, "--data", data))
        assert done.returncode == 0, done.stdout + done.stderr

    # --- releases --------------------------------------------------------------------------------

    def words(self, *words: str) -> list[str]:
        clone, store = str(self.clone.root), str(self.clone.store)
        return ["release", *words, "--repository", clone, "--store", store]

    def deploying(self, *words: str, command: str = "deploy") -> list[str]:
        data = str(self.folder.root)
        first = [command, "ledger", "--to", TO, "--data", data, "--json"]
        # So many are needed to be sure of one in ten.
        judged = ("--window", "8", "--requests", "60", "--canary-percent", str(PERCENT))
        return self.words(*first, *judged, *words)

    def deploy(self, *words: str, command: str = "deploy") -> Told:
        done = self.run(*self.deploying(*words, command=command))
        note(done.stderr)
        return Told(done.returncode, json.loads(done.stdout or "{}"), done.stderr)

    def ended(self, at: str, number: signal.Signals, *words: str, command: str = "deploy") -> str:
        """A deploy that gets a signal when it says a line with `at`, and what it said."""
        process = subprocess.Popen(
            self._argv(*self.deploying(*words, command=command)),
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        watchdog = threading.Timer(COMMAND_SECONDS_MAX, process.kill)
        watchdog.start()
        said = ""
        try:
            assert process.stderr is not None
            for line in process.stderr:
                said += line
                if at in line:
                    process.send_signal(number)
            process.wait()
        finally:
            watchdog.cancel()
            process.kill()
            process.communicate()
        note(said)
        return f"{said}exit {process.returncode}"

    def history(self) -> list[dict[str, Any]]:
        done = self.run(*self.words("history", "--json"))
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    # --- the cluster -----------------------------------------------------------------------------

    def api(self, name: str, token: str = "management") -> Api:
        ports = json.loads((self.folder.root / "cluster-ports.json").read_text())
        secret = self.folder.secret(f"{name}-{token}.token").read_text().strip()
        return Api.at(name, f"http://127.0.0.1:{ports[name]}", secret)

    def ledgers(self) -> set[str]:
        """The versions that are asked."""
        rows = self.api("consul").get("/v1/health/service/cbs-ledger", passing="1")
        return {row["Service"]["Meta"]["sha"] for row in rows}

    def routes(self) -> dict[str, str | None]:
        consul = self.api("consul")
        names = ("stable", "canary", "canary-percent")
        return {name: kept(consul, f"cbs/routes/ledger/{name}") for name in names}

    def meter(self) -> Meter:
        return Meter(self.api("consul", "deployer"), NomadApi(self.api("nomad", "deployer")))


def made(folder: Path, dist: Path, programs: Mapping[str, str]) -> Bank:
    clone = Clone.made(folder)
    shutil.copytree(ROOT / "nomad", clone.root / "nomad")
    clone.commit("Its jobs")
    environ = os.environ | programs | {"PYTHONPATH": os.pathsep.join(sys.path)}
    environ |= {"XDG_STATE_HOME": str(folder / "state")}
    bank = Bank(folder=Folder.at(folder / "bank"), clone=clone, pexes=dist / "cbs", environ=environ)
    bank.folder.root.mkdir(mode=0o711)
    return bank
