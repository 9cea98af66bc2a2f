"""Customers who ask for a bit of everything, once each, and a meter at every ledger."""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

import httpx
from prometheus_client.parser import text_string_to_metric_families

from cbs.tools.cluster.api import Api, kept
from cbs.tools.lab.demo.onboarding import account_of
from cbs.tools.lab.demo.people import people
from cbs.tools.lab.demo.trade import registration
from cbs.tools.local.folder import Folder
from cbs.tools.local.public_api import ApiReply, PublicApi
from cbs.tools.release.deploy.nomad_api import NomadApi
from cbs.tools.release.deploy.steps import CannotGoOn

RATE, AT_ONCE_MAX, ACCOUNTS = 50.0, 48, 6
REPEAT_SECONDS_MAX, DONE, LATER = 45.0, (200, 201), (429, 503)
POLL_SECONDS = 0.4
KINDS = {"ledger-read": 40, "ledger-post": 10, "transfer": 40, "balance": 10}


async def opened(folder: Folder) -> list[str]:
    """Accounts with money in them."""
    api = PublicApi.of(folder, "teller")
    numbers = []
    try:
        for n, person in enumerate(itertools.islice(people("releasing"), ACCOUNTS)):
            key = f"releasing-{n}"
            number = await account_of(api, registration(person), product="CURRENT-INR", key=key)
            deposit = {"account": number, "amount_minor": 10_000_000, "currency": "INR"}
            await api.post("/v1/payments/deposits", deposit, dict, key=f"{key}-d")
            numbers.append(number)
    finally:
        api.close()
    return numbers


@dataclass
class Load:
    """`repeated` is what a client had to ask again, and `failed` what nobody answered well, by what
    was said. All are of all so far; a test looks at what was added. `said` is what it measured."""

    folder: Folder
    accounts: list[str]
    asked: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    answered: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    random: Random = field(default_factory=lambda: Random(1))
    _stop: threading.Event = field(default_factory=threading.Event)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def __enter__(self) -> "Load":
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    async def _run(self) -> None:
        self._teller = PublicApi.of(self.folder, "teller", at_once_max=AT_ONCE_MAX)
        self._operator = PublicApi.of(self.folder, "operator", at_once_max=AT_ONCE_MAX)
        under_way: set[asyncio.Task[None]] = set()
        while not self._stop.is_set():
            if len(under_way) < AT_ONCE_MAX:
                task = asyncio.create_task(self._one())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.sleep(self.random.expovariate(RATE))
        if under_way:
            await asyncio.wait(under_way, timeout=30)
        self._teller.close()
        self._operator.close()

    async def _one(self) -> None:
        """As a good client does: what says later is asked again, under the same key."""
        (kind,) = self.random.choices(list(KINDS), weights=list(KINDS.values()))
        key, people = f"load-{next(self._numbers)}-{time.time_ns()}", self._two()
        amount_minor = self.random.randint(1, 99)
        self.asked[kind] += 1
        until, how = time.monotonic() + REPEAT_SECONDS_MAX, ""
        while time.monotonic() < until:
            try:
                reply = await self._reply(kind, key, amount_minor, *people)
            except (OSError, TimeoutError) as error:
                how = f"{kind} {type(error).__name__}"
            else:
                if reply.status in DONE:
                    self.answered.append(time.monotonic())
                    return
                how = f"{kind} {reply.status} {reply.body.decode()[:200]}"
                if reply.status not in LATER:
                    break
            self.repeated[how] += 1
            await asyncio.sleep(0.5)
        self.failed[how] += 1

    def _two(self) -> tuple[str, str]:
        one, other = self.random.sample(self.accounts, 2)
        return one, other

    async def _reply(
        self, kind: str, key: str, amount_minor: int, one: str, other: str
    ) -> ApiReply:
        if kind == "ledger-read":
            return await self._operator.once("GET", f"/v1/ledger/accounts/{one}")
        if kind == "balance":
            return await self._teller.once("GET", f"/v1/accounts/by-number/{one}")
        if kind == "transfer":
            body = {"remitter_account": one, "beneficiary_account": other, "narrative": "load"}
            body |= {"amount_minor": amount_minor, "currency": "INR"}  # type: ignore[dict-item]
            return await self._teller.once("POST", "/v1/payments/transfers", body, key=key)
        legs = [{"account": "INR-CASH", "amount_minor": -1}, {"account": one, "amount_minor": 1}]
        posting = {"kind": "adjustment", "currency": "INR", "legs": legs, "narrative": "load"}
        return await self._operator.once("POST", "/v1/ledger/transactions", posting, key=key)

    def so_far(self) -> tuple[int, Counter[str], Counter[str]]:
        return sum(self.asked.values()), Counter(self.repeated), Counter(self.failed)


@dataclass
class Meter:
    """What the canary of the ledger and those beside it were asked while it was weighed, by
    protocol, from their own counters."""

    consul: Api
    nomad: NomadApi
    shares: dict[str, tuple[int, int]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Meter":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        first: dict[str, Counter[str]] = {}
        while not self._stop.wait(POLL_SECONDS):
            rows = self.consul.get("/v1/health/service/cbs-ledger", passing="1")
            meta = {row["Service"]["ID"]: row["Service"]["Meta"] or {} for row in rows}
            canaries = [each for each, said in meta.items() if said.get("canary") == "true"]
            if not canaries or kept(self.consul, "cbs/routes/ledger/canary") is None:
                continue
            try:
                now = {name: counted(url) for name, url in self._places(meta).items()}
            except (httpx.HTTPError, CannotGoOn):
                continue
            if not now.keys() >= set(canaries):
                continue
            for name, counters in now.items():
                first.setdefault(name, Counter() if name in canaries else counters)
            for protocol in ("http", "bus"):
                asked = {name: c[protocol] - first[name][protocol] for name, c in now.items()}
                mine = sum(asked[name] for name in canaries)
                self.shares[protocol] = mine, sum(asked.values())

    def _places(self, names: Iterable[str]) -> dict[str, str]:
        """Where each instance tells its counters, also past a sidecar."""
        running = self.nomad.allocations("cbs-ledger")
        return {
            name: place.metrics
            for each in running
            for place in self.nomad.places([each])
            for name in names
            if each["ID"] in name
        }


def counted(url: str) -> Counter[str]:
    text = httpx.get(f"{url}/metrics", timeout=5, trust_env=False).text
    return Counter(
        {
            protocol: sum(
                int(sample.value)
                for family in text_string_to_metric_families(text)
                for sample in family.samples
                if sample.name == "cbs_requests_total" and sample.labels["protocol"] == protocol
            )
            for protocol in ("http", "bus")
        }
    )
