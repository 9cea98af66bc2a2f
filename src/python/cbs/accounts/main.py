"""The composition root: the only module that knows every layer."""

from functools import partial

from cbs.accounts.api.desk import Desk, view
from cbs.accounts.api.http import ROUTES
from cbs.accounts.api.products import PRODUCT_ROUTES
from cbs.accounts.application.accounts import Accounts
from cbs.accounts.application.changes import LEASE_SECONDS, Changes
from cbs.accounts.connections import CONNECTIONS
from cbs.accounts.domain.facts import FACTS
from cbs.accounts.infrastructure.background import OwnWork, failed, finish_for_ever
from cbs.accounts.infrastructure.changes import PostgresChanges
from cbs.accounts.infrastructure.customers_client import BusCustomers
from cbs.accounts.infrastructure.ledger_client import BusBook
from cbs.accounts.infrastructure.store import PostgresAccounts, PostgresProducts
from cbs.accounts.infrastructure.tables import AccountRow, ChangeRow, ProductRow
from cbs.platform.context import new_id, now
from cbs.platform.problem import answer_of
from cbs.platform.process import run
from cbs.platform.service import Parts, Plumbing
from cbs.platform.settings import Settings


def build(plumbing: Plumbing[Settings]) -> Parts:
    database, outbox, bus = plumbing.database, plumbing.outbox, plumbing.bus
    book = BusBook(bus=bus)
    accounts = Accounts(
        accounts=PostgresAccounts(database=database, lease_seconds=LEASE_SECONDS),
        products=PostgresProducts(database=database, outbox=outbox),
        book=book,
        new_id=new_id,
    )
    store = PostgresChanges(database=database, outbox=outbox, requests=plumbing.requests, now=now)
    changes = Changes(
        store=store,
        book=book,
        customers=BusCustomers(bus=bus),
        now=now,
        view=view,
        refused=answer_of,
        as_service_for=OwnWork(principal=plumbing.principal),
        failed=failed,
    )
    return Parts(
        routes=[*PRODUCT_ROUTES, *ROUTES],
        provide={"accounts": accounts, "desk": Desk(accounts=accounts, changes=changes)},
        facts=FACTS,
        tables=[ProductRow, AccountRow, ChangeRow],
        tasks={"changes": partial(finish_for_ever, changes)},
        queues={"changes": store.unfinished},
    )


def main() -> None:
    run(CONNECTIONS, Settings, build)


if __name__ == "__main__":
    main()
