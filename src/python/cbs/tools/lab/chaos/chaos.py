"""`cbs chaos`: a bank under traffic is broken again and again, and must not have lost a thing."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Annotated

import asyncpg
import typer
import uvloop
from rich.console import Console

from cbs.tools.lab.chaos import convergence, faults, outcome, population, resolve_unanswered
from cbs.tools.lab.chaos.client import ChaosClient, Holder
from cbs.tools.lab.chaos.convergence import Convergence
from cbs.tools.lab.chaos.nemesis import CannotBreak, Nemesis
from cbs.tools.lab.chaos.outcome import ChaosOutcome
from cbs.tools.lab.chaos.records import Records, Violation
from cbs.tools.lab.chaos.resolve_unanswered import Settlement
from cbs.tools.lab.chaos.target_bank import TargetBank, evidence, target
from cbs.tools.local import command_line
from cbs.tools.local.command_line import (
    CANNOT_SAY,
    DONE,
    NO,
    AsJson,
    ends_with,
    json_text,
    print_json,
)
from cbs.tools.local.folder import Folder, write_whole
from cbs.tools.local.process import CannotStart
from cbs.tools.local.public_api import NoBank, PublicApi
from cbs.tools.ops.verify import verify

USER = "operator"
CLIENTS, CLIENTS_MAX = 32, 256
MINUTES, MINUTES_MAX, KILLS_MAX, ROUNDS_MAX = 3.0, 24 * 60.0, 100_000, 10_000
NO_TIME = "there was no time for it"
CALM_SECONDS, LINE_SECONDS, VERIFY_PAUSE = 2.0, 5.0, 10
TOLD = ("asked", "accepted", "refused", "unanswered")
UNSAID = (
    *(CannotStart, NoBank, OSError, *resolve_unanswered.UNSETTLED),
    *(asyncpg.PostgresError, asyncpg.InterfaceError),
)


def chaos(
    minutes: Annotated[
        float, typer.Option(min=0.1, max=MINUTES_MAX, help="How long it is broken.")
    ] = MINUTES,
    kills: Annotated[
        int | None,
        typer.Option(min=1, max=KILLS_MAX, help="Until so many kills, instead of minutes."),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, max=ROUNDS_MAX, help="So many rounds, instead of minutes.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help=f"Only such faults: {', '.join(faults.KINDS)}."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another one, other faults.")] = 1,
    clients: Annotated[
        int, typer.Option(min=2, max=CLIENTS_MAX, help="Who ask at the same time.")
    ] = CLIENTS,
    from_pex: Annotated[
        Path | None,
        typer.Option(
            "--from-pex", metavar="DIST", help="Break the PEXes that ./pants package :: made."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Break a bank under traffic: kill and stop its parts, cut and slow what lies between them,
    lose NATS's data and answers of COMMITs, fill disks, move clocks.

    Brings up a bank of its own for this, in a new folder that is erased afterwards, but kept with
    the evidence if a promise was broken. The seed chooses the faults and what clients ask; what
    meets what is up to the machine. Exit 0: all was kept. 1: not. 3: it cannot be said.
    """
    console = command_line.console(as_json=as_json)
    kinds = _kinds(only)
    timed = kills is None and rounds is None
    limit = Limit(seconds=60 * minutes if timed else None, kills=kills, rounds=rounds)
    with (
        ends_with(CANNOT_SAY, *UNSAID),
        target(console, from_pex, disks=faults.FULL in kinds) as bank,
    ):
        found = uvloop.run(Chaos(bank, console, seed, clients, limit, kinds).run())
        if found.broken:
            write_whole(evidence(bank.folder), json_text(found))
    if as_json:
        print_json(found)
    outcome.show(found, console)
    raise typer.Exit(NO if found.broken else CANNOT_SAY if found.uncertain else DONE)


def _kinds(only: list[str] | None) -> tuple[str, ...]:
    if strange := set(only or ()) - set(faults.KINDS):
        known = ", ".join(faults.KINDS)
        raise typer.BadParameter(f"no such fault: {', '.join(strange)}; there is: {known}")
    return tuple(kind for kind in faults.KINDS if not only or kind in only)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """When there have been faults enough; what is None does not count."""

    seconds: float | None
    kills: int | None
    rounds: int | None

    def reached(self, *, seconds: float, kills: int, rounds: int) -> bool:
        return (
            (self.seconds is not None and seconds >= self.seconds)
            or (self.kills is not None and kills >= self.kills)
            or (self.rounds is not None and rounds >= self.rounds)
        )


