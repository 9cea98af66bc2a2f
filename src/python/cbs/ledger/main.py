"""The composition root: the only module that knows every layer."""

from collections.abc import Callable

import msgspec

from cbs.ledger.application.book import Book, Ledger
from cbs.ledger.bus.endpoints import Desk, Posted
from cbs.ledger.domain.account import AccountSet
from cbs.ledger.domain.transaction import Transaction, TransactionPosted
from cbs.ledger.http import ROUTES
from cbs.ledger.service import DECLARATION
from cbs.ledger.store.batches import PostgresBatches
from cbs.ledger.store.book import PostgresBook
from cbs.ledger.store.write_path import BatchStore, WritePath
from cbs.ledger.tables import AccountRow, PostingRow, TransactionRow
from cbs.platform.context import new_id, now
from cbs.platform.problem import answer_of
from cbs.platform.process import run
from cbs.platform.service import Runtime, ServiceSpec
from cbs.platform.settings import Settings


def posted(transaction: Transaction) -> bytes:
    return msgspec.json.encode(Posted(transaction=transaction))


def write_path(runtime: Runtime[Settings], store: BatchStore) -> WritePath:
    return WritePath(
        database=runtime.database,
        outbox=runtime.outbox,
        store=store,
        view=posted,
        refused=answer_of,
        now=now,
        new_id=new_id,
    )


def in_postgres(runtime: Runtime[Settings]) -> Book:
    database = runtime.postgres_with(AccountRow, TransactionRow, PostingRow)
    writes = write_path(runtime, PostgresBatches(database=database))
    return PostgresBook(database=database, outbox=runtime.outbox, writes=writes)


def build(
    runtime: Runtime[Settings], stores: Callable[[Runtime[Settings]], Book] = in_postgres
) -> ServiceSpec:
    ledger = Ledger(book=stores(runtime))
    desk = Desk(ledger=ledger, database=runtime.database, requests=runtime.requests)

    async def waiting() -> int:
        return ledger.waiting

    return ServiceSpec(
        routes=ROUTES,
        provide={"ledger": ledger},
        facts=[TransactionPosted, AccountSet],
        endpoints=desk.endpoints(),
        queues={"orders": waiting},
    )


def main() -> None:
    run(DECLARATION, Settings, build)


if __name__ == "__main__":
    main()
