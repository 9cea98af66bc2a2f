"""The load of `cbs soak`, in a process of its own: what a day brings, a line of figures a window.

    python -m cbs.tools.lab.bench.mix < JOB

At a rate, requests leave when they are due, whether or not others are answered, and are timed from
when they were due: a bank that stands still shows in the latencies instead of slowing its load.
"""

import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import uvloop

from cbs.tools.lab.bench.load import TOO_MUCH, quantile
from cbs.tools.lab.demo.onboarding import account_of
from cbs.tools.lab.demo.people import people
from cbs.tools.lab.demo.trade import registration
from cbs.tools.local.public_api import ApiReply, NoAnswerFromBank, PublicApi, RefusedByBank

WEIGHTS = {"transfer": 70, "deposit": 8, "balance": 12, "list": 9.8, "opening": 0.2}
AMOUNT_MINOR, PRODUCT, UNDER_WAY_MAX = (1, 500), "SAVINGS-INR", 1_024
TICK_SECONDS, LAST_SECONDS_MAX = 0.005, 30.0
DONE = (200, 201)


class Mix(msgspec.Struct, kw_only=True):
    """`clients` ask as fast as they are answered; or, with a `rate`, so many a second are asked."""

    name: str
    seconds: float
    window_seconds: float
    token: str
    accounts: list[str]
    http_url: str
    clients: int = 0
    rate: float = 0


class Window(msgspec.Struct, kw_only=True):
    """What was answered in it. `missed` were due when UNDER_WAY_MAX were not answered yet."""

    at_seconds: float = 0
    seconds: float = 0
    done: int = 0
    refused: dict[str, int] = {}
    without_retry_after: int = 0
    missed: int = 0
    p50_ms: float = 0
    p99_ms: float = 0


@dataclass(slots=True)
class Traffic:
    """Draws what is asked next, asks it, and counts."""

    job: Mix
    api: PublicApi
    random: Random = field(init=False)
    numbers: Any = field(default_factory=itertools.count)
    refused: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    missed: int = 0
    began: float = field(default_factory=time.perf_counter)
    window_began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.random = Random(self.job.name)

    async def one(self, due: float) -> None:
        (kind,) = self.random.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))
        ask: Callable[[str], Awaitable[ApiReply]] = getattr(self, f"_{kind}")
        try:
            reply = await ask(f"{self.job.name}-{next(self.numbers)}")
        except (OSError, TimeoutError, NoAnswerFromBank) as error:
            self.refused[type(error).__name__] += 1
            return
        if reply.status in DONE:
            self.milliseconds.append(1000 * (time.perf_counter() - due))
            return
        self.refused[str(reply.status)] += 1
        if reply.status in TOO_MUCH and not reply.retry_after:
            self.without_retry_after += 1

    async def _transfer(self, key: str) -> ApiReply:
        payer, payee = self.random.sample(self.job.accounts, 2)
        body = {"remitter_account": payer, "beneficiary_account": payee}
        return await self._pay("transfers", body, key)

    async def _deposit(self, key: str) -> ApiReply:
        return await self._pay("deposits", {"account": self._account}, key)

    async def _pay(self, what: str, body: dict[str, str], key: str) -> ApiReply:
        amount = self.random.randint(*AMOUNT_MINOR)
        whole = {**body, "amount_minor": amount, "currency": "INR", "narrative": "soak"}
        return await self.api.once("POST", f"/v1/payments/{what}", whole, key=key)

    async def _balance(self, _: str) -> ApiReply:
        return await self.api.once("GET", f"/v1/accounts/by-number/{self._account}")

    async def _list(self, _: str) -> ApiReply:
        return await self.api.once("GET", f"/v1/payments/transfers?account={self._account}")

    async def _opening(self, key: str) -> ApiReply:
        somebody = next(iter(people(key)))
        try:
            await account_of(self.api, registration(somebody), product=PRODUCT, key=key)
        except RefusedByBank as refusal:
            return ApiReply(refusal.status, b"", b"1")
        return ApiReply(201, b"")

    @property
    def _account(self) -> str:
        return self.random.choice(self.job.accounts)

    def window(self) -> Window:
        """What was counted since the last one."""
        now, ordered = time.perf_counter(), sorted(self.milliseconds)
        found = Window(
            at_seconds=round(now - self.began, 1),
            seconds=round(now - self.window_began, 3),
            done=len(ordered),
            refused=dict(self.refused),
            without_retry_after=self.without_retry_after,
            missed=self.missed,
            p50_ms=quantile(ordered, 0.5),
            p99_ms=quantile(ordered, 0.99),
        )
        self.window_began, self.milliseconds = now, []
        self.refused, self.without_retry_after, self.missed = Counter(), 0, 0
        return found


async def closed(traffic: Traffic, until: float) -> None:
    async def client() -> None:
        while (now := time.perf_counter()) < until:
            await traffic.one(now)

    await asyncio.gather(*(client() for _ in range(traffic.job.clients)))


async def opened(traffic: Traffic, until: float) -> None:
    under_way: set[asyncio.Task[None]] = set()
    due = time.perf_counter()
    while due < until:
        while due <= time.perf_counter():
            if len(under_way) < UNDER_WAY_MAX:
                task = asyncio.create_task(traffic.one(due))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            else:
                traffic.missed += 1
            due += traffic.random.expovariate(traffic.job.rate)
        await asyncio.sleep(TICK_SECONDS)
    if under_way:
        await asyncio.wait(under_way, timeout=LAST_SECONDS_MAX)


async def report_windows(traffic: Traffic) -> None:
    while True:
        await asyncio.sleep(traffic.job.window_seconds)
        report(traffic.window())


def report(window: Window) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(window) + b"\n")
    sys.stdout.buffer.flush()


async def run(job: Mix) -> None:
    api = PublicApi(job.http_url, job.token, UNDER_WAY_MAX)
    traffic = Traffic(job, api)
    telling = asyncio.create_task(report_windows(traffic))
    try:
        until = traffic.began + job.seconds
        await (opened(traffic, until) if job.rate else closed(traffic, until))
    finally:
        telling.cancel()
        api.close()
    report(traffic.window())


def main() -> None:
    uvloop.run(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Mix)))


if __name__ == "__main__":
    main()
