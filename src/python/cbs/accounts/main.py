"""The composition root: the only module that knows every layer."""

from functools import partial

from cbs.accounts.application.accounts import Accounts
from cbs.accounts.application.sagas import ChangeSteps
from cbs.accounts.clients import BusBook, BusCustomers
from cbs.accounts.domain.facts import FACTS
from cbs.accounts.http.accounts import ROUTES
from cbs.accounts.http.products import PRODUCT_ROUTES
from cbs.accounts.http.shapes import answer_to_change
from cbs.accounts.service import DECLARATION
from cbs.accounts.store.accounts import PostgresAccounts, PostgresProducts
from cbs.accounts.store.adoption import ChangesBeforeSagas
from cbs.accounts.tables import AccountRow, ProductRow
from cbs.accounts.tasks import adopt_for_ever
from cbs.platform.context import new_id, now
from cbs.platform.problem import answer_of
from cbs.platform.process import run
from cbs.platform.saga import Sagas
from cbs.platform.saga_store import PostgresSagas
from cbs.platform.service import Runtime, ServiceSpec
from cbs.platform.settings import Settings


def build(runtime: Runtime[Settings]) -> ServiceSpec:
    database, outbox, bus = runtime.database, runtime.outbox, runtime.bus
    rows, book = PostgresAccounts(database=database), BusBook(bus=bus)
    steps = ChangeSteps(
        accounts=rows, book=book, customers=BusCustomers(bus=bus), now=now, view=answer_to_change
    )
    definitions = steps.definitions()
    store = PostgresSagas(database=database, definitions=definitions)
    sagas = Sagas(
        database=database,
        store=store,
        keys=runtime.requests,
        outbox=outbox,
        principal=runtime.principal,
        refused=answer_of,
        definitions=definitions,
    )
    accounts = Accounts(
        accounts=rows,
        products=PostgresProducts(database=database, outbox=outbox),
        book=book,
        sagas=store,
        definitions=definitions,
        new_id=new_id,
    )
    earlier = ChangesBeforeSagas(database=database, sagas=store)
    return ServiceSpec(
        routes=[*PRODUCT_ROUTES, *ROUTES],
        provide={"accounts": accounts, "sagas": sagas},
        facts=FACTS,
        tables=[ProductRow, AccountRow],
        tasks={"sagas": sagas.finish_for_ever, "adoption": partial(adopt_for_ever, earlier)},
        queues={"sagas": store.unfinished},
    )


def main() -> None:
    run(DECLARATION, Settings, build)


if __name__ == "__main__":
    main()
