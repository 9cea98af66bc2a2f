"""A client asks one thing after another and keeps its own record of what it was told.

Money that is not answered is asked for again, or left until after the trouble; what changes an
account is asked until it is answered, for the next change builds on it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from cbs.kernel.account_number import account_number
from cbs.tools.lab.chaos.records import CASH, FREEZE, OPENING, UNFREEZE, Records, RequestRecord
from cbs.tools.local.public_api import PublicApi

CURRENCY, PRODUCT = "INR", "SAVINGS-INR"
# Less than the product's limits, in a day of this, too.
PAYMENT_MINOR, TOO_MUCH_MINOR = (100, 5_000), 19_000_000
THINK_SECONDS_MAX, AGAIN_SECONDS_MAX = 0.3, 0.5
OPENINGS_MAX = 20  # of one client: its customer's accounts are listed on one page
LEAVES, TWICE_AT_ONCE, THAWS = 0.3, 0.05, 0.3
STRANGER = account_number(branch=9999, serial=999_999_999)
WHAT = {
    "transfer": 60,
    "deposit": 12,
    "withdrawal": 12,
    "too much": 5,
    "stranger": 3,
    "to itself": 2,
    "freeze": 3,
    OPENING: 1,
}


class Holder(NamedTuple):
    """An account, and the customer who has it."""

    number: str
    account_id: str
    customer_id: str


@dataclass(slots=True, kw_only=True)
class ChaosClient:
    """The only one to freeze and unfreeze the account `own`, and to open others for its holder."""

    name: str
    api: PublicApi
    records: Records
    random: Random
    own: Holder
    numbers: list[str]
    enough: asyncio.Event
    frozen: bool = False
    openings: int = 0
    count: int = 0
    _change: RequestRecord | None = None
    _choices: Mapping[str, Callable[[], RequestRecord]] = field(init=False)

    def __post_init__(self) -> None:
        self._choices = {
            "transfer": lambda: self._transfer(self._amount()),
            "deposit": lambda: self._cash("deposit", self._amount()),
            "withdrawal": lambda: self._cash("withdrawal", self._amount()),
            "too much": self._too_much,
            "stranger": lambda: self._transfer(self._amount(), to=STRANGER),
            "to itself": self._to_itself,
            "freeze": self._freeze,
            OPENING: self._opening,
        }

    async def run(self) -> None:
        """Ask until it is enough."""
        while not self.enough.is_set():
            asked = self._next()
            self.records.ask(asked)
            await self._until_told(asked)
            await asyncio.sleep(self.random.uniform(0, THINK_SECONDS_MAX))

    def _next(self) -> RequestRecord:
        # It may have been answered only after the trouble.
        if self._change is not None and self._change.accepted:
            self.frozen = self._change.kind == FREEZE
        if self.frozen and self.random.random() < THAWS:
            return self._freeze()
        (what,) = self.random.choices(list(WHAT), weights=list(WHAT.values()))
        return self._choices[what]()

    async def _until_told(self, asked: RequestRecord) -> None:
        asked.began = asyncio.get_running_loop().time()
        if asked.moves and self.random.random() < TWICE_AT_ONCE:
            await asyncio.gather(*(once(self.api, self.records, asked) for _ in range(2)))
        while not await once(self.api, self.records, asked):
            if self.enough.is_set() or (asked.moves and self.random.random() < LEAVES):
                return
            await asyncio.sleep(self.random.uniform(0, AGAIN_SECONDS_MAX))

    def _key(self) -> str:
        self.count += 1
        return f"{self.name}-{self.count:05}"

    def _amount(self) -> int:
        return self.random.randint(*PAYMENT_MINOR)

    def _transfer(self, amount_minor: int, *, to: str = "") -> RequestRecord:
        remitter = self.random.choice(self.numbers)
        while not to or to == remitter:
            to = self.random.choice(self.numbers)
        return self._paid(remitter, to, amount_minor)

    def _to_itself(self) -> RequestRecord:
        return self._paid(self.own.number, self.own.number, self._amount())

    def _paid(self, remitter: str, beneficiary: str, amount_minor: int) -> RequestRecord:
        body = {"remitter_account": remitter, "beneficiary_account": beneficiary}
        moves = ((remitter, -amount_minor), (beneficiary, amount_minor))
        return self._money("transfer", body, amount_minor, moves)

    def _cash(self, kind: str, amount_minor: int) -> RequestRecord:
        account = self.random.choice(self.numbers)
        signed = amount_minor if kind == "deposit" else -amount_minor
        moves = ((CASH, -signed), (account, signed))
        return self._money(kind, {"account": account}, amount_minor, moves)

    def _too_much(self) -> RequestRecord:
        if self.random.random() < 0.5:
            return self._transfer(TOO_MUCH_MINOR)
        return self._cash("withdrawal", TOO_MUCH_MINOR)

    def _money(
        self,
        kind: str,
        body: Mapping[str, Any],
        amount_minor: int,
        moves: tuple[tuple[str, int], ...],
    ) -> RequestRecord:
        whole = {**body, "amount_minor": amount_minor, "currency": CURRENCY}
        path = f"/v1/payments/{kind}s"
        return RequestRecord(key=self._key(), kind=kind, path=path, body=whole, moves=moves)

    def _freeze(self) -> RequestRecord:
        kind = UNFREEZE if self.frozen else FREEZE
        body = {"reason": "chaos"} | ({} if self.frozen else {"scope": "all"})
        path = f"/v1/accounts/{self.own.account_id}/{kind}"
        about = self.own.number
        self._change = RequestRecord(key=self._key(), kind=kind, path=path, body=body, about=about)
        return self._change

    def _opening(self) -> RequestRecord:
        if self.openings == OPENINGS_MAX:
            return self._transfer(self._amount())
        self.openings += 1
        body = {"customer_id": self.own.customer_id, "product": PRODUCT}
        about = self.own.customer_id
        return RequestRecord(
            key=self._key(), kind=OPENING, path="/v1/accounts", body=body, about=about
        )


async def once(api: PublicApi, records: Records, asked: RequestRecord) -> bool:
    """Ask one time, and note what is said; False if that does not tell what became of it."""
    asked.tries += 1
    try:
        reply = await api.once("POST", asked.path, asked.body, key=asked.key)
    except (OSError, TimeoutError) as error:
        records.silent("too slow" if type(error) is TimeoutError else "cut")
        return False
    at = asyncio.get_running_loop().time()
    return records.told(asked, status=reply.status, answer=reply.body, at=at)
