"""A whole bank is asked whatever its OpenAPI documents allow and forbid, and loses nothing.

    ./pants run tests/fuzz/campaign.py -- --cases 100000

Brings up a bank of its own, as `cbs chaos` does, and asks through its edge; every service's
document in turn, so that the state each leaves is there for the next. Afterwards the bank must
converge and `cbs verify` must find nothing. Exit 0: all answers conform. 1: not, each with a curl
line. 3: it cannot be said.
"""

import asyncio
import itertools
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from cbs.bank import SERVICES
from cbs.tools.lab.chaos import convergence
from cbs.tools.lab.chaos.records import Violation
from cbs.tools.lab.chaos.target_bank import evidence, target
from cbs.tools.lab.demo.onboarding import account_of
from cbs.tools.lab.demo.people import people
from cbs.tools.lab.demo.trade import registration
from cbs.tools.local.command_line import CANNOT_SAY, DONE, NO
from cbs.tools.local.folder import Folder, write_whole
from cbs.tools.local.process import CannotStart
from cbs.tools.local.public_api import NoAnswerFromBank, NoBank, PublicApi, RefusedByBank
from cbs.tools.ops.verify import verify
from tests.fuzzing import Tried, fuzz

CONTRACTS = Path(__file__).parents[2] / "contracts" / "openapi"
USER, PRODUCT, HOLDERS, FUNDS_MINOR = "importer", "SAVINGS-INR", 6, 1_000_000
CASES, CASES_MAX, EXAMPLES_A_ROUND, LINE_SECONDS = 100_000, 10_000_000, 60, 10.0
FAILURES_SHOWN_MAX = 50


class Found(msgspec.Struct, kw_only=True):
    """`statuses`: 0 is an answer that did not come."""

    seed: int
    seconds: float
    cases: int
    statuses: dict[int, int]
    failures: list[str]
    violations: list[str]
    errors_logged: int


@dataclass(slots=True)
class Campaign:
    """Rounds over the services until there were cases enough, or no time is left."""

    folder: Folder
    console: Console
    services: tuple[str, ...]
    seed: int
    cases_max: int
    seconds_max: float
    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    told: float = 0

    def run(self) -> Found:
        asyncio.run(self._populate())
        for number in itertools.count():
            for service in self.services:
                self._round(service, self.seed + number)
                if self.cases >= self.cases_max or self._seconds > self.seconds_max:
                    violations = asyncio.run(self._violations())
                    logged = convergence.errors_logged(self.folder)
                    return Found(
                        seed=self.seed,
                        seconds=round(self._seconds, 1),
                        cases=self.cases,
                        statuses=dict(sorted(self.statuses.items())),
                        failures=list(self.failures.values()),
                        violations=violations,
                        errors_logged=sum(logged.values()),
                    )
        raise AssertionError("a campaign ends")

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self.began

    async def _populate(self) -> None:
        """Random ids are nobody's: some accounts are there to be found, with money in them."""
        api = PublicApi.of(self.folder, USER)
        for place, somebody in enumerate(itertools.islice(people(f"fuzz-{self.seed}"), HOLDERS)):
            key = f"fuzz-{self.seed}-{place}"
            number = await account_of(api, registration(somebody), product=PRODUCT, key=key)
            body = {"account": number, "amount_minor": FUNDS_MINOR, "currency": "INR"}
            await api.post("/v1/payments/deposits", body, msgspec.Raw, key=f"{key}-d")
        api.close()

    def _round(self, service: str, seed: int) -> None:
        document = json.loads((CONTRACTS / f"{service}.json").read_text())
        api = PublicApi.of(self.folder, USER)
        tried = fuzz(
            document,
            api.url,
            api.token,
            seed=seed,
            examples=EXAMPLES_A_ROUND,
            tell=lambda tried: self._tell(service, tried),
        )
        self.cases += tried.cases.total()
        self.statuses += tried.statuses
        for failure in tried.failures:
            # One of each kind, of each operation: what is known hides nothing else.
            kind = f"{service} {failure.kind}"
            if kind not in self.failures:
                self.failures[kind] = f"{service}, seed {seed}: {failure}"
                self.console.print(f"FAILURE, {self.failures[kind]}")

    def _tell(self, service: str, tried: Tried) -> None:
        if self._seconds - self.told > LINE_SECONDS:
            self.told = self._seconds
            cases = self.cases + tried.cases.total()
            self.console.print(
                f"{self.told:5.0f} s  {cases} of {self.cases_max} cases, at {service},"
                f" {len(self.failures)} kinds of failures"
            )

    async def _violations(self) -> list[str]:
        broken: list[Violation] = []
        await convergence.converge(self.folder, broken, kinds=())
        found = await verify.findings(
            verify.places_of(self.folder), say=lambda _: None, tell=lambda _: None
        )
        lines = [verify.line(each) for each in found if each.outcome != "holds"]
        return lines + [f"{each.promise}: {each.about}: {each.found}" for each in broken]


def main(
    cases: Annotated[int, typer.Option(min=1, max=CASES_MAX, help="How many at least.")] = CASES,
    seed: Annotated[int, typer.Option(min=0, help="Another one, other cases.")] = 1,
    service: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="And no longer than this.")] = 180,
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Ask a bank of its own so many questions that nobody thought of, and check every answer."""
    if unknown := set(service or ()) - set(SERVICES):
        raise typer.BadParameter(f"{', '.join(unknown)}: the services are {', '.join(SERVICES)}")
    console = Console(stderr=as_json, highlight=False, markup=False, soft_wrap=True)
    try:
        with target(console, None, disks=False) as bank:
            campaign = Campaign(
                folder=bank.folder,
                console=console,
                services=tuple(service or SERVICES),
                seed=seed,
                cases_max=cases,
                seconds_max=60 * minutes,
            )
            found = campaign.run()
            broken = found.failures or found.violations or found.errors_logged
            if broken:
                write_whole(evidence(bank.folder), msgspec.json.encode(found).decode())
    except (CannotStart, NoBank, NoAnswerFromBank, RefusedByBank, OSError) as error:
        typer.echo(str(error) or repr(error), err=True)
        raise typer.Exit(CANNOT_SAY) from None
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    console.print(
        f"{found.cases} cases in {found.seconds:.0f} s, answers by status {found.statuses}:"
        f" {len(found.failures)} kinds of failures, {len(found.violations)} violations,"
        f" {found.errors_logged} errors logged"
    )
    for line in [*found.failures[:FAILURES_SHOWN_MAX], *found.violations]:
        console.print(line)
    raise typer.Exit(NO if broken else DONE)


if __name__ == "__main__":
    typer.run(main)
