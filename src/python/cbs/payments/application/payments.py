"""Paying is asking the ledger once; what it has posted is listed as it tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from cbs.kernel.money import Currency
from cbs.payments.domain.transfer import (
    Kind,
    NoSuchTransfer,
    Transfer,
    check_amount,
    check_customer,
    check_customers,
    till,
)


class Ledger(Protocol):
    """Who says what a balance is, and whether a payment may be."""

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
        """Post it for the caller, once for the caller's key; durable when this returns.

        Raises the ledger's own refusals, and Unavailable when the outcome is not known.
        """
        ...

    async def transfer(self, id: UUID) -> Transfer | None:
        """The payment that this transaction is; None if it is none, or there is no such one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """`position` is that of the fact which told of it: later payments have higher ones."""

    position: int
    transfer: Transfer


class Transfers(Protocol):
    """The list of payments, as far as the ledger has been heard."""

    async def add(self, heard: Sequence[Listed]) -> None:
        """Keep them; one that is kept already stays as it is."""
        ...

    async def find(self, id: UUID) -> Transfer | None: ...

    async def before(self, position: int, *, account: str | None, limit: int) -> list[Listed]:
        """Newest first; `account` is on either side, None is any."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Payments:
    ledger: Ledger
    transfers: Transfers

    async def transfer(
        self,
        *,
        remitter_account: str,
        beneficiary_account: str,
        amount_minor: int,
        currency: Currency,
        narrative: str,
        key: str,
    ) -> Transfer:
        check_amount(amount_minor)
        check_customers(remitter_account=remitter_account, beneficiary_account=beneficiary_account)
        return await self.ledger.post(
            kind=Kind.TRANSFER,
            remitter_account=remitter_account,
            beneficiary_account=beneficiary_account,
            amount_minor=amount_minor,
            currency=currency,
            narrative=narrative,
            key=key,
        )

    async def deposit(
        self, *, account: str, amount_minor: int, currency: Currency, narrative: str, key: str
    ) -> Transfer:
        check_customer(account)
        check_amount(amount_minor)
        return await self.ledger.post(
            kind=Kind.CASH_DEPOSIT,
            remitter_account=till(currency),
            beneficiary_account=account,
            amount_minor=amount_minor,
            currency=currency,
            narrative=narrative,
            key=key,
        )

    async def withdraw(
        self, *, account: str, amount_minor: int, currency: Currency, narrative: str, key: str
    ) -> Transfer:
        check_customer(account)
        check_amount(amount_minor)
        return await self.ledger.post(
            kind=Kind.CASH_WITHDRAWAL,
            remitter_account=account,
            beneficiary_account=till(currency),
            amount_minor=amount_minor,
            currency=currency,
            narrative=narrative,
            key=key,
        )

    async def find(self, id: UUID) -> Transfer:
        """From the list, or from the ledger what is not yet in it."""
        found = await self.transfers.find(id) or await self.ledger.transfer(id)
        if found is None:
            raise NoSuchTransfer
        return found
