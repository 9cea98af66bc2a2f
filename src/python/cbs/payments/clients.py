"""What the ledger is asked and what it says, in its words; here alone they become payments."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from unicodedata import normalize
from uuid import UUID

import msgspec

from cbs.kernel.answer import Answer
from cbs.kernel.money import Currency
from cbs.payments.domain.transfer import Kind, Transfer
from cbs.platform.bus import Bus
from cbs.platform.envelope import RemoteRefusal
from cbs.platform.idempotency import Effect, Key, KeyedRequest, KeyState, KeyStore

CREATED = 201
KINDS = {kind.value: kind for kind in Kind}


class Leg(msgspec.Struct, kw_only=True):
    account: str
    amount_minor: int


class Movement(msgspec.Struct, kw_only=True):
    """What a posted transaction and the fact of it have in common."""

    kind: str
    currency: Currency
    booked_on: date
    value_on: date
    booked_at: datetime
    narrative: str
    legs: list[Leg]

    def transfer(self, id: UUID) -> Transfer | None:
        """None unless it is of our kinds, from one account to another."""
        kind = KINDS.get(self.kind)
        if kind is None or len(self.legs) != 2:
            return None
        debit, credit = self.legs
        if debit.amount_minor > 0:
            debit, credit = credit, debit
        return Transfer(
            id=id,
            kind=kind,
            remitter_account=debit.account,
            beneficiary_account=credit.account,
            amount_minor=credit.amount_minor,
            currency=self.currency,
            narrative=self.narrative,
            booked_on=self.booked_on,
            value_on=self.value_on,
            booked_at=self.booked_at,
        )


class Transaction(Movement, kw_only=True):
    id: UUID


class Posted(msgspec.Struct, kw_only=True):
    transaction: Transaction

    def transfer(self) -> Transfer | None:
        return self.transaction.transfer(self.transaction.id)


def _payment(posted: Posted) -> Transfer:
    transfer = posted.transfer()
    assert transfer is not None, "we ask the ledger for payments only"
    return transfer


class TransactionWanted(msgspec.Struct, kw_only=True):
    id: UUID


class RequestWanted(msgspec.Struct, kw_only=True):
    principal: str
    key: str


class Kept(msgspec.Struct, kw_only=True):
    """What became of a request at the ledger; `answer` is null while there is none."""

    state: KeyState
    asked_at: datetime
    answered_at: datetime | None
    status: int | None
    answer: msgspec.Raw

    def request(self, key: str, *, shown: Callable[[Transfer], bytes]) -> KeyedRequest:
        """As this service's own; a refusal is passed on as it is."""
        answer: msgspec.Raw | None = self.answer
        if self.status is None:
            answer = None
        elif self.status == CREATED:
            answer = msgspec.Raw(shown(_payment(_posted.decode(self.answer))))
        return KeyedRequest(
            key=key,
            state=self.state,
            asked_at=self.asked_at,
            answered_at=self.answered_at,
            status=self.status,
            answer=answer,
        )


_posted = msgspec.json.Decoder(Posted)


class BookedOtherwise(Exception):
    """What the ledger says that it posted is not what it was asked for: nobody may rely on it.

    Not a refusal: the money has moved. `cbs verify` finds the transaction; a reversal mends it.
    """

    def __init__(self, id: UUID) -> None:
        super().__init__(f"transaction {id} is not what was asked of the ledger")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerClient:
    bus: Bus

    async def post(
        self,
        *,
        kind: Kind,
        remitter_account: str,
        beneficiary_account: str,
        amount_minor: int,
        currency: Currency,
        narrative: str,
        key: str,
    ) -> Transfer:
        # As the book keeps every text.
        narrative = normalize("NFC", narrative)
        wanted = {
            "kind": kind,
            "currency": currency,
            "legs": [
                {"account": remitter_account, "amount_minor": -amount_minor},
                {"account": beneficiary_account, "amount_minor": amount_minor},
            ],
            "narrative": narrative,
        }
        key = key_at_ledger(key)
        made = _payment(await self.bus.call("ledger.post", wanted, Posted, key=key))
        asked = replace(
            made,
            kind=kind,
            remitter_account=remitter_account,
            beneficiary_account=beneficiary_account,
            amount_minor=amount_minor,
            currency=currency,
            narrative=narrative,
        )
        if made != asked:
            raise BookedOtherwise(made.id)
        return made

    async def transfer(self, id: UUID) -> Transfer | None:
        try:
            found = await self.bus.call(
                "ledger.transaction", TransactionWanted(id=id), Posted, own=True
            )
        except RemoteRefusal as refusal:
            if refusal.code != "no-such-transaction":
                raise
            return None
        return found.transfer()

    async def kept(self, *, principal: str, key: str) -> Kept | None:
        wanted = RequestWanted(principal=principal, key=key_at_ledger(key))
        try:
            return await self.bus.call("ledger.request", wanted, Kept, own=True)
        except RemoteRefusal as refusal:
            if refusal.code != "no-such-request":
                raise
            return None


def key_at_ledger(key: str) -> str:
    """The ledger keeps the keys of its own callers, too: no slash can be in theirs."""
    return f"payments/{key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsAtLedger:
    """`shown` gives the bytes with which this service answers a payment."""

    ledger: LedgerClient
    own: KeyStore
    shown: Callable[[Transfer], bytes]

    async def once(self, asked: Key, effect: Effect) -> Answer | None:
        return await self.own.once(asked, effect)

    async def answer(self, *, principal: str, key: str, answer: Answer, at: datetime) -> None:
        await self.own.answer(principal=principal, key=key, answer=answer, at=at)

    async def find(self, *, principal: str, key: str) -> KeyedRequest | None:
        kept = await self.ledger.kept(principal=principal, key=key)
        if kept is None:
            return await self.own.find(principal=principal, key=key)
        return kept.request(key, shown=self.shown)
