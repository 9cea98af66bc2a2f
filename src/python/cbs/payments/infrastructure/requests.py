"""The ledger keeps the keys of payments with what they did; other keys are kept here."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cbs.kernel.answer import Answer
from cbs.payments.domain.transfer import Transfer
from cbs.payments.infrastructure.ledger_client import LedgerClient
from cbs.platform.requests import Asked, Effect, Request, Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsAtLedger:
    """`shown` gives the bytes with which this service answers a payment."""

    ledger: LedgerClient
    own: Requests
    shown: Callable[[Transfer], bytes]

    async def once(self, asked: Asked, effect: Effect) -> Answer | None:
        return await self.own.once(asked, effect)

    async def answer(self, *, principal: str, key: str, answer: Answer, at: datetime) -> None:
        await self.own.answer(principal=principal, key=key, answer=answer, at=at)

    async def find(self, *, principal: str, key: str) -> Request | None:
        kept = await self.ledger.kept(principal=principal, key=key)
        if kept is None:
            return await self.own.find(principal=principal, key=key)
        return kept.request(key, shown=self.shown)
