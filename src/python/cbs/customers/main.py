"""The composition root: the only module that knows every layer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cbs.customers.application.customers import Customers, CustomerStore
from cbs.customers.application.sagas import StandingSteps
from cbs.customers.bus import endpoints
from cbs.customers.clients import BusAccounts
from cbs.customers.domain.customer import Customer
from cbs.customers.domain.facts import FACTS
from cbs.customers.http.customers import ROUTES
from cbs.customers.http.shapes import standing_answer
from cbs.customers.service import DECLARATION
from cbs.customers.store.customers import PostgresCustomers
from cbs.customers.store.requests import KeyedRequests
from cbs.customers.store.vault import ProofStore, Vault
from cbs.customers.tables import CustomerRow, DocumentRow
from cbs.customers.tasks import Expiry, Recording
from cbs.kernel.answer import Answer
from cbs.kernel.calendar import business_date
from cbs.kernel.saga import SagaDefinition
from cbs.platform.context import new_id, now
from cbs.platform.problem import answer_of
from cbs.platform.process import run
from cbs.platform.saga import Sagas, SagaStore
from cbs.platform.saga_store import PostgresSagas
from cbs.platform.service import Runtime, ServiceSpec
from cbs.platform.settings import Settings


class CustomersSettings(Settings, frozen=True, kw_only=True):
    """The vault's key is a file of 64 hexadecimal digits; who has it can read every number."""

    vault_key_file: Path


class Kept(CustomerStore, ProofStore, Protocol):
    """Customers, and the proof of the key that their documents are sealed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What this service keeps. `sagas` makes the store of sagas that go by these definitions."""

    customers: Kept
    sagas: Callable[[Mapping[str, SagaDefinition[Any]]], SagaStore]


def in_postgres(runtime: Runtime[CustomersSettings]) -> Stores:
    database = runtime.postgres
    database.bind(CustomerRow, DocumentRow)
    vault = Vault(runtime.settings.vault_key_file)
    return Stores(
        customers=PostgresCustomers(database=database, outbox=runtime.outbox, vault=vault),
        sagas=lambda definitions: PostgresSagas(database=database, definitions=definitions),
    )


def build(
    runtime: Runtime[CustomersSettings],
    stores: Callable[[Runtime[CustomersSettings]], Stores] = in_postgres,
) -> ServiceSpec:
    vault, kept = Vault(runtime.settings.vault_key_file), stores(runtime)
    requests = KeyedRequests(requests=runtime.requests, vault=vault)
    accounts = BusAccounts(bus=runtime.bus)
    steps = StandingSteps(
        store=kept.customers,
        accounts=accounts,
        view=standing_today,
    )
    definitions = steps.definitions()
    store = kept.sagas(definitions)
    customers = Customers(store=kept.customers, sagas=store, now=now, new_id=new_id)
    sagas = Sagas(
        database=runtime.database,
        store=store,
        keys=requests,
        outbox=runtime.outbox,
        principal=runtime.principal,
        refused=answer_of,
        definitions=definitions,
    )
    expiry = Expiry(customers=customers, database=runtime.database, principal=runtime.principal)
    recording = Recording(
        store=kept.customers, database=runtime.database, principal=runtime.principal
    )
    return ServiceSpec(
        routes=ROUTES,
        provide={
            "customers": customers,
            "sagas": sagas,
            "not_permitted": runtime.not_permitted,
        },
        facts=FACTS,
        endpoints=endpoints(customers),
        checks=(partial(vault.check, kept.customers),),
        tasks={
            "expiry": expiry.run,
            "recording": recording.run,
            "sagas": sagas.finish_for_ever,
        },
        queues={"sagas": store.unfinished},
        requests=requests,
    )


def standing_today(customer: Customer) -> Answer:
    return standing_answer(business_date(now()), customer)


def main() -> None:
    run(DECLARATION, CustomersSettings, build)


if __name__ == "__main__":
    main()
