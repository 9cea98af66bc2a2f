"""The customers of a bank that is to be broken: one account each, with money in it."""

import itertools
from typing import Any

import msgspec

from cbs.tools.lab.chaos.client import CURRENCY, PRODUCT, Holder
from cbs.tools.lab.chaos.records import CASH, Records, RequestRecord
from cbs.tools.lab.demo.onboarding import account_of
from cbs.tools.lab.demo.people import Somebody, people
from cbs.tools.lab.demo.trade import registration
from cbs.tools.lab.demo.workers import each
from cbs.tools.local.public_api import PublicApi

OPENERS_AT_ONCE, FUNDS_MINOR = 8, 100_000
ACCOUNTS_LISTED_MAX = 100


class FoundAccount(msgspec.Struct, kw_only=True):
    id: str
    number: str
    customer_id: str
    version: int
    frozen: str | None
    balance_minor: int | None


class FoundAccounts(msgspec.Struct, kw_only=True):
    items: list[FoundAccount]


async def populate(api: PublicApi, records: Records, *, name: str, size: int) -> list[Holder]:
    """Holders in the order of their names, each with a first deposit on record. Raises Refused."""
    holders: dict[int, Holder] = {}

    async def enter(item: tuple[int, Somebody]) -> None:
        place, somebody = item
        key = f"{name}-p{place}"
        number = await account_of(api, registration(somebody), product=PRODUCT, key=key)
        found = await account(api, number)
        holders[place] = Holder(number, found.id, found.customer_id)
        deposit: dict[str, Any] = {"account": number, "amount_minor": FUNDS_MINOR}
        asked = RequestRecord(
            key=f"{key}-d",
            kind="deposit",
            path="/v1/payments/deposits",
            body={**deposit, "currency": CURRENCY},
            moves=((CASH, -FUNDS_MINOR), (number, FUNDS_MINOR)),
        )
        records.ask(asked)
        answer = await api.post(asked.path, asked.body, msgspec.Raw, key=asked.key)
        records.told(asked, status=201, answer=bytes(answer), at=0)

    everybody = enumerate(itertools.islice(people(name), size))
    await each(everybody, enter, at_once=OPENERS_AT_ONCE)
    return [holder for _, holder in sorted(holders.items())]


async def account(api: PublicApi, number: str) -> FoundAccount:
    return await api.get(f"/v1/accounts/by-number/{number}", FoundAccount)


async def accounts_of(api: PublicApi, customer_id: str) -> list[FoundAccount]:
    path = f"/v1/accounts?customer_id={customer_id}&limit={ACCOUNTS_LISTED_MAX}"
    return (await api.get(path, FoundAccounts)).items
