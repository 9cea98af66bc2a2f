"""How something gets on each list of the bank, as its service does it, and how it goes from it."""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

import httpx
import msgspec

from cbs.accounts.domain.account import Account, State
from cbs.accounts.domain.product import Product, ProductKind
from cbs.kernel.account_number import account_number
from cbs.kernel.calendar import business_date
from cbs.kernel.money import Currency
from cbs.ledger.domain.account import AccountKind
from cbs.ledger.domain.account import Terms as TermsInBook
from cbs.payments.application.payments import Listed
from cbs.payments.domain.transfer import Kind, Transfer
from cbs.platform.context import Context, new_id, now, within
from cbs.platform.inbox import DeadLetter
from cbs.platform.service import Service
from tests.audit.facts import NOON, record
from tests.customers.people import person

COMMIT_SECONDS_MAX = 0.03
CUSTOMER, ACCOUNT, OTHER = UUID(int=7), UUID(int=8), UUID(int=9)
NUMBER, NUMBER_OF_OTHER = (account_number(branch=1, serial=n) for n in (1, 2))
INR = Currency("INR")
QUERY = Mapping[str, str]
# Out of a UUIDv7's order, and out of the order of numbers: neighbours have changed places.
SWAPPED = 1


@dataclass
class Place:
    """Where one list is kept: its service, who writes there, and who asks over HTTP."""

    services: Mapping[str, Service]
    asking: httpx.AsyncClient
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    ids: list[UUID] = field(default_factory=list)

    @asynccontextmanager
    async def late(self, name: str) -> AsyncIterator[Service]:
        """A transaction of the service that commits when others, begun later, may have."""
        service = self.services[name]
        with within(Context(principal=service.runtime.principal)):
            async with service.runtime.postgres.transaction():
                yield service
                await asyncio.sleep(random.uniform(0, COMMIT_SECONDS_MAX))


Add = Callable[[Place, int], Awaitable[None]]


async def nothing(_: Place) -> None: ...


@dataclass(frozen=True, kw_only=True)
class List:
    """`add` puts the n-th thing there. `by` tells two items apart. `queries` are what the list can
    be asked for besides all. `arrival`: what is added later stands after what is there."""

    by: Sequence[str]
    add: Add
    queries: Sequence[QUERY] = ()
    always: QUERY = field(default_factory=dict)
    path: QUERY = field(default_factory=dict)
    needs: Sequence[str] = ()
    begin: Callable[[Place], Awaitable[None]] = nothing
    arrival: bool = False


async def add_customer(place: Place, n: int) -> None:
    """Every third takes an earlier one from the list of its name."""
    customer_id = None
    async with place.late("customers") as customers:
        desk = customers.spec.provide["customers"]
        who = person(
            given_name="Asha" if n % 2 else "Ravi", mobile=f"+9198765432{10 + n % 3}", email=None
        )
        customer = await desk.register(person=who, documents=[], by=customers.runtime.principal)
        customer_id = customer.id
        if n % 3 == 0 and place.ids:
            gone = place.ids.pop(random.randrange(len(place.ids)))
            await desk.amend(
                customer_id=gone, change=lambda known: replace(known, given_name="Uma")
            )
    place.ids.append(customer_id)


async def add_account(place: Place, n: int) -> None:
    """Every third has the ledger refuse an earlier one, which is then on no list."""
    account_id = new_id()
    async with place.late("accounts") as accounts:
        kept = accounts.spec.provide["accounts"].accounts
        await kept.add(await _account(accounts, n, account_id, CUSTOMER if n % 4 else OTHER))
        if n % 3 == 0 and place.ids:
            gone = place.ids.pop(random.randrange(len(place.ids)))
            await kept.update(gone, lambda known: replace(known, state=State.REFUSED))
    place.ids.append(account_id)


async def _account(accounts: Service, serial: int, id: UUID, customer: UUID) -> Account:
    product = await accounts.spec.provide["accounts"].products.get("CURRENT-INR")
    return Account.opening(
        id=id,
        number=account_number(branch=1, serial=serial),
        branch=1,
        customer_id=customer,
        product=product,
        overdraft_minor=None,
    )


async def add_product(place: Place, n: int) -> None:
    async with place.late("accounts") as accounts:
        product = Product(
            code=f"P{random.randrange(10**6):06}-{n}",
            name="A product",
            kind=ProductKind.CURRENT,
            currency=INR,
            overdraft_min_minor=0,
            overdraft_max_minor=0,
            limit_per_transaction_minor=None,
            limit_per_day_minor=None,
            active=True,
        )
        await accounts.spec.provide["accounts"].add_product(product)


async def add_account_in_book(place: Place, n: int) -> None:
    async with place.late("ledger") as ledger:
        await ledger.spec.provide["ledger"].book.open_account(
            number=f"INR-{random.randrange(10**6):06}-{n}",
            kind=AccountKind.INTERNAL,
            currency=INR,
            terms=TermsInBook(floor_minor=None),
        )


async def open_in_book(place: Place) -> None:
    async with place.late("ledger") as ledger:
        for number in (NUMBER, NUMBER_OF_OTHER):
            await ledger.spec.provide["ledger"].book.open_account(
                number=number,
                kind=AccountKind.CUSTOMER,
                currency=INR,
                terms=TermsInBook(floor_minor=None),
            )


