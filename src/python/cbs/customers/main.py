"""The composition root: the only module that knows every layer."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from cbs.customers.application.customers import Customers, CustomerStore
from cbs.customers.bus import endpoints
from cbs.customers.domain.facts import FACTS
from cbs.customers.http.customers import ROUTES
from cbs.customers.service import DECLARATION
from cbs.customers.store.customers import PostgresCustomers
from cbs.customers.store.requests import KeyedRequests
from cbs.customers.store.vault import ProofStore, Vault
from cbs.customers.tables import CustomerRow, DocumentRow
from cbs.customers.tasks import Expiry
from cbs.platform.context import new_id, now
from cbs.platform.process import run
from cbs.platform.service import Runtime, ServiceSpec
from cbs.platform.settings import Settings


class CustomersSettings(Settings, frozen=True, kw_only=True):
    """The vault's key is a file of 64 hexadecimal digits; who has it can read every number."""

    vault_key_file: Path


class Stores(CustomerStore, ProofStore, Protocol):
    """What this service keeps."""


def in_postgres(runtime: Runtime[CustomersSettings]) -> Stores:
    database = runtime.postgres_with(CustomerRow, DocumentRow)
    vault = Vault(runtime.settings.vault_key_file)
    return PostgresCustomers(database=database, outbox=runtime.outbox, vault=vault)


def build(
    runtime: Runtime[CustomersSettings],
    stores: Callable[[Runtime[CustomersSettings]], Stores] = in_postgres,
) -> ServiceSpec:
    vault, store = Vault(runtime.settings.vault_key_file), stores(runtime)
    customers = Customers(store=store, now=now, new_id=new_id)
    expiry = Expiry(customers=customers, database=runtime.database, principal=runtime.principal)
    return ServiceSpec(
        routes=ROUTES,
        provide={"customers": customers, "not_permitted": runtime.not_permitted},
        facts=FACTS,
        endpoints=endpoints(customers),
        checks=(partial(vault.check, store),),
        tasks={"expiry": expiry.run},
        requests=KeyedRequests(requests=runtime.requests, vault=vault),
    )


def main() -> None:
    run(DECLARATION, CustomersSettings, build)


if __name__ == "__main__":
    main()
