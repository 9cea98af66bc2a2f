"""A missing verification is made on the spot, in a folder aside: of a promoted version by its own
program, of a candidate by that of a promoted one, since nobody judges himself.

A commit that was made before there were verifications is held against the pact by this one's.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from cbs.bank import SERVICES
from cbs.tools.local.folder import write_whole
from cbs.tools.local.plan import SOURCE
from cbs.tools.release.gate.history import PACTS, SHORT, GitHistory, Pact
from cbs.tools.release.layout import LOCK, NOW, SOURCES, Layout, layout_of
from cbs.tools.release.provider_verification.report import VerificationReport, Verified

VERIFY_SECONDS_MAX, DERIVE_SECONDS_MAX = 900, 120
WROTE_PACTS = "cbs.tools.release.pacts.program"
LOG_CHARACTERS_SHOWN = 600


class NotDerived(Exception):
    """What a commit's code says could not be written; it says why."""


class Run(Protocol):
    """What is found out by running a commit's own programs."""

    def __call__(
        self, sha: str, pacts: Sequence[Pact], verifier: str, candidate: str, over: str = ""
    ) -> VerificationReport:
        """Of a version and pacts; by the program of a commit, with the states that are new in
        another; once the migrations that a third one has for their provider have run, too."""
        ...

    def derived(self, sha: str, application: str) -> list[str]:
        """The files of an application's contracts that a commit has otherwise than its code writes
        them. Raises NotDerived."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """`say` is told how far it is; `kept` has what was derived before."""

    history: GitHistory
    say: Callable[[str], None]
    kept: Path

    def __call__(
        self, sha: str, pacts: Sequence[Pact], verifier: str, candidate: str, over: str = ""
    ) -> VerificationReport:
        """Hold pacts against the provider as it is in a commit, by the program of `verifier`; of
        provider states it takes from `candidate` what it does not know."""
        names = ", ".join(f"{pact.consumer}-{pact.provider}" for pact in pacts)
        where = f" with the migrations of {over[:SHORT]}" if over else ""
        self.say(f"verifying at {sha[:SHORT]}{where}: {names}")
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            tree = stack.enter_context(self._tree(sha))
            judge = tree if verifier == sha else stack.enter_context(self._tree(verifier))
            files = []
            for pact in pacts:
                file = Path(folder) / f"{pact.consumer}-{pact.provider}-{pact.id[:SHORT]}.json"
                file.write_bytes(pact.body)
                files.append(file)
            more: dict[str, Path] = {}
            if candidate not in (verifier, ""):
                here = candidate == sha
                more["--states"] = tree if here else stack.enter_context(self._tree(candidate))
            if over:
                here = over == candidate and "--states" in more
                newer = more["--states"] if here else stack.enter_context(self._tree(over))
                more["--migrations"] = newer
            return self._run(judge, tree, more, Path(folder) / "report.json", files)

    def derived(self, sha: str, application: str) -> list[str]:
        place = self.kept / f"{application}-{self.history.code(sha)}.json"
        if place.exists():
            return msgspec.json.decode(place.read_bytes(), type=list[str])
        self.say(f"writing the contracts of {application}@{sha[:SHORT]} anew")
        with self._tree(sha) as tree, tempfile.TemporaryDirectory() as folder:
            if (tree / LOCK).read_bytes() != (self.history.root / LOCK).read_bytes():
                raise NotDerived("it has other packages: run ./cbs contracts check in its tree")
            written = _pacts_of(tree, application, Path(folder) / "pacts")
            if application in SERVICES:
                written |= _documents_of(tree, application)
            there = (tree / PACTS).glob(f"{application}-*.json")
            names = written.keys() | {str(each.relative_to(tree)) for each in there}
            stale = sorted(name for name in names if _text(tree / name) != written.get(name))
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(place, msgspec.json.encode(stale).decode())
        return stale

    @contextmanager
    def _tree(self, sha: str) -> Iterator[Path]:
        if self.history.is_head(sha) and not self.history.changed(SOURCES, LOCK):
            yield self.history.root
        else:
            with self.history.tree(sha) as tree:
                yield tree

    def _run(
        self, judge: Path, tree: Path, more: Mapping[str, Path], out: Path, files: list[Path]
    ) -> VerificationReport:
        layout = layout_of(lambda path: (judge / path).exists())
        program = judge / SOURCES / layout.verification / "program.py"
        has_program = program.exists()
        command = self._command(judge, layout) if has_program else _program(NOW)
        argv = [*command, str(out), *map(str, files)]
        environment = {k: v for k, v in os.environ.items() if k not in ("CBS_DATA", "CBS_SHA")}
        environment["PYTHONPATH"] = str(judge / "src" / "python" if has_program else SOURCE)
        if not has_program or judge != tree:
            argv += ["--tree", str(tree)]
        for option, place in more.items():
            # An older program does not know every option.
            if has_program and option in program.read_text():
                argv += [option, str(place)]
            elif option == "--migrations":
                return VerificationReport(error="its verifier is of before this could be tried")
        try:
            done = subprocess.run(
                argv, env=environment, cwd=judge, timeout=VERIFY_SECONDS_MAX, check=False
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

    def _command(self, judge: Path, layout: Layout) -> list[str]:
        """With our own packages if it wants the same, else with those that its lock file names."""
        own = self.history.root / LOCK
        if (judge / LOCK).read_bytes() == own.read_bytes():
            return _program(layout)
        return [str(judge / "cbs"), "contracts", "verify-at"]


def _pacts_of(tree: Path, application: str, folder: Path) -> dict[str, str]:
    """Path -> text, as the consumer's own code in a tree writes them."""
    _output(tree, WROTE_PACTS, str(folder))
    found = folder.glob(f"{application}-*.json")
    return {f"{PACTS}/{file.name}": file.read_text() for file in found}


def _documents_of(tree: Path, service: str) -> dict[str, str]:
    documents = json.loads(_output(tree, f"cbs.{service}.main", "schema"))
    return {
        f"contracts/{kind}/{service}.json": json.dumps(each, indent=2, sort_keys=True) + "\n"
        for kind, each in documents.items()
    }


def _output(tree: Path, module: str, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree / "src" / "python")}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", module, *words],
            env=environment,
            cwd=tree,
            capture_output=True,
            text=True,
            timeout=DERIVE_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotDerived(f"{module} took more than {DERIVE_SECONDS_MAX} s") from None
    if done.returncode != 0:
        raise NotDerived(f"{module} failed: {done.stderr.strip()[-LOG_CHARACTERS_SHOWN:]}")
    return done.stdout


def _text(file: Path) -> str | None:
    return file.read_text() if file.exists() else None


def _program(layout: Layout) -> list[str]:
    return [sys.executable, "-P", "-m", layout.program]


def is_of(pact: Pact, verified: Verified) -> bool:
    return (pact.consumer, pact.provider) == (verified.consumer, verified.provider)