async def open_both(place: Place) -> None:
    await open_in_book(place)
    async with place.late("accounts") as accounts:
        opened = replace(
            await _account(accounts, 1, ACCOUNT, CUSTOMER), state=State.OPEN, opened_at=now()
        )
        await accounts.spec.provide["accounts"].accounts.add(opened)


TODAY = business_date(now())


async def add_posting(place: Place, n: int) -> None:
    """In the ledger's own batches; value dates go to and fro, and every fourth is of another."""
    amount, number = 100 + n, NUMBER if n % 4 else NUMBER_OF_OTHER
    legs = [{"account": "INR-CASH", "amount_minor": -amount}]
    legs += [{"account": number, "amount_minor": amount}]
    value_on = str(TODAY - timedelta(days=n % 3))
    order = {"kind": "entry", "currency": "INR", "legs": legs, "value_on": value_on}
    ledger = place.services["ledger"].admission
    transport = httpx.ASGITransport(ledger)
    async with httpx.AsyncClient(transport=transport, headers=place.asking.headers) as writer:
        key = {"Idempotency-Key": f"posting-{n}"}
        done = await writer.post("http://bank/v1/ledger/transactions", json=order, headers=key)
    assert done.status_code == 201, done.text


async def add_transfer(place: Place, n: int) -> None:
    async with place.late("payments") as payments:
        day, number = TODAY, NUMBER if n % 4 else NUMBER_OF_OTHER
        sides = (number, "INR-CASH") if n % 3 else ("INR-CASH", number)
        transfer = Transfer(
            id=new_id(),
            kind=Kind.CASH_WITHDRAWAL if n % 3 else Kind.CASH_DEPOSIT,
            remitter_account=sides[0],
            beneficiary_account=sides[1],
            amount_minor=n,
            currency=INR,
            narrative="",
            booked_on=day,
            value_on=day,
            booked_at=now(),
        )
        transfers = payments.spec.provide["payments"].transfers
        await transfers.add([Listed(position=2 + (n ^ SWAPPED), transfer=transfer)])


async def add_entry(place: Place, n: int) -> None:
    """What was said earlier, or at the same moment, may be heard later."""
    async with place.late("audit") as audit:
        said = record(
            ("ledger", "accounts")[n % 2],
            n,
            actor=f"teller-{n % 2}",
            subject=f"s-{n % 3}",
            minutes=random.randrange(6),
        )
        await audit.spec.provide["log"].store.append([said], at=NOON)


def add_letter(service: str) -> Add:
    async def add(place: Place, n: int) -> None:
        async with place.late(service) as there:
            letter = DeadLetter(
                source=("ledger", "accounts", "customers")[n % 3],
                position=2 + (n ^ SWAPPED),
                error="not digested",
                at=now(),
                replayed_at=None,
                fact=msgspec.Raw(json.dumps({"n": n}).encode()),
            )
            await there.runtime.inbox.set_aside(letter)
            if n % 3 == 0:
                await there.runtime.inbox.replayed("ledger", n // 3, now())

    return add


def letters_of(service: str) -> List:
    return List(by=("source", "position"), add=add_letter(service))


def _minutes(since: int, until: int) -> QUERY:
    moments = [NOON + timedelta(minutes=each) for each in (since, until)]
    return dict(zip(("from", "to"), [each.isoformat() for each in moments], strict=True))


def _days(since: int, until: int) -> QUERY:
    days = [str(TODAY - timedelta(days=each)) for each in (since, until)]
    return dict(zip(("from", "to"), days, strict=True))


LISTS = {
    "accounts.list": List(
        by=("id",),
        add=add_account,
        always={"customer_id": str(CUSTOMER)},
        needs=("ledger",),
    ),
    "accounts.products": List(by=("code",), add=add_product),
    "accounts.statement": List(
        by=("transaction_id",),
        begin=open_both,
        add=add_posting,
        path={"account_id": str(ACCOUNT)},
        queries=[
            {"by": "value", **_days(1, 1)},
            {"by": "value", "to": str(TODAY - timedelta(days=1))},
            {"by": "booking", **_days(0, 0)},
        ],
        needs=("ledger",),
    ),
    "audit.entries": List(
        by=("index",),
        add=add_entry,
        queries=[
            {"actor": "teller-1"},
            {"subject": "s-2"},
            {"source": "ledger"},
            _minutes(1, 4),
            {"actor": "teller-0", **_minutes(0, 3)},
        ],
        arrival=True,
    ),
    "customers.list": List(
        by=("id",),
        add=add_customer,
        queries=[
            {"name": "aSH"},
            {"mobile": "+919876543211"},
            {"name": "r", "mobile": "+919876543212"},
        ],
    ),
    "ledger.accounts": List(by=("number",), add=add_account_in_book),
    "ledger.history": List(
        by=("seq",), begin=open_in_book, add=add_posting, path={"number": NUMBER}
    ),
    "payments.list": List(by=("id",), add=add_transfer, queries=[{"account": NUMBER}]),
    **{
        f"{service}.dead-letters": letters_of(service)
        for service in ("accounts", "audit", "customers", "ledger", "payments")
    },
}
