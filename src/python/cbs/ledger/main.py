"""The composition root: the only module that knows every layer."""

import msgspec

from cbs.ledger.application.book import Ledger
from cbs.ledger.bus.endpoints import Desk, Posted
from cbs.ledger.domain.account import AccountSet
from cbs.ledger.domain.transaction import Transaction, TransactionPosted
from cbs.ledger.http import ROUTES
from cbs.ledger.service import DECLARATION
from cbs.ledger.store.book import PostgresBook
from cbs.ledger.store.write_path import WritePath
from cbs.ledger.tables import AccountRow, PostingRow, TransactionRow
from cbs.platform.context import new_id, now
from cbs.platform.problem import answer_of
from cbs.platform.process import run
from cbs.platform.service import Runtime, ServiceSpec
from cbs.platform.settings import Settings


def posted(transaction: Transaction) -> bytes:
    return msgspec.json.encode(Posted(transaction=transaction))


def build(runtime: Runtime[Settings]) -> ServiceSpec:
    writes = WritePath(
        database=runtime.database,
        outbox=runtime.outbox,
        view=posted,
        refused=answer_of,
        now=now,
        new_id=new_id,
    )
    ledger = Ledger(
        book=PostgresBook(database=runtime.database, outbox=runtime.outbox, writes=writes)
    )
    desk = Desk(ledger=ledger, database=runtime.database, requests=runtime.requests)

    async def waiting() -> int:
        return ledger.waiting

    return ServiceSpec(
        routes=ROUTES,
        provide={"ledger": ledger},
        facts=[TransactionPosted, AccountSet],
        tables=[AccountRow, TransactionRow, PostingRow],
        endpoints=desk.endpoints(),
        queues={"orders": waiting},
    )


def main() -> None:
    run(DECLARATION, Settings, build)


if __name__ == "__main__":
    main()
