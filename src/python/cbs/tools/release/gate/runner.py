"""A missing verification is made on the spot: by the provider's own commit, in a folder aside.

A commit that was made before there were verifications is held against the pact by this one's.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cbs.tools.local.plan import SOURCE
from cbs.tools.release.gate.history import LOCK, SHORT, GitHistory, Pact
from cbs.tools.release.layout import NOW, SOURCES, Layout, layout_of
from cbs.tools.release.provider_verification.report import VerificationReport, Verified

VERIFY_SECONDS_MAX = 900
LOG_CHARACTERS_SHOWN = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """`say` is told how far it is."""

    history: GitHistory
    say: Callable[[str], None]

    def __call__(self, sha: str, pacts: Sequence[Pact]) -> VerificationReport:
        """Hold pacts against the provider as it is in a commit."""
        names = ", ".join(f"{pact.consumer}-{pact.provider}" for pact in pacts)
        self.say(f"verifying at {sha[:SHORT]}: {names}")
        with self._tree(sha) as tree, tempfile.TemporaryDirectory() as folder:
            files = []
            for pact in pacts:
                file = Path(folder) / f"{pact.consumer}-{pact.provider}-{pact.id[:SHORT]}.json"
                file.write_bytes(pact.body)
                files.append(file)
            return self._run(tree, Path(folder) / "report.json", files)

    @contextmanager
    def _tree(self, sha: str) -> Iterator[Path]:
        if self.history.is_head(sha) and not self.history.changed(SOURCES, LOCK):
            yield self.history.root
        else:
            with self.history.tree(sha) as tree:
                yield tree

    def _run(self, tree: Path, out: Path, files: list[Path]) -> VerificationReport:
        layout = layout_of(lambda path: (tree / path).exists())
        has_program = (tree / SOURCES / layout.verification / "program.py").exists()
        command = self._command(tree, layout) if has_program else _program(NOW)
        argv = [*command, str(out), *map(str, files)]
        environment = {k: v for k, v in os.environ.items() if k not in ("CBS_DATA", "CBS_SHA")}
        environment["PYTHONPATH"] = str(tree / "src" / "python" if has_program else SOURCE)
        if not has_program:
            argv += ["--tree", str(tree)]
        try:
            done = subprocess.run(
                argv, env=environment, cwd=tree, timeout=VERIFY_SECONDS_MAX, check=False
            )
        except subprocess.TimeoutExpired:
            return VerificationReport(error=f"it took more than {VERIFY_SECONDS_MAX} s")
        if not out.exists():
            log = out.with_suffix(".log")
            said = log.read_text(errors="replace")[-LOG_CHARACTERS_SHOWN:] if log.exists() else ""
            return VerificationReport(
                error=f"the verification ended with {done.returncode}: {said}"
            )
        return msgspec.json.decode(out.read_bytes(), type=VerificationReport)

    def _command(self, tree: Path, layout: Layout) -> list[str]:
        """With our own packages if it wants the same, else with those that its lock file names."""
        own = self.history.root / LOCK
        if (tree / LOCK).read_bytes() == own.read_bytes():
            return _program(layout)
        return [str(tree / "cbs"), "contracts", "verify-at"]


def _program(layout: Layout) -> list[str]:
    return [sys.executable, "-P", "-m", layout.program]


def is_of(pact: Pact, verified: Verified) -> bool:
    return (pact.consumer, pact.provider) == (verified.consumer, verified.provider)
