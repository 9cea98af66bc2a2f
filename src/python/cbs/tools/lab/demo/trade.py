"""A day's trade made up from a seed: new customers with cash, who then pay each other.

A few accounts get most of the payments (Zipf), as in life. Every request has a key that follows
from the seed and the number of the run, so that a run that was interrupted can be taken up again.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate, islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec

from cbs.tools.lab.demo.onboarding import account_of
from cbs.tools.lab.demo.people import Somebody, people
from cbs.tools.lab.demo.workers import each
from cbs.tools.local.folder import Folder, write_whole
from cbs.tools.local.public_api import PublicApi, RefusedByBank

PRODUCT = "SAVINGS-INR"
OPENERS_AT_ONCE, PAYERS_AT_ONCE = 16, 48
DEPOSIT_RUPEES = (5_000, 100_000)
PAYMENT_MINOR = (100, 25_000)
BUSINESS_NO = frozenset({404, 409})


class DemoRun(msgspec.Struct, kw_only=True):
    """One run of the demo. `number` grows with each run in a folder."""

    number: int
    seed: int
    customers: int
    transfers: int
    finished: bool = False

    @property
    def name(self) -> str:
        return f"demo-{self.seed}-{self.number}"


class PlannedPayment(NamedTuple):
    place: int
    remitter: str
    beneficiary: str
    amount_minor: int


class Summary(msgspec.Struct, kw_only=True):
    """`turned_away` and `refused` count by the code of the refusal."""

    run: DemoRun
    customers: int = 0
    deposited_minor: int = 0
    turned_away: dict[str, int] = {}
    transfers: int = 0
    moved_minor: int = 0
    refused: dict[str, int] = {}
    seconds: float = 0
    transfers_per_second: float = 0
    p50_ms: float = 0
    p99_ms: float = 0
    repeats: int = 0


def _memory(folder: Folder) -> Path:
    return folder.root / "demo.json"


def next_run(folder: Folder, *, seed: int, customers: int, transfers: int) -> tuple[DemoRun, bool]:
    """The run to make now, and whether it is one that was interrupted."""
    memory = _memory(folder)
    last = msgspec.json.decode(memory.read_bytes(), type=DemoRun) if memory.exists() else None
    wanted = (seed, customers, transfers)
    if last and not last.finished and (last.seed, last.customers, last.transfers) == wanted:
        return last, True
    number = last.number + 1 if last else 1
    run = DemoRun(number=number, seed=seed, customers=customers, transfers=transfers)
    _remember(folder, run)
    return run, False


def finish(folder: Folder, run: DemoRun) -> None:
    run.finished = True
    _remember(folder, run)


def _remember(folder: Folder, run: DemoRun) -> None:
    write_whole(_memory(folder), msgspec.json.encode(run).decode() + "\n")


async def onboard(api: PublicApi, summary: Summary, advance: Callable[[], None]) -> list[str]:
    """The accounts of new customers, each with cash in it, in the order of the run."""
    run = summary.run
    accounts: dict[int, str] = {}
    turned_away: Counter[str] = Counter()
    random = Random(f"{run.name}-cash")
    rupees = [random.randint(*DEPOSIT_RUPEES) for _ in range(run.customers)]

    async def enter(item: tuple[int, Somebody]) -> None:
        place, somebody = item
        key, amount_minor = f"{run.name}-c{place}", rupees[place] * 100
        deposit = {"amount_minor": amount_minor, "currency": "INR", "narrative": "opening deposit"}
        try:
            number = await account_of(api, registration(somebody), product=PRODUCT, key=key)
            await api.post(
                "/v1/payments/deposits",
                {"account": number, **deposit},
                msgspec.Raw,
                key=f"{key}-d",
            )
        except RefusedByBank as refusal:
            _only_business(refusal)
            turned_away[refusal.code] += 1
        else:
            accounts[place] = number
            summary.deposited_minor += amount_minor
        advance()

    await each(enumerate(islice(people(run.name), run.customers)), enter, at_once=OPENERS_AT_ONCE)
    summary.customers, summary.turned_away = len(accounts), dict(turned_away)
    return [number for _, number in sorted(accounts.items())]


def registration(somebody: Somebody) -> dict[str, Any]:
    return {
        "given_name": somebody.given_name,
        "family_name": somebody.family_name,
        "date_of_birth": somebody.date_of_birth,
        "mobile": somebody.mobile,
        "address": {
            "lines": [somebody.street],
            "city": somebody.city,
            "state": somebody.state,
            "postal_code": somebody.pin_code,
        },
        "documents": [
            {"type": "pan", "number": somebody.pan},
            {"type": "aadhaar", "number": somebody.aadhaar},
        ],
    }


def payments(run: DemoRun, accounts: list[str]) -> Iterator[PlannedPayment]:
    """The account of rank n takes part in proportion to 1/n, on either side."""
    random = Random(f"{run.name}-payments")
    weights = list(accumulate(1 / rank for rank in range(1, len(accounts) + 1)))
    for place in range(run.transfers):
        remitter, beneficiary = random.choices(accounts, cum_weights=weights, k=2)
        while beneficiary == remitter:
            beneficiary = random.choices(accounts, cum_weights=weights)[0]
        yield PlannedPayment(place, remitter, beneficiary, random.randint(*PAYMENT_MINOR))


async def pay(
    api: PublicApi, accounts: list[str], summary: Summary, advance: Callable[[], None]
) -> None:
    run = summary.run
    seconds: list[float] = []
    refused: Counter[str] = Counter()

    async def transfer(payment: PlannedPayment) -> None:
        began = time.perf_counter()
        try:
            await api.post(
                "/v1/payments/transfers",
                {
                    "remitter_account": payment.remitter,
                    "beneficiary_account": payment.beneficiary,
                    "amount_minor": payment.amount_minor,
                    "currency": "INR",
                },
                msgspec.Raw,
                key=f"{run.name}-t{payment.place}",
            )
        except RefusedByBank as refusal:
            _only_business(refusal)
            refused[refusal.code] += 1
        else:
            summary.transfers += 1
            summary.moved_minor += payment.amount_minor
        seconds.append(time.perf_counter() - began)
        advance()

    began = asyncio.get_running_loop().time()
    await each(payments(run, accounts), transfer, at_once=PAYERS_AT_ONCE)
    summary.seconds = round(asyncio.get_running_loop().time() - began, 3)
    summary.refused = dict(refused)
    if seconds:
        summary.transfers_per_second = round(len(seconds) / summary.seconds, 1)
        seconds.sort()
        summary.p50_ms = round(1000 * seconds[len(seconds) // 2], 1)
        summary.p99_ms = round(1000 * seconds[len(seconds) * 99 // 100], 1)


def _only_business(refusal: RefusedByBank) -> None:
    """A no for business reasons is part of a day; any other is a fault to be seen."""
    if refusal.status not in BUSINESS_NO:
        raise refusal
