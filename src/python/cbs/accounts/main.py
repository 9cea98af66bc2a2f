"""The composition root: the only module that knows every layer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from cbs.accounts.application.accounts import Accounts, AccountStore, ProductStore
from cbs.accounts.application.book import Statements
from cbs.accounts.application.sagas import ChangeSteps
from cbs.accounts.application.standing import Standings
from cbs.accounts.bus import endpoints
from cbs.accounts.clients import BusBook, BusCustomers
from cbs.accounts.domain.facts import FACTS
from cbs.accounts.http.accounts import ROUTES
from cbs.accounts.http.freezes import FREEZE_ROUTES
from cbs.accounts.http.products import PRODUCT_ROUTES
from cbs.accounts.http.shapes import answer_to_change
from cbs.accounts.service import DECLARATION
from cbs.accounts.store.accounts import PostgresAccounts, PostgresProducts
from cbs.accounts.store.adoption import ChangesBeforeSagas
from cbs.accounts.tables import AccountRow, FreezeRow, ProductRow
from cbs.accounts.tasks import Lapses, adopt_for_ever
from cbs.kernel.saga import SagaDefinition
from cbs.platform.context import new_id, now
from cbs.platform.problem import answer_of
from cbs.platform.process import run
from cbs.platform.saga import Sagas, SagaStore
from cbs.platform.saga_store import PostgresSagas
from cbs.platform.service import Runtime, ServiceSpec, Task
from cbs.platform.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What this service keeps. `sagas` makes the store of sagas that go by these definitions, and
    `adopting` the tasks that carry on what an older release left."""

    accounts: AccountStore
    products: ProductStore
    sagas: Callable[[Mapping[str, SagaDefinition[Any]]], SagaStore]
    adopting: Callable[[SagaStore], Mapping[str, Task]]


def in_postgres(runtime: Runtime[Settings]) -> Stores:
    database = runtime.postgres
    database.bind(ProductRow, AccountRow, FreezeRow)

    def adopting(sagas: SagaStore) -> dict[str, Task]:
        earlier = ChangesBeforeSagas(database=database, sagas=sagas)
        return {"adoption": partial(adopt_for_ever, earlier)}

    return Stores(
        accounts=PostgresAccounts(database=database),
        products=PostgresProducts(database=database, outbox=runtime.outbox),
        sagas=lambda definitions: PostgresSagas(database=database, definitions=definitions),
        adopting=adopting,
    )


def build(
    runtime: Runtime[Settings], stores: Callable[[Runtime[Settings]], Stores] = in_postgres
) -> ServiceSpec:
    kept, bus = stores(runtime), runtime.bus
    book = BusBook(bus=bus)
    steps = ChangeSteps(
        accounts=kept.accounts,
        book=book,
        customers=BusCustomers(bus=bus),
        now=now,
        view=answer_to_change,
    )
    definitions = steps.definitions()
    store = kept.sagas(definitions)
    sagas = Sagas(
        database=runtime.database,
        store=store,
        keys=runtime.requests,
        outbox=runtime.outbox,
        principal=runtime.principal,
        refused=answer_of,
        definitions=definitions,
    )
    accounts = Accounts(
        accounts=kept.accounts,
        products=kept.products,
        book=book,
        sagas=store,
        definitions=definitions,
        new_id=new_id,
        now=now,
    )
    standings = Standings(
        accounts=accounts, transaction=runtime.database.transaction, finish=sagas.run_own
    )
    lapses = Lapses(accounts=accounts, finish=sagas.run_own, principal=runtime.principal)
    return ServiceSpec(
        routes=[*PRODUCT_ROUTES, *ROUTES, *FREEZE_ROUTES],
        provide={
            "accounts": accounts,
            "statements": Statements(accounts=kept.accounts, book=book),
            "sagas": sagas,
        },
        facts=FACTS,
        endpoints=endpoints(standings),
        tasks={"sagas": sagas.finish_for_ever, "lapses": lapses.run, **kept.adopting(store)},
        queues={"sagas": store.unfinished},
    )


def main() -> None:
    run(DECLARATION, Settings, build)


if __name__ == "__main__":
    main()
