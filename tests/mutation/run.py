"""Plants mistakes in the rules of money, one at a time, and names those that no test has seen.

    run.py [ROOM | MODULE ...] [--changed REV] [--seconds-max N] [--json]

A room is a service (its domain and its write path) or the kernel. Each mutant is imported in place
of its module by a process of its own, in which the tests of its room run that reach it, the
quickest first, until one fails. Rules are judged by tests that need no server, the write path by
those that need PostgreSQL at most. A mutant that takes too long counts as caught.

Exit codes: 0 every module is at the bar; 1 one is below it, or one listed as equivalent is gone;
2 wrong usage; 3 cannot say: a test fails with nothing wrong, or time was too short.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path

from cbs.bank import SERVICES
from cbs.tools.local import postgres
from tests.mutation.trials import CannotSay, Verdict, baseline, tried

CAUGHT_PERCENT_MIN, TRIED_PERCENT_MIN = 90, 50
SECONDS_MAX = 24 * 3600.0
DONE, NO, WRONG_USAGE, CANNOT_SAY = range(4)
SOURCE, EQUIVALENT = Path("src/python"), Path("tests/mutation/equivalent.toml")
# The kernel first: nothing that imports it may be imported before.
ROOMS = ("kernel", *SERVICES)
# Whose tests are not all in the room's own folder.
ELSEWHERE = {"kernel": ["tests/platform/test_saga.py"]}
DATABASE, BUS = "postgres_server", "nats_server"


@dataclass(kw_only=True)
class Report:
    """How the tests did on one module; `gone` are listed as equivalent and do not exist."""

    module: str
    mutants: int
    equivalent: int
    gone: list[str]
    caught: int = 0
    timeouts: int = 0
    survivors: list[tuple[int, str]] = field(default_factory=list)

    @property
    def tried_percent(self) -> float:
        wanted = self.mutants - self.equivalent
        return 100 * self._tried / wanted if wanted else 100.0

    @property
    def caught_percent(self) -> float:
        return 100 * (1 - len(self.survivors) / self._tried) if self._tried else 100.0

    @property
    def _tried(self) -> int:
        return self.caught + self.timeouts + len(self.survivors)

    def __str__(self) -> str:
        """The figures, and every survivor as a difference."""
        lines = [
            f"{self.caught_percent:5.1f} %  {self.module}: {self.mutants} mutants,"
            f" {self.tried_percent:.0f} % tried, {self.caught} caught,"
            f" {self.timeouts} timeouts, {self.equivalent} equivalent"
        ]
        for number, name in sorted(self.survivors):
            scope, _, change = name.partition(": ")
            was, _, now = change.partition(" => ")
            lines += [f"  line {number}, {scope}", f"    - {was}", f"    + {now}"]
        lines += [f"  in {EQUIVALENT.name}, and no mutant: {name}" for name in self.gone]
        return "\n".join(lines)


def modules_of(room: str) -> Iterator[str]:
    folder = SOURCE / "cbs" / room
    files = folder.glob("*.py") if room == "kernel" else folder.glob("domain/*.py")
    for path in (*sorted(files), folder / "store" / "write_path.py"):
        if path.name != "__init__.py" and path.exists():
            yield ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def path_of(module: str) -> Path:
    return (SOURCE / module.replace(".", "/")).with_suffix(".py")


def room_of(module: str) -> str:
    return module.split(".")[1]


def tests_of(room: str) -> list[str]:
    return [f"tests/{room}", *ELSEWHERE.get(room, ())]


def is_stored(module: str) -> bool:
    return ".store." in module


def changed_since(revision: str, modules: Sequence[str]) -> list[str]:
    """The modules that are others now, or are judged by other tests."""
    diff = ["git", "diff", "--name-only", revision, "--"]
    return [
        each
        for each in modules
        if subprocess.run(
            [*diff, path_of(each), *tests_of(room_of(each))], check=True, stdout=subprocess.PIPE
        ).stdout
    ]


def judged(modules: Sequence[str], *, until: float) -> list[Report]:
    """The reports on modules that the same tests judge."""
    room, listed = room_of(modules[0]), tomllib.loads(EQUIVALENT.read_text())
    with ExitStack() as stack:
        urls: list[str | None] = [None] * (os.cpu_count() or 1)
        if is_stored(modules[0]):
            urls = [stack.enter_context(postgres.throwaway()) for _ in urls]
        tests = baseline(
            {each: path_of(each).resolve() for each in modules},
            *tests_of(room),
            without=frozenset({BUS} if is_stored(modules[0]) else {BUS, DATABASE}),
            url=urls[0],
        )
        reports, trials = {}, []
        for source in tests.sources:
            names = {mutant.name for mutant in source.mutants}
            equivalent = listed.get(source.name, {})
            trials += [(source, each) for each in source.mutants if each.name not in equivalent]
            reports[source.name] = Report(
                module=source.name,
                mutants=len(names),
                equivalent=len(names & equivalent.keys()),
                gone=sorted(equivalent.keys() - names),
            )
        # What there is time for is a fair sample.
        random.Random(0).shuffle(trials)
        for source, mutant, verdict in tried(trials, tests, urls=urls, until=until):
            report = reports[source.name]
            report.caught += verdict is Verdict.CAUGHT
            report.timeouts += verdict is Verdict.TIMEOUT
            if verdict is Verdict.SURVIVED:
                report.survivors.append((mutant.lines[0], mutant.name))
    return list(reports.values())


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="*", metavar="ROOM|MODULE", help=f"of {', '.join(ROOMS)}")
    parser.add_argument("--changed", metavar="REV", help="what is another since this revision")
    parser.add_argument("--seconds-max", type=float, default=SECONDS_MAX)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(words)
    modules = [each for room in ROOMS for each in modules_of(room)]
    for what in asked.what:
        if what not in ROOMS and what not in modules:
            parser.error(f"{what} is neither a room nor a module of one")
    if asked.what:
        modules = [each for each in modules if {each, room_of(each)} & set(asked.what)]
    if asked.changed:
        modules = changed_since(asked.changed, modules)
    groups = [list(each) for _, each in groupby(modules, lambda m: (room_of(m), is_stored(m)))]
    ends, reports = time.monotonic() + asked.seconds_max, list[Report]()
    for n, group in enumerate(groups):
        now = time.monotonic()
        try:
            found = judged(group, until=now + (ends - now) / (len(groups) - n))
        except CannotSay as why:
            sys.stderr.write(f"{why}\n")
            return CANNOT_SAY
        (sys.stderr if asked.json else sys.stdout).writelines(f"{each}\n" for each in found)
        reports += found
    if asked.json:
        json.dump([asdict(each) for each in reports], sys.stdout, indent=2)
    if any(each.tried_percent < TRIED_PERCENT_MIN for each in reports):
        return CANNOT_SAY
    met = all(each.caught_percent >= CAUGHT_PERCENT_MIN and not each.gone for each in reports)
    return DONE if met else NO


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
