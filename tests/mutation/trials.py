"""A mutant is tried in a fork of a process that has imported everything but what may be wrong.

The import system finds the mutant under its module's name, so that a constant, a default or a class
is as wrong as a function, wherever it is used.
"""

import enum
import gc
import importlib
import marshal
import multiprocessing
import os
import signal
import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import spec_from_loader
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.mutation.mutants import Mutant, mutants_of

FORK = multiprocessing.get_context("fork")
SECONDS_MIN, SECONDS_PER_TEST_SECOND = 20, 10
# Beneath every service, and so the same whatever is wrong in one.
BENEATH = ("cbs.kernel.", "cbs.platform.")
PYTEST = ("-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
NOT_PLANTED, BROKEN = 98, 99
NOTHING_WRONG = "nothing"


class CannotSay(Exception):
    """The tests fail, or cannot be run, without any mutant."""


class Verdict(enum.Enum):
    CAUGHT = enum.auto()
    TIMEOUT = enum.auto()
    SURVIVED = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A module, its mutants, and which tests reach each line; None reaches it on import."""

    name: str
    path: Path
    mutants: list[Mutant]
    reached: dict[int, set[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The tests that judge some modules, what each takes, and what they import."""

    sources: list[Source]
    seconds: dict[str, float]
    imported: list[str]
    without: frozenset[str]

    def tests_of(self, source: Source, mutant: Mutant) -> list[str]:
        """Those that reach it, the quickest first."""
        reached = {test for n in mutant.lines for test in source.reached.get(n, ())}
        # What is decided on import may show anywhere.
        chosen = self.seconds if None in reached else reached
        return sorted(filter(None, chosen), key=lambda test: self.seconds[test])


@dataclass(frozen=True)
class _Without:
    """Skips what needs one of these fixtures."""

    fixtures: frozenset[str]

    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        if fixturedef.argname in self.fixtures:
            fixturedef.func = _needs_a_server  # type: ignore[misc]


def _needs_a_server(**_: Any) -> None:
    pytest.skip("needs a server")


@dataclass(eq=False)
class _Watch:
    """Notes which lines each test reaches, and how long it takes."""

    reached: dict[str, dict[int, set[str | None]]]
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    failed: list[str] = field(default_factory=list)
    test: str | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        # Without parameters: their ids may be made of what is wrong.
        self.test, began = item.nodeid.partition("[")[0], time.monotonic()
        try:
            return (yield)
        finally:
            self.seconds[self.test] += time.monotonic() - began
            self.test = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(f"{report.nodeid}: {report.longreprtext.splitlines()[-1:]}")

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        lines = self.reached.get(frame.f_code.co_filename)
        if lines is None:
            return None
        lines.setdefault(frame.f_lineno, set()).add(self.test)
        return self.trace


@dataclass
class _Importer:
    """Gives the mutant for its module."""

    source: Source
    code: bytes
    loaded: bool = False

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        loader: Any = self
        if name == self.source.name:
            return spec_from_loader(name, loader, origin=str(self.source.path))

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        self.loaded = True
        exec(marshal.loads(self.code), vars(module))


def baseline(
    paths: dict[str, Path], *words: str, without: frozenset[str], url: str | None
) -> Baseline:
    """Runs the tests with nothing wrong, then imports what they import; raises CannotSay."""
    with ProcessPoolExecutor(1, mp_context=FORK) as other:
        tests = other.submit(_baseline, paths, words, without, url).result()
    beneath = () if any(name.startswith(BENEATH) for name in paths) else BENEATH
    for name in tests.imported:
        if name.startswith(beneath) or not name.startswith(("cbs.", "tests.", "__")):
            with suppress(ImportError):
                importlib.import_module(name)
    assert not paths.keys() & sys.modules.keys(), paths.keys() & sys.modules.keys()
    # Pytest collects garbage at its end: not what all forks share.
    gc.collect()
    gc.freeze()
    return tests


def _baseline(
    paths: dict[str, Path], words: Sequence[str], without: frozenset[str], url: str | None
) -> Baseline:
    _settle(url)
    watch = _Watch({str(path): {} for path in paths.values()})
    sys.settrace(watch.trace)
    ended = pytest.main([*PYTEST, *words], plugins=[watch, _Without(without)])
    sys.settrace(None)
    if ended != pytest.ExitCode.OK:
        raise CannotSay(
            f"pytest {' '.join(words)} ends with {int(ended)} although nothing is wrong"
        )
    sources = [
        Source(
            name=name,
            path=path,
            mutants=mutants_of(path.read_text(), vars(importlib.import_module(name))),
            reached=watch.reached[str(path)],
        )
        for name, path in paths.items()
    ]
    return Baseline(
        sources=sources,
        seconds=dict(watch.seconds),
        imported=[*sys.modules],
        without=without,
    )


def tried(
    trials: Sequence[tuple[Source, Mutant]],
    tests: Baseline,
    *,
    urls: Sequence[str | None],
    until: float,
) -> Iterator[tuple[Source, Mutant, Verdict]]:
    """Verdicts as they come, one process for each of `urls`; none is begun after `until`.

    Raises CannotSay if a module is not let through as it stands.
    """
    waiting, free = deque(trials), list(urls)
    waiting.extendleft((each, _nothing_wrong(each)) for each in tests.sources if each.reached)
    running: list[_Trial] = []
    while running or waiting:
        if time.monotonic() > until:
            waiting.clear()
        while free and waiting:
            source, mutant = waiting.popleft()
            if chosen := tests.tests_of(source, mutant):
                running.append(_Trial(source, mutant, chosen, free.pop(), tests))
            else:
                yield source, mutant, Verdict.SURVIVED
        wait([each.process.sentinel for each in running], timeout=1)
        for each in [each for each in running if each.has_ended()]:
            running.remove(each)
            free.append(each.url)
            verdict = each.verdict()
            if each.mutant.name != NOTHING_WRONG:
                yield each.source, each.mutant, verdict
            elif verdict is not Verdict.SURVIVED:
                raise CannotSay(f"{each.source.name}: its tests fail although nothing is wrong")


def _nothing_wrong(source: Source) -> Mutant:
    code = compile(source.path.read_text(), str(source.path), "exec")
    every = range(max(source.reached, default=0) + 1)
    return Mutant(name=NOTHING_WRONG, operator="", lines=every, code=marshal.dumps(code))


class _Trial:
    def __init__(
        self, source: Source, mutant: Mutant, chosen: list[str], url: str | None, tests: Baseline
    ) -> None:
        self.source, self.mutant, self.url = source, mutant, url
        asked = (source, mutant.code, chosen, tests.without, url)
        self.process = FORK.Process(target=_try, args=asked)
        self.process.start()
        seconds = sum(tests.seconds[each] for each in chosen)
        self.deadline = time.monotonic() + SECONDS_MIN + SECONDS_PER_TEST_SECOND * seconds

    def has_ended(self) -> bool:
        return self.process.exitcode is not None or time.monotonic() > self.deadline

    def verdict(self) -> Verdict:
        code = self.process.exitcode
        if code is None:
            os.killpg(self.process.pid or 0, signal.SIGKILL)
            self.process.join()
            return Verdict.TIMEOUT
        if code in (NOT_PLANTED, BROKEN):
            raise CannotSay(f"{self.source.name}: {self.mutant.name}: a trial ends with {code}")
        alive = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        return Verdict.SURVIVED if code in alive else Verdict.CAUGHT


def _try(
    source: Source, code: bytes, tests: list[str], without: frozenset[str], url: str | None
) -> None:
    ended = BROKEN
    try:
        _settle(url)
        importer: Any = _Importer(source, code)
        sys.meta_path.insert(0, importer)
        ended = int(pytest.main([*PYTEST, "-x", *tests], plugins=[_Without(without)]))
        ended = ended if importer.loaded else NOT_PLANTED
    finally:
        os._exit(ended)


def _settle(url: str | None) -> None:
    """A process group of its own, silent; the same dice every time."""
    os.setsid()
    with open(os.devnull, "r+b") as nowhere:
        for stream in (0, 1, 2):
            os.dup2(nowhere.fileno(), stream)
    if url:
        os.environ["CBS_TEST_POSTGRES_URL"] = url
    settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")