@dataclass(slots=True)
class Chaos:
    """One run against a bank that is up, in rounds; after each it must be whole."""

    target: TargetBank
    console: Console
    seed: int
    size: int
    limit: Limit
    kinds: tuple[str, ...]
    records: Records = field(default_factory=Records)
    convergence: list[Convergence] = field(default_factory=list)
    found: list[verify.Finding] = field(default_factory=list)
    verify_at: float = 0
    began: float = field(default_factory=time.monotonic)
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    nemesis: Nemesis = field(init=False)

    def __post_init__(self) -> None:
        self.nemesis = Nemesis(target=self.target, say=self._quietly)

    @property
    def folder(self) -> Folder:
        return self.target.folder

    async def run(self) -> ChaosOutcome:
        api = PublicApi.of(self.folder, USER, at_once_max=2 * self.size)
        api.url = f"http://127.0.0.1:{self.target.links.ports['clients edge']}"
        telling = asyncio.create_task(self._tell())
        try:
            return await self._run(api)
        finally:
            telling.cancel()
            api.close()

    async def _run(self, api: PublicApi) -> ChaosOutcome:
        name = f"chaos-{self.seed}"
        holders = await population.populate(api, self.records, name=name, size=self.size)
        settlement = Settlement(
            api=api, records=self.records, holders=holders, random=Random(f"{name}-sample")
        )
        clients = self._clients(api, holders)
        self.console.print(f"{len(holders)} accounts are open, and {len(clients)} clients ask")
        self.began = time.monotonic()
        await self._calm(clients)
        before = convergence.memory_mib(self.folder)
        for planned in faults.rounds(self.seed, self.kinds):
            await self._round(planned, clients)
            self.records.violations += await settlement()
            after = convergence.memory_mib(self.folder)
            over = self._is_over or bool(self.records.violations)
            if over or time.monotonic() >= self.verify_at:
                await self._verify()
            if over or self._is_broken:
                break
        self.records.violations += convergence.memory_violations(before, after)
        return self._outcome(settlement, before, after)

    def _outcome(
        self, settlement: Settlement, before: dict[str, int], after: dict[str, int]
    ) -> ChaosOutcome:
        tried = {what.partition(" ")[0] for what in self.nemesis.done}
        untried = dict.fromkeys((kind for kind in self.kinds if kind not in tried), NO_TIME)
        return ChaosOutcome(
            seed=self.seed,
            seconds=round(time.monotonic() - self.began, 1),
            faults=dict(self.nemesis.done),
            untried=untried | self.nemesis.untried,
            kills=self.nemesis.kills,
            clients=self.size,
            requests={what: self.records.counts()[what] for what in (*TOLD, "tries")},
            silences=dict(self.records.silences),
            refusals=dict(self.records.refusals),
            resolved=settlement.resolved,
            asked_again=settlement.repeated,
            convergence=self.convergence,
            errors_logged=convergence.errors_logged(self.folder),
            ended_by_themselves=convergence.ended_by_themselves(self.folder),
            memory_mib_before=before,
            memory_mib_after=after,
            violations=self.records.violations,
            verify=self.found,
        )

    def _clients(self, api: PublicApi, holders: list[Holder]) -> list[ChaosClient]:
        return [
            ChaosClient(
                name=f"chaos-{self.seed}-{place}",
                api=api,
                records=self.records,
                random=Random(f"chaos-{self.seed}-{place}"),
                own=holder,
                numbers=[holder.number for holder in holders],
                enough=self.enough,
            )
            for place, holder in enumerate(holders)
        ]

    async def _calm(self, clients: list[ChaosClient]) -> None:
        """Traffic without trouble, for memory to be what it is in use."""
        await self._round([], clients)
        self.convergence.clear()

    async def _round(self, planned: list[faults.PlannedFault], clients: list[ChaosClient]) -> None:
        """Traffic and trouble together; returns when both have ended and the bank is at rest."""
        self.enough.clear()
        asking = asyncio.gather(*(client.run() for client in clients))
        before = self.nemesis.done.copy()
        try:
            await asyncio.sleep(CALM_SECONDS)
            await self._break(planned)
            self.enough.set()
            kinds = {what.partition(" ")[0] for what in self.nemesis.done - before}
            converged = await convergence.converge(
                self.folder, self.records.violations, kinds=kinds
            )
            self.convergence.append(converged)
            await asking
        finally:
            asking.cancel()

    async def _break(self, planned: list[faults.PlannedFault]) -> None:
        try:
            for fault in planned:
                if self._is_over:
                    break
                await self.nemesis(fault)
            await self.nemesis.ended()
        except CannotBreak as error:
            promise, about = "any part can be killed", "the supervisor"
            broken = Violation(promise=promise, about=about, found=str(error))
            self.records.violations.append(broken)
        finally:
            await self.nemesis.ended()

    async def _verify(self) -> None:
        began = time.monotonic()
        self.found = await verify.findings(
            verify.places_of(self.folder), say=self._quietly, tell=lambda _: None
        )
        # It reads all there is: of a long run it shall take a small part.
        self.verify_at = time.monotonic() + VERIFY_PAUSE * (time.monotonic() - began)

    @property
    def _is_over(self) -> bool:
        seconds = time.monotonic() - self.began
        rounds = len(self.convergence)
        return self.limit.reached(seconds=seconds, kills=self.nemesis.kills, rounds=rounds)

    @property
    def _is_broken(self) -> bool:
        violated = any(finding.outcome == "violated" for finding in self.found)
        return violated or bool(self.records.violations)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(LINE_SECONDS)
            at, counts = time.monotonic() - self.began, self.records.counts()
            said = ", ".join(f"{counts[what]} {what}" for what in TOLD)
            rounds = len(self.convergence)
            self.console.print(f"{at:4.0f} s  {rounds} rounds, {self.nemesis.kills} kills, {said}")

    def _quietly(self, text: str) -> None:
        """What is only of interest to somebody who looks on, on a terminal."""
        if self.console.is_terminal:
            self.console.print(f"        {text}")
