"""After the trouble the bank answers what was left open, and is whole."""

from dataclasses import dataclass, field
from functools import partial
from random import Random

import msgspec

from cbs.platform.invariants import CannotSay
from cbs.tools.lab.chaos import population
from cbs.tools.lab.chaos.client import Holder, once
from cbs.tools.lab.chaos.records import Due, Records, RequestRecord, Violation, leaking_freezes
from cbs.tools.lab.demo.workers import each
from cbs.tools.local.public_api import NoAnswerFromBank, PublicApi, RefusedByBank
from cbs.tools.local.waiting import until

ANSWERED_SECONDS_MAX = 60.0
POLL_SECONDS, AT_ONCE = 0.1, 16
SAMPLE_MAX = 300
UNSETTLED = (CannotSay, NoAnswerFromBank, RefusedByBank)


class Resolved(msgspec.Struct, kw_only=True):
    """What the unanswered turned out to be when asked about, and how repeating them ended."""

    had_no_effect: int = 0
    under_way: int = 0
    was_answered: int = 0
    accepted: int = 0
    refused: int = 0


class RequestState(msgspec.Struct, kw_only=True):
    state: str
    status: int | None = None
    answer: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(slots=True, kw_only=True)
class Settlement:
    """Asks the bank, as the clients' own user, what became of everything."""

    api: PublicApi
    records: Records
    holders: list[Holder]
    random: Random
    due: Due = field(default_factory=Due)
    resolved: Resolved = field(default_factory=Resolved)
    repeated: int = 0
    _sample: list[RequestRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        for holder in self.holders:
            self.due.holder(number=holder.number, customer=holder.customer_id)

    async def __call__(self) -> list[Violation]:
        """Settle what was asked since the last time; what is wrong with it, or with the whole."""
        await each([a for a in self.records.all if a.unanswered], self._resolve, at_once=AT_ONCE)
        done = self.records.fold()
        self.due.add(done)
        told = [asked for asked in (*self._sample, *done) if not asked.unanswered]
        self._sample = self.random.sample(told, min(len(told), SAMPLE_MAX))
        await each(self._sample, self._again, at_once=AT_ONCE)
        return [*self.due.unlike(await self._found()), *leaking_freezes(done)]

    async def _resolve(self, asked: RequestRecord) -> None:
        """Ask what became of it, then ask for it again until it is answered."""
        said = await self._said_of(asked)
        if said is None:
            self.resolved.had_no_effect += 1
        elif said.status is None:
            self.resolved.under_way += 1
        else:
            self.resolved.was_answered += 1
        await self._repeat(asked)
        self.resolved.accepted += asked.accepted
        self.resolved.refused += asked.refused
        if said is not None:
            self._agrees(asked, said)

    async def _again(self, asked: RequestRecord) -> None:
        """What was answered is asked for again: the same bytes, and no second effect."""
        self.repeated += 1
        said = await self._said_of(asked)
        if said is not None:
            self._agrees(asked, said)
        elif asked.accepted:
            self.records.contradicted(asked, "accepted, and its key is not known")
        await self._repeat(asked)

    async def _found(self) -> Due:
        found = Due()

        async def look(holder: Holder) -> None:
            one = await population.account(self.api, holder.number)
            found.balances[holder.number] = one.balance_minor or 0
            found.terms[holder.number] = (one.version, one.frozen is not None)
            listed = await population.accounts_of(self.api, holder.customer_id)
            found.openings[holder.customer_id] = [account.number for account in listed]

        await each(self.holders, look, at_once=AT_ONCE)
        return found

    async def _said_of(self, asked: RequestRecord) -> RequestState | None:
        try:
            return await self.api.get(f"/v1/{asked.service}/requests/{asked.key}", RequestState)
        except RefusedByBank as refusal:
            if refusal.code != "no-such-request":
                raise
            return None

    async def _repeat(self, asked: RequestRecord) -> None:
        ask = partial(once, self.api, self.records, asked)
        if not await until(ask, seconds=ANSWERED_SECONDS_MAX, every=POLL_SECONDS):
            self.records.contradicted(asked, f"no answer in {ANSWERED_SECONDS_MAX:.0f} s")

    def _agrees(self, asked: RequestRecord, said: RequestState) -> None:
        """What was said of a request is what asking for it again gives."""
        if said.status is None or asked.unanswered:
            return
        if (said.status, bytes(said.answer)) != (asked.status, asked.answer):
            kept = f"{said.status} {bytes(said.answer)[:300].decode()}"
            told = f"{asked.status} {asked.answer[:300].decode()}"
            self.records.contradicted(asked, f"kept {kept}, told {told}")
