"""What accounts reads of others: a customer's standing, and what the ledger holds of an account."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from pact import match

from cbs.accounts.application.book import Period
from cbs.accounts.clients import NOBODY, BusBook, BusCustomers
from cbs.accounts.domain.account import Account, NoSuchCustomer, Terms
from cbs.accounts.domain.account import State as AccountState
from cbs.accounts.domain.freeze import Scope
from cbs.kernel.account_number import account_number
from cbs.kernel.money import Currency
from cbs.platform.bus import Bus
from cbs.tools.release.pacts.bus_replies import is_refused, said
from cbs.tools.release.pacts.conversation import SOME_ID, Conversation, State, day, instant, some_id


def conversations() -> list[Conversation]:
    customers, ledger = Conversation("accounts", "customers"), Conversation("accounts", "ledger")
    _standing(customers)
    _opens(ledger)
    _changes_terms(ledger)
    _is_refused(ledger)
    _reads(ledger)
    return [customers, ledger]


def _standing(customers: Conversation) -> None:
    cases = {
        "a customer": ("active", "verified", True, True),
        "a customer without papers": ("active", "pending", True, False),
        "a suspended customer": ("suspended", "verified", False, True),
    }
    for name, (status, kyc, active, verified) in cases.items():

        async def ask(bus: Bus, active: bool = active, verified: bool = verified) -> None:
            standing = await BusCustomers(bus=bus).standing(UUID(SOME_ID))
            assert (standing.active, standing.verified) == (active, verified)

        customers.asks(
            f"the standing of {name}",
            ask,
            data={"status": status, "kyc": kyc},
            given=[State(name, makes={"customer_id": SOME_ID})],
        )

    async def nobody(bus: Bus) -> None:
        await is_refused(NoSuchCustomer.code, BusCustomers(bus=bus).standing(UUID(SOME_ID)))

    either = match.regex(NOBODY[-1], regex=f"^({'|'.join(NOBODY)})$")
    customers.asks("the standing of nobody", nobody, refused=said("not-found", either))


def _number(serial: int) -> str:
    return account_number(branch=22, serial=serial)


def _account(serial: int, *, version: int = 1, **changed: Any) -> Account:
    fields: dict[str, Any] = {
        "id": UUID(int=UUID(SOME_ID).int + serial),
        "number": _number(serial),
        "branch": 22,
        "customer_id": UUID(SOME_ID),
        "product": "SAVINGS-INR",
        "currency": Currency.INR,
        "terms": Terms(limit_per_transaction_minor=20_000_000, limit_per_day_minor=50_000_000),
        "version": version,
    }
    return Account(**{**fields, **changed})


def _opens(ledger: Conversation) -> None:
    account = _account(1)

    async def open_account(bus: Bus) -> None:
        await BusBook(bus=bus).open(account)

    ledger.asks("open an account", open_account, data={"version": match.int(account.version)})


def _changes_terms(ledger: Conversation) -> None:
    cases: Mapping[str, tuple[Account, int]] = {
        "a frozen account": (
            _account(2, version=2, terms=Terms(overdraft_minor=5_000, frozen=Scope.ALL)),
            700,
        ),
        "a closed account": (_account(3, version=2, state=AccountState.CLOSING), 0),
    }
    for name, (account, balance_minor) in cases.items():
        given = {"number": account.number, "balance_minor": balance_minor}
        ledger.asks(
            f"the terms of {name}",
            _changing(account),
            data={"version": match.int(account.version)},
            given=[State("an account with money", given)],
        )


def _changing(account: Account) -> Callable[[Bus], Awaitable[None]]:
    async def change_terms(bus: Bus) -> None:
        await BusBook(bus=bus).change_terms(account)

    return change_terms


def _is_refused(ledger: Conversation) -> None:
    """The no to a change that waits for it: the saga undoes what it had begun."""
    cases = {
        "account-not-empty": _account(4, version=2, state=AccountState.CLOSING),
        "floor-above-balance": _account(5, version=2),
    }
    money = {"account-not-empty": {"balance_minor": 700}, "floor-above-balance": OVERDRAWN}
    for code, account in cases.items():

        async def hold(bus: Bus, code: str = code, account: Account = account) -> None:
            await is_refused(code, BusBook(bus=bus).change_terms(account))

        given = {"number": account.number, **money[code]}
        ledger.asks(
            f"terms that are refused: {code}",
            hold,
            refused=said("conflict", code),
            given=[State("an account with money", given)],
        )


OVERDRAWN = {"balance_minor": -300, "floor_minor": -1_000}


def _reads(ledger: Conversation) -> None:
    one, other = _number(10), _number(11)

    async def balances(bus: Bus) -> None:
        assert await BusBook(bus=bus).balances([one, other]) == {one: 700, other: 900}

    ledger.asks(
        "the balances of accounts",
        balances,
        data={
            "accounts": [
                {"number": one, "balance_minor": 700},
                {"number": other, "balance_minor": 900},
            ]
        },
        given=[
            State("an account with money", {"number": one, "balance_minor": 700}),
            State("an account with money", {"number": other, "balance_minor": 900}),
        ],
    )
    number = _number(12)

    async def history(bus: Bus) -> None:
        (posting,) = await BusBook(bus=bus).history(number, before=None, limit=50, period=Period())
        assert (posting.amount_minor, posting.balance_after_minor) == (700, 700)

    ledger.asks(
        "the history of an account",
        history,
        data={
            "postings": [
                {
                    "seq": match.int(1),
                    "transaction_id": some_id(),
                    "kind": match.type("cash-deposit"),
                    "amount_minor": 700,
                    "balance_after_minor": 700,
                    "booked_on": day(),
                    "value_on": day(),
                    "booked_at": instant(),
                    "narrative": match.type(""),
                }
            ]
        },
        given=[State("an account with money", {"number": number, "balance_minor": 700})],
    )
