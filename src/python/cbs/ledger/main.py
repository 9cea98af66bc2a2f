"""The composition root: the only module that knows every layer."""

import msgspec

from cbs.ledger.api.bus import Desk, Posted
from cbs.ledger.api.http import ROUTES
from cbs.ledger.api.views import TransactionView
from cbs.ledger.application.book import Ledger
from cbs.ledger.connections import CONNECTIONS
from cbs.ledger.domain.account import AccountSet
from cbs.ledger.domain.transaction import Transaction, TransactionPosted
from cbs.ledger.infrastructure.store import PostgresBook
from cbs.ledger.infrastructure.tables import AccountRow, PostingRow, TransactionRow
from cbs.ledger.infrastructure.write_path import WritePath
from cbs.platform.context import new_id, now
from cbs.platform.problem import answer_of
from cbs.platform.process import run
from cbs.platform.service import Parts, Plumbing
from cbs.platform.settings import Settings


def posted(transaction: Transaction) -> bytes:
    return msgspec.json.encode(Posted(transaction=TransactionView.of(transaction)))


def build(plumbing: Plumbing[Settings]) -> Parts:
    writes = WritePath(
        database=plumbing.database,
        outbox=plumbing.outbox,
        view=posted,
        refused=answer_of,
        now=now,
        new_id=new_id,
    )
    ledger = Ledger(
        book=PostgresBook(database=plumbing.database, outbox=plumbing.outbox, writes=writes)
    )
    desk = Desk(ledger=ledger, database=plumbing.database, requests=plumbing.requests)

    async def waiting() -> int:
        return ledger.waiting

    return Parts(
        routes=ROUTES,
        provide={"ledger": ledger},
        facts=[TransactionPosted, AccountSet],
        tables=[AccountRow, TransactionRow, PostingRow],
        endpoints=desk.endpoints(),
        queues={"orders": waiting},
    )


def main() -> None:
    run(CONNECTIONS, Settings, build)


if __name__ == "__main__":
    main()
