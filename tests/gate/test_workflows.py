"""What a forge runs by itself, step by step, on a commit that changed a provider."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cbs.tools.release.gate.environments import APPLICATIONS
from tests.gate.clone import Clone
from tests.gate.workflows import steps_of

pytestmark = pytest.mark.timeout(900)
SECONDS_MAX = 120
RUN = "https://forge.bank.example/bank/cbs/actions/runs/7"
OF_RUN = {
    "GITHUB_SERVER_URL": "https://forge.bank.example",
    "GITHUB_REPOSITORY": "bank/cbs",
    "GITHUB_RUN_ID": "7",
}


@dataclass(frozen=True, slots=True)
class Forge:
    """With a memory of its own, and a runner's folder."""

    clone: Clone
    environ: dict[str, str]

    def start(self, script: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=self.clone.root,
            env=self.clone.environment() | self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str) -> tuple[int, str, str]:
        process = self.start(script)
        out, err = process.communicate(timeout=SECONDS_MAX)
        for line in Path(self.environ["GITHUB_ENV"]).read_text().splitlines():
            name, _, value = line.partition("=")
            self.environ[name] = value
        return process.returncode, out, err


@pytest.fixture
def forge(clone: Clone, tmp_path: Path) -> Iterator[Forge]:
    told = tmp_path / "environment"
    told.write_text("")
    environ = OF_RUN | {
        "CBS_RELEASE_STORE": str(tmp_path / "store"),
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_ENV": str(told),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "RELEASE_KEY": Ed25519PrivateKey.generate().private_bytes_raw().hex(),
        "STORE_NKEY": "",
        "BASE": "main",
    }
    clone.git("checkout", "--quiet", "main")
    # A runner has the branches of where it was cloned from.
    clone.git("update-ref", "refs/remotes/origin/main", "main")
    yield Forge(clone, environ)
    clone.git("checkout", "--quiet", "main")


def test_what_a_run_that_was_killed_did_not_verify_the_next_one_does(forge: Forge):
    steps = dict(steps_of("catch-up"))
    of_the_store, known, keys, verify = steps.values()
    assert "RELEASE_KEY" not in of_the_store, "what a branch runs signs nothing"
    assert forge.run(of_the_store)[0] == forge.run(keys)[0] == 0
    for application in APPLICATIONS:
        code, _, said = forge.run(f"./cbs release record {application} --version main --to prod")
        assert code == 0, said
    forge.clone.branch("caught", "main")
    words = "What customers {} tellers ask of payments;"
    forge.clone.edit("payments/http.py", words.format("and"), words.format("or"))
    forge.clone.commit("Another build")
    assert forge.run(known)[0] == 0

    process = forge.start(verify)
    assert process.stderr is not None
    until = time.monotonic() + SECONDS_MAX
    while "verifying at" not in process.stderr.readline():
        assert time.monotonic() < until and process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert forge.run(f"{verify} --no-run")[0] == 3

    code, out, err = forge.run(verify)

    assert code == 0, (out, err)
    assert "never verified" not in out
    assert forge.run(f"{verify} --no-run")[0] == 0
    assert RUN in forge.run("COLUMNS=300 ./cbs release matrix")[1]

    summary = Path(forge.environ["GITHUB_STEP_SUMMARY"])
    code, out, err = forge.run(dict(steps_of("pull-request"))["What the change does to contracts"])
    assert code == 0, (out, err)
    assert "nobody breaks" in summary.read_text()
