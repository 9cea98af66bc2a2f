"""The composition root: the only module that knows every layer."""

from functools import partial

from cbs.accounts.application.accounts import Accounts
from cbs.accounts.application.changes import LEASE_SECONDS, Changes
from cbs.accounts.clients import BusBook, BusCustomers
from cbs.accounts.domain.facts import FACTS
from cbs.accounts.http.accounts import ROUTES
from cbs.accounts.http.desk import Desk, view
from cbs.accounts.http.products import PRODUCT_ROUTES
from cbs.accounts.service import DECLARATION
from cbs.accounts.store.accounts import PostgresAccounts, PostgresProducts
from cbs.accounts.store.changes import PostgresChanges
from cbs.accounts.tables import AccountRow, ChangeRow, ProductRow
from cbs.accounts.tasks import OwnWork, failed, finish_for_ever
from cbs.platform.context import new_id, now
from cbs.platform.problem import answer_of
from cbs.platform.process import run
from cbs.platform.service import Runtime, ServiceSpec
from cbs.platform.settings import Settings


def build(runtime: Runtime[Settings]) -> ServiceSpec:
    database, outbox, bus = runtime.database, runtime.outbox, runtime.bus
    book = BusBook(bus=bus)
    accounts = Accounts(
        accounts=PostgresAccounts(database=database, lease_seconds=LEASE_SECONDS),
        products=PostgresProducts(database=database, outbox=outbox),
        book=book,
        new_id=new_id,
    )
    store = PostgresChanges(database=database, outbox=outbox, requests=runtime.requests, now=now)
    changes = Changes(
        store=store,
        book=book,
        customers=BusCustomers(bus=bus),
        now=now,
        view=view,
        refused=answer_of,
        as_service_for=OwnWork(principal=runtime.principal),
        failed=failed,
    )
    return ServiceSpec(
        routes=[*PRODUCT_ROUTES, *ROUTES],
        provide={"accounts": accounts, "desk": Desk(accounts=accounts, changes=changes)},
        facts=FACTS,
        tables=[ProductRow, AccountRow, ChangeRow],
        tasks={"changes": partial(finish_for_ever, changes)},
        queues={"changes": store.unfinished},
    )


def main() -> None:
    run(DECLARATION, Settings, build)


if __name__ == "__main__":
    main()
