"""The composition root: the only module that knows every layer."""

from functools import partial

from cbs.customers.api.bus import endpoints
from cbs.customers.api.http import ROUTES
from cbs.customers.application.customers import Customers
from cbs.customers.connections import CONNECTIONS
from cbs.customers.domain.facts import FACTS
from cbs.customers.infrastructure.expiry import Expiry
from cbs.customers.infrastructure.requests import KeyedRequests
from cbs.customers.infrastructure.store import PostgresCustomers
from cbs.customers.infrastructure.tables import CustomerRow, DocumentRow
from cbs.customers.infrastructure.vault import Vault
from cbs.customers.settings import Settings
from cbs.platform.context import new_id, now
from cbs.platform.process import run
from cbs.platform.service import Parts, Plumbing


def build(plumbing: Plumbing[Settings]) -> Parts:
    database = plumbing.database
    vault = Vault(plumbing.settings.vault_key_file)
    store = PostgresCustomers(database=database, outbox=plumbing.outbox, vault=vault)
    customers = Customers(store=store, now=now, new_id=new_id)
    expiry = Expiry(customers=customers, database=database, principal=plumbing.principal)
    return Parts(
        routes=ROUTES,
        provide={"customers": customers, "not_permitted": plumbing.not_permitted},
        facts=FACTS,
        tables=(CustomerRow, DocumentRow),
        endpoints=endpoints(customers),
        checks=(partial(vault.check, database),),
        tasks={"expiry": expiry.run},
        requests=KeyedRequests(requests=plumbing.requests, vault=vault),
    )


def main() -> None:
    run(CONNECTIONS, Settings, build)


if __name__ == "__main__":
    main()
