"""What accounts asks of others, as itself for whoever asked it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from cbs.accounts.application.book import Period, Posting
from cbs.accounts.application.sagas import Standing
from cbs.accounts.domain.account import Account, NoSuchCustomer, State
from cbs.accounts.domain.freeze import Scope
from cbs.platform.bus import Bus
from cbs.platform.envelope import RemoteRefusal


class Held(msgspec.Struct):
    version: int


class Balance(msgspec.Struct):
    number: str
    balance_minor: int


class Balances(msgspec.Struct):
    accounts: list[Balance]


class Lines(msgspec.Struct):
    postings: list[Posting]


@dataclass(frozen=True, slots=True, kw_only=True)
class BusBook:
    bus: Bus

    async def open(self, account: Account) -> None:
        wanted = {"kind": "customer", "currency": account.currency, **_terms(account)}
        await self._hold("ledger.open-account", account, wanted)

    async def change_terms(self, account: Account) -> None:
        await self._hold("ledger.change-terms", account, _terms(account))

    async def _hold(self, operation: str, account: Account, wanted: object) -> None:
        key = f"{account.id}.{account.version}"
        held = await self.bus.call(operation, wanted, Held, key=key, own=True)
        assert held.version >= account.version, (held.version, account.version)

    async def balances(self, numbers: Sequence[str]) -> Mapping[str, int]:
        if not numbers:
            return {}
        found = await self.bus.call(
            "ledger.accounts", {"numbers": list(numbers)}, Balances, own=True
        )
        return {each.number: each.balance_minor for each in found.accounts}

    async def history(
        self, number: str, *, before: int | None, limit: int, period: Period
    ) -> list[Posting]:
        asked = {
            "number": number,
            "before": before,
            "limit": limit,
            "since": period.since,
            "until": period.until,
            "by_value": period.by_value,
        }
        found = await self.bus.call("ledger.history", asked, Lines, own=True)
        return found.postings


def _terms(account: Account) -> dict[str, Any]:
    """What was agreed on an account, in the ledger's words."""
    terms = account.terms
    return {
        "number": account.number,
        "terms": {
            "floor_minor": -terms.overdraft_minor,
            "ceiling_minor": None,
            "limit_per_transaction_minor": terms.limit_per_transaction_minor,
            "limit_per_day_minor": terms.limit_per_day_minor,
            "debit_blocked": terms.frozen is not None,
            "credit_blocked": terms.frozen is Scope.ALL,
            "closed": account.state in (State.CLOSING, State.CLOSED),
            "version": account.version,
        },
    }


# Customers says the second; a release of it said the first.
NOBODY = ("customer-not-found", "no-such-customer")


class CustomerStanding(msgspec.Struct):
    """What this service reads of a customer's standing."""

    status: str
    kyc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BusCustomers:
    bus: Bus

    async def standing(self, customer_id: UUID) -> Standing:
        try:
            found = await self.bus.call(
                "customers.standing", {"customer_id": customer_id}, CustomerStanding, own=True
            )
        except RemoteRefusal as refusal:
            if refusal.code in NOBODY:
                raise NoSuchCustomer from None
            raise
        return Standing(verified=found.kyc == "verified", active=found.status == "active")
